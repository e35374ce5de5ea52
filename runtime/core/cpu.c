// Does this CPU have the instructions that a model was compiled for? Asked before its first
// instruction runs, because the alternative is SIGILL. The operating system's part counts too: it
// must save the wide registers (XCR0).
#include "runtime/core/cpu.h"

#include <stddef.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { REG_A, REG_B, REG_C, REG_D };
enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6 };

typedef struct Feature {
    const char *name;
    uint32_t leaf, reg, bit, xcr0;
} Feature;

static const Feature features[] = {
    [HONE_CPU_AVX2] = {"AVX2", 7, REG_B, 5, XCR0_YMM},
    [HONE_CPU_FMA] = {"FMA", 1, REG_C, 12, XCR0_YMM},
    [HONE_CPU_AVX512F] = {"AVX512F", 7, REG_B, 16, XCR0_ZMM},
    [HONE_CPU_AVX512VL] = {"AVX512VL", 7, REG_B, 31, XCR0_ZMM},
    [HONE_CPU_AVX512BW] = {"AVX512BW", 7, REG_B, 30, XCR0_ZMM},
    [HONE_CPU_AVX512DQ] = {"AVX512DQ", 7, REG_B, 17, XCR0_ZMM},
    [HONE_CPU_F16C] = {"F16C", 1, REG_C, 29, XCR0_YMM},
};

static uint32_t read_xcr0(void) {
    uint32_t leaf1[4];
    if (!__get_cpuid(1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]) || !(leaf1[REG_C] >> 27 & 1))
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has_feature(const Feature *f) {
    uint32_t r[4];
    return __get_cpuid_count(f->leaf, 0, &r[0], &r[1], &r[2], &r[3]) && (r[f->reg] >> f->bit & 1) &&
           (read_xcr0() & f->xcr0) == f->xcr0;
}

const char *rt_cpu_missing(const uint32_t *needs) {
    for (; needs && *needs; needs++) {
        if (*needs >= sizeof features / sizeof *features || !features[*needs].name)
            return "a feature this runtime does not know";
        if (!has_feature(&features[*needs]))
            return features[*needs].name;
    }
    return NULL;
}

#else

const char *rt_cpu_missing(const uint32_t *needs) {
    return needs && *needs ? "an x86-64 CPU" : NULL;
}

#endif
