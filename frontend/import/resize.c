// Resize and Upsample. Every mode is separable: along each axis a pixel of the result is a weighted
// sum of a few pixels of the input, and which ones is known here. The IR's resize takes these
// tables for two axes; other axes are its rows in a view of the tensor:
//
//   [N,C,H,W]      both axes at once
//   [N,H,W,C]      [N,1,H,W*C] for the rows, then [N,H,W,C] for the columns
//   [N,C,D,H,W]    [N,C*D,H,W], then [N,C,D,H*W] for the depth
//
// Axes that stay as they are get no table; resize_axis.c fills those of the others.
//
// Where ONNX's text leaves a choice, or its reference differs, this is ONNX Runtime's: a scale of 1
// keeps an axis, and a result of the input's shape is the input, whatever the region; so does
// antialias with an axis of equal size; align_corners divides by the length of the result, a whole
// number.
#include "frontend/import/resize.h"

#include <math.h>
#include <string.h>

static const char *const coordinate_names[FE_RESIZE_COORDINATES] = {
    "half_pixel",           "pytorch_half_pixel", "align_corners",       "asymmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize", "half_pixel_symmetric"};
static const char *const rounding_names[FE_RESIZE_ROUNDINGS - 1] = {
    "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};

// ---------------------------------------------------------------- the IR's resize

static IrValue *weights_of(FeNode *n, const FeResizeAxis *a, const IrValue *x) {
    if (n->refused || !a->weight.data) {
        return NULL;
    }
    IrType type = {x->type.dtype, {2, {ir_dim(a->taps), ir_dim(a->out)}}, 0};
    IrTensor w = ir_tensor_new(n->fe->arena, &type, 1);
    for (int64_t i = 0; i < a->taps * a->out; i++) {
        ir_tensor_set(&w, i, ((double *)a->weight.data)[i]);
    }
    return fe_tensor_const(n, &w);
}

// Rows by axis h, columns by axis w of what x is seen `as`; NULL: as they are.
static IrValue *resize_view(FeNode *n, IrValue *x, const IrShape *as, const FeResizeAxis *h,
                            const FeResizeAxis *w) {
    IrValue *in[5] = {fe_reshape(n, x, as)};
    const FeResizeAxis *axis[2] = {h, w};
    for (int k = 0; k < 2; k++) {
        if (axis[k] && axis[k]->changes && !n->refused) {
            in[1 + 2 * k] = fe_tensor_const(n, &axis[k]->index);
            in[2 + 2 * k] = weights_of(n, axis[k], x);
        }
    }
    return fe_build(n, IR_OP_RESIZE, 5, in, 0, NULL);
}

// Dims [from, to) of s as [first, rest]; what is not there is 1.
static void outer_dims(FeNode *n, const IrShape *s, int to, IrShape *as) {
    as->rank = 4;
    as->dim[0] = to > 0 ? s->dim[0] : ir_dim(1);
    as->dim[1] = fe_dim_product(n, s, 1, to);
}

// To the next integer that the type has; halves away from zero.
static IrValue *round_to(FeNode *n, IrDtype t, IrValue *x) {
    int bits = 8 * ir_dtype_bytes(t);
    bool is_unsigned = t >= IR_U8 && t <= IR_U64;
    double most = ldexp(1, is_unsigned ? bits : bits - 1);
    if (t == IR_F32 || n->refused) {
        return x;
    }
    IrValue *size = fe_bin(n, IR_OP_ADD, fe_un(n, IR_OP_ABS, x), fe_const(n, x, 0.5));
    x = fe_bin(n, IR_OP_MUL, fe_un(n, IR_OP_SIGN, x), fe_un(n, IR_OP_FLOOR, size));
    return bits > 16 ? x
                     : fe_build(n, IR_OP_CLIP, FE_IN(x),
                                FE_WITH(ir_attr_f(IR_ATTR_MIN, is_unsigned ? 0 : -most),
                                        ir_attr_f(IR_ATTR_MAX, most - 1)));
}

static IrValue *resize_axes(FeNode *n, const FeResize *r, IrValue *x) {
    IrShape s = x->type.shape, as;
    int last = r->rank - 1, done = last;
    const FeResizeAxis *w = &r->axis[last], *h = last > 0 ? &r->axis[last - 1] : NULL;
    bool both = r->rounds_to == IR_F32 && (last >= 3 || (h && h->changes));
    if (w->changes || (both && h->changes)) {
        done = both ? last - 1 : last;
        outer_dims(n, &s, done, &as);
        as.dim[2] = both ? s.dim[last - 1] : ir_dim(1);
        as.dim[3] = s.dim[last];
        x = round_to(n, r->rounds_to, resize_view(n, x, &as, both ? h : NULL, w));
        s.dim[last] = w->changes ? ir_dim(w->out) : s.dim[last];
        if (both && h->changes) {
            s.dim[last - 1] = ir_dim(h->out);
        }
    }
    for (int i = done - 1; i >= 0 && !n->refused; i--) {
        if (r->axis[i].changes) {
            outer_dims(n, &s, i, &as);
            as.dim[2] = s.dim[i];
            as.dim[3] = fe_dim_product(n, &s, i + 1, r->rank);
            x = round_to(n, r->rounds_to, resize_view(n, x, &as, &r->axis[i], NULL));
            s.dim[i] = ir_dim(r->axis[i].out);
        }
    }
    return fe_reshape(n, x, &s);
}

// What TF_CROP_AND_RESIZE takes from outside of the image is one value.
static IrValue *fill_outside(FeNode *n, const FeResize *r, IrValue *y) {
    for (int i = 0; i < r->rank && !n->refused; i++) {
        if (r->axis[i].has_outside) {
            IrValue *inside = fe_tensor_const(n, &r->axis[i].inside);
            inside = fe_reshape_axes(n, inside, r->rank, (IrInts){1, (int64_t[]){i}});
            y = fe_build(n, IR_OP_WHERE, FE_IN(inside, y, fe_const(n, y, r->outside)), 0, NULL);
        }
    }
    return y;
}

static bool keeps_shape(const FeResize *r) {
    bool keeps = true;
    for (int i = 0; i < r->rank; i++) {
        keeps = keeps && r->axis[i].out == r->axis[i].in;
    }
    return keeps;
}

static void build_resize(FeNode *n, FeResize *r, IrValue *x) {
    bool changes = false, keeps = keeps_shape(r);
    for (int i = 0; i < r->rank && !n->refused; i++) {
        FeResizeAxis *a = &r->axis[i];
        bool empty = a->in == 0 && a->out == 0;
        if (a->scale != 1 && !keeps && !empty) {
            if (a->dim.n || a->in < 1 || a->in > FE_RESIZE_MAX_PIXELS || a->out < 1 ||
                a->out > FE_RESIZE_MAX_PIXELS) {
                fe_refuse(n, "axis %d of size %lld cannot be resized to %lld", i, (long long)a->in,
                          (long long)a->out);
            } else {
                fe_resize_fill_axis(n, r, a);
            }
        }
        changes |= a->changes || a->has_outside;
    }
    if (n->refused) {
        return;
    }
    if (!changes) {
        fe_out_alias(n, 0, 0);
        return;
    }
    // Integers are interpolated in f32 and cut off, with antialias rounded.
    IrDtype t = x->type.dtype;
    bool casts = r->mode != FE_RESIZE_NEAREST && !ir_dtype_is_float(t);
    r->rounds_to = casts && r->antialias ? t : IR_F32;
    IrValue *y = resize_axes(n, r, casts ? fe_cast(n, x, IR_F32) : x);
    y = fill_outside(n, r, y);
    fe_out(n, 0, casts ? fe_cast(n, y, t) : y);
}

// ---------------------------------------------------------------- reading the node

static int find_name(FeNode *n, const char *attr, int count, const char *const *names) {
    const char *text = fe_attr_str(n, attr, names[0]);
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    fe_refuse(n, "%s '%s' is unknown", attr, text);
    return 0;
}

static bool read_mode(FeNode *n, FeResize *r) {
    const char *mode = fe_attr_str(n, "mode", "nearest");
    r->mode = strcmp(mode, "nearest") == 0                                   ? FE_RESIZE_NEAREST
              : strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0 ? FE_RESIZE_LINEAR
              : strcmp(mode, "cubic") == 0                                   ? FE_RESIZE_CUBIC
                                                                             : FE_RESIZE_MODES;
    if (r->mode == FE_RESIZE_MODES) {
        fe_refuse(n, "mode '%s' is unknown", mode);
    }
    return !n->refused;
}

static void start_axes(FeResize *r, const IrShape *s) {
    r->rank = s->rank;
    for (int i = 0; i < s->rank; i++) {
        r->axis[i] = (FeResizeAxis){
            .dim = s->dim[i], .in = s->dim[i].c, .out = s->dim[i].c, .scale = 1, .end = 1};
    }
}

// A constant list of numbers; n == 0 where it is absent or empty.
typedef struct Floats {
    int n;
    float *v;
} Floats;

static Floats read_floats(FeNode *n, int i) {
    Floats f = {0, NULL};
    const IrTensor *t = fe_tensor(n, i);
    int64_t count = t ? ir_tensor_elems(t) : 0;
    if (fe_has(n, i) && !t) {
        fe_refuse(n, "NYI: '%s' is not constant", n->in[i]->name);
    } else if (count > 2 * IR_MAX_RANK) {
        fe_refuse(n, "'%s' has %lld entries", n->in[i]->name, (long long)count);
    } else if (count > 0) {
        f = (Floats){(int)count, ir_alloc_array(n->fe->arena, (size_t)count, sizeof *f.v)};
        for (int k = 0; k < f.n; k++) {
            f.v[k] = (float)ir_tensor_get(t, k);
        }
    }
    return f;
}

static void set_scale(FeNode *n, FeResizeAxis *a, int i, float scale) {
    float out = floorf(scale * (float)a->in);
    if (a->dim.n && scale != 1) {
        fe_refuse(n, "axis %d depends on the batch size and cannot be scaled", i);
        return;
    }
    if (!(scale > 0) || !isfinite(scale) ||
        (!(out >= 1 && out <= FE_RESIZE_MAX_PIXELS) && a->in > 0)) {
        fe_refuse(n, "axis %d of size %lld cannot be scaled by %g", i, (long long)a->in,
                  (double)scale);
        return;
    }
    a->scale = scale;
    a->out = scale == 1 ? a->in : (int64_t)out;
}

// The axes that scales, sizes and regions are given for: all, or those of the attribute (18).
static IrInts read_axes(FeNode *n, int rank) {
    IrInts axes = n->since >= 18 ? fe_attr_ints(n, "axes") : (IrInts){0, NULL};
    IrInts out = fe_range(n, 0, axes.v ? axes.n : rank);
    fe_axes(n, axes, rank); // refuses what is out of range or there twice
    for (int i = 0; i < axes.n && !n->refused; i++) {
        out.v[i] = fe_axis(n, axes.v[i], rank);
    }
    return out;
}

// keep_aspect_ratio_policy (18): one scale for all the axes.
static void keep_ratio(FeNode *n, FeResize *r, IrInts axes) {
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
    int policy = find_name(n, "keep_aspect_ratio_policy", 3, policies);
    float scale = 0;
    for (int k = 0; k < axes.n && policy && !n->refused; k++) {
        const FeResizeAxis *a = &r->axis[axes.v[k]];
        bool better = policy == 1 ? a->scale < scale : a->scale > scale;
        scale = k == 0 || better ? a->scale : scale;
    }
    for (int k = 0; k < axes.n && policy && !n->refused; k++) {
        FeResizeAxis *a = &r->axis[axes.v[k]];
        a->scale = a->dim.n ? 1 : scale;
        a->out = a->dim.n ? a->out : (int64_t)floorf(scale * (float)a->in + 0.5f);
    }
}

static void read_sizes(FeNode *n, FeResize *r, IrInts axes, const FeDims *sizes) {
    if (sizes->n != axes.n) {
        fe_refuse(n, "%d sizes are given for %d axes", sizes->n, axes.n);
    }
    for (int k = 0; k < axes.n && !n->refused; k++) {
        FeResizeAxis *a = &r->axis[axes.v[k]];
        IrDim size = sizes->v[k];
        if (a->dim.n || size.n) {
            if (!ir_dim_eq(a->dim, size)) {
                fe_refuse(n, "axis %lld depends on the batch size", (long long)axes.v[k]);
            }
        } else if (size.c < 1 || size.c > FE_RESIZE_MAX_PIXELS || a->in < 1) {
            fe_refuse(n, "axis %lld of size %lld cannot be resized to %lld", (long long)axes.v[k],
                      (long long)a->in, (long long)size.c);
        } else {
            a->out = size.c;
            a->scale = (float)size.c / (float)a->in;
        }
    }
    if (n->since >= 18 && !n->refused) {
        keep_ratio(n, r, axes);
    }
}

static void read_scales(FeNode *n, FeResize *r, IrInts axes, Floats scales) {
    if (scales.n != axes.n) {
        fe_refuse(n, "%d scales are given for %d axes", scales.n, axes.n);
    }
    for (int k = 0; k < axes.n && !n->refused; k++) {
        set_scale(n, &r->axis[axes.v[k]], (int)axes.v[k], scales.v[k]);
    }
}

// Resize-11, roi: starts, then ends, of each axis in parts of its size.
static void read_region(FeNode *n, FeResize *r, IrInts axes) {
    Floats roi = read_floats(n, 1);
    if (roi.n != 2 * axes.n) {
        fe_refuse(n, "roi has %d entries for %d axes", roi.n, axes.n);
    }
    for (int k = 0; k < axes.n && !n->refused; k++) {
        r->axis[axes.v[k]].start = roi.v[k];
        r->axis[axes.v[k]].end = roi.v[axes.n + k];
    }
}

// Resize-10 and Upsample: coordinates are x / scale.
static void import_simple(FeNode *n, IrValue *x, Floats scales) {
    FeResize r = {.coordinates = FE_RESIZE_ASYMMETRIC, .rounding = FE_RESIZE_SIMPLE};
    if (read_mode(n, &r)) {
        start_axes(&r, &x->type.shape);
        read_scales(n, &r, fe_range(n, 0, r.rank), scales);
        build_resize(n, &r, x);
    }
}

// Upsample-9: scales are input 1; an attribute in version 7; of height and width in version 1.
void fe_import_upsample(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    Floats scales = {0, NULL};
    if (n->since >= 9) {
        scales = read_floats(n, 1);
    } else if (n->since >= 7) {
        const Onnx__AttributeProto *a = fe_attr(n, "scales");
        if (a && a->n_floats <= IR_MAX_RANK) {
            scales = (Floats){(int)a->n_floats, a->floats};
        }
    } else {
        scales = (Floats){4, ir_alloc_array(n->fe->arena, 4, sizeof *scales.v)};
        scales.v[0] = scales.v[1] = 1;
        scales.v[2] = (float)fe_attr_float(n, "height_scale", 0);
        scales.v[3] = (float)fe_attr_float(n, "width_scale", 0);
    }
    if (!n->refused) {
        import_simple(n, x, scales);
    }
}

// Resize-19: x, roi, scales, sizes.
void fe_import_resize(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    if (n->refused) {
        return;
    }
    if (n->since < 11) {
        import_simple(n, x, read_floats(n, 1));
        return;
    }
    FeResize r = {.cubic_a = fe_attr_float(n, "cubic_coeff_a", -0.75),
                  .outside = fe_attr_float(n, "extrapolation_value", 0),
                  .exclude_outside = fe_attr_int(n, "exclude_outside", 0) != 0,
                  .antialias = n->since >= 18 && fe_attr_int(n, "antialias", 0) != 0};
    r.coordinates = (FeResizeCoordinates)find_name(n, "coordinate_transformation_mode",
                                                   FE_RESIZE_COORDINATES, coordinate_names);
    r.rounding =
        (FeResizeRounding)find_name(n, "nearest_mode", FE_RESIZE_ROUNDINGS - 1, rounding_names);
    start_axes(&r, &x->type.shape);
    IrInts axes = read_axes(n, r.rank);
    FeDims sizes = {0};
    Floats scales = read_floats(n, 2);
    if (!read_mode(n, &r) || (fe_has(n, 3) && !fe_dims(n, 3, &sizes))) {
        return;
    }
    if ((sizes.n > 0) == (scales.n > 0)) {
        fe_refuse(n, "it needs scales or sizes");
        return;
    }
    if (sizes.n > 0) {
        read_sizes(n, &r, axes, &sizes);
    } else {
        read_scales(n, &r, axes, scales);
    }
    if (r.coordinates == FE_RESIZE_TF_CROP_AND_RESIZE && !n->refused) {
        read_region(n, &r, axes);
    }
    build_resize(n, &r, x);
}
