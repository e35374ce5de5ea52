// The classifier of a fine-tune executable: replaced in the graph, and in the user's file, which
// the executable carries and export fills in.
#include "tools/finetune.h"

#include "runtime/core/rt.h"

#include <string.h>

PassOptions ft_pass_options(const Finetune *f) {
    PassOptions po = tool_pass_options(&f->model);
    po.threads = f->threads ? f->threads : rt_cpus_available();
    return po;
}

static int64_t count_logits(const IrNode *n) {
    const IrShape *s = &n->out[0]->type.shape;
    return s->dim[n->op == IR_OP_CONV ? 1 : s->rank - 1].c;
}

static bool check_kept(Finetune *f) {
    if (f->binary && f->old_logits != 1) {
        ir_error(&f->tool->diag, IR_NOWHERE,
                 "--keep-head --binary: the classifier makes %lld "
                 "numbers per image, not one",
                 (long long)f->old_logits);
        return false;
    }
    if (!f->binary && f->classes && f->classes != f->old_logits) {
        ir_error(&f->tool->diag, IR_NOWHERE,
                 "--keep-head: %d classes are given, the classifier has %lld", f->classes,
                 (long long)f->old_logits);
        return false;
    }
    return true;
}

bool ft_replace_head(Finetune *f) {
    PassHead h;
    PassOptions po = ft_pass_options(f);
    int errors = f->tool->diag.errors;
    passes_run(f->prog, f->infer, &po, PASS_HEAD);
    if (!pass_find_head(f->infer, f->head, &h))
        return false;
    f->old_logits = count_logits(h.node);
    if (f->keep_head && !check_kept(f))
        return false;
    f->logits = f->keep_head ? f->old_logits : f->binary ? 1 : f->classes;
    f->classes = f->classes ? f->classes : (int)f->logits;
    PassHeadOptions head = {
        .classes = f->keep_head ? 0 : f->logits, .node = f->head, .seed = f->seed};
    po.head = &head;
    passes_run_named(f->prog, f->infer, &po, "replace_head");
    return f->tool->diag.errors == errors;
}

// ---------------------------------------------------------------- the user's file

// Which input of the ONNX node operand `at` of the IR node is: the importer keeps the order, but
// of Gemm's C, which may have become an add or a mul of its own.
static FeSwap swap_of(const IrNode *n, int at, const IrValue *v, bool is_head) {
    bool gemm = n->src_op && strcmp(n->src_op, "Gemm") == 0;
    return (FeSwap){n->name, n->src_op ? n->src_op : "", gemm && n->op != IR_OP_MATMUL ? 2 : at,
                    v->konst, is_head};
}

static void add_swap(Finetune *f, FeSwap s) {
    IR_PUSH(f->tool->arena, f->swaps, f->n_swaps, f->cap_swaps, s);
}

// ---------------------------------------------------------------- vectors read twice

static bool is_named_once(const IrGraph *g, const IrNode *n) {
    int found = 0;
    for (const IrNode *k = g->first; k; k = k->next)
        found += strcmp(k->name, n->name) == 0;
    return found == 1;
}

static bool is_taken(const IrProgram *p, const char *name) {
    for (int i = 0; i < p->n_consts; i++)
        if (strcmp(p->consts[i]->name, name) == 0)
            return true;
    return false;
}

// The name under which the node reads it, which exporters keep by an Identity; else a made up one.
static const char *own_name(const Finetune *f, const IrNode *n, int at, const char *origin) {
    const char *name = fe_model_input(f->onnx, n->name, n->src_op ? n->src_op : "", at);
    for (int k = f->n_swaps + 1; !name || is_taken(f->prog, name); k++)
        name = ir_sprintf(f->prog->arena, "%s.%d", origin, k);
    return name;
}

// seen: by value id; the first reader keeps the constant.
static void untie(Finetune *f, IrNode *n, int at, bool *seen) {
    IrValue *v = ir_in(n, at);
    IrConst *c = v ? v->konst : NULL;
    if (!c || !c->origin || c->type.dtype != IR_F32 || c->type.shape.rank != 1 || v->n_uses < 2)
        return;
    if (!seen[v->id] || !is_named_once(f->infer, n)) {
        seen[v->id] = true;
        return;
    }
    const char *name = own_name(f, n, at, c->origin);
    IrConst *own = ir_const_new(f->prog, name, c->type, ir_const_data(f->prog, c));
    own->origin = own->name;
    ir_set_in(n, at, ir_const_value(f->infer, own));
    add_swap(f, swap_of(n, at, ir_in(n, at), false));
}

// Exporters merge initializers that are equal, the biases of two normalizations whose results are
// added for one: trained as one they would move twice as fast. Weights stay shared.
void ft_untie(Finetune *f) {
    bool *seen = ir_alloc_array(f->tool->arena, f->infer->next_id, sizeof *seen);
    for (IrNode *n = f->infer->first; n; n = n->next) {
        int first = n->op == IR_OP_BATCH_NORM ? 1 : 2;
        int last = n->op == IR_OP_BATCH_NORM ? 4 : n->op == IR_OP_CONV ? 2 : 0;
        for (int at = first; at <= last; at++)
            untie(f, n, at, seen);
    }
}

// ---------------------------------------------------------------- metadata

static const char *join_floats(IrArena *a, const float *v, int n) {
    const char *s = "";
    for (int i = 0; i < n; i++)
        s = ir_sprintf(a, "%s%s%.9g", s, i ? "," : "", (double)v[i]);
    return s;
}

static const char *join_labels(IrArena *a, const CgOptions *cg) {
    size_t bytes = 1;
    for (int i = 0; i < cg->n_labels; i++)
        bytes += strlen(cg->labels[i]) + 1;
    char *s = ir_alloc(a, bytes), *end = s;
    for (int i = 0; i < cg->n_labels; i++) {
        end = stpcpy(end, cg->labels[i]);
        *end++ = '\n';
    }
    return s;
}

// As tools/image_options.c reads them.
static int make_meta(Finetune *f, const CgOptions *cg, IrMeta *m) {
    IrArena *a = f->tool->arena;
    const HonePreprocess *x = &cg->preprocess;
    int n = 0;
    m[n++] = (IrMeta){"hone.labels", cg->n_labels ? join_labels(a, cg) : NULL};
    m[n++] = (IrMeta){"hone.mean", join_floats(a, x->mean, x->channels)};
    m[n++] = (IrMeta){"hone.std", join_floats(a, x->std, x->channels)};
    m[n++] = (IrMeta){"hone.scale", join_floats(a, &x->scale, 1)};
    m[n++] = (IrMeta){"hone.resize", ir_sprintf(a, "%d", x->resize)};
    m[n++] = (IrMeta){"hone.bgr", x->bgr ? "1" : "0"};
    return n;
}

bool ft_retarget(Finetune *f, const CgOptions *cg) {
    PassHead h;
    IrMeta meta[8];
    FeRetarget r = {.old_classes = f->old_logits,
                    .classes = f->logits,
                    .sigmoid = !f->keep_head && (f->binary || f->multi_label),
                    .meta = meta};
    if (!pass_find_head(f->infer, f->head, &h))
        return false;
    if (!f->keep_head) {
        add_swap(f, swap_of(h.node, 1, h.weight, true));
        if (h.bias)
            add_swap(f, swap_of(h.bias_node, h.bias_at, h.bias, true));
    }
    r.n_swaps = f->n_swaps;
    r.swaps = f->swaps;
    r.n_meta = make_meta(f, cg, meta);
    f->new_model = fe_retarget(f->tool->arena, f->onnx, &r);
    for (int i = 0; f->new_model && i < f->n_params; i++) {
        const char *name = f->params[i].konst->name;
        if (f->params[i].trains && fe_new_model_find(f->new_model, name) < 0) {
            ir_error(&f->tool->diag, IR_NOWHERE,
                     "NYI: '%s' is to be trained, and no initializer of 32-bit floats", name);
            return false;
        }
    }
    return f->new_model != NULL;
}
