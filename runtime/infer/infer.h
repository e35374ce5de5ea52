// The inference program: what its subcommands share. Private header.
#ifndef RUNTIME_INFER_INFER_H
#define RUNTIME_INFER_INFER_H

#include "runtime/core/cli.h"
#include "runtime/core/rt.h"
#include "runtime/core/text.h"
#include "runtime/file/out.h"
#include "runtime/image/image.h"

// 1: the user's input is wrong, 2: the command line is
enum { RT_EXIT_FINE, RT_EXIT_INPUT, RT_EXIT_USAGE };
enum { RT_MAX_BATCH = 1 << 20, RT_MAX_LEFT_OUT = RT_MAX_DECODERS + 1 };

typedef struct RtInfer {
    const HoneModelDesc *first; // the chain of units
    const HoneModelDesc *desc;  // the one that runs where nobody asks for a size
    int n_sizes;                // of the inputs,
    const HoneModelDesc *size[HONE_MAX_UNITS]; // with the unit that runs here for each
    const char *program; // argv[0], cleaned, for usage texts
    uint64_t start_ns;   // rt_now() on entry of main
    double startup_ms;   // CPU time that the process had used by then: exec and the dynamic linker
    RtOuts *outs;        // empty
    int n_left_out;      // parts that the program was compiled without
    const char *left_out[RT_MAX_LEFT_OUT];
} RtInfer;

// Subcommands, a file each: argv after the subcommand's name. They return the exit code.
int rt_infer_classify(const RtInfer *in, int argc, char **argv);
int rt_infer_features(const RtInfer *in, int argc, char **argv);
int rt_infer_detect(const RtInfer *in, int argc, char **argv);
int rt_infer_segment(const RtInfer *in, int argc, char **argv);
int rt_infer_run(const RtInfer *in, int argc, char **argv);
int rt_infer_bench(const RtInfer *in, int argc, char **argv);
int rt_infer_info(const RtInfer *in, int argc, char **argv);
int rt_infer_serve(const RtInfer *in, int argc, char **argv);
// What the linker puts in place of it where a program goes without (hone compile --without), and
// whether `run` is that. See rt_image_no_decoder.
int rt_infer_no_serve(const RtInfer *in, int argc, char **argv);
bool rt_infer_is_no_serve(int (*run)(const RtInfer *, int, char **));

// Prints "PROGRAM: text" to stderr and where help is; returns RT_EXIT_USAGE.
int rt_infer_usage(const RtInfer *in, const char *subcommand, const char *text);
// Prints the text to stderr; returns RT_EXIT_INPUT.
int rt_infer_complain(const char *text);
// A line of the parts that the program was compiled without, if any.
void rt_infer_left_out(const RtInfer *in, FILE *f, const char *head);
// hone_create() with a complaint on failure, for a size of in->size: hone_use_size() takes another.
HoneModel *rt_infer_create(const RtInfer *in, int size, int threads);
// "NAME=FILE", or "FILE" if there is but one tensor: file[n], of tensors t[n], `what` being "input"
// or "output". False with err set.
bool rt_infer_assign(const HoneTensorDesc *t, int n, const char *what, const RtCliList *given,
                     const char **file, RtErr *err);
// Takes the .npz file out of the list of outputs' files: *path, NULL where there is none. It holds
// all of them. False with err set.
bool rt_infer_archive(const HoneModelDesc *d, RtCliList *outputs, const char **path, RtErr *err);
// The size that the text asks for, "320x240" as a picture's width and height or
// "[NAME=]Nx3x240x320" as a shape of an input; -1 with err set: there is none.
int rt_infer_find_size(const RtInfer *in, const char *text, RtErr *err);
// The size whose shape is nearest to a picture's: by the ratio of its sides, then by its area.
int rt_infer_nearest_size(const RtInfer *in, int width, int height);
#define RT_SIZE_OPTION(to)                                                                         \
    {                                                                                              \
        "--size", RT_CLI_TEXT, to, 0, 0, "WxH|SHAPE",                                              \
            "which of the sizes that it was compiled for; the subcommand info lists them"          \
    }
#define RT_FIT_OPTION(to)                                                                          \
    {                                                                                              \
        "--fit", RT_CLI_CHOICE, to, 0, 0, RT_FIT_NAMES,                                            \
            "how all of a picture goes into the input: with grey around it, or stretched"          \
    }
// Sum of a node figure over the graph at a batch size.
double rt_infer_total_flops(const HoneModelDesc *d, int64_t batch);
double rt_infer_dim_value(HoneDim d, int64_t batch);

#define RT_THREADS_OPTION(to)                                                                      \
    RT_CLI_THREADS(to, "threads (default: auto, OMP_NUM_THREADS, CPU affinity and cgroup quota)")

#endif
