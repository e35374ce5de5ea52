// What this machine can do at most, measured. Private header.
#ifndef RUNTIME_CORE_CEILING_H
#define RUNTIME_CORE_CEILING_H

#include <stdint.h>

typedef struct RtCeiling {
    const char *simd; // instructions of the peak: "AVX-512", "AVX2+FMA", "SSE2", ...
    int threads;      // that ran at once
    double gflops;    // fp32, a multiply and an add counted as two; all threads together
    double gbs;       // 10^9 bytes/s read from main memory; 0: no memory to measure it with
} RtCeiling;

// Peak arithmetic and memory bandwidth of `threads` threads that run at once (of the CPUs, if those
// are fewer). Takes about 0.1 s, and 64 to 256 MB of memory while it lasts.
RtCeiling rt_ceiling_measure(int threads);
// The least time in ms that so much work takes: the longer of computing and moving.
// *by_memory tells which (may be NULL). 0 for no work, or where the ceiling is unknown.
double rt_ceiling_ms(const RtCeiling *c, double flops, double bytes, int *by_memory);

#endif
