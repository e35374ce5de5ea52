// The classifier: what finding (head_find.c, head_class.c, head_odds.c), telling why there is none
// (head_report.c) and replacing it (head.c) share. Private to passes/train/.
#ifndef PASSES_TRAIN_HEAD_H
#define PASSES_TRAIN_HEAD_H

#include "passes/train/flow.h"

// A constant, or what was one before it became a parameter of the graph, or computed from such.
static inline bool pass_head_is_weight(const PassFlow *f, const IrValue *v) {
    return v && !f->varies[v->id];
}

// No gradient comes through.
static inline bool pass_head_is_step(const IrNode *n) {
    return n->op == IR_OP_ROUND || n->op == IR_OP_FLOOR || n->op == IR_OP_CEIL ||
           n->op == IR_OP_SIGN;
}

// ---- head_class.c: classes among dimensions
int64_t pass_head_classes(const IrNode *n); // that a classifier makes numbers of
int pass_head_node_axis(const IrNode *n);   // theirs, in its result
int pass_head_weight_at(const IrNode *n);   // its operand that is the weight, a matrix or filters
int pass_head_weight_axis(const IrNode *n); // of the classes in it
// The axis that has one element per class; -1: none.
int pass_head_class_axis(const IrShape *s, int64_t classes, bool from_last);
// The axis of n's result that `axis` of operand `at` becomes; -1: none, or it cannot be told.
int pass_head_axis_below(const IrNode *n, int at, int axis);
// The axis of what n reads that becomes `axis` of its result, n a move of a constant; -1: none.
int pass_head_axis_above(const IrNode *n, int axis);
// Numbers that an output has for each image; 0: not so many for each.
int64_t pass_head_per_image(const IrShape *s);

// ---- head_find.c
bool pass_head_only_moves(const IrNode *n);
bool pass_head_picks(const IrNode *n); // rows or columns of its first operand
// n hands on logits or probabilities as they are, or the class that they name.
bool pass_head_hands_on(const IrNode *n);
// n rounds to a quantized range: below the classifier that is the range of the old one's logits.
bool pass_head_is_quantizer(const IrNode *n);
// The operand of n that is no single number, where n multiplies by one (Gemm's beta); else -1.
int pass_head_scaled(const IrNode *n);
bool pass_head_is_node(const PassHead *h, const IrNode *n); // one of the classifiers
// ---- head.c
// The output is a map of one channel: whether each place is of the second of two classes.
bool pass_head_is_one_map(const IrGraph *g, const PassHead *h);
// The output, [N,places,1], becomes two classes: of z, whose sigmoid is the second's probability, 0
// and z, whose softmax is both.
void pass_head_pair(IrGraph *g);
// ---- head_odds.c
// The loss can make the output's numbers again from what it reads; false: after an error. each: it
// reads every class by itself.
bool pass_head_check_odds(IrGraph *g, const PassHead *h, bool each);
// ---- head_report.c; all false, after an error
// The output has several rows for each image; after `but`.
bool pass_head_report_rows(const IrGraph *g, const IrNode *at, const char *but);
// No classifier: the way up ends at `last`, which may join ways that depend on one another.
bool pass_head_report_none(IrGraph *g, const PassFlow *f, const IrNode *last);
bool pass_head_report_other(IrGraph *g, const char *name, const PassHead *h);
// Several that do not give as many numbers.
bool pass_head_report_unequal(IrGraph *g, const IrNode *a, const IrNode *b);

#endif
