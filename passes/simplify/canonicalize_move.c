// The rules of canonicalize about moving data: reshape, transpose, slice, concat, pad, expand,
// gather.
//
//   %b = reshape(reshape %a)            ->  %b = reshape %a
//   %c = transpose %a {perm=[0,2,3,1]}  ->  %c = reshape %a      when only axes of size 1 move
//   %d = add(%a, expand %b)             ->  %d = add %a, %b      where the result's shape stays
//   %e = relu(reshape %a)               ->  %e = reshape(relu %a)
//   %f = gather %a, %index {axis=1}     ->  %f = slice %a      when constant indices step evenly
//   %g = mul %a, %k: f32[C,1,1]         ->  %g = mul %a, %k: f32[1,C,1,1]

#include "passes/simplify/canonicalize.h"

// ---------------------------------------------------------------- reshape

static bool merge_reshapes(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrValue *x = ir_in(n, 0);
    if (ir_shape_eq(&x->type.shape, &n->out[0]->type.shape)) {
        pass_forward(n, x);
        return true;
    }
    IrNode *inner = pass_def(x, IR_OP_RESHAPE);
    if (!inner) {
        return false;
    }
    IrBuilder b = pass_before(n);
    pass_forward(n, ir_build_reshape(&b, ir_in(inner, 0), &n->out[0]->type.shape));
    return true;
}

// v, a constant that broadcasts to shape `to`, as it broadcasts to `from`: both have the same axes
// but for those of size 1, which move. False when they have not.
static bool move_ones(const IrShape *v, const IrShape *from, const IrShape *to, IrShape *out) {
    int shift = to->rank - v->rank, k = 0;
    *out = (IrShape){.rank = from->rank};
    for (int i = 0; i < from->rank; i++) {
        out->dim[i] = ir_dim(1);
        if (ir_dim_is(from->dim[i], 1)) {
            continue;
        }
        while (k < to->rank && ir_dim_is(to->dim[k], 1)) {
            k++;
        }
        if (k == to->rank || !ir_dim_eq(from->dim[i], to->dim[k])) {
            return false;
        }
        out->dim[i] = k >= shift ? v->dim[k - shift] : ir_dim(1);
        k++;
    }
    while (k < to->rank && ir_dim_is(to->dim[k], 1)) {
        k++;
    }
    return k == to->rank;
}

// The operand that operand v of an elementwise op has when all reshapes from shape `from` go below
// it: the reshape's own operand, or a constant that fits there. NULL: v is neither.
static IrValue *operand_above(PassContext *ctx, IrNode *n, IrValue *v, const IrShape *from) {
    const IrShape *to = &n->out[0]->type.shape;
    IrNode *reshape = pass_def(v, IR_OP_RESHAPE);
    if (reshape && ir_shape_eq(&ir_in(reshape, 0)->type.shape, from) &&
        ir_shape_eq(&v->type.shape, to)) {
        return ir_in(reshape, 0);
    }
    if (!pass_is_frozen(v)) {
        return NULL;
    }
    IrShape shape = {.rank = 0};
    if (!ir_const_is_scalar(v) && !move_ones(&v->type.shape, from, to, &shape)) {
        return NULL;
    }
    return ir_shape_eq(&shape, &v->type.shape) ? v : pass_const_reshaped(ctx, n->graph, v, &shape);
}

// op(reshape x, ...) -> reshape(op(x, ...)): what made x can then take op as its epilogue.
static bool sink_reshape(PassContext *ctx, IrNode *n) {
    const IrShape *from = NULL;
    IrValue *in[3];
    if (!(ir_op_info(n->op)->flags & IR_FLAG_E) || n->n_in > 3) {
        return false;
    }
    for (int i = 0; i < n->n_in && !from; i++) {
        IrNode *reshape = pass_def(ir_in(n, i), IR_OP_RESHAPE);
        from = reshape ? &ir_in(reshape, 0)->type.shape : NULL;
    }
    for (int i = 0; i < n->n_in; i++) {
        in[i] = from ? operand_above(ctx, n, ir_in(n, i), from) : NULL;
        if (!in[i]) {
            return false;
        }
    }
    IrBuilder b = pass_before(n);
    IrValue *y = pass_rebuild(&b, n, n->n_in, in);
    if (!y) {
        return false;
    }
    pass_forward(n, ir_build_reshape(&b, y, &n->out[0]->type.shape));
    return true;
}

// The same for batch_norm where batch and channel stay axes 0 and 1 (1-D networks).
static bool sink_reshape_norm(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrNode *reshape = pass_def(ir_in(n, 0), IR_OP_RESHAPE);
    if (!reshape) {
        return false;
    }
    IrValue *x = ir_in(reshape, 0);
    const IrShape *from = &x->type.shape, *to = &n->out[0]->type.shape;
    if (from->rank < 2 || to->rank < 2 || !ir_dim_eq(from->dim[0], to->dim[0]) ||
        !ir_dim_eq(from->dim[1], to->dim[1])) {
        return false;
    }
    IrValue *in[] = {x, ir_in(n, 1), ir_in(n, 2), ir_in(n, 3), ir_in(n, 4)};
    IrBuilder b = pass_before(n);
    IrValue *y = pass_rebuild(&b, n, 5, in);
    if (!y) {
        return false;
    }
    pass_forward(n, ir_build_reshape(&b, y, to));
    return true;
}

// ---------------------------------------------------------------- transpose

static bool keeps_order(const IrShape *in, IrInts perm) {
    int64_t last = -1;
    for (int i = 0; i < perm.n; i++) {
        if (!ir_dim_is(in->dim[perm.v[i]], 1)) {
            if (perm.v[i] < last) {
                return false;
            }
            last = perm.v[i];
        }
    }
    return true;
}

static bool merge_transposes(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrValue *x = ir_in(n, 0);
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    IrBuilder b = pass_before(n);
    if (keeps_order(&x->type.shape, perm)) {
        pass_forward(n, ir_build_reshape(&b, x, &n->out[0]->type.shape));
        return true;
    }
    IrNode *inner = pass_def(x, IR_OP_TRANSPOSE);
    if (!inner) {
        return false;
    }
    IrInts first = ir_ints(inner, IR_ATTR_PERM);
    int64_t both[IR_MAX_RANK];
    for (int i = 0; i < perm.n; i++) {
        both[i] = first.v[perm.v[i]];
    }
    pass_forward(n, ir_build_transpose(&b, ir_in(inner, 0), perm.n, both));
    return true;
}

// ---------------------------------------------------------------- slice

static bool merge_slices(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrValue *x = ir_in(n, 0);
    const IrShape *shape = &n->out[0]->type.shape;
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    bool all = ir_shape_eq(&x->type.shape, shape);
    for (int i = 0; i < shape->rank; i++) {
        all = all && (ir_dim_is(shape->dim[i], 1) || step.v[i] == 1);
    }
    if (all) {
        pass_forward(n, x);
        return true;
    }
    IrNode *inner = pass_def(x, IR_OP_SLICE);
    if (!inner) {
        return false;
    }
    IrInts start0 = ir_ints(inner, IR_ATTR_START), step0 = ir_ints(inner, IR_ATTR_STEP);
    int64_t both_start[IR_MAX_RANK], both_step[IR_MAX_RANK], t;
    for (int i = 0; i < shape->rank; i++) {
        if (__builtin_mul_overflow(start.v[i], step0.v[i], &t) ||
            __builtin_add_overflow(t, start0.v[i], &both_start[i]) ||
            __builtin_mul_overflow(step.v[i], step0.v[i], &both_step[i])) {
            return false;
        }
    }
    IrBuilder b = pass_before(n);
    IrValue *y = ir_build_slice(&b, ir_in(inner, 0), both_start, both_step, shape);
    if (!y) {
        return false;
    }
    pass_forward(n, y);
    return true;
}

// slice(concat %a, %b) that touches %b alone -> slice %b
static bool slice_of_concat(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrNode *concat = pass_def(ir_in(n, 0), IR_OP_CONCAT);
    if (!concat) {
        return false;
    }
    const IrShape *shape = &n->out[0]->type.shape;
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    int axis = (int)ir_int(concat, IR_ATTR_AXIS, 0);
    IrDim count = shape->dim[axis];
    if (count.n != 0 || count.c <= 0) {
        return false;
    }
    int64_t first = start.v[axis], last = first + (count.c - 1) * step.v[axis], base = 0;
    int64_t lo = first < last ? first : last, hi = first < last ? last : first;
    for (int i = 0; i < concat->n_in; i++) {
        IrDim d = ir_in(concat, i)->type.shape.dim[axis];
        if (d.n != 0) {
            return false;
        }
        if (lo >= base && hi < base + d.c) {
            int64_t moved[IR_MAX_RANK];
            for (int k = 0; k < shape->rank; k++) {
                moved[k] = start.v[k] - (k == axis ? base : 0);
            }
            IrBuilder b = pass_before(n);
            IrValue *y = ir_build_slice(&b, ir_in(concat, i), moved, step.v, shape);
            if (!y) {
                return false;
            }
            pass_forward(n, y);
            return true;
        }
        base += d.c;
    }
    return false;
}

// gather by constant indices that step evenly -> slice (and reshape for a scalar index)
static bool gather_to_slice(PassContext *ctx, IrNode *n) {
    IrValue *x = ir_in(n, 0), *index = ir_in(n, 1);
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    int64_t count = pass_elems(&index->type);
    IrDim dim = x->type.shape.dim[axis];
    if (!pass_is_frozen(index) || index->type.shape.rank > 1 || count < 1 || dim.n != 0) {
        return false;
    }
    int64_t first = 0, by = 1;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = (int64_t)pass_elem(ctx, index, i);
        at += at < 0 ? dim.c : 0;
        if (at < 0 || at >= dim.c) {
            return false;
        }
        first = i == 0 ? at : first;
        by = i == 1 ? at - first : by;
        if (by == 0 || at != first + i * by) {
            return false;
        }
    }
    int64_t start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK];
    IrShape shape = x->type.shape;
    shape.dim[axis] = ir_dim(count);
    for (int i = 0; i < shape.rank; i++) {
        step[i] = i == axis ? by : 1;
    }
    start[axis] = first;
    IrBuilder b = pass_before(n);
    IrValue *y = ir_build_slice(&b, x, start, step, &shape);
    if (!y) {
        return false;
    }
    pass_forward(n, ir_build_reshape(&b, y, &n->out[0]->type.shape));
    return true;
}

// ---------------------------------------------------------------- concat

static IrValue *build_concat(IrBuilder *b, int axis, int n_in, IrValue *const *in) {
    IrAttr attr = ir_attr_i(IR_ATTR_AXIS, axis);
    return ir_build(b, IR_OP_CONCAT, n_in, in, 1, &attr);
}

// v is a concat on `axis` that `user` alone reads: its operands can stand in its place.
static IrNode *find_inner(IrNode *user, IrValue *v, int axis) {
    IrNode *inner = pass_def(v, IR_OP_CONCAT);
    return inner && ir_only_user(v) == user && ir_int(inner, IR_ATTR_AXIS, 0) == axis ? inner
                                                                                      : NULL;
}

// concat of one operand; the outermost of nested concats on one axis takes the operands of all
static bool flatten_concat(PassContext *ctx, IrNode *n) {
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    if (n->n_in == 1) {
        pass_forward(n, ir_in(n, 0));
        return true;
    }
    IrNode *user = ir_only_user(n->out[0]);
    bool nested = false;
    for (int i = 0; i < n->n_in; i++) {
        nested = nested || find_inner(n, ir_in(n, i), axis);
    }
    if (!nested || (user && user->op == IR_OP_CONCAT && find_inner(user, n->out[0], axis))) {
        return false;
    }
    struct {
        int n, cap;
        IrUse **v;
    } todo = {0}; // operands, the next one last
    struct {
        int n, cap;
        IrValue **v;
    } in = {0};
    for (int i = n->n_in - 1; i >= 0; i--) {
        IR_PUSH(ctx->scratch, todo.v, todo.n, todo.cap, &n->in[i]);
    }
    while (todo.n) {
        IrUse *use = todo.v[--todo.n];
        IrNode *inner = find_inner(use->node, use->value, axis);
        for (int i = inner ? inner->n_in - 1 : -1; i >= 0; i--) {
            IR_PUSH(ctx->scratch, todo.v, todo.n, todo.cap, &inner->in[i]);
        }
        if (!inner) {
            IR_PUSH(ctx->scratch, in.v, in.n, in.cap, use->value);
        }
    }
    IrBuilder b = pass_before(n);
    pass_forward(n, build_concat(&b, axis, in.n, in.v));
    return true;
}

// relu(concat %a, %b) -> concat(relu %a, relu %b), where nobody else reads them: each relu then is
// next to the convolution that it can become the epilogue of.
static bool lift_over_concat(PassContext *ctx, IrNode *n) {
    IrNode *concat = pass_def(ir_in(n, 0), IR_OP_CONCAT);
    if (!concat || n->n_in != 1 || !pass_is_eltwise(n) || ir_only_user(concat->out[0]) != n) {
        return false;
    }
    bool any_conv = false;
    for (int i = 0; i < concat->n_in; i++) {
        IrValue *v = ir_in(concat, i);
        if (ir_only_user(v) != concat) {
            return false;
        }
        any_conv = any_conv || pass_def(v, IR_OP_CONV) || pass_def(v, IR_OP_BATCH_NORM);
    }
    if (!any_conv) {
        return false;
    }
    IrBuilder b = pass_before(n);
    IrValue **in = ir_alloc_array(ctx->scratch, (size_t)concat->n_in, sizeof *in);
    for (int i = 0; i < concat->n_in; i++) {
        IrValue *v = ir_in(concat, i);
        in[i] = pass_rebuild(&b, n, 1, &v);
    }
    pass_forward(n, build_concat(&b, (int)ir_int(concat, IR_ATTR_AXIS, 0), concat->n_in, in));
    return true;
}

// ---------------------------------------------------------------- pad, expand

static bool merge_pads(PassContext *ctx, IrNode *n) {
    (void)ctx;
    IrInts pad = ir_ints(n, IR_ATTR_PAD);
    const char *mode = ir_str(n, IR_ATTR_MODE, "constant");
    bool nothing = true, grows = true;
    for (int i = 0; i < pad.n; i++) {
        nothing = nothing && pad.v[i] == 0;
        grows = grows && pad.v[i] >= 0;
    }
    if (nothing) {
        pass_forward(n, ir_in(n, 0));
        return true;
    }
    IrNode *inner = pass_def(ir_in(n, 0), IR_OP_PAD);
    if (!inner || !grows || mode[0] != 'c' || ir_str(inner, IR_ATTR_MODE, "constant")[0] != 'c' ||
        ir_float(n, IR_ATTR_VALUE, 0) != ir_float(inner, IR_ATTR_VALUE, 0)) {
        return false;
    }
    IrInts pad0 = ir_ints(inner, IR_ATTR_PAD);
    int64_t both[2 * IR_MAX_RANK];
    for (int i = 0; i < pad.n; i++) {
        if (pad0.v[i] < 0 || __builtin_add_overflow(pad.v[i], pad0.v[i], &both[i])) {
            return false;
        }
    }
    IrBuilder b = pass_before(n);
    IrValue *x = ir_in(inner, 0);
    IrAttr attrs[] = {ir_attr_ints(n->graph->prog->arena, IR_ATTR_PAD, pad.n, both),
                      ir_attr_s(IR_ATTR_MODE, mode),
                      ir_attr_f(IR_ATTR_VALUE, ir_float(n, IR_ATTR_VALUE, 0))};
    IrValue *y = ir_build(&b, IR_OP_PAD, 1, &x, 3, attrs);
    if (!y) {
        return false;
    }
    pass_forward(n, y);
    return true;
}

static bool drop_expand(PassContext *ctx, IrNode *n) {
    (void)ctx;
    if (!ir_shape_eq(&ir_in(n, 0)->type.shape, &n->out[0]->type.shape)) {
        return false;
    }
    pass_forward(n, ir_in(n, 0));
    return true;
}

// Elementwise ops broadcast on their own: op(x, expand y) -> op(x, y) where the shape stays.
static bool skip_expand(PassContext *ctx, IrNode *n) {
    (void)ctx;
    if (!(ir_op_info(n->op)->flags & IR_FLAG_E) || n->n_in < 2) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        IrNode *expand = pass_def(ir_in(n, i), IR_OP_EXPAND);
        if (!expand) {
            continue;
        }
        IrShape shape = ir_in(expand, 0)->type.shape;
        bool fits = true;
        for (int k = 0; k < n->n_in; k++) {
            fits = fits && (k == i || ir_shape_broadcast(&shape, &ir_in(n, k)->type.shape, &shape));
        }
        if (fits && ir_shape_eq(&shape, &n->out[0]->type.shape)) {
            IrValue *had = ir_in(n, i);
            ir_set_in(n, i, ir_in(expand, 0));
            if (!ir_infer(n)) {
                return true;
            }
            ir_set_in(n, i, had); // prelu: its first operand gives the shape
        }
    }
    return false;
}

// Constants beside a tensor of rank 4 have rank 4 or one element: the layout pass then sees
// channels.
static bool align_const(PassContext *ctx, IrNode *n) {
    const IrShape *to = &n->out[0]->type.shape;
    if (!(ir_op_info(n->op)->flags & IR_FLAG_E) || to->rank != 4) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (!pass_is_frozen(v) || v->type.shape.rank == 4 || ir_const_is_scalar(v)) {
            continue;
        }
        IrShape shape = {.rank = 4};
        for (int k = 0; k < 4; k++) {
            int from = k - (4 - v->type.shape.rank);
            shape.dim[k] = from < 0 ? ir_dim(1) : v->type.shape.dim[from];
        }
        ir_set_in(n, i, pass_const_reshaped(ctx, n->graph, v, &shape));
        return true;
    }
    return false;
}

const CanonRule pass_canon_move[] = {
    {IR_OP_RESHAPE, merge_reshapes}, {IR_OP_TRANSPOSE, merge_transposes},
    {IR_OP_SLICE, merge_slices},     {IR_OP_SLICE, slice_of_concat},
    {IR_OP_GATHER, gather_to_slice}, {IR_OP_CONCAT, flatten_concat},
    {IR_OP_PAD, merge_pads},         {IR_OP_EXPAND, drop_expand},
    {IR_OP_COUNT, skip_expand},      {IR_OP_COUNT, align_const},
    {IR_OP_COUNT, sink_reshape},     {IR_OP_BATCH_NORM, sink_reshape_norm},
    {IR_OP_COUNT, lift_over_concat},
};
const int pass_n_canon_move = sizeof pass_canon_move / sizeof *pass_canon_move;
