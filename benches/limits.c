/* What the machine can do at best: multiply-adds in registers, and traffic with caches and memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benches/measure.h"

/* ---- Loops, once an instruction set ---------------------------------------------------------- */

typedef struct limit_loops {
    const char *isa;
    int width, chains; /* floats in a vector; independent chains of multiply-adds */
    float (*fma)(int64_t rounds);
    float (*read)(float *x, int64_t n);
    float (*write)(float *x, int64_t n);
    float (*triad)(float *x, int64_t n);
} limit_loops;

/* A chain of multiply-adds waits for its own last result, so `chains` of them go side by side: more than latency times
 * units. They are written in assembly, as a compiler that keeps one of them in memory halves what it measures. x86 names
 * its vector registers xmm, ymm or zmm, by their width; chains are in registers 4 and above, or 8 and above. */
#define CHAINS_12(_, v)                                                                                      \
    _(v, 4) _(v, 5) _(v, 6) _(v, 7) _(v, 8) _(v, 9) _(v, 10) _(v, 11) _(v, 12) _(v, 13) _(v, 14) _(v, 15)
/* clang-format off */
#define CHAINS_24(_, v) \
    _(v, 8) _(v, 9) _(v, 10) _(v, 11) _(v, 12) _(v, 13) _(v, 14) _(v, 15) _(v, 16) _(v, 17) _(v, 18) _(v, 19) \
    _(v, 20) _(v, 21) _(v, 22) _(v, 23) _(v, 24) _(v, 25) _(v, 26) _(v, 27) _(v, 28) _(v, 29) _(v, 30) _(v, 31)
/* clang-format on */

/* acc = acc x + y in each chain, `rounds` times, all beginning at y. A chain's last value is the result. */
#define PEAK_LOOP(name, target, width, begin, step, end, last, ...)                                          \
    target static float fma_##name(int64_t rounds) {                                                         \
        const float x = 0.999f, y = 0.001f;                                                                  \
        float out[width];                                                                                    \
        __asm__ volatile(begin "1:\n" step end last                                                          \
                         : "+r"(rounds)                                                                      \
                         : "r"(&x), "r"(&y), "r"(out)                                                        \
                         : "memory", "cc", __VA_ARGS__);                                                     \
        return out[0];                                                                                       \
    }
/* Of a list above, the number of its chains: what the loop does and what is counted come from one place. */
#define ONE(v, i) +1
#define CLOBBERS_8_TO_15 "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

#define LOOPS(name, target, width)                                                                           \
    typedef float vec_##name __attribute__((vector_size(4 * width)));                                        \
    target static float read_##name(float *memory, int64_t n) {                                              \
        const vec_##name *x = (const void *)memory;                                                          \
        vec_##name sum[8] = {{0}};                                                                           \
        for (int64_t i = 0; i < n / width; i += 8)                                                           \
            for (int k = 0; k < 8; k++) sum[k] += x[i + k];                                                  \
        for (int k = 1; k < 8; k++) sum[0] += sum[k];                                                        \
        return sum[0][0];                                                                                    \
    }                                                                                                        \
    target static float write_##name(float *memory, int64_t n) {                                             \
        vec_##name *x = (void *)memory, one = {0};                                                           \
        for (int k = 0; k < width; k++) one[k] = 1;                                                          \
        for (int64_t i = 0; i < n / width; i += 8)                                                           \
            for (int k = 0; k < 8; k++) x[i + k] = one;                                                      \
        return 0;                                                                                            \
    }                                                                                                        \
    target static float triad_##name(float *memory, int64_t n) {                                             \
        vec_##name *restrict a = (void *)memory;                                                             \
        const vec_##name *restrict b = (const void *)(memory + n / 3), *restrict c =                         \
                                                                           (const void *)(memory +           \
                                                                                          n / 3 * 2);        \
        for (int64_t i = 0; i < n / 3 / width; i += 4)                                                       \
            for (int k = 0; k < 4; k++) a[i + k] = b[i + k] * c[i + k] + a[i + k];                           \
        return 0;                                                                                            \
    }
#define ENTRY(name, width, chains)                                                                           \
    { #name, width, 0 chains(ONE, ), fma_##name, read_##name, write_##name, triad_##name }

#if defined(__x86_64__)
#define COPY(v, i) "vmovaps %%" #v "mm1, %%" #v "mm" #i "\n"
#define FMA(v, i) "vfmadd213ps %%" #v "mm1, %%" #v "mm0, %%" #v "mm" #i "\n"
#define SSE_COPY(v, i) "movaps %%xmm1, %%xmm" #i "\n"
#define SSE_MULTIPLY(v, i) "mulps %%xmm0, %%xmm" #i "\n"
#define SSE_ADD(v, i) "addps %%xmm1, %%xmm" #i "\n"
#define NEXT "dec %0\n jnz 1b\n"
#define SPREAD(v) "vbroadcastss (%1), %%" #v "mm0\n vbroadcastss (%2), %%" #v "mm1\n"
#define LOW "xmm0", "xmm1", "xmm4", "xmm5", "xmm6", "xmm7", CLOBBERS_8_TO_15
PEAK_LOOP(avx512, __attribute__((target("avx512f"))), 16, SPREAD(z) CHAINS_24(COPY, z), CHAINS_24(FMA, z),
          NEXT, "vmovups %%zmm31, (%3)\n vzeroupper\n", "xmm0", "xmm1", CLOBBERS_8_TO_15, "xmm16", "xmm17",
          "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
          "xmm29", "xmm30", "xmm31")
PEAK_LOOP(avx2, __attribute__((target("avx2,fma"))), 8, SPREAD(y) CHAINS_12(COPY, y), CHAINS_12(FMA, y), NEXT,
          "vmovups %%ymm15, (%3)\n vzeroupper\n", LOW)
PEAK_LOOP(baseline, , 4,
          "movss (%1), %%xmm0\n shufps $0, %%xmm0, %%xmm0\n movss (%2), %%xmm1\n shufps $0, %%xmm1, "
          "%%xmm1\n" CHAINS_12(SSE_COPY, x),
          CHAINS_12(SSE_MULTIPLY, x) CHAINS_12(SSE_ADD, x), NEXT, "movups %%xmm15, (%3)\n", LOW)
LOOPS(avx512, __attribute__((target("avx512f"))), 16)
LOOPS(avx2, __attribute__((target("avx2,fma"))), 8)
LOOPS(baseline, , 4)
static const limit_loops all[] = {ENTRY(avx512, 16, CHAINS_24), ENTRY(avx2, 8, CHAINS_12),
                                  ENTRY(baseline, 4, CHAINS_12)};
#elif defined(__aarch64__)
#define COPY(v, i) "mov v" #i ".16b, v1.16b\n"
#define FMA(v, i) "fmla v" #i ".4s, v1.4s, v0.4s\n"
PEAK_LOOP(neon, , 4, "ld1r {v0.4s}, [%1]\n ld1r {v1.4s}, [%2]\n" CHAINS_24(COPY, v), CHAINS_24(FMA, v),
          "subs %0, %0, #1\n b.ne 1b\n", "str q31, [%3]\n", "v0", "v1", "v8", "v9", "v10", "v11", "v12",
          "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
          "v27", "v28", "v29", "v30", "v31")
#define fma_baseline fma_neon
LOOPS(neon, , 4)
LOOPS(baseline, , 4)
static const limit_loops all[] = {ENTRY(neon, 4, CHAINS_24), ENTRY(baseline, 4, CHAINS_24)};
#endif

/* avx512bf16 has the loops of avx512: what it adds is no float32. */
static const limit_loops *loops_of(const char *isa) {
    const size_t count = sizeof all / sizeof *all;
    for (size_t i = 0; i + 1 < count; i++)
        if (strncmp(all[i].isa, isa, strlen(all[i].isa)) == 0) return &all[i];
    return &all[count - 1];
}

/* Results go here, so that no loop is left out. */
static void keep(float x) {
    __asm__ volatile("" : : "r"(&x) : "memory");
}

/* ---- Multiply-adds -------------------------------------------------------------------------- */

enum { ROUNDS = 1 << 17 };

static void peak_work(void *context, int64_t begin, int64_t end, int worker) {
    const limit_loops *loops = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++) keep(loops->fma(ROUNDS));
}

static double peak_run(void *context) {
    limit_peak *peak = context;
    limit_loops loops = *loops_of(peak->isa);
    const double start = now();
    tensor_parallel(tensor_threads(), 1, peak_work, &loops);
    const double seconds = now() - start;
    if (peak->best < peak->flops / seconds) peak->best = peak->flops / seconds;
    return seconds;
}

bench_side limit_peak_side(limit_peak *peak, const char *isa) {
    if (!isa) isa = tensor_isa();
    const limit_loops *loops = loops_of(isa);
    const double flops = 2.0 * loops->chains * loops->width * ROUNDS * tensor_threads();
    if (peak->isa != isa || peak->flops != flops) *peak = (limit_peak){.isa = isa, .flops = flops};
    return (bench_side){.run = peak_run, .context = peak};
}

bool limit_percent(const bench_side *side, double flops, double seconds, double *percent, tensor_error *err) {
    enum { TRIES = 500 };
    const double most = 1.05, rate = flops / seconds;
    const limit_peak *peak = side->context;
    for (int i = 0; i < TRIES && rate > most * peak->best; i++)
        if (side->run(side->context) < 0) return tensor_fail(err, "the peak cannot be measured");
    *percent = rate > 0 ? 100 * rate / peak->best : 0;
    return rate <= most * peak->best ||
           tensor_fail(err,
                       "%.1f GFLOP/s are %.0f %% of the peak, which is %.1f: it was measured too low, or the "
                       "work is less than was counted",
                       1e-9 * rate, *percent, 1e-9 * peak->best);
}

/* ---- Traffic --------------------------------------------------------------------------------- */

/* A worker keeps to its own share, wherever its ranges begin: that is what its cache holds. */
static void stream_work(void *context, int64_t begin, int64_t end, int worker) {
    const limit_stream *s = context;
    const limit_loops *loops = loops_of(tensor_isa());
    float (*const loop[])(float *, int64_t) = {loops->read, loops->write, loops->triad};
    for (int64_t i = begin; i < end; i++)
        for (int64_t pass = 0; pass < s->passes; pass++)
            keep(loop[s->traffic](s->memory + worker * s->share, s->share));
}

static double stream_run(void *context) {
    const double start = now();
    tensor_parallel(tensor_threads(), 1, stream_work, context);
    return now() - start;
}

bench_side limit_stream_side(limit_stream *stream, limit_traffic traffic, int64_t bytes, tensor_arena *arena,
                             tensor_error *err) {
    enum { STEP = 3 * 16 * 16, AT_LEAST = 4 << 20 /* bytes of a thread's run */ };
    const int threads = tensor_threads();
    int64_t share = bytes / 4 / threads / STEP * STEP;
    if (share < STEP) share = STEP;
    *stream = (limit_stream){.traffic = traffic, .share = share, .passes = 1 + AT_LEAST / (4 * share)};
    stream->moved = (traffic == LIMIT_TRIAD ? 16.0 / 3 : 4.0) * (double)(share * stream->passes * threads);
    const size_t size = (size_t)(4 * share * threads);
    stream->memory = tensor_arena_alloc(arena, size, err);
    if (!stream->memory) return (bench_side){0};
    memset(stream->memory, 0, size);
    return (bench_side){.run = stream_run, .context = stream};
}

/* What Linux says of the cache number `index` of the first processor; false: nothing. */
static bool cache_says(int index, const char *what, char *text, int size) {
    char path[80];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
    FILE *file = fopen(path, "r");
    const bool ok = file && fgets(text, size, file);
    if (file) fclose(file);
    return ok;
}

int64_t limit_cache(int level) {
    char text[32];
    for (int index = 0; cache_says(index, "level", text, sizeof text); index++) {
        if (atoi(text) != level || !cache_says(index, "type", text, sizeof text) || text[0] == 'I') continue;
        if (!cache_says(index, "size", text, sizeof text)) continue;
        const int64_t size = atoll(text);
        if (size > 0) return size << (strchr(text, 'M') ? 20 : 10);
    }
    return (int64_t[]){32 << 10, 512 << 10, 8 << 20}[level - 1];
}
