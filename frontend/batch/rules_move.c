// Rules of the ops that move elements: transpose, reshape, and those that join or pick along an
// axis.
#include "frontend/batch/batch.h"

void fe_batch_transposed(FeBatch *o, const IrNode *n, FeLane *in) {
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    int axis = in[0].axis;
    for (int i = 0; i < perm.n && axis != FE_OWN_AXIS; i++) {
        if (perm.v[i] == in[0].axis) {
            axis = i;
        }
    }
    fe_batch_emit(o, n, in, axis, in[0].inner);
}

// ---------------------------------------------------------------- reshape

// Elements stay in their order, so what tells where N goes is how many lie behind it for one image,
// `stride`. In dimension j of the result, with `behind` elements behind that dimension, N fits
// where stride is a multiple of them and the dimension reaches beyond it. With B = 1 it may fit in
// several; each is right, and the one that models mean costs no transposes later:
//
//   [N,49,64] -> [1,7,7,64]  a dimension of B alone
//   [N,4,8,64] -> [4,8,64]   the outermost part of a dimension: windows, heads
//   [49,N,64] -> [49,64]     the innermost part, rather than in the last dimension: features
enum { BEST_FIT = 4 };

static int rate_fit(const FeBatch *o, const IrShape *to, int j, int64_t stride, int64_t behind) {
    int64_t d = to->dim[j].c, reach = stride * o->size;
    if (d == 0 || stride % behind || d * behind % reach) {
        return 0;
    }
    bool outermost = d * behind == reach, last = j == to->rank - 1;
    return outermost && stride == behind ? BEST_FIT : outermost && !last ? 3 : !last ? 2 : 1;
}

void fe_batch_reshaped(FeBatch *o, const IrNode *n, FeLane *in) {
    const IrShape *to = &n->out[0]->type.shape, *was = &in[0].was;
    int at = in[0].axis;
    int64_t stride = at == FE_OWN_AXIS ? fe_batch_count(was, 0, was->rank)
                                       : in[0].inner * fe_batch_count(was, at + 1, was->rank);
    int best = FE_OWN_AXIS, rating = 0;
    int64_t inner = 0;
    for (int j = 0; j < to->rank && stride > 0; j++) {
        int64_t behind = fe_batch_count(to, j + 1, to->rank);
        int r = behind ? rate_fit(o, to, j, stride, behind) : 0;
        if (r > rating || (r && r == rating && j == at)) {
            best = j;
            rating = r;
            inner = stride / behind;
        }
    }
    if (!rating) { // no dimension holds whole images
        fe_batch_lead(o, &in[0]);
    }
    fe_batch_emit(o, n, in, best, inner);
}

// ---------------------------------------------------------------- joined along an axis

// concat; gather_elements and scatter_elements: the operands have one rank and work along `axis`.
void fe_batch_joint(FeBatch *o, const IrNode *n, FeLane *in) {
    int rank = in[0].was.rank, axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    FeSpot s;
    bool stays = fe_batch_spot(n->n_in, in, rank, &s) && s.axis != axis;
    for (int i = 0; i < n->n_in && stays; i++) {
        stays = in[i].was.dim[s.axis].c == s.size;
    }
    for (int i = 0; i < n->n_in; i++) {
        if (!stays) {
            fe_batch_lead(o, &in[i]);
        } else if (!in[i].each) {
            fe_batch_spread(o, &in[i], s.axis, s.inner, false);
        }
    }
    fe_batch_emit(o, n, in, stays ? s.axis : FE_OWN_AXIS, stays ? s.inner : 0);
}
