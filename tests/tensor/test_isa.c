/* The choice of an instruction set. It is made once a process, and every test is a process of its own. */
#include "sampo/tensor.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(isa, the_best_is_chosen) {
    unsetenv("SAMPO_ISA");
    tensor_error err = {0};
    cr_assert(tensor_isa_check(&err));
    cr_assert_str_eq(tensor_isa(), tensor_isa_available(0));
}

Test(isa, the_list_ends_and_has_no_name_twice) {
    int count = 0;
    while (tensor_isa_available(count)) count++;
    cr_assert(count >= 1 && count <= 5);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++) cr_assert_str_neq(tensor_isa_available(i), tensor_isa_available(k));
    cr_assert_null(tensor_isa_available(count + 1));
    cr_assert_null(tensor_isa_available(-1));
    cr_assert_null(tensor_isa_available(1000));
}

Test(isa, the_environment_forces_another) {
    /* Asking for the list would make the choice: so this is a name that every build has. */
    const char *plain =
#if defined(__aarch64__)
        "neon";
#else
        "baseline";
#endif
    setenv("SAMPO_ISA", plain, 1);
    cr_assert(tensor_isa_check(NULL));
    cr_assert_str_eq(tensor_isa(), plain);
}

Test(isa, an_unknown_name_is_reported_and_the_best_is_used) {
    setenv("SAMPO_ISA", "mmx", 1);
    tensor_error err = {0};
    cr_assert_str_eq(tensor_isa(), tensor_isa_available(0));
    cr_assert_not(tensor_isa_check(&err));
    cr_assert(strstr(err.text, "SAMPO_ISA is 'mmx'"), "%s", err.text);
    cr_assert(strstr(err.text, tensor_isa_available(0)), "%s", err.text);
}

Test(isa, a_long_name_is_cut) {
    char name[500];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    setenv("SAMPO_ISA", name, 1);
    tensor_error err = {0};
    cr_assert_not(tensor_isa_check(&err));
    cr_assert(strstr(err.text, tensor_isa()), "%s", err.text);
}
