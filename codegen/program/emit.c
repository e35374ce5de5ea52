// Kernels and descriptors to files. Kernels are spread over a fixed number of jobs, one LLVM
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
#include <unistd.h>

enum { MAX_JOBS = 8 };
_Static_assert((int)CG_MAX_ARGS == (int)HONE_MAX_ARGS, "what a kernel takes");
_Static_assert((int)IR_MAX_RANK == (int)HONE_MAX_RANK, "what a shape holds");
#define IR_DTYPE(name, ...) _Static_assert((int)IR_##name == (int)HONE_##name, "element types");
#include "ir/dtypes.def"
#undef IR_DTYPE

// What runs over kernels: they come out of the builder nearly final, so this is kept short.
static const char kernel_passes[] =
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,early-cse)";

typedef struct Job {
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
} Job;

// Functions say themselves what machine they are for; that of a module is the first unit's.
static LLVMTargetMachineRef new_machine(const CgTarget *t, int opt_level) {
    LLVMTargetRef target;
    char *err = NULL;
    if (LLVMGetTargetFromTriple(t->triple, &target, &err))
        ir_bug("codegen", NULL, "%s", err);
    // Not LLVMCodeGenLevelNone: LLVM 19's fast selector, which only that one uses, folds the load
    // of a scalar float into a blend that reads 16 bytes, past the end of a buffer.
    LLVMCodeGenOptLevel level = opt_level <= 1   ? LLVMCodeGenLevelLess
                                : opt_level == 2 ? LLVMCodeGenLevelDefault
                                                 : LLVMCodeGenLevelAggressive;
    return LLVMCreateTargetMachine(target, t->triple, t->base, t->features, level, LLVMRelocPIC,
                                   LLVMCodeModelDefault);
}

static void open_job(Job *j) {
    j->ctx = LLVMContextCreate();
    char name[32];
    snprintf(name, sizeof name, "job%d", j->index);
    j->mod = LLVMModuleCreateWithNameInContext(name, j->ctx);
    j->machine = new_machine(j->p->codes[0].target, j->p->opt->opt_level);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(j->machine);
    LLVMSetModuleDataLayout(j->mod, layout);
    LLVMSetTarget(j->mod, j->p->codes[0].target->triple);
    LLVMDisposeTargetData(layout);
}

static void close_job(Job *j) {
    LLVMDisposeTargetMachine(j->machine);
    LLVMDisposeModule(j->mod);
    LLVMContextDispose(j->ctx);
    ir_arena_free(j->arena);
}

// ---------------------------------------------------------------- one function

static void add_attr(CgFn *f, unsigned index, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(f->fn, index, LLVMCreateEnumAttribute(f->ctx, kind, 0));
}

static void add_function_attrs(CgFn *f) {
    const CgTarget *t = f->target;
    const char *width = ir_sprintf(f->arena, "%d", 8 * t->machine.vector_bytes);
    cg_function_attr(f, "target-cpu", t->base);
    cg_function_attr(f, "tune-cpu", t->tune);
    cg_function_attr(f, "target-features", t->features);
    cg_function_attr(f, "prefer-vector-width", width);
    cg_function_attr(f, "min-legal-vector-width", width);
    cg_function_attr(f, "frame-pointer", "none");
    add_attr(f, (unsigned)LLVMAttributeFunctionIndex, "nounwind");
}

static void begin_function(Job *j, CgFn *f, const CgTarget *target, const char *symbol,
                           LLVMTypeRef *params, int n) {
    memset(f, 0, sizeof *f);
    f->target = target;
    f->lanes = f->target->lanes;
    f->arena = j->arena;
    f->ctx = j->ctx;
    f->mod = j->mod;
    f->i1 = LLVMInt1TypeInContext(j->ctx);
    f->i8 = LLVMInt8TypeInContext(j->ctx);
    f->i32 = LLVMInt32TypeInContext(j->ctx);
    f->i64 = LLVMInt64TypeInContext(j->ctx);
    f->f32 = LLVMFloatTypeInContext(j->ctx);
    f->f64 = LLVMDoubleTypeInContext(j->ctx);
    f->ptr = LLVMPointerTypeInContext(j->ctx, 0);
    f->vec = LLVMVectorType(f->f32, (unsigned)f->lanes);
    f->ivec = LLVMVectorType(f->i32, (unsigned)f->lanes);
    LLVMTypeRef t = LLVMFunctionType(LLVMVoidTypeInContext(j->ctx), params, (unsigned)n, 0);
    f->fn = LLVMGetNamedFunction(j->mod, symbol);
    if (!f->fn)
        f->fn = LLVMAddFunction(j->mod, symbol, t);
    LLVMSetVisibility(f->fn, LLVMHiddenVisibility);
    add_function_attrs(f);
    f->b = LLVMCreateBuilderInContext(j->ctx);
    LLVMPositionBuilderAtEnd(f->b, LLVMAppendBasicBlockInContext(j->ctx, f->fn, "entry"));
}

static const char *step_symbol(IrArena *a, const CgKernel *k) {
    return ir_sprintf(a, "%s_step", k->symbol);
}

// SYMBOL_step(args, N, tid, nth, scratch), the HoneKernel: the kernel itself takes its arguments
// one by one, since what LLVM knows of a pointer (noalias, readonly) it knows of parameters only.
static void emit_step(Job *j, const CgKernel *k, LLVMValueRef kernel) {
    CgFn f;
    LLVMTypeRef ptr = LLVMPointerTypeInContext(j->ctx, 0), i64 = LLVMInt64TypeInContext(j->ctx);
    LLVMTypeRef params[] = {ptr, i64, i64, i64, ptr};
    begin_function(j, &f, k->target, step_symbol(j->arena, k), params, 5);
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

static void emit_kernel(Job *j, const CgKernel *k) {
    CgFn f;
    LLVMTypeRef params[CG_MAX_ARGS + 4];
    LLVMTypeRef ptr = LLVMPointerTypeInContext(j->ctx, 0), i64 = LLVMInt64TypeInContext(j->ctx);
    for (int i = 0; i < k->n_args; i++)
        params[i] = ptr;
    params[k->n_args] = params[k->n_args + 1] = params[k->n_args + 2] = i64;
    params[k->n_args + 3] = ptr;
    begin_function(j, &f, k->target, k->symbol, params, k->n_args + 4);
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
    emit_step(j, k, f.fn);
}

static void emit_descriptors(Job *j) {
    CgProgram *p = j->p;
    CgLayout *l = cg_layout_new(p->arena, j->mod);
    const char **names = ir_alloc_array(p->arena, (size_t)p->n_kernels + 1, sizeof *names);
    for (int i = 0; i < p->n_kernels; i++)
        names[i] = step_symbol(p->arena, &p->kernels[i]);
    cg_layout_functions(l, cg_kernels_symbol(p), p->n_kernels, names);
    for (int i = 0; i < p->n_codes; i++) {
        p->code = &p->codes[i];
        HoneModelDesc d = cg_descriptor(p, &p->codes[i]);
        cg_layout_model(l, cg_desc_symbol(p, &p->codes[i]), &d);
    }
    if (p->train) {
        HoneTrainDesc d = cg_train_descriptor(p);
        cg_layout_train(l, "hone_train_desc", &d);
    }
}

// ---------------------------------------------------------------- one job

static void write_job(Job *j) {
    char *err = NULL;
    if (LLVMVerifyModule(j->mod, LLVMReturnStatusAction, &err))
        ir_bug("codegen", j->file, "%s", err);
    LLVMDisposeMessage(err);
    err = NULL;
    const CgOptions *o = j->p->opt;
    if (o->opt_level > 0) {
        LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
        LLVMErrorRef e = LLVMRunPasses(j->mod, kernel_passes, j->machine, options);
        LLVMDisposePassBuilderOptions(options);
        if (e)
            ir_bug("codegen", j->file, "%s", LLVMGetErrorMessage(e));
    }
    bool failed = o->emit == CG_EMIT_LLVM_IR
                      ? LLVMPrintModuleToFile(j->mod, j->file, &err)
                      : LLVMTargetMachineEmitToFile(
                            j->machine, j->mod, j->file,
                            o->emit == CG_EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile, &err);
    j->error = failed ? err : NULL;
}

static void compile_job(Job *j, atomic_int *done) {
    ir_diag_init(&j->diag, j->p->ir->diag->file);
    j->diag.memory = j->p->ir->diag->memory;
    j->arena = ir_arena_new(&j->diag);
    open_job(j);
    for (int i = 0; i < j->n_kernels; i++)
        emit_kernel(j, j->kernels[i]);
    if (j->index == 0)
        emit_descriptors(j);
    write_job(j);
    close_job(j);
    const CgOptions *o = j->p->opt;
    int n = atomic_fetch_add(done, j->n_kernels) + j->n_kernels;
    if (o->progress && omp_get_thread_num() == 0)
        o->progress(o->progress_ctx, n, j->p->n_kernels);
}

// Heaviest kernel first, each to the lightest job so far; ties by index, so the result is fixed.
static int by_weight(const void *a, const void *b) {
    const CgKernel *x = *(const CgKernel *const *)a, *y = *(const CgKernel *const *)b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int spread_kernels(CgProgram *p, Job *jobs) {
    int n = p->opt->emit != CG_EMIT_OBJECT ? 1 // text for people: one file
            : p->n_kernels < MAX_JOBS      ? p->n_kernels + 1
                                           : MAX_JOBS;
    const CgKernel **order = ir_alloc_array(p->arena, (size_t)p->n_kernels + 1, sizeof *order);
    for (int i = 0; i < p->n_kernels; i++)
        order[i] = &p->kernels[i];
    qsort(order, (size_t)p->n_kernels, sizeof *order, by_weight);
    for (int i = 0; i < n; i++)
        jobs[i].kernels =
            ir_alloc_array(p->arena, (size_t)p->n_kernels + 1, sizeof *jobs[i].kernels);
    for (int i = 0; i < p->n_kernels; i++) {
        Job *best = &jobs[0];
        for (int k = 1; k < n; k++)
            if (jobs[k].weight < best->weight)
                best = &jobs[k];
        best->kernels[best->n_kernels++] = order[i];
        best->weight += order[i]->weight + 1;
    }
    return n;
}

static bool compile_jobs(CgProgram *p, const char *dir, const char *ext, CgResult *out) {
    Job *jobs = ir_alloc_array(p->arena, MAX_JOBS, sizeof *jobs);
    int n = spread_kernels(p, jobs);
    atomic_int done = 0;
    for (int i = 0; i < n; i++) {
        jobs[i].p = p;
        jobs[i].index = i;
        jobs[i].file =
            ir_sprintf(p->arena, "%s/%.*s.%d.%s", dir, CG_FILE_NAME, p->opt->symbol, i, ext);
    }
    int threads = p->opt->jobs > 0 ? p->opt->jobs : omp_get_num_procs();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int i = 0; i < n; i++)
        compile_job(&jobs[i], &done);
    bool ok = true;
    for (int i = 0; i < n; i++) {
        out->files[out->n_files++] = jobs[i].file;
        if (jobs[i].error) {
            ir_error(p->ir->diag, IR_NOWHERE, "cannot write %s: %s", jobs[i].file, jobs[i].error);
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
// offsets while jobs are compiled.
static void place_constants(CgProgram *p) {
    for (int i = 0; i < p->n_codes; i++) {
        p->code = &p->codes[i];
        place_args(p, p->codes[i].calls, p->codes[i].n_calls);
        place_args(p, p->codes[i].init, p->codes[i].n_init);
    }
}

// The trained model's file; what lies in it at offset 0 mod 64 does so in memory.
static void place_onnx(CgProgram *p) {
    bool fresh;
    void *to = cg_pack(p, "onnx", (size_t)p->file->bytes, &p->onnx_at, &fresh);
    p->file->write(p->file->ctx, to);
}

// Everything that may be refused. What it packs on the way is in the weights' file.
static bool lower_program(CgProgram *p, const char *dir) {
    return cg_weights_open(&p->weights, p->arena, dir, p->opt->symbol, p->n_codes > 1) &&
           cg_lower_graphs(p);
}

static bool compile_program(CgProgram *p, const char *dir, CgResult *out) {
    static const char *const ext[] = {"o", "s", "ll"};
    const CgOptions *opt = p->opt;
    IrArena *a = p->arena;
    memset(out, 0, sizeof *out);
    out->files = ir_alloc_array(a, MAX_JOBS + 1, sizeof *out->files);
    if (!lower_program(p, dir))
        return false;
    out->n_units = p->n_codes;
    out->task = opt->task.kind;
    out->same_as = ir_alloc_array(a, (size_t)p->n_codes, sizeof *out->same_as);
    place_constants(p);
    if (p->train)
        place_onnx(p);
    cg_store_prepared(p);
    cg_fill_packs(p);
    cg_units_link(p, out->same_as);
    bool elf = opt->emit == CG_EMIT_OBJECT;
    if (!cg_weights_close(&p->weights, a, cg_weights_symbol(p),
                          elf ? &p->codes[0].target->machine : NULL))
        return false;
    out->weights_file = p->weights.path;
    out->weights_bytes = p->weights.bytes;
    if (elf)
        out->files[out->n_files++] = p->weights.path;
    count_calls(p, out);
    return compile_jobs(p, dir, ext[opt->emit], out);
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

bool cg_compile_units(int n, const CgUnit *units, const CgOptions *opt, const char *dir,
                      CgResult *out) {
    CgProgram *p = new_program(units[0].graph->prog, opt, n);
    for (int i = 0; i < n; i++)
        p->codes[i] = (CgCode){.graph = units[i].graph,
                               .target = units[i].target,
                               .preprocess = &units[i].preprocess,
                               .unit = i};
    return compile_program(p, dir, out);
}

bool cg_compile(IrGraph *g, const CgOptions *opt, const char *dir, CgResult *out) {
    return cg_compile_units(1, &(CgUnit){g, opt->target, opt->preprocess}, opt, dir, out);
}

static bool check_program(CgProgram *p, const char *dir) {
    bool ok = lower_program(p, dir);
    if (p->weights.path)
        unlink(p->weights.path);
    return ok;
}

bool cg_check(IrGraph *g, const CgOptions *opt, const char *dir) {
    CgProgram *p = new_program(g->prog, opt, 1);
    p->codes[0] = (CgCode){.graph = g, .target = opt->target};
    return check_program(p, dir);
}

// Of every graph the units for all machines; those of the best machine first.
static CgProgram *new_train_program(const IrTrainProgram *train, int n_targets,
                                    const CgTarget *targets, const CgOptions *opt) {
    int n = train->n_graphs;
    CgProgram *p = new_program(train->graphs[0]->prog, opt, n * n_targets);
    p->train = train;
    for (int i = 0; i < n * n_targets; i++) {
        int k = i / n, model = i % n;
        p->codes[i] = (CgCode){.graph = k ? train->others[model * (n_targets - 1) + k - 1]
                                          : train->graphs[model],
                               .target = &targets[k],
                               .preprocess = &opt->preprocess,
                               .unit = i,
                               .model = model};
    }
    return p;
}

bool cg_compile_train(const IrTrainProgram *train, int n_targets, const CgTarget *targets,
                      const CgTrainFile *file, const CgOptions *opt, const char *dir,
                      CgResult *out) {
    CgProgram *p = new_train_program(train, n_targets, targets, opt);
    p->file = file;
    return compile_program(p, dir, out);
}

bool cg_check_train(const IrTrainProgram *train, const CgOptions *opt, const char *dir) {
    return check_program(new_train_program(train, 1, opt->target, opt), dir);
}
