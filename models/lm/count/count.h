/* Counted n-grams: how often a text has each token after each of the contexts that it has, and the probabilities that
 * follow by modified Kneser-Ney smoothing (Chen & Goodman 1999, interpolated):
 *
 *     P_k(w | c) = (n(c w) - D(n(c w))) / N(c) + sum_v D(n(c v)) / N(c) * P_{k-1}(w | c without its first token)
 *
 * for a context c of k tokens that the text has; where it has not, P_k = P_{k-1}; P_{-1} = 1 / V. The longest context has
 * its own counts n. Those of a shorter one say after how many different tokens c w stands. N(c) is the sum of n(c w)
 * over w. D is one of three discounts for n = 1, 2 and more, by how many n-grams of that length are there once, twice,
 * three and four times.
 */
#ifndef SAMPO_LM_COUNT_H
#define SAMPO_LM_COUNT_H

#include "models/lm/text/text.h"

/* The most tokens of a context: the order of the model as a Markov chain. */
enum { LM_MAX_ORDER = 24 };

typedef struct lm_counts lm_counts; /* does not change once made: threads share it */

/* Counts tokens below `vocabulary` with contexts of up to `order` tokens. The same counts for any number of threads. NULL
 * with a text. Free it with lm_counts_free, which takes NULL. */
lm_counts *lm_counts_learn(lm_tokens tokens, int64_t vocabulary, int order, tensor_error *err);
void lm_counts_free(lm_counts *counts);

int lm_counts_order(const lm_counts *counts);
int64_t lm_counts_vocabulary(const lm_counts *counts);
/* Different sequences of at most order + 1 tokens; bytes of the tensors that keep them. */
int64_t lm_counts_grams(const lm_counts *counts);
size_t lm_counts_bytes(const lm_counts *counts);

/* p[v] = P(v | context) for each token v of the vocabulary. The context are up to `order` of the `available` tokens that
 * end before `end`; where fewer are available than the order, they are the longest context, and have their own counts.
 * These probabilities add up to 1. `without`, unless it is -1, is left out once: the probabilities are those of a text
 * that had this token one time less after this context, with the same discounts. That text must have had it. seen[k],
 * of order + 1, unless NULL, is N(c) of the context of k tokens: 0 where the text has not had it. */
void lm_counts_predict(const lm_counts *counts, const int32_t *end, int64_t available, int32_t without,
                       float *p, float *seen);

/* How the names of these tensors begin. */
#define LM_COUNTS_PREFIX "counts."
/* The tensors that keep it in a checkpoint, valid as long as the counts: how many were written to `entries`. And back:
 * NULL with a text where the file has none that fit, in all of its numbers. */
enum { LM_COUNT_ENTRIES = 6 * (LM_MAX_ORDER + 1) };
int lm_counts_list(const lm_counts *counts, nn_entry entries[LM_COUNT_ENTRIES]);
lm_counts *lm_counts_of_file(const nn_file *file, int64_t vocabulary, int order, tensor_error *err);

#endif
