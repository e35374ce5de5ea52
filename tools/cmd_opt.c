// hone opt: textual IR through passes, for tests and debugging.
#include "tools/tool.h"

#include <errno.h>
#include <string.h>

static const ToolUsage usage = {
    "hone opt FILE.ir [--passes a,b | --pipeline NAME] [options]",
    "Reads textual IR, runs passes over every graph of it, prints the result. FILE '-' is "
    "standard\n"
    "input. Without --passes: the pipeline's of the -O level. --list-passes shows the names.\n",
    NULL};

static char *read_all(Tool *t, const char *path, size_t *len) {
    if (!tool_reads(t, path, 0))
        return NULL;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!f) {
        ir_error(&t->diag, IR_NOWHERE, "%s", strerror(errno));
        return NULL;
    }
    size_t cap = 1 << 16;
    char *text = ir_alloc(t->arena, cap);
    *len = 0;
    for (size_t n; (n = fread(text + *len, 1, cap - *len - 1, f)) > 0;) {
        *len += n;
        if (*len + 1 == cap) {
            char *more = ir_alloc(t->arena, cap * 2);
            memcpy(more, text, *len);
            text = more;
            cap *= 2;
        }
    }
    bool failed = ferror(f);
    int why = errno;
    if (f != stdin)
        fclose(f);
    if (failed) {
        ir_error(&t->diag, IR_NOWHERE, "cannot read: %s", strerror(why));
        return NULL;
    }
    text[*len] = 0;
    ir_memory_read(&t->diag, (int64_t)*len);
    return text;
}

static bool find_pipeline(const char *name, PassPipeline *in) {
    bool found = passes_find_pipeline(name, in);
    if (!found)
        fprintf(stderr, "hone opt: no pipeline is called '%s'; see --list-passes\n", RT_SHOW(name));
    return found;
}

static bool run_passes(IrProgram *p, const PassOptions *po, const char *names, PassPipeline in) {
    for (int i = 0; i < p->n_graphs; i++) {
        if (!names)
            passes_run(p, p->graphs[i], po, in);
        else if (!passes_run_named(p, p->graphs[i], po, names))
            return false;
    }
    return true;
}

int cmd_opt(Tool *t, int argc, char **argv) {
    ToolModel m = TOOL_MODEL_DEFAULT;
    const char *names = NULL, *pipeline = "infer", *head = NULL, *freeze = NULL;
    int classes = 0, batch = 1;
    int64_t arena = 0;
    ToolList unfreeze = {0}, params = {0};
    bool list = false, no_passes = false;
    const ToolOpt opts[] = {
        {"--passes", NULL, "A,B,C", TOOL_TEXT, &names, "run these, in this order", 0, 0},
        {"--pipeline", NULL, "NAME", TOOL_TEXT, &pipeline, "run this one's, default infer", 0, 0},
        {"--no-passes", NULL, NULL, TOOL_FLAG, &no_passes, "only parse, verify and print", 0, 0},
        {"--list-passes", NULL, NULL, TOOL_FLAG, &list, "names, levels and what they do", 0, 0},
        TOOL_PRECISION_OPTION(m),
        TOOL_MODEL_OPTIONS(m),
        {"--arena", NULL, "SIZE", TOOL_SIZE, &arena, "recompute: what a graph may take", 0, 0},
        {"--batch", NULL, "N", TOOL_INT, &batch, "recompute, schedule: at that batch size, default 1", 1, 1 << 20},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "For replace_head and mark_frozen", 0, 0},
        {"--classes", NULL, "N", TOOL_INT, &classes, "of the new classifier; default: it stays", 1,
         1 << 20},
        {"--head", NULL, "NODE", TOOL_TEXT, &head, "the classifier, default the last one", 0, 0},
        {"--freeze", NULL, "SPEC", TOOL_TEXT, &freeze, "as hone finetune", 0, 0},
        {"--unfreeze", NULL, "GLOB", TOOL_LIST, &unfreeze, "as hone finetune", 0, 0},
        {"--params", NULL, "SPEC", TOOL_LIST, &params, "+GLOB or -GLOB, as hone finetune", 0, 0},
        {0}};
    ToolList rest;
    ToolParse got = tool_parse(argc, argv, opts, &usage, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (list) {
        passes_list(stdout);
        return EXIT_FINE;
    }
    if (rest.n != 1) {
        fprintf(stderr, "hone opt: give one file; see hone opt --help\n");
        return EXIT_USAGE;
    }
    PassPipeline in;
    if (!tool_precision("opt", &m, false) || !find_pipeline(pipeline, &in))
        return EXIT_USAGE;
    size_t len;
    t->diag.file = rest.v[0];
    char *text = tool_one_target(t, &m) ? read_all(t, rest.v[0], &len) : NULL;
    IrProgram *p = text ? ir_parse(t->arena, rest.v[0], text, len) : NULL;
    if (!p)
        return EXIT_INPUT;
    PassOptions po = tool_pass_options(&m);
    po.verify = true;
    PassHeadOptions head_options = {.classes = classes, .node = head};
    PassFreeze freeze_options = {
        freeze ? freeze : "head", unfreeze.n, unfreeze.v, params.n, params.v, NULL, NULL};
    PassRecompute recompute = {.bytes = arena, .batch = batch};
    po.images = batch;
    po.recompute = arena ? &recompute : NULL;
    po.head = &head_options;
    po.freeze = &freeze_options;
    if (!no_passes && !run_passes(p, &po, names, in))
        return EXIT_USAGE;
    ir_print_program(stdout, p);
    return t->diag.errors ? EXIT_INPUT : EXIT_FINE;
}
