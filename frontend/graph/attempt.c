// One import of the model's graph: the batch that the file leaves open stays symbolic, or is taken
// for a number. A model may need several (batch.c), so that refusals are gathered, not reported.
#include "frontend/graph/graph.h"

static void copy_metadata(FeContext *fe) {
    for (size_t i = 0; i < fe->model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *e = fe->model->metadata_props[i];
        IrMeta m = {e->key ? e->key : "", e->value ? e->value : ""};
        IR_PUSH(fe->arena, fe->prog->meta, fe->prog->n_meta, fe->prog->cap_meta, m);
    }
}

static void count_outputs_as_uses(FeContext *fe) {
    for (size_t i = 0; i < fe->pb->n_output; i++) {
        FeValue *v = fe->pb->output[i]->name ? fe_find_value(fe, fe->pb->output[i]->name) : NULL;
        if (v) {
            v->uses++;
        }
    }
}

static void import_graph(FeContext *fe) {
    int errors = fe->diag->errors;
    fe_collect_values(fe);
    if (fe->diag->errors > errors) {
        return;
    }
    fe->doubles = !fe->model->n_functions && fe_keeps_doubles(fe->pb);
    count_outputs_as_uses(fe);
    fe_add_inputs(fe);
    if (fe->diag->errors > errors || !fe_import_nodes(fe)) {
        return;
    }
    fe_add_outputs(fe);
    ir_remove_dead_nodes(fe->graph);
}

bool fe_attempt(const FeContext *base, int64_t batch, FeAttempt *out) {
    FeContext *fe = &out->fe;
    *out = (FeAttempt){.fe = *base};
    int errors = fe->diag->errors;
    fe->refused = &out->refused;
    fe->opening.from = batch;
    fe->scope = ir_alloc(fe->arena, sizeof *fe->scope);
    *fe->scope = *base->scope;
    fe->prog = ir_program_new(fe->arena, fe->pb->name && *fe->pb->name ? fe->pb->name : "model");
    fe->graph = ir_graph_new(fe->prog, "infer");
    fe->prog->const_limit = fe_const_limit(fe);
    copy_metadata(fe);
    import_graph(fe);
    out->failed = fe->diag->errors > errors;
    return !out->failed && out->refused.n == 0;
}
