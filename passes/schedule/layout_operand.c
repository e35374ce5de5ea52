// What the rules of layout.c do to operands: reorders, one per tensor and layout, and the few forms
// that a blocked node reads.
#include "passes/schedule/layout.h"

#include <string.h>

// ---------------------------------------------------------------- reorders

static IrValue **find_twin(PassLayout *l, const IrValue *v) {
    if (v->id >= l->n_twins) {
        size_t n = 2 * ((size_t)v->id + 1);
        IrValue **twin = ir_alloc_array(l->ctx->scratch, n, sizeof *twin);
        if (l->n_twins) {
            memcpy(twin, l->twin, l->n_twins * sizeof *twin);
        }
        l->twin = twin;
        l->n_twins = n;
    }
    return &l->twin[v->id];
}

IrBuilder pass_layout_before(PassLayout *l, const IrNode *user, const IrValue *v) {
    const IrNode *from = v->def ? v->def : user;
    return (IrBuilder){.graph = l->graph,
                       .before = (IrNode *)user,
                       .name = from ? from->name : "reorder",
                       .src_op = from ? from->src_op : NULL};
}

IrValue *pass_layout_check(IrValue *v, const IrBuilder *b) {
    if (!v) {
        ir_bug("layout", b->name, "%s", b->err ? b->err : "a node could not be built");
    }
    return v;
}

IrValue *pass_layout_get(PassLayout *l, IrValue *v, int block, IrNode *user) {
    if (v->type.block == block) {
        return v;
    }
    IrValue *t = *find_twin(l, v);
    if (t && t->type.block == block) {
        return t;
    }
    if (v->type.block && block) { // no kernel goes from one block to another
        return pass_layout_get(l, pass_layout_get(l, v, 0, user), block, user);
    }
    IrBuilder b = pass_layout_before(l, user, v);
    t = pass_layout_check(ir_build1(&b, IR_OP_REORDER, v), &b);
    t->type.block = block;
    *find_twin(l, v) = t; // of several blocks the last one
    *find_twin(l, t) = v;
    l->changes++;
    return t;
}

void pass_layout_require(PassLayout *l, IrNode *n, int i, int block) {
    IrValue *v = ir_in(n, i);
    if (v && v->type.block != block) {
        ir_set_in(n, i, pass_layout_get(l, v, block, n));
    }
}

// ---------------------------------------------------------------- operands of maps and epilogues

static const bool blocked_types[IR_DTYPE_COUNT] = {
    [IR_F32] = true, [IR_F16] = true, [IR_BF16] = true,
    [IR_I8] = true,  [IR_U8] = true,  [IR_I32] = true,
};

bool pass_layout_can_block(const IrType *t) {
    const IrDim *d = t->shape.dim;
    return blocked_types[t->dtype] && t->shape.rank == 4 && !d[1].n && !d[2].n && !d[3].n;
}

bool pass_layout_is_scalar(const IrType *t) {
    for (int i = 0; i < t->shape.rank; i++) {
        if (!ir_dim_is(t->shape.dim[i], 1)) {
            return false;
        }
    }
    return true;
}

static bool fits_block(const IrType *t) {
    return blocked_types[t->dtype] || pass_layout_is_scalar(t);
}

// Dim i of s is that of `full` (wanted) or 1 (not wanted).
static bool has_dim(const IrShape *s, int i, const IrShape *full, bool wanted) {
    return wanted ? ir_dim_eq(s->dim[i], full->dim[i]) : ir_dim_is(s->dim[i], 1);
}

static bool is_batch_or_one(const IrShape *s, const IrShape *full) {
    return has_dim(s, 0, full, true) || has_dim(s, 0, full, false);
}

// [N|1,C,1,1]
static bool is_per_channel(const IrShape *s, const IrShape *full) {
    return is_batch_or_one(s, full) && has_dim(s, 1, full, true) && has_dim(s, 2, full, false) &&
           has_dim(s, 3, full, false);
}

// [N|1,1,H,W]
static bool is_per_pixel(const IrShape *s, const IrShape *full) {
    return is_batch_or_one(s, full) && has_dim(s, 1, full, false) && has_dim(s, 2, full, true) &&
           has_dim(s, 3, full, true);
}

void pass_layout_unsqueeze(PassLayout *l, IrNode *n, int i, int lead) {
    IrValue *v = ir_in(n, i);
    IrShape to = {4, {ir_dim(1), ir_dim(1), ir_dim(1), ir_dim(1)}};
    memcpy(to.dim + lead, v->type.shape.dim, (size_t)v->type.shape.rank * sizeof *to.dim);
    if (pass_is_frozen(v)) {
        v = pass_const_reshaped(l->ctx, l->graph, v, &to);
    } else {
        IrBuilder b = pass_layout_before(l, n, v);
        v = pass_layout_check(ir_build_reshape(&b, pass_layout_get(l, v, 0, n), &to), &b);
    }
    ir_set_in(n, i, v);
    l->changes++;
}

void pass_layout_fit(PassLayout *l, IrNode *n, int i, const IrShape *full, bool pixels) {
    IrValue *v = ir_in(n, i);
    if (!v || pass_layout_is_scalar(&v->type)) {
        pass_layout_require(l, n, i, 0);
        return;
    }
    if (v->type.shape.rank < 4) {
        pass_layout_unsqueeze(l, n, i, 4 - v->type.shape.rank);
        v = ir_in(n, i);
    }
    const IrShape *s = &v->type.shape;
    if (is_per_channel(s, full)) {
        pass_layout_require(l, n, i, v->konst ? 0 : l->block);
    } else if (ir_shape_eq(s, full)) {
        pass_layout_require(l, n, i, l->block);
    } else if (pixels && is_per_pixel(s, full)) {
        pass_layout_require(l, n, i, 0);
    } else {
        pass_layout_require(l, n, i, 0);
        IrBuilder b = pass_layout_before(l, n, v);
        IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, full);
        IrValue *plain = ir_in(n, i);
        ir_set_in(n, i, pass_layout_check(ir_build(&b, IR_OP_EXPAND, 1, &plain, 1, &shape), &b));
        pass_layout_require(l, n, i, l->block);
    }
}

bool pass_layout_fits_from(const IrNode *n, int first) {
    for (int i = first; i < n->n_in; i++) {
        if (ir_in(n, i) && !fits_block(&ir_in(n, i)->type)) {
            return false;
        }
    }
    return true;
}

bool pass_layout_is_blocked(const IrValue *v) {
    return v && v->type.block != 0;
}
