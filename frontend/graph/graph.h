// Private to frontend/graph/: the steps of importing a graph.
#ifndef FRONTEND_GRAPH_GRAPH_H
#define FRONTEND_GRAPH_GRAPH_H

#include "frontend/import.h"

// ---------------------------------------------------------------- order.c

typedef struct FeLink {  // a node's operands and results
    FeValue **in, **out; // NULL where absent
    size_t n_in;         // the node's inputs, then what its subgraphs read from here
} FeLink;

FeValue *fe_find_value(FeContext *fe, const char *name); // seen from the scope; NULL: none
// The node's name, or that of its first output where it has none.
const char *fe_node_name(FeContext *fe, size_t index);
// Fills the scope's values; names that are defined twice are reported.
void fe_collect_values(FeContext *fe);
// One link per node; reports inputs that nothing makes.
FeLink *fe_link_nodes(FeContext *fe);
// Indices of the nodes, producers first; NULL after reporting a cycle.
int *fe_order_nodes(FeContext *fe, const FeLink *links);

// ---------------------------------------------------------------- scope.c

// Makes s the scope in the place of node n, with its values; false after refusing n. The caller
// has set pb, outer, function, opset and attrs, and may now bind values; the walk imports what is
// inside and leaves the scope.
bool fe_enter_scope(FeNode *n, FeScope *s);
// The same for a graph that is an attribute of n and sees the names around it. guard: FeScope's.
bool fe_enter_subgraph(FeNode *n, const Onnx__GraphProto *g, IrValue *guard);
bool fe_scopes_are_full(const FeContext *fe); // the limit was passed, and that is reported

// ---------------------------------------------------------------- functions.c

void fe_collect_functions(FeContext *fe); // reports those that are defined twice
const Onnx__FunctionProto *fe_find_function(FeContext *fe, const Onnx__NodeProto *n); // or NULL
void fe_enter_function(FeNode *n, const Onnx__FunctionProto *f); // as fe_enter_scope()

// ---------------------------------------------------------------- choose.c

FeValue *fe_follow(FeValue *v); // the value behind its other names; NULL is fine
FeNode fe_with_input(const FeNode *n, FeValue **v); // n, reading *v alone
// What the program takes: a where cond, bool[], holds, else b. NULL after n was refused.
FeValue *fe_choose(FeNode *n, IrValue *cond, FeValue *a, FeValue *b);

// ---------------------------------------------------------------- stack.c

typedef struct FeParts { // what a body made for one output, trip by trip
    int n, cap;
    FeValue **v;
} FeParts;

// Output `out` becomes the parts one behind the other along a new axis, of which `ran`, i64[],
// count; NULL: all. backwards: the last one first. Nothing where nobody reads it.
void fe_stack(FeNode *n, int out, const FeParts *p, int64_t axis, bool backwards, IrValue *ran);

// ---------------------------------------------------------------- doubles.c

bool fe_keeps_doubles(const Onnx__GraphProto *g);

// ---------------------------------------------------------------- outputs.c

// The graph with the outputs that the options ask for, and what they need, in the place of the
// model's; false after reporting what nothing is called.
bool fe_choose_outputs(FeContext *fe);

// ---------------------------------------------------------------- edges.c

void fe_add_inputs(FeContext *fe);  // after fe_collect_values()
void fe_add_outputs(FeContext *fe); // after all nodes

// ---------------------------------------------------------------- graph.c

// Imports the nodes of the scope; false after reporting why it cannot begin.
bool fe_import_nodes(FeContext *fe);
// The version of the node's operator that the opset of ai.onnx means; 0: it has none yet, or is
// unknown.
int fe_op_since(const Onnx__NodeProto *n, int opset);

// ---------------------------------------------------------------- flatten.c

// The model that was walked, with nothing but plain nodes, in order; NULL after an error.
const Onnx__ModelProto *fe_flatten(FeContext *fe);

// ---------------------------------------------------------------- attempt.c, batch.c

typedef struct FeAttempt {
    FeContext fe;
    FeReport refused; // nodes; the program holds what does not depend on them
    bool failed;      // an error was reported
} FeAttempt;

// Imports the graph of the model that `base` has read. batch: what a symbolic one is taken for; 0:
// it stays. False where anything failed or was refused.
bool fe_attempt(const FeContext *base, int64_t batch, FeAttempt *out);

// The program, for any N where that can be told. NULL after errors.
IrProgram *fe_import_batch(const FeContext *base);

#endif
