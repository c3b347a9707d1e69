/* What the machine has for this process, and what the control groups that it is in leave of that. They are files, which
 * are not there on other systems than Linux. */
#include "tensor/tensor_internal.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXT_BYTES = 8192 };

/* The beginning of a file as a text; false where there is none. */
static bool read_text(const char *folder, const char *name, char text[TEXT_BYTES]) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return false;
    FILE *file = fopen(path, "r");
    if (!file) return false;
    text[fread(text, 1, TEXT_BYTES - 1, file)] = '\0';
    fclose(file);
    return true;
}

/* The number behind a word, or that a file begins with (NULL). -1: none, as of "max". */
static int64_t number_after(const char *text, const char *word) {
    const char *at = word ? strstr(text, word) : text;
    if (!at) return -1;
    at += word ? strlen(word) : 0;
    char *end;
    long long number = strtoll(at, &end, 10);
    return end == at ? -1 : number;
}

static int64_t read_number(const char *folder, const char *name) {
    char text[TEXT_BYTES];
    return read_text(folder, name, text) ? number_after(text, NULL) : -1;
}

/* ---- One group: -1 stands for no limit. The second version of the files has other names than the first -- */

static int64_t processors_of(const char *folder) {
    char text[TEXT_BYTES];
    int64_t quota, period;
    if (read_text(folder, "cpu.max", text)) { /* "150000 100000": microseconds of each so many */
        quota = number_after(text, NULL);
        period = number_after(text, " ");
    } else {
        quota = read_number(folder, "cpu.cfs_quota_us");
        period = read_number(folder, "cpu.cfs_period_us");
    }
    return quota > 0 && period > 0 ? (quota + period - 1) / period : -1;
}

/* What is left: pages of files that nobody has looked at lately can be had back. */
static int64_t memory_of(const char *folder) {
    char text[TEXT_BYTES];
    const bool second = read_text(folder, "memory.max", text);
    const int64_t limit = second ? number_after(text, NULL) : read_number(folder, "memory.limit_in_bytes");
    const int64_t used = read_number(folder, second ? "memory.current" : "memory.usage_in_bytes");
    if (limit < 0 || limit > INT64_MAX / 2) return -1;
    const bool told = read_text(folder, "memory.stat", text);
    const int64_t files = told ? number_after(text, second ? "\ninactive_file " : "total_inactive_file ") : 0;
    const int64_t left = limit - (used > 0 ? used : 0) + (files > 0 ? files : 0);
    return left > 0 ? left : 0;
}

/* ---- All groups that the process is in ---------------------------------------------------------- */

/* Whether "cpu,cpuacct" has "cpu". */
static bool has_word(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; at; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0')) return true;
    return false;
}

static int64_t lower(int64_t a, int64_t b) {
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* The least of a group and those around it. In a container `group` may be a name that only the machine around it knows:
 * then the outermost folder is the container's. */
static int64_t least_of(const char *mount, char *group, int64_t limit_of(const char *folder)) {
    char folder[PATH_MAX];
    int64_t least = -1;
    for (bool more = true; more;) {
        if (snprintf(folder, sizeof folder, "%s%s", mount, group) < (int)sizeof folder)
            least = lower(least, limit_of(folder));
        char *slash = strrchr(group, '/');
        more = slash != NULL;
        if (slash) *slash = '\0';
    }
    return least;
}

/* Lines of /proc/self/cgroup are "number:controllers:group", with none named in the second version. */
static int64_t least_of_groups(const char *root, const char *controller,
                               int64_t limit_of(const char *folder)) {
    char text[TEXT_BYTES], mount[PATH_MAX], *rest = NULL;
    int64_t least = -1;
    if (!read_text(root, "proc/self/cgroup", text)) return -1;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (!group) continue;
        list++;
        *group++ = '\0';
        if (*list && !has_word(list, controller)) continue;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s%s", root, *list ? "/" : "", list);
        least = lower(least, least_of(mount, group, limit_of));
    }
    return least;
}

int tensor_quota(const char *root) {
    const int64_t processors = least_of_groups(root, "cpu", processors_of);
    return processors < INT_MAX ? (int)processors : -1;
}

int64_t tensor_memory_under(const char *root) {
    char text[TEXT_BYTES];
    int64_t bytes = -1;
    if (read_text(root, "proc/meminfo", text)) bytes = number_after(text, "\nMemAvailable:");
    if (bytes > 0) bytes *= 1024;
#ifdef _SC_PHYS_PAGES
    if (bytes < 0) bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
#endif
    return lower(bytes, least_of_groups(root, "memory", memory_of));
}

int64_t tensor_memory(void) {
    struct rlimit limit;
    int64_t bytes = tensor_memory_under("");
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < INT64_MAX)
        bytes = lower(bytes, (int64_t)limit.rlim_cur);
    return bytes;
}
