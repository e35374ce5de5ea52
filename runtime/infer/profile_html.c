// The profile as a page: figures of the run, kernels by their share, and a bar for every node in
// the order of execution. The solid part of a bar is the time that the machine's ceiling allows,
// the pale part what the node took beyond it; a tick behind the bar's end stands for a bound that
// the node beat (see infer/profile.c).
//
// One file, no scripts, no references, no dates: the same profile gives the same bytes. The model's
// texts are escaped and hold valid UTF-8 only. Lengths in the drawings are in pixels.
#include <math.h>
#include <string.h>

#include "runtime/file/html.h"
#include "runtime/infer/infer.h"
#include "runtime/infer/profile.h"

enum { WIDTH = 1240, ROW = 19, TOP = 46, N_COLORS = 8, MAX_TICKS = 8 };
enum { // columns of the chart: left edges, or right ones of numbers
    X_INDEX = 30,
    X_NAME = 40,
    X_ALGO = 318,
    X_BAR = 490,
    BAR = 420,
    X_MS = 968,
    X_PERCENT = 1016,
    X_GFLOPS = 1074,
    X_GBS = 1124,
    X_CEILING = 1170,
    X_BOUND = 1180
};
enum { NAME_CHARS = 41, ALGO_CHARS = 25 };

static const char style[] =
    "svg{display:block;width:100%;min-width:1000px;height:auto}\n"
    "svg text{fill:var(--ink);font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,"
    "\"DejaVu Sans Mono\",monospace;white-space:pre}\n"
    "svg .dim{fill:var(--dim)}\nsvg .end{text-anchor:end}\nsvg .mid{text-anchor:middle}\n"
    "svg line{stroke:var(--line)}\nsvg .tick{stroke:var(--tick);stroke-width:1.5}\n"
    "svg .hit{fill:transparent}\nsvg g:hover>.hit{fill:var(--hover)}\nsvg .pale{opacity:.35}\n"
    ".s0{fill:var(--c0);background:var(--c0)}.s1{fill:var(--c1);background:var(--c1)}"
    ".s2{fill:var(--c2);background:var(--c2)}.s3{fill:var(--c3);background:var(--c3)}"
    ".s4{fill:var(--c4);background:var(--c4)}.s5{fill:var(--c5);background:var(--c5)}"
    ".s6{fill:var(--c6);background:var(--c6)}.s7{fill:var(--c7);background:var(--c7)}\n";

// A number in about four digits: 12.34, 1.234, 0.0123.
static const char *short_number(double v, char *text, size_t size) {
    int decimals = v >= 1000 ? 0 : v >= 100 ? 1 : v >= 10 ? 2 : v >= 1 ? 3 : 4;
    snprintf(text, size, "%.*f", decimals, v);
    return text;
}

static void put_head(const RtProfile *p, FILE *f) {
    const HoneModelDesc *d = p->desc;
    rt_html_begin(f, d->name, "profile", style);
    fputs("<h1>", f);
    rt_html_text(f, d->name);
    fprintf(f, "</h1>\n<p>Batch %d, %d thread%s, %d runs. Compiled by ", p->batch, p->threads,
            p->threads == 1 ? "" : "s", p->runs);
    rt_html_text(f, d->producer);
    fputs(" for ", f);
    rt_html_text(f, d->cpu);
    fputs(", run on ", f);
    rt_html_text(f, p->machine);
    fprintf(f, ".<br>Measured ceiling of this machine with %d thread%s: %.1f GFLOP/s (fp32, ",
            p->ceiling.threads, p->ceiling.threads == 1 ? "" : "s", p->ceiling.gflops);
    rt_html_text(f, p->ceiling.simd);
    fprintf(f, ") and %.1f GB/s from main memory.</p>\n<dl>\n", p->ceiling.gbs);
    rt_html_tile(f, "Fastest run", p->min_ms, 2, "ms");
    rt_html_tile(f, "Median run", p->median_ms, 2, "ms");
    rt_html_tile(f, "Throughput", p->min_ms > 0 ? p->batch / p->min_ms * 1e3 : 0, 1, "images/s");
    rt_html_tile(f, "Sum of the nodes", p->all.ms, 2, "ms");
    rt_html_tile(f, "Arithmetic", p->all.gflops, 1, "GFLOP/s");
    rt_html_tile(f, "Of the ceiling", p->all.fraction, 2, "");
    rt_html_tile(f, "Load and first run", p->load_ms + p->first_ms, 1, "ms");
    rt_html_tile(f, "Peak memory", p->rss_mb, 1, "MB");
    fputs("</dl>\n", f);
}

// ---------------------------------------------------------------- by kernel

// One bar of the whole width, a piece for each group.
static void put_shares(const RtProfile *p, FILE *f) {
    char name[96];
    double x = 0;
    fprintf(f, "<svg viewBox=\"0 0 %d 30\" role=\"img\" aria-label=\"share of each kernel\">\n",
            WIDTH);
    for (int i = 0; i < p->n_groups; i++) {
        const RtProfileRow *r = &p->groups[i];
        double w = r->percent / 100 * WIDTH;
        rt_infer_profile_group(r->node, name, sizeof name);
        fprintf(f, "<g><title>");
        rt_html_text(f, name);
        fprintf(f,
                ": %.4g ms, %.1f%%</title><rect class=\"s%d\" x=\"%.2f\" y=\"2\" width=\"%.2f\" "
                "height=\"26\" rx=\"2\"/></g>\n",
                r->ms, r->percent, i % N_COLORS, x, w > 1.5 ? w - 1 : w);
        x += w;
    }
    fputs("</svg>\n", f);
}

static void put_group_row(FILE *f, const RtProfileRow *r, const char *name) {
    char ms[40];
    fputs("<tr><td>", f);
    if (r->node)
        fprintf(f, "<i class=\"s%d\"></i>", r->group % N_COLORS);
    rt_html_text(f, name);
    fprintf(f, "</td><td>%d</td><td>%s</td><td>%.1f</td><td>%.1f</td><td>%.1f</td>", r->nodes,
            short_number(r->ms, ms, sizeof ms), r->percent, r->gflops, r->gbs);
    if (r->bound_ms > 0)
        fprintf(f, "<td>%.2f</td><td>%s</td></tr>\n", r->fraction,
                r->by_memory ? "memory" : "compute");
    else
        fputs("<td>&#8211;</td><td></td></tr>\n", f);
}

static void put_groups(const RtProfile *p, FILE *f) {
    char name[96];
    fputs("<section>\n<h2>Time by operator and kernel</h2>\n", f);
    put_shares(p, f);
    fputs("<table "
          "class=\"sum\">\n<tr><th>kernel</th><th>nodes</th><th>ms</th><th>%</th><th>GFLOP/s</th>"
          "<th>GB/s</th><th>of ceiling</th><th>bound by</th></tr>\n",
          f);
    for (int i = 0; i < p->n_groups; i++)
        put_group_row(f, &p->groups[i],
                      rt_infer_profile_group(p->groups[i].node, name, sizeof name));
    put_group_row(f, &p->all, "all");
    fputs("</table>\n</section>\n", f);
}

// ---------------------------------------------------------------- by node

// 1, 2 or 5 times a power of ten, so that the axis gets at most MAX_TICKS.
static double choose_step(double longest) {
    double step = pow(10, floor(log10(longest / MAX_TICKS)));
    for (int i = 0; step * MAX_TICKS < longest && i < 3; i++)
        step *= i == 1 ? 2.5 : 2;
    return step;
}

static void put_axis(FILE *f, double longest, int bottom) {
    double step = choose_step(longest);
    for (int i = 0; i <= MAX_TICKS && i * step <= longest * 1.0001; i++) {
        double x = X_BAR + i * step / longest * BAR;
        fprintf(f, "<line x1=\"%.2f\" x2=\"%.2f\" y1=\"%d\" y2=\"%d\"/>", x, x, TOP - 8, bottom);
        fprintf(f, "<text class=\"dim mid\" x=\"%.2f\" y=\"%d\">%g</text>", x, TOP - 13, i * step);
        fprintf(f, "<text class=\"dim mid\" x=\"%.2f\" y=\"%d\">%g</text>\n", x, bottom + 15,
                i * step);
    }
}

static void put_column_names(FILE *f) {
    static const struct {
        int x;
        const char *class, *text;
    } columns[] = {
        {X_NAME, "dim", "node"},
        {X_ALGO, "dim", "algorithm"},
        {X_BAR + BAR / 2, "dim mid", "ms"},
        {X_MS, "dim end", "ms"},
        {X_PERCENT, "dim end", "%"},
        {X_GFLOPS, "dim end", "GFLOP/s"},
        {X_GBS, "dim end", "GB/s"},
        {X_CEILING, "dim end", "ceil."},
        {X_BOUND, "dim", "bound by"},
    };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        fprintf(f, "<text class=\"%s\" x=\"%d\" y=\"14\">%s</text>", columns[i].class, columns[i].x,
                columns[i].text);
    fputc('\n', f);
}

// What a pointer over the node shows: everything, the name in full.
static void put_tooltip(FILE *f, const RtProfileRow *r) {
    char types[32];
    fputs("<title>", f);
    rt_html_text(f, r->node->name);
    fputs("\n", f);
    rt_html_text(f, r->node->op);
    fputs(", ", f);
    rt_html_text(f, r->node->algo);
    fputs(", ", f);
    rt_html_text(f, rt_infer_profile_types(r->node, types, sizeof types));
    fprintf(f, "\n%.4f ms, %.2f%% of the time\n%.5g MFLOP, %.1f GFLOP/s\n%.5g MB, %.1f GB/s\n",
            r->ms, r->percent, r->flops * 1e-6, r->gflops, r->bytes * 1e-6, r->gbs);
    if (r->bound_ms > 0)
        fprintf(f, "ceiling allows %.4f ms (%s): %.2f of it reached", r->bound_ms,
                r->by_memory ? "memory" : "compute", r->fraction);
    fputs("</title>", f);
}

static void put_bar(FILE *f, const RtProfileRow *r, double longest, int y) {
    double full = r->ms / longest * BAR, bound = r->bound_ms / longest * BAR;
    int color = r->group % N_COLORS;
    fprintf(f, "<rect class=\"s%d pale\" x=\"%d\" y=\"%d\" width=\"%.2f\" height=\"%d\" rx=\"2\"/>",
            color, X_BAR, y + 3, full > 0.5 ? full : 0.5, ROW - 6);
    fprintf(f, "<rect class=\"s%d\" x=\"%d\" y=\"%d\" width=\"%.2f\" height=\"%d\" rx=\"2\"/>",
            color, X_BAR, y + 3, bound < full ? bound : full, ROW - 6);
    if (bound > full && bound <= BAR)
        fprintf(f, "<line class=\"tick\" x1=\"%.2f\" x2=\"%.2f\" y1=\"%d\" y2=\"%d\"/>",
                X_BAR + bound, X_BAR + bound, y + 3, y + ROW - 3);
}

static void put_label(FILE *f, int x, int y, const char *text) {
    fprintf(f, "<text x=\"%d\" y=\"%d\">", x, y);
    rt_html_text(f, text);
    fputs("</text>", f);
}

static void put_node(FILE *f, const RtProfileRow *r, int i, double longest) {
    int y = TOP + i * ROW, base = y + 13;
    char name[NAME_CHARS + 1], algo[ALGO_CHARS + 1], ms[40];
    snprintf(algo, sizeof algo, "%s", r->node->algo ? r->node->algo : r->node->op);
    fputs("<g>", f);
    put_tooltip(f, r);
    fprintf(f, "<rect class=\"hit\" x=\"0\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"3\"/>", y,
            WIDTH, ROW);
    fprintf(f, "<text class=\"dim end\" x=\"%d\" y=\"%d\">%d</text>", X_INDEX, base, i);
    put_label(f, X_NAME, base, rt_infer_profile_name(r->node, name, sizeof name));
    put_label(f, X_ALGO, base, algo);
    put_bar(f, r, longest, y);
    fprintf(f, "<text class=\"end\" x=\"%d\" y=\"%d\">%s</text>", X_MS, base,
            short_number(r->ms, ms, sizeof ms));
    fprintf(f, "<text class=\"dim end\" x=\"%d\" y=\"%d\">%.1f</text>", X_PERCENT, base,
            r->percent);
    if (r->flops > 0)
        fprintf(f, "<text class=\"end\" x=\"%d\" y=\"%d\">%.1f</text>", X_GFLOPS, base, r->gflops);
    fprintf(f, "<text class=\"end\" x=\"%d\" y=\"%d\">%.1f</text>", X_GBS, base, r->gbs);
    if (r->bound_ms > 0)
        fprintf(f,
                "<text class=\"end\" x=\"%d\" y=\"%d\">%.2f</text>"
                "<text class=\"dim\" x=\"%d\" y=\"%d\">%s</text>",
                X_CEILING, base, r->fraction, X_BOUND, base, r->by_memory ? "memory" : "compute");
    fputs("</g>\n", f);
}

static void put_nodes(const RtProfile *p, FILE *f) {
    double longest = 1e-6; // ms
    for (int i = 0; i < p->n_nodes; i++)
        longest = fmax(longest, p->nodes[i].ms);
    int bottom = TOP + p->n_nodes * ROW + 4;
    fprintf(f,
            "<section>\n<h2>Time by node, in order of execution</h2>\n"
            "<p>Minimum of each node over %d runs. Solid: the time that the ceiling allows for "
            "the node's operations or bytes, whichever takes longer; pale: the time beyond it; "
            "a tick behind a bar: a bound that the node beat, because its kernel needs fewer "
            "operations than the direct form that is counted, or found its data in a "
            "cache.</p>\n",
            p->runs);
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"time of each node\">\n", WIDTH,
            bottom + 22);
    put_column_names(f);
    put_axis(f, longest, bottom);
    for (int i = 0; i < p->n_nodes; i++)
        put_node(f, &p->nodes[i], i, longest);
    fputs("</svg>\n</section>\n", f);
}

void rt_infer_profile_html(const RtProfile *p, FILE *f) {
    put_head(p, f);
    put_groups(p, f);
    put_nodes(p, f);
    rt_html_end(f);
}
