// hone quantize: what its parts share. Private to tools/quantize*.c and cmd_quantize.c.
//
// The float model runs compiled, with every tensor that is to be quantized as an output; images are
// read one by one, and what is kept of them does not grow with their number.
#ifndef TOOLS_QUANTIZE_H
#define TOOLS_QUANTIZE_H

#include "frontend/quantize/quantize.h"
#include "runtime/data/dataset.h"
#include "tools/compiled.h"

enum { QUANT_LEAST_IMAGES = 8 };

typedef struct QuantImages {
    const char *from; // as the user gave it
    int n;
    const char *const *path; // [n] files,
    RtDataset *data;         // or items of a labelled set: [n]
    const int64_t *item;
    bool *bad; // [n] could not be read; set by the first walk
    int n_bad;
    char *kept; // [n_kept] inputs of the first images, once read; see quant_images_keep()
    bool *read; // [n_kept]
    int n_kept;
} QuantImages;

typedef struct QuantNet { // a compiled model
    Compiled compiled;
    const IrGraph *graph;
    void **out; // [n_outputs] of the last run
} QuantNet;

typedef struct QuantScore { // of a model on the images of --eval
    int n, right, agree; // right: as the labels say; agree: as the float model says
} QuantScore;

typedef struct Quantize {
    Tool *tool;
    ToolModel model;
    ToolImage image;
    FeQuantMethod method;
    const char *calibrate_folder, *eval_folder;
    ToolNumber percentile, max_drop;
    ToolList keep_float; // "first", "last", globs of nodes
    int max_images;
    bool no_bias_correction;
    bool in_bf16; // --precision: layers that stay float run in bf16, where the outputs are judged

    const FeModel *onnx;
    CgOptions reading; // how images are read, labels, what outputs are
    int output;        // that says the class
    int64_t slots;     // images a run: each holds the same one
    size_t image_bytes;
    IrDtype input;
    FeQuantPlan *plan;
    QuantNet observer;
    int *shown; // [plan's tensors] which of the observer's outputs
    FeQuantParams *ranges;
    double **mean;     // [plan's tensors][channels] or NULL
    int64_t *channels; // [plan's tensors]
    bool *is_float;    // [layers]
    QuantImages calibrate, eval;
    int64_t classes;  // of that output
    int columns;      // of it: 1 for two classes, else one a class
    float *float_out; // [eval.n][columns] of the float model
    int n_tried;      // quantized models that were compiled
    QuantScore as_float, as_int8;
    double *snr; // [layers] in dB, of their results in the quantized model
} Quantize;

// ---- images (quantize_images.c)

// All images in and below a folder, evenly thinned out to q->max_images. False after an error.
bool quant_images_find(Quantize *q, const char *folder, QuantImages *out);
// Images with labels where they can be told, as fine-tuning reads them, else without. False after
// an error.
bool quant_images_find_labelled(Quantize *q, const char *spec, QuantImages *out);
int32_t quant_images_label(const QuantImages *s, int i);
// What the first images make stays in memory, for walks to come: as many as take some 100 MB.
void quant_images_keep(Quantize *q, QuantImages *s);

// Called with the input that image i makes; false ends the walk.
typedef bool QuantEach(Quantize *q, void *ctx, int i, const void *x);
// For every image that can be read, in order, at most `most`; those that cannot are named once.
// False after an error.
bool quant_images_walk(Quantize *q, QuantImages *s, int most, const char *what, QuantEach *each,
                       void *ctx);

// ---- models (quantize_net.c)

bool quant_net_load(Quantize *q, const FeNewModel *m, const char *name, QuantNet *out);
bool quant_net_run(Quantize *q, QuantNet *net, const void *x);
// The quantized model as it is now decided; `shown` as in FeQuantNumbers. NULL after an error.
FeNewModel *quant_model(Quantize *q, IrArena *a, const char **shown);
// See fe_quant_alone().
FeNewModel *quant_model_alone(Quantize *q, IrArena *a, const char **pairs);

// ---- the work

bool quant_calibrate(Quantize *q);  // quantize_calibrate.c: ranges and means
bool quant_measure(Quantize *q);    // quantize_measure.c: the layers' noise
// To *signal and *noise: the squares of output f of a, and of what output `shown` of b is off.
void quant_add_noise(const QuantNet *a, int f, const QuantNet *b, int shown, double *signal,
                     double *noise);
bool quant_eval_begin(Quantize *q); // quantize_eval.c: what the float model says
// The quantized model as it is decided now, on the images of --eval. False after an error.
bool quant_try(Quantize *q, const char *what, QuantScore *out);
double quant_drop(const Quantize *q, const QuantScore *s); // the share of images that it loses
bool quant_decide(Quantize *q); // quantize_layers.c: layers back in float for --max-drop

Quantize quant_defaults(Tool *t);
// All of it, up to the decision. False after an error.
bool quant_run(Quantize *q);
int quant_count_int8(const Quantize *q);
void quant_print(const Quantize *q, FILE *f);      // quantize_table.c
void quant_print_json(const Quantize *q, FILE *f); // the same for programs

#endif
