// See graph_gen.h.
#include "tests/fuzz/graph_gen.h"
#include "tests/fuzz/reference.h"

#include <math.h>
#include <string.h>

const int64_t gen_batches[GEN_BATCHES] = {1, 3};

uint64_t gen_draw(Gen *m, uint64_t below) {
    m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return below ? (m->state >> 33) % below : 0;
}

bool gen_chance(Gen *m, int percent) {
    return gen_draw(m, 100) < (uint64_t)percent;
}

int64_t gen_int(Gen *m, int64_t low, int64_t high) {
    return low + (int64_t)gen_draw(m, (uint64_t)(high - low + 1));
}

IrValue *gen_pick(Gen *m) {
    uint64_t back = gen_draw(m, gen_chance(m, 65) && m->n > 3 ? 3 : (uint64_t)m->n);
    return m->pool[m->n - 1 - (int)back];
}

IrValue *gen_pick_of(Gen *m, IrDtype t, int min_rank, int max_rank) {
    for (int i = 0; i < 12; i++) {
        IrValue *v = gen_pick(m);
        const IrShape *s = &v->type.shape;
        if (v->type.dtype == t && s->rank >= min_rank && s->rank <= max_rank)
            return v;
    }
    return NULL;
}

// ---------------------------------------------------------------- constants

static double draw_number(Gen *m, IrDtype t, bool small) {
    static const double floats[] = {0, 1, -1, 0.5, 2, 6, -0.25, 3, 0.125, -1.5};
    static const double large[] = {2147483647.0, -2147483648.0, 4294967296.0, 65535, 255, -129};
    if (t == IR_BOOL)
        return (double)gen_draw(m, 2);
    if (ir_dtype_is_float(t))
        return small ? (double)gen_int(m, -3, 3) : floats[gen_draw(m, 10)];
    if (!small && gen_chance(m, 8))
        return large[gen_draw(m, 6)];
    return (double)gen_int(m, t >= IR_U8 && t <= IR_U64 ? 0 : -4, 5);
}

IrValue *gen_const(Gen *m, IrDtype t, const IrShape *s, bool small) {
    IrDim elems;
    IrType type = {.dtype = t, .shape = *s};
    IrConst *c;
    if (!ir_shape_is_static(s) || !ir_shape_elems(s, &elems))
        return NULL;
    if (elems.c > 48 ? gen_chance(m, 30) : gen_chance(m, 40)) {
        c = ir_const_splat(m->prog, NULL, type, draw_number(m, t, small));
    } else if (elems.c > 48 || gen_chance(m, 20)) {
        c = ir_const_rand(m->prog, NULL, type, gen_draw(m, 1000));
    } else {
        IrTensor data = ir_tensor_new(m->prog->arena, &type, 1);
        for (int64_t i = 0; i < elems.c; i++)
            ir_tensor_set(&data, i, draw_number(m, t, small));
        c = ir_const_new(m->prog, NULL, type, data.data);
    }
    c->trainable = gen_chance(m, 3);
    return ir_const_value(m->graph, c);
}

IrValue *gen_const_dims(Gen *m, IrDtype t, int rank, const int64_t *dims) {
    IrShape s = ir_shape_of(rank, dims);
    return gen_const(m, t, &s, false);
}

IrValue *gen_like(Gen *m, IrValue *x, IrDtype t) {
    IrShape s = x->type.shape, both;
    for (int i = 0; i < 6 && gen_chance(m, 70); i++) {
        IrValue *v = gen_pick(m);
        if (v->type.dtype == t && ir_shape_broadcast(&v->type.shape, &s, &both))
            return v;
    }
    int drop = gen_chance(m, 40) ? (int)gen_draw(m, (uint64_t)s.rank + 1) : 0;
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i].n || gen_chance(m, i == 1 ? 30 : 55))
            s.dim[i] = ir_dim(1);
    memmove(s.dim, s.dim + drop, (size_t)(s.rank - drop) * sizeof *s.dim);
    s.rank -= drop;
    return gen_const(m, t, &s, false);
}

IrValue *gen_build(Gen *m, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                   const IrAttr *attrs) {
    for (int i = 0; i < n_in && i < ir_op_info(op)->min_in; i++)
        if (!in[i])
            return NULL; // what made the operand did not fit
    return ir_build(&m->b, op, n_in, in, n_attrs, attrs);
}

int64_t gen_dim(const IrValue *v, int i) {
    return v->type.shape.dim[i].c;
}

int gen_rank(const IrValue *v) {
    return v->type.shape.rank;
}

bool gen_is_fixed(const IrValue *v, int from) {
    for (int i = from; i < gen_rank(v); i++)
        if (v->type.shape.dim[i].n)
            return false;
    return true;
}

IrAttr gen_ints(Gen *m, IrAttrKey key, int n, const int64_t *v) {
    return ir_attr_ints(m->prog->arena, key, n, v);
}

// ---------------------------------------------------------------- evaluating what was made

static bool has_sane_type(const IrValue *v, int64_t N) {
    int64_t elems = 1;
    for (int i = 0; i < v->type.shape.rank; i++) {
        int64_t d = ir_dim_at(v->type.shape.dim[i], N);
        if (d < 0 || d > GEN_ELEMS || (elems *= d > 0 ? d : 1) > GEN_ELEMS)
            return false;
    }
    return v->id < GEN_IDS;
}

// Finite, not too large, and not at the mercy of rounding errors.
static bool has_sane_values(const IrTensor *clean, const IrTensor *noisy) {
    bool floating = ir_dtype_is_float(clean->dtype);
    bool half = clean->dtype == IR_F16 || clean->dtype == IR_BF16;
    double limit = half ? 256 : 10000, apart = ref_distance(clean, noisy);
    for (int64_t i = 0; i < ir_tensor_elems(clean) && floating; i++) {
        double x = ir_tensor_get(clean, i);
        if (!isfinite(x) || fabs(x) > limit)
            return false;
    }
    double most = half ? 0.05 : 2e-4;
    return floating ? apart <= most * fmax(ref_magnitude(clean), 1e-3) : apart == 0;
}

static void set_leaf(Gen *m, GenRun *r, const IrValue *v) {
    if (!r->clean[v->id].data) {
        r->clean[v->id] = ir_tensor_new(m->prog->arena, &v->type, 1);
        r->clean[v->id].data = (void *)ir_const_data(m->prog, v->konst);
        r->noisy[v->id] = r->clean[v->id];
        r->exact[v->id] = v->konst->kind != IR_CONST_RAND;
    }
}

static bool evaluate_node(Gen *m, GenRun *r, int64_t N, const IrNode *n) {
    IrArena *a = m->prog->arena;
    const IrTensor **clean = ir_alloc_array(a, (size_t)n->n_in + 1, sizeof *clean);
    const IrTensor **noisy = ir_alloc_array(a, (size_t)n->n_in + 1, sizeof *noisy);
    IrTensor out[8], rough[8];
    unsigned exact = 0;
    for (int i = 0; i < n->n_out; i++)
        if (n->n_out > 8 || !has_sane_type(n->out[i], N))
            return false;
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (v && v->konst)
            set_leaf(m, r, v);
        clean[i] = v ? &r->clean[v->id] : NULL;
        noisy[i] = v ? &r->noisy[v->id] : NULL;
        exact |= i < 32 ? (unsigned)(!v || r->exact[v->id]) << i : 0;
    }
    if (ir_eval_node(n, N, clean, out, a) || ir_eval_node(n, N, noisy, rough, a))
        return false;
    for (int i = 0; i < n->n_out; i++) {
        uint32_t id = n->out[i]->id;
        r->clean[id] = out[i];
        r->exact[id] = ref_add_noise(n, exact, &rough[i]);
        r->noisy[id] = rough[i];
        if (!has_sane_values(&out[i], &rough[i]))
            return false;
    }
    return true;
}

// Partial products overflow, or not, by their order.
static bool is_long_product(const GenRun *r, const IrNode *n) {
    return n->op == IR_OP_REDUCE_PROD && ir_tensor_elems(&r->clean[ir_in(n, 0)->id]) >
                                             24 * ir_tensor_elems(&r->clean[n->out[0]->id]);
}

// The sum behind a mean of integers overflows, or not, by its own type.
static bool is_large_mean(const GenRun *r, const IrNode *n) {
    if (n->op != IR_OP_REDUCE_MEAN && n->op != IR_OP_AVG_POOL)
        return false;
    const IrTensor *x = &r->clean[ir_in(n, 0)->id];
    return !ir_dtype_is_float(x->dtype) &&
           ref_magnitude(x) * (double)ir_tensor_elems(x) > ir_dtype_highest(x->dtype) / 2 &&
           ir_dtype_bytes(x->dtype) == 8;
}

static bool accept_node(Gen *m, const IrNode *n) {
    for (int k = 0; k < GEN_BATCHES; k++)
        if (!evaluate_node(m, &m->run[k], gen_batches[k], n) || is_long_product(&m->run[k], n) ||
            is_large_mean(&m->run[k], n))
            return false;
    return true;
}

// The nodes behind `last` are new: all stay, or none.
static bool accept_nodes(Gen *m, IrNode *last) {
    bool ok = true;
    for (IrNode *n = last ? last->next : m->graph->first; n && ok; n = n->next)
        ok = accept_node(m, n);
    while (!ok && m->graph->last != last)
        ir_remove_node(m->graph->last);
    return ok;
}

// ---------------------------------------------------------------- a graph

static void keep(Gen *m, IrValue *v) {
    if (v && m->n < GEN_VALUES)
        m->pool[m->n++] = v;
}

static IrDtype draw_dtype(Gen *m) {
    static const IrDtype types[] = {IR_F32, IR_F32, IR_F32, IR_I64, IR_I32, IR_F64, IR_F16,
                                    IR_U8,  IR_I8,  IR_I16, IR_U16, IR_U32, IR_U64, IR_BOOL};
    return m->images ? gen_chance(m, 85) ? IR_F32 : types[gen_draw(m, 6)]
                     : types[gen_draw(m, sizeof types / sizeof *types)];
}

static void add_input(Gen *m, int i) {
    static const int64_t dims[] = {1, 1, 2, 3, 3, 4, 5, 7, 8, 9, 16, 17};
    static const int64_t channels[] = {3, 4, 8, 8, 16, 17, 1, 24};
    IrType t = {.dtype = draw_dtype(m)};
    t.shape.rank = m->images ? 4 : (int)gen_draw(m, 6);
    for (int k = 0; k < t.shape.rank; k++)
        t.shape.dim[k] = ir_dim(dims[gen_draw(m, t.shape.rank > 3 ? 9 : 12)]);
    if (m->images)
        t.shape.dim[1] = ir_dim(channels[gen_draw(m, 8)]);
    if (!m->images && t.shape.rank > 0 && gen_chance(m, 6))
        t.shape.dim[gen_draw(m, (uint64_t)t.shape.rank)] = ir_dim(0);
    if (t.shape.rank > 0 && gen_chance(m, 80))
        t.shape.dim[0] = (IrDim){0, 1};
    if (m->images && i > 0 && gen_chance(m, 60))
        t.shape = m->pool[0]->type.shape; // residuals want equal shapes
    keep(m, ir_input(m->graph, ir_sprintf(m->prog->arena, "x%d", i), t));
}

static const GenMaker *draw_maker(Gen *m) {
    int total = 0, i = 0;
    for (int k = 0; k < gen_n_makers; k++)
        total += m->images ? gen_makers[k].images : gen_makers[k].any;
    int at = (int)gen_draw(m, (uint64_t)total);
    for (;; i++) {
        int weight = m->images ? gen_makers[i].images : gen_makers[i].any;
        if (at < weight)
            return &gen_makers[i];
        at -= weight;
    }
}

// The value may be an output already: then a copy becomes one, under another name.
static void add_output(Gen *m, IrValue *v) {
    IrGraph *g = m->graph;
    ir_output(g, v);
    g->outputs[g->n_outputs - 1]->name = ir_sprintf(m->prog->arena, "y%d", g->n_outputs - 1);
}

// Results that nobody reads and a few others; now and then one twice, an input, or a constant.
static void choose_outputs(Gen *m) {
    IrGraph *g = m->graph;
    for (int i = m->n - 1; i >= 0 && g->n_outputs < 8; i--) {
        IrValue *v = m->pool[i];
        if ((v->def && v->n_uses == 0) || gen_chance(m, v->def ? 8 : 3))
            add_output(m, v);
        if (v->is_output && gen_chance(m, 5))
            add_output(m, v);
    }
    if (gen_chance(m, 2)) {
        IrShape s = ir_shape_of(2, (int64_t[]){2, 3});
        add_output(m, gen_const(m, IR_F32, &s, false));
    }
    if (g->n_outputs == 0)
        add_output(m, m->pool[m->n - 1]);
}

static void set_inputs(Gen *m, GenRun *r, int64_t N) {
    IrTensor *in = ref_inputs(m->graph, N, m->prog->arena);
    for (int i = 0; i < m->graph->n_inputs; i++) {
        r->clean[i] = r->noisy[i] = in[i];
        r->exact[i] = true;
    }
}

IrProgram *gen_graph(IrArena *a, uint64_t seed) {
    Gen *m = ir_alloc(a, sizeof *m);
    m->prog = ir_program_new(a, "random");
    m->graph = ir_graph_new(m->prog, "infer");
    m->state = seed * 2654435761u + 12345;
    for (int i = 0; i < 4; i++)
        gen_draw(m, 2);
    m->images = gen_chance(m, 55);
    int inputs = 1 + (int)gen_draw(m, 3), nodes = 1 + (int)gen_draw(m, 14);
    for (int i = 0; i < inputs; i++)
        add_input(m, i);
    for (int k = 0; k < GEN_BATCHES; k++)
        set_inputs(m, &m->run[k], gen_batches[k]);
    for (int i = 0; m->graph->n_nodes < nodes && i < 12 * nodes; i++) {
        IrNode *last = m->graph->last;
        m->b = (IrBuilder){.graph = m->graph, .name = ir_sprintf(a, "n%d", i)};
        IrValue *v = draw_maker(m)->make(m);
        if (accept_nodes(m, last))
            keep(m, v);
    }
    choose_outputs(m);
    return m->prog;
}
