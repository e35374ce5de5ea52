// Weights of f32 in the weights section. Where 16 bits hold all of a constant's numbers, as those
// of a file that stores f16 or bf16, they are stored so, in the order in which kernels read them;
// kernels read them from a copy that is widened, but for those that prepare weights of their own:
// these widen what they read.
#include "codegen/build/lower.h"

#include <string.h>

enum { FEW = 1024 }; // floats that are not worth a call when a model is created

static void narrow(IrDtype t, const float *from, int64_t n, void *out) {
    IrTensor to = {.dtype = t, .data = out};
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++)
        ir_tensor_set(&to, i, from[i]);
}

void cg_make(IrProgram *ir, const CgMake *m, void *out) {
    const void *data = ir_const_data(ir, m->konst);
    if (m->type == IR_F32) {
        m->fill(m->ctx, data, out);
        return;
    }
    float *wide = ir_alloc_array(ir->arena, (size_t)m->n + 1, sizeof *wide);
    m->fill(m->ctx, data, wide);
    narrow(m->type, wide, m->n, out);
}

CgFloats cg_pack_floats(CgProgram *p, const char *key, const CgMake *m) {
    CgMake own = *m;
    own.type = m->n < FEW ? IR_F32 : ir_const_narrowest(m->konst);
    key = ir_sprintf(cg_arena(p), "%s %s", key, ir_dtype_name(own.type));
    int64_t offset;
    CgFloats x = {.make = cg_pack_later(p, key, &own, &offset)};
    x.arg = cg_packed(offset);
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
    CgMake wide = *x->make;
    if (wide.type == IR_F32)
        return x->arg;
    WidenSpec spec;
    memset(&spec, 0, sizeof spec);
    spec.n = wide.n;
    spec.type = (int32_t)wide.type;
    wide.type = IR_F32;
    CgArg to = cg_prepare(p, ir_sprintf(cg_arena(p), "widened %s", key), &wide, &fresh);
    if (fresh && spec.n % IR_BLOCK)
        ir_bug("codegen", NULL, "weights that are no whole vectors");
    if (fresh)
        cg_init_call(p, cg_kernel(p, "widen", emit_widen, &spec, sizeof spec, 2, 40), x->arg, to);
    return to;
}
