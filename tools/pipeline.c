// From a model file to a graph: what compile, inspect and verify share.
#include "tools/tool.h"

#include "passes/train/train.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool tool_import_options(Tool *t, ToolModel *m, FeOptions *out) {
    const ToolSize *size = &m->sizes[m->size];
    for (int i = 0; i < m->limit_texts.n; i++) {
        const char *why = fe_parse_limit(t->arena, m->limit_texts.v[i], &m->limits);
        if (why) {
            ir_error(&t->diag, IR_NOWHERE, "--limit: %s", why);
            return false;
        }
    }
    t->memory.raised = m->limits.v[FE_LIMIT_MEMORY];
    if (__builtin_add_overflow(t->memory.raised, m->limits.v[FE_LIMIT_CONSTANTS],
                               &t->memory.raised))
        t->memory.raised = INT64_MAX;
    *out = (FeOptions){.n_pins = size->n,
                       .pins = size->pins,
                       .n_bound = m->n_bound,
                       .bound = m->bound,
                       .keep_training_mode = m->keep_training_mode,
                       .to_train = m->to_train,
                       .n_outputs = m->outputs.n,
                       .outputs = m->outputs.v,
                       .follow_links = m->follow_links,
                       .limits = m->limits,
                       .max_detections = m->max_detections};
    return true;
}

IrProgram *tool_import(Tool *t, ToolModel *m, FeReport *report) {
    FeOptions opt;
    if (!tool_import_options(t, m, &opt))
        return NULL;
    const FeModel *read = NULL;
    opt.report = report;
    opt.model = m->onnx ? m->onnx : &read;
    IrProgram *p = fe_import(t->arena, m->path, &opt);
    const char *path = NULL;
    for (int i = 0; p && (path = fe_model_file(*opt.model, i)); i++)
        if (!tool_reads(t, path, 0))
            return NULL;
    if (p)
        IR_PUSH(t->arena, t->models, t->n_models, t->cap_models, *opt.model);
    return p;
}

bool tool_models_stay(Tool *t) {
    const char *path = NULL;
    for (int i = 0; i < t->n_models && !path; i++)
        path = fe_model_changed(t->models[i]);
    if (path) {
        t->diag.file = NULL;
        ir_error(&t->diag, IR_NOWHERE, "%s: it was changed while it was read", path);
    }
    return !path;
}

bool tool_target(Tool *t, ToolModel *m) {
    t->memory.budget = m->max_memory;
    const char *pass = m->print_after;
    if (pass && strcmp(pass, "all") != 0 && !passes_is_pass(pass)) {
        ir_error(&t->diag, IR_NOWHERE,
                 "--print-after: no pass is called '%s'; see hone opt "
                 "--list-passes",
                 pass);
        return false;
    }
    return tool_targets(t, m) && tool_sizes(t, m);
}

bool tool_one_target(Tool *t, ToolModel *m) {
    if (!tool_target(t, m))
        return false;
    if (m->n_targets * m->n_sizes == 1)
        return true;
    ir_error(&t->diag, IR_NOWHERE, "NYI: %s is one here; hone compile takes several",
             m->n_targets > 1 ? "--mcpu" : "--input-shape of an input");
    return false;
}

bool tool_precision(const char *command, ToolModel *m, bool int8) {
    m->bf16 = strcmp(m->precision, "bf16") == 0;
    if (m->bf16 || strcmp(m->precision, "f32") == 0 || (int8 && strcmp(m->precision, "int8") == 0))
        return true;
    fprintf(stderr, "hone %s: --precision takes f32%s, not '%s'\n", command,
            int8 ? ", bf16 or int8" : " or bf16", RT_SHOW(m->precision));
    return false;
}

static bool all_have_tiles(const ToolModel *m) {
    bool all = ir_has_tiles_of_bf16(&m->target.machine);
    for (int i = 0; i < m->n_targets; i++)
        all = all && ir_has_tiles_of_bf16(&m->targets[i].machine);
    return all;
}

PassOptions tool_pass_options(const ToolModel *m) {
    return (PassOptions){.opt_level = m->opt_level,
                         .block = IR_BLOCK,
                         .machine = &m->target.machine,
                         .keep_values = m->keep_values,
                         .winograd = m->opt_level > 0 && !m->no_winograd,
                         .bf16 = m->bf16,
                         .bf16_tiles = all_have_tiles(m),
                         .print_after = m->print_after,
                         .time_passes = m->time_passes,
                         .arena_limit = fe_limit(&m->limits, FE_LIMIT_ARENA),
#ifndef NDEBUG
                         .verify = true,
#endif
                         .out = stdout};
}

const char *tool_model_name(Tool *t, const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return ir_strndup(t->arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

IrGraph *tool_infer_graph(IrProgram *p) {
    for (int i = 0; i < p->n_graphs; i++)
        if (strcmp(p->graphs[i]->name, "infer") == 0)
            return p->graphs[i];
    ir_bug("tools", NULL, "the program has no graph named infer");
}

// A program that classifies has an output to do it by.
static bool check_classifier(Tool *t, ToolImage *im, const IrGraph *g, const CgOptions *o) {
    if (o->classifier >= 0)
        return true;
    if (im->output) {
        ir_error(&t->diag, IR_NOWHERE,
                 "--output: '%s' is no row of scores for each image; there are: %s", im->output,
                 tool_list_outputs(t, g, -1));
        return false;
    }
    if (im->embeds) {
        im->told = ir_sprintf(t->arena, "what comes out: %s", tool_list_outputs(t, g, -1));
        return true;
    }
    if (o->preprocess.height && o->task.kind == HONE_TASK_CLASS)
        im->note = ir_sprintf(t->arena,
                              "images: none are classified: no output is a row of scores for each "
                              "image, but %s",
                              tool_list_outputs(t, g, -1));
    im->classifier = im->told = NULL;
    return true;
}

bool tool_check_gradient(const char *command, const ToolGradient *want) {
    bool both = want->of_loss && want->inputs.n;
    if (both)
        fprintf(stderr, "hone %s: --emit-gradient and --emit-input-grad are one or the other\n",
                command);
    return !both;
}

IrGraph *tool_prepare(Tool *t, ToolImage *im, const ToolGradient *want, const PassOptions *po,
                      IrGraph *g, CgOptions *o) {
    if (!tool_image_options(t, im, g, o) || !check_classifier(t, im, g, o))
        return NULL;
    if (want->of_loss || want->inputs.n)
        im->note = NULL; // more comes in than images: no program reads that from their files
    if (want->of_loss)
        g = pass_input_grad(po, g, o->classifier < 0 ? 0 : o->classifier);
    if (want->inputs.n && !pass_vjp(po, g, want->inputs.n, want->inputs.v))
        return NULL;
    return g;
}

IrGraph *tool_plan(Tool *t, ToolImage *im, const ToolGradient *want, const PassOptions *po,
                   IrGraph *g, CgOptions *o) {
    g = tool_prepare(t, im, want, po, g, o);
    if (g)
        passes_run(g->prog, g, po, PASS_INFER);
    return g;
}
