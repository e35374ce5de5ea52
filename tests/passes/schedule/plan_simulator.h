// Runs a planned graph on symbolic contents: every element of every node's result is a hash of its
// own, only what moves (concat, reshape, reorder, copy, channel slices) carries contents over. It
// writes them to the bytes that the plan gives, as a kernel would: a result that is not allowed to
// go over its operands is filled with rubbish first, padding lanes are always rubbish. Whoever
// reads an element and finds another hash has found two values that overlap while both live.
#ifndef TESTS_PASSES_SCHEDULE_PLAN_SIMULATOR_H
#define TESTS_PASSES_SCHEDULE_PLAN_SIMULATOR_H

#include <stdlib.h>
#include <string.h>

#include "passes/passes.h"

enum { RUBBISH = 0xA5 };

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

typedef struct Sim {
    IrGraph *g;
    IrArena *arena;
    int64_t N;
    const char *what;                   // for messages
    uint8_t *memory;                    // the plan's arena
    uint8_t **input, **output, **konst; // by index; konst by IrConst.id
    int64_t memory_bytes;
    uint64_t **content; // by value id: a hash per element, row-major
    int errors;
} Sim;

static void complain(Sim *s, const IrNode *n, const IrValue *v, const char *text) {
    if (s->errors++ < 10) {
        fprintf(stderr, "%s, N=%lld: node '%s' (%s), value %u '%s': %s\n", s->what, (long long)s->N,
                n ? n->name : "", n ? ir_op_info(n->op)->text : "", v ? v->id : 0,
                v && v->name ? v->name : "", text);
    }
}

static int64_t bytes_at(const IrValue *v, int64_t N) {
    IrDim b;
    return ir_type_bytes(&v->type, &b) ? ir_dim_at(b, N) : -1;
}

static int64_t elems_at(const IrValue *v, int64_t N) {
    IrDim e;
    return ir_shape_elems(&v->type.shape, &e) ? ir_dim_at(e, N) : -1;
}

static uint8_t *base_of(Sim *s, const IrValue *v) {
    switch (v->place.kind) {
    case IR_PLACE_ARENA:
        return s->memory + ir_dim_at(v->place.offset, s->N);
    case IR_PLACE_INPUT:
        return s->input[v->place.index] + ir_dim_at(v->place.offset, s->N);
    case IR_PLACE_OUTPUT:
        return s->output[v->place.index] + ir_dim_at(v->place.offset, s->N);
    case IR_PLACE_CONST: {
        int64_t channel = 0;
        return s->konst[ir_view_root((IrValue *)v, &channel)->konst->id];
    }
    default:
        return NULL;
    }
}

typedef struct Walk { // from element number to byte
    int64_t dim0, inner, image, block, channels, spatial;
    int size;
} Walk;

static Walk walk_of(Sim *s, const IrValue *v) {
    int64_t channel = 0;
    const IrValue *root = ir_view_root((IrValue *)v, &channel);
    Walk w = {.dim0 = 1, .size = ir_dtype_bytes(v->type.dtype), .block = v->type.block};
    int64_t own = bytes_at(v, s->N), all = bytes_at(root, s->N);
    const IrShape *sh = &v->type.shape;
    if (sh->rank > 0) {
        w.dim0 = ir_dim_at(sh->dim[0], s->N);
    }
    w.inner = w.dim0 ? elems_at(v, s->N) / w.dim0 : 0;
    w.channels = sh->rank > 1 ? sh->dim[1].c : 1;
    w.spatial = w.channels ? w.inner / w.channels : 0;
    w.image = w.dim0 ? (own == all ? own : all) / w.dim0 : 0;
    return w;
}

static int64_t byte_of(const Walk *w, int64_t e) {
    int64_t n = e / w->inner, r = e % w->inner;
    if (w->block) {
        int64_t c = r / w->spatial, p = r % w->spatial;
        r = (c / w->block * w->spatial + p) * w->block + c % w->block;
    }
    return n * w->image + r * w->size;
}

static bool check_bounds(Sim *s, const IrNode *n, const IrValue *v) {
    int64_t channel = 0, at = ir_dim_at(v->place.offset, s->N);
    const IrValue *root = ir_view_root((IrValue *)v, &channel);
    int64_t end = ir_dim_at(root->place.offset, s->N) + bytes_at(root, s->N);
    if (v->place.kind == IR_PLACE_NONE) {
        complain(s, n, v, "has no place");
    } else if (v->place.kind == IR_PLACE_ARENA && (at < 0 || end > s->memory_bytes)) {
        complain(s, n, v, "lies outside the arena");
    } else if (v->place.kind == IR_PLACE_ARENA && !v->view_of && at % 64 != 0) {
        complain(s, n, v, "is not aligned to 64 bytes");
    } else {
        return true;
    }
    return false;
}

static void poison(Sim *s, const IrValue *v) {
    Walk w = walk_of(s, v);
    int64_t image = w.dim0 ? bytes_at(v, s->N) / w.dim0 : 0;
    for (int64_t i = 0; i < w.dim0; i++) {
        memset(base_of(s, v) + i * w.image, RUBBISH, (size_t)image);
    }
}

static void store(Sim *s, const IrValue *v) {
    Walk w = walk_of(s, v);
    uint8_t *base = base_of(s, v);
    for (int64_t e = 0, n = elems_at(v, s->N); e < n; e++) {
        memcpy(base + byte_of(&w, e), &s->content[v->id][e], (size_t)w.size);
    }
}

static void expect(Sim *s, const IrNode *n, const IrValue *v) {
    if (!v) {
        return;
    }
    if (!s->content[v->id]) {
        complain(s, n, v, "is read before it is written");
        return;
    }
    Walk w = walk_of(s, v);
    const uint8_t *base = base_of(s, v);
    for (int64_t e = 0, count = elems_at(v, s->N); e < count; e++) {
        if (memcmp(base + byte_of(&w, e), &s->content[v->id][e], (size_t)w.size) != 0) {
            complain(s, n, v, "was overwritten while it was needed");
            return;
        }
    }
}

static void make_content(Sim *s, const IrValue *v) {
    int64_t n = elems_at(v, s->N);
    uint64_t *c = s->content[v->id] = ir_alloc_array(s->arena, (size_t)n + 1, sizeof *c);
    for (int64_t e = 0; e < n; e++) {
        c[e] = mix(((uint64_t)v->id << 40) + (uint64_t)e + 1);
    }
}

// Copies channels of x to or from channel `at` of the wider y.
static void move_channels(Sim *s, const IrValue *narrow, const IrValue *wide, int64_t at,
                          bool widen) {
    Walk a = walk_of(s, narrow), b = walk_of(s, wide);
    for (int64_t i = 0; i < a.dim0; i++) {
        uint64_t *x = s->content[narrow->id] + i * a.inner;
        uint64_t *y = s->content[wide->id] + i * b.inner + at * b.spatial;
        memcpy(widen ? y : x, widen ? x : y, (size_t)a.inner * sizeof *x);
    }
}

static bool moves_whole(const IrNode *n) {
    return n->op == IR_OP_RESHAPE || n->op == IR_OP_REORDER || n->op == IR_OP_COPY;
}

static void compute_content(Sim *s, const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        make_content(s, n->out[i]);
    }
    const IrValue *y = n->out[0], *x = ir_in(n, 0);
    if (moves_whole(n)) {
        memcpy(s->content[y->id], s->content[x->id], (size_t)elems_at(y, s->N) * sizeof(uint64_t));
    } else if (n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_AXIS, 0) == 1) {
        int64_t at = 0;
        for (int i = 0; i < n->n_in; i++) {
            move_channels(s, ir_in(n, i), y, at, true);
            at += ir_in(n, i)->type.shape.dim[1].c;
        }
    } else if (n->op == IR_OP_SLICE && y->view_of == x) {
        move_channels(s, y, x, ir_ints(n, IR_ATTR_START).v[1], false);
    }
}

static bool is_elementwise(const IrNode *n) {
    return ir_op_info(n->op)->flags & IR_FLAG_E || n->op == IR_OP_MAP;
}

static void run_concat(Sim *s, const IrNode *n) {
    const IrValue *y = n->out[0];
    Walk w = walk_of(s, y);
    bool views = false;
    for (int i = 0; i < n->n_in; i++) {
        views |= ir_in(n, i)->view_of == y;
    }
    if (!views) {
        poison(s, y);
    }
    for (int64_t i = 0, at = 0; i < n->n_in; i++) {
        const IrValue *x = ir_in(n, (int)i);
        expect(s, n, x);
        int64_t inner = walk_of(s, x).inner;
        for (int64_t e = 0; x->view_of != y && e < elems_at(x, s->N); e++) {
            int64_t to = e / inner * w.inner + at + e % inner;
            memcpy(base_of(s, y) + byte_of(&w, to), &s->content[x->id][e], (size_t)w.size);
        }
        at += inner;
    }
    expect(s, n, y);
}

static void run_node(Sim *s, const IrNode *n) {
    const IrValue *y = n->out[0], *x = ir_in(n, 0);
    bool in_place = n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_IN_PLACE, 0);
    compute_content(s, n);
    if (in_place || ((moves_whole(n) || n->op == IR_OP_SLICE) && y->view_of == x)) {
        expect(s, n, y); // no code
        return;
    }
    if (n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_AXIS, 0) == 1) {
        run_concat(s, n);
        return;
    }
    int late = is_elementwise(n) ? 0 : n->op == IR_OP_CONV ? 3 : n->n_in; // may be written over
    for (int i = late; i < n->n_in; i++) {
        expect(s, n, ir_in(n, i));
    }
    for (int i = 0; i < n->n_out; i++) {
        poison(s, n->out[i]);
    }
    for (int i = 0; i < late && i < n->n_in; i++) {
        expect(s, n, ir_in(n, i));
    }
    for (int i = 0; i < n->n_out; i++) {
        store(s, n->out[i]);
    }
}

static void place_constant(Sim *s, const IrValue *v) {
    if (v && v->konst && !s->konst[v->konst->id]) {
        s->konst[v->konst->id] = ir_alloc(s->arena, (size_t)bytes_at(v, s->N) + 1);
        make_content(s, v);
        store(s, v);
    }
}

static bool check_places(Sim *s) {
    bool fine = true;
    for (const IrNode *n = s->g->first; n; n = n->next) {
        for (int i = 0; i < n->n_in; i++) {
            fine &= !ir_in(n, i) || check_bounds(s, n, ir_in(n, i));
        }
        for (int i = 0; i < n->n_out; i++) {
            fine &= check_bounds(s, n, n->out[i]);
        }
    }
    for (int i = 0; i < s->g->n_outputs; i++) {
        const IrValue *v = s->g->outputs[i];
        if (v->place.kind != IR_PLACE_OUTPUT || v->place.index != i || v->type.block ||
            v->place.offset.c || v->place.offset.n) {
            complain(s, v->def, v, "an output without a buffer of its own");
            fine = false;
        }
    }
    return fine;
}

static int simulate(IrGraph *g, int64_t N, const char *what) {
    IrArena *a = ir_arena_new(g->prog->diag);
    Sim s = {.g = g, .arena = a, .N = N, .what = what};
    s.memory_bytes = ir_dim_at(g->arena_bytes, N);
    s.memory = ir_alloc(a, (size_t)s.memory_bytes + 64);
    memset(s.memory, RUBBISH, (size_t)s.memory_bytes);
    s.input = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *s.input);
    s.output = ir_alloc_array(a, (size_t)g->n_outputs + 1, sizeof *s.output);
    s.konst = ir_alloc_array(a, (size_t)g->prog->next_const_id + 1, sizeof *s.konst);
    s.content = ir_alloc_array(a, (size_t)g->next_id + 1, sizeof *s.content);
    if (check_places(&s)) {
        for (int i = 0; i < g->n_outputs; i++) {
            s.output[i] = ir_alloc(a, (size_t)bytes_at(g->outputs[i], N) + 64);
        }
        for (int i = 0; i < g->n_inputs; i++) {
            s.input[i] = ir_alloc(a, (size_t)bytes_at(g->inputs[i], N) + 64);
            make_content(&s, g->inputs[i]);
            store(&s, g->inputs[i]);
        }
        for (const IrNode *n = g->first; n; n = n->next) {
            for (int i = 0; i < n->n_in; i++) {
                place_constant(&s, ir_in(n, i));
            }
            run_node(&s, n);
        }
        for (int i = 0; i < g->n_outputs; i++) {
            expect(&s, NULL, g->outputs[i]);
        }
    }
    ir_arena_free(a);
    return s.errors;
}

#endif
