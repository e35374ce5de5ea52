// The walk that opens a graph: its nodes in order, each by the rule of its op.
#include "frontend/batch/batch.h"

static FeBatchRule *const rules[IR_OP_COUNT] = {
    [IR_OP_COPY] = fe_batch_elementwise,
    [IR_OP_QUANTIZE] = fe_batch_elementwise,
    [IR_OP_DEQUANTIZE] = fe_batch_elementwise,
    [IR_OP_DROPOUT] = fe_batch_elementwise,
    [IR_OP_EXPAND] = fe_batch_elementwise,
    [IR_OP_SOFTMAX] = fe_batch_along,
    [IR_OP_LOG_SOFTMAX] = fe_batch_along,
    [IR_OP_CUMSUM] = fe_batch_along,
    [IR_OP_ARG_MAX] = fe_batch_along,
    [IR_OP_ARG_MIN] = fe_batch_along,
    [IR_OP_TOP_K] = fe_batch_along,
    [IR_OP_SLICE] = fe_batch_along,
    [IR_OP_PAD] = fe_batch_along,
    [IR_OP_REDUCE_SUM] = fe_batch_along,
    [IR_OP_REDUCE_MEAN] = fe_batch_along,
    [IR_OP_REDUCE_MAX] = fe_batch_along,
    [IR_OP_REDUCE_MIN] = fe_batch_along,
    [IR_OP_REDUCE_PROD] = fe_batch_along,
    [IR_OP_DET] = fe_batch_along,
    [IR_OP_CONV] = fe_batch_images,
    [IR_OP_CONV_DGRAD] = fe_batch_images,
    [IR_OP_MAX_POOL] = fe_batch_images,
    [IR_OP_AVG_POOL] = fe_batch_images,
    [IR_OP_LRN] = fe_batch_images,
    [IR_OP_BATCH_NORM] = fe_batch_images,
    [IR_OP_RESIZE] = fe_batch_images,
    [IR_OP_GRID_SAMPLE] = fe_batch_images,
    [IR_OP_MATMUL] = fe_batch_matmul,
    [IR_OP_TRANSPOSE] = fe_batch_transposed,
    [IR_OP_RESHAPE] = fe_batch_reshaped,
    [IR_OP_CONCAT] = fe_batch_joint,
    [IR_OP_GATHER_ELEMENTS] = fe_batch_joint,
    [IR_OP_SCATTER_ELEMENTS] = fe_batch_joint,
    [IR_OP_GATHER] = fe_batch_gather,
    [IR_OP_GATHER_ND] = fe_batch_gather_nd,
    [IR_OP_SCATTER_ND] = fe_batch_scatter_nd,
};

static FeLane find_lane(FeBatch *o, IrValue *v) {
    if (!v || !v->konst) {
        return v ? o->lane[v->id] : (FeLane){0};
    }
    return (FeLane){.v = ir_const_value(o->to, v->konst), .was = v->type.shape};
}

// A node that no image has a part in.
static void copy_node(FeBatch *o, const IrNode *n, const FeLane *in) {
    IrValue **v = ir_alloc_array(o->to->prog->arena, (size_t)n->n_in + 1, sizeof *v);
    for (int i = 0; i < n->n_in; i++) {
        v[i] = in[i].v;
    }
    IrNode *made = ir_build_node(&o->b, n->op, n->n_in, v, n->n_attrs, n->attrs);
    if (!made) {
        ir_bug("fe_batch_open", n->name, "%s", o->b.err);
    }
    for (int i = 0; i < n->n_out; i++) {
        fe_batch_set(o, n, i, (FeLane){.v = made->out[i]});
    }
}

static void open_node(FeBatch *o, const IrNode *n) {
    FeLane *in = ir_alloc_array(o->to->prog->arena, (size_t)n->n_in + 1, sizeof *in);
    bool each = false;
    for (int i = 0; i < n->n_in; i++) {
        in[i] = find_lane(o, ir_in(n, i));
        each |= in[i].each;
    }
    o->b.name = n->name;
    o->b.src_op = n->src_op;
    FeBatchRule *rule = ir_op_info(n->op)->flags & IR_FLAG_E ? fe_batch_elementwise : rules[n->op];
    if (!each) {
        copy_node(o, n, in);
    } else if (rule) {
        rule(o, n, in);
    } else {
        fe_batch_fail(o, "NYI: %s for images apart from one another", ir_op_info(n->op)->text);
    }
}

static void open_input(FeBatch *o, const IrValue *x, bool each) {
    IrType type = x->type;
    if (each && (type.shape.rank == 0 || !ir_dim_is(type.shape.dim[0], o->size) ||
                 fe_batch_is_empty(&type.shape))) {
        fe_batch_fail(o, "input '%s' holds no batch of %lld", x->name, (long long)o->size);
        return;
    }
    type.shape = each ? fe_batch_shape(o, &type.shape, 0) : type.shape;
    IrValue *v = ir_input(o->to, x->name, type);
    o->lane[x->id] = (FeLane){v, x->type.shape, each, 0, 1};
}

// Images in an axis alone: the first that has size 1, or one before all others.
static void separate_images(FeBatch *o, FeLane *x) {
    int64_t perm[IR_MAX_RANK];
    int alone = 0;
    while (alone < x->was.rank && !ir_dim_is(x->was.dim[alone], 1)) {
        alone++;
    }
    fe_batch_lead(o, x);
    if (o->why || alone == x->was.rank) {
        return;
    }
    for (int i = 0; i <= x->was.rank; i++) { // N goes behind what lies before that axis
        perm[i] = i < alone ? i + 1 : i == alone ? 0 : i;
    }
    if (alone > 0) {
        x->v = fe_batch_transpose(o, x->v, x->was.rank + 1, perm);
    }
    IrShape s = fe_batch_shape(o, &x->was, alone);
    x->v = fe_batch_reshape(o, x->v, &s);
    x->axis = alone;
}

static void open_output(FeBatch *o, const IrValue *old, bool own_axis) {
    FeLane x = o->lane[old->id];
    bool shared = x.each && x.axis != FE_OWN_AXIS && !ir_dim_is(x.was.dim[x.axis], 1);
    if (own_axis && shared && o->size == 1) {
        separate_images(o, &x);
    }
    if (!o->why && (!x.v->def || x.v->is_output)) {
        x.v = fe_batch_build(o, IR_OP_COPY, 1, &x.v, 0, NULL);
    }
    if (!o->why) {
        x.v->name = old->name;
        ir_output(o->to, x.v);
    }
}

static const char *describe(FeBatch *o, const IrNode *n) {
    return n ? ir_sprintf(o->to->prog->arena, "node '%s' (%s): %s", n->name,
                          n->src_op ? n->src_op : ir_op_info(n->op)->text, o->why)
             : o->why;
}

IrGraph *fe_batch_open(IrGraph *g, int64_t size, const bool *opens, bool own_axes,
                       const char **why) {
    IrArena *a = g->prog->arena;
    fe_batch_merge(g, size);
    FeBatch o = {.to = ir_graph_new(g->prog, g->name),
                 .size = size,
                 .lane = ir_alloc_array(a, (size_t)g->next_id + 1, sizeof *o.lane)};
    o.b = (IrBuilder){.graph = o.to, .name = "input"};
    const IrNode *at = NULL;
    for (int i = 0; i < g->n_inputs; i++) {
        open_input(&o, g->inputs[i], opens[i]);
    }
    for (const IrNode *n = g->first; n && !o.why; n = n->next) {
        at = n;
        open_node(&o, n);
    }
    for (int i = 0; i < g->n_outputs && !o.why; i++) {
        at = g->outputs[i]->def;
        o.b = (IrBuilder){.graph = o.to, .name = at->name, .src_op = at->src_op};
        open_output(&o, g->outputs[i], own_axes);
    }
    g->prog->n_graphs--; // the caller says which of the two the program has
    *why = o.why ? describe(&o, at) : NULL;
    if (!o.why) {
        ir_remove_dead_nodes(o.to);
    }
    return o.why ? NULL : o.to;
}

static void fix_shape(IrShape *s, int64_t n) {
    for (int i = 0; i < s->rank; i++) {
        s->dim[i] = ir_dim(ir_dim_at(s->dim[i], n));
    }
}

void fe_batch_fix(IrGraph *g, int64_t n) {
    for (int i = 0; i < g->n_inputs; i++) {
        fix_shape(&g->inputs[i]->type.shape, n);
    }
    for (IrNode *k = g->first; k; k = k->next) {
        for (int i = 0; i < k->n_attrs; i++) {
            if (ir_attr_kind(k->attrs[i].key) == IR_KIND_DIMS) {
                fix_shape(&k->attrs[i].dims, n);
            }
        }
        for (int i = 0; i < k->n_out; i++) {
            fix_shape(&k->out[i]->type.shape, n);
        }
    }
}
