// fuse_bn: what a convolution is followed by, channel by channel, goes into its weights.
//
//   %y = conv %x, %w, %b                       %y = conv %x, %w', %b'     w' = w * a[o]
//   %z = batch_norm %y, %s, %o, %m, %v   ->    a = s / sqrt(v + eps), b' = (b - m) * a + o
//
//   %z = mul %y, %k  or  add %y, %k      ->    the same with one of a, b': BN spelled out, Scale
//                                              layers
//   %z = batch_norm %x, ...              ->    mul and add by constants [1,C,1,1], where no
//                                              convolution stands right above (pre-activation
//                                              networks), with the constant arithmetic around it
//
//   %z = mul %y, %k                      ->    mul and add behind %y, where 16 bits hold all its
//                                              weights, as the file stores them: scaled, they would
//                                              take twice the space
//
// Also for a matmul by a constant matrix, along the last axis. BatchNormalization-15 in inference
// form; arithmetic in double, one rounding. Only frozen constants are read, and only a convolution
// whose result has no other reader changes. Its group count does not matter: weights scale along O.

#include "passes/util.h"
#include <math.h>

// y = x * scale + shift along one axis of a result: a pair per channel, or one for all of them,
// however many a file claims.
typedef struct Affine {
    int64_t n; // pairs
    double *scale, *shift;
} Affine;

static Affine make_affine(PassContext *ctx, const IrNode *of, int64_t n) {
    ir_work_on(of);
    Affine f = {n, ir_alloc_array(ctx->scratch, (size_t)n + 1, sizeof(double)),
                ir_alloc_array(ctx->scratch, (size_t)n + 1, sizeof(double))};
    for (int64_t c = 0; c < n; c++) {
        f.scale[c] = 1;
    }
    return f;
}

static double scale_of(const Affine *f, int64_t channel) {
    return f->scale[f->n == 1 ? 0 : channel];
}

static double shift_of(const Affine *f, int64_t channel) {
    return f->shift[f->n == 1 ? 0 : channel];
}

// First all, then f, which node `of` is.
static void compose(PassContext *ctx, const IrNode *of, Affine *all, const Affine *f) {
    Affine both = f->n > all->n ? make_affine(ctx, of, f->n) : *all;
    for (int64_t c = 0; c < both.n; c++) {
        double scale = scale_of(f, c);
        both.shift[c] = shift_of(all, c) * scale + shift_of(f, c);
        both.scale[c] = scale_of(all, c) * scale;
    }
    *all = both;
}

// ---------------------------------------------------------------- nodes as affine maps

static bool read_batch_norm(PassContext *ctx, const IrNode *n, Affine *f) {
    for (int i = 1; i <= 4; i++) {
        if (!pass_is_frozen(ir_in(n, i))) {
            return false;
        }
    }
    double eps = ir_float(n, IR_ATTR_EPS, 1e-5);
    *f = make_affine(ctx, n, pass_elems(&ir_in(n, 1)->type));
    for (int64_t c = 0; c < f->n; c++) {
        double var = pass_elem(ctx, ir_in(n, 4), c);
        f->scale[c] = pass_elem(ctx, ir_in(n, 1), c) / sqrt(var + eps);
        f->shift[c] = pass_elem(ctx, ir_in(n, 2), c) - pass_elem(ctx, ir_in(n, 3), c) * f->scale[c];
        if (!isfinite(f->scale[c]) || !isfinite(f->shift[c])) {
            return false;
        }
    }
    return true;
}

static void take_mul(Affine *f, int64_t c, double k) {
    f->scale[c] = k;
}
static void take_div(Affine *f, int64_t c, double k) {
    f->scale[c] = 1 / k;
}
static void take_add(Affine *f, int64_t c, double k) {
    f->shift[c] = k;
}
static void take_sub(Affine *f, int64_t c, double k) {
    f->shift[c] = -k;
}

static const struct {
    IrOp op;
    void (*take)(Affine *f, int64_t c, double k);
} affine_ops[] = {
    {IR_OP_MUL, take_mul},
    {IR_OP_DIV, take_div},
    {IR_OP_ADD, take_add},
    {IR_OP_SUB, take_sub},
};

// n is `y op constant` with the constant varying along `axis` alone.
static bool read_binary(PassContext *ctx, const IrNode *n, const IrValue *y, int axis, Affine *f) {
    for (size_t i = 0; i < sizeof affine_ops / sizeof *affine_ops; i++) {
        if (affine_ops[i].op != n->op) {
            continue;
        }
        bool swapped = ir_in(n, 1) == y && (ir_op_info(n->op)->flags & IR_FLAG_C);
        const IrValue *k = ir_in(n, swapped ? 0 : 1);
        if (ir_in(n, swapped ? 1 : 0) != y || !ir_type_eq(&n->out[0]->type, &y->type) ||
            !pass_is_per_axis(k, &y->type.shape, axis)) {
            return false;
        }
        *f = make_affine(ctx, n, ir_const_is_scalar(k) ? 1 : y->type.shape.dim[axis].c);
        for (int64_t c = 0; c < f->n; c++) {
            affine_ops[i].take(f, c, pass_channel(ctx, k, c));
            if (!isfinite(f->scale[c]) || !isfinite(f->shift[c])) {
                return false;
            }
        }
        return true;
    }
    return false;
}

// ---------------------------------------------------------------- into weights and bias

static bool is_f32(const IrValue *v) {
    return v->type.dtype == IR_F32;
}

// The axis of n's result that its weights have one slice per element of, or -1 when they may not
// change.
static int weight_axis(const IrNode *n) {
    const IrValue *w = ir_in(n, 1), *bias = ir_in(n, 2);
    if ((n->op != IR_OP_CONV && n->op != IR_OP_MATMUL) || ir_body(n, IR_ATTR_THEN).n ||
        !pass_is_frozen(w) || !is_f32(w) || !is_f32(n->out[0])) {
        return -1;
    }
    int axis = n->op == IR_OP_CONV ? 1 : n->out[0]->type.shape.rank - 1;
    if (n->op == IR_OP_MATMUL && (w->type.shape.rank != 2 || ir_in(n, 0)->type.shape.rank < 2)) {
        return -1;
    }
    bool free_bias =
        !bias || (pass_is_frozen(bias) && is_f32(bias) &&
                  (n->op == IR_OP_CONV || pass_is_per_axis(bias, &n->out[0]->type.shape, axis)));
    return free_bias ? axis : -1;
}

// Weights lie as [outer][channels][inner]: O is the first axis of a convolution's, the last of a
// matmul's.
static IrValue *scale_weights(PassContext *ctx, IrNode *n, const Affine *f) {
    IrValue *w = ir_in(n, 1);
    bool first = n->op == IR_OP_CONV || ir_int(n, IR_ATTR_TRANS_B, 0);
    int64_t dims[IR_MAX_RANK], elems = pass_elems(&w->type);
    for (int i = 0; i < w->type.shape.rank; i++) {
        dims[i] = w->type.shape.dim[i].c;
    }
    int64_t channels = dims[first ? 0 : w->type.shape.rank - 1];
    int64_t inner = first && channels ? elems / channels : 1;
    const float *old = ir_const_data(ctx->prog, w->konst);
    float *data;
    IrValue *out = pass_const_f32(ctx, n->graph, w->konst->name, w->type.shape.rank, dims, &data);
    for (int64_t i = 0; i < elems; i++) {
        data[i] = (float)(old[i] * scale_of(f, i / inner % channels));
    }
    return out;
}

static bool is_scaling(const Affine *f) {
    for (int64_t c = 0; c < f->n; c++) {
        if (f->scale[c] != 1) {
            return true;
        }
    }
    return false;
}

// Weights of a file that stores 16 bits: scaled, they would take 32.
static bool stays_small(const IrNode *n) {
    enum { FEW = 1024 };
    IrConst *w = ir_in(n, 1)->konst;
    return pass_elems(&w->type) >= FEW && ir_const_narrowest(w) != IR_F32;
}

// axis: of n's result.
static void apply_affine(PassContext *ctx, IrNode *n, int axis, const Affine *f) {
    IrValue *bias = ir_in(n, 2);
    int64_t channels = n->out[0]->type.shape.dim[axis].c;
    ir_work_on(n);
    float *data;
    const char *name = ir_sprintf(ctx->prog->arena, "%s.bias", n->name);
    IrValue *now = pass_const_f32(ctx, n->graph, name, 1, &channels, &data);
    for (int64_t c = 0; c < channels; c++) {
        double b = bias ? pass_channel(ctx, bias, c) : 0;
        data[c] = (float)(b * scale_of(f, c) + shift_of(f, c));
    }
    if (is_scaling(f)) {
        ir_set_in(n, 1, scale_weights(ctx, n, f));
    }
    ir_set_in(n, 2, now);
}

// What the only reader of y does with it, when that is affine per element of `axis`.
static bool read_reader(PassContext *ctx, const IrValue *y, int axis, IrNode **user, Affine *f) {
    *user = ir_only_user(y);
    if (!*user) {
        return false;
    }
    if ((*user)->op == IR_OP_BATCH_NORM) {
        return axis == 1 && ir_in(*user, 0) == y && read_batch_norm(ctx, *user, f);
    }
    return read_binary(ctx, *user, y, axis, f);
}

// A constant that broadcasts along `axis` of n's result.
static IrValue *spread_channels(PassContext *ctx, IrNode *n, int axis, const char *what,
                                const double *v, int64_t count) {
    int64_t dims[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    float *data;
    dims[axis] = count;
    const char *name = ir_sprintf(ctx->prog->arena, "%s.%s", n->name, what);
    IrValue *out = pass_const_f32(ctx, n->graph, name, n->out[0]->type.shape.rank, dims, &data);
    for (int64_t c = 0; c < count; c++) {
        data[c] = (float)v[c];
    }
    return out;
}

// The affine map as nodes behind n, which an epilogue takes; n's own bias goes into the shift.
static void put_behind(PassContext *ctx, IrNode *n, int axis, const Affine *f) {
    IrValue *y = n->out[0], *bias = ir_in(n, 2);
    int64_t channels = y->type.shape.dim[axis].c;
    double *scale = ir_alloc_array(ctx->scratch, (size_t)channels + 1, sizeof *scale);
    double *shift = ir_alloc_array(ctx->scratch, (size_t)channels + 1, sizeof *shift);
    ir_work_on(n);
    for (int64_t c = 0; c < channels; c++) {
        scale[c] = scale_of(f, c);
        shift[c] = (bias ? pass_channel(ctx, bias, c) : 0) * scale[c] + shift_of(f, c);
    }
    IrBuilder b = {.graph = n->graph, .before = n->next, .name = n->name, .src_op = n->src_op};
    IrValue *k = spread_channels(ctx, n, axis, "scale", scale, channels);
    IrValue *m = ir_build2(&b, IR_OP_MUL, y, k);
    IrValue *z =
        ir_build2(&b, IR_OP_ADD, m, spread_channels(ctx, n, axis, "shift", shift, channels));
    ir_replace_uses(y, z);
    ir_set_in(m->def, 0, y);
    if (bias) {
        ir_set_in(n, 2, NULL);
    }
}

// Takes what follows n, node by node, as long as it is affine; then n changes once. Returns how
// many.
static int take_readers(PassContext *ctx, IrNode *n) {
    IrNode *user;
    Affine all, f;
    int axis = weight_axis(n), count = 0;
    while (axis >= 0 && read_reader(ctx, n->out[0], axis, &user, &f)) {
        all = count++ ? all : make_affine(ctx, user, 1);
        compose(ctx, user, &all, &f);
        n->name = ir_join_names(ctx->prog->arena, n->name, user->name);
        n->out[0]->name = user->out[0]->name;
        pass_forward(user, n->out[0]);
    }
    if (count && is_scaling(&all) && stays_small(n)) {
        put_behind(ctx, n, axis, &all);
    } else if (count) {
        apply_affine(ctx, n, axis, &all);
    }
    return count;
}

// ---------------------------------------------------------------- no convolution above

// n as an affine map of *x per element of axis 1.
static bool read_head(PassContext *ctx, IrNode *n, IrValue **x, Affine *f) {
    if (n->n_in < 2 || !ir_in(n, 0) || !is_f32(n->out[0]) || n->out[0]->type.shape.rank < 2) {
        return false;
    }
    *x = ir_in(n, 0)->konst ? ir_in(n, 1) : ir_in(n, 0);
    return n->op == IR_OP_BATCH_NORM ? read_batch_norm(ctx, n, f) : read_binary(ctx, n, *x, 1, f);
}

// A batch_norm, or a longer chain of constant arithmetic, that begins at n becomes mul and add.
// Returns the last node of what stands there now, or NULL when nothing changed.
static IrNode *shorten_chain(PassContext *ctx, IrNode *n) {
    IrValue *x;
    Affine all, f;
    IrNode *user, *last = n;
    if (!read_head(ctx, n, &x, &all)) {
        return NULL;
    }
    bool norm = n->op == IR_OP_BATCH_NORM;
    int count = 1;
    const char *name = n->name;
    for (; read_reader(ctx, last->out[0], 1, &user, &f); count++) {
        compose(ctx, user, &all, &f);
        norm = norm || user->op == IR_OP_BATCH_NORM;
        name = ir_join_names(ctx->prog->arena, name, user->name);
        last = user;
    }
    if (!norm && count < 3) {
        return NULL;
    }
    IrBuilder b = pass_before(last);
    b.name = name;
    IrValue *scale = spread_channels(ctx, last, 1, "scale", all.scale, all.n);
    IrValue *shift = spread_channels(ctx, last, 1, "shift", all.shift, all.n);
    IrValue *y = ir_build2(&b, IR_OP_ADD, ir_build2(&b, IR_OP_MUL, x, scale), shift);
    pass_forward(last, y); // dce takes the rest
    return y->def;
}

PassResult pass_fuse_bn(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next) {
        r.changes += take_readers(ctx, n);
        IrNode *last = n->out[0]->n_uses || n->out[0]->is_output ? shorten_chain(ctx, n) : NULL;
        r.changes += last != NULL;
        n = last ? last : n;
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
