// Weights that are no numbers. A NaN in a table of weights, or an infinite one in a product, makes
// whatever the network says NaN too, for every image: told where the file is read, with names,
// before somebody looks for the fault in the training. Infinite numbers elsewhere are masks and
// bounds. A variance below zero does the same.
#include "ir/map.h"
#include "tools/tool.h"

#include <math.h>
#include <string.h>

enum { MOST = 10 }; // that are told one by one

typedef struct Bad {
    int64_t nan, infinite, n;
} Bad;

// Numbers whose exponent has all bits set: none of most weights has any, and this goes as fast as
// memory does.
static bool all_finite(const float *x, int64_t n) {
    enum { EXPONENT = 0x7f800000 };
    uint32_t any = 0, bits;
    for (int64_t i = 0; i < n; i++) {
        memcpy(&bits, x + i, sizeof bits);
        any |= (bits & EXPONENT) == EXPONENT;
    }
    return !any;
}

// data NULL: no floats that the file stores.
static IrTensor tensor_of(const IrConst *c) {
    IrTensor x = {.dtype = c->type.dtype, .rank = c->type.shape.rank};
    for (int i = 0; i < x.rank; i++)
        x.dim[i] = c->type.shape.dim[i].c;
    if (c->kind == IR_CONST_DATA && ir_dtype_is_float(c->type.dtype))
        x.data = (void *)c->data;
    return x;
}

static Bad count_bad(const IrConst *c) {
    Bad bad = {0};
    IrTensor x = tensor_of(c);
    if (!x.data)
        return bad;
    bad.n = ir_tensor_elems(&x);
    const float *f32 = x.dtype == IR_F32 ? x.data : NULL;
    if (f32 && all_finite(f32, bad.n))
        return bad;
    for (int64_t i = 0; i < bad.n; i++) {
        double v = f32 ? (double)f32[i] : ir_tensor_get(&x, i);
        bad.nan += isnan(v);
        bad.infinite += isinf(v) != 0;
    }
    return bad;
}

static bool is_fault(const IrNode *reader, const Bad *b) {
    bool product = reader->op == IR_OP_CONV || reader->op == IR_OP_MATMUL;
    return (b->nan && b->n > 1) || (b->infinite && product);
}

// Of a normalization, which divides by the square root of its variances and epsilon.
static const char *find_no_root(IrArena *a, const IrNode *n, const IrConst *c) {
    double eps = ir_float(n, IR_ATTR_EPS, 1e-5), least = INFINITY;
    IrTensor x = tensor_of(c);
    int64_t bad = 0, count = x.data ? ir_tensor_elems(&x) : 0;
    for (int64_t i = 0; i < count; i++) {
        double v = ir_tensor_get(&x, i);
        bad += !(v + eps > 0);
        least = v < least ? v : least;
    }
    return !bad ? NULL
                : ir_sprintf(a,
                             "its variance '%s' has no square root: with epsilon %g, %lld of "
                             "%lld are not above 0, the least is %g",
                             c->name, eps, (long long)bad, (long long)count, least);
}

// What is wrong with constant c, operand i of n; NULL: nothing.
static const char *find_fault(IrArena *a, const IrNode *n, int i, const IrConst *c) {
    Bad b = count_bad(c);
    if (!is_fault(n, &b))
        return n->op == IR_OP_BATCH_NORM && i == 4 ? find_no_root(a, n, c) : NULL;
    const char *what = !b.infinite ? "NaN" : !b.nan ? "infinite" : "NaN or infinite";
    return ir_sprintf(a, "its weight '%s' holds what is no number: %lld of %lld are %s", c->name,
                      (long long)(b.nan + b.infinite), (long long)b.n, what);
}

static void tell(Tool *t, const IrNode *n, const char *why, bool refuse) {
    IrWhere where = {n->name, n->src_op};
    if (refuse)
        ir_error(&t->diag, where, "%s", why);
    else
        ir_warn(&t->diag, where, "%s", why);
}

bool tool_check_weights(Tool *t, const IrGraph *g, bool refuse) {
    IrMap seen = {.arena = t->arena};
    int told = 0;
    for (const IrNode *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_in; i++) {
            const IrConst *c = ir_in(n, i) ? ir_in(n, i)->konst : NULL;
            if (!c || ir_map_get(&seen, c->name))
                continue;
            *ir_map_put(&seen, c->name) = t;
            const char *why = find_fault(t->arena, n, i, c);
            if (why && ++told <= MOST)
                tell(t, n, why, refuse);
        }
    return !told || !refuse;
}
