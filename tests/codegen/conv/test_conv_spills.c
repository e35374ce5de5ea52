// The innermost loops of the convolutions of common networks keep everything in registers: no
// vector register is loaded from or stored to the stack there. Filters that are transformed once,
// in double, are no such loops. With a CPU as argument every shape is compiled for it; without,
// each CPU takes its share of them.
#include "tests/check.h"
#include "tests/codegen/conv/conv_shapes.h"
#include "tests/codegen/rig/rig.h"
#include "tests/codegen/conv/spills.h"

#include <string.h>

// Which shapes a CPU takes: all whose index is `first` modulo `step`.
typedef struct Share {
    const char *target;
    int first, step;
    int taps;      // its registers do not hold Winograd's transforms of more; 0: of any
    bool bytes;    // without an instruction for their dots LLVM spills some
} Share;

static const Share *share;

static bool is_pointwise(const ConvShape *c) {
    return c->kh == 1 && c->kw == 1 && c->s == 1 && c->group == 1;
}

static void add_conv(Rig *r, int k, const ConvShape *c) {
    rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = splat(1)", k, c->O, c->C / c->group, c->kh, c->kw);
    rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, c->O, k);
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_node(r, "%%c%d = conv %%x%d, %%w%d, %%b%d {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d}", k,
             k, k, k, c->s, c->s, c->pt, c->pl, c->pb, c->pr, c->group);
    rig_node(r, "%%y%d = relu %%c%d", k, k);
    rig_output(r, "%%y%d", k);
}

// Normalisation in front: its loop and the tiles that read the scratch.
static void add_prologue(Rig *r, int k, const ConvShape *c) {
    rig_const(r, "%%w%d: f32[%d,%d,1,1] = splat(1)", k, c->O, c->C);
    rig_const(r, "%%s%d: f32[%d,1,1] = rand(%d)", k, c->C, k);
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_node(r, "%%n%d = lrn %%x%d {size=1}", k, k); // takes no elementwise work itself
    rig_node(r, "%%m%d = mul %%n%d, %%s%d", k, k, k);
    rig_node(r, "%%a%d = add %%m%d, %%s%d", k, k, k);
    rig_node(r, "%%r%d = relu %%a%d", k, k);
    rig_node(r, "%%z%d = conv %%r%d, %%w%d", k, k, k);
    rig_output(r, "%%z%d", k);
}

// A pool behind it, as stems have one: the convolution's loops and the pool's.
static void add_pool(Rig *r, int k, const ConvShape *c) {
    rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = splat(1)", k, c->O, c->C / c->group, c->kh, c->kw);
    rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, c->O, k);
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_node(r, "%%c%d = conv %%x%d, %%w%d, %%b%d {stride=[%d,%d], pad=[%d,%d,%d,%d]}", k, k, k, k,
             c->s, c->s, c->pt, c->pl, c->pb, c->pr);
    rig_node(r, "%%r%d = relu %%c%d", k, k);
    rig_node(r, "%%y%d = max_pool %%r%d {kernel=[3,3], stride=[2,2], pad=[1,1,1,1]}", k, k);
    rig_output(r, "%%y%d", k);
}

// Bytes, with the epilogue of a quantized network: scale, rounding, zero point.
static void add_bytes(Rig *r, int k, const ConvShape *c) {
    rig_const(r, "%%w%d: i8[%d,%d,%d,%d] = splat(1)", k, c->O, c->C / c->group, c->kh, c->kw);
    rig_const(r, "%%s%d: f32[%d,1,1] = rand(%d)", k, c->O, k);
    rig_const(r, "%%z%d: f32[] = splat(3)", k);
    rig_input(r, "%%x%d: u8[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_node(r, "%%c%d = conv %%x%d, %%w%d {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d, zero=7}",
             k, k, k, c->s, c->s, c->pt, c->pl, c->pb, c->pr, c->group);
    rig_node(r, "%%f%d = cast %%c%d {to=f32}", k, k);
    rig_node(r, "%%m%d = mul %%f%d, %%s%d", k, k, k);
    rig_node(r, "%%r%d = round %%m%d", k, k);
    rig_node(r, "%%a%d = add %%r%d, %%z%d", k, k, k);
    rig_node(r, "%%y%d = cast %%a%d {to=u8}", k, k);
    rig_output(r, "%%y%d", k);
}

// Compiles what `add` makes of the share's shapes that `suits` takes, a few at a time.
static void check_shapes(bool winograd, bool (*suits)(const ConvShape *),
                         void (*add)(Rig *, int, const ConvShape *)) {
    int loops = 0, shapes = 0;
    for (int k = share->first; k < N_CONV_SHAPES;) {
        Rig *r = rig_new(share->target, 2);
        rig_winograd(r, winograd);
        int n = 0;
        for (; n < 16 && k < N_CONV_SHAPES; k += share->step)
            if (!suits || suits(&conv_shapes[k])) {
                add(r, k, &conv_shapes[k]);
                n++;
            }
        CgResult cg = {0};
        if (n > 0 && CHECK(rig_compile(r, &cg) != NULL))
            for (int i = 0; i < cg.n_files; i++)
                if (!strstr(cg.files[i], "weights"))
                    CHECK_INT_EQ(spills_count(cg.files[i], &loops), 0);
        shapes += n;
        rig_free(r);
    }
    CHECK(shapes > 0 && loops >= shapes / 2); // shapes that have a kernel in common share it
}

static void keeps_registers_in_direct(void) {
    check_shapes(false, NULL, add_conv);
}

static void keeps_registers_in_bytes(void) {
    check_shapes(false, NULL, add_bytes);
}

static bool may_take_pool(const ConvShape *c) {
    return c->group == 1 && c->kh > 1 && c->W > 28;
}

static void keeps_registers_in_pools(void) {
    check_shapes(false, may_take_pool, add_pool);
}

static void keeps_registers_in_prologues(void) {
    check_shapes(false, is_pointwise, add_prologue);
}

// Winograd's algorithms, Strassen's for those of one pixel
static bool may_take_fewer_products(const ConvShape *c) {
    return c->s == 1 && c->group == 1 && c->kh <= share->taps && c->kw <= share->taps;
}

static void keeps_registers_with_fewer_products(void) {
    check_shapes(true, may_take_fewer_products, add_conv);
}

static void check_share(const Share *s) {
    share = s;
    CHECK_RUN(keeps_registers_in_direct);
    if (s->bytes)
        CHECK_RUN(keeps_registers_in_bytes);
    CHECK_RUN(keeps_registers_in_pools);
    CHECK_RUN(keeps_registers_in_prologues);
    if (s->taps)
        CHECK_RUN(keeps_registers_with_fewer_products);
}

int main(int argc, char **argv) {
    static const Share shares[] = {
        {"znver4", 0, 3, 7, true},
        {"x86-64-v4", 1, 3, 7, false},
        {"x86-64-v3", 2, 3, 0, false},
    };
    static const Share arm[] = {{"neoverse-n1", 0, 5, 3, true}, {"neoverse-v1", 2, 5, 0, true}};
    if (argc > 1)
        check_share(&(Share){argv[1], 0, 1, strcmp(argv[1], "x86-64-v3") ? 7 : 0, true});
    else
        for (int i = 0; i < 3; i++)
            check_share(&shares[i]);
    for (int i = 0; argc == 1 && i < 2; i++)
        if (spills_can_read(arm[i].target))
            check_share(&arm[i]);
        else
            printf("%s: skipped: there is no objdump for it\n", arm[i].target);
    return check_done();
}
