// Epsilons and bounds: told by where they stand, whatever their digits. One that trained would
// leave a root of less than 0 to the next step.
//
//   sqrt(mean(x * x) + c)   x / (norm(x) + c)   1 / max(norm(x), c)   (x + c) ^ 0.3   log(x + c)
#include "passes/train/range.h"

#include "passes/train/content.h"
#include "passes/train/flow.h"
#include "passes/util.h"

#include <math.h>

enum { DEPTH = 12 }; // nodes that are looked through

static const IrValue *behind_moves(const IrValue *v) {
    while (v->def && pass_only_moves(v->def->op)) {
        v = ir_in(v->def, 0);
    }
    return v;
}

// The only number of a constant, moved or not. False: it has several, or is none.
static bool read_number(IrProgram *p, const IrValue *v, double *x) {
    v = behind_moves(v);
    PassNumbers t = v->konst ? pass_numbers(p, v->konst) : (PassNumbers){0};
    *x = t.n ? t.v[0] : NAN;
    return t.n && pass_all_are(p, v->konst, *x);
}

// Numbers that are scaled, shifted by one number, cut off.
static bool only_scales(IrProgram *p, const IrNode *n, int index) {
    double x;
    bool binary = n->op == IR_OP_MUL || n->op == IR_OP_ADD || n->op == IR_OP_MAXIMUM ||
                  n->op == IR_OP_MINIMUM || (n->op == IR_OP_DIV && index == 0);
    return n->op == IR_OP_CLIP || n->op == IR_OP_RELU || n->op == IR_OP_ABS ||
           pass_only_moves(n->op) || (binary && read_number(p, ir_in(n, 1 - index), &x));
}

// A sum, mean or norm, or what is computed from such and single numbers; a square.
static bool is_moment(IrProgram *p, const IrValue *v, int depth) {
    const IrNode *n = v->def;
    if (!n || !depth) {
        return false;
    }
    bool both = n->op == IR_OP_MUL || n->op == IR_OP_SUB || n->op == IR_OP_MATMUL;
    if (pass_is_reduce(n) || n->op == IR_OP_AVG_POOL ||
        (n->op == IR_OP_MUL && ir_in(n, 0) == ir_in(n, 1))) {
        return true;
    }
    if (n->op == IR_OP_SQRT || n->op == IR_OP_POW || only_scales(p, n, 0)) {
        return is_moment(p, ir_in(n, 0), depth - 1);
    }
    return (both && is_moment(p, ir_in(n, 0), depth - 1) && is_moment(p, ir_in(n, 1), depth - 1)) ||
           (only_scales(p, n, 1) && is_moment(p, ir_in(n, 1), depth - 1));
}

typedef enum Need { // what what reads a number requires
    NOTHING,
    POSITIVE, // of a base: more than 0, or at least 0
    DIVIDES,  // is divided by, or its logarithm taken
} Need;

// The power is none that any number has.
static bool is_power(IrProgram *p, const IrNode *n, int index) {
    double x;
    return n->op == IR_OP_POW && index == 0 &&
           (!read_number(p, ir_in(n, 1), &x) || x < 0 || x != floor(x));
}

static Need find_need(IrProgram *p, const IrValue *v, int depth) {
    Need need = NOTHING;
    for (const IrUse *u = depth ? v->uses : NULL; u && need != POSITIVE; u = u->next) {
        const IrNode *n = u->node;
        Need more = n->op == IR_OP_SQRT || is_power(p, n, u->index)               ? POSITIVE
                    : n->op == IR_OP_LOG || (n->op == IR_OP_DIV && u->index == 1) ? DIVIDES
                    : only_scales(p, n, u->index) ? find_need(p, n->out[0], depth - 1)
                                                  : NOTHING;
        need = more == POSITIVE || need == NOTHING ? more : need;
    }
    return need;
}

static const double small = 0.01; // no more than that is an epsilon, beside whatever it is

bool pass_is_epsilon(IrProgram *p, const IrNode *n, int index) {
    double x;
    if ((n->op != IR_OP_ADD && n->op != IR_OP_MAXIMUM) || n->n_in != 2 ||
        !read_number(p, ir_in(n, index), &x)) {
        return false;
    }
    Need need = find_need(p, n->out[0], DEPTH);
    bool one = pass_is_number(ir_in(n, index)) && need == POSITIVE;
    return need && (one || fabs(x) <= small || is_moment(p, ir_in(n, 1 - index), DEPTH));
}

// Of two single numbers the bound is that of lower rank, or the second.
bool pass_is_bound(const IrNode *n, int index) {
    if ((n->op != IR_OP_MAXIMUM && n->op != IR_OP_MINIMUM) || !pass_is_number(ir_in(n, index))) {
        return false;
    }
    const IrValue *v = behind_moves(ir_in(n, index)), *other = behind_moves(ir_in(n, 1 - index));
    int ranks = v->type.shape.rank - other->type.shape.rank;
    bool beside = !other->konst || !pass_is_number(other);
    return v->konst && (beside || ranks < 0 || (ranks == 0 && index == 1));
}
