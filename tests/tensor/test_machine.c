/* What control groups leave of the machine: files of both versions, in folders made here. */
#include "tensor/tensor_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[32];

static void setup(void) {
    strcpy(root, "/tmp/sampo-machine-XXXXXX");
    cr_assert(mkdtemp(root));
}

static void teardown(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(machine, .init = setup, .fini = teardown);

/* Makes a file below the root, with its folders. */
static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0);
    fclose(file);
}

Test(machine, without_files_there_is_no_limit) {
    cr_expect_eq(tensor_quota(root), -1);
    cr_expect_gt(tensor_memory_under(root), 0, "what the machine has in all");
}

Test(machine, second_version) {
    put("proc/self/cgroup", "0::/a/b\n");
    put("proc/meminfo", "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    5000 kB\n");
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    cr_expect_eq(tensor_quota(root), -1);
    cr_expect_eq(tensor_memory_under(root), 5000 * 1024);
    put("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    put("sys/fs/cgroup/a/memory.max", "1000000\n");
    put("sys/fs/cgroup/a/memory.current", "400000\n");
    cr_expect_eq(tensor_quota(root), 2, "one and a half, of the group around it");
    cr_expect_eq(tensor_memory_under(root), 600000);
    put("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 300000\n");
    cr_expect_eq(tensor_memory_under(root), 900000, "pages of files can be had back");
    put("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/a/b/memory.max", "10\n");
    put("sys/fs/cgroup/a/b/memory.current", "11\n");
    cr_expect_eq(tensor_quota(root), 1);
    cr_expect_eq(tensor_memory_under(root), 0);
}

Test(machine, first_version) {
    put("proc/self/cgroup", "3:cpuset:/x\n2:cpu,cpuacct:/pod\n1:memory:/only/outside/known\n");
    put("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n");
    cr_expect_eq(tensor_quota(root), -1);
    cr_expect_eq(tensor_memory_under(root), 5000 * 1024);
    put("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "300000\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "300\n");
    put("sys/fs/cgroup/memory/memory.stat", "cache 100\ntotal_inactive_file 100\n");
    cr_expect_eq(tensor_quota(root), 3);
    cr_expect_eq(tensor_memory_under(root), 800);
}

Test(machine, strange_files) {
    put("proc/self/cgroup", "nonsense\n\n0::\n::::\n5:cpu:\n");
    put("sys/fs/cgroup/cpu.max", "\n");
    put("sys/fs/cgroup/memory.max", "many\n");
    put("proc/meminfo", "");
    cr_expect_eq(tensor_quota(root), -1);
    cr_expect_gt(tensor_memory_under(root), 0);
    cr_expect_geq(tensor_memory(), 0);
}
