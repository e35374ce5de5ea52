// How importers see tensors: inputs as operands, constants, integers or dims, outputs the same
// way. Constant subgraphs of integers are folded here with the reference
// evaluator, because shapes must be known while the graph is built.
#include "frontend/import.h"

#include <string.h>

// ---------------------------------------------------------------- inputs

bool fe_has(const FeNode *n, int i) {
    return i < n->n_in && n->in[i];
}

static FeValue *get_input(FeNode *n, int i) {
    if (!fe_has(n, i)) {
        fe_refuse(n, "input %d is missing", i);
        return NULL;
    }
    return n->in[i];
}

static FeValue *get_tensor(FeNode *n, int i) {
    FeValue *v = get_input(n, i);
    if (v && v->sequence) {
        fe_refuse(n, "'%s' is a sequence", v->name);
    }
    return n->refused ? NULL : v;
}

static IrType type_of_tensor(const IrTensor *t) {
    return (IrType){t->dtype, ir_shape_of(t->rank, t->dim), 0};
}

static IrTensor *tensor_of_const(FeContext *fe, IrConst *c) {
    IrTensor *t = ir_alloc(fe->arena, sizeof *t);
    *t = (IrTensor){.dtype = c->type.dtype, .rank = c->type.shape.rank};
    for (int i = 0; i < t->rank; i++) {
        t->dim[i] = c->type.shape.dim[i].c;
    }
    t->data = (void *)ir_const_data(fe->prog, c);
    return t;
}

static bool is_small(const IrType *t) {
    IrDim elems;
    return ir_shape_elems(&t->shape, &elems) && elems.n == 0 && elems.c <= FE_MAX_SMALL;
}

// Constants that are dequantized stay so in the graph; who asks for their content gets it computed.
static const IrTensor *read_dequantized(FeNode *n, const IrNode *q) {
    FeContext *fe = n->fe;
    const IrTensor *in[3] = {NULL};
    IrDim elems;
    for (int i = 0; i < q->n_in; i++) {
        IrValue *v = ir_in(q, i);
        if (v && !v->konst) {
            return NULL;
        }
        in[i] = v ? tensor_of_const(fe, v->konst) : NULL;
    }
    ir_shape_elems(&q->out[0]->type.shape, &elems);
    IrTensor *out = ir_alloc(fe->arena, sizeof *out);
    bool fine = fe_charge(n, elems.c * (int64_t)sizeof(float)) && fe_spend(n, ir_eval_work(q)) &&
                !ir_eval_node(q, 1, in, out, fe->arena);
    return fine ? out : NULL;
}

static const IrTensor *read_tensor(FeNode *n, FeValue *v) {
    FeContext *fe = n->fe;
    if (!v->tensor && v->v && v->v->def && v->v->def->op == IR_OP_DEQUANTIZE) {
        v->tensor = read_dequantized(n, v->v->def);
    }
    if (!v->tensor && !v->init && v->v && v->v->konst && is_small(&v->v->type)) {
        v->tensor = tensor_of_const(fe, v->v->konst);
    }
    if (!v->tensor && v->init) {
        IrTensor *t = ir_alloc(fe->arena, sizeof *t);
        const char *why = fe_read_tensor(fe->arena, fe->external, v->init, fe->doubles, t);
        if (why) {
            fe_refuse(n, "initializer '%s': %s", v->name, why);
            return NULL;
        }
        v->tensor = t;
    }
    return v->tensor;
}

const IrTensor *fe_tensor(FeNode *n, int i) {
    return fe_has(n, i) ? read_tensor(n, n->in[i]) : NULL;
}

// The scope that names the value: one that the walk is in, or NULL.
static const FeScope *scope_of(const FeContext *fe, const FeValue *v) {
    const FeScope *s = fe->scope;
    while (s && !(v >= s->values && v < s->values + s->n_values)) {
        s = s->caller;
    }
    return s;
}

// The name of the tensor in the file, seen from the model's graph; NULL: what stores it is no
// initializer of the model and, unless it is to train, no constant, or not known any more.
static const char *name_in_file(FeContext *fe, const FeValue *v) {
    const FeScope *s = scope_of(fe, v);
    for (const FeScope *in = s; in; in = in->caller) {
        if (in->repeated) {
            return NULL;
        }
    }
    return s && (v->stored || (v->init && !s->caller)) ? fe_name_in(fe, s, v->name) : NULL;
}

IrValue *fe_operand(FeNode *n, int i) {
    FeValue *v = get_tensor(n, i);
    FeContext *fe = n->fe;
    if (!v || v->v) {
        return v ? v->v : NULL;
    }
    const IrTensor *t = read_tensor(n, v);
    if (n->refused) {
        return NULL;
    }
    if (!t) {
        fe_refuse(n, "NYI: '%s' is computed from the batch size and needed at run time", v->name);
        return NULL;
    }
    fe->prog->const_limit = fe_const_limit(fe); // reading may have mapped a file
    const char *name = name_in_file(fe, v);
    IrConst *c = ir_const_new(fe->prog, name ? name : v->name, type_of_tensor(t), t->data);
    c->origin = name;
    v->v = ir_const_value(fe->graph, c);
    return v->v;
}

IrValue *fe_operand_or_null(FeNode *n, int i) {
    return fe_has(n, i) ? fe_operand(n, i) : NULL;
}

bool fe_type(FeNode *n, int i, IrType *out) {
    FeValue *v = get_tensor(n, i);
    if (!v) {
        return false;
    }
    if (v->v) {
        *out = v->v->type;
    } else if (v->dims) {
        *out = (IrType){v->dims->dtype, {v->dims->rank, {ir_dim(v->dims->n)}}, 0};
    } else {
        const IrTensor *t = read_tensor(n, v);
        if (!t) {
            return false;
        }
        *out = type_of_tensor(t);
    }
    return true;
}

int32_t fe_elem_type(const FeValue *v) {
    return v->elem || !v->init ? v->elem : v->init->data_type;
}

bool fe_dims(FeNode *n, int i, FeDims *out) {
    FeValue *v = get_tensor(n, i);
    if (!v) {
        return false;
    }
    if (v->dims) {
        *out = *v->dims;
        return true;
    }
    const IrTensor *t = read_tensor(n, v);
    if (!t) {
        fe_refuse(n, "'%s' must be known at compile time", v->name);
        return false;
    }
    int64_t elems = ir_tensor_elems(t);
    if (t->rank > 1 || elems > FE_MAX_SMALL || ir_dtype_is_float(t->dtype)) {
        fe_refuse(n, "'%s' must be a short list of integers", v->name);
        return false;
    }
    *out = (FeDims){t->dtype, t->rank, (int)elems, NULL};
    if (!fe_charge(n, elems * (int64_t)sizeof *out->v)) {
        return false;
    }
    out->v = ir_alloc_array(n->fe->arena, (size_t)elems + 1, sizeof *out->v);
    for (int k = 0; k < out->n; k++) {
        out->v[k] = ir_dim(t->dtype == IR_I64 ? ((const int64_t *)t->data)[k]
                                              : (int64_t)ir_tensor_get(t, k));
    }
    return true;
}

IrInts fe_ints(FeNode *n, int i) {
    FeDims d;
    IrInts none = {0, NULL}, out;
    if (!fe_has(n, i) || !fe_dims(n, i, &d)) {
        return none;
    }
    out = (IrInts){d.n, ir_alloc_array(n->fe->arena, (size_t)d.n + 1, sizeof *out.v)};
    for (int k = 0; k < d.n; k++) {
        if (d.v[k].n != 0) {
            fe_refuse(n, "'%s' depends on the batch size", n->in[i]->name);
            return none;
        }
        out.v[k] = d.v[k].c;
    }
    return out;
}

double fe_scalar_in(FeNode *n, int i, double absent) {
    if (!fe_has(n, i)) {
        return absent;
    }
    const IrTensor *t = fe_tensor(n, i);
    if (!t || ir_tensor_elems(t) != 1) {
        fe_refuse(n, "'%s' must be a constant number", n->in[i]->name);
        return absent;
    }
    return ir_tensor_get(t, 0);
}

// ---------------------------------------------------------------- outputs

bool fe_used(const FeNode *n, int i) {
    return i < n->n_out && n->out[i] && n->out[i]->uses > 0;
}

// Operators compute in the type of their first float, but for those that name another; so do those
// on integers of less than 8 bits.
static int32_t elem_type_of(const FeNode *n, IrDtype dtype) {
    for (int i = 0; i < n->n_in; i++) {
        int32_t t = n->in[i] ? fe_elem_type(n->in[i]) : 0;
        IrDtype inside;
        if (ir_dtype_is_float(dtype)
                ? fe_dtype(t, false, &inside) && ir_dtype_is_float(inside)
                : fe_small_type(t) && fe_dtype(t, false, &inside) && inside == dtype) {
            return t;
        }
    }
    return 0;
}

void fe_out(FeNode *n, int i, IrValue *v) {
    if (n->refused || i >= n->n_out || !n->out[i]) {
        return;
    }
    n->out[i]->v = v;
    n->out[i]->elem = elem_type_of(n, v->type.dtype);
    if (v->def && !v->name) {
        v->name = fe_full_name(n->fe, n->out[i]->name);
    }
}

void fe_out_elem(FeNode *n, int i, int32_t elem) {
    if (!n->refused && i < n->n_out && n->out[i]) {
        n->out[i]->elem = elem;
    }
}

void fe_out_tensor(FeNode *n, int i, const IrTensor *t) {
    if (!n->refused && i < n->n_out && n->out[i]) {
        n->out[i]->tensor = t;
    }
}

const IrTensor *fe_tensor_of_ints(IrArena *a, IrDtype dtype, int rank, int n, const int64_t *v) {
    IrType type = {dtype, {rank, {ir_dim(n)}}, 0};
    IrTensor *t = ir_alloc(a, sizeof *t);
    *t = ir_tensor_new(a, &type, 1);
    for (int i = 0; i < n; i++) {
        if (dtype == IR_I64) {
            ((int64_t *)t->data)[i] = v[i];
        } else {
            ir_tensor_set(t, i, (double)v[i]);
        }
    }
    return t;
}

void fe_out_dims(FeNode *n, int i, const FeDims *d) {
    IrArena *a = n->fe->arena;
    if (!fe_charge(n, d->n * (int64_t)sizeof *d->v)) {
        return;
    }
    int64_t *ints = ir_alloc_array(a, (size_t)d->n + 1, sizeof *ints);
    bool fixed = true;
    for (int k = 0; k < d->n; k++) {
        ints[k] = d->v[k].c;
        fixed &= d->v[k].n == 0;
    }
    if (fixed) {
        fe_out_tensor(n, i, fe_tensor_of_ints(a, d->dtype, d->rank, d->n, ints));
    } else if (!n->refused && i < n->n_out && n->out[i]) {
        FeDims *copy = ir_alloc(a, sizeof *copy);
        *copy = *d;
        copy->v = ir_alloc_array(a, (size_t)d->n, sizeof *copy->v);
        memcpy(copy->v, d->v, (size_t)d->n * sizeof *copy->v);
        n->out[i]->dims = copy;
    }
}

void fe_out_alias(FeNode *n, int i, int input) {
    FeValue *v = get_input(n, input);
    if (v && i < n->n_out && n->out[i]) {
        n->out[i]->alias = v;
    }
}

// ---------------------------------------------------------------- folding

// Constants may be folded at import unless they are parameters, which keep their name for
// fine-tuning: float initializers of more than one element.
static bool is_foldable_input(FeNode *n, int i) {
    const FeValue *v = n->in[i];
    const IrTensor *t = v ? fe_tensor(n, i) : NULL;
    return !v || (t && (!v->init || !ir_dtype_is_float(t->dtype) || ir_tensor_elems(t) == 1));
}

static bool is_foldable(FeNode *n, IrNode *first) {
    for (IrNode *k = first; k; k = k->next) {
        for (int i = 0; i < k->n_out; i++) {
            if (!is_small(&k->out[i]->type)) {
                return false;
            }
        }
        if (ir_op_info(k->op)->flags & IR_FLAG_R || k->op == IR_OP_DEQUANTIZE) {
            return false;
        }
    }
    for (int i = 0; i < n->n_in; i++) {
        if (!is_foldable_input(n, i)) {
            return false;
        }
    }
    return true;
}

typedef struct Folded {
    const IrValue *v;
    IrTensor *t;
} Folded;

static const IrTensor *find_folded(FeNode *n, const Folded *done, int n_done, IrValue *v) {
    for (int i = n_done; !v->konst && i-- > 0;) { // the last ones are asked for most
        if (done[i].v == v) {
            return done[i].t;
        }
    }
    for (int i = 0; !v->konst && i < n->n_in; i++) { // computed from stored floats
        if (n->in[i] && n->in[i]->v == v) {
            return n->in[i]->tensor;
        }
    }
    return tensor_of_const(n->fe, v->konst);
}

static bool divides_by_zero(const IrNode *k, const IrTensor *const *in) {
    bool any = false;
    if (k->op == IR_OP_DIV && !ir_dtype_is_float(in[1]->dtype)) {
        int64_t elems = ir_tensor_elems(in[1]);
        for (int64_t i = 0; i < elems && !any; i++) {
            any = ir_tensor_get(in[1], i) == 0;
        }
    }
    return any;
}

static bool reads_stored(const FeNode *n) {
    bool any = false;
    for (int i = 0; i < n->n_in; i++) {
        any = any || (n->in[i] && n->in[i]->stored);
    }
    return any;
}

// v, which n makes, or NULL. *kept: it stays as nodes, too.
static void take_folded_value(FeNode *n, FeValue *v, const Folded *done, int n_done, bool *kept) {
    bool stored = reads_stored(n);
    if (!v || !v->v || !v->v->def) {
        return;
    }
    v->tensor = find_folded(n, done, n_done, v->v);
    v->stored = stored && ir_dtype_is_float(v->tensor->dtype);
    v->v = v->stored ? v->v : NULL;
    *kept = *kept || v->stored;
}

// What was folded of the nodes after `before` becomes known as constants, which replace them or, in
// the case of floats that depend on stored ones, stand beside them. A sequence is its parts, which
// one node makes all together where it makes any.
static void take_folded(FeNode *n, IrNode *before, const Folded *done, int n_done) {
    bool kept = false;
    for (int i = 0; i < n->n_out; i++) {
        take_folded_value(n, n->out[i], done, n_done, &kept);
        const FeSequence *s = n->out[i] ? n->out[i]->sequence : NULL;
        for (int k = 0; s && k < s->n; k++) {
            take_folded_value(n, s->v[k], done, n_done, &kept);
        }
    }
    while (!kept && n->fe->graph->last != before) {
        ir_remove_node(n->fe->graph->last);
    }
}

void fe_fold(FeNode *n, IrNode *before) {
    FeContext *fe = n->fe;
    IrNode *first = before ? before->next : fe->graph->first;
    if (n->refused || n->nested || !first || !is_foldable(n, first)) {
        return;
    }
    double work = 0;
    for (const IrNode *k = first; k; k = k->next) {
        work += ir_eval_work(k);
    }
    if (!fe_spend(n, work)) {
        return;
    }
    Folded *done = NULL;
    int n_done = 0, cap = 0;
    for (IrNode *k = first; k; k = k->next) {
        const IrTensor **in = ir_alloc_array(fe->arena, (size_t)k->n_in + 1, sizeof *in);
        IrTensor *out = ir_alloc_array(fe->arena, (size_t)k->n_out, sizeof *out);
        for (int i = 0; i < k->n_in; i++) {
            in[i] = ir_in(k, i) ? find_folded(n, done, n_done, ir_in(k, i)) : NULL;
        }
        if (divides_by_zero(k, in)) {
            fe_refuse(n, "it divides an integer by 0");
            return;
        }
        if (ir_eval_node(k, 1, in, out, fe->arena)) {
            return;
        }
        for (int i = 0; i < k->n_out; i++) {
            Folded f = {k->out[i], &out[i]};
            IR_PUSH(fe->arena, done, n_done, cap, f);
            fe->prog->const_bytes += ir_tensor_elems(&out[i]) * ir_dtype_bytes(out[i].dtype);
        }
    }
    take_folded(n, before, done, n_done);
}
