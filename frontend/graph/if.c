// If whose condition is known: the branch that it takes stands in its place. Exporters write such
// nodes around Squeeze and the like, with conditions that only look at shapes.
#include "frontend/graph/graph.h"

#include <string.h>

// If-16
void fe_import_if(FeNode *n) {
    const IrTensor *cond = fe_tensor(n, 0);
    if (!cond && !n->refused && fe_has(n, 0)) {
        fe_refuse(n, "its condition '%s' must be known at compile time", n->in[0]->name);
    }
    if (!n->refused && (!cond || cond->dtype != IR_BOOL || ir_tensor_elems(cond) != 1)) {
        fe_refuse(n, "its condition is not one bool");
    }
    if (n->refused) {
        return;
    }
    const char *name = ir_tensor_get(cond, 0) != 0 ? "then_branch" : "else_branch";
    const Onnx__AttributeProto *branch = fe_attr(n, name);
    if (!branch || !branch->g) {
        fe_refuse(n, "it has no %s", name);
        return;
    }
    if (branch->g->n_sparse_initializer || branch->g->n_input ||
        branch->g->n_output != (size_t)n->n_out) {
        fe_refuse(n, "its %s must have no inputs and %d outputs", name, n->n_out);
        return;
    }
    FeScope *s = ir_alloc(n->fe->arena, sizeof *s), *outer = n->fe->scope;
    *s = (FeScope){.outer = outer,
                   .pb = branch->g,
                   .opset = outer->opset,
                   .n_attrs = outer->n_attrs,
                   .attrs = outer->attrs};
    fe_enter_scope(n, s);
}
