/* A call whose allocations are made to fail, one after the other. */
#ifndef SAMPO_TESTS_STARVE_H
#define SAMPO_TESTS_STARVE_H

#include <criterion/criterion.h>
#include <string.h>

#include "sampo/tensor.h"
#include "tests/faults.h"

/* What comes of a failure does not depend on the instruction set: of those that a suite runs on, the best one does. */
static inline void on_one_instruction_set(void) {
    if (strcmp(tensor_isa(), tensor_isa_available(0)) != 0) cr_skip_test("%s does", tensor_isa_available(0));
}

/* Calls with the first allocation of a kind failing, then with the second, and so on until none is left to fail. Each call
 * gets along without, or fails with a text that speaks of memory; the last one succeeds. Returns how many failed. */
static inline int64_t starve(const char *name, fault_kind kind,
                             bool (*call)(void *context, tensor_error *err), void *context) {
    int64_t n = 1, failures = 0;
    for (bool reached = true; reached; n++) {
        tensor_error err = {0};
        const int64_t before = fault_calls(kind);
        fault_inject(kind, n, 0);
        const bool ok = call(context, &err);
        reached = fault_calls(kind) - before >= n;
        fault_inject(kind, 0, 0);
        failures += !ok;
        if (!ok && (!reached || !strstr(err.text, "memory")))
            cr_expect_fail("%s, allocation %lld: '%s'", name, (long long)n, err.text);
        if (n > 10000) cr_assert_fail("%s asks for memory without end", name);
    }
    return failures;
}

#endif
