// Gradients of ops that address elements by indices, or search along an axis: what an element gave
// away comes back to it, summed over the indices that name it.
#include "passes/train/grad.h"

#include <string.h>

static IrAttr ints(PassGrad *t, IrAttrKey key, int n, const int64_t *v) {
    return ir_attr_ints(pass_rev_context(t)->prog->arena, key, n, v);
}

static IrValue *zeros(PassGrad *t, const IrValue *like, const IrShape *s) {
    return pass_rev_expand(t, pass_rev_const(t, like, 0), s);
}

// Sums of v at the places of a tensor of shape s that `index` names.
static IrValue *add_at(PassGrad *t, IrOp scatter, const IrShape *s, IrValue *index, IrValue *v,
                       int64_t axis) {
    IrAttr attrs[] = {ir_attr_s(IR_ATTR_MODE, "add"), ir_attr_i(IR_ATTR_AXIS, axis)};
    IrValue *in[] = {zeros(t, v, s), index, v};
    return pass_rev_op(t, scatter, 3, in, scatter == IR_OP_SCATTER_ND ? 1 : 2, attrs);
}

static IrValue *move_axis(PassGrad *t, IrValue *x, int from, int to) {
    int64_t perm[IR_MAX_RANK];
    int rank = x->type.shape.rank;
    for (int i = 0, k = 0; i < rank; i++) {
        k += k == from;
        perm[i] = i == to ? from : k++;
    }
    IrAttr attr = ints(t, IR_ATTR_PERM, rank, perm);
    return from == to ? x : pass_rev_op(t, IR_OP_TRANSPOSE, 1, &x, 1, &attr);
}

// The product of dims [from, to); false where it is not affine in N.
static bool join_dims(const IrShape *s, int from, int to, IrDim *out) {
    *out = ir_dim(1);
    for (int i = from; i < to; i++) {
        if (!ir_dim_mul(*out, s->dim[i], out)) {
            return false;
        }
    }
    return true;
}

// y = x with axis `axis` replaced by those of the indices: these as one, first, are rows to
// scatter.
void pass_grad_gather(PassGrad *t, IrNode *n) {
    IrValue *index = ir_in(n, 1), *dy = pass_rev_of(t, n, 0);
    const IrShape *x = &ir_in(n, 0)->type.shape;
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0), rank = index->type.shape.rank;
    IrShape joined = *x, first, rows = {.rank = 2, .dim = {ir_dim(1), ir_dim(1)}};
    if (!join_dims(&index->type.shape, 0, rank, &rows.dim[0])) {
        pass_rev_nyi(t, n, "by indices with two axes of the batch's size");
        return;
    }
    joined.dim[axis] = rows.dim[0];
    dy = move_axis(t, pass_rev_reshape(t, dy, &joined), axis, 0);
    first = dy->type.shape;
    first.dim[0] = x->dim[axis];
    index = pass_rev_reshape(t, index, &rows);
    IrValue *dx = add_at(t, IR_OP_SCATTER_ND, &first, index, dy, 0);
    pass_rev_give(t, n, 0, move_axis(t, dx, 0, axis));
}

void pass_grad_gather_elements(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    pass_rev_give(t, n, 0,
                  add_at(t, IR_OP_SCATTER_ELEMENTS, &ir_in(n, 0)->type.shape, ir_in(n, 1), dy,
                         ir_int(n, IR_ATTR_AXIS, 0)));
}

// Indices [B,...,k] into the axes behind the first as indices [B,...,k+1] with that one.
static IrValue *name_batch(PassGrad *t, IrValue *index) {
    IrShape s = index->type.shape, column = {.rank = s.rank};
    for (int i = 0; i < s.rank; i++) {
        column.dim[i] = i == 0 ? s.dim[0] : ir_dim(1);
    }
    s.dim[s.rank - 1] = ir_dim(1);
    IrValue *one = pass_rev_expand(t, pass_rev_const(t, index, 1), &column);
    IrAttr sum[] = {ir_attr_i(IR_ATTR_AXIS, 0), ir_attr_i(IR_ATTR_EXCLUSIVE, 1)};
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, s.rank - 1);
    IrValue *row = pass_rev_expand(t, pass_rev_op(t, IR_OP_CUMSUM, 1, &one, 2, sum), &s);
    return pass_rev_op(t, IR_OP_CONCAT, 2, (IrValue *[]){row, index}, 1, &axis);
}

IrValue *pass_rev_add_rows(PassGrad *t, const IrShape *s, IrValue *index, IrValue *v) {
    return add_at(t, IR_OP_SCATTER_ND, s, name_batch(t, index), v, 0);
}

// Axes before `axis` are the same in x, indices and y: as one, another axis that is named.
void pass_grad_gather_nd(PassGrad *t, IrNode *n) {
    IrValue *index = ir_in(n, 1), *dy = pass_rev_of(t, n, 0), *dx;
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &dy->type.shape, *k = &index->type.shape;
    int shared = (int)ir_int(n, IR_ATTR_AXIS, 0);
    if (!shared) {
        pass_rev_give(t, n, 0, add_at(t, IR_OP_SCATTER_ND, x, index, dy, 0));
        return;
    }
    IrShape xs = {.rank = x->rank - shared + 1}, ys = {.rank = y->rank - shared + 1};
    IrShape ks = {.rank = k->rank - shared + 1};
    IrDim batch;
    if (!join_dims(x, 0, shared, &batch)) {
        pass_rev_nyi(t, n, "with two axes of the batch's size");
        return;
    }
    xs.dim[0] = ys.dim[0] = ks.dim[0] = batch;
    memcpy(xs.dim + 1, x->dim + shared, (size_t)(xs.rank - 1) * sizeof *xs.dim);
    memcpy(ys.dim + 1, y->dim + shared, (size_t)(ys.rank - 1) * sizeof *ys.dim);
    memcpy(ks.dim + 1, k->dim + shared, (size_t)(ks.rank - 1) * sizeof *ks.dim);
    index = name_batch(t, pass_rev_reshape(t, index, &ks));
    dx = add_at(t, IR_OP_SCATTER_ND, &xs, index, pass_rev_reshape(t, dy, &ys), 0);
    pass_rev_give(t, n, 0, pass_rev_reshape(t, dx, x));
}

// A scatter of the mode at hand, and the gather that reads what it wrote.
static IrValue *scatter_with(PassGrad *t, const IrNode *n, const char *mode, IrValue *x,
                             IrValue *v) {
    IrAttr attrs[] = {ir_attr_s(IR_ATTR_MODE, mode),
                      ir_attr_i(IR_ATTR_AXIS, ir_int(n, IR_ATTR_AXIS, 0))};
    return pass_rev_op(t, n->op, 3, (IrValue *[]){x, ir_in(n, 1), v},
                       n->op == IR_OP_SCATTER_ND ? 1 : 2, attrs);
}

static IrValue *gather_of(PassGrad *t, const IrNode *n, IrValue *x) {
    bool nd = n->op == IR_OP_SCATTER_ND;
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, nd ? 0 : ir_int(n, IR_ATTR_AXIS, 0));
    return pass_rev_op(t, nd ? IR_OP_GATHER_ND : IR_OP_GATHER_ELEMENTS, 2,
                       (IrValue *[]){x, ir_in(n, 1)}, 1, &axis);
}

// y is the greatest or least of x and the updates there: those that are as y share its gradient.
static void scatter_extreme(PassGrad *t, IrNode *n) {
    IrValue *mine = pass_rev_hits(t, ir_in(n, 0), n->out[0]);
    IrValue *theirs = pass_rev_hits(t, ir_in(n, 2), gather_of(t, n, n->out[0]));
    IrValue *count = scatter_with(t, n, "add", mine, theirs);
    IrValue *share = pass_rev_2(t, IR_OP_DIV, pass_rev_of(t, n, 0), count);
    pass_rev_give(t, n, 0, pass_rev_2(t, IR_OP_MUL, share, mine));
    pass_rev_give(t, n, 2, pass_rev_2(t, IR_OP_MUL, gather_of(t, n, share), theirs));
}

// y is x times the updates there. One of them times all the others, of which zeros are counted: the
// product leaves them out, and is none where another one is left.
static void scatter_product(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *u = ir_in(n, 2), *dy = pass_rev_of(t, n, 0);
    if (pass_rev_wants(t, n, 0)) {
        pass_rev_give(t, n, 0, scatter_with(t, n, "mul", dy, u));
    }
    if (!pass_rev_wants(t, n, 2)) {
        return;
    }
    IrValue *zero = pass_rev_hits(t, u, pass_rev_const(t, u, 0));
    IrValue *safe = pass_rev_2(t, IR_OP_ADD, u, zero);
    IrValue *count = scatter_with(t, n, "add", zeros(t, x, &x->type.shape), zero);
    IrValue *others = pass_rev_2(t, IR_OP_SUB, gather_of(t, n, count), zero);
    IrValue *product = gather_of(t, n, scatter_with(t, n, "mul", x, safe));
    IrValue *rest = pass_rev_2(t, IR_OP_MUL, pass_rev_2(t, IR_OP_DIV, product, safe),
                               pass_rev_hits(t, others, pass_rev_const(t, others, 0)));
    pass_rev_give(t, n, 2, pass_rev_2(t, IR_OP_MUL, gather_of(t, n, dy), rest));
}

// y is x with updates put in or added at the indices, each named once where they are put in.
static void scatter(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    const char *mode = ir_str(n, IR_ATTR_MODE, "none");
    bool adds = strcmp(mode, "add") == 0;
    if (strcmp(mode, "max") == 0 || strcmp(mode, "min") == 0) {
        scatter_extreme(t, n);
        return;
    }
    if (strcmp(mode, "mul") == 0) {
        scatter_product(t, n);
        return;
    }
    if (pass_rev_wants(t, n, 0)) {
        IrValue *none = zeros(t, dy, &ir_in(n, 2)->type.shape);
        pass_rev_give(t, n, 0, adds ? dy : scatter_with(t, n, "none", dy, none));
    }
    if (pass_rev_wants(t, n, 2)) {
        pass_rev_give(t, n, 2, gather_of(t, n, dy));
    }
}

void pass_grad_scatter_elements(PassGrad *t, IrNode *n) {
    scatter(t, n);
}

void pass_grad_scatter_nd(PassGrad *t, IrNode *n) {
    scatter(t, n);
}

// An element is in the sums from it on: the sums from the other end.
void pass_grad_cumsum(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_AXIS, ir_int(n, IR_ATTR_AXIS, 0)),
                      ir_attr_i(IR_ATTR_EXCLUSIVE, ir_int(n, IR_ATTR_EXCLUSIVE, 0)),
                      ir_attr_i(IR_ATTR_REVERSE, !ir_int(n, IR_ATTR_REVERSE, 0))};
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_CUMSUM, 1, &dy, 3, attrs));
}

// Result 1 says where the elements were.
void pass_grad_top_k(PassGrad *t, IrNode *n) {
    pass_rev_give(t, n, 0,
                  add_at(t, IR_OP_SCATTER_ELEMENTS, &ir_in(n, 0)->type.shape, n->out[1],
                         pass_rev_of(t, n, 0), ir_int(n, IR_ATTR_AXIS, 0)));
}
