// Element types, dimensions affine in N, shapes and types. Every product and sum is checked: sizes
// come from files nobody vouches for.
#include "ir/ir_private.h"
#include <string.h>

enum { MAX_ROUNDS = 1 << 24, MOST_BLOCK = 64 }; // of channels; of all of them, so many more

typedef struct DtypeInfo {
    const char *name;
    int bytes;
} DtypeInfo;

static const DtypeInfo DTYPES[] = {
#define IR_DTYPE(E, text, ctype, bytes) {#text, bytes},
#include "ir/dtypes.def"
#undef IR_DTYPE
};

const char *ir_dtype_name(IrDtype t) {
    return (unsigned)t < IR_DTYPE_COUNT ? DTYPES[t].name : "?";
}

int ir_dtype_bytes(IrDtype t) {
    return DTYPES[t].bytes;
}

bool ir_dtype_parse(const char *text, IrDtype *out) {
    for (int i = 0; i < IR_DTYPE_COUNT; i++) {
        if (!strcmp(text, DTYPES[i].name)) {
            *out = (IrDtype)i;
            return true;
        }
    }
    return false;
}

bool ir_dtype_is_float(IrDtype t) {
    return t == IR_F32 || t == IR_F64 || t == IR_F16 || t == IR_BF16;
}

int64_t ir_dim_at(IrDim d, int64_t N) {
    int64_t x;
    if (__builtin_mul_overflow(d.n, N, &x) || __builtin_add_overflow(x, d.c, &x)) {
        return INT64_MAX;
    }
    return x;
}

bool ir_dim_mul(IrDim a, IrDim b, IrDim *out) {
    if (a.n && b.n) {
        return false;
    }
    int64_t left, right, c;
    if (__builtin_mul_overflow(a.c, b.n, &left) || __builtin_mul_overflow(a.n, b.c, &right) ||
        __builtin_mul_overflow(a.c, b.c, &c)) {
        return false;
    }
    *out = (IrDim){c, left + right}; // one of the two is 0
    return true;
}

IrShape ir_shape_of(int rank, const int64_t *dims) {
    if (rank < 0 || rank > IR_MAX_RANK) {
        ir_bug("shape", NULL, "rank %d", rank);
    }
    IrShape s = {.rank = rank};
    for (int i = 0; i < rank; i++) {
        s.dim[i] = ir_dim(dims[i]);
    }
    return s;
}

bool ir_shape_eq(const IrShape *a, const IrShape *b) {
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) {
        same = ir_dim_eq(a->dim[i], b->dim[i]);
    }
    return same;
}

bool ir_shape_is_static(const IrShape *s) {
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i].n) {
            return false;
        }
    }
    return true;
}

bool ir_shape_elems(const IrShape *s, IrDim *out) {
    *out = ir_dim(1);
    for (int i = 0; i < s->rank; i++) {
        if (ir_dim_is(s->dim[i], 0)) {
            *out = ir_dim(0);
            return true;
        }
    }
    for (int i = 0; i < s->rank; i++) {
        if (!ir_dim_mul(*out, s->dim[i], out)) {
            return false;
        }
    }
    return true;
}

bool ir_shape_broadcast(const IrShape *a, const IrShape *b, IrShape *out) {
    IrShape r = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 0; i < r.rank; i++) {
        int ia = i - (r.rank - a->rank), ib = i - (r.rank - b->rank);
        IrDim da = ia < 0 ? ir_dim(1) : a->dim[ia];
        IrDim db = ib < 0 ? ir_dim(1) : b->dim[ib];
        if (!ir_dim_eq(da, db) && !ir_dim_is(da, 1) && !ir_dim_is(db, 1)) {
            return false;
        }
        r.dim[i] = ir_dim_is(da, 1) ? db : da;
    }
    *out = r;
    return true;
}

bool ir_type_eq(const IrType *a, const IrType *b) {
    return a->dtype == b->dtype && a->block == b->block && ir_shape_eq(&a->shape, &b->shape);
}

bool ir_type_bytes(const IrType *t, IrDim *out) {
    IrShape s = t->shape;
    if (t->block) {
        if (s.rank < 2 || s.dim[1].n || s.dim[1].c > INT64_MAX - t->block) {
            return false;
        }
        s.dim[1].c = (s.dim[1].c + t->block - 1) / t->block * t->block;
    }
    for (int i = 0; i < s.rank; i++) {
        IrDim *d = &s.dim[i];
        if (d->c && d->n) {
            if (__builtin_add_overflow(d->c, d->n, &d->n)) {
                return false;
            }
            d->c = 0;
        }
    }
    IrDim elems;
    return ir_shape_elems(&s, &elems) && ir_dim_mul(elems, ir_dim(ir_dtype_bytes(t->dtype)), out);
}

static size_t append(char *buf, size_t size, size_t at, const char *text) {
    size_t n = strlen(text);
    if (at + n < size) {
        memcpy(buf + at, text, n + 1);
        return at + n;
    }
    return at;
}

char *ir_dim_print(IrDim d, char *buf, size_t size) {
    char times[32] = "", plus[32] = "";
    if (d.n != 1) {
        snprintf(times, sizeof times, "%lld", (long long)d.n);
    }
    if (d.c) {
        snprintf(plus, sizeof plus, "+%lld", (long long)d.c);
    }
    if (d.n) {
        snprintf(buf, size, "%sN%s", times, plus);
    } else {
        snprintf(buf, size, "%lld", (long long)d.c);
    }
    return buf;
}

char *ir_type_print(const IrType *t, char *buf, size_t size) {
    char part[72];
    buf[0] = 0;
    size_t at = append(buf, size, 0, ir_dtype_name(t->dtype));
    at = append(buf, size, at, "[");
    for (int i = 0; i < t->shape.rank; i++) {
        at = append(buf, size, at, i ? "," : "");
        at = append(buf, size, at, ir_dim_print(t->shape.dim[i], part, sizeof part));
    }
    at = append(buf, size, at, "]");
    if (t->block) {
        snprintf(part, sizeof part, "{nChw%dc}", t->block);
        append(buf, size, at, part);
    }
    return buf;
}

// A tensor without elements costs no memory, whatever its other dimensions are, but loops over them
// cost time. True: they run too long, for one image.
static bool is_empty_and_long(const IrType *t) {
    IrDim elems;
    double rounds = 1;
    for (int i = 0; i < t->shape.rank; i++) {
        int64_t d = ir_dim_at(t->shape.dim[i], 1);
        rounds *= d > 0 ? (double)d : 1;
    }
    return ir_shape_elems(&t->shape, &elems) && ir_dim_is(elems, 0) && rounds > MAX_ROUNDS;
}

const char *ir_check_type(IrArena *a, const IrType *t) {
    if ((unsigned)t->dtype >= IR_DTYPE_COUNT) {
        return ir_sprintf(a, "element type %d does not exist", (int)t->dtype);
    }
    if (t->shape.rank < 0 || t->shape.rank > IR_MAX_RANK) {
        return ir_sprintf(a, "rank %d is not in 0..%d", t->shape.rank, IR_MAX_RANK);
    }
    char buf[IR_TYPE_TEXT];
    ir_type_print(t, buf, sizeof buf);
    for (int i = 0; i < t->shape.rank; i++) {
        if (t->shape.dim[i].c < 0 || t->shape.dim[i].n < 0) {
            return ir_sprintf(a, "dimension %d of %s is negative", i, buf);
        }
    }
    bool splits = t->shape.rank >= 2 && !t->shape.dim[1].n;
    int64_t more = splits ? t->block - t->shape.dim[1].c : 0; // than all channels
    if (t->block &&
        (t->block < 2 || !splits || (t->block > MOST_BLOCK && (more < 0 || more > MOST_BLOCK)))) {
        return ir_sprintf(a, "%s cannot be stored in blocks of %d channels", buf, t->block);
    }
    IrDim bytes;
    if (!ir_type_bytes(t, &bytes)) {
        return ir_sprintf(a, "%s is too large, or its size is not affine in N", buf);
    }
    if (is_empty_and_long(t)) {
        return ir_sprintf(a, "%s has no element, and its other dimensions are more than %d in all",
                          buf, MAX_ROUNDS);
    }
    return NULL;
}
