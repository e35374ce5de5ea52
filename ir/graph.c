// Programs, graphs, their nodes and use lists. Every edit keeps the use lists right and costs O(1).
// Edits that may have to build a node are in output.c.
#include "ir/ir_private.h"
#include <string.h>

IrProgram *ir_program_new(IrArena *arena, const char *name) {
    IrProgram *p = ir_alloc(arena, sizeof *p);
    p->arena = arena;
    p->diag = ir_arena_diag(arena);
    p->name = ir_strdup(arena, name ? name : "");
    return p;
}

const char *ir_meta(const IrProgram *p, const char *key) {
    for (int i = 0; i < p->n_meta; i++) {
        if (strcmp(p->meta[i].key, key) == 0) {
            return p->meta[i].value;
        }
    }
    return NULL;
}

IrGraph *ir_graph_new(IrProgram *p, const char *name) {
    IrGraph *g = ir_alloc(p->arena, sizeof *g);
    g->prog = p;
    g->name = ir_strdup(p->arena, name);
    IR_PUSH(p->arena, p->graphs, p->n_graphs, p->cap_graphs, g);
    return g;
}

IrValue *ir_value_new(IrGraph *g, const char *name, IrType type) {
    IrValue *v = ir_alloc(g->prog->arena, sizeof *v);
    v->id = g->next_id++;
    v->name = name ? ir_strdup(g->prog->arena, name) : NULL;
    v->type = type;
    v->input = -1;
    return v;
}

void ir_make_name(IrGraph *g, IrValue *v) {
    if (!v->name) {
        v->name = ir_sprintf(g->prog->arena, "v%u", v->id);
    }
}

IrValue *ir_input(IrGraph *g, const char *name, IrType type) {
    IrValue *v = ir_value_new(g, name, type);
    ir_make_name(g, v);
    v->input = g->n_inputs;
    IR_PUSH(g->prog->arena, g->inputs, g->n_inputs, g->cap_inputs, v);
    return v;
}

IrValue *ir_const_value(IrGraph *g, IrConst *c) {
    while ((uint32_t)g->cap_const_values <= c->id) {
        int had = g->cap_const_values;
        g->const_values = ir_arena_grow(g->prog->arena, g->const_values, (size_t)had,
                                        &g->cap_const_values, sizeof *g->const_values);
    }
    IrValue **v = &g->const_values[c->id];
    if (!*v) {
        *v = ir_value_new(g, NULL, c->type);
        (*v)->name = c->name;
        (*v)->konst = c;
    }
    return *v;
}

// ---------------------------------------------------------------- uses

static void link_use(IrUse *u, IrValue *v) {
    u->value = v;
    u->prev = NULL;
    u->next = v ? v->uses : NULL;
    if (v) {
        if (v->uses) {
            v->uses->prev = u;
        }
        v->uses = u;
        v->n_uses++;
    }
}

static void unlink_use(IrUse *u) {
    if (!u->value) {
        return;
    }
    if (u->prev) {
        u->prev->next = u->next;
    } else {
        u->value->uses = u->next;
    }
    if (u->next) {
        u->next->prev = u->prev;
    }
    u->value->n_uses--;
    u->value = NULL;
    u->next = u->prev = NULL;
}

// The operand list in a longer array; the use lists then point into that one.
static void lengthen_operands(IrNode *n, int n_in) {
    IrUse *in = ir_alloc_array(n->graph->prog->arena, (size_t)n_in, sizeof *in);
    for (int i = 0; i < n_in; i++) {
        if (i < n->n_in) {
            in[i] = n->in[i]; // its neighbours may be ours too: they were repaired before this copy
            if (in[i].prev) {
                in[i].prev->next = &in[i];
            } else if (in[i].value) {
                in[i].value->uses = &in[i];
            }
            if (in[i].next) {
                in[i].next->prev = &in[i];
            }
        } else {
            in[i] = (IrUse){.node = n, .index = i};
        }
    }
    n->in = in;
    n->n_in = n_in;
}

void ir_set_in(IrNode *n, int i, IrValue *v) {
    if (i < 0 || i >= IR_ANY) {
        ir_bug("ir_set_in", n->name, "operand %d of %s", i, ir_op_info(n->op)->text);
    }
    if (i >= n->n_in) {
        lengthen_operands(n, i + 1);
    }
    unlink_use(&n->in[i]);
    link_use(&n->in[i], v);
}

void ir_add_in(IrNode *n, IrValue *v) {
    int at = n->n_in;
    if (ir_takes_epilogue(n->op) && at < ir_op_info(n->op)->max_in) {
        at = ir_op_info(n->op)->max_in;
    }
    ir_set_in(n, at, v);
}

IrNode *ir_only_user(const IrValue *v) {
    return v->n_uses == 1 && !v->is_output ? v->uses->node : NULL;
}

// ---------------------------------------------------------------- nodes

// Puts n between its graph's neighbours of `before`.
static void insert_node(IrNode *n, IrNode *before) {
    IrGraph *g = n->graph;
    n->next = before;
    n->prev = before ? before->prev : g->last;
    *(n->prev ? &n->prev->next : &g->first) = n;
    *(n->next ? &n->next->prev : &g->last) = n;
    g->n_nodes++;
}

static void take_node_out(IrNode *n) {
    IrGraph *g = n->graph;
    *(n->prev ? &n->prev->next : &g->first) = n->next;
    *(n->next ? &n->next->prev : &g->last) = n->prev;
    n->prev = n->next = NULL;
    g->n_nodes--;
}

void ir_link_node(IrNode *n, IrNode *before) {
    for (int i = n->n_in - 1; i >= 0; i--) {
        link_use(&n->in[i], n->in[i].value);
    }
    insert_node(n, before);
}

void ir_remove_node(IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        if (n->out[i]->n_uses || n->out[i]->is_output) {
            ir_bug("ir_remove_node", n->name, "result %d of %s is still used", i,
                   ir_op_info(n->op)->text);
        }
    }
    for (int i = 0; i < n->n_in; i++) {
        unlink_use(&n->in[i]);
    }
    take_node_out(n);
}

static bool is_dead(const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        if (n->out[i]->n_uses || n->out[i]->is_output) {
            return false;
        }
    }
    return true;
}

int ir_remove_dead_nodes(IrGraph *g) {
    int removed = 0;
    for (IrNode *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        if (is_dead(n)) {
            ir_remove_node(n);
            removed++;
        }
    }
    return removed;
}

void ir_move_before(IrNode *n, IrNode *before) {
    if (n == before) {
        return;
    }
    take_node_out(n);
    insert_node(n, before);
}

bool ir_precedes(const IrNode *a, const IrNode *b) {
    for (const IrNode *n = a->next; n; n = n->next) {
        if (n == b) {
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------- attributes

const IrAttr *ir_attr(const IrNode *n, IrAttrKey key) {
    for (int i = 0; i < n->n_attrs && n->attrs[i].key <= key; i++) {
        if (n->attrs[i].key == key) {
            return &n->attrs[i];
        }
    }
    return NULL;
}

// The attribute if it is there; that its kind is the one asked for is the caller's promise.
static const IrAttr *attr_of_kind(const IrNode *n, IrAttrKey key, IrAttrKind kind) {
    if (ir_attr_kind(key) != kind) {
        ir_bug("ir_attr", n->name, "attribute %s is read as another kind", ir_attr_name(key));
    }
    return ir_attr(n, key);
}

int64_t ir_int(const IrNode *n, IrAttrKey key, int64_t absent) {
    const IrAttr *a = attr_of_kind(n, key, IR_KIND_INT);
    return a ? a->i : absent;
}

double ir_float(const IrNode *n, IrAttrKey key, double absent) {
    const IrAttr *a = attr_of_kind(n, key, IR_KIND_FLOAT);
    return a ? a->f : absent;
}

const char *ir_str(const IrNode *n, IrAttrKey key, const char *absent) {
    const IrAttr *a = attr_of_kind(n, key, IR_KIND_STR);
    return a ? a->s : absent;
}

IrInts ir_ints(const IrNode *n, IrAttrKey key) {
    const IrAttr *a = attr_of_kind(n, key, IR_KIND_INTS);
    return a ? a->ints : (IrInts){0, NULL};
}

IrBody ir_body(const IrNode *n, IrAttrKey key) {
    const IrAttr *a = attr_of_kind(n, key, IR_KIND_BODY);
    return a ? a->body : (IrBody){0, NULL};
}

int ir_prologue(const IrNode *n) {
    IrBody pre = ir_body(n, IR_ATTR_PRE);
    int first = n->n_in, own = ir_op_info(n->op)->max_in;
    for (int i = 0; i < pre.n; i++) {
        const IrStep *s = &pre.step[i];
        int n_arg = (unsigned)s->op < IR_OP_COUNT ? ir_op_info(s->op)->max_in : 0;
        for (int k = 0; k < n_arg && k < 3; k++) {
            int arg = s->arg[k];
            first = arg >= own && arg != IR_ACC && arg < first ? arg : first;
        }
    }
    return first;
}

void ir_set_attr(IrNode *n, IrAttr attr) {
    int at = 0;
    while (at < n->n_attrs && n->attrs[at].key < attr.key) {
        at++;
    }
    if (at == n->n_attrs || n->attrs[at].key != attr.key) {
        IrAttr *attrs =
            ir_alloc_array(n->graph->prog->arena, (size_t)n->n_attrs + 1, sizeof *attrs);
        for (int i = 0; i < n->n_attrs; i++) {
            attrs[i + (i >= at)] = n->attrs[i];
        }
        n->attrs = attrs;
        n->n_attrs++;
    }
    n->attrs[at] = attr;
}

void ir_del_attr(IrNode *n, IrAttrKey key) {
    int kept = 0;
    for (int i = 0; i < n->n_attrs; i++) {
        if (n->attrs[i].key != key) {
            n->attrs[kept++] = n->attrs[i];
        }
    }
    n->n_attrs = kept;
}

// ---------------------------------------------------------------- reading

const char *ir_join_names(IrArena *a, const char *x, const char *y) {
    enum { LIMIT = 200 };
    if (!*x || !*y || !strcmp(x, y)) {
        return *x ? x : y;
    }
    size_t n = strlen(x), m = strlen(y);
    if (n > m && x[n - m - 1] == '+' && !strcmp(x + n - m, y)) {
        return x; // it ends with y already
    }
    if (n + 1 + strlen(y) <= LIMIT) {
        return ir_sprintf(a, "%s+%s", x, y);
    }
    if (n >= 4 && !strcmp(x + n - 4, "+...")) {
        return x;
    }
    return ir_sprintf(a, "%s+...", x);
}

static int64_t int_at(IrInts v, int i, int64_t absent) {
    return i < v.n ? v.v[i] : absent;
}

IrShape ir_filter_shape(const IrNode *conv) {
    const IrAttr *filter = ir_attr(conv, IR_ATTR_FILTER);
    return filter ? filter->dims : ir_in(conv, 1)->type.shape;
}

IrWindow ir_window(const IrNode *n) {
    if (!(ir_op_info(n->op)->flags & IR_FLAG_W)) {
        ir_bug("ir_window", n->name, "%s has no window", ir_op_info(n->op)->text);
    }
    IrInts kernel = ir_ints(n, IR_ATTR_KERNEL), stride = ir_ints(n, IR_ATTR_STRIDE);
    IrInts pad = ir_ints(n, IR_ATTR_PAD), dilation = ir_ints(n, IR_ATTR_DILATION);
    IrWindow w = {
        .kh = int_at(kernel, 0, 1),
        .kw = int_at(kernel, 1, 1),
        .sh = int_at(stride, 0, 1),
        .sw = int_at(stride, 1, 1),
        .dh = int_at(dilation, 0, 1),
        .dw = int_at(dilation, 1, 1),
        .pt = int_at(pad, 0, 0),
        .pl = int_at(pad, 1, 0),
        .pb = int_at(pad, 2, 0),
        .pr = int_at(pad, 3, 0),
        .group = ir_int(n, IR_ATTR_GROUP, 1),
        .ceil = ir_int(n, IR_ATTR_CEIL, 0),
        .count_pad = ir_int(n, IR_ATTR_COUNT_PAD, 0),
    };
    bool reads_weights = n->op == IR_OP_CONV || n->op == IR_OP_CONV_DGRAD;
    const IrValue *weights = reads_weights ? ir_in(n, 1) : NULL;
    const IrAttr *shape = n->op == IR_OP_CONV_WGRAD ? ir_attr(n, IR_ATTR_SHAPE)
                          : n->op == IR_OP_CONV     ? ir_attr(n, IR_ATTR_FILTER)
                                                    : NULL;
    const IrShape *kernel_of = shape ? &shape->dims : weights ? &weights->type.shape : NULL;
    if (kernel_of && kernel_of->rank == 4) {
        w.kh = kernel_of->dim[2].c;
        w.kw = kernel_of->dim[3].c;
    }
    return w;
}

IrDtype ir_own_dtype(const IrNode *n) {
    IrDtype x = ir_in(n, 0)->type.dtype, to;
    bool product = n->op == IR_OP_CONV || n->op == IR_OP_MATMUL;
    if (product && ir_in(n, 1)->type.dtype == IR_I8 && (x == IR_U8 || x == IR_I8)) {
        return IR_I32;
    }
    bool names = ir_op_info(n->op)->attrs & IR_BIT(TO);
    return names && ir_dtype_parse(ir_str(n, IR_ATTR_TO, ""), &to) ? to : x;
}

IrWindow ir_conv_pool(const IrNode *conv) {
    IrInts v = ir_ints(conv, IR_ATTR_POOL);
    if (v.n != 9) {
        return (IrWindow){0};
    }
    return (IrWindow){.kh = v.v[0],
                      .kw = v.v[1],
                      .sh = v.v[2],
                      .sw = v.v[3],
                      .dh = 1,
                      .dw = 1,
                      .pt = v.v[4],
                      .pl = v.v[5],
                      .pb = v.v[6],
                      .pr = v.v[7],
                      .group = 1,
                      .ceil = v.v[8]};
}

IrValue *ir_view_root(IrValue *v, int64_t *channel) {
    *channel = 0;
    for (; v->view_of; v = v->view_of) {
        *channel += v->view_channel;
    }
    return v;
}
