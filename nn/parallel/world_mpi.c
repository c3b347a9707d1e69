/* Processes that mpirun has started. Messages do not block for ever: a rank that does not answer is a failure. */
#include "nn/params/params.h"

#include <mpi.h>
#include <stdlib.h>
#include <time.h>

enum {
    WAIT_SECONDS = 300,
    MAX_MESSAGE = 1 << 30, /* MPI counts in int */
    SPINS = 20000          /* looks before it sleeps: as a rule a message takes microseconds */
};

typedef struct mpi {
    double wait; /* seconds; 0 once a rank has not answered: the others are not waited for either */
    bool begun;  /* MPI_Init was called here */
} mpi;

static bool fail(tensor_error *err, const char *what, int code) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    return tensor_fail(err, "MPI: %s: %s", what, text);
}

static bool finish(mpi *m, MPI_Request *request, int other, tensor_error *err) {
    double begin = 0;
    for (int64_t looks = 0;; looks++) {
        int done = 0;
        const int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) return fail(err, "a message", code);
        if (done) return true;
        if (looks < SPINS) continue;
        if (begin == 0) begin = MPI_Wtime();
        if (MPI_Wtime() - begin > m->wait) {
            MPI_Cancel(request);
            MPI_Request_free(request);
            tensor_fail(err, "rank %d has not answered for %g seconds", other, m->wait);
            m->wait = 0;
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
}

/* All bytes to or from another rank, in messages that MPI can count; of none, no message. */
static bool transfer(mpi *m, bool sends, int other, char *at, size_t bytes, tensor_error *err) {
    while (bytes > 0) {
        MPI_Request request;
        const int part = (int)(bytes < MAX_MESSAGE ? bytes : MAX_MESSAGE);
        const int code = sends ? MPI_Isend(at, part, MPI_BYTE, other, 0, MPI_COMM_WORLD, &request)
                               : MPI_Irecv(at, part, MPI_BYTE, other, 0, MPI_COMM_WORLD, &request);
        if (code != MPI_SUCCESS) return fail(err, sends ? "sending" : "receiving", code);
        if (!finish(m, &request, other, err)) return false;
        at += part, bytes -= (size_t)part;
    }
    return true;
}

static bool send_bytes(void *context, int to, const void *data, size_t bytes, tensor_error *err) {
    return transfer(context, true, to, (char *)data, bytes, err);
}

static bool receive_bytes(void *context, int from, void *data, size_t bytes, tensor_error *err) {
    return transfer(context, false, from, data, bytes, err);
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

bool nn_world_open(nn_world *world, tensor_error *err) {
    int initialized = 0, provided;
    *world = (nn_world){.size = 1};
    mpi *m = malloc(sizeof *m);
    if (!m) return tensor_fail(err, "out of memory");
    *m = (mpi){0};
    int code = MPI_Initialized(&initialized);
    if (code == MPI_SUCCESS && !initialized) {
        code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
        m->begun = code == MPI_SUCCESS;
    }
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS) code = MPI_Comm_rank(MPI_COMM_WORLD, &world->rank);
    if (code == MPI_SUCCESS) code = MPI_Comm_size(MPI_COMM_WORLD, &world->size);
    if (code != MPI_SUCCESS) fail(err, "starting", code);
    if (code != MPI_SUCCESS || !read_wait(&m->wait, err)) {
        if (m->begun) MPI_Finalize();
        free(m);
        *world = (nn_world){.size = 1};
        return false;
    }
    world->context = m;
    world->send = send_bytes;
    world->receive = receive_bytes;
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
