// fuse_epilogue: the elementwise work after a convolution, matmul, pool, reduction or
// batch_norm_train becomes its epilogue, done on the accumulators while they are in registers.
//
//   %y = conv %x, %w, %b                %z = conv %x, %w, %b, %res
//   %s = add %y, %res            ->              {then=[add(acc, 3), relu(s0)]}
//   %z = relu %s
//
// The expression may use the result several times (%y * sigmoid(%y)), as long as nobody else reads
// it nor any step but the last. Its other operands, from the op's max_in on, are of these kinds:
//   the result's own shape    a residual, not a constant
//   one per channel           [N or 1,C,1,1] against a 4-D result, [M] or [1,M] along the last
//                             axis of a matmul's or layer_norm's; frozen constants are made so
//   one element               a constant
//   bytes of its own shape    a quantized residual, which the steps that follow dequantize
// The node moves down to where the expression ends, below the operands that it now reads, but not
// past readers of other results that it has. Nodes are
// taken last first: of two convolutions that are added, the later one adds, and the other is done
// by then. Pools, which wait for memory already, take what is left.

#include "passes/body.h"

enum { MAX_STEPS = 16, MAX_EXTRA = 6 };
enum {
    MAX_BYTES_STEPS = 24,
    MAX_BYTES_EXTRA = 9
}; // behind products of bytes: requantization is longer

// ---------------------------------------------------------------- operands

static bool is_pool(const IrNode *n) {
    return n->op == IR_OP_MAX_POOL || n->op == IR_OP_AVG_POOL;
}

static bool is_bytes(const IrValue *v) {
    return (v->type.dtype == IR_U8 || v->type.dtype == IR_I8) && !v->konst;
}

// Channels of its result are columns.
static bool has_rows(const IrNode *n) {
    return n->op == IR_OP_MATMUL || n->op == IR_OP_LAYER_NORM;
}

// Resizes bytes: the one that has an epilogue.
static bool is_resize(const IrNode *n) {
    return n->op == IR_OP_RESIZE && is_bytes(ir_in(n, 0)) && ir_attr(n, IR_ATTR_TO);
}

// Normalises maps by the batch's statistics.
static bool is_norm(const IrNode *n) {
    return n->op == IR_OP_BATCH_NORM_TRAIN && n->out[0]->type.shape.rank == 4;
}

static bool is_anchor(const IrNode *n) {
    bool may = n->op == IR_OP_CONV || has_rows(n) || is_pool(n) || pass_is_reduce(n) ||
               is_resize(n) || is_norm(n);
    return may &&
           (n->out[0]->type.dtype == IR_F32 ||
            (n->out[0]->type.dtype == IR_I32 && is_bytes(ir_in(n, 0)))) &&
           ir_prologue(n) == n->n_in;
}

// The axis of n's result along which an operand may hold one element per channel; -1: there is
// none.
static int channel_axis(const IrNode *n) {
    int rank = n->out[0]->type.shape.rank;
    return has_rows(n) ? rank - 1 : rank == 4 ? 1 : -1;
}

// v is one per channel as it stands.
static bool is_per_channel(const IrValue *v, const IrNode *n) {
    const IrShape *s = &v->type.shape, *result = &n->out[0]->type.shape;
    int axis = channel_axis(n);
    if (axis < 0) {
        return false;
    }
    if (has_rows(n)) {
        return (s->rank == 1 || (s->rank == 2 && ir_dim_is(s->dim[0], 1))) &&
               ir_dim_eq(s->dim[s->rank - 1], result->dim[axis]);
    }
    return s->rank == 4 && (ir_dim_is(s->dim[0], 1) || ir_dim_eq(s->dim[0], result->dim[0])) &&
           ir_dim_eq(s->dim[1], result->dim[1]) && ir_dim_is(s->dim[2], 1) &&
           ir_dim_is(s->dim[3], 1);
}

static bool is_operand(const IrValue *v, const IrNode *n) {
    const IrShape *result = &n->out[0]->type.shape;
    int axis = channel_axis(n);
    if (v->type.dtype != IR_F32) {
        return is_bytes(v) && ir_shape_eq(&v->type.shape, result);
    }
    if (ir_const_is_scalar(v) || is_per_channel(v, n)) {
        return true;
    }
    return v->konst ? axis >= 0 && pass_is_per_axis(v, result, axis)
                    : ir_shape_eq(&v->type.shape, result);
}

// A frozen per-channel constant in the form that is_per_channel() wants.
static IrValue *shape_operand(PassContext *ctx, IrNode *n, IrValue *v) {
    int axis = channel_axis(n);
    if (!v || !v->konst || axis < 0 || ir_const_is_scalar(v) || is_per_channel(v, n)) {
        return v;
    }
    int64_t channels = n->out[0]->type.shape.dim[axis].c;
    int64_t dims[] = {1, channels, 1, 1};
    IrShape shape = has_rows(n) ? ir_shape_of(1, &channels) : ir_shape_of(4, dims);
    return pass_const_reshaped(ctx, n->graph, v, &shape);
}

static bool is_step(const PassBody *b, const IrNode *reader, const IrNode *n) {
    if (!pass_is_eltwise(reader) ||
        !ir_shape_eq(&reader->out[0]->type.shape, &n->out[0]->type.shape)) {
        return false;
    }
    for (int i = 0; i < reader->n_in; i++) {
        if (!pass_body_makes(b, ir_in(reader, i)) && !is_operand(ir_in(reader, i), n)) {
            return false;
        }
    }
    return true;
}

// ---------------------------------------------------------------- the expression

// The body as the node has it now; its last result, or IR_ACC, is the node's.
static void init_body(PassBody *b, const IrNode *n, int max_steps, int max_in) {
    int own = ir_op_info(n->op)->max_in;
    *b = (PassBody){.max_steps = max_steps, .max_in = max_in, .first_in = own};
    b->n_in = n->n_in > own ? n->n_in : own;
    for (int i = 0; i < n->n_in; i++) {
        b->in[i] = ir_in(n, i);
    }
    IrBody then = ir_body(n, IR_ATTR_THEN);
    for (int i = 0; i < then.n; i++) {
        b->step[b->n++] = then.step[i];
    }
    if (b->n) {
        b->result[b->n - 1] = n->out[0];
    } else {
        b->acc = n->out[0];
    }
}

static IrNode *earlier_user(const PassBody *b, const PassOrder *order, const IrValue *v,
                            IrNode *best) {
    for (const IrUse *u = v ? v->uses : NULL; u; u = u->next) {
        if (!pass_body_holds(b, u->node) &&
            (!best || pass_at(order, u->node) < pass_at(order, best))) {
            best = u->node;
        }
    }
    return best;
}

// The first node in order that reads something of the body and is not in it.
static IrNode *next_reader(const PassBody *b, const PassOrder *order) {
    IrNode *best = earlier_user(b, order, b->acc, NULL);
    for (int i = 0; i < b->n; i++) {
        best = earlier_user(b, order, b->result[i], best);
    }
    return best;
}

// The one value beside constants that v is made from, element by element and for nobody else, is
// stored as bytes: a quantized residual and what dequantizes it.
static bool comes_from_bytes(const IrValue *v, const IrNode *n, int depth) {
    const IrNode *def = v->def;
    if (is_bytes(v)) {
        return is_operand(v, n);
    }
    if (!def || depth == 0 || v->n_uses != 1 || v->is_output || !pass_is_eltwise(def)) {
        return false;
    }
    bool found = false;
    for (int i = 0; i < def->n_in; i++) {
        const IrValue *x = ir_in(def, i);
        bool from = comes_from_bytes(x, n, depth - 1);
        if (from ? found : !x->konst || !is_operand(x, n)) {
            return false;
        }
        found = found || from;
    }
    return found;
}

// The nodes between those bytes and v become steps.
static bool add_above(PassBody *b, const IrValue *v) {
    IrNode *def = v->def;
    if (v->konst || is_bytes(v)) {
        return true;
    }
    for (int i = 0; i < def->n_in; i++) {
        if (!add_above(b, ir_in(def, i))) {
            return false;
        }
    }
    return pass_body_add(b, def);
}

static bool add_reader(PassBody *b, IrNode *reader, const IrNode *n) {
    enum { DEPTH = 4 };
    for (int i = 0; i < reader->n_in; i++) {
        const IrValue *v = ir_in(reader, i);
        if (!pass_body_makes(b, v) && !v->konst && !is_bytes(v) && comes_from_bytes(v, n, DEPTH) &&
            !add_above(b, v)) {
            return false;
        }
    }
    return pass_body_add(b, reader);
}

static bool ends_in_bytes(const PassBody *b) {
    return b->n > 0 && b->node[b->n - 1] && is_bytes(b->node[b->n - 1]->out[0]);
}

// Takes readers one by one, and keeps the longest prefix of them that only its last result leaves;
// where there is no room for more, one that makes bytes, so that these are what is stored.
static void grow_body(PassBody *b, const PassOrder *order, const IrNode *n) {
    PassBody trial = *b, bytes = *b;
    IrNode *reader;
    bool more = false;
    while ((reader = next_reader(&trial, order)) && (more = is_step(&trial, reader, n)) &&
           add_reader(&trial, reader, n)) {
        if (pass_body_is_closed(&trial)) {
            *b = trial;
            bytes = ends_in_bytes(b) ? *b : bytes;
        }
    }
    if (reader && more && !ends_in_bytes(b) && ends_in_bytes(&bytes)) {
        *b = bytes;
    }
}

// Somebody reads another result of n than its first one before node `to`.
static bool is_read_before(const PassOrder *order, const IrNode *n, const IrNode *to) {
    for (int i = 1; i < n->n_out; i++) {
        for (const IrUse *u = n->out[i]->uses; u; u = u->next) {
            if (pass_at(order, u->node) <= pass_at(order, to)) {
                return true;
            }
        }
    }
    return false;
}

static int fuse_node(PassContext *ctx, PassOrder *order, IrNode *n) {
    PassBody b;
    bool bytes = is_bytes(ir_in(n, 0));
    int max_steps = bytes ? MAX_BYTES_STEPS : MAX_STEPS;
    int max_in = ir_op_info(n->op)->max_in + (bytes ? MAX_BYTES_EXTRA : MAX_EXTRA);
    if (n->out[0]->is_output || ir_body(n, IR_ATTR_THEN).n > max_steps || n->n_in > max_in) {
        return 0;
    }
    init_body(&b, n, max_steps, max_in);
    int had = b.n;
    grow_body(&b, order, n);
    IrNode *last = b.n > had ? b.node[b.n - 1] : NULL;
    if (!last || is_read_before(order, n, last)) {
        return 0;
    }
    ir_move_before(n, last);
    pass_set_at(order, n, pass_at(order, last));
    IrBody then = pass_body_steps(ctx, &b);
    ir_set_attr(n, ir_attr_body(ctx->prog->arena, IR_ATTR_THEN, &then));
    for (int i = ir_op_info(n->op)->max_in; i < b.n_in; i++) {
        ir_set_in(n, i, shape_operand(ctx, n, b.in[i]));
    }
    n->name = pass_body_name(&b, ctx->prog->arena, n->name);
    n->out[0]->name = last->out[0]->name;
    ir_replace_uses(last->out[0], n->out[0]);
    pass_body_remove_nodes(&b);
    const char *wrong = ir_infer(n);
    if (wrong) {
        ir_bug("fuse_epilogue", n->name, "%s", wrong);
    }
    return b.n - had;
}

// matmul and add of a constant [M] -> the matmul's bias; trainable ones too, when they have that
// form
static int take_bias(PassContext *ctx, IrNode *n) {
    IrNode *user = n->op == IR_OP_MATMUL && !ir_in(n, 2) && !ir_body(n, IR_ATTR_THEN).n
                       ? ir_only_user(n->out[0])
                       : NULL;
    if (!user || user->op != IR_OP_ADD || ir_in(user, 0) != n->out[0] || !ir_in(user, 1)->konst ||
        ir_const_is_scalar(ir_in(user, 1)) || !is_operand(ir_in(user, 1), n) ||
        !ir_type_eq(&user->out[0]->type, &n->out[0]->type)) {
        return 0;
    }
    ir_set_in(n, 2, shape_operand(ctx, n, ir_in(user, 1)));
    n->name = ir_join_names(ctx->prog->arena, n->name, user->name);
    n->out[0]->name = user->out[0]->name;
    pass_forward(user, n->out[0]);
    return 1;
}

// The nodes that take epilogues, in order; they stay while others go.
static IrNode **find_anchors(PassContext *ctx, IrGraph *g, int *n_anchors) {
    IrNode **v = ir_alloc_array(ctx->scratch, (size_t)g->n_nodes + 1, sizeof *v);
    *n_anchors = 0;
    for (IrNode *n = g->first; n; n = n->next) {
        if (is_anchor(n)) {
            v[(*n_anchors)++] = n;
        }
    }
    return v;
}

PassResult pass_fuse_epilogue(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    PassOrder order = pass_order(ctx, g);
    int n_anchors;
    IrNode **anchor = find_anchors(ctx, g, &n_anchors);
    for (int pools = 0; pools <= 1; pools++) {
        for (int i = n_anchors - 1; i >= 0; i--) {
            if ((is_pool(anchor[i]) || is_resize(anchor[i])) == pools) {
                r.changes += take_bias(ctx, anchor[i]);
                r.changes += fuse_node(ctx, &order, anchor[i]);
            }
        }
    }
    return r;
}
