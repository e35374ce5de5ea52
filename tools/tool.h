// The command line: puts the stages together. Private to tools/.
//
// A command runs inside tool_run(): it owns an arena and a diag there, and an ir_fatal() in any
// stage ends it with exit code 1 after its temporary files are gone.
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "ir/ir.h"
#include "ir/memory.h"
#include "passes/passes.h"
#include "runtime/core/text.h"
#include "runtime/file/names.h"
#include "runtime/file/out.h"
#include "tools/options.h"

#include <sys/types.h>

enum { EXIT_FINE = 0, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_BUG = 3 };
#define TOOL_PRODUCER "hone " HONE_VERSION

typedef struct Tool {
    IrArena *arena;
    IrDiag diag;
    IrMemory memory; // what all arenas take, and --max-memory
    bool verbose;
    int n_models, cap_models;
    const FeModel **models; // all that were read
    RtOuts outs; // its lock is over the two below: the thread that ends the process reads them
    const char *temp_dir; // removed with what is in it at the end; NULL: none made yet
    pid_t child;          // the subprocess that runs, leader of its own group; 0: none
} Tool;

// From here on SIGINT, SIGTERM and SIGHUP kill the subprocess and remove the temporary files, then
// end the process as ever; a mapped file that was cut off ends it with a line and exit code 1.
void tool_catch_signals(Tool *t);
// Ends that: removes what is left, and a signal that comes now waits for the process to end.
void tool_end_temporaries(Tool *t);

typedef int (*ToolCommand)(Tool *t, int argc, char **argv);
int tool_run(ToolCommand command, int argc, char **argv);

int cmd_compile(Tool *t, int argc, char **argv);
int cmd_inspect(Tool *t, int argc, char **argv);
int cmd_verify(Tool *t, int argc, char **argv);
int cmd_opt(Tool *t, int argc, char **argv);
int cmd_finetune(Tool *t, int argc, char **argv);
int cmd_quantize(Tool *t, int argc, char **argv);

// A directory of this run for intermediate files (under TMPDIR). Fatal when it cannot be made.
const char *tool_temp_dir(Tool *t);

// ---- from model to graph (pipeline.c). What compile, inspect and verify share.
typedef struct ToolSize { // what --input-shape says of the inputs of one unit (sizes.c)
    int n;
    const FePin *pins;
    const char *text; // "x=Nx3x224x224"
} ToolSize;

typedef struct ToolModel {
    const char *path;
    ToolList input_shapes, outputs;
    int64_t max_memory; // 0: the default
    ToolList limit_texts;
    FeLimits limits; // set by tool_import_options()
    bool keep_training_mode;
    bool follow_links;  // of external data
    int max_detections; // as in FeOptions
    bool to_train;      // as FeOptions has it
    int opt_level;      // default 2
    const char *mcpu;   // default "native"
    int jobs;           // 0: as many as CPUs
    const char *print_after;
    bool time_passes;
    bool keep_values; // for verify
    bool no_winograd; // direct convolutions only
    const char *precision; // default f32; see tool_precision()
    bool bf16;             // set by it: products may be of bf16
    int n_bound;      // inputs that are constants, as in FeOptions
    const FeBound *bound;
    int n_targets; // set by tool_target(): the machines of --mcpu, the best first
    const CgTarget *targets;
    CgTarget target; // the one at hand, at first the first
    int n_sizes;     // set by tool_target(): the sizes of --input-shape, 1 where there is none
    const ToolSize *sizes;
    int size; // the one at hand
    const FeModel **onnx; // set by tool_import() to the file as it was read; may be NULL
} ToolModel;

// clang-format off
#define TOOL_MODEL_DEFAULT {.opt_level = 2, .mcpu = "native", .precision = "f32"}
// Rows for a command's option table: TOOL_MODEL_OPTIONS(model)
#define TOOL_MODEL_OPTIONS(m)                                                                      \
    {"--input-shape", NULL, "NAME=Nx3x224x224", TOOL_LIST, &(m).input_shapes,                      \
     "pins an input's dimensions; a letter keeps the batch open. hone compile takes it again for " \
     "another size, and ranges FROM:TO:STEP, as in x=Nx3x320:640:32x320:640:32: the program runs "  \
     "each of these sizes, at most 64, and refuses others; pictures to classify are resized to the nearest", \
     0, 0},                                                                                        \
    {"--keep-training-mode", NULL, NULL, TOOL_FLAG, &(m).keep_training_mode,                       \
     "BatchNormalization and Dropout of a training export stay literal", 0, 0},                    \
    {"--follow-links", NULL, NULL, TOOL_FLAG, &(m).follow_links,                                   \
     "external data may be links to anywhere, not only within the cache that holds the model", 0,  \
     0},                                                                                           \
    {"--max-detections", NULL, "N", TOOL_INT, &(m).max_detections,                                 \
     "room for what NonMaxSuppression chooses, and where nothing else bounds a size that data "     \
     "decides; a run that makes more fails. Default: as many as there can be",                      \
     1, 1 << 24},                                                                                  \
    {"--limit", NULL, "NAME=SIZE", TOOL_LIST, &(m).limit_texts,                                    \
     "raises a limit that guards against hostile files: memory, nodes, tensor, constants or arena, " \
     "such as tensor=16G",                                                                         \
     0, 0},                                                                                        \
    {"--max-memory", NULL, "SIZE", TOOL_SIZE, &(m).max_memory,                                     \
     "memory that this may take in all, such as 4G; default 192M and 16 bytes for each byte of the "  \
     "files that are read",                                                                        \
     0, 0},                                                                                        \
    {"-O0..-O3", NULL, NULL, TOOL_LEVEL, &(m).opt_level, "optimisation level, default -O2", 0, 0}, \
    {"--no-winograd", NULL, NULL, TOOL_FLAG, &(m).no_winograd,                                     \
     "direct convolutions only: slower, slightly more exact", 0, 0},                               \
    {"--mcpu", NULL, "CPU", TOOL_TEXT, &(m).mcpu,                                                  \
     "native (default), generic, x86-64-v3, x86-64-v4, or a name such as znver4 or, for aarch64, "   \
     "neoverse-n1; several with "                                                                 \
     "commas, or 'all' (x86-64-v2, -v3, -v4, icelake-server, znver4, sapphirerapids): the program holds " \
     "code for each and takes the best for its CPU at start",                                      \
     0, 0},                                                                                        \
    {"--jobs", "-j", "N", TOOL_INT, &(m).jobs, "threads that compile, default all CPUs", 1, 1024}, \
    {"--print-after", NULL, "PASS", TOOL_TEXT, &(m).print_after,                                   \
     "textual IR after a pass, or after 'all'", 0, 0},                                             \
    {"--time-passes", NULL, NULL, TOOL_FLAG, &(m).time_passes, "milliseconds per pass", 0, 0}
#define TOOL_PRECISION_OPTION(m)                                                                   \
    {"--precision", NULL, "P", TOOL_TEXT, &(m).precision,                                          \
     "f32 (default), or bf16: products and what is stored between them, sums stay f32", 0, 0}
#define TOOL_THREADS_OPTION(to)                                                                    \
    {"--threads", NULL, "N", TOOL_INT, &(to),                                                      \
     "the threads that it is expected to run on; any number works. Default all CPUs of this "      \
     "machine: give it, and --mcpu, for the same bytes on every machine",                          \
     1, 1024}
#define TOOL_STATIC_OPTION(to)                                                                     \
    {"--static", NULL, NULL, TOOL_FLAG, &(to),                                                     \
     "libc, libm and OpenMP inside as well: a program for any Linux, containers without files",    \
     0, 0}
#define TOOL_PARTS "serve, jpeg, png, webp" // see tool_without()
#define TOOL_WITHOUT_OPTION(to)                                                                    \
    {"--without", NULL, "PARTS", TOOL_TEXT, &(to),                                                 \
     "a smaller program, which lacks some of " TOOL_PARTS " (reading such images), with commas "   \
     "between, and says so where one is asked for",                                                \
     0, 0}
#define TOOL_OUTPUTS_OPTION(m)                                                                     \
    {"--output", NULL, "NAME", TOOL_LIST, &(m).outputs,                                            \
     "what comes out: an output, node or tensor of the model, as often as wanted; what none of "   \
     "them needs is left out. A single output of the model says which of them classifies, and all " \
     "stay; default the one with the classifier",                                                  \
     0, 0}
#define TOOL_VJP_OPTION(to)                                                                        \
    {"--emit-gradient", NULL, "INPUT", TOOL_LIST, &(to),                                           \
     "also the vector-Jacobian product by that input, as often as wanted: an input 'grad:NAME' "   \
     "for each output of floats, and an output 'grad:INPUT', what these give by it",               \
     0, 0}
#define TOOL_GRADIENT_OPTIONS(g)                                                                   \
    TOOL_VJP_OPTION((g).inputs),                                                                   \
    {"--emit-input-grad", NULL, NULL, TOOL_FLAG, &(g).of_loss,                                     \
     "also an input 'label' (i32[N]) and an output 'input_grad': the gradient of each image's "    \
     "cross-entropy by the input",                                                                 \
     0, 0}
// clang-format on

// How the model is read: all of FeOptions that the command line says. False after errors.
bool tool_import_options(Tool *t, ToolModel *m, FeOptions *out);
// NULL after errors were reported. `report` as in FeOptions, may be NULL.
IrProgram *tool_import(Tool *t, ToolModel *m, FeReport *report);
// Weights that are NaN, or infinite in a product, with their nodes: warnings, or errors. False
// after errors. (weights.c)
bool tool_check_weights(Tool *t, const IrGraph *g, bool refuse);
// What m->precision says: f32, bf16, or, where a command makes it, int8. False after reporting that
// it is none, which is a mistake in usage.
bool tool_precision(const char *command, ToolModel *m, bool int8);
// The files of all models that were imported are what they were then: before outputs get their
// names. False after an error.
bool tool_models_stay(Tool *t);
// The machines and the sizes that are asked for. First of all: it also sets the memory that there
// is. False after errors.
bool tool_target(Tool *t, ToolModel *m);
// The same for a command that takes one of each.
bool tool_one_target(Tool *t, ToolModel *m);
bool tool_sizes(Tool *t, ToolModel *m);   // sizes.c, of tool_target()
bool tool_targets(Tool *t, ToolModel *m); // targets.c, likewise
// A feature of the machine's that this CPU lacks; NULL: it has all.
const char *tool_missing(const CgTarget *target);
// m->target is one whose code runs on this machine: its own, or in its place this machine's. For
// networks that are run to see what they compute. False after errors.
bool tool_runs_here(Tool *t, ToolModel *m);
PassOptions tool_pass_options(const ToolModel *m);
IrGraph *tool_infer_graph(IrProgram *p);                // the graph named "infer"
const char *tool_model_name(Tool *t, const char *path); // "resnet50" of "a/resnet50.onnx"
const char *tool_model_hash(Tool *t,
                            const char *path); // XXH3 (128 bits) of the file, 32 hex digits

// ---- preprocessing and labels of an image input (image_options.c)
typedef struct ToolImage {
    ToolNumber resize, crop_pct, scale;
    ToolNumbers mean, std;
    const char *labels;
    const char *output; // that classifies; NULL: not given
    bool embeds; // nothing that was chosen to come out classifies
    const char *interpolation, *fit; // NULL: not given
    bool bgr, as_stored;
    // The shorter one of the user's pictures, 0: unknown; counts where nobody says how to crop.
    int side;
    const char *classifier; // set by tool_find_classifier(): the output that classifies, or NULL
    // Lines for the user, or NULL. told: which of several outputs classifies; note: how images are
    // read, where that is assumed or other programs' metadata say so, or that none are.
    const char *told, *note;
} ToolImage;
// clang-format off
#define TOOL_IMAGE_OPTIONS(m)                                                                      \
    {"--labels", NULL, "FILE", TOOL_TEXT, &(m).labels, "class names, one a line", 0, 0},           \
    {"--resize", NULL, "N", TOOL_WHOLE, &(m).resize,                                               \
     "shorter side before the centre crop, 0: none; default input size / 0.875 (256 for 224)", 0,  \
     65536},                                                                                       \
    {"--crop-pct", NULL, "P", TOOL_NUMBER, &(m).crop_pct, "the same as a fraction: input size / P", \
     0.01, 1},                                                                                     \
    {"--mean", NULL, "R,G,B", TOOL_LIST_OF_NUMBERS, &(m).mean,                                     \
     "default 0.485,0.456,0.406 (ImageNet)", -1e9, 1e9},                                           \
    {"--std", NULL, "R,G,B", TOOL_LIST_OF_NUMBERS, &(m).std,                                       \
     "default 0.229,0.224,0.225 (ImageNet)", TOOL_ABOVE_0, 1e9},                                   \
    {"--scale", NULL, "X", TOOL_NUMBER, &(m).scale, "pixels 0..255 times X first; default 1/255",  \
     TOOL_ABOVE_0, 1e9},                                                                           \
    {"--bgr", NULL, NULL, TOOL_FLAG, &(m).bgr, "the model takes blue, green, red", 0, 0},          \
    {"--fit", NULL, "NAME", TOOL_TEXT, &(m).fit,                                                   \
     "all of an image: letterbox (grey around it, as YOLO's networks are trained) or stretch", 0,  \
     0},                                                                                           \
    {"--interpolation", NULL, "NAME", TOOL_TEXT, &(m).interpolation,                               \
     "how images are resized: bilinear (default), bicubic, lanczos, box, hamming", 0, 0},          \
    {"--as-stored", NULL, NULL, TOOL_FLAG, &(m).as_stored,                                         \
     "images as they are stored, not turned upright as their EXIF orientation says", 0, 0}
#define TOOL_CLASSIFIER_OPTION(m)                                                                  \
    {"--output", NULL, "NAME", TOOL_TEXT, &(m).output,                                             \
     "which of the model's outputs classifies; default the one with the classifier", 0, 0}
// clang-format on

// Fills preprocess (left zero when the model has no image input) and labels from flags, then
// metadata_props (hone.resize, hone.mean, ..., hone.labels), then what other programs write there
// (mean, std, imgsz, names, character, ...), then ImageNet's values. False after errors.
bool tool_image_options(Tool *t, ToolImage *im, IrGraph *g, CgOptions *cg);
// Of a network that takes none: arrays of its input's sizes (scale 0). False after an error: those
// are not known, or there are too many axes.
bool tool_image_arrays(Tool *t, const IrGraph *g, HonePreprocess *x);
// The part of it that is about names (image_labels.c): the user's, or hone's own, of any number;
// then those of classes, or of what is found or told apart.
bool tool_image_told_labels(Tool *t, const ToolImage *im, const IrProgram *p, CgOptions *cg);
bool tool_image_labels(Tool *t, const ToolImage *im, const IrProgram *p, const IrValue *output,
                       CgOptions *cg);
bool tool_image_task_labels(Tool *t, const ToolImage *im, const IrProgram *p, const PassTask *task,
                            const IrValue *output, CgOptions *cg);

bool tool_image_is_told(const ToolImage *im); // by any option
// What cg says of images as metadata_props, at most TOOL_IMAGE_META; returns how many
// (image_meta.c).
enum { TOOL_IMAGE_META = 9 };
int tool_image_meta(IrArena *a, const CgOptions *cg, IrMeta *m);

// The float model in eight bits, by the images in a folder, for compile (quantize.c). NULL after
// errors.
const FeNewModel *tool_quantized(Tool *t, const ToolModel *m, const ToolImage *im,
                                 const char *calibrate);

// ---- which output classifies (classifier.c)
#define TOOL_OUTPUT_KEY "hone.output" // of metadata_props
// After the model `file` was imported with m->outputs: which of what comes out classifies.
void tool_take_outputs(const ToolModel *m, ToolImage *im, const IrGraph *g, const FeModel *file);
// im->output, else that of metadata, else the classifier's; -1: no output says of a class. Sets
// im->classifier and im->told. False after an error.
bool tool_find_classifier(Tool *t, ToolImage *im, IrGraph *g, int *output);
// Names and types, a few of them, without number `but` (-1: all).
const char *tool_list_outputs(Tool *t, const IrGraph *g, int but);

// The gradients that a program gives besides, by TOOL_GRADIENT_OPTIONS.
typedef struct ToolGradient {
    ToolList inputs; // what it is the vector-Jacobian product by
    bool of_loss;    // the gradient of the images' cross-entropy
} ToolGradient;
// False after reporting that both are asked for, which is a mistake in usage.
bool tool_check_gradient(const char *command, const ToolGradient *want);
// What compile makes of an imported graph before passes: preprocessing and labels into `o`, the
// graph of the gradients that are wanted. NULL after errors.
IrGraph *tool_prepare(Tool *t, ToolImage *im, const ToolGradient *want, const PassOptions *po,
                      IrGraph *g, CgOptions *o);
// The same and all passes.
IrGraph *tool_plan(Tool *t, ToolImage *im, const ToolGradient *want, const PassOptions *po,
                   IrGraph *g, CgOptions *o);

// ---- units (units.c): the planned graphs of a program, for every size and every machine
typedef struct ToolUnits {
    ToolImage *image;
    ToolGradient gradient;
    const char *name;        // of the model
    const FeNewModel *model; // read in place of the file; NULL: the file
    PassOptions passes;      // but for the machine
    CgOptions *options;      // gets what tool_prepare() says of the first size
    int n;
    CgUnit *v; // [n] size by size, of each the best machine first
} ToolUnits;
// Imports the model for each size. False after errors, which name the size.
bool tool_units(Tool *t, ToolModel *m, ToolUnits *u);
// "x86-64-v4, x86-64-v3": the machines of those that stayed.
const char *tool_units_text(IrArena *a, const ToolUnits *u, const int *same_as);

// A file of class names; rt_names_free() releases. False after an error.
bool tool_load_names(Tool *t, const char *path, RtNames *names);
const char *const *tool_keep_names(Tool *t, const RtNames *names); // a copy in the arena

// ---- linking (link.c)
typedef enum ToolEmit {
    EMIT_EXE,
    EMIT_STATIC_EXE, // libc, libm and OpenMP inside
    EMIT_SHARED,
    EMIT_STATIC,
    EMIT_OBJECT,
    EMIT_PYTHON,
    EMIT_LLVM_IR,
    EMIT_ASM,
    EMIT_IR,
    EMIT_COUNT
} ToolEmit;
// Links the compiler's files into the file `out`, for machines of target's instruction set. False
// after errors. without: of programs, as tool_without() gives it.
bool tool_link(Tool *t, ToolEmit emit, const CgTarget *target, const CgResult *cg,
               const char *symbol, const char *without, const char *out);
// "serve,png": arguments of the linker, each behind a comma, by which a program goes without these
// (without.c). NULL after a line about what is none of TOOL_PARTS.
const char *tool_without(IrArena *a, const char *list);
// The same for the objects of cg_compile_train(), with the training program's main().
bool tool_link_finetune(Tool *t, ToolEmit emit, const CgTarget *target, const CgResult *cg,
                        const char *out);
// What tool_link() needs for it is here. False after errors.
bool tool_can_link(Tool *t, const CgTarget *target);
// A library for this process to load, which wants its descriptor: no runtime, no functions of
// hone.h.
bool tool_link_kernels(Tool *t, const CgResult *cg, const char *out);
// The C header of a library or object, hone.h's text included: one file to ship. As
// tool_print_out().
bool tool_print_header(Tool *t, const ToolUnits *u, const char *symbol, RtOutFile *o);
// NAME.pc and NAMEConfig.cmake beside a library, for who builds with it (config_files.c).
typedef struct ToolConfigFiles {
    RtOutFile *pc, *cmake; // NULL: not asked for
} ToolConfigFiles;
bool tool_config_open(Tool *t, const char *symbol, const char *out, ToolConfigFiles *files);
bool tool_config_print(Tool *t, const char *symbol, ToolEmit emit, const char *out,
                       const ToolConfigFiles *files);
// Text file `name` next to the compiler's libraries ("hone.h"); fatal when it is missing.
char *tool_lib_text(Tool *t, const char *name);
// api.c: the functions of hone.h, whose text is given, for the model of that symbol: their
// declarations, and C code that defines them.
void tool_api_declare(FILE *f, const char *text, const char *symbol);
void tool_api_define(FILE *f, const char *text, const char *symbol);
const char *tool_symbol(IrArena *a, const char *name); // "hone_resnet50" from a path or name

// ---- inputs and outputs (files.c), by runtime/file/out.h. All return false or NULL after an
// error. An output, before minutes of work; it lives as long as the arena, and what is not
// committed at the end goes.
RtOutFile *tool_out(Tool *t, const char *path, RtOutKind kind);
// The same for what is told to be optional: path NULL gives *o NULL.
bool tool_out_if(Tool *t, const char *path, RtOutFile **o);
// False when an input, which may be NULL, is one of the outputs; `depth` as rt_outs_allow().
bool tool_reads(Tool *t, const char *path, int depth);
// Where a program that we start writes this output, and, when it did, what it wrote into its place.
const char *tool_out_file(Tool *t, RtOutFile *o);
bool tool_out_take(Tool *t, RtOutFile *o, const char *file);
bool tool_copy_out(Tool *t, RtOutFile *o, const char *file); // the bytes of a file of ours
// Text of ours: print(f, ctx) writes it.
typedef void (*ToolPrint)(FILE *f, void *ctx);
bool tool_print_out(Tool *t, RtOutFile *o, ToolPrint print, void *ctx);
// All of them are whole, then all get their names. NULL ones are left out. The bytes of the first,
// -1 after an error.
int64_t tool_out_commit(Tool *t, RtOutFile *const *o, int n);
// A text file for a program that we start.
bool tool_write_temp(Tool *t, const char *path, ToolPrint print, void *ctx);

// ---- progress (progress.c): a bar on a terminal, nothing elsewhere unless verbose
typedef struct ToolProgress {
    const char *what;
    bool on;
    int shown;
} ToolProgress;
void tool_progress_start(ToolProgress *p, const char *what);
void tool_progress(void *progress, int done, int total); // CgOptions.progress
void tool_progress_end(ToolProgress *p);

// ---- pictures (dot.c)
// Graphviz text of the graph: fused nodes show what they are made of.
void tool_print_dot(FILE *f, void *graph); // IrGraph *

// Runs a program (argv NULL-ended, found on PATH) to its end. False after reporting what it
// printed.
bool tool_spawn(Tool *t, const char *const *argv);

#endif
