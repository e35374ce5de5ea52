// What the frontend makes of well-formed models: names, inputs and pins, constants in every
// storage form, shape computations, batch rewriting, training form, reports.
#define _GNU_SOURCE
#include "tests/frontend/import/import_case.h"

static const int64_t image[] = {-1, 3, 4, 4};

// The type of output 0 as text; "" when the import was refused, which is printed.
static const char *output_type(Import *im) {
    static char buf[200];
    if (!im->prog) {
        fprintf(stderr, "refused: %s", im->text);
        return "";
    }
    return ir_type_print(&im->prog->graphs[0]->outputs[0]->type, buf, sizeof buf);
}

static bool has_op(Import *im, IrOp op) {
    for (IrNode *n = im->prog ? im->prog->graphs[0]->first : NULL; n; n = n->next) {
        if (n->op == op) {
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------- graph and inputs

static void sorts_nodes_and_keeps_names(void) {
    Pb g = {0};
    put_node(&g, "Sigmoid", "", "mid", "out");
    put_node(&g, "Relu", "first", "in", "mid");
    put_input(&g, "in", 4, image);
    put_output(&g, "out");
    Import im;
    import_graph(&im, &g, 13, NULL);
    if (CHECK(im.prog != NULL)) {
        IrGraph *ir = im.prog->graphs[0];
        CHECK_STR_EQ(ir->name, "infer");
        CHECK_STR_EQ(ir->inputs[0]->name, "in");
        CHECK_STR_EQ(ir->first->name, "first");
        CHECK_STR_EQ(ir->first->out[0]->name, "mid");
        CHECK_STR_EQ(ir->last->name, "out"); // an unnamed node has its first output's name
        CHECK_STR_EQ(ir->outputs[0]->name, "out");
        CHECK_STR_EQ(output_type(&im), "f32[N,3,4,4]");
    }
    import_end(&im);
}

// Outputs that are an input, a constant, or the same value twice, keep their names through copies.
static void copies_outputs_that_share(void) {
    Pb g = {0};
    put_node(&g, "Relu", "r", "x", "a");
    put_node(&g, "Identity", "i", "a", "b");
    put_node(&g, "Identity", "j", "x", "c");
    put_input(&g, "x", 2, (int64_t[]){2, 3});
    put_output(&g, "a");
    put_output(&g, "b");
    put_output(&g, "c");
    Import im;
    import_graph(&im, &g, 13, NULL);
    if (CHECK(im.prog != NULL)) {
        IrGraph *ir = im.prog->graphs[0];
        CHECK_STR_EQ(ir->outputs[0]->name, "a");
        CHECK_STR_EQ(ir->outputs[1]->name, "b");
        CHECK_STR_EQ(ir->outputs[2]->name, "c");
        CHECK_INT_EQ(ir->n_nodes, 3);
    }
    import_end(&im);
}

// One shape
static const char *parse_pin(IrArena *a, const char *text, FePin *pin) {
    FePin *pins;
    int n;
    const char *why = fe_parse_pins(a, text, 1, &n, &pins);
    *pin = pins[0];
    return why;
}

static void pins_dimensions(void) {
    Pb g = {0};
    put_node(&g, "Relu", "r", "x", "y");
    put_input(&g, "x", 4, (int64_t[]){-1, 3, -1, -1});
    put_output(&g, "y");
    Import im;
    FePin pin;
    FeOptions opt = {.n_pins = 1, .pins = &pin};
    IrDiag d;
    ir_diag_init(&d, "");
    IrArena *a = ir_arena_new(&d);
    CHECK_STR_EQ(parse_pin(a, "x=Nx3x10x20", &pin), NULL);
    import_graph(&im, &g, 13, &opt);
    CHECK_STR_EQ(output_type(&im), "f32[N,3,10,20]");
    import_end(&im);
    CHECK_STR_EQ(parse_pin(a, "5x3x10x20", &pin), NULL);
    import_graph(&im, &g, 13, &opt);
    CHECK_STR_EQ(output_type(&im), "f32[5,3,10,20]");
    import_end(&im);
    CHECK_STR_EQ(parse_pin(a, "x=3xNx2", &pin),
                 "'x=3xNx2': only the first dimension can be symbolic");
    CHECK_STR_EQ(parse_pin(a, "x=3x0", &pin), "'x=3x0' is not of the form NAME=Nx3x224x224");
    static const char *const malformed[] = {
        "x=",     "x",      "N",     "",        "=",     "=Nx3",  "x=3x",    "x=x3",
        "x=3xx4", "x=-1x3", "x=3,4", "x=[1,3]", "x:1x3", "x=1X3", "x=1.5x3", "x=99999999999x3",
        "x= 1x3", "x=NNx3", "x=0x0x"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        const char *why = parse_pin(a, malformed[i], &pin);
        CHECK(why && strstr(why, "is not of the form NAME=Nx3x224x224"));
    }
    FePin *pins;
    int n;
    CHECK_STR_EQ(fe_parse_pins(a, "x=Nx3x8:24:8x5:6:1", 6, &n, &pins), NULL);
    CHECK(n == 6 && pins[0].dim[0] == FE_SYMBOLIC);
    CHECK_STR_EQ(fe_pin_text(a, &pins[0]), "x=Nx3x8x5");
    CHECK_STR_EQ(fe_pin_text(a, &pins[3]), "x=Nx3x16x6");
    CHECK_STR_EQ(fe_pin_text(a, &pins[5]), "x=Nx3x24x6");
    CHECK_STR_EQ(fe_parse_pins(a, "2:4:2x7", 6, &n, &pins), NULL);
    CHECK_STR_EQ(fe_pin_text(a, &pins[1]), "4x7");
    CHECK_STR_EQ(fe_parse_pins(a, "x=Nx3x8:24:8x5:6:1", 5, &n, &pins),
                 "'x=Nx3x8:24:8x5:6:1' is more than 5 shapes");
    CHECK_STR_EQ(fe_parse_pins(a, "1:2147483647:1x1:2147483647:1", 64, &n, &pins),
                 "'1:2147483647:1x1:2147483647:1' is more than 64 shapes");
    CHECK_STR_EQ(fe_parse_pins(a, "x=3:8:2", 64, &n, &pins),
                 "'x=3:8:2': 8 is not reached from 3 by steps of 2");
    static const char *const no_ranges[] = {"x=1:2", "x=1::2", "x=1:2:0", "x=:2:1", "x=1:2:1:1",
                                            "x=N:2:1", "x=1:N:1", "x=1:2:", "x=1:-2:1"};
    for (size_t i = 0; i < sizeof no_ranges / sizeof *no_ranges; i++) {
        const char *why = fe_parse_pins(a, no_ranges[i], 64, &n, &pins);
        CHECK(n == 0 && why && strstr(why, "is not of the form NAME=Nx3x224x224"));
    }
    ir_arena_free(a);
}

// A model exported for batch 1 with 1 in its Reshape targets, compiled for N.
static void rewrites_a_fixed_batch(void) {
    static const int64_t flat[] = {1, -1}, back[] = {1, 4, 4, 3}, batch1[] = {1, 3, 4, 4};
    Pb g = {0};
    put_node(&g, "Reshape", "f", "x flat", "a");
    put_node(&g, "Reshape", "b", "a back", "y");
    put_ints(&g, "flat", 2, flat);
    put_ints(&g, "back", 4, back);
    put_input(&g, "x", 4, batch1);
    put_output(&g, "y");
    Import im;
    FePin pin = {"x", 4, {FE_SYMBOLIC, 3, 4, 4}};
    FeOptions opt = {.n_pins = 1, .pins = &pin};
    import_graph(&im, &g, 13, NULL);
    CHECK_STR_EQ(output_type(&im), "f32[1,4,4,3]");
    CHECK_STR_EQ(im.text, "");
    import_end(&im);
    import_graph(&im, &g, 13, &opt);
    CHECK_STR_EQ(output_type(&im), "f32[N,4,4,3]");
    CHECK_STR_EQ(im.text, "");
    import_end(&im);
}

// ---------------------------------------------------------------- shape computations

// Shape -> Gather -> Unsqueeze -> Concat -> Reshape, as older PyTorch flattens.
static void evaluates_shapes_with_n(void) {
    Pb g = {0}, unsqueeze = make_node("Unsqueeze", "u", "n", "n1"),
       concat = make_node("Concat", "c", "n1 minus", "target");
    attr_ints(&unsqueeze, "axes", 1, (int64_t[]){0});
    attr_int(&concat, "axis", 0);
    put_node(&g, "Shape", "s", "x", "shape");
    put_node(&g, "Gather", "g", "shape zero", "n");
    pb_msg(&g, 1, &unsqueeze);
    pb_msg(&g, 1, &concat);
    put_node(&g, "Reshape", "r", "x target", "y");
    put_raw(&g, "zero", ONNX_INT64, 0, NULL, &(int64_t){0}, 8);
    put_ints(&g, "minus", 1, (int64_t[]){-1});
    put_input(&g, "x", 4, image);
    put_output(&g, "y");
    Import im;
    import_graph(&im, &g, 11, NULL);
    CHECK_STR_EQ(output_type(&im), "f32[N,48]");
    CHECK(im.prog && im.prog->graphs[0]->n_nodes == 1 && im.prog->n_consts == 0);
    import_end(&im);
}

// 48 N / 16 is affine.
// A comparison that holds for every N decides an If.
static void splits_and_compares_shapes(void) {
    Pb g = {0}, yes = {0}, no = {0}, branch = make_node("If", "if", "some", "y");
    put_node(&g, "Shape", "s", "x", "shape");
    put_node(&g, "Split", "p", "shape sizes", "n chw");
    put_node(&g, "Greater", "gt", "n none", "some");
    Pb cat = make_node("Concat", "c", "n minus", "target");
    attr_int(&cat, "axis", 0);
    pb_msg(&g, 1, &cat);
    put_node(&yes, "Reshape", "r", "x target", "z");
    put_output(&yes, "z");
    put_node(&no, "Relu", "r", "x", "z");
    put_output(&no, "z");
    for (int k = 0; k < 2; k++) {
        Pb a = {0};
        pb_str(&a, 1, k ? "else_branch" : "then_branch");
        pb_msg(&a, 6, k ? &no : &yes);
        pb_int(&a, 20, 5);
        pb_msg(&branch, 5, &a);
    }
    pb_msg(&g, 1, &branch);
    put_ints(&g, "sizes", 2, (int64_t[]){1, 3});
    put_ints(&g, "none", 1, (int64_t[]){0});
    put_ints(&g, "minus", 1, (int64_t[]){-1});
    put_input(&g, "x", 4, image);
    put_output(&g, "y");
    Import im;
    import_graph(&im, &g, 13, NULL);
    CHECK_STR_EQ(output_type(&im), "f32[N,48]");
    import_end(&im);
}

static void divides_shapes_exactly(void) {
    Pb g = {0};
    put_node(&g, "Size", "s", "x", "size"); // 48 N
    put_node(&g, "Div", "d", "size k", "rows");
    put_node(&g, "Reshape", "r", "rows one", "rows1");
    Pb concat = make_node("Concat", "c", "rows1 k", "target");
    attr_int(&concat, "axis", 0);
    pb_msg(&g, 1, &concat);
    put_node(&g, "Reshape", "q", "x target", "y");
    put_ints(&g, "k", 1, (int64_t[]){16});
    put_ints(&g, "one", 1, (int64_t[]){-1});
    put_input(&g, "x", 4, image);
    put_output(&g, "y");
    Import im;
    import_graph(&im, &g, 13, NULL);
    CHECK_STR_EQ(output_type(&im), "f32[3N,16]");
    import_end(&im);
}

// ---------------------------------------------------------------- constants

// w, of three elements 1, -2, 0.5, added to x; the constant must be f32 with these.
static void check_weights(const char *what, Pb *tensor) {
    Pb g = {0};
    put_node(&g, "Add", "a", "x w", "y");
    pb_msg(&g, 5, tensor);
    put_input(&g, "x", 2, (int64_t[]){-1, 3});
    put_output(&g, "y");
    Import im;
    import_graph(&im, &g, 13, NULL);
    IrConst *c = im.prog && im.prog->n_consts == 1 ? im.prog->consts[0] : NULL;
    if (!CHECK(c != NULL)) {
        fprintf(stderr, "%s: %s\n", what, im.text);
    } else {
        const float *v = ir_const_data(im.prog, c);
        bool same = v[0] == 1 && v[1] == -2 && v[2] == 0.5f;
        if (!CHECK(c->type.dtype == IR_F32 && same)) {
            fprintf(stderr, "%s: %g %g %g\n", what, v[0], v[1], v[2]);
        }
        CHECK_INT_EQ((uintptr_t)v % 4, 0);
        CHECK_STR_EQ(c->name, "w");
        CHECK_STR_EQ(c->origin, "w");
    }
    import_end(&im);
}

static void reads_every_storage(void) {
    static const int64_t three[] = {3};
    static const float f32[] = {1, -2, 0.5f};
    static const double f64[] = {1, -2, 0.5};
    static const uint16_t f16[] = {0x3c00, 0xc000, 0x3800}, bf16[] = {0x3f80, 0xc000, 0x3f00};
    Pb t = make_tensor("w", ONNX_FLOAT, 1, three);
    pb_blob(&t, 9, f32, sizeof f32);
    check_weights("raw float", &t);
    t = make_tensor("w", ONNX_FLOAT, 1, three);
    pb_blob(&t, 4, f32, sizeof f32);
    check_weights("float_data, packed", &t);
    t = make_tensor("w", ONNX_FLOAT, 1, three);
    for (int i = 0; i < 3; i++) {
        pb_float(&t, 4, f32[i]);
    }
    check_weights("float_data, one by one", &t);
    t = make_tensor("w", ONNX_F64, 1, three);
    pb_blob(&t, 10, f64, sizeof f64);
    check_weights("double_data", &t);
    t = make_tensor("w", ONNX_F64, 1, three);
    pb_blob(&t, 9, f64, sizeof f64);
    check_weights("raw double", &t);
    t = make_tensor("w", ONNX_F16, 1, three);
    pb_blob(&t, 9, f16, sizeof f16);
    check_weights("raw float16", &t);
    t = make_tensor("w", ONNX_F16, 1, three);
    for (int i = 0; i < 3; i++) {
        pb_int(&t, 5, f16[i]);
    }
    check_weights("float16 in int32_data", &t);
    t = make_tensor("w", ONNX_BF16, 1, three);
    pb_blob(&t, 9, bf16, sizeof bf16);
    check_weights("raw bfloat16", &t);
}

static void maps_external_data(void) {
    static const struct {
        char pad[4];
        float v[4];
    } data = {"....", {7, 1, -2, 0.5f}};
    write_file(case_path("weights.bin"), &data, sizeof data);
    static const int64_t three[] = {3};
    Pb t = make_tensor("w", ONNX_FLOAT, 1, three);
    tensor_external(&t, "location", "weights.bin");
    tensor_external(&t, "offset", "8");
    tensor_external(&t, "length", "12");
    pb_int(&t, 14, 1);
    check_weights("external, aligned", &t);
    write_file(case_path("odd.bin"), (const char *)data.v + 3, sizeof data.v - 3);
    t = make_tensor("w", ONNX_FLOAT, 1, three);
    tensor_external(&t, "location", "odd.bin");
    tensor_external(&t, "offset", "1");
    pb_int(&t, 14, 1);
    check_weights("external, misaligned", &t);
}

// IR version 3 lists initializers among the inputs.
static void takes_listed_initializers_as_constants(void) {
    Pb g = {0};
    float w[] = {1, 2, 3};
    put_node(&g, "Mul", "m", "x w", "y");
    put_raw(&g, "w", ONNX_FLOAT, 1, (int64_t[]){3}, w, sizeof w);
    put_input(&g, "w", 1, (int64_t[]){3});
    put_input(&g, "x", 2, (int64_t[]){-1, 3});
    put_output(&g, "y");
    Import im;
    import_graph(&im, &g, 7, NULL);
    if (CHECK(im.prog != NULL)) {
        CHECK_INT_EQ(im.prog->graphs[0]->n_inputs, 1);
        CHECK_STR_EQ(im.prog->graphs[0]->inputs[0]->name, "x");
    }
    import_end(&im);
}

// Quantized weights stay integers behind a node, which training does not have.
static void keeps_quantized_weights(void) {
    Pb g = {0}, dq = make_node("DequantizeLinear", "d", "q s z", "w");
    attr_int(&dq, "axis", 1);
    pb_msg(&g, 1, &dq);
    put_node(&g, "MatMul", "m", "x w", "y");
    put_raw(&g, "q", ONNX_INT8, 2, (int64_t[]){2, 2}, (int8_t[]){1, 2, -3, 4}, 4);
    put_raw(&g, "s", ONNX_FLOAT, 1, (int64_t[]){2}, (float[]){0.5f, 2}, 8);
    put_raw(&g, "z", ONNX_INT8, 1, (int64_t[]){2}, (int8_t[]){1, 0}, 2);
    put_input(&g, "x", 2, (int64_t[]){-1, 2});
    put_output(&g, "y");
    Import im;
    import_graph(&im, &g, 13, NULL);
    IrNode *d = im.prog ? im.prog->graphs[0]->first : NULL;
    if (CHECK(d && d->op == IR_OP_DEQUANTIZE && d->next && d->next->op == IR_OP_MATMUL)) {
        const int8_t *w = ir_const_data(im.prog, ir_in(d, 0)->konst);
        CHECK(w[0] == 1 && w[1] == 2 && w[2] == -3 && w[3] == 4);
        CHECK_STR_EQ(ir_in(d, 0)->konst->origin, "q");
        CHECK(ir_in(d, 1)->konst && ir_in(d, 1)->type.shape.rank == 2);
    }
    import_end(&im);
}

// ---------------------------------------------------------------- training form

static void put_training_graph(Pb *g) {
    static const char *const names[] = {"s", "b", "m", "v"};
    static const float one[] = {1, 1, 1};
    Pb bn = make_node("BatchNormalization", "bn", "x s b m v", "h m2 v2");
    attr_int(&bn, "training_mode", 1);
    pb_msg(g, 1, &bn);
    put_node(g, "Dropout", "drop", "h ratio yes", "y");
    for (int i = 0; i < 4; i++) {
        put_raw(g, names[i], ONNX_FLOAT, 1, (int64_t[]){3}, one, sizeof one);
    }
    put_raw(g, "ratio", ONNX_FLOAT, 0, NULL, &(float){0.5f}, 4);
    put_raw(g, "yes", 9, 0, NULL, "\1", 1);
    put_input(g, "x", 4, image);
    put_output(g, "y");
}

static void switches_training_to_inference(void) {
    Pb g = {0};
    put_training_graph(&g);
    Import im;
    import_graph(&im, &g, 15, NULL);
    CHECK_STR_EQ(im.text,
                 "m.onnx: warning: exported for training: 1 BatchNormalization and 1 Dropout "
                 "nodes are switched to inference (--keep-training-mode keeps them)\n");
    CHECK(has_op(&im, IR_OP_BATCH_NORM) && !has_op(&im, IR_OP_DROPOUT));
    import_end(&im);
    FeOptions keep = {.keep_training_mode = true};
    import_graph(&im, &g, 15, &keep);
    CHECK_STR_EQ(im.text, "");
    CHECK(!has_op(&im, IR_OP_BATCH_NORM) && has_op(&im, IR_OP_DROPOUT));
    CHECK(has_op(&im, IR_OP_REDUCE_MEAN));
    import_end(&im);
}

// ---------------------------------------------------------------- reports

static void put_unsupported(Pb *g) {
    put_node(g, "Relu", "ok", "x", "a");
    put_node(g, "StringConcat", "bad1", "a", "b");
    put_node(g, "Relu", "after", "b", "c");
    put_node(g, "SequenceMap", "bad2", "c", "d");
    put_node(g, "Sigmoid", "beside", "a", "e");
    put_input(g, "x", 4, image);
    put_output(g, "d");
    put_output(g, "e");
}

static void reports_every_unsupported_node(void) {
    Pb g = {0};
    put_unsupported(&g);
    Import im;
    import_graph(&im, &g, 13, NULL);
    CHECK(!im.prog);
    CHECK_STR_EQ(
        im.text,
        "m.onnx: node 'bad1' (StringConcat, opset 13): strings are not supported\n"
        "m.onnx: node 'bad2' (SequenceMap, opset 13): functions over sequences are not "
        "supported\n");
    import_end(&im);
}

static void goes_on_for_a_report(void) {
    Pb g = {0};
    put_unsupported(&g);
    FeReport report = {0};
    FeOptions opt = {.report = &report};
    Import im;
    import_graph(&im, &g, 13, &opt);
    CHECK_STR_EQ(im.text, "");
    CHECK_INT_EQ(report.n, 2);
    if (CHECK(im.prog != NULL)) {
        CHECK_INT_EQ(im.prog->graphs[0]->n_outputs, 1);
        CHECK_STR_EQ(im.prog->graphs[0]->outputs[0]->name, "e");
        CHECK_STR_EQ(report.v[1].node, "bad2");
    }
    import_end(&im);
}

int main(void) {
    case_start();
    CHECK_RUN(sorts_nodes_and_keeps_names);
    CHECK_RUN(copies_outputs_that_share);
    CHECK_RUN(pins_dimensions);
    CHECK_RUN(rewrites_a_fixed_batch);
    CHECK_RUN(evaluates_shapes_with_n);
    CHECK_RUN(divides_shapes_exactly);
    CHECK_RUN(splits_and_compares_shapes);
    CHECK_RUN(reads_every_storage);
    CHECK_RUN(maps_external_data);
    CHECK_RUN(takes_listed_initializers_as_constants);
    CHECK_RUN(keeps_quantized_weights);
    CHECK_RUN(switches_training_to_inference);
    CHECK_RUN(reports_every_unsupported_node);
    CHECK_RUN(goes_on_for_a_report);
    case_end();
    return check_done();
}
