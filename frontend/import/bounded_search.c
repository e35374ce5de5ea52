// Operators along an axis whose size data decides (TopK, reductions, ArgMax, CumSum, Softmax,
// products), those that take one image or row after the other, and those that make such sizes:
// NonZero, Compress, NonMaxSuppression.
//
// Behind the count stands what changes no result: the least number for a maximum, zeros for a sum.
#include "frontend/import/bounded.h"

#include <math.h>
#include <string.h>

static double lowest(IrDtype t) {
    return ir_dtype_is_float(t) ? -INFINITY : ir_dtype_lowest(t);
}

static double highest(IrDtype t) {
    return ir_dtype_is_float(t) ? INFINITY : ir_dtype_highest(t);
}

// ---------------------------------------------------------------- TopK

// TopK-11. NaN is the greatest: where the least are wanted, NaN is what stands behind the count.
void fe_bounded_top_k(FeNode *n) {
    IrValue *x = fe_operand(n, 0),
            *k = n->since >= 10 ? fe_operand(n, 1) : fe_i64(n, fe_attr_int(n, "k", -1));
    bool least = n->since >= 11 && !fe_attr_int(n, "largest", 1);
    int axis = n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", -1), x->type.shape.rank);
    FeCount c = fe_count(n, 0), to = c;
    IrDim elems = {0, 0};
    if (!n->refused && (!ir_shape_elems(&k->type.shape, &elems) || !ir_dim_is(elems, 1))) {
        fe_refuse(n, "k is not one number of at least 0");
    }
    if (n->refused) {
        return;
    }
    bool along = c.v && c.axis == axis;
    IrDtype t = x->type.dtype;
    FeEntry e = fe_entry(n, k, 0);
    int64_t size = e.hi, bound = x->type.shape.dim[axis].c;
    IrValue *many = fe_element(n, k, 0);
    if (e.hi < 0 || (e.lo == e.hi && size > bound)) {
        fe_refuse(n, "k is %lld of at most %lld", (long long)size, (long long)bound);
    }
    size = size > bound ? bound : size;
    if (along) {
        x = fe_filled(n, x, c, least ? (ir_dtype_is_float(t) ? NAN : highest(t)) : lowest(t));
        fe_check_most(n, fe_bin(n, IR_OP_SUB, many, c.v), 0);
    } else {
        fe_check_most(n, many, bound);
    }
    fe_check_most(n, fe_un(n, IR_OP_NEG, many), 0); // k is not negative
    if (e.lo == e.hi) {
        to = along ? (FeCount){0} : c;
    } else if (c.v && !along) {
        fe_bounded_nyi(n);
    } else {
        to = (FeCount){many, axis};
    }
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_AXIS, axis), ir_attr_i(IR_ATTR_SIZE, size),
                      ir_attr_i(IR_ATTR_REVERSE, least)};
    IrNode *top = n->refused ? NULL : ir_build_node(&n->b, IR_OP_TOP_K, 1, &x, 3, attrs);
    if (!top) {
        fe_refuse(n, "%s", n->b.err);
        return;
    }
    for (int i = 0; i < 2; i++) {
        fe_out(n, i, top->out[i]);
        fe_out_count(n, i, to);
    }
}

// ---------------------------------------------------------------- reductions

static bool reduces(FeNode *n, int axis, int rank) {
    IrInts axes = fe_ints_of(n, "axes", 1);
    bool any = axes.n == 0 && !fe_attr_int(n, "noop_with_empty_axes", 0);
    for (int i = 0; i < axes.n; i++) {
        any = any || axes.v[i] == axis || axes.v[i] + rank == axis;
    }
    return any;
}

static int axes_before(FeNode *n, int axis, int rank) {
    IrInts axes = fe_ints_of(n, "axes", 1);
    int before = 0;
    for (int i = 0; i < axes.n; i++) {
        int64_t at = axes.v[i] < 0 ? axes.v[i] + rank : axes.v[i];
        before += at < axis;
    }
    return before;
}

static double neutral(const char *op, IrDtype t) {
    return strcmp(op, "ReduceMax") == 0    ? lowest(t)
           : strcmp(op, "ReduceMin") == 0  ? highest(t)
           : strcmp(op, "ReduceProd") == 0 ? 1
                                           : 0;
}

void fe_bounded_reduce(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeCount c = fe_count(n, 0);
    const char *op = n->info->name;
    int rank = n->refused ? 0 : x->type.shape.rank;
    bool keeps = fe_attr_int(n, "keepdims", 1) != 0, mean = strcmp(op, "ReduceMean") == 0;
    if (n->refused) {
        return;
    }
    if (!reduces(n, c.axis, rank)) {
        fe_bounded_import(n);
        c.axis -= keeps ? 0 : axes_before(n, c.axis, rank);
        fe_out_count(n, 0, c);
        return;
    }
    if (mean || x->type.dtype == IR_BOOL) {
        fe_bounded_nyi(n);
        return;
    }
    fe_bounded_replace(n, 0, fe_filled(n, x, c, neutral(op, x->type.dtype)), (FeCount){0});
    fe_bounded_import(n);
}

// ArgMax-13, ArgMin-13: of equals the first, so that what stands behind the count is never taken.
void fe_bounded_arg(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeCount c = fe_count(n, 0);
    int axis = n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", 0), x->type.shape.rank);
    bool keeps = fe_attr_int(n, "keepdims", 1) != 0;
    if (n->refused) {
        return;
    }
    if (axis != c.axis) {
        fe_bounded_import(n);
        c.axis -= !keeps && axis < c.axis;
        fe_out_count(n, 0, c);
    } else if (fe_attr_int(n, "select_last_index", 0)) {
        fe_bounded_nyi(n);
    } else {
        IrDtype t = x->type.dtype;
        double fill = n->info->op == IR_OP_ARG_MIN ? highest(t) : lowest(t);
        fe_check_most(n, fe_bin(n, IR_OP_SUB, fe_i64(n, 1), c.v), 0);
        fe_bounded_replace(n, 0, fe_filled(n, x, c, fill), (FeCount){0});
        fe_bounded_import(n);
    }
}

void fe_bounded_cumsum(FeNode *n) {
    FeCount c = fe_count(n, 0);
    IrValue *x = fe_operand(n, 0);
    fe_bounded_replace(n, 0, fe_filled(n, x, c, 0), c);
    fe_bounded_import(n);
    fe_out_count(n, 0, c);
}

// Softmax-13, LogSoftmax-13
void fe_bounded_softmax(FeNode *n) {
    FeCount c = fe_count(n, 0);
    IrValue *x = fe_operand(n, 0);
    int rank = n->refused ? 1 : x->type.shape.rank;
    int axis = n->refused ? 0 : fe_axis(n, fe_attr_int(n, "axis", n->since >= 13 ? -1 : 1), rank);
    if (!n->refused && n->since < 13 && (axis != rank - 1 || c.axis == axis)) {
        fe_bounded_nyi(n);
    }
    if (axis == c.axis) {
        fe_bounded_replace(n, 0, fe_filled(n, x, c, -INFINITY), c);
    }
    fe_bounded_import(n);
    fe_out_count(n, 0, c);
}

// ---------------------------------------------------------------- products, images

// MatMul-13: rows, or columns, that count; not what is summed over.
void fe_bounded_matmul(FeNode *n) {
    FeCount a = fe_count(n, 0), b = fe_count(n, 1);
    IrValue *x = fe_operand(n, 0), *y = fe_operand(n, 1);
    if (n->refused) {
        return;
    }
    int ra = x->type.shape.rank, rb = y->type.shape.rank;
    bool fits = (a.v != NULL) != (b.v != NULL) && ra >= 2 && rb >= 2 &&
                (a.v ? a.axis != ra - 1 : b.axis != rb - 2) && (!b.v || b.axis == rb - 1) &&
                (!a.v || a.axis == ra - 2 || rb == 2);
    if (!fits) {
        fe_bounded_nyi(n);
        return;
    }
    int rank = ra > rb ? ra : rb;
    FeCount to = a.v ? (FeCount){a.v, rank - ra + a.axis} : (FeCount){b.v, rank - 1};
    fe_bounded_import(n);
    fe_out_count(n, 0, to);
}

// Gemm-13
void fe_bounded_gemm(FeNode *n) {
    FeCount a = fe_count(n, 0);
    int rows = fe_attr_int(n, "transA", 0) != 0;
    if (!a.v || a.axis != rows || fe_count(n, 1).v || fe_count(n, 2).v) {
        fe_bounded_nyi(n);
        return;
    }
    fe_bounded_import(n);
    fe_out_count(n, 0, (FeCount){a.v, 0});
}

// What is done to each image of the first axis by itself.
void fe_bounded_images(FeNode *n) {
    FeCount c = fe_count(n, 0);
    for (int i = 1; i < n->n_in; i++) {
        if (fe_count(n, i).v) {
            fe_bounded_nyi(n);
        }
    }
    if (!c.v || c.axis != 0) {
        fe_bounded_nyi(n);
    }
    fe_bounded_import(n);
    fe_out_count(n, 0, c);
}

void fe_bounded_roi_align(FeNode *n) {
    FeCount regions = fe_count(n, 1), images = fe_count(n, 2);
    IrValue *r = fe_operand(n, 1), *i = fe_operand(n, 2);
    if (n->refused) {
        return;
    }
    if (fe_count(n, 0).v || !regions.v || regions.axis != 0 || r->type.shape.rank != 2 ||
        i->type.shape.rank != 1) {
        fe_bounded_nyi(n);
        return;
    }
    int64_t a = r->type.shape.dim[0].c, b = i->type.shape.dim[0].c;
    fe_check_equal(n, regions.v, images.v ? images.v : fe_i64(n, b));
    fe_bounded_replace(n, 1, fe_bounded_cut(n, r, 0, b), regions);
    fe_bounded_replace(n, 2, fe_bounded_cut(n, i, 0, a), images);
    fe_bounded_import(n);
    fe_out_count(n, 0, regions);
}

// ---------------------------------------------------------------- NonZero, Compress

// NonZero-13
void fe_bounded_non_zero(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *count = NULL;
    IrValue *at = fe_bounded_find(n, fe_filled(n, x, fe_count(n, 0), 0), &count);
    fe_out(n, 0, at);
    fe_out_count(n, 0, (FeCount){count, 1});
}

// Compress-11
void fe_bounded_compress(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *picked = fe_operand(n, 1), *count = NULL;
    FeCount c = fe_count(n, 0), p = fe_count(n, 1);
    if (n->refused) {
        return;
    }
    int axis = 0;
    if (fe_attr(n, "axis")) {
        axis = fe_axis(n, fe_attr_int(n, "axis", 0), x->type.shape.rank);
    } else {
        IrShape flat = {1, {fe_dim_product(n, &x->type.shape, 0, x->type.shape.rank)}};
        c = c.v ? fe_bounded_moved(n, c, &x->type.shape, &flat, 0) : c;
        x = fe_reshape(n, x, &flat);
    }
    if (n->refused) {
        return;
    }
    IrDim have = x->type.shape.dim[axis];
    if (c.v && c.axis != axis) {
        fe_bounded_nyi(n);
        return;
    }
    if (picked->type.shape.rank != 1 || have.n || picked->type.shape.dim[0].c > have.c) {
        fe_refuse(n, "its condition is no list of at most %lld entries, one for each it selects of",
                  (long long)have.c);
        return;
    }
    IrValue *y = fe_bounded_pick(n, x, axis, fe_filled(n, picked, p, 0), &count);
    fe_out(n, 0, y);
    fe_out_count(n, 0, (FeCount){count, axis});
}

// ---------------------------------------------------------------- NonMaxSuppression

// A number that may be left out, as a scalar.
static IrValue *read_number(FeNode *n, int i, IrDtype t, double absent) {
    IrValue *v = fe_operand_or_null(n, i);
    IrDim elems = ir_dim(0);
    if (n->refused || !v) {
        return n->refused ? NULL : ir_build_scalar(&n->b, t, absent);
    }
    if (!ir_shape_elems(&v->type.shape, &elems) || !ir_dim_is(elems, 1)) {
        fe_refuse(n, "input %d is no number", i);
    }
    return fe_cast(n, fe_reshape(n, v, &(IrShape){0}), t);
}

static void check_threshold(FeNode *n) {
    const IrTensor *t = fe_tensor(n, 3);
    double iou = t && !n->refused && ir_tensor_elems(t) == 1 ? ir_tensor_get(t, 0) : 0;
    if (!(iou >= 0 && iou <= 1)) {
        fe_refuse(n, "iou_threshold is %g, it must be from 0 to 1", iou);
    }
}

// How many boxes there are of those that have a place.
static IrValue *count_boxes(FeNode *n) {
    FeCount boxes = fe_count(n, 0), scores = fe_count(n, 1);
    if ((boxes.v && boxes.axis != 1) || (scores.v && scores.axis != 2)) {
        fe_bounded_nyi(n);
    } else if (boxes.v || scores.v) {
        IrValue *b = fe_operand(n, 0), *s = fe_operand(n, 1);
        int64_t have = n->refused ? 0 : b->type.shape.dim[1].c;
        int64_t scored = n->refused || s->type.shape.rank != 3 ? 0 : s->type.shape.dim[2].c;
        fe_check_equal(n, boxes.v ? boxes.v : fe_i64(n, have),
                       scores.v ? scores.v : fe_i64(n, scored));
        fe_bounded_replace(n, 0, fe_bounded_cut(n, b, 1, scored), boxes);
        fe_bounded_replace(n, 1, fe_bounded_cut(n, s, 2, have), scores);
    }
    return boxes.v ? boxes.v : scores.v;
}

// Rows of image, class and box, of what was chosen class by class: [images, classes, size].
static void list_chosen(FeNode *n, IrValue *chosen, IrValue *counts) {
    IrShape rows = chosen->type.shape, each = counts->type.shape;
    each.dim[each.rank++] = ir_dim(1);
    IrValue *count, *meant = fe_bin(n, IR_OP_LESS, fe_iota(n, 0, rows.dim[2], 2, 3),
                                    fe_reshape(n, counts, &each));
    IrValue *at = fe_transpose(n, fe_bounded_find(n, meant, &count), 2, (int64_t[]){1, 0});
    IrDim bound = n->refused ? ir_dim(0) : fe_bound(n, count);
    at = n->refused ? NULL : fe_bounded_cut(n, at, 0, bound.c);
    IrValue *box =
        fe_build(n, IR_OP_GATHER_ND, FE_IN(chosen, at), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
    box = fe_reshape(n, box, &(IrShape){2, {bound, ir_dim(1)}});
    IrValue *which = n->refused ? NULL : fe_part(n, at, 1, 0, 2);
    fe_out(n, 0, fe_build(n, IR_OP_CONCAT, FE_IN(which, box), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 1))));
    fe_out_count(n, 0, (FeCount){count, 0});
}

// NonMaxSuppression-11
void fe_bounded_non_max_suppression(FeNode *n) {
    IrValue *count = count_boxes(n);
    IrValue *boxes = fe_operand(n, 0), *scores = fe_operand(n, 1);
    IrValue *most = read_number(n, 2, IR_I64, 0), *iou = read_number(n, 3, IR_F32, 0);
    IrValue *least = fe_has(n, 4) ? read_number(n, 4, IR_F32, 0) : NULL;
    check_threshold(n);
    if (n->refused) {
        return;
    }
    int64_t have = boxes->type.shape.rank == 3 ? boxes->type.shape.dim[1].c : 0,
            size = fe_entry(n, most, 0).hi;
    bool center = fe_attr_int(n, "center_point_box", 0) != 0;
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_SIZE, size < 0      ? 0
                                              : size > have ? have
                                                            : size),
                      ir_attr_s(IR_ATTR_MODE, center ? "center" : "corners")};
    IrValue *in[] = {
        fe_cast(n, boxes, IR_F32), fe_cast(n, scores, IR_F32), most, iou, least, count};
    int n_in = count ? 6 : least ? 5 : 4;
    IrNode *nms = n->refused ? NULL : ir_build_node(&n->b, IR_OP_NMS, n_in, in, 2, attrs);
    if (!nms) {
        fe_refuse(n, "%s", n->b.err);
        return;
    }
    list_chosen(n, nms->out[0], nms->out[1]);
}

void fe_import_non_max_suppression(FeNode *n) {
    fe_bounded_non_max_suppression(n);
}
