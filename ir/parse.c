// Programs, constants and graphs from text; the form is described in ir.h. The text may be
// anyone's: it is read once, in time linear in its length, and reading ends at the first error.
#include "ir/eval.h"
#include "ir/parse.h"

static bool parse_meta(IrParser *p) {
    IrMeta m;
    if (!ir_lex_string(&p->lex, &m.key) || !ir_lex_expect(&p->lex, "=") ||
        !ir_lex_string(&p->lex, &m.value)) {
        return false;
    }
    IR_PUSH(p->lex.arena, p->prog->meta, p->prog->n_meta, p->prog->cap_meta, m);
    return true;
}

// ---------------------------------------------------------------- constants

// One element of a list, stored at index i.
static bool parse_elem(IrLexer *l, IrTensor *t, int64_t i) {
    int bytes = ir_dtype_bytes(t->dtype);
    ir_lex_skip(l);
    const char *at = l->at;
    if (ir_dtype_is_float(t->dtype)) {
        if (l->end - at > 2 && at[0] == '0' && at[1] == 'x') {
            uint64_t bits;
            if (!ir_lex_uint(l, &bits)) {
                return false;
            }
            char *to = (char *)t->data + i * bytes;
            for (int k = 0; k < bytes; k++) {
                to[k] = (char)(bits >> (8 * k)); // little-endian, as all targets are
            }
            return bytes == 8 || !(bits >> (8 * bytes)) || ir_lex_fail(l, at, "too many bits");
        }
        double x;
        if (!ir_lex_float(l, &x)) {
            return false;
        }
        ir_tensor_set(t, i, x);
        return true;
    }
    bool minus = ir_lex_accept(l, "-");
    uint64_t magnitude;
    if (!ir_lex_uint(l, &magnitude)) {
        return false;
    }
    IrWide x = minus ? -(IrWide)magnitude : (IrWide)magnitude;
    if (x < ir_wide_lowest(t->dtype) || x > ir_wide_highest(t->dtype)) {
        return ir_lex_fail(l, at, "the number does not fit %s", ir_dtype_name(t->dtype));
    }
    ir_tensor_store_wide(t, i, 1, &x);
    return true;
}

static bool parse_list(IrParser *p, const char *name, const IrType *type, const char *at) {
    IrLexer *l = &p->lex;
    IrDim elems;
    ir_shape_elems(&type->shape, &elems);
    if (elems.c > l->end - l->at) { // an element takes a character at least
        return ir_lex_fail(l, at, "the constant needs %lld elements", (long long)elems.c);
    }
    IrTensor t = ir_tensor_new(l->arena, type, 1);
    for (int64_t i = 0; i < elems.c; i++) {
        if ((i && !ir_lex_expect(l, ",")) || !parse_elem(l, &t, i)) {
            return false;
        }
    }
    ir_const_new(p->prog, name, *type, t.data);
    return ir_lex_expect(l, "]");
}

// Data that is not in the text: random values stand for it.
static bool parse_ref(IrParser *p, const char *name, const IrType *type, const char *at) {
    uint64_t hash;
    const char *of;
    if (!ir_lex_uint(&p->lex, &hash) || !ir_lex_expect(&p->lex, ",") ||
        !ir_lex_string(&p->lex, &of) || !ir_lex_expect(&p->lex, ")")) {
        return false;
    }
    p->first_ref = p->n_refs++ ? p->first_ref : at;
    ir_const_rand(p->prog, name, *type, hash);
    return true;
}

static bool parse_const_value(IrParser *p, const char *name, const IrType *type) {
    IrLexer *l = &p->lex;
    double x;
    uint64_t seed;
    ir_lex_skip(l);
    const char *at = l->at;
    if (ir_lex_accept(l, "[")) {
        return parse_list(p, name, type, at);
    }
    if (ir_lex_accept(l, "ref")) {
        return ir_lex_expect(l, "(") && parse_ref(p, name, type, at);
    }
    if (ir_lex_accept(l, "splat")) {
        bool fine = ir_lex_expect(l, "(") && ir_lex_float(l, &x) && ir_lex_expect(l, ")");
        return fine && ir_const_splat(p->prog, name, *type, x);
    }
    bool fine = ir_lex_expect(l, "rand") && ir_lex_expect(l, "(") && ir_lex_uint(l, &seed) &&
                ir_lex_expect(l, ")");
    return fine && ir_const_rand(p->prog, name, *type, seed);
}

static bool parse_const(IrParser *p) {
    IrLexer *l = &p->lex;
    IrRef ref;
    IrType type;
    if (!ir_lex_ref(l, &ref)) {
        return false;
    }
    if (!ref.name || !*ref.name) {
        return ir_lex_fail(l, ref.at, "a constant needs a name");
    }
    if (ir_map_get(&p->consts, ref.name)) {
        return ir_lex_fail(l, ref.at, "%s is defined twice", ir_ref_text(p, &ref));
    }
    if (!ir_lex_expect(l, ":") || !ir_lex_type(l, &type)) {
        return false;
    }
    if (type.block || !ir_shape_is_static(&type.shape)) {
        return ir_lex_fail(l, ref.at, "a constant has fixed dimensions and no layout");
    }
    if (!ir_lex_expect(l, "=") || !parse_const_value(p, ref.name, &type)) {
        return false;
    }
    IrConst *c = p->prog->consts[p->prog->n_consts - 1];
    *ir_map_put(&p->consts, c->name) = c;
    c->trainable = ir_lex_accept(l, "trainable");
    return !ir_lex_accept(l, "origin") || ir_lex_string(l, &c->origin);
}

// ---------------------------------------------------------------- graphs

static bool parse_input(IrParser *p) {
    IrLexer *l = &p->lex;
    IrRef ref;
    IrType type;
    const char *name = NULL;
    if (!ir_lex_ref(l, &ref) || (ir_lex_accept(l, "as") && !ir_lex_string(l, &name)) ||
        !ir_lex_expect(l, ":") || !ir_lex_type(l, &type)) {
        return false;
    }
    IrValue *v = ir_input(p->graph, name ? name : ref.name, type);
    const char *own = v->name;
    if (!ir_parse_define(p, &ref, v)) {
        return false;
    }
    v->name = own;
    return ir_parse_storage(p, v);
}

static bool parse_output(IrParser *p) {
    IrPending out = {0};
    if (!ir_lex_ref(&p->lex, &out.ref) ||
        (ir_lex_accept(&p->lex, "as") && !ir_lex_string(&p->lex, &out.as))) {
        return false;
    }
    IR_PUSH(p->lex.arena, p->outputs, p->n_outputs, p->cap_outputs, out);
    return true;
}

// ( item, item )
static bool parse_items(IrParser *p, bool (*item)(IrParser *)) {
    if (!ir_lex_expect(&p->lex, "(")) {
        return false;
    }
    for (int i = 0; !ir_lex_accept(&p->lex, ")"); i++) {
        if ((i && !ir_lex_expect(&p->lex, ",")) || !item(p)) {
            return false;
        }
    }
    return true;
}

static bool find_pending(IrParser *p, const IrPending *q, IrValue **out) {
    *out = ir_parse_find(p, &q->ref);
    return *out || ir_lex_fail(&p->lex, q->ref.at, "%s is not defined", ir_ref_text(p, &q->ref));
}

// Outputs and views, once all values are known.
static bool settle_pending(IrParser *p) {
    IrValue *v;
    for (int i = 0; i < p->n_views; i++) {
        if (!find_pending(p, &p->views[i], &v)) {
            return false;
        }
        p->views[i].view->view_of = v;
        p->views[i].view->view_channel = p->views[i].channel;
    }
    for (int i = 0; i < p->n_outputs; i++) {
        if (!find_pending(p, &p->outputs[i], &v)) {
            return false;
        }
        ir_output(p->graph, v);
        if (p->outputs[i].as) {
            p->graph->outputs[i]->name = p->outputs[i].as;
        }
    }
    return true;
}

// Values that the text numbers keep their number, the others get those after.
static void number_values(IrParser *p) {
    IrGraph *g = p->graph;
    int64_t next = 0;
    for (int i = 0; i < p->n_values; i++) {
        next = p->ids[i] >= next ? p->ids[i] + 1 : next;
    }
    for (int i = 0; i < g->n_inputs; i++) {
        g->inputs[i]->id = (uint32_t)next++;
    }
    for (int i = 0; i < g->cap_const_values; i++) {
        if (g->const_values[i]) {
            g->const_values[i]->id = (uint32_t)next++;
        }
    }
    for (IrNode *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->n_out; i++) {
            n->out[i]->id = (uint32_t)next++;
        }
    }
    for (int i = 0; i < p->n_values; i++) {
        p->values[i]->id = (uint32_t)p->ids[i];
    }
    g->next_id = (uint32_t)next;
}

static bool parse_graph(IrParser *p) {
    IrLexer *l = &p->lex;
    const char *name;
    ir_lex_skip(l);
    const char *at = l->at;
    if (!ir_lex_name(l, &name)) {
        return false;
    }
    p->graph = ir_graph_new(p->prog, name);
    p->named = p->numbered = (IrMap){.arena = l->arena};
    p->n_values = p->n_views = p->n_outputs = 0;
    if (!parse_items(p, parse_input) || !ir_lex_expect(l, "->") || !parse_items(p, parse_output)) {
        return false;
    }
    if (ir_lex_accept(l, "arena") &&
        (!ir_lex_dim(l, &p->graph->arena_bytes) || !ir_lex_expect(l, "no_reuse") ||
         !ir_lex_dim(l, &p->graph->arena_bytes_no_reuse))) {
        return false;
    }
    if (!ir_lex_expect(l, "{")) {
        return false;
    }
    while (!ir_lex_accept(l, "}")) {
        if (!ir_parse_node(p)) {
            return false;
        }
    }
    if (!settle_pending(p)) {
        return false;
    }
    number_values(p);
    const char *why = ir_verify(p->graph);
    return !why || ir_lex_fail(l, at, "%s", why);
}

static bool parse_program(IrParser *p) {
    IrLexer *l = &p->lex;
    if (ir_lex_accept(l, "program") && !ir_lex_string(l, &p->prog->name)) {
        return false;
    }
    for (;;) {
        ir_lex_skip(l);
        if (l->at == l->end) {
            return true;
        }
        bool fine = ir_lex_accept(l, "meta")    ? parse_meta(p)
                    : ir_lex_accept(l, "const") ? parse_const(p)
                    : ir_lex_expect(l, "graph") ? parse_graph(p)
                                                : false;
        if (!fine) {
            return false;
        }
    }
}

IrProgram *ir_parse(IrArena *a, const char *file, const char *text, size_t len) {
    IrParser p = {.lex = {.arena = a, .file = file, .start = text, .at = text, .end = text + len}};
    p.prog = ir_program_new(a, "");
    p.consts = (IrMap){.arena = a};
    if (!parse_program(&p)) {
        return NULL;
    }
    if (p.n_refs) {
        ir_lex_warn(&p.lex, p.first_ref,
                    ir_sprintf(a,
                               "the text lacks the data of %d constant%s from here on: "
                               "random values stand for it",
                               p.n_refs, p.n_refs == 1 ? "" : "s"));
    }
    return p.prog;
}
