// The layout pass while it walks. Private to layout*.c.
#ifndef PASSES_SCHEDULE_LAYOUT_H
#define PASSES_SCHEDULE_LAYOUT_H

#include "passes/util.h"

typedef struct PassLayout {
    PassContext *ctx;
    IrGraph *graph;
    int block;
    int changes;
    IrValue **twin; // by value id: the same tensor in another layout, or NULL
    size_t n_twins;
} PassLayout;

// A builder that puts nodes right before `user`, under the name of what makes v.
IrBuilder pass_layout_before(PassLayout *l, const IrNode *user, const IrValue *v);
IrValue *pass_layout_check(IrValue *v, const IrBuilder *b); // v; NULL is our bug
// v in the given layout: itself, or its twin, built before `user` (at the end when NULL) on first
// need.
IrValue *pass_layout_get(PassLayout *l, IrValue *v, int block, IrNode *user);
void pass_layout_require(PassLayout *l, IrNode *n, int i, int block); // operand i, in that layout

bool pass_layout_is_blocked(const IrValue *v);
bool pass_layout_is_scalar(const IrType *t); // one element
// Of a type that has kernels on blocks. These are laid out per image: only the first dimension may
// depend on N.
bool pass_layout_can_block(const IrType *t);
bool pass_layout_fits_from(const IrNode *n, int first); // so may operands `first` and on
// Operand i as rank 4: `lead` ones before its shape, the rest behind.
void pass_layout_unsqueeze(PassLayout *l, IrNode *n, int i, int lead);
// Makes operand i of a blocked node one of the forms that the head of layout.c lists; pixels: one
// per pixel is among them.
void pass_layout_fit(PassLayout *l, IrNode *n, int i, const IrShape *full, bool pixels);

#endif
