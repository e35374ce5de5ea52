// Blocked concat, slice and shuffle on channels, at any channel offset. A result's block is put
// together from lanes of a few source blocks; which lanes is known now:
//   concat of 58 and 58 channels, blocks of 16:
//     result block 3     = operand 0 block 3 lanes 0..9, operand 1 block 0 lanes 0..5
//     result block 4 + k = operand 1 block k lanes 6..15, block k + 1 lanes 0..5
//   shuffle of two groups of 58 channels, also by blocks of 16:
//     result block 2k     = block k lanes 0..7, blocks k + 3, k + 4 lanes 10..15, 0..1, interleaved
//     result block 2k + 1 = block k lanes 8..15, block k + 4 lanes 2..9, interleaved
// Blocks of one pattern, each a period after the one before, are one call: a permutation of lanes
// per source and pixel. A lane that holds an operand which was written in place is kept. A plain
// tensor is one of blocks of one channel. A blocked shuffle is one kernel for all of its blocks, in
// which pixels are the outer loop: each source block goes into several of the result's.
#include "codegen/move/move.h"
#include <string.h>

enum { MAX_SOURCES = 8, MAX_LANES = 64, MAX_PERIOD = 8 };

// Where a result channel comes from. operand -1: stays as it is.
typedef struct ChannelFrom {
    int operand;
    int64_t channel;
} ChannelFrom;

typedef struct LaneSpec {
    CgNd nd; // operand 0 the result, then sources; without the lane dimension
    int32_t n_sources, dtype;
    int32_t arg[MAX_SOURCES]; // kernel argument of a source
    int8_t source[MAX_LANES]; // of a result's lane: -1 any value will do, -2 kept
    int8_t lane[MAX_LANES];
} LaneSpec;

// ---------------------------------------------------------------- kernel

typedef struct LaneRun {
    const LaneSpec *spec;
    const CgVal *off;
    bool keeps;
} LaneRun;

static CgVal pixel(CgFn *f, const LaneSpec *s, int operand, CgVal base, CgVal off, CgVal i) {
    CgVal at = cg_iadd(f, off, cg_stride(f, i, s->nd.dim[s->nd.rank - 1].stride[operand]));
    return cg_elem_at(f, (IrDtype)s->dtype, base, at);
}

// v with the lanes that come from source k, whose pixel is x.
static CgVal put_lanes(CgFn *f, CgVal v, CgVal x, int k, const int8_t *source, const int8_t *lane) {
    int index[MAX_LANES];
    for (int l = 0; l < f->lanes; l++) {
        index[l] = source[l] == k ? f->lanes + lane[l] : l;
    }
    return cg_shuffle(f, v, x, f->lanes, index);
}

static void emit_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    LaneRun *r = ctx;
    const LaneSpec *s = r->spec;
    IrDtype t = (IrDtype)s->dtype;
    CgVal to = pixel(f, s, 0, f->arg[0], r->off[0], i);
    CgVal v = r->keeps ? cg_elem_load_n(f, t, to, NULL) : LLVMGetPoison(cg_elem_vec(f, t));
    for (int k = 0; k < s->n_sources; k++) {
        CgVal from = pixel(f, s, k + 1, f->arg[s->arg[k]], r->off[k + 1], i);
        v = put_lanes(f, v, cg_elem_load_n(f, t, from, NULL), k, s->source, s->lane);
    }
    cg_elem_store_n(f, t, v, to, NULL);
}

static void emit_lane_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    LaneRun *r = ctx;
    r->off = off;
    cg_nd_steps(f, len, 4, emit_pixel, r);
}

static void emit_lanes(CgFn *f, const void *spec) {
    LaneRun r = {.spec = spec};
    for (int l = 0; l < f->lanes; l++) {
        r.keeps = r.keeps || r.spec->source[l] == -2;
    }
    cg_nd_for(f, &r.spec->nd, 1, 1, emit_lane_row, &r);
}

// ---------------------------------------------------------------- runs of blocks

typedef struct Pattern {
    int n;
    int operand[MAX_SOURCES];
    int64_t block[MAX_SOURCES];
    int8_t source[MAX_LANES], lane[MAX_LANES];
    bool works; // some lane is to be written
} Pattern;

typedef struct Mover {
    CgProgram *p;
    const IrNode *n;
    int block;
    CgTensor result;
    IrDim offset;    // of the sources: where a slice begins in rows and columns
    int64_t step[2]; // rows, columns
    int64_t channels;
    const ChannelFrom *from;
    bool *done; // result blocks, of those that are at hand
} Mover;

// Result blocks first, first + period, ..., whose sources are `distance` blocks apart.
typedef struct BlockRun {
    int64_t first, count, period, distance;
} BlockRun;

// The number of source (operand, block) among those seen, which it joins.
static int find_source(int *seen, int *operands, int64_t *blocks, int operand, int64_t block) {
    int k = 0;
    while (k < *seen && (operands[k] != operand || blocks[k] != block)) {
        k++;
    }
    *seen += k == *seen;
    operands[k] = operand;
    blocks[k] = block;
    return k;
}

// Sources of result block `b`, after `skip` others. Returns true when more than MAX_SOURCES remain.
static bool find_pattern(const Mover *m, int64_t b, int skip, Pattern *pt) {
    memset(pt, 0, sizeof *pt);
    memset(pt->source, -1, sizeof pt->source);
    int seen = 0, operands[MAX_LANES];
    int64_t blocks[MAX_LANES];
    for (int l = 0; l < m->block && b * m->block + l < m->channels; l++) {
        ChannelFrom from = m->from[b * m->block + l];
        pt->source[l] = -2;
        if (from.operand < 0) {
            continue;
        }
        int64_t block = from.channel / m->block;
        int k = find_source(&seen, operands, blocks, from.operand, block) - skip;
        if (k < 0 || k >= MAX_SOURCES) {
            continue;
        }
        pt->n = k + 1 > pt->n ? k + 1 : pt->n;
        pt->operand[k] = from.operand;
        pt->block[k] = block;
        pt->source[l] = (int8_t)k;
        pt->lane[l] = (int8_t)(from.channel % m->block);
        pt->works = true;
    }
    return seen > skip + MAX_SOURCES;
}

// b reads as a does, `distance` blocks further on.
static bool is_next(const Pattern *a, const Pattern *b, int64_t distance) {
    bool same = a->n == b->n && memcmp(a->source, b->source, sizeof a->source) == 0 &&
                memcmp(a->lane, b->lane, sizeof a->lane) == 0;
    for (int k = 0; same && k < a->n; k++) {
        same = a->operand[k] == b->operand[k] && a->block[k] + distance == b->block[k];
    }
    return same;
}

// Every lane from the lane of the same number of one source, where it matters.
static bool is_whole_block(const Mover *m, const Pattern *pt) {
    bool whole = pt->n == 1;
    for (int l = 0; l < m->block; l++) {
        whole = whole && (pt->source[l] == -1 || (pt->source[l] == 0 && pt->lane[l] == l));
    }
    return whole;
}

static int64_t spatial(const CgTensor *t, int i) {
    return t->dim[i].c;
}

static void add_source(const Mover *m, CgNd *nd, int operand, int64_t block, int64_t distance) {
    CgTensor t = cg_tensor(ir_in(m->n, operand));
    int64_t w = spatial(&t, 3) * m->block, hw = spatial(&t, 2) * w;
    IrDim stride[] = {ir_dim(t.image), ir_dim(distance * hw), ir_dim(w * m->step[0]),
                      ir_dim(m->block * m->step[1]), ir_dim(1)};
    cg_nd_add(nd, stride, ir_dim(m->offset.c + block * hw));
}

static void call_run(const Mover *m, const Pattern *pt, const BlockRun *run) {
    const CgTensor *r = &m->result;
    bool whole = is_whole_block(m, pt);
    int64_t w = spatial(r, 3) * m->block, hw = spatial(r, 2) * w;
    IrDim size[] = {r->dim[0], ir_dim(run->count), r->dim[2], r->dim[3], ir_dim(m->block)};
    IrDim stride[] = {ir_dim(r->image), ir_dim(run->period * hw), ir_dim(w), ir_dim(m->block),
                      ir_dim(1)};
    LaneSpec s;
    memset(&s, 0, sizeof s);
    cg_nd_init(&s.nd, whole ? 5 : 4, size);
    cg_nd_add(&s.nd, stride, ir_dim(run->first * hw));
    CgArg args[MAX_SOURCES + 1] = {cg_write(m->n->out[0])};
    int n_args = 1;
    for (int k = 0; k < pt->n; k++) {
        int j = 0;
        while (pt->operand[j] != pt->operand[k]) {
            j++;
        }
        add_source(m, &s.nd, pt->operand[k], pt->block[k], run->distance);
        s.arg[k] = j < k ? s.arg[j] : n_args;
        if (j == k) {
            args[n_args++] = cg_read(ir_in(m->n, pt->operand[k]));
        }
    }
    const char *algo = ir_op_info(m->n->op)->text;
    if (whole) {
        cg_copy_nd(m->p, m->n, algo, &s.nd, (IrDtype)r->dtype, args[0], args[1]);
        return;
    }
    if (cg_nd_empty(&s.nd)) {
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    s.nd.cost = m->block;
    s.n_sources = pt->n;
    s.dtype = (int32_t)cg_elem_bits((IrDtype)r->dtype);
    memcpy(s.source, pt->source, sizeof s.source);
    memcpy(s.lane, pt->lane, sizeof s.lane);
    int k = cg_kernel(m->p, algo, emit_lanes, &s, sizeof s, n_args, 60 + 30 * pt->n);
    cg_call(m->p, m->n, k, n_args, args, algo, (IrDim){0, 0});
}

// The run of result blocks from `first` on with this period.
static BlockRun find_run(const Mover *m, const Pattern *pt, int64_t first, int64_t period,
                         int skip) {
    BlockRun r = {first, 1, period, 1};
    int64_t blocks = (m->channels + m->block - 1) / m->block;
    for (int64_t b = first + period; b < blocks && !m->done[b]; b += period, r.count++) {
        Pattern next;
        find_pattern(m, b, skip, &next);
        if (r.count == 1 && next.n) {
            r.distance = next.block[0] - pt->block[0];
        }
        if (!is_next(pt, &next, r.distance * r.count)) {
            break;
        }
    }
    return r;
}

static void move_channels(const Mover *m) {
    int64_t blocks = (m->channels + m->block - 1) / m->block;
    bool more = true;
    for (int skip = 0; more; skip += MAX_SOURCES) {
        more = false;
        memset(m->done, 0, (size_t)blocks * sizeof *m->done);
        for (int64_t b = 0; b < blocks; b++) {
            Pattern pt;
            if (m->done[b]) {
                continue;
            }
            more = find_pattern(m, b, skip, &pt) || more;
            BlockRun best = find_run(m, &pt, b, 1, skip);
            for (int64_t period = 2; period <= MAX_PERIOD; period++) {
                BlockRun r = find_run(m, &pt, b, period, skip);
                best = r.count > best.count ? r : best;
            }
            for (int64_t i = 0; i < best.count; i++) {
                m->done[b + i * best.period] = true;
            }
            if (pt.works) {
                call_run(m, &pt, &best);
            }
        }
    }
}

// ---------------------------------------------------------------- all blocks in one kernel

// A result's block. Its sources are numbered as pt says; of each: the kernel argument, and where
// its block begins in an image.
typedef struct BlockSpec {
    int32_t n_sources, pad_;
    int32_t arg[MAX_SOURCES];
    int64_t at[MAX_SOURCES];
    int8_t source[MAX_LANES], lane[MAX_LANES];
} BlockSpec;

typedef struct ShuffleSpec {
    IrDim images;
    int64_t pixels, image[CG_MAX_ARGS]; // elements between images, by argument
    int32_t n_args, n_blocks, dtype, pad_;
    BlockSpec block[];
} ShuffleSpec;

typedef struct BlockRow {
    const BlockSpec *block;
    IrDtype dtype;
    CgVal to, *from; // first pixels; by argument
} BlockRow;

static void emit_block_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const BlockRow *r = ctx;
    const BlockSpec *b = r->block;
    IrDtype t = r->dtype;
    CgVal v = LLVMGetPoison(cg_elem_vec(f, t)), at = cg_imulc(f, i, f->lanes);
    for (int k = 0; k < b->n_sources; k++) {
        CgVal from = cg_elem_at(f, t, r->from[b->arg[k]], cg_i64(f, b->at[k]));
        CgVal x = cg_elem_load_n(f, t, cg_elem_at(f, t, from, at), NULL);
        v = put_lanes(f, v, x, k, b->source, b->lane);
    }
    cg_elem_store_n(f, t, v, cg_elem_at(f, t, r->to, at), NULL);
}

// Tasks are a few pixels with all of their channels: sources are read once into the cache.
static void emit_shuffle(CgFn *f, const void *spec) {
    enum { LEAST = 8, MOST = 64, TASKS = 8 };
    const ShuffleSpec *s = spec;
    IrDtype t = (IrDtype)s->dtype;
    int64_t each = (s->pixels + TASKS - 1) / TASKS;
    each = each < LEAST ? LEAST : each > MOST ? MOST : each;
    int64_t chunks = (s->pixels + each - 1) / each;
    CgVal from[CG_MAX_ARGS], lo, hi, image, chunk;
    CgLoop loop;
    cg_split(f, cg_imulc(f, cg_dim(f, s->images), chunks), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, chunks), &image, &chunk);
    CgVal first = cg_imulc(f, chunk, each);
    CgVal len = cg_imin(f, cg_isub(f, cg_i64(f, s->pixels), first), cg_i64(f, each));
    for (int k = 0; k < s->n_args; k++) {
        CgVal at = cg_iadd(f, cg_imulc(f, image, s->image[k]), cg_imulc(f, first, f->lanes));
        from[k] = cg_elem_at(f, t, f->arg[k], at);
    }
    for (int b = 0; b < s->n_blocks; b++) {
        CgVal to = cg_elem_at(f, t, from[0], cg_i64(f, b * s->pixels * f->lanes));
        BlockRow r = {&s->block[b], t, to, from};
        cg_nd_steps(f, len, 4, emit_block_pixel, &r);
    }
    cg_end(f, &loop);
}

// The number of an operand's argument, which it gets with its first block; -1: there are too many.
static int find_arg(const Mover *m, ShuffleSpec *s, CgArg *args, int operand) {
    const IrValue *v = ir_in(m->n, operand);
    int k = 1;
    while (k < s->n_args && args[k].value != v) {
        k++;
    }
    if (k == s->n_args) {
        if (k == CG_MAX_ARGS) {
            return -1;
        }
        args[k] = cg_read(v);
        s->image[k] = cg_tensor(v).image;
        s->n_args++;
    }
    return k;
}

// False where it does not fit one kernel.
static bool shuffle_blocks(const Mover *m) {
    enum { MAX_BLOCKS = 256 };
    int64_t blocks = (m->channels + m->block - 1) / m->block;
    if (m->block == 1 || blocks > MAX_BLOCKS || ir_dim_is(m->result.dim[0], 0)) {
        return false;
    }
    size_t size = sizeof(ShuffleSpec) + (size_t)blocks * sizeof(BlockSpec);
    ShuffleSpec *s = ir_alloc(cg_arena(m->p), size);
    s->images = m->result.dim[0];
    s->pixels = cg_spatial(&m->result);
    s->image[0] = m->result.image;
    s->n_blocks = (int32_t)blocks;
    s->dtype = (int32_t)cg_elem_bits((IrDtype)m->result.dtype);
    s->n_args = 1;
    CgArg args[CG_MAX_ARGS] = {cg_write(m->n->out[0])};
    for (int64_t i = 0; i < blocks; i++) {
        BlockSpec *b = &s->block[i];
        Pattern pt;
        if (find_pattern(m, i, 0, &pt)) {
            return false;
        }
        b->n_sources = pt.n;
        memcpy(b->source, pt.source, sizeof b->source);
        memcpy(b->lane, pt.lane, sizeof b->lane);
        for (int k = 0; k < pt.n; k++) {
            b->arg[k] = find_arg(m, s, args, pt.operand[k]);
            b->at[k] = pt.block[k] * s->pixels * m->block;
            if (b->arg[k] < 0) {
                return false;
            }
        }
    }
    if (s->pixels > 0) {
        int k = cg_kernel(m->p, "shuffle", emit_shuffle, s, size, s->n_args, 100 * (int)blocks);
        cg_call(m->p, m->n, k, s->n_args, args, "shuffle", (IrDim){0, 0});
    }
    return true;
}

// ---------------------------------------------------------------- lowering

static Mover new_mover(CgProgram *p, const IrNode *n, ChannelFrom **from) {
    Mover m = {.p = p,
               .n = n,
               .block = n->out[0]->type.block ? n->out[0]->type.block : 1,
               .result = cg_tensor(n->out[0]),
               .offset = ir_dim(0),
               .step = {1, 1}};
    m.channels = cg_channels(&m.result);
    *from = ir_alloc_array(cg_arena(p), (size_t)m.channels, sizeof **from);
    m.from = *from;
    m.done = ir_alloc_array(cg_arena(p), (size_t)m.channels, sizeof *m.done);
    return m;
}

void cg_lower_channel_concat(CgProgram *p, const IrNode *n) {
    ChannelFrom *from;
    Mover m = new_mover(p, n, &from);
    int64_t at = 0;
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *x = ir_in(n, i);
        if (x->type.block != m.block || ir_int(n, IR_ATTR_AXIS, 0) != 1) {
            cg_nyi(p, n, "concat of mixed layouts");
            return;
        }
        bool in_place = x->view_of == n->out[0];
        for (int64_t c = 0; c < x->type.shape.dim[1].c; c++, at++) {
            from[at] = (ChannelFrom){in_place ? -1 : i, c};
        }
    }
    move_channels(&m);
}

void cg_lower_channel_slice(CgProgram *p, const IrNode *n) {
    const IrValue *x = ir_in(n, 0);
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    if (x->type.block != n->out[0]->type.block || start.n != 4 || step.n != 4 || start.v[0] != 0 ||
        step.v[0] != 1) {
        cg_nyi(p, n, "this slice of blocked tensors");
        return;
    }
    ChannelFrom *from;
    Mover m = new_mover(p, n, &from);
    for (int64_t c = 0; c < m.channels; c++) {
        from[c] = (ChannelFrom){0, start.v[1] + c * step.v[1]};
    }
    int64_t w = x->type.shape.dim[3].c;
    m.offset = ir_dim((start.v[2] * w + start.v[3]) * m.block);
    m.step[0] = step.v[2];
    m.step[1] = step.v[3];
    move_channels(&m);
}

void cg_lower_shuffle(CgProgram *p, const IrNode *n) {
    const IrType *y = &n->out[0]->type;
    CgTensor ty = cg_tensor(n->out[0]);
    bool fits = y->shape.rank == 4 && cg_static_dims(&ty, 1);
    for (int i = 0; i < n->n_in; i++) {
        fits = fits && ir_in(n, i)->type.block == y->block;
    }
    if (!fits) {
        cg_nyi(p, n, "this shuffle of channels");
        return;
    }
    ChannelFrom *from;
    Mover m = new_mover(p, n, &from);
    IrInts channels = ir_ints(n, IR_ATTR_CHANNELS);
    for (int64_t c = 0; c < m.channels; c++) {
        from[c] = (ChannelFrom){0, channels.v[c]};
        for (int i = 0; from[c].channel >= ir_in(n, i)->type.shape.dim[1].c; i++) {
            from[c].channel -= ir_in(n, i)->type.shape.dim[1].c;
            from[c].operand++;
        }
    }
    if (!shuffle_blocks(&m)) {
        move_channels(&m);
    }
}
