/* Processes that mpirun has started. Messages do not block for ever: a rank that does not answer is a failure. */
#include "nn/params/params.h"

#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

enum {
    WAIT_SECONDS = 300,
    MAX_MESSAGE = 1 << 30, /* MPI counts in int */
    SPINS = 20000          /* looks before it lets others run: as a rule a message takes microseconds */
};

static const double YIELDING = 0.1; /* seconds after which it sleeps between two looks */

typedef struct mpi {
    double wait; /* seconds; 0 once a rank has not answered: the others are not waited for either */
    bool begun;  /* MPI_Init was called here */
} mpi;

/* What tells a process its rank: Open MPI's mpirun; that of MPICH and of MPIs made of it, and srun --mpi=pmi2; those that
 * speak PMIx, such as srun --mpi=pmix; Cray's PALS. */
static const char *const marks[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMI_FD", "PMIX_RANK", "PALS_RANKID"};

static bool is_started_by_mpirun(void) {
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (getenv(marks[i])) return true;
    return false;
}

static bool fail(tensor_error *err, const char *what, int code) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    return tensor_fail(err, "MPI: %s: %s", what, text);
}

static void give_up(MPI_Request *request) {
    MPI_Cancel(request);
    MPI_Request_free(request);
}

static bool finish(mpi *m, MPI_Request *request, int other, tensor_error *err) {
    double begin = 0;
    for (int64_t looks = 0;; looks++) {
        int done = 0;
        const int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) return fail(err, "a message", code);
        if (done) return true;
        if (looks < SPINS) continue;
        const double now = MPI_Wtime();
        if (begin == 0) begin = now;
        if (now - begin > m->wait) {
            give_up(request);
            tensor_fail(err, "rank %d has not answered for %g seconds", other, m->wait);
            m->wait = 0;
            return false;
        }
        if (now - begin <
            YIELDING) /* a long message comes in parts, which would each wait for the end of a sleep */
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
}

static int part_of(size_t bytes) {
    return (int)(bytes < MAX_MESSAGE ? bytes : MAX_MESSAGE);
}

/* All bytes to and from other ranks, in messages that MPI can count; of none, no message. */
static bool exchange_bytes(void *context, int to, const void *out, size_t out_bytes, int from, void *in,
                           size_t in_bytes, tensor_error *err) {
    mpi *m = context;
    for (size_t sent = 0, got = 0; sent < out_bytes || got < in_bytes;) {
        MPI_Request sends = MPI_REQUEST_NULL, receives = MPI_REQUEST_NULL;
        const int out_part = part_of(out_bytes - sent), in_part = part_of(in_bytes - got);
        int code = MPI_SUCCESS;
        if (in_part > 0)
            code = MPI_Irecv((char *)in + got, in_part, MPI_BYTE, from, 0, MPI_COMM_WORLD, &receives);
        if (code != MPI_SUCCESS) return fail(err, "receiving", code);
        if (out_part > 0)
            code = MPI_Isend((const char *)out + sent, out_part, MPI_BYTE, to, 0, MPI_COMM_WORLD, &sends);
        if (code != MPI_SUCCESS) return fail(err, "sending", code);
        if (!finish(m, &receives, from, err)) {
            if (sends != MPI_REQUEST_NULL) give_up(&sends);
            return false;
        }
        if (!finish(m, &sends, to, err)) return false;
        sent += (size_t)out_part, got += (size_t)in_part;
    }
    return true;
}

static bool send_bytes(void *context, int to, const void *data, size_t bytes, tensor_error *err) {
    return exchange_bytes(context, to, data, bytes, 0, NULL, 0, err);
}

static bool receive_bytes(void *context, int from, void *data, size_t bytes, tensor_error *err) {
    return exchange_bytes(context, 0, NULL, 0, from, data, bytes, err);
}

static void end(void *context, bool failed) {
    const mpi own = *(mpi *)context;
    free(context);
    if (failed) MPI_Abort(MPI_COMM_WORLD, 1);
    if (own.begun) MPI_Finalize();
}

static bool read_wait(double *wait, tensor_error *err) {
    const char *text = getenv("SAMPO_WAIT");
    char *rest;
    *wait = WAIT_SECONDS;
    if (!text || !*text) return true;
    *wait = strtod(text, &rest);
    return (!*rest && *wait > 0) || tensor_fail(err, "SAMPO_WAIT is '%s'; it is a number of seconds", text);
}

/* MPI begins once a process, and takes its time, also for one that is alone: so it begins only where there may be
 * others. */
bool nn_world_open(nn_world *world, tensor_error *err) {
    int initialized = 0, finalized = 0, provided = 0;
    *world = (nn_world){.size = 1};
    MPI_Initialized(&initialized); /* these two may be called at any time */
    MPI_Finalized(&finalized);
    if (!initialized && !is_started_by_mpirun()) return true;
    if (finalized) return tensor_fail(err, "MPI: a process joins the others once");
    mpi *m = malloc(sizeof *m);
    if (!m) return tensor_fail(err, "out of memory");
    *m = (mpi){0};
    int code = MPI_SUCCESS;
    if (!initialized) {
        code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
        m->begun = code == MPI_SUCCESS;
    }
    if (code == MPI_SUCCESS) code = MPI_Query_thread(&provided);
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS) code = MPI_Comm_rank(MPI_COMM_WORLD, &world->rank);
    if (code == MPI_SUCCESS) code = MPI_Comm_size(MPI_COMM_WORLD, &world->size);
    if (code != MPI_SUCCESS) fail(err, "starting", code);
    const bool turns = provided >= MPI_THREAD_SERIALIZED; /* may be called by one thread after the other */
    if (code == MPI_SUCCESS && !turns) tensor_fail(err, "MPI: it does not provide MPI_THREAD_SERIALIZED");
    if (code != MPI_SUCCESS || !turns || !read_wait(&m->wait, err)) {
        if (m->begun) MPI_Finalize();
        free(m);
        *world = (nn_world){.size = 1};
        return false;
    }
    world->context = m;
    world->send = send_bytes;
    world->receive = receive_bytes;
    world->exchange = exchange_bytes;
    world->close = end;
    return true;
}

const char *nn_world_library(void) {
#if defined(OMPI_MAJOR_VERSION)
    return "Open MPI";
#elif defined(MPICH_VERSION)
    return "MPICH " MPICH_VERSION;
#else
    return "MPI";
#endif
}
