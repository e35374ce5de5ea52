// run -i NAME=FILE.npy -o NAME=FILE.npy (or FILE.npz for all of them): raw tensors through the
// model. Everything is checked before anything runs; outputs appear under their names only when all
// of them are written.
#include <stdlib.h>
#include <string.h>

#include "runtime/core/unit.h"
#include "runtime/file/npz.h"
#include "runtime/infer/pad.h"

typedef struct Runner {
    const RtInfer *in;
    const HoneModelDesc *d;
    int size;               // of in->size, which d is
    int64_t batch;          // -1: no input has told it yet
    const char *batch_file; // which one told it
    RtNpy *x;               // [n_inputs]
    const char **x_file;    // [n_inputs]
    void **y;               // [n_outputs]
    RtOutFile *out;         // [n_outputs]
    const char **y_file;    // [n_outputs] NULL: not wanted
    const char *archive;    // of all outputs; NULL: not wanted
    RtOutFile archive_out;
    HoneModel *model;
    const char *others; // what becomes of inputs of another size: "refuse" or "pad"
} Runner;

static void print_help(const RtInfer *in, const RtCliOption *options, int n) {
    const HoneModelDesc *d = in->desc;
    char text[256];
    printf(
        "Usage: %s run -i [NAME=]IN.npy|IN.npz... -o [NAME=]OUT.npy|OUT.npz...\n\n"
        "Runs the model once on tensors from NumPy files and writes the outputs asked for.\n"
        "NAME may be left out where the model has only one. The files tell the batch N, and which\n"
        "of the sizes that it was compiled for runs; there is no other, but with --other-sizes "
        "pad.\n\n",
        in->program);
    for (int k = 0; k < (in->n_sizes ? in->n_sizes : 1); k++) {
        const HoneModelDesc *u = in->n_sizes ? in->size[k] : d;
        for (int i = 0; i < d->n_inputs; i++)
            printf("  input   %s  %s\n", RT_SHOW(d->inputs[i].name),
                   rt_tensor_text(&u->inputs[i], text, sizeof text));
        for (int i = 0; i < d->n_outputs; i++)
            printf("  output  %s  %s\n", RT_SHOW(d->outputs[i].name),
                   rt_tensor_text(&u->outputs[i], text, sizeof text));
    }
    printf("\n");
    rt_cli_help(stdout, options, n);
    printf("\nExample:\n  %s run -i %s=x.npy -o %s=y.npy\n", in->program,
           RT_SHOW(d->n_inputs ? d->inputs[0].name : "x"),
           RT_SHOW(d->n_outputs ? d->outputs[0].name : "y"));
}

// Do the file's type and shape fit, and if the shape tells the batch size, is it the same
// everywhere?
static bool check_input(Runner *r, int i, RtErr *err) {
    const HoneTensorDesc *t = &r->d->inputs[i];
    const RtNpy *a = &r->x[i];
    bool fits = a->dtype == t->dtype && a->rank == t->rank;
    int64_t batch = -1;
    for (int k = 0; fits && k < t->rank; k++) {
        HoneDim d = t->dim[k];
        if (d.n == 0) {
            fits = a->dim[k] == d.c;
            continue;
        }
        int64_t rest = a->dim[k] - d.c;
        fits = rest % d.n == 0 && rest / d.n >= 0 && (batch < 0 || batch == rest / d.n);
        batch = rest / d.n;
    }
    if (!fits) {
        char want[256], has[256];
        rt_tensor_text(t, want, sizeof want);
        rt_shape_text(a->dtype, a->rank, a->dim, has, sizeof has);
        return rt_fail(err, "%s: input '%s' takes %s, the file has %s", r->x_file[i], t->name, want,
                       has);
    }
    if (batch >= 0 && r->batch >= 0 && batch != r->batch)
        return rt_fail(err, "%s: input '%s' has batch size %lld, but %s has %lld", r->x_file[i],
                       t->name, (long long)batch, r->batch_file, (long long)r->batch);
    if (batch >= 0) {
        r->batch = batch;
        r->batch_file = r->x_file[i];
    }
    return true;
}

// Do the files fit the size d?
static bool check_inputs(Runner *r, RtErr *err) {
    r->batch = -1;
    for (int i = 0; i < r->d->n_inputs; i++)
        if (!check_input(r, i, err))
            return false;
    if (r->batch < 0)
        r->batch = 1;
    return true;
}

// To the smallest size that holds the inputs, where there is one. False with err set.
static bool pad_inputs(Runner *r, RtErr *err) {
    const HoneModelDesc *const *size = r->in->n_sizes ? r->in->size : &r->in->desc;
    int k = rt_pad_find(size, r->in->n_sizes ? r->in->n_sizes : 1, r->x);
    for (int i = 0; k >= 0 && i < size[k]->n_inputs; i++)
        if (!rt_pad(&size[k]->inputs[i], &r->x[i], err))
            return false;
    return true;
}

// The first size that fits.
static bool find_size(Runner *r, RtErr *err) {
    RtErr why;
    for (r->size = 0; r->size < r->in->n_sizes; r->size++) {
        r->d = r->in->size[r->size];
        if (check_inputs(r, r->size ? &why : err))
            return true;
    }
    r->size = 0;
    if (r->in->n_sizes < 2)
        return check_inputs(r, err);
    char sizes[640], first[sizeof err->text];
    snprintf(first, sizeof first, "%s", err->text);
    return rt_fail(err, "%s; the sizes are %s", first,
                   rt_unit_sizes_text(r->in->first, sizes, sizeof sizes));
}

// The arrays of an .npz file are inputs by their names.
static bool take_arrays(Runner *r, const char *path, RtNpz *z, RtErr *err) {
    for (int k = 0; k < z->n; k++) {
        int i = 0;
        while (i < r->d->n_inputs && strcmp(r->d->inputs[i].name, z->name[k]) != 0)
            i++;
        if (i == r->d->n_inputs)
            return rt_fail(err, "%s: the model has no input '%s'; see the subcommand info", path,
                           z->name[k]);
        if (r->x_file[i])
            return rt_fail(err, "input '%s' is given twice: %s and %s", z->name[k], r->x_file[i],
                           path);
        r->x_file[i] = path;
        r->x[i] = z->array[k];
        z->array[k] = (RtNpy){0};
    }
    return true;
}

// Those of the list whose names end in .npz are read, and leave it.
static bool load_archives(Runner *r, RtCliList *inputs, RtErr *err) {
    int kept = 0;
    bool good = true;
    for (int k = 0; k < inputs->n; k++) {
        const char *path = inputs->item[k];
        if (!rt_npz_is_name(path)) {
            inputs->item[kept++] = path;
            continue;
        }
        RtNpz z = {0};
        good = good && rt_npz_read(path, &z, err) && take_arrays(r, path, &z, err);
        rt_npz_free(&z);
    }
    inputs->n = kept;
    return good;
}

static bool load_inputs(Runner *r, RtErr *err) {
    for (int i = 0; i < r->d->n_inputs; i++) {
        if (r->x[i].data)
            continue; // of an .npz file
        if (!r->x_file[i])
            return rt_fail(err, "input '%s' is missing: give -i %s=FILE.npy", r->d->inputs[i].name,
                           r->d->inputs[i].name);
        if (!rt_npy_read(r->x_file[i], &r->x[i], err))
            return false;
    }
    return (strcmp(r->others, "pad") != 0 || pad_inputs(r, err)) && find_size(r, err);
}

static bool compute(Runner *r, RtErr *err) {
    const void **x = calloc((size_t)r->d->n_inputs + 1, sizeof *x);
    bool good = x || rt_fail(err, "no memory");
    for (int i = 0; good && i < r->d->n_inputs; i++)
        x[i] = r->x[i].data;
    for (int i = 0; good && i < r->d->n_outputs; i++) {
        int64_t bytes;
        good = rt_tensor_bytes(&r->d->outputs[i], r->batch, &bytes) &&
               (r->y[i] = rt_alloc_aligned((size_t)bytes));
        if (!good)
            rt_fail(err, "%s: no memory for output '%s' at batch size %lld",
                    r->batch_file ? r->batch_file : r->d->name, r->d->outputs[i].name,
                    (long long)r->batch);
        else
            memset(r->y[i], 0, (size_t)bytes);
    }
    if (good && hone_run(r->model, r->batch, x, r->y) != 0)
        good = rt_fail(err, "%s: %s", r->d->name, hone_error(r->model));
    free(x);
    return good;
}

static bool open_outputs(Runner *r, RtErr *err) {
    for (int i = 0; i < r->d->n_outputs; i++)
        if (r->y_file[i] && !rt_out_open(&r->out[i], r->in->outs, r->y_file[i], RT_OUT_WHOLE, err))
            return false;
    if (r->archive && !rt_out_open(&r->archive_out, r->in->outs, r->archive, RT_OUT_WHOLE, err))
        return false;
    for (int i = 0; i < r->d->n_inputs; i++)
        if (r->x_file[i] && !rt_outs_allow(r->in->outs, r->x_file[i], 0, err))
            return false;
    return true;
}

// Output i as an array of the shape that the run made.
static bool shape_output(const Runner *r, int i, RtNpy *a, RtErr *err) {
    const HoneTensorDesc *t = &r->d->outputs[i];
    *a = (RtNpy){.dtype = t->dtype, .rank = t->rank, .data = r->y[i]};
    for (int k = 0; k < t->rank; k++)
        if (!rt_dim_at(t->dim[k], r->batch, &a->dim[k]))
            return rt_fail(err, "output '%s' is too large", t->name);
    rt_model_pack(r->model, i, a->dim, r->y[i]);
    return true;
}

static bool write_output(Runner *r, int i, const RtNpy *a, RtErr *err) {
    if (!rt_out_begin(&r->out[i], err))
        return false;
    if (!rt_npy_write(&r->out[i], a->dtype, a->rank, a->dim, a->data))
        return rt_fail(err, "%s: output '%s' cannot be written as .npy", r->y_file[i],
                       r->d->outputs[i].name);
    return rt_out_finish(&r->out[i], err);
}

// All are whole before any has its name.
static bool write_files(Runner *r, const RtNpz *all, RtErr *err) {
    for (int i = 0; i < all->n; i++)
        if (r->y_file[i] && !write_output(r, i, &all->array[i], err))
            return false;
    if (r->archive &&
        !(rt_out_begin(&r->archive_out, err) && rt_npz_write(&r->archive_out, all, err) &&
          rt_out_finish(&r->archive_out, err)))
        return false;
    for (int i = 0; i < all->n; i++)
        if (r->y_file[i] && !rt_out_commit(&r->out[i], err))
            return false;
    return !r->archive || rt_out_commit(&r->archive_out, err);
}

static bool write_outputs(Runner *r, RtErr *err) {
    size_t n = (size_t)r->d->n_outputs + 1;
    RtNpz all = {.n = r->d->n_outputs,
                 .name = calloc(n, sizeof *all.name),
                 .array = calloc(n, sizeof *all.array)};
    bool good = (all.name && all.array) || rt_fail(err, "no memory");
    for (int i = 0; good && i < all.n; i++) {
        all.name[i] = (char *)r->d->outputs[i].name;
        good = shape_output(r, i, &all.array[i], err);
    }
    good = good && write_files(r, &all, err);
    free(all.name);
    free(all.array);
    return good;
}

static bool allocate(Runner *r, RtErr *err) {
    size_t n = (size_t)r->d->n_inputs + 1, m = (size_t)r->d->n_outputs + 1;
    r->x = calloc(n, sizeof *r->x);
    r->x_file = calloc(n, sizeof *r->x_file);
    r->y = calloc(m, sizeof *r->y);
    r->out = calloc(m, sizeof *r->out);
    r->y_file = calloc(m, sizeof *r->y_file);
    return (r->x && r->x_file && r->y && r->out && r->y_file) || rt_fail(err, "no memory");
}

static void release(Runner *r) {
    for (int i = 0; r->x && i < r->d->n_inputs; i++)
        rt_npy_free(&r->x[i]);
    for (int i = 0; r->y && r->out && i < r->d->n_outputs; i++) {
        free(r->y[i]);
        rt_out_abort(&r->out[i]);
    }
    rt_out_abort(&r->archive_out);
    free(r->x);
    free(r->x_file);
    free(r->y);
    free(r->out);
    free(r->y_file);
    hone_destroy(r->model);
}

static int run_files(Runner *r, RtCliList *inputs, RtCliList *outputs, int threads) {
    RtErr err;
    const HoneModelDesc *d = r->d;
    if (!allocate(r, &err) || !load_archives(r, inputs, &err) ||
        !rt_infer_assign(d->inputs, d->n_inputs, "input", inputs, r->x_file, &err) ||
        !rt_infer_archive(d, outputs, &r->archive, &err) ||
        !rt_infer_assign(d->outputs, d->n_outputs, "output", outputs, r->y_file, &err) ||
        !open_outputs(r, &err) || !load_inputs(r, &err))
        return rt_infer_complain(err.text);
    r->model = rt_infer_create(r->in, r->size, threads);
    if (!r->model)
        return RT_EXIT_INPUT;
    if (!compute(r, &err) || !write_outputs(r, &err))
        return rt_infer_complain(err.text);
    return RT_EXIT_FINE;
}

int rt_infer_run(const RtInfer *in, int argc, char **argv) {
    RtCliList inputs = {0}, outputs = {0}, rest = {0};
    bool help = false;
    int threads = 0, code;
    const char *others = "refuse";
    const RtCliOption options[] = {
        {"-i|--input", RT_CLI_LIST, &inputs, 0, 0, "[NAME=]FILE",
         "an input, from an .npy file, or several by their names from an .npz file"},
        {"-o|--output", RT_CLI_LIST, &outputs, 0, 0, "[NAME=]FILE",
         "an output, to an .npy file, or all of them by their names to an .npz file"},
        {"--other-sizes", RT_CLI_CHOICE, &others, 0, 0, "refuse|pad",
         "of inputs: with zeros behind them, up to the smallest size that holds them (default "
         "refuse)"},
        RT_THREADS_OPTION(&threads),
        {"--help|-h", RT_CLI_FLAG, &help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    RtErr err;
    if (!rt_cli_parse(options, N_OPTIONS, argc, argv, &rest, &err)) {
        code = rt_infer_usage(in, "run", err.text);
    } else if (help) {
        print_help(in, options, N_OPTIONS);
        code = RT_EXIT_FINE;
    } else if (rest.n) {
        rt_fail(&err, "'%s' is no option", rest.item[0]);
        code = rt_infer_usage(in, "run", err.text);
    } else if (!outputs.n || (!inputs.n && in->desc->n_inputs)) {
        code = rt_infer_usage(in, "run", outputs.n ? "no input: give -i" : "no output: give -o");
    } else {
        Runner r = {.in = in, .d = in->desc, .others = others};
        rt_outs_watch(in->outs, NULL, NULL);
        code = run_files(&r, &inputs, &outputs, threads);
        release(&r);
    }
    free(inputs.item);
    free(outputs.item);
    free(rest.item);
    return code;
}
