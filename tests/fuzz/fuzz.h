/* Shared by the fuzz targets: the entry point that libFuzzer calls, and a check that ends the program. */
#ifndef SAMPO_TESTS_FUZZ_H
#define SAMPO_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            fflush(stderr);                                                                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
