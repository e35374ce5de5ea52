// pad (Pad-18): constant, edge and reflect, with negative pads that crop. The result is walked in
// rows along its last padded dimension, whose elements are runs of the unpadded dimensions behind
// it: a row is a left border, a middle that is one copy, and a right border. Blocked tensors are
// [N, C/B, H, W, B], padded in H and W.
#include "codegen/build/nd.h"
#include "codegen/move/move.h"
#include <string.h>

typedef enum PadMode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT } PadMode;

typedef struct PadSpec {
    int32_t rank, dtype; // dims [0, rank - 1) are outer, rank - 1 is the row
    IrDim out[CG_ND_RANK], in[CG_ND_RANK];
    IrDim to_stride[CG_ND_RANK], from_stride[CG_ND_RANK];
    int64_t begin[CG_ND_RANK], end; // end: of the row
    IrDim run;                      // elements
    int64_t mode;
    double value;
} PadSpec;

// ---------------------------------------------------------------- kernel

static CgVal fold_index(CgFn *f, const PadSpec *s, CgVal i, CgVal size) {
    CgVal zero = cg_i64(f, 0), last = cg_iaddc(f, size, -1);
    if (s->mode == PAD_EDGE) {
        return cg_imin(f, cg_imax(f, i, zero), last);
    }
    CgVal folded = cg_imax(f, i, cg_isub(f, zero, i)); // |i|
    CgVal back = cg_isub(f, cg_imulc(f, last, 2), folded);
    return cg_imin(f, folded, back);
}

typedef struct PadRun {
    const PadSpec *spec;
    CgVal to, from; // element offsets; from NULL: fill
} PadRun;

static void move_vector(void *ctx, CgFn *f, CgVal i, CgVal n) {
    PadRun *r = ctx;
    IrDtype t = (IrDtype)r->spec->dtype;
    CgVal x = cg_elem_splat(f, t, r->spec->value);
    if (r->from) {
        x = cg_elem_load_n(f, t, cg_elem_at(f, t, f->arg[1], cg_iadd(f, r->from, i)), n);
    }
    cg_elem_store_n(f, t, x, cg_elem_at(f, t, f->arg[0], cg_iadd(f, r->to, i)), n);
}

// `len` elements, a copy or the constant.
static void move_run(CgFn *f, const PadSpec *s, CgVal to, CgVal from, CgVal len) {
    PadRun r = {s, to, from};
    int64_t fixed;
    if (cg_is_const(len, &fixed) && fixed == 0) {
        return;
    }
    cg_nd_vectors(f, len, 1, move_vector, &r);
}

// Columns [lo, hi) of the row, outside of the input.
static void emit_border(CgFn *f, const PadSpec *s, CgVal to, CgVal from, CgVal lo, CgVal hi) {
    int row = s->rank - 1;
    CgVal run = cg_dim(f, s->run);
    if (s->mode == PAD_CONSTANT) {
        move_run(f, s, cg_iadd(f, to, cg_imul(f, lo, run)), NULL,
                 cg_imul(f, cg_isub(f, hi, lo), run));
        return;
    }
    CgLoop loop;
    cg_for(f, &loop, lo, hi, 1);
    CgVal i = fold_index(f, s, cg_iaddc(f, loop.iv, -s->begin[row]), cg_dim(f, s->in[row]));
    move_run(f, s, cg_iadd(f, to, cg_imul(f, loop.iv, run)), cg_iadd(f, from, cg_imul(f, i, run)),
             run);
    cg_end(f, &loop);
}

static void emit_inner_row(CgFn *f, const PadSpec *s, CgVal to, CgVal from) {
    int row = s->rank - 1;
    int64_t begin = s->begin[row], cut = begin < 0 ? -begin : 0, cut_end = s->end < 0 ? -s->end : 0;
    CgVal zero = cg_i64(f, 0), run = cg_dim(f, s->run), width = cg_dim(f, s->out[row]);
    CgVal lo = cg_imin(f, cg_i64(f, begin > 0 ? begin : 0), width);
    CgVal count = cg_imax(f, cg_iaddc(f, cg_dim(f, s->in[row]), -cut - cut_end), zero);
    CgVal hi = cg_imin(f, cg_iadd(f, lo, count), width);
    emit_border(f, s, to, from, zero, lo);
    move_run(f, s, cg_iadd(f, to, cg_imul(f, lo, run)), cg_iadd(f, from, cg_imulc(f, run, cut)),
             cg_imul(f, cg_isub(f, hi, lo), run));
    emit_border(f, s, to, from, hi, width);
}

static void emit_pad(CgFn *f, const void *spec) {
    const PadSpec *s = spec;
    int row = s->rank - 1;
    CgVal rows = cg_i64(f, 1), lo, hi, index[CG_ND_RANK];
    for (int i = 0; i < row; i++) {
        rows = cg_imul(f, rows, cg_dim(f, s->out[i]));
    }
    CgLoop loop;
    cg_split(f, rows, &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    CgVal rest = loop.iv, to = cg_i64(f, 0), from = to, inside = LLVMConstInt(f->i1, 1, 0);
    for (int i = row - 1; i >= 0; i--) {
        cg_divmod(f, rest, cg_dim(f, s->out[i]), &rest, &index[i]);
        CgVal source = cg_iaddc(f, index[i], -s->begin[i]), size = cg_dim(f, s->in[i]);
        if (s->mode == PAD_CONSTANT) {
            inside = LLVMBuildAnd(f->b, inside, cg_icmp(f, LLVMIntULT, source, size), "");
        } else {
            source = fold_index(f, s, source, size);
        }
        to = cg_iadd(f, to, cg_stride(f, index[i], s->to_stride[i]));
        from = cg_iadd(f, from, cg_stride(f, source, s->from_stride[i]));
    }
    CgIf in;
    cg_if(f, &in, inside);
    emit_inner_row(f, s, to, from);
    cg_else(f, &in);
    if (s->mode == PAD_CONSTANT) {
        move_run(f, s, to, NULL, cg_imul(f, cg_dim(f, s->out[row]), cg_dim(f, s->run)));
    }
    cg_endif(f, &in);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- lowering

// Begins and ends in the tensor's own space, which has the lanes as one more dimension.
static int read_dims(const IrNode *n, PadSpec *s, int64_t *end) {
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    IrInts pad = ir_ints(n, IR_ATTR_PAD);
    int rank = cg_nd_sizes(&y, s->out);
    cg_nd_sizes(&x, s->in);
    cg_nd_strides(&y, s->to_stride);
    cg_nd_strides(&x, s->from_stride);
    for (int i = 0; i < rank; i++) {
        bool padded = i < x.rank && pad.n == 2 * x.rank;
        s->begin[i] = padded ? pad.v[i] : 0;
        end[i] = padded ? pad.v[x.rank + i] : 0;
    }
    return rank;
}

static bool read_mode(const IrNode *n, PadSpec *s) {
    static const char *const names[] = {"constant", "edge", "reflect"};
    const char *mode = ir_str(n, IR_ATTR_MODE, "constant");
    for (int i = 0; i < 3; i++) {
        if (strcmp(mode, names[i]) == 0) {
            s->mode = i;
            return true;
        }
    }
    return false;
}

void cg_lower_pad(CgProgram *p, const IrNode *n) {
    PadSpec s;
    memset(&s, 0, sizeof s);
    int64_t end[CG_ND_RANK] = {0};
    int rank = read_dims(n, &s, end), row = 0;
    if (ir_in(n, 0)->type.block != n->out[0]->type.block || !read_mode(n, &s)) {
        cg_nyi(p, n, "pad of this mode or layout");
        return;
    }
    for (int i = 0; i < rank; i++) {
        row = s.begin[i] || end[i] ? i : row;
        if (ir_dim_is(s.out[i], 0)) {
            return;
        }
    }
    if (rank == 0) { // a scalar: a row of one
        s.out[0] = s.in[0] = ir_dim(1);
    }
    s.run = ir_dim(1);
    for (int i = row + 1; i < rank; i++) {
        s.run = cg_nd_mul(s.run, s.out[i]);
        s.out[i] = s.in[i] = s.to_stride[i] = s.from_stride[i] = ir_dim(0);
    }
    s.rank = row + 1;
    s.end = end[row];
    s.dtype = (int32_t)n->out[0]->type.dtype;
    s.value = ir_float(n, IR_ATTR_VALUE, 0);
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "pad", emit_pad, &s, sizeof s, 2, 250);
    cg_call(p, n, k, 2, args, "pad", (IrDim){0, 0});
}
