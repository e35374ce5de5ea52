// Elementwise ops and bodies of the reference evaluator: a body's steps run over blocks of
// elements, each step's results in a row of their own ("lanes"), operands broadcast to the result's
// shape. A node of one elementwise op is a body of one step; an epilogue is a body whose IR_ACC is
// the node's result. Also cast and dropout.
//
// Floats: every step in double, rounded once at the end. NaN goes through relu, clip, maximum and
// minimum. Integers: exact, wrapped around to the dtype after each step; x / 0 is 0, division
// truncates, as does x to a negative power.
#include "ir/eval.h"
#include "ir/random.h"
#include <math.h>
#include <omp.h>
#include <string.h>

// ---------------------------------------------------------------- the meaning of each op

typedef double FloatFn(double x, double y, const double *p);
typedef IrWide WideFn(IrWide x, IrWide y, const double *p);
typedef struct Rule {
    FloatFn *f;   // on floats; comparisons give 0 or 1. NULL: not defined on floats
    WideFn *i;    // on integers, and on bool where `on_bool`. NULL: not defined on integers
    bool on_bool; // takes bool; `only_bool` and nothing else
    bool only_bool;
    double absent[2]; // default attributes, as ONNX has them
} Rule;

#define MAYBE __attribute__((unused))
#define FLOAT_RULE(name, expr)                                                                     \
    static double name##_f(MAYBE double x, MAYBE double y, MAYBE const double *p) {                \
        return expr;                                                                               \
    }
#define WIDE_RULE(name, expr)                                                                      \
    static IrWide name##_i(MAYBE IrWide x, MAYBE IrWide y, MAYBE const double *p) {                \
        return expr;                                                                               \
    }

static IrWide wide_from(double x) // saturates
{
    return isnan(x)        ? 0
           : x <= -0x1p100 ? -((IrWide)1 << 100)
           : x >= 0x1p100  ? (IrWide)1 << 100
                           : (IrWide)x;
}

static IrWide wide_mul(IrWide x, IrWide y) // wraps around
{
    return (IrWide)((unsigned __int128)x * (unsigned __int128)y);
}

static IrWide wide_pow(IrWide x, IrWide y) {
    IrWide r = 1;
    if (y < 0) {
        return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
    }
    for (; y > 0; y >>= 1, x = wide_mul(x, x)) {
        r = y & 1 ? wide_mul(r, x) : r;
    }
    return r;
}

static double clamp(double x, double low, double high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

FLOAT_RULE(relu, x < 0 ? 0 : x)                        // Relu-14
FLOAT_RULE(leaky_relu, x < 0 ? p[0] * x : x)           // LeakyRelu-16
FLOAT_RULE(elu, x < 0 ? p[0] * expm1(x) : x)           // Elu-6
FLOAT_RULE(clip, clamp(x, p[0], p[1]))                 // Clip-13: max wins over min
FLOAT_RULE(sigmoid, 1 / (1 + exp(-x)))                 // Sigmoid-13
FLOAT_RULE(hard_sigmoid, clamp(p[0] * x + p[1], 0, 1)) // HardSigmoid-6
FLOAT_RULE(hard_swish, x *clamp(x / 6 + 0.5, 0, 1))    // HardSwish-14
FLOAT_RULE(tanh, tanh(x))
FLOAT_RULE(erf, erf(x))
FLOAT_RULE(exp, exp(x))
FLOAT_RULE(log, log(x))
FLOAT_RULE(sqrt, sqrt(x))
FLOAT_RULE(abs, fabs(x))
FLOAT_RULE(neg, -x)
FLOAT_RULE(floor, floor(x))
FLOAT_RULE(ceil, ceil(x))
FLOAT_RULE(add, x + y)
FLOAT_RULE(sub, x - y)
FLOAT_RULE(mul, x *y)
FLOAT_RULE(div, x / y)
FLOAT_RULE(pow, pow(x, y))                     // Pow-15, one dtype
FLOAT_RULE(maximum, x > y || isnan(x) ? x : y) // Max-13
FLOAT_RULE(minimum, x < y || isnan(x) ? x : y) // Min-13
FLOAT_RULE(prelu, x < 0 ? x * y : x)           // PRelu-16
FLOAT_RULE(equal, x == y)
FLOAT_RULE(less, x < y)
FLOAT_RULE(greater, x > y)
FLOAT_RULE(relu_grad, x > 0 ? y : 0)

WIDE_RULE(relu, x < 0 ? 0 : x)
WIDE_RULE(clip, x<wide_from(ceil(p[0])) ? wide_from(ceil(p[0])) : x> wide_from(floor(p[1]))
                    ? wide_from(floor(p[1]))
                    : x)
WIDE_RULE(abs, x < 0 ? -x : x)
WIDE_RULE(neg, -x)
WIDE_RULE(not, !x)
WIDE_RULE(add, x + y)
WIDE_RULE(sub, x - y)
WIDE_RULE(mul, wide_mul(x, y))
WIDE_RULE(div, y == 0 ? 0 : x / y)
WIDE_RULE(pow, wide_pow(x, y))
WIDE_RULE(maximum, x > y ? x : y)
WIDE_RULE(minimum, x < y ? x : y)
WIDE_RULE(prelu, x < 0 ? wide_mul(x, y) : x)
WIDE_RULE(equal, x == y)
WIDE_RULE(less, x < y)
WIDE_RULE(greater, x > y)
WIDE_RULE(and, x &&y)
WIDE_RULE(or, x || y)

// `where` alone has three operands: its step copies and needs no function.
static const Rule rule_of[IR_OP_COUNT] = {
    [IR_OP_RELU] = {relu_f, relu_i, 0, 0, {0}},
    [IR_OP_LEAKY_RELU] = {leaky_relu_f, NULL, 0, 0, {0.01}},
    [IR_OP_ELU] = {elu_f, NULL, 0, 0, {1}},
    [IR_OP_CLIP] = {clip_f, clip_i, 0, 0, {-INFINITY, INFINITY}},
    [IR_OP_SIGMOID] = {sigmoid_f, NULL, 0, 0, {0}},
    [IR_OP_HARD_SIGMOID] = {hard_sigmoid_f, NULL, 0, 0, {0.2, 0.5}},
    [IR_OP_HARD_SWISH] = {hard_swish_f, NULL, 0, 0, {0}},
    [IR_OP_TANH] = {tanh_f, NULL, 0, 0, {0}},
    [IR_OP_ERF] = {erf_f, NULL, 0, 0, {0}},
    [IR_OP_EXP] = {exp_f, NULL, 0, 0, {0}},
    [IR_OP_LOG] = {log_f, NULL, 0, 0, {0}},
    [IR_OP_SQRT] = {sqrt_f, NULL, 0, 0, {0}},
    [IR_OP_ABS] = {abs_f, abs_i, 0, 0, {0}},
    [IR_OP_NEG] = {neg_f, neg_i, 0, 0, {0}},
    [IR_OP_FLOOR] = {floor_f, NULL, 0, 0, {0}},
    [IR_OP_CEIL] = {ceil_f, NULL, 0, 0, {0}},
    [IR_OP_NOT] = {NULL, not_i, 1, 1, {0}},
    [IR_OP_ADD] = {add_f, add_i, 0, 0, {0}},
    [IR_OP_SUB] = {sub_f, sub_i, 0, 0, {0}},
    [IR_OP_MUL] = {mul_f, mul_i, 0, 0, {0}},
    [IR_OP_DIV] = {div_f, div_i, 0, 0, {0}},
    [IR_OP_POW] = {pow_f, pow_i, 0, 0, {0}},
    [IR_OP_MAXIMUM] = {maximum_f, maximum_i, 0, 0, {0}},
    [IR_OP_MINIMUM] = {minimum_f, minimum_i, 0, 0, {0}},
    [IR_OP_PRELU] = {prelu_f, prelu_i, 0, 0, {0}},
    [IR_OP_RELU_GRAD] = {relu_grad_f, NULL, 0, 0, {0}},
    [IR_OP_EQUAL] = {equal_f, equal_i, 1, 0, {0}},
    [IR_OP_LESS] = {less_f, less_i, 0, 0, {0}},
    [IR_OP_GREATER] = {greater_f, greater_i, 0, 0, {0}},
    [IR_OP_AND] = {NULL, and_i, 1, 1, {0}},
    [IR_OP_OR] = {NULL, or_i, 1, 1, {0}},
};

// ---------------------------------------------------------------- bodies, made ready to run

typedef union Lanes {
    double f[IR_EVAL_BLOCK];
    IrWide i[IR_EVAL_BLOCK];
} Lanes;

// An operand broadcast to the result's shape; neighbouring axes that one stride covers are merged.
typedef struct Source {
    const IrTensor *t;
    int rank; // at least 1
    int64_t dim[IR_MAX_RANK], stride[IR_MAX_RANK];
} Source;

// Rows of lanes: 0 .. n_src-1 the operands, the last of them IR_ACC, then the steps.
typedef struct Plan {
    IrBody body;
    int n_src;
    Source *src;    // t NULL: no step reads it
    int (*row)[3];  // of each step's arguments
    IrDtype *dtype; // of each row
    IrTensor *out;
} Plan;

static bool merge_axes(Source *s, const IrTensor *out) {
    int64_t stride[IR_MAX_RANK];
    if (!ir_tensor_broadcast(s->t, out, stride)) {
        return false;
    }
    s->rank = 1;
    s->dim[0] = 1;
    s->stride[0] = 0;
    for (int i = 0; i < out->rank; i++) {
        int last = s->rank - 1;
        if (s->dim[last] == 1 || s->stride[last] == stride[i] * out->dim[i]) {
            s->dim[last] *= out->dim[i];
            s->stride[last] = stride[i];
        } else if (out->dim[i] != 1) {
            s->dim[s->rank] = out->dim[i];
            s->stride[s->rank++] = stride[i];
        }
    }
    return true;
}

// The row of argument `arg` of step `step`; -1: there is none.
static int find_row(const Plan *p, int arg, int step) {
    if (arg == IR_ACC) {
        return p->src[p->n_src - 1].t ? p->n_src - 1 : -1;
    }
    if (arg >= 0) {
        return arg < p->n_src - 1 && p->src[arg].t ? arg : -1;
    }
    return -1 - arg < step ? p->n_src - 1 - arg : -1;
}

// The dtype of a step's result. NULL when the op takes its arguments, else why not.
static const char *type_step(IrEval *e, const IrStep *s, const IrDtype *arg, int n_arg,
                             IrDtype *out) {
    const IrOpInfo *info = ir_op_info(s->op);
    const Rule *rule = &rule_of[s->op];
    bool choice = s->op == IR_OP_WHERE;
    IrDtype t = arg[choice ? 1 : 0];
    for (int i = choice ? 1 : 0; i < n_arg; i++) {
        if (arg[i] != t) {
            return ir_sprintf(e->arena, "%s of %s and %s", info->text, ir_dtype_name(t),
                              ir_dtype_name(arg[i]));
        }
    }
    if (choice && arg[0] != IR_BOOL) {
        return ir_sprintf(e->arena, "where on a condition of %s", ir_dtype_name(arg[0]));
    }
    if (!choice) {
        bool number = ir_dtype_is_float(t) ? rule->f != NULL : rule->i != NULL;
        bool defined = t == IR_BOOL ? rule->on_bool : number && !rule->only_bool;
        if (!defined) {
            return ir_sprintf(e->arena, "%s is not defined on %s", info->text, ir_dtype_name(t));
        }
    }
    *out = info->flags & IR_FLAG_B ? IR_BOOL : t;
    return NULL;
}

static const char *plan_steps(IrEval *e, Plan *p) {
    bool *used = ir_eval_scratch(e, p->n_src + p->body.n, sizeof *used);
    memset(used, 0, (size_t)(p->n_src + p->body.n));
    for (int i = 0; i < p->body.n; i++) {
        const IrStep *s = &p->body.step[i];
        const IrOpInfo *info = ir_op_info(s->op);
        IrDtype arg[3];
        if (!(info->flags & IR_FLAG_E)) {
            return ir_sprintf(e->arena, "%s is no step of a body", info->text);
        }
        for (int k = 0; k < info->min_in; k++) {
            int row = find_row(p, s->arg[k], i);
            if (row < 0) {
                return ir_sprintf(e->arena, "step %d has no argument %d", i, k);
            }
            p->row[i][k] = row;
            arg[k] = p->dtype[row];
            used[row] = true;
        }
        const char *why = type_step(e, s, arg, info->min_in, &p->dtype[p->n_src + i]);
        if (why) {
            return why;
        }
    }
    for (int i = 0; i < p->n_src && p->body.n > 0; i++) {
        p->src[i].t = used[i] ? p->src[i].t : NULL;
    }
    return NULL;
}

// acc: the node's own result, or NULL. Without steps the body is acc, or operand 0.
static const char *plan_body(IrEval *e, Plan *p, IrBody body, int n_in, const IrTensor *const *in,
                             const IrTensor *acc, IrTensor *out) {
    *p = (Plan){.body = body, .n_src = n_in + 1, .out = out};
    p->src = ir_eval_scratch(e, p->n_src, sizeof *p->src);
    p->row = ir_eval_scratch(e, body.n, sizeof *p->row);
    p->dtype = ir_eval_scratch(e, p->n_src + body.n, sizeof *p->dtype);
    for (int i = 0; i < p->n_src; i++) {
        p->src[i].t = i < n_in ? in[i] : acc;
        p->dtype[i] = p->src[i].t ? p->src[i].t->dtype : IR_F32;
    }
    const char *why = plan_steps(e, p);
    if (why) {
        return why;
    }
    for (int i = 0; i < p->n_src; i++) {
        if (p->src[i].t && !merge_axes(&p->src[i], out)) {
            return ir_sprintf(e->arena, "operand %d does not broadcast to the result", i);
        }
    }
    IrDtype result = p->dtype[body.n > 0 ? p->n_src + body.n - 1 : acc ? p->n_src - 1 : 0];
    return result == out->dtype ? NULL
                                : ir_sprintf(e->arena, "the steps give %s, the result is %s",
                                             ir_dtype_name(result), ir_dtype_name(out->dtype));
}

// ---------------------------------------------------------------- running a block

static void load_run(const IrTensor *t, int64_t at, int64_t stride, int64_t n, Lanes *to,
                     int64_t i) {
    if (ir_dtype_is_float(t->dtype)) {
        ir_tensor_load(t, at, stride, n, to->f + i);
    } else {
        ir_tensor_load_wide(t, at, stride, n, to->i + i);
    }
}

// n elements of the source that belong to the result's elements from `at` on.
static void load_lanes(const Source *s, int64_t at, int64_t n, Lanes *to) {
    int last = s->rank - 1;
    int64_t index[IR_MAX_RANK], offset = 0, rest = at;
    for (int a = last; a >= 0; a--) {
        index[a] = rest % s->dim[a];
        rest /= s->dim[a];
        offset += index[a] * s->stride[a];
    }
    for (int64_t i = 0; i < n;) {
        int64_t run = s->dim[last] - index[last] < n - i ? s->dim[last] - index[last] : n - i;
        load_run(s->t, offset, s->stride[last], run, to, i);
        i += run;
        index[last] += run;
        offset += run * s->stride[last];
        for (int a = last; a > 0 && index[a] == s->dim[a]; a--) {
            index[a] = 0;
            index[a - 1]++;
            offset += s->stride[a - 1] - s->dim[a] * s->stride[a];
        }
    }
}

static void run_where(const Lanes *c, const Lanes *x, const Lanes *y, bool floats, int64_t n,
                      Lanes *to) {
    for (int64_t i = 0; i < n && floats; i++) {
        to->f[i] = c->i[i] ? x->f[i] : y->f[i];
    }
    for (int64_t i = 0; i < n && !floats; i++) {
        to->i[i] = c->i[i] ? x->i[i] : y->i[i];
    }
}

static void run_float(FloatFn *f, const double *p, const Lanes *x, const Lanes *y, bool compares,
                      int64_t n, Lanes *to) {
    for (int64_t i = 0; i < n && !compares; i++) {
        to->f[i] = f(x->f[i], y->f[i], p);
    }
    for (int64_t i = 0; i < n && compares; i++) {
        to->i[i] = f(x->f[i], y->f[i], p) != 0;
    }
}

static void run_wide(WideFn *f, const double *p, const Lanes *x, const Lanes *y, IrDtype t,
                     int64_t n, Lanes *to) {
    for (int64_t i = 0; i < n; i++) {
        to->i[i] = ir_wide_wrap(f(x->i[i], y->i[i], p), t);
    }
}

static void run_step(const Plan *p, int step, int64_t n, Lanes *lanes) {
    const IrStep *s = &p->body.step[step];
    int n_arg = ir_op_info(s->op)->min_in;
    const int *row = p->row[step];
    const Lanes *x = &lanes[row[0]], *y = &lanes[row[n_arg > 1 ? 1 : 0]];
    Lanes *to = &lanes[p->n_src + step];
    IrDtype result = p->dtype[p->n_src + step];
    if (n_arg == 3) {
        run_where(x, y, &lanes[row[2]], ir_dtype_is_float(result), n, to);
    } else if (ir_dtype_is_float(p->dtype[row[0]])) {
        run_float(rule_of[s->op].f, s->p, x, y, result == IR_BOOL, n, to);
    } else {
        run_wide(rule_of[s->op].i, s->p, x, y, result, n, to);
    }
}

static void run_block(const Plan *p, int64_t at, int64_t n, Lanes *lanes) {
    for (int i = 0; i < p->n_src; i++) {
        if (p->src[i].t) {
            load_lanes(&p->src[i], at, n, &lanes[i]);
        }
    }
    for (int i = 0; i < p->body.n; i++) {
        run_step(p, i, n, lanes);
    }
    int last = p->n_src + p->body.n - 1; // without steps IR_ACC's row
    last = p->body.n == 0 && !p->src[last].t ? 0 : last;
    if (ir_dtype_is_float(p->out->dtype)) {
        ir_tensor_store(p->out, at, n, lanes[last].f);
    } else {
        ir_tensor_store_wide(p->out, at, n, lanes[last].i);
    }
}

static const char *run_body(IrEval *e, IrBody body, int n_in, const IrTensor *const *in,
                            const IrTensor *acc, IrTensor *out) {
    Plan p;
    const char *why = plan_body(e, &p, body, n_in, in, acc, out);
    if (why) {
        return why;
    }
    int64_t n = ir_tensor_elems(out), rows = p.n_src + body.n;
    Lanes *all = ir_eval_scratch(e, rows * omp_get_max_threads(), sizeof *all);
#pragma omp parallel for if (n > IR_EVAL_PARALLEL)
    for (int64_t at = 0; at < n; at += IR_EVAL_BLOCK) {
        int64_t len = n - at < IR_EVAL_BLOCK ? n - at : IR_EVAL_BLOCK;
        run_block(&p, at, len, all + rows * omp_get_thread_num());
    }
    return NULL;
}

// ---------------------------------------------------------------- nodes

// The node's FLOAT attributes in ascending order of their keys, which is that of their ops.def row.
static void read_params(const IrNode *n, double *p) {
    uint64_t attrs = ir_op_info(n->op)->attrs;
    int k = 0;
    for (int key = 0; key < IR_ATTR_COUNT && k < 2; key++) {
        if (attrs >> key & 1 && ir_attr_kind((IrAttrKey)key) == IR_KIND_FLOAT) {
            p[k] = ir_float(n, (IrAttrKey)key, rule_of[n->op].absent[k]);
            k++;
        }
    }
}

static const char *eval_one_step(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                 IrTensor *out) {
    IrStep step = {.op = n->op, .arg = {0, 1, 2}};
    read_params(n, step.p);
    return run_body(e, (IrBody){1, &step}, n->n_in, in, NULL, out);
}

const char *ir_eval_unary(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    return eval_one_step(e, n, in, out);
}

const char *ir_eval_binary(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    return eval_one_step(e, n, in, out);
}

const char *ir_eval_where(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    return eval_one_step(e, n, in, out);
}

const char *ir_eval_map(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    return run_body(e, ir_body(n, IR_ATTR_BODY), n->n_in, in, NULL, out);
}

const char *ir_eval_then(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    IrBody body = ir_body(n, IR_ATTR_THEN);
    return body.n == 0 ? NULL : run_body(e, body, n->n_in, in, out, out);
}

const char *ir_eval_pre(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *x) {
    IrBody body = ir_body(n, IR_ATTR_PRE);
    *x = *in[0];
    if (body.n == 0) {
        return NULL;
    }
    x->data = ir_eval_scratch(e, ir_tensor_elems(x), (size_t)ir_dtype_bytes(x->dtype));
    return run_body(e, body, n->n_in, in, in[0], x);
}

// Cast-13, without its undefined cases: tensor.c says how.
const char *ir_eval_cast(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)e, (void)n;
    int64_t elems = ir_tensor_elems(out);
#pragma omp parallel for if (elems > IR_EVAL_PARALLEL)
    for (int64_t at = 0; at < elems; at += IR_EVAL_BLOCK) {
        int64_t len = elems - at < IR_EVAL_BLOCK ? elems - at : IR_EVAL_BLOCK;
        Lanes x;
        load_run(in[0], at, 1, len, &x, 0);
        if (ir_dtype_is_float(in[0]->dtype)) {
            ir_tensor_store(out, at, len, x.f);
        } else {
            ir_tensor_store_wide(out, at, len, x.i);
        }
    }
    return NULL;
}

// Dropout-13 in training mode: element i of the row-major tensor is kept and scaled by
// 1 / (1 - ratio) if its random number, uniform in [0, 1), is at least the ratio; else it is 0.
// ir/random.h says how the numbers come from i, the attribute `seed` and, where it is given,
// operand 1; so the same node on dy is the gradient.
const char *ir_eval_dropout(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)e;
    double ratio = ir_float(n, IR_ATTR_RATIO, 0.5), scale = 1 / (1 - ratio);
    uint64_t seed = (uint64_t)ir_int(n, IR_ATTR_SEED, 0), key = ir_random_key(seed);
    if (n->n_in > 1 && in[1]) {
        key = ir_random_key_with(seed, *(const uint64_t *)in[1]->data);
    }
    uint64_t threshold = ir_random_threshold(ratio);
    int64_t elems = ir_tensor_elems(out);
#pragma omp parallel for if (elems > IR_EVAL_PARALLEL)
    for (int64_t at = 0; at < elems; at += IR_EVAL_BLOCK) {
        int64_t len = elems - at < IR_EVAL_BLOCK ? elems - at : IR_EVAL_BLOCK;
        double x[IR_EVAL_BLOCK];
        ir_tensor_load(in[0], at, 1, len, x);
        for (int64_t i = 0; i < len; i++) {
            x[i] = ir_random_u32(key, (uint64_t)(at + i)) >= threshold ? x[i] * scale : 0;
        }
        ir_tensor_store(out, at, len, x);
    }
    return NULL;
}
