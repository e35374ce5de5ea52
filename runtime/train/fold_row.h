// The scores of one part of a k-fold as JSON, and back, so that those of all parts can be added up
// whenever they were found. Private header.
#ifndef RUNTIME_TRAIN_FOLD_ROW_H
#define RUNTIME_TRAIN_FOLD_ROW_H

#include "runtime/train/eval.h"

#include <jansson.h>

// place: of items, as of RtDataset. json_decref() releases. NULL: no memory.
json_t *rt_fold_row_make(const RtScores *s, int part, const int64_t *place);
// Adds a row to sums over images, of maps over their places, but for top1, which the confusion
// matrix tells; its items are places of the data, of which there are `items`. False: it is no such
// row.
bool rt_fold_row_add(const json_t *row, bool map, RtScores *sum, int64_t items);

#endif
