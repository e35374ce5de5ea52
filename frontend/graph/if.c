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
    return fe_enter_subgraph(n, branch->g, guard);
}

// ---------------------------------------------------------------- both branches

typedef struct Choice { // of an If whose condition data decides
    IrValue *cond;      // bool[]
    FeValue **made;     // by the branch that is taken where it holds
} Choice;

static void join_branches(FeNode *n, FeValue **other) {
    Choice *c = n->state;
    for (int i = 0; i < n->n_out && !n->refused; i++) {
        if (n->out[i]) {
            n->out[i]->alias = fe_choose(n, c->cond, c->made[i], other[i]);
        }
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
