// How large the numbers of a body can be, by what is known while compiling: its constants, the
// range of integers. A sum of products of bytes is below 2^31.
#include "codegen/build/lower.h"

#include <math.h>

static double most_of_type(IrDtype t) {
    return ir_dtype_is_float(t) ? INFINITY : fmax(-ir_dtype_lowest(t), ir_dtype_highest(t));
}

double cg_operand_most(IrProgram *ir, const IrValue *v) {
    if (!v->konst || v->konst->trainable || !ir_dtype_is_float(v->type.dtype))
        return most_of_type(v->type.dtype);
    IrDim n;
    double most = 0;
    if (!ir_shape_elems(&v->konst->type.shape, &n))
        return INFINITY;
    for (int64_t i = 0; i < n.c; i++) {
        double x = fabs(ir_const_scalar(ir, v->konst, i));
        if (!(x <= most))
            most = isfinite(x) ? x : INFINITY;
    }
    return most;
}

// Of x, whose magnitude is at most `x`: a range around 0 makes it no larger, any other one may.
static double most_of_clip(const double *bounds, double x) {
    double most = fmax(fabs(bounds[0]), fabs(bounds[1]));
    if (!(bounds[0] <= bounds[1]) || isinf(x))
        return INFINITY;
    return bounds[0] <= 0 && bounds[1] >= 0 ? fmin(x, most) : most;
}

// INFINITY: it may be anything, NaN among it.
static double most_of_step(const IrStep *s, const double *x) {
    switch (s->op) {
    case IR_OP_CAST:
        return s->p[0] == IR_F32 || s->p[0] == IR_F64 ? x[0] : INFINITY;
    case IR_OP_MUL:
        return isinf(x[0]) || isinf(x[1]) ? INFINITY : x[0] * x[1];
    case IR_OP_ADD:
    case IR_OP_SUB:
        return x[0] + x[1];
    case IR_OP_ROUND:
        return x[0] + 1;
    case IR_OP_RELU:
        return x[0];
    case IR_OP_CLIP:
        return most_of_clip(s->p, x[0]);
    default:
        return INFINITY;
    }
}

static double most_of_arg(const CgBody *b, const double *in, const double *step, int arg) {
    if (arg == IR_ACC)
        return most_of_type((IrDtype)b->acc);
    return arg < 0 ? step[-1 - arg] : in[arg];
}

double cg_body_most(const CgBody *b, const double *in, int arg) {
    double step[CG_MAX_STEPS];
    for (int i = 0; i < b->n; i++) {
        const IrStep *s = &b->step[i];
        double x[3] = {0};
        for (int k = 0; k < ir_op_info(s->op)->max_in; k++)
            x[k] = most_of_arg(b, in, step, s->arg[k]);
        bool wraps = s->op != IR_OP_CAST && !ir_dtype_is_float((IrDtype)b->dtype[i]);
        step[i] = wraps ? most_of_type((IrDtype)b->dtype[i]) : most_of_step(s, x);
    }
    return most_of_arg(b, in, step, arg);
}
