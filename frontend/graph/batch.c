// Which batch the program gets.
//
//   the file leaves it open   its own shape computations are followed, with N in them. Where they
//                             cannot be, the graph is imported for one image and for other sizes:
//                             where all of these do the same to each image, or no other fits (it
//                             was exported for one and declares any), that is opened for any N. So
//                             it is where a Reshape says 1 for the batch and -1 behind it, which
//                             joins images that the model computes one by one.
//   --input-shape changes     the graph is imported for the size that it was made for, and opened
//   a fixed one               (frontend/batch/).
//
// Where neither can be told, the program stays at the size that it was made for, or at one image,
// and a warning says why.
#include "frontend/batch/open.h"
#include "frontend/export/retarget.h"
#include "frontend/graph/graph.h"

static const char *op_at(const FeContext *base, const FeUnsupported *u) {
    return u->opset ? ir_sprintf(base->arena, "%s, opset %d", u->op, u->opset) : u->op;
}

static void warn_of_training(const FeContext *fe) {
    if (fe->bn_switched + fe->dropout_switched > 0) {
        ir_warn(fe->diag, IR_NOWHERE,
                "exported for training: %d BatchNormalization and %d Dropout nodes are switched to "
                "inference (--keep-training-mode keeps them)",
                fe->bn_switched, fe->dropout_switched);
    }
}

// Shapes, folded operands and the like need not be kept.
static void remove_unused_consts(IrProgram *p, IrGraph *g) {
    int n = 0;
    for (int i = 0; i < p->n_consts; i++) {
        if (ir_const_value(g, p->consts[i])->n_uses > 0) {
            p->consts[n++] = p->consts[i];
        }
    }
    p->n_consts = n;
}

static const FeEdge *list_edges(const IrGraph *g, int *n) {
    FeEdge *edge =
        ir_alloc_array(g->prog->arena, (size_t)(g->n_inputs + g->n_outputs) + 1, sizeof *edge);
    *n = 0;
    for (int i = 0; i < g->n_inputs; i++) {
        edge[(*n)++] = (FeEdge){g->inputs[i]->name, g->inputs[i]->type.shape};
    }
    for (int i = 0; i < g->n_outputs; i++) {
        edge[(*n)++] = (FeEdge){g->outputs[i]->name, g->outputs[i]->type.shape};
    }
    return edge;
}

// The model as it was walked, for those who asked for it; false after an error.
static bool keep_model(FeContext *fe, const IrGraph *g) {
    if (!fe->opt->model) {
        return true;
    }
    FeModel *m = ir_alloc(fe->arena, sizeof *m);
    *m = (FeModel){.pb = fe->opt->to_train ? fe_flatten(fe) : fe->model, .external = fe->external};
    m->edges = list_edges(g, &m->n_edges);
    *fe->opt->model = m;
    return m->pb;
}

static IrProgram *finish(FeAttempt *a, IrGraph *g) {
    a->fe.prog->graphs[0] = g;
    remove_unused_consts(a->fe.prog, g);
    warn_of_training(&a->fe);
    // A report may have listed whatever made the outputs.
    const char *wrong = g->n_outputs ? ir_verify(g) : NULL;
    if (wrong) {
        ir_bug("frontend", NULL, "%s", wrong);
    }
    return keep_model(&a->fe, g) ? a->fe.prog : NULL;
}

// What was tried, and cannot be imported, is in the user's report, or an error for each node.
static IrProgram *report_refusals(const FeContext *base, FeAttempt *a) {
    FeReport *report = base->opt->report;
    for (int i = 0; i < a->refused.n; i++) {
        FeUnsupported *u = &a->refused.v[i];
        if (report) {
            IR_PUSH(base->arena, report->v, report->n, report->cap, *u);
        } else {
            ir_error(base->diag, (IrWhere){u->node, op_at(base, u)}, "%s", u->reason);
        }
    }
    return report ? finish(a, a->fe.graph) : NULL;
}

static void warn_of_batch(const FeContext *base, int64_t size, const char *why) {
    ir_warn(base->diag, IR_NOWHERE, "the program stays at batch size %lld: %s", (long long)size,
            why);
}

// Whether all tensors of the graph, for a number of images, are within the limit.
static bool check_sizes(const FeAttempt *a, IrGraph *g) {
    const char *why = NULL;
    for (int i = 0; i < g->n_inputs && !why; i++) {
        why = fe_check_type(&a->fe, &g->inputs[i]->type);
    }
    const IrNode *at = NULL;
    for (const IrNode *n = g->first; n && !why; n = n->next) {
        at = n;
        for (int i = 0; i < n->n_out && !why; i++) {
            why = fe_check_type(&a->fe, &n->out[i]->type);
        }
    }
    if (why) {
        ir_error(a->fe.diag, at ? (IrWhere){at->name, at->src_op} : IR_NOWHERE,
                 "at the batch size of --input-shape, %s", why);
    }
    return !why;
}

static IrProgram *open_fixed(const FeContext *base, FeAttempt *a) {
    const FeOpening *o = &a->fe.opening;
    const char *why;
    IrGraph *g = fe_batch_open(a->fe.graph, o->from, o->inputs, true, &why);
    if (!g) {
        warn_of_batch(base, o->from, why);
    } else if (o->to != FE_SYMBOLIC) {
        fe_batch_fix(g, o->to);
        if (!check_sizes(a, g)) {
            return NULL;
        }
    }
    return finish(a, g ? g : a->fe.graph);
}

// The first thing that kept the batch from staying symbolic.
static const char *describe_refusal(const FeContext *base, const FeAttempt *a) {
    const FeUnsupported *u = &a->refused.v[0];
    return ir_sprintf(base->arena, "node '%s' (%s): %s", u->node, op_at(base, u), u->reason);
}

static IrGraph *open_as(const FeAttempt *a, int64_t size, bool own_axes) {
    const char *why;
    return fe_batch_open(a->fe.graph, size, a->fe.opening.inputs, own_axes, &why);
}

typedef enum Others { OTHERS_AGREE, OTHERS_DO_NOT_FIT, OTHERS_DIFFER } Others;

static void free_arena(void *arena) {
    IrArena **a = arena;
    ir_arena_free(*a);
    *a = NULL;
}

// The graph at another batch size, in an arena of its own. False: it does not fit there. *agrees:
// its images stay apart and, where `one` is given, each is treated as that does, the graph at 1.
static bool try_size(const FeContext *base, int64_t size, const IrGraph *one, bool *agrees) {
    IrArena **scratch = ir_alloc(base->arena, sizeof *scratch);
    ir_arena_defer(base->arena, free_arena, scratch); // should an error unwind past us
    *scratch = ir_arena_new(base->diag);
    FeContext fe = *base;
    FeOptions opt = *base->opt;
    // Limits are on what one image takes.
    opt.limits.v[FE_LIMIT_TENSOR] = opt.limits.v[FE_LIMIT_CONSTANTS] = INT64_MAX / 4;
    fe.arena = *scratch;
    fe.opt = &opt;
    FeAttempt a;
    bool fits = fe_attempt(&fe, size, &a);
    IrGraph *g = fits ? open_as(&a, size, false) : NULL;
    *agrees = g && (!one || fe_batch_same(g, one));
    free_arena(scratch);
    return fits;
}

static Others try_others(const FeContext *base, const IrGraph *one) {
    static const int64_t sizes[] = {3, 64, 97};
    enum { N_SIZES = sizeof sizes / sizeof *sizes };
    int fits = 0;
    for (int i = 0; i < N_SIZES; i++) {
        bool agrees, fit = try_size(base, sizes[i], one, &agrees);
        if (fit && !agrees) {
            return OTHERS_DIFFER;
        }
        fits += fit;
    }
    return fits == N_SIZES ? OTHERS_AGREE : fits ? OTHERS_DIFFER : OTHERS_DO_NOT_FIT;
}

static void warn_of_one(const FeContext *base, const char *why) {
    ir_warn(base->diag, IR_NOWHERE,
            "it declares any batch size and was exported for 1, each image is computed alone: %s",
            why);
}

static IrProgram *open_declared(const FeContext *base, const FeAttempt *symbolic, FeAttempt *one) {
    const char *first = describe_refusal(base, symbolic);
    IrGraph *g = open_as(one, 1, false);
    Others others = g ? try_others(base, g) : OTHERS_DIFFER;
    if (others == OTHERS_DO_NOT_FIT) {
        warn_of_one(base, first);
        g = open_as(one, 1, true);
    } else if (others == OTHERS_DIFFER) {
        warn_of_batch(base, 1, first);
        g = NULL;
    }
    return finish(one, g ? g : one->fe.graph);
}

// A Reshape seems to join images. It is right where they stay apart all the same, or nothing else
// is possible.
static IrProgram *open_joined(const FeContext *base, FeAttempt *symbolic) {
    FeAttempt one;
    IrGraph *g = fe_attempt(base, 1, &one) ? open_as(&one, 1, true) : NULL;
    if (!g || try_others(base, NULL) == OTHERS_AGREE) {
        return finish(symbolic, symbolic->fe.graph);
    }
    warn_of_one(base,
                ir_sprintf(base->arena, "node '%s' (Reshape) says 1 and -1, which would join them",
                           symbolic->fe.opening.joins));
    return finish(&one, g);
}

IrProgram *fe_import_batch(const FeContext *base) {
    FeAttempt a, one;
    bool imported = fe_attempt(base, 0, &a);
    if (a.failed) {
        return NULL;
    }
    if (imported && a.fe.opening.from) {
        return open_fixed(base, &a);
    }
    if (imported) {
        return a.fe.opening.joins ? open_joined(base, &a) : finish(&a, a.fe.graph);
    }
    if (!a.fe.opening.from && a.fe.opening.symbolic && fe_attempt(base, 1, &one)) {
        return open_declared(base, &a, &one);
    }
    return report_refusals(base, &a);
}
