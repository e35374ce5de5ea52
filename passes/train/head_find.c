// The classifier: the last product by a weight above the first output: Gemm, MatMul and Add, a
// convolution with the global pool below it (SqueezeNet) or above it. Shape changes, activations,
// pools and reductions may stand between it and the output.

#include "passes/train/head.h"
#include "passes/util.h"

#include <string.h>

// ---------------------------------------------------------------- finding it

static bool is_softmax(const IrNode *n) {
    return n->op == IR_OP_SOFTMAX || n->op == IR_OP_LOG_SOFTMAX || n->op == IR_OP_SIGMOID;
}

int pass_head_scaled(const IrNode *n) {
    if (!n || n->op != IR_OP_MUL) {
        return -1;
    }
    return ir_const_is_scalar(ir_in(n, 1)) ? 0 : ir_const_is_scalar(ir_in(n, 0)) ? 1 : -1;
}

// A constant, or what was one before it became a parameter of the graph, or computed from such.
static bool is_weight(const PassFlow *f, const IrValue *v) {
    return v && !f->varies[v->id];
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

// No gradient comes through.
static bool is_step(const IrNode *n) {
    return n->op == IR_OP_ROUND || n->op == IR_OP_FLOOR || n->op == IR_OP_CEIL ||
           n->op == IR_OP_SIGN;
}

IrValue *pass_head_look_through(const PassFlow *f, IrNode *n, PassHead *h) {
    unsigned flags = ir_op_info(n->op)->flags;
    if (pass_head_is_quantizer(n)) {
        return ir_in(n, 0);
    }
    if (n->n_in == 1 && (flags & IR_FLAG_E)) {
        return is_step(n) ? NULL : ir_in(n, 0);
    }
    if (n->n_in == 2 && (n->op == IR_OP_ADD || n->op == IR_OP_MUL)) {
        int k = is_weight(f, ir_in(n, 1)) ? 1 : is_weight(f, ir_in(n, 0)) ? 0 : -1;
        if (k >= 0 && n->op == IR_OP_ADD && !ir_const_is_scalar(ir_in(n, k))) {
            h->bias_node = n;
            h->bias_at = k;
        }
        return k >= 0 ? ir_in(n, 1 - k) : NULL;
    }
    switch (n->op) {
    case IR_OP_SOFTMAX:
    case IR_OP_LOG_SOFTMAX:
    case IR_OP_COPY:
    case IR_OP_RESHAPE:
    case IR_OP_TRANSPOSE:
    case IR_OP_DROPOUT:
    case IR_OP_MAX_POOL:
    case IR_OP_AVG_POOL:
    case IR_OP_ARG_MAX:
        return ir_in(n, 0);
    default:
        return pass_is_reduce(n) ? ir_in(n, 0) : NULL;
    }
}

static bool is_classifier(const PassFlow *f, const IrNode *n) {
    bool product = n->op == IR_OP_CONV ? ir_int(n, IR_ATTR_GROUP, 1) == 1
                                       : n->op == IR_OP_MATMUL && ir_in(n, 1)->type.shape.rank == 2;
    return product && is_weight(f, ir_in(n, 1));
}

// ---------------------------------------------------------------- what ends the network

bool pass_head_only_moves(const IrNode *n) {
    return n->op == IR_OP_COPY || n->op == IR_OP_RESHAPE || n->op == IR_OP_DROPOUT ||
           n->op == IR_OP_TRANSPOSE;
}

bool pass_head_hands_on(const IrNode *n) {
    return pass_head_only_moves(n) || pass_head_is_quantizer(n) || n->op == IR_OP_CAST ||
           n->op == IR_OP_CLIP || n->op == IR_OP_ARG_MAX;
}

int pass_head_class_axis(const IrShape *s, int64_t classes, bool from_last) {
    for (int i = 0; i < s->rank; i++) {
        int axis = from_last ? s->rank - 1 - i : i;
        if (ir_dim_is(s->dim[axis], classes)) {
            return axis;
        }
    }
    return -1;
}

int64_t pass_head_classes(const IrNode *n) {
    const IrShape *s = &n->out[0]->type.shape;
    return s->dim[n->op == IR_OP_CONV ? 1 : s->rank - 1].c;
}

static void find_end(IrGraph *g, PassHead *h) {
    h->end_axis =
        pass_head_class_axis(&g->outputs[0]->type.shape, pass_head_classes(h->node), true);
    for (IrNode *n = g->outputs[0]->def; n && n != h->node; n = ir_in(n, 0)->def) {
        if (is_softmax(n)) {
            h->end = n;
            h->end_axis =
                pass_head_class_axis(&ir_in(n, 0)->type.shape, pass_head_classes(h->node), true);
        }
        h->names_class = h->names_class || n->op == IR_OP_ARG_MAX;
        if (!pass_head_hands_on(n)) {
            return;
        }
    }
}

// NULL: not found, *last is where the search ended.
static IrNode *search_up(const PassFlow *f, IrValue *v, PassHead *h, const IrNode **last) {
    while (v && v->def) {
        *last = v->def;
        if (is_classifier(f, v->def)) {
            return v->def;
        }
        v = pass_head_look_through(f, v->def, h);
    }
    return NULL;
}

const IrNode *pass_head_above(IrGraph *g, int output) {
    PassHead h;
    const IrNode *last = NULL;
    PassFlow f = pass_flow(g->prog->arena, g);
    return search_up(&f, g->outputs[output], &h, &last);
}

// ---------------------------------------------------------------- what is said where there is none

int64_t pass_head_per_image(const IrShape *s) {
    IrDim n = ir_dim(1);
    if (s->rank < 1 || !ir_dim_eq(s->dim[0], (IrDim){0, 1})) {
        return 0;
    }
    for (int i = 1; i < s->rank; i++) {
        if (s->dim[i].n || !ir_dim_mul(n, s->dim[i], &n)) {
            return 0;
        }
    }
    return n.c;
}

// A number per class and pixel, token or box: each would need a label of its own.
static bool has_rows(const IrShape *s) {
    int wide = 0;
    for (int i = 1; i < s->rank; i++) {
        wide += !ir_dim_is(s->dim[i], 1);
    }
    return wide > 1;
}

bool pass_head_report_rows(const IrGraph *g, const IrNode *at, const char *but) {
    const IrValue *v = g->outputs[0];
    char text[160];
    ir_error(g->prog->diag, at ? (IrWhere){at->name, at->src_op} : IR_NOWHERE,
             "%sthe output '%s' is %s: several rows of numbers for each image, and one is trained "
             "against the image's label; end the network in a mean over the rows "
             "(GlobalAveragePool, ReduceMean)",
             but, v->name, ir_type_print(&v->type, text, sizeof text));
    return false;
}

// Why nothing above n is a classifier's, and n is none.
static const char *why_ends(const PassFlow *f, const IrNode *n) {
    int computed = 0;
    for (int i = 0; i < n->n_in; i++) {
        computed += ir_in(n, i) && !is_weight(f, ir_in(n, i));
    }
    if (n->op == IR_OP_MATMUL && computed == 1) {
        return is_weight(f, ir_in(n, 0)) ? "NYI: a product whose weight stands on the left"
                                         : "NYI: a product whose weight is no matrix";
    }
    if (n->op == IR_OP_CONV && computed == 1) {
        return "NYI: a convolution in groups";
    }
    return computed > 1 ? "it joins values that are all computed"
           : is_step(n) ? "no gradient comes through it"
                        : "NYI: this operator between a classifier and the output";
}

static bool report_none(IrGraph *g, const PassFlow *f, const IrNode *last) {
    if (g->n_outputs && has_rows(&g->outputs[0]->type.shape)) {
        return pass_head_report_rows(g, last, "no classifier found: ");
    }
    ir_error(g->prog->diag, last ? (IrWhere){last->name, last->src_op} : IR_NOWHERE,
             "no classifier can be replaced: the way up from the output ends here: %s",
             last ? why_ends(f, last) : "nothing makes it");
    return false;
}

static bool report_other(IrGraph *g, const char *name, const IrNode *head) {
    bool exists = false;
    for (const IrNode *n = g->first; n; n = n->next) {
        exists = exists || strcmp(n->name, name) == 0;
    }
    ir_error(g->prog->diag, IR_NOWHERE,
             exists ? "--head '%s' is not the classifier: that is '%s', the only node which can be "
                      "replaced"
                    : "--head: no node is called '%s'; the classifier is '%s'",
             name, head->name);
    return false;
}

bool pass_find_head(IrGraph *g, const char *name, PassHead *out) {
    const IrNode *last = NULL;
    *out = (PassHead){0};
    PassFlow f = pass_flow(g->prog->arena, g);
    IrNode *n = search_up(&f, g->n_outputs ? g->outputs[0] : NULL, out, &last);
    if (!n) {
        return report_none(g, &f, last);
    }
    if (name && strcmp(n->name, name) != 0) {
        return report_other(g, name, n);
    }
    out->node = n;
    out->weight = ir_in(n, 1);
    if (ir_in(n, 2)) {
        out->bias_node = n;
        out->bias_at = 2;
    }
    out->bias = out->bias_node ? ir_in(out->bias_node, out->bias_at) : NULL;
    find_end(g, out);
    out->weight_root = root_of(out->weight);
    IrNode *scale = out->bias ? out->bias->def : NULL;
    int scaled = scale && !pass_head_is_quantizer(scale) ? pass_head_scaled(scale) : -1;
    if (scaled >= 0) {
        out->bias_node = out->bias->def;
        out->bias_at = scaled;
        out->bias = ir_in(out->bias_node, scaled);
    }
    out->bias_root = out->bias ? root_of(out->bias) : NULL;
    return true;
}
