// Which operators a file means: their domain and the version of its opset.
#include "frontend/onnx/load.h"

#include <string.h>

bool fe_is_onnx_domain(const char *domain) {
    return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

const char *fe_read_opset(IrArena *a, size_t n, Onnx__OperatorSetIdProto *const *imports,
                          int *out) {
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if (fe_is_onnx_domain(imports[i]->domain)) {
            int64_t v = imports[i]->version;
            if (v < FE_MIN_OPSET || v > FE_MAX_OPSET) {
                return ir_sprintf(a, "opset %lld is not supported (%d to %d are)", (long long)v,
                                  FE_MIN_OPSET, FE_MAX_OPSET);
            }
            *out = (int)v;
            return NULL;
        }
    }
    return NULL;
}
