// The classifier: what finding (head_find.c) and replacing it (head.c) share. Private to
// passes/train/.
#ifndef PASSES_TRAIN_HEAD_H
#define PASSES_TRAIN_HEAD_H

#include "passes/train/flow.h"

// The operand that n passes on, class by class; NULL: it does more than that. A bias that n adds is
// noted in h.
IrValue *pass_head_look_through(const PassFlow *f, IrNode *n, PassHead *h);
bool pass_head_only_moves(const IrNode *n);
// n hands on logits or probabilities as they are, or the class that they name.
bool pass_head_hands_on(const IrNode *n);
// n rounds to a quantized range: below the classifier that is the range of the old one's logits.
bool pass_head_is_quantizer(const IrNode *n);
// The operand of n that is no single number, where n multiplies by one (Gemm's beta); else -1.
int pass_head_scaled(const IrNode *n);

int64_t pass_head_classes(const IrNode *n); // that a classifier makes numbers of
// The axis that has one element per class; -1: none.
int pass_head_class_axis(const IrShape *s, int64_t classes, bool from_last);
// Numbers that an output has for each image; 0: not so many for each.
int64_t pass_head_per_image(const IrShape *s);
// Says that the output has several rows for each image, after `but`. False.
bool pass_head_report_rows(const IrGraph *g, const IrNode *at, const char *but);

#endif
