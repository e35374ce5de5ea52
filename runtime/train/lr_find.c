// The range test behind lr_find.h: RT_LR_STEPS steps, each rate a constant factor above the one
// before, from what moves nothing to what ruins everything; a loss that is not finite, or far above
// the least, ends it. A function of the seed, as every step is.
#include "runtime/train/lr_find.h"

#include "runtime/train/beside.h"
#include "runtime/train/rate.h"
#include "runtime/train/recipe.h"
#include "runtime/train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLED = 8 }; // steps before a loss that rises ends it
#define LOWEST 1e-6
#define HIGHEST 10.0
#define HIGHEST_ADAMW 1.0
#define KEPT 0.9 // of the smoothed loss, a step
#define RUINED 3 // times the least loss
#define SAFE 0.1 // of the rate where the loss was least
enum { STILL = 20 };  // steps whose rates move nothing yet
#define DEVIATIONS 5  // of the smoothed loss while nothing moves: less may be chance

// ---------------------------------------------------------------- the state, kept

static const RtEngineBuffer moved[] = {RT_ENGINE_P, RT_ENGINE_M, RT_ENGINE_V};
enum { N_MOVED = sizeof moved / sizeof *moved };

static float *keep_state(const RtRun *r) {
    size_t n = (size_t)r->d->param_floats;
    float *kept = malloc(N_MOVED * n * sizeof *kept + 1);
    for (int i = 0; kept && i < N_MOVED; i++)
        memcpy(kept + (size_t)i * n, rt_engine_buffer(r->engine, moved[i]), n * sizeof *kept);
    return kept;
}

static void restore_state(RtRun *r, const float *kept) {
    size_t n = (size_t)r->d->param_floats;
    for (int i = 0; i < N_MOVED; i++)
        memcpy(rt_engine_buffer(r->engine, moved[i]), kept + (size_t)i * n, n * sizeof *kept);
}

// ---------------------------------------------------------------- the sweep

typedef struct Sweep {
    RtLrCurve *c;
    double raw[RT_LR_STEPS]; // c->loss, not smoothed
    double smooth, least;
    int64_t taken; // steps
    bool over;
} Sweep;

static double rate_of(const RtRun *r, int k) {
    bool adamw = r->set->optimizer[r->state.at[RT_AT_STAGE]] == HONE_OPT_ADAMW;
    return LOWEST * pow((adamw ? HIGHEST_ADAMW : HIGHEST) / LOWEST, (double)k / (RT_LR_STEPS - 1));
}

// The loss before the step of rate number c->n.
static void add_loss(Sweep *s, double lr, double loss) {
    RtLrCurve *c = s->c;
    s->smooth = KEPT * s->smooth + (1 - KEPT) * loss;
    double mean = s->smooth / (1 - pow(KEPT, c->n + 1));
    s->over = !isfinite(mean) || (c->n >= SETTLED && mean > RUINED * s->least);
    if (!isfinite(mean))
        return;
    c->lr[c->n] = lr;
    s->raw[c->n] = loss;
    c->loss[c->n++] = mean;
    s->least = fmin(s->least, mean);
    s->over |= c->n == RT_LR_STEPS;
}

// Of masks none of whose pixels counts no step is taken.
static bool take_step(RtRun *r, Sweep *s, const RtFeed *f) {
    double weight = rt_run_batch_weight(r, f), loss = 0, norm, lr = rate_of(r, s->c->n);
    RtEngineBatch b = rt_run_batch(r, f, weight);
    if (weight <= 0)
        return true;
    if (!rt_engine_train(r->engine, &b, rt_engine_buffer(r->engine, RT_ENGINE_G), NULL, NULL,
                         &r->err) ||
        !rt_engine_grad_norm(r->engine, &norm, &r->err))
        return false;
    for (int64_t i = 0; i < f->n; i++)
        loss += (double)r->loss[i];
    add_loss(s, lr, isfinite(norm) ? loss / weight : NAN);
    if (s->over)
        return true;
    RtEngineRates rates = rt_rate_of_step(r, lr, norm, ++s->taken);
    return rt_engine_update(r->engine, &rates, &r->err);
}

// Passes over the images until it is over; a pass without one readable image is an error of the
// source's.
static bool sweep(RtRun *r, Sweep *s, bool (*stop)(RtRun *r), bool *stopped) {
    while (!s->over) {
        if (!rt_source_seek(r->train, r->state.at[RT_AT_EPOCH], 0, &r->err))
            return false;
        for (const RtFeed *f; !s->over && (f = rt_source_next(r->train, &r->err));) {
            if (f->n > 0 && !take_step(r, s, f))
                return false;
            rt_train_log_progress(&r->log, "range test", s->c->n, RT_LR_STEPS, -1, "", 0, 0, -1);
            if ((*stopped = stop(r)))
                return true;
        }
        if (r->err.text[0] || (!s->over && !rt_recipe_counts(r, s->c->n)))
            return false;
    }
    return true;
}

// What the loss is while nothing moves, and how far from that chance may take the smoothed one:
// batches differ; of their variance a mean of n has 1 / n, one whose weights fall by KEPT
// (1 - KEPT) / (1 + KEPT).
static double find_start(const Sweep *s, double *band) {
    int n = s->c->n < STILL ? s->c->n : STILL;
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        sum += s->raw[i];
    for (int i = 0; i < n; i++)
        squares += (s->raw[i] - sum / n) * (s->raw[i] - sum / n);
    double part = (1 - KEPT) / (1 + KEPT) + 1.0 / (n ? n : 1);
    *band = DEVIATIONS * sqrt(part * squares / (n > 1 ? n - 1 : 1));
    return n ? sum / n : 0;
}

// Few images of many classes may show no rate that helps: where the loss is least is chance then,
// and the place before it rises is not.
static void choose(const Sweep *s) {
    RtLrCurve *c = s->c;
    int first = c->n > STILL ? STILL : 0, best = first, last = first;
    double band, start = find_start(s, &band);
    for (int i = first; i < c->n; i++) {
        best = c->loss[i] < c->loss[best] ? i : best;
        last = c->loss[i] <= start + band ? i : last;
    }
    c->fell = c->n && c->loss[best] < start - band;
    c->chosen = c->n ? SAFE * c->lr[c->fell ? best : last] : 0;
}

// Under the number of the step that it comes before.
static void log_curve(RtRun *r, const RtLrCurve *c) {
    double stage = (double)r->state.at[RT_AT_STAGE], step = (double)r->state.at[RT_AT_STEP] + 1;
    for (int i = 0; i < c->n; i++) {
        const RtLogField fields[] = {{"step", step, NULL},
                                     {"stage", stage, NULL},
                                     {"lr", c->lr[i], NULL},
                                     {"loss", c->loss[i], NULL}};
        rt_beside_event(r, "rate", fields, sizeof fields / sizeof *fields);
    }
    const RtLogField chosen[] = {
        {"step", step, NULL}, {"stage", stage, NULL}, {"lr", c->chosen, NULL}};
    rt_beside_event(r, "chosen_rate", chosen, sizeof chosen / sizeof *chosen);
}

bool rt_lr_find(RtRun *r, bool (*stop)(RtRun *r), RtLrCurve *c, bool *stopped) {
    Sweep s = {.c = c, .least = INFINITY};
    float *kept = keep_state(r);
    *c = (RtLrCurve){0};
    *stopped = false;
    bool ok = kept ? sweep(r, &s, stop, stopped) : rt_fail(&r->err, "no memory for a range test");
    if (kept)
        restore_state(r, kept);
    free(kept);
    choose(&s);
    if (ok && !*stopped)
        log_curve(r, c);
    return ok && (*stopped || c->n > 0 ||
                  rt_fail(&r->err, "the loss is not finite before anything moved: no rate helps"));
}

// ---------------------------------------------------------------- the picture

enum { WIDTH = 720, HEIGHT = 420, LEFT = 70, RIGHT = 20, TOP = 50, BOTTOM = 50 };

typedef struct Axes {
    double x0, x1, y0, y1; // of log10 of the rate; of the loss
} Axes;

static double at_x(const Axes *a, double lr) {
    return LEFT + (log10(lr) - a->x0) / (a->x1 - a->x0) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const Axes *a, double loss) {
    double y = (fmin(loss, a->y1) - a->y0) / (a->y1 - a->y0);
    return HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM);
}

static Axes find_axes(const RtLrCurve *c) {
    double least = INFINITY;
    for (int i = 0; i < c->n; i++)
        least = fmin(least, c->loss[i]);
    double most = fmax(c->loss[0], least) * 1.5 + 1e-9; // what is above is cut off
    return (Axes){floor(log10(c->lr[0])), ceil(log10(c->lr[c->n - 1]) + 1e-9), 0, most};
}

static void put_grid(FILE *f, const Axes *a) {
    for (double e = a->x0; e <= a->x1; e++) {
        double x = at_x(a, pow(10, e));
        fprintf(f, "<path d=\"M%.1f %d V%d\" stroke=\"#ddd\"/>\n", x, TOP, HEIGHT - BOTTOM);
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">1e%g</text>\n", x,
                HEIGHT - BOTTOM + 20, e);
    }
    for (int i = 0; i <= 4; i++) {
        double v = a->y0 + (a->y1 - a->y0) * i / 4, y = at_y(a, v);
        fprintf(f, "<path d=\"M%d %.1f H%d\" stroke=\"#ddd\"/>\n", LEFT, y, WIDTH - RIGHT);
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n", LEFT - 8, y + 4,
                v);
    }
}

bool rt_lr_find_picture(const RtLrCurve *c, const char *title, RtOutFile *out, RtErr *err) {
    if (!rt_out_begin(out, err))
        return false;
    FILE *f = out->f;
    Axes a = find_axes(c);
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%d\" y=\"28\" font-size=\"16\">%s</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, title);
    put_grid(f, &a);
    fprintf(f, "<polyline fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"2\" points=\"");
    for (int i = 0; i < c->n; i++)
        fprintf(f, "%.1f,%.1f ", at_x(&a, c->lr[i]), at_y(&a, c->loss[i]));
    fprintf(f, "\"/>\n");
    if (c->chosen >= c->lr[0])
        fprintf(f,
                "<path d=\"M%.1f %d V%d\" stroke=\"#d3342b\" stroke-dasharray=\"4 3\"/>\n"
                "<text x=\"%.1f\" y=\"%d\" fill=\"#d3342b\">%.2g</text>\n",
                at_x(&a, c->chosen), TOP, HEIGHT - BOTTOM, at_x(&a, c->chosen) + 5, TOP + 14,
                c->chosen);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">learning rate</text>\n</svg>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
    return rt_out_commit(out, err);
}
