// The training report: one self-contained HTML file. Private header.
#ifndef RUNTIME_TRAIN_REPORT_H
#define RUNTIME_TRAIN_REPORT_H

#include "runtime/train/train.h"

// Curves of loss and accuracy, the freezing plan, the confusion matrix, the worst mistakes as
// thumbnails, the settings. Whole or not at all; false with err set.
bool rt_report_html(const RtTrainResult *r, const char *path, RtErr *err);

#endif
