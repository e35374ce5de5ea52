// Shape computations: integer tensors of rank 0 or 1 whose entries are affine in the batch size N,
// as Shape -> Gather -> Concat -> Reshape chains make them. They are evaluated here and never
// reach the IR. What is static is an ordinary constant and is folded by the reference evaluator
// instead; the rules below see at least one entry with N in it.
//
// A rule returns false for what it cannot express (N * N, 7 / N, a rank above 1).
#include "frontend/import.h"

#include <string.h>

bool fe_dim_sum(IrDim a, IrDim b, IrDim *out) {
    return !__builtin_add_overflow(a.c, b.c, &out->c) && !__builtin_add_overflow(a.n, b.n, &out->n);
}

bool fe_dim_quotient(IrDim a, IrDim b, IrDim *out) {
    int64_t d = b.n ? b.n : b.c;
    if (d <= 0 || a.c < 0 || a.n < 0 || a.c % d || a.n % d) {
        return false;
    }
    if (b.n == 0) {
        *out = (IrDim){a.c / d, a.n / d};
        return true;
    }
    *out = ir_dim(a.n / d);
    IrDim back;
    return ir_dim_mul(*out, b, &back) && ir_dim_eq(back, a);
}

// ---------------------------------------------------------------- elementwise

typedef bool DimsBinary(IrDim a, IrDim b, IrDim *out);

static bool subtract_dims(IrDim a, IrDim b, IrDim *out) {
    return !__builtin_sub_overflow(a.c, b.c, &out->c) && !__builtin_sub_overflow(a.n, b.n, &out->n);
}

// -1, 0, 1 as a < b, a == b, a > b for every N >= 1; 2 when that depends on N.
static int compare_dims(IrDim a, IrDim b) {
    IrDim d;
    if (!subtract_dims(a, b, &d)) {
        return 2;
    }
    IrDim at_one;
    if (!fe_dim_sum(ir_dim(d.c), ir_dim(d.n), &at_one)) {
        return 2;
    }
    if (d.n == 0) {
        return (d.c > 0) - (d.c < 0);
    }
    if (at_one.c > 0 && d.n > 0) {
        return 1;
    }
    return at_one.c < 0 && d.n < 0 ? -1 : 2;
}

static bool equal_dims(IrDim a, IrDim b, IrDim *out) {
    int order = compare_dims(a, b);
    *out = ir_dim(order == 0);
    return order != 2;
}

static bool less_dims(IrDim a, IrDim b, IrDim *out) {
    int order = compare_dims(a, b);
    *out = ir_dim(order == -1);
    return order != 2;
}

static bool greater_dims(IrDim a, IrDim b, IrDim *out) {
    return less_dims(b, a, out);
}

static bool max_dims(IrDim a, IrDim b, IrDim *out) {
    IrDim d;
    if (!subtract_dims(a, b, &d)) {
        return false;
    }
    bool ge = d.n >= 0 && d.c >= -(d.n > 0), le = d.n <= 0 && d.c <= (d.n < 0);
    *out = ge ? a : b;
    return ge || le;
}

static bool min_dims(IrDim a, IrDim b, IrDim *out) {
    IrDim max;
    if (!max_dims(a, b, &max)) {
        return false;
    }
    *out = ir_dim_eq(max, a) ? b : a;
    return true;
}

// Elementwise ops on two operands, by the IR op of their row in onnx_ops.def.
static DimsBinary *const binary_rules[IR_OP_COUNT] = {
    [IR_OP_ADD] = fe_dim_sum,      [IR_OP_SUB] = subtract_dims, [IR_OP_MUL] = ir_dim_mul,
    [IR_OP_DIV] = fe_dim_quotient, [IR_OP_MAXIMUM] = max_dims,  [IR_OP_MINIMUM] = min_dims,
    [IR_OP_EQUAL] = equal_dims,    [IR_OP_LESS] = less_dims,    [IR_OP_GREATER] = greater_dims,
};

// x op y with numpy broadcasting of rank 0 and 1.
static bool broadcast_dims(FeNode *n, DimsBinary *rule, const FeDims *x, const FeDims *y,
                           FeDims *out) {
    if (x->n != y->n && x->n != 1 && y->n != 1) {
        return false;
    }
    *out = (FeDims){x->dtype, x->rank > y->rank ? x->rank : y->rank, x->n == 1 ? y->n : x->n, NULL};
    out->v = ir_alloc_array(n->fe->arena, (size_t)out->n + 1, sizeof *out->v);
    for (int i = 0; i < out->n; i++) {
        if (!rule(x->v[x->n == 1 ? 0 : i], y->v[y->n == 1 ? 0 : i], &out->v[i])) {
            return false;
        }
    }
    return true;
}

// Max and Min may have any number of inputs.
bool fe_dims_binary(FeNode *n) {
    FeDims acc, x, y;
    if (!fe_dims(n, 0, &acc)) {
        return false;
    }
    for (int k = 1; k < n->n_in; k++) {
        x = acc;
        if (!fe_dims(n, k, &y) || !broadcast_dims(n, binary_rules[n->info->op], &x, &y, &acc)) {
            return false;
        }
    }
    bool compares =
        n->info->op == IR_OP_EQUAL || n->info->op == IR_OP_LESS || n->info->op == IR_OP_GREATER;
    acc.dtype = compares ? IR_BOOL : acc.dtype;
    fe_out_dims(n, 0, &acc);
    return true;
}

bool fe_dims_where(FeNode *n) {
    FeDims cond, x, y;
    if (!fe_dims(n, 0, &cond) || !fe_dims(n, 1, &x) || !fe_dims(n, 2, &y)) {
        return false;
    }
    int count = cond.n > x.n ? cond.n : x.n;
    count = count > y.n ? count : y.n;
    FeDims out = {x.dtype, cond.rank | x.rank | y.rank, count, NULL};
    out.v = ir_alloc_array(n->fe->arena, (size_t)count + 1, sizeof *out.v);
    for (int i = 0; i < count; i++) {
        const FeDims *all[] = {&cond, &x, &y};
        for (int k = 0; k < 3; k++) {
            if (all[k]->n != 1 && all[k]->n != count) {
                return false;
            }
        }
        IrDim c = cond.v[cond.n == 1 ? 0 : i];
        out.v[i] = !ir_dim_is(c, 0) ? x.v[x.n == 1 ? 0 : i] : y.v[y.n == 1 ? 0 : i];
    }
    fe_out_dims(n, 0, &out);
    return true;
}

bool fe_dims_cast(FeNode *n) {
    FeDims d;
    IrDtype to;
    int32_t elem;
    if (!fe_dims(n, 0, &d) || !fe_cast_target(n, &to, &elem) || (to != IR_I64 && to != IR_I32)) {
        return false;
    }
    for (int i = 0; to == IR_I32 && i < d.n; i++) {
        if (d.v[i].c != (int32_t)d.v[i].c || d.v[i].n != (int32_t)d.v[i].n) {
            return false;
        }
    }
    d.dtype = to;
    fe_out_dims(n, 0, &d);
    return true;
}

bool fe_dims_product(FeNode *n) {
    FeDims d;
    IrInts axes = fe_ints_of(n, "axes", 1);
    if (!fe_dims(n, 0, &d) || axes.n > 1 || (axes.n == 1 && axes.v[0] != 0 && axes.v[0] != -1)) {
        return false;
    }
    IrDim p = ir_dim(1);
    for (int i = 0; i < d.n; i++) {
        if (!ir_dim_mul(p, d.v[i], &p)) {
            return false;
        }
    }
    fe_out_dims(n, 0, &(FeDims){d.dtype, fe_attr_int(n, "keepdims", 1) ? d.rank : 0, 1, &p});
    return true;
}

// ---------------------------------------------------------------- movement

bool fe_dims_concat(FeNode *n) {
    FeDims out = {IR_I64, 1, 0, NULL}, x;
    int cap = 0;
    for (int k = 0; k < n->n_in; k++) {
        if (!fe_dims(n, k, &x) || x.rank != 1 || x.n > FE_MAX_SMALL - out.n) {
            return false;
        }
        out.dtype = x.dtype;
        for (int i = 0; i < x.n; i++) {
            IR_PUSH(n->fe->arena, out.v, out.n, cap, x.v[i]);
        }
    }
    fe_out_dims(n, 0, &out);
    return true;
}

bool fe_dims_gather(FeNode *n) {
    FeDims x;
    IrType t;
    if (!fe_dims(n, 0, &x) || x.rank != 1 || !fe_type(n, 1, &t) || t.shape.rank > 1) {
        return false;
    }
    IrInts index = fe_ints(n, 1);
    FeDims out = {x.dtype, t.shape.rank, index.n, NULL};
    out.v = ir_alloc_array(n->fe->arena, (size_t)index.n + 1, sizeof *out.v);
    for (int i = 0; i < index.n; i++) {
        int64_t at = index.v[i] < 0 ? index.v[i] + x.n : index.v[i];
        if (at < 0 || at >= x.n) {
            fe_refuse(n, "index %lld is outside a tensor of %d", (long long)index.v[i], x.n);
            return false;
        }
        out.v[i] = x.v[at];
    }
    fe_out_dims(n, 0, &out);
    return !n->refused;
}

static int64_t clamp_index(int64_t i, int64_t n, int64_t lo, int64_t hi) {
    i = i < 0 ? i + n : i;
    return i < lo ? lo : i > hi ? hi : i;
}

bool fe_dims_slice(FeNode *n) {
    FeDims x;
    IrInts start = fe_ints_of(n, "starts", 1), end = fe_ints_of(n, "ends", 2);
    IrInts step = n->since >= 10 ? fe_ints(n, 4) : (IrInts){0, NULL};
    if (!fe_dims(n, 0, &x) || x.rank != 1 || start.n != 1 || end.n != 1 || step.n > 1) {
        return false;
    }
    int64_t by = step.n ? step.v[0] : 1;
    if (by == 0 || by == INT64_MIN) {
        return false;
    }
    int64_t from = clamp_index(start.v[0], x.n, 0, by > 0 ? x.n : x.n - 1);
    int64_t to = clamp_index(end.v[0], x.n, by > 0 ? 0 : -1, by > 0 ? x.n : x.n - 1);
    FeDims out = {x.dtype, 1, 0, NULL};
    out.v = ir_alloc_array(n->fe->arena, (size_t)x.n + 1, sizeof *out.v);
    for (int64_t i = from; by > 0 ? i < to : i > to; i += by) {
        out.v[out.n++] = x.v[i];
        if (by > x.n || by < -x.n) {
            break;
        }
    }
    fe_out_dims(n, 0, &out);
    return true;
}

bool fe_dims_split(FeNode *n) {
    FeDims x;
    IrInts sizes = fe_ints_of(n, "split", n->since >= 13 ? 1 : n->n_in);
    if (!fe_dims(n, 0, &x) || x.rank != 1 || (sizes.v && sizes.n != n->n_out) ||
        (!sizes.v && x.n % (n->n_out ? n->n_out : 1))) {
        return false;
    }
    int at = 0;
    for (int i = 0; i < n->n_out; i++) {
        int64_t len = sizes.v ? sizes.v[i] : x.n / n->n_out;
        if (len < 0 || len > x.n - at) {
            return false;
        }
        fe_out_dims(n, i, &(FeDims){x.dtype, 1, (int)len, x.v + at});
        at += (int)len;
    }
    return at == x.n;
}

// Squeeze, Unsqueeze and Reshape between rank 0 and rank 1 keep the entries.
static bool change_rank(FeNode *n, int rank) {
    FeDims d;
    if (!fe_dims(n, 0, &d) || (rank == 0 && d.n != 1)) {
        return false;
    }
    d.rank = rank;
    fe_out_dims(n, 0, &d);
    return true;
}

static int input_rank(FeNode *n) {
    IrType t;
    return fe_type(n, 0, &t) ? t.shape.rank : -1;
}

bool fe_dims_squeeze(FeNode *n) {
    IrInts axes = fe_ints_of(n, "axes", 1);
    return axes.n <= 1 && input_rank(n) == 1 && change_rank(n, 0);
}

bool fe_dims_unsqueeze(FeNode *n) {
    IrInts axes = fe_ints_of(n, "axes", 1);
    return axes.n == 1 && input_rank(n) == 0 && change_rank(n, 1);
}

bool fe_dims_reshape(FeNode *n) {
    IrType t;
    const FeValue *x = n->n_in > 0 ? n->in[0] : NULL;
    if (!x || !x->dims || (n->since >= 5 && (!fe_type(n, 1, &t) || t.shape.rank != 1))) {
        return false;
    }
    IrInts target = n->since < 5 ? fe_attr_ints(n, "shape") : fe_ints(n, 1);
    return target.n <= 1 && (!target.n || target.v[0] == -1 || target.v[0] == x->dims->n) &&
           change_rank(n, target.n);
}

// ---------------------------------------------------------------- Reshape's target

bool fe_reshape_target(FeNode *n, const IrShape *x, const FeDims *target, bool allow_zero,
                       IrShape *out) {
    if (target->n > IR_MAX_RANK) {
        fe_refuse(n, "the new shape has %d dimensions, at most %d are supported", target->n,
                  IR_MAX_RANK);
        return false;
    }
    IrDim entry[IR_MAX_RANK], rest = ir_dim(1), elems;
    FeDims t = {target->dtype, 1, target->n, entry};
    int open = -1;
    for (int i = 0; i < t.n; i++) {
        entry[i] = target->v[i];
        if (ir_dim_is(entry[i], 0) && !allow_zero) {
            if (i >= x->rank) {
                fe_refuse(n, "entry %d of the new shape copies a dimension that the input lacks",
                          i);
                return false;
            }
            entry[i] = x->dim[i];
        } else if (ir_dim_is(entry[i], -1)) {
            if (open >= 0) {
                fe_refuse(n, "the new shape has two entries of -1");
                return false;
            }
            open = i;
        }
    }
    *out = (IrShape){.rank = t.n};
    for (int i = 0; i < t.n; i++) {
        out->dim[i] = entry[i];
        if (i != open && (entry[i].c < 0 || entry[i].n < 0 || !ir_dim_mul(rest, entry[i], &rest))) {
            fe_refuse(n, "entry %d of the new shape is %lld", i, (long long)entry[i].c);
            return false;
        }
    }
    if (open < 0) {
        return true;
    }
    if (!ir_shape_elems(x, &elems) ||
        (!ir_dim_is(rest, 0) && !fe_dim_quotient(elems, rest, &out->dim[open]))) {
        fe_refuse(n, "the -1 of the new shape cannot be resolved");
        return false;
    }
    if (ir_dim_is(rest, 0)) {
        out->dim[open] = ir_dim(0);
    }
    FeOpening *o = &n->fe->opening;
    bool joins = open > 0 && out->dim[open].n && x->dim[0].n && ir_dim_is(target->v[0], 1);
    o->joins = joins && !o->joins ? n->b.name : o->joins;
    return true;
}
