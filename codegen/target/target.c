// From a CPU's name to what LLVM is told of it, what the program will ask of the CPU that it runs
// on, and the description that passes and kernels read. Two tables say all: cpu_features.def and
// cpus.def.
//
// LLVM's C API answers no question about a named CPU's features, so cpus.def does. LLVM gets the
// plain instruction set of the ISA and the features that the first table marks as used, by name,
// and the CPU's name only to schedule for: emitted code has no instruction that the program's needs
// do not mention, also where a virtual machine hides some of what the CPU's name promises, and
// needs none that it does not use. The description knows all that the CPU has.
#include "codegen/codegen.h"
#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <string.h>

typedef struct Feature {
    const char *llvm;
    bool used;
    IrIsa isa;
    uint64_t implies;
} Feature;

static const Feature features[HONE_CPU_COUNT] = {
#define HONE_CPU_X86(name, llvm, shown, used, leaf, subleaf, reg, bit, xcr0, implies)              \
    [HONE_CPU_##name] = {llvm, used, IR_ISA_X86_64, implies},
#define HONE_CPU_ARM(name, llvm, shown, used, type, bit, implies)                                  \
    [HONE_CPU_##name] = {llvm, used, IR_ISA_AARCH64, implies},
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
};

typedef struct Cpu {
    const char *name, *tune;
    IrIsa isa;
    uint64_t features;
} Cpu;

static const Cpu cpus[] = {
#define HONE_CPU_NAME(name, tune, isa, features) {name, tune, IR_ISA_##isa, features},
#include "runtime/core/cpus.def"
#undef HONE_CPU_NAME
};

// What every CPU of an ISA has
typedef struct Isa {
    const char *triple, *cpu; // cpu: LLVM's name for no more than that
    int64_t l1d, l2, l3;
} Isa;

static const Isa isas[] = {
    [IR_ISA_X86_64] = {"x86_64-pc-linux-gnu", "x86-64", 32 << 10, 1 << 20, 16 << 20},
    [IR_ISA_AARCH64] = {"aarch64-unknown-linux-gnu", "generic", 64 << 10, 1 << 20, 16 << 20},
};

// Kinds of x86 cores that differ from the rest: measured on a Zen 3 (those before it have its L2),
// a Zen 4, a Zen 5 and an Intel server core with AMX, 3.5 GHz. That starts two multiply-adds of 64
// bytes, as its predecessors do, but a dot of bf16 in two cycles; it reads 28 GB/s from a last
// cache that many cores share behind a mesh, and 10 to 16 GB/s from memory; products slow down
// where they need 21 bytes a cycle from L2, and hardly at 14. Others send a multiply-add of 64
// bytes through both halves of a core.
typedef struct Core {
    const char *cpu;                      // LLVM schedules for
    int wide;                             // multiply-adds of 64 bytes a cycle
    double pairs;                         // dots of two bf16, likewise
    int64_t l1d, l2;                      // bytes
    double l2_rate, l3_rate, memory_rate; // bytes a cycle
} Core;
static const double near_l2 = 32, mesh_l2 = 16;
static const double near_l3 = 11.5, mesh = 8;
static const double new_memory = 9.2, old_memory = 4, mesh_memory = 4.5;
static const Core cores[] = {
    {"znver1", 1, 1, 32 << 10, 512 << 10, near_l2, near_l3, old_memory},
    {"znver2", 1, 1, 32 << 10, 512 << 10, near_l2, near_l3, old_memory},
    {"znver3", 1, 1, 32 << 10, 512 << 10, near_l2, near_l3, old_memory},
    {"znver5", 2, 2, 32 << 10, 1 << 20, near_l2, near_l3, new_memory},
    {"skylake-avx512", 2, 0.5, 32 << 10, 1 << 20, mesh_l2, mesh, mesh_memory},
    {"cascadelake", 2, 0.5, 32 << 10, 1 << 20, mesh_l2, mesh, mesh_memory},
    {"cooperlake", 2, 0.5, 32 << 10, 1 << 20, mesh_l2, mesh, mesh_memory},
    {"icelake-server", 2, 0.5, 48 << 10, 1280 << 10, mesh_l2, mesh, mesh_memory},
    {"sapphirerapids", 2, 0.5, 48 << 10, 2 << 20, mesh_l2, mesh, mesh_memory},
    {"emeraldrapids", 2, 0.5, 48 << 10, 2 << 20, mesh_l2, mesh, mesh_memory},
    {"graniterapids", 2, 0.5, 48 << 10, 2 << 20, mesh_l2, mesh, mesh_memory},
};

static Core core_of(const char *cpu, const Isa *isa, bool avx512) {
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (strcmp(cpu, cores[i].cpu) == 0)
            return cores[i];
    return (Core){cpu,     1,       1, isa->l1d, isa->l2, near_l2,
                  near_l3, avx512 ? new_memory : old_memory};
}

#if defined(__aarch64__)
static const IrIsa host = IR_ISA_AARCH64;
#else
static const IrIsa host = IR_ISA_X86_64;
#endif

// ---------------------------------------------------------------- features

static uint64_t close_features(uint64_t set) {
    for (int i = HONE_CPU_COUNT - 1; i > 0; i--) // rows stand behind those that they imply
        if (set >> i & 1)
            set |= features[i].implies;
    return set;
}

static bool lists_feature(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; p && *p; p = strchr(p, ',')) {
        p += *p == ',';
        if (*p == '+' && strncmp(p + 1, name, n) == 0 && (p[1 + n] == ',' || p[1 + n] == 0))
            return true;
    }
    return false;
}

static const Cpu *row_of(const char *name) {
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++)
        if (strcmp(name, cpus[i].name) == 0)
            return &cpus[i];
    return NULL;
}

// LLVM knows a CPU by its model's number, which a virtual machine may have given it: one that has
// more than its name promises is taken for the first that has all.
static const char *name_of_host(const char *found, uint64_t has) {
    const Cpu *row = row_of(found);
    if (!row || !(has & ~close_features(row->features)))
        return found;
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++)
        if (cpus[i].isa == host && !(has & ~close_features(cpus[i].features)))
            return cpus[i].tune;
    return found;
}

// What LLVM finds and the runtime will: the system, too, has a say in it. On aarch64 it has the
// only one: it lists all that there is, LLVM a part.
static void find_host(CgTarget *t, IrArena *a) {
    char *cpu = LLVMGetHostCPUName(), *list = LLVMGetHostCPUFeatures();
    t->machine.isa = host;
    for (uint32_t i = 1; i < HONE_CPU_COUNT; i++)
        if (features[i].isa == host &&
            (host == IR_ISA_AARCH64 || lists_feature(list, features[i].llvm)) &&
            !rt_cpu_missing((const uint32_t[]){i, 0}, RT_CPU_ALL))
            t->has |= UINT64_C(1) << i;
    t->cpu = t->tune = ir_strdup(a, name_of_host(cpu, t->has));
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(list);
}

static bool find_cpu(CgTarget *t, IrArena *a, const char *mcpu) {
    if (strcmp(mcpu, "native") == 0) {
        find_host(t, a);
        return true;
    }
    const Cpu *row = row_of(mcpu);
    if (!row)
        return false;
    t->cpu = row->name;
    t->tune = row->tune;
    t->machine.isa = row->isa;
    t->has = close_features(row->features);
    return true;
}

// ---------------------------------------------------------------- the machine

static uint32_t pick(uint64_t set, uint64_t feature, uint32_t bit) {
    return (set & feature) == feature ? bit : 0;
}

static void describe_x86(IrMachine *m, uint64_t set, const char *cpu) {
    const uint64_t all512 = HONE_CPU(AVX512F) | HONE_CPU(AVX512VL) | HONE_CPU(AVX512BW);
    bool avx512 = (set & all512) == all512, avx2 = set & HONE_CPU(AVX2);
    Core core = core_of(cpu, &isas[IR_ISA_X86_64], avx512);
    m->vector_bytes = avx512 ? 64 : avx2 ? 32 : 16;
    m->vector_registers = avx512 ? 32 : 16;
    m->products_a_cycle = avx512 ? core.wide : 2;
    m->pairs_a_cycle = core.pairs;
    m->l1d = core.l1d;
    m->l2 = core.l2;
    m->l2_rate = core.l2_rate;
    m->l3_rate = core.l3_rate;
    m->memory_rate = core.memory_rate;
    m->fma = set & HONE_CPU(FMA);
    m->broadcast = m->masks = avx512;
    m->dot_i8 = pick(set, HONE_CPU(AVX512VNNI) | all512, IR_DOT_I8_VNNI) |
                pick(set, HONE_CPU(AVXVNNI), IR_DOT_I8_AVXVNNI) |
                pick(set, HONE_CPU(AMX_INT8), IR_DOT_I8_AMX);
    m->dot_bf16 = pick(set, HONE_CPU(AVX512BF16) | all512, IR_DOT_BF16_AVX512) |
                  pick(set, HONE_CPU(AMX_BF16), IR_DOT_BF16_AMX);
}

static void describe_arm(IrMachine *m, uint64_t set, const char *cpu) {
    (void)cpu;
    m->vector_bytes = 16;
    m->vector_registers = 32;
    m->products_a_cycle = 2;
    m->pairs_a_cycle = 2;
    m->l1d = isas[IR_ISA_AARCH64].l1d;
    m->l2 = isas[IR_ISA_AARCH64].l2;
    m->l2_rate = near_l2;
    m->l3_rate = near_l3;
    m->memory_rate = new_memory;
    m->fma = m->by_lane = true;
    m->dot_i8 =
        pick(set, HONE_CPU(DOTPROD), IR_DOT_I8_NEON) | pick(set, HONE_CPU(I8MM), IR_DOT_I8_I8MM);
    m->dot_bf16 = pick(set, HONE_CPU(BF16), IR_DOT_BF16_NEON);
}

static void describe(CgTarget *t, IrArena *a) {
    IrMachine *m = &t->machine;
    const Isa *isa = &isas[m->isa];
    t->triple = isa->triple;
    t->base = isa->cpu;
    (m->isa == IR_ISA_X86_64 ? describe_x86 : describe_arm)(m, t->has, t->tune);
    for (int i = 0; i < IR_DTYPE_COUNT; i++)
        m->lanes[i] = m->vector_bytes / ir_dtype_bytes((IrDtype)i);
    m->l3 = isa->l3;
    t->lanes = IR_BLOCK;
    t->features = "";
    int n = 0;
    for (int i = 1; i < HONE_CPU_COUNT; i++)
        if (features[i].used && t->has >> i & 1) {
            t->features = ir_sprintf(a, "%s%s+%s", t->features, n ? "," : "", features[i].llvm);
            t->needs[n++] = (uint32_t)i;
        }
}

// ---------------------------------------------------------------- entry

bool cg_target_find(CgTarget *t, IrArena *a, const char *mcpu) {
    memset(t, 0, sizeof *t);
    if (!find_cpu(t, a, mcpu))
        return false;
    describe(t, a);
    return true;
}

// Parsers: kernels hold pieces of assembly.
static void start_llvm(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
}

bool cg_target_init(CgTarget *t, IrArena *a, const char *mcpu, IrDiag *diag) {
    cg_catch_llvm_errors();
    start_llvm();
    if (!cg_target_find(t, a, mcpu)) {
        ir_error(diag, IR_NOWHERE,
                 "unknown CPU '%s'; give --mcpu native, generic, x86-64-v3, x86-64-v4 or a name "
                 "such as znver4, haswell, skylake-avx512, neoverse-n1",
                 mcpu);
        return false;
    }
    return true;
}

bool cg_target_is_host(const CgTarget *t) {
    return t->machine.isa == host;
}

// The feature that each set of instructions is, those of wider vectors first
typedef struct DotFeature {
    uint32_t set, feature;
} DotFeature;
static const DotFeature of_bytes[] = {{IR_DOT_I8_VNNI, HONE_CPU_AVX512VNNI},
                                      {IR_DOT_I8_AVXVNNI, HONE_CPU_AVXVNNI},
                                      {IR_DOT_I8_I8MM, HONE_CPU_I8MM},
                                      {IR_DOT_I8_NEON, HONE_CPU_DOTPROD},
                                      {0, 0}};
static const DotFeature of_bf16[] = {
    {IR_DOT_BF16_AVX512, HONE_CPU_AVX512BF16}, {IR_DOT_BF16_NEON, HONE_CPU_BF16}, {0, 0}};

uint32_t cg_target_dot(const CgTarget *t, IrDtype type) {
    const IrMachine *m = &t->machine;
    uint32_t set = ir_word(type) == 2 ? m->dot_bf16 : m->dot_i8;
    const DotFeature *d = ir_word(type) == 2 ? of_bf16 : of_bytes;
    if (m->vector_bytes < 64)
        set &= ~(uint32_t)IR_DOT_I8_VNNI;
    if (ir_word(type) == 1 || ir_dot(m, type).kind != IR_DOT_SUM)
        return 0;
    while (!(set & d->set))
        d++;
    return d->feature;
}

uint32_t cg_target_amx(IrDtype type) {
    return type == IR_BF16 ? HONE_CPU_AMX_BF16 : HONE_CPU_AMX_INT8;
}

const char *cg_target_features(const CgTarget *t, IrArena *a, uint64_t more) {
    const char *text = t->features;
    for (int i = 1; i < HONE_CPU_COUNT; i++)
        if (more >> i & 1)
            text = ir_sprintf(a, "%s,+%s", text, features[i].llvm);
    return text;
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
