// Files and subprocesses of the command line: outputs that appear whole or not at all, the model's
// hash, running the system's compiler driver.
#define _GNU_SOURCE // memfd_create
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

extern char **environ;

// err's text begins with the file.
static bool complain(Tool *t, const RtErr *err) {
    const char *file = t->diag.file;
    t->diag.file = NULL;
    ir_error(&t->diag, IR_NOWHERE, "%s", err->text);
    t->diag.file = file;
    return false;
}

RtOutFile *tool_out(Tool *t, const char *path, RtOutKind kind) {
    RtErr err;
    RtOutFile *o = ir_alloc(t->arena, sizeof *o);
    if (rt_out_open(o, &t->outs, path, kind, &err))
        return o;
    complain(t, &err);
    return NULL;
}

bool tool_out_if(Tool *t, const char *path, RtOutFile **o) {
    *o = path ? tool_out(t, path, RT_OUT_WHOLE) : NULL;
    return !path || *o;
}

bool tool_reads(Tool *t, const char *path, int depth) {
    RtErr err;
    return !path || rt_outs_allow(&t->outs, path, depth, &err) || complain(t, &err);
}

const char *tool_out_file(Tool *t, RtOutFile *o) {
    RtErr err;
    if (!rt_out_begin(o, &err) || !rt_out_hand_over(o, &err)) {
        complain(t, &err);
        return NULL;
    }
    return o->temp ? o->temp : ir_sprintf(t->arena, "%s/out", tool_temp_dir(t));
}

bool tool_copy_out(Tool *t, RtOutFile *o, const char *file) {
    char buf[1 << 16];
    RtErr err;
    if (!rt_out_begin(o, &err))
        return complain(t, &err);
    FILE *f = fopen(file, "re");
    bool ok = f != NULL;
    for (size_t n; ok && (n = fread(buf, 1, sizeof buf, f)) > 0;)
        if (fwrite(buf, 1, n, o->f) == n)
            o->bytes += (int64_t)n;
        else
            break; // which shows when it is committed
    if (!ok || ferror(f))
        ir_error(&t->diag, IR_NOWHERE, "cannot read %s: %s", file, strerror(errno));
    ok = ok && !ferror(f);
    if (f)
        fclose(f);
    return ok;
}

// What is written through was made in the directory of this run.
bool tool_out_take(Tool *t, RtOutFile *o, const char *file) {
    return o->temp || tool_copy_out(t, o, file);
}

bool tool_print_out(Tool *t, RtOutFile *o, ToolPrint print, void *ctx) {
    RtErr err;
    if (!rt_out_begin(o, &err))
        return complain(t, &err);
    print(o->f, ctx);
    return true;
}

int64_t tool_out_commit(Tool *t, RtOutFile *const *o, int n) {
    RtErr err;
    bool ok = true;
    for (int i = 0; ok && i < n; i++)
        ok = !o[i] || rt_out_finish(o[i], &err);
    int64_t bytes = o[0] ? o[0]->bytes : 0;
    for (int i = 0; ok && i < n; i++)
        ok = !o[i] || rt_out_commit(o[i], &err);
    return ok ? bytes : complain(t, &err) - 1;
}

bool tool_write_temp(Tool *t, const char *path, ToolPrint print, void *ctx) {
    FILE *f = fopen(path, "we");
    if (f)
        print(f, ctx);
    bool ok = f && fflush(f) == 0 && !ferror(f);
    if (!ok)
        ir_error(&t->diag, IR_NOWHERE, "cannot write %s: %s", path, strerror(errno));
    if (f && fclose(f) != 0 && ok)
        ir_error(&t->diag, IR_NOWHERE, "cannot write %s: %s", path, strerror(errno));
    return ok && !t->diag.errors;
}

bool tool_load_names(Tool *t, const char *path, RtNames *names) {
    RtErr err;
    return rt_names_load(names, path, &err) || complain(t, &err);
}

const char *const *tool_keep_names(Tool *t, const RtNames *names) {
    const char **kept = ir_alloc_array(t->arena, (size_t)names->n + 1, sizeof *kept);
    for (int64_t i = 0; i < names->n; i++)
        kept[i] = ir_strdup(t->arena, names->name[i]);
    return kept;
}

const char *tool_model_hash(Tool *t, const char *path) {
    enum { PIECE = 1 << 20 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe has been read: 0 bytes
    char *piece = ir_alloc(t->arena, PIECE);
    XXH3_state_t *state = ir_alloc(t->arena, sizeof *state);
    XXH3_INITSTATE(state);
    XXH3_128bits_reset(state);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 || (n < 0 && fd >= 0 && errno == EINTR)) {
        n = read(fd, piece, PIECE);
        XXH3_128bits_update(state, piece, n > 0 ? (size_t)n : 0);
    }
    if (n < 0)
        ir_fatal(&t->diag, IR_NOWHERE, "cannot %s: %s", fd < 0 ? "open" : "read", strerror(errno));
    close(fd);
    XXH128_hash_t h = XXH3_128bits_digest(state);
    return ir_sprintf(t->arena, "%016llx%016llx", (unsigned long long)h.high64,
                      (unsigned long long)h.low64);
}

// ---------------------------------------------------------------- subprocesses

// In one line: the first that the program printed; all of them with --verbose.
static void report_failure(Tool *t, const char *const *argv, int status, int log) {
    char text[4096] = "";
    ssize_t n = pread(log, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    for (char *line = text, *end; t->verbose && *line; line = end) { // names of files are in it
        end = line + strcspn(line, "\n");
        fprintf(stderr, "%s\n", RT_SHOW(ir_strndup(t->arena, line, (size_t)(end - line))));
        end += *end == '\n';
    }
    text[strcspn(text, "\n")] = 0;
    if (WIFEXITED(status))
        ir_error(&t->diag, IR_NOWHERE, "%s failed with exit code %d%s%s", argv[0],
                 WEXITSTATUS(status), *text ? ": " : "", text);
    else
        ir_error(&t->diag, IR_NOWHERE, "%s was killed by signal %d", argv[0], WTERMSIG(status));
}

// Our environment with TMPDIR in the directory of this run, so that what a killed compiler driver
// leaves goes with it.
static char **child_environment(Tool *t) {
    size_t n = 0;
    while (environ[n])
        n++;
    char **env = ir_alloc_array(t->arena, n + 2, sizeof *env);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "TMPDIR=", 7) != 0)
            env[k++] = environ[i];
    env[k++] = ir_sprintf(t->arena, "TMPDIR=%s", tool_temp_dir(t));
    env[k] = NULL;
    return env;
}

// log: where it prints to.
static bool run_child(Tool *t, const char *const *argv, int log) {
    char **env = child_environment(t);
    if (t->verbose) {
        for (int i = 0; argv[i]; i++)
            fprintf(stderr, "%s%s", i ? " " : "", RT_SHOW(argv[i]));
        fputc('\n', stderr);
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, log, 2);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_t attr;
    sigset_t none, pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_init(&attr); // tool_catch_signals() blocked some and ignores another
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &pipe);
    posix_spawnattr_setpgroup(&attr, 0); // a driver and what it starts die together
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    pid_t pid;
    rt_outs_lock(&t->outs);
    int err = posix_spawnp(&pid, argv[0], &actions, &attr, (char *const *)argv, env);
    t->child = err ? 0 : pid;
    rt_outs_unlock(&t->outs);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (err) {
        ir_error(&t->diag, IR_NOWHERE,
                 "cannot run %s: %s (hone links with the system's C compiler: apt-get install gcc "
                 "binutils, or set CC)",
                 argv[0], strerror(err));
        return false;
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    rt_outs_lock(&t->outs);
    t->child = 0;
    rt_outs_unlock(&t->outs);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    report_failure(t, argv, status, log);
    return false;
}

// A log in memory: a full disk must not keep a program from telling of it.
bool tool_spawn(Tool *t, const char *const *argv) {
    int log = memfd_create("spawn.log", MFD_CLOEXEC);
    if (log < 0) {
        ir_error(&t->diag, IR_NOWHERE, "cannot run %s: %s", argv[0], strerror(errno));
        return false;
    }
    bool ok = run_child(t, argv, log);
    close(log);
    return ok;
}
