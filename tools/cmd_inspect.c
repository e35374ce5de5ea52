// hone inspect: what is in a model, what of it cannot be compiled, and what the compiler makes of
// it.
#include "tools/finetune.h"
#include "tools/layer_stats.h"

#include "runtime/core/rt.h"
#include "runtime/file/json.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

typedef struct Refusal {
    const char *node, *op, *reason; // node, op: "" where the reason is no node's
} Refusal;

typedef struct Inspect {
    Tool *tool;
    ToolModel model;
    ToolImage image;
    const char *dot, *picture;
    RtOutFile *dot_file, *picture_file; // NULL: not wanted
    bool compiled, json;
    ToolGradient gradient;
    int threads;
    Finetune *finetune; // NULL: hone compile is asked what it refuses
    int n, cap;
    Refusal *refused;
} Inspect;

static const ToolUsage usage = {
    "hone inspect MODEL.onnx [options] [--finetune [options of hone finetune]]",
    "Prints the table of layers with shapes, parameters and multiply-accumulates (MACs, per "
    "image),\n"
    "and all that hone compile would refuse with these options; with --finetune, hone finetune.\n"
    "The picture shows what was fused. Exit code 1: something is refused.\n",
    "Examples:\n  hone inspect resnet50.onnx\n  hone inspect resnet50.onnx --compiled\n"
    "  hone inspect resnet50.onnx --finetune --classes 10 --stages head:5,none:5\n"
    "  hone inspect resnet50.onnx --picture resnet50.svg      (needs graphviz)\n"};

static void shape_text(const IrValue *v, char *buf, size_t size) {
    ir_type_print(&v->type, buf, size);
}

static void print_count(double x, char *buf, size_t size) {
    if (x >= 1e9)
        snprintf(buf, size, "%.2f G", x / 1e9);
    else if (x >= 1e6)
        snprintf(buf, size, "%.2f M", x / 1e6);
    else if (x >= 1e3)
        snprintf(buf, size, "%.1f k", x / 1e3);
    else
        snprintf(buf, size, x > 0 ? "%.0f  " : "-", x);
}

static void print_table(const IrGraph *g) {
    char name[37], shown[37], text[256], type[256], params[32], macs[32];
    LayerStats total = {0, 0};
    for (int i = 0; i < g->n_inputs; i++) {
        shape_text(g->inputs[i], type, sizeof type);
        printf("input   %s  %s\n", RT_SHOW(g->inputs[i]->name), type);
    }
    printf("\n%-36s %-32s %-32s %10s %10s\n", "node", "layer", "result", "params", "MACs");
    for (const IrNode *n = g->first; n; n = n->next) {
        LayerStats s = layer_stats(n);
        shape_text(n->out[0], type, sizeof type);
        print_count((double)s.params, params, sizeof params);
        print_count(s.macs, macs, sizeof macs);
        printf("%-36s %-32.32s %-32.40s %10s %10s\n",
               rt_clean(layer_name(n, name, sizeof name), shown, sizeof shown),
               layer_text(n, text, sizeof text), type, params, macs);
        total.params += s.params;
        total.macs += s.macs;
    }
    print_count((double)total.params, params, sizeof params);
    print_count(total.macs, macs, sizeof macs);
    printf("\n%d nodes, %s parameters, %s MACs per image\n", g->n_nodes, params, macs);
    for (int i = 0; i < ir_own_outputs(g); i++) {
        shape_text(g->outputs[i], type, sizeof type);
        printf("output  %s  %s\n", RT_SHOW(g->outputs[i]->name), type);
    }
}

static void write_tensors(RtJson *j, const char *what, IrValue *const *v, int n) {
    char type[256];
    rt_json_begin(j, what, '[');
    for (int i = 0; i < n; i++) {
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "name", v[i]->name);
        shape_text(v[i], type, sizeof type);
        rt_json_text(j, "type", type);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

static void write_layers(RtJson *j, const IrGraph *g) {
    char text[256], type[256];
    rt_json_text(j, "model", g->prog->name);
    write_tensors(j, "inputs", g->inputs, g->n_inputs);
    write_tensors(j, "outputs", g->outputs, ir_own_outputs(g));
    rt_json_begin(j, "layers", '[');
    for (const IrNode *n = g->first; n; n = n->next) {
        LayerStats s = layer_stats(n);
        shape_text(n->out[0], type, sizeof type);
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "name", n->name);
        rt_json_text(j, "layer", layer_text(n, text, sizeof text));
        rt_json_text(j, "result", type);
        rt_json_int(j, "params", s.params);
        rt_json_number(j, "macs", s.macs, 17);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

static void write_refused(RtJson *j, const Inspect *c) {
    rt_json_begin(j, "refused", '[');
    for (int i = 0; i < c->n; i++) {
        const Refusal *r = &c->refused[i];
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "node", *r->node ? r->node : NULL);
        rt_json_text(j, "op", *r->op ? r->op : NULL);
        rt_json_text(j, "reason", r->reason);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

// What graphviz draws: the format that a name ends with, and how such a file ends.
static const struct Format {
    const char *name, *end;
} formats[] = {{".svg", "</svg>\n"}, {".png", "IEND\xae\x42\x60\x82"}, {".pdf", "%%EOF\n"}};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static const struct Format *find_format(const char *path) {
    const char *ext = strrchr(path, '.');
    for (int i = 0; ext && i < N_FORMATS; i++)
        if (strcmp(ext, formats[i].name) == 0)
            return &formats[i];
    return NULL;
}

// Graphviz does not look whether what it wrote last reached the disk.
static bool check_whole(Tool *t, const char *path, const char *end) {
    char last[8] = "";
    size_t n = strlen(end);
    FILE *f = fopen(path, "re");
    bool ok = f && fseek(f, -(long)n, SEEK_END) == 0 && fread(last, 1, n, f) == n &&
              memcmp(last, end, n) == 0;
    if (f)
        fclose(f);
    if (!ok)
        ir_error(&t->diag, IR_NOWHERE,
                 "cannot be written: graphviz lost the end of it, as on a "
                 "full disk: No space left on device");
    return ok;
}

static bool write_picture(Tool *t, const Inspect *c, IrGraph *g) {
    RtOutFile *o = c->picture_file;
    const struct Format *format = find_format(c->picture);
    const char *dot = ir_sprintf(t->arena, "%s/graph.dot", tool_temp_dir(t));
    const char *file = tool_out_file(t, o);
    if (!file || !tool_write_temp(t, dot, tool_print_dot, g))
        return false;
    const char *type = ir_sprintf(t->arena, "-T%s", format->name + 1);
    const char *argv[] = {"dot", type, "-o", file, dot, NULL};
    t->diag.file = c->picture;
    return tool_spawn(t, argv) && check_whole(t, file, format->end) && tool_out_take(t, o, file);
}

static bool open_files(Tool *t, Inspect *c) {
    if (c->picture && !find_format(c->picture)) {
        ir_error(&t->diag, IR_NOWHERE, "--picture %s: the name must end in .svg, .png or .pdf",
                 c->picture);
        return false;
    }
    return tool_out_if(t, c->dot, &c->dot_file) && tool_out_if(t, c->picture, &c->picture_file) &&
           tool_reads(t, c->model.path, 0);
}

static bool write_files(Tool *t, const Inspect *c, IrGraph *g) {
    return (!c->dot || tool_print_out(t, c->dot_file, tool_print_dot, g)) &&
           (!c->picture || write_picture(t, c, g)) &&
           tool_out_commit(t, (RtOutFile *[2]){c->dot_file, c->picture_file}, 2) >= 0;
}

// ---------------------------------------------------------------- what is refused

static void print_refused(const Inspect *c) {
    printf("\nit cannot be %s, for %d reason%s:\n", c->finetune ? "fine-tuned" : "compiled", c->n,
           c->n == 1 ? "" : "s");
    for (int i = 0; i < c->n; i++) {
        const Refusal *r = &c->refused[i];
        printf("  %s", RT_SHOW(r->node));
        if (*r->op)
            printf(" (%s)", RT_SHOW(r->op));
        printf("%s%s\n", *r->node || *r->op ? ": " : "", RT_SHOW(r->reason));
    }
}

static void add_refusal(Inspect *c, const char *node, const char *op, const char *reason) {
    IrArena *a = c->tool->arena;
    Refusal r = {ir_strdup(a, node ? node : ""), ir_strdup(a, op ? op : ""), ir_strdup(a, reason)};
    IR_PUSH(a, c->refused, c->n, c->cap, r);
}

static void hear(void *inspect, IrWhere where, const char *reason) {
    add_refusal(inspect, where.node, where.op, reason);
}

static void add_unsupported(Inspect *c, const FeReport *report) {
    for (int i = 0; i < report->n; i++) {
        const FeUnsupported *u = &report->v[i];
        const char *domain = u->domain ? u->domain : "";
        add_refusal(c, u->node,
                    ir_sprintf(c->tool->arena, "%s%s%s, opset %d", domain, *domain ? "." : "",
                               u->op, u->opset),
                    u->reason);
    }
}

// What compile does short of generating code: the same functions, on the same options.
static IrGraph *check_compile(Inspect *c, IrGraph *g) {
    Tool *t = c->tool;
    CgOptions o = {.target = &c->model.target, .symbol = "hone_inspected", .model_hash = ""};
    PassOptions po = tool_pass_options(&c->model);
    po.threads = c->threads ? c->threads : rt_cpus_available();
    po.out = c->json ? stderr : stdout;
    g = tool_plan(t, &c->image, &c->gradient, &po, g, &o);
    if (g && !c->finetune)
        cg_check(g, &o, tool_temp_dir(t));
    return g;
}

// The graph after all passes, NULL where they fail. Errors are heard, those that unwind among them.
static IrGraph *check(Inspect *c, IrGraph *g) {
    IrDiag *d = &c->tool->diag;
    jmp_buf guard, *outer = d->guard;
    IrGraph *volatile compiled = NULL;
    d->listener = hear;
    d->listener_ctx = c;
    d->guard = &guard;
    if (setjmp(guard) == 0) {
        compiled = check_compile(c, g);
        if (c->finetune) {
            c->finetune->model.path = c->model.path;
            finetune_check(c->finetune);
        }
    }
    d->guard = outer;
    d->listener = NULL;
    return compiled;
}

// ---------------------------------------------------------------- the command

static bool is_several(const ToolModel *m) {
    return m->n_targets * m->n_sizes > 1;
}

// JSON appears whole, behind everything that can fail on the way.
static IrGraph *show(Inspect *c, IrGraph *g, bool whole) {
    char *text = NULL;
    size_t size;
    RtJson j = {.f = open_memstream(&text, &size)};
    if (!j.f)
        ir_fatal(&c->tool->diag, IR_NOWHERE, "no memory");
    rt_json_begin(&j, NULL, '{');
    if (is_several(&c->model)) {
        rt_json_text(&j, "cpu", c->model.target.cpu);
        rt_json_text(&j, "input_shape", c->model.sizes[c->model.size].text);
    }
    if (!c->compiled)
        write_layers(&j, g);
    if (!c->compiled && !c->json)
        print_table(g);
    IrGraph *compiled = whole ? check(c, g) : NULL;
    const ToolImage *image = c->finetune ? &c->finetune->image : &c->image;
    if (c->compiled && compiled)
        write_layers(&j, compiled);
    rt_json_text(&j, "classifier", image->classifier);
    write_refused(&j, c);
    rt_json_end(&j, '}');
    fclose(j.f);
    if (c->json)
        printf("%s\n", text);
    free(text);
    if (c->compiled && compiled && !c->json) {
        print_table(compiled);
        passes_print_memory(stdout, compiled, 1);
    }
    if (image->told && !c->json)
        printf("%s\n", RT_SHOW(image->told));
    if (c->n && !c->json)
        print_refused(c);
    return compiled;
}

// What is told of one unit, at the size and machine at hand. False after errors.
static bool inspect_unit(Inspect *c) {
    Tool *t = c->tool;
    FeReport report = {0};
    const FeModel *onnx = NULL;
    c->model.onnx = &onnx;
    t->diag.file = c->model.path;
    IrProgram *p = tool_import(t, &c->model, &report);
    if (!p)
        return false;
    add_unsupported(c, &report);
    tool_take_outputs(&c->model, &c->image, tool_infer_graph(p), onnx);
    if (!c->finetune) // which refuses them
        tool_check_weights(t, tool_infer_graph(p), false);
    IrGraph *g = show(c, tool_infer_graph(p), report.n == 0);
    return !g || write_files(t, c, g);
}

static bool check_one_unit(Tool *t, const Inspect *c) {
    if (is_several(&c->model) && (c->dot || c->picture || c->finetune))
        ir_error(&t->diag, IR_NOWHERE, "%s is of one unit: give one --mcpu and one --input-shape",
                 c->finetune  ? "--finetune"
                 : c->picture ? "--picture"
                              : "--dot");
    return !t->diag.errors;
}

// Every size, for every machine.
static int run_inspect(Tool *t, Inspect *c) {
    ToolModel *m = &c->model;
    int refused = 0;
    if (!open_files(t, c) || !tool_target(t, m) || !check_one_unit(t, c))
        return EXIT_INPUT;
    for (int i = 0; i < m->n_sizes * m->n_targets; i++) {
        m->size = i / m->n_targets;
        m->target = m->targets[i % m->n_targets];
        if (is_several(m) && !c->json)
            printf("%s%s%sfor %s\n\n", i ? "\n" : "", m->sizes[m->size].text,
                   m->sizes[m->size].n ? ", " : "", m->target.cpu);
        if (!inspect_unit(c))
            return EXIT_INPUT;
        refused += c->n;
        c->n = 0;
        t->diag.warned = true;
    }
    return refused ? EXIT_INPUT : EXIT_FINE;
}

// "--finetune" ends our options: what follows is its own.
static int find_finetune(int argc, char **argv) {
    int i = 1;
    while (i < argc && strcmp(argv[i], "--finetune") != 0)
        i++;
    return i;
}

static bool parse_finetune(Inspect *c, int argc, char **argv) {
    ToolList rest;
    if (argc < 1)
        return true;
    c->finetune = ir_alloc(c->tool->arena, sizeof *c->finetune);
    if (c->model.outputs.n > 1) {
        fprintf(stderr, "hone inspect: --finetune takes one --output\n");
        return false;
    }
    c->image.output = c->model.outputs.n ? c->model.outputs.v[0] : NULL;
    c->model.outputs.n = 0;
    *c->finetune = (Finetune){.tool = c->tool, .model = c->model, .image = c->image};
    c->image.output = NULL;
    ToolParse got = finetune_parse(c->finetune, argc, argv, &rest);
    if (got == TOOL_OK && rest.n)
        fprintf(stderr, "hone inspect: --finetune is followed by options, not '%s'\n",
                RT_SHOW(rest.v[0]));
    return got == TOOL_OK && !rest.n;
}

int cmd_inspect(Tool *t, int argc, char **argv) {
    Inspect c = {.tool = t, .model = TOOL_MODEL_DEFAULT};
    const ToolOpt opts[] = {
        {"--compiled", NULL, NULL, TOOL_FLAG, &c.compiled, "the graph after all passes: what runs",
         0, 0},
        {"--dot", NULL, "FILE", TOOL_TEXT, &c.dot, "the compiled graph for Graphviz", 0, 0},
        {"--picture", NULL, "FILE", TOOL_TEXT, &c.picture, "the same drawn: .svg, .png or .pdf", 0,
         0},
        {"--json", NULL, NULL, TOOL_FLAG, &c.json,
         "the table and what is refused, for machines; of several units one a line", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "As hone compile takes them", 0, 0},
        TOOL_PRECISION_OPTION(c.model),
        TOOL_MODEL_OPTIONS(c.model),
        TOOL_THREADS_OPTION(c.threads),
        TOOL_GRADIENT_OPTIONS(c.gradient),
        TOOL_OUTPUTS_OPTION(c.model),
        TOOL_IMAGE_OPTIONS(c.image),
        {0}};
    ToolList rest;
    int own = find_finetune(argc, argv);
    ToolParse got = tool_parse(own, argv, opts, &usage, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (rest.n != 1) {
        fprintf(stderr, "hone inspect: give one model; see hone inspect --help\n");
        return EXIT_USAGE;
    }
    if (!tool_precision("inspect", &c.model, false) || !tool_check_gradient("inspect", &c.gradient))
        return EXIT_USAGE;
    c.model.path = rest.v[0];
    if (!parse_finetune(&c, argc - own, argv + own))
        return EXIT_USAGE;
    return run_inspect(t, &c);
}
