// The loop-and-vector builder: thin, typed, without state beyond CgFn. Loops are rotated
// (guard, body, latch) and carry their accumulators in phis, so that no LLVM loop pass is needed.
#include "codegen/build/builder.h"

#include <string.h>

// ---------------------------------------------------------------- the function

void cg_function_attr(CgFn *f, const char *key, const char *value) {
    LLVMAttributeRef a = LLVMCreateStringAttribute(f->ctx, key, (unsigned)strlen(key), value,
                                                   (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(f->fn, (unsigned)LLVMAttributeFunctionIndex, a);
}

void cg_use(CgFn *f, uint32_t feature) {
    uint64_t bit = feature ? UINT64_C(1) << feature : 0;
    if (!(bit & ~f->features))
        return;
    f->features |= bit;
    cg_function_attr(f, "target-features", cg_target_features(f->target, f->arena, f->features));
}

// ---------------------------------------------------------------- integers

CgVal cg_i64(CgFn *f, int64_t x) {
    return LLVMConstInt(f->i64, (uint64_t)x, 1);
}
CgVal cg_i32(CgFn *f, int32_t x) {
    return LLVMConstInt(f->i32, (uint32_t)x, 1);
}
CgVal cg_dim(CgFn *f, IrDim d) {
    return d.n == 0 ? cg_i64(f, d.c) : cg_iaddc(f, cg_imulc(f, f->N, d.n), d.c);
}
CgVal cg_iadd(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildNSWAdd(f->b, a, b, "");
}
CgVal cg_isub(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildNSWSub(f->b, a, b, "");
}
CgVal cg_imul(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildNSWMul(f->b, a, b, "");
}
CgVal cg_iaddc(CgFn *f, CgVal a, int64_t c) {
    return c == 0 ? a : cg_iadd(f, a, cg_i64(f, c));
}
CgVal cg_imulc(CgFn *f, CgVal a, int64_t c) {
    return c == 1 ? a : cg_imul(f, a, cg_i64(f, c));
}
CgVal cg_idivc(CgFn *f, CgVal a, int64_t c) {
    return c == 1 ? a : LLVMBuildUDiv(f->b, a, cg_i64(f, c), "");
}
CgVal cg_iremc(CgFn *f, CgVal a, int64_t c) {
    return c == 1 ? cg_i64(f, 0) : LLVMBuildURem(f->b, a, cg_i64(f, c), "");
}
CgVal cg_icmp(CgFn *f, LLVMIntPredicate p, CgVal a, CgVal b) {
    return LLVMBuildICmp(f->b, p, a, b, "");
}
CgVal cg_imin(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildSelect(f->b, cg_icmp(f, LLVMIntSLT, a, b), a, b, "");
}
CgVal cg_imax(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildSelect(f->b, cg_icmp(f, LLVMIntSGT, a, b), a, b, "");
}

bool cg_is_const(CgVal v, int64_t *x) {
    if (!LLVMIsAConstantInt(v)) {
        return false;
    }
    *x = LLVMConstIntGetSExtValue(v);
    return true;
}

// ---------------------------------------------------------------- control

static LLVMBasicBlockRef new_block(CgFn *f, const char *name) {
    return LLVMAppendBasicBlockInContext(f->ctx, f->fn, name);
}

// lo < hi is known to hold
static bool surely_runs(CgVal lo, CgVal hi) {
    return LLVMIsAConstantInt(lo) && LLVMIsAConstantInt(hi) &&
           LLVMConstIntGetSExtValue(lo) < LLVMConstIntGetSExtValue(hi);
}

void cg_for_carry(CgFn *f, CgLoop *loop, CgVal lo, CgVal hi, int64_t step, int n, CgVal *carry) {
    if (n > CG_MAX_CARRY)
        ir_bug("builder", NULL, "a loop carries %d values", n);
    loop->hi = hi;
    loop->step = step;
    loop->n_carry = n;
    loop->pre = LLVMGetInsertBlock(f->b);
    loop->body = new_block(f, "loop");
    loop->exit = new_block(f, "done");
    loop->guard = NULL;
    if (surely_runs(lo, hi)) {
        LLVMBuildBr(f->b, loop->body);
    } else {
        loop->guard = loop->pre;
        LLVMBuildCondBr(f->b, cg_icmp(f, LLVMIntSLT, lo, hi), loop->body, loop->exit);
    }
    LLVMPositionBuilderAtEnd(f->b, loop->body);
    loop->iv = LLVMBuildPhi(f->b, f->i64, "i");
    LLVMAddIncoming(loop->iv, &lo, &loop->pre, 1);
    for (int i = 0; i < n; i++) {
        loop->init[i] = carry[i];
        loop->phi[i] = LLVMBuildPhi(f->b, LLVMTypeOf(carry[i]), "");
        LLVMAddIncoming(loop->phi[i], &carry[i], &loop->pre, 1);
        carry[i] = loop->phi[i];
    }
}

void cg_end_carry(CgFn *f, CgLoop *loop, CgVal *carry) {
    CgVal next = cg_iaddc(f, loop->iv, loop->step);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(f->b);
    LLVMBuildCondBr(f->b, cg_icmp(f, LLVMIntSLT, next, loop->hi), loop->body, loop->exit);
    LLVMAddIncoming(loop->iv, &next, &latch, 1);
    LLVMMoveBasicBlockAfter(loop->exit, latch);
    LLVMPositionBuilderAtEnd(f->b, loop->exit);
    for (int i = 0; i < loop->n_carry; i++) {
        LLVMAddIncoming(loop->phi[i], &carry[i], &latch, 1);
        CgVal out = LLVMBuildPhi(f->b, LLVMTypeOf(carry[i]), "");
        LLVMAddIncoming(out, &carry[i], &latch, 1);
        if (loop->guard)
            LLVMAddIncoming(out, &loop->init[i], &loop->guard, 1);
        carry[i] = out;
    }
}

void cg_for(CgFn *f, CgLoop *loop, CgVal lo, CgVal hi, int64_t step) {
    cg_for_carry(f, loop, lo, hi, step, 0, NULL);
}
void cg_end(CgFn *f, CgLoop *loop) {
    cg_end_carry(f, loop, NULL);
}

void cg_if(CgFn *f, CgIf *s, CgVal cond) {
    s->then = new_block(f, "then");
    s->other = new_block(f, "else");
    s->merge = new_block(f, "endif");
    s->has_else = false;
    LLVMBuildCondBr(f->b, cond, s->then, s->other);
    LLVMPositionBuilderAtEnd(f->b, s->then);
}
void cg_else(CgFn *f, CgIf *s) {
    LLVMBuildBr(f->b, s->merge);
    s->has_else = true;
    LLVMPositionBuilderAtEnd(f->b, s->other);
}
void cg_endif(CgFn *f, CgIf *s) {
    LLVMBuildBr(f->b, s->merge);
    if (!s->has_else) {
        LLVMPositionBuilderAtEnd(f->b, s->other);
        LLVMBuildBr(f->b, s->merge);
    }
    LLVMMoveBasicBlockAfter(s->merge, LLVMGetInsertBlock(f->b));
    LLVMPositionBuilderAtEnd(f->b, s->merge);
}

void cg_split(CgFn *f, CgVal total, CgVal *lo, CgVal *hi) {
    *lo = LLVMBuildUDiv(f->b, cg_imul(f, total, f->tid), f->nth, "lo");
    *hi = LLVMBuildUDiv(f->b, cg_imul(f, total, cg_iaddc(f, f->tid, 1)), f->nth, "hi");
}

void cg_divmod(CgFn *f, CgVal index, CgVal d, CgVal *q, CgVal *r) {
    *q = LLVMBuildUDiv(f->b, index, d, "");
    *r = cg_isub(f, index, cg_imul(f, *q, d));
}

static void set_lanes(CgFn *f, int lanes, CgVal lane0) {
    f->lanes = lanes;
    f->lane0 = lane0;
    f->vec = LLVMVectorType(f->f32, (unsigned)lanes);
    f->ivec = LLVMVectorType(f->i32, (unsigned)lanes);
}

int cg_parts(const CgFn *f) {
    return ir_parts(&f->target->machine);
}

void cg_part(CgFn *f, int k) {
    int lanes = IR_BLOCK / cg_parts(f);
    set_lanes(f, lanes, lanes == IR_BLOCK ? NULL : cg_i64(f, (int64_t)k * lanes));
}

void cg_whole(CgFn *f) {
    set_lanes(f, IR_BLOCK, NULL);
}

void cg_for_parts(CgFn *f, CgLoop *loop) {
    int lanes = IR_BLOCK / cg_parts(f);
    if (lanes == IR_BLOCK)
        return;
    cg_for(f, loop, cg_i64(f, 0), cg_i64(f, IR_BLOCK), lanes);
    set_lanes(f, lanes, loop->iv);
}

void cg_end_parts(CgFn *f, CgLoop *loop) {
    if (!f->lane0)
        return;
    cg_end(f, loop);
    cg_whole(f);
}

CgVal cg_slot(CgFn *f, LLVMTypeRef t) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(f->b), entry = LLVMGetEntryBasicBlock(f->fn);
    LLVMPositionBuilder(f->b, entry, LLVMGetFirstInstruction(entry));
    CgVal slot = LLVMBuildAlloca(f->b, t, "");
    LLVMPositionBuilderAtEnd(f->b, here);
    return slot;
}

CgVal cg_slot_of(CgFn *f, CgVal x) {
    CgVal slot = cg_slot(f, f->i64);
    cg_set(f, slot, x);
    return slot;
}

CgVal cg_get(CgFn *f, CgVal slot) {
    return cg_load(f, f->i64, slot, 8);
}

void cg_set(CgFn *f, CgVal slot, CgVal x) {
    cg_store(f, x, slot, 8);
}

// ---------------------------------------------------------------- memory

CgVal cg_at(CgFn *f, LLVMTypeRef elem, CgVal base, CgVal index) {
    return LLVMBuildInBoundsGEP2(f->b, elem, base, &index, 1, "");
}
CgVal cg_fat(CgFn *f, CgVal base, CgVal index) {
    return cg_at(f, f->f32, base, index);
}
CgVal cg_fatc(CgFn *f, CgVal base, int64_t index) {
    return index == 0 ? base : cg_fat(f, base, cg_i64(f, index));
}
static CgVal skip_parts(CgFn *f, CgVal p) {
    return f->lane0 ? cg_fat(f, p, f->lane0) : p;
}

CgVal cg_block(CgFn *f, CgVal base, CgVal index) {
    return skip_parts(f, cg_fat(f, base, cg_imulc(f, index, IR_BLOCK)));
}

CgVal cg_blockc(CgFn *f, CgVal base, int64_t index) {
    return skip_parts(f, cg_fatc(f, base, index * IR_BLOCK));
}

CgVal cg_load(CgFn *f, LLVMTypeRef t, CgVal p, unsigned align) {
    CgVal x = LLVMBuildLoad2(f->b, t, p, "");
    LLVMSetAlignment(x, align);
    return x;
}
void cg_store(CgFn *f, CgVal x, CgVal p, unsigned align) {
    LLVMSetAlignment(LLVMBuildStore(f->b, x, p), align);
}

CgVal cg_call_intrinsic(CgFn *f, const char *name, int n_types, LLVMTypeRef *types, int n,
                        CgVal *args) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (id == 0)
        ir_bug("builder", NULL, "no LLVM intrinsic %s", name);
    CgVal fn = LLVMGetIntrinsicDeclaration(f->mod, id, types, (size_t)n_types);
    return LLVMBuildCall2(f->b, LLVMIntrinsicGetType(f->ctx, id, types, (size_t)n_types), fn, args,
                          (unsigned)n, "");
}

void cg_fence(CgFn *f) {
    static const char name[] = "llvm.codeview.annotation";
    unsigned id = LLVMLookupIntrinsicID(name, sizeof name - 1);
    CgVal arg = LLVMMetadataAsValue(f->ctx, LLVMMDNodeInContext2(f->ctx, NULL, 0));
    LLVMBuildCall2(f->b, LLVMIntrinsicGetType(f->ctx, id, NULL, 0),
                   LLVMGetIntrinsicDeclaration(f->mod, id, NULL, 0), &arg, 1, "");
}

static void prefetch(CgFn *f, CgVal p, bool write, int locality) {
    CgVal args[] = {p, cg_i32(f, write), cg_i32(f, locality), cg_i32(f, 1)};
    cg_call_intrinsic(f, "llvm.prefetch", 1, &f->ptr, 4, args);
}
void cg_prefetch(CgFn *f, CgVal p, int locality) {
    prefetch(f, p, false, locality);
}
void cg_prefetch_write(CgFn *f, CgVal p) {
    prefetch(f, p, true, 3);
}

// ---------------------------------------------------------------- floats

CgVal cg_f(CgFn *f, double x) {
    return LLVMConstReal(f->f32, x);
}
CgVal cg_v(CgFn *f, double x) {
    return cg_splat(f, cg_f(f, x));
}

CgVal cg_like(CgFn *f, CgVal shape, double x) {
    LLVMTypeRef t = LLVMTypeOf(shape);
    bool vector = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
    CgVal c = LLVMConstReal(vector ? LLVMGetElementType(t) : t, x);
    return vector ? cg_splat(f, c) : c;
}

CgVal cg_int_like(CgVal shape, uint64_t c) {
    LLVMTypeRef t = LLVMTypeOf(shape);
    if (LLVMGetTypeKind(t) != LLVMVectorTypeKind)
        return LLVMConstInt(t, c, 0);
    CgVal lane[64];
    unsigned n = LLVMGetVectorSize(t);
    for (unsigned i = 0; i < n; i++)
        lane[i] = LLVMConstInt(LLVMGetElementType(t), c, 0);
    return LLVMConstVector(lane, n);
}

CgVal cg_splat(CgFn *f, CgVal scalar) {
    if (LLVMIsConstant(scalar)) {
        CgVal lane[64];
        for (int i = 0; i < f->lanes; i++)
            lane[i] = scalar;
        return LLVMConstVector(lane, (unsigned)f->lanes);
    }
    LLVMTypeRef t = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)f->lanes);
    CgVal one = LLVMBuildInsertElement(f->b, LLVMGetPoison(t), scalar, cg_i32(f, 0), "");
    return LLVMBuildShuffleVector(f->b, one, LLVMGetPoison(t),
                                  LLVMConstNull(LLVMVectorType(f->i32, (unsigned)f->lanes)), "");
}

CgVal cg_fadd(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildFAdd(f->b, a, b, "");
}
CgVal cg_fsub(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildFSub(f->b, a, b, "");
}
CgVal cg_fmul(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildFMul(f->b, a, b, "");
}
CgVal cg_fdiv(CgFn *f, CgVal a, CgVal b) {
    return LLVMBuildFDiv(f->b, a, b, "");
}

CgVal cg_intrinsic(CgFn *f, const char *name, int n, CgVal *args) {
    LLVMTypeRef t = LLVMTypeOf(args[0]);
    return cg_call_intrinsic(f, name, 1, &t, n, args);
}

CgVal cg_fma(CgFn *f, CgVal a, CgVal b, CgVal c) {
    CgVal args[] = {a, b, c};
    return f->target->machine.fma ? cg_intrinsic(f, "llvm.fma", 3, args)
                                  : cg_fadd(f, cg_fmul(f, a, b), c);
}

CgVal cg_fcmp(CgFn *f, LLVMRealPredicate p, CgVal a, CgVal b) {
    return LLVMBuildFCmp(f->b, p, a, b, "");
}
CgVal cg_select(CgFn *f, CgVal c, CgVal a, CgVal b) {
    return LLVMBuildSelect(f->b, c, a, b, "");
}
CgVal cg_fmax(CgFn *f, CgVal a, CgVal b) {
    return cg_select(f, cg_fcmp(f, LLVMRealOGT, b, a), b, a);
}
CgVal cg_fmin(CgFn *f, CgVal a, CgVal b) {
    return cg_select(f, cg_fcmp(f, LLVMRealOLT, b, a), b, a);
}

CgVal cg_shuffle(CgFn *f, CgVal a, CgVal b, int n, const int *index) {
    CgVal lane[64];
    for (int i = 0; i < n; i++)
        lane[i] = index[i] < 0 ? LLVMGetPoison(f->i32) : cg_i32(f, index[i]);
    return LLVMBuildShuffleVector(f->b, a, b ? b : LLVMGetPoison(LLVMTypeOf(a)),
                                  LLVMConstVector(lane, (unsigned)n), "");
}

// Folds the upper half onto the lower until one lane is left.
static CgVal fold_lanes(CgFn *f, CgVal v, CgVal (*op)(CgFn *, CgVal, CgVal)) {
    for (int n = f->lanes / 2; n >= 1; n /= 2) {
        int low[64], high[64];
        for (int i = 0; i < n; i++) {
            low[i] = i;
            high[i] = i + n;
        }
        v = op(f, cg_shuffle(f, v, NULL, n, low), cg_shuffle(f, v, NULL, n, high));
    }
    return LLVMBuildExtractElement(f->b, v, cg_i32(f, 0), "");
}
CgVal cg_sum_lanes(CgFn *f, CgVal v) {
    return fold_lanes(f, v, cg_fadd);
}
CgVal cg_max_lanes(CgFn *f, CgVal v) {
    return fold_lanes(f, v, cg_fmax);
}

LLVMTypeRef cg_dtype(CgFn *f, IrDtype t) {
    if (t == IR_F32)
        return f->f32;
    if (t == IR_F64)
        return f->f64;
    return LLVMIntTypeInContext(f->ctx, (unsigned)ir_dtype_bytes(t) * 8);
}
