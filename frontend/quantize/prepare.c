// The model as it can be quantized: flat and valid as it was imported, of opset 13 or newer, with
// normalizations in the weights. What it computes stays.
#include "frontend/quantize/room.h"

static const FeModel *read_again(IrArena *a, FeEdit *r) {
    FeNewModel *to = fe_edit_end(r);
    FeModel *m = ir_alloc(a, sizeof *m);
    if (!to) {
        return NULL;
    }
    *m = *r->from;
    m->pb = fe_new_model_message(a, to);
    return m;
}

// A tensor that is no f32: what is quantized has to be.
static bool check_precision(IrArena *a, const FeModel *m) {
    static const char *const why[FE_PRECISION_COUNT] = {
        [FE_PRECISION_F16] = "NYI: quantizing a model of float16",
        [FE_PRECISION_BF16] = "NYI: quantizing a model of bfloat16",
        [FE_PRECISION_INT8] = "it is quantized already",
    };
    FePrecision p = fe_model_precision(m);
    if (why[p]) {
        ir_error(ir_arena_diag(a), IR_NOWHERE, "%s", why[p]);
    }
    return !why[p];
}

const FeModel *fe_quant_prepare(IrArena *a, const FeModel *m) {
    FeEdit raise = {0}, fold = {0};
    if (!check_precision(a, m) || !fe_edit_begin(&raise, a, m, 0) ||
        !fe_quant_raise_opset(&raise)) {
        return NULL;
    }
    const FeModel *raised = read_again(a, &raise);
    FeQuantGraph *g = raised ? fe_quant_graph(a, raised) : NULL;
    if (!g || !fe_edit_begin(&fold, a, raised, 0)) {
        return NULL;
    }
    fe_quant_fold_bn(&fold, g);
    return read_again(a, &fold);
}
