// How long the evaluator takes for a node: what bounds constant folding, whose operands and
// attributes come from files nobody vouches for.
#include "ir/eval.h"

// 0 counts as 1: loops over the dimensions around it run nevertheless.
static double count_elems(const IrType *t) {
    double n = 1;
    for (int i = 0; i < t->shape.rank; i++) {
        int64_t d = ir_dim_at(t->shape.dim[i], 1);
        n *= d > 0 ? (double)d : 1;
    }
    return n;
}

static bool is_empty(const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        IrDim elems;
        if (!ir_shape_elems(&n->out[i]->type.shape, &elems) || !ir_dim_is(elems, 0)) {
            return false;
        }
    }
    return n->n_out > 0;
}

// Products and comparisons that one element of the result takes.
static double count_steps(const IrNode *n, double in_elems) {
    const IrShape *b = n->n_in > 1 && ir_in(n, 1) ? &ir_in(n, 1)->type.shape : NULL;
    if (n->op == IR_OP_MATMUL && b && b->rank >= 2) {
        return (double)b->dim[b->rank - 2 + !!ir_int(n, IR_ATTR_TRANS_B, 0)].c;
    }
    if (n->op == IR_OP_DET) {
        double rows = (double)ir_in(n, 0)->type.shape.dim[ir_in(n, 0)->type.shape.rank - 1].c;
        return rows * rows * rows / 3;
    }
    if (n->op == IR_OP_ROI_ALIGN) { // as many samples as it may take
        double samples = (double)ir_int(n, IR_ATTR_SIZE, 0);
        samples = samples > 0 ? samples : 1024;
        return 4 * samples * samples;
    }
    if (n->op == IR_OP_GRID_SAMPLE || n->op == IR_OP_TOP_K) {
        return 16;
    }
    if (n->op == IR_OP_NMS) { // each box beside each that is chosen
        return (double)ir_in(n, 0)->type.shape.dim[1].c;
    }
    if (n->op == IR_OP_LRN) {
        return (double)ir_int(n, IR_ATTR_SIZE, 1);
    }
    if (n->op == IR_OP_MAX_POOL || n->op == IR_OP_AVG_POOL) {
        IrWindow w = ir_window(n);
        return (double)w.kh * (double)w.kw;
    }
    if (n->op == IR_OP_CONV && b && b->rank == 4) {
        return (double)b->dim[1].c * (double)b->dim[2].c * (double)b->dim[3].c;
    }
    return ir_op_info(n->op)->flags & IR_FLAG_W ? in_elems : 1;
}

double ir_eval_work(const IrNode *n) {
    double in_elems = 0, out_elems = 0;
    if (is_empty(n)) {
        return 0; // see ir_eval_node()
    }
    for (int i = 0; i < n->n_in; i++) {
        in_elems += ir_in(n, i) ? count_elems(&ir_in(n, i)->type) : 0;
    }
    for (int i = 0; i < n->n_out; i++) {
        out_elems += count_elems(&n->out[i]->type);
    }
    return in_elems + out_elems * count_steps(n, in_elems);
}
