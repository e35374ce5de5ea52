// A float model and a folder of images become a quantized model.
#include "tools/quantize.h"

#include "runtime/image/image.h"

#include <fnmatch.h>
#include <string.h>

// The model, flat, and how it takes images. False after errors.
static bool import(Quantize *q) {
    Tool *t = q->tool;
    q->model.onnx = &q->onnx;
    q->model.to_train = true; // plain nodes alone
    IrProgram *p = tool_import(t, &q->model, NULL);
    if (!p)
        return false;
    q->model.onnx = NULL;
    q->model.to_train = false;
    IrGraph *g = tool_infer_graph(p);
    if (!tool_image_options(t, &q->image, g, &q->reading))
        return false;
    const HonePreprocess *x = &q->reading.preprocess;
    q->input = g->n_inputs ? g->inputs[0]->type.dtype : IR_F32;
    if (!x->channels || (q->input != IR_F32 && q->input != IR_U8)) {
        ir_error(&t->diag, IR_NOWHERE,
                 "calibration takes a network with one input, images [N,C,H,W] or [N,H,W,C] of "
                 "float or uint8");
        return false;
    }
    q->slots = ir_dim_at(g->inputs[0]->type.shape.dim[0], 1);
    q->image_bytes = (size_t)x->channels * (size_t)x->height * (size_t)x->width *
                     (size_t)ir_dtype_bytes(q->input);
    q->output = q->reading.classifier < 0 ? 0 : q->reading.classifier;
    const IrShape *y = &g->outputs[q->output]->type.shape;
    q->classes = 1;
    for (int i = 1; i < y->rank; i++)
        q->classes *= ir_dim_at(y->dim[i], 1);
    q->classes = q->classes == 1 ? 2 : q->classes;
    return true;
}

static bool keep(Quantize *q, const char *what) {
    const FeQuantPlan *p = q->plan;
    bool any = false;
    for (int l = 0; l < p->n_layers; l++) {
        bool hit = strcmp(what, "first") == 0  ? l == 0
                   : strcmp(what, "last") == 0 ? l == p->n_layers - 1
                                               : fnmatch(what, p->layers[l].node, 0) == 0;
        q->is_float[l] |= hit;
        any |= hit;
    }
    if (!any)
        ir_error(&q->tool->diag, IR_NOWHERE,
                 "--keep-float %s: no Conv, Gemm or MatMul with constant weights has this name",
                 what);
    return any;
}

static bool make_plan(Quantize *q) {
    Tool *t = q->tool;
    const FeModel *m = fe_quant_prepare(t->arena, q->onnx);
    q->plan = m ? fe_quant_plan(t->arena, m) : NULL;
    if (!q->plan)
        return false;
    q->is_float = ir_alloc_array(t->arena, (size_t)q->plan->n_layers + 1, sizeof *q->is_float);
    for (int i = 0; i < q->keep_float.n; i++)
        if (!keep(q, q->keep_float.v[i]))
            return false;
    return true;
}

bool quant_run(Quantize *q) {
    tool_temp_dir(q->tool); // in the arena that stays
    return import(q) && quant_images_find(q, q->calibrate_folder, &q->calibrate) && make_plan(q) &&
           quant_calibrate(q) && (!q->eval_folder || (quant_eval_begin(q) && quant_decide(q)));
}

Quantize quant_defaults(Tool *t) {
    return (Quantize){.tool = t,
                      .model = TOOL_MODEL_DEFAULT,
                      .method = FE_QUANT_PERCENTILE,
                      .percentile = {.v = 99.99},
                      .max_images = 500};
}

const FeNewModel *tool_quantized(Tool *t, const ToolModel *m, const ToolImage *im,
                                 const char *calibrate) {
    Quantize q = quant_defaults(t);
    q.model = *m;
    q.image = *im;
    q.calibrate_folder = calibrate;
    if (!tool_runs_here(t, &q.model))
        return NULL;
    FeNewModel *made = quant_run(&q) ? quant_model(&q, t->arena, NULL) : NULL;
    if (made)
        fprintf(stderr, "%d layers in int8, ranges of %d images\n", quant_count_int8(&q),
                q.calibrate.n - q.calibrate.n_bad);
    return made;
}
