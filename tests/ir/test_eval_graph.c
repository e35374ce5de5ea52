// Whole graphs through the reference evaluator: batch sizes, what on_value sees, refusals, memory,
// independence of the number of threads; and convolutions of many shapes against seven plain loops.
#include "tests/check.h"
#include "ir/ir.h"
#include <malloc.h>
#include <omp.h>
#include <stdlib.h>

static IrGraph *parse_graph(IrArena *a, const char *text) {
    IrProgram *p = ir_parse(a, "test", text, strlen(text));
    return p ? p->graphs[0] : NULL;
}

static IrTensor new_input(IrArena *a, const IrValue *v, int64_t N) {
    IrTensor t = ir_tensor_new(a, &v->type, N);
    for (int64_t i = 0; i < ir_tensor_elems(&t); i++) {
        ir_tensor_set(&t, i, (double)((i * 37) % 17 - 8) / 4);
    }
    return t;
}

// ---------------------------------------------------------------- a graph

static const char small[] = "program \"small\"\n"
                            "const %two: f32[] = splat(2)\n"
                            "graph infer(%x: f32[N,2]) -> (%y, %z, %two, %y as \"again\") {\n"
                            "  %d = mul %x, %two\n"
                            "  %unused = neg %x\n"
                            "  %y = add %d, %x\n"
                            "  %z = reduce_sum %y {axes=[1], keepdims=0}\n"
                            "}\n";

typedef struct Seen {
    int n;
    const char *name[8];
    double first[8];
} Seen;

static void see_value(void *ctx, const IrValue *v, const IrTensor *t) {
    Seen *s = ctx;
    if (s->n < 8) {
        s->name[s->n] = v->name;
        s->first[s->n] = ir_tensor_elems(t) ? ir_tensor_get(t, 0) : 0;
    }
    s->n++;
}

static void runs_at_any_batch_size(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    IrGraph *g = parse_graph(a, small);
    for (int64_t N = 0; CHECK(g != NULL) && N < 4; N++) {
        IrTensor x = new_input(a, g->inputs[0], N), out[4];
        Seen seen = {0};
        CHECK_STR_EQ(ir_eval(g, N, &x, out, a, see_value, &seen), NULL);
        CHECK_INT_EQ(out[0].dim[0], N);
        CHECK_INT_EQ(out[1].rank, 1);
        CHECK_INT_EQ(out[2].rank, 0);
        CHECK_NEAR(ir_tensor_get(&out[2], 0), 2, 0);
        for (int64_t i = 0; i < N; i++) {
            double l = ir_tensor_get(&x, 2 * i), r = ir_tensor_get(&x, 2 * i + 1);
            CHECK_NEAR(ir_tensor_get(&out[0], 2 * i), 3 * l, 0);
            CHECK_NEAR(ir_tensor_get(&out[3], 2 * i + 1), 3 * r, 0);
            CHECK_NEAR(ir_tensor_get(&out[1], i), 3 * (l + r), 0);
        }
        static const char *const names[] = {"d", "unused", "y", "z"};
        CHECK_INT_EQ(seen.n, g->n_nodes); // the last ones copy the constant and the second %y
        for (int i = 0; i < 4; i++) {
            CHECK_STR_EQ(seen.name[i], names[i]);
        }
        CHECK_NEAR(seen.first[1], N ? -ir_tensor_get(&x, 0) : 0, 0);
    }
    ir_arena_free(a);
}

static void refuses_wrong_inputs(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    IrGraph *g = parse_graph(a, small);
    IrTensor out[4];
    float data[6] = {0};
    IrTensor x = {.dtype = IR_F32, .rank = 2, .dim = {3, 2}, .data = data};
    CHECK_STR_EQ(ir_eval(g, 2, &x, out, a, NULL, NULL), "input 0 is no f32[N,2] at batch size 2");
    x.dtype = IR_I32;
    CHECK_STR_EQ(ir_eval(g, 3, &x, out, a, NULL, NULL), "input 0 is no f32[N,2] at batch size 3");
    x.dtype = IR_F32;
    CHECK_STR_EQ(ir_eval(g, -1, &x, out, a, NULL, NULL), "input 0 is no f32[N,2] at batch size -1");
    ir_arena_free(a);
}

static void names_the_node_that_fails(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    IrGraph *g = parse_graph(a, "program \"p\"\n"
                                "graph infer(%x: f32[N]) -> (%y) {\n"
                                "  %a = neg %x\n"
                                "  %y = arg_max %a {axis=0} @\"pick\"\n"
                                "}\n");
    float x[2] = {2, 1};
    IrTensor in = {IR_F32, 1, {0}, x}, out;
    CHECK_STR_EQ(ir_eval(g, 0, &in, &out, a, NULL, NULL),
                 "node 'pick' (arg_max): the axis is empty");
    in.dim[0] = 2;
    CHECK_STR_EQ(ir_eval(g, 2, &in, &out, a, NULL, NULL), NULL);
    CHECK_NEAR(ir_tensor_get(&out, 0), 1, 0);
    ir_arena_free(a);
}

// ---------------------------------------------------------------- memory

static void see_memory(void *ctx, const IrValue *v, const IrTensor *t) {
    (void)v, (void)t;
    struct mallinfo2 m = mallinfo2();
    size_t *most = ctx, now = m.uordblks + m.hblkhd;
    *most = now > *most ? now : *most;
}

// Fifty results of 4 MB one after the other: never more than a few of them at a time.
static void frees_after_the_last_use(void) {
    enum { NODES = 50, BYTES = 4 << 20 };
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_program_new(a, "chain");
    IrBuilder b = {.graph = ir_graph_new(p, "infer"), .name = "step"};
    IrType type = {.dtype = IR_F32, .shape = ir_shape_of(1, (int64_t[]){BYTES / 4})};
    IrValue *v = ir_input(b.graph, "x", type);
    for (int i = 0; i < NODES; i++) {
        v = ir_build1(&b, IR_OP_NEG, v);
    }
    ir_output(b.graph, v);
    IrTensor x = new_input(a, b.graph->inputs[0], 1), out;
    size_t most = 0, before = 0;
    see_memory(&before, NULL, NULL);
    CHECK_STR_EQ(ir_eval(b.graph, 1, &x, &out, a, see_memory, &most), NULL);
    CHECK(most < before + 5 * (size_t)BYTES);
    CHECK_NEAR(ir_tensor_get(&out, 7), ir_tensor_get(&x, 7), 0);
    ir_arena_free(a);
}

// ---------------------------------------------------------------- convolution

typedef struct Shape {
    int64_t n, c, h, w, o, kh, kw, sh, sw, pt, pl, pb, pr, dh, dw, group;
} Shape;

static double plain_conv(const Shape *s, const IrTensor *x, const IrTensor *w, const IrTensor *bias,
                         int64_t n, int64_t o, int64_t oh, int64_t ow) {
    int64_t per_group = s->c / s->group, first = o / (s->o / s->group) * per_group;
    double sum = ir_tensor_get(bias, o);
    for (int64_t c = 0; c < per_group; c++) {
        for (int64_t i = 0; i < s->kh; i++) {
            for (int64_t j = 0; j < s->kw; j++) {
                int64_t ih = oh * s->sh - s->pt + i * s->dh, iw = ow * s->sw - s->pl + j * s->dw;
                if (ih >= 0 && ih < s->h && iw >= 0 && iw < s->w) {
                    sum += ir_tensor_get(x, ((n * s->c + first + c) * s->h + ih) * s->w + iw) *
                           ir_tensor_get(w, ((o * per_group + c) * s->kh + i) * s->kw + j);
                }
            }
        }
    }
    return sum;
}

static unsigned next_random(unsigned *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static Shape random_shape(unsigned *state) {
    Shape s;
    s.group = (int64_t[]){1, 1, 2, 3}[next_random(state) % 4];
    s.n = next_random(state) % 3;
    s.c = s.group * (1 + next_random(state) % 20);
    s.o = s.group * (1 + next_random(state) % 40);
    s.kh = 1 + next_random(state) % 4;
    s.kw = 1 + next_random(state) % 4;
    s.sh = 1 + next_random(state) % 3;
    s.sw = 1 + next_random(state) % 3;
    s.dh = 1 + next_random(state) % 2;
    s.dw = 1 + next_random(state) % 2;
    s.pt = next_random(state) % 3;
    s.pl = next_random(state) % 3;
    s.pb = next_random(state) % 3;
    s.pr = next_random(state) % 3;
    s.h = (s.kh - 1) * s.dh + 1 + next_random(state) % 7;
    s.w = (s.kw - 1) * s.dw + 1 + next_random(state) % 7;
    return s;
}

// The convolution's node in a graph of x, w and bias, of element type t.
static IrGraph *build_conv(IrArena *a, const Shape *s, IrDtype t) {
    IrBuilder b = {.graph = ir_graph_new(ir_program_new(a, "p"), "g"), .name = "conv"};
    IrType x = {.dtype = t, .shape = ir_shape_of(4, (int64_t[]){s->n, s->c, s->h, s->w})};
    IrType w = {.dtype = t};
    w.shape = ir_shape_of(4, (int64_t[]){s->o, s->c / s->group, s->kh, s->kw});
    IrType bias = {.dtype = t, .shape = ir_shape_of(1, &s->o)};
    IrValue *in[] = {ir_input(b.graph, "x", x), ir_input(b.graph, "w", w),
                     ir_input(b.graph, "b", bias)};
    IrAttr attrs[] = {
        ir_attr_ints(a, IR_ATTR_STRIDE, 2, (int64_t[]){s->sh, s->sw}),
        ir_attr_ints(a, IR_ATTR_PAD, 4, (int64_t[]){s->pt, s->pl, s->pb, s->pr}),
        ir_attr_ints(a, IR_ATTR_DILATION, 2, (int64_t[]){s->dh, s->dw}),
        ir_attr_i(IR_ATTR_GROUP, s->group),
    };
    IrValue *y = ir_build(&b, IR_OP_CONV, 3, in, 4, attrs);
    if (!CHECK_STR_EQ(b.err, NULL)) {
        return NULL;
    }
    ir_output(b.graph, y);
    return b.graph;
}

// Operands are multiples of 1/4, so all sums are exact, in whatever order.
static void convolves_like_plain_loops(void) {
    unsigned state = 1;
    for (int k = 0; k < 120; k++) {
        IrDiag diag;
        ir_diag_init(&diag, "test");
        IrArena *a = ir_arena_new(&diag);
        Shape s = random_shape(&state);
        IrGraph *g = build_conv(a, &s, k % 4 == 3 ? IR_F64 : IR_F32);
        IrTensor in[3], y;
        for (int i = 0; g && i < 3; i++) {
            in[i] = new_input(a, g->inputs[i], 1);
        }
        int wrong = 0;
        if (g && CHECK_STR_EQ(ir_eval(g, 1, in, &y, a, NULL, NULL), NULL)) {
            for (int64_t i = 0; i < ir_tensor_elems(&y); i++) {
                int64_t ow = i % y.dim[3], oh = i / y.dim[3] % y.dim[2];
                int64_t o = i / (y.dim[3] * y.dim[2]) % s.o, n = i / (y.dim[3] * y.dim[2] * s.o);
                double want = plain_conv(&s, &in[0], &in[1], &in[2], n, o, oh, ow);
                wrong += ir_tensor_get(&y, i) != want;
            }
        }
        CHECK_INT_EQ(wrong, 0);
        ir_arena_free(a);
    }
}

static void does_not_depend_on_threads(void) {
    Shape s = {1, 40, 19, 23, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    IrDiag diag;
    ir_diag_init(&diag, "test");
    IrArena *a = ir_arena_new(&diag);
    IrGraph *g = build_conv(a, &s, IR_F32);
    IrTensor in[3], one, many;
    int threads = omp_get_max_threads();
    for (int i = 0; i < 3; i++) {
        in[i] = new_input(a, g->inputs[i], 1);
        for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
            ir_tensor_set(&in[i], k, sin((double)(k + i))); // sums that do round
        }
    }
    omp_set_num_threads(1);
    CHECK_STR_EQ(ir_eval(g, 1, in, &one, a, NULL, NULL), NULL);
    for (int n = 2; n < 5; n++) {
        omp_set_num_threads(n);
        CHECK_STR_EQ(ir_eval(g, 1, in, &many, a, NULL, NULL), NULL);
        CHECK(memcmp(one.data, many.data, (size_t)ir_tensor_elems(&one) * sizeof(float)) == 0);
    }
    omp_set_num_threads(threads);
    ir_arena_free(a);
}

int main(void) {
    CHECK_RUN(runs_at_any_batch_size);
    CHECK_RUN(refuses_wrong_inputs);
    CHECK_RUN(names_the_node_that_fails);
    CHECK_RUN(frees_after_the_last_use);
    CHECK_RUN(convolves_like_plain_loops);
    CHECK_RUN(does_not_depend_on_threads);
    return check_done();
}
