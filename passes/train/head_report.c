// Why no classifier of an output can be replaced.
#include "passes/train/head.h"
#include "passes/util.h"

#include <string.h>

enum { MOST_NAMED = 8 };

// A number per class and pixel, token or box: each would need a label of its own.
static bool has_rows(const IrShape *s) {
    int wide = 0;
    for (int i = 1; i < s->rank; i++) {
        wide += !ir_dim_is(s->dim[i], 1);
    }
    return wide > 1;
}

// [N,1,H,W] or [N,H,W,1]: whether each place is of the one class, as a binary segmentation ends.
static bool is_one_channel(const IrShape *s) {
    bool one = s->rank == 4 && ir_dim_is(s->dim[1], 1) != ir_dim_is(s->dim[3], 1);
    return one && has_rows(s);
}

bool pass_head_report_rows(const IrGraph *g, const IrNode *at, const char *but) {
    const IrValue *v = g->outputs[0];
    char text[160];
    ir_error(
        g->prog->diag, at ? (IrWhere){at->name, at->src_op} : IR_NOWHERE,
        "%sthe output '%s' is %s: %s", but, v->name, ir_type_print(&v->type, text, sizeof text),
        is_one_channel(&v->type.shape)
            ? "NYI: a map of one channel that ends otherwise than in a convolution or Sigmoid"
            : "several rows of numbers for each image, and one is trained against the image's "
              "label; end the network in a mean over the rows (GlobalAveragePool, ReduceMean)");
    return false;
}

// Why nothing above n is a classifier's, and n is none.
static const char *why_ends(const PassFlow *f, const IrNode *n) {
    int computed = 0;
    for (int i = 0; i < n->n_in; i++) {
        computed += ir_in(n, i) && !pass_head_is_weight(f, ir_in(n, i));
    }
    if (n->op == IR_OP_MATMUL && computed == 1) {
        return pass_head_is_weight(f, ir_in(n, 0))
                   ? "NYI: a product whose weight stands on the left"
                   : "NYI: a product whose weight is no matrix";
    }
    if (n->op == IR_OP_CONV && computed == 1) {
        return "NYI: a convolution in groups";
    }
    return computed > 1           ? "it joins values that are all computed"
           : pass_head_is_step(n) ? "no gradient comes through it"
                                  : "NYI: this operator between a classifier and the output";
}

bool pass_head_report_none(IrGraph *g, const PassFlow *f, const IrNode *last) {
    if (g->n_outputs && has_rows(&g->outputs[0]->type.shape)) {
        return pass_head_report_rows(g, last, "no classifier found: ");
    }
    ir_error(g->prog->diag, last ? (IrWhere){last->name, last->src_op} : IR_NOWHERE,
             "no classifier can be replaced: the way up from the output ends here: %s",
             last ? why_ends(f, last) : "nothing makes it");
    return false;
}

bool pass_head_report_other(IrGraph *g, const char *name, const PassHead *h) {
    bool exists = false;
    const char *list = "";
    for (const IrNode *n = g->first; n; n = n->next) {
        exists = exists || strcmp(n->name, name) == 0;
    }
    for (int i = 0; i < h->n_nodes && i < MOST_NAMED; i++) {
        list =
            ir_sprintf(g->prog->arena, "%s%s'%s'", list, *list ? " and " : "", h->nodes[i]->name);
    }
    ir_error(g->prog->diag, IR_NOWHERE,
             exists ? "--head '%s' is not the classifier: that is %s, the only node%s which can be "
                      "replaced"
                    : "--head: no node is called '%s'; the classifier is %s",
             name, list, h->n_nodes > 1 ? "s" : "");
    return false;
}

bool pass_head_report_unequal(IrGraph *g, const IrNode *a, const IrNode *b) {
    ir_error(
        g->prog->diag, (IrWhere){b->name, b->src_op},
        "no classifier can be replaced: the output is made of %lld numbers of '%s' and %lld of "
        "this node, and one number per class is trained",
        (long long)pass_head_classes(a), a->name, (long long)pass_head_classes(b));
    return false;
}
