// How well it does, in the training report: which class is taken for which, precision and recall of
// each, and the worst mistakes with their pictures.
#include "runtime/train/report_part.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/text.h"
#include "runtime/file/html.h"

enum { CELL = 28, MAX_MATRIX = 40, MOST_CONFUSED = 24, MAX_PAIRS = 12, MAX_NAME = 24 };
enum { MAX_ROWS = 40, WORST_ROWS = 12, THUMBNAIL = 160 };

// ---------------------------------------------------------------- confusion

// Pixels that the longest class name takes as it is written in a picture.
static int name_width(const RtTrainResult *r) {
    size_t most = 1;
    for (int i = 0; i < r->scores->classes; i++)
        most = strlen(r->data->names[i]) > most ? strlen(r->data->names[i]) : most;
    return 16 + 7 * (int)(most < MAX_NAME ? most : MAX_NAME);
}

static void put_name(const RtTrainResult *r, FILE *f, int k) {
    rt_html_short(f, r->data->names[k], MAX_NAME);
    fputs("<title>", f);
    rt_html_text(f, r->data->names[k]);
    fputs("</title></text>", f);
}

static void put_cell(FILE *f, bool hit, int64_t x, int64_t row, int px, int py) {
    fprintf(f,
            "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
            "fill-opacity=\"%.3f\"/>",
            hit ? "hit" : "miss", px, py, CELL - 1, CELL - 1,
            row ? (x ? 0.12 : 0) + 0.8 * (double)x / (double)row : 0);
    if (x)
        fprintf(f, "<text class=\"num mid\" x=\"%d\" y=\"%d\">%lld%s</text>", px + CELL / 2,
                py + 18, (long long)(x < 10000 ? x : x / 1000), x < 10000 ? "" : "k");
}

// Into value[classes]: in how many mistakes each class is, on either side.
static void count_mistakes(const RtScores *s, double *value) {
    for (int i = 0; i < s->classes; i++)
        for (int k = 0; k < s->classes; k++)
            if (i != k) {
                value[i] += (double)s->confusion[(int64_t)i * s->classes + k];
                value[k] += (double)s->confusion[(int64_t)i * s->classes + k];
            }
}

// The place of the largest value, which becomes -1; -1: all are.
static int take_largest(double *value, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        best = value[i] > value[best] ? i : best;
    if (value[best] < 0)
        return -1;
    value[best] = -1;
    return best;
}

static int compare_ints(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

// Whose rows and columns are shown: all classes, of many those in the most mistakes. Returns how
// many; 0 without memory.
static int choose_classes(const RtScores *s, int pick[MAX_MATRIX]) {
    int n = s->classes <= MAX_MATRIX ? s->classes : MOST_CONFUSED;
    double *value = calloc((size_t)s->classes, sizeof *value);
    if (!value)
        return 0;
    count_mistakes(s, value);
    for (int i = 0; i < n; i++)
        pick[i] = n == s->classes ? i : take_largest(value, s->classes);
    qsort(pick, (size_t)n, sizeof *pick, compare_ints);
    free(value);
    return n;
}

// One class: its name before the row and above the column, the row's cells.
static void put_matrix_row(const RtTrainResult *r, FILE *f, const int *pick, int n, int i, int left,
                           int top) {
    const RtScores *s = r->scores;
    const int64_t *row = s->confusion + (int64_t)pick[i] * s->classes;
    int64_t all = 0;
    for (int k = 0; k < s->classes; k++)
        all += row[k];
    fprintf(f, "<text class=\"end\" x=\"%d\" y=\"%d\">", left - 6, top + i * CELL + 18);
    put_name(r, f, pick[i]);
    fprintf(f, "<text transform=\"translate(%d %d) rotate(-60)\">", left + i * CELL + 17, top - 6);
    put_name(r, f, pick[i]);
    for (int k = 0; k < n; k++)
        put_cell(f, i == k, row[pick[k]], all, left + k * CELL, top + i * CELL);
}

static void put_matrix(const RtTrainResult *r, FILE *f) {
    int pick[MAX_MATRIX], n = choose_classes(r->scores, pick);
    int left = name_width(r), top = 20 + left * 7 / 8, wide = left + n * CELL;
    fputs("<div>", f);
    if (n < r->scores->classes)
        fprintf(f, "<h3>The %d classes of %d with the most mistakes</h3>\n", n, r->scores->classes);
    fprintf(f,
            "<div class=\"matrix\"><svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" "
            "aria-label=\"confusion matrix\"><text class=\"mid\" x=\"%d\" y=\"12\">taken for"
            "</text>",
            wide + left / 2, top + n * CELL + 8, wide + left / 2, left + n * CELL / 2);
    for (int i = 0; i < n; i++)
        put_matrix_row(r, f, pick, n, i, left, top);
    fputs("</svg></div></div>\n", f);
}

// Behind place `last` of the confusion matrix (-1: the first), in the order of how many images: the
// next place of a mistake, -1: there is none.
static int64_t next_pair(const RtScores *s, int64_t last) {
    int64_t best = -1, n = s->classes, before = last < 0 ? INT64_MAX : s->confusion[last];
    for (int64_t i = 0; i < n * n; i++) {
        int64_t x = s->confusion[i];
        bool left = i / n != i % n && x > 0 && (x < before || (x == before && i > last));
        if (left && (best < 0 || x > s->confusion[best]))
            best = i;
    }
    return best;
}

static void put_pairs(const RtTrainResult *r, FILE *f) {
    const RtScores *s = r->scores;
    int64_t at = next_pair(s, -1), n = s->classes;
    if (at < 0)
        return;
    fprintf(f,
            "<div><h3>The most frequent mistakes</h3>\n<table>\n<tr><th>class</th><th>%s</th>"
            "<th>taken for</th></tr>\n",
            rt_score_words(rt_engine_desc(r->engine))->unit);
    for (int line = 0; line < MAX_PAIRS && at >= 0; line++, at = next_pair(s, at)) {
        fputs("<tr><td>", f);
        rt_html_text(f, r->data->names[at / n]);
        fprintf(f, "</td><td>%lld</td><td>", (long long)s->confusion[at]);
        rt_html_text(f, r->data->names[at % n]);
        fputs("</td></tr>\n", f);
    }
    fputs("</table></div>\n", f);
}

// What a class is judged by as a whole.
static double score_of(const RtTrainResult *r, const RtClassScores *c) {
    return r->data->target == RT_TARGET_MAP ? c->iou : c->f1;
}

static void put_share(FILE *f, double x) {
    if (isnan(x))
        fputs("<td>-</td>", f);
    else
        fprintf(f, "<td>%.1f%%</td>", x * 100);
}

static void put_scores(const RtTrainResult *r, FILE *f, int k) {
    RtClassScores c = rt_scores_of_class(r->scores, k);
    fputs("<tr><td>", f);
    rt_html_text(f, r->data->names[k]);
    fprintf(f, "</td><td>%lld</td>", (long long)c.images);
    put_share(f, c.precision);
    put_share(f, c.recall);
    put_share(f, score_of(r, &c));
    fputs("</tr>\n", f);
}

static void put_scores_head(const RtTrainResult *r, FILE *f) {
    fprintf(f,
            "<table class=\"sum\">\n<tr><th>class</th><th>%s</th><th>precision</th>"
            "<th>recall</th><th>%s</th></tr>\n",
            rt_score_words(rt_engine_desc(r->engine))->unit,
            r->data->target == RT_TARGET_MAP ? "IoU" : "F1");
}

static void put_mean(const RtTrainResult *r, FILE *f) {
    bool map = r->data->target == RT_TARGET_MAP;
    fprintf(f, "<tr><td>mean</td><td></td><td></td><td></td><td>%.1f%%</td></tr>\n</table>\n",
            (map ? r->scores->top1 : rt_scores_macro_f1(r->scores)) * 100);
}

// Of many classes: those that are found worst, of which there are images, and the mean of all.
static void put_worst_classes(const RtTrainResult *r, FILE *f) {
    int n = r->scores->classes;
    double *value = calloc((size_t)n, sizeof *value); // 1 - F1 or IoU; -1: no images
    for (int k = 0; value && k < n; k++) {
        RtClassScores c = rt_scores_of_class(r->scores, k);
        value[k] = c.images ? 1 - score_of(r, &c) : -1;
    }
    fputs("<h3>The classes that are found worst</h3>\n", f);
    put_scores_head(r, f);
    for (int i = 0, k; value && i < WORST_ROWS && (k = take_largest(value, n)) >= 0; i++)
        put_scores(r, f, k);
    put_mean(r, f);
    free(value);
}

// Precision, recall and F1 of each class.
static void put_classes(const RtTrainResult *r, FILE *f) {
    const RtScores *s = r->scores;
    bool many = s->classes > MAX_ROWS;
    fputs("<div>", f);
    if (many) {
        put_worst_classes(r, f);
        fprintf(f, "<details><summary>all %d classes</summary>\n", s->classes);
    } else {
        fputs("<h3>By class</h3>\n", f);
    }
    put_scores_head(r, f);
    for (int k = 0; k < s->classes; k++)
        put_scores(r, f, k);
    put_mean(r, f);
    fprintf(f, "%s</div>\n", many ? "</details>\n" : "");
}

void rt_report_classes(const RtTrainResult *r, FILE *f) {
    if (!r->scores->confusion || r->scores->n == 0 || isnan(r->scores->top1))
        return;
    fprintf(f,
            "<section>\n<h2>Which class is taken for which</h2>\n<p>%s%s%s; a row is a class.</p>\n"
            "<div class=\"charts\">\n",
            r->set->folds ? "All " : "Validation ", rt_score_words(rt_engine_desc(r->engine))->unit,
            r->set->folds ? ", each as the network took it that had not learned from it"
                          : " of the best epoch");
    put_matrix(r, f);
    put_pairs(r, f);
    put_classes(r, f);
    fputs("</div>\n", f);
    if (r->data->target != RT_TARGET_MAP) // how the probabilities are to be taken
        fprintf(f,
                "<p>Probabilities are off by %.1f%% of what is right (expected calibration error)."
                "</p>\n",
                rt_scores_calibration_error(r->scores) * 100);
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

// "cat, taken for dog (90%)"; where an image may have several labels: "wrongly dog (90%)", or "cat
// not found (20%)".
static void put_error(const RtTrainResult *r, FILE *f, const RtMistake *m) {
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    bool each = d->loss == HONE_LOSS_BCE && !d->binary, wrongly = each && m->score > 0.5;
    if (!each)
        rt_html_text(f, name_of(r, m->label));
    fputs(each ? wrongly ? "wrongly <b>" : "<b>" : ", taken for <b>", f);
    rt_html_text(f, name_of(r, m->guess));
    fprintf(f, "</b>%s (%.0f%%)", each && !wrongly ? " not found" : "", m->score * 100);
}

static void put_mistake(const RtTrainResult *r, FILE *f, const RtMistake *m) {
    const HoneModelDesc *info = rt_engine_desc(r->engine)->info;
    char name[512];
    size_t bytes = 0;
    RtErr err;
    uint8_t *jpeg =
        rt_dataset_thumbnail(r->data, m->item, &info->preprocess, THUMBNAIL, &bytes, &err);
    fputs("<figure><div class=\"photo\">", f);
    if (jpeg) {
        fputs("<img alt=\"\" src=\"data:image/jpeg;base64,", f);
        put_base64(f, jpeg, bytes);
        fputs("\">", f);
    }
    fputs("</div><figcaption>", f);
    put_error(r, f, m);
    fputs("<br><small>", f);
    rt_html_text(f, rt_dataset_item_name(r->data, m->item, name, sizeof name));
    fputs("</small></figcaption></figure>\n", f);
    free(jpeg);
}

void rt_report_mistakes(const RtTrainResult *r, FILE *f) {
    if (r->scores->n_worst == 0)
        return;
    fputs("<section>\n<h2>The worst mistakes</h2>\n<div class=\"photos\">\n", f);
    for (int i = 0; i < r->scores->n_worst; i++)
        put_mistake(r, f, &r->scores->worst[i]);
    fputs("</div>\n</section>\n", f);
}
