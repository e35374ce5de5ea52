// The reference evaluator's driver: runs a graph node by node on concrete tensors.
//
// Results are allocated one by one and freed after their last use, so that a large network needs
// what is live and no more; graph outputs go to the caller's arena. Before an op's function runs,
// its operands are checked against the types of the node's values, so that no evaluator has to.
// Layouts, views and memory plans do not matter here: every tensor is plain.
#include "ir/eval.h"
#include <string.h>

static IrEvalFn *const eval_fn[IR_OP_COUNT] = {
#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    [IR_OP_##E] = ir_eval_##eval,
#include "ir/ops.def"
#undef IR_OP
};

// ---------------------------------------------------------------- one node

const char *ir_eval_none(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)in, (void)out;
    return ir_sprintf(e->arena, "NYI: evaluator of %s", ir_op_info(n->op)->text);
}

static const char *check_tensor(IrArena *a, const char *what, int index, const IrTensor *t,
                                const IrType *type, int64_t N) {
    IrTensor want;
    char text[160];
    if (ir_tensor_shape(&want, type, N) && t->dtype == want.dtype &&
        ir_tensor_same_shape(t, &want)) {
        return NULL;
    }
    return ir_sprintf(a, "%s %d is no %s at batch size %lld", what, index,
                      ir_type_print(type, text, sizeof text), (long long)N);
}

static const char *check_operands(IrArena *a, const IrNode *n, int64_t N,
                                  const IrTensor *const *in) {
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = n->in[i].value;
        if (!v != !in[i]) {
            return ir_sprintf(a, "operand %d is %s", i, v ? "missing" : "given but unused");
        }
        const char *why = v ? check_tensor(a, "operand", i, in[i], &v->type, N) : NULL;
        if (why) {
            return why;
        }
    }
    return NULL;
}

static const char *shape_results(IrArena *a, const IrNode *n, int64_t N, IrTensor *out) {
    char text[160];
    for (int i = 0; i < n->n_out; i++) {
        if (!ir_tensor_shape(&out[i], &n->out[i]->type, N)) {
            return ir_sprintf(a, "no result of type %s at batch size %lld",
                              ir_type_print(&n->out[i]->type, text, sizeof text), (long long)N);
        }
    }
    return NULL;
}

// Nothing is computed where there is nothing to store, however large the dimensions besides 0 are.
static bool is_empty(const IrTensor *t, int n) {
    for (int i = 0; i < n; i++) {
        if (ir_tensor_elems(&t[i]) > 0) {
            return false;
        }
    }
    return n > 0;
}

const char *ir_eval_node(const IrNode *n, int64_t N, const IrTensor *const *in, IrTensor *out,
                         IrArena *a) {
    IrEval *e = ir_eval_new(a);
    IrDiag *diag = ir_arena_diag(a);
    IrWhere at = diag->at;
    const char *why = check_operands(a, n, N, in);
    why = why ? why : shape_results(a, n, N, out);
    if (why) {
        return why;
    }
    diag->at = (IrWhere){n->name, n->src_op};
    for (int i = 0; i < n->n_out; i++) {
        out[i].data = ir_alloc(a, ir_tensor_bytes(&out[i]));
    }
    why = is_empty(out, n->n_out) ? NULL : eval_fn[n->op](e, n, in, out);
    ir_eval_release(e);
    diag->at = at;
    return why;
}

// ---------------------------------------------------------------- a graph

typedef struct Slot { // of a value
    IrTensor t;
    int64_t uses; // left
    bool ready;   // computed and not freed
    bool owned;   // t.data is a block of e->values
} Slot;

typedef struct Run {
    IrEval *e;
    IrGraph *g;
    int64_t N;
    Slot *slot;          // [g->next_id], by value id
    const IrTensor **in; // operands of the node at hand
    IrTensor *out;       // its results
} Run;

static Run start_run(IrGraph *g, int64_t N, IrArena *a) {
    Run r = {.e = ir_eval_new(a), .g = g, .N = N};
    int most_in = 1, most_out = 1;
    r.slot = ir_alloc_array(a, (size_t)g->next_id + 1, sizeof *r.slot);
    for (const IrNode *n = g->first; n; n = n->next) {
        most_in = n->n_in > most_in ? n->n_in : most_in;
        most_out = n->n_out > most_out ? n->n_out : most_out;
        for (int i = 0; i < n->n_in; i++) {
            if (n->in[i].value) {
                r.slot[n->in[i].value->id].uses++;
            }
        }
    }
    r.in = ir_alloc_array(a, (size_t)most_in, sizeof *r.in);
    r.out = ir_alloc_array(a, (size_t)most_out, sizeof *r.out);
    return r;
}

static const char *bind_inputs(Run *r, const IrTensor *inputs) {
    for (int i = 0; i < r->g->n_inputs; i++) {
        const IrValue *v = r->g->inputs[i];
        const char *why = check_tensor(r->e->arena, "input", i, &inputs[i], &v->type, r->N);
        if (why) {
            return why;
        }
        r->slot[v->id] = (Slot){inputs[i], r->slot[v->id].uses, true, false};
    }
    return NULL;
}

// The value's tensor, a constant's made on first use. NULL: nothing has computed it.
static const IrTensor *find_tensor(Run *r, const IrValue *v) {
    Slot *s = &r->slot[v->id];
    if (v->konst && !s->ready) {
        s->ready = ir_tensor_shape(&s->t, &v->konst->type, r->N);
        s->t.data = (void *)ir_const_data(r->g->prog, v->konst);
    }
    return s->ready ? &s->t : NULL;
}

static void drop_unused(Slot *s) {
    if (s->owned && s->uses == 0) {
        ir_eval_drop(s->t.data);
        s->owned = s->ready = false;
    }
}

static const char *run_node(Run *r, const IrNode *n) {
    IrEval *e = r->e;
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = n->in[i].value;
        r->in[i] = v ? find_tensor(r, v) : NULL;
        if (v && !r->in[i]) {
            return ir_sprintf(e->arena, "operand %d is not computed before it is used", i);
        }
    }
    const char *why = check_operands(e->arena, n, r->N, r->in);
    why = why ? why : shape_results(e->arena, n, r->N, r->out);
    if (why) {
        return why;
    }
    ir_arena_diag(e->arena)->at = (IrWhere){n->name, n->src_op};
    for (int i = 0; i < n->n_out; i++) {
        Slot *s = &r->slot[n->out[i]->id];
        size_t bytes = ir_tensor_bytes(&r->out[i]);
        s->owned = !n->out[i]->is_output;
        r->out[i].data = s->owned ? ir_eval_take(e, &e->values, bytes) : ir_alloc(e->arena, bytes);
        s->t = r->out[i];
        s->ready = true;
    }
    why = is_empty(r->out, n->n_out) ? NULL : eval_fn[n->op](e, n, r->in, r->out);
    ir_eval_drop_all(&e->scratch);
    return why;
}

static void drop_operands(Run *r, const IrNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i].value) {
            Slot *s = &r->slot[n->in[i].value->id];
            s->uses--;
            drop_unused(s);
        }
    }
}

// Inputs and constants that are outputs are copied: outputs belong to the caller's arena.
static const char *collect_outputs(Run *r, IrTensor *outputs) {
    for (int i = 0; i < r->g->n_outputs; i++) {
        const IrValue *v = r->g->outputs[i];
        const IrTensor *t = find_tensor(r, v);
        if (!t) {
            return ir_sprintf(r->e->arena, "output %d is never computed", i);
        }
        size_t bytes = ir_tensor_bytes(t);
        outputs[i] = *t;
        if (!v->def) {
            outputs[i].data = ir_alloc(r->e->arena, bytes);
            if (bytes > 0) {
                memcpy(outputs[i].data, t->data, bytes);
            }
        }
    }
    return NULL;
}

const char *ir_eval(IrGraph *g, int64_t N, const IrTensor *inputs, IrTensor *outputs, IrArena *a,
                    void (*on_value)(void *ctx, const IrValue *v, const IrTensor *t), void *ctx) {
    Run r = start_run(g, N, a);
    const char *why = bind_inputs(&r, inputs);
    for (const IrNode *n = g->first; n && !why; n = n->next) {
        why = run_node(&r, n);
        if (why) {
            why = ir_sprintf(a, "node '%s' (%s): %s", n->name, ir_op_info(n->op)->text, why);
            break;
        }
        for (int i = 0; i < n->n_out; i++) {
            if (on_value) {
                on_value(ctx, n->out[i], &r.out[i]);
            }
            drop_unused(&r.slot[n->out[i]->id]);
        }
        drop_operands(&r, n);
    }
    why = why ? why : collect_outputs(&r, outputs);
    ir_arena_diag(a)->at = IR_NOWHERE;
    ir_eval_release(r.e);
    return why;
}
