/* A folder of the process's own for fuzz targets, whose readers take names of files. Under libFuzzer it is in memory
 * (memory.h), and so is what commands write into it. */
#ifndef SAMPO_TESTS_FUZZ_FOLDER_H
#define SAMPO_TESTS_FUZZ_FOLDER_H

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sampo/tensor.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory.h"

enum { FUZZ_PATH = 128 };

static char fuzz_folder[FUZZ_PATH];

/* The path of a file in it; returns `path`. */
static inline char *fuzz_path(const char *name, char path[FUZZ_PATH]) {
    const size_t length = strlen(fuzz_folder), size = strlen(name) + 1;
    CHECK(length + 1 + size <= FUZZ_PATH);
    memcpy(path, fuzz_folder, length);
    path[length] = '/';
    memcpy(path + length + 1, name, size);
    return path;
}

#ifdef FUZZ_MEMORY
static inline void fuzz_folder_empty(void) {
    strcpy(fuzz_folder, "/sampo-fuzz");
    fuzz_memory_begin(fuzz_folder);
}

static inline void fuzz_file(const char *name, const void *bytes, size_t size) {
    char path[FUZZ_PATH];
    fuzz_memory_put(fuzz_path(name, path), bytes, size);
}
#else
static inline void fuzz_folder_empty(void) {
    char path[FUZZ_PATH];
    DIR *folder = opendir(fuzz_folder);
    CHECK(folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlink(fuzz_path(entry->d_name, path));
    closedir(folder);
}

static inline void fuzz_folder_remove(void) {
    fuzz_folder_empty();
    rmdir(fuzz_folder);
}

static inline void fuzz_folder_make(void) {
    const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    CHECK(snprintf(fuzz_folder, FUZZ_PATH, "%s/sampo-fuzz-%ld", place, (long)getpid()) < FUZZ_PATH);
    CHECK(mkdir(fuzz_folder, 0700) == 0);
    atexit(fuzz_folder_remove);
}

static inline void fuzz_file(const char *name, const void *bytes, size_t size) {
    char path[FUZZ_PATH];
    FILE *file = fopen(fuzz_path(name, path), "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}
#endif

/* An empty folder. What is printed is nowhere. What is said costs no call of the system for each letter, and
 * none for each line with libFuzzer, which says itself what crashed. */
static inline void fuzz_folder_begin(void) {
    if (!*fuzz_folder) {
        CHECK(freopen("/dev/null", "w", stdout));
#ifdef FUZZ_MEMORY
        setvbuf(stderr, NULL, _IOFBF, BUFSIZ);
#else
        setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
        fuzz_folder_make();
#endif
    }
    fuzz_folder_empty();
}

/* An arena for an input. It is kept for the next one unless it has become large: a reset poisons all of it. */
static inline tensor_arena *fuzz_arena(void) {
    static tensor_arena *arena;
    if (tensor_arena_bytes(arena) > 1 << 20) {
        tensor_arena_free(arena);
        arena = NULL;
    }
    if (arena)
        tensor_arena_reset(arena);
    else
        arena = tensor_arena_new(NULL);
    CHECK(arena);
    return arena;
}

/* Cuts off the piece before the next NUL, or what is left; false where nothing is. */
typedef struct fuzz_piece {
    const uint8_t *bytes;
    size_t size;
} fuzz_piece;
static inline bool fuzz_cut(fuzz_piece *rest, fuzz_piece *piece) {
    if (rest->size == 0) return false;
    const uint8_t *nul = memchr(rest->bytes, 0, rest->size);
    *piece = (fuzz_piece){rest->bytes, nul ? (size_t)(nul - rest->bytes) : rest->size};
    const size_t taken = piece->size + (nul != NULL);
    *rest = (fuzz_piece){rest->bytes + taken, rest->size - taken};
    return true;
}

#endif
