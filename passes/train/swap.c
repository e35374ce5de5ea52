// The classifier of a fine-tune program, and how the user's file is to follow the network: which of
// its nodes' inputs become initializers of their own.
#include "passes/train/head.h"
#include "passes/train/program.h"

#include <string.h>

// ---------------------------------------------------------------- the classifier

static bool check_kept(PassTrain *t) {
    if (t->opt->binary && t->out->old_logits != 1) {
        ir_error(t->prog->diag, IR_NOWHERE,
                 "--keep-head --binary: the classifier makes %lld "
                 "numbers per image, not one",
                 (long long)t->out->old_logits);
        return false;
    }
    if (!t->opt->binary && t->opt->classes && t->opt->classes != t->out->old_logits) {
        ir_error(t->prog->diag, IR_NOWHERE,
                 "--keep-head: %d classes are given, the classifier has %lld", t->opt->classes,
                 (long long)t->out->old_logits);
        return false;
    }
    return true;
}

// A map of one channel: the loss reads two classes that exclude each other, of which the network's
// sigmoid tells the second.
static bool check_one_map(PassTrain *t) {
    if (t->opt->multi_label)
        ir_error(t->prog->diag, IR_NOWHERE, "NYI: --multi-label of a network that labels pixels");
    else if (t->opt->classes && t->opt->classes != 2)
        ir_error(
            t->prog->diag, IR_NOWHERE,
            "the output '%s' is a map of one channel, which tells two classes apart: --classes "
            "wants two, not %d",
            t->infer->outputs[0]->name, t->opt->classes);
    else
        return true;
    return false;
}

static bool check_output(PassTrain *t, const PassHead *h, bool one_map) {
    if (t->opt->binary && h->names_class)
        ir_error(t->prog->diag, IR_NOWHERE,
                 "--binary: the output '%s' names the class of the largest number, and there will "
                 "be one number",
                 t->infer->outputs[0]->name);
    bool each = t->opt->binary || t->opt->multi_label || one_map;
    if (!pass_head_check_odds(t->infer, h, each))
        return false;
    if (each && h->joins_odds)
        ir_error(t->prog->diag, IR_NOWHERE,
                 "NYI: --binary and --multi-label where the output '%s' joins probabilities of "
                 "classes that exclude each other",
                 t->infer->outputs[0]->name);
    return (!t->opt->binary || !h->names_class) && !(each && h->joins_odds);
}

static const IrFileNode *list_nodes(const PassTrain *t, const PassHead *h) {
    IrFileNode *v = ir_alloc_array(t->arena, (size_t)h->n_nodes, sizeof *v);
    for (int i = 0; i < h->n_nodes; i++) {
        const IrNode *n = h->nodes[i];
        v[i] = (IrFileNode){n->name, n->src_op ? n->src_op : ""};
    }
    return v;
}

enum { MOST_MAP_CLASSES = 255 }; // a mask's pixels are bytes, of which 255 does not count

// What of the options no network trains that labels pixels.
static void check_map(const PassTrain *t) {
    const IrTrainProgram *out = t->out;
    if (out->loss != IR_LOSS_CE)
        ir_error(t->prog->diag, IR_NOWHERE,
                 "NYI: --binary and --multi-label of a network that labels pixels; --classes 2 "
                 "trains two classes that exclude each other");
    else if (!t->opt->keep_head && out->classes > MOST_MAP_CLASSES)
        ir_error(t->prog->diag, IR_NOWHERE,
                 "NYI: %d classes of a network that labels pixels: a mask's pixels are bytes and "
                 "255 does not count, which leaves %d",
                 out->classes, MOST_MAP_CLASSES);
}

bool pass_train_head(PassTrain *t) {
    const PassTrainOptions *o = t->opt;
    IrTrainProgram *out = t->out;
    PassHead h;
    int errors = t->prog->diag->errors;
    passes_run(t->prog, t->infer, t->po, PASS_HEAD);
    if (!pass_find_head(t->infer, o->head, &h))
        return false;
    out->output = t->infer->outputs[0]->name;
    out->old_logits = pass_head_classes(h.nodes[0]);
    out->heads = list_nodes(t, &h);
    out->n_heads = h.n_nodes;
    out->end = h.end ? h.end->name : NULL;
    out->end_op = h.end ? h.end->src_op : NULL;
    out->end_axis = h.end_axis;
    t->old_head = ir_alloc_array(t->arena, (size_t)h.n_parts, sizeof *t->old_head);
    t->n_old_head = h.n_parts;
    for (int i = 0; i < h.n_parts; i++)
        t->old_head[i] = h.parts[i].root ? h.parts[i].root->origin : NULL;
    bool one_map = pass_head_is_one_map(t->infer, &h);
    if (one_map ? !check_one_map(t) : o->keep_head && !check_kept(t))
        return false;
    if (!check_output(t, &h, one_map))
        return false;
    out->logits = o->keep_head ? out->old_logits : o->binary || one_map ? 1 : o->classes;
    out->classes = one_map ? 2 : o->classes ? o->classes : (int)out->logits;
    if (one_map) {
        out->loss = IR_LOSS_CE;
        out->binary = false;
        out->end_axis = -1; // its sigmoid stays
    }
    PassHeadOptions head = {.classes = o->keep_head ? 0 : out->logits,
                            .node = o->head,
                            .seed = o->seed,
                            .map = out->map};
    PassOptions po = *t->po;
    po.head = &head;
    passes_run_named(t->prog, t->infer, &po, "replace_head");
    if (t->prog->diag->errors == errors && out->map[0])
        check_map(t);
    return t->prog->diag->errors == errors;
}

// ---------------------------------------------------------------- the user's file

// Which input of the ONNX node operand `at` of the IR node is: the importer keeps the order, but
// of Gemm's C, which may have become an add or a mul of its own.
static IrSwap swap_of(const IrNode *n, int at, const IrValue *v) {
    bool gemm = n->src_op && strcmp(n->src_op, "Gemm") == 0;
    return (IrSwap){n->name, n->src_op ? n->src_op : "", gemm && n->op != IR_OP_MATMUL ? 2 : at,
                    v->konst};
}

static void add_swap(PassTrain *t, IrSwap s) {
    IR_PUSH(t->arena, t->out->swaps, t->out->n_swaps, t->cap_swaps, s);
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
static const char *own_name(const PassTrain *t, const IrNode *n, int at, const char *origin) {
    const char *name = t->opt->input_name(t->opt->file, n->name, n->src_op ? n->src_op : "", at);
    for (int k = t->out->n_swaps + 1; !name || is_taken(t->prog, name); k++)
        name = ir_sprintf(t->prog->arena, "%s.%d", origin, k);
    return name;
}

// The nodes share all of what they read but their first operands: one layer at two places.
static bool is_same_layer(const IrNode *a, const IrNode *b) {
    int i = 1;
    while (i < a->n_in && ir_in(a, i) == ir_in(b, i))
        i++;
    return a->op == b->op && a->n_in == b->n_in && i == a->n_in;
}

// keeps: by value id, the first reader, which keeps the constant.
static void untie(PassTrain *t, IrNode *n, int at, const IrNode **keeps) {
    IrValue *v = ir_in(n, at);
    IrConst *c = v ? v->konst : NULL;
    if (!c || !c->origin || c->type.dtype != IR_F32 || c->type.shape.rank != 1 || v->n_uses < 2)
        return;
    const IrNode **first = &keeps[v->id];
    if (!*first || is_same_layer(*first, n) || !is_named_once(t->infer, n)) {
        *first = *first ? *first : n;
        return;
    }
    const char *name = own_name(t, n, at, c->origin);
    IrConst *own = ir_const_new(t->prog, name, c->type, ir_const_data(t->prog, c));
    own->origin = own->name;
    ir_set_in(n, at, ir_const_value(t->infer, own));
    add_swap(t, swap_of(n, at, ir_in(n, at)));
}

// Exporters merge initializers that are equal, the biases of two normalizations whose results are
// added for one: trained as one they would move twice as fast. Weights stay shared.
void pass_train_untie(PassTrain *t) {
    const IrNode **keeps = ir_alloc_array(t->arena, t->infer->next_id, sizeof *keeps);
    for (IrNode *n = t->infer->first; n; n = n->next) {
        int first = n->op == IR_OP_BATCH_NORM ? 1 : 2;
        int last = n->op == IR_OP_BATCH_NORM ? 4 : n->op == IR_OP_CONV ? 2 : 0;
        for (int at = first; at <= last; at++)
            untie(t, n, at, keeps);
    }
}

// The new constant took the old one's name, or the node reads one of another name.
static void swap_part(PassTrain *t, const char *old, const PassHeadPart *p) {
    for (int i = 0; i < t->out->n_swaps; i++)
        if (t->out->swaps[i].konst == p->root && !t->out->swaps[i].node)
            return; // of a classifier at several places
    if (old && p->root && strcmp(old, p->root->name) == 0)
        add_swap(t, (IrSwap){NULL, NULL, 0, p->root});
    else
        add_swap(t, swap_of(p->node, p->at, ir_in(p->node, p->at)));
}

bool pass_train_swap_head(PassTrain *t) {
    PassHead h;
    if (!pass_find_head(t->infer, t->opt->head, &h))
        return false;
    if (h.n_parts != t->n_old_head) {
        ir_error(t->prog->diag, IR_NOWHERE,
                 "NYI: what has numbers for each class changes with the number of classes");
        return false;
    }
    for (int i = 0; i < h.n_parts; i++)
        swap_part(t, t->old_head[i], &h.parts[i]);
    return true;
}
