// A whole file in memory: mapped, or read where that is not possible.
#define _GNU_SOURCE // mremap
#include "frontend/onnx/load.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Reads what cannot be mapped (a pipe, say); the memory is an anonymous mapping so that both kinds
// of FeFile are undone alike.
static const char *read_file(IrArena *a, int fd, FeFile *out) {
    size_t cap = 1 << 20, n = 0;
    uint8_t *p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (p != MAP_FAILED) {
        if (n == cap) {
            p = mremap(p, cap, 2 * cap, MREMAP_MAYMOVE);
            cap *= 2;
            continue;
        }
        ssize_t got = read(fd, p + n, cap - n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            const char *why = ir_sprintf(a, "cannot read: %s", strerror(errno));
            munmap(p, cap);
            return why;
        }
        if (got == 0) {
            uint8_t *fit = n ? mremap(p, cap, n, 0) : MAP_FAILED;
            *out = (FeFile){fit == MAP_FAILED ? p : fit, n};
            return NULL;
        }
        n += (size_t)got;
    }
    return "cannot read: out of memory";
}

const char *fe_map_file(IrArena *a, const char *path, FeFile *out) {
    *out = (FeFile){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        const char *why = ir_sprintf(a, "cannot open: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return why;
    }
    const char *why = NULL;
    if (S_ISDIR(st.st_mode)) {
        why = "cannot read: it is a directory";
    } else if (S_ISREG(st.st_mode) && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED) {
            *out = (FeFile){p, (size_t)st.st_size};
        } else {
            why = read_file(a, fd, out);
        }
    } else if (!S_ISREG(st.st_mode)) {
        why = read_file(a, fd, out);
    }
    close(fd);
    return why;
}

void fe_unmap_file(FeFile *f) {
    if (f->size) {
        munmap((void *)f->bytes, f->size);
    }
    *f = (FeFile){NULL, 0};
}
