// The classifiers of the first output. The rule: of each way up from it, the last product by a
// weight (Gemm, MatMul and Add, a convolution with the global pool below it (SqueezeNet) or above
// it) makes scores of classes, and all of them are replaced alike. What may stand between one and
// the output: changes of shape, activations, pools, reductions, resizing, normalization by stored
// statistics, what picks the scores of one token, and what joins those of several.
//
//   %a = matmul %f, %wa      a classifier       (DeiT distilled)
//   %b = matmul %g, %wb      another
//   %y = add %a, %b          joins them
//
// None of them may depend on another, and none but these ways may lead to the output: a product
// whose result other products read is a layer of the network, and its width no number of classes.

#include "passes/train/head.h"
#include "passes/util.h"

#include <string.h>

// ---------------------------------------------------------------- what stands there

static bool is_softmax(const IrNode *n) {
    return n->op == IR_OP_SOFTMAX || n->op == IR_OP_LOG_SOFTMAX || n->op == IR_OP_SIGMOID;
}

int pass_head_scaled(const IrNode *n) {
    if (!n || n->op != IR_OP_MUL) {
        return -1;
    }
    return ir_const_is_scalar(ir_in(n, 1)) ? 0 : ir_const_is_scalar(ir_in(n, 0)) ? 1 : -1;
}

// The constant that v is, or moves; NULL: it is an input by now.
static IrConst *root_of(const IrValue *v) {
    while (v->def && (v->def->op == IR_OP_RESHAPE || v->def->op == IR_OP_TRANSPOSE)) {
        v = ir_in(v->def, 0);
    }
    return v->konst;
}

bool pass_head_is_quantizer(const IrNode *n) {
    return n->src_op &&
           (strcmp(n->src_op, "QuantizeLinear") == 0 || strcmp(n->src_op, "DequantizeLinear") == 0);
}

static bool is_classifier(const PassFlow *f, const IrNode *n) {
    int at = pass_head_weight_at(n);
    bool product = n->op == IR_OP_CONV
                       ? ir_int(n, IR_ATTR_GROUP, 1) == 1
                       : n->op == IR_OP_MATMUL && ir_in(n, at)->type.shape.rank == 2;
    return product && pass_head_is_weight(f, ir_in(n, at));
}

bool pass_head_only_moves(const IrNode *n) {
    return n->op == IR_OP_COPY || n->op == IR_OP_RESHAPE || n->op == IR_OP_DROPOUT ||
           n->op == IR_OP_TRANSPOSE || pass_head_picks(n);
}

bool pass_head_picks(const IrNode *n) {
    return n->op == IR_OP_SLICE || n->op == IR_OP_GATHER;
}

bool pass_head_hands_on(const IrNode *n) {
    return pass_head_only_moves(n) || pass_head_is_quantizer(n) || n->op == IR_OP_CAST ||
           n->op == IR_OP_CLIP || n->op == IR_OP_ARG_MAX;
}

bool pass_head_is_node(const PassHead *h, const IrNode *n) {
    for (int i = 0; i < h->n_nodes; i++) {
        if (h->nodes[i] == n) {
            return true;
        }
    }
    return false;
}

// Elementwise of two operands, which it joins where both are scores.
static bool is_binary(IrOp op) {
    return op == IR_OP_ADD || op == IR_OP_SUB || op == IR_OP_MUL || op == IR_OP_DIV ||
           op == IR_OP_MAXIMUM || op == IR_OP_MINIMUM;
}

// With its first operand alone it works on each class for itself, or on all of them, or picks rows
// of scores, those of the class token (take_below() sees to it that it picks no classes).
static bool is_passed(const PassFlow *f, const IrNode *n) {
    static const bool passed[IR_OP_COUNT] = {
        [IR_OP_SOFTMAX] = true,  [IR_OP_LOG_SOFTMAX] = true, [IR_OP_COPY] = true,
        [IR_OP_RESHAPE] = true,  [IR_OP_TRANSPOSE] = true,   [IR_OP_DROPOUT] = true,
        [IR_OP_MAX_POOL] = true, [IR_OP_AVG_POOL] = true,    [IR_OP_ARG_MAX] = true,
        [IR_OP_RESIZE] = true,   [IR_OP_BATCH_NORM] = true};
    bool one = n->n_in == 1 && (ir_op_info(n->op)->flags & IR_FLAG_E) && !pass_head_is_step(n);
    bool picks = pass_head_picks(n) && (n->n_in == 1 || pass_head_is_weight(f, ir_in(n, 1)));
    return pass_head_is_quantizer(n) || one || passed[n->op] || picks || pass_is_reduce(n);
}

// ---------------------------------------------------------------- the ways up

typedef enum Mark { NOT_SEEN, BELOW, CLASSIFIER } Mark;

typedef struct Search {
    IrGraph *g;
    IrArena *arena;
    const PassFlow *f;
    Mark *mark; // by id of a node's first result
    IrValue **todo;
    int n_todo, cap_todo;
    const IrNode *last; // where it ends, when it fails
    int cap_nodes, cap_parts, cap_below;
    PassHead *h;
} Search;

static void push(Search *s, IrValue *v) {
    IR_PUSH(s->arena, s->todo, s->n_todo, s->cap_todo, v);
}

// The operands of n that are made of scores; false: it does more than passing them on.
static bool climb(Search *s, IrNode *n) {
    if (is_passed(s->f, n)) {
        push(s, ir_in(n, 0));
        return true;
    }
    bool left = n->op == IR_OP_DIV && pass_head_is_weight(s->f, ir_in(n, 0));
    if ((!is_binary(n->op) && n->op != IR_OP_CONCAT) || left) {
        return false;
    }
    for (int i = 0; i < n->n_in; i++) {
        bool weight = pass_head_is_weight(s->f, ir_in(n, i));
        if (weight && n->op == IR_OP_CONCAT) {
            return false;
        }
        if (!weight) {
            push(s, ir_in(n, i));
        }
    }
    return true;
}

static bool search_up(Search *s, IrValue *from) {
    for (push(s, from); s->n_todo;) {
        IrNode *n = s->todo[--s->n_todo]->def;
        s->last = n;
        if (!n) {
            return false;
        }
        Mark *mark = &s->mark[n->out[0]->id];
        if (*mark != NOT_SEEN) {
            continue;
        }
        *mark = is_classifier(s->f, n) ? CLASSIFIER : BELOW;
        if (*mark == BELOW && !climb(s, n)) {
            return false;
        }
    }
    return true;
}

// ---------------------------------------------------------------- what was found

// False: some of the classes are picked out.
static bool take_below(Search *s, IrNode *n) {
    PassHead *h = s->h;
    int *axis = &h->axis[n->out[0]->id];
    for (int i = 0; i < n->n_in && *axis < 0; i++) {
        const IrValue *v = ir_in(n, i);
        if (v && h->axis[v->id] >= 0) {
            *axis = pass_head_axis_below(n, i, h->axis[v->id]);
        }
    }
    IR_PUSH(s->arena, h->below, h->n_below, s->cap_below, n);
    return *axis >= 0 || !pass_head_picks(n);
}

// The lowest node where a way joins another that comes from a classifier above it; NULL: none.
static const IrNode *first_join(const Search *s) {
    for (const IrNode *n = s->g->last; n; n = n->prev) {
        int computed = 0;
        for (int i = 0; s->mark[n->out[0]->id] == BELOW && i < n->n_in; i++) {
            computed += ir_in(n, i) && !pass_head_is_weight(s->f, ir_in(n, i));
        }
        if (computed > 1) {
            return n;
        }
    }
    return NULL;
}

// Nodes in the graph's order; false: one depends on another, or every way up ends in weights.
static bool take_nodes(Search *s) {
    PassHead *h = s->h;
    bool *depends = ir_alloc_array(s->arena, s->g->next_id, sizeof *depends);
    h->axis = ir_alloc_array(s->arena, s->g->next_id, sizeof *h->axis);
    memset(h->axis, 0xff, s->g->next_id * sizeof *h->axis);
    for (IrNode *n = s->g->first; n; n = n->next) {
        Mark mark = s->mark[n->out[0]->id];
        bool on = false;
        for (int i = 0; i < n->n_in; i++) {
            on = on || (ir_in(n, i) && depends[ir_in(n, i)->id]);
        }
        if (on && mark == CLASSIFIER) {
            s->last = first_join(s);
            return false;
        }
        for (int i = 0; i < n->n_out; i++) {
            depends[n->out[i]->id] = on || mark == CLASSIFIER;
        }
        if (mark == CLASSIFIER) {
            h->axis[n->out[0]->id] = pass_head_node_axis(n);
            IR_PUSH(s->arena, h->nodes, h->n_nodes, s->cap_nodes, n);
        } else if (mark == BELOW && !take_below(s, n)) {
            s->last = n;
            return false;
        }
    }
    return h->n_nodes > 0;
}

// ---------------------------------------------------------------- what has numbers for each class

static void add_part(Search *s, PassHeadRole role, IrNode *n, int at, const IrNode *head) {
    PassHeadPart p = {.role = role, .node = n, .at = at, .value = ir_in(n, at), .head = head};
    const IrNode *scale = p.value->def;
    int scaled = scale && !pass_head_is_quantizer(scale) ? pass_head_scaled(scale) : -1;
    if (scaled >= 0 && role == PASS_HEAD_BIAS) {
        p.node = p.value->def;
        p.at = scaled;
        p.value = ir_in(p.node, scaled);
    }
    p.root = root_of(p.value);
    IR_PUSH(s->arena, s->h->parts, s->h->n_parts, s->cap_parts, p);
}

// Operand `at` has a number for each class, and is no single one.
static bool is_per_class(const Search *s, const IrNode *n, int at) {
    const IrValue *v = ir_in(n, at);
    const IrShape *shape = &v->type.shape;
    int64_t classes = pass_head_classes(s->h->nodes[0]);
    int axis = s->h->axis[n->out[0]->id];
    if (ir_const_is_scalar(v) || !pass_head_is_weight(s->f, v)) {
        return false;
    }
    if (axis < 0) {
        return pass_head_class_axis(shape, classes, true) >= 0;
    }
    axis -= n->out[0]->type.shape.rank - shape->rank;
    return axis >= 0 && ir_dim_is(shape->dim[axis], classes);
}

static void take_parts_below(Search *s, IrNode *n) {
    static const PassHeadRole of_batch_norm[] = {PASS_HEAD_ONE, PASS_HEAD_ZERO, PASS_HEAD_ZERO,
                                                 PASS_HEAD_ONE};
    const IrNode *head = s->h->nodes[0];
    for (int i = 1; n->op == IR_OP_BATCH_NORM && i <= 4; i++) {
        add_part(s, of_batch_norm[i - 1], n, i, head);
    }
    bool adds = n->op == IR_OP_ADD || n->op == IR_OP_SUB;
    for (int i = 0; (adds || n->op == IR_OP_MUL || n->op == IR_OP_DIV) && i < 2; i++) {
        if (is_per_class(s, n, i)) {
            add_part(s, adds ? PASS_HEAD_BIAS : PASS_HEAD_ONE, n, i, head);
        }
    }
}

static void take_parts(Search *s) {
    for (int i = 0; i < s->h->n_nodes; i++) {
        IrNode *n = s->h->nodes[i];
        add_part(s, PASS_HEAD_WEIGHT, n, pass_head_weight_at(n), n);
        if (ir_in(n, 2)) {
            add_part(s, PASS_HEAD_BIAS, n, 2, n);
        }
    }
    for (int i = 0; i < s->h->n_below; i++) {
        take_parts_below(s, s->h->below[i]);
    }
}

// ---------------------------------------------------------------- what ends the network

// Of the classes in v.
static int axis_of(const PassHead *h, const IrValue *v) {
    int axis = h->axis[v->id];
    return axis >= 0 ? axis
                     : pass_head_class_axis(&v->type.shape, pass_head_classes(h->nodes[0]), true);
}

static void find_end(IrGraph *g, PassHead *h) {
    h->end_axis = axis_of(h, g->outputs[0]);
    for (IrNode *n = g->outputs[0]->def; n && !pass_head_is_node(h, n); n = ir_in(n, 0)->def) {
        if (is_softmax(n)) {
            h->end = n;
            h->end_axis = axis_of(h, ir_in(n, 0));
        }
        h->names_class = h->names_class || n->op == IR_OP_ARG_MAX;
        if (!pass_head_hands_on(n)) {
            return;
        }
    }
}

// ---------------------------------------------------------------- the whole

static bool search(Search *s, IrGraph *g, const PassFlow *f, int output, PassHead *h) {
    *h = (PassHead){0};
    *s = (Search){.g = g, .arena = g->prog->arena, .f = f, .h = h};
    s->mark = ir_alloc_array(s->arena, g->next_id, sizeof *s->mark);
    return output < g->n_outputs && search_up(s, g->outputs[output]) && take_nodes(s);
}

const IrNode *pass_head_above(IrGraph *g, int output, const char *name) {
    PassHead h;
    Search s;
    PassFlow f = pass_flow(g->prog->arena, g);
    bool found = search(&s, g, &f, output, &h);
    for (int i = 0; found && i < h.n_nodes; i++) {
        if (!name || strcmp(h.nodes[i]->name, name) == 0) {
            return h.nodes[i];
        }
    }
    return NULL;
}

bool pass_find_head(IrGraph *g, const char *name, PassHead *out) {
    Search s;
    PassFlow f = pass_flow(g->prog->arena, g);
    if (!search(&s, g, &f, 0, out)) {
        return pass_head_report_none(g, &f, s.last);
    }
    bool named = !name;
    for (int i = 0; i < out->n_nodes; i++) {
        if (pass_head_classes(out->nodes[i]) != pass_head_classes(out->nodes[0])) {
            return pass_head_report_unequal(g, out->nodes[0], out->nodes[i]);
        }
        named = named || strcmp(out->nodes[i]->name, name) == 0;
    }
    if (!named) {
        return pass_head_report_other(g, name, out);
    }
    take_parts(&s);
    find_end(g, out);
    PassScoresKind kind = out->end ? PASS_SCORES_LOGITS : pass_scores(g, 0).kind;
    out->joins_odds = kind == PASS_SCORES_PROBABILITIES;
    return true;
}
