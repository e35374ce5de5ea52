// fuse_gelu: GELU spelled out becomes the op, which is one polynomial.
//
//   %u = div %x, 1.4142135        (or mul by its inverse)
//   %e = erf %u
//   %a = add %e, 1
//   %m = mul %x, %a
//   %y = mul %m, 0.5                                   ->     %y = gelu %x
//
// In any order of the factors x, 1 + erf and 1/2. What is between has no other reader. Before
// gradients are made, too: a training step keeps x, where it kept results of three parts. Gelu-20.

#include "passes/util.h"
#include <math.h>

typedef struct Product {
    IrValue *x;  // the factor that is neither of the others, or NULL
    IrNode *one; // 1 + erf(..), or NULL
    double scale;
    int others; // factors that are x
} Product;

// v = k * of, by a constant k. False: it is no such thing.
static bool read_scaled(PassContext *ctx, const IrNode *n, IrValue **of, double *k) {
    if (n->op == IR_OP_MUL && pass_scalar(ctx, ir_in(n, 1), k)) {
        *of = ir_in(n, 0);
    } else if (n->op == IR_OP_MUL && pass_scalar(ctx, ir_in(n, 0), k)) {
        *of = ir_in(n, 1);
    } else if (n->op == IR_OP_DIV && pass_scalar(ctx, ir_in(n, 1), k)) {
        *of = ir_in(n, 0);
        *k = 1 / *k;
    } else {
        return false;
    }
    return true;
}

// The node that makes v for one reader alone.
static IrNode *own_def(const IrValue *v, IrOp op) {
    IrNode *n = pass_def(v, op);
    return n && ir_only_user(v) ? n : NULL;
}

// n = 1 + erf(x / sqrt 2): x, else NULL.
static IrValue *read_one_plus_erf(PassContext *ctx, const IrNode *n) {
    double one, k;
    IrValue *x;
    for (int i = 0; i < 2; i++) {
        IrNode *e = own_def(ir_in(n, i), IR_OP_ERF);
        if (e && pass_scalar(ctx, ir_in(n, 1 - i), &one) && one == 1) {
            const IrValue *u = ir_in(e, 0);
            IrNode *d = u->def && ir_only_user(u) ? u->def : NULL;
            bool half = d && read_scaled(ctx, d, &x, &k) && fabs(k - M_SQRT1_2) < 1e-6;
            return half ? x : NULL;
        }
    }
    return NULL;
}

static void take_factor(PassContext *ctx, Product *p, IrValue *v, int depth) {
    enum { DEPTH = 3 };
    double k;
    IrValue *of;
    IrNode *n = depth == 0 ? v->def : own_def(v, IR_OP_MUL);
    n = n ? n : own_def(v, IR_OP_DIV);
    IrNode *sum = own_def(v, IR_OP_ADD);
    if (n && depth < DEPTH && read_scaled(ctx, n, &of, &k)) {
        p->scale *= k;
        take_factor(ctx, p, of, depth + 1);
    } else if (n && depth < DEPTH && n->op == IR_OP_MUL) {
        take_factor(ctx, p, ir_in(n, 0), depth + 1);
        take_factor(ctx, p, ir_in(n, 1), depth + 1);
    } else if (sum && !p->one && read_one_plus_erf(ctx, sum)) {
        p->one = sum;
    } else {
        p->x = v;
        p->others++;
    }
}

static bool match_gelu(PassContext *ctx, IrNode *n) {
    Product p = {.scale = 1};
    IrDtype t = n->out[0]->type.dtype;
    if ((n->op != IR_OP_MUL && n->op != IR_OP_DIV) || (t != IR_F32 && t != IR_F64)) {
        return false;
    }
    take_factor(ctx, &p, n->out[0], 0);
    if (!p.one || p.others != 1 || p.scale != 0.5 || read_one_plus_erf(ctx, p.one) != p.x ||
        !ir_type_eq(&p.x->type, &n->out[0]->type)) {
        return false;
    }
    IrBuilder b = pass_before(n);
    pass_forward(n, ir_build(&b, IR_OP_GELU, 1, &p.x, 0, NULL));
    return true;
}

PassResult pass_fuse_gelu(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        r.changes += match_gelu(ctx, n);
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
