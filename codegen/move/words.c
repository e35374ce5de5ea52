// A plain tensor of a few channels as blocks of one or two words of 4 bytes a pixel: 4 channels of
// u8, i8 or 16 bits, nChw4c, words being what a dot product takes at a time.
//
//   %y: u8[N,3,224,224]{nChw4c} = reorder %x
//
// A vector of pixels is read from each channel and put together by shifts; absent channels are 0.
#include "codegen/move/move.h"
#include <string.h>

enum { WORD = 4, MAX_WORDS = 2 }; // bytes; to a pixel

typedef struct WordSpec {
    CgNd nd; // blocks and pixels of images: y and x in elements
    int64_t plane;
    int32_t dtype, channels, block, pad_;
} WordSpec;

typedef struct WordRun {
    const WordSpec *spec;
    CgVal to, from; // the first pixel's words; its first channel
} WordRun;

static CgVal widen(CgFn *f, CgVal x, LLVMTypeRef words, unsigned shift) {
    x = LLVMBuildZExt(f->b, x, words, "");
    return shift ? LLVMBuildShl(f->b, x, cg_int_like(x, shift), "") : x;
}

// Word k of pixel i, or of the vector of pixels from it on
static CgVal make_word(CgFn *f, const WordRun *r, CgVal i, int k, bool vector) {
    const WordSpec *s = r->spec;
    IrDtype t = (IrDtype)s->dtype;
    LLVMTypeRef words = vector ? f->ivec : f->i32;
    CgVal word = LLVMConstNull(words), zero = cg_i64(f, 0);
    int n = WORD / ir_dtype_bytes(t);
    for (int c = k * n; c < (k + 1) * n && c < s->channels; c++) {
        CgVal p = cg_elem_at(f, t, r->from, cg_iaddc(f, i, c * s->plane));
        CgVal x = vector ? cg_elem_load_n(f, t, p, NULL) : cg_elem_load(f, t, p, zero);
        x = widen(f, x, words, (unsigned)(8 * ir_dtype_bytes(t) * (c % n)));
        word = c > k * n ? LLVMBuildOr(f->b, word, x, "") : x;
    }
    return word;
}

// Lanes [from, from + lanes / 2) of a and b in turn
static CgVal interleave(CgFn *f, CgVal a, CgVal b, int from) {
    int index[64];
    for (int i = 0; i < f->lanes; i++)
        index[i] = from + i / 2 + i % 2 * f->lanes;
    return cg_shuffle(f, a, b, f->lanes, index);
}

static void emit_words(CgFn *f, const WordRun *r, CgVal i, bool vector) {
    int n = r->spec->block * ir_dtype_bytes((IrDtype)r->spec->dtype) / WORD;
    CgVal word[MAX_WORDS], to = cg_at(f, f->i32, r->to, cg_imulc(f, i, n));
    for (int k = 0; k < n; k++)
        word[k] = make_word(f, r, i, k, vector);
    if (vector && n == MAX_WORDS) {
        CgVal low = interleave(f, word[0], word[1], 0);
        word[1] = interleave(f, word[0], word[1], f->lanes / 2);
        word[0] = low;
    }
    for (int k = 0; k < n; k++)
        cg_store(f, word[k], cg_at(f, f->i32, to, cg_i64(f, vector ? k * f->lanes : k)), WORD);
}

static void emit_pixels(CgFn *f, const WordRun *r, CgVal lo, CgVal hi, bool vector) {
    CgLoop loop;
    cg_for(f, &loop, lo, hi, vector ? f->lanes : 1);
    emit_words(f, r, loop.iv, vector);
    cg_end(f, &loop);
}

static void emit_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const WordSpec *s = ctx;
    IrDtype t = (IrDtype)s->dtype;
    WordRun r = {s, cg_elem_at(f, t, f->arg[0], off[0]), cg_elem_at(f, t, f->arg[1], off[1])};
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
    int64_t bytes = y.block * ir_dtype_bytes(t);
    if (x.block || (bytes != WORD && bytes != MAX_WORDS * WORD) || channels < 1 ||
        channels > y.block)
        return false;
    WordSpec s;
    memset(&s, 0, sizeof s);
    IrDim size[] = {y.dim[0], ir_dim(pixels)};
    IrDim to[] = {ir_dim(y.image), ir_dim(y.block)}, from[] = {ir_dim(x.image), ir_dim(1)};
    cg_nd_init(&s.nd, 2, size);
    cg_nd_add(&s.nd, to, ir_dim(0));
    cg_nd_add(&s.nd, from, ir_dim(0));
    if (cg_nd_empty(&s.nd))
        return true;
    s.plane = pixels;
    s.dtype = (int32_t)t;
    s.channels = (int32_t)channels;
    s.block = (int32_t)y.block;
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "words", emit_reorder, &s, sizeof s, 2, 60);
    cg_call(p, n, k, 2, args, "reorder", (IrDim){0, 0});
    return true;
}
