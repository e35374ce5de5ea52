// Blocked concat and slice on channels, at any channel offset. A result's block is put together
// from lanes of a few source blocks; which lanes is known now:
//   concat of 58 and 58 channels, blocks of 16:
//     result block 3     = operand 0 block 3 lanes 0..9, operand 1 block 0 lanes 0..5
//     result block 4 + k = operand 1 block k lanes 6..15, block k + 1 lanes 0..5
// Consecutive blocks of one pattern are one call, a shuffle per source and pixel.
// A lane that holds an operand which was written in place is kept.
#include "codegen/move.h"
#include <string.h>

enum { MAX_SOURCES = 8, MAX_LANES = 64 };

// Where a result channel comes from. operand -1: stays as it is.
typedef struct ChannelFrom {
    int operand;
    int64_t channel;
} ChannelFrom;

typedef struct LaneSpec {
    CgNd nd; // operand 0 the result, then sources; without the lane dimension
    int32_t n_sources, pad_;
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
    return cg_fat(f, base, at);
}

static void emit_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    LaneRun *r = ctx;
    const LaneSpec *s = r->spec;
    CgVal to = pixel(f, s, 0, f->arg[0], r->off[0], i);
    CgVal v = r->keeps ? cg_load_v(f, to) : LLVMGetPoison(f->vec);
    for (int k = 0; k < s->n_sources; k++) {
        int index[MAX_LANES];
        for (int l = 0; l < f->lanes; l++) {
            index[l] = s->source[l] == k ? f->lanes + s->lane[l] : l;
        }
        CgVal x = cg_load_v(f, pixel(f, s, k + 1, f->arg[s->arg[k]], r->off[k + 1], i));
        v = cg_shuffle(f, v, x, f->lanes, index);
    }
    cg_store_v(f, v, to);
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
} Mover;

// Sources of result block `b`, after `skip` others. Returns true when more than MAX_SOURCES remain.
static bool find_pattern(const Mover *m, int64_t b, int skip, Pattern *pt) {
    memset(pt, 0, sizeof *pt);
    memset(pt->source, -1, sizeof pt->source);
    int seen = 0, last_operand = -1;
    int64_t last_block = -1;
    bool more = false;
    for (int l = 0; l < m->block && b * m->block + l < m->channels; l++) {
        ChannelFrom from = m->from[b * m->block + l];
        pt->source[l] = -2;
        if (from.operand < 0) {
            continue;
        }
        int64_t block = from.channel / m->block;
        if (from.operand != last_operand || block != last_block) {
            seen++;
            last_operand = from.operand;
            last_block = block;
        }
        int k = seen - 1 - skip;
        more = more || k >= MAX_SOURCES;
        if (k < 0 || k >= MAX_SOURCES) {
            continue;
        }
        pt->n = k + 1;
        pt->operand[k] = from.operand;
        pt->block[k] = block;
        pt->source[l] = (int8_t)k;
        pt->lane[l] = (int8_t)(from.channel % m->block);
        pt->works = true;
    }
    return more;
}

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

static void add_source(const Mover *m, CgNd *nd, int operand, int64_t block) {
    CgTensor t = cg_tensor(ir_in(m->n, operand));
    int64_t w = spatial(&t, 3) * m->block, hw = spatial(&t, 2) * w;
    IrDim stride[] = {ir_dim(t.image), ir_dim(hw), ir_dim(w * m->step[0]),
                      ir_dim(m->block * m->step[1]), ir_dim(1)};
    cg_nd_add(nd, stride, ir_dim(m->offset.c + block * hw));
}

// Result blocks [first, first + count).
static void call_run(const Mover *m, const Pattern *pt, int64_t first, int64_t count) {
    const CgTensor *r = &m->result;
    bool whole = is_whole_block(m, pt);
    int64_t w = spatial(r, 3) * m->block, hw = spatial(r, 2) * w;
    IrDim size[] = {r->dim[0], ir_dim(count), r->dim[2], r->dim[3], ir_dim(m->block)};
    IrDim stride[] = {ir_dim(r->image), ir_dim(hw), ir_dim(w), ir_dim(m->block), ir_dim(1)};
    LaneSpec s;
    memset(&s, 0, sizeof s);
    cg_nd_init(&s.nd, whole ? 5 : 4, size);
    cg_nd_add(&s.nd, stride, ir_dim(first * hw));
    CgArg args[MAX_SOURCES + 1] = {cg_write(m->n->out[0])};
    int n_args = 1;
    for (int k = 0; k < pt->n; k++) {
        add_source(m, &s.nd, pt->operand[k], pt->block[k]);
        args[n_args] = cg_read(ir_in(m->n, pt->operand[k]));
        s.arg[k] = n_args++;
        for (int j = 0; j < k; j++) {
            if (pt->operand[j] == pt->operand[k] && s.arg[k] == n_args - 1) {
                s.arg[k] = s.arg[j];
                n_args--;
            }
        }
    }
    const char *algo = ir_op_info(m->n->op)->text;
    if (whole) {
        cg_copy_nd(m->p, m->n, algo, &s.nd, IR_F32, args[0], args[1]);
        return;
    }
    if (cg_nd_empty(&s.nd)) {
        return;
    }
    cg_nd_collapse(&s.nd, 1);
    s.n_sources = pt->n;
    memcpy(s.source, pt->source, sizeof s.source);
    memcpy(s.lane, pt->lane, sizeof s.lane);
    int k = cg_kernel(m->p, algo, emit_lanes, &s, sizeof s, n_args, 60 + 30 * pt->n);
    cg_call(m->p, m->n, k, n_args, args, algo, (IrDim){0, 0});
}

static void move_channels(const Mover *m) {
    int64_t blocks = (m->channels + m->block - 1) / m->block;
    bool more = true;
    for (int skip = 0; more; skip += MAX_SOURCES) {
        more = false;
        for (int64_t b = 0; b < blocks;) {
            Pattern first, next;
            more = find_pattern(m, b, skip, &first) || more;
            int64_t count = 1;
            while (b + count < blocks) {
                more = find_pattern(m, b + count, skip, &next) || more;
                if (!is_next(&first, &next, count)) {
                    break;
                }
                count++;
            }
            if (first.works) {
                call_run(m, &first, b, count);
            }
            b += count;
        }
    }
}

static Mover new_mover(CgProgram *p, const IrNode *n, ChannelFrom **from) {
    Mover m = {.p = p,
               .n = n,
               .block = n->out[0]->type.block,
               .result = cg_tensor(n->out[0]),
               .offset = ir_dim(0),
               .step = {1, 1}};
    m.channels = cg_channels(&m.result);
    *from = ir_alloc_array(cg_arena(p), (size_t)m.channels, sizeof **from);
    m.from = *from;
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
