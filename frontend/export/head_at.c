// The model cut off behind one of its nodes, with a linear classifier there: what hone finetune
// --head-at trains. The node's result, a row of numbers or a picture of them, which is averaged
// over, is all that the new output is made of; what nothing needs any more goes.
//
//   X (node) -> ... -> Gemm -> Softmax -> output     becomes
//   X -> GlobalAveragePool -> Flatten -> MatMul -> Add -> Softmax -> output
#include "frontend/export/retarget_edit.h"

enum { CLASSES = 2 }; // of the classifier that is to be replaced

static Onnx__NodeProto *add_node(FeEdit *r, const char *op, const char *a, const char *b,
                                 const char *output) {
    Onnx__NodeProto init = ONNX__NODE_PROTO__INIT, *n = FE_COPY_OF(r->arena, &init);
    char *in[] = {ir_strdup(r->arena, a), b ? ir_strdup(r->arena, b) : NULL};
    char *out[] = {ir_strdup(r->arena, output)};
    n->op_type = ir_strdup(r->arena, op);
    n->name = ir_sprintf(r->arena, "%s.%s", output, op);
    n->n_input = b ? 2 : 1;
    n->input = fe_copy_array(r->arena, in, n->n_input, 0, sizeof *in);
    n->n_output = 1;
    n->output = fe_copy_array(r->arena, out, 1, 0, sizeof *out);
    r->g->node = fe_copy_array(r->arena, r->g->node, r->g->n_node, 1, sizeof *r->g->node);
    r->g->node[r->g->n_node++] = n;
    return n;
}

static const char *add_zeros(FeEdit *r, const char *role, int64_t rows, int64_t columns) {
    const int64_t dims[] = {rows, columns};
    int64_t count = rows ? rows * columns : columns;
    const char *name = fe_edit_new_name(r, ir_sprintf(r->arena, "hone.head.%s", role));
    fe_edit_new_init(r, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rows ? 2 : 1,
                     rows ? dims : dims + 1, ir_alloc_array(r->arena, (size_t)count, sizeof(float)),
                     count * (int64_t)sizeof(float));
    return name;
}

// The tensor that the node called so makes, or that is called so itself; NULL: there is neither.
static const char *find_tensor(const FeEdit *r, const char *node) {
    for (size_t i = r->g->n_node; i-- > 0;) {
        const Onnx__NodeProto *n = r->g->node[i];
        if (n->n_output && strcmp(fe_text(n->name), node) == 0) {
            return n->output[0];
        }
    }
    return fe_edit_find_maker(r, node) >= 0 ? node : NULL;
}

static const char *end_of(const FeEdit *r, const char *output) {
    int maker = fe_edit_find_maker(r, output);
    const Onnx__NodeProto *n = maker >= 0 ? r->g->node[maker] : NULL;
    return n && (fe_is_op(n, "Softmax") || fe_is_op(n, "Sigmoid")) ? "Softmax" : NULL;
}

// The outputs are one, of a shape that fe_edit_end()'s reader tells.
static void set_output(FeEdit *r, const char *name) {
    Onnx__ValueInfoProto v0 = ONNX__VALUE_INFO_PROTO__INIT, *v = FE_COPY_OF(r->arena, &v0);
    Onnx__TypeProto t0 = ONNX__TYPE_PROTO__INIT;
    Onnx__TypeProto__Tensor x0 = ONNX__TYPE_PROTO__TENSOR__INIT;
    Onnx__GraphProto *g = r->g;
    const char **old = ir_alloc_array(r->arena, g->n_output + 1, sizeof *old);
    size_t n = g->n_output;
    for (size_t i = 0; i < n; i++) {
        old[i] = g->output[i]->name;
    }
    v->name = ir_strdup(r->arena, name);
    v->type = FE_COPY_OF(r->arena, &t0);
    v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    v->type->tensor_type = FE_COPY_OF(r->arena, &x0);
    v->type->tensor_type->has_elem_type = 1;
    v->type->tensor_type->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    g->output[0] = v;
    g->n_output = 1;
    g->n_value_info = 0;
    for (size_t i = 0; i < n; i++) {
        fe_edit_drop_unread(r, old[i]);
    }
}

static bool refuse(const char *why, const FeHeadAt *at, IrArena *a) {
    ir_error(ir_arena_diag(a), IR_NOWHERE, "--head-at '%s': %s", at->node, why);
    return false;
}

static bool put_head(FeEdit *r, const FeHeadAt *at) {
    const char *x = find_tensor(r, at->node);
    if (!x) {
        return refuse("no node of the file is called so", at, r->arena);
    }
    if (r->opset < 7) {
        return refuse("NYI: a classifier in a file of an opset before 7", at, r->arena);
    }
    if (fe_edit_type(r, x) != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) {
        return refuse("NYI: a classifier on numbers that are not float32", at, r->arena);
    }
    const char *end = end_of(r, at->output), *name[4];
    static const char *const steps[] = {"mean", "flat", "scores", "logits"};
    for (int i = 0; i < 4; i++) {
        name[i] = fe_edit_new_name(r, ir_sprintf(r->arena, "hone.head.%s", steps[i]));
    }
    if (at->pools) {
        add_node(r, "GlobalAveragePool", x, NULL, name[0]);
        x = name[0];
    }
    const char *out = fe_edit_new_name(r, "hone.head.output");
    add_node(r, "Flatten", x, NULL, name[1]);
    add_node(r, "MatMul", name[1], add_zeros(r, "weight", at->features, CLASSES), name[2]);
    add_node(r, "Add", name[2], add_zeros(r, "bias", 0, CLASSES), end ? name[3] : out);
    if (end) {
        add_node(r, end, name[3], NULL, out);
    }
    set_output(r, out);
    return true;
}

FeNewModel *fe_model_head_at(IrArena *a, const FeModel *from, const FeHeadAt *at) {
    FeEdit r = {0};
    if (!fe_edit_begin(&r, a, from, 0) || !put_head(&r, at)) {
        return NULL;
    }
    return fe_edit_end(&r);
}
