// Classes among dimensions: which axis of a value has one element for each, followed through what
// moves, reduces and joins them.
#include "passes/train/head.h"
#include "passes/util.h"

// A constant or moved from one, or an input without N, which was one before it became a parameter.
static bool is_stored(const IrValue *v) {
    while (v->def && (v->def->op == IR_OP_RESHAPE || v->def->op == IR_OP_TRANSPOSE)) {
        v = ir_in(v->def, 0);
    }
    return v->konst || (!v->def && ir_shape_is_static(&v->type.shape));
}

int pass_head_weight_at(const IrNode *n) {
    bool left = n->op == IR_OP_MATMUL && is_stored(ir_in(n, 0)) && !is_stored(ir_in(n, 1)) &&
                n->out[0]->type.shape.rank == 2;
    return left ? 0 : 1;
}

int pass_head_node_axis(const IrNode *n) {
    int rank = n->out[0]->type.shape.rank;
    return n->op == IR_OP_CONV ? 1 : pass_head_weight_at(n) ? rank - 1 : rank - 2;
}

int pass_head_weight_axis(const IrNode *n) {
    if (n->op == IR_OP_CONV) {
        return 0;
    }
    return pass_head_weight_at(n) ? !ir_int(n, IR_ATTR_TRANS_B, 0) : ir_int(n, IR_ATTR_TRANS_A, 0);
}

int64_t pass_head_classes(const IrNode *n) {
    return n->out[0]->type.shape.dim[pass_head_node_axis(n)].c;
}

int pass_head_class_axis(const IrShape *s, int64_t classes, bool from_last) {
    for (int i = 0; i < s->rank; i++) {
        int axis = from_last ? s->rank - 1 - i : i;
        if (ir_dim_is(s->dim[axis], classes)) {
            return axis;
        }
    }
    return -1;
}

int pass_head_axis_above(const IrNode *n, int axis) {
    const IrShape *in = &ir_in(n, 0)->type.shape, *out = &n->out[0]->type.shape;
    if (n->op == IR_OP_TRANSPOSE) {
        return (int)ir_ints(n, IR_ATTR_PERM).v[axis];
    }
    int64_t before = 1, above = 1;
    for (int i = 0; i < axis; i++) {
        before *= out->dim[i].c;
    }
    for (int i = 0; i < in->rank; above *= in->dim[i++].c) {
        if (above == before && ir_dim_eq(in->dim[i], out->dim[axis])) {
            return i;
        }
    }
    return -1;
}

// The axis of `to` that is as long as `axis` of `from` and has as many elements before it.
static int find_moved(const IrShape *from, int axis, const IrShape *to) {
    IrDim before = ir_dim(1), above = ir_dim(1);
    for (int i = 0; i < axis; i++) {
        if (!ir_dim_mul(before, from->dim[i], &before)) {
            return -1;
        }
    }
    for (int i = 0; i < to->rank; i++) {
        if (ir_dim_eq(above, before) && ir_dim_eq(to->dim[i], from->dim[axis])) {
            return i;
        }
        if (!ir_dim_mul(above, to->dim[i], &above)) {
            return -1;
        }
    }
    return -1;
}

static int below_transpose(const IrNode *n, int axis) {
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    for (int i = 0; i < perm.n; i++) {
        if (perm.v[i] == axis) {
            return i;
        }
    }
    return -1;
}

static int below_reduce(const IrNode *n, int axis) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    int gone = 0;
    for (int i = 0; i < axes.n; i++) {
        if (axes.v[i] == axis) {
            return -1;
        }
        gone += axes.v[i] < axis;
    }
    return ir_int(n, IR_ATTR_KEEPDIMS, 1) ? axis : axis - gone;
}

int pass_head_axis_below(const IrNode *n, int at, int axis) {
    const IrShape *in = &ir_in(n, at)->type.shape, *out = &n->out[0]->type.shape;
    if (n->op == IR_OP_RESHAPE) {
        return find_moved(in, axis, out);
    }
    if (n->op == IR_OP_TRANSPOSE) {
        return below_transpose(n, axis);
    }
    if (pass_is_reduce(n)) {
        return below_reduce(n, axis);
    }
    if (n->op == IR_OP_SLICE) {
        return ir_dim_eq(in->dim[axis], out->dim[axis]) ? axis : -1;
    }
    if (n->op == IR_OP_GATHER) {
        int picked = (int)ir_int(n, IR_ATTR_AXIS, 0);
        return picked == axis ? -1 : axis < picked ? axis : axis + out->rank - in->rank;
    }
    if (n->op == IR_OP_CONCAT) {
        return ir_int(n, IR_ATTR_AXIS, 0) == axis ? -1 : axis;
    }
    return n->op == IR_OP_ARG_MAX ? -1 : axis + out->rank - in->rank;
}

int64_t pass_head_per_image(const IrShape *s) {
    IrDim n = ir_dim(1);
    if (s->rank < 1 || !ir_dim_eq(s->dim[0], (IrDim){0, 1})) {
        return 0;
    }
    for (int i = 1; i < s->rank; i++) {
        if (s->dim[i].n || !ir_dim_mul(n, s->dim[i], &n)) {
            return 0;
        }
    }
    return n.c;
}
