/* Editing a line in one row of the terminal: of a longer one the part around the cursor shows. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/cli/cli.h"
#include "models/lm/text/text.h"
#include "models/lm/write/line.h"

/* ---- Characters -------------------------------------------------------------------------------- */

/* Columns that a character takes: none where it stands over the one before, two of East Asia's and of pictures. */
static int columns_of(uint32_t code) {
    static const struct {
        uint32_t first, last;
        int columns;
    } ranges[] = {{0x300, 0x36f, 0},     {0x483, 0x489, 0},    {0x591, 0x5bd, 0},   {0x610, 0x61a, 0},
                  {0x64b, 0x65f, 0},     {0x93a, 0x94f, 0},    {0xe31, 0xe3a, 0},   {0x1100, 0x115f, 2},
                  {0x1ab0, 0x1aff, 0},   {0x1dc0, 0x1dff, 0},  {0x200b, 0x200f, 0}, {0x20d0, 0x20ff, 0},
                  {0x2e80, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},  {0xf900, 0xfaff, 2}, {0xfe00, 0xfe0f, 0},
                  {0xfe20, 0xfe2f, 0},   {0xfe30, 0xfe6f, 2},  {0xff00, 0xff60, 2}, {0xffe0, 0xffe6, 2},
                  {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].first && code <= ranges[i].last) return ranges[i].columns;
    return 1;
}

/* The columns of the character at a byte, and *length its bytes. */
static int columns_at(const lm_line *l, size_t at, size_t *length) {
    uint32_t code = 0;
    const int bytes = lm_utf8_decode(l->text + at, l->size - at, &code);
    *length = bytes > 0 ? (size_t)bytes : 1;
    return columns_of(code);
}

static int columns_between(const lm_line *l, size_t from, size_t to) {
    int columns = 0;
    for (size_t length; from < to; from += length) columns += columns_at(l, from, &length);
    return columns;
}

/* The next place for the cursor, behind a character with all that stands over it; the one before. */
static size_t right_of(const lm_line *l, size_t at) {
    size_t length;
    if (at == l->size) return at;
    columns_at(l, at, &length);
    for (at += length; at < l->size && columns_at(l, at, &length) == 0;) at += length;
    return at;
}

static size_t left_of(const lm_line *l, size_t at) {
    size_t last = 0;
    for (size_t next = 0; next < at; next = right_of(l, next)) last = next;
    return last;
}

/* ---- The line ---------------------------------------------------------------------------------- */

static bool insert(lm_line *l, const char *bytes, size_t size) {
    if (l->size + size + 1 > l->capacity) {
        const size_t capacity = 2 * (l->size + size) + 64;
        char *text = realloc(l->text, capacity);
        if (!text) return false;
        l->text = text;
        l->capacity = capacity;
    }
    memmove(l->text + l->at + size, l->text + l->at, l->size - l->at);
    memcpy(l->text + l->at, bytes, size);
    l->size += size;
    l->at += size;
    l->text[l->size] = '\0';
    return true;
}

static void delete (lm_line *l, size_t from, size_t to) {
    memmove(l->text + from, l->text + to, l->size - to + 1);
    l->size -= to - from;
    l->at = from;
}

static size_t start_of(const lm_line *l, size_t at) {
    return (void)l, (void)at, 0;
}

static size_t end_of(const lm_line *l, size_t at) {
    return (void)at, l->size;
}

static size_t word_before(const lm_line *l, size_t at) {
    while (at > 0 && l->text[at - 1] == ' ') at--;
    while (at > 0 && l->text[at - 1] != ' ') at--;
    return at;
}

static void refresh(const lm_line *l) {
    const int prompt = (int)strlen(l->prompt), room = lm_columns_of(STDOUT_FILENO) - prompt - 1;
    size_t from = 0, to, length;
    while (columns_between(l, from, l->at) > room && from < l->at) from = right_of(l, from);
    const int cursor = columns_between(l, from, l->at);
    int used = 0;
    for (to = from; to < l->size && (used += columns_at(l, to, &length)) <= room;) to += length;
    printf("\r%s%.*s\033[K\r", l->prompt, (int)(to - from), l->text + from);
    if (prompt + cursor > 0) printf("\033[%dC", prompt + cursor);
    fflush(stdout);
}

/* ---- History ----------------------------------------------------------------------------------- */

static bool show(lm_line *l, int which) {
    if (which < 0 || which > l->count || which == l->shown) return true;
    if (l->shown == l->count) {
        free(l->draft);
        if (!(l->draft = strdup(l->text))) return false;
    }
    const char *text = which == l->count ? l->draft : l->history[which];
    l->shown = which;
    delete (l, 0, l->size);
    return insert(l, text, strlen(text));
}

static bool remember(lm_line *l) {
    if (l->size == 0 || (l->count > 0 && strcmp(l->history[l->count - 1], l->text) == 0)) return true;
    char *copy = strdup(l->text);
    if (!copy) return false;
    if (l->count == LM_MAX_HISTORY) {
        free(l->history[0]);
        memmove(l->history, l->history + 1, --l->count * sizeof *l->history);
    }
    l->history[l->count++] = copy;
    return true;
}

void lm_line_free(lm_line *l) {
    for (int i = 0; i < l->count; i++) free(l->history[i]);
    free(l->draft);
    free(l->text);
    *l = (lm_line){0};
}

/* ---- Keys -------------------------------------------------------------------------------------- */

/* Keys that move the cursor, or delete what it would move over. */
static const struct {
    int key;
    size_t (*place)(const lm_line *l, size_t at);
    bool deletes;
} keys[] = {
    {LM_CTRL('A'), start_of, false}, {LM_CTRL('B'), left_of, false},  {LM_CTRL('D'), right_of, true},
    {LM_CTRL('E'), end_of, false},   {LM_CTRL('F'), right_of, false}, {LM_CTRL('H'), left_of, true},
    {LM_CTRL('K'), end_of, true},    {LM_CTRL('U'), start_of, true},  {LM_CTRL('W'), word_before, true},
    {LM_KEY_DELETE, right_of, true}, {LM_KEY_RUBOUT, left_of, true}};

/* Does what a key says; `text` is what LM_KEY_TEXT types. False: there is no memory for it. */
static bool press(lm_line *l, int key, const char *text) {
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].key != key) continue;
        const size_t at = keys[i].place(l, l->at);
        if (keys[i].deletes)
            delete (l, at < l->at ? at : l->at, at < l->at ? l->at : at);
        else
            l->at = at;
        return true;
    }
    if (key == LM_KEY_TEXT) return insert(l, text, strlen(text));
    if (key == LM_CTRL('C')) {
        fputc('\n', stdout);
        l->shown = l->count;
        delete (l, 0, l->size);
    }
    if (key == LM_CTRL('L')) fputs("\033[H\033[2J", stdout);
    if (key == LM_CTRL('N')) return show(l, l->shown + 1);
    if (key == LM_CTRL('P')) return show(l, l->shown - 1);
    if (key == LM_CTRL('Z')) {
        lm_keys_end();
        raise(SIGTSTP);
        return lm_keys_begin();
    }
    return true;
}

/* Reads keys up to the end of the line; false: the input has ended, and errno is 0, or errno says what failed. */
static bool edit(lm_line *l) {
    for (;;) {
        char text[5];
        refresh(l);
        const int key = lm_keys_read(text);
        if (key == '\n' || key == '\r') return true;
        const bool ends =
            key == LM_CTRL('D') || key == 0; /* 0: Ctrl-D, typed before the terminal gave keys */
        if (key == LM_KEY_END) return false;
        errno = 0;
        if ((ends && l->size == 0) || !press(l, key, text)) return false;
    }
}

bool lm_line_is_possible(void) {
    return lm_is_terminal(STDIN_FILENO) && lm_is_terminal(STDOUT_FILENO);
}

ssize_t lm_line_read(lm_line *l, const char *prompt, char **line, size_t *room) {
    l->prompt = prompt;
    l->size = l->at = 0;
    l->shown = l->count;
    if (!insert(l, "", 0) || !lm_keys_begin()) return -1;
    const bool ok = edit(l);
    const int fault = errno;
    lm_keys_end();
    fputc('\n', stdout);
    fflush(stdout);
    errno = fault;
    if (!ok || !remember(l)) return -1;
    if (*room < l->size + 2) {
        char *more = realloc(*line, l->size + 2);
        if (!more) return -1;
        *line = more;
        *room = l->size + 2;
    }
    snprintf(*line, *room, "%s\n", l->text);
    return (ssize_t)l->size + 1;
}
