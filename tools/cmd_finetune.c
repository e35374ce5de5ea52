// hone finetune: not there yet, and says so.
#include "tools/tool.h"

int cmd_finetune(Tool *t, int argc, char **argv) {
    (void)argc, (void)argv;
    ir_error(&t->diag, IR_NOWHERE, "NYI: finetune; hone compile makes inference programs");
    return EXIT_INPUT;
}
