// Elementwise ops and bodies of the reference evaluator: a body's steps run over blocks of
// elements, each step's results in a row of their own ("lanes"), operands broadcast to the result's
// shape. A node of one elementwise op is a body of one step; an epilogue is a body whose IR_ACC is
// the node's result. Also cast and dropout.
// Floats: every step in double, rounded to f32 where that is its type: what a step gives is what
// its node would store. Integers: exact, wrapped around to the dtype after each step. What a step
// does to an element is eval_rule.c's; conversions are tensor.c's.
#include "ir/eval_rule.h"
#include "ir/random.h"
#include <omp.h>
#include <string.h>

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
    const IrEvalRule *rule = &ir_eval_rule[s->op];
    bool choice = s->op == IR_OP_WHERE;
    IrDtype t = arg[choice ? 1 : 0];
    *out = ir_step_dtype(s, t);
    if (s->op == IR_OP_CAST) {
        return NULL;
    }
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

static void run_float(IrFloatRule *f, const double *p, const Lanes *x, const Lanes *y,
                      IrDtype result, int64_t n, Lanes *to) {
    bool compares = result == IR_BOOL;
    for (int64_t i = 0; i < n && !compares; i++) {
        to->f[i] = f(x->f[i], y->f[i], p);
    }
    for (int64_t i = 0; i < n && compares; i++) {
        to->i[i] = f(x->f[i], y->f[i], p) != 0;
    }
    for (int64_t i = 0; i < n && result == IR_F32; i++) {
        to->f[i] = (float)to->f[i];
    }
}

static void run_wide(IrWideRule *f, const double *p, const Lanes *x, const Lanes *y, IrDtype t,
                     int64_t n, Lanes *to) {
    for (int64_t i = 0; i < n; i++) {
        to->i[i] = ir_wide_wrap(f(x->i[i], y->i[i], p), t);
    }
}

// By way of a tensor of type `to`.
static void run_cast(const Lanes *x, bool floats, IrDtype to, int64_t n, Lanes *y) {
    IrWide stored[IR_EVAL_BLOCK];
    IrTensor t = {.dtype = to, .data = stored};
    if (floats) {
        ir_tensor_store(&t, 0, n, x->f);
    } else {
        ir_tensor_store_wide(&t, 0, n, x->i);
    }
    load_run(&t, 0, 1, n, y, 0);
}

static void run_step(const Plan *p, int step, int64_t n, Lanes *lanes) {
    const IrStep *s = &p->body.step[step];
    int n_arg = ir_op_info(s->op)->min_in;
    const int *row = p->row[step];
    const Lanes *x = &lanes[row[0]], *y = &lanes[row[n_arg > 1 ? 1 : 0]];
    Lanes *to = &lanes[p->n_src + step];
    IrDtype result = p->dtype[p->n_src + step];
    bool floats = ir_dtype_is_float(p->dtype[row[0]]);
    if (n_arg == 3) {
        run_where(x, y, &lanes[row[2]], ir_dtype_is_float(result), n, to);
    } else if (s->op == IR_OP_CAST) {
        run_cast(x, floats, result, n, to);
    } else if (floats) {
        run_float(ir_eval_rule[s->op].f, s->p, x, y, result, n, to);
    } else {
        run_wide(ir_eval_rule[s->op].i, s->p, x, y, result, n, to);
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

static const char *eval_one_step(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                 IrTensor *out) {
    IrStep step = {.op = n->op, .arg = {0, 1, 2}};
    ir_step_params(n, step.p);
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

IrTensor ir_eval_own(IrEval *e, const IrTensor *out, IrDtype own) {
    IrTensor y = *out;
    if (own != out->dtype) {
        y.dtype = own;
        y.data = ir_eval_scratch(e, ir_tensor_elems(out), (size_t)ir_dtype_bytes(own));
    }
    return y;
}

const char *ir_eval_then(IrEval *e, const IrNode *n, const IrTensor *const *in, const IrTensor *own,
                         IrTensor *out) {
    IrBody body = ir_body(n, IR_ATTR_THEN);
    return body.n == 0 ? NULL : run_body(e, body, n->n_in, in, own, out);
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

const char *ir_eval_quantize(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    IrStep step[IR_QUANT_STEPS];
    return run_body(e, (IrBody){ir_quant_steps(n, step), step}, n->n_in, in, NULL, out);
}

// Cast-13, without its undefined cases: tensor.c says how.
const char *ir_eval_cast(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    return eval_one_step(e, n, in, out);
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
