/* The thread pool. */
#define _GNU_SOURCE /* sched_getcpu */
#include "sampo/tensor.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 100000 };

/* What one call of tensor_parallel has seen. */
typedef struct record {
    int64_t n, grain;
    atomic_int ranges, short_ranges, crooked_ranges, wrong_workers, clashes;
    atomic_uint workers; /* bit i: worker i */
    atomic_uchar times[MOST];
    atomic_int busy[TENSOR_MAX_THREADS];
} record;

static void note(void *context, int64_t begin, int64_t end, int worker) {
    record *r = context;
    bool known = worker >= 0 && worker < tensor_threads();
    if (!known) {
        r->wrong_workers++;
        return;
    }
    if (atomic_fetch_add(&r->busy[worker], 1) != 0) r->clashes++;
    r->ranges++;
    r->workers |= 1u << worker % 32;
    if (end - begin < r->grain && end - begin < r->n) r->short_ranges++;
    if (begin % r->grain != 0) r->crooked_ranges++;
    for (int64_t i = begin; i < end; i++) r->times[i]++;
    atomic_fetch_sub(&r->busy[worker], 1);
}

static record *run(int64_t n, int64_t grain) {
    static record r;
    memset(&r, 0, sizeof r);
    r.n = n;
    r.grain = grain < 1 ? 1 : grain;
    tensor_parallel(n, grain, note, &r);
    for (int64_t i = 0; i < MOST; i++)
        cr_assert_eq(r.times[i], i < n, "index %lld of %lld", (long long)i, (long long)n);
    cr_assert_eq(r.wrong_workers, 0);
    cr_assert_eq(r.clashes, 0, "a worker's number is unique");
    cr_assert_eq(r.short_ranges, 0);
    cr_assert_eq(r.crooked_ranges, 0, "ranges begin at multiples of grain");
    return &r;
}

static void set_threads(int threads) {
    tensor_error err = {0};
    cr_assert(tensor_set_threads(threads, &err), "%s", err.text);
    if (threads) cr_assert_eq(tensor_threads(), threads);
}

Test(threads, every_index_once) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 64, 65, 1000, 4097, MOST};
    static const int64_t grains[] = {-1, 0, 1, 2, 3, 16, 100, 5000, INT64_MAX};
    for (int threads = 1; threads <= 8; threads = threads * 2 + 1) {
        set_threads(threads);
        for (int i = 0; i < 10; i++)
            for (int k = 0; k < 9; k++) run(sizes[i], grains[k]);
    }
}

Test(threads, many_small_jobs) {
    set_threads(4);
    for (int i = 0; i < 300; i++) run(i % 20, 1);
}

Test(threads, runs_inline_where_it_is_small) {
    set_threads(4);
    for (int i = 0; i < 50; i++) {
        record *r = run(100, 100);
        cr_assert(r->ranges == 1 && r->workers == 1, "n <= grain");
    }
    cr_assert_eq(run(-5, 1)->ranges, 0);
    set_threads(1);
    cr_assert_eq(run(1000, 1)->ranges, 1, "one thread");
}

static void sleep_for(long microseconds) {
    nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}

/* Work that ends only when all of `expected` workers have come. */
typedef struct meeting {
    atomic_int expected, present;
} meeting;

static void meet(void *context, int64_t begin, int64_t end, int worker) {
    meeting *m = context;
    (void)begin, (void)end, (void)worker;
    atomic_fetch_add(&m->present, 1);
    while (atomic_load(&m->present) < m->expected) sleep_for(10);
}

Test(threads, work_runs_on_all_threads_at_once, .timeout = 30) {
    for (int threads = 2; threads <= 5; threads++) {
        set_threads(threads);
        for (int turn = 0; turn < 20; turn++) {
            meeting m = {.expected = threads};
            tensor_parallel(threads, 1, meet, &m);
            cr_assert_geq(m.present, threads);
            if (turn % 5 == 0) sleep_for(1000); /* so that the workers fall asleep */
        }
    }
}

#ifdef __linux__
/* Where the worker of two threads is, and where it may be. */
typedef struct place {
    meeting all;
    int processor;
    cpu_set_t allowed;
} place;

static void look_around(void *context, int64_t begin, int64_t end, int worker) {
    place *p = context;
    if (worker == 1) {
        p->processor = sched_getcpu();
        sched_getaffinity(0, sizeof p->allowed, &p->allowed);
    }
    meet(&p->all, begin, end, worker);
}

/* The caller binds itself to the worker's processor, again and again. */
Test(threads, a_worker_leaves_the_processor_of_the_caller, .timeout = 30) {
    cpu_set_t all, one;
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    if (CPU_COUNT(&all) < 2 || tensor_threads() < 2) return; /* nowhere to go */
    set_threads(2);
    int moved = 0;
    for (int turn = 0; turn < 50; turn++) {
        place p = {.all.expected = 2};
        tensor_parallel(2, 1, look_around, &p);
        CPU_ZERO(&one);
        CPU_SET(p.processor, &one);
        cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
        const int before = p.processor;
        p.all.present = 0;
        tensor_parallel(2, 1, look_around, &p);
        cr_assert(CPU_EQUAL(&p.allowed, &all), "the worker may run where it might before");
        moved += p.processor != before;
        sched_setaffinity(0, sizeof all, &all);
    }
    cr_assert_gt(moved, 25, "the worker moved %d times of 50", moved);
}
#endif

typedef struct nest {
    meeting all;
    atomic_int wrong, calls;
} nest;

typedef struct inner_call {
    nest *nest;
    int worker;
    pthread_t thread;
} inner_call;

static void inner(void *context, int64_t begin, int64_t end, int worker) {
    inner_call *call = context;
    if (worker != call->worker || begin != 0 || end != 1000 || !pthread_equal(pthread_self(), call->thread))
        call->nest->wrong++;
    call->nest->calls++;
}

static void outer(void *context, int64_t begin, int64_t end, int worker) {
    meet(&((nest *)context)->all, begin, end, worker); /* or one worker might do all, before others come */
    for (int64_t i = begin; i < end; i++) {
        inner_call call = {context, worker, pthread_self()};
        tensor_parallel(1000, 1, inner, &call);
        if (tensor_set_threads(2, NULL)) call.nest->wrong++;
    }
}

Test(threads, nested_calls_run_inline_and_keep_the_worker) {
    for (int threads = 1; threads <= 4; threads++) {
        set_threads(threads);
        nest n = {.all.expected = threads};
        tensor_parallel(100, 1, outer, &n);
        cr_assert_eq(n.wrong, 0);
        cr_assert_eq(n.calls, 100);
    }
}

static void *application_thread(void *wrong) {
    for (int i = 0; i < 500; i++) {
        nest n = {0};
        tensor_parallel(10, 1, outer, &n);
        if (n.wrong || n.calls != 10) atomic_fetch_add((atomic_int *)wrong, 1);
    }
    return NULL;
}

Test(threads, calls_from_several_threads_at_once) {
    set_threads(3);
    pthread_t threads[4];
    atomic_int wrong = 0;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, application_thread, &wrong), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    cr_assert_eq(wrong, 0);
}

/* Signals are for the application's threads. */
static void look_at_signals(void *context, int64_t begin, int64_t end, int worker) {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    nest *n = context;
    if (worker > 0 && !(sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGUSR1))) n->wrong++;
    if (worker == 0 && sigismember(&blocked, SIGINT)) n->wrong++;
    meet(&n->all, begin, end, worker);
}

Test(threads, signals_do_not_come_to_workers, .timeout = 30) {
    set_threads(3);
    nest n = {.all.expected = 3};
    tensor_parallel(3, 1, look_at_signals, &n);
    cr_assert_eq(n.wrong, 0);
}

Test(threads, the_number_can_change_at_any_time) {
    for (int turn = 0; turn < 60; turn++) {
        set_threads(1 + turn * 7 % 11);
        run(200, 1);
        if (turn % 10 == 0) sleep_for(500);
    }
    set_threads(TENSOR_MAX_THREADS);
    run(1000, 1);
    set_threads(0);
    cr_assert_geq(tensor_threads(), 1);
}

Test(threads, set_threads_refuses) {
    tensor_error err = {0};
    set_threads(3);
    cr_assert_not(tensor_set_threads(-1, &err));
    cr_assert_str_eq(err.text, "tensor_set_threads: -1 is not in 0..256");
    cr_assert_not(tensor_set_threads(TENSOR_MAX_THREADS + 1, NULL));
    cr_assert_eq(tensor_threads(), 3);
}

#ifdef __linux__
/* Without memory for more stacks there are as many as before. */
Test(threads, threads_that_cannot_be_started_do_not_remain) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    tensor_error err = {0};
    set_threads(2);
    cr_assert(file && fscanf(file, "%ld", &pages) == 1 && fclose(file) == 0);
    if (pages > 1 << 28) cr_skip_test("a sanitizer has the address space, and ends where there is no more");
    const rlim_t room = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (12 << 20);
    struct rlimit limit = {room, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur != room)
        cr_skip_test("an emulator limits nothing");
    cr_expect_not(tensor_set_threads(200, &err));
    cr_assert_eq(setrlimit(RLIMIT_AS, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}), 0);
    cr_expect(strstr(err.text, "200 threads cannot be started: ") && strstr(err.text, "; 2 remain"), "%s",
              err.text);
    cr_expect_eq(tensor_threads(), 2);
    run(1000, 1);
}
#endif

static void refuse_inside(void *context, int64_t begin, int64_t end, int worker) {
    (void)begin, (void)end;
    if (worker == 0) tensor_set_threads(5, context);
}

Test(threads, set_threads_refuses_while_work_runs) {
    set_threads(2);
    tensor_error err = {0};
    tensor_parallel(1, 1, refuse_inside, &err);
    cr_assert_str_eq(err.text, "tensor_set_threads: parallel work is running");
    cr_assert_eq(tensor_threads(), 2);
}

static void note_size(void *context, int64_t begin, int64_t end, int worker) {
    atomic_int *count = context; /* of ranges of each size */
    (void)worker;
    atomic_fetch_add(&count[end - begin < 10 ? end - begin : 10], 1);
}

Test(threads, ranges_are_of_equal_size) {
    set_threads(2);
    atomic_int count[11] = {0};
    tensor_parallel(32 * 5 - 1, 1, note_size, count);
    cr_assert_eq(count[4] * 4 + count[5] * 5, 32 * 5 - 1, "but for the last grain");
}

/* The environment is read at the first use, which is here: every test is a process of its own. */
Test(threads, environment_sets_the_number) {
    setenv("SAMPO_THREADS", "5", 1);
    cr_assert_eq(tensor_threads(), 5);
    cr_assert(tensor_threads_check(NULL));
    run(1000, 1);
}

Test(threads, environment_is_passed_over_where_it_makes_no_sense) {
    setenv("SAMPO_THREADS", "5x", 1);
    tensor_error err = {0};
    int threads = tensor_threads();
    cr_assert(threads >= 1 && threads <= sysconf(_SC_NPROCESSORS_ONLN));
    cr_assert_not(tensor_threads_check(&err));
    cr_assert_str_eq(err.text, "SAMPO_THREADS is '5x', no number of threads from 1 to 256");
}

Test(threads, environment_may_be_empty) {
    setenv("SAMPO_THREADS", "", 1);
    cr_assert(tensor_threads_check(NULL));
}

static int status_of_child(void body(void)) {
    pid_t child = fork();
    if (child == 0) {
        if (body) body();
        exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

static void meet_in_child(void) {
    alarm(10); /* ends the child where the others do not come */
    set_threads(3);
    tensor_parallel(3, 1, meet, &(meeting){.expected = 3});
}

/* Work in a thread of its own, which goes on until it is told to end. */
static atomic_int going;
static void go_on(void *context, int64_t begin, int64_t end, int worker) {
    int not_yet = 0;
    (void)context, (void)begin, (void)end, (void)worker;
    atomic_compare_exchange_strong(&going, &not_yet, 1);
    while (atomic_load(&going) == 1) sleep_for(10);
}
static void *work_meanwhile(void *unused) {
    tensor_parallel(2, 1, go_on, NULL);
    return unused;
}

Test(threads, a_child_that_is_forked_amid_work_has_a_pool, .timeout = 30) {
    pthread_t other;
    set_threads(2);
    cr_assert_eq(pthread_create(&other, NULL, work_meanwhile, NULL), 0);
    while (atomic_load(&going) == 0) sleep_for(10);
    cr_expect_eq(status_of_child(meet_in_child), 0);
    atomic_store(&going, 2);
    pthread_join(other, NULL);
}

static void work_that_exits(void *context, int64_t begin, int64_t end, int worker) {
    (void)context, (void)begin, (void)end;
    if (worker == 0) exit(0);
    sleep_for(100);
}

static void exit_amid_work(void) {
    tensor_parallel(100, 1, work_that_exits, NULL);
}

Test(threads, processes_end_well, .timeout = 30) {
    cr_assert_eq(status_of_child(meet_in_child), 0);
    cr_assert_eq(status_of_child(exit_amid_work), 0);
    set_threads(3);
    run(1000, 1);
    cr_assert_eq(status_of_child(NULL), 0, "a child that does not use the pool");
    cr_assert_eq(status_of_child(meet_in_child), 0, "one that does gets a pool of its own");
    run(1000, 1);
}

static void nothing(void *context, int64_t begin, int64_t end, int worker) {
    (void)context, (void)begin, (void)end, (void)worker;
}

/* A generous bound on what a call costs that is too small to be worth handing out. */
Test(threads, small_work_is_cheap) {
    struct timespec begin, end;
    set_threads(4);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 100000; i++) tensor_parallel(1, 1, nothing, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double us = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / 1e8;
    cr_assert_lt(us, 2, "%g us a call", us);
}
