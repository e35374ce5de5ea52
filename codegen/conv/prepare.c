// Kernels that put filters into the order in which convolution kernels read them: from what the
// weights section holds, once when a model is created, or from weights that a run computes. Tasks
// are output vectors, so the work splits over threads and each place is written by one of them.
//
// What is written, with u for cg_conv_unroll(), is for each output vector
//
//   direct     [input block][kh][channels of the block / u][kw][u][lanes]
//   lanewise   [kh][channels of a group][kw][lanes]
//
// and, together with the nv - 1 others of its panel,
//
//   Winograd   [filter][channel of the group][nv][lanes], transformed in double and rounded once
//   Strassen   [B11 B21 T2 T3 T4 T1 B22][C / 2][nv][lanes], likewise
//
// The weights section holds one of the first two: the lanewise order for the lanewise kernel, the
// direct one for all others. Neither depends on a tile or a machine.
//
// Lanes past the last channel, and channels that a panel covers but that belong to other groups,
// become zero.
#include "codegen/conv/winograd.h"

#include <string.h>

typedef struct Filter {
    CgFn *f;
    const CgConv *s;
    bool from_packed; // as the direct kernel reads them, else [O][I][KH][KW]
    bool reversed;    // [I][O] of the latter, taps from the last on; no groups
    IrDtype stored;   // that is how floats lie there
    int lanes;        // that exist of the vector
    int taps, per_group;
    CgVal from, to;
    CgVal v; // the output vector
} Filter;

static int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

CgConvFilter cg_conv_filter(const CgConv *s, IrConvAlgo algo, bool from_packed) {
    CgConvFilter t;
    memset(&t, 0, sizeof t);
    t.s.C = s->C;
    t.s.O = s->O;
    t.s.bin = s->bin;
    t.s.dtype = s->dtype;
    t.s.kh = s->kh;
    t.s.kw = s->kw;
    t.s.sh = s->tile.out_rows ? s->sh : 1; // only transforms depend on strides
    t.s.sw = s->tile.out_rows ? s->sw : 1;
    t.s.dw = s->kw > 1 ? s->dw : 1; // and runs of taps on dilations
    t.s.group = s->group;
    t.s.tile.out_rows = s->tile.out_rows; // no other packing depends on the tile
    t.s.tile.out_cols = s->tile.out_cols;
    t.s.tile.vecs = ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_FEWER ? s->tile.vecs : 1;
    t.from_packed = from_packed;
    return t;
}

// ---------------------------------------------------------------- reading

// Element `at` of plain weights, as f32
static CgVal read_plain(Filter *d, CgVal at) {
    return cg_elem_load(d->f, d->stored, d->from, at);
}

// Plain weights that are not stored in the type that they have
static CgVal round_plain(Filter *d, CgVal x) {
    IrDtype t = cg_conv_weight(d->s);
    return d->stored != t && !cg_elem_is_exact(t) ? cg_elem_round(d->f, t, x) : x;
}

static CgVal read_lanes(Filter *d, CgVal at, int64_t stride) {
    CgFn *f = d->f;
    IrDtype t = d->stored;
    if (stride == 1 && cg_elem_sum(t) == IR_F32) {
        CgVal some = d->lanes < f->lanes ? cg_i64(f, d->lanes) : NULL;
        return round_plain(d, cg_elem_load_n(f, t, cg_elem_at(f, t, d->from, at), some));
    }
    CgVal x = LLVMConstNull(f->vec);
    for (int lane = 0; lane < d->lanes; lane++) {
        CgVal w = read_plain(d, cg_iaddc(f, at, lane * stride));
        x = LLVMBuildInsertElement(f->b, x, w, cg_i32(f, lane), "");
    }
    return round_plain(d, x);
}

// Lane by lane: channel c of the image, for lanes in whose group it is.
static CgVal read_image_channel(Filter *d, CgVal c, CgVal tap) {
    CgFn *f = d->f;
    int og = d->s->O / d->s->group;
    CgVal x = LLVMConstNull(f->vec), first = cg_imulc(f, d->v, f->lanes);
    for (int lane = 0; lane < d->lanes; lane++) {
        CgVal o = cg_iaddc(f, first, lane);
        CgVal i = cg_isub(f, c, cg_imulc(f, cg_idivc(f, o, og), d->per_group));
        CgVal in = cg_icmp(f, LLVMIntULT, i, cg_i64(f, d->per_group));
        i = cg_select(f, in, i, cg_i64(f, 0));
        CgVal at = cg_iadd(f, cg_imulc(f, o, d->per_group), i);
        at = cg_iadd(f, cg_imulc(f, at, d->taps), tap);
        CgVal w = cg_select(f, in, read_plain(d, at), cg_f(f, 0));
        x = LLVMBuildInsertElement(f->b, x, w, cg_i32(f, lane), "");
    }
    return round_plain(d, x);
}

// The vector's weights for channel i of each lane's group
static CgVal read_group_channel(Filter *d, CgVal i, CgVal tap) {
    CgFn *f = d->f;
    if (d->reversed) {
        CgVal first = cg_iadd(f, cg_imulc(f, i, d->s->O), cg_imulc(f, d->v, f->lanes));
        first = cg_iaddc(f, cg_imulc(f, first, d->taps), d->taps - 1);
        return read_lanes(d, cg_isub(f, first, tap), d->taps);
    }
    int64_t row = (int64_t)d->per_group * d->taps;
    CgVal at = cg_imulc(f, d->v, f->lanes * row);
    at = cg_iadd(f, at, cg_iadd(f, cg_imulc(f, i, d->taps), tap));
    return read_lanes(d, at, row);
}

// Where tap (0, 0) of channel `c`, or of the word that it is in, stands in a panel of the direct
// kernel, in vectors: as pack.c has it. *row: vectors from kernel row to kernel row.
static CgVal place_channel(Filter *d, CgVal c, CgVal *row) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    int bin = cg_conv_block_words(s);
    c = cg_idivc(f, c, cg_conv_word(s));
    CgVal b = cg_idivc(f, c, bin), in = cg_iremc(f, c, bin);
    CgVal rest = cg_iremc(f, in, cg_conv_unroll(s));
    CgVal left = cg_isub(f, cg_i64(f, cg_conv_words(s, s->C)), cg_imulc(f, b, bin));
    *row = cg_imulc(f, cg_imin(f, left, cg_i64(f, bin)), s->kw);
    CgVal first = cg_iadd(f, cg_imulc(f, b, bin * s->kh), cg_isub(f, in, rest));
    return cg_iadd(f, cg_imulc(f, first, s->kw), rest);
}

// Channel c of the words at p, as f32: of two bf16 the lower or the upper one.
static CgVal read_channel(Filter *d, CgVal p, CgVal c) {
    CgFn *f = d->f;
    if (cg_conv_word(d->s) == 1)
        return cg_elem_load_n(f, d->stored, p, NULL);
    CgVal half = LLVMBuildTrunc(f->b, cg_imulc(f, cg_iremc(f, c, 2), 16), f->i32, "");
    CgVal x = LLVMBuildLShr(f->b, cg_load(f, f->ivec, p, 4), cg_splat(f, half), "");
    x = LLVMBuildShl(f->b, x, cg_int_like(x, 16), "");
    return LLVMBuildBitCast(f->b, x, f->vec, "");
}

// Tap kw of channel c in the kernel row whose first one stands at `at`
static CgVal read_packed(Filter *d, CgVal at, int kw, CgVal c) {
    CgFn *f = d->f;
    at = cg_iaddc(f, at, (int64_t)kw * cg_conv_unroll(d->s));
    return read_channel(d, cg_elem_at(f, d->stored, d->from, cg_imulc(f, at, f->lanes)), c);
}

// ---------------------------------------------------------------- writing

// What is prepared once is not read soon, and a vector is a whole line, of which nobody needs what
// was there: past the caches.
static bool bypasses_cache(const Filter *d) {
    return d->from_packed;
}

static void write_vector(Filter *d, CgVal x, CgVal to) {
    CgFn *f = d->f;
    if (!bypasses_cache(d)) {
        cg_store_v(f, x, to);
        return;
    }
    CgVal store = LLVMBuildStore(f->b, x, to);
    LLVMSetAlignment(store, 64);
    LLVMMetadataRef one = LLVMValueAsMetadata(cg_i32(f, 1));
    unsigned kind = LLVMGetMDKindIDInContext(f->ctx, "nontemporal", sizeof "nontemporal" - 1);
    LLVMSetMetadata(store, kind,
                    LLVMMetadataAsValue(f->ctx, LLVMMDNodeInContext2(f->ctx, &one, 1)));
}

// ---------------------------------------------------------------- where a vector goes

// Vector r of a cut: the first one of its part, and how many that has.
static void find_part(CgFn *f, CgCut cut, CgVal r, CgVal *begin, CgVal *nv) {
    CgVal part = cg_idivc(f, r, cut.size);
    *nv = cg_i64(f, cut.size);
    if (cut.big < cut.n) {
        CgVal bigs = cg_i64(f, (int64_t)cut.big * cut.size);
        CgVal in = cg_icmp(f, LLVMIntSLT, r, bigs);
        CgVal small = cg_idivc(f, cg_isub(f, cg_imax(f, r, bigs), bigs), cut.size - 1);
        part = cg_select(f, in, part, cg_iaddc(f, small, cut.big));
        *nv = cg_select(f, in, *nv, cg_i64(f, cut.size - 1));
    }
    *begin = cg_cut_at(f, cut, part);
}

// Output vectors of this thread, whole ones first: body() for each.
static void for_vectors(Filter *d, int vectors, void (*body)(Filter *)) {
    CgFn *f = d->f;
    int whole = d->s->O / f->lanes < vectors ? d->s->O / f->lanes : vectors;
    CgVal lo, hi, border = cg_i64(f, whole);
    CgLoop loop;
    cg_split(f, cg_i64(f, vectors), &lo, &hi);
    for (int rest = 0; rest <= (whole < vectors); rest++) {
        d->lanes = rest ? d->s->O % f->lanes : f->lanes;
        cg_for(f, &loop, rest ? cg_imax(f, lo, border) : lo, rest ? hi : cg_imin(f, hi, border), 1);
        d->v = loop.iv;
        body(d);
        cg_end(f, &loop);
    }
}

static Filter begin_filter(CgFn *f, const CgConvFilter *spec) {
    const CgConv *s = &spec->s;
    return (Filter){.f = f,
                    .s = s,
                    .from_packed = spec->from_packed,
                    .stored = (IrDtype)spec->stored,
                    .reversed = spec->reversed,
                    .taps = s->kh * s->kw,
                    .per_group = s->C / s->group,
                    .from = f->arg[CG_CONV_FILTER_FROM],
                    .to = f->arg[CG_CONV_FILTER_TO]};
}

// ---------------------------------------------------------------- direct

// Tap `tap` of channel c of the image
static CgVal read_tap(Filter *d, CgVal c, CgVal tap) {
    return d->s->group == 1 ? read_group_channel(d, c, tap) : read_image_channel(d, c, tap);
}

// The word that begins with channel c: that, or two channels of bf16, the last of which may not be.
static CgVal read_word(Filter *d, CgVal c, CgVal tap) {
    CgFn *f = d->f;
    if (cg_conv_word(d->s) == 1)
        return read_tap(d, c, tap);
    CgVal last = cg_i64(f, d->s->C - 1), next = cg_iaddc(f, c, 1);
    CgVal is_there = cg_icmp(f, LLVMIntSLE, next, last);
    CgVal low = LLVMBuildBitCast(f->b, read_tap(d, c, tap), f->ivec, "");
    CgVal high = read_tap(d, cg_imin(f, next, last), tap);
    high =
        cg_select(f, is_there, LLVMBuildBitCast(f->b, high, f->ivec, ""), LLVMConstNull(f->ivec));
    low = LLVMBuildLShr(f->b, low, cg_int_like(low, 16), "");
    return LLVMBuildOr(f->b, low, high, "");
}

// All taps of the word of channel c of the image, which is channel c - first of the panel
static void emit_direct_channel(Filter *d, CgVal c, CgVal panel, CgVal first) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal step, at = place_channel(d, c, &step);
    at = cg_isub(f, at, cg_imulc(f, cg_idivc(f, first, cg_conv_word(s)), d->taps));
    CgLoop row, column;
    cg_for(f, &row, cg_i64(f, 0), cg_i64(f, s->kh), 1);
    cg_for(f, &column, cg_i64(f, 0), cg_i64(f, s->kw), 1);
    CgVal tap = cg_iadd(f, cg_imulc(f, row.iv, s->kw), column.iv);
    CgVal x = read_word(d, c, tap);
    CgVal to = cg_iadd(f, at, cg_imul(f, row.iv, step));
    to = cg_iadd(f, to, cg_imulc(f, column.iv, cg_conv_unroll(s)));
    cg_store(f, x, cg_fat(f, panel, cg_imulc(f, to, f->lanes)), 4);
    cg_end(f, &column);
    cg_end(f, &row);
}

// The input blocks that the vector's groups read: as cg_conv_ic_range() for its panel, which has
// one group or one vector.
static void find_blocks(Filter *d, CgVal *lo, CgVal *end) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    *lo = cg_i64(f, 0);
    *end = cg_i64(f, s->C);
    if (s->group == 1)
        return;
    int og = s->O / s->group;
    CgVal first = cg_imulc(f, d->v, f->lanes);
    CgVal last = cg_imin(f, cg_iaddc(f, first, f->lanes), cg_i64(f, s->O));
    last = cg_iaddc(f, cg_idivc(f, cg_iaddc(f, last, -1), og), 1);
    *lo = cg_idivc(f, cg_imulc(f, cg_idivc(f, first, og), d->per_group), s->bin);
    CgVal hi = cg_idivc(f, cg_iaddc(f, cg_imulc(f, last, d->per_group), s->bin - 1), s->bin);
    *end = cg_imin(f, *end, cg_imulc(f, hi, s->bin));
}

static void emit_direct_vector(Filter *d) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal lo, end;
    find_blocks(d, &lo, &end);
    int64_t vector = (int64_t)cg_conv_panel_words(s, f->lanes) * d->taps * f->lanes;
    CgVal panel = cg_fat(f, d->to, cg_imulc(f, d->v, vector));
    CgVal first = cg_imulc(f, lo, s->bin);
    CgLoop loop;
    cg_for(f, &loop, first, end, cg_conv_word(s));
    emit_direct_channel(d, loop.iv, panel, first);
    cg_end(f, &loop);
}

void cg_conv_prepare_direct(CgFn *f, const void *spec) {
    Filter d = begin_filter(f, spec);
    CgConvOc oc = cg_conv_oc(d.s, f->lanes);
    for_vectors(&d, oc.sets * oc.blocks, emit_direct_vector);
}

// ---------------------------------------------------------------- lanewise

static void emit_lanewise_vector(Filter *d) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    CgVal zero = cg_i64(f, 0);
    CgLoop channel, row, column;
    cg_for(f, &channel, zero, cg_i64(f, d->per_group), 1);
    cg_for(f, &row, zero, cg_i64(f, s->kh), 1);
    cg_for(f, &column, zero, cg_i64(f, s->kw), 1);
    CgVal tap = cg_iadd(f, cg_imulc(f, row.iv, s->kw), column.iv);
    CgVal x = read_group_channel(d, channel.iv, tap);
    CgVal to = cg_iadd(f, cg_imulc(f, d->v, s->kh), row.iv);
    to = cg_iadd(f, cg_imulc(f, to, d->per_group), channel.iv);
    to = cg_iadd(f, cg_imulc(f, to, s->kw), column.iv);
    IrDtype t = cg_conv_weight(s);
    cg_elem_store_n(f, t, x, cg_elem_at(f, t, d->to, cg_imulc(f, to, f->lanes)), NULL);
    cg_end(f, &column);
    cg_end(f, &row);
    cg_end(f, &channel);
}

void cg_conv_prepare_lanewise(CgFn *f, const void *spec) {
    Filter d = begin_filter(f, spec);
    for_vectors(&d, ceil_div(d.s->O, f->lanes), emit_lanewise_vector);
}

// ---------------------------------------------------------------- Winograd

// Sum of c[k] x[k] over doubles; every row of G has an entry that is not zero.
static CgVal add_products(CgFn *f, int n, const double *c, CgVal *x) {
    CgVal sum = NULL;
    for (int k = 0; k < n; k++) {
        if (c[k] == 0)
            continue;
        CgVal factor = cg_like(f, x[k], c[k]);
        if (sum)
            sum = cg_fma(f, factor, x[k], sum);
        else
            sum = c[k] == 1 ? x[k] : cg_fmul(f, factor, x[k]);
    }
    return sum;
}

// G g Gt for the vector's kernels of one channel: that of filter e goes to to[e * filter].
static void emit_transform(Filter *d, const WinoShape *w, CgVal c, CgVal to, CgVal filter) {
    CgFn *f = d->f;
    LLVMTypeRef doubles = LLVMVectorType(f->f64, (unsigned)f->lanes);
    CgVal g[WINO_MAX_R][WINO_MAX_R], mid[WINO_MAX_R], row = NULL, first = NULL;
    if (d->from_packed) {
        first = place_channel(d, c, &row);
        int64_t panel = (int64_t)cg_conv_panel_words(d->s, f->lanes) * d->taps;
        first = cg_iadd(f, first, cg_imulc(f, d->v, panel));
    }
    for (int i = 0; i < w->h.r; i++)
        for (int j = 0; j < w->w.r; j++) {
            CgVal x = d->from_packed ? read_packed(d, cg_iadd(f, first, cg_imulc(f, row, i)), j, c)
                                     : read_group_channel(d, c, cg_i64(f, i * w->w.r + j));
            g[i][j] = LLVMBuildFPExt(f->b, x, doubles, "");
        }
    for (int j = w->w.same; j < w->w.n; j++) {
        for (int i = 0; i < w->h.r; i++)
            mid[i] = add_products(f, w->w.r, w->w.g.at[j], g[i]);
        for (int i = w->h.same; i < w->h.n; i++) {
            CgVal x = add_products(f, w->h.r, w->h.g.at[i], mid);
            int e = (i - w->h.same) * (w->w.n - w->w.same) + j - w->w.same;
            CgVal at = cg_imulc(f, filter, e);
            write_vector(d, LLVMBuildFPTrunc(f->b, x, f->vec, ""), cg_fat(f, to, at));
        }
    }
}

static void emit_winograd_vector(Filter *d) {
    CgFn *f = d->f;
    const CgConv *s = d->s;
    WinoShape w = cg_conv_winograd_shape(s, f->lanes);
    CgVal begin, nv;
    find_part(f, w.oc.cut, cg_iremc(f, d->v, w.oc.blocks), &begin, &nv);
    begin = cg_iadd(f, begin, cg_imulc(f, cg_idivc(f, d->v, w.oc.blocks), w.oc.blocks));
    CgVal step = cg_imulc(f, nv, f->lanes), filter = cg_imulc(f, step, w.channels);
    CgVal panel = cg_imulc(f, begin, (int64_t)w.filters * w.channels * f->lanes);
    panel = cg_iadd(f, panel, cg_imulc(f, cg_isub(f, d->v, begin), f->lanes));
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, w.channels), 1);
    CgVal to = cg_fat(f, d->to, cg_iadd(f, panel, cg_imul(f, loop.iv, step)));
    emit_transform(d, &w, loop.iv, to, filter);
    cg_end(f, &loop);
}

void cg_conv_prepare_winograd(CgFn *f, const void *spec) {
    Filter d = begin_filter(f, spec);
    for_vectors(&d, ceil_div(d.s->O, f->lanes), emit_winograd_vector);
    if (bypasses_cache(&d))
        LLVMBuildFence(f->b, LLVMAtomicOrderingSequentiallyConsistent, 0, "");
}

// ---------------------------------------------------------------- Strassen

// The weights of output vector v for channel c
static CgVal read_vector(Filter *d, CgVal v, CgVal c) {
    CgFn *f = d->f;
    if (d->from_packed) {
        CgVal at = cg_iadd(f, cg_imulc(f, v, d->s->C), c);
        CgVal p = cg_elem_at(f, d->stored, d->from, cg_imulc(f, at, f->lanes));
        return cg_elem_load_n(f, d->stored, p, NULL);
    }
    d->v = v;
    return read_group_channel(d, c, cg_i64(f, 0));
}

// What conv/strassen.c reads of channel c of the halves for output vectors `left` and `right` of
// the halves: `next` floats apart.
static void emit_quarters(Filter *d, CgVal left, CgVal right, CgVal c, CgVal to, int64_t next) {
    CgFn *f = d->f;
    LLVMTypeRef doubles = LLVMVectorType(f->f64, (unsigned)f->lanes);
    CgVal b[4]; // B11, B12, B21, B22
    for (int i = 0; i < 4; i++) {
        CgVal x = read_vector(d, i % 2 ? right : left, cg_iaddc(f, c, i / 2 * (d->s->C / 2)));
        b[i] = LLVMBuildFPExt(f->b, x, doubles, "");
    }
    CgVal t1 = cg_fsub(f, b[1], b[0]), t2 = cg_fsub(f, b[3], t1);
    CgVal v[] = {b[0], b[2], t2, cg_fsub(f, b[3], b[1]), cg_fsub(f, b[2], t2), t1, b[3]};
    for (int k = 0; k < 7; k++)
        write_vector(d, LLVMBuildFPTrunc(f->b, v[k], f->vec, ""), cg_fatc(f, to, k * next));
}

// Output vector number v of the left halves of all groups, and its partner of the right half
static void emit_strassen_vector(Filter *d) {
    CgFn *f = d->f;
    int nv = d->s->tile.vecs, half = d->s->C / 2;
    CgVal group, in, left;
    cg_divmod(f, d->v, cg_i64(f, nv), &group, &in);
    left = cg_iadd(f, cg_imulc(f, group, 2 * nv), in);
    int64_t wide = (int64_t)nv * f->lanes;
    CgVal to = cg_fat(f, d->to, cg_imulc(f, group, 7 * half * wide));
    to = cg_fat(f, to, cg_imulc(f, in, f->lanes));
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, half), 1);
    emit_quarters(d, left, cg_iaddc(f, left, nv), loop.iv,
                  cg_fat(f, to, cg_imulc(f, loop.iv, wide)), half * wide);
    cg_end(f, &loop);
}

void cg_conv_prepare_strassen(CgFn *f, const void *spec) {
    Filter d = begin_filter(f, spec);
    for_vectors(&d, d.s->O / f->lanes / 2, emit_strassen_vector);
    if (bypasses_cache(&d))
        LLVMBuildFence(f->b, LLVMAtomicOrderingSequentiallyConsistent, 0, "");
}
