/* The thread pool.
 *
 * tensor_parallel publishes a job in `pool.state` and works on it itself; workers that see it join in, and all
 * take chunks from one counter until none is left. The caller then closes the job and waits for those still at
 * work: one that slept through it finds it closed and is not waited for. Who has nothing to do watches the state
 * for some microseconds and then sleeps.
 *
 * The pool serves one call at a time. A call from another thread of the application that finds it taken runs
 * inline, with worker number 0; so "unique" in tensor.h is meant within one outermost call. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "tensor/tensor_internal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNKS_PER_THREAD = 16, /* enough to even out threads of unequal speed */
    SPIN_NANOSECONDS = 200000,
    STACK_BYTES = 2 << 20 /* kernels keep panels on it; some libcs give threads 128 KiB */
};

/* pool.state: the job's number, whether it may be joined, and how many workers have joined it. */
#define STATE_JOB UINT64_C(0x100000000)
#define STATE_OPEN UINT64_C(0x10000)
#define STATE_JOINED (STATE_OPEN - 1)

typedef struct job {
    tensor_work *work;
    void *context;
    int64_t n, grain, chunks;
} job;

static struct {
    _Alignas(64) atomic_uint_fast64_t state;
    job job;                               /* constant while the state is open or joined */
    _Alignas(64) atomic_int_fast64_t next; /* chunk */
    _Alignas(64) atomic_bool taken; /* by the caller of tensor_parallel or tensor_set_threads, who owns: */
    int started;                    /* workers running: numbers 1..started */
    pthread_t thread[TENSOR_MAX_THREADS];
    atomic_int threads; /* the caller included; a worker whose number is not below it ends */
    atomic_int processor[TENSOR_MAX_THREADS]; /* on which a thread has last begun to work; -1: not known */
    atomic_int sleepers;                      /* workers that have to be woken */
    atomic_int waiting;                       /* the caller has to be woken */
    int processors;                           /* with fewer of them than threads nobody spins */
    pthread_mutex_t mutex;                    /* for the two conditions only */
    pthread_cond_t work_there, work_done;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .work_there = PTHREAD_COND_INITIALIZER,
          .work_done = PTHREAD_COND_INITIALIZER};

static pthread_once_t pool_once = PTHREAD_ONCE_INIT;
static char refused[32]; /* SAMPO_THREADS where it is no number of threads, cut to this length */
static _Thread_local int this_worker;
static _Thread_local bool inside; /* a call of tensor_parallel */

/* ---- Size ---------------------------------------------------------------------------------------- */

static int count_processors(void) {
    long count = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
    if (count < 1) count = sysconf(_SC_NPROCESSORS_ONLN);
    const int quota = tensor_quota("");
    if (quota > 0 && quota < count) count = quota; /* more threads would wait for each other, suspended */
    return count < 1 ? 1 : count > TENSOR_MAX_THREADS ? TENSOR_MAX_THREADS : (int)count;
}

/* In a forked child there are no workers, and nobody who holds a lock. */
static void forget_threads(void) {
    pool.started = 0;
    pool.mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pool.work_there = pool.work_done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    atomic_store(&pool.state, 0);
    atomic_store(&pool.taken, false);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.waiting, 0);
}

static void first_use(void) {
    pool.processors = count_processors();
    int threads = pool.processors;
    const char *text = getenv("SAMPO_THREADS");
    if (text && *text) {
        char *end;
        long number = strtol(text, &end, 10);
        if (end != text && !*end && number >= 1 && number <= TENSOR_MAX_THREADS)
            threads = (int)number;
        else
            snprintf(refused, sizeof refused, "%s", text);
    }
    if (pthread_atfork(NULL, NULL, forget_threads) != 0) threads = 1;
    atomic_store(&pool.threads, threads);
}

int tensor_threads(void) {
    pthread_once(&pool_once, first_use);
    return atomic_load_explicit(&pool.threads, memory_order_relaxed);
}

bool tensor_threads_check(tensor_error *err) {
    pthread_once(&pool_once, first_use);
    return !*refused || tensor_fail(err, "SAMPO_THREADS is '%s', no number of threads from 1 to %d", refused,
                                    TENSOR_MAX_THREADS);
}

/* ---- Waiting --------------------------------------------------------------------------------------- */

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Watches until ready(number) for SPIN_NANOSECONDS at most; whether it came. */
static bool spin(bool ready(uint64_t), uint64_t number) {
    if (ready(number)) return true;
    if (atomic_load_explicit(&pool.threads, memory_order_relaxed) > pool.processors) return false;
    int64_t limit = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 32; i++) {
            if (ready(number)) return true;
            pause_briefly();
        }
    } while (nanoseconds() < limit);
    return false;
}

static bool nobody_joined(uint64_t unused) {
    (void)unused;
    return (atomic_load(&pool.state) & STATE_JOINED) == 0;
}

static bool other_job(uint64_t seen) {
    uint64_t state = atomic_load(&pool.state);
    return (state & STATE_OPEN && state / STATE_JOB != seen) || this_worker >= atomic_load(&pool.threads);
}

/* Until there is an open job other than number `seen`, or this worker has to end. A worker counts itself among
 * the sleepers before it looks at the state a last time, and a caller changes the state before it looks at the
 * sleepers: so one of them notices the other. The same holds for `waiting` below. */
static void wait_for_job(uint64_t seen) {
    if (spin(other_job, seen)) return;
    pthread_mutex_lock(&pool.mutex);
    atomic_fetch_add(&pool.sleepers, 1);
    while (!other_job(seen)) pthread_cond_wait(&pool.work_there, &pool.mutex);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.mutex);
}

static void wait_for_workers(void) {
    if (spin(nobody_joined, 0)) return;
    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.waiting, 1);
    while (!nobody_joined(0)) pthread_cond_wait(&pool.work_done, &pool.mutex);
    atomic_store(&pool.waiting, 0);
    pthread_mutex_unlock(&pool.mutex);
}

static void wake(atomic_int *waiters, pthread_cond_t *condition) {
    if (atomic_load(waiters) == 0) return;
    pthread_mutex_lock(&pool.mutex);
    pthread_cond_broadcast(condition);
    pthread_mutex_unlock(&pool.mutex);
}

/* ---- Places ---------------------------------------------------------------------------------------- *
 * Linux may put two threads of the pool on one processor, and beside a busy process of somebody else it leaves them
 * there: two of three threads have to share, and it does not mind which. All of the pool then advances as one thread
 * would. So a thread that finds another one of the pool on its processor moves to one where there is none. */
#ifdef __linux__

static bool is_crowded(int me, int here) {
    if (atomic_load_explicit(&pool.threads, memory_order_relaxed) > pool.processors) return false;
    for (int i = 0; i < me; i++)
        if (atomic_load_explicit(&pool.processor[i], memory_order_relaxed) == here) return true;
    return false;
}

static void move_away(int me) {
    cpu_set_t allowed, others;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    others = allowed;
    for (int i = 0, at; i <= pool.started; i++)
        if (i != me && (at = atomic_load_explicit(&pool.processor[i], memory_order_relaxed)) >= 0 &&
            at < CPU_SETSIZE)
            CPU_CLR(at, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
    sched_setaffinity(0, sizeof allowed, &allowed); /* it may move again, but stays where it is for now */
}

/* The caller, number 0, only says where it is: its affinity is the application's. */
static void take_place(int me) {
    const int here = sched_getcpu();
    if (me > 0 && here >= 0 && is_crowded(me, here)) move_away(me);
    atomic_store_explicit(&pool.processor[me], me > 0 ? sched_getcpu() : here, memory_order_relaxed);
}

#else
static void take_place(int me) {
    (void)me;
}
#endif

/* ---- Work --------------------------------------------------------------------------------------------- */

/* The index at which a chunk begins: whole grains, dealt out evenly; the last one takes what is left over. */
static int64_t chunk_begin(const job *j, int64_t chunk) {
    if (chunk == j->chunks) return j->n;
    int64_t grains = j->n / j->grain, extra = grains % j->chunks;
    return (chunk * (grains / j->chunks) + (chunk < extra ? chunk : extra)) * j->grain;
}

static void run_chunks(const job *j, int worker) {
    for (int64_t chunk; (chunk = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed)) < j->chunks;)
        j->work(j->context, chunk_begin(j, chunk), chunk_begin(j, chunk + 1), worker);
}

static void *worker_main(void *number) {
    this_worker = (int)(intptr_t)number;
    inside = true;
    uint64_t seen = 0;
    for (;;) {
        wait_for_job(seen);
        if (this_worker >= atomic_load(&pool.threads)) return NULL;
        uint64_t state = atomic_load(&pool.state);
        if (!(state & STATE_OPEN) || !atomic_compare_exchange_strong(&pool.state, &state, state + 1))
            continue;
        seen = state / STATE_JOB;
        take_place(this_worker);
        run_chunks(&pool.job, this_worker);
        atomic_fetch_sub(&pool.state, 1);
        wake(&pool.waiting, &pool.work_done);
    }
}

/* Starts workers until there are `threads` with the caller; what stood in the way, or 0. Signals are the application's
 * threads' business. */
static int start_workers(int threads) {
    if (pool.started >= threads - 1) return 0;
    pthread_attr_t attributes;
    int fault = pthread_attr_init(&attributes);
    if (fault != 0) return fault;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.started < threads - 1) {
        intptr_t number = pool.started + 1;
        atomic_store(&pool.processor[number], -1);
        fault = pthread_create(&pool.thread[number], &attributes, worker_main, (void *)number);
        if (fault != 0) break;
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return fault;
}

/* Sets the number of threads, and ends the workers that are too many. */
static void keep_workers(int threads) {
    atomic_store(&pool.threads, threads);
    wake(&pool.sleepers, &pool.work_there);
    for (; pool.started > threads - 1; pool.started--) pthread_join(pool.thread[pool.started], NULL);
}

static bool take_pool(void) {
    return !atomic_exchange_explicit(&pool.taken, true, memory_order_acquire);
}

static void release_pool(void) {
    atomic_store_explicit(&pool.taken, false, memory_order_release);
}

static void run_job(void) {
    atomic_store_explicit(&pool.next, 0, memory_order_relaxed);
    take_place(0);
    uint64_t number = atomic_load(&pool.state) / STATE_JOB + 1;
    atomic_store(&pool.state, number * STATE_JOB | STATE_OPEN);
    wake(&pool.sleepers, &pool.work_there);
    run_chunks(&pool.job, 0);
    atomic_fetch_and(&pool.state, ~STATE_OPEN);
    wait_for_workers();
}

bool tensor_is_nested(void) {
    return inside;
}

void tensor_parallel(int64_t n, int64_t grain, tensor_work *work, void *context) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    bool outer = inside;
    inside = true;
    int threads = tensor_threads();
    if (outer || threads == 1 || n / grain < 2 || !take_pool()) {
        work(context, 0, n, this_worker);
    } else {
        if (start_workers(threads) != 0) atomic_store(&pool.threads, threads = pool.started + 1);
        int64_t chunks = n / grain, most = (int64_t)threads * CHUNKS_PER_THREAD;
        pool.job = (job){work, context, n, grain, chunks < most ? chunks : most};
        run_job();
        release_pool();
    }
    inside = outer;
}

bool tensor_set_threads(int threads, tensor_error *err) {
    if (threads < 0 || threads > TENSOR_MAX_THREADS)
        return tensor_fail(err, "tensor_set_threads: %d is not in 0..%d", threads, TENSOR_MAX_THREADS);
    int before = tensor_threads();
    if (threads == 0) threads = pool.processors;
    if (inside || !take_pool()) return tensor_fail(err, "tensor_set_threads: parallel work is running");
    if (threads > before) atomic_store(&pool.threads, threads);
    const int fault = start_workers(threads), running = pool.started + 1;
    const int remain = fault == 0 ? threads : before < running ? before : running;
    keep_workers(remain);
    release_pool();
    return fault == 0 || tensor_fail(err, "tensor_set_threads: %d threads cannot be started: %s; %d remain",
                                     threads, strerror(fault), remain);
}

/* Threads end before the process does, unless it ends amid parallel work. */
__attribute__((destructor)) static void end_threads(void) {
    if (!take_pool()) return;
    keep_workers(1);
    release_pool();
}
