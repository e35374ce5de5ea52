// The machine to compile for: CPU name and features as LLVM wants them, and what kernels are
// parameterised by. The widest vectors that the features allow are used.
#include "codegen/codegen.h"

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <stdlib.h>
#include <string.h>

typedef struct FeatureNeed {
    const char *feature;
    uint32_t need;
} FeatureNeed;

static const FeatureNeed feature_needs[] = {
    {"avx2", HONE_CPU_AVX2},         {"fma", HONE_CPU_FMA},
    {"avx512f", HONE_CPU_AVX512F},   {"avx512vl", HONE_CPU_AVX512VL},
    {"avx512bw", HONE_CPU_AVX512BW}, {"avx512dq", HONE_CPU_AVX512DQ},
    {"f16c", HONE_CPU_F16C},
};

// CPU levels and what they imply; anything else is asked of LLVM by name.
typedef struct CpuLevel {
    const char *name, *features;
} CpuLevel;
static const CpuLevel cpu_levels[] = {
    {"generic", ""},
    {"x86-64", ""},
    {"x86-64-v2", ""},
    {"x86-64-v3", "+avx,+avx2,+fma,+f16c,+bmi,+bmi2"},
    {"x86-64-v4", "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+avx512f,+avx512vl,+avx512bw,+avx512dq"},
};

static bool has_feature(const char *features, const char *name) {
    size_t n = strlen(name);
    for (const char *p = features; p && *p; p = strchr(p, ',')) {
        p += *p == ',';
        if (*p == '+' && strncmp(p + 1, name, n) == 0 && (p[1 + n] == ',' || p[1 + n] == 0))
            return true;
    }
    return false;
}

// Only what emitted code relies on, so that the text does not depend on the machine's every detail.
static const char *select_features(IrArena *a, const char *all) {
    static const char *const wanted[] = {"avx",  "avx2",    "fma",      "f16c",     "bmi",
                                         "bmi2", "avx512f", "avx512vl", "avx512bw", "avx512dq"};
    const char *out = "";
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (has_feature(all, wanted[i]))
            out = ir_sprintf(a, "%s%s+%s", out, *out ? "," : "", wanted[i]);
    return out;
}

// Features of a CPU that LLVM knows by name: x86 families in the order of their vectors.
static const char *features_of_name(const char *cpu) {
    static const CpuLevel families[] = {
        {"znver1", "v3"},        {"znver2", "v3"},         {"znver3", "v3"},
        {"znver4", "v4"},        {"znver5", "v4"},         {"haswell", "v3"},
        {"broadwell", "v3"},     {"skylake", "v3"},        {"alderlake", "v3"},
        {"raptorlake", "v3"},    {"skylake-avx512", "v4"}, {"cascadelake", "v4"},
        {"cooperlake", "v4"},    {"icelake-client", "v4"}, {"icelake-server", "v4"},
        {"tigerlake", "v4"},     {"rocketlake", "v4"},     {"sapphirerapids", "v4"},
        {"emeraldrapids", "v4"}, {"graniterapids", "v4"},  {"nehalem", ""},
        {"sandybridge", ""},     {"ivybridge", ""},
    };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(cpu, families[i].name) == 0)
            return !*families[i].features           ? ""
                   : families[i].features[1] == '3' ? cpu_levels[3].features
                                                    : cpu_levels[4].features;
    return NULL;
}

static bool find_cpu(CgTarget *t, IrArena *a, const char *mcpu) {
    if (strcmp(mcpu, "native") == 0) {
        char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
        t->cpu = ir_strdup(a, cpu);
        t->features = select_features(a, features);
        LLVMDisposeMessage(cpu);
        LLVMDisposeMessage(features);
        return true;
    }
    t->cpu = strcmp(mcpu, "generic") == 0 ? "x86-64" : ir_strdup(a, mcpu);
    for (size_t i = 0; i < sizeof cpu_levels / sizeof *cpu_levels; i++)
        if (strcmp(mcpu, cpu_levels[i].name) == 0)
            return (t->features = cpu_levels[i].features) != NULL;
    return (t->features = features_of_name(mcpu)) != NULL;
}

bool cg_target_init(CgTarget *t, IrArena *a, const char *mcpu, IrDiag *diag) {
    memset(t, 0, sizeof *t);
    cg_catch_llvm_errors();
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    t->triple = "x86_64-pc-linux-gnu";
    if (!find_cpu(t, a, mcpu)) {
        ir_error(diag, IR_NOWHERE,
                 "unknown CPU '%s'; give --mcpu native, generic, x86-64-v3, x86-64-v4 or a name "
                 "such as znver4, haswell, skylake-avx512",
                 mcpu);
        return false;
    }
    bool avx512 = has_feature(t->features, "avx512f") && has_feature(t->features, "avx512vl");
    bool avx2 = has_feature(t->features, "avx2");
    t->fma = has_feature(t->features, "fma");
    t->lanes = avx512 ? 16 : avx2 ? 8 : 4;
    t->vector_registers = avx512 ? 32 : 16;
    int n = 0;
    for (size_t i = 0; i < sizeof feature_needs / sizeof *feature_needs; i++)
        if (has_feature(t->features, feature_needs[i].feature))
            t->needs[n++] = feature_needs[i].need;
    return true;
}

const char *cg_target_describe(const CgTarget *t, IrArena *a) {
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    char *host = LLVMGetHostCPUName();
    char *text = ir_sprintf(a, "LLVM %u.%u.%u for %s %s on %s", major, minor, patch, t->cpu,
                            t->features, host);
    LLVMDisposeMessage(host);
    return text;
}
