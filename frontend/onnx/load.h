// Private to frontend/: from a file to an unpacked message, and from a TensorProto to a tensor.
#ifndef FRONTEND_ONNX_LOAD_H
#define FRONTEND_ONNX_LOAD_H

#include "ir/ir.h"
#include "onnx.pb-c.h"

#include <sys/stat.h>

// Walks `size` bytes as a message of type `desc` without recursion and without allocating, and
// returns NULL when protobuf-c may unpack them, else what is wrong (a static or arena string).
// `most`: bytes that unpacking may allocate; 0: FE_LIMIT_MEMORY's default.
const char *fe_wire_scan(IrArena *a, const uint8_t *bytes, size_t size,
                         const ProtobufCMessageDescriptor *desc, int64_t most);

// Which file it was, and when it last changed: a writer in place leaves another stamp.
typedef struct FeStamp {
    dev_t dev;
    ino_t ino; // 0: no regular file, which has none
    off_t size;
    struct timespec written, changed;
} FeStamp;
FeStamp fe_stamp(const struct stat *st);
bool fe_has_stamp(const char *path, const FeStamp *s); // now; a path "" is unknown: true

typedef struct FeFile {
    uint8_t *bytes;
    size_t size, room; // room: of what fe_read_file() took
    bool cut;          // it is larger than FE_MAX_FILE; the bytes are its begin
    FeStamp stamp;     // when it was opened
} FeFile;
enum { FE_MAX_FILE = INT32_MAX }; // the most that a protobuf can be
// Reads a whole file. NULL when fine, else why not. The caller frees it with fe_free_file(),
// whatever came of it.
const char *fe_read_file(IrArena *a, const char *path, FeFile *out);
void fe_free_file(IrArena *a, FeFile *f);
// kind.c: what a file is that could not be read as a model, after "it is", and what to do then;
// NULL: unknown.
const char *fe_describe_file(const char *path, FeFile f);
bool fe_is_lfs_pointer(FeFile f); // the stand-in for a large file that was not fetched
// Scans and unpacks; the message lives as long as the arena. NULL and *why on errors.
ProtobufCMessage *fe_unpack(IrArena *a, FeFile f, const ProtobufCMessageDescriptor *desc,
                            int64_t most, const char **why);

// opset.c
enum { FE_MIN_OPSET = 1, FE_MAX_OPSET = 28, FE_MS_VERSION = 1 };
#define FE_MS_DOMAIN "com.microsoft" // the operators that ONNX Runtime's optimizers put in
bool fe_is_onnx_domain(const char *domain);
// The opset of ai.onnx among the imports, 0 when there is none. NULL, or why it is not supported.
const char *fe_read_opset(IrArena *a, size_t n, Onnx__OperatorSetIdProto *const *imports, int *out);

// Files of external data, each mapped once and until the arena is freed.
typedef struct FeExternal {
    const char *path;  // the model's
    FeStamp stamp;     // and that file's
    bool follow_links; // of whatever kind
    int64_t bytes;     // of all of them
    int n, cap;
    struct FeExternalFile {
        const char *location, *path; // path: where it was found
        FeFile file;
    } * v;
} FeExternal;
// external.c: the `bytes` bytes of t, which says where they are. NULL when fine, else why not
// (arena string). ext NULL: there may be none.
const char *fe_external_find(IrArena *a, FeExternal *ext, const Onnx__TensorProto *t, size_t bytes,
                             const void **out);

// The dtype that a tensor of an ONNX element type (TensorProto.DataType) has inside the graph
// (`edge` false: every float is f32) or at its edges (`edge` true). False: no such type here.
bool fe_dtype(int32_t onnx_type, bool edge, IrDtype *out);
const char *fe_onnx_type_name(int32_t onnx_type);
enum { FE_MAX_ELEM_TYPE = 28 };

// small.c: element types of 8 bits and less that are i8, u8 or f32 here.
typedef struct FeSmall {
    int32_t elem;
    int bits;
    bool is_signed, is_float; // is_signed: of integers
    int mantissa, bias;       // bits of the mantissa; what the exponent is less
    int top;                  // the code of the greatest finite number
    int nan;                  // a code of NaN; -1: there is none
    bool inf;                 // the code behind `top` is infinite
    bool unsigned_power;      // 2^(code - bias): no sign, no mantissa
} FeSmall;
const FeSmall *fe_small_type(int32_t onnx_type); // NULL: it is none of these
double fe_small_max(const FeSmall *t);           // the greatest finite number
// n packed numbers, the first in the low bits of the first byte.
void fe_unpack_small(const FeSmall *t, void *dst, const void *src, int64_t n);

// The content of a TensorProto, of type fe_dtype(data_type, edge); points into `t`, into a mapped
// file or into the arena. NULL when fine, else why not (arena string).
const char *fe_read_tensor(IrArena *a, FeExternal *ext, const Onnx__TensorProto *t, bool edge,
                           IrTensor *out);
// The same as it is stored, of the type that the file gives it.
const char *fe_read_stored(IrArena *a, FeExternal *ext, const Onnx__TensorProto *t, IrTensor *out);
bool fe_stored_dtype(int32_t onnx_type, IrDtype *out); // false: no such type here

#endif
