// hone: the C interface of compiled models: the one place where it stands. A model's own header
// (OUT.h) repeats this one and has the functions under the model's name; tools/api.c makes them
// from this text, and a binding for another language reads it just so: types above HONE_TYPES_ONLY,
// one declaration each below. Only types are guarded: after a model's header, which has no more of
// this one, it still declares its functions.
//
// In somebody else's process:
// - Several models, several instances of one model and several threads may live in one process,
//   also several libraries of one name. Instances of a model share its weights and what is prepared
//   of them; nothing else is beyond an instance.
// - One instance serves one call at a time. A call while another thread is in one is refused, with
//   an error that says so; give each thread its own, or all of them a pool.
// - After fork() the child may use what it inherited and create more. Where the thread that forked
//   had run on several threads, they have one there: OpenMP's threads do not survive a fork. A pool
//   is the parent's: the child is told so, and creates its own.
// - Floating-point mode, signal handlers and masks, thread affinity and OpenMP's settings are the
//   caller's: nothing here changes them, and results do not depend on them. Inside a parallel
//   region of the caller's a run has one thread, unless nesting is on.
// - NULL for an instance or a pool is no crash: it has nothing, its calls fail, to destroy it does
//   nothing.
// - A library may be unloaded once its instances are destroyed. OpenMP's stays.
#ifndef RUNTIME_CORE_HONE_H
#define RUNTIME_CORE_HONE_H

#include <stddef.h>
#include <stdint.h>

enum { HONE_API = 1 }; // of this header: symbols of shared libraries have the version HONE_1

typedef struct HoneModelDesc HoneModelDesc; // see core/abi.h for its fields
typedef struct HoneModel HoneModel;
typedef struct HonePool HonePool;

typedef struct HoneTensorInfo {
    const char *name;
    const char *dtype; // "f32", "i64", ...
    int rank;
    int64_t dim[8]; // -1: the batch size
} HoneTensorInfo;

typedef struct HoneClass { // of an image
    int64_t index;
    double score;      // its probability, where the model says one
    const char *label; // the model's; NULL: it has none
} HoneClass;

typedef struct HoneOptions {
    // 1 to 1024; 0: what affinity mask and cgroup quota allow, or fewer if OpenMP is told so
    // (OMP_NUM_THREADS, omp_set_num_threads(), which also counts later). Fewer run where the system
    // starts no more.
    int threads;
    // Shapes of inputs that it will be run with, where the model was compiled for several; others
    // are any. Of each counts the name (not NULL), the rank and dim[], where -1 is any.
    int n_inputs;
    const HoneTensorInfo *inputs;
} HoneOptions;
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef HONE_TYPES_ONLY // a model's own header has these functions under its name
// The interface between a compiled model and this runtime; both must have the same.
unsigned hone_abi(void);
const char *hone_version(void); // of hone, "0.1.0"

// Text of the last error of this call goes to err[err_size] (may be NULL, 0). NULL on failure:
// wrong ABI version, a CPU without the instructions that the model was compiled for, other shapes
// than it was compiled for, options that are none, no memory.
HoneModel *hone_create(const HoneModelDesc *desc, const HoneOptions *opt, char *err,
                       size_t err_size);
// While another thread is in a call, the instance goes when that returns.
void hone_destroy(HoneModel *m);

// A model may have been compiled for several sizes of its inputs. One is in use: at first that
// whose shapes hone_create() was given, or the first. What these functions tell of inputs, outputs
// and workspace is of the one in use, and hone_run() takes it.
int hone_n_sizes(const HoneModel *m);
int hone_size(const HoneModel *m); // which is in use, from 0
HoneTensorInfo hone_size_input_info(const HoneModel *m, int size, int i);
// The first size whose inputs are as asked, as in HoneOptions; -1: there is none.
int hone_find_size(const HoneModel *m, int n_inputs, const HoneTensorInfo *inputs);
// Uses another one from now on. A call, as hone_run() is: 0, or -1 with the reason in
// hone_error(m), which names the sizes where there is no such.
int hone_use_size(HoneModel *m, int size);

int hone_n_inputs(const HoneModel *m);
int hone_n_outputs(const HoneModel *m);
HoneTensorInfo hone_input_info(const HoneModel *m, int i);
HoneTensorInfo hone_output_info(const HoneModel *m, int i);
// As hone_output_info() has it, where the data does not decide; where it does, that is the most,
// and this what the last run made: so many entries are meant, what lies behind them is zero. -1:
// the batch size, or there is no such output or axis.
int64_t hone_output_dim(const HoneModel *m, int i, int axis);
int64_t hone_output_bytes(const HoneModel *m, int i, int64_t batch);
int64_t hone_input_bytes(const HoneModel *m, int i, int64_t batch);

// Bytes of workspace that hone_run() needs at a batch size.
size_t hone_workspace_bytes(const HoneModel *m, int64_t batch);
// Gives the model a workspace of the caller's, 64-byte aligned, instead of its own; it must outlive
// the calls. NULL: the model's own again.
int hone_set_workspace(HoneModel *m, void *workspace, size_t bytes);

// Runs the model on dense row-major buffers. batch >= 0; 0 does nothing. Returns 0, or -1 with the
// reason in hone_error(m).
int hone_run(HoneModel *m, int64_t batch, const void *const *inputs, void *const *outputs);
// Of the calling thread's last call of m that returned 0 or -1; "" where that was 0. Never NULL.
const char *hone_error(const HoneModel *m);

// ---- images: what the model was compiled to do with them, labels and preprocessing, is inside

int hone_n_labels(const HoneModel *m);
// The name of a class; NULL: it has none.
const char *hone_label(const HoneModel *m, int64_t i);
// Bytes of one image in input 0; 0: the model takes no images.
int64_t hone_image_bytes(const HoneModel *m);
// A JPEG, PNG or WebP file, its bytes in memory, or pixels rgb[height][width][3], as one image of
// input 0: resized, cropped and normalised as the model wants it, turned upright. input:
// hone_image_bytes(m). A call, as hone_run() is: 0, or -1 with the reason in hone_error(m).
int hone_preprocess(HoneModel *m, const char *file, void *input);
int hone_preprocess_bytes(HoneModel *m, const void *data, size_t bytes, void *input);
int hone_preprocess_pixels(HoneModel *m, const unsigned char *rgb, int width, int height,
                           void *input);
// The output whose rows are scores of classes, for hone_rank(); -1: there is none.
int hone_classifier(const HoneModel *m);
// The `top` likeliest classes of an image's row of that output, the likeliest first. How many there
// are, at most `top`; -1: the model does not classify, the row has what is no number, or a
// pointer is NULL.
int hone_rank(const HoneModel *m, const void *row, int top, HoneClass *classes);
// A file's likeliest classes: hone_preprocess(), hone_run() and hone_rank() in one call. How many,
// or -1 with the reason in hone_error(m). Labels live as long as the library.
int hone_classify_file(HoneModel *m, const char *file, int top, HoneClass *classes);

// A pool of `workers` (1 to 1024) threads with an instance each, that any thread may call, also
// several at once. opt->threads are those of one worker; 0: the CPUs divided among them. Errors as
// of hone_create().
HonePool *hone_pool_create(const HoneModelDesc *desc, const HoneOptions *opt, int workers,
                           char *err, size_t err_size);
// hone_run() on one of the workers, in the order of the calls; returns when it is done. 0, or -1
// with the reason in err[err_size] (may be NULL, 0). In a forked child it is refused.
int hone_pool_run(HonePool *p, int64_t batch, const void *const *inputs, void *const *outputs,
                  char *err, size_t err_size);
// The same, and where it was done, dims[i * 8 + axis] is what hone_output_dim() says of output i.
int hone_pool_run_dims(HonePool *p, int64_t batch, const void *const *inputs, void *const *outputs,
                       int64_t *dims, char *err, size_t err_size);
// After the calls that other threads are in; none may follow.
void hone_pool_destroy(HonePool *p);

#endif

#ifdef __cplusplus
}
#endif
