// Numbers of the CPU features of cpu_features.def: HONE_CPU_AVX2 and so on, from 1. What an emitted
// program's list of needs holds; a change of their order: HONE_ABI + 1. Sets of them are masks.
#ifndef RUNTIME_CORE_CPU_FEATURES_H
#define RUNTIME_CORE_CPU_FEATURES_H

#include <stdint.h>

enum {
    HONE_CPU_NONE,
#define HONE_CPU_X86(name, ...) HONE_CPU_##name,
#define HONE_CPU_ARM(name, ...) HONE_CPU_##name,
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
    HONE_CPU_COUNT
};
_Static_assert(HONE_CPU_COUNT <= 64, "a set is a mask of 64 bits");

#define HONE_CPU(name) (UINT64_C(1) << HONE_CPU_##name)

// The levels of x86-64, with all that they imply
#define HONE_CPU_V2                                                                                \
    (HONE_CPU(SSE3) | HONE_CPU(SSSE3) | HONE_CPU(SSE41) | HONE_CPU(SSE42) | HONE_CPU(POPCNT))
#define HONE_CPU_V3                                                                                \
    (HONE_CPU_V2 | HONE_CPU(LZCNT) | HONE_CPU(MOVBE) | HONE_CPU(BMI) | HONE_CPU(BMI2) |            \
     HONE_CPU(AVX) | HONE_CPU(F16C) | HONE_CPU(FMA) | HONE_CPU(AVX2))
#define HONE_CPU_V4                                                                                \
    (HONE_CPU_V3 | HONE_CPU(AVX512F) | HONE_CPU(AVX512CD) | HONE_CPU(AVX512BW) |                   \
     HONE_CPU(AVX512DQ) | HONE_CPU(AVX512VL))

#endif
