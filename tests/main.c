/* The main function of all test programs: skips (exit status 77) where SAMPO_ISA names an instruction set that this
 * processor lacks. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "sampo/tensor.h"

/* Under AddressSanitizer, too much memory is an error to the program and not to the tool. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

int main(int argc, char **argv) {
    tensor_error err = {0};
    if (!tensor_isa_check(&err)) {
        printf("skipped: %s\n", err.text);
        return 77;
    }
    struct criterion_test_set *tests = criterion_initialize();
    const int ok = !criterion_handle_args(argc, argv, true) || criterion_run_all_tests(tests);
    criterion_finalize(tests);
    return ok ? 0 : 1;
}
