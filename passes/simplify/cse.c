// cse: equal nodes become one, and so do equal small constants.
//
//   %a = relu %x
//   %b = relu %x      ->   %a = relu %x, and %a wherever %b was read
//
// Equal: same op, operands by identity, attributes and result type, in one straight line of nodes
// where the first of two always stands above all readers of the second. Random nodes are never
// equal; neither are copies, which exist to own storage.

#include "passes/util.h"
#include <string.h>

enum {
    SMALL_CONST = 4096, // bytes up to which the contents of constants are compared
    MAX_PROBES = 64,    // looked at before giving up: contents may be made to collide
};

// Open hashing over nodes, or over constant values.
typedef struct Table {
    size_t mask;
    void **slot;
} Table;

static Table make_table(PassContext *ctx, size_t items) {
    size_t size = 16;
    while (size < 2 * items) {
        size *= 2;
    }
    return (Table){size - 1, ir_alloc_array(ctx->scratch, size, sizeof(void *))};
}

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t n) {
    for (size_t i = 0; i < n; i++) {
        h = mix(h, ((const unsigned char *)data)[i]);
    }
    return h;
}

typedef bool Equal(const void *a, const void *b);

// The slot of what equals `key`, or an empty one for it; NULL where too many others are in the way.
static void **find_slot(const Table *t, uint64_t hash, const void *key, Equal *equal) {
    for (size_t probe = 0; probe < MAX_PROBES; probe++) {
        void **slot = &t->slot[(hash + probe) & t->mask];
        if (!*slot || equal(*slot, key)) {
            return slot;
        }
    }
    return NULL;
}

// ---------------------------------------------------------------- attributes

// Enough of an attribute that nodes which differ in it alone seldom meet.
static uint64_t hash_attr(uint64_t h, const IrAttr *a) {
    switch (ir_attr_kind(a->key)) {
    case IR_KIND_INT:
        return mix(h, (uint64_t)a->i);
    case IR_KIND_FLOAT:
        return hash_bytes(h, &a->f, sizeof a->f);
    case IR_KIND_INTS:
        for (int i = 0; i < a->ints.n; i++) {
            h = mix(h, (uint64_t)a->ints.v[i]);
        }
        return h;
    case IR_KIND_DIMS:
        for (int i = 0; i < a->dims.rank; i++) {
            h = mix(mix(h, (uint64_t)a->dims.dim[i].c), (uint64_t)a->dims.dim[i].n);
        }
        return h;
    case IR_KIND_STR:
        return hash_bytes(h, a->s, strlen(a->s));
    case IR_KIND_BODY:
        return mix(h, (uint64_t)a->body.n);
    case IR_KIND_ALGO:
        return mix(h, a->algo);
    case IR_KIND_TILE:
        return hash_bytes(h, &a->tile, sizeof a->tile);
    }
    return h;
}

// ---------------------------------------------------------------- nodes

static uint64_t hash_node(const IrNode *n) {
    uint64_t h = mix(n->op, (uint64_t)n->n_in);
    for (int i = 0; i < n->n_attrs; i++) {
        h = hash_attr(h, &n->attrs[i]);
    }
    for (int i = 0; i < n->n_in; i++) {
        h = mix(h, ir_in(n, i) ? ir_in(n, i)->id + UINT64_C(1) : 0); // no address: it would vary
    }
    return h;
}

static bool are_equal_nodes(const void *x, const void *y) {
    const IrNode *a = x, *b = y;
    if (a->op != b->op || a->n_in != b->n_in || a->n_attrs != b->n_attrs ||
        !ir_type_eq(&a->out[0]->type, &b->out[0]->type)) {
        return false;
    }
    for (int i = 0; i < a->n_in; i++) {
        if (ir_in(a, i) != ir_in(b, i)) {
            return false;
        }
    }
    for (int i = 0; i < a->n_attrs; i++) {
        if (!ir_attr_eq(&a->attrs[i], &b->attrs[i])) {
            return false;
        }
    }
    return true;
}

static bool is_mergeable(const IrNode *n) {
    return n->n_out == 1 && n->op != IR_OP_COPY && !(ir_op_info(n->op)->flags & IR_FLAG_R);
}

static int merge_nodes(PassContext *ctx, IrGraph *g) {
    Table t = make_table(ctx, (size_t)g->n_nodes);
    int changes = 0;
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!is_mergeable(n)) {
            continue;
        }
        IrNode **slot = (IrNode **)find_slot(&t, hash_node(n), n, are_equal_nodes);
        if (slot && !*slot) {
            *slot = n;
        } else if (slot && (!n->out[0]->is_output || !(*slot)->out[0]->is_output)) {
            pass_forward(n, (*slot)->out[0]);
            changes++;
        }
    }
    return changes;
}

// ---------------------------------------------------------------- constants

static size_t const_bytes(const IrConst *c) {
    IrDim bytes;
    return ir_type_bytes(&c->type, &bytes) ? (size_t)bytes.c : SIZE_MAX;
}

static bool is_small(const IrValue *v) {
    return pass_is_frozen(v) && v->konst->kind == IR_CONST_DATA &&
           const_bytes(v->konst) <= SMALL_CONST;
}

static bool is_described(const IrValue *v) {
    return pass_is_frozen(v) && v->konst->kind != IR_CONST_DATA;
}

static uint64_t hash_const(const IrConst *c) {
    uint64_t h = mix(c->kind, c->type.dtype);
    for (int i = 0; i < c->type.shape.rank; i++) {
        h = mix(h, (uint64_t)c->type.shape.dim[i].c);
    }
    if (c->kind == IR_CONST_DATA) {
        return hash_bytes(h, c->data, const_bytes(c));
    }
    return hash_bytes(mix(h, c->seed), &c->splat, sizeof c->splat);
}

static bool are_equal_consts(const void *x, const void *y) {
    const IrConst *a = ((const IrValue *)x)->konst, *b = ((const IrValue *)y)->konst;
    return a->kind == b->kind && ir_type_eq(&a->type, &b->type) &&
           (a->kind == IR_CONST_DATA   ? memcmp(a->data, b->data, const_bytes(a)) == 0
            : a->kind == IR_CONST_RAND ? a->seed == b->seed
                                       : memcmp(&a->splat, &b->splat, sizeof a->splat) == 0);
}

static int merge_consts(PassContext *ctx, IrGraph *g) {
    size_t operands = 0;
    for (IrNode *n = g->first; n; n = n->next) {
        operands += (size_t)n->n_in;
    }
    Table t = make_table(ctx, operands);
    int changes = 0;
    for (IrNode *n = g->first; n; n = n->next) {
        for (int k = 0; k < n->n_in; k++) {
            IrValue *v = ir_in(n, k);
            if (!is_small(v) && !is_described(v)) {
                continue;
            }
            IrValue **slot = (IrValue **)find_slot(&t, hash_const(v->konst), v, are_equal_consts);
            if (slot && !*slot) {
                *slot = v;
            } else if (slot && *slot != v) {
                ir_set_in(n, k, *slot);
                changes++;
            }
        }
    }
    return changes;
}

PassResult pass_cse(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    r.changes = merge_consts(ctx, g);
    r.changes += merge_nodes(ctx, g);
    return r;
}
