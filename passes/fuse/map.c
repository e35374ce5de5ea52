// fuse_map: elementwise nodes that no epilogue took become one `map` per connected region.
//
//   %a = mul %x, %scale
//   %b = add %a, %shift          ->   %c = map %x, %scale, %shift
//   %c = relu %b                           {body=[mul(0, 1), add(s0, 2), relu(s1)]}
//
// A region has one result; every other value in it is read by the region alone, so that no work is
// done twice, and has the result's shape, so that nothing is computed once per element that a
// smaller tensor would hold. Operands broadcast. A single node stays what it is: codegen takes both
// the same way. Where a region has no room for all that belongs to it, it begins at bytes, if there
// are any between its nodes: what is stored is then bytes.

#include "passes/body.h"

enum { MAX_STEPS = 24, MAX_IN = 12 };

typedef struct Region {
    int n;
    bool from_bytes;         // it ends where bytes are made
    IrNode *node[MAX_STEPS]; // the root first
} Region;

static bool is_member(const Region *r, const IrNode *n) {
    for (int i = 0; i < r->n; i++) {
        if (r->node[i] == n) {
            return true;
        }
    }
    return false;
}

static bool makes_bytes(const IrValue *v) {
    return v->def && v->def->op == IR_OP_CAST && ir_dtype_bytes(v->type.dtype) == 1;
}

static bool is_absorbable(const Region *r, const IrValue *v) {
    if ((r->from_bytes && makes_bytes(v)) || !v->def || v->is_output || !pass_is_eltwise(v->def) ||
        is_member(r, v->def) || !ir_shape_eq(&v->type.shape, &r->node[0]->out[0]->type.shape)) {
        return false;
    }
    for (const IrUse *u = v->uses; u; u = u->next) {
        if (!is_member(r, u->node)) {
            return false;
        }
    }
    return true;
}

// The region's nodes as steps in their order in the graph. False: too many operands.
static bool build_body(const Region *r, const PassOrder *order, PassBody *b) {
    Region sorted = *r;
    for (int i = 1; i < sorted.n; i++) {
        IrNode *n = sorted.node[i];
        int k = i;
        for (; k > 0 && pass_at(order, sorted.node[k - 1]) > pass_at(order, n); k--) {
            sorted.node[k] = sorted.node[k - 1];
        }
        sorted.node[k] = n;
    }
    *b = (PassBody){.max_steps = MAX_STEPS, .max_in = MAX_IN};
    for (int i = 0; i < sorted.n; i++) {
        if (!pass_body_add(b, sorted.node[i])) {
            return false;
        }
    }
    return true;
}

// Adds one operand's node to the region; false when there is none, or *full: none that fits.
static bool grow_once(Region *r, const PassOrder *order, PassBody *b, bool *full) {
    *full = false;
    for (int i = 0; i < r->n && r->n < MAX_STEPS; i++) {
        for (int k = 0; k < r->node[i]->n_in; k++) {
            IrValue *v = ir_in(r->node[i], k);
            if (is_absorbable(r, v)) {
                r->node[r->n++] = v->def;
                if (build_body(r, order, b)) {
                    return true;
                }
                r->n--;
                *full = true;
            }
        }
    }
    *full = *full || r->n == MAX_STEPS;
    return false;
}

static bool holds_bytes(const Region *r) {
    bool holds = false;
    for (int i = 1; i < r->n; i++) {
        holds = holds || makes_bytes(r->node[i]->out[0]);
    }
    return holds;
}

static Region grow(const PassOrder *order, IrNode *root, bool from_bytes) {
    Region r = {.n = 1, .from_bytes = from_bytes, .node = {root}};
    PassBody b;
    bool full;
    while (grow_once(&r, order, &b, &full)) {
    }
    return full && !from_bytes && holds_bytes(&r) ? grow(order, root, true) : r;
}

// Returns the node that stands for n now: the map, or n itself.
static IrNode *fuse_region(PassContext *ctx, const PassOrder *order, IrNode *n) {
    Region r = grow(order, n, false);
    PassBody b;
    if (r.n == 1 || !build_body(&r, order, &b)) {
        return n;
    }
    IrBuilder builder = pass_before(n);
    builder.name = pass_body_name(&b, ctx->prog->arena, "");
    IrBody body = pass_body_steps(ctx, &b);
    IrAttr attr = ir_attr_body(ctx->prog->arena, IR_ATTR_BODY, &body);
    IrValue *out = ir_build(&builder, IR_OP_MAP, b.n_in, b.in, 1, &attr);
    if (!out) {
        ir_bug("fuse_map", n->name, "%s", builder.err);
    }
    out->name = n->out[0]->name;
    ir_replace_uses(n->out[0], out);
    pass_body_remove_nodes(&b);
    return out->def;
}

PassResult pass_fuse_map(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    PassOrder order = pass_order(ctx, g);
    for (IrNode *n = g->last; n; n = n->prev) {
        if (pass_is_eltwise(n)) {
            IrNode *now = fuse_region(ctx, &order, n);
            r.changes += now != n;
            n = now;
        }
    }
    return r;
}
