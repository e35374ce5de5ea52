// Matrix products: Gemm with its factors, MatMul with numpy's rank-1 operands.
#include "frontend/import.h"

// Gemm-13: alpha * A' * B' + beta * C
IrValue *fe_gemm(FeNode *n) {
    IrValue *a = fe_operand(n, 0), *b = fe_operand(n, 1), *c = fe_operand_or_null(n, 2);
    double alpha = fe_attr_float(n, "alpha", 1), beta = fe_attr_float(n, "beta", 1);
    if (n->refused) {
        return NULL;
    }
    if (a->type.shape.rank != 2 || b->type.shape.rank != 2) {
        fe_refuse(n, "operands of rank %d and %d, both must be matrices", a->type.shape.rank,
                  b->type.shape.rank);
        return NULL;
    }
    c = beta == 0 ? NULL : c;
    if (c && beta != 1) {
        c = fe_op_const(n, IR_OP_MUL, c, beta);
    }
    IrValue *y = fe_build(n, IR_OP_MATMUL, FE_IN(a, b, alpha == 1 ? c : NULL),
                          FE_WITH(ir_attr_i(IR_ATTR_TRANS_A, fe_attr_int(n, "transA", 0) != 0),
                                  ir_attr_i(IR_ATTR_TRANS_B, fe_attr_int(n, "transB", 0) != 0)));
    if (alpha != 1) {
        y = fe_op_const(n, IR_OP_MUL, y, alpha);
        y = c ? fe_bin(n, IR_OP_ADD, y, c) : y;
    }
    return y;
}

void fe_import_gemm(FeNode *n) {
    fe_out(n, 0, fe_gemm(n));
}

// x with a 1 put in at axis `at` when it has rank 1.
static IrValue *widen_vector(FeNode *n, IrValue *x, int at) {
    IrShape s = {2, {ir_dim(1), ir_dim(1)}};
    s.dim[1 - at] = x->type.shape.dim[0];
    return x->type.shape.rank == 1 ? fe_reshape(n, x, &s) : x;
}

// MatMul-13 (numpy.matmul): a vector is a row on the left, a column on the right, and leaves no
// axis.
IrValue *fe_matmul(FeNode *n, IrValue *a, IrValue *b) {
    if (n->refused) {
        return NULL;
    }
    bool row = a->type.shape.rank == 1, column = b->type.shape.rank == 1;
    if (a->type.shape.rank == 0 || b->type.shape.rank == 0) {
        fe_refuse(n, "an operand is a scalar");
        return NULL;
    }
    IrValue *y = fe_bin(n, IR_OP_MATMUL, widen_vector(n, a, 0), widen_vector(n, b, 1));
    if (n->refused || (!row && !column)) {
        return y;
    }
    const IrShape *full = &y->type.shape;
    IrShape s = {0};
    for (int i = 0; i < full->rank; i++) {
        if (!(row && i == full->rank - 2) && !(column && i == full->rank - 1)) {
            s.dim[s.rank++] = full->dim[i];
        }
    }
    return fe_reshape(n, y, &s);
}

void fe_import_matmul(FeNode *n) {
    IrValue *a = fe_operand(n, 0), *b = fe_operand(n, 1);
    fe_out(n, 0, fe_matmul(n, a, b));
}
