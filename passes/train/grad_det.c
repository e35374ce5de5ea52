// The gradient of a determinant: by its cofactors, which exist where the matrix has no inverse,
// too.
//
//   d det(x) / d x[i,j] = (-1)^(i+j) det(x without row i and column j)
#include "passes/train/grad.h"

enum { MOST_ROWS = 6 }; // as many determinants as the matrix has elements

// Positions [from, from + count) of an axis.
static IrValue *part_of(PassGrad *t, IrValue *x, int axis, int64_t from, int64_t count) {
    IrArena *a = pass_rev_context(t)->prog->arena;
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK];
    IrShape s = x->type.shape;
    for (int i = 0; i < s.rank; i++) {
        step[i] = 1;
    }
    start[axis] = from;
    s.dim[axis] = ir_dim(count);
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_START, s.rank, start),
                      ir_attr_ints(a, IR_ATTR_STEP, s.rank, step), ir_attr_dims(IR_ATTR_SHAPE, &s)};
    return pass_rev_op(t, IR_OP_SLICE, 1, &x, 3, attrs);
}

static IrValue *join(PassGrad *t, int n, IrValue *const *part, int axis) {
    IrAttr attr = ir_attr_i(IR_ATTR_AXIS, axis);
    return n == 1 ? part[0] : pass_rev_op(t, IR_OP_CONCAT, n, part, 1, &attr);
}

static IrValue *without(PassGrad *t, IrValue *x, int axis, int64_t k) {
    int64_t size = x->type.shape.dim[axis].c;
    IrValue *part[2];
    int n = 0;
    if (k > 0) {
        part[n++] = part_of(t, x, axis, 0, k);
    }
    if (k < size - 1) {
        part[n++] = part_of(t, x, axis, k + 1, size - 1 - k);
    }
    return join(t, n, part, axis);
}

void pass_grad_det(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *dy = pass_rev_of(t, n, 0), *row[MOST_ROWS], *all[MOST_ROWS];
    int rank = x->type.shape.rank, rows = (int)x->type.shape.dim[rank - 1].c;
    IrShape one = x->type.shape;
    one.dim[rank - 1] = one.dim[rank - 2] = ir_dim(1);
    if (rows > MOST_ROWS) {
        pass_rev_nyi(t, n, "of more than 6 rows");
        return;
    }
    dy = pass_rev_reshape(t, dy, &one);
    for (int i = 0; i < rows && rows > 1; i++) {
        IrValue *others = without(t, x, rank - 2, i);
        for (int j = 0; j < rows; j++) {
            IrValue *minor = pass_rev_1(t, IR_OP_DET, without(t, others, rank - 1, j));
            row[j] = pass_rev_scale(t, pass_rev_reshape(t, minor, &one), (i + j) % 2 ? -1 : 1);
        }
        all[i] = join(t, rows, row, rank - 1);
    }
    pass_rev_give(t, n, 0,
                  rows > 1 ? pass_rev_2(t, IR_OP_MUL, join(t, rows, all, rank - 2), dy) : dy);
}
