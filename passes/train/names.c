// Names of inputs and outputs: the rows of runtime/train/bind.def.
#include "passes/train/names.h"

#include <string.h>

static const struct {
    const char *input, *output;
} rows[] = {
#define BIND(NAME, input, output, DTYPE, SHAPE, what) {input, output},
#include "runtime/train/bind.def"
};

const char *pass_bind_input(IrBindKind kind) {
    return rows[kind].input;
}

const char *pass_bind_output(IrBindKind kind) {
    return rows[kind].output;
}

const char *pass_bind_match(const char *row, const char *name) {
    size_t n = row ? strlen(row) : 0;
    if (n == 0 || strncmp(name, row, n) != 0)
        return NULL;
    return row[n - 1] == ':' || name[n] == 0 ? name + n : NULL;
}
