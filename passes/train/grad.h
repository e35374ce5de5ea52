// Gradient rules. One per name in the `grad` column of ops.def, in grad_*.c: given a node and the
// gradients of its results, it emits nodes that compute what the node adds to the gradients of its
// operands. Private to passes/train/.
//
// A rule saves little: it reads the results where those do (relu, sigmoid), and operands only where
// it must, since whatever a gradient reads stays in memory until then.
#ifndef PASSES_TRAIN_GRAD_H
#define PASSES_TRAIN_GRAD_H

#include "passes/passes.h"

typedef struct PassGradParts { // of a value's gradient: what is to be summed
    int n, cap;
    IrValue **v;
} PassGradParts;

typedef struct PassGrad { // a reverse walk; rules use the functions below
    PassContext *ctx;
    IrGraph *g;
    IrBuilder b;
    uint32_t n_ids;       // values with a larger id are gradients themselves
    bool *need;           // by id: depends on something in spec->wrt, by way of floats
    bool *live;           // by id: a seed depends on it
    PassGradParts *parts; // by id
    bool failed;
} PassGrad;

typedef void PassGradFn(PassGrad *t, IrNode *n);

#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    PassGradFn pass_grad_##grad;
#include "ir/ops.def"
#undef IR_OP

// dy of result k; NULL: nobody needs it.
IrValue *pass_rev_of(PassGrad *t, const IrNode *n, int k);
bool pass_rev_wants(PassGrad *t, const IrNode *n, int i); // is the gradient of operand i needed?
// dx, of operand i's type or of one that i broadcasts to (then summed), is one part of its
// gradient.
void pass_rev_give(PassGrad *t, const IrNode *n, int i, IrValue *dx);
// Reports "NYI: gradient of OP WHAT" on the node.
void pass_rev_nyi(PassGrad *t, const IrNode *n, const char *what);

// Nodes under the name of the node at hand and ".grad", at the graph's end. What does not fit is
// our bug.
IrValue *pass_rev_op(PassGrad *t, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                     const IrAttr *attrs);
IrNode *pass_rev_node(PassGrad *t, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                      const IrAttr *attrs);
IrValue *pass_rev_1(PassGrad *t, IrOp op, IrValue *x);
IrValue *pass_rev_2(PassGrad *t, IrOp op, IrValue *x, IrValue *y);
IrValue *pass_rev_const(PassGrad *t, const IrValue *like, double x);  // a scalar of like's dtype
IrValue *pass_rev_scale(PassGrad *t, IrValue *x, double by);          // x * by
IrValue *pass_rev_shift(PassGrad *t, IrValue *x, double by);          // x + by
IrValue *pass_rev_hits(PassGrad *t, IrValue *x, IrValue *y);          // 1 where x is y, else 0
IrValue *pass_rev_reshape(PassGrad *t, IrValue *x, const IrShape *s); // x itself where it has it
IrValue *pass_rev_expand(PassGrad *t, IrValue *x, const IrShape *s);
// Sum over axes (ascending), without keeping them.
IrValue *pass_rev_sum(PassGrad *t, IrValue *x, int n_axes, const int64_t *axes);
IrValue *pass_rev_sum_to(PassGrad *t, IrValue *x, const IrShape *s); // undoes broadcasting
// Sums of v [N,P,C] at the rows of [N,R,C], shape s, that index i64[N,P,1] names (grad_index.c).
IrValue *pass_rev_add_rows(PassGrad *t, const IrShape *s, IrValue *index, IrValue *v);
PassContext *pass_rev_context(PassGrad *t);

// ---------------------------------------------------------------- for the walk

bool pass_rev_tracks(const PassGrad *t, const IrValue *v); // v's gradient is wanted
void pass_rev_add(PassGrad *t, const IrValue *v, IrValue *part);
// The value's gradient, NULL when there is none. A split's parts are joined instead of summed.
IrValue *pass_rev_sum_parts(PassGrad *t, const IrValue *v);

#endif
