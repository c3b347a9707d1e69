/* A folder in memory, which stands for one of a disk under libFuzzer. */
#ifndef SAMPO_TESTS_FUZZ_MEMORY_H
#define SAMPO_TESTS_FUZZ_MEMORY_H

#include <stddef.h>

/* Makes the folder, or removes all files that are in it. */
void fuzz_memory_begin(const char *folder);
/* Makes a file of the folder, or gives it other bytes; all is copied. */
void fuzz_memory_put(const char *path, const void *bytes, size_t size);

#endif
