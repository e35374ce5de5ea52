// Numbers of a run that follow from its data, and when it has gone wrong; see recipe.h.
#include "runtime/train/recipe.h"

#include "runtime/core/text.h"
#include "runtime/train/cached.h"
#include "runtime/train/rate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AUTO_STEPS = 2000, LEAST_EPOCHS = 5, MOST_EPOCHS = 60, PATIENCE = 5, UNEQUAL = 5 };
#define AT_CHANCE 0.95 // of the loss of guessing: no better than that
#define LEARNED 0.75   // of it: better than guessing, once

// ---------------------------------------------------------------- what is left open

// As many epochs as make AUTO_STEPS steps, within reason; a run of them ends early.
static int auto_epochs(const RtRun *r) {
    int64_t steps = (r->data->n_train + r->step_images - 1) / r->step_images;
    int64_t n = (AUTO_STEPS + steps - 1) / steps;
    return (int)(n < LEAST_EPOCHS ? LEAST_EPOCHS : n > MOST_EPOCHS ? MOST_EPOCHS : n);
}

void rt_recipe_resolve(RtRun *r) {
    bool open = false;
    for (int i = 0; i < r->d->n_stages; i++) {
        if (r->own.epochs[i] == RT_EPOCHS_AUTO) {
            r->own.epochs[i] = auto_epochs(r);
            open = true;
        }
    }
    if (r->own.early_stop < 0)
        r->own.early_stop = open ? PATIENCE : 0;
}

// ---------------------------------------------------------------- whether it learns

// The loss of the same probability for every class, where labels have none of their own.
static double loss_of_guessing(const HoneTrainDesc *d) {
    return log(d->loss == HONE_LOSS_BCE ? 2 : (double)d->classes);
}

// No better than guessing, on images of training and, where there are any, of validation: changes
// of images make the former hard, too sure a network makes the latter dear.
static bool is_chance(const RtRun *r, double loss, double val_loss) {
    double chance = AT_CHANCE * loss_of_guessing(r->d);
    return !(loss < chance) && (!r->val || !(val_loss < chance));
}

bool rt_recipe_learns(RtRun *r, double loss, double val_loss) {
    const RtTrainState *s = &r->state;
    double guessing = loss_of_guessing(r->d), least = INFINITY;
    int stage = (int)s->at[RT_AT_STAGE];
    for (int64_t i = 0; i < s->n_history; i++)
        least = fmin(least, s->history[i * RT_HIST_COLUMNS + RT_HIST_TRAIN_LOSS]);
    if (r->solves || (!r->val && rt_cached_changes_images(r)) || least > LEARNED * guessing)
        return true; // where there is no epoch yet, too
    const double *before = s->history + (s->n_history - 1) * RT_HIST_COLUMNS;
    if (!is_chance(r, loss, val_loss) ||
        !is_chance(r, before[RT_HIST_TRAIN_LOSS], before[RT_HIST_VAL_LOSS]))
        return true;
    char best[128] = "";
    if (s->at[RT_BEST_EPOCH] >= 0 && r->set->folder)
        snprintf(best, sizeof best, "; the best model, of epoch %lld, stays in ",
                 (long long)s->at[RT_BEST_EPOCH] + 1);
    return rt_fail(&r->err,
                   "stage '%s', epoch %lld: the loss rose from %.4f to %.4f, what guessing costs "
                   "is %.4f: the rate %g is too high%s%s. Try --lr with a tenth of it",
                   r->d->stages[stage].spec, (long long)s->at[RT_AT_STAGE_EPOCH] + 1, least, loss,
                   guessing, rt_rate_base(r), best, *best ? r->set->folder : "");
}

bool rt_recipe_counts(RtRun *r, double weight) {
    return !r->d->map_height || weight > 0 ||
           rt_fail(&r->err,
                   "%s: no pixel of the masks to train on counts, all are void (255): there is "
                   "nothing to learn",
                   r->set->data);
}

// What to do about a last epoch that is hardly better than guessing. column: of the loss that
// counts.
static const char *advise(const RtRun *r, int column, char *text, size_t size) {
    const RtTrainState *s = &r->state;
    const double *least = s->history;
    for (int64_t i = 1; i < s->n_history; i++)
        if (s->history[i * RT_HIST_COLUMNS + column] < least[column])
            least = s->history + i * RT_HIST_COLUMNS;
    if (r->solves)
        return "it hardly learned; a classifier alone does not tell these classes, more layers may "
               "(--freeze, when the program is made)";
    if (!(least[column] < LEARNED * loss_of_guessing(r->d)))
        return "it hardly learned; try more --epochs or another --lr";
    snprintf(text, size,
             "what epoch %d knew is lost, the rate was too high; try --lr with a tenth of it",
             (int)least[RT_HIST_EPOCH] + 1);
    return text;
}

void rt_recipe_say_chance(RtRun *r) {
    const RtTrainState *s = &r->state;
    double guessing = loss_of_guessing(r->d);
    if (s->n_history == 0)
        return;
    const double *row = s->history + (s->n_history - 1) * RT_HIST_COLUMNS;
    bool val = r->val && !isnan(row[RT_HIST_VAL_LOSS]);
    double loss = row[val ? RT_HIST_VAL_LOSS : RT_HIST_TRAIN_LOSS];
    char advice[128], how[64] = "no better than guessing's";
    if (loss < AT_CHANCE * guessing)
        return;
    if (loss < guessing)
        snprintf(how, sizeof how, "less than %.0f %% better than guessing's",
                 (1 - AT_CHANCE) * 100);
    rt_train_log_line(
        &r->log, "the last epoch's %s loss, %.4f, is %s, %.4f: %s", val ? "validation" : "training",
        loss, how, guessing,
        advise(r, val ? RT_HIST_VAL_LOSS : RT_HIST_TRAIN_LOSS, advice, sizeof advice));
}

// ---------------------------------------------------------------- the data

void rt_recipe_say_balance(RtRun *r) {
    const RtDataset *d = r->data;
    int least = -1, most = -1;
    for (int i = 0; i < d->classes; i++) {
        if (d->class_size[i] == 0)
            continue; // said already
        least = least < 0 || d->class_size[i] < d->class_size[least] ? i : least;
        most = most < 0 || d->class_size[i] > d->class_size[most] ? i : most;
    }
    if (most >= 0 && !r->set->balanced && d->class_size[most] >= UNEQUAL * d->class_size[least])
        rt_train_log_line(&r->log,
                          "classes are unequal: %lld images of '%s', %lld of '%s'; --class-weights "
                          "balanced weighs the rare ones more",
                          (long long)d->class_size[most], RT_SHOW(d->names[most]),
                          (long long)d->class_size[least], RT_SHOW(d->names[least]));
}

bool rt_recipe_say_unread(RtRun *r) {
    const RtDataset *d = r->data;
    if (!r->bad_images || d->target >= RT_TARGET_MULTI) // labels are not one a picture
        return true;
    int64_t *left = calloc((size_t)d->classes, sizeof *left);
    if (!left)
        return rt_fail(&r->err, "no memory");
    memcpy(left, d->class_size, (size_t)d->classes * sizeof *left);
    for (int64_t i = 0; i < d->n_train; i++) {
        int32_t label = rt_dataset_label(d, i);
        if (label >= 0 && r->bad_item[d->place ? d->place[i] : i])
            left[label]--;
    }
    for (int i = 0; i < d->classes; i++)
        if (d->class_size[i] > 0 && left[i] == 0)
            rt_train_log_line(&r->log,
                              "no image of '%s' for training could be read: the model does not "
                              "know this class",
                              RT_SHOW(d->names[i]));
    free(left);
    return true;
}
