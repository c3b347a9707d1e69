/* What takes libFuzzer's place with any compiler: hands the files of folders, which are seeds and findings, to a fuzz
 * target, and then damaged copies of them that a fixed generator makes. --damage N says how many of each; --last FILE
 * keeps the input that a crash is of. */
#include <dirent.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { MOST = 1 << 20 };

static uint64_t state = 1;
static size_t random_below(size_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (size_t)(state >> 33) % n : 0;
}

static const char *last; /* where each input is kept before it is run; NULL: nowhere */

/* In memory of its own, so that a sanitizer sees what is read behind the end. */
static void run(const uint8_t *bytes, size_t size) {
    uint8_t *copy = calloc(size ? size : 1, 1);
    CHECK(copy);
    if (size) memcpy(copy, bytes, size);
    FILE *file = last ? fopen(last, "wb") : NULL;
    if (file) fwrite(copy, 1, size, file), fclose(file);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* A byte becomes another, a piece is lost or comes twice, the end is cut. */
static size_t damage(uint8_t *bytes, size_t size) {
    const size_t at = random_below(size), length = random_below(size - at);
    switch (size ? random_below(5) : 4) {
    case 0:
        bytes[at] = (uint8_t)random_below(256);
        return size;
    case 1:
        bytes[at] ^= (uint8_t)(1u << random_below(8));
        return size;
    case 2:
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    case 3:
        if (size + length > MOST) return size;
        memmove(bytes + at + length, bytes + at, size - at);
        return size + length;
    default:
        return at;
    }
}

static void replay(const char *folder, const char *name, int damages) {
    static uint8_t bytes[MOST], damaged[MOST];
    char path[4096];
    CHECK(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
    FILE *file = fopen(path, "rb");
    CHECK(file);
    const size_t size = fread(bytes, 1, MOST, file);
    fclose(file);
    fprintf(stderr, "%s: %zu bytes\n", name, size);
    run(bytes, size);
    for (int i = 0; i < damages; i++) {
        size_t left = size;
        memcpy(damaged, bytes, size);
        for (size_t times = 1 + random_below(4); times > 0; times--) left = damage(damaged, left);
        run(damaged, left);
    }
}

int main(int argc, char **argv) {
    int damages = 0, files = 0;
    for (int i = 1; i < argc; i++) {
        const bool counts = strcmp(argv[i], "--damage") == 0, keeps = strcmp(argv[i], "--last") == 0;
        if ((counts || keeps) && i + 1 < argc) {
            i++;
            if (counts) damages = atoi(argv[i]);
            if (keeps) last = argv[i];
            continue;
        }
        DIR *folder = opendir(argv[i]);
        CHECK(folder);
        for (const struct dirent *entry; (entry = readdir(folder));) {
            if (entry->d_name[0] == '.') continue;
            replay(argv[i], entry->d_name, damages);
            files++;
        }
        closedir(folder);
    }
    run(NULL, 0);
    printf("%d files, %d inputs\n", files, 1 + files * (1 + damages));
    return files ? 0 : 1;
}
