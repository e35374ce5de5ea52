// What the units of a model have in common, once they are lowered: the space of what is prepared
// when a model is created, for those of one machine; and units whose code is the same.
#include "codegen/program/program.h"

#include <string.h>

// ---------------------------------------------------------------- prepared space

// What one call of init makes, of bytes of the weights section: the same for equal kernels and
// bytes.
typedef struct Piece {
    int kernel, n_args;
    int64_t from[CG_MAX_ARGS]; // places in the closed section; -1: what is written
    int64_t at;                // in the space of the machine
} Piece;

typedef struct Space { // of a machine
    const CgTarget *target;
    int64_t bytes;
    int n, cap, n_init, cap_init;
    Piece *v;     // [n]
    CgCall *init; // [n_init] what makes each
} Space;

typedef struct Move { // of a piece of a unit's space
    int64_t from, to;
} Move;

static CgArg *written(const CgCall *c) {
    for (int i = 0; i < c->n_args; i++)
        if (c->args[i].prepared)
            return &c->args[i];
    ir_bug("codegen", NULL, "a call of init that prepares nothing");
}

static Piece describe(const CgProgram *p, const CgCall *c) {
    Piece x = {.kernel = c->kernel, .n_args = c->n_args};
    for (int i = 0; i < c->n_args; i++)
        x.from[i] = c->args[i].prepared ? -1 : cg_weights_place(&p->weights, c->args[i].weights);
    return x;
}

// Where the machine has what call `init` of unit c makes
static int64_t place_piece(CgProgram *p, Space *s, const CgCode *c, CgCall *init) {
    Piece piece = describe(p, init);
    CgArg *to = written(init);
    for (int i = 0; i < s->n; i++)
        if (s->v[i].kernel == piece.kernel && s->v[i].n_args == piece.n_args &&
            memcmp(s->v[i].from, piece.from, sizeof piece.from) == 0)
            return s->v[i].at;
    piece.at = s->bytes;
    s->bytes += (cg_pack_at(p, c, to->weights)->bytes + 63) / 64 * 64;
    IR_PUSH(p->arena, s->v, s->n, s->cap, piece);
    to->weights = piece.at;
    IR_PUSH(p->arena, s->init, s->n_init, s->cap_init, *init);
    return piece.at;
}

static void move_args(const Move *moves, int n, CgCall *calls, int n_calls) {
    for (int i = 0; i < n_calls; i++)
        for (int k = 0; k < calls[i].n_args; k++) {
            CgArg *arg = &calls[i].args[k];
            for (int j = 0; arg->prepared && j < n; j++)
                if (moves[j].from == arg->weights) {
                    arg->weights = moves[j].to;
                    break;
                }
        }
}

static void share_with(CgProgram *p, CgCode *c, Space *s) {
    Move *moves = ir_alloc_array(p->arena, (size_t)c->n_init + 1, sizeof *moves);
    for (int i = 0; i < c->n_init; i++) {
        moves[i].from = written(&c->init[i])->weights;
        moves[i].to = place_piece(p, s, c, &c->init[i]);
    }
    move_args(moves, c->n_init, c->calls, c->n_calls);
}

static void share_prepared(CgProgram *p) {
    Space *spaces = ir_alloc_array(p->arena, (size_t)p->n_codes, sizeof *spaces), *s;
    int n = 0;
    for (int i = 0; i < p->n_codes && p->n_codes > 1; i++) {
        for (s = spaces; s < spaces + n && s->target != p->codes[i].target; s++)
            ;
        s->target = p->codes[i].target;
        n += s == spaces + n;
        share_with(p, &p->codes[i], s);
    }
    for (int i = 0; i < p->n_codes && p->n_codes > 1; i++)
        for (s = spaces; s < spaces + n; s++)
            if (s->target == p->codes[i].target) {
                p->codes[i].prepared_bytes = s->bytes;
                p->codes[i].init = s->init;
                p->codes[i].n_init = s->n_init;
            }
}

// ---------------------------------------------------------------- units that are the same

static uint64_t needs_of(const CgCode *c) {
    uint64_t set = c->needs;
    for (int i = 0; c->target->needs[i]; i++)
        set |= UINT64_C(1) << c->target->needs[i];
    return set;
}

static bool same_inputs(const CgCode *x, const CgCode *y) {
    const IrGraph *a = x->graph, *b = y->graph;
    if (x->model != y->model)
        return false;
    for (int i = 0; i < a->n_inputs; i++)
        if (!ir_shape_eq(&a->inputs[i]->type.shape, &b->inputs[i]->type.shape))
            return false;
    return true;
}

// A later unit that takes the same inputs and needs the same of the CPU; -1: none. Then the two
// were told the same of the machine, as far as the network asks.
static int find_same(const CgProgram *p, int i) {
    for (int k = p->n_codes - 1; k > i; k--)
        if (needs_of(&p->codes[k]) == needs_of(&p->codes[i]) &&
            same_inputs(&p->codes[k], &p->codes[i]))
            return k;
    return -1;
}

static void mark_kernels(const CgCall *calls, int n, int *now) {
    for (int i = 0; i < n; i++)
        now[calls[i].kernel] = 0;
}

static void renumber(CgCall *calls, int n, const int *now) {
    for (int i = 0; i < n; i++)
        calls[i].kernel = now[calls[i].kernel];
}

void cg_drop_kernels(CgProgram *p) {
    int *now = ir_alloc_array(p->arena, (size_t)p->n_kernels + 1, sizeof *now), n = 0;
    for (int i = 0; i < p->n_kernels; i++)
        now[i] = -1;
    for (int i = 0; i < p->n_codes; i++) {
        mark_kernels(p->codes[i].calls, p->codes[i].n_calls, now);
        mark_kernels(p->codes[i].init, p->codes[i].n_init, now);
    }
    for (int i = 0; i < p->n_kernels; i++)
        if (now[i] == 0) {
            now[i] = n;
            p->kernels[n++] = p->kernels[i];
        }
    p->n_kernels = n;
    for (int i = 0; i < p->n_codes; i++) {
        const CgCode *c = &p->codes[i], *k = p->codes;
        renumber(c->calls, c->n_calls, now);
        while (k < c && k->init != c->init)
            k++;
        if (k == c) // the first that has them
            renumber(c->init, c->n_init, now);
    }
}

static void drop_same(CgProgram *p, int *same_as) {
    int n = 0;
    for (int i = 0; i < p->n_codes; i++) {
        int k = find_same(p, i);
        same_as[p->codes[i].unit] = p->codes[k < 0 ? i : k].unit;
        if (k < 0)
            p->codes[n++] = p->codes[i]; // find_same() looks at later ones alone
    }
    if (n == p->n_codes)
        return;
    p->n_codes = n;
    cg_drop_kernels(p);
}

// ---------------------------------------------------------------- the chains

CgCode *cg_units_first(CgProgram *p, int model) {
    for (int i = 0; i < p->n_codes; i++)
        if (p->codes[i].model == model)
            return &p->codes[i];
    ir_bug("codegen", NULL, "a model without units");
}

static CgCode *next_of(CgProgram *p, const CgCode *c) {
    for (CgCode *d = &p->codes[c - p->codes] + 1; d < p->codes + p->n_codes; d++)
        if (d->model == c->model)
            return d;
    return NULL;
}

void cg_units_link(CgProgram *p, int *same_as) {
    if (!p->train) // whose models are instances of their own
        share_prepared(p);
    drop_same(p, same_as);
    for (int i = 0; i < p->n_codes; i++) {
        CgCode *c = &p->codes[i];
        const char *model =
            p->train ? ir_sprintf(p->arena, "%s_g%d", p->opt->symbol, c->model) : p->opt->symbol;
        bool first = c == cg_units_first(p, c->model);
        c->next = next_of(p, c);
        c->symbol = first ? model : ir_sprintf(p->arena, "%s_u%d", model, i);
    }
}
