// What the importers of bits, remainders, windows, losses and quantized tensors refuse, in which
// words, and what they build where the batch is open.
#define _GNU_SOURCE
#include "tests/frontend/import/import_case.h"

enum { U8 = 2, BOOL = 9 };

typedef struct GivenInput {
    const char *name;
    int elem, rank;
    int64_t dim[4]; // -1: the batch
} GivenInput;

typedef struct GivenAttr {
    const char *name;
    const char *s; // NULL: i
    int64_t i;
} GivenAttr;

typedef struct Node {
    const char *op;
    int opset;
    const char *in; // names, separated by spaces
    GivenInput input[4];
    GivenAttr attr[3];
    const char *refusal; // a part of it; NULL: it is imported,
    const char *type;    // and this is the result's type
} Node;

static void put_given(Pb *node, const GivenAttr *a) {
    if (!a->s) {
        attr_int(node, a->name, a->i);
        return;
    }
    Pb p = {0};
    pb_str(&p, 1, a->name);
    pb_str(&p, 4, a->s);
    pb_int(&p, 20, 3);
    pb_msg(node, 5, &p);
}

static void check_node(const Node *c) {
    Pb g = {0}, n = make_node(c->op, "n", c->in, "y");
    for (int i = 0; i < 3 && c->attr[i].name; i++) {
        put_given(&n, &c->attr[i]);
    }
    pb_msg(&g, 1, &n);
    for (int i = 0; i < 4 && c->input[i].name; i++) {
        const GivenInput *in = &c->input[i];
        Pb info = make_info(in->name, in->elem, in->rank, in->dim);
        pb_msg(&g, 11, &info);
    }
    put_output(&g, "y");
    Import im;
    char type[200] = "";
    import_graph(&im, &g, c->opset, NULL);
    if (im.prog) {
        ir_type_print(&im.prog->graphs[0]->outputs[0]->type, type, sizeof type);
    }
    const char *got = im.prog ? type : im.text, *want = im.prog ? c->type : c->refusal;
    if (!CHECK(im.prog ? c->type && strcmp(got, want) == 0
                       : c->refusal && strstr(got, c->refusal) != NULL)) {
        fprintf(stderr, "  %s: %s\n", c->op, got);
    }
    import_end(&im);
}

#define ONE(E, ...)                                                                                \
    {                                                                                              \
        {                                                                                          \
            "x", E, sizeof((int[]){__VA_ARGS__}) / sizeof(int), {                                  \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define TWO(E, F)                                                                                  \
    {                                                                                              \
        {"x", E, 1, {4}}, {                                                                        \
            "z", F, 1, {                                                                           \
                4                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

static const Node nodes[] = {
    {"Mod", 13, "x z", TWO(ONNX_FLOAT, ONNX_FLOAT), .refusal = "mod of f32: it works on integers"},
    {"Mod", 13, "x z", TWO(U8, U8), {{"fmod", NULL, 2}}, .refusal = "fmod is 2"},
    {"Mod", 13, "x z", TWO(ONNX_FLOAT, ONNX_FLOAT), {{"fmod", NULL, 1}}, .type = "f32[4]"},
    {"BitShift", 11, "x z", TWO(U8, U8), {{"direction", "UP", 0}}, .refusal = "direction 'UP'"},
    {"BitShift", 11, "x z", TWO(U8, U8), .refusal = "direction ''"},
    {"BitwiseAnd", 18, "x z", TWO(ONNX_FLOAT, ONNX_FLOAT), .refusal = "it works on integers"},
    {"BitwiseNot", 18, "x", ONE(BOOL, 4), .refusal = "bits of bool"},
    {"Xor", 7, "x z", TWO(U8, U8), .refusal = "xor of u8"},
    {"Sin", 7, "x", ONE(U8, 4), .refusal = "sin of u8: it works on floating point"},
    {"IsInf", 20, "x", ONE(ONNX_FLOAT, -1, 3), .type = "bool[N,3]"},
    {"Hardmax", 13, "x", ONE(ONNX_FLOAT, -1, 3), .type = "f32[N,3]"},
    {"Hardmax", 11, "x", ONE(ONNX_FLOAT, -1, 3, 2), .type = "f32[N,3,2]"},
    {"Hardmax", 13, "x", ONE(ONNX_FLOAT, -1, 3), {{"axis", NULL, 2}}, .refusal = "axis 2"},
    {"EyeLike", 9, "x", ONE(ONNX_FLOAT, -1, 3), .type = "f32[N,3]"},
    {"EyeLike", 9, "x", ONE(ONNX_FLOAT, 3), .refusal = "rank 1, it must be a matrix"},
    {"EyeLike", 9, "x", ONE(U8, 3, 3), {{"dtype", NULL, 8}}, .refusal = "dtype is 8"},
    {"HannWindow", 17, "x", ONE(ONNX_INT64, 1), .refusal = "must be known at compile time"},
    {"RandomNormalLike", 1, "x", ONE(ONNX_FLOAT, 3), .refusal = "its result is random"},
    {"MeanVarianceNormalization", 13, "x", ONE(ONNX_FLOAT, -1, 3), .refusal = "axis 2"},
    {"NegativeLogLikelihoodLoss",
     13,
     "x z",
     {{"x", ONNX_FLOAT, 3, {-1, 3, 2}}, {"z", ONNX_INT64, 2, {-1, 2}}},
     {{"reduction", "none", 0}},
     .type = "f32[N,2]"},
    {"NegativeLogLikelihoodLoss",
     13,
     "x z",
     {{"x", ONNX_FLOAT, 2, {-1, 3}}, {"z", ONNX_INT64, 1, {-1}}},
     {{"reduction", "median", 0}},
     .refusal = "reduction 'median'"},
    {"NegativeLogLikelihoodLoss",
     13,
     "x z",
     {{"x", ONNX_FLOAT, 3, {-1, 3, 2}}, {"z", ONNX_INT64, 2, {-1, 3}}},
     .refusal = "labels i64[N,3] do not fit scores f32[N,3,2]"},
    {"SoftmaxCrossEntropyLoss",
     13,
     "x z",
     {{"x", ONNX_FLOAT, 2, {-1, 3}}, {"z", ONNX_FLOAT, 1, {-1}}},
     .refusal = "labels of f32"},
    {"SoftmaxCrossEntropyLoss",
     13,
     "x z w",
     {{"x", ONNX_FLOAT, 2, {-1, 3}}, {"z", ONNX_INT32, 1, {-1}}, {"w", ONNX_FLOAT, 1, {4}}},
     .refusal = "the weights are not one for each class"},
    {"QuantizeLinear",
     13,
     "x s z",
     {{"x", ONNX_FLOAT, 2, {-1, 3}}, {"s", ONNX_FLOAT, 0, {0}}, {"z", ONNX_INT32, 0, {0}}},
     .refusal = "numbers quantized to i32"},
    {"QuantizeLinear",
     13,
     "x s",
     {{"x", ONNX_FLOAT, 2, {-1, 3}}, {"s", ONNX_FLOAT, 1, {4}}},
     .refusal = "the scale has 4 entries, axis 1 has 3"},
    {"QuantizeLinear",
     21,
     "x s",
     {{"x", ONNX_FLOAT, 2, {6, 3}}, {"s", ONNX_FLOAT, 2, {3, 3}}},
     {{"axis", NULL, 0}, {"block_size", NULL, 4}},
     .refusal = "blocks of 4 along 6 entries, there are 3 scales"},
    {"MatMulInteger", 10, "x z", {{"x", U8, 2, {-1, 5}}, {"z", U8, 2, {5, 2}}}, .type = "i32[N,2]"},
    {"MatMulInteger",
     10,
     "x z",
     {{"x", ONNX_INT32, 2, {-1, 5}}, {"z", U8, 2, {5, 2}}},
     .refusal = "input 0 is i32, it must be int8 or uint8"},
    {"MatMulInteger",
     10,
     "x z",
     {{"x", U8, 2, {-1, 5}}, {"z", U8, 2, {6, 2}}},
     .refusal = "the inner dimensions differ"},
    {"MatMulInteger",
     10,
     "x z",
     {{"x", U8, 2, {-1, 1 << 20}}, {"z", U8, 2, {1 << 20, 2}}},
     .refusal = "NYI: exact sums of 1048576 by 1 products"},
    {"ConvInteger",
     10,
     "x z",
     {{"x", U8, 4, {-1, 5, 4, 4}}, {"z", U8, 4, {2, 4, 3, 3}}},
     .refusal = "weights and group do not fit the input"},
};

static void refuses_and_builds(void) {
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        check_node(&nodes[i]);
    }
}

int main(void) {
    case_start();
    CHECK_RUN(refuses_and_builds);
    case_end();
    return check_done();
}
