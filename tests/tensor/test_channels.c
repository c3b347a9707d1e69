/* Normalisation of channels and its gradients against plain loops in double; bits and errors. */
#include "tests/tensor/tensor_test.h"

typedef struct geometry {
    int64_t images, channels, size, groups;
} geometry;
static const geometry geometries[] = {{3, 4, 35, 0}, {1, 2, 2000, 0}, {5, 6, 2, 0},      {3, 4, 35, 2},
                                      {2, 6, 1, 3},  {1, 3, 1500, 3}, {2, 3, 40, 1},     {50, 37, 1, 0},
                                      {1, 3, 1, 0},  {2500, 5, 1, 0}, {130, 1030, 1, 0}, {0, 4, 10, 2},
                                      {2, 0, 3, 0}};
enum { GEOMETRIES = sizeof geometries / sizeof *geometries };

typedef struct operands {
    tensor x, w, b, dy, y, stats, dx, dw, db, scratch;
} operands;

static tensor rows(tensor_arena *arena, int rank, const int64_t *shape, uint64_t seed, float low,
                   float high) {
    const tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, rank, shape);
    test_fill(x, seed, low, high);
    return x;
}

static operands make(tensor_arena *arena, const geometry *g, float centre) {
    const int64_t shape[3] = {g->images, g->channels, g->size}, *c = &shape[1];
    const int64_t sets = g->groups ? g->images * g->groups : g->channels;
    return (operands){.x = rows(arena, 3, shape, 1, centre - 1, centre + 1),
                      .w = rows(arena, 1, c, 2, 0.5f, 1.5f),
                      .b = rows(arena, 1, c, 3, -1, 1),
                      .dy = rows(arena, 3, shape, 4, -1, 1),
                      .y = rows(arena, 3, shape, 5, 0, 1),
                      .stats = rows(arena, TENSOR_SHAPE(3, sets), 5, 0, 1),
                      .dx = rows(arena, 3, shape, 6, -1, 1),
                      .dw = rows(arena, 1, c, 7, -1, 1),
                      .db = rows(arena, 1, c, 8, -1, 1),
                      .scratch = rows(arena, TENSOR_SHAPE((4 * g->images + 2) * g->channels), 9, 0, 1)};
}

/* Calls a function for the elements of a set, with their channels: a channel of all images, or a group's of one. */
#define EACH_OF(g, set, i, c, ...)                                                                           \
    for (int64_t n = (g)->groups ? (set) / (g)->groups : 0, end = (g)->groups ? n + 1 : (g)->images;         \
         n < end; n++) {                                                                                     \
        const int64_t width = (g)->groups ? (g)->channels / (g)->groups : 1,                                 \
                      first = (g)->groups ? (set) % (g)->groups * width : (set);                             \
        for (int64_t c = first; c < first + width; c++)                                                      \
            for (int64_t s = 0; s < (g)->size; s++) {                                                        \
                const int64_t i = (n * (g)->channels + c) * (g)->size + s;                                   \
                __VA_ARGS__                                                                                  \
            }                                                                                                \
    }

static const float eps = 1e-3f;

static void compare(tensor_arena *arena, const geometry *g, bool accumulate) {
    const operands t = make(arena, g, 3);
    double *dw = calloc((size_t)g->channels + 1, sizeof *dw),
           *db = calloc((size_t)g->channels + 1, sizeof *db);
    const operands before = make(arena, g, 3);
    TEST_OK(tensor_channel_norm(t.y, t.stats, t.x, t.w, t.b, g->groups, eps, &err));
    TEST_OK(tensor_channel_norm_vjp(t.dx, t.dw, t.db, t.dy, t.x, t.w, t.stats, g->groups, accumulate,
                                    t.scratch, &err));
    for (int64_t set = 0; set < t.stats.shape[1]; set++) {
        double count = 0, mean = 0, variance = 0, g_sum = 0, dot = 0;
        EACH_OF(g, set, i, c, count += 1; mean += (double)t.x.f32[i];)
        mean /= count;
        EACH_OF(g, set, i, c, variance += pow((double)t.x.f32[i] - mean, 2) / count;)
        const double rstd = 1 / sqrt(variance + (double)eps);
        test_close((double)*test_at(t.stats, set), mean, 1e-6, "the mean");
        test_close((double)*test_at(t.stats, t.stats.shape[1] + set), variance, 1e-6, "the variance");
        EACH_OF(g, set, i, c, const double normal = ((double)t.x.f32[i] - mean) * rstd;
                const double dy = (double)t.dy.f32[i], w = (double)t.w.f32[c];
                test_close((double)t.y.f32[i], normal * w + (double)t.b.f32[c], 2e-6, "the result");
                g_sum += w * dy / count; dot += w * dy * normal / count; dw[c] += dy * normal; db[c] += dy;)
        EACH_OF(g, set, i, c, const double normal = ((double)t.x.f32[i] - mean) * rstd;
                const double dx = rstd * ((double)t.dy.f32[i] * (double)t.w.f32[c] - g_sum - normal * dot);
                test_close((double)t.dx.f32[i], dx + (accumulate ? (double)before.dx.f32[i] : 0), 1e-5,
                           "the gradient of x");)
    }
    for (int64_t c = 0; c < g->channels; c++) {
        test_close((double)t.dw.f32[c], dw[c] + (double)before.dw.f32[c], 1e-5, "the gradient of w");
        test_close((double)t.db.f32[c], db[c] + (double)before.db.f32[c], 1e-5, "the gradient of b");
    }
    free(dw), free(db);
}

Test(channels, equals_plain_loops) {
    tensor_arena *arena = tensor_arena_new(NULL);
    for (int which = 0; which < GEOMETRIES; which++)
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            tensor_arena_reset(arena);
            compare(arena, &geometries[which], accumulate);
        }
    tensor_arena_free(arena);
}

/* Numbers far from 0 that hardly vary: the sum of their squares would have lost it. */
Test(channels, the_variance_of_large_numbers_is_right) {
    tensor_arena *arena = tensor_arena_new(NULL);
    const geometry all[] = {{40, 2, 100, 0}, {2500, 2, 1, 0}, {2, 4, 1000, 2}};
    for (size_t which = 0; which < 3; which++) {
        const geometry *g = &all[which];
        const operands t = make(arena, g, 4096);
        TEST_OK(tensor_channel_norm(t.y, t.stats, t.x, t.w, t.b, g->groups, eps, &err));
        for (int64_t set = 0; set < t.stats.shape[1]; set++) {
            double count = 0, mean = 0, variance = 0;
            EACH_OF(g, set, i, c, count += 1; mean += (double)t.x.f32[i];)
            mean /= count;
            EACH_OF(g, set, i, c, variance += pow((double)t.x.f32[i] - mean, 2) / count;)
            test_close((double)*test_at(t.stats, t.stats.shape[1] + set) / variance, 1, 1e-6, "the variance");
        }
    }
    tensor_arena_free(arena);
}

Test(channels, threads_do_not_change_the_bits) {
    tensor_arena *arena = tensor_arena_new(NULL);
    const geometry all[] = {{20, 30, 100, 0}, {3000, 40, 1, 0}, {20, 30, 100, 5}};
    for (size_t which = 0; which < 3; which++) {
        const geometry *g = &all[which];
        operands t[2];
        for (int i = 0; i < 2; i++) {
            cr_assert(tensor_set_threads(i == 0 ? 1 : 3, NULL));
            t[i] = make(arena, g, 1);
            TEST_OK(tensor_channel_norm(t[i].y, t[i].stats, t[i].x, t[i].w, t[i].b, g->groups, eps, &err));
            TEST_OK(tensor_channel_norm_vjp(t[i].dx, t[i].dw, t[i].db, t[i].dy, t[i].x, t[i].w, t[i].stats,
                                            g->groups, false, t[i].scratch, &err));
        }
        const tensor pairs[][2] = {
            {t[0].y, t[1].y}, {t[0].dx, t[1].dx}, {t[0].dw, t[1].dw}, {t[0].db, t[1].db}};
        for (int k = 0; k < 4; k++)
            cr_expect_arr_eq(pairs[k][0].f32, pairs[k][1].f32,
                             (size_t)tensor_size(pairs[k][0]) * sizeof(float));
    }
    tensor_arena_free(arena);
}

Test(channels, errors_say_what_does_not_fit) {
    tensor_arena *arena = tensor_arena_new(NULL);
    int64_t sets;
    const tensor x = rows(arena, TENSOR_SHAPE(2, 4, 3), 1, 0, 1),
                 none = rows(arena, TENSOR_SHAPE(0, 4), 1, 0, 1);
    TEST_FAILS(tensor_channel_sets(x, 3, &sets, &err), "channel_norm: 3 groups do not divide 4 channels");
    TEST_FAILS(tensor_channel_sets(none, 0, &sets, &err), "channel_norm: there are no elements");
    TEST_FAILS(tensor_channel_sets(tensor_reshape(x, TENSOR_SHAPE(-1), NULL), 0, &sets, &err),
               "channel_norm: needs x[N, C, ...], not a rank of 1");
    tensor_arena_free(arena);
}
