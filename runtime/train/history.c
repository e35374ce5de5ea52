// The history that checkpoints keep, written out; so a resumed run gives the table of a whole one.
#include "runtime/train/history.h"

static const struct {
    const char *name;
    int column;
    bool of_val;
} columns[] = {{"epoch", RT_HIST_EPOCH, false},           {"stage", RT_HIST_STAGE, false},
               {"train_loss", RT_HIST_TRAIN_LOSS, false}, {"train_top1", RT_HIST_TRAIN_TOP1, false},
               {"eval_loss", RT_HIST_VAL_LOSS, true},     {"eval_top1", RT_HIST_VAL_TOP1, true},
               {"eval_top5", RT_HIST_VAL_TOP5, true},     {"lr", RT_HIST_LR, false},
               {"seconds", RT_HIST_SECONDS, false}};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

bool rt_history_csv(const RtTrainState *s, bool val, RtOutFile *out, RtErr *err) {
    if (!rt_out_begin(out, err))
        return false;
    for (int i = 0; i < N_COLUMNS; i++)
        fprintf(out->f, "%s%s", i ? "," : "", columns[i].name);
    fputc('\n', out->f);
    for (int64_t k = 0; k < s->n_history; k++) {
        const double *row = s->history + k * RT_HIST_COLUMNS;
        for (int i = 0; i < N_COLUMNS; i++) {
            fputs(i ? "," : "", out->f);
            if (val || !columns[i].of_val)
                fprintf(out->f, "%.9g", row[columns[i].column]);
        }
        fputc('\n', out->f);
    }
    return rt_out_commit(out, err);
}
