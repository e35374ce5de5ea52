// The rule of what is a parameter: every float that the file stores, from which a way with a slope
// leads to the loss, but for
//
//   single numbers (sqrt(d), eps), unless they are a weight, bias or slope of their own, have the
//   name of a module's parameter, multiply by 0, are used with their inverse (p and 1 / p), or are
//   no number that anybody writes
//   epsilons and bounds (range.c)
//   running statistics: mean and variance of a normalization, what stands under a root alone,
//   vectors that are subtracted and then divided by
//   what prepares the image: numbers per channel, or such as are subtracted or divided by, above
//   the first product, normalization or reduction; or a layer that does the same (preprocessing.c)
//   masks (-99 or less, alone or with 0; 0 and 1), grids and anchors (whole numbers, equally
//   spaced), sines of positions and their frequencies, geometric series, distances times slopes
//   weights that a formula makes: sines (DFT, DCT), orthogonal signs (Hadamard), interpolation,
//   filters that are even or odd about their centre (blur, Sobel); not the identity, which is how
//   a parameter may begin
//   tables of positions that constants are computed from (for a relative position bias)
//   scales of integers
//   filters that are the same for every channel (blur, upsampling)
//   what only the norm or a statistic of a weight is computed with (spectral norm)
//   ones and zeros of a normalization that a parameter below scales and shifts again, zeros between
//   the biases of a joined product
//
// A constant is followed through what is computed from constants alone, down to the nodes that
// bring it and the image together. `--params` overrides the rule (params.c).
#include "passes/train/role.h"

#include "passes/train/content.h"
#include "passes/train/number.h"
#include "passes/train/range.h"

#include <math.h>
#include <string.h>

static const char single[] = "single numbers",
                  statistic[] = "running statistics of a normalization",
                  range[] = "epsilons and bounds",
                  input_side[] = "prepares the image, above the first weight",
                  mask[] = "masks and selections (0 and 1, or -99 and less)",
                  whole[] = "whole numbers (anchors, grids, masks)",
                  grid[] = "equally spaced numbers (coordinates)",
                  table[] = "a table of positions that constants are computed from",
                  scale[] = "scales of integers",
                  repeated[] = "one filter for every channel (blur, upsampling)",
                  wave[] = "sines and geometric series (positions, frequencies)",
                  distance[] = "distances times slopes",
                  basis[] = "weights of a formula (transforms, interpolation, filters)",
                  auxiliary[] = "what only the norm of a weight is computed with",
                  neutral[] = "ones or zeros beside a parameter that does the same";

typedef enum Flag { // of a way from the constant on
    COMPUTED = 1,   // its numbers were not only moved
    WEIGHT = 2,     // was a weight in a product of constants, or was added below one
    TABLE = 4,      // was multiplied by one
    NORM = 8,       // became a single number, or a statistic of a weight
    ROOT = 16,      // stood under a root, or was a statistic, alone
    SCALE = 32,     // was multiplied with integers
    NEUTRAL = 64,
    SCALED = 128, // single numbers were added or multiplied
    RANGE = 256,  // was an epsilon or a bound
    CENTRE = 512, // a vector was divided by a deviation: -mean / deviation is a shift
    BENT = 1024,  // through an exponential or the like, which nobody writes of a number
} Flag;

typedef struct Way {
    PassContext *ctx;
    PassFlow *f;
    const PassOrder *order;
    IrConst *konst;
    int64_t elems;
    int n;                  // steps taken: f->steps
    bool exponent, inverse; // of a power, it and one by it
    PassRole best;
} Way;

// ---------------------------------------------------------------- what nodes do

static bool is_constant(const Way *w, const IrValue *v) {
    return !w->f->varies[v->id];
}

// The value behind moves.
static const IrValue *look_up(const IrValue *v) {
    while (v->def && (pass_only_moves(v->def->op) && v->def->op != IR_OP_CAST)) {
        v = ir_in(v->def, 0);
    }
    return v;
}

// Comes from integers, or from rounding: what it is multiplied with is a scale.
static bool is_from_integers(const Way *w, const IrValue *v) {
    for (;;) {
        v = look_up(v);
        IrOp op = v->def ? v->def->op : IR_OP_COUNT;
        if (!v->def) {
            return v->konst && !v->konst->origin && !pass_is_number(v) &&
                   pass_is_whole(w->ctx->prog, v->konst);
        }
        if (op == IR_OP_ROUND || op == IR_OP_FLOOR || op == IR_OP_CEIL ||
            (op == IR_OP_CAST && !ir_dtype_is_float(ir_in(v->def, 0)->type.dtype))) {
            return true;
        }
        if (op != IR_OP_CAST && op != IR_OP_SUB && op != IR_OP_ADD && op != IR_OP_CLIP) {
            return false;
        }
        v = ir_in(v->def, 0);
    }
}

static bool is_root(const Way *w, const IrNode *n) {
    const IrValue *power = n->op == IR_OP_POW ? ir_in(n, 1) : NULL;
    bool known = power && power->konst && pass_is_number(power);
    return n->op == IR_OP_SQRT ||
           (known && fabs(ir_const_scalar(w->ctx->prog, power->konst, 0)) == 0.5);
}

enum { DEPTH = 8 }; // of products and quotients

// A constant under a root, one by it, a gain by it: what a decomposed normalization divides by.
static bool is_deviation(const Way *w, const IrValue *v, int depth) {
    const IrNode *n = v->def;
    if (!is_constant(w, v) || !n || !depth) {
        return false;
    }
    bool scales = n->op == IR_OP_MUL || n->op == IR_OP_DIV;
    return is_root(w, n) || ((scales || n->n_in == 1 || pass_only_moves(n->op)) &&
                             (is_deviation(w, ir_in(n, 0), depth - 1) ||
                              (scales && is_deviation(w, ir_in(n, 1), depth - 1))));
}

static IrValue *other_operand(const IrNode *n, int index) {
    return n->n_in == 2 ? ir_in(n, 1 - index) : NULL;
}

static int64_t count_long_axes(const IrShape *s) {
    int n = 0;
    for (int i = 0; i < s->rank; i++) {
        n += !ir_dim_is(s->dim[i], 1);
    }
    return n;
}

static bool is_vector(const IrConst *c) {
    return c && count_long_axes(&c->type.shape) == 1;
}

// Operand `index` of n is subtracted from what is divided by a deviation.
static bool is_off_centre(const Way *w, const IrNode *n, int index) {
    const IrNode *user = n->op == IR_OP_SUB && index == 1 ? ir_only_user(n->out[0]) : NULL;
    bool scales = user && (user->op == IR_OP_DIV || user->op == IR_OP_MUL);
    return scales && is_deviation(w, ir_in(user, ir_in(user, 0) == n->out[0]), DEPTH);
}

// ---------------------------------------------------------------- among constants

static unsigned through_product(const Way *w, const IrNode *n, int index, unsigned flags) {
    flags |= index > 0 ? WEIGHT : flags & WEIGHT ? 0 : TABLE;
    return flags | (pass_is_number(n->out[0]) && w->elems > 1 ? NORM : 0);
}

// Operand `index` of n is spread over more numbers: a scale, where those are integers.
static bool is_spread(const IrNode *n, int index) {
    IrDim few, all;
    return ir_shape_elems(&ir_in(n, index)->type.shape, &few) &&
           ir_shape_elems(&n->out[0]->type.shape, &all) && !ir_dim_eq(few, all);
}

static unsigned through_arithmetic(const Way *w, const IrNode *n, int index, unsigned flags) {
    const IrValue *other = other_operand(n, index);
    if (n->op == IR_OP_CLIP) {
        return flags | SCALED;
    }
    if (!other) {
        bool bends = n->op == IR_OP_EXP || n->op == IR_OP_SIGMOID || n->op == IR_OP_TANH;
        return flags | COMPUTED | (bends ? BENT : 0);
    }
    if (!(flags & COMPUTED) && is_off_centre(w, n, index)) {
        return flags | ROOT | COMPUTED;
    }
    if ((n->op == IR_OP_MUL || n->op == IR_OP_DIV) && is_spread(n, index) &&
        is_from_integers(w, other)) {
        return flags | SCALE;
    }
    if ((pass_is_number(other) && !pass_is_number(n->out[0])) || // c + eps, c * alpha
        pass_is_epsilon(w->ctx->prog, n, 1 - index)) {
        return flags | SCALED;
    }
    bool scales = n->op == IR_OP_MUL || n->op == IR_OP_DIV;
    bool deviates = scales && !pass_is_number(other) && is_deviation(w, other, DEPTH);
    bool centre = deviates && !(flags & COMPUTED) && is_vector(w->konst);
    return flags | COMPUTED | (w->f->below[other->id] ? WEIGHT : 0) | (centre ? CENTRE : 0);
}

static unsigned through_batch_norm(const Way *w, int index, unsigned flags) {
    bool repeats = (index == 1 && pass_all_are(w->ctx->prog, w->konst, 1)) ||
                   (index == 2 && pass_all_are(w->ctx->prog, w->konst, 0));
    if (index > 2) {
        return flags | (flags & COMPUTED ? NORM : ROOT) | COMPUTED;
    }
    return flags | COMPUTED | (repeats && !(flags & (COMPUTED | SCALED)) ? NEUTRAL : 0);
}

// Zeros between others in a vector: the bias of a key between those of query and value.
static unsigned through_concat(const Way *w, const IrNode *n, unsigned flags) {
    bool others = false;
    for (int i = 0; i < n->n_in; i++) {
        const IrConst *c = look_up(ir_in(n, i))->konst;
        others = others || (c && c != w->konst && !pass_all_are(w->ctx->prog, (IrConst *)c, 0));
    }
    bool zeros = n->out[0]->type.shape.rank == 1 && pass_all_are(w->ctx->prog, w->konst, 0);
    return flags | (others && zeros && !(flags & (COMPUTED | SCALED)) ? NEUTRAL : 0);
}

// Through operand `index` of n, whose operands all are constants or computed from such.
static unsigned through_node(const Way *w, const IrNode *n, int index, unsigned flags) {
    if (n->op == IR_OP_CONCAT) {
        return through_concat(w, n, flags);
    }
    if (pass_only_moves(n->op)) {
        return flags;
    }
    bool own = !(flags & COMPUTED);
    if (pass_is_bound(n, index) || (own && pass_is_epsilon(w->ctx->prog, n, index))) {
        return flags | RANGE | COMPUTED;
    }
    if (pass_is_product(n->op)) {
        return through_product(w, n, index, flags) | COMPUTED;
    }
    if (n->op == IR_OP_BATCH_NORM) {
        return through_batch_norm(w, index, flags);
    }
    if (is_root(w, n) && index == 0) {
        return flags | (own ? ROOT : 0) | COMPUTED;
    }
    if (pass_is_reduce(n)) {
        return flags | COMPUTED | (pass_is_number(n->out[0]) && w->elems > 1 ? NORM : 0);
    }
    return through_arithmetic(w, n, index, flags);
}

// ---------------------------------------------------------------- where it meets the image

// The other operands have been through nothing but arithmetic, moves and preprocessing since they
// were the image.
static bool is_above_all(const Way *w, const IrNode *n) {
    bool any = false;
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        any = any || (v && !is_constant(w, v) && w->f->below[v->id]);
    }
    return !any;
}

// What x, behind moves, has had subtracted from it, if that is a constant of many numbers.
static const IrConst *find_centre(const IrValue *x) {
    const IrNode *n = look_up(x)->def;
    return n && n->op == IR_OP_SUB && !pass_is_number(ir_in(n, 1)) ? look_up(ir_in(n, 1))->konst
                                                                   : NULL;
}

// Numbers per channel, or those of every pixel that are subtracted or divided by. What is added to
// pixels or patches, and what stands beside them, tells positions.
static bool prepares_image(const Way *w, const IrNode *n, int index) {
    if (!is_above_all(w, n)) {
        return false;
    }
    if (pass_is_product(n->op) || n->op == IR_OP_BATCH_NORM) {
        return !w->f->below[n->out[0]->id];
    }
    bool shifts = n->op == IR_OP_ADD || n->op == IR_OP_SUB;
    bool scales = n->op == IR_OP_MUL || n->op == IR_OP_DIV;
    bool channels = w->elems == w->f->channels && count_long_axes(&w->konst->type.shape) <= 1;
    return (shifts || scales) &&
           (channels || (index == 1 && (n->op == IR_OP_SUB || n->op == IR_OP_DIV)) ||
            (scales && find_centre(ir_in(n, 1 - index))));
}

// A vector added to the result of a product, one number for each of its channels.
static bool is_bias(const Way *w, const IrNode *n, int index) {
    const IrConst *c = w->konst;
    const IrValue *x = n->op == IR_OP_ADD ? look_up(ir_in(n, 1 - index)) : NULL;
    if (!x || !x->def || !pass_is_product(x->def->op) || !c->type.shape.rank ||
        !w->f->below[x->id]) {
        return false;
    }
    const IrShape *s = &x->type.shape;
    IrDim n_channels = s->dim[x->def->op == IR_OP_MATMUL ? s->rank - 1 : 1], elems;
    return count_long_axes(&c->type.shape) <= 1 && ir_shape_elems(&c->type.shape, &elems) &&
           ir_dim_eq(elems, n_channels);
}

// The same filters for every channel: repeated in the file, or by what computes the weight of one.
static bool is_same_for_all(const Way *w, const IrNode *n) {
    const IrShape *s = &ir_in(n, 1)->type.shape;
    int64_t groups = ir_int(n, IR_ATTR_GROUP, 1);
    IrDim elems;
    bool depthwise =
        n->op != IR_OP_MATMUL && groups > 1 && ir_dim_is(s->dim[1], 1) && ir_shape_elems(s, &elems);
    return depthwise && elems.c > s->dim[0].c &&
           (pass_is_repeated(w->ctx->prog, w->konst, (int)groups) ||
            elems.c == w->elems * s->dim[0].c);
}

// A single number that is no weight, slope or bias of its own: is it a parameter?
static const char *judge_number(const Way *w, const IrNode *n, int index, unsigned flags) {
    IrProgram *p = w->ctx->prog;
    if (is_above_all(w, n) || pass_is_literal_name(w->konst->origin)) {
        return single;
    }
    bool zero = n->op == IR_OP_MUL && !(flags & COMPUTED) && pass_all_are(p, w->konst, 0);
    bool bound = n->op == IR_OP_MAXIMUM || n->op == IR_OP_MINIMUM;
    bool own = pass_is_number(ir_in(n, index)) && !pass_is_written_number(p, w->konst);
    bool learned = !bound && (own || flags & BENT);
    return zero || learned || pass_is_variable_name(w->konst->origin) ? NULL : single;
}

static bool is_of_formula(const Way *w, const IrNode *n) {
    IrProgram *p = w->ctx->prog;
    return pass_is_wave(p, w->konst) || pass_is_signs(p, w->konst) || pass_is_basis(p, w->konst) ||
           pass_is_resampling(p, w->konst) ||
           (n->op != IR_OP_MATMUL && pass_are_filters(p, w->konst));
}

static const char *judge_weight(const Way *w, const IrNode *n, int index, unsigned flags) {
    IrProgram *p = w->ctx->prog;
    bool own = !(flags & COMPUTED), product = pass_is_product(n->op);
    if (w->elems == 1) {
        return own ? NULL : judge_number(w, n, index, flags);
    }
    if (product && index == 1 && pass_is_identity(p, w->konst)) {
        return NULL;
    }
    if (pass_is_binary(p, w->konst) || (index != 1 && pass_is_mask(p, w->konst))) {
        return mask;
    }
    if (!own || !product || index > 1) {
        return NULL;
    }
    if (count_long_axes(&w->konst->type.shape) == 1 && pass_is_grid(p, w->konst)) {
        return grid;
    }
    return is_of_formula(w, n) ? basis : index == 1 && is_same_for_all(w, n) ? repeated : NULL;
}

// (x - mean) / deviation, vectors; a learned shift and gain are not written so, and the centres of
// clusters are a matrix.
static bool is_mean(const Way *w, const IrNode *n, int index) {
    const IrNode *user = n->op == IR_OP_SUB && index == 1 ? ir_only_user(n->out[0]) : NULL;
    bool divided = user && user->op == IR_OP_DIV && ir_in(user, 0) == n->out[0];
    bool vectors = divided && is_vector(w->konst) && is_vector(look_up(ir_in(user, 1))->konst);
    return vectors || is_off_centre(w, n, index);
}

static bool divides_centred(const Way *w, const IrNode *n, int index) {
    return n->op == IR_OP_DIV && index == 1 && is_vector(w->konst) &&
           is_vector(find_centre(ir_in(n, 0)));
}

// The only reader of v behind moves, and behind additions of zeros.
static const IrNode *look_down(const Way *w, const IrValue *v) {
    for (;;) {
        const IrNode *n = ir_only_user(v);
        IrValue *added = n && n->op == IR_OP_ADD ? ir_in(n, ir_in(n, 0) == v) : NULL;
        const IrValue *zeros = added ? look_up(added) : NULL;
        if (!n || !(pass_only_moves(n->op) ||
                    (zeros && zeros->konst && pass_all_are(w->ctx->prog, zeros->konst, 0)))) {
            return n;
        }
        v = n->out[0];
    }
}

// InstanceNormalization spells GroupNorm with ones and zeros, before the weights proper.
static bool is_neutral(const Way *w, const IrNode *n) {
    double same = n->op == IR_OP_MUL ? 1 : 0;
    const IrNode *next = look_down(w, n->out[0]);
    bool scaled = next && next->op == IR_OP_MUL &&
                  (is_constant(w, ir_in(next, 0)) || is_constant(w, ir_in(next, 1)));
    return scaled && (n->op == IR_OP_MUL || n->op == IR_OP_ADD) && n->src_op &&
           strcmp(n->src_op, "InstanceNormalization") == 0 &&
           pass_all_are(w->ctx->prog, w->konst, same);
}

static bool tells_positions(const Way *w) {
    IrProgram *p = w->ctx->prog;
    return pass_is_whole(p, w->konst) || pass_is_grid(p, w->konst) || pass_is_wave(p, w->konst) ||
           pass_is_series(p, w->konst) || pass_is_mirrored(p, w->konst);
}

static const char *judge_element(const Way *w, const IrNode *n, int index, unsigned flags) {
    IrProgram *p = w->ctx->prog;
    bool scales = n->op == IR_OP_MUL || n->op == IR_OP_DIV;
    return scales && is_from_integers(w, other_operand(n, index)) ? scale
           : w->elems == 1                                        ? judge_number(w, n, index, flags)
           : prepares_image(w, n, index)                          ? input_side
           : flags & TABLE && tells_positions(w)                  ? table
           : is_mean(w, n, index) || divides_centred(w, n, index) ? statistic
           : pass_is_binary(p, w->konst) || pass_is_mask(p, w->konst) ? mask
           : pass_is_whole(p, w->konst)                               ? whole
           : pass_is_grid(p, w->konst)                                ? grid
           : pass_is_wave(p, w->konst) || pass_is_series(p, w->konst) ? wave
           : pass_is_outer(p, w->konst) || pass_is_steps(p, w->konst) ? distance
           : is_neutral(w, n)                                         ? neutral
                                                                      : NULL;
}

// A weight, bias or slope of an operator of its own; the bias of the product that n is added to.
static bool is_weight(const Way *w, const IrNode *n, int index) {
    return pass_is_product(n->op) || n->op == IR_OP_BATCH_NORM ||
           (n->op == IR_OP_PRELU && index == 1) || (n->op == IR_OP_GATHER && index == 0) ||
           is_bias(w, n, index);
}

static const char *judge(const Way *w, const IrNode *n, int index, unsigned flags) {
    if (flags & ROOT || (n->op == IR_OP_BATCH_NORM && index >= 3)) {
        return w->konst->type.shape.rank ? statistic : single; // sqrt(d)
    }
    bool shifts = n->op == IR_OP_ADD || n->op == IR_OP_SUB || index == 2;
    if (flags & CENTRE && shifts) { // of a sum, or the bias of a product
        return statistic;
    }
    if (flags & RANGE || (!(flags & COMPUTED) && pass_is_epsilon(w->ctx->prog, n, index))) {
        return w->elems == 1 ? single : range;
    }
    if (flags & (NORM | SCALE | NEUTRAL)) {
        return flags & NORM ? auxiliary : flags & SCALE ? scale : neutral;
    }
    if (!is_weight(w, n, index)) {
        return judge_element(w, n, index, flags);
    }
    return prepares_image(w, n, index) ? input_side : judge_weight(w, n, index, flags);
}

// ---------------------------------------------------------------- the walk

static void meet(Way *w, IrNode *n, int index, unsigned flags) {
    const char *reason = judge(w, n, index, flags);
    bool exponent = n->op == IR_OP_POW && index == 1;
    w->exponent = w->exponent || (exponent && !(flags & COMPUTED));
    w->inverse = w->inverse || (exponent && flags & COMPUTED);
    PassRole *b = &w->best;
    bool better = !b->reader || (b->reason && !reason), equal = !b->reason == !reason;
    if (better || (equal && pass_at(w->order, n) < pass_at(w->order, b->reader))) {
        *b = (PassRole){n, flags & COMPUTED, reason};
    }
}

static void visit(Way *w, const IrValue *v, unsigned flags) {
    uint64_t *seen = &w->f->seen[v->id][flags >> 6], bit = UINT64_C(1) << (flags & 63);
    if (!(*seen & bit)) {
        *seen |= bit;
        PassStep s = {v, flags};
        IR_PUSH(w->ctx->scratch, w->f->steps, w->n, w->f->cap_steps, s);
    }
}

static void follow_use(Way *w, const IrUse *u, unsigned flags) {
    IrNode *n = u->node;
    bool reached = false;
    for (int k = 0; k < n->n_out; k++) {
        reached = reached || w->f->reached[n->out[k]->id];
    }
    if (reached && w->f->varies[n->out[0]->id]) {
        meet(w, n, u->index, flags);
        return;
    }
    for (int k = 0; k < n->n_out; k++) {
        if (w->f->reached[n->out[k]->id]) {
            visit(w, n->out[k], through_node(w, n, u->index, flags));
        }
    }
}

static void run_out(Way *w) {
    ir_error(w->ctx->prog->diag, IR_NOWHERE,
             "constant '%s': too much is computed from constants alone; simplify the model first",
             w->konst->name);
}

PassRole pass_role(PassContext *ctx, PassFlow *f, const PassOrder *order, IrValue *v) {
    Way w = {.ctx = ctx, .f = f, .order = order, .konst = v->konst, .elems = pass_elems(&v->type)};
    visit(&w, v, 0);
    for (int i = 0; i < w.n && f->left; i++) {
        PassStep s = f->steps[i];
        for (const IrUse *u = s.v->uses; u && f->left; u = u->next) {
            follow_use(&w, u, s.flags);
            if (--f->left == 0) {
                run_out(&w);
            }
        }
    }
    if (w.elems == 1 && w.exponent && w.inverse && w.best.reason == single) {
        w.best.reason = NULL;
    }
    for (int i = 0; i < w.n; i++) {
        memset(f->seen[f->steps[i].v->id], 0, sizeof *f->seen);
    }
    return w.best;
}
