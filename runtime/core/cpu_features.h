// Numbers of the CPU features of cpu_features.def: HONE_CPU_AVX2 and so on, from 1. What an emitted
// program's list of needs holds; a change of their order: HONE_ABI + 1.
#ifndef RUNTIME_CORE_CPU_FEATURES_H
#define RUNTIME_CORE_CPU_FEATURES_H

enum {
    HONE_CPU_NONE,
#define HONE_CPU_X86(name, ...) HONE_CPU_##name,
#define HONE_CPU_ARM(name, ...) HONE_CPU_##name,
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
    HONE_CPU_COUNT
};

#endif
