// Files to messages: reads the file, scans it, unpacks it with protobuf-c; and a TensorProto file.
//
// The file's bytes are dropped as soon as the message is unpacked, so that at most one copy of the
// weights stays in memory: protobuf-c's, which lives as long as the arena.
#include "frontend/onnx/load.h"
#include "frontend/frontend.h"
#include "ir/memory.h"

#include <stdlib.h>

typedef struct Unpacked {
    ProtobufCAllocator allocator;
    ProtobufCMessage *message;
    IrDiag *diag;
    size_t bytes, refused; // taken; more than the budget has
} Unpacked;

static void *alloc_part(void *arg, size_t bytes) {
    Unpacked *u = arg;
    if (!ir_memory_try(u->diag, bytes)) {
        u->refused = bytes;
        return NULL;
    }
    u->bytes += bytes;
    return malloc(bytes);
}

static void free_part(void *arg, void *part) {
    (void)arg;
    free(part);
}

static void free_message(void *arg) {
    Unpacked *u = arg;
    if (u->message) {
        protobuf_c_message_free_unpacked(u->message, &u->allocator);
    }
    ir_memory_give(u->diag, u->bytes);
}

ProtobufCMessage *fe_unpack(IrArena *a, FeFile f, const ProtobufCMessageDescriptor *desc,
                            int64_t most, const char **why) {
    *why = !f.size ? "the file is empty"
           : f.cut ? "it is larger than 2 GB, the most that a protobuf can be: store "
                     "the weights as external data"
                   : fe_wire_scan(a, f.bytes, f.size, desc, most);
    if (*why) {
        return NULL;
    }
    Unpacked *u = ir_alloc(a, sizeof *u);
    *u = (Unpacked){.allocator = {alloc_part, free_part, u}, .diag = ir_arena_diag(a)};
    ir_arena_defer(a, free_message, u); // first: it may unwind
    u->message = protobuf_c_message_unpack(desc, &u->allocator, f.size, f.bytes);
    if (u->refused) {
        ir_memory_take(u->diag, u->refused); // says so
    }
    if (!u->message) {
        *why = "its fields cannot be decoded";
    }
    return u->message;
}

bool fe_load_tensor(IrArena *a, const char *path, IrTensor *out, const char **name) {
    IrDiag *diag = ir_arena_diag(a);
    diag->file = path;
    FeFile f;
    const char *why = fe_read_file(a, path, &f);
    if (why) {
        ir_error(diag, IR_NOWHERE, "%s", why);
        return false;
    }
    ProtobufCMessage *m = fe_unpack(a, f, &onnx__tensor_proto__descriptor, 0, &why);
    const char *kind = why ? fe_describe_file(path, f) : NULL;
    fe_free_file(a, &f);
    why = kind ? ir_sprintf(a, "it is %s", kind) : why;
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
