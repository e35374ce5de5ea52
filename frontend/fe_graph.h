// Private to onnx_*.c: the stages of importing a graph.
#ifndef FRONTEND_FE_GRAPH_H
#define FRONTEND_FE_GRAPH_H

#include "frontend/fe_import.h"

// ---------------------------------------------------------------- onnx_order.c

typedef struct FeLink {  // a node's operands and results
    FeValue **in, **out; // NULL where absent
} FeLink;

FeValue *fe_find_value(FeContext *fe, const char *name); // NULL: no such value
// The node's name, or that of its first output where it has none.
const char *fe_node_name(FeContext *fe, size_t index);
// Fills fe->values; names that are defined twice are reported.
void fe_collect_values(FeContext *fe);
// One link per node; reports inputs that nothing makes.
FeLink *fe_link_nodes(FeContext *fe);
// Indices of the nodes, producers first; NULL after reporting a cycle.
int *fe_order_nodes(FeContext *fe, const FeLink *links);

// ---------------------------------------------------------------- onnx_edges.c

void fe_add_inputs(FeContext *fe);  // after fe_collect_values()
void fe_add_outputs(FeContext *fe); // after all nodes

#endif
