// Scores: from logits and labels to accuracy, the confusion matrix and the worst mistakes. Private
// header.
#ifndef RUNTIME_TRAIN_EVAL_H
#define RUNTIME_TRAIN_EVAL_H

#include "runtime/ranks/ranks.h"
#include "runtime/train/probability.h"
#include "runtime/train/source.h"
#include "runtime/train/temper.h"

enum { RT_WORST = 12, RT_MAX_CONFUSION = 1000 }; // classes with a confusion matrix
enum { RT_SURE_BINS = 15 };

typedef struct RtMistake {
    int64_t item;
    int32_t label, guess;
    double loss, score; // of the guess, a probability
} RtMistake;

typedef struct RtScores {
    int64_t n;
    // Means. Multi-label: top1 is the share of right labels, top5 the share of images with all of
    // them right; binary: top5 is 1. Of maps: top1 is the mean over classes of the intersection
    // over the union (mIoU), top5 the share of places that are right;
    // NaN where no place of any image has a label
    double loss, top1, top5;
    int classes;
    int64_t *confusion; // [label][guess] of images, of maps of places; NULL: multi-label, or too
                        // many classes
    int64_t places;     // of maps: labelled ones
    // Images by the probability of their guess, in bins of equal width: how many, how many of them
    // right, the sum of the probabilities. Not for multi-label.
    struct {
        double n, right, sure;
    } bin[RT_SURE_BINS];
    RtMistake worst[RT_WORST];
    int n_worst; // wrong ones, the largest loss first
    // Images with a logit or a loss that is not finite: wrong, and left out of the loss's mean,
    // which is NaN where they are all.
    int64_t n_not_finite, not_finite[RT_WORST]; // the first of them
    RtTemper *temper; // of who asks for temperatures; set before, zeros. Not for multi-label
    // Of the views' mean probabilities, from a source that gives several of each image; set before,
    // as it is. All other fields are of the first view. Of maps there are two, the second being the
    // picture's mirror image, and one process alone looks at them.
    struct RtScores *of_views;
} RtScores;

typedef struct RtScoreWords { // what the numbers of RtScores are called; keys: where programs read
    const char *train, *first, *second; // top1 while it trains; top1, top5
    const char *train_key, *first_key, *second_key;
    const char *unit; // of the confusion matrix: images
} RtScoreWords;
const RtScoreWords *rt_score_words(const HoneTrainDesc *d);

typedef struct RtConfusion { // images of `label` that were taken for `guess`
    int32_t label, guess;
    int64_t images;
} RtConfusion;
// The most frequent of them, the largest first; returns how many. From the confusion matrix, which
// is there.
int rt_scores_confusions(const RtScores *s, RtConfusion *to, int most);

// Of one class. NaN: the class is not there, or for precision and iou neither there nor guessed.
typedef struct RtClassScores {
    int64_t images; // of maps: places
    double precision, recall, f1;
    double iou; // intersection over union
} RtClassScores;
void rt_scores_add_mistake(RtScores *s, const RtMistake *m); // if it is one of the worst
// From the confusion matrix, which is there.
RtClassScores rt_scores_of_class(const RtScores *s, int k);
double rt_scores_macro_f1(const RtScores *s); // mean over the classes that have images
// Over the classes that are there or guessed.
double rt_scores_mean_iou(const RtScores *s);
// How far probabilities are from the share that is right: the expected calibration error of the
// guess (Guo et al., On Calibration of Modern Neural Networks, 2017).
double rt_scores_calibration_error(const RtScores *s);

// What one row of logits says. Returns the guessed class (multi-label: of the largest logit); adds
// to *right1 and *right5 as RtScores counts. label and targets as in RtEngineBatch.
int32_t rt_score_row(const HoneTrainDesc *d, const float *logits, int32_t label,
                     const float *targets, double *right1, double *right5);
// Runs the open stage's evaluation over a source from its beginning, its batches shared by ranks
// (NULL: alone), each of which gets all scores. progress may be NULL; when some rank's returns
// false, evaluation ends early: false, with err->text empty.
// scores->temper and scores->of_views are kept, and filled.
bool rt_evaluate(RtEngine *t, RtRanks *ranks, RtSource *s, int64_t batch, RtScores *scores,
                 bool (*progress)(void *ctx, int64_t done, int64_t total), void *ctx, RtErr *err);
// Zeros, with room for a confusion matrix where there is to be one; temper and of_views are kept.
void rt_scores_begin(RtScores *s, const HoneTrainDesc *d);
void rt_scores_free(RtScores *s);
// Tells `say` a line for each of the first `most` images in not_finite, and one for the others.
void rt_scores_tell(const RtScores *s, const RtDataset *data, int most,
                    void (*say)(void *ctx, const char *line), void *ctx);

#endif
