// attention in parts: what its kernels share. Private to codegen/nn/.
//
// A task is a few rows of one head. Keys and values of a head are put into scratch once by each
// thread that has tasks of the head, which come head by head. Scores of a task for all keys stand
// behind them; a result is divided by the sum of its row's exponentials at the end.
//
//   keys    [vector of keys][word of columns][lanes]  zeros behind the last key; of f32 times alpha
//   values  [word of keys][columns, whole vectors]    likewise
//   scores  [row][keys, whole vectors]                f32; then what the values are multiplied with
//
// where a word is an f32, or two bf16: of columns of a key, of keys one below the other of a value.
#ifndef CODEGEN_NN_ATTENTION_H
#define CODEGEN_NN_ATTENTION_H

#include "codegen/build/cut.h"
#include "codegen/build/nd.h"

enum { CG_ATTENTION_Y, CG_ATTENTION_Q, CG_ATTENTION_K, CG_ATTENTION_V, CG_ATTENTION_BIAS };
enum { CG_ATTENTION_BIASES = 2 };

typedef struct CgAttentionBias {
    int64_t period, heads; // [period][heads, or 1][rows of q][rows of k]
} CgAttentionBias;

typedef struct CgAttentionSpec {
    IrDim B;
    int64_t N, M, heads, size;    // rows of q, of k and v; columns of a head
    int64_t columns[3], start[3]; // of q, k, v
    int64_t n_bias;
    CgAttentionBias bias[CG_ATTENTION_BIASES];
    double alpha;
    int32_t type, out; // of q, k and v: f32 or bf16; of the result
} CgAttentionSpec;

typedef struct CgAttention {
    CgFn *f;
    const CgAttentionSpec *s;
    IrDtype type;
    int64_t word, words;                // elements of a word; words of a head's columns
    int64_t key_vectors;                // whose scores there are, some perhaps of no key
    int64_t value_width, score_width;   // words of a row
    CgVal keys, values, scores, behind; // in scratch; what follows the scores
    CgVal b, h;                         // batch element, head
    CgVal row;                          // the task's first, of q
} CgAttention;

// How a machine does it
typedef struct CgAttentionWay {
    const char *name;                                  // in profiles
    int64_t rows;                                      // of a task, at most
    int64_t key_group;                                 // vectors of keys come in multiples
    int64_t behind;                                    // floats of scratch behind the scores
    uint32_t feature;                                  // that it needs of the CPU, or 0
    void (*begin)(const CgAttention *a, int64_t rows); // before tasks of so many rows; or NULL
    void (*task)(CgAttention *a, int64_t rows);        // those of a from a->row on
    void (*end)(CgFn *f);                              // of the kernel; or NULL
} CgAttentionWay;

CgAttentionWay cg_attention_vectors(const CgAttentionSpec *s, const CgTarget *t);
bool cg_attention_fits_amx(const CgAttentionSpec *s, const CgTarget *t);
CgAttentionWay cg_attention_amx(const CgAttentionSpec *s, const CgTarget *t);

// Row `row` of the head in CG_ATTENTION_Q, K or V
CgVal cg_attention_row(const CgAttention *a, int operand, CgVal row);
// Lanes from `column` on of `all`, the head's; NULL: all lanes
CgVal cg_attention_lanes(const CgAttention *a, int64_t column, int64_t all);
void cg_attention_pack(const CgAttention *a); // keys and values of the head
// Score of row `row` and keys from `key` on, of which there are `lanes` (NULL: all), plus biases
CgVal cg_attention_bias(const CgAttention *a, CgVal score, CgVal row, CgVal key, CgVal lanes);
// A vector of the result: columns from `column` on of row `row`
void cg_attention_store(const CgAttention *a, CgVal x, CgVal row, int64_t column);

#endif
