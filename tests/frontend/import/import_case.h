// What the frontend's tests share: a folder of their own, and an import whose diagnostics are a
// string.
#ifndef TESTS_FRONTEND_IMPORT_IMPORT_CASE_H
#define TESTS_FRONTEND_IMPORT_IMPORT_CASE_H

#include "frontend/frontend.h"
#include "tests/check.h"
#include "tests/frontend/onnx/onnx_writer.h"

#include <unistd.h>

typedef struct Import {
    IrDiag diag;
    IrArena *arena;
    IrProgram *prog; // NULL: refused
    char *text;      // diagnostics, without the folder
    size_t size;
} Import;

static char case_dir[] = "/tmp/hone-import-XXXXXX";

WRITER const char *case_path(const char *name) {
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", case_dir, name);
    return path;
}

WRITER void case_start(void) {
    if (!mkdtemp(case_dir)) {
        perror(case_dir);
        exit(2);
    }
}

WRITER void case_end(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", case_dir);
    if (system(command) != 0) {
        perror(command);
    }
    pb_free_all();
}

// Takes the folder's name out of messages.
static void strip_dir(char *text) {
    size_t n = strlen(case_dir) + 1;
    for (char *p; (p = strstr(text, case_dir));) {
        memmove(p, p + n, strlen(p + n) + 1);
    }
}

WRITER void import_file(Import *im, const char *name, const FeOptions *opt) {
    static char path[200];
    snprintf(path, sizeof path, "%s", case_path(name));
    memset(im, 0, sizeof *im);
    ir_diag_init(&im->diag, path);
    im->diag.out = open_memstream(&im->text, &im->size);
    im->arena = ir_arena_new(&im->diag);
    jmp_buf guard;
    im->diag.guard = &guard;
    if (setjmp(guard) == 0) {
        im->prog = fe_import(im->arena, path, opt);
    }
    im->diag.guard = NULL;
    fclose(im->diag.out);
    strip_dir(im->text);
}

WRITER void import_graph(Import *im, const Pb *graph, int opset, const FeOptions *opt) {
    write_model(case_path("m.onnx"), graph, opset);
    import_file(im, "m.onnx", opt);
}

WRITER void import_end(Import *im) {
    ir_arena_free(im->arena);
    free(im->text);
}

// The graph as text, one node a line; lives as long as the import.
WRITER const char *import_print(Import *im) {
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ir_print_program(f, im->prog);
    fclose(f);
    const char *copy = ir_strdup(im->arena, text);
    free(text);
    return copy;
}

typedef struct CaseShape {
    int rank;
    int64_t dim[IR_MAX_RANK];
} CaseShape;

// Adds a string attribute to a node.
WRITER void case_attr_str(Pb *node, const char *name, const char *s) {
    Pb a = {0};
    pb_str(&a, 1, name);
    pb_str(&a, 4, s);
    pb_int(&a, 20, 3);
    pb_msg(node, 5, &a);
}

#endif
