// Preprocessing of an image input: flags first, then the model's own metadata_props (hone.*, then
// what exporters write there), then what ImageNet's networks take. What nobody states is told.
#include "tools/literal.h"
#include "tools/tool.h"

#include "runtime/image/image.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// [N,C,H,W] or [N,H,W,C] with 1 or 3 channels, floats or bytes, or one image without N; false: the
// model takes no image.
static bool find_image(const IrGraph *g, HonePreprocess *x) {
    const IrType *in = g->n_inputs == 1 ? &g->inputs[0]->type : NULL;
    if (!in || (in->shape.rank != 4 && in->shape.rank != 3) ||
        (in->dtype != IR_U8 && !ir_dtype_is_float(in->dtype)))
        return false;
    const IrDim *d = in->shape.dim - (in->shape.rank == 3);
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

// ---------------------------------------------------------------- numbers

// Where a value comes from, the weightier the later.
typedef enum Source { ASSUMED, FOREIGN, OWN, OPTION } Source; // FOREIGN: metadata of other programs

// The keys of a value, hone's own first: what it is called in the exports of timm, Hugging Face,
// Ultralytics and their like.
typedef struct Value {
    const char *name; // in texts
    const char *keys[5];
    double min, max;
} Value;

enum { MEAN, STD, SCALE, RESIZE, CROP_PCT, N_VALUES };
static const Value values[N_VALUES] = {
    [MEAN] = {"mean", {"hone.mean", "mean", "image_mean"}, -1e9, 1e9},
    [STD] = {"std", {"hone.std", "std", "image_std"}, TOOL_ABOVE_0, 1e9},
    [SCALE] = {"scale", {"hone.scale", "rescale_factor"}, TOOL_ABOVE_0, 1e9},
    [RESIZE] = {"resize", {"hone.resize", "imgsz"}, 0, 65536},
    [CROP_PCT] = {"crop-pct", {"", "crop_pct"}, 0.01, 1},
};

typedef struct Reading {
    Tool *tool;
    const IrProgram *prog;
    HonePreprocess *x;
    PassTaskKind task;
    PassFamily family;
    int side; // of the user's pictures, 0: unknown
    Source from[N_VALUES];
    double v[N_VALUES][4];
    int n[N_VALUES];
} Reading;

static bool take_option(Reading *r, int which, int n, const double *v) {
    if (n) {
        r->from[which] = OPTION;
        r->n[which] = n;
        memcpy(r->v[which], v, (size_t)n * sizeof *v);
    }
    return n;
}

// The first of the value's keys that the model has. False after an error: one of ours is wrong.
static bool take_meta(Reading *r, int which) {
    const Value *k = &values[which];
    for (int i = 0; r->from[which] == ASSUMED && i < 5 && k->keys[i]; i++) {
        const char *text = ir_meta(r->prog, k->keys[i]);
        if (!text)
            continue;
        r->n[which] = tool_literal_numbers(r->tool->arena, text, k->min, k->max, r->v[which], 4);
        if (r->n[which]) {
            r->from[which] = i ? FOREIGN : OWN;
        } else if (i == 0) {
            ir_error(&r->tool->diag, IR_NOWHERE, "metadata '%s': '%s' is no list of numbers %s %g",
                     k->keys[i], text,
                     k->min == TOOL_ABOVE_0 ? "above 0 and at most"
                     : k->min < 0           ? "up to"
                                            : "from 0 to",
                     k->max);
            return false;
        } else {
            ir_warn(&r->tool->diag, IR_NOWHERE, "metadata '%s': '%s' is ignored", k->keys[i], text);
        }
    }
    return true;
}

// One number for all channels, or one for each.
static bool check_count(Reading *r, int which) {
    int channels = r->x->channels, n = r->n[which];
    if (n <= 1 || n == channels)
        return true;
    if (r->from[which] == FOREIGN) {
        ir_warn(&r->tool->diag, IR_NOWHERE,
                "metadata '%s' has %d numbers, the input %d channel%s: ignored", values[which].name,
                n, channels, channels == 1 ? "" : "s");
        r->from[which] = ASSUMED;
        r->n[which] = 0;
        return true;
    }
    ir_error(&r->tool->diag, IR_NOWHERE, "%s%s takes %d number%s separated by commas, not %d",
             r->from[which] == OPTION ? "--" : "hone.", values[which].name, channels,
             channels == 1 ? "" : "s", n);
    return false;
}

static void spread(const Reading *r, int which, float *to) {
    for (int i = 0; i < r->x->channels && r->n[which]; i++)
        to[i] = (float)r->v[which][r->n[which] == 1 ? 0 : i];
}

// Means beyond 1 are of pixels from 0 to 255, as PaddlePaddle's and OpenMMLab's exports state them.
// Ultralytics, whose key imgsz is, scales to 0..1 and does no more.
static void read_between_lines(Reading *r) {
    bool wide = false;
    for (int i = 0; r->from[MEAN] == FOREIGN && i < r->n[MEAN]; i++)
        wide |= fabs(r->v[MEAN][i]) > 1;
    if (wide && r->from[SCALE] == ASSUMED) {
        r->x->scale = 1;
        r->from[SCALE] = FOREIGN;
    }
    if (r->from[RESIZE] == FOREIGN && r->from[MEAN] == ASSUMED && r->from[STD] == ASSUMED) {
        r->from[MEAN] = r->from[STD] = FOREIGN;
        for (int i = 0; i < 4; i++) {
            r->x->mean[i] = 0;
            r->x->std[i] = 1;
        }
    }
}

// imgsz is the input's [height, width], or one number for both.
static void check_imgsz(Reading *r) {
    const HonePreprocess *x = r->x;
    const double *v = r->v[RESIZE];
    if (r->from[RESIZE] != FOREIGN ||
        (v[0] == x->height && v[r->n[RESIZE] == 2] == x->width && r->n[RESIZE] <= 2))
        return;
    ir_warn(&r->tool->diag, IR_NOWHERE, "metadata 'imgsz' is not the input's %dx%d: ignored",
            x->height, x->width);
    r->from[RESIZE] = ASSUMED;
}

// The user's pictures are smaller than the input: enlarged as they are, they lose nothing.
static bool is_small(const Reading *r) {
    const HonePreprocess *x = r->x;
    return r->side > 0 && r->side < (x->height < x->width ? x->height : x->width);
}

// All of an image, with grey around it, or stretched: as asked for, or as Ultralytics' networks
// want it but RT-DETR, whose files say what they do and by which stride. *done: so it is, and
// nothing is cropped.
static bool fill_fit(Reading *r, const ToolImage *im, bool *done) {
    const char *own = ir_meta(r->prog, "hone.letterbox"), *task = ir_meta(r->prog, "task");
    bool sized = r->from[RESIZE] >= OWN || r->from[CROP_PCT] >= OWN;
    bool ours = own && strcmp(own, "1") == 0 && r->from[RESIZE] < OPTION;
    bool foreign = task && ir_meta(r->prog, "stride") && strcmp(task, "classify") != 0 && !sized &&
                   r->family != PASS_FAMILY_RT_DETR;
    *done = im->fit || ours || foreign;
    if (im->fit && (r->from[RESIZE] == OPTION || r->from[CROP_PCT] == OPTION)) {
        ir_error(&r->tool->diag, IR_NOWHERE, "--fit excludes --resize and --crop-pct");
        return false;
    }
    if (*done && !rt_preprocess_fit(r->x, im->fit ? im->fit : "letterbox")) {
        ir_error(&r->tool->diag, IR_NOWHERE, "--fit: '%s' is none of " RT_FIT_NAMES, im->fit);
        return false;
    }
    if (*done)
        r->from[RESIZE] = im->fit ? OPTION : ours ? OWN : FOREIGN;
    return true;
}

static bool fill_resize(Reading *r) {
    HonePreprocess *x = r->x;
    int32_t shorter = x->height < x->width ? x->height : x->width;
    double size = r->v[RESIZE][0];
    bool whole = r->task != PASS_TASK_CLASS; // what is found has a place in all of the picture
    if (r->from[RESIZE] == OWN && (r->n[RESIZE] > 1 || size != floor(size))) {
        ir_error(&r->tool->diag, IR_NOWHERE, "metadata 'hone.resize' is no whole number");
        return false;
    }
    if (whole && r->from[RESIZE] < OWN && r->from[CROP_PCT] < OWN) {
        x->resize = 0;
        return true;
    }
    if (r->from[RESIZE] >= r->from[CROP_PCT] && r->from[RESIZE] != ASSUMED) {
        x->resize = r->from[RESIZE] == FOREIGN ? shorter : (int32_t)size;
        return true;
    }
    double crop = r->from[CROP_PCT] != ASSUMED ? r->v[CROP_PCT][0] : is_small(r) ? 1 : 0.875;
    x->resize = (int32_t)lrint(shorter / crop);
    r->from[RESIZE] = r->from[CROP_PCT];
    return true;
}

// Most detectors take numbers from 0 to 1, and what else they want done is within the network.
static void fill_defaults(HonePreprocess *x, bool pixels, const PassTask *task) {
    static const float imagenet_mean[] = {0.485f, 0.456f, 0.406f};
    static const float imagenet_std[] = {0.229f, 0.224f, 0.225f};
    bool imagenet = x->channels == 3 && !pixels &&
                    (task->kind != PASS_TASK_DETECT || task->family == PASS_FAMILY_DETR);
    x->scale = pixels ? 1 : 1.0f / 255;
    for (int i = 0; i < 3; i++) {
        x->mean[i] = imagenet ? imagenet_mean[i] : 0;
        x->std[i] = imagenet ? imagenet_std[i] : 1;
    }
}

// An input of bytes takes pixels as they are: nothing is assumed, options are errors, and what
// metadata say is done within the model, or nowhere.
static bool keep_pixels(Reading *r) {
    for (int i = MEAN; i <= SCALE; i++) {
        if (r->from[i] == OPTION) {
            ir_error(&r->tool->diag, IR_NOWHERE,
                     "--%s: the input is u8 and takes pixels as they are", values[i].name);
            return false;
        }
        if (r->from[i] != ASSUMED)
            ir_warn(&r->tool->diag, IR_NOWHERE,
                    "metadata '%s' is ignored: the input is u8 and takes pixels as they are",
                    values[i].name);
        r->from[i] = OWN;
        r->n[i] = 0;
    }
    return true;
}

// "images: resize 256, ... (mean, std as the model's metadata say; assumed: resize)", where
// something is assumed or taken from what others wrote.
static void add_note(Reading *r, ToolImage *im) {
    IrArena *a = r->tool->arena;
    char text[512];
    const char *part[2] = {"", ""};
    for (int i = 0; i < CROP_PCT; i++)
        if (r->from[i] <= FOREIGN && (i != SCALE || r->from[i] == FOREIGN))
            part[r->from[i]] = ir_sprintf(a, "%s%s%s", part[r->from[i]],
                                          *part[r->from[i]] ? ", " : "", values[i].name);
    if (!*part[ASSUMED] && !*part[FOREIGN])
        return;
    bool yolox =
        r->task == PASS_TASK_DETECT && r->family == PASS_FAMILY_YOLOX && r->from[SCALE] == ASSUMED;
    im->note = ir_sprintf(
        a, "images: %s (%s%s%s%s%s%s%s)", rt_preprocess_text(r->x, text, sizeof text),
        part[FOREIGN], *part[FOREIGN] ? " from the model's metadata" : "",
        *part[FOREIGN] && *part[ASSUMED] ? "; " : "",
        *part[ASSUMED] ? "assumed, as nothing states them: " : "", part[ASSUMED],
        r->from[RESIZE] == ASSUMED && is_small(r)
            ? "; nothing is cut off and bicubic enlarges, as pictures are smaller than that"
            : "",
        yolox ? "; YOLOX takes --scale 1 --bgr --fit letterbox" : "");
}

// "bicubic" of what exporters write: "InterpolationMode.BICUBIC", or Pillow's number of it.
static int foreign_filter(const char *text) {
    static const char *const numbers[] = {"nearest", "lanczos", "bilinear",
                                          "bicubic", "box",     "hamming"};
    char name[32];
    const char *dot = strrchr(text, '.');
    text = dot ? dot + 1 : text;
    if (*text >= '0' && *text <= '5' && !text[1])
        text = numbers[*text - '0'];
    snprintf(name, sizeof name, "%s", text);
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return rt_resize_filter(name);
}

static bool fill_interpolation(Reading *r, const ToolImage *im) {
    const char *own = ir_meta(r->prog, "hone.interpolation");
    const char *foreign = ir_meta(r->prog, "interpolation");
    const char *how = im->interpolation ? im->interpolation : own;
    foreign = foreign ? foreign : ir_meta(r->prog, "resample");
    bool smooth = r->from[RESIZE] == ASSUMED && is_small(r); // where bilinear leaves creases
    int filter = how       ? rt_resize_filter(how)
                 : foreign ? foreign_filter(foreign)
                 : smooth  ? HONE_RESIZE_BICUBIC
                           : HONE_RESIZE_BILINEAR;
    if (filter < 0 && how) {
        ir_error(&r->tool->diag, IR_NOWHERE, "%s: '%s' is none of " RT_RESIZE_NAMES,
                 im->interpolation ? "--interpolation" : "metadata 'hone.interpolation'", how);
        return false;
    }
    if (filter < 0)
        ir_warn(&r->tool->diag, IR_NOWHERE,
                "NYI: the model's metadata ask for %s interpolation, images are resized by "
                "bilinear",
                foreign);
    r->x->interpolation = filter < 0 ? HONE_RESIZE_BILINEAR : filter;
    const char *stored = ir_meta(r->prog, "hone.as_stored");
    r->x->as_stored = im->as_stored || (stored && strcmp(stored, "1") == 0);
    return true;
}

static bool fill_numbers(Tool *t, ToolImage *im, const IrGraph *g, const PassTask *task,
                         HonePreprocess *x) {
    const IrProgram *p = g->prog;
    Reading r = {
        .tool = t, .prog = p, .x = x, .task = task->kind, .family = task->family, .side = im->side};
    const char *bgr = ir_meta(p, "hone.bgr");
    bool pixels = g->inputs[0]->type.dtype == IR_U8;
    x->bgr = im->bgr || (bgr && strcmp(bgr, "1") == 0);
    fill_defaults(x, pixels, task);
    if (take_option(&r, RESIZE, im->resize.given, &im->resize.v) &
        take_option(&r, CROP_PCT, im->crop_pct.given, &im->crop_pct.v)) {
        ir_error(&t->diag, IR_NOWHERE, "--resize and --crop-pct exclude each other");
        return false;
    }
    take_option(&r, SCALE, im->scale.given, &im->scale.v);
    take_option(&r, MEAN, im->mean.n, im->mean.v);
    take_option(&r, STD, im->std.n, im->std.v);
    for (int i = 0; i < N_VALUES; i++)
        if (!take_meta(&r, i))
            return false;
    if ((pixels && !keep_pixels(&r)) || !check_count(&r, MEAN) || !check_count(&r, STD))
        return false;
    check_imgsz(&r);
    read_between_lines(&r);
    if (r.n[SCALE])
        x->scale = (float)r.v[SCALE][0];
    spread(&r, MEAN, x->mean);
    spread(&r, STD, x->std);
    bool fits;
    if (!fill_fit(&r, im, &fits) || (!fits && !fill_resize(&r)) || !fill_interpolation(&r, im))
        return false;
    add_note(&r, im);
    return true;
}

// ---------------------------------------------------------------- all of it

static void fill_task(ToolImage *im, const PassTask *task, CgOptions *cg) {
    static const int kinds[] = {[PASS_TASK_CLASS] = HONE_TASK_CLASS,
                                [PASS_TASK_DETECT] = HONE_TASK_DETECT,
                                [PASS_TASK_SEGMENT] = HONE_TASK_SEGMENT};
    static const int forms[] = {[PASS_BOXES_LISTS] = HONE_BOXES_LISTS,
                                [PASS_BOXES_SEVENS] = HONE_BOXES_SEVENS,
                                [PASS_BOXES_MIDDLES] = HONE_BOXES_MIDDLES,
                                [PASS_BOXES_COLUMNS] = HONE_BOXES_COLUMNS,
                                [PASS_BOXES_ROWS] = HONE_BOXES_ROWS,
                                [PASS_BOXES_GRID] = HONE_BOXES_GRID,
                                [PASS_BOXES_QUERIES] = HONE_BOXES_QUERIES,
                                [PASS_BOXES_QUERY_LOGITS] = HONE_BOXES_QUERY_LOGITS,
                                [PASS_BOXES_QUERY_SOFTMAX] = HONE_BOXES_QUERY_SOFTMAX};
    cg->task = (HoneTask){
        .kind = kinds[task->kind],
        .form = forms[task->form],
        .boxes = task->boxes,
        .scores = task->scores,
        .labels = task->labels,
        .mask = task->mask,
        .channels_last = task->channels_last,
        .yx = task->yx,
        .classes = task->classes,
        .points = task->points,
        .point_numbers = task->point_numbers,
    };
    if (task->kind != PASS_TASK_CLASS)
        im->classifier = im->told = NULL;
}

static const int scores_of[] = {
    [PASS_SCORES_LOGITS] = HONE_SCORES_LOGITS,
    [PASS_SCORES_PROBABILITIES] = HONE_SCORES_PROBABILITIES,
    [PASS_SCORES_SIGMOID] = HONE_SCORES_SIGMOID,
    [PASS_SCORES_LOG_PROBABILITIES] = HONE_SCORES_LOG_PROBABILITIES,
    [PASS_SCORES_OTHER] = HONE_SCORES_OTHER,
};

bool tool_image_is_told(const ToolImage *im) {
    return im->labels || im->mean.n || im->std.n || im->resize.given || im->crop_pct.given ||
           im->scale.given || im->bgr || im->interpolation || im->fit || im->as_stored;
}

// As of a model that takes no image.
static void clear_image(CgOptions *cg) {
    memset(&cg->preprocess, 0, sizeof cg->preprocess);
    cg->labels = NULL;
    cg->n_labels = 0;
}

bool tool_image_options(Tool *t, ToolImage *im, IrGraph *g, CgOptions *cg) {
    int k;
    if (!tool_find_classifier(t, im, g, &k))
        return false;
    const IrValue *output = g->outputs[k < 0 ? 0 : k];
    cg->classifier = pass_is_score_row(g, k) ? k : -1;
    cg->scores = scores_of[pass_scores(g, k < 0 ? 0 : k).kind];
    clear_image(cg);
    bool image = find_image(g, &cg->preprocess);
    if (image && !im->embeds && !tool_image_told_labels(t, im, g->prog, cg))
        return false;
    const HonePreprocess *x = &cg->preprocess;
    PassPicture picture = {x->height, x->width, x->nhwc != 0};
    PassTask task = pass_task(g, cg->classifier, &picture, cg->n_labels);
    if (!image ||
        (im->embeds && task.kind == PASS_TASK_SEGMENT)) // what --output chooses are features
        task.kind = PASS_TASK_CLASS;
    bool embeds = im->embeds && task.kind == PASS_TASK_CLASS;
    fill_task(im, &task, cg);
    if (task.kind == PASS_TASK_SEGMENT)
        cg->scores = scores_of[pass_scores(g, task.mask).kind];
    if (!image || (task.kind == PASS_TASK_CLASS && g->inputs[0]->type.shape.rank == 3)) {
        clear_image(cg);
        im->classifier = im->told = NULL;
        if (tool_image_is_told(im))
            ir_warn(&t->diag, IR_NOWHERE,
                    "the model has no image input: image options are ignored");
        return true;
    }
    if (embeds && im->labels) {
        ir_error(&t->diag, IR_NOWHERE, "--labels: nothing that --output chooses classifies");
        return false;
    }
    if (!fill_numbers(t, im, g, &task, &cg->preprocess))
        return false;
    if (embeds)
        return true;
    if (im->embeds && !tool_image_told_labels(t, im, g->prog, cg))
        return false;
    return task.kind == PASS_TASK_CLASS ? tool_image_labels(t, im, g->prog, output, cg)
                                        : tool_image_task_labels(t, im, g->prog, &task, output, cg);
}

bool tool_image_arrays(Tool *t, const IrGraph *g, HonePreprocess *x) {
    const IrValue *in = g->inputs[0];
    const IrShape *s = &in->type.shape;
    bool known = s->rank >= 2 && s->rank <= 4 && s->dim[0].n && !s->dim[0].c;
    int32_t dim[4] = {0, 1, 1, 1};
    for (int i = 1; known && i < s->rank; i++) {
        known = !s->dim[i].n && s->dim[i].c > 0 && s->dim[i].c <= 1 << 20;
        dim[i] = (int32_t)s->dim[i].c;
    }
    if (!known) {
        ir_error(&t->diag, IR_NOWHERE,
                 "NYI: fine-tuning takes inputs [N,C,H,W], [N,C,L] and [N,C] whose sizes but N are "
                 "known; '%s' is none",
                 in->name);
        return false;
    }
    *x = (HonePreprocess){.channels = dim[1], .height = dim[2], .width = dim[3]};
    return true;
}
