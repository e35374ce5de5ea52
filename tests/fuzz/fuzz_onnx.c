// libFuzzer: an ONNX file through the wire scan and the importer. See run_fuzzers.
#define _GNU_SOURCE
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz_file.h"

#include <setjmp.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    IrDiag diag;
    jmp_buf guard;
    const char *path = fuzz_file(data, size);
    ir_diag_init(&diag, path);
    diag.out = fuzz_null();
    IrArena *a = ir_arena_new(&diag);
    diag.guard = &guard;
    if (setjmp(guard) == 0)
        fe_import(a, path, NULL);
    ir_arena_free(a);
    return 0;
}
