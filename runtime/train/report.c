// The training report as a page: figures, then sections of their own (report_part.h). One file, no
// scripts, no references; fits 1280 pixels and 400.
#include "runtime/train/report.h"
#include "runtime/train/report_part.h"

#include <math.h>
#include <stddef.h>

#include "runtime/file/html.h"
#include "runtime/train/folds.h"

static const char style[] =
    "h3{font-size:14px;font-weight:600;margin:14px 0 6px}\n"
    "svg{display:block}svg.chart{width:370px;max-width:100%;height:auto}\n"
    "svg text{fill:var(--dim);font:11px system-ui,\"DejaVu Sans\",sans-serif}\n"
    "svg.chart text{font-size:16px}\n"
    "svg .end{text-anchor:end}svg .mid{text-anchor:middle}\n"
    "svg .grid{stroke:var(--line)}svg .stage{stroke:var(--dim);stroke-dasharray:3 3}"
    "svg .best{stroke:var(--c1);stroke-opacity:.45;stroke-width:2}\n"
    "svg polyline{fill:none;stroke-width:2}\n"
    ".train{stroke:var(--c2)}.val{stroke:var(--c0)}.rate{stroke:var(--c3)}\n"
    "svg .traind{fill:var(--c2)}svg .vald{fill:var(--c0)}svg .rated{fill:var(--c3)}\n"
    "i.train{background:var(--c2)}i.val{background:var(--c0)}i.best{background:var(--c1)}\n"
    ".charts{display:flex;flex-wrap:wrap;gap:8px 30px;align-items:flex-start}"
    ".charts>*{min-width:0}.matrix{max-width:100%;overflow-x:auto}\n.key "
    "span{margin-right:18px;white-space:nowrap}\n"
    ".hit{fill:var(--c1)}.miss{fill:var(--c4)}svg .num{fill:var(--ink);font-size:10px}\n"
    ".photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(130px,1fr));gap:16px}\n"
    "figure{margin:0;min-width:0;font-size:12px;overflow-wrap:anywhere}\n"
    ".photo{height:130px;border-radius:6px;background:var(--page);overflow:hidden}\n"
    ".photo img{display:block;width:100%;height:100%;object-fit:contain}\n"
    "figcaption{margin-top:4px}figcaption b{color:var(--c4)}small{color:var(--dim)}\n"
    "ul{margin:0 0 12px;padding-left:20px;overflow-wrap:anywhere}"
    "summary{cursor:pointer;color:var(--dim)}\n"
    "tr.taken td{font-weight:600;color:var(--c1)}\n"
    "ol{margin:0 0 16px;padding-left:24px;overflow-wrap:anywhere}\n"
    "table.plan td:first-child{white-space:normal;overflow-wrap:anywhere}"
    "table.plan td:first-child small{display:block}\n"
    "table.full{width:100%;max-width:720px}td.wide{width:50%}"
    "table.full td:first-child{white-space:normal;overflow-wrap:anywhere}\n"
    ".bar{display:block;height:10px;border-radius:3px;background:var(--c0);min-width:1px}\n"
    ".on{background:var(--c1)}.off{background:var(--line)}\n"
    "table.settings td:first-child{white-space:nowrap}\n"
    "@media(max-width:600px){td.wide{width:30%}"
    "td:first-child,td:last-child{white-space:normal;overflow-wrap:anywhere}}\n"
    "table.sum td:last-child,table.sum th:last-child{text-align:right;white-space:nowrap}\n"
    "@media print{section{break-inside:avoid}}\n";

// ---------------------------------------------------------------- the page

typedef struct Title { // of the two scores
    const char *first, *second;
} Title;

static const Title *title_of(const HoneTrainDesc *d) {
    static const Title images = {"Top-1", "Top-5"}, maps = {"mIoU", "Pixels"},
                       several = {"Labels right", "All labels right"};
    if (d->map_height)
        return &maps;
    return d->loss == HONE_LOSS_BCE && !d->binary ? &several : &images;
}

static void put_score(FILE *f, const HoneTrainDesc *d, const char *of, double score) {
    char title[64];
    snprintf(title, sizeof title, "%s, %s", title_of(d)->first, of);
    rt_html_tile(f, title, score * 100, 2, "%");
}

static void put_head(const RtTrainResult *r, FILE *f) {
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    const RtTrainState *s = r->state;
    fputs("<h1>", f);
    rt_html_text(f, d->info->name);
    fprintf(f, ", fine-tuned to %d classes</h1>\n<p>Images: ", d->binary ? 2 : d->classes);
    rt_html_text(f, r->set->data);
    fprintf(f, ", %lld for training", (long long)r->data->n_train);
    if (r->data->n_val)
        fprintf(f, " and %lld for validation", (long long)r->data->n_val);
    fputs(". ", f);
    rt_html_text(f, d->info->producer);
    fputs(".</p>\n<dl>\n", f);
    if (r->scores->n && !isnan(r->scores->top1) && !r->set->folds) {
        put_score(f, d, "best epoch", r->scores->top1);
        rt_html_tile(f, title_of(d)->second, r->scores->top5 * 100, 2, "%");
        rt_html_tile(f, "Loss", r->scores->loss, 4, "");
        rt_html_tile(f, "Best epoch", (double)s->at[RT_BEST_EPOCH] + 1, 0, "");
    }
    if (r->set->folds) {
        RtFoldMean top1 = rt_folds_mean(r->set->folds, offsetof(RtFoldScores, top1));
        put_score(f, d, "mean of folds", top1.mean);
        rt_html_tile(f, "Standard deviation", top1.deviation * 100, 2, "%");
    }
    rt_html_tile(f, "Epochs", (double)s->n_history, 0, "");
    rt_html_tile(f, "Steps", (double)s->at[RT_AT_STEP], 0, "");
    rt_html_tile(f, "Time", r->seconds, 1, "s");
    rt_html_tile(f, "Bad images", (double)r->bad_images, 0, "");
    fputs("</dl>\n", f);
}

bool rt_report_html(const RtTrainResult *r, RtOutFile *out, RtErr *err) {
    if (!rt_out_begin(out, err))
        return false;
    FILE *f = out->f;
    rt_html_begin(f, rt_engine_desc(r->engine)->info->name, "training report", style);
    put_head(r, f);
    rt_report_folds(r, f);
    rt_report_curves(r, f);
    rt_report_classes(r, f);
    rt_report_mistakes(r, f);
    rt_report_data(r, f);
    rt_report_ridges(r, f);
    rt_report_plan(r, f);
    rt_report_settings(r, f);
    rt_html_end(f);
    return rt_out_commit(out, err);
}
