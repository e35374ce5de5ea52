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
// A parameter is a float initializer that a convolution, a product, a normalization or elementwise
// arithmetic below the first of these reads. Statistics of normalizations are none: they move, when
// they do, but no gradient reaches them. Names that match nothing are errors that list near ones.

#include "passes/util.h"
#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

// ---------------------------------------------------------------- parameters

static bool is_product(IrOp op) {
    return op == IR_OP_CONV || op == IR_OP_MATMUL;
}

// A use that makes a constant a parameter, or leaves it one.
static bool is_param_use(const IrUse *u, bool below_product) {
    const IrNode *n = u->node;
    if (is_product(n->op) || n->op == IR_OP_RESHAPE || n->op == IR_OP_TRANSPOSE) {
        return true;
    }
    if (n->op == IR_OP_BATCH_NORM) {
        return u->index == 1 || u->index == 2;
    }
    return (ir_op_info(n->op)->flags & IR_FLAG_E) && below_product;
}

// The use of a constant that counts: shape changes of the constant alone are looked through.
static const IrUse *find_use(const IrUse *u) {
    while ((u->node->op == IR_OP_RESHAPE || u->node->op == IR_OP_TRANSPOSE) &&
           ir_only_user(u->node->out[0])) {
        u = u->node->out[0]->uses;
    }
    return u;
}

static bool is_param(const IrValue *v, const bool *below_product) {
    const IrConst *c = v->konst;
    IrDim elems;
    if (!c || !c->origin || c->type.dtype != IR_F32 || !v->uses ||
        !ir_shape_elems(&c->type.shape, &elems) || elems.c < 1) {
        return false;
    }
    for (const IrUse *u = v->uses; u; u = u->next) {
        const IrUse *last = find_use(u);
        bool eltwise = !is_product(last->node->op) && last->node->op != IR_OP_BATCH_NORM;
        if (!is_param_use(last, below_product[last->node->out[0]->id]) ||
            (eltwise && elems.c == 1)) {
            return false;
        }
    }
    return true;
}

// By value id: its node lies below (or is) the first convolution or product of the list.
static bool *mark_below_product(PassContext *ctx, IrGraph *g) {
    bool *below = ir_alloc_array(ctx->scratch, g->next_id, sizeof *below);
    bool seen = false;
    for (const IrNode *n = g->first; n; n = n->next) {
        seen = seen || is_product(n->op);
        for (int i = 0; i < n->n_out; i++) {
            below[n->out[i]->id] = seen;
        }
    }
    return below;
}

// Vectors, and what works element by element, are not decayed.
static bool decays(const IrValue *v, const IrNode *reader) {
    return v->type.shape.rank > 1 && is_product(reader->op);
}

int pass_params(PassContext *ctx, IrGraph *g, PassParam **out) {
    bool *below = mark_below_product(ctx, g);
    bool *seen = ir_alloc_array(ctx->scratch, g->next_id, sizeof *seen);
    int n_params = 0, cap = 0;
    *out = NULL;
    for (IrNode *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->n_in; i++) {
            IrValue *v = ir_in(n, i);
            if (!v || seen[v->id] || !is_param(v, below)) {
                continue;
            }
            seen[v->id] = true;
            IrNode *reader = find_use(&n->in[i])->node;
            PassParam p = {v->konst, n, reader, decays(v, reader)};
            IR_PUSH(ctx->prog->arena, *out, n_params, cap, p);
        }
    }
    return n_params;
}

// ---------------------------------------------------------------- names

static const char *bare(const char *name) {
    return *name == '/' ? name + 1 : name;
}

bool pass_glob(const char *glob, const PassParam *p) {
    const char *names[] = {p->konst->origin, p->reader->name, bare(p->reader->name)};
    for (int i = 0; i < 3; i++) {
        if (fnmatch(glob, names[i], 0) == 0) {
            return true;
        }
    }
    return false;
}

typedef enum Match { NO_MATCH, BEGINS, BEGINS_WORD } Match;

// Does `name` begin with `what`; at the end of a word, so that layer1 is not layer10?
static Match match_prefix(const char *name, const char *what, size_t n) {
    name = bare(name);
    if (n == 0 || strncmp(name, what, n) != 0) {
        return NO_MATCH;
    }
    return isalnum((unsigned char)name[n]) ? BEGINS : BEGINS_WORD;
}

static int edit_distance(PassContext *ctx, const char *a, const char *b) {
    int n = (int)strnlen(a, 200), m = (int)strnlen(b, 200);
    int *row = ir_alloc_array(ctx->scratch, (size_t)m + 1, sizeof *row);
    for (int j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int change =
                diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            int step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < step ? change : step;
        }
    }
    return row[m];
}

enum { NEAR = 5 };
typedef struct Near {
    int n, distance[NEAR];
    const char *name[NEAR];
} Near;

static void offer(PassContext *ctx, Near *near, const char *what, const char *name, size_t len) {
    const char *s = ir_strndup(ctx->scratch, name, len);
    int d = edit_distance(ctx, what, s), at = near->n;
    for (int i = 0; i < near->n; i++) {
        if (strcmp(near->name[i], s) == 0) {
            return;
        }
    }
    while (at > 0 && near->distance[at - 1] > d) {
        at--;
    }
    if (at == NEAR) {
        return;
    }
    near->n += near->n < NEAR;
    for (int i = near->n - 1; i > at; i--) {
        near->distance[i] = near->distance[i - 1];
        near->name[i] = near->name[i - 1];
    }
    near->distance[at] = d;
    near->name[at] = s;
}

// Names and their beginnings, up to each '/' and '.'.
static void offer_prefixes(PassContext *ctx, Near *near, const char *what, const char *name) {
    name = bare(name);
    for (const char *s = name; *s; s++) {
        if ((*s == '/' || *s == '.') && s > name) {
            offer(ctx, near, what, name, (size_t)(s - name));
        }
    }
    offer(ctx, near, what, name, strlen(name));
}

static void report_unknown(PassContext *ctx, const char *flag, const char *what,
                           const PassParam *params, int n) {
    Near near = {0};
    for (int i = 0; i < n; i++) {
        offer_prefixes(ctx, &near, what, params[i].konst->origin);
        offer_prefixes(ctx, &near, what, params[i].reader->name);
    }
    const char *list = "";
    for (int i = 0; i < near.n; i++) {
        list = ir_sprintf(ctx->scratch, "%s%s'%s'", list, i ? ", " : "", near.name[i]);
    }
    ir_error(ctx->prog->diag, IR_NOWHERE, "%s '%s' is the name of no parameter or node; near: %s",
             flag, what, near.n ? list : "there are none");
}

// ---------------------------------------------------------------- until:NODE

// The first node, in the graph's order, whose name or whose parameter's name begins with `what`.
static IrNode *find_node(PassContext *ctx, IrGraph *g, const char *what, const PassParam *params,
                         int n) {
    what = bare(what);
    size_t len = strlen(what);
    len -= len && what[len - 1] == '/';
    for (Match want = BEGINS_WORD; want >= BEGINS; want--) {
        PassOrder order = pass_order(ctx, g);
        IrNode *best = NULL;
        for (int i = 0; i < n; i++) {
            if (match_prefix(params[i].konst->origin, what, len) >= want &&
                (!best || pass_at(&order, params[i].reader) < pass_at(&order, best))) {
                best = params[i].reader;
            }
        }
        for (IrNode *k = g->first; k; k = k->next) {
            if (match_prefix(k->name, what, len) >= want) {
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
        report_unknown(ctx, "until:", what, params, n);
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
        IrNode *reader = params[i].reader;
        params[i].konst->trainable = reader == head.node || reader == head.bias_node;
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
        report_unknown(ctx, flag, glob, params, n);
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

PassResult pass_mark_frozen(PassContext *ctx, IrGraph *g) {
    static const PassFreeze default_freeze = {.spec = "head"};
    const PassFreeze *f = ctx->opt->freeze ? ctx->opt->freeze : &default_freeze;
    PassParam *params;
    int n = pass_params(ctx, g, &params);
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
