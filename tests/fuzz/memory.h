/* Files in memory, which stand for those of a disk under libFuzzer. */
#ifndef SAMPO_TESTS_FUZZ_MEMORY_H
#define SAMPO_TESTS_FUZZ_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Forgets all files. Says whether something was written into the folder since the last time. */
bool fuzz_memory_clear(void);
/* Makes a file of the folder, or gives it other bytes; all is copied. */
void fuzz_memory_put(const char *folder, const char *path, const void *bytes, size_t size);

#endif
