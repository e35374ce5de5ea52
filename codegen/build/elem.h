// Elements of any type: what a kernel that is written once loads, computes with and stores. Private
// to codegen/. Included by builder.h.
//
// A type's row of elem.def says how it is *stored* and what it is *computed* in: f16 and bf16 are
// floats in registers, rounded once, to nearest even, where they are stored; a bool is a byte 0 or
// 1; all others are computed as they are stored, integers wrapping around. A vector has f->lanes
// elements whatever their type, so that operands of several types meet lane by lane; LLVM cuts it
// into the machine's registers.
//
// A kernel takes its IrDtype from its spec. The f32 names below are the same functions for IR_F32.
#ifndef CODEGEN_BUILD_ELEM_H
#define CODEGEN_BUILD_ELEM_H

#include "codegen/build/builder.h"

bool cg_elem_is_signed(IrDtype t);            // an integer with a sign
IrDtype cg_elem_sum(IrDtype t);               // the type that sums of products are made in
bool cg_elem_is_exact(IrDtype t);             // stored as computed
IrDtype cg_elem_bits(IrDtype t);              // of the same size, stored as computed
LLVMTypeRef cg_elem_type(CgFn *f, IrDtype t); // of one element in a register
LLVMTypeRef cg_elem_vec(CgFn *f, IrDtype t);  // of a vector

// ---- memory: one element at base[index], a vector from address p on. n as in CgNdVector: how many
// lanes count, NULL for all. Lanes past n are 0 when loaded, and kept when stored.
CgVal cg_elem_at(CgFn *f, IrDtype t, CgVal base, CgVal index);    // &base[index]
CgVal cg_elem_block(CgFn *f, IrDtype t, CgVal base, CgVal index); // as cg_block()
CgVal cg_elem_load(CgFn *f, IrDtype t, CgVal base, CgVal index);
CgVal cg_elem_load_as(CgFn *f, IrDtype as, IrDtype t, CgVal base, CgVal index); // converted
void cg_elem_store(CgFn *f, IrDtype t, CgVal x, CgVal base, CgVal index);
CgVal cg_elem_load_n(CgFn *f, IrDtype t, CgVal p, CgVal n);
void cg_elem_store_n(CgFn *f, IrDtype t, CgVal v, CgVal p, CgVal n);
// Lane i from p[i * stride], lanes >= n from the last one that counts. n > 0, unless the stride is
// the constant 0 or 1.
CgVal cg_elem_load_strided(CgFn *f, IrDtype t, CgVal p, CgVal stride, CgVal n);
CgVal cg_lane_mask(CgFn *f, CgVal n); // <lanes x i1>: lane < n

// ---- values in registers, scalars or vectors
CgVal cg_elem_const(CgFn *f, IrDtype t, double x);             // one; saturates
CgVal cg_elem_like(CgFn *f, IrDtype t, CgVal shape, double x); // as many as `shape` has
CgVal cg_elem_splat(CgFn *f, IrDtype t, double x);             // a vector
CgVal cg_elem_truth(CgFn *f, CgVal bit);                       // the bool of an i1
// Cast-13: floats to integers truncate and saturate, NaN is 0; integers wrap around; to bool is
// x != 0. To a type of 16 bits the value keeps what one rounding to it needs.
CgVal cg_elem_convert(CgFn *f, IrDtype from, IrDtype to, CgVal x);
// What is done to a float on its way to an integer of 8 or 16 bits: rounded to the nearest integer,
// halves to even, and `zero` added, or truncated; then kept within low and high, integers within
// the type's range; NaN is 0.
typedef struct CgNarrow {
    bool nearest;
    int32_t zero, low, high; // zero only with `nearest`
} CgNarrow;
CgNarrow cg_elem_range(IrDtype t); // truncates and saturates: Cast-13
CgVal cg_elem_narrow(CgFn *f, IrDtype t, const CgNarrow *how, CgVal x);
// As cg_elem_narrow() to u8, of n vectors (2 or 4) of 16 floats below CG_PACK_LIMIT in magnitude,
// with `nearest` and a zero point of u8, for AVX-512: their n * 16 bytes in order.
#define CG_PACK_LIMIT 0x1p30
CgVal cg_elem_pack(CgFn *f, const CgNarrow *how, CgVal *x, int n);
// A float or double, rounded to the nearest number of t, a type of 16 bits.
CgVal cg_elem_round(CgFn *f, IrDtype t, CgVal x);

// ---- f32
CgVal cg_load_f(CgFn *f, CgVal p);     // one float
CgVal cg_load_v(CgFn *f, CgVal p);     // lanes floats, any alignment
CgVal cg_load_splat(CgFn *f, CgVal p); // one float to all lanes
void cg_store_v(CgFn *f, CgVal v, CgVal p);
CgVal cg_load_n(CgFn *f, CgVal p, CgVal n);
void cg_store_n(CgFn *f, CgVal v, CgVal p, CgVal n);
CgVal cg_load_strided(CgFn *f, CgVal p, CgVal stride, CgVal n);

#endif
