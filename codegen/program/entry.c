// The entry function SYMBOL_entry(call, thread, threads): every thread of one parallel region runs
// it from start to end. Straight-line: addresses, kernel calls, barriers where a call touches what
// another thread may have written, and calls of the observer, by thread 0, when there is one.
// SYMBOL_init(call, thread, threads) is the same for what runs once: each call writes prepared
// space of its own from the weights, so there is no barrier.
#include "codegen/program/program.h"

// Fields of HoneCall, in order; all are 8 bytes.
enum {
    CALL_N,
    CALL_ARENA,
    CALL_SCRATCH,
    CALL_WEIGHTS,
    CALL_INPUTS,
    CALL_OUTPUTS,
    CALL_BARRIER,
    CALL_OBSERVE,
    CALL_PREPARED
};

typedef struct Entry {
    CgProgram *p;
    CgCode *c;
    CgFn *f;
    CgVal call, thread, threads; // as passed: ptr, i32, i32
    CgVal arena, weights, inputs, outputs, observe, prepared;
    LLVMTypeRef observe_type, barrier_type;
    CgVal barrier;
} Entry;

static CgVal load_field(CgFn *f, CgVal call, int field, LLVMTypeRef t) {
    return cg_load(f, t, cg_at(f, f->i64, call, cg_i64(f, field)), 8);
}

static CgVal byte_at(CgFn *f, CgVal base, IrDim offset) {
    return offset.c == 0 && offset.n == 0 ? base : cg_at(f, f->i8, base, cg_dim(f, offset));
}

static CgVal arg_pointer(Entry *e, const CgArg *arg) {
    CgFn *f = e->f;
    const IrPlace *place = arg->value ? &arg->value->place : NULL;
    if (!place && arg->prepared)
        return byte_at(f, e->prepared, ir_dim(arg->weights));
    if (!place || place->kind == IR_PLACE_CONST)
        return byte_at(f, e->weights, ir_dim(cg_arg_weights(e->p, arg)));
    if (place->kind == IR_PLACE_ARENA)
        return byte_at(f, e->arena, place->offset);
    if (place->kind == IR_PLACE_NONE)
        ir_bug("codegen", arg->value->name, "a value without a place");
    CgVal table = place->kind == IR_PLACE_INPUT ? e->inputs : e->outputs;
    CgVal p = cg_load(f, f->ptr, cg_at(f, f->ptr, table, cg_i64(f, place->index)), 8);
    return byte_at(f, p, place->offset);
}

static LLVMTypeRef kernel_type(CgFn *f, int n_args) {
    LLVMTypeRef t[CG_MAX_ARGS + 4];
    for (int i = 0; i < n_args; i++)
        t[i] = f->ptr;
    t[n_args] = t[n_args + 1] = t[n_args + 2] = f->i64; // N, tid, nth
    t[n_args + 3] = f->ptr;                             // scratch
    return LLVMFunctionType(LLVMVoidTypeInContext(f->ctx), t, (unsigned)n_args + 4, 0);
}

static CgVal declare_extern(CgFn *f, const char *name, LLVMTypeRef t) {
    CgVal fn = LLVMGetNamedFunction(f->mod, name);
    return fn ? fn : LLVMAddFunction(f->mod, name, t);
}

static CgVal declare(CgFn *f, const char *name, LLVMTypeRef t) {
    CgVal fn = LLVMGetNamedFunction(f->mod, name);
    if (!fn) {
        fn = LLVMAddFunction(f->mod, name, t);
        LLVMSetVisibility(fn, LLVMHiddenVisibility);
    }
    return fn;
}

static void emit_call(Entry *e, const CgCall *c) {
    CgFn *f = e->f;
    const CgKernel *k = &e->p->kernels[c->kernel];
    CgVal args[CG_MAX_ARGS + 4];
    for (int i = 0; i < c->n_args; i++)
        args[i] = arg_pointer(e, &c->args[i]);
    args[c->n_args] = f->N;
    args[c->n_args + 1] = f->tid;
    args[c->n_args + 2] = f->nth;
    args[c->n_args + 3] = f->scratch;
    LLVMTypeRef t = kernel_type(f, c->n_args);
    LLVMBuildCall2(f->b, t, declare(f, k->symbol, t), args, (unsigned)c->n_args + 4, "");
}

static void emit_observe(Entry *e, int node) {
    CgFn *f = e->f;
    CgVal on = LLVMBuildAnd(f->b, LLVMBuildIsNotNull(f->b, e->observe, ""),
                            cg_icmp(f, LLVMIntEQ, f->tid, cg_i64(f, 0)), "");
    CgIf s;
    cg_if(f, &s, on);
    CgVal args[] = {e->call, LLVMConstInt(f->i32, (unsigned)node, 0)};
    LLVMBuildCall2(f->b, e->observe_type, e->observe, args, 2, "");
    cg_endif(f, &s);
}

static void emit_barrier(Entry *e) {
    CgVal args[] = {e->call, e->thread, e->threads};
    LLVMBuildCall2(e->f->b, e->barrier_type, e->barrier, args, 3, "");
}

// What run and init have in common
static void begin_function(Entry *e) {
    CgFn *f = e->f;
    e->call = LLVMGetParam(f->fn, 0);
    e->thread = LLVMGetParam(f->fn, 1);
    e->threads = LLVMGetParam(f->fn, 2);
    f->N = load_field(f, e->call, CALL_N, f->i64);
    f->tid = LLVMBuildZExt(f->b, e->thread, f->i64, "tid");
    f->nth = LLVMBuildZExt(f->b, e->threads, f->i64, "nth");
    e->weights = load_field(f, e->call, CALL_WEIGHTS, f->ptr);
    if (e->c->n_init)
        e->prepared = load_field(f, e->call, CALL_PREPARED, f->ptr);
    f->scratch = LLVMConstNull(f->ptr);
}

static void begin_entry(Entry *e) {
    CgFn *f = e->f;
    e->arena = load_field(f, e->call, CALL_ARENA, f->ptr);
    e->inputs = load_field(f, e->call, CALL_INPUTS, f->ptr);
    e->outputs = load_field(f, e->call, CALL_OUTPUTS, f->ptr);
    e->observe = load_field(f, e->call, CALL_OBSERVE, f->ptr);
    CgVal base = load_field(f, e->call, CALL_SCRATCH, f->ptr);
    f->scratch = cg_at(f, f->i8, base, cg_imulc(f, f->tid, e->c->scratch_bytes));
    LLVMTypeRef bt[] = {f->ptr, f->i32, f->i32};
    e->barrier_type = LLVMFunctionType(LLVMVoidTypeInContext(f->ctx), bt, 3, 0);
    e->barrier = declare_extern(f, "hone_rt_barrier", e->barrier_type);
    LLVMTypeRef ot[] = {f->ptr, f->i32};
    e->observe_type = LLVMFunctionType(LLVMVoidTypeInContext(f->ctx), ot, 2, 0);
}

// f is positioned in the empty function SYMBOL_entry(ptr, i32, i32).
void cg_emit_entry(CgProgram *p, CgCode *c, CgFn *f) {
    Entry e = {.p = p, .c = c, .f = f};
    begin_function(&e);
    begin_entry(&e);
    for (int i = 0; i < c->n_calls; i++) {
        if (c->calls[i].barrier)
            emit_barrier(&e);
        emit_observe(&e, i); // waiting at the barrier belongs to the call before it
        emit_call(&e, &c->calls[i]);
    }
    emit_observe(&e, c->n_calls);
    LLVMBuildRetVoid(f->b);
}

// f is positioned in the empty function SYMBOL_init(ptr, i32, i32).
void cg_emit_init(CgProgram *p, CgCode *c, CgFn *f) {
    Entry e = {.p = p, .c = c, .f = f};
    begin_function(&e);
    for (int i = 0; i < c->n_init; i++)
        emit_call(&e, &c->init[i]);
    LLVMBuildRetVoid(f->b);
}
