// MPI, as little of it as does: who am I, and messages between two ranks that are asked about until
// they are there. Waiting in MPI itself would be deaf to signals; here a rank hears that mpirun
// ends the run, because another one died, and has the time to say so and to save.
//
// The library is loaded by name when Open MPI's mpirun started the process, so that a program is
// one file that runs without it. What is called is declared here as Open MPI's binary interface has
// it (libmpi.so.40: handles are pointers, constants are symbols), and another MPI is refused.
#define _GNU_SOURCE
#include "runtime/ranks/mpi.h"

#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SERIALIZED = 2, // MPI_THREAD_SERIALIZED
    TAG = 1,
    MOST_BYTES = 1 << 28, // a message
    SPINS = 200,          // before a waiting thread sleeps
    SLEEP_NS = 20 * 1000, // at first; longer the longer it takes, as others need the CPU
    MOST_NS = 500 * 1000,
    CHECK_EVERY = 64,    // sleeps
    GRACE_NS = 300000000, // after a signal to end
    LINGER_NS = 250000000 // see rt_ranks_linger()
};
static const char library[] = "libmpi.so.40";

typedef struct Mpi {
    int (*init)(int *argc, char ***argv, int wanted, int *provided);
    int (*set_errhandler)(void *comm, void *handler);
    int (*rank)(void *comm, int *rank);
    int (*size)(void *comm, int *size);
    int (*send)(const void *data, int n, void *type, int other, int tag, void *comm,
                void **request);
    int (*receive)(void *data, int n, void *type, int other, int tag, void *comm, void **request);
    int (*test)(int n, void **request, int *done, void *statuses);
    int (*finalize)(void);
    int (*version)(char *text, int *length);
    void *world, *byte, *errors_return;
} Mpi;

struct RtRanks {
    Mpi mpi;
    int me, n;
    _Atomic uint64_t ended; // when it was heard that the run ends, ns; 0: it goes on
};

static bool load(Mpi *m, RtErr *err) {
    const struct {
        const char *name;
        void *at;
    } symbols[] = {{"MPI_Init_thread", &m->init},
                   {"MPI_Comm_set_errhandler", &m->set_errhandler},
                   {"MPI_Comm_rank", &m->rank},
                   {"MPI_Comm_size", &m->size},
                   {"MPI_Isend", &m->send},
                   {"MPI_Irecv", &m->receive},
                   {"MPI_Testall", &m->test},
                   {"MPI_Finalize", &m->finalize},
                   {"MPI_Get_library_version", &m->version},
                   {"ompi_mpi_comm_world", &m->world},
                   {"ompi_mpi_byte", &m->byte},
                   {"ompi_mpi_errors_return", &m->errors_return}};
    // Its own plug-ins look for its symbols among all.
    void *handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    if (!handle)
        return rt_fail(err, "started by mpirun, but Open MPI cannot be loaded: %s", dlerror());
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(handle, symbols[i].name);
        if (!found)
            return rt_fail(err, "%s: is not Open MPI: it lacks %s", library, symbols[i].name);
        memcpy(symbols[i].at, &found, sizeof found);
    }
    return true;
}

static bool start(RtRanks *r, RtErr *err) {
    Mpi *m = &r->mpi;
    int provided = 0;
    if (m->init(NULL, NULL, SERIALIZED, &provided) != 0 || provided < SERIALIZED ||
        m->set_errhandler(m->world, m->errors_return) != 0 || m->rank(m->world, &r->me) != 0 ||
        m->size(m->world, &r->n) != 0)
        return rt_fail(err, "Open MPI cannot be initialized");
    if ((r->n & (r->n - 1)) == 0)
        return true;
    m->finalize();
    rt_fail(err, "%d processes were started: training is for 1, 2, 4, 8 ... of them", r->n);
    if (r->me > 0)
        err->text[0] = 0; // rank 0 tells it
    return false;
}

static bool is_of_many(void) {
    const char *size = getenv("OMPI_COMM_WORLD_SIZE");
    return size && atoi(size) > 1;
}

void rt_ranks_linger(void) {
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (is_of_many())
        nanosleep(&(struct timespec){.tv_nsec = rank && atoi(rank) > 0 ? 3 * LINGER_NS : LINGER_NS},
                  NULL);
}

bool rt_ranks_open(RtRanks **ranks, RtErr *err) {
    *ranks = NULL;
    if (!is_of_many())
        return true;
    RtRanks *r = calloc(1, sizeof *r);
    if (!r)
        return rt_fail(err, "no memory");
    if (load(&r->mpi, err) && start(r, err)) {
        *ranks = r;
        return true;
    }
    free(r);
    return false;
}

void rt_ranks_close(RtRanks *r, bool well) {
    if (r && well)
        r->mpi.finalize();
    free(r);
}

int rt_ranks_n(const RtRanks *r) {
    return r ? r->n : 1;
}

int rt_ranks_me(const RtRanks *r) {
    return r ? r->me : 0;
}

void rt_ranks_expect_end(RtRanks *r) {
    uint64_t never = 0;
    if (r)
        atomic_compare_exchange_strong(&r->ended, &never, rt_now());
}

// A signal to end is pending, or was taken: the others have a moment to answer.
static bool is_ended(RtRanks *r) {
    sigset_t set;
    sigpending(&set);
    if (sigismember(&set, SIGTERM) || sigismember(&set, SIGINT) || sigismember(&set, SIGHUP))
        rt_ranks_expect_end(r);
    uint64_t ended = atomic_load(&r->ended);
    return ended && rt_now() - ended > GRACE_NS;
}

static bool wait_all(RtRanks *r, void **request, int n, RtErr *err) {
    for (int64_t tries = 0;; tries++) {
        int done = 0;
        if (r->mpi.test(n, request, &done, NULL) != 0)
            return rt_fail(err, "another rank is gone");
        if (done)
            return true;
        if (tries < SPINS) {
            sched_yield();
            continue;
        }
        int64_t ns = SLEEP_NS * (1 + (tries - SPINS) / 16);
        nanosleep(&(struct timespec){.tv_nsec = ns < MOST_NS ? ns : MOST_NS}, NULL);
        if (tries % CHECK_EVERY == 0 && is_ended(r))
            return rt_fail(err,
                           "the run is being ended: another rank died, or mpirun was asked to end");
    }
}

static size_t piece(size_t bytes, size_t at) {
    size_t left = at < bytes ? bytes - at : 0;
    return left < MOST_BYTES ? left : MOST_BYTES;
}

bool rt_mpi_swap(RtRanks *r, int other, const void *send, size_t send_bytes, void *receive,
                 size_t receive_bytes, RtErr *err) {
    const Mpi *m = &r->mpi;
    for (size_t at = 0; at < send_bytes || at < receive_bytes; at += MOST_BYTES) {
        void *request[2];
        int n = 0, code = 0;
        size_t out = piece(send_bytes, at), in = piece(receive_bytes, at);
        if (in)
            code |= m->receive((char *)receive + at, (int)in, m->byte, other, TAG, m->world,
                               &request[n++]);
        if (out)
            code |= m->send((const char *)send + at, (int)out, m->byte, other, TAG, m->world,
                            &request[n++]);
        if (code)
            return rt_fail(err, "rank %d cannot be reached", other);
        if (!wait_all(r, request, n, err))
            return false;
    }
    return true;
}
