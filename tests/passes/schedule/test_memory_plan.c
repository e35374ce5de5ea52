// Checks layout, concat_inplace, legalize, recompute and memory_plan by executing their answer.
//
// plan_simulator.h runs a planned graph on symbolic contents and notices whoever reads what another
// value has overwritten.
//
//   test_memory_plan                   random graphs, also evaluated before and after
//   test_memory_plan MODEL.onnx...     models through all passes; prints reorders and memory
//   test_memory_plan FILE.ir...        the same on textual IR

#include "frontend/frontend.h"
#include "passes/passes.h"
#include "tests/machine.h"
#include "tests/passes/schedule/plan_simulator.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

PassResult pass_layout(PassContext *, IrGraph *);
PassResult pass_concat_inplace(PassContext *, IrGraph *);
PassResult pass_legalize(PassContext *, IrGraph *);
PassResult pass_recompute(PassContext *, IrGraph *);
PassResult pass_memory_plan(PassContext *, IrGraph *);

enum { GRAPHS = 500 };

// ---------------------------------------------------------------- random graphs

typedef struct Random {
    uint64_t state;
    IrProgram *prog;
    IrGraph *g;
    IrBuilder b;
    int n;
    IrValue *v[256]; // rank 4
} Random;

static int64_t pick(Random *r, int64_t n) {
    r->state += 0x9e3779b97f4a7c15u;
    return (int64_t)(mix(r->state) % (uint64_t)n);
}

static IrValue *pick_value(Random *r) {
    int64_t recent = r->n < 6 ? r->n : 6;
    return pick(r, 4) ? r->v[r->n - 1 - pick(r, recent)] : r->v[pick(r, r->n)];
}

static IrValue *add_const(Random *r, int rank, const int64_t *dims) {
    IrType t = {IR_F32, ir_shape_of(rank, dims), 0};
    char name[32];
    snprintf(name, sizeof name, "k%d", r->prog->n_consts);
    IrConst *c = ir_const_rand(r->prog, ir_strdup(r->prog->arena, name), t, mix(r->state));
    return ir_const_value(r->g, c);
}

static int64_t channels(const IrValue *v) {
    return v->type.shape.dim[1].c;
}

// Another value of the same shape, or of the same height and width.
static IrValue *pick_like(Random *r, const IrValue *v, bool any_channels) {
    for (int tries = 0; tries < 20; tries++) {
        IrValue *u = pick_value(r);
        const IrShape *a = &u->type.shape, *b = &v->type.shape;
        if (ir_dim_eq(a->dim[2], b->dim[2]) && ir_dim_eq(a->dim[3], b->dim[3]) &&
            (any_channels || ir_dim_eq(a->dim[1], b->dim[1]))) {
            return u;
        }
    }
    return (IrValue *)v;
}

static IrValue *make_conv(Random *r) {
    static const int64_t widths[] = {1, 3, 8, 16, 20, 24, 32, 48};
    IrValue *x = pick_value(r);
    IrValue *extra = pick(r, 2) ? pick_value(r) : NULL;
    int64_t out = extra && ir_dim_eq(extra->type.shape.dim[2], x->type.shape.dim[2]) &&
                          ir_dim_eq(extra->type.shape.dim[3], x->type.shape.dim[3])
                      ? channels(extra)
                      : (extra = NULL, widths[pick(r, 8)]);
    int64_t k = pick(r, 2) ? 3 : 1, half = k / 2;
    int64_t pads[] = {half, half, half, half}, dims[] = {out, channels(x), k, k};
    IrValue *in[] = {x, add_const(r, 4, dims), pick(r, 2) ? add_const(r, 1, dims) : NULL, extra};
    IrStep steps[] = {{IR_OP_ADD, {IR_ACC, 3, 0}, {0, 0}},
                      {IR_OP_RELU, {IR_STEP(0), 0, 0}, {0, 0}}};
    IrBody body = {2, steps};
    IrAttr attrs[] = {ir_attr_ints(r->prog->arena, IR_ATTR_PAD, 4, pads),
                      ir_attr_body(r->prog->arena, IR_ATTR_THEN, &body)};
    return ir_build(&r->b, IR_OP_CONV, extra ? 4 : 3, in, extra ? 2 : 1, attrs);
}

static IrValue *make_pool(Random *r) {
    int64_t kernel[] = {3, 3}, stride[] = {1 + pick(r, 4) / 3, 1}, pad[] = {1, 1, 1, 1};
    stride[1] = stride[0];
    IrValue *x = pick_value(r);
    IrAttr attrs[] = {ir_attr_ints(r->prog->arena, IR_ATTR_KERNEL, 2, kernel),
                      ir_attr_ints(r->prog->arena, IR_ATTR_STRIDE, 2, stride),
                      ir_attr_ints(r->prog->arena, IR_ATTR_PAD, 4, pad)};
    return ir_build(&r->b, IR_OP_MAX_POOL, 1, &x, 3, attrs);
}

static IrValue *make_binary(Random *r) {
    IrValue *x = pick_value(r), *y = x;
    int64_t c = channels(x);
    int64_t h = x->type.shape.dim[2].c, w = x->type.shape.dim[3].c;
    switch (pick(r, 7)) {
    case 0:
        y = add_const(r, 3, (int64_t[]){c, 1, 1});
        break;
    case 1:
        y = add_const(r, 4, (int64_t[]){1, 1, h, w});
        break;
    case 2:
        y = add_const(r, 3, (int64_t[]){c, h, w});
        break;
    case 3:
        y = add_const(r, 0, NULL);
        break;
    case 4:
        y = add_const(r, 2, (int64_t[]){h, 1});
        break;
    default:
        y = pick_like(r, x, pick(r, 3) == 0);
        break;
    }
    IrValue *v = ir_build2(&r->b, pick(r, 2) ? IR_OP_ADD : IR_OP_SUB, x, y);
    return v;
}

static IrValue *make_concat(Random *r) {
    IrValue *in[5] = {pick_value(r)};
    int n = 1 + (int)pick(r, 4);
    int64_t sum = channels(in[0]), axis = pick(r, 8) ? 1 : 2;
    for (int i = 1; i < n; i++) {
        in[i] = pick_like(r, in[0], axis == 1);
        sum += channels(in[i]);
    }
    IrAttr attr = ir_attr_i(IR_ATTR_AXIS, axis);
    return sum > 400 ? NULL : ir_build(&r->b, IR_OP_CONCAT, n, in, 1, &attr);
}

// A concat of an earlier concat's operands and one more: the torchvision form of a dense block.
static IrValue *make_growing_concat(Random *r) {
    IrValue *x = pick_value(r);
    if (!x->def || x->def->op != IR_OP_CONCAT || x->def->n_in > 6 || channels(x) > 300 ||
        ir_int(x->def, IR_ATTR_AXIS, 0) != 1) {
        return NULL;
    }
    IrValue *in[8];
    for (int i = 0; i < x->def->n_in; i++) {
        in[i] = ir_in(x->def, i);
    }
    in[x->def->n_in] = pick_like(r, x, true);
    IrAttr attr = ir_attr_i(IR_ATTR_AXIS, 1);
    return ir_build(&r->b, IR_OP_CONCAT, x->def->n_in + 1, in, 1, &attr);
}

static IrValue *make_slice(Random *r) {
    IrValue *x = pick_value(r);
    IrShape s = x->type.shape;
    int64_t start[4] = {0}, step[4] = {1, 1, 1, 1};
    int64_t c = channels(x);
    start[1] = c > 16 && pick(r, 2) ? 16 : pick(r, c);
    s.dim[1].c = 1 + pick(r, c - start[1]);
    if (pick(r, 4) == 0 && s.dim[2].c > 2) {
        step[2] = 2;
        s.dim[2].c = (s.dim[2].c + 1) / 2;
    }
    IrAttr attrs[] = {ir_attr_ints(r->prog->arena, IR_ATTR_START, 4, start),
                      ir_attr_ints(r->prog->arena, IR_ATTR_STEP, 4, step),
                      ir_attr_dims(IR_ATTR_SHAPE, &s)};
    return ir_build(&r->b, IR_OP_SLICE, 1, &x, 3, attrs);
}

static IrValue *make_reduce(Random *r) {
    IrValue *x = pick_value(r);
    int64_t axes[] = {2, 3}, keep = pick(r, 2);
    IrAttr attrs[] = {ir_attr_ints(r->prog->arena, IR_ATTR_AXES, 2, axes),
                      ir_attr_i(IR_ATTR_KEEPDIMS, keep)};
    IrValue *y = ir_build(&r->b, IR_OP_REDUCE_MEAN, 1, &x, 2, attrs);
    if (!keep) { // squeeze and excite by matrix product
        int64_t c = channels(x);
        IrValue *w = add_const(r, 2, (int64_t[]){c, c});
        y = ir_build2(&r->b, IR_OP_MATMUL, y, w);
        IrShape s = {4, {x->type.shape.dim[0], ir_dim(c), ir_dim(1), ir_dim(1)}};
        y = ir_build_reshape(&r->b, y, &s);
    }
    return pick(r, 2) ? ir_build2(&r->b, IR_OP_MUL, x, y) : y;
}

static IrValue *make_shuffle(Random *r) {
    IrValue *x = pick_value(r);
    if (channels(x) % 2) {
        return NULL;
    }
    const IrDim *d = x->type.shape.dim;
    IrShape s = {5, {d[0], ir_dim(2), ir_dim(d[1].c / 2), d[2], d[3]}};
    IrValue *y = ir_build_reshape(&r->b, x, &s);
    y = ir_build_transpose(&r->b, y, 5, (int64_t[]){0, 2, 1, 3, 4});
    return ir_build_reshape(&r->b, y, &x->type.shape);
}

static IrValue *make_unary(Random *r) {
    return ir_build1(&r->b, pick(r, 2) ? IR_OP_RELU : IR_OP_NEG, pick_value(r));
}

static IrGraph *make_graph(IrArena *a, uint64_t seed) {
    static IrValue *(*const makers[])(Random *) = {
        make_conv,   make_conv,   make_conv,           make_pool,   make_binary,
        make_binary, make_unary,  make_unary,          make_slice,  make_concat,
        make_concat, make_reduce, make_growing_concat, make_shuffle};
    Random r = {.state = mix(seed + 1), .prog = ir_program_new(a, "random")};
    r.g = ir_graph_new(r.prog, "infer");
    r.b = (IrBuilder){.graph = r.g, .name = "n"};
    IrDim n = pick(&r, 3) ? (IrDim){0, 1} : ir_dim(1 + pick(&r, 2));
    static const int64_t starts[] = {3, 16, 20};
    int inputs = 1 + (int)pick(&r, 2);
    for (int i = 0; i < inputs; i++) {
        IrType t = {IR_F32, {4, {n, ir_dim(starts[pick(&r, 3)]), ir_dim(6), ir_dim(6)}}, 0};
        r.v[r.n++] = ir_input(r.g, i ? "x1" : "x0", t);
    }
    int nodes = 4 + (int)pick(&r, 40);
    for (int i = 0; i < nodes; i++) {
        IrValue *v = makers[pick(&r, sizeof makers / sizeof *makers)](&r);
        if (v && v->type.shape.rank == 4) {
            r.v[r.n++] = v;
        }
    }
    for (int i = 0, outs = 1 + (int)pick(&r, 3); i < outs; i++) {
        IrValue *v = i ? pick_value(&r) : r.v[r.n - 1];
        if (v->is_output || (v->input >= 0 && i != 1)) {
            continue;
        }
        if (!v->name && pick(&r, 3) == 0) {
            IrDim count = {0, 0};
            IrShape flat = {2, {v->type.shape.dim[0], ir_dim(1)}};
            for (int d = 1; d < 4; d++) {
                ir_dim_mul(flat.dim[1], v->type.shape.dim[d], &count);
                flat.dim[1] = count;
            }
            v = ir_build_reshape(&r.b, v, &flat);
        }
        if (!v->name) {
            char name[16];
            snprintf(name, sizeof name, "y%d", i);
            v->name = ir_strdup(a, name);
        }
        ir_output(r.g, v);
    }
    return r.g;
}

static void run_passes(IrArena *a, IrGraph *g, const PassOptions *opt) {
    static const PassFn passes[] = {pass_layout, pass_concat_inplace, pass_legalize,
                                    pass_recompute, pass_memory_plan};
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        if (passes[i] == pass_concat_inplace && opt->opt_level == 0) {
            continue;
        }
        PassContext ctx = {.scratch = a, .prog = g->prog, .opt = opt};
        passes[i](&ctx, g);
        const char *wrong = ir_verify(g);
        if (wrong) {
            fprintf(stderr, "pass %zu: %s\n", i, wrong);
            ir_print_graph(stderr, g);
            exit(1);
        }
    }
}

static void evaluate(IrArena *a, IrGraph *g, int64_t N, IrTensor *out) {
    IrTensor in[2];
    for (int i = 0; i < g->n_inputs; i++) {
        in[i] = ir_tensor_new(a, &g->inputs[i]->type, N);
        for (int64_t e = 0, n = ir_tensor_elems(&in[i]); e < n; e++) {
            ir_tensor_set(&in[i], e, (double)(mix((uint64_t)e + 7) % 2001) / 1000 - 1);
        }
    }
    const char *wrong = ir_eval(g, N, in, out, a, NULL, NULL);
    if (wrong) {
        fprintf(stderr, "evaluator: %s\n", wrong);
        exit(1);
    }
}

static int compare_results(IrArena *a, IrGraph *before, IrGraph *after, uint64_t seed) {
    enum { MAX = 8 };
    IrTensor x[MAX], y[MAX];
    int64_t N = 2;
    evaluate(a, before, N, x);
    evaluate(a, after, N, y);
    for (int i = 0; i < before->n_outputs; i++) {
        size_t bytes = (size_t)ir_tensor_elems(&x[i]) * sizeof(float);
        if (ir_tensor_elems(&x[i]) != ir_tensor_elems(&y[i]) ||
            memcmp(x[i].data, y[i].data, bytes) != 0) {
            fprintf(stderr, "random graph %llu: output %d changed its value\n",
                    (unsigned long long)seed, i);
            return 1;
        }
    }
    return 0;
}

// What it says of the arena is so, and the arena is below the limit or as small as it could be
// made.
static int check_recompute(const PassRecompute *r, const IrGraph *g, bool keep_values,
                           uint64_t seed, int *smaller) {
    int64_t bytes = ir_dim_at(g->arena_bytes, r->batch);
    bool wrong = !keep_values && bytes != r->after;
    wrong |= r->results < 0 || r->again < 0 || (r->results == 0 && r->again > 0);
    wrong |= r->before <= r->bytes && r->results > 0;
    if (wrong)
        fprintf(stderr, "random graph %llu: recompute says %lld, not %lld; %d results\n",
                (unsigned long long)seed, (long long)r->after, (long long)bytes, r->results);
    *smaller += r->results > 0 && r->after < r->before;
    return wrong;
}

static int test_random(uint64_t seed, int *smaller) {
    IrDiag diag;
    ir_diag_init(&diag, "random");
    IrArena *a = ir_arena_new(&diag);
    PassRecompute again = {.bytes = seed % 4 == 1 ? 1 : 16384, .batch = 2};
    PassOptions opt = {.opt_level = seed % 5 ? 2 : 0,
                       .block = 4 << seed % 3,
                       .machine = machine_of(a, "x86-64-v3"),
                       .keep_values = seed % 7 == 0,
                       .recompute = seed % 2 ? &again : NULL,
                       .out = stderr};
    IrGraph *before = make_graph(a, seed), *g = make_graph(a, seed);
    if (opt.recompute)
        ir_remove_dead_nodes(g); // which it counts
    run_passes(a, g, &opt);
    char what[64];
    snprintf(what, sizeof what, "random graph %llu", (unsigned long long)seed);
    int errors = 0;
    for (int64_t N = 1; N <= 3; N++) {
        errors += simulate(g, N, what);
    }
    if (g->arena_bytes.n > g->arena_bytes_no_reuse.n ||
        g->arena_bytes.c > g->arena_bytes_no_reuse.c) {
        fprintf(stderr, "%s: reuse made the arena larger\n", what);
        errors++;
    }
    errors += compare_results(a, before, g, seed);
    if (opt.recompute)
        errors += check_recompute(&again, g, opt.keep_values, seed, smaller);
    if (errors) {
        ir_print_graph(stderr, g);
    }
    ir_arena_free(a);
    return errors;
}

// ---------------------------------------------------------------- models

static IrProgram *read_program(IrArena *a, const char *path) {
    size_t len = strlen(path);
    if (len > 5 && strcmp(path + len - 5, ".onnx") == 0) {
        return fe_import(a, path, NULL);
    }
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return NULL;
    }
    size_t cap = 1 << 24;
    char *text = ir_alloc(a, cap);
    size_t n = fread(text, 1, cap - 1, f);
    fclose(f);
    return ir_parse(a, path, text, n);
}

static void print_counts(const IrGraph *g, const char *path) {
    int moved = 0, views = 0, copies = 0, in_place = 0, slices = 0;
    for (const IrNode *n = g->first; n; n = n->next) {
        bool view = n->out[0]->view_of && n->out[0]->view_of == ir_in(n, 0);
        views += n->op == IR_OP_REORDER && view;
        moved += n->op == IR_OP_REORDER && !view;
        in_place += n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_IN_PLACE, 0);
        copies += n->op == IR_OP_CONCAT && !ir_int(n, IR_ATTR_IN_PLACE, 0);
        slices += n->op == IR_OP_SLICE && !view;
    }
    printf("%s: %d nodes, reorders: %d moving, %d views; concats: %d in place, %d copying; "
           "%d copying slices\n",
           path, g->n_nodes, moved, views, in_place, copies, slices);
}

static int test_model(const char *path, int level, bool print) {
    IrDiag diag;
    ir_diag_init(&diag, path);
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = read_program(a, path);
    int errors = !p;
    for (int i = 0; p && i < p->n_graphs; i++) {
        PassOptions opt = {.opt_level = level,
                           .block = 16,
                           .machine = machine_of(a, "x86-64-v4"),
                           .verify = true,
                           .out = stderr};
        IrGraph *g = p->graphs[i];
        passes_run(p, g, &opt, PASS_INFER);
        if (print) {
            print_counts(g, path);
            passes_print_memory(stdout, g, 1);
        }
        errors += simulate(g, 1, path) + simulate(g, 2, path);
    }
    ir_arena_free(a);
    return errors;
}

int main(int argc, char **argv) {
    int errors = 0, smaller = 0; // arenas that recompute made smaller
    omp_set_num_threads(1); // the evaluator's: these tensors are tiny
    for (int i = 1; i < argc; i++) {
        errors += test_model(argv[i], 0, false) + test_model(argv[i], 2, true);
    }
    for (uint64_t seed = 0; argc == 1 && seed < GRAPHS; seed++) {
        errors += test_random(seed, &smaller);
    }
    if (argc == 1 && smaller < GRAPHS / 20) {
        fprintf(stderr, "recompute made only %d arenas smaller\n", smaller);
        errors++;
    }
    printf("%s\n", errors ? "FAILED" : "passed");
    return errors != 0;
}
