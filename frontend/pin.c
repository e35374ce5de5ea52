// An --input-shape option.
#include "frontend/frontend.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// One dimension: a letter (symbolic) or a positive number; *p ends behind it.
static bool parse_dim(const char **p, int64_t *out) {
    if (isalpha((unsigned char)**p)) {
        *out = FE_SYMBOLIC;
        ++*p;
        return **p == 'x' || **p == '\0';
    }
    if (!isdigit((unsigned char)**p)) {
        return false;
    }
    char *end;
    errno = 0;
    *out = strtoll(*p, &end, 10);
    *p = end;
    return errno == 0 && *out > 0 && *out <= INT32_MAX && (*end == 'x' || *end == '\0');
}

const char *fe_parse_pin(IrArena *a, const char *text, FePin *pin) {
    const char *eq = strrchr(text, '=');
    bool lone = !eq && !strpbrk(text, "0123456789"); // a letter alone may be meant as a name
    if (lone || eq == text) {
        return ir_sprintf(a, "'%s' is not of the form NAME=Nx3x224x224", text);
    }
    *pin = (FePin){.input = eq ? ir_strndup(a, text, (size_t)(eq - text)) : NULL};
    for (const char *p = eq ? eq + 1 : text;;) {
        if (pin->rank == IR_MAX_RANK) {
            return ir_sprintf(a, "'%s' has more than %d dimensions", text, IR_MAX_RANK);
        }
        int64_t *d = &pin->dim[pin->rank++];
        if (!parse_dim(&p, d)) {
            return ir_sprintf(a, "'%s' is not of the form NAME=Nx3x224x224", text);
        }
        if (*d == FE_SYMBOLIC && pin->rank > 1) {
            return ir_sprintf(a, "'%s': only the first dimension can be symbolic", text);
        }
        if (*p == '\0') {
            return NULL;
        }
        p++;
    }
}
