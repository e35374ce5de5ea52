// The options of train: what the command line says, before anything is made of it. Private header.
#ifndef RUNTIME_FINETUNE_TRAIN_OPTIONS_H
#define RUNTIME_FINETUNE_TRAIN_OPTIONS_H

#include "runtime/finetune/finetune.h"

#define RT_VAL_FRACTION 0.2f // where nobody says

typedef struct RtTrainWords { // options that are texts first, and settings that are as they stand
    const char *data, *val, *epochs, *lr, *optimizer, *head_solver, *lr_schedule, *augment, *cache,
        *feature_memory, *folder, *weights;
    bool help, nesterov, no_checkpoint, average;
    float val_fraction, warmup, average_decay;
    int max_steps;
    const char *policy, *how, *filter;
    RtCliFloats scale, ratio;
    bool given[RT_CLI_MOST];        // rows of the table of options
    char idle[1024], of_steps[512]; // of what is given: what does nothing; what tells of steps
    RtTrainSettings set;
} RtTrainWords;

// The command line over the defaults. False: the subcommand ends with *code.
bool rt_fine_train_parse(const RtFine *f, int argc, char **argv, RtTrainWords *w, int *code);
bool rt_fine_train_given(const RtTrainWords *w, const char *option); // on the command line
// Of options that are given, those that do nothing with the others, into w->idle, with reasons;
// those that only tell of steps, into w->of_steps, since which stages take any is known later.
void rt_fine_train_find_idle(const RtFine *f, RtTrainWords *w);

#endif
