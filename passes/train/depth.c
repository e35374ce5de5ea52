// How deep in the network a parameter lies, in blocks: for rates that decay with the depth.
//
// The way from the image to the scores is a chain of values that everything passes through, and of
// what lies between them: one node, or ways that part and join again, a residual branch, an
// Inception module, a squeeze and excitation. Those with parameters are blocks:
//
//   %a = patches                level 0: what comes before the first block
//   %b = add %a, attention(%a)  level 1, 2, ...
//   %c = add %b, mlp(%b)        the same block, as the names say: blocks.0.attn, blocks.0.mlp
//   %y = matmul %c, head        the last level: what comes behind the last block
//
// What lies on the chain between two blocks, a downsampling, belongs to the later one, unless names
// say that it ends the earlier one (a normalization behind a residual sum).
#include "passes/train/depth.h"
#include "passes/train/flow.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

typedef struct Piece { // of the chain
    bool parts;        // its ways part and join; else it is one node
    bool any;          // it has parameters
    bool attends;      // and a product of two things that it computes, as attention has
    const char *name;  // that these have in common, whole components; NULL: nothing tells
    size_t len;
    int level;
} Piece;

typedef struct Depth {
    IrArena *arena;
    PassFlow flow;
    int *last;  // by value id: when it is read last, counted in nodes of the chain
    int *piece; // by value id, -1: none
    int n, cap;
    Piece *v;
} Depth;

// ---------------------------------------------------------------- names

static bool is_joint(char c) {
    return c == '/' || c == '.';
}

// Bytes of the components that both begin with.
static size_t common(const char *a, size_t n, const char *b, size_t m) {
    size_t whole = 0, i = 0;
    for (; i < n && i < m && a[i] == b[i]; i++) {
        whole = is_joint(a[i]) ? i : whole;
    }
    bool ends = (i == n || is_joint(a[i])) && (i == m || is_joint(b[i]));
    return ends ? i : whole;
}

// The component behind the first n bytes, without digits at its end.
static size_t next_stem(const char *name, size_t len, size_t n) {
    size_t end = n < len ? n + 1 : n;
    while (end < len && !is_joint(name[end])) {
        end++;
    }
    while (end > n && isdigit((unsigned char)name[end - 1])) {
        end--;
    }
    return end;
}

// Both names begin with a numbered block, and go on with different parts of it: blocks.3.attn and
// blocks.3.mlp, but not layer4.0 and layer4.1. Without names what follows attention completes it.
static bool is_same_block(const Piece *a, const Piece *b) {
    if (!a->name || !b->name) {
        return a->attends && b->parts && !b->attends;
    }
    size_t n = common(a->name, a->len, b->name, b->len);
    if (n == 0 || !isdigit((unsigned char)a->name[n - 1])) {
        return false;
    }
    size_t x = next_stem(a->name, a->len, n) - n, y = next_stem(b->name, b->len, n) - n;
    bool ends = n == a->len || n == b->len;
    return ends || x != y || memcmp(a->name + n, b->name + n, x) != 0;
}

static void add_name(Piece *p, const PassParam *x) {
    const char *reader = pass_bare_name(x->reader->name);
    const char *name = strchr(reader, '/') ? reader : x->konst->origin;
    size_t len = name ? strlen(name) : 0;
    if (!name || !strpbrk(name, "/.")) {
        return;
    }
    while (len && !is_joint(name[len - 1])) { // the tensor's, or the operator's, own
        len--;
    }
    len -= len > 0;
    p->len = p->name ? common(p->name, p->len, name, len) : len;
    p->name = name;
}

// ---------------------------------------------------------------- the chain

static bool is_on_way(const Depth *d, const IrNode *n) {
    const IrValue *v = n->out[0];
    return d->flow.varies[v->id] && d->flow.reached[v->id];
}

static void find_last_reads(Depth *d, const IrGraph *g) {
    int i = 0;
    for (const IrNode *n = g->first; n; n = n->next) {
        if (!is_on_way(d, n)) {
            continue;
        }
        i++;
        for (int k = 0; k < n->n_in; k++) {
            if (ir_in(n, k)) {
                d->last[ir_in(n, k)->id] = i;
            }
        }
    }
    d->last[g->outputs[0]->id] = INT_MAX;
}

// A node that reads all that is still to be read is one that everything passes through.
static void cut_chain(Depth *d, const IrGraph *g) {
    int i = 0, far = 0;
    bool inside = false;
    for (int k = 0; k < g->n_inputs; k++) {
        far = d->last[g->inputs[k]->id] > far ? d->last[g->inputs[k]->id] : far;
    }
    for (const IrNode *n = g->first; n; n = n->next) {
        if (!is_on_way(d, n)) {
            continue;
        }
        bool through = far <= ++i;
        if (!inside) {
            IR_PUSH(d->arena, d->v, d->n, d->cap, (Piece){.parts = !through});
        }
        inside = !through;
        d->v[d->n - 1].attends |= n->op == IR_OP_MATMUL && d->flow.varies[ir_in(n, 0)->id] &&
                                  d->flow.varies[ir_in(n, 1)->id];
        for (int k = 0; k < n->n_out; k++) {
            int last = d->last[n->out[k]->id];
            d->piece[n->out[k]->id] = d->n - 1;
            far = last > far ? last : far;
        }
    }
}

// ---------------------------------------------------------------- levels

static int count_blocks(Depth *d) {
    int blocks = 0, waiting = 0; // the first piece whose level is not known
    Piece *last = NULL;
    for (int i = 0; i < d->n; i++) {
        Piece *p = &d->v[i];
        if (!p->any) {
            continue;
        }
        bool same = last && is_same_block(last, p);
        if (!same && !p->parts) {
            continue; // it waits for the next block
        }
        int before = blocks;
        blocks += !same;
        for (int k = waiting; k < i; k++) {
            d->v[k].level = before == 0 ? 0 : blocks;
        }
        p->level = blocks;
        if (same && last->name && p->name) {
            p->len = common(last->name, last->len, p->name, p->len);
        }
        waiting = i + 1;
        last = p;
    }
    for (int k = waiting; k < d->n; k++) {
        d->v[k].level = blocks + 1;
    }
    return blocks;
}

int pass_depths(IrGraph *g, const PassParam *params, int n, int *level) {
    IrArena *a = g->prog->arena;
    Depth d = {.arena = a, .flow = pass_flow(a, g)};
    d.last = ir_alloc_array(a, g->next_id, sizeof *d.last);
    d.piece = ir_alloc_array(a, g->next_id, sizeof *d.piece);
    for (uint32_t i = 0; i < g->next_id; i++) {
        d.piece[i] = -1;
    }
    find_last_reads(&d, g);
    cut_chain(&d, g);
    for (int i = 0; i < n; i++) {
        int k = d.piece[params[i].reader->out[0]->id];
        if (k >= 0) {
            d.v[k].any = true;
            add_name(&d.v[k], &params[i]);
        }
    }
    int blocks = count_blocks(&d);
    for (int i = 0; i < n; i++) {
        int k = d.piece[params[i].reader->out[0]->id];
        level[i] = k >= 0 ? d.v[k].level : blocks + 1;
    }
    return blocks;
}
