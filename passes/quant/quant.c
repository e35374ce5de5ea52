// Scales, zero points and small nodes: see quant.h.
#include "passes/quant/quant.h"
#include <math.h>
#include <string.h>

// Products of three such, and of their reciprocals, are finite floats.
static bool is_usual(double scale) {
    return scale > 1e-12 && scale < 1e12;
}

bool pass_quant_read(PassContext *ctx, const IrNode *n, PassQuant *q) {
    double zero = 0;
    const IrValue *of = n->op == IR_OP_QUANTIZE ? n->out[0] : ir_in(n, 0);
    *q = (PassQuant){.type = of->type.dtype};
    if (!pass_scalar(ctx, ir_in(n, 1), &q->scale) || !is_usual(q->scale) ||
        (ir_in(n, 2) && !pass_scalar(ctx, ir_in(n, 2), &zero))) {
        return false;
    }
    q->zero = (int64_t)zero;
    return true;
}

bool pass_quant_same(const PassQuant *a, const PassQuant *b) {
    return a->type == b->type && a->scale == b->scale && a->zero == b->zero;
}

double pass_quant_of(const PassQuant *q, double x) {
    double y = nearbyint((float)(x / q->scale)) + (double)q->zero;
    double low = ir_dtype_lowest(q->type), high = ir_dtype_highest(q->type);
    return y < low ? low : y > high ? high : y;
}

IrValue *pass_quant_const(PassContext *ctx, IrNode *at, const IrType *type, const void *data) {
    return ir_const_value(at->graph, ir_const_new(ctx->prog, NULL, *type, data));
}

IrValue *pass_quant_check(IrBuilder *b, IrValue *v) {
    if (!v) {
        ir_bug("quant", b->name, "%s", b->err ? b->err : "a node could not be built");
    }
    return v;
}

IrValue *pass_quant_with(IrBuilder *b, IrOp op, IrValue *x, double c) {
    bool nothing = op == IR_OP_MUL || op == IR_OP_DIV ? c == 1 : c == 0;
    return nothing ? x : pass_quant_check(b, ir_build2(b, op, x, ir_build_scalar(b, IR_F32, c)));
}

IrValue *pass_quant_cast(IrBuilder *b, IrValue *x, IrDtype to) {
    IrAttr attr = ir_attr_s(IR_ATTR_TO, ir_dtype_name(to));
    return x->type.dtype == to ? x : pass_quant_check(b, ir_build(b, IR_OP_CAST, 1, &x, 1, &attr));
}
