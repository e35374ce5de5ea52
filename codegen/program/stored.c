// Weights that kernels read in another form than the file's: Winograd's filters, Strassen's sums,
// f16 widened. The compiler makes them where the size allows; then they stand in the program's
// read-only section instead of what they are made of, processes share them, and nothing is left to
// be done at a start. The rest is made when a model is created, the same bits.
//
// The rule, all of it: the section may be MOST times as large as it is with nothing prepared where
// most of the weights are f32, else not larger at all, since who stores weights in 16 or 8 bits
// does it for the size; --prepared says another number. Of what may be prepared first comes what
// makes the section grow least for each byte that no process has to make.
//
// A program for several machines or sizes, and one that trains, prepares all at the start: machines
// want different forms, and training the original.
#include "codegen/program/program.h"

#include <stdlib.h>
#include <string.h>

static const double MOST = 2.5;

typedef struct Candidate { // what a call of init makes
    int init;
    int64_t bytes, growth; // of the section
} Candidate;

typedef struct Store {
    CgProgram *p;
    CgCode *code;
    int *readers; // of each piece of the section: arguments
    int64_t size; // of the section
    CgArg *now;   // [n_init] where what a call of init made is
} Store;

static int find_piece(const CgProgram *p, int64_t offset) {
    return (int)(cg_weights_piece(&p->weights, offset) - p->weights.pieces);
}

// Arguments that name each piece of the section.
static int *count_readers(const CgProgram *p) {
    int *readers = ir_alloc_array(p->arena, (size_t)p->weights.n_pieces + 1, sizeof *readers);
    for (int i = 0; i < p->n_codes; i++) {
        const CgCode *c = &p->codes[i];
        for (int k = 0; k < c->n_calls + c->n_init; k++) {
            const CgCall *call = k < c->n_calls ? &c->calls[k] : &c->init[k - c->n_calls];
            for (int j = 0; j < call->n_args; j++)
                if (!call->args[j].value && !call->args[j].prepared)
                    readers[find_piece(p, call->args[j].weights)]++;
        }
    }
    return readers;
}

static int64_t count_bytes(const IrConst *c, IrDtype t) {
    IrDim n = {0, 0};
    ir_shape_elems(&c->type.shape, &n);
    return n.c * ir_dtype_bytes(t);
}

static bool mostly_f32(const IrGraph *g) {
    int64_t f32 = 0, all = 0;
    for (const IrNode *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_in; i++) {
            const IrValue *v = ir_in(n, i);
            const IrConst *c = v ? v->konst : NULL;
            IrDtype t = c ? ir_const_narrowest(c) : IR_F32;
            int64_t bytes = c ? count_bytes(c, t) : 0;
            f32 += t == IR_F32 ? bytes : 0;
            all += bytes;
        }
    return 2 * f32 >= all;
}

// ---------------------------------------------------------------- the choice

static Candidate describe(const Store *s, int init) {
    const CgArg *from = &s->code->init[init].args[CG_INIT_FROM];
    const CgArg *to = &s->code->init[init].args[CG_INIT_TO];
    Candidate c = {.init = init, .bytes = cg_pack_at(s->p, s->code, to->weights)->bytes};
    int piece = find_piece(s->p, from->weights);
    c.growth = c.bytes - (s->readers[piece] == 1 ? s->p->weights.pieces[piece].bytes : 0);
    return c;
}

static int by_growth(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    double u = (double)x->growth / (double)x->bytes, v = (double)y->growth / (double)y->bytes;
    return u != v ? (u < v ? -1 : 1) : x->init - y->init;
}

// What stands there, and what is there only because something reads it.
static int64_t section_bytes(const Store *s) {
    int64_t bytes = 0;
    for (int i = 0; i < s->p->weights.n_pieces; i++) {
        const CgPiece *x = &s->p->weights.pieces[i];
        bytes += x->place >= 0 || s->readers[i] ? x->bytes : 0;
    }
    return bytes;
}

static void store(Store *s, int init) {
    CgPack *pack = cg_pack_at(s->p, s->code, s->code->init[init].args[CG_INIT_TO].weights);
    CgMake make = *pack->make;
    int64_t bytes = pack->bytes;
    cg_pack_later(s->p, pack->key, &make, &s->now[init].weights);
    s->now[init].prepared = false;
    s->code->stored_bytes += bytes;
}

static void choose(Store *s, double most) {
    int n = s->code->n_init;
    Candidate *c = ir_alloc_array(s->p->arena, (size_t)n + 1, sizeof *c);
    for (int i = 0; i < n; i++)
        c[i] = describe(s, i);
    qsort(c, (size_t)n, sizeof *c, by_growth);
    double room = (most - 1) * (double)section_bytes(s);
    for (int i = 0; i < n; i++)
        if ((double)c[i].growth <= room) {
            room -= (double)c[i].growth;
            store(s, c[i].init);
        }
}

// ---------------------------------------------------------------- the program after it

// The number of the call of init that makes what lies there in prepared space: these grow.
static int find_init(const CgCode *c, int64_t offset) {
    int lo = 0, hi = c->n_init;
    while (hi - lo > 1) {
        int mid = lo + (hi - lo) / 2;
        if (c->init[mid].args[CG_INIT_TO].weights <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void redirect_calls(Store *s) {
    for (int i = 0; i < s->code->n_calls; i++)
        for (int k = 0; k < s->code->calls[i].n_args; k++) {
            CgArg *arg = &s->code->calls[i].args[k];
            if (!arg->value && arg->prepared) {
                const CgArg *now = &s->now[find_init(s->code, arg->weights)];
                arg->weights = now->weights;
                arg->prepared = now->prepared;
            }
        }
}

// What is left moves together.
static void place_rest(Store *s) {
    CgCode *c = s->code;
    c->prepared_bytes = 0;
    for (int i = 0; i < c->n_init; i++)
        if (s->now[i].prepared) {
            const CgPack *pack = cg_pack_at(s->p, c, c->init[i].args[CG_INIT_TO].weights);
            s->now[i].weights = c->prepared_bytes;
            c->prepared_bytes += (pack->bytes + 63) / 64 * 64;
        }
}

static void keep_rest(Store *s) {
    CgCode *c = s->code;
    int n = 0;
    for (int i = 0; i < c->n_init; i++)
        if (s->now[i].prepared) {
            c->init[n] = c->init[i];
            c->init[n++].args[CG_INIT_TO].weights = s->now[i].weights;
        }
    c->n_init = n;
}

void cg_store_prepared(CgProgram *p) {
    CgCode *c = &p->codes[0];
    if (p->n_codes > 1 || p->train || !c->n_init)
        return;
    p->code = c;
    Store s = {.p = p, .code = c, .readers = count_readers(p)};
    s.now = ir_alloc_array(p->arena, (size_t)c->n_init, sizeof *s.now);
    for (int i = 0; i < c->n_init; i++)
        s.now[i] = c->init[i].args[CG_INIT_TO];
    choose(&s, p->opt->prepared > 0 ? p->opt->prepared : mostly_f32(c->graph) ? MOST : 1);
    place_rest(&s);
    redirect_calls(&s);
    keep_rest(&s);
    cg_drop_kernels(p);
}

void cg_fill_packs(CgProgram *p) {
    const int *readers = count_readers(p);
    for (int i = 0; i < p->n_packs; i++) {
        const CgPack *pack = &p->packs[i];
        if (pack->make && !pack->code && readers[find_piece(p, pack->offset)])
            cg_make(pack->ir, pack->make, cg_weights_fill(&p->weights, p->arena, pack->offset));
    }
}
