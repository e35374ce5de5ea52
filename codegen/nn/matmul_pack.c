// A product's constant factor b, [K][M], in the order that panels read it: blocks of 16 columns, in
// each of them word after word of K, which is 4 bytes: an f32, or 4 bytes that a dot takes at a
// time.
//
//   [M/16][K/word][16][word], in whole panels of the most vectors, padded with zeros
#include "codegen/nn/matmul.h"

#include <string.h>

enum { WORD = 4 }; // bytes

int64_t cg_matmul_most_vectors(int64_t columns) {
    int64_t blocks = (columns + IR_BLOCK - 1) / IR_BLOCK;
    return blocks < CG_MATMUL_VECTORS ? blocks : CG_MATMUL_VECTORS;
}

// Columns padded to panels
static int64_t padded_columns(const CgMatmulColumns *b) {
    int64_t width = cg_matmul_most_vectors(b->m) * IR_BLOCK;
    return (b->m + width - 1) / width * width;
}

// Columns [first, first + n) of all words.
static void pack_block(const CgMatmulColumns *b, const char *from, int64_t first, int64_t n,
                       char *to) {
    int64_t bytes = WORD / b->word;
    for (int64_t i = 0; i < b->words; i++) {
        for (int64_t j = 0; j < n; j++) {
            for (int64_t t = 0; t < b->word; t++) {
                int64_t at = (i * b->word + t) * b->k_stride + (first + j) * b->m_stride;
                char *word = to + (i * IR_BLOCK + j) * WORD;
                memcpy(word + t * bytes, from + at * bytes, (size_t)bytes);
            }
        }
    }
}

// CgFill
static void fill_columns(const void *ctx, const void *from, float *to) {
    const CgMatmulColumns *b = ctx;
#pragma omp parallel for
    for (int64_t first = 0; first < b->m; first += IR_BLOCK) {
        int64_t n = b->m - first < IR_BLOCK ? b->m - first : IR_BLOCK;
        pack_block(b, from, first, n, (char *)(to + first * b->words));
    }
}

CgArg cg_matmul_pack(CgProgram *p, const CgMatmulColumns *b) {
    int64_t offset, words = padded_columns(b) * b->words;
    bool fresh;
    char *key = ir_sprintf(cg_arena(p), "columns%lld:%p", (long long)b->k_stride, (void *)b->konst);
    if (b->word == 1) {
        CgMake m = {fill_columns, b, sizeof *b, b->konst, words, IR_F32};
        CgFloats x = cg_pack_floats(p, key, &m);
        return cg_widened(p, key, &x);
    }
    void *to = cg_pack(p, key, (size_t)words * WORD, &offset, &fresh);
    if (fresh && to) {
        fill_columns(b, ir_const_data(cg_ir(p), b->konst), to);
    }
    return cg_packed(offset);
}

int64_t cg_matmul_pack_zero(CgProgram *p, const CgMatmulColumns *b, int64_t zero) {
    int64_t offset;
    bool fresh;
    char *key = ir_sprintf(cg_arena(p), "columns%lld of %lld:%p", (long long)b->k_stride,
                           (long long)zero, (void *)b->konst);
    uint32_t *to = cg_pack(p, key, (size_t)padded_columns(b) * sizeof *to, &offset, &fresh);
    const int8_t *from = fresh && to ? ir_const_data(cg_ir(p), b->konst) : NULL;
    for (int64_t j = 0; from && j < b->m; j++) {
        for (int64_t k = 0; k < b->words * b->word; k++) { // wraps around, as the sums do
            to[j] -= (uint32_t)zero * (uint32_t)from[k * b->k_stride + j * b->m_stride];
        }
    }
    return offset;
}
