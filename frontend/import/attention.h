// Attention as it is shared by the operators of ai.onnx and com.microsoft. Private to frontend/.
#ifndef FRONTEND_IMPORT_ATTENTION_H
#define FRONTEND_IMPORT_ATTENTION_H

#include "frontend/import.h"

// softmax(softcap(scale * q k') + bias) v over heads:
//   q [N,H,S,D], k [N,K,T,D], v [N,K,T,V], H a multiple of K: each head of k and v serves H / K of
//   q
typedef struct FeAttention {
    IrValue *q, *k, *v;
    double scale, softcap; // softcap 0: none
    IrValue *bias;         // f32, broadcasts to [N,H,S,T]; NULL: none
    IrValue *allowed;      // bool, likewise: keys that a query sees; NULL: all
    bool may_see_none;     // some query may see no key: its result is 0
    IrValue *stage[4];     // results: scores; behind softcap; behind the bias; behind softmax
} FeAttention;

// [N,H,S,V]
IrValue *fe_attend(FeNode *n, FeAttention *a);
// [N,S,H*D] -> [N,H,S,D] and back
IrValue *fe_split_heads(FeNode *n, IrValue *x, int64_t heads);
IrValue *fe_join_heads(FeNode *n, IrValue *x);
// bool [S,T]: i + offset + low <= j <= i + offset + high for query i and key j; offset (i64)
// broadcasts, NULL: 0. A side that is open is FE_OPEN.
enum { FE_OPEN = INT32_MAX };
IrValue *fe_window_mask(FeNode *n, IrDim S, IrDim T, IrValue *offset, int64_t low, int64_t high);
IrValue *fe_both(FeNode *n, IrValue *a, IrValue *b, IrOp op); // one may be NULL
double fe_default_scale(FeNode *n, const IrValue *q);         // 1 / sqrt(D)

#endif
