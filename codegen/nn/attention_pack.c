// Keys and values of a head in the order in which attention's products read them; its operands, and
// where its result goes.
#include "codegen/build/dot.h"
#include "codegen/nn/attention.h"

CgVal cg_attention_row(const CgAttention *a, int operand, CgVal row) {
    CgFn *f = a->f;
    const CgAttentionSpec *s = a->s;
    int i = operand - CG_ATTENTION_Q;
    CgVal all = cg_iadd(f, cg_imulc(f, a->b, i == 0 ? s->N : s->M), row);
    CgVal column = cg_iaddc(f, cg_imulc(f, a->h, s->size), s->start[i]);
    CgVal at = cg_iadd(f, cg_imulc(f, all, s->columns[i]), column);
    return cg_elem_at(f, a->type, f->arg[operand], at);
}

CgVal cg_attention_lanes(const CgAttention *a, int64_t column, int64_t all) {
    int64_t left = all - column;
    return left < a->f->lanes ? cg_i64(a->f, left) : NULL;
}

CgVal cg_attention_bias(const CgAttention *a, CgVal score, CgVal row, CgVal key, CgVal lanes) {
    CgFn *f = a->f;
    const CgAttentionSpec *s = a->s;
    for (int64_t k = 0; k < s->n_bias; k++) {
        const CgAttentionBias *bias = &s->bias[k];
        CgVal plane = cg_imulc(f, cg_iremc(f, a->b, bias->period), bias->heads);
        if (bias->heads > 1)
            plane = cg_iadd(f, plane, a->h);
        CgVal at = cg_iadd(f, cg_imulc(f, plane, s->N), row);
        at = cg_iadd(f, cg_imulc(f, at, s->M), key);
        CgVal p = cg_fat(f, f->arg[CG_ATTENTION_BIAS + k], at);
        score = cg_fadd(f, score, cg_load_n(f, p, lanes));
    }
    return score;
}

void cg_attention_store(const CgAttention *a, CgVal x, CgVal row, int64_t column) {
    CgFn *f = a->f;
    const CgAttentionSpec *s = a->s;
    IrDtype out = (IrDtype)s->out;
    CgVal all = cg_iadd(f, cg_imulc(f, a->b, s->N), row);
    CgVal head = cg_imulc(f, cg_iadd(f, cg_imulc(f, all, s->heads), a->h), s->size);
    CgVal to = cg_elem_at(f, out, f->arg[CG_ATTENTION_Y], cg_iaddc(f, head, column));
    cg_dot_store_n(f, out, x, to, cg_attention_lanes(a, column, s->size));
}

// `count` keys from number `first` on, one vector
static void pack_key_vector(const CgAttention *a, CgVal first, int64_t count) {
    CgFn *f = a->f;
    CgVal row[64], to = cg_fat(f, a->keys, cg_imulc(f, first, a->words));
    bool scale = a->type == IR_F32 && a->s->alpha != 1;
    for (int64_t column = 0; column < a->words; column += f->lanes) {
        for (int64_t i = 0; i < f->lanes; i++) {
            CgVal key =
                cg_fatc(f, cg_attention_row(a, CG_ATTENTION_K, cg_iaddc(f, first, i)), column);
            row[i] =
                i < count ? cg_load_n(f, key, cg_attention_lanes(a, column, a->words)) : cg_v(f, 0);
        }
        cg_transpose_lanes(f, row);
        for (int64_t c = 0; c < f->lanes && column + c < a->words; c++) {
            CgVal x = scale ? cg_fmul(f, row[c], cg_v(f, a->s->alpha)) : row[c];
            cg_store_v(f, x, cg_fatc(f, to, (column + c) * f->lanes));
        }
    }
}

static void pack_keys(const CgAttention *a) {
    CgFn *f = a->f;
    int64_t rest = a->s->M % f->lanes, whole = a->s->M - rest;
    CgLoop loop;
    if (whole) {
        cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, whole), f->lanes);
        pack_key_vector(a, loop.iv, f->lanes);
        cg_end(f, &loop);
    }
    for (int64_t at = whole; at < a->key_vectors * f->lanes; at += f->lanes)
        pack_key_vector(a, cg_i64(f, at), at == whole ? rest : 0);
}

// Columns from `column` on of two keys as words; of one, NULL: its are 0.
static CgVal pair_values(const CgAttention *a, CgVal first, CgVal second, int64_t column) {
    CgFn *f = a->f;
    CgVal lanes = cg_attention_lanes(a, column, a->s->size), part[2], key[] = {first, second};
    for (int i = 0; i < 2; i++) {
        CgVal p = key[i] ? cg_elem_at(f, IR_U16, key[i], cg_i64(f, column)) : NULL;
        CgVal x = p ? cg_elem_load_n(f, IR_U16, p, lanes) : NULL;
        part[i] = x ? LLVMBuildZExt(f->b, x, f->ivec, "") : LLVMConstNull(f->ivec);
    }
    CgVal high = LLVMBuildShl(f->b, part[1], cg_int_like(part[1], 16), "");
    return LLVMBuildBitCast(f->b, LLVMBuildOr(f->b, part[0], high, ""), f->vec, "");
}

// Of keys 2 pair and, unless it is single, the next
static void pack_value_pair(const CgAttention *a, CgVal pair, bool single) {
    CgFn *f = a->f;
    CgVal key = cg_imulc(f, pair, 2), first = cg_attention_row(a, CG_ATTENTION_V, key);
    CgVal second = single ? NULL : cg_attention_row(a, CG_ATTENTION_V, cg_iaddc(f, key, 1));
    CgVal to = cg_fat(f, a->values, cg_imulc(f, pair, a->value_width));
    for (int64_t column = 0; column < a->s->size; column += f->lanes)
        cg_store_v(f, pair_values(a, first, second, column), cg_fatc(f, to, column));
}

static void pack_value_pairs(const CgAttention *a) {
    CgFn *f = a->f;
    int64_t pairs = a->s->M / 2;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, pairs), 1);
    pack_value_pair(a, loop.iv, false);
    cg_end(f, &loop);
    if (a->s->M % 2)
        pack_value_pair(a, cg_i64(f, pairs), true);
}

static void pack_value_rows(const CgAttention *a) {
    CgFn *f = a->f;
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, a->s->M), 1);
    CgVal from = cg_attention_row(a, CG_ATTENTION_V, loop.iv);
    CgVal to = cg_fat(f, a->values, cg_imulc(f, loop.iv, a->value_width));
    for (int64_t column = 0; column < a->s->size; column += f->lanes) {
        CgVal lanes = cg_attention_lanes(a, column, a->s->size);
        cg_store_v(f, cg_load_n(f, cg_fatc(f, from, column), lanes), cg_fatc(f, to, column));
    }
    cg_end(f, &loop);
}

static void pack_values(const CgAttention *a) {
    CgFn *f = a->f;
    int64_t there = (a->s->M + a->word - 1) / a->word, all = a->key_vectors * f->lanes / a->word;
    CgLoop loop;
    if (a->word == 2)
        pack_value_pairs(a);
    else
        pack_value_rows(a);
    cg_for(f, &loop, cg_i64(f, there * a->value_width), cg_i64(f, all * a->value_width), f->lanes);
    cg_store_v(f, cg_v(f, 0), cg_fat(f, a->values, loop.iv));
    cg_end(f, &loop);
}

void cg_attention_pack(const CgAttention *a) {
    pack_keys(a);
    pack_values(a);
}
