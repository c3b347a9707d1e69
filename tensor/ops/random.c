/* Random numbers: Philox 4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * 2011), the constants and the order of words as in the authors' Random123 library:
 *   key     = {seed low, seed high}
 *   counter = {counter low, counter high, stream low, stream high}
 * This file uses +, -, *, / and sqrt in double and nothing that may be fused or approximated differently on
 * another machine, so its numbers are the same everywhere. */
#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

#include <math.h>
#include <string.h>

/* ---- Blocks of words ------------------------------------------------------------------------- */

static void philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t words[4]) {
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ key0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ key1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        key0 += 0x9E3779B9u; /* golden ratio */
        key1 += 0xBB67AE85u; /* sqrt 3 - 1 */
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

void tensor_rng_block(tensor_rng *rng, uint32_t words[4]) {
    philox(rng->seed, rng->stream, rng->counter++, words);
}

static uint64_t next_64_bits(tensor_rng *rng) {
    uint32_t words[4];
    tensor_rng_block(rng, words);
    return (uint64_t)words[1] << 32 | words[0];
}

/* Of the 2^64 values the first 2^64 mod bound are refused: what is left is a multiple of bound. */
uint64_t tensor_rng_below(tensor_rng *rng, uint64_t bound) {
    uint64_t value = next_64_bits(rng);
    if (bound == 0) return 0;
    uint64_t refused = (0 - bound) % bound;
    while (value < refused) value = next_64_bits(rng);
    return value % bound;
}

double tensor_rng_uniform(tensor_rng *rng) {
    return (double)(next_64_bits(rng) >> 11) * 0x1p-53;
}

/* ---- Filling a tensor ------------------------------------------------------------------------- */

enum { CHUNK = 1024, GRAIN = 8 * CHUNK };

typedef struct fill {
    tensor_loop loop;
    tensor_rng rng;
    /* Writes n numbers made of n words; `position` is the row-major index of the first. */
    void (*convert)(const struct fill *f, int64_t n, void *out, int64_t stride, const uint32_t *words,
                    int64_t position);
    double low, high;       /* uniform */
    double mean, deviation; /* normal */
    int64_t first, range;   /* integers */
    uint32_t dropped;       /* dropout: the words below become 0 */
    float kept;             /* the others become this */
} fill;

static void fill_range(void *context, int64_t begin, int64_t end, int worker) {
    const fill *f = context;
    (void)worker;
    for (int64_t from = begin, to; from < end; from = to) {
        to = from - from % CHUNK + CHUNK; /* chunks begin where blocks do */
        if (to > end) to = end;
        uint32_t words[CHUNK];
        const int64_t chunk = from - from % CHUNK, first = (from - chunk) / 4 * 4;
        tensor_kernels_get()->philox((to - chunk - first + 3) / 4, words + first, f->rng.seed, f->rng.stream,
                                     f->rng.counter + (uint64_t)(chunk + first) / 4);
        tensor_run run = tensor_loop_runs(&f->loop, from, to);
        for (int64_t position = from; tensor_run_next(&run); position += run.n)
            f->convert(f, run.n, run.at[0], f->loop.inner_stride[0], words + (position - chunk), position);
    }
}

static void run_fill(fill *f, tensor out, tensor_rng *rng) {
    f->rng = *rng;
    tensor_loop_init(&f->loop, TENSOR_ROW_MAJOR, 1, &out);
    tensor_parallel(f->loop.size, GRAIN, fill_range, f);
    rng->counter += (uint64_t)(f->loop.size + 3) / 4;
    tensor_touch(out);
}

static void convert_uniform(const fill *f, int64_t n, void *out, int64_t stride, const uint32_t *words,
                            int64_t position) {
    float *x = out, high = (float)f->high;
    (void)position;
    for (int64_t i = 0; i < n; i++) {
        float value = (float)(f->low + (f->high - f->low) * ((double)(words[i] >> 8) * 0x1p-24));
        x[i * stride] = value < high ? value : nextafterf(high, -INFINITY); /* where rounding reached high */
    }
}

bool tensor_rand_uniform(tensor out, tensor_rng *rng, float low, float high, tensor_error *err) {
    if (!tensor_expect("rand_uniform", "out", &out, TENSOR_F32, err)) return false;
    if (!(low < high && isfinite(low) && isfinite(high)))
        return tensor_fail(err, "rand_uniform: the range from %g to %g is not one", (double)low,
                           (double)high);
    run_fill(&(fill){.convert = convert_uniform, .low = (double)low, .high = (double)high}, out, rng);
    return true;
}

/* ln x for normal x > 0. x = 2^e m with m in [1/sqrt 2, sqrt 2); ln m = 2 artanh s, s = (m - 1) / (m + 1), by its
 * series through s^21: |s| < 0.172, so what is left out is below 1e-17 of it. */
static double natural_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t shifted = bits - 0x3FE6A09E667F3BCDu; /* the bits of 1/sqrt 2: its top 12 are then e */
    int64_t e = (int64_t)shifted >> 52;
    bits -= (uint64_t)e << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), z = s * s, sum = 0;
    for (int k = 21; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
    return (double)e * 0.6931471805599453094 + 2 * s * sum;
}

static double polynomial(double x, const double c[8]) {
    double sum = c[7];
    for (int i = 6; i >= 0; i--) sum = sum * x + c[i];
    return sum;
}

/* The inverse of the normal distribution function: PPND16 of Wichura, "Algorithm AS 241", Applied Statistics 37
 * (1988), accurate to about 1e-16. p comes from a 32-bit word, so the branch for p < e^-25 is not needed. */
static double normal_quantile(double p) {
    static const double A[8] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                                1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                                3.3430575583588128105e4, 2.5090809287301226727e3};
    static const double B[8] = {1.0,
                                4.2313330701600911252e1,
                                6.8718700749205790830e2,
                                5.3941960214247511077e3,
                                2.1213794301586595867e4,
                                3.9307895800092710610e4,
                                2.8729085735721942674e4,
                                5.2264952788528545610e3};
    static const double C[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                5.76949722146069140550e0,  3.64784832476320460504e0,
                                1.27045825245236838258e0,  2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double D[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(r, A) / polynomial(r, B);
    }
    double r = sqrt(-natural_log(q < 0 ? p : 1 - p)) - 1.6;
    double x = polynomial(r, C) / polynomial(r, D);
    return q < 0 ? -x : x;
}

static void convert_normal(const fill *f, int64_t n, void *out, int64_t stride, const uint32_t *words,
                           int64_t position) {
    float *x = out;
    (void)position;
    for (int64_t i = 0; i < n; i++) {
        double p = ((double)words[i] + 0.5) * 0x1p-32; /* in (0, 1), symmetric about 1/2 */
        x[i * stride] = (float)(f->mean + f->deviation * normal_quantile(p));
    }
}

bool tensor_rand_normal(tensor out, tensor_rng *rng, float mean, float deviation, tensor_error *err) {
    if (!tensor_expect("rand_normal", "out", &out, TENSOR_F32, err)) return false;
    if (!(deviation >= 0))
        return tensor_fail(err, "rand_normal: a deviation of %g is not 0 or more", (double)deviation);
    run_fill(&(fill){.convert = convert_normal, .mean = (double)mean, .deviation = (double)deviation}, out,
             rng);
    return true;
}

/* word * range / 2^32, which some values would reach more often than others but for refused words (Lemire, "Fast
 * random integer generation in an interval", 2019). A refused word is replaced by the word at the same place of
 * another seed, so that each element is still a function of its own place alone. */
static void convert_integers(const fill *f, int64_t n, void *out, int64_t stride, const uint32_t *words,
                             int64_t position) {
    int32_t *x = out;
    uint64_t range = (uint64_t)f->range;
    uint32_t refused = (uint32_t)((UINT64_C(1) << 32) % range);
    for (int64_t i = 0; i < n; i++) {
        uint64_t product = words[i] * range;
        for (uint64_t seed = f->rng.seed; (uint32_t)product < refused;) {
            uint32_t other[4];
            seed += UINT64_C(0x9E3779B97F4A7C15);
            philox(seed, f->rng.stream, f->rng.counter + (uint64_t)(position + i) / 4, other);
            product = other[(position + i) % 4] * range;
        }
        x[i * stride] = (int32_t)(f->first + (int64_t)(product >> 32));
    }
}

bool tensor_rand_integers(tensor out, tensor_rng *rng, int32_t low, int32_t high, tensor_error *err) {
    if (!tensor_expect("rand_integers", "out", &out, TENSOR_I32, err)) return false;
    if (low >= high)
        return tensor_fail(err, "rand_integers: there is no integer from %d to below %d", low, high);
    run_fill(&(fill){.convert = convert_integers, .first = low, .range = (int64_t)high - low}, out, rng);
    return true;
}

static void convert_dropout(const fill *f, int64_t n, void *out, int64_t stride, const uint32_t *words,
                            int64_t position) {
    float *x = out;
    (void)position;
    if (stride == 1)
        tensor_kernels_get()->dropout(n, x, words, f->dropped, f->kept);
    else
        for (int64_t i = 0; i < n; i++) x[i * stride] = words[i] >= f->dropped ? f->kept : 0;
}

bool tensor_rand_dropout(tensor out, tensor_rng *rng, float p, tensor_error *err) {
    if (!tensor_expect("rand_dropout", "out", &out, TENSOR_F32, err)) return false;
    if (!(p >= 0 && p < 1))
        return tensor_fail(err, "rand_dropout: a probability of %g is not in [0, 1)", (double)p);
    run_fill(
        &(fill){.convert = convert_dropout, .dropped = (uint32_t)((double)p * 0x1p32), .kept = 1 / (1 - p)},
        out, rng);
    return true;
}

/* ---- Drawing from weights ---------------------------------------------------------------------- */

/* The first index whose running sum exceeds u times the whole, u in [0, 1); -1 where the sum is not positive and
 * finite or a weight is negative. An index of weight 0 is never drawn. */
static int64_t draw(int64_t n, const float *weights, int64_t stride, double u) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(weights[i * stride] >= 0)) return -1;
        sum += (double)weights[i * stride];
    }
    if (!(sum > 0 && isfinite(sum))) return -1;
    double running = 0;
    for (int64_t i = 0; i < n; i++) {
        running += (double)weights[i * stride];
        if (running > u * sum) return i;
    }
    return -1;
}

bool tensor_rand_categorical(tensor out, tensor_rng *rng, tensor weights, tensor_error *err) {
    const char *what = "rand_categorical";
    if (!tensor_expect(what, "out", &out, TENSOR_I32, err) ||
        !tensor_expect(what, "weights", &weights, TENSOR_F32, err))
        return false;
    if (weights.rank == 0) return tensor_fail(err, "%s: weights is a scalar", what);
    int last = weights.rank - 1;
    if (!tensor_expect_shape(what, "out", &out, last, weights.shape, err)) return false;
    /* The loop goes over the first weight of each row. */
    int64_t n = weights.shape[last], stride = weights.stride[last];
    tensor first = weights;
    first.rank = last;
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ROW_MAJOR, 2, (tensor[]){out, first});
    tensor_run run = tensor_loop_runs(&loop, 0, loop.size);
    tensor_rng next = *rng;
    for (int64_t row = 0; tensor_run_next(&run);) {
        int32_t *drawn = run.at[0];
        const float *row_weights = run.at[1];
        for (int64_t i = 0; i < run.n; i++, row++) {
            int64_t index =
                draw(n, row_weights + i * loop.inner_stride[1], stride, tensor_rng_uniform(&next));
            if (index < 0)
                return tensor_fail(err, "%s: the weights of row %lld have no positive finite sum", what,
                                   (long long)row);
            drawn[i * loop.inner_stride[0]] = (int32_t)index;
        }
    }
    *rng = next;
    tensor_touch(out);
    return true;
}
