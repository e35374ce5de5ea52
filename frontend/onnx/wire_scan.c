// Looks through a protobuf before protobuf-c unpacks it. protobuf-c 1.4 recurses without a limit,
// merges repeated singular submessages in quadratic time, amplifies empty submessages about a
// hundred times in memory, shifts past the ends of its types in overlong numbers and keeps NUL
// bytes in strings; so all of that is refused here first.
//
// Invariant: constant memory (a stack of MAX_DEPTH frames), linear time, no read outside the
// buffer.
#include "frontend/onnx/load.h"
#include "runtime/core/text.h"

#include <string.h>

enum { MAX_DEPTH = 64 };
// What unpacking may allocate: room for small models plus a multiple of the file. Honest files need
// at most 8 times their size (packed varints), hostile ones 145.
static const size_t BASE_BYTES = 32u << 20, BYTES_PER_BYTE = 12;
enum { SCANNED_FIELD_BYTES = 40, UNKNOWN_FIELD_BYTES = 56 }; // protobuf-c's own notes of one field
enum { MAX_TAG_BYTES = 5 };                                  // it reads no more of a tag

enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 }; // wire types

static const char CUT[] = "it ends in the middle of a field (truncated?)";

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

// NULL, or why there is no number at *p.
static const char *read_varint(const uint8_t **p, const uint8_t *end, uint64_t *out) {
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (*p == end) {
            return CUT;
        }
        uint8_t b = *(*p)++;
        x |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80) && (shift < 63 || b <= 1)) {
            *out = x;
            return NULL;
        }
    }
    return "a number has more than 64 bits";
}

static unsigned wire_type(ProtobufCType t) {
    switch (t) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return DELIMITED;
    case PROTOBUF_C_TYPE_DOUBLE:
        return FIXED64;
    case PROTOBUF_C_TYPE_FLOAT:
        return FIXED32;
    default: // onnx.proto has no other fixed types
        return VARINT;
    }
}

// Names end at their first NUL in C: one inside is refused, too.
static bool is_utf8_text(const uint8_t *p, size_t n) {
    return !memchr(p, 0, n) && rt_utf8_valid((const char *)p, n);
}

// Counts the numbers of a packed field; false when one is malformed.
static bool count_packed(unsigned wire, const uint8_t *p, const uint8_t *end, size_t *n) {
    size_t bytes = (size_t)(end - p), width = wire == FIXED64 ? 8 : 4;
    if (wire != VARINT) {
        *n = bytes / width;
        return bytes % width == 0;
    }
    uint64_t x;
    for (*n = 0; p < end; ++*n) {
        if (read_varint(&p, end, &x)) {
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
    if (f && wire_type(f->type) != DELIMITED) {
        if (!count_packed(wire_type(f->type), s->p, end, &count)) {
            return "a packed number is malformed";
        }
        s->predicted += count * sizeof(int64_t);
    }
    s->predicted += len;
    s->p = end;
    return NULL;
}

// Repeated numbers may also stand packed, whatever the schema says of them.
static bool fits_wire_type(const ProtobufCFieldDescriptor *f, unsigned wire) {
    return wire == wire_type(f->type) ||
           (wire == DELIMITED && f->label == PROTOBUF_C_LABEL_REPEATED);
}

static const char *scan_field(Scan *s) {
    const Frame *top = &s->frame[s->depth - 1];
    const uint8_t *start = s->p;
    uint64_t tag, x;
    const char *why = read_varint(&s->p, top->end, &tag);
    if (why) {
        return why;
    }
    if (tag >> 3 == 0 || tag >> 32 != 0 || s->p - start > MAX_TAG_BYTES) {
        return "a field has an impossible number";
    }
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(top->desc, (unsigned)(tag >> 3));
    s->predicted += SCANNED_FIELD_BYTES + (f ? 0 : UNKNOWN_FIELD_BYTES);
    size_t left = (size_t)(top->end - s->p);
    unsigned wire = tag & 7;
    if (wire != VARINT && wire != FIXED64 && wire != DELIMITED && wire != FIXED32) {
        return "a field has an unknown wire type";
    }
    if (f && !fits_wire_type(f, wire)) {
        return "a field has the wrong wire type";
    }
    if (wire == FIXED64 || wire == FIXED32) {
        size_t n = wire == FIXED64 ? 8 : 4;
        s->p += n <= left ? n : left;
        return n <= left ? NULL : CUT;
    }
    why = read_varint(&s->p, top->end, &x);
    if (why || wire == VARINT) {
        return why;
    }
    return x <= (uint64_t)(top->end - s->p) ? scan_delimited(s, f, x) : CUT;
}

const char *fe_wire_scan(IrArena *a, const uint8_t *bytes, size_t size,
                         const ProtobufCMessageDescriptor *desc, int64_t most) {
    Scan s = {.p = bytes, .depth = 1};
    s.frame[0] = (Frame){bytes + size, desc, 0};
    size_t budget = most ? (size_t)most : BASE_BYTES + size * BYTES_PER_BYTE;
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
            return "it would need far more memory than its size allows (--limit memory=SIZE raises "
                   "it)";
        }
    }
    return NULL;
}
