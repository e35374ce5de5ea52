// Private to frontend/: what importers of operators work with.
//
// A tensor of the ONNX graph (FeValue) is known in one of three ways: as a value of the IR graph,
// as a constant tensor, or as a small integer tensor whose entries are affine in the batch size N
// (a shape computation); a sequence is a list of such values, known at import. An importer reads
// its node's inputs in the way it needs, builds IR nodes, and sets its outputs in any of the three
// ways.
//
// Errors: anything that fails marks the node as refused, once, and returns NULL or 0. Building
// with a refused node does nothing, so importers need not check after each step.
#ifndef FRONTEND_IMPORT_H
#define FRONTEND_IMPORT_H

#include "frontend/onnx/load.h"
#include "frontend/frontend.h"

enum { FE_MAX_SMALL = 4096 }; // entries of a tensor that may take part in shape computations

// An integer tensor with entries affine in N, at least one of them not static.
typedef struct FeDims {
    IrDtype dtype;
    int rank; // 0 or 1
    int n;    // entries
    IrDim *v;
} FeDims;

typedef struct FeValue FeValue;

typedef struct FeSequence { // of tensors, in any of their forms
    int n;
    FeValue **v;
} FeSequence;

struct FeValue {
    const char *name;
    const Onnx__TensorProto *init; // an initializer, read on first use
    const IrTensor *tensor;        // constant content
    const FeDims *dims;            // content affine in N
    IrValue *v;                    // as an operand of the IR graph
    IrValue *count; // i64[]: how many positions along axis `bounded` of v are meant; NULL: all
    int bounded;
    const FeSequence *sequence; // it is no tensor but this
    FeValue *alias;             // the same tensor under another name (Identity)
    int32_t elem;               // ONNX element type of floats and of small integers; 0: unknown
    int producer;               // index of the node of its scope that makes it, -1: none
    int uses;                   // by nodes and graph outputs
    bool stored;   // floats that the file stores, or computed from such; of initializers and
                   // constants when the model is to train
    bool poisoned; // a node that was refused would have made it
    bool absent;   // an input of a function that the caller leaves out
};

typedef struct FeBoundAttr { // what ref_attr_name `name` means in a function's body; NULL: absent
    const char *name;
    const Onnx__AttributeProto *a;
} FeBoundAttr;

// A graph whose nodes are being imported: the model's, a function's body, a branch of an If.
typedef struct FeScope {
    struct FeScope *outer;  // whose names are known here too; NULL: no other names are
    struct FeScope *caller; // where the node stands that it was opened for; NULL: the model's graph
    const Onnx__GraphProto *pb;
    const Onnx__FunctionProto *function; // whose body it is; NULL: none
    FeValue *values;                     // sorted by name
    int n_values;
    int opset;                    // 0: none is imported
    const Onnx__NodeProto *node;  // the node of the caller in whose place it is
    struct FeScope *inner, *next; // those opened for nodes of this one; the caller's next one
    const int *order;             // of its nodes, producers first
    IrValue *guard;               // bool[]: whether a branch of an If is taken; NULL: this is none
    bool repeated;                // the body of a loop: no constant of it trains
    int depth;
    const char *prefix; // of the names of what is made here
    int n_attrs;
    FeBoundAttr *attrs;
} FeScope;

typedef struct FeFunction FeFunction;

// Inputs that the file or --input-shape leaves open, or opens, in their first dimension, where the
// graph is made for one batch size all the same (see graph/batch.c).
typedef struct FeOpening {
    int64_t from; // the size that these inputs have in the graph; 0: what is symbolic stays so
    int64_t to;   // what --input-shape makes of a fixed size: FE_SYMBOLIC or a number; 0: nothing
    int symbolic; // inputs whose batch the file leaves open
    bool *inputs; // which of the IR graph's
    // The first Reshape to constants that begin with 1 and take a symbolic batch into their -1: of
    // a model that was exported for one image, whatever it declares. NULL: there is none.
    const char *joins;
} FeOpening;

typedef struct FeContext {
    IrArena *arena;
    IrDiag *diag;
    const FeOptions *opt;
    IrProgram *prog;
    IrGraph *graph;
    const Onnx__ModelProto *model;
    const Onnx__GraphProto *pb;
    FeExternal *external; // arena: one for the file, however often its graph is imported
    int64_t model_bytes; // of the file
    double const_work;   // done so far on constants; see fe_spend()
    FeScope *scope;
    int64_t scope_cost; // of all scopes that were opened, in nodes
    size_t n_functions;
    FeFunction *functions; // sorted
    bool doubles;          // floats keep the types that the file gives them; see doubles.c
    FeOpening opening;
    bool counts; // some value has a size that data decides
    int n_checks, cap_checks;
    IrValue **checks;                  // become outputs of the graph
    FeReport *refused;                 // nodes that cannot be imported
    int bn_switched, dropout_switched; // for the warnings at the end
} FeContext;

typedef struct FeNode FeNode;
typedef void FeImporter(FeNode *n);
// Computes the outputs as FeDims; false when it cannot (the importer has its turn then).
typedef bool FeDimsRule(FeNode *n);

typedef struct FeOpInfo { // a row of onnx_ops.def
    const char *name;
    FeImporter *import;
    IrOp op;          // the IR op of a plain mapping
    FeDimsRule *dims; // NULL: none
    int since[12];    // versions, ascending, 0-terminated
} FeOpInfo;

struct FeNode {
    FeContext *fe;
    const Onnx__NodeProto *pb;
    const FeOpInfo *info;
    int since; // the operator's version that the model's opset means
    IrBuilder b;
    int n_in, n_out;
    FeValue **in, **out; // NULL where absent
    bool refused;
    bool nested; // it was replaced by the nodes of a scope
    // What goes on when these are imported, with what the scope made for the outputs: it may enter
    // the next scope, or set the outputs. NULL: what was made are the outputs.
    void (*then)(FeNode *n, FeValue **made);
    void *state; // of `then`
};

// ---------------------------------------------------------------- reporting and names (node.c)

// Marks the node as not importable and reports it with the reason. Only the first reason counts.
void fe_refuse(FeNode *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
IrWhere fe_where(const FeNode *n); // as the user's file has it
const char *fe_name_in(FeContext *fe, const FeScope *s, const char *name); // with where s stands
const char *fe_full_name(FeContext *fe, const char *name); // with where its scope stands
const char *fe_scope_prefix(FeNode *n); // of the names in a scope that stands in the node's place

// ---------------------------------------------------------------- inputs (values.c)

bool fe_has(const FeNode *n, int i);           // input i is present
IrValue *fe_operand(FeNode *n, int i);         // as an operand; refuses when absent
IrValue *fe_operand_or_null(FeNode *n, int i); // NULL when absent
// Constant content, or NULL when it is not known; refuses broken data only.
const IrTensor *fe_tensor(FeNode *n, int i);
bool fe_type(FeNode *n, int i, IrType *out); // of a value in any form; refuses when absent
// The ONNX element type of a float value, or of integers of less than 8 bits: what the file
// computes it in. 0: not known, or as its dtype says.
int32_t fe_elem_type(const FeValue *v);
// Entries of an integer tensor of rank 0 or 1, affine in N; refuses when they are not known.
bool fe_dims(FeNode *n, int i, FeDims *out);
// The same, static; refuses when they are not constants. n == 0 and v == NULL when absent.
IrInts fe_ints(FeNode *n, int i);
double fe_scalar_in(FeNode *n, int i, double absent); // a constant of one element

// ---------------------------------------------------------------- outputs (values.c)

bool fe_used(const FeNode *n, int i); // output i exists and somebody reads it
void fe_out(FeNode *n, int i, IrValue *v);
void fe_out_elem(FeNode *n, int i, int32_t elem); // what the file computes it in, after fe_out()
void fe_out_tensor(FeNode *n, int i, const IrTensor *t);
void fe_out_dims(FeNode *n, int i, const FeDims *d); // becomes a tensor when all entries are static
void fe_out_alias(FeNode *n, int i, int input);
// A constant of n elements from ints; rank 0 (n == 1) or 1.
const IrTensor *fe_tensor_of_ints(IrArena *a, IrDtype dtype, int rank, int n, const int64_t *v);
// Replaces the IR nodes after `before` (NULL: all) by constants where all inputs are constants and
// small. What is computed from stored floats is known as a constant and stays as nodes.
void fe_fold(FeNode *n, IrNode *before);

// ---------------------------------------------------------------- sizes that data decides

// In bounded.c; see ir/README.md. What an importer builds from a value with a count is right up to
// it; what mixes positions along the axis fills, or checks, first.

typedef struct FeCount {
    IrValue *v; // i64[]; NULL: the size is known
    int axis;
} FeCount;
FeCount fe_count(const FeNode *n, int i);           // of input i
bool fe_at_run_time(FeNode *n, int i);              // its content is known at run time only
void fe_out_count(FeNode *n, int i, FeCount count); // after fe_out()
IrValue *fe_i64(FeNode *n, int64_t x);              // i64[]
// The bound of a size that is counted so: what it can be at most, or what --max-detections says,
// which is checked.
IrDim fe_bound(FeNode *n, IrValue *count);
// bool: the positions along an axis of `bound` that count, an axis of rank `rank`.
IrValue *fe_meant(FeNode *n, IrValue *count, IrDim bound, int axis, int rank);
// x with that number behind the count.
IrValue *fe_filled(FeNode *n, IrValue *x, FeCount count, double fill);
// The program fails where x, i64[], is above `most`, or a and b differ.
void fe_check_most(FeNode *n, IrValue *x, int64_t most);
void fe_check_equal(FeNode *n, IrValue *a, IrValue *b);

// What is known of element i of v, integers, at compile time: it lies in [lo, hi], and is `times`
// (not 0) times element `at` of value `from`, and `plus`. i FE_ANY: of all of them, without `from`.
enum { FE_ANY = -1 };
typedef struct FeEntry {
    int64_t lo, hi;
    const IrValue *from; // NULL: that is not known
    int64_t at, times, plus;
} FeEntry;
FeEntry fe_entry(FeNode *n, IrValue *v, int64_t i); // entry.c
// Where sizes are computed: results of which all is known become constants.
void fe_settle(FeNode *n);
IrValue *fe_element(FeNode *n, IrValue *v, int64_t i); // as i64[]
bool fe_same_entry(FeNode *n, IrValue *a, IrValue *b); // they are the same number, i64[] both
// Imports the node where an input has a count, or one that its importer takes as a constant is
// known at run time only; false where none has (import/bounded.c).
bool fe_import_bounded(FeNode *n);

// ---------------------------------------------------------------- limits (limits.c)

// What the node asks for against the limits: before it is imported, and of the nodes behind
// `before`.
bool fe_check_arity(FeNode *n);
void fe_check_sizes(FeNode *n, IrNode *before);
// NULL: within the limit; else the end of a sentence on that type, and on a constant of it.
const char *fe_check_type(const FeContext *fe, const IrType *t);
const char *fe_check_fill(const FeContext *fe, const IrType *t);
// Counts memory that importing takes besides IR constants as such. False after a refusal.
bool fe_charge(FeNode *n, int64_t bytes);
// Counts work on constants, which nodes may share. False: it is too much for the size of the file.
bool fe_spend(FeNode *n, double steps);
int64_t fe_const_limit(const FeContext *fe); // IrProgram.const_limit with what was read so far

// ---------------------------------------------------------------- attributes (attrs.c)

const Onnx__AttributeProto *fe_attr(FeNode *n, const char *name); // NULL when absent
int64_t fe_attr_int(FeNode *n, const char *name, int64_t absent);
double fe_attr_float(FeNode *n, const char *name, double absent);
const char *fe_attr_str(FeNode *n, const char *name, const char *absent);
IrInts fe_attr_ints(FeNode *n, const char *name); // v NULL when absent
// Cast's target: a number, a name such as "FLOAT" in version 1. Refuses what has no dtype. *elem:
// the ONNX element type.
bool fe_cast_target(FeNode *n, IrDtype *out, int32_t *elem);
// The ints of attribute `name` or, where that is absent, input i; refuses when neither is known.
bool fe_dims_of(FeNode *n, const char *name, int i, FeDims *out);
// The ints of attribute `name` or, where that is absent, of input i.
IrInts fe_ints_of(FeNode *n, const char *name, int i);
int fe_axis(FeNode *n, int64_t axis, int rank); // into [0, rank), refuses others
// Axes normalized, ascending, without duplicates (which are refused).
IrInts fe_axes(FeNode *n, IrInts axes, int rank);

// ---------------------------------------------------------------- building (build.c)

#define FE_IN(...)                                                                                 \
    (int)(sizeof((IrValue *[]){__VA_ARGS__}) / sizeof(IrValue *)), (IrValue *[]) {                 \
        __VA_ARGS__                                                                                \
    }
#define FE_WITH(...)                                                                               \
    (int)(sizeof((IrAttr[]){__VA_ARGS__}) / sizeof(IrAttr)), (IrAttr[]) {                          \
        __VA_ARGS__                                                                                \
    }

// One node with one result; NULL when the node is refused (a trailing NULL operand is absent).
IrValue *fe_build(FeNode *n, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                  const IrAttr *attrs);
IrValue *fe_un(FeNode *n, IrOp op, IrValue *x);
IrValue *fe_bin(FeNode *n, IrOp op, IrValue *x, IrValue *y);
IrValue *fe_const(FeNode *n, IrValue *like, double x);            // scalar of like's dtype
IrValue *fe_op_const(FeNode *n, IrOp op, IrValue *x, double c);   // x op c
IrValue *fe_cast(FeNode *n, IrValue *x, IrDtype to);              // x itself when it has that type
// Entries [from, from + count) of an axis; x itself when that is all of it.
IrValue *fe_part(FeNode *n, IrValue *x, int axis, int64_t from, int64_t count);
IrValue *fe_reshape(FeNode *n, IrValue *x, const IrShape *shape); // x itself when it has that shape
IrValue *fe_transpose(FeNode *n, IrValue *x, int rank, const int64_t *perm);
IrValue *fe_reduce(FeNode *n, IrOp op, IrValue *x, IrInts axes, bool keepdims);
// v, which has one dimension per axis, in rank `rank`: 1 on the other axes.
IrValue *fe_reshape_axes(FeNode *n, IrValue *v, int rank, IrInts axes);
IrValue *fe_tensor_const(FeNode *n, const IrTensor *t); // a constant under the node's name
// first, first + 1 ... as i64 along `axis` of rank `rank`, whose other axes have size 1.
IrValue *fe_iota(FeNode *n, int64_t first, IrDim count, int axis, int rank);
IrAttr fe_ints_attr(FeNode *n, IrAttrKey key, int count, const int64_t *v);
IrInts fe_range(FeNode *n, int from, int to); // from, from+1 ... to-1
// Operators that are parts of others: MatMul-13; with the node's attributes Conv-11, MaxPool-12 and
// AveragePool-19; with its inputs too Gemm-13; Softmax-13, or with `flattens` Softmax-11
// (import/gemm.c conv.c pool.c norm.c).
IrValue *fe_matmul(FeNode *n, IrValue *a, IrValue *b);
IrValue *fe_conv(FeNode *n, IrValue *x, IrValue *w, IrValue *b);
IrValue *fe_gemm(FeNode *n);
// Constant padding, begins then ends, none below 0, by a scalar that is computed (import/pad.c).
IrValue *fe_pad_by(FeNode *n, IrValue *x, const int64_t *pads, IrValue *value);
IrValue *fe_max_pool(FeNode *n, IrValue *x);
IrValue *fe_average_pool(FeNode *n, IrValue *x);
IrValue *fe_softmax(FeNode *n, IrValue *x, int64_t axis, bool flattens);

// ---------------------------------------------------------------- windows (window.c)

// One spatial axis of a window; every entry but size is in its range, kernel, stride and dilation
// at least 1 and below 2^31.
typedef struct FeSpan {
    int64_t size, kernel, stride, dilation, begin, end; // size: of the input
} FeSpan;
typedef enum FeAutoPad {
    FE_PAD_NOTSET,
    FE_PAD_VALID,
    FE_PAD_SAME_UPPER,
    FE_PAD_SAME_LOWER
} FeAutoPad;
// Reads kernel_shape (or takes `kernel`, one entry per spatial axis), strides, dilations, pads and
// auto_pad for input shape x into span[x->rank - 2]. False when refused.
bool fe_spans(FeNode *n, const IrShape *x, const int64_t *kernel, FeSpan *span);
// Its parts: all but the padding; the mode; explicit padding; `total` cells of it shared.
bool fe_read_spans(FeNode *n, const IrShape *x, const int64_t *kernel, FeSpan *span);
FeAutoPad fe_auto_pad(FeNode *n);
bool fe_read_pads(FeNode *n, int rank, FeSpan *span);
void fe_share_padding(FeSpan *s, int64_t total, bool lower);
int64_t fe_span_extent(const FeSpan *s);                        // of the dilated kernel
int64_t fe_span_windows(FeNode *n, const FeSpan *s, bool ceil); // refuses where none fits
// stride, dilation, pad and kernel of a window with these spans (NULL: size 1); 4.
int fe_span_attrs(FeNode *n, const FeSpan *h, const FeSpan *w, IrAttr *attrs);
// fe_conv() in one or two dimensions, by these spans and the node's group.
IrValue *fe_conv_windows(FeNode *n, IrValue *x, IrValue *w, IrValue *b, const FeSpan *span);

// Spatial part of Conv and pools, as 2-D: a 1-D window is one of height 1.
typedef struct FeWindow {
    int rank; // spatial rank of the ONNX node: 1 or 2
    int64_t kernel[2], stride[2], dilation[2], pad[4];
} FeWindow;
// As fe_spans().
bool fe_window(FeNode *n, const IrShape *x, const int64_t *kernel, FeWindow *w);
IrValue *fe_to_2d(FeNode *n, IrValue *x);             // [N,C,L] -> [N,C,1,L]; 4-D stays
IrValue *fe_from_2d(FeNode *n, IrValue *y, int rank); // and back when rank is 1
IrValue *fe_channels_first(FeNode *n, IrValue *x);    // [N,...,C] -> [N,C,...]
IrValue *fe_channels_last(FeNode *n, IrValue *x);     // and back
IrDim fe_dim_product(FeNode *n, const IrShape *s, int from, int to); // refuses overflow

// ---------------------------------------------------------------- shape values (shape_values.c)

// The result shape of Reshape for the target `dims` (0, -1, allowzero); refuses what does not fit.
bool fe_reshape_target(FeNode *n, const IrShape *x, const FeDims *target, bool allow_zero,
                       IrShape *out);
bool fe_dim_sum(IrDim a, IrDim b, IrDim *out);
bool fe_dim_quotient(IrDim a, IrDim b, IrDim *out); // exact division only

#endif
