// Looks through a protobuf before protobuf-c unpacks it. protobuf-c 1.4 recurses without a limit,
// merges repeated singular submessages in quadratic time, amplifies empty submessages about a
// hundred times in memory and keeps NUL bytes in strings; so all of that is refused here first.
//
// Invariant: constant memory (a stack of MAX_DEPTH frames), linear time, no read outside the
// buffer.
#include "frontend/fe_load.h"

#include <string.h>

enum { MAX_DEPTH = 64 };
// What unpacking may allocate: room for small models plus a multiple of the file. Honest files need
// at most 8 times their size (packed varints), hostile ones 145.
static const size_t BASE_BYTES = 32u << 20, BYTES_PER_BYTE = 12;
enum { SCANNED_FIELD_BYTES = 40 }; // protobuf-c's own note of one field

typedef struct Frame {
    const uint8_t *end;
    const ProtobufCMessageDescriptor *desc; // never NULL
    uint64_t seen;                          // bit per singular submessage field met
} Frame;

typedef struct Scan {
    const uint8_t *p;
    size_t predicted; // bytes that unpacking would allocate
    int depth;
    Frame frame[MAX_DEPTH];
} Scan;

// False when the varint is cut off at `end` or longer than 64 bits.
static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *out) {
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (*p == end) {
            return false;
        }
        uint8_t b = *(*p)++;
        x |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = x;
            return shift < 63 || b <= 1;
        }
    }
    return false;
}

static bool is_varint_type(ProtobufCType t) {
    return t == PROTOBUF_C_TYPE_INT32 || t == PROTOBUF_C_TYPE_INT64 ||
           t == PROTOBUF_C_TYPE_UINT64 || t == PROTOBUF_C_TYPE_ENUM;
}

static bool is_utf8_text(const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint8_t b = p[i++];
        if (b == 0) {
            return false;
        }
        int more = b < 0x80                ? 0
                   : b >= 0xc2 && b < 0xe0 ? 1
                   : (b & 0xf0) == 0xe0    ? 2
                   : b >= 0xf0 && b < 0xf5 ? 3
                                           : -1;
        if (more < 0 || (size_t)more > n - i) {
            return false;
        }
        for (; more > 0; more--) {
            if ((p[i++] & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

// Counts the varints of a packed field; false when one is malformed.
static bool count_packed(const uint8_t *p, const uint8_t *end, size_t *n) {
    uint64_t x;
    for (*n = 0; p < end; ++*n) {
        if (!read_varint(&p, end, &x)) {
            return false;
        }
    }
    return true;
}

static const char *enter_message(Scan *s, const ProtobufCFieldDescriptor *f, const uint8_t *end) {
    Frame *top = &s->frame[s->depth - 1];
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        uint64_t bit = UINT64_C(1) << ((f - top->desc->fields) & 63);
        if (top->seen & bit) {
            return "a field that may stand once stands twice";
        }
        top->seen |= bit;
    }
    if (s->depth == MAX_DEPTH) {
        return "messages are nested too deeply";
    }
    const ProtobufCMessageDescriptor *desc = f->descriptor;
    s->predicted += desc->sizeof_message;
    s->frame[s->depth++] = (Frame){end, desc, 0};
    return NULL;
}

// A length-prefixed field: submessages are entered, everything else is skipped after a look.
static const char *scan_delimited(Scan *s, const ProtobufCFieldDescriptor *f, uint64_t len) {
    const uint8_t *end = s->p + len;
    if (f && f->type == PROTOBUF_C_TYPE_MESSAGE) {
        return enter_message(s, f, end);
    }
    if (f && f->type == PROTOBUF_C_TYPE_STRING && !is_utf8_text(s->p, len)) {
        return "a name is not UTF-8 text";
    }
    size_t count = 0;
    if (f && is_varint_type(f->type)) {
        if (!count_packed(s->p, end, &count)) {
            return "a packed number is malformed";
        }
        s->predicted += count * sizeof(int64_t);
    }
    s->predicted += len;
    s->p = end;
    return NULL;
}

static const char *scan_field(Scan *s) {
    static const char *const cut = "it ends in the middle of a field (truncated?)";
    const Frame *top = &s->frame[s->depth - 1];
    uint64_t tag, x;
    if (!read_varint(&s->p, top->end, &tag)) {
        return cut;
    }
    if (tag >> 3 == 0 || tag >> 32 != 0) {
        return "a field has an impossible number";
    }
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(top->desc, (unsigned)(tag >> 3));
    s->predicted += SCANNED_FIELD_BYTES;
    size_t left = (size_t)(top->end - s->p);
    bool delimited = (tag & 7) == 2;
    if (f && !delimited &&
        (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING ||
         f->type == PROTOBUF_C_TYPE_BYTES)) {
        return "a field has the wrong wire type";
    }
    switch (tag & 7) {
    case 0:
        return read_varint(&s->p, top->end, &x) ? NULL : cut;
    case 1:
    case 5: {
        size_t n = (tag & 7) == 1 ? 8 : 4;
        s->p += n <= left ? n : left;
        return n <= left ? NULL : cut;
    }
    case 2:
        if (!read_varint(&s->p, top->end, &x)) {
            return cut;
        }
        return x <= (uint64_t)(top->end - s->p) ? scan_delimited(s, f, x) : cut;
    }
    return "a field has an unknown wire type";
}

const char *fe_wire_scan(IrArena *a, const uint8_t *bytes, size_t size,
                         const ProtobufCMessageDescriptor *desc) {
    Scan s = {.p = bytes, .depth = 1};
    s.frame[0] = (Frame){bytes + size, desc, 0};
    size_t budget = size > (SIZE_MAX - BASE_BYTES) / BYTES_PER_BYTE
                        ? SIZE_MAX
                        : BASE_BYTES + size * BYTES_PER_BYTE;
    while (s.depth > 0) {
        if (s.p == s.frame[s.depth - 1].end) {
            s.depth--;
            continue;
        }
        const char *why = scan_field(&s);
        if (why) {
            return ir_sprintf(a, "at byte %zu: %s", (size_t)(s.p - bytes), why);
        }
        if (s.predicted > budget) {
            return "it would need far more memory than its size allows";
        }
    }
    return NULL;
}
