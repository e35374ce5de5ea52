// An engine's graphs for those who look into them: train/engine_check.c. Private header.
#ifndef RUNTIME_TRAIN_ENGINE_GRAPHS_H
#define RUNTIME_TRAIN_ENGINE_GRAPHS_H

#include "runtime/train/engine.h"

typedef enum RtEngineGraph { RT_ENGINE_FEATURES, RT_ENGINE_TRAIN } RtEngineGraph;

// Of the open stage; NULL: there is none.
const HoneModelDesc *rt_engine_graph(const RtEngine *t, RtEngineGraph which);
// Runs the graph on another instance of its model while `observe` looks on. Its outputs go where
// the engine's own step puts them.
bool rt_engine_observe(RtEngine *t, RtEngineGraph which, HoneModel *m, const RtEngineBatch *b,
                       RtObserve observe, void *ctx, RtErr *err);

#endif
