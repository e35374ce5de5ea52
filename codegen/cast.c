// cast (Cast-13) and dropout in training mode (Dropout-13), element by element.
#include "codegen/map.h"
#include "codegen/move.h"
#include "ir/random.h"
#include <string.h>

// ---------------------------------------------------------------- cast

typedef struct CastSpec {
    CgNd nd;
    int32_t from, to;
} CastSpec;

static CgVal saturate(CgFn *f, const char *name, CgVal x, LLVMTypeRef to) {
    LLVMTypeRef types[] = {to, LLVMTypeOf(x)};
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    CgVal fn = LLVMGetIntrinsicDeclaration(f->mod, id, types, 2);
    return LLVMBuildCall2(f->b, LLVMIntrinsicGetType(f->ctx, id, types, 2), fn, &x, 1, "");
}

// Floats to integers truncate and saturate, NaN is 0; integers wrap around; bool is x != 0.
static CgVal convert(CgFn *f, CgVal x, IrDtype from, IrDtype to) {
    bool from_float = ir_dtype_is_float(from), to_float = ir_dtype_is_float(to);
    LLVMTypeRef t = to == IR_F16 ? f->f32 : cg_dtype(f, to);
    if (to == IR_BOOL) {
        CgVal zero = LLVMConstNull(LLVMTypeOf(x));
        CgVal bit = from_float ? cg_fcmp(f, LLVMRealUNE, x, zero) : cg_icmp(f, LLVMIntNE, x, zero);
        return LLVMBuildZExt(f->b, bit, f->i8, "");
    }
    if (from_float && to_float) {
        return LLVMBuildFPCast(f->b, x, t, "");
    }
    if (from_float) {
        return saturate(f, cg_dtype_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat", x, t);
    }
    if (to_float) {
        return cg_dtype_signed(from) ? LLVMBuildSIToFP(f->b, x, t, "")
                                     : LLVMBuildUIToFP(f->b, x, t, "");
    }
    return LLVMBuildIntCast2(f->b, x, t, cg_dtype_signed(from), "");
}

static void emit_cast_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const CastSpec *s = ctx;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    CgVal x = cg_load_typed(f, (IrDtype)s->from, f->arg[1], cg_iadd(f, off[1], loop.iv));
    cg_store_typed(f, (IrDtype)s->to, convert(f, x, (IrDtype)s->from, (IrDtype)s->to), f->arg[0],
                   cg_iadd(f, off[0], loop.iv));
    cg_end(f, &loop);
}

static void emit_cast(CgFn *f, const void *spec) {
    cg_nd_for(f, &((const CastSpec *)spec)->nd, 1, 16, emit_cast_row, (void *)spec);
}

void cg_lower_cast(CgProgram *p, const IrNode *n) {
    CastSpec s;
    memset(&s, 0, sizeof s);
    IrDim elems, one = ir_dim(1);
    if (!cg_need_plain(p, n)) {
        return;
    }
    if (!ir_shape_elems(&n->out[0]->type.shape, &elems)) {
        cg_nyi(p, n, "a cast whose size is not affine in N");
        return;
    }
    cg_nd_init(&s.nd, 1, &elems);
    cg_nd_add(&s.nd, &one, ir_dim(0));
    cg_nd_add(&s.nd, &one, ir_dim(0));
    s.from = (int32_t)ir_in(n, 0)->type.dtype;
    s.to = (int32_t)n->out[0]->type.dtype;
    if (cg_nd_empty(&s.nd)) {
        return;
    }
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "cast", emit_cast, &s, sizeof s, 2, 60);
    cg_call(p, n, k, 2, args, "cast", (IrDim){0, 0});
}

// ---------------------------------------------------------------- dropout

// The third operand of the space has no memory: its offset is the element's row-major number.
typedef struct DropoutSpec {
    CgNd nd;
    uint64_t key, threshold;
    double scale;
} DropoutSpec;

static CgVal u64(CgFn *f, uint64_t x) {
    return LLVMConstInt(f->i64, x, 0);
}

static CgVal mix(CgFn *f, CgVal z) // ir_random_mix
{
    static const struct {
        unsigned shift;
        uint64_t factor;
    } round[] = {{30, IR_RANDOM_MUL1}, {27, IR_RANDOM_MUL2}};
    for (int i = 0; i < 2; i++) {
        z = LLVMBuildXor(f->b, z, LLVMBuildLShr(f->b, z, u64(f, round[i].shift), ""), "");
        z = LLVMBuildMul(f->b, z, u64(f, round[i].factor), "");
    }
    return LLVMBuildXor(f->b, z, LLVMBuildLShr(f->b, z, u64(f, 31), ""), "");
}

static void emit_dropout_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const DropoutSpec *s = ctx;
    const IrDim *stride = s->nd.dim[s->nd.rank - 1].stride;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    CgVal at[3];
    for (int k = 0; k < 3; k++) {
        at[k] = cg_iadd(f, off[k], cg_stride(f, loop.iv, stride[k]));
    }
    CgVal i = LLVMBuildAdd(f->b, at[2], u64(f, 1), "");
    CgVal z =
        LLVMBuildAdd(f->b, u64(f, s->key), LLVMBuildMul(f->b, i, u64(f, IR_RANDOM_STEP), ""), "");
    CgVal random = LLVMBuildLShr(f->b, mix(f, z), u64(f, 32), "");
    CgVal kept = cg_icmp(f, LLVMIntUGE, random, u64(f, s->threshold));
    CgVal x = cg_fmul(f, cg_load_f(f, cg_fat(f, f->arg[1], at[1])), cg_f(f, s->scale));
    cg_store(f, cg_select(f, kept, x, cg_f(f, 0)), cg_fat(f, f->arg[0], at[0]), 4);
    cg_end(f, &loop);
}

static void emit_dropout(CgFn *f, const void *spec) {
    cg_nd_for(f, &((const DropoutSpec *)spec)->nd, 1, 16, emit_dropout_row, (void *)spec);
}

void cg_lower_dropout(CgProgram *p, const IrNode *n) {
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]), plain = y;
    if (x.dtype != IR_F32 || x.block != y.block) {
        cg_nyi(p, n, "dropout of %s", ir_dtype_name((IrDtype)x.dtype));
        return;
    }
    DropoutSpec s;
    memset(&s, 0, sizeof s);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    cg_nd_init(&s.nd, cg_nd_sizes(&y, size), size);
    cg_nd_strides(&y, stride);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    cg_nd_strides(&x, stride);
    cg_nd_add(&s.nd, stride, ir_dim(0));
    plain.block = 0;
    cg_nd_strides(&plain, stride);
    if (y.block) { // lanes past C draw the numbers of others, which nobody sees
        stride[y.rank] = stride[1];
        stride[1] = cg_nd_mul(stride[1], ir_dim(y.block));
    }
    cg_nd_add(&s.nd, stride, ir_dim(0));
    if (cg_nd_empty(&s.nd)) {
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    double ratio = ir_float(n, IR_ATTR_RATIO, 0.5);
    s.scale = 1 / (1 - ratio);
    s.key = ir_random_key((uint64_t)ir_int(n, IR_ATTR_SEED, 0));
    s.threshold = ir_random_threshold(ratio);
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "dropout", emit_dropout, &s, sizeof s, 2, 80);
    cg_call(p, n, k, 2, args, "dropout", (IrDim){0, 0});
}
