// Preprocessing and labels of an image input: flags first, then the model's own metadata_props
// (hone.*), then ImageNet's.
#include "tools/tool.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *meta(const IrProgram *p, const char *key) {
    for (int i = 0; i < p->n_meta; i++)
        if (strcmp(p->meta[i].key, key) == 0)
            return p->meta[i].value;
    return NULL;
}

// [N,C,H,W] or [N,H,W,C] with 1 or 3 channels; false: the model takes no image.
static bool find_image(const IrGraph *g, HonePreprocess *x) {
    if (g->n_inputs != 1 || g->inputs[0]->type.shape.rank != 4)
        return false;
    const IrDim *d = g->inputs[0]->type.shape.dim;
    for (int i = 1; i < 4; i++)
        if (d[i].n || d[i].c > 1 << 20)
            return false;
    bool nchw = d[1].c == 3 || d[1].c == 1, nhwc = d[3].c == 3 || d[3].c == 1;
    if (!nchw && !nhwc)
        return false;
    x->nhwc = !nchw;
    x->channels = (int32_t)d[nchw ? 1 : 3].c;
    x->height = (int32_t)d[nchw ? 2 : 1].c;
    x->width = (int32_t)d[nchw ? 3 : 2].c;
    return x->height > 0 && x->width > 0;
}

// "a,b,c" to n floats; one number stands for all.
static bool parse_floats(Tool *t, const char *flag, const char *text, float *out, int n) {
    int k = 0;
    for (const char *s = text; k < n; s++) {
        char *end;
        double v = strtod(s, &end);
        if (end == s || !isfinite(v))
            break;
        out[k++] = (float)v;
        s = end;
        if (*s == 0) {
            for (int i = k; k == 1 && i < n; i++)
                out[i] = out[0];
            if (k == 1 || k == n)
                return true;
            break;
        }
        if (*s != ',')
            break;
    }
    ir_error(&t->diag, IR_NOWHERE, "%s takes %d number%s separated by commas, not '%s'", flag, n,
             n == 1 ? "" : "s", text);
    return false;
}

static bool fill_numbers(Tool *t, const ToolImage *im, const IrProgram *p, HonePreprocess *x) {
    static const float imagenet_mean[] = {0.485f, 0.456f, 0.406f};
    static const float imagenet_std[] = {0.229f, 0.224f, 0.225f};
    const char *mean = im->mean ? im->mean : meta(p, "hone.mean");
    const char *std = im->std ? im->std : meta(p, "hone.std");
    const char *scale = im->scale ? im->scale : meta(p, "hone.scale");
    const char *resize = im->resize ? im->resize : meta(p, "hone.resize");
    const char *pct = im->resize ? NULL : im->crop_pct;
    const char *bgr = meta(p, "hone.bgr");
    float crop = 0.875f, size = 0;
    x->scale = 1.0f / 255;
    x->bgr = im->bgr || (bgr && strcmp(bgr, "1") == 0);
    for (int i = 0; i < 3; i++) {
        x->mean[i] = x->channels == 3 ? imagenet_mean[i] : 0;
        x->std[i] = x->channels == 3 ? imagenet_std[i] : 1;
    }
    if ((mean && !parse_floats(t, "--mean", mean, x->mean, x->channels)) ||
        (std && !parse_floats(t, "--std", std, x->std, x->channels)) ||
        (scale && !parse_floats(t, "--scale", scale, &x->scale, 1)) ||
        (pct && !parse_floats(t, "--crop-pct", pct, &crop, 1)) ||
        (resize && !pct && !parse_floats(t, "--resize", resize, &size, 1)))
        return false;
    if (!(crop > 0 && crop <= 1) || size < 0 || size > 1 << 20) {
        ir_error(&t->diag, IR_NOWHERE,
                 "--crop-pct is above 0 and at most 1; --resize is a size in "
                 "pixels, or 0 for none");
        return false;
    }
    int32_t shorter = x->height < x->width ? x->height : x->width;
    x->resize = resize && !pct ? (int32_t)size : (int32_t)lrintf((float)shorter / crop);
    return true;
}

// Lines of text to labels; a last empty line does not count.
static void split_labels(Tool *t, char *text, CgOptions *cg) {
    int cap = 0, n = 0;
    const char **v = NULL;
    for (char *line = text, *end; *line; line = end) {
        end = strchr(line, '\n');
        end = end ? end : line + strlen(line);
        char *next = *end ? end + 1 : end;
        *end = 0;
        if (end > line && end[-1] == '\r')
            end[-1] = 0;
        IR_PUSH(t->arena, v, n, cap, line);
        end = next;
    }
    cg->labels = v;
    cg->n_labels = n;
}

static char *read_labels(Tool *t, const char *path) {
    enum { MAX = 1 << 24 };
    FILE *f = fopen(path, "r");
    if (!f) {
        ir_error(&t->diag, IR_NOWHERE, "cannot read the label file %s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = ir_alloc(t->arena, MAX + 1);
    text[fread(text, 1, MAX, f)] = 0;
    fclose(f);
    return text;
}

// One score is two classes: no and yes.
static int64_t count_classes(const IrGraph *g) {
    if (g->n_outputs < 1)
        return 0;
    const IrShape *s = &g->outputs[0]->type.shape;
    int64_t n = 1;
    for (int i = 1; i < s->rank; i++)
        n *= s->dim[i].n ? 0 : s->dim[i].c;
    return s->rank < 2 ? 0 : n == 1 ? 2 : n;
}

static bool fill_labels(Tool *t, const ToolImage *im, const IrGraph *g, CgOptions *cg) {
    int64_t classes = count_classes(g);
    const char *own = meta(g->prog, "hone.labels");
    if (im->labels) {
        char *text = read_labels(t, im->labels);
        if (!text)
            return false;
        split_labels(t, text, cg);
        if (cg->n_labels != classes) {
            ir_error(&t->diag, IR_NOWHERE, "%s has %d labels, the model's output '%s' %lld classes",
                     im->labels, cg->n_labels, g->outputs[0]->name, (long long)classes);
            return false;
        }
    } else if (own) {
        split_labels(t, ir_strdup(t->arena, own), cg);
    } else if (classes == 1000) {
        split_labels(t, tool_lib_text(t, "imagenet-labels.txt"), cg);
    }
    if (cg->n_labels != classes)
        cg->n_labels = 0, cg->labels = NULL;
    return true;
}

static bool ends_in_probabilities(const IrGraph *g) {
    const IrValue *v = g->n_outputs ? g->outputs[0] : NULL;
    while (v && v->def && v->def->op == IR_OP_RESHAPE)
        v = ir_in(v->def, 0);
    return v && v->def && (v->def->op == IR_OP_SOFTMAX || v->def->op == IR_OP_SIGMOID);
}

bool tool_image_options(Tool *t, const ToolImage *im, const IrGraph *g, CgOptions *cg) {
    cg->softmax = ends_in_probabilities(g);
    memset(&cg->preprocess, 0, sizeof cg->preprocess);
    if (!find_image(g, &cg->preprocess)) {
        memset(&cg->preprocess, 0, sizeof cg->preprocess);
        if (im->labels || im->mean || im->std || im->resize)
            ir_warn(&t->diag, IR_NOWHERE,
                    "the model has no image input: image options are ignored");
        return true;
    }
    return fill_numbers(t, im, g->prog, &cg->preprocess) && fill_labels(t, im, g, cg);
}
