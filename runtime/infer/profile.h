// bench --profile: where the time goes, and how far from this machine's ceiling. Private header.
#ifndef RUNTIME_INFER_PROFILE_H
#define RUNTIME_INFER_PROFILE_H

#include "runtime/core/ceiling.h"
#include "runtime/file/json.h"
#include "runtime/core/rt.h"

typedef struct RtProfileRow {
    const HoneNodeDesc *node; // of a group: its first node
    int nodes;                // 1, or as many as the group has
    int group;                // index in RtProfile.groups
    double ms, flops, bytes;
    double percent;     // of the time of all nodes
    double gflops, gbs; // flops and bytes over ms
    double bound_ms;    // least time by the ceiling; 0: no figure for the work
    double fraction;    // bound_ms / ms
    int by_memory;      // what bounds it: memory, not arithmetic
} RtProfileRow;

typedef struct RtProfile {
    const HoneModelDesc *desc;
    int batch, threads, runs;
    double min_ms, median_ms; // of whole runs
    double load_ms, first_ms, rss_mb;
    char machine[128]; // name of the CPU
    RtCeiling ceiling;
    int n_nodes, n_groups;
    RtProfileRow *nodes;  // [n_nodes], in order of execution
    RtProfileRow *groups; // [n_groups], by operator and kind of kernel, in order of appearance
    RtProfileRow all;     // node NULL
} RtProfile;

// Fills machine, ceiling (measures it), nodes, groups and all from node_ms[n_nodes] (ms of each
// node of desc) and the fields before them, which the caller has set. False: no memory.
bool rt_infer_profile_fill(RtProfile *p, const double *node_ms);
void rt_infer_profile_free(RtProfile *p);

// Tables of at most 120 columns: all nodes, then the groups.
void rt_infer_profile_print(const RtProfile *p);
// The members machine, ceiling, nodes and groups of an object that is begun.
void rt_infer_profile_json(const RtProfile *p, RtJson *j);
// One HTML page that needs nothing else. The same profile gives the same bytes.
void rt_infer_profile_html(const RtProfile *p, FILE *f);

// "..conv1/Conv +2": the end of a node's name, as many bytes as fit, and how many names were joined
// to it. Returns text.
const char *rt_infer_profile_name(const HoneNodeDesc *n, char *text, size_t size);
// "conv winograd": operator and kind of kernel, which name a group. Returns text.
const char *rt_infer_profile_group(const HoneNodeDesc *n, char *text, size_t size);
// "f32", or "f32>bf16" where it reads another type than it makes.
const char *rt_infer_profile_types(const HoneNodeDesc *n, char *text, size_t size);

#endif
