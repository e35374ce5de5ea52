// An --input-shape option: a shape, or the shapes of a table, where dimensions are ranges.
#include "frontend/frontend.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Range { // from, from + step ... to
    int64_t from, to, step;
} Range;

static bool parse_number(const char **p, int64_t *out) {
    if (!isdigit((unsigned char)**p)) {
        return false;
    }
    char *end;
    errno = 0;
    *out = strtoll(*p, &end, 10);
    *p = end;
    return errno == 0 && *out > 0 && *out <= INT32_MAX;
}

// One dimension: a letter (symbolic), a positive number, or FROM:TO:STEP; *p ends behind it.
static bool parse_dim(const char **p, Range *out) {
    if (isalpha((unsigned char)**p)) {
        *out = (Range){FE_SYMBOLIC, FE_SYMBOLIC, 1};
        ++*p;
        return **p == 'x' || **p == '\0';
    }
    if (!parse_number(p, &out->from)) {
        return false;
    }
    out->to = out->from;
    out->step = 1;
    if (**p == ':') {
        ++*p;
        if (!parse_number(p, &out->to) || **p != ':') {
            return false;
        }
        ++*p;
        if (!parse_number(p, &out->step)) {
            return false;
        }
    }
    return **p == 'x' || **p == '\0';
}

static const char *check_range(IrArena *a, const char *text, const Range *r) {
    if (r->to < r->from || (r->to - r->from) % r->step) {
        return ir_sprintf(a, "'%s': %lld is not reached from %lld by steps of %lld", text,
                          (long long)r->to, (long long)r->from, (long long)r->step);
    }
    return NULL;
}

// The input's name into *name, the dimensions into dim[]; how many, 0 with *why set.
static int parse_shape(IrArena *a, const char *text, const char **name, Range *dim,
                       const char **why) {
    const char *eq = strrchr(text, '=');
    bool lone = !eq && !strpbrk(text, "0123456789"); // a letter alone may be meant as a name
    const char *p = eq ? eq + 1 : text;
    *name = eq ? ir_strndup(a, text, (size_t)(eq - text)) : NULL;
    for (int rank = 0; !lone && eq != text; p++) {
        if (rank == IR_MAX_RANK) {
            *why = ir_sprintf(a, "'%s' has more than %d dimensions", text, IR_MAX_RANK);
            return 0;
        }
        Range *d = &dim[rank++];
        if (!parse_dim(&p, d)) {
            break;
        }
        if (d->from == FE_SYMBOLIC && rank > 1) {
            *why = ir_sprintf(a, "'%s': only the first dimension can be symbolic", text);
            return 0;
        }
        if ((*why = check_range(a, text, d))) {
            return 0;
        }
        if (*p == '\0') {
            return rank;
        }
    }
    *why = ir_sprintf(a, "'%s' is not of the form NAME=Nx3x224x224", text);
    return 0;
}

static int64_t count_range(const Range *r) {
    return (r->to - r->from) / r->step + 1;
}

// Shape number `at` of the table, whose last dimension runs fastest
static FePin pin_at(const char *name, int rank, const Range *dim, int64_t at) {
    FePin pin = {.input = name, .rank = rank};
    for (int i = rank - 1; i >= 0; i--) {
        int64_t n = count_range(&dim[i]);
        pin.dim[i] = dim[i].from + at % n * dim[i].step;
        at /= n;
    }
    return pin;
}

const char *fe_parse_pins(IrArena *a, const char *text, int most, int *n, FePin **pins) {
    Range dim[IR_MAX_RANK];
    const char *name, *why = NULL;
    int rank = parse_shape(a, text, &name, dim, &why);
    int64_t count = 1;
    for (int i = 0; i < rank && count <= most; i++) {
        count = count_range(&dim[i]) > most ? most + 1 : count * count_range(&dim[i]);
    }
    if (rank && count > most) {
        why = ir_sprintf(a, "'%s' is more than %d shapes", text, most);
    }
    *n = why ? 0 : (int)count;
    *pins = ir_alloc_array(a, (size_t)*n + 1, sizeof **pins);
    for (int i = 0; i < *n; i++) {
        (*pins)[i] = pin_at(name, rank, dim, i);
    }
    return why;
}

const char *fe_pin_text(IrArena *a, const FePin *pin) {
    const char *text = pin->input ? ir_sprintf(a, "%s=", pin->input) : "";
    for (int i = 0; i < pin->rank; i++) {
        const char *x = i ? "x" : "";
        text = pin->dim[i] == FE_SYMBOLIC
                   ? ir_sprintf(a, "%s%sN", text, x)
                   : ir_sprintf(a, "%s%s%lld", text, x, (long long)pin->dim[i]);
    }
    return text;
}
