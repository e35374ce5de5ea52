// Legalize: every graph output gets plain storage of its own, the user's buffer; nodes that only
// change how bytes are called become views.
//
//   before  %f: f32[N,2048,1,1] = reorder %m
//           %r: f32[N,2048] = reshape %f {shape=[N,2048]}
//           return %r, %s                    // both roots in one buffer
//   after   %f: f32[N,2048,1,1] in %m = reorder %m
//           %r: f32[N,2048] in %f = reshape %f {shape=[N,2048]}
//           %o: f32[N,2048] = copy %r
//           return %o, %s
//
// Afterwards: a reshape is a whole view of its operand; so is a reorder between [N,C,1,1] plain and
// blocked when C is a multiple of the block. No code is emitted for a node whose result is a view
// of its operand. An output is the whole of a storage root that is a node's result, plain, and no
// other output's. Blocked values never lie in the user's buffers, whose alignment nobody promised.

#include "passes/util.h"

typedef struct Legalize {
    IrGraph *graph;
    bool *claimed; // by value id: a storage root that is an output's buffer
    uint32_t n_claimed;
    int changes;
} Legalize;

static IrDim count_bytes(const IrValue *v) {
    IrDim bytes;
    if (!ir_type_bytes(&v->type, &bytes)) {
        ir_bug("legalize", v->def ? v->def->name : v->name, "a value without a size");
    }
    return bytes;
}

static bool is_whole(IrValue *v) {
    int64_t channel = 0;
    IrValue *root = ir_view_root(v, &channel);
    return channel == 0 && ir_dim_eq(count_bytes(root), count_bytes(v));
}

static bool is_claimed(const Legalize *l, const IrValue *root) {
    return root->id < l->n_claimed && l->claimed[root->id];
}

// v as a plain value with storage of its own, built before `before`.
static IrValue *build_copy(Legalize *l, IrValue *v, IrNode *before) {
    IrBuilder b = {
        .graph = l->graph, .before = before, .name = v->def->name, .src_op = v->def->src_op};
    IrValue *y = ir_build1(&b, v->type.block ? IR_OP_REORDER : IR_OP_COPY, v);
    if (!y) {
        ir_bug("legalize", b.name, "%s", b.err);
    }
    y->type.block = 0;
    l->changes++;
    return y;
}

static void view_reshape(Legalize *l, IrNode *n) {
    IrValue *y = n->out[0], *x = ir_in(n, 0);
    if (n->op != IR_OP_RESHAPE || y->view_of) {
        return;
    }
    if (x->type.block || !is_whole(x)) {
        x = build_copy(l, x, n);
        ir_set_in(n, 0, x);
    }
    y->view_of = x;
    y->view_channel = 0;
    l->changes++;
}

static void own_output(Legalize *l, int index) {
    IrValue *v = l->graph->outputs[index];
    int64_t channel = 0;
    IrValue *root = ir_view_root(v, &channel);
    if (v->type.block || root->type.block || !root->def || !is_whole(v) || is_claimed(l, root)) {
        ir_replace_output(l->graph, index, build_copy(l, v, v->def->next));
    } else {
        l->claimed[root->id] = true;
    }
}

// [N,C,1,1] whose plain and blocked bytes are the same.
static bool keeps_bytes(const IrType *plain, int block) {
    const IrShape *s = &plain->shape;
    return s->rank == 4 && ir_dim_is(s->dim[2], 1) && ir_dim_is(s->dim[3], 1) && s->dim[1].n == 0 &&
           s->dim[1].c % block == 0;
}

static void view_reorder(Legalize *l, IrNode *n) {
    IrValue *y = n->out[0], *x = ir_in(n, 0);
    int block = y->type.block ? y->type.block : x->type.block;
    if (n->op != IR_OP_REORDER || y->view_of || !block || !keeps_bytes(&y->type, block)) {
        return;
    }
    int64_t channel = 0;
    const IrValue *root = ir_view_root(x, &channel);
    if (y->type.block && root->type.block && !ir_shape_eq(&root->type.shape, &y->type.shape)) {
        return; // blocked again under other images
    }
    if (root->def && is_whole(x) && !is_claimed(l, root) && !is_claimed(l, y) && !y->is_output) {
        y->view_of = x;
        y->view_channel = 0;
        l->changes++;
    }
}

PassResult pass_legalize(PassContext *ctx, IrGraph *g) {
    Legalize l = {.graph = g};
    for (IrNode *n = g->first; n; n = n->next) {
        view_reshape(&l, n);
    }
    l.n_claimed = g->next_id;
    l.claimed = ir_alloc_array(ctx->scratch, (size_t)l.n_claimed + 1, sizeof *l.claimed);
    for (int i = 0; i < g->n_outputs; i++) {
        own_output(&l, i);
    }
    for (IrNode *n = g->first; n; n = n->next) {
        view_reorder(&l, n);
    }
    return (PassResult){l.changes};
}
