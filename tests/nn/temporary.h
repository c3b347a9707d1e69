/* A folder for a test's files: `path` in it goes with it. For a suite's .init and .fini. */
#ifndef SAMPO_TESTS_NN_TEMPORARY_H
#define SAMPO_TESTS_NN_TEMPORARY_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], path[96];

static void setup(void) {
    strcpy(folder, "/tmp/sampo-test-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static void teardown(void) {
    unlink(path);
    rmdir(folder);
}

#endif
