// export: the tuned model once more.
#include "runtime/finetune/finetune.h"

#include <stdlib.h>

#include "runtime/train/export.h"

int rt_fine_export(const RtFine *f, int argc, char **argv) {
    const char *folder = f->folder;
    bool help = false;
    const RtCliOption options[] = {RT_FINE_CHECKPOINT(&folder), RT_FINE_HELP(&help)};
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(f, "export",
                      "[OPTION...] OUT.onnx\n\nWrites the best parameters of the newest checkpoint "
                      "as an ONNX model,\nready for `hone compile` or any other runtime.",
                      options, 2, &help, argc, argv, &rest, 1, 1, &code)) {
        char *labels;
        RtErr err;
        RtEngine *t = rt_fine_open_trained(f, folder, 1, &labels);
        RtExportMeta meta = {"hone.labels", labels};
        bool named = labels && *labels && !f->d->info->labels;
        code = RT_EXIT_INPUT;
        if (t && rt_export_onnx(f->d, rt_engine_buffer(t, RT_ENGINE_P), &meta, named ? 1 : 0,
                                rest.item[0], &err))
            code = RT_EXIT_FINE;
        else if (t)
            rt_fine_complain(err.text);
        free(labels);
        rt_engine_close(t);
    }
    free(rest.item);
    return code;
}
