// Weights of f32 in the weights section. Where 16 bits hold all of a constant's numbers, as those
// of a file that stores f16 or bf16, they are stored so, in the order in which kernels read them;
// kernels read them from a copy that is widened when a model is created, but for those that
// prepare weights of their own then: these widen what they read.
#include "codegen/build/lower.h"

#include <string.h>

enum { FEW = 1024 }; // floats that are not worth a call when a model is created

static void narrow(IrDtype t, const float *from, int64_t n, void *out) {
    IrTensor to = {.dtype = t, .data = out};
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++)
        ir_tensor_set(&to, i, from[i]);
}

CgFloats cg_pack_floats(CgProgram *p, const char *key, int64_t n, IrConst *c, CgFill *fill,
                        const void *ctx) {
    IrDtype t = n < FEW ? IR_F32 : ir_const_narrowest(c);
    bool fresh;
    CgFloats x = {.type = t, .n = n};
    char *own = ir_sprintf(cg_arena(p), "%s %s", key, ir_dtype_name(t));
    int64_t offset;
    void *out = cg_pack(p, own, (size_t)(n * ir_dtype_bytes(t)), &offset, &fresh);
    const void *data = fresh ? ir_const_data(cg_ir(p), c) : NULL;
    x.arg = cg_packed(offset);
    if (fresh && t == IR_F32) {
        fill(ctx, data, out);
    } else if (fresh) {
        float *wide = ir_alloc_array(cg_arena(p), (size_t)n + 1, sizeof *wide);
        fill(ctx, data, wide);
        narrow(t, wide, n, out);
    }
    return x;
}

// ---------------------------------------------------------------- the copy

typedef struct WidenSpec {
    int64_t n;
    int32_t type, pad_;
} WidenSpec;

// Whole vectors: packed weights are blocks of IR_BLOCK lanes.
static void emit_widen(CgFn *f, const void *spec) {
    const WidenSpec *s = spec;
    IrDtype t = (IrDtype)s->type;
    CgVal lo, hi;
    CgLoop loop;
    cg_split(f, cg_i64(f, s->n / f->lanes), &lo, &hi);
    cg_for(f, &loop, cg_imulc(f, lo, f->lanes), cg_imulc(f, hi, f->lanes), f->lanes);
    CgVal x = cg_elem_load_n(f, t, cg_elem_at(f, t, f->arg[0], loop.iv), NULL);
    cg_store_v(f, x, cg_fat(f, f->arg[1], loop.iv));
    cg_end(f, &loop);
}

CgArg cg_widened(CgProgram *p, const char *key, const CgFloats *x) {
    bool fresh;
    if (x->type == IR_F32)
        return x->arg;
    char *own = ir_sprintf(cg_arena(p), "widened %s", key);
    CgArg to = cg_prepare(p, own, x->n * (int64_t)sizeof(float), &fresh);
    if (!fresh)
        return to;
    if (x->n % IR_BLOCK)
        ir_bug("codegen", NULL, "weights that are no whole vectors");
    WidenSpec spec;
    memset(&spec, 0, sizeof spec);
    spec.n = x->n;
    spec.type = (int32_t)x->type;
    CgArg args[] = {x->arg, to};
    args[1].write = true;
    cg_init_call(p, cg_kernel(p, "widen", emit_widen, &spec, sizeof spec, 2, 40), 2, args);
    return to;
}
