// Casts that look at bits: BitCast, and Cast to floats of 8 and 4 bits, which are f32 here, rounded
// to what the narrow type holds:
//
//   unit = 2^(exponent of |x|, at least the least one) * 2^-mantissa      from the bits of |x|
//   y    = (|x| + 1.5 * 2^23 * unit) - 1.5 * 2^23 * unit                 nearest, halves to even
//
// then what is beyond the greatest number, NaN and the sign.
#include "frontend/import/bits.h"

#include <float.h>
#include <math.h>
#include <string.h>

static IrValue *bitcast(FeNode *n, IrValue *x, IrDtype to) {
    return fe_build(n, IR_OP_BITCAST, FE_IN(x), FE_WITH(ir_attr_s(IR_ATTR_TO, ir_dtype_name(to))));
}

static IrValue *choose(FeNode *n, IrValue *condition, IrValue *x, IrValue *y) {
    return fe_build(n, IR_OP_WHERE, FE_IN(condition, x, y), 0, NULL);
}

// The nearest multiple of the unit at a, which is not negative.
static IrValue *round_to_unit(FeNode *n, IrValue *a, const FeSmall *t) {
    IrValue *bits = fe_op_const(n, IR_OP_BIT_AND, bitcast(n, a, IR_I32), 0x7f800000);
    IrValue *power = fe_op_const(n, IR_OP_MAXIMUM, bitcast(n, bits, IR_F32), ldexp(1, 1 - t->bias));
    IrValue *magic = fe_op_const(n, IR_OP_MUL, power, ldexp(3, 22 - t->mantissa));
    return fe_bin(n, IR_OP_SUB, fe_bin(n, IR_OP_ADD, a, magic), magic);
}

// Powers of two, of numbers >= 0: the bits of x up to `up`, `down` or to the `nearest` power, ties
// up, from 2^-127, a subnormal number, to 2^127.
static IrValue *round_to_power(FeNode *n, IrValue *x, const FeOverflow *over) {
    const char *mode = fe_attr_str(n, "round_mode", "up");
    bool up = strcmp(mode, "up") == 0, nearest = strcmp(mode, "nearest") == 0;
    if (!up && !nearest && strcmp(mode, "down") != 0) {
        fe_refuse(n, "round_mode '%s' is unknown", mode);
    }
    const int32_t step = 0x800000, least = 0x400000, most = 0x7f000000;
    IrValue *bits = bitcast(n, x, IR_I32), *y;
    y = fe_op_const(n, IR_OP_ADD, bits, up ? step - 1 : nearest ? step / 2 : 0);
    y = fe_op_const(n, IR_OP_BIT_AND, y, 0x7f800000);
    // Below 2^-126 the bits are those of a multiple of 2^-149.
    double half = up ? least : nearest ? least * 1.5 - 1 : step - 1; // above it the power is 2^-126
    IrValue *low = choose(n, fe_op_const(n, IR_OP_GREATER, bits, half), fe_const(n, bits, step),
                          fe_const(n, bits, least));
    y = choose(n, fe_op_const(n, IR_OP_LESS, bits, step), low, y);
    IrValue *beyond = fe_op_const(n, IR_OP_GREATER, y, most), *nan = fe_const(n, x, NAN);
    y = bitcast(n, y, IR_F32);
    y = choose(n, beyond, over->saturate ? fe_const(n, x, 0x1p127) : nan, y);
    return choose(n, fe_bin(n, IR_OP_EQUAL, x, x), y, nan);
}

IrValue *fe_round_small(FeNode *n, IrValue *x, const FeSmall *t, FeOverflow over) {
    if (n->refused || t->unsigned_power) {
        return n->refused ? NULL : round_to_power(n, fe_cast(n, x, IR_F32), &over);
    }
    double most = fe_small_max(t), none = t->nan < 0 ? most : NAN;
    double above = over.saturate ? most : t->inf ? INFINITY : none;
    double infinite = over.infinite_is_nan ? none : above;
    x = fe_cast(n, x, IR_F32);
    IrValue *a = fe_un(n, IR_OP_ABS, x), *top = fe_const(n, x, 2 * most);
    IrValue *near = choose(n, fe_bin(n, IR_OP_GREATER, a, top), top, a);
    IrValue *y = round_to_unit(n, near, t);
    y = choose(n, fe_op_const(n, IR_OP_GREATER, y, most), fe_const(n, x, above), y);
    y = choose(n, fe_op_const(n, IR_OP_GREATER, a, FLT_MAX), fe_const(n, x, infinite), y);
    if (t->nan < 0) { // there is no NaN: ONNX's own cases have 0 for it
        y = choose(n, fe_bin(n, IR_OP_EQUAL, y, y), y, fe_const(n, x, 0));
    }
    IrValue *sign = fe_op_const(n, IR_OP_LESS, bitcast(n, x, IR_I32), 0);
    return choose(n, sign, fe_un(n, IR_OP_NEG, y), y);
}

FeOverflow fe_read_overflow(FeNode *n, const FeSmall *t) {
    bool saturate = fe_attr_int(n, "saturate", 1) != 0;
    return (FeOverflow){saturate, saturate && n->since < 24 && t->nan == 0x80};
}

// BitCast-26. Floats that are f32 here are cast to the type that they are of, and back; bits of
// bool are 0 and 1.
void fe_import_bit_cast(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    int64_t given = fe_attr_int(n, "to", 0);
    int32_t to = given > 0 && given <= FE_MAX_ELEM_TYPE ? (int32_t)given : 0;
    int32_t from = n->refused ? 0 : fe_elem_type(n->in[0]);
    IrDtype stored, source, inside;
    bool known = fe_stored_dtype(to, &stored) && fe_dtype(to, n->fe->doubles, &inside);
    if (n->refused || !known || fe_small_type(to) || fe_small_type(from)) {
        fe_refuse(n, "NYI: bits of %s as %s", fe_onnx_type_name(from), fe_onnx_type_name(to));
        return;
    }
    source = x->type.dtype;
    if (source == IR_F32 && from && !fe_stored_dtype(from, &source)) {
        source = IR_F32;
    }
    if ((stored == IR_F64 || source == IR_F64) && !n->fe->doubles) {
        fe_refuse(n, "NYI: bits of double in a model that is computed in float");
        return;
    }
    x = fe_cast(n, x, source);
    x = source == IR_BOOL ? fe_cast(n, x, IR_U8) : x;
    bool truth = stored == IR_BOOL;
    IrDtype as = truth ? IR_U8 : stored;
    x = x->type.dtype == as || n->refused ? x : bitcast(n, x, as);
    x = n->refused ? NULL : fe_cast(n, x, truth ? IR_BOOL : inside);
    fe_out(n, 0, n->refused || x->def ? x : fe_un(n, IR_OP_COPY, x));
    fe_out_elem(n, 0, to);
}
