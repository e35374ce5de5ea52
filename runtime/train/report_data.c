// What the data are, in the training report: classes and their images, whether some have many more
// than others, files that could not be read.
#include "runtime/train/report_part.h"

#include <stdlib.h>

#include "runtime/file/html.h"

enum { MAX_BARS = 40, UNEVEN = 3 }; // times the smallest class: then it is said

typedef struct Sizes {
    const RtTrainResult *r;
    int64_t *val;        // [classes] validation images; NULL: no memory, or none are told apart
    int64_t least, most; // training images of a class
    int smallest, largest, empty; // classes; how many have none
} Sizes;

static void count_validation(Sizes *s) {
    const RtDataset *d = s->r->data;
    float *row = d->target == RT_TARGET_MULTI ? calloc((size_t)d->classes, sizeof *row) : NULL;
    for (int64_t i = d->n_train; s->val && i < d->n_train + d->n_val; i++) {
        int32_t label = rt_dataset_label(d, i);
        if (row)
            rt_dataset_target(d, i, row);
        for (int k = 0; row && k < d->classes; k++)
            s->val[k] += row[k] > 0.5f;
        if (!row && label >= 0 && label < d->classes)
            s->val[label]++;
    }
    free(row);
}

static Sizes count_sizes(const RtTrainResult *r) {
    const int64_t *n = r->data->class_size;
    Sizes s = {.r = r, .val = calloc((size_t)r->data->classes + 1, sizeof *s.val)};
    for (int k = 0; k < r->data->classes; k++) {
        s.smallest = n[k] < n[s.smallest] ? k : s.smallest;
        s.largest = n[k] > n[s.largest] ? k : s.largest;
        s.empty += n[k] == 0;
    }
    s.least = n[s.smallest];
    s.most = n[s.largest];
    count_validation(&s);
    return s;
}

static void put_balance(const Sizes *s, FILE *f) {
    const RtTrainResult *r = s->r;
    if (s->least == s->most) {
        fprintf(f, "<p>Each class has %lld images for training.</p>\n", (long long)s->most);
        return;
    }
    fputs("<p>The largest class, ", f);
    rt_html_text(f, r->data->names[s->largest]);
    fprintf(f, ", has %lld images for training, the smallest, ", (long long)s->most);
    rt_html_text(f, r->data->names[s->smallest]);
    fprintf(f, ", %lld", (long long)s->least);
    if (s->least > 0)
        fprintf(f, ": 1 to %.1f", (double)s->most / (double)s->least);
    fputs(
        r->set->balanced ? ". Losses were weighted so that classes count alike.</p>\n"
        : s->most > UNEVEN * s->least
            ? ". <b>They are uneven</b>: --class-weights balanced makes classes count alike.</p>\n"
            : ".</p>\n",
        f);
    if (s->empty)
        fprintf(f, "<p><b>%d class%s no image for training.</b></p>\n", s->empty,
                s->empty == 1 ? " has" : "es have");
}

static void put_row(const Sizes *s, FILE *f, int k) {
    int64_t n = s->r->data->class_size[k];
    fputs("<tr><td>", f);
    rt_html_text(f, s->r->data->names[k]);
    fprintf(f, "</td><td>%lld</td>", (long long)n);
    if (s->r->data->n_val && s->val)
        fprintf(f, "<td>%lld</td>", (long long)s->val[k]);
    fprintf(f, "<td class=\"wide\"><span class=\"bar\" style=\"width:%.1f%%\"></span></td></tr>\n",
            s->most ? 100 * (double)n / (double)s->most : 0);
}

static void put_sizes(const Sizes *s, FILE *f) {
    bool many = s->r->data->classes > MAX_BARS;
    if (many)
        fprintf(f, "<details><summary>all %d classes</summary>\n", s->r->data->classes);
    fprintf(f, "<table class=\"full\">\n<tr><th>class</th><th>training</th>%s<th></th></tr>\n",
            s->r->data->n_val && s->val ? "<th>validation</th>" : "");
    for (int k = 0; k < s->r->data->classes; k++)
        put_row(s, f, k);
    fprintf(f, "</table>\n%s", many ? "</details>\n" : "");
}

static void put_bad(const RtTrainResult *r, FILE *f) {
    if (!r->bad_images) {
        fputs("<p>All files could be read.</p>\n", f);
        return;
    }
    fprintf(f, "<p><b>%lld file%s could not be read</b> and %s left out:</p>\n<ul>\n",
            (long long)r->bad_images, r->bad_images == 1 ? "" : "s",
            r->bad_images == 1 ? "was" : "were");
    for (int i = 0; i < r->n_bad_lines; i++) {
        fputs("<li>", f);
        rt_html_text(f, r->bad_lines[i]);
        fputs("</li>\n", f);
    }
    if (r->bad_images > r->n_bad_lines)
        fprintf(f, "<li>and %lld more</li>\n", (long long)r->bad_images - r->n_bad_lines);
    fputs("</ul>\n", f);
}

void rt_report_data(const RtTrainResult *r, FILE *f) {
    Sizes s = count_sizes(r);
    fputs("<section>\n<h2>The data</h2>\n<p>", f);
    rt_html_text(f, r->set->data);
    fprintf(f, ": %d classes, %lld images for training, ", r->data->classes,
            (long long)r->data->n_train);
    if (!r->data->n_val)
        fputs("none for validation", f);
    else
        fprintf(f, "%lld for validation", (long long)r->data->n_val);
    if (r->set->val) {
        fputs(" from ", f);
        rt_html_text(f, r->set->val);
    }
    fputs(".</p>\n", f);
    bool map = r->data->target == RT_TARGET_MAP; // its classes are in the masks
    if (!map)
        put_balance(&s, f);
    put_bad(r, f);
    if (!map)
        put_sizes(&s, f);
    fputs("</section>\n", f);
    free(s.val);
}
