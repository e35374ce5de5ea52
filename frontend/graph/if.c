// If. Where its condition is known, the branch that it takes stands in its place: exporters write
// such nodes around Squeeze and the like, with conditions that only look at shapes. Where it is
// not, both branches stand there, and the condition picks of what they make: they have no effects,
// and what one finds wrong counts only if it is taken.
//
//   y = If(c) {a} {b}  ->  y = where(c, a, b), and so its size where a and b have several
#include "frontend/graph/graph.h"

#include <string.h>

static bool enter_branch(FeNode *n, const char *name, IrValue *guard) {
    const Onnx__AttributeProto *branch = fe_attr(n, name);
    if (n->refused) {
        return false;
    }
    if (!branch || !branch->g) {
        fe_refuse(n, "it has no %s", name);
        return false;
    }
    if (branch->g->n_sparse_initializer || branch->g->n_input ||
        branch->g->n_output != (size_t)n->n_out) {
        fe_refuse(n, "its %s must have no inputs and %d outputs", name, n->n_out);
        return false;
    }
    FeScope *s = ir_alloc(n->fe->arena, sizeof *s), *outer = n->fe->scope;
    *s = (FeScope){.outer = outer,
                   .pb = branch->g,
                   .opset = outer->opset,
                   .guard = guard,
                   .n_attrs = outer->n_attrs,
                   .attrs = outer->attrs};
    return fe_enter_scope(n, s);
}

// ---------------------------------------------------------------- both branches

typedef struct Choice { // of an If whose condition data decides
    IrValue *cond;      // bool[]
    FeValue **made;     // by the branch that is taken where it holds
} Choice;

// x with zeros behind, so that it has `size` positions along the axis.
static IrValue *grow(FeNode *n, IrValue *x, int axis, int64_t size) {
    IrShape s = x->type.shape;
    int64_t pads[2 * IR_MAX_RANK] = {0};
    if (n->refused || s.dim[axis].c == size) {
        return x;
    }
    pads[s.rank + axis] = size - s.dim[axis].c;
    if (s.dim[axis].c == 0) {
        s.dim[axis] = ir_dim(size);
        return fe_build(n, IR_OP_EXPAND, FE_IN(fe_const(n, x, 0)),
                        FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &s)));
    }
    return fe_build(n, IR_OP_PAD, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 2 * s.rank, pads),
                            ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
}

static IrValue *pick(FeNode *n, IrValue *cond, IrValue *a, IrValue *b) {
    return n->refused || a == b ? a : fe_build(n, IR_OP_WHERE, FE_IN(cond, a, b), 0, NULL);
}

// The axis along which inputs 0 and 1 differ in size, or count; -1: none, -2: several.
static int find_differing_axis(FeNode *n, const IrShape *a, const IrShape *b) {
    int found = -1;
    for (int i = 0; i < a->rank; i++) {
        bool counts = false;
        for (int k = 0; k < 2; k++) {
            counts = counts || (fe_count(n, k).v && fe_count(n, k).axis == i);
        }
        if (counts || !ir_dim_eq(a->dim[i], b->dim[i])) {
            found = found == -1 && !a->dim[i].n && !b->dim[i].n ? i : -2;
        }
    }
    return found;
}

// Output i of n, which has both values as inputs.
static void join_values(FeNode *n, int i, IrValue *cond) {
    IrValue *a = fe_operand(n, 0), *b = fe_operand(n, 1);
    FeCount ca = fe_count(n, 0), cb = fe_count(n, 1), to = {0};
    if (n->refused) {
        return;
    }
    const IrShape *sa = &a->type.shape, *sb = &b->type.shape;
    int axis = sa->rank == sb->rank ? find_differing_axis(n, sa, sb) : -2;
    if (a->type.dtype != b->type.dtype || axis == -2) {
        char x[160], y[160];
        fe_refuse(n, "NYI: one branch makes %s, the other %s, and data decides which is taken",
                  ir_type_print(&a->type, x, sizeof x), ir_type_print(&b->type, y, sizeof y));
        return;
    }
    if (axis >= 0) {
        int64_t da = sa->dim[axis].c, db = sb->dim[axis].c, size = da > db ? da : db;
        a = grow(n, a, axis, size);
        b = grow(n, b, axis, size);
        to.v = pick(n, cond, ca.v ? ca.v : fe_i64(n, da), cb.v ? cb.v : fe_i64(n, db));
        to.axis = axis;
    }
    IrValue *y = pick(n, cond, a, b);
    fe_out(n, i, n->refused || y->def ? y : fe_un(n, IR_OP_COPY, y));
    fe_out_count(n, i, to);
}

static void join_branches(FeNode *n, FeValue **other) {
    Choice *c = n->state;
    for (int i = 0; i < n->n_out && !n->refused; i++) {
        FeValue *in[] = {c->made[i], other[i]};
        for (int k = 0; k < 2; k++) {
            while (in[k] && in[k]->alias) {
                in[k] = in[k]->alias;
            }
        }
        FeNode joined = *n;
        joined.in = in;
        joined.n_in = 2;
        bool made = in[0] && in[1] && n->out[i],
             poisoned = made && (in[0]->poisoned || in[1]->poisoned);
        if (made && !poisoned) {
            join_values(&joined, i, c->cond);
        }
        n->refused = joined.refused || poisoned; // which is reported
    }
}

static void import_other(FeNode *n, FeValue **made) {
    Choice *c = n->state;
    c->made = made;
    n->then = join_branches;
    enter_branch(n, "else_branch", fe_un(n, IR_OP_NOT, c->cond));
}

static void choose_at_run_time(FeNode *n) {
    IrDim elems = ir_dim(0);
    IrValue *cond = fe_operand(n, 0);
    if (n->fe->opt->to_train) {
        fe_refuse(n, "NYI: training a network whose condition '%s' data decides", n->in[0]->name);
    } else if (!n->refused &&
               (cond->type.dtype != IR_BOOL || fe_count(n, 0).v ||
                !ir_shape_elems(&cond->type.shape, &elems) || !ir_dim_is(elems, 1))) {
        fe_refuse(n, "its condition is not one bool");
    }
    Choice *c = ir_alloc(n->fe->arena, sizeof *c);
    *c = (Choice){fe_reshape(n, cond, &(IrShape){0}), NULL};
    n->state = c;
    n->then = import_other;
    enter_branch(n, "then_branch", c->cond);
}

// If-16
void fe_import_if(FeNode *n) {
    const IrTensor *cond = fe_tensor(n, 0);
    if (!n->refused && !cond && fe_at_run_time(n, 0)) {
        choose_at_run_time(n);
        return;
    }
    if (!cond && !n->refused && fe_has(n, 0)) {
        fe_refuse(n, "its condition '%s' must be known at compile time", n->in[0]->name);
    }
    if (!n->refused && (!cond || cond->dtype != IR_BOOL || ir_tensor_elems(cond) != 1)) {
        fe_refuse(n, "its condition is not one bool");
    }
    if (!n->refused) {
        enter_branch(n, ir_tensor_get(cond, 0) != 0 ? "then_branch" : "else_branch", NULL);
    }
}
