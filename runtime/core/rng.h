// Random numbers without state: each is a function of (seed, epoch, index, purpose) and of how many
// were drawn before it there. So the same run gives the same numbers on any number of threads, and
// a resumed run needs no generator in its checkpoint. Private header.
#ifndef RUNTIME_CORE_RNG_H
#define RUNTIME_CORE_RNG_H

#include <stdint.h>

enum { // purposes: streams that share seed, epoch and index but nothing else. Never renumber
    RT_RNG_SHUFFLE = 1,
    RT_RNG_SPLIT = 2,   // of one folder into training and validation
    RT_RNG_AUGMENT = 3, // index: the item
    RT_RNG_DROPOUT = 4, // index: the step
    RT_RNG_SYNTHETIC = 5,
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
int64_t rt_rng_below(RtRng *r, int64_t n);                // 0 to n - 1, unbiased; n >= 1

// The permutation of 0 to n - 1 of an epoch (Fisher-Yates).
void rt_rng_permutation(uint64_t seed, int64_t epoch, int64_t *order, int64_t n);

#endif
