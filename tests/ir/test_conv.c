// A convolution's geometry, what a node says of its kernel, and which kernels serve it.
#include "ir/conv.h"
#include "tests/check.h"
#include "tests/ir/ir_text.h"

#include <string.h>

// The geometry of the one node of a graph
static IrConv read_conv(TextCase *t, const char *text) {
    text_open(t);
    IrProgram *p = text_parse(t, text);
    return ir_conv(p->graphs[0]->first);
}

static void geometry_is_before_the_pool(void) {
    TextCase t;
    IrConv c =
        read_conv(&t, "graph g(%x: f32[2N+1,6,20,22], %w: f32[9,2,3,5]) -> (%y) { %y = conv %x, %w "
                      "{stride=[2,1], pad=[1,2,0,1], group=3, pool=[3,3,2,2,1,1,1,1,0]} }");
    CHECK(c.dtype == IR_F32 && c.N.c == 1 && c.N.n == 2);
    CHECK(c.C == 6 && c.O == 9 && c.cg == 2 && c.og == 3 && c.w.group == 3);
    CHECK(c.H == 20 && c.W == 22 && c.OH == 10 && c.OW == 21);
    CHECK(c.w.kh == 3 && c.w.kw == 5 && c.w.sh == 2 && c.w.pl == 2);
    CHECK(c.pool.kh == 3 && c.pool.sw == 2 && c.with == IR_CONV_FLAG_POOL && !c.flat);
    CHECK_INT_EQ(ir_conv_products(&c), 9 * 10 * 21 * 2 * 15);
    text_close(&t);
}

static void wgrad_is_of_the_same_convolution(void) {
    TextCase t;
    IrConv c =
        read_conv(&t, "graph g(%x: f32[N,6,8,8], %dy: f32[N,4,4,4]) -> (%y) { %y = conv_wgrad %x, "
                      "%dy {stride=[2,2], pad=[1,1,1,1], group=2, shape=[4,3,3,3]} }");
    CHECK(c.C == 6 && c.O == 4 && c.cg == 3 && c.og == 2 && c.OH == 4 && c.w.kh == 3 && !c.with);
    text_close(&t);
}

static void flat_is_without_padding_and_stride(void) {
    static const struct {
        const char *window;
        bool flat;
    } cases[] = {
        {"", true}, {"{stride=[1,2]}", false}, {"{pad=[0,0,0,1]}", false}, {"{group=2}", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TextCase t;
        char text[256];
        snprintf(
            text, sizeof text,
            "graph g(%%x: f32[N,6,5,7], %%w: f32[4,%d,1,1]) -> (%%y) { %%y = conv %%x, %%w %s }",
            strstr(cases[i].window, "group") ? 3 : 6, cases[i].window);
        IrConv c = read_conv(&t, text);
        IrConv column = ir_conv_seen_by(IR_CONV_DIRECT, &c);
        CHECK(c.flat == cases[i].flat);
        CHECK(column.OH == (c.flat ? 35 : c.OH) && column.OW == (c.flat ? 1 : c.OW));
        CHECK(ir_conv_seen_by(IR_CONV_GROUPED, &c).W == 7);
        text_close(&t);
    }
}

static void algorithms_serve_types_and_layouts(void) {
    IrConv c = {.dtype = IR_F32, .x_block = 16, .y_block = 16, .constant = true};
    CHECK(ir_conv_serves(IR_CONV_DIRECT, &c) && ir_conv_serves(IR_CONV_STRASSEN, &c));
    CHECK(!ir_conv_serves(IR_CONV_ELEMENTS, &c));
    c.constant = false;
    CHECK(ir_conv_serves(IR_CONV_WINOGRAD4, &c) && ir_conv_serves(IR_CONV_STRASSEN, &c));
    c.dtype = IR_U8;
    CHECK(!ir_conv_serves(IR_CONV_DIRECT_INT8, &c));
    c.dtype = IR_F32;
    c.with = IR_CONV_FLAG_PRE | IR_CONV_FLAG_THEN;
    CHECK(ir_conv_serves(IR_CONV_DIRECT, &c) && !ir_conv_serves(IR_CONV_WINOGRAD4, &c));
    c.x_block = 0; // plain, as a stem's
    CHECK(ir_conv_serves(IR_CONV_DIRECT, &c));
    c.y_block = 0;
    CHECK(!ir_conv_serves(IR_CONV_DIRECT, &c));
    IrConv half = {.dtype = IR_F16};
    CHECK(ir_conv_serves(IR_CONV_ELEMENTS, &half) && !ir_conv_serves(IR_CONV_DIRECT, &half));
    half.with = IR_CONV_FLAG_THEN;
    CHECK(ir_conv_serves(IR_CONV_ELEMENTS, &half));
    half.with = IR_CONV_FLAG_PRE;
    CHECK(!ir_conv_serves(IR_CONV_ELEMENTS, &half));
}

// n = m + r - 1; with stride 2 that of the even and the odd taps, where one tap has one weight.
static void winograd_counts_products_and_weights(void) {
    CHECK_INT_EQ(ir_conv_winograd_points(4, 3, 1), 6);
    CHECK_INT_EQ(ir_conv_winograd_filters(4, 3, 1), 6);
    CHECK_INT_EQ(ir_conv_winograd_points(4, 3, 2), 5 + 4);
    CHECK_INT_EQ(ir_conv_winograd_filters(4, 3, 2), 5 + 1);
    CHECK_INT_EQ(ir_conv_winograd_points(4, 5, 2), 6 + 5);
    CHECK_INT_EQ(ir_conv_winograd_filters(4, 5, 2), 6 + 5);
    CHECK_INT_EQ(ir_conv_winograd_points(1, 1, 2), 1);
    CHECK_INT_EQ(ir_conv_winograd_filters(1, 1, 2), 1);
}

static void tiles_have_the_fields_of_their_algorithm(void) {
    IrConvTile t = {.vecs = 2, .out_rows = 4, .out_cols = 4, .block = 7};
    char text[IR_CONV_TILE_TEXT];
    CHECK_STR_EQ(ir_conv_tile_print(&t, text), "vecs=2,out_rows=4,out_cols=4,block=7");
    CHECK(ir_conv_tile_is_of(&t, IR_CONV_WINOGRAD2) && !ir_conv_tile_is_of(&t, IR_CONV_DIRECT));
    *ir_conv_tile_field(&t, "band") = 3;
    CHECK(t.band == 3 && !ir_conv_tile_is_of(&t, IR_CONV_WINOGRAD2));
    CHECK(!ir_conv_tile_field(&t, "depth"));
    IrConvTile tiles = {.rows = 2, .cols = 16, .vecs = 2, .band = 4, .over = 1, .at_once = 1};
    CHECK_STR_EQ(ir_conv_tile_print(&tiles, text), "rows=2,cols=16,vecs=2,band=4,over=1,at_once=1");
    CHECK(ir_conv_tile_is_of(&tiles, IR_CONV_DIRECT_INT8_AMX));
    CHECK(!ir_conv_tile_is_of(&tiles, IR_CONV_DIRECT_INT8));
}

int main(void) {
    CHECK_RUN(geometry_is_before_the_pool);
    CHECK_RUN(wgrad_is_of_the_same_convolution);
    CHECK_RUN(flat_is_without_padding_and_stride);
    CHECK_RUN(algorithms_serve_types_and_layouts);
    CHECK_RUN(winograd_counts_products_and_weights);
    CHECK_RUN(tiles_have_the_fields_of_their_algorithm);
    return check_done();
}
