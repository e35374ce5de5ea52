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
        bool varies = false, below = mixes(n->op);
        for (int i = 0; i < n->n_in; i++) {
            if (ir_in(n, i)) {
                varies = varies || f->varies[ir_in(n, i)->id];
                below = below || f->below[ir_in(n, i)->id];
            }
        }
        for (int i = 0; i < n->n_out; i++) {
            f->varies[n->out[i]->id] = varies;
            f->below[n->out[i]->id] = below;
        }
    }
}

static void mark_upwards(const IrGraph *g, PassFlow *f) {
    if (g->n_outputs) {
        f->reached[g->outputs[0]->id] = true;
    }
    for (const IrNode *n = g->last; n; n = n->prev) {
        bool reached = false;
        for (int i = 0; i < n->n_out; i++) {
            reached = reached || (f->reached[n->out[i]->id] && !is_flat(n->op));
        }
        for (int i = 0; reached && i < n->n_in; i++) {
            if (ir_in(n, i) && ir_dtype_is_float(ir_in(n, i)->type.dtype)) {
                f->reached[ir_in(n, i)->id] = true;
            }
        }
    }
}

enum { MOST_STEPS = 1 << 24 }; // a second; networks take thousands

PassFlow pass_flow(IrArena *a, const IrGraph *g) {
    PassFlow f = {.left = MOST_STEPS};
    f.reached = ir_alloc_array(a, g->next_id, sizeof *f.reached);
    f.varies = ir_alloc_array(a, g->next_id, sizeof *f.varies);
    f.below = ir_alloc_array(a, g->next_id, sizeof *f.below);
    f.seen = ir_alloc_array(a, g->next_id, sizeof *f.seen);
    mark_downwards(g, &f);
    mark_upwards(g, &f);
    return f;
}
