// Whole pixels: what convolutions on matrix tiles hand to each other lies pixel by pixel, all
// channels of one side by side (ir_conv_whole_block()), so that a 1x1 reads its tiles where x lies
// and others copy lines.
//
//   before  %y: bf16[N,256,14,14]{nChw16c} = conv %x, %v
//           %z: bf16[N,64,14,14]{nChw16c} = conv %y, %w
//   after   %y: bf16[N,256,14,14]{nChw288c} = conv %x, %v
//           %z: bf16[N,64,14,14]{nChw16c} = conv %y, %w
//
// A value's own choice: its convolution writes either, those that read it read either, as input or
// in the epilogue. Where by the models of the schedule that is less work for those that read it.
#include "ir/conv.h"
#include "passes/schedule/schedule.h"
#include "passes/util.h"

static bool has_pixels(IrConvAlgo algo) {
    return ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_PIXELS;
}

// Does the schedule take n to a kernel of whole pixels?
static bool takes_pixels(const IrNode *n, const PassOptions *opt) {
    PassSchedule s[PASS_MAX_SCHEDULES];
    IrConvAlgo algo;
    IrConvTile tile = ir_conv_tile(n);
    if (n->op != IR_OP_CONV)
        return false;
    if (ir_conv_algo(n, &algo) && pass_schedule_fits(n, opt, algo, &tile))
        return has_pixels(algo);
    return pass_schedule_candidates(n, opt, s) > 0 && has_pixels(s[0].algo);
}

// Is it read by the epilogue of a convolution on blocks?
static bool is_epilogue(const IrUse *u) {
    const IrNode *n = u->node;
    return n->op == IR_OP_CONV && n->out[0]->type.block &&
           ir_shape_eq(&u->value->type.shape, &n->out[0]->type.shape) &&
           u->index >= ir_op_info(n->op)->max_in && u->index < ir_prologue(n);
}

// Cycles that u's convolution saves if what it reads is whole pixels. Epilogues read either alike;
// below 0: it has no kernel for them.
static double saved(const IrUse *u, const PassOptions *opt) {
    const IrNode *n = u->node;
    if (u->index > 0)
        return is_epilogue(u) ? 0 : -1;
    if (!takes_pixels(n, opt))
        return -1;
    IrConv c = ir_conv(n), whole = c;
    whole.x_block = ir_conv_whole_block(c.dtype, c.C);
    return pass_schedule_cycles(n, &c, opt) - pass_schedule_cycles(n, &whole, opt);
}

// May v be whole pixels?
static bool may(const IrValue *v, const PassOptions *opt) {
    int64_t channels = v->type.shape.dim[1].c;
    return v->type.block == opt->block && channels % IR_BLOCK == 0 && channels > IR_BLOCK &&
           !v->is_output && !v->view_of && takes_pixels(v->def, opt);
}

// Is it less work for those that read v?
static bool pays(const IrValue *v, const PassOptions *opt) {
    double all = 0;
    for (const IrUse *u = v->uses; u; u = u->next) {
        double cycles = saved(u, opt);
        if (cycles < 0)
            return false;
        all += cycles;
    }
    return all > 0;
}

// What epilogues alone read lies as their results do.
static bool follows(const IrValue *v) {
    for (const IrUse *u = v->uses; u; u = u->next) {
        const IrValue *y = u->node->out[0];
        if (!is_epilogue(u) ||
            y->type.block != ir_conv_whole_block(y->type.dtype, y->type.shape.dim[1].c))
            return false;
    }
    return v->uses != NULL;
}

static bool choose(IrNode *n, const PassOptions *opt, bool last) {
    if (n->op != IR_OP_CONV || !may(n->out[0], opt))
        return false;
    IrType *t = &n->out[0]->type;
    bool whole = last ? follows(n->out[0]) : pays(n->out[0], opt);
    if (whole)
        t->block = ir_conv_whole_block(t->dtype, t->shape.dim[1].c);
    return whole;
}

PassResult pass_whole_pixels(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (int last = 0; last < 2; last++)
        for (IrNode *n = g->first; n; n = n->next)
            r.changes += choose(n, ctx->opt, last);
    return r;
}
