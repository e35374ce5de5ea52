// attention: per head softmax(alpha q kT + biases) v, with heads where they lie in the columns of
// their operands and of the result. Scores are never in memory: a task is a few rows of one head,
// whose scores for all keys stand in the thread's scratch, in L1 where keys are hundreds. They are
// divided by their sum at the end, after the products with the values.
//
//   keys    [vector of keys][column][lanes]   times alpha; zeros behind the last key
//   values  [key][columns, whole vectors]
//   scores  [row][keys, whole vectors]
//
// Keys and values of a head are put into scratch once by each thread that has tasks of the head:
// those come head by head. A row's result does not depend on the task that it is in.
//
// Products are of words (dot.h): of bf16 those of a query and a key are by pairs of columns, those
// with the values by pairs of keys, which a row of values' words holds side by side. Scores, their
// greatest and their sum are f32; what the values are multiplied with is rounded to bf16, to the
// place of the scores. Of f32 the factor alpha is in the keys, of bf16 it is the scores'.
#include "codegen/build/dot.h"
#include "codegen/build/nd.h"
#include "ir/machine.h"
#include <math.h>
#include <string.h>

enum { Y, Q, K, V, BIAS, MAX_BIAS = 2, MAX_ROWS = 6, MAX_VECTORS = 4 };

typedef struct Bias {
    int64_t period, heads; // [period][heads, or 1][rows of q][rows of k]
} Bias;

typedef struct AttentionSpec {
    IrDim B;
    int64_t N, M, heads, size;    // rows of q, of k and v; columns of a head
    int64_t columns[3], start[3]; // of q, k, v
    int64_t n_bias;
    Bias bias[MAX_BIAS];
    double alpha;
    int32_t type, out; // of q, k and v: f32 or bf16; of the result
} AttentionSpec;

// `n` parts as equal as can be, the first `big` of `size`, the others of one less
typedef struct Cut {
    int64_t n, size, big;
} Cut;

static Cut cut(int64_t total, int64_t most) {
    int64_t n = (total + most - 1) / most, size = (total + n - 1) / n;
    return (Cut){n, size, total - n * (size - 1)};
}

static CgVal cut_at(CgFn *f, const Cut *c, CgVal part) {
    CgVal behind = cg_imax(f, cg_iaddc(f, part, -c->big), cg_i64(f, 0));
    return cg_isub(f, cg_imulc(f, part, c->size), behind);
}

typedef struct Attention {
    CgFn *f;
    const AttentionSpec *s;
    IrDtype type;
    int64_t word, words;                           // elements of a word; words of a head's columns
    int64_t key_vectors, value_width, score_width; // words, the latter two
    int64_t vectors;                               // of a register tile, at most
    CgVal keys, values, scores;                    // in scratch
    CgVal b, h;                                    // batch element, head
    CgVal row;                                     // the task's first, of q
} Attention;

// ---------------------------------------------------------------- sizes

static int64_t whole_vectors(int64_t n, int64_t lanes) {
    return (n + lanes - 1) / lanes * lanes;
}

// Floats between rows of scores: an odd number of lines, in different sets of L1.
static int64_t score_width(const AttentionSpec *s, int64_t lanes) {
    return whole_vectors(s->M, lanes) | 16;
}

static int64_t scratch_words(const AttentionSpec *s, int64_t lanes) {
    int64_t word = ir_word((IrDtype)s->type), pairs = (s->M + word - 1) / word;
    int64_t keys = whole_vectors(s->M, lanes) * (s->size / word);
    return keys + pairs * whole_vectors(s->size, lanes) + MAX_ROWS * score_width(s, lanes);
}

// Vectors and rows of a register tile, whose sums registers hold next to a row of keys and a factor
static int64_t tile_vectors(const CgFn *f) {
    const IrMachine *m = &f->target->machine;
    return ir_parts(m) == 1 && m->vector_registers >= 32 ? MAX_VECTORS : 1;
}

static int64_t tile_rows(const CgFn *f) {
    const IrMachine *m = &f->target->machine;
    int64_t vector = tile_vectors(f) * ir_parts(m);
    int64_t rows = (m->vector_registers - vector - 1) / vector;
    return rows < 1 ? 1 : rows > MAX_ROWS ? MAX_ROWS : rows;
}

// ---------------------------------------------------------------- keys and values of a head

// Row `row` of the head in operand `operand`
static CgVal head_row(Attention *a, int operand, CgVal row) {
    CgFn *f = a->f;
    const AttentionSpec *s = a->s;
    int i = operand - Q;
    CgVal all = cg_iadd(f, cg_imulc(f, a->b, i == 0 ? s->N : s->M), row);
    CgVal column = cg_iaddc(f, cg_imulc(f, a->h, s->size), s->start[i]);
    CgVal at = cg_iadd(f, cg_imulc(f, all, s->columns[i]), column);
    return cg_elem_at(f, a->type, f->arg[operand], at);
}

// Lanes from `column` on of `all`, the head's; NULL: all lanes
static CgVal head_lanes(Attention *a, int64_t column, int64_t all) {
    int64_t left = all - column;
    return left < a->f->lanes ? cg_i64(a->f, left) : NULL;
}

// `count` keys from number `first` on, one vector
static void pack_key_vector(Attention *a, CgVal first, int64_t count) {
    CgFn *f = a->f;
    CgVal row[64], to = cg_fat(f, a->keys, cg_imulc(f, first, a->words));
    bool scale = a->type == IR_F32 && a->s->alpha != 1;
    for (int64_t column = 0; column < a->words; column += f->lanes) {
        for (int64_t i = 0; i < f->lanes; i++) {
            CgVal key = cg_fatc(f, head_row(a, K, cg_iaddc(f, first, i)), column);
            row[i] = i < count ? cg_load_n(f, key, head_lanes(a, column, a->words)) : cg_v(f, 0);
        }
        cg_transpose_lanes(f, row);
        for (int64_t c = 0; c < f->lanes && column + c < a->words; c++) {
            CgVal x = scale ? cg_fmul(f, row[c], cg_v(f, a->s->alpha)) : row[c];
            cg_store_v(f, x, cg_fatc(f, to, (column + c) * f->lanes));
        }
    }
}

static void pack_keys(Attention *a) {
    CgFn *f = a->f;
    int64_t rest = a->s->M % f->lanes, whole = a->s->M - rest;
    CgLoop loop;
    if (whole) {
        cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, whole), f->lanes);
        pack_key_vector(a, loop.iv, f->lanes);
        cg_end(f, &loop);
    }
    if (rest)
        pack_key_vector(a, cg_i64(f, whole), rest);
}

// Columns from `column` on of two keys as words; of one, NULL beside it: the other's are 0.
static CgVal pair_values(Attention *a, CgVal first, CgVal second, int64_t column) {
    CgFn *f = a->f;
    CgVal lanes = head_lanes(a, column, a->s->size), part[2], key[] = {first, second};
    for (int i = 0; i < 2; i++) {
        CgVal p = key[i] ? cg_elem_at(f, IR_U16, key[i], cg_i64(f, column)) : NULL;
        CgVal x = p ? cg_elem_load_n(f, IR_U16, p, lanes) : NULL;
        part[i] = x ? LLVMBuildZExt(f->b, x, f->ivec, "") : LLVMConstNull(f->ivec);
    }
    CgVal high = LLVMBuildShl(f->b, part[1], cg_int_like(part[1], 16), "");
    return LLVMBuildBitCast(f->b, LLVMBuildOr(f->b, part[0], high, ""), f->vec, "");
}

static void pack_value_pair(Attention *a, CgVal pair, bool single) {
    CgFn *f = a->f;
    CgVal key = cg_imulc(f, pair, 2), first = head_row(a, V, key);
    CgVal second = single ? NULL : head_row(a, V, cg_iaddc(f, key, 1));
    CgVal to = cg_fat(f, a->values, cg_imulc(f, pair, a->value_width));
    for (int64_t column = 0; column < a->s->size; column += f->lanes)
        cg_store_v(f, pair_values(a, first, second, column), cg_fatc(f, to, column));
}

static void pack_value_pairs(Attention *a) {
    CgFn *f = a->f;
    int64_t pairs = a->s->M / 2;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, pairs), 1);
    pack_value_pair(a, loop.iv, false);
    cg_end(f, &loop);
    if (a->s->M % 2)
        pack_value_pair(a, cg_i64(f, pairs), true);
}

static void pack_values(Attention *a) {
    CgFn *f = a->f;
    if (a->word == 2) {
        pack_value_pairs(a);
        return;
    }
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, a->s->M), 1);
    CgVal from = head_row(a, V, loop.iv);
    CgVal to = cg_fat(f, a->values, cg_imulc(f, loop.iv, a->value_width));
    for (int64_t column = 0; column < a->s->size; column += f->lanes)
        cg_store_v(f, cg_load_n(f, cg_fatc(f, from, column), head_lanes(a, column, a->s->size)),
                   cg_fatc(f, to, column));
    cg_end(f, &loop);
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

static CgVal score_at(Attention *a, int64_t i, CgVal key) {
    return cg_fat(a->f, cg_fatc(a->f, a->scores, i * a->score_width), key);
}

// Keys that there are from `key` on, of a vector; NULL: all
static CgVal key_lanes(Attention *a, CgVal key) {
    CgFn *f = a->f;
    if (a->s->M % f->lanes == 0)
        return NULL;
    return cg_imin(f, cg_isub(f, cg_i64(f, a->s->M), key), cg_i64(f, f->lanes));
}

static CgVal add_biases(Attention *a, CgVal score, int64_t i, CgVal key, CgVal lanes) {
    CgFn *f = a->f;
    const AttentionSpec *s = a->s;
    for (int64_t k = 0; k < s->n_bias; k++) {
        const Bias *bias = &s->bias[k];
        CgVal plane = cg_imulc(f, cg_iremc(f, a->b, bias->period), bias->heads);
        if (bias->heads > 1)
            plane = cg_iadd(f, plane, a->h);
        CgVal row = cg_iadd(f, cg_imulc(f, plane, s->N), cg_iaddc(f, a->row, i));
        CgVal at = cg_iadd(f, cg_imulc(f, row, s->M), key);
        score = cg_fadd(f, score, cg_load_n(f, cg_fat(f, f->arg[BIAS + k], at), lanes));
    }
    return score;
}

// Vectors [first, first + vectors) of keys for the task's rows
static void emit_score_tile(Attention *a, int64_t rows, CgVal first, int64_t vectors) {
    CgFn *f = a->f;
    int64_t vector = a->words * f->lanes;
    Product p = {a->type, rows, vectors, a->words, {NULL}, NULL, f->lanes, vector, {NULL}};
    p.right = cg_fat(f, a->keys, cg_imulc(f, first, vector));
    for (int64_t i = 0; i < rows; i++)
        p.left[i] = head_row(a, Q, cg_iaddc(f, a->row, i));
    multiply(f, &p);
    for (int64_t v = 0; v < vectors; v++) {
        CgVal key = cg_imulc(f, cg_iaddc(f, first, v), f->lanes), lanes = key_lanes(a, key);
        CgVal there = lanes ? cg_lane_mask(f, lanes) : NULL;
        for (int64_t i = 0; i < rows; i++) {
            CgVal x = p.acc[i * vectors + v];
            x = a->type == IR_F32 ? x : cg_fmul(f, x, cg_v(f, a->s->alpha));
            x = add_biases(a, x, i, key, lanes);
            x = there ? cg_select(f, there, x, cg_v(f, -INFINITY)) : x;
            cg_store_v(f, x, score_at(a, i, key));
        }
    }
}

static void emit_scores(Attention *a, int64_t rows) {
    CgFn *f = a->f;
    Cut c = cut(a->key_vectors, a->vectors);
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, c.big), 1);
    emit_score_tile(a, rows, cg_imulc(f, loop.iv, c.size), c.size);
    cg_end(f, &loop);
    if (c.big == c.n)
        return;
    cg_for(f, &loop, cg_i64(f, c.big), cg_i64(f, c.n), 1);
    emit_score_tile(a, rows, cut_at(f, &c, loop.iv), c.size - 1);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- softmax

// exp(score - greatest) in the place of scores, which bf16 takes half of; scale[i]: the inverse of
// the sum of row i.
static void emit_softmax(Attention *a, int64_t rows, CgVal *scale) {
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
        cg_elem_store_n(f, a->type, e, to, NULL);
        scale[i] = cg_fadd(f, scale[i], e);
    }
    cg_end_carry(f, &loop, scale);
    for (int64_t i = 0; i < rows; i++) {
        CgVal sum = cg_sum_lanes(f, scale[i]);
        scale[i] = cg_splat(f, cg_fdiv(f, cg_like(f, sum, 1), sum));
    }
}

// ---------------------------------------------------------------- values

static void emit_value_tile(Attention *a, int64_t rows, int64_t column, int64_t vectors,
                            const CgVal *scale) {
    CgFn *f = a->f;
    const AttentionSpec *s = a->s;
    int64_t n = (s->M + a->word - 1) / a->word;
    Product p = {a->type, rows, vectors, n, {NULL}, NULL, a->value_width, f->lanes, {NULL}};
    p.right = cg_fatc(f, a->values, column);
    for (int64_t i = 0; i < rows; i++)
        p.left[i] = score_at(a, i, cg_i64(f, 0));
    multiply(f, &p);
    for (int64_t i = 0; i < rows; i++) {
        CgVal row = cg_iadd(f, cg_imulc(f, a->b, s->N), cg_iaddc(f, a->row, i));
        CgVal head = cg_imulc(f, cg_iadd(f, cg_imulc(f, row, s->heads), a->h), s->size);
        for (int64_t v = 0; v < vectors; v++) {
            int64_t at = column + v * f->lanes;
            CgVal to = cg_elem_at(f, (IrDtype)s->out, f->arg[Y], cg_iaddc(f, head, at));
            cg_elem_store_n(f, (IrDtype)s->out, cg_fmul(f, p.acc[i * vectors + v], scale[i]), to,
                            head_lanes(a, at, s->size));
        }
    }
}

static void emit_values(Attention *a, int64_t rows, const CgVal *scale) {
    int64_t lanes = a->f->lanes, left = a->value_width / lanes;
    for (int64_t column = 0; column < a->value_width;) {
        int64_t vectors = left < a->vectors ? left : a->vectors;
        emit_value_tile(a, rows, column, vectors, scale);
        column += vectors * lanes;
        left -= vectors;
    }
}

// ---------------------------------------------------------------- the kernel

// Tasks [lo, hi) of the head, each of `rows` rows
static void emit_tasks(Attention *a, const Cut *c, CgVal lo, CgVal hi, int64_t rows) {
    CgFn *f = a->f;
    CgVal scale[MAX_ROWS];
    CgLoop loop;
    cg_for(f, &loop, lo, hi, 1);
    a->row = cut_at(f, c, loop.iv);
    emit_scores(a, rows);
    emit_softmax(a, rows, scale);
    emit_values(a, rows, scale);
    cg_end(f, &loop);
}

static void emit_attention(CgFn *f, const void *spec) {
    const AttentionSpec *s = spec;
    int64_t lanes = f->lanes, word = ir_word((IrDtype)s->type);
    Attention a = {.f = f,
                   .s = s,
                   .type = (IrDtype)s->type,
                   .word = word,
                   .words = s->size / word,
                   .key_vectors = (s->M + lanes - 1) / lanes,
                   .value_width = whole_vectors(s->size, lanes),
                   .score_width = score_width(s, lanes),
                   .vectors = tile_vectors(f)};
    a.keys = f->scratch;
    a.values = cg_fatc(f, a.keys, a.key_vectors * lanes * a.words);
    a.scores = cg_fatc(f, a.values, (s->M + word - 1) / word * a.value_width);
    Cut c = cut(s->N, tile_rows(f));
    CgVal lo, hi, big = cg_i64(f, c.big), all = cg_i64(f, c.n), zero = cg_i64(f, 0);
    cg_split(f, cg_imulc(f, cg_imulc(f, cg_dim(f, s->B), s->heads), c.n), &lo, &hi);
    CgVal last = cg_idivc(f, cg_iaddc(f, hi, c.n - 1), c.n);
    last = cg_select(f, cg_icmp(f, LLVMIntSLT, lo, hi), last, zero);
    CgLoop loop;
    cg_for(f, &loop, cg_idivc(f, lo, c.n), last, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->heads), &a.b, &a.h);
    pack_keys(&a);
    pack_values(&a);
    CgVal begin = cg_imulc(f, loop.iv, c.n);
    CgVal first = cg_imax(f, cg_isub(f, lo, begin), zero);
    CgVal end = cg_imin(f, cg_isub(f, hi, begin), all);
    emit_tasks(&a, &c, first, cg_imin(f, end, big), c.size);
    if (c.big < c.n)
        emit_tasks(&a, &c, cg_imax(f, first, big), end, c.size - 1);
    cg_end(f, &loop);
}

void cg_lower_attention(CgProgram *p, const IrNode *n) {
    const CgTarget *target = cg_target(p);
    AttentionSpec s;
    CgArg args[BIAS + MAX_BIAS] = {cg_write(n->out[0])};
    int n_args = 1;
    if (!cg_need_plain(p, n))
        return;
    memset(&s, 0, sizeof s);
    s.type = (int32_t)ir_in(n, 0)->type.dtype;
    s.out = (int32_t)n->out[0]->type.dtype;
    if (s.type != IR_F32 && s.type != IR_BF16) {
        cg_nyi(p, n, "attention of %s", ir_dtype_name((IrDtype)s.type));
        return;
    }
    s.heads = ir_int(n, IR_ATTR_GROUP, 1);
    s.size = ir_int(n, IR_ATTR_SIZE, 1);
    s.alpha = ir_float(n, IR_ATTR_ALPHA, 1);
    for (int i = 0; i < 3; i++) {
        const IrShape *x = &ir_in(n, i)->type.shape;
        s.columns[i] = x->dim[2].c;
        s.start[i] = ir_ints(n, IR_ATTR_START).v[i];
        args[n_args++] = cg_read(ir_in(n, i));
        if ((s.size | s.columns[i] | s.start[i]) % ir_word((IrDtype)s.type)) {
            cg_nyi(p, n, "attention of %s at odd columns", ir_dtype_name((IrDtype)s.type));
            return;
        }
    }
    s.B = ir_in(n, 0)->type.shape.dim[0];
    s.N = ir_in(n, 0)->type.shape.dim[1].c;
    s.M = ir_in(n, 1)->type.shape.dim[1].c;
    for (int i = 3; i < n->n_in; i++) {
        const IrShape *x = &ir_in(n, i)->type.shape;
        s.bias[s.n_bias++] = (Bias){x->dim[0].c, x->dim[1].c};
        args[n_args++] = cg_read(ir_in(n, i));
    }
    cg_scratch(p, scratch_words(&s, target->lanes) * (int64_t)sizeof(float));
    int64_t flops = 4 * s.heads * s.size * s.N * s.M;
    int k = cg_kernel(p, "attention", emit_attention, &s, sizeof s, n_args, 2000);
    cg_call(p, n, k, n_args, args, "attention", (IrDim){flops * s.B.c, flops * s.B.n});
}
