// Loops over n dimensions that several operands walk with strides of their own: what elementwise
// kernels, copies, reductions and other memory-bound kernels share. Private to codegen/.
//
// A CgNd is plain data, part of a kernel's spec. Sizes, strides and offsets count elements and are
// affine in N. Lowerings build it, drop and merge dimensions, and kernels turn it into loops that
// are split over the threads.
#ifndef CODEGEN_BUILD_ND_H
#define CODEGEN_BUILD_ND_H

#include "codegen/build/lower.h"

enum { CG_ND_RANK = 10, CG_ND_OPERANDS = 16 };

typedef struct CgNdDim {
    IrDim size;
    IrDim stride[CG_ND_OPERANDS];
} CgNdDim;

typedef struct CgNd {
    int32_t rank, n; // n operands
    int64_t cost;    // of an element, in elements of a plain copy; 0 is 1
    CgNdDim dim[CG_ND_RANK];
    IrDim offset[CG_ND_OPERANDS];
} CgNd;

// ---- lowering

void cg_nd_init(CgNd *nd, int rank, const IrDim *size); // zeroes all of it
// Appends an operand with `rank` strides, which may be 0 or negative; its number.
int cg_nd_add(CgNd *nd, const IrDim *stride, IrDim offset);
// Drops dimensions of size 1, merges those that all operands walk as one, and puts dimensions of
// size 1 in front while there are fewer than min_rank.
void cg_nd_collapse(CgNd *nd, int min_rank);
void cg_nd_move_dim(CgNd *nd, int from, int to);
bool cg_nd_empty(const CgNd *nd);              // some size is 0 whatever N
int64_t cg_nd_elems(const CgNd *nd, int from); // product of sizes from dim `from` on, at N = 1

// A tensor's own space: its dims, for a blocked one [N, C/B, spatial..., B]. Return the rank.
int cg_nd_sizes(const CgTensor *t, IrDim *size);
int cg_nd_strides(const CgTensor *t, IrDim *stride);
// Strides of t where it broadcasts to r, in r's own space. False: t is plain with more than one
// channel and r blocked, so that a vector of channels is no vector in t.
bool cg_nd_broadcast(const CgTensor *r, const CgTensor *t, IrDim *stride);
IrDim cg_nd_mul(IrDim a, IrDim b); // ir_dim_mul where affinity was established by the memory plan

// ---- operands that broadcast to a node's result (operand.c)

// Strides of operand v in the space of result r; *arg becomes a packed copy where the constant v is
// plain and r blocked. False after reporting NYI.
bool cg_operand_strides(CgProgram *p, const IrNode *n, const CgTensor *r, const IrValue *v,
                        IrDim *stride, CgArg *arg);
// The operands of n's body, n's own from number `first` on, join the space of result r, whose
// strides then say all of their tensors. False after reporting NYI.
bool cg_operands_join(CgProgram *p, const IrNode *n, const CgTensor *r, int first, CgBody *body,
                      CgNd *nd, CgArg *args);

// ---- emitting

// Called inside the loops: off[k] is operand k's element offset, len how many steps of the first of
// the inner dimensions this call does.
typedef void (*CgNdBody)(void *ctx, CgFn *f, const CgVal *off, CgVal len);
// Loops over all dimensions but the last `inner`, which are the body's. Splits tasks over threads;
// the first inner dimension is cut in multiples of `step` where it is long. What belongs to one
// call of the body does not depend on the number of threads.
void cg_nd_for(CgFn *f, const CgNd *nd, int inner, int64_t step, CgNdBody body, void *ctx);

// [0, len) in vectors: n is NULL for a whole vector at i, else how many lanes count.
typedef void (*CgNdVector)(void *ctx, CgFn *f, CgVal i, CgVal n);
void cg_nd_vectors(CgFn *f, CgVal len, int unroll, CgNdVector body, void *ctx);

// [0, len) one by one; n is NULL.
void cg_nd_steps(CgFn *f, CgVal len, int unroll, CgNdVector body, void *ctx);

// The more extreme of both: OGT for the maximum, OLT for the minimum. NaN wins.
CgVal cg_most(CgFn *f, LLVMRealPredicate p, CgVal acc, CgVal x);
// Square transpose in registers of `lanes` vectors.
void cg_transpose_lanes(CgFn *f, CgVal *rows);
CgVal cg_stride(CgFn *f, CgVal index, IrDim stride); // index * stride

#endif
