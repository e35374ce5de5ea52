// Products of 8-bit integers, casts within bodies and means of integers in the reference evaluator,
// by values worked out by hand. Operands are constants; each case is one node.
#include "tests/check.h"
#include "tests/ir/ir_text.h"
#include <math.h>

enum { MOST = 16 };

typedef struct Case {
    const char *consts, *node, *type;
    int n;
    double want[MOST];
} Case;

#define X22 "const %x: u8[1,1,2,2] = [10, 20, 30, 255]\n"
#define W22 "const %w: i8[1,1,2,2] = [1, -1, 2, -128]\n"
#define REQUANTIZE                                                                                 \
    "cast(acc, to=f32), mul(s0, 3), round(s1), add(s2, 4), clip(s3, min=0, max=255), cast(s4, "    \
    "to=u8)"

static const Case cases[] = {
    {"const %x: f32[2] = [1, -2]\n",
     "bitcast %x {to=i32}",
     "i32[2]",
     2,
     {1065353216, -1073741824}},
    // 10 - 20 + 60 - 255 * 128
    {X22 W22, "conv %x, %w", "i32[1,1,1,1]", 1, {-32590}},
    // 0 - 10 + 40 - 245 * 128
    {X22 W22, "conv %x, %w {zero=10}", "i32[1,1,1,1]", 1, {-31330}},
    // padding takes no part: 0 * -128, 2 * 0 - 128 * 10, -0 - 128 * 20
    {X22 W22 "const %b: i32[1] = [7]\n",
     "conv %x, %w, %b {pad=[1,1,0,0], zero=10}",
     "i32[1,1,2,2]",
     4,
     {7, -1273, -2553, -31323}},
    {"const %x: i8[1,2,1,2] = [-128, 127, 3, -4]\nconst %w: i8[2,1,1,1] = [-128, 5]\n",
     "conv %x, %w {group=2, zero=-1}",
     "i32[1,2,1,2]",
     4,
     {16256, -16384, 20, -15}},
    {"const %x: u8[1,1,1,1] = [1]\nconst %w: i8[1,1,1,1] = [1]\nconst %b: i32[1] = [2147483647]\n",
     "conv %x, %w, %b",
     "i32[1,1,1,1]",
     1,
     {-2147483648.0}},
    {"const %x: u8[2,3] = [1, 2, 3, 255, 0, 128]\nconst %w: i8[3,2] = [1, -1, 2, -2, -128, 127]\n",
     "matmul %x, %w",
     "i32[2,2]",
     4,
     {-379, 376, -16129, 16001}},
    {"const %x: u8[2,3] = [1, 2, 3, 255, 0, 128]\nconst %w: i8[2,3] = [1, 2, -128, -1, -2, 127]\n"
     "const %b: i32[2] = [1000000, -1]\n",
     "matmul %x, %w, %b {trans_b=1, zero=2}",
     "i32[2,2]",
     4,
     {999871, 127, 984121, 15752}},
    {"const %x: i8[1,2] = [-128, 127]\nconst %w: i8[2,1] = [-128, 127]\n",
     "matmul %x, %w",
     "i32[1,1]",
     1,
     {32513}},
    // 3 * .5 = 1.5 and 5 * .5 = 2.5: to the even neighbour, then the zero point
    {"const %x: u8[1,1,1,4] = [3, 5, 255, 0]\nconst %w: i8[1,1,1,1] = [1]\n"
     "const %s: f32[] = splat(0.5)\nconst %z: f32[] = splat(200)\n",
     "conv %x, %w, _, %s, %z {then=[" REQUANTIZE "]}",
     "u8[1,1,1,4]",
     4,
     {202, 202, 255, 200}},
    // a residual of u8 with a zero point and a scale of its own: 4 * 2 + (r - 128) * 3
    {"const %x: u8[1,1,1,2] = [4, 4]\nconst %w: i8[1,1,1,1] = [1]\nconst %r: u8[1,1,1,2] = [130, "
     "120]\n"
     "const %s: f32[] = splat(2)\nconst %z: f32[] = splat(128)\n"
     "const %t: f32[] = splat(3)\n",
     "conv %x, %w, _, %r, %s, %z, %t {then=[cast(acc, to=f32), mul(s0, 4), cast(3, to=f32), "
     "sub(s2, 5), "
     "mul(s3, 6), add(s1, s4), relu(s5), cast(s6, to=u8)]}",
     "u8[1,1,1,2]",
     2,
     {14, 0}},
    {"const %x: u8[1,1,2,2] = [1, 2, 255, 0]\n",
     "avg_pool %x {kernel=[2,2], pad=[1,1,0,0], to=f32}",
     "f32[1,1,2,2]",
     4,
     {1, 1.5, 128, 64.5}},
    {"const %x: u8[1,1,2,2] = [1, 2, 255, 1]\n",
     "reduce_mean %x {axes=[2,3], to=f32}",
     "f32[1,1,1,1]",
     1,
     {64.75}},
    {"const %x: i8[1,1,2,2] = [-128, -128, 0, 1]\n",
     "reduce_sum %x {axes=[2,3], to=i32}",
     "i32[1,1,1,1]",
     1,
     {-255}},
    {"const %x: u8[1,1,2,2] = [1, 2, 255, 1]\n",
     "reduce_mean %x {axes=[2,3]}",
     "u8[1,1,1,1]",
     1,
     {64}},
    {"const %x: u8[1,1,2,2] = [1, 2, 255, 1]\nconst %s: f32[] = splat(2)\n",
     "reduce_mean %x, %s {axes=[2,3], to=f32, then=[mul(acc, 1), cast(s0, to=i8)]}",
     "i8[1,1,1,1]",
     1,
     {127}},
    // casts: truncate, saturate, NaN to 0; to bf16 and back; bool
    {"const %x: f32[6] = [-5, 300, 2.9, 0x7fc00000, -0.5, 255]\n",
     "map %x {body=[cast(0, to=u8)]}",
     "u8[6]",
     6,
     {0, 255, 2, 0, 0, 255}},
    {"const %x: f32[4] = [-200, 200, -2.9, inf]\n",
     "map %x {body=[cast(0, to=i8), cast(s0, to=f32)]}",
     "f32[4]",
     4,
     {-128, 127, -2, 127}},
    {"const %x: f32[3] = [1.00390625, 1.01171875, 3]\n",
     "map %x {body=[cast(0, to=bf16), cast(s0, to=f32)]}",
     "f32[3]",
     3,
     {1, 1.015625, 3}},
    {"const %x: f32[3] = [0, -0.25, 7]\nconst %i: i32[3] = [258, -1, 5]\n",
     "map %x, %i {body=[cast(0, to=bool), cast(1, to=u8), cast(s1, to=i32), where(s0, s2, 1)]}",
     "i32[3]",
     3,
     {258, 255, 5}},
    // 1.25 / .5 = 2.5, -.75 / .5 = -1.5: to even; per channel; saturated; NaN to 0
    {"const %x: f32[5] = [1.25, -0.75, 1000, -1000, 0x7fc00000]\nconst %s: f32[] = "
     "splat(0.5)\nconst %z: i8[] = [-3]\n",
     "quantize %x, %s, %z {to=i8}",
     "i8[5]",
     5,
     {-1, -5, 127, -128, 0}},
    {"const %x: f32[2,2] = [1, 2, 1, 2]\nconst %s: f32[2,1] = [1, 0.5]\n",
     "quantize %x, %s {to=u8}",
     "u8[2,2]",
     4,
     {1, 2, 2, 4}},
    {"const %x: u8[2,2] = [1, 2, 255, 0]\nconst %s: f32[2,1] = [1, 0.5]\nconst %z: u8[2,1] = [1, "
     "255]\n",
     "dequantize %x, %s, %z",
     "f32[2,2]",
     4,
     {0, 1, 0, -127.5}},
    {"const %x: i32[2] = [16777217, 5]\nconst %s: f32[] = splat(0.5)\nconst %z: i32[] = "
     "[16777216]\n",
     "dequantize %x, %s, %z",
     "f32[2]",
     2,
     {0.5, -8388605.5}},
    {"const %x: i16[1] = [-32768]\nconst %s: f32[] = splat(2)\n",
     "dequantize %x, %s",
     "f32[1]",
     1,
     {-65536}},
    // each step is a float32: 0.1 * 3 is 0.3 then, not a little less
    {"const %x: f32[] = splat(0.1)\nconst %k: f32[] = splat(3)\nconst %m: f32[] = [0.3]\n",
     "map %x, %k, %m {body=[mul(0, 1), sub(s0, 2)]}",
     "f32[]",
     1,
     {0}},
};

static void check_case(const Case *c) {
    TextCase t;
    char text[2048], type[160];
    text_open(&t);
    snprintf(text, sizeof text, "program \"p\"\n%sgraph g() -> (%%y) {\n  %%y = %s\n}\n", c->consts,
             c->node);
    IrProgram *p = text_parse(&t, text);
    IrTensor out;
    if (!CHECK(p != NULL)) {
        fprintf(stderr, "  %s\n  %s\n", c->node, text_log(&t));
    } else {
        CHECK_STR_EQ(ir_type_print(&p->graphs[0]->outputs[0]->type, type, sizeof type), c->type);
        const char *once = text_print(&t, p);
        IrProgram *again = text_parse(&t, once);
        CHECK(again && strcmp(text_print(&t, again), once) == 0);
        CHECK_STR_EQ(ir_eval(p->graphs[0], 1, NULL, &out, t.arena, NULL, NULL), NULL);
        CHECK_INT_EQ(ir_tensor_elems(&out), c->n);
        for (int i = 0; i < c->n; i++) {
            if (!CHECK_NEAR(ir_tensor_get(&out, i), c->want[i], 0)) {
                fprintf(stderr, "  element %d of %s\n", i, c->node);
            }
        }
    }
    text_close(&t);
}

static void gives_what_was_worked_out(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_case(&cases[i]);
    }
}

int main(void) {
    CHECK_RUN(gives_what_was_worked_out);
    return check_done();
}
