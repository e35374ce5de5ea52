// What is known at compile time of integers that a program computes: sizes that data decides, on
// their way through Shape, Concat, Min and the like to where they say how large something is.
//
// Intervals, walked up from the element that is asked for: a constant is itself, a count is from 0
// to its bound, a sum is from the sum of the lower ends to that of the upper ends. What is moved
// stays the same element of the same value, what is added to it and how often it is taken are
// known: by that two sizes are known to be one, and K * 6 + (300 - K) * 6 to be 1800. However
// values are shared, no walk is longer than MOST_STEPS.
#include "frontend/import.h"

enum { MOST_STEPS = 4096 };

typedef struct Walk {
    IrProgram *prog;
    int steps; // left
} Walk;

typedef FeEntry EntryRule(Walk *w, const IrValue *v, int64_t i);

static FeEntry walk(Walk *w, const IrValue *v, int64_t i);

static FeEntry interval(int64_t lo, int64_t hi) {
    return (FeEntry){.lo = lo, .hi = hi < lo ? lo : hi};
}

static FeEntry either(FeEntry a, FeEntry b) {
    return interval(a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi);
}

static int64_t count_elems(const IrValue *v) {
    IrDim elems;
    return ir_shape_elems(&v->type.shape, &elems) && elems.n == 0 ? elems.c : INT64_MAX;
}

// ---------------------------------------------------------------- elementwise

// Integers wrap around: a sum that may be outside of i64 may be anything.
static FeEntry wide(__int128 lo, __int128 hi) {
    bool fits = lo >= INT64_MIN && hi <= INT64_MAX;
    return fits ? interval((int64_t)lo, (int64_t)hi) : interval(INT64_MIN, INT64_MAX);
}

// `times` times the element that `of` is made of, and `plus`: e, where that is known.
static FeEntry multiple(FeEntry of, __int128 times, __int128 plus, FeEntry e) {
    bool wraps = e.lo == INT64_MIN && e.hi == INT64_MAX;
    if (wraps || times < INT64_MIN || times > INT64_MAX || plus < INT64_MIN || plus > INT64_MAX) {
        return e;
    }
    e.from = times ? of.from : NULL;
    e.at = of.at;
    e.times = (int64_t)times;
    e.plus = (int64_t)plus;
    return e;
}

// a and b, or a without b: multiples of one element are one of it.
static FeEntry sum(FeEntry a, FeEntry b, int sign) {
    FeEntry e = sign > 0 ? wide((__int128)a.lo + b.lo, (__int128)a.hi + b.hi)
                         : wide((__int128)a.lo - b.hi, (__int128)a.hi - b.lo);
    if (a.from && a.from == b.from && a.at == b.at) {
        __int128 times = (__int128)a.times + (__int128)sign * b.times;
        __int128 plus = (__int128)a.plus + (__int128)sign * b.plus;
        __int128 lo = ((__int128)a.lo - a.plus) / a.times, hi = ((__int128)a.hi - a.plus) / a.times;
        __int128 x = times * lo + plus, y = times * hi + plus;
        return multiple(a, times, plus, wide(x < y ? x : y, x < y ? y : x));
    }
    if (a.from && b.lo == b.hi) {
        return multiple(a, a.times, (__int128)a.plus + (__int128)sign * b.lo, e);
    }
    if (b.from && a.lo == a.hi) {
        return multiple(b, (__int128)sign * b.times, a.lo + (__int128)sign * b.plus, e);
    }
    return e;
}

static FeEntry add(FeEntry a, FeEntry b) {
    return sum(a, b, 1);
}

static FeEntry subtract(FeEntry a, FeEntry b) {
    return sum(a, b, -1);
}

static FeEntry multiply(FeEntry a, FeEntry b) {
    const __int128 p[] = {(__int128)a.lo * b.lo, (__int128)a.lo * b.hi, (__int128)a.hi * b.lo,
                          (__int128)a.hi * b.hi};
    __int128 lo = p[0], hi = p[0];
    for (int i = 1; i < 4; i++) {
        lo = p[i] < lo ? p[i] : lo;
        hi = p[i] > hi ? p[i] : hi;
    }
    if (a.lo == a.hi && b.from) {
        return multiple(b, (__int128)a.lo * b.times, (__int128)a.lo * b.plus, wide(lo, hi));
    }
    if (b.lo == b.hi && a.from) {
        return multiple(a, (__int128)b.lo * a.times, (__int128)b.lo * a.plus, wide(lo, hi));
    }
    return wide(lo, hi);
}

static FeEntry least(FeEntry a, FeEntry b) {
    return interval(a.lo < b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi);
}

static FeEntry greatest(FeEntry a, FeEntry b) {
    return interval(a.lo > b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi);
}

// Operand k where result i of an elementwise node reads it; a repeated one is known as a whole.
static FeEntry operand(Walk *w, const IrNode *n, int k, int64_t i) {
    const IrValue *x = ir_in(n, k);
    int64_t elems = count_elems(x);
    return walk(w, x, elems == 1 ? 0 : elems == count_elems(n->out[0]) ? i : FE_ANY);
}

static FeEntry add_rule(Walk *w, const IrValue *v, int64_t i) {
    return add(operand(w, v->def, 0, i), operand(w, v->def, 1, i));
}

static FeEntry sub_rule(Walk *w, const IrValue *v, int64_t i) {
    return subtract(operand(w, v->def, 0, i), operand(w, v->def, 1, i));
}

static FeEntry mul_rule(Walk *w, const IrValue *v, int64_t i) {
    return multiply(operand(w, v->def, 0, i), operand(w, v->def, 1, i));
}

// By a divisor that is positive: towards zero, as the quotient of integers is.
static FeEntry div_rule(Walk *w, const IrValue *v, int64_t i) {
    FeEntry a = operand(w, v->def, 0, i), b = operand(w, v->def, 1, i);
    if (b.lo < 1) {
        return interval(INT64_MIN, INT64_MAX);
    }
    return interval(a.lo / (a.lo < 0 ? b.lo : b.hi), a.hi / (a.hi < 0 ? b.hi : b.lo));
}

static FeEntry min_rule(Walk *w, const IrValue *v, int64_t i) {
    return least(operand(w, v->def, 0, i), operand(w, v->def, 1, i));
}

static FeEntry max_rule(Walk *w, const IrValue *v, int64_t i) {
    return greatest(operand(w, v->def, 0, i), operand(w, v->def, 1, i));
}

static FeEntry neg_rule(Walk *w, const IrValue *v, int64_t i) {
    return subtract(interval(0, 0), operand(w, v->def, 0, i));
}

static FeEntry abs_rule(Walk *w, const IrValue *v, int64_t i) {
    FeEntry a = operand(w, v->def, 0, i), b = subtract(interval(0, 0), a);
    return a.lo >= 0 ? a : b.lo >= 0 ? b : b.lo == INT64_MIN ? b : interval(0, greatest(a, b).hi);
}

static FeEntry equal_rule(Walk *w, const IrValue *v, int64_t i) {
    FeEntry a = operand(w, v->def, 0, i), b = operand(w, v->def, 1, i);
    return interval(a.lo == a.hi && b.lo == b.hi && a.lo == b.lo, !(a.hi < b.lo || b.hi < a.lo));
}

static FeEntry less_rule(Walk *w, const IrValue *v, int64_t i) {
    FeEntry a = operand(w, v->def, 0, i), b = operand(w, v->def, 1, i);
    return interval(a.hi < b.lo, a.lo < b.hi);
}

static FeEntry greater_rule(Walk *w, const IrValue *v, int64_t i) {
    FeEntry a = operand(w, v->def, 0, i), b = operand(w, v->def, 1, i);
    return interval(a.lo > b.hi, a.hi > b.lo);
}

static FeEntry where_rule(Walk *w, const IrValue *v, int64_t i) {
    FeEntry c = operand(w, v->def, 0, i);
    if (c.lo == c.hi) {
        return operand(w, v->def, c.lo ? 1 : 2, i);
    }
    return either(operand(w, v->def, 1, i), operand(w, v->def, 2, i));
}

static FeEntry same_rule(Walk *w, const IrValue *v, int64_t i) {
    return walk(w, ir_in(v->def, 0), i);
}

// Of integers that the type holds; what it does not wraps around.
static FeEntry cast_rule(Walk *w, const IrValue *v, int64_t i) {
    FeEntry e = walk(w, ir_in(v->def, 0), i), all = interval(INT64_MIN, INT64_MAX);
    IrDtype to = v->type.dtype;
    if (to == IR_BOOL) {
        return interval(e.lo > 0 || e.hi < 0, e.lo != 0 || e.hi != 0);
    }
    bool fits = (double)e.lo >= ir_dtype_lowest(to) && (double)e.hi <= ir_dtype_highest(to);
    return ir_dtype_is_float(to) || ir_dtype_is_float(ir_in(v->def, 0)->type.dtype) || !fits ? all
                                                                                             : e;
}

// ---------------------------------------------------------------- movement

static FeEntry any_rule(Walk *w, const IrValue *v, int64_t i) {
    (void)i;
    return walk(w, ir_in(v->def, 0), FE_ANY);
}

static FeEntry concat_rule(Walk *w, const IrValue *v, int64_t i) {
    const IrNode *n = v->def;
    FeEntry all = interval(INT64_MAX, INT64_MIN);
    for (int k = 0; k < n->n_in; k++) {
        int64_t elems = count_elems(ir_in(n, k));
        if (i != FE_ANY && v->type.shape.rank == 1) {
            if (i < elems) {
                return walk(w, ir_in(n, k), i);
            }
            i -= elems;
            continue;
        }
        FeEntry e = elems ? walk(w, ir_in(n, k), FE_ANY) : all;
        all = k == 0 ? e : either(all, e);
    }
    return all;
}

// Where element i of v stands along each axis; false where that is not known.
static bool find_place(const IrValue *v, int64_t i, int64_t *place) {
    if (i == FE_ANY || count_elems(v) == INT64_MAX) {
        return false;
    }
    for (int d = v->type.shape.rank; d-- > 0; i /= v->type.shape.dim[d].c) {
        place[d] = i % v->type.shape.dim[d].c;
    }
    return true;
}

static int64_t element_at(const IrValue *v, const int64_t *place) {
    int64_t i = 0;
    for (int d = 0; d < v->type.shape.rank; d++) {
        i = i * v->type.shape.dim[d].c + place[d];
    }
    return i;
}

static FeEntry slice_rule(Walk *w, const IrValue *v, int64_t i) {
    IrInts start = ir_ints(v->def, IR_ATTR_START), step = ir_ints(v->def, IR_ATTR_STEP);
    const IrValue *x = ir_in(v->def, 0);
    int64_t place[IR_MAX_RANK];
    bool known = find_place(v, i, place) && count_elems(x) != INT64_MAX;
    for (int d = 0; d < v->type.shape.rank && known; d++) {
        place[d] = start.v[d] + place[d] * step.v[d];
    }
    return walk(w, x, known ? element_at(x, place) : FE_ANY);
}

static FeEntry transpose_rule(Walk *w, const IrValue *v, int64_t i) {
    IrInts perm = ir_ints(v->def, IR_ATTR_PERM);
    int64_t place[IR_MAX_RANK], from[IR_MAX_RANK];
    bool known = find_place(v, i, place);
    for (int d = 0; d < v->type.shape.rank && known; d++) {
        from[perm.v[d]] = place[d];
    }
    return walk(w, ir_in(v->def, 0), known ? element_at(ir_in(v->def, 0), from) : FE_ANY);
}

static FeEntry expand_rule(Walk *w, const IrValue *v, int64_t i) {
    return operand(w, v->def, 0, i);
}

static FeEntry gather_rule(Walk *w, const IrValue *v, int64_t i) {
    const IrValue *x = ir_in(v->def, 0), *at = ir_in(v->def, 1);
    int64_t k = FE_ANY;
    if (i != FE_ANY && at->konst && x->type.shape.rank == 1) {
        k = (int64_t)ir_const_scalar(w->prog, at->konst, i);
        k = k < 0 ? k + x->type.shape.dim[0].c : k;
        k = k < 0 || k >= x->type.shape.dim[0].c ? FE_ANY : k;
    }
    return walk(w, x, k);
}

// ---------------------------------------------------------------- reductions of a list, positions

static bool reduces_list(const IrNode *n) {
    return ir_in(n, 0)->type.shape.rank == 1 && count_elems(ir_in(n, 0)) <= FE_MAX_SMALL &&
           count_elems(n->out[0]) == 1;
}

static FeEntry fold_list(Walk *w, const IrNode *n, FeEntry (*join)(FeEntry, FeEntry)) {
    int64_t elems = count_elems(ir_in(n, 0));
    FeEntry e = interval(INT64_MIN, INT64_MAX);
    for (int64_t k = 0; k < elems && reduces_list(n); k++) {
        FeEntry x = walk(w, ir_in(n, 0), k);
        e = k == 0 ? x : join(e, x);
    }
    return e;
}

static FeEntry reduce_min_rule(Walk *w, const IrValue *v, int64_t i) {
    (void)i;
    return fold_list(w, v->def, least);
}

static FeEntry reduce_max_rule(Walk *w, const IrValue *v, int64_t i) {
    (void)i;
    return fold_list(w, v->def, greatest);
}

// Of lists, and of tensors whose elements are all known.
static FeEntry reduce_sum_rule(Walk *w, const IrValue *v, int64_t i) {
    (void)i;
    const IrValue *x = ir_in(v->def, 0);
    int64_t times = count_elems(x);
    if (reduces_list(v->def)) {
        return fold_list(w, v->def, add);
    }
    return multiply(either(walk(w, x, FE_ANY), interval(0, 0)), interval(0, times));
}

static FeEntry reduce_prod_rule(Walk *w, const IrValue *v, int64_t i) {
    (void)i;
    return fold_list(w, v->def, multiply);
}

// A count, or positions along an axis.
static FeEntry non_zero_rule(Walk *w, const IrValue *v, int64_t i) {
    (void)w;
    const IrNode *n = v->def;
    int64_t elems = count_elems(ir_in(n, 0)), most = 0;
    if (v == n->out[1]) {
        return interval(0, elems);
    }
    for (int a = 0; a < ir_in(n, 0)->type.shape.rank; a++) {
        int64_t size = ir_in(n, 0)->type.shape.dim[a].c;
        most = (i == FE_ANY || i / (elems ? elems : 1) == a) && size > most ? size : most;
    }
    return interval(0, most - 1);
}

static FeEntry nms_rule(Walk *w, const IrValue *v, int64_t i) {
    (void)w, (void)i;
    const IrNode *n = v->def;
    return v == n->out[1] ? interval(0, ir_int(n, IR_ATTR_SIZE, 0))
                          : interval(0, ir_in(n, 0)->type.shape.dim[1].c - 1);
}

static FeEntry position_rule(Walk *w, const IrValue *v, int64_t i) {
    const IrNode *n = v->def;
    IrDim size = ir_in(n, 0)->type.shape.dim[ir_int(n, IR_ATTR_AXIS, 0)];
    bool top = n->op == IR_OP_TOP_K;
    return top && v == n->out[0] ? any_rule(w, v, i) : interval(0, size.n ? INT64_MAX : size.c - 1);
}

static EntryRule *const rules[IR_OP_COUNT] = {
    [IR_OP_ADD] = add_rule,
    [IR_OP_SUB] = sub_rule,
    [IR_OP_MUL] = mul_rule,
    [IR_OP_DIV] = div_rule,
    [IR_OP_MINIMUM] = min_rule,
    [IR_OP_MAXIMUM] = max_rule,
    [IR_OP_NEG] = neg_rule,
    [IR_OP_ABS] = abs_rule,
    [IR_OP_EQUAL] = equal_rule,
    [IR_OP_LESS] = less_rule,
    [IR_OP_GREATER] = greater_rule,
    [IR_OP_WHERE] = where_rule,
    [IR_OP_CAST] = cast_rule,
    [IR_OP_COPY] = same_rule,
    [IR_OP_RESHAPE] = same_rule,
    [IR_OP_TRANSPOSE] = transpose_rule,
    [IR_OP_GATHER_ND] = any_rule,
    [IR_OP_GATHER_ELEMENTS] = any_rule,
    [IR_OP_CONCAT] = concat_rule,
    [IR_OP_SLICE] = slice_rule,
    [IR_OP_EXPAND] = expand_rule,
    [IR_OP_GATHER] = gather_rule,
    [IR_OP_REDUCE_MIN] = reduce_min_rule,
    [IR_OP_REDUCE_MAX] = reduce_max_rule,
    [IR_OP_REDUCE_SUM] = reduce_sum_rule,
    [IR_OP_REDUCE_PROD] = reduce_prod_rule,
    [IR_OP_NON_ZERO] = non_zero_rule,
    [IR_OP_NMS] = nms_rule,
    [IR_OP_TOP_K] = position_rule,
    [IR_OP_ARG_MAX] = position_rule,
    [IR_OP_ARG_MIN] = position_rule,
};

// ---------------------------------------------------------------- the walk

static FeEntry of_type(IrDtype t) {
    return ir_dtype_is_float(t) || ir_dtype_bytes(t) == 8
               ? interval(INT64_MIN, INT64_MAX)
               : interval((int64_t)ir_dtype_lowest(t), (int64_t)ir_dtype_highest(t));
}

static FeEntry of_const(Walk *w, const IrValue *v, int64_t i) {
    int64_t elems = count_elems(v), from = i == FE_ANY ? 0 : i, to = i == FE_ANY ? elems : i + 1;
    if (to > elems || to - from > FE_MAX_SMALL || ir_dtype_is_float(v->type.dtype)) {
        return of_type(v->type.dtype);
    }
    const void *data = ir_const_data(w->prog, v->konst);
    FeEntry e = interval(0, 0);
    w->steps -= (int)(to - from);
    for (int64_t k = from; k < to; k++) {
        int64_t x = v->type.dtype == IR_I64 ? ((const int64_t *)data)[k]
                                            : (int64_t)ir_const_scalar(w->prog, v->konst, k);
        e = k == from ? interval(x, x) : either(e, interval(x, x));
    }
    return e;
}

static FeEntry walk(Walk *w, const IrValue *v, int64_t i) {
    if (v->konst) {
        return of_const(w, v, i);
    }
    EntryRule *rule = v->def && w->steps-- > 0 ? rules[v->def->op] : NULL;
    FeEntry e = of_type(v->type.dtype);
    if (rule && (!ir_dtype_is_float(v->type.dtype) || v->def->op == IR_OP_CAST)) {
        e = rule(w, v, i);
    }
    FeEntry all = of_type(v->type.dtype);
    if (e.lo < all.lo || e.hi > all.hi) { // it wraps around
        e = all;
    }
    if (!e.from && i != FE_ANY) { // it was not only moved
        e.from = v;
        e.at = i;
        e.times = 1;
        e.plus = 0;
    }
    return e;
}

FeEntry fe_entry(FeNode *n, IrValue *v, int64_t i) {
    Walk w = {n->fe->prog, MOST_STEPS};
    return n->refused ? interval(INT64_MIN, INT64_MAX) : walk(&w, v, i);
}

enum { MOST_SETTLED = 64 }; // entries

// The value's entries, where each is known; NULL where not.
static const IrTensor *settle(FeNode *n, IrValue *v) {
    int64_t elems = count_elems(v), entry[MOST_SETTLED];
    if (ir_dtype_is_float(v->type.dtype) || v->type.shape.rank > 1 || elems > MOST_SETTLED) {
        return NULL;
    }
    for (int64_t i = 0; i < elems; i++) {
        FeEntry e = fe_entry(n, v, i);
        if (e.lo != e.hi) {
            return NULL;
        }
        entry[i] = e.lo;
    }
    return fe_tensor_of_ints(n->fe->arena, v->type.dtype, v->type.shape.rank, (int)elems, entry);
}

void fe_settle(FeNode *n) {
    for (int i = 0; i < n->n_out && n->fe->counts && !n->refused; i++) {
        FeValue *out = n->out[i];
        const IrTensor *t = out && out->v && out->v->def && !out->count ? settle(n, out->v) : NULL;
        if (t) {
            out->tensor = t;
            out->v = NULL;
        }
    }
}
