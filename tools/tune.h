// Schedules of convolutions chosen by timing candidates on this machine. Private to tools/.
#ifndef TOOLS_TUNE_H
#define TOOLS_TUNE_H

#include "tools/tool.h"

// Measured choices, kept in a text file from run to run (tune_cache.c).
typedef struct TuneEntry {
    const char *key;
    const char *algo;
    int64_t tile[4];
    double us; // as measured
} TuneEntry;
typedef struct TuneCache {
    const char *path;
    int n, cap;
    TuneEntry *v;
} TuneCache;

// Reads `path`, NULL: the user's own. A file that is not there is empty; a damaged line is warned
// of and forgotten.
void tune_cache_read(Tool *t, TuneCache *c, const char *path);
const TuneEntry *tune_cache_find(const TuneCache *c, const char *key);
void tune_cache_add(Tool *t, TuneCache *c, const TuneEntry *e); // copies; replaces the key's
// Merges with what others wrote meanwhile and replaces the file, whole or not at all. An error is a
// warning: the measured choices still serve this run.
void tune_cache_write(Tool *t, TuneCache *c);

typedef struct Tune {
    Tool *tool;
    const ToolModel *model;
    const char *cache_path; // or NULL
} Tune;
// PassOptions.tune, `tune` a Tune *: every distinct convolution of g gets its fastest candidate,
// from the cache or measured now.
void tune_graph(void *tune, IrGraph *g, const PassOptions *opt);

#endif
