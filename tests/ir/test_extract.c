// ir_extract(): whole copies, parts between values, constants that become inputs.
#include "ir/ir.h"
#include "tests/check.h"

#include <string.h>

static IrArena *a;
static IrGraph *g;

static const char text[] = "const %w: f32[3,2] = [1, 2, 3, 4, 5, 6]\n"
                           "const %b: f32[2] = [7, 8]\n"
                           "graph g(%x: f32[N,3], %unused: f32[N,1]) -> (%y, %z) {\n"
                           "  %m = matmul %x, %w, %b\n"
                           "  %r = relu %m\n"
                           "  %s = softmax %r {axis=1}\n"
                           "  %y = add %s, %r\n"
                           "  %z = neg %m\n"
                           "}\n";

static IrValue *find_value(const char *name) {
    for (IrNode *n = g->first; n; n = n->next)
        if (n->out[0]->name && strcmp(n->out[0]->name, name) == 0)
            return n->out[0];
    return NULL;
}

static IrTensor tensor(int rank, const int64_t *dims, const double *v) {
    IrType t = {.dtype = IR_F32, .shape = ir_shape_of(rank, dims)};
    IrTensor x = ir_tensor_new(a, &t, 1);
    for (int64_t i = 0; i < ir_tensor_elems(&x); i++)
        ir_tensor_set(&x, i, v[i]);
    return x;
}

static void copies_the_whole(void) {
    IrGraph *h = ir_extract(g, "copy", 0, NULL, g->n_outputs, g->outputs);
    CHECK(!ir_verify(h) && !ir_verify(g));
    CHECK(h->n_inputs == 1 && h->n_outputs == 2 && h->n_nodes == g->n_nodes);
    CHECK_STR_EQ(h->outputs[1]->name, "z");
    IrTensor in[] = {tensor(2, (int64_t[]){1, 3}, (double[]){1, -1, 2}),
                     tensor(2, (int64_t[]){1, 1}, (double[]){0})};
    IrTensor y[2], z[2];
    CHECK(!ir_eval(g, 1, in, y, a, NULL, NULL) && !ir_eval(h, 1, in, z, a, NULL, NULL));
    for (int k = 0; k < 2; k++)
        CHECK(memcmp(y[k].data, z[k].data, 2 * sizeof(float)) == 0);
}

static void copies_inputs_that_nobody_reads(void) {
    IrGraph *h = ir_copy(g, "copy");
    CHECK(!ir_verify(h) && h->n_inputs == 2 && h->n_outputs == 2 && h->n_nodes == g->n_nodes);
    CHECK_STR_EQ(h->inputs[1]->name, "unused");
    CHECK_STR_EQ(h->outputs[0]->name, "y");
}

static void cuts_at_a_value(void) {
    IrValue *edge = find_value("r");
    IrGraph *h = ir_extract(g, "tail", 1, &edge, 1, g->outputs);
    CHECK(!ir_verify(h));
    CHECK(h->n_inputs == 1 && h->n_nodes == 2);
    CHECK_STR_EQ(h->inputs[0]->name, "r");
}

static void turns_constants_into_inputs(void) {
    IrValue *in[] = {find_value("m")->def->in[1].value, find_value("s")};
    IrGraph *h = ir_extract(g, "param", 2, in, 1, &g->outputs[1]); // softmax is not needed
    CHECK(!ir_verify(h));
    CHECK(h->n_inputs == 2 && h->n_nodes == 2);
    CHECK_STR_EQ(h->inputs[0]->name, "w");
    CHECK_STR_EQ(h->inputs[1]->name, "x");
    IrTensor x[] = {tensor(2, (int64_t[]){3, 2}, (double[]){1, 0, 0, 1, 0, 0}),
                    tensor(2, (int64_t[]){1, 3}, (double[]){5, 6, 9})};
    IrTensor y;
    CHECK(!ir_eval(h, 1, x, &y, a, NULL, NULL));
    CHECK_NEAR(ir_tensor_get(&y, 0), -12, 0);
    CHECK_NEAR(ir_tensor_get(&y, 1), -14, 0);
}

// An output that is an input of the part is copied.
static void copies_an_output_that_is_an_input(void) {
    IrValue *m = find_value("m");
    IrGraph *h = ir_extract(g, "same", 1, &m, 1, &m);
    CHECK(!ir_verify(h));
    CHECK(h->n_nodes == 1 && h->first->op == IR_OP_COPY);
}

int main(void) {
    IrDiag diag;
    ir_diag_init(&diag, "test");
    a = ir_arena_new(&diag);
    IrProgram *p = ir_parse(a, "test", text, strlen(text));
    g = p ? p->graphs[0] : NULL;
    CHECK(g != NULL);
    CHECK_RUN(copies_the_whole);
    CHECK_RUN(copies_inputs_that_nobody_reads);
    CHECK_RUN(cuts_at_a_value);
    CHECK_RUN(turns_constants_into_inputs);
    CHECK_RUN(copies_an_output_that_is_an_input);
    ir_arena_free(a);
    return check_done();
}
