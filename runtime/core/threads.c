// Threads: how many CPUs this process has; the clock.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t rt_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
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
    int quota = rt_cgroup_cpus("");
    cpus = cpus > 0 ? cpus : count_affinity();
    return quota > 0 && quota < cpus ? quota : cpus;
}
