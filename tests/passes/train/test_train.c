// Losses and optimisers against PyTorch (train_cases.def), expand_dgrad against what it replaces,
// fold_bn_param against what it folds.
#include "ir/random.h"
#include "passes/train/autodiff.h"
#include "tests/check.h"
#include <stdlib.h>

enum { MAX_VALUES = 24, STEPS = 4, ROW = 4 };

typedef struct Run {
    IrDiag diag;
    IrArena *a;
    PassContext ctx;
} Run;

static void open_run(Run *r) {
    ir_diag_init(&r->diag, "test_train");
    r->a = ir_arena_new(&r->diag);
    r->ctx = (PassContext){.scratch = r->a};
}

static void fill_pattern(IrTensor *x, int seed) {
    for (int64_t i = 0; i < ir_tensor_elems(x); i++) {
        ir_tensor_set(x, i, (double)((i * 37 + seed * 11) % 17 - 8) / 4);
    }
}

static void check_values(const char *name, const IrTensor *x, const double *want,
                         double tolerance) {
    for (int64_t i = 0; i < ir_tensor_elems(x); i++) {
        if (!CHECK_NEAR(ir_tensor_get(x, i), want[i], tolerance * (1 + fabs(want[i])))) {
            fprintf(stderr, "  %s, element %lld\n", name, (long long)i);
            return;
        }
    }
}

// ---------------------------------------------------------------- optimisers

typedef struct OptimiserCase {
    IrOptimizer kind;
    double lr, momentum, beta2, eps, decay, clip;
    double p[MAX_VALUES], m[MAX_VALUES], v[MAX_VALUES]; // after STEPS
} OptimiserCase;

typedef struct LossCase {
    IrLoss kind;
    int n, c;
    double smoothing;
    double loss[MAX_VALUES], dlogits[MAX_VALUES]; // the latter times 1/4
} LossCase;

#define LIST(...) {__VA_ARGS__}
#define LOSS(...)
#define OPTIMISER(kind, lr, momentum, beta2, eps, decay, clip, p, m, v)                            \
    {IR_OPT_##kind, lr, momentum, beta2, eps, decay, clip, LIST p, LIST m, LIST v},
static const OptimiserCase OPTIMISERS[] = {
#include "tests/passes/train/train_cases.def"
};
#undef LOSS
#undef OPTIMISER
#define LOSS(kind, n, c, smoothing, loss, dlogits)                                                 \
    {IR_LOSS_##kind, n, c, smoothing, LIST loss, LIST dlogits},
#define OPTIMISER(...)
static const LossCase LOSSES[] = {
#include "tests/passes/train/train_cases.def"
};

static double scalar_of(const OptimiserCase *c, const char *name, int step) {
    float beta1 = (float)c->momentum, beta2 = (float)c->beta2;
    const struct {
        const char *name;
        double x;
    } scalars[] = {{"lr", c->lr},
                   {"momentum", c->momentum},
                   {"beta2", c->beta2},
                   {"eps", c->eps},
                   {"decay", c->decay},
                   {"clip", c->clip},
                   {"correction1", 1 / (1 - pow(beta1, step))},
                   {"correction2", 1 / (1 - pow(beta2, step))}};
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        if (!strcmp(scalars[i].name, name)) {
            return scalars[i].x;
        }
    }
    CHECK(!"a known scalar");
    return NAN;
}

static void optimisers_step_as_pytorch(void) {
    for (size_t k = 0; k < sizeof OPTIMISERS / sizeof *OPTIMISERS; k++) {
        const OptimiserCase *c = &OPTIMISERS[k];
        Run r;
        open_run(&r);
        IrGraph *g = pass_optimizer(ir_program_new(r.a, "p"), c->kind, ROW);
        CHECK_STR_EQ(ir_verify(g), NULL);
        IrTensor state[3], in[16], out[3];
        int n_state = 0;
        for (int i = 0; i < g->n_inputs; i++) { // p, m, v in this order, each new_p, new_m, new_v
            const char *name = g->inputs[i]->name;
            in[i] = ir_tensor_new(r.a, &g->inputs[i]->type, 2);
            if (name[1] == 0 && name[0] != 'g') {
                CHECK(g->outputs[n_state]->name[4] == name[0]);
                state[n_state] = in[i];
                fill_pattern(&state[n_state], 1);
                for (int64_t e = 0; n_state && e < ir_tensor_elems(&in[i]); e++) {
                    ir_tensor_set(&state[n_state], e, 0);
                }
                n_state++;
            }
        }
        for (int step = 1; step <= STEPS; step++) {
            for (int i = 0; i < g->n_inputs; i++) {
                if (g->inputs[i]->type.shape.rank == 0) {
                    ir_tensor_set(&in[i], 0, scalar_of(c, g->inputs[i]->name, step));
                } else if (g->inputs[i]->name[0] == 'g') {
                    fill_pattern(&in[i], 1 + step);
                }
            }
            CHECK_STR_EQ(ir_eval(g, 2, in, out, r.a, NULL, NULL), NULL);
            for (int i = 0; i < n_state; i++) {
                memcpy(state[i].data, out[i].data, 2 * ROW * sizeof(float));
            }
        }
        check_values("p", &state[0], c->p, 2e-6);
        check_values("m", &state[1], c->m, 2e-6);
        if (n_state > 2) {
            check_values("v", &state[2], c->v, 5e-5); // 1 - 0.999f is 5e-5 more than 0.001
        }
        ir_arena_free(r.a);
    }
}

static void squares_are_summed_by_row(void) {
    Run r;
    open_run(&r);
    IrGraph *g = pass_square_sums(ir_program_new(r.a, "p"), ROW);
    IrTensor in = ir_tensor_new(r.a, &g->inputs[0]->type, 3), out;
    for (int i = 0; i < 3 * ROW; i++) {
        ir_tensor_set(&in, i, i);
    }
    CHECK_STR_EQ(ir_eval(g, 3, &in, &out, r.a, NULL, NULL), NULL);
    CHECK_STR_EQ(g->outputs[0]->name, "sum");
    check_values("sum", &out, (const double[]){14, 126, 366}, 0);
    ir_arena_free(r.a);
}

// ---------------------------------------------------------------- losses

static void losses_are_pytorchs(void) {
    for (size_t k = 0; k < sizeof LOSSES / sizeof *LOSSES; k++) {
        const LossCase *c = &LOSSES[k];
        Run r;
        open_run(&r);
        IrGraph *g = ir_graph_new(ir_program_new(r.a, "p"), "g");
        IrType t = {IR_F64, {4, {{0, 1}, {c->c, 0}, {1, 0}, {1, 0}}}, 0};
        t.shape.rank = k % 2 ? 2 : 4; // [N,C,1,1] from a classifier that is a convolution
        PassLoss l = pass_loss(g, ir_input(g, "logits", t), c->kind, c->c, true);
        CHECK(ir_type_eq(&l.dlogits->type, &t));
        ir_output(g, l.loss);
        ir_output(g, l.dlogits);
        CHECK_STR_EQ(ir_verify(g), NULL);
        IrTensor in[5], out[2];
        for (int i = 0; i < g->n_inputs; i++) {
            in[i] = ir_tensor_new(r.a, &g->inputs[i]->type, c->n);
            fill_pattern(&in[i], i == 2 ? 2 : i == 1 ? 3 : 1);
        }
        for (int64_t i = 0; i < ir_tensor_elems(&in[0]) && c->kind == IR_LOSS_BCE; i++) {
            ir_tensor_set(&in[0], i, 8 * ir_tensor_get(&in[0], i));
            ir_tensor_set(&in[1], i, (ir_tensor_get(&in[1], i) + 2) / 4);
        }
        for (int i = 0; i < c->n && c->kind == IR_LOSS_CE; i++) {
            ir_tensor_set(&in[1], i, i % c->c);
        }
        for (int i = 0; i < c->c; i++) {
            ir_tensor_set(&in[2], i, fabs(ir_tensor_get(&in[2], i)) + 0.5);
        }
        ir_tensor_set(&in[3], 0, c->smoothing);
        ir_tensor_set(&in[4], 0, 0.25);
        CHECK_STR_EQ(ir_eval(g, c->n, in, out, r.a, NULL, NULL), NULL);
        check_values("loss", &out[0], c->loss, 1e-8);
        check_values("dlogits", &out[1], c->dlogits, 1e-8);
        ir_arena_free(r.a);
    }
}

enum { SAMPLES = 2, CLASSES = 3, MOST = 12 };

// Loss and gradient of samples, or of maps of two places, with labels from `first` on; where `mix`,
// of those from `second` on as well, by their shares. Place 0 of a map's second labels does not
// count.
static void two_labels(int places, int first, bool mix, int second, double got[2][MOST]) {
    Run r;
    open_run(&r);
    IrGraph *g = ir_graph_new(ir_program_new(r.a, "p"), "g");
    IrType t = {IR_F64, {2, {{0, 1}, {CLASSES, 0}}}, 0};
    if (places > 1)
        t.shape = (IrShape){3, {{0, 1}, {places, 0}, {CLASSES, 0}}};
    PassLoss l = pass_loss(g, ir_input(g, "logits", t), IR_LOSS_CE, CLASSES, true);
    if (mix)
        pass_loss_mix(g, &l);
    ir_output(g, l.loss);
    ir_output(g, l.dlogits);
    CHECK_STR_EQ(ir_verify(g), NULL);
    IrTensor in[7], out[2];
    for (int i = 0; i < g->n_inputs; i++) {
        const char *name = g->inputs[i]->name;
        in[i] = ir_tensor_new(r.a, &g->inputs[i]->type, SAMPLES);
        fill_pattern(&in[i], 1 + i);
        bool two = strcmp(name, "label2") == 0;
        for (int k = 0; k < SAMPLES * places && (two || strcmp(name, "label") == 0); k++) {
            int label = ((two ? second : first) + k) % CLASSES;
            bool counts = k % 2 || places == 1 || (two ? second : first) == 0;
            ir_tensor_set(&in[i], k, counts ? label : -1);
        }
        for (int k = 0; k < SAMPLES && strcmp(name, "mix") == 0; k++)
            ir_tensor_set(&in[i], k, k ? 0.7 : 0.25);
        for (int k = 0; k < CLASSES && strcmp(name, "class_weight") == 0; k++)
            ir_tensor_set(&in[i], k, 0.5 + k);
        if (strcmp(name, "smoothing") == 0 || strcmp(name, "scale") == 0)
            ir_tensor_set(&in[i], 0, name[1] == 'm' ? 0.1 : 0.5);
    }
    CHECK_STR_EQ(ir_eval(g, SAMPLES, in, out, r.a, NULL, NULL), NULL);
    for (int o = 0; o < 2; o++)
        for (int64_t e = 0; e < ir_tensor_elems(&out[o]); e++)
            got[o][e] = ir_tensor_get(&out[o], e);
    ir_arena_free(r.a);
}

// A second label takes its share: of each sample what the two alone are, weighed.
static void shares_of_two_labels(void) {
    for (int places = 1; places <= 2; places++) {
        double one[2][MOST], other[2][MOST], both[2][MOST];
        two_labels(places, 0, false, 0, one);
        two_labels(places, 1, false, 0, other);
        two_labels(places, 0, true, 1, both);
        for (int o = 0; o < 2; o++)
            for (int e = 0; e < SAMPLES * (o ? places * CLASSES : 1); e++) {
                double share = e * 2 / (SAMPLES * (o ? places * CLASSES : 1)) ? 0.7 : 0.25;
                CHECK(fabs(both[o][e] - (share * one[o][e] + (1 - share) * other[o][e])) < 1e-12);
            }
        CHECK(places == 1 || fabs(other[1][0]) + fabs(other[1][1]) == 0);
    }
}

enum { PAIRS = 4 };
static const double pair_logits[PAIRS] = {-3, 0.25, 1.5, -0.5}, pair_weights[] = {0.75, 2.5};

// The loss, and its gradient by the logits, of samples with labels 0, 1, 0, 1.
static void weighed_pairs(IrLoss kind, int64_t columns, double *loss, double *dlogits) {
    Run r;
    open_run(&r);
    IrGraph *g = ir_graph_new(ir_program_new(r.a, "p"), "g");
    IrType t = {IR_F64, {2, {{0, 1}, {columns, 0}}}, 0};
    PassLoss l = pass_loss(g, ir_input(g, "logits", t), kind, 2, true);
    ir_output(g, l.loss);
    ir_output(g, l.dlogits);
    CHECK_STR_EQ(ir_verify(g), NULL);
    IrTensor in[5], out[2];
    for (int i = 0; i < 5; i++)
        in[i] = ir_tensor_new(r.a, &g->inputs[i]->type, PAIRS);
    for (int i = 0; i < PAIRS; i++) { // of two columns the first is 0
        ir_tensor_set(&in[0], i * columns, 0);
        ir_tensor_set(&in[0], i * columns + columns - 1, pair_logits[i]);
        ir_tensor_set(&in[1], i, i % 2);
    }
    for (int i = 0; i < 2; i++)
        ir_tensor_set(&in[2], i, pair_weights[i]);
    ir_tensor_set(&in[3], 0, 0);
    ir_tensor_set(&in[4], 0, 0.5);
    CHECK_STR_EQ(ir_eval(g, PAIRS, in, out, r.a, NULL, NULL), NULL);
    for (int i = 0; i < PAIRS; i++) {
        loss[i] = ir_tensor_get(&out[0], i);
        dlogits[i] = ir_tensor_get(&out[1], i * columns + columns - 1);
    }
    ir_arena_free(r.a);
}

// One logit x for two classes says what the logits 0 and x say, weights of both classes included.
static void one_logit_weighs_both_classes(void) {
    double loss[2][PAIRS], dlogits[2][PAIRS];
    weighed_pairs(IR_LOSS_BCE, 1, loss[0], dlogits[0]);
    weighed_pairs(IR_LOSS_CE, 2, loss[1], dlogits[1]);
    for (int i = 0; i < PAIRS; i++) {
        CHECK_NEAR(loss[0][i], loss[1][i], 1e-12);
        CHECK_NEAR(dlogits[0][i], dlogits[1][i], 1e-12);
    }
}

static void evaluation_asks_for_no_gradient(void) {
    Run r;
    open_run(&r);
    IrGraph *g = ir_graph_new(ir_program_new(r.a, "p"), "g");
    IrType t = {IR_F32, {2, {{0, 1}, {3, 0}}}, 0};
    PassLoss l = pass_loss(g, ir_input(g, "logits", t), IR_LOSS_CE, 3, false);
    CHECK(!l.scale && !l.dlogits && l.loss);
    CHECK_INT_EQ(g->n_inputs, 4);
    ir_arena_free(r.a);
}

// ---------------------------------------------------------------- expand_dgrad

static int64_t draw(uint64_t key, int *at, int64_t below) {
    return ir_random_u32(key, (uint64_t)(*at)++) % (uint64_t)below;
}

// A random convolution's gradient on small integers, where every order of summation is exact.
static bool check_dgrad(uint64_t seed) {
    Run r;
    open_run(&r);
    uint64_t key = ir_random_key(seed);
    int at = 0;
    int64_t group = 1 + draw(key, &at, 3), I = 1 + draw(key, &at, 3), O = 1 + draw(key, &at, 3);
    int64_t kernel[2], stride[2], dilation[2], pad[4], x[2], y[2];
    for (int i = 0; i < 2; i++) {
        kernel[i] = 1 + draw(key, &at, 5);
        stride[i] = 1 + draw(key, &at, 4);
        dilation[i] = 1 + draw(key, &at, 3);
        pad[i] = draw(key, &at, 5);
        pad[i + 2] = draw(key, &at, 5);
        int64_t reach = (kernel[i] - 1) * dilation[i] + 1;
        int64_t least = reach - pad[i] - pad[i + 2];
        x[i] = (least > 1 ? least : 1) + draw(key, &at, 8);
        y[i] = (x[i] + pad[i] + pad[i + 2] - reach) / stride[i] + 1;
    }
    const char *text =
        ir_sprintf(r.a,
                   "graph g(%%d: f32[N,%lld,%lld,%lld], %%w: f32[%lld,%lld,%lld,%lld]) -> (%%y) {\n"
                   "%%y = conv_dgrad %%d, %%w {stride=[%lld,%lld], pad=[%lld,%lld,%lld,%lld], "
                   "dilation=[%lld,%lld], group=%lld, shape=[N,%lld,%lld,%lld]} }",
                   (long long)(O * group), (long long)y[0], (long long)y[1], (long long)(O * group),
                   (long long)I, (long long)kernel[0], (long long)kernel[1], (long long)stride[0],
                   (long long)stride[1], (long long)pad[0], (long long)pad[1], (long long)pad[2],
                   (long long)pad[3], (long long)dilation[0], (long long)dilation[1],
                   (long long)group, (long long)(I * group), (long long)x[0], (long long)x[1]);
    IrProgram *p = ir_parse(r.a, "dgrad", text, strlen(text));
    bool same = CHECK(p != NULL);
    if (same) {
        IrGraph *g = p->graphs[0];
        PassOptions opt = {.verify = true};
        IrTensor in[2], want, got;
        for (int i = 0; i < 2; i++) {
            in[i] = ir_tensor_new(r.a, &g->inputs[i]->type, 2);
            for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
                ir_tensor_set(&in[i], k, (double)draw(key, &at, 15) - 7);
            }
        }
        CHECK_STR_EQ(ir_eval(g, 2, in, &want, r.a, NULL, NULL), NULL);
        CHECK(passes_run_named(p, g, &opt, "expand_dgrad"));
        for (IrNode *n = g->first; n; n = n->next) {
            CHECK(n->op != IR_OP_CONV_DGRAD);
        }
        CHECK_STR_EQ(ir_eval(g, 2, in, &got, r.a, NULL, NULL), NULL);
        size_t bytes = (size_t)ir_tensor_elems(&want) * sizeof(float);
        for (int64_t i = 0; i < ir_tensor_elems(&want); i++) {
            ir_tensor_set(&got, i, ir_tensor_get(&got, i) + 0.0); // -0 and 0 are the same
            ir_tensor_set(&want, i, ir_tensor_get(&want, i) + 0.0);
        }
        same = CHECK(!memcmp(want.data, got.data, bytes));
    }
    if (!same) {
        fprintf(stderr, "  seed %llu: %s\n", (unsigned long long)seed, text);
    }
    ir_arena_free(r.a);
    return same;
}

static void expanded_gradients_are_the_same(void) {
    for (uint64_t seed = 0; seed < 400; seed++) {
        if (!check_dgrad(seed)) {
            break;
        }
    }
}

// ---------------------------------------------------------------- fold_bn_param

static void folding_keeps_the_value(void) {
    static const char *const graphs[] = {
        "graph g(%x: f64[N,2,5,5], %w: f64[3,2,3,3], %c: f64[3], %g: f64[3], %b: f64[3]) -> (%y) "
        "{\n"
        "%a = conv %x, %w, %c {pad=[1,1,1,1]}\n%y = batch_norm %a, %g, %b, %m, %v {eps=0.1} }",
        "graph g(%x: f64[N,2,5,5], %w: f64[3,2,3,3]) -> (%y) {\n"
        "%a = conv %x, %w\n%y = batch_norm %a, %k, %k, %m, %v {eps=0.1} }",
        "graph g(%x: f64[N,1,5,5], %g: f64[3]) -> (%y) {\n"
        "%a = conv %x, %f\n%y = batch_norm %a, %g, %k, %m, %v {eps=0.1} }",
        "graph g(%x: f64[N,4,5,5], %w: f64[4,2,3,3], %g: f64[4], %m: f64[4], %v: f64[4]) -> (%y) "
        "{\n"
        "%a = conv %x, %w {group=2}\n%y = batch_norm %a, %g, %m, %m, %v {eps=9} }"};
    for (size_t k = 0; k < sizeof graphs / sizeof *graphs; k++) {
        Run r;
        open_run(&r);
        const char *text = ir_sprintf(r.a,
                                      "const %%m: f64[3] = [1, -2, 0.5]\n"
                                      "const %%v: f64[3] = [0.25, 1, 2]\n"
                                      "const %%k: f64[3] = [3, -1, 2]\n"
                                      "const %%f: f64[3,1,3,3] = rand(3)\n%s",
                                      graphs[k]);
        if (k == 3) {
            text = graphs[k];
        }
        IrProgram *p = ir_parse(r.a, "bn", text, strlen(text));
        if (CHECK(p != NULL)) {
            IrGraph *g = p->graphs[0];
            PassOptions opt = {.verify = true};
            IrTensor in[5], want, got;
            for (int i = 0; i < g->n_inputs; i++) {
                in[i] = ir_tensor_new(r.a, &g->inputs[i]->type, 2);
                fill_pattern(&in[i], i + 1);
            }
            CHECK_STR_EQ(ir_eval(g, 2, in, &want, r.a, NULL, NULL), NULL);
            CHECK(passes_run_named(p, g, &opt, "fold_bn_param"));
            bool left = false;
            for (IrNode *n = g->first; n; n = n->next) {
                left = left || n->op == IR_OP_BATCH_NORM;
            }
            CHECK(!left);
            CHECK_STR_EQ(ir_eval(g, 2, in, &got, r.a, NULL, NULL), NULL);
            check_values(graphs[k], &got, want.data, 1e-12);
        }
        ir_arena_free(r.a);
    }
}

int main(void) {
    CHECK_RUN(optimisers_step_as_pytorch);
    CHECK_RUN(squares_are_summed_by_row);
    CHECK_RUN(losses_are_pytorchs);
    CHECK_RUN(shares_of_two_labels);
    CHECK_RUN(one_logit_weighs_both_classes);
    CHECK_RUN(evaluation_asks_for_no_gradient);
    CHECK_RUN(expanded_gradients_are_the_same);
    CHECK_RUN(folding_keeps_the_value);
    return check_done();
}
