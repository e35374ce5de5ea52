// Rules of the ops that compute: elementwise, along axes, on images, products.
//
// A rule first tries to leave N where it is. Where the op works along that axis, or its operands
// disagree on it, N gets an axis of its own before all others, and the op's attributes move up by
// one.
#include "frontend/batch/batch.h"

// ---------------------------------------------------------------- a node of the open graph

// How an attribute's ints change when all axes move up by one: each of their `parts` (one, or the
// begins and the ends) gets `first` before it, and `by` is added to what was there.
static const struct MovedInts {
    int parts;
    int64_t first, by;
} moved_ints[IR_ATTR_COUNT] = {
    [IR_ATTR_AXES] = {0, 0, 1}, [IR_ATTR_PERM] = {1, 0, 1}, [IR_ATTR_START] = {1, 0, 0},
    [IR_ATTR_STEP] = {1, 1, 0}, [IR_ATTR_PAD] = {2, 0, 0}, // of the op pad: images stay where they
                                                           // are
};

// The attribute with an axis before all others.
static IrAttr move_up(FeBatch *o, IrAttr a) {
    const struct MovedInts *m = &moved_ints[a.key];
    if (a.key == IR_ATTR_AXIS) {
        a.i++;
    } else if (a.key == IR_ATTR_SHAPE) {
        a.dims = fe_batch_own_shape(&a.dims);
    } else if (m->parts || m->by) {
        IrInts old = a.ints;
        int parts = m->parts ? m->parts : 1, n = old.n / parts;
        a.ints =
            (IrInts){0, ir_alloc_array(o->to->prog->arena, (size_t)(old.n + 2), sizeof *old.v)};
        for (int p = 0; p < parts; p++) {
            if (m->parts) {
                a.ints.v[a.ints.n++] = m->first;
            }
            for (int i = 0; i < n; i++) {
                a.ints.v[a.ints.n++] = old.v[p * n + i] + m->by;
            }
        }
    }
    return a;
}

void fe_batch_set(FeBatch *o, const IrNode *n, int i, FeLane lane) {
    lane.was = n->out[i]->type.shape;
    if (lane.each && fe_batch_is_empty(&lane.was)) {
        fe_batch_fail(o, "its result is empty");
    }
    if (lane.each && lane.axis == FE_OWN_AXIS && lane.was.rank > 0) {
        fe_batch_front(o, &lane);
    }
    if (!o->why) {
        lane.v->name = lane.v->name ? lane.v->name : n->out[i]->name;
        o->lane[n->out[i]->id] = lane;
    }
}

// Its attributes in the open graph; room is left for one more.
static int open_attrs(FeBatch *o, const IrNode *n, int axis, IrAttr *attrs) {
    bool own = axis == FE_OWN_AXIS;
    for (int i = 0; i < n->n_attrs; i++) {
        attrs[i] = own ? move_up(o, n->attrs[i]) : n->attrs[i];
        if (!own && attrs[i].key == IR_ATTR_SHAPE) { // the result's, in all ops
            attrs[i].dims = fe_batch_shape(o, &n->out[0]->type.shape, axis);
        }
    }
    if (!own || !(ir_op_info(n->op)->attrs & IR_BIT(AXIS)) || ir_attr(n, IR_ATTR_AXIS)) {
        return n->n_attrs;
    }
    attrs[n->n_attrs] = ir_attr_i(IR_ATTR_AXIS, 1); // absent is 0
    return n->n_attrs + 1;
}

void fe_batch_emit(FeBatch *o, const IrNode *n, const FeLane *in, int axis, int64_t inner) {
    IrArena *a = o->to->prog->arena;
    IrValue **v = ir_alloc_array(a, (size_t)n->n_in + 1, sizeof *v);
    IrAttr *attrs = ir_alloc_array(a, (size_t)n->n_attrs + 1, sizeof *attrs);
    for (int i = 0; i < n->n_in; i++) {
        v[i] = in[i].v;
    }
    int n_attrs = open_attrs(o, n, axis, attrs);
    IrNode *made = o->why ? NULL : ir_build_node(&o->b, n->op, n->n_in, v, n_attrs, attrs);
    if (!made) {
        fe_batch_fail(o, "%s", o->b.err);
        return;
    }
    for (int i = 0; i < n->n_out; i++) {
        fe_batch_set(o, n, i, (FeLane){made->out[i], {0}, true, axis, inner});
    }
}

// ---------------------------------------------------------------- elementwise

bool fe_batch_spot(int n, const FeLane *in, int rank, FeSpot *out) {
    bool any = false, same = true;
    for (int i = 0; i < n; i++) {
        const FeLane *x = &in[i];
        if (!x->v || !x->each) {
            continue;
        }
        if (x->axis == FE_OWN_AXIS) {
            return false;
        }
        FeSpot s = {x->axis + rank - x->was.rank, x->inner, x->was.dim[x->axis].c};
        same &= !any || (s.axis == out->axis && s.inner == out->inner && s.size == out->size);
        *out = any ? *out : s;
        any = true;
    }
    return any && same;
}

// One element for each image, where the others hold images in an axis of their own.
static bool is_number_each(const FeLane *x) {
    return x->v && x->each && fe_batch_count(&x->was, 0, x->was.rank) == 1;
}

// The spot of those that are no mere numbers, which go there.
static bool spot_beside_numbers(FeBatch *o, int n, FeLane *in, int rank, FeSpot *s) {
    FeLane *others = ir_alloc_array(o->to->prog->arena, (size_t)n + 1, sizeof *others);
    int n_others = 0;
    for (int i = 0; i < n; i++) {
        if (!is_number_each(&in[i])) {
            others[n_others++] = in[i];
        }
    }
    if (!fe_batch_spot(n_others, others, rank, s) || s->size != 1) {
        return false;
    }
    IrShape shape = {.rank = rank};
    for (int i = 0; i < rank; i++) {
        shape.dim[i] = i == s->axis ? (IrDim){0, 1} : ir_dim(1);
    }
    for (int i = 0; i < n; i++) {
        if (is_number_each(&in[i])) {
            in[i].v = fe_batch_reshape(o, in[i].v, &shape);
        }
    }
    return true;
}

// Operand x, which broadcasts to rank `rank`, meets N at the spot.
static void meet(FeBatch *o, FeLane *x, int rank, const FeSpot *s) {
    int axis = s->axis - (rank - x->was.rank);
    if (x->v && !x->each && axis >= 0 && !ir_dim_is(x->was.dim[axis], 1)) {
        fe_batch_spread(o, x, axis, s->inner, true);
    }
}

void fe_batch_elementwise(FeBatch *o, const IrNode *n, FeLane *in) {
    const IrShape *out = &n->out[0]->type.shape;
    FeSpot s;
    if ((fe_batch_spot(n->n_in, in, out->rank, &s) ||
         spot_beside_numbers(o, n->n_in, in, out->rank, &s)) &&
        out->dim[s.axis].c == s.size) {
        for (int i = 0; i < n->n_in; i++) {
            meet(o, &in[i], out->rank, &s);
        }
        fe_batch_emit(o, n, in, s.axis, s.inner);
        return;
    }
    for (int i = 0; i < n->n_in && !o->why; i++) {
        fe_batch_lead_to(o, &in[i], out->rank);
    }
    fe_batch_emit(o, n, in, FE_OWN_AXIS, 0);
}

// ---------------------------------------------------------------- along axes

static unsigned bit_of_axis(const IrNode *n) {
    return 1u << ir_int(n, IR_ATTR_AXIS, 0);
}

static unsigned bits_of_slice(const IrNode *n) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *part = &n->out[0]->type.shape;
    IrInts step = ir_ints(n, IR_ATTR_STEP);
    unsigned bits = 0;
    for (int i = 0; i < x->rank; i++) {
        bits |= (unsigned)(!ir_dim_eq(x->dim[i], part->dim[i]) || step.v[i] != 1) << i;
    }
    return bits;
}

static unsigned bits_of_pad(const IrNode *n) {
    IrInts pad = ir_ints(n, IR_ATTR_PAD);
    unsigned bits = 0;
    for (int i = 0; i < pad.n / 2; i++) {
        bits |= (unsigned)(pad.v[i] != 0 || pad.v[pad.n / 2 + i] != 0) << i;
    }
    return bits;
}

static unsigned bits_of_reduce(const IrNode *n) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    unsigned bits = 0;
    for (int i = 0; i < axes.n; i++) {
        bits |= 1u << axes.v[i];
    }
    return bits;
}

static unsigned bits_of_det(const IrNode *n) {
    return 3u << (ir_in(n, 0)->type.shape.rank - 2);
}

// Which axes of operand 0 an op works along.
static unsigned (*const worked_axes[IR_OP_COUNT])(const IrNode *) = {
    [IR_OP_SOFTMAX] = bit_of_axis,        [IR_OP_LOG_SOFTMAX] = bit_of_axis,
    [IR_OP_CUMSUM] = bit_of_axis,         [IR_OP_ARG_MAX] = bit_of_axis,
    [IR_OP_ARG_MIN] = bit_of_axis,        [IR_OP_TOP_K] = bit_of_axis,
    [IR_OP_SLICE] = bits_of_slice,        [IR_OP_PAD] = bits_of_pad,
    [IR_OP_REDUCE_SUM] = bits_of_reduce,  [IR_OP_REDUCE_MEAN] = bits_of_reduce,
    [IR_OP_REDUCE_MAX] = bits_of_reduce,  [IR_OP_REDUCE_MIN] = bits_of_reduce,
    [IR_OP_REDUCE_PROD] = bits_of_reduce, [IR_OP_DET] = bits_of_det,
};

void fe_batch_along(FeBatch *o, const IrNode *n, FeLane *in) {
    unsigned bits = worked_axes[n->op](n);
    int axis = in[0].axis, gone = 0;
    if (axis == FE_OWN_AXIS || bits >> axis & 1) {
        fe_batch_lead(o, &in[0]);
        fe_batch_emit(o, n, in, FE_OWN_AXIS, 0);
        return;
    }
    for (int i = 0; i < axis && n->out[0]->type.shape.rank < in[0].was.rank; i++) {
        gone += bits >> i & 1;
    }
    fe_batch_emit(o, n, in, axis - gone, in[0].inner);
}

// ---------------------------------------------------------------- images

// Operand 0 holds images in its first dimension, and the grid of grid_sample with it; the others
// are weights.
void fe_batch_images(FeBatch *o, const IrNode *n, FeLane *in) {
    int n_images = n->op == IR_OP_GRID_SAMPLE ? 2 : 1;
    for (int i = n_images; i < n->n_in; i++) {
        if (in[i].v && in[i].each) {
            fe_batch_fail(o, "NYI: operand %d, which is no weight, differs between images", i);
        }
    }
    for (int i = 0; i < n_images; i++) {
        if (in[i].each) {
            fe_batch_front(o, &in[i]);
        }
    }
    int64_t inner = in[0].each ? in[0].inner : in[n_images - 1].inner;
    for (int i = 0; i < n_images; i++) {
        if (!in[i].each) {
            fe_batch_spread(o, &in[i], 0, inner, false);
        }
    }
    fe_batch_emit(o, n, in, 0, inner);
}

// ---------------------------------------------------------------- products

// Operand k (0, 1) of a product has N in the axis that is summed over.
static bool sums_over_batch(const IrNode *n, int k, const FeLane *x) {
    bool transposed = ir_int(n, k ? IR_ATTR_TRANS_B : IR_ATTR_TRANS_A, 0) != 0;
    return x->each && x->axis == x->was.rank - 1 - (transposed != (k == 1));
}

// Where N stands in the result by operand k: a batch dimension, or its rows or columns.
static bool spot_of_product(const IrNode *n, const FeLane *in, int rank, FeSpot *s) {
    for (int k = 0; k < 2; k++) {
        if (in[k].each && (in[k].axis == FE_OWN_AXIS || sums_over_batch(n, k, &in[k]))) {
            return false;
        }
    }
    if (!fe_batch_spot(2, in, rank, s)) {
        return false;
    }
    bool in_matrix = s->axis >= rank - 2;
    if (in_matrix) {
        s->axis = in[0].each ? rank - 2 : rank - 1;
    }
    return !(in_matrix && in[0].each && in[1].each);
}

void fe_batch_matmul(FeBatch *o, const IrNode *n, FeLane *in) {
    const IrShape *out = &n->out[0]->type.shape;
    FeSpot s, c;
    bool stays = spot_of_product(n, in, out->rank, &s) && out->dim[s.axis].c == s.size;
    if (stays && n->n_in > 2 && in[2].v && in[2].each) {
        stays = fe_batch_spot(1, &in[2], out->rank, &c) && c.axis == s.axis && c.inner == s.inner &&
                c.size == s.size;
    }
    for (int k = 0; k < n->n_in && stays; k++) {
        if (k == 2 || s.axis < out->rank - 2) {
            meet(o, &in[k], out->rank, &s);
        }
    }
    for (int k = 0; k < n->n_in && !stays && !o->why; k++) {
        if (in[k].v) {
            fe_batch_lead_to(o, &in[k], out->rank);
        }
    }
    fe_batch_emit(o, n, in, stays ? s.axis : FE_OWN_AXIS, stays ? s.inner : 0);
}
