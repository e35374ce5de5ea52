// lift_slice: what nobody reads of a row-wise network's end is not computed: a slice of at most
// half an axis goes above the node that makes what it cuts.
//
//   %a = attention %qkv, %qkv, %qkv                  %q = slice %qkv {shape=[N,1,1152]}
//   %p = matmul %a, %w                               %a = attention %q, %qkv, %qkv
//   %r = add %p, %x                            ->    %p = matmul %a, %w
//   %n = layer_norm %r                               %x' = slice %x {shape=[N,1,384]}
//   %y = slice %n {shape=[N,1,384]}                  %r = add %p, %x'
//                                                    %y = layer_norm %r
//
// A vision transformer classifies by its class token: its last block has one query, and its last
// products one row of 197. Several slices of one value, of two tokens, say, first become slices of
// the one that holds all of them.
//
// The value has no other reader, and the slice cuts one axis, along which the node works element by
// element. Constants but a product's weights are cut when the program runs: they are small.

#include "passes/util.h"

typedef struct Cut { // of one axis
    int axis;
    int64_t start, step, count;
} Cut;

// ---------------------------------------------------------------- which axis of an operand

enum { WHOLE = -1, STOP = -2, MAX_OPERANDS = 5 };
// Of operand i of n: the axis that a cut along `axis` of the result cuts, WHOLE: none, STOP: what
// it leaves out is needed.
typedef int AxisOf(const IrNode *n, int i, int axis);

static int axis_of_broadcast(const IrNode *n, int i, int axis) {
    const IrShape *x = &ir_in(n, i)->type.shape;
    int at = axis - (n->out[0]->type.shape.rank - x->rank);
    return at < 0 || ir_dim_is(x->dim[at], 1) ? WHOLE : at;
}

static int axis_of_norm(const IrNode *n, int i, int axis) {
    (void)i;
    return axis == n->out[0]->type.shape.rank - 1 ? STOP : axis;
}

static int axis_of_softmax(const IrNode *n, int i, int axis) {
    (void)i;
    return axis == ir_int(n, IR_ATTR_AXIS, -1) ? STOP : axis;
}

static int axis_of_matmul(const IrNode *n, int i, int axis) {
    int rank = n->out[0]->type.shape.rank, last = ir_in(n, i)->type.shape.rank - 1;
    bool rows = axis == rank - 2, columns = axis == rank - 1;
    if (ir_int(n, IR_ATTR_MEAN, 0) || (columns && ir_in(n, 1)->konst)) {
        return STOP;
    }
    if (i == 2 || (!rows && !columns)) {
        return axis_of_broadcast(n, i, axis);
    }
    if (i == 0) {
        return columns ? WHOLE : ir_int(n, IR_ATTR_TRANS_A, 0) ? last : last - 1;
    }
    return rows ? WHOLE : ir_int(n, IR_ATTR_TRANS_B, 0) ? last - 1 : last;
}

static int axis_of_attention(const IrNode *n, int i, int axis) {
    (void)n;
    return axis != 1 ? STOP : i == 0 ? 1 : i < 3 ? WHOLE : 2;
}

static int axis_of_transpose(const IrNode *n, int i, int axis) {
    (void)i;
    return (int)ir_ints(n, IR_ATTR_PERM).v[axis];
}

static IrDim elems_before(const IrShape *s, int axis) {
    IrShape before = *s;
    IrDim n = {0};
    before.rank = axis;
    return ir_shape_elems(&before, &n) ? n : ir_dim(-1);
}

// The axis of the same size with as many elements before it.
static int axis_of_reshape(const IrNode *n, int i, int axis) {
    const IrShape *x = &ir_in(n, i)->type.shape, *y = &n->out[0]->type.shape;
    IrDim before = elems_before(y, axis);
    for (int k = 0; k < x->rank && before.c >= 0; k++) {
        if (ir_dim_eq(x->dim[k], y->dim[axis]) && ir_dim_eq(elems_before(x, k), before)) {
            return k;
        }
    }
    return STOP;
}

static AxisOf *find_axis_of(const IrNode *n) {
    static AxisOf *const of[IR_OP_COUNT] = {
        [IR_OP_LAYER_NORM] = axis_of_norm,     [IR_OP_SOFTMAX] = axis_of_softmax,
        [IR_OP_LOG_SOFTMAX] = axis_of_softmax, [IR_OP_MATMUL] = axis_of_matmul,
        [IR_OP_ATTENTION] = axis_of_attention, [IR_OP_TRANSPOSE] = axis_of_transpose,
        [IR_OP_RESHAPE] = axis_of_reshape,
    };
    bool plain = n->n_out == 1 && n->n_in <= MAX_OPERANDS && !ir_body(n, IR_ATTR_THEN).n;
    bool each = ir_op_info(n->op)->flags & IR_FLAG_E;
    return !plain ? NULL : each ? axis_of_broadcast : of[n->op];
}

// ---------------------------------------------------------------- slices

// The one axis of which n, a slice, leaves something out.
static bool read_cut(const IrNode *n, Cut *c) {
    const IrShape *x = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    int cuts = 0;
    for (int i = 0; i < x->rank; i++) {
        if (!ir_dim_eq(x->dim[i], y->dim[i])) {
            *c = (Cut){i, start.v[i], step.v[i], y->dim[i].c};
            cuts += x->dim[i].n || y->dim[i].n ? 2 : 1;
        } else if (step.v[i] != 1 && !ir_dim_is(x->dim[i], 1)) {
            return false; // turned round
        }
    }
    return cuts == 1 && c->count > 0;
}

static bool is_half(const Cut *c, const IrValue *v) {
    return c->count <= v->type.shape.dim[c->axis].c / 2;
}

static IrValue *build_cut(IrBuilder *b, IrValue *x, const Cut *c) {
    IrShape shape = x->type.shape;
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK];
    for (int i = 0; i < shape.rank; i++) {
        step[i] = i == c->axis ? c->step : 1;
    }
    start[c->axis] = c->start;
    shape.dim[c->axis] = ir_dim(c->count);
    return ir_build_slice(b, x, start, step, &shape);
}

// Above the node that makes what n, a slice, cuts.
static bool lift(IrNode *n) {
    Cut c;
    IrNode *def = ir_in(n, 0)->def;
    AxisOf *axis_of = def ? find_axis_of(def) : NULL;
    if (!axis_of || !read_cut(n, &c) || !is_half(&c, ir_in(n, 0)) ||
        ir_only_user(ir_in(n, 0)) != n) {
        return false;
    }
    int axis[MAX_OPERANDS];
    for (int i = 0; i < def->n_in; i++) {
        axis[i] = ir_in(def, i) ? axis_of(def, i, c.axis) : WHOLE;
        if (axis[i] == STOP) {
            return false;
        }
    }
    IrBuilder b = pass_before(n);
    IrValue *in[MAX_OPERANDS], *y;
    for (int i = 0; i < def->n_in; i++) {
        c.axis = axis[i];
        in[i] = axis[i] == WHOLE ? ir_in(def, i) : build_cut(&b, ir_in(def, i), &c);
    }
    b.name = def->name;
    b.src_op = def->src_op;
    y = def->op == IR_OP_RESHAPE ? ir_build_reshape(&b, in[0], &n->out[0]->type.shape)
                                 : pass_rebuild(&b, def, def->n_in, in);
    pass_forward(n, y);
    ir_remove_node(def);
    return true;
}

// All readers of v cut one axis: the least slice with step 1 that holds theirs.
static bool find_hull(const IrValue *v, Cut *hull) {
    Cut c;
    int64_t end = 0;
    *hull = (Cut){.axis = -1, .step = 1};
    for (const IrUse *u = v->uses; u; u = u->next) {
        if (u->node->op != IR_OP_SLICE || !read_cut(u->node, &c)) {
            return false;
        }
        int64_t last = c.start + (c.count - 1) * c.step, low = last < c.start ? last : c.start;
        int64_t high = (last < c.start ? c.start : last) + 1;
        if (hull->axis >= 0 && hull->axis != c.axis) {
            return false;
        }
        hull->start = hull->axis < 0 || low < hull->start ? low : hull->start;
        end = high > end ? high : end;
        hull->axis = c.axis;
    }
    hull->count = end - hull->start;
    return is_half(hull, v);
}

// Slices of what n, one of several, cuts become slices of one.
static bool join(IrNode *n) {
    IrValue *v = ir_in(n, 0);
    IrNode *def = v->def;
    Cut hull, c;
    if (!def || v->is_output || v->n_uses < 2 || !find_axis_of(def) || !find_hull(v, &hull)) {
        return false;
    }
    IrBuilder b = {def->graph, def->next, def->name, def->src_op, NULL};
    IrValue *all = build_cut(&b, v, &hull);
    for (IrUse *u = v->uses, *next; u; u = next) {
        next = u->next;
        if (u->node != all->def && read_cut(u->node, &c)) {
            IrBuilder at = pass_before(u->node);
            bool same = c.start == hull.start && c.step == 1 && c.count == hull.count;
            c.start -= hull.start;
            pass_forward(u->node, same ? all : build_cut(&at, all, &c));
        }
    }
    return true;
}

PassResult pass_lift_slice(PassContext *ctx, IrGraph *g) {
    (void)ctx;
    PassResult r = {0};
    for (IrNode *n = g->last, *next; n;) {
        next = n->next;
        bool changed = n->op == IR_OP_SLICE && (join(n) || lift(n));
        r.changes += changed;
        n = !changed ? n->prev : next ? next->prev : g->last;
    }
    return r;
}
