// quant_exact: what comes out of a dequantize is of f64 until it is quantized again.
//
//   %x = dequantize %q, 0.3       ->    %x: f64 = mul (cast %q), 0.3
//   %y = resize %x, ...                 %y: f64 = resize %x, ...
//   %z = quantize %y, 0.3               %z: u8 = cast clip round div %y, 0.3
//
// For the reference evaluator alone. Weights of a resize or mean that are halves and quarters put
// many results right between two integers; in f32 the rounding of the product by the scale decides
// where they go, in f64 that product is exact, and so is the half, which goes to the even integer
// as in kernels that sum integers. What takes no f64 (an op's shape rule says so) reads f32.
//
// Floats that decide by more than a quantum, by floor, a comparison or a cast to integers, are what
// they were, and so is all that they are made of, back to where it is dequantized: 50 * 0.01f is
// 0.5 as ONNX has it, in f32, and a little less in f64.

#include "passes/quant/quant.h"

static bool is_float(const IrValue *v, IrDtype t) {
    return v && v->type.dtype == t;
}

static IrValue *wide(IrBuilder *b, IrValue *v) {
    return pass_quant_cast(b, v, IR_F64);
}

// int32 less its zero point is subtracted as such, as ir_quant_steps() does.
static IrValue *dequantize(IrBuilder *b, const IrNode *n) {
    IrValue *x = ir_in(n, 0), *zero = ir_in(n, 2);
    if (zero && ir_dtype_bytes(x->type.dtype) > 2) {
        x = pass_quant_check(b, ir_build2(b, IR_OP_SUB, x, zero));
        zero = NULL;
    }
    x = wide(b, x);
    x = zero ? pass_quant_check(b, ir_build2(b, IR_OP_SUB, x, wide(b, zero))) : x;
    return pass_quant_check(b, ir_build2(b, IR_OP_MUL, x, wide(b, ir_in(n, 1))));
}

static IrValue *quantize(IrBuilder *b, const IrNode *n) {
    IrDtype to = n->out[0]->type.dtype;
    IrAttr bounds[] = {ir_attr_f(IR_ATTR_MIN, ir_dtype_lowest(to)),
                       ir_attr_f(IR_ATTR_MAX, ir_dtype_highest(to))};
    IrValue *x = pass_quant_check(b, ir_build2(b, IR_OP_DIV, ir_in(n, 0), wide(b, ir_in(n, 1))));
    x = pass_quant_check(b, ir_build1(b, IR_OP_ROUND, x));
    if (ir_in(n, 2)) {
        x = pass_quant_check(b, ir_build2(b, IR_OP_ADD, x, wide(b, ir_in(n, 2))));
    }
    x = pass_quant_check(b, ir_build(b, IR_OP_CLIP, 1, &x, 2, bounds));
    return pass_quant_cast(b, x, to);
}

static void replace(IrNode *n, IrValue *now) {
    now->name = n->out[0]->name;
    ir_replace_uses(n->out[0], now);
    ir_remove_node(n);
}

static void cast_operands(IrBuilder *b, IrNode *n, IrDtype from, IrDtype to) {
    for (int i = 0; i < n->n_in; i++) {
        if (is_float(ir_in(n, i), from)) {
            ir_set_in(n, i, pass_quant_cast(b, ir_in(n, i), to));
        }
    }
}

static void widen(IrBuilder *b, IrNode *n) {
    cast_operands(b, n, IR_F32, IR_F64);
    if (ir_infer(n)) {
        cast_operands(b, n, IR_F64, IR_F32);
    }
}

static bool reads_wide(const IrNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        if (is_float(ir_in(n, i), IR_F64)) {
            return true;
        }
    }
    return false;
}

static void narrow_outputs(IrGraph *g, const IrType *type) {
    for (int i = 0; i < g->n_outputs; i++) {
        IrValue *v = g->outputs[i];
        if (v->type.dtype != type[i].dtype) {
            IrBuilder b = {.graph = g, .name = v->def->name, .src_op = v->def->src_op};
            ir_replace_output(g, i, pass_quant_cast(&b, v, type[i].dtype));
        }
    }
}

static bool jumps(const IrNode *n) {
    static const bool ops[IR_OP_COUNT] = {
        [IR_OP_FLOOR] = true,   [IR_OP_CEIL] = true, [IR_OP_ROUND] = true, [IR_OP_SIGN] = true,
        [IR_OP_REM] = true,     [IR_OP_MOD] = true,  [IR_OP_EQUAL] = true, [IR_OP_LESS] = true,
        [IR_OP_GREATER] = true, [IR_OP_CAST] = true,
    };
    bool from_float = ir_in(n, 0) && ir_dtype_is_float(ir_in(n, 0)->type.dtype);
    bool to_float = n->op == IR_OP_CAST && ir_dtype_is_float(n->out[0]->type.dtype);
    return ops[n->op] && from_float && !to_float;
}

// By the values' ids: floats that such a node's result is made of.
static bool *find_deciding(PassContext *ctx, const IrGraph *g) {
    bool *deciding = ir_alloc_array(ctx->scratch, (size_t)g->next_id + 1, sizeof *deciding);
    for (const IrNode *n = g->last; n; n = n->prev) {
        bool decides = jumps(n);
        for (int i = 0; i < n->n_out; i++) {
            decides |= deciding[n->out[i]->id];
        }
        for (int i = 0; decides && i < n->n_in; i++) {
            IrValue *v = ir_in(n, i);
            deciding[v ? v->id : 0] |= v && ir_dtype_is_float(v->type.dtype);
        }
    }
    return deciding;
}

PassResult pass_quant_exact(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    IrType *type = ir_alloc_array(ctx->scratch, (size_t)g->n_outputs + 1, sizeof *type);
    const bool *deciding = find_deciding(ctx, g);
    for (int i = 0; i < g->n_outputs; i++) {
        type[i] = g->outputs[i]->type;
    }
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        IrBuilder b = pass_before(n);
        if (n->op == IR_OP_DEQUANTIZE && !deciding[n->out[0]->id]) {
            replace(n, dequantize(&b, n));
            r.changes++;
        } else if (n->op == IR_OP_QUANTIZE && is_float(ir_in(n, 0), IR_F64)) {
            replace(n, quantize(&b, n));
        } else if (reads_wide(n)) {
            widen(&b, n);
        }
    }
    narrow_outputs(g, type);
    return r;
}
