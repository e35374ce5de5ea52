// Dropout in the graphs of a stage: gone where the network is read in inference mode, with masks
// from the input "seed" in a training step, and where the user asks for it in front of the
// classifier.
#include "passes/train/head.h"
#include "passes/train/names.h"
#include "passes/train/program.h"

// The network's own Dropout nodes work where train.s contains them; elsewhere they pass on.
void pass_drop_dropout(IrGraph *g) {
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op == IR_OP_DROPOUT) {
            ir_replace_uses(n->out[0], ir_in(n, 0));
            ir_remove_node(n);
        }
    }
}

// In place of `n` where that is one, else in front of it; with masks from the input *seed.
static void build_dropout(IrGraph *g, IrNode *n, IrValue *x, double ratio, IrValue **seed) {
    bool own = n->op == IR_OP_DROPOUT;
    IrBuilder b = {.graph = g, .before = n, .name = n->name, .src_op = "Dropout"};
    *seed = *seed ? *seed : ir_input(g, pass_bind_input(IR_BIND_SEED), (IrType){.dtype = IR_I64});
    IrValue *in[] = {x, *seed};
    IrAttr attrs[] = {ir_attr_f(IR_ATTR_RATIO, ratio),
                      ir_attr_i(IR_ATTR_SEED, own ? ir_int(n, IR_ATTR_SEED, 0) : 0)};
    IrValue *y = ir_build(&b, IR_OP_DROPOUT, 2, in, 2, attrs);
    if (!y)
        ir_bug("dropout", n->name, "%s", b.err ? b.err : "it does not fit");
    if (own) {
        ir_replace_uses(n->out[0], y);
        ir_remove_node(n);
    } else {
        ir_set_in(n, ir_in(n, 0) == x ? 0 : 1, y);
    }
}

static IrValue *features_of(const IrNode *head) {
    return ir_in(head, 1 - pass_head_weight_at(head));
}

// The Dropout whose result a classifier reads, through changes of shape; NULL: there is none.
static IrNode *find_head_dropout(const IrNode *head) {
    IrNode *n = features_of(head)->def;
    while (n && (n->op == IR_OP_RESHAPE || n->op == IR_OP_COPY))
        n = ir_in(n, 0)->def;
    return n && n->op == IR_OP_DROPOUT ? n : NULL;
}

void pass_add_dropout(PassTrain *t, IrGraph *g) {
    PassHead h;
    IrValue *seed = NULL;
    bool own = t->opt->dropout >= 0 && pass_find_head(g, t->opt->head, &h);
    for (int i = 0; own && i < h.n_nodes; i++) {
        IrNode *old = find_head_dropout(h.nodes[i]);
        if (old) {
            ir_replace_uses(old->out[0], ir_in(old, 0));
            ir_remove_node(old);
        }
        if (t->opt->dropout > 0)
            build_dropout(g, h.nodes[i], features_of(h.nodes[i]), t->opt->dropout, &seed);
    }
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op == IR_OP_DROPOUT && n->n_in == 1)
            build_dropout(g, n, ir_in(n, 0), ir_float(n, IR_ATTR_RATIO, 0.5), &seed);
    }
}
