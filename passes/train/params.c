// The floats that the loss depends on, parameters and others (role.c), and what `--params` makes of
// them.
//
//   +GLOB   trains, whatever the rule says
//   -GLOB   does not
//
// over the names of tensors and of the nodes that read them; the last that matches counts. One that
// matches nothing is an error.
#include "passes/train/match.h"
#include "passes/train/role.h"

static const char by_user[] = "--params";

// A float that the file stores and the loss depends on.
static bool is_stored(const PassFlow *f, const IrValue *v) {
    return v->konst && v->konst->origin && v->type.dtype == IR_F32 && pass_elems(&v->type) > 0 &&
           f->reached[v->id];
}

// Vectors, and what works element by element, are not decayed.
static bool decays(const IrValue *v, const PassRole *r) {
    int dims = v->type.shape.rank;
    for (int i = 0; r->computed && i < v->type.shape.rank; i++) {
        dims -= ir_dim_is(v->type.shape.dim[i], 1);
    }
    return dims > 1 && pass_is_product(r->reader->op);
}

static PassParam describe(PassContext *ctx, PassFlow *f, const PassOrder *order, IrNode *n,
                          IrValue *v) {
    PassRole r = pass_role(ctx, f, order, v);
    r.reader = r.reader ? r.reader : n;
    return (PassParam){v->konst, n, r.reader, decays(v, &r), r.reason};
}

static bool override(PassContext *ctx, const PassFreeze *o, PassParam *v, int n) {
    for (int k = 0; k < o->n_params; k++) {
        int found = 0;
        for (int i = 0; i < n; i++) {
            if (pass_glob(o->params[k] + 1, &v[i])) {
                v[i].reason = o->params[k][0] == '+' ? NULL : by_user;
                found++;
            }
        }
        if (!found) {
            pass_report_unknown(ctx, "--params", o->params[k] + 1, v, n);
            return false;
        }
    }
    return true;
}

int pass_params(PassContext *ctx, IrGraph *g, PassParam **out) {
    PassFlow f = pass_flow(ctx->scratch, g);
    PassOrder order = pass_order(ctx, g);
    bool *seen = ir_alloc_array(ctx->scratch, g->next_id, sizeof *seen);
    int n_params = 0, cap = 0;
    *out = NULL;
    for (IrNode *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->n_in; i++) {
            IrValue *v = ir_in(n, i);
            if (v && !seen[v->id] && f.left && is_stored(&f, v)) {
                seen[v->id] = true;
                PassParam p = describe(ctx, &f, &order, n, v);
                IR_PUSH(ctx->prog->arena, *out, n_params, cap, p);
            }
        }
    }
    const PassFreeze *o = ctx->opt->freeze;
    return f.left && (!o || override(ctx, o, *out, n_params)) ? n_params : 0;
}
