// The edges of the graph: inputs with their shapes (declared, or given by --input-shape) and
// outputs.
//
// Invariants: only the first dimension of an input may be symbolic, and every symbolic one is the
// same N. Inputs and outputs carry the names of the ONNX graph.
#include "frontend/graph/graph.h"
#include "ir/map.h"

#include <string.h>

// ---------------------------------------------------------------- graph inputs

static const FePin *find_pin(FeContext *fe, const char *name, int n_runtime) {
    for (int i = 0; i < fe->opt->n_pins; i++) {
        const FePin *p = &fe->opt->pins[i];
        if (p->input ? strcmp(p->input, name) == 0 : n_runtime == 1) {
            return p;
        }
    }
    return NULL;
}

static const char *pin_text(FeContext *fe, const char *name, int rank, const IrShape *s) {
    const char *text = ir_sprintf(fe->arena, "%s=", name);
    bool in_planes = rank == 4 && s->dim[3].c != 3; // channels come first
    for (int i = 0; i < rank; i++) {
        const char *x = i ? "x" : "";
        text = i == 0 ? ir_sprintf(fe->arena, "%sN", text)
               : s->dim[i].c >= 0
                   ? ir_sprintf(fe->arena, "%s%s%lld", text, x, (long long)s->dim[i].c)
                   : ir_sprintf(fe->arena, "%s%s%d", text, x, i == 1 && in_planes ? 3 : 224);
    }
    return text;
}

// The declared shape with -1 where a dimension is unknown; rank -1 when there is none.
static bool read_declared(FeContext *fe, const Onnx__ValueInfoProto *info, IrShape *out) {
    const Onnx__TypeProto__Tensor *t = info->type->tensor_type;
    out->rank = -1;
    if (!t->shape) {
        return true;
    }
    if (t->shape->n_dim > IR_MAX_RANK) {
        ir_error(fe->diag, IR_NOWHERE, "input '%s' has %zu dimensions, at most %d are supported",
                 info->name, t->shape->n_dim, IR_MAX_RANK);
        return false;
    }
    out->rank = (int)t->shape->n_dim;
    for (int i = 0; i < out->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        bool given = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        bool fixed = given && (d->dim_value > 0 || (d->dim_value == 0 && i > 0));
        out->dim[i] = ir_dim(fixed ? d->dim_value : -1);
        bool unknown = d->dim_value == -1; // as some exporters write it
        if (given && !unknown && (d->dim_value > INT32_MAX || d->dim_value < 0)) {
            ir_error(fe->diag, IR_NOWHERE, "dimension %d of input '%s' is %lld", i, info->name,
                     (long long)d->dim_value);
            return false;
        }
    }
    return true;
}

// The input's batch, fixed to `size`, becomes `to`.
static bool open_input(FeContext *fe, const char *name, int64_t size, int64_t to) {
    FeOpening *o = &fe->opening;
    if (o->from && (o->from != size || o->to != to)) {
        ir_error(fe->diag, IR_NOWHERE,
                 "--input-shape changes the batch of several inputs, which must be equal, before "
                 "and after; that of '%s' is another",
                 name);
        return false;
    }
    o->from = size;
    o->to = to;
    return true;
}

static bool apply_pin(FeContext *fe, const char *name, const FePin *pin, IrShape *s, bool *opens) {
    if (s->rank >= 0 && s->rank != pin->rank) {
        ir_error(fe->diag, IR_NOWHERE,
                 "input '%s' has %d dimensions, --input-shape gives it %d; its form is %s", name,
                 s->rank, pin->rank, pin_text(fe, name, s->rank, s));
        return false;
    }
    for (int i = s->rank < 0 ? 0 : s->rank; i < pin->rank; i++) {
        s->dim[i] = ir_dim(-1);
    }
    s->rank = pin->rank;
    for (int i = 0; i < s->rank; i++) {
        int64_t declared = s->dim[i].c, given = pin->dim[i];
        if (declared >= 0 && declared != given) {
            if (i > 0) {
                ir_error(fe->diag, IR_NOWHERE,
                         "dimension %d of input '%s' is %lld, --input-shape gives it %lld", i, name,
                         (long long)declared, (long long)given);
                return false;
            }
            *opens = true;
        }
        s->dim[i] = ir_dim(*opens && i == 0 ? declared : given);
    }
    return !*opens || open_input(fe, name, s->dim[0].c, pin->dim[0]);
}

static bool resolve_shape(FeContext *fe, const Onnx__ValueInfoProto *info, int n_runtime,
                          IrShape *s, bool *opens) {
    if (!read_declared(fe, info, s)) {
        return false;
    }
    const FePin *pin = find_pin(fe, info->name, n_runtime);
    if (pin && !apply_pin(fe, info->name, pin, s, opens)) {
        return false;
    }
    if (s->rank < 0) {
        ir_error(fe->diag, IR_NOWHERE, "input '%s' has no shape; give --input-shape %s=Nx3x224x224",
                 info->name, info->name);
        return false;
    }
    for (int i = 1; i < s->rank; i++) {
        if (s->dim[i].c < 0) {
            ir_error(fe->diag, IR_NOWHERE,
                     "input '%s' has unknown dimension %d; give --input-shape %s", info->name, i,
                     pin_text(fe, info->name, s->rank, s));
            return false;
        }
    }
    if (s->rank > 0 && s->dim[0].c < 0) {
        s->dim[0] = (IrDim){0, 1};
        fe->opening.symbolic++;
    }
    return true;
}

// The type that the input declares, as --input-shape changes it; false after an error.
static bool resolve_type(FeContext *fe, const Onnx__ValueInfoProto *info, int n_runtime,
                         IrType *type, bool *opens) {
    bool tensor = info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    if (!tensor) {
        ir_error(fe->diag, IR_NOWHERE, "input '%s' is not a tensor", info->name);
        return false;
    }
    int elem = info->type->tensor_type->elem_type;
    if (!fe_dtype(elem, true, &type->dtype)) {
        ir_error(fe->diag, IR_NOWHERE, "input '%s' has element type %s, which is not supported",
                 info->name, fe_onnx_type_name(elem));
        return false;
    }
    return resolve_shape(fe, info, n_runtime, &type->shape, opens);
}

static IrValue *cast_input(FeContext *fe, const char *name, IrValue *x, IrDtype to) {
    IrBuilder b = {.graph = fe->graph, .name = name, .src_op = "input"};
    IrAttr attr = ir_attr_s(IR_ATTR_TO, ir_dtype_name(to));
    return x->type.dtype == to ? x : ir_build(&b, IR_OP_CAST, 1, &x, 1, &attr);
}

// What is symbolic has the size of what is opened.
static void add_input(FeContext *fe, const Onnx__ValueInfoProto *info, IrType type, bool opens) {
    FeValue *v = fe_find_value(fe, info->name);
    int elem = info->type->tensor_type->elem_type;
    if (fe->opening.from && type.shape.rank > 0 && type.shape.dim[0].n) {
        type.shape.dim[0] = ir_dim(fe->opening.from);
        opens = true;
    }
    const char *why = fe_check_type(fe, &type);
    if (why) {
        ir_error(fe->diag, IR_NOWHERE, "input '%s': %s", info->name, why);
        return;
    }
    IrDtype inside, declared = type.dtype;
    if (fe->opt->to_train && ir_dtype_is_float(declared)) {
        type.dtype = IR_F32;
    }
    v->v = ir_input(fe->graph, v->name, type);
    fe->opening.inputs[v->v->input] = opens;
    v->elem = elem;
    v->v = cast_input(fe, v->name, v->v, declared);
    if (fe_dtype(elem, fe->doubles, &inside)) {
        v->v = cast_input(fe, v->name, v->v, inside);
    }
}

// Whether a tensor given by the caller has the element type that the input declares.
static bool has_declared_type(const FeContext *fe, const Onnx__ValueInfoProto *info,
                              const IrTensor *t) {
    bool tensor = info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    IrDtype inside;
    return tensor && fe_dtype(info->type->tensor_type->elem_type, fe->doubles, &inside) &&
           inside == t->dtype;
}

// Marks the inputs whose content the caller knows; returns how many others there are.
static int bind_inputs(FeContext *fe) {
    int n_runtime = 0;
    for (size_t i = 0; i < fe->pb->n_input; i++) {
        FeValue *v = fe_find_value(fe, fe->pb->input[i]->name);
        for (int k = 0; k < fe->opt->n_bound; k++) {
            if (strcmp(fe->opt->bound[k].input, v->name) == 0 &&
                has_declared_type(fe, fe->pb->input[i], &fe->opt->bound[k].tensor)) {
                v->tensor = &fe->opt->bound[k].tensor;
            }
        }
        n_runtime += !v->init && !v->tensor;
    }
    return n_runtime;
}

void fe_add_inputs(FeContext *fe) {
    int n_runtime = bind_inputs(fe);
    size_t n = fe->pb->n_input;
    IrType *type = ir_alloc_array(fe->arena, n + 1, sizeof *type);
    bool *opens = ir_alloc_array(fe->arena, n + 1, sizeof *opens);
    bool *known = ir_alloc_array(fe->arena, n + 1, sizeof *known);
    fe->opening.inputs = ir_alloc_array(fe->arena, n + 1, sizeof *fe->opening.inputs);
    for (size_t i = 0; i < n; i++) {
        FeValue *v = fe_find_value(fe, fe->pb->input[i]->name);
        known[i] = !v->init && !v->tensor &&
                   resolve_type(fe, fe->pb->input[i], n_runtime, &type[i], &opens[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (known[i]) {
            add_input(fe, fe->pb->input[i], type[i], opens[i]);
        }
    }
    for (int i = 0; i < fe->opt->n_pins; i++) {
        const char *name = fe->opt->pins[i].input;
        FeValue *v = name ? fe_find_value(fe, name) : NULL;
        if (!name && n_runtime != 1) {
            ir_error(fe->diag, IR_NOWHERE,
                     "--input-shape needs a name, as in NAME=Nx3x224x224: the model has %d inputs",
                     n_runtime);
        } else if (name && (!v || v->producer >= 0 || v->init)) {
            ir_error(fe->diag, IR_NOWHERE, "--input-shape: the model has no input '%s'", name);
        }
    }
}

// ---------------------------------------------------------------- graph outputs

// A name that no tensor of the model has.
static const char *free_name(FeContext *fe, const char *name, const char *what) {
    const char *text = ir_sprintf(fe->arena, "%s.%s", name, what);
    while (fe_find_value(fe, text)) {
        text = ir_sprintf(fe->arena, "%s_", text);
    }
    return text;
}

// x up to its count, zeros behind; the count becomes an output behind the model's own.
static IrValue *end_bounded(FeNode *n, IrValue *x, FeCount count) {
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, count.axis);
    IrNode *end = n->refused
                      ? NULL
                      : ir_build_node(&n->b, IR_OP_BOUNDED, 2, (IrValue *[]){x, count.v}, 1, &axis);
    if (!end) {
        fe_refuse(n, "%s", n->b.err);
        return NULL;
    }
    FeContext *fe = n->fe;
    end->out[1]->name = free_name(fe, n->b.name, "count");
    IR_PUSH(fe->arena, fe->checks, fe->n_checks, fe->cap_checks, end->out[1]);
    return end->out[0];
}

// The value under the output's name and element type. A value that cannot be renamed (an input, a
// constant, another output) is copied.
static void add_output(FeContext *fe, const Onnx__ValueInfoProto *info) {
    FeValue *v = info->name ? fe_find_value(fe, info->name) : NULL;
    if (!v) {
        ir_error(fe->diag, IR_NOWHERE, "output '%s' is made by no node",
                 info->name ? info->name : "");
        return;
    }
    while (v->alias) {
        v = v->alias;
    }
    if (v->poisoned) {
        return;
    }
    Onnx__NodeProto pb = ONNX__NODE_PROTO__INIT;
    pb.op_type = (char *)"output";
    FeNode n = {.fe = fe, .pb = &pb, .n_in = 1, .in = &v};
    n.b = (IrBuilder){.graph = fe->graph, .name = info->name, .src_op = "output"};
    IrValue *x = fe_operand(&n, 0);
    bool typed = info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    int elem = typed ? info->type->tensor_type->elem_type : 0;
    IrDtype inside, edge;
    if (x && fe_dtype(elem, fe->doubles, &inside) && inside == IR_F32 && x->type.dtype == IR_F32) {
        if (!fe_dtype(elem, true, &edge)) {
            ir_error(fe->diag, IR_NOWHERE,
                     "output '%s' has element type %s, which is not supported", info->name,
                     fe_onnx_type_name(elem));
            return;
        }
        x = fe->opt->to_train ? x : fe_cast(&n, x, edge);
    }
    if (x && v->count) {
        x = end_bounded(&n, x, fe_count(&n, 0));
    } else if (x && (!x->def || x->is_output)) {
        x = fe_un(&n, IR_OP_COPY, x);
    }
    if (x) {
        x->name = info->name;
        ir_output(fe->graph, x);
    }
}

// A program's outputs are asked for by name, so each name stands once: listed again, it is the same
// value.
void fe_add_outputs(FeContext *fe) {
    IrMap names = {.arena = fe->arena};
    for (size_t i = 0; i < fe->pb->n_output; i++) {
        const Onnx__ValueInfoProto *info = fe->pb->output[i];
        void **taken = ir_map_put(&names, info->name ? info->name : "");
        if (*taken) {
            ir_warn(fe->diag, IR_NOWHERE,
                    "output '%s' is listed more than once: it stands once in the program",
                    info->name ? info->name : "");
        } else {
            add_output(fe, info);
        }
        *taken = (void *)info;
    }
    for (int i = 0; i < fe->n_checks; i++) {
        IrValue *v = fe->checks[i];
        v->name =
            v->name ? v->name : free_name(fe, v->def->name, ir_sprintf(fe->arena, "check%d", i));
        ir_output(fe->graph, v);
    }
}
