// Pools. The IR's have two axes. A 1-D pool is one of height 1. Along three and more axes maxima
// and means come apart: what lies in a window is a product of spans, so the last two axes are
// pooled first and then each other axis alone,
//
//   [N,C,D,H,W] -> [N,C*D,H,W] -> pool [kh,kw] -> [N,C,D,OH*OW] -> pool [kd,1] -> [N,C,OD,OH,OW]
//
// and the divisors of a mean, which count cells per axis, multiply. Places of maxima follow
// through: those of the second pool choose among those of the first. Global pools are reductions
// over the spatial axes.
#include "frontend/import.h"

#include <math.h>
#include <string.h>

typedef struct Pool {
    IrOp op; // MAX_POOL or AVG_POOL
    int rank;
    FeSpan span[IR_MAX_RANK]; // of the spatial axes
    bool ceil, count_pad;
    bool places, column; // MaxPool's Indices too; storage_order
} Pool;

// A tensor on its way through the pools of its axes, and the places of its elements in the input.
typedef struct Pooled {
    IrValue *v, *place;
} Pooled;

static bool is_whole(const FeSpan *s) {
    return s->kernel == 1 && s->stride == 1 && !s->begin && !s->end;
}

static IrValue *flatten(FeNode *n, IrValue *v) {
    IrShape flat = {.rank = 1};
    if (!n->refused && !ir_shape_elems(&v->type.shape, &flat.dim[0])) {
        fe_refuse(n, "it is too large");
    }
    return fe_reshape(n, v, &flat);
}

// Pools the last two axes of p->v, seen as [N,channels,h,w]. `h` NULL: one row.
static void pool_axes(FeNode *n, const Pool *pool, Pooled *p, const IrShape *as, const FeSpan *h,
                      const FeSpan *w) {
    IrAttr attrs[6];
    int n_attrs = fe_span_attrs(n, h, w, attrs);
    IrValue *x = fe_reshape(n, p->v, as), *place;
    attrs[n_attrs++] = ir_attr_i(IR_ATTR_CEIL, pool->ceil);
    if (pool->places) {
        attrs[n_attrs] = ir_attr_s(IR_ATTR_MODE, pool->column ? "column" : "row");
        place = fe_build(n, IR_OP_MAX_POOL_INDEX, FE_IN(x), n_attrs + 1, attrs);
        p->place = p->place ? fe_build(n, IR_OP_GATHER, FE_IN(flatten(n, p->place), place),
                                       FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)))
                            : place;
    }
    if (pool->op == IR_OP_AVG_POOL) {
        attrs[n_attrs++] = ir_attr_i(IR_ATTR_COUNT_PAD, pool->count_pad);
    }
    p->v = fe_build(n, pool->op, FE_IN(x), n_attrs, attrs);
}

// Dims [0, axis) of s but the first as one, [N,channels], then `axis`, then the rest as one.
static IrShape around(FeNode *n, const IrShape *s, int axis) {
    return (IrShape){4,
                     {s->dim[0], fe_dim_product(n, s, 1, axis), s->dim[axis],
                      fe_dim_product(n, s, axis + 1, s->rank)}};
}

static Pooled build_pool(FeNode *n, const Pool *pool, IrValue *x) {
    IrShape s = x->type.shape;
    int last = pool->rank - 1;
    Pooled p = {x, NULL};
    for (int i = last > 0 ? last - 1 : 0; i >= 0 && !n->refused; i--) {
        bool both = i == last - 1; // the last two axes together
        const FeSpan *h = &pool->span[i], *w = both ? &pool->span[last] : NULL;
        IrShape as = around(n, &s, 2 + i);
        if (last == 0) {
            as.dim[2] = ir_dim(1);
            as.dim[3] = s.dim[2];
            w = h;
            h = NULL;
        } else if (!both && is_whole(h)) {
            continue;
        }
        pool_axes(n, pool, &p, &as, h, w);
        if (!n->refused) {
            const IrDim *d = p.v->type.shape.dim;
            s.dim[2 + i] = last ? d[2] : d[3];
            s.dim[2 + last] = both ? d[3] : s.dim[2 + last];
        }
    }
    p.v = fe_reshape(n, p.v, &s);
    p.place = p.place ? fe_reshape(n, p.place, &s) : NULL;
    return p;
}

static bool read_pool(FeNode *n, IrOp op, const IrValue *x, Pool *pool) {
    if (n->refused) {
        return false;
    }
    *pool = (Pool){.op = op, .rank = x->type.shape.rank - 2};
    pool->ceil = fe_attr_int(n, "ceil_mode", 0) != 0;
    return fe_spans(n, &x->type.shape, NULL, pool->span);
}

// MaxPool-12. Output 1, Indices (from version 8 on), counts through the whole input; with
// storage_order 1 the cells of an image are counted column by column.
void fe_import_max_pool(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    Pool pool;
    if (!read_pool(n, IR_OP_MAX_POOL, x, &pool)) {
        return;
    }
    pool.places = fe_used(n, 1);
    pool.column = fe_attr_int(n, "storage_order", 0) != 0;
    if (pool.places && pool.column && pool.rank > 2) {
        fe_refuse(n, "NYI: storage_order 1 with %d spatial dimensions", pool.rank);
        return;
    }
    Pooled p = build_pool(n, &pool, x);
    fe_out(n, 0, p.v);
    if (p.place) {
        fe_out(n, 1, p.place);
    }
}

IrValue *fe_max_pool(FeNode *n, IrValue *x) {
    Pool pool;
    return read_pool(n, IR_OP_MAX_POOL, x, &pool) ? build_pool(n, &pool, x).v : NULL;
}

// AveragePool-19
IrValue *fe_average_pool(FeNode *n, IrValue *x) {
    Pool pool;
    if (!read_pool(n, IR_OP_AVG_POOL, x, &pool)) {
        return NULL;
    }
    pool.count_pad = fe_attr_int(n, "count_include_pad", 0) != 0;
    return build_pool(n, &pool, x).v;
}

void fe_import_average_pool(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, fe_average_pool(n, x));
}

// ---------------------------------------------------------------- global pools

static IrInts spatial_axes(FeNode *n, const IrValue *x) {
    if (!n->refused && x->type.shape.rank < 3) {
        fe_refuse(n, "input of rank %d has no spatial axes", x->type.shape.rank);
    }
    return n->refused ? (IrInts){0, NULL} : fe_range(n, 2, x->type.shape.rank);
}

// GlobalAveragePool-1, GlobalMaxPool-1: [N,C,...] -> [N,C,1,...]
void fe_import_global_pool(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts axes = spatial_axes(n, x);
    fe_out(n, 0, fe_reduce(n, n->info->op, x, axes, true));
}

// ---------------------------------------------------------------- Lp pools

// p is a number in version 1 and an integer later.
static double read_p(FeNode *n) {
    double p = n->since < 2 ? fe_attr_float(n, "p", 2) : (double)fe_attr_int(n, "p", 2);
    if (!(p > 0) || isinf(p)) {
        fe_refuse(n, "p is %g, it must be above 0", p);
    }
    return p;
}

// |x|^p
static IrValue *build_power(FeNode *n, IrValue *x, double p) {
    if (p == 2) {
        return fe_bin(n, IR_OP_MUL, x, x);
    }
    x = fe_un(n, IR_OP_ABS, x);
    return p == 1 ? x : fe_op_const(n, IR_OP_POW, x, p);
}

static IrValue *build_root(FeNode *n, IrValue *x, double p) {
    if (p == 2) {
        return fe_un(n, IR_OP_SQRT, x);
    }
    return p == 1 ? x : fe_op_const(n, IR_OP_POW, x, 1 / p);
}

// LpPool-18, (sum |x|^p)^(1/p) of each window. The sum is a mean that counts the padding, times
// the window's size; for ceil_mode the padding grows until the last window is full.
void fe_import_lp_pool(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    double p = read_p(n), volume = 1;
    Pool pool;
    if (!read_pool(n, IR_OP_AVG_POOL, x, &pool)) {
        return;
    }
    for (int i = 0; i < pool.rank; i++) {
        FeSpan *s = &pool.span[i];
        int64_t out = fe_span_windows(n, s, pool.ceil), full;
        full = n->refused ? 0 : (out - 1) * s->stride + fe_span_extent(s) - s->size - s->begin;
        s->end = full > s->end ? full : s->end;
        volume *= (double)s->kernel;
    }
    pool.count_pad = true;
    pool.ceil = false;
    x = build_power(n, x, p);
    if (!n->refused) {
        x = fe_op_const(n, IR_OP_MUL, build_pool(n, &pool, x).v, volume);
        fe_out(n, 0, build_root(n, x, p));
    }
}

// GlobalLpPool-2
void fe_import_global_lp_pool(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    double p = read_p(n);
    IrInts axes = spatial_axes(n, x);
    x = fe_reduce(n, IR_OP_REDUCE_SUM, build_power(n, x, p), axes, true);
    fe_out(n, 0, build_root(n, x, p));
}
