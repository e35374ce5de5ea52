// What lowerings build with: calls of shared kernels, and what the calls refer to: kernels by (emit
// function, spec), packed weights by key. Knows no lowering itself; lower.c calls them.
#include "codegen/program/program.h"

#include <stdarg.h>
#include <string.h>

void cg_nyi(CgProgram *p, const IrNode *n, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    IrWhere where = {n->name, n->src_op ? n->src_op : ir_op_info(n->op)->text};
    ir_error(p->ir->diag, where, "NYI: %s", text);
    p->failed = true;
}

const CgTarget *cg_target(const CgProgram *p) {
    return p->code->target;
}
IrArena *cg_arena(const CgProgram *p) {
    return p->arena;
}
IrProgram *cg_ir(const CgProgram *p) {
    return p->code->graph->prog;
}

// ---------------------------------------------------------------- arguments

CgArg cg_read(const IrValue *v) {
    return (CgArg){.value = v};
}
CgArg cg_write(const IrValue *v) {
    return (CgArg){.value = v, .write = true};
}
CgArg cg_packed(int64_t offset) {
    return (CgArg){.weights = offset};
}

void cg_need(CgProgram *p, uint32_t feature) {
    p->code->needs |= feature ? UINT64_C(1) << feature : 0;
}

void cg_scratch(CgProgram *p, int64_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    if (bytes > p->code->scratch_bytes)
        p->code->scratch_bytes = bytes;
}

const char *cg_desc_symbol(CgProgram *p, const CgCode *c) {
    return ir_sprintf(p->arena, "%s_desc", c->symbol);
}

const char *cg_weights_symbol(CgProgram *p) {
    return ir_sprintf(p->arena, "%s_weights", p->opt->symbol);
}

const char *cg_kernels_symbol(CgProgram *p) {
    return ir_sprintf(p->arena, "%s_kernels", p->opt->symbol);
}

// ---------------------------------------------------------------- weights

static const CgPack *find_pack(const CgProgram *p, const char *key, const CgCode *code) {
    uint64_t h = cg_hash(key, strlen(key));
    size_t probe = 0;
    for (int i; (i = cg_table_find(&p->pack_keys, h, &probe)) >= 0;)
        if (p->packs[i].target == cg_target(p) && p->packs[i].ir == cg_ir(p) &&
            p->packs[i].code == code && strcmp(p->packs[i].key, key) == 0)
            return &p->packs[i];
    return NULL;
}

static void add_pack(CgProgram *p, CgPack pack) {
    cg_table_add(&p->pack_keys, p->arena, cg_hash(pack.key, strlen(pack.key)), p->n_packs);
    cg_table_add(&p->pack_places, p->arena, cg_hash(&pack.offset, sizeof pack.offset), p->n_packs);
    pack.key = ir_strdup(p->arena, pack.key);
    pack.target = cg_target(p);
    pack.ir = cg_ir(p);
    IR_PUSH(p->arena, p->packs, p->n_packs, p->cap_packs, pack);
}

void *cg_pack(CgProgram *p, const char *key, size_t bytes, int64_t *offset, bool *fresh) {
    const CgPack *known = find_pack(p, key, NULL);
    *fresh = !known;
    if (known) {
        *offset = known->offset;
        return NULL;
    }
    *offset = cg_weights_reserve(&p->weights, p->arena, (int64_t)bytes);
    add_pack(p, (CgPack){.key = key, .offset = *offset, .bytes = (int64_t)bytes});
    return cg_weights_fill(&p->weights, p->arena, *offset);
}

// Plain data, as often as it is asked for; equal ones stand once.
static const void *keep_bytes(CgProgram *p, const void *data, size_t n) {
    uint64_t h = cg_hash(data, n);
    size_t probe = 0;
    for (int i; (i = cg_table_find(&p->ctx_table, h, &probe)) >= 0;)
        if (p->ctx[i].n == n && memcmp(p->ctx[i].data, data, n) == 0)
            return p->ctx[i].data;
    void *copy = ir_alloc(p->arena, n);
    memcpy(copy, data, n);
    cg_table_add(&p->ctx_table, p->arena, h, p->n_ctx);
    IR_PUSH(p->arena, p->ctx, p->n_ctx, p->cap_ctx, ((CgBytes){copy, n}));
    return copy;
}

static const CgMake *keep_make(CgProgram *p, const CgMake *m) {
    CgMake *copy = ir_alloc(p->arena, sizeof *copy);
    *copy = *m;
    copy->ctx = keep_bytes(p, m->ctx, m->ctx_size);
    return copy;
}

static int64_t make_bytes(const CgMake *m) {
    return m->n * ir_dtype_bytes(m->type);
}

const CgMake *cg_pack_later(CgProgram *p, const char *key, const CgMake *m, int64_t *offset) {
    const CgPack *known = find_pack(p, key, NULL);
    *offset = known ? known->offset : cg_weights_reserve(&p->weights, p->arena, make_bytes(m));
    if (known)
        return known->make;
    m = keep_make(p, m);
    add_pack(p, (CgPack){.key = key, .offset = *offset, .bytes = make_bytes(m), .make = m});
    return m;
}

CgArg cg_prepare(CgProgram *p, const char *key, const CgMake *m, bool *fresh) {
    const CgPack *known = find_pack(p, key, p->code);
    *fresh = !known;
    if (known)
        return (CgArg){.weights = known->offset, .prepared = true};
    CgArg arg = {.weights = p->code->prepared_bytes, .prepared = true};
    int64_t bytes = make_bytes(m);
    add_pack(p, (CgPack){.key = key,
                         .offset = arg.weights,
                         .bytes = bytes,
                         .code = p->code,
                         .make = keep_make(p, m)});
    p->code->prepared_bytes += (bytes + 63) / 64 * 64;
    return arg;
}

int64_t cg_arg_weights(CgProgram *p, const CgArg *arg) {
    if (!arg->value)
        return arg->weights;
    const IrValue *v = arg->value;
    while (v->view_of)
        v = v->view_of;
    IrConst *c = v->konst;
    IrDim elems;
    if (!c || !ir_shape_elems(&c->type.shape, &elems))
        ir_bug("codegen", NULL, "constant argument without data");
    size_t bytes = (size_t)elems.c * (size_t)ir_dtype_bytes(c->type.dtype);
    int64_t offset;
    bool fresh;
    void *data = cg_pack(p, ir_sprintf(p->arena, "plain:%p", (void *)c), bytes, &offset, &fresh);
    if (fresh && bytes)
        memcpy(data, ir_const_data(cg_ir(p), c), bytes);
    return offset;
}

// ---------------------------------------------------------------- kernels and calls

int cg_kernel(CgProgram *p, const char *name, CgEmit emit, const void *spec, size_t size,
              int n_args, int weight) {
    const CgTarget *target = cg_target(p);
    uint64_t h = cg_hash(spec, size) ^ (uint64_t)(uintptr_t)emit * 0x9e3779b97f4a7c15u;
    size_t probe = 0;
    for (int i; (i = cg_table_find(&p->kernel_table, h, &probe)) >= 0;) {
        const CgKernel *k = &p->kernels[i];
        if (k->target == target && k->emit == emit && k->size == size &&
            memcmp(k->spec, spec, size) == 0)
            return i;
    }
    if (n_args > CG_MAX_ARGS)
        ir_bug("codegen", name, "a kernel with %d arguments", n_args);
    void *copy = ir_alloc(p->arena, size);
    memcpy(copy, spec, size);
    CgKernel k = {.target = target,
                  .symbol = ir_sprintf(p->arena, "%s_k%d_%s", p->opt->symbol, p->n_kernels, name),
                  .emit = emit,
                  .spec = copy,
                  .size = size,
                  .n_args = n_args,
                  .weight = weight};
    cg_table_add(&p->kernel_table, p->arena, h, p->n_kernels);
    IR_PUSH(p->arena, p->kernels, p->n_kernels, p->cap_kernels, k);
    return p->n_kernels - 1;
}

static bool in_memory(const IrValue *v) {
    return v && v->place.kind != IR_PLACE_CONST;
}

bool cg_args_overlap(const IrValue *a, const IrValue *b) {
    if (!in_memory(a) || !in_memory(b) || a->place.kind != b->place.kind)
        return false;
    if (a->place.kind != IR_PLACE_ARENA && a->place.index != b->place.index)
        return false;
    int64_t ca = 0, cb = 0;
    const IrValue *ra = ir_view_root((IrValue *)a, &ca), *rb = ir_view_root((IrValue *)b, &cb);
    if (ra == rb && a->type.block && b->type.block && ra->type.block) {
        int64_t na = a->type.shape.dim[1].c, nb = b->type.shape.dim[1].c, blk = a->type.block;
        return ca < (cb + nb + blk - 1) / blk * blk && cb < (ca + na + blk - 1) / blk * blk;
    }
    if (a->place.kind != IR_PLACE_ARENA)
        return true;
    IrDim sa, sb, oa = ra->place.offset, ob = rb->place.offset;
    if (!ir_type_bytes(&ra->type, &sa) || !ir_type_bytes(&rb->type, &sb))
        return true;
    if (oa.c == 0 && ob.c == 0 && sa.c == 0 && sb.c == 0) // both in the region that grows with N
        return oa.n < ob.n + sb.n && ob.n < oa.n + sa.n;
    if (oa.n == ob.n && sa.n == 0 && sb.n == 0)
        return oa.c < ob.c + sb.c && ob.c < oa.c + sa.c;
    return true;
}

CgPack *cg_pack_at(const CgProgram *p, const CgCode *code, int64_t offset) {
    uint64_t h = cg_hash(&offset, sizeof offset);
    size_t probe = 0;
    for (int i; (i = cg_table_find(&p->pack_places, h, &probe)) >= 0;)
        if (p->packs[i].offset == offset && p->packs[i].code == code)
            return &p->packs[i];
    return NULL;
}

static int64_t pack_bytes(const CgProgram *p, const CgArg *arg) {
    const CgPack *pack = cg_pack_at(p, arg->prepared ? p->code : NULL, arg->weights);
    return pack ? pack->bytes : 0;
}

// Of everything that a call touches: tensors and packed weights.
static IrDim arg_bytes(const CgProgram *p, const CgArg *args, int n) {
    IrDim sum = {0, 0}, b;
    for (int i = 0; i < n; i++) {
        if (!args[i].value) {
            sum.c += pack_bytes(p, &args[i]);
        } else if (ir_type_bytes(&args[i].value->type, &b)) {
            sum.c += b.c;
            sum.n += b.n;
        }
    }
    return sum;
}

// A call without what the profile says of it; the kernel learns what its arguments may be.
static CgCall make_call(CgProgram *p, int kernel, int n_args, const CgArg *args) {
    CgKernel *k = &p->kernels[kernel];
    if (n_args != k->n_args)
        ir_bug("codegen", k->symbol, "%d arguments for a kernel that takes %d", n_args, k->n_args);
    CgCall call = {.kernel = kernel, .n_args = n_args};
    call.args = ir_alloc_array(p->arena, (size_t)n_args, sizeof *args);
    memcpy(call.args, args, (size_t)n_args * sizeof *args);
    for (int i = 0; i < n_args; i++) {
        k->writes |= args[i].write ? 1u << i : 0;
        for (int j = 0; j < n_args; j++)
            if (i != j && (args[i].write || args[j].write) &&
                cg_args_overlap(args[i].value, args[j].value))
                k->alias |= 1u << i;
    }
    return call;
}

void cg_call(CgProgram *p, const IrNode *n, int kernel, int n_args, const CgArg *args,
             const char *algo, IrDim flops) {
    CgCall call = make_call(p, kernel, n_args, args);
    call.node = n;
    call.algo = algo;
    call.flops = flops;
    call.bytes = arg_bytes(p, args, n_args);
    IR_PUSH(p->arena, p->code->calls, p->code->n_calls, p->code->cap_calls, call);
}

void cg_init_call(CgProgram *p, int kernel, CgArg from, CgArg to) {
    to.write = true;
    CgCall call = make_call(p, kernel, 2, (CgArg[]){from, to});
    IR_PUSH(p->arena, p->code->init, p->code->n_init, p->code->cap_init, call);
}
