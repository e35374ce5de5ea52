// Of several outputs the classifier's: the one that says of which class an image is.
//
//   %e = matmul %f, %we              an embedding
//   %l = matmul %e, %wl              scores: all that makes %e makes them, too, and a product more
//   %p = softmax %l                  the same scores as probabilities
//   return %e, %l, %p                the third
//
// A classifier's output is a row of floats for each image, or names a class. Of two, the one below
// the other's products is the network's end, the other something on the way, unless that gives
// probabilities and the end none (an expected value, say). Of two that the same products make, the
// wider one has all classes, and not only the best; then the one that a softmax or sigmoid made. Of
// two that part (an auxiliary classifier, an embedding beside the classifier), in this order: that
// which a softmax or sigmoid made, that which is a product's result as it is, that whose name says
// so, that with more products above it. Else the first.
#include "passes/util.h"

#include <ctype.h>
#include <string.h>

enum { MOST_MARKS = 1 << 24 }; // outputs times values that are looked at

typedef struct Candidate {
    int output;
    bool row, choice;  // a row of floats for each image; the index of a class
    int64_t width;     // of the row
    bool made, shares; // by softmax and the like; probabilities that exclude each other
    bool plain;        // without an activation behind the last product
    int named;         // 1: as scores are, -1: as something else is, 0
    int n_products;
    bool *above; // by value id: it depends on it
} Candidate;

static bool is_product(const IrNode *n) {
    return n->op == IR_OP_CONV || n->op == IR_OP_MATMUL || n->op == IR_OP_CONV_DGRAD;
}

// ---------------------------------------------------------------- what an output is

// Numbers of the row that v has for each image; 0: it is none.
static int64_t row_width(const IrGraph *g, const IrValue *v) {
    const IrShape *s = &v->type.shape;
    int64_t width = 1;
    if (!ir_dtype_is_float(v->type.dtype) || s->rank < 2 || g->n_inputs < 1 ||
        g->inputs[0]->type.shape.rank < 1 || !ir_dim_eq(s->dim[0], g->inputs[0]->type.shape.dim[0]))
        return 0;
    for (int i = 1; i < s->rank; i++) {
        if (s->dim[i].n || s->dim[i].c < 1 || (s->dim[i].c > 1 && width > 1))
            return 0;
        width *= s->dim[i].c;
    }
    return width;
}

static bool names_class(const IrValue *v) {
    while (v->def && v->def->op != IR_OP_ARG_MAX && pass_hands_on(v->def))
        v = ir_in(v->def, 0);
    return v->def && v->def->op == IR_OP_ARG_MAX;
}

// v is a product's result with a bias, in another shape or type, as probabilities.
static bool is_plain(const IrValue *v) {
    for (const IrNode *n; v && (n = v->def) && !is_product(n); v = pass_carried(n)) {
        bool passes = pass_hands_on(n) || pass_makes_scores(n->op) || pass_is_reduce(n) ||
                      n->op == IR_OP_ADD || n->op == IR_OP_SUB || n->op == IR_OP_MUL ||
                      n->op == IR_OP_DIV || n->op == IR_OP_AVG_POOL || n->op == IR_OP_CLIP;
        if (!passes)
            return false;
    }
    return v && v->def;
}

static bool has_word(const char *name, const char *const *words, size_t n) {
    char low[64] = "";
    for (size_t i = 0; name[i] && i + 1 < sizeof low; i++)
        low[i] = (char)tolower((unsigned char)name[i]);
    for (size_t i = 0; i < n; i++)
        if (strstr(low, words[i]))
            return true;
    return false;
}

static int how_named(const char *name) {
    static const char *const scores[] = {"logit",   "prob",  "class", "score",
                                         "softmax", "label", "pred"};
    static const char *const others[] = {"emb",  "feat", "aux",   "box", "hidden",
                                         "repr", "proj", "token", "mask"};
    return has_word(name, others, sizeof others / sizeof *others)   ? -1
           : has_word(name, scores, sizeof scores / sizeof *scores) ? 1
                                                                    : 0;
}

// What v depends on.
static void mark_above(const IrGraph *g, const IrValue *v, Candidate *c) {
    c->above = ir_alloc_array(g->prog->arena, g->next_id, sizeof *c->above);
    c->above[v->id] = true;
    for (const IrNode *n = g->last; n; n = n->prev) {
        bool wanted = false;
        for (int i = 0; i < n->n_out; i++)
            wanted = wanted || c->above[n->out[i]->id];
        for (int i = 0; wanted && i < n->n_in; i++)
            if (ir_in(n, i))
                c->above[ir_in(n, i)->id] = true;
        c->n_products += wanted && is_product(n);
    }
}

static Candidate look_at(IrGraph *g, int output) {
    const IrValue *v = g->outputs[output];
    Candidate c = {.output = output, .width = row_width(g, v)};
    c.row = c.width > 0;
    c.choice = names_class(v);
    if (!c.row && !c.choice)
        return c;
    PassScoresKind kind = c.row ? pass_scores(g, output).kind : PASS_SCORES_LOGITS;
    c.made = kind != PASS_SCORES_LOGITS;
    c.shares = kind == PASS_SCORES_PROBABILITIES || kind == PASS_SCORES_LOG_PROBABILITIES;
    c.plain = c.choice || is_plain(v);
    c.named = how_named(v->name);
    mark_above(g, v, &c);
    return c;
}

// ---------------------------------------------------------------- the choice

// All products above a are above b.
static bool lies_below(const IrGraph *g, const Candidate *b, const Candidate *a) {
    for (const IrNode *n = g->first; n; n = n->next)
        if (is_product(n) && a->above[n->out[0]->id] && !b->above[n->out[0]->id])
            return false;
    return true;
}

// Above 0: b is the classifier's rather than a; 0: nothing tells.
static int64_t compare(const IrGraph *g, const Candidate *a, const Candidate *b) {
    bool below = lies_below(g, b, a), above = lies_below(g, a, b);
    if (below != above) {
        const Candidate *upper = below ? a : b, *lower = below ? b : a;
        return (upper->shares && !lower->shares ? upper : lower) == b ? 1 : -1;
    }
    if (b->row != a->row)
        return b->row - a->row;
    if (below && b->width != a->width)
        return b->width - a->width;
    if (b->made != a->made)
        return b->made - a->made;
    if (b->plain != a->plain)
        return b->plain - a->plain;
    if (b->named != a->named)
        return b->named - a->named;
    return b->n_products - a->n_products;
}

int pass_classifier(IrGraph *g) {
    Candidate best = {.output = -1};
    int most = MOST_MARKS / (int)(g->next_id + 1) + 1;
    for (int i = 0; i < g->n_outputs && i < most; i++) {
        Candidate c = look_at(g, i);
        if ((c.row || c.choice) && (best.output < 0 || compare(g, &best, &c) > 0))
            best = c;
    }
    return best.output;
}

bool pass_is_score_row(const IrGraph *g, int output) {
    return output >= 0 && row_width(g, g->outputs[output]) > 0;
}
