// For fuzzers of what reads files: the input as a file in memory.
#ifndef TESTS_FUZZ_FUZZ_FILE_H
#define TESTS_FUZZ_FUZZ_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// The path of a file with these bytes, valid until the next call.
__attribute__((unused)) static const char *fuzz_file(const void *data, size_t size) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    return path;
}

// Where diagnostics go.
__attribute__((unused)) static FILE *fuzz_null(void) {
    static FILE *f;
    f = f ? f : fopen("/dev/null", "w");
    return f ? f : stderr;
}

#endif
