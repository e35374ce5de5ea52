// Whether an output of probabilities can be trained that no softmax ends. The loss reads their
// logarithm and makes them again by its softmax, which is true of numbers that add up to 1:
//
//   %p = softmax %a, %q = softmax %b
//   %y = mul (add %p, %q), splat(0.5)    adds up to 1: the loss reads log %y
//   %y = mul %p, %q                      does not: refused, it would be shown another way
//
// What the classes of each image add up to is told op by op from the softmaxes down, for any number
// of classes.
#include "passes/train/head.h"
#include "passes/util.h"

#include <math.h>

static const double slack = 1e-3; // a weighted mean's weights, a clip's bounds

typedef struct Odds {
    IrProgram *prog;
    const PassHead *h;
    double *total; // by value id; NAN: not told
} Odds;

static double total_of(const Odds *o, const IrNode *n, int at) {
    return o->total[ir_in(n, at)->id];
}

// The axis of the classes in v; -1: none.
static int axis_of(const Odds *o, const IrValue *v) {
    int axis = o->h->axis[v->id];
    return axis >= 0
               ? axis
               : pass_head_class_axis(&v->type.shape, pass_head_classes(o->h->nodes[0]), true);
}

// ---------------------------------------------------------------- rules by ops

static double after_softmax(const Odds *o, const IrNode *n) {
    return ir_int(n, IR_ATTR_AXIS, -1) == axis_of(o, n->out[0]) ? 1 : NAN;
}

static double after_reduce(const Odds *o, const IrNode *n) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    double t = total_of(o, n, 0);
    for (int i = 0; i < axes.n; i++) {
        IrDim d = ir_in(n, 0)->type.shape.dim[axes.v[i]];
        bool sums = n->op == IR_OP_REDUCE_SUM;
        t = axes.v[i] == axis_of(o, ir_in(n, 0)) || (sums && d.n) ? NAN : sums ? t * d.c : t;
    }
    return t;
}

// Padding that counts takes from the mean at the edges.
static double after_pool(const Odds *o, const IrNode *n) {
    bool keeps = axis_of(o, ir_in(n, 0)) == 1 && !ir_int(n, IR_ATTR_COUNT_PAD, 0);
    return keeps ? total_of(o, n, 0) : NAN;
}

static double after_clip(const Odds *o, const IrNode *n) {
    bool keeps = ir_float(n, IR_ATTR_MIN, 0) <= slack && ir_float(n, IR_ATTR_MAX, 1) >= 1 - slack;
    return keeps ? total_of(o, n, 0) : NAN;
}

static double after_concat(const Odds *o, const IrNode *n) { // each row of so many classes
    double t = total_of(o, n, 0);
    for (int i = 1; i < n->n_in; i++) {
        t = total_of(o, n, i) == t ? t : NAN;
    }
    return t;
}

static double after_add(const Odds *o, const IrNode *n) {
    return total_of(o, n, 0) + total_of(o, n, 1);
}

static double after_scaling(const Odds *o, const IrNode *n) {
    const IrNode *reduce = pass_share_of_sum(o->prog, n);
    if (reduce) {
        IrInts axes = ir_ints(reduce, IR_ATTR_AXES);
        return axes.n == 1 && axes.v[0] == axis_of(o, ir_in(reduce, 0)) ? 1 : NAN;
    }
    int at = ir_const_is_scalar(ir_in(n, 0)) && n->op == IR_OP_MUL ? 0 : 1;
    if (!ir_const_is_scalar(ir_in(n, at))) {
        return NAN;
    }
    double x = ir_const_scalar(o->prog, ir_in(n, at)->konst, 0), t = total_of(o, n, 1 - at);
    return n->op == IR_OP_MUL ? t * x : t / x;
}

static double after(const Odds *o, const IrNode *n) {
    static double (*const rules[IR_OP_COUNT])(const Odds *, const IrNode *) = {
        [IR_OP_SOFTMAX] = after_softmax,   [IR_OP_REDUCE_MEAN] = after_reduce,
        [IR_OP_REDUCE_SUM] = after_reduce, [IR_OP_AVG_POOL] = after_pool,
        [IR_OP_CLIP] = after_clip,         [IR_OP_CONCAT] = after_concat,
        [IR_OP_ADD] = after_add,           [IR_OP_MUL] = after_scaling,
        [IR_OP_DIV] = after_scaling};
    static const bool keeps[IR_OP_COUNT] = {[IR_OP_CAST] = true,
                                            [IR_OP_RESIZE] = true,
                                            [IR_OP_ROUND_F16] = true,
                                            [IR_OP_ROUND_BF16] = true};
    return keeps[n->op] || pass_head_only_moves(n) || pass_head_is_quantizer(n) ? total_of(o, n, 0)
           : rules[n->op]                                                       ? rules[n->op](o, n)
                                                                                : NAN;
}

// ---------------------------------------------------------------- the whole

// The first node behind which nothing is told of what adds up in front of it; the output's maker.
static const IrNode *where_lost(const Odds *o, const IrGraph *g) {
    for (int i = 0; i < o->h->n_below; i++) {
        const IrNode *n = o->h->below[i];
        for (int k = 0; k < n->n_in && isnan(o->total[n->out[0]->id]); k++) {
            if (ir_in(n, k) && !isnan(total_of(o, n, k))) {
                return n;
            }
        }
    }
    return g->outputs[0]->def;
}

// Which no softmax can take the place of, as it does of one that ends the network; NULL: none.
static const IrNode *sigmoid_on_the_way(IrGraph *g, const PassHead *h) {
    PassScores s = pass_scores(g, 0);
    if (h->end || s.kind == PASS_SCORES_SIGMOID) {
        return h->end ? NULL : s.maker;
    }
    for (int i = 0; i < h->n_below; i++) {
        if (h->below[i]->op == IR_OP_SIGMOID) {
            return h->below[i];
        }
    }
    return NULL;
}

static double output_total(Odds *o, const IrGraph *g) {
    o->total = ir_alloc_array(g->prog->arena, g->next_id, sizeof *o->total);
    for (uint32_t i = 0; i < g->next_id; i++) {
        o->total[i] = NAN;
    }
    for (int i = 0; i < o->h->n_below; i++) {
        const IrNode *n = o->h->below[i];
        o->total[n->out[0]->id] = after(o, n);
    }
    return o->total[g->outputs[0]->id];
}

bool pass_head_check_odds(IrGraph *g, const PassHead *h, bool each) {
    const IrNode *sigmoid = each ? NULL : sigmoid_on_the_way(g, h);
    if (sigmoid) {
        ir_error(g->prog->diag, (IrWhere){sigmoid->name, sigmoid->src_op},
                 "NYI: classes that exclude each other are trained, this node makes a number of "
                 "each class by itself, and no softmax can take its place on the way to the output "
                 "'%s'; end the network in logits",
                 g->outputs[0]->name);
        return false;
    }
    Odds o = {.prog = g->prog, .h = h};
    if (!h->joins_odds || fabs(output_total(&o, g) - 1) <= slack) {
        return true;
    }
    const IrNode *n = where_lost(&o, g);
    ir_error(g->prog->diag, (IrWhere){n->name, n->src_op},
             "the output '%s' has numbers between 0 and 1 that, from this node on, need not add up "
             "to 1 over the classes, and training would make others of them; end the network in "
             "logits, one softmax or a mean of several",
             g->outputs[0]->name);
    return false;
}
