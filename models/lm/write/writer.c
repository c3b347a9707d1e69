/* Text on its way to a stream: whole characters, up to a stop text, at a pace. */
#define _GNU_SOURCE /* nanosleep */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/lm/write/write_internal.h"

static const double flush_seconds = 0.02; /* how long text may wait for more */

static void wait_until(double time) {
    const double left = time - lm_now();
    if (left <= 0) return;
    const struct timespec wait = {.tv_sec = (time_t)left,
                                  .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
    nanosleep(&wait, NULL); /* a signal may end it: whoever sent it does not want to wait */
}

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* One character, at its time. */
static bool put(lm_writer *w, const char *bytes, size_t size, tensor_error *err) {
    uint32_t code = 0;
    lm_utf8_decode(bytes, size, &code);
    if (w->terminal && lm_is_control(code) && !(size == 1 && strchr("\t\n\r", *bytes))) {
        bytes = replacement;
        size = sizeof replacement - 1;
    }
    fwrite(bytes, 1, size, w->file);
    const double time = lm_now();
    if (w->pace > 0) {
        if (!lm_flush(w->file, err)) return false;
        w->next = (w->next > time - 1 ? w->next : time) + 1 / w->pace;
        wait_until(w->next);
        return true;
    }
    if (time < w->next + flush_seconds) return true;
    w->next = time;
    return lm_flush(w->file, err);
}

/* Writes the first `size` bytes of what is held. */
static bool release(lm_writer *w, size_t size, tensor_error *err) {
    if (size == 0) return true; /* perhaps nothing was ever held */
    for (size_t at = 0; at < size;) {
        uint32_t code;
        const size_t length = (size_t)lm_utf8_decode(w->held + at, size - at, &code);
        if (!put(w, w->held + at, length, err)) return false;
        at += length;
    }
    memmove(w->held, w->held + size, w->size - size);
    w->size -= size;
    return true;
}

/* A whole character. What is held then is the longest end of the text that begins the stop text. */
static bool take(lm_writer *w, const char *bytes, size_t size, tensor_error *err) {
    if (!w->stop) return put(w, bytes, size, err);
    const size_t stop = strlen(w->stop);
    if (w->size + size > w->capacity) {
        const size_t capacity = 2 * (w->capacity + stop + size);
        char *held = realloc(w->held, capacity);
        if (!held) return tensor_fail(err, "out of memory");
        w->held = held;
        w->capacity = capacity;
    }
    memcpy(w->held + w->size, bytes, size);
    w->size += size;
    size_t keep = w->size < stop ? w->size : stop;
    while (memcmp(w->held + w->size - keep, w->stop, keep) != 0) keep--;
    w->stopped = keep == stop;
    if (!release(w, w->size - keep, err)) return false;
    if (w->stopped) w->size = 0;
    return true;
}

static bool take_replacement(lm_writer *w, tensor_error *err) {
    w->part_size = 0;
    return take(w, replacement, sizeof replacement - 1, err);
}

/* Whether bytes are the beginning of some character. */
static bool begins_character(const unsigned char *bytes, size_t size) {
    for (int last = 0; last < 2; last++) { /* continued with the lowest, with the highest bytes */
        char whole[4];
        uint32_t code;
        memset(whole, last ? 0xbf : 0x80, sizeof whole);
        memcpy(whole, bytes, size);
        if (lm_utf8_decode(whole, sizeof whole, &code) > (int)size) return true;
    }
    return false;
}

bool lm_writer_bytes(lm_writer *w, const char *bytes, size_t size, tensor_error *err) {
    for (size_t i = 0; i < size && !w->stopped; i++) {
        w->part[w->part_size++] = (unsigned char)bytes[i];
        uint32_t code;
        if (lm_utf8_decode((const char *)w->part, w->part_size, &code) == (int)w->part_size) {
            const size_t length = w->part_size;
            w->part_size = 0;
            if (!take(w, (const char *)w->part, length, err)) return false;
        } else if (!begins_character(w->part, w->part_size)) {
            const bool alone = w->part_size == 1;
            if (!take_replacement(w, err)) return false;
            if (!alone) i--; /* it may begin one itself */
        }
    }
    return true;
}

bool lm_writer_stop(lm_writer *w, tensor_error *err) {
    const bool ok = w->stopped || w->part_size == 0 || take_replacement(w, err);
    w->stopped = true;
    return ok;
}

bool lm_writer_end(lm_writer *w, tensor_error *err) {
    bool ok = lm_writer_stop(w, err);
    ok = ok && release(w, w->size, err) && lm_flush(w->file, err);
    free(w->held);
    w->held = NULL;
    return ok;
}
