// Private to the reference evaluator (eval.c, eval_*.c, tensor.c).
//
// The evaluator is the definition of every op: plain loops, floats in double, integers exact and
// wrapped around to their type. Float results are rounded once, when they are stored; an epilogue
// reads its node's result as stored. Loops may run on several threads, but what each computes, and
// in which order, never depends on how many there are.
//
// Every function here may assume what eval.c checks before it calls one: operands and results have
// the dtypes and dimensions of the node's values at this batch size, and element counts fit int64.
#ifndef IR_EVAL_H
#define IR_EVAL_H

#include "ir/ir.h"

typedef struct IrBlock IrBlock;

typedef struct IrEval {
    IrArena *arena;   // messages, and the results that outlive the run
    IrBlock *scratch; // freed when the node is done
    IrBlock *values;  // freed after their last use
} IrEval;

// Evaluates node n on in[n->n_in] (NULL: absent) into out[n->n_out], whose data is allocated.
// NULL when fine, else why not.
typedef const char *IrEvalFn(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out);

#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    IrEvalFn ir_eval_##eval;
#include "ir/ops.def"
#undef IR_OP

// ---------------------------------------------------------------- eval_memory.c

// The arena frees what is left of it when ir_fatal() unwinds past us.
IrEval *ir_eval_new(IrArena *a);
void ir_eval_release(IrEval *e); // all blocks; e itself is the arena's
// An uninitialised block of one of e's lists, aligned to 64 bytes.
void *ir_eval_take(IrEval *e, IrBlock **list, size_t bytes);
void ir_eval_drop(void *data);
void ir_eval_drop_all(IrBlock **list);
// Uninitialised memory until the node is done, aligned to 64 bytes.
void *ir_eval_scratch(IrEval *e, int64_t count, size_t size);
// All elements of t as double, in scratch, or t's own data when that is f64.
const double *ir_eval_doubles(IrEval *e, const IrTensor *t);

// ---------------------------------------------------------------- eval_eltwise.c, eval_nn.c

// Where n computes its own result, of type `own`: out or, where the epilogue makes another type of
// it, scratch.
IrTensor ir_eval_own(IrEval *e, const IrTensor *out, IrDtype own);
// The node's epilogue (`then`) on its own result; nothing without one.
const char *ir_eval_then(IrEval *e, const IrNode *n, const IrTensor *const *in, const IrTensor *own,
                         IrTensor *out);
// max_pool of x [N,C,H,W] over windows w into out, for node n.
const char *ir_eval_max(IrEval *e, const IrNode *n, IrWindow w, const IrTensor *x, IrTensor *out);
// *x: operand 0 after the node's prologue (`pre`), rounded to its dtype, in scratch; operand 0
// itself without one.
const char *ir_eval_pre(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *x);

// ---------------------------------------------------------------- tensor.c

typedef __int128 IrWide; // holds every integer dtype exactly; bool is 0 or 1

enum { IR_EVAL_BLOCK = 256 };      // elements that are converted and computed at a time
enum { IR_EVAL_PARALLEL = 16384 }; // elements from which threads pay

// t's rank, dims and dtype from a value's type at batch size N. False: a negative dimension, or
// the bytes do not fit int64.
bool ir_tensor_shape(IrTensor *t, const IrType *type, int64_t N);
bool ir_tensor_same_shape(const IrTensor *a, const IrTensor *b);
size_t ir_tensor_bytes(const IrTensor *t);
void ir_tensor_strides(const IrTensor *t, int64_t *stride); // row-major, in elements
// Strides by which t broadcasts to the shape of `to`, one per axis of `to`, 0 where t repeats.
// False when it does not.
bool ir_tensor_broadcast(const IrTensor *t, const IrTensor *to, int64_t *stride);

// n elements from element `at` on, `stride` elements apart (may be 0 or negative).
double ir_dtype_round(IrDtype t, double x); // to the nearest number of that type
void ir_tensor_load(const IrTensor *t, int64_t at, int64_t stride, int64_t n, double *to);
// n elements from element `at` on. Floats round to nearest even; integers truncate and saturate,
// NaN gives 0; bool is x != 0.
void ir_tensor_store(IrTensor *t, int64_t at, int64_t n, const double *from);
void ir_tensor_load_wide(const IrTensor *t, int64_t at, int64_t stride, int64_t n, IrWide *to);
// Integers wrap around, floats round once, bool is x != 0.
void ir_tensor_store_wide(IrTensor *t, int64_t at, int64_t n, const IrWide *from);
IrWide ir_wide_wrap(IrWide x, IrDtype t); // to the range of integer type t
IrWide ir_wide_lowest(IrDtype t);
IrWide ir_wide_highest(IrDtype t);

#endif
