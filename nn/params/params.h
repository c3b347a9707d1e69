/* The registry's insides, for all rooms of nn/. */
#ifndef SAMPO_NN_PARAMS_PARAMS_H
#define SAMPO_NN_PARAMS_PARAMS_H

#include "sampo/nn.h"

/* What a weight is to the module that registered it: how its numbers are rounded together. */
typedef enum nn_form { NN_NUMBERS, NN_IN_OUT, NN_OUT_IN } nn_form; /* OUT_IN: tables, too */

typedef struct nn_registered {
    const char *name;
    ag_var *parameter; /* until nn_params_finalize its value is no tensor, but has the shape */
    nn_init init;
    bool alias, frozen, buffer;
    nn_form form;
    int parts;              /* so many matrices stand beside each other along its outputs; 0: one */
    tensor_compact compact; /* the value, once data is not NULL */
} nn_registered;

struct nn_params {
    tensor_arena *arena; /* owns everything, this struct as well */
    tensor_error error;
    nn_registered *entries;
    int count, capacity;
    int64_t numbers;
    tensor values, grads; /* [numbers] */
    int64_t buffered;     /* numbers of buffers */
    int buffers;
    tensor flat;         /* grads, and what a step leaves for the buffers: see nn_buffers_gather */
    int trained;         /* parameters, aliases left out */
    ag_var **parameters; /* [trained] */
    tensor *gradients;   /* [trained]: their parts of grads */
    bool has_grads;      /* something was put into grads */
};

/* Fills a parameter's new value. */
bool nn_fill(tensor value, nn_init init, nn_form form, tensor_rng rng, tensor_error *err);

/* Says what a weight is, and that it is several beside each other. NULL is accepted. */
void nn_set_form(nn_params *params, const ag_var *weight, nn_form form);
void nn_set_parts(nn_params *params, const ag_var *weight, int parts);

/* Whether an entry has a part of its own of the flat arrays. */
static inline bool nn_is_flat(const nn_registered *entry) {
    return !entry->alias && !entry->buffer && !entry->compact.data;
}

/* "name.part"; NULL for no name. */
static inline const char *nn_part(nn_params *params, const char *name, const char *part) {
    return name ? nn_name(params, "%s.%s", name, part) : NULL;
}

/* Whether a name fits one of several patterns, see nn_group. */
bool nn_name_fits(const char *patterns, const char *name);

/* The number of elements of a shape that fits. */
static inline int64_t nn_size_of(const tensor *value) {
    int64_t size = 1;
    for (int i = 0; i < value->rank; i++) size *= value->shape[i];
    return size;
}

/* The same parts of another flat array of gradients: into [trained]. */
void nn_params_parts(const nn_params *params, tensor flat, tensor *parts);

/* Behind the gradients of a flat array, as params->flat is one, stand `weight` times the next value of each buffer and
 * then `weight`, or zeros where the tape has none: so that sums of such arrays are weighted sums. nn_buffers_take makes
 * values of them: the sum of the values divided by that of the weights. */
void nn_buffers_gather(const nn_params *params, const ag_tape *tape, double weight, tensor flat);
void nn_buffers_take(nn_params *params, tensor flat);

/* Whether nn_grads holds something for the step of an optimizer; if not, the text is in the registry. */
bool nn_params_has_grads(nn_params *params, const char *what);

/* Whether nn_params_finalize has succeeded; if not, the text is in the registry. */
bool nn_params_ready(nn_params *params, const char *what);

/* Makes room for one more item behind `count` of a list on an arena. The list doubles: the old places, no
 * larger together than the new one, stay in the arena. */
bool nn_grow(tensor_arena *arena, void **items, size_t item_bytes, int count, int *capacity,
             tensor_error *err);

#endif
