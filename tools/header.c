// The C header of a library or object: one file to ship, hone.h's declarations included; the
// functions as api.c makes them.
#include "tools/tool.h"

#include <string.h>

// A name in C, as it stands where it is made of letters, digits and ._:/- alone, else as a string
// literal: whatever it holds, it does not end its line, nor makes a trigraph.
static void print_name(FILE *f, const char *s) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/-";
    if (*s && s[strspn(s, plain)] == 0) {
        fputs(s, f);
        return;
    }
    fputc('"', f);
    while (*s) {
        int n = rt_utf8_printable(s);
        if (n == 0)
            fprintf(f, "\\%03o", (unsigned char)*s);
        else if (strchr("\"\\?", *s))
            fprintf(f, "\\%c", *s);
        else
            fwrite(s, 1, (size_t)n, f);
        s += n ? n : 1;
    }
    fputc('"', f);
}

static void print_tensors(FILE *f, const char *what, IrValue *const *v, int n) {
    char type[256];
    for (int i = 0; i < n; i++) {
        fprintf(f, "//   %s %d  ", what, i);
        print_name(f, v[i]->name);
        fprintf(f, "  %s\n", ir_type_print(&v[i]->type, type, sizeof type));
    }
}

typedef struct Header {
    const ToolUnits *units;
    const char *symbol, *api; // api: hone.h's text
} Header;

// Of every size: what the units of one machine take and give.
static void print_sizes(FILE *f, const ToolUnits *u) {
    bool several = u->v[u->n - 1].graph->prog != u->v[0].graph->prog;
    for (int i = 0, size = 0; i < u->n; i++) {
        const IrGraph *g = u->v[i].graph;
        if (u->v[i].target != u->v[0].target)
            continue;
        if (several)
            fprintf(f, "// size %d\n", size++);
        print_tensors(f, "input ", g->inputs, g->n_inputs);
        print_tensors(f, "output", g->outputs, ir_own_outputs(g));
    }
}

static void print_header(FILE *f, void *ctx) {
    const Header *h = ctx;
    const char *s = h->symbol;
    fputs("// ", f);
    print_name(f, h->units->v[0].graph->prog->name);
    fprintf(f, ", compiled by %s. Link with -lgomp -lm.\n//\n", TOOL_PRODUCER);
    print_sizes(f, h->units);
    fprintf(f, "//\n// The functions at the end are those of hone.h, for this model.\n");
    fprintf(f,
            "#ifndef %s_H\n#define %s_H\n\n#define HONE_TYPES_ONLY\n%s\n#undef HONE_TYPES_ONLY\n\n",
            s, s, h->api);
    fprintf(f, "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    tool_api_declare(f, h->api, s);
    fprintf(f, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

bool tool_print_header(Tool *t, const ToolUnits *u, const char *symbol, RtOutFile *o) {
    Header h = {u, symbol, tool_lib_text(t, "hone.h")};
    return tool_print_out(t, o, print_header, &h);
}
