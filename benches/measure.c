/* What the benchmarks share: clock, median, and the machine's own limit. */
#include "benches/measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensor/tensor.h"

double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return x[n / 2];
}

/* ---- The peak: twelve independent chains of multiply-adds in registers ------------------------- */

#define PEAK(name, target, width)                                                                            \
    target static void name(int64_t rounds, float *out) {                                                    \
        typedef float vec __attribute__((vector_size(4 * width)));                                           \
        vec acc[12], x = {0}, y = {0};                                                                       \
        for (int i = 0; i < width; i++) x[i] = 0.999f, y[i] = 0.001f;                                        \
        for (int i = 0; i < 12; i++) acc[i] = y * (float)i;                                                  \
        for (int64_t r = 0; r < rounds; r++)                                                                 \
            for (int i = 0; i < 12; i++) acc[i] = acc[i] * x + y;                                            \
        for (int i = 1; i < 12; i++) acc[0] += acc[i];                                                       \
        memcpy(out, &acc[0], sizeof *out);                                                                   \
    }

#if defined(__x86_64__)
PEAK(peak_baseline, , 4)
PEAK(peak_avx2, __attribute__((target("avx2,fma"))), 8)
PEAK(peak_avx512, __attribute__((target("avx512f"))), 16)
#else
PEAK(peak_baseline, , 4)
#endif

typedef void peak_loop(int64_t rounds, float *out);

static peak_loop *peak_of(const char *isa, int *width) {
#if defined(__x86_64__)
    if (strcmp(isa, "avx512") == 0) return *width = 16, peak_avx512;
    if (strcmp(isa, "avx2") == 0) return *width = 8, peak_avx2;
#endif
    (void)isa;
    *width = 4;
    return peak_baseline;
}

enum { ROUNDS = 1 << 18 }; /* about 2 ms */

static void peak_work(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    peak_loop *const *loop = context;
    for (int64_t i = begin; i < end; i++) {
        float out;
        (*loop)(ROUNDS, &out);
        *(volatile float *)&out = out;
    }
}

double peak_gflops(void) {
    int width;
    peak_loop *loop = peak_of(tensor_isa(), &width);
    const int threads = tensor_threads();
    const double start = now();
    tensor_parallel(threads, 1, peak_work, &loop);
    return 2.0 * 12 * width * ROUNDS * threads / (now() - start) * 1e-9;
}
