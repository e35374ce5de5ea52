// Tests of numbers, bits and remainders: elementwise operators that give bool or work on integers.
#include "frontend/import.h"

#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- tests

// IsNaN-20: a number is equal to itself.
void fe_import_is_nan(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    fe_out(n, 0, fe_un(n, IR_OP_NOT, fe_bin(n, IR_OP_EQUAL, x, x)));
}

// IsInf-20: detect_negative and detect_positive choose; with neither, nothing is (x < x).
void fe_import_is_inf(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    bool below = fe_attr_int(n, "detect_negative", 1) != 0;
    bool above = fe_attr_int(n, "detect_positive", 1) != 0;
    if (!below && !above) {
        fe_out(n, 0, fe_bin(n, IR_OP_LESS, x, x));
        return;
    }
    IrValue *y = below && above ? fe_un(n, IR_OP_ABS, x) : x;
    fe_out(n, 0, fe_op_const(n, IR_OP_EQUAL, y, above ? INFINITY : -INFINITY));
}

// ---------------------------------------------------------------- bits

// BitwiseNot-18: ~x, which is -x - 1 in two's complement.
void fe_import_bitwise_not(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    if (!n->refused && (ir_dtype_is_float(x->type.dtype) || x->type.dtype == IR_BOOL)) {
        fe_refuse(n, "bits of %s, only integers have them", ir_dtype_name(x->type.dtype));
    }
    fe_out(n, 0, fe_op_const(n, IR_OP_SUB, fe_un(n, IR_OP_NEG, x), 1));
}

// BitShift-11, of unsigned integers
void fe_import_bit_shift(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y = fe_operand(n, 1);
    const char *to = fe_attr_str(n, "direction", "");
    bool left = strcmp(to, "LEFT") == 0;
    if (!left && strcmp(to, "RIGHT") != 0) {
        fe_refuse(n, "direction '%s' is neither LEFT nor RIGHT", to);
    }
    fe_out(n, 0, fe_bin(n, left ? IR_OP_SHIFT_LEFT : IR_OP_SHIFT_RIGHT, x, y));
}

// ---------------------------------------------------------------- remainders

// Floats whose remainder has the divisor's sign: fmod, and the divisor more where the signs differ.
static IrValue *floor_mod(FeNode *n, IrValue *x, IrValue *y) {
    IrValue *r = fe_bin(n, IR_OP_REM, x, y), *low = fe_op_const(n, IR_OP_LESS, r, 0);
    IrValue *same = fe_bin(n, IR_OP_EQUAL, low, fe_op_const(n, IR_OP_LESS, y, 0));
    same = fe_bin(n, IR_OP_OR, same, fe_op_const(n, IR_OP_EQUAL, r, 0));
    return fe_build(n, IR_OP_WHERE, FE_IN(same, r, fe_bin(n, IR_OP_ADD, r, y)), 0, NULL);
}

// Mod-13: with fmod the sign is the dividend's, as C has it, else the divisor's; before version 28
// only integers may be divided so.
void fe_import_mod(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y = fe_operand(n, 1);
    int64_t c = fe_attr_int(n, "fmod", 0);
    if (c != 0 && c != 1) {
        fe_refuse(n, "fmod is %lld, it must be 0 or 1", (long long)c);
    }
    bool floats = !n->refused && n->since >= 28 && ir_dtype_is_float(x->type.dtype) && !c;
    fe_out(n, 0, floats ? floor_mod(n, x, y) : fe_bin(n, c ? IR_OP_REM : IR_OP_MOD, x, y));
}
