// Importers of operators with indices and positions: compositions against values worked out by
// hand, and what is refused.
#include "tests/frontend/import/import_case.h"

typedef struct Attr {
    const char *name, *s; // s NULL: the number i
    int64_t i;
} Attr;

typedef struct Case {
    const char *op;
    int opset;
    const char *inputs; // "x" f32 at run time; "k" i64, "b" 0-d i64: constants
    CaseShape x;        // a first dimension of -1 is 3
    int n_k;
    int64_t k[12];
    Attr attr[4];
    const char *want; // of output 0: elements, x being 0, 1, 2 ...; or after `!` the reason
} Case;

static const Case cases[] = {
    {"TopK", 1, "x", {2, {1, 4}}, 0, {0}, {{"k", NULL, 2}}, "3 2"},
    {"TopK", 11, "x k", {2, {1, 4}}, 1, {2}, {{"largest", NULL, 0}, {"axis", NULL, -1}}, "0 1"},
    {"TopK",
     11,
     "x k",
     {2, {1, 4}},
     1,
     {5},
     {{0}},
     "!size is 5, axis 1 of operand 0, f32[1,4], has not as many"},
    {"TopK", 11, "x k", {2, {1, 4}}, 2, {1, 2}, {{0}}, "!k is not one number of at least 0"},
    {"TopK", 1, "x", {2, {1, 4}}, 0, {0}, {{0}}, "!k is not one number of at least 0"},
    {"ArgMax", 1, "x", {2, {2, 3}}, 0, {0}, {{"axis", NULL, 1}}, "2 2"},
    {"ArgMin", 13, "x", {2, {2, 3}}, 0, {0}, {{"axis", NULL, -2}, {"keepdims", NULL, 0}}, "0 0 0"},
    {"ArgMax",
     13,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"axis", NULL, 2}},
     "!axis 2 is outside a tensor of rank 2"},
    {"CumSum", 14, "x k", {2, {2, 3}}, 1, {-1}, {{"reverse", NULL, 1}}, "3 3 2 12 9 5"},
    {"CumSum", 14, "x k", {2, {2, 3}}, 2, {0, 1}, {{0}}, "!its axis is not one number"},
    {"CumSum", 14, "x k", {2, {2, 3}}, 1, {7}, {{0}}, "!axis 7 is outside a tensor of rank 2"},
    {"Tile",
     13,
     "x k",
     {5, {1, 2, 1, 2, 1}},
     5,
     {2, 1, 2, 2, 2},
     {{0}},
     "0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1 2 2 3 3 2 2 3 3 2 2 3 3 2 2 3 3 "
     "0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1 2 2 3 3 2 2 3 3 2 2 3 3 2 2 3 3"},
    {"Tile", 13, "x k", {2, {-1, 2}}, 2, {2, 1}, {{0}}, "0 1 2 3 4 5 0 1 2 3 4 5"},
    {"Gather",
     13,
     "x k",
     {2, {2, 3}},
     1,
     {3},
     {{"axis", NULL, 1}},
     "!index 3 is outside axis 1 of size 3"},
    {"GatherElements", 13, "x k", {1, {4}}, 3, {-1, 0, -4}, {{0}}, "3 0 0"},
    {"GatherElements",
     13,
     "x k",
     {1, {4}},
     2,
     {0, -5},
     {{0}},
     "!index -5 is outside axis 0 of size 4"},
    {"GatherND", 13, "x k", {2, {2, 3}}, 2, {1, -1}, {{0}}, "5"},
    {"GatherND", 13, "x k", {2, {2, 3}}, 1, {-1}, {{0}}, "3 4 5"},
    {"GatherND", 13, "x k", {2, {2, 3}}, 2, {1, 3}, {{0}}, "!index 3 is outside axis 1 of size 3"},
    {"GatherND",
     13,
     "x k",
     {2, {2, 3}},
     3,
     {0, 0, 0},
     {{0}},
     "!the last axis of the indices does not count axes of the data"},
    {"GatherND",
     13,
     "x k",
     {2, {2, 3}},
     1,
     {0},
     {{"batch_dims", NULL, 2}},
     "!batch_dims is 2 for data of rank 2"},
    {"Scatter", 9, "x k x", {1, {3}}, 3, {2, 0, 1}, {{0}}, "1 2 0"},
    {"ScatterElements", 16, "x k x", {1, {3}}, 3, {2, 0, 2}, {{"reduction", "add", 0}}, "1 1 4"},
    {"ScatterElements", 18, "x k x", {1, {3}}, 3, {2, 0, 2}, {{"reduction", "max", 0}}, "1 1 2"},
    {"ScatterElements",
     18,
     "x k x",
     {1, {3}},
     3,
     {2, 0, 3},
     {{0}},
     "!index 3 is outside axis 0 of size 3"},
    {"ScatterElements",
     18,
     "x k x",
     {1, {3}},
     3,
     {2, 0, 1},
     {{"reduction", "div", 0}},
     "!mode 'div' is unknown"},
    {"ScatterND",
     18,
     "x k x",
     {1, {3}},
     1,
     {0},
     {{0}},
     "!operand 2 is f32[3], it does not fit f32[3] and indices i64[1]"},
    {"OneHot", 11, "k b x", {1, {2}}, 4, {0, 2, -1, 7}, {{0}}, "1 0 0 0 0 1 0 0 1 0 0 0"},
    {"OneHot", 11, "k b x", {1, {2}}, 2, {1, 2}, {{"axis", NULL, 0}}, "0 0 1 0 0 1"},
    {"OneHot", 9, "x b x", {1, {2}}, 0, {0}, {{"axis", NULL, -1}}, "1 0 0 0 1 0"},
    {"OneHot",
     11,
     "k b x",
     {1, {3}},
     2,
     {1, 2},
     {{0}},
     "!depth 3, indices of rank 1 or its values do not fit"},
    {"Compress", 11, "x k", {2, {2, 3}}, 2, {0, 1}, {{"axis", NULL, 1}}, "1 4"},
    {"Compress", 9, "x k", {2, {2, 3}}, 5, {0, 1, 0, 0, 1}, {{0}}, "1 4"},
    {"Compress",
     11,
     "x k",
     {2, {2, 3}},
     3,
     {0, 0, 0},
     {{"axis", NULL, 0}},
     "!its condition is no list of at most 2 entries, one for each it selects of"},
    {"Compress",
     11,
     "x x",
     {2, {2, 3}},
     0,
     {0},
     {{0}},
     "!its condition is no list of at most 6 entries, one for each it selects of"},
    {"NonZero", 13, "k", {1, {1}}, 5, {0, 3, 0, -1, 0}, {{0}}, "1 3"},
    {"Unique",
     11,
     "k",
     {1, {1}},
     6,
     {2, 1, 1, 3, 4, 3},
     {{0}},
     "1 2 3 4 # 1 0 3 4 # 1 0 0 2 3 2 # 2 1 2 1"},
    {"Unique",
     11,
     "k",
     {1, {1}},
     6,
     {2, 1, 1, 3, 4, 3},
     {{"sorted", NULL, 0}},
     "2 1 3 4 # 0 1 3 4 # 0 1 1 2 3 2 # 1 2 2 1"},
    {"Unique",
     11,
     "k",
     {1, {1}},
     3,
     {INT64_MAX, INT64_MAX - 1, INT64_MAX},
     {{"axis", NULL, 0}},
     "9.22337204e+18 9.22337204e+18 # 1 0 # 1 0 1 # 1 2"},
    {"Trilu", 14, "x b", {2, {2, 3}}, 0, {0}, {{"upper", NULL, 1}}, "0 0 0 0 0 0"},
    {"Trilu", 14, "x k", {2, {2, 3}}, 1, {-1}, {{"upper", NULL, 0}}, "0 0 0 3 0 0"},
    {"Trilu", 14, "x", {2, {2, 3}}, 0, {0}, {{0}}, "0 1 2 0 4 5"},
    {"Trilu", 14, "x k", {2, {-1, 3}}, 1, {INT64_MIN}, {{0}}, "0 1 2 3 4 5 6 7 8"},
    {"Trilu",
     14,
     "x",
     {1, {3}},
     0,
     {0},
     {{0}},
     "!its input has no matrices, or k is not one number"},
    {"ReverseSequence", 10, "x k", {2, {3, 2}}, 2, {3, 2}, {{0}}, "4 3 2 1 0 5"},
    {"ReverseSequence",
     10,
     "x k",
     {2, {2, 3}},
     2,
     {3, 2},
     {{"batch_axis", NULL, 0}, {"time_axis", NULL, 1}},
     "2 1 0 4 3 5"},
    {"ReverseSequence",
     10,
     "x k",
     {2, {3, 2}},
     2,
     {3, 4},
     {{0}},
     "!length 4 is outside the time axis of size 3"},
    {"ReverseSequence",
     10,
     "x k",
     {2, {3, 2}},
     2,
     {3, 2},
     {{"batch_axis", NULL, 0}},
     "!time_axis 0, batch_axis 0 and its lengths do not fit the data"},
    {"Det", 11, "x", {2, {2, 2}}, 0, {0}, {{0}}, "-2"},
    {"Det",
     11,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{0}},
     "!the matrices of operand 0, f32[2,3], are not square and of fixed size"},
    {"GridSample",
     16,
     "x x",
     {4, {1, 2, 2, 2}},
     0,
     {0},
     {{"mode", "bilinear", 0}, {"align_corners", NULL, 1}},
     "2.5 0 0 0 6.5 0 0 0"},
    {"GridSample",
     20,
     "x x",
     {4, {1, 2, 2, 2}},
     0,
     {0},
     {{"mode", "bilinear", 0}},
     "!mode 'bilinear' is unknown"},
    {"Einsum",
     12,
     "x x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ij", 0}},
     "!its equation has fewer terms than operands"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ij,jk", 0}},
     "!its equation has another number of terms than operands"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "i->i", 0}},
     "!a term of its equation names 1 axes of an operand of rank 2"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ii->i", 0}},
     "!axes 0 and 1 of an operand have one label and not one fixed size"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ij->k", 0}},
     "!axis 0 of its result is in no operand, or stands twice"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ij->ii", 0}},
     "!axis 1 of its result is in no operand, or stands twice"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "i1->i", 0}},
     "!its equation has '1->i' where up to 8 letters and one ... may stand"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ij-i", 0}},
     "!its equation has '-i' where '->' is expected"},
    {"Einsum",
     12,
     "x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ij->i->", 0}},
     "!its equation goes on behind the result"},
    {"Einsum",
     12,
     "x x",
     {2, {2, 3}},
     0,
     {0},
     {{"equation", "ij,jk->ik", 0}},
     "!one label has two sizes, 3 and 2"},
    {"Einsum", 12, "x", {2, {2, 3}}, 0, {0}, {{0}}, "!it has no equation"},
    {"NonMaxSuppression",
     11,
     "x x",
     {3, {1, 2, 4}},
     0,
     {0},
     {{0}},
     "!operand 1, f32[1,2,4], has no scores of the boxes f32[1,2,4]"},
    {"Slice", 13, "x k k k k", {2, {2, 3}}, 1, {-1}, {{0}}, ""},
    {"Slice", 13, "x k k k k", {2, {2, 0}}, 1, {-1}, {{0}}, ""}, // nothing, from its end backward
};

static Pb make_case(const Case *c) {
    Pb g = {0}, n = make_node(c->op, "n", c->inputs, strcmp(c->op, "Unique") ? "y" : "y i j k_");
    for (int i = 0; i < 4 && c->attr[i].name; i++) {
        if (c->attr[i].s) {
            case_attr_str(&n, c->attr[i].name, c->attr[i].s);
        } else {
            attr_int(&n, c->attr[i].name, c->attr[i].i);
        }
    }
    pb_msg(&g, 1, &n);
    put_input(&g, "x", c->x.rank, c->x.dim);
    if (strcmp(c->op, "Compress")) {
        put_ints(&g, "k", c->n_k, c->k);
    } else {
        bool v[12];
        for (int i = 0; i < c->n_k; i++) {
            v[i] = c->k[i] != 0;
        }
        put_raw(&g, "k", 9, 1, (int64_t[]){c->n_k}, v, (size_t)c->n_k);
    }
    if (strchr(c->inputs, 'b')) { // depth 3, diagonal 3
        put_raw(&g, "b", ONNX_INT64, 0, NULL, &(int64_t){3}, 8);
    }
    put_output(&g, "y");
    for (int i = 0; i < 3 && strcmp(c->op, "Unique") == 0; i++) {
        put_output(&g, (const char *[]){"i", "j", "k_"}[i]);
    }
    return g;
}

static void check_results(Import *im, const Case *c) {
    IrGraph *g = im->prog->graphs[0];
    IrTensor in, out[4];
    IrType t = {IR_F32, ir_shape_of(c->x.rank, c->x.dim), 0};
    t.shape.dim[0] = c->x.dim[0] < 0 ? ir_dim(3) : t.shape.dim[0];
    in = ir_tensor_new(im->arena, &t, 1);
    for (int64_t i = 0; i < ir_tensor_elems(&in); i++) {
        ((float *)in.data)[i] = (float)i;
    }
    CHECK_STR_EQ(ir_eval(g, 3, &in, out, im->arena, NULL, NULL), NULL);
    const char *text = "";
    for (int k = 0; k < g->n_outputs; k++) {
        text = ir_sprintf(im->arena, "%s%s", text, k ? " # " : "");
        for (int64_t i = 0; i < ir_tensor_elems(&out[k]); i++) {
            text = ir_sprintf(im->arena, "%s%s%.9g", text, i ? " " : "", ir_tensor_get(&out[k], i));
        }
    }
    CHECK_STR_EQ(text, c->want);
}

static void operators(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        long failures = check_state.failures;
        Pb g = make_case(c);
        Import im;
        import_graph(&im, &g, c->opset, NULL);
        if (*c->want == '!') {
            char want[300];
            snprintf(want, sizeof want, "m.onnx: node 'n' (%s, opset %d): %s\n", c->op, c->opset,
                     c->want + 1);
            CHECK_STR_EQ(im.text, want);
        } else if (CHECK_STR_EQ(im.text, "") && CHECK(im.prog != NULL)) {
            check_results(&im, c);
        }
        import_end(&im);
        if (check_state.failures > failures) {
            fprintf(stderr, "  in: case %zu, %s\n", i, c->op);
        }
    }
}

int main(void) {
    case_start();
    CHECK_RUN(operators);
    case_end();
    return check_done();
}
