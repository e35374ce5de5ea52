// What trained in the training report: each stage and why it leaves what alone, the nodes with
// parameters, and the floats of the file that no gradient moves, by reason.
#include "runtime/train/report_part.h"

#include <string.h>

#include "runtime/file/html.h"

enum { MAX_NAMES = 6, MAX_ROWS = 60 };

// How --freeze is read: hone finetune --help.
static void put_reason(FILE *f, const char *spec) {
    static const char until[] = "until:";
    if (strcmp(spec, "head") == 0) {
        fputs("the new classifier alone; all that is pretrained is frozen", f);
    } else if (strcmp(spec, "none") == 0) {
        fputs("everything; nothing is frozen", f);
    } else if (strncmp(spec, until, sizeof until - 1) == 0) {
        rt_html_text(f, spec + sizeof until - 1);
        fputs(" and what follows; what lies before it is frozen", f);
    } else {
        fputs("everything but what ", f);
        rt_html_text(f, spec);
        fputs(" names, which is frozen", f);
    }
}

static bool moves_statistics(const HoneTrainDesc *d, int stage) {
    for (int i = 0; i < d->n_params; i++)
        if (d->params[i].group < 0 && d->params[i].trains >> stage & 1)
            return true;
    return false;
}

bool rt_report_is_solved(const RtTrainResult *r, int stage) {
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    int64_t fresh = 0;
    for (int i = 0; i < d->n_params; i++)
        fresh += d->params[i].fresh ? d->params[i].count : 0;
    return r->state->ridge[0][RT_RIDGE] > 0 && d->stages[stage].n_trained == fresh;
}

// Given, or what a range test found, of which the history tells the rate at the ends of epochs.
static void put_rate(const RtTrainResult *r, int stage, FILE *f) {
    const double *row = r->state->history;
    double most = 0;
    for (int64_t i = 0; i < r->state->n_history; i++, row += RT_HIST_COLUMNS)
        if (row[RT_HIST_STAGE] == stage && row[RT_HIST_LR] > most)
            most = row[RT_HIST_LR];
    if (r->set->lr[stage] > 0)
        fprintf(f, "rate %g", (double)r->set->lr[stage]);
    else
        fprintf(f, "rate by a range test, %.2g at most after an epoch", most);
}

static void put_stages(const RtTrainResult *r, FILE *f) {
    static const char *const optimizers[] = {
#define OPTIMIZER(NAME, name, title) title,
#include "runtime/train/bind.def"
    };
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    fputs("<ol>\n", f);
    for (int s = 0; s < d->n_stages; s++) {
        fputs("<li><b>", f);
        rt_html_text(f, d->stages[s].spec);
        fputs("</b>: ", f);
        put_reason(f, d->stages[s].spec);
        if (moves_statistics(d, s))
            fputs("; statistics of normalizations follow the batches", f);
        fprintf(f, "<br><small>%lld parameters train, %lld are frozen; ",
                (long long)d->stages[s].n_trained, (long long)d->stages[s].n_frozen);
        if (rt_report_is_solved(r, s)) {
            fputs("solved</small></li>\n", f);
        } else {
            fprintf(f, "%s, epochs %d, ", optimizers[r->set->optimizer[s]], r->set->epochs[s]);
            put_rate(r, s, f);
            fputs("</small></li>\n", f);
        }
    }
    fputs("</ol>\n", f);
}

static void put_node(const HoneTrainDesc *d, const HonePlanRow *row, FILE *f) {
    fputs("<tr><td>", f);
    rt_html_text(f, row->node);
    fputs(" <small>", f);
    rt_html_text(f, row->op);
    fputs(": ", f);
    rt_html_text(f, row->params);
    fprintf(f, "</small></td><td>%lld</td>", (long long)row->count);
    for (int s = 0; s < d->n_stages; s++) {
        bool on = row->trains >> s & 1;
        fprintf(f, "<td><i class=\"%s\" title=\"%s\"></i></td>", on ? "on" : "off",
                on ? "trains" : "frozen");
    }
    fputs("</tr>\n", f);
}

static void put_nodes(const HoneTrainDesc *d, FILE *f) {
    fputs("<p class=\"key\"><span><i class=\"on\"></i>trains</span><span><i class=\"off\"></i>"
          "frozen</span></p>\n",
          f);
    if (d->n_plan > MAX_ROWS)
        fprintf(f, "<details><summary>all %d nodes with parameters</summary>\n", d->n_plan);
    fputs("<table class=\"plan\">\n<tr><th>node</th><th>parameters</th>", f);
    for (int s = 0; s < d->n_stages; s++)
        fprintf(f, "<th>%d</th>", s + 1);
    fputs("</tr>\n", f);
    for (int i = 0; i < d->n_plan; i++)
        put_node(d, &d->plan[i], f);
    fprintf(f, "</table>\n%s", d->n_plan > MAX_ROWS ? "</details>\n" : "");
}

static bool is_first_of_reason(const HoneTrainDesc *d, int i) {
    for (int k = 0; k < i; k++)
        if (strcmp(d->fixed[k].reason, d->fixed[i].reason) == 0)
            return false;
    return true;
}

static void put_reason_row(const HoneTrainDesc *d, int first, FILE *f) {
    int64_t count = 0;
    int n = 0;
    fputs("<tr><td>", f);
    rt_html_text(f, d->fixed[first].reason);
    fputs(" <small>", f);
    for (int i = first; i < d->n_fixed; i++) {
        if (strcmp(d->fixed[i].reason, d->fixed[first].reason) != 0)
            continue;
        count += d->fixed[i].count;
        if (n++ < MAX_NAMES) {
            fputs(n > 1 ? ", " : "", f);
            rt_html_text(f, d->fixed[i].name);
        }
    }
    if (n > MAX_NAMES)
        fprintf(f, ", and %d more", n - MAX_NAMES);
    fprintf(f, "</small></td><td>%lld</td></tr>\n", (long long)count);
}

static void put_fixed(const HoneTrainDesc *d, FILE *f) {
    if (!d->n_fixed)
        return;
    fputs("<h3>Numbers of the network that are no parameters, and why</h3>\n"
          "<table class=\"plan\">\n<tr><th>reason</th><th>numbers</th></tr>\n",
          f);
    for (int i = 0; i < d->n_fixed; i++)
        if (is_first_of_reason(d, i))
            put_reason_row(d, i, f);
    fputs("</table>\n", f);
}

void rt_report_plan(const RtTrainResult *r, FILE *f) {
    const HoneTrainDesc *d = rt_engine_desc(r->engine);
    fputs("<section>\n<h2>What trained</h2>\n", f);
    put_stages(r, f);
    put_nodes(d, f);
    put_fixed(d, f);
    fputs("</section>\n", f);
}
