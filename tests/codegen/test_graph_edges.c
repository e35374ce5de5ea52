// Graphs whose inputs and outputs are odd, from file to result, at -O0 and -O2: outputs that are an
// input, a constant or the same value twice, no inputs, inputs that nobody reads, rank 0, empty
// tensors, outputs that are only another shape of one another. Against the evaluator.
#define _GNU_SOURCE
#include "tests/codegen/rig/compiled.h"
#include "tests/frontend/import/import_case.h"

enum { MAX_VALUES = 16, ONNX_BOOL = 9 };

static CgTarget target;

static void put_typed_input(Pb *graph, const char *name, int elem, int rank, const int64_t *dims) {
    Pb info = make_info(name, elem, rank, dims);
    pb_msg(graph, 11, &info);
}

static void put_attr_node(Pb *graph, const char *op, const char *in, const char *out,
                          const char *attr, int64_t value) {
    Pb n = make_node(op, "", in, out);
    attr_int(&n, attr, value);
    pb_msg(graph, 1, &n);
}

static int64_t batch_of(const IrGraph *g) { // 3 where there is one
    int64_t N = 1;
    for (int i = 0; i < g->n_inputs; i++) {
        const IrShape *s = &g->inputs[i]->type.shape;
        N = s->rank > 0 && s->dim[0].n ? 3 : N;
    }
    return N;
}

static void make_inputs(const IrGraph *g, int64_t N, IrTensor *in) {
    for (int i = 0; i < g->n_inputs; i++) {
        in[i] = ir_tensor_new(g->prog->arena, &g->inputs[i]->type, N);
        for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
            ir_tensor_set(&in[i], k, (double)((k * 7 + i * 3) % 11 - 5));
        }
    }
}

static void compare(const IrTensor *want, const IrTensor *got) {
    CHECK_INT_EQ(got->rank, want->rank);
    CHECK_INT_EQ(got->dtype, want->dtype);
    CHECK_INT_EQ(ir_tensor_elems(got), ir_tensor_elems(want));
    for (int64_t k = 0; k < ir_tensor_elems(want); k++) {
        CHECK_NEAR(ir_tensor_get(got, k), ir_tensor_get(want, k), 1e-5);
    }
}

static void check_graph(const Pb *model) {
    for (int opt_level = 0; opt_level <= 2; opt_level += 2) {
        Import im;
        import_graph(&im, model, 17, NULL);
        CHECK_STR_EQ(im.text, "");
        IrGraph *g = im.prog ? im.prog->graphs[0] : NULL;
        if (!CHECK(g && g->n_inputs <= MAX_VALUES && g->n_outputs <= MAX_VALUES)) {
            import_end(&im);
            return;
        }
        IrTensor in[MAX_VALUES], want[MAX_VALUES], got[MAX_VALUES];
        char why[200] = "";
        int64_t N = batch_of(g);
        make_inputs(g, N, in);
        CHECK_STR_EQ(ir_eval(g, N, in, want, im.arena, NULL, NULL), NULL);
        bool ran = CHECK_INT_EQ(compiled_run(g, &target, opt_level, N, in, got, why, sizeof why),
                                COMPILED_RAN);
        CHECK_STR_EQ(why, "");
        for (int i = 0; i < g->n_outputs && ran; i++) {
            compare(&want[i], &got[i]);
        }
        import_end(&im);
    }
}

// ---------------------------------------------------------------- which values are outputs

static void shared_outputs(void) {
    Pb g = {0};
    put_input(&g, "x", 2, (int64_t[]){-1, 5});
    put_node(&g, "Relu", "", "x", "a");
    put_node(&g, "Identity", "", "a", "b");
    put_node(&g, "Identity", "", "x", "c");
    put_node(&g, "Identity", "", "b", "d");
    put_node(&g, "Neg", "", "a", "e");
    const char *names[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++) {
        put_output(&g, names[i]);
    }
    check_graph(&g);
}

static void input_alone(void) {
    Pb g = {0};
    put_input(&g, "x", 4, (int64_t[]){-1, 3, 4, 4});
    put_typed_input(&g, "i", ONNX_INT64, 0, NULL);
    put_node(&g, "Identity", "", "x", "y");
    put_node(&g, "Identity", "", "i", "j");
    put_output(&g, "y");
    put_output(&g, "j");
    check_graph(&g);
}

static void constant_outputs(void) {
    static const float w[] = {1, -2, 3, 4, 5, 6};
    static const int64_t k[] = {7, -8};
    Pb g = {0};
    put_input(&g, "x", 2, (int64_t[]){-1, 3});
    put_raw(&g, "w", ONNX_FLOAT, 2, (int64_t[]){2, 3}, w, sizeof w);
    put_raw(&g, "s", ONNX_FLOAT, 0, NULL, w, sizeof *w);
    put_raw(&g, "e", ONNX_INT64, 1, (int64_t[]){0}, k, 0);
    put_ints(&g, "k", 2, k);
    const char *in[] = {"w", "w", "s", "e", "k"}, *out[] = {"a", "b", "c", "d", "f"};
    for (int i = 0; i < 5; i++) {
        put_node(&g, "Identity", "", in[i], out[i]);
        put_output(&g, out[i]);
    }
    put_node(&g, "Neg", "", "w", "n"); // folded
    put_output(&g, "n");
    put_node(&g, "Shape", "", "w", "shape");
    put_output(&g, "shape");
    put_node(&g, "Abs", "", "x", "y");
    put_output(&g, "y");
    check_graph(&g);
}

static void no_inputs(void) {
    static const float w[] = {1, -2, 3, 4};
    Pb g = {0};
    put_raw(&g, "w", ONNX_FLOAT, 2, (int64_t[]){2, 2}, w, sizeof w);
    put_node(&g, "MatMul", "", "w w", "a");
    put_node(&g, "Softmax", "", "a", "b");
    put_output(&g, "a");
    put_output(&g, "b");
    check_graph(&g);
}

// `unused` is read by nobody, `like` for its shape alone.
static void idle_inputs(void) {
    Pb g = {0};
    put_input(&g, "x", 2, (int64_t[]){-1, 6});
    put_input(&g, "unused", 3, (int64_t[]){2, 3, 4});
    put_input(&g, "like", 2, (int64_t[]){-1, 6});
    put_node(&g, "Shape", "", "like", "s");
    put_node(&g, "Reshape", "", "x s", "y");
    put_output(&g, "y");
    check_graph(&g);
}

// ---------------------------------------------------------------- views of one another

static void reshaped_outputs(void) {
    static const int64_t flat[] = {-1}, cube[] = {-1, 2, 3};
    Pb g = {0};
    put_input(&g, "x", 2, (int64_t[]){-1, 6});
    put_ints(&g, "flat", 1, flat);
    put_ints(&g, "cube", 3, cube);
    put_node(&g, "Relu", "", "x", "r");
    put_node(&g, "Reshape", "", "r flat", "a");
    put_node(&g, "Reshape", "", "r cube", "b");
    put_node(&g, "Reshape", "", "x cube", "c");
    put_node(&g, "Transpose", "", "c", "d");
    put_node(&g, "Transpose", "", "d", "e");
    put_node(&g, "Flatten", "", "c", "f");
    const char *names[] = {"a", "b", "c", "d", "e", "f", "r"};
    for (int i = 0; i < 7; i++) {
        put_output(&g, names[i]);
    }
    check_graph(&g);
}

static void parts_as_outputs(void) {
    static const int64_t sizes[] = {2, 0, 3, 1};
    Pb g = {0};
    put_input(&g, "x", 2, (int64_t[]){-1, 6});
    put_ints(&g, "sizes", 4, sizes);
    put_attr_node(&g, "Split", "x sizes", "a b c d", "axis", 1);
    put_attr_node(&g, "Concat", "c b a", "e", "axis", 1);
    put_attr_node(&g, "Concat", "a", "f", "axis", 1);
    const char *names[] = {"a", "b", "c", "d", "e", "f"};
    for (int i = 0; i < 6; i++) {
        put_output(&g, names[i]);
    }
    check_graph(&g);
}

// A convolution's blocked result, its parts and what reads it, all of them outputs.
static void blocked_outputs(void) {
    static float w[20 * 3 * 9];
    static const int64_t flat[] = {-1, 720};
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) {
        w[i] = (float)((int)(i * 5 % 13) - 6) / 32;
    }
    Pb g = {0};
    put_input(&g, "x", 4, (int64_t[]){-1, 3, 8, 8});
    put_raw(&g, "w", ONNX_FLOAT, 4, (int64_t[]){20, 3, 3, 3}, w, sizeof w);
    put_ints(&g, "flat", 2, flat);
    put_node(&g, "Conv", "", "x w", "a");
    put_node(&g, "Relu", "", "a", "b");
    put_attr_node(&g, "Split", "b", "c d", "axis", 1);
    put_attr_node(&g, "Concat", "d c a", "e", "axis", 1);
    put_node(&g, "GlobalAveragePool", "", "e", "f");
    put_node(&g, "Reshape", "", "b flat", "h");
    put_node(&g, "ReduceMax", "", "b", "i");
    const char *names[] = {"a", "b", "c", "d", "e", "f", "h", "i"};
    for (int i = 0; i < 8; i++) {
        put_output(&g, names[i]);
    }
    check_graph(&g);
}

// ---------------------------------------------------------------- small shapes

static void scalars(void) {
    Pb g = {0};
    put_input(&g, "x", 0, NULL);
    put_typed_input(&g, "b", ONNX_BOOL, 0, NULL);
    put_typed_input(&g, "i", ONNX_INT32, 0, NULL);
    put_node(&g, "Add", "", "x x", "a");
    put_node(&g, "Not", "", "b", "n");
    put_node(&g, "Where", "", "n x a", "w");
    put_node(&g, "Mul", "", "i i", "m");
    put_node(&g, "ReduceSum", "", "x", "s");
    const char *names[] = {"a", "n", "w", "m", "s"};
    for (int i = 0; i < 5; i++) {
        put_output(&g, names[i]);
    }
    check_graph(&g);
}

static void empty_tensors(void) {
    Pb g = {0};
    put_input(&g, "x", 3, (int64_t[]){-1, 0, 4});
    put_input(&g, "y", 2, (int64_t[]){0, 4});
    put_input(&g, "z", 2, (int64_t[]){4, 5});
    put_node(&g, "Relu", "", "x", "a");
    put_attr_node(&g, "ReduceSum", "x", "s", "keepdims", 0);
    put_node(&g, "MatMul", "", "x z", "m");
    put_node(&g, "Transpose", "", "x", "t");
    put_attr_node(&g, "Concat", "x x", "c", "axis", 1);
    put_node(&g, "Softmax", "", "x", "q");
    put_node(&g, "Identity", "", "y", "i");
    const char *names[] = {"a", "s", "m", "t", "c", "q", "i"};
    for (int i = 0; i < 7; i++) {
        put_output(&g, names[i]);
    }
    check_graph(&g);
}

// An output without the batch among those that have it.
static void fixed_outputs(void) {
    Pb g = {0};
    put_input(&g, "x", 2, (int64_t[]){-1, 6});
    put_input(&g, "p", 2, (int64_t[]){3, 6});
    put_node(&g, "Exp", "", "p", "e");
    put_attr_node(&g, "ReduceMax", "x", "m", "keepdims", 0);
    put_node(&g, "Sigmoid", "", "x", "s");
    put_output(&g, "e");
    put_output(&g, "m");
    put_output(&g, "s");
    check_graph(&g);
}

// ---------------------------------------------------------------- doubles

static int count_casts(const Pb *model) {
    Import im;
    int n = 0;
    import_graph(&im, model, 17, NULL);
    for (const IrNode *node = im.prog ? im.prog->graphs[0]->first : NULL; node; node = node->next) {
        n += node->op == IR_OP_CAST;
    }
    import_end(&im);
    return n;
}

// Arithmetic keeps them, and a range that f32 does not have; a network is computed in f32.
static void doubles(void) {
    static const double big[] = {1e200, -1e300};
    Pb g = {0}, net = {0};
    put_typed_input(&g, "x", ONNX_F64, 2, (int64_t[]){-1, 2});
    put_raw(&g, "big", ONNX_F64, 1, (int64_t[]){2}, big, sizeof big);
    put_node(&g, "Mul", "", "x big", "y");
    put_node(&g, "Div", "", "y big", "z");
    put_output(&g, "z");
    CHECK_INT_EQ(count_casts(&g), 0);
    check_graph(&g);
    put_typed_input(&net, "x", ONNX_F64, 2, (int64_t[]){-1, 2});
    put_node(&net, "Softmax", "", "x", "y");
    Pb y = make_info("y", ONNX_F64, 2, (int64_t[]){-1, 2});
    pb_msg(&net, 12, &y);
    CHECK_INT_EQ(count_casts(&net), 2);
    check_graph(&net);
}

int main(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test_graph_edges");
    IrArena *a = ir_arena_new(&diag);
    if (!cg_target_init(&target, a, "native", &diag)) {
        return 1;
    }
    case_start();
    CHECK_RUN(shared_outputs);
    CHECK_RUN(input_alone);
    CHECK_RUN(constant_outputs);
    CHECK_RUN(no_inputs);
    CHECK_RUN(idle_inputs);
    CHECK_RUN(reshaped_outputs);
    CHECK_RUN(parts_as_outputs);
    CHECK_RUN(blocked_outputs);
    CHECK_RUN(scalars);
    CHECK_RUN(empty_tensors);
    CHECK_RUN(fixed_outputs);
    CHECK_RUN(doubles);
    case_end();
    ir_arena_free(a);
    return check_done();
}
