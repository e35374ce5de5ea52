// Shape rules. One per name in the `shape` column of ops.def: from a node's operands and attributes
// it writes the types of its results, plain (the caller takes care of layouts), or says in plain
// English, with the numbers, why the node cannot be. Arity, absence of operands and the set of
// attributes are checked before. Operand types are sane (ir_check_type); attribute values may be
// anything.
#ifndef IR_SHAPE_H
#define IR_SHAPE_H

#include "ir/ir_private.h"

typedef const char *IrShapeFn(IrNode *n);

#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    IrShapeFn ir_shape_##shape;
#include "ir/ops.def"
#undef IR_OP

// A reason in the program's arena.
const char *ir_why(const IrNode *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *ir_type_text(const IrNode *n, const IrType *t); // in the program's arena
const char *ir_operand_text(const IrNode *n, int i);        // its type
static inline const IrType *ir_in_type(const IrNode *n, int i) {
    return &n->in[i].value->type;
}
void ir_set_result(IrNode *n, IrDtype t, const IrShape *s); // the type of result 0

// Each: NULL when it holds.
const char *ir_need_rank(const IrNode *n, int i, int min, int max); // of operand i
const char *ir_need_float(const IrNode *n, int i);
const char *ir_need_number(const IrNode *n, int i); // not bool
// Operands 0, 1 and, where it is there, the bias of a product go together, and so does `zero`.
const char *ir_check_factors(const IrNode *n);
// `to` of a pool or reduction names a type that takes all numbers of operand 0.
const char *ir_check_own(const IrNode *n);
const char *ir_need_same_dtype(const IrNode *n, int i, int j);
const char *ir_need_fixed(const IrNode *n, int i, int axis); // dimension without N
const char *ir_need_axis(const IrNode *n, int64_t axis, int rank);
const char *ir_need_ints(const IrNode *n, IrAttrKey key, int count, int64_t min); // absent is fine
const char *ir_need_vector(const IrNode *n, int i, IrDim size, IrDtype t);   // operand i is t[size]
const char *ir_need_broadcast_to(const IrNode *n, int i, const IrShape *to); // operand i
bool ir_dim_add(IrDim a, IrDim b, IrDim *out);                               // false: overflow
// Window ops: sane attributes; height and width of the result on x [N,C,H,W]; a pool's whole
// result, attributes and x checked.
const char *ir_check_window_attrs(const IrNode *n);
const char *ir_window_result(const IrNode *n, const IrShape *x, IrDim *h, IrDim *w);
const char *ir_pool_result(const IrNode *n, const IrShape *x, IrShape *y);

// Types of a body's steps. `acc` is the type that IR_ACC stands for, NULL where it may not stand;
// operands may be named from index `first` on. *out: the dtype of the last step.
const char *ir_check_body(const IrNode *n, const IrBody *body, const IrType *acc, int first,
                          IrDtype *out);
// The epilogue of conv, matmul, pools and reduce: checks `then` against result 0, which it may make
// bool.
const char *ir_check_epilogue(IrNode *n);
const char *ir_check_prologue(IrNode *n); // of conv: `pre` against operand 0

#endif
