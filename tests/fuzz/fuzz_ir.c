// libFuzzer: textual IR through the parser and the verifier; what it accepts prints as text that it
// accepts again. See run_fuzzers.
#define _GNU_SOURCE
#include "ir/ir.h"
#include "tests/fuzz/fuzz_file.h"

#include <setjmp.h>
#include <stdlib.h>

static void print_and_parse(IrArena *a, IrProgram *p) {
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ir_print_program(f, p);
    fclose(f);
    IrProgram *again = ir_parse(a, "again", text, size);
    if (!again)
        abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    IrDiag diag;
    jmp_buf guard;
    ir_diag_init(&diag, "fuzz");
    diag.out = fuzz_null();
    IrArena *a = ir_arena_new(&diag);
    diag.guard = &guard;
    if (setjmp(guard) == 0) {
        IrProgram *p = ir_parse(a, "fuzz", (const char *)data, size);
        if (p)
            print_and_parse(a, p);
    }
    ir_arena_free(a);
    return 0;
}
