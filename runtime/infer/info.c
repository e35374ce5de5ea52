// info: what the program takes and gives, and what it was compiled from and for.
#include <stdlib.h>
#include <string.h>

#include "runtime/core/cpu_features.h"
#include "runtime/core/unit.h"
#include "runtime/file/json.h"
#include "runtime/image/image.h"
#include "runtime/infer/infer.h"

// The axis of an output whose size data decides; -1: none.
static int bounded_axis(const HoneModelDesc *d, int output) {
    for (int i = 0; i < d->n_counts; i++)
        if (d->counts[i].output == output)
            return d->counts[i].axis;
    return -1;
}

static void print_tensors(const char *what, const HoneModelDesc *d, const HoneTensorDesc *t,
                          int n) {
    char text[256];
    for (int i = 0; i < n; i++) {
        int axis = t == d->outputs ? bounded_axis(d, i) : -1;
        printf("%-10s %s  %s", what, RT_SHOW(t[i].name), rt_tensor_text(&t[i], text, sizeof text));
        if (axis >= 0)
            printf(", at most: data decides axis %d", axis);
        putchar('\n');
    }
}

// Memory that a run with one thread takes beyond weights, inputs and outputs.
static double workspace_mb(const HoneModelDesc *d, int64_t batch) {
    return (rt_infer_dim_value(d->arena_bytes, batch) + (double)d->scratch_bytes) * 1e-6;
}

// What the program makes of the scores, by HONE_SCORES_*.
static const struct {
    const char *name, *shown;
} scores[HONE_SCORES_COUNT] = {
    [HONE_SCORES_LOGITS] = {"logits", "shown as their softmax, one alone as its sigmoid"},
    [HONE_SCORES_PROBABILITIES] = {"probabilities", "shown as they are"},
    [HONE_SCORES_SIGMOID] = {"sigmoid", "probabilities of each class by itself, shown as they are"},
    [HONE_SCORES_LOG_PROBABILITIES] = {"log-probabilities", "shown as their softmax"},
    [HONE_SCORES_OTHER] = {"other",
                           "neither logits nor probabilities: shown as they are, without %"},
};

// Instructions that sum products of some type, where the program needs them.
static const struct {
    int32_t type;
    uint32_t feature;
    const char *name;
} dots[] = {{HONE_BF16, HONE_CPU_AMX_BF16, "AMX"},
            {HONE_BF16, HONE_CPU_AVX512BF16, "AVX512-BF16"},
            {HONE_U8, HONE_CPU_AMX_INT8, "AMX"},
            {HONE_U8, HONE_CPU_AVX512VNNI, "AVX512-VNNI"},
            {HONE_U8, HONE_CPU_AVXVNNI, "AVX-VNNI"}};

static bool needs(const HoneModelDesc *d, uint32_t feature) {
    for (int k = 0; k < d->n_cpu_needs; k++)
        if (d->cpu_needs[k] == feature)
            return true;
    return false;
}

// " by AMX, AVX512-BF16"
static const char *dots_text(const HoneModelDesc *d, int32_t type, char *text, size_t size) {
    size_t used = 0;
    snprintf(text, size, "%s", type == HONE_BF16 ? " as f32" : "");
    for (size_t i = 0; i < sizeof dots / sizeof *dots && used < size; i++)
        if (dots[i].type == type && needs(d, dots[i].feature))
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : " by ",
                                     dots[i].name);
    return text;
}

// Attention has two: its scores, and what they weigh.
static int count_products(const HoneNodeDesc *n) {
    static const struct {
        const char *op;
        int products;
    } made[] = {{"conv", 1}, {"matmul", 1}, {"attention", 2}};
    for (size_t i = 0; n->op && i < sizeof made / sizeof *made; i++)
        if (strcmp(n->op, made[i].op) == 0)
            return made[i].products;
    return 0;
}

// "1 of f32; 53 of bf16 by AVX512-BF16"
static const char *products_text(const HoneModelDesc *d, char *text, size_t size) {
    char by[64];
    size_t used = 0;
    snprintf(text, size, "none");
    for (int32_t type = 0; rt_dtype(type); type++) {
        int count = 0;
        for (int i = 0; i < d->n_nodes; i++)
            count += d->nodes[i].reads == type ? count_products(&d->nodes[i]) : 0;
        if (count && used < size)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%d of %s%s", used ? "; " : "", count,
                                 rt_dtype(type)->name, dots_text(d, type, by, sizeof by));
    }
    return text;
}

// Of the weights in the form that kernels read: ", 112.0 of them prepared", ", 10.2 MB prepared at
// the start".
static const char *prepared_text(const HoneModelDesc *d, char *text, size_t size) {
    int n = snprintf(text, size, "%s", "");
    if (d->stored_bytes)
        n = snprintf(text, size, ", %.1f of them prepared", (double)d->stored_bytes * 1e-6);
    if (d->prepared_bytes)
        snprintf(text + n, size - (size_t)n, ", %.1f MB prepared at the start",
                 (double)d->prepared_bytes * 1e-6);
    return text;
}

static void print_task(const HoneModelDesc *d) {
    const HoneTask *t = &d->task;
    if (t->kind == HONE_TASK_SEGMENT)
        printf("%-10s the class of each pixel, by output '%s'\n", "segments",
               RT_SHOW(d->outputs[t->mask].name));
    else if (t->form >= HONE_BOXES_QUERIES)
        printf("%-10s objects of %d classes, by the queries of output '%s'\n", "detects",
               t->classes, RT_SHOW(d->outputs[t->boxes].name));
    else if (t->form >= HONE_BOXES_COLUMNS)
        printf("%-10s objects of %d classes, by the boxes of output '%s' that overlap least\n",
               "detects", t->classes, RT_SHOW(d->outputs[t->boxes].name));
    else if (t->scores < 0)
        printf("%-10s objects, by rows of output '%s'\n", "detects",
               RT_SHOW(d->outputs[t->boxes].name));
    else
        printf("%-10s objects: boxes '%s', scores '%s', classes '%s'\n", "detects",
               RT_SHOW(d->outputs[t->boxes].name), RT_SHOW(d->outputs[t->scores].name),
               RT_SHOW(d->outputs[t->labels].name));
}

// False: the unit does not run here, and why.
static bool runs_here(const HoneModelDesc *d, RtErr *why) {
    uint64_t allowed;
    if (!rt_cpu_allowed(&allowed, why))
        return false;
    if (rt_unit_runs(d, allowed))
        return true;
    const char *missing = rt_cpu_missing(d->cpu_needs, RT_CPU_ALL);
    return rt_fail(why, "needs %s, which %s",
                   missing ? missing : rt_cpu_missing(d->cpu_needs, allowed),
                   !missing                            ? "HONE_CPU hides"
                   : rt_cpu_is_forbidden(d->cpu_needs) ? "this system does not permit"
                                                       : "this CPU lacks");
}

// The one that runs where no size is asked for, or no other of its size.
static bool is_picked(const RtInfer *in, const HoneModelDesc *d) {
    const HoneModelDesc *size[HONE_MAX_UNITS];
    uint64_t allowed;
    RtErr err;
    int n = rt_cpu_allowed(&allowed, &err) ? rt_unit_sizes(in->first, &allowed, size) : 0;
    for (int i = 0; i < n; i++)
        if (size[i] == d)
            return true;
    return false;
}

// What the program holds, where that is several: the best machine for this CPU is picked.
static void print_units(const RtInfer *in) {
    char type[160];
    RtErr why;
    for (const HoneModelDesc *d = in->first; in->first->next && d; d = d->next) {
        bool runs = runs_here(d, &why);
        printf("%-10s %s", d == in->first ? "units" : "", d->cpu);
        for (int i = 0; i < d->n_inputs; i++)
            printf(", %s", rt_tensor_text(&d->inputs[i], type, sizeof type));
        printf(": %s\n", !runs              ? why.text
                         : is_picked(in, d) ? "picked, the first here that this CPU runs"
                                            : "runs here, too");
    }
}

static void print_text(const RtInfer *in) {
    const HoneModelDesc *d = in->desc;
    char text[512];
    printf("%-10s %s\n", "model", RT_SHOW(d->name));
    printf("%-10s %s, ABI %u, for %s\n", "compiled", d->producer, d->abi, d->cpu);
    printf("%-10s %s\n", "source", d->hash ? d->hash : "");
    print_units(in);
    print_tensors("input", d, d->inputs, d->n_inputs);
    print_tensors("output", d, d->outputs, d->n_outputs);
    printf("%-10s %s\n", "batch", d->batch_symbolic ? "any N" : "fixed");
    printf("%-10s %s\n", "image", rt_preprocess_text(&d->preprocess, text, sizeof text));
    if (d->labels && d->n_labels)
        printf("%-10s %d: %s ... %s\n", "labels", d->n_labels, RT_SHOW(d->labels[0]),
               RT_SHOW(d->labels[d->n_labels - 1]));
    rt_infer_left_out(in, stdout, "left out   ");
    if (d->task.kind != HONE_TASK_CLASS)
        print_task(d);
    else if (d->classifier < 0)
        printf("%-10s %s\n", "scores", "none: no output is one row of them for each image");
    else
        printf("%-10s %s: %s\n", "scores", scores[d->scores].name, scores[d->scores].shown);
    if (d->classifier >= 0 && d->n_outputs > 1)
        printf("%-10s by output '%s'\n", "classes", RT_SHOW(d->outputs[d->classifier].name));
    printf("%-10s %.1f MB weights%s, %.1f MB workspace at batch 1\n", "memory",
           (double)d->weights_bytes * 1e-6, prepared_text(d, text, sizeof text),
           workspace_mb(d, 1));
    printf("%-10s %s\n", "products", products_text(d, text, sizeof text));
    printf("%-10s %.3f GFLOP at batch 1 in %d calls\n", "work", rt_infer_total_flops(d, 1) * 1e-9,
           d->n_nodes);
}

static void write_tensors(RtJson *j, const char *key, const HoneModelDesc *d,
                          const HoneTensorDesc *t, int n) {
    rt_json_begin(j, key, '[');
    for (int i = 0; i < n; i++) {
        const RtDtype *type = rt_dtype(t[i].dtype);
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "name", t[i].name);
        rt_json_text(j, "dtype", type ? type->name : NULL);
        rt_json_begin(j, "shape", '[');
        for (int k = 0; k < t[i].rank; k++) {
            char text[64];
            if (t[i].dim[k].n == 0)
                rt_json_int(j, NULL, t[i].dim[k].c);
            else
                rt_json_text(j, NULL, rt_dim_text(t[i].dim[k], text, sizeof text));
        }
        rt_json_end(j, ']');
        if (t == d->outputs && bounded_axis(d, i) >= 0)
            rt_json_int(j, "bounded_axis", bounded_axis(d, i));
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

static void write_preprocess(RtJson *j, const HonePreprocess *p) {
    if (p->height <= 0) {
        rt_json_text(j, "preprocess", NULL);
        return;
    }
    rt_json_begin(j, "preprocess", '{');
    rt_json_int(j, "resize", p->resize);
    rt_json_text(j, "interpolation", rt_resize_name(p->interpolation));
    rt_json_bool(j, "as_stored", p->as_stored != 0);
    rt_json_bool(j, "letterbox", p->letterbox != 0);
    rt_json_int(j, "height", p->height);
    rt_json_int(j, "width", p->width);
    rt_json_text(j, "channels", p->channels == 1 ? "L" : p->bgr ? "BGR" : "RGB");
    rt_json_text(j, "layout", p->nhwc ? "NHWC" : "NCHW");
    rt_json_number(j, "scale", (double)p->scale, 9);
    const float *vectors[2] = {p->mean, p->std};
    for (int k = 0; k < 2; k++) {
        rt_json_begin(j, k ? "std" : "mean", '[');
        for (int i = 0; i < p->channels && i < 4; i++)
            rt_json_number(j, NULL, (double)vectors[k][i], 6);
        rt_json_end(j, ']');
    }
    rt_json_end(j, '}');
}

static void write_units(RtJson *j, const RtInfer *in) {
    RtErr why;
    rt_json_begin(j, "units", '[');
    for (const HoneModelDesc *d = in->first; d; d = d->next) {
        bool runs = runs_here(d, &why);
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "cpu", d->cpu);
        rt_json_text(j, "features", d->features);
        write_tensors(j, "inputs", d, d->inputs, d->n_inputs);
        write_tensors(j, "outputs", d, d->outputs, d->n_outputs);
        rt_json_bool(j, "picked", is_picked(in, d));
        rt_json_text(j, "obstacle", runs ? NULL : why.text);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

static void print_json(const RtInfer *in) {
    const HoneModelDesc *d = in->desc;
    char text[512];
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", d->name);
    rt_json_text(&j, "producer", d->producer);
    rt_json_int(&j, "abi", d->abi);
    rt_json_text(&j, "cpu", d->cpu);
    rt_json_text(&j, "features", d->features);
    rt_json_text(&j, "hash", d->hash);
    write_tensors(&j, "inputs", d, d->inputs, d->n_inputs);
    write_tensors(&j, "outputs", d, d->outputs, d->n_outputs);
    rt_json_bool(&j, "dynamic_batch", d->batch_symbolic);
    rt_json_text(&j, "classifier", d->classifier < 0 ? NULL : d->outputs[d->classifier].name);
    static const char *const tasks[HONE_TASK_COUNT] = {[HONE_TASK_CLASS] = "classify",
                                                       [HONE_TASK_DETECT] = "detect",
                                                       [HONE_TASK_SEGMENT] = "segment"};
    rt_json_text(&j, "task", tasks[d->task.kind]);
    rt_json_text(&j, "scores", d->classifier < 0 ? NULL : scores[d->scores].name);
    write_preprocess(&j, &d->preprocess);
    rt_json_int(&j, "labels", d->labels ? d->n_labels : 0);
    rt_json_int(&j, "weights_bytes", d->weights_bytes);
    rt_json_int(&j, "stored_bytes", d->stored_bytes);
    rt_json_int(&j, "prepared_bytes", d->prepared_bytes);
    rt_json_number(&j, "workspace_mb", workspace_mb(d, 1), 6);
    rt_json_number(&j, "gflop", rt_infer_total_flops(d, 1) * 1e-9, 6);
    rt_json_text(&j, "products", products_text(d, text, sizeof text));
    rt_json_int(&j, "calls", d->n_nodes);
    rt_json_begin(&j, "left_out", '[');
    for (int i = 0; i < in->n_left_out; i++)
        rt_json_text(&j, NULL, in->left_out[i]);
    rt_json_end(&j, ']');
    write_units(&j, in);
    rt_json_end(&j, '}');
    putchar('\n');
}

int rt_infer_info(const RtInfer *in, int argc, char **argv) {
    bool json = false, help = false;
    const RtCliOption options[] = {
        {"--json", RT_CLI_FLAG, &json, 0, 0, NULL, "one JSON object"},
        {"--help|-h", RT_CLI_FLAG, &help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    RtCliList rest = {0};
    RtErr err;
    int code = RT_EXIT_FINE;
    if (!rt_cli_parse(options, N_OPTIONS, argc, argv, &rest, &err)) {
        code = rt_infer_usage(in, "info", err.text);
    } else if (help) {
        printf("Usage: %s info [--json]\n\n"
               "Shows names, types and shapes of inputs and outputs, the preprocessing,\n"
               "and what the model was compiled from and for.\n\n",
               in->program);
        rt_cli_help(stdout, options, N_OPTIONS);
    } else if (rest.n) {
        rt_fail(&err, "'%s' is no option", rest.item[0]);
        code = rt_infer_usage(in, "info", err.text);
    } else if (json) {
        print_json(in);
    } else {
        print_text(in);
    }
    free(rest.item);
    return code;
}
