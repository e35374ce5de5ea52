// hone finetune: a model becomes a program that trains it on the user's images.
#include "tools/finetune.h"
#include "tools/wheel.h"

#include "runtime/core/rt.h"
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const ToolUsage usage = {
    "hone finetune MODEL.onnx -o OUT --classes 10|labels.txt|FOLDER [options]",
    "Compiles an ONNX network into a program that trains it on images of the user's classes,\n"
    "from the pretrained weights, and writes an ONNX file. OUT train --help tells the rest.\n",
    "What is frozen (--freeze, --stages):\n"
    "  head         only the new classifier trains (default)\n"
    "  none         everything trains\n"
    "  until:NODE   what lies above NODE is frozen; NODE is the name of a node or parameter, or\n"
    "               how such names begin: until:layer4\n"
    "  A,B,...      (--freeze) globs over names of parameters and nodes: these are frozen\n"
    "What is a parameter: every float that the file stores and from which a way with a slope "
    "leads\n"
    "to the loss, through whatever is computed from it, but for\n"
    "  - single numbers that are written as sources write them (0.5, sqrt(8)), unless they are an\n"
    "    operator's weight, bias or slope, or have a module's name (pool.p)\n"
    "  - running statistics of normalizations, also of those written out\n"
    "  - what prepares the image above the first weight: mean and deviation, as layers, too\n"
    "  - masks (0 and 1, or -99 and less), whole and equally spaced numbers (anchors, "
    "grids),\n"
    "    sines, geometric series and distances of positions\n"
    "  - weights that a formula makes: cosine transforms, interpolation, blur, Sobel\n"
    "  - tables of positions that constants are computed from, scales of integers, what only a\n"
    "    weight's norm needs, filters that are the same for every channel, ones and zeros beside\n"
    "    a parameter\n"
    "The plan ends with these, counted by reason. --params says otherwise: +GLOB is a parameter,\n"
    "-GLOB is none, over names of tensors and nodes, the last match counts: --params "
    "'+*gain,-pos*'\n"
    "Stages are SPEC[:EPOCHS[:RATE]], one after the other, each with its own compiled step:\n"
    "  --stages head:5,until:layer4:10:0.001,none:5:lr=0.0001\n\n"
    "Examples:\n"
    "  hone finetune resnet50.onnx -o flowers --classes flowers/ && ./flowers train flowers/\n"
    "  hone finetune resnet50.onnx -o flowers --classes 5 --stages head:3,none:10:0.002 \\\n"
    "      --lr-mult 'conv1*=0.1'\n"};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---------------------------------------------------------------- the model

static bool batch_is_fixed(const IrGraph *g) {
    return g->n_inputs == 1 && g->inputs[0]->type.shape.rank == 4 &&
           g->inputs[0]->type.shape.dim[0].n == 0;
}

// The output that is trained, alone.
static bool take_output(Finetune *f, const PassOptions *po) {
    IrGraph *g = f->infer;
    int k;
    if (!tool_take_head(f, po) || !tool_find_classifier(f->tool, &f->image, g, &k))
        return false;
    f->n_outputs = g->n_outputs;
    if (g->n_outputs > 1)
        f->infer = ir_extract(g, "trained", 0, NULL, 1, &g->outputs[k < 0 ? 0 : k]);
    return true;
}

// The network with any number of images at once, whatever the file declares.
static bool import(Finetune *f, const PassOptions *po) {
    Tool *t = f->tool;
    f->model.onnx = &f->onnx;
    f->model.to_train = true;
    f->prog = tool_import(t, &f->model, NULL);
    if (f->prog && batch_is_fixed(tool_infer_graph(f->prog)) && !f->model.input_shapes.n) {
        const IrValue *x = tool_infer_graph(f->prog)->inputs[0];
        const IrDim *d = x->type.shape.dim;
        f->model.input_shapes.v[f->model.input_shapes.n++] =
            ir_sprintf(t->arena, "%s=Nx%lldx%lldx%lld", x->name, (long long)d[1].c,
                       (long long)d[2].c, (long long)d[3].c);
        f->prog = tool_sizes(t, &f->model) ? tool_import(t, &f->model, NULL) : NULL;
    }
    if (!f->prog)
        return false;
    f->infer = tool_infer_graph(f->prog);
    f->prog->name = f->name;
    if (!take_output(f, po))
        return false;
    const IrGraph *g = f->infer;
    if (g->n_inputs == 1 && batch_is_fixed(g)) {
        ir_error(
            &t->diag, IR_NOWHERE,
            "fine-tuning takes any number of images at once; this network's batch stays at %lld",
            (long long)g->inputs[0]->type.shape.dim[0].c);
        return false;
    }
    if (g->n_inputs != 1 || g->inputs[0]->type.dtype != IR_F32) {
        ir_error(&t->diag, IR_NOWHERE,
                 "fine-tuning takes a network with one input, floats [N,C,H,W]");
        return false;
    }
    return true;
}

// ---------------------------------------------------------------- the program

static const char *input_name(const void *file, const char *node, const char *op, int input) {
    return fe_model_input(file, node, op, input);
}

static bool in_file(const void *file, const char *glob) {
    return fe_model_has_floats(file, glob);
}

static bool is_package(const Finetune *f) {
    return strcmp(f->emit, "python") == 0;
}

// The program, or the package around it.
static bool write_program(Finetune *f, const CgOptions *o, const CgResult *cg) {
    Tool *t = f->tool;
    const char *out = is_package(f) ? ir_sprintf(t->arena, "%s/program", tool_temp_dir(t))
                                    : tool_out_file(t, f->file);
    if (!out || !tool_link_finetune(t, f->is_static ? EMIT_STATIC_EXE : EMIT_EXE, &f->model.target,
                                    cg, out))
        return false;
    if (!is_package(f))
        return tool_out_take(t, f->file, out);
    f->wheel = tool_wheel_name(t, o);
    return tool_write_wheel(t, o, TOOL_WHEEL_TUNER, out, f->file);
}

static bool generate(Finetune *f, const IrTrainProgram *p, const CgTrainFile *file, CgOptions *o,
                     CgResult *cg) {
    Tool *t = f->tool;
    ToolProgress bar;
    o->progress = tool_progress;
    o->progress_ctx = &bar;
    tool_progress_start(&bar, "compiling");
    bool ok =
        cg_compile_train(p, f->model.n_targets, f->model.targets, file, o, tool_temp_dir(t), cg);
    tool_progress_end(&bar);
    t->diag.file = f->out;
    return ok && write_program(f, o, cg);
}

// What trains. NULL after errors.
static IrTrainProgram *plan(Finetune *f, PassOptions *po, CgOptions *o) {
    *po = tool_pass_options(&f->model);
    po->threads = f->threads ? f->threads : rt_cpus_available();
    po->images = f->train.batch;
    if (!import(f, po) || !tool_check_weights(f->tool, f->infer, true) ||
        !tool_image_options(f->tool, &f->image, f->infer, o) ||
        (!o->preprocess.height && !tool_image_arrays(f->tool, f->infer, &o->preprocess)) ||
        !tool_place_head(f, po, o))
        return NULL;
    if (f->n_labels || f->train.classes) {
        o->labels = f->labels;
        o->n_labels = f->n_labels;
    }
    o->scores = HONE_SCORES_LOGITS;
    f->train.input_name = input_name;
    f->train.in_file = in_file;
    f->train.file = f->onnx;
    return pass_train_plan(f->infer, po, &f->train);
}

// The file inside, and the graphs of all stages. False after errors.
static bool make_graphs(Finetune *f, const PassOptions *po, IrTrainProgram *p, CgTrainFile *file,
                        const CgOptions *o) {
    const ToolModel *m = &f->model;
    const IrMachine **machines =
        ir_alloc_array(f->tool->arena, (size_t)m->n_targets, sizeof *machines);
    for (int i = 0; i < m->n_targets; i++)
        machines[i] = &m->targets[i].machine;
    f->train.n_machines = m->n_targets;
    f->train.machines = machines;
    return tool_train_file(f, p, o, file) && tool_check_file(f, p, file, po) &&
           pass_train_graphs(f->infer, po, &f->train, p);
}

static bool check_one_size(Finetune *f) {
    if (f->model.n_sizes > 1)
        ir_error(&f->tool->diag, IR_NOWHERE,
                 "NYI: --input-shape of an input is one here; hone compile takes several");
    return f->model.n_sizes == 1;
}

// The machines that have a unit of some graph
static const char *machines_text(const Finetune *f, const CgResult *cg) {
    const ToolModel *m = &f->model;
    const char *text = "";
    int n = cg->n_units / m->n_targets; // of each
    for (int k = 0; k < m->n_targets; k++) {
        bool stays = false;
        for (int i = k * n; i < (k + 1) * n; i++)
            stays |= cg->same_as[i] == i;
        if (stays)
            text = ir_sprintf(f->tool->arena, "%s%s%s", text, *text ? ", " : "", m->targets[k].cpu);
    }
    return text;
}

// The number of graphs; 0 after errors.
static int build(Finetune *f, CgOptions *o, CgResult *cg) {
    PassOptions po;
    CgTrainFile file;
    IrTrainProgram *p = plan(f, &po, o);
    if (!p)
        return 0;
    tool_print_plan(f->tool->arena, p, f->onnx, stdout);
    tool_print_reading(p, stdout);
    fflush(stdout);
    if (!make_graphs(f, &po, p, &file, o))
        return 0;
    tool_print_training_memory(p, stdout);
    fflush(stdout);
    return generate(f, p, &file, o, cg) ? p->n_graphs : 0;
}

// Of the classes' folder, their images must stay.
static bool open_files(Finetune *f) {
    Tool *t = f->tool;
    f->file = tool_out(t, f->out, is_package(f) ? RT_OUT_WHOLE : RT_OUT_PROGRAM);
    return f->file && tool_reads(t, f->model.path, 0) && tool_reads(t, f->classes_text, 1) &&
           tool_reads(t, f->image.labels, 0);
}

// Of the file, and of what cannot be read from the program's tables: another program is another
// run.
static const char *program_hash(Finetune *f) {
    const char *file = tool_model_hash(f->tool, f->model.path);
    const char *p = f->dropout_text;
    return p ? ir_sprintf(f->tool->arena, "%s-dropout=%.16s", file, p) : file;
}

// Its bytes are read more than once: to be hashed, to be imported, for their tensors.
static bool model_stays(Finetune *f) {
    struct stat st;
    bool is_pipe = stat(f->model.path, &st) == 0 && S_ISFIFO(st.st_mode);
    if (is_pipe)
        ir_error(&f->tool->diag, IR_NOWHERE,
                 "cannot read: it is a pipe, and fine-tuning reads a model more than once");
    return !is_pipe;
}

static int run_finetune(Finetune *f) {
    double start = seconds();
    Tool *t = f->tool;
    CgResult cg = {0};
    if (!tool_read_train_options(f) || !open_files(f) || !tool_target(t, &f->model) ||
        !check_one_size(f) || !tool_can_link(t, &f->model.target))
        return EXIT_INPUT;
    t->diag.file = f->model.path;
    if (!model_stays(f))
        return EXIT_INPUT;
    CgOptions o = {.target = &f->model.target,
                   .opt_level = f->model.opt_level,
                   .jobs = f->model.jobs,
                   .producer = TOOL_PRODUCER,
                   .symbol = tool_symbol(t->arena, f->name),
                   .model_hash = program_hash(f)};
    int n_graphs = build(f, &o, &cg);
    int64_t bytes = n_graphs && tool_models_stay(t) ? tool_out_commit(t, &f->file, 1) : -1;
    if (bytes < 0)
        return EXIT_INPUT;
    fprintf(stderr, "%s: %.1f MB, for %s, %.1f s\n", RT_SHOW(f->out), (double)bytes / 1e6,
            machines_text(f, &cg), seconds() - start);
    tool_print_wheel_name(f->name, f->wheel, f->out);
    if (f->image.told)
        fprintf(stderr, "%s\n", RT_SHOW(f->image.told));
    if (f->image.note)
        fprintf(stderr, "%s\n", RT_SHOW(f->image.note));
    if (t->verbose)
        fprintf(stderr, "%d graphs; %d calls of %d kernels, %d barriers; weights %.1f MB\n",
                n_graphs, cg.n_calls, cg.n_kernels, cg.n_barriers, (double)cg.weights_bytes / 1e6);
    return EXIT_FINE;
}

// clang-format off
#define MEMORY_OPTIONS(o) \
    {NULL, NULL, NULL, TOOL_HEADING, NULL, "Memory", 0, 0}, \
    {"--batch", NULL, "N", TOOL_INT, &(o).batch, "images of a batch where train is not told (default 16)", 1, MAX_BATCH}, \
    {"--memory-limit", NULL, "SIZE", TOOL_SIZE, &(o).memory_limit, \
     "training takes no more, such as 800M, at that batch size: results are computed again rather than kept, where that " \
     "costs least; the same bits", 0, 0}
// clang-format on

ToolParse finetune_parse(Finetune *f, int argc, char **argv, ToolList *rest) {
    const ToolOpt opts[] = {
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "What to make", 0, 0},
        {NULL, "-o", "OUT", TOOL_TEXT, &f->out, "the program to write, - for stdout; required", 0,
         0},
        {"--name", NULL, "NAME", TOOL_TEXT, &f->name, "the model's name, default from the file", 0,
         0},
        {"--emit", NULL, "KIND", TOOL_TEXT, &f->emit,
         "exe (default); python: a wheel with fit(), predict(), evaluate()", 0, 0},
        TOOL_STATIC_OPTION(f->is_static),
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "The classifier", 0, 0},
        {"--classes", NULL, "N|FILE|DIR", TOOL_TEXT, &f->classes_text,
         "how many, a file of labels (one a line), or a folder with one folder per class", 0, 0},
        {"--keep-head", NULL, NULL, TOOL_FLAG, &f->train.keep_head,
         "the classifier stays: fine-tunes the network as it is", 0, 0},
        {"--head", NULL, "NODE", TOOL_TEXT, &f->train.head,
         "the node to replace: the last Gemm, MatMul or Conv above an output, which is "
         "trained then; default that of the output which classifies",
         0, 0},
        {"--head-at", NULL, "NODE|auto", TOOL_TEXT, &f->head_at,
         "the classifier goes behind this node, and what follows goes; auto: to the fully "
         "connected layer where it does best on images of --classes DIR",
         0, 0},
        {"--head-dropout", NULL, "P", TOOL_TEXT, &f->dropout_text,
         "while training, zeroes this share of what the classifier reads; default as in the model",
         0, 0},
        {"--binary", NULL, NULL, TOOL_FLAG, &f->train.binary, "two classes by one sigmoid", 0, 0},
        {"--multi-label", NULL, NULL, TOOL_FLAG, &f->train.multi_label,
         "any number of classes per image: a sigmoid each", 0, 0},
        {"--seed", NULL, "N", TOOL_TEXT, &f->seed_text, "of the new classifier's weights", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "What trains", 0, 0},
        {"--freeze", NULL, "SPEC", TOOL_TEXT, &f->freeze, "what does not train; see below", 0, 0},
        {"--stages", NULL, "LIST", TOOL_TEXT, &f->stages_text, "one after the other; see below", 0,
         0},
        {"--unfreeze", NULL, "GLOB", TOOL_LIST, &f->unfreeze,
         "parameters and nodes that train nevertheless, in every stage", 0, 0},
        {"--params", NULL, "SPEC", TOOL_LIST, &f->params,
         "+GLOB and -GLOB, joined by commas: what is a parameter nevertheless, and what is none", 0,
         0},
        {"--lr-mult", NULL, "GLOB=X", TOOL_LIST, &f->lr_mults,
         "factor on the learning rate of parameters and nodes; the last match counts", 0, 0},
        {"--layer-decay", NULL, "X", TOOL_NUMBER, &f->layer_decay,
         "factor on the learning rate for each block that lies behind, such as 0.75; times "
         "--lr-mult",
         TOOL_ABOVE_0, 1},
        {"--bn", NULL, "frozen|train", TOOL_TEXT, &f->bn,
         "unfrozen batch normalization: fixed statistics (default), or the batch's own", 0, 0},
        MEMORY_OPTIONS(f->train),
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "The model", 0, 0},
        TOOL_PRECISION_OPTION(f->model),
        TOOL_MODEL_OPTIONS(f->model),
        TOOL_THREADS_OPTION(f->threads),
        {"--verbose", "-v", NULL, TOOL_FLAG, &f->tool->verbose, "more about what was made", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "Images (defaults baked into the program)", 0, 0},
        TOOL_CLASSIFIER_OPTION(f->image),
        TOOL_IMAGE_OPTIONS(f->image),
        {0}};
    ToolParse got = tool_parse(argc, argv, opts, &usage, rest);
    return got == TOOL_OK && !tool_precision("finetune", &f->model, false) ? TOOL_WRONG : got;
}

int cmd_finetune(Tool *t, int argc, char **argv) {
    Finetune f = {.tool = t, .model = TOOL_MODEL_DEFAULT, .emit = "exe"};
    ToolList rest;
    ToolParse got = finetune_parse(&f, argc, argv, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (rest.n != 1 || !f.out) {
        fprintf(stderr, "hone finetune: give one model and -o OUT; see hone finetune --help\n");
        return EXIT_USAGE;
    }
    if (strcmp(f.emit, "exe") != 0 && !is_package(&f)) {
        fprintf(stderr, "hone finetune: --emit takes exe or python, not '%s'\n", RT_SHOW(f.emit));
        return EXIT_USAGE;
    }
    f.model.path = rest.v[0];
    f.name = f.name ? f.name : tool_model_name(t, f.model.path);
    return run_finetune(&f);
}

bool finetune_check(Finetune *f) {
    CgOptions o = {.target = &f->model.target, .symbol = "hone_inspected", .model_hash = ""};
    PassOptions po;
    CgTrainFile file;
    f->name = "inspected";
    IrTrainProgram *p =
        tool_read_train_options(f) && tool_one_target(f->tool, &f->model) ? plan(f, &po, &o) : NULL;
    return p && make_graphs(f, &po, p, &file, &o) && cg_check_train(p, &o, tool_temp_dir(f->tool));
}
