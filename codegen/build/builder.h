// A small loop-and-vector builder over the LLVM C API: what every kernel is written with.
// Private to codegen/. All indices are i64. A float vector holds a block, IR_BLOCK elements, in as
// many registers as the machine needs for it; where many are live a kernel goes over the parts of a
// block, each a register, instead: cg_for_parts().
//
// A kernel is `void emit(CgFn *f, const void *spec)`: f->arg[] holds the base pointers that the
// lowering passed in the same order, f->N the batch size, f->tid and f->nth this thread and their
// number. It splits its own iteration space with cg_split() and never synchronises.
#ifndef CODEGEN_BUILD_BUILDER_H
#define CODEGEN_BUILD_BUILDER_H

#include "codegen/codegen.h"
#include <llvm-c/Core.h>

enum { CG_MAX_ARGS = 16, CG_MAX_STEPS = 24, CG_MAX_CARRY = 64 };

typedef LLVMValueRef CgVal;

typedef struct CgFn {
    const CgTarget *target;
    int lanes;      // elements of a float vector
    CgVal lane0;    // the first lane of blocks that vectors stand for; NULL: 0
    IrArena *arena; // scratch while emitting
    LLVMContextRef ctx;
    LLVMModuleRef mod;
    LLVMBuilderRef b;
    CgVal fn;
    LLVMTypeRef i1, i8, i32, i64, f32, f64, ptr;
    LLVMTypeRef vec, ivec;  // <lanes x float>, <lanes x i32>
    CgVal N, tid, nth;      // i64
    CgVal scratch;          // this thread's scratch
    CgVal arg[CG_MAX_ARGS]; // noalias unless equal places were passed
    int n_args;
    uint64_t features; // bits HONE_CPU_*, that LLVM was told of beyond the target's
} CgFn;

// The function uses this feature too, where it is not 0. Its program says so: cg_need().
void cg_use(CgFn *f, uint32_t feature);
void cg_function_attr(CgFn *f, const char *key, const char *value);

// ---- integers
CgVal cg_i64(CgFn *f, int64_t x);
CgVal cg_i32(CgFn *f, int32_t x);
CgVal cg_dim(CgFn *f, IrDim d); // c + n * N
CgVal cg_iadd(CgFn *f, CgVal a, CgVal b);
CgVal cg_isub(CgFn *f, CgVal a, CgVal b);
CgVal cg_imul(CgFn *f, CgVal a, CgVal b);
CgVal cg_iaddc(CgFn *f, CgVal a, int64_t c);
CgVal cg_imulc(CgFn *f, CgVal a, int64_t c);
CgVal cg_idivc(CgFn *f, CgVal a, int64_t c); // unsigned, a >= 0, c > 0
CgVal cg_iremc(CgFn *f, CgVal a, int64_t c);
CgVal cg_imin(CgFn *f, CgVal a, CgVal b); // signed
CgVal cg_imax(CgFn *f, CgVal a, CgVal b);
CgVal cg_icmp(CgFn *f, LLVMIntPredicate p, CgVal a, CgVal b);
bool cg_is_const(CgVal v, int64_t *x);

// ---- control. cg_for opens a loop over [lo, hi) by step > 0 and cg_end closes it; loops nest. The
// loop is rotated; when lo and hi are constants no guard is emitted. No LLVM pass unrolls or
// vectorises it.
typedef struct CgLoop {
    CgVal iv;
    LLVMBasicBlockRef body, exit, guard;
    CgVal hi;
    int64_t step;
    int n_carry;
    CgVal phi[CG_MAX_CARRY];
    CgVal init[CG_MAX_CARRY];
    LLVMBasicBlockRef pre;
} CgLoop;
void cg_for(CgFn *f, CgLoop *loop, CgVal lo, CgVal hi, int64_t step);
// As cg_for, with n values carried in registers: carry[i] holds the initial values, then, inside,
// the loop's own; at cg_end_carry() carry[] holds the next iteration's, and afterwards the final
// ones.
void cg_for_carry(CgFn *f, CgLoop *loop, CgVal lo, CgVal hi, int64_t step, int n, CgVal *carry);
void cg_end(CgFn *f, CgLoop *loop);
void cg_end_carry(CgFn *f, CgLoop *loop, CgVal *carry);

typedef struct CgIf {
    LLVMBasicBlockRef then, other, merge;
    bool has_else;
} CgIf;
void cg_if(CgFn *f, CgIf *s, CgVal cond);
void cg_else(CgFn *f, CgIf *s);
void cg_endif(CgFn *f, CgIf *s);

// [lo, hi) of this thread out of `total` equal tasks: total * tid / nth.
void cg_split(CgFn *f, CgVal total, CgVal *lo, CgVal *hi);
// index -> (index / d, index % d); index >= 0
void cg_divmod(CgFn *f, CgVal index, CgVal d, CgVal *q, CgVal *r);

// From here on vectors are part k < cg_parts() of a block, which one register holds, and cg_block()
// is the part's place; after cg_whole() they are blocks again. Nothing changes where a register
// holds a block. cg_for_parts: the same in a loop, until cg_end_parts().
int cg_parts(const CgFn *f);
void cg_part(CgFn *f, int k);
void cg_whole(CgFn *f);
void cg_for_parts(CgFn *f, CgLoop *loop);
void cg_end_parts(CgFn *f, CgLoop *loop);

// A stack slot in the entry block (for scalar accumulators in generic code).
CgVal cg_slot(CgFn *f, LLVMTypeRef t);
CgVal cg_slot_of(CgFn *f, CgVal x); // of i64, which holds x; the next two are for such
CgVal cg_get(CgFn *f, CgVal slot);
void cg_set(CgFn *f, CgVal slot, CgVal x);

// ---- memory; indices in elements. What is in it: elem.h
CgVal cg_at(CgFn *f, LLVMTypeRef elem, CgVal base, CgVal index); // &base[index]
CgVal cg_fat(CgFn *f, CgVal base, CgVal index);                  // float *
CgVal cg_fatc(CgFn *f, CgVal base, int64_t index);
CgVal cg_block(CgFn *f, CgVal base, CgVal index); // of block number `index`, or its part
CgVal cg_blockc(CgFn *f, CgVal base, int64_t index);
CgVal cg_load(CgFn *f, LLVMTypeRef t, CgVal p, unsigned align);
void cg_store(CgFn *f, CgVal x, CgVal p, unsigned align);
void cg_prefetch(CgFn *f, CgVal p, int locality); // read; 3: L1, 2: L2
void cg_prefetch_write(CgFn *f, CgVal p);

// A label that nothing refers to, put between the steps of a register tile. LLVM's schedulers do
// not move instructions over labels, nor does its CSE merge loads over this one, so the registers
// that are live are the ones of one step. Without it, loads of later steps are hoisted and
// accumulators spilled.
void cg_fence(CgFn *f);

// ---- floats: vector or scalar float alike
CgVal cg_f(CgFn *f, double x);                 // scalar constant
CgVal cg_v(CgFn *f, double x);                 // splat constant
CgVal cg_like(CgFn *f, CgVal shape, double x); // constant of the type of `shape`
CgVal cg_int_like(CgVal shape, uint64_t c);    // integer constant of the type of `shape`
CgVal cg_splat(CgFn *f, CgVal scalar);
CgVal cg_fadd(CgFn *f, CgVal a, CgVal b);
CgVal cg_fsub(CgFn *f, CgVal a, CgVal b);
CgVal cg_fmul(CgFn *f, CgVal a, CgVal b);
CgVal cg_fdiv(CgFn *f, CgVal a, CgVal b);
CgVal cg_fma(CgFn *f, CgVal a, CgVal b, CgVal c); // a*b + c: fused exactly when the target has FMA
CgVal cg_fmax(CgFn *f, CgVal a, CgVal b);         // a > b ? a : b with NaN of a kept (one vmaxps)
CgVal cg_fmin(CgFn *f, CgVal a, CgVal b);
CgVal cg_fcmp(CgFn *f, LLVMRealPredicate p, CgVal a, CgVal b);
CgVal cg_select(CgFn *f, CgVal c, CgVal a, CgVal b);
CgVal cg_intrinsic(CgFn *f, const char *name, int n,
                   CgVal *args); // overloaded on the first arg's type, which is the result's
CgVal cg_call_intrinsic(CgFn *f, const char *name, int n_types, LLVMTypeRef *types, int n,
                        CgVal *args); // overloaded on these types
CgVal cg_sum_lanes(CgFn *f, CgVal v); // fixed tree order
CgVal cg_max_lanes(CgFn *f, CgVal v);
CgVal cg_shuffle(CgFn *f, CgVal a, CgVal b, int n, const int *index);
LLVMTypeRef cg_dtype(CgFn *f, IrDtype t); // storage type: i8 for bool, i16 for f16

// ---- elementwise math (build/math.c): float vector or scalar. Errors stated there, all below 4
// ulp.
CgVal cg_exp(CgFn *f, CgVal x);
CgVal cg_exp_below(CgFn *f, CgVal x); // of x <= 0, or NaN: half the work
CgVal cg_log(CgFn *f, CgVal x);
CgVal cg_tanh(CgFn *f, CgVal x);
CgVal cg_erf(CgFn *f, CgVal x);
CgVal cg_gelu(CgFn *f, CgVal x); // x/2 (1 + erf(x / sqrt 2)), within 3 ulp of x
CgVal cg_pow(CgFn *f, CgVal x, CgVal y);
CgVal cg_sigmoid(CgFn *f, CgVal x);
CgVal cg_silu(CgFn *f, CgVal x); // x sigmoid(x)
// The C library's function of n <= 2 floats or doubles (libm.c), lane by lane; "sin" is sinf on
// floats.
CgVal cg_libm(CgFn *f, const char *name, int n, const CgVal *x);

#endif
