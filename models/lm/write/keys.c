/* The keys of a terminal, one by one and unseen. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "models/lm/text/text.h"
#include "models/lm/write/line.h"

static struct termios before; /* how the terminal was */
static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
enum { ENDING = sizeof ending / sizeof *ending };
static struct sigaction were[ENDING];

static void restore(void) {
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

static void end_by(int number) {
    restore();
    signal(number, SIG_DFL);
    raise(number);
}

bool lm_keys_begin(void) {
    struct sigaction action = {.sa_handler = end_by};
    struct termios raw;
    if (tcgetattr(STDIN_FILENO, &before) != 0) return false;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < ENDING; i++) {
        sigaction(ending[i], NULL, &were[i]);
        if (were[i].sa_handler == SIG_DFL) sigaction(ending[i], &action, NULL);
    }
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON | ISTRIP);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0) return true; /* and keeps what was typed ahead */
    lm_keys_end();
    return false;
}

void lm_keys_end(void) {
    restore();
    for (int i = 0; i < ENDING; i++) sigaction(ending[i], &were[i], NULL);
}

static int held = LM_KEY_NONE; /* a byte to read again */
static int fault;              /* errno of what could not be read of this key */

static int read_byte(void) {
    unsigned char c;
    ssize_t got;
    const int again = held;
    held = LM_KEY_NONE;
    if (again != LM_KEY_NONE) return again;
    do {
        got = read(STDIN_FILENO, &c, 1);
    } while (got < 0 && errno == EINTR);
    if (got < 0) fault = errno;
    return got == 1 ? c : LM_KEY_END;
}

/* The byte behind another that a key sends at once. */
static int read_soon(void) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&in, 1, 50) > 0 ? read_byte() : LM_KEY_NONE;
}

/* The sequence of a cursor key, as the control character that does the same. */
static int read_sequence(void) {
    static const char ends[] = "ABCDHF1748", same[] = "PNFBAEAAEE";
    int c = read_soon(), number = 0, parts = 0;
    if (c != '[' && c != 'O') return held = c, LM_KEY_NONE;
    for (c = read_soon(); (c >= '0' && c <= '9') || c == ';'; c = read_soon()) {
        parts += c == ';';
        if (parts == 0 && number < 100) number = 10 * number + c - '0';
    }
    if (c == '~') c = number < 10 ? '0' + number : LM_KEY_NONE;
    const char *end = c > 0 && c < 0x80 ? strchr(ends, c) : NULL;
    return end ? LM_CTRL(same[end - ends]) : c == '3' ? LM_KEY_DELETE : LM_KEY_NONE;
}

static int read_key(char text[5]) {
    enum { ESCAPE = 0x1b };
    const int first = read_byte();
    uint32_t code;
    if (first == ESCAPE) return read_sequence();
    if (first < ' ' || first >= LM_KEY_DELETE || first == LM_KEY_RUBOUT) return first;
    const size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    text[0] = (char)first;
    for (size_t i = 1; i < size; i++) {
        const int c = read_soon();
        if (c < 0x80 || c > 0xbf) return held = c, LM_KEY_NONE;
        text[i] = (char)c;
    }
    text[size] = '\0';
    return lm_utf8_decode(text, size, &code) == (int)size ? LM_KEY_TEXT : LM_KEY_NONE;
}

int lm_keys_read(char text[5]) {
    fault = 0;
    const int key = read_key(text);
    errno = fault;
    return fault ? LM_KEY_END : key;
}
