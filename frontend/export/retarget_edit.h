// Private to frontend/: a model while it is changed.
#ifndef FRONTEND_EXPORT_RETARGET_EDIT_H
#define FRONTEND_EXPORT_RETARGET_EDIT_H

#include <string.h>

#include "frontend/export/retarget.h"
#include "ir/map.h"

typedef struct FeEdit {
    IrArena *arena;
    const FeModel *from;
    const FeRetarget *what; // of a tuned model, else NULL
    FeNewModel *to;
    Onnx__GraphProto *g; // to->graph
    int opset;
    IrMap inits;    // name -> FeInit index + 1, as a pointer
    IrMap on_path;  // names of values that the trained output is made of
    IrMap affected; // names of values that follow the new classifier
    IrMap unsound;  // of these, the ones that are made for the old classes: name -> the node
} FeEdit;

static inline void *fe_copy_bytes(IrArena *a, const void *p, size_t n) {
    void *copy = ir_alloc(a, n);
    return n ? memcpy(copy, p, n) : copy;
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

// ---- the whole (retarget_copy.c)

// A copy of the model, with every initializer inside and room for n_meta new metadata_props. Fields
// that are not of one use only are set. False after an error.
bool fe_edit_begin(FeEdit *r, IrArena *a, const FeModel *from, int n_meta);
// Sets or, where its value is NULL, removes one.
void fe_edit_set_meta(FeEdit *r, const IrMeta *m);
FeNewModel *fe_edit_end(FeEdit *r); // NULL after an error: it is too large

// ---- initializers (retarget_init.c)

// The index in to->init of the initializer of that name; -1: none.
int fe_edit_find_init(const FeEdit *r, const char *name);
// Copies one of the model that was read: floats become aligned raw_data, and what lies in other
// files comes in. False after an error.
bool fe_edit_take_init(FeEdit *r, const Onnx__TensorProto *old);
// The parameter of that name, which a Constant node may have made, is an initializer whose numbers
// stand aligned. False after an error.
bool fe_edit_take_param(FeEdit *r, const char *name);
// The initializer `c->name` holds c from now on, as numbers of the ONNX type, whether there was one
// before or not.
void fe_edit_set_init(FeEdit *r, const IrConst *c, int32_t type);
// A new one of `bytes` bytes of numbers, which stay where they are.
void fe_edit_new_init(FeEdit *r, const char *name, int32_t type, int rank, const int64_t *dims,
                      const void *data, int64_t bytes);
// The same content under a new name.
void fe_edit_copy_init(FeEdit *r, int at, const char *name);
void fe_edit_drop_init(FeEdit *r, int at);
// The content and ONNX type of an initializer or of what a Constant node makes; false: it is
// neither.
bool fe_edit_read(const FeEdit *r, const char *name, IrTensor *out, int32_t *type);
// The ONNX type of a value: of an initializer or input, or of what makes it.
int32_t fe_edit_type(const FeEdit *r, const char *name);

// ---- nodes (retarget_edit.c)

// The importer calls a node without a name by its output.
bool fe_has_name(const Onnx__NodeProto *n, const char *name, const char *op);
bool fe_edit_is_on_path(const FeEdit *r, const Onnx__NodeProto *n); // the trained output needs it
// The last node of that name and operator, of those on the path if one is; -1: none.
int fe_edit_find_node(const FeEdit *r, const char *name, const char *op);
int fe_edit_find_maker(const FeEdit *r, const char *name); // the node whose output it is; -1: none
Onnx__NodeProto *fe_edit_own_node(FeEdit *r, size_t i);    // a copy in its place, to be changed
void fe_edit_set_input(FeEdit *r, size_t i, size_t input, const char *name);
bool fe_edit_is_read(const FeEdit *r, const char *name); // by a node or as an output
bool fe_edit_is_output(const FeEdit *r, const char *name);
void fe_edit_drop_node(FeEdit *r, size_t i);

// ---- names (retarget_names.c)

// A name like `name` that nothing has yet.
const char *fe_edit_new_name(const FeEdit *r, const char *name);
void fe_edit_rename(FeEdit *r, const char *old, const char *now); // in all nodes
// Nothing but the graph's own edges may have that name: what has it gets another one, for all its
// readers. False after an error.
bool fe_edit_free_name(FeEdit *r, const char *name);
// What nobody reads any more after its reader took something else: the value, the node that made
// it, and so on upwards.
void fe_edit_drop_unread(FeEdit *r, const char *name);

// ---- what follows the classifier (retarget_follow.c, retarget_outputs.c)

// Of a node that is a product and its sigmoid in one (com.microsoft): two nodes (retarget_fused.c).
void fe_edit_split_sigmoid(FeEdit *r, size_t i);
// What depends on the number of classes below the `affected` values: targets of Reshape, a softmax
// that becomes a sigmoid or the other way round, quantizers, which go.
void fe_follow_classes(FeEdit *r);
// A sigmoid at the end where none stands, other outputs, declared shapes.
void fe_follow_outputs(FeEdit *r);

#endif
