// fuse_pool_matmul: a global average pool whose only reader is a matrix product becomes part of it.
//
//   %m: f32[N,2048,1,1]{nChw16c} = reduce_mean %x {axes=[2,3]}
//   %p: f32[N,2048,1,1] = reorder %m
//   %r: f32[N,2048] = reshape %p
//   %y = matmul %r, %w, %b {trans_b=1}                            ->
//
//   %y = matmul %x, %w, %b {trans_b=1, mean=1}
//
// The pooled vectors then lie in each thread's scratch, and all threads wait for each other once
// less. Conditions:
//   - nobody else reads the pool's result, and it has no epilogue;
//   - the map is blocked, of a fixed size and small: threads that share the product's columns
//     each do the pool, in the time that they save by not waiting only where it is short;
//   - the weights are a constant matrix, and the rows are the images.

#include "passes/util.h"
#include <math.h>

static bool is_global_mean(const IrNode *n) {
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    return n->op == IR_OP_REDUCE_MEAN && !ir_body(n, IR_ATTR_THEN).n && axes.n == 2 &&
           axes.v[0] == 2 && axes.v[1] == 3 && ir_in(n, 0)->type.block > 1 &&
           ir_in(n, 0)->type.dtype == IR_F32;
}

static bool is_move(const IrNode *n) {
    return n->op == IR_OP_REORDER || n->op == IR_OP_RESHAPE;
}

// The map of an image is read from L2.
static bool pays(const PassContext *ctx, const IrShape *map) {
    double bytes = 4;
    for (int i = 1; i < 4; i++) {
        bytes *= map->dim[i].n ? INFINITY : (double)map->dim[i].c;
    }
    return bytes <= (double)ir_budget(ctx->opt->machine, IR_L2_IMAGE);
}

// The pool above v, through nodes that only call its result otherwise; NULL: none.
static IrNode *find_pool(const IrValue *v) {
    while (v->def && ir_only_user(v) && is_move(v->def)) {
        v = ir_in(v->def, 0);
    }
    return v->def && ir_only_user(v) && is_global_mean(v->def) ? v->def : NULL;
}

static bool fuse(const PassContext *ctx, IrNode *n) {
    IrValue *a = ir_in(n, 0), *w = ir_in(n, 1);
    IrNode *pool = find_pool(a);
    if (!pool || !w->konst || w->type.shape.rank != 2 || a->type.shape.rank != 2 ||
        ir_int(n, IR_ATTR_TRANS_A, 0) || ir_int(n, IR_ATTR_MEAN, 0)) {
        return false;
    }
    IrValue *map = ir_in(pool, 0);
    const IrShape *x = &map->type.shape;
    if (!ir_dim_eq(x->dim[0], a->type.shape.dim[0]) ||
        !ir_dim_eq(x->dim[1], a->type.shape.dim[1]) || !pays(ctx, x)) {
        return false;
    }
    ir_set_in(n, 0, map);
    ir_set_attr(n, ir_attr_i(IR_ATTR_MEAN, 1));
    n->name = ir_join_names(n->graph->prog->arena, pool->name, n->name);
    while (a->def != pool) {
        IrNode *move = a->def;
        a = ir_in(move, 0);
        ir_remove_node(move);
    }
    ir_remove_node(pool);
    const char *wrong = ir_infer(n);
    if (wrong) {
        ir_bug("fuse_pool_matmul", n->name, "%s", wrong);
    }
    return true;
}

PassResult pass_fuse_pool_matmul(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next) {
        r.changes += n->op == IR_OP_MATMUL && fuse(ctx, n);
    }
    return r;
}
