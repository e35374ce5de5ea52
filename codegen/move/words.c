// A plain tensor of a few channels as blocks that are one word of 4 bytes a pixel: 4 channels of u8
// or i8, nChw4c, which is what a dot product takes at a time.
//
//   %y: u8[N,3,224,224]{nChw4c} = reorder %x
//
// A vector of pixels is read from each channel and put together by shifts; absent channels are 0.
#include "codegen/move/move.h"
#include <string.h>

enum { WORD = 4 }; // bytes

typedef struct WordSpec {
    CgNd nd; // blocks and pixels of images: y in words, x in elements
    int64_t plane;
    int32_t dtype, channels;
} WordSpec;

typedef struct WordRun {
    const WordSpec *spec;
    CgVal to, from; // the first pixel's word; its first channel
} WordRun;

static CgVal widen(CgFn *f, CgVal x, LLVMTypeRef words, unsigned shift) {
    x = LLVMBuildZExt(f->b, x, words, "");
    return shift ? LLVMBuildShl(f->b, x, cg_int_like(x, shift), "") : x;
}

static void emit_words(CgFn *f, const WordRun *r, CgVal i, bool vector) {
    const WordSpec *s = r->spec;
    IrDtype t = (IrDtype)s->dtype;
    LLVMTypeRef words = vector ? f->ivec : f->i32;
    CgVal word = NULL, zero = cg_i64(f, 0);
    for (int c = 0; c < s->channels; c++) {
        CgVal p = cg_elem_at(f, t, r->from, cg_iaddc(f, i, c * s->plane));
        CgVal x = vector ? cg_elem_load_n(f, t, p, NULL) : cg_elem_load(f, t, p, zero);
        x = widen(f, x, words, (unsigned)(8 * ir_dtype_bytes(t) * c));
        word = word ? LLVMBuildOr(f->b, word, x, "") : x;
    }
    cg_store(f, word, cg_at(f, f->i32, r->to, i), WORD);
}

static void emit_pixels(CgFn *f, const WordRun *r, CgVal lo, CgVal hi, bool vector) {
    CgLoop loop;
    cg_for(f, &loop, lo, hi, vector ? f->lanes : 1);
    emit_words(f, r, loop.iv, vector);
    cg_end(f, &loop);
}

static void emit_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const WordSpec *s = ctx;
    WordRun r = {s, cg_at(f, f->i32, f->arg[0], off[0]),
                 cg_elem_at(f, (IrDtype)s->dtype, f->arg[1], off[1])};
    CgVal main = cg_imulc(f, cg_idivc(f, len, f->lanes), f->lanes);
    emit_pixels(f, &r, cg_i64(f, 0), main, true);
    emit_pixels(f, &r, main, len, false);
}

static void emit_reorder(CgFn *f, const void *spec) {
    cg_nd_for(f, &((const WordSpec *)spec)->nd, 1, f->lanes, emit_row, (void *)spec);
}

bool cg_lower_words(CgProgram *p, const IrNode *n) {
    CgTensor x = cg_tensor(ir_in(n, 0)), y = cg_tensor(n->out[0]);
    IrDtype t = cg_elem_bits((IrDtype)y.dtype);
    int64_t channels = cg_channels(&y), pixels = cg_spatial(&y);
    if (x.block || !y.block || y.block * ir_dtype_bytes(t) != WORD || channels < 1 ||
        channels > y.block)
        return false;
    WordSpec s;
    memset(&s, 0, sizeof s);
    IrDim size[] = {y.dim[0], ir_dim(pixels)};
    IrDim to[] = {ir_dim(y.image / y.block), ir_dim(1)}, from[] = {ir_dim(x.image), ir_dim(1)};
    cg_nd_init(&s.nd, 2, size);
    cg_nd_add(&s.nd, to, ir_dim(0));
    cg_nd_add(&s.nd, from, ir_dim(0));
    if (cg_nd_empty(&s.nd))
        return true;
    s.plane = pixels;
    s.dtype = (int32_t)t;
    s.channels = (int32_t)channels;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "words", emit_reorder, &s, sizeof s, 2, 60);
    cg_call(p, n, k, 2, args, "reorder", (IrDim){0, 0});
    return true;
}
