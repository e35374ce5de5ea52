// The floats that the loss depends on, parameters and others (role.c), and what `--params` makes of
// them.
//
//   +GLOB   trains, whatever the rule says
//   -GLOB   does not
//
// over the names of tensors and of the nodes that read them; the last that matches counts. One that
// matches nothing is an error, and so is the wish that what has no slope trains.
#include "passes/train/match.h"
#include "passes/train/role.h"

static const char by_user[] = "--params", no_slope[] = "no way with a slope leads to the loss";

// A tensor of floats that the file stores.
static bool is_stored(const IrValue *v) {
    return v->konst && v->konst->origin && v->type.dtype == IR_F32 && pass_elems(&v->type) > 0;
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
    PassRole r = f->reached[v->id] ? pass_role(ctx, f, order, v) : (PassRole){.reason = no_slope};
    r.reader = r.reader ? r.reader : n;
    return (PassParam){v->konst, n, r.reader, decays(v, &r), r.reason};
}

// How many `one`, a sign and a glob, matches; of no_slope for a wish in vain.
static int apply(const char *one, PassParam *v, int n, int *in_vain) {
    int found = 0;
    for (int i = 0; i < n; i++) {
        if (pass_glob(one + 1, &v[i])) {
            bool flat = v[i].reason == no_slope;
            *in_vain += flat;
            found++;
            v[i].reason = flat ? no_slope : *one == '+' ? NULL : by_user;
        }
    }
    return found;
}

static bool override(PassContext *ctx, const PassFreeze *o, PassParam *v, int n) {
    for (int k = 0; k < o->n_params; k++) {
        const char *one = o->params[k];
        int in_vain = 0, found = apply(one, v, n, &in_vain);
        bool known = found || (o->in_file && o->in_file(o->file, one + 1));
        if (!known) {
            pass_report_unknown(ctx, "--params", one + 1, v, n);
        } else if (*one == '+' && found == in_vain) {
            ir_error(ctx->prog->diag, IR_NOWHERE, "--params '%s': %s from there", one, no_slope);
        }
        if (!known || (*one == '+' && found == in_vain)) {
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
            if (v && !seen[v->id] && f.left && is_stored(v)) {
                seen[v->id] = true;
                PassParam p = describe(ctx, &f, &order, n, v);
                IR_PUSH(ctx->prog->arena, *out, n_params, cap, p);
            }
        }
    }
    const PassFreeze *o = ctx->opt->freeze;
    return f.left && (!o || override(ctx, o, *out, n_params)) ? n_params : 0;
}
