// The whole import: reads the model, has its graph walked, cleans up, and warns at the end.
#include "frontend/export/retarget.h"
#include "frontend/graph/graph.h"

#include <string.h>

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
    if (!why && !fe->model->graph) {
        why = "it holds no graph";
    }
    const char *kind = why ? fe_describe_file(path, file) : NULL;
    fe_unmap_file(&file);
    if (kind) {
        ir_error(fe->diag, IR_NOWHERE, "not an ONNX model: it is %s", kind);
        return false;
    }
    if (why) {
        ir_error(fe->diag, IR_NOWHERE, "not an ONNX model: %s", why);
        return false;
    }
    fe->pb = fe->model->graph;
    fe->external.path = path;
    fe->external.follow_links = fe->opt->follow_links;
    const Onnx__ModelProto *m = fe->model;
    fe->scope = ir_alloc(fe->arena, sizeof *fe->scope);
    *fe->scope = (FeScope){.pb = fe->pb, .prefix = ""};
    why = fe_read_opset(fe->arena, m->n_opset_import, m->opset_import, &fe->scope->opset);
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

// ---------------------------------------------------------------- the graph

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
