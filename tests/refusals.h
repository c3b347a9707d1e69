/* Functions whose operands do not fit: each gets one operand after the other that is no tensor, has the other type, one
 * axis more, or one element more along an axis, and refuses what it does not permit, with a text. It may refuse one with
 * gaps between its elements. */
#ifndef SAMPO_TESTS_REFUSALS_H
#define SAMPO_TESTS_REFUSALS_H

#include <criterion/criterion.h>
#include <ctype.h>

#include "tests/starve.h"

/* A function, and operands that fit: f or i, for float32 or int32, and the sizes. Before it stands what else is permitted:
 * ? no tensor, | the other type, ^ another axis, * any sizes; ~ stands behind a size that may be another. */
typedef struct refusing {
    const char *name, *operands;
    bool (*function)(const tensor *t, tensor_error *err);
} refusing;

enum { MOST_OPERANDS = 9 };
enum { FITS, ABSENT, OTHER_TYPE, GAPS, OTHER_RANK, LONGER }; /* and LONGER + an axis */

/* The operand whose text begins at *text, which moves behind it. Sets whether the call permits the change, and whether
 * there is something to change. */
static tensor operand(tensor_arena *arena, const char **text, int change, bool *permitted, bool *possible) {
    tensor_dtype dtype = TENSOR_F32;
    int64_t shape[TENSOR_MAX_RANK];
    int rank = 0;
    *permitted = change == FITS || change == GAPS;
    for (; **text && !isalpha((unsigned char)**text); ++*text) {
        const char flag = **text;
        *permitted |= (flag == '?' && change == ABSENT) || (flag == '|' && change == OTHER_TYPE) ||
                      (flag == '^' && change == OTHER_RANK) || (flag == '*' && change >= OTHER_RANK);
    }
    if ((*(*text)++ == 'i') != (change == OTHER_TYPE)) dtype = TENSOR_I32;
    if (change == OTHER_RANK) shape[rank++] = 5;
    for (int axis = 0; isdigit((unsigned char)**text); axis++, ++*text) {
        const bool longer = change == LONGER + axis;
        shape[rank++] = **text - '0' + longer;
        if ((*text)[1] == '~') *permitted |= longer, ++*text;
    }
    *possible = change - LONGER < rank;
    if (change == ABSENT) return (tensor){0};
    if (change == GAPS && rank > 0) shape[rank - 1] *= 2;
    tensor x = tensor_zeros(arena, dtype, rank, shape, NULL);
    if (change == GAPS && rank > 0) x = tensor_slice(x, -1, 0, INT64_MAX, 2, NULL);
    if (dtype == TENSOR_F32) tensor_fill(x, 1, NULL);
    return x;
}

/* cr_expect for each of many: Criterion hands every assertion to another process, also one that holds. */
#define EACH(condition, ...)                                                                                 \
    do {                                                                                                     \
        if (!(condition)) cr_expect_fail(__VA_ARGS__);                                                       \
    } while (0)

/* Calls with operand `which` changed, none if it is -1. False where there is no such operand, or nothing to change. */
static bool try_call(tensor_arena *arena, const refusing *c, int which, int change) {
    tensor t[MOST_OPERANDS] = {0};
    tensor_error err = {0};
    const char *text = c->operands;
    bool permitted = which < 0, possible = which < 0;
    int count = 0;
    tensor_arena_reset(arena);
    for (; *text; count++) {
        bool may, can;
        t[count] = operand(arena, &text, count == which ? change : FITS, &may, &can);
        if (count == which) permitted = may, possible = can;
    }
    if (!possible) return false;
    const bool ok = c->function(t, &err);
    EACH(ok == (err.text[0] == '\0'), "%s: operand %d, change %d: '%s'", c->name, which, change, err.text);
    EACH(!ok || permitted, "%s: operand %d, change %d is not refused", c->name, which, change);
    EACH(ok || !permitted || change >= GAPS, "%s: operand %d, change %d: %s", c->name, which, change,
         err.text);
    return true;
}

typedef struct fitting_call {
    const refusing *c;
    tensor t[MOST_OPERANDS];
} fitting_call;

static inline bool call_fitting(void *context, tensor_error *err) {
    const fitting_call *f = context;
    const bool ok = f->c->function(f->t, err);
    EACH(ok == (err->text[0] == '\0'), "%s without memory: '%s'", f->c->name, err->text);
    return ok;
}

/* How often it fails. */
static inline int64_t starve_call(tensor_arena *arena, const refusing *c) {
    fitting_call f = {.c = c};
    const char *text = c->operands;
    bool may, can;
    tensor_arena_reset(arena);
    for (int count = 0; *text; count++) f.t[count] = operand(arena, &text, FITS, &may, &can);
    return starve(c->name, FAULT_MEMORY, call_fitting, &f) + starve(c->name, FAULT_ARENA, call_fitting, &f);
}

static void refuse_all(int count, const refusing *functions) {
    tensor_arena *arena = tensor_arena_new(NULL);
    for (int i = 0; i < count; i++) {
        cr_assert(try_call(arena, &functions[i], -1, FITS));
        for (int which = 0; try_call(arena, &functions[i], which, ABSENT); which++)
            for (int change = OTHER_TYPE; try_call(arena, &functions[i], which, change); change++) continue;
    }
    tensor_arena_free(arena);
}

/* With operands that fit, each allocation of each function is made to fail. */
static inline void starve_all(int count, const refusing *functions) {
    int64_t failures = 0;
    tensor_arena *arena = tensor_arena_new(NULL);
    for (int i = 0; i < count; i++) failures += starve_call(arena, &functions[i]);
    cr_expect_gt(failures, count, "only %lld failures", (long long)failures);
    tensor_arena_free(arena);
}

#endif
