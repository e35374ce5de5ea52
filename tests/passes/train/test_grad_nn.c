// Gradients of the network ops against finite differences, ten configurations or more of each.
#include "tests/passes/train/grad_case.h"

static void convolutions(void) {
    static const GradCase cases[] = {
        {"1x1", "%x: T[N,3,4,4], %w: T[5,3,1,1]", "%y = conv %x, %w", 0, 0},
        {"3x3 pad bias", "%x: T[N,2,5,5], %w: T[3,2,3,3], %b: T[3]",
         "%y = conv %x, %w, %b {pad=[1,1,1,1]}", 0, 0},
        {"stride 2", "%x: T[N,2,7,6], %w: T[3,2,3,3], %b: T[3]",
         "%y = conv %x, %w, %b {stride=[2,2], pad=[1,1,1,1]}", 0, 0},
        {"7x7 stride 2", "%x: T[N,2,11,12], %w: T[2,2,7,7]",
         "%y = conv %x, %w {stride=[2,2], pad=[3,3,3,3]}", 0, 1},
        {"1x1 stride 2", "%x: T[N,3,7,8], %w: T[4,3,1,1]", "%y = conv %x, %w {stride=[2,2]}", 0, 0},
        {"2x2 stride 2", "%x: T[N,3,6,7], %w: T[4,3,2,2]", "%y = conv %x, %w {stride=[2,2]}", 0, 0},
        {"asymmetric pads", "%x: T[N,2,6,5], %w: T[3,2,3,2]",
         "%y = conv %x, %w {stride=[2,1], pad=[0,1,2,0]}", 0, 0},
        {"more pad than kernel", "%x: T[N,2,4,3], %w: T[2,2,2,2]",
         "%y = conv %x, %w {pad=[3,2,2,3]}", 0, 0},
        {"more pad than kernel, stride 2", "%x: T[N,2,4,3], %w: T[2,2,2,3]",
         "%y = conv %x, %w {stride=[2,2], pad=[5,4,3,6]}", 0, 0},
        {"dilation", "%x: T[N,2,8,9], %w: T[3,2,3,3], %b: T[3]",
         "%y = conv %x, %w, %b {dilation=[2,3], pad=[2,1,0,3]}", 0, 0},
        {"dilation 3 stride 2", "%x: T[N,2,11,10], %w: T[3,2,3,3]",
         "%y = conv %x, %w {stride=[2,2], dilation=[3,3], pad=[1,2,3,1]}", 0, 0},
        {"dilation 2 stride 2", "%x: T[N,2,9,8], %w: T[3,2,3,3]",
         "%y = conv %x, %w {stride=[2,2], dilation=[2,2], pad=[2,2,2,2]}", 0, 0},
        {"dilation 2 stride 4", "%x: T[N,1,13,11], %w: T[2,1,2,3]",
         "%y = conv %x, %w {stride=[4,3], dilation=[2,2], pad=[1,0,1,2]}", 0, 0},
        {"groups", "%x: T[N,6,5,5], %w: T[4,3,3,3], %b: T[4]",
         "%y = conv %x, %w, %b {group=2, pad=[1,1,1,1]}", 0, 0},
        {"groups stride 2", "%x: T[N,4,6,6], %w: T[6,2,3,3]",
         "%y = conv %x, %w {group=2, stride=[2,2], pad=[1,1,1,1]}", 0, 0},
        {"depthwise", "%x: T[N,5,6,5], %w: T[5,1,3,3], %b: T[5]",
         "%y = conv %x, %w, %b {group=5, pad=[1,1,1,1]}", 0, 0},
        {"depthwise stride 2", "%x: T[N,3,7,7], %w: T[3,1,5,5]",
         "%y = conv %x, %w {group=3, stride=[2,2], pad=[2,2,2,2]}", 0, 0},
        {"depthwise multiplier", "%x: T[N,2,5,5], %w: T[6,1,3,3]",
         "%y = conv %x, %w {group=2, stride=[2,2]}", 0, 0},
        {"1x7", "%x: T[N,2,4,9], %w: T[3,2,1,7]", "%y = conv %x, %w {pad=[0,3,0,3]}", 0, 0},
        {"11x11 stride 4", "%x: T[N,1,19,23], %w: T[2,1,11,11]",
         "%y = conv %x, %w {stride=[4,4], pad=[2,2,2,2]}", 0, 1},
        {"stride beyond the kernel", "%x: T[N,2,9,10], %w: T[2,2,2,1]",
         "%y = conv %x, %w {stride=[5,3]}", 0, 0},
        {"stride 9", "%x: T[N,1,11,12], %w: T[2,1,2,2]", "%y = conv %x, %w {stride=[9,2]}", 0, 0},
        {"rows left over", "%x: T[N,2,8,8], %w: T[2,2,3,3]", "%y = conv %x, %w {stride=[3,3]}", 0,
         0},
        {"only pixels train", "%x: T[N,2,5,5], %_w: T[2,2,3,3]", "%y = conv %x, %_w", 0, 0},
        {"only weights train", "%_x: T[N,2,5,5], %w: T[2,2,3,3]", "%y = conv %_x, %w", 0, 0},
        {"only the bias trains", "%_x: T[N,2,5,5], %_w: T[2,2,3,3], %b: T[2]",
         "%y = conv %_x, %_w, %b", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

static void transposed_convolutions(void) {
    static const GradCase cases[] = {
        {"stride 1", "%x: T[N,3,4,4], %w: T[3,2,3,3]",
         "%y = conv_dgrad %x, %w {pad=[1,1,1,1], shape=[N,2,4,4]}", 0, 0},
        {"stride 2", "%x: T[N,2,3,4], %w: T[2,3,4,4]",
         "%y = conv_dgrad %x, %w {stride=[2,2], pad=[1,1,1,1], shape=[N,3,6,8]}", 0, 0},
        {"output padding", "%x: T[N,2,3,3], %w: T[2,2,3,3]",
         "%y = conv_dgrad %x, %w {stride=[2,2], pad=[1,1,0,0], shape=[N,2,7,7]}", 0, 0},
        {"groups", "%x: T[N,4,3,3], %w: T[4,2,2,3]",
         "%y = conv_dgrad %x, %w {group=2, stride=[3,1], shape=[N,4,8,5]}", 0, 0},
        {"frozen weights", "%x: T[N,2,3,4], %_w: T[2,3,2,2]",
         "%y = conv_dgrad %x, %_w {stride=[2,2], shape=[N,3,6,8]}", 0, 0},
        {"only weights", "%_x: T[N,2,3,4], %w: T[2,3,2,2]",
         "%y = conv_dgrad %_x, %w {stride=[2,2], shape=[N,3,6,8]}", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

static void products(void) {
    static const GradCase cases[] = {
        {"plain", "%a: T[3,4], %b: T[4,5]", "%y = matmul %a, %b", 0, 0},
        {"trans_a", "%a: T[4,3], %b: T[4,5]", "%y = matmul %a, %b {trans_a=1}", 0, 0},
        {"trans_b", "%a: T[3,4], %b: T[5,4]", "%y = matmul %a, %b {trans_b=1}", 0, 0},
        {"both", "%a: T[4,3], %b: T[5,4]", "%y = matmul %a, %b {trans_a=1, trans_b=1}", 0, 0},
        {"classifier", "%a: T[N,4], %b: T[5,4], %c: T[5]", "%y = matmul %a, %b, %c {trans_b=1}", 0,
         3},
        {"bias of one", "%a: T[N,4], %b: T[4,5], %c: T[1]", "%y = matmul %a, %b, %c", 0, 0},
        {"bias per row", "%a: T[3,4], %b: T[4,5], %c: T[3,1]", "%y = matmul %a, %b, %c", 0, 0},
        {"batch", "%a: T[N,2,3,4], %b: T[N,2,4,5]", "%y = matmul %a, %b", 0, 0},
        {"batch trans", "%a: T[N,4,3], %b: T[N,5,4]", "%y = matmul %a, %b {trans_a=1, trans_b=1}",
         0, 0},
        {"batch by matrix", "%a: T[N,2,3,4], %b: T[4,5], %c: T[5]", "%y = matmul %a, %b, %c", 0, 0},
        {"batch by transposed matrix", "%a: T[N,3,4], %b: T[5,4]", "%y = matmul %a, %b {trans_b=1}",
         0, 0},
        {"transposed batch by matrix", "%a: T[N,4,3], %b: T[4,5]", "%y = matmul %a, %b {trans_a=1}",
         0, 0},
        {"matrix by batch", "%a: T[3,4], %b: T[N,2,4,5]", "%y = matmul %a, %b", 0, 0},
        {"broadcast batches", "%a: T[3,1,2,4], %b: T[1,2,4,2]", "%y = matmul %a, %b", 0, 0},
        {"one operand twice", "%a: T[4,4]", "%y = matmul %a, %a {trans_b=1}", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

// Every shape and attribute with each op.
static void windows(void) {
    static const struct {
        const char *name, *x, *attrs;
    } shapes[] = {
        {"2x2", "N,3,6,6", "kernel=[2,2], stride=[2,2]"},
        {"3x3 stride 2 pad", "N,2,7,8", "kernel=[3,3], stride=[2,2], pad=[1,1,1,1]"},
        {"overlapping", "N,2,6,5", "kernel=[3,3], stride=[1,1]"},
        {"overlapping pad", "N,2,5,5", "kernel=[3,3], pad=[1,1,1,1]"},
        {"ceil", "N,2,8,7", "kernel=[3,3], stride=[2,2], ceil=1"},
        {"ceil pad", "N,2,8,9", "kernel=[3,3], stride=[2,2], pad=[1,0,1,1], ceil=1"},
        {"asymmetric", "N,2,6,7", "kernel=[2,3], stride=[2,1], pad=[1,0,0,2]"},
        {"rows left over", "N,2,9,9", "kernel=[2,2], stride=[4,3]"},
        {"whole plane", "N,3,4,4", "kernel=[4,4]"},
        {"1x1 stride 2", "N,3,5,5", "kernel=[1,1], stride=[2,2]"},
        {"dilation", "N,2,8,8", "kernel=[3,2], dilation=[2,3], stride=[2,1], pad=[1,1,2,0]"},
    };
    static const char *const ops[] = {"max_pool %x {", "avg_pool %x {",
                                      "avg_pool %x {count_pad=1, "};
    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            char inputs[100], body[300];
            snprintf(inputs, sizeof inputs, "%%x: T[%s]", shapes[i].x);
            snprintf(body, sizeof body, "%%y = %s%s}", ops[op], shapes[i].attrs);
            grad_check(&(GradCase){shapes[i].name, inputs, body, 0, 0});
        }
    }
}

static void resizes(void) {
    static const GradCase cases[] = {
        {"nearest", "%x: T[N,2,3,3]", "%y = resize %x, %near, _, %near, _", 0, 0},
        {"rows", "%x: T[N,2,3,4]", "%y = resize %x, %near, _", 0, 0},
        {"columns", "%x: T[N,2,4,3]", "%y = resize %x, _, _, %near, _", 0, 0},
        {"linear", "%x: T[N,2,3,3]", "%y = resize %x, %line, %line_w, %line, %line_w", 0, 0},
        {"linear rows", "%x: T[N,3,3,2]", "%y = resize %x, %line, %line_w", 0, 0},
        {"linear columns", "%x: T[N,1,2,3]", "%y = resize %x, _, _, %line, %line_w", 0, 3},
        {"cubic", "%x: T[N,2,4,4]", "%y = resize %x, %cubic, %cubic_w, %cubic, %cubic_w", 0, 0},
        {"cubic columns", "%x: T[2,2,5,4]", "%y = resize %x, _, _, %cubic, %cubic_w", 0, 0},
        {"both kinds", "%x: T[N,2,4,3]", "%y = resize %x, %cubic, %cubic_w, %near, _", 0, 0},
        {"position embedding", "%x: T[N,2,5,5], %p: T[1,2,3,3]",
         "%q = resize %p, %line, %line_w, %line, %line_w\n%y = add %x, %q", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

// Of the statistics, where they are computed, alone and from what they normalize.
static void normalisations_by_statistics(void) {
    static const GradCase cases[] = {
        {"statistics", "%x: T[N,3,2,2], %g: T[3], %b: T[3], %m: T[3], %pos: T[3]",
         "%y = batch_norm %x, %g, %b, %m, %pos {eps=0.1}", 0, 0},
        {"only the mean", "%_x: T[N,4], %_g: T[4], %_b: T[4], %m: T[4], %_pos: T[4]",
         "%y = batch_norm %_x, %_g, %_b, %m, %_pos", 0, 0},
        {"only the variance", "%_x: T[N,4], %_g: T[4], %_b: T[4], %_m: T[4], %pos: T[4]",
         "%y = batch_norm %_x, %_g, %_b, %_m, %pos", 0, 0},
        {"weight standardization", "%w: T[1,3,8], %g: T[3], %b: T[3]",
         "%m = reduce_mean %w {axes=[0,2], keepdims=0}\n%k = reshape %m {shape=[1,3,1]}\n"
         "%d = sub %w, %k\n%q = mul %d, %d\n%v = reduce_mean %q {axes=[0,2], keepdims=0}\n"
         "%y = batch_norm %w, %g, %b, %m, %v {eps=0.01}",
         0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

static void normalisations(void) {
    static const char *const shapes[] = {"N,3,4,4", "N,2,1,1", "N,5",       "3,2,2,3", "N,1,3,3",
                                         "N,4,5",   "1,3,4,4", "N,2,2,2,2", "5,7",     "N,8,2,3"};
    static const char *const channels[] = {"3", "2", "5", "2", "1", "4", "3", "2", "7", "8"};
    for (int i = 0; i < 10; i++) {
        char inputs[200], body[200];
        const char *c = channels[i];
        double eps = i % 3 == 0 ? 1e-5 : i % 3 == 1 ? 0.1 : 1e-3;
        snprintf(inputs, sizeof inputs,
                 "%%x: T[%s], %%g: T[%s], %%b: T[%s], %%_m: T[%s], %%_pos: T[%s]", shapes[i], c, c,
                 c, c);
        snprintf(body, sizeof body, "%%y = batch_norm %%x, %%g, %%b, %%_m, %%_pos {eps=%g}", eps);
        grad_check(&(GradCase){"batch_norm", inputs, body, 0, 0});
        snprintf(inputs, sizeof inputs, "%%x: T[%s], %%g: T[%s], %%b: T[%s]", shapes[i], c, c);
        snprintf(body, sizeof body, "%%y, %%m, %%v = batch_norm_train %%x, %%g, %%b {eps=%g}",
                 eps < 1e-3 ? 0.01 : eps);
        grad_check(&(GradCase){"batch_norm_train", inputs, body, 0, 3});
        snprintf(inputs, sizeof inputs, "%%x: T[%s]", shapes[i]);
        snprintf(body, sizeof body, "%%y = lrn %%x {size=%d, alpha=%g, beta=%g, bias=%g}",
                 i % 6 + 1, i % 2 ? 0.5 : 1e-2, i % 3 ? 0.75 : 1.5, i % 4 ? 1.0 : 2.0);
        grad_check(&(GradCase){"lrn", inputs, body, 0, 0});
    }
}

static void losses(void) {
    static const char *const sizes[] = {"N,2", "N,3", "N,5",  "N,10", "4,3",
                                        "1,3", "7,4", "N,30", "2,6",  "3,8"};
    for (int i = 0; i < 10; i++) {
        char rows[8], inputs[200];
        const char *comma = strchr(sizes[i], ',');
        snprintf(rows, sizeof rows, "%.*s", (int)(comma - sizes[i]), sizes[i]);
        snprintf(inputs, sizeof inputs,
                 "%%x: T[%s], %%label: i32[%s], %%_pos: T[%s], %%_pos_s: T[]", sizes[i], rows,
                 comma + 1);
        grad_check(&(GradCase){"softmax_ce", inputs,
                               "%y, %d = softmax_ce %x, %label, %_pos, %_pos_s", 0, 3});
    }
}

int main(void) {
    CHECK_RUN(convolutions);
    CHECK_RUN(transposed_convolutions);
    CHECK_RUN(products);
    CHECK_RUN(windows);
    CHECK_RUN(resizes);
    CHECK_RUN(normalisations);
    CHECK_RUN(normalisations_by_statistics);
    CHECK_RUN(losses);
    return check_done();
}
