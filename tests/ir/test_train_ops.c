// The ops that only training needs: shape rules, text form, verifier, and the evaluator against
// PyTorch's results (train_cases.def), numbers worked out by hand and each other.
#include "ir/random.h"
#include "tests/check.h"
#include "tests/ir/ir_text.h"

enum { MAX_RESULTS = 3, MAX_VALUES = 200 };

typedef struct TrainCase { // inputs hold the pattern of make_train_cases.py; labels are 0 1 2 0
                           // ..., second ones 1 2 0 1
    const char *name, *inputs, *body;
    int n_out, count[MAX_RESULTS];
    double out[MAX_RESULTS][MAX_VALUES];
} TrainCase;

static const TrainCase CASES[] = {
#include "tests/ir/train_cases.def"
};

static IrGraph *parse_graph(TextCase *t, const char *inputs, const char *body,
                            const char *outputs) {
    const char *text = ir_sprintf(t->arena,
                                  "const %%s0: f64[] = splat(0) const %%s1: f64[] = splat(0.1)\n"
                                  "const %%s3: f64[] = splat(0.3) const %%s5: f64[] = splat(0.5)\n"
                                  "const %%s10: f64[] = splat(1) const %%k20: f64[] = splat(20)\n"
                                  "graph g(%s) -> (%s) {\n%s\n}\n",
                                  inputs, outputs, body);
    IrProgram *p = text_parse(t, text);
    CHECK_STR_EQ(text_log(t), "");
    return p ? p->graphs[0] : NULL;
}

static void fill_pattern(IrTensor *x, const char *name, int seed) {
    for (int64_t i = 0; i < ir_tensor_elems(x); i++) {
        double v = (double)((i * 37 + seed * 11) % 17 - 8) / 4;
        ir_tensor_set(x, i,
                      x->dtype == IR_I32 ? (double)((i + (strcmp(name, "label2") == 0)) % 3)
                      : strncmp(name, "pos", 3) == 0 ? fabs(v) + 0.5
                                                     : v);
    }
}

static void agree_with_pytorch(void) {
    static const char *const RESULTS[] = {"%y", "%y, %d", "%y, %m, %v"};
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        const TrainCase *c = &CASES[k];
        TextCase t;
        text_open(&t);
        IrGraph *g = parse_graph(&t, c->inputs, c->body, RESULTS[c->n_out - 1]);
        IrTensor in[5], out[MAX_RESULTS];
        for (int i = 0; g && i < g->n_inputs; i++) {
            in[i] = ir_tensor_new(t.arena, &g->inputs[i]->type, 1);
            fill_pattern(&in[i], g->inputs[i]->name, i + 1);
        }
        const char *why = g ? ir_eval(g, 1, in, out, t.arena, NULL, NULL) : "no graph";
        CHECK_STR_EQ(why, NULL);
        for (int r = 0; r < c->n_out && !why; r++) {
            CHECK_INT_EQ(ir_tensor_elems(&out[r]), c->count[r]);
            for (int i = 0; i < c->count[r]; i++) {
                double want = c->out[r][i];
                if (!CHECK_NEAR(ir_tensor_get(&out[r], i), want, 1e-10 * (1 + fabs(want)))) {
                    fprintf(stderr, "  %s, result %d, element %d\n", c->name, r, i);
                    break;
                }
            }
        }
        text_close(&t);
    }
}

// ---------------------------------------------------------------- by hand

typedef struct HandCase { // f32 inputs 1, 2, 3, ... through all of them
    const char *inputs, *body;
    int count;
    double out[32];
} HandCase;

static const HandCase HAND[] = {
    // [O=2,I=1,1,3]: 1 2 3 / 4 5 6 -> [1,2,1,3]
    {"%w: f32[2,1,1,3]", "%y = flip_filter %w", 6, {3, 2, 1, 6, 5, 4}},
    // two groups of [1 out, 2 in]: 1 2 / 3 4 / .. as [2,2,1,1] -> [4,1,1,1]
    {"%w: f32[2,2,1,1]", "%y = flip_filter %w {group=2}", 4, {1, 2, 3, 4}},
    {"%w: f32[2,2,2,1]", "%y = flip_filter %w", 8, {2, 1, 6, 5, 4, 3, 8, 7}},
    {"%a: f32[1,1,2,2], %b: f32[1,1,2,1]",
     "%y = interleave %a, %b {stride=[1,2], shape=[1,1,2,3]}",
     6,
     {1, 5, 2, 3, 6, 4}},
    {"%a: f32[1,1,2,2]",
     "%y = interleave _, _, _, %a {stride=[2,2], shape=[1,1,3,4]}",
     12,
     {0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0}},
    {"%a: f32[1,1,1,1], %b: f32[1,1,5,1]", // a ends early, b is longer than needed
     "%y = interleave %a, %b {stride=[2,1], shape=[1,1,4,1]}",
     4,
     {1, 2, 0, 3}},
    {"%d: f32[2]", "%y = slice_grad %d {start=[3], step=[-2], shape=[5]}", 5, {0, 2, 0, 1, 0}},
    {"%d: f32[1,2]",
     "%y = slice_grad %d {start=[1,0], step=[1,2], shape=[2,3]}",
     6,
     {0, 0, 0, 1, 0, 2}},
    {"%y0: f32[3], %d: f32[3]",
     "%a = neg %y0\n%b = relu_grad %y0, %d\n%c = relu_grad %a, %d\n"
     "%y = add %b, %c",
     3,
     {4, 5, 6}},
};

static void computed_by_hand(void) {
    for (size_t k = 0; k < sizeof HAND / sizeof *HAND; k++) {
        const HandCase *c = &HAND[k];
        TextCase t;
        text_open(&t);
        IrGraph *g = parse_graph(&t, c->inputs, c->body, "%y");
        IrTensor in[3], out = {0};
        double next = 1;
        for (int i = 0; g && i < g->n_inputs; i++) {
            in[i] = ir_tensor_new(t.arena, &g->inputs[i]->type, 1);
            for (int64_t e = 0; e < ir_tensor_elems(&in[i]); e++) {
                ir_tensor_set(&in[i], e, next++);
            }
        }
        const char *why = g ? ir_eval(g, 1, in, &out, t.arena, NULL, NULL) : "no graph";
        if (CHECK_STR_EQ(why, NULL) && CHECK_INT_EQ(ir_tensor_elems(&out), c->count)) {
            for (int i = 0; i < c->count; i++) {
                if (!CHECK_NEAR(ir_tensor_get(&out, i), c->out[i], 0)) {
                    fprintf(stderr, "  %s, element %d\n", c->body, i);
                }
            }
        }
        text_close(&t);
    }
}

// The same step gives the same mask, another step another; the share that is kept is right, and so
// is the scale. Without a seed operand the mask is the attribute's alone.
static void dropout_follows_its_seed(void) {
    enum { ELEMS = 4000 };
    TextCase t;
    text_open(&t);
    IrGraph *g = parse_graph(&t, "%x: f32[4000], %s: i64[]",
                             "%y = dropout %x, %s {ratio=0.25, seed=7}\n"
                             "%z = dropout %x {ratio=0.25, seed=7}",
                             "%y, %z");
    IrTensor in[2] = {ir_tensor_new(t.arena, &g->inputs[0]->type, 1),
                      ir_tensor_new(t.arena, &g->inputs[1]->type, 1)};
    IrTensor out[3][2];
    static const double steps[] = {3, 3, -4};
    for (int i = 0; i < ELEMS; i++) {
        ir_tensor_set(&in[0], i, 1);
    }
    for (int k = 0; k < 3; k++) {
        ir_tensor_set(&in[1], 0, steps[k]);
        CHECK_STR_EQ(ir_eval(g, 1, in, out[k], t.arena, NULL, NULL), NULL);
    }
    int kept = 0, differs = 0, alone = 0;
    uint64_t key = ir_random_key_with(7, 3);
    for (int i = 0; i < ELEMS; i++) {
        double y = ir_tensor_get(&out[0][0], i);
        bool keep = ir_random_u32(key, (uint64_t)i) >= 0x40000000u;
        CHECK_NEAR(y, keep ? (float)(1 / 0.75) : 0, 0);
        CHECK_NEAR(y, ir_tensor_get(&out[1][0], i), 0);
        kept += y != 0;
        differs += y != ir_tensor_get(&out[2][0], i);
        alone += y != ir_tensor_get(&out[2][1], i);
    }
    CHECK_NEAR(kept, 3000, 120);
    CHECK(differs > 1000 && alone > 1000);
    text_close(&t);
}

// ---------------------------------------------------------------- shapes and text

typedef struct ShapeCase {
    const char *inputs, *node, *want; // the types of the results, or after `!` the reason
} ShapeCase;

static const ShapeCase SHAPES[] = {
    {"%d: f32[N,4,3,3], %w: f32[4,2,3,3]", "%y = conv_dgrad %d, %w {stride=[2,2], shape=[N,2,7,8]}",
     "f32[N,2,7,8]"},
    {"%d: f32[N,4,3,3], %w: f32[4,2,3,3]", "%y = conv_dgrad %d, %w {stride=[2,2], shape=[N,2,9,7]}",
     "!operand 0 is f32[N,4,3,3], it must be f32[N,4,4,3]"},
    {"%d: f32[N,4,3,3], %w: f32[4,2,3,3]", "%y = conv_dgrad %d, %w", "!attribute shape is missing"},
    {"%d: f32[N,4,3,3], %w: f32[4,2,3,3]", "%y = conv_dgrad %d, %w {shape=[N,2,7]}",
     "!shape has rank 3, it must be 4"},
    {"%d: f32[N,4,3,3], %w: f32[4,2,3,3]", "%y = conv_dgrad %d, %w {shape=[N,2,5,N]}",
     "!f32[N,2,5,N] is too large, or its size is not affine in N"},
    {"%d: f32[N,4,3,3], %w: f32[4,2,3,3]", "%y = conv_dgrad %d, %w {shape=[N,3,5,5]}",
     "!group 1 does not fit 3 input channels and weights [4,2,...]"},
    {"%d: f32[N,4,3,3], %w: f32[4,2,3,3]", "%y = conv_dgrad %d, %w {shape=[N,2,2,2]}",
     "!kernel 3x3 is larger than the padded input 2x2"},
    {"%d: i32[N,4,3,3], %w: i32[4,2,3,3]", "%y = conv_dgrad %d, %w {shape=[N,2,5,5]}",
     "!operand 0 is i32[N,4,3,3], it must be of floating point"},
    {"%x: f32[N,2,5,5], %d: f32[N,4,3,3]", "%y = conv_wgrad %x, %d {shape=[4,2,3,3]}",
     "f32[4,2,3,3]"},
    {"%x: f32[N,2,5,5], %d: f32[N,4,3,3]", "%y = conv_wgrad %x, %d {shape=[4,1,3,3], group=2}",
     "f32[4,1,3,3]"},
    {"%x: f32[N,2,5,5], %d: f32[N,4,3,3]", "%y = conv_wgrad %x, %d {shape=[4,2,2,3]}",
     "!operand 1 is f32[N,4,3,3], it must be f32[N,4,4,3]"},
    {"%x: f32[N,2,5,5], %d: f32[N,4,3,3]", "%y = conv_wgrad %x, %d {shape=[N,2,3,3]}",
     "!dimension 0 of shape must not depend on N"},
    {"%x: f32[N,2,5,5], %d: f32[N,4,3,3]", "%y = conv_wgrad %x, %d {shape=[4,2,0,3]}",
     "!the kernel of the weights is empty"},
    {"%w: f32[4,3,2,5]", "%y = flip_filter %w {group=2}", "f32[6,2,2,5]"},
    {"%w: f32[4,3,2,5]", "%y = flip_filter %w {group=3}",
     "!group 3 does not fit weights f32[4,3,2,5]"},
    {"%a: f32[N,2,2,2]", "%y = interleave %a, _ {stride=[2,1], shape=[N,2,3,2]}", "f32[N,2,3,2]"},
    {"%a: f32[N,2,2,2]", "%y = interleave %a {stride=[2,1], shape=[N,2,3,2]}",
     "!1 operands for stride 2x1, or all of them absent"},
    {"%a: f32[N,2,2,2]", "%y = interleave _, _ {stride=[2,1], shape=[N,2,3,2]}",
     "!2 operands for stride 2x1, or all of them absent"},
    {"%a: f32[N,3,2,2]", "%y = interleave %a, _ {stride=[2,1], shape=[N,2,3,2]}",
     "!operand 0 is f32[N,3,2,2], it does not fit shape"},
    {"%x: f32[N,2,5,5], %d: f32[N,2,2,2]", "%y = max_pool_grad %x, %d {kernel=[2,2], stride=[2,2]}",
     "f32[N,2,5,5]"},
    {"%x: f32[N,2,5,5], %d: f32[N,2,2,2]", "%y = max_pool_grad %x, %d {kernel=[2,2]}",
     "!operand 1 is f32[N,2,2,2], it must be f32[N,2,4,4]"},
    {"%d: f32[N,2,2,2]", "%y = avg_pool_grad %d {kernel=[2,2], stride=[2,2], shape=[N,2,5,4]}",
     "f32[N,2,5,4]"},
    {"%d: f32[N,2,2,2]", "%y = avg_pool_grad %d {kernel=[2,2], stride=[2,2], shape=[N,2,6,4]}",
     "!operand 0 is f32[N,2,2,2], it must be f32[N,2,3,2]"},
    {"%x: f32[N,3,4], %g: f32[3]", "%y, %m, %v = batch_norm_train %x, %g, %g {eps=0.1}",
     "f32[N,3,4] f32[3] f32[3]"},
    {"%x: f32[N,3,4], %g: f32[4]", "%y, %m, %v = batch_norm_train %x, %g, %g",
     "!operand 1 is f32[4], it must be f32[3]"},
    {"%x: f32[N,3,4], %g: f32[3]", "%y, %m = batch_norm_train %x, %g, %g",
     "!batch_norm_train has 3 results, not 2"},
    {"%x: f32[N,3,4], %g: f32[3]", "%y, %m, %v = batch_norm_grad %x, %x, %g, %g, %g",
     "f32[N,3,4] f32[3] f32[3]"},
    {"%x: f32[N,3,4], %g: f32[3]", "%y, %m, %v = batch_norm_grad %x, %g, %g, %g, %g",
     "!operand 1 is f32[3], it must be f32[N,3,4]"},
    {"%x: f32[N,3]", "%y = lrn_grad %x, %x {size=3}", "f32[N,3]"},
    {"%x: f32[N,3]", "%y = lrn_grad %x, %x", "!size is 0, it must be at least 1"},
    {"%x: bf16[N,3,4], %g: f32[3]", "%y, %m, %v = batch_norm_train %x, %g, %g {to=f32}",
     "f32[N,3,4] f32[3] f32[3]"},
    {"%x: bf16[N,3,4], %g: f32[3]",
     "%y, %m, %v = batch_norm_train %x, %g, %g, %x "
     "{to=f32, then=[cast(3, to=f32), add(acc, s0), cast(s1, to=bf16)]}",
     "bf16[N,3,4] f32[3] f32[3]"},
    {"%x: bf16[N,3,4], %g: f32[3]", "%y, %m, %v = batch_norm_train %x, %g, %g",
     "!operand 1 is f32[3], it must be bf16[3]"},
    {"%x: f64[N,3,4], %g: f32[3]", "%y, %m, %v = batch_norm_train %x, %g, %g {to=f32}",
     "!batch_norm_train of f64 to 'f32'"},
    {"%x: bf16[N,3,4], %g: f32[3]",
     "%y, %m, %v = batch_norm_grad %x, %x, %g, %g, %g {to=f32, then=[cast(acc, to=bf16)]}",
     "bf16[N,3,4] f32[3] f32[3]"},
    {"%x: bf16[N,3,4], %d: f32[N,3,4], %g: f32[3]",
     "%y, %m, %v = batch_norm_grad %x, %d, %g, %g, %g {to=f32}",
     "!operand 1 is f32[N,3,4], it must be bf16[N,3,4]"},
    {"%x: f32[N,3], %l: i32[N], %w: f32[3], %s: f32[]", "%y, %d = softmax_ce %x, %l, %w, %s",
     "f32[N] f32[N,3]"},
    {"%x: f32[N,3], %l: i64[N], %w: f32[3], %s: f32[]", "%y, %d = softmax_ce %x, %l, %w, %s",
     "!operand 1 is i64[N], it must be i32[N]"},
    {"%x: f32[N,3], %l: i32[N], %w: f32[3], %s: f32[1]", "%y, %d = softmax_ce %x, %l, %w, %s",
     "!operand 3 is f32[1], it must be f32[]"},
    {"%x: f32[N,3], %l: i32[N], %w: f32[3], %s: f32[], %m: f32[N]",
     "%y, %d = softmax_ce %x, %l, %w, %s, %l, %m", "f32[N] f32[N,3]"},
    {"%x: f32[N,3], %l: i32[N], %w: f32[3], %s: f32[], %m: f32[N]",
     "%y, %d = softmax_ce %x, %l, %w, %s, %l", "!a second label and its share are there together"},
    {"%x: f32[N,3], %l: i32[N], %w: f32[3], %s: f32[]",
     "%y, %d = softmax_ce %x, %l, %w, %s, %l, %s", "!operand 5 is f32[], it must be f32[N]"},
    {"%d: f32[N,2]", "%y = slice_grad %d {start=[0,1], step=[1,3], shape=[N,5]}", "f32[N,5]"},
    {"%d: f32[N,2]", "%y = slice_grad %d {start=[0,1], step=[1,3], shape=[N,4]}",
     "!axis 1: 2 elements from 1 on by step 3 are not within 4"},
    {"%d: f32[N,2]", "%y = slice_grad %d {start=[0,1], step=[1,1], shape=[N,4,1]}",
     "!start has 2 values, it must have 3"},
    {"%x: f32[N,3], %s: i64[]", "%y = dropout %x, %s {ratio=0.5}", "f32[N,3]"},
    {"%x: f32[N,3], %s: i32[]", "%y = dropout %x, %s {ratio=0.5}",
     "!operand 1 is i32[], it must be i64[]"},
};

static void have_shapes_and_a_text_form(void) {
    for (size_t k = 0; k < sizeof SHAPES / sizeof *SHAPES; k++) {
        const ShapeCase *c = &SHAPES[k];
        TextCase t;
        text_open(&t);
        IrProgram *p = text_parse(
            &t, ir_sprintf(t.arena, "graph g(%s) -> (%%y) {\n%s @\"n\"\n}", c->inputs, c->node));
        bool fine;
        if (*c->want == '!') {
            const char *log = text_log(&t), *reason = strstr(log, c->want + 1);
            fine = CHECK(!p) && CHECK(reason != NULL);
            fine = fine && CHECK_STR_EQ(reason, c->want + 1);
        } else {
            fine = CHECK_STR_EQ(text_log(&t), "") && CHECK(p != NULL);
            char types[400] = "", one[200];
            for (int i = 0; fine && i < p->graphs[0]->first->n_out; i++) {
                strcat(types, i ? " " : "");
                strcat(types, ir_type_print(&p->graphs[0]->first->out[i]->type, one, sizeof one));
            }
            fine = fine && CHECK_STR_EQ(types, c->want);
            const char *once = fine ? text_print(&t, p) : "";
            IrProgram *again = fine ? text_parse(&t, once) : NULL;
            fine = fine && CHECK(again != NULL) && CHECK_STR_EQ(text_print(&t, again), once);
        }
        if (!fine) {
            fprintf(stderr, "  in: (%s) %s\n  %s\n", c->inputs, c->node, text_log(&t));
        }
        text_close(&t);
    }
}

// Of a node with several results the verifier checks each.
static void are_verified(void) {
    TextCase t;
    text_open(&t);
    IrGraph *g = parse_graph(&t, "%x: f64[N,3]",
                             "%w = slice %x {start=[0,0], step=[1,1], shape=[N,3]}\n"
                             "%g = reduce_sum %w {axes=[0], keepdims=0}\n"
                             "%y, %m, %v = batch_norm_train %x, %g, %g",
                             "%y, %v");
    CHECK_STR_EQ(ir_verify(g), NULL);
    IrValue *mean = g->last->out[1];
    mean->type.shape.dim[0] = ir_dim(4);
    CHECK(ir_verify(g) && strstr(ir_verify(g), "its type is f64[4], it should be f64[3]"));
    mean->type.shape.dim[0] = ir_dim(3);
    mean->def = g->first;
    CHECK(ir_verify(g) && strstr(ir_verify(g), "does not name it as its definition"));
    mean->def = g->last;
    mean->id = g->last->out[0]->id;
    CHECK(ir_verify(g) && strstr(ir_verify(g), "is not unique"));
    text_close(&t);
}

int main(void) {
    CHECK_RUN(agree_with_pytorch);
    CHECK_RUN(computed_by_hand);
    CHECK_RUN(dropout_follows_its_seed);
    CHECK_RUN(have_shapes_and_a_text_form);
    CHECK_RUN(are_verified);
    return check_done();
}
