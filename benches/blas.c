/* OpenBLAS, BLIS and the like through dlopen. */
#include "benches/blas.h"

#include <dlfcn.h>
#include <string.h>

/* The function `name` into *function, whatever its type; dlsym returns a pointer to data. */
static bool find(void *library, const char *name, void *function) {
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
    return address;
}

static void set_threads(void *library, int threads) {
    void (*openblas)(int), (*mkl)(int), (*blis)(int64_t);
    if (find(library, "openblas_set_num_threads", &openblas))
        openblas(threads);
    else if (find(library, "bli_thread_set_num_threads", &blis))
        blis(threads);
    else if (find(library, "MKL_Set_Num_Threads", &mkl))
        mkl(threads);
}

blas blas_open(const char *file, int threads) {
    static const char *const known[] = {"libopenblas.so.0", "libopenblas.so", "libblis.so.4",
                                        "libblis.so.3",     "libblis.so",     "libmkl_rt.so.2"};
    blas b = {0};
    for (size_t i = 0; i < (file ? 1 : sizeof known / sizeof *known); i++) {
        b.name = file ? file : known[i];
        b.library = dlopen(b.name, RTLD_NOW | RTLD_LOCAL);
        if (!b.library) continue;
        if (find(b.library, "cblas_sgemm", &b.sgemm)) {
            set_threads(b.library, threads);
            return b;
        }
        dlclose(b.library);
    }
    return (blas){0};
}

void blas_close(blas *b) {
    if (b->library) dlclose(b->library);
    *b = (blas){0};
}

void blas_product(const blas *b, float *c, const float *a_data, const float *b_data, int64_t m, int64_t n,
                  int64_t k, bool at, bool bt) {
    enum { ROW_MAJOR = 101, AS_IS = 111, TRANSPOSED = 112 };
    b->sgemm(ROW_MAJOR, at ? TRANSPOSED : AS_IS, bt ? TRANSPOSED : AS_IS, (int)m, (int)n, (int)k, 1, a_data,
             (int)(at ? m : k), b_data, (int)(bt ? k : n), 0, c, (int)n);
}
