// Schedules of convolutions chosen by timing candidates on this machine. Private to tools/.
#ifndef TOOLS_AUTOTUNE_H
#define TOOLS_AUTOTUNE_H

#include "tools/tool.h"

// Measured choices, kept in a text file from run to run (autotune_cache.c).
typedef struct AutotuneEntry {
    const char *key;
    IrConvAlgo algo;
    IrConvTile tile;
    double us; // as measured
} AutotuneEntry;
typedef struct AutotuneCache {
    RtOutFile *file; // NULL: it is not kept
    int n, cap;
    AutotuneEntry *v;
} AutotuneCache;

// The file at `path`, as an output; NULL: the user's own. False after an error: it cannot be
// written. The user's own, which nobody asked for, is then warned of and left out: *file is NULL.
bool autotune_cache_open(Tool *t, const char *path, RtOutFile **file);
// A file that is not there is empty; a damaged line, or a file of another version's, is warned of
// once and forgotten.
void autotune_cache_read(Tool *t, AutotuneCache *c, RtOutFile *file);
const AutotuneEntry *autotune_cache_find(const AutotuneCache *c, const char *key);
void autotune_cache_add(Tool *t, AutotuneCache *c,
                        const AutotuneEntry *e); // copies; replaces the key's
// Merges with what others wrote meanwhile and replaces the file, whole or not at all; closes it.
// False after an error.
bool autotune_cache_write(Tool *t, AutotuneCache *c);

typedef struct Autotune {
    Tool *tool;
    const ToolModel *model;
    RtOutFile *cache_file; // or NULL
} Autotune;
// PassOptions.autotune, `autotune` an Autotune *: every distinct convolution of g gets its fastest
// candidate, from the cache or measured now.
void autotune_graph(void *autotune, IrGraph *g, const PassOptions *opt);

#endif
