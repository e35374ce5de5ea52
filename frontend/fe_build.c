// Building IR nodes on behalf of an ONNX node: the IR's builder, with refusal instead of a returned
// reason, and the few shapes of code that several importers share (1-D windows as 2-D ones).
#include "frontend/fe_import.h"

#include <string.h>

IrValue *fe_build(FeNode *n, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                  const IrAttr *attrs) {
    if (n->refused) {
        return NULL;
    }
    while (n_in > 0 && !in[n_in - 1]) {
        n_in--;
    }
    IrValue *v = ir_build(&n->b, op, n_in, in, n_attrs, attrs);
    if (!v) {
        fe_refuse(n, "%s", n->b.err);
    }
    return v;
}

IrValue *fe_un(FeNode *n, IrOp op, IrValue *x) {
    return fe_build(n, op, FE_IN(x), 0, NULL);
}

IrValue *fe_bin(FeNode *n, IrOp op, IrValue *x, IrValue *y) {
    return fe_build(n, op, FE_IN(x, y), 0, NULL);
}

IrValue *fe_const(FeNode *n, IrValue *like, double x) {
    return n->refused ? NULL : ir_build_scalar(&n->b, like->type.dtype, x);
}

IrValue *fe_op_const(FeNode *n, IrOp op, IrValue *x, double c) {
    return fe_bin(n, op, x, fe_const(n, x, c));
}

IrValue *fe_cast(FeNode *n, IrValue *x, IrDtype to) {
    if (n->refused || x->type.dtype == to) {
        return x;
    }
    return fe_build(n, IR_OP_CAST, FE_IN(x), FE_WITH(ir_attr_s(IR_ATTR_TO, ir_dtype_name(to))));
}

IrValue *fe_reshape(FeNode *n, IrValue *x, const IrShape *shape) {
    if (n->refused || ir_shape_eq(&x->type.shape, shape)) {
        return x;
    }
    return fe_build(n, IR_OP_RESHAPE, FE_IN(x), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, shape)));
}

IrAttr fe_ints_attr(FeNode *n, IrAttrKey key, int count, const int64_t *v) {
    return ir_attr_ints(n->fe->arena, key, count, v);
}

IrValue *fe_transpose(FeNode *n, IrValue *x, int rank, const int64_t *perm) {
    return fe_build(n, IR_OP_TRANSPOSE, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_PERM, rank, perm)));
}

IrValue *fe_reduce(FeNode *n, IrOp op, IrValue *x, IrInts axes, bool keepdims) {
    return fe_build(n, op, FE_IN(x),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_AXES, axes.n, axes.v),
                            ir_attr_i(IR_ATTR_KEEPDIMS, keepdims)));
}

IrInts fe_range(FeNode *n, int from, int to) {
    IrInts r = {to > from ? to - from : 0, NULL};
    r.v = ir_alloc_array(n->fe->arena, (size_t)r.n + 1, sizeof *r.v);
    for (int i = 0; i < r.n; i++) {
        r.v[i] = from + i;
    }
    return r;
}

IrValue *fe_reshape_axes(FeNode *n, IrValue *v, int rank, IrInts axes) {
    if (n->refused) {
        return NULL;
    }
    IrShape s = {.rank = rank};
    for (int i = 0; i < rank; i++) {
        s.dim[i] = ir_dim(1);
    }
    if (v->type.shape.rank != axes.n) {
        fe_refuse(n, "a parameter of rank %d stands where rank %d is needed", v->type.shape.rank,
                  axes.n);
        return NULL;
    }
    for (int i = 0; i < axes.n; i++) {
        s.dim[axes.v[i]] = v->type.shape.dim[i];
    }
    return fe_reshape(n, v, &s);
}

// ---------------------------------------------------------------- windows

IrValue *fe_to_2d(FeNode *n, IrValue *x) {
    if (n->refused || x->type.shape.rank != 3) {
        return x;
    }
    const IrDim *d = x->type.shape.dim;
    return fe_reshape(n, x, &(IrShape){4, {d[0], d[1], ir_dim(1), d[2]}});
}

IrValue *fe_from_2d(FeNode *n, IrValue *y, int rank) {
    if (n->refused || rank != 1) {
        return y;
    }
    const IrDim *d = y->type.shape.dim;
    return fe_reshape(n, y, &(IrShape){3, {d[0], d[1], d[3]}});
}

// Attribute `name` with one entry per spatial axis into out[2 - rank .. 1]; out keeps its preset
// when it is absent.
static bool read_spatial(FeNode *n, const char *name, int rank, int64_t *out) {
    IrInts v = fe_attr_ints(n, name);
    if (v.v && v.n != rank) {
        fe_refuse(n, "%s has %d entries for %d spatial dimensions", name, v.n, rank);
        return false;
    }
    for (int i = 0; i < v.n; i++) {
        if (v.v[i] < 1 || v.v[i] > INT32_MAX) {
            fe_refuse(n, "%s is %lld", name, (long long)v.v[i]);
            return false;
        }
        out[2 - rank + i] = v.v[i];
    }
    return !n->refused;
}

// auto_pad (Conv-11): SAME_* makes the output ceil(size / stride) long; the odd cell of padding
// goes to the end (UPPER) or the begin (LOWER).
static void pad_same(FeWindow *w, int i, int64_t size, bool lower) {
    int64_t out = (size + w->stride[i] - 1) / w->stride[i];
    int64_t total = (out - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] + 1 - size;
    total = total > 0 ? total : 0;
    w->pad[i] = lower ? total - total / 2 : total / 2;
    w->pad[i + 2] = total - w->pad[i];
}

static bool read_pads(FeNode *n, const IrShape *x, FeWindow *w) {
    const char *mode = fe_attr_str(n, "auto_pad", "NOTSET");
    bool lower = strcmp(mode, "SAME_LOWER") == 0;
    if (lower || strcmp(mode, "SAME_UPPER") == 0) {
        for (int i = 2 - w->rank; i < 2; i++) {
            pad_same(w, i, x->dim[x->rank - 2 + i].c, lower);
        }
        return true;
    }
    if (strcmp(mode, "VALID") == 0) {
        return true;
    }
    if (strcmp(mode, "NOTSET") != 0 && *mode) {
        fe_refuse(n, "auto_pad '%s' is unknown", mode);
        return false;
    }
    IrInts v = fe_attr_ints(n, "pads");
    if (v.v && v.n != 2 * w->rank) {
        fe_refuse(n, "pads has %d entries for %d spatial dimensions", v.n, w->rank);
        return false;
    }
    for (int i = 0; i < v.n; i++) {
        if (v.v[i] < 0 || v.v[i] > INT32_MAX) {
            fe_refuse(n, "pads entry %d is %lld", i, (long long)v.v[i]);
            return false;
        }
        int end = i >= w->rank, axis = i - end * w->rank;
        w->pad[2 * end + 2 - w->rank + axis] = v.v[i];
    }
    return !n->refused;
}

bool fe_window(FeNode *n, const IrShape *x, const int64_t *kernel, FeWindow *w) {
    *w = (FeWindow){x->rank - 2, {1, 1}, {1, 1}, {1, 1}, {0}};
    if (w->rank != 1 && w->rank != 2) {
        fe_refuse(n, "input of rank %d; only 1-D and 2-D windows are supported", x->rank);
        return false;
    }
    for (int i = 2; i < x->rank; i++) {
        if (x->dim[i].n != 0) {
            fe_refuse(n, "spatial dimension %d depends on the batch size", i);
            return false;
        }
    }
    for (int i = 0; kernel && i < w->rank; i++) {
        w->kernel[2 - w->rank + i] = kernel[i];
    }
    int64_t given[2] = {w->kernel[0], w->kernel[1]};
    if (!kernel && !fe_attr(n, "kernel_shape")) {
        fe_refuse(n, "it has no kernel_shape");
    }
    if (!read_spatial(n, "kernel_shape", w->rank, w->kernel) ||
        !read_spatial(n, "strides", w->rank, w->stride) ||
        !read_spatial(n, "dilations", w->rank, w->dilation) || n->refused) {
        return false;
    }
    if (kernel && memcmp(given, w->kernel, sizeof given) != 0) {
        fe_refuse(n, "kernel_shape is not the weights' kernel");
        return false;
    }
    return read_pads(n, x, w);
}
