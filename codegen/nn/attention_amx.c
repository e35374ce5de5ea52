// attention of bf16 on matrix tiles (codegen/build/amx.h): a task is up to two tiles of rows, by
// two vectors of keys or of the values' columns at a time. Keys and values stand in scratch in the
// order of tiles anyway, queries and what values are multiplied with are rows of tiles where they
// lie. Sums pass through the scratch: scores on their way to softmax, which goes row by row.
//
//   behind the scores:  sums [row][columns, whole vectors], scale [row]
//
// A row's result depends on its own numbers alone: not on the task, nor on the threads.
#include "codegen/build/amx.h"
#include "codegen/build/dot.h"
#include "codegen/nn/attention.h"
#include "ir/machine.h"

#include <math.h>

enum { WORD = 4 };
enum { FEWEST_WORDS = 8, FEWEST_ROWS = 4 };

// Words of a piece of a head's columns; 0: there are no equal ones of a size that pays.
static int64_t piece_words(const CgAttentionSpec *s) {
    int64_t words = s->size / ir_word(IR_BF16);
    for (int64_t n = CG_AMX_ROWS; n >= FEWEST_WORDS; n--)
        if (words % n == 0)
            return n;
    return 0;
}

bool cg_attention_fits_amx(const CgAttentionSpec *s, const CgTarget *t) {
    return s->type == IR_BF16 && t->machine.dot_bf16 & IR_DOT_BF16_AMX && t->lanes == CG_AMX_ROWS &&
           piece_words(s) && s->N >= FEWEST_ROWS;
}

// ---------------------------------------------------------------- products

static void emit_scores(CgAttention *a, int64_t rows) {
    CgFn *f = a->f;
    int64_t vector = a->words * f->lanes;
    CgLoop loop;
    CgAmxProduct p = {.type = IR_BF16,
                      .rows = rows,
                      .vectors = CG_AMX_PAIR,
                      .n = cg_i64(f, a->words),
                      .piece = piece_words(a->s),
                      .row_step = a->s->columns[0] / a->word,
                      .apart = vector,
                      .step = f->lanes,
                      .to_step = a->score_width};
    p.left = cg_attention_row(a, CG_ATTENTION_Q, a->row);
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, a->key_vectors), CG_AMX_PAIR);
    p.right = cg_fat(f, a->keys, cg_imulc(f, loop.iv, vector));
    p.to = cg_fat(f, a->scores, cg_imulc(f, loop.iv, f->lanes));
    cg_amx_multiply(f, &p);
    cg_end(f, &loop);
}

static void emit_values(CgAttention *a, int64_t rows) {
    CgFn *f = a->f;
    int64_t vectors = a->value_width / f->lanes;
    CgAmxProduct p = {.type = IR_BF16,
                      .rows = rows,
                      .n = cg_i64(f, a->key_vectors * f->lanes / a->word),
                      .piece = CG_AMX_ROWS,
                      .left = a->scores,
                      .row_step = a->score_width,
                      .apart = f->lanes,
                      .step = a->value_width,
                      .to_step = a->value_width};
    for (int64_t v = 0; v < vectors; v += CG_AMX_PAIR) {
        p.vectors = vectors - v < CG_AMX_PAIR ? vectors - v : CG_AMX_PAIR;
        p.right = cg_fatc(f, a->values, v * f->lanes);
        p.to = cg_fatc(f, a->behind, v * f->lanes);
        cg_amx_multiply(f, &p);
    }
}

// ---------------------------------------------------------------- softmax

// Vectors of a row's scores that are all keys; the vector behind them has `rest`, those that
// follow none.
typedef struct Row {
    CgAttention *a;
    CgVal scores, row; // its first; of q
    CgVal most, sum;
    int64_t whole, rest;
} Row;

static CgVal load_score(const Row *r, CgVal key, CgVal lanes) {
    CgFn *f = r->a->f;
    CgVal x = cg_load_v(f, cg_fat(f, r->scores, key));
    x = cg_fmul(f, x, cg_v(f, r->a->s->alpha));
    return cg_attention_bias(r->a, x, r->row, key, lanes);
}

static void find_most(Row *r) {
    CgFn *f = r->a->f;
    CgLoop loop;
    r->most = cg_v(f, -INFINITY);
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, r->whole), f->lanes, 1, &r->most);
    r->most = cg_fmax(f, r->most, load_score(r, loop.iv, NULL));
    cg_end_carry(f, &loop, &r->most);
    if (r->rest) {
        CgVal lanes = cg_i64(f, r->rest), x = load_score(r, cg_i64(f, r->whole), lanes);
        x = cg_select(f, cg_lane_mask(f, lanes), x, cg_v(f, -INFINITY));
        r->most = cg_fmax(f, r->most, x);
    }
    r->most = cg_splat(f, cg_max_lanes(f, r->most));
}

// exp(score - most) of a vector, as bf16 to the place where the row's scores begin, and to the sum
static void emit_exp(Row *r, CgVal key, CgVal lanes) {
    CgFn *f = r->a->f;
    CgVal e = cg_exp_below(f, cg_fsub(f, load_score(r, key, lanes), r->most));
    e = lanes ? cg_select(f, cg_lane_mask(f, lanes), e, cg_v(f, 0)) : e;
    cg_dot_store_n(f, IR_BF16, e, cg_elem_at(f, IR_BF16, r->scores, key), NULL);
    r->sum = cg_fadd(f, r->sum, e);
}

static void emit_exps(Row *r) {
    CgFn *f = r->a->f;
    int64_t end = r->a->key_vectors * f->lanes;
    CgLoop loop;
    r->sum = cg_v(f, 0);
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, r->whole), f->lanes, 1, &r->sum);
    emit_exp(r, loop.iv, NULL);
    cg_end_carry(f, &loop, &r->sum);
    if (r->rest)
        emit_exp(r, cg_i64(f, r->whole), cg_i64(f, r->rest));
    for (int64_t key = r->whole + (r->rest ? f->lanes : 0); key < end; key += f->lanes)
        cg_elem_store_n(f, IR_BF16, cg_v(f, 0), cg_elem_at(f, IR_BF16, r->scores, cg_i64(f, key)),
                        NULL);
}

static CgVal scale_at(CgAttention *a, CgVal i) {
    return cg_fat(a->f, cg_fatc(a->f, a->behind, CG_AMX_STRIP * a->value_width), i);
}

static void emit_softmax(CgAttention *a, int64_t rows) {
    CgFn *f = a->f;
    int64_t rest = a->s->M % f->lanes;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, rows), 1);
    Row r = {.a = a, .whole = a->s->M - rest, .rest = rest};
    r.scores = cg_fat(f, a->scores, cg_imulc(f, loop.iv, a->score_width));
    r.row = cg_iadd(f, a->row, loop.iv);
    find_most(&r);
    emit_exps(&r);
    CgVal sum = cg_sum_lanes(f, r.sum);
    cg_store(f, cg_fdiv(f, cg_like(f, sum, 1), sum), scale_at(a, loop.iv), WORD);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- a task

static void emit_results(CgAttention *a, int64_t rows) {
    CgFn *f = a->f;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, rows), 1);
    CgVal scale = cg_splat(f, cg_load(f, f->f32, scale_at(a, loop.iv), WORD));
    CgVal sums = cg_fat(f, a->behind, cg_imulc(f, loop.iv, a->value_width));
    CgVal row = cg_iadd(f, a->row, loop.iv);
    for (int64_t column = 0; column < a->value_width; column += f->lanes) {
        CgVal x = cg_load_v(f, cg_fatc(f, sums, column));
        cg_attention_store(a, cg_fmul(f, x, scale), row, column);
    }
    cg_end(f, &loop);
}

// Pieces of columns and of keys may differ in words: then tiles are configured for each task.
static bool is_of_one_shape(const CgAttentionSpec *s) {
    return piece_words(s) == CG_AMX_ROWS;
}

static void begin(const CgAttention *a, int64_t rows) {
    if (is_of_one_shape(a->s))
        cg_amx_begin_product(a->f, IR_BF16, rows, CG_AMX_ROWS, NULL);
}

static void emit_task(CgAttention *a, int64_t rows) {
    if (!is_of_one_shape(a->s))
        cg_amx_begin_product(a->f, IR_BF16, rows, piece_words(a->s), NULL);
    emit_scores(a, rows);
    emit_softmax(a, rows);
    if (!is_of_one_shape(a->s))
        cg_amx_begin_product(a->f, IR_BF16, rows, CG_AMX_ROWS, NULL);
    emit_values(a, rows);
    emit_results(a, rows);
}

CgAttentionWay cg_attention_amx(const CgAttentionSpec *s, const CgTarget *t) {
    int64_t width = (s->size + t->lanes - 1) / t->lanes * t->lanes;
    return (CgAttentionWay){.name = "attention amx",
                            .rows = CG_AMX_STRIP,
                            .key_group = CG_AMX_PAIR,
                            .behind = CG_AMX_STRIP * (width + 1),
                            .feature = cg_target_amx(IR_BF16),
                            .begin = begin,
                            .task = emit_task,
                            .end = cg_amx_end};
}
