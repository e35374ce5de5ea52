// Looking at many files while a set is read: what lies in a folder, and threads that ask for sizes.
//
// A file system answers slowly and many at once, so there are more threads than CPUs. What they
// find lies where the caller's order says, whoever found it: the result is the same on any number.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

// ---- folders

void rt_build_free_names(RtListing *names) {
    for (int64_t i = 0; i < names->n; i++)
        free(names->entry[i].name);
    free(names->entry);
    *names = (RtListing){0};
}

static int compare_entries(const void *a, const void *b) {
    const RtEntry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static bool add_entry(RtListing *names, const struct dirent *e) {
    RtEntry *grown = rt_build_grow(names->entry, names->n, sizeof *grown);
    char *copy = strdup(e->d_name);
    if (grown)
        names->entry = grown;
    if (!grown || !copy) {
        free(copy);
        return false;
    }
    grown[names->n++] = (RtEntry){copy, e->d_type == DT_REG};
    return true;
}

bool rt_build_list_folder(RtBuild *b, const char *path, RtListing *names) {
    *names = (RtListing){0};
    if (!rt_build_stamp(b, path))
        return false;
    DIR *dir = opendir(path);
    if (!dir)
        return rt_build_error(b, "%s: %s", path, strerror(errno));
    bool good = true;
    struct dirent *e;
    while (good && (errno = 0, e = readdir(dir)))
        good = e->d_name[0] == '.' || add_entry(names, e);
    if (!good)
        rt_build_no_memory(b);
    else if (errno)
        good = rt_build_error(b, "%s: %s", path, strerror(errno));
    closedir(dir);
    if (names->n)
        qsort(names->entry, (size_t)names->n, sizeof *names->entry, compare_entries);
    if (!good)
        rt_build_free_names(names);
    return good;
}

char *rt_build_join_path(const char *a, const char *b) {
    char *path;
    size_t n = strlen(a);
    return asprintf(&path, "%s%s%s", a, n && a[n - 1] != '/' ? "/" : "", b) < 0 ? NULL : path;
}

bool rt_build_is_folder(const char *root, const char *name) {
    struct stat st;
    char path[PATH_MAX + 256]; // no memory must not look like no folder
    int n = snprintf(path, sizeof path, "%s/%s", root, name);
    return n > 0 && n < (int)sizeof path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *rt_build_val_folder(const char *root, bool has_train) {
    static const char *const names[] = {"val", "valid", "validation", "test"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((has_train || i < 3) && rt_build_is_folder(root, names[i]))
            return names[i];
    return NULL;
}

// ---- threads

enum { MOST_THREADS = 16, PROGRESS_NS = 200 * 1000 * 1000 };

typedef struct Scan {
    void (*visit)(void *ctx, int64_t from, int64_t to);
    void *ctx;
    int64_t n, grain;
    pthread_mutex_t lock; // over what follows
    pthread_cond_t ended;
    int64_t taken, done;
} Scan;

static void *run_scan(void *context) {
    Scan *s = context;
    pthread_mutex_lock(&s->lock);
    while (s->taken < s->n) {
        int64_t from = s->taken, to = from + s->grain < s->n ? from + s->grain : s->n;
        s->taken = to;
        pthread_mutex_unlock(&s->lock);
        s->visit(s->ctx, from, to);
        pthread_mutex_lock(&s->lock);
        s->done += to - from;
    }
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void show_progress(RtBuild *b, const char *what, int64_t done, int64_t total) {
    if (b->o->progress)
        b->o->progress(b->o->context, what, done, total);
}

// Until all is done, with the lock held.
static void watch(RtBuild *b, Scan *s, const char *what) {
    while (s->done < s->n) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&s->ended, &s->lock, &until);
        int64_t done = s->done;
        pthread_mutex_unlock(&s->lock);
        show_progress(b, what, done, s->n);
        pthread_mutex_lock(&s->lock);
    }
}

void rt_build_each(RtBuild *b, const char *what, int64_t n, int64_t grain,
                   void (*visit)(void *ctx, int64_t from, int64_t to), void *ctx) {
    Scan s = {.visit = visit, .ctx = ctx, .n = n, .grain = grain};
    pthread_t thread[MOST_THREADS];
    sigset_t all, old;
    int want = 4 * rt_threads(0), started = 0;
    want = want > MOST_THREADS ? MOST_THREADS : want;
    want = want > (n + grain - 1) / grain ? (int)((n + grain - 1) / grain) : want;
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.ended, NULL);
    sigfillset(&all); // signals are for the program's other threads
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (want > 1 && started < want && !pthread_create(&thread[started], NULL, run_scan, &s))
        started++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (started == 0)
        run_scan(&s);
    pthread_mutex_lock(&s.lock);
    watch(b, &s, what);
    pthread_mutex_unlock(&s.lock);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&s.lock);
    pthread_cond_destroy(&s.ended);
}
