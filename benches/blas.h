/* Another library's matrix product, loaded at run time where one is installed: nothing depends on it. */
#ifndef SAMPO_BENCHES_BLAS_H
#define SAMPO_BENCHES_BLAS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct blas {
    void *library; /* NULL: none is there */
    const char *name;
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                  int lda, const float *b, int ldb, float beta, float *c, int ldc); /* cblas_sgemm */
} blas;

/* Opens the library `file`, or the first known one that is installed where that is NULL, with a number of threads. */
blas blas_open(const char *file, int threads);
void blas_close(blas *b);

/* c[m, n] = a[m, k] b[k, n], row-major; a transposed operand is stored as [k, m] or [n, k]. */
void blas_product(const blas *b, float *c, const float *a_data, const float *b_data, int64_t m, int64_t n,
                  int64_t k, bool at, bool bt);

#endif
