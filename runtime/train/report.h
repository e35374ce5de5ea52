// The training report: one self-contained HTML file. Private header.
#ifndef RUNTIME_TRAIN_REPORT_H
#define RUNTIME_TRAIN_REPORT_H

#include "runtime/train/train.h"

// Curves of loss and accuracy, the freezing plan, the confusion matrix, the worst mistakes as
// thumbnails, the settings, to an output that is open; commits it. False with err set.
bool rt_report_html(const RtTrainResult *r, RtOutFile *out, RtErr *err);

#endif
