// Reductions of the reference evaluator, over any set of axes. Floats in double; integers in 128
// bits, then wrapped around; an integer mean truncates.
// Over no elements: sum 0, product 1, mean NaN (0 for integers), max the least and min the greatest
// value of the dtype (ReduceMax-20). Max and min of a NaN are NaN.
#include "ir/eval.h"
#include <math.h>

typedef struct Rule {
    double (*f)(double acc, double x);
    IrWide (*i)(IrWide acc, IrWide x);
    double f0; // of no elements
    IrWide (*i0)(IrDtype t);
    bool mean;
} Rule;

static double add_f(double acc, double x) {
    return acc + x;
}
static double mul_f(double acc, double x) {
    return acc * x;
}
static double max_f(double acc, double x) {
    return x > acc || isnan(x) ? x : acc;
}
static double min_f(double acc, double x) {
    return x < acc || isnan(x) ? x : acc;
}
static IrWide add_i(IrWide acc, IrWide x) {
    return acc + x;
}
static IrWide mul_i(IrWide acc, IrWide x) {
    return (IrWide)((unsigned __int128)acc * (unsigned __int128)x);
}
static IrWide max_i(IrWide acc, IrWide x) {
    return x > acc ? x : acc;
}
static IrWide min_i(IrWide acc, IrWide x) {
    return x < acc ? x : acc;
}
static IrWide zero_of(IrDtype t) {
    return (void)t, 0;
}
static IrWide one_of(IrDtype t) {
    return (void)t, 1;
}

static const Rule rule_of[IR_OP_COUNT] = {
    [IR_OP_REDUCE_SUM] = {add_f, add_i, 0, zero_of, false},
    [IR_OP_REDUCE_MEAN] = {add_f, add_i, 0, zero_of, true},
    [IR_OP_REDUCE_MAX] = {max_f, max_i, -INFINITY, ir_wide_lowest, false},
    [IR_OP_REDUCE_MIN] = {min_f, min_i, INFINITY, ir_wide_highest, false},
    [IR_OP_REDUCE_PROD] = {mul_f, mul_i, 1, one_of, false},
};

// The axes of the operand in two groups, each with its dims and strides.
typedef struct Axes {
    int rank;
    int64_t dim[IR_MAX_RANK], stride[IR_MAX_RANK], elems;
} Axes;

static void push_axis(Axes *a, int64_t dim, int64_t stride) {
    a->dim[a->rank] = dim;
    a->stride[a->rank++] = stride;
    a->elems *= dim;
}

static int64_t offset_of(const Axes *a, int64_t i) {
    int64_t offset = 0;
    for (int k = a->rank - 1; k >= 0; k--) {
        offset += i % a->dim[k] * a->stride[k];
        i /= a->dim[k];
    }
    return offset;
}

static double reduce_floats(const Rule *rule, const IrTensor *x, const Axes *over, int64_t at) {
    double acc = rule->f0, block[IR_EVAL_BLOCK];
    int last = over->rank - 1;
    int64_t run = over->dim[last], stride = over->stride[last];
    for (int64_t i = 0; i < over->elems; i += run) {
        int64_t start = at + offset_of(over, i);
        for (int64_t k = 0; k < run; k += IR_EVAL_BLOCK) {
            int64_t len = run - k < IR_EVAL_BLOCK ? run - k : IR_EVAL_BLOCK;
            ir_tensor_load(x, start + k * stride, stride, len, block);
            for (int64_t j = 0; j < len; j++) {
                acc = rule->f(acc, block[j]);
            }
        }
    }
    return rule->mean ? acc / (double)over->elems : acc;
}

static IrWide reduce_integers(const Rule *rule, const IrTensor *x, const Axes *over, int64_t at) {
    IrWide acc = rule->i0(x->dtype), v;
    for (int64_t i = 0; i < over->elems; i++) {
        ir_tensor_load_wide(x, at + offset_of(over, i), 1, 1, &v);
        acc = rule->i(acc, v);
    }
    return rule->mean && over->elems > 0 ? acc / over->elems : acc;
}

// ReduceSum-13, ReduceMean-18, ReduceMax-20, ReduceMin-20, ReduceProd-18. Without axes each element
// is reduced alone.
const char *ir_eval_reduce(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    const Rule *rule = &rule_of[n->op];
    Axes kept = {.elems = 1}, over = {.elems = 1};
    int64_t stride[IR_MAX_RANK];
    IrInts axes = ir_ints(n, IR_ATTR_AXES);
    IrTensor x;
    const char *why = ir_eval_pre(e, n, in, &x);
    if (why) {
        return why;
    }
    ir_tensor_strides(in[0], stride);
    for (int i = 0, k = 0; i < in[0]->rank; i++) {
        bool reduced = k < axes.n && axes.v[k] == i;
        push_axis(reduced ? &over : &kept, in[0]->dim[i], stride[i]);
        k += reduced;
    }
    if (over.rank == 0) {
        push_axis(&over, 1, 0);
    }
    IrTensor y = ir_eval_own(e, out, ir_own_dtype(n));
    int64_t elems = ir_tensor_elems(out);
#pragma omp parallel for if (elems > 1 && over.elems > IR_EVAL_PARALLEL / elems)
    for (int64_t i = 0; i < elems; i++) {
        int64_t at = offset_of(&kept, i);
        if (ir_dtype_is_float(y.dtype)) {
            double sum = reduce_floats(rule, &x, &over, at);
            ir_tensor_store(&y, i, 1, &sum);
        } else {
            IrWide sum = reduce_integers(rule, &x, &over, at);
            ir_tensor_store_wide(&y, i, 1, &sum);
        }
    }
    return ir_eval_then(e, n, in, &y, out);
}
