// Gradients of the network ops: convolution, matrix product, normalisation, pools, the loss.

#include "passes/train/grad.h"

static IrAttr shape_of(const IrValue *v) {
    return ir_attr_dims(IR_ATTR_SHAPE, &v->type.shape);
}

// n's attributes with one more, or another.
static IrValue *build_with(PassGrad *t, IrOp op, const IrNode *n, IrValue *x, IrValue *y,
                           IrAttr more) {
    enum { MOST = 16 };
    IrAttr attrs[MOST];
    int count = 0;
    for (int i = 0; i < n->n_attrs && count < MOST - 1; i++) {
        if ((ir_op_info(op)->attrs >> n->attrs[i].key & 1) && n->attrs[i].key != more.key) {
            attrs[count++] = n->attrs[i];
        }
    }
    attrs[count++] = more;
    return pass_rev_op(t, op, y ? 2 : 1, (IrValue *[]){x, y}, count, attrs);
}

void pass_grad_conv(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *w = ir_in(n, 1), *dy = pass_rev_of(t, n, 0);
    if (pass_rev_wants(t, n, 0)) {
        pass_rev_give(t, n, 0, build_with(t, IR_OP_CONV_DGRAD, n, dy, w, shape_of(x)));
    }
    if (pass_rev_wants(t, n, 1)) {
        pass_rev_give(t, n, 1, build_with(t, IR_OP_CONV_WGRAD, n, x, dy, shape_of(w)));
    }
    if (pass_rev_wants(t, n, 2)) {
        pass_rev_give(t, n, 2, pass_rev_sum(t, dy, 3, (int64_t[]){0, 2, 3}));
    }
}

// y = conv_dgrad of x and w is linear in both as the convolution is that it comes from, backwards.
void pass_grad_conv_dgrad(PassGrad *t, IrNode *n) {
    IrValue *w = ir_in(n, 1), *dy = pass_rev_of(t, n, 0);
    if (pass_rev_wants(t, n, 0)) {
        IrAttr group = ir_attr_i(IR_ATTR_GROUP, ir_int(n, IR_ATTR_GROUP, 1));
        pass_rev_give(t, n, 0, build_with(t, IR_OP_CONV, n, dy, w, group));
    }
    if (pass_rev_wants(t, n, 1)) {
        pass_rev_give(t, n, 1, build_with(t, IR_OP_CONV_WGRAD, n, dy, ir_in(n, 0), shape_of(w)));
    }
}

static IrValue *multiply(PassGrad *t, IrValue *a, bool trans_a, IrValue *b, bool trans_b) {
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_TRANS_A, trans_a), ir_attr_i(IR_ATTR_TRANS_B, trans_b)};
    return pass_rev_op(t, IR_OP_MATMUL, 2, (IrValue *[]){a, b}, 2, attrs);
}

// [...,M,K] as [...*M,K], so that one product sums over the batch; false where that is no product.
static bool flatten_rows(PassGrad *t, IrValue **v) {
    const IrShape *s = &(*v)->type.shape;
    IrShape flat = {.rank = 2, .dim = {ir_dim(1), s->dim[s->rank - 1]}};
    for (int i = 0; i < s->rank - 1; i++) {
        if (!ir_dim_mul(flat.dim[0], s->dim[i], &flat.dim[0])) {
            return false;
        }
    }
    *v = pass_rev_reshape(t, *v, &flat);
    return true;
}

// y = A B with A and B as they are after trans_a, trans_b:  dA = dy B^T,  dB = A^T dy; the
// operands' own are the transposes of these. Broadcast batches are summed by pass_rev_give().
void pass_grad_matmul(PassGrad *t, IrNode *n) {
    IrValue *a = ir_in(n, 0), *b = ir_in(n, 1), *dy = pass_rev_of(t, n, 0);
    bool ta = ir_int(n, IR_ATTR_TRANS_A, 0), tb = ir_int(n, IR_ATTR_TRANS_B, 0);
    if (pass_rev_wants(t, n, 0)) {
        pass_rev_give(t, n, 0, ta ? multiply(t, b, tb, dy, true) : multiply(t, dy, false, b, !tb));
    }
    if (pass_rev_wants(t, n, 1)) {
        IrValue *rows = a, *drows = dy;
        bool one_matrix = b->type.shape.rank == 2 && a->type.shape.rank > 2 && !ta;
        if (!one_matrix || !flatten_rows(t, &rows) || !flatten_rows(t, &drows)) {
            rows = a;
            drows = dy;
        }
        pass_rev_give(t, n, 1,
                      tb ? multiply(t, drows, true, rows, ta)
                         : multiply(t, rows, !ta, drows, false));
    }
    pass_rev_give(t, n, 2, dy);
}

// ---------------------------------------------------------------- normalisation

// A vector over channels against x [N,C,...].
static IrValue *per_channel(PassGrad *t, IrValue *v, const IrValue *x) {
    IrShape s = {.rank = x->type.shape.rank};
    for (int i = 0; i < s.rank; i++) {
        s.dim[i] = i == 1 ? x->type.shape.dim[1] : ir_dim(1);
    }
    return pass_rev_reshape(t, v, &s);
}

static IrValue *sum_channels(PassGrad *t, IrValue *v) {
    int64_t axes[IR_MAX_RANK];
    int n = 0;
    for (int i = 0; i < v->type.shape.rank; i++) {
        if (i != 1) {
            axes[n++] = i;
        }
    }
    return pass_rev_sum(t, v, n, axes);
}

// Of y = (x - mean) / std * scale + bias, std = sqrt(var + eps), by the statistics, where these are
// computed (from the weights that are normalized so): d mean = - dbias * scale / std,
// d var = - dscale * scale / (2 std^2).
static void give_statistics(PassGrad *t, IrNode *n, IrValue *std, IrValue *dscale, IrValue *dbias) {
    IrValue *slope = pass_rev_2(t, IR_OP_DIV, ir_in(n, 1), std);
    if (pass_rev_wants(t, n, 3)) {
        pass_rev_give(t, n, 3, pass_rev_1(t, IR_OP_NEG, pass_rev_2(t, IR_OP_MUL, dbias, slope)));
    }
    if (pass_rev_wants(t, n, 4)) {
        slope = pass_rev_scale(t, pass_rev_2(t, IR_OP_DIV, slope, std), -0.5);
        pass_rev_give(t, n, 4, pass_rev_2(t, IR_OP_MUL, dscale, slope));
    }
}

// With statistics that are no function of x:
//   dx = dy * scale / std, dscale = sum(dy * (x - mean)) / std, dbias = sum dy
void pass_grad_batch_norm(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *scale = ir_in(n, 1), *mean = ir_in(n, 3);
    IrValue *dy = pass_rev_of(t, n, 0);
    IrValue *var = pass_rev_shift(t, ir_in(n, 4), ir_float(n, IR_ATTR_EPS, 1e-5));
    IrValue *std = pass_rev_1(t, IR_OP_SQRT, var);
    if (pass_rev_wants(t, n, 0)) {
        IrValue *slope = per_channel(t, pass_rev_2(t, IR_OP_DIV, scale, std), x);
        pass_rev_give(t, n, 0, pass_rev_2(t, IR_OP_MUL, dy, slope));
    }
    IrValue *dscale = NULL, *dbias = NULL;
    if (pass_rev_wants(t, n, 1) || pass_rev_wants(t, n, 4)) {
        IrValue *centred = pass_rev_2(t, IR_OP_SUB, x, per_channel(t, mean, x));
        IrValue *sum = sum_channels(t, pass_rev_2(t, IR_OP_MUL, dy, centred));
        dscale = pass_rev_2(t, IR_OP_DIV, sum, std);
        pass_rev_give(t, n, 1, dscale);
    }
    if (pass_rev_wants(t, n, 2) || pass_rev_wants(t, n, 3)) {
        dbias = sum_channels(t, dy);
        pass_rev_give(t, n, 2, dbias);
    }
    give_statistics(t, n, std, dscale, dbias);
}

void pass_grad_batch_norm_train(PassGrad *t, IrNode *n) {
    IrValue *dy = pass_rev_of(t, n, 0);
    if (pass_rev_of(t, n, 1) || pass_rev_of(t, n, 2)) {
        pass_rev_nyi(t, n, "from its statistics");
        return;
    }
    IrValue *in[] = {ir_in(n, 0), dy, ir_in(n, 1), n->out[1], n->out[2]};
    IrNode *grad = pass_rev_node(t, IR_OP_BATCH_NORM_GRAD, 5, in, n->n_attrs, n->attrs);
    for (int i = 0; i < 3; i++) {
        pass_rev_give(t, n, i, grad->out[i]);
    }
}

void pass_grad_lrn(PassGrad *t, IrNode *n) {
    IrValue *in[] = {ir_in(n, 0), pass_rev_of(t, n, 0)};
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_LRN_GRAD, 2, in, n->n_attrs, n->attrs));
}

// ---------------------------------------------------------------- pools, loss

void pass_grad_max_pool(PassGrad *t, IrNode *n) {
    IrValue *in[] = {ir_in(n, 0), pass_rev_of(t, n, 0)};
    pass_rev_give(t, n, 0, pass_rev_op(t, IR_OP_MAX_POOL_GRAD, 2, in, n->n_attrs, n->attrs));
}

void pass_grad_avg_pool(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *dy = pass_rev_of(t, n, 0);
    pass_rev_give(t, n, 0, build_with(t, IR_OP_AVG_POOL_GRAD, n, dy, NULL, shape_of(x)));
}

// Result 1 is the gradient of each sample's loss.
void pass_grad_softmax_ce(PassGrad *t, IrNode *n) {
    if (pass_rev_of(t, n, 1) || pass_rev_wants(t, n, 2) || pass_rev_wants(t, n, 3) ||
        (n->n_in > 4 && pass_rev_wants(t, n, 5))) {
        pass_rev_nyi(t, n, "from dlogits, or by weight, smoothing or share");
        return;
    }
    IrShape column = {.rank = 2, .dim = {n->out[0]->type.shape.dim[0], ir_dim(1)}};
    IrValue *dloss = pass_rev_reshape(t, pass_rev_of(t, n, 0), &column);
    pass_rev_give(t, n, 0, pass_rev_2(t, IR_OP_MUL, dloss, n->out[1]));
}
