// cast (Cast-13), element by element.
#include "codegen/map/map.h"
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
