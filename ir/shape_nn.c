// Shape rules of the network ops: convolution, pools, matrix product, batch normalisation,
// reductions.
#include "ir/shape.h"

#include <string.h>

// One spatial axis of a window: sizes and attributes, all >= 0, stride, kernel and dilation >= 1.
typedef struct Axis {
    int64_t in, kernel, stride, dilation, begin, end;
} Axis;

// Input with its padding, and kernel with its dilation. False: overflow.
static bool axis_extents(const Axis *a, int64_t *padded, int64_t *extent) {
    return !__builtin_add_overflow(a->in, a->begin, padded) &&
           !__builtin_add_overflow(*padded, a->end, padded) && *padded < INT64_MAX / 2 &&
           !__builtin_mul_overflow(a->kernel - 1, a->dilation, extent) &&
           !__builtin_add_overflow(*extent, 1, extent) && *extent < INT64_MAX / 2;
}

static int64_t divide_down(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
} // b > 0

// Output size, ONNX Conv 22, MaxPool 22, AveragePool 22 with explicit pads:
//   floor or ceil((in + begin + end - ((kernel - 1) * dilation + 1)) / stride) + 1
// where ceil leaves out a last window that starts behind the input and its begin padding. Nothing
// in, nothing out: an empty axis that no window fits in stays empty. -1: the window does not fit.
static int64_t count_windows(const Axis *a, bool ceil) {
    int64_t padded, extent;
    if (!axis_extents(a, &padded, &extent)) {
        return -1;
    }
    int64_t room = padded - extent;
    int64_t out = (ceil ? -divide_down(-room, a->stride) : divide_down(room, a->stride)) + 1;
    int64_t last;
    if (ceil && out > 0 && !__builtin_mul_overflow(out - 1, a->stride, &last) &&
        last >= a->in + a->begin) {
        out--;
    }
    return out > 0 ? out : a->in == 0 ? 0 : -1;
}

static const char *window_result(const IrNode *n, const IrWindow *p, const IrShape *x, IrDim *h,
                                 IrDim *w) {
    Axis ah = {x->dim[2].c, p->kh, p->sh, p->dh, p->pt, p->pb};
    Axis aw = {x->dim[3].c, p->kw, p->sw, p->dw, p->pl, p->pr};
    *h = ir_dim(count_windows(&ah, p->ceil));
    *w = ir_dim(count_windows(&aw, p->ceil));
    if (h->c >= 0 && w->c >= 0) {
        return NULL;
    }
    int64_t ph, pw, eh, ew;
    if (!axis_extents(&ah, &ph, &eh) || !axis_extents(&aw, &pw, &ew)) {
        return "kernel, dilation and pad are too large";
    }
    return ir_why(n, "kernel %lldx%lld is larger than the padded input %lldx%lld", (long long)eh,
                  (long long)ew, (long long)ph, (long long)pw);
}

const char *ir_window_result(const IrNode *n, const IrShape *x, IrDim *h, IrDim *w) {
    IrWindow p = ir_window(n);
    return window_result(n, &p, x, h, w);
}

const char *ir_check_window_attrs(const IrNode *n) {
    const char *why = ir_need_ints(n, IR_ATTR_KERNEL, 2, 1);
    why = why ? why : ir_need_ints(n, IR_ATTR_STRIDE, 2, 1);
    why = why ? why : ir_need_ints(n, IR_ATTR_DILATION, 2, 1);
    return why ? why : ir_need_ints(n, IR_ATTR_PAD, 4, 0);
}

// What conv and pools have in common: a [N,C,H,W] operand with fixed C, H, W, and sane attributes.
static const char *check_window(const IrNode *n) {
    const char *why = ir_need_rank(n, 0, 4, 4);
    for (int axis = 1; axis < 4 && !why; axis++) {
        why = ir_need_fixed(n, 0, axis);
    }
    return why ? why : ir_check_window_attrs(n);
}

// `size` elements hold weights of shape w and what the packing adds.
static const char *check_packed(const IrNode *n, const IrShape *w, IrDim size) {
    IrDim elems;
    if (w->rank != 4 || !ir_shape_is_static(w) || !ir_shape_elems(w, &elems)) {
        return "the weights have no fixed shape of rank 4";
    }
    if (size.n || size.c < elems.c) {
        return ir_why(n, "%lld elements do not hold weights of %lld", (long long)size.c,
                      (long long)elems.c);
    }
    return NULL;
}

// Weights stay of their type, or f32 ones become bf16.
static const char *check_rounded(const IrNode *n) {
    IrDtype w = ir_in_type(n, 0)->dtype, to = ir_own_dtype(n);
    const char *text = ir_str(n, IR_ATTR_TO, ir_dtype_name(to));
    bool fits = to == w || (w == IR_F32 && to == IR_BF16);
    return fits && !strcmp(text, ir_dtype_name(to))
               ? NULL
               : ir_why(n, "weights of %s to '%s'", ir_dtype_name(w), text);
}

// One for each of the weights' first dimension, both f32
static const char *check_factor(const IrNode *n) {
    if (n->n_in < 2) {
        return NULL;
    }
    IrShape s = {4, {ir_in_type(n, 0)->shape.dim[0], {1, 0}, {1, 0}, {1, 0}}};
    const IrType *factor = ir_in_type(n, 1);
    bool fits = factor->dtype == IR_F32 && ir_in_type(n, 0)->dtype == IR_F32;
    return fits && ir_shape_eq(&factor->shape, &s)
               ? NULL
               : ir_why(n, "operand 1 is %s, it must be a factor of weights %s",
                        ir_operand_text(n, 1), ir_operand_text(n, 0));
}

const char *ir_shape_pack_filter(IrNode *n) {
    const IrAttr *to = ir_attr(n, IR_ATTR_SHAPE);
    const char *why = ir_need_float(n, 0);
    why = why ? why : ir_need_ints(n, IR_ATTR_STRIDE, 2, 1);
    why = why ? why : ir_need_ints(n, IR_ATTR_DILATION, 2, 1);
    why = why ? why : check_rounded(n);
    if (!why && (!to || to->dims.rank != 1)) {
        why = "attribute shape must be [size]";
    }
    why = why ? why : check_packed(n, &ir_in_type(n, 0)->shape, to->dims.dim[0]);
    why = why ? why : check_factor(n);
    if (!why && ir_int(n, IR_ATTR_REVERSE, 0) && ir_int(n, IR_ATTR_GROUP, 1) != 1) {
        why = "weights of groups are not reversed";
    }
    if (!why) {
        ir_set_result(n, ir_own_dtype(n), &to->dims);
    }
    return why;
}

// Channels and groups of a convolution.
static const char *check_channels(const IrNode *n) {
    IrShape w = ir_filter_shape(n);
    int64_t C = ir_in_type(n, 0)->shape.dim[1].c, O = w.dim[0].c, I = w.dim[1].c;
    int64_t group = ir_int(n, IR_ATTR_GROUP, 1);
    if (group < 1) {
        return ir_why(n, "group is %lld, it must be at least 1", (long long)group);
    }
    if (C % group || O % group) {
        return ir_why(n, "group %lld does not divide %lld input and %lld output channels",
                      (long long)group, (long long)C, (long long)O);
    }
    if (C / group != I) {
        return ir_why(n, "weights %s are for %lld input channels a group, the input has %lld",
                      ir_operand_text(n, 1), (long long)I, (long long)(C / group));
    }
    return NULL;
}

// Operand 1 is the weights or, with `filter`, holds at least as many elements.
static const char *check_filter(const IrNode *n) {
    const IrAttr *filter = ir_attr(n, IR_ATTR_FILTER);
    const char *why = filter ? ir_need_rank(n, 1, 1, 1) : ir_need_rank(n, 1, 4, 4);
    for (int axis = 0; axis < (filter ? 1 : 4) && !why; axis++) {
        why = ir_need_fixed(n, 1, axis);
    }
    if (why || !filter) {
        return why;
    }
    return check_packed(n, &filter->dims, ir_in_type(n, 1)->shape.dim[0]);
}

// [kh, kw, sh, sw, top, left, bottom, right, ceil]: as a max_pool without dilation has them.
static const char *check_conv_pool(const IrNode *n) {
    IrInts v = ir_ints(n, IR_ATTR_POOL);
    bool ok = v.n == 9 && (v.v[8] == 0 || v.v[8] == 1);
    for (int i = 0; i < 8 && ok; i++) {
        ok = i < 4 ? v.v[i] >= 1 : v.v[i] >= 0 && v.v[i] < v.v[i % 2];
    }
    if (!ok) {
        return "attribute pool must be [kh,kw,sh,sw,top,left,bottom,right,ceil], pads smaller than "
               "the kernel";
    }
    ok = !ir_body(n, IR_ATTR_PRE).n;
    for (int i = 3; i < n->n_in && ok; i++) { // per channel, or one element
        const IrShape *s = &ir_in_type(n, i)->shape;
        for (int k = 1; k <= 2 && k <= s->rank; k++) {
            ok = ok && ir_dim_is(s->dim[s->rank - k], 1);
        }
    }
    return ok ? NULL
              : "a convolution with a pool has no prologue, and operands of the epilogue per "
                "channel";
}

// The conv's result, of shape x, with its pool behind the epilogue.
static const char *pool_conv(IrNode *n, const IrShape *x) {
    IrDtype dtype = n->out[0]->type.dtype;
    const char *why = check_conv_pool(n);
    IrWindow p = ir_conv_pool(n);
    IrShape out = *x;
    why = why ? why : window_result(n, &p, x, &out.dim[2], &out.dim[3]);
    for (int i = 2; i < 4 && !why; i++) {
        if (x->dim[i].c == 0) {
            why = ir_why(n, "axis %d is empty: its windows would hold padding alone", i);
        }
    }
    if (!why) {
        ir_set_result(n, dtype, &out);
    }
    return why;
}

IrShape ir_conv_shape(const IrNode *conv) {
    IrShape y = conv->out[0]->type.shape;
    if (ir_attr(conv, IR_ATTR_POOL)) {
        ir_window_result(conv, &ir_in(conv, 0)->type.shape, &y.dim[2], &y.dim[3]);
    }
    return y;
}

// ONNX Conv 22, two spatial axes, of what the prologue makes of x.
// x [N,C,H,W], w [O,C/group,KH,KW], bias [O].
const char *ir_shape_conv(IrNode *n) {
    IrDtype own = ir_own_dtype(n);
    const char *why = check_window(n);
    why = why || own == IR_I32 ? why : ir_need_float(n, 0);
    why = why ? why : ir_check_factors(n);
    why = why ? why : check_filter(n);
    why = why ? why : check_channels(n);
    if (why) {
        return why;
    }
    const IrShape *x = &ir_in_type(n, 0)->shape, filter = ir_filter_shape(n), *w = &filter;
    if (w->dim[2].c == 0 || w->dim[3].c == 0) {
        return ir_why(n, "kernel of weights %s is empty", ir_operand_text(n, 1));
    }
    IrShape out = {.rank = 4, .dim = {x->dim[0], w->dim[0]}};
    why = ir_window_result(n, x, &out.dim[2], &out.dim[3]);
    if (!why && ir_in(n, 2)) {
        why = ir_need_vector(n, 2, w->dim[0], own);
    }
    why = why ? why : ir_check_prologue(n);
    if (why) {
        return why;
    }
    ir_set_result(n, own, &out);
    why = ir_check_epilogue(n);
    return why || !ir_attr(n, IR_ATTR_POOL) ? why : pool_conv(n, &out);
}

// Padding that a whole window fits in would give results that come from no input.
static const char *check_pool_pads(const IrNode *n) {
    IrWindow p = ir_window(n);
    int64_t most_h = p.pt > p.pb ? p.pt : p.pb, most_w = p.pl > p.pr ? p.pl : p.pr;
    int64_t h, w;
    if (__builtin_mul_overflow(p.kh - 1, p.dh, &h) || __builtin_mul_overflow(p.kw - 1, p.dw, &w) ||
        (most_h <= h && most_w <= w)) {
        return NULL;
    }
    return ir_why(n, "pad %lldx%lld must be smaller than kernel %lldx%lld", (long long)most_h,
                  (long long)most_w, (long long)h + 1, (long long)w + 1);
}

const char *ir_pool_result(const IrNode *n, const IrShape *x, IrShape *y) {
    const char *why = check_window(n);
    if (!why && !ir_attr(n, IR_ATTR_KERNEL)) {
        why = "attribute kernel is missing";
    }
    why = why ? why : check_pool_pads(n);
    *y = (IrShape){.rank = 4, .dim = {x->dim[0], x->dim[1]}};
    why = why ? why : ir_window_result(n, x, &y->dim[2], &y->dim[3]);
    for (int i = 2; i < 4 && !why; i++) {
        if (x->dim[i].c == 0 && y->dim[i].c > 0) {
            why = ir_why(n, "axis %d is empty: its windows would hold padding alone", i);
        }
    }
    return why;
}

// ONNX MaxPool 22, AveragePool 22, two spatial axes.
const char *ir_shape_pool(IrNode *n) {
    IrShape out = {0};
    IrDtype own = ir_own_dtype(n);
    bool number = n->op == IR_OP_MAX_POOL || own == IR_F32;
    const char *why = number ? ir_need_number(n, 0) : ir_need_float(n, 0);
    why = why ? why : ir_check_own(n);
    why = why ? why : ir_pool_result(n, &ir_in_type(n, 0)->shape, &out);
    if (why) {
        return why;
    }
    ir_set_result(n, own, &out);
    return ir_check_epilogue(n);
}

// Operand 0 [N,K,H,W] of a matmul with `mean` as the product sees it, [N,K].
static const char *average_pixels(const IrNode *n, IrShape *a) {
    const char *why = ir_need_rank(n, 0, 4, 4);
    why = why ? why : ir_need_rank(n, 1, 2, 2);
    why = why ? why : ir_need_float(n, 0);
    for (int axis = 1; axis < 4 && !why; axis++) {
        why = ir_need_fixed(n, 0, axis);
    }
    if (!why && ir_int(n, IR_ATTR_TRANS_A, 0)) {
        why = "trans_a does not go with mean";
    }
    a->rank = 2;
    return why;
}

// ONNX MatMul 13 on ranks from 2 on: [...,M,K] x [...,K,O] -> [...,M,O], batch dimensions
// broadcast. With `mean`: [N,K,H,W] x [K,O] -> [N,O].
const char *ir_shape_matmul(IrNode *n) {
    const char *why = ir_need_rank(n, 0, 2, IR_MAX_RANK);
    why = why ? why : ir_need_rank(n, 1, 2, IR_MAX_RANK);
    why = why ? why : ir_need_number(n, 0);
    why = why ? why : ir_check_factors(n);
    if (why) {
        return why;
    }
    IrShape a = ir_in_type(n, 0)->shape, b = ir_in_type(n, 1)->shape, out;
    if (ir_int(n, IR_ATTR_MEAN, 0)) {
        why = average_pixels(n, &a);
    }
    if (why) {
        return why;
    }
    bool ta = ir_int(n, IR_ATTR_TRANS_A, 0), tb = ir_int(n, IR_ATTR_TRANS_B, 0);
    IrDim rows = a.dim[a.rank - 1 - !ta], columns = b.dim[b.rank - 1 - tb];
    IrDim ka = a.dim[a.rank - 1 - ta], kb = b.dim[b.rank - 1 - !tb];
    a.rank -= 2;
    b.rank -= 2;
    if (!ir_dim_eq(ka, kb)) {
        return ir_why(n, "%s%s by %s%s: the inner dimensions differ", ir_operand_text(n, 0),
                      ta ? " transposed" : "", ir_operand_text(n, 1), tb ? " transposed" : "");
    }
    if (!ir_shape_broadcast(&a, &b, &out)) {
        return ir_why(n, "%s by %s: the leading dimensions do not broadcast", ir_operand_text(n, 0),
                      ir_operand_text(n, 1));
    }
    out.dim[out.rank++] = rows;
    out.dim[out.rank++] = columns;
    if (ir_in(n, 2)) {
        why = ir_need_broadcast_to(n, 2, &out);
    }
    if (why) {
        return why;
    }
    ir_set_result(n, ir_own_dtype(n), &out);
    return ir_check_epilogue(n);
}

// ONNX BatchNormalization 15, inference: x [N,C,...], scale, bias, mean and variance [C].
const char *ir_shape_batch_norm(IrNode *n) {
    const IrType *x = ir_in_type(n, 0);
    const char *why = ir_need_rank(n, 0, 2, IR_MAX_RANK);
    why = why ? why : ir_need_float(n, 0);
    why = why ? why : ir_need_fixed(n, 0, 1);
    for (int i = 1; i < 5 && !why; i++) {
        why = ir_need_vector(n, i, x->shape.dim[1], x->dtype);
    }
    if (!why) {
        ir_set_result(n, x->dtype, &x->shape);
    }
    return why;
}

const char *ir_shape_layer_norm(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape;
    const char *why = ir_need_rank(n, 0, 1, IR_MAX_RANK);
    why = why ? why : ir_need_float(n, 0);
    why = why ? why : ir_need_fixed(n, 0, x->rank - 1);
    why = why ? why : ir_check_own(n);
    if (!why && x->dim[x->rank - 1].c < 1) {
        why = ir_why(n, "operand 0 is %s, which has no rows", ir_operand_text(n, 0));
    }
    if (why) {
        return why;
    }
    ir_set_result(n, ir_own_dtype(n), x);
    return ir_check_epilogue(n);
}

// ONNX ReduceSum 13 and kin; no axes: nothing is reduced.
const char *ir_shape_reduce(IrNode *n) {
    const IrShape *x = &ir_in_type(n, 0)->shape;
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    bool keep = ir_int(n, IR_ATTR_KEEPDIMS, 1);
    const char *why = ir_need_number(n, 0);
    why = why ? why : ir_check_own(n);
    for (int i = 0; i < axes.n && !why; i++) {
        why = ir_need_axis(n, axes.v[i], x->rank);
        if (!why && i && axes.v[i] <= axes.v[i - 1]) {
            why = ir_why(n, "axes are not ascending: %lld after %lld", (long long)axes.v[i],
                         (long long)axes.v[i - 1]);
        }
    }
    if (why) {
        return why;
    }
    IrShape out = {0};
    for (int axis = 0, k = 0; axis < x->rank; axis++) {
        bool reduced = k < axes.n && axes.v[k] == axis;
        k += reduced;
        if (!reduced || keep) {
            out.dim[out.rank++] = reduced ? ir_dim(1) : x->dim[axis];
        }
    }
    ir_set_result(n, ir_own_dtype(n), &out);
    why = ir_check_prologue(n);
    return why ? why : ir_check_epilogue(n);
}

// Operand i of attention: [B, rows, columns], where all heads have their columns.
static const char *check_heads(const IrNode *n, int i, int64_t heads, int64_t size) {
    const char *why = ir_need_rank(n, i, 3, 3);
    why = why ? why : ir_need_float(n, i);
    why = why ? why : ir_need_same_dtype(n, i, 0);
    why = why ? why : ir_need_fixed(n, i, 1);
    why = why ? why : ir_need_fixed(n, i, 2);
    if (why) {
        return why;
    }
    const IrShape *x = &ir_in_type(n, i)->shape, *q = &ir_in_type(n, 0)->shape;
    int64_t start = ir_ints(n, IR_ATTR_START).v[i], columns = x->dim[2].c;
    if (!ir_dim_eq(x->dim[0], q->dim[0]) || x->dim[1].c < 1) {
        return ir_why(n, "operand %d is %s where the first is %s", i, ir_operand_text(n, i),
                      ir_operand_text(n, 0));
    }
    if (start > columns || heads > columns || size > (columns - start) / heads) {
        return ir_why(n, "%lld heads of %lld columns from %lld on are not in %s", (long long)heads,
                      (long long)size, (long long)start, ir_operand_text(n, i));
    }
    return NULL;
}

// What is added to scores, which are f32 at least: [P, 1 or heads, rows of q, rows of k], for every
// P batch elements again.
static const char *check_score_bias(const IrNode *n, int i, int64_t heads) {
    const char *why = ir_need_rank(n, i, 4, 4);
    IrDtype sums = ir_in_type(n, 0)->dtype == IR_F64 ? IR_F64 : IR_F32;
    if (!why && ir_in_type(n, i)->dtype != sums) {
        why = ir_why(n, "operand %d is %s, sums are %s", i, ir_operand_text(n, i),
                     ir_dtype_name(sums));
    }
    for (int axis = 0; axis < 4 && !why; axis++) {
        why = ir_need_fixed(n, i, axis);
    }
    if (why) {
        return why;
    }
    const IrShape *x = &ir_in_type(n, i)->shape, *q = &ir_in_type(n, 0)->shape;
    int64_t period = x->dim[0].c;
    bool fits = period > 0 && q->dim[0].c % period == 0 && q->dim[0].n % period == 0 &&
                (x->dim[1].c == 1 || x->dim[1].c == heads) && ir_dim_eq(x->dim[2], q->dim[1]) &&
                ir_dim_eq(x->dim[3], ir_in_type(n, 1)->shape.dim[1]);
    return fits ? NULL
                : ir_why(n, "operand %d, %s, is no bias of scores of %lld heads", i,
                         ir_operand_text(n, i), (long long)heads);
}

const char *ir_shape_attention(IrNode *n) {
    int64_t heads = ir_int(n, IR_ATTR_GROUP, 1), size = ir_int(n, IR_ATTR_SIZE, 0);
    IrInts start = ir_ints(n, IR_ATTR_START);
    const char *why = ir_need_ints(n, IR_ATTR_START, 3, 0);
    if (!why && (start.n != 3 || heads < 1 || size < 1)) {
        why = "attributes group, size and start must say where heads are";
    }
    for (int i = 0; i < 3 && !why; i++) {
        why = check_heads(n, i, heads, size);
    }
    for (int i = 3; i < n->n_in && !why; i++) {
        why = check_score_bias(n, i, heads);
    }
    if (!why && !ir_dim_eq(ir_in_type(n, 1)->shape.dim[1], ir_in_type(n, 2)->shape.dim[1])) {
        why = ir_why(n, "keys are %s, values %s", ir_operand_text(n, 1), ir_operand_text(n, 2));
    }
    why = why ? why : ir_check_own(n);
    if (!why) {
        IrShape y = ir_in_type(n, 0)->shape;
        y.dim[2] = ir_dim(heads * size);
        ir_set_result(n, ir_own_dtype(n), &y);
    }
    return why;
}
