// export: the tuned model once more.
#include "runtime/finetune/finetune.h"

#include <stdlib.h>

#include "runtime/train/export.h"

static int export(const RtFine *f, const char *folder, const char *path) {
    RtErr err;
    RtOutFile out;
    char *labels = NULL, key[96];
    rt_outs_watch(f->outs, NULL, NULL);
    if (!rt_out_open(&out, f->outs, path, RT_OUT_WHOLE, &err))
        return rt_fine_complain(err.text);
    bool ok = rt_outs_allow(f->outs, folder, 0, &err) || rt_fine_complain(err.text) == 0;
    RtEngine *t = ok ? rt_fine_open_trained(f, folder, 1, &labels) : NULL;
    RtExportMeta meta = {"hone.labels", labels};
    int n = labels && *labels && !f->d->info->labels;
    rt_train_model_key(f->d, key, sizeof key);
    ok = t && (rt_export_onnx(f->d, key, rt_engine_buffer(t, RT_ENGINE_P), &meta, n, &out, &err) ||
               rt_fine_complain(err.text) == 0);
    rt_out_abort(&out);
    free(labels);
    rt_engine_close(t);
    return ok ? RT_EXIT_FINE : RT_EXIT_INPUT;
}

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
        code = export(f, folder, rest.item[0]);
    }
    free(rest.item);
    return code;
}
