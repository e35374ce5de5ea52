// fuse_attention: softmax between two products becomes one kernel, which keeps scores out of
// memory and reads heads where they lie.
//
//   %q: f32[N,6,197,64] = ..                           reshapes, slices, transposes, a factor of
//   %k: f32[N,6,64,197] = ..                           f32[N,197,1152], say
//   %v: f32[N,6,197,64] = ..
//   %s = matmul %q, %k                                 (times a scalar, plus biases of scores)
//   %p = softmax %s {axis=3}
//   %o = matmul %p, %v
//   %y = transpose %o {perm=[0,2,1,3]}
//
//   -> %a: f32[N,197,384] = attention %x, %x, %x {group=6, size=64, start=[0,384,768], alpha=0.125}
//      %y = reshape %a {shape=[N,197,6,64]}
//
// What is between has no other reader: a training step, whose gradient reads it, keeps all of it.
// Attention-23 as exporters spell it.
#include "passes/fuse/view.h"

// MAX_COLUMNS: of a head, with which the kernel's code grows
enum { MAX_BIAS = 2, MAX_STEPS = 8, MAX_COLUMNS = 1024, B = 0, HEAD = 1, ROW = 2, COLUMN = 3 };

typedef struct Attention {
    IrNode *softmax, *scores, *product; // the products with the keys, with the values
    PassView x[3];                      // q, k, v as [B, heads, rows, columns]
    IrValue *bias[MAX_BIAS];
    IrShape bias_shape[MAX_BIAS];
    int n_bias;
    double scale;
} Attention;

// ---------------------------------------------------------------- scores

// What is added to scores of shape `at`, [B,heads,N,M] or [B / P,P,heads,N,M]: the constant sizes
// by which it repeats.
static bool take_bias(Attention *a, IrValue *bias, const IrShape *at) {
    const IrShape *s = &bias->type.shape;
    IrShape shape = {4, {ir_dim(1), ir_dim(1), at->dim[at->rank - 2], at->dim[at->rank - 1]}};
    int period = at->rank == 5;
    if (a->n_bias == MAX_BIAS || s->rank < 2 || s->rank > at->rank || a->scale != 1)
        return false;
    for (int i = 0; i < s->rank; i++) {
        int axis = at->rank - s->rank + i;
        IrDim d = s->dim[i];
        bool one = ir_dim_is(d, 1), whole = !d.n && ir_dim_eq(d, at->dim[axis]);
        bool row = axis >= at->rank - 2;
        if (row ? !whole : axis == 0 ? !one : !one && !whole)
            return false;
        if (!row && axis == at->rank - 3)
            shape.dim[1] = d;
        else if (!row && axis == 1 && period)
            shape.dim[0] = d;
    }
    a->bias[a->n_bias] = bias;
    a->bias_shape[a->n_bias++] = shape;
    return true;
}

// The operand of an addition of a bias that scores come from: the one made for it alone.
static IrValue *take_sum(Attention *a, const IrNode *n) {
    for (int i = 0; i < 2; i++) {
        IrValue *v = ir_in(n, i), *bias = ir_in(n, 1 - i);
        if (v->def && bias->konst && ir_type_eq(&v->type, &n->out[0]->type))
            return take_bias(a, bias, &v->type.shape) ? v : NULL;
    }
    return NULL;
}

// One is [B,heads,N,M], the other [B / P,P,heads,N,M].
static bool splits_batch(const IrShape *x, const IrShape *y) {
    bool same = x->rank + y->rank == 9 && x->rank > 3 && y->rank > 3;
    for (int i = 1; i <= 3 && same; i++)
        same = ir_dim_eq(x->dim[x->rank - i], y->dim[y->rank - i]);
    return same;
}

// Up from the softmax to the product with the keys.
static bool find_scores(PassContext *ctx, Attention *a) {
    IrValue *v = ir_in(a->softmax, 0);
    for (int step = 0; step < MAX_STEPS; step++) {
        IrNode *n = v && v->def && ir_only_user(v) ? v->def : NULL;
        IrValue *of;
        double k;
        if (!n)
            return false;
        if (n->op == IR_OP_MATMUL) {
            a->scores = n;
            return true;
        }
        if (n->op == IR_OP_ADD) {
            v = take_sum(a, n);
        } else if (n->op == IR_OP_RESHAPE) {
            v = splits_batch(&n->out[0]->type.shape, &ir_in(n, 0)->type.shape) ? ir_in(n, 0) : NULL;
        } else if (pass_view_scale(ctx, n, &of, &k)) {
            a->scale *= k;
            v = of;
        } else {
            v = NULL;
        }
    }
    return false;
}

// ---------------------------------------------------------------- operands

static bool is_plain_product(const IrNode *n) {
    return n->op == IR_OP_MATMUL && n->n_in == 2 && !ir_body(n, IR_ATTR_THEN).n &&
           !ir_int(n, IR_ATTR_MEAN, 0) && !ir_int(n, IR_ATTR_TRANS_A, 0);
}

static void swap_last(PassView *v) {
    IrDim size = v->size[ROW];
    int64_t stride = v->stride[ROW];
    v->size[ROW] = v->size[COLUMN];
    v->stride[ROW] = v->stride[COLUMN];
    v->size[COLUMN] = size;
    v->stride[COLUMN] = stride;
}

// Heads side by side in the columns of rows that follow each other
static bool lies_in_rows(const PassView *v) {
    if (v->rank != 4 || v->size[HEAD].n || v->size[ROW].n || v->size[COLUMN].n)
        return false;
    int64_t heads = v->size[HEAD].c, rows = v->size[ROW].c, size = v->size[COLUMN].c;
    int64_t width = rows > 1 ? v->stride[ROW] : v->stride[B];
    bool columns = size == 1 || v->stride[COLUMN] == 1;
    bool in = columns && (heads == 1 || v->stride[HEAD] == size);
    bool batch = ir_dim_is(v->size[B], 1) || v->stride[B] == rows * width;
    return in && batch && size > 0 && size <= MAX_COLUMNS && v->offset >= 0 &&
           v->offset + heads * size <= width;
}

static bool same_heads(const PassView *a, const PassView *b) {
    return ir_dim_eq(a->size[B], b->size[B]) && ir_dim_eq(a->size[HEAD], b->size[HEAD]) &&
           ir_dim_eq(a->size[COLUMN], b->size[COLUMN]);
}

static bool find_operands(PassContext *ctx, Attention *a) {
    IrValue *q = ir_in(a->scores, 0), *k = ir_in(a->scores, 1), *v = ir_in(a->product, 1);
    PassView *x = a->x;
    if (!pass_view(ctx, q, &x[0]) || !pass_view(ctx, k, &x[1]) || !pass_view(ctx, v, &x[2]) ||
        x[1].rank != 4)
        return false;
    if (!ir_int(a->scores, IR_ATTR_TRANS_B, 0))
        swap_last(&x[1]);
    for (int i = 0; i < 3; i++)
        if (!lies_in_rows(&x[i]) || !same_heads(&x[0], &x[i]))
            return false;
    a->scale *= x[0].scale * x[1].scale;
    return x[2].scale == 1 && ir_dim_eq(x[1].size[ROW], x[2].size[ROW]);
}

// ---------------------------------------------------------------- the rewrite

// The source as rows: [B, rows, columns]
static IrValue *as_rows(IrBuilder *b, const PassView *v) {
    int64_t rows = v->size[ROW].c, width = rows > 1 ? v->stride[ROW] : v->stride[B];
    IrShape s = {3, {v->size[B], v->size[ROW], ir_dim(width)}};
    return ir_shape_eq(&v->source->type.shape, &s) ? v->source : ir_build_reshape(b, v->source, &s);
}

static IrValue *build(PassContext *ctx, IrNode *at, Attention *a) {
    IrBuilder b = pass_before(at);
    IrValue *in[3 + MAX_BIAS];
    int64_t start[3];
    for (int i = 0; i < 3; i++) {
        in[i] = as_rows(&b, &a->x[i]);
        start[i] = a->x[i].offset;
    }
    for (int i = 0; i < a->n_bias; i++)
        in[3 + i] = pass_const_reshaped(ctx, at->graph, a->bias[i], &a->bias_shape[i]);
    const IrAttr attrs[] = {ir_attr_i(IR_ATTR_GROUP, a->x[0].size[HEAD].c),
                            ir_attr_i(IR_ATTR_SIZE, a->x[0].size[COLUMN].c),
                            ir_attr_ints(ctx->prog->arena, IR_ATTR_START, 3, start),
                            ir_attr_f(IR_ATTR_ALPHA, a->scale)};
    for (int i = 0; i < 3 + a->n_bias; i++)
        if (!in[i])
            return NULL;
    IrValue *y = ir_build(&b, IR_OP_ATTENTION, 3 + a->n_bias, in, 4, attrs);
    const PassView *q = &a->x[0];
    IrShape s = {4, {q->size[B], q->size[ROW], q->size[HEAD], q->size[COLUMN]}};
    return y ? ir_build_reshape(&b, y, &s) : NULL;
}

static bool merges_heads(const IrNode *n) {
    IrInts perm = n && n->op == IR_OP_TRANSPOSE ? ir_ints(n, IR_ATTR_PERM) : (IrInts){0, NULL};
    return perm.n == 4 && perm.v[0] == 0 && perm.v[1] == 2 && perm.v[2] == 1 && perm.v[3] == 3;
}

static bool match_attention(PassContext *ctx, IrNode *n) {
    Attention a = {.softmax = n, .scale = 1};
    const IrType *p = &n->out[0]->type;
    a.product = ir_only_user(n->out[0]);
    if (p->dtype != IR_F32 || p->shape.rank != 4 || ir_int(n, IR_ATTR_AXIS, 0) != 3 || !a.product ||
        !is_plain_product(a.product) || ir_int(a.product, IR_ATTR_TRANS_B, 0) ||
        ir_in(a.product, 0) != n->out[0] || !find_scores(ctx, &a) || !is_plain_product(a.scores) ||
        !find_operands(ctx, &a))
        return false;
    IrNode *merge = ir_only_user(a.product->out[0]);
    static const int64_t split[] = {0, 2, 1, 3};
    if (merges_heads(merge)) {
        IrValue *y = build(ctx, merge, &a);
        if (y)
            pass_forward(merge, y);
        return y != NULL;
    }
    IrValue *y = build(ctx, a.product, &a);
    IrBuilder b = pass_before(a.product);
    if (y)
        pass_forward(a.product, ir_build_transpose(&b, y, 4, split));
    return y != NULL;
}

PassResult pass_fuse_attention(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next)
        r.changes += n->op == IR_OP_SOFTMAX && match_attention(ctx, n);
    if (r.changes)
        pass_dce(ctx, g);
    return r;
}
