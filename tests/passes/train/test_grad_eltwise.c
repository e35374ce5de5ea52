// Gradients of elementwise ops, reductions and movement against finite differences, ten
// configurations or more of each; of random graphs of them; what has no gradient.
#include "tests/passes/train/grad_case.h"

static const char *const SHAPES[] = {"7",     "N",       "N,3",     "2,5",   "N,2,3",
                                     "3,1,4", "N,2,3,3", "1,3,2,2", "4,1,1", "N,1,5"};

static void one_operand(void) {
    static const char *const ops[] = {
        "relu %x",
        "leaky_relu %x",
        "leaky_relu %x {alpha=0}",
        "leaky_relu %x {alpha=-0.5}",
        "elu %x",
        "elu %x {alpha=0.3}",
        "elu %x {alpha=-1}",
        "clip %x {min=-0.5, max=0.4}",
        "clip %x {max=0.1}",
        "clip %x {min=0}",
        "clip %x {min=1, max=0}",
        "sigmoid %x",
        "hard_sigmoid %x",
        "hard_sigmoid %x {alpha=2, beta=0.1}",
        "hard_swish %x",
        "tanh %x",
        "erf %x",
        "gelu %x",
        "exp %x",
        "abs %x",
        "neg %x",
        "floor %x",
        "ceil %x",
        "round %x",
        "sign %x",
        "sin %x",
        "cos %x",
        "atan %x",
        "sinh %x",
        "cosh %x",
        "asinh %x",
        "copy %x",
        "dropout %x {ratio=0.4, seed=5}",
    };
    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++) {
        for (int i = 0; i < 10; i++) {
            char inputs[60], body[200];
            snprintf(inputs, sizeof inputs, "%%x0: T[%s]", SHAPES[i]);
            // To [-5, 5), so that hard_swish's kinks at 3 are within reach.
            snprintf(body, sizeof body,
                     "%%a = add %%x0, %%x0\n%%b = add %%a, %%a\n%%x = add %%b, %%x0\n%%y = %s",
                     ops[op]);
            grad_check(&(GradCase){ops[op], inputs, body, 0, 0});
        }
    }
    for (int i = 0; i < 10; i++) {
        char inputs[60];
        snprintf(inputs, sizeof inputs, "%%pos: T[%s]", SHAPES[i]);
        grad_check(&(GradCase){"log", inputs, "%y = log %pos", 0, 0});
        grad_check(&(GradCase){"sqrt", inputs, "%y = sqrt %pos", 0, 0});
        grad_check(&(GradCase){"tan", inputs, "%y = tan %pos", 0, 0}); // below pi / 2
        static const char *const half[] = {"asin", "acos", "atanh"};
        for (int k = 0; k < 3; k++) { // of 0.25 .. 0.75
            char body[100];
            snprintf(body, sizeof body, "%%x = div %%pos, %%two\n%%y = %s %%x", half[k]);
            grad_check(&(GradCase){half[k], inputs, body, 0, 0});
        }
        grad_check(&(GradCase){"acosh", inputs, "%x = add %pos, %two\n%y = acosh %x", 0, 0});
        grad_check(&(GradCase){"cast", inputs, "%h = cast %pos {to=f32}\n%y = cast %h {to=f64}",
                               1.0 / 64, 0});
        snprintf(inputs, sizeof inputs, "%%x: T[%s], %%_seed: i64[]", SHAPES[i]);
        grad_check(&(GradCase){"dropout with seed", inputs,
                               "%y = dropout %x, %_seed {ratio=0.5, seed=3}", 0, 0});
    }
}

static void two_operands(void) {
    static const char *const pairs[][2] = {
        {"4", "4"},         {"N,3", "N,3"},        {"N,3", "3"}, {"N,2,3,3", "2,1,1"},
        {"N,2,3,3", ""},    {"3,1", "1,4"},        {"1", "N,3"}, {"N,4,2,2", "1,4,1,1"},
        {"1,1,3", "N,2,1"}, {"N,2,3,3", "N,2,1,1"}};
    static const char *const ops[] = {"add %x, %z",     "sub %x, %z",        "mul %x, %z",
                                      "div %x, %zpos",  "pow %xpos, %z",     "maximum %x, %z",
                                      "minimum %x, %z", "relu_grad %_x, %z", "mul %x, %x"};
    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++) {
        for (int i = 0; i < 10; i++) {
            const char *x = strstr(ops[op], "%xpos") ? "%xpos"
                            : strstr(ops[op], "%_x") ? "%_x"
                                                     : "%x";
            const char *z = strstr(ops[op], "%zpos") ? "%zpos" : "%z";
            char inputs[100], body[60];
            snprintf(inputs, sizeof inputs, "%s: T[%s], %s: T[%s]", x, pairs[i][0], z, pairs[i][1]);
            snprintf(body, sizeof body, "%%y = %s", ops[op]);
            grad_check(&(GradCase){ops[op], inputs, body, 0, 0});
        }
    }
    for (int i = 0; i < 10; i++) { // prelu's slope broadcasts to x alone
        static const char *const slopes[][2] = {
            {"4", "4"},       {"N,3", "3"},   {"N,2,3,3", "2,1,1"},   {"N,2,3,3", "1"},
            {"N,2,3", "2,3"}, {"3,4", "3,1"}, {"N,4,2,2", "1,4,1,1"}, {"5", ""},
            {"N,1,5", "1,5"}, {"N,2", "1"}};
        char inputs[100];
        snprintf(inputs, sizeof inputs, "%%x: T[%s], %%z: T[%s]", slopes[i][0], slopes[i][1]);
        grad_check(&(GradCase){"prelu", inputs, "%y = prelu %x, %z", 0, 0});
        snprintf(inputs, sizeof inputs, "%%_c: bool[%s], %%x: T[%s], %%z: T[%s]", pairs[i][0],
                 pairs[i][1], pairs[i][0]);
        grad_check(&(GradCase){"where", inputs, "%y = where %_c, %x, %z", 0, 0});
    }
    static const GradCase powers[] = {
        {"square", "%x: T[N,3]", "%y = pow %x, %two", 0, 0},
        {"cube", "%x: T[N,3]", "%y = pow %x, %three", 0, 0},
        {"remainders", "%x: T[N,4,5], %zpos: T[4,1]",
         "%a = mul %x, %three\n%b = add %a, %x\n%y = rem %b, %zpos", 0, 5},
        {"one value, many readers", "%x: T[N,3], %z: T[3]",
         "%a = mul %x, %z\n%b = sigmoid %a\n%c = mul %a, %b\n%d = add %c, %x\n%y = mul %d, %a", 0,
         0},
    };
    GRAD_CHECK_ALL(powers);
}

static void reductions(void) {
    static const struct {
        const char *x, *attrs;
    } shapes[] = {
        {"5", "axes=[0]"},
        {"N,3", "axes=[1], keepdims=0"},
        {"N,3", "axes=[1]"},
        {"2,3,4", "axes=[0,2], keepdims=0"},
        {"N,2,3,3", "axes=[2,3]"},
        {"N,2,3,3", "axes=[2,3], keepdims=0"},
        {"N,4,2", "axes=[1]"},
        {"N,3", "axes=[0], keepdims=0"},
        {"N,2,3", "axes=[0,1,2]"},
        {"3,2", "axes=[]"},
        {"1,3,1", "axes=[0,2], keepdims=0"},
    };
    static const char *const ops[] = {"reduce_sum", "reduce_mean", "reduce_max", "reduce_min"};
    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            char inputs[60], body[100];
            snprintf(inputs, sizeof inputs, "%%x: T[%s]", shapes[i].x);
            snprintf(body, sizeof body, "%%y = %s %%x {%s}", ops[op], shapes[i].attrs);
            grad_check(&(GradCase){ops[op], inputs, body, 0, 3});
        }
    }
    static const struct {
        const char *x;
        int axis;
    } lines[] = {{"5", 0},     {"N,4", 1},     {"N,4", 0},   {"2,3,4", 1}, {"N,3,2,2", 1},
                 {"N,2,3", 2}, {"N,2,3,2", 3}, {"1,5,1", 1}, {"N,1", 1},   {"3,3", 0}};
    for (int i = 0; i < 10; i++) {
        char inputs[60], body[100];
        snprintf(inputs, sizeof inputs, "%%x: T[%s]", lines[i].x);
        snprintf(body, sizeof body, "%%y = softmax %%x {axis=%d}", lines[i].axis);
        grad_check(&(GradCase){"softmax", inputs, body, 0, 0});
        snprintf(body, sizeof body, "%%y = log_softmax %%x {axis=%d}", lines[i].axis);
        grad_check(&(GradCase){"log_softmax", inputs, body, 0, 0});
    }
}

static void movement(void) {
    static const GradCase cases[] = {
        {"concat 1", "%x: T[N,2,3], %z: T[N,1,3]", "%y = concat %x, %z {axis=1}", 0, 0},
        {"concat 2", "%x: T[4], %z: T[3]", "%y = concat %x, %z {axis=0}", 0, 0},
        {"concat 3", "%x: T[N,3], %z: T[N,2]", "%y = concat %x, %z, %x {axis=1}", 0, 0},
        {"concat 4", "%x: T[N,2,2,3], %z: T[N,2,2,1]", "%y = concat %x, %z {axis=3}", 0, 0},
        {"concat 5", "%x: T[N,2,2,3], %z: T[N,2,4,3]", "%y = concat %z, %x {axis=2}", 0, 0},
        {"concat 6", "%x: T[N,2]", "%y = concat %x {axis=1}", 0, 0},
        {"concat 7", "%x: T[N,2]", "%y = concat %x {axis=0}", 0, 0},
        {"concat 8", "%x: T[N,2], %_z: T[N,2]", "%y = concat %_z, %x {axis=1}", 0, 0},
        {"concat 9", "%x: T[2,3], %z: T[1,3], %w: T[3,3]", "%y = concat %w, %x, %z {axis=0}", 0, 0},
        {"concat 10", "%x: T[N,2], %z: T[N,0]", "%y = concat %x, %z, %x {axis=1}", 0, 0},
        {"slice 1", "%x: T[7]", "%y = slice %x {start=[1], step=[1], shape=[4]}", 0, 0},
        {"slice 2", "%x: T[7]", "%y = slice %x {start=[0], step=[2], shape=[4]}", 0, 0},
        {"slice 3", "%x: T[7]", "%y = slice %x {start=[5], step=[-2], shape=[3]}", 0, 0},
        {"slice 4", "%x: T[N,5,4]", "%y = slice %x {start=[0,1,0], step=[1,3,1], shape=[N,2,4]}", 0,
         0},
        {"slice 5", "%x: T[N,5,4,4]",
         "%y = slice %x {start=[0,0,1,1], step=[1,1,2,2], shape=[N,5,2,2]}", 0, 0},
        {"slice 6", "%x: T[3,3]", "%y = slice %x {start=[2,2], step=[-1,-1], shape=[3,3]}", 0, 0},
        {"slice 7", "%x: T[N,3]", "%y = slice %x {start=[0,2], step=[1,1], shape=[N,1]}", 0, 0},
        {"slice 8", "%x: T[4,4]", "%y = slice %x {start=[3,0], step=[1,1], shape=[1,4]}", 0, 0},
        {"slice 9", "%x: T[4,4]", "%y = slice %x {start=[1,1], step=[1,1], shape=[0,2]}", 0, 0},
        {"slice 10", "%x: T[N,4]", "%y = slice %x {start=[0,0], step=[1,1], shape=[N,4]}", 0, 0},
        {"split", "%x: T[N,5,2]",
         "%a = slice %x {start=[0,0,0], step=[1,1,1], shape=[N,2,2]}\n"
         "%b = slice %x {start=[0,2,0], step=[1,1,1], shape=[N,3,2]}\n"
         "%c = tanh %b\n%y = concat %c, %a {axis=1}",
         0, 0},
        {"split, the rest unread", "%x: T[N,5,2]",
         "%a = slice %x {start=[0,0,0], step=[1,1,1], shape=[N,2,2]}\n"
         "%b = slice %x {start=[0,2,0], step=[1,1,1], shape=[N,2,2]}\n%y = mul %a, %b",
         0, 0},
        {"overlapping slices", "%x: T[N,4]",
         "%a = slice %x {start=[0,0], step=[1,1], shape=[N,3]}\n"
         "%b = slice %x {start=[0,1], step=[1,1], shape=[N,3]}\n%y = mul %a, %b",
         0, 0},
        {"split of a sum", "%x: T[N,4], %z: T[N,4]",
         "%s = add %x, %z\n%a = slice %s {start=[0,0], step=[1,1], shape=[N,2]}\n"
         "%t = slice %x {start=[0,2], step=[1,1], shape=[N,2]}\n%y = mul %a, %t",
         0, 0},
        {"slice_grad", "%x: T[N,2,2]",
         "%y = slice_grad %x {start=[0,1,3], step=[1,2,-2], shape=[N,5,4]}", 0, 0},
        {"pad 1", "%x: T[4]", "%y = pad %x {pad=[1,2]}", 0, 0},
        {"pad 2", "%x: T[N,2,3,3]", "%y = pad %x {pad=[0,0,1,2,0,0,2,1], value=3}", 0, 0},
        {"pad 3", "%x: T[N,6]", "%y = pad %x {pad=[0,-1,0,-2]}", 0, 0},
        {"pad 4", "%x: T[N,6]", "%y = pad %x {pad=[0,2,0,-2]}", 0, 0},
        {"pad 5", "%x: T[N,3]", "%y = pad %x {pad=[1,0,0,0]}", 0, 0},
        {"pad 6", "%x: T[2,3]", "%y = pad %x {pad=[0,0,0,0]}", 0, 0},
        {"edge 1", "%x: T[4]", "%y = pad %x {pad=[1,2], mode=edge}", 0, 0},
        {"edge 2", "%x: T[N,1,3]", "%y = pad %x {pad=[0,2,1,0,1,2], mode=edge}", 0, 0},
        {"edge 3", "%x: T[N,2,3,3]", "%y = pad %x {pad=[0,0,1,2,0,0,2,1], mode=edge}", 0, 0},
        {"edge 4", "%x: T[N,5]", "%y = pad %x {pad=[0,-1,0,2], mode=edge}", 0, 0},
        {"edge 5", "%x: T[N,5]", "%y = pad %x {pad=[0,3,0,0], mode=edge}", 0, 0},
        {"edge 6", "%x: T[2,2]", "%y = pad %x {pad=[2,0,0,3], mode=edge}", 0, 0},
        {"reflect 1", "%x: T[4]", "%y = pad %x {pad=[1,2], mode=reflect}", 0, 0},
        {"reflect 2", "%x: T[N,2,4,3]", "%y = pad %x {pad=[0,0,3,2,0,0,2,1], mode=reflect}", 0, 0},
        {"reflect 3", "%x: T[N,5]", "%y = pad %x {pad=[0,-1,0,2], mode=reflect}", 0, 0},
        {"reflect 4", "%x: T[N,2]", "%y = pad %x {pad=[0,1,0,1], mode=reflect}", 0, 0},
        {"reflect 5", "%x: T[3,3]", "%y = pad %x {pad=[2,0,0,2], mode=reflect}", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

static void views(void) {
    static const GradCase cases[] = {
        {"transpose 1", "%x: T[2,3]", "%y = transpose %x {perm=[1,0]}", 0, 0},
        {"transpose 2", "%x: T[N,2,3,4]", "%y = transpose %x {perm=[0,2,3,1]}", 0, 0},
        {"transpose 3", "%x: T[N,2,3,4]", "%y = transpose %x {perm=[3,0,1,2]}", 0, 0},
        {"transpose 4", "%x: T[2,3,4]", "%y = transpose %x {perm=[2,0,1]}", 0, 0},
        {"transpose 5", "%x: T[N,3]", "%y = transpose %x {perm=[0,1]}", 0, 0},
        {"transpose 6", "%x: T[1,2,1,3]", "%y = transpose %x {perm=[2,1,3,0]}", 0, 0},
        {"transpose 7", "%x: T[4]", "%y = transpose %x {perm=[0]}", 0, 0},
        {"transpose 8", "%x: T[N,2,2]", "%y = transpose %x {perm=[1,0,2]}", 0, 0},
        {"transpose 9", "%x: T[2,2,2,2,2]", "%y = transpose %x {perm=[4,2,0,1,3]}", 0, 0},
        {"transpose 10", "%x: T[N,3,5]", "%y = transpose %x {perm=[0,2,1]}", 0, 0},
        {"reshape 1", "%x: T[6]", "%y = reshape %x {shape=[2,3]}", 0, 0},
        {"reshape 2", "%x: T[N,2,3]", "%y = reshape %x {shape=[N,6]}", 0, 0},
        {"reshape 3", "%x: T[N,4]", "%y = reshape %x {shape=[2N,2]}", 0, 0},
        {"reshape 4", "%x: T[1]", "%y = reshape %x {shape=[]}", 0, 0},
        {"reshape 5", "%x: T[]", "%y = reshape %x {shape=[1,1]}", 0, 0},
        {"reshape 6", "%x: T[N,4,1,1]", "%y = reshape %x {shape=[N,4]}", 0, 0},
        {"reshape 7", "%x: T[2,3]", "%y = reshape %x {shape=[2,3]}", 0, 0},
        {"reshape 8", "%x: T[N,6,2]", "%y = reshape %x {shape=[N,2,3,2]}", 0, 0},
        {"reshape 9", "%x: T[8]", "%y = reshape %x {shape=[2,2,2]}", 0, 0},
        {"reshape 10", "%x: T[N,3]", "%y = reshape %x {shape=[N,3,1,1]}", 0, 0},
        {"channel shuffle", "%x: T[N,6,2,2]",
         "%a = reshape %x {shape=[N,2,3,2,2]}\n%b = transpose %a {perm=[0,2,1,3,4]}\n"
         "%c = reshape %b {shape=[N,6,2,2]}\n%y = mul %c, %x",
         0, 0},
        {"expand 1", "%x: T[1]", "%y = expand %x {shape=[4]}", 0, 0},
        {"expand 2", "%x: T[3]", "%y = expand %x {shape=[N,3]}", 0, 0},
        {"expand 3", "%x: T[]", "%y = expand %x {shape=[2,3]}", 0, 0},
        {"expand 4", "%x: T[N,1]", "%y = expand %x {shape=[N,4]}", 0, 0},
        {"expand 5", "%x: T[3,1]", "%y = expand %x {shape=[2,3,4]}", 0, 0},
        {"expand 6", "%x: T[2,2]", "%y = expand %x {shape=[2,2]}", 0, 0},
        {"expand 7", "%x: T[1,4,1,1]", "%y = expand %x {shape=[N,4,2,3]}", 0, 0},
        {"expand 8", "%x: T[1,1]", "%y = expand %x {shape=[1,1,1]}", 0, 0},
        {"expand 9", "%x: T[1,3]", "%y = expand %x {shape=[4,3]}", 0, 0},
        {"expand 10", "%x: T[N,1,1]", "%y = expand %x {shape=[N,2,2]}", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

// ---------------------------------------------------------------- random graphs

enum { MAX_LINES = 12 };

// A chain of ops over [N,4,4,4] values, each on any of those before.
static void random_graphs(void) {
    static const char *const steps[] = {
        "conv %%v%d, %%w1 {pad=[1,1,1,1]}",
        "conv %%v%d, %%w2, %%b {group=2, pad=[0,1,0,1]}",
        "conv %%v%d, %%w3 {group=4, dilation=[2,1], pad=[2,1,2,1]}",
        "tanh %%v%d",
        "sigmoid %%v%d",
        "hard_swish %%v%d",
        "batch_norm %%v%d, %%b, %%g, %%_m, %%_pos {eps=0.1}",
        "lrn %%v%d {size=3, alpha=0.3, beta=0.75, bias=1}",
        "softmax %%v%d {axis=1}",
        "avg_pool %%v%d {kernel=[3,3], pad=[1,1,1,1], count_pad=1}",
        "max_pool %%v%d {kernel=[3,3], pad=[1,1,1,1]}",
        "transpose %%v%d {perm=[0,1,3,2]}",
        "dropout %%v%d {ratio=0.3, seed=9}",
        "leaky_relu %%v%d",
    };
    for (uint64_t seed = 0; seed < 60; seed++) {
        uint64_t key = ir_random_key(seed);
        char body[4000] = "";
        size_t at = 0;
        int lines = 3 + (int)(seed % (MAX_LINES - 3));
        for (int i = 1; i <= lines; i++) {
            uint32_t r = ir_random_u32(key, (uint64_t)i);
            char name[16];
            snprintf(name, sizeof name, i == lines ? "%%y" : "%%v%d", i);
            int from = i - 1 - (int)(r >> 8) % (i < 4 ? i : 4), other = (int)(r >> 16) % i;
            at += (size_t)snprintf(body + at, sizeof body - at, "%s = ", name);
            if (r % 4 == 0) {
                at += (size_t)snprintf(body + at, sizeof body - at, "%s %%v%d, %%v%d\n",
                                       r % 8 ? "add" : "mul", from, other);
            } else {
                const char *step = steps[(r >> 4) % (sizeof steps / sizeof *steps)];
                char line[200];
                snprintf(line, sizeof line, step, from);
                at += (size_t)snprintf(body + at, sizeof body - at, "%s\n", line);
            }
        }
        grad_check(
            &(GradCase){body,
                        "%v0: T[N,4,4,4], %w1: T[4,4,3,3], %w2: T[4,2,1,3], %w3: T[4,1,3,3], "
                        "%b: T[4], %g: T[4], %_m: T[4], %_pos: T[4]",
                        body, 0, 0});
    }
}

// ---------------------------------------------------------------- what is not walked, or cannot be

static IrGraph *parse(IrArena *a, const char *text) {
    IrProgram *p = ir_parse(a, "text", text, strlen(text));
    return CHECK(p != NULL) ? p->graphs[0] : NULL;
}

static void reports_all_without_gradient(void) {
    IrDiag diag;
    ir_diag_init(&diag, "m.onnx");
    diag.out = tmpfile();
    IrArena *a = ir_arena_new(&diag);
    IrGraph *g = parse(a, "graph g(%x: f32[N,4,4], %z: f32[4,4]) -> (%y) {\n"
                          "  %a = det %z @\"frozen\"\n"
                          "  %b = shuffle %x {channels=[3, 2, 1, 0]} @\"mixed\"\n"
                          "  %c = shuffle %b {channels=[1, 0, 3, 2]} @\"volume\"\n"
                          "  %y = mul %c, %a\n}");
    PassContext ctx = {.scratch = a, .prog = g->prog};
    AutodiffSeed seed = {g->outputs[0], NULL};
    IrValue *grad;
    int nodes = g->n_nodes;
    CHECK(!pass_autodiff(&ctx, g, &(AutodiffSpec){1, 1, &seed, g->inputs}, &grad));
    CHECK_INT_EQ(g->n_nodes, nodes);
    CHECK_STR_EQ(ir_verify(g), NULL);
    char text[400] = "";
    rewind(diag.out);
    CHECK(fread(text, 1, sizeof text - 1, diag.out) > 0);
    CHECK_STR_EQ(text, "m.onnx: node 'mixed': NYI: gradient of shuffle\n"
                       "m.onnx: node 'volume': NYI: gradient of shuffle\n");
    fclose(diag.out);
    ir_arena_free(a);
}

static void zeros_where_nothing_depends(void) {
    IrDiag diag;
    ir_diag_init(&diag, "zeros");
    IrArena *a = ir_arena_new(&diag);
    IrGraph *g = parse(a, "graph g(%x: f32[N,2], %z: f32[3]) -> (%y) { %y = relu %x }");
    PassContext ctx = {.scratch = a, .prog = g->prog};
    AutodiffSeed seed = {g->outputs[0], NULL};
    IrValue *grad[2];
    if (CHECK(pass_autodiff(&ctx, g, &(AutodiffSpec){1, 2, &seed, g->inputs}, grad))) {
        CHECK(ir_type_eq(&grad[0]->type, &g->inputs[0]->type));
        CHECK(ir_type_eq(&grad[1]->type, &g->inputs[1]->type));
        ir_output(g, grad[0]);
        ir_output(g, grad[1]);
        IrTensor in[2] = {ir_tensor_new(a, &g->inputs[0]->type, 2),
                          ir_tensor_new(a, &g->inputs[1]->type, 2)};
        for (int i = 0; i < 4; i++) {
            ir_tensor_set(&in[0], i, i - 1.5);
        }
        IrTensor out[3];
        CHECK_STR_EQ(ir_eval(g, 2, in, out, a, NULL, NULL), NULL);
        for (int i = 0; i < 4; i++) {
            CHECK_NEAR(ir_tensor_get(&out[1], i), i > 1, 0);
        }
        CHECK_NEAR(ir_tensor_get(&out[2], 0), 0, 0);
    }
    ir_arena_free(a);
}

// Kinks and ties as PyTorch has them: relu and relu6 pass nothing at 0 and 6, leaky_relu its slope;
// equal maxima share in a reduction, the first wins in a pool.
static void kinks_and_ties(void) {
    static const struct {
        const char *body;
        double x[4], dx[4];
    } cases[] = {
        {"%y = relu %x", {0, -0.0, 1, -1}, {0, 0, 1, 0}},
        {"%y = clip %x {min=0, max=6}", {0, 6, 3, 7}, {0, 0, 1, 0}},
        {"%y = leaky_relu %x {alpha=0.5}", {0, 1, -1, 2}, {0.5, 1, 0.5, 1}},
        {"%y = abs %x", {0, 1, -1, 2}, {0, 1, -1, 1}},
        {"%y = reduce_max %x {axes=[3]}", {2, 1, 2, 0}, {0.5, 0, 0.5, 0}},
        {"%y = max_pool %x {kernel=[1,4]}", {1, 2, 2, 0}, {0, 1, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        IrDiag diag;
        ir_diag_init(&diag, "kinks");
        IrArena *a = ir_arena_new(&diag);
        GradCase c = {cases[i].body, "%x: T[1,1,1,4]", cases[i].body, 0, 0};
        IrGraph *g = grad_parse(a, &c, "f32");
        PassContext ctx = {.scratch = a, .prog = g->prog};
        AutodiffSeed seed = {g->outputs[0], NULL};
        IrValue *grad;
        CHECK(pass_autodiff(&ctx, g, &(AutodiffSpec){1, 1, &seed, g->inputs}, &grad));
        ir_output(g, grad);
        IrTensor x = ir_tensor_new(a, &g->inputs[0]->type, 1), out[2];
        for (int k = 0; k < 4; k++) {
            ir_tensor_set(&x, k, cases[i].x[k]);
        }
        CHECK_STR_EQ(ir_eval(g, 1, &x, out, a, NULL, NULL), NULL);
        for (int k = 0; k < 4; k++) {
            if (!CHECK_NEAR(ir_tensor_get(&out[1], k), cases[i].dx[k], 0)) {
                fprintf(stderr, "  %s, element %d\n", cases[i].body, k);
            }
        }
        ir_arena_free(a);
    }
}

int main(void) {
    CHECK_RUN(one_operand);
    CHECK_RUN(two_operands);
    CHECK_RUN(reductions);
    CHECK_RUN(movement);
    CHECK_RUN(views);
    CHECK_RUN(random_graphs);
    CHECK_RUN(reports_all_without_gradient);
    CHECK_RUN(zeros_where_nothing_depends);
    CHECK_RUN(kinks_and_ties);
    return check_done();
}
