// What follows the classifier when the number of classes changes: the nodes below it.
//
// Two readings of the numbers: classes that exclude each other (softmax) and labels that do not
// (sigmoid). The file ends in the one that was trained.
#include "frontend/export/retarget_edit.h"

// ---------------------------------------------------------------- targets of Reshape

// `name`, an integer constant with the old number of classes in it, with the new one; NULL: it is
// no such thing.
static const char *follow_ints(FeEdit *r, const char *name) {
    IrTensor x;
    int32_t type;
    if (!fe_edit_read(r, name, &x, &type) || x.rank > 1 ||
        (x.dtype != IR_I64 && x.dtype != IR_I32)) {
        return NULL;
    }
    int64_t len = ir_tensor_elems(&x), bytes = len * ir_dtype_bytes(x.dtype), at = -1;
    for (int64_t k = len; k-- > 0;) { // the first one behind the batch, which may be as many
        bool old = ir_tensor_get(&x, k) == (double)r->what->train->old_logits;
        at = old && (k > 0 || at < 0) ? k : at;
    }
    if (at < 0) {
        return NULL;
    }
    x.data = fe_copy_array(r->arena, x.data, (size_t)bytes, 0, 1);
    ir_tensor_set(&x, at, (double)r->what->train->logits);
    name = fe_edit_new_name(r, "hone.head.shape");
    fe_edit_new_init(r, name, type, x.rank, &len, x.data, bytes);
    return name;
}

// Input `input` of a node is the target of a Reshape, or part of one that Concat and the like put
// together.
static bool follow_target(FeEdit *r, size_t i, size_t input, int depth) {
    static const char *const parts[] = {"Concat", "Cast", "Unsqueeze", "Squeeze", "Identity"};
    const char *old = r->g->node[i]->input[input], *now = follow_ints(r, old);
    int maker = now || depth == 0 ? -1 : fe_edit_find_maker(r, old);
    if (now) {
        fe_edit_set_input(r, i, input, now);
        fe_edit_drop_unread(r, old);
        return true;
    }
    for (size_t k = 0; maker >= 0 && k < sizeof parts / sizeof *parts; k++) {
        const Onnx__NodeProto *n = r->g->node[maker];
        for (size_t j = 0; fe_is_op(n, parts[k]) && j < n->n_input; j++) {
            if (follow_target(r, (size_t)maker, j, depth - 1)) {
                return true;
            }
        }
    }
    return false;
}

// Before version 5 the target is an attribute.
static bool follow_attribute(FeEdit *r, size_t i) {
    const Onnx__NodeProto *n = r->g->node[i];
    for (size_t k = 0; k < n->n_attribute; k++) {
        const Onnx__AttributeProto *old = n->attribute[k];
        size_t at = old->n_ints;
        for (size_t j = old->n_ints; strcmp(fe_text(old->name), "shape") == 0 && j-- > 0;) {
            bool same = old->ints[j] == r->what->train->old_logits;
            at = same && (j > 0 || at == old->n_ints) ? j : at;
        }
        if (at < old->n_ints) {
            Onnx__AttributeProto *a = FE_COPY_OF(r->arena, old);
            Onnx__NodeProto *own = fe_edit_own_node(r, i);
            a->ints = fe_copy_array(r->arena, old->ints, old->n_ints, 0, sizeof *old->ints);
            a->ints[at] = r->what->train->logits;
            own->attribute =
                fe_copy_array(r->arena, n->attribute, n->n_attribute, 0, sizeof *n->attribute);
            own->attribute[k] = a;
            return true;
        }
    }
    return false;
}

// The target's dimensions are 1, copied, or what is left.
static bool is_open(const FeEdit *r, const Onnx__NodeProto *n) {
    IrTensor x;
    int32_t type;
    if (!fe_edit_read(r, n->input[1], &x, &type)) {
        return false;
    }
    for (int64_t k = 0, len = ir_tensor_elems(&x); k < len; k++) {
        double d = ir_tensor_get(&x, k);
        if (d != 0 && d != 1 && d != -1) {
            return false;
        }
    }
    return true;
}

// True: the node works for any number of classes.
static bool follow_reshape(FeEdit *r, size_t i) {
    if (r->what->train->logits == r->what->train->old_logits) {
        return true;
    }
    if (r->g->node[i]->n_input < 2) {
        return follow_attribute(r, i);
    }
    return follow_target(r, i, 1, 4) || is_open(r, r->g->node[i]);
}

// The sizes of a Resize, of all dimensions, channels among them. True: it works for any number.
static bool follow_sizes(FeEdit *r, size_t i) {
    IrTensor x;
    int32_t type;
    const char *sizes = r->g->node[i]->input[3];
    bool all = fe_edit_read(r, sizes, &x, &type) && ir_tensor_elems(&x) == 4;
    return r->what->train->logits == r->what->train->old_logits ||
           (all && follow_target(r, i, 3, 0));
}

// ---------------------------------------------------------------- the last activation

static void set_op(FeEdit *r, size_t i, const char *op) {
    Onnx__NodeProto *n = fe_edit_own_node(r, i);
    n->op_type = ir_strdup(r->arena, op);
    n->n_input = 1;
    n->n_attribute = 0;
}

static void add_axis(FeEdit *r, size_t i, int64_t axis) {
    Onnx__AttributeProto init = ONNX__ATTRIBUTE_PROTO__INIT, *a = FE_COPY_OF(r->arena, &init);
    a->name = ir_strdup(r->arena, "axis");
    a->has_type = a->has_i = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->i = axis;
    r->g->node[i]->attribute = fe_copy_array(r->arena, &a, 1, 0, sizeof a);
    r->g->node[i]->n_attribute = 1;
}

// The numbers that a softmax or its logarithm reads which is spelled out, and ends in node i:
// exp(d) / sum(exp(d)) or d - log(sum(exp(d))), with d = x or x - max(x).
static char *find_logits(const FeEdit *r, const Onnx__NodeProto *n) {
    int e = fe_is_op(n, "Div") ? fe_edit_find_maker(r, n->input[0]) : -1;
    char *d = e >= 0 && fe_is_op(r->g->node[e], "Exp") ? r->g->node[e]->input[0] : n->input[0];
    int shift = fe_edit_find_maker(r, d);
    const Onnx__NodeProto *sub = shift >= 0 ? r->g->node[shift] : NULL;
    int max = sub && fe_is_op(sub, "Sub") ? fe_edit_find_maker(r, sub->input[1]) : -1;
    return max >= 0 && fe_is_op(r->g->node[max], "ReduceMax") ? sub->input[0] : d;
}

static void follow_spelled(FeEdit *r, size_t i) {
    const Onnx__NodeProto *n = r->g->node[i];
    char *logits = find_logits(r, n), *old[2] = {n->input[0], n->input[1]};
    set_op(r, i, "Sigmoid");
    fe_edit_set_input(r, i, 0, logits);
    fe_edit_drop_unread(r, old[0]);
    fe_edit_drop_unread(r, old[1]);
}

// Before opset 13 softmax works on all that lies behind the axis.
static void follow_activation(FeEdit *r, size_t i) {
    const IrTrainProgram *t = r->what->train;
    const Onnx__NodeProto *n = r->g->node[i];
    bool softmax = fe_is_op(n, "Softmax") || fe_is_op(n, "LogSoftmax");
    bool spelled = t->end && n->n_input == 2 && fe_is_op(n, t->end_op) &&
                   (int)i == fe_edit_find_node(r, t->end, t->end_op);
    if (t->loss == IR_LOSS_BCE && softmax) {
        set_op(r, i, "Sigmoid");
    } else if (t->loss == IR_LOSS_BCE && spelled) {
        follow_spelled(r, i);
    } else if (t->loss == IR_LOSS_CE && fe_is_op(n, "Sigmoid") && t->end_axis >= 0) {
        set_op(r, i, "Softmax");
        add_axis(r, i, r->opset < 13 ? 1 : t->end_axis);
    }
}

// ---------------------------------------------------------------- nodes below the classifier

// What works for any number of classes with one operand, by operator.
static const char *const sound_ops[] = {
    "Softmax",   "LogSoftmax", "Sigmoid",   "Hardmax", "Identity",    "Cast",      "Flatten",
    "Squeeze",   "Unsqueeze",  "Transpose", "Dropout", "Clip",        "Relu",      "Exp",
    "Log",       "Neg",        "Abs",       "Sqrt",    "HardSigmoid", "ReduceMax", "ReduceMin",
    "ReduceSum", "ReduceMean", "ArgMax",    "ArgMin"};

static bool is_scalar(const FeEdit *r, const char *name) {
    IrTensor x;
    int32_t type;
    return fe_edit_read(r, name, &x, &type) && x.rank <= 1 && ir_tensor_elems(&x) == 1;
}

// A node that the network does not have: would it work?
static bool is_sound(const FeEdit *r, const Onnx__NodeProto *n) {
    static const char *const binary[] = {"Add", "Sub", "Mul", "Div", "Pow"};
    for (size_t k = 0; k < sizeof sound_ops / sizeof *sound_ops; k++) {
        if (fe_is_op(n, sound_ops[k])) {
            return true;
        }
    }
    for (size_t k = 0; k < sizeof binary / sizeof *binary && n->n_input == 2; k++) {
        if (fe_is_op(n, binary[k])) {
            return is_scalar(r, n->input[0]) || is_scalar(r, n->input[1]);
        }
    }
    return false;
}

// Quantizers were made for the old classifier's numbers: they pass on what they read.
static bool follow_quantizer(FeEdit *r, size_t i) {
    const Onnx__NodeProto *n = r->g->node[i];
    bool to = fe_is_op(n, "QuantizeLinear");
    if (!to && !fe_is_op(n, "DequantizeLinear")) {
        return false;
    }
    bool sound = !to || !fe_edit_is_output(r, n->output[0]);
    size_t n_input = n->n_input;
    set_op(r, i, "Identity");
    for (size_t k = 1; k < n_input; k++) {
        fe_edit_drop_unread(r, n->input[k]);
    }
    return sound;
}

// What the map has for the first of the node's inputs that it knows; NULL: it knows none.
static const void *find_read(const Onnx__NodeProto *n, const IrMap *names) {
    const void *found = NULL;
    for (size_t k = 0; k < n->n_input && !found; k++) {
        found = ir_map_get(names, n->input[k]);
    }
    return found;
}

static void follow_node(FeEdit *r, size_t i) {
    const Onnx__NodeProto *n = r->g->node[i];
    const void *why = find_read(n, &r->unsound);
    bool sound = true;
    for (size_t k = 0; k < n->n_output; k++) {
        *ir_map_put(&r->affected, n->output[k]) = r;
    }
    if (fe_is_op(n, "Reshape")) {
        sound = follow_reshape(r, i) || fe_edit_is_on_path(r, n);
    } else if (fe_is_op(n, "Resize") && n->n_input > 3) {
        sound = follow_sizes(r, i) || fe_edit_is_on_path(r, n);
    } else if (fe_is_op(n, "QuantizeLinear") || fe_is_op(n, "DequantizeLinear")) {
        sound = follow_quantizer(r, i);
    } else {
        follow_activation(r, i);
        sound = fe_edit_is_on_path(r, n) || is_sound(r, n);
    }
    why = why || sound ? why : n;
    for (size_t k = 0; why && k < n->n_output; k++) {
        *ir_map_put(&r->unsound, n->output[k]) = (void *)why;
    }
}

// Nodes need not stand in order: until nothing new is reached. What Shape tells is right for any
// number of classes.
void fe_follow_classes(FeEdit *r) {
    bool more = r->affected.n > 0;
    while (more) {
        more = false;
        for (size_t i = 0; i < r->g->n_node; i++) {
            const Onnx__NodeProto *n = r->g->node[i];
            if (n->n_output && !fe_is_op(n, "Shape") && !ir_map_get(&r->affected, n->output[0]) &&
                find_read(n, &r->affected)) {
                follow_node(r, i);
                more = true;
                i = r->g->n_node; // nodes may have gone
            }
        }
    }
}
