/* Matrix products: the GPT's training step with its transposes, squares, GPT-2's shapes; as a part of the machine's
 * peak, and beside another library where one is installed.
 *
 *     build/benches/gemm [--threads N] [--json FILE] [--blas FILE|none]
 */
#include <math.h>
#include <string.h>

#include "benches/blas.h"
#include "benches/measure.h"

/* c[m, n] = a[m, k] b[k, n]; a transposed operand is stored as [k, m] or [n, k]. */
typedef struct product {
    char what[32];
    int64_t m, n, k;
    bool at, bt;
    tensor a, b, c; /* the operands as [m, k] and [k, n] */
    float *other;   /* the other library's c */
    const blas *blas;
    tensor_error *err;
} product;

static double ours(void *context) {
    const product *p = context;
    const double start = now();
    if (!tensor_matmul(p->c, p->a, p->b, false, p->err)) return -1;
    return now() - start;
}

static double theirs(void *context) {
    const product *p = context;
    const double start = now();
    blas_product(p->blas, p->other, p->a.f32, p->b.f32, p->m, p->n, p->k, p->at, p->bt);
    return now() - start;
}

static bool operands(product *p, tensor_arena *arena, tensor_error *err) {
    tensor_rng rng = {.seed = 1};
    tensor a = p->at ? tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(p->k, p->m), err)
                     : tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(p->m, p->k), err);
    tensor b = p->bt ? tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(p->n, p->k), err)
                     : tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(p->k, p->n), err);
    const tensor other = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(p->m, p->n), err);
    p->c = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(p->m, p->n), err);
    if (!tensor_rand_uniform(a, &rng, -1, 1, err) || !tensor_rand_uniform(b, &rng, -1, 1, err) ||
        !tensor_fill(other, 0, err) || !tensor_fill(p->c, 0, err))
        return false;
    p->a = p->at ? tensor_transpose(a, 0, 1, err) : a;
    p->b = p->bt ? tensor_transpose(b, 0, 1, err) : b;
    p->other = other.f32;
    p->err = err;
    return true;
}

/* Both computed the same product; sums of k terms below 1 differ by their rounding. */
static bool agree(const product *p) {
    for (int64_t i = 0; i < p->m * p->n; i++)
        if (!(fabsf(p->c.f32[i] - p->other[i]) <= 1e-5f * (float)p->k))
            return tensor_fail(p->err, "%s and ours differ: %g, %g", p->blas->name, (double)p->other[i],
                               (double)p->c.f32[i]);
    return true;
}

static bool measure(bench *b, product *p, const blas *library, tensor_arena *arena, tensor_error *err) {
    enum { TURNS = 15, FEW = 5 };
    tensor_arena_reset(arena);
    if (!operands(p, arena, err)) return false;
    p->blas = library;
    /* OpenBLAS's threads spin on for some 30 ms, on processors that ours need. */
    const double settle = library->library && tensor_threads() > 1 && !b->quick ? 0.04 : 0;
    bench_side sides[] = {
        {.run = ours, .context = p}, limit_peak_side(&b->peak, NULL), {theirs, p, settle, {0}, {0}}};
    const double flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    const bool beside = library->library;
    double percent;
    if (!bench_alternate(b, sides, beside ? 3 : 2, flops > 5e9 ? FEW : TURNS) || (beside && !agree(p)) ||
        !limit_percent(&sides[1], flops, sides[0].seconds.median, &percent, err))
        return false;
    char shape[64];
    snprintf(shape, sizeof shape, "[%lld, %lld] x [%lld, %lld]%s%s", (long long)p->m, (long long)p->k,
             (long long)p->k, (long long)p->n, p->at ? " A^T" : "", p->bt ? " B^T" : "");
    bench_row(b,
              (bench_cell[]){cell_text(p->what), cell_text(shape),
                             cell_figure(figure_rate(1e-9 * flops, sides[0].seconds)), cell_number(percent),
                             beside ? cell_number(1e-9 * flops / sides[2].seconds.median) : (bench_cell){0},
                             beside ? cell_figure(sides[2].lead) : (bench_cell){0}});
    return true;
}

/* A layer [m, in] x [in, out] forward, and what its backward needs: dx = dy W^T and dW = x^T dy. */
static bool layer(bench *b, const char *name, int64_t m, int64_t in, int64_t out, bool out_in,
                  const blas *library, tensor_arena *arena, tensor_error *err) {
    product forward = {.m = m, .n = out, .k = in, .bt = out_in};
    product dx = {.m = m, .n = in, .k = out, .bt = !out_in};
    product dw = {.m = out_in ? out : in, .n = out_in ? in : out, .k = m, .at = true};
    snprintf(forward.what, sizeof forward.what, "%s", name);
    snprintf(dx.what, sizeof dx.what, "%s, dx", name);
    snprintf(dw.what, sizeof dw.what, "%s, dW", name);
    return measure(b, &forward, library, arena, err) && measure(b, &dx, library, arena, err) &&
           measure(b, &dw, library, arena, err);
}

static const struct {
    const char *name;
    int64_t in, out; /* channels */
    bool out_in;     /* the weight is stored [out, in] */
} gpt[] = {{"qkv", 64, 192, false},
           {"projection", 64, 64, false},
           {"mlp in", 64, 256, false},
           {"mlp out", 256, 64, false},
           {"head", 64, 51, true}},
  gpt2[] = {{"qkv", 768, 2304, false},
            {"projection", 768, 768, false},
            {"mlp in", 768, 3072, false},
            {"mlp out", 3072, 768, false}};

static bool all(bench *b, const blas *library, tensor_arena *arena, tensor_error *err) {
    const bench_column columns[] = {{"what", "product", -15, 0},
                                    {"shape", "shape", -30, 0},
                                    {"gflops", "GFLOP/s", 14, 1},
                                    {"percent_of_peak", "% of peak", 9, 0},
                                    {"other_gflops", library->library ? "other" : "", 7, 1},
                                    {"times_other", library->library ? "ours/other" : "", 11, 2},
                                    {0}};
    bool ok = true;
    for (int64_t m = 256; ok && m <= 4096; m *= 16) {
        bench_table(b, m == 256 ? "GPT, a shard of 256 tokens" : "GPT, a batch of 4096 tokens", columns);
        for (size_t i = 0; ok && i < sizeof gpt / sizeof *gpt; i++)
            ok = layer(b, gpt[i].name, m, gpt[i].in, gpt[i].out, gpt[i].out_in, library, arena, err);
    }
    if (ok) bench_table(b, "squares", columns);
    for (int64_t n = 64; ok && n <= (b->quick ? 256 : 2048); n *= 2) {
        product square = {.what = "square", .m = n, .n = n, .k = n};
        ok = measure(b, &square, library, arena, err);
    }
    if (ok) bench_table(b, "GPT-2 124M, 256 tokens", columns);
    for (size_t i = 0; ok && i < (b->quick ? 1 : sizeof gpt2 / sizeof *gpt2); i++)
        ok = layer(b, gpt2[i].name, 256, gpt2[i].in, gpt2[i].out, gpt2[i].out_in, library, arena, err);
    return ok;
}

int main(int argc, char **argv) {
    bench b;
    const char *file = NULL;
    const lm_option options[] = {
        lm_string("blas", &file, "FILE|none",
                  "Measure this library beside ours; OpenBLAS, BLIS or MKL where installed."),
        {0}};
    const int status = bench_begin(&b, "gemm", "Matrix products", options, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    blas library = {0};
    if (!file || strcmp(file, "none") != 0) library = blas_open(file, (int)b.threads);
    if (file && strcmp(file, "none") != 0 && !library.library)
        tensor_fail(&err, "--blas %.150s: it is no library with cblas_sgemm", file);
    if (library.library) printf("other: %s\n", library.name);
    tensor_arena *arena = tensor_arena_new(&err);
    if (!err.text[0] && !all(&b, &library, arena, &err)) tensor_fail(&err, "out of memory");
    tensor_arena_free(arena);
    blas_close(&library);
    return bench_end(&b, &err);
}
