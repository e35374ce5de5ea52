// What differs between the options of two runs. Private header.
#ifndef RUNTIME_TRAIN_OPTIONS_DIFF_H
#define RUNTIME_TRAIN_OPTIONS_DIFF_H

#include <stddef.h>

// Of two texts as RtCheckpointKey.options: "--seed 1, now 2; --lr of stage 2 0.1, now 0.2", by the
// names that users give; "" where they are the same. What has no room is cut off.
const char *rt_options_diff(const char *had, const char *now, char *text, size_t size);

#endif
