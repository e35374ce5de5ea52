// What kernels share that search along an axis or address elements by tensors of indices.
// Private to codegen/.
#ifndef CODEGEN_INDEX_INDEX_H
#define CODEGEN_INDEX_INDEX_H

#include "codegen/build/nd.h"

// Entry i of a tensor of indices, counted from the start of an axis of `size` elements: negative
// ones count from its end. What is outside even so stays outside.
CgVal cg_index_load(CgFn *f, IrDtype t, CgVal base, CgVal i, CgVal size);
CgVal cg_index_clamp(CgFn *f, CgVal k, CgVal size); // to [0, size)
// Copies n elements of `bytes` bytes each.
void cg_index_copy(CgFn *f, int bytes, CgVal to, CgVal from, CgVal n);

// Indices whose last axis names axes of x from `first` on; x is [batch][selected][slice].
typedef struct CgTuples {
    IrDim batch, rows, slice, selected;          // sizes; `selected` counts slices
    IrDim dim[IR_MAX_RANK], stride[IR_MAX_RANK]; // of the axes named; strides in slices
    int32_t depth, index;                        // entries of a tuple, their dtype
} CgTuples;
CgTuples cg_tuples(const IrValue *x, const IrValue *indices, int first);

// Lines along one axis, of results and an operand.
enum { CG_LINE_OPERANDS = 3 };
typedef struct CgLines {
    CgNd nd;                      // all dims but the axis
    IrDim size;                   // of the operand's axis
    IrDim step[CG_LINE_OPERANDS]; // along the axis, by operand of nd
} CgLines;
// Operands of nd: the results of n, then operand 0. False where there are no elements.
bool cg_lines(const IrNode *n, int axis, CgLines *out);

// i1: whether x comes before y, typed as cg_elem_load() has them; NaN comes first, or with
// nan_last last.
CgVal cg_precedes(CgFn *f, IrDtype t, bool ascending, bool nan_last, CgVal x, CgVal y);

#endif
