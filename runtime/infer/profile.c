// The profile's figures, its tables for people and its object for programs.
//
// A node's bound is the time that the measured ceiling of the machine (ceiling.h) allows for the
// operations and bytes that its descriptor tells; bound over measured time is the fraction of the
// ceiling that the kernel reaches. It is no efficiency in the strict sense and may exceed 1:
// Winograd kernels need fewer operations than the direct form that is counted, kernels skip
// products with padding, and bytes that the producer left in a cache cost less than main memory.
#include "runtime/infer/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/infer/infer.h"

enum { COLUMNS = 120, FIGURES = 39, MAX_OP = 16, MAX_ALGO = 28, TYPES = 9 };

static const char *text_or_empty(const char *text) {
    return text ? text : "";
}

const char *rt_infer_profile_name(const HoneNodeDesc *n, char *text, size_t size) {
    const char *name = text_or_empty(n->name);
    char more[16] = "";
    int joined = 0;
    for (const char *c = name; *c; c++)
        joined += *c == '+' && c[1];
    if (joined)
        snprintf(more, sizeof more, " +%d", joined);
    size_t length = joined ? strcspn(name, "+") : strlen(name), room = size - 1 - strlen(more);
    if (length <= room) {
        snprintf(text, size, "%.*s%s", (int)length, name, more);
    } else {
        const char *tail = name + length - (room - 2), *end = name + length;
        while (tail < end && (*tail & 0xc0) == 0x80) // not into the middle of a character
            tail++;
        snprintf(text, size, "..%.*s%s", (int)(end - tail), tail, more);
    }
    return text;
}

const char *rt_infer_profile_group(const HoneNodeDesc *n, char *text, size_t size) {
    const char *op = text_or_empty(n->op), *kind = text_or_empty(n->algo);
    size_t same = strlen(op);
    if (strncmp(kind, op, same) == 0 && (kind[same] == ' ' || !kind[same])) // "matmul packed"
        kind += same;
    kind += strspn(kind, " ");
    snprintf(text, size, "%s%s%.*s", op, *kind ? " " : "", (int)strcspn(kind, " "), kind);
    return text;
}

const char *rt_infer_profile_types(const HoneNodeDesc *n, char *text, size_t size) {
    const RtDtype *from = rt_dtype(n->reads), *to = rt_dtype(n->makes);
    snprintf(text, size, "%s%s%s", from ? from->name : "?", from == to ? "" : ">",
             from == to ? ""
             : to       ? to->name
                        : "?");
    return text;
}

static void read_machine(char *name, size_t size) {
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    snprintf(name, size, "unknown CPU");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (!value || strncmp(line, "model name", 10) != 0)
            continue;
        value += 1 + strspn(value + 1, " ");
        value[strcspn(value, "\n")] = 0;
        snprintf(name, size, "%s", value);
        break;
    }
    if (f)
        fclose(f);
}

static double rate(double work, double ms) {
    return ms > 0 ? work / ms * 1e-6 : 0;
}

static void finish_row(RtProfileRow *r, double total_ms) {
    r->percent = total_ms > 0 ? 100 * r->ms / total_ms : 0;
    r->gflops = rate(r->flops, r->ms);
    r->gbs = rate(r->bytes, r->ms);
    r->fraction = r->ms > 0 ? r->bound_ms / r->ms : 0;
}

// Bounds add up: a sum of nodes cannot be faster than they are one after the other.
static void add_row(RtProfileRow *to, const RtProfileRow *r, double *memory_ms) {
    to->nodes += r->nodes;
    to->ms += r->ms;
    to->flops += r->flops;
    to->bytes += r->bytes;
    to->bound_ms += r->bound_ms;
    *memory_ms += r->by_memory ? r->bound_ms : 0;
    to->by_memory = *memory_ms > to->bound_ms / 2;
}

static int find_group(RtProfile *p, const HoneNodeDesc *n) {
    char want[96], have[96];
    rt_infer_profile_group(n, want, sizeof want);
    for (int i = 0; i < p->n_groups; i++)
        if (strcmp(rt_infer_profile_group(p->groups[i].node, have, sizeof have), want) == 0)
            return i;
    p->groups[p->n_groups] = (RtProfileRow){.node = n, .group = p->n_groups};
    return p->n_groups++;
}

bool rt_infer_profile_fill(RtProfile *p, const double *node_ms) {
    const HoneModelDesc *d = p->desc;
    size_t n = (size_t)d->n_nodes + 1;
    double *memory_ms = calloc(n, sizeof *memory_ms), all_memory_ms = 0;
    p->nodes = calloc(n, sizeof *p->nodes);
    p->groups = calloc(n, sizeof *p->groups);
    bool good = memory_ms && p->nodes && p->groups;
    read_machine(p->machine, sizeof p->machine);
    p->ceiling = good ? rt_ceiling_measure(p->threads) : (RtCeiling){0};
    for (int i = 0; good && i < d->n_nodes; i++) {
        const HoneNodeDesc *node = &d->nodes[i];
        RtProfileRow *r = &p->nodes[p->n_nodes++];
        *r = (RtProfileRow){.node = node,
                            .nodes = 1,
                            .ms = node_ms[i],
                            .flops = rt_infer_dim_value(node->flops, p->batch),
                            .bytes = rt_infer_dim_value(node->bytes, p->batch)};
        r->bound_ms = rt_ceiling_ms(&p->ceiling, r->flops, r->bytes, &r->by_memory);
        r->group = find_group(p, node);
        add_row(&p->groups[r->group], r, &memory_ms[r->group]);
        add_row(&p->all, r, &all_memory_ms);
    }
    for (int i = 0; i < p->n_nodes; i++)
        finish_row(&p->nodes[i], p->all.ms);
    for (int i = 0; i < p->n_groups; i++)
        finish_row(&p->groups[i], p->all.ms);
    finish_row(&p->all, p->all.ms);
    free(memory_ms);
    return good;
}

void rt_infer_profile_free(RtProfile *p) {
    free(p->nodes);
    free(p->groups);
    p->nodes = p->groups = NULL;
}

// ---------------------------------------------------------------- text

static void print_figures(const RtProfileRow *r) {
    printf("%9.4f %6.2f %7.1f %6.1f ", r->ms, r->percent, r->gflops, r->gbs);
    if (r->bound_ms > 0)
        printf("%5.2f %c", r->fraction, r->by_memory ? 'm' : 'c');
    else
        printf("%5s  ", "-");
}

static int widest(const RtProfile *p, bool algo, int least, int most) {
    int width = least;
    for (int i = 0; i < p->n_nodes; i++) {
        const HoneNodeDesc *n = p->nodes[i].node;
        int length = (int)strlen(text_or_empty(algo ? n->algo : n->op));
        width = length > width ? length : width;
    }
    return width < most ? width : most;
}

static void print_nodes(const RtProfile *p) {
    int op = widest(p, false, 2, MAX_OP), algo = widest(p, true, 9, MAX_ALGO);
    int name = COLUMNS - FIGURES - (2 + op) - (2 + TYPES) - (2 + algo) - 2;
    char text[COLUMNS], shown[COLUMNS], types[32];
    printf("\nTime by node, in order (minimum over %d runs):\n"
           "%9s %6s %7s %6s %7s  %-*s  %-*s  %-*s  %s\n",
           p->runs, "ms", "%", "GFLOP/s", "GB/s", "ceiling", op, "op", TYPES, "types", algo,
           "algorithm", "name");
    for (int i = 0; i < p->n_nodes; i++) {
        const HoneNodeDesc *n = p->nodes[i].node;
        print_figures(&p->nodes[i]);
        rt_infer_profile_name(n, text, (size_t)name + 1);
        printf("  %-*.*s  %-*s  %-*.*s  %s\n", op, op, text_or_empty(n->op), TYPES,
               rt_infer_profile_types(n, types, sizeof types), algo, algo, text_or_empty(n->algo),
               rt_clean(text, shown, (size_t)name + 1));
    }
}

static void print_groups(const RtProfile *p) {
    char text[64];
    printf("\nTime by operator and kernel:\n%9s %6s %7s %6s %7s  %5s  %s\n", "ms", "%", "GFLOP/s",
           "GB/s", "ceiling", "nodes", "kernel");
    for (int i = 0; i < p->n_groups; i++) {
        print_figures(&p->groups[i]);
        printf("  %5d  %s\n", p->groups[i].nodes,
               rt_infer_profile_group(p->groups[i].node, text, sizeof text));
    }
    print_figures(&p->all);
    printf("  %5d  all\n", p->all.nodes);
}

void rt_infer_profile_print(const RtProfile *p) {
    print_nodes(p);
    print_groups(p);
    printf("\nThe ceiling, measured now with %d thread%s of %s:\n"
           "%.1f GFLOP/s (fp32, %s) and %.1f GB/s from main memory. Column `ceiling`: the\n"
           "time that it allows over the time taken; c: compute bounds the node, m: memory does.\n"
           "Above 1: the kernel needs fewer operations than a direct one, whose operations count,\n"
           "or found its data in a cache.\n",
           p->ceiling.threads, p->ceiling.threads == 1 ? "" : "s", RT_SHOW(p->machine),
           p->ceiling.gflops, p->ceiling.simd, p->ceiling.gbs);
}

// ---------------------------------------------------------------- JSON

static void write_figures(const RtProfileRow *r, RtJson *j) {
    rt_json_number(j, "ms", r->ms, 6);
    rt_json_number(j, "percent", r->percent, 4);
    rt_json_number(j, "flops", r->flops, 15);
    rt_json_number(j, "bytes", r->bytes, 15);
    rt_json_number(j, "gflops", r->gflops, 5);
    rt_json_number(j, "gb_s", r->gbs, 5);
    rt_json_number(j, "ceiling", r->bound_ms > 0 ? r->fraction : NAN, 4);
    rt_json_text(j, "bound", r->bound_ms <= 0 ? NULL : r->by_memory ? "memory" : "compute");
}

void rt_infer_profile_json(const RtProfile *p, RtJson *j) {
    char text[96];
    rt_json_text(j, "machine", p->machine);
    rt_json_begin(j, "ceiling", '{');
    rt_json_text(j, "simd", p->ceiling.simd);
    rt_json_int(j, "threads", p->ceiling.threads);
    rt_json_number(j, "gflops", p->ceiling.gflops, 5);
    rt_json_number(j, "gb_s", p->ceiling.gbs, 4);
    rt_json_end(j, '}');
    rt_json_begin(j, "nodes", '[');
    for (int i = 0; i < p->n_nodes; i++) {
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "name", p->nodes[i].node->name);
        rt_json_text(j, "op", p->nodes[i].node->op);
        rt_json_text(j, "algo", p->nodes[i].node->algo);
        rt_json_text(j, "types", rt_infer_profile_types(p->nodes[i].node, text, sizeof text));
        write_figures(&p->nodes[i], j);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
    rt_json_begin(j, "kernels", '[');
    for (int i = 0; i < p->n_groups; i++) {
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "kernel", rt_infer_profile_group(p->groups[i].node, text, sizeof text));
        rt_json_int(j, "nodes", p->groups[i].nodes);
        write_figures(&p->groups[i], j);
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}
