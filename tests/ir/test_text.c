// The text form: printing and parsing are inverse, errors say where, and no text does harm.
#include "tests/check.h"
#include "tests/ir/ir_text.h"
#include <stdint.h>

static const char EVERYTHING[] =
    "program \"every \\\"thing\\\"\"\n"
    "meta \"author\" = \"a\\x0ab\"\n"
    "const %w: f32[8,3,3,3] = rand(7) trainable origin \"conv1.weight\"\n"
    "const %b: f32[8] = splat(0.1)\n"
    "const %k: i64[2,2] = [4, -1, 9223372036854775807, -9223372036854775808]\n"
    "const %\"12\": u64[1] = [18446744073709551615]\n"
    "const %f: f32[7] = [0.1, -0, 1e-45, 3.4028235e+38, inf, -inf, 0x7fc00001]\n"
    "const %d: f64[2] = [0.1, 0x7ff8000000000000]\n"
    "const %h: f16[3] = [0.1, 65504, 6e-08]\n"
    "const %t: bool[2] = [1, 0]\n"
    "const %f2: f32[2] = splat(2)\n"
    "const %none: u8[0,3] = []\n"
    "const %\"_\": i8[] = [-128]\n"
    "\n"
    "graph infer(%x: f32[N,3,9,9], %\"an input\": f32[N,8,9,9]{nChw8c} at input 1) -> (%y, %4 as "
    "\"x\") "
    "arena 64N no_reuse 128N+7 {\n"
    "  %c: f32[N,8,9,9]{nChw8c} = conv %x, %w, %b, %\"an input\" {stride=[1,1], pad=[1,1,1,1], "
    "then=[add(acc, 3), clip(s0, min=-inf, max=6.1)], algo=direct, tile=[rows=1,cols=14,vecs=-2]} "
    "@\"conv1\"\n"
    "  %3: f32[N,8,9,9] in %z+8 at arena 64N+3 = map %c, %c {body=[mul(0, 1), hard_sigmoid(s0, "
    "alpha=0.2, beta=0.5), cast(s1, to=u8), cast(s2, to=f32)]} @\"a\\\\b\"\n"
    "  %z: f32[N,16,9,9] at output 0 = concat %3, %3 {axis=1, in_place=1}\n"
    "  %y: f32[N,1296] in %z+0 = reshape %z {shape=[N,1296]}\n"
    "  %4: f32[2N,16,9,9] = concat %z, %z {axis=0} @\"gelu\xc3\xa9\\x01\"\n"
    "}\n"
    "\n"
    "graph \"second one\"(%x: f32[2]) -> (%\"w 2\") {\n"
    "  %9: f32[2] at const = pad %x {pad=[0,0], mode=edge, value=nan}\n"
    "  %\"w 2\": f32[2] = add %9, %f2\n"
    "}\n";

static void round_trip(TextCase *t, const char *text) {
    IrProgram *p = text_parse(t, text);
    if (CHECK(p != NULL)) {
        const char *once = text_print(t, p);
        IrProgram *again = text_parse(t, once);
        CHECK_STR_EQ(text_log(t), "");
        if (CHECK(again != NULL)) {
            CHECK_STR_EQ(text_print(t, again), once);
        }
    } else {
        fprintf(stderr, "  %s\n", text_log(t));
    }
}

static void prints_what_it_reads(void) {
    TextCase t;
    text_open(&t);
    IrProgram *p = text_parse(&t, EVERYTHING);
    CHECK_STR_EQ(text_log(&t), "");
    if (CHECK(p != NULL)) {
        CHECK_STR_EQ(text_print(&t, p), EVERYTHING);
        CHECK_INT_EQ(p->graphs[0]->arena_bytes_no_reuse.c, 7);
        CHECK(p->consts[0]->trainable);
        CHECK_STR_EQ(p->consts[0]->origin, "conv1.weight");
        CHECK_STR_EQ(p->graphs[0]->outputs[1]->name, "x");
        CHECK_STR_EQ(p->meta[0].value, "a\nb");
    }
    text_close(&t);
}

static void types_and_names_may_be_left_out(void) {
    TextCase t;
    text_open(&t);
    IrProgram *p = text_parse(&t, "// no header\n"
                                  "graph g(%x:f32[N,4])->(%y){;comment\n"
                                  "%y=relu %x// another\n}");
    CHECK_STR_EQ(text_log(&t), "");
    CHECK_STR_EQ(p ? text_print(&t, p) : "",
                 "program \"\"\n\ngraph g(%x: f32[N,4]) -> (%y) {\n  %y: f32[N,4] = relu %x\n}\n");
    round_trip(&t, "graph g(%0: f32[N], %1: f32[N]) -> (%2) { %2 = add %0, %1 }");
    round_trip(&t, "graph g(%x: f32[N]) -> (%x, %x as \"x2\") { }");
    round_trip(&t, "graph g(%x: f32[N]) -> (%y, %y as \"y2\") { %y = relu %x }");
    round_trip(&t, "const %c: f32[2] = splat(1) graph g() -> (%c) { }");
    round_trip(&t, "const %c: f32[2] = splat(1) graph g(%3 as \"c\": f32[2]) -> (%4 as \"c\") { %4 "
                   "= add %3, %c }");
    text_close(&t);
}

// Names that collide, numbers as names, and all bytes.
static void odd_names_survive(void) {
    TextCase t;
    text_open(&t);
    IrProgram *p = ir_program_new(t.arena, "");
    IrType type = {IR_F32, {.rank = 1, .dim = {{0, 1}}}, 0};
    ir_const_splat(p, "w", (IrType){.dtype = IR_F32}, 1);
    IrConst *w2 = ir_const_splat(p, "w", (IrType){.dtype = IR_F32}, 2);
    IrConst *w3 = ir_const_splat(p, "", (IrType){.dtype = IR_F32}, 3);
    IrGraph *g = ir_graph_new(p, "");
    IrValue *x = ir_input(g, "w", type);
    char bytes[256];
    for (int i = 0; i < 255; i++) {
        bytes[i] = (char)(i + 1);
    }
    bytes[255] = 0;
    IrBuilder b = {.graph = g, .name = bytes};
    IrValue *v = ir_build2(&b, IR_OP_ADD, x, ir_const_value(g, w2));
    v->name = "123";
    v = ir_build2(&b, IR_OP_ADD, v, ir_const_value(g, w3));
    v->name = "123";
    v = ir_build1(&b, IR_OP_RELU, v);
    v->name = bytes;
    ir_output(g, v);
    ir_output(g, x);
    const char *text = text_print(&t, p);
    IrProgram *again = text_parse(&t, text);
    CHECK_STR_EQ(text_log(&t), "");
    if (CHECK(again != NULL)) {
        CHECK_STR_EQ(text_print(&t, again), text);
        CHECK_STR_EQ(again->graphs[0]->inputs[0]->name, "w");
        CHECK_STR_EQ(again->graphs[0]->outputs[0]->name, bytes);
        CHECK_STR_EQ(again->graphs[0]->outputs[1]->name, "w");
        CHECK_STR_EQ(again->graphs[0]->first->name, bytes);
    }
    text_close(&t);
}

static void large_data_is_a_reference(void) {
    TextCase t;
    text_open(&t);
    static float data[65];
    IrProgram *p = ir_program_new(t.arena, "p");
    ir_const_new(p, "c", (IrType){IR_F32, {.rank = 1, .dim = {{65, 0}}}, 0}, data)->origin =
        "net.w";
    const char *text = text_print(&t, p);
    CHECK(strstr(text, "const %c: f32[65] = ref(0x") &&
          strstr(text, ", \"net.w\") origin \"net.w\"\n"));
    IrProgram *again = text_parse(&t, text);
    CHECK_STR_EQ(text_log(&t),
                 "t.ir:2:21: warning: the text lacks the data of 1 constant from here on: "
                 "random values stand for it");
    CHECK(again && again->consts[0]->kind == IR_CONST_RAND);
    text_close(&t);
}

static void constants_hold_their_values(void) {
    TextCase t;
    text_open(&t);
    IrProgram *p = text_parse(&t, "const %a: f16[2] = splat(0.1)\nconst %b: i8[3] = [1, -2, 3]\n"
                                  "const %c: f32[1000] = rand(3)\nconst %d: i32[100] = rand(3)\n"
                                  "const %e: f32[] = splat(5) const %f: u8[2] = splat(300)\n"
                                  "const %big: f32[1000000,1000000] = splat(0.25)");
    if (CHECK(p != NULL)) {
        CHECK_NEAR(ir_const_scalar(p, p->consts[0], 1), 0.0999755859375, 0);
        CHECK_NEAR(ir_const_scalar(p, p->consts[1], 1), -2, 0);
        double low = 1, high = -1, sum = 0;
        for (int i = 0; i < 1000; i++) {
            double lazy = ir_const_scalar(p, p->consts[2], i);
            low = lazy < low ? lazy : low;
            high = lazy > high ? lazy : high;
            sum += lazy;
        }
        CHECK(low >= -1 && low < -0.9 && high < 1 && high > 0.9 && fabs(sum) < 100);
        double lazy = ir_const_scalar(p, p->consts[2], 999);
        CHECK_NEAR(((const float *)ir_const_data(p, p->consts[2]))[999], lazy, 0);
        CHECK(ir_const_data(p, p->consts[2]) == ir_const_data(p, p->consts[2]));
        for (int i = 0; i < 100; i++) {
            double x = ir_const_scalar(p, p->consts[3], i);
            CHECK(x >= -8 && x < 8 && x == floor(x));
        }
        CHECK_NEAR(ir_const_scalar(p, p->consts[5], 0), 255, 0);
        CHECK_NEAR(ir_const_scalar(p, p->consts[6], 999999), 0.25, 0);
        IrGraph *g = ir_graph_new(p, "g");
        CHECK(ir_const_is_scalar(ir_const_value(g, p->consts[4])));
        CHECK(!ir_const_is_scalar(ir_const_value(g, p->consts[1])));
        CHECK(!ir_const_is_scalar(NULL));
        CHECK(ir_const_value(g, p->consts[1]) == ir_const_value(g, p->consts[1]));
    }
    text_close(&t);
}

// ---------------------------------------------------------------- errors

typedef struct Bad {
    const char *text, *log;
} Bad;

static const Bad BAD[] = {
    {"hello", "1:1: expected 'graph', found 'hello'"},
    {"program x", "1:9: expected '\"', found 'x'"},
    {"program \"x", "1:9: the string does not end on its line"},
    {"program \"a\\q\"", "1:11: the string has an unknown escape"},
    {"program \"a\\x00\"", "1:11: the string has a NUL byte"},
    {"const %3: f32[] = splat(1)", "1:7: a constant needs a name"},
    {"const %a: f32[] = splat(1)\n const %a: f32[] = splat(1)", "2:8: %a is defined twice"},
    {"const %a: f32[N] = splat(1)", "1:7: a constant has fixed dimensions and no layout"},
    {"const %a: f32[1,16]{nChw16c} = splat(1)",
     "1:7: a constant has fixed dimensions and no layout"},
    {"const %a: f33[N] = splat(1)", "1:11: 'f33' is no element type"},
    {"const %a: f32[x] = splat(1)", "1:15: expected a dimension, found 'x'"},
    {"const %a: f32[Nx] = splat(1)", "1:15: expected a dimension, found 'Nx'"},
    {"const %a: f32[-1] = splat(1)", "1:15: expected a dimension, found '-'"},
    {"const %a: f32[1,2,3,4,5,6,7,8,9] = splat(1)", "1:31: more than 8 dimensions"},
    {"const %a: f32[9223372036854775807,2] = splat(1)",
     "1:11: f32[9223372036854775807,2] is too large, or its size is not affine in N"},
    {"const %a: f32[9223372036854775808] = splat(1)", "1:15: the number is too large"},
    {"const %a: f32[2] = splat(1", "1:27: expected ')', found the end of the text"},
    {"const %a: f32[2] = splat(x)", "1:26: expected a number, found 'x'"},
    {"const %a: f32[2] = splat(0x1p3)", "1:26: expected a number, found '0x1p3'"},
    {"const %a: f32[2] = zero", "1:20: expected 'rand', found 'zero'"},
    {"const %a: f32[2] = [1]", "1:22: expected ',', found ']'"},
    {"const %a: f32[1] = [1, 2]", "1:22: expected ']', found ','"},
    {"const %a: f32[1000000] = [1]", "1:26: the constant needs 1000000 elements"},
    {"const %a: f32[1] = [0x100000000]", "1:21: too many bits"},
    {"const %a: i8[1] = [128]", "1:20: the number does not fit i8"},
    {"const %a: u8[1] = [-1]", "1:20: the number does not fit u8"},
    {"const %a: i8[1] = [1.5]", "1:21: expected ']', found '.5'"},
    {"graph g(%x: f32[2]{nChw16c}) -> (%x) {}",
     "1:13: f32[2]{nChw16c} cannot be stored in blocks of 16 channels"},
    {"graph g(%x: f32[2,2]{NHWC}) -> (%x) {}",
     "1:22: expected a layout such as nChw16c, found 'NHWC'"},
    {"graph g(%x: f32[2,2]{nChw0c}) -> (%x) {}",
     "1:13: f32[2,2]{nChw1048576c} cannot be stored in blocks of 1048576 channels"},
    {"graph g(%x: f32[2], %x: f32[2]) -> (%x) {}", "1:21: %x is defined twice"},
    {"graph g(%x: f32[2]) -> () {}", "1:7: graph 'g': it has no outputs"},
    {"graph g(%x: f32[2]) -> (%y) {}", "1:25: %y is not defined"},
    {"graph g(%x: f32[2]) -> (%y) {", "1:30: expected '%', found the end of the text"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = relu %z\n}", "2:13: %z is not defined before its use"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = relu %y\n}", "2:13: %y is not defined before its use"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = rely %x\n}", "2:8: 'rely' is no op"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = relu\n}", "2:8: relu takes 1 operands, not 0"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = relu %x, %x\n}", "2:8: relu takes 1 operands, not 2"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = relu %x {z=1}\n}", "2:17: 'z' is no attribute"},
    {"graph g(%x: f32[1,1,1,1]) -> (%y) {\n  %y = conv %x, %x {algo=fast}\n}",
     "2:26: 'fast' is no way to compute a convolution"},
    {"graph g(%x: f32[1,1,1,1]) -> (%y) {\n  %y = conv %x, %x {tile=[rows=1,depth=2]}\n}",
     "2:34: a tile has no such depth"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = elu %x {alpha=1, alpha=2}\n}",
     "2:8: attribute alpha stands twice, or out of order"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = relu %x %x\n}", "3:1: expected '=', found '}'"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y: f32[3] = relu %x\n}", "2:7: the type is f32[2]"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y, %z = relu %x\n}", "2:12: relu has 1 results, not 2"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %x = relu %x\n}", "2:3: %x is defined twice"},
    {"const %c: f32[] = splat(1)\ngraph g(%x: f32[2]) -> (%y) {\n  %c = relu %x\n}",
     "3:3: %c is defined twice"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %4194304 = relu %x\n}",
     "2:3: values are numbered up to 4194303"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %1a = relu %x\n}",
     "2:3: a name that starts with a digit must be quoted"},
    {"graph g(%x: f32[2]) -> (%y) {\n  % = relu %x\n}", "2:3: expected a name behind %"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = map %x {body=[conv(0)]}\n}",
     "2:22: 'conv' is no elementwise op"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = map %x {body=[elu(0)]}\n}",
     "2:27: expected ',', found ')'"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = map %x {body=[add(0)]}\n}",
     "2:27: expected ',', found ')'"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y = map %x {body=[relu(65536)]}\n}",
     "2:27: there is no such operand or step"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y in %z+0 = relu %x\n}", "2:9: %z is not defined"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y in %y+0 = relu %x\n}",
     "1:7: graph 'g': node '' (relu): value number 1 is a view of itself, or of nothing here"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %a in %y+0 = relu %x\n  %y in %a+0 = relu %a\n}",
     "1:7: graph 'g': node '' (relu): value number 1 is a view of itself, or of nothing here"},
    {"graph g(%x: f32[1,2]) -> (%y) {\n  %a in %y+1 = relu %x\n  %y = relu %a\n}",
     "1:7: graph 'g': node '' (relu): value number 1 does not fit value number 2 that it is a view "
     "of"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y at output -1 = relu %x\n}",
     "2:15: there is no such input or output"},
    {"graph g(%x: f32[2]) -> (%y) {\n  %y at home = relu %x\n}",
     "2:9: expected 'output', found 'home'"},
    {"graph g(%x: f32[2], %5 as \"x\": f32[2]) -> (%y) {\n  %y = add %x, %5\n}",
     "1:7: graph 'g': two inputs are called 'x'"},
};

static void errors_say_where(void) {
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        TextCase t;
        text_open(&t);
        IrProgram *p = text_parse(&t, BAD[i].text);
        CHECK(!p);
        CHECK_INT_EQ(t.diag.errors, 1);
        CHECK_STR_EQ(t.diag.file, "t.ir");
        CHECK_STR_EQ(text_log(&t), ir_sprintf(t.arena, "t.ir:%s", BAD[i].log));
        text_close(&t);
    }
}

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

// Truncated at every byte, and with bytes changed, moved and repeated: an error or a program that
// prints and parses, never more. The text has no NUL behind it.
static void no_text_does_harm(void) {
    static const char ALPHABET[] = "%\"{}[]()=,:;/\\+-_@N0123456789abcdefxyz \n\x00\xff";
    uint64_t seed = 1;
    const char *text = EVERYTHING;
    size_t n = strlen(text);
    int parsed = 0;
    for (size_t i = 0; i < n + 4000; i++) {
        TextCase t;
        text_open(&t);
        size_t len = i < n ? i : n;
        char *copy = malloc(len ? len : 1);
        memcpy(copy, text, len);
        for (uint32_t k = i < n ? 0 : 1 + next_random(&seed) % 3; k; k--) {
            size_t at = next_random(&seed) % len, from = next_random(&seed) % len;
            size_t run = next_random(&seed) % 20;
            if (next_random(&seed) % 2) {
                copy[at] = ALPHABET[next_random(&seed) % (sizeof ALPHABET - 1)];
            } else if (at + run < len && from + run < len) {
                memmove(copy + at, copy + from, run);
            }
        }
        IrProgram *p = ir_parse(t.arena, "t.ir", copy, len);
        parsed += p != NULL;
        if (p) {
            round_trip(&t, text_print(&t, p));
        } else {
            CHECK(t.diag.errors == 1 && !strchr(text_log(&t), '\n'));
        }
        free(copy);
        text_close(&t);
    }
    CHECK(parsed > 100); // not all of them are refused at once
}

// Long chains and long lists take time linear in their length, and no stack.
static void size_is_no_problem(void) {
    TextCase t;
    text_open(&t);
    enum { NODES = 30000 };
    char *text = malloc(NODES * 40 + 200), *at = text;
    at += sprintf(at, "graph g(%%v0: f32[N,4]) -> (%%v%d) {\n", NODES);
    for (int i = 0; i < NODES; i++) {
        at += sprintf(at, "%%v%d in %%v%d+0 = relu %%v%d\n", i + 1, i, i);
    }
    at += sprintf(at, "}\n");
    IrProgram *p = ir_parse(t.arena, "t.ir", text, (size_t)(at - text));
    CHECK_STR_EQ(text_log(&t), "");
    if (CHECK(p != NULL)) {
        int64_t channel;
        CHECK(ir_view_root(p->graphs[0]->outputs[0], &channel) == p->graphs[0]->inputs[0]);
        CHECK_INT_EQ(p->graphs[0]->n_nodes, NODES);
    }
    free(text);
    text_close(&t);
}

int main(void) {
    CHECK_RUN(prints_what_it_reads);
    CHECK_RUN(types_and_names_may_be_left_out);
    CHECK_RUN(odd_names_survive);
    CHECK_RUN(large_data_is_a_reference);
    CHECK_RUN(constants_hold_their_values);
    CHECK_RUN(errors_say_where);
    CHECK_RUN(no_text_does_harm);
    CHECK_RUN(size_is_no_problem);
    return check_done();
}
