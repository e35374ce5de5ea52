// Curves of the training report: SVG without scripts. A point's place along the x axis is its
// number. A picture is drawn at two thirds of its size or less (the style in report.c), three of
// them beside one another: letters are that much larger.
#include "runtime/train/report_part.h"

#include <math.h>

#include "runtime/file/html.h"

enum { WIDTH = 560, HEIGHT = 250, LEFT = 80, RIGHT = 30, TOP = 14, BOTTOM = 34 };
enum { MAX_TICKS = 8, MAX_DOTS = 60 };

typedef struct Series {
    const char *css; // "train", "val"
    int column;      // of a row
} Series;

typedef struct Chart {
    const char *title;
    const double *row; // [n][columns]: a point each
    int64_t n;
    int columns, n_series;
    const Series *series;
    bool percent;    // up to 1; else from 0 to what is needed
    int label;       // the column that is written below, -1: the number of the point
    int part;        // a dashed line where this column changes; -1: none
    int64_t marked;  // a point to show, -1: none
    double low, top; // of the y axis
} Chart;

static double value_at(const Chart *c, int64_t i, int column) {
    return c->row[i * c->columns + column];
}

static double x_of(const Chart *c, int64_t i) {
    double n = c->n > 1 ? (double)(c->n - 1) : 1;
    return LEFT + (c->n > 1 ? (double)i / n : 0.5) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const Chart *c, double v) {
    double share = c->top > c->low ? (v - c->low) / (c->top - c->low) : 0;
    return HEIGHT - BOTTOM - (share < 0 ? 0 : share < 1 ? share : 1) * (HEIGHT - TOP - BOTTOM);
}

// One of these times a power of ten, at least x: quarters of it are short numbers, too.
static double round_up(double x) {
    static const double units[] = {1, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8};
    double unit = pow(10, floor(log10(x > 0 ? x : 1)));
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (x <= units[i] * unit)
            return units[i] * unit;
    return 10 * unit;
}

static void put_line(FILE *f, const char *css, double x1, double x2, double y1, double y2) {
    fprintf(f, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", css, x1, x2,
            y1, y2);
}

static void put_axes(const Chart *c, FILE *f) {
    for (int i = 0; i <= 4; i++) {
        double v = c->low + (c->top - c->low) * i / 4, y = y_of(c, v);
        put_line(f, "grid", LEFT, WIDTH - RIGHT, y, y);
        fprintf(f,
                c->percent ? "<text class=\"end\" x=\"%d\" y=\"%.1f\">%.0f%%</text>"
                           : "<text class=\"end\" x=\"%d\" y=\"%.1f\">%.3g</text>",
                LEFT - 6, y + 4, c->percent ? v * 100 : v);
    }
    int64_t step = (c->n + MAX_TICKS - 1) / MAX_TICKS;
    for (int64_t i = 0; i < c->n; i += step ? step : 1)
        fprintf(f,
                c->label < 0 ? "<text class=\"mid\" x=\"%.1f\" y=\"%d\">%.0f</text>"
                             : "<text class=\"mid\" x=\"%.1f\" y=\"%d\">%.2g</text>",
                x_of(c, i), HEIGHT - 10, c->label < 0 ? (double)i + 1 : value_at(c, i, c->label));
    for (int64_t i = 1; i < c->n && c->part >= 0; i++) {
        double x = (x_of(c, i) + x_of(c, i - 1)) / 2;
        if (value_at(c, i, c->part) != value_at(c, i - 1, c->part))
            put_line(f, "stage", x, x, TOP, HEIGHT - BOTTOM);
    }
    if (c->marked >= 0)
        put_line(f, "best", x_of(c, c->marked), x_of(c, c->marked), TOP, HEIGHT - BOTTOM);
}

static void put_series(const Chart *c, FILE *f, const Series *s) {
    fprintf(f, "<polyline class=\"%s\" points=\"", s->css);
    for (int64_t i = 0; i < c->n; i++)
        fprintf(f, "%.1f,%.1f ", x_of(c, i), y_of(c, value_at(c, i, s->column)));
    fputs("\"/>", f);
    for (int64_t i = 0; c->n <= MAX_DOTS && i < c->n; i++) {
        double x = c->label < 0 ? (double)i + 1 : value_at(c, i, c->label);
        fprintf(f,
                "<circle class=\"%sd\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"><title>%g: %.4g</title>"
                "</circle>",
                s->css, x_of(c, i), y_of(c, value_at(c, i, s->column)), i == c->marked ? 5 : 3, x,
                value_at(c, i, s->column));
    }
}

// Shares from the highest of these that all are above on, so that good ones can be told apart.
static double floor_of(double least) {
    static const double floors[] = {0.96, 0.8, 0.6, 0.2};
    for (size_t i = 0; i < sizeof floors / sizeof *floors; i++)
        if (least >= floors[i])
            return floors[i];
    return 0;
}

static void put_chart(Chart c, FILE *f) {
    double least = 1;
    for (int k = 0; k < c.n_series; k++)
        for (int64_t i = 0; i < c.n; i++) {
            c.top = fmax(c.top, value_at(&c, i, c.series[k].column));
            least = fmin(least, value_at(&c, i, c.series[k].column));
        }
    c.top = c.percent ? 1 : round_up(c.top);
    c.low = c.percent ? floor_of(least) : 0;
    fprintf(f,
            "<div><h3>%s</h3>\n<svg class=\"chart\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "role=\"img\" aria-label=\"%s\">",
            c.title, WIDTH, HEIGHT, WIDTH, c.title);
    put_axes(&c, f);
    for (int k = 0; k < c.n_series; k++)
        put_series(&c, f, &c.series[k]);
    fputs("</svg></div>\n", f);
}

void rt_report_curves(const RtTrainResult *r, FILE *f) {
    const Series loss[] = {{"train", RT_HIST_TRAIN_LOSS}, {"val", RT_HIST_VAL_LOSS}};
    const Series top1[] = {{"train", RT_HIST_TRAIN_TOP1}, {"val", RT_HIST_VAL_TOP1}};
    const Series rate[] = {{"rate", RT_HIST_LR}};
    int64_t best = r->state->at[RT_BEST_EPOCH];
    bool val = r->data->n_val && !isnan(r->state->sum[RT_BEST_TOP1]); // else no place counted
    Chart c = {.title = "Loss",
               .row = r->state->history,
               .n = r->state->n_history,
               .columns = RT_HIST_COLUMNS,
               .n_series = val ? 2 : 1,
               .series = loss,
               .label = -1,
               .part = RT_HIST_STAGE,
               .marked = val && best < r->state->n_history ? best : -1};
    if (c.n < 2) // a point is no curve: its numbers are the page's figures
        return;
    fputs("<section>\n<h2>Curves</h2>\n<p class=\"key\"><span><i class=\"train\"></i>training"
          "</span>",
          f);
    if (c.n_series == 2)
        fputs("<span><i class=\"val\"></i>validation</span><span><i class=\"best\"></i>best epoch"
              "</span>",
              f);
    fputs("<small>by epoch; a dashed line where a stage begins</small></p>\n"
          "<div class=\"charts\">\n",
          f);
    put_chart(c, f);
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    c.title = d->map_height                            ? "Pixels (training), mIoU (validation)"
              : d->loss == HONE_LOSS_BCE && !d->binary ? "Labels right"
                                                       : "Top-1 accuracy";
    c.series = top1;
    c.percent = true;
    put_chart(c, f);
    c.title = "Learning rate";
    c.series = rate;
    c.percent = false;
    c.n_series = 1;
    put_chart(c, f);
    fputs("</div>\n</section>\n", f);
}

// score: what the share that is right is called.
static void put_ridge_table(const double (*ridge)[RT_RIDGE_COLUMNS], int n, const char *score,
                            FILE *f) {
    fprintf(f,
            "<div><table>\n<tr><th>ridge</th><th>loss</th><th>held out: loss</th><th>%s</th></tr>"
            "\n",
            score);
    for (int i = 0; i < n; i++)
        fprintf(f, "<tr%s><td>%.2g</td><td>%.4f</td><td>%.4f</td><td>%.2f%%</td></tr>\n",
                ridge[i][RT_RIDGE_TAKEN] > 0 ? " class=\"taken\"" : "", ridge[i][RT_RIDGE],
                ridge[i][RT_RIDGE_LOSS], ridge[i][RT_RIDGE_HELD], ridge[i][RT_RIDGE_TOP1] * 100);
    fputs("</table></div>\n", f);
}

void rt_report_ridges(const RtTrainResult *r, FILE *f) {
    const Series loss[] = {{"train", RT_RIDGE_LOSS}, {"val", RT_RIDGE_HELD}};
    Chart c = {.title = "Loss by ridge",
               .row = r->state->ridge[0],
               .columns = RT_RIDGE_COLUMNS,
               .n_series = 2,
               .series = loss,
               .label = RT_RIDGE,
               .part = -1,
               .marked = -1};
    while (c.n < RT_SOLVE_PATH && r->state->ridge[c.n][RT_RIDGE] > 0) {
        if (r->state->ridge[c.n][RT_RIDGE_TAKEN] > 0)
            c.marked = c.n;
        c.n++;
    }
    if (c.n < 2) // one alone was not chosen
        return;
    fputs("<section>\n<h2>The solved classifier: ridges that were tried</h2>\n<p>It was solved "
          "with each, from the strongest on, on images without those held out, whose loss chose; "
          "then once more on all training images.</p>\n<p class=\"key\"><span>"
          "<i class=\"train\"></i>solved on</span><span><i class=\"val\"></i>held out</span><span>"
          "<i class=\"best\"></i>taken</span></p>\n<div class=\"charts\">\n",
          f);
    put_chart(c, f);
    put_ridge_table(r->state->ridge, (int)c.n, rt_score_words(rt_engine_desc(r->engine))->train, f);
    fputs("</div>\n</section>\n", f);
}
