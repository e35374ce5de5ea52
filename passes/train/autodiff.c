// autodiff: the gradient of some values with respect to others, as ordinary IR.
//
//   %y = relu %x                        %y = relu %x
//   %z = mul %y, %w                     %z = mul %y, %w
//                                ->     %dw = mul %dz, %y
//                                       %dy = mul %dz, %w
//                                       %dx = relu_grad %y, %dy
//
// Reverse mode: nodes are walked from the last to the first; each that lies between a wanted value
// and a seed hands the gradients of its results to the rule of its op (passes/grad_*.c), which
// emits what its operands get. What several readers of a value hand back is summed when its node is
// reached; so nothing is computed for what is frozen, nor twice. New nodes go to the graph's end.
//
// Alone (`hone opt --passes autodiff`) it differentiates output 0, from the input "seed" or else
// ones, by every input called "param:NAME", and adds the outputs "grad:NAME".

#include "passes/train/grad.h"
#include <string.h>

typedef struct Parts { // of a value's gradient: what is to be summed
    int n, cap;
    IrValue **v;
} Parts;

struct PassGrad {
    PassContext *ctx;
    IrGraph *g;
    IrBuilder b;
    uint32_t n_ids; // values with a larger id are gradients themselves
    bool *need;     // by id: depends on something in spec->wrt, by way of floats
    bool *live;     // by id: a seed depends on it
    Parts *parts;   // by id
    bool failed;
};

static PassGradFn *const rule_of[IR_OP_COUNT] = {
#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    [IR_OP_##E] = pass_grad_##grad,
#include "ir/ops.def"
#undef IR_OP
};

// ---------------------------------------------------------------- for the rules

void pass_rev_nyi(PassGrad *t, const IrNode *n, const char *what) {
    t->failed = true;
    ir_error(t->ctx->prog->diag, (IrWhere){n->name, n->src_op}, "NYI: gradient of %s%s%s",
             ir_op_info(n->op)->text, *what ? " " : "", what);
}

void pass_grad_none(PassGrad *t, IrNode *n) {
    pass_rev_nyi(t, n, "");
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

static bool is_tracked(const PassGrad *t, const IrValue *v) {
    return v && v->id < t->n_ids && t->need[v->id];
}

bool pass_rev_wants(PassGrad *t, const IrNode *n, int i) {
    return is_tracked(t, ir_in(n, i));
}

static void add_part(PassGrad *t, const IrValue *v, IrValue *part) {
    Parts *p = &t->parts[v->id];
    IR_PUSH(t->ctx->scratch, p->v, p->n, p->cap, part);
}

void pass_rev_give(PassGrad *t, const IrNode *n, int i, IrValue *dx) {
    IrValue *x = ir_in(n, i);
    if (!is_tracked(t, x)) {
        return;
    }
    dx = pass_rev_sum_to(t, dx, &x->type.shape);
    if (dx->type.dtype != x->type.dtype) {
        ir_bug("autodiff", n->name, "the gradient of operand %d of %s has another type", i,
               ir_op_info(n->op)->text);
    }
    add_part(t, x, dx);
}

// ---------------------------------------------------------------- sums

// The axis of which v's parts are the slices, each once, in *order; -1: they are not.
static int find_split_axis(const Parts *p, IrValue **order) {
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

// The value's gradient, NULL when there is none. A split's parts are joined instead of summed.
static IrValue *sum_parts(PassGrad *t, const IrValue *v) {
    Parts *p = &t->parts[v->id];
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
    return sum_parts(t, n->out[k]);
}

// ---------------------------------------------------------------- the walk

static void mark_needed(PassGrad *t, const AutodiffSpec *spec) {
    for (int i = 0; i < spec->n_wrt; i++) {
        t->need[spec->wrt[i]->id] = true;
    }
    for (const IrNode *n = t->g->first; n; n = n->next) {
        bool any = false;
        for (int i = 0; i < n->n_in; i++) {
            any = any || is_tracked(t, ir_in(n, i));
        }
        for (int i = 0; i < n->n_out; i++) {
            bool *need = &t->need[n->out[i]->id];
            *need = *need || (any && ir_dtype_is_float(n->out[i]->type.dtype));
        }
    }
}

static void mark_live(PassGrad *t, const AutodiffSpec *spec) {
    for (int i = 0; i < spec->n_seeds; i++) {
        t->live[spec->seed[i].value->id] = true;
    }
    for (const IrNode *n = t->g->last; n; n = n->prev) {
        bool any = false;
        for (int i = 0; i < n->n_out; i++) {
            any = any || t->live[n->out[i]->id];
        }
        for (int i = 0; any && i < n->n_in; i++) {
            if (ir_in(n, i)) {
                t->live[ir_in(n, i)->id] = true;
            }
        }
    }
}

// n lies between a seed and something wanted.
static bool is_between(PassGrad *t, const IrNode *n) {
    bool leads_on = false, wanted = false;
    for (int i = 0; i < n->n_out; i++) {
        leads_on = leads_on || (t->live[n->out[i]->id] && t->need[n->out[i]->id]);
    }
    for (int i = 0; i < n->n_in; i++) {
        wanted = wanted || pass_rev_wants(t, n, i);
    }
    return leads_on && wanted;
}

// Reports all nodes without a rule at once.
static void check_rules(PassGrad *t) {
    for (IrNode *n = t->g->first; n; n = n->next) {
        if (!is_between(t, n)) {
            continue;
        }
        if (rule_of[n->op] == pass_grad_none) {
            pass_rev_nyi(t, n, "");
        } else if (ir_attr(n, IR_ATTR_THEN) || ir_attr(n, IR_ATTR_PRE)) {
            pass_rev_nyi(t, n, "with an epilogue or prologue");
        }
    }
}

// What comes next belongs to the node of that name.
static void start_at(PassGrad *t, const char *name, const char *src_op) {
    t->b.name = *name ? ir_sprintf(t->ctx->prog->arena, "%s.grad", name) : "";
    t->b.src_op = src_op;
}

static void walk_back(PassGrad *t, IrNode *last) {
    for (IrNode *n = last; n && !t->failed; n = n->prev) {
        bool any = false;
        if (!is_between(t, n)) {
            continue;
        }
        start_at(t, n->name, n->src_op);
        for (int i = 0; i < n->n_out; i++) {
            any = sum_parts(t, n->out[i]) != NULL || any;
        }
        if (any) {
            rule_of[n->op](t, n);
        }
    }
}

static void plant_seeds(PassGrad *t, const AutodiffSpec *spec) {
    for (int i = 0; i < spec->n_seeds; i++) {
        IrValue *v = spec->seed[i].value, *dv = spec->seed[i].grad;
        if (dv && !ir_type_eq(&dv->type, &v->type)) {
            ir_bug("autodiff", v->name, "a seed's gradient has another type than the seed");
        }
        if (t->need[v->id]) {
            start_at(t, v->def ? v->def->name : v->name, NULL);
            dv = dv ? dv : pass_rev_expand(t, pass_rev_const(t, v, 1), &v->type.shape);
            add_part(t, v, dv);
        }
    }
}

static void drop_nodes_after(IrGraph *g, const IrNode *last) {
    while (g->last != last) {
        ir_remove_node(g->last);
    }
}

bool pass_autodiff(PassContext *ctx, IrGraph *g, const AutodiffSpec *spec, IrValue **grad) {
    PassGrad t = {.ctx = ctx, .g = g, .b = {.graph = g, .name = ""}, .n_ids = g->next_id};
    IrNode *last = g->last;
    t.need = ir_alloc_array(ctx->scratch, t.n_ids, sizeof *t.need);
    t.live = ir_alloc_array(ctx->scratch, t.n_ids, sizeof *t.live);
    t.parts = ir_alloc_array(ctx->scratch, t.n_ids, sizeof *t.parts);
    mark_needed(&t, spec);
    mark_live(&t, spec);
    check_rules(&t);
    if (!t.failed) {
        plant_seeds(&t, spec);
        walk_back(&t, last);
    }
    for (int i = 0; i < spec->n_wrt && !t.failed; i++) {
        IrValue *v = spec->wrt[i];
        start_at(&t, v->def ? v->def->name : v->name, NULL);
        grad[i] = sum_parts(&t, v);
        grad[i] = grad[i] ? grad[i] : pass_rev_expand(&t, pass_rev_const(&t, v, 0), &v->type.shape);
    }
    if (t.failed) {
        drop_nodes_after(g, last);
    }
    return !t.failed;
}

// ---------------------------------------------------------------- as a pass

static IrValue *find_input(const IrGraph *g, const char *name) {
    for (int i = 0; i < g->n_inputs; i++) {
        if (strcmp(g->inputs[i]->name, name) == 0) {
            return g->inputs[i];
        }
    }
    return NULL;
}

PassResult pass_autodiff_params(PassContext *ctx, IrGraph *g) {
    IrArena *a = ctx->prog->arena;
    AutodiffSeed seed = {g->outputs[0], find_input(g, "seed")};
    IrValue **wrt = ir_alloc_array(ctx->scratch, (size_t)g->n_inputs + 1, sizeof *wrt);
    IrValue **grad = ir_alloc_array(ctx->scratch, (size_t)g->n_inputs + 1, sizeof *grad);
    AutodiffSpec spec = {.n_seeds = 1, .seed = &seed, .wrt = wrt};
    for (int i = 0; i < g->n_inputs; i++) {
        if (strncmp(g->inputs[i]->name, "param:", 6) == 0 &&
            ir_dtype_is_float(g->inputs[i]->type.dtype)) {
            wrt[spec.n_wrt++] = g->inputs[i];
        }
    }
    if (!ir_dtype_is_float(seed.value->type.dtype) ||
        (seed.grad && !ir_type_eq(&seed.grad->type, &seed.value->type))) {
        ir_error(ctx->prog->diag, IR_NOWHERE,
                 "output 0 must be of floating point, and input 'seed' of its type");
        return (PassResult){0};
    }
    if (!pass_autodiff(ctx, g, &spec, grad)) {
        return (PassResult){0};
    }
    for (int i = 0; i < spec.n_wrt; i++) {
        ir_output(g, grad[i]);
        g->outputs[g->n_outputs - 1]->name = ir_sprintf(a, "grad:%s", wrt[i]->name + 6);
    }
    return (PassResult){spec.n_wrt};
}
