// Kernels and descriptors to files. Kernels are spread over a fixed number of units, one LLVM
// context each, so that `jobs` threads compile them side by side and the bytes written do not
// depend on how many.
#include "codegen/program/program.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_UNITS = 8 };
_Static_assert((int)CG_MAX_ARGS == (int)HONE_MAX_ARGS, "what a kernel takes");

// What runs over kernels: they come out of the builder nearly final, so this is kept short.
static const char kernel_passes[] =
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,early-cse)";

typedef struct Unit {
    CgProgram *p;
    int index;
    int weight;
    int n_kernels;
    const CgKernel **kernels;
    const char *file;
    const char *error; // malloc'ed by LLVM, or NULL
    IrDiag diag;
    IrArena *arena; // this thread's
    LLVMContextRef ctx;
    LLVMModuleRef mod;
    LLVMTargetMachineRef machine;
} Unit;

static LLVMTargetMachineRef new_machine(const CgOptions *o) {
    LLVMTargetRef target;
    char *err = NULL;
    if (LLVMGetTargetFromTriple(o->target->triple, &target, &err))
        ir_bug("codegen", NULL, "%s", err);
    // Not LLVMCodeGenLevelNone: LLVM 19's fast selector, which only that one uses, folds the load
    // of a scalar float into a blend that reads 16 bytes, past the end of a buffer.
    LLVMCodeGenOptLevel level = o->opt_level <= 1   ? LLVMCodeGenLevelLess
                                : o->opt_level == 2 ? LLVMCodeGenLevelDefault
                                                    : LLVMCodeGenLevelAggressive;
    return LLVMCreateTargetMachine(target, o->target->triple, o->target->base, o->target->features,
                                   level, LLVMRelocPIC, LLVMCodeModelDefault);
}

static void open_unit(Unit *u) {
    u->ctx = LLVMContextCreate();
    char name[32];
    snprintf(name, sizeof name, "unit%d", u->index);
    u->mod = LLVMModuleCreateWithNameInContext(name, u->ctx);
    u->machine = new_machine(u->p->opt);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(u->machine);
    LLVMSetModuleDataLayout(u->mod, layout);
    LLVMSetTarget(u->mod, u->p->opt->target->triple);
    LLVMDisposeTargetData(layout);
}

static void close_unit(Unit *u) {
    LLVMDisposeTargetMachine(u->machine);
    LLVMDisposeModule(u->mod);
    LLVMContextDispose(u->ctx);
    ir_arena_free(u->arena);
}

// ---------------------------------------------------------------- one function

static void add_text_attr(CgFn *f, const char *key, const char *value) {
    LLVMAttributeRef a = LLVMCreateStringAttribute(f->ctx, key, (unsigned)strlen(key), value,
                                                   (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(f->fn, (unsigned)LLVMAttributeFunctionIndex, a);
}

static void add_attr(CgFn *f, unsigned index, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(f->fn, index, LLVMCreateEnumAttribute(f->ctx, kind, 0));
}

static void add_function_attrs(CgFn *f) {
    const CgTarget *t = f->target;
    const char *width = ir_sprintf(f->arena, "%d", 8 * t->machine.vector_bytes);
    add_text_attr(f, "target-cpu", t->base);
    add_text_attr(f, "tune-cpu", t->tune);
    add_text_attr(f, "target-features", t->features);
    add_text_attr(f, "prefer-vector-width", width);
    add_text_attr(f, "min-legal-vector-width", width);
    add_text_attr(f, "frame-pointer", "none");
    add_attr(f, (unsigned)LLVMAttributeFunctionIndex, "nounwind");
}

static void begin_function(Unit *u, CgFn *f, const char *symbol, LLVMTypeRef *params, int n) {
    memset(f, 0, sizeof *f);
    f->target = u->p->opt->target;
    f->lanes = f->target->lanes;
    f->arena = u->arena;
    f->ctx = u->ctx;
    f->mod = u->mod;
    f->i1 = LLVMInt1TypeInContext(u->ctx);
    f->i8 = LLVMInt8TypeInContext(u->ctx);
    f->i32 = LLVMInt32TypeInContext(u->ctx);
    f->i64 = LLVMInt64TypeInContext(u->ctx);
    f->f32 = LLVMFloatTypeInContext(u->ctx);
    f->f64 = LLVMDoubleTypeInContext(u->ctx);
    f->ptr = LLVMPointerTypeInContext(u->ctx, 0);
    f->vec = LLVMVectorType(f->f32, (unsigned)f->lanes);
    f->ivec = LLVMVectorType(f->i32, (unsigned)f->lanes);
    LLVMTypeRef t = LLVMFunctionType(LLVMVoidTypeInContext(u->ctx), params, (unsigned)n, 0);
    f->fn = LLVMGetNamedFunction(u->mod, symbol);
    if (!f->fn)
        f->fn = LLVMAddFunction(u->mod, symbol, t);
    LLVMSetVisibility(f->fn, LLVMHiddenVisibility);
    add_function_attrs(f);
    f->b = LLVMCreateBuilderInContext(u->ctx);
    LLVMPositionBuilderAtEnd(f->b, LLVMAppendBasicBlockInContext(u->ctx, f->fn, "entry"));
}

// SYMBOL_step(args, N, tid, nth, scratch), the HoneKernel: the kernel itself takes its arguments
// one by one, since what LLVM knows of a pointer (noalias, readonly) it knows of parameters only.
static void emit_step(Unit *u, const CgKernel *k, LLVMValueRef kernel) {
    CgFn f;
    LLVMTypeRef ptr = LLVMPointerTypeInContext(u->ctx, 0), i64 = LLVMInt64TypeInContext(u->ctx);
    LLVMTypeRef params[] = {ptr, i64, i64, i64, ptr};
    begin_function(u, &f, ir_sprintf(u->arena, "%s_step", k->symbol), params, 5);
    CgVal args[CG_MAX_ARGS + 4], table = LLVMGetParam(f.fn, 0);
    for (int i = 0; i < k->n_args; i++)
        args[i] = cg_load(&f, ptr, cg_at(&f, ptr, table, cg_i64(&f, i)), 8);
    for (int i = 0; i < 4; i++)
        args[k->n_args + i] = LLVMGetParam(f.fn, (unsigned)i + 1);
    CgVal call = LLVMBuildCall2(f.b, LLVMGlobalGetValueType(kernel), kernel, args,
                                (unsigned)k->n_args + 4, "");
    LLVMSetTailCall(call, 1);
    LLVMBuildRetVoid(f.b);
    LLVMDisposeBuilder(f.b);
}

static void emit_kernel(Unit *u, const CgKernel *k) {
    CgFn f;
    LLVMTypeRef params[CG_MAX_ARGS + 4];
    LLVMTypeRef ptr = LLVMPointerTypeInContext(u->ctx, 0), i64 = LLVMInt64TypeInContext(u->ctx);
    for (int i = 0; i < k->n_args; i++)
        params[i] = ptr;
    params[k->n_args] = params[k->n_args + 1] = params[k->n_args + 2] = i64;
    params[k->n_args + 3] = ptr;
    begin_function(u, &f, k->symbol, params, k->n_args + 4);
    LLVMSetLinkage(f.fn, LLVMInternalLinkage);
    f.n_args = k->n_args;
    for (int i = 0; i < k->n_args; i++) {
        f.arg[i] = LLVMGetParam(f.fn, (unsigned)i);
        if (!(k->alias >> i & 1))
            add_attr(&f, (unsigned)i + 1, "noalias");
        if (!(k->writes >> i & 1))
            add_attr(&f, (unsigned)i + 1, "readonly");
    }
    f.N = LLVMGetParam(f.fn, (unsigned)k->n_args);
    f.tid = LLVMGetParam(f.fn, (unsigned)k->n_args + 1);
    f.nth = LLVMGetParam(f.fn, (unsigned)k->n_args + 2);
    f.scratch = LLVMGetParam(f.fn, (unsigned)k->n_args + 3);
    k->emit(&f, k->spec);
    if (!LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(f.b)))
        LLVMBuildRetVoid(f.b);
    LLVMDisposeBuilder(f.b);
    emit_step(u, k, f.fn);
}

static void emit_descriptors(Unit *u) {
    LLVMValueRef kernels = cg_emit_kernels(u->p, u->mod);
    for (int i = 0; i < u->p->n_codes; i++)
        cg_emit_descriptor(u->p, &u->p->codes[i], kernels, u->mod);
    if (u->p->train)
        cg_emit_train(u->p, u->mod);
}

// ---------------------------------------------------------------- one unit

static void write_unit(Unit *u) {
    char *err = NULL;
    if (LLVMVerifyModule(u->mod, LLVMReturnStatusAction, &err))
        ir_bug("codegen", u->file, "%s", err);
    LLVMDisposeMessage(err);
    err = NULL;
    const CgOptions *o = u->p->opt;
    if (o->opt_level > 0) {
        LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
        LLVMErrorRef e = LLVMRunPasses(u->mod, kernel_passes, u->machine, options);
        LLVMDisposePassBuilderOptions(options);
        if (e)
            ir_bug("codegen", u->file, "%s", LLVMGetErrorMessage(e));
    }
    bool failed = o->emit == CG_EMIT_LLVM_IR
                      ? LLVMPrintModuleToFile(u->mod, u->file, &err)
                      : LLVMTargetMachineEmitToFile(
                            u->machine, u->mod, u->file,
                            o->emit == CG_EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile, &err);
    u->error = failed ? err : NULL;
}

static void compile_unit(Unit *u, atomic_int *done) {
    ir_diag_init(&u->diag, u->p->ir->diag->file);
    u->arena = ir_arena_new(&u->diag);
    open_unit(u);
    for (int i = 0; i < u->n_kernels; i++)
        emit_kernel(u, u->kernels[i]);
    if (u->index == 0)
        emit_descriptors(u);
    write_unit(u);
    close_unit(u);
    const CgOptions *o = u->p->opt;
    int n = atomic_fetch_add(done, u->n_kernels) + u->n_kernels;
    if (o->progress && omp_get_thread_num() == 0)
        o->progress(o->progress_ctx, n, u->p->n_kernels);
}

// Heaviest kernel first, each to the lightest unit so far; ties by index, so the result is fixed.
static int by_weight(const void *a, const void *b) {
    const CgKernel *x = *(const CgKernel *const *)a, *y = *(const CgKernel *const *)b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int spread_kernels(CgProgram *p, Unit *units) {
    int n = p->opt->emit != CG_EMIT_OBJECT ? 1 // text for people: one file
            : p->n_kernels < MAX_UNITS     ? p->n_kernels + 1
                                           : MAX_UNITS;
    const CgKernel **order = ir_alloc_array(p->arena, (size_t)p->n_kernels + 1, sizeof *order);
    for (int i = 0; i < p->n_kernels; i++)
        order[i] = &p->kernels[i];
    qsort(order, (size_t)p->n_kernels, sizeof *order, by_weight);
    for (int i = 0; i < n; i++)
        units[i].kernels =
            ir_alloc_array(p->arena, (size_t)p->n_kernels + 1, sizeof *units[i].kernels);
    for (int i = 0; i < p->n_kernels; i++) {
        Unit *best = &units[0];
        for (int k = 1; k < n; k++)
            if (units[k].weight < best->weight)
                best = &units[k];
        best->kernels[best->n_kernels++] = order[i];
        best->weight += order[i]->weight + 1;
    }
    return n;
}

static bool compile_units(CgProgram *p, const char *dir, const char *ext, CgResult *out) {
    Unit *units = ir_alloc_array(p->arena, MAX_UNITS, sizeof *units);
    int n = spread_kernels(p, units);
    atomic_int done = 0;
    for (int i = 0; i < n; i++) {
        units[i].p = p;
        units[i].index = i;
        units[i].file = ir_sprintf(p->arena, "%s/%s.%d.%s", dir, p->opt->symbol, i, ext);
    }
    int jobs = p->opt->jobs > 0 ? p->opt->jobs : omp_get_num_procs();
#pragma omp parallel for schedule(dynamic, 1) num_threads(jobs)
    for (int i = 0; i < n; i++)
        compile_unit(&units[i], &done);
    bool ok = true;
    for (int i = 0; i < n; i++) {
        out->files[out->n_files++] = units[i].file;
        if (units[i].error) {
            ir_error(p->ir->diag, IR_NOWHERE, "cannot write %s: %s", units[i].file, units[i].error);
            ok = false;
        }
    }
    return ok;
}

static void count_calls(const CgProgram *p, CgResult *out) {
    out->n_kernels = p->n_kernels;
    for (int k = 0; k < p->n_codes; k++) {
        out->n_calls += p->codes[k].n_calls;
        for (int i = 0; i < p->codes[k].n_calls; i++)
            out->n_barriers += p->codes[k].calls[i].barrier;
    }
}

static void place_args(CgProgram *p, const CgCall *calls, int n) {
    for (int i = 0; i < n; i++)
        for (int k = 0; k < calls[i].n_args; k++) {
            const CgArg *arg = &calls[i].args[k];
            if (arg->value && arg->value->place.kind == IR_PLACE_CONST)
                cg_arg_weights(p, arg);
        }
}

// Constants that calls name directly enter the section before it is closed: steps.c asks for their
// offsets while units are compiled.
static void place_constants(CgProgram *p) {
    for (int i = 0; i < p->n_codes; i++) {
        place_args(p, p->codes[i].calls, p->codes[i].n_calls);
        place_args(p, p->codes[i].init, p->codes[i].n_init);
    }
}

// The trained model's file; what lies in it at offset 0 mod 64 does so in memory.
static void place_onnx(CgProgram *p) {
    bool fresh;
    void *to = cg_pack(p, "onnx", (size_t)p->train->onnx_bytes, &p->onnx_at, &fresh);
    p->train->write_onnx(p->train->onnx_ctx, to);
}

static bool compile_program(CgProgram *p, const char *dir, CgResult *out) {
    static const char *const ext[] = {"o", "s", "ll"};
    const CgOptions *opt = p->opt;
    IrArena *a = p->arena;
    memset(out, 0, sizeof *out);
    out->files = ir_alloc_array(a, MAX_UNITS + 1, sizeof *out->files);
    if (!cg_weights_open(&p->weights, a, dir, opt->symbol))
        return false;
    if (!cg_lower_graphs(p))
        return false;
    place_constants(p);
    if (p->train)
        place_onnx(p);
    bool elf = opt->emit == CG_EMIT_OBJECT;
    const char *symbol = ir_sprintf(a, "%s_weights", opt->symbol);
    if (!cg_weights_close(&p->weights, a, symbol, elf))
        return false;
    out->weights_file = p->weights.path;
    out->weights_bytes = p->weights.bytes;
    if (elf)
        out->files[out->n_files++] = p->weights.path;
    count_calls(p, out);
    return compile_units(p, dir, ext[opt->emit], out);
}

static CgProgram *new_program(IrProgram *ir, const CgOptions *opt, int n_codes) {
    CgProgram *p = ir_alloc(ir->arena, sizeof *p);
    p->ir = ir;
    p->arena = ir->arena;
    p->opt = opt;
    p->n_codes = n_codes;
    p->codes = ir_alloc_array(ir->arena, (size_t)n_codes, sizeof *p->codes);
    return p;
}

bool cg_compile(IrGraph *g, const CgOptions *opt, const char *dir, CgResult *out) {
    CgProgram *p = new_program(g->prog, opt, 1);
    p->codes[0] = (CgCode){.graph = g, .symbol = opt->symbol};
    return compile_program(p, dir, out);
}

bool cg_compile_train(int n, IrGraph *const *graphs, const CgTrain *train, const CgOptions *opt,
                      const char *dir, CgResult *out) {
    CgProgram *p = new_program(graphs[0]->prog, opt, n);
    p->train = train;
    for (int i = 0; i < n; i++)
        p->codes[i] =
            (CgCode){.graph = graphs[i], .symbol = ir_sprintf(p->arena, "%s_g%d", opt->symbol, i)};
    return compile_program(p, dir, out);
}
