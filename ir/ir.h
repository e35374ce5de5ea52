// What a program is: types, constants, values, nodes, graphs. The public header of ir/.
//
// A program owns constants and graphs; a graph is a list of nodes in execution order, SSA over
// tensors. Shapes are computed when a node is built and no node exists without them. Dimensions are
// affine in the batch size N. All memory belongs to the program's arena.
#ifndef IR_IR_H
#define IR_IR_H

#include "ir/arena.h"
#include "ir/diag.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// ---------------------------------------------------------------- types

typedef enum IrDtype {
#define IR_DTYPE(E, text, ctype, bytes) IR_##E,
#include "ir/dtypes.def"
#undef IR_DTYPE
    IR_DTYPE_COUNT
} IrDtype;

enum { IR_MAX_RANK = 8 };

typedef struct IrDim {
    int64_t c, n; // the dimension is c + n * N
} IrDim;

typedef struct IrShape {
    int rank;
    IrDim dim[IR_MAX_RANK];
} IrShape;

// block 0: plain, row-major. block B: nChwBc; axis 1 is split in ceil(C/B) blocks and the B
// channels of a block stand innermost. Lanes past C in the last block hold unspecified
// finite-or-not values that no kernel lets into a result.
typedef struct IrType {
    IrDtype dtype;
    IrShape shape;
    int block;
} IrType;

const char *ir_dtype_name(IrDtype t);
int ir_dtype_bytes(IrDtype t);
bool ir_dtype_parse(const char *text, IrDtype *out);
bool ir_dtype_is_float(IrDtype t);
double ir_dtype_lowest(IrDtype t); // of an integer type
double ir_dtype_highest(IrDtype t);

static inline IrDim ir_dim(int64_t c) {
    return (IrDim){c, 0};
}
static inline bool ir_dim_eq(IrDim a, IrDim b) {
    return a.c == b.c && a.n == b.n;
}
static inline bool ir_dim_is(IrDim a, int64_t c) {
    return a.n == 0 && a.c == c;
}
int64_t ir_dim_at(IrDim d, int64_t N);         // c + n * N
bool ir_dim_mul(IrDim a, IrDim b, IrDim *out); // false: not affine, or overflow
IrShape ir_shape_of(int rank, const int64_t *dims);
bool ir_shape_eq(const IrShape *a, const IrShape *b);
bool ir_shape_is_static(const IrShape *s);
bool ir_shape_elems(const IrShape *s, IrDim *out); // product of all dims; false as ir_dim_mul
// Numpy broadcasting of two shapes; false when they do not fit.
bool ir_shape_broadcast(const IrShape *a, const IrShape *b, IrShape *out);
bool ir_type_eq(const IrType *a, const IrType *b);
// Stored bytes as an affine function of N, block padding included, N >= 1. A dim c + n*N with
// both parts counts as (c + n)*N, an upper bound.
bool ir_type_bytes(const IrType *t, IrDim *out);
char *ir_dim_print(IrDim d, char *buf, size_t size); // "64", "N", "2N+3"; returns buf
// "f32[N,64,56,56]{nChw16c}" into buf (at least 160 bytes); returns buf.
char *ir_type_print(const IrType *t, char *buf, size_t size);
// NULL, or why no value can be of this type: ranks, negative dimensions, a size that overflows or
// is not affine in N, a block that does not fit, no element among dimensions that a loop would take
// long for. The text is in arena a.
const char *ir_check_type(IrArena *a, const IrType *t);

// ---------------------------------------------------------------- ops and attributes

typedef enum IrOp {
#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower) IR_OP_##E,
#include "ir/ops.def"
#undef IR_OP
    IR_OP_COUNT
} IrOp;

typedef enum IrAttrKey {
#define IR_ATTR(E, text, kind) IR_ATTR_##E,
#include "ir/attrs.def"
#undef IR_ATTR
    IR_ATTR_COUNT
} IrAttrKey;

typedef enum IrAttrKind {
    IR_KIND_INT,
    IR_KIND_FLOAT,
    IR_KIND_INTS,
    IR_KIND_DIMS,
    IR_KIND_STR,
    IR_KIND_BODY,
    IR_KIND_ALGO,
    IR_KIND_TILE
} IrAttrKind;

enum { IR_ANY = 1 << 20 };
#define IR_BIT(key) (UINT64_C(1) << IR_ATTR_##key)

enum {              // flags of ops.def
    IR_FLAG_E = 1,  // elementwise
    IR_FLAG_C = 2,  // commutative
    IR_FLAG_R = 4,  // random: never merged by cse
    IR_FLAG_B = 8,  // result is bool
    IR_FLAG_W = 16, // window op
    IR_FLAG_Y3 = 32, // three results; two with Y2, one with neither
    IR_FLAG_Y2 = 64,
};

// An elementwise step. Arguments: k >= 0 is operand k of the node; IR_STEP(i) the result of
// step i < this one; IR_ACC the node's own result before its epilogue, or in a prologue operand 0.
typedef struct IrStep {
    IrOp op;
    int arg[3];  // as many as the op has operands
    double p[2]; // the op's FLOAT attributes, in the order of its ops.def row; of cast the IrDtype
} IrStep;
#define IR_STEP(i) (-1 - (i))
enum { IR_ACC = 1 << 16 };
// The type of a step's result, its first argument (of where, the second) being of type `arg`.
IrDtype ir_step_dtype(const IrStep *s, IrDtype arg);

// Steps in order; the last one's result is the body's. n == 0: the identity.
typedef struct IrBody {
    int n;
    IrStep *step;
} IrBody;

typedef struct IrInts {
    int n;
    int64_t *v;
} IrInts;

// How a convolution is computed; see conv_algos.def, conv.h.
typedef enum IrConvAlgo {
#define IR_CONV_ALGO(E, ...) IR_CONV_##E,
#include "ir/conv_algos.def"
#undef IR_CONV_ALGO
    IR_CONV_ALGO_COUNT
} IrConvAlgo;

typedef struct IrConvTile {
#define IR_CONV_TILE(E, field) int32_t field;
#include "ir/conv_algos.def"
#undef IR_CONV_TILE
} IrConvTile;

typedef struct IrAttr {
    IrAttrKey key;
    union {
        int64_t i;
        double f;
        IrInts ints;
        IrShape dims;
        const char *s;
        IrBody body;
        IrConvAlgo algo;
        IrConvTile tile;
    };
} IrAttr;

typedef struct IrOpInfo {
    const char *text;
    int min_in, max_in;
    unsigned flags; // IR_FLAG_*
    uint64_t attrs; // IR_BIT(key) |...
    int n_out;      // results
} IrOpInfo;

const IrOpInfo *ir_op_info(IrOp op);
bool ir_op_parse(const char *text, IrOp *out);
const char *ir_attr_name(IrAttrKey key);
IrAttrKind ir_attr_kind(IrAttrKey key);
bool ir_attr_parse(const char *text, IrAttrKey *out);
bool ir_attr_eq(const IrAttr *a, const IrAttr *b); // floats by their bits

// ---------------------------------------------------------------- constants, values, nodes

typedef struct IrNode IrNode;
typedef struct IrValue IrValue;
typedef struct IrGraph IrGraph;
typedef struct IrProgram IrProgram;

typedef enum IrConstKind { IR_CONST_DATA, IR_CONST_SPLAT, IR_CONST_RAND } IrConstKind;

typedef struct IrConst {
    uint32_t id;      // unique in its program, for good
    const char *name; // of the ONNX initializer, or made up
    IrType type;      // static shape, plain layout
    IrConstKind kind;
    const void *data; // IR_CONST_DATA: not owned, may be a mapped file. Use ir_const_data()
    double splat;     // IR_CONST_SPLAT
    uint64_t seed;    // IR_CONST_RAND: floats uniform in [-1, 1); integers in [-8, 8) or [0, 16)
    bool trainable;
    const char *origin; // initializer this came from unchanged; NULL for derived ones
    int8_t finite;      // what ir_const_is_finite() found: 1 yes, -1 no
} IrConst;

typedef struct IrUse { // a use of a value by operand `index` of `node`; a list per value
    IrValue *value;
    IrNode *node;
    int index;
    struct IrUse *next, *prev;
} IrUse;

typedef enum IrPlaceKind {
    IR_PLACE_NONE,
    IR_PLACE_ARENA,
    IR_PLACE_INPUT,
    IR_PLACE_OUTPUT,
    IR_PLACE_CONST
} IrPlaceKind;

typedef struct IrPlace { // where a value's bytes are; the memory plan's answer
    IrPlaceKind kind;
    IrDim offset; // ARENA: byte offset, c + n * N
    int index;    // INPUT, OUTPUT: which
} IrPlace;

struct IrValue {
    uint32_t id;      // unique in its graph
    const char *name; // the ONNX tensor's name; never NULL for outputs and inputs, else may be
    IrType type;
    IrNode *def;    // NULL for graph inputs and constants
    IrConst *konst; // a constant's value
    int input;      // index among graph inputs, or -1
    IrUse *uses;
    int n_uses; // uses by nodes; graph outputs are not counted
    bool is_output;
    // Storage shared with another value: `view_of` is NULL, or the value whose bytes hold this one
    // from channel `view_channel` on (in-place concat; 0 and equal size for reshapes). Chains are
    // allowed.
    IrValue *view_of;
    int64_t view_channel;
    IrPlace place;
};

struct IrNode {
    IrOp op;
    const char *name;   // where it came from; fusion joins names with '+'. Never NULL
    const char *src_op; // operator in the user's file, for diagnostics; may be NULL
    IrGraph *graph;
    int n_in, n_out;
    IrUse *in; // in[i].value may be NULL for an absent optional operand
    IrValue **out;
    int n_attrs;
    IrAttr *attrs; // ascending by key
    IrNode *prev, *next;
};

struct IrGraph {
    IrProgram *prog;
    const char *name;
    IrNode *first, *last;
    int n_nodes;
    int n_inputs, n_outputs, cap_inputs, cap_outputs;
    IrValue **inputs, **outputs; // outputs: results of nodes, no value twice
    uint32_t next_id;
    int cap_const_values;
    IrValue **const_values; // the values of constants by IrConst.id; NULL where there is none
    // Set by the memory plan, bytes:
    IrDim arena_bytes; // with reuse
    IrDim arena_bytes_no_reuse;
};

typedef struct IrMeta { // metadata_props of the model
    const char *key, *value;
} IrMeta;

struct IrProgram {
    IrArena *arena;
    IrDiag *diag;
    const char *name;
    int n_consts, cap_consts;
    IrConst **consts;
    uint32_t next_const_id;
    int64_t const_bytes, const_limit; // of all constants ever made; at most, per graph: beyond it
                                      // ir_fatal(); 0: no limit
    int n_graphs, cap_graphs;
    IrGraph **graphs;
    int n_meta, cap_meta;
    IrMeta *meta;
};

// n is the node at hand: what fails for lack of memory from here on is reported as its fault. A
// pass, or the walk of another kind, begins without one.
static inline void ir_work_on(const IrNode *n) {
    n->graph->prog->diag->at = (IrWhere){n->name, n->src_op};
}

IrProgram *ir_program_new(IrArena *arena, const char *name);
const char *ir_meta(const IrProgram *p, const char *key); // NULL: there is none
IrGraph *ir_graph_new(IrProgram *p, const char *name);
IrConst *ir_const_new(IrProgram *p, const char *name, IrType type,
                      const void *data); // data not owned
IrConst *ir_const_splat(IrProgram *p, const char *name, IrType type, double x);
IrConst *ir_const_rand(IrProgram *p, const char *name, IrType type, uint64_t seed);
const void *ir_const_data(IrProgram *p, IrConst *c);         // makes splat and rand real, once
double ir_const_scalar(IrProgram *p, IrConst *c, int64_t i); // element i as double, any dtype
// f16 or bf16, where that holds every number of c, which is of f32 and stored; else c's own type.
IrDtype ir_const_narrowest(const IrConst *c);
bool ir_const_is_finite(IrProgram *p, IrConst *c); // all of its f32 are; it looks at them once
void ir_prune_consts(IrProgram *p); // forgets those that are neither trainable nor used by a node
bool ir_const_is_scalar(const IrValue *v); // a constant of one element

IrValue *ir_input(IrGraph *g, const char *name, IrType type);
// Every output is the result of a node, under its own name, and no value is an output twice: where
// v is an input, a constant or an output already, a `copy` of it at the end becomes the output.
void ir_output(IrGraph *g, IrValue *v);
// Outputs that say how much of another one is meant (bounded) or that something does not hold
// (check) are no tensors of the model's: they come last. How many others there are.
int ir_own_outputs(const IrGraph *g);
void ir_replace_output(IrGraph *g, int index, IrValue *v); // keeps the name; copies as above
IrValue *ir_const_value(IrGraph *g, IrConst *c);           // one value per constant and graph

// ---------------------------------------------------------------- building (build.c)

// Where new nodes go and what they are called. `before` NULL: at the end.
typedef struct IrBuilder {
    IrGraph *graph;
    IrNode *before;
    const char *name; // for the nodes built; required
    const char *src_op;
    const char *err; // why the last build returned NULL
} IrBuilder;

// Builds one node; attrs in any order. Computes the results' types. NULL when the operands or
// attributes do not fit: b->err says why, and the graph is unchanged. Returns the node.
IrNode *ir_build_node(IrBuilder *b, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                      const IrAttr *attrs);
// The same, giving result 0. (b NULL-tolerant operands are a bug.)
IrValue *ir_build(IrBuilder *b, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                  const IrAttr *attrs);
IrValue *ir_build1(IrBuilder *b, IrOp op, IrValue *x); // no attributes
IrValue *ir_build2(IrBuilder *b, IrOp op, IrValue *x, IrValue *y);
IrValue *ir_build_scalar(IrBuilder *b, IrDtype t, double x); // rank-0 constant
IrValue *ir_build_reshape(IrBuilder *b, IrValue *x, const IrShape *shape);
// start, step: [shape->rank]
IrValue *ir_build_slice(IrBuilder *b, IrValue *x, const int64_t *start, const int64_t *step,
                        const IrShape *shape);
// The steps of a body as nodes, on operands in[]; the last one's result.
IrValue *ir_build_steps(IrBuilder *b, const IrBody *body, IrValue *const *in);
IrValue *ir_build_transpose(IrBuilder *b, IrValue *x, int n, const int64_t *perm);

IrAttr ir_attr_i(IrAttrKey key, int64_t i);
IrAttr ir_attr_f(IrAttrKey key, double f);
IrAttr ir_attr_s(IrAttrKey key, const char *s);
IrAttr ir_attr_dims(IrAttrKey key, const IrShape *s);
IrAttr ir_attr_ints(IrArena *a, IrAttrKey key, int n, const int64_t *v); // copies
IrAttr ir_attr_body(IrArena *a, IrAttrKey key, const IrBody *body);      // copies
IrAttr ir_attr_algo(IrConvAlgo algo);
IrAttr ir_attr_tile(const IrConvTile *tile);

// ---------------------------------------------------------------- reading and editing (graph.c)

const IrAttr *ir_attr(const IrNode *n, IrAttrKey key); // NULL when absent
int64_t ir_int(const IrNode *n, IrAttrKey key, int64_t absent);
double ir_float(const IrNode *n, IrAttrKey key, double absent);
const char *ir_str(const IrNode *n, IrAttrKey key, const char *absent);
IrInts ir_ints(const IrNode *n, IrAttrKey key); // n == 0 when absent
IrBody ir_body(const IrNode *n, IrAttrKey key); // n == 0 when absent
// p of the step that n would be, ONNX's defaults where attributes are absent.
void ir_step_params(const IrNode *n, double p[2]);
// What quantize or dequantize n computes, as steps on its operands; how many.
enum { IR_QUANT_STEPS = 6 };
int ir_quant_steps(const IrNode *n, IrStep step[IR_QUANT_STEPS]);
// Operands from this one on are the prologue's (`pre`): from the first that a step of it names.
// n_in where there are none; the epilogue's end here.
int ir_prologue(const IrNode *n);
void ir_set_attr(IrNode *n, IrAttr attr);
void ir_del_attr(IrNode *n, IrAttrKey key);

static inline IrValue *ir_in(const IrNode *n, int i) {
    return i < n->n_in ? n->in[i].value : NULL;
}
// i >= n_in lengthens the list with NULLs: a bias is ir_set_in(n, 2, b).
void ir_set_in(IrNode *n, int i, IrValue *v);
// Appends an operand. Where the op has `then`, it is one of the epilogue: absent operands before
// max_in are filled with NULL first.
void ir_add_in(IrNode *n, IrValue *v);
// All node operands and graph outputs. An output's name stays: `now` takes it, or (see ir_output)
// a copy of `now`.
void ir_replace_uses(IrValue *old, IrValue *now);
void ir_remove_node(IrNode *n); // its results must be unused
// Those whose results nobody reads, last first, so that one walk is enough; how many.
int ir_remove_dead_nodes(IrGraph *g);
void ir_move_before(IrNode *n, IrNode *before);
bool ir_precedes(const IrNode *a, const IrNode *b); // a before b in the list; O(n)
IrNode *
ir_only_user(const IrValue *v); // the one node that uses v, once, v not an output; else NULL
// Recomputes the result types from operands and attributes; NULL when fine, else why not (and the
// types stay as they were). A result's `block` stays where its shape does, else it becomes plain.
const char *ir_infer(IrNode *n);
// "x+y", up to 200 bytes, then "...".
const char *ir_join_names(IrArena *a, const char *x, const char *y);

// Window of conv, pools and their gradients, attributes with their defaults filled in.
typedef struct IrWindow {
    int64_t kh, kw, sh, sw, dh, dw;
    int64_t pt, pl, pb, pr;
    int64_t group;
    bool ceil, count_pad;
} IrWindow;
IrWindow ir_window(const IrNode *n);
// The type of n's own result, before its epilogue: what IR_ACC is in `then`.
IrDtype ir_own_dtype(const IrNode *n);
// [O,I/group,KH,KW] of a conv, packed or not.
IrShape ir_filter_shape(const IrNode *conv);
// Of a conv: the window of its `pool`, kh == 0 without one; its result before that.
IrWindow ir_conv_pool(const IrNode *conv);
IrShape ir_conv_shape(const IrNode *conv);

// The element's position of a value's storage root: follows view_of; *channel adds up view_channel.
IrValue *ir_view_root(IrValue *v, int64_t *channel);

// ---------------------------------------------------------------- copying (extract.c)

// A new graph of the same program that computes out[] (values of g) from in[] (values of g: inputs,
// constants, results; what is not needed is left out) and from those of g's own inputs that are
// needed, which come last. Names stay; constants are shared. Before layout and memory plan: views
// and places are not copied. The whole of g: n_in 0 and its outputs.
IrGraph *ir_extract(IrGraph *g, const char *name, int n_in, IrValue *const *in, int n_out,
                    IrValue *const *out);
// All of g, inputs that nobody reads included: they stay its inputs.
IrGraph *ir_copy(IrGraph *g, const char *name);

// ---------------------------------------------------------------- verify, print, parse

// Every invariant above. Returns NULL, or what is wrong (arena string); debug builds and `hone opt`
// call it after each pass.
const char *ir_verify(IrGraph *g);

// Textual IR. Newlines do not count; `;` and `//` start a comment that ends with the line.
//
//   program "tiny"
//   meta "author" = "me"
//   const %w: f32[8,3,3,3] = rand(7) trainable origin "conv1.weight"
//   const %b: f32[8] = splat(0.5)
//   const %k: i64[2] = [4, -1]
//   graph infer(%x: f32[N,3,9,9]) -> (%y, %3 as "name") arena 64N no_reuse 128N {
//     %c: f32[N,8,9,9]{nChw8c} = conv %x, %w, %b, %r {then=[add(acc, 3), relu(s0)]} @"conv1"
//     %3: f32[N,8,9,9] in %y+8 at arena 64N = map %c {body=[clip(0, min=0, max=6)]} @"act"
//
// - A value is %name, %"any name", or %7, its id, where it has no name or another value has it
//   already (inputs and outputs then give theirs with `as`). An absent operand is `_`.
// - Types of results may be left out: they are inferred. One that is there must be right,
//   and carries the layout.
// - `in %y+8`: the value is a view of %y from channel 8 on. `at arena OFFSET`, `at input 0`,
//   `at output 0`, `at const`: its place.
// - Steps of `pre`, `then` and `body`: arguments are the node's operands 0, 1, ..., results of
//   steps s0, s1, ..., and acc; then the op's numbers by name, of cast the type: cast(s0, to=u8).
// - A tile is those of its fields that are not 0: tile=[rows=1,cols=14,vecs=2].
// - Floats have as many digits as they need to be read back exactly; elements of float constants
//   that are NaN are their bits, 0x7fc00000. Constants of more than 64 elements are
//   ref(0xHASH, "origin"): reading one gives random values under that seed, and a warning.
void ir_print_program(FILE *f, IrProgram *p);
void ir_print_graph(FILE *f, IrGraph *g);
void ir_print_node(FILE *f, const IrNode *n); // one line without newline
// Errors go to the arena's diag as "FILE:LINE:COL: reason"; NULL then. Every graph is verified.
IrProgram *ir_parse(IrArena *a, const char *file, const char *text, size_t len);

// ---------------------------------------------------------------- reference evaluator (eval.c)

typedef struct IrTensor { // plain row-major whatever the value's layout is
    IrDtype dtype;
    int rank;
    int64_t dim[IR_MAX_RANK];
    void *data;
} IrTensor;

int64_t ir_tensor_elems(const IrTensor *t);
IrTensor ir_tensor_new(IrArena *a, const IrType *t, int64_t N);
double ir_tensor_get(const IrTensor *t, int64_t i); // element i, row-major, as double
void ir_tensor_set(IrTensor *t, int64_t i,
                   double x); // rounds (floats) or saturates as a C cast may not
// Weights of u8 or i8, less the zero point of their output channel, as i8: element i, of channel
// i / inner % channels, is to[i] + more[channel]. True: some of `more` are not 0.
bool ir_split_bytes(const IrTensor *t, int64_t channels, int64_t inner, const int *zero, int8_t *to,
                    int *more);

// Runs the graph on inputs[n_inputs] at batch size N. outputs[n_outputs] get tensors in arena a.
// on_value, when set, sees every node result as it is made. NULL when fine, else why not (an op
// without evaluator, say).
const char *ir_eval(IrGraph *g, int64_t N, const IrTensor *inputs, IrTensor *outputs, IrArena *a,
                    void (*on_value)(void *ctx, const IrValue *v, const IrTensor *t), void *ctx);
double ir_eval_work(const IrNode *n); // steps that evaluating n takes for N = 1, roughly
// Evaluates one node on concrete operands (fold and kernel tests use it). out[n_out]: in arena a.
const char *ir_eval_node(const IrNode *n, int64_t N, const IrTensor *const *in, IrTensor *out,
                         IrArena *a);

#endif
