// Every element type in elementwise operators, comparisons, reductions, products, pools,
// normalisations and what moves data, against the evaluator; integers exactly. Ranks 0 to 8, empty
// tensors, broadcasting.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#include <stdio.h>
#include <string.h>

static const char *const dtypes[] = {"f32", "f64", "f16", "bf16", "i8",  "i16", "i32",
                                     "i64", "u8",  "u16", "u32",  "u64", "bool"};
enum { DTYPES = 13, FLOATS = 4, NUMBERS = 12, I8 = 4, U8 = 8 };

static const CaseTarget targets[] = {{"native", 2}, {"x86-64-v3", 0}};
enum { TARGETS = sizeof targets / sizeof *targets };

// Every text (NULL ends) with T for the dtype, for dtypes [first, end).
static void check_texts(const char *const *texts, int first, int end, bool empty) {
    for (int t = 0; t < TARGETS; t++) {
        Rig *r = rig_new(targets[t].mcpu, targets[t].opt_level);
        int k = 0;
        for (int d = first; d < end; d++) {
            for (int i = 0; texts[i]; i++) {
                char text[4096], *to = text;
                for (const char *p = texts[i]; *p; p++) {
                    to += *p == 'T' ? sprintf(to, "%s", dtypes[d]) : sprintf(to, "%c", *p);
                }
                case_add(r, k++, "%s", text);
            }
        }
        CHECK_INT_EQ(case_check(r, 4e-6, empty), 0);
    }
}

// ---------------------------------------------------------------- elementwise

static const char *const numbers[] = {
    "in %x: T[N,20]\nin %z: T[20]\n%a = add %x, %z\n%s = sub %x, %z\n%m = mul %x, %z\n"
    "%d = div %x, %z\nout %a\nout %s\nout %m\nout %d",
    "in %x: T[N,3,1]\nin %z: T[5]\n%a = maximum %x, %z\n%s = minimum %x, %z\nout %a\nout %s",
    "in %x: T[N,20]\n%a = relu %x\n%b = abs %x\n%c = neg %x\n%d = clip %x {min=-2.5, max=3.5}\n"
    "out %a\nout %b\nout %c\nout %d",
    "in %x: T[N,7]\nin %z: T[7]\n%y = prelu %x, %z\nout %y",
    // comparisons with operands on both sides of broadcasting
    "in %x: T[N,1,4]\nin %z: T[3,1]\n%e = equal %x, %z\n%l = less %x, %z\n%g = greater %z, %x\n"
    "out %e\nout %l\nout %g",
    // a chain of several dtypes in one map
    "in %x: T[N,20]\nin %z: T[20]\n%l = less %x, %z\n%m = mul %x, %z\n%n = not %l\n"
    "%y = where %n, %m, %z\n%w = add %y, %x\nout %w",
    NULL};
static const char *const anything[] = {
    "in %x: T[N,1,4]\nin %z: T[3,1]\n%e = equal %x, %z\nout %e",
    "in %c: bool[N,1]\nin %x: T[4]\nin %z: T[N,1]\n%y = where %c, %x, %z\nout %y",
    "in %c: bool[]\nin %x: T[N,4]\nin %z: T[]\n%y = where %c, %x, %z\nout %y",
    "in %c: bool[N,3,5,6]\nin %x: T[N,3,5,6]\nin %z: T[3,1,1]\n%y = where %c, %x, %z\nout %y",
    NULL};
static const char *const floats[] = {
    "in %x: T[N,20]\n%a = leaky_relu %x {alpha=0.1}\n%b = elu %x {alpha=1.5}\n%c = sigmoid %x\n"
    "%d = hard_sigmoid %x {alpha=0.3, beta=0.4}\n%e = hard_swish %x\n%f = tanh %x\n"
    "out %a\nout %b\nout %c\nout %d\nout %e\nout %f",
    "in %x: T[N,20]\n%a = erf %x\n%b = exp %x\n%p = abs %x\n%c = log %p\n%d = sqrt %p\n"
    "%e = floor %x\n%f = ceil %x\nout %a\nout %b\nout %c\nout %d\nout %e\nout %f",
    "in %x: T[N,20]\nin %z: T[20]\n%p = abs %x\n%y = pow %p, %z\n%r = relu_grad %x, %z\n"
    "out %y\nout %r",
    NULL};

// Up to x^32, which wraps around in every integer type.
#define POWERS                                                                                     \
    "in %x: T[N,5]\n%a = mul %x, %x\n%b = mul %a, %a\n%c = mul %b, %b\n%d = mul %c, %c\n"          \
    "%e = mul %d, %d\n%w = sub %e, %x\n"
static const char *const wraps[] = {
    POWERS "%p = add %w, %d\n%l = less %w, %d\n%g = greater %w, %x\n%q = div %w, %x\n"
           "%i = equal %e, %w\nout %p\nout %l\nout %g\nout %q\nout %i",
    POWERS "%s = reduce_sum %w {axes=[1]}\n%m = reduce_max %w {axes=[1]}\n"
           "%n = reduce_min %w {axes=[1]}\n%p = reduce_prod %w {axes=[1]}\n"
           "out %s\nout %m\nout %n\nout %p",
    POWERS "in %z: T[5,3]\n%y = matmul %w, %z\n%r = transpose %w {perm=[1,0]}\n"
           "%s = matmul %w, %z\nout %y\nout %r\nout %s",
    POWERS "%y = cast %w {to=i8}\n%z = cast %w {to=u64}\n%v = cast %w {to=f64}\n"
           "%u = cast %w {to=bool}\n%t = cast %w {to=i32}\nout %y\nout %z\nout %v\nout %u\nout %t",
    NULL};

static void elementwise(void) {
    check_texts(numbers, 0, NUMBERS, true);
    check_texts(anything, 0, DTYPES, true);
    check_texts(floats, 0, FLOATS, true);
    check_texts(wraps, FLOATS, NUMBERS, true);
}

// ---------------------------------------------------------------- movement

static const char *const moves[] = {
    "in %x: T[N,5,7]\n%y = transpose %x {perm=[2,0,1]}\nout %y",
    "in %x: T[N,7,9]\n%y = slice %x {start=[0,6,8], step=[1,-2,-1], shape=[N,4,9]}\nout %y",
    "in %x: T[N,5]\nin %z: T[N,3]\n%y = concat %x, %z, %x {axis=1}\nout %y",
    "in %x: T[N,5]\nin %z: T[2,5]\n%y = concat %x, %z {axis=0}\n%w = slice %y {start=[1,0], "
    "step=[1,1], shape=[N,5]}\nout %w",
    "in %x: T[N,9,4]\n%y = pad %x {pad=[0,2,1,0,1,0], value=1}\nout %y",
    "in %x: T[N,9]\n%y = pad %x {pad=[0,2,0,3], mode=edge}\n"
    "%z = pad %x {pad=[0,2,0,3], mode=reflect}\n%w = pad %x {pad=[0,-2,0,-3]}\n"
    "out %y\nout %z\nout %w",
    "in %x: T[N,1,5]\n%y = expand %x {shape=[N,7,5]}\nout %y",
    "in %x: T[N,6,5]\n%y = reshape %x {shape=[N,30]}\n%z = copy %y\nout %y\nout %z",
    "in %x: T[N,6,5]\nconst %i: i64[3] = [-1, 0, -6]\n%y = gather %x, %i {axis=1}\nout %y",
    "in %x: T[N,6,5]\nconst %i: i32[2,1] = [-5, 4]\n%y = gather %x, %i {axis=2}\nout %y",
    "in %x: T[9,3]\nin %i: i64[N]\n%y = gather %x, %i {axis=0}\nout %y",
    "in %x: T[N,2,6,3,3]\n%y = transpose %x {perm=[0,2,1,3,4]}\n%z = reshape %y {shape=[N,108]}\n"
    "out %z",
    NULL};

static void movement(void) {
    check_texts(moves, 0, DTYPES, true);
}

// ---------------------------------------------------------------- reductions, products

static const char *const reductions[] = {
    "in %x: T[N,7,9]\n%y = reduce_sum %x {axes=[1], keepdims=0}\n"
    "%z = reduce_sum %x {axes=[], keepdims=1}\nout %y\nout %z",
    "in %x: T[N,7,9]\n%y = reduce_mean %x {axes=[1,2], keepdims=0}\n"
    "%z = reduce_mean %x {axes=[2], keepdims=1}\nout %y\nout %z",
    "in %x: T[N,7,9]\n%y = reduce_max %x {axes=[2], keepdims=0}\n"
    "%z = reduce_min %x {axes=[1], keepdims=1}\nout %y\nout %z",
    "in %x: T[N,3,4]\n%y = reduce_prod %x {axes=[2], keepdims=0}\nout %y",
    // an epilogue
    "in %x: T[N,7,9]\nin %z: T[7]\n%s = reduce_sum %x {axes=[2], keepdims=0}\n%a = add %s, %z\n"
    "%y = relu %a\nout %y",
    "in %x: T[N,7,9]\n%s = reduce_max %x {axes=[1,2], keepdims=1}\n%c = less %s, %x\nout %c", NULL};
static const char *const whole[] = {
    "in %x: T[4,3]\n%y = reduce_sum %x {axes=[0,1], keepdims=0}\n"
    "%z = reduce_max %x {axes=[0,1], keepdims=1}\n%m = reduce_mean %x {axes=[0], keepdims=0}\n"
    "out %y\nout %z\nout %m",
    "in %x: T[]\n%y = reduce_sum %x {axes=[], keepdims=0}\n%z = reduce_prod %x {axes=[]}\n"
    "%m = reduce_mean %x {axes=[]}\nout %y\nout %z\nout %m",
    "in %x: T[N,2,1,2,3,1,2,2]\n%y = reduce_sum %x {axes=[1,3,5,7], keepdims=0}\n"
    "%z = reduce_min %x {axes=[0,2,4,6], keepdims=1}\nout %y\nout %z",
    "in %x: T[N,0,3]\n%y = reduce_sum %x {axes=[1], keepdims=0}\n"
    "%z = reduce_prod %x {axes=[1], keepdims=1}\n%m = reduce_max %x {axes=[1], keepdims=0}\n"
    "%n = reduce_min %x {axes=[1], keepdims=0}\nout %y\nout %z\nout %m\nout %n",
    NULL};
static const char *const products[] = {
    "in %x: T[N,5]\nin %z: T[5,3]\n%y = matmul %x, %z\nout %y",
    "in %x: T[N,5]\nin %z: T[3,5]\nin %b: T[3]\n%m = matmul %x, %z, %b {trans_b=1}\n"
    "%y = relu %m\nout %y",
    "in %x: T[N,4,5]\nin %z: T[2,1,5,3]\n%y = matmul %x, %z\nout %y",
    "in %x: T[5,4]\nin %z: T[N,5,3]\nin %c: T[4,1]\n%m = matmul %x, %z {trans_a=1}\n"
    "%y = sub %m, %c\n%w = maximum %y, %c\nout %w",
    "in %x: T[N,0]\nin %z: T[0,3]\n%y = matmul %x, %z\nout %y",
    "in %x: T[N,2,3]\nconst %z: T[3,4] = rand(3)\n%y = matmul %x, %z\n%m = mul %y, %y\nout %m",
    NULL};

static void reductions_of_all(void) {
    check_texts(reductions, 0, NUMBERS, true);
    check_texts(whole, 0, NUMBERS, false);
}

static const char *const byte_products[] = { // sums are i32
    "in %x: T[N,5]\nin %z: i8[5,3]\n%y = matmul %x, %z {zero=3}\nout %y",
    "in %x: T[N,5]\nin %z: i8[3,5]\nin %b: i32[3]\n%m = matmul %x, %z, %b {trans_b=1}\n"
    "%y = relu %m\nout %y",
    "in %x: T[N,4,5]\nin %z: i8[2,1,5,3]\nin %c: i32[4,1]\n%m = matmul %x, %z {zero=127}\n"
    "%y = sub %m, %c\n%f = cast %y {to=f32}\n%w = cast %f {to=u8}\nout %w",
    "in %x: T[N,0]\nin %z: i8[0,3]\n%y = matmul %x, %z\nout %y",
    "in %x: T[N,70]\nconst %z: i8[70,40] = rand(3)\nconst %s: f32[40] = rand(4)\n"
    "%y = matmul %x, %z, _, %s {zero=1, then=[cast(acc, to=f32), mul(s0, 3), round(s1), "
    "cast(s2, to=i8)]}\nout %y",
    NULL};

static void products_of_all(void) {
    check_texts(products, 0, I8, true);
    check_texts(products, I8 + 1, NUMBERS, true);
    check_texts(byte_products, I8, I8 + 1, true);
    check_texts(byte_products, U8, U8 + 1, true);
}

// ---------------------------------------------------------------- pools, normalisations

static const char *const max_pools[] = {
    "in %x: T[N,3,7,8]\n%y = max_pool %x {kernel=[3,2], stride=[2,1], pad=[1,0,1,1]}\nout %y",
    "in %x: T[N,3,7,8]\nin %z: T[3,1,1]\n%p = max_pool %x {kernel=[2,2], stride=[2,2], ceil=1}\n"
    "%y = sub %p, %z\nout %y",
    NULL};
static const char *const float_nets[] = {
    "in %x: T[N,3,7,8]\n%y = avg_pool %x {kernel=[3,2], stride=[2,1], pad=[1,0,1,1]}\n"
    "%z = avg_pool %x {kernel=[2,2], count_pad=1, pad=[1,1,0,0]}\nout %y\nout %z",
    "in %x: T[N,3,7]\n%y = softmax %x {axis=2}\n%z = softmax %x {axis=1}\nout %y\nout %z",
    "in %x: T[N,3,7]\n%y = log_softmax %x {axis=2}\n%z = log_softmax %x {axis=1}\nout %y\nout %z",
    "in %x: T[N,3,4,5]\nin %s: T[3]\nin %b: T[3]\nin %m: T[3]\nin %v: T[3]\n%p = abs %v\n"
    "%y = batch_norm %x, %s, %b, %m, %p {eps=0.001}\nout %y",
    "in %x: T[N,3]\nin %s: T[3]\nin %b: T[3]\nin %m: T[3]\nin %v: T[3]\n%p = abs %v\n"
    "%y = batch_norm %x, %s, %b, %m, %p {eps=0.001}\nout %y",
    "in %x: T[N,3,37]\n%y = layer_norm %x {eps=0.01}\nout %y",
    "in %x: T[N,7,4,5]\n%y = lrn %x {size=3, alpha=0.1, beta=0.75, bias=1}\nout %y",
    "in %x: T[N,5,3]\n%y = lrn %x {size=4, alpha=0.5, beta=0.6, bias=2}\n"
    "%z = softmax %y {axis=0}\nout %y\nout %z",
    "in %x: T[N,3,5,5]\nconst %w: T[4,3,3,3] = rand(1)\nconst %b: T[4] = rand(2)\n"
    "%c = conv %x, %w, %b {pad=[1,1,1,1]}\n%y = relu %c\nout %y",
    "in %x: T[N,4,5,6]\nconst %w: T[4,2,2,3] = rand(1)\n"
    "%y = conv %x, %w {group=2, stride=[2,1], dilation=[2,1], pad=[0,1,1,0]}\nout %y",
    NULL};

static void networks(void) {
    for (int d = 0; d < NUMBERS; d++) {
        if (strcmp(dtypes[d], "i64") != 0 && strcmp(dtypes[d], "u64") != 0) {
            check_texts(max_pools, d, d + 1, true);
        }
    }
    check_texts(float_nets, 0, FLOATS, true);
}

// ---------------------------------------------------------------- shapes

static const char *const shapes[] = {
    // rank 0
    "in %x: T[]\nin %z: T[]\n%y = where %c, %x, %z\nin %c: bool[]\n%e = equal %x, %z\n"
    "%r = reshape %x {shape=[1,1]}\n%w = expand %x {shape=[2,3]}\n%t = copy %x\n"
    "out %y\nout %e\nout %r\nout %w\nout %t",
    "in %x: T[5]\nconst %i: i64[] = [-2]\n%y = gather %x, %i {axis=0}\nout %y",
    // empty
    "in %x: T[N,0,3]\nin %z: T[1,3]\n%e = equal %x, %z\n%t = transpose %x {perm=[2,1,0]}\n"
    "%c = concat %x, %x {axis=1}\n%p = pad %x {pad=[0,1,0,0,1,0], value=1}\n"
    "%r = reshape %x {shape=[0,7]}\nout %e\nout %t\nout %c\nout %p\nout %r",
    "in %x: T[N,0]\nin %z: T[N,3]\n%c = concat %x, %z, %x {axis=1}\n"
    "%s = slice %z {start=[0,1], step=[1,1], shape=[N,0]}\nout %c\nout %s",
    "in %x: T[4,3]\nin %i: i64[0]\n%y = gather %x, %i {axis=1}\nout %y",
    // rank 8
    "in %x: T[N,2,1,2,3,1,2,2]\nin %z: T[2,1,3,2,1,2]\n%e = equal %x, %z\n"
    "%t = transpose %x {perm=[7,6,5,4,3,2,1,0]}\n"
    "%s = slice %x {start=[0,1,0,0,2,0,1,0], step=[1,1,1,1,-2,1,-1,1], shape=[N,1,1,2,2,1,2,2]}\n"
    "out %e\nout %t\nout %s",
    NULL};

static void odd_shapes(void) {
    check_texts(shapes, 0, DTYPES, false);
}

int main(void) {
    CHECK_RUN(elementwise);
    CHECK_RUN(movement);
    CHECK_RUN(reductions_of_all);
    CHECK_RUN(products_of_all);
    CHECK_RUN(networks);
    CHECK_RUN(odd_shapes);
    return check_done();
}
