// The plan of a fine-tune executable: which parameter trains in which stage, at which rate, where
// it lies in the parameter buffer, and the table that shows it.
//
// Invariants of the buffer: parameters that the same stages train alike are a group; groups start
// and end at multiples of HONE_TRAIN_ROW floats, parameters start at multiples of 16.
#include "tools/finetune.h"

#include <stdlib.h>
#include <string.h>

enum { PARAM_ALIGN = 16 };

// ---------------------------------------------------------------- what trains

static PassContext context(Finetune *f, const PassOptions *po) {
    return (PassContext){.scratch = f->tool->arena, .prog = f->prog, .opt = po};
}

static FtParam *find_param(const Finetune *f, const IrConst *c) { // NULL: c is none
    for (int i = 0; c && i < f->n_params; i++)
        if (f->params[i].konst == c)
            return &f->params[i];
    return NULL;
}

// The statistics of batch_norm nodes whose scale or bias trains, with --bn train.
static void add_statistics(Finetune *f, int *cap) {
    for (IrNode *k = f->infer->first; f->bn_train && k; k = k->next) {
        uint32_t trains = 0;
        for (int at = 1; k->op == IR_OP_BATCH_NORM && at <= 2; at++) {
            const FtParam *p = find_param(f, ir_in(k, at)->konst);
            trains |= p ? p->trains : 0;
        }
        for (int at = 3; trains && at <= 4; at++) {
            IrConst *c = ir_in(k, at)->konst;
            if (!c || !c->origin || find_param(f, c))
                continue;
            FtParam p = {.konst = c,
                         .node = k->name,
                         .op = k->src_op,
                         .statistic = true,
                         .trains = trains,
                         .lr_mult = 1,
                         .group = -1};
            IR_PUSH(f->tool->arena, f->params, f->n_params, *cap, p);
        }
    }
}

static int64_t count_floats(const IrConst *c) {
    IrDim n;
    return ir_shape_elems(&c->type.shape, &n) ? n.c : 0;
}

// GLOB=FACTOR; the last that matches counts.
static bool set_lr_mults(Finetune *f, const PassParam *list) {
    Tool *t = f->tool;
    for (int k = 0; k < f->lr_mult.n; k++) {
        const char *text = f->lr_mult.v[k], *eq = strrchr(text, '=');
        char *end = NULL;
        double x = eq ? strtod(eq + 1, &end) : 0;
        if (!eq || eq == text || end == eq + 1 || *end || !(x >= 0 && x < 1e6)) {
            ir_error(&t->diag, IR_NOWHERE, "--lr-mult takes GLOB=FACTOR, not '%s'", text);
            return false;
        }
        const char *glob = ir_strndup(t->arena, text, (size_t)(eq - text));
        int found = 0;
        for (int i = 0; i < f->n_params; i++) {
            if (pass_glob(glob, &list[i])) {
                f->params[i].lr_mult = x;
                found++;
            }
        }
        if (!found) {
            ir_error(&t->diag, IR_NOWHERE, "--lr-mult: '%s' matches no parameter or node", glob);
            return false;
        }
    }
    return true;
}

static bool mark_stage(Finetune *f, int s, const PassParam *list, int n) {
    Tool *t = f->tool;
    PassOptions po = ft_pass_options(f);
    PassHeadOptions head = {.node = f->head};
    PassFreeze freeze = {f->stage[s].spec, f->unfreeze.n, f->unfreeze.v};
    po.head = &head;
    po.freeze = &freeze;
    int errors = t->diag.errors;
    passes_run_named(f->prog, f->infer, &po, "mark_frozen");
    if (t->diag.errors > errors)
        return false;
    bool any = false;
    for (int i = 0; i < n; i++) {
        any = any || list[i].konst->trainable;
        f->params[i].trains |= list[i].konst->trainable ? 1u << s : 0;
    }
    if (!any)
        ir_error(&t->diag, IR_NOWHERE, "nothing trains with --freeze '%s'", f->stage[s].spec);
    return any;
}

static bool is_fresh(const PassHead *h, const IrConst *c) {
    return (h->weight && h->weight->konst == c) || (h->bias && h->bias->konst == c);
}

// ---------------------------------------------------------------- where it lies

static bool same_group(const HoneParamGroup *g, const FtParam *p) {
    return g->trains == p->trains && g->lr_mult == (float)p->lr_mult && g->decays == p->decays;
}

static int find_group(Finetune *f, const FtParam *p) {
    for (int i = 0; i < f->n_groups; i++)
        if (same_group(&f->groups[i], p))
            return i;
    f->groups[f->n_groups] =
        (HoneParamGroup){.lr_mult = (float)p->lr_mult, .decays = p->decays, .trains = p->trains};
    return f->n_groups++;
}

static int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

// Group by group; statistics behind them.
static void place_params(Finetune *f) {
    f->groups = ir_alloc_array(f->tool->arena, (size_t)f->n_params + 1, sizeof *f->groups);
    for (int i = 0; i < f->n_params; i++) {
        FtParam *p = &f->params[i];
        p->count = count_floats(p->konst);
        p->index = p->trains ? f->n_tuned++ : -1;
        p->group = p->trains && !p->statistic ? find_group(f, p) : -1;
    }
    for (int g = 0; g <= f->n_groups; g++) {
        int64_t start = f->param_floats;
        for (int i = 0; i < f->n_params; i++) {
            FtParam *p = &f->params[i];
            if (p->trains && p->group == (g < f->n_groups ? g : -1)) {
                p->offset = f->param_floats;
                f->param_floats = round_up(p->offset + p->count, PARAM_ALIGN);
            }
        }
        f->param_floats = round_up(f->param_floats, HONE_TRAIN_ROW);
        if (g < f->n_groups) {
            f->groups[g].offset = start;
            f->groups[g].count = f->param_floats - start;
        }
    }
}

// ---------------------------------------------------------------- the table

static const char *print_param(IrArena *a, const IrConst *c) {
    const char *s = ir_sprintf(a, "%s [", c->name);
    for (int i = 0; i < c->type.shape.rank; i++)
        s = ir_sprintf(a, "%s%s%lld", s, i ? "," : "", (long long)c->type.shape.dim[i].c);
    return ir_sprintf(a, "%s]", s);
}

// One row per node; parameters of a node follow each other but for the statistics.
static void make_rows(Finetune *f) {
    IrArena *a = f->tool->arena;
    int cap = 0;
    for (int i = 0; i < f->n_params; i++) {
        const FtParam *p = &f->params[i];
        HonePlanRow *row = NULL;
        for (int k = 0; k < f->n_plan; k++)
            if (strcmp(f->plan[k].node, p->node) == 0 && f->plan[k].trains == p->trains)
                row = &f->plan[k];
        const char *text = print_param(a, p->konst);
        if (row) {
            row->params = ir_sprintf(a, "%s, %s", row->params, text);
            row->count += p->statistic ? 0 : p->count;
        } else {
            HonePlanRow r = {p->node, p->op ? p->op : "", text, p->statistic ? 0 : p->count,
                             p->trains};
            IR_PUSH(a, f->plan, f->n_plan, cap, r);
        }
    }
}

static void count_stages(Finetune *f) {
    for (int s = 0; s < f->n_stages; s++)
        for (int i = 0; i < f->n_params; i++)
            if (!f->params[i].statistic)
                *(f->params[i].trains >> s & 1 ? &f->stage[s].n_trained : &f->stage[s].n_frozen) +=
                    f->params[i].count;
}

bool ft_make_plan(Finetune *f) {
    PassOptions po = ft_pass_options(f);
    PassContext ctx = context(f, &po);
    PassParam *list;
    PassHead head = {0};
    int n = pass_params(&ctx, f->infer, &list), cap = 0;
    if (!f->keep_head)
        pass_find_head(f->infer, f->head, &head);
    for (int i = 0; i < n; i++) {
        FtParam p = {.konst = list[i].konst,
                     .node = list[i].reader->name,
                     .op = list[i].reader->src_op,
                     .decays = list[i].decays,
                     .fresh = is_fresh(&head, list[i].konst),
                     .lr_mult = 1};
        IR_PUSH(f->tool->arena, f->params, f->n_params, cap, p);
    }
    for (int s = 0; s < f->n_stages; s++)
        if (!mark_stage(f, s, list, n))
            return false;
    if (!set_lr_mults(f, list))
        return false;
    add_statistics(f, &cap);
    place_params(f);
    make_rows(f);
    count_stages(f);
    return true;
}

// ---------------------------------------------------------------- printing

static void print_count(FILE *out, int width, int64_t n) { // 25,557,032
    char digits[32], text[48];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    fprintf(out, "%*s", width, text);
}

static void print_trains(const Finetune *f, FILE *out, uint32_t trains) {
    const char *sep = "";
    if (!trains)
        fputs("frozen", out);
    else if (f->n_stages == 1)
        fputs("trains", out);
    for (int s = 0; f->n_stages > 1 && s < f->n_stages; s++) {
        if (trains >> s & 1) {
            fprintf(out, "%s%d", *sep ? sep : "trains in stage ", s + 1);
            sep = ", ";
        }
    }
}

static int widest(int limit, int least, const Finetune *f, bool params) {
    int w = least;
    for (int i = 0; i < f->n_plan; i++) {
        int n = (int)strlen(params ? f->plan[i].params : f->plan[i].node);
        w = n > w ? n : w;
    }
    return w < limit ? w : limit;
}

void ft_print_plan(const Finetune *f, FILE *out) {
    int node = widest(48, 4, f, false), params = widest(72, 10, f, true);
    fprintf(out, "%-*s  %-18s  %-*s  %12s\n", node, "node", "op", params, "parameters", "count");
    for (int i = 0; i < f->n_plan; i++) {
        const HonePlanRow *r = &f->plan[i];
        fprintf(out, "%-*s  %-18s  %-*s  ", node, r->node, r->op, params, r->params);
        print_count(out, 12, r->count);
        fputs("  ", out);
        print_trains(f, out, r->trains);
        fputc('\n', out);
    }
    for (int s = 0; s < f->n_stages; s++) {
        const FtStage *x = &f->stage[s];
        if (f->n_stages > 1)
            fprintf(out, "stage %d, ", s + 1);
        fprintf(out, "%s: ", x->spec);
        print_count(out, 0, x->n_trained);
        fputs(" parameters train, ", out);
        print_count(out, 0, x->n_frozen);
        fputs(" are frozen", out);
        if (x->epochs)
            fprintf(out, "; %d epoch%s", x->epochs, x->epochs == 1 ? "" : "s");
        if (x->lr > 0)
            fprintf(out, "; rate %g", x->lr);
        fputc('\n', out);
    }
}
