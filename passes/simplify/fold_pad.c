// fold_pad: explicit padding moves into the window of the convolution or pool that reads it.
//
//   %p = pad %x {pad=[0,0,1,1, 0,0,1,1], value=0}
//   %y = conv %p, %w {pad=[0,0,0,0]}          ->   %y = conv %x, %w {pad=[1,1,1,1]}
//
// convolution   pads with 0, so the constant must be 0 or, of integers, its `zero`
// avg_pool      the same, and padding must count in the divisor (or not have been there before)
// max_pool      pads with -infinity; a constant 0 does as well where %x is never negative and every
// window
//               sees an element of %x, as in relu, pad, max_pool
//
// Only padding of the two spatial axes by constants >= 0; the pad node stays for its other readers.
// A transpose between the two (an NHWC graph's first convolution) moves above the padding.

#include "passes/util.h"
#include <math.h>
#include <string.h>

typedef struct Pad {
    IrValue *x;        // what is padded
    IrNode *transpose; // between the pad and its reader, or NULL
    int64_t t, l, b, r;
    double value;
} Pad;

static bool read_pad(const IrValue *v, Pad *p) {
    IrNode *transpose = pass_def(v, IR_OP_TRANSPOSE);
    IrNode *n = pass_def(transpose ? ir_in(transpose, 0) : v, IR_OP_PAD);
    if (!n || n->out[0]->type.shape.rank != 4 ||
        strcmp(ir_str(n, IR_ATTR_MODE, "constant"), "constant") != 0) {
        return false;
    }
    IrInts pad = ir_ints(n, IR_ATTR_PAD);
    int64_t lo[4], hi[4];
    for (int i = 0; i < 4; i++) {
        int64_t from = transpose ? ir_ints(transpose, IR_ATTR_PERM).v[i] : i;
        lo[i] = pad.v[from];
        hi[i] = pad.v[4 + from];
    }
    *p = (Pad){ir_in(n, 0), transpose, lo[2], lo[3], hi[2], hi[3], ir_float(n, IR_ATTR_VALUE, 0)};
    return lo[0] == 0 && lo[1] == 0 && hi[0] == 0 && hi[1] == 0 && p->t >= 0 && p->l >= 0 &&
           p->b >= 0 && p->r >= 0;
}

static bool fits_conv(const IrNode *n, const Pad *p, const IrWindow *w) {
    (void)w;
    bool is_zero = p->value == (double)ir_int(n, IR_ATTR_ZERO, 0);
    return is_zero && !ir_body(n, IR_ATTR_PRE).n; // a prologue sees no padding
}

static bool fits_avg_pool(const IrNode *n, const Pad *p, const IrWindow *w) {
    (void)n;
    bool was_padded = w->pt || w->pl || w->pb || w->pr;
    return p->value == 0 && !w->ceil && (!was_padded || w->count_pad);
}

static bool fits_max_pool(const IrNode *n, const Pad *p, const IrWindow *w) {
    if (w->ceil) {
        return false; // ceil_mode drops windows that start in the padding: not the same windows
    }
    if (p->value == -INFINITY) {
        return true;
    }
    const IrShape *in = &ir_in(n, 0)->type.shape, *out = &n->out[0]->type.shape; // in: padded
    if (p->value != 0 || in->dim[2].n || in->dim[3].n || w->dh != 1 || w->dw != 1) {
        return false;
    }
    bool sees_element = p->t + w->pt < w->kh && p->l + w->pl < w->kw &&
                        (out->dim[2].c - 1) * w->sh - w->pt < in->dim[2].c - p->b &&
                        (out->dim[3].c - 1) * w->sw - w->pl < in->dim[3].c - p->r;
    return sees_element && pass_is_nonnegative(p->x);
}

static const struct {
    IrOp op;
    bool (*fits)(const IrNode *n, const Pad *p, const IrWindow *w);
} windows[] = {
    {IR_OP_CONV, fits_conv},
    {IR_OP_AVG_POOL, fits_avg_pool},
    {IR_OP_MAX_POOL, fits_max_pool},
};

// What n reads instead of the padded tensor.
static IrValue *lift_transpose(IrNode *n, const Pad *p) {
    if (!p->transpose) {
        return p->x;
    }
    IrInts perm = ir_ints(p->transpose, IR_ATTR_PERM);
    IrBuilder b = pass_before(n);
    b.name = p->transpose->name;
    return ir_build_transpose(&b, p->x, perm.n, perm.v);
}

static bool take_pad(IrNode *n) {
    Pad p;
    if (n->n_in < 1 || !read_pad(ir_in(n, 0), &p)) {
        return false;
    }
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        if (windows[i].op != n->op) {
            continue;
        }
        IrWindow w = ir_window(n);
        int64_t pad[4];
        if (!windows[i].fits(n, &p, &w) || __builtin_add_overflow(w.pt, p.t, &pad[0]) ||
            __builtin_add_overflow(w.pl, p.l, &pad[1]) ||
            __builtin_add_overflow(w.pb, p.b, &pad[2]) ||
            __builtin_add_overflow(w.pr, p.r, &pad[3])) {
            return false;
        }
        bool pool_too_wide = n->op != IR_OP_CONV &&
                             (pad[0] >= w.kh || pad[2] >= w.kh || pad[1] >= w.kw || pad[3] >= w.kw);
        if (pool_too_wide) {
            return false; // a window of nothing but padding
        }
        ir_set_attr(n, ir_attr_ints(n->graph->prog->arena, IR_ATTR_PAD, 4, pad));
        if (n->op == IR_OP_AVG_POOL) {
            ir_set_attr(n, ir_attr_i(IR_ATTR_COUNT_PAD, 1));
        }
        ir_set_in(n, 0, lift_transpose(n, &p));
        const char *wrong = ir_infer(n);
        if (wrong) {
            ir_bug("fold_pad", n->name, "%s", wrong);
        }
        return true;
    }
    return false;
}

PassResult pass_fold_pad(PassContext *ctx, IrGraph *g) {
    (void)ctx;
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next) {
        r.changes += take_pad(n);
    }
    return r;
}
