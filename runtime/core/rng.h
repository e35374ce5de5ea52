// Random numbers without state: each is a function of (seed, epoch, index, purpose) and of how many
// were drawn before it there. So the same run gives the same numbers on any number of threads, and
// a resumed run needs no generator in its checkpoint. Private header.
#ifndef RUNTIME_CORE_RNG_H
#define RUNTIME_CORE_RNG_H

#include <stdbool.h>
#include <stdint.h>

enum { // purposes: streams that share seed, epoch and index but nothing else. Never renumber
    RT_RNG_SHUFFLE = 1,
    RT_RNG_SPLIT = 2,   // of one folder into training and validation
    RT_RNG_AUGMENT = 3, // index: the item
    RT_RNG_DROPOUT = 4, // index: the step
    RT_RNG_SYNTHETIC = 5,
    RT_RNG_POLICY = 6, // of TrivialAugment and RandAugment; index: the item
    RT_RNG_ERASE = 7,  // index: the item
    RT_RNG_MIX = 8,    // of mixup and cutmix; index: the batch
    RT_RNG_ORDER = 10, // of a large set; index: of a round's input
};

// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
void rt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

typedef struct RtRng {
    uint32_t counter[4], key[2], word[4];
    int left; // words not yet drawn
} RtRng;

// epoch: 0 to 2^32 - 1; index: 0 to 2^56 - 1; purpose: 0 to 255.
RtRng rt_rng(uint64_t seed, int64_t epoch, int64_t index, uint32_t purpose);
uint32_t rt_rng_u32(RtRng *r);
uint64_t rt_rng_u64(RtRng *r);
double rt_rng_uniform(RtRng *r);                          // [0, 1), 53 bits
double rt_rng_between(RtRng *r, double low, double high); // [low, high)
double rt_rng_normal(RtRng *r);                           // mean 0, deviation 1
int64_t rt_rng_below(RtRng *r, int64_t n);                // 0 to n - 1, unbiased; n >= 1

// The permutation of 0 to n - 1 of an epoch (Fisher-Yates).
void rt_rng_permutation(uint64_t seed, int64_t epoch, int64_t *order, int64_t n);

// The order of n items in an epoch: as they are, or shuffled by (seed, epoch). Up to RT_ORDER_TABLE
// items it is the permutation above; beyond that each place is computed when it is asked for, so
// that an order takes no memory however many items there are.
enum { RT_ORDER_TABLE = 1 << 20 };
typedef struct RtOrder {
    int64_t n, epoch, *table; // table NULL: none is needed; epoch -1: none is set yet
    uint64_t seed;
    bool shuffled;
    int64_t rows; // of the table that places are pairs of; about the root of n
} RtOrder;

bool rt_order_open(RtOrder *o, int64_t n, bool shuffled, uint64_t seed); // false: no memory
void rt_order_set(RtOrder *o, int64_t epoch);
int64_t rt_order_at(const RtOrder *o, int64_t place); // 0 to n - 1, once an epoch is set
void rt_order_close(RtOrder *o);

#endif
