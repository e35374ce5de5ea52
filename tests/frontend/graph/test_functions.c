// Model-local functions and If: what is inlined, under which names, and what is refused.
#define _GNU_SOURCE
#include "tests/frontend/import/import_case.h"

#include <time.h>

// What grows without bound takes hours; a slow machine under sanitizers takes some seconds.
#define PATIENCE (20 * CLOCKS_PER_SEC)

// ---------------------------------------------------------------- writing them

static Pb make_opset(const char *domain, int version) {
    Pb set = {0};
    pb_str(&set, 1, domain);
    pb_int(&set, 2, version);
    return set;
}

// An empty body; `in`, `out` and `attrs` are names separated by spaces.
static Pb make_function(const char *name, const char *in, const char *out, const char *attrs) {
    Pb f = {0}, set = make_opset("", 13), local = make_opset("local", 1);
    const char *lists[3] = {in, out, attrs};
    for (int k = 0; k < 3; k++) {
        for (const char *p = lists[k]; *p;) {
            size_t len = strcspn(p, " ");
            pb_blob(&f, 4 + k, p, len);
            p += len + (p[len] == ' ');
        }
    }
    pb_str(&f, 1, name);
    pb_str(&f, 10, "local");
    pb_msg(&f, 9, &set);
    pb_msg(&f, 9, &local);
    return f;
}

static Pb make_call(const char *function, const char *name, const char *in, const char *out) {
    Pb n = make_node(function, name, in, out);
    pb_str(&n, 7, "local");
    return n;
}

static void attr_float(Pb *node, int field, const char *name, float x) {
    Pb a = {0};
    pb_str(&a, 1, name);
    pb_float(&a, 2, x);
    pb_int(&a, 20, 1);
    pb_msg(node, field, &a);
}

static void attr_ref(Pb *node, const char *name, const char *of) {
    Pb a = {0};
    pb_str(&a, 1, name);
    pb_str(&a, 21, of);
    pb_int(&a, 20, 1);
    pb_msg(node, 5, &a);
}

static void attr_graph(Pb *node, const char *name, const Pb *g) {
    Pb a = {0};
    pb_str(&a, 1, name);
    pb_msg(&a, 6, g);
    pb_int(&a, 20, 5);
    pb_msg(node, 5, &a);
}

// x: f32[2,3], y
static Pb start_graph(void) {
    Pb g = {0};
    put_input(&g, "x", 2, (int64_t[]){2, 3});
    put_output(&g, "y");
    return g;
}

static void import_with(Import *im, const Pb *graph, int n, const Pb *functions) {
    Pb m = make_model(graph, 13), local = make_opset("local", 1);
    pb_msg(&m, 8, &local);
    for (int i = 0; i < n; i++) {
        pb_msg(&m, 25, &functions[i]);
    }
    write_file(case_path("m.onnx"), m.v, m.n);
    import_file(im, "m.onnx", NULL);
}

// The graph's nodes as "name op" lines.
static void expect_nodes(const Pb *graph, int n, const Pb *functions, const char *want) {
    Import im;
    import_with(&im, graph, n, functions);
    CHECK_STR_EQ(im.text, "");
    if (CHECK(im.prog != NULL)) {
        const char *got = "";
        for (IrNode *k = im.prog->graphs[0]->first; k; k = k->next) {
            got = ir_sprintf(im.arena, "%s%s %s\n", got, k->name, ir_op_info(k->op)->text);
        }
        CHECK_STR_EQ(got, want);
    }
    import_end(&im);
}

static void expect_error(const Pb *graph, int n, const Pb *functions, const char *want) {
    Import im;
    clock_t start = clock();
    import_with(&im, graph, n, functions);
    CHECK(clock() - start < PATIENCE);
    CHECK(!im.prog);
    CHECK_STR_EQ(im.text, want);
    import_end(&im);
}

// ---------------------------------------------------------------- functions

// act(a; alpha, beta = 0.5) = hard_sigmoid(leaky_relu(a, alpha), alpha, beta)
static Pb make_act(void) {
    Pb f = make_function("act", "a", "c", "alpha");
    attr_float(&f, 11, "beta", 0.5f);
    Pb n = make_node("LeakyRelu", "leaky", "a", "b");
    attr_ref(&n, "alpha", "alpha");
    pb_msg(&f, 7, &n);
    n = make_node("HardSigmoid", "", "b", "c");
    attr_ref(&n, "alpha", "alpha");
    attr_ref(&n, "beta", "beta");
    pb_msg(&f, 7, &n);
    return f;
}

static void attributes_reach_the_body(void) {
    Pb g = start_graph(), f = make_act(), n = make_call("act", "first", "x", "m");
    attr_float(&n, 5, "alpha", 0.25f);
    pb_msg(&g, 1, &n);
    n = make_call("act", "second", "m", "y");
    attr_float(&n, 5, "beta", 0.75f);
    pb_msg(&g, 1, &n);
    expect_nodes(&g, 1, &f,
                 "first/leaky leaky_relu\nfirst/c hard_sigmoid\n"
                 "second/leaky leaky_relu\nsecond/c hard_sigmoid\n");
    Import im;
    import_with(&im, &g, 1, &f);
    if (CHECK(im.prog != NULL)) {
        const IrNode *k = im.prog->graphs[0]->first;
        CHECK(ir_float(k, IR_ATTR_ALPHA, -1) == 0.25);
        CHECK(ir_float(k->next, IR_ATTR_ALPHA, -1) == 0.25 &&
              ir_float(k->next, IR_ATTR_BETA, -1) == 0.5);
        k = k->next->next; // what the caller leaves out is the operator's default
        CHECK(ir_float(k, IR_ATTR_ALPHA, -1) == (double)0.01f ||
              ir_float(k, IR_ATTR_ALPHA, -1) == 0.01);
        CHECK(ir_float(k->next, IR_ATTR_ALPHA, -1) == 0.2 &&
              ir_float(k->next, IR_ATTR_BETA, -1) == 0.75);
        CHECK_STR_EQ(im.prog->graphs[0]->outputs[0]->name, "y");
    }
    import_end(&im);
}

static void functions_call_functions(void) {
    Pb g = start_graph(), f[2] = {make_function("twice", "a", "c", ""), make_act()};
    Pb n = make_call("act", "p", "a", "b");
    attr_float(&n, 5, "alpha", 0.5f);
    pb_msg(&f[0], 7, &n);
    n = make_call("act", "q", "b", "c");
    pb_msg(&f[0], 7, &n);
    n = make_call("twice", "t", "x", "y");
    pb_msg(&g, 1, &n);
    expect_nodes(&g, 2, f,
                 "t/p/leaky leaky_relu\nt/p/c hard_sigmoid\n"
                 "t/q/leaky leaky_relu\nt/q/c hard_sigmoid\n");
}

// An input that the caller leaves out is left out in the body; the body has its own opset.
static void bodies_have_their_own_rules(void) {
    Pb g = start_graph(), f = {0}, old = make_opset("", 11);
    pb_str(&f, 1, "clamp");
    pb_str(&f, 10, "local");
    pb_msg(&f, 9, &old);
    pb_str(&f, 4, "a");
    pb_str(&f, 4, "lo");
    pb_str(&f, 4, "hi");
    pb_str(&f, 5, "c");
    Pb n = make_node("Clip", "clip", "a lo hi", "b");
    pb_msg(&f, 7, &n);
    n = make_node("Unsqueeze", "u", "b", "c"); // axes are an attribute up to opset 12
    attr_ints(&n, "axes", 1, (int64_t[]){0});
    pb_msg(&f, 7, &n);
    put_raw(&g, "high", ONNX_FLOAT, 0, NULL, &(float){6}, 4);
    n = make_call("clamp", "f", "x - high", "y");
    pb_msg(&g, 1, &n);
    expect_nodes(&g, 1, &f, "f/clip clip\nf/u reshape\n");
}

static void refuses_bad_calls(void) {
    Pb g = start_graph(), n = make_call("f", "n", "x", "y");
    Pb f[2] = {make_function("f", "a", "c", ""), make_function("g", "a", "c", "")};
    pb_msg(&g, 1, &n);
    n = make_call("g", "to_g", "a", "c");
    pb_msg(&f[0], 7, &n);
    n = make_call("f", "to_f", "a", "c");
    pb_msg(&f[1], 7, &n);
    expect_error(&g, 2, f,
                 "m.onnx: node 'n/to_g/to_f' (f, opset 13): the function 'f' calls itself\n");
    Pb twin[2] = {f[1], f[1]};
    expect_error(&g, 2, twin, "m.onnx: the function 'g' is defined twice\n");
    expect_error(
        &g, 1, &f[1],
        "m.onnx: node 'n' (f, opset 13): operators of the domain 'local' are not "
        "supported (those of ai.onnx up to opset 28 and of com.microsoft, version 1, are), "
        "and no function of the model has this name\n");
    g = start_graph();
    n = make_call("f", "n", "x x", "y");
    pb_msg(&g, 1, &n);
    expect_error(&g, 1, &f[0],
                 "m.onnx: node 'n' (f, opset 13): the function 'f' has 1 inputs and 1 outputs, the "
                 "node 2 and 1\n");
    Pb bare = {0};
    pb_str(&bare, 1, "f");
    pb_str(&bare, 10, "local");
    pb_str(&bare, 4, "a");
    pb_str(&bare, 5, "c");
    n = make_node("Relu", "r", "a", "c");
    pb_msg(&bare, 7, &n);
    g = start_graph();
    n = make_call("f", "n", "x", "y");
    pb_msg(&g, 1, &n);
    expect_error(&g, 1, &bare,
                 "m.onnx: node 'n/r' (Relu): no opset of the domain ai.onnx is imported\n");
}

static void refuses_unknown_opsets(void) {
    Pb g = start_graph(), n = make_call("f", "n", "x", "y"), f = {0}, far = make_opset("", 99);
    pb_msg(&g, 1, &n);
    pb_str(&f, 1, "f");
    pb_str(&f, 10, "local");
    pb_msg(&f, 9, &far);
    pb_str(&f, 4, "a");
    pb_str(&f, 5, "a");
    expect_error(
        &g, 1, &f,
        "m.onnx: node 'n' (f, opset 13): the function 'f': opset 99 is not supported (1 to "
        "28 are)\n");
}

// Every function calls the next one 500 times, side by side.
static void reports_growth_once(void) {
    Pb f[20], g = start_graph(), n = make_call("f0", "n", "x", "y");
    pb_msg(&g, 1, &n);
    for (int i = 0; i < 20; i++) {
        char name[20], next[20], out[20];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", i + 1);
        f[i] = make_function(name, "a", "o0", "");
        for (int k = 0; k < 500; k++) {
            snprintf(out, sizeof out, "o%d", k);
            n = i < 19 ? make_call(next, out, "a", out) : make_node("Relu", out, "a", out);
            pb_msg(&f[i], 7, &n);
        }
    }
    Import im;
    clock_t start = clock();
    import_with(&im, &g, 20, f);
    CHECK(clock() - start < PATIENCE);
    CHECK(!im.prog && im.diag.errors == 1);
    import_end(&im);
}

// f0 calls f1 `width` times, f1 calls f2 ...: the last one is a Relu.
static void make_chain(int depth, int width, Pb *f) {
    for (int i = 0; i < depth; i++) {
        char name[20], next[20];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", i + 1);
        f[i] = make_function(name, "a0", width == 2 ? "a2" : "a1", "");
        for (int k = 0; k < width; k++) {
            Pb n = i + 1 < depth
                       ? make_call(next, k ? "q" : "p", k ? "a1" : "a0", k ? "a2" : "a1")
                       : make_node("Relu", k ? "q" : "p", k ? "a1" : "a0", k ? "a2" : "a1");
            pb_msg(&f[i], 7, &n);
        }
    }
}

static void limits_what_inlining_makes(void) {
    Pb f[120], g = start_graph(), n = make_call("f0", "n", "x", "y");
    pb_msg(&g, 1, &n);
    make_chain(100, 1, f);
    Import im;
    import_with(&im, &g, 100, f);
    CHECK(im.prog != NULL);
    import_end(&im);
    make_chain(101, 1, f);
    import_with(&im, &g, 101, f);
    CHECK(!im.prog);
    CHECK(strstr(im.text, "functions and branches are nested more than 100 deep"));
    import_end(&im);
    make_chain(40, 2, f);
    clock_t start = clock();
    import_with(&im, &g, 40, f);
    CHECK(clock() - start < PATIENCE);
    CHECK(!im.prog);
    CHECK(strstr(im.text, "functions and branches make more than "));
    CHECK(strchr(im.text, '\n') == strrchr(im.text, '\n'));
    import_end(&im);
}

// ---------------------------------------------------------------- If

static Pb make_branch(const char *op, const char *in) {
    Pb g = {0};
    put_node(&g, op, op, in, "z");
    put_output(&g, "z");
    return g;
}

static Pb make_if(const char *cond, const char *in) {
    Pb n = make_node("If", "if", cond, "y"), yes = make_branch("Relu", in),
       no = make_branch("Tanh", in);
    attr_graph(&n, "then_branch", &yes);
    attr_graph(&n, "else_branch", &no);
    return n;
}

static void known_conditions_take_a_branch(void) {
    for (uint8_t cond = 0; cond < 2; cond++) {
        Pb g = start_graph(), n = make_if("c", "x");
        put_raw(&g, "c", 9, 0, NULL, &cond, 1);
        pb_msg(&g, 1, &n);
        expect_nodes(&g, 0, NULL, cond ? "if/Relu relu\n" : "if/Tanh tanh\n");
    }
    // a condition on a shape; the branch reads what a node behind the If makes
    Pb g = start_graph(), n = make_if("c", "m");
    pb_msg(&g, 1, &n);
    put_ints(&g, "one", 1, (int64_t[]){1});
    put_ints(&g, "three", 1, (int64_t[]){3});
    put_node(&g, "Shape", "shape", "x", "s");
    put_node(&g, "Gather", "gather", "s one", "d");
    put_node(&g, "Equal", "equal", "d three", "c");
    put_node(&g, "Sigmoid", "late", "x", "m");
    expect_nodes(&g, 0, NULL, "late sigmoid\nif/Relu relu\n");
}

static void functions_hold_ifs(void) {
    Pb g = start_graph(), f = make_function("f", "a c", "y", "alpha"), n = make_if("c", "a");
    pb_msg(&f, 7, &n);
    n = make_call("f", "n", "x flag", "y");
    pb_msg(&g, 1, &n);
    put_raw(&g, "flag", 9, 0, NULL, &(uint8_t){1}, 1);
    expect_nodes(&g, 1, &f, "n/if/Relu relu\n");
}

static void conditions_known_and_not(void) {
    Pb g = start_graph(), n = make_if("c", "x");
    Pb info = make_info("c", 9, 0, NULL);
    pb_msg(&g, 11, &info);
    pb_msg(&g, 1, &n);
    expect_nodes(&g, 0, NULL, "if/Relu relu\nif/Tanh tanh\nif where\n"); // both branches
    g = start_graph();
    n = make_node("If", "if", "c", "y");
    put_raw(&g, "c", 9, 0, NULL, &(uint8_t){1}, 1);
    pb_msg(&g, 1, &n);
    expect_error(&g, 0, NULL, "m.onnx: node 'if' (If, opset 13): it has no then_branch\n");
    g = start_graph();
    n = make_if("c", "nobody");
    put_raw(&g, "c", 9, 0, NULL, &(uint8_t){1}, 1);
    pb_msg(&g, 1, &n);
    expect_error(&g, 0, NULL,
                 "m.onnx: node 'if/Relu' (Relu): its input 'nobody' is made by no node and is no "
                 "input of the graph\n");
}

// What export works on has the nodes of functions and branches in it, under the names that the
// program's nodes have, and the model's own names as they were.
static void gives_plain_nodes_to_export(void) {
    Pb g = start_graph(), f = make_act(), n = make_call("act", "n", "x", "y");
    pb_msg(&g, 1, &n);
    Import im;
    const struct FeModel *model = NULL;
    import_with(&im, &g, 1, &f);
    import_end(&im);
    import_file(&im, "m.onnx", &(FeOptions){.model = &model, .to_train = true});
    if (CHECK(im.prog && model)) {
        const IrGraph *infer = im.prog->graphs[0];
        int found = 0;
        for (const IrNode *k = infer->first; k; k = k->next) {
            CHECK(fe_model_input(model, k->name, k->src_op, 0));
            found++;
        }
        CHECK(found > 0);
        CHECK(!fe_model_input(model, "n", "act", 0));
    }
    import_end(&im);
}

int main(void) {
    case_start();
    CHECK_RUN(attributes_reach_the_body);
    CHECK_RUN(functions_call_functions);
    CHECK_RUN(bodies_have_their_own_rules);
    CHECK_RUN(refuses_bad_calls);
    CHECK_RUN(refuses_unknown_opsets);
    CHECK_RUN(reports_growth_once);
    CHECK_RUN(limits_what_inlining_makes);
    CHECK_RUN(known_conditions_take_a_branch);
    CHECK_RUN(functions_hold_ifs);
    CHECK_RUN(conditions_known_and_not);
    CHECK_RUN(gives_plain_nodes_to_export);
    case_end();
    return check_done();
}
