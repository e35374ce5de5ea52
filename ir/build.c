// Building nodes, and computing their types again after an edit. A node is checked whole before it
// is linked in, so a refused build leaves the graph as it was.
#include "ir/shape.h"
#include <stdlib.h>
#include <string.h>

static IrShapeFn *const shape_rules[IR_OP_COUNT] = {
#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    [IR_OP_##E] = ir_shape_##shape,
#include "ir/ops.def"
#undef IR_OP
};

static const char *check_operands(IrNode *n) {
    const IrOpInfo *op = ir_op_info(n->op);
    int extra = n->n_in - op->max_in;
    if (n->n_in < op->min_in || (extra > 0 && !ir_takes_epilogue(n->op)) || n->n_in >= IR_ACC) {
        return ir_why(n,
                      op->min_in == op->max_in ? "%s takes %d operands, not %d"
                                               : "%s takes at least %d operands, not %d",
                      op->text, n->n_in > op->max_in ? op->max_in : op->min_in, n->n_in);
    }
    if (extra > 0 && ir_prologue(n) > op->max_in && !ir_body(n, IR_ATTR_THEN).n) {
        return ir_why(n, "operand %d has no use: there is no epilogue", op->max_in);
    }
    for (int i = 0; i < n->n_in; i++) {
        bool optional = op->max_in != IR_ANY && i >= op->min_in && i < op->max_in;
        if (!n->in[i].value && !optional) {
            return ir_why(n, "operand %d is missing", i);
        }
    }
    return NULL;
}

static const char *check_attrs(IrNode *n) {
    const IrOpInfo *op = ir_op_info(n->op);
    for (int i = 0; i < n->n_attrs; i++) {
        IrAttrKey key = n->attrs[i].key;
        if ((unsigned)key >= IR_ATTR_COUNT) {
            return ir_why(n, "attribute number %d does not exist", (int)key);
        }
        if (!(op->attrs >> key & 1)) {
            return ir_why(n, "%s has no attribute %s", op->text, ir_attr_name(key));
        }
        if (i && n->attrs[i - 1].key >= key) {
            return ir_why(n, "attribute %s stands twice, or out of order", ir_attr_name(key));
        }
    }
    return NULL;
}

const char *ir_compute_types(IrNode *n) {
    if ((unsigned)n->op >= IR_OP_COUNT) {
        return ir_why(n, "op number %d does not exist", (int)n->op);
    }
    const char *why = check_attrs(n);
    why = why ? why : check_operands(n);
    why = why ? why : shape_rules[n->op](n);
    for (int i = 0; !why && i < n->n_out; i++) {
        why = ir_check_type(n->graph->prog->arena, &n->out[i]->type);
    }
    return why;
}

const char *ir_infer(IrNode *n) {
    IrArena *a = n->graph->prog->arena;
    IrType few[4];
    IrType *old = n->n_out <= 4 ? few : ir_alloc_array(a, (size_t)n->n_out, sizeof *old);
    for (int i = 0; i < n->n_out; i++) {
        old[i] = n->out[i]->type;
    }
    const char *why = ir_compute_types(n);
    for (int i = 0; i < n->n_out; i++) {
        IrType *t = &n->out[i]->type;
        if (why) {
            *t = old[i];
        } else if (ir_shape_eq(&t->shape, &old[i].shape)) {
            t->block = old[i].block;
        }
    }
    return why;
}

static int compare_keys(const void *x, const void *y) {
    const IrAttr *a = x, *b = y;
    return (a->key > b->key) - (a->key < b->key);
}

IrNode *ir_build_node(IrBuilder *b, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                      const IrAttr *attrs) {
    IrArena *a = b->graph->prog->arena;
    IrNode *n = ir_alloc(a, sizeof *n);
    *n = (IrNode){.op = op, .graph = b->graph, .n_in = n_in, .n_attrs = n_attrs};
    n->n_out = (unsigned)op < IR_OP_COUNT ? ir_op_info(op)->n_out : 1;
    n->name = ir_strdup(a, b->name ? b->name : "");
    n->src_op = b->src_op ? ir_strdup(a, b->src_op) : NULL;
    n->in = ir_alloc_array(a, (size_t)n_in, sizeof *n->in);
    for (int i = 0; i < n_in; i++) {
        n->in[i] = (IrUse){.value = in[i], .node = n, .index = i};
        if (in[i] && in[i]->def && in[i]->def->graph != b->graph) {
            ir_bug("ir_build", n->name, "operand %d belongs to another graph", i);
        }
    }
    n->attrs = ir_alloc_array(a, (size_t)n_attrs, sizeof *n->attrs);
    if (n_attrs) {
        memcpy(n->attrs, attrs, (size_t)n_attrs * sizeof *attrs);
        qsort(n->attrs, (size_t)n_attrs, sizeof *n->attrs, compare_keys);
    }
    uint32_t next_id = b->graph->next_id;
    n->out = ir_alloc_array(a, (size_t)n->n_out, sizeof *n->out);
    for (int i = 0; i < n->n_out; i++) {
        n->out[i] = ir_value_new(b->graph, NULL, (IrType){0});
        n->out[i]->def = n;
    }
    b->err = ir_compute_types(n);
    if (b->err) {
        b->graph->next_id = next_id;
        return NULL;
    }
    ir_link_node(n, b->before);
    return n;
}

IrValue *ir_build(IrBuilder *b, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                  const IrAttr *attrs) {
    IrNode *n = ir_build_node(b, op, n_in, in, n_attrs, attrs);
    return n ? n->out[0] : NULL;
}

IrValue *ir_build1(IrBuilder *b, IrOp op, IrValue *x) {
    return ir_build(b, op, 1, &x, 0, NULL);
}

IrValue *ir_build2(IrBuilder *b, IrOp op, IrValue *x, IrValue *y) {
    return ir_build(b, op, 2, (IrValue *[]){x, y}, 0, NULL);
}

IrValue *ir_build_scalar(IrBuilder *b, IrDtype t, double x) {
    IrConst *c = ir_const_splat(b->graph->prog, NULL, (IrType){.dtype = t}, x);
    return ir_const_value(b->graph, c);
}

IrValue *ir_build_reshape(IrBuilder *b, IrValue *x, const IrShape *shape) {
    IrAttr attr = ir_attr_dims(IR_ATTR_SHAPE, shape);
    return ir_build(b, IR_OP_RESHAPE, 1, &x, 1, &attr);
}

IrValue *ir_build_slice(IrBuilder *b, IrValue *x, const int64_t *start, const int64_t *step,
                        const IrShape *shape) {
    IrArena *a = b->graph->prog->arena;
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_START, shape->rank, start),
                      ir_attr_ints(a, IR_ATTR_STEP, shape->rank, step),
                      ir_attr_dims(IR_ATTR_SHAPE, shape)};
    return ir_build(b, IR_OP_SLICE, 1, &x, 3, attrs);
}

IrValue *ir_build_transpose(IrBuilder *b, IrValue *x, int n, const int64_t *perm) {
    IrAttr attr = ir_attr_ints(b->graph->prog->arena, IR_ATTR_PERM, n, perm);
    return ir_build(b, IR_OP_TRANSPOSE, 1, &x, 1, &attr);
}

// ---------------------------------------------------------------- attributes

static IrAttr attr_of(IrAttrKey key, IrAttrKind kind) {
    if (ir_attr_kind(key) != kind) {
        ir_bug("ir_attr", NULL, "attribute %s is made as another kind", ir_attr_name(key));
    }
    return (IrAttr){.key = key};
}

IrAttr ir_attr_i(IrAttrKey key, int64_t i) {
    IrAttr a = attr_of(key, IR_KIND_INT);
    a.i = i;
    return a;
}

IrAttr ir_attr_f(IrAttrKey key, double f) {
    IrAttr a = attr_of(key, IR_KIND_FLOAT);
    a.f = f;
    return a;
}

IrAttr ir_attr_s(IrAttrKey key, const char *s) {
    IrAttr a = attr_of(key, IR_KIND_STR);
    a.s = s;
    return a;
}

IrAttr ir_attr_dims(IrAttrKey key, const IrShape *s) {
    IrAttr a = attr_of(key, IR_KIND_DIMS);
    a.dims = *s;
    return a;
}

IrAttr ir_attr_ints(IrArena *arena, IrAttrKey key, int n, const int64_t *v) {
    IrAttr a = attr_of(key, IR_KIND_INTS);
    a.ints = (IrInts){n, ir_alloc_array(arena, (size_t)n, sizeof *v)};
    if (n) {
        memcpy(a.ints.v, v, (size_t)n * sizeof *v);
    }
    return a;
}

IrAttr ir_attr_body(IrArena *arena, IrAttrKey key, const IrBody *body) {
    IrAttr a = attr_of(key, IR_KIND_BODY);
    a.body = (IrBody){body->n, ir_alloc_array(arena, (size_t)body->n, sizeof *body->step)};
    if (body->n) {
        memcpy(a.body.step, body->step, (size_t)body->n * sizeof *body->step);
    }
    return a;
}

IrAttr ir_attr_algo(IrConvAlgo algo) {
    IrAttr a = attr_of(IR_ATTR_ALGO, IR_KIND_ALGO);
    a.algo = algo;
    return a;
}

IrAttr ir_attr_tile(const IrConvTile *tile) {
    IrAttr a = attr_of(IR_ATTR_TILE, IR_KIND_TILE);
    a.tile = *tile;
    return a;
}

// FLOAT attributes of the step's op, of cast the type.
static int step_attrs(const IrStep *s, IrAttr *attrs) {
    int k = 0;
    for (int key = 0; key < IR_ATTR_COUNT && k < 2; key++) {
        if (ir_op_info(s->op)->attrs >> key & 1 && ir_attr_kind((IrAttrKey)key) == IR_KIND_FLOAT) {
            attrs[k] = ir_attr_f((IrAttrKey)key, s->p[k]);
            k++;
        }
    }
    if (s->op == IR_OP_CAST) {
        attrs[k++] = ir_attr_s(IR_ATTR_TO, ir_dtype_name((IrDtype)s->p[0]));
    }
    return k;
}

IrValue *ir_build_steps(IrBuilder *b, const IrBody *body, IrValue *const *in) {
    IrArena *a = b->graph->prog->arena;
    IrValue **made = ir_alloc_array(a, (size_t)body->n + 1, sizeof *made), *last = NULL;
    for (int i = 0; i < body->n; i++) {
        const IrStep *s = &body->step[i];
        IrValue *arg[3];
        IrAttr attrs[2];
        int n_in = ir_op_info(s->op)->max_in, n_attrs = step_attrs(s, attrs);
        for (int k = 0; k < n_in; k++) {
            arg[k] = s->arg[k] < 0 ? made[-1 - s->arg[k]] : in[s->arg[k]];
        }
        last = made[i] = ir_build(b, s->op, n_in, arg, n_attrs, attrs);
        if (!last) {
            return NULL;
        }
    }
    return last;
}
