// The graphs of a stage. The network, with what trains in any stage as inputs, is cut at the frozen
// prefix's edge:
//
//   features.s   image, parameters                    -> feature:0 ...
//   eval.s       feature:0 ..., parameters, label ... -> logits, loss [, head_input]
//   train.s      the same                             -> logits, loss, gradients, statistics
//
// An edge value depends on the image and on nothing that the stage trains, has one row per image,
// and is read by what does. Where no product lies above the edge there are no features, and the
// tail reads the image.
#include "passes/train/autodiff.h"
#include "passes/train/names.h"
#include "passes/train/head.h"
#include "passes/train/program.h"

typedef struct Cut { // of the simplified network for one stage
    bool *trained;   // by value id: depends on what the stage trains
    bool *image;     // by value id: depends on the image
    int n, cap;
    IrValue **edge;
} Cut;

// ---------------------------------------------------------------- the cut

static void mark_dependence(PassTrain *t, IrGraph *g, int s, Cut *c) {
    c->trained = ir_alloc_array(t->arena, g->next_id, sizeof *c->trained);
    c->image = ir_alloc_array(t->arena, g->next_id, sizeof *c->image);
    for (int i = 0; i < g->n_inputs; i++) {
        const IrTrainParam *p = pass_find_param(t, g->inputs[i]);
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

static void find_edges(PassTrain *t, IrGraph *g, Cut *c) {
    bool *needed = ir_alloc_array(t->arena, g->next_id, sizeof *needed);
    bool *above = ir_alloc_array(t->arena, g->next_id, sizeof *above); // of an edge
    bool product = false;
    needed[g->outputs[0]->id] = true;
    for (IrNode *n = g->last; n; n = n->prev) {
        bool inside = false, up = false;
        for (int i = 0; i < n->n_out; i++) {
            IrValue *v = n->out[i];
            if (needed[v->id] && is_edge(c, v)) {
                IR_PUSH(t->arena, c->edge, c->n, c->cap, v);
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

// ---------------------------------------------------------------- tails

static IrGraph *cut_tail(PassTrain *t, IrGraph *net, const Cut *c, const char *name) {
    IrGraph *g = ir_extract(net, name, c->n, c->edge, 1, net->outputs);
    for (int i = 0; i < c->n; i++)
        g->inputs[i]->name = pass_feature_name(t, i);
    g->outputs[0]->name = pass_bind_output(IR_BIND_LOGITS);
    return g;
}

// The only weights of a new classifier; NULL: there are none, or several.
static IrValue *find_new_weights(const PassTrain *t, const IrGraph *g) {
    IrValue *found = NULL;
    for (int i = 0; i < g->n_inputs; i++) {
        const IrTrainParam *p = pass_find_param(t, g->inputs[i]);
        if (!p || !p->fresh || g->inputs[i]->type.shape.rank < 2)
            continue;
        if (found)
            return NULL;
        found = g->inputs[i];
    }
    return found;
}

// What the weights w are multiplied with; NULL: no product reads them.
static IrValue *find_factor(const IrValue *w) {
    while (w && w->n_uses == 1) {
        const IrNode *n = w->uses->node;
        if (n->op == IR_OP_MATMUL || n->op == IR_OP_CONV)
            return ir_in(n, w->uses->index == 0);
        w = n->op == IR_OP_RESHAPE || n->op == IR_OP_TRANSPOSE ? n->out[0] : NULL;
    }
    return NULL;
}

// A first stage that moves pretrained layers together with a new classifier begins with a solved
// one: the runtime is told what that reads.
static void add_head_input(PassTrain *t, IrGraph *g) {
    const IrValue *w = find_new_weights(t, g);
    IrValue *x = w ? find_factor(w) : NULL;
    const IrShape *s = x ? &x->type.shape : NULL;
    if (x && x->def && x->type.dtype == IR_F32 && s->rank > 0 &&
        ir_dim_eq(s->dim[0], (IrDim){0, 1}))
        pass_add_output(g, x, pass_bind_output(IR_BIND_HEAD_INPUT));
}

// Of a map of one channel both classes have a logit.
static PassLoss add_loss(PassTrain *t, IrGraph *g, bool with_gradient) {
    if (t->out->map[0] && t->out->logits == 1) {
        g->outputs[0]->name = "hone.map";
        pass_head_pair(g);
        g->outputs[0]->name = pass_bind_output(IR_BIND_LOGITS);
    }
    IrShape s = g->outputs[0]->type.shape;
    int64_t classes = t->out->binary ? 2 : s.dim[s.rank == 3 ? 2 : 1].c;
    return pass_loss(g, g->outputs[0], t->out->loss, classes, with_gradient);
}

static void build_eval(PassTrain *t, IrGraph *net, const Cut *c, int s) {
    IrGraph *g = cut_tail(t, net, c, ir_sprintf(t->arena, "eval.%d", s));
    pass_drop_dropout(g);
    pass_keep_weights(t, g, s);
    PassLoss loss = add_loss(t, g, false);
    pass_add_output(g, loss.loss, pass_bind_output(IR_BIND_LOSS));
    if (s == 0 && !t->out->map[0])
        add_head_input(t, g);
    t->out->info = t->out->n_graphs;
    pass_finish_graph(t, g, PASS_TRAIN, &t->out->stages[s].eval);
}

// ---------------------------------------------------------------- the training step

static bool add_gradients(PassTrain *t, IrGraph *g, int s, const PassLoss *loss) {
    PassContext ctx = pass_train_context(t);
    IrValue **wrt = ir_alloc_array(t->arena, (size_t)g->n_inputs + 1, sizeof *wrt), **grad;
    const IrTrainParam **of = ir_alloc_array(t->arena, (size_t)g->n_inputs + 1, sizeof *of);
    int n = 0;
    for (int i = 0; i < g->n_inputs; i++) {
        const IrTrainParam *p = pass_find_param(t, g->inputs[i]);
        if (p && !p->statistic && (p->trains >> s & 1)) {
            of[n] = p;
            wrt[n++] = g->inputs[i];
        }
    }
    grad = ir_alloc_array(t->arena, (size_t)n + 1, sizeof *grad);
    AutodiffSeed seed = {g->outputs[0], loss->dlogits};
    AutodiffSpec spec = {1, n, &seed, wrt};
    if (!pass_autodiff(&ctx, g, &spec, grad))
        return false;
    for (int i = 0; i < n; i++)
        pass_add_output(g, grad[i], pass_grad_name(t, of[i]->konst->name));
    return true;
}

static bool build_train(PassTrain *t, IrGraph *net, const Cut *c, int s) {
    IrGraph *g = cut_tail(t, net, c, ir_sprintf(t->arena, "train.%d", s));
    pass_train_batch_norms(t, g, s);
    passes_run_named(t->prog, g, t->po, "fold_bn_param");
    pass_add_dropout(t, g);
    PassLoss loss = add_loss(t, g, true);
    if (t->out->loss == IR_LOSS_CE)
        pass_loss_mix(g, &loss);
    pass_add_output(g, loss.loss, pass_bind_output(IR_BIND_LOSS));
    if (!add_gradients(t, g, s, &loss))
        return false;
    IrTrainStage *stage = &t->out->stages[s];
    pass_train_limit(t, g, stage);
    pass_finish_graph(t, g, PASS_TRAIN, &stage->train);
    pass_train_limited(t, stage);
    return true;
}

static void build_features(PassTrain *t, IrGraph *net, const Cut *c, int s) {
    t->out->stages[s].features.graph = -1;
    if (!c->n)
        return;
    IrGraph *g = ir_extract(net, ir_sprintf(t->arena, "features.%d", s), 0, NULL, c->n, c->edge);
    for (int i = 0; i < c->n; i++)
        g->outputs[i]->name = pass_feature_name(t, i);
    pass_drop_dropout(g);
    pass_finish_graph(t, g, PASS_TRAIN, &t->out->stages[s].features);
}

bool pass_train_stage(PassTrain *t, IrGraph *net, int s) {
    Cut c = {0};
    mark_dependence(t, net, s, &c);
    find_edges(t, net, &c);
    build_features(t, net, &c, s);
    if (!build_train(t, net, &c, s))
        return false;
    build_eval(t, net, &c, s);
    return true;
}
