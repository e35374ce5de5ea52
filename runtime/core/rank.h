// What the classifier's output says of an image: its classes, the likeliest first. Private header.
#ifndef RUNTIME_CORE_RANK_H
#define RUNTIME_CORE_RANK_H

#include "runtime/core/rt.h"

// Numbers that the classifier's output holds for an image, and classes that they tell apart: one
// number is two classes. d->classifier is not -1.
int64_t rt_rank_columns(const HoneModelDesc *d);
int64_t rt_rank_classes(const HoneModelDesc *d);
// The `top` likeliest classes of an image's row, at most all: index and score, which is the
// probability, or the number itself where it says none (HONE_SCORES_OTHER); labels are the model's,
// NULL where it has none. How many; -1: the row has what is no number.
int rt_rank(const HoneModelDesc *d, const void *row, int top, HoneClass *to);
// The same of several rows [views][columns], by the mean of what each says. mean: [columns], to
// work in.
int rt_rank_mean(const HoneModelDesc *d, const void *rows, int views, double *mean, int top,
                 HoneClass *to);

#endif
