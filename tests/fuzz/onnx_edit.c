// Edits of a model's graph (onnx_tree.h): what comes out is mostly a model that the importer takes
// far in. Nodes get other inputs, operators and neighbours; tensors other shapes and types, with as
// many bytes as these want; initializers become Constant nodes, inputs or external data; nodes move
// into functions and branches; nodes of other models move in with their constants.
#include "tests/fuzz/onnx_tree.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// onnx.proto
enum { MODEL_GRAPH = 7, MODEL_OPSET = 8, MODEL_FUNCTION = 25 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_TENSOR = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_OP = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7 };
enum { ATTR_NAME = 1, ATTR_TENSOR = 5, ATTR_GRAPH = 6, ATTR_TYPE = 20 };
enum { TENSOR_DIM = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9, TENSOR_EXTERNAL = 13 };
enum { TENSOR_LOCATION = 14, INFO_NAME = 1 };
enum { TYPE_TENSOR = 4, TYPE_GRAPH = 5 }; // AttributeType

typedef struct Edit {
    TreeField *model, *graph;
    const TreeField *donor; // its graph
    uint64_t *state;
} Edit;

static uint64_t draw(Edit *e, uint64_t below) {
    return below ? tree_draw(e->state) % below : 0;
}

// ---------------------------------------------------------------- fields

static TreeField *child(const TreeField *f, int number) {
    for (int i = 0; f && i < f->n; i++)
        if (f->field[i]->number == number)
            return f->field[i];
    return NULL;
}

static int count(const TreeField *f, int number) {
    int n = 0;
    for (int i = 0; i < f->n; i++)
        n += f->field[i]->number == number;
    return n;
}

// One of the fields of that number; NULL: there is none. *at: where it stands.
static TreeField *draw_child(Edit *e, const TreeField *f, int number, int *at) {
    int k = (int)draw(e, (uint64_t)count(f, number));
    for (*at = 0; *at < f->n; ++*at)
        if (f->field[*at]->number == number && k-- == 0)
            return f->field[*at];
    return NULL;
}

static TreeField *append(TreeField *to, TreeField *f) {
    tree_insert(to, to->n, f);
    return f;
}

static TreeField *make(int number, int wire, TreeMessage message) {
    return tree_copy(&(TreeField){.number = number, .wire = wire, .message = message});
}

static TreeField *add_message(TreeField *to, int number, TreeMessage message) {
    return append(to, make(number, 2, message));
}

static void add_number(TreeField *to, int number, uint64_t value) {
    append(to, make(number, 0, TREE_NONE))->value = value;
}

static void add_bytes(TreeField *to, int number, const void *p, size_t size) {
    tree_set_bytes(append(to, make(number, 2, TREE_NONE)), p, size);
}

static void add_text(TreeField *to, int number, const char *text) {
    add_bytes(to, number, text, strlen(text));
}

static void drop(TreeField *f, int number) {
    for (int i = f->n - 1; i >= 0; i--)
        if (f->field[i]->number == number)
            tree_remove(f, i);
}

static bool same_bytes(const TreeField *a, const TreeField *b) {
    return a && b && a->size == b->size &&
           (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
}

// ---------------------------------------------------------------- names

// The name field of a value of the graph: an input's, an initializer's, a node's output.
static const TreeField *draw_value(Edit *e, const TreeField *graph) {
    for (int i = 0, at; i < 8; i++) {
        TreeField *f = draw_child(e, graph, GRAPH_NODE, &at), *name = NULL;
        uint64_t kind = draw(e, 4);
        if (kind < 2 && f)
            name = draw_child(e, f, NODE_OUTPUT, &at);
        else if (kind == 2 && (f = draw_child(e, graph, GRAPH_TENSOR, &at)))
            name = child(f, TENSOR_NAME);
        else if ((f = draw_child(e, graph, GRAPH_INPUT, &at)))
            name = child(f, INFO_NAME);
        if (name && name->size)
            return name;
    }
    return NULL;
}

static TreeField *find_tensor(const TreeField *graph, const TreeField *name) {
    for (int i = 0; i < graph->n; i++)
        if (graph->field[i]->number == GRAPH_TENSOR &&
            same_bytes(child(graph->field[i], TENSOR_NAME), name))
            return graph->field[i];
    return NULL;
}

static void fresh_name(Edit *e, char name[24]) {
    snprintf(name, 24, "fresh%llx", (unsigned long long)draw(e, UINT64_MAX));
}

// ---------------------------------------------------------------- edges and nodes

// Where an input of the node at `at` stands among its fields; NULL.
static TreeField *draw_input(Edit *e, int *node_at) {
    int at;
    TreeField *n = draw_child(e, e->graph, GRAPH_NODE, node_at);
    return n ? draw_child(e, n, NODE_INPUT, &at) : NULL;
}

static void rewire(Edit *e) {
    int at;
    TreeField *input = draw_input(e, &at);
    const TreeField *other = draw_value(e, e->graph);
    if (input && other)
        tree_set_bytes(input, other->bytes, other->size);
}

static void swap_operator(Edit *e) {
    int at;
    TreeField *n = draw_child(e, e->graph, GRAPH_NODE, &at);
    for (int i = 0; n && i < 6; i++) {
        TreeField *other = draw_child(e, e->donor, GRAPH_NODE, &at);
        TreeField *to = child(n, NODE_OP), *from = other ? child(other, NODE_OP) : NULL;
        if (to && from && !same_bytes(to, from) &&
            count(other, NODE_INPUT) == count(n, NODE_INPUT)) {
            tree_set_bytes(to, from->bytes, from->size);
            return;
        }
    }
}

static void copy_constant(Edit *e, const TreeField *name, TreeField *input) {
    TreeField *tensor = find_tensor(e->donor, name);
    char fresh[24];
    if (!tensor || tensor == find_tensor(e->graph, name))
        return;
    fresh_name(e, fresh);
    tensor = append(e->graph, tree_copy(tensor));
    tree_set_bytes(child(tensor, TENSOR_NAME), fresh, strlen(fresh));
    tree_set_bytes(input, fresh, strlen(fresh));
}

// A node of the donor on an edge: its first input is what the edge carried, its constants come with
// it, other inputs are values from here.
static void insert_donor_node(Edit *e) {
    int at, other;
    TreeField *edge = draw_input(e, &at), *from = draw_child(e, e->donor, GRAPH_NODE, &other);
    char fresh[24];
    if (!edge || !from || !child(from, NODE_INPUT) || !child(from, NODE_OUTPUT))
        return;
    TreeField *n = tree_copy(from);
    bool first = true;
    for (int i = 0; i < n->n; i++) {
        TreeField *f = n->field[i];
        const TreeField *local = draw_value(e, e->graph);
        if (f->number == NODE_OUTPUT) {
            fresh_name(e, fresh);
            tree_set_bytes(f, fresh, strlen(fresh));
        } else if (f->number == NODE_INPUT && first) {
            tree_set_bytes(f, edge->bytes, edge->size);
            first = false;
        } else if (f->number == NODE_INPUT && f->size) {
            if (local)
                tree_set_bytes(f, local->bytes, local->size);
            copy_constant(e, from->field[i], f);
        }
    }
    const TreeField *out = child(n, NODE_OUTPUT);
    tree_set_bytes(edge, out->bytes, out->size);
    tree_insert(e->graph, at, n);
}

static void bypass_node(Edit *e) {
    int at, node_at;
    TreeField *n = draw_child(e, e->graph, GRAPH_NODE, &node_at);
    TreeField *in = n ? draw_child(e, n, NODE_INPUT, &at) : NULL;
    TreeField *out = n ? child(n, NODE_OUTPUT) : NULL;
    for (int i = 0; in && out && i < e->graph->n; i++) {
        TreeField *reader = e->graph->field[i];
        for (int k = 0; reader->number == GRAPH_NODE && k < reader->n; k++)
            if (reader->field[k]->number == NODE_INPUT && same_bytes(reader->field[k], out))
                tree_set_bytes(reader->field[k], in->bytes, in->size);
    }
}

static void add_output(Edit *e) {
    const TreeField *name = draw_value(e, e->graph);
    if (name)
        add_bytes(add_message(e->graph, GRAPH_OUTPUT, TREE_INFO), INFO_NAME, name->bytes,
                  name->size);
}

// ---------------------------------------------------------------- tensors

static const struct {
    int type, bytes;
} types[] = {{1, 4}, {2, 1}, {3, 1}, {6, 4}, {7, 8}, {9, 1}, {10, 2}, {11, 8}, {16, 2}, {5, 2}};

static int type_bytes(uint64_t type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((uint64_t)types[i].type == type)
            return types[i].bytes;
    return 0;
}

// The raw bytes are as many as shape and type want: those there were, again and again.
static void fit_bytes(TreeField *tensor) {
    TreeField *raw = child(tensor, TENSOR_RAW), *type = child(tensor, TENSOR_TYPE);
    uint64_t want = raw && type ? (uint64_t)type_bytes(type->value) : 0;
    for (int i = 0; want && i < tensor->n; i++)
        if (tensor->field[i]->number == TENSOR_DIM)
            want = tensor->field[i]->value <= 4096 ? want * tensor->field[i]->value : UINT32_MAX;
    if (!raw || want > 1 << 17)
        return;
    uint8_t *bytes = calloc(1, want ? want : 1);
    for (uint64_t i = 0; bytes && raw->size && i < want; i++)
        bytes[i] = raw->bytes[i % raw->size];
    tree_set_bytes(raw, bytes, want);
    free(bytes);
}

static uint64_t other_dim(Edit *e, uint64_t dim) {
    const uint64_t dims[] = {0, 1, dim + 1, dim ? dim - 1 : 2, 2 * dim, dim / 2, 3, 16};
    return dims[draw(e, 8)];
}

static void resize_tensor(Edit *e) {
    int at;
    TreeField *t = draw_child(e, e->graph, GRAPH_TENSOR, &at);
    TreeField *d = t ? draw_child(e, t, TENSOR_DIM, &at) : NULL;
    if (!d)
        return;
    if (draw(e, 6) == 0)
        tree_remove(t, at);
    else if (draw(e, 6) == 0)
        tree_insert(t, at, tree_copy(d));
    else
        d->value = other_dim(e, d->value);
    fit_bytes(t);
}

static void retype_tensor(Edit *e) {
    int at;
    TreeField *t = draw_child(e, e->graph, GRAPH_TENSOR, &at);
    TreeField *type = t ? child(t, TENSOR_TYPE) : NULL;
    if (type) {
        type->value = (uint64_t)types[draw(e, sizeof types / sizeof *types)].type;
        fit_bytes(t);
    }
}

// A dimension or the type of an input: TypeProto.tensor_type {elem_type, shape {dim {value,
// param}}}
static void change_input(Edit *e) {
    int at;
    TreeField *in = draw_child(e, e->graph, GRAPH_INPUT, &at);
    TreeField *type = in ? child(child(in, 2), 1) : NULL, *shape = child(type, 2);
    TreeField *dim = shape ? draw_child(e, shape, 1, &at) : NULL;
    if (type && draw(e, 5) == 0 && child(type, 1)) {
        child(type, 1)->value = (uint64_t)types[draw(e, sizeof types / sizeof *types)].type;
    } else if (dim) {
        uint64_t value = child(dim, 1) ? child(dim, 1)->value : 1;
        drop(dim, 1);
        drop(dim, 2);
        if (draw(e, 4) == 0)
            add_text(dim, 2, "N");
        else
            add_number(dim, 1, other_dim(e, value));
    }
}

static TreeField *add_node(Edit *e, const char *op, const char *domain) {
    TreeField *n = make(GRAPH_NODE, 2, TREE_NODE);
    add_text(n, NODE_OP, op);
    if (*domain)
        add_text(n, NODE_DOMAIN, domain);
    tree_insert(e->graph, 0, n);
    return n;
}

static TreeField *add_attribute(TreeField *node, const char *name, uint64_t type) {
    TreeField *a = add_message(node, NODE_ATTRIBUTE, TREE_ATTRIBUTE);
    add_text(a, ATTR_NAME, name);
    add_number(a, ATTR_TYPE, type);
    return a;
}

// An initializer as a Constant node, or as an input (with or without a default).
static void move_constant(Edit *e) {
    int at;
    TreeField *t = draw_child(e, e->graph, GRAPH_TENSOR, &at),
              *name = t ? child(t, TENSOR_NAME) : 0;
    uint64_t how = draw(e, 3);
    if (!name || !child(t, TENSOR_TYPE))
        return;
    if (how == 0) {
        t = tree_copy(t);
        t->number = ATTR_TENSOR;
        tree_remove(e->graph, at);
        TreeField *n = add_node(e, "Constant", "");
        name = child(t, TENSOR_NAME);
        add_bytes(n, NODE_OUTPUT, name->bytes, name->size);
        append(add_attribute(n, "value", TYPE_TENSOR), t);
        return;
    }
    TreeField *info = add_message(e->graph, GRAPH_INPUT, TREE_INFO);
    add_bytes(info, INFO_NAME, name->bytes, name->size);
    TreeField *type = add_message(add_message(info, 2, TREE_TYPE), 1, TREE_TENSOR_TYPE);
    add_number(type, 1, child(t, TENSOR_TYPE)->value);
    TreeField *shape = add_message(type, 2, TREE_SHAPE);
    for (int i = 0; i < t->n; i++)
        if (t->field[i]->number == TENSOR_DIM)
            add_number(add_message(shape, 1, TREE_DIM), 1, t->field[i]->value);
    if (how == 1)
        tree_remove(e->graph, at);
}

static void add_entry(TreeField *tensor, const char *key, const char *value) {
    TreeField *entry = add_message(tensor, TENSOR_EXTERNAL, TREE_ENTRY);
    add_text(entry, 1, key);
    add_text(entry, 2, value);
}

// The bytes of an initializer in the file "external", which the corpus has.
static void make_external(Edit *e) {
    int at;
    TreeField *t = draw_child(e, e->graph, GRAPH_TENSOR, &at), *raw = t ? child(t, TENSOR_RAW) : 0;
    char number[24];
    if (!raw)
        return;
    snprintf(number, sizeof number, "%llu", (unsigned long long)raw->size + (draw(e, 8) == 0));
    drop(t, TENSOR_RAW);
    drop(t, TENSOR_LOCATION);
    add_number(t, TENSOR_LOCATION, 1);
    add_entry(t, "location", "external");
    add_entry(t, "length", number);
    snprintf(number, sizeof number, "%llu", (unsigned long long)draw(e, 64) * 64);
    add_entry(t, "offset", number);
}

// ---------------------------------------------------------------- functions and branches

// Takes the inputs and outputs of a node over, as fields of those numbers.
static void copy_names(TreeField *to, const TreeField *node, int number, int as) {
    for (int i = 0; i < node->n; i++)
        if (node->field[i]->number == number && node->field[i]->size)
            add_bytes(to, as, node->field[i]->bytes, node->field[i]->size);
}

static void move_into_function(Edit *e) {
    int at;
    TreeField *n = draw_child(e, e->graph, GRAPH_NODE, &at);
    char name[24];
    if (!n || !child(n, NODE_OP))
        return;
    fresh_name(e, name);
    TreeField *f = add_message(e->model, MODEL_FUNCTION, TREE_FUNCTION), *call;
    add_text(f, 1, name);
    copy_names(f, n, NODE_INPUT, 4);
    copy_names(f, n, NODE_OUTPUT, 5);
    append(f, tree_copy(n))->number = 7;
    add_text(f, 10, "made.here");
    TreeField *opset = child(e->model, MODEL_OPSET);
    if (opset)
        append(f, tree_copy(opset))->number = 9;
    TreeField *domain = add_message(e->model, MODEL_OPSET, TREE_OPSET);
    add_text(domain, 1, "made.here");
    add_number(domain, 2, 1);
    call = make(GRAPH_NODE, 2, TREE_NODE);
    copy_names(call, n, NODE_INPUT, NODE_INPUT);
    copy_names(call, n, NODE_OUTPUT, NODE_OUTPUT);
    add_text(call, NODE_OP, name);
    add_text(call, NODE_DOMAIN, "made.here");
    tree_remove(e->graph, at);
    tree_insert(e->graph, at, call);
}

static void add_branch(TreeField *branch_of, const TreeField *node, const char *name) {
    TreeField *g = add_message(add_attribute(branch_of, name, TYPE_GRAPH), ATTR_GRAPH, TREE_GRAPH);
    append(g, tree_copy(node))->number = GRAPH_NODE;
    add_text(g, GRAPH_NAME, name);
    for (int i = 0; i < node->n; i++)
        if (node->field[i]->number == NODE_OUTPUT)
            add_bytes(add_message(g, GRAPH_OUTPUT, TREE_INFO), INFO_NAME, node->field[i]->bytes,
                      node->field[i]->size);
}

// A node as both branches of an If whose condition is an initializer.
static void move_into_if(Edit *e) {
    int at;
    TreeField *n = draw_child(e, e->graph, GRAPH_NODE, &at);
    char name[24];
    if (!n)
        return;
    fresh_name(e, name);
    TreeField *branches = make(GRAPH_NODE, 2, TREE_NODE);
    add_text(branches, NODE_OP, "If");
    add_text(branches, NODE_INPUT, name);
    copy_names(branches, n, NODE_OUTPUT, NODE_OUTPUT);
    add_branch(branches, n, "then_branch");
    add_branch(branches, n, "else_branch");
    tree_remove(e->graph, at);
    tree_insert(e->graph, at, branches);
    TreeField *condition = add_message(e->graph, GRAPH_TENSOR, TREE_TENSOR);
    add_number(condition, TENSOR_TYPE, 9);
    add_text(condition, TENSOR_NAME, name);
    add_bytes(condition, TENSOR_RAW, draw(e, 2) ? "\1" : "\0", 1);
}

void tree_edit(Tree *t, const Tree *donor, uint64_t *state) {
    static void (*const edits[])(Edit *) = {
        rewire,       rewire,       swap_operator, insert_donor_node, insert_donor_node,
        bypass_node,  add_output,   resize_tensor, resize_tensor,     retype_tensor,
        change_input, change_input, move_constant, make_external,     move_into_function,
        move_into_if};
    Edit e = {.model = &t->root,
              .graph = child(&t->root, MODEL_GRAPH),
              .donor = child(&donor->root, MODEL_GRAPH),
              .state = state};
    if (e.graph && e.donor && e.graph->message == TREE_GRAPH && e.donor->message == TREE_GRAPH)
        edits[draw(&e, sizeof edits / sizeof *edits)](&e);
}
