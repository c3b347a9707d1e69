/* The limits of this machine: multiply-adds a second for each instruction set, and bandwidth of each level of memory.
 *
 *     build/benches/peak [--threads N] [--json FILE]
 */
#include "benches/measure.h"

enum { TURNS = 15 };

static bool multiply_adds(bench *b) {
    static const bench_column columns[] = {
        {"isa", "set", -10, 0}, {"gflops", "GFLOP/s", 14, 1}, {"per_thread", "a thread", 10, 1}, {0}};
    bench_table(b, "multiply-adds in registers", columns);
    for (int i = 0; tensor_isa_available(i); i++) {
        limit_peak peak = {0};
        bench_side side = limit_peak_side(&peak, tensor_isa_available(i));
        if (!bench_alternate(b, &side, 1, TURNS)) return false;
        const figure rate = figure_rate(1e-9 * peak.flops, side.seconds);
        bench_row(b, (bench_cell[]){cell_text(peak.isa), cell_figure(rate),
                                    cell_number(rate.median / tensor_threads())});
    }
    return true;
}

static bool traffic(bench *b, tensor_arena *arena, tensor_error *err) {
    static const bench_column columns[] = {
        {"level", "level", -10, 0},       {"kib_per_thread", "KiB a thread", 12, 0},
        {"read", "read GB/s", 14, 1},     {"write", "write GB/s", 14, 1},
        {"triad", "a=b*c+a GB/s", 14, 1}, {0}};
    const int64_t threads = tensor_threads(), last = limit_cache(3);
    const struct {
        const char *what;
        int64_t bytes; /* of all threads */
    } levels[] = {
        {"L1", limit_cache(1) / 2 * threads},
        {"L2", limit_cache(2) / 2 * threads},
        {"L3", last / 2},
        {"memory", 4 * last < 256 << 20 ? 4 * last : 256 << 20},
    };
    bench_table(b, "traffic: bytes that the loop reads and writes", columns);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        tensor_arena_reset(arena);
        limit_stream streams[3];
        bench_side sides[3];
        for (int kind = LIMIT_READ; kind <= LIMIT_TRIAD; kind++)
            sides[kind] = limit_stream_side(&streams[kind], (limit_traffic)kind, levels[i].bytes, arena, err);
        bench_cell cells[5] = {cell_text(levels[i].what), cell_number((double)(4 * streams[0].share) / 1024)};
        for (int kind = LIMIT_READ; kind <= LIMIT_TRIAD;
             kind++) { /* one by one: each has the cache to itself */
            if (!bench_alternate(b, &sides[kind], 1, TURNS)) return false;
            cells[2 + kind] = cell_figure(figure_rate(1e-9 * streams[kind].moved, sides[kind].seconds));
        }
        bench_row(b, cells);
    }
    return true;
}

int main(int argc, char **argv) {
    bench b;
    const int status = bench_begin(&b, "peak", "The limits of this machine", NULL, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    const int64_t all = b.threads;
    bool ok = arena;
    for (int64_t threads = b.threads_set ? all : 1; ok; threads = all) {
        b.threads = threads;
        ok = tensor_set_threads((int)threads, &err) && multiply_adds(&b) && traffic(&b, arena, &err);
        if (threads == all) break;
    }
    tensor_arena_free(arena);
    return bench_end(&b, &err);
}
