// expand_dgrad: the gradient of a convolution by its input becomes forward convolutions.
//
// Stride 1, kernel k, dilation d, padding p: dx is dy convolved with the filter turned round, with
// d * (k - 1) - p of padding; what is negative crops dy.
//
//   %dx = conv_dgrad %dy, %w            ->   %f = flip_filter %w
//       {pad=[1,1,1,1], shape=...}           %dx = conv %dy, %f {pad=[1,1,1,1]}
//
// Stride s: row h = s*q + r of dx gets  sum over taps k with s | h + p - k*d  of  w[k] * dy[(h + p
// - k*d) / s].  For one phase r these taps are every s-th, k = k0 + s*j (s and d have no common
// factor but 1), and dy's row is q + c - j*d with c = (r + p - k0*d) / s: so each phase is a
// convolution of stride 1 by a slice of the filter, and the phases are interleaved. A phase without
// taps is zero.
//
//   %dx = conv_dgrad %dy, %w            ->   %w0 = slice %w {start=[0,0,1,1], step=[1,1,2,2], ...}
//       {stride=[2,2], ...}                  %x0 = conv %dy, flip_filter %w0 ...
//                                            ...
//                                            %dx = interleave %x0, %x1, %x2, %x3 {stride=[2,2]}
//
// Where s and d have a common factor, or there are too many phases, dy gets zeros between its
// pixels and stride 1 does the rest. Only ordinary ops come out: these run on the forward kernels.

#include "passes/util.h"

typedef struct Axis { // one spatial axis of a convolution and its gradient
    int64_t in, out;  // of dx and dy
    int64_t kernel, stride, dilation, pad;
} Axis;

typedef struct Phase { // a convolution of stride 1 along one axis that makes `size` of dx
    int64_t size;
    int64_t first, taps; // of the filter, `stride` apart
    int64_t crop, rows;  // dy's rows [crop, crop + rows) are read
    int64_t begin, end;  // padding
} Phase;

static int64_t common_factor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// Phase r of dx. False: it is zero.
static bool find_phase(const Axis *a, int64_t r, Phase *p) {
    *p = (Phase){.size = r < a->in ? (a->in - r + a->stride - 1) / a->stride : 0};
    int64_t k = 0;
    while (k < a->kernel && k < a->stride && (r + a->pad - k * a->dilation) % a->stride) {
        k++;
    }
    if (!p->size || k >= a->kernel || k >= a->stride) {
        return false;
    }
    p->first = k;
    p->taps = (a->kernel - k + a->stride - 1) / a->stride;
    int64_t reach = (p->taps - 1) * a->dilation;
    int64_t begin = reach - (r + a->pad - k * a->dilation) / a->stride;
    int64_t end = p->size - a->out + reach - begin;
    p->begin = begin > 0 ? begin : 0;
    p->end = end > 0 ? end : 0;
    p->crop = p->begin - begin;
    p->rows = a->out - p->crop - (p->end - end);
    return p->rows > 0;
}

static IrValue *slice(IrBuilder *b, IrValue *x, const int64_t *start, const int64_t *step,
                      int64_t rows, int64_t columns) {
    IrShape s = x->type.shape;
    if (ir_dim_is(s.dim[2], rows) && ir_dim_is(s.dim[3], columns)) {
        return x;
    }
    s.dim[2] = ir_dim(rows);
    s.dim[3] = ir_dim(columns);
    return ir_build_slice(b, x, (int64_t[]){0, 0, start[0], start[1]},
                          (int64_t[]){1, 1, step[0], step[1]}, &s);
}

// The convolution of dy by the taps of these two phases.
static IrValue *build_phase(IrBuilder *b, const IrNode *n, IrValue *dy, const Axis *axis,
                            const Phase *h, const Phase *w) {
    IrArena *a = b->graph->prog->arena;
    int64_t group = ir_int(n, IR_ATTR_GROUP, 1);
    IrAttr group_attr = ir_attr_i(IR_ATTR_GROUP, group);
    IrValue *filter = slice(b, ir_in(n, 1), (int64_t[]){h->first, w->first},
                            (int64_t[]){axis[0].stride, axis[1].stride}, h->taps, w->taps);
    filter = filter ? ir_build(b, IR_OP_FLIP_FILTER, 1, &filter, 1, &group_attr) : NULL;
    dy = slice(b, dy, (int64_t[]){h->crop, w->crop}, (int64_t[]){1, 1}, h->rows, w->rows);
    IrAttr attrs[] = {
        ir_attr_ints(a, IR_ATTR_STRIDE, 2, (int64_t[]){1, 1}),
        ir_attr_ints(a, IR_ATTR_PAD, 4, (int64_t[]){h->begin, w->begin, h->end, w->end}),
        ir_attr_ints(a, IR_ATTR_DILATION, 2, (int64_t[]){axis[0].dilation, axis[1].dilation}),
        group_attr};
    return filter && dy ? ir_build(b, IR_OP_CONV, 2, (IrValue *[]){dy, filter}, 4, attrs) : NULL;
}

// dy with stride - 1 zeros between its pixels; the axes are then those of a convolution of
// stride 1.
static IrValue *spread(IrBuilder *b, const IrNode *n, Axis *axis) {
    IrArena *a = b->graph->prog->arena;
    IrValue *dy = ir_in(n, 0);
    IrShape s = dy->type.shape;
    int64_t step[4] = {1, 1, axis[0].stride, axis[1].stride}, start[4] = {0};
    for (int i = 0; i < 2; i++) {
        axis[i].out = (axis[i].out - 1) * axis[i].stride + 1;
        axis[i].stride = 1;
        s.dim[2 + i] = ir_dim(axis[i].out);
    }
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_START, 4, start),
                      ir_attr_ints(a, IR_ATTR_STEP, 4, step), ir_attr_dims(IR_ATTR_SHAPE, &s)};
    return ir_build(b, IR_OP_SLICE_GRAD, 1, &dy, 3, attrs);
}

static IrValue *build_zeros(IrBuilder *b, const IrValue *like) {
    IrValue *zero = ir_build_scalar(b, like->type.dtype, 0);
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, &like->type.shape);
    return ir_build(b, IR_OP_EXPAND, 1, &zero, 1, &shape);
}

static IrValue *build_dx(IrBuilder *b, IrNode *n) {
    IrWindow w = ir_window(n);
    const IrShape *x = &n->out[0]->type.shape, *y = &ir_in(n, 0)->type.shape;
    Axis axis[2] = {{x->dim[2].c, y->dim[2].c, w.kh, w.sh, w.kh > 1 ? w.dh : 1, w.pt},
                    {x->dim[3].c, y->dim[3].c, w.kw, w.sw, w.kw > 1 ? w.dw : 1, w.pl}};
    IrValue *dy = ir_in(n, 0), *part[64] = {NULL};
    bool phases = common_factor(w.sh, axis[0].dilation) == 1 &&
                  common_factor(w.sw, axis[1].dilation) == 1 && w.sh <= 8 && w.sw <= 8;
    if (!axis[0].out || !axis[1].out || ir_dim_is(y->dim[1], 0)) {
        return build_zeros(b, n->out[0]);
    }
    dy = phases ? dy : spread(b, n, axis);
    int count = (int)(axis[0].stride * axis[1].stride), used = 0;
    for (int k = 0; k < count && dy; k++) {
        Phase ph, pw;
        bool some = find_phase(&axis[0], k / axis[1].stride, &ph);
        if (find_phase(&axis[1], k % axis[1].stride, &pw) && some) {
            part[k] = build_phase(b, n, dy, axis, &ph, &pw);
            used++;
        }
    }
    if (!used) {
        return build_zeros(b, n->out[0]);
    }
    IrAttr attrs[] = {ir_attr_ints(b->graph->prog->arena, IR_ATTR_STRIDE, 2,
                                   (int64_t[]){axis[0].stride, axis[1].stride}),
                      ir_attr_dims(IR_ATTR_SHAPE, x)};
    return count == 1 ? part[0] : ir_build(b, IR_OP_INTERLEAVE, count, part, 2, attrs);
}

PassResult pass_expand_dgrad(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    (void)ctx;
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op == IR_OP_CONV_DGRAD) {
            IrBuilder b = pass_before(n);
            IrValue *dx = build_dx(&b, n);
            if (!dx) {
                ir_bug("expand_dgrad", n->name, "%s", b.err ? b.err : "no result");
            }
            pass_forward(n, dx);
            r.changes++;
        }
    }
    return r;
}
