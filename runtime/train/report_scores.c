// How well it does, in the training report: which class is taken for which, precision and recall of
// each, and the worst mistakes with their pictures.
#include "runtime/train/report_part.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/text.h"
#include "runtime/file/html.h"

enum { CELL = 28, MAX_MATRIX = 40, MAX_PAIRS = 12, MAX_ROWS = 40, MAX_NAME = 24, THUMBNAIL = 160 };

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

static void put_matrix(const RtTrainResult *r, FILE *f) {
    const RtScores *s = r->scores;
    int n = s->classes, left = name_width(r), top = 20 + left * 7 / 8, wide = left + n * CELL;
    fprintf(f,
            "<div class=\"matrix\"><svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" "
            "aria-label=\"confusion matrix\"><text class=\"mid\" x=\"%d\" y=\"12\">taken for"
            "</text>",
            wide + left / 2, top + n * CELL + 8, wide + left / 2, left + n * CELL / 2);
    for (int i = 0; i < n; i++) {
        int64_t row = 0;
        for (int k = 0; k < n; k++)
            row += s->confusion[i * n + k];
        fprintf(f, "<text class=\"end\" x=\"%d\" y=\"%d\">", left - 6, top + i * CELL + 18);
        put_name(r, f, i);
        fprintf(f, "<text transform=\"translate(%d %d) rotate(-60)\">", left + i * CELL + 17,
                top - 6);
        put_name(r, f, i);
        for (int k = 0; k < n; k++)
            put_cell(f, i == k, s->confusion[i * n + k], row, left + k * CELL, top + i * CELL);
    }
    fputs("</svg></div>\n", f);
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
            "<div><h3>The most frequent</h3>\n<table>\n<tr><th>class</th><th>%s</th>"
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

static void put_scores(const RtTrainResult *r, FILE *f, int k) {
    RtClassScores c = rt_scores_of_class(r->scores, k);
    bool map = r->data->target == RT_TARGET_MAP;
    fputs("<tr><td>", f);
    rt_html_text(f, r->data->names[k]);
    fprintf(f, "</td><td>%lld</td><td>%.1f%%</td><td>%.1f%%</td><td>%.1f%%</td></tr>\n",
            (long long)c.images, c.precision * 100, c.recall * 100,
            (map ? fmax(c.iou, 0) : c.f1) * 100);
}

// Precision, recall and F1 of each class, and how the probabilities are to be taken.
static void put_classes(const RtTrainResult *r, FILE *f) {
    const RtScores *s = r->scores;
    bool many = s->classes > MAX_ROWS;
    fputs("<h3>By class</h3>\n", f);
    if (many)
        fprintf(f, "<details><summary>all %d classes</summary>\n", s->classes);
    bool map = r->data->target == RT_TARGET_MAP;
    fprintf(f,
            "<table class=\"sum\">\n<tr><th>class</th><th>%s</th><th>precision</th>"
            "<th>recall</th><th>%s</th></tr>\n",
            rt_score_words(rt_engine_desc(r->engine))->unit, map ? "IoU" : "F1");
    for (int k = 0; k < s->classes; k++)
        put_scores(r, f, k);
    fprintf(f, "<tr><td>mean</td><td></td><td></td><td></td><td>%.1f%%</td></tr>\n</table>\n%s",
            (map ? s->top1 : rt_scores_macro_f1(s)) * 100, many ? "</details>\n" : "");
    if (map)
        return;
    fprintf(f,
            "<p>Probabilities are off by %.1f%% of what is right (expected calibration error).</p>"
            "\n",
            rt_scores_calibration_error(s) * 100);
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
    if (r->scores->classes <= MAX_MATRIX)
        put_matrix(r, f);
    put_pairs(r, f);
    fputs("</div>\n", f);
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
    uint8_t *jpeg =
        rt_dataset_thumbnail(r->data, m->item, &info->preprocess, THUMBNAIL, &bytes, &err);
    fputs("<figure><div class=\"photo\">", f);
    if (jpeg) {
        fputs("<img alt=\"\" src=\"data:image/jpeg;base64,", f);
        put_base64(f, jpeg, bytes);
        fputs("\">", f);
    }
    fputs("</div><figcaption>", f);
    rt_html_text(f, name_of(r, m->label));
    fputs(", taken for <b>", f);
    rt_html_text(f, name_of(r, m->guess));
    fprintf(f, "</b> (%.0f%%)<br><small>", m->score * 100);
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
