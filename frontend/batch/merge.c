// What is done to the images of a tensor one by one, and put together again in their order, is done
// to all of them at once: exporters write repeat_interleave() so, a loop over the batch.
//
//   concat(f(x[0:1]), f(x[1:2]), ..)   ->   f(x)     f of reshapes and expands
//
// An image's elements lie together before and after, so that each shape is that of one image with
// its first dimension times their number.
#include "frontend/batch/batch.h"

// The image of x that v is; -1: it is none. The first dimension of x are its images.
static int64_t find_image(const IrValue *v, int64_t size) {
    const IrNode *n = v->def;
    if (!n || n->op != IR_OP_SLICE || !ir_dim_is(v->type.shape.dim[0], 1) ||
        !ir_dim_is(ir_in(n, 0)->type.shape.dim[0], size)) {
        return -1;
    }
    const IrShape *s = &v->type.shape, *x = &ir_in(n, 0)->type.shape;
    IrInts start = ir_ints(n, IR_ATTR_START);
    for (int i = 1; i < s->rank; i++) {
        if (start.v[i] != 0 || !ir_dim_eq(s->dim[i], x->dim[i])) {
            return -1;
        }
    }
    return start.v[0];
}

// A step of f: what it does to an image, it does to several that lie one behind the other.
static bool is_step(const IrNode *n) {
    const IrShape *x = n && n->n_in == 1 ? &ir_in(n, 0)->type.shape : NULL;
    const IrShape *y = x ? &n->out[0]->type.shape : NULL;
    bool repeats = y && n->op == IR_OP_EXPAND && x->rank == y->rank && y->rank > 0 &&
                   ir_dim_eq(x->dim[0], y->dim[0]);
    return repeats || (y && n->op == IR_OP_RESHAPE && y->rank > 0 && x->rank > 0);
}

// Whether b does to image number `image` of a tensor what a does to its first.
static bool are_twins(const IrValue *a, const IrValue *b, int64_t image, int64_t size) {
    while (a->def && b->def && is_step(a->def) && a->def->op == b->def->op &&
           ir_type_eq(&a->type, &b->type)) { // which says all of such a node
        a = ir_in(a->def, 0);
        b = ir_in(b->def, 0);
    }
    return find_image(a, size) == 0 && find_image(b, size) == image &&
           ir_in(a->def, 0) == ir_in(b->def, 0);
}

// v, of the first image, for all.
static IrValue *for_all(IrBuilder *b, const IrValue *v, int64_t size) {
    if (v->def->op == IR_OP_SLICE) {
        return ir_in(v->def, 0);
    }
    IrValue *x = for_all(b, ir_in(v->def, 0), size);
    IrShape s = v->type.shape;
    s.dim[0].c *= size;
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, &s);
    return x ? ir_build(b, v->def->op, 1, &x, 1, &shape) : NULL;
}

static bool joins_images(const IrNode *n, int64_t size) {
    bool joins = n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_AXIS, 0) == 0 && n->n_in == size &&
                 is_step(ir_in(n, 0)->def);
    for (int64_t i = 0; i < size && joins; i++) {
        joins = are_twins(ir_in(n, 0), ir_in(n, (int)i), i, size);
    }
    return joins;
}

void fe_batch_merge(IrGraph *g, int64_t size) {
    for (IrNode *n = g->first, *next; n && size > 1; n = next) {
        next = n->next;
        if (joins_images(n, size)) {
            IrBuilder b = {.graph = g, .before = n, .name = n->name, .src_op = n->src_op};
            IrValue *all = for_all(&b, ir_in(n, 0), size);
            if (all) {
                ir_replace_uses(n->out[0], all);
            }
        }
    }
    ir_remove_dead_nodes(g);
}
