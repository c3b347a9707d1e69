/* Matrix products of the GPT's training step, as a part of this machine's own peak: the most fused multiply-adds
 * per second that its vector units do, measured in the same run. Each figure is the median of several turns.
 *
 *     build/benches/gemm [THREADS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "benches/measure.h"
#include "tensor/tensor.h"

enum { TURNS = 15 };

/* ---- The products ------------------------------------------------------------------------- */

/* out[m, n] = a[m, k] b[k, n]: GFLOP/s, and as a part of the peak; a transposed operand is stored as [k, m] or
 * [n, k]. */
typedef struct rate {
    double gflops, part;
} rate;

static rate product(tensor_arena *arena, int64_t m, int64_t n, int64_t k, bool at, bool bt,
                    tensor_error *err) {
    tensor_arena_reset(arena);
    tensor_rng rng = {.seed = 1};
    tensor a = at ? tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(k, m), err)
                  : tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(m, k), err);
    tensor b = bt ? tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(n, k), err)
                  : tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(k, n), err);
    const tensor c = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(m, n), err);
    if (!tensor_rand_normal(a, &rng, 0, 1, err) || !tensor_rand_normal(b, &rng, 0, 1, err)) return (rate){0};
    if (at) a = tensor_transpose(a, 0, 1, err);
    if (bt) b = tensor_transpose(b, 0, 1, err);
    const double flops = 2.0 * (double)m * (double)n * (double)k;
    const int repeat = 1 + (int)(2e7 / flops);
    double turns[TURNS], parts[TURNS];
    for (int i = -1; i < TURNS; i++) { /* one to warm up */
        const double start = now();
        for (int r = 0; r < repeat; r++)
            if (!tensor_matmul(c, a, b, false, err)) return (rate){0};
        if (i < 0) continue;
        turns[i] = flops * repeat / (now() - start) * 1e-9;
        parts[i] = turns[i] / peak_gflops();
    }
    return (rate){median(turns, TURNS), median(parts, TURNS)};
}

int main(int argc, char **argv) {
    tensor_error err = {0};
    char *end = NULL;
    const long threads = argc > 1 ? strtol(argv[1], &end, 10) : 1;
    if (argc > 2 || (end && *end) || threads < 1 || threads > TENSOR_MAX_THREADS) {
        fprintf(stderr, "usage: gemm [THREADS], 1 to %d\n", TENSOR_MAX_THREADS);
        return 2;
    }
    tensor_arena *arena = tensor_arena_new(&err);
    if (!arena || !tensor_isa_check(&err) || !tensor_set_threads((int)threads, &err)) {
        fprintf(stderr, "gemm: %s\n", err.text);
        return 1;
    }
    const struct {
        const char *what;
        int64_t m, n, k;
        bool at, bt;
    } shapes[] = {
        {"qkv", 256, 192, 64, 0, 0},         {"qkv: dx", 256, 64, 192, 0, 1},
        {"qkv: dw", 64, 192, 256, 1, 0},     {"projection", 256, 64, 64, 0, 0},
        {"  its dx", 256, 64, 64, 0, 1},     {"  its dw", 64, 64, 256, 1, 0},
        {"mlp in", 256, 256, 64, 0, 0},      {"mlp in: dx", 256, 64, 256, 0, 1},
        {"mlp in: dw", 64, 256, 256, 1, 0},  {"mlp out", 256, 64, 256, 0, 0},
        {"mlp out: dx", 256, 256, 64, 0, 1}, {"mlp out: dw", 256, 64, 256, 1, 0},
        {"head", 256, 51, 64, 0, 1},         {"square", 512, 512, 512, 0, 0},
        {"square", 1024, 1024, 1024, 0, 0},
    };
    double peaks[TURNS];
    for (int i = 0; i < TURNS; i++) peaks[i] = peak_gflops();
    printf("%s, %ld thread%s: peak %.0f GFLOP/s\n", tensor_isa(), threads, threads > 1 ? "s" : "",
           median(peaks, TURNS));
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const rate r =
            product(arena, shapes[i].m, shapes[i].n, shapes[i].k, shapes[i].at, shapes[i].bt, &err);
        printf("%-12s [%4lld, %4lld] = [%4lld]%s%s %6.1f GFLOP/s %3.0f %%\n", shapes[i].what,
               (long long)shapes[i].m, (long long)shapes[i].n, (long long)shapes[i].k,
               shapes[i].at ? ", A^T" : "     ", shapes[i].bt ? ", B^T" : "     ", r.gflops, 100 * r.part);
    }
    if (err.text[0]) fprintf(stderr, "gemm: %s\n", err.text);
    tensor_arena_free(arena);
    return err.text[0] ? 1 : 0;
}
