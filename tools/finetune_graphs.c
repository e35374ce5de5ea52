// The graphs of a fine-tune executable. What trains in any stage becomes an input; the simplified
// network is then cut, stage by stage, at the frozen prefix's edge:
//
//   features.s   image, parameters                    -> feature:0 ...
//   eval.s       feature:0 ..., parameters, label ... -> logits, loss
//   train.s      the same                             -> logits, loss, gradients, statistics
//
// An edge value depends on the image and on nothing that the stage trains, has one row per image,
// and is read by what does. Where no product lies above the edge there are no features, and the
// tail reads the image.
#include "tools/finetune.h"

#include "ir/map.h"
#include <stdlib.h>
#include <string.h>

typedef struct Cut { // of the simplified network for one stage
    bool *trained;   // by value id: depends on what the stage trains
    bool *image;     // by value id: depends on the image
    int n, cap;
    IrValue **edge;
} Cut;

_Noreturn static void bug(const char *what, const IrBuilder *b) {
    ir_bug("finetune", what, "%s", b->err ? b->err : "it does not fit");
}

static PassContext context(Finetune *f, const PassOptions *po) {
    return (PassContext){.scratch = f->tool->arena, .prog = f->prog, .opt = po};
}

// ---------------------------------------------------------------- the network with inputs

static const char param_prefix[] = "param:";

static FtParam *find_param(Finetune *f, const IrValue *input) {
    size_t n = sizeof param_prefix - 1;
    if (strncmp(input->name, param_prefix, n) != 0)
        return NULL;
    for (int i = 0; i < f->n_params; i++)
        if (f->params[i].index >= 0 && strcmp(f->params[i].konst->name, input->name + n) == 0)
            return &f->params[i];
    return NULL;
}

static IrGraph *make_network(Finetune *f) {
    IrValue **in = ir_alloc_array(f->tool->arena, (size_t)f->n_tuned + 1, sizeof *in);
    int n = 0;
    for (int i = 0; i < f->n_params; i++)
        if (f->params[i].index >= 0)
            in[n++] = ir_const_value(f->infer, f->params[i].konst);
    IrGraph *g = ir_extract(f->infer, "network", n, in, 1, f->infer->outputs);
    for (int i = 0; i < g->n_inputs; i++) {
        bool param = false;
        for (int k = 0; k < n; k++)
            param = param || strcmp(g->inputs[i]->name, in[k]->name) == 0;
        g->inputs[i]->name =
            param ? ir_sprintf(f->tool->arena, "%s%s", param_prefix, g->inputs[i]->name) : "image";
    }
    PassOptions po = ft_pass_options(f);
    passes_run(f->prog, g, &po, PASS_SIMPLIFY);
    return g;
}

// ---------------------------------------------------------------- the cut

static void mark_dependence(Finetune *f, IrGraph *g, int s, Cut *c) {
    c->trained = ir_alloc_array(f->tool->arena, g->next_id, sizeof *c->trained);
    c->image = ir_alloc_array(f->tool->arena, g->next_id, sizeof *c->image);
    for (int i = 0; i < g->n_inputs; i++) {
        FtParam *p = find_param(f, g->inputs[i]);
        c->trained[g->inputs[i]->id] = p && (p->trains >> s & 1);
        c->image[g->inputs[i]->id] = !p;
    }
    for (IrNode *n = g->first; n; n = n->next) {
        bool trained = false, image = false;
        for (int i = 0; i < n->n_in; i++) {
            if (ir_in(n, i)) {
                trained = trained || c->trained[ir_in(n, i)->id];
                image = image || c->image[ir_in(n, i)->id];
            }
        }
        for (int i = 0; i < n->n_out; i++) {
            c->trained[n->out[i]->id] = trained;
            c->image[n->out[i]->id] = image;
        }
    }
}

// No edge is below a Dropout: what it zeroes changes from step to step.
static bool is_edge(const Cut *c, const IrValue *v) {
    const IrShape *s = &v->type.shape;
    return v->def && v->def->op != IR_OP_DROPOUT && c->image[v->id] && !c->trained[v->id] &&
           v->type.dtype == IR_F32 && s->rank > 0 && s->dim[0].c == 0 && s->dim[0].n == 1;
}

static void find_edges(Finetune *f, IrGraph *g, Cut *c) {
    bool *needed = ir_alloc_array(f->tool->arena, g->next_id, sizeof *needed);
    bool *above = ir_alloc_array(f->tool->arena, g->next_id, sizeof *above); // of an edge
    bool product = false;
    needed[g->outputs[0]->id] = true;
    for (IrNode *n = g->last; n; n = n->prev) {
        bool inside = false, up = false;
        for (int i = 0; i < n->n_out; i++) {
            IrValue *v = n->out[i];
            if (needed[v->id] && is_edge(c, v)) {
                IR_PUSH(f->tool->arena, c->edge, c->n, c->cap, v);
                up = true;
            } else {
                inside = inside || needed[v->id];
            }
            up = up || above[v->id];
        }
        product = product || (up && (n->op == IR_OP_CONV || n->op == IR_OP_MATMUL));
        for (int i = 0; i < n->n_in; i++) {
            if (ir_in(n, i)) {
                needed[ir_in(n, i)->id] |= inside;
                above[ir_in(n, i)->id] |= up;
            }
        }
    }
    c->n = product ? c->n : 0;
}

// ---------------------------------------------------------------- what inputs and outputs are

static const struct {
    const char *name;
    int32_t kind;
} named[] = {
    {"image", HONE_BIND_IMAGE},
    {"label", HONE_BIND_LABEL},
    {"target", HONE_BIND_TARGET},
    {"class_weight", HONE_BIND_CLASS_WEIGHT},
    {"smoothing", HONE_BIND_SMOOTHING},
    {"scale", HONE_BIND_SCALE},
    {"seed", HONE_BIND_SEED},
    {"loss", HONE_BIND_LOSS},
    {"logits", HONE_BIND_LOGITS},
    {"p", HONE_BIND_P},
    {"g", HONE_BIND_G},
    {"m", HONE_BIND_M},
    {"v", HONE_BIND_V},
    {"new_p", HONE_BIND_P},
    {"new_m", HONE_BIND_M},
    {"new_v", HONE_BIND_V},
    {"lr", HONE_BIND_LR},
    {"momentum", HONE_BIND_MOMENTUM},
    {"beta2", HONE_BIND_BETA2},
    {"eps", HONE_BIND_EPS},
    {"decay", HONE_BIND_DECAY},
    {"clip", HONE_BIND_CLIP},
    {"correction1", HONE_BIND_CORRECTION1},
    {"correction2", HONE_BIND_CORRECTION2},
    {"sum", HONE_BIND_SUM},
};

static const struct {
    const char *prefix;
    int32_t kind;
} prefixed[] = {
    {"param:", HONE_BIND_PARAM},
    {"grad:", HONE_BIND_GRAD},
    {"feature:", HONE_BIND_FEATURE},
};

static int32_t find_index(Finetune *f, const char *rest, int32_t kind) {
    if (kind == HONE_BIND_FEATURE)
        return atoi(rest);
    for (int i = 0; i < f->n_params; i++)
        if (f->params[i].index >= 0 && strcmp(f->params[i].konst->name, rest) == 0)
            return f->params[i].index;
    ir_bug("finetune", rest, "no parameter of this name");
}

static HoneBind bind_of(Finetune *f, const char *name) {
    for (size_t i = 0; i < sizeof prefixed / sizeof *prefixed; i++) {
        size_t n = strlen(prefixed[i].prefix);
        if (strncmp(name, prefixed[i].prefix, n) == 0)
            return (HoneBind){prefixed[i].kind, find_index(f, name + n, prefixed[i].kind)};
    }
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(name, named[i].name) == 0)
            return (HoneBind){named[i].kind, 0};
    ir_bug("finetune", name, "an input or output that nobody knows");
}

static const HoneBind *bind_all(Finetune *f, IrValue **v, int n) {
    HoneBind *b = ir_alloc_array(f->tool->arena, (size_t)n + 1, sizeof *b);
    for (int i = 0; i < n; i++)
        b[i] = bind_of(f, v[i]->name);
    return b;
}

// The graph is complete: all passes, then its place in the program.
static void finish_graph(Finetune *f, IrGraph *g, PassPipeline in, CgTrainGraph *out) {
    PassOptions po = ft_pass_options(f);
    *out = (CgTrainGraph){f->n_graphs, bind_all(f, g->inputs, g->n_inputs),
                          bind_all(f, g->outputs, g->n_outputs)};
    passes_run(f->prog, g, &po, in);
    IR_PUSH(f->tool->arena, f->graphs, f->n_graphs, f->cap_graphs, g);
}

static void add_output(IrGraph *g, IrValue *v, const char *name) {
    ir_output(g, v);
    g->outputs[g->n_outputs - 1]->name = name;
}

// ---------------------------------------------------------------- Dropout

// The network's own Dropout nodes work where train.s contains them; elsewhere they pass on.
static void drop_dropout(IrGraph *g) {
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op == IR_OP_DROPOUT) {
            ir_replace_uses(n->out[0], ir_in(n, 0));
            ir_remove_node(n);
        }
    }
}

// In place of `n` where that is one, else in front of it; with masks from the input *seed.
static void build_dropout(IrGraph *g, IrNode *n, IrValue *x, double ratio, IrValue **seed) {
    bool own = n->op == IR_OP_DROPOUT;
    IrBuilder b = {.graph = g, .before = n, .name = n->name, .src_op = "Dropout"};
    *seed = *seed ? *seed : ir_input(g, "seed", (IrType){.dtype = IR_I64});
    IrValue *in[] = {x, *seed};
    IrAttr attrs[] = {ir_attr_f(IR_ATTR_RATIO, ratio),
                      ir_attr_i(IR_ATTR_SEED, own ? ir_int(n, IR_ATTR_SEED, 0) : 0)};
    IrValue *y = ir_build(&b, IR_OP_DROPOUT, 2, in, 2, attrs);
    if (!y)
        bug("dropout", &b);
    if (own) {
        ir_replace_uses(n->out[0], y);
        ir_remove_node(n);
    } else {
        ir_set_in(n, 0, y);
    }
}

// The Dropout whose result the classifier reads, through changes of shape; NULL: there is none.
static IrNode *find_head_dropout(const IrNode *head) {
    IrNode *n = ir_in(head, 0)->def;
    while (n && (n->op == IR_OP_RESHAPE || n->op == IR_OP_COPY))
        n = ir_in(n, 0)->def;
    return n && n->op == IR_OP_DROPOUT ? n : NULL;
}

static void add_dropout(Finetune *f, IrGraph *g) {
    PassHead h;
    IrValue *seed = NULL;
    if (f->dropout >= 0 && pass_find_head(g, f->head, &h)) {
        IrNode *old = find_head_dropout(h.node);
        if (old) {
            ir_replace_uses(old->out[0], ir_in(old, 0));
            ir_remove_node(old);
        }
        if (f->dropout > 0)
            build_dropout(g, h.node, ir_in(h.node, 0), f->dropout, &seed);
    }
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op == IR_OP_DROPOUT && n->n_in == 1)
            build_dropout(g, n, ir_in(n, 0), ir_float(n, IR_ATTR_RATIO, 0.5), &seed);
    }
}

// ---------------------------------------------------------------- tails

static IrGraph *cut_tail(Finetune *f, IrGraph *net, const Cut *c, const char *name) {
    IrGraph *g = ir_extract(net, name, c->n, c->edge, 1, net->outputs);
    for (int i = 0; i < c->n; i++)
        g->inputs[i]->name = ir_sprintf(f->tool->arena, "feature:%d", i);
    g->outputs[0]->name = "logits";
    return g;
}

static PassLossKind loss_kind(const Finetune *f) {
    return f->binary || f->multi_label ? PASS_LOSS_BCE : PASS_LOSS_CE;
}

static void build_eval(Finetune *f, IrGraph *net, const Cut *c, int s) {
    IrGraph *g = cut_tail(f, net, c, ir_sprintf(f->tool->arena, "eval.%d", s));
    drop_dropout(g);
    PassLoss loss = pass_loss(g, g->outputs[0], loss_kind(f), false);
    add_output(g, loss.loss, "loss");
    f->info = f->n_graphs;
    finish_graph(f, g, PASS_TRAIN, &f->stage[s].eval);
}

// ---------------------------------------------------------------- BatchNormalization that trains

// running = 0.9 * running + 0.1 * batch, the variance times n / (n - 1): torch.nn.BatchNorm2d.
static void move_statistic(Finetune *f, IrGraph *g, IrValue *running, IrValue *batch,
                           IrValue *unbias, const char *name) {
    IrBuilder b = {.graph = g, .name = name};
    batch = unbias ? ir_build2(&b, IR_OP_MUL, batch, unbias) : batch;
    IrValue *old = ir_build2(&b, IR_OP_MUL, running, ir_build_scalar(&b, IR_F32, 0.9));
    IrValue *now = ir_build2(&b, IR_OP_MUL, batch, ir_build_scalar(&b, IR_F32, 0.1));
    IrValue *sum = ir_build2(&b, IR_OP_ADD, old, now);
    if (!sum)
        bug(name, &b);
    add_output(g, sum, ir_sprintf(f->tool->arena, "%s", running->name));
}

// n / max(n - 1, 1), n the numbers that each channel of x has: N times the pixels.
static IrValue *build_unbias(IrGraph *g, const IrValue *x) {
    IrBuilder b = {.graph = g, .name = "unbias"};
    int64_t pixels = 1, zero = 0;
    for (int i = 2; i < x->type.shape.rank; i++)
        pixels *= x->type.shape.dim[i].c;
    IrShape batch = {1, {x->type.shape.dim[0]}};
    IrAttr to = ir_attr_dims(IR_ATTR_SHAPE, &batch);
    IrAttr sum[] = {ir_attr_ints(g->prog->arena, IR_ATTR_AXES, 1, &zero),
                    ir_attr_i(IR_ATTR_KEEPDIMS, 0)};
    IrValue *each = ir_build_scalar(&b, IR_F32, (double)pixels);
    IrValue *one = ir_build_scalar(&b, IR_F32, 1);
    each = ir_build(&b, IR_OP_EXPAND, 1, &each, 1, &to);
    IrValue *n = ir_build(&b, IR_OP_REDUCE_SUM, 1, &each, 2, sum);
    IrValue *less = ir_build2(&b, IR_OP_MAXIMUM, ir_build2(&b, IR_OP_SUB, n, one), one);
    IrValue *y = ir_build2(&b, IR_OP_DIV, n, less);
    if (!y)
        bug("unbias", &b);
    return y;
}

// batch_norm nodes whose scale or bias the stage trains work on the batch's own statistics.
static void train_batch_norms(Finetune *f, IrGraph *g, int s) {
    for (IrNode *n = g->first, *next; f->bn_train && n; n = next) {
        next = n->next;
        if (n->op != IR_OP_BATCH_NORM)
            continue;
        IrValue *mean = ir_in(n, 3), *var = ir_in(n, 4);
        const FtParam *p = mean->input >= 0 ? find_param(f, mean) : NULL;
        if (!p || var->input < 0 || !(p->trains >> s & 1))
            continue;
        IrBuilder b = {.graph = g, .before = n, .name = n->name, .src_op = n->src_op};
        IrValue *in[] = {ir_in(n, 0), ir_in(n, 1), ir_in(n, 2)};
        IrAttr eps = ir_attr_f(IR_ATTR_EPS, ir_float(n, IR_ATTR_EPS, 1e-5));
        IrNode *k = ir_build_node(&b, IR_OP_BATCH_NORM_TRAIN, 3, in, 1, &eps);
        if (!k)
            bug(n->name, &b);
        ir_replace_uses(n->out[0], k->out[0]);
        ir_remove_node(n);
        move_statistic(f, g, mean, k->out[1], NULL, k->name);
        move_statistic(f, g, var, k->out[2], build_unbias(g, in[0]), k->name);
    }
}

static bool add_gradients(Finetune *f, IrGraph *g, int s, const PassLoss *loss) {
    PassOptions po = ft_pass_options(f);
    PassContext ctx = context(f, &po);
    IrValue **wrt = ir_alloc_array(f->tool->arena, (size_t)g->n_inputs + 1, sizeof *wrt), **grad;
    int n = 0;
    for (int i = 0; i < g->n_inputs; i++) {
        const FtParam *p = find_param(f, g->inputs[i]);
        if (p && !p->statistic && (p->trains >> s & 1))
            wrt[n++] = g->inputs[i];
    }
    grad = ir_alloc_array(f->tool->arena, (size_t)n + 1, sizeof *grad);
    AutodiffSeed seed = {g->outputs[0], loss->dlogits};
    AutodiffSpec spec = {1, n, &seed, wrt};
    if (!pass_autodiff(&ctx, g, &spec, grad))
        return false;
    for (int i = 0; i < n; i++)
        add_output(g, grad[i],
                   ir_sprintf(f->tool->arena, "grad:%s", wrt[i]->name + sizeof param_prefix - 1));
    return true;
}

static bool build_train(Finetune *f, IrGraph *net, const Cut *c, int s) {
    PassOptions po = ft_pass_options(f);
    IrGraph *g = cut_tail(f, net, c, ir_sprintf(f->tool->arena, "train.%d", s));
    train_batch_norms(f, g, s);
    passes_run_named(f->prog, g, &po, "fold_bn_param");
    add_dropout(f, g);
    PassLoss loss = pass_loss(g, g->outputs[0], loss_kind(f), true);
    add_output(g, loss.loss, "loss");
    if (!add_gradients(f, g, s, &loss))
        return false;
    finish_graph(f, g, PASS_TRAIN, &f->stage[s].train);
    return true;
}

static void build_features(Finetune *f, IrGraph *net, const Cut *c, int s) {
    f->stage[s].features.graph = -1;
    if (!c->n)
        return;
    IrGraph *g =
        ir_extract(net, ir_sprintf(f->tool->arena, "features.%d", s), 0, NULL, c->n, c->edge);
    for (int i = 0; i < c->n; i++)
        g->outputs[i]->name = ir_sprintf(f->tool->arena, "feature:%d", i);
    drop_dropout(g);
    finish_graph(f, g, PASS_TRAIN, &f->stage[s].features);
}

// ---------------------------------------------------------------- all of them

static void build_optimizers(Finetune *f) {
    static const PassOptimizer kinds[HONE_OPT_COUNT] = {[HONE_OPT_SGD] = PASS_OPT_SGD,
                                                        [HONE_OPT_NESTEROV] = PASS_OPT_NESTEROV,
                                                        [HONE_OPT_ADAMW] = PASS_OPT_ADAMW};
    for (int i = 0; i < HONE_OPT_COUNT; i++)
        finish_graph(f, pass_optimizer(f->prog, kinds[i], HONE_TRAIN_ROW), PASS_OPTIMIZER,
                     &f->opt[i]);
    finish_graph(f, pass_optimizer(f->prog, PASS_OPT_SQSUM, HONE_TRAIN_ROW), PASS_OPTIMIZER,
                 &f->sqsum);
}

bool ft_build_graphs(Finetune *f) {
    IrGraph *net = make_network(f);
    for (int s = 0; s < f->n_stages; s++) {
        Cut c = {0};
        mark_dependence(f, net, s, &c);
        find_edges(f, net, &c);
        build_features(f, net, &c, s);
        if (!build_train(f, net, &c, s))
            return false;
        build_eval(f, net, &c, s);
    }
    build_optimizers(f);
    return true;
}

// ---------------------------------------------------------------- shared constants

typedef struct Twins {
    IrMap first; // by type and hash of the content
    Finetune *f;
} Twins;

static IrConst *find_twin(Twins *t, IrConst *c) {
    char type[160];
    IrDim bytes;
    IrArena *a = t->f->tool->arena;
    if (c->kind != IR_CONST_DATA || !ir_type_bytes(&c->type, &bytes) || bytes.c < 64)
        return c;
    uint64_t h = ir_hash(c->data, (size_t)bytes.c);
    ir_type_print(&c->type, type, sizeof type);
    void **slot = ir_map_put(&t->first, ir_sprintf(a, "%016llx %s", (unsigned long long)h, type));
    IrConst *twin = *slot;
    if (!twin) {
        *slot = c;
        return c;
    }
    return memcmp(twin->data, c->data, (size_t)bytes.c) == 0 ? twin : c;
}

void ft_share_consts(Finetune *f) {
    Twins t = {.first = {.arena = f->tool->arena}, .f = f};
    IrConst **now = ir_alloc_array(f->tool->arena, f->prog->next_const_id + 1, sizeof *now);
    for (int i = 0; i < f->n_graphs; i++) {
        IrGraph *g = f->graphs[i];
        for (int k = 0; k < g->cap_const_values; k++) {
            IrValue *v = g->const_values[k];
            if (!v || !v->n_uses)
                continue;
            if (!now[v->konst->id])
                now[v->konst->id] = find_twin(&t, v->konst);
            v->konst = now[v->konst->id];
        }
    }
}
