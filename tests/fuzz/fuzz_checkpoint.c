/* Feeds bytes to the readers of models, with NULs between the pieces: the header of a checkpoint, behind which stands as
 * much data as its offsets say, zeros but for its end; then config.json, vocab.json and merges.txt, with which it is a
 * published model, and the index with which it is a part of one. All commands that read models meet it, training that
 * goes on with it included; each ends with a status of its own. */
#include "models/lm/lm.h"
#include "tests/fuzz/folder.h"

enum { MOST_DATA = 1 << 20 };

/* The largest number behind a comma, up to a bracket: "data_offsets":[0,64]. */
static size_t data_size(const uint8_t *header, size_t size) {
    size_t most = 0, number = 0;
    for (size_t i = 0; i < size; i++) {
        if (header[i] >= '0' && header[i] <= '9')
            number = number > MOST_DATA ? number : 10 * number + header[i] - '0';
        else if (header[i] == ']' && number > most && number <= MOST_DATA)
            most = number;
        if (header[i] == ',' || header[i] == '[') number = 0;
    }
    return most;
}

/* The header up to a byte 1, which no header has; what follows is the end of the data, each byte xor 0x55, as it has no
 * 0. Counts of what follows what, which lie there, lead from one to the other. */
static void write_model(const char *name, fuzz_piece header) {
    const uint8_t *mark = header.size ? memchr(header.bytes, 1, header.size) : NULL;
    const size_t length = mark ? (size_t)(mark - header.bytes) : header.size;
    const size_t data = data_size(header.bytes, length), given = mark ? header.size - length - 1 : 0;
    const size_t size = 8 + length + data, end = given < data ? given : data;
    uint8_t *bytes = calloc(1, size);
    CHECK(bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)length >> 8 * i);
    if (length) memcpy(bytes + 8, header.bytes, length);
    for (size_t i = 0; i < end; i++) bytes[size - end + i] = mark[1 + i] ^ 0x55;
    fuzz_file(name, bytes, size);
    free(bytes);
}

static void command(const char *const *words) {
    char *argv[12] = {0};
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    const int status = lm_main(lm_program(), argc, argv);
    CHECK(status == LM_DONE || status == LM_FAILED || status == LM_BAD_USAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { HEADER, CONFIG, INDEX = 4, PIECES };
    static const char own_text[] = /* that the seed `run` was trained on */
        "abbaab\nabbaab\nabbaab\nabbaab\nabbaab\nabbaab\nabbaab\nabbaab\nabbaab\n";
    static const char *const names[] = {
        [CONFIG] = "config.json", "vocab.json", "merges.txt", "model.safetensors.index.json"};
    fuzz_piece rest = {data, size}, pieces[PIECES] = {{data, 0}};
    int count = 0;
    char text[FUZZ_PATH], gguf[FUZZ_PATH];
    fuzz_folder_begin();
    while (count < PIECES && fuzz_cut(&rest, &pieces[count])) count++;
    const bool published = count > CONFIG;
    write_model(count > INDEX ? "part.safetensors"
                : published   ? "model.safetensors"
                              : "last.safetensors",
                pieces[HEADER]);
    for (int i = CONFIG; i < count; i++) fuzz_file(names[i], pieces[i].bytes, pieces[i].size);
    fuzz_file("text", own_text, sizeof own_text - 1);
    command((const char *[]){"gpt", "info", fuzz_folder, "--json", NULL});
    command((const char *[]){"gpt", "sample", fuzz_folder, "--tokens", "2", "--threads", "1", NULL});
    command((const char *[]){"gpt", "export", fuzz_folder, "--gguf", fuzz_path("gguf", gguf), NULL});
    if (!published)
        command((const char *[]){"gpt", "train", "--resume", fuzz_folder, "--data", fuzz_path("text", text),
                                 "--dry-run", "--threads", "1", NULL});
    return 0;
}
