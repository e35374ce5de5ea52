// The plan of a fine-tune program: which parameter trains in which stage, at which rate, where it
// lies in the parameter buffer, and the table that shows it.
//
// Invariants of the buffer: parameters that the same stages train alike are a group; groups start
// and end at multiples of IR_TRAIN_ROW floats, parameters start at multiples of 16.
#include "passes/train/depth.h"
#include "passes/train/program.h"

#include <math.h>
#include <string.h>

enum { PARAM_ALIGN = 16 };

typedef struct Plan {
    PassTrain *t;
    int n, cap, cap_floats; // all parameters, those that never train among them
    IrTrainParam *v;
    int n_list;
    PassParam *list; // the first of them: without statistics
} Plan;

// ---------------------------------------------------------------- what trains

static const IrTrainParam *find_param(const Plan *p, const IrConst *c) { // NULL: c is none
    for (int i = 0; c && i < p->n; i++)
        if (p->v[i].konst == c)
            return &p->v[i];
    return NULL;
}

static void add_param(Plan *p, IrTrainParam x) {
    IrDim n;
    x.count = ir_shape_elems(&x.konst->type.shape, &n) ? n.c : 0;
    IR_PUSH(p->t->arena, p->v, p->n, p->cap, x);
}

static bool is_fresh(const PassHead *h, const IrConst *c) {
    for (int i = 0; i < h->n_parts; i++)
        if (h->parts[i].root == c)
            return true;
    return false;
}

static void add_floats(Plan *p, const PassParam *x, bool fresh) {
    IrTrainProgram *out = p->t->out;
    IrDim n;
    IrFloats f = {x->konst, 0, x->reason, fresh};
    f.count = ir_shape_elems(&x->konst->type.shape, &n) ? n.c : 0;
    IR_PUSH(p->t->arena, out->floats, out->n_floats, p->cap_floats, f);
}

static PassFreeze freeze_of(const PassTrainOptions *o, const char *spec) {
    return (PassFreeze){.spec = spec,
                        .n_unfreeze = o->n_unfreeze,
                        .unfreeze = o->unfreeze,
                        .n_params = o->n_params,
                        .params = o->params,
                        .in_file = o->in_file,
                        .file = o->file};
}

static bool list_params(Plan *p) {
    PassTrain *t = p->t;
    PassFreeze freeze = freeze_of(t->opt, NULL);
    PassOptions po = *t->po;
    PassContext ctx = pass_train_context(t);
    PassHead head = {0};
    PassParam *all;
    int errors = t->prog->diag->errors;
    po.freeze = &freeze;
    ctx.opt = &po;
    int n = pass_params(&ctx, t->infer, &all);
    p->list = all;
    if (!t->opt->keep_head)
        pass_find_head(t->infer, t->opt->head, &head);
    for (int i = 0; i < n; i++) {
        PassParam x = all[i];
        add_floats(p, &x, is_fresh(&head, x.konst));
        if (x.reason)
            continue;
        p->list[p->n_list++] = x;
        add_param(p, (IrTrainParam){.konst = x.konst,
                                    .node = x.reader->name,
                                    .op = x.reader->src_op,
                                    .decays = x.decays,
                                    .fresh = is_fresh(&head, x.konst),
                                    .lr_mult = 1});
    }
    return t->prog->diag->errors == errors;
}

static bool mark_stage(Plan *p, int s) {
    PassTrain *t = p->t;
    PassHeadOptions head = {.node = t->opt->head};
    PassFreeze freeze = freeze_of(t->opt, t->opt->stages[s].spec);
    PassOptions po = *t->po;
    po.head = &head;
    po.freeze = &freeze;
    int errors = t->prog->diag->errors;
    passes_run_named(t->prog, t->infer, &po, "mark_frozen");
    if (t->prog->diag->errors > errors)
        return false;
    bool any = false;
    for (int i = 0; i < p->n_list; i++) {
        any = any || p->list[i].konst->trainable;
        p->v[i].trains |= p->list[i].konst->trainable ? 1u << s : 0;
    }
    if (!any)
        ir_error(t->prog->diag, IR_NOWHERE, "nothing trains with --freeze '%s'", freeze.spec);
    return any;
}

static bool set_lr_mults(Plan *p) {
    const PassTrainOptions *o = p->t->opt;
    for (int k = 0; k < o->n_lr_mult; k++) {
        int found = 0;
        for (int i = 0; i < p->n_list; i++) {
            if (pass_glob(o->lr_mult[k].glob, &p->list[i])) {
                p->v[i].lr_mult = (float)o->lr_mult[k].factor;
                found++;
            }
        }
        if (!found) {
            ir_error(p->t->prog->diag, IR_NOWHERE, "--lr-mult: '%s' matches no parameter or node",
                     o->lr_mult[k].glob);
            return false;
        }
    }
    return true;
}

// Each block learns slower than the one behind it: what lies behind the last, the classifier, at
// the full rate, what lies before the first at the lowest (BEiT's and MAE's levels, which timm took
// over).
static bool decay_layers(Plan *p) {
    PassTrain *t = p->t;
    double decay = t->opt->layer_decay;
    int *level = ir_alloc_array(t->arena, (size_t)p->n_list + 1, sizeof *level);
    if (decay == 0)
        return true;
    int blocks = pass_depths(t->infer, p->list, p->n_list, level);
    for (int i = 0; i < p->n_list; i++)
        p->v[i].lr_mult *= (float)pow(decay, blocks + 1 - level[i]);
    if (!blocks)
        ir_error(t->prog->diag, IR_NOWHERE,
                 "--layer-decay: the network has no blocks, ways that part and join again");
    return blocks;
}

// The statistics of batch_norm nodes whose scale or bias trains, with --bn train.
static void add_statistics(Plan *p) {
    for (IrNode *k = p->t->infer->first; p->t->opt->bn_train && k; k = k->next) {
        uint32_t trains = 0;
        for (int at = 1; k->op == IR_OP_BATCH_NORM && at <= 2; at++) {
            const IrTrainParam *x = find_param(p, ir_in(k, at)->konst);
            trains |= x ? x->trains : 0;
        }
        for (int at = 3; trains && at <= 4; at++) {
            IrConst *c = ir_in(k, at)->konst;
            if (!c || !c->origin || find_param(p, c))
                continue;
            add_param(p, (IrTrainParam){.konst = c,
                                        .node = k->name,
                                        .op = k->src_op,
                                        .statistic = true,
                                        .trains = trains,
                                        .lr_mult = 1});
        }
    }
}

// ---------------------------------------------------------------- where it lies

static bool same_group(const IrTrainGroup *g, const IrTrainParam *p) {
    return g->trains == p->trains && g->lr_mult == p->lr_mult && g->decays == p->decays;
}

static int find_group(IrTrainProgram *out, const IrTrainParam *p) {
    for (int i = 0; i < out->n_groups; i++)
        if (same_group(&out->groups[i], p))
            return i;
    out->groups[out->n_groups] =
        (IrTrainGroup){.lr_mult = p->lr_mult, .decays = p->decays, .trains = p->trains};
    return out->n_groups++;
}

static int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

// Group `g`, or statistics (-1), from the end of the buffer on.
static void place_group(IrTrainProgram *out, int g) {
    int64_t start = out->param_floats;
    for (int i = 0; i < out->n_params; i++) {
        IrTrainParam *p = &out->params[i];
        if (p->group == g) {
            p->offset = out->param_floats;
            out->param_floats = round_up(p->offset + p->count, PARAM_ALIGN);
        }
    }
    out->param_floats = round_up(out->param_floats, IR_TRAIN_ROW);
    if (g >= 0) {
        out->groups[g].offset = start;
        out->groups[g].count = out->param_floats - start;
    }
}

// The parameters that train, group by group; statistics behind them.
static void place_params(Plan *p) {
    IrTrainProgram *out = p->t->out;
    out->params = ir_alloc_array(p->t->arena, (size_t)p->n + 1, sizeof *out->params);
    out->groups = ir_alloc_array(p->t->arena, (size_t)p->n + 1, sizeof *out->groups);
    for (int i = 0; i < p->n; i++) {
        if (!p->v[i].trains)
            continue;
        IrTrainParam *x = &out->params[out->n_params++];
        *x = p->v[i];
        x->group = x->statistic ? -1 : find_group(out, x);
    }
    for (int g = 0; g < out->n_groups; g++)
        place_group(out, g);
    place_group(out, -1);
}

// ---------------------------------------------------------------- the table

static const char *print_param(IrArena *a, const IrConst *c) {
    const char *s = ir_sprintf(a, "%s [", c->name);
    for (int i = 0; i < c->type.shape.rank; i++)
        s = ir_sprintf(a, "%s%s%lld", s, i ? "," : "", (long long)c->type.shape.dim[i].c);
    return ir_sprintf(a, "%s]", s);
}

static IrPlanRow *find_row(IrTrainProgram *out, const IrTrainParam *p) {
    IrPlanRow *row = NULL;
    for (int k = 0; k < out->n_plan; k++)
        if (strcmp(out->plan[k].node, p->node) == 0 && out->plan[k].trains == p->trains &&
            (p->statistic || out->plan[k].lr_mult == p->lr_mult))
            row = &out->plan[k];
    return row;
}

enum { MOST_PARAMS = 400 }; // bytes of a row's text; then "..."

static const char *join_params(IrArena *a, const char *list, const char *one) {
    size_t n = strlen(list);
    return n < MOST_PARAMS                    ? ir_sprintf(a, "%s, %s", list, one)
           : strcmp(list + n - 3, "...") == 0 ? list
                                              : ir_sprintf(a, "%s, ...", list);
}

// One row per node; parameters of a node follow each other but for the statistics.
static void make_rows(Plan *p) {
    IrArena *a = p->t->arena;
    IrTrainProgram *out = p->t->out;
    int cap = 0;
    for (int i = 0; i < p->n; i++) {
        const IrTrainParam *x = &p->v[i];
        const char *text = print_param(a, x->konst);
        int64_t count = x->statistic ? 0 : x->count;
        IrPlanRow *row = find_row(out, x);
        if (row) {
            row->params = join_params(a, row->params, text);
            row->count += count;
        } else {
            IrPlanRow r = {x->node, x->op ? x->op : "", text, count, x->trains, x->lr_mult};
            IR_PUSH(a, out->plan, out->n_plan, cap, r);
        }
    }
}

static void make_stages(Plan *p) {
    const PassTrainOptions *o = p->t->opt;
    IrTrainProgram *out = p->t->out;
    out->n_stages = o->n_stages;
    out->stages = ir_alloc_array(p->t->arena, (size_t)o->n_stages, sizeof *out->stages);
    for (int s = 0; s < o->n_stages; s++) {
        IrTrainStage *x = &out->stages[s];
        *x = (IrTrainStage){
            .spec = o->stages[s].spec, .epochs = o->stages[s].epochs, .lr = (float)o->stages[s].lr};
        for (int i = 0; i < p->n; i++)
            if (!p->v[i].statistic)
                *(p->v[i].trains >> s & 1 ? &x->n_trained : &x->n_frozen) += p->v[i].count;
    }
}

IrTrainProgram *pass_train_plan(IrGraph *infer, const PassOptions *po, const PassTrainOptions *o) {
    IrArena *a = infer->prog->arena;
    IrTrainProgram *out = ir_alloc(a, sizeof *out);
    out->loss = o->binary || o->multi_label ? IR_LOSS_BCE : IR_LOSS_CE;
    out->binary = o->binary;
    out->batch = o->batch;
    out->memory_limit = o->memory_limit;
    PassTrain t = {.prog = infer->prog, .arena = a, .infer = infer, .po = po, .opt = o, .out = out};
    Plan p = {.t = &t};
    pass_train_untie(&t);
    if (!pass_train_head(&t))
        return NULL;
    if (!list_params(&p))
        return NULL;
    for (int s = 0; s < o->n_stages; s++)
        if (!mark_stage(&p, s))
            return NULL;
    if (!set_lr_mults(&p) || !decay_layers(&p))
        return NULL;
    add_statistics(&p);
    place_params(&p);
    make_rows(&p);
    make_stages(&p);
    return o->keep_head || pass_train_swap_head(&t) ? out : NULL;
}
