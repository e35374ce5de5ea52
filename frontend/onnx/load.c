// Files to messages: maps the file, scans it, unpacks it with protobuf-c. Also the two small
// public readers that need no graph: an --input-shape option and a TensorProto file.
//
// The mapping is dropped as soon as the message is unpacked, so that at most one copy of the
// weights stays in memory: protobuf-c's, which lives as long as the arena.
#define _GNU_SOURCE // mremap
#include "frontend/onnx/load.h"
#include "frontend/frontend.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

static void free_message(void *arg) {
    ProtobufCMessage **m = arg;
    if (*m) {
        protobuf_c_message_free_unpacked(*m, NULL);
    }
}

ProtobufCMessage *fe_unpack(IrArena *a, FeFile f, const ProtobufCMessageDescriptor *desc,
                            int64_t most, const char **why) {
    *why = !f.size              ? "the file is empty"
           : f.size > INT32_MAX ? "it is larger than 2 GB, the most that a protobuf can be: store "
                                  "the weights as external data"
                                : fe_wire_scan(a, f.bytes, f.size, desc, most);
    if (*why) {
        return NULL;
    }
    ProtobufCMessage **m = ir_alloc(a, sizeof *m);
    ir_arena_defer(a, free_message, m); // first: it may unwind
    *m = protobuf_c_message_unpack(desc, NULL, f.size, f.bytes);
    if (!*m) {
        *why = "its fields cannot be decoded";
    }
    return *m;
}

bool fe_load_tensor(IrArena *a, const char *path, IrTensor *out, const char **name) {
    IrDiag *diag = ir_arena_diag(a);
    diag->file = path;
    FeFile f;
    const char *why = fe_map_file(a, path, &f);
    if (why) {
        ir_error(diag, IR_NOWHERE, "%s", why);
        return false;
    }
    ProtobufCMessage *m = fe_unpack(a, f, &onnx__tensor_proto__descriptor, 0, &why);
    fe_unmap_file(&f);
    if (m) {
        const Onnx__TensorProto *t = (const Onnx__TensorProto *)m;
        if (name) {
            *name = t->name ? t->name : "";
        }
        why = fe_read_tensor(a, NULL, t, true, out);
    }
    if (why) {
        ir_error(diag, IR_NOWHERE, "not an ONNX tensor: %s", why);
    }
    return !why;
}

// One dimension: a letter (symbolic) or a positive number; *p ends behind it.
static bool parse_dim(const char **p, int64_t *out) {
    if (isalpha((unsigned char)**p)) {
        *out = FE_SYMBOLIC;
        ++*p;
        return **p == 'x' || **p == '\0';
    }
    if (!isdigit((unsigned char)**p)) {
        return false;
    }
    char *end;
    errno = 0;
    *out = strtoll(*p, &end, 10);
    *p = end;
    return errno == 0 && *out > 0 && *out <= INT32_MAX && (*end == 'x' || *end == '\0');
}

const char *fe_parse_pin(IrArena *a, const char *text, FePin *pin) {
    const char *eq = strrchr(text, '=');
    *pin = (FePin){.input = eq ? ir_strndup(a, text, (size_t)(eq - text)) : NULL};
    for (const char *p = eq ? eq + 1 : text;;) {
        if (pin->rank == IR_MAX_RANK) {
            return ir_sprintf(a, "'%s' has more than %d dimensions", text, IR_MAX_RANK);
        }
        int64_t *d = &pin->dim[pin->rank++];
        if (!parse_dim(&p, d)) {
            return ir_sprintf(a, "'%s' is not of the form NAME=Nx3x224x224", text);
        }
        if (*d == FE_SYMBOLIC && pin->rank > 1) {
            return ir_sprintf(a, "'%s': only the first dimension can be symbolic", text);
        }
        if (*p == '\0') {
            return NULL;
        }
        p++;
    }
}
