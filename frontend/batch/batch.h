// Private to frontend/batch/: a graph for a batch of fixed size B becomes one for any N.
//
// What is made is, for each image, the graph at B = 1 (or one of its B equal parts): nothing is
// guessed from literals that happen to equal B. A value of the closed graph (at B) is either one
// for all images, and stays as it is, or has a part for each, and is known in the open graph (any
// N) by where N stands. Every op has a rule that moves it on, or opening fails, with the reason.
#ifndef FRONTEND_BATCH_BATCH_H
#define FRONTEND_BATCH_BATCH_H

#include "frontend/batch/open.h"

enum { FE_OWN_AXIS = -1 };

// What stands in the open graph for a value of the closed one, whose shape was `was`.
typedef struct FeLane {
    IrValue *v; // of the open graph; NULL: an operand that is absent
    IrShape was;
    bool each; // it has a part for each image
    // [..., outer * N * inner, ...]: N stands between `outer` and `inner` in this axis, which was
    // outer * B * inner. FE_OWN_AXIS: [N, was...], where B is 1.
    int axis;
    int64_t inner;
} FeLane;

typedef struct FeBatch {
    IrGraph *to;
    int64_t size; // B
    FeLane *lane; // by id of a value of the closed graph
    IrBuilder b;
    int64_t steps;   // of fe_batch_one() so far: values may share what they are made of
    const char *why; // the first thing that failed; then building does nothing
} FeBatch;

// ---------------------------------------------------------------- images one by one (merge.c)

// What g, with `size` images, does to each image of a tensor by itself is done to all at once.
void fe_batch_merge(IrGraph *g, int64_t size);

// ---------------------------------------------------------------- building (make.c)

void fe_batch_fail(FeBatch *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
IrValue *fe_batch_build(FeBatch *o, IrOp op, int n_in, IrValue *const *in, int n_attrs,
                        const IrAttr *attrs);
IrValue *fe_batch_reshape(FeBatch *o, IrValue *v, const IrShape *s); // v itself where it has it
IrValue *fe_batch_transpose(FeBatch *o, IrValue *v, int rank, const int64_t *perm);
IrValue *fe_batch_expand(FeBatch *o, IrValue *v, const IrShape *s);

bool fe_batch_is_empty(const IrShape *s);
// The product of dims [from, to) of a static shape that is not empty.
int64_t fe_batch_count(const IrShape *s, int from, int to);
// The shape [N, s...].
IrShape fe_batch_own_shape(const IrShape *s);
// s with N for B in its axis.
IrShape fe_batch_shape(const FeBatch *o, const IrShape *s, int axis);

// ---------------------------------------------------------------- forms (forms.c, one.c)

// x gets an axis of its own for N; what is one for all is repeated.
void fe_batch_lead(FeBatch *o, FeLane *x);
// The same in rank `rank` + 1: [N, 1..., was...]. What is one for all stays, and broadcasts.
void fe_batch_lead_to(FeBatch *o, FeLane *x, int rank);
// N goes to axis 0 of what has a part for each image.
void fe_batch_front(FeBatch *o, FeLane *x);
// What is one for all, and has the B images in `axis` as [outer, B, inner], gets N there; with
// `broadcasts` only where it is needed.
void fe_batch_spread(FeBatch *o, FeLane *x, int axis, int64_t inner, bool broadcasts);

// v of the open graph, which is one for all and lies in `axis` B times, [outer, B, inner], once.
// Fails where it cannot be told that all B are equal.
IrValue *fe_batch_one(FeBatch *o, IrValue *v, int axis, int64_t inner); // one.c

// ---------------------------------------------------------------- rules

// Builds the open form of n: its results hold N in `axis`, as out[] of the closed graph holds B;
// FE_OWN_AXIS: the operands have axes of their own, and so do the results until they are merged.
void fe_batch_emit(FeBatch *o, const IrNode *n, const FeLane *in, int axis, int64_t inner);
// Gives result i of n its lane.
void fe_batch_set(FeBatch *o, const IrNode *n, int i, FeLane lane);

// n has an operand with a part for each image; in[] are its operands, to be changed at will.
typedef void FeBatchRule(FeBatch *o, const IrNode *n, FeLane *in);
FeBatchRule fe_batch_elementwise, fe_batch_along, fe_batch_images, fe_batch_matmul; // rules.c
FeBatchRule fe_batch_transposed, fe_batch_reshaped, fe_batch_joint;                 // rules_move.c
FeBatchRule fe_batch_gather, fe_batch_gather_nd, fe_batch_scatter_nd;               // rules_index.c

// Where N stands in all of in[] that have a part for each image, their axes counted as in rank
// `rank`.
typedef struct FeSpot {
    int axis;
    int64_t inner, size; // size: of the axis, at B
} FeSpot;
bool fe_batch_spot(int n, const FeLane *in, int rank, FeSpot *out); // false: they differ

#endif
