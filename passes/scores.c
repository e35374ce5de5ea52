// What the numbers of an output are: logits, or probabilities already, whatever follows the
// softmax or sigmoid that made them.
//
//   %s = softmax %l                  %s in [0, 1]
//   %q = round(div %s, splat(1/255)) %q in [0, 255]
//   %y = mul(clip %q, splat(1/255))  %y in [0, 1]: probabilities
//
// A rule per op says in which range its result lies when its operands lie in theirs, so nothing
// that keeps probabilities needs a name here: quantizers, clips, casts, shapes, means of several
// heads, and a sigmoid or softmax that is spelled out. Beside it, the way up from the output to
// what made the numbers, through nodes that read one operand that is no constant.
#include "passes/util.h"

#include <math.h>

enum { MAX_STEPS = 512, MAX_ELEMS = 1 << 16 };
static const double slack = 0.02; // quantized probabilities end a little beside 0 and 1

typedef struct Range {
    double lo, hi;
} Range;

static const Range anything = {-INFINITY, INFINITY};

typedef struct Walk {
    IrProgram *prog;
    int left; // steps, for graphs whose paths are many
} Walk;

static Range range_of(Walk *w, const IrValue *v);

static Range join(Range a, Range b) {
    return (Range){fmin(a.lo, b.lo), fmax(a.hi, b.hi)};
}

static Range ordered(double a, double b, double c, double d) {
    Range r = {fmin(fmin(a, b), fmin(c, d)), fmax(fmax(a, b), fmax(c, d))};
    return isnan(a) || isnan(b) || isnan(c) || isnan(d) ? anything : r;
}

static double times(double a, double b) { // what is bounded by 0 stays 0
    return a == 0 || b == 0 ? 0 : a * b;
}

static Range range_of_const(Walk *w, const IrValue *v) {
    int64_t n = pass_elems(&v->type);
    Range r = {INFINITY, -INFINITY};
    if (n < 1 || n > MAX_ELEMS)
        return anything;
    for (int64_t i = 0; i < n; i++) {
        double x = ir_const_scalar(w->prog, v->konst, i);
        if (isnan(x))
            return anything;
        r = join(r, (Range){x, x});
    }
    return r;
}

// v without what adds a little to it or repeats it, against a division by 0.
static const IrValue *strip(Walk *w, const IrValue *v) {
    for (const IrNode *n; (n = v->def); v = ir_in(n, 0)) {
        bool adds = (n->op == IR_OP_ADD || n->op == IR_OP_MAXIMUM) && ir_in(n, 1)->konst &&
                    range_of_const(w, ir_in(n, 1)).lo >= 0;
        if (!adds && n->op != IR_OP_EXPAND && n->op != IR_OP_COPY && n->op != IR_OP_CLIP)
            break;
    }
    return v;
}

// The sum in x / sum(x) of numbers that are not negative, softmax among them; the division may be a
// product.
static const IrNode *share_of_sum(Walk *w, const IrNode *n) {
    const IrValue *x = ir_in(n, 0), *sum = ir_in(n, 1);
    if (n->op == IR_OP_MUL) {
        const IrNode *inverse = pass_def(sum, IR_OP_DIV);
        if (!inverse) {
            inverse = pass_def(x, IR_OP_DIV);
            x = sum;
        }
        Range one = inverse ? range_of(w, ir_in(inverse, 0)) : anything;
        if (one.lo != 1 || one.hi != 1)
            return NULL;
        sum = ir_in(inverse, 1);
    } else if (n->op != IR_OP_DIV) {
        return NULL;
    }
    const IrNode *reduce = pass_def(strip(w, sum), IR_OP_REDUCE_SUM);
    return reduce && ir_in(reduce, 0) == x && range_of(w, x).lo >= 0 ? reduce : NULL;
}

static Range range_of_binary(Walk *w, const IrNode *n) {
    if (share_of_sum(w, n))
        return (Range){0, 1};
    Range a = range_of(w, ir_in(n, 0)), b = range_of(w, ir_in(n, 1));
    switch (n->op) {
    case IR_OP_ADD:
        return ordered(a.lo + b.lo, a.lo + b.lo, a.hi + b.hi, a.hi + b.hi);
    case IR_OP_SUB:
        return ordered(a.lo - b.hi, a.lo - b.hi, a.hi - b.lo, a.hi - b.lo);
    case IR_OP_MUL:
        return ordered(times(a.lo, b.lo), times(a.lo, b.hi), times(a.hi, b.lo), times(a.hi, b.hi));
    case IR_OP_DIV:
        return b.lo > 0 || b.hi < 0 ? ordered(a.lo / b.lo, a.lo / b.hi, a.hi / b.lo, a.hi / b.hi)
                                    : anything;
    case IR_OP_MAXIMUM:
        return (Range){fmax(a.lo, b.lo), fmax(a.hi, b.hi)};
    case IR_OP_MINIMUM:
        return (Range){fmin(a.lo, b.lo), fmin(a.hi, b.hi)};
    default:
        return anything;
    }
}

static Range within_type(Range r, IrDtype t) {
    return (Range){fmax(r.lo, ir_dtype_lowest(t)), fmin(r.hi, ir_dtype_highest(t))};
}

static Range range_of_cast(const IrNode *n, Range r) {
    IrDtype to = n->out[0]->type.dtype;
    return ir_dtype_is_float(to) ? r : within_type((Range){trunc(r.lo), trunc(r.hi)}, to);
}

// quantize, dequantize
static Range range_of_quantizer(Walk *w, const IrNode *n) {
    Range x = range_of(w, ir_in(n, 0)), scale = range_of(w, ir_in(n, 1)), zero = {0, 0};
    zero = ir_in(n, 2) ? range_of(w, ir_in(n, 2)) : zero;
    if (!(scale.lo > 0))
        return anything;
    if (n->op == IR_OP_QUANTIZE) {
        x = ordered(x.lo / scale.lo, x.lo / scale.hi, x.hi / scale.lo, x.hi / scale.hi);
        return within_type((Range){floor(x.lo) + zero.lo, ceil(x.hi) + zero.hi},
                           n->out[0]->type.dtype);
    }
    x = within_type(x, ir_in(n, 0)->type.dtype);
    x = (Range){x.lo - zero.hi, x.hi - zero.lo};
    return ordered(times(x.lo, scale.lo), times(x.lo, scale.hi), times(x.hi, scale.lo),
                   times(x.hi, scale.hi));
}

static Range range_of_sum(const IrNode *n, Range r) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    double count = 1;
    for (int i = 0; i < axes.n; i++) {
        IrDim d = ir_in(n, 0)->type.shape.dim[axes.v[i]];
        count *= d.n ? INFINITY : (double)d.c;
    }
    return (Range){times(r.lo, count), times(r.hi, count)};
}

static Range range_of_unary(const IrNode *n, Range r) {
    switch (n->op) {
    case IR_OP_SOFTMAX:
    case IR_OP_SIGMOID:
    case IR_OP_HARD_SIGMOID:
        return (Range){0, 1};
    case IR_OP_LOG_SOFTMAX:
        return (Range){-INFINITY, 0};
    case IR_OP_TANH:
    case IR_OP_ERF:
        return (Range){-1, 1};
    case IR_OP_EXP:
        return (Range){exp(r.lo), exp(r.hi)};
    case IR_OP_LOG:
        return (Range){r.lo > 0 ? log(r.lo) : -INFINITY, r.hi > 0 ? log(r.hi) : -INFINITY};
    case IR_OP_SQRT:
        return (Range){sqrt(fmax(r.lo, 0)), sqrt(fmax(r.hi, 0))};
    case IR_OP_NEG:
        return (Range){-r.hi, -r.lo};
    case IR_OP_ABS:
        return (Range){r.lo > 0 ? r.lo : r.hi < 0 ? -r.hi : 0, fmax(fabs(r.lo), fabs(r.hi))};
    case IR_OP_RELU:
        return (Range){fmax(r.lo, 0), fmax(r.hi, 0)};
    case IR_OP_CLIP: {
        double lo = ir_float(n, IR_ATTR_MIN, -INFINITY), hi = ir_float(n, IR_ATTR_MAX, INFINITY);
        return (Range){fmin(fmax(r.lo, lo), hi), fmin(fmax(r.hi, lo), hi)};
    }
    case IR_OP_ROUND:
    case IR_OP_FLOOR:
    case IR_OP_CEIL:
        return (Range){floor(r.lo), ceil(r.hi)};
    case IR_OP_CAST:
        return range_of_cast(n, r);
    case IR_OP_REDUCE_SUM:
        return range_of_sum(n, r);
    case IR_OP_AVG_POOL:
        return join(r, (Range){0, 0}); // padding may count
    case IR_OP_ROUND_F16:
    case IR_OP_ROUND_BF16:
    case IR_OP_RESHAPE:
    case IR_OP_TRANSPOSE:
    case IR_OP_COPY:
    case IR_OP_DROPOUT:
    case IR_OP_SLICE:
    case IR_OP_EXPAND:
    case IR_OP_GATHER:
    case IR_OP_MAX_POOL:
    case IR_OP_REDUCE_MEAN:
    case IR_OP_REDUCE_MAX:
    case IR_OP_REDUCE_MIN:
        return r;
    default:
        return anything;
    }
}

static Range range_of(Walk *w, const IrValue *v) {
    if (v->konst)
        return range_of_const(w, v);
    const IrNode *n = v->def;
    if (!n || v != n->out[0] || --w->left < 0)
        return anything;
    if (n->op == IR_OP_QUANTIZE || n->op == IR_OP_DEQUANTIZE)
        return range_of_quantizer(w, n);
    if (n->op == IR_OP_CONCAT || n->op == IR_OP_WHERE) {
        int first = n->op == IR_OP_WHERE;
        Range r = range_of(w, ir_in(n, first));
        for (int i = first + 1; i < n->n_in; i++)
            r = join(r, range_of(w, ir_in(n, i)));
        return r;
    }
    bool index = n->op == IR_OP_GATHER;
    return n->n_in == 2 && !index ? range_of_binary(w, n)
                                  : range_of_unary(n, range_of(w, ir_in(n, 0)));
}

// ---------------------------------------------------------------- what made them

bool pass_makes_scores(IrOp op) {
    return op == IR_OP_SOFTMAX || op == IR_OP_LOG_SOFTMAX || op == IR_OP_SIGMOID ||
           op == IR_OP_HARD_SIGMOID;
}

// A constant, or one in another type or shape.
static bool is_constant(const IrValue *v) {
    while (!v->konst && v->def && v->def->n_in == 1)
        v = ir_in(v->def, 0);
    return v->konst != NULL;
}

bool pass_hands_on(const IrNode *n) {
    static const bool copies[IR_OP_COUNT] = {
        [IR_OP_CAST] = true,       [IR_OP_RESHAPE] = true, [IR_OP_TRANSPOSE] = true,
        [IR_OP_COPY] = true,       [IR_OP_DROPOUT] = true, [IR_OP_SLICE] = true,
        [IR_OP_EXPAND] = true,     [IR_OP_GATHER] = true,  [IR_OP_ROUND_F16] = true,
        [IR_OP_ROUND_BF16] = true, [IR_OP_ROUND] = true,   [IR_OP_QUANTIZE] = true,
        [IR_OP_DEQUANTIZE] = true,
    };
    return copies[n->op];
}

IrValue *pass_carried(const IrNode *n) {
    IrValue *found = NULL;
    bool passes = ir_op_info(n->op)->flags & IR_FLAG_E || pass_hands_on(n) ||
                  n->op == IR_OP_MAX_POOL || n->op == IR_OP_AVG_POOL || pass_is_reduce(n);
    for (int i = 0; passes && i < n->n_in; i++) {
        if (is_constant(ir_in(n, i)))
            continue;
        if (found)
            return NULL;
        found = ir_in(n, i);
    }
    return found;
}

const IrNode *pass_share_of_sum(IrProgram *p, const IrNode *n) {
    Walk w = {p, MAX_STEPS};
    return n->n_in == 2 ? share_of_sum(&w, n) : NULL;
}

PassScores pass_scores(IrGraph *g, int output) {
    IrValue *y = output < g->n_outputs ? g->outputs[output] : NULL;
    PassScores s = {PASS_SCORES_LOGITS, NULL};
    Walk w = {g->prog, MAX_STEPS};
    bool logs = false, share = false;
    if (!y)
        return s;
    for (IrValue *v = y; v && v->def && !s.maker && !share; v = pass_carried(v->def)) {
        share = share_of_sum(&w, v->def) != NULL;
        logs = (logs || v->def->op == IR_OP_LOG) && v->def->op != IR_OP_EXP;
        s.maker = pass_makes_scores(v->def->op) ? v->def : NULL;
    }
    bool is_log = s.maker && s.maker->op == IR_OP_LOG_SOFTMAX;
    w.left = MAX_STEPS;
    Range r = range_of(&w, y);
    if (r.lo >= -slack && r.hi <= 1 + slack) {
        bool alone = s.maker && !is_log && s.maker->op != IR_OP_SOFTMAX;
        s.kind = alone ? PASS_SCORES_SIGMOID : PASS_SCORES_PROBABILITIES;
    } else if ((s.maker || share) && r.hi <= slack && (logs || is_log)) {
        s.kind = PASS_SCORES_LOG_PROBABILITIES;
    } else if (s.maker || share) {
        s.kind = PASS_SCORES_OTHER;
    }
    return s;
}
