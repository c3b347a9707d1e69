/* A new arena for each test of a suite, and the error of what failed: ARENA_SUITE(name); */
#ifndef SAMPO_TESTS_ARENA_H
#define SAMPO_TESTS_ARENA_H

#include <criterion/criterion.h>

#include "sampo/tensor.h"

static tensor_error err;
static tensor_arena *arena;

static void arena_setup(void) {
    arena = tensor_arena_new(&err);
    cr_assert(arena);
}

static void arena_teardown(void) {
    tensor_arena_free(arena);
}

#define ARENA_SUITE(name) TestSuite(name, .init = arena_setup, .fini = arena_teardown)

#endif
