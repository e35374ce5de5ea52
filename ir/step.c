// Nodes as steps of a body: their numbers and types, and quantize and dequantize, which are
// several.
#include "ir/ir.h"
#include <math.h>
#include <string.h>

static const struct {
    IrOp op;
    double p[2];
} absent_params[] = {
    // LeakyRelu-16, Elu-6, Clip-13, HardSigmoid-6
    {IR_OP_LEAKY_RELU, {0.01, 0}},
    {IR_OP_ELU, {1, 0}},
    {IR_OP_CLIP, {-INFINITY, INFINITY}},
    {IR_OP_HARD_SIGMOID, {0.2, 0.5}},
};

void ir_step_params(const IrNode *n, double p[2]) {
    IrDtype to;
    p[0] = p[1] = 0;
    for (size_t i = 0; i < sizeof absent_params / sizeof *absent_params; i++) {
        if (absent_params[i].op == n->op) {
            memcpy(p, absent_params[i].p, sizeof absent_params[i].p);
        }
    }
    for (int key = 0, k = 0; key < IR_ATTR_COUNT && k < 2; key++) {
        if (ir_op_info(n->op)->attrs >> key & 1 && ir_attr_kind((IrAttrKey)key) == IR_KIND_FLOAT) {
            p[k] = ir_float(n, (IrAttrKey)key, p[k]);
            k++;
        }
    }
    if (n->op == IR_OP_CAST && ir_dtype_parse(ir_str(n, IR_ATTR_TO, ""), &to)) {
        p[0] = to;
    }
}

IrDtype ir_step_dtype(const IrStep *s, IrDtype arg) {
    return s->op == IR_OP_CAST                    ? (IrDtype)s->p[0]
           : ir_op_info(s->op)->flags & IR_FLAG_B ? IR_BOOL
                                                  : arg;
}

typedef struct Steps {
    int n;
    IrStep *v;
} Steps;

static int add_step(Steps *s, IrOp op, int x, int y, double p, double q) {
    s->v[s->n] = (IrStep){op, {x, y}, {p, q}};
    return IR_STEP(s->n++);
}

// int32 loses digits as f32: what is subtracted from it is subtracted before.
static void dequantize_steps(Steps *s, const IrNode *n) {
    int x = 0;
    bool zero = ir_in(n, 2) != NULL, wide = ir_dtype_bytes(ir_in(n, 0)->type.dtype) > 2;
    if (zero && wide) {
        x = add_step(s, IR_OP_SUB, x, 2, 0, 0);
    }
    x = add_step(s, IR_OP_CAST, x, 0, IR_F32, 0);
    if (zero && !wide) {
        x = add_step(s, IR_OP_SUB, x, add_step(s, IR_OP_CAST, 2, 0, IR_F32, 0), 0, 0);
    }
    add_step(s, IR_OP_MUL, x, 1, 0, 0);
}

int ir_quant_steps(const IrNode *n, IrStep step[IR_QUANT_STEPS]) {
    Steps s = {0, step};
    IrDtype to;
    if (n->op == IR_OP_DEQUANTIZE) {
        dequantize_steps(&s, n);
    } else if (ir_dtype_parse(ir_str(n, IR_ATTR_TO, ""), &to)) {
        int x = add_step(&s, IR_OP_ROUND, add_step(&s, IR_OP_DIV, 0, 1, 0, 0), 0, 0, 0);
        if (ir_in(n, 2)) {
            x = add_step(&s, IR_OP_ADD, x, add_step(&s, IR_OP_CAST, 2, 0, IR_F32, 0), 0, 0);
        }
        x = add_step(&s, IR_OP_CLIP, x, 0, ir_dtype_lowest(to), ir_dtype_highest(to));
        add_step(&s, IR_OP_CAST, x, 0, to, 0);
    }
    return s.n;
}
