// The file that a fine-tune program carries is read again before the program is made: any runtime
// is to find the network there that trains.
#include "tools/finetune.h"

#include <stdlib.h>
#include <string.h>

// On an arena of its own, whose messages become one of ours.
static bool differs(Finetune *f, const IrTrainProgram *p, const CgTrainFile *file,
                    const PassOptions *po, IrArena *a) {
    Tool *t = f->tool;
    FeOptions opt;
    if (!tool_import_options(t, &f->model, &opt))
        return true;
    IrProgram *again = fe_new_model_import(a, file->ctx, &opt);
    if (!again || ir_arena_diag(a)->errors)
        return true;
    const IrNode *n = pass_train_differs(f->infer, p, tool_infer_graph(again), po, &f->train);
    if (n)
        ir_error(ir_arena_diag(a), (IrWhere){n->name, n->src_op},
                 "this node is not the one that trains");
    return n;
}

bool tool_check_file(Finetune *f, const IrTrainProgram *p, const CgTrainFile *file,
                     const PassOptions *po) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    jmp_buf guard;
    IrDiag d = {.file = f->model.path,
                .out = out,
                .max_errors = 1,
                .guard = &guard,
                .memory = f->tool->diag.memory};
    IrArena *volatile a = NULL;
    volatile bool bad = !out;
    if (out && setjmp(guard) == 0) {
        a = ir_arena_new(&d);
        bad = differs(f, p, file, po, a) || d.errors;
    } else {
        bad = true;
    }
    ir_arena_free(a);
    if (out)
        fclose(out);
    if (text)
        text[strcspn(text, "\n")] = 0;
    if (bad)
        ir_error(&f->tool->diag, IR_NOWHERE,
                 "NYI: the trained model cannot be written; read again it says: %s",
                 text ? text : "no memory");
    free(text);
    return !bad;
}
