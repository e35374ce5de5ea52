// See onnx_tree.h.
#include "tests/fuzz/onnx_tree.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// Which fields hold messages (onnx.proto).
static const struct {
    TreeMessage in;
    int field;
    TreeMessage is;
} schema[] = {
    {TREE_MODEL, 7, TREE_GRAPH},       {TREE_MODEL, 8, TREE_OPSET},
    {TREE_MODEL, 14, TREE_ENTRY},      {TREE_MODEL, 25, TREE_FUNCTION},
    {TREE_GRAPH, 1, TREE_NODE},        {TREE_GRAPH, 5, TREE_TENSOR},
    {TREE_GRAPH, 11, TREE_INFO},       {TREE_GRAPH, 12, TREE_INFO},
    {TREE_GRAPH, 13, TREE_INFO},       {TREE_NODE, 5, TREE_ATTRIBUTE},
    {TREE_ATTRIBUTE, 5, TREE_TENSOR},  {TREE_ATTRIBUTE, 6, TREE_GRAPH},
    {TREE_ATTRIBUTE, 10, TREE_TENSOR}, {TREE_ATTRIBUTE, 11, TREE_GRAPH},
    {TREE_TENSOR, 13, TREE_ENTRY},     {TREE_INFO, 2, TREE_TYPE},
    {TREE_TYPE, 1, TREE_TENSOR_TYPE},  {TREE_TENSOR_TYPE, 2, TREE_SHAPE},
    {TREE_SHAPE, 1, TREE_DIM},         {TREE_FUNCTION, 7, TREE_NODE},
    {TREE_FUNCTION, 9, TREE_OPSET},
};

uint64_t tree_draw(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void *take(size_t bytes) {
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        abort();
    return p;
}

static void free_field(TreeField *f) {
    for (int i = 0; i < f->n; i++) {
        free_field(f->field[i]);
        free(f->field[i]);
    }
    free(f->field);
    free(f->bytes);
}

void tree_insert(TreeField *in, int at, TreeField *f) {
    in->field = realloc(in->field, ((size_t)in->n + 1) * sizeof *in->field);
    if (!in->field)
        abort();
    memmove(in->field + at + 1, in->field + at, (size_t)(in->n - at) * sizeof *in->field);
    in->field[at] = f;
    in->n++;
}

void tree_remove(TreeField *from, int at) {
    free_field(from->field[at]);
    free(from->field[at]);
    memmove(from->field + at, from->field + at + 1,
            (size_t)(from->n - at - 1) * sizeof *from->field);
    from->n--;
}

// ---------------------------------------------------------------- reading and writing

static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *x) {
    *x = 0;
    for (int shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        *x |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static TreeMessage message_of(TreeMessage in, int number) {
    for (size_t i = 0; i < sizeof schema / sizeof *schema; i++)
        if (schema[i].in == in && schema[i].field == number)
            return schema[i].is;
    return TREE_NONE;
}

static bool read_fields(TreeField *f, const uint8_t *p, const uint8_t *end, int depth) {
    while (p < end) {
        uint64_t key, size;
        TreeField *x = take(sizeof *x);
        tree_insert(f, f->n, x);
        if (!read_varint(&p, end, &key))
            return false;
        x->number = (int)(key >> 3);
        x->wire = (int)(key & 7);
        if (x->wire == 0) {
            if (!read_varint(&p, end, &x->value))
                return false;
        } else if (x->wire == 1 || x->wire == 5) {
            size = x->wire == 1 ? 8 : 4;
            if ((size_t)(end - p) < size)
                return false;
            memcpy(&x->value, p, size);
            p += size;
        } else if (x->wire == 2) {
            if (!read_varint(&p, end, &size) || (size_t)(end - p) < size)
                return false;
            x->message = depth < 60 ? message_of(f->message, x->number) : TREE_NONE;
            if (x->message) {
                if (!read_fields(x, p, p + size, depth + 1))
                    return false;
            } else {
                x->bytes = take(size);
                memcpy(x->bytes, p, size);
                x->size = size;
            }
            p += size;
        } else {
            return false;
        }
    }
    return true;
}

Tree *tree_read(const uint8_t *bytes, size_t size) {
    Tree *t = take(sizeof *t);
    t->root.message = TREE_MODEL;
    if (read_fields(&t->root, bytes, bytes + size, 0))
        return t;
    tree_free(t);
    return NULL;
}

void tree_free(Tree *t) {
    if (t)
        free_field(&t->root);
    free(t);
}

typedef struct Out {
    uint8_t *v;
    size_t n, cap;
} Out;

static void put(Out *o, const void *p, size_t n) {
    if (o->n + n > o->cap) {
        o->cap = 2 * (o->n + n) + 64;
        o->v = realloc(o->v, o->cap);
        if (!o->v)
            abort();
    }
    if (n)
        memcpy(o->v + o->n, p, n);
    o->n += n;
}

static void put_varint(Out *o, uint64_t x) {
    do {
        uint8_t byte = (uint8_t)((x & 0x7f) | (x > 0x7f ? 0x80 : 0));
        put(o, &byte, 1);
        x >>= 7;
    } while (x);
}

static void write_fields(Out *o, const TreeField *f) {
    for (int i = 0; i < f->n; i++) {
        const TreeField *x = f->field[i];
        put_varint(o, (uint64_t)x->number << 3 | (unsigned)x->wire);
        if (x->wire == 0) {
            put_varint(o, x->value);
        } else if (x->wire != 2) {
            put(o, &x->value, x->wire == 1 ? 8 : 4);
        } else if (x->message) {
            Out inner = {0};
            write_fields(&inner, x);
            put_varint(o, inner.n);
            put(o, inner.v, inner.n);
            free(inner.v);
        } else {
            put_varint(o, x->size);
            put(o, x->bytes, x->size);
        }
    }
}

uint8_t *tree_write(const Tree *t, size_t *size) {
    Out o = {0};
    put(&o, "", 0);
    write_fields(&o, &t->root);
    *size = o.n;
    return o.v ? o.v : take(1);
}

// ---------------------------------------------------------------- mutating

TreeField *tree_copy(const TreeField *f) {
    TreeField *c = take(sizeof *c);
    *c = *f;
    c->field = NULL;
    c->n = 0;
    if (f->bytes) {
        c->bytes = take(f->size);
        memcpy(c->bytes, f->bytes, f->size);
    }
    for (int i = 0; i < f->n; i++)
        tree_insert(c, i, tree_copy(f->field[i]));
    return c;
}

static int count_fields(const TreeField *f) {
    int n = f->n;
    for (int i = 0; i < f->n; i++)
        n += count_fields(f->field[i]);
    return n;
}

// Field number `index` in depth-first order, and the field that holds it as its `*at`th.
static TreeField *find_field(TreeField *f, int *index, TreeField **parent, int *at) {
    for (int i = 0; i < f->n; i++) {
        if ((*index)-- == 0) {
            *parent = f;
            *at = i;
            return f->field[i];
        }
        TreeField *x = find_field(f->field[i], index, parent, at);
        if (x)
            return x;
    }
    return NULL;
}

static TreeField *draw_field(const Tree *t, uint64_t *s, TreeField **parent, int *at) {
    int n = count_fields(&t->root);
    int index = n ? (int)(tree_draw(s) % (uint64_t)n) : 0;
    return n ? find_field((TreeField *)&t->root, &index, parent, at) : NULL;
}

static const uint64_t numbers[] = {0,
                                   1,
                                   2,
                                   3,
                                   7,
                                   16,
                                   UINT64_MAX,
                                   UINT64_MAX - 1,
                                   1u << 31,
                                   INT32_MAX,
                                   UINT32_MAX,
                                   UINT64_C(1) << 32,
                                   INT64_MAX,
                                   UINT64_C(1) << 63,
                                   UINT64_C(1) << 40,
                                   65536};

static void change_number(TreeField *f, uint64_t *s) {
    uint64_t r = tree_draw(s);
    switch (r % 4) {
    case 0:
        f->value += 1 - 2 * (r >> 8 & 1);
        break;
    case 1:
        f->value = r >> 16 & 31;
        break;
    default:
        f->value = numbers[(r >> 8) % (sizeof numbers / sizeof *numbers)];
    }
}

void tree_set_bytes(TreeField *f, const void *p, size_t n) {
    uint8_t *bytes = take(n);
    if (n)
        memcpy(bytes, p, n);
    free(f->bytes);
    f->bytes = bytes;
    f->size = n;
}

static void change_bytes(TreeField *f, const Tree *donor, uint64_t *s) {
    static const char *const words[] = {
        "Relu", "Add",  "Conv",         "Reshape", "Shape", "Concat", "Slice",   "Gather",
        "If",   "axis", "kernel_shape", "pads",    "",      "x",      "ai.onnx", "Constant"};
    uint64_t r = tree_draw(s);
    TreeField *parent, *other;
    int at;
    switch (r % 5) {
    case 0: // another string or another array
        for (int i = 0; i < 8; i++) {
            other = draw_field(donor, s, &parent, &at);
            if (other && other->wire == 2 && !other->message) {
                tree_set_bytes(f, other->bytes, other->size);
                return;
            }
        }
        break;
    case 1:
        tree_set_bytes(f, f->bytes, f->size ? tree_draw(s) % f->size : 0);
        break;
    case 2:
        tree_set_bytes(f, words[r / 8 % 16], strlen(words[r / 8 % 16]));
        break;
    default:
        if (f->size)
            f->bytes[tree_draw(s) % f->size] ^= (uint8_t)(1u << (r / 8 % 8));
    }
}

void tree_mutate(Tree *t, const Tree *donor, uint64_t *s) {
    TreeField *parent, *other_parent, *f = draw_field(t, s, &parent, &(int){0}), *other;
    int at, other_at;
    uint64_t r = tree_draw(s);
    if (!f)
        return;
    f = draw_field(t, s, &parent, &at);
    switch (r % 8) {
    case 0: // gone
        tree_remove(parent, at);
        break;
    case 1: // twice
        tree_insert(parent, at, tree_copy(f));
        break;
    case 2: // with a neighbour
        other_at = (int)(tree_draw(s) % (uint64_t)parent->n);
        parent->field[at] = parent->field[other_at];
        parent->field[other_at] = f;
        break;
    case 3: // a piece of another model in a message of that kind
        other = draw_field(donor, s, &other_parent, &other_at);
        if (other && f->message && other_parent->message == f->message &&
            count_fields(other) < 2000)
            tree_insert(f, f->n, tree_copy(other));
        else if (other && other_parent->message == parent->message)
            tree_insert(parent, at, tree_copy(other));
        break;
    case 4:
        f->number = (int)(r >> 8 & 15) + 1;
        break;
    default:
        if (f->wire == 2 && !f->message)
            change_bytes(f, donor, s);
        else if (f->wire != 2)
            change_number(f, s);
    }
}
