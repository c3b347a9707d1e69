/* Feeds bytes to the reader of safetensors files: as a whole file, and as a header with 24 bytes of data behind it.
 * What opens must hold together; what does not must say why. The same bytes are then a JSON array of strings, and
 * a JSON object. */
#include "sampo/nn.h"
#include "tests/fuzz/folder.h"

#include <string.h>

/* What is read goes here, so that the reads are not optimised away. */
static volatile unsigned fuzz_sum;

static void check_entry(const nn_file *file, const nn_entry *entry) {
    size_t bytes = 1;
    for (int i = 0; i < entry->rank; i++) {
        CHECK(entry->shape[i] >= 0);
        bytes *= (size_t)entry->shape[i];
    }
    CHECK(entry->rank >= 0 && entry->rank <= TENSOR_MAX_RANK && entry->data);
    CHECK(bytes == 0 ? entry->bytes == 0 : entry->bytes % bytes == 0);
    size_t item = bytes ? entry->bytes / bytes : 1;
    CHECK((uintptr_t)entry->data % item == 0);
    for (size_t i = 0; i < entry->bytes; i++) fuzz_sum += ((const unsigned char *)entry->data)[i];
    CHECK(nn_file_find(file, entry->name) == entry);
}

static void check_file(const void *bytes, size_t size) {
    char path[FUZZ_PATH];
    tensor_error err = {0};
    fuzz_path("input", path);
    fuzz_file("input", bytes, size);
    nn_file *file = nn_file_open(path, &err);
    CHECK(!file == (err.text[0] != '\0'));
    CHECK(file || (strstr(err.text, path) && !strchr(err.text, '\n')));
    for (int i = 0; i < nn_file_entries(file); i++) check_entry(file, nn_file_at(file, i));
    nn_file_metadata(file, "a");
    for (int i = 0; i < nn_file_metadata_count(file); i++)
        CHECK(nn_file_metadata(file, nn_file_metadata_at(file, i)->key) ==
              nn_file_metadata_at(file, i)->value);
    if (file) nn_file_strip(file, "a", &err);
    nn_file_close(file);
}

/* A header with its length before it and 24 zeros behind it. */
static void check_header(const uint8_t *header, size_t size) {
    char *text = calloc(1, 8 + size + 24);
    CHECK(text);
    uint64_t length = size;
    memcpy(text, &length, 8);
    if (size) memcpy(text + 8, header, size);
    check_file(text, 8 + size + 24);
    free(text);
}

/* What the reader makes of an array, quoted and read again, is the same. */
static void check_strings(const uint8_t *data, size_t size, tensor_arena *arena) {
    char *json = malloc(size + 1), quoted[256];
    CHECK(json);
    if (size) memcpy(json, data, size);
    json[size] = '\0';
    tensor_error err = {0};
    const char *const *strings, *const *again;
    int count, one;
    bool valid = nn_json_strings(json, arena, &strings, &count, &err);
    CHECK(valid == !err.text[0]);
    for (int i = 0; valid && i < count; i++) {
        size_t length = nn_json_quote(quoted + 1, sizeof quoted - 2, strings[i]);
        if (length > sizeof quoted - 4) continue;
        quoted[0] = '[';
        memcpy(quoted + 1 + length, "]", 2);
        CHECK(nn_json_strings(quoted, arena, &again, &one, &err) && one == 1 &&
              strcmp(strings[i], again[0]) == 0);
    }
    const nn_metadata *members;
    err = (tensor_error){0};
    valid = nn_json_members(json, arena, &members, &count, &err);
    CHECK(valid == !err.text[0]);
    for (int i = 0; valid && i < count; i++) CHECK(strlen(members[i].key) + strlen(members[i].value) < size);
    nn_json_quote(quoted, sizeof quoted, json); /* any bytes */
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_folder_begin();
    tensor_arena *arena = fuzz_arena();
    check_file(data, size);
    check_header(data, size);
    check_strings(data, size, arena);
    return 0;
}
