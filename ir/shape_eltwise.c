// Shape rules of ops whose result has an operand's shape, or the broadcast of several (numpy rules;
// N goes with N and with 1): elementwise ops, map with its body, and the epilogues of other ops.
#include "ir/shape.h"

// Ops that are defined on floating point alone.
static const bool FLOAT_ONLY[IR_OP_COUNT] = {
    [IR_OP_LEAKY_RELU] = true,   [IR_OP_ELU] = true,        [IR_OP_SIGMOID] = true,
    [IR_OP_HARD_SIGMOID] = true, [IR_OP_HARD_SWISH] = true, [IR_OP_TANH] = true,
    [IR_OP_ERF] = true,          [IR_OP_EXP] = true,        [IR_OP_LOG] = true,
    [IR_OP_SQRT] = true,         [IR_OP_FLOOR] = true,      [IR_OP_CEIL] = true,
    [IR_OP_LRN] = true,          [IR_OP_SOFTMAX] = true,    [IR_OP_LOG_SOFTMAX] = true,
    [IR_OP_RELU_GRAD] = true,    [IR_OP_ROUND] = true,      [IR_OP_SIN] = true,
    [IR_OP_COS] = true,          [IR_OP_TAN] = true,        [IR_OP_ASIN] = true,
    [IR_OP_ACOS] = true,         [IR_OP_ATAN] = true,       [IR_OP_SINH] = true,
    [IR_OP_COSH] = true,         [IR_OP_ASINH] = true,      [IR_OP_ACOSH] = true,
    [IR_OP_ATANH] = true,        [IR_OP_ROUND_F16] = true,  [IR_OP_ROUND_BF16] = true,
    [IR_OP_GELU] = true,
};

// And on integers alone.
static const bool INTEGER_ONLY[IR_OP_COUNT] = {
    [IR_OP_MOD] = true,     [IR_OP_BIT_AND] = true,    [IR_OP_BIT_OR] = true,
    [IR_OP_BIT_XOR] = true, [IR_OP_SHIFT_LEFT] = true, [IR_OP_SHIFT_RIGHT] = true,
};

typedef enum Domain { NUMBERS, FLOATS, INTEGERS, BOOLS, ANYTHING } Domain;

// What an op computes on; WHERE's condition apart, all its operands agree.
static Domain domain_of(IrOp op) {
    bool logical = op == IR_OP_NOT || op == IR_OP_AND || op == IR_OP_OR;
    bool moves = op == IR_OP_WHERE || op == IR_OP_EQUAL || op == IR_OP_COPY || op == IR_OP_REORDER;
    return FLOAT_ONLY[op]     ? FLOATS
           : INTEGER_ONLY[op] ? INTEGERS
           : logical          ? BOOLS
           : moves            ? ANYTHING
                              : NUMBERS;
}

// The dtype of an elementwise op's result on operands of these dtypes; NULL when they do not fit.
static const char *result_dtype(const IrNode *n, IrOp op, int n_in, const IrDtype *in,
                                IrDtype *out) {
    static const char *const NEEDS[] = {"numbers", "floating point", "integers", "bool", ""};
    const char *text = ir_op_info(op)->text;
    int first = op == IR_OP_WHERE;
    if (first && in[0] != IR_BOOL) {
        return ir_why(n, "the condition of %s is %s, it must be bool", text, ir_dtype_name(in[0]));
    }
    for (int i = first + 1; i < n_in; i++) {
        if (in[i] != in[first]) {
            return ir_why(n, "%s of %s and %s: the types must agree", text,
                          ir_dtype_name(in[first]), ir_dtype_name(in[i]));
        }
    }
    Domain d = domain_of(op);
    IrDtype t = in[first];
    bool fits =
        d == ANYTHING || (d == FLOATS && ir_dtype_is_float(t)) || (d == NUMBERS && t != IR_BOOL) ||
        (d == INTEGERS && t != IR_BOOL && !ir_dtype_is_float(t)) || (d == BOOLS && t == IR_BOOL);
    if (!fits) {
        return ir_why(n, "%s of %s: it works on %s", text, ir_dtype_name(t), NEEDS[d]);
    }
    *out = ir_op_info(op)->flags & IR_FLAG_B ? IR_BOOL : t;
    return NULL;
}

// The common shape of all operands.
static const char *broadcast_all(const IrNode *n, IrShape *out) {
    *out = (IrShape){0};
    for (int i = 0; i < n->n_in; i++) {
        IrShape before = *out;
        if (!ir_shape_broadcast(&before, &ir_in_type(n, i)->shape, out)) {
            return ir_why(n, "operands %s and %s do not broadcast",
                          ir_type_text(n, &(IrType){ir_in_type(n, 0)->dtype, before, 0}),
                          ir_operand_text(n, i));
        }
    }
    return NULL;
}

static const char *set_broadcast(IrNode *n) {
    IrShape s;
    IrDtype in[3], out;
    const char *why = broadcast_all(n, &s);
    for (int i = 0; i < n->n_in; i++) {
        in[i] = ir_in_type(n, i)->dtype;
    }
    why = why ? why : result_dtype(n, n->op, n->n_in, in, &out);
    if (!why) {
        ir_set_result(n, out, &s);
    }
    return why;
}

// ONNX Softmax 13, LRN 13, and all elementwise ops of one operand.
const char *ir_shape_unary(IrNode *n) {
    int rank = ir_in_type(n, 0)->shape.rank;
    const char *why = NULL;
    if (ir_op_info(n->op)->attrs & IR_BIT(AXIS)) {
        why = ir_attr(n, IR_ATTR_AXIS) ? ir_need_axis(n, ir_int(n, IR_ATTR_AXIS, 0), rank)
                                       : "attribute axis is missing";
    }
    if (n->op == IR_OP_LRN) {
        why = ir_need_rank(n, 0, 2, IR_MAX_RANK);
        why = why ? why : ir_need_fixed(n, 0, 1);
        int64_t size = ir_int(n, IR_ATTR_SIZE, 0);
        why = why || size > 0 ? why
                              : ir_why(n, "size is %lld, it must be at least 1", (long long)size);
    }
    if (n->op == IR_OP_REORDER) {
        why = ir_need_rank(n, 0, 2, IR_MAX_RANK);
    }
    return why ? why : set_broadcast(n);
}

const char *ir_shape_binary(IrNode *n) {
    const char *why = set_broadcast(n);
    if (!why && n->op == IR_OP_PRELU) { // ONNX PRelu 16: the slope broadcasts to x, not x to it
        why = ir_need_broadcast_to(n, 1, &ir_in_type(n, 0)->shape);
    }
    return why;
}

const char *ir_shape_where(IrNode *n) {
    return set_broadcast(n);
}

const char *ir_shape_cast(IrNode *n) {
    IrDtype to;
    const char *text = ir_str(n, IR_ATTR_TO, "");
    if (!ir_dtype_parse(text, &to)) {
        return ir_why(n, "cast to '%s', which is no element type", text);
    }
    ir_set_result(n, to, &ir_in_type(n, 0)->shape);
    return NULL;
}

const char *ir_shape_bitcast(IrNode *n) {
    const char *why = ir_shape_cast(n);
    IrDtype from = ir_in_type(n, 0)->dtype;
    if (!why && (ir_dtype_bytes(n->out[0]->type.dtype) != ir_dtype_bytes(from) ||
                 n->out[0]->type.dtype == IR_BOOL)) {
        why = ir_why(n, "bits of %s cannot be %s", ir_dtype_name(from),
                     ir_dtype_name(n->out[0]->type.dtype));
    }
    return why;
}

// Scale and zero of quantize and dequantize, whose integers are of type t.
static const char *check_quantizer(const IrNode *n, IrDtype t) {
    const IrShape *x = &ir_in_type(n, 0)->shape;
    const char *why = ir_need_broadcast_to(n, 1, x);
    if (ir_dtype_is_float(t) || t == IR_BOOL || ir_dtype_bytes(t) > 4) {
        why = ir_why(n, "%s of %s", ir_op_info(n->op)->text, ir_dtype_name(t));
    } else if (ir_in_type(n, 1)->dtype != IR_F32) {
        why = ir_why(n, "operand 1 is %s, a scale is f32", ir_operand_text(n, 1));
    } else if (ir_in(n, 2) && ir_in_type(n, 2)->dtype != t) {
        why = ir_why(n, "operand 2 is %s, the integers are %s", ir_operand_text(n, 2),
                     ir_dtype_name(t));
    }
    return why || !ir_in(n, 2) ? why : ir_need_broadcast_to(n, 2, x);
}

const char *ir_shape_quantize(IrNode *n) {
    IrDtype to;
    const char *text = ir_str(n, IR_ATTR_TO, "");
    if (!ir_dtype_parse(text, &to) || ir_dtype_bytes(to) > 2) {
        return ir_why(n, "quantize to '%s', which is no integer of 8 or 16 bits", text);
    }
    const char *why = check_quantizer(n, to);
    if (!why && ir_in_type(n, 0)->dtype != IR_F32) {
        why = ir_why(n, "operand 0 is %s, it must be f32", ir_operand_text(n, 0));
    }
    if (!why) {
        ir_set_result(n, to, &ir_in_type(n, 0)->shape);
    }
    return why;
}

const char *ir_shape_dequantize(IrNode *n) {
    const char *why = check_quantizer(n, ir_in_type(n, 0)->dtype);
    if (!why) {
        ir_set_result(n, IR_F32, &ir_in_type(n, 0)->shape);
    }
    return why;
}

// ---------------------------------------------------------------- bodies

// The dtype of argument `arg` of step `at`, the dtypes of the steps before being known.
static const char *arg_dtype(const IrNode *n, const IrDtype *done, int at, int arg,
                             const IrType *acc, int first, IrDtype *out) {
    if (arg < 0 && arg >= -at) {
        *out = done[-1 - arg];
    } else if (arg == IR_ACC && acc) {
        *out = acc->dtype;
    } else if (arg >= first && arg < n->n_in) {
        *out = ir_in_type(n, arg)->dtype;
    } else if (arg < 0) {
        return ir_why(n, "step %d uses s%d, which is not before it", at, -1 - arg);
    } else if (arg == IR_ACC) {
        return ir_why(n, "step %d uses acc, which %s does not have", at, ir_op_info(n->op)->text);
    } else if (arg < first) {
        return ir_why(n, "step %d uses operand %d, a body has those from %d on", at, arg, first);
    } else {
        return ir_why(n, "step %d uses operand %d of %d", at, arg, n->n_in);
    }
    return NULL;
}

// The type of step `at`, its arguments being of types in[].
static const char *type_step(const IrNode *n, const IrStep *s, int at, const IrDtype *in,
                             IrDtype *out) {
    if (s->op != IR_OP_CAST) {
        return result_dtype(n, s->op, ir_op_info(s->op)->max_in, in, out);
    }
    if (!(s->p[0] >= 0 && s->p[0] < IR_DTYPE_COUNT)) {
        return ir_why(n, "step %d casts to no element type", at);
    }
    *out = ir_step_dtype(s, in[0]);
    return NULL;
}

const char *ir_check_body(const IrNode *n, const IrBody *body, const IrType *acc, int first,
                          IrDtype *out) {
    const char *why = NULL;
    IrDtype few[32];
    IrDtype *done =
        body->n <= 32 ? few : ir_alloc_array(n->graph->prog->arena, (size_t)body->n, sizeof *done);
    for (int i = 0; i < body->n && !why; i++) {
        const IrStep *s = &body->step[i];
        if ((unsigned)s->op >= IR_OP_COUNT || !(ir_op_info(s->op)->flags & IR_FLAG_E)) {
            return ir_why(n, "step %d is no elementwise op", i);
        }
        IrDtype in[3] = {0};
        int n_in = ir_op_info(s->op)->max_in;
        for (int k = 0; k < n_in && !why; k++) {
            why = arg_dtype(n, done, i, s->arg[k], acc, first, &in[k]);
        }
        why = why ? why : type_step(n, s, i, in, &done[i]);
    }
    if (!why && body->n > 0) {
        *out = done[body->n - 1];
    }
    return why;
}

const char *ir_shape_map(IrNode *n) {
    IrBody body = ir_body(n, IR_ATTR_BODY);
    IrShape s;
    IrDtype out;
    const char *why = body.n > 0 ? broadcast_all(n, &s) : "a map needs at least one step";
    why = why ? why : ir_check_body(n, &body, NULL, 0, &out);
    if (!why) {
        ir_set_result(n, out, &s);
    }
    return why;
}

// No step of the epilogue names an operand of the prologue.
static const char *check_apart(const IrNode *n, const IrBody *then, int end) {
    for (int i = 0; i < then->n; i++) {
        int n_arg = ir_op_info(then->step[i].op)->max_in;
        for (int k = 0; k < n_arg; k++) {
            int arg = then->step[i].arg[k];
            if (arg >= end && arg < n->n_in) {
                return ir_why(n, "step %d uses operand %d, the prologue has those from %d on", i,
                              arg, end);
            }
        }
    }
    return NULL;
}

const char *ir_check_epilogue(IrNode *n) {
    IrBody then = ir_body(n, IR_ATTR_THEN);
    IrType own = n->out[0]->type;
    int first = ir_op_info(n->op)->max_in, end = ir_prologue(n);
    const char *why = NULL;
    for (int i = first; i < end && !why; i++) {
        why = ir_need_broadcast_to(n, i, &own.shape);
    }
    if (!why && then.n > 0) {
        why = ir_check_body(n, &then, &own, first, &n->out[0]->type.dtype);
        why = why ? why : check_apart(n, &then, end);
    }
    return why;
}

const char *ir_check_prologue(IrNode *n) {
    IrBody pre = ir_body(n, IR_ATTR_PRE);
    const IrType *x = ir_in_type(n, 0);
    const char *why = NULL;
    for (int i = ir_prologue(n); i < n->n_in && !why; i++) {
        why = ir_need_broadcast_to(n, i, &x->shape);
    }
    IrDtype out = x->dtype;
    why = why || pre.n <= 0 ? why : ir_check_body(n, &pre, x, ir_op_info(n->op)->max_in, &out);
    if (!why && out != x->dtype) {
        why = ir_why(n, "the prologue makes %s of %s", ir_dtype_name(out), ir_dtype_name(x->dtype));
    }
    return why;
}
