// Scan: its body stands in the graph once for each position of the axes that it scans, whose
// sizes are known. Each time it gets what it made of its state, and the next slice of each input.
//
//   s, y = scan(s0, x)   ->   s1, y0 = body(s0, x[0]), s2, y1 = body(s1, x[1]), ...
#include "frontend/graph/graph.h"

#include <string.h>

typedef struct Scan {
    const Onnx__GraphProto *body;
    int states, inputs, outputs; // outputs: those that are stacked
    int64_t trip, trips;
    IrInts axes, backwards, out_axes, out_backwards; // one of each for each of them
    FeValue **state;                                 // [states]
    FeParts *part;                                   // [outputs]
} Scan;

// ---------------------------------------------------------------- a trip

static void end_trip(FeNode *n, FeValue **made);

// Position `at` of the axis that input k is scanned along, without it.
static FeValue *take_slice(FeNode *n, const Scan *s, int k) {
    int i = s->states + k, axis = (int)s->axes.v[k];
    int64_t at = s->backwards.v[k] ? s->trips - 1 - s->trip : s->trip;
    IrValue *x = fe_operand(n, i);
    if (n->refused) {
        return NULL;
    }
    IrShape shape = {.rank = x->type.shape.rank - 1};
    for (int a = 0; a < shape.rank; a++) {
        shape.dim[a] = x->type.shape.dim[a + (a >= axis)];
    }
    FeValue *v = ir_alloc(n->fe->arena, sizeof *v);
    *v = (FeValue){.name = n->in[i]->name, .producer = -1, .elem = fe_elem_type(n->in[i])};
    v->v = fe_reshape(n, fe_part(n, x, axis, at, 1), &shape);
    return v;
}

static void begin_trip(FeNode *n, Scan *s) {
    FeValue **slice = ir_alloc_array(n->fe->arena, (size_t)s->inputs + 1, sizeof *slice);
    for (int k = 0; k < s->inputs; k++) {
        slice[k] = take_slice(n, s, k);
    }
    n->then = end_trip;
    if (n->refused || !fe_enter_subgraph(n, s->body, NULL)) {
        return;
    }
    for (size_t i = 0; i < s->body->n_input; i++) {
        const char *name = s->body->input[i]->name;
        FeValue *v = name ? fe_find_value(n->fe, name) : NULL;
        if (v) {
            v->alias = (int)i < s->states ? s->state[i] : slice[(int)i - s->states];
        }
    }
}

static void finish(FeNode *n, Scan *s) {
    n->then = NULL;
    for (int i = 0; i < s->states; i++) {
        if (n->out[i]) {
            n->out[i]->alias = s->state[i];
        }
    }
    for (int k = 0; k < s->outputs && !n->refused; k++) {
        fe_stack(n, s->states + k, &s->part[k], s->out_axes.v[k], s->out_backwards.v[k] != 0, NULL);
    }
}

static void end_trip(FeNode *n, FeValue **made) {
    Scan *s = n->state;
    for (int i = 0; i < s->states; i++) {
        s->state[i] = fe_follow(made[i]);
        n->refused = n->refused || !s->state[i] || s->state[i]->poisoned;
    }
    for (int k = 0; k < s->outputs; k++) {
        FeParts *p = &s->part[k];
        IR_PUSH(n->fe->arena, p->v, p->n, p->cap, made[s->states + k]);
        n->refused = n->refused || !made[s->states + k] || fe_follow(made[s->states + k])->poisoned;
    }
    s->trip++;
    if (!n->refused && s->trip < s->trips) {
        begin_trip(n, s);
    } else if (!n->refused) {
        finish(n, s);
    }
}

// ---------------------------------------------------------------- the node

// The attribute's numbers, `count` of them; zeros where it is absent.
static IrInts read_list(FeNode *n, const char *name, int count) {
    IrInts v = fe_attr_ints(n, name), out = {count, NULL};
    if (!n->refused && v.v && v.n != count) {
        fe_refuse(n, "its %s must be %d numbers", name, count);
    }
    out.v = ir_alloc_array(n->fe->arena, (size_t)count + 1, sizeof *out.v);
    for (int i = 0; i < count; i++) {
        out.v[i] = v.v && !n->refused ? v.v[i] : 0;
    }
    return out;
}

static bool read_body(FeNode *n, Scan *s) {
    const Onnx__AttributeProto *body = fe_attr(n, "body");
    int64_t inputs = fe_attr_int(n, "num_scan_inputs", 0);
    if (n->since < 9) {
        fe_refuse(n, "NYI: the form of opset 8, over images one by one");
    } else if (!body || !body->g || body->g->n_sparse_initializer) {
        fe_refuse(n, "it has no body");
    } else if (inputs < 1 || inputs > n->n_in) {
        fe_refuse(n, "num_scan_inputs is %lld, of %d inputs", (long long)inputs, n->n_in);
    } else if (n->n_out < n->n_in - inputs || body->g->n_input != (size_t)n->n_in ||
               body->g->n_output != (size_t)n->n_out) {
        fe_refuse(n, "its body must have %d inputs and %d outputs, %lld of them its state", n->n_in,
                  n->n_out, (long long)(n->n_in - inputs));
    }
    for (int i = 0; i < n->n_in && !n->refused; i++) {
        if (!fe_has(n, i)) {
            fe_refuse(n, "input %d is missing", i);
        } else if (fe_count(n, i).v) {
            fe_refuse(n, "NYI: scanning '%s', whose size data decides", n->in[i]->name);
        }
    }
    if (!n->refused) {
        s->body = body->g;
        s->inputs = (int)inputs;
        s->states = n->n_in - s->inputs;
        s->outputs = n->n_out - s->states;
    }
    return !n->refused;
}

// The axis of each input, and how many positions all have.
static bool read_axes(FeNode *n, Scan *s) {
    s->axes = read_list(n, "scan_input_axes", s->inputs);
    s->backwards = read_list(n, "scan_input_directions", s->inputs);
    s->out_axes = read_list(n, "scan_output_axes", s->outputs);
    s->out_backwards = read_list(n, "scan_output_directions", s->outputs);
    for (int k = 0; k < s->inputs && !n->refused; k++) {
        IrType t;
        if (!fe_type(n, s->states + k, &t)) {
            return false;
        }
        s->axes.v[k] = fe_axis(n, s->axes.v[k], t.shape.rank);
        IrDim d = n->refused ? ir_dim(0) : t.shape.dim[s->axes.v[k]];
        if (d.n) {
            fe_refuse(n, "NYI: a scan along the batch");
        } else if (d.c < 1) {
            fe_refuse(n, "NYI: a scan of no positions");
        } else if (k > 0 && d.c != s->trips) {
            fe_refuse(n, "its inputs are scanned along %lld and %lld positions",
                      (long long)s->trips, (long long)d.c);
        }
        s->trips = d.c;
    }
    return !n->refused;
}

// Scan-11
void fe_import_scan(FeNode *n) {
    Scan *s = ir_alloc(n->fe->arena, sizeof *s);
    *s = (Scan){0};
    if (!read_body(n, s) || !read_axes(n, s)) {
        return;
    }
    n->state = s;
    s->state = ir_alloc_array(n->fe->arena, (size_t)s->states + 1, sizeof *s->state);
    s->part = ir_alloc_array(n->fe->arena, (size_t)s->outputs + 1, sizeof *s->part);
    memset(s->part, 0, ((size_t)s->outputs + 1) * sizeof *s->part);
    memcpy(s->state, n->in, (size_t)s->states * sizeof *s->state);
    begin_trip(n, s);
}
