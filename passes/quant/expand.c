// quant_expand: what is left of quantize and dequantize becomes arithmetic.
//
//   %y = quantize %x, 0.5, 128 {to=u8}    ->    %a = div %x, 0.5
//                                               %r = round %a
//                                               %s = add %r, 128
//                                               %c = clip %s {min=0, max=255}
//                                               %y = cast %c {to=u8}
//   %y = dequantize %q, 0.5, 128          ->    %f = cast %q {to=f32}
//                                               %d = sub %f, 128
//                                               %y = mul %d, 0.5
//
// Constants are dequantized here and now. Inside of the network quantize(x) divides by its scale
// within one quantum: the reciprocal goes into factors that x has already (scale.c), else x is
// multiplied with it; what a relu or clip above cuts off, the clip does:
//
//   quantize(relu(mul(%f, 3)), 0.5, 7)    ->    mul %f, 6; round; add 7; clip {min=7, max=255};
//   cast
//
// What goes out of the network is divided, as the operator says.

#include "passes/quant/quant.h"
#include <math.h>

static bool is_constant(const IrNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        if (ir_in(n, i) && !pass_is_frozen(ir_in(n, i))) {
            return false;
        }
    }
    return true;
}

static IrValue *evaluate(PassContext *ctx, IrNode *n) {
    IrTensor t[3] = {{0}}, out;
    const IrTensor *in[3] = {NULL};
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (v) {
            t[i] = (IrTensor){.dtype = v->type.dtype, .rank = v->type.shape.rank};
            for (int k = 0; k < t[i].rank; k++) {
                t[i].dim[k] = v->type.shape.dim[k].c;
            }
            t[i].data = (void *)ir_const_data(ctx->prog, v->konst); // read only
            in[i] = &t[i];
        }
    }
    const char *why = ir_eval_node(n, 1, in, &out, ctx->prog->arena);
    return why ? NULL : pass_quant_const(ctx, n, &n->out[0]->type, out.data);
}

// As the evaluator has it, node by node.
static IrValue *spell_out(IrNode *n, IrBuilder *b) {
    IrStep step[IR_QUANT_STEPS];
    IrBody body = {ir_quant_steps(n, step), step};
    IrValue *in[] = {ir_in(n, 0), ir_in(n, 1), ir_in(n, 2)};
    return pass_quant_check(b, ir_build_steps(b, &body, in));
}

// Scaled integers, none of which is NaN, that are rounded.
static bool rounds_integers(const IrValue *v) {
    IrNode *round = pass_def(v, IR_OP_ROUND);
    IrNode *mul = round ? pass_def(ir_in(round, 0), IR_OP_MUL) : NULL;
    IrNode *cast = mul ? pass_def(ir_in(mul, 0), IR_OP_CAST) : NULL;
    return cast && !ir_dtype_is_float(ir_in(cast, 0)->type.dtype);
}

// What was quantized just above, less its zero point: rounded, within bounds that are less it, too.
//   round; add 7; clip {min=0, max=255}; cast; cast; sub 7   ->   round; clip {min=-7, max=248}
// NULL: x was not.
static IrValue *round_within(PassContext *ctx, const PassQuant *q, IrBuilder *b, const IrValue *x) {
    IrNode *cast = pass_def(x, IR_OP_CAST),
           *clip = cast ? pass_def(ir_in(cast, 0), IR_OP_CLIP) : NULL;
    IrNode *add = clip ? pass_def(ir_in(clip, 0), IR_OP_ADD) : NULL;
    if (!add || !rounds_integers(ir_in(add, 0)) || !ir_const_is_scalar(ir_in(add, 1)) ||
        ir_const_scalar(ctx->prog, ir_in(add, 1)->konst, 0) != (double)q->zero) {
        return NULL;
    }
    double p[2];
    ir_step_params(clip, p);
    IrAttr bounds[] = {ir_attr_f(IR_ATTR_MIN, p[0] - (double)q->zero),
                       ir_attr_f(IR_ATTR_MAX, p[1] - (double)q->zero)};
    IrValue *y = ir_in(add, 0);
    return pass_quant_check(b, ir_build(b, IR_OP_CLIP, 1, &y, 2, bounds));
}

static IrValue *dequantize(PassContext *ctx, IrNode *n, IrBuilder *b) {
    PassQuant q;
    if (!pass_quant_read(ctx, n, &q) || ir_dtype_bytes(q.type) > 2) {
        return spell_out(n, b);
    }
    IrValue *y = round_within(ctx, &q, b, ir_in(n, 0));
    if (!y) {
        y = pass_quant_cast(b, ir_in(n, 0), IR_F32);
        y = pass_quant_with(b, IR_OP_SUB, y, (double)q.zero);
    }
    return pass_quant_with(b, IR_OP_MUL, y, q.scale);
}

// ---------------------------------------------------------------- quantize

// v goes out of the network as it is, or moved, as far as *left values tell.
static bool goes_out(const IrValue *v, int *left) {
    if (v->is_output || --*left < 0) {
        return true;
    }
    for (const IrUse *u = v->uses; u; u = u->next) {
        if (pass_moves(u->node) && goes_out(u->node->out[0], left)) {
            return true;
        }
    }
    return false;
}

// Takes relu and clip above n over into bounds of the integers. [low, high] come after those of
// what stands above: both ends of it are cut to them, to one number where the two do not meet.
static void take_bounds(const PassQuant *q, IrNode *n, double *low, double *high) {
    for (;;) {
        IrNode *above = ir_only_user(ir_in(n, 0)) == n ? ir_in(n, 0)->def : NULL;
        double p[2] = {0, INFINITY};
        if (!above || (above->op != IR_OP_RELU && above->op != IR_OP_CLIP)) {
            return;
        }
        if (above->op == IR_OP_CLIP) {
            ir_step_params(above, p);
        }
        if (!(p[0] <= p[1])) {
            return;
        }
        double a = fmin(fmax(pass_quant_of(q, p[0]), *low), *high);
        *high = fmin(fmax(pass_quant_of(q, p[1]), *low), *high);
        *low = a;
        ir_set_in(n, 0, ir_in(above, 0));
        ir_remove_node(above);
    }
}

static IrValue *quantize(PassContext *ctx, IrNode *n, IrBuilder *b) {
    PassQuant q;
    int left = 64;
    if (!pass_quant_read(ctx, n, &q) || goes_out(n->out[0], &left)) {
        return spell_out(n, b);
    }
    double low = ir_dtype_lowest(q.type), high = ir_dtype_highest(q.type);
    take_bounds(&q, n, &low, &high);
    IrValue *y = ir_in(n, 0);
    y = pass_quant_scale(ctx, n, 0, 1 / q.scale) ? ir_in(n, 0)
                                                 : pass_quant_with(b, IR_OP_MUL, y, 1 / q.scale);
    y = pass_quant_check(b, ir_build1(b, IR_OP_ROUND, y));
    y = pass_quant_with(b, IR_OP_ADD, y, (double)q.zero);
    IrAttr bounds[] = {ir_attr_f(IR_ATTR_MIN, low), ir_attr_f(IR_ATTR_MAX, high)};
    y = pass_quant_check(b, ir_build(b, IR_OP_CLIP, 1, &y, 2, bounds));
    return pass_quant_cast(b, y, q.type);
}

PassResult pass_quant_expand(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op != IR_OP_QUANTIZE && n->op != IR_OP_DEQUANTIZE) {
            continue;
        }
        IrBuilder b = pass_before(n);
        IrValue *y = is_constant(n) ? evaluate(ctx, n) : NULL;
        y = y ? y : n->op == IR_OP_QUANTIZE ? quantize(ctx, n, &b) : dequantize(ctx, n, &b);
        pass_forward(n, y);
        r.changes++;
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
