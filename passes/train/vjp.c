// hone compile --emit-gradient: the network with the gradient, by some of its inputs, of whatever a
// caller makes of its outputs: a vector-Jacobian product.
//
//   graph infer(%x) -> (%y, %i)   ->   graph infer(%x, %grad:y) -> (%y, %i, %grad:x)
//
//   grad:x = sum over outputs y of (dy/dx)^T grad:y
//
// Each output of floats has such a cotangent, also one that the inputs do not reach: what a caller
// gives follows from the outputs alone. Outputs of other types (%i) have none.
#include "passes/train/autodiff.h"
#include "passes/train/names.h"
#include "passes/train/train.h"

#include <string.h>

#define OPTION "--emit-gradient"

static IrValue *find_named(IrValue *const *v, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(v[i]->name, name) == 0)
            return v[i];
    return NULL;
}

static const char *list_inputs(const IrGraph *g) {
    const char *text = "";
    for (int i = 0; i < g->n_inputs; i++)
        text = ir_sprintf(g->prog->arena, "%s%s'%s'", text, i ? ", " : "", g->inputs[i]->name);
    return text;
}

// The input of that name; NULL after an error.
static IrValue *find_input(IrGraph *g, const char *name, IrValue *const *before, int n_before) {
    IrDiag *d = g->prog->diag;
    IrValue *x = find_named(g->inputs, g->n_inputs, name);
    if (!x)
        ir_error(d, IR_NOWHERE, OPTION ": the network has no input '%s'; it has %s", name,
                 g->n_inputs ? list_inputs(g) : "none");
    else if (find_named(before, n_before, name))
        ir_error(d, IR_NOWHERE, OPTION ": '%s' is given twice", name);
    else if (!ir_dtype_is_float(x->type.dtype))
        ir_error(d, IR_NOWHERE, OPTION ": input '%s' is of %s, and gradients are by floats", name,
                 ir_dtype_name(x->type.dtype));
    else
        return x;
    return NULL;
}

// Whether some output of floats changes smoothly with x: what autodiff walks.
static bool is_reached(const IrGraph *g, const IrValue *x) {
    bool *from = ir_alloc_array(g->prog->arena, g->next_id, sizeof *from), any = false;
    from[x->id] = true;
    for (const IrNode *n = g->first; n; n = n->next) {
        bool reads = false;
        for (int i = 0; i < n->n_in; i++)
            reads = reads || (ir_in(n, i) && from[ir_in(n, i)->id]);
        for (int i = 0; i < n->n_out; i++) {
            from[n->out[i]->id] = reads && ir_dtype_is_float(n->out[i]->type.dtype);
            any = any || (from[n->out[i]->id] && n->out[i]->is_output);
        }
    }
    return any;
}

bool pass_gradient_exists(const IrGraph *g, const char *option) {
    bool fine = true;
    for (const IrNode *n = g->first; n; n = n->next) {
        if (n->op != IR_OP_QUANTIZE || ir_in(n, 0)->konst)
            continue;
        ir_error(g->prog->diag, (IrWhere){n->name, n->src_op},
                 "NYI: %s: gradient of quantize, whose steps have none but zero", option);
        fine = false;
    }
    return fine;
}

// "grad:NAME"; NULL after an error where one of these has that name.
static const char *gradient_name(IrGraph *g, const char *of, IrValue *const *among, int n) {
    const char *name = ir_sprintf(g->prog->arena, "%s%s", pass_bind_output(IR_BIND_GRAD), of);
    if (!find_named(among, n, name))
        return name;
    ir_error(g->prog->diag, IR_NOWHERE,
             OPTION ": a gradient would be called '%s', as something in the network is", name);
    return NULL;
}

// The inputs that the outputs of floats get. False after an error.
static bool add_cotangents(IrGraph *g, AutodiffSpec *spec, AutodiffSeed *seed) {
    for (int i = 0, own = ir_own_outputs(g); i < own; i++) {
        IrValue *y = g->outputs[i];
        if (!ir_dtype_is_float(y->type.dtype))
            continue;
        const char *name = gradient_name(g, y->name, g->inputs, g->n_inputs);
        if (!name)
            return false;
        seed[spec->n_seeds++] = (AutodiffSeed){y, ir_input(g, name, y->type)};
    }
    spec->seed = seed;
    return true;
}

static bool find_inputs(IrGraph *g, int n, const char *const *names, IrValue **wrt) {
    for (int i = 0; i < n; i++) {
        wrt[i] = find_input(g, names[i], wrt, i);
        if (!wrt[i])
            return false;
        if (!is_reached(g, wrt[i])) {
            ir_error(g->prog->diag, IR_NOWHERE,
                     OPTION ": no output of floats depends smoothly on input '%s'", names[i]);
            return false;
        }
    }
    return true;
}

// The gradients come behind the outputs, and last what a run counts. False after an error.
static bool add_outputs(IrGraph *g, const AutodiffSpec *spec, IrValue *const *grad) {
    int own = ir_own_outputs(g), counts = g->n_outputs - own;
    IrValue **count = ir_alloc_array(g->prog->arena, (size_t)counts + 1, sizeof *count);
    for (int i = 0; i < spec->n_wrt; i++) {
        const char *name = gradient_name(g, spec->wrt[i]->name, g->outputs, g->n_outputs);
        if (!name)
            return false;
        ir_output(g, grad[i]);
        g->outputs[g->n_outputs - 1]->name = name;
    }
    memcpy(count, g->outputs + own, (size_t)counts * sizeof *count);
    memmove(g->outputs + own, g->outputs + own + counts, (size_t)spec->n_wrt * sizeof *count);
    memcpy(g->outputs + own + spec->n_wrt, count, (size_t)counts * sizeof *count);
    return true;
}

bool pass_vjp(const PassOptions *po, IrGraph *g, int n, const char *const *inputs) {
    IrArena *a = g->prog->arena;
    IrValue **wrt = ir_alloc_array(a, (size_t)n + 1, sizeof *wrt);
    IrValue **grad = ir_alloc_array(a, (size_t)n + 1, sizeof *grad);
    AutodiffSpec spec = {.n_wrt = n, .wrt = wrt};
    PassContext ctx = {.scratch = a, .prog = g->prog, .opt = po};
    if (!pass_gradient_exists(g, OPTION))
        return false;
    passes_run(g->prog, g, po, PASS_SIMPLIFY);
    AutodiffSeed *seed = ir_alloc_array(a, (size_t)g->n_outputs + 1, sizeof *seed);
    return find_inputs(g, n, inputs, wrt) && add_cotangents(g, &spec, seed) &&
           pass_autodiff(&ctx, g, &spec, grad) && add_outputs(g, &spec, grad);
}
