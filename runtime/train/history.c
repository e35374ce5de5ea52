// The history that checkpoints keep, written out; so a resumed run gives the table of a whole one.
#include "runtime/train/history.h"

#include <math.h>

bool rt_history_csv(const RtTrainState *s, const RtScoreWords *words, bool val, RtOutFile *out,
                    RtErr *err) {
    const struct {
        const char *name, *key; // what it is called: both
        int column;
        bool of_val;
    } columns[] = {{"epoch", "", RT_HIST_EPOCH, false},
                   {"stage", "", RT_HIST_STAGE, false},
                   {"train_loss", "", RT_HIST_TRAIN_LOSS, false},
                   {"train_", words->train_key, RT_HIST_TRAIN_TOP1, false},
                   {"eval_loss", "", RT_HIST_VAL_LOSS, true},
                   {"eval_", words->first_key, RT_HIST_VAL_TOP1, true},
                   {"eval_", words->second_key, RT_HIST_VAL_TOP5, true},
                   {"lr", "", RT_HIST_LR, false},
                   {"seconds", "", RT_HIST_SECONDS, false}};
    enum { N_COLUMNS = sizeof columns / sizeof *columns };
    if (!rt_out_begin(out, err))
        return false;
    for (int i = 0; i < N_COLUMNS; i++)
        fprintf(out->f, "%s%s%s", i ? "," : "", columns[i].name, columns[i].key);
    fputc('\n', out->f);
    for (int64_t k = 0; k < s->n_history; k++) {
        const double *row = s->history + k * RT_HIST_COLUMNS;
        for (int i = 0; i < N_COLUMNS; i++) {
            fputs(i ? "," : "", out->f);
            if ((val || !columns[i].of_val) && !isnan(row[columns[i].column]))
                fprintf(out->f, "%.9g", row[columns[i].column]);
        }
        fputc('\n', out->f);
    }
    return rt_out_commit(out, err);
}
