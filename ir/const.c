// Constants: made, read element by element, and made real where they are only described (splat,
// rand).
#include "ir/eval.h"
#include "ir/ir_private.h"
#include "ir/memory.h"
#include "ir/random.h"
#include <string.h>

// Constants are made from one another, and one weight may serve thousands of nodes whose
// simplification gives each its own: what comes of a small file may be large.
static void count_bytes(IrProgram *p, const IrType *t) {
    IrDim bytes;
    if (!ir_type_bytes(t, &bytes) ||
        __builtin_add_overflow(p->const_bytes, bytes.c, &p->const_bytes)) {
        p->const_bytes = INT64_MAX;
    }
    int graphs = p->n_graphs > 1 ? p->n_graphs : 1; // each may fold the same weights its own way
    if (p->const_limit && p->const_bytes / graphs > p->const_limit) {
        ir_fatal(p->diag, IR_NOWHERE,
                 "its constants, with those that folding makes, are larger than %s (--limit "
                 "constants=SIZE raises it)",
                 IR_SIZE(p->const_limit));
    }
}

static IrConst *add_const(IrProgram *p, const char *name, IrType type) {
    const char *why = ir_check_type(p->arena, &type);
    if (why || type.block || !ir_shape_is_static(&type.shape)) {
        ir_bug("constant", name, "%s", why ? why : "its shape is not static and plain");
    }
    IrConst *c = ir_alloc(p->arena, sizeof *c);
    c->id = p->next_const_id++;
    c->name = name ? ir_strdup(p->arena, name) : ir_sprintf(p->arena, "c%u", c->id);
    c->type = type;
    count_bytes(p, &type);
    IR_PUSH(p->arena, p->consts, p->n_consts, p->cap_consts, c);
    return c;
}

IrConst *ir_const_new(IrProgram *p, const char *name, IrType type, const void *data) {
    IrConst *c = add_const(p, name, type);
    c->data = data ? data : "";
    return c;
}

IrConst *ir_const_splat(IrProgram *p, const char *name, IrType type, double x) {
    IrConst *c = add_const(p, name, type);
    c->kind = IR_CONST_SPLAT;
    c->splat = x;
    return c;
}

IrConst *ir_const_rand(IrProgram *p, const char *name, IrType type, uint64_t seed) {
    IrConst *c = add_const(p, name, type);
    c->kind = IR_CONST_RAND;
    c->seed = seed;
    return c;
}

static int64_t count_elems(const IrConst *c) {
    IrDim n;
    ir_shape_elems(&c->type.shape, &n);
    return n.c;
}

// Elements [at, at + n) of a splat or random constant. Random floats are multiples of 2^-23 (f16:
// 2^-10, bf16: 2^-7) and so exact; random integers are 16 small values; bools either.
static void make_elems(const IrConst *c, int64_t at, int n, double *x) {
    IrDtype t = c->type.dtype;
    int bits = t == IR_F16 ? 11 : t == IR_BF16 ? 8 : 24;
    int lowest = t == IR_I8 || t == IR_I16 || t == IR_I32 || t == IR_I64 ? -8 : 0;
    uint64_t key = ir_random_key(c->seed);
    for (int i = 0; i < n; i++) {
        uint32_t r = c->kind == IR_CONST_RAND ? ir_random_u32(key, (uint64_t)(at + i)) : 0;
        x[i] = c->kind == IR_CONST_SPLAT ? c->splat
               : t == IR_BOOL            ? r >> 31
               : ir_dtype_is_float(t)    ? ldexp(r >> (32 - bits), 1 - bits) - 1
                                         : (int)(r >> 28) + lowest;
    }
}

const void *ir_const_data(IrProgram *p, IrConst *c) {
    if (!c->data) {
        int64_t n = count_elems(c);
        IrTensor t = ir_tensor_new(p->arena, &c->type, 1);
        for (int64_t at = 0; at < n; at += IR_EVAL_BLOCK) {
            double x[IR_EVAL_BLOCK];
            int m = n - at < IR_EVAL_BLOCK ? (int)(n - at) : IR_EVAL_BLOCK;
            make_elems(c, at, m, x);
            ir_tensor_store(&t, at, m, x);
        }
        c->data = t.data;
    }
    return c->data;
}

double ir_const_scalar(IrProgram *p, IrConst *c, int64_t i) {
    (void)p;
    double x;
    uint64_t element; // of a splat or random constant, which may be too large to make real for it
    IrTensor t = {.dtype = c->type.dtype, .data = (void *)c->data};
    if (!c->data) {
        make_elems(c, i, 1, &x);
        t.data = &element;
        ir_tensor_set(&t, 0, x);
        i = 0;
    }
    return ir_tensor_get(&t, i);
}

// bf16: the upper half of a float. f16: 11 bits of a number that is neither tiny nor large; what is
// tiny is asked for.
static bool holds(IrDtype t, float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t exponent = bits >> 23 & 255;
    if (t == IR_BF16) {
        return !(bits & 0xffff);
    }
    return exponent >= 113 && exponent <= 142 ? !(bits & 0x1fff) : ir_dtype_round(t, x) == x;
}

static bool holds_all(IrDtype t, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!holds(t, x[i])) {
            return false;
        }
    }
    return true;
}

IrDtype ir_const_narrowest(const IrConst *c) {
    int64_t n = count_elems(c);
    bool floats = c->kind == IR_CONST_DATA && c->type.dtype == IR_F32;
    return !floats                          ? c->type.dtype
           : holds_all(IR_F16, c->data, n)  ? IR_F16
           : holds_all(IR_BF16, c->data, n) ? IR_BF16
                                            : IR_F32;
}

// Random ones are finite.
static int64_t count_not_finite(IrProgram *p, IrConst *c) {
    const float *x = c->data;
    int64_t n = c->kind == IR_CONST_DATA ? count_elems(c) : 0, others = 0;
    if (c->kind == IR_CONST_SPLAT) {
        return !isfinite(ir_const_scalar(p, c, 0));
    }
#pragma omp parallel for reduction(+ : others)
    for (int64_t i = 0; i < n; i++) {
        others += !isfinite(x[i]);
    }
    return others;
}

bool ir_const_is_finite(IrProgram *p, IrConst *c) {
    if (!c->finite) {
        c->finite = count_not_finite(p, c) ? -1 : 1;
    }
    return c->finite > 0;
}

void ir_prune_consts(IrProgram *p) {
    int kept = 0;
    for (int i = 0; i < p->n_consts; i++) {
        IrConst *c = p->consts[i];
        bool used = c->trainable;
        for (int k = 0; k < p->n_graphs && !used; k++) {
            IrGraph *g = p->graphs[k];
            IrValue *v = c->id < (uint32_t)g->cap_const_values ? g->const_values[c->id] : NULL;
            used = v && v->n_uses;
        }
        if (used) {
            p->consts[kept++] = c;
        }
    }
    p->n_consts = kept;
}

bool ir_const_is_scalar(const IrValue *v) {
    return v && v->konst && count_elems(v->konst) == 1;
}
