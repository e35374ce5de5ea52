// Files to messages: maps the file, scans it, unpacks it with protobuf-c; and a TensorProto file.
//
// The mapping is dropped as soon as the message is unpacked, so that at most one copy of the
// weights stays in memory: protobuf-c's, which lives as long as the arena.
#include "frontend/onnx/load.h"
#include "frontend/frontend.h"

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
    const char *kind = why ? fe_describe_file(path, f) : NULL;
    fe_unmap_file(&f);
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
