// Every invariant is broken once, and the verifier must say so.
#include "tests/check.h"
#include "tests/ir/ir_text.h"

static const char GRAPH[] =
    "const %k: f32[4] = splat(1)\n"
    "graph g(%x: f32[N,4,2,2], %w: f32[4,4,1,1]) -> (%y) {\n"
    "  %a: f32[N,4,2,2] in %y+2 = conv %x, %w, %k {stride=[1,1], pad=[0,0,0,0]} @\"c\"\n"
    "  %b: f32[N,4,2,2] = relu %a @\"r\"\n"
    "  %y: f32[N,8,2,2] = concat %b, %a {axis=1} @\"y\"\n"
    "}\n";

typedef struct Parts {
    IrGraph *g;
    IrNode *conv, *relu, *concat;
} Parts;

static void no_change(Parts *p) {
    (void)p;
}
static void wrong_shape(Parts *p) {
    p->relu->out[0]->type.shape.dim[1].c = 5;
}
static void wrong_dtype(Parts *p) {
    p->relu->out[0]->type.dtype = IR_F64;
}
static void wrong_block(Parts *p) {
    p->relu->out[0]->type.block = 100;
}
static void same_id(Parts *p) {
    p->relu->out[0]->id = p->conv->out[0]->id;
}
static void large_id(Parts *p) {
    p->relu->out[0]->id = p->g->next_id;
}
static void order(Parts *p) {
    ir_move_before(p->relu, p->conv);
}
static void wrong_def(Parts *p) {
    p->relu->out[0]->def = p->conv;
}
static void no_name(Parts *p) {
    p->relu->name = NULL;
}
static void prev_link(Parts *p) {
    p->relu->prev = NULL;
}
static void last_link(Parts *p) {
    p->g->last = p->relu;
}
static void node_count(Parts *p) {
    p->g->n_nodes--;
}
static void node_cycle(Parts *p) {
    p->concat->next = p->conv;
    p->conv->prev = p->concat;
}
static void other_graph(Parts *p) {
    p->relu->graph = NULL;
}
static void attrs_order(Parts *p) {
    IrAttr a = p->conv->attrs[0];
    p->conv->attrs[0] = p->conv->attrs[1];
    p->conv->attrs[1] = a;
}
static void attr_of_other(Parts *p) {
    ir_set_attr(p->relu, ir_attr_i(IR_ATTR_AXIS, 1));
}
static void no_operand(Parts *p) {
    ir_set_in(p->relu, 0, NULL);
}
static void hidden_use(Parts *p) {
    p->relu->in[0].value = p->g->inputs[0];
}
static void use_count(Parts *p) {
    p->conv->out[0]->n_uses++;
}
static void use_lost(Parts *p) {
    p->relu->out[0]->uses = NULL;
    p->relu->out[0]->n_uses = 0;
}
static void use_index(Parts *p) {
    p->concat->in[0].index = 1;
}
static void use_prev(Parts *p) {
    p->conv->out[0]->uses->next->prev = NULL;
}
static void not_output(Parts *p) {
    p->concat->out[0]->is_output = false;
}
static void extra_output(Parts *p) {
    p->relu->out[0]->is_output = true;
}
static void no_outputs(Parts *p) {
    p->g->n_outputs = 0;
}
static void nameless_output(Parts *p) {
    p->concat->out[0]->name = NULL;
}
static void input_index(Parts *p) {
    p->g->inputs[1]->input = 0;
}
static void input_output(Parts *p) {
    p->g->outputs[0] = p->g->inputs[0];
}
static void input_names(Parts *p) {
    p->g->inputs[1]->name = "x";
}
static void negative_dim(Parts *p) {
    p->g->inputs[0]->type.shape.dim[0] = (IrDim){-1, 1};
}
static void huge_rank(Parts *p) {
    p->g->inputs[0]->type.shape.rank = 9;
}
static void const_type(Parts *p) {
    p->conv->in[2].value->type.shape.dim[0].c = 5;
}
static void const_data(Parts *p) {
    p->conv->in[2].value->konst->kind = IR_CONST_DATA;
}
static void const_id(Parts *p) {
    p->conv->in[2].value->konst->id = 7;
}
static void view_end(Parts *p) {
    p->conv->out[0]->view_channel = 5;
}
static void view_begin(Parts *p) {
    p->conv->out[0]->view_channel = -1;
}
static void view_cycle(Parts *p) {
    p->concat->out[0]->view_of = p->concat->out[0];
}
static void view_elsewhere(Parts *p) {
    static IrValue stranger;
    p->conv->out[0]->view_of = &stranger;
}
static void view_height(Parts *p) {
    p->conv->out[0]->view_of = p->g->inputs[1];
}
static void view_block(Parts *p) {
    p->conv->out[0]->type.block = 4;
    p->concat->out[0]->type.block = 4;
}
static void bad_place(Parts *p) {
    p->relu->out[0]->place = (IrPlace){IR_PLACE_ARENA, {-4, 0}, 0};
}

typedef struct Case {
    void (*spoil)(Parts *);
    const char *want; // NULL: nothing wrong
} Case;

#define AT_CONV "graph 'g': node 'c' (conv): "
#define AT_RELU "graph 'g': node 'r' (relu): "
#define AT_CONCAT "graph 'g': node 'y' (concat): "

static const Case CASES[] = {
    {no_change, NULL},
    {wrong_shape, AT_RELU "its type is f32[N,5,2,2], it should be f32[N,4,2,2]"},
    {wrong_dtype, AT_RELU "its type is f64[N,4,2,2], it should be f32[N,4,2,2]"},
    {wrong_block, AT_RELU "f32[N,4,2,2]{nChw100c} cannot be stored in blocks of 100 channels"},
    {same_id, AT_RELU "value number 3 is not unique"},
    {large_id, AT_RELU "value number 6 is not unique"},
    {order, AT_RELU "operand 0 is used before its definition, or not of this graph"},
    {wrong_def, AT_RELU "its result does not name it as its definition"},
    {no_name, "graph 'g': node '?' (relu): it has no name, no op or a wrong number of results"},
    {prev_link, "graph 'g': the list of nodes is broken at node 1"},
    {last_link, "graph 'g': the list of nodes ends wrong"},
    {node_count, "graph 'g': the list of nodes is broken at node 3"},
    {node_cycle, "graph 'g': the list of nodes is broken at node 0"},
    {other_graph, "graph 'g': the list of nodes is broken at node 1"},
    {attrs_order, AT_CONV "attribute stride stands twice, or out of order"},
    {attr_of_other, AT_RELU "relu has no attribute axis"},
    {no_operand, AT_RELU "operand 0 is missing"},
    {hidden_use, AT_CONV "the use list of value number 3 is broken"},
    {use_count, AT_CONV "value number 3 has 2 uses and says 3"},
    {use_lost, "graph 'g': 1 operands are missing from the use lists"},
    {use_index, AT_CONCAT "the use by operand 0 names another node or index"},
    {use_prev, AT_CONV "the use list of value number 3 is broken"},
    {not_output, "graph 'g': output 0 is not a named result of a node, or not marked as output"},
    {extra_output, "graph 'g': 2 values say that they are one of its 1 outputs"},
    {no_outputs, "graph 'g': it has no outputs"},
    {nameless_output,
     "graph 'g': output 0 is not a named result of a node, or not marked as output"},
    {input_index, "graph 'g': input 1 is not a named input with that index"},
    {input_output, "graph 'g': output 0 is not a named result of a node, or not marked as output"},
    {input_names, "graph 'g': two inputs are called 'x'"},
    {negative_dim, "graph 'g': dimension 0 of f32[N+-1,4,2,2] is negative"},
    {huge_rank, "graph 'g': rank 9 is not in 0..8"},
    {const_type, "graph 'g': constant 'k' has no data, or another type than its value"},
    {const_data, "graph 'g': constant 'k' has no data, or another type than its value"},
    {const_id, "graph 'g': value number 2 is not that of constant 0"},
    {view_end, AT_CONV "value number 3 does not fit value number 5 that it is a view of"},
    {view_begin, AT_CONV "value number 3 does not fit value number 5 that it is a view of"},
    {view_cycle, AT_CONCAT "value number 5 is a view of itself, or of nothing here"},
    {view_elsewhere, AT_CONV "value number 3 is a view of itself, or of nothing here"},
    {view_height, AT_CONV "value number 3 does not fit value number 1 that it is a view of"},
    {view_block, AT_CONV "value number 3 does not fit value number 5 that it is a view of"},
    {bad_place, AT_RELU "value number 4 is at an impossible place"},
};

static void says_what_is_wrong(void) {
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        TextCase t;
        text_open(&t);
        IrProgram *p = text_parse(&t, GRAPH);
        if (CHECK(p != NULL)) {
            Parts parts = {.g = p->graphs[0]};
            parts.conv = parts.g->first;
            parts.relu = parts.conv->next;
            parts.concat = parts.g->last;
            CASES[i].spoil(&parts);
            if (!CHECK_STR_EQ(ir_verify(parts.g), CASES[i].want)) {
                fprintf(stderr, "  case %zu\n", i);
            }
        }
        text_close(&t);
    }
}

// Blocked channels that start at a block, and a reshape of the same bytes, are views.
static void views_may_be_blocked_or_reshaped(void) {
    TextCase t;
    text_open(&t);
    IrProgram *p = text_parse(&t, "graph g(%x: f32[N,16,1,1]) -> (%y, %f) {\n"
                                  "  %a: f32[N,16,1,1]{nChw16c} in %y+16 = relu %x\n"
                                  "  %y: f32[N,32,1,1]{nChw16c} = concat %x, %a {axis=1}\n"
                                  "  %f: f32[N,32] in %y+0 = reshape %y {shape=[N,32]}\n}");
    CHECK_STR_EQ(text_log(&t), "");
    if (CHECK(p != NULL)) {
        int64_t channel;
        IrValue *a = p->graphs[0]->first->out[0];
        CHECK(ir_view_root(a, &channel) == p->graphs[0]->outputs[0]);
        CHECK_INT_EQ(channel, 16);
    }
    text_close(&t);
}

int main(void) {
    CHECK_RUN(says_what_is_wrong);
    CHECK_RUN(views_may_be_blocked_or_reshaped);
    return check_done();
}
