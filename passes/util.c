// Helpers shared by the passes; see util.h for what they promise.

#include "passes/util.h"

#include <math.h>

IrBuilder pass_before(IrNode *n) {
    ir_work_on(n);
    return (IrBuilder){.graph = n->graph, .before = n, .name = n->name, .src_op = n->src_op};
}

IrValue *pass_rebuild(IrBuilder *b, const IrNode *n, int n_in, IrValue *const *in) {
    return ir_build(b, n->op, n_in, in, n->n_attrs, n->attrs);
}

IrNode *pass_def(const IrValue *v, IrOp op) {
    return v && v->def && v->def->op == op ? v->def : NULL;
}

static bool is_computed_with(IrDtype t) {
    return t == IR_F32 || t == IR_U8 || t == IR_I8 || t == IR_I32;
}

bool pass_is_eltwise(const IrNode *n) {
    unsigned flags = ir_op_info(n->op)->flags;
    if (!(flags & IR_FLAG_E) || (flags & IR_FLAG_B) || n->n_out != 1) {
        return false;
    }
    if (n->op == IR_OP_CAST) {
        return is_computed_with(ir_in(n, 0)->type.dtype) && is_computed_with(n->out[0]->type.dtype);
    }
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (!v || v->type.dtype != IR_F32) {
            return false;
        }
    }
    return n->out[0]->type.dtype == IR_F32;
}

static bool has_all_operands(const IrNode *n) {
    bool all = true;
    for (int i = 0; i < n->n_in; i++) {
        all = all && ir_in(n, i);
    }
    return all;
}

bool pass_moves(const IrNode *n) {
    switch (n->op) {
    case IR_OP_RESHAPE:
    case IR_OP_TRANSPOSE:
    case IR_OP_SLICE:
    case IR_OP_CONCAT:
    case IR_OP_SHUFFLE:
    case IR_OP_EXPAND:
    case IR_OP_GATHER:
    case IR_OP_PAD:
        return true;
    case IR_OP_MAX_POOL:
    case IR_OP_REDUCE_MAX:
    case IR_OP_REDUCE_MIN:
        return ir_body(n, IR_ATTR_THEN).n == 0;
    case IR_OP_RESIZE:
        return !ir_in(n, 2) && !ir_in(n, 4);
    case IR_OP_INTERLEAVE: // but for zeros
        return has_all_operands(n);
    default:
        return false;
    }
}

int pass_n_moved(const IrNode *n) {
    bool all = n->op == IR_OP_CONCAT || n->op == IR_OP_SHUFFLE || n->op == IR_OP_INTERLEAVE;
    return all ? n->n_in : 1;
}

bool pass_is_reduce(const IrNode *n) {
    return (ir_op_info(n->op)->attrs & (IR_BIT(AXES) | IR_BIT(KEEPDIMS))) ==
           (IR_BIT(AXES) | IR_BIT(KEEPDIMS));
}

void pass_forward(IrNode *n, IrValue *now) {
    IrValue *old = n->out[0];
    if (!now || !ir_type_eq(&old->type, &now->type)) {
        ir_bug("pass_forward", n->name, "the replacement of %s has another type",
               ir_op_info(n->op)->text);
    }
    if (!now->name) {
        now->name = old->name;
    }
    ir_replace_uses(old, now);
    ir_remove_node(n);
}

bool pass_is_frozen(const IrValue *v) {
    return v && v->konst && !v->konst->trainable;
}

double pass_elem(PassContext *ctx, const IrValue *v, int64_t i) {
    IrConst *c = v->konst;
    if (c->kind == IR_CONST_SPLAT && c->type.dtype == IR_F32) {
        return (float)c->splat; // without making the whole of it
    }
    return ir_const_scalar(ctx->prog, c, i);
}

bool pass_scalar(PassContext *ctx, const IrValue *v, double *x) {
    if (!pass_is_frozen(v) || !ir_const_is_scalar(v)) {
        return false;
    }
    *x = pass_elem(ctx, v, 0);
    return true;
}

int64_t pass_elems(const IrType *t) {
    IrDim n;
    if (!ir_shape_is_static(&t->shape) || !ir_shape_elems(&t->shape, &n)) {
        return -1;
    }
    return n.c;
}

bool pass_const_all(PassContext *ctx, const IrValue *v, double x) {
    if (!pass_is_frozen(v)) {
        return false;
    }
    int64_t n = v->konst->kind == IR_CONST_SPLAT ? 1 : pass_elems(&v->type);
    for (int64_t i = 0; i < n; i++) {
        if (pass_elem(ctx, v, i) != x) {
            return false;
        }
    }
    return n > 0;
}

bool pass_is_per_axis(const IrValue *v, const IrShape *of, int axis) {
    if (!pass_is_frozen(v) || v->type.shape.rank > of->rank || of->dim[axis].n != 0) {
        return false;
    }
    int shift = of->rank - v->type.shape.rank;
    for (int i = 0; i < v->type.shape.rank; i++) {
        IrDim d = v->type.shape.dim[i];
        if (!ir_dim_is(d, 1) && !(i + shift == axis && ir_dim_eq(d, of->dim[axis]))) {
            return false;
        }
    }
    return true;
}

double pass_channel(PassContext *ctx, const IrValue *v, int64_t c) {
    return pass_elem(ctx, v, ir_const_is_scalar(v) ? 0 : c);
}

IrValue *pass_const_f32(PassContext *ctx, IrGraph *g, const char *name, int rank,
                        const int64_t *dims, float **data) {
    IrType type = {.dtype = IR_F32, .shape = ir_shape_of(rank, dims)};
    int64_t n = pass_elems(&type);
    if (n < 0) {
        ir_bug("pass_const_f32", name, "the size of a constant overflows");
    }
    *data = ir_alloc_array(ctx->prog->arena, (size_t)n + (n == 0), sizeof(float));
    return ir_const_value(g, ir_const_new(ctx->prog, *name ? name : NULL, type, *data));
}

IrValue *pass_const_reshaped(PassContext *ctx, IrGraph *g, const IrValue *v, const IrShape *shape) {
    IrType type = v->type;
    type.shape = *shape;
    const char *name = v->konst->name;
    IrConst *c = v->konst->kind == IR_CONST_SPLAT
                     ? ir_const_splat(ctx->prog, name, type, v->konst->splat)
                     : ir_const_new(ctx->prog, name, type, ir_const_data(ctx->prog, v->konst));
    return ir_const_value(g, c);
}

// *budget: values that may still be looked at; no depth bounds what operands that repeat cost.
static bool is_nonnegative(const IrValue *v, int *budget) {
    const IrNode *n = v->def;
    if (!n || --*budget < 0) {
        return false;
    }
    switch (n->op) {
    case IR_OP_RELU:
    case IR_OP_SIGMOID:
    case IR_OP_HARD_SIGMOID:
    case IR_OP_ABS:
    case IR_OP_EXP:
        return true;
    case IR_OP_CLIP:
        return ir_float(n, IR_ATTR_MIN, -INFINITY) >= 0 && ir_float(n, IR_ATTR_MAX, INFINITY) >= 0;
    case IR_OP_MAX_POOL:
    case IR_OP_AVG_POOL:
        return !ir_body(n, IR_ATTR_THEN).n && is_nonnegative(ir_in(n, 0), budget);
    case IR_OP_SLICE:
    case IR_OP_RESHAPE:
    case IR_OP_CONCAT:
        for (int i = 0; i < n->n_in; i++) {
            if (!is_nonnegative(ir_in(n, i), budget)) {
                return false;
            }
        }
        return true;
    default:
        return false;
    }
}

bool pass_is_nonnegative(const IrValue *v) {
    int budget = 64;
    return is_nonnegative(v, &budget);
}

PassOrder pass_order(PassContext *ctx, IrGraph *g) {
    PassOrder o = {.at = ir_alloc_array(ctx->scratch, (size_t)g->next_id + 1, sizeof(int)),
                   .n = g->next_id};
    int at = 1;
    for (IrNode *n = g->first; n; n = n->next) {
        pass_set_at(&o, n, at++);
    }
    return o;
}

int pass_at(const PassOrder *o, const IrNode *n) {
    return n->out[0]->id < o->n ? o->at[n->out[0]->id] : 0;
}

void pass_set_at(PassOrder *o, const IrNode *n, int at) {
    if (n->out[0]->id < o->n) {
        o->at[n->out[0]->id] = at;
    }
}

static void end_arena(void *arg) {
    pass_end_arena(arg);
}

IrArena **pass_begin_arena(IrArena *within, IrDiag *diag) {
    IrArena **arena = ir_alloc(within, sizeof(IrArena *));
    ir_arena_defer(within, end_arena, arena);
    *arena = ir_arena_new(diag);
    return arena;
}

void pass_end_arena(IrArena **arena) {
    ir_arena_free(*arena);
    *arena = NULL;
}
