// Random graphs for one image, opened for any number of them: each image's results are those that
// it has alone, by the reference evaluator. Graphs for two, opened, at two again. And one graph is
// not another.
//
//   test_batch_open [COUNT [SEED]]
#include "frontend/batch/open.h"
#include "tests/check.h"
#include "tests/fuzz/graph_gen.h"

#include <stdlib.h>

enum { IMAGES = 3, COUNT = 1500 };

typedef struct Tried {
    int opened, opened_two, left_out, unfit;
    const char *reason[40];
    int times[40];
} Tried;

// What only passes make, and what draws random numbers.
static bool is_of_frontend(const IrGraph *g) {
    for (const IrNode *n = g->first; n; n = n->next) {
        if (ir_op_info(n->op)->flags & IR_FLAG_R || ir_attr(n, IR_ATTR_THEN) ||
            ir_attr(n, IR_ATTR_PRE) || ir_attr(n, IR_ATTR_MEAN) || ir_attr(n, IR_ATTR_POOL)) {
            return false;
        }
    }
    return true;
}

// Which inputs hold one image in their first dimension; false where N stands elsewhere.
static bool find_images(const IrGraph *g, bool *opens) {
    bool any = false;
    for (int i = 0; i < g->n_inputs; i++) {
        const IrShape *s = &g->inputs[i]->type.shape;
        opens[i] = s->rank > 0 && s->dim[0].n == 1 && s->dim[0].c == 0;
        any |= opens[i];
        for (int k = opens[i]; k < s->rank; k++) {
            if (s->dim[k].n) {
                return false;
            }
        }
    }
    return any;
}

static IrTensor slice_images(const IrTensor *x, bool each, int i) {
    IrTensor one = *x;
    if (each) {
        one.dim[0] = 1;
        one.data = (char *)x->data + i * ir_tensor_elems(&one) * ir_dtype_bytes(x->dtype);
    }
    return one;
}

static IrTensor *random_inputs(IrArena *a, const IrGraph *g, uint64_t seed) {
    IrTensor *in = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *in);
    for (int i = 0; i < g->n_inputs; i++) {
        in[i] = ir_tensor_new(a, &g->inputs[i]->type, IMAGES);
        for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            int64_t whole = (int64_t)(seed >> 40) % 9 - (in[i].dtype >= IR_U8 ? 0 : 4);
            ir_tensor_set(&in[i], k,
                          ir_dtype_is_float(in[i].dtype) ? (double)whole / 3 : (double)whole);
        }
    }
    return in;
}

// Element e of the output for image i, where N is a dimension of its own; e itself where it has
// none.
static int64_t place_of(const IrValue *open, int64_t e, int i) {
    const IrShape *s = &open->type.shape;
    int64_t behind = 1;
    for (int k = s->rank - 1; k >= 0; k--) {
        if (s->dim[k].n) {
            return (e / behind * IMAGES + i) * behind + e % behind;
        }
        behind *= s->dim[k].c;
    }
    return e;
}

static bool compare_image(const IrValue *v, const IrTensor *all, const IrTensor *alone, int i) {
    for (int64_t e = 0; e < ir_tensor_elems(alone); e++) {
        double x = ir_tensor_get(all, place_of(v, e, i)), y = ir_tensor_get(alone, e);
        if (!(x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= 1e-5 * (1 + fabs(y)))) {
            fprintf(stderr, "output '%s', image %d, element %lld: %.9g, alone %.9g\n", v->name, i,
                    (long long)e, x, y);
            return false;
        }
    }
    return true;
}

static bool compare_graphs(IrArena *a, IrGraph *one, IrGraph *any, const bool *opens,
                           uint64_t seed) {
    IrTensor *in = random_inputs(a, any, seed);
    IrTensor *all = ir_alloc_array(a, (size_t)any->n_outputs + 1, sizeof *all);
    bool ok = CHECK_STR_EQ(ir_eval(any, IMAGES, in, all, a, NULL, NULL), NULL);
    for (int i = 0; i < IMAGES && ok; i++) {
        IrTensor *image = ir_alloc_array(a, (size_t)one->n_inputs + 1, sizeof *image);
        IrTensor *alone = ir_alloc_array(a, (size_t)one->n_outputs + 1, sizeof *alone);
        for (int k = 0; k < one->n_inputs; k++) {
            image[k] = slice_images(&in[k], opens[k], i);
        }
        ok = CHECK_STR_EQ(ir_eval(one, 1, image, alone, a, NULL, NULL), NULL);
        for (int k = 0; k < one->n_outputs && ok; k++) {
            ok = CHECK(compare_image(any->outputs[k], &all[k], &alone[k], i));
        }
    }
    return ok;
}

// The graph of the seed for two images, opened: the same numbers for two.
static bool compare_two(IrArena *a, const bool *opens, uint64_t seed, Tried *t) {
    const char *why;
    IrProgram *p = gen_graph(a, seed);
    IrGraph *two = p->graphs[0], *any;
    fe_batch_fix(two, 2);
    if (ir_verify(two) || !(any = fe_batch_open(two, 2, opens, false, &why))) {
        return true;
    }
    t->opened_two++;
    IrTensor *in = random_inputs(a, two, seed);
    IrTensor *want = ir_alloc_array(a, (size_t)any->n_outputs + 1, sizeof *want);
    IrTensor *got = ir_alloc_array(a, (size_t)any->n_outputs + 1, sizeof *got);
    bool ok = CHECK_STR_EQ(ir_verify(any), NULL) &&
              CHECK_STR_EQ(ir_eval(two, 2, in, want, a, NULL, NULL), NULL) &&
              CHECK_STR_EQ(ir_eval(any, 2, in, got, a, NULL, NULL), NULL);
    for (int i = 0; i < any->n_outputs && ok; i++) {
        ok = CHECK_INT_EQ(ir_tensor_elems(&got[i]), ir_tensor_elems(&want[i]));
        for (int64_t e = 0; ok && e < ir_tensor_elems(&want[i]); e++) {
            double y = ir_tensor_get(&want[i], e);
            ok = CHECK_NEAR(ir_tensor_get(&got[i], e), y, 1e-5 * (1 + fabs(y)));
        }
    }
    return ok;
}

static void note_reason(Tried *t, const char *why) {
    const char *text = strstr(why, "): ");
    text = text ? text + 3 : why;
    for (int i = 0; i < 40; i++) {
        if (!t->reason[i] || strcmp(t->reason[i], text) == 0) {
            t->reason[i] = t->reason[i] ? t->reason[i] : strdup(text);
            t->times[i]++;
            return;
        }
    }
}

static void try_graph(uint64_t seed, Tried *t) {
    IrDiag diag;
    ir_diag_init(&diag, "random");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = gen_graph(a, seed);
    IrGraph *one = p->graphs[0], *any;
    bool *opens = ir_alloc_array(a, (size_t)one->n_inputs + 1, sizeof *opens);
    bool fits = is_of_frontend(one) && find_images(one, opens);
    const char *why = NULL;
    if (fits) {
        fe_batch_fix(one, 1);
        fits = !ir_verify(one);
    }
    if (!fits) {
        t->unfit++;
    } else if ((any = fe_batch_open(one, 1, opens, true, &why))) {
        t->opened++;
        bool ok = CHECK_STR_EQ(ir_verify(any), NULL) && CHECK(fe_batch_same(any, any)) &&
                  CHECK(!fe_batch_same(one, any)) && compare_graphs(a, one, any, opens, seed) &&
                  compare_two(a, opens, seed, t);
        if (!ok) {
            p->graphs[0] = one;
            fprintf(stderr, "// seed %llu\n", (unsigned long long)seed);
            ir_print_program(stderr, p);
            p->graphs[0] = any;
            ir_print_program(stderr, p);
        }
    } else {
        t->left_out++;
        note_reason(t, why);
    }
    ir_arena_free(a);
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : COUNT;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    Tried t = {0};
    for (int i = 0; i < count && check_state.failures == 0; i++) {
        try_graph(seed + (uint64_t)i, &t);
    }
    for (int i = 0; i < 40 && t.reason[i]; i++) {
        printf("%5d left out: %s\n", t.times[i], t.reason[i]);
        free((void *)t.reason[i]);
    }
    printf("%d graphs: %d opened, and %d for two; %d left out, %d are no frontend's\n", count,
           t.opened, t.opened_two, t.left_out, t.unfit);
    CHECK(t.opened >= count / 2 && t.opened_two >= count / 8);
    return check_done();
}
