// Threads: how many CPUs this process has; the clock.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <limits.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CPUS = 4096 };

uint64_t rt_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// First line of a small file; false if there is none.
static bool read_line(const char *path, char *line, int size) {
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool got = fgets(line, size, f) != NULL;
    fclose(f);
    return got;
}

static int count_quota(long long quota, long long period) {
    if (quota <= 0 || period <= 0)
        return 0;
    long long cpus = (quota - 1) / period + 1;
    return cpus < MAX_CPUS ? (int)cpus : MAX_CPUS;
}

// cpu.max of version 2 ("max 100000", "150000 100000") in a directory; 0: no limit.
static int read_quota_v2(const char *dir) {
    char path[PATH_MAX + 64], line[128];
    long long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (!read_line(path, line, sizeof line) || sscanf(line, "%lld %lld", &quota, &period) != 2)
        return 0;
    return count_quota(quota, period);
}

static int read_quota_v1(const char *dir) {
    char path[PATH_MAX + 64], line[128];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    if (!read_line(path, line, sizeof line))
        return 0;
    long long quota = atoll(line);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    return read_line(path, line, sizeof line) ? count_quota(quota, atoll(line)) : 0;
}

static int min_limit(int a, int b) {
    return a == 0 || (b != 0 && b < a) ? b : a;
}

// The tightest quota from `group` (as /proc/self/cgroup names it) up to the mount itself. In a
// container the named path may not be visible; its mount root then is the container's group.
static int read_quota_tree(const char *mount, char *group, int (*read_quota)(const char *)) {
    char dir[PATH_MAX];
    int cpus = 0;
    for (;;) {
        int n = snprintf(dir, sizeof dir, "%s%s", mount, group);
        if (n > 0 && n < (int)sizeof dir)
            cpus = min_limit(cpus, read_quota(dir));
        char *slash = strrchr(group, '/');
        if (!slash)
            return cpus;
        *slash = 0;
    }
}

static bool names_cpu(const char *controllers) {
    for (const char *c = controllers; c; c = strchr(c, ','), c = c ? c + 1 : NULL)
        if (strncmp(c, "cpu", 3) == 0 && (c[3] == ',' || c[3] == 0))
            return true;
    return false;
}

int rt_cgroup_cpus(const char *root) {
    char path[PATH_MAX], line[PATH_MAX];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    int cpus = 0;
    while (f && fgets(line, sizeof line, f)) { // "ID:CONTROLLERS:PATH"
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        controllers++;
        *group++ = 0;
        if (*controllers == 0) {
            snprintf(path, sizeof path, "%s/sys/fs/cgroup", root);
            cpus = min_limit(cpus, read_quota_tree(path, group, read_quota_v2));
        } else if (names_cpu(controllers)) {
            snprintf(path, sizeof path, "%s/sys/fs/cgroup/%.512s", root, controllers);
            if (access(path, F_OK) != 0)
                snprintf(path, sizeof path, "%s/sys/fs/cgroup/cpu", root);
            cpus = min_limit(cpus, read_quota_tree(path, group, read_quota_v1));
        }
    }
    if (f)
        fclose(f);
    return cpus;
}

// The affinity mask may be larger than cpu_set_t on big machines.
static int count_affinity(void) {
    for (int cpus = 1024; cpus <= 1 << 18; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        int n = set && sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        if (set)
            CPU_FREE(set);
        if (n > 0)
            return n;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

// Where OpenMP binds its threads to places, the caller's own mask is its place alone.
static int count_places(void) {
    int cpus = 0, most = omp_get_num_procs();
    for (int i = 0; i < omp_get_num_places(); i++)
        cpus += omp_get_place_num_procs(i);
    return cpus < most ? cpus : most;
}

int rt_cpus_available(void) {
    int cpus = count_places();
    return min_limit(cpus > 0 ? cpus : count_affinity(), rt_cgroup_cpus(""));
}
