// The training report as a page: figures, curves, what trained, which classes are taken for which,
// the worst mistakes as thumbnails, the settings. One file, no scripts, no references.
#include "runtime/train/report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file/html.h"

enum { WIDTH = 560, HEIGHT = 250, LEFT = 48, RIGHT = 12, TOP = 14, BOTTOM = 30 }; // of a chart
enum { CELL = 26, MAX_MATRIX = 40, MAX_PAIRS = 12, THUMBNAIL = 96, MAX_TICKS = 10 };

static const char style[] =
    "svg{display:block;max-width:100%;height:auto}\n"
    "svg text{fill:var(--dim);font:11px system-ui,\"DejaVu Sans\",sans-serif}\n"
    "svg .end{text-anchor:end}svg .mid{text-anchor:middle}\n"
    "svg .grid{stroke:var(--line)}svg .stage{stroke:var(--dim);stroke-dasharray:3 3}\n"
    "svg .train{fill:none;stroke:var(--c2);stroke-width:2}"
    "svg .val{fill:none;stroke:var(--c0);stroke-width:2}\n"
    "svg .traind{fill:var(--c2)}svg .vald{fill:var(--c0)}\n"
    ".charts{display:flex;flex-wrap:wrap;gap:24px}\n.key span{margin-right:18px}\n"
    "i.train{background:var(--c2)}i.val{background:var(--c0)}\n"
    ".hit{fill:var(--c1)}.miss{fill:var(--c4)}svg .num{fill:var(--ink);font-size:10px}\n"
    ".photos{display:flex;flex-wrap:wrap;gap:16px}\n"
    "figure{margin:0;width:150px;font-size:12px;overflow-wrap:anywhere}\n"
    "figure img{display:block;height:96px;border-radius:6px;image-rendering:auto}\n"
    "figcaption b{color:var(--c4)}\nsmall{color:var(--dim)}\n"
    "table.plan td:nth-child(2),table.plan th:nth-child(2){text-align:left}\n"
    ".on{background:var(--c1)}.off{background:var(--line)}\n";

typedef struct Series {
    const char *css; // "train", "val"
    int column;      // RT_HIST_*
} Series;

// ---------------------------------------------------------------- curves

typedef struct Chart {
    const RtTrainState *s;
    FILE *f;
    double top; // of the y axis
} Chart;

static double value_at(const Chart *c, int64_t row, int column) {
    return c->s->history[row * RT_HIST_COLUMNS + column];
}

static double x_of(const Chart *c, int64_t row) {
    double n = c->s->n_history > 1 ? (double)(c->s->n_history - 1) : 1;
    return LEFT + (double)row / n * (WIDTH - LEFT - RIGHT);
}

static double y_of(const Chart *c, double v) {
    double share = c->top > 0 ? v / c->top : 0;
    return HEIGHT - BOTTOM - (share < 1 ? share : 1) * (HEIGHT - TOP - BOTTOM);
}

// 1, 2 or 5 times a power of ten, at least x.
static double round_up(double x) {
    double unit = pow(10, floor(log10(x > 0 ? x : 1)));
    for (int i = 0; i < 3; i++)
        if (x <= (double[]){1, 2, 5}[i] * unit)
            return (double[]){1, 2, 5}[i] * unit;
    return 10 * unit;
}

static void put_axes(const Chart *c, bool percent) {
    for (int i = 0; i <= 4; i++) {
        double v = c->top * i / 4, y = y_of(c, v);
        fprintf(c->f, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                WIDTH - RIGHT, y, y);
        fprintf(c->f,
                percent ? "<text class=\"end\" x=\"%d\" y=\"%.1f\">%.0f%%</text>"
                        : "<text class=\"end\" x=\"%d\" y=\"%.1f\">%.3g</text>",
                LEFT - 6, y + 4, percent ? v * 100 : v);
    }
    int64_t n = c->s->n_history, step = (n + MAX_TICKS - 1) / MAX_TICKS;
    for (int64_t i = 0; i < n; i += step ? step : 1)
        fprintf(c->f, "<text class=\"mid\" x=\"%.1f\" y=\"%d\">%lld</text>", x_of(c, i),
                HEIGHT - 10, (long long)i + 1);
    for (int64_t i = 1; i < n; i++) {
        if (value_at(c, i, RT_HIST_STAGE) == value_at(c, i - 1, RT_HIST_STAGE))
            continue;
        double x = (x_of(c, i) + x_of(c, i - 1)) / 2;
        fprintf(c->f, "<line class=\"stage\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", x, x,
                TOP, HEIGHT - BOTTOM);
    }
}

static void put_series(const Chart *c, const Series *s) {
    fprintf(c->f, "<polyline class=\"%s\" points=\"", s->css);
    for (int64_t i = 0; i < c->s->n_history; i++)
        fprintf(c->f, "%.1f,%.1f ", x_of(c, i), y_of(c, value_at(c, i, s->column)));
    fputs("\"/>", c->f);
    for (int64_t i = 0; c->s->n_history <= 60 && i < c->s->n_history; i++)
        fprintf(c->f,
                "<circle class=\"%sd\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>epoch %lld: "
                "%.4g</title></circle>",
                s->css, x_of(c, i), y_of(c, value_at(c, i, s->column)), (long long)i + 1,
                value_at(c, i, s->column));
}

static void put_chart(const RtTrainResult *r, FILE *f, const char *name, const Series *series,
                      int n, bool percent) {
    Chart c = {r->state, f, 0};
    for (int k = 0; k < n; k++)
        for (int64_t i = 0; i < r->state->n_history; i++)
            c.top = fmax(c.top, value_at(&c, i, series[k].column));
    c.top = percent ? 1 : round_up(c.top);
    fprintf(f, "<div><h2>%s</h2>\n<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\">", name,
            WIDTH, HEIGHT, WIDTH);
    put_axes(&c, percent);
    for (int k = 0; k < n; k++)
        put_series(&c, &series[k]);
    fputs("</svg></div>\n", f);
}

static void put_curves(const RtTrainResult *r, FILE *f) {
    const Series loss[] = {{"train", RT_HIST_TRAIN_LOSS}, {"val", RT_HIST_VAL_LOSS}};
    const Series top1[] = {{"train", RT_HIST_TRAIN_TOP1}, {"val", RT_HIST_VAL_TOP1}};
    const Series rate[] = {{"train", RT_HIST_LR}};
    int n = r->data->n_val ? 2 : 1;
    fputs("<section>\n<p class=\"key\"><span><i class=\"train\"></i>training</span>", f);
    if (n == 2)
        fputs("<span><i class=\"val\"></i>validation</span>", f);
    fputs("<small>by epoch; a dashed line where a stage begins</small></p>\n"
          "<div class=\"charts\">\n",
          f);
    put_chart(r, f, "Loss", loss, n, false);
    put_chart(r, f, "Top-1 accuracy", top1, n, true);
    put_chart(r, f, "Learning rate", rate, 1, false);
    fputs("</div>\n</section>\n", f);
}

// ---------------------------------------------------------------- ridges

static void put_ridges(const RtTrainResult *r, FILE *f) {
    if (r->state->ridge[0][RT_RIDGE] <= 0)
        return;
    fputs("<section>\n<h2>Ridges that were tried</h2>\n<p>The classifier was solved with each, on "
          "images without those held out, whose loss chose.</p>\n<table>\n<tr><th>ridge</th>"
          "<th>loss</th><th>held out: loss</th><th>top-1</th></tr>\n",
          f);
    for (int i = 0; i < RT_SOLVE_PATH && r->state->ridge[i][RT_RIDGE] > 0; i++) {
        const double *row = r->state->ridge[i];
        const char *b = row[RT_RIDGE_TAKEN] > 0 ? "<b>" : "", *end = *b ? "</b>" : "";
        fprintf(f, "<tr><td>%s%.2g%s</td><td>%.4f</td><td>%s%.4f%s</td><td>%.2f%%</td></tr>\n", b,
                row[RT_RIDGE], end, row[RT_RIDGE_LOSS], b, row[RT_RIDGE_HELD], end,
                row[RT_RIDGE_TOP1] * 100);
    }
    fputs("</table>\n</section>\n", f);
}

// ---------------------------------------------------------------- the plan

static void put_plan(const RtTrainResult *r, FILE *f) {
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    fputs("<section>\n<h2>What trained</h2>\n<table class=\"plan\">\n<tr><th>node</th><th>op</th>"
          "<th>parameters</th>",
          f);
    for (int s = 0; s < d->n_stages; s++) {
        fprintf(f, "<th>%d: ", s + 1);
        rt_html_text(f, d->stages[s].spec);
        fputs("</th>", f);
    }
    fputs("<th></th></tr>\n", f);
    for (int i = 0; i < d->n_plan; i++) {
        fputs("<tr><td>", f);
        rt_html_text(f, d->plan[i].node);
        fputs("</td><td>", f);
        rt_html_text(f, d->plan[i].op);
        fprintf(f, "</td><td>%lld</td>", (long long)d->plan[i].count);
        for (int s = 0; s < d->n_stages; s++)
            fprintf(f, "<td><i class=\"%s\"></i></td>", d->plan[i].trains >> s & 1 ? "on" : "off");
        fputs("<td><small>", f);
        rt_html_text(f, d->plan[i].params);
        fputs("</small></td></tr>\n", f);
    }
    fputs("<tr><td>trained</td><td></td><td></td>", f);
    for (int s = 0; s < d->n_stages; s++)
        fprintf(f, "<td>%lld</td>", (long long)d->stages[s].n_trained);
    fputs("<td></td></tr>\n</table>\n</section>\n", f);
}

// ---------------------------------------------------------------- confusion

// Pixels that the longest class name takes, within reason.
static int name_width(const RtTrainResult *r) {
    size_t most = 1;
    for (int i = 0; i < r->scores->classes; i++)
        most = strlen(r->data->names[i]) > most ? strlen(r->data->names[i]) : most;
    return 16 + 7 * (int)(most < 24 ? most : 24);
}

static void put_matrix(const RtTrainResult *r, FILE *f) {
    const RtScores *s = r->scores;
    int n = s->classes, left = name_width(r), top = 20 + left * 7 / 8;
    fprintf(f,
            "<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\"><text class=\"mid\" x=\"%d\" "
            "y=\"12\">taken for</text>",
            left + n * CELL + 20, top + n * CELL + 8, left + n * CELL + 20, left + n * CELL / 2);
    for (int i = 0; i < n; i++) {
        int64_t row = 0;
        for (int k = 0; k < n; k++)
            row += s->confusion[i * n + k];
        fprintf(f, "<text class=\"end\" x=\"%d\" y=\"%d\">", left - 6, top + i * CELL + 17);
        rt_html_text(f, r->data->names[i]);
        fprintf(f, "</text><text transform=\"translate(%d %d) rotate(-60)\">", left + i * CELL + 16,
                top - 6);
        rt_html_text(f, r->data->names[i]);
        fputs("</text>", f);
        for (int k = 0; k < n; k++) {
            int64_t x = s->confusion[i * n + k];
            int px = left + k * CELL, py = top + i * CELL;
            fprintf(f,
                    "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                    "fill-opacity=\"%.3f\"/>",
                    i == k ? "hit" : "miss", px, py, CELL - 1, CELL - 1,
                    row ? (x ? 0.12 : 0) + 0.8 * (double)x / (double)row : 0);
            if (x)
                fprintf(f, "<text class=\"num mid\" x=\"%d\" y=\"%d\">%lld</text>", px + CELL / 2,
                        py + 17, (long long)x);
        }
    }
    fputs("</svg>\n", f);
}

// The most frequent mistakes, for more classes than a matrix can show.
static void put_pairs(const RtTrainResult *r, FILE *f) {
    const RtScores *s = r->scores;
    int64_t before = INT64_MAX, last = -1, n = s->classes;
    fputs("<table><tr><th>class</th><th>images</th><th>taken for</th></tr>\n", f);
    for (int line = 0; line < MAX_PAIRS; line++) {
        int64_t best = -1;
        for (int64_t i = 0; i < n * n; i++) {
            int64_t x = s->confusion[i];
            bool left = i / n != i % n && x > 0 && (x < before || (x == before && i > last));
            if (left && (best < 0 || x > s->confusion[best]))
                best = i;
        }
        if (best < 0)
            break;
        before = s->confusion[best];
        last = best;
        fputs("<tr><td>", f);
        rt_html_text(f, r->data->names[best / n]);
        fprintf(f, "</td><td>%lld</td><td>", (long long)before);
        rt_html_text(f, r->data->names[best % n]);
        fputs("</td></tr>\n", f);
    }
    fputs("</table>\n", f);
}

// Precision, recall and F1 of each class, and how the probabilities are to be taken.
static void put_classes(const RtTrainResult *r, FILE *f) {
    const RtScores *s = r->scores;
    fprintf(f,
            "<table><tr><th>class</th><th>images</th><th>precision</th><th>recall</th><th>F1</th>"
            "</tr>\n");
    for (int k = 0; k < s->classes; k++) {
        RtClassScores c = rt_scores_of_class(s, k);
        fputs("<tr><td>", f);
        rt_html_text(f, r->data->names[k]);
        fprintf(f, "</td><td>%lld</td><td>%.1f%%</td><td>%.1f%%</td><td>%.1f%%</td></tr>\n",
                (long long)c.images, c.precision * 100, c.recall * 100, c.f1 * 100);
    }
    fprintf(f,
            "<tr><td>mean</td><td></td><td></td><td></td><td>%.1f%%</td></tr></table>\n<p>"
            "Probabilities are off by %.1f%% of what is right (expected calibration error).</p>\n",
            rt_scores_macro_f1(s) * 100, rt_scores_calibration_error(s) * 100);
}

static void put_confusion(const RtTrainResult *r, FILE *f) {
    if (!r->scores->confusion || r->scores->n == 0)
        return;
    fputs("<section>\n<h2>Which class is taken for which</h2>\n<p>Validation images of the best "
          "epoch; a row is a class.</p>\n",
          f);
    if (r->scores->classes <= MAX_MATRIX)
        put_matrix(r, f);
    else
        put_pairs(r, f);
    put_classes(r, f);
    fputs("</section>\n", f);
}

// ---------------------------------------------------------------- mistakes

static void put_base64(FILE *f, const uint8_t *data, size_t n) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t x = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                     (left > 2 ? data[i + 2] : 0);
        fputc(digit[x >> 18], f);
        fputc(digit[x >> 12 & 63], f);
        fputc(left > 1 ? digit[x >> 6 & 63] : '=', f);
        fputc(left > 2 ? digit[x & 63] : '=', f);
    }
}

static const char *name_of(const RtTrainResult *r, int32_t k) {
    return k >= 0 && k < r->data->classes ? r->data->names[k] : "none";
}

static void put_mistake(const RtTrainResult *r, FILE *f, const RtMistake *m) {
    const HoneModelDesc *info = rt_engine_desc(r->engine)->info;
    char name[512];
    size_t bytes = 0;
    RtErr err;
    uint8_t *jpeg = r->data->tensors ? NULL
                                     : rt_dataset_thumbnail(r->data, m->item, &info->preprocess,
                                                            THUMBNAIL, &bytes, &err);
    fputs("<figure>", f);
    if (jpeg) {
        fputs("<img alt=\"\" src=\"data:image/jpeg;base64,", f);
        put_base64(f, jpeg, bytes);
        fputs("\">", f);
    }
    fputs("<figcaption>", f);
    rt_html_text(f, name_of(r, m->label));
    fputs(", taken for <b>", f);
    rt_html_text(f, name_of(r, m->guess));
    fprintf(f, "</b> (%.0f%%)<br><small>", m->score * 100);
    rt_html_text(f, rt_dataset_item_name(r->data, m->item, name, sizeof name));
    fputs("</small></figcaption></figure>\n", f);
    free(jpeg);
}

static void put_mistakes(const RtTrainResult *r, FILE *f) {
    if (r->scores->n_worst == 0)
        return;
    fputs("<section>\n<h2>The worst mistakes</h2>\n<div class=\"photos\">\n", f);
    for (int i = 0; i < r->scores->n_worst; i++)
        put_mistake(r, f, &r->scores->worst[i]);
    fputs("</div>\n</section>\n", f);
}

// ---------------------------------------------------------------- the page

static void put_head(const RtTrainResult *r, FILE *f) {
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    const RtTrainState *s = r->state;
    fputs("<h1>", f);
    rt_html_text(f, d->info->name);
    fprintf(f, ", fine-tuned to %d classes</h1>\n<p>Images: ", d->binary ? 2 : d->classes);
    rt_html_text(f, r->set->data);
    fprintf(f, ", %lld for training and %lld for validation. ", (long long)r->data->n_train,
            (long long)r->data->n_val);
    rt_html_text(f, d->info->producer);
    fputs(".</p>\n<dl>\n", f);
    if (r->scores->n) {
        rt_html_tile(f, "Top-1, best epoch", r->scores->top1 * 100, 2, "%");
        rt_html_tile(f, "Top-5", r->scores->top5 * 100, 2, "%");
        rt_html_tile(f, "Loss", r->scores->loss, 4, "");
        rt_html_tile(f, "Best epoch", (double)s->at[RT_BEST_EPOCH] + 1, 0, "");
    }
    rt_html_tile(f, "Epochs", (double)s->n_history, 0, "");
    rt_html_tile(f, "Steps", (double)s->at[RT_AT_STEP], 0, "");
    rt_html_tile(f, "Time", r->seconds, 1, "s");
    rt_html_tile(f, "Bad images", (double)r->bad_images, 0, "");
    fputs("</dl>\n", f);
}

static void put_setting(FILE *f, const char *name, const char *value) {
    fprintf(f, "<tr><td>%s</td><td>", name);
    rt_html_text(f, value);
    fputs("</td></tr>\n", f);
}

static void put_settings(const RtTrainResult *r, FILE *f) {
    static const char *const optimizers[] = {
#define OPTIMIZER(NAME, name, title) title,
#include "runtime/train/bind.def"
    };
    const RtTrainSettings *s = r->set;
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    char text[256];
    fputs("<section>\n<h2>Settings</h2>\n<table>\n", f);
    put_setting(f, "lr schedule", rt_lr_schedule_name(s->lr_schedule));
    for (int i = 0; i < d->n_stages; i++) {
        snprintf(text, sizeof text, "%s: %s, %d epochs, rate %g", d->stages[i].spec,
                 optimizers[s->optimizer[i]], s->epochs[i], (double)s->lr[i]);
        put_setting(f, "stage", text);
    }
    snprintf(text, sizeof text, "%d, %d a step", s->batch, s->accumulate);
    put_setting(f, "batch", text);
    snprintf(text, sizeof text, "%g, decay %g, smoothing %g, clip %g", (double)s->momentum,
             (double)s->decay, (double)s->smoothing, (double)s->clip);
    put_setting(f, "momentum", text);
    put_setting(f, "augmentation", rt_augment_name(s->augment));
    snprintf(text, sizeof text, "%llu", (unsigned long long)s->seed);
    put_setting(f, "seed", text);
    fputs("</table>\n</section>\n", f);
}

bool rt_report_html(const RtTrainResult *r, RtOutFile *out, RtErr *err) {
    if (!rt_out_begin(out, err))
        return false;
    FILE *f = out->f;
    rt_html_begin(f, rt_engine_desc(r->engine)->info->name, "training report", style);
    put_head(r, f);
    if (r->state->n_history)
        put_curves(r, f);
    put_ridges(r, f);
    put_confusion(r, f);
    put_mistakes(r, f);
    put_plan(r, f);
    put_settings(r, f);
    rt_html_end(f);
    return rt_out_commit(out, err);
}
