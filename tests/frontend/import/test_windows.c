// Windows and resizing: what Conv, ConvTranspose, the pools, Resize, Upsample and Pad become over
// one to three axes and a symbolic batch, and which attributes are refused. Their numbers are
// checked by ONNX's own cases (test_onnx_suite).
#define _GNU_SOURCE
#include "tests/frontend/import/import_case.h"

typedef struct Ints {
    const char *name;
    int n;
    int64_t v[8];
} Ints;

typedef struct WindowCase {
    const char *op;
    int opset, rank;
    int64_t x[6]; // -1: the batch
    int w_rank;   // of the weights, input 1; 0: none
    int64_t w[6];
    Ints ints[4];        // attributes; n == 0: v[0] is a single number, name NULL ends
    const char *text[4]; // name, value of string attributes
    Ints inputs[4];      // named constants, int64, or float where the name is "scales" or "roi"
    const char *in;      // names of the inputs
    const char *type;    // of the result
    const char *error;   // or the reason why it is refused
    const char *stays;   // or why the program stays at batch size 1
} WindowCase;

static void attr_text(Pb *node, const char *name, const char *value) {
    Pb a = {0};
    pb_str(&a, 1, name);
    pb_str(&a, 4, value);
    pb_int(&a, 20, 3);
    pb_msg(node, 5, &a);
}

static void put_floats(Pb *g, const Ints *c) { // in tenths
    float v[8];
    for (int i = 0; i < c->n; i++) {
        v[i] = (float)c->v[i] / 10;
    }
    put_raw(g, c->name, ONNX_FLOAT, 1, (int64_t[]){c->n}, v, (size_t)c->n * sizeof *v);
}

static void put_zeros(Pb *g, const char *name, int rank, const int64_t *dims) {
    static float zeros[4096];
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= (size_t)dims[i];
    }
    put_raw(g, name, ONNX_FLOAT, rank, dims, zeros, count * sizeof *zeros);
}

static void run_case(const WindowCase *c) {
    Pb g = {0}, node = make_node(c->op, "n", c->in ? c->in : c->w_rank ? "x w" : "x", "y");
    for (int i = 0; i < 4 && c->ints[i].name; i++) {
        if (c->ints[i].n) {
            attr_ints(&node, c->ints[i].name, c->ints[i].n, c->ints[i].v);
        } else {
            attr_int(&node, c->ints[i].name, c->ints[i].v[0]);
        }
    }
    for (int i = 0; i < 4 && c->text[i]; i += 2) {
        attr_text(&node, c->text[i], c->text[i + 1]);
    }
    pb_msg(&g, 1, &node);
    if (c->w_rank) {
        put_zeros(&g, "w", c->w_rank, c->w);
    }
    for (int i = 0; i < 4 && c->inputs[i].name; i++) {
        bool is_float =
            strcmp(c->inputs[i].name, "scales") == 0 || strcmp(c->inputs[i].name, "roi") == 0;
        if (is_float) {
            put_floats(&g, &c->inputs[i]);
        } else {
            put_ints(&g, c->inputs[i].name, c->inputs[i].n, c->inputs[i].v);
        }
    }
    put_input(&g, "x", c->rank, c->x);
    put_output(&g, "y");
    Import im;
    char type[200] = "", *want = NULL;
    import_graph(&im, &g, c->opset, NULL);
    if (im.prog) {
        ir_type_print(&im.prog->graphs[0]->outputs[0]->type, type, sizeof type);
    }
    const char *why = c->error ? c->error : c->stays;
    if (why && asprintf(&want, "m.onnx: %snode 'n' (%s, opset %d): %s\n",
                        c->stays ? "warning: the program stays at batch size 1: " : "", c->op,
                        c->opset, why) < 0) {
        abort();
    }
    CHECK_STR_EQ(im.text, why ? want : "");
    CHECK_STR_EQ(type, c->error ? "" : c->type);
    free(want);
    import_end(&im);
}

#define IMAGE .rank = 4, .x = {-1, 3, 8, 8}
#define VOLUME .rank = 5, .x = {-1, 4, 6, 8, 8}
#define LINE .rank = 3, .x = {-1, 4, 9}

static const WindowCase cases[] = {
    // ---- Conv
    {"Conv", 11, VOLUME, .w_rank = 5, .w = {6, 2, 3, 3, 3},
     .ints = {{"group", 0, {2}}, {"strides", 3, {2, 1, 1}}, {"pads", 6, {1, 1, 1, 1, 1, 1}}},
     .type = "f32[N,6,3,8,8]"},
    {"Conv", 11, VOLUME, .w_rank = 5, .w = {6, 4, 7, 3, 3},
     .error = "kernel 7 is larger than the padded input"},
    {"Conv", 11, VOLUME, .w_rank = 5, .w = {6, 3, 1, 3, 3}, .ints = {{"group", 0, {3}}},
     .error = "group 3 does not divide the 4 channels"},
    {"Conv", 11, .rank = 6, .x = {1, 2, 3, 3, 3, 3}, .w_rank = 6, .w = {1, 2, 1, 1, 1, 1},
     .error = "input of rank 6 with weights of rank 6; 1-D to 3-D are supported"},
    {"Conv", 11, IMAGE, .w_rank = 4, .w = {1, 3, 3, 3}, .ints = {{"strides", 2, {0, 1}}},
     .error = "strides is 0"},
    {"Conv", 11, IMAGE, .w_rank = 4, .w = {1, 3, 3, 3}, .ints = {{"dilations", 2, {1, INT64_MAX}}},
     .error = "dilations is 9223372036854775807"},
    {"Conv", 11, IMAGE, .w_rank = 4, .w = {1, 3, 3, 3}, .ints = {{"pads", 4, {0, -1, 0, 0}}},
     .error = "pads entry 1 is -1"},
    {"Conv", 11, IMAGE, .w_rank = 4, .w = {1, 3, 3, 3}, .ints = {{"pads", 2, {1, 1}}},
     .error = "pads has 2 entries for 2 spatial dimensions"},
    {"Conv", 11, IMAGE, .w_rank = 4, .w = {1, 3, 3, 3}, .ints = {{"kernel_shape", 2, {3, 2}}},
     .error = "kernel_shape is not the weights' kernel"},
    {"Conv", 11, IMAGE, .w_rank = 4, .w = {1, 3, 3, 3}, .text = {"auto_pad", "SAME"},
     .error = "auto_pad 'SAME' is unknown"},
    // ---- ConvTranspose
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {3, 5, 3, 3},
     .ints = {{"strides", 2, {2, 2}}, {"pads", 4, {1, 1, 1, 1}}, {"output_padding", 2, {1, 1}}},
     .type = "f32[N,5,16,16]"},
    {"ConvTranspose", 1, LINE, .w_rank = 3, .w = {4, 2, 4},
     .ints = {{"group", 0, {2}}, {"strides", 1, {3}}}, .type = "f32[N,4,28]"},
    {"ConvTranspose", 22, VOLUME, .w_rank = 5, .w = {4, 2, 2, 2, 2},
     .ints = {{"strides", 3, {2, 2, 2}}}, .type = "f32[N,2,12,16,16]"},
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {3, 5, 3, 3},
     .ints = {{"output_shape", 2, {30, 31}}, {"strides", 2, {3, 3}}}, .type = "f32[N,5,30,31]"},
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {3, 5, 3, 3}, .ints = {{"strides", 2, {2, 2}}},
     .text = {"auto_pad", "SAME_UPPER"}, .type = "f32[N,5,16,16]"},
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {4, 5, 3, 3},
     .error = "group 1 does not fit 3 input channels and weights for 4"},
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {3, 5, 3, 3},
     .ints = {{"pads", 4, {5, 0, 5, 0}}}, .error = "spatial dimension 2 of the result has size 0"},
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {3, 5, 3, 3},
     .ints = {{"strides", 2, {INT32_MAX, 1}}},
     .error = "spatial dimension 2 of the result has size 15032385532"},
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {3, 5, 3, 3},
     .ints = {{"output_padding", 2, {-1, 0}}}, .error = "output_padding entry 0 is -1"},
    {"ConvTranspose", 11, IMAGE, .w_rank = 4, .w = {3, 5, 3, 3},
     .ints = {{"output_shape", 3, {1, 2, 3}}},
     .error = "output_shape has 3 entries for 2 spatial dimensions"},
    // ---- pools
    {"MaxPool", 12, VOLUME,
     .ints = {{"kernel_shape", 3, {2, 3, 3}}, {"strides", 3, {2, 2, 2}}, {"ceil_mode", 0, {1}}},
     .type = "f32[N,4,3,4,4]"},
    {"AveragePool", 19, VOLUME,
     .ints = {{"kernel_shape", 3, {1, 3, 2}}, {"dilations", 3, {1, 2, 2}}},
     .type = "f32[N,4,6,4,6]"},
    {"LpPool", 18, LINE,
     .ints = {{"kernel_shape", 1, {4}}, {"strides", 1, {2}}, {"ceil_mode", 0, {1}}},
     .type = "f32[N,4,4]"},
    {"MaxPool", 12, .rank = 2, .x = {1, 2}, .ints = {{"kernel_shape", 1, {1}}},
     .error = "input of rank 2 has no spatial axes"},
    {"MaxPool", 12, VOLUME, .error = "it has no kernel_shape"},
    {"MaxPool", 12, VOLUME, .ints = {{"kernel_shape", 3, {7, 1, 1}}},
     .error = "kernel 7x1 is larger than the padded input 6x64"},
    {"AveragePool", 11, IMAGE, .ints = {{"kernel_shape", 2, {2, 2}}, {"pads", 4, {2, 0, 0, 0}}},
     .error = "pad 2x0 must be smaller than kernel 2x2"},
    {"LpPool", 11, IMAGE, .ints = {{"kernel_shape", 2, {2, 2}}, {"p", 0, {0}}},
     .error = "p is 0, it must be above 0"},
    {"LpPool", 11, IMAGE, .ints = {{"kernel_shape", 2, {9, 2}}},
     .error = "kernel 9 is larger than the padded input"},
    {"GlobalLpPool", 2, .rank = 2, .x = {1, 2}, .error = "input of rank 2 has no spatial axes"},
    // ---- Resize
    {"Resize", 13, IMAGE, .in = "x - scales", .inputs = {{"scales", 4, {10, 10, 20, 15}}},
     .type = "f32[N,3,16,12]"},
    {"Resize", 19, VOLUME, .in = "x - - sizes", .ints = {{"axes", 2, {2, 4}}},
     .inputs = {{"sizes", 2, {3, 20}}}, .text = {"mode", "linear"}, .type = "f32[N,4,3,8,20]"},
    {"Resize", 18, IMAGE, .in = "x - - sizes", .ints = {{"axes", 2, {3, 2}}},
     .inputs = {{"sizes", 2, {4, 20}}}, .text = {"keep_aspect_ratio_policy", "not_larger"},
     .type = "f32[N,3,4,4]"},
    {"Resize", 10, IMAGE, .in = "x scales", .inputs = {{"scales", 4, {10, 10, 5, 30}}},
     .type = "f32[N,3,4,24]"},
    {"Upsample", 9, LINE, .in = "x scales", .inputs = {{"scales", 3, {10, 10, 25}}},
     .type = "f32[N,4,22]"},
    {"Resize", 13, IMAGE, .in = "x", .error = "it needs scales or sizes"},
    {"Resize", 13, IMAGE, .in = "x - scales", .inputs = {{"scales", 4, {20, 10, 20, 15}}},
     .stays = "axis 0 depends on the batch size and cannot be scaled", .type = "f32[2,3,16,12]"},
    {"Resize", 13, IMAGE, .in = "x - scales", .inputs = {{"scales", 3, {10, 20, 15}}},
     .error = "3 scales are given for 4 axes"},
    {"Resize", 13, IMAGE, .in = "x - scales", .inputs = {{"scales", 4, {10, 10, 0, 15}}},
     .error = "axis 2 of size 8 cannot be scaled by 0"},
    {"Resize", 13, IMAGE, .in = "x - scales", .inputs = {{"scales", 4, {10, 10, 10, 1000000000}}},
     .error = "axis 3 of size 8 cannot be scaled by 1e+08"},
    {"Resize", 19, IMAGE, .in = "x - - sizes", .ints = {{"axes", 2, {2, -2}}},
     .inputs = {{"sizes", 2, {3, 20}}}, .error = "axis 2 is named twice"},
    {"Resize", 19, IMAGE, .in = "x - - sizes", .ints = {{"axes", 1, {2}}},
     .inputs = {{"sizes", 1, {0}}}, .error = "axis 2 of size 8 cannot be resized to 0"},
    {"Resize", 19, IMAGE, .in = "x - - sizes", .ints = {{"axes", 1, {0}}},
     .inputs = {{"sizes", 1, {3}}}, .stays = "axis 0 depends on the batch size",
     .type = "f32[3,3,8,8]"},
    {"Resize", 13, IMAGE, .in = "x - scales", .inputs = {{"scales", 4, {10, 10, 20, 15}}},
     .text = {"mode", "area"}, .error = "mode 'area' is unknown"},
    {"Resize", 13, IMAGE, .in = "x - scales", .inputs = {{"scales", 4, {10, 10, 20, 15}}},
     .text = {"nearest_mode", "up"}, .error = "nearest_mode 'up' is unknown"},
    {"Resize", 13, IMAGE, .in = "x roi scales",
     .inputs = {{"scales", 4, {10, 10, 20, 15}}, {"roi", 2, {0, 1}}},
     .text = {"coordinate_transformation_mode", "tf_crop_and_resize"},
     .error = "roi has 2 entries for 4 axes"},
    // ---- Pad
    {"Pad", 19, LINE, .in = "x pads", .inputs = {{"pads", 6, {0, 1, 20, 0, -1, 5}}},
     .text = {"mode", "wrap"}, .type = "f32[N,4,34]"},
    {"Pad", 19, LINE, .in = "x pads", .inputs = {{"pads", 6, {0, 0, -9, 0, 0, 5}}},
     .text = {"mode", "wrap"}, .error = "axis 2 cannot be wrapped around by -9 and 5"},
    {"Pad", 19, LINE, .in = "x pads", .inputs = {{"pads", 6, {0, 0, INT64_MIN, 0, 0, 5}}},
     .text = {"mode", "wrap"}, .error = "axis 2 cannot be cropped by -9223372036854775808 and 5"},
    {"Pad", 18, LINE, .in = "x pads - axes", .inputs = {{"pads", 2, {-2, 3}}, {"axes", 1, {-1}}},
     .type = "f32[N,4,10]"},
};

static void imports_or_refuses(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_case(&cases[i]);
    }
}

int main(void) {
    case_start();
    CHECK_RUN(imports_or_refuses);
    case_end();
    return check_done();
}
