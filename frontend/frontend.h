// The frontend: the bytes of an ONNX file nobody vouches for become a verified program with one
// graph, "infer". The public header of frontend/.
//
// Opsets 1 to 28 of the domain ai.onnx, version 1 of com.microsoft. Floating-point types other than
// f32 (float16, bfloat16, double) are computed in f32: weights are converted once, graph inputs and
// outputs of those types are cast at the graph's edge, and a Cast to float16 or bfloat16 rounds.
// Floats of 8 and 4 bits come and go as f32, integers of 4 and 2 as i8 and u8; a Cast to one rounds
// or cuts. Errors are one line each through the arena's IrDiag, with the file's path at the start;
// every unsupported node is reported, not the first alone.
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "ir/ir.h"
#include "ir/train.h"

// A shape given by the user for a graph input.
typedef struct FePin {
    const char *input; // NULL: the only input
    int rank;
    int64_t dim[IR_MAX_RANK]; // FE_SYMBOLIC: the batch size N (first dimension only)
} FePin;
enum { FE_SYMBOLIC = -1 };

// A graph input whose content is known: it becomes a constant and no longer is an input. Its data
// must live as long as the program. Ignored when its element type is not the declared one (float16,
// bfloat16 and double count as f32).
typedef struct FeBound {
    const char *input;
    IrTensor tensor;
} FeBound;

// What a model may ask for before it is refused (limits.c).
typedef enum FeLimit {
    FE_LIMIT_MEMORY, // bytes that unpacking the file may take; default 32 MB and 12 for each of its
    FE_LIMIT_NODES,  // nodes of the graph
    FE_LIMIT_TENSOR, // bytes of one tensor for N = 1
    FE_LIMIT_CONSTANTS, // bytes of all constants; default 128 MB and 16 for each of the model
    FE_LIMIT_ARENA,     // bytes of working memory for N = 1
    FE_LIMIT_COUNT
} FeLimit;
typedef struct FeLimits {
    int64_t v[FE_LIMIT_COUNT]; // 0: the default
} FeLimits;
int64_t fe_limit(const FeLimits *given, FeLimit which); // 0: the default, which depends on the file
const char *fe_limit_name(FeLimit which);
// "16G": digits, then one of K, M, G, T for powers of 1024. False: it is no such size above 0.
bool fe_parse_size(const char *text, int64_t *out);
// Reads "tensor=16G" into *out. NULL when fine, else why not (arena string).
const char *fe_parse_limit(IrArena *a, const char *text, FeLimits *out);

typedef struct FeUnsupported {
    const char *node, *op, *domain, *reason;
    int opset;
} FeUnsupported;

// What `hone inspect` shows of a model that cannot be compiled.
typedef struct FeReport {
    int n, cap;
    FeUnsupported *v; // arena
} FeReport;

typedef struct FeOptions {
    int n_pins;
    const FePin *pins;
    int n_bound;
    const FeBound *bound;
    bool keep_training_mode; // BatchNormalization and Dropout exported in training form stay so
    // For fine-tuning: every Dropout stays, in inference form too; what is computed from floats
    // that the file stores stays computed, since they may train; inputs of other floats are f32 and
    // rounded inside, outputs are f32.
    bool to_train;
    bool follow_links;       // external data may be links to anywhere
    // What comes out: names of the model's outputs, of nodes (their first result) and of tensors,
    // in this order; all else is not imported. None, or one output of the model: all of its
    // outputs. Not for fine-tuning.
    int n_outputs;
    const char *const *outputs;
    FeLimits limits;
    int64_t max_detections; // most entries of a size that data decides; 0: as many as there can be
    // When set, unsupported nodes are listed here instead of being errors, and the program returned
    // holds what does not depend on them.
    FeReport *report;
    // When set, gets the model as it was read; to train, with plain nodes alone.
    const struct FeModel **model;
} FeOptions;

// Reads the model at `path`. The program lives in the arena; its constants may point into files
// that stay mapped until the arena is freed. `opt` may be NULL. Sets the diag's file to `path`.
// NULL after errors that were reported through the arena's diag.
IrProgram *fe_import(IrArena *a, const char *path, const FeOptions *opt);

// Parses "NAME=Nx3x224x224" (or the shape alone, for a model with one input): a letter is the
// symbolic batch. Where dimensions are ranges FROM:TO:STEP it is all shapes of a table, the last
// dimension fastest, at most `most` of them. NULL when fine, else why not (arena string).
const char *fe_parse_pins(IrArena *a, const char *text, int most, int *n, FePin **pins);
const char *fe_pin_text(IrArena *a, const FePin *pin); // "x=Nx3x224x224"

// Reads a TensorProto file such as test_data_set_0/input_0.pb; *name (may be NULL) gets the
// tensor's name, "" when it has none. The data belongs to the arena. False after an error that was
// reported.
bool fe_load_tensor(IrArena *a, const char *path, IrTensor *out, const char **name);

// ---- the model as it was read
typedef struct FeModel FeModel; // lives as long as the arena it was read in

// The coarsest numbers that it stores or computes with, f32 where none are coarser. In order.
typedef enum FePrecision {
    FE_PRECISION_F32,
    FE_PRECISION_INT16, // quantized; of files INT8 is said
    FE_PRECISION_F16,
    FE_PRECISION_INT8, // quantized
    FE_PRECISION_BF16,
    FE_PRECISION_COUNT
} FePrecision;
FePrecision fe_model_precision(const FeModel *m);

// ---- the model with another classifier (retarget.c)
typedef struct FeNewModel FeNewModel;

typedef struct FeRetarget {
    const IrTrainProgram *train; // its classifier, parameters and swaps
    bool keep_training_mode;     // as in FeOptions: the nodes stay as they are
    int n_meta;
    const IrMeta *meta; // set in metadata_props; those with a NULL value are removed
} FeRetarget;

// The name of the tensor that the file's node reads there; NULL: no such node or input.
const char *fe_model_input(const FeModel *m, const char *node, const char *op, int input);
bool fe_model_has_node(const FeModel *m, const char *name);
bool fe_model_has_output(const FeModel *m, const char *name); // as the file lists them
// Calls `each` for every tensor of floats that the file stores: initializers, Constant nodes.
typedef void FeFloatsFn(void *ctx, const char *name, int64_t count);
void fe_model_floats(const FeModel *m, FeFloatsFn *each, void *ctx);
bool fe_model_has_floats(const FeModel *m, const char *glob); // of a name that matches
// The path of its i-th file of external data that was read, NULL behind the last.
const char *fe_model_file(const FeModel *m, int i);
// The path of one of its files, the model's own or external data, that was written or replaced
// since it was read: what came of it may be of both. NULL: none was.
const char *fe_model_changed(const FeModel *m);
// A changed copy, with every initializer inside, no functions or branches, and out of training
// mode. What the loss reads as classes that exclude each other ends in a softmax, else in a
// sigmoid, where the file ends in either. Other outputs that are made of the old classes go, with a
// warning. NULL after errors.
FeNewModel *fe_retarget(IrArena *a, const FeModel *from, const FeRetarget *what);
int64_t fe_new_model_bytes(const FeNewModel *m);
void fe_new_model_write(FeNewModel *m, void *to);
// Where the numbers of a parameter begin in the file, a multiple of 4, and their type there; -1:
// there is no such initializer of floats.
int64_t fe_new_model_find(const FeNewModel *m, const char *initializer, IrDtype *stored);
// The model cut off behind a node, with a linear classifier of two classes there, in front of a
// softmax where the output ended in one (head_at.c). NULL after errors.
typedef struct FeHeadAt {
    const char *node, *output; // of the file; the output that it had
    int64_t features;          // that the node makes of an image, or the channels of a picture
    bool pools;                // [N,C,H,W] with more than one pixel: their mean
} FeHeadAt;
FeNewModel *fe_model_head_at(IrArena *a, const FeModel *from, const FeHeadAt *at);
// The new model read again, as fe_import() would read the file. Its numbers are those of `m`.
IrProgram *fe_new_model_import(IrArena *a, const FeNewModel *m, const FeOptions *opt);

#endif
