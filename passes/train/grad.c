// What gradient rules build with: nodes under the name of the node at hand, the gradients of its
// results, and the parts that they hand back to its operands. Knows no rule; autodiff.c, which
// walks the graph, calls them.
#include "passes/train/grad.h"

void pass_rev_nyi(PassGrad *t, const IrNode *n, const char *what) {
    t->failed = true;
    ir_error(t->ctx->prog->diag, (IrWhere){n->name, n->src_op}, "NYI: gradient of %s%s%s",
             ir_op_info(n->op)->text, *what ? " " : "", what);
}

PassContext *pass_rev_context(PassGrad *t) {
    return t->ctx;
}

IrNode *pass_rev_node(PassGrad *t, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                      const IrAttr *attrs) {
    IrNode *n = ir_build_node(&t->b, op, n_in, in, n_attrs, attrs);
    if (!n) {
        ir_bug("autodiff", t->b.name, "%s: %s", ir_op_info(op)->text, t->b.err);
    }
    return n;
}

IrValue *pass_rev_op(PassGrad *t, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                     const IrAttr *attrs) {
    return pass_rev_node(t, op, n_in, in, n_attrs, attrs)->out[0];
}

IrValue *pass_rev_1(PassGrad *t, IrOp op, IrValue *x) {
    return pass_rev_op(t, op, 1, &x, 0, NULL);
}

IrValue *pass_rev_2(PassGrad *t, IrOp op, IrValue *x, IrValue *y) {
    return pass_rev_op(t, op, 2, (IrValue *[]){x, y}, 0, NULL);
}

IrValue *pass_rev_const(PassGrad *t, const IrValue *like, double x) {
    return ir_build_scalar(&t->b, like->type.dtype, x);
}

IrValue *pass_rev_scale(PassGrad *t, IrValue *x, double by) {
    return by == 1 ? x : pass_rev_2(t, IR_OP_MUL, x, pass_rev_const(t, x, by));
}

IrValue *pass_rev_shift(PassGrad *t, IrValue *x, double by) {
    return by == 0 ? x : pass_rev_2(t, IR_OP_ADD, x, pass_rev_const(t, x, by));
}

IrValue *pass_rev_hits(PassGrad *t, IrValue *x, IrValue *y) {
    IrValue *in[] = {pass_rev_2(t, IR_OP_EQUAL, x, y), pass_rev_const(t, x, 1),
                     pass_rev_const(t, x, 0)};
    return pass_rev_op(t, IR_OP_WHERE, 3, in, 0, NULL);
}

IrValue *pass_rev_reshape(PassGrad *t, IrValue *x, const IrShape *s) {
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, s);
    return ir_shape_eq(&x->type.shape, s) ? x : pass_rev_op(t, IR_OP_RESHAPE, 1, &x, 1, &shape);
}

IrValue *pass_rev_expand(PassGrad *t, IrValue *x, const IrShape *s) {
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, s);
    return ir_shape_eq(&x->type.shape, s) ? x : pass_rev_op(t, IR_OP_EXPAND, 1, &x, 1, &shape);
}

static IrValue *sum_once(PassGrad *t, IrValue *x, int n_axes, const int64_t *axes) {
    IrAttr attrs[] = {ir_attr_ints(t->ctx->prog->arena, IR_ATTR_AXES, n_axes, axes),
                      ir_attr_i(IR_ATTR_KEEPDIMS, 0)};
    return n_axes ? pass_rev_op(t, IR_OP_REDUCE_SUM, 1, &x, 2, attrs) : x;
}

// A sum per channel goes plane by plane first, as a global pool does: in the blocked layout.
IrValue *pass_rev_sum(PassGrad *t, IrValue *x, int n_axes, const int64_t *axes) {
    if (x->type.shape.rank == 4 && n_axes == 3 && axes[0] == 0 && axes[1] == 2) {
        return sum_once(t, sum_once(t, x, 2, (int64_t[]){2, 3}), 1, (int64_t[]){0});
    }
    return sum_once(t, x, n_axes, axes);
}

IrValue *pass_rev_sum_to(PassGrad *t, IrValue *x, const IrShape *s) {
    int64_t axes[IR_MAX_RANK];
    int n = 0, lead = x->type.shape.rank - s->rank;
    for (int i = 0; i < x->type.shape.rank; i++) {
        bool broadcast = i < lead || !ir_dim_eq(s->dim[i - lead], x->type.shape.dim[i]);
        if (broadcast) {
            axes[n++] = i;
        }
    }
    return pass_rev_reshape(t, pass_rev_sum(t, x, n, axes), s);
}

bool pass_rev_tracks(const PassGrad *t, const IrValue *v) {
    return v && v->id < t->n_ids && t->need[v->id];
}

bool pass_rev_wants(PassGrad *t, const IrNode *n, int i) {
    return pass_rev_tracks(t, ir_in(n, i));
}

void pass_rev_add(PassGrad *t, const IrValue *v, IrValue *part) {
    PassGradParts *p = &t->parts[v->id];
    IR_PUSH(t->ctx->scratch, p->v, p->n, p->cap, part);
}

void pass_rev_give(PassGrad *t, const IrNode *n, int i, IrValue *dx) {
    IrValue *x = ir_in(n, i);
    if (!pass_rev_tracks(t, x)) {
        return;
    }
    dx = pass_rev_sum_to(t, dx, &x->type.shape);
    if (dx->type.dtype != x->type.dtype) {
        ir_bug("autodiff", n->name, "the gradient of operand %d of %s has another type", i,
               ir_op_info(n->op)->text);
    }
    pass_rev_add(t, x, dx);
}

// ---------------------------------------------------------------- sums

// The axis of which v's parts are the slices, each once, in *order; -1: they are not.
static int find_split_axis(const PassGradParts *p, IrValue **order) {
    int axis = -1;
    int64_t at = 0;
    for (int done = 0; done < p->n; done++) {
        int found = -1;
        for (int k = 0; k < p->n && found < 0; k++) {
            const IrNode *n = p->v[k]->def;
            if (!n || n->op != IR_OP_SLICE_GRAD) {
                return -1;
            }
            const IrShape *whole = &n->out[0]->type.shape, *part = &ir_in(n, 0)->type.shape;
            for (int i = 0; i < whole->rank; i++) {
                bool cut = !ir_dim_eq(whole->dim[i], part->dim[i]);
                if (ir_ints(n, IR_ATTR_STEP).v[i] != 1 || (cut && axis >= 0 && axis != i)) {
                    return -1;
                }
                axis = cut ? i : axis;
            }
            if (axis >= 0 && ir_ints(n, IR_ATTR_START).v[axis] == at && part->dim[axis].n == 0 &&
                part->dim[axis].c > 0) {
                found = k;
                order[done] = ir_in(n, 0);
                at += part->dim[axis].c;
            }
        }
        if (found < 0) {
            return -1;
        }
    }
    return axis >= 0 && ir_dim_is(p->v[0]->type.shape.dim[axis], at) ? axis : -1;
}

IrValue *pass_rev_sum_parts(PassGrad *t, const IrValue *v) {
    PassGradParts *p = &t->parts[v->id];
    if (p->n > 1) {
        IrValue **order = ir_alloc_array(t->ctx->scratch, (size_t)p->n, sizeof *order);
        int axis = find_split_axis(p, order);
        if (axis >= 0) {
            IrAttr attr = ir_attr_i(IR_ATTR_AXIS, axis);
            p->v[0] = pass_rev_op(t, IR_OP_CONCAT, p->n, order, 1, &attr);
        } else {
            for (int k = 1; k < p->n; k++) {
                p->v[0] = pass_rev_2(t, IR_OP_ADD, p->v[0], p->v[k]);
            }
        }
        p->n = 1;
    }
    return p->n ? p->v[0] : NULL;
}

IrValue *pass_rev_of(PassGrad *t, const IrNode *n, int k) {
    return pass_rev_sum_parts(t, n->out[k]);
}
