// fuse_layer_norm: the normalization of each row, spelled out, becomes the op, which is one kernel:
// a row stays in the first level cache from its mean to what is stored.
//
//   %m = reduce_mean %x {axes=[2], keepdims=1}
//   %d = sub %x, %m
//   %q = mul %d, %d
//   %v = reduce_mean %q {axes=[2], keepdims=1}
//   %e = add %v, 1e-6
//   %s = sqrt %e
//   %y = div %d, %s                              ->     %y = layer_norm %x {eps=1e-6}
//
// The op normalizes along the last axis. Along another, as where a transpose has sunk below, the
// rows are brought together first; the transpose behind it that does the same then goes:
//
//   %y = (as above, axes=[1])                    ->     %t = transpose %x {perm=[0,2,3,1]}
//   %z = transpose %y {perm=[0,2,3,1]}                  %z = layer_norm %t
//
// or else one stands behind, where channels are whole blocks of the layout. What is between has no
// other reader: a training step, whose gradient reads it, keeps all of it. LayerNormalization-17;
// scale and bias are its epilogue's.
#include "passes/util.h"

typedef struct Norm {
    IrValue *x;
    int axis;
    double eps;
} Norm;

// The axis of v = mean(of) along one axis, kept; v is read by one node. -1: it is no such thing.
static int read_mean(const IrValue *v, IrValue **of) {
    IrNode *n = pass_def(v, IR_OP_REDUCE_MEAN);
    IrInts axes = {0};
    if (n) {
        axes = ir_ints(n, IR_ATTR_AXES);
        *of = ir_in(n, 0);
    }
    bool one = n && axes.n == 1 && !ir_body(n, IR_ATTR_THEN).n && ir_only_user(v) &&
               v->type.shape.rank == (*of)->type.shape.rank;
    return one ? (int)axes.v[0] : -1;
}

// v = sqrt(variance + eps), for one reader: the variance.
static IrValue *read_deviation(PassContext *ctx, const IrValue *v, double *eps) {
    IrNode *root = pass_def(v, IR_OP_SQRT);
    IrNode *sum = root && ir_only_user(v) ? pass_def(ir_in(root, 0), IR_OP_ADD) : NULL;
    for (int i = 0; sum && ir_only_user(sum->out[0]) && i < 2; i++) {
        if (pass_scalar(ctx, ir_in(sum, 1 - i), eps)) {
            return ir_in(sum, i);
        }
    }
    return NULL;
}

// n = d / s, or d * (1 / s)
static bool read_quotient(PassContext *ctx, const IrNode *n, IrValue **d, IrValue **s) {
    double one;
    if (n->op == IR_OP_DIV) {
        *d = ir_in(n, 0);
        *s = ir_in(n, 1);
        return true;
    }
    for (int i = 0; i < 2 && n->op == IR_OP_MUL; i++) {
        IrNode *inverse = pass_def(ir_in(n, i), IR_OP_DIV);
        if (inverse && ir_only_user(inverse->out[0]) && pass_scalar(ctx, ir_in(inverse, 0), &one) &&
            one == 1) {
            *d = ir_in(n, 1 - i);
            *s = ir_in(inverse, 1);
            return true;
        }
    }
    return false;
}

static bool match(PassContext *ctx, const IrNode *n, Norm *norm) {
    IrValue *d, *s, *square_of, *mean_of, *variance;
    if (n->out[0]->type.dtype != IR_F32 || !read_quotient(ctx, n, &d, &s) ||
        !(variance = read_deviation(ctx, s, &norm->eps))) {
        return false;
    }
    norm->axis = read_mean(variance, &square_of);
    IrNode *square = norm->axis >= 0 ? pass_def(square_of, IR_OP_MUL) : NULL;
    IrNode *sub = pass_def(d, IR_OP_SUB);
    if (!square || !sub || ir_in(square, 0) != d || ir_in(square, 1) != d ||
        !ir_only_user(square_of) || d->n_uses != 3 || d->is_output ||
        read_mean(ir_in(sub, 1), &mean_of) != norm->axis || mean_of != ir_in(sub, 0)) {
        return false;
    }
    norm->x = mean_of;
    IrDim size = mean_of->type.shape.dim[norm->axis];
    return size.n == 0 && size.c > 0 && ir_type_eq(&mean_of->type, &n->out[0]->type);
}

// ---------------------------------------------------------------- where rows lie

// The permutation that brings the axis to the end, and its inverse.
static void last_axis(int rank, int axis, int64_t *to, int64_t *back) {
    for (int i = 0; i < rank; i++) {
        to[i] = i < axis ? i : i + 1 < rank ? i + 1 : axis;
        back[to[i]] = i;
    }
}

static bool has_perm(const IrNode *n, int rank, const int64_t *perm) {
    IrInts p = n && n->op == IR_OP_TRANSPOSE ? ir_ints(n, IR_ATTR_PERM) : (IrInts){0};
    bool same = p.n == rank;
    for (int i = 0; same && i < rank; i++) {
        same = p.v[i] == perm[i];
    }
    return same;
}

static IrValue *transpose(PassContext *ctx, IrBuilder *b, IrValue *x, int rank,
                          const int64_t *perm) {
    IrAttr attr = ir_attr_ints(ctx->prog->arena, IR_ATTR_PERM, rank, perm);
    return ir_build(b, IR_OP_TRANSPOSE, 1, &x, 1, &attr);
}

static IrValue *normalize(IrBuilder *b, IrValue *x, double eps) {
    IrAttr attr = ir_attr_f(IR_ATTR_EPS, eps);
    return ir_build(b, IR_OP_LAYER_NORM, 1, &x, 1, &attr);
}

// Of rank 4, channels of whole blocks: a transpose of such is a copy of vectors.
static bool has_whole_blocks(const PassContext *ctx, const Norm *norm) {
    const IrShape *s = &norm->x->type.shape;
    int block = ctx->opt->block;
    return s->rank == 4 && norm->axis == 1 && block > 1 && s->dim[1].c % block == 0;
}

static bool replace(PassContext *ctx, IrNode *n, const Norm *norm) {
    int rank = norm->x->type.shape.rank;
    int64_t to[IR_MAX_RANK], back[IR_MAX_RANK];
    IrBuilder b = pass_before(n);
    if (norm->axis == rank - 1) {
        pass_forward(n, normalize(&b, norm->x, norm->eps));
        return true;
    }
    last_axis(rank, norm->axis, to, back);
    IrNode *behind = ir_only_user(n->out[0]);
    bool same = has_perm(behind, rank, to);
    if (!same && !has_whole_blocks(ctx, norm)) {
        return false;
    }
    IrNode *above = norm->x->def;
    IrValue *rows =
        has_perm(above, rank, back) ? ir_in(above, 0) : transpose(ctx, &b, norm->x, rank, to);
    IrValue *y = normalize(&b, rows, norm->eps);
    if (same) {
        pass_forward(behind, y);
    } else {
        pass_forward(n, transpose(ctx, &b, y, rank, back));
    }
    return true;
}

PassResult pass_fuse_layer_norm(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->last, *prev; n; n = prev) { // so that the transpose behind was passed
        Norm norm;
        prev = n->prev;
        r.changes += match(ctx, n, &norm) && replace(ctx, n, &norm);
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
