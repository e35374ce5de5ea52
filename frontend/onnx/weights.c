// TensorProto to tensor. A tensor's numbers stand raw, in a typed field (small types packed in
// int32_data), or in another file; whatever the spelling, one table says how wide they are and how
// they become ours (small.c unpacks those of 8 bits and less that the IR lacks). Numbers that need
// no conversion and are aligned stay where they are (protobuf-c's copy, or the mapped external
// file); others are converted once into the arena.
//
// Invariant: no size is trusted (element counts and byte counts are checked without wrap-around).
#include "frontend/onnx/load.h"

#include <endian.h>
#include <string.h>

_Static_assert(BYTE_ORDER == LITTLE_ENDIAN, "ONNX stores raw data in little-endian order");

// ---------------------------------------------------------------- element types

typedef void Converter(void *dst, const void *src, int64_t n);

static float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = (h >> 10) & 31, man = h & 0x3ff;
    float x;
    if (exp == 0) {
        x = (float)man * 0x1p-24f;
        return sign ? -x : x;
    }
    uint32_t bits = sign | (exp == 31 ? 0x7f800000u : (exp + 112) << 23) | man << 13;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void convert_f16(void *dst, const void *src, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) {
        ((float *)dst)[i] = half_to_float((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
    }
}

static void convert_bf16(void *dst, const void *src, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)p[2 * i] << 16 | (uint32_t)p[2 * i + 1] << 24;
        memcpy((float *)dst + i, &bits, sizeof bits);
    }
}

static void convert_f64(void *dst, const void *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, (const char *)src + 8 * i, sizeof x);
        ((float *)dst)[i] = (float)x;
    }
}

typedef enum Field { NO_FIELD, FLOATS, INT32S, INT64S, DOUBLES, UINT64S } Field;

typedef struct ElemType {
    const char *name;
    int bits;             // in raw and external data; 0: not supported
    Field field;          // where its numbers stand when they are not raw
    IrDtype inside, edge; // see fe_dtype; IR_DTYPE_COUNT: none
    Converter *convert;   // from the stored form to `inside`; NULL: the same
} ElemType;

static const ElemType elem_types[] = {
    [1] = {"float", 32, FLOATS, IR_F32, IR_F32, NULL},
    [2] = {"uint8", 8, INT32S, IR_U8, IR_U8, NULL},
    [3] = {"int8", 8, INT32S, IR_I8, IR_I8, NULL},
    [4] = {"uint16", 16, INT32S, IR_U16, IR_U16, NULL},
    [5] = {"int16", 16, INT32S, IR_I16, IR_I16, NULL},
    [6] = {"int32", 32, INT32S, IR_I32, IR_I32, NULL},
    [7] = {"int64", 64, INT64S, IR_I64, IR_I64, NULL},
    [8] = {.name = "string"},
    [9] = {"bool", 8, INT32S, IR_BOOL, IR_BOOL, NULL},
    [10] = {"float16", 16, INT32S, IR_F32, IR_F16, convert_f16},
    [11] = {"double", 64, DOUBLES, IR_F32, IR_F64, convert_f64},
    [12] = {"uint32", 32, UINT64S, IR_U32, IR_U32, NULL},
    [13] = {"uint64", 64, UINT64S, IR_U64, IR_U64, NULL},
    [14] = {.name = "complex64"},
    [15] = {.name = "complex128"},
    [16] = {"bfloat16", 16, INT32S, IR_F32, IR_BF16, convert_bf16},
    [17] = {"float8e4m3fn", 8, INT32S, IR_F32, IR_F32, NULL},
    [18] = {"float8e4m3fnuz", 8, INT32S, IR_F32, IR_F32, NULL},
    [19] = {"float8e5m2", 8, INT32S, IR_F32, IR_F32, NULL},
    [20] = {"float8e5m2fnuz", 8, INT32S, IR_F32, IR_F32, NULL},
    [21] = {"uint4", 4, INT32S, IR_U8, IR_U8, NULL},
    [22] = {"int4", 4, INT32S, IR_I8, IR_I8, NULL},
    [23] = {"float4e2m1", 4, INT32S, IR_F32, IR_F32, NULL},
    [24] = {"float8e8m0", 8, INT32S, IR_F32, IR_F32, NULL},
    [25] = {"uint2", 2, INT32S, IR_U8, IR_U8, NULL},
    [26] = {"int2", 2, INT32S, IR_I8, IR_I8, NULL},
    [27] = {.name = "float6e2m3"},
    [28] = {.name = "float6e3m2"},
};
enum { N_ELEM_TYPES = sizeof elem_types / sizeof elem_types[0] };

static const ElemType *find_elem_type(int32_t onnx_type) {
    bool known = onnx_type > 0 && onnx_type < N_ELEM_TYPES && elem_types[onnx_type].bits;
    return known ? &elem_types[onnx_type] : NULL;
}

bool fe_dtype(int32_t onnx_type, bool edge, IrDtype *out) {
    const ElemType *e = find_elem_type(onnx_type);
    *out = !e ? IR_DTYPE_COUNT : edge ? e->edge : e->inside;
    return *out != IR_DTYPE_COUNT;
}

const char *fe_onnx_type_name(int32_t onnx_type) {
    return onnx_type > 0 && onnx_type < N_ELEM_TYPES ? elem_types[onnx_type].name : "unknown";
}

// ---------------------------------------------------------------- from the proto to a tensor

// Little-endian low parts of wider integers: int32_data holding float16, say.
static const void *narrow(IrArena *a, const void *src, int from, int to, int64_t n) {
    if (from == to) {
        return src;
    }
    char *dst = ir_alloc_array(a, (size_t)n, (size_t)to);
    for (int64_t i = 0; i < n; i++) {
        memcpy(dst + i * to, (const char *)src + i * from, (size_t)to);
    }
    return dst;
}

static int64_t stored_bytes(const ElemType *e, int64_t elems) {
    return (elems * e->bits + 7) / 8;
}

// The numbers of a tensor that are in typed fields, in the raw form. Each entry of the field holds
// one, or a byte of packed ones.
static const char *read_field(IrArena *a, const Onnx__TensorProto *t, const ElemType *e,
                              int64_t elems, const void **out) {
    const struct {
        const void *v;
        size_t n;
        int bytes;
    } fields[] = {
        [NO_FIELD] = {NULL, 0, 1},
        [FLOATS] = {t->float_data, t->n_float_data, 4},
        [INT32S] = {t->int32_data, t->n_int32_data, 4},
        [INT64S] = {t->int64_data, t->n_int64_data, 8},
        [DOUBLES] = {t->double_data, t->n_double_data, 8},
        [UINT64S] = {t->uint64_data, t->n_uint64_data, 8},
    };
    int64_t entries = e->bits < 8 ? stored_bytes(e, elems) : elems;
    if (fields[e->field].n != (size_t)entries) {
        return ir_sprintf(a, "it has %zu numbers, its shape asks for %lld", fields[e->field].n,
                          (long long)entries);
    }
    int bytes = e->bits < 8 ? 1 : e->bits / 8;
    *out = narrow(a, fields[e->field].v, fields[e->field].bytes, bytes, entries);
    return NULL;
}

static const char *read_shape(IrArena *a, const Onnx__TensorProto *t, int elem_bits, IrTensor *out,
                              int64_t *elems) {
    if (t->n_dims > IR_MAX_RANK) {
        return ir_sprintf(a, "it has %zu dimensions, at most %d are supported", t->n_dims,
                          IR_MAX_RANK);
    }
    out->rank = (int)t->n_dims;
    *elems = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        int64_t d = out->dim[i] = t->dims[i];
        if (d < 0) {
            return ir_sprintf(a, "dimension %zu is %lld", i, (long long)d);
        }
        if (__builtin_mul_overflow(*elems, d, elems)) {
            return "its shape is too big";
        }
    }
    if (*elems > INT64_MAX / 8 / elem_bits) {
        return "its shape is too big";
    }
    IrType type = {out->dtype, ir_shape_of(out->rank, out->dim), 0};
    return ir_check_type(a, &type);
}

// As out->dtype says, converted or as it is stored; IR_DTYPE_COUNT: not at all.
static const char *read_as(IrArena *a, FeExternal *ext, const Onnx__TensorProto *t, bool convert,
                           IrTensor *out) {
    const ElemType *e = find_elem_type(t->data_type);
    if (out->dtype == IR_DTYPE_COUNT) {
        return ir_sprintf(a, "element type %d (%s) is not supported", t->data_type,
                          fe_onnx_type_name(t->data_type));
    }
    int64_t elems = 0;
    const char *why = read_shape(a, t, e->bits, out, &elems);
    if (why) {
        return why;
    }
    const void *src = NULL;
    size_t bytes = (size_t)stored_bytes(e, elems);
    if (t->has_data_location && t->data_location > ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        why = ir_sprintf(a, "data location %d is unknown", (int)t->data_location);
    } else if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL &&
               t->raw_data.len > 0) {
        why = "it has data both in the model and in another file";
    } else if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        why = fe_external_find(a, ext, t, bytes, &src);
    } else if (t->has_raw_data && (t->raw_data.len > 0 || bytes == 0)) {
        src = t->raw_data.data;
        if (t->raw_data.len != bytes) {
            why = ir_sprintf(a, "it has %zu bytes of data, its shape asks for %zu", t->raw_data.len,
                             bytes);
        }
    } else {
        why = read_field(a, t, e, elems, &src);
    }
    if (why) {
        return why;
    }
    int width = ir_dtype_bytes(out->dtype);
    const FeSmall *small = fe_small_type(t->data_type);
    convert = convert && e->convert;
    bool external = t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    // Integers may be indices, which must not change after they were checked.
    bool copy = external && !ir_dtype_is_float(out->dtype);
    if (elems == 0) {
        out->data = ir_alloc(a, 1);
    } else if (small || convert || copy || (uintptr_t)src % (uintptr_t)width != 0) {
        out->data = ir_alloc_array(a, (size_t)elems, (size_t)width);
        if (small) {
            fe_unpack_small(small, out->data, src, elems);
        } else if (convert) {
            e->convert(out->data, src, elems);
        } else {
            memcpy(out->data, src, bytes);
        }
    } else {
        out->data = (void *)src;
    }
    return NULL;
}

const char *fe_read_tensor(IrArena *a, FeExternal *ext, const Onnx__TensorProto *t, bool edge,
                           IrTensor *out) {
    *out = (IrTensor){0};
    fe_dtype(t->data_type, edge, &out->dtype);
    return read_as(a, ext, t, !edge, out);
}

bool fe_stored_dtype(int32_t onnx_type, IrDtype *out) {
    const FeSmall *small = fe_small_type(onnx_type);
    *out = IR_DTYPE_COUNT;
    return !(small && small->is_float) && fe_dtype(onnx_type, true, out);
}

const char *fe_read_stored(IrArena *a, FeExternal *ext, const Onnx__TensorProto *t, IrTensor *out) {
    *out = (IrTensor){0};
    fe_stored_dtype(t->data_type, &out->dtype);
    return read_as(a, ext, t, false, out);
}
