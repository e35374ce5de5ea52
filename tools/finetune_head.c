// The node that --head names: it says which output is trained, as the classifier of that one. What
// cannot be replaced is refused with the reason, and the nodes that can be.
#include "tools/finetune.h"

#include <string.h>

enum { MOST_HEADS = 16 };

static bool has_node(const IrGraph *g, const char *name) {
    const IrNode *n = g->first;
    while (n && strcmp(n->name, name) != 0)
        n = n->next;
    return n;
}

// "'fc' of the output 'logits', 'aux.fc' of the output 'aux'"; "": none.
static const char *list_heads(Finetune *f, IrGraph *g) {
    const char *list = "";
    for (int i = 0; i < g->n_outputs && i < MOST_HEADS; i++) {
        const IrNode *n = pass_head_above(g, i, NULL);
        if (n)
            list = ir_sprintf(f->tool->arena, "%s%s'%s' of the output '%s'", list,
                              *list ? ", " : "", n->name, g->outputs[i]->name);
    }
    return list;
}

static bool refuse(Finetune *f, IrGraph *g) {
    const char *head = f->train.head, *list = list_heads(f, g);
    bool known = fe_model_has_node(f->onnx, head);
    const char *why = has_node(g, head) ? "it is not the last product by a weight above an output"
                                        : "nothing is left of it: it works on constants alone, "
                                          "changes nothing, or no output depends on it";
    if (!known)
        ir_error(&f->tool->diag, IR_NOWHERE, "--head: no node is called '%s'; %s%s", head,
                 *list ? "there are " : "and none can be replaced", list);
    else if (*list)
        ir_error(&f->tool->diag, IR_NOWHERE, "--head '%s': %s; there are %s", head, why, list);
    return known && !*list; // looking for one says why there is none
}

bool tool_take_head(Finetune *f, const PassOptions *po) {
    const char *head = f->train.head;
    IrGraph *g = f->infer;
    if (!head || f->image.output)
        return true;
    g = ir_extract(g, "seen", 0, NULL, g->n_outputs, g->outputs);
    passes_run(g->prog, g, po, PASS_HEAD);
    for (int i = 0; i < g->n_outputs && i < MOST_HEADS; i++) {
        if (pass_head_above(g, i, head)) {
            f->image.output = g->outputs[i]->name;
            return true;
        }
    }
    return refuse(f, g);
}
