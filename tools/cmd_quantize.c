// hone quantize: a float model becomes one in eight bits, as ONNX.
#include "tools/quantize.h"

#include <string.h>
#include <sys/uio.h>
#include <time.h>

static const ToolUsage usage = {
    "hone quantize MODEL.onnx -o Q.onnx --calibrate FOLDER [options]",
    "Writes the model with its convolutions and matrix products in eight bits: standard ONNX with\n"
    "QuantizeLinear and DequantizeLinear, which any runtime loads. Activations are u8 with a "
    "scale\n"
    "and zero point per tensor, weights s8 with a scale per output channel. Ranges are taken from\n"
    "the images in FOLDER, .jpg, .jpeg, .png and .webp at any depth, at least 8; some hundred are "
    "good.\n"
    "With --eval the outputs are compared with those of the float model: by labels where the "
    "folder\n"
    "has them (a folder per class, as for hone finetune), else by agreement; with --max-drop the\n"
    "layers that are noisiest stay float until that is met, or with --precision bf16 are bf16\n"
    "where the model is compiled so, or f32 where that is not enough.\n",
    "Examples:\n"
    "  hone quantize resnet50.onnx -o q.onnx --calibrate photos/ && hone compile q.onnx -o "
    "resnet50\n"
    "  hone quantize net.onnx -o q.onnx --calibrate photos/ --eval val/ --max-drop 0.01\n"};

typedef struct Command {
    Quantize q;
    const char *out, *method;
    bool json;
} Command;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_model(FILE *f, void *bytes) {
    const struct iovec *v = bytes;
    fwrite(v->iov_base, 1, v->iov_len, f);
}

static bool write_model(Command *c, RtOutFile *file) {
    Tool *t = c->q.tool;
    FeNewModel *m = quant_model(&c->q, t->arena, NULL);
    if (!m)
        return false;
    struct iovec v = {.iov_len = (size_t)fe_new_model_bytes(m)};
    v.iov_base = ir_alloc(t->arena, v.iov_len);
    fe_new_model_write(m, v.iov_base);
    return tool_print_out(t, file, print_model, &v);
}

static int run_quantize(Command *c) {
    double start = seconds();
    Quantize *q = &c->q;
    Tool *t = q->tool;
    RtOutFile *file = tool_out(t, c->out, RT_OUT_WHOLE);
    if (!file || !tool_reads(t, q->model.path, 0) || !tool_reads(t, q->image.labels, 0) ||
        !tool_one_target(t, &q->model))
        return EXIT_INPUT;
    t->diag.file = q->model.path;
    if (!quant_run(q) || !quant_measure(q) || !write_model(c, file))
        return EXIT_INPUT;
    FILE *table = rt_out_is_through(file) ? stderr : stdout; // which may be where the model goes
    int64_t bytes = tool_out_commit(t, &file, 1);
    if (bytes < 0)
        return EXIT_INPUT;
    (c->json ? quant_print_json : quant_print)(q, table);
    fprintf(stderr, "%s: %.2f MB, %d of %d layers in int8, ranges of %d images by %s, %.1f s\n",
            RT_SHOW(c->out), (double)bytes / 1e6, quant_count_int8(q), q->plan->n_layers,
            q->calibrate.n - q->calibrate.n_bad, fe_quant_method_name(q->method),
            seconds() - start);
    if (q->image.told)
        fprintf(stderr, "%s\n", RT_SHOW(q->image.told));
    if (q->image.note)
        fprintf(stderr, "%s\n", RT_SHOW(q->image.note));
    return EXIT_FINE;
}

static int wrong(const char *what) {
    fprintf(stderr, "hone quantize: %s; see hone quantize --help\n", what);
    return EXIT_USAGE;
}

int cmd_quantize(Tool *t, int argc, char **argv) {
    Command c = {.q = quant_defaults(t), .method = "percentile"};
    const ToolOpt opts[] = {
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "What to make", 0, 0},
        {NULL, "-o", "OUT", TOOL_TEXT, &c.out, "the model to write, - for stdout; required", 0, 0},
        {"--json", NULL, NULL, TOOL_FLAG, &c.json, "the table of layers as one JSON object", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "Calibration", 0, 0},
        {"--calibrate", NULL, "FOLDER", TOOL_TEXT, &c.q.calibrate_folder, "images; required", 0, 0},
        {"--method", NULL, "NAME", TOOL_TEXT, &c.method,
         "of ranges: percentile (default), minmax or entropy", 0, 0},
        {"--percentile", NULL, "P", TOOL_NUMBER, &c.q.percentile,
         "how much of a tensor lies in its range, default 99.99", 50, 100},
        {"--max-images", NULL, "N", TOOL_INT, &c.q.max_images,
         "of a folder, evenly spread; default 500", QUANT_LEAST_IMAGES, 1000000},
        {"--no-bias-correction", NULL, NULL, TOOL_FLAG, &c.q.no_bias_correction,
         "biases stay what they are when rounded weights move a channel's mean", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "What stays float", 0, 0},
        {"--keep-float", NULL, "WHAT", TOOL_LIST, &c.q.keep_float,
         "first, last (layer), or a glob of node names; may be given several times", 0, 0},
        {"--eval", NULL, "FOLDER", TOOL_TEXT, &c.q.eval_folder,
         "images to compare the outputs on, with labels or without", 0, 0},
        {"--precision", NULL, "P", TOOL_TEXT, &c.q.model.precision,
         "of the layers that stay float, where --eval judges: f32 (default), or bf16, as "
         "hone compile --precision bf16 runs the result",
         0, 0},
        {"--max-drop", NULL, "X", TOOL_NUMBER, &c.q.max_drop,
         "the share of them that may be lost; layers stay float until that is met", 0, 1},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "The model", 0, 0},
        TOOL_MODEL_OPTIONS(c.q.model),
        {"--verbose", "-v", NULL, TOOL_FLAG, &t->verbose, "commands that are run", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "Images", 0, 0},
        TOOL_CLASSIFIER_OPTION(c.q.image),
        TOOL_IMAGE_OPTIONS(c.q.image),
        {0}};
    ToolList rest;
    ToolParse got = tool_parse(argc, argv, opts, &usage, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (rest.n != 1 || !c.out || !c.q.calibrate_folder)
        return wrong("give one model, -o OUT and --calibrate FOLDER");
    if (!fe_quant_method_parse(c.method, &c.q.method))
        return wrong("--method takes percentile, minmax or entropy");
    if (c.q.max_drop.given && !c.q.eval_folder)
        return wrong("--max-drop needs --eval FOLDER");
    if (!tool_precision("quantize", &c.q.model, false))
        return EXIT_USAGE;
    c.q.in_bf16 = c.q.model.bf16;
    c.q.model.bf16 = false; // of the float model that all is measured by
    c.q.model.path = rest.v[0];
    return run_quantize(&c);
}
