// Gradients of ops that address elements by indices, or search along an axis, against finite
// differences, ten configurations or more of each. Indices are 0, 1 and 2.
#include "tests/passes/train/grad_case.h"

static void gathers(void) {
    static const GradCase cases[] = {
        {"rows", "%x: T[4,3], %k: i64[5]", "%y = gather %x, %k {axis=0}", 0, 0},
        {"columns", "%x: T[2,4], %k: i32[3]", "%y = gather %x, %k {axis=1}", 0, 0},
        {"one row", "%x: T[3,2,2], %k: i64[]", "%y = gather %x, %k {axis=0}", 0, 0},
        {"one column", "%x: T[N,3,2], %k: i64[]", "%y = gather %x, %k {axis=1}", 0, 0},
        {"a matrix of indices", "%x: T[5], %k: i64[3,4]", "%y = gather %x, %k {axis=0}", 0, 0},
        {"in the middle", "%x: T[2,3,2], %k: i64[2,2]", "%y = gather %x, %k {axis=1}", 0, 0},
        {"at the end", "%x: T[N,2,3], %k: i64[2,3]", "%y = gather %x, %k {axis=2}", 0, 0},
        {"as many as images", "%x: T[4,3], %k: i64[N]", "%y = gather %x, %k {axis=0}", 0, 5},
        {"images", "%x: T[N,3], %k: i64[4]", "%y = gather %x, %k {axis=0}", 0, 3},
        {"relative positions", "%x: T[3,2], %k: i64[4,4], %s: T[N,2,4,4]",
         "%g = gather %x, %k {axis=0}\n%p = transpose %g {perm=[2,0,1]}\n%y = add %s, %p", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

static void gathers_by_element(void) {
    static const GradCase cases[] = {
        {"axis 0", "%x: T[3,2], %k: i64[4,2]", "%y = gather_elements %x, %k {axis=0}", 0, 0},
        {"axis 1", "%x: T[2,3], %k: i64[2,5]", "%y = gather_elements %x, %k {axis=1}", 0, 0},
        {"per image", "%x: T[N,3], %k: i32[N,2]", "%y = gather_elements %x, %k {axis=1}", 0, 3},
        {"fewer lines", "%x: T[3,4], %k: i64[2,2]", "%y = gather_elements %x, %k {axis=0}", 0, 0},
        {"rank 3", "%x: T[2,3,2], %k: i64[2,4,2]", "%y = gather_elements %x, %k {axis=1}", 0, 0},
        {"nd, points", "%x: T[3,4], %k: i64[5,2]", "%y = gather_nd %x, %k {axis=0}", 0, 0},
        {"nd, rows", "%x: T[3,4], %k: i64[5,1]", "%y = gather_nd %x, %k {axis=0}", 0, 0},
        {"nd, a grid", "%x: T[3,3,2], %k: i32[2,2,2]", "%y = gather_nd %x, %k {axis=0}", 0, 0},
        {"nd, per image", "%x: T[N,3,2], %k: i64[N,4,1]", "%y = gather_nd %x, %k {axis=1}", 0, 3},
        {"nd, one each", "%x: T[N,3], %k: i64[N,1]", "%y = gather_nd %x, %k {axis=1}", 0, 4},
        {"nd, two shared", "%x: T[N,2,3,2], %k: i64[N,2,2,1]", "%y = gather_nd %x, %k {axis=2}", 0,
         0},
        {"nd, a table", "%x: T[3,1], %k: i64[16,1], %s: T[N,4,4]",
         "%g = gather_nd %x, %k {axis=0}\n%p = reshape %g {shape=[1,4,4]}\n%y = add %s, %p", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

static void scatters(void) {
    static const GradCase cases[] = {
        {"elements", "%x: T[3,2], %k: i64[1,2], %u: T[1,2]",
         "%y = scatter_elements %x, %k, %u {axis=0}", 0, 0},
        {"elements of a row", "%x: T[N,4], %k: i64[N,1], %u: T[N,1]",
         "%y = scatter_elements %x, %k, %u {axis=1}", 0, 3},
        {"elements added", "%x: T[3,3], %k: i64[4,2], %u: T[4,2]",
         "%y = scatter_elements %x, %k, %u {axis=0, mode=add}", 0, 0},
        {"only the updates", "%_x: T[3,3], %k: i32[4,2], %u: T[4,2]",
         "%y = scatter_elements %_x, %k, %u {axis=0, mode=add}", 0, 0},
        {"only what they are put in", "%x: T[3,3], %k: i64[1,2], %_u: T[1,2]",
         "%y = scatter_elements %x, %k, %_u {axis=0}", 0, 0},
        {"a row", "%x: T[3,4], %k: i64[1,1], %u: T[1,4]", "%y = scatter_nd %x, %k, %u", 0, 0},
        {"a point", "%x: T[3,4], %k: i64[1,2], %u: T[1]", "%y = scatter_nd %x, %k, %u", 0, 0},
        {"rows added", "%x: T[3,4], %k: i64[5,1], %u: T[5,4]",
         "%y = scatter_nd %x, %k, %u {mode=add}", 0, 0},
        {"points added", "%x: T[3,3], %k: i64[4,2], %u: T[4]",
         "%y = scatter_nd %x, %k, %u {mode=add}", 0, 0},
        {"of images", "%x: T[N,4], %k: i64[1,1], %u: T[1,4]", "%y = scatter_nd %x, %k, %u", 0, 3},
        {"the greatest of elements", "%x: T[3,3], %k: i64[4,2], %u: T[4,2]",
         "%y = scatter_elements %x, %k, %u {axis=0, mode=max}", 0, 0},
        {"the least of rows", "%x: T[3,4], %k: i64[5,1], %u: T[5,4]",
         "%y = scatter_nd %x, %k, %u {mode=min}", 0, 0},
        {"elements multiplied", "%x: T[3,3], %k: i64[4,2], %u: T[4,2]",
         "%y = scatter_elements %x, %k, %u {axis=0, mode=mul}", 0, 0},
        {"rows multiplied", "%x: T[3,4], %k: i64[5,1], %u: T[5,4]",
         "%y = scatter_nd %x, %k, %u {mode=mul}", 0, 0},
        {"multiplied by a zero", "%x: T[N,3], %k: i64[N,2], %u: T[N,2]",
         "%z = sub %u, %u\n%v = concat %z, %u {axis=1}\n%j = concat %k, %k {axis=1}\n"
         "%y = scatter_elements %x, %j, %v {axis=1, mode=mul}",
         0, 3},
        {"the least of images", "%x: T[N,3], %k: i64[N,2], %u: T[N,2]",
         "%y = scatter_elements %x, %k, %u {axis=1, mode=min}", 0, 3},
    };
    GRAD_CHECK_ALL(cases);
}

static void along_an_axis(void) {
    static const char *const shapes[] = {"N,4", "3,N", "2,3,2", "N,2,5", "6"};
    static const int axes[] = {1, 0, 1, 2, 0};
    static const char *const attrs[] = {"", ", exclusive=1", ", reverse=1",
                                        ", exclusive=1, reverse=1"};
    for (int i = 0; i < 20; i++) {
        char inputs[60], body[120];
        snprintf(inputs, sizeof inputs, "%%x: T[%s]", shapes[i % 5]);
        snprintf(body, sizeof body, "%%y = cumsum %%x {axis=%d%s}", axes[i % 5], attrs[i % 4]);
        grad_check(&(GradCase){"cumsum", inputs, body, 0, 3});
        snprintf(body, sizeof body, "%%y, %%k = top_k %%x {axis=%d, size=%d%s}", axes[i % 5],
                 i % 2 + 1, i % 3 ? ", reverse=1" : "");
        grad_check(&(GradCase){"top_k", inputs, body, 0, 3});
        snprintf(body, sizeof body, "%%y = reduce_prod %%x {axes=[%d], keepdims=%d}", axes[i % 5],
                 i % 2);
        grad_check(&(GradCase){"reduce_prod", inputs, body, 0, 3});
    }
    grad_check(&(GradCase){"of nothing but zeros", "%x: T[2,3], %_pos: T[2,3]",
                           "%z = sub %x, %x\n%w = mul %x, %_pos\n%c = concat %z, %w {axis=1}\n"
                           "%y = reduce_prod %c {axes=[1], keepdims=0}",
                           0, 0});
    grad_check(&(GradCase){"a zero among them", "%x: T[2,3]",
                           "%r = slice %x {start=[0,0], step=[1,1], shape=[2,1]}\n%z = sub %r, %r\n"
                           "%c = concat %z, %x {axis=1}\n"
                           "%y = reduce_prod %c {axes=[1], keepdims=0}",
                           0, 0});
}

// Positions are within and beyond the image; none is at a pixel's very place.
static void samples(void) {
    static const char *const modes[] = {"linear", "nearest", "cubic"};
    static const char *const borders[] = {"zeros", "border", "reflection"};
    static const char *const inputs[] = {
        "%x: T[N,2,3,4], %g: T[N,2,3,2]", "%x: T[N,1,5,2], %_g: T[N,1,4,2]",
        "%_x: T[N,3,4,4], %g: T[N,2,2,2]", "%x: T[2,2,1,3], %g: T[2,3,1,2]"};
    for (int i = 0; i < 36; i++) {
        char body[160];
        const char *grid = i % 4 == 1 ? "_g" : "g";
        snprintf(body, sizeof body,
                 "%%far = mul %%%s, %%two\n"
                 "%%y = grid_sample %%%s, %%far {mode=%s, border=%s, align=%d}",
                 grid, i % 4 == 2 ? "_x" : "x", modes[i / 4 % 3], borders[i / 12], i & 1);
        grad_check(&(GradCase){body, inputs[i % 4], body, 1e-6, 0});
    }
}

// Regions of 0.5 to 1.5 pixels, times 3, some across the image's edge; images 0, 1 and 2.
static void regions(void) {
    static const char *const inputs[] = {"%x: T[N,2,3,4], %_pos: T[3,4], %k: i64[3]",
                                         "%x: T[N,1,4,2], %_pos: T[N,4], %k: i32[N]",
                                         "%x: T[3,3,1,5], %_r: T[2,4], %k: i64[2]"};
    for (int i = 0; i < 12; i++) {
        char body[160];
        snprintf(body, sizeof body,
                 "%%y = roi_align %%x, %%%s, %%k {mode=avg, shape=[%d,%d], size=%d, alpha=%d, "
                 "align=%d}",
                 i % 3 == 2 ? "_r" : "_pos", i % 2 + 1, i % 3 + 1, i / 3 % 2 + 1, i / 6 * 2 + 1,
                 i & 1);
        grad_check(&(GradCase){body, inputs[i % 3], body, 0, 3});
        memcpy(strstr(body, "avg"), "max", 3);
        grad_check(&(GradCase){body, inputs[i % 3], body, 1e-6, 3});
    }
}

static void determinants(void) {
    static const GradCase cases[] = {
        {"of a number", "%x: T[N,1,1]", "%y = det %x", 0, 0},
        {"of two rows", "%x: T[3,2,2]", "%y = det %x", 0, 0},
        {"of three", "%x: T[N,3,3]", "%y = det %x", 0, 0},
        {"of four, one matrix", "%x: T[4,4]", "%y = det %x", 0, 0},
        {"of matrices of matrices", "%x: T[2,N,3,3]", "%y = det %x", 0, 0},
        {"without an inverse", "%x: T[N,1,3]",
         "%z = sub %x, %x\n%c = concat %x, %x, %z {axis=1}\n%y = det %c", 0, 0},
    };
    GRAD_CHECK_ALL(cases);
}

int main(void) {
    CHECK_RUN(determinants);
    CHECK_RUN(gathers);
    CHECK_RUN(gathers_by_element);
    CHECK_RUN(scatters);
    CHECK_RUN(along_an_axis);
    CHECK_RUN(samples);
    CHECK_RUN(regions);
    return check_done();
}
