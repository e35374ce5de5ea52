// What several passes need and ir/ does not offer. Private to passes/.
//
// Everything here keeps the rules of the IR: new nodes go right before the node that is being
// rewritten, derived constants are new ones, and a trainable constant is never read as a value.
#ifndef PASSES_UTIL_H
#define PASSES_UTIL_H

#include "passes/passes.h"

// A builder that puts nodes right before n, under its name.
IrBuilder pass_before(IrNode *n);
// An arena that lives until pass_end_arena(); where ir_fatal() unwinds past that, as long as
// `within`.
IrArena **pass_begin_arena(IrArena *within, IrDiag *diag);
void pass_end_arena(IrArena **arena);

// The node with n's op and attributes on other operands; NULL when they do not fit.
IrValue *pass_rebuild(IrBuilder *b, const IrNode *n, int n_in, IrValue *const *in);

// The node that makes v when it is an `op`, else NULL. v may be NULL.
IrNode *pass_def(const IrValue *v, IrOp op);
// n maps float32 tensors to a float32 tensor element by element, or casts between that and integers
// that products have: a step of a body could do it.
bool pass_is_eltwise(const IrNode *n);
bool pass_is_reduce(const IrNode *n);
bool pass_makes_scores(IrOp op); // probabilities, or their logarithms
// n hands on elements of operand 0 (of all operands) as they are, picks the larger of them, or puts
// a constant beside them: it does the same to numbers of another type that they stand for.
bool pass_moves(const IrNode *n);
int pass_n_moved(const IrNode *n); // operands that hold such elements: the first ones
// n's numbers are those of its first operand, some of them, rounded, in another order or type.
bool pass_hands_on(const IrNode *n);
// The sum, where n divides numbers by theirs and none is negative; NULL: it does not.
const IrNode *pass_share_of_sum(IrProgram *p, const IrNode *n);
// The operand of n that carries its numbers, where the others are constants; NULL: none does.
IrValue *pass_carried(const IrNode *n);

// No element of v is negative, as far as a few nodes above it tell; NaN may be there.
bool pass_is_nonnegative(const IrValue *v);

// `now` takes the place of n's only result, whose type it must have, and n goes. An output of the
// graph keeps its name, as ir_replace_uses() says.
void pass_forward(IrNode *n, IrValue *now);

// ---- constants
bool pass_is_frozen(const IrValue *v); // a constant that training leaves alone. v may be NULL
double pass_elem(PassContext *ctx, const IrValue *v, int64_t i); // element i of a constant
// A frozen constant of one element: *x is its value.
bool pass_scalar(PassContext *ctx, const IrValue *v, double *x);
// A frozen constant whose elements all equal x.
bool pass_const_all(PassContext *ctx, const IrValue *v, double x);
// v is a frozen constant that, against a result of shape `of`, varies along `axis` alone. Read
// it with pass_channel(): the element for index c of that axis.
bool pass_is_per_axis(const IrValue *v, const IrShape *of, int axis);
double pass_channel(PassContext *ctx, const IrValue *v, int64_t c);
int64_t pass_elems(const IrType *t); // of a static shape; -1 else
// A derived float32 constant. *data is zeroed memory for the caller to fill at once.
IrValue *pass_const_f32(PassContext *ctx, IrGraph *g, const char *name, int rank,
                        const int64_t *dims, float **data);
// The same bytes under another static shape of as many elements. v is frozen.
IrValue *pass_const_reshaped(PassContext *ctx, IrGraph *g, const IrValue *v, const IrShape *shape);

// ---- order. Positions of the nodes as they stood when it was made; indexed by value id.
// Shared with passes that tidy up after themselves.
PassResult pass_dce(PassContext *ctx, IrGraph *g);

typedef struct PassOrder {
    int *at;
    uint32_t n;
} PassOrder;
PassOrder pass_order(PassContext *ctx, IrGraph *g);
int pass_at(const PassOrder *o, const IrNode *n);
void pass_set_at(PassOrder *o, const IrNode *n, int at);

#endif
