// Rounding to floats of 8 and 4 bits. Private to frontend/.
#ifndef FRONTEND_IMPORT_BITS_H
#define FRONTEND_IMPORT_BITS_H

#include "frontend/import.h"

// What becomes of numbers beyond the greatest: that one, or infinity, or NaN.
typedef struct FeOverflow {
    bool saturate;
    bool infinite_is_nan; // what was infinite is NaN even so
} FeOverflow;
FeOverflow fe_read_overflow(FeNode *n, const FeSmall *t); // of a Cast or QuantizeLinear to t
// x as f32 that t, a float, can hold; halves to even.
IrValue *fe_round_small(FeNode *n, IrValue *x, const FeSmall *t, FeOverflow over);

#endif
