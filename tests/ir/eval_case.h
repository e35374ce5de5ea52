// One node evaluated on literal operands, as data: the helper of the test_eval_*.c programs.
#ifndef TESTS_IR_EVAL_CASE_H
#define TESTS_IR_EVAL_CASE_H

#include "ir/ir.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPERANDS = 6, MAX_CASE_ATTRS = 8 };

typedef struct Operand {
    bool given;
    IrDtype dtype;
    int rank;
    int64_t dim[IR_MAX_RANK];
    const double *values; // NULL: the pattern of `seed`
    int seed;
} Operand;

typedef struct CaseAttr {
    bool given;
    IrAttrKey key;
    IrAttrKind kind;
    int n; // INTS, DIMS
    int64_t ints[2 * IR_MAX_RANK];
    double f;
    const char *s;
    IrBody body;
} CaseAttr;

typedef struct Case {
    const char *name;
    IrOp op;
    Operand in[MAX_OPERANDS]; // up to the last one given
    CaseAttr attr[MAX_CASE_ATTRS];
    Operand out;
    const char *error; // instead of a result: a part of the reason
} Case;

#define COUNT(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
#define DIMS(...) .rank = COUNT(__VA_ARGS__), .dim = {__VA_ARGS__}
// An operand with its values, or with a pattern of values (same as in make_eval_cases.py).
#define X(E, dims, ...)                                                                            \
    {                                                                                              \
        .given = true, .dtype = IR_##E, dims, .values = (const double[]) {                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define P(E, dims, k)                                                                              \
    { .given = true, .dtype = IR_##E, dims, .seed = k }
#define NONE                                                                                       \
    { .given = false }
#define A_INT(K, v)                                                                                \
    {                                                                                              \
        .given = true, .key = IR_ATTR_##K, .kind = IR_KIND_INT, .ints = { v }                      \
    }
#define A_FLOAT(K, v)                                                                              \
    { .given = true, .key = IR_ATTR_##K, .kind = IR_KIND_FLOAT, .f = v }
#define A_STR(K, v)                                                                                \
    { .given = true, .key = IR_ATTR_##K, .kind = IR_KIND_STR, .s = v }
#define A_LIST(K, k, ...)                                                                          \
    {                                                                                              \
        .given = true, .key = IR_ATTR_##K, .kind = IR_KIND_##k, .n = COUNT(__VA_ARGS__), .ints = { \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define A_INTS(K, ...) A_LIST(K, INTS, __VA_ARGS__)
#define A_DIMS(K, ...) A_LIST(K, DIMS, __VA_ARGS__)
#define A_STEPS(K, ...)                                                                            \
    {                                                                                              \
        .given = true, .key = IR_ATTR_##K, .kind = IR_KIND_BODY, .body = {                         \
            sizeof((IrStep[]){__VA_ARGS__}) / sizeof(IrStep),                                      \
            (IrStep[]){__VA_ARGS__}                                                                \
        }                                                                                          \
    }

static double pattern_at(int64_t i, int seed) {
    return (double)((i * 37 + seed * 11) % 17 - 8) / 4;
}

static IrType operand_type(const Operand *o) {
    return (IrType){.dtype = o->dtype, .shape = ir_shape_of(o->rank, o->dim)};
}

static IrTensor operand_tensor(IrArena *a, const Operand *o) {
    IrType type = operand_type(o);
    IrTensor t = ir_tensor_new(a, &type, 1);
    for (int64_t i = 0; i < ir_tensor_elems(&t); i++) {
        ir_tensor_set(&t, i, o->values ? o->values[i] : pattern_at(i, o->seed));
    }
    return t;
}

static IrAttr case_attr(IrArena *a, const CaseAttr *c) {
    IrShape shape;
    switch (c->kind) {
    case IR_KIND_INT:
        return ir_attr_i(c->key, c->ints[0]);
    case IR_KIND_FLOAT:
        return ir_attr_f(c->key, c->f);
    case IR_KIND_STR:
        return ir_attr_s(c->key, c->s);
    case IR_KIND_BODY:
        return ir_attr_body(a, c->key, &c->body);
    case IR_KIND_DIMS:
        shape = ir_shape_of(c->n, c->ints);
        return ir_attr_dims(c->key, &shape);
    case IR_KIND_INTS:
    case IR_KIND_ALGO: // of kernels: the evaluator reads neither
    case IR_KIND_TILE:
        break;
    }
    return ir_attr_ints(a, c->key, c->n, c->ints);
}

// Builds the case's node in a graph of its own, whose inputs are the operands that are given, in
// order. NULL: *why says what is wrong.
static IrNode *build_case(IrProgram *p, const Case *c, const char **why) {
    IrBuilder b = {.graph = ir_graph_new(p, "g"), .name = c->name};
    IrValue *in[MAX_OPERANDS] = {NULL};
    IrAttr attr[MAX_CASE_ATTRS];
    int n_in = 0, n_attrs = 0;
    for (int i = 0; i < MAX_OPERANDS; i++) {
        if (c->in[i].given) {
            in[i] = ir_input(b.graph, ir_sprintf(p->arena, "x%d", i), operand_type(&c->in[i]));
            n_in = i + 1;
        }
    }
    for (; n_attrs < MAX_CASE_ATTRS && c->attr[n_attrs].given; n_attrs++) {
        attr[n_attrs] = case_attr(p->arena, &c->attr[n_attrs]);
    }
    IrNode *n = ir_build_node(&b, c->op, n_in, in, n_attrs, attr);
    *why = b.err;
    if (n) {
        ir_output(b.graph, n->out[0]);
    }
    return n;
}

static bool close_to(double x, double y, IrDtype t) {
    double tolerance = t == IR_F32 ? 2e-6 : t == IR_F16 ? 1e-3 : t == IR_F64 ? 1e-12 : 0;
    if (isnan(x) || isnan(y)) {
        return isnan(x) && isnan(y);
    }
    return x == y || fabs(x - y) <= tolerance * (1 + fabs(y));
}

// NULL when t is the operand, else how it differs.
static const char *compare_tensor(IrArena *a, const IrTensor *t, const Operand *want) {
    IrTensor w = operand_tensor(a, want);
    if (t->dtype != w.dtype || t->rank != w.rank ||
        memcmp(t->dim, w.dim, (size_t)w.rank * sizeof w.dim[0])) {
        return "another type";
    }
    for (int64_t i = 0; i < ir_tensor_elems(&w); i++) {
        double x = ir_tensor_get(t, i), y = ir_tensor_get(&w, i);
        if (!close_to(x, y, w.dtype)) {
            return ir_sprintf(a, "element %lld is %.9g, not %.9g", (long long)i, x, y);
        }
    }
    return NULL;
}

// Evaluates the case alone and as a graph. NULL when the result is as it should be, else why not.
static const char *run_case(IrArena *a, const Case *c) {
    const char *why;
    IrNode *n = build_case(ir_program_new(a, "p"), c, &why);
    IrTensor in[MAX_OPERANDS], given[MAX_OPERANDS], out = {0};
    const IrTensor *operand[MAX_OPERANDS] = {NULL};
    int n_given = 0;
    for (int i = 0; n && i < n->n_in; i++) {
        if (c->in[i].given) {
            in[i] = operand_tensor(a, &c->in[i]);
            operand[i] = &in[i];
            given[n_given++] = in[i];
        }
    }
    why = n ? ir_eval_node(n, 1, operand, &out, a) : why;
    if (c->error) {
        return !why ? "it is accepted" : strstr(why, c->error) ? NULL : why;
    }
    why = why ? why : compare_tensor(a, &out, &c->out);
    why = why ? why : ir_eval(n->graph, 1, given, &out, a, NULL, NULL);
    return why ? why : compare_tensor(a, &out, &c->out);
}

static void check_cases(const Case *c, size_t n) {
    IrDiag diag;
    ir_diag_init(&diag, "cases");
    for (size_t i = 0; i < n; i++) {
        IrArena *a = ir_arena_new(&diag);
        const char *why = run_case(a, &c[i]);
        CHECK_STR_EQ(why ? ir_sprintf(a, "%s: %s", c[i].name, why) : NULL, NULL);
        ir_arena_free(a);
    }
}

#endif
