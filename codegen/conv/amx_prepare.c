// Weights in the order in which products of matrix tiles read them (cg_conv_pack_amx()), made when
// the program runs. What is written is, for each output vector,
//
//   [kh][run][tap of the run][word of a pixel][lanes], a word's two channels together
//
// bf16, rounded here where weights are stored as f32. Words that fill up a pixel, and lanes past
// the last channel, are zeros.
//
// As they are, [O][C][taps], an output channel's weights lie side by side: 16 words of 16 output
// channels are read by rows and transposed. Still to be flipped, [C][O][taps from the last on], two
// rows make a word of 16 output channels. Either way memory is read in the order in which it lies,
// 16 or 32 rows at a time; taps lie between channels, so that those of several are gathered.
#include "codegen/build/dot.h"
#include "codegen/build/nd.h"
#include "codegen/conv/amx.h"

enum { WORDS = CG_AMX_ROWS, PAIR = 2 };

typedef struct Weights {
    CgFn *f;
    const CgConv *s;
    IrConvCopy copy;
    IrDtype stored; // f32 or bf16
    bool scaled;    // times a factor of each row
    int64_t taps;   // of a kernel
    int lanes;      // output channels that vector `v` has
    CgVal v;
} Weights;

static int64_t run_words(const Weights *d) {
    return d->copy.pieces * d->copy.words;
}

// ---------------------------------------------------------------- reading

static CgVal zero_halves(Weights *d) {
    return LLVMConstNull(LLVMVectorType(cg_dtype(d->f, IR_U16), (unsigned)d->f->lanes));
}

// Numbers `stride` apart from p on; lanes past n are 0.
static CgVal gather(Weights *d, CgVal p, int64_t stride, int n) {
    CgFn *f = d->f;
    CgVal lane[IR_BLOCK];
    for (int i = 0; i < f->lanes; i++)
        lane[i] = cg_i32(f, i < n ? (int32_t)(i * stride) : 0);
    CgVal index = LLVMConstVector(lane, (unsigned)f->lanes);
    CgVal at = LLVMBuildGEP2(f->b, f->f32, p, &index, 1, "");
    LLVMTypeRef types[] = {f->vec, LLVMTypeOf(at)};
    CgVal args[] = {at, cg_i32(f, 4), cg_lane_mask(f, cg_i64(f, n)), LLVMConstNull(f->vec)};
    return cg_call_intrinsic(f, "llvm.masked.gather", 2, types, 4, args);
}

// Of bf16: their bits.
static CgVal load_bits(Weights *d, CgVal p, int64_t stride, int n) {
    CgFn *f = d->f;
    CgVal some = cg_i64(f, n);
    if (stride == 1)
        return cg_elem_load_n(f, IR_U16, p, n < f->lanes ? some : NULL);
    CgVal x = cg_elem_load_strided(f, IR_U16, p, cg_i64(f, stride), some);
    return cg_select(f, cg_lane_mask(f, some), x, zero_halves(d));
}

// n weights of row `row`, `stride` apart, from number `at` on, as bits of bf16; lanes past n are 0.
static CgVal load_halves(Weights *d, CgVal row, CgVal at, int64_t stride, int n) {
    CgFn *f = d->f;
    CgVal p = cg_elem_at(f, d->stored, f->arg[CG_CONV_FILTER_FROM], at);
    if (n <= 0)
        return zero_halves(d);
    if (d->stored == IR_BF16)
        return load_bits(d, p, stride, n);
    CgVal x = stride == 1 ? cg_load_n(f, p, cg_i64(f, n)) : gather(d, p, stride, n);
    if (d->scaled)
        x = cg_fmul(f, x, cg_load_splat(f, cg_fat(f, f->arg[CG_CONV_FILTER_FACTOR], row)));
    CgVal halves = cg_dot_round(f, x);
    if (halves)
        return halves;
    x = LLVMBuildBitCast(f->b, cg_elem_round(f, IR_BF16, x), f->ivec, "");
    x = LLVMBuildLShr(f->b, x, cg_int_like(x, 16), "");
    return LLVMBuildTrunc(f->b, x, LLVMTypeOf(zero_halves(d)), "");
}

// Words of two channels each
static CgVal join(Weights *d, CgVal first, CgVal second) {
    CgFn *f = d->f;
    second = LLVMBuildZExt(f->b, second, f->ivec, "");
    second = LLVMBuildShl(f->b, second, cg_int_like(second, 16), "");
    return LLVMBuildOr(f->b, LLVMBuildZExt(f->b, first, f->ivec, ""), second, "");
}

// n channels of row `row` that lie side by side, from number `at` on, in words.
static CgVal load_row(Weights *d, CgVal row, CgVal at, int n) {
    CgFn *f = d->f;
    int index[PAIR * IR_BLOCK], half = f->lanes;
    for (int i = 0; i < PAIR * half; i++)
        index[i] = i;
    CgVal low = load_halves(d, row, at, 1, cg_min_int(n, half));
    CgVal high = load_halves(d, row, cg_iaddc(f, at, half), 1, n - half);
    return LLVMBuildBitCast(f->b, cg_shuffle(f, low, high, PAIR * half, index), f->ivec, "");
}

// ---------------------------------------------------------------- places

// Word `word` of a pixel for tap (row, column) of output vector v
static CgVal place_word(Weights *d, CgVal row, CgVal column, CgVal word) {
    CgFn *f = d->f;
    int64_t in_run = d->s->kw / d->copy.runs;
    CgVal at = cg_iadd(f, cg_imulc(f, d->v, d->s->kh), row), run, tap;
    cg_divmod(f, column, cg_i64(f, in_run), &run, &tap);
    at = cg_iadd(f, cg_imulc(f, at, d->copy.runs), run);
    at = cg_iadd(f, cg_imulc(f, at, run_words(d)), cg_imulc(f, tap, d->copy.pixel));
    return cg_fat(f, f->arg[CG_CONV_FILTER_TO], cg_imulc(f, cg_iadd(f, at, word), f->lanes));
}

// The loops over a kernel's taps
typedef struct Taps {
    CgLoop row, column;
    CgVal tap; // their number
} Taps;

static void begin_taps(Weights *d, Taps *t) {
    CgFn *f = d->f;
    cg_for(f, &t->row, cg_i64(f, 0), cg_i64(f, d->s->kh), 1);
    cg_for(f, &t->column, cg_i64(f, 0), cg_i64(f, d->s->kw), 1);
    t->tap = cg_iadd(f, cg_imulc(f, t->row.iv, d->s->kw), t->column.iv);
}

static void end_taps(Weights *d, Taps *t) {
    cg_end(d->f, &t->column);
    cg_end(d->f, &t->row);
}

// ---------------------------------------------------------------- as they are

// `words` words, 16 at most, from `word` on, of which there are n channels, for all taps
static void emit_square(Weights *d, CgVal word, int words, int n) {
    CgFn *f = d->f;
    CgVal rows[IR_BLOCK];
    Taps t;
    int64_t channel = d->s->C * d->taps;
    CgVal first =
        cg_iadd(f, cg_imulc(f, d->v, f->lanes * channel), cg_imulc(f, word, PAIR * d->taps));
    begin_taps(d, &t);
    for (int o = 0; o < f->lanes; o++) {
        CgVal at = cg_iaddc(f, cg_iadd(f, first, t.tap), o * channel), x;
        int have = o < d->lanes ? n : 0;
        CgVal row = cg_iaddc(f, cg_imulc(f, d->v, f->lanes), o);
        if (d->taps == 1)
            x = load_row(d, row, at, have);
        else
            x = join(d, load_halves(d, row, at, PAIR * d->taps, (have + 1) / PAIR),
                     load_halves(d, row, cg_iaddc(f, at, d->taps), PAIR * d->taps, have / PAIR));
        rows[o] = LLVMBuildBitCast(f->b, x, f->vec, "");
    }
    cg_transpose_lanes(f, rows);
    CgVal to = place_word(d, t.row.iv, t.column.iv, word);
    for (int w = 0; w < words; w++)
        cg_store_v(f, rows[w], cg_fatc(f, to, w * f->lanes));
    end_taps(d, &t);
}

static void emit_vector(Weights *d) {
    CgFn *f = d->f;
    int whole = d->s->C / (PAIR * WORDS) * WORDS, pixel = (int)d->copy.pixel;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, whole), WORDS);
    emit_square(d, loop.iv, WORDS, PAIR * WORDS);
    cg_end(f, &loop);
    for (int w = whole; w < pixel; w += WORDS)
        emit_square(d, cg_i64(f, w), cg_min_int(WORDS, pixel - w),
                    cg_max_int(0, cg_min_int(PAIR * WORDS, d->s->C - PAIR * w)));
}

// ---------------------------------------------------------------- still to be flipped

// Words [lo, hi) of vector v, of which there are n channels each, for all taps
static void emit_words(Weights *d, CgVal lo, CgVal hi, int n) {
    CgFn *f = d->f;
    CgLoop loop;
    Taps t;
    int64_t channel = d->s->O * d->taps;
    cg_for(f, &loop, lo, hi, 1);
    CgVal first =
        cg_iadd(f, cg_imulc(f, loop.iv, PAIR * channel), cg_imulc(f, d->v, f->lanes * d->taps));
    begin_taps(d, &t);
    CgVal at = cg_isub(f, cg_iaddc(f, first, d->taps - 1), t.tap);
    CgVal row = cg_imulc(f, loop.iv, PAIR), next = cg_iaddc(f, at, channel);
    CgVal x = join(d, load_halves(d, row, at, d->taps, n > 0 ? d->lanes : 0),
                   load_halves(d, cg_iaddc(f, row, 1), next, d->taps, n > 1 ? d->lanes : 0));
    cg_store(f, x, place_word(d, t.row.iv, t.column.iv, loop.iv), 4);
    end_taps(d, &t);
    cg_end(f, &loop);
}

// Words [lo, hi) of a pixel: those of two channels, of one, of none
static void emit_flipped(Weights *d, CgVal lo, CgVal hi) {
    CgFn *f = d->f;
    int whole = d->s->C / PAIR, some = (d->s->C + 1) / PAIR, all = (int)d->copy.pixel;
    const int end[] = {all, some, whole};
    for (int n = PAIR; n >= 0; n--) {
        int begin = n == PAIR ? 0 : end[n + 1];
        if (begin < end[n])
            emit_words(d, cg_imax(f, lo, cg_i64(f, begin)), cg_imin(f, hi, cg_i64(f, end[n])), n);
    }
}

// ---------------------------------------------------------------- tasks

// Output vectors [lo, hi), whole ones first
static void for_vectors(Weights *d, CgVal lo, CgVal hi, void (*body)(Weights *, void *),
                        void *ctx) {
    CgFn *f = d->f;
    CgLoop loop;
    int whole = d->s->O / f->lanes, rest = d->s->O % f->lanes;
    CgVal border = cg_i64(f, whole);
    for (int part = 0; part <= (rest > 0); part++) {
        d->lanes = part ? rest : f->lanes;
        cg_for(f, &loop, part ? cg_imax(f, lo, border) : lo, part ? hi : cg_imin(f, hi, border), 1);
        d->v = loop.iv;
        body(d, ctx);
        cg_end(f, &loop);
    }
}

static void vector_as_it_is(Weights *d, void *ctx) {
    (void)ctx;
    emit_vector(d);
}

static void vector_of_words(Weights *d, void *ctx) {
    CgVal *word = ctx;
    emit_flipped(d, word[0], word[1]);
}

// Tasks are output vectors, or words of input channels: either way whole rows of what is read.
void cg_conv_prepare_amx(CgFn *f, const void *spec) {
    const CgConvFilter *filter = spec;
    const CgConv *s = &filter->s;
    IrConv c = cg_conv_geometry(s);
    Weights d = {.f = f,
                 .s = s,
                 .copy = ir_conv_copy(&c),
                 .stored = (IrDtype)filter->stored,
                 .scaled = filter->scaled,
                 .taps = (int64_t)s->kh * s->kw};
    CgVal vectors = cg_i64(f, cg_ceil_div(s->O, f->lanes)), lo, hi, word[2];
    CgLoop loop;
    if (!filter->reversed) {
        cg_split(f, vectors, &lo, &hi);
        for_vectors(&d, lo, hi, vector_as_it_is, NULL);
        return;
    }
    cg_split(f, cg_i64(f, cg_ceil_div((int)d.copy.pixel, WORDS)), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    word[0] = cg_imulc(f, loop.iv, WORDS);
    word[1] = cg_imin(f, cg_iaddc(f, word[0], WORDS), cg_i64(f, d.copy.pixel));
    for_vectors(&d, cg_i64(f, 0), vectors, vector_of_words, word);
    cg_end(f, &loop);
}
