// Between the lowerings and the program being emitted. Private to codegen/.
//
// Lowering walks the graph once and turns each node into calls of kernels: a kernel is an emit
// function plus a plain-data spec (zero its padding: specs are compared and hashed as bytes), so
// equal nodes share one kernel; kernels are emitted later, in parallel, one LLVM context per
// thread.
#ifndef CODEGEN_BUILD_LOWER_H
#define CODEGEN_BUILD_LOWER_H

#include "codegen/build/elem.h"
#include "ir/machine.h"

typedef struct CgProgram CgProgram;
typedef void (*CgEmit)(CgFn *f, const void *spec);

// How a value lies in memory, as plain data for specs. Strides of plain tensors are row-major; a
// blocked tensor's element (n, c, h, w) is at n * image + (c / block * H * W + h * W + w) * block +
// c % block.
typedef struct CgTensor {
    int32_t dtype, rank, block, pad_;
    IrDim dim[IR_MAX_RANK];
    int64_t image; // elements between images (axis 0); of the storage root for views in a concat
} CgTensor;
CgTensor cg_tensor(const IrValue *v);
int64_t cg_channels(const CgTensor *t);           // dim[1], static
int64_t cg_spatial(const CgTensor *t);            // product of dims 2.., static
bool cg_static_dims(const CgTensor *t, int from); // dims from axis `from` on do not depend on N

// A body whose operands were classified against the result. arg k >= 0 of a step is operand k of
// `in`; operand k's pointer is kernel argument first_arg + k.
typedef enum CgOperandKind {
    CG_OPERAND_FULL,    // same shape and layout as the result (image stride may differ)
    CG_OPERAND_CHANNEL, // [N|1,C,1,1] for a 4-D result, [M] or [1,M] for a matmul's: one per
                        // channel
    CG_OPERAND_SCALAR,  // one element, in memory
    CG_OPERAND_IMM,     // constant scalar, known now: in imm
    CG_OPERAND_GENERAL, // anything else that broadcasts: map only
} CgOperandKind;
typedef struct CgOperand {
    int32_t kind, dtype;
    double imm;
    CgTensor t;
} CgOperand;
enum { CG_MAX_OPERANDS = 12 };
typedef struct CgBody {
    int32_t n, n_in, first_arg, acc; // acc: dtype of IR_ACC
    int32_t packs, pad_;             // cg_body_packs()
    IrStep step[CG_MAX_STEPS];
    int32_t dtype[CG_MAX_STEPS]; // that a step computes in; what a cast casts
    CgOperand in[CG_MAX_OPERANDS];
} CgBody;

// Kernel arguments. Constants go through cg_arg_value too (stored plain in the weights section).
typedef struct CgArg {
    const IrValue *value; // or NULL:
    int64_t weights;      // offset from cg_pack(), or from cg_prepare():
    bool write, prepared;
    IrDim at; // what the kernel is given begins so many bytes behind
} CgArg;
CgArg cg_read(const IrValue *v);
CgArg cg_write(const IrValue *v);
CgArg cg_packed(int64_t offset);

// Takes the body `key` (PRE, THEN or BODY) of n into plain data; operand args are appended to
// args[*n_args...]. False, after reporting NYI, when it does not fit.
bool cg_body_init(CgProgram *p, const IrNode *n, IrAttrKey key, CgBody *body, CgArg *args,
                  int *n_args);
// The type of its result: of its last step, of IR_ACC where there is none.
IrDtype cg_body_dtype(const CgBody *body);
// Applies it to acc (vector or scalar; NULL for map). load(ctx, k) gives operand k, as its dtype is
// computed, where its kind is not IMM; loads are made on first use.
CgVal cg_body_emit(CgFn *f, const CgBody *body, CgVal acc, CgVal (*load)(void *ctx, CgFn *f, int k),
                   void *ctx);
// The largest magnitude of its argument `arg`, of operands that have at most in[k]; INFINITY: it
// may be anything, NaN among it. And that of an operand.
double cg_body_most(const CgBody *body, const double *in, int arg);
double cg_operand_most(IrProgram *ir, const IrValue *v);
// Are the results u8, rounded to the nearest of floats that are surely below CG_PACK_LIMIT, with a
// zero point of that type? Then cg_elem_pack() makes them of several vectors at once, of what
// cg_body_emit_float() gives.
bool cg_body_packs(const CgBody *body, CgNarrow *how);
CgVal cg_body_emit_float(CgFn *f, const CgBody *body, CgVal acc,
                         CgVal (*load)(void *ctx, CgFn *f, int k), void *ctx);
// Does it compute polynomials, or call functions? Such a body is emitted in a loop over vectors:
// once for each of a register tile, LLVM keeps constants, vectors and what is between on the stack.
bool cg_body_is_long(const CgBody *body);

// The index of the kernel (emit, spec): the same one for equal bytes. `name` becomes part of its
// symbol. weight: estimate of the work to compile it, to balance jobs (instructions, roughly).
int cg_kernel(CgProgram *p, const char *name, CgEmit emit, const void *spec, size_t size,
              int n_args, int weight);
// Appends a call. algo: for the profile, arena or literal string. flops may be {0,0}; bytes is
// computed from the args.
void cg_call(CgProgram *p, const IrNode *n, int kernel, int n_args, const CgArg *args,
             const char *algo, IrDim flops);
// Space in the weights section, 64-byte aligned. key names constant and packing: the second request
// for a key gets the same offset and *fresh = false; else the caller fills the returned bytes
// (zeroed) at once. Readable 64 bytes past the end.
void *cg_pack(CgProgram *p, const char *key, size_t bytes, int64_t *offset, bool *fresh);
// What the compiler makes of a constant's numbers: fill() puts n floats (or other words of 4 bytes)
// in order, from the constant's data to zeroed space for them; ctx is plain data.
typedef void CgFill(const void *ctx, const void *data, float *out);
typedef struct CgMake {
    CgFill *fill;
    const void *ctx;
    size_t ctx_size;
    IrConst *konst;
    int64_t n;
    IrDtype type; // that they are stored in: of f16 or bf16 fill() makes f32; else IR_F32
} CgMake;
void cg_make(IrProgram *ir, const CgMake *m, void *out); // out: zeroed
// As cg_pack(), but what is made takes space only if the program reads it once it is known what of
// the weights is prepared while compiling. Returns *m, copied, or that of the first request.
const CgMake *cg_pack_later(CgProgram *p, const char *key, const CgMake *m, int64_t *offset);
// Floats in the weights section, so, of type f32, or of f16 or bf16 where these hold all of the
// constant's numbers; see floats.c.
typedef struct CgFloats {
    CgArg arg;
    const CgMake *make;
} CgFloats;
CgFloats cg_pack_floats(CgProgram *p, const char *key, const CgMake *m); // whatever m->type
// As f32: a copy, where they are not. n is a multiple of IR_BLOCK.
CgArg cg_widened(CgProgram *p, const char *key, const CgFloats *x);
// What one call of a kernel makes of packed weights when a model is created, once, before all other
// calls: 64-byte aligned, read-only afterwards. The compiler can make it, too, the same bits, and
// does where the size allows (program/stored.c). The key is as cg_pack()'s; where this is *fresh
// the caller names the kernel at once by cg_init_call().
CgArg cg_prepare(CgProgram *p, const char *key, const CgMake *m, bool *fresh);
void cg_init_call(CgProgram *p, int kernel, CgArg from, CgArg to);
void cg_need(CgProgram *p, uint32_t feature); // HONE_CPU_*, of the CPU that it runs on; 0: nothing
void cg_scratch(CgProgram *p, int64_t bytes); // per thread; the maximum over all calls counts
const CgTarget *cg_target(const CgProgram *p);
IrArena *cg_arena(const CgProgram *p);
IrProgram *cg_ir(const CgProgram *p);
// Reports "NYI: ..." on the node; compilation fails after all nodes were lowered.
void cg_nyi(CgProgram *p, const IrNode *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// False, after reporting NYI, when an operand or the result is blocked.
bool cg_need_plain(CgProgram *p, const IrNode *n);

// The lowerings, one per name in the lower column of ops.def: void cg_lower_X(CgProgram *, const
// IrNode *)

#endif
