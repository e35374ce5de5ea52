// Counter-based random numbers: element i of stream `seed` is a pure function of both, so that the
// evaluator, every kernel and every number of threads draw the same numbers. The function is
// splitmix64 (Steele, Lea, Flood 2014) on (seed, i); codegen emits the same few integer operations.
#ifndef IR_RANDOM_H
#define IR_RANDOM_H

#include <math.h>
#include <stdint.h>

#define IR_RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15)
#define IR_RANDOM_MUL1 UINT64_C(0xbf58476d1ce4e5b9)
#define IR_RANDOM_MUL2 UINT64_C(0x94d049bb133111eb)

static inline uint64_t ir_random_mix(uint64_t z) {
    z = (z ^ (z >> 30)) * IR_RANDOM_MUL1;
    z = (z ^ (z >> 27)) * IR_RANDOM_MUL2;
    return z ^ (z >> 31);
}

// The stream's key: constant over a kernel's loop.
static inline uint64_t ir_random_key(uint64_t seed) {
    return ir_random_mix(seed + IR_RANDOM_STEP);
}

// The key where a number given at run time, say a training step's, takes part too: of the stream
// ir_random_mix(seed's key ^ given).
static inline uint64_t ir_random_key_with(uint64_t seed, uint64_t given) {
    return ir_random_mix(ir_random_key(seed) ^ given);
}

// Element i of the stream with this key, uniform over all of uint32.
static inline uint32_t ir_random_u32(uint64_t key, uint64_t i) {
    return (uint32_t)(ir_random_mix(key + (i + 1) * IR_RANDOM_STEP) >> 32);
}

// The least t with  u32 / 2^32 >= ratio  <=>  u32 >= t. Ratios outside [0, 1] are clamped, NaN
// is 0.
static inline uint64_t ir_random_threshold(double ratio) {
    if (!(ratio > 0)) {
        return 0;
    }
    return ratio >= 1 ? UINT64_C(1) << 32 : (uint64_t)ceil(ratio * 4294967296.0);
}

#endif
