// attention: per head softmax(alpha q kT + biases) v, with heads where they lie in the columns of
// their operands and of the result. Scores are never in memory: a task is a few rows of one head,
// whose scores for all keys stand in the thread's scratch (attention.h). A row's result does not
// depend on the task that it is in. Products are those of vectors (attention_vectors.c) or of
// matrix tiles (attention_amx.c).
#include "codegen/nn/attention.h"
#include "ir/machine.h"

#include <string.h>

static int64_t whole(int64_t n, int64_t part) {
    return (n + part - 1) / part * part;
}

// ---------------------------------------------------------------- sizes

typedef struct Sizes {
    int64_t word, key_vectors, value_width, score_width;
    int64_t keys, values, scores; // words of scratch
} Sizes;

// Rows of scores are an odd number of lines apart, in different sets of L1.
static Sizes sizes_of(const CgAttentionSpec *s, const CgAttentionWay *way, int64_t lanes) {
    int64_t word = ir_word((IrDtype)s->type);
    int64_t keys = whole(s->M, way->key_group * lanes), width = whole(s->size, lanes);
    return (Sizes){.word = word,
                   .key_vectors = keys / lanes,
                   .value_width = width,
                   .score_width = keys | 16,
                   .keys = keys * (s->size / word),
                   .values = keys / word * width,
                   .scores = way->rows * (keys | 16)};
}

static CgAttentionWay choose_way(const CgAttentionSpec *s, const CgTarget *t) {
    return cg_attention_fits_amx(s, t) ? cg_attention_amx(s, t) : cg_attention_vectors(s, t);
}

// ---------------------------------------------------------------- the kernel

// Tasks [lo, hi) of the head, each of `rows` rows
static void emit_tasks(CgAttention *a, const CgAttentionWay *way, CgCut c, CgVal lo, CgVal hi,
                       int64_t rows) {
    CgFn *f = a->f;
    CgIf any;
    CgLoop loop;
    cg_if(f, &any, cg_icmp(f, LLVMIntSLT, lo, hi));
    if (way->begin)
        way->begin(a, rows);
    cg_for(f, &loop, lo, hi, 1);
    a->row = cg_cut_at(f, c, loop.iv);
    way->task(a, rows);
    cg_end(f, &loop);
    cg_endif(f, &any);
}

static void emit_attention(CgFn *f, const void *spec) {
    const CgAttentionSpec *s = spec;
    CgAttentionWay way = choose_way(s, f->target);
    Sizes size = sizes_of(s, &way, f->lanes);
    CgAttention a = {.f = f,
                     .s = s,
                     .type = (IrDtype)s->type,
                     .word = size.word,
                     .words = s->size / size.word,
                     .key_vectors = size.key_vectors,
                     .value_width = size.value_width,
                     .score_width = size.score_width};
    a.keys = f->scratch;
    a.values = cg_fatc(f, a.keys, size.keys);
    a.scores = cg_fatc(f, a.values, size.values);
    a.behind = cg_fatc(f, a.scores, size.scores);
    CgCut c = cg_cut((int)s->N, (int)way.rows);
    CgVal lo, hi, big = cg_i64(f, c.big), all = cg_i64(f, c.n), zero = cg_i64(f, 0);
    cg_split(f, cg_imulc(f, cg_imulc(f, cg_dim(f, s->B), s->heads), c.n), &lo, &hi);
    CgVal last = cg_idivc(f, cg_iaddc(f, hi, c.n - 1), c.n);
    last = cg_select(f, cg_icmp(f, LLVMIntSLT, lo, hi), last, zero);
    CgLoop loop;
    cg_for(f, &loop, cg_idivc(f, lo, c.n), last, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->heads), &a.b, &a.h);
    cg_attention_pack(&a);
    CgVal begin = cg_imulc(f, loop.iv, c.n);
    CgVal first = cg_imax(f, cg_isub(f, lo, begin), zero);
    CgVal end = cg_imin(f, cg_isub(f, hi, begin), all);
    emit_tasks(&a, &way, c, first, cg_imin(f, end, big), c.size);
    if (c.big < c.n)
        emit_tasks(&a, &way, c, cg_imax(f, first, big), end, c.size - 1);
    cg_end(f, &loop);
    if (way.end)
        way.end(f);
}

// ---------------------------------------------------------------- its call

// False after reporting NYI.
static bool check_columns(CgProgram *p, const IrNode *n, const CgAttentionSpec *s) {
    int64_t odd = s->size;
    if (s->type != IR_F32 && s->type != IR_BF16) {
        cg_nyi(p, n, "attention of %s", ir_dtype_name((IrDtype)s->type));
        return false;
    }
    for (int i = 0; i < 3; i++)
        odd |= s->columns[i] | s->start[i];
    if (odd % ir_word((IrDtype)s->type)) {
        cg_nyi(p, n, "attention of %s at odd columns", ir_dtype_name((IrDtype)s->type));
        return false;
    }
    return true;
}

static void read_spec(CgAttentionSpec *s, const IrNode *n) {
    memset(s, 0, sizeof *s);
    s->type = (int32_t)ir_in(n, 0)->type.dtype;
    s->out = (int32_t)n->out[0]->type.dtype;
    s->heads = ir_int(n, IR_ATTR_GROUP, 1);
    s->size = ir_int(n, IR_ATTR_SIZE, 1);
    s->alpha = ir_float(n, IR_ATTR_ALPHA, 1);
    for (int i = 0; i < 3; i++) {
        s->columns[i] = ir_in(n, i)->type.shape.dim[2].c;
        s->start[i] = ir_ints(n, IR_ATTR_START).v[i];
    }
    s->B = ir_in(n, 0)->type.shape.dim[0];
    s->N = ir_in(n, 0)->type.shape.dim[1].c;
    s->M = ir_in(n, 1)->type.shape.dim[1].c;
    for (int i = 3; i < n->n_in; i++) {
        const IrShape *x = &ir_in(n, i)->type.shape;
        s->bias[s->n_bias++] = (CgAttentionBias){x->dim[0].c, x->dim[1].c};
    }
}

void cg_lower_attention(CgProgram *p, const IrNode *n) {
    CgArg args[CG_ATTENTION_BIAS + CG_ATTENTION_BIASES] = {cg_write(n->out[0])};
    CgAttentionSpec s;
    if (!cg_need_plain(p, n))
        return;
    read_spec(&s, n);
    if (!check_columns(p, n, &s))
        return;
    for (int i = 0; i < n->n_in; i++)
        args[CG_ATTENTION_Q + i] = cg_read(ir_in(n, i));
    const CgTarget *t = cg_target(p);
    CgAttentionWay way = choose_way(&s, t);
    Sizes size = sizes_of(&s, &way, t->lanes);
    cg_scratch(p, (size.keys + size.values + size.scores + way.behind) * (int64_t)sizeof(float));
    cg_need(p, way.feature);
    int64_t flops = 4 * s.heads * s.size * s.N * s.M;
    int k = cg_kernel(p, "attention", emit_attention, &s, sizeof s, n->n_in + 1, 2000);
    cg_call(p, n, k, n->n_in + 1, args, way.name, (IrDim){flops * s.B.c, flops * s.B.n});
}
