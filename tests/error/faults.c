// A library to preload: calls that write fail, or wait, when they are asked to. Made by
// test_outputs.py.
//
//   FAULT_PROGRAM  the program's name as the kernel has it (15 characters): others are left alone
//   FAULT_CALL     fsync, fclose, fflush, rename, write, fchmod, open or mkdir (or mkdtemp)
//   FAULT_AT       which one of them fails, from 1, with ENOSPC
//   FAULT_HITS     a file to which a byte is appended when it does
//   FAULT_SLEEP    seconds: it waits instead
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int count;

static int is_hit(const char *call) {
    const char *name = getenv("FAULT_CALL"), *at = getenv("FAULT_AT"), *hits = getenv("FAULT_HITS");
    const char *program = getenv("FAULT_PROGRAM"), *seconds = getenv("FAULT_SLEEP");
    if (!name || strcmp(name, call) != 0 || !program ||
        strncmp(program, program_invocation_short_name, 15) != 0)
        return 0;
    if (__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) != atoi(at))
        return 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, hits, O_WRONLY | O_APPEND | O_CREAT, 0666);
    syscall(SYS_write, fd, "x", 1);
    syscall(SYS_close, fd);
    if (seconds)
        sleep((unsigned)atoi(seconds));
    errno = ENOSPC;
    return !seconds;
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

int fsync(int fd) {
    return is_hit("fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}
int rename(const char *from, const char *to) {
    int ours = strstr(from, "/hone-") != NULL; // the directory of a run, which goes all the same
    return !ours && is_hit("rename") ? -1 : (int)syscall(SYS_rename, from, to);
}
int fchmod(int fd, mode_t mode) {
    return is_hit("fchmod") ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}
int mkdir(const char *path, mode_t mode) {
    return is_hit("mkdir") ? -1 : (int)syscall(SYS_mkdir, path, mode);
}
char *mkdtemp(char *name) {
    return is_hit("mkdir") ? NULL : REAL(char *(*)(char *), "mkdtemp")(name);
}
int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return is_hit("open") ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
ssize_t write(int fd, const void *data, size_t n) {
    return fd > 2 && is_hit("write") ? -1 : syscall(SYS_write, fd, data, n);
}
int fflush(FILE *f) {
    int hit = f && f != stderr && f != stdout && __fwritable(f) && is_hit("fflush");
    int got = REAL(int (*)(FILE *), "fflush")(f);
    if (hit)
        errno = ENOSPC;
    return hit ? EOF : got;
}
int fclose(FILE *f) {
    int hit = __fwritable(f) && fileno(f) >= 0 && is_hit("fclose"); // not one in memory
    int got = REAL(int (*)(FILE *), "fclose")(f);
    if (hit)
        errno = ENOSPC;
    return hit ? EOF : got;
}
