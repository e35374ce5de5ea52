// Rules of the ops that address elements by tensors of indices.
#include "frontend/batch/batch.h"

// x[N, ...] with axis `from` moved to `to`.
static IrValue *move_axis(FeBatch *o, IrValue *v, int from, int to) {
    int64_t perm[IR_MAX_RANK];
    int rank = o->why ? 0 : v->type.shape.rank;
    for (int i = 0, k = 0; i < rank; i++) {
        k += k == from; // those that stay, in order
        perm[i] = i == to ? from : k++;
    }
    return from == to || o->why ? v : fe_batch_transpose(o, v, rank, perm);
}

// Both differ between images: the axis that is picked from goes behind the batch, and gather_nd
// picks from it with one index per place.
static void gather_each(FeBatch *o, const IrNode *n, FeLane *x, FeLane *index) {
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0), places = index->was.rank;
    fe_batch_lead(o, x);
    fe_batch_lead(o, index);
    if (o->why) {
        return;
    }
    IrShape tuples = index->v->type.shape;
    if (tuples.rank == IR_MAX_RANK) {
        fe_batch_fail(o, "its indices have too many dimensions");
        return;
    }
    tuples.dim[tuples.rank++] = ir_dim(1);
    IrValue *in[2] = {move_axis(o, x->v, axis + 1, 1), fe_batch_reshape(o, index->v, &tuples)};
    IrAttr batch_dims = ir_attr_i(IR_ATTR_AXIS, 1);
    IrValue *y = fe_batch_build(o, IR_OP_GATHER_ND, 2, in, 1, &batch_dims);
    for (int i = 0; i < axis; i++) { // what lay before the axis, one by one
        y = move_axis(o, y, 1 + places + i, 1 + i);
    }
    fe_batch_set(o, n, 0, (FeLane){y, {0}, true, FE_OWN_AXIS, 0});
}

// x with a part for each image by indices that are the same for all, or the other way round.
void fe_batch_gather(FeBatch *o, const IrNode *n, FeLane *in) {
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0), places = in[1].was.rank;
    if (in[0].each && in[1].each) {
        gather_each(o, n, &in[0], &in[1]);
    } else if (in[1].each && in[1].axis != FE_OWN_AXIS) {
        fe_batch_emit(o, n, in, axis + in[1].axis, in[1].inner);
    } else if (in[1].each) { // one index for each image
        gather_each(o, n, &in[0], &in[1]);
    } else if (in[0].axis != FE_OWN_AXIS && in[0].axis != axis) {
        fe_batch_emit(o, n, in, in[0].axis < axis ? in[0].axis : in[0].axis + places - 1,
                      in[0].inner);
    } else {
        fe_batch_lead(o, &in[0]);
        fe_batch_emit(o, n, in, FE_OWN_AXIS, 0);
    }
}

// `axis`, the number of dimensions that both share, grows by that of the batch.
void fe_batch_gather_nd(FeBatch *o, const IrNode *n, FeLane *in) {
    fe_batch_lead(o, &in[0]);
    fe_batch_lead(o, &in[1]);
    fe_batch_emit(o, n, in, FE_OWN_AXIS, 0);
}

// The indices name the first axes of x, so that N goes behind all: [was..., N].
void fe_batch_scatter_nd(FeBatch *o, const IrNode *n, FeLane *in) {
    if (in[1].each) {
        fe_batch_fail(o, "NYI: its indices differ between images");
    }
    for (int i = 0; i < 3 && !o->why; i += 2) {
        fe_batch_lead(o, &in[i]);
        in[i].v = move_axis(o, in[i].v, 0, in[i].was.rank);
    }
    IrValue *v[3] = {in[0].v, in[1].v, in[2].v};
    IrValue *y = fe_batch_build(o, n->op, 3, v, n->n_attrs, n->attrs);
    y = move_axis(o, y, in[0].was.rank, 0);
    fe_batch_set(o, n, 0, (FeLane){y, {0}, true, FE_OWN_AXIS, 0});
}
