// Slice pixels: a 1x1 convolution with a stride meets some of the pixels. Of a slice, where these
// lie side by side, it is one without: its register tiles go on over the ends of rows, and
// Strassen's multiplication takes it.
//
//   before  %y: f32[N,2048,7,7]{nChw16c} = conv %x, %w {stride=[2,2]}  // %x: f32[N,1024,14,14]
//   after   %s: f32[N,1024,7,7]{nChw16c} = slice %x {start=[0,0,0,0], step=[1,1,2,2], ...}
//           %y: f32[N,2048,7,7]{nChw16c} = conv %s, %w {stride=[1,1]}
//
// Where, by the models of the schedule, that saves more than the copy takes.
#include "ir/conv.h"
#include "passes/schedule/schedule.h"
#include "passes/util.h"

static const double copy_cycles = 8; // a vector of the slice; x may come from beyond L2

IrValue *pass_schedule_slice(IrBuilder *b, IrValue *x, const IrNode *conv, const IrShape *y) {
    IrWindow w = ir_window(conv);
    IrShape shape = x->type.shape;
    shape.dim[2] = y->dim[2];
    shape.dim[3] = y->dim[3];
    int64_t start[] = {0, 0, 0, 0}, step[] = {1, 1, w.sh, w.sw};
    IrValue *slice = ir_build_slice(b, x, start, step, &shape);
    if (slice)
        slice->type.block = x->type.block;
    return slice;
}

bool pass_schedule_strides(const IrWindow *w) {
    return w->sh <= 2 && w->sw <= 2 && w->sh * w->sw > 1 && !w->pt && !w->pl && !w->pb && !w->pr;
}

// Is the convolution faster by a slice of x?
static bool pays(const PassOptions *opt, const IrNode *n) {
    IrConv c = ir_conv(n), flat = c;
    if (c.w.kh * c.w.kw != 1 || c.w.group != 1 || !pass_schedule_strides(&c.w) ||
        c.dtype != IR_F32 || c.x_block != opt->block || !c.constant)
        return false;
    flat.H = c.OH;
    flat.W = c.OW;
    flat.w.sh = flat.w.sw = 1;
    flat.flat = true;
    double copy = (double)(c.OH * c.OW * ir_ceil_div(c.C, opt->block)) * copy_cycles;
    double now = pass_schedule_cycles(n, &c, opt), then = pass_schedule_cycles(n, &flat, opt);
    return then > 0 && then + copy < now;
}

PassResult pass_slice_pixels(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    static const int64_t one[] = {1, 1};
    for (IrNode *n = g->first; n; n = n->next) {
        IrConvAlgo algo;
        if (n->op != IR_OP_CONV || ir_body(n, IR_ATTR_PRE).n || ir_conv_algo(n, &algo) ||
            !pays(ctx->opt, n))
            continue;
        IrBuilder b = pass_before(n);
        IrValue *slice = pass_schedule_slice(&b, ir_in(n, 0), n, &n->out[0]->type.shape);
        if (!slice)
            ir_bug("slice_pixels", n->name, "%s", b.err);
        ir_set_in(n, 0, slice);
        ir_set_attr(n, ir_attr_ints(ctx->prog->arena, IR_ATTR_STRIDE, 2, one));
        r.changes++;
    }
    return r;
}
