// v * k for nothing: k goes into constants that v is multiplied with already, through whatever is
// linear, or keeps its shape under a positive factor.
//
//   relu(add(mul(%a, 2), 3)), k = .5    ->    relu(add(mul(%a, 1), 1.5))
//
// Nodes change in place, so nobody else may read what lies between. k is above 0.
#include "passes/quant/quant.h"

enum { MAX_NODES = 32 };

typedef enum Rule {
    NONE,
    FACTOR, // an operand that is a constant takes k
    TERMS,  // all operands take it
    FIRST,  // operand 0 does
    BOUNDS, // that and the bounds
} Rule;

static const Rule rules[IR_OP_COUNT] = {
    [IR_OP_MUL] = FACTOR,        [IR_OP_ADD] = TERMS,        [IR_OP_SUB] = TERMS,
    [IR_OP_MAXIMUM] = TERMS,     [IR_OP_MINIMUM] = TERMS,    [IR_OP_CONCAT] = TERMS,
    [IR_OP_RELU] = FIRST,        [IR_OP_LEAKY_RELU] = FIRST, [IR_OP_PRELU] = FIRST,
    [IR_OP_ABS] = FIRST,         [IR_OP_NEG] = FIRST,        [IR_OP_RESHAPE] = FIRST,
    [IR_OP_TRANSPOSE] = FIRST,   [IR_OP_MAX_POOL] = FIRST,   [IR_OP_AVG_POOL] = FIRST,
    [IR_OP_REDUCE_MEAN] = FIRST, [IR_OP_REDUCE_SUM] = FIRST, [IR_OP_REDUCE_MAX] = FIRST,
    [IR_OP_REDUCE_MIN] = FIRST,  [IR_OP_CLIP] = BOUNDS,
};

static int factor_of(const IrNode *n) {
    return pass_is_frozen(ir_in(n, 1)) ? 1 : pass_is_frozen(ir_in(n, 0)) ? 0 : -1;
}

static bool can_scale(const IrValue *v, int *left) {
    const IrNode *n = v->def;
    if (v->type.dtype != IR_F32 || --*left < 0) {
        return false;
    }
    if (pass_is_frozen(v)) {
        return true;
    }
    if (!n || !rules[n->op] || v->n_uses != 1 || v->is_output || ir_attr(n, IR_ATTR_TO) ||
        (ir_op_info(n->op)->attrs & IR_BIT(THEN) && ir_body(n, IR_ATTR_THEN).n)) {
        return false;
    }
    if (rules[n->op] == FACTOR) {
        return factor_of(n) >= 0;
    }
    bool fine = true;
    for (int i = 0; i < (rules[n->op] == TERMS ? n->n_in : 1) && fine; i++) {
        fine = can_scale(ir_in(n, i), left);
    }
    return fine;
}

static IrValue *scale_const(PassContext *ctx, IrNode *at, IrValue *v, double k) {
    int64_t dims[IR_MAX_RANK], elems = pass_elems(&v->type);
    float *data;
    for (int i = 0; i < v->type.shape.rank; i++) {
        dims[i] = v->type.shape.dim[i].c;
    }
    IrValue *y = pass_const_f32(ctx, at->graph, "", v->type.shape.rank, dims, &data);
    for (int64_t i = 0; i < elems; i++) {
        data[i] = (float)(pass_elem(ctx, v, i) * k);
    }
    return y;
}

static void scale(PassContext *ctx, IrNode *n, int i, double k) {
    IrValue *v = ir_in(n, i);
    IrNode *def = v->def;
    if (pass_is_frozen(v)) {
        ir_set_in(n, i, scale_const(ctx, n, v, k));
        return;
    }
    if (rules[def->op] == FACTOR) {
        int at = factor_of(def);
        ir_set_in(def, at, scale_const(ctx, def, ir_in(def, at), k));
        return;
    }
    for (int a = 0; a < (rules[def->op] == TERMS ? def->n_in : 1); a++) {
        scale(ctx, def, a, k);
    }
    if (rules[def->op] == BOUNDS) {
        double p[2];
        ir_step_params(def, p);
        ir_set_attr(def, ir_attr_f(IR_ATTR_MIN, p[0] * k));
        ir_set_attr(def, ir_attr_f(IR_ATTR_MAX, p[1] * k));
    }
}

bool pass_quant_scale(PassContext *ctx, IrNode *n, int i, double k) {
    int left = MAX_NODES;
    if (k == 1) {
        return true;
    }
    if (!ir_in(n, i)->def || !can_scale(ir_in(n, i), &left)) {
        return false;
    }
    scale(ctx, n, i, k);
    return true;
}
