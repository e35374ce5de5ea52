// What the subcommands of an inference program share: complaints, the model, texts and sums of its
// descriptor.
#include "runtime/infer/infer.h"

#include <stdio.h>
#include <string.h>

int rt_infer_usage(const RtInfer *in, const char *subcommand, const char *text) {
    fprintf(stderr, "%s: %s\nTry '%s %s%s--help'.\n", in->program, text, in->program, subcommand,
            *subcommand ? " " : "");
    return RT_EXIT_USAGE;
}

int rt_infer_complain(const char *text) {
    fprintf(stderr, "%s\n", text);
    return RT_EXIT_INPUT;
}

HoneModel *rt_infer_create(const RtInfer *in, int threads) {
    char text[512];
    HoneOptions options = {.threads = threads};
    HoneModel *m = hone_create(in->desc, &options, text, sizeof text);
    if (!m)
        fprintf(stderr, "%s: %s\n", in->program, text);
    return m;
}

double rt_infer_dim_value(HoneDim d, int64_t batch) {
    return (double)d.c + (double)d.n * (double)batch;
}

double rt_infer_total_flops(const HoneModelDesc *d, int64_t batch) {
    double total = 0;
    for (int i = 0; i < d->n_nodes; i++)
        total += rt_infer_dim_value(d->nodes[i].flops, batch);
    return total;
}

const char *rt_infer_preprocess_text(const HonePreprocess *p, char *text, size_t size) {
    if (p->height <= 0) {
        snprintf(text, size, "none (no image input)");
        return text;
    }
    char fit[96], mean[96] = "", std[96] = "", scale[32];
    if (p->resize > 0)
        snprintf(fit, sizeof fit, "resize %d, centre crop %dx%d", p->resize, p->width, p->height);
    else
        snprintf(fit, sizeof fit, "resize to %dx%d", p->width, p->height);
    int m = 0, s = 0;
    for (int c = 0; c < p->channels && c < 4; c++) {
        m += snprintf(mean + m, sizeof mean - (size_t)m, "%s%g", c ? "," : "", (double)p->mean[c]);
        s += snprintf(std + s, sizeof std - (size_t)s, "%s%g", c ? "," : "", (double)p->std[c]);
    }
    snprintf(scale, sizeof scale, p->scale == 1.0f / 255.0f ? "1/255" : "%g", (double)p->scale);
    snprintf(text, size, "%s, %s, %s, scale %s, mean %s, std %s", fit,
             p->channels == 1 ? "grey"
             : p->bgr         ? "BGR"
                              : "RGB",
             p->nhwc ? "NHWC" : "NCHW", scale, mean, std);
    return text;
}
