// Elements between memory and JSON, a row of a table for each type of integers; floats go through
// core/dtype.c.
#include "runtime/serve/tensor.h"

#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- integers

typedef struct Integer {
    int bytes;
    bool is_signed, is_bool;
} Integer;

static const Integer *find_integer(int dtype) {
    static const Integer table[RT_N_DTYPES] = {
        [HONE_I8] = {1, true, false},   [HONE_I16] = {2, true, false},
        [HONE_I32] = {4, true, false},  [HONE_I64] = {8, true, false},
        [HONE_U8] = {1, false, false},  [HONE_U16] = {2, false, false},
        [HONE_U32] = {4, false, false}, [HONE_U64] = {8, false, false},
        [HONE_BOOL] = {1, false, true},
    };
    return &table[dtype];
}

static bool store_integer(const Integer *type, const json_t *v, char *to) {
    int64_t x = json_is_integer(v) ? json_integer_value(v) : json_is_true(v);
    int bits = type->is_bool ? 1 : type->bytes * 8 - type->is_signed;
    int64_t most = bits >= 63 ? INT64_MAX : (INT64_C(1) << bits) - 1;
    if (!(json_is_integer(v) || (type->is_bool && json_is_boolean(v))) || x > most ||
        x < (type->is_signed ? -most - 1 : 0))
        return false;
    memcpy(to, &x, (size_t)type->bytes); // little-endian, as all machines that hone compiles for
    return true;
}

static int64_t load_integer(const Integer *type, const char *data) {
    uint64_t x = 0;
    memcpy(&x, data, (size_t)type->bytes);
    int unused = 64 - type->bytes * 8;
    return type->is_signed ? (int64_t)(x << unused) >> unused : (int64_t)x;
}

// ---------------------------------------------------------------- elements

static bool store_element(int dtype, const json_t *v, char *to) {
    const RtDtype *type = rt_dtype(dtype);
    if (!type->store)
        return store_integer(find_integer(dtype), v, to);
    if (!json_is_number(v))
        return false;
    double x = json_number_value(v);
    if (dtype == HONE_F64)
        memcpy(to, &x, sizeof x);
    else
        type->store(to, (float)x);
    return isfinite(type->load(to)); // or it is beyond the type
}

typedef struct Cursor {
    int dtype;
    size_t bytes; // of an element
    int64_t at, count;
    char *to;
} Cursor;

static bool store_array(Cursor *c, const json_t *array, int depth, RtErr *err) {
    size_t i;
    json_t *v;
    json_array_foreach(array, i, v) {
        if (json_is_array(v)) {
            if (depth == HONE_MAX_RANK)
                return rt_fail(err, "its data is nested more than %d deep", HONE_MAX_RANK);
            if (!store_array(c, v, depth + 1, err))
                return false;
        } else if (c->at == c->count) {
            return rt_fail(err, "its data has more than the %lld elements of its shape",
                           (long long)c->count);
        } else if (!store_element(c->dtype, v, c->to + (size_t)c->at * c->bytes)) {
            return rt_fail(err, "element %lld of its data is no value of its type",
                           (long long)c->at);
        } else {
            c->at++;
        }
    }
    return true;
}

bool rt_serve_store(const json_t *data, int dtype, int64_t count, char *to, RtErr *err) {
    Cursor c = {dtype, (size_t)rt_dtype(dtype)->bytes, 0, count, to};
    if (!json_is_array(data))
        return rt_fail(err, "it has no data, nor a binary_data_size");
    return store_array(&c, data, 1, err) &&
           (c.at == count || rt_fail(err, "its data has %lld elements, its shape %lld",
                                     (long long)c.at, (long long)count));
}

double rt_serve_load(int dtype, const char *data, int64_t i) {
    const RtDtype *type = rt_dtype(dtype);
    const char *at = data + i * type->bytes;
    if (type->load)
        return type->load(at);
    int64_t x = load_integer(find_integer(dtype), at);
    return dtype == HONE_U64 ? (double)(uint64_t)x : (double)x;
}

void rt_serve_print(RtJson *j, int dtype, const char *data, int64_t i) {
    const RtDtype *type = rt_dtype(dtype);
    const Integer *integer = find_integer(dtype);
    if (type->load)
        rt_json_number(j, NULL, rt_serve_load(dtype, data, i), dtype == HONE_F64 ? 17 : 9);
    else if (integer->is_bool)
        rt_json_bool(j, NULL, data[i] != 0);
    else if (dtype == HONE_U64)
        rt_json_number(j, NULL, rt_serve_load(dtype, data, i), 20);
    else
        rt_json_int(j, NULL, load_integer(integer, data + i * type->bytes));
}

// ---------------------------------------------------------------- shapes

bool rt_serve_solve(const HoneTensorDesc *t, int rank, const int64_t *dim, int64_t *N, RtErr *err) {
    bool fits = rank == t->rank;
    for (int k = 0; fits && k < rank; k++) {
        HoneDim d = t->dim[k];
        int64_t rest = dim[k] - d.c;
        if (d.n == 0) {
            fits = rest == 0;
            continue;
        }
        fits = rest % d.n == 0 && rest / d.n >= 0 && (*N < 0 || *N == rest / d.n);
        *N = fits ? rest / d.n : *N;
    }
    char want[256], has[256];
    return fits || rt_fail(err, "it is %s, the model takes %s%s",
                           rt_shape_text(t->dtype, rank, dim, has, sizeof has),
                           rt_tensor_text(t, want, sizeof want),
                           *N < 0 ? "" : ", and every input the same N");
}
