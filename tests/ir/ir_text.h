// Textual IR in tests: parse with the diagnostics caught, print to a string.
#ifndef TESTS_IR_TEXT_H
#define TESTS_IR_TEXT_H

#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

typedef struct TextCase {
    IrDiag diag;
    IrArena *arena;
    FILE *log_file;
    char *log; // what was reported; valid after text_log()
    size_t log_bytes;
} TextCase;

__attribute__((unused)) static void text_open(TextCase *t) {
    *t = (TextCase){0};
    ir_diag_init(&t->diag, "t.ir");
    t->log_file = open_memstream(&t->log, &t->log_bytes);
    t->diag.out = t->log_file;
    t->arena = ir_arena_new(&t->diag);
}

__attribute__((unused)) static void text_close(TextCase *t) {
    ir_arena_free(t->arena);
    fclose(t->log_file);
    free(t->log);
}

// Everything reported so far, the last newline left out.
__attribute__((unused)) static const char *text_log(TextCase *t) {
    fflush(t->log_file);
    size_t n = t->log_bytes;
    return ir_strndup(t->arena, t->log, n && t->log[n - 1] == '\n' ? n - 1 : n);
}

__attribute__((unused)) static IrProgram *text_parse(TextCase *t, const char *text) {
    return ir_parse(t->arena, "t.ir", text, strlen(text));
}

__attribute__((unused)) static const char *text_print(TextCase *t, IrProgram *p) {
    char *buf;
    size_t bytes;
    FILE *f = open_memstream(&buf, &bytes);
    ir_print_program(f, p);
    fclose(f);
    const char *text = ir_strndup(t->arena, buf, bytes);
    free(buf);
    return text;
}

#endif
