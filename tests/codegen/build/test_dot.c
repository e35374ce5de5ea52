// The dots of codegen/build/dot.h on every machine: the instructions that they are made of, and,
// where this CPU has these, their sums: of bytes bit for bit those of plain C, at the ends of what
// u8 and s8 hold, where saturating instructions differ, and beyond what 32 bits hold.
#include "codegen/build/dot.h"
#include "codegen/codegen.h"
#include "ir/machine.h"
#include "runtime/core/cpu.h"
#include "tests/check.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/TargetMachine.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = IR_BLOCK };
typedef void Sum(const void *x, const void *w, void *acc, int64_t words);

typedef struct Maker {
    CgTarget target;
    IrDtype type;
    LLVMOrcLLJITRef jit;
} Maker;

// void sum(x, w, acc, words): acc[lane] += the dots of words of x and vectors of w.
static void emit_sum(CgFn *f, IrDtype t) {
    LLVMTypeRef sums = t == IR_U8 ? f->ivec : f->vec;
    CgVal x = LLVMGetParam(f->fn, 0), w = LLVMGetParam(f->fn, 1), to = LLVMGetParam(f->fn, 2);
    CgVal acc[] = {cg_load(f, sums, to, 4)};
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), LLVMGetParam(f->fn, 3), 1, 1, acc);
    CgDot a = cg_dot_load_x(f, t, cg_at(f, f->i32, x, loop.iv));
    CgDot b = cg_dot_load_w(f, t, cg_at(f, f->i32, w, cg_imulc(f, loop.iv, LANES)));
    acc[0] = cg_dot(f, t, a, b, acc[0]);
    cg_end_carry(f, &loop, acc);
    cg_store(f, acc[0], to, 4);
    LLVMBuildRetVoid(f->b);
}

// The function's module as an object or as text
static LLVMMemoryBufferRef compile(Maker *m, IrArena *a, LLVMCodeGenFileType kind) {
    LLVMContextRef ctx = LLVMContextCreate();
    CgFn f = {.target = &m->target, .lanes = LANES, .arena = a, .ctx = ctx};
    f.mod = LLVMModuleCreateWithNameInContext("dot", ctx);
    f.i1 = LLVMInt1TypeInContext(ctx), f.i8 = LLVMInt8TypeInContext(ctx);
    f.i32 = LLVMInt32TypeInContext(ctx), f.i64 = LLVMInt64TypeInContext(ctx);
    f.f32 = LLVMFloatTypeInContext(ctx), f.ptr = LLVMPointerTypeInContext(ctx, 0);
    f.vec = LLVMVectorType(f.f32, LANES), f.ivec = LLVMVectorType(f.i32, LANES);
    LLVMTypeRef param[] = {f.ptr, f.ptr, f.ptr, f.i64};
    f.fn = LLVMAddFunction(f.mod, "sum", LLVMFunctionType(LLVMVoidTypeInContext(ctx), param, 4, 0));
    const char *width = ir_sprintf(a, "%d", 8 * m->target.machine.vector_bytes);
    cg_function_attr(&f, "prefer-vector-width", width);
    cg_function_attr(&f, "min-legal-vector-width", width);
    cg_function_attr(&f, "target-features", m->target.features);
    f.b = LLVMCreateBuilderInContext(ctx);
    LLVMPositionBuilderAtEnd(f.b, LLVMAppendBasicBlockInContext(ctx, f.fn, "entry"));
    emit_sum(&f, m->type);
    LLVMTargetRef target;
    LLVMGetTargetFromTriple(m->target.triple, &target, NULL);
    LLVMTargetMachineRef machine =
        LLVMCreateTargetMachine(target, m->target.triple, m->target.base, m->target.features,
                                LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
    LLVMMemoryBufferRef out = NULL;
    CHECK(!LLVMTargetMachineEmitToMemoryBuffer(machine, f.mod, kind, NULL, &out));
    LLVMDisposeTargetMachine(machine);
    LLVMDisposeBuilder(f.b);
    LLVMDisposeModule(f.mod);
    LLVMContextDispose(ctx);
    return out;
}

static Sum *load(Maker *m, IrArena *a) {
    LLVMOrcExecutorAddress at = 0;
    LLVMErrorRef e = LLVMOrcCreateLLJIT(&m->jit, NULL);
    e = e ? e
          : LLVMOrcLLJITAddObjectFile(m->jit, LLVMOrcLLJITGetMainJITDylib(m->jit),
                                      compile(m, a, LLVMObjectFile));
    e = e ? e : LLVMOrcLLJITLookup(m->jit, &at, "sum");
    CHECK(!e);
    return (Sum *)(uintptr_t)at;
}

// ---------------------------------------------------------------- what they are made of

static const struct {
    const char *cpu;
    IrDtype type;
    const char *has, *lacks;
} made_of[] = {
    {"generic", IR_U8, "pmaddwd", "pmaddubsw"},
    {"x86-64-v3", IR_U8, "vpmaddwd", "vpmaddubsw"},
    {"x86-64-v3", IR_BF16, "vfmadd", "dpbf16"},
    {"x86-64-v4", IR_U8, "vpmaddwd", "vpmaddubsw"},
    {"alderlake", IR_U8, "{vex}\tvpdpbusd", "vpmadd"},
    {"cascadelake", IR_U8, "vpdpbusd", "vpdpbusds"},
    {"znver4", IR_U8, "vpdpbusd", "ymm"},
    {"znver4", IR_BF16, "vdpbf16ps", "ymm"},
    {"znver5", IR_U8, "vpdpbusd", "ymm"},
    {"aarch64", IR_U8, "sadalp", "smull"},
    {"aarch64", IR_BF16, "fmla", "bf"},
    {"neoverse-n1", IR_U8, "sdot", "usdot"},
    {"neoverse-v1", IR_U8, "usdot", "mul"},
    {"neoverse-v1", IR_BF16, "bfdot", "fmla"},
};
enum { N_MACHINES = sizeof made_of / sizeof *made_of };

static IrArena *arena;
static IrDiag diag;

static void emits_the_instructions(void) {
    for (int i = 0; i < N_MACHINES; i++) {
        Maker m = {.type = made_of[i].type};
        CHECK(cg_target_init(&m.target, arena, made_of[i].cpu, &diag));
        LLVMMemoryBufferRef text = compile(&m, arena, LLVMAssemblyFile);
        const char *s = LLVMGetBufferStart(text);
        if (!CHECK(strstr(s, made_of[i].has) && !strstr(s, made_of[i].lacks)))
            fprintf(stderr, "%s\n%s", made_of[i].cpu, s);
        LLVMDisposeMemoryBuffer(text);
    }
}

// ---------------------------------------------------------------- what they sum to

enum { WORDS = 9000 };

static uint32_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

// Extremes where `kind` is 0 to 3, 255 * -128 throughout among them: 9000 words of these are less
// than -2^30; any bytes from 4 on.
static void fill_bytes(int kind, uint8_t *x, int8_t *w) {
    static const uint8_t xs[] = {255, 255, 0, 128};
    static const int8_t ws[] = {-128, 127, -128, -128};
    uint64_t state = (uint64_t)kind;
    for (int i = 0; i < 4 * WORDS; i++)
        x[i] = kind < 4 ? xs[kind] : (uint8_t)next_random(&state);
    for (int i = 0; i < 4 * WORDS * LANES; i++)
        w[i] = kind < 4 ? ws[kind] : (int8_t)next_random(&state);
}

static void check_bytes(Sum *sum, int kind) {
    static uint8_t x[4 * WORDS];
    static int8_t w[4 * WORDS * LANES];
    int32_t got[LANES], want[LANES];
    fill_bytes(kind, x, w);
    for (int lane = 0; lane < LANES; lane++) {
        // From so far down the extremes leave 32 bits.
        uint32_t s = (uint32_t)(got[lane] = -2000000000 + lane);
        for (int i = 0; i < WORDS; i++)
            for (int k = 0; k < 4; k++)
                s += (uint32_t)((int32_t)x[4 * i + k] * w[(i * LANES + lane) * 4 + k]);
        want[lane] = (int32_t)s;
    }
    sum(x, w, got, WORDS);
    CHECK(memcmp(got, want, sizeof got) == 0);
}

// Small whole numbers: bf16 and f32 hold them and their sums.
static void check_bf16(Sum *sum) {
    enum { N = 64 };
    uint16_t x[2 * N], w[2 * N * LANES];
    float got[LANES], want[LANES];
    uint64_t state = 3;
    int xs[2 * N], ws[2 * N * LANES];
    for (int i = 0; i < 2 * N * (LANES + 1); i++) {
        int value = (int)(next_random(&state) % 255) - 127;
        float v = (float)value;
        uint32_t bits;
        memcpy(&bits, &v, 4);
        *(i < 2 * N ? &xs[i] : &ws[i - 2 * N]) = value;
        *(i < 2 * N ? &x[i] : &w[i - 2 * N]) = (uint16_t)(bits >> 16);
    }
    for (int lane = 0; lane < LANES; lane++) {
        want[lane] = got[lane] = (float)lane;
        for (int i = 0; i < 2 * N; i++)
            want[lane] += (float)(xs[i] * ws[(i / 2 * LANES + lane) * 2 + i % 2]);
    }
    sum(x, w, got, N);
    CHECK(memcmp(got, want, sizeof got) == 0);
}

static void check_sums(Maker *m) {
    Sum *sum = load(m, arena);
    if (m->type == IR_BF16)
        check_bf16(sum);
    for (int kind = 0; m->type == IR_U8 && kind < 6; kind++)
        check_bytes(sum, kind);
    LLVMConsumeError(LLVMOrcDisposeLLJIT(m->jit));
}

static void sums_products(void) {
    for (int i = 0; i < N_MACHINES; i++) {
        Maker m = {.type = made_of[i].type};
        CHECK(cg_target_init(&m.target, arena, made_of[i].cpu, &diag));
        const uint32_t dot[] = {cg_target_dot(&m.target, m.type), 0};
        const char *missing = rt_cpu_missing(m.target.needs, RT_CPU_ALL);
        missing = missing ? missing : rt_cpu_missing(dot, RT_CPU_ALL);
        if (missing)
            printf("%s: skipped: no %s\n", made_of[i].cpu, missing);
        else
            check_sums(&m);
    }
}

int main(void) {
    ir_diag_init(&diag, "test");
    arena = ir_arena_new(&diag);
    CHECK_RUN(emits_the_instructions);
    CHECK_RUN(sums_products);
    ir_arena_free(arena);
    return check_done();
}
