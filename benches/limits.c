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
 * units, and few enough for the registers. n is a multiple of 16 vectors in each third. */
#define LOOPS(name, target, width, chains)                                                                   \
    typedef float vec_##name __attribute__((vector_size(4 * width)));                                        \
    target static float fma_##name(int64_t rounds) {                                                         \
        vec_##name acc[chains], x = {0}, y = {0};                                                            \
        for (int i = 0; i < width; i++) x[i] = 0.999f, y[i] = 0.001f;                                        \
        for (int i = 0; i < chains; i++) acc[i] = y * (float)i;                                              \
        for (int64_t r = 0; r < rounds; r++)                                                                 \
            for (int i = 0; i < chains; i++) acc[i] = acc[i] * x + y;                                        \
        for (int i = 1; i < chains; i++) acc[0] += acc[i];                                                   \
        return acc[0][0];                                                                                    \
    }                                                                                                        \
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
    { #name, width, chains, fma_##name, read_##name, write_##name, triad_##name }

#if defined(__x86_64__)
LOOPS(avx512, __attribute__((target("avx512f"))), 16, 24)
LOOPS(avx2, __attribute__((target("avx2,fma"))), 8, 12)
LOOPS(baseline, , 4, 12)
static const limit_loops all[] = {ENTRY(avx512, 16, 24), ENTRY(avx2, 8, 12), ENTRY(baseline, 4, 12)};
#else
LOOPS(neon, , 4, 24)
LOOPS(baseline, , 4, 12)
static const limit_loops all[] = {ENTRY(neon, 4, 24), ENTRY(baseline, 4, 12)};
#endif

static const limit_loops *loops_of(const char *isa) {
    const size_t count = sizeof all / sizeof *all;
    for (size_t i = 0; i + 1 < count; i++)
        if (strcmp(all[i].isa, isa) == 0) return &all[i];
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

static const char *isa_of(const limit_peak *peak) {
    return peak->isa ? peak->isa : tensor_isa();
}

static double peak_run(void *context) {
    limit_loops loops = *loops_of(isa_of(context));
    const double start = now();
    tensor_parallel(tensor_threads(), 1, peak_work, &loops);
    return now() - start;
}

bench_side limit_peak_side(limit_peak *peak, const char *isa) {
    peak->isa = isa;
    const limit_loops *loops = loops_of(isa_of(peak));
    peak->flops = 2.0 * loops->chains * loops->width * ROUNDS * tensor_threads();
    return (bench_side){.run = peak_run, .context = peak};
}

double peak_gflops(void) {
    limit_peak peak;
    const bench_side side = limit_peak_side(&peak, NULL);
    return 1e-9 * peak.flops / side.run(side.context);
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
