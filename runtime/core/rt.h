// What the runtime's own files share: errors, element types, files, threads, and the
// parts of the model behind hone.h that the programs (main_*.c) may use. Private header.
#ifndef RUNTIME_CORE_RT_H
#define RUNTIME_CORE_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/core/hone.h"
#include "runtime/core/abi.h"

enum { RT_ALIGN = 64 }; // bytes; every tensor buffer of ours

// ---- errors: text for the user, one line, file first ("cat.jpg: not a JPEG, PNG or WebP file")

typedef struct RtErr {
    char text[1024];
} RtErr;

// Formats the text, cleans it (rt_clean) and returns false: `return rt_fail(err, ...)`.
bool rt_fail(RtErr *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Of a part that the program goes without: what asks for it, what it is, what --without calls it.
#define RT_LEFT_OUT "%s: %s was left out when this program was compiled (--without %s)"

// ---- element types and shapes

typedef struct RtDtype {
    const char *name; // "f32"
    const char *npy;  // "<f4"
    int bytes;
    double (*load)(const void *p);   // floats of any width; NULL: it is a type of integers
    void (*store)(void *p, float x); // the nearest number, halves to even; large ones are infinite
} RtDtype;

enum { RT_N_DTYPES = HONE_BF16 + 1 };
const RtDtype *rt_dtype(int dtype); // NULL: no such type

// c + n * N; false when that overflows or is negative.
bool rt_dim_at(HoneDim d, int64_t N, int64_t *size);
// Number of elements at batch N; false when that overflows.
bool rt_tensor_count(const HoneTensorDesc *t, int64_t N, int64_t *count);
bool rt_tensor_bytes(const HoneTensorDesc *t, int64_t N, int64_t *bytes);
// "3", "N", "2N+1". Returns text.
const char *rt_dim_text(HoneDim d, char *text, size_t size);
// "f32[N,3,224,224]" of a descriptor, "f32[1,3,224,224]" of actual dims. Returns text.
const char *rt_tensor_text(const HoneTensorDesc *t, char *text, size_t size);
const char *rt_shape_text(int dtype, int rank, const int64_t *dim, char *text, size_t size);

// What hone.h tells of t[i], of n.
HoneTensorInfo rt_tensor_info(const HoneTensorDesc *t, int i, int n);

// ---- memory and files

void *rt_alloc_aligned(size_t bytes); // RT_ALIGN; NULL: no memory; free() releases
// At least *bytes of zeroed memory, *bytes rounded up; NULL: no memory; munmap() releases. From a
// huge page's size on it starts on one and asks for more of them: kernels go over their scratch in
// strides that leave a small page with each step.
char *rt_alloc_pages(size_t *bytes);
double rt_peak_rss_mb(void); // peak resident memory of the process in 10^6 bytes
// Opens a regular file for reading. Returns the descriptor, or -1 with err set.
int rt_file_open(const char *path, int64_t *size, RtErr *err);
// Reads exactly `bytes` bytes at the descriptor's position.
bool rt_file_read(int fd, const char *path, void *to, size_t bytes, RtErr *err);
// A whole regular file of at most `max` bytes, with a 0 byte behind it. free() releases.
uint8_t *rt_file_load(const char *path, size_t max, size_t *size, RtErr *err);

// ---- threads and memory

uint64_t rt_now(void); // ns, monotonic

// CPUs that this process may use: its affinity mask, or OpenMP's places, cut by the cgroup's CPU
// quota; at least 1.
int rt_cpus_available(void);
// The quota alone in CPUs, rounded up; 0: none. `root` stands before /proc and /sys (tests).
int rt_cgroup_cpus(const char *root);
// Bytes that this process may still take, of the machine's memory and its cgroup's; of the latter
// alone, INT64_MAX: no limit.
int64_t rt_memory_available(void);
int64_t rt_cgroup_memory(const char *root);
enum { RT_MAX_THREADS = 1024 }; // that anybody may ask for
// What `asked` threads (0: default) mean here. The default is rt_cpus_available(), or what OpenMP
// would use (OMP_NUM_THREADS, omp_set_num_threads(), OMP_THREAD_LIMIT) if that is less.
int rt_threads(int asked);

// How far the threads of a run are (progress.c). The steps between two meetings are a phase, from
// 0; each of the threads has a share of it, which anyone may do.
typedef struct RtProgress {
    _Alignas(64) _Atomic uint32_t done;  // shares, of all phases
    _Alignas(64) _Atomic uint32_t phase; // how many are over
    _Atomic uint32_t sleepers;
    int32_t spins;         // before the waiting thread sleeps
    struct RtShare *share; // [threads]
} RtProgress;
bool rt_progress_make(RtProgress *p, int threads, RtErr *err); // for at most so many
void rt_progress_free(RtProgress *p);
void rt_progress_start(RtProgress *p, int threads); // a run
// True: the caller does this share of the phase now, and then finishes it. The phase before is
// over.
bool rt_progress_begin(RtProgress *p, uint32_t phase, int32_t share);
void rt_progress_finish(RtProgress *p, uint32_t phase, int32_t threads);
// Until the phase is over; briefly: no longer than threads differ that all have their CPU. False:
// it is not.
bool rt_progress_wait_briefly(RtProgress *p, uint32_t phase);
void rt_progress_wait(RtProgress *p, uint32_t phase);

// ---- one run

typedef struct HoneCall {      // the same for all threads
    int64_t N;                 // batch size
    char *arena;               // arena_bytes at N, 64-byte aligned; then scratch_bytes per thread
    char *scratch;             // thread t's at scratch + t * scratch_bytes
    const char *weights;       // weights_bytes, 64-byte aligned
    const void *const *inputs; // in the order of the descriptor
    void *const *outputs;
    RtProgress *progress;
    // NULL, or called by thread 0 before step 0, 1, ... n_nodes - 1 and, with n_nodes, after the
    // last. Other threads may still be at earlier steps.
    void (*observe)(const struct HoneCall *call, int32_t node);
    char *prepared; // prepared_bytes, 64-byte aligned: written by init, read by run
} HoneCall;

// steps.c: what thread `thread` of `threads` does of desc's `steps`, run or init.
void rt_steps(const HoneModelDesc *desc, const HoneSteps *steps, const HoneCall *call,
              int32_t thread, int32_t threads);

// This process (process.c): a number above 0, other in a forked child than in what it was forked
// from.
int32_t rt_process(void);

// One OpenMP parallel region in which every thread walks all steps (region.c).
typedef struct RtRegion {
    const HoneModelDesc *desc;
    const HoneSteps *steps;
    const HoneCall *call;   // its progress is made for `threads`
    int threads;            // at most
    bool host_decides;      // nor more than OpenMP would use now
    _Atomic uint32_t *gate; // orders memory between the caller and the threads
} RtRegion;
void rt_region_run(const RtRegion *r);
// How many of `want` threads a region of the calling thread can have: fewer where the system starts
// no more, 1 in a forked child whose parent had OpenMP's threads, and inside a region of the
// host's.
int rt_region_threads(int want);
// First thing in a program's main(): OpenMP's threads that have nothing to do sleep, rather than
// spin for milliseconds.
void rt_region_patience(char **argv);
// OpenMP's library stays loaded from now on, whatever is unloaded.
bool rt_region_keep(RtErr *err);

// ---- prepared constants (prepared.c): those of a machine's units stand once in a process

typedef struct RtPrepared {
    const HoneStep *made_by; // the steps of init, which units of one machine have in common
    char *space;             // prepared_bytes, read-only
    size_t bytes;
    int users;
    struct RtPrepared *next;
} RtPrepared;
// What the steps of desc->init make, by make(ctx, space of zeros) where nobody has them yet, and
// released by each who got them. NULL after an error.
RtPrepared *rt_prepared_get(const HoneModelDesc *desc, void (*make)(void *ctx, char *space),
                            void *ctx, RtErr *err);
void rt_prepared_release(RtPrepared *p);

// ---- model

// Whole pages of constant bytes that may go from memory and come back from the program's file: none
// where they stand elsewhere.
typedef struct RtPages {
    char *first;
    size_t bytes;
} RtPages;
RtPages rt_file_pages(const void *data, int64_t bytes);
void rt_pages_want_huge(const RtPages *p); // before they are read
void rt_pages_let_go(const RtPages *p);

// The first unit of desc's chain whose needs this CPU meets and whose inputs are as opt (may be
// NULL) asks; NULL after an error.
const HoneModelDesc *rt_model_unit(const HoneModelDesc *desc, const HoneOptions *opt, RtErr *err);
// The unit that m runs.
const HoneModelDesc *rt_model_desc(const HoneModel *m);
int rt_model_threads(const HoneModel *m);
// hone_run() with somebody who looks on, see HoneCall.observe; NULL: nobody.
typedef void (*RtObserve)(void *ctx, const HoneCall *call, int32_t node);
int rt_model_observe(HoneModel *m, int64_t batch, const void *const *inputs, void *const *outputs,
                     RtObserve observe, void *ctx);
// A call of m that is not hone_run(): body() while no other thread may be in one; what hone.h says
// of calls holds. 0; -1 where it returned false with err set.
int rt_model_call(HoneModel *m, bool (*body)(void *ctx, HoneModel *m, RtErr *err), void *ctx);
// hone_run() within such a call.
bool rt_model_run_inside(HoneModel *m, int64_t batch, const void *const *inputs,
                         void *const *outputs, RtErr *err);
// hone_run() that also takes time stamps: n_nodes + 1, in ns; `profile` may be NULL.
// [n_counts] of the last run.
const int64_t *rt_model_counts(const HoneModel *m);
int rt_model_run(HoneModel *m, int64_t batch, const void *const *inputs, void *const *outputs,
                 uint64_t *profile);
// Sizes that data decides, of output i of the last run: dim[], as the descriptor has them, become
// what the run made, and its data y moves together (pack.c).
void rt_model_pack(const HoneModel *m, int i, int64_t *dim, void *y);

// ---- workers (workers.c): threads with an instance of a model each

typedef struct RtWorker RtWorker;
typedef struct RtWorkers {
    void (*body)(void *ctx, HoneModel *m); // what each thread does until it ends; set by the owner
    void *ctx;
    int n, started; // instances, threads: fewer where the system starts no more
    RtWorker *worker;
} RtWorkers;
// n of them (1 to RT_MAX_THREADS), at least one thread; opt->threads 0: the CPUs divided among
// them.
bool rt_workers_start(RtWorkers *w, const HoneModelDesc *desc, const HoneOptions *opt, int n,
                      RtErr *err);
// Once the threads end, or, in a forked child, where there are none.
void rt_workers_join(RtWorkers *w);
void rt_workers_forget(RtWorkers *w);

#endif
