// A tuner's graphs for those who look into them: train/engine_check.c. Private header.
#ifndef RUNTIME_TRAIN_ENGINE_GRAPHS_H
#define RUNTIME_TRAIN_ENGINE_GRAPHS_H

#include "runtime/train/engine.h"

typedef enum RtTunerGraph { RT_TUNER_FEATURES, RT_TUNER_TRAIN } RtTunerGraph;

// Of the open stage; NULL: there is none.
const HoneModelDesc *rt_tuner_graph(const RtTuner *t, RtTunerGraph which);
// Runs the graph on another instance of its model while `observe` looks on. Its outputs go where
// the tuner's own step puts them.
bool rt_tuner_observe(RtTuner *t, RtTunerGraph which, HoneModel *m, const RtTuneBatch *b,
                      RtObserve observe, void *ctx, RtErr *err);

#endif
