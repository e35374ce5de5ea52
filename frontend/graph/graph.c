// The whole import: reads the model, walks its nodes in order and hands each one to its importer
// (onnx_ops.def), then cleans up.
//
// Invariants: every node is visited once, after the nodes that make its inputs; a node that cannot
// be imported poisons its outputs, so that one cause gives one report and the walk still reaches
// every other node.
#include "frontend/graph/graph.h"
#include "frontend/export/retarget.h"

#include <string.h>

// ---------------------------------------------------------------- the operator table

#define FE_OP(name, importer, ir_op, dims, ...) FeImporter fe_import_##importer;
#include "frontend/import/onnx_ops.def"
#undef FE_OP
FeDimsRule fe_dims_binary, fe_dims_where, fe_dims_cast, fe_dims_product, fe_dims_concat,
    fe_dims_gather, fe_dims_split, fe_dims_slice, fe_dims_squeeze, fe_dims_unsqueeze,
    fe_dims_reshape;
#define fe_dims_none NULL

static const FeOpInfo op_table[] = {
#define FE_OP(name, importer, ir_op, dims, ...)                                                    \
    {#name, fe_import_##importer, IR_OP_##ir_op, fe_dims_##dims, {__VA_ARGS__}},
#include "frontend/import/onnx_ops.def"
#undef FE_OP
};

static const FeOpInfo *find_op(const char *name) {
    for (size_t i = 0; i < sizeof op_table / sizeof op_table[0]; i++) {
        if (strcmp(op_table[i].name, name) == 0) {
            return &op_table[i];
        }
    }
    return NULL;
}

bool fe_is_onnx_domain(const char *domain) {
    return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

// ---------------------------------------------------------------- nodes

// Kinds of operators that no program compiled ahead of time can have here, by their names' begin.
static const char *describe_unknown(const char *op) {
    static const char *const kinds[][2] = {
        {"Loop", "loops are not supported: unroll them before export"},
        {"Scan", "loops are not supported: unroll them before export"},
        {"Sequence", "sequences are not supported"},
        {"ConcatFromSequence", "sequences are not supported"},
        {"SplitToSequence", "sequences are not supported"},
        {"Optional", "optional values are not supported"},
        {"String", "strings are not supported"},
        {"GRU", "recurrent networks are not supported"},
        {"LSTM", "recurrent networks are not supported"},
        {"RNN", "recurrent networks are not supported"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(op, kinds[i][0], strlen(kinds[i][0])) == 0) {
            return kinds[i][1];
        }
    }
    return "this operator is not supported";
}

static const char *find_reason(FeContext *fe, FeNode *n) {
    const Onnx__NodeProto *pb = n->pb;
    const char *op = pb->op_type ? pb->op_type : "";
    if (!fe_is_onnx_domain(pb->domain)) {
        const char *but = fe->n_functions ? ", and no function of the model has this name" : "";
        return ir_sprintf(fe->arena, "operators of the domain '%s' are not supported%s", pb->domain,
                          but);
    }
    if (!fe->scope->opset) {
        return "no opset of the domain ai.onnx is imported";
    }
    n->info = find_op(op);
    if (!n->info) {
        return describe_unknown(op);
    }
    for (const int *v = n->info->since; *v && *v <= fe->scope->opset; v++) {
        n->since = *v;
    }
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
        if (v && !v->v && !v->tensor && !v->dims && !v->alias && !n->refused) {
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

static void import_node(FeContext *fe, size_t index, const FeLink *link) {
    const Onnx__NodeProto *pb = fe->scope->pb->node[index];
    FeNode n = {.fe = fe, .pb = pb, .n_in = (int)pb->n_input, .n_out = (int)pb->n_output};
    n.in = link->in;
    n.out = link->out;
    n.b = (IrBuilder){.graph = fe->graph, .name = fe_node_name(fe, index), .src_op = pb->op_type};
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
        fe_call_function(&n, function);
    } else if (!poisoned && fe_check_arity(&n)) {
        IrNode *before = fe->graph->last;
        bool done = any_dims && n.info->dims && n.info->dims(&n);
        if (!done && !n.refused) {
            n.info->import(&n);
            if (!n.nested) {
                fe_check_sizes(&n, before);
            }
            fe_fold(&n, before);
        }
    }
    finish_outputs(&n, poisoned || reason);
}

// ---------------------------------------------------------------- clean-up

static bool is_dead(const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        if (n->out[i]->n_uses > 0 || n->out[i]->is_output) {
            return false;
        }
    }
    return true;
}

static void remove_dead_nodes(IrGraph *g) {
    for (IrNode *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        if (is_dead(n)) {
            ir_remove_node(n);
        }
    }
}

// Shapes, folded operands and the like need not be kept.
static void remove_unused_consts(IrProgram *p, IrGraph *g) {
    int n = 0;
    for (int i = 0; i < p->n_consts; i++) {
        if (ir_const_value(g, p->consts[i])->n_uses > 0) {
            p->consts[n++] = p->consts[i];
        }
    }
    p->n_consts = n;
}

static void warn_at_end(FeContext *fe) {
    if (fe->bn_switched + fe->dropout_switched > 0) {
        ir_warn(fe->diag, IR_NOWHERE,
                "exported for training: %d BatchNormalization and %d Dropout nodes are switched to "
                "inference (--keep-training-mode keeps them)",
                fe->bn_switched, fe->dropout_switched);
    }
    if (fe->batch_rewrites > 0) {
        ir_warn(fe->diag, IR_NOWHERE,
                "exported for batch size %lld: %d Reshape targets now follow --input-shape",
                (long long)fe->old_batch, fe->batch_rewrites);
    }
}

// ---------------------------------------------------------------- the whole file

const char *fe_read_opset(FeContext *fe, size_t n, Onnx__OperatorSetIdProto *const *imports,
                          int *out) {
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if (fe_is_onnx_domain(imports[i]->domain)) {
            int64_t v = imports[i]->version;
            if (v < FE_MIN_OPSET || v > FE_MAX_OPSET) {
                return ir_sprintf(fe->arena, "opset %lld is not supported (%d to %d are)",
                                  (long long)v, FE_MIN_OPSET, FE_MAX_OPSET);
            }
            *out = (int)v;
            return NULL;
        }
    }
    return NULL;
}

static bool read_model(FeContext *fe, const char *path) {
    FeFile file;
    const char *why = fe_map_file(fe->arena, path, &file);
    if (why) {
        ir_error(fe->diag, IR_NOWHERE, "%s", why);
        return false;
    }
    fe->model =
        (const Onnx__ModelProto *)fe_unpack(fe->arena, file, &onnx__model_proto__descriptor,
                                            fe_limit(&fe->opt->limits, FE_LIMIT_MEMORY), &why);
    fe->model_bytes = (int64_t)file.size;
    fe_unmap_file(&file);
    if (!why && !fe->model->graph) {
        why = "it holds no graph";
    }
    if (why) {
        ir_error(fe->diag, IR_NOWHERE, "not an ONNX model: %s", why);
        return false;
    }
    fe->pb = fe->model->graph;
    const char *slash = strrchr(path, '/');
    fe->external.dir = !slash          ? "."
                       : slash == path ? "/"
                                       : ir_strndup(fe->arena, path, (size_t)(slash - path));
    const Onnx__ModelProto *m = fe->model;
    fe->scope = ir_alloc(fe->arena, sizeof *fe->scope);
    *fe->scope = (FeScope){.pb = fe->pb, .prefix = ""};
    why = fe_read_opset(fe, m->n_opset_import, m->opset_import, &fe->scope->opset);
    if (why) {
        ir_error(fe->diag, IR_NOWHERE, "%s", why);
        return false;
    }
    if (!m->n_opset_import && m->ir_version < 3) { // imports came with IR version 3
        fe->scope->opset = 1;
    }
    int errors = fe->diag->errors;
    fe_collect_functions(fe);
    return fe->diag->errors == errors;
}

static bool check_names(FeContext *fe) {
    const Onnx__GraphProto *g = fe->pb;
    for (size_t i = 0; i < g->n_input; i++) {
        if (!g->input[i]->name || !*g->input[i]->name) {
            ir_error(fe->diag, IR_NOWHERE, "input %zu of the graph has no name", i);
            return false;
        }
    }
    if (g->n_sparse_initializer) {
        ir_error(fe->diag, IR_NOWHERE, "sparse initializers are not supported");
        return false;
    }
    if (!g->n_output) {
        ir_error(fe->diag, IR_NOWHERE, "the graph has no output");
        return false;
    }
    return true;
}

static bool check_size(FeContext *fe) {
    int64_t most = fe_limit(&fe->opt->limits, FE_LIMIT_NODES);
    if ((uint64_t)fe->pb->n_node > (uint64_t)most) {
        ir_error(fe->diag, IR_NOWHERE,
                 "the graph has %zu nodes, more than %lld (--limit nodes=N raises it)",
                 fe->pb->n_node, (long long)most);
        return false;
    }
    return true;
}

static void copy_metadata(FeContext *fe) {
    for (size_t i = 0; i < fe->model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *e = fe->model->metadata_props[i];
        IrMeta m = {e->key ? e->key : "", e->value ? e->value : ""};
        IR_PUSH(fe->arena, fe->prog->meta, fe->prog->n_meta, fe->prog->cap_meta, m);
    }
}

bool fe_import_nodes(FeContext *fe) {
    int errors = fe->diag->errors;
    FeLink *links = fe_link_nodes(fe);
    int *order = fe->diag->errors == errors ? fe_order_nodes(fe, links) : NULL;
    for (size_t i = 0; order && i < fe->scope->pb->n_node; i++) {
        import_node(fe, (size_t)order[i], &links[order[i]]);
    }
    return order;
}

static void import_graph(FeContext *fe) {
    int errors = fe->diag->errors;
    fe_collect_values(fe);
    if (fe->diag->errors > errors) {
        return;
    }
    fe->doubles = !fe->model->n_functions && fe_keeps_doubles(fe->pb);
    for (size_t i = 0; i < fe->pb->n_output; i++) {
        FeValue *v = fe->pb->output[i]->name ? fe_find_value(fe, fe->pb->output[i]->name) : NULL;
        if (v) {
            v->uses++;
        }
    }
    fe_add_inputs(fe);
    if (fe->diag->errors > errors || !fe_import_nodes(fe)) {
        return;
    }
    fe_add_outputs(fe);
    remove_dead_nodes(fe->graph);
    remove_unused_consts(fe->prog, fe->graph);
}

IrProgram *fe_import(IrArena *a, const char *path, const FeOptions *opt) {
    static const FeOptions defaults;
    FeContext fe = {.arena = a, .diag = ir_arena_diag(a), .opt = opt ? opt : &defaults};
    int errors = fe.diag->errors;
    fe.diag->file = path;
    if (!read_model(&fe, path) || !check_names(&fe) || !check_size(&fe)) {
        return NULL;
    }
    fe.prog = ir_program_new(a, fe.pb->name && *fe.pb->name ? fe.pb->name : "model");
    fe.graph = ir_graph_new(fe.prog, "infer");
    fe.prog->const_limit = fe_const_limit(&fe);
    copy_metadata(&fe);
    import_graph(&fe);
    if (fe.diag->errors > errors) {
        return NULL;
    }
    warn_at_end(&fe);
    if (fe.opt->model) {
        FeModel *m = ir_alloc(a, sizeof *m);
        *m = (FeModel){fe.model, fe.external};
        *fe.opt->model = m;
    }
    // A report may have listed whatever made the outputs.
    const char *wrong = fe.graph->n_outputs ? ir_verify(fe.graph) : NULL;
    if (wrong) {
        ir_bug("frontend", NULL, "%s", wrong);
    }
    return fe.prog;
}
