// Private to frontend/: a model that was read, and one that is to be written. Messages are shared
// between the two until one has to change; then that one is copied, never changed in place.
#ifndef FRONTEND_EXPORT_RETARGET_H
#define FRONTEND_EXPORT_RETARGET_H

#include "frontend/onnx/load.h"
#include "frontend/frontend.h"

typedef struct FeEdge { // an input or output of the graph
    const char *name;
    IrShape shape;
} FeEdge;

struct FeModel {
    const Onnx__ModelProto *pb;
    FeExternal *external;
    int n_edges;
    const FeEdge *edges; // as they were imported
};

typedef struct FeInit {    // an initializer to be written
    Onnx__TensorProto *pb; // all but the numbers
    const void *raw;       // the numbers, when they are written as aligned raw_data
    int64_t raw_bytes;     // -1: pb is written whole
    int64_t at;            // where the numbers stand in the file
    bool fresh;            // not in the model that was read
    bool swapped;          // there, of another shape perhaps
} FeInit;

struct FeNewModel {
    IrArena *arena;
    Onnx__ModelProto *pb;    // without its graph,
    Onnx__GraphProto *graph; // which is written without its initializers:
    int n_init, cap_init;
    FeInit *init;
    int64_t graph_at, graph_bytes, bytes; // of the content of the graph; of all
};

// retarget_write.c
void fe_layout_model(FeNewModel *m); // computes where everything stands
// The whole as one message, which shares the numbers.
const Onnx__ModelProto *fe_new_model_message(IrArena *a, const FeNewModel *m);

#endif
