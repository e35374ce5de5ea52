// One line of a graph: results, op, operands, attributes, name.
#include "ir/conv.h"
#include "ir/parse.h"

const char *ir_ref_text(IrParser *p, const IrRef *ref) {
    return ref->name ? ir_sprintf(p->lex.arena, "%%%s", ref->name)
                     : ir_sprintf(p->lex.arena, "%%%lld", (long long)ref->id);
}

static const char *id_key(IrParser *p, int64_t id) {
    return ir_sprintf(p->lex.arena, "%lld", (long long)id);
}

IrValue *ir_parse_find(IrParser *p, const IrRef *ref) {
    if (!ref->name) {
        return ir_map_get(&p->numbered, id_key(p, ref->id));
    }
    IrValue *v = ir_map_get(&p->named, ref->name);
    IrConst *c = v ? NULL : ir_map_get(&p->consts, ref->name);
    return c ? ir_const_value(p->graph, c) : v;
}

bool ir_parse_define(IrParser *p, const IrRef *ref, IrValue *v) {
    bool taken = ref->name ? ir_map_get(&p->named, ref->name) || ir_map_get(&p->consts, ref->name)
                           : ir_map_get(&p->numbered, id_key(p, ref->id)) != NULL;
    if (taken) {
        return ir_lex_fail(&p->lex, ref->at, "%s is defined twice", ir_ref_text(p, ref));
    }
    if (ref->name) {
        v->name = ref->name;
        *ir_map_put(&p->named, ref->name) = v;
        return true;
    }
    *ir_map_put(&p->numbered, id_key(p, ref->id)) = v;
    int n = p->n_values;
    IR_PUSH(p->lex.arena, p->values, p->n_values, p->cap_values, v);
    IR_PUSH(p->lex.arena, p->ids, n, p->cap_ids, ref->id);
    return true;
}

// ---------------------------------------------------------------- storage

static bool parse_place(IrParser *p, IrPlace *place) {
    IrLexer *l = &p->lex;
    int64_t index;
    if (ir_lex_accept(l, "arena")) {
        place->kind = IR_PLACE_ARENA;
        return ir_lex_dim(l, &place->offset);
    }
    if (ir_lex_accept(l, "const")) {
        place->kind = IR_PLACE_CONST;
        return true;
    }
    place->kind = ir_lex_accept(l, "input") ? IR_PLACE_INPUT : IR_PLACE_OUTPUT;
    if (place->kind == IR_PLACE_OUTPUT && !ir_lex_expect(l, "output")) {
        return false;
    }
    const char *at = l->at;
    if (!ir_lex_int(l, &index)) {
        return false;
    }
    place->index = (int)index;
    return (index >= 0 && index <= INT32_MAX) ||
           ir_lex_fail(l, at, "there is no such input or output");
}

bool ir_parse_storage(IrParser *p, IrValue *v) {
    IrLexer *l = &p->lex;
    if (ir_lex_accept(l, "in")) {
        IrPending view = {.view = v};
        if (!ir_lex_ref(l, &view.ref) || !ir_lex_expect(l, "+") || !ir_lex_int(l, &view.channel)) {
            return false;
        }
        IR_PUSH(l->arena, p->views, p->n_views, p->cap_views, view);
    }
    return !ir_lex_accept(l, "at") || parse_place(p, &v->place);
}

// ---------------------------------------------------------------- attributes

static bool parse_arg(IrLexer *l, int *out) {
    ir_lex_skip(l);
    const char *at = l->at;
    int64_t x;
    if (ir_lex_accept(l, "acc")) {
        *out = IR_ACC;
        return true;
    }
    bool step = l->at < l->end && *l->at == 's';
    l->at += step;
    if (!ir_lex_int(l, &x)) {
        return false;
    }
    *out = step ? IR_STEP((int)x) : (int)x;
    return (x >= 0 && x < IR_ACC) || ir_lex_fail(l, at, "there is no such operand or step");
}

// "min=0": the FLOAT attributes of the step's op, all of them, in the op table's order
static bool parse_step_attrs(IrLexer *l, IrStep *s) {
    for (int key = 0, k = 0; key < IR_ATTR_COUNT; key++) {
        if (!(ir_op_info(s->op)->attrs >> key & 1) ||
            ir_attr_kind((IrAttrKey)key) != IR_KIND_FLOAT) {
            continue;
        }
        if (!ir_lex_expect(l, ",") || !ir_lex_expect(l, ir_attr_name((IrAttrKey)key)) ||
            !ir_lex_expect(l, "=") || !ir_lex_float(l, &s->p[k++])) {
            return false;
        }
    }
    return true;
}

// "to=u8" of a cast
static bool parse_target(IrLexer *l, IrStep *s) {
    IrDtype to;
    const char *word;
    if (!ir_lex_expect(l, ",") || !ir_lex_expect(l, "to") || !ir_lex_expect(l, "=")) {
        return false;
    }
    ir_lex_skip(l);
    const char *at = l->at;
    if (!ir_lex_word(l, &word)) {
        return false;
    }
    if (!ir_dtype_parse(word, &to)) {
        return ir_lex_fail(l, at, "'%s' is no element type", word);
    }
    s->p[0] = to;
    return true;
}

static bool parse_step(IrLexer *l, IrStep *s) {
    ir_lex_skip(l);
    const char *at = l->at, *word;
    if (!ir_lex_word(l, &word)) {
        return false;
    }
    if (!ir_op_parse(word, &s->op) || !(ir_op_info(s->op)->flags & IR_FLAG_E)) {
        return ir_lex_fail(l, at, "'%s' is no elementwise op", word);
    }
    if (!ir_lex_expect(l, "(")) {
        return false;
    }
    for (int i = 0; i < ir_op_info(s->op)->max_in; i++) {
        if ((i && !ir_lex_expect(l, ",")) || !parse_arg(l, &s->arg[i])) {
            return false;
        }
    }
    return (s->op == IR_OP_CAST ? parse_target(l, s) : parse_step_attrs(l, s)) &&
           ir_lex_expect(l, ")");
}

static bool parse_body(IrLexer *l, IrBody *body) {
    int cap = 0;
    if (!ir_lex_expect(l, "[")) {
        return false;
    }
    while (!ir_lex_accept(l, "]")) {
        IrStep s = {0};
        if ((body->n && !ir_lex_expect(l, ",")) || !parse_step(l, &s)) {
            return false;
        }
        IR_PUSH(l->arena, body->step, body->n, cap, s);
    }
    return true;
}

static bool parse_ints(IrLexer *l, IrInts *ints) {
    int cap = 0;
    if (!ir_lex_expect(l, "[")) {
        return false;
    }
    while (!ir_lex_accept(l, "]")) {
        int64_t x;
        if ((ints->n && !ir_lex_expect(l, ",")) || !ir_lex_int(l, &x)) {
            return false;
        }
        IR_PUSH(l->arena, ints->v, ints->n, cap, x);
    }
    return true;
}

static bool parse_algo(IrLexer *l, IrConvAlgo *algo) {
    ir_lex_skip(l);
    const char *at = l->at, *name;
    if (!ir_lex_name(l, &name)) {
        return false;
    }
    return ir_conv_algo_parse(name, algo) ||
           ir_lex_fail(l, at, "'%s' is no way to compute a convolution", name);
}

static bool parse_tile(IrLexer *l, IrConvTile *tile) {
    if (!ir_lex_expect(l, "[")) {
        return false;
    }
    for (int n = 0; !ir_lex_accept(l, "]"); n++) {
        int64_t x;
        const char *word;
        if (n && !ir_lex_expect(l, ",")) {
            return false;
        }
        ir_lex_skip(l);
        const char *at = l->at;
        if (!ir_lex_word(l, &word) || !ir_lex_expect(l, "=") || !ir_lex_int(l, &x)) {
            return false;
        }
        int32_t *field = ir_conv_tile_field(tile, word);
        if (!field || x < INT32_MIN || x > INT32_MAX) {
            return ir_lex_fail(l, at, "a tile has no such %s", word);
        }
        *field = (int32_t)x;
    }
    return true;
}

static bool parse_attr(IrLexer *l, IrAttr *a) {
    ir_lex_skip(l);
    const char *at = l->at, *word;
    if (!ir_lex_word(l, &word)) {
        return false;
    }
    *a = (IrAttr){0};
    if (!ir_attr_parse(word, &a->key)) {
        return ir_lex_fail(l, at, "'%s' is no attribute", word);
    }
    if (!ir_lex_expect(l, "=")) {
        return false;
    }
    switch (ir_attr_kind(a->key)) {
    case IR_KIND_INT:
        return ir_lex_int(l, &a->i);
    case IR_KIND_FLOAT:
        return ir_lex_float(l, &a->f);
    case IR_KIND_INTS:
        return parse_ints(l, &a->ints);
    case IR_KIND_DIMS:
        return ir_lex_dims(l, &a->dims);
    case IR_KIND_STR:
        return ir_lex_name(l, &a->s);
    case IR_KIND_BODY:
        return parse_body(l, &a->body);
    case IR_KIND_ALGO:
        return parse_algo(l, &a->algo);
    case IR_KIND_TILE:
        return parse_tile(l, &a->tile);
    }
    return false;
}

// ---------------------------------------------------------------- nodes

typedef struct Result { // as the text has it
    IrRef ref;
    bool typed;
    const char *type_at;
    IrValue value; // its type and place
    int view;      // index of its pending view, or -1
} Result;

static bool parse_result(IrParser *p, Result *r) {
    IrLexer *l = &p->lex;
    *r = (Result){.view = -1};
    if (!ir_lex_ref(l, &r->ref)) {
        return false;
    }
    r->typed = ir_lex_accept(l, ":");
    if (r->typed) {
        ir_lex_skip(l);
        r->type_at = l->at;
        if (!ir_lex_type(l, &r->value.type)) {
            return false;
        }
    }
    int views = p->n_views;
    bool fine = ir_parse_storage(p, &r->value);
    r->view = p->n_views > views ? views : -1;
    return fine;
}

static bool parse_operands(IrParser *p, int *n, IrValue ***in) {
    IrLexer *l = &p->lex;
    int cap = 0;
    ir_lex_skip(l);
    while (*n || (l->at < l->end && (*l->at == '%' || *l->at == '_'))) {
        if (*n && !ir_lex_accept(l, ",")) {
            return true;
        }
        IrRef ref;
        IrValue *v = NULL;
        if (!ir_lex_accept(l, "_")) {
            if (!ir_lex_ref(l, &ref)) {
                return false;
            }
            v = ir_parse_find(p, &ref);
            if (!v) {
                return ir_lex_fail(l, ref.at, "%s is not defined before its use",
                                   ir_ref_text(p, &ref));
            }
        }
        IR_PUSH(l->arena, *in, *n, cap, v);
    }
    return true;
}

static bool parse_attrs(IrLexer *l, int *n, IrAttr **attrs) {
    int cap = 0;
    if (!ir_lex_accept(l, "{")) {
        return true;
    }
    while (!ir_lex_accept(l, "}")) {
        IrAttr a;
        if ((*n && !ir_lex_expect(l, ",")) || !parse_attr(l, &a)) {
            return false;
        }
        IR_PUSH(l->arena, *attrs, *n, cap, a);
    }
    return true;
}

// Gives the built result the name, layout and place of the text.
static bool settle_result(IrParser *p, const Result *r, IrValue *v) {
    if (r->typed) {
        IrType t = r->value.type;
        t.block = 0;
        if (!ir_type_eq(&t, &v->type)) {
            char buf[IR_TYPE_TEXT];
            return ir_lex_fail(&p->lex, r->type_at, "the type is %s",
                               ir_type_print(&v->type, buf, sizeof buf));
        }
        v->type.block = r->value.type.block;
    }
    v->place = r->value.place;
    if (r->view >= 0) {
        p->views[r->view].view = v;
    }
    return ir_parse_define(p, &r->ref, v);
}

bool ir_parse_node(IrParser *p) {
    IrLexer *l = &p->lex;
    Result *results = NULL;
    int n_results = 0, cap_results = 0, n_in = 0, n_attrs = 0;
    IrValue **in = NULL;
    IrAttr *attrs = NULL;
    const char *word, *name = "";
    IrOp op;
    do {
        Result r;
        if (!parse_result(p, &r)) {
            return false;
        }
        IR_PUSH(l->arena, results, n_results, cap_results, r);
    } while (ir_lex_accept(l, ","));
    if (!ir_lex_expect(l, "=")) {
        return false;
    }
    ir_lex_skip(l);
    const char *at = l->at;
    if (!ir_lex_word(l, &word)) {
        return false;
    }
    if (!ir_op_parse(word, &op)) {
        return ir_lex_fail(l, at, "'%s' is no op", word);
    }
    if (!parse_operands(p, &n_in, &in) || !parse_attrs(l, &n_attrs, &attrs) ||
        (ir_lex_accept(l, "@") && !ir_lex_string(l, &name))) {
        return false;
    }
    IrBuilder b = {.graph = p->graph, .name = name};
    IrNode *n = ir_build_node(&b, op, n_in, in, n_attrs, attrs);
    if (!n) {
        return ir_lex_fail(l, at, "%s", b.err);
    }
    if (n->n_out != n_results) {
        return ir_lex_fail(l, at, "%s has %d results, not %d", word, n->n_out, n_results);
    }
    for (int i = 0; i < n_results; i++) {
        if (!settle_result(p, &results[i], n->out[i])) {
            return false;
        }
    }
    return true;
}
