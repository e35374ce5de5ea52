// What a run decides by itself where the user leaves it open, and whether it still learns. Private
// header.
#ifndef RUNTIME_TRAIN_RECIPE_H
#define RUNTIME_TRAIN_RECIPE_H

#include "runtime/train/run.h"

// Of r->own: epochs that are RT_EPOCHS_AUTO, and the patience that goes with them. The data is
// known.
void rt_recipe_resolve(RtRun *r);
// The epoch's losses against those before. False with r->err set: they rose to what guessing costs
// and were there an epoch ago, too, which no later epoch mends. val_loss: where there is
// validation.
bool rt_recipe_learns(RtRun *r, double loss, double val_loss);
// Of an epoch of maps of classes, what its places weigh. False with r->err set: none counts.
bool rt_recipe_counts(RtRun *r, double weight);
// At the end: a last epoch that is hardly better than guessing is said.
void rt_recipe_say_chance(RtRun *r);
// Classes that have many times the images of others: said.
void rt_recipe_say_balance(RtRun *r);
// At the end: classes of which no image for training could be read are said, as the model does not
// know them. False with r->err set: no memory.
bool rt_recipe_say_unread(RtRun *r);

#endif
