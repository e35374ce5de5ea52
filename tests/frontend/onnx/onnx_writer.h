// Writes small ONNX models byte by byte, so that tests can make what no exporter would: protobuf
// fields by number, in a growing buffer.
//
//   Pb g = {0}; put_node(&g, "Relu", "r", "x", "y"); put_input(&g, "x", 2, (int64_t[]){-1, 3}); ...
//   write_model(path, &g, 13);
#ifndef TESTS_FRONTEND_ONNX_ONNX_WRITER_H
#define TESTS_FRONTEND_ONNX_ONNX_WRITER_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITER __attribute__((unused)) static

typedef struct Pb { // a message being written; freed by pb_free_all()
    uint8_t *v;
    size_t n, cap;
} Pb;

static struct PbBlock {
    struct PbBlock *next;
    uint8_t bytes[];
} * pb_blocks;

WRITER void pb_free_all(void) {
    for (struct PbBlock *b = pb_blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    pb_blocks = NULL;
}

WRITER void pb_bytes(Pb *b, const void *p, size_t n) {
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n) + 64;
        struct PbBlock *block = malloc(sizeof *block + b->cap);
        block->next = pb_blocks;
        pb_blocks = block;
        if (b->n) {
            memcpy(block->bytes, b->v, b->n);
        }
        b->v = block->bytes;
    }
    if (n) {
        memcpy(b->v + b->n, p, n);
    }
    b->n += n;
}

WRITER void pb_varint(Pb *b, uint64_t x) {
    do {
        uint8_t byte = (uint8_t)((x & 0x7f) | (x > 0x7f ? 0x80 : 0));
        pb_bytes(b, &byte, 1);
        x >>= 7;
    } while (x);
}

WRITER void pb_int(Pb *b, int field, int64_t x) {
    pb_varint(b, (uint64_t)field << 3);
    pb_varint(b, (uint64_t)x);
}

WRITER void pb_float(Pb *b, int field, float x) {
    pb_varint(b, (uint64_t)field << 3 | 5);
    pb_bytes(b, &x, 4);
}

WRITER void pb_blob(Pb *b, int field, const void *p, size_t n) {
    pb_varint(b, (uint64_t)field << 3 | 2);
    pb_varint(b, n);
    pb_bytes(b, p, n);
}

WRITER void pb_str(Pb *b, int field, const char *s) {
    pb_blob(b, field, s, strlen(s));
}
WRITER void pb_msg(Pb *b, int field, const Pb *m) {
    pb_blob(b, field, m->v, m->n);
}

// ---------------------------------------------------------------- ONNX

enum {
    ONNX_FLOAT = 1,
    ONNX_INT8 = 3,
    ONNX_INT32 = 6,
    ONNX_INT64 = 7,
    ONNX_F16 = 10,
    ONNX_F64 = 11,
    ONNX_BF16 = 16
};

// A dimension of -1 is unknown.
WRITER Pb make_info(const char *name, int elem, int rank, const int64_t *dims) {
    Pb info = {0}, type = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < rank; i++) {
        Pb dim = {0};
        if (dims[i] >= 0) {
            pb_int(&dim, 1, dims[i]);
        } else {
            pb_str(&dim, 2, "d");
        }
        pb_msg(&shape, 1, &dim);
    }
    pb_int(&tensor, 1, elem);
    pb_msg(&tensor, 2, &shape);
    pb_msg(&type, 1, &tensor);
    pb_str(&info, 1, name);
    pb_msg(&info, 2, &type);
    return info;
}

WRITER void put_input(Pb *graph, const char *name, int rank, const int64_t *dims) {
    Pb info = make_info(name, ONNX_FLOAT, rank, dims);
    pb_msg(graph, 11, &info);
}

WRITER void put_output(Pb *graph, const char *name) {
    Pb info = {0};
    pb_str(&info, 1, name);
    pb_msg(graph, 12, &info);
}

// `in` and `out` are names separated by spaces; "-" stands for an absent one.
WRITER Pb make_node(const char *op, const char *name, const char *in, const char *out) {
    Pb n = {0};
    const char *lists[2] = {in, out};
    for (int k = 0; k < 2; k++) {
        for (const char *p = lists[k]; *p;) {
            size_t len = strcspn(p, " ");
            pb_blob(&n, 1 + k, p, len == 1 && *p == '-' ? 0 : len);
            p += len + (p[len] == ' ');
        }
    }
    pb_str(&n, 3, name);
    pb_str(&n, 4, op);
    return n;
}

WRITER void put_node(Pb *graph, const char *op, const char *name, const char *in, const char *out) {
    Pb n = make_node(op, name, in, out);
    pb_msg(graph, 1, &n);
}

WRITER void attr_int(Pb *node, const char *name, int64_t x) {
    Pb a = {0};
    pb_str(&a, 1, name);
    pb_int(&a, 3, x);
    pb_int(&a, 20, 2);
    pb_msg(node, 5, &a);
}

WRITER void attr_ints(Pb *node, const char *name, int n, const int64_t *v) {
    Pb a = {0};
    pb_str(&a, 1, name);
    for (int i = 0; i < n; i++) {
        pb_int(&a, 8, v[i]);
    }
    pb_int(&a, 20, 7);
    pb_msg(node, 5, &a);
}

// The head of a tensor: dims, type, name. The data is up to the caller.
WRITER Pb make_tensor(const char *name, int elem, int rank, const int64_t *dims) {
    Pb t = {0};
    for (int i = 0; i < rank; i++) {
        pb_int(&t, 1, dims[i]);
    }
    pb_int(&t, 2, elem);
    pb_str(&t, 8, name);
    return t;
}

WRITER void put_raw(Pb *graph, const char *name, int elem, int rank, const int64_t *dims,
                    const void *data, size_t bytes) {
    Pb t = make_tensor(name, elem, rank, dims);
    pb_blob(&t, 9, data, bytes);
    pb_msg(graph, 5, &t);
}

WRITER void put_ints(Pb *graph, const char *name, int n, const int64_t *v) {
    put_raw(graph, name, ONNX_INT64, 1, (int64_t[]){n}, v, (size_t)n * sizeof *v);
}

WRITER void tensor_external(Pb *tensor, const char *key, const char *value) {
    Pb e = {0};
    pb_str(&e, 1, key);
    pb_str(&e, 2, value);
    pb_msg(tensor, 13, &e);
}

WRITER Pb make_model(const Pb *graph, int opset) {
    Pb m = {0}, set = {0};
    pb_int(&m, 1, 8);
    pb_str(&set, 1, "");
    pb_int(&set, 2, opset);
    pb_msg(&m, 8, &set);
    pb_msg(&m, 7, graph);
    return m;
}

WRITER void write_file(const char *path, const void *p, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        exit(2);
    }
}

WRITER void write_model(const char *path, const Pb *graph, int opset) {
    Pb m = make_model(graph, opset);
    write_file(path, m.v, m.n);
}

#endif
