// The quantized model, and the float one that shows what is to be quantized.
//
//   y = Relu(Conv(x, w, b))
//   ->  xq = DequantizeLinear(QuantizeLinear(x))        once, for all readers
//       y = Conv(xq, DequantizeLinear(w8), DequantizeLinear(b32))
//       yq = DequantizeLinear(QuantizeLinear(y))        which clips at 0 as Relu did
//
// Names: what the user's file calls a tensor stays its name before it is quantized.
//
// For measuring, fe_quant_alone() leaves all that as it is and puts beside it
//
//       y_alone = Conv(xq, DequantizeLinear(w8), DequantizeLinear(b32))
#include "frontend/quantize/room.h"

#include <math.h>

typedef struct Made { // what dequantizes a tensor of the file
    const struct Made *next;
    const char *as;
    int32_t type;
    int axis;
    int64_t bytes, channels;
    const void *data;
    const float *scale;
} Made;

typedef struct Writer {
    FeEdit r;
    const FeQuantPlan *p;
    const FeQuantGraph *g;
    const FeQuantNumbers *numbers;
    const bool *wanted;   // [ranges of the graph]
    const char **read_as; // [values] what readers take in its place; NULL: itself
    int *made_as;         // [values] the value behind an activation that went; -1: itself
    bool *gone;           // [nodes] such activations
    const char **scale;   // [ranges of the plan] initializers
    const char **zero;
    IrMap taken;      // names of new values
    IrMap node_names; // all that there are, with the node that has it
    IrMap made;       // name of a tensor of the file -> const Made *
    int n, cap;
    Onnx__NodeProto **nodes;
} Writer;

static void push(Writer *w, Onnx__NodeProto *n) {
    IR_PUSH(w->r.arena, w->nodes, w->n, w->cap, n);
}

// A name for a new value.
static const char *like(Writer *w, const char *name, const char *more) {
    const char *now = ir_sprintf(w->r.arena, "%s_%s", name, more), *first = now;
    for (int k = 2; ir_map_get(&w->taken, now) || fe_quant_find(w->g, now) >= 0 ||
                    fe_edit_find_init(&w->r, now) >= 0;
         k++) {
        now = ir_sprintf(w->r.arena, "%s.%d", first, k);
    }
    *ir_map_put(&w->taken, now) = w;
    return now;
}

// Gives the node a name that no other has: its own, unless that is taken.
static void set_node_name(Writer *w, Onnx__NodeProto *n, const char *name) {
    const char *now = name;
    for (int k = 2; *ir_map_put(&w->node_names, now); k++) {
        now = ir_sprintf(w->r.arena, "%s.%d", name, k);
    }
    *ir_map_put(&w->node_names, now) = n;
    n->name = ir_strdup(w->r.arena, now);
}

// A node that makes `output` of what is called `name`.
static Onnx__NodeProto *push_new(Writer *w, const char *op, const char *name, const char *output,
                                 const char *const *inputs) {
    const char *own = ir_sprintf(w->r.arena, "%s_%s", name, op);
    Onnx__NodeProto *n = fe_quant_node(w->r.arena, op, own, output, inputs);
    set_node_name(w, n, own);
    push(w, n);
    return n;
}

// ---------------------------------------------------------------- activations

static bool is_quantized(const Writer *w, int value) {
    const FeQuantValue *v = &w->g->values[value];
    return w->wanted[v->range] && v->n_readers > 0 && !v->is_constant;
}

static const FeQuantParams *params_of(const Writer *w, int value) {
    return &w->numbers->ranges[w->g->tight[w->g->values[value].range]];
}

// Does the clipping of what is quantized do what the activation does?
static bool clips_as(const Writer *w, int value, double lo, double hi) {
    FeQuantParams q = *params_of(w, value);
    double from = -(double)q.zero * (double)q.scale, to = (255.0 - q.zero) * (double)q.scale;
    double half = (double)q.scale / 2;
    return from >= lo - half && to <= hi + half;
}

// Activations that a quantizer does: their input is made under the name of their output.
static void find_gone(Writer *w) {
    const FeQuantGraph *g = w->g;
    for (int x = 0; x < g->n_values; x++) {
        int y = fe_quant_behind(g, x), maker = g->values[y].maker;
        double lo, hi;
        if (y == x || g->values[x].maker < 0 || g->values[y].is_output || !is_quantized(w, y) ||
            w->wanted[g->values[x].range] ||
            !fe_quant_is_clip(&g->edit, g->edit.g->node[maker], &lo, &hi) ||
            !clips_as(w, y, lo, hi)) {
            continue;
        }
        w->made_as[x] = y;
        w->gone[maker] = true;
    }
}

static void name_params(Writer *w, int range, const char *name) {
    const FeQuantParams *q = &w->numbers->ranges[range];
    uint8_t zero = (uint8_t)q->zero;
    if (!w->scale[range]) {
        w->scale[range] =
            fe_quant_init(&w->r, like(w, name, "scale"), ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0,
                          NULL, &q->scale, 4);
        w->zero[range] = fe_quant_init(&w->r, like(w, name, "zero_point"),
                                       ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 0, NULL, &zero, 1);
    }
}

// The value is there; its readers take it quantized.
static void add_quantizer(Writer *w, int value) {
    const char *name = w->g->values[value].name;
    int range = w->g->tight[w->g->values[value].range];
    if (!is_quantized(w, value)) {
        return;
    }
    name_params(w, range, name);
    const char *q = like(w, name, "quantized"), *d = like(w, name, "dequantized");
    push_new(w, "QuantizeLinear", name, q,
             (const char *[]){name, w->scale[range], w->zero[range], NULL});
    push_new(w, "DequantizeLinear", name, d,
             (const char *[]){q, w->scale[range], w->zero[range], NULL});
    w->read_as[value] = d;
}

// ---------------------------------------------------------------- products

static bool is_same(const Made *a, const Made *b) {
    return a->type == b->type && a->axis == b->axis && a->bytes == b->bytes &&
           a->channels == b->channels && memcmp(a->data, b->data, (size_t)a->bytes) == 0 &&
           memcmp(a->scale, b->scale, (size_t)a->channels * sizeof *a->scale) == 0;
}

// s8 or i32 by their scales along an axis; returns what is made: once for all readers that take
// the tensor in the same steps.
static const char *add_dequantizer(Writer *w, const char *name, int32_t type, int rank,
                                   const int64_t *dims, int axis, const void *data, int bytes,
                                   const float *scale) {
    IrArena *a = w->r.arena;
    int64_t all = bytes, channels = dims[axis];
    for (int i = 0; i < rank; i++) {
        all *= dims[i];
    }
    const Made made = {ir_map_get(&w->made, name), NULL, type, axis, all, channels, data, scale};
    for (const Made *m = made.next; m; m = m->next) {
        if (is_same(m, &made)) {
            return m->as;
        }
    }
    const char *q = fe_quant_init(&w->r, like(w, name, "quantized"), type, rank, dims, data, all);
    const char *s =
        fe_quant_init(&w->r, like(w, name, "scale"), ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1,
                      &channels, scale, 4 * channels);
    const char *z = fe_quant_init(&w->r, like(w, name, "zero_point"), type, 1, &channels,
                                  ir_alloc_array(a, (size_t)channels, 4), channels * bytes);
    Made *own = FE_COPY_OF(a, &made);
    own->as = like(w, name, "dequantized");
    *ir_map_put(&w->made, name) = own;
    Onnx__NodeProto *n =
        push_new(w, "DequantizeLinear", name, own->as, (const char *[]){q, s, z, NULL});
    fe_quant_set_int(a, n, "axis", axis);
    return own->as;
}

static const double *mean_of(const Writer *w, int tensor, const FeQuantWeights *t) {
    int64_t channels = t->channels / t->per_group * t->in_group;
    return w->numbers->mean && w->numbers->channels[tensor] == channels ? w->numbers->mean[tensor]
                                                                        : NULL;
}

// The node's operands but the first, quantized.
static void quantize_operands(Writer *w, int layer, Onnx__NodeProto *n) {
    FeEdit *r = &w->r;
    FeQuantWeights t;
    IrTensor bias;
    if (!fe_quant_weights(r, n, &t)) {
        ir_bug("frontend", n->name, "a layer has lost its weights");
    }
    int tensor = w->p->layers[layer].input;
    FeQuantParams x = w->numbers->ranges[w->p->tensors[tensor].range];
    bool has_bias = fe_quant_floats(r, fe_quant_input(n, 2), &bias);
    bool can = !fe_is_op(n, "MatMul");
    FeQuantTables q = fe_quant_tables(r->arena, &t, x, has_bias ? &bias : NULL, can,
                                      can ? mean_of(w, tensor, &t) : NULL);
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < t.w.rank; i++) {
        dims[i] = t.w.dim[i];
    }
    const char *in[3] = {n->input[0]};
    in[1] = add_dequantizer(w, n->input[1], ONNX__TENSOR_PROTO__DATA_TYPE__INT8, t.w.rank, dims,
                            t.axis, q.weights, 1, q.scale);
    if (q.bias) {
        const char *name =
            has_bias ? n->input[2] : ir_sprintf(r->arena, "%s_bias", w->p->layers[layer].node);
        in[2] = add_dequantizer(w, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT32, 1, &t.channels, 0,
                                q.bias, 4, q.bias_scale);
    }
    fe_quant_set_inputs(r->arena, n, q.bias ? 3 : 2, in);
}

// ---------------------------------------------------------------- the graph

static void rename_operands(Writer *w, Onnx__NodeProto *n) {
    IrArena *a = w->r.arena;
    n->input = fe_copy_array(a, n->input, n->n_input, 0, sizeof *n->input);
    n->output = fe_copy_array(a, n->output, n->n_output, 0, sizeof *n->output);
    for (size_t k = 0; k < n->n_input; k++) {
        int v = fe_quant_find(w->g, fe_quant_input(n, k));
        if (v >= 0 && w->read_as[v]) {
            n->input[k] = ir_strdup(a, w->read_as[v]);
        }
    }
    for (size_t k = 0; k < n->n_output; k++) {
        int v = fe_quant_find(w->g, fe_text(n->output[k]));
        if (v >= 0 && w->made_as[v] >= 0) {
            n->output[k] = ir_strdup(a, w->g->values[w->made_as[v]].name);
        }
    }
}

static void push_with_quantizers(Writer *w, Onnx__NodeProto *n) {
    push(w, n);
    for (size_t k = 0; k < n->n_output; k++) {
        int v = fe_quant_find(w->g, fe_text(n->output[k]));
        if (v >= 0) {
            add_quantizer(w, v);
        }
    }
}

static void add_node(Writer *w, size_t i) {
    const Onnx__NodeProto *old = w->g->edit.g->node[i];
    Onnx__NodeProto *n = FE_COPY_OF(w->r.arena, old);
    int layer = w->g->layer_of[i];
    rename_operands(w, n);
    if (n->name && *n->name && ir_map_get(&w->node_names, n->name) != old) {
        set_node_name(w, n, n->name);
    }
    if (layer >= 0 && !w->numbers->is_float[layer]) {
        quantize_operands(w, layer, n);
    }
    push_with_quantizers(w, n);
}

// The layer quantized, beside what it is in the float model.
static void add_alone(Writer *w, size_t i, const char **pair) {
    IrArena *a = w->r.arena;
    const Onnx__NodeProto *old = w->g->edit.g->node[i];
    Onnx__NodeProto *n = FE_COPY_OF(a, old);
    pair[0] = old->output[0];
    pair[1] = like(w, old->output[0], "alone");
    rename_operands(w, n);
    set_node_name(w, n, pair[1]);
    quantize_operands(w, w->g->layer_of[i], n);
    n->output[0] = ir_strdup(a, pair[1]);
    push(w, n);
}

static bool is_read(const IrMap *read, const Onnx__NodeProto *n) {
    for (size_t k = 0; k < n->n_output; k++) {
        if (ir_map_get(read, n->output[k])) {
            return true;
        }
    }
    return false;
}

// What no output needs any more goes: initializers, nodes that made constants. Producers stand
// before their readers.
static void drop_unread(FeEdit *r) {
    Onnx__GraphProto *g = r->g;
    IrMap read = {.arena = r->arena};
    size_t first = g->n_node;
    for (size_t i = 0; i < g->n_output; i++) {
        *ir_map_put(&read, fe_text(g->output[i]->name)) = r;
    }
    for (size_t i = g->n_node; i-- > 0;) {
        Onnx__NodeProto *n = g->node[i];
        for (size_t k = 0; is_read(&read, n) && k < n->n_input; k++) {
            *ir_map_put(&read, fe_text(n->input[k])) = r;
        }
        if (is_read(&read, n)) {
            g->node[--first] = n;
        }
    }
    g->node += first;
    g->n_node -= first;
    for (int i = r->to->n_init; i-- > 0;) {
        if (!ir_map_get(&read, fe_text(r->to->init[i].pb->name))) {
            fe_edit_drop_init(r, i);
        }
    }
}

// Behind those that there are, each name once.
static void add_outputs(FeEdit *r, int n, const char *const *names) {
    Onnx__GraphProto *g = r->g;
    IrMap taken = {.arena = r->arena};
    g->output = fe_copy_array(r->arena, g->output, g->n_output, (size_t)n, sizeof *g->output);
    for (size_t i = 0; i < g->n_output; i++) {
        *ir_map_put(&taken, fe_text(g->output[i]->name)) = r;
    }
    for (int i = 0; i < n; i++) {
        void **is_taken = ir_map_put(&taken, names[i]);
        Onnx__ValueInfoProto init = ONNX__VALUE_INFO_PROTO__INIT, *v = FE_COPY_OF(r->arena, &init);
        v->name = ir_strdup(r->arena, names[i]);
        if (!*is_taken) {
            g->output[g->n_output++] = v;
        }
        *is_taken = r;
    }
}

FeNewModel *fe_quant_observer(IrArena *a, const FeQuantPlan *p) {
    FeEdit r = {0};
    const char **names = ir_alloc_array(a, (size_t)p->n_tensors + 1, sizeof *names);
    for (int i = 0; i < p->n_tensors; i++) {
        names[i] = p->tensors[i].name;
    }
    if (!fe_edit_begin(&r, a, p->graph->model, 0)) {
        return NULL;
    }
    add_outputs(&r, p->n_tensors, names);
    return fe_edit_end(&r);
}

static void show(Writer *w, const char **names) {
    for (int i = 0; i < w->p->n_layers; i++) {
        const char *name = w->p->tensors[w->p->layers[i].result].name;
        const char *as = w->read_as[fe_quant_find(w->g, name)];
        names[i] = as ? as : name;
    }
    add_outputs(&w->r, w->p->n_layers, names);
}

// False after an error.
static bool begin(Writer *w, IrArena *a, const FeQuantPlan *p, const FeQuantNumbers *n) {
    const FeQuantGraph *g = p->graph;
    size_t values = (size_t)g->n_values + 1, ranges = (size_t)p->n_ranges + 1;
    *w = (Writer){.p = p, .g = g, .numbers = n, .wanted = fe_quant_wanted(a, p, n->is_float)};
    if (!fe_edit_begin(&w->r, a, g->model, n->n_meta)) {
        return false;
    }
    w->taken.arena = w->node_names.arena = w->made.arena = a;
    for (size_t i = 0; i < g->edit.g->n_node; i++) {
        void **first = ir_map_put(&w->node_names, fe_text(g->edit.g->node[i]->name));
        *first = *first ? *first : g->edit.g->node[i];
    }
    w->read_as = ir_alloc_array(a, values, sizeof *w->read_as);
    w->made_as = ir_alloc_array(a, values, sizeof *w->made_as);
    w->gone = ir_alloc_array(a, g->edit.g->n_node + 1, sizeof *w->gone);
    w->scale = ir_alloc_array(a, ranges, sizeof *w->scale);
    w->zero = ir_alloc_array(a, ranges, sizeof *w->zero);
    for (int v = 0; v < g->n_values; v++) {
        w->made_as[v] = -1;
    }
    return true;
}

static void add_input_quantizers(Writer *w) {
    for (int v = 0; v < w->g->n_values; v++) {
        if (w->g->values[v].maker < 0) {
            add_quantizer(w, v);
        }
    }
}

static FeNewModel *end(Writer *w) {
    drop_unread(&w->r);
    return fe_edit_end(&w->r);
}

FeNewModel *fe_quant_write(IrArena *a, const FeQuantPlan *p, const FeQuantNumbers *n) {
    Writer w;
    if (!begin(&w, a, p, n)) {
        return NULL;
    }
    for (int i = 0; i < n->n_meta; i++) {
        fe_edit_set_meta(&w.r, &n->meta[i]);
    }
    find_gone(&w);
    add_input_quantizers(&w);
    for (size_t i = 0; i < w.g->edit.g->n_node; i++) {
        if (!w.gone[i]) {
            add_node(&w, i);
        }
    }
    w.r.g->node = w.nodes;
    w.r.g->n_node = (size_t)w.n;
    if (n->shown) {
        show(&w, n->shown);
    }
    return end(&w);
}

FeNewModel *fe_quant_alone(IrArena *a, const FeQuantPlan *p, const FeQuantNumbers *n,
                           const char **pairs) {
    Writer w;
    if (!begin(&w, a, p, n)) {
        return NULL;
    }
    const char **shown = ir_alloc_array(a, 2 * (size_t)p->n_layers + 1, sizeof *shown);
    int n_shown = 0;
    add_input_quantizers(&w);
    for (size_t i = 0; i < w.g->edit.g->n_node; i++) {
        Onnx__NodeProto *node = w.g->edit.g->node[i];
        int layer = w.g->layer_of[i];
        push_with_quantizers(&w, node);
        if (layer >= 0 && !n->is_float[layer]) {
            add_alone(&w, i, &pairs[2 * layer]);
            shown[n_shown++] = pairs[2 * layer];
            shown[n_shown++] = pairs[2 * layer + 1];
        }
    }
    w.r.g->node = w.nodes;
    w.r.g->n_node = (size_t)w.n;
    add_outputs(&w.r, n_shown, shown);
    return end(&w);
}
