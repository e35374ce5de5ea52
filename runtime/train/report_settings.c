// What the run was told, in the training report, by the names of the options: those that had an
// effect.
#include "runtime/train/report_part.h"

#include <stdarg.h>

#include "runtime/file/html.h"

static void __attribute__((format(printf, 3, 4))) put(FILE *f, const char *option, const char *fmt,
                                                      ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fprintf(f, "<tr><td>%s</td><td>", option);
    rt_html_text(f, text);
    fputs("</td></tr>\n", f);
}

static void put_number(FILE *f, const char *option, double v) {
    if (v > 0)
        put(f, option, "%g", v);
}

static bool uses_adamw(const RtTrainResult *r) {
    for (int s = 0; s < rt_engine_desc(r->engine)->n_stages; s++)
        if (r->set->optimizer[s] == HONE_OPT_ADAMW && !rt_report_is_solved(r, s))
            return true;
    return false;
}

static bool takes_steps(const RtTrainResult *r) {
    int s = 0, n = rt_engine_desc(r->engine)->n_stages;
    while (s < n && rt_report_is_solved(r, s))
        s++;
    return s < n;
}

static void put_images(const RtTrainSettings *s, FILE *f) {
    char augment[RT_AUGMENT_TEXT];
    put(f, "--augment", "%s", rt_augment_text(&s->augment, augment));
    put_number(f, "--mixup", (double)s->mix.mixup);
    put_number(f, "--cutmix", (double)s->mix.cutmix);
    if (s->balanced)
        put(f, "--class-weights", "balanced");
}

static void put_steps(const RtTrainResult *r, FILE *f) {
    const RtTrainSettings *s = r->set;
    put(f, "--batch", "%d", s->batch);
    if (s->accumulate > 1)
        put(f, "--accumulate", "%d", s->accumulate);
    put(f, "--lr-schedule", "%s", rt_lr_schedule_name(s->lr_schedule));
    for (int i = 0; i < rt_engine_desc(r->engine)->n_stages; i++)
        if (s->warmup_epochs[i] > 0 && !rt_report_is_solved(r, i))
            put(f, "--warmup-epochs", "%g in stage %d", (double)s->warmup_epochs[i], i + 1);
    put(f, "--momentum", "%g", (double)s->momentum);
    if (uses_adamw(r))
        put(f, "--beta2", "%g", (double)s->beta2);
    put(f, "--weight-decay", "%g", (double)s->decay);
    put_number(f, "--label-smoothing", (double)s->smoothing);
    put_number(f, "--clip-grad", (double)s->clip);
    put_number(f, "--model-ema-decay", (double)s->average);
    put_number(f, "--early-stop", s->early_stop);
}

void rt_report_settings(const RtTrainResult *r, FILE *f) {
    fputs("<section>\n<h2>Settings</h2>\n<table class=\"settings\">\n", f);
    if (takes_steps(r))
        put_steps(r, f);
    put_images(r->set, f);
    put(f, "--seed", "%llu", (unsigned long long)r->set->seed);
    fputs("</table>\n</section>\n", f);
}
