// --input-shape: the sizes that a program is for. An input given once has that shape in all of
// them; those given several times, or with ranges, go together: the k-th shape of one with the k-th
// of the others.
#include "tools/tool.h"

#include <string.h>

typedef struct Shapes { // of an input
    const char *input;  // NULL: the only one
    int n;
    FePin v[HONE_MAX_UNITS];
} Shapes;

typedef struct Inputs {
    int n;
    Shapes *v; // in the order in which they were given
} Inputs;

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static Shapes *find_input(Inputs *x, const char *input) {
    for (int i = 0; i < x->n; i++)
        if (same_text(x->v[i].input, input))
            return &x->v[i];
    x->v[x->n].input = input;
    return &x->v[x->n++];
}

// Why the pin is none; NULL: it is there now.
static const char *add_pin(IrArena *a, Shapes *s, const FePin *pin) {
    for (int i = 0; i < s->n; i++)
        if (s->v[i].rank == pin->rank &&
            memcmp(s->v[i].dim, pin->dim, (size_t)pin->rank * sizeof *pin->dim) == 0)
            return ir_sprintf(a, "%s is given twice", fe_pin_text(a, pin));
    if (s->n == HONE_MAX_UNITS)
        return ir_sprintf(a, "more than %d shapes of one input", HONE_MAX_UNITS);
    s->v[s->n++] = *pin;
    return NULL;
}

static const char *read_shapes(IrArena *a, const ToolList *texts, Inputs *x) {
    for (int i = 0; i < texts->n; i++) {
        int n;
        FePin *pins;
        const char *why = fe_parse_pins(a, texts->v[i], HONE_MAX_UNITS, &n, &pins);
        for (int k = 0; k < n && !why; k++)
            why = add_pin(a, find_input(x, pins[k].input), &pins[k]);
        if (why)
            return why;
    }
    return NULL;
}

static const char *count_sizes(IrArena *a, const Inputs *x, int *n) {
    *n = 1;
    for (int i = 0; i < x->n; i++) {
        int k = x->v[i].n;
        if (*n > 1 && k > 1 && k != *n)
            return ir_sprintf(a,
                              "%d shapes of one input and %d of another: they go together, or one "
                              "is for all",
                              *n, k);
        *n = k > *n ? k : *n;
    }
    return NULL;
}

static ToolSize make_size(IrArena *a, const Inputs *x, int at) {
    FePin *pins = ir_alloc_array(a, (size_t)x->n + 1, sizeof *pins);
    const char *text = "";
    for (int i = 0; i < x->n; i++) {
        pins[i] = x->v[i].v[x->v[i].n > 1 ? at : 0];
        text = ir_sprintf(a, "%s%s%s", text, i ? " " : "", fe_pin_text(a, &pins[i]));
    }
    return (ToolSize){x->n, pins, text};
}

bool tool_sizes(Tool *t, ToolModel *m) {
    IrArena *a = t->arena;
    Inputs x = {0, ir_alloc_array(a, (size_t)m->input_shapes.n + 1, sizeof *x.v)};
    const char *why = read_shapes(a, &m->input_shapes, &x);
    why = why ? why : count_sizes(a, &x, &m->n_sizes);
    if (!why && m->n_sizes * m->n_targets > HONE_MAX_UNITS)
        why = ir_sprintf(a, "%d sizes for %d CPUs are %d units, and a program holds %d", m->n_sizes,
                         m->n_targets, m->n_sizes * m->n_targets, HONE_MAX_UNITS);
    if (why) {
        ir_error(&t->diag, IR_NOWHERE, "--input-shape: %s", why);
        return false;
    }
    ToolSize *sizes = ir_alloc_array(a, (size_t)m->n_sizes, sizeof *sizes);
    for (int i = 0; i < m->n_sizes; i++)
        sizes[i] = make_size(a, &x, i);
    m->sizes = sizes;
    return true;
}
