// What the shape rules share: one check of each kind with its message.
#include "ir/shape.h"
#include <stdarg.h>
#include <string.h>

const char *ir_why(const IrNode *n, const char *fmt, ...) {
    char buf[2000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    return ir_strdup(n->graph->prog->arena, buf);
}

const char *ir_type_text(const IrNode *n, const IrType *t) {
    char buf[IR_TYPE_TEXT];
    return ir_strdup(n->graph->prog->arena, ir_type_print(t, buf, sizeof buf));
}

const char *ir_operand_text(const IrNode *n, int i) {
    return ir_type_text(n, ir_in_type(n, i));
}

void ir_set_result(IrNode *n, IrDtype t, const IrShape *s) {
    n->out[0]->type = (IrType){.dtype = t, .shape = *s};
}

const char *ir_need_rank(const IrNode *n, int i, int min, int max) {
    int rank = ir_in_type(n, i)->shape.rank;
    if (rank >= min && rank <= max) {
        return NULL;
    }
    const char *type = ir_operand_text(n, i);
    return min == max ? ir_why(n, "operand %d is %s, its rank must be %d", i, type, min)
                      : ir_why(n, "operand %d is %s, its rank must be at least %d", i, type, min);
}

const char *ir_need_float(const IrNode *n, int i) {
    return ir_dtype_is_float(ir_in_type(n, i)->dtype)
               ? NULL
               : ir_why(n, "operand %d is %s, it must be of floating point", i,
                        ir_operand_text(n, i));
}

const char *ir_need_number(const IrNode *n, int i) {
    return ir_in_type(n, i)->dtype != IR_BOOL
               ? NULL
               : ir_why(n, "operand %d is %s, it must be a number", i, ir_operand_text(n, i));
}

const char *ir_need_same_dtype(const IrNode *n, int i, int j) {
    IrDtype a = ir_in_type(n, i)->dtype, b = ir_in_type(n, j)->dtype;
    return a == b ? NULL
                  : ir_why(n, "operand %d is %s and operand %d is %s", i, ir_dtype_name(a), j,
                           ir_dtype_name(b));
}

const char *ir_check_factors(const IrNode *n) {
    IrDtype x = ir_in_type(n, 0)->dtype, own = ir_own_dtype(n);
    int64_t zero = ir_int(n, IR_ATTR_ZERO, 0), low = x == IR_I8 ? -128 : 0;
    if (zero && (own == x || zero < low || zero > low + 255)) {
        return ir_why(n, "zero is %lld, which is no number of %s", (long long)zero,
                      own == x ? "a product of integers" : ir_dtype_name(x));
    }
    if (ir_in(n, 2) && ir_in_type(n, 2)->dtype != own) {
        return ir_why(n, "operand 2 is %s, sums are %s", ir_operand_text(n, 2), ir_dtype_name(own));
    }
    if (own != x && own != IR_I32) {
        const char *why = ir_need_float(n, 0);
        why = why ? why : ir_check_own(n);
        return why ? why : ir_need_same_dtype(n, 0, 1);
    }
    return own == x ? ir_need_same_dtype(n, 0, 1) : NULL;
}

const char *ir_check_own(const IrNode *n) {
    const char *text = ir_str(n, IR_ATTR_TO, NULL);
    IrDtype x = ir_in_type(n, 0)->dtype, own = ir_own_dtype(n);
    bool byte = ir_dtype_bytes(x) == 1 && x != IR_BOOL, half = x == IR_F16 || x == IR_BF16;
    bool fits = own == x || (own == IR_F32 && (byte || half)) || (own == IR_I32 && byte);
    return fits && (!text || !strcmp(text, ir_dtype_name(own)))
               ? NULL
               : ir_why(n, "%s of %s to '%s'", ir_op_info(n->op)->text, ir_dtype_name(x), text);
}

const char *ir_need_fixed(const IrNode *n, int i, int axis) {
    return !ir_in_type(n, i)->shape.dim[axis].n
               ? NULL
               : ir_why(n, "dimension %d of operand %d, %s, must not depend on N", axis, i,
                        ir_operand_text(n, i));
}

const char *ir_need_axis(const IrNode *n, int64_t axis, int rank) {
    return axis >= 0 && axis < rank
               ? NULL
               : ir_why(n, "axis %lld is out of range for rank %d", (long long)axis, rank);
}

const char *ir_need_ints(const IrNode *n, IrAttrKey key, int count, int64_t min) {
    const IrAttr *a = ir_attr(n, key);
    if (!a) {
        return NULL;
    }
    if (a->ints.n != count) {
        return ir_why(n, "%s has %d values, it must have %d", ir_attr_name(key), a->ints.n, count);
    }
    for (int i = 0; i < count; i++) {
        if (a->ints.v[i] < min) {
            return ir_why(n, "%s[%d] is %lld, it must be at least %lld", ir_attr_name(key), i,
                          (long long)a->ints.v[i], (long long)min);
        }
    }
    return NULL;
}

const char *ir_need_vector(const IrNode *n, int i, IrDim size, IrDtype t) {
    const IrType *v = ir_in_type(n, i);
    if (v->shape.rank == 1 && ir_dim_eq(v->shape.dim[0], size) && v->dtype == t) {
        return NULL;
    }
    IrType want = {.dtype = t, .shape = {.rank = 1, .dim = {size}}};
    return ir_why(n, "operand %d is %s, it must be %s", i, ir_operand_text(n, i),
                  ir_type_text(n, &want));
}

const char *ir_need_broadcast_to(const IrNode *n, int i, const IrShape *to) {
    IrShape both;
    if (ir_shape_broadcast(&ir_in_type(n, i)->shape, to, &both) && ir_shape_eq(&both, to)) {
        return NULL;
    }
    IrType want = {.dtype = ir_in_type(n, i)->dtype, .shape = *to};
    return ir_why(n, "operand %d is %s, it does not broadcast to %s", i, ir_operand_text(n, i),
                  ir_type_text(n, &want));
}

bool ir_dim_add(IrDim a, IrDim b, IrDim *out) {
    return !__builtin_add_overflow(a.c, b.c, &out->c) && !__builtin_add_overflow(a.n, b.n, &out->n);
}
