// A frame is the length in 8 bytes, its checksum, the message, its checksum: CRC-32C (RFC 3720),
// rotated and moved so that a checksum over checksums is none (TensorFlow, lib/io/record_writer.h
// and lib/hash/crc32c.h). Messages are written by hand: five fields do not want a library.
#include "runtime/file/events.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SCALARS = 16, MAX_TAG = 64, MAX_MESSAGE = 2048 }; // of what is written, and read back
enum { HEAD = 12, TAIL = 4 };                                // bytes of a frame around its message
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };    // protobuf's wire types

// Fields of event.proto and summary.proto.
enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_NUMBER = 2 };

static uint32_t checksum(const void *data, size_t n) {
    const unsigned char *p = data;
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// ---------------------------------------------------------------- writing

typedef struct Message {
    unsigned char at[MAX_MESSAGE];
    size_t n;
} Message;

static void put(Message *m, const void *data, size_t n) {
    memcpy(m->at + m->n, data, n);
    m->n += n;
}

static void put_varint(Message *m, uint64_t v) {
    for (; v >= 0x80; v >>= 7)
        m->at[m->n++] = (unsigned char)(v | 0x80);
    m->at[m->n++] = (unsigned char)v;
}

static void put_key(Message *m, int field, int wire) {
    put_varint(m, (uint64_t)(field << 3 | wire));
}

static void put_bytes(Message *m, int field, const void *data, size_t n) {
    put_key(m, field, BYTES);
    put_varint(m, n);
    put(m, data, n);
}

static void put_time(Message *m, double seconds) {
    put_key(m, EVENT_TIME, FIXED64);
    put(m, &seconds, sizeof seconds);
}

static void put_scalar(Message *m, const RtScalar *s) {
    Message value = {.n = 0};
    float number = (float)s->value;
    put_bytes(&value, VALUE_TAG, s->tag, strnlen(s->tag, MAX_TAG));
    put_key(&value, VALUE_NUMBER, FIXED32);
    put(&value, &number, sizeof number);
    put_bytes(m, SUMMARY_VALUE, value.at, value.n);
}

static void write_frame(FILE *f, const Message *m) {
    uint64_t length = m->n;
    uint32_t of_length = checksum(&length, sizeof length), of_message = checksum(m->at, m->n);
    fwrite(&length, sizeof length, 1, f);
    fwrite(&of_length, sizeof of_length, 1, f);
    fwrite(m->at, 1, m->n, f);
    fwrite(&of_message, sizeof of_message, 1, f);
}

void rt_events_begin(FILE *f, double seconds) {
    static const char version[] = "brain.Event:2";
    Message m = {.n = 0};
    put_time(&m, seconds);
    put_bytes(&m, EVENT_VERSION, version, sizeof version - 1);
    write_frame(f, &m);
}

void rt_events_put(FILE *f, double seconds, int64_t step, const RtScalar *scalars, int n) {
    Message m = {.n = 0}, summary = {.n = 0};
    for (int i = 0; i < n && i < MAX_SCALARS; i++)
        if (isfinite(scalars[i].value))
            put_scalar(&summary, &scalars[i]);
    put_time(&m, seconds);
    put_key(&m, EVENT_STEP, VARINT);
    put_varint(&m, (uint64_t)step);
    put_bytes(&m, EVENT_SUMMARY, summary.at, summary.n);
    write_frame(f, &m);
}

// ---------------------------------------------------------------- reading

typedef struct Field {
    uint64_t number, value; // of a varint; else the bytes
    const unsigned char *at;
    size_t n;
} Field;

static bool take_varint(const unsigned char **p, const unsigned char *end, uint64_t *v) {
    *v = 0;
    for (int shift = 0; *p < end && shift < 64; shift += 7) {
        unsigned char c = *(*p)++;
        *v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return true;
    }
    return false;
}

// The next field of a message; false at its end, or where it is none.
static bool take_field(const unsigned char **p, const unsigned char *end, Field *f) {
    uint64_t key, length = 0;
    if (!take_varint(p, end, &key))
        return false;
    *f = (Field){.number = key >> 3, .at = *p};
    switch (key & 7) {
    case VARINT:
        return take_varint(p, end, &f->value);
    case BYTES:
        if (!take_varint(p, end, &length))
            return false;
        break;
    case FIXED64:
    case FIXED32:
        length = (key & 7) == FIXED64 ? 8 : 4;
        break;
    default:
        return false;
    }
    if (length > (uint64_t)(end - *p))
        return false;
    f->at = *p;
    f->n = (size_t)length;
    *p += length;
    return true;
}

// The first field of that number; n 0: there is none.
static Field find_field(const unsigned char *at, size_t n, uint64_t number) {
    const unsigned char *end = at + n;
    Field f;
    while (take_field(&at, end, &f))
        if (f.number == number)
            return f;
    return (Field){.at = end};
}

// The next whole frame's message; false: there is none.
static bool read_frame(FILE *f, Message *m) {
    unsigned char head[HEAD], tail[TAIL];
    uint64_t length;
    uint32_t sum;
    if (fread(head, 1, HEAD, f) != HEAD)
        return false;
    memcpy(&length, head, sizeof length);
    memcpy(&sum, head + sizeof length, sizeof sum);
    if (sum != checksum(head, sizeof length) || length > MAX_MESSAGE ||
        fread(m->at, 1, (size_t)length, f) != length || fread(tail, 1, TAIL, f) != TAIL)
        return false;
    m->n = (size_t)length;
    memcpy(&sum, tail, sizeof sum);
    return sum == checksum(m->at, m->n);
}

bool rt_events_cut(const char *path, bool (*keeps)(void *ctx, int64_t step, const char *tag),
                   void *ctx, bool *empty, RtErr *err) {
    FILE *f = fopen(path, "rbe");
    Message m;
    long end = 0;
    *empty = true;
    if (!f)
        return errno == ENOENT || rt_fail(err, "%s: %s", path, strerror(errno));
    for (; read_frame(f, &m); end = ftell(f)) {
        char tag[MAX_TAG + 1] = "";
        Field step = find_field(m.at, m.n, EVENT_STEP);
        Field summary = find_field(m.at, m.n, EVENT_SUMMARY);
        Field value = find_field(summary.at, summary.n, SUMMARY_VALUE);
        Field name = find_field(value.at, value.n, VALUE_TAG);
        memcpy(tag, name.at, name.n < MAX_TAG ? name.n : MAX_TAG);
        bool is_first = find_field(m.at, m.n, EVENT_VERSION).n > 0;
        if (end == 0 ? !is_first : !keeps(ctx, (int64_t)step.value, tag))
            break;
    }
    fclose(f);
    *empty = end == 0;
    return truncate(path, end) == 0 || rt_fail(err, "%s: %s", path, strerror(errno));
}
