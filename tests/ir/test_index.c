// The ops that search along an axis or address elements by indices, on constants worked out by
// hand: a node, and its results as "TYPE elements", or after `!` the end of the reason why it is
// refused.
#include "tests/check.h"
#include "tests/ir/ir_text.h"

typedef struct Case {
    const char *consts, *node, *want;
} Case;

#define NAN_ "0x7fc00000"
#define X23 "const %x: f32[2,3] = [1, 3, 3, 5, 4, 5]"
#define I(t, dims, values) "\nconst %i: " t "[" dims "] = [" values "]"
#define U(dims, values) "\nconst %u: f32[" dims "] = [" values "]"

static const Case LINES[] = {
    {X23, "arg_max %x {axis=1}", "i64[2,1] 1 0"},
    {X23, "arg_max %x {axis=1, reverse=1, keepdims=0}", "i64[2] 2 2"},
    {X23, "arg_min %x {axis=1}", "i64[2,1] 0 1"},
    {X23, "arg_max %x {axis=0, keepdims=0}", "i64[3] 1 1 1"},
    {"const %x: u8[4] = [1, 200, 200, 3]", "arg_max %x {axis=0}", "i64[1] 1"},
    {"const %x: i64[2] = [9007199254740992, 9007199254740993]", "arg_max %x", "i64[1] 1"},
    {"const %x: f32[4] = [1, " NAN_ ", 2, " NAN_ "]", "arg_max %x", "i64[1] 1"},
    {"const %x: f32[4] = [1, " NAN_ ", 2, " NAN_ "]", "arg_min %x {reverse=1}", "i64[1] 3"},
    {"const %x: f32[0,2] = splat(0)", "arg_max %x {axis=1}", "i64[0,1]"},
    {"const %x: f32[0,2] = splat(0)", "arg_max %x", "!axis 0 of operand 0, f32[0,2], is empty"},
    {X23, "arg_max %x {axis=2}", "!axis 2 is out of range for rank 2"},
    {X23, "cumsum %x {axis=1}", "f32[2,3] 1 4 7 5 9 14"},
    {X23, "cumsum %x {axis=1, exclusive=1}", "f32[2,3] 0 1 4 0 5 9"},
    {X23, "cumsum %x {axis=1, reverse=1}", "f32[2,3] 7 6 3 14 9 5"},
    {X23, "cumsum %x {axis=0, exclusive=1, reverse=1}", "f32[2,3] 5 4 5 0 0 0"},
    {"const %x: i8[3] = [100, 100, 100]", "cumsum %x", "i8[3] 100 -56 44"},
    {"const %x: bool[1] = [1]", "cumsum %x", "!operand 0 is bool[1], it must be a number"},
    {X23, "top_k %x {axis=1, size=2}", "f32[2,2] 3 3 5 5 i64[2,2] 1 2 0 2"},
    {X23, "top_k %x {axis=1, size=3, reverse=1}", "f32[2,3] 1 3 3 4 5 5 i64[2,3] 0 1 2 1 0 2"},
    {X23, "top_k %x {axis=0, size=1}", "f32[1,3] 5 4 5 i64[1,3] 1 1 1"},
    {"const %x: f32[3] = [1, " NAN_ ", 2]", "top_k %x {size=3}", "f32[3] nan 2 1 i64[3] 1 2 0"},
    {"const %x: f32[3] = [1, " NAN_ ", 2]", "top_k %x {size=3, reverse=1}",
     "f32[3] 1 2 nan i64[3] 0 2 1"},
    {"const %x: u64[5] = [1, 18446744073709551615, 3, 2, 3]", "top_k %x {size=4}",
     "u64[4] 1.84467441e+19 3 3 2 i64[4] 1 2 4 3"},
    {X23, "top_k %x {axis=1, size=0}", "f32[2,0] i64[2,0]"},
    {X23, "top_k %x {axis=1, size=4}",
     "!size is 4, axis 1 of operand 0, f32[2,3], has not as many"},
    {X23, "top_k %x {axis=1, size=-1}",
     "!size is -1, axis 1 of operand 0, f32[2,3], has not as many"},
};

static const Case GATHERS[] = {
    {X23 I("i64", "2", "1, -1"), "gather %x, %i {axis=1}", "f32[2,2] 3 3 4 5"},
    {X23 I("i32", "3", "7, -9, 0"), "gather %x, %i {axis=1}", "f32[2,3] 3 1 1 5 5 5"},
    {X23 I("i64", "2,2", "0, -1, 2, -3"), "gather_elements %x, %i {axis=1}", "f32[2,2] 1 3 5 5"},
    {X23 I("i64", "1,2", "1, 0"), "gather_elements %x, %i {axis=0}", "f32[1,2] 5 3"},
    {X23 I("i64", "1,2", "5, -5"), "gather_elements %x, %i {axis=0}", "f32[1,2] 5 3"},
    {X23 I("i64", "2,4", "0,1,2,0,0,0,0,1"), "gather_elements %x, %i {axis=1}",
     "f32[2,4] 1 3 3 1 5 5 5 4"},
    {X23 I("i64", "3,1", "0, 0, 0"), "gather_elements %x, %i {axis=1}",
     "!operand 1 is i64[3,1], it does not fit f32[2,3] off axis 1"},
    {X23 I("f32", "2,1", "0, 0"), "gather_elements %x, %i {axis=1}",
     "!indices are f32, they must be i32 or i64"},
    {X23 I("i64", "2,2", "0, 1, 1, -1"), "gather_nd %x, %i", "f32[2] 3 5"},
    {X23 I("i64", "1,1", "-1"), "gather_nd %x, %i", "f32[1,3] 5 4 5"},
    {X23 I("i64", "2,1", "1, 0"), "gather_nd %x, %i {axis=1}", "f32[2] 3 5"},
    {X23 I("i64", "1,2", "-7, 9"), "gather_nd %x, %i", "f32[1] 3"},
    {X23 I("i64", "2", "1, 1"), "gather_nd %x, %i", "f32[] 4"},
    {X23 I("i64", "1,3", "0, 0, 0"), "gather_nd %x, %i",
     "!the last axis of operand 1, i64[1,3], must count axes of operand 0, f32[2,3]"},
    {X23 I("i64", "3,1", "0, 0, 0"), "gather_nd %x, %i {axis=1}",
     "!operand 0 is f32[2,3] and operand 1 is i64[3,1]: they differ in axis 0"},
    {X23 I("i64", "2,1", "0, 0"), "gather_nd %x, %i {axis=2}",
     "!axis 2 is out of range for rank 2"},
};

static const Case SCATTERS[] = {
    {X23 I("i64", "2,2", "0, -1, 1, 1") U("2,2", "7, 8, 9, 10"),
     "scatter_elements %x, %i, %u {axis=1}", "f32[2,3] 7 3 8 5 10 5"},
    {X23 I("i64", "2,2", "0, 3, -4, 1") U("2,2", "7, 8, 9, 10"),
     "scatter_elements %x, %i, %u {axis=1}", "f32[2,3] 7 3 3 5 10 5"},
    {X23 I("i64", "1,2", "1, 1") U("1,2", "7, 8"), "scatter_elements %x, %i, %u {axis=0}",
     "f32[2,3] 1 3 3 7 8 5"},
    {X23 I("i64", "2,2", "1, 1, 0, 2") U("2,2", "2, 3, 4, 5"),
     "scatter_elements %x, %i, %u {axis=1, mode=\"add\"}", "f32[2,3] 1 8 3 9 4 10"},
    {X23 I("i64", "2,2", "1, 1, 0, 2") U("2,2", "2, 3, 4, 5"),
     "scatter_elements %x, %i, %u {axis=1, mode=\"mul\"}", "f32[2,3] 1 18 3 20 4 25"},
    {X23 I("i64", "2,2", "1, 1, 0, 2") U("2,2", "2, 9, 4, " NAN_),
     "scatter_elements %x, %i, %u {axis=1, mode=\"max\"}", "f32[2,3] 1 9 3 5 4 nan"},
    {X23 I("i64", "2,2", "1, 1, 0, 2") U("2,2", "2, 9, 4, 7"),
     "scatter_elements %x, %i, %u {axis=1, mode=\"min\"}", "f32[2,3] 1 2 3 4 4 5"},
    {X23 I("i64", "1,2", "1, 1") U("1,2", "7, 8"), "scatter_elements %x, %i, %u {mode=\"sub\"}",
     "!mode 'sub' is unknown"},
    {X23 I("i64", "1,2", "1, 1") U("2,1", "7, 8"), "scatter_elements %x, %i, %u",
     "!operand 1 is i64[1,2] and operand 2 is f32[2,1]: they must have one shape"},
    {X23 I("i64", "2,1", "1, 1") U("2,3", "1, 2, 3, 4, 5, 6"), "scatter_nd %x, %i, %u",
     "f32[2,3] 1 3 3 4 5 6"},
    {X23 I("i64", "2,1", "1, -1") U("2,3", "1, 2, 3, 4, 5, 6"),
     "scatter_nd %x, %i, %u {mode=\"add\"}", "f32[2,3] 1 3 3 10 11 14"},
    {X23 I("i64", "3,2", "0, 1, 2, 0, 0, -4") U("3", "7, 8, 9"), "scatter_nd %x, %i, %u",
     "f32[2,3] 1 7 3 5 4 5"},
    {X23 I("i64", "3,2", "0, 1, 2, 0, 0, -4") U("2", "7, 8"), "scatter_nd %x, %i, %u",
     "!operand 2 is f32[2], it does not fit f32[2,3] and indices i64[3,2]"},
    {"const %x: i8[1] = [100]\nconst %u: i8[2] = [100, 3]" I("i64", "2", "0, 0"),
     "scatter_elements %x, %i, %u {mode=\"add\"}", "i8[1] -53"},
    {"const %x: bool[2] = [1, 0]\nconst %u: bool[2] = [1, 1]" I("i64", "2", "0, 0"),
     "scatter_elements %x, %i, %u {mode=\"add\"}", "bool[2] 1 0"},
};

#define IMAGE "const %x: f32[1,1,2,2] = [1, 2, 3, 4]"
#define GRID(n, values) "\nconst %g: f32[1,1," n ",2] = [" values "]"
// ---------------------------------------------------------------- sizes that data decides

static const Case NON_ZERO[] = {
    {"const %x: f32[2,3] = [0, 3, 0, 5, -0.0, 7]", "non_zero %x",
     "i64[2,6] 0 1 1 0 0 0 1 0 2 0 0 0 i64[] 3"},
    {"const %x: bool[4] = [1, 0, 0, 1]", "non_zero %x", "i64[1,4] 0 3 0 0 i64[] 2"},
    {"const %x: f32[2] = [" NAN_ ", 0]", "non_zero %x", "i64[1,2] 0 0 i64[] 1"},
    {"const %x: i64[2] = [0, 0]", "non_zero %x", "i64[1,2] 0 0 i64[] 0"},
    {"const %x: f32[0,3] = splat(0)", "non_zero %x", "i64[2,0] i64[] 0"},
};

// Unit squares: 0 and 1 overlap by 0.6 of 1.4, 2 is apart, 3 is 0 with its corners exchanged.
#define BOXES                                                                                      \
    "const %b: f32[1,4,4] = [0,0,1,1, 0,0.4,1,1.4, 5,5,6,6, 1,1,0,0]\n"                            \
    "const %m: i64[] = [9]\nconst %t: f32[] = [0.4]\nconst %l: f32[] = [0.3]\n"                    \
    "const %c: i64[] = [2]\n"
#define SCORES(values) BOXES "const %s: f32[1,1,4] = [" values "]"

static const Case NMS[] = {
    {SCORES("0.9, 0.8, 0.5, 0.7"), "nms %b, %s, %m, %t {size=4}", "i64[1,1,4] 0 2 0 0 i64[1,1] 2"},
    {SCORES("0.5, 0.8, 0.5, 0.5"), "nms %b, %s, %m, %t {size=4}", "i64[1,1,4] 1 2 0 0 i64[1,1] 2"},
    {SCORES("0.9, 0.8, 0.2, 0.7"), "nms %b, %s, %m, %t, %l {size=4}",
     "i64[1,1,4] 0 0 0 0 i64[1,1] 1"},
    {SCORES("0.9, 0.8, 0.3, 0.7"), "nms %b, %s, %m, %t, %l {size=2}", "i64[1,1,2] 0 0 i64[1,1] 1"},
    {SCORES("0.1, 0.8, 0.9, 0.7"), "nms %b, %s, %m, %t, _, %c {size=4}",
     "i64[1,1,4] 1 0 0 0 i64[1,1] 1"},
    {SCORES(NAN_ ", 0.8, 0.9, 0.7"), "nms %b, %s, %m, %t, %l {size=4}",
     "i64[1,1,4] 2 1 0 0 i64[1,1] 2"},
    {SCORES("0.9, 0.8, 0.5, 0.7"), "nms %b, %s, %c, %t {size=1}", "i64[1,1,1] 0 i64[1,1] 1"},
    // centers and sizes: 1 and 2 are the same, 0 and 3 have no area
    {"const %b: f32[1,4,4] = [0,0,0,0, 5,5,2,2, 5,5,2,2, 0,0,0,0]\nconst %m: i64[] = [4]\n"
     "const %t: f32[] = [0]\nconst %s: f32[1,1,4] = [1, 2, 2, 1]",
     "nms %b, %s, %m, %t {size=4, mode=\"center\"}", "i64[1,1,4] 1 0 3 0 i64[1,1] 3"},
    {SCORES("0.9, 0.8, 0.5, 0.7"), "nms %b, %s, %m, %t {size=5}", "!size is 5, there are 4 boxes"},
    {SCORES("0.9, 0.8, 0.5, 0.7"), "nms %b, %s, %t, %t {size=4}",
     "!operand 2 is f32[], it must be i64[]"},
};

static const Case BOUNDED[] = {
    {"const %x: f32[3] = [1, 2, 3]\nconst %c: i64[] = [2]", "bounded %x, %c",
     "f32[3] 1 2 0 i64[] 2"},
    {"const %x: i8[2,3] = [1, 2, 3, 4, 5, 6]\nconst %c: i64[] = [1]", "bounded %x, %c {axis=1}",
     "i8[2,3] 1 0 0 4 0 0 i64[] 1"},
    {"const %x: f32[2] = [1, 2]\nconst %c: i64[] = [7]", "bounded %x, %c", "f32[2] 1 2 i64[] 7"},
    {"const %x: f32[2] = [1, 2]\nconst %c: i64[] = [-1]", "bounded %x, %c", "f32[2] 0 0 i64[] -1"},
    {"const %c: i64[] = [7]", "check %c {size=3, mode=\"equal\"}", "i64[] 7"},
    {"const %c: i64[] = [7]", "check %c {mode=\"least\"}", "!mode 'least' is unknown"},
};

static const Case OTHERS[] = {
    {"const %x: f32[2,2,2] = [1, 2, 3, 4, 0, 2, 3, 0]", "det %x", "f32[2] -2 -6"},
    {"const %x: f64[3,3] = [0, 2, 1, 1, 1, 1, 2, 0, 3]", "det %x", "f64[] -4"},
    {"const %x: f32[2,2] = [1, 2, 2, 4]", "det %x", "f32[] 0"},
    {"const %x: f32[1,0,0] = splat(0)", "det %x", "f32[1] 1"},
    {X23, "det %x", "!the matrices of operand 0, f32[2,3], are not square and of fixed size"},
    // the centre; a corner of the image; outside of it
    {IMAGE GRID("3", "0, 0, -1, -1, 2, 0"), "grid_sample %x, %g", "f32[1,1,1,3] 2.5 0.25 0"},
    {IMAGE GRID("3", "0, 0, -1, -1, 2, 0"), "grid_sample %x, %g {align=1}",
     "f32[1,1,1,3] 2.5 1 1.5"},
    {IMAGE GRID("3", "0, 0, -1, -1, 2, 0"), "grid_sample %x, %g {border=\"border\"}",
     "f32[1,1,1,3] 2.5 1 3"},
    {IMAGE GRID("3", "0.5, 0.5, -1.5, -0.5, 2.5, 0.5"),
     "grid_sample %x, %g {border=\"reflection\"}", "f32[1,1,1,3] 4 1 3"},
    {IMAGE GRID("3", "0.4, -0.4, -2, -2, " NAN_ ", 0.5"), "grid_sample %x, %g {mode=\"nearest\"}",
     "f32[1,1,1,3] 2 0 0"},
    {IMAGE GRID("2", NAN_ ", 0.5, 1e30, 0.5"),
     "grid_sample %x, %g {mode=\"nearest\", border=\"border\"}", "f32[1,1,1,2] 3 4"},
    // Keys' weights half way: -0.09375 0.59375 0.59375 -0.09375
    {"const %x: f32[1,1,1,4] = [1, 2, 4, 8]" GRID("1", "0, 0"),
     "grid_sample %x, %g {mode=\"cubic\", border=\"border\"}", "f32[1,1,1,1] 2.71875"},
    {IMAGE GRID("1", "0, 0"), "grid_sample %x, %g {mode=\"fast\"}", "!mode 'fast' is unknown"},
    {IMAGE "\nconst %g: f32[1,1,1,3] = [0, 0, 0]", "grid_sample %x, %g",
     "!operand 1 is f32[1,1,1,3], it must have the images of f32[1,1,2,2] and 2 coordinates"},
};

static const char *print_result(TextCase *t, const char *before, const IrType *type,
                                const IrTensor *value) {
    char text[200];
    before = ir_sprintf(t->arena, "%s%s%s", before, *before ? " " : "",
                        ir_type_print(type, text, sizeof text));
    for (int64_t i = 0; i < ir_tensor_elems(value); i++) {
        double x = ir_tensor_get(value, i);
        before = isnan(x) ? ir_sprintf(t->arena, "%s nan", before)
                          : ir_sprintf(t->arena, "%s %.9g", before, x + 0); // -0 is 0
    }
    return before;
}

static const char *evaluate(TextCase *t, const IrNode *n) {
    IrTensor in[6], out[2];
    const IrTensor *operand[6];
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        operand[i] = NULL;
        if (!v) {
            continue;
        }
        in[i] = (IrTensor){.dtype = v->type.dtype, .rank = v->type.shape.rank};
        for (int k = 0; k < in[i].rank; k++) {
            in[i].dim[k] = v->type.shape.dim[k].c;
        }
        in[i].data = (void *)ir_const_data(n->graph->prog, v->konst);
        operand[i] = &in[i];
    }
    const char *why = ir_eval_node(n, 1, operand, out, t->arena), *text = "";
    for (int i = 0; i < n->n_out && !why; i++) {
        text = print_result(t, text, &n->out[i]->type, &out[i]);
    }
    return why ? why : text;
}

static void check_case(const Case *c) {
    TextCase t;
    text_open(&t);
    static const char *const two[] = {"top_k", "non_zero", "nms", "bounded"};
    const char *results = "%r";
    for (int i = 0; i < 4; i++) {
        results = strncmp(c->node, two[i], strlen(two[i])) ? results : "%r, %s2";
    }
    const char *text = ir_sprintf(t.arena, "%s\ngraph g() -> (%s) {\n%s = %s\n}", c->consts,
                                  results, results, c->node);
    IrProgram *p = text_parse(&t, text);
    const char *log = text_log(&t), *got = p ? evaluate(&t, p->graphs[0]->first) : log;
    if (*c->want == '!') {
        size_t n = strlen(got), m = strlen(c->want + 1);
        got = p || n < m ? got : got + n - m;
        CHECK(!p);
    }
    if (!CHECK_STR_EQ(got, c->want + (*c->want == '!'))) {
        fprintf(stderr, "  in: %s\n", c->node);
    }
    text_close(&t);
}

#define TABLE(name, table)                                                                         \
    static void name(void) {                                                                       \
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {                                \
            check_case(&table[i]);                                                                 \
        }                                                                                          \
    }
TABLE(lines, LINES)
TABLE(gathers, GATHERS)
TABLE(scatters, SCATTERS)
TABLE(others, OTHERS)
TABLE(non_zero, NON_ZERO)
TABLE(nms, NMS)
TABLE(bounded, BOUNDED)

int main(void) {
    CHECK_RUN(lines);
    CHECK_RUN(gathers);
    CHECK_RUN(scatters);
    CHECK_RUN(others);
    CHECK_RUN(non_zero);
    CHECK_RUN(nms);
    CHECK_RUN(bounded);
    return check_done();
}
