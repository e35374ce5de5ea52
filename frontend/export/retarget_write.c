// A changed model as bytes. protobuf-c packs what is small; the numbers of float initializers are
// written here, from where they are, as raw_data whose offset in the file 4 divides: a program that
// embeds the file reads its parameters in place. An empty or blank doc_string in front of the
// numbers makes up the distance.
#include "frontend/export/retarget.h"

#include <string.h>

enum { WIRE_BYTES = 2, ALIGN = 4, MAX_PAD = 16 };
enum { MOST_LENGTH = 5 }; // bytes of a length below 2 GB
enum { TENSOR_RAW = 9, TENSOR_DOC = 12, GRAPH_INIT = 5, MODEL_GRAPH = 7 }; // fields of onnx.proto

typedef struct Writer {
    uint8_t *to; // NULL: only counts
    int64_t n;
} Writer;

static int varint_bytes(uint64_t x) {
    int n = 1;
    while (x >>= 7) {
        n++;
    }
    return n;
}

static void put_varint(Writer *w, uint64_t x) {
    do {
        if (w->to) {
            w->to[w->n] = (uint8_t)((x & 127) | (x > 127 ? 128 : 0));
        }
        w->n++;
    } while (x >>= 7);
}

// In so many bytes, at least those that it takes.
static void put_wide_varint(Writer *w, uint64_t x, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++, x >>= 7) {
        if (w->to) {
            w->to[w->n] = (uint8_t)((x & 127) | (i + 1 < bytes ? 128 : 0));
        }
        w->n++;
    }
}

static void put_bytes(Writer *w, const void *data, int64_t n) {
    if (w->to && n) {
        memcpy(w->to + w->n, data, (size_t)n);
    }
    w->n += n;
}

static void put_header(Writer *w, int field, int64_t bytes) { // fields below 16: one byte of tag
    put_varint(w, (uint64_t)(field << 3 | WIRE_BYTES));
    put_varint(w, (uint64_t)bytes);
}

static void put_message(Writer *w, const ProtobufCMessage *m) {
    if (w->to) {
        protobuf_c_message_pack(m, w->to + w->n);
    }
    w->n += (int64_t)protobuf_c_message_get_packed_size(m);
}

static int64_t field_bytes(int64_t n) {
    return 1 + varint_bytes((uint64_t)n) + n;
}

static void put_whole(Writer *w, const FeInit *t) {
    put_header(w, GRAPH_INIT, (int64_t)protobuf_c_message_get_packed_size(&t->pb->base));
    put_message(w, &t->pb->base);
}

// At `phase` + w->n bytes into the file.
static void put_init(Writer *w, FeInit *t, int64_t phase) {
    if (t->raw_bytes < 0) {
        put_whole(w, t);
        return;
    }
    int64_t head = (int64_t)protobuf_c_message_get_packed_size(&t->pb->base);
    for (int64_t blank = -1; blank < MAX_PAD; blank++) { // length of the doc_string; -1: none
        int64_t doc = blank < 0 ? 0 : field_bytes(blank);
        int64_t raw = field_bytes(t->raw_bytes), length = head + doc + raw;
        int64_t at = phase + w->n + 1 + varint_bytes((uint64_t)length) + length - t->raw_bytes;
        if (at % ALIGN) {
            continue;
        }
        put_header(w, GRAPH_INIT, length);
        put_message(w, &t->pb->base);
        if (blank >= 0) {
            put_header(w, TENSOR_DOC, blank);
            put_bytes(w, "                ", blank);
        }
        put_header(w, TENSOR_RAW, t->raw_bytes);
        t->at = at;
        put_bytes(w, t->raw, t->raw_bytes);
        return;
    }
    ir_bug("frontend", t->pb->name, "no room to align an initializer");
}

static void put_graph(FeNewModel *m, Writer *w, int64_t phase) {
    put_message(w, &m->graph->base);
    for (int i = 0; i < m->n_init; i++) {
        put_init(w, &m->init[i], phase);
    }
}

static void place_graph(FeNewModel *m, int64_t at) {
    Writer w = {NULL, 0};
    m->graph_at = at;
    put_graph(m, &w, at);
    m->graph_bytes = w.n;
    m->bytes = at + w.n;
}

// The graph's content begins where its length, which depends on that, says: guess, and check. At a
// length where another byte begins that may never agree: it then has more bytes than it needs.
void fe_layout_model(FeNewModel *m) {
    int64_t head = (int64_t)protobuf_c_message_get_packed_size(&m->pb->base) + 1;
    int64_t guess = head + 1;
    for (int tries = 0; tries < 8; tries++) {
        place_graph(m, guess);
        int64_t at = head + varint_bytes((uint64_t)m->graph_bytes);
        if (at % ALIGN == guess % ALIGN) {
            place_graph(m, at);
            return;
        }
        guess = at;
    }
    place_graph(m, head + MOST_LENGTH);
}

int64_t fe_new_model_bytes(const FeNewModel *m) {
    return m->bytes;
}

void fe_new_model_write(FeNewModel *m, void *to) {
    Writer w = {to, 0};
    put_message(&w, &m->pb->base);
    put_varint(&w, MODEL_GRAPH << 3 | WIRE_BYTES);
    put_wide_varint(&w, (uint64_t)m->graph_bytes, m->graph_at - w.n);
    w.to += w.n; // the graph counts from its own start
    if (w.n != m->graph_at) {
        ir_bug("frontend", NULL, "the new graph begins at another place");
    }
    w.n = 0;
    put_graph(m, &w, m->graph_at);
}

int64_t fe_new_model_find(const FeNewModel *m, const char *initializer, IrDtype *stored) {
    for (int i = 0; i < m->n_init; i++) {
        const FeInit *t = &m->init[i];
        if (t->raw_bytes >= 0 && t->pb->name && strcmp(t->pb->name, initializer) == 0) {
            bool floats = fe_stored_dtype(t->pb->data_type, stored) && ir_dtype_is_float(*stored);
            return floats ? t->at : -1;
        }
    }
    return -1;
}

const Onnx__ModelProto *fe_new_model_message(IrArena *a, const FeNewModel *m) {
    Onnx__ModelProto *pb = ir_alloc(a, sizeof *pb);
    Onnx__GraphProto *g = ir_alloc(a, sizeof *g);
    *pb = *m->pb;
    *g = *m->graph;
    pb->graph = g;
    g->n_initializer = (size_t)m->n_init;
    g->initializer = ir_alloc_array(a, (size_t)m->n_init + 1, sizeof *g->initializer);
    for (int i = 0; i < m->n_init; i++) {
        Onnx__TensorProto *t = g->initializer[i] = ir_alloc(a, sizeof *t);
        *t = *m->init[i].pb;
        if (m->init[i].raw_bytes >= 0) {
            t->has_raw_data = 1;
            t->raw_data.data = (void *)m->init[i].raw;
            t->raw_data.len = (size_t)m->init[i].raw_bytes;
        }
    }
    return pb;
}
