// The whole import: reads the model, and has its graph imported for the batch that it can have.
#include "frontend/export/retarget.h"
#include "frontend/graph/graph.h"

#include <string.h>

static bool unpack_model(FeContext *fe, const char *path) {
    FeFile file;
    const char *why = fe_read_file(fe->arena, path, &file);
    if (why) {
        ir_error(fe->diag, IR_NOWHERE, "%s", why);
        return false;
    }
    fe->model =
        (const Onnx__ModelProto *)fe_unpack(fe->arena, file, &onnx__model_proto__descriptor,
                                            fe_limit(&fe->opt->limits, FE_LIMIT_MEMORY), &why);
    fe->model_bytes = (int64_t)file.size;
    FeStamp stamp = file.stamp;
    if (!why && !fe->model->graph) {
        why = "it holds no graph";
    }
    const char *kind = why ? fe_describe_file(path, file) : NULL;
    fe_free_file(fe->arena, &file);
    if (kind) {
        ir_error(fe->diag, IR_NOWHERE, "not an ONNX model: it is %s", kind);
        return false;
    }
    if (why) {
        ir_error(fe->diag, IR_NOWHERE, "not an ONNX model: %s", why);
        return false;
    }
    fe->external = ir_alloc(fe->arena, sizeof *fe->external);
    *fe->external =
        (FeExternal){.path = path, .stamp = stamp, .follow_links = fe->opt->follow_links};
    return true;
}

static bool begin_model(FeContext *fe) {
    const Onnx__ModelProto *m = fe->model;
    fe->pb = m->graph;
    fe->scope = ir_alloc(fe->arena, sizeof *fe->scope);
    *fe->scope = (FeScope){.pb = fe->pb, .prefix = ""};
    const char *why =
        fe_read_opset(fe->arena, m->n_opset_import, m->opset_import, &fe->scope->opset);
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

static IrProgram *import_model(FeContext *fe) {
    return begin_model(fe) && check_names(fe) && check_size(fe) && fe_choose_outputs(fe)
               ? fe_import_batch(fe)
               : NULL;
}

IrProgram *fe_import(IrArena *a, const char *path, const FeOptions *opt) {
    static const FeOptions defaults;
    FeContext fe = {.arena = a, .diag = ir_arena_diag(a), .opt = opt ? opt : &defaults};
    fe.diag->file = path;
    return unpack_model(&fe, path) ? import_model(&fe) : NULL;
}

IrProgram *fe_new_model_import(IrArena *a, const FeNewModel *m, const FeOptions *opt) {
    FeContext fe = {.arena = a, .diag = ir_arena_diag(a), .opt = opt, .model_bytes = m->bytes};
    fe.external = ir_alloc(a, sizeof *fe.external);
    *fe.external = (FeExternal){.path = "."};
    fe.model = fe_new_model_message(a, m);
    return import_model(&fe);
}
