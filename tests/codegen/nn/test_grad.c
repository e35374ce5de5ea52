// The ops that only training needs, but for conv_wgrad: against the evaluator, blocked and plain,
// odd channel counts, edges of windows, several results.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#define EACH_TARGET(t, r)                                                                          \
    for (int t = 0; t < CASE_TARGETS; t++)                                                         \
        for (Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level); r; r = NULL)

typedef struct Pool {
    int C, H, W, kh, kw, sh, sw, pt, pl, pb, pr, dh, dw, ceil;
} Pool;

static const Pool pools[] = {
    {20, 9, 9, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 0},  {64, 12, 11, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 0},
    {16, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0},  {7, 13, 14, 3, 3, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    {33, 10, 9, 5, 2, 3, 1, 2, 0, 1, 1, 1, 1, 0}, {4, 11, 11, 3, 2, 1, 2, 0, 0, 0, 0, 2, 3, 0},
    {3, 6, 6, 6, 6, 1, 1, 0, 0, 0, 0, 1, 1, 0},   {18, 4, 40, 1, 20, 1, 3, 0, 2, 0, 0, 1, 1, 0},
    {16, 9, 9, 2, 2, 4, 4, 0, 0, 0, 0, 1, 1, 0},  {17, 5, 5, 5, 5, 5, 5, 4, 4, 4, 4, 1, 1, 0},
};
enum { POOLS = sizeof pools / sizeof *pools };

// dy has the shape of the pool itself, which is in the graph too. Rounded inputs tie.
static void max_pool_grad(void) {
    EACH_TARGET(t, r) {
        for (int k = 0; k < POOLS; k++) {
            const Pool *p = &pools[k];
            char attrs[200];
            snprintf(attrs, sizeof attrs,
                     "kernel=[%d,%d], stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], ceil=%d",
                     p->kh, p->kw, p->sh, p->sw, p->pt, p->pl, p->pb, p->pr, p->dh, p->dw, p->ceil);
            case_add(r, k,
                     "in %%x: f32[N,%d,%d,%d]\nconst %%five: f32[] = splat(5)\n"
                     "%%a = mul %%x, %%five\n%%b = floor %%a\n%%p = max_pool %%b {%s}\n"
                     "%%q = max_pool %%x {%s}\n%%e = mul %%q, %%q\n"
                     "%%y = max_pool_grad %%b, %%e {%s}\nout %%y\nout %%p",
                     p->C, p->H, p->W, attrs, attrs, attrs);
        }
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

static void avg_pool_grad(void) {
    EACH_TARGET(t, r) {
        for (int k = 0; k < POOLS; k++) {
            const Pool *p = &pools[k];
            char attrs[200];
            snprintf(attrs, sizeof attrs,
                     "kernel=[%d,%d], stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], "
                     "ceil=%d, count_pad=%d",
                     p->kh, p->kw, p->sh, p->sw, p->pt, p->pl, p->pb, p->pr, p->dh, p->dw, p->ceil,
                     k % 2);
            case_add(r, k,
                     "in %%x: f32[N,%1$d,%2$d,%3$d]\n%%p = avg_pool %%x {%4$s}\n"
                     "%%e = mul %%p, %%p\n"
                     "%%y = avg_pool_grad %%e {%4$s, shape=[N,%1$d,%2$d,%3$d]}\nout %%y",
                     p->C, p->H, p->W, attrs);
        }
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

// Of bf16: a pixel's sum is rounded once, so that all is within that of the evaluator's.
static void pool_grads_of_bf16(void) {
    EACH_TARGET(t, r) {
        for (int k = 0; k < POOLS; k++) {
            const Pool *p = &pools[k];
            char attrs[200];
            snprintf(attrs, sizeof attrs,
                     "kernel=[%d,%d], stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], ceil=%d",
                     p->kh, p->kw, p->sh, p->sw, p->pt, p->pl, p->pb, p->pr, p->dh, p->dw, p->ceil);
            case_add(r, k,
                     "in %%x: bf16[N,%1$d,%2$d,%3$d]\nin %%z: bf16[N,%1$d,%2$d,%3$d]\n"
                     "%%e = max_pool %%z {%4$s}\n%%y = max_pool_grad %%x, %%e {%4$s}\n"
                     "%%a = avg_pool_grad %%e {%4$s, count_pad=%5$d, shape=[N,%1$d,%2$d,%3$d]}\n"
                     "out %%y\nout %%a",
                     p->C, p->H, p->W, attrs, k % 2);
        }
        CHECK_INT_EQ(case_check(r, 1.0 / 256, true), 0);
    }
}

static const char *const dims[] = {",6,6", ",1,1", ",17,19", ",21", ""};
static const int channels[] = {20, 64, 3, 33};

static void batch_norm_train(void) {
    EACH_TARGET(t, r) {
        for (int k = 0; k < 10; k++)
            case_add(r, k,
                     "in %%x: f32[N,%1$d%2$s]\nin %%s: f32[%1$d]\nin %%b: f32[%1$d]\n"
                     "const %%off: f32[] = splat(20)\n%%z = add %%x, %%off\n"
                     "%%y, %%m, %%v = batch_norm_train %%z, %%s, %%b {eps=0.01}\n"
                     "out %%y\nout %%m\nout %%v",
                     channels[k % 4], dims[k % 5]);
        CHECK_INT_EQ(case_check(r, 4e-5, false), 0);
    }
}

// One image of one pixel has no variance, so its gradient is 0 but for rounding: not tested here.
static void batch_norm_grad(void) {
    EACH_TARGET(t, r) {
        for (int k = 0; k < 10; k++)
            case_add(r, k,
                     "in %%x: f32[N,%1$d%2$s]\nin %%d: f32[N,%1$d%2$s]\nin %%s: f32[%1$d]\n"
                     "in %%m: f32[%1$d]\nin %%q: f32[%1$d]\n%%v = abs %%q\n"
                     "%%y, %%e, %%b = batch_norm_grad %%x, %%d, %%s, %%m, %%v {eps=0.1}\n"
                     "out %%y\nout %%e\nout %%b",
                     channels[k % 4], dims[k % 5]);
        CHECK_INT_EQ(case_check(r, 1e-5, false), 0);
    }
}

// x, dy and what an epilogue reads of bf16, on which all is computed in f32: what stays f32 is as
// near as of f32, what is stored in bf16 within one rounding. A residual beside the statistics.
static void batch_norms_of_bf16(void) {
    static const struct {
        const char *train, *grad;
        double tolerance;
    } then[] = {
        {"then=[cast(3, to=f32), add(acc, s0), relu(s1)]", "then=[mul(acc, acc)]", 4e-5},
        {"then=[cast(3, to=f32), add(s0, acc), relu(s1), cast(s2, to=bf16)]",
         "then=[cast(acc, to=bf16)]", 1.0 / 256},
    };
    EACH_TARGET(t, r) {
        for (int k = 0; k < 10; k++)
            case_add(
                r, k,
                "in %%x: bf16[N,%1$d%2$s]\nin %%d: bf16[N,%1$d%2$s]\nin %%s: f32[%1$d]\n"
                "in %%b: f32[%1$d]\nin %%q: f32[%1$d]\n%%u = abs %%q\n"
                "%%y, %%m, %%v = batch_norm_train %%x, %%s, %%b, %%d {eps=0.01, to=f32, %3$s}\n"
                "%%z, %%e, %%f = batch_norm_grad %%x, %%d, %%s, %%b, %%u {eps=0.1, to=f32, %4$s}\n"
                "out %%y\nout %%m\nout %%v\nout %%z\nout %%e\nout %%f",
                channels[k % 4], dims[k % 5], then[t % 2].train, then[t % 2].grad);
        CHECK_INT_EQ(case_check(r, then[t % 2].tolerance, false), 0);
    }
}

// Epilogues whose operands are per channel, per pixel, one number, of f32; blocked and, of more
// dimensions than blocks have, plain.
static const char *const norm_epilogues[] = {
    "in %x: f32[N,20,6,7]\nin %s: f32[20]\nin %c: f32[1,20,1,1]\nin %p: f32[1,1,6,7]\n"
    "const %k: f32[] = splat(0.5)\n"
    "%y, %m, %v = batch_norm_train %x, %s, %s, %c, %p, %k "
    "{eps=0.1, then=[mul(acc, 3), add(s0, 4), sub(s1, 5)]}\nout %y\nout %m",
    "in %x: f32[N,3,5,2,3]\nin %s: f32[3]\n"
    "%y, %m, %v = batch_norm_train %x, %s, %s {eps=0.1, then=[relu(acc)]}\nout %y\nout %v",
    "in %x: f32[N,3,7]\nin %s: f32[3]\nin %r: f32[N,3,7]\n"
    "%y, %m, %v = batch_norm_train %x, %s, %s, %r {eps=0.1, then=[add(acc, 3)]}\nout %y",
    NULL,
};

static void batch_norm_epilogues(void) {
    CHECK_INT_EQ(case_check_all(norm_epilogues, 4e-5, false), 0);
}

static void lrn_grad(void) {
    static const struct {
        int size;
        const char *beta;
    } windows[] = {{5, "0.75"}, {5, "0.5"},  {3, "1.0"}, {5, "0.6"},
                   {1, "0.75"}, {2, "0.75"}, {8, "0.75"}};
    EACH_TARGET(t, r) {
        for (int k = 0; k < 14; k++)
            case_add(r, k,
                     "in %%x: f32[N,%1$d,5,6]\nin %%d: f32[N,%1$d,5,6]\nin %%z: f32[N,%1$d,7]\n"
                     "in %%e: f32[N,%1$d,7]\n"
                     "%%y = lrn_grad %%x, %%d {size=%2$d, alpha=0.5, beta=%3$s, bias=2.0}\n"
                     "%%w = lrn_grad %%z, %%e {size=%2$d, alpha=0.5, beta=%3$s, bias=2.0}\n"
                     "out %%y\nout %%w",
                     channels[k % 4], windows[k % 7].size, windows[k % 7].beta);
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

// Labels are -8 to 8: some are no class.
static void softmax_ce(void) {
    static const int classes[] = {1, 2, 5, 10, 16, 37, 1000};
    EACH_TARGET(t, r) {
        for (int k = 0; k < 14; k++)
            case_add(r, k,
                     "in %%x: f32[N,%1$d]\nin %%l: i32[N]\nin %%w: f32[%1$d]\n"
                     "const %%s: f32[] = splat(%2$s)\nconst %%big: f32[] = splat(50)\n"
                     "%%z = mul %%x, %%big\n%%a = abs %%w\n"
                     "%%loss, %%d = softmax_ce %%z, %%l, %%a, %%s\nout %%loss\nout %%d",
                     classes[k / 2], k % 2 ? "0.1" : "0");
        for (int k = 0; k < 14; k++)
            case_add(r, 14 + k,
                     "in %%x: f32[N,%1$d]\nin %%l: i32[N]\nin %%k: i32[N]\nin %%w: f32[%1$d]\n"
                     "in %%m: f32[N]\n"
                     "const %%s: f32[] = splat(%2$s)\nconst %%big: f32[] = splat(50)\n"
                     "%%z = mul %%x, %%big\n%%a = abs %%w\n%%p = sigmoid %%m\n"
                     "%%loss, %%d = softmax_ce %%z, %%l, %%a, %%s, %%k, %%p\nout %%loss\nout %%d",
                     classes[k / 2], k % 2 ? "0.1" : "0");
        CHECK_INT_EQ(case_check(r, 1e-5, true), 0);
    }
}

// Masks must be the same everywhere: the tolerance does not forgive an element.
static const char *const dropouts[] = {
    "in %x: f32[N,20,6,6]\nin %s: i64[]\n%y = dropout %x, %s {ratio=0.3, seed=5}\nout %y",
    "in %x: f32[N,20,6,6]\nin %s: i64[]\n%b = max_pool %x {kernel=[2,2], stride=[1,1]}\n"
    "%y = dropout %b, %s {ratio=0.5, seed=7}\nout %y",
    "in %x: f32[N,37]\nin %s: i64[]\n%y = dropout %x, %s {ratio=0.9}\nout %y",
    "in %x: f32[N,37]\n%y = dropout %x {ratio=0.25, seed=3}\nout %y",
    "in %x: f32[N,37]\nin %s: i64[]\n%y = dropout %x, %s {ratio=1}\nout %y",
    NULL,
};

static void dropout(void) {
    CHECK_INT_EQ(case_check_all(dropouts, 1e-6, true), 0);
}

static void flip_filter(void) {
    static const int shapes[][5] = {{32, 48, 3, 3, 1}, {20, 7, 1, 1, 1}, {64, 33, 1, 1, 1},
                                    {16, 16, 7, 7, 1}, {5, 3, 5, 5, 1},  {24, 4, 3, 1, 6},
                                    {8, 1, 3, 3, 8},   {12, 4, 1, 1, 3}, {18, 17, 1, 7, 2}};
    EACH_TARGET(t, r) {
        for (int k = 0; k < 9; k++) {
            const int *s = shapes[k];
            case_add(r, k,
                     "in %%n: f32[N,1]\nin %%w: f32[%d,%d,%d,%d]\n%%z = relu %%n\n"
                     "%%y = flip_filter %%w {group=%d}\nout %%y\nout %%z",
                     s[0], s[1], s[2], s[3], s[4]);
        }
        CHECK_INT_EQ(case_check(r, 1e-9, false), 0);
    }
}

// %p is blocked, %x plain.
static const char *const interleaves[] = {
    "in %x: f32[N,20,7,7]\nin %z: f32[N,20,6,7]\n%p = max_pool %x {kernel=[1,1], stride=[1,1]}\n"
    "%y = interleave %p, %z, %z, %p {stride=[2,2], shape=[N,20,12,13]}\nout %y",
    "in %x: f32[N,20,7,7]\n%p = max_pool %x {kernel=[1,1], stride=[1,1]}\n"
    "%y = interleave %p, _, _, %p {stride=[2,2], shape=[N,20,14,14]}\nout %y",
    "in %x: f32[N,5,7,7]\n%y = interleave %x, _, _, %x {stride=[2,2], shape=[N,5,13,14]}\nout %y",
    "in %x: f32[N,16,3,4]\n%p = max_pool %x {kernel=[1,1], stride=[1,1]}\n"
    "%y = interleave %p, _, _, _, _, _ {stride=[2,3], shape=[N,16,10,12]}\nout %y",
    "in %x: f32[N,16,3,4]\n%p = max_pool %x {kernel=[1,1], stride=[1,1]}\n"
    "%y = interleave %p, %p, %p {stride=[3,1], shape=[N,16,9,4]}\nout %y",
    "in %x: bf16[N,20,7,7]\nin %z: bf16[N,20,6,7]\n%p = max_pool %x {kernel=[1,1]}\n"
    "%d = max_pool_grad %x, %p {kernel=[1,1]}\n"
    "%y = interleave %d, _, %z, _ {stride=[2,2], shape=[N,20,12,13]}\n"
    "%w = interleave %x, _ {stride=[1,2], shape=[N,20,7,14]}\nout %y\nout %w",
    "in %x: u8[N,20,6,7]\n%y = interleave %x, %x, %x, %x {stride=[2,2], shape=[N,20,12,14]}\nout "
    "%y",
    "in %x: i8[N,20,6,7]\n%p = max_pool %x {kernel=[1,1]}\n%q = interleave %p, %p {stride=[1,2], "
    "shape=[N,20,6,14]}\n%y = max_pool %q {kernel=[1,1]}\nout %y",
    NULL,
};

static void interleave(void) {
    CHECK_INT_EQ(case_check_all(interleaves, 1e-9, true), 0);
}

static const char *const slices[] = {
    "in %x: bf16[N,7,4]\n%y = slice_grad %x {start=[0,18,0], step=[1,-3,2], shape=[N,20,8]}\n"
    "out %y",
    "in %x: bf16[N,32,4,5]\n%p = max_pool_grad %x, %x {kernel=[1,1]}\n"
    "%y = slice_grad %p {start=[0,16,0,1], step=[1,1,1,2], shape=[N,64,4,10]}\nout %y",
    "in %x: f32[N,7]\n%y = slice_grad %x {start=[0,2], step=[1,1], shape=[N,12]}\nout %y",
    "in %x: f32[N,7,4]\n%y = slice_grad %x {start=[0,18,0], step=[1,-3,2], shape=[N,20,8]}\nout %y",
    "in %x: f32[N,32,4,5]\n%p = max_pool %x {kernel=[1,1], stride=[1,1]}\n"
    "%y = slice_grad %p {start=[0,16,1,0], step=[1,1,1,2], shape=[N,64,6,9]}\nout %y",
    "in %x: f32[N,20,4,5]\n%p = max_pool %x {kernel=[1,1], stride=[1,1]}\n"
    "%y = slice_grad %p {start=[0,32,0,0], step=[1,1,1,1], shape=[N,52,4,5]}\nout %y",
    "in %x: f32[N,20,4,5]\n%p = max_pool %x {kernel=[1,1], stride=[1,1]}\n"
    "%y = slice_grad %p {start=[0,3,0,0], step=[1,1,1,1], shape=[N,30,4,5]}\nout %y",
    NULL,
};

static void slice_grad(void) {
    CHECK_INT_EQ(case_check_all(slices, 1e-9, true), 0);
}

int main(void) {
    CHECK_RUN(max_pool_grad);
    CHECK_RUN(avg_pool_grad);
    CHECK_RUN(pool_grads_of_bf16);
    CHECK_RUN(batch_norm_train);
    CHECK_RUN(batch_norm_grad);
    CHECK_RUN(batch_norms_of_bf16);
    CHECK_RUN(batch_norm_epilogues);
    CHECK_RUN(lrn_grad);
    CHECK_RUN(softmax_ce);
    CHECK_RUN(dropout);
    CHECK_RUN(flip_filter);
    CHECK_RUN(interleave);
    CHECK_RUN(slice_grad);
    return check_done();
}
