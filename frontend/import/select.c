// Operators whose result's shape, or mask, depends on the content of an input, which here is a
// constant: NonZero, Compress, Unique; and Trilu. See bounded_search.c where it is none.
#define _GNU_SOURCE // qsort_r
#include "frontend/import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Input i, whose content the result's shape depends on.
static const IrTensor *need_content(FeNode *n, int i) {
    const IrTensor *t = fe_tensor(n, i);
    if (!t) {
        fe_refuse(n, "input %d is not constant, and the shape of the result depends on its content",
                  i);
    }
    return n->refused ? NULL : t;
}

static IrTensor *new_tensor(FeNode *n, IrDtype dtype, int rank, const int64_t *dim) {
    IrType type = {dtype, ir_shape_of(rank, dim), 0};
    IrTensor *t = ir_alloc(n->fe->arena, sizeof *t);
    const char *why = fe_check_fill(n->fe, &type);
    if (why) {
        fe_refuse(n, "its result %s", why);
        return NULL;
    }
    *t = ir_tensor_new(n->fe->arena, &type, 1);
    return t;
}

static IrTensor *new_positions(FeNode *n, int64_t count) {
    return new_tensor(n, IR_I64, 1, &count);
}

// NonZero-13: the coordinates of what is not zero, an axis a row.
void fe_import_non_zero(FeNode *n) {
    const IrTensor *x = need_content(n, 0);
    int64_t elems = x ? ir_tensor_elems(x) : 0, count = 0;
    if (!x || !fe_spend(n, (double)elems * (x->rank + 1))) {
        fe_refuse(n, "its input is shared by too many nodes for the size of the file");
        return;
    }
    for (int64_t i = 0; i < elems; i++) {
        count += ir_tensor_get(x, i) != 0;
    }
    IrTensor *y = new_tensor(n, IR_I64, 2, (int64_t[]){x->rank, count});
    for (int64_t i = 0, k = 0; i < elems && y; i++) {
        if (ir_tensor_get(x, i) == 0) {
            continue;
        }
        int64_t rest = i;
        for (int a = x->rank - 1; a >= 0; a--) {
            ((int64_t *)y->data)[a * count + k] = rest % x->dim[a];
            rest /= x->dim[a];
        }
        k++;
    }
    fe_out_tensor(n, 0, y);
}

// Compress-11: a gather of what the condition selects; without axis, of all elements in order.
void fe_import_compress(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    const IrTensor *condition = need_content(n, 1);
    if (n->refused) {
        return;
    }
    int axis = 0;
    if (fe_attr(n, "axis")) {
        axis = fe_axis(n, fe_attr_int(n, "axis", 0), x->type.shape.rank);
    } else {
        IrShape flat = {1, {fe_dim_product(n, &x->type.shape, 0, x->type.shape.rank)}};
        x = fe_reshape(n, x, &flat);
    }
    if (n->refused) {
        return;
    }
    IrDim dim = x->type.shape.dim[axis];
    int64_t elems = ir_tensor_elems(condition), count = 0;
    if (condition->rank != 1 || dim.n || elems > dim.c) {
        fe_refuse(n, "its condition is no list of at most %lld entries, one for each it selects of",
                  (long long)dim.c);
        return;
    }
    if (!fe_spend(n, (double)elems)) {
        fe_refuse(n, "its condition is shared by too many nodes for the size of the file");
        return;
    }
    for (int64_t i = 0; i < elems; i++) {
        count += ir_tensor_get(condition, i) != 0;
    }
    IrTensor *at = new_positions(n, count);
    for (int64_t i = 0, k = 0; i < elems && at; i++) {
        if (ir_tensor_get(condition, i) != 0) {
            ((int64_t *)at->data)[k++] = i;
        }
    }
    if (at) {
        fe_out(n, 0,
               fe_build(n, IR_OP_GATHER, FE_IN(x, fe_tensor_const(n, at)),
                        FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
    }
}

// ---------------------------------------------------------------- Unique

typedef struct Parts { // slices of x along an axis: [outer][count][inner]; or its elements
    const IrTensor *x;
    int64_t outer, count, inner;
} Parts;

// Elements a and b of x; NaN is equal to NaN and greater than numbers.
static int compare_elements(const IrTensor *x, int64_t a, int64_t b) {
    if (x->dtype == IR_I64) {
        int64_t p = ((const int64_t *)x->data)[a], q = ((const int64_t *)x->data)[b];
        return (p > q) - (p < q);
    }
    if (x->dtype == IR_U64) {
        uint64_t p = ((const uint64_t *)x->data)[a], q = ((const uint64_t *)x->data)[b];
        return (p > q) - (p < q);
    }
    double p = ir_tensor_get(x, a), q = ir_tensor_get(x, b);
    return isnan(p) || isnan(q) ? isnan(p) - isnan(q) : (p > q) - (p < q);
}

static int compare_parts(const Parts *p, int64_t a, int64_t b) {
    int order = 0;
    for (int64_t i = 0; i < p->outer * p->inner && !order; i++) {
        int64_t at = i / p->inner * p->count * p->inner + i % p->inner;
        order = compare_elements(p->x, at + a * p->inner, at + b * p->inner);
    }
    return order;
}

// In order, equal parts in that of their positions.
static int compare_positions(const void *a, const void *b, void *parts) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    int order = compare_parts(parts, x, y);
    return order ? order : (x > y) - (x < y);
}

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void output_parts(FeNode *n, const Parts *p, int axis, bool flat, int64_t count,
                         const int64_t *first) {
    int64_t dim[IR_MAX_RANK];
    memcpy(dim, p->x->dim, sizeof dim);
    dim[axis] = count;
    IrTensor *y = new_tensor(n, p->x->dtype, flat ? 1 : p->x->rank, dim);
    size_t bytes = (size_t)p->inner * (size_t)ir_dtype_bytes(p->x->dtype);
    for (int64_t o = 0; y && o < p->outer; o++) {
        for (int64_t i = 0; i < count; i++) {
            memcpy((char *)y->data + (size_t)(o * count + i) * bytes,
                   (const char *)p->x->data + (size_t)(o * p->count + first[i]) * bytes, bytes);
        }
    }
    fe_out_tensor(n, 0, y);
}

// Unique-11: each part once; where it came first, which of them each part is, how often it occurs.
void fe_import_unique(FeNode *n) {
    const IrTensor *x = need_content(n, 0);
    bool flat = !fe_attr(n, "axis"), sorted = fe_attr_int(n, "sorted", 1) != 0;
    int axis = x && !flat ? fe_axis(n, fe_attr_int(n, "axis", 0), x->rank) : 0;
    if (n->refused) {
        return;
    }
    Parts p = {x, 1, flat ? ir_tensor_elems(x) : x->dim[axis], 1};
    for (int i = 0; i < x->rank && !flat; i++) {
        *(i < axis ? &p.outer : &p.inner) *= i == axis ? 1 : x->dim[i];
    }
    double work = (double)p.count * (double)(p.outer * p.inner) * (2 + log2((double)p.count + 1));
    if (!fe_spend(n, work) || !fe_charge(n, p.count * 4 * (int64_t)sizeof(int64_t))) {
        fe_refuse(n, "its input is too large for the size of the file");
        return;
    }
    IrTensor *of = new_positions(n, p.count);
    int64_t *at = ir_alloc_array(n->fe->arena, (size_t)p.count + 1, sizeof *at), count = 0;
    int64_t *first = ir_alloc_array(n->fe->arena, (size_t)p.count + 1, sizeof *first);
    int64_t *times = ir_alloc_array(n->fe->arena, (size_t)p.count + 1, sizeof *times);
    if (!of) {
        return;
    }
    for (int64_t i = 0; i < p.count; i++) {
        at[i] = i;
    }
    qsort_r(at, (size_t)p.count, sizeof *at, compare_positions, &p);
    for (int64_t i = 0; i < p.count; i++) { // of: where the part came first
        bool again = i > 0 && compare_parts(&p, at[i - 1], at[i]) == 0;
        first[count] = at[i];
        ((int64_t *)of->data)[at[i]] = again ? ((int64_t *)of->data)[at[i - 1]] : at[i];
        count += !again;
    }
    if (!sorted) {
        qsort(first, (size_t)count, sizeof *first, compare_numbers);
    }
    for (int64_t i = 0; i < count; i++) { // from where it came first to which it is
        at[first[i]] = i;
    }
    for (int64_t i = 0; i < p.count; i++) {
        int64_t *which = &((int64_t *)of->data)[i];
        *which = at[*which];
        times[*which]++;
    }
    output_parts(n, &p, axis, flat, count, first);
    fe_out_tensor(n, 1, fe_tensor_of_ints(n->fe->arena, IR_I64, 1, (int)count, first));
    fe_out_tensor(n, 2, of);
    fe_out_tensor(n, 3, fe_tensor_of_ints(n->fe->arena, IR_I64, 1, (int)count, times));
}

// ---------------------------------------------------------------- Trilu

static const int64_t MAX_DIAGONAL = INT64_C(1) << 48; // beyond any axis

// Trilu-14: zero where column < row + k, or with upper = 0 where column > row + k.
void fe_import_trilu(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    IrInts given = fe_ints(n, 1);
    bool upper = fe_attr_int(n, "upper", 1) != 0;
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    IrDim rows = rank >= 2 ? x->type.shape.dim[rank - 2] : ir_dim(0);
    IrDim columns = rank >= 2 ? x->type.shape.dim[rank - 1] : ir_dim(0);
    if (rank < 2 || given.n > 1) {
        fe_refuse(n, "its input has no matrices, or k is not one number");
        return;
    }
    int64_t k = given.n ? given.v[0] : 0;
    k = k > MAX_DIAGONAL ? MAX_DIAGONAL : k < -MAX_DIAGONAL ? -MAX_DIAGONAL : k;
    IrValue *row = fe_iota(n, k, rows, 0, 2), *column = fe_iota(n, 0, columns, 1, 2);
    IrValue *outside = fe_bin(n, upper ? IR_OP_LESS : IR_OP_GREATER, column, row);
    fe_out(n, 0, fe_build(n, IR_OP_WHERE, FE_IN(outside, fe_const(n, x, 0), x), 0, NULL));
}
