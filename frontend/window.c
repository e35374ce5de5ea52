// The windows of Conv, ConvTranspose and the pools: one span per spatial axis, read from the node's
// attributes with every range checked, and the padding that auto_pad asks for.
//
// The IR's windows have two axes: a 1-D window is one of height 1, and importers of further axes
// take them apart.
#include "frontend/import.h"

#include <stddef.h>
#include <string.h>

bool fe_read_spans(FeNode *n, const IrShape *x, const int64_t *kernel, FeSpan *span) {
    int rank = x->rank - 2;
    if (rank < 1) {
        fe_refuse(n, "input of rank %d has no spatial axes", x->rank);
        return false;
    }
    static const struct {
        const char *name;
        size_t offset;
    } lists[] = {{"kernel_shape", offsetof(FeSpan, kernel)},
                 {"strides", offsetof(FeSpan, stride)},
                 {"dilations", offsetof(FeSpan, dilation)}};
    for (int i = 0; i < rank; i++) {
        if (x->dim[2 + i].n != 0) {
            fe_refuse(n, "spatial dimension %d depends on the batch size", 2 + i);
            return false;
        }
        span[i] = (FeSpan){x->dim[2 + i].c, kernel ? kernel[i] : 1, 1, 1, 0, 0};
    }
    for (int i = 0; kernel && i < rank; i++) {
        if (kernel[i] < 1 || kernel[i] > INT32_MAX) {
            fe_refuse(n, "the weights' kernel is %lld long", (long long)kernel[i]);
        }
    }
    if (!kernel && !fe_attr(n, "kernel_shape")) {
        fe_refuse(n, "it has no kernel_shape");
    }
    for (int k = 0; k < 3 && !n->refused; k++) {
        IrInts v = fe_attr_ints(n, lists[k].name);
        if (v.v && v.n != rank) {
            fe_refuse(n, "%s has %d entries for %d spatial dimensions", lists[k].name, v.n, rank);
        }
        for (int i = 0; i < v.n && !n->refused; i++) {
            int64_t *to = (int64_t *)((char *)&span[i] + lists[k].offset);
            if (v.v[i] < 1 || v.v[i] > INT32_MAX) {
                fe_refuse(n, "%s is %lld", lists[k].name, (long long)v.v[i]);
            } else if (kernel && k == 0 && v.v[i] != kernel[i]) {
                fe_refuse(n, "kernel_shape is not the weights' kernel");
            }
            *to = v.v[i];
        }
    }
    return !n->refused;
}

FeAutoPad fe_auto_pad(FeNode *n) {
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    const char *mode = fe_attr_str(n, "auto_pad", "NOTSET");
    for (int k = 0; k < 4; k++) {
        if (strcmp(mode, names[k]) == 0) {
            return (FeAutoPad)k;
        }
    }
    if (*mode) {
        fe_refuse(n, "auto_pad '%s' is unknown", mode);
    }
    return FE_PAD_NOTSET;
}

// The odd cell of padding goes to the end (UPPER) or the begin (LOWER), Conv-11.
void fe_share_padding(FeSpan *s, int64_t total, bool lower) {
    total = total > 0 ? total : 0;
    s->begin = lower ? total - total / 2 : total / 2;
    s->end = total - s->begin;
}

bool fe_read_pads(FeNode *n, int rank, FeSpan *span) {
    IrInts v = fe_attr_ints(n, "pads");
    if (v.v && v.n != 2 * rank) {
        fe_refuse(n, "pads has %d entries for %d spatial dimensions", v.n, rank);
    }
    for (int i = 0; i < v.n && !n->refused; i++) {
        if (v.v[i] < 0 || v.v[i] > INT32_MAX) {
            fe_refuse(n, "pads entry %d is %lld", i, (long long)v.v[i]);
        }
        *(i < rank ? &span[i].begin : &span[i - rank].end) = v.v[i];
    }
    return !n->refused;
}

bool fe_spans(FeNode *n, const IrShape *x, const int64_t *kernel, FeSpan *span) {
    int rank = x->rank - 2;
    if (!fe_read_spans(n, x, kernel, span)) {
        return false;
    }
    FeAutoPad mode = fe_auto_pad(n);
    if (mode == FE_PAD_NOTSET) {
        return fe_read_pads(n, rank, span);
    }
    for (int i = 0; i < rank && mode != FE_PAD_VALID; i++) {
        FeSpan *s = &span[i]; // SAME_*: the output is ceil(size / stride) long
        int64_t out = s->size / s->stride + (s->size % s->stride != 0);
        int64_t reach = (out - 1) * s->stride + fe_span_extent(s);
        fe_share_padding(s, reach - s->size, mode == FE_PAD_SAME_LOWER);
    }
    return !n->refused;
}

int64_t fe_span_extent(const FeSpan *s) {
    return (s->kernel - 1) * s->dilation + 1;
}

int64_t fe_span_windows(FeNode *n, const FeSpan *s, bool ceil) {
    int64_t padded, extent = fe_span_extent(s);
    if (n->refused || __builtin_add_overflow(s->size, s->begin + s->end, &padded) ||
        padded < extent) {
        fe_refuse(n, "kernel %lld is larger than the padded input", (long long)extent);
        return 0;
    }
    int64_t room = padded - extent;
    int64_t out = room / s->stride + (ceil && room % s->stride != 0) + 1;
    return ceil && (out - 1) * s->stride >= s->size + s->begin ? out - 1 : out;
}

// ---------------------------------------------------------------- two axes

bool fe_window(FeNode *n, const IrShape *x, const int64_t *kernel, FeWindow *w) {
    FeSpan span[IR_MAX_RANK];
    *w = (FeWindow){x->rank - 2, {1, 1}, {1, 1}, {1, 1}, {0}};
    if (w->rank > 2) {
        fe_refuse(n, "NYI: windows of %d axes", w->rank);
    }
    if (n->refused || !fe_spans(n, x, kernel, span)) {
        return false;
    }
    for (int i = 0; i < w->rank; i++) {
        int k = 2 - w->rank + i;
        w->kernel[k] = span[i].kernel;
        w->stride[k] = span[i].stride;
        w->dilation[k] = span[i].dilation;
        w->pad[k] = span[i].begin;
        w->pad[k + 2] = span[i].end;
    }
    return true;
}

int fe_span_attrs(FeNode *n, const FeSpan *h, const FeSpan *w, IrAttr *attrs) {
    static const FeSpan one = {1, 1, 1, 1, 0, 0};
    h = h ? h : &one;
    w = w ? w : &one;
    attrs[0] = fe_ints_attr(n, IR_ATTR_STRIDE, 2, (int64_t[]){h->stride, w->stride});
    attrs[1] = fe_ints_attr(n, IR_ATTR_DILATION, 2, (int64_t[]){h->dilation, w->dilation});
    attrs[2] = fe_ints_attr(n, IR_ATTR_PAD, 4, (int64_t[]){h->begin, w->begin, h->end, w->end});
    attrs[3] = fe_ints_attr(n, IR_ATTR_KERNEL, 2, (int64_t[]){h->kernel, w->kernel});
    return 4;
}

IrValue *fe_to_2d(FeNode *n, IrValue *x) {
    if (n->refused || x->type.shape.rank != 3) {
        return x;
    }
    const IrDim *d = x->type.shape.dim;
    return fe_reshape(n, x, &(IrShape){4, {d[0], d[1], ir_dim(1), d[2]}});
}

// Axis `from` moved to `to`, past those between.
static IrValue *move_axis(FeNode *n, IrValue *x, int from, int to) {
    int64_t perm[IR_MAX_RANK];
    int rank = x->type.shape.rank, step = from < to ? 1 : -1;
    for (int i = 0; i < rank; i++) {
        perm[i] = i;
    }
    for (int i = from; i != to; i += step) {
        perm[i] = i + step;
    }
    perm[to] = from;
    return fe_transpose(n, x, rank, perm);
}

IrValue *fe_channels_first(FeNode *n, IrValue *x) {
    if (!n->refused && x->type.shape.rank < 3) {
        fe_refuse(n, "input of rank %d has no spatial axes", x->type.shape.rank);
    }
    return n->refused ? NULL : move_axis(n, x, x->type.shape.rank - 1, 1);
}

IrValue *fe_channels_last(FeNode *n, IrValue *x) {
    return n->refused ? NULL : move_axis(n, x, 1, x->type.shape.rank - 1);
}

IrValue *fe_from_2d(FeNode *n, IrValue *y, int rank) {
    if (n->refused || rank != 1) {
        return y;
    }
    const IrDim *d = y->type.shape.dim;
    return fe_reshape(n, y, &(IrShape){3, {d[0], d[1], d[3]}});
}

IrDim fe_dim_product(FeNode *n, const IrShape *s, int from, int to) {
    IrDim d = ir_dim(1);
    for (int i = from; i < to; i++) {
        if (!ir_dim_mul(d, s->dim[i], &d)) {
            fe_refuse(n, "the input is too large");
        }
    }
    return d;
}
