// What --mcpu NAME means: the description of each kind of machine, what LLVM is told, and that the
// runtime finds on this CPU what LLVM finds.
#include "codegen/codegen.h"
#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"
#include "tests/check.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <stdlib.h>
#include <string.h>

#define SSE "x86-64, vectors of 16 bytes, 16 registers"
#define AVX2 "x86-64, vectors of 32 bytes, 16 registers, fma"
#define AVX512 "x86-64, vectors of 64 bytes, 32 registers, fma, broadcast, masks"
#define NEON "aarch64, vectors of 16 bytes, 32 registers, fma, lanes"
#define X86_CACHES ", L1d 32 KiB, L2 1024 KiB, L3 16384 KiB"
#define ZEN3_CACHES ", L1d 32 KiB, L2 512 KiB, L3 16384 KiB"
#define ICELAKE_CACHES ", L1d 48 KiB, L2 1280 KiB, L3 16384 KiB"
#define SAPPHIRE_CACHES ", L1d 48 KiB, L2 2048 KiB, L3 16384 KiB"
#define ARM_CACHES ", L1d 64 KiB, L2 1024 KiB, L3 16384 KiB"
#define F_V2 "+sse3,+ssse3,+sse4.1,+sse4.2"
#define F_V3 F_V2 ",+bmi,+bmi2,+avx,+f16c,+fma,+avx2"
#define F_V4 F_V3 ",+avx512f,+avx512cd,+avx512bw,+avx512dq,+avx512vl"

#define A_V3 "popcnt lzcnt movbe "

// features: what LLVM is told and the program needs; also: what else the CPU has
static const struct {
    const char *cpu, *text, *features, *also;
} machines[] = {
    {"generic", SSE X86_CACHES, "", ""},
    {"x86-64-v2", SSE X86_CACHES, F_V2, "popcnt "},
    {"ivybridge", SSE X86_CACHES, F_V2 ",+avx,+f16c", "popcnt "},
    {"x86-64-v3", AVX2 X86_CACHES, F_V3, A_V3},
    {"haswell", AVX2 X86_CACHES, F_V3, A_V3},
    {"znver3", AVX2 ZEN3_CACHES, F_V3, A_V3},
    {"alderlake", AVX2 ", int8 avx-vnni" X86_CACHES, F_V3, A_V3 "avxvnni "},
    {"x86-64-v4", AVX512 X86_CACHES, F_V4, A_V3},
    {"skylake-avx512", AVX512 X86_CACHES, F_V4, A_V3},
    {"cascadelake", AVX512 ", int8 vnni" X86_CACHES, F_V4, A_V3 "avx512vnni "},
    {"cooperlake", AVX512 ", int8 vnni, bf16 avx512-bf16" X86_CACHES, F_V4,
     A_V3 "avx512vnni avx512bf16 "},
    {"znver4", AVX512 ", int8 vnni, bf16 avx512-bf16" X86_CACHES, F_V4,
     A_V3 "avx512vbmi avx512vnni avx512bf16 "},
    {"znver5", AVX512 ", int8 vnni avx-vnni, bf16 avx512-bf16" X86_CACHES, F_V4,
     A_V3 "avxvnni avx512vbmi avx512vnni avx512bf16 "},
    {"icelake-server", AVX512 ", int8 vnni" ICELAKE_CACHES, F_V4, A_V3 "avx512vbmi avx512vnni "},
    {"sapphirerapids", AVX512 ", int8 vnni avx-vnni amx, bf16 avx512-bf16 amx" SAPPHIRE_CACHES,
     F_V4, A_V3 "avxvnni avx512vbmi avx512vnni avx512bf16 amx-tile amx-int8 amx-bf16 "},
    {"aarch64", NEON ARM_CACHES, "+neon", ""},
    {"neoverse-n1", NEON ", int8 dot" ARM_CACHES, "+neon", "dotprod "},
    {"neoverse-v1", NEON ", int8 dot i8mm, bf16 neon" ARM_CACHES, "+neon", "dotprod i8mm bf16 "},
};

static const char *const names[HONE_CPU_COUNT] = {
#define HONE_CPU_X86(name, llvm, ...) [HONE_CPU_##name] = llvm,
#define HONE_CPU_ARM(name, llvm, ...) [HONE_CPU_##name] = llvm,
#include "runtime/core/cpu_features.def"
#undef HONE_CPU_X86
#undef HONE_CPU_ARM
};

static bool needs_feature(const CgTarget *t, uint32_t feature) {
    for (const uint32_t *n = t->needs; *n; n++)
        if (*n == feature)
            return true;
    return false;
}

static const char *name_needs(const CgTarget *t, IrArena *a) {
    const char *text = "";
    for (const uint32_t *n = t->needs; *n; n++)
        text = ir_sprintf(a, "%s%s+%s", text, *text ? "," : "", names[*n]);
    return text;
}

static const char *name_the_rest(const CgTarget *t, IrArena *a) {
    const char *text = "";
    for (uint32_t i = 1; i < HONE_CPU_COUNT; i++)
        if (t->has >> i & 1 && !needs_feature(t, i))
            text = ir_sprintf(a, "%s%s ", text, names[i]);
    return text;
}

static void says_what_a_machine_is(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        CgTarget t;
        CHECK(cg_target_find(&t, a, machines[i].cpu));
        CHECK_STR_EQ(ir_machine_text(&t.machine, a), machines[i].text);
        CHECK_STR_EQ(t.features, machines[i].features);
        CHECK_STR_EQ(name_needs(&t, a), machines[i].features);
        CHECK_STR_EQ(name_the_rest(&t, a), machines[i].also);
    }
    ir_arena_free(a);
}

static void counts_lanes(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    CgTarget t;
    CHECK(cg_target_find(&t, a, "x86-64-v3"));
    CHECK(t.machine.lanes[IR_F32] == 8 && t.machine.lanes[IR_F64] == 4);
    CHECK(t.machine.lanes[IR_I8] == 32 && t.machine.lanes[IR_F16] == 16);
    CHECK(cg_target_find(&t, a, "neoverse-n1"));
    CHECK(t.machine.lanes[IR_F32] == 4 && t.machine.lanes[IR_U8] == 16);
    ir_arena_free(a);
}

// A core that starts two multiply-adds of 64 bytes, and one that halves them; what is far.
static void knows_kinds_of_cores(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    CgTarget server, zen4, zen5;
    CHECK(cg_target_find(&server, a, "sapphirerapids"));
    CHECK(cg_target_find(&zen4, a, "znver4") && cg_target_find(&zen5, a, "znver5"));
    CHECK(server.machine.products_a_cycle == 2 && zen5.machine.products_a_cycle == 2);
    CHECK(zen4.machine.products_a_cycle == 1);
    CHECK(server.machine.pairs_a_cycle < zen4.machine.pairs_a_cycle);
    CHECK(server.machine.l3_rate < zen5.machine.l3_rate);
    CHECK(server.machine.memory_rate < zen5.machine.memory_rate);
    ir_arena_free(a);
}

static void refuses_what_it_does_not_know(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    char *text = NULL;
    size_t size;
    diag.out = open_memstream(&text, &size);
    IrArena *a = ir_arena_new(&diag);
    CgTarget t;
    CHECK(!cg_target_find(&t, a, "x86-64-v9"));
    CHECK(!cg_target_init(&t, a, "x86-64-v9", &diag));
    CHECK(cg_target_init(&t, a, "neoverse-n1", &diag));
    fclose(diag.out);
    CHECK(diag.errors == 1);
    CHECK(strstr(text, "unknown CPU 'x86-64-v9'"));
    free(text);
    ir_arena_free(a);
}

// "+sse3,-sse4a,..."
static bool lists(const char *features, const char *name) {
    size_t n = strlen(name);
    for (const char *p = strstr(features, name); p; p = strstr(p + 1, name))
        if (p > features && p[-1] == '+' && (p[n] == ',' || !p[n]))
            return true;
    return false;
}

// LLVM's answer for this CPU, asked of its own code, and the runtime's CPUID: the same, but for the
// system's leave to use AMX, of which LLVM knows nothing.
static void finds_the_features_of_this_cpu(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    CgTarget t;
    CHECK(cg_target_find(&t, a, "native"));
    char *list = LLVMGetHostCPUFeatures();
    for (uint32_t i = 1; i < HONE_CPU_COUNT; i++) {
        const uint32_t one[] = {i, 0};
        bool here = rt_cpu_missing(one, RT_CPU_ALL) == NULL, llvm = lists(list, names[i]);
        bool forbidden = rt_cpu_is_forbidden(one) && strstr(names[i], "amx");
        if (!CHECK(here == (llvm && !forbidden)) || !CHECK(here == (t.has >> i & 1)))
            fprintf(stderr, "  feature %s\n", names[i]);
    }
    LLVMDisposeMessage(list);
    CgTarget named; // of a CPU with AMX whatever a virtual machine calls it
    bool amx = t.machine.dot_i8 & IR_DOT_I8_AMX;
    if (cg_target_find(&named, a, t.cpu))
        CHECK(!amx || named.machine.dot_i8 & IR_DOT_I8_AMX);
    for (const uint32_t *n = t.needs; *n; n++)
        CHECK(t.has >> *n & 1);
    const uint32_t unknown[] = {HONE_CPU_COUNT, 0};
    CHECK(strstr(rt_cpu_missing(unknown, RT_CPU_ALL), "does not know") != NULL);
    ir_arena_free(a);
}

int main(void) {
    CHECK_RUN(says_what_a_machine_is);
    CHECK_RUN(counts_lanes);
    CHECK_RUN(knows_kinds_of_cores);
    CHECK_RUN(refuses_what_it_does_not_know);
    CHECK_RUN(finds_the_features_of_this_cpu);
    return check_done();
}
