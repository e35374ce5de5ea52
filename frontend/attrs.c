// Attributes of a node, by name, with their type checked. Attributes that no importer asks for are
// ignored: exporters leave in what older opsets had.
#include "frontend/import.h"

#include <string.h>
#include <strings.h>

// What `name` stands for in the function that is being inlined.
static const Onnx__AttributeProto *find_bound(const FeScope *s, const char *name) {
    for (int i = 0; i < s->n_attrs; i++) {
        if (strcmp(s->attrs[i].name, name) == 0) {
            return s->attrs[i].a;
        }
    }
    return NULL;
}

const Onnx__AttributeProto *fe_attr(FeNode *n, const char *name) {
    for (size_t i = 0; i < n->pb->n_attribute; i++) {
        const Onnx__AttributeProto *a = n->pb->attribute[i];
        if (a->name && strcmp(a->name, name) == 0) {
            bool refers = a->ref_attr_name && *a->ref_attr_name;
            return refers ? find_bound(n->fe->scope, a->ref_attr_name) : a;
        }
    }
    return NULL;
}

// The attribute when it has the wanted type; files before IR version 4 may leave the type out.
static const Onnx__AttributeProto *find_typed(FeNode *n, const char *name, int type,
                                              const char *type_name) {
    const Onnx__AttributeProto *a = fe_attr(n, name);
    if (a && a->has_type && (int)a->type != type) {
        fe_refuse(n, "attribute '%s' is not %s", name, type_name);
        return NULL;
    }
    return a;
}

int64_t fe_attr_int(FeNode *n, const char *name, int64_t absent) {
    const Onnx__AttributeProto *a =
        find_typed(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, "an integer");
    return a ? a->i : absent;
}

double fe_attr_float(FeNode *n, const char *name, double absent) {
    const Onnx__AttributeProto *a =
        find_typed(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT, "a number");
    return a ? (double)a->f : absent;
}

const char *fe_attr_str(FeNode *n, const char *name, const char *absent) {
    const Onnx__AttributeProto *a =
        find_typed(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING, "a string");
    if (!a || a->s.len == 0) {
        return a ? "" : absent;
    }
    if (memchr(a->s.data, '\0', a->s.len)) {
        fe_refuse(n, "attribute '%s' holds a NUL byte", name);
        return absent;
    }
    return ir_strndup(n->fe->arena, (const char *)a->s.data, a->s.len);
}

IrInts fe_attr_ints(FeNode *n, const char *name) {
    static int64_t none;
    const Onnx__AttributeProto *a =
        find_typed(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS, "a list of integers");
    if (!a) {
        return (IrInts){0, NULL};
    }
    if (a->n_ints > 4096) {
        fe_refuse(n, "attribute '%s' is too long", name);
        return (IrInts){0, NULL};
    }
    return (IrInts){(int)a->n_ints, a->n_ints ? a->ints : &none};
}

bool fe_cast_target(FeNode *n, IrDtype *out, int32_t *elem) {
    int64_t to = 0;
    if (n->since < 6) {
        const char *name = fe_attr_str(n, "to", "");
        for (int t = 1; t <= FE_MAX_ELEM_TYPE && !to; t++) {
            to = strcasecmp(fe_onnx_type_name(t), name) == 0 ? t : 0;
        }
        to = !to && strcasecmp(name, "float32") == 0 ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT : to;
    } else {
        to = fe_attr_int(n, "to", 0);
    }
    int32_t onnx = to > 0 && to <= FE_MAX_ELEM_TYPE ? (int32_t)to : 0;
    *elem = onnx;
    if (!fe_dtype(onnx, n->fe->doubles, out)) {
        fe_refuse(n, "a cast to element type %lld (%s) is not supported", (long long)to,
                  fe_onnx_type_name(onnx));
        return false;
    }
    return true;
}

bool fe_dims_of(FeNode *n, const char *name, int i, FeDims *out) {
    IrInts v = fe_attr_ints(n, name);
    if (!v.v) {
        return fe_dims(n, i, out);
    }
    *out = (FeDims){IR_I64, 1, v.n, ir_alloc_array(n->fe->arena, (size_t)v.n + 1, sizeof(IrDim))};
    for (int k = 0; k < v.n; k++) {
        out->v[k] = ir_dim(v.v[k]);
    }
    return true;
}

IrInts fe_ints_of(FeNode *n, const char *name, int i) {
    IrInts v = fe_attr_ints(n, name);
    return v.v ? v : fe_ints(n, i);
}

int fe_axis(FeNode *n, int64_t axis, int rank) {
    if (axis < -rank || axis >= rank) {
        fe_refuse(n, "axis %lld is outside a tensor of rank %d", (long long)axis, rank);
        return 0;
    }
    return (int)(axis < 0 ? axis + rank : axis);
}

IrInts fe_axes(FeNode *n, IrInts axes, int rank) {
    bool has[IR_MAX_RANK] = {false};
    for (int i = 0; i < axes.n; i++) {
        int axis = fe_axis(n, axes.v[i], rank);
        if (n->refused) {
            return (IrInts){0, NULL};
        }
        if (has[axis]) {
            fe_refuse(n, "axis %d is named twice", axis);
        }
        has[axis] = true;
    }
    IrInts out = {0, ir_alloc_array(n->fe->arena, IR_MAX_RANK, sizeof(int64_t))};
    for (int i = 0; i < rank; i++) {
        if (has[i]) {
            out.v[out.n++] = i;
        }
    }
    return out;
}
