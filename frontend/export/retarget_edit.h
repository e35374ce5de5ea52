// Private to retarget*.c: a model while it is changed.
#ifndef FRONTEND_EXPORT_RETARGET_EDIT_H
#define FRONTEND_EXPORT_RETARGET_EDIT_H

#include <string.h>

#include "frontend/export/retarget.h"
#include "ir/map.h"

typedef struct FeEdit {
    IrArena *arena;
    const FeModel *from;
    const FeRetarget *what;
    FeNewModel *to;
    Onnx__GraphProto *g; // to->graph
    IrMap inits;         // name -> FeInit index + 1, as a pointer
    IrMap affected;      // names of values whose shape follows the number of classes
    int n_shapes;        // constants made for Reshape
} FeEdit;

static inline void *fe_copy_bytes(IrArena *a, const void *p, size_t n) {
    return memcpy(ir_alloc(a, n), p, n);
}
#define FE_COPY_OF(a, p) fe_copy_bytes(a, p, sizeof *(p))

static inline const char *fe_text(const char *s) { // of an optional field
    return s ? s : "";
}

static inline bool fe_is_op(const Onnx__NodeProto *n, const char *op) {
    return strcmp(fe_text(n->op_type), op) == 0;
}

static inline void *fe_copy_array(IrArena *a, const void *v, size_t n, size_t room, size_t size) {
    char *copy = ir_alloc_array(a, n + room + 1, size);
    if (n) {
        memcpy(copy, v, n * size);
    }
    return copy;
}

// ---- initializers (retarget_edit.c)

// The index in to->init of the initializer of that name; -1: none.
int fe_edit_find_init(const FeEdit *r, const char *name);
// Copies one of the model that was read: floats become aligned raw_data, and what lies in other
// files comes in. False after an error.
bool fe_edit_take_init(FeEdit *r, const Onnx__TensorProto *old);
// The initializer `c->name` holds c from now on, whether there was one before or not.
void fe_edit_set_init(FeEdit *r, const IrConst *c);
// Where an Identity makes the tensor c->name, or, of what trains, a Constant node of 32-bit floats,
// an initializer of that name takes its place.
void fe_edit_take_constant(FeEdit *r, const IrConst *c, bool trains);
// A new one of `bytes` bytes of numbers, which stay where they are.
void fe_edit_new_init(FeEdit *r, const char *name, int32_t type, int rank, const int64_t *dims,
                      const void *data, int64_t bytes);

// ---- nodes (retarget_edit.c)

// The last node of that name and operator; the importer calls a node without a name by its output.
// -1: none.
int fe_edit_find_node(const Onnx__GraphProto *g, const char *name, const char *op);
int fe_edit_find_maker(const FeEdit *r, const char *name); // the node whose output it is; -1: none
Onnx__NodeProto *fe_edit_own_node(FeEdit *r, size_t i);    // a copy in its place, to be changed
void fe_edit_set_input(FeEdit *r, size_t i, size_t input, const char *name);
bool fe_edit_is_read(const FeEdit *r, const char *name); // by a node or as an output
void fe_edit_drop_node(FeEdit *r, size_t i);
// What nobody reads any more after its reader took something else: the value, the node that made
// it, and so on upwards.
void fe_edit_drop_unread(FeEdit *r, const char *name);

// ---- what follows the classifier (retarget_follow.c)

// What depends on the number of classes below the `affected` values: targets of Reshape, a softmax
// that becomes a sigmoid or a sigmoid at the end, shapes of inputs, outputs and values between.
void fe_follow_classes(FeEdit *r);

#endif
