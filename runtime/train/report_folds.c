// The folds of a k-fold in the training report: what each part was found to be, held out.
#include "runtime/train/report_part.h"

#include <stddef.h>

#include "runtime/train/folds.h"

static void put_mean(FILE *f, const RtFolds *folds, bool deviation) {
    static const size_t fields[] = {offsetof(RtFoldScores, loss), offsetof(RtFoldScores, top1),
                                    offsetof(RtFoldScores, top5)};
    double v[3];
    for (int i = 0; i < 3; i++) {
        RtFoldMean m = rt_folds_mean(folds, fields[i]);
        v[i] = deviation ? m.deviation : m.mean;
    }
    fprintf(f, "<tr><td>%s</td><td></td><td>%.4f</td><td>%.2f%%</td><td>%.2f%%</td></tr>\n",
            deviation ? "standard deviation" : "mean", v[0], v[1] * 100, v[2] * 100);
}

void rt_report_folds(const RtTrainResult *r, FILE *f) {
    const RtFolds *folds = r->set->folds;
    if (!folds)
        return;
    const RtScoreWords *w = rt_score_words(rt_engine_desc(r->engine));
    fprintf(
        f,
        "<section>\n<h2>%d folds</h2>\n<p>The images were cut into %d parts that are alike. Each "
        "was held out once, while a network was trained on the others, and measured after its "
        "last epoch. The model of this page was trained in the same way on all %lld images: "
        "expect of it what the mean says, or a little more.</p>\n<table class=\"sum\">\n"
        "<tr><th>fold</th><th>held out</th><th>loss</th><th>%s</th><th>%s</th></tr>\n",
        folds->n, folds->n, (long long)r->data->n_train, w->first, w->second);
    for (int i = 0; i < folds->n; i++)
        fprintf(f, "<tr><td>%d</td><td>%lld</td><td>%.4f</td><td>%.2f%%</td><td>%.2f%%</td></tr>\n",
                i + 1, (long long)folds->row[i].images, folds->row[i].loss,
                folds->row[i].top1 * 100, folds->row[i].top5 * 100);
    put_mean(f, folds, true);
    put_mean(f, folds, false);
    fputs("</table>\n</section>\n", f);
}
