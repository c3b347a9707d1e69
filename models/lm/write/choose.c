/* The choice of the next token from a model's logits. Nothing here depends on the platform: exponentials are the
 * library's own, sums go in the vocabulary's order, and equal tokens are ranked by their number. */
#include <math.h>
#include <string.h>

#include "models/lm/write/write.h"

/* ---- Which tokens may be drawn ------------------------------------------------------------- */

/* Whether token a comes before token b: the likelier, of equals the first. */
static bool before(const float *weights, int32_t a, int32_t b) {
    return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
}

/* Lets the token at `at` of a heap, whose top comes before all others, sink to its place. */
static void sink(const float *weights, int32_t *heap, int64_t count, int64_t at) {
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(weights, heap[child + 1], heap[child])) child++;
        if (!before(weights, heap[child], heap[at])) return;
        const int32_t up = heap[child];
        heap[child] = heap[at];
        heap[at] = up;
    }
}

/* Takes the top off a heap of `count`; it comes to stand behind the others. */
static int32_t pop(const float *weights, int32_t *heap, int64_t count) {
    const int32_t top = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = top;
    sink(weights, heap, count - 1, 0);
    return top;
}

void lm_keep_likeliest(const lm_sampling *sampling, float *weights, int32_t *order, int64_t count) {
    const int64_t most = sampling->top_k > 0 && sampling->top_k < count ? sampling->top_k : count;
    const double share = sampling->top_p > 0 ? sampling->top_p : 1;
    if (most == count && share >= 1 && sampling->min_p == 0) return;
    double total = 0;
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i, total += (double)weights[i];
    for (int64_t i = count / 2 - 1; i >= 0; i--) sink(weights, order, count, i);
    int64_t popped = 0; /* they stand at the end of `order`, the likeliest last */
    if (most < count)
        for (total = 0; popped < most; popped++)
            total += (double)weights[pop(weights, order, count - popped)];
    const double lowest = (double)weights[popped ? order[count - 1] : order[0]] * sampling->min_p;
    double sum = 0;
    int64_t kept = 0;
    for (; kept < most && sum < share * total; kept++) {
        if (kept == popped) pop(weights, order, count - popped++);
        const double weight = (double)weights[order[count - 1 - kept]];
        if (weight < lowest) break;
        sum += weight;
    }
    for (int64_t i = 0; i < count - kept; i++) weights[order[i]] = 0;
}

/* Makes tokens that came lately less likely (Keskar et al. 2019), each once however often it came. */
static void penalise(float *scores, const int32_t *recent, int64_t count, float penalty) {
    for (int64_t i = 0; i < count; i++) {
        bool again = false;
        for (int64_t j = 0; j < i && !again; j++) again = recent[j] == recent[i];
        float *score = scores + recent[i];
        if (!again) *score = *score > 0 ? *score / penalty : *score * penalty;
    }
}

bool lm_choose(const lm_sampling *sampling, tensor scores, int32_t *order, const int32_t *recent,
               int64_t recent_count, tensor_rng *rng, int32_t *id, tensor_error *err) {
    float *score = scores.f32;
    const int64_t count = scores.shape[0];
    const float temperature = (float)sampling->temperature;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(score[i])) return tensor_fail(err, "the model predicts no finite numbers");
    if (sampling->repetition_penalty > 0 && sampling->repetition_penalty != 1)
        penalise(score, recent, recent_count, (float)sampling->repetition_penalty);
    int64_t largest = 0;
    for (int64_t i = 0; i < count; i++)
        if (score[i] > score[largest]) largest = i;
    if (temperature < 1e-6f) {
        *id = (int32_t)largest;
        return true;
    }
    /* Subtracting the largest first keeps the quotient from overflowing upwards. */
    const float top = score[largest], inverse = 1 / temperature;
    for (int64_t i = 0; i < count; i++) score[i] = (score[i] - top) * inverse;
    tensor_storage storage = {.data = id, .bytes = sizeof *id};
    if (!tensor_softmax(scores, scores, 0, err)) return false;
    lm_keep_likeliest(sampling, score, order, count);
    return tensor_rand_categorical(tensor_wrap(&storage, TENSOR_I32, 0, NULL, err), rng, scores, err);
}
