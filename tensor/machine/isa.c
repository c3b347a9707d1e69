/* The choice of an instruction set. */
#include "tensor/kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef SAMPO_HAVE_AVX512BF16
#include <cpuid.h>
#endif

extern const tensor_kernels tensor_kernels_baseline, tensor_kernels_avx2, tensor_kernels_avx512,
    tensor_kernels_neon;

/* Whether this processor, and the operating system on it, can run what kernels/table.c was compiled for. */
static bool runs_anywhere(void) {
    return true;
}

#ifdef SAMPO_HAVE_AVX2
static bool runs_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef SAMPO_HAVE_AVX512
static bool runs_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
}
#endif

#ifdef SAMPO_HAVE_AVX512BF16
static bool runs_avx512bf16(void) {
    return runs_avx512() && __builtin_cpu_supports("avx512bf16");
}

/* Those of AVX-512 but for the products of bfloat16; made by `choose`. */
static tensor_kernels kernels_avx512bf16;

#ifdef SAMPO_HAVE_AVX2
/* Whether it is a Zen 4, which does an operation on 512 bits as two on 256: there attention of heads that fill no vector
 * of 16, and products whose B stays in the second-level cache, are faster with vectors of 8. The bits are the same. */
static bool halves_avx512(void) {
    unsigned eax = 0, ebx, ecx, edx;
    const bool known = __get_cpuid(1, &eax, &ebx, &ecx, &edx);
    const unsigned family = (eax >> 8 & 15) + (eax >> 20 & 255);
    return known && __builtin_cpu_is("amd") && family == 0x19; /* a Zen 3 has this one, too, but no AVX-512 */
}

/* A taller tile reads B less often, which pays where B comes from afar. */
static void gemm_in_halves(const gemm_args *g) {
    (g->k * g->n > 1 << 16 ? tensor_kernels_avx512.gemm : tensor_kernels_avx2.gemm)(g);
}
#endif
#endif

/* Those compiled in, best first. */
static const struct {
    const tensor_kernels *kernels;
    bool (*runs)(void);
} sets[] = {
#ifdef SAMPO_HAVE_AVX512BF16
    {&kernels_avx512bf16, runs_avx512bf16},
#endif
#ifdef SAMPO_HAVE_AVX512
    {&tensor_kernels_avx512, runs_avx512},
#endif
#ifdef SAMPO_HAVE_AVX2
    {&tensor_kernels_avx2, runs_avx2},
#endif
#ifdef SAMPO_HAVE_NEON
    {&tensor_kernels_neon, runs_anywhere},
#endif
#ifdef SAMPO_HAVE_BASELINE
    {&tensor_kernels_baseline, runs_anywhere},
#endif
};
enum { SETS = sizeof sets / sizeof *sets };

/* Chosen once and constant from then on. */
static const tensor_kernels *available[SETS + 1], *chosen;
static char refused[32]; /* the name in SAMPO_ISA where it was of no use, cut to this length */
static pthread_once_t choice = PTHREAD_ONCE_INIT;

static void choose(void) {
#ifdef SAMPO_HAVE_AVX512BF16
    kernels_avx512bf16 = tensor_kernels_avx512;
    kernels_avx512bf16.name = "avx512bf16";
    kernels_avx512bf16.gemm_bf16 = tensor_gemm_avx512bf16;
#ifdef SAMPO_HAVE_AVX2
    if (halves_avx512()) {
        kernels_avx512bf16.gemm = gemm_in_halves;
        kernels_avx512bf16.attention = tensor_kernels_avx2.attention;
        kernels_avx512bf16.attention_vjp = tensor_kernels_avx2.attention_vjp;
    }
#endif
#endif
    int count = 0;
    for (int i = 0; i < SETS; i++)
        if (sets[i].runs()) available[count++] = sets[i].kernels;
    chosen = available[0];
    const char *wanted = getenv("SAMPO_ISA");
    if (!wanted || !*wanted) return;
    for (int i = 0; i < count; i++) {
        if (strcmp(wanted, available[i]->name) != 0) continue;
        chosen = available[i];
        return;
    }
    snprintf(refused, sizeof refused, "%s", wanted);
}

const tensor_kernels *tensor_kernels_get(void) {
    pthread_once(&choice, choose);
    return chosen;
}

const char *tensor_isa(void) {
    return tensor_kernels_get()->name;
}

const char *tensor_isa_available(int i) {
    pthread_once(&choice, choose);
    return i >= 0 && i < SETS && available[i] ? available[i]->name : NULL;
}

bool tensor_isa_check(tensor_error *err) {
    pthread_once(&choice, choose);
    if (!*refused) return true;
    char names[64] = "";
    for (int i = 0; available[i]; i++) {
        if (i > 0) strcat(names, ", ");
        strcat(names, available[i]->name);
    }
    return tensor_fail(err, "SAMPO_ISA is '%s', but this processor and build have: %s", refused, names);
}
