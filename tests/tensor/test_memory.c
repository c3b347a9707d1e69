/* Errors, arenas and new tensors. */
#include "sampo/tensor.h"
#include "tests/arena.h"

#include <criterion/criterion.h>
#include <string.h>

ARENA_SUITE(memory);

Test(memory, fail_keeps_the_first_text) {
    cr_assert_not(tensor_fail(&err, "first %d", 1));
    cr_assert_not(tensor_fail(&err, "second"));
    cr_assert_str_eq(err.text, "first 1");
    cr_assert_not(tensor_fail(NULL, "nobody listens"));
}

Test(memory, fail_cuts_a_long_text) {
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    tensor_fail(&err, "%s", text);
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
}

Test(memory, arena_alignment_and_separation) {
    enum { N = 300 };
    unsigned char *pieces[N];
    for (int i = 0; i < N; i++) {
        pieces[i] = tensor_arena_alloc(arena, (size_t)(i * 7), &err);
        cr_assert(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % 64, 0);
        memset(pieces[i], i % 251, (size_t)(i * 7));
        if (i > 0) cr_assert_neq(pieces[i], pieces[i - 1]);
    }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < i * 7; k++) cr_assert_eq(pieces[i][k], i % 251);
}

Test(memory, arena_repeats_itself_after_reset) {
    /* Sizes that grow over several blocks, with some too large for the next one. */
    static const size_t sizes[] = {100, 60000, 10, 500000, 70000, 3, 9000000, 64, 200000};
    enum { N = sizeof sizes / sizeof *sizes };
    void *first[N];
    for (int i = 0; i < N; i++) {
        first[i] = tensor_arena_alloc(arena, sizes[i], &err);
        cr_assert(first[i]);
        memset(first[i], i, sizes[i]);
    }
    size_t held = tensor_arena_bytes(arena);
    cr_assert_geq(held, 9000000 + 500000);
    for (int turn = 0; turn < 3; turn++) {
        tensor_arena_reset(arena);
        cr_assert_eq(tensor_arena_bytes(arena), held, "reset keeps the memory");
        for (int i = 0; i < N; i++) cr_assert_eq(tensor_arena_alloc(arena, sizes[i], &err), first[i]);
        cr_assert_eq(tensor_arena_bytes(arena), held, "the same work again takes no more");
    }
}

Test(memory, arena_grows_by_doubling) {
    size_t held = 0, blocks = 0;
    for (int i = 0; i < 100000; i++) {
        cr_assert(tensor_arena_alloc(arena, 128, &err));
        blocks += tensor_arena_bytes(arena) != held;
        held = tensor_arena_bytes(arena);
    }
    cr_assert_leq(blocks, 9, "%zu blocks for 12.8 MB", blocks);
}

Test(memory, arena_out_of_memory) {
    cr_assert_null(tensor_arena_alloc(arena, (size_t)1 << 62, &err));
    cr_assert_str_eq(err.text, "out of memory: 4611686018427387904 bytes");
    err.text[0] = '\0';
    cr_assert_null(tensor_arena_alloc(arena, SIZE_MAX - 10, &err));
    cr_assert(strstr(err.text, "out of memory"));
    cr_assert(tensor_arena_alloc(arena, 64, &err), "the arena still works");
}

Test(memory, arena_of_nothing) {
    tensor_arena_free(NULL);
    cr_assert_null(tensor_arena_alloc(NULL, 1, &err));
    cr_assert(*err.text);
}

Test(memory, new_is_row_major) {
    tensor x = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(2, 3, 4), &err);
    cr_assert(tensor_ok(x));
    cr_assert_eq(x.rank, 3);
    cr_assert_eq(x.dtype, TENSOR_I32);
    cr_assert_eq(x.stride[0], 12);
    cr_assert_eq(x.stride[1], 4);
    cr_assert_eq(x.stride[2], 1);
    cr_assert_eq(x.storage->bytes, 96);
    cr_assert_eq(x.storage->version, 0);
    cr_assert_eq(x.storage->data, x.data);
    cr_assert_eq(tensor_size(x), 24);
}

Test(memory, zeros_are_zero) {
    for (int turn = 0; turn < 2; turn++) {
        tensor x = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(37), &err);
        for (int i = 0; i < 37; i++) {
            cr_assert_eq(x.i32[i], 0);
            x.f32[i] = 1;
        }
        tensor_arena_reset(arena);
    }
}

Test(memory, scalars_and_empty_tensors) {
    tensor scalar = tensor_new(arena, TENSOR_F32, 0, NULL, &err);
    cr_assert(tensor_ok(scalar));
    cr_assert_eq(tensor_size(scalar), 1);
    cr_assert_eq(scalar.storage->bytes, 4);
    tensor empty = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(3, 0, 5), &err);
    cr_assert(tensor_ok(empty));
    cr_assert_eq(tensor_size(empty), 0);
    cr_assert_eq(empty.storage->bytes, 0);
}

/* One impossible shape, and what is said of it. */
static void refuse(int rank, const int64_t *shape, const char *text) {
    tensor_error e = {0};
    size_t held = tensor_arena_bytes(arena);
    cr_assert_not(tensor_ok(tensor_new(arena, TENSOR_F32, rank, shape, &e)));
    cr_assert_str_eq(e.text, text);
    cr_assert_eq(tensor_arena_bytes(arena), held);
    cr_assert_not(tensor_ok(tensor_zeros(arena, TENSOR_F32, rank, shape, NULL)));
}

Test(memory, new_refuses) {
    refuse(TENSOR_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1), "tensor_new: a rank of 9 is not in 0..8");
    refuse(-1, NULL, "tensor_new: a rank of -1 is not in 0..8");
    refuse(TENSOR_SHAPE(2, -3), "tensor_new: negative size in [2, -3]");
    refuse(TENSOR_SHAPE(INT64_C(1) << 31, INT64_C(1) << 31),
           "tensor_new: the size of [2147483648, 2147483648] overflows");
    refuse(TENSOR_SHAPE(INT64_C(1) << 40, INT64_C(1) << 40, 0),
           "tensor_new: the size of [1099511627776, 1099511627776, 0] overflows");
    refuse(TENSOR_SHAPE(INT64_C(1) << 60), "out of memory: 4611686018427387904 bytes");
    cr_assert_not(tensor_ok(tensor_new(arena, (tensor_dtype)7, TENSOR_SHAPE(1), &err)));
    cr_assert_str_eq(err.text, "tensor_new: unknown dtype 7");
}

/* As many bytes as there are addresses, and one element more: where a size has 32 bits, no bit of them is left. */
Test(memory, a_size_is_checked_before_it_is_cut) {
    for (int64_t n = (int64_t)(SIZE_MAX / sizeof(float)); n <= (int64_t)(SIZE_MAX / sizeof(float)) + 2; n++) {
        err = (tensor_error){0};
        cr_expect_not(tensor_ok(tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(n), &err)));
        cr_expect(strstr(err.text, "overflows"), "%s", err.text);
    }
}

Test(memory, wrap_views_memory_of_the_caller) {
    float data[6] = {0, 1, 2, 3, 4, 5};
    tensor_storage storage = {.data = data, .bytes = sizeof data};
    tensor x = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(2, 3), &err);
    cr_assert_eq(x.f32, data);
    cr_assert_eq(x.storage, &storage);
    cr_assert_eq(x.stride[0], 3);
    cr_assert(tensor_ok(tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(5), &err)), "less than all is fine");
    cr_assert_not(tensor_ok(tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(7), &err)));
    cr_assert_str_eq(err.text, "tensor_wrap: [7] needs 28 bytes, the storage has 24");
    cr_assert_not(tensor_ok(tensor_wrap(NULL, TENSOR_F32, TENSOR_SHAPE(0), NULL)));
}
