// hone finetune: a model becomes a program that trains it on the user's images.
#include "tools/finetune.h"

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

// The network with any number of images at once, whatever the file declares.
static bool import(Finetune *f) {
    Tool *t = f->tool;
    f->model.onnx = &f->onnx;
    f->model.keep_dropout = true;
    f->prog = tool_import(t, &f->model, NULL);
    if (f->prog && batch_is_fixed(tool_infer_graph(f->prog)) && !f->model.input_shapes.n) {
        const IrValue *x = tool_infer_graph(f->prog)->inputs[0];
        const IrDim *d = x->type.shape.dim;
        f->model.input_shapes.v[f->model.input_shapes.n++] =
            ir_sprintf(t->arena, "%s=Nx%lldx%lldx%lld", x->name, (long long)d[1].c,
                       (long long)d[2].c, (long long)d[3].c);
        f->prog = tool_import(t, &f->model, NULL);
    }
    if (!f->prog)
        return false;
    f->infer = tool_infer_graph(f->prog);
    f->prog->name = f->name;
    if (f->infer->n_outputs > 1) {
        ir_warn(&t->diag, IR_NOWHERE, "only its first output, '%s', is trained",
                f->infer->outputs[0]->name);
        f->infer = ir_extract(f->infer, "first", 0, NULL, 1, f->infer->outputs);
    }
    const IrGraph *g = f->infer;
    if (g->n_inputs != 1 || g->inputs[0]->type.dtype != IR_F32 || batch_is_fixed(g)) {
        ir_error(&t->diag, IR_NOWHERE,
                 "fine-tuning takes a network with one input, 32-bit floats [N,C,H,W]");
        return false;
    }
    return true;
}

// ---------------------------------------------------------------- the program

static void fill_params(Finetune *f, CgTrain *t) {
    HoneParam *p = ir_alloc_array(f->tool->arena, (size_t)f->n_tuned + 1, sizeof *p);
    int64_t *at = ir_alloc_array(f->tool->arena, (size_t)f->n_tuned + 1, sizeof *at);
    for (int i = 0; i < f->n_params; i++) {
        const FtParam *x = &f->params[i];
        if (x->index < 0)
            continue;
        const IrShape *s = &x->konst->type.shape;
        p[x->index] = (HoneParam){.name = x->konst->name,
                                  .node = x->node,
                                  .rank = s->rank,
                                  .group = x->group,
                                  .offset = x->offset,
                                  .count = x->count,
                                  .trains = x->trains,
                                  .fresh = x->fresh};
        for (int k = 0; k < s->rank; k++)
            p[x->index].dim[k] = s->dim[k].c;
        at[x->index] = fe_new_model_find(f->new_model, x->konst->name);
    }
    t->n_params = f->n_tuned;
    t->params = p;
    t->initial_at = at;
}

static void fill_stages(Finetune *f, CgTrain *t) {
    CgTrainStage *s = ir_alloc_array(f->tool->arena, (size_t)f->n_stages, sizeof *s);
    for (int i = 0; i < f->n_stages; i++) {
        const FtStage *x = &f->stage[i];
        s[i] = (CgTrainStage){x->spec,  x->epochs, (float)x->lr, x->features,
                              x->train, x->eval,   x->n_trained, x->n_frozen};
    }
    t->n_stages = f->n_stages;
    t->stages = s;
}

static void write_model(void *model, void *to) {
    fe_new_model_write(model, to);
}

static CgTrain make_tables(Finetune *f) {
    CgTrain t = {.loss = f->binary || f->multi_label ? HONE_LOSS_BCE : HONE_LOSS_CE,
                 .binary = f->binary,
                 .classes = f->classes,
                 .n_groups = f->n_groups,
                 .groups = f->groups,
                 .n_plan = f->n_plan,
                 .plan = f->plan,
                 .param_floats = f->param_floats,
                 .sqsum = f->sqsum,
                 .info = f->info,
                 .onnx_bytes = fe_new_model_bytes(f->new_model),
                 .write_onnx = write_model,
                 .onnx_ctx = f->new_model};
    memcpy(t.opt, f->opt, sizeof t.opt);
    fill_params(f, &t);
    fill_stages(f, &t);
    return t;
}

static bool generate(Finetune *f, CgOptions *o, const char *out, CgResult *cg) {
    Tool *t = f->tool;
    ToolProgress bar;
    o->progress = tool_progress;
    o->progress_ctx = &bar;
    CgTrain tables = make_tables(f);
    tool_progress_start(&bar, "compiling");
    bool ok = cg_compile_train(f->n_graphs, f->graphs, &tables, o, tool_temp_dir(t), cg);
    tool_progress_end(&bar);
    return ok && tool_link_finetune(t, cg, out);
}

static bool build(Finetune *f, CgOptions *o, const ToolOut *out, CgResult *cg) {
    if (!import(f) || !tool_image_options(f->tool, &f->image, f->infer, o))
        return false;
    if (f->n_labels || f->classes) {
        o->labels = f->labels;
        o->n_labels = f->n_labels;
    }
    ft_untie(f);
    if (!ft_replace_head(f) || !ft_make_plan(f))
        return false;
    ft_print_plan(f, stdout);
    fflush(stdout);
    if (!ft_retarget(f, o) || !ft_build_graphs(f))
        return false;
    o->softmax = false;
    ft_share_consts(f);
    return generate(f, o, out->temp, cg);
}

static int run_finetune(Finetune *f) {
    double start = seconds();
    Tool *t = f->tool;
    ToolOut out;
    CgResult cg = {0};
    struct stat st;
    if (!ft_read_options(f) || !tool_out_begin(t, &out, f->out) || !tool_target(t, &f->model))
        return EXIT_INPUT;
    CgOptions o = {.target = &f->model.target,
                   .opt_level = f->model.opt_level,
                   .jobs = f->model.jobs,
                   .producer = TOOL_PRODUCER,
                   .symbol = tool_symbol(t->arena, f->name),
                   .model_hash = tool_model_hash(t, f->model.path)};
    t->diag.file = f->model.path;
    if (!build(f, &o, &out, &cg) || !tool_out_commit(t, &out, true))
        return EXIT_INPUT;
    double mb = stat(f->out, &st) == 0 ? (double)st.st_size / 1e6 : 0;
    fprintf(stderr, "%s: %.1f MB, for %s, %.1f s\n", f->out, mb, f->model.target.cpu,
            seconds() - start);
    if (t->verbose)
        fprintf(stderr, "%d graphs; %d calls of %d kernels, %d barriers; weights %.1f MB\n",
                f->n_graphs, cg.n_calls, cg.n_kernels, cg.n_barriers,
                (double)cg.weights_bytes / 1e6);
    return EXIT_FINE;
}

int cmd_finetune(Tool *t, int argc, char **argv) {
    Finetune f = {.tool = t, .model = TOOL_MODEL_DEFAULT};
    const ToolOpt opts[] = {
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "What to make", 0, 0},
        {"--output", "-o", "OUT", TOOL_TEXT, &f.out, "the program to write; required", 0, 0},
        {"--name", NULL, "NAME", TOOL_TEXT, &f.name, "the model's name, default from the file", 0,
         0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "The classifier", 0, 0},
        {"--classes", NULL, "N|FILE|DIR", TOOL_TEXT, &f.classes_text,
         "how many, a file of labels (one a line), or a folder with one folder per class", 0, 0},
        {"--keep-head", NULL, NULL, TOOL_FLAG, &f.keep_head,
         "the classifier stays: fine-tunes the network as it is", 0, 0},
        {"--head", NULL, "NODE", TOOL_TEXT, &f.head,
         "the node to replace: Gemm, MatMul or Conv; default the last one", 0, 0},
        {"--head-dropout", NULL, "P", TOOL_TEXT, &f.dropout_text,
         "while training, zeroes this share of what the classifier reads; default as in the model",
         0, 0},
        {"--binary", NULL, NULL, TOOL_FLAG, &f.binary, "two classes by one sigmoid", 0, 0},
        {"--multi-label", NULL, NULL, TOOL_FLAG, &f.multi_label,
         "any number of classes per image: a sigmoid each", 0, 0},
        {"--seed", NULL, "N", TOOL_TEXT, &f.seed_text, "of the new classifier's weights", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "What trains", 0, 0},
        {"--freeze", NULL, "SPEC", TOOL_TEXT, &f.freeze, "what does not train; see below", 0, 0},
        {"--stages", NULL, "LIST", TOOL_TEXT, &f.stages_text, "one after the other; see below", 0,
         0},
        {"--unfreeze", NULL, "GLOB", TOOL_LIST, &f.unfreeze,
         "parameters and nodes that train nevertheless, in every stage", 0, 0},
        {"--lr-mult", NULL, "GLOB=X", TOOL_LIST, &f.lr_mult,
         "factor on the learning rate of parameters and nodes; the last match counts", 0, 0},
        {"--bn", NULL, "frozen|train", TOOL_TEXT, &f.bn,
         "unfrozen batch normalization: fixed statistics (default), or the batch's own", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "The model", 0, 0},
        TOOL_MODEL_OPTIONS(f.model),
        {"--threads", NULL, "N", TOOL_INT, &f.threads,
         "the threads that it is expected to run on; any number works. Default all CPUs of this "
         "machine: give it, and --mcpu, for the same bytes on every machine",
         1, 1024},
        {"--verbose", "-v", NULL, TOOL_FLAG, &t->verbose, "more about what was made", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "Images (defaults baked into the program)", 0, 0},
        TOOL_IMAGE_OPTIONS(f.image),
        {0}};
    ToolList rest;
    ToolParse got = tool_parse(argc, argv, opts, &usage, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (rest.n != 1 || !f.out) {
        fprintf(stderr, "hone finetune: give one model and -o OUT; see hone finetune --help\n");
        return EXIT_USAGE;
    }
    f.model.path = rest.v[0];
    f.name = f.name ? f.name : tool_model_name(t, f.model.path);
    return run_finetune(&f);
}
