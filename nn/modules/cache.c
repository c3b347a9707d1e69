/* Keys and values that are kept while text is written. */
#include "sampo/nn.h"

#include <string.h>

bool nn_cache_init(nn_cache *cache, int64_t layers, int64_t batch, int64_t heads, int64_t context,
                   int64_t head_size, tensor_arena *arena, tensor_error *err) {
    *cache = (nn_cache){
        .k = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(layers, batch, heads, head_size, context), err),
        .v = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(layers, batch, heads, context, head_size), err)};
    return tensor_ok(cache->k) && tensor_ok(cache->v);
}

nn_cache nn_cache_rows(const nn_cache *cache, int64_t begin, int64_t end) {
    nn_cache rows = {.length = cache->length};
    if (tensor_ok(cache->k)) rows.k = tensor_slice(cache->k, 1, begin, end, 1, NULL);
    if (tensor_ok(cache->v)) rows.v = tensor_slice(cache->v, 1, begin, end, 1, NULL);
    if (tensor_ok(cache->state)) rows.state = tensor_slice(cache->state, 1, begin, end, 1, NULL);
    return rows;
}

/* Tokens begin..end-1 of a layer of keys or values, whose axis of tokens is 3 or 4: as [B, H, tokens, D]. */
static tensor tokens_of(tensor x, int64_t layer, int axis, int64_t begin, int64_t end) {
    tensor view = x;
    const int other = axis == 3 ? 4 : 3;
    view.f32 += layer * x.stride[0] + begin * x.stride[axis];
    view.rank = 4;
    for (int i = 0; i < 2; i++) view.shape[i] = x.shape[i + 1], view.stride[i] = x.stride[i + 1];
    view.shape[2] = end - begin, view.stride[2] = x.stride[axis];
    view.shape[3] = x.shape[other], view.stride[3] = x.stride[other];
    return view;
}

static bool fits(const nn_cache *cache, int64_t layer, const ag_var *k, const ag_var *v) {
    ag_tape *tape = k->tape;
    const int64_t *room = cache->v.shape, n = ag_size(k, 2); /* [layers, B, H, T, D] */
    char is[TENSOR_SHAPE_TEXT], expected[TENSOR_SHAPE_TEXT];
    if (k->needs_grad || v->needs_grad)
        ag_fail(tape, "cache: what it holds has no gradients; see ag_set_recording");
    else if (layer < 0 || layer >= room[0])
        ag_fail(tape, "cache: layer %lld is outside a cache of %lld", (long long)layer, (long long)room[0]);
    else if (k->value.rank != 4 || !tensor_same_shape(k->value, v->value) || k->value.shape[0] != room[1] ||
             k->value.shape[1] != room[2] || k->value.shape[3] != room[4])
        ag_fail(tape, "cache: keys and values are %s, expected %s",
                tensor_shape_text(is, sizeof is, k->value.rank, k->value.shape),
                tensor_shape_text(expected, sizeof expected, 4, (int64_t[]){room[1], room[2], n, room[4]}));
    else if (cache->length < 0 || n > room[3] - cache->length)
        ag_fail(tape, "cache: %lld tokens after %lld do not fit into a cache of %lld", (long long)n,
                (long long)cache->length, (long long)room[3]);
    return ag_ok(tape);
}

/* For one token at a time, tensor_copy takes longer to prepare than to do. */
static void copy_tokens(tensor to, const tensor *from) {
    const int64_t d = to.shape[3], out_step = to.stride[3], step = from->stride[3];
    for (int64_t b = 0; b < to.shape[0]; b++)
        for (int64_t h = 0; h < to.shape[1]; h++)
            for (int64_t t = 0; t < to.shape[2]; t++) {
                float *out = to.f32 + b * to.stride[0] + h * to.stride[1] + t * to.stride[2];
                const float *x = from->f32 + b * from->stride[0] + h * from->stride[1] + t * from->stride[2];
                if (out_step == 1 && step == 1)
                    memcpy(out, x, (size_t)d * sizeof *out);
                else
                    for (int64_t i = 0; i < d; i++, out += out_step, x += step) *out = *x;
            }
}

bool nn_cache_append(const nn_cache *cache, int64_t layer, ag_var **k, ag_var **v) {
    if (!*k || !*v || !fits(cache, layer, *k, *v)) {
        *k = *v = NULL;
        return false;
    }
    ag_tape *tape = (*k)->tape;
    const int64_t from = cache->length, to = from + (*k)->value.shape[2];
    copy_tokens(tokens_of(cache->k, layer, 4, from, to), &(*k)->value);
    copy_tokens(tokens_of(cache->v, layer, 3, from, to), &(*v)->value);
    *k = ag_input(tape, tokens_of(cache->k, layer, 4, 0, to));
    *v = ag_input(tape, tokens_of(cache->v, layer, 3, 0, to));
    return ag_ok(tape);
}
