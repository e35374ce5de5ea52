// See reference.h.
#include "tests/fuzz/reference.h"

#include <math.h>
#include <string.h>

static uint64_t mix(uint64_t z) { // splitmix64
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t hash_text(const char *s) {
    uint64_t h = 7;
    for (; s && *s; s++)
        h = mix(h ^ (unsigned char)*s);
    return h;
}

IrTensor *ref_inputs(const IrGraph *g, int64_t N, IrArena *a) {
    IrTensor *in = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *in);
    for (int i = 0; i < g->n_inputs; i++) {
        uint64_t state = hash_text(g->inputs[i]->name);
        in[i] = ir_tensor_new(a, &g->inputs[i]->type, N);
        for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
            uint64_t r = mix(state + (uint64_t)k);
            bool is_unsigned = in[i].dtype >= IR_U8 && in[i].dtype <= IR_U64;
            double whole = (double)(r % 8) - (is_unsigned ? 0 : 4);
            double x = ir_dtype_is_float(in[i].dtype) ? (double)(r % 33) / 8 - 2
                       : in[i].dtype == IR_BOOL       ? (double)(r % 2)
                                                      : whole;
            ir_tensor_set(&in[i], k, x);
        }
    }
    return in;
}

// ---------------------------------------------------------------- exactness and noise

// Sums, products and moves: exact while the bits last.
static const bool EXACT[IR_OP_COUNT] = {
    [IR_OP_RELU] = true,       [IR_OP_CLIP] = true,        [IR_OP_ABS] = true,
    [IR_OP_NEG] = true,        [IR_OP_FLOOR] = true,       [IR_OP_CEIL] = true,
    [IR_OP_ROUND] = true,      [IR_OP_SIGN] = true,        [IR_OP_CAST] = true,
    [IR_OP_ADD] = true,        [IR_OP_SUB] = true,         [IR_OP_MUL] = true,
    [IR_OP_MAXIMUM] = true,    [IR_OP_MINIMUM] = true,     [IR_OP_PRELU] = true,
    [IR_OP_RELU_GRAD] = true,  [IR_OP_WHERE] = true,       [IR_OP_CONV] = true,
    [IR_OP_MATMUL] = true,     [IR_OP_MAX_POOL] = true,    [IR_OP_REDUCE_SUM] = true,
    [IR_OP_REDUCE_MAX] = true, [IR_OP_REDUCE_MIN] = true,  [IR_OP_CONCAT] = true,
    [IR_OP_SHUFFLE] = true,    [IR_OP_SLICE] = true,       [IR_OP_PAD] = true,
    [IR_OP_TRANSPOSE] = true,  [IR_OP_RESHAPE] = true,     [IR_OP_EXPAND] = true,
    [IR_OP_GATHER] = true,     [IR_OP_COPY] = true,        [IR_OP_INTERLEAVE] = true,
    [IR_OP_SLICE_GRAD] = true, [IR_OP_FLIP_FILTER] = true,
};

// Products of two such numbers, and sums of a few thousand of them, fit float32's 24 bits.
static bool on_grid(double x) {
    return fabs(x) <= 512 && x * 16 == floor(x * 16);
}

static double rounding(IrDtype t) {
    return t == IR_F64 ? 0x1p-50 : t == IR_F16 ? 0x1p-10 : t == IR_BF16 ? 0x1p-7 : 0x1p-22;
}

bool ref_add_noise(const IrNode *n, unsigned exact_in, IrTensor *t) {
    int64_t elems = ir_tensor_elems(t);
    if (!ir_dtype_is_float(t->dtype))
        return true;
    bool exact = EXACT[n->op] && t->dtype != IR_F16 && t->dtype != IR_BF16;
    for (int i = 0; i < n->n_in && exact; i++)
        exact = !ir_in(n, i) || (i < 32 && exact_in >> i & 1);
    for (int64_t i = 0; i < elems && exact; i++)
        exact = on_grid(ir_tensor_get(t, i));
    double step = rounding(t->dtype);
    for (int64_t i = 0; i < elems && !exact; i++) {
        double x = ir_tensor_get(t, i);
        ir_tensor_set(t, i, x + (mix((uint64_t)i) & 1 ? step : -step) * fabs(x));
    }
    return exact;
}

// ---------------------------------------------------------------- comparing

double ref_magnitude(const IrTensor *t) {
    double top = 0;
    for (int64_t i = 0; i < ir_tensor_elems(t); i++) {
        double x = fabs(ir_tensor_get(t, i));
        top = isfinite(x) && x > top ? x : top;
    }
    return top;
}

double ref_distance(const IrTensor *x, const IrTensor *y) {
    double worst = 0;
    for (int64_t i = 0; i < ir_tensor_elems(x); i++) {
        double a = ir_tensor_get(x, i), b = ir_tensor_get(y, i);
        bool same = a == b || (isnan(a) && isnan(b));
        double d = same ? 0 : isfinite(a) && isfinite(b) ? fabs(a - b) : INFINITY;
        worst = d > worst ? d : worst;
    }
    if (worst == 0 && !ir_dtype_is_float(x->dtype) && ir_tensor_elems(x) > 0 &&
        memcmp(x->data, y->data, (size_t)ir_tensor_elems(x) * (size_t)ir_dtype_bytes(x->dtype)) !=
            0)
        return 1; // integers that differ past the 53 bits of a double
    return worst;
}

// ---------------------------------------------------------------- a graph

typedef struct Eval {
    IrOp wrong;
    bool noisy;
    bool *exact; // by value id
} Eval;

static bool const_is_exact(const IrValue *v) {
    return v->konst->kind == IR_CONST_SPLAT ? on_grid(v->konst->splat)
                                            : v->konst->kind == IR_CONST_DATA;
}

static void change_value(void *ctx, const IrValue *v, const IrTensor *t) {
    Eval *e = ctx;
    const IrNode *n = v->def;
    IrTensor own = *t; // the evaluator's own data is what changes
    unsigned exact = 0;
    if (n->op == e->wrong && ir_tensor_elems(t) > 0)
        ir_tensor_set(&own, 0, ir_tensor_get(t, 0) == 0 ? 1 : 0);
    for (int i = 0; i < n->n_in && i < 32; i++) {
        const IrValue *x = ir_in(n, i);
        exact |= (unsigned)(!x || (x->konst ? const_is_exact(x) : !x->def || e->exact[x->id])) << i;
    }
    if (e->noisy)
        e->exact[v->id] = ref_add_noise(n, exact, &own);
}

// float32 and float16 results are rounded on the way, in another order than the evaluator's.
static double base_tolerance(const IrTensor *t) {
    return t->dtype == IR_F64    ? 1e-12
           : t->dtype == IR_F16  ? 4e-3
           : t->dtype == IR_BF16 ? 3e-2
                                 : 1e-5;
}

Reference ref_evaluate(IrGraph *g, int64_t N, const IrTensor *inputs, IrOp wrong, IrArena *a) {
    size_t n = (size_t)g->n_outputs;
    IrTensor *noisy = ir_alloc_array(a, n, sizeof *noisy);
    Reference r = {.want = ir_alloc_array(a, n, sizeof *r.want),
                   .tolerance = ir_alloc_array(a, n, sizeof *r.tolerance)};
    Eval e = {.wrong = wrong, .exact = ir_alloc_array(a, g->next_id + 1, sizeof *e.exact)};
    r.why = ir_eval(g, N, inputs, r.want, a, change_value, &e);
    e.noisy = true;
    r.why = r.why ? r.why : ir_eval(g, N, inputs, noisy, a, change_value, &e);
    for (size_t i = 0; i < n && !r.why; i++)
        if (ir_dtype_is_float(r.want[i].dtype)) {
            double apart = ref_distance(&r.want[i], &noisy[i]);
            r.tolerance[i] =
                base_tolerance(&r.want[i]) * fmax(ref_magnitude(&r.want[i]), 0.1) + 16 * apart;
        }
    return r;
}
