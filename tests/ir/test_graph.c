// Building and editing graphs: use lists, order, outputs and their names, attributes, arenas, maps.
#include "tests/check.h"
#include "ir/map.h"
#include "tests/ir/ir_text.h"
#include <math.h>
#include <stdint.h>

typedef struct Fixture {
    TextCase t;
    IrProgram *p;
    IrGraph *g;
} Fixture;

static void open_graph(Fixture *f, const char *text) {
    text_open(&f->t);
    f->p = text_parse(&f->t, text);
    if (!CHECK(f->p != NULL)) {
        fprintf(stderr, "  %s\n", text_log(&f->t));
        exit(1);
    }
    f->g = f->p->graphs[0];
}

static IrNode *node_at(IrGraph *g, int index) {
    IrNode *n = g->first;
    while (index--) {
        n = n->next;
    }
    return n;
}

// The graph is sound and prints as `want`.
static void check_graph(Fixture *f, const char *want) {
    CHECK_STR_EQ(ir_verify(f->g), NULL);
    char *buf;
    size_t bytes;
    FILE *out = open_memstream(&buf, &bytes);
    ir_print_graph(out, f->g);
    fclose(out);
    CHECK_STR_EQ(buf, want);
    free(buf);
}

static void refused_builds_leave_no_trace(void) {
    Fixture f;
    open_graph(&f, "graph g(%x: f32[3], %z: f32[4]) -> (%y) { %y = relu %x }");
    IrBuilder b = {.graph = f.g, .name = "n"};
    uint32_t next_id = f.g->next_id;
    CHECK(!ir_build2(&b, IR_OP_ADD, f.g->inputs[0], f.g->inputs[1]));
    CHECK_STR_EQ(b.err, "operands f32[3] and f32[4] do not broadcast");
    CHECK(!ir_build1(&b, IR_OP_RELU, NULL));
    CHECK_STR_EQ(b.err, "operand 0 is missing");
    IrAttr twice[] = {ir_attr_i(IR_ATTR_AXIS, 0), ir_attr_i(IR_ATTR_AXIS, 0)};
    CHECK(!ir_build(&b, IR_OP_SOFTMAX, 1, f.g->inputs, 2, twice));
    CHECK_INT_EQ(f.g->next_id, next_id);
    check_graph(&f, "graph g(%x: f32[3], %z: f32[4]) -> (%y) {\n  %y: f32[3] = relu %x\n}\n");
    CHECK(ir_build1(&b, IR_OP_RELU, f.g->inputs[1]) && !b.err);
    text_close(&f.t);
}

static void nodes_go_where_they_are_told(void) {
    Fixture f;
    open_graph(&f, "graph g(%x: f32[N,4]) -> (%y) { %a = relu %x %b = exp %a %y = tanh %b }");
    IrNode *a = node_at(f.g, 0), *y = node_at(f.g, 2);
    IrBuilder b = {.graph = f.g, .before = y, .name = "new"};
    IrValue *v = ir_build1(&b, IR_OP_ABS, a->out[0]);
    ir_move_before(v->def, node_at(f.g, 1));
    CHECK(ir_precedes(a, v->def) && ir_precedes(v->def, y) && !ir_precedes(y, a) &&
          !ir_precedes(a, a));
    ir_set_in(y, 0, v);
    ir_remove_node(node_at(f.g, 2));
    check_graph(&f, "graph g(%x: f32[N,4]) -> (%y) {\n  %a: f32[N,4] = relu %x\n"
                    "  %4: f32[N,4] = abs %a @\"new\"\n  %y: f32[N,4] = tanh %4\n}\n");
    IrNode *early = a;
    ir_move_before(early, NULL);
    CHECK_STR_EQ(ir_verify(f.g),
                 "graph 'g': node 'new' (abs): operand 0 is used before its definition, "
                 "or not of this graph");
    ir_move_before(early, f.g->first);
    CHECK_STR_EQ(ir_verify(f.g), NULL);
    text_close(&f.t);
}

static void operands_can_be_added(void) {
    Fixture f;
    open_graph(&f, "graph g(%x: f32[N,3,5,5], %w: f32[3,3,1,1], %b: f32[3]) -> (%y) "
                   "{ %y = conv %x, %w %z = concat %y, %y {axis=1} }");
    IrNode *conv = node_at(f.g, 0), *concat = node_at(f.g, 1);
    IrBody body = {1, &(IrStep){.op = IR_OP_ADD, .arg = {IR_ACC, 3}}};
    ir_add_in(conv, f.g->inputs[0]); // of the epilogue: the bias stays absent
    ir_set_attr(conv, ir_attr_body(f.p->arena, IR_ATTR_THEN, &body));
    CHECK(!ir_infer(conv));
    CHECK_INT_EQ(conv->n_in, 4);
    CHECK(!ir_in(conv, 2) && ir_in(conv, 3) == f.g->inputs[0] && !ir_in(conv, 9));
    ir_set_in(conv, 2, f.g->inputs[2]);
    for (int i = 0; i < 20; i++) {
        ir_add_in(concat, conv->out[0]);
    }
    CHECK(!ir_infer(concat));
    CHECK_INT_EQ(concat->out[0]->type.shape.dim[1].c, 22 * 3);
    CHECK_INT_EQ(conv->out[0]->n_uses, 22);
    CHECK_INT_EQ(f.g->inputs[0]->n_uses, 2);
    CHECK_STR_EQ(ir_verify(f.g), NULL);
    ir_set_in(concat, 5, NULL);
    CHECK_INT_EQ(conv->out[0]->n_uses, 21);
    CHECK_STR_EQ(ir_verify(f.g), "graph 'g': node '' (concat): operand 5 is missing");
    text_close(&f.t);
}

static void replacing_moves_all_uses(void) {
    Fixture f;
    open_graph(&f, "graph g(%x: f32[4]) -> (%y, %a) "
                   "{ %a = relu %x %b = exp %x %y = add %a, %a %c = mul %a, %b }");
    IrNode *a = node_at(f.g, 0), *b = node_at(f.g, 1);
    CHECK(!ir_only_user(a->out[0]));
    CHECK(ir_only_user(b->out[0]) == node_at(f.g, 3));
    ir_move_before(b, a);
    ir_replace_uses(a->out[0], b->out[0]);
    CHECK_INT_EQ(a->out[0]->n_uses, 0);
    CHECK_INT_EQ(b->out[0]->n_uses, 4);
    ir_remove_node(a);
    check_graph(
        &f, "graph g(%x: f32[4]) -> (%y, %a) {\n  %a: f32[4] = exp %x\n  %y: f32[4] = add %a, %a\n"
            "  %c: f32[4] = mul %a, %a\n}\n");
    text_close(&f.t);
}

// What is replaced by an input, a constant or another output keeps a value of its own.
static void outputs_keep_their_names(void) {
    Fixture f;
    open_graph(&f, "const %k: f32[4] = splat(1)\ngraph g(%x: f32[4]) -> (%y, %z, %w) "
                   "{ %y = relu %x %z = relu %x %w = exp %x }");
    IrNode *y = node_at(f.g, 0), *z = node_at(f.g, 1), *w = node_at(f.g, 2);
    ir_replace_uses(y->out[0], f.g->inputs[0]);
    ir_replace_uses(w->out[0], z->out[0]);
    ir_remove_node(y);
    ir_remove_node(w);
    IrValue *k = ir_const_value(f.g, f.p->consts[0]);
    ir_output(f.g, k);
    check_graph(&f, "graph g(%x: f32[4]) -> (%y, %z, %w, %7 as \"k\") {\n  %z: f32[4] = relu %x\n"
                    "  %y: f32[4] = copy %x @\"x\"\n  %w: f32[4] = copy %z\n  %7: f32[4] = copy %k "
                    "@\"k\"\n}\n");
    CHECK_STR_EQ(f.g->outputs[3]->name, "k");
    IrBuilder b = {.graph = f.g, .name = "n"};
    ir_replace_output(f.g, 0, ir_build1(&b, IR_OP_EXP, f.g->inputs[0]));
    CHECK_STR_EQ(f.g->outputs[0]->name, "y");
    CHECK(f.g->outputs[0]->def->op == IR_OP_EXP);
    CHECK_STR_EQ(ir_verify(f.g), NULL);
    text_close(&f.t);
}

static void attributes_can_be_read_and_set(void) {
    Fixture f;
    open_graph(&f, "graph g(%x: f32[N,3,9,9], %w: f32[4,3,3,2]) -> (%y) "
                   "{ %y = conv %x, %w {stride=[2,3], pad=[1,2,3,4]} }");
    IrNode *n = f.g->first;
    IrWindow w = ir_window(n);
    CHECK(w.kh == 3 && w.kw == 2 && w.sh == 2 && w.sw == 3 && w.dh == 1 && w.dw == 1);
    CHECK(w.pt == 1 && w.pl == 2 && w.pb == 3 && w.pr == 4 && w.group == 1 && !w.ceil &&
          !w.count_pad);
    CHECK(!ir_attr(n, IR_ATTR_ALGO));
    ir_set_attr(n, ir_attr_algo(IR_CONV_DIRECT));
    ir_set_attr(n, ir_attr_ints(f.p->arena, IR_ATTR_DILATION, 2, (int64_t[]){1, 2}));
    ir_set_attr(n, ir_attr_ints(f.p->arena, IR_ATTR_STRIDE, 2, (int64_t[]){1, 1}));
    CHECK(!ir_infer(n));
    CHECK(ir_attr(n, IR_ATTR_ALGO)->algo == IR_CONV_DIRECT);
    CHECK_INT_EQ(ir_ints(n, IR_ATTR_DILATION).v[1], 2);
    CHECK_INT_EQ(n->n_attrs, 4);
    CHECK_INT_EQ(n->out[0]->type.shape.dim[2].c, 11);
    ir_del_attr(n, IR_ATTR_PAD);
    CHECK(!ir_attr(n, IR_ATTR_PAD) && ir_attr(n, IR_ATTR_ALGO) && ir_ints(n, IR_ATTR_PAD).n == 0);
    CHECK(!ir_infer(n));
    check_graph(
        &f,
        "graph g(%x: f32[N,3,9,9], %w: f32[4,3,3,2]) -> (%y) {\n  %y: f32[N,4,7,7] = conv %x, %w "
        "{stride=[1,1], dilation=[1,2], algo=direct}\n}\n");
    text_close(&f.t);
}

static void inference_keeps_what_it_can(void) {
    Fixture f;
    open_graph(&f, "graph g(%x: f32[N,32,9,9]) -> (%y) { %a: f32[N,32,9,9]{nChw16c} in %y+0 at "
                   "arena 64N = relu %x "
                   "%y: f32[N,32,9,9]{nChw16c} = relu %a }");
    IrNode *n = f.g->first;
    CHECK(!ir_infer(n));
    CHECK_INT_EQ(n->out[0]->type.block, 16);
    CHECK(n->out[0]->view_of && n->out[0]->place.kind == IR_PLACE_ARENA);
    f.g->inputs[0]->type.shape.dim[1] = ir_dim(48);
    CHECK(!ir_infer(n));
    CHECK_INT_EQ(n->out[0]->type.block, 0);
    f.g->inputs[0]->type.dtype = IR_BOOL;
    CHECK_STR_EQ(ir_infer(n), "relu of bool: it works on numbers");
    CHECK_INT_EQ(n->out[0]->type.shape.dim[1].c, 48);
    text_close(&f.t);
}

static void names_join(void) {
    TextCase t;
    text_open(&t);
    CHECK_STR_EQ(ir_join_names(t.arena, "a", "b"), "a+b");
    CHECK_STR_EQ(ir_join_names(t.arena, "a", "a"), "a");
    CHECK_STR_EQ(ir_join_names(t.arena, "", "b"), "b");
    CHECK_STR_EQ(ir_join_names(t.arena, "a", ""), "a");
    const char *s = "start";
    for (int i = 0; i < 1000; i++) {
        s = ir_join_names(t.arena, s, ir_sprintf(t.arena, "node%d", i));
    }
    CHECK(strlen(s) <= 204 && strstr(s, "+...") == s + strlen(s) - 4);
    text_close(&t);
}

// A long random series of edits; the verifier looks on.
static void many_edits_stay_sound(void) {
    Fixture f;
    open_graph(&f, "graph g(%x: f32[N,4]) -> (%y) { %y = relu %x }");
    uint32_t r = 1;
    for (int i = 0; i < 2000; i++) {
        r = r * 1664525 + 1013904223;
        int n = f.g->n_nodes;
        IrNode *a = node_at(f.g, (int)(r >> 8) % n), *b = node_at(f.g, (int)(r >> 16) % n);
        if (ir_precedes(b, a)) {
            IrNode *c = a;
            a = b;
            b = c;
        }
        IrBuilder after = {.graph = f.g, .before = a->next, .name = "n"};
        switch (r >> 29) {
        case 0:
        case 1:
        case 2:
        case 3:
            ir_build2(&after, IR_OP_ADD, a->out[0], f.g->inputs[0]);
            break;
        case 4:
        case 5:
            if (a != b) {
                ir_set_in(b, (int)(r >> 20) % b->n_in, a->out[0]);
            }
            break;
        case 6:
            if (a != b) {
                ir_replace_uses(b->out[0], a->out[0]);
            }
            break;
        default:
            if (!a->out[0]->n_uses && !a->out[0]->is_output) {
                ir_remove_node(a);
            }
        }
        if (i % 16 == 0 && !CHECK_STR_EQ(ir_verify(f.g), NULL)) {
            break;
        }
    }
    CHECK_STR_EQ(ir_verify(f.g), NULL);
    CHECK(f.g->n_nodes > 100);
    text_close(&f.t);
}

static void unused_constants_can_go(void) {
    Fixture f;
    open_graph(&f, "const %a: f32[] = splat(1) const %b: f32[] = splat(2) const %c: f32[] = "
                   "splat(3) trainable\n"
                   "graph g(%x: f32[4]) -> (%y) { %y = add %x, %b }");
    ir_prune_consts(f.p);
    CHECK_INT_EQ(f.p->n_consts, 2);
    CHECK_STR_EQ(f.p->consts[0]->name, "b");
    CHECK_STR_EQ(f.p->consts[1]->name, "c");
    IrBuilder b = {.graph = f.g, .name = "n"};
    IrValue *s = ir_build_scalar(&b, IR_F32, 0.5);
    CHECK(ir_const_is_scalar(s) && s->konst->id == 3);
    CHECK_STR_EQ(ir_verify(f.g), NULL);
    text_close(&f.t);
}

// ---------------------------------------------------------------- arena and map

static void note_call(void *arg) {
    char **at = arg;
    *(*at)++ = 'x';
}

// Numbers, a splat beyond f32's range, random ones; what was found stays.
static void finite_constants_are_known(void) {
    static const bool finite[] = {true, false, false, true, false, true};
    Fixture f;
    open_graph(&f, "const %a: f32[2] = [1, 2] const %b: f32[2] = [1, 0x7fc00000]\n"
                   "const %c: f32[2] = [-1, 2] const %d: f32[3] = splat(3e38)\n"
                   "const %e: f32[3] = splat(1e39) const %g: f32[3] = rand(1)\n"
                   "graph g(%x: f32[2]) -> (%y) { %y = relu %x }");
    static const float infinite[] = {-INFINITY, 2};
    f.p->consts[2]->data = infinite;
    for (int k = 0; k < 2 * f.p->n_consts; k++)
        CHECK(ir_const_is_finite(f.p, f.p->consts[k / 2]) == finite[k / 2]);
    text_close(&f.t);
}

static void arenas_align_and_zero(void) {
    TextCase t;
    text_open(&t);
    for (size_t bytes = 0; bytes < 100000; bytes = bytes * 2 + 1) {
        char *p = ir_alloc(t.arena, bytes);
        CHECK((uintptr_t)p % (bytes >= 64 ? 64 : 16) == 0);
        bool zero = true;
        for (size_t i = 0; i < bytes; i++) {
            zero = zero && !p[i];
        }
        CHECK(zero);
        memset(p, 0xff, bytes);
    }
    int *v = NULL, n = 0, cap = 0;
    for (int i = 0; i < 1000; i++) {
        IR_PUSH(t.arena, v, n, cap, i);
    }
    CHECK(n == 1000 && v[999] == 999 && v[0] == 0);
    char calls[3] = "", *at = calls;
    IrArena *a = ir_arena_new(&t.diag);
    ir_arena_defer(a, note_call, &at);
    ir_arena_defer(a, note_call, &at);
    ir_arena_free(a);
    CHECK_STR_EQ(calls, "xx");
    ir_arena_free(NULL);
    text_close(&t);
}

static void too_much_memory_unwinds(void) {
    TextCase t;
    text_open(&t);
    jmp_buf guard;
    t.diag.guard = &guard;
    for (volatile int i = 0; i < 2; i++) {
        if (!setjmp(guard)) {
            ir_alloc_array(t.arena, SIZE_MAX / 2, i ? 1 : 4);
            CHECK(!"reached");
        }
    }
    CHECK_INT_EQ(t.diag.errors, 2);
    CHECK(strstr(text_log(&t), "t.ir: out of memory: "));
    text_close(&t);
}

static void maps_find_what_was_put(void) {
    TextCase t;
    text_open(&t);
    IrMap m = {.arena = t.arena};
    CHECK(!ir_map_get(&m, "a"));
    for (int i = 0; i < 1000; i++) {
        char *key = ir_sprintf(t.arena, "key%d", i);
        *ir_map_put(&m, key) = key;
    }
    CHECK_INT_EQ(m.n, 1000);
    CHECK_STR_EQ(ir_map_get(&m, "key0"), "key0");
    CHECK_STR_EQ(ir_map_get(&m, "key999"), "key999");
    CHECK(!ir_map_get(&m, "key1000"));
    CHECK(ir_hash("abcdefgh1", 9) != ir_hash("abcdefgh2", 9));
    text_close(&t);
}

// Keys that are the beginnings of others, the empty one, and bytes above 127, in any order.
static void maps_tell_beginnings_apart(void) {
    TextCase t;
    text_open(&t);
    IrMap m = {.arena = t.arena};
    for (int i = 0; i < 500; i++) {
        int n = i * 197 % 500;
        char *key = ir_alloc(t.arena, (size_t)n + 1), *high = ir_sprintf(t.arena, "a\xc3%d", n);
        memset(key, 'a', (size_t)n);
        CHECK(!*ir_map_put(&m, key));
        *ir_map_put(&m, key) = key;
        *ir_map_put(&m, high) = high;
    }
    CHECK_INT_EQ(m.n, 1000);
    char key[501] = "";
    for (int n = 0; n < 500; n++) {
        CHECK_STR_EQ(ir_map_get(&m, key), key);
        const char *high = ir_sprintf(t.arena, "a\xc3%d", n);
        CHECK_STR_EQ(ir_map_get(&m, high), high);
        key[n] = 'a';
    }
    CHECK(!ir_map_get(&m, key));
    CHECK(!ir_map_get(&m, "b"));
    text_close(&t);
}

int main(void) {
    CHECK_RUN(refused_builds_leave_no_trace);
    CHECK_RUN(nodes_go_where_they_are_told);
    CHECK_RUN(operands_can_be_added);
    CHECK_RUN(replacing_moves_all_uses);
    CHECK_RUN(outputs_keep_their_names);
    CHECK_RUN(attributes_can_be_read_and_set);
    CHECK_RUN(inference_keeps_what_it_can);
    CHECK_RUN(names_join);
    CHECK_RUN(many_edits_stay_sound);
    CHECK_RUN(unused_constants_can_go);
    CHECK_RUN(finite_constants_are_known);
    CHECK_RUN(arenas_align_and_zero);
    CHECK_RUN(too_much_memory_unwinds);
    CHECK_RUN(maps_find_what_was_put);
    CHECK_RUN(maps_tell_beginnings_apart);
    return check_done();
}
