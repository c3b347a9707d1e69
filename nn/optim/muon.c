/* Muon: momentum whose matrices are made nearly orthogonal (Jordan et al. 2024). */
#include "nn/optim/state.h"

#include <math.h>
#include <string.h>

enum { NEWTON_SCHULZ_STEPS = 5 };

/* A matrix to be made orthogonal: a parameter, or one of several that stand beside each other in it. */
typedef struct item {
    tensor p, g, v; /* value, gradient, momentum: views [rows, columns], rows <= columns */
    const ag_var *of;
    double rate;  /* of its group: multiplies the optimizer's */
    double scale; /* and the step's length */
} item;

/* What init makes, in the registry's memory. */
struct nn_muon_work {
    const nn_params *params;
    item *items;
    int count, slots; /* so many threads share the items */
    tensor room;      /* [slots, room_of the largest item] */
};

/* Numbers that making an item orthogonal needs: X and the next X, A and B. */
static int64_t room_of(int64_t rows, int64_t columns) {
    return 2 * rows * columns + 2 * rows * rows;
}

static int parts_of(const nn_registered *entry) {
    return entry->parts > 1 ? entry->parts : 1;
}

static bool takes(const nn_muon_options *options, const nn_registered *entry) {
    return nn_is_flat(entry) && nn_group_rate(options->groups, entry->name) != 0;
}

/* The largest room that an item needs, and how many items there are; values need no memory yet. */
static int64_t largest_room(const nn_params *params, const nn_muon_options *options, int *count) {
    int64_t largest = 0;
    *count = 0;
    for (int i = 0; i < params->count; i++) {
        const nn_registered *entry = &params->entries[i];
        const tensor *value = &entry->parameter->value;
        if (!takes(options, entry) || value->rank != 2) continue;
        const int stacked = entry->form == NN_IN_OUT;
        const int64_t a = value->shape[stacked] / parts_of(entry), b = value->shape[!stacked];
        const int64_t room = a < b ? room_of(a, b) : room_of(b, a);
        if (room > largest) largest = room;
        *count += parts_of(entry);
    }
    return largest;
}

static int slots_for(int count) {
    return count < tensor_threads() ? count : tensor_threads();
}

int64_t nn_muon_numbers(const nn_params *params, const nn_muon_options *options) {
    int count;
    if (!params) return 0;
    const int64_t room = largest_room(params, options, &count);
    return params->numbers + slots_for(count) * room;
}

/* Part k of x, turned so that it has no more rows than columns; a square is [out, in]. */
static tensor part_of(tensor x, const nn_registered *entry, int k) {
    if (entry->form == NN_IN_OUT) x = tensor_transpose(x, 0, 1, NULL);
    const int64_t out = x.shape[0] / parts_of(entry);
    x = tensor_slice(x, 0, k * out, (k + 1) * out, 1, NULL);
    return out > x.shape[1] ? tensor_transpose(x, 0, 1, NULL) : x;
}

static void add_items(struct nn_muon *o, const nn_registered *entry, tensor grad, tensor momentum) {
    struct nn_muon_work *w = o->work;
    const tensor value = entry->parameter->value;
    const bool in_out = entry->form == NN_IN_OUT;
    const double in = (double)value.shape[!in_out], out = (double)value.shape[in_out] / parts_of(entry);
    const double rate = nn_group_rate(o->options.groups, entry->name), scale = sqrt(fmax(1, out / in));
    for (int k = 0; k < parts_of(entry); k++)
        w->items[w->count++] = (item){.of = entry->parameter,
                                      .p = part_of(value, entry, k),
                                      .g = part_of(grad, entry, k),
                                      .v = part_of(momentum, entry, k),
                                      .rate = rate,
                                      .scale = scale};
}

bool nn_muon_init(struct nn_muon *o, nn_params *params, nn_muon_options options) {
    *o = (struct nn_muon){.options = options};
    if (!nn_state_new(&o->state, params, "nn_muon_init", 1, (const char *const[]){"optimizer.momentum"}))
        return false;
    o->state.steps = NULL; /* nothing depends on them */
    tensor_error *err = &params->error;
    int count;
    const int64_t room = largest_room(params, &options, &count);
    struct nn_muon_work *w = o->work = tensor_arena_alloc(params->arena, sizeof *w, err);
    tensor *momenta = tensor_arena_alloc(params->arena, (size_t)params->trained * sizeof *momenta, err);
    if (!w || !momenta) return false;
    *w = (struct nn_muon_work){.params = params, .slots = slots_for(count)};
    w->items = tensor_arena_alloc(params->arena, (size_t)count * sizeof *w->items, err);
    w->room = tensor_new(params->arena, TENSOR_F32, TENSOR_SHAPE(w->slots, room), err);
    if (!w->items || !tensor_ok(w->room)) return false;
    nn_params_parts(params, o->state.array[0], momenta);
    for (int i = 0, trained = 0; i < params->count; i++) {
        const nn_registered *entry = &params->entries[i];
        if (!nn_is_flat(entry)) continue;
        const int k = trained++;
        if (!takes(&options, entry)) continue;
        if (entry->parameter->value.rank != 2)
            return tensor_fail(err, "nn_muon_init: %s is no matrix; a group with a rate of 0 leaves it out",
                               entry->name);
        add_items(o, entry, params->gradients[k], momenta[k]);
    }
    return true;
}

/* The memory of a slot, cut into matrices. */
static tensor take(float **at, tensor_storage *storage, int64_t rows, int64_t columns) {
    tensor x = {.storage = storage,
                .dtype = TENSOR_F32,
                .rank = 2,
                .shape = {rows, columns},
                .stride = {columns, 1},
                .f32 = *at};
    *at += rows * columns;
    return x;
}

/* x becomes a x + (b A + c A A) x with A = x x^T, five times; the result is in the tensor that is returned, x or y. */
static tensor orthogonal(tensor x, tensor y, tensor a, tensor b, double eps) {
    tensor_affine(x, (float)(1 / fmax(sqrt(tensor_sum_squares(x)), eps)), x, 0, NULL);
    for (int i = 0; i < NEWTON_SCHULZ_STEPS; i++) {
        tensor_matmul(a, x, tensor_transpose(x, 0, 1, NULL), false, NULL);
        tensor_matmul(b, a, a, false, NULL);
        tensor_affine(b, 2.0315f, b, 0, NULL);
        tensor_axpy(b, -4.7750f, a, NULL);
        tensor_affine(y, 3.4445f, x, 0, NULL);
        tensor_matmul(y, b, x, true, NULL);
        const tensor next = y;
        y = x;
        x = next;
    }
    return x;
}

static void update(const item *m, const nn_muon_options *options, tensor room) {
    const int64_t rows = m->p.shape[0], columns = m->p.shape[1];
    float *at = room.f32;
    tensor x = take(&at, room.storage, rows, columns), y = take(&at, room.storage, rows, columns);
    tensor a = take(&at, room.storage, rows, rows), b = take(&at, room.storage, rows, rows);
    const float momentum = (float)options->momentum, fresh = (float)(1 - options->momentum);
    const double rate = options->rate * m->rate;
    tensor_affine(m->v, momentum, m->v, 0, NULL);
    tensor_axpy(m->v, fresh, m->g, NULL);
    if (options->nesterov) {
        tensor_affine(x, fresh, m->g, 0, NULL);
        tensor_axpy(x, momentum, m->v, NULL);
    } else {
        tensor_copy(x, m->v, NULL);
    }
    x = orthogonal(x, y, a, b, options->eps);
    if (options->decay != 0) tensor_affine(m->p, (float)(1 - rate * options->decay), m->p, 0, NULL);
    tensor_axpy(m->p, (float)(-rate * m->scale), x, NULL);
}

typedef struct share {
    const struct nn_muon *o;
    int next; /* item that nobody has taken */
} share;

/* A slot takes items as long as there are any. Nothing in it can fail: the shapes fit, and no memory is taken. */
static void work(void *context, int64_t begin, int64_t end, int worker) {
    share *s = context;
    const struct nn_muon_work *w = s->o->work;
    (void)worker;
    for (int64_t slot = begin; slot < end; slot++) {
        tensor room = tensor_slice(w->room, 0, slot, slot + 1, 1, NULL);
        for (int i; (i = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED)) < w->count;)
            if (w->items[i].of->needs_grad) update(&w->items[i], &s->o->options, room); /* not frozen */
    }
}

bool nn_muon_step(struct nn_muon *o, nn_params *params) {
    if (!params || !nn_params_has_grads(params, "nn_muon") || !nn_state_fits(&o->state, params, "nn_muon", 1))
        return false;
    if (o->work->params != params)
        return tensor_fail(&params->error,
                           "nn_muon_step: its state is not of this model; nn_muon_init makes it");
    share s = {.o = o};
    tensor_parallel(o->work->slots, 1, work, &s);
    return true;
}
