// Models that must be refused, each with its exact one line (or lines). None may crash, and none
// may take long or much memory.
#define _GNU_SOURCE
#include "tests/frontend/import/import_case.h"

#include <sys/resource.h>
#include <sys/stat.h>

static void expect_file(const char *name, const char *text) {
    Import im;
    import_file(&im, name, NULL);
    CHECK(!im.prog);
    CHECK_STR_EQ(im.text, text);
    import_end(&im);
}

static void expect_bytes(const void *p, size_t n, const char *text) {
    write_file(case_path("m.onnx"), p, n);
    expect_file("m.onnx", text);
}

static void expect_graph(const Pb *graph, int opset, const char *text) {
    write_model(case_path("m.onnx"), graph, opset);
    expect_file("m.onnx", text);
}

// x -> op -> y with the node's further inputs and initializers made by the caller.
static Pb start_graph(void) {
    Pb g = {0};
    put_input(&g, "x", 4, (int64_t[]){-1, 3, 4, 4});
    put_output(&g, "y");
    return g;
}

// ---------------------------------------------------------------- files

static void refuses_what_is_no_model(void) {
    expect_file("missing.onnx", "missing.onnx: cannot open: No such file or directory\n");
    mkdir(case_path("dir"), 0700);
    expect_file("dir", "dir: cannot read: it is a directory\n");
    expect_bytes("", 0, "m.onnx: not an ONNX model: the file is empty\n");
    expect_bytes("hello world\n", 12, "m.onnx: not an ONNX model: it is a text file\n");
    expect_bytes("\x08\x08", 2, "m.onnx: not an ONNX model: it holds no graph\n");
}

static void refuses_every_truncation(void) {
    Pb g = start_graph(), m;
    put_node(&g, "Relu", "r", "x", "y");
    m = make_model(&g, 13);
    for (size_t n = 0; n < m.n; n++) {
        write_file(case_path("m.onnx"), m.v, n);
        Import im;
        import_file(&im, "m.onnx", NULL);
        CHECK(!im.prog && strchr(im.text, '\n') == im.text + strlen(im.text) - 1);
        import_end(&im);
    }
}

static void refuses_hostile_protobufs(void) {
    Pb deep = {0};
    for (int i = 0; i < 3000; i++) { // attribute.g.node.attribute...
        Pb attr = {0}, node = {0}, graph = {0};
        pb_msg(&attr, 6, &deep);
        pb_msg(&node, 5, &attr);
        pb_msg(&graph, 1, &node);
        deep = graph;
    }
    expect_graph(&deep, 13,
                 "m.onnx: not an ONNX model: at byte 264: messages are nested too deeply\n");
    Pb twice = {0}, g = start_graph();
    pb_msg(&twice, 7, &g);
    pb_msg(&twice, 7, &g);
    expect_bytes(
        twice.v, twice.n,
        "m.onnx: not an ONNX model: at byte 39: a field that may stand once stands twice\n");
    Pb empties = {0};
    for (int i = 0; i < 2000000; i++) {
        pb_blob(&empties, 1, "", 0);
    }
    expect_graph(&empties, 13,
                 "m.onnx: not an ONNX model: it would need far more memory than its size allows "
                 "(--limit memory=SIZE raises it)\n");
    Pb nul = {0};
    pb_blob(&nul, 2, "a\0b", 3);
    expect_graph(&nul, 13, "m.onnx: not an ONNX model: at byte 12: a name is not UTF-8 text\n");
}

// ---------------------------------------------------------------- graphs

static void refuses_broken_graphs(void) {
    Pb g = start_graph();
    put_node(&g, "Relu", "r", "x", "y");
    expect_graph(&g, 0, "m.onnx: opset 0 is not supported (1 to 28 are)\n");
    expect_graph(&g, 29, "m.onnx: opset 29 is not supported (1 to 28 are)\n");
    g = start_graph();
    put_node(&g, "Add", "loop", "x y", "y");
    expect_graph(
        &g, 13, "m.onnx: node 'loop' (Add): it depends on its own result: the graph has a cycle\n");
    g = start_graph();
    put_node(&g, "Add", "a", "x w", "y");
    expect_graph(
        &g, 13,
        "m.onnx: node 'a' (Add): its input 'w' is made by no node and is no input of the graph\n");
    g = start_graph();
    put_node(&g, "Relu", "a", "x", "y");
    put_node(&g, "Relu", "b", "x", "y");
    expect_graph(&g, 13, "m.onnx: node 'b' (Relu): the name 'y' is defined twice\n");
    g = start_graph();
    expect_graph(&g, 13, "m.onnx: output 'y' is made by no node\n");
    Pb none = {0};
    put_node(&none, "Relu", "r", "x", "y");
    put_input(&none, "x", 1, (int64_t[]){1});
    expect_graph(&none, 13, "m.onnx: the graph has no output\n");
}

static void refuses_unknown_operators(void) {
    Pb g = start_graph(), n = make_node("FusedConv", "f", "x", "y");
    pb_str(&n, 7, "acme");
    pb_msg(&g, 1, &n);
    expect_graph(&g, 13,
                 "m.onnx: node 'f' (FusedConv, opset 13): operators of the domain 'acme' are not "
                 "supported (those of ai.onnx up to opset 28 and of com.microsoft, version 1, "
                 "are)\n");
    g = start_graph();
    put_node(&g, "Gelu", "", "x", "y");
    expect_graph(
        &g, 13, "m.onnx: node 'y' (Gelu, opset 13): this operator is supported from opset 20 on\n");
    g = start_graph();
    put_node(&g, "Relu", "p", "x", "y where");
    put_output(&g, "where");
    expect_graph(&g, 13,
                 "m.onnx: node 'p' (Relu, opset 13): its output 'where' (number 1) is not "
                 "supported\n");
}

// An image is taken to have its three channels first, unless they are last.
static void proposes_a_shape(int64_t last, const char *line) {
    Pb g = {0};
    put_node(&g, "Relu", "r", "x", "y");
    put_input(&g, "x", 4, (int64_t[]){-1, -1, -1, last});
    put_output(&g, "y");
    expect_graph(&g, 13, line);
}

static void refuses_unfit_shapes(void) {
    proposes_a_shape(
        -1, "m.onnx: input 'x' has unknown dimension 1; give --input-shape x=Nx3x224x224\n");
    proposes_a_shape(
        3, "m.onnx: input 'x' has unknown dimension 1; give --input-shape x=Nx224x224x3\n");
    Pb g = {0};
    put_node(&g, "Relu", "r", "x", "y");
    put_input(&g, "x", 4, (int64_t[]){-1, 3, -1, 16});
    put_output(&g, "y");
    expect_graph(&g, 13,
                 "m.onnx: input 'x' has unknown dimension 2; give --input-shape x=Nx3x224x16\n");
    Import im;
    FePin pin = {"x", 4, {FE_SYMBOLIC, 3, 8, 20}};
    FeOptions opt = {.n_pins = 1, .pins = &pin};
    import_graph(&im, &g, 13, &opt);
    CHECK_STR_EQ(im.text, "m.onnx: dimension 3 of input 'x' is 16, --input-shape gives it 20\n");
    import_end(&im);
    pin.rank = 3;
    import_graph(&im, &g, 13, &opt);
    CHECK_STR_EQ(im.text,
                 "m.onnx: input 'x' has 4 dimensions, --input-shape gives it 3; its form is "
                 "x=Nx3x224x16\n");
    import_end(&im);
    pin = (FePin){"z", 4, {FE_SYMBOLIC, 3, 8, 16}};
    import_graph(&im, &g, 13, &opt);
    CHECK(strstr(im.text, "m.onnx: --input-shape: the model has no input 'z'\n") != NULL);
    import_end(&im);
    g = start_graph();
    put_node(&g, "Reshape", "r", "x s", "y");
    put_ints(&g, "s", 2, (int64_t[]){-1, 7});
    expect_graph(
        &g, 13,
        "m.onnx: node 'r' (Reshape, opset 13): the -1 of the new shape cannot be resolved\n");
    g = start_graph();
    put_node(&g, "Reshape", "r", "x x", "y");
    expect_graph(&g, 13,
                 "m.onnx: node 'r' (Reshape, opset 13): 'x' must be known at compile time\n");
}

// Attributes that onnx.checker lets through.
static void refuses_impossible_attributes(void) {
    static const struct {
        const char *attr;
        int n;
        int64_t v[4];
        const char *why;
    } cases[] = {
        {"strides", 2, {1, -1}, "strides is -1"},
        {"dilations", 2, {0, 1}, "dilations is 0"},
        {"kernel_shape", 2, {0, 2}, "kernel_shape is 0"},
        {"kernel_shape", 2, {3, 3}, "kernel_shape is not the weights' kernel"},
        {"pads", 4, {0, -9, 0, 0}, "pads entry 1 is -9"},
        {"pads", 2, {1, 1}, "pads has 2 entries for 2 spatial dimensions"},
        {"strides", 1, {1}, "strides has 1 entries for 2 spatial dimensions"},
    };
    float w[12] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Pb g = start_graph(), n = make_node("Conv", "c", "x w", "y");
        attr_ints(&n, cases[i].attr, cases[i].n, cases[i].v);
        pb_msg(&g, 1, &n);
        put_raw(&g, "w", ONNX_FLOAT, 4, (int64_t[]){1, 3, 2, 2}, w, sizeof w);
        char want[200];
        snprintf(want, sizeof want, "m.onnx: node 'c' (Conv, opset 13): %s\n", cases[i].why);
        expect_graph(&g, 13, want);
    }
    Pb g = start_graph(), n = make_node("Conv", "c", "x w", "y");
    attr_int(&n, "group", 0);
    pb_msg(&g, 1, &n);
    put_raw(&g, "w", ONNX_FLOAT, 4, (int64_t[]){1, 3, 2, 2}, w, sizeof w);
    expect_graph(&g, 13, "m.onnx: node 'c' (Conv, opset 13): group is 0, it must be at least 1\n");
}

// ---------------------------------------------------------------- tensors

static void expect_tensor(Pb *tensor, const char *why) {
    Pb g = start_graph();
    put_node(&g, "Add", "a", "x w", "y");
    pb_msg(&g, 5, tensor);
    char want[400];
    snprintf(want, sizeof want, "m.onnx: node 'a' (Add, opset 13): initializer 'w': %s\n", why);
    expect_graph(&g, 13, want);
}

static void refuses_broken_tensors(void) {
    Pb t = make_tensor("w", ONNX_FLOAT, 1, (int64_t[]){4});
    pb_blob(&t, 9, "123456789012", 12);
    expect_tensor(&t, "it has 12 bytes of data, its shape asks for 16");
    t = make_tensor("w", ONNX_FLOAT, 1, (int64_t[]){4});
    expect_tensor(&t, "it has 0 numbers, its shape asks for 4");
    t = make_tensor("w", ONNX_FLOAT, 1, (int64_t[]){-4});
    expect_tensor(&t, "dimension 0 is -4");
    t = make_tensor("w", ONNX_FLOAT, 2, (int64_t[]){INT64_C(1) << 40, INT64_C(1) << 40});
    expect_tensor(&t, "its shape is too big");
    t = make_tensor("w", 8, 1, (int64_t[]){4});
    expect_tensor(&t, "element type 8 (string) is not supported");
    t = make_tensor("w", ONNX_FLOAT, 9, (int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1});
    expect_tensor(&t, "it has 9 dimensions, at most 8 are supported");
}

#define OUTSIDE "must lie below the model's folder"
#define LINKED                                                                                     \
    OUTSIDE ", with no link on the way but into its cache's blobs (--follow-links allows any)"

static void expect_external(const char *location, const char *offset, const char *length,
                            const char *why) {
    Pb t = make_tensor("w", ONNX_FLOAT, 1, (int64_t[]){4});
    tensor_external(&t, "location", location);
    if (offset) {
        tensor_external(&t, "offset", offset);
    }
    if (length) {
        tensor_external(&t, "length", length);
    }
    pb_int(&t, 14, 1);
    expect_tensor(&t, why);
}

static void refuses_bad_external_data(void) {
    write_file(case_path("w.bin"), "0123456789abcdef", 16);
    mkdir(case_path("sub"), 0700);
    CHECK(symlink("w.bin", case_path("link.bin")) == 0);
    CHECK(symlink("/etc", case_path("etc")) == 0);
    write_file(case_path("one.bin"), "0123456789abcdef", 16);
    char other[200];
    snprintf(other, sizeof other, "%s", case_path("two.bin"));
    CHECK(link(case_path("one.bin"), other) == 0);
    expect_external("none.bin", NULL, NULL, "external data 'none.bin': No such file or directory");
    expect_external("../w.bin", NULL, NULL, "external data '../w.bin' " OUTSIDE);
    expect_external("sub/../w.bin", NULL, NULL, "external data 'sub/../w.bin' " OUTSIDE);
    expect_external("/etc/passwd", NULL, NULL, "external data '/etc/passwd' " OUTSIDE);
    expect_external("link.bin", NULL, NULL, "external data 'link.bin' " LINKED);
    expect_external("etc/passwd", NULL, NULL, "external data 'etc/passwd' " LINKED);
    expect_external("one.bin", NULL, NULL,
                    "external data 'one.bin' is not a regular file of its own");
    expect_external("sub", NULL, NULL, "external data 'sub' is not a regular file of its own");
    expect_external("w.bin", "4", NULL,
                    "external data 'w.bin' has 16 bytes, 16 at offset 4 are asked for");
    expect_external(
        "w.bin", "18446744073709551608", NULL,
        "external data 'w.bin' has 16 bytes, 16 at offset 18446744073709551608 are asked for");
    expect_external("w.bin", NULL, "12",
                    "external data length 12 is not the 16 bytes of its shape");
    expect_external("w.bin", "-4", NULL, "external data offset '-4' is not a number");
    expect_external("", NULL, NULL, "external data has no location");
}

static void refuses_giant_constants(void) {
    Pb g = start_graph();
    put_node(&g, "ConstantOfShape", "c", "s", "big");
    put_node(&g, "Add", "a", "x big", "y");
    put_ints(&g, "s", 2, (int64_t[]){INT64_C(1) << 40, INT64_C(1) << 40});
    expect_graph(
        &g, 13,
        "m.onnx: node 'c' (ConstantOfShape, opset 13): its value or its shape is impossible\n");
}

int main(void) {
    case_start();
    CHECK_RUN(refuses_what_is_no_model);
    CHECK_RUN(refuses_every_truncation);
    CHECK_RUN(refuses_hostile_protobufs);
    CHECK_RUN(refuses_broken_graphs);
    CHECK_RUN(refuses_unknown_operators);
    CHECK_RUN(refuses_unfit_shapes);
    CHECK_RUN(refuses_impossible_attributes);
    CHECK_RUN(refuses_broken_tensors);
    CHECK_RUN(refuses_bad_external_data);
    CHECK_RUN(refuses_giant_constants);
    case_end();
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("%ld MB\n", use.ru_maxrss / 1024);
    return check_done();
}
