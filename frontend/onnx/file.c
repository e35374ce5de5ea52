// A whole file in memory. It is read and not mapped: what was looked at stays as it was, whoever
// writes to the file meanwhile, and a file that is cut off is an error and no signal. (Unpacking
// copies it anyway; only external data, which nobody copies, is mapped: external.c.)
#define _GNU_SOURCE // mremap
#include "frontend/onnx/load.h"
#include "ir/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_ROOM = 1 << 20 }; // where the size is not known (a pipe, say) or too large

FeStamp fe_stamp(const struct stat *st) {
    return S_ISREG(st->st_mode)
               ? (FeStamp){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim}
               : (FeStamp){0};
}

static bool is_same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool fe_has_stamp(const char *path, const FeStamp *s) {
    struct stat st;
    return s->ino == 0 || !*path ||
           (stat(path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino &&
            st.st_size == s->size && is_same_time(st.st_mtim, s->written) &&
            is_same_time(st.st_ctim, s->changed));
}

// Room for `room` bytes in all.
static const char *grow(IrDiag *diag, FeFile *f, size_t room) {
    ir_memory_take(diag, room - f->room);
    void *p = f->room
                  ? mremap(f->bytes, f->room, room, MREMAP_MAYMOVE)
                  : mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        ir_memory_give(diag, room - f->room);
        return "cannot read: out of memory";
    }
    madvise(p, room, MADV_HUGEPAGE); // 500 MB are 135,000 faults in small pages
    f->bytes = p;
    f->room = room;
    return NULL;
}

// Up to the file's end, or until it is more than a protobuf can be.
static const char *read_bytes(IrArena *a, int fd, bool sized, FeFile *f) {
    while (!f->cut) {
        if (f->size == f->room) {
            f->cut = f->size > FE_MAX_FILE;
            const char *why = f->cut || sized ? NULL : grow(ir_arena_diag(a), f, 2 * f->room);
            if (why || f->cut || sized) {
                return why;
            }
        }
        ssize_t got = read(fd, f->bytes + f->size, f->room - f->size);
        if (got < 0 && errno != EINTR) {
            return ir_sprintf(a, "cannot read: %s", strerror(errno));
        }
        if (got == 0) {
            return sized ? "cannot read: the file became shorter while it was read" : NULL;
        }
        f->size += got > 0 ? (size_t)got : 0;
    }
    return NULL;
}

static const char *read_open(IrArena *a, int fd, FeFile *f) {
    struct stat st;
    IrDiag *diag = ir_arena_diag(a);
    if (fstat(fd, &st) != 0) {
        return ir_sprintf(a, "cannot open: %s", strerror(errno));
    }
    if (S_ISDIR(st.st_mode)) {
        return "cannot read: it is a directory";
    }
    bool sized = S_ISREG(st.st_mode);
    f->stamp = fe_stamp(&st);
    if (sized && st.st_size == 0) {
        return NULL;
    }
    bool large = sized && st.st_size > FE_MAX_FILE;
    ir_memory_read(diag, sized && !large ? st.st_size : 0);
    const char *why = grow(diag, f, sized && !large ? (size_t)st.st_size : FIRST_ROOM);
    why = why ? why : read_bytes(a, fd, sized, f);
    f->cut |= large;
    ir_memory_read(diag, sized ? 0 : (int64_t)f->size);
    return why;
}

const char *fe_read_file(IrArena *a, const char *path, FeFile *out) {
    *out = (FeFile){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return ir_sprintf(a, "cannot open: %s", strerror(errno));
    }
    const char *why = read_open(a, fd, out);
    close(fd);
    if (why) {
        fe_free_file(a, out);
    }
    return why;
}

void fe_free_file(IrArena *a, FeFile *f) {
    if (f->room) {
        munmap(f->bytes, f->room);
        ir_memory_give(ir_arena_diag(a), f->room);
    }
    *f = (FeFile){0};
}
