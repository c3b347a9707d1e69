/* UTF-8, and files of text. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/text/text.h"

/* ---- UTF-8 (The Unicode Standard, table 3-7) ----------------------------------------------- */

int lm_utf8_decode(const char *bytes, size_t size, uint32_t *code) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* what needs that many bytes */
    if (size == 0) return 0;
    unsigned char first = (unsigned char)bytes[0];
    int length = first < 0x80         ? 1
                 : (first >> 5) == 6  ? 2
                 : (first >> 4) == 14 ? 3
                 : (first >> 3) == 30 ? 4
                                      : 0;
    if (length == 0 || (size_t)length > size) return 0;
    uint32_t c = length == 1 ? first : first & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        unsigned char next = (unsigned char)bytes[i];
        if ((next & 0xc0) != 0x80) return 0;
        c = c << 6 | (next & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    if (c < smallest[length] || c > 0x10ffff || surrogate) return 0;
    *code = c;
    return length;
}

int lm_utf8_encode(uint32_t code, char bytes[5]) {
    int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--, code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(length == 1 ? code : (0xf0u << (4 - length) & 0xff) | code);
    bytes[length] = '\0';
    return length;
}

int64_t lm_utf8_count(const char *bytes, size_t size, tensor_error *err) {
    int64_t count = 0;
    uint32_t code;
    for (size_t at = 0; at < size; count++) {
        int length = lm_utf8_next(bytes + at, size - at, &code);
        if (length == 0) {
            tensor_fail(err,
                        "byte %zu is not valid UTF-8 (0x%02x); convert it, e.g. iconv -f latin1 -t utf-8",
                        at + 1, (unsigned char)bytes[at]);
            return -1;
        }
        at += (size_t)length;
    }
    return count;
}

size_t lm_byte_order_mark(const char *bytes, size_t size) {
    return size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/* ---- Files --------------------------------------------------------------------------------- */

/* A pipe as a file: everything that comes out of it goes to a temporary one. -1: failed. */
static int spool(int from, tensor_error *err) {
    char buffer[1 << 16];
    int to = lm_temporary(err);
    bool ok = to >= 0;
    for (ssize_t got = 1; ok && got != 0;) {
        got = read(from, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        ok = got < 0 ? tensor_fail(err, "cannot be read: %s", strerror(errno))
                     : lm_write_all(to, buffer, (size_t)got, err);
    }
    if (ok || to < 0) return to;
    close(to);
    return -1;
}

/* Maps what has been opened, pipes as well. A file that says to be empty may still have something, as those of /proc have.
 * Devices but terminals are no texts, and some never end. */
static bool map(lm_map *map, int fd, tensor_error *err) {
    struct stat status;
    char none;
    if (fstat(fd, &status) != 0) return tensor_fail(err, "cannot be read: %s", strerror(errno));
    if (S_ISDIR(status.st_mode)) return tensor_fail(err, "this is a directory, not a text file");
    const bool device = (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) && !isatty(fd);
    if (device && read(fd, &none, 0) == 0) /* what cannot be read says why below */
        return tensor_fail(err, "this is a device, not a text file");
    if (S_ISREG(status.st_mode) && status.st_size > 0 && lseek(fd, 0, SEEK_CUR) == 0)
        return lm_map_open(map, fd, err);
    int copy = spool(fd, err);
    bool ok = copy >= 0 && lm_map_open(map, copy, err);
    if (copy >= 0) close(copy);
    return ok;
}

static const char utf16[] = "this looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8";

/* UTF-16: a byte order mark, or zeros in most even places or in most odd ones, and none in the others. */
static bool is_utf16(const lm_text *text) {
    const unsigned char *b = (const unsigned char *)text->bytes;
    size_t zeros[2] = {0}, looked = text->size < 4096 ? text->size / 2 * 2 : 4096;
    if (text->size >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff))) return true;
    for (size_t i = 0; i < looked; i++) zeros[i % 2] += b[i] == 0;
    size_t more = zeros[0] > zeros[1] ? zeros[0] : zeros[1], less = zeros[0] + zeros[1] - more;
    return looked >= 4 && 8 * more >= 3 * looked && less == 0;
}

/* Whether these are characters. */
static bool is_text(const lm_text *text, tensor_error *err) {
    static const char advice[] = "--tokenizer byte trains on any file";
    if (is_utf16(text)) return tensor_fail(err, "%s", utf16);
    const char *nul = memchr(text->bytes, '\0', text->size);
    if (nul)
        return tensor_fail(err, "byte %zu is 0: this is not a text file; %s",
                           (size_t)(nul - text->map.bytes) + 1, advice);
    tensor_error fault = {0};
    return lm_utf8_count(text->map.bytes, text->map.size, &fault) >= 0 ||
           tensor_fail(err, "%s; %s", fault.text, advice);
}

bool lm_text_map(lm_text *text, int fd, lm_tokenizer_kind kind, tensor_error *err) {
    *text = (lm_text){0};
    if (!map(&text->map, fd, err)) return false;
    text->bytes = text->map.bytes;
    text->size = text->map.size;
    if (lm_byte_order_mark(text->bytes, text->size)) {
        text->bytes += 3;
        text->size -= 3;
    }
    bool ok = text->size > 0 || tensor_fail(err, "the file is empty");
    if (ok && kind == LM_CHAR) ok = is_text(text, err);
    if (ok && kind == LM_BPE && is_utf16(text)) ok = tensor_fail(err, "%s", utf16);
    if (!ok) lm_text_free(text);
    return ok;
}

bool lm_text_read(lm_text *text, const char *path, lm_tokenizer_kind kind, tensor_error *err) {
    *text = (lm_text){0};
    bool input = strcmp(path, "-") == 0;
    int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return tensor_fail(err, "cannot be opened: %s", strerror(errno));
    bool ok = lm_text_map(text, fd, kind, err);
    if (!input) close(fd);
    return ok;
}

void lm_text_free(lm_text *text) {
    lm_map_free(&text->map);
    *text = (lm_text){0};
}

char *lm_text_string(const char *path, tensor_arena *arena, tensor_error *err) {
    lm_text text;
    char *string = NULL;
    if (!lm_text_read(&text, path, LM_BYTE, err)) return NULL;
    if (memchr(text.bytes, '\0', text.size))
        tensor_fail(err, "a byte is 0: this is not a text file");
    else if ((string = tensor_arena_alloc(arena, text.size + 1, err)))
        *((char *)memcpy(string, text.bytes, text.size) + text.size) = '\0';
    lm_text_free(&text);
    return string;
}

const char *lm_text_default(tensor_arena *arena, tensor_error *err) {
    static const char *const names[] = {"kalevala.txt", "verses.txt"};
    const char *chosen = getenv("SAMPO_DATA");
    if (chosen && !*chosen) chosen = NULL;
    tensor_error unknown = {0};
    const char *folders[] = {chosen ? chosen : SAMPO_DATA_DIR, chosen ? chosen : SAMPO_INSTALLED_DATA_DIR};
    for (int i = 0; i < 4; i++) {
        const char *folder = folders[i / 2], *name = names[i % 2];
        const char *path = lm_path_in(folder, name, arena, err);
        if (!path) return NULL;
        tensor_error fault = {0};
        const lm_place place = lm_place_of(path, &fault);
        if (place == LM_FILE || place == LM_FOLDER) return path;
        if (place == LM_UNKNOWN && !unknown.text[0])
            unknown = fault; /* what is installed may still be there */
    }
    if (unknown.text[0]) return tensor_fail(err, "%s", unknown.text), NULL;
    tensor_fail(err,
                "no text to read: %.120s has neither kalevala.txt nor verses.txt; name one with --data FILE",
                folders[0]);
    return NULL;
}
