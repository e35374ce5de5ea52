// The functions of hone.h that tell what a model takes, gives and calls things: from the descriptor
// of the unit in use alone.
#include "runtime/core/rt.h"

unsigned hone_abi(void) {
    return HONE_ABI;
}

const char *hone_version(void) {
    return HONE_VERSION;
}

int hone_n_inputs(const HoneModel *m) {
    return rt_model_desc(m)->n_inputs;
}

int hone_n_outputs(const HoneModel *m) {
    return rt_model_desc(m)->n_outputs;
}

HoneTensorInfo hone_input_info(const HoneModel *m, int i) {
    return rt_tensor_info(rt_model_desc(m)->inputs, i, rt_model_desc(m)->n_inputs);
}

HoneTensorInfo hone_output_info(const HoneModel *m, int i) {
    return rt_tensor_info(rt_model_desc(m)->outputs, i, rt_model_desc(m)->n_outputs);
}

static int64_t count_bytes(const HoneTensorDesc *t, int i, int n, int64_t batch) {
    int64_t bytes;
    return i >= 0 && i < n && batch >= 0 && rt_tensor_bytes(t + i, batch, &bytes) ? bytes : -1;
}

int64_t hone_input_bytes(const HoneModel *m, int i, int64_t batch) {
    return count_bytes(rt_model_desc(m)->inputs, i, rt_model_desc(m)->n_inputs, batch);
}

int64_t hone_output_bytes(const HoneModel *m, int i, int64_t batch) {
    return count_bytes(rt_model_desc(m)->outputs, i, rt_model_desc(m)->n_outputs, batch);
}

int hone_n_labels(const HoneModel *m) {
    return rt_model_desc(m)->labels ? rt_model_desc(m)->n_labels : 0;
}

const char *hone_label(const HoneModel *m, int64_t i) {
    return i >= 0 && i < hone_n_labels(m) ? rt_model_desc(m)->labels[i] : NULL;
}
