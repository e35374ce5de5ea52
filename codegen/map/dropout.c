// dropout in training mode (Dropout-13): element i of the plain tensor is kept and divided by
// 1 - ratio, or 0, by its random number, which ir/random.h makes of i, the attribute `seed` and,
// where there is one, the operand that is given at run time: the same for any number of threads and
// any layout, and again for the gradient.
#include "codegen/build/nd.h"
#include "ir/random.h"
#include <string.h>

// The third operand of the space has no memory: its offset is the element's row-major number.
typedef struct DropoutSpec {
    CgNd nd;
    uint64_t key, threshold;
    double scale;
    int32_t seeded, pad_; // argument 2 is the seed
} DropoutSpec;

typedef struct DropoutRun {
    const DropoutSpec *spec;
    CgVal key;
} DropoutRun;

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
    const DropoutRun *r = ctx;
    const DropoutSpec *s = r->spec;
    const IrDim *stride = s->nd.dim[s->nd.rank - 1].stride;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), len, 1);
    CgVal at[3];
    for (int k = 0; k < 3; k++) {
        at[k] = cg_iadd(f, off[k], cg_stride(f, loop.iv, stride[k]));
    }
    CgVal i = LLVMBuildAdd(f->b, at[2], u64(f, 1), "");
    CgVal z = LLVMBuildAdd(f->b, r->key, LLVMBuildMul(f->b, i, u64(f, IR_RANDOM_STEP), ""), "");
    CgVal random = LLVMBuildLShr(f->b, mix(f, z), u64(f, 32), "");
    CgVal kept = cg_icmp(f, LLVMIntUGE, random, u64(f, s->threshold));
    CgVal x = cg_fmul(f, cg_load_f(f, cg_fat(f, f->arg[1], at[1])), cg_f(f, s->scale));
    cg_store(f, cg_select(f, kept, x, cg_f(f, 0)), cg_fat(f, f->arg[0], at[0]), 4);
    cg_end(f, &loop);
}

static void emit_dropout(CgFn *f, const void *spec) {
    const DropoutSpec *s = spec;
    DropoutRun r = {s, u64(f, s->key)};
    if (s->seeded) { // ir_random_key_with
        CgVal given = cg_load(f, f->i64, f->arg[2], 8);
        r.key = mix(f, LLVMBuildXor(f->b, r.key, given, ""));
    }
    cg_nd_for(f, &s->nd, 1, 16, emit_dropout_row, &r);
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
    s.seeded = ir_in(n, 1) != NULL;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0)), cg_read(ir_in(n, 1))};
    int k = cg_kernel(p, "dropout", emit_dropout, &s, sizeof s, 2 + s.seeded, 80);
    cg_call(p, n, k, 2 + s.seeded, args, "dropout", (IrDim){0, 0});
}
