// The outputs of a process together: none is an input or another one, none leaves a temporary file
// behind when a signal ends the process.
//
// A thread waits for the signals. It takes the lock and keeps it: from then on no temporary file is
// made and no output gets its name.
#define _GNU_SOURCE
#include "runtime/file/out.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 64 }; // of folders in one another

void rt_outs_init(RtOuts *outs) {
    *outs = (RtOuts){.first = NULL};
    pthread_mutex_init(&outs->lock, NULL);
}

void rt_outs_lock(RtOuts *outs) {
    if (outs)
        pthread_mutex_lock(&outs->lock);
}

void rt_outs_unlock(RtOuts *outs) {
    if (outs)
        pthread_mutex_unlock(&outs->lock);
}

// ---------------------------------------------------------------- one and the same

static bool same(const RtFileId *a, const RtFileId *b) {
    return a->ino && a->ino == b->ino && a->dev == b->dev && !a->name == !b->name &&
           (!a->name || strcmp(a->name, b->name) == 0);
}

static bool is_file(const RtFileId *id, const struct stat *st) {
    return id->ino == st->st_ino && id->dev == st->st_dev && !id->name && S_ISREG(st->st_mode);
}

static const char *const std_names[] = {"standard input", "standard output", "standard error"};

// What must not be replaced though nobody named it: NULL, or what it is.
static const char *taken(const RtOutFile *o) {
    struct stat st;
    if (stat("/proc/self/exe", &st) == 0 && is_file(&o->id, &st))
        return "this program";
    for (int fd = 0; fd <= 2 && o->target; fd++)
        if (fstat(fd, &st) == 0 && is_file(&o->id, &st))
            return std_names[fd];
    return NULL;
}

bool rt_outs_add(RtOuts *outs, RtOutFile *o, RtErr *err) {
    const char *what = taken(o);
    if (what)
        return rt_fail(err, "%s: cannot be written: it is %s", o->path, what);
    for (const RtOutFile *other = outs->first; other; other = other->next)
        if (((o->target || other->target) && same(&o->id, &other->id)) || (o->std && other->std))
            return rt_fail(err, "%s: cannot be written: it is the output %s as well", o->path,
                           other->path);
    rt_outs_lock(outs);
    o->outs = outs;
    o->next = outs->first;
    outs->first = o;
    rt_outs_unlock(outs);
    return true;
}

void rt_outs_remove(RtOuts *outs, RtOutFile *o) {
    for (RtOutFile **at = outs ? &outs->first : NULL; at && *at; at = &(*at)->next)
        if (*at == o) {
            *at = o->next;
            return;
        }
}

// The output that is this file, or NULL.
static const RtOutFile *find_file(const RtOuts *outs, const struct stat *st) {
    const RtOutFile *o = outs->first;
    while (o && !is_file(&o->id, st))
        o = o->next;
    return o;
}

static bool has_number(const RtOuts *outs, ino_t ino) {
    const RtOutFile *o = outs->first;
    while (o && (o->id.name || o->id.ino != ino))
        o = o->next;
    return o != NULL;
}

static bool refuse(const RtOutFile *o, const char *input, RtErr *err) {
    return rt_fail(err, "%s: cannot be written: it is an input, %s", o->path, input);
}

// The files of a folder. Their numbers are in its entries: no other call for most.
static bool allow_folder(const RtOuts *outs, const char *folder, int depth, int level, RtErr *err) {
    DIR *dir = level < MAX_DEPTH ? opendir(folder) : NULL;
    bool good = true;
    for (struct dirent *e; dir && good && (e = readdir(dir));) {
        bool plain = e->d_type == DT_REG && (level < depth || !has_number(outs, e->d_ino));
        struct stat st;
        char *path = NULL;
        if (plain || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            asprintf(&path, "%s/%s", folder, e->d_name) < 0)
            continue;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            good = allow_folder(outs, path, depth, level + 1, err);
        else if (level >= depth && stat(path, &st) == 0 && find_file(outs, &st))
            good = refuse(find_file(outs, &st), path, err);
        free(path);
    }
    if (dir)
        closedir(dir);
    return good;
}

// Else no input can be one of them.
static bool replaces(const RtOuts *outs) {
    const RtOutFile *o = outs->first;
    while (o && (!o->id.ino || o->id.name))
        o = o->next;
    return o != NULL;
}

// Standard output or error where it goes to this file, or NULL.
static const char *std_name_of(const struct stat *st) {
    struct stat std;
    for (int fd = 1; fd <= 2 && S_ISREG(st->st_mode); fd++)
        if (fstat(fd, &std) == 0 && std.st_ino == st->st_ino && std.st_dev == st->st_dev)
            return std_names[fd];
    return NULL;
}

bool rt_outs_may_be_input(const RtOuts *outs) {
    bool may = replaces(outs);
    for (int fd = 1; fd <= 2 && !may; fd++) {
        struct stat st;
        may = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    }
    return may;
}

bool rt_outs_allow(RtOuts *outs, const char *input, int depth, RtErr *err) {
    struct stat st;
    if (stat(input, &st) != 0)
        return true; // who reads it says so
    if (S_ISDIR(st.st_mode))
        return depth < 0 || !replaces(outs) || allow_folder(outs, input, depth, 0, err);
    if (find_file(outs, &st))
        return refuse(find_file(outs, &st), input, err);
    const char *std = std_name_of(&st);
    return !std || rt_fail(err, "%s: cannot be an input: %s goes there", input, std);
}

bool rt_outs_reserve(const RtOuts *outs, const char *folder, const char *const *names, RtErr *err) {
    struct stat st;
    if (stat(folder, &st) != 0)
        return true; // none can be written there either
    for (const RtOutFile *o = outs->first; o; o = o->next)
        for (const char *const *n = names; *n; n++)
            if (o->id.name && o->id.ino == st.st_ino && o->id.dev == st.st_dev &&
                fnmatch(*n, o->id.name, 0) == 0)
                return rt_fail(err, "%s: cannot be written: files of that name are kept in %s",
                               o->path, folder);
    return true;
}

// ---------------------------------------------------------------- signals

void rt_outs_signals(sigset_t *set) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction now;
    sigemptyset(set);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(set, signals[i]);
}

// Allocates nothing: the process may end because there is no memory left.
static void remove_temps(const RtOuts *outs) {
    for (const RtOutFile *o = outs->first; o; o = o->next)
        if (o->temp)
            unlink(o->temp);
}

static void *wait_for_signal(void *arg) {
    RtOuts *outs = arg;
    sigset_t set, one;
    siginfo_t info;
    int sig;
    rt_outs_signals(&set);
    while ((sig = sigwaitinfo(&set, &info)) < 0)
        continue;
    rt_outs_lock(outs);
    int code = outs->last ? outs->last(outs->ctx, &info) : -1;
    remove_temps(outs);
    if (code >= 0)
        _exit(code);
    sigemptyset(&one);
    sigaddset(&one, sig);
    signal(sig, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    raise(sig);
    return NULL;
}

void rt_outs_watch(RtOuts *outs, int (*last)(void *ctx, const siginfo_t *info), void *ctx) {
    sigset_t set;
    pthread_t thread;
    outs->last = last;
    outs->ctx = ctx;
    signal(SIGPIPE, SIG_IGN);
    rt_outs_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL); // threads made later inherit it
    if (pthread_create(&thread, NULL, wait_for_signal, outs) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void rt_outs_end(RtOuts *outs) {
    rt_outs_lock(outs);
    remove_temps(outs);
}
