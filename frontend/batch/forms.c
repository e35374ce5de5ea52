// The forms in which a value can hold its images, and the ways between them.
//
//   [.., outer * N * inner, ..]  --lead-->   [N, was...]        reshape, transpose, reshape
//   [N, was...]                  --front-->  [N * was[0], ...]  reshape
//   [.., outer * inner, ..]      --spread--> [.., outer * N * inner, ..], the same for each image
#include "frontend/batch/batch.h"

// ---------------------------------------------------------------- an axis of its own

static bool has_room(FeBatch *o, int rank) {
    if (rank > IR_MAX_RANK) {
        fe_batch_fail(o, "a tensor of rank %d with the batch as an axis of its own has too many",
                      rank - 1);
    }
    return !o->why;
}

void fe_batch_lead(FeBatch *o, FeLane *x) {
    if (o->why || (x->each && x->axis == FE_OWN_AXIS) || !has_room(o, x->was.rank + 1)) {
        return;
    }
    IrShape own = fe_batch_own_shape(&x->was);
    if (o->size != 1) {
        fe_batch_fail(o, "it takes the %lld images apart", (long long)o->size);
    } else if (!x->each) {
        x->v = fe_batch_expand(o, x->v, &own);
    } else {
        int64_t m = x->was.dim[x->axis].c;
        int64_t before = fe_batch_count(&x->was, 0, x->axis) * (m / x->inner);
        int64_t behind = x->inner * fe_batch_count(&x->was, x->axis + 1, x->was.rank);
        if (before != 1) {
            IrShape split = {3, {ir_dim(before), {0, 1}, ir_dim(behind)}};
            x->v = fe_batch_reshape(o, x->v, &split);
            x->v = fe_batch_transpose(o, x->v, 3, (int64_t[]){1, 0, 2});
        }
        x->v = fe_batch_reshape(o, x->v, &own);
    }
    x->each = true;
    x->axis = FE_OWN_AXIS;
}

void fe_batch_lead_to(FeBatch *o, FeLane *x, int rank) {
    if (!x->each || !has_room(o, rank + 1)) {
        return;
    }
    fe_batch_lead(o, x);
    IrShape wide = {.rank = rank};
    for (int i = 0; i < rank; i++) {
        int k = i - (rank - x->was.rank);
        wide.dim[i] = k < 0 ? ir_dim(1) : x->was.dim[k];
    }
    wide = fe_batch_own_shape(&wide);
    x->v = fe_batch_reshape(o, x->v, &wide);
}

void fe_batch_front(FeBatch *o, FeLane *x) {
    if (o->why || x->axis == 0) {
        return;
    }
    fe_batch_lead(o, x);
    if (x->was.rank == 0) {
        fe_batch_fail(o, "a number for each image has no axis");
    }
    if (o->why) {
        return;
    }
    IrShape s = fe_batch_shape(o, &x->was, 0);
    x->v = fe_batch_reshape(o, x->v, &s);
    x->axis = 0;
    x->inner = x->was.dim[0].c;
}

// ---------------------------------------------------------------- the same for each image

void fe_batch_spread(FeBatch *o, FeLane *x, int axis, int64_t inner, bool broadcasts) {
    int64_t m = x->was.dim[axis].c / o->size;
    if (fe_batch_is_empty(&x->was)) {
        fe_batch_fail(o, "an operand is empty");
    }
    if (o->why) {
        return;
    }
    x->v = fe_batch_one(o, x->v, axis, inner);
    if (o->why || (broadcasts && m == 1)) {
        return;
    }
    IrShape open = fe_batch_shape(o, &x->was, axis);
    if (m > 1) {
        int64_t behind = inner * fe_batch_count(&x->was, axis + 1, x->was.rank);
        int64_t before = fe_batch_count(&x->was, 0, axis) * (m / inner);
        IrShape one = {3, {ir_dim(before), ir_dim(1), ir_dim(behind)}}, wide = one;
        wide.dim[1] = (IrDim){0, 1};
        x->v = fe_batch_expand(o, fe_batch_reshape(o, x->v, &one), &wide);
        x->v = fe_batch_reshape(o, x->v, &open);
    } else {
        x->v = fe_batch_expand(o, x->v, &open);
    }
    x->each = true;
    x->axis = axis;
    x->inner = inner;
}
