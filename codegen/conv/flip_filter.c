// flip_filter: [O,I/g,KH,KW] -> [I,O/g,KH,KW], taps reversed in both axes, so that the gradient of
// a convolution's input is a convolution with the result. Runs every training step.
//
// The taps of one (o, i) lie side by side on both sides: they are one reversed vector or a few.
// Tiles of TILE x TILE pairs keep both sides' lines in L1. With one tap it is a transposition.
#include "codegen/move/move.h"
#include <string.h>

enum { TILE = 16 };

typedef struct Flip {
    int64_t groups, O, I; // O, I of a group
    int64_t taps;
} Flip;

// Taps of one pair: y[k] = x[taps - 1 - k]
static void reverse_taps(CgFn *f, const Flip *s, CgVal to, CgVal from) {
    for (int64_t k = 0; k < s->taps; k += f->lanes) {
        int n = s->taps - k < f->lanes ? (int)(s->taps - k) : f->lanes, index[64];
        CgVal x = cg_load_n(f, cg_fatc(f, from, s->taps - k - n), cg_i64(f, n));
        for (int l = 0; l < f->lanes; l++) {
            index[l] = l < n ? n - 1 - l : l;
        }
        cg_store_n(f, cg_shuffle(f, x, NULL, f->lanes, index), cg_fatc(f, to, k), cg_i64(f, n));
    }
}

static void emit_tile(CgFn *f, const Flip *s, CgVal group, CgVal i0, CgVal o0) {
    CgVal i1 = cg_imin(f, cg_iaddc(f, i0, TILE), cg_i64(f, s->I));
    CgVal o1 = cg_imin(f, cg_iaddc(f, o0, TILE), cg_i64(f, s->O));
    CgLoop i, o;
    cg_for(f, &i, i0, i1, 1);
    cg_for(f, &o, o0, o1, 1);
    CgVal to = cg_iadd(f, cg_imulc(f, group, s->I), i.iv);
    to = cg_iadd(f, cg_imulc(f, to, s->O), o.iv);
    CgVal from = cg_iadd(f, cg_imulc(f, group, s->O), o.iv);
    from = cg_iadd(f, cg_imulc(f, from, s->I), i.iv);
    reverse_taps(f, s, cg_fat(f, f->arg[0], cg_imulc(f, to, s->taps)),
                 cg_fat(f, f->arg[1], cg_imulc(f, from, s->taps)));
    cg_end(f, &o);
    cg_end(f, &i);
}

static void emit_flip(CgFn *f, const void *spec) {
    const Flip *s = spec;
    int64_t across = (s->O + TILE - 1) / TILE, down = (s->I + TILE - 1) / TILE;
    CgVal lo, hi;
    CgLoop tile;
    cg_split(f, cg_i64(f, s->groups * across * down), &lo, &hi);
    cg_for(f, &tile, lo, hi, 1);
    CgVal group = cg_idivc(f, tile.iv, across * down), rest = cg_iremc(f, tile.iv, across * down);
    CgVal i0 = cg_imulc(f, cg_idivc(f, rest, across), TILE);
    emit_tile(f, s, group, i0, cg_imulc(f, cg_iremc(f, rest, across), TILE));
    cg_end(f, &tile);
}

static void transpose(CgProgram *p, const IrNode *n, const Flip *s) {
    IrDim size[] = {ir_dim(s->groups), ir_dim(s->I), ir_dim(s->O)};
    IrDim to[] = {ir_dim(s->I * s->O), ir_dim(s->O), ir_dim(1)};
    IrDim from[] = {ir_dim(s->I * s->O), ir_dim(1), ir_dim(s->I)};
    CgNd nd;
    cg_nd_init(&nd, 3, size);
    cg_nd_add(&nd, to, ir_dim(0));
    cg_nd_add(&nd, from, ir_dim(0));
    cg_copy_nd(p, n, "flip_filter", &nd, IR_F32, cg_write(n->out[0]), cg_read(ir_in(n, 0)));
}

void cg_lower_flip_filter(CgProgram *p, const IrNode *n) {
    enum { MAX_TAPS = 4096 }; // unrolled, by vectors
    CgTensor x = cg_tensor(ir_in(n, 0));
    Flip s;
    memset(&s, 0, sizeof s);
    s.groups = ir_int(n, IR_ATTR_GROUP, 1);
    s.O = x.dim[0].c / s.groups;
    s.I = x.dim[1].c;
    s.taps = x.dim[2].c * x.dim[3].c;
    if (!cg_need_plain(p, n)) {
        return;
    }
    if (x.dtype != IR_F32 || s.taps > MAX_TAPS) {
        cg_nyi(p, n, "flip_filter of %s with %lld taps", ir_dtype_name((IrDtype)x.dtype),
               (long long)s.taps);
        return;
    }
    if (s.O * s.I * s.taps == 0) {
        return;
    }
    if (s.taps == 1) {
        transpose(p, n, &s);
        return;
    }
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "flip_filter", emit_flip, &s, sizeof s, 2, 100 + (int)s.taps);
    cg_call(p, n, k, 2, args, "flip_filter", (IrDim){0, 0});
}
