// Operators that move data: Concat, Transpose, DepthToSpace, SpaceToDepth, Expand, Tile. Slice,
// Split and Gather are in slice.c, Pad in pad.c.
#include "frontend/import.h"

#include <math.h>
#include <string.h>

// Concat-13
void fe_import_concat(FeNode *n) {
    IrValue **in = ir_alloc_array(n->fe->arena, (size_t)n->n_in + 1, sizeof *in);
    for (int i = 0; i < n->n_in; i++) {
        in[i] = fe_operand(n, i);
    }
    if (n->n_in == 0) {
        fe_refuse(n, "it has no inputs");
    }
    if (n->refused) {
        return;
    }
    int axis = fe_axis(n, fe_attr_int(n, "axis", 1), in[0]->type.shape.rank);
    fe_out(n, 0, fe_build(n, IR_OP_CONCAT, n->n_in, in, FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
}

// ---------------------------------------------------------------- Transpose and its relatives

// Transpose-13: without perm the axes are reversed.
void fe_import_transpose(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts perm = fe_attr_ints(n, "perm");
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    int64_t reversed[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        reversed[i] = rank - 1 - i;
    }
    fe_out(n, 0, perm.v ? fe_transpose(n, x, perm.n, perm.v) : fe_transpose(n, x, rank, reversed));
}

enum { MAX_BLOCK = 1 << 15 };

// The operand [N,C,H,W], its block size and its dims.
static bool read_block(FeNode *n, IrValue **x, int64_t *b, IrDim *d) {
    *x = fe_operand(n, 0);
    *b = fe_attr_int(n, "blocksize", 0);
    if (n->refused) {
        return false;
    }
    const IrShape *s = &(*x)->type.shape;
    if (s->rank != 4 || *b < 1 || *b > MAX_BLOCK || s->dim[1].n || s->dim[2].n || s->dim[3].n) {
        fe_refuse(n, "rank %d and block size %lld do not fit", s->rank, (long long)*b);
        return false;
    }
    memcpy(d, s->dim, 4 * sizeof *d);
    for (int i = 1; i < 4; i++) {
        if (d[i].c > INT32_MAX) {
            fe_refuse(n, "dimension %d is %lld", i, (long long)d[i].c);
        }
    }
    return !n->refused;
}

// Whether the channels are [C', bh, bw] (CRD), not [bh, bw, C'] (DCR).
static bool is_column_first(FeNode *n) {
    const char *mode = fe_attr_str(n, "mode", "DCR");
    bool crd = strcmp(mode, "CRD") == 0;
    if (!crd && strcmp(mode, "DCR") != 0) {
        fe_refuse(n, "mode '%s' is neither DCR nor CRD", mode);
    }
    return crd;
}

// DepthToSpace-13
void fe_import_depth_to_space(FeNode *n) {
    IrValue *x;
    int64_t b;
    IrDim d[4];
    bool crd = is_column_first(n);
    if (!read_block(n, &x, &b, d)) {
        return;
    }
    if (d[1].c % (b * b)) {
        fe_refuse(n, "block size %lld does not divide %lld channels", (long long)b,
                  (long long)d[1].c);
        return;
    }
    IrDim c = ir_dim(d[1].c / (b * b)), k = ir_dim(b);
    IrShape dcr6 = {6, {d[0], k, k, c, d[2], d[3]}}, crd6 = {6, {d[0], c, k, k, d[2], d[3]}};
    const int64_t dcr_perm[] = {0, 3, 4, 1, 5, 2}, crd_perm[] = {0, 1, 4, 2, 5, 3};
    IrValue *y =
        fe_transpose(n, fe_reshape(n, x, crd ? &crd6 : &dcr6), 6, crd ? crd_perm : dcr_perm);
    fe_out(n, 0,
           fe_reshape(n, y, &(IrShape){4, {d[0], c, ir_dim(d[2].c * b), ir_dim(d[3].c * b)}}));
}

// SpaceToDepth-13: the result's channels are [bh, bw, C]; with mode CRD of version 28 [C, bh, bw].
void fe_import_space_to_depth(FeNode *n) {
    IrValue *x;
    int64_t b;
    IrDim d[4];
    if (!read_block(n, &x, &b, d)) {
        return;
    }
    if (d[2].c % b || d[3].c % b) {
        fe_refuse(n, "block size %lld does not divide the image", (long long)b);
        return;
    }
    IrDim k = ir_dim(b), h = ir_dim(d[2].c / b), w = ir_dim(d[3].c / b);
    const int64_t dcr[] = {0, 3, 5, 1, 2, 4}, crd[] = {0, 1, 3, 5, 2, 4};
    IrValue *y = fe_reshape(n, x, &(IrShape){6, {d[0], d[1], h, k, w, k}});
    y = fe_transpose(n, y, 6, is_column_first(n) ? crd : dcr);
    fe_out(n, 0, fe_reshape(n, y, &(IrShape){4, {d[0], ir_dim(d[1].c * b * b), h, w}}));
}

// ---------------------------------------------------------------- Expand and Tile

static IrValue *build_expand(FeNode *n, IrValue *x, const IrShape *s) {
    if (n->refused || ir_shape_eq(&x->type.shape, s)) {
        return x;
    }
    return fe_build(n, IR_OP_EXPAND, FE_IN(x), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, s)));
}

// Expand-13 broadcasts both ways: 1 in the target keeps the input's dimension.
void fe_import_expand(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeDims target;
    if (!fe_dims(n, 1, &target) || n->refused) {
        return;
    }
    IrShape t = {.rank = target.n}, out;
    if (target.n > IR_MAX_RANK) {
        fe_refuse(n, "the new shape has %d dimensions", target.n);
        return;
    }
    for (int i = 0; i < target.n; i++) {
        t.dim[i] = target.v[i];
        if (t.dim[i].c < 0 || t.dim[i].n < 0) {
            fe_refuse(n, "entry %d of the new shape is %lld", i, (long long)t.dim[i].c);
            return;
        }
    }
    if (!ir_shape_broadcast(&x->type.shape, &t, &out)) {
        fe_refuse(n, "the input does not broadcast to the new shape");
        return;
    }
    IrValue *y = build_expand(n, x, &out);
    if (y == x) {
        fe_out_alias(n, 0, 0);
    } else {
        fe_out(n, 0, y);
    }
}

// Tile-1 repeats one axis: its inputs are the number of copies and the axis.
static IrInts repeats_of_one_axis(FeNode *n, int rank) {
    double count = fe_scalar_in(n, 1, 1), given = fe_scalar_in(n, 2, 0);
    IrInts r = fe_range(n, 0, rank);
    if (!(count >= 0 && count <= INT32_MAX && fabs(given) <= rank)) {
        fe_refuse(n, "%g copies along axis %g are not possible", count, given);
    }
    int axis = n->refused ? 0 : fe_axis(n, (int64_t)given, rank);
    for (int i = 0; i < rank && !n->refused; i++) {
        r.v[i] = i == axis ? (int64_t)count : 1;
    }
    return r;
}

// Axis by axis, in rank 3: too many are repeated to do all of them at once.
static IrValue *repeat_axes(FeNode *n, IrValue *x, IrInts r) {
    IrShape s = x->type.shape;
    for (int i = s.rank - 1; i >= 0 && !n->refused; i--) {
        IrShape one = {3,
                       {fe_dim_product(n, &s, 0, i), ir_dim(1), fe_dim_product(n, &s, i, s.rank)}};
        IrShape wide = one;
        wide.dim[1] = ir_dim(r.v[i]);
        x = r.v[i] != 1 ? build_expand(n, fe_reshape(n, x, &one), &wide) : x;
        if (!ir_dim_mul(s.dim[i], ir_dim(r.v[i]), &s.dim[i])) {
            fe_refuse(n, "axis %d cannot be repeated %lld times", i, (long long)r.v[i]);
        }
    }
    return n->refused ? NULL : fe_reshape(n, x, &s);
}

// Tile-13: each repeated axis d becomes [1, d], is expanded to [r, d] and merged to r * d; one of
// size 1 is expanded alone.
void fe_import_tile(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    if (n->refused) {
        return;
    }
    const IrShape *s = &x->type.shape;
    IrInts r = n->since >= 6 ? fe_ints(n, 1) : repeats_of_one_axis(n, s->rank);
    if (n->refused) {
        return;
    }
    IrShape in = {0}, wide = {0}, out = {.rank = s->rank};
    if (r.n != s->rank) {
        fe_refuse(n, "%d repeats are given for rank %d", r.n, s->rank);
        return;
    }
    int rank = s->rank;
    for (int i = 0; i < s->rank; i++) {
        rank += r.v[i] != 1 && !ir_dim_is(s->dim[i], 1);
        if (r.v[i] < 0 || !ir_dim_mul(s->dim[i], ir_dim(r.v[i]), &out.dim[i])) {
            fe_refuse(n, "axis %d cannot be repeated %lld times", i, (long long)r.v[i]);
            return;
        }
    }
    if (rank > IR_MAX_RANK) {
        fe_out(n, 0, repeat_axes(n, x, r));
        return;
    }
    for (int i = 0; i < s->rank; i++) {
        if (r.v[i] != 1) {
            in.dim[in.rank++] = ir_dim(1);
            wide.dim[wide.rank++] = ir_dim(r.v[i]);
        }
        if (r.v[i] == 1 || !ir_dim_is(s->dim[i], 1)) {
            in.dim[in.rank++] = wide.dim[wide.rank++] = s->dim[i];
        }
    }
    fe_out(n, 0, fe_reshape(n, build_expand(n, fe_reshape(n, x, &in), &wide), &out));
}
