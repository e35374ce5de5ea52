// What depends on what in a network that is to train: from its inputs on down, and from its output
// on up.
#include "passes/train/flow.h"

bool pass_only_moves(IrOp op) {
    static const bool moves[IR_OP_COUNT] = {
        [IR_OP_COPY] = true,       [IR_OP_RESHAPE] = true,
        [IR_OP_TRANSPOSE] = true,  [IR_OP_EXPAND] = true,
        [IR_OP_SLICE] = true,      [IR_OP_GATHER] = true,
        [IR_OP_GATHER_ND] = true,  [IR_OP_GATHER_ELEMENTS] = true,
        [IR_OP_CONCAT] = true,     [IR_OP_PAD] = true,
        [IR_OP_CAST] = true,       [IR_OP_RESIZE] = true,
        [IR_OP_SLICE_GRAD] = true,
    };
    return moves[op];
}

// Steps: flat wherever they have a slope, so that nothing above them trains.
static bool is_flat(IrOp op) {
    return op == IR_OP_FLOOR || op == IR_OP_CEIL || op == IR_OP_ROUND || op == IR_OP_SIGN;
}

// Where what comes in is no longer the image, shifted and scaled.
static bool mixes(IrOp op) {
    static const bool mixing[IR_OP_COUNT] = {
        [IR_OP_CONV] = true,       [IR_OP_MATMUL] = true,      [IR_OP_CONV_DGRAD] = true,
        [IR_OP_BATCH_NORM] = true, [IR_OP_REDUCE_SUM] = true,  [IR_OP_REDUCE_MEAN] = true,
        [IR_OP_LRN] = true,        [IR_OP_REDUCE_MAX] = true,  [IR_OP_REDUCE_MIN] = true,
        [IR_OP_SOFTMAX] = true,    [IR_OP_LOG_SOFTMAX] = true, [IR_OP_REDUCE_PROD] = true,
    };
    return mixing[op];
}

// Parameters may be inputs already: those without N in their shape, beside others with it.
static void mark_inputs(const IrGraph *g, PassFlow *f) {
    bool any = false;
    for (int i = 0; i < g->n_inputs; i++) {
        any = any || !ir_shape_is_static(&g->inputs[i]->type.shape);
    }
    for (int i = 0; i < g->n_inputs; i++) {
        f->varies[g->inputs[i]->id] = !any || !ir_shape_is_static(&g->inputs[i]->type.shape);
    }
}

static void mark_downwards(const IrGraph *g, PassFlow *f) {
    mark_inputs(g, f);
    for (const IrNode *n = g->first; n; n = n->next) {
        bool varies = false, below = false;
        for (int i = 0; i < n->n_in; i++) {
            if (ir_in(n, i)) {
                varies = varies || f->varies[ir_in(n, i)->id];
                below = below || f->below[ir_in(n, i)->id];
            }
        }
        below = below || (mixes(n->op) && !(varies && pass_is_preprocessing(g->prog, n)));
        for (int i = 0; i < n->n_out; i++) {
            f->varies[n->out[i]->id] = varies;
            f->below[n->out[i]->id] = below;
        }
    }
}

// The constant that v is, under its own shape or another; false: it is none.
static bool read_constant(IrProgram *p, const IrValue *v, IrTensor *out) {
    const IrType type = v->type;
    while (v->def && (v->def->op == IR_OP_RESHAPE || v->def->op == IR_OP_COPY)) {
        v = ir_in(v->def, 0);
    }
    if (!v->konst || v->konst->kind == IR_CONST_RAND || !ir_shape_is_static(&type.shape)) {
        return false;
    }
    *out = (IrTensor){.dtype = type.dtype, .rank = type.shape.rank};
    for (int i = 0; i < out->rank; i++) {
        out->dim[i] = type.shape.dim[i].c;
    }
    out->data = (void *)ir_const_data(p, v->konst); // read only
    return true;
}

enum { MOST_COMPARED = 1 << 22 };

// A mask that is a constant, or a comparison of constants (mask == 0).
static bool read_mask(IrArena *a, const IrGraph *g, const IrValue *v, IrTensor *out) {
    const IrNode *n = v->def;
    IrDim elems;
    if (read_constant(g->prog, v, out)) {
        return true;
    }
    if (!n || !(ir_op_info(n->op)->flags & IR_FLAG_B) || n->n_in != 2 ||
        !ir_shape_elems(&v->type.shape, &elems) || elems.n || elems.c > MOST_COMPARED) {
        return false;
    }
    IrTensor operands[2];
    const IrTensor *in[2] = {&operands[0], &operands[1]};
    return read_constant(g->prog, ir_in(n, 0), &operands[0]) &&
           read_constant(g->prog, ir_in(n, 1), &operands[1]) && !ir_eval_node(n, 1, in, out, a);
}

// Where never takes a branch that its constant mask excludes. Sets what is reached of its operands.
static void mark_branches(IrArena *a, const IrGraph *g, PassFlow *f, const IrNode *n) {
    IrTensor mask;
    bool takes[2] = {true, true};
    if (read_mask(a, g, ir_in(n, 0), &mask)) {
        int64_t count = ir_tensor_elems(&mask), ones = 0;
        for (int64_t i = 0; i < count; i++) {
            ones += ((const uint8_t *)mask.data)[i] != 0;
        }
        takes[0] = ones > 0;
        takes[1] = ones < count;
    }
    for (int i = 0; i < 2; i++) {
        f->reached[ir_in(n, i + 1)->id] = f->reached[ir_in(n, i + 1)->id] || takes[i];
    }
}

static bool is_reached(const PassFlow *f, const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        if (f->reached[n->out[i]->id]) {
            return true;
        }
    }
    return false;
}

// The slice reads nothing at `from` to `to` of an axis.
static bool misses(const IrNode *slice, int axis, int64_t from, int64_t to) {
    int64_t first = ir_ints(slice, IR_ATTR_START).v[axis];
    int64_t last =
        first + (slice->out[0]->type.shape.dim[axis].c - 1) * ir_ints(slice, IR_ATTR_STEP).v[axis];
    return (first < from && last < from) || (first >= to && last >= to);
}

// Whatever reads the concat cuts operand `index` off again: a token that no block has seen.
static bool is_cut_off(const IrGraph *g, const PassFlow *f, const IrNode *n, int index) {
    if (n->op != IR_OP_CONCAT || n->out[0] == g->outputs[0]) {
        return false;
    }
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    int64_t from = 0, to = 0;
    for (int i = 0; i <= index; i++) {
        IrDim d = ir_in(n, i)->type.shape.dim[axis];
        if (d.n) {
            return false;
        }
        from = to;
        to += d.c;
    }
    for (const IrUse *u = n->out[0]->uses; u; u = u->next) {
        bool slice = u->node->op == IR_OP_SLICE;
        if (is_reached(f, u->node) && !(slice && misses(u->node, axis, from, to))) {
            return false;
        }
    }
    return true;
}

static void mark_upwards(IrArena *a, const IrGraph *g, PassFlow *f) {
    if (g->n_outputs) {
        f->reached[g->outputs[0]->id] = true;
    }
    for (const IrNode *n = g->last; n; n = n->prev) {
        bool reached = !is_flat(n->op) && is_reached(f, n);
        bool where = n->op == IR_OP_WHERE && ir_dtype_is_float(n->out[0]->type.dtype);
        if (reached && where) {
            mark_branches(a, g, f, n);
        }
        for (int i = 0; reached && !where && i < n->n_in; i++) {
            if (ir_in(n, i) && ir_dtype_is_float(ir_in(n, i)->type.dtype) &&
                !is_cut_off(g, f, n, i)) {
                f->reached[ir_in(n, i)->id] = true;
            }
        }
    }
}

static int64_t count_channels(const IrGraph *g) {
    const IrShape *s = g->n_inputs ? &g->inputs[0]->type.shape : NULL;
    if (!s || s->rank != 4 || s->dim[1].n || s->dim[3].n) {
        return 0;
    }
    return s->dim[1].c <= s->dim[3].c ? s->dim[1].c : s->dim[3].c;
}

enum { MOST_STEPS = 1 << 24 }; // a second; networks take thousands

PassFlow pass_flow(IrArena *a, const IrGraph *g) {
    PassFlow f = {.left = MOST_STEPS, .channels = count_channels(g)};
    f.reached = ir_alloc_array(a, g->next_id, sizeof *f.reached);
    f.varies = ir_alloc_array(a, g->next_id, sizeof *f.varies);
    f.below = ir_alloc_array(a, g->next_id, sizeof *f.below);
    f.seen = ir_alloc_array(a, g->next_id, sizeof *f.seen);
    mark_downwards(g, &f);
    mark_upwards(a, g, &f);
    return f;
}
