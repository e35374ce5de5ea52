// attention by vectors: a register tile is rows by vectors of keys, or of the values' columns.
//
// Products are of words (dot.h): of bf16 those of a query and a key are by pairs of columns, those
// with the values by pairs of keys, which a row of values' words holds side by side. Scores, their
// greatest and their sum are f32; what the values are multiplied with is rounded to bf16, to the
// place of the scores, which bf16 takes half of. Of f32 the factor alpha is in the keys, of bf16 it
// is the scores'.
#include "codegen/build/dot.h"
#include "codegen/nn/attention.h"
#include "ir/machine.h"

#include <math.h>

enum { MAX_ROWS = 6, MAX_VECTORS = 4 };

// Vectors and rows of a register tile, whose sums registers hold next to a row of keys and a factor
static int64_t tile_vectors(const CgTarget *t) {
    const IrMachine *m = &t->machine;
    return ir_parts(m) == 1 && m->vector_registers >= 32 ? MAX_VECTORS : 1;
}

static int64_t tile_rows(const CgTarget *t) {
    const IrMachine *m = &t->machine;
    int64_t vector = tile_vectors(t) * ir_parts(m);
    int64_t rows = (m->vector_registers - vector - 1) / vector;
    return rows < 1 ? 1 : rows > MAX_ROWS ? MAX_ROWS : rows;
}

// ---------------------------------------------------------------- a register tile

// Sums of products of `rows` rows with `vectors` vectors of `right`, over n words: step k takes
// word k of a row and the vectors at right + k * step, `apart` words apart.
typedef struct Product {
    IrDtype type;
    int64_t rows, vectors, n;
    CgVal left[MAX_ROWS], right;
    int64_t step, apart;
    CgVal acc[MAX_ROWS * MAX_VECTORS];
} Product;

static void add_products(CgFn *f, Product *p, CgVal k) {
    CgDot w[MAX_VECTORS];
    CgVal at = cg_fat(f, p->right, cg_imulc(f, k, p->step));
    for (int64_t v = 0; v < p->vectors; v++)
        w[v] = cg_dot_load_w(f, p->type, cg_fatc(f, at, v * p->apart));
    for (int64_t i = 0; i < p->rows; i++) {
        CgDot x = cg_dot_load_x(f, p->type, cg_fat(f, p->left[i], k));
        for (int64_t v = 0; v < p->vectors; v++) {
            CgVal *acc = &p->acc[i * p->vectors + v];
            *acc = cg_dot(f, p->type, x, w[v], *acc);
        }
    }
}

static void multiply(CgFn *f, Product *p) {
    enum { UNROLL = 2 };
    int n = (int)(p->rows * p->vectors);
    int64_t main = p->n / UNROLL * UNROLL;
    CgLoop loop;
    for (int i = 0; i < n; i++)
        p->acc[i] = cg_v(f, 0);
    if (main) {
        cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, main), UNROLL, n, p->acc);
        for (int u = 0; u < UNROLL; u++)
            add_products(f, p, cg_iaddc(f, loop.iv, u));
        cg_end_carry(f, &loop, p->acc);
    }
    if (p->n > main)
        add_products(f, p, cg_i64(f, main));
}

// ---------------------------------------------------------------- scores

static CgVal score_at(CgAttention *a, int64_t i, CgVal key) {
    return cg_fat(a->f, cg_fatc(a->f, a->scores, i * a->score_width), key);
}

// Keys that there are from `key` on, of a vector; NULL: all
static CgVal key_lanes(CgAttention *a, CgVal key) {
    CgFn *f = a->f;
    if (a->s->M % f->lanes == 0)
        return NULL;
    return cg_imin(f, cg_isub(f, cg_i64(f, a->s->M), key), cg_i64(f, f->lanes));
}

// Vectors [first, first + vectors) of keys for the task's rows
static void emit_score_tile(CgAttention *a, int64_t rows, CgVal first, int64_t vectors) {
    CgFn *f = a->f;
    int64_t vector = a->words * f->lanes;
    Product p = {a->type, rows, vectors, a->words, {NULL}, NULL, f->lanes, vector, {NULL}};
    p.right = cg_fat(f, a->keys, cg_imulc(f, first, vector));
    for (int64_t i = 0; i < rows; i++)
        p.left[i] = cg_attention_row(a, CG_ATTENTION_Q, cg_iaddc(f, a->row, i));
    multiply(f, &p);
    for (int64_t v = 0; v < vectors; v++) {
        CgVal key = cg_imulc(f, cg_iaddc(f, first, v), f->lanes), lanes = key_lanes(a, key);
        CgVal there = lanes ? cg_lane_mask(f, lanes) : NULL;
        for (int64_t i = 0; i < rows; i++) {
            CgVal x = p.acc[i * vectors + v];
            x = a->type == IR_F32 ? x : cg_fmul(f, x, cg_v(f, a->s->alpha));
            x = cg_attention_bias(a, x, cg_iaddc(f, a->row, i), key, lanes);
            x = there ? cg_select(f, there, x, cg_v(f, -INFINITY)) : x;
            cg_store_v(f, x, score_at(a, i, key));
        }
    }
}

static void emit_scores(CgAttention *a, int64_t rows) {
    CgFn *f = a->f;
    CgCut c = cg_cut((int)a->key_vectors, (int)tile_vectors(f->target));
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, c.big), 1);
    emit_score_tile(a, rows, cg_imulc(f, loop.iv, c.size), c.size);
    cg_end(f, &loop);
    if (c.big == c.n)
        return;
    cg_for(f, &loop, cg_i64(f, c.big), cg_i64(f, c.n), 1);
    emit_score_tile(a, rows, cg_cut_at(f, c, loop.iv), c.size - 1);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- softmax

// exp(score - greatest) in the place of scores, which bf16 takes half of; scale[i]: the inverse of
// the sum of row i.
static void emit_softmax(CgAttention *a, int64_t rows, CgVal *scale) {
    CgFn *f = a->f;
    CgVal most[MAX_ROWS], end = cg_i64(f, a->key_vectors * f->lanes), zero = cg_i64(f, 0);
    CgLoop loop;
    for (int64_t i = 0; i < rows; i++)
        most[i] = cg_v(f, -INFINITY);
    cg_for_carry(f, &loop, zero, end, f->lanes, (int)rows, most);
    for (int64_t i = 0; i < rows; i++)
        most[i] = cg_fmax(f, most[i], cg_load_v(f, score_at(a, i, loop.iv)));
    cg_end_carry(f, &loop, most);
    for (int64_t i = 0; i < rows; i++) {
        most[i] = cg_splat(f, cg_max_lanes(f, most[i]));
        scale[i] = cg_v(f, 0);
    }
    cg_for_carry(f, &loop, zero, end, f->lanes, (int)rows, scale);
    for (int64_t i = 0; i < rows; i++) {
        CgVal p = score_at(a, i, loop.iv),
              e = cg_exp_below(f, cg_fsub(f, cg_load_v(f, p), most[i]));
        CgVal to = cg_elem_at(f, a->type, score_at(a, i, zero), loop.iv);
        cg_dot_store_n(f, a->type, e, to, NULL);
        scale[i] = cg_fadd(f, scale[i], e);
    }
    cg_end_carry(f, &loop, scale);
    for (int64_t i = 0; i < rows; i++) {
        CgVal sum = cg_sum_lanes(f, scale[i]);
        scale[i] = cg_splat(f, cg_fdiv(f, cg_like(f, sum, 1), sum));
    }
}

// ---------------------------------------------------------------- values

static void emit_value_tile(CgAttention *a, int64_t rows, int64_t column, int64_t vectors,
                            const CgVal *scale) {
    CgFn *f = a->f;
    int64_t n = (a->s->M + a->word - 1) / a->word;
    Product p = {a->type, rows, vectors, n, {NULL}, NULL, a->value_width, f->lanes, {NULL}};
    p.right = cg_fatc(f, a->values, column);
    for (int64_t i = 0; i < rows; i++)
        p.left[i] = score_at(a, i, cg_i64(f, 0));
    multiply(f, &p);
    for (int64_t i = 0; i < rows; i++) {
        CgVal row = cg_iaddc(f, a->row, i);
        for (int64_t v = 0; v < vectors; v++)
            cg_attention_store(a, cg_fmul(f, p.acc[i * vectors + v], scale[i]), row,
                               column + v * f->lanes);
    }
}

static void emit_values(CgAttention *a, int64_t rows, const CgVal *scale) {
    int64_t lanes = a->f->lanes, left = a->value_width / lanes, most = tile_vectors(a->f->target);
    for (int64_t column = 0; column < a->value_width;) {
        int64_t vectors = left < most ? left : most;
        emit_value_tile(a, rows, column, vectors, scale);
        column += vectors * lanes;
        left -= vectors;
    }
}

// ---------------------------------------------------------------- a task

static void emit_task(CgAttention *a, int64_t rows) {
    CgVal scale[MAX_ROWS];
    emit_scores(a, rows);
    emit_softmax(a, rows, scale);
    emit_values(a, rows, scale);
}

CgAttentionWay cg_attention_vectors(const CgAttentionSpec *s, const CgTarget *t) {
    (void)s;
    return (CgAttentionWay){
        .name = "attention", .rows = tile_rows(t), .key_group = 1, .task = emit_task};
}
