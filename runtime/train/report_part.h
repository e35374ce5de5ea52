// The parts of the training report, each a section of the page, or nothing where there is nothing
// to show. Private to report*.c.
#ifndef RUNTIME_TRAIN_REPORT_PART_H
#define RUNTIME_TRAIN_REPORT_PART_H

#include "runtime/train/train.h"

void rt_report_curves(const RtTrainResult *r, FILE *f); // report_chart.c: loss, accuracy, rate
void rt_report_folds(const RtTrainResult *r, FILE *f);  // report_folds.c: of a k-fold
void rt_report_ridges(const RtTrainResult *r, FILE *f); // that were tried for a solved classifier
void rt_report_data(const RtTrainResult *r, FILE *f);   // report_data.c: classes, counts, bad files
void rt_report_classes(const RtTrainResult *r, FILE *f);  // report_scores.c: taken for which
void rt_report_mistakes(const RtTrainResult *r, FILE *f); // with pictures
void rt_report_plan(const RtTrainResult *r, FILE *f);     // report_plan.c: what trained
void rt_report_settings(const RtTrainResult *r, FILE *f); // report_settings.c: options
// A stage that trains the new classifier alone was solved, where any was.
bool rt_report_is_solved(const RtTrainResult *r, int stage);

#endif
