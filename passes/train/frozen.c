// mark_frozen: which parameters train. Sets the `trainable` bit of constants by a specification and
// clears it everywhere else.
//
//   const %conv1.weight ...                    const %conv1.weight ...
//   const %fc.weight ...              head ->  const %fc.weight ... trainable
//
//   head         the classifier's weight and bias train
//   none         everything does
//   until:NODE   everything does that does not lie above NODE; NODE is the name of a node or
//                parameter, or how such names begin (layer4)
//   A,B,...      globs over the names of parameters and of the nodes that read them: these are
//                frozen, everything else trains
//
// What a parameter is says role.c. Statistics of normalizations are none: they move, when they do,
// but no gradient reaches them. Names that match nothing are errors that list near ones.

#include "passes/train/match.h"
#include "passes/util.h"

#include <string.h>

// ---------------------------------------------------------------- until:NODE

// The first node, in the graph's order, whose name or whose parameter's name begins with `what`.
static IrNode *find_node(PassContext *ctx, IrGraph *g, const char *what, const PassParam *params,
                         int n) {
    what = pass_bare_name(what);
    size_t len = strlen(what);
    len -= len && what[len - 1] == '/';
    for (PassMatch want = PASS_BEGINS_WORD; want >= PASS_BEGINS; want--) {
        PassOrder order = pass_order(ctx, g);
        IrNode *best = NULL;
        for (int i = 0; i < n; i++) {
            if (pass_match_prefix(params[i].konst->origin, what, len) >= want &&
                (!best || pass_at(&order, params[i].reader) < pass_at(&order, best))) {
                best = params[i].reader;
            }
        }
        for (IrNode *k = g->first; k; k = k->next) {
            if (pass_match_prefix(k->name, what, len) >= want) {
                return best && pass_at(&order, best) < pass_at(&order, k) ? best : k;
            }
        }
        if (best) {
            return best;
        }
    }
    return NULL;
}

// By value id: results that n needs, its own not among them.
static bool *mark_above(PassContext *ctx, IrGraph *g, const IrNode *n) {
    bool *above = ir_alloc_array(ctx->scratch, g->next_id, sizeof *above);
    for (const IrNode *k = n; k; k = k->prev) {
        bool needed = k == n;
        for (int i = 0; i < k->n_out && !needed; i++) {
            needed = above[k->out[i]->id];
        }
        for (int i = 0; needed && i < k->n_in; i++) {
            if (ir_in(k, i)) {
                above[ir_in(k, i)->id] = true;
            }
        }
    }
    return above;
}

static bool train_below(PassContext *ctx, IrGraph *g, const char *what, PassParam *params, int n) {
    IrNode *node = find_node(ctx, g, what, params, n);
    if (!node) {
        pass_report_unknown(ctx, "until:", what, params, n);
        return false;
    }
    bool *above = mark_above(ctx, g, node);
    for (int i = 0; i < n; i++) {
        params[i].konst->trainable =
            params[i].reader == node || !above[params[i].reader->out[0]->id];
    }
    return true;
}

// ---------------------------------------------------------------- the other kinds

static void train_head(PassContext *ctx, IrGraph *g, PassParam *params, int n) {
    PassHead head;
    if (!pass_find_head(g, ctx->opt->head ? ctx->opt->head->node : NULL, &head)) {
        return;
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < head.n_parts && !params[i].konst->trainable; k++) {
            params[i].konst->trainable = params[i].reader == head.parts[k].node;
        }
    }
}

static bool set_matching(PassContext *ctx, const char *flag, const char *glob, PassParam *params,
                         int n, bool trains) {
    int found = 0;
    for (int i = 0; i < n; i++) {
        if (pass_glob(glob, &params[i])) {
            params[i].konst->trainable = trains;
            found++;
        }
    }
    if (!found) {
        pass_report_unknown(ctx, flag, glob, params, n);
    }
    return found > 0;
}

static void set_all(PassParam *params, int n, bool trains) {
    for (int i = 0; i < n; i++) {
        params[i].konst->trainable = trains;
    }
}

static void freeze_globs(PassContext *ctx, const char *spec, PassParam *params, int n) {
    set_all(params, n, true);
    for (const char *s = spec; *s;) {
        size_t len = strcspn(s, ",");
        set_matching(ctx, "--freeze:", ir_strndup(ctx->scratch, s, len), params, n, false);
        s += len + (s[len] == ',');
    }
}

// Parameters alone; returns how many.
static int drop_others(PassParam *params, int n) {
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (!params[i].reason) {
            params[kept++] = params[i];
        }
    }
    return kept;
}

PassResult pass_mark_frozen(PassContext *ctx, IrGraph *g) {
    static const PassFreeze default_freeze = {.spec = "head"};
    const PassFreeze *f = ctx->opt->freeze ? ctx->opt->freeze : &default_freeze;
    PassParam *params;
    int n = pass_params(ctx, g, &params);
    n = drop_others(params, n);
    for (int i = 0; i < ctx->prog->n_consts; i++) {
        ctx->prog->consts[i]->trainable = false;
    }
    if (strcmp(f->spec, "head") == 0) {
        train_head(ctx, g, params, n);
    } else if (strcmp(f->spec, "none") == 0) {
        set_all(params, n, true);
    } else if (strncmp(f->spec, "until:", 6) == 0) {
        train_below(ctx, g, f->spec + 6, params, n);
    } else {
        freeze_globs(ctx, f->spec, params, n);
    }
    for (int i = 0; i < f->n_unfreeze; i++) {
        set_matching(ctx, "--unfreeze:", f->unfreeze[i], params, n, true);
    }
    PassResult r = {0};
    for (int i = 0; i < n; i++) {
        r.changes += params[i].konst->trainable;
    }
    return r;
}
