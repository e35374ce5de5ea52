// Files and subprocesses of the command line: outputs that appear whole or not at all, the model's
// hash, running the system's compiler driver.
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

static void remember_temporary(Tool *t, const char *path) {
    for (size_t i = 0; i < sizeof t->temp_out / sizeof *t->temp_out; i++) {
        if (!t->temp_out[i]) {
            t->temp_out[i] = path;
            return;
        }
    }
    ir_bug("tools", path, "too many outputs at once");
}

// "PATH: cannot write: REASON"
static bool fail_to_write(Tool *t, const char *path, const char *why) {
    const char *file = t->diag.file;
    t->diag.file = path;
    ir_error(&t->diag, IR_NOWHERE, "cannot write: %s", why);
    t->diag.file = file;
    return false;
}

bool tool_out_begin(Tool *t, ToolOut *out, const char *path) {
    struct stat st;
    out->path = path;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return fail_to_write(t, path, "it is a directory");
    char *temp = ir_sprintf(t->arena, "%s.XXXXXX", path);
    pthread_mutex_lock(&t->lock);
    int fd = mkstemp(temp), why = errno;
    if (fd >= 0)
        remember_temporary(t, temp);
    pthread_mutex_unlock(&t->lock);
    if (fd < 0)
        return fail_to_write(t, path, strerror(why));
    close(fd);
    out->temp = temp;
    return true;
}

static void forget_temporary(Tool *t, const char *path) {
    for (size_t i = 0; i < sizeof t->temp_out / sizeof *t->temp_out; i++)
        if (t->temp_out[i] == path)
            t->temp_out[i] = NULL;
}

bool tool_out_commit(Tool *t, ToolOut *out, bool executable) {
    mode_t mask = umask(0);
    umask(mask);
    mode_t mode = (executable ? 0777 : 0666) & ~mask;
    pthread_mutex_lock(&t->lock);
    bool ok = chmod(out->temp, mode) == 0 && rename(out->temp, out->path) == 0;
    int why = errno;
    if (ok)
        forget_temporary(t, out->temp);
    pthread_mutex_unlock(&t->lock);
    return ok || fail_to_write(t, out->path, strerror(why));
}

bool tool_write_text(Tool *t, const char *path, ToolPrint print, void *ctx) {
    ToolOut out;
    if (!tool_out_begin(t, &out, path))
        return false;
    FILE *f = fopen(out.temp, "w");
    if (!f)
        return fail_to_write(t, path, strerror(errno));
    print(f, ctx);
    bool ok = fflush(f) == 0 && !ferror(f);
    int why = errno;
    fclose(f);
    return ok ? tool_out_commit(t, &out, false) : fail_to_write(t, path, strerror(why));
}

const char *tool_model_hash(Tool *t, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        ir_fatal(&t->diag, IR_NOWHERE, "%s", strerror(errno));
    void *data = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (data == MAP_FAILED)
        ir_fatal(&t->diag, IR_NOWHERE, "%s", strerror(errno));
    XXH128_hash_t h = XXH3_128bits(data, (size_t)st.st_size);
    if (data)
        munmap(data, (size_t)st.st_size);
    return ir_sprintf(t->arena, "%016llx%016llx", (unsigned long long)h.high64,
                      (unsigned long long)h.low64);
}

// ---------------------------------------------------------------- subprocesses

static void report_failure(Tool *t, const char *const *argv, int status, const char *log) {
    char text[4096] = "";
    FILE *f = fopen(log, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f)
        fclose(f);
    if (WIFEXITED(status))
        ir_error(&t->diag, IR_NOWHERE, "%s failed with exit code %d", argv[0], WEXITSTATUS(status));
    else
        ir_error(&t->diag, IR_NOWHERE, "%s was killed by signal %d", argv[0], WTERMSIG(status));
    for (char *line = text, *end; *line; line = end) { // names of files are in it
        end = line + strcspn(line, "\n");
        fprintf(stderr, "%s\n", RT_SHOW(ir_strndup(t->arena, line, (size_t)(end - line))));
        end += *end == '\n';
    }
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

bool tool_spawn(Tool *t, const char *const *argv) {
    char **env = child_environment(t);
    const char *log = ir_sprintf(t->arena, "%s/spawn.log", tool_temp_dir(t));
    if (t->verbose) {
        for (int i = 0; argv[i]; i++)
            fprintf(stderr, "%s%s", i ? " " : "", RT_SHOW(argv[i]));
        fputc('\n', stderr);
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    posix_spawnattr_t attr;
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attr); // tool_catch_signals() blocked some
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setpgroup(&attr, 0); // a driver and what it starts die together
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    pid_t pid;
    pthread_mutex_lock(&t->lock);
    int err = posix_spawnp(&pid, argv[0], &actions, &attr, (char *const *)argv, env);
    t->child = err ? 0 : pid;
    pthread_mutex_unlock(&t->lock);
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
    pthread_mutex_lock(&t->lock);
    t->child = 0;
    pthread_mutex_unlock(&t->lock);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    report_failure(t, argv, status, log);
    return false;
}
