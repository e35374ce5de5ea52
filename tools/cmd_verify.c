// hone verify: compiled code against the reference evaluator, and against stored outputs.
#include "tools/compiled.h"
#include "tools/diff.h"
#include "tools/test_data.h"

#include "ir/conv.h"
#include "passes/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Kernels of one kind: what they make of the model is judged on its own.
typedef struct Variant {
    const char *name;
    double tolerance;
    Compiled compiled;
} Variant;

typedef struct Verify {
    ToolModel model;
    const char *dir;
    ToolNumber tolerance;
    int sets, batch, threads, seed;
    bool nodes, direct_only;
    ToolList gradient; // inputs, as TOOL_VJP_OPTION has them
    int n, compiled;
    Variant variant[2];         // the first is what hone compile makes
    IrGraph *declared;          // as imported first: with all inputs
    IrGraph *reference;         // as imported
    IrGraph *exact;             // that, in f64 between dequantize and quantize: what is evaluated
    FePrecision inside, stored; // of the reference's values; of the file's
} Verify;

enum { DIRECT, WINOGRAD };
static const struct {
    const char *name;
    double tolerance; // where the user gives none
} kinds[] = {[DIRECT] = {"direct", 5e-5}, [WINOGRAD] = {"Winograd", 5e-4}};

// Differences, of the largest magnitude, that numbers of some type make: a few roundings of f16 and
// bf16, a few steps of int8.
static const struct {
    const char *name;
    double tolerance;
} precisions[FE_PRECISION_COUNT] = {[FE_PRECISION_F32] = {"f32", 0},
                                    [FE_PRECISION_INT16] = {"int16", 1e-3},
                                    [FE_PRECISION_F16] = {"f16", 4e-3},
                                    [FE_PRECISION_INT8] = {"int8", 2e-2},
                                    [FE_PRECISION_BF16] = {"bf16", 3e-2}};

static const ToolUsage usage = {
    "hone verify MODEL.onnx [TEST_DIR] [options]",
    "Compiles the model in a temporary place and compares its outputs with those of the reference\n"
    "evaluator (plain loops in double precision), on random inputs or on the inputs stored in\n"
    "TEST_DIR (test_data_set_*/input_0.pb, output_0.pb; the stored outputs are compared as well).\n"
    "On random inputs, a batch of 3 is compared with each of its images alone as well.\n"
    "Where convolutions use Winograd's algorithms, direct kernels are judged besides them.\n"
    "Inputs of TEST_DIR that decide on shapes are constants with the stored content. Where "
    "numbers\n"
    "are f16, bf16, int8 or int16, as much more is allowed as these round, and the output says\n"
    "so; one quantum where outputs are quantized. Between DequantizeLinear and QuantizeLinear the\n"
    "evaluator rounds nothing to f32: what is half a quantum goes to the even integer.\n"
    "Training-form nodes keep their literal meaning here.\n",
    "Examples:\n  hone verify resnet50.onnx\n  hone verify resnet50.onnx --nodes --batch 3\n"
    "  hone verify model.onnx /path/to/its/test/folder\n"};

// ---------------------------------------------------------------- node by node

typedef struct NodeCheck {
    Verify *v;
    const Compiled *compiled;
    int64_t N;
    Tool *t;
    int evaluated, compared;
    double worst;
    ToolProgress bar;
} NodeCheck;

static const IrValue *find_value(const IrGraph *g, const char *name) {
    for (const IrNode *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_out; i++)
            if (n->out[i]->name && strcmp(n->out[i]->name, name) == 0)
                return n->out[i];
    return NULL;
}

static void compare_node(NodeCheck *c, const IrValue *v, const IrTensor *want) {
    const IrValue *mine = v->name ? find_value(c->compiled->graph, v->name) : NULL;
    if (!mine || !ir_shape_eq(&mine->type.shape, &v->type.shape))
        return;
    IrArena *a = ir_arena_new(&c->t->diag);
    IrTensor got;
    if (compiled_value(c->compiled, c->N, mine, &got, a)) {
        Diff d = diff_of(&got, want);
        c->worst = diff_relative(d) > c->worst ? diff_relative(d) : c->worst;
        c->compared++;
        printf("  %-10.3g %-12.4g %-12s %s\n", diff_relative(d), d.magnitude,
               ir_op_info(mine->def->op)->text, RT_SHOW(mine->def->name));
    }
    ir_arena_free(a);
}

static void see_value(void *ctx, const IrValue *v, const IrTensor *want) {
    NodeCheck *c = ctx;
    if (c->v->nodes)
        compare_node(c, v, want);
    else
        tool_progress(&c->bar, ++c->evaluated, c->v->exact->n_nodes);
}

// ---------------------------------------------------------------- one set of inputs

// Of the integers that the node quantizes to; F32 where it does not.
static FePrecision quantized_precision(const IrNode *n) {
    IrDtype t = n->out[0]->type.dtype;
    if (n->op != IR_OP_CAST && n->op != IR_OP_QUANTIZE)
        return FE_PRECISION_F32;
    return t == IR_I8 || t == IR_U8     ? FE_PRECISION_INT8
           : t == IR_I16 || t == IR_U16 ? FE_PRECISION_INT16
                                        : FE_PRECISION_F32;
}

// What the graph's own values round to.
static FePrecision graph_precision(const IrGraph *g) {
    FePrecision p = FE_PRECISION_F32;
    for (const IrNode *n = g->first; n; n = n->next) {
        IrDtype t = n->out[0]->type.dtype;
        FePrecision own = t == IR_BF16  ? FE_PRECISION_BF16
                          : t == IR_F16 ? FE_PRECISION_F16
                                        : quantized_precision(n);
        p = own > p ? own : p;
    }
    return p;
}

// What one step of the quantized numbers is that v consists of; 0: it is none of such.
static double quantum_of(IrProgram *p, const IrValue *v) {
    for (const IrNode *n = v->def; n; n = ir_in(n, 0)->def) {
        const IrValue *scale = n->op == IR_OP_DEQUANTIZE ? ir_in(n, 1) : NULL;
        if (scale)
            return ir_const_is_scalar(scale) ? ir_const_scalar(p, scale->konst, 0) : 0;
        if (quantized_precision(n) != FE_PRECISION_F32)
            return 1;
        if (n->op != IR_OP_RESHAPE && n->op != IR_OP_TRANSPOSE && n->op != IR_OP_COPY)
            return 0;
    }
    return 0;
}

// Of output i. One quantum is always allowed, where outputs are quantized.
static bool judge(const Verify *v, const Variant *k, FePrecision p, const char *what, int i,
                  const IrTensor *got, const IrTensor *want) {
    const IrValue *output = v->reference->outputs[i];
    double quantum = quantum_of(v->reference->prog, output);
    Diff d = diff_of(got, want);
    bool raised = !v->tolerance.given && precisions[p].tolerance > k->tolerance;
    double allowed = raised ? precisions[p].tolerance : k->tolerance;
    bool ok = diff_relative(d) <= allowed || (raised && d.diff <= quantum * (1 + 1e-5));
    bool empty = d.not_finite > 0 && d.not_finite == ir_tensor_elems(want); // nothing was compared
    printf("%s %s, %-8s: largest difference %.3g, %.3g of the largest magnitude %.4g, RMS %.3g "
           "of it",
           what, RT_SHOW(output->name), k->name, d.diff, diff_relative(d), d.magnitude,
           diff_relative_to(d.rms, d));
    if (quantum > 0)
        printf(", %.3g of a quantum of %.4g", d.diff / quantum, quantum);
    if (raised)
        printf(", %.0e allowed for %s", allowed, precisions[p].name);
    if (d.not_finite)
        printf(", %lld of %lld numbers are not finite", (long long)d.not_finite,
               (long long)ir_tensor_elems(want));
    printf(": %s\n", !ok ? "FAILED" : empty ? "NOTHING TO COMPARE: no number is finite" : "ok");
    return ok && !empty;
}

// stored: outputs to compare with as well, or NULL.
static bool check_set(Tool *t, Verify *v, int64_t N, const IrTensor *in, const IrTensor *stored,
                      IrArena *a) {
    IrGraph *ref = v->reference;
    IrTensor *got[2], *want = ir_alloc_array(a, (size_t)ref->n_outputs + 1, sizeof *want);
    NodeCheck check = {.v = v, .compiled = &v->variant[0].compiled, .N = N, .t = t};
    for (int k = 0; k < v->n; k++) {
        got[k] = ir_alloc_array(a, (size_t)ref->n_outputs + 1, sizeof *got[k]);
        if (!compiled_run(t, &v->variant[k].compiled, N, in, got[k], a))
            return false;
    }
    if (v->nodes)
        printf("  %-10s %-12s %-12s %s\n", "relative", "magnitude", "op", "node");
    tool_progress_start(&check.bar, "evaluating");
    const char *why = ir_eval(v->exact, N, in, want, a, see_value, &check);
    tool_progress_end(&check.bar);
    if (why) {
        ir_error(&t->diag, IR_NOWHERE, "the reference evaluator failed: %s", why);
        return false;
    }
    if (v->nodes)
        printf("  %d values compared, worst %.3g\n", check.compared, check.worst);
    bool ok = true;
    for (int i = 0; i < ref->n_outputs; i++) {
        for (int k = 0; k < v->n; k++)
            ok &= judge(v, &v->variant[k], v->inside, "evaluator", i, &got[k][i], &want[i]);
        for (int k = 0; k < v->n && stored && stored[i].data; k++) // checks are nowhere stored
            ok &= judge(v, &v->variant[k], v->stored, "stored   ", i, &got[k][i], &stored[i]);
    }
    return ok;
}

// ---------------------------------------------------------------- images of a batch

enum { SOME_IMAGES = 3 };

// Image i of x, whose first dimension holds SOME_IMAGES times d.n; all of it where N has no part.
static IrTensor image_of(const IrTensor *x, IrDim d, int i) {
    IrTensor part = *x;
    if (d.n) {
        part.dim[0] = d.n;
        int64_t bytes = ir_tensor_elems(&part) * ir_dtype_bytes(part.dtype);
        part.data = (char *)x->data + i * bytes;
    }
    return part;
}

// N is a factor of the first dimension and of no other.
static bool holds_images(const IrShape *s) {
    bool fits = s->rank > 0 && s->dim[0].n && !s->dim[0].c;
    for (int i = 1; i < s->rank; i++)
        fits &= s->dim[i].n == 0;
    return fits;
}

static bool is_by_images(const IrGraph *g) {
    bool any = false;
    for (int i = 0; i < g->n_inputs; i++) {
        const IrShape *s = &g->inputs[i]->type.shape;
        any |= holds_images(s);
        if (!ir_shape_is_static(s) && !holds_images(s))
            return false;
    }
    return any;
}

// The outputs of a batch of images, and the worst difference from each of them alone, with how many
// numbers of all were finite and how many were not.
static bool compare_images(Tool *t, Verify *v, const IrTensor *in, Diff *worst, int64_t *finite,
                           IrArena *a) {
    const IrGraph *g = v->reference;
    IrTensor *all = ir_alloc_array(a, (size_t)g->n_outputs + 1, sizeof *all);
    IrTensor *one = ir_alloc_array(a, (size_t)g->n_outputs + 1, sizeof *one);
    IrTensor *image = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *image);
    int64_t not_finite = 0;
    if (!compiled_run(t, &v->variant[0].compiled, SOME_IMAGES, in, all, a))
        return false;
    for (int k = 0; k < SOME_IMAGES; k++) {
        for (int i = 0; i < g->n_inputs; i++)
            image[i] = image_of(&in[i], g->inputs[i]->type.shape.dim[0], k);
        if (!compiled_run(t, &v->variant[0].compiled, 1, image, one, a))
            return false;
        for (int i = 0; i < g->n_outputs; i++) {
            const IrShape *s = &g->outputs[i]->type.shape;
            if (!holds_images(s))
                continue;
            IrTensor part = image_of(&all[i], s->dim[0], k);
            Diff d = diff_of(&part, &one[i]);
            not_finite += d.not_finite;
            *finite += ir_tensor_elems(&part) - d.not_finite;
            *worst = diff_relative(d) >= diff_relative(*worst) ? d : *worst;
        }
    }
    worst->not_finite = not_finite;
    return true;
}

static void fill_inputs(const Verify *v, int64_t N, int set, IrTensor *in, IrArena *a) {
    for (int i = 0; i < v->reference->n_inputs; i++)
        in[i] = test_data_random(a, v->reference, i, N, (uint64_t)(v->seed + set * 1000 + i));
}

// Whether an image's results are those that it has alone. A model may mean otherwise; one whose
// batch is given by --input-shape does not.
static bool check_images(Tool *t, Verify *v) {
    IrArena *a = ir_arena_new(&t->diag);
    IrTensor *in = ir_alloc_array(a, (size_t)v->reference->n_inputs + 1, sizeof *in);
    Diff worst = {0};
    int64_t finite = 0;
    fill_inputs(v, SOME_IMAGES, 0, in, a);
    bool ok = compare_images(t, v, in, &worst, &finite, a),
         same = diff_relative(worst) <= v->variant[0].tolerance,
         empty = worst.not_finite > 0 && finite == 0; // nothing was compared
    if (ok) {
        printf("batch %d against each image alone: largest difference %.3g, %.3g of the largest "
               "magnitude %.4g: %s\n",
               SOME_IMAGES, worst.diff, diff_relative(worst), worst.magnitude,
               same && empty             ? "NOTHING TO COMPARE: no number is finite"
               : same                    ? "ok"
               : v->model.input_shapes.n ? "FAILED"
                                         : "they differ: the model mixes the images of a batch");
    }
    if (ok && !same)
        ok = check_set(t, v, SOME_IMAGES, in, NULL, a) && !v->model.input_shapes.n;
    ir_arena_free(a);
    return ok && !empty;
}

static bool check_random(Tool *t, Verify *v) {
    bool ok = true;
    for (int s = 0; s < v->sets; s++) {
        IrArena *a = ir_arena_new(&t->diag);
        IrTensor *in = ir_alloc_array(a, (size_t)v->reference->n_inputs + 1, sizeof *in);
        fill_inputs(v, v->batch, s, in, a);
        ok &= check_set(t, v, v->batch, in, NULL, a);
        ir_arena_free(a);
    }
    return is_by_images(v->reference) ? check_images(t, v) && ok : ok;
}

// ---------------------------------------------------------------- the command

// Winograd's algorithms, among them Strassen's multiplication in Winograd's form
static bool has_winograd(const IrGraph *g) {
    for (const IrNode *n = g->first; n; n = n->next) {
        IrConvAlgo algo;
        if (ir_conv_algo(n, &algo) && ir_conv_algo_info(algo)->flags & IR_CONV_FLAG_FEWER)
            return true;
    }
    return false;
}

// The graph with the gradients that are wanted; NULL after errors.
static IrGraph *complete(Verify *v, IrProgram *p) {
    PassOptions po = tool_pass_options(&v->model);
    IrGraph *g = p ? tool_infer_graph(p) : NULL;
    bool ok = g && (!v->gradient.n || pass_vjp(&po, g, v->gradient.n, v->gradient.v));
    return ok ? g : NULL;
}

static bool add_variant(Tool *t, Verify *v, IrProgram *p) {
    Variant *k = &v->variant[v->n];
    const char *name = ir_sprintf(t->arena, "verified%d", v->compiled++);
    IrGraph *g = complete(v, p);
    if (!g || !compiled_load(t, &v->model, g, v->threads, name, &k->compiled))
        return false;
    int kind = has_winograd(k->compiled.graph) ? WINOGRAD : DIRECT;
    k->name = kinds[kind].name;
    k->tolerance = v->tolerance.given ? v->tolerance.v : kinds[kind].tolerance;
    v->n++;
    return true;
}

// With the inputs of d (may be NULL) that shapes follow from as constants, where it takes that.
static IrProgram *import(Tool *t, Verify *v, const TestData *d) {
    FeReport report = {0};
    v->model.n_bound = 0;
    IrProgram *p = tool_import(t, &v->model, &report);
    v->declared = p ? tool_infer_graph(p) : NULL;
    if (!p || !report.n)
        return p;
    if (d)
        v->model.bound = test_data_bound(t, d, v->declared, &v->model.n_bound);
    p = tool_import(t, &v->model, NULL);
    for (int i = 0; p && i < v->model.n_bound; i++)
        printf("input '%s' is a constant here, with its content in %s\n",
               RT_SHOW(v->model.bound[i].input), RT_SHOW(d->dir));
    return p;
}

// Imports and compiles. False after errors were reported.
static bool prepare(Tool *t, Verify *v, const TestData *d) {
    const FeModel *file = NULL;
    v->n = 0;
    v->model.no_winograd = v->direct_only;
    v->model.onnx = &file;
    t->diag.file = v->model.path;
    v->reference = complete(v, import(t, v, d));
    if (!v->reference)
        return false;
    tool_check_weights(t, v->reference, false);
    PassOptions po = tool_pass_options(&v->model);
    v->exact = ir_copy(v->reference, "exact");
    passes_run_named(v->exact->prog, v->exact, &po, "quant_exact");
    v->inside = v->model.bf16 ? FE_PRECISION_BF16 : graph_precision(v->reference);
    v->stored = fe_model_precision(file);
    v->stored = v->inside > v->stored ? v->inside : v->stored;
    v->model.onnx = NULL;
    if (!add_variant(t, v, tool_import(t, &v->model, NULL)))
        return false;
    if (!has_winograd(v->variant[0].compiled.graph))
        return true;
    v->model.no_winograd = true;
    return add_variant(t, v, tool_import(t, &v->model, NULL));
}

static bool check_stored(Tool *t, Verify *v, const TestData *d) {
    IrArena *a = ir_arena_new(&t->diag);
    IrTensor *in = ir_alloc_array(a, (size_t)v->reference->n_inputs + 1, sizeof *in);
    IrTensor *out = ir_alloc_array(a, (size_t)v->reference->n_outputs + 1, sizeof *out);
    int64_t N;
    bool ok = test_data_match(t, d, v->declared, v->reference, in, out, &N);
    if (ok) {
        printf("%s\n", RT_SHOW(d->dir));
        ok = check_set(t, v, N < 0 ? 1 : N, in, out, a);
    }
    ir_arena_free(a);
    return ok;
}

// Constants made of inputs are each set's own.
static bool check_dir(Tool *t, Verify *v) {
    TestFolder sets;
    if (!test_data_load(t, v->dir, &sets))
        return false;
    bool ok = true;
    for (int s = 0; s < sets.n; s++) {
        if ((s == 0 || v->model.n_bound > 0) && !prepare(t, v, &sets.v[s]))
            return false;
        ok &= check_stored(t, v, &sets.v[s]);
    }
    return ok;
}

// One of several units, or the only one. False: it failed.
static bool check_unit(Tool *t, Verify *v, int *n_ran) {
    const ToolModel *m = &v->model;
    bool several = m->n_sizes * m->n_targets > 1;
    const char *missing = several ? tool_missing(&m->target) : NULL;
    if (several)
        printf("%s%sfor %s%s%s\n", m->sizes[m->size].text, m->sizes[m->size].n ? ", " : "",
               m->target.cpu, missing ? ": not run, this CPU lacks " : "", missing ? missing : "");
    if (missing)
        return true;
    ++*n_ran;
    return v->dir ? check_dir(t, v) : prepare(t, v, NULL) && check_random(t, v);
}

static bool run_verify(Tool *t, Verify *v) {
    v->model.keep_training_mode = true;
    v->model.keep_values = v->nodes;
    v->direct_only = v->model.no_winograd;
    ToolModel *m = &v->model;
    int n_ran = 0;
    bool ok = tool_target(t, m);
    if (ok && v->dir && m->n_sizes > 1) {
        ir_error(&t->diag, IR_NOWHERE, "the inputs in %s have one size: give one --input-shape",
                 v->dir);
        return false;
    }
    for (int i = 0, n = ok ? m->n_sizes * m->n_targets : 0; i < n; i++) {
        m->size = i / m->n_targets;
        m->target = m->targets[i % m->n_targets];
        ok &= check_unit(t, v, &n_ran);
        t->diag.warned = true;
    }
    if (ok && !n_ran)
        ir_error(&t->diag, IR_NOWHERE, "this CPU runs none of them: nothing was compared");
    return tool_models_stay(t) && ok && n_ran;
}

int cmd_verify(Tool *t, int argc, char **argv) {
    Verify v = {.model = TOOL_MODEL_DEFAULT, .sets = 1, .batch = 1, .seed = 1};
    const ToolOpt opts[] = {
        {"--random", NULL, "N", TOOL_INT, &v.sets, "sets of random inputs, default 1", 1, 1000000},
        {"--batch", "-b", "N", TOOL_INT, &v.batch, "batch size of random inputs, default 1", 0,
         65536},
        {"--seed", NULL, "N", TOOL_INT, &v.seed, "of the random inputs", 0, 1 << 30},
        {"--threads", NULL, "N", TOOL_INT, &v.threads, "threads of the compiled code", 1, 1024},
        {"--nodes", NULL, NULL, TOOL_FLAG, &v.nodes, "compare every value that survives the passes",
         0, 0},
        {"--tolerance", NULL, "X", TOOL_NUMBER, &v.tolerance,
         "largest difference allowed, of the largest magnitude; default 5e-5, 5e-4 with Winograd",
         0, 1e9},
        {"--verbose", "-v", NULL, TOOL_FLAG, &t->verbose, "commands that are run", 0, 0},
        TOOL_PRECISION_OPTION(v.model),
        TOOL_VJP_OPTION(v.gradient),
        TOOL_MODEL_OPTIONS(v.model),
        {0}};
    ToolList rest;
    ToolParse got = tool_parse(argc, argv, opts, &usage, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (rest.n < 1 || rest.n > 2) {
        fprintf(stderr,
                "hone verify: give a model and at most one folder; see hone verify --help\n");
        return EXIT_USAGE;
    }
    if (!tool_precision("verify", &v.model, false))
        return EXIT_USAGE;
    v.model.path = rest.v[0];
    v.dir = rest.n > 1 ? rest.v[1] : NULL;
    if (v.gradient.n && (v.dir || v.model.bf16)) {
        fprintf(stderr,
                "hone verify: --emit-gradient is compared in f32 and on random inputs alone\n");
        return EXIT_USAGE;
    }
    return run_verify(t, &v) ? EXIT_FINE : EXIT_INPUT;
}
