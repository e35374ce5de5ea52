// The C header of a library or object: one file to ship, hone.h's declarations included; the
// functions as api.c makes them.
#include "tools/tool.h"

static void print_tensors(FILE *f, const char *what, IrValue *const *v, int n) {
    char type[256];
    for (int i = 0; i < n; i++)
        fprintf(f, "//   %s %d  %s  %s\n", what, i, v[i]->name,
                ir_type_print(&v[i]->type, type, sizeof type));
}

typedef struct Header {
    const IrGraph *graph;
    const char *symbol, *api; // api: hone.h's text
} Header;

static void print_header(FILE *f, void *ctx) {
    const Header *h = ctx;
    const IrGraph *g = h->graph;
    const char *s = h->symbol;
    fprintf(f, "// %s, compiled by %s. Link with -lgomp -lm.\n//\n", g->prog->name, TOOL_PRODUCER);
    print_tensors(f, "input ", g->inputs, g->n_inputs);
    print_tensors(f, "output", g->outputs, g->n_outputs);
    fprintf(f, "//\n// The functions at the end are those of hone.h, for this model.\n");
    fprintf(f,
            "#ifndef %s_H\n#define %s_H\n\n#define HONE_TYPES_ONLY\n%s\n#undef HONE_TYPES_ONLY\n\n",
            s, s, h->api);
    fprintf(f, "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    tool_api_declare(f, h->api, s);
    fprintf(f, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

bool tool_write_header(Tool *t, IrGraph *g, const char *symbol, const char *path) {
    Header h = {g, symbol, tool_lib_text(t, "hone.h")};
    return tool_write_text(t, path, print_header, &h);
}
