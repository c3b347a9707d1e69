/* A transformer's block over tokens whose predecessors' keys and values are kept: straight from kernel to kernel, as a
 * single token's products take less time than the views and checks around them would. */
#include <string.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum {
    ROWS = 6,              /* that a thread takes at least: a tile of a matrix product */
    ROW_FLOPS = 1 << 20,   /* from here on the products of one row are shared among threads instead */
    GRAIN_FLOPS = 1 << 20, /* of a share of a product, or of the heads */
    COLUMNS = 64           /* that stay on one thread */
};

/* One pass. Row b N + i is token i of the N of sequence b. Of each sequence the last `asked` tokens are wanted: row
 * b asked + i of y. */
typedef struct pass {
    const tensor_block *block;
    const tensor_kernels *kernels;
    int64_t n, asked, width, inner;
    int64_t length, context; /* tokens in the cache, and its room */
    const float *x;
    float *y, *k, *v;
    float *normal, *qkv, *mixed, *branch,
        *hidden; /* [rows, C], [rows, 3C], [rows of y, C] twice, [rows of y, inner] */
} pass;

/* ---- Products ------------------------------------------------------------------------------- */

typedef struct product {
    gemm_args g;
    void (*gemm)(const gemm_args *args);
} product;

static void product_columns(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const product *p = context;
    gemm_args g = p->g;
    g.b += begin;
    g.c += begin;
    if (g.start) g.start += begin;
    g.n = end - begin;
    p->gemm(&g);
}

/* Columns begin..end-1 of x W + b for `rows` rows of x, [.., in], and of y, [.., columns]. */
static void linear(const pass *p, float *y, int64_t columns, const float *x, int64_t rows, const tensor *w,
                   const tensor *bias, int64_t begin, int64_t end) {
    product t = {.g = {.m = rows,
                       .n = end - begin,
                       .k = w->shape[0],
                       .a = x,
                       .a_row = w->shape[0],
                       .a_col = 1,
                       .b = w->f32 + begin,
                       .b_row = w->shape[1],
                       .b_col = 1,
                       .c = y + begin,
                       .c_row = columns,
                       .c_col = 1,
                       .start = bias ? bias->f32 + begin : NULL,
                       .start_col = 1},
                 .gemm = p->kernels->gemm};
    const double flops = 2.0 * (double)rows * (double)w->shape[0];
    if (flops * (double)t.g.n < 2.0 * GRAIN_FLOPS)
        t.gemm(&t.g);
    else
        tensor_parallel(t.g.n, (int64_t)(GRAIN_FLOPS / flops) / COLUMNS * COLUMNS + COLUMNS, product_columns,
                        &t);
}

static void norm(const pass *p, float *y, const float *x, int64_t rows, const tensor *w, const tensor *b) {
    float stats[2];
    for (int64_t row = 0; row < rows; row++)
        p->kernels->layer_norm(p->width, y + row * p->width, stats, x + row * p->width, w->f32, b->f32,
                               p->block->eps);
}

/* ---- Attention ------------------------------------------------------------------------------ */

/* Keys and values of rows begin..end-1 into the cache, and with them their queries where all are wanted. */
static void read_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pass *p = context;
    const tensor_block *m = p->block;
    const int64_t width = p->width;
    float *normal = p->normal + begin * width;
    norm(p, normal, p->x + begin * width, end - begin, m->ln_1_weight, m->ln_1_bias);
    linear(p, p->qkv + begin * 3 * width, 3 * width, normal, end - begin, m->attn_weight, m->attn_bias,
           p->asked == p->n ? 0 : width, 3 * width);
    for (int64_t row = begin; row < end; row++) {
        const int64_t at = p->length + row % p->n, sequence = row / p->n * width * p->context;
        const float *from = p->qkv + row * 3 * width;
        float *k = p->k + sequence + at;
        for (int64_t c = 0; c < width; c++) k[c * p->context] = from[width + c];
        memcpy(p->v + sequence + at * width, from + 2 * width, (size_t)width * sizeof *from);
    }
}

typedef struct heads {
    attention_args first; /* head 0 */
    int64_t k_head;       /* from one head's keys to the next's */
    void (*attention)(const attention_args *args);
} heads;

static void each_head(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const heads *t = context;
    for (int64_t h = begin; h < end; h++) {
        attention_args args = t->first;
        args.q += h * args.d;
        args.k += h * t->k_head;
        args.v += h * args.d;
        args.y += h * args.d;
        t->attention(&args);
    }
}

/* Rows `row`..row+count-1 of y, which belong to one sequence: what they attend to, into `mixed`. */
static void attend(const pass *p, int64_t row, int64_t count) {
    const tensor_block *m = p->block;
    const int64_t width = p->width, b = row / p->asked, d = width / m->heads;
    const int64_t token = p->n - p->asked + row % p->asked, from = b * p->n + token;
    float *q = p->qkv + from * 3 * width;
    if (p->asked < p->n)
        linear(p, q, 3 * width, p->normal + from * width, count, m->attn_weight, m->attn_bias, 0, width);
    heads t = {.first = {.tq = count,
                         .tk = p->length + token + count,
                         .d = d,
                         .scale = m->scale,
                         .causal = true,
                         .q = q,
                         .q_row = 3 * width,
                         .k = p->k + b * width * p->context,
                         .k_row = 1,
                         .k_col = p->context,
                         .v = p->v + b * width * p->context,
                         .v_row = width,
                         .y = p->mixed + row * width,
                         .y_row = width},
               .k_head = d * p->context,
               .attention = p->kernels->attention};
    const double flops = 4.0 * (double)count * (double)t.first.tk * (double)d;
    if (flops * m->heads < 2.0 * GRAIN_FLOPS)
        each_head(&t, 0, m->heads, 0);
    else
        tensor_parallel(m->heads, (int64_t)(GRAIN_FLOPS / flops) + 1, each_head, &t);
    memcpy(p->y + row * width, p->x + from * width, (size_t)(count * width) * sizeof *p->y);
}

/* One share a thread: a product packs its matrix once for all rows of a call, so fewer and larger calls are faster. */
static int64_t rows_a_thread(int64_t rows) {
    const int64_t share = (rows + tensor_threads() - 1) / tensor_threads();
    return share > ROWS ? share : ROWS;
}

/* ---- The block ------------------------------------------------------------------------------ */

/* All that comes after keys and values, for rows begin..end-1 of y. */
static void write_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pass *p = context;
    const tensor_block *m = p->block;
    const int64_t width = p->width, rows = end - begin;
    binary_kernel *add = p->kernels->binary[TENSOR_ADD];
    float *y = p->y + begin * width, *branch = p->branch + begin * width,
          *hidden = p->hidden + begin * p->inner;
    for (int64_t row = begin, stop; row < end; row = stop) {
        stop = (row / p->asked + 1) * p->asked;
        if (stop > end) stop = end;
        attend(p, row, stop - row);
    }
    linear(p, branch, width, p->mixed + begin * width, rows, m->proj_weight, m->proj_bias, 0, width);
    add(rows * width, y, y, branch);
    norm(p, branch, y, rows, m->ln_2_weight, m->ln_2_bias);
    linear(p, hidden, p->inner, branch, rows, m->fc_weight, m->fc_bias, 0, p->inner);
    p->kernels->unary[m->activation](rows * p->inner, hidden, hidden);
    linear(p, branch, width, hidden, rows, m->mlp_weight, m->mlp_bias, 0, width);
    add(rows * width, y, y, branch);
}

/* A weight [rows, columns] or, with 0 rows, [columns] without gaps. */
static inline bool check_weight(const char *name, const tensor *x, int64_t rows, int64_t columns,
                                tensor_error *err) {
    if (!x) return true;
    const int last = rows > 0;
    if (tensor_ok(*x) && x->dtype == TENSOR_F32 && x->rank == last + 1 && x->shape[last] == columns &&
        x->stride[last] == 1 && (rows == 0 || (x->shape[0] == rows && x->stride[0] == columns)))
        return true;
    const int64_t shape[] = {rows, columns};
    return tensor_expect("block", name, *x, TENSOR_F32, err) &&
           tensor_expect_shape("block", name, *x, last + 1, last ? shape : shape + 1, err) &&
           tensor_fail(err, "block: %s has gaps", name);
}

static bool check_weights(const tensor_block *m, int64_t width, int64_t inner, tensor_error *err) {
    return check_weight("ln_1.weight", m->ln_1_weight, 0, width, err) &&
           check_weight("ln_1.bias", m->ln_1_bias, 0, width, err) &&
           check_weight("attn.weight", m->attn_weight, width, 3 * width, err) &&
           check_weight("attn.bias", m->attn_bias, 0, 3 * width, err) &&
           check_weight("proj.weight", m->proj_weight, width, width, err) &&
           check_weight("proj.bias", m->proj_bias, 0, width, err) &&
           check_weight("ln_2.weight", m->ln_2_weight, 0, width, err) &&
           check_weight("ln_2.bias", m->ln_2_bias, 0, width, err) &&
           check_weight("fc.weight", m->fc_weight, width, inner, err) &&
           check_weight("fc.bias", m->fc_bias, 0, inner, err) &&
           check_weight("mlp.weight", m->mlp_weight, inner, width, err) &&
           check_weight("mlp.bias", m->mlp_bias, 0, width, err);
}

static inline bool check_rows(const char *name, const tensor *x, int64_t batch, int64_t rows, int64_t columns,
                              tensor_error *err) {
    if (tensor_ok(*x) && x->dtype == TENSOR_F32 && x->rank == 3 && x->shape[0] == batch &&
        x->shape[1] == rows && x->shape[2] == columns && tensor_dense(x))
        return true;
    return tensor_expect("block", name, *x, TENSOR_F32, err) &&
           tensor_expect_shape("block", name, *x, 3, (int64_t[]){batch, rows, columns}, err) &&
           tensor_fail(err, "block: %s has gaps", name);
}

int64_t tensor_block_scratch(const tensor_block *block, int64_t rows, int64_t asked) {
    const int64_t width = block->attn_weight->shape[0], inner = block->fc_weight->shape[1];
    return rows * 4 * width + asked * (2 * width + inner);
}

bool tensor_block_cached(tensor y, tensor x, const tensor_block *m, tensor k, tensor v, int64_t length,
                         tensor scratch, tensor_error *err) {
    if (!tensor_expect("block", "x", x, TENSOR_F32, err) ||
        !tensor_expect("block", "y", y, TENSOR_F32, err) || !tensor_expect("block", "k", k, TENSOR_F32, err))
        return false;
    if (x.rank != 3 || y.rank != 3 || k.rank != 3) return tensor_fail(err, "block: x, y and k need rank 3");
    pass p = {.block = m,
              .kernels = tensor_kernels_get(),
              .n = x.shape[1],
              .asked = y.shape[1],
              .width = x.shape[2],
              .inner = m->fc_weight->rank == 2 ? m->fc_weight->shape[1] : 0,
              .length = length,
              .context = k.shape[2]};
    const int64_t batch = x.shape[0];
    if (!check_weights(m, p.width, p.inner, err) || !check_rows("x", &x, batch, p.n, p.width, err) ||
        !check_rows("y", &y, batch, p.asked, p.width, err) ||
        !check_rows("k", &k, batch, p.width, p.context, err) ||
        !check_rows("v", &v, batch, p.context, p.width, err))
        return false;
    if (m->heads < 1 || p.width % m->heads)
        return tensor_fail(err, "block: %d heads do not divide a width of %lld", m->heads,
                           (long long)p.width);
    if (length < 0 || p.n > p.context - length)
        return tensor_fail(err, "block: %lld tokens after %lld do not fit into a cache of %lld",
                           (long long)p.n, (long long)length, (long long)p.context);
    if (p.asked > p.n)
        return tensor_fail(err, "block: y has %lld tokens, x only %lld", (long long)p.asked, (long long)p.n);
    if (!tensor_expect("block", "scratch", scratch, TENSOR_F32, err) ||
        tensor_size(scratch) < tensor_block_scratch(m, batch * p.n, batch * p.asked) ||
        !tensor_dense(&scratch))
        return tensor_fail(err, "block: the scratch memory is too small");
    const int64_t rows = batch * p.n, asked = batch * p.asked;
    if (asked == 0) return true;
    p.x = x.f32, p.y = y.f32, p.k = k.f32, p.v = v.f32;
    p.normal = scratch.f32;
    p.qkv = p.normal + rows * p.width;
    p.mixed = p.qkv + rows * 3 * p.width;
    p.branch = p.mixed + asked * p.width;
    p.hidden = p.branch + asked * p.width;
    if (24 * p.width * p.width < ROW_FLOPS) {
        tensor_parallel(rows, rows_a_thread(rows), read_rows, &p);
        tensor_parallel(asked, rows_a_thread(asked), write_rows, &p);
    } else {
        read_rows(&p, 0, rows, 0);
        write_rows(&p, 0, asked, 0);
    }
    tensor_touch(y);
    tensor_touch(k);
    tensor_touch(v);
    tensor_touch(scratch);
    return true;
}
