// Does this CPU have the instructions that a model was compiled for? Asked before its first
// instruction runs, because the alternative is SIGILL. The operating system's part counts too: it
// must save the wide registers (XCR0), let a process use AMX's tiles when it asks to, once, and
// where it is Linux on ARM it says itself what there is.
#define _GNU_SOURCE // syscall
#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[HONE_CPU_COUNT] = {
#define HONE_CPU_X86(name, llvm, shown, ...) [HONE_CPU_##name] = shown,
#define HONE_CPU_ARM(name, llvm, shown, ...) [HONE_CPU_##name] = shown,
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
};

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REG_A, REG_B, REG_C, REG_D };
enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6, XCR0_TILE = 0x60000 };

typedef struct Test {
    uint32_t leaf, subleaf, reg, bit, xcr0;
} Test;

static const Test tests[HONE_CPU_COUNT] = {
#define HONE_CPU_X86(name, llvm, shown, used, leaf, subleaf, reg, bit, xcr0, implies)              \
    [HONE_CPU_##name] = {leaf, subleaf, REG_##reg, bit, xcr0},
#define HONE_CPU_ARM(...)
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
};

static uint32_t read_xcr0(void) {
    uint32_t leaf1[4];
    if (!__get_cpuid(1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]) || !(leaf1[REG_C] >> 27 & 1))
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// Leave for all of the process's threads, asked of the system as often as somebody wants to know:
// it stays given. Tiles are 8 KiB of a thread's state, which the system saves for who uses them.
static bool may_use_tiles(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static bool cpu_has(const Test *t) {
    uint32_t r[4] = {0};
    return t->leaf && __get_cpuid_count(t->leaf, t->subleaf, &r[0], &r[1], &r[2], &r[3]) &&
           (r[t->reg] >> t->bit & 1);
}

static bool system_permits(const Test *t) {
    return (read_xcr0() & t->xcr0) == t->xcr0 && (t->xcr0 != XCR0_TILE || may_use_tiles());
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

typedef struct Test {
    unsigned long type, bit; // 0: of another machine
} Test;

static const Test tests[HONE_CPU_COUNT] = {
#define HONE_CPU_X86(...)
#define HONE_CPU_ARM(name, llvm, shown, used, type, bit, implies) [HONE_CPU_##name] = {type, bit},
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
};

static bool cpu_has(const Test *t) {
    return t->type && (getauxval(t->type) >> t->bit & 1);
}

static bool system_permits(const Test *t) {
    (void)t;
    return true;
}

#else

typedef int Test;
static const Test tests[HONE_CPU_COUNT];

static bool cpu_has(const Test *t) {
    (void)t;
    return false;
}

static bool system_permits(const Test *t) {
    (void)t;
    return false;
}

#endif

// What HONE_CPU may say, and what it leaves: with what that implies
static const struct {
    const char *name;
    uint64_t features;
} cpus[] = {
#define HONE_CPU_NAME(name, tune, isa, features) {name, features},
#include "runtime/core/cpus.def"
#undef HONE_CPU_NAME
};

static uint64_t with_implied(uint64_t set) {
    static const uint64_t implied[HONE_CPU_COUNT] = {
#define HONE_CPU_X86(name, llvm, shown, used, leaf, subleaf, reg, bit, xcr0, implies)              \
    [HONE_CPU_##name] = implies,
#define HONE_CPU_ARM(name, llvm, shown, used, type, bit, implies) [HONE_CPU_##name] = implies,
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
    };
    for (int i = HONE_CPU_COUNT - 1; i > 0; i--) // rows stand behind those that they imply
        set |= set >> i & 1 ? implied[i] : 0;
    return set;
}

bool rt_cpu_allowed(uint64_t *features, RtErr *err) {
    const char *wish = getenv("HONE_CPU");
    *features = RT_CPU_ALL;
    if (!wish || !*wish)
        return true;
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++)
        if (strcmp(wish, cpus[i].name) == 0) {
            *features = with_implied(cpus[i].features);
            return true;
        }
    return rt_fail(err,
                   "HONE_CPU=%s: unknown; give x86-64, x86-64-v2, x86-64-v3 or x86-64-v4, or a "
                   "name that --mcpu takes, such as sapphirerapids",
                   wish);
}

const char *rt_cpu_missing(const uint32_t *needs, uint64_t allowed) {
    for (; needs && *needs; needs++) {
        if (*needs >= HONE_CPU_COUNT)
            return "a feature this runtime does not know";
        const Test *t = &tests[*needs];
        if (!(allowed >> *needs & 1) || !cpu_has(t) || !system_permits(t))
            return names[*needs];
    }
    return NULL;
}

bool rt_cpu_is_forbidden(const uint32_t *needs) {
    bool has = true, permitted = true;
    for (; needs && *needs; needs++) {
        has = has && *needs < HONE_CPU_COUNT && cpu_has(&tests[*needs]);
        permitted = permitted && has && system_permits(&tests[*needs]);
    }
    return has && !permitted;
}
