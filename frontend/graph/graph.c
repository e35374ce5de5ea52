// The walk over a graph's nodes: hands each one to its importer (onnx_ops.def), or goes on inside
// the scope that was entered in its place. The only recursion of importing is here.
//
// Invariants: every node is visited once, after the nodes that make its inputs; a node that cannot
// be imported poisons its outputs, so that one cause gives one report and the walk still reaches
// every other node.
#include "frontend/graph/graph.h"

#include <string.h>

// ---------------------------------------------------------------- the operator tables

#define FE_OP(name, importer, ir_op, dims, ...) FeImporter fe_import_##importer;
#include "frontend/import/ms_ops.def"
#include "frontend/import/onnx_ops.def"
#undef FE_OP
FeDimsRule fe_dims_binary, fe_dims_where, fe_dims_cast, fe_dims_product, fe_dims_concat,
    fe_dims_gather, fe_dims_split, fe_dims_slice, fe_dims_squeeze, fe_dims_unsqueeze,
    fe_dims_reshape;
#define fe_dims_none NULL

#define FE_OP(name, importer, ir_op, dims, ...)                                                    \
    {#name, fe_import_##importer, IR_OP_##ir_op, fe_dims_##dims, {__VA_ARGS__}},
static const FeOpInfo onnx_ops[] = {
#include "frontend/import/onnx_ops.def"
    {0},
};
static const FeOpInfo ms_ops[] = {
#include "frontend/import/ms_ops.def"
    {0},
};
#undef FE_OP

static bool is_ms_domain(const Onnx__NodeProto *n) {
    return n->domain && strcmp(n->domain, FE_MS_DOMAIN) == 0;
}

// NULL: the domain has no such operator here, or is none of these.
static const FeOpInfo *find_op(const Onnx__NodeProto *n) {
    const FeOpInfo *op = is_ms_domain(n) ? ms_ops : onnx_ops;
    bool known = is_ms_domain(n) || fe_is_onnx_domain(n->domain);
    while (known && op->name && strcmp(op->name, n->op_type ? n->op_type : "") != 0) {
        op++;
    }
    return known && op->name ? op : NULL;
}

int fe_op_since(const Onnx__NodeProto *n, int opset) {
    const FeOpInfo *info = find_op(n);
    int since = 0;
    if (info && is_ms_domain(n)) {
        return info->since[0];
    }
    for (const int *v = info ? info->since : NULL; v && *v && *v <= opset; v++) {
        since = *v;
    }
    return since;
}

// ---------------------------------------------------------------- nodes

// Kinds of operators that no program compiled ahead of time can have here, by their names' begin.
static const char *describe_unknown(const char *op) {
    static const char *const kinds[][2] = {
        {"SequenceMap", "functions over sequences are not supported"},
        {"Optional", "optional values are not supported"},
        {"String", "strings are not supported"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(op, kinds[i][0], strlen(kinds[i][0])) == 0) {
            return kinds[i][1];
        }
    }
    return "this operator is not supported";
}

static const char *describe_domain(FeContext *fe, const char *domain) {
    const char *but = fe->n_functions ? ", and no function of the model has this name" : "";
    if (strcmp(domain, FE_MS_DOMAIN ".nchwc") == 0) {
        return "operators of the domain '" FE_MS_DOMAIN
               ".nchwc' are laid out for one CPU: save the "
               "optimized model at the level 'extended' (ORT_ENABLE_EXTENDED)";
    }
    return ir_sprintf(
        fe->arena,
        "operators of the domain '%s' are not supported (those of ai.onnx up to opset "
        "%d and of %s, version %d, are)%s",
        domain, FE_MAX_OPSET, FE_MS_DOMAIN, FE_MS_VERSION, but);
}

// The version of com.microsoft that the model imports; FE_MS_VERSION when it says nothing.
static int64_t find_ms_version(const Onnx__ModelProto *m) {
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *domain = m->opset_import[i]->domain;
        if (domain && strcmp(domain, FE_MS_DOMAIN) == 0) {
            return m->opset_import[i]->version;
        }
    }
    return FE_MS_VERSION;
}

static const char *find_reason(FeContext *fe, FeNode *n) {
    const Onnx__NodeProto *pb = n->pb;
    bool ms = is_ms_domain(pb);
    if (!ms && !fe_is_onnx_domain(pb->domain)) {
        return describe_domain(fe, pb->domain);
    }
    int64_t version = ms ? find_ms_version(fe->model) : 0;
    if (ms && version != FE_MS_VERSION) {
        return ir_sprintf(fe->arena, "version %lld of the domain '%s' is not supported (%d is)",
                          (long long)version, FE_MS_DOMAIN, FE_MS_VERSION);
    }
    if (!ms && !fe->scope->opset) {
        return "no opset of the domain ai.onnx is imported";
    }
    n->info = find_op(pb);
    if (!n->info) {
        return ms ? "this operator of the domain '" FE_MS_DOMAIN "' is not supported"
                  : describe_unknown(pb->op_type ? pb->op_type : "");
    }
    n->since = fe_op_since(pb, fe->scope->opset);
    return n->since ? NULL
                    : ir_sprintf(fe->arena, "this operator is supported from opset %d on",
                                 n->info->since[0]);
}

static bool has_poisoned_input(const FeNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] && n->in[i]->poisoned) {
            return true;
        }
    }
    return false;
}

// Outputs that the importer left open are fine unless somebody reads them.
static void finish_outputs(FeNode *n, bool poison) {
    for (int i = 0; i < n->n_out && !poison; i++) {
        FeValue *v = n->out[i];
        if (v && !v->v && !v->tensor && !v->dims && !v->sequence && !v->alias && !n->refused) {
            if (fe_used(n, i)) {
                fe_refuse(n, "its output '%s' (number %d) is not supported", v->name, i);
            }
        }
    }
    for (int i = 0; i < n->n_out && (poison || n->refused); i++) {
        if (n->out[i]) {
            n->out[i]->poisoned = true;
        }
    }
}

// Imports the nodes of the scope that was entered for n, leaves it and makes its outputs n's
// outputs, or goes on as n says.
static void import_scope(FeNode *n) {
    FeContext *fe = n->fe;
    FeScope *s = fe->scope;
    const Onnx__GraphProto *g = s->pb;
    int count = n->then ? (int)g->n_output : n->n_out;
    FeValue **made = ir_alloc_array(fe->arena, (size_t)count + 1, sizeof *made);
    for (int i = 0; i < count && (size_t)i < g->n_output; i++) {
        const char *name = g->output[i]->name;
        bool used = n->then || fe_used(n, i);
        made[i] = (used || n->out[i]) && name ? fe_find_value(fe, name) : NULL;
        if (made[i] && used) {
            made[i]->uses++;
        } else if (!made[i] && used) {
            fe_refuse(n, "its output %d, '%s' inside, is made by no node", i, name ? name : "");
        }
    }
    if (!n->refused && !fe_import_nodes(fe)) {
        n->refused = true; // it is reported
    }
    fe->scope = s->caller;
    n->nested = false;
    if (n->then && !n->refused) {
        n->then(n, made);
        return;
    }
    for (int i = 0; i < n->n_out && !n->refused; i++) {
        if (n->out[i] && made[i]) {
            n->out[i]->alias = made[i];
        }
    }
}

static void import_node(FeContext *fe, size_t index, const FeLink *link) {
    const Onnx__NodeProto *pb = fe->scope->pb->node[index];
    FeNode n = {.fe = fe, .pb = pb, .n_in = (int)pb->n_input, .n_out = (int)pb->n_output};
    n.in = link->in;
    n.out = link->out;
    n.b = (IrBuilder){.graph = fe->graph, .name = fe_node_name(fe, index), .src_op = pb->op_type};
    IrWhere outer = fe->diag->at;
    fe->diag->at = fe_where(&n);
    bool any_dims = false;
    for (int i = 0; i < n.n_in; i++) {
        while (n.in[i] && n.in[i]->alias) {
            n.in[i] = n.in[i]->alias;
        }
        n.in[i] = n.in[i] && n.in[i]->absent ? NULL : n.in[i];
        any_dims |= n.in[i] && n.in[i]->dims;
    }
    const Onnx__FunctionProto *function = fe_find_function(fe, pb);
    const char *reason = function ? NULL : find_reason(fe, &n);
    bool poisoned = has_poisoned_input(&n);
    if (reason) {
        fe_refuse(&n, "%s", reason);
    } else if (function && !poisoned) {
        fe_enter_function(&n, function);
    } else if (!poisoned && fe_check_arity(&n)) {
        IrNode *before = fe->graph->last;
        bool done = any_dims && n.info->dims && n.info->dims(&n);
        if (!done && !n.refused) {
            if (!fe_import_bounded(&n)) {
                n.info->import(&n);
            }
            if (!n.nested) {
                fe_check_sizes(&n, before);
            }
            fe_fold(&n, before);
            fe_settle(&n);
        }
    }
    while (n.nested && !n.refused) {
        import_scope(&n);
    }
    finish_outputs(&n, poisoned || reason);
    fe->diag->at = outer;
}

bool fe_import_nodes(FeContext *fe) {
    int errors = fe->diag->errors;
    FeLink *links = fe_link_nodes(fe);
    int *order = fe->diag->errors == errors ? fe_order_nodes(fe, links) : NULL;
    fe->scope->order = order;
    for (size_t i = 0; order && i < fe->scope->pb->n_node; i++) {
        import_node(fe, (size_t)order[i], &links[order[i]]);
    }
    return order;
}
