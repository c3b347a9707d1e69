/* Durations and amounts of memory, as people write them. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/cli/cli.h"

char *lm_duration(double seconds, char *buffer, size_t size) {
    const int64_t s = (int64_t)ceil(fmin(fmax(seconds, 0), 1e15)), minutes = s / 60, hours = s / 3600;
    if (hours >= 48)
        snprintf(buffer, size, "%" PRId64 " days", (hours + 12) / 24);
    else if (hours > 0)
        snprintf(buffer, size, "%" PRId64 " h %02" PRId64 " min", hours, minutes % 60);
    else if (minutes > 0)
        snprintf(buffer, size, "%" PRId64 " min %02" PRId64 " s", minutes, s % 60);
    else
        snprintf(buffer, size, "%" PRId64 " s", s);
    return buffer;
}

char *lm_memory_text(double bytes, char *buffer, size_t size) {
    const double megabytes = bytes / 1e6;
    if (megabytes >= 999.5)
        snprintf(buffer, size, megabytes >= 9950 ? "%.0f GB" : "%.1f GB", megabytes / 1e3);
    else
        snprintf(buffer, size, "%.0f MB", ceil(megabytes));
    return buffer;
}

bool lm_duration_parse(const char *text, double *seconds, tensor_error *err) {
    static const struct unit {
        char letter;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const char *at = text;
    *seconds = 0;
    do {
        char *end;
        const double number = *at >= '0' && *at <= '9' ? strtod(at, &end) : -1;
        size_t unit = 0;
        if (!(number >= 0 && number <= 1e9)) break;
        at = end;
        for (; *at && unit < sizeof units / sizeof *units && units[unit].letter != *at;) unit++;
        if (unit == sizeof units / sizeof *units) break;
        *seconds += number * units[unit].seconds;
        if (*at) at++;
    } while (*at);
    return (*seconds > 0 && !*at) ||
           tensor_fail(err, "'%.60s' is not a time; write 90s, 10m, 2h or 1h30m", text);
}
