/* Makes one call of a program fail, below libc: LD_PRELOAD puts its allocator before libc's, so that libc's own
 * allocations are seen as well, and a filter of the kernel (seccomp) brings every system call here, those of libc's
 * streams too.
 *
 * SAMPO_FAULT=KIND:NUMBER:FAULT makes call NUMBER of a kind fail, "7+" that and all later ones. The kinds are in `calls`
 * below, `memory` and `thread` besides. FAULT is an error's number, "short" for half of what was asked for, or "abort"
 * to see in a debugger which call it is. SAMPO_FAULT_REPORT names a descriptor to write to: "fired" when it has
 * happened, and at the end how many pieces of memory were never freed. For Linux with glibc on x86-64 and aarch64. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SHORT = -1, ABORT = -2, PASS = 0x5a115a11 /* as a call's last argument: it goes through */ };

static struct {
    char kind[16];
    long number;
    bool all_later;
    int fault; /* errno, SHORT, ABORT */
    int report;
    atomic_long count, pieces;
    atomic_bool fired;
} plan;

/* ---- The plan ------------------------------------------------------------------------------------ */

static void tell(const char *word, long number) {
    char line[64];
    const int length = snprintf(line, sizeof line, "%s %ld\n", word, number);
    if (plan.report > 0) syscall(SYS_write, plan.report, line, length, 0, 0, PASS);
}

/* Whether this call of the kind fails. */
static bool fails(void) {
    const long number = 1 + atomic_fetch_add(&plan.count, 1);
    if (plan.all_later ? number < plan.number : number != plan.number) return false;
    if (!atomic_exchange(&plan.fired, true)) tell("fired", number);
    if (plan.fault == ABORT) abort();
    return true;
}

static bool is_planned(const char *kind) {
    return strcmp(plan.kind, kind) == 0;
}

/* ---- Memory -------------------------------------------------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);
void *memalign(size_t alignment, size_t size);

static bool no_memory(void) {
    if (!is_planned("memory") || !fails()) return false;
    errno = ENOMEM;
    return true;
}

static void *counted(void *p) {
    if (p) atomic_fetch_add(&plan.pieces, 1);
    return p;
}

void *malloc(size_t size) {
    return no_memory() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size) {
    return no_memory() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t size) {
    if (no_memory()) return NULL;
    void *moved = __libc_realloc(p, size);
    return p ? moved : counted(moved);
}

void *memalign(size_t alignment, size_t size) {
    return no_memory() ? NULL : counted(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **p, size_t alignment, size_t size) {
    void *memory = memalign(alignment, size);
    if (!memory) return ENOMEM;
    *p = memory;
    return 0;
}

void free(void *p) {
    if (p) atomic_fetch_sub(&plan.pieces, 1);
    __libc_free(p);
}

/* ---- Threads ------------------------------------------------------------------------------------- */

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
typedef int mask(int, const sigset_t *, sigset_t *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context) {
    create *real;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (is_planned("thread") && fails()) return plan.fault;
    return real(thread, attributes, run, context);
}

/* The filter's signal must come through. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    mask *real;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_sigmask");
    sigset_t ours;
    if (!set) return real(how, set, old);
    ours = *set;
    if (how != SIG_UNBLOCK) sigdelset(&ours, SIGSYS);
    return real(how, &ours, old);
}

/* ---- System calls -------------------------------------------------------------------------------- */

static const struct {
    int number;
    const char *kind;
} calls[] = {
    {SYS_openat, "open"},     {SYS_dup, "open"},       {SYS_read, "read"},       {SYS_pread64, "read"},
    {SYS_readv, "read"},      {SYS_write, "write"},    {SYS_pwrite64, "write"},  {SYS_writev, "write"},
    {SYS_fsync, "sync"},      {SYS_fdatasync, "sync"}, {SYS_renameat, "rename"}, {SYS_renameat2, "rename"},
    {SYS_close, "close"},     {SYS_ftruncate, "cut"},  {SYS_mmap, "map"},        {SYS_unlinkat, "unlink"},
    {SYS_newfstatat, "stat"}, {SYS_fstat, "stat"},     {SYS_statx, "stat"},      {SYS_faccessat, "stat"},
    {SYS_mkdirat, "folder"},  {SYS_lseek, "seek"},     {SYS_fcntl, "lock"},      {SYS_pipe2, "pipe"},
    {SYS_readlinkat, "link"}, {SYS_getcwd, "link"},
#ifdef SYS_faccessat2
    {SYS_faccessat2, "stat"},
#endif
#ifdef SYS_open /* the older ones that newer processors do without */
    {SYS_open, "open"},       {SYS_rename, "rename"},  {SYS_unlink, "unlink"},   {SYS_rmdir, "unlink"},
    {SYS_stat, "stat"},       {SYS_lstat, "stat"},     {SYS_access, "stat"},     {SYS_mkdir, "folder"},
    {SYS_pipe, "pipe"},       {SYS_readlink, "link"},
#endif
};
enum { CALLS = sizeof calls / sizeof *calls };

/* Standard error is left alone, so that there can be a line about the fault; of fcntl only locking can fail. */
static bool is_meant(int number, const long argument[6]) {
    if (number == SYS_fcntl)
        return argument[1] == F_SETLK || argument[1] == F_SETLKW || argument[1] == F_GETLK;
    return argument[0] != STDERR_FILENO || !is_planned("write");
}

static long pass(int number, const long a[6]) {
    if (number == SYS_mmap) /* which has six: the mark stands above the 32 bits of its descriptor */
        return syscall(number, a[0], a[1], a[2], a[3], (long)((uint64_t)PASS << 32 | (uint32_t)a[4]), a[5]);
    return syscall(number, a[0], a[1], a[2], a[3], a[4], PASS);
}

static long answer(int number, long a[6]) {
    if (!is_meant(number, a) || !fails()) return pass(number, a);
    if (plan.fault == SHORT) {
        if (number != SYS_readv && number != SYS_writev && a[2] > 1) a[2] /= 2;
        return pass(number, a);
    }
    if (number == SYS_close) pass(number, a); /* Linux closes it whatever it reports */
    errno = plan.fault;
    return -1;
}

static void on_call(int signal, siginfo_t *info, void *context) {
    (void)signal;
    const int before = errno;
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
#ifdef __x86_64__
    greg_t *r = machine->gregs;
    long a[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
#else
    long a[6];
    for (int i = 0; i < 6; i++) a[i] = (long)machine->regs[i];
#endif
    long result = answer(info->si_syscall, a);
    if (result == -1) result = -errno;
    errno = before;
#ifdef __x86_64__
    r[REG_RAX] = result;
#else
    machine->regs[0] = (unsigned long)result;
#endif
}

/* What is planned goes to on_call, unless it carries the mark. */
static void filter_calls(void) {
    struct sock_filter f[CALLS + 8];
    unsigned short n = 0, first = 1, count = 0;
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS; i++)
        if (is_planned(calls[i].kind))
            f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number, 0, 0);
    count = (unsigned short)(n - first);
    if (count == 0) return;
    for (int i = 0; i < count; i++) f[first + i].jt = (unsigned char)(count - i); /* behind the next return */
    /* Little-endian: the mark of mmap stands in the second half of its fifth argument. */
    const size_t mark = is_planned("map") ? offsetof(struct seccomp_data, args[4]) + 4
                                          : offsetof(struct seccomp_data, args[5]);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)mark);
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PASS, 0, 1);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    const struct sock_fprog program = {.len = n, .filter = f};
    sigemptyset(&action.sa_mask);
    sigaction(SIGSYS, &action, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77); /* this system has no such filters */
}

/* ---- Begin and end -------------------------------------------------------------------------------- */

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("SAMPO_FAULT"), *report = getenv("SAMPO_FAULT_REPORT");
    char number[16], fault[16];
    plan.report = report ? atoi(report) : 0;
    if (!text || sscanf(text, "%*15[a-z]:%15[0-9+]:%15s", number, fault) != 2) return;
    plan.number = atol(number);
    plan.all_later = strchr(number, '+');
    plan.fault = strcmp(fault, "short") == 0 ? SHORT : strcmp(fault, "abort") == 0 ? ABORT : atoi(fault);
    memcpy(plan.kind, text, strcspn(text, ":"));
    filter_calls();
}

__attribute__((destructor)) static void end(void) {
    tell("left", plan.pieces);
}
