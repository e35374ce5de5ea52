// autodiff: the gradient of some values with respect to others, as ordinary IR.
//
//   %y = relu %x                        %y = relu %x
//   %z = mul %y, %w                     %z = mul %y, %w
//                                ->     %dw = mul %dz, %y
//                                       %dy = mul %dz, %w
//                                       %dx = relu_grad %y, %dy
//
// Reverse mode: nodes are walked from the last to the first; each that lies between a wanted value
// and a seed hands the gradients of its results to the rule of its op (grad_*.c), which
// emits what its operands get. What several readers of a value hand back is summed when its node is
// reached; so nothing is computed for what is frozen, nor twice. New nodes go to the graph's end.
//
// Alone (`hone opt --passes autodiff`) it differentiates output 0, from the input "seed" or else
// ones, by every input called "param:NAME", and adds the outputs "grad:NAME".
#include "passes/train/autodiff.h"
#include "passes/train/grad.h"
#include "passes/train/names.h"
#include <string.h>

static PassGradFn *const rule_of[IR_OP_COUNT] = {
#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    [IR_OP_##E] = pass_grad_##grad,
#include "ir/ops.def"
#undef IR_OP
};

void pass_grad_none(PassGrad *t, IrNode *n) {
    pass_rev_nyi(t, n, "");
}

// ---------------------------------------------------------------- the walk

static void mark_needed(PassGrad *t, const AutodiffSpec *spec) {
    for (int i = 0; i < spec->n_wrt; i++) {
        t->need[spec->wrt[i]->id] = true;
    }
    for (const IrNode *n = t->g->first; n; n = n->next) {
        bool any = false;
        for (int i = 0; i < n->n_in; i++) {
            any = any || pass_rev_tracks(t, ir_in(n, i));
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
            any = pass_rev_sum_parts(t, n->out[i]) != NULL || any;
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
            pass_rev_add(t, v, dv);
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
        grad[i] = pass_rev_sum_parts(&t, v);
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
        if (pass_bind_match(pass_bind_input(IR_BIND_PARAM), g->inputs[i]->name) &&
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
        const char *which = pass_bind_match(pass_bind_input(IR_BIND_PARAM), wrt[i]->name);
        ir_output(g, grad[i]);
        g->outputs[g->n_outputs - 1]->name =
            ir_sprintf(a, "%s%s", pass_bind_output(IR_BIND_GRAD), which);
    }
    return (PassResult){spec.n_wrt};
}
