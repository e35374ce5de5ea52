// What the control groups that this process is in leave it of the machine: CPUs and memory, by
// version 1 and 2 of their files. The tightest limit counts, from the group that /proc/self/cgroup
// names up to the mount itself. In a container the named path may not be visible; its mount root
// then is the container's group.
#include "runtime/core/rt.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CPUS = 4096 };
static const int64_t no_limit = INT64_MAX;

typedef struct Limit { // what a directory of a group leaves; no_limit: everything
    const char *controller;
    int64_t (*read_v2)(const char *dir);
    int64_t (*read_v1)(const char *dir);
} Limit;

// The first line of a directory's small file; false if there is none.
static bool read_line(const char *dir, const char *name, char *line, int size) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool got = fgets(line, size, f) != NULL;
    fclose(f);
    return got;
}

// ---------------------------------------------------------------- CPUs

static int64_t count_quota(long long quota, long long period) {
    if (quota <= 0 || period <= 0)
        return no_limit;
    long long cpus = (quota - 1) / period + 1;
    return cpus < MAX_CPUS ? cpus : MAX_CPUS;
}

// "max 100000", "150000 100000"
static int64_t cpus_v2(const char *dir) {
    char line[128];
    long long quota, period;
    if (!read_line(dir, "cpu.max", line, sizeof line) ||
        sscanf(line, "%lld %lld", &quota, &period) != 2)
        return no_limit;
    return count_quota(quota, period);
}

static int64_t cpus_v1(const char *dir) {
    char line[128];
    if (!read_line(dir, "cpu.cfs_quota_us", line, sizeof line))
        return no_limit;
    long long quota = atoll(line);
    return read_line(dir, "cpu.cfs_period_us", line, sizeof line) ? count_quota(quota, atoll(line))
                                                                  : no_limit;
}

// ---------------------------------------------------------------- memory

// A number of bytes; no_limit: there is none, or a word ("max").
static int64_t read_bytes(const char *dir, const char *name) {
    char line[128];
    long long n;
    return read_line(dir, name, line, sizeof line) && sscanf(line, "%lld", &n) == 1 && n >= 0
               ? n
               : no_limit;
}

// Pages of files that are in memory and count as used, but go when others are wanted.
static int64_t read_file_pages(const char *dir, const char *active, const char *inactive) {
    char path[PATH_MAX + 64], name[64];
    long long n;
    int64_t sum = 0;
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%63s %lld", name, &n) == 2)
        if (strcmp(name, active) == 0 || strcmp(name, inactive) == 0)
            sum += n;
    if (f)
        fclose(f);
    return sum;
}

static int64_t leave(int64_t limit, int64_t used, int64_t pages) {
    if (limit == no_limit || used == no_limit)
        return no_limit;
    used = used > pages ? used - pages : 0;
    return limit > used ? limit - used : 0;
}

static int64_t memory_v2(const char *dir) {
    int64_t most = read_bytes(dir, "memory.max"), high = read_bytes(dir, "memory.high");
    return leave(most < high ? most : high, read_bytes(dir, "memory.current"),
                 read_file_pages(dir, "active_file", "inactive_file"));
}

static int64_t memory_v1(const char *dir) {
    return leave(read_bytes(dir, "memory.limit_in_bytes"), read_bytes(dir, "memory.usage_in_bytes"),
                 read_file_pages(dir, "total_active_file", "total_inactive_file"));
}

// ---------------------------------------------------------------- groups

static int64_t tightest(const char *mount, char *group, int64_t (*read)(const char *)) {
    char dir[PATH_MAX];
    int64_t least = no_limit;
    for (;;) {
        int n = snprintf(dir, sizeof dir, "%s%s", mount, group);
        int64_t here = n > 0 && n < (int)sizeof dir ? read(dir) : no_limit;
        least = here < least ? here : least;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

static bool names(const char *controllers, const char *name) {
    size_t n = strlen(name);
    for (const char *c = controllers; c; c = strchr(c, ','), c = c ? c + 1 : NULL)
        if (strncmp(c, name, n) == 0 && (c[n] == ',' || c[n] == 0))
            return true;
    return false;
}

// A line of /proc/self/cgroup: "ID:CONTROLLERS:PATH", without controllers in version 2.
static int64_t limit_of_line(const Limit *l, const char *root, char *line) {
    char path[PATH_MAX];
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return no_limit;
    controllers++;
    *group++ = 0;
    if (*controllers == 0) {
        snprintf(path, sizeof path, "%s/sys/fs/cgroup", root);
        return tightest(path, group, l->read_v2);
    }
    if (!names(controllers, l->controller))
        return no_limit;
    snprintf(path, sizeof path, "%s/sys/fs/cgroup/%.512s", root, controllers);
    if (access(path, F_OK) != 0)
        snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s", root, l->controller);
    return tightest(path, group, l->read_v1);
}

static int64_t find(const Limit *l, const char *root) {
    char path[PATH_MAX], line[PATH_MAX];
    int64_t least = no_limit;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        int64_t here = limit_of_line(l, root, line);
        least = here < least ? here : least;
    }
    if (f)
        fclose(f);
    return least;
}

int rt_cgroup_cpus(const char *root) {
    int64_t cpus = find(&(Limit){"cpu", cpus_v2, cpus_v1}, root);
    return cpus == no_limit ? 0 : (int)cpus;
}

int64_t rt_cgroup_memory(const char *root) {
    return find(&(Limit){"memory", memory_v2, memory_v1}, root);
}

int64_t rt_memory_available(void) {
    char line[256];
    long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    int64_t machine = (int64_t)kib * 1024, group = rt_cgroup_memory("");
    return group < machine ? group : machine;
}
