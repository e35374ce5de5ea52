// features IMAGE|FOLDER|... -o OUT.npy (or OUT.npz for all outputs): what the model's outputs hold
// for each image, a row each, and beside the array the images' names, a line each. A bad image is a
// line on stderr (and an exit code of 1 in the end) and no row; files appear when all is done,
// unless no image was good.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "runtime/core/tally.h"
#include "runtime/image/inputs.h"
#include "runtime/file/npz.h"
#include "runtime/infer/images.h"

typedef struct Wanted { // an output that goes to a file
    const HoneTensorDesc *t;
    const char *path; // of a file of its own; NULL: none
    bool wanted;      // in a file
    RtOutFile file;
    size_t row; // bytes for an image
    char *data; // [rows][row]
} Wanted;

typedef struct Features {
    const RtInfer *in;
    RtImageSettings set;
    RtImages images;
    RtInputs *inputs;
    char **batch;    // [slots] files of a run
    char **row_name; // [rows] of files, owned
    int64_t rows, room;
    Wanted *out;         // [n_outputs]
    const char *archive; // of all outputs; NULL: none
    RtOutFile archive_file, names;
    bool named;
    RtTally tally;
} Features;

static void print_help(const RtInfer *in, const RtCliOption *options, int n) {
    const HoneModelDesc *d = in->desc;
    char text[512];
    printf(
        "Usage: %s features [OPTION...] -o [NAME=]OUT.npy|OUT.npz... IMAGE|FOLDER|PATTERN|-...\n\n"
        "Writes what the model gives for each image as an array, a row for each, and the images'\n"
        "names to OUT.txt, a line for each row. NAME may be left out where the model has only one\n"
        "output. hone compile --output NODE makes a program whose outputs are "
        "embeddings.\n" RT_INPUTS_RULE
        "An .npy file holds pixels, u8[H,W,3], or an image of the model's input as it is.\n\n",
        in->program);
    for (int i = 0; i < d->n_outputs; i++)
        printf("  output  %s  %s\n", RT_SHOW(d->outputs[i].name),
               rt_tensor_text(&d->outputs[i], text, sizeof text));
    printf("\nThe model's own preprocessing is:\n  %s\n\n",
           rt_preprocess_text(&d->preprocess, text, sizeof text));
    fputs(rt_images_rule(in), stdout);
    rt_cli_help(stdout, options, n);
    printf("\nExample:\n  %s features photos/ -o photos.npy\n", in->program);
}

// No output replaces an image.
static bool allow_file(void *ctx, const char *path, RtErr *err) {
    return rt_outs_allow(((const Features *)ctx)->in->outs, path, 0, err);
}

static bool find_files(Features *f, const RtCliList *given, RtErr *err) {
    f->inputs = rt_inputs_open(given->item, given->n, err);
    return f->inputs && rt_inputs_visit(f->inputs, allow_file, f, err);
}

// ---------------------------------------------------------------- outputs

// A row for each image, as long as that of the next: the batch in front, as in the input.
static bool check_rows(Wanted *w, const RtImages *m, RtErr *err) {
    const HoneModelDesc *d = m->in->desc;
    const HoneDim first = w->t->dim[0], images = m->input->dim[0];
    int64_t bytes;
    char text[256];
    for (int i = 0; i < d->n_counts; i++)
        if (&d->outputs[d->counts[i].output] == w->t)
            return rt_fail(err,
                           "output '%s' is as long as what is in the image says, not a row for "
                           "each; use the subcommand run",
                           w->t->name);
    if (w->t->rank < 1 || first.n != images.n || first.c != images.c ||
        !rt_tensor_bytes(w->t, m->fixed ? 1 : m->slots, &bytes))
        return rt_fail(err, "output '%s' is %s, not a row for each image; use the subcommand run",
                       w->t->name, rt_tensor_text(w->t, text, sizeof text));
    w->row = (size_t)(bytes / m->slots);
    return true;
}

// Room for so many rows.
static bool grow(Features *f, int64_t rows, RtErr *err) {
    char **names = realloc(f->row_name, ((size_t)rows + 1) * sizeof *names);
    if (!names)
        return rt_fail(err, "no memory");
    f->row_name = names;
    for (int i = 0; i < f->in->desc->n_outputs; i++) {
        Wanted *w = &f->out[i];
        size_t bytes;
        char *data = NULL;
        if (!w->wanted)
            continue;
        if (!__builtin_mul_overflow((size_t)rows, w->row, &bytes))
            data = realloc(w->data, bytes + 1);
        if (!data)
            return rt_fail(err, "no memory for output '%s' of %lld images", w->t->name,
                           (long long)rows);
        w->data = data;
    }
    f->room = rows;
    return true;
}

static bool allocate(Features *f, RtErr *err) {
    int64_t known = rt_inputs_listed(f->inputs) ? -1 : rt_inputs_known(f->inputs);
    bool good = rt_images_allocate(&f->images, &f->set, known, err);
    for (int i = 0; good && i < f->in->desc->n_outputs; i++) {
        Wanted *w = &f->out[i];
        w->t = &f->images.unit->outputs[i];
        good = !w->wanted || check_rows(w, &f->images, err);
    }
    f->batch = good ? calloc((size_t)f->images.slots, sizeof *f->batch) : NULL;
    rt_tally_begin(&f->tally, known, false);
    return good && (f->batch || rt_fail(err, "no memory")) &&
           grow(f, known < 0 ? f->images.slots : known, err);
}

// "f.txt" beside "f.npy"; a device or a pipe has no place beside it.
static bool open_names(Features *f, const char *beside, const RtOutFile *file, RtErr *err) {
    size_t n = strlen(beside);
    bool ends = n > 4 && (strcmp(beside + n - 4, ".npy") == 0 || rt_npz_is_name(beside));
    char *path;
    if (f->named || rt_out_is_through(file))
        return true;
    if (asprintf(&path, "%.*s.txt", (int)(ends ? n - 4 : n), beside) < 0)
        return rt_fail(err, "no memory");
    f->named = rt_out_open(&f->names, f->in->outs, path, RT_OUT_WHOLE, err);
    free(path);
    return f->named;
}

static bool open_file(Features *f, RtOutFile *file, const char *path, RtErr *err) {
    return !path || (rt_out_open(file, f->in->outs, path, RT_OUT_WHOLE, err) &&
                     open_names(f, path, file, err));
}

static bool open_outputs(Features *f, RtCliList *outputs, RtErr *err) {
    const HoneModelDesc *d = f->in->desc;
    const char **path = calloc((size_t)d->n_outputs, sizeof *path);
    f->out = calloc((size_t)d->n_outputs, sizeof *f->out);
    bool good = (path && f->out) || rt_fail(err, "no memory");
    good = good && rt_infer_archive(d, outputs, &f->archive, err) &&
           rt_infer_assign(d->outputs, d->n_outputs, "output", outputs, path, err);
    for (int i = 0; good && i < d->n_outputs; i++) {
        Wanted *w = &f->out[i];
        *w = (Wanted){.t = &d->outputs[i], .path = path[i], .wanted = path[i] || f->archive};
        good = open_file(f, &w->file, w->path, err);
    }
    good = good && open_file(f, &f->archive_file, f->archive, err);
    free(path);
    return good;
}

static RtNpy array_of(const Features *f, const Wanted *w) {
    RtNpy a = {.dtype = w->t->dtype, .rank = w->t->rank, .dim = {f->rows}, .data = w->data};
    for (int k = 1; k < a.rank; k++)
        a.dim[k] = w->t->dim[k].c;
    return a;
}

static bool write_array(Features *f, Wanted *w, RtErr *err) {
    RtNpy a = array_of(f, w);
    if (!rt_out_begin(&w->file, err))
        return false;
    if (!rt_npy_write(&w->file, a.dtype, a.rank, a.dim, a.data))
        return rt_fail(err, "%s: output '%s' cannot be written as .npy", w->path, w->t->name);
    return rt_out_finish(&w->file, err);
}

static bool write_archive(Features *f, RtErr *err) {
    int n = f->in->desc->n_outputs;
    RtNpz z = {.n = n,
               .name = calloc((size_t)n + 1, sizeof *z.name),
               .array = calloc((size_t)n + 1, sizeof *z.array)};
    bool good = (z.name && z.array) || rt_fail(err, "no memory");
    for (int i = 0; good && i < n; i++) {
        z.name[i] = (char *)f->out[i].t->name;
        z.array[i] = array_of(f, &f->out[i]);
    }
    good = good && rt_out_begin(&f->archive_file, err) && rt_npz_write(&f->archive_file, &z, err) &&
           rt_out_finish(&f->archive_file, err);
    free(z.name);
    free(z.array);
    return good;
}

static bool write_names(Features *f, RtErr *err) {
    if (!f->named)
        return true;
    if (!rt_out_begin(&f->names, err))
        return false;
    for (int64_t i = 0; i < f->rows; i++)
        fprintf(f->names.f, "%s\n", f->row_name[i]);
    return rt_out_finish(&f->names, err);
}

// All are whole before any has its name.
static bool write_files(Features *f, RtErr *err) {
    int n = f->in->desc->n_outputs;
    for (int i = 0; i < n; i++)
        if (f->out[i].path && !write_array(f, &f->out[i], err))
            return false;
    if (f->archive && !write_archive(f, err))
        return false;
    if (!write_names(f, err) || (f->named && !rt_out_commit(&f->names, err)))
        return false;
    for (int i = 0; i < n; i++)
        if (f->out[i].path && !rt_out_commit(&f->out[i].file, err))
            return false;
    return !f->archive || rt_out_commit(&f->archive_file, err);
}

// ---------------------------------------------------------------- the run

// A name stands in a line of its own. Those of the batch's n files that cannot are bad; how many
// are left, in front.
static int leave_unlistable(Features *f, int n) {
    RtErr err;
    int kept = 0;
    for (int i = 0; i < n; i++) {
        char *path = f->batch[i];
        f->batch[i] = NULL;
        if (!strpbrk(path, "\n\r")) {
            f->batch[kept++] = path;
            continue;
        }
        rt_fail(&err, "%s: its name has a line break, and cannot be listed", path);
        rt_tally_bad(&f->tally, err.text);
        rt_tally_step(&f->tally);
        free(path);
    }
    return kept;
}

// Keeps the rows, and names, of the images of the batch's n files that are good.
static bool take_batch(Features *f, int n, RtErr *err) {
    n = leave_unlistable(f, n);
    int64_t first = f->rows, need = first + n;
    if (!rt_images_run(&f->images, f->batch, n, err) || (need > f->room && !grow(f, 2 * need, err)))
        return false;
    for (int i = 0; i < n; i++) {
        f->tally.turned += f->images.turned[i] != 0;
        if (f->images.errors[i].text[0]) {
            rt_tally_bad(&f->tally, f->images.errors[i].text);
        } else {
            f->row_name[f->rows++] = f->batch[i];
            f->batch[i] = NULL;
        }
        rt_tally_step(&f->tally);
    }
    for (int k = 0; k < f->in->desc->n_outputs; k++) {
        Wanted *w = &f->out[k];
        if (w->wanted)
            memcpy(w->data + (size_t)first * w->row, f->images.y[k],
                   (size_t)(f->rows - first) * w->row);
    }
    return true;
}

static bool run_files(Features *f, RtErr *err) {
    int n = 1;
    bool good = true;
    while (good && n > 0) {
        n = rt_inputs_take(f->inputs, f->batch, (int)f->images.slots, err);
        good = n >= 0;
        for (int i = 0; good && rt_inputs_listed(f->inputs) && i < n; i++)
            good = allow_file(f, f->batch[i], err);
        good = good && (n == 0 || take_batch(f, n, err));
        for (int i = 0; i < n; i++)
            free(f->batch[i]);
    }
    return good;
}

static void release(Features *f) {
    for (int i = 0; f->out && i < f->in->desc->n_outputs; i++) {
        rt_out_abort(&f->out[i].file);
        free(f->out[i].data);
    }
    free(f->out);
    rt_out_abort(&f->archive_file);
    rt_out_abort(&f->names);
    rt_images_free(&f->images);
    for (int64_t i = 0; i < f->rows; i++)
        free(f->row_name[i]);
    rt_inputs_close(f->inputs);
    free(f->row_name);
    free(f->batch);
}

static int features(Features *f, RtCliList *outputs, const RtCliList *given) {
    RtErr err;
    rt_outs_watch(f->in->outs, NULL, NULL);
    if (!rt_images_begin(&f->images, f->in, &err) || !open_outputs(f, outputs, &err) ||
        !rt_images_settle(&f->images, &f->set, &err) || !find_files(f, given, &err) ||
        !allocate(f, &err))
        return rt_infer_complain(err.text);
    f->images.model = rt_images_create(&f->images, &f->set);
    if (!f->images.model)
        return RT_EXIT_INPUT;
    bool good = run_files(f, &err);
    rt_tally_clear(&f->tally);
    if (!good || (f->rows && !write_files(f, &err)))
        return rt_infer_complain(err.text);
    return rt_tally_end(&f->tally) ? RT_EXIT_FINE : RT_EXIT_INPUT;
}

int rt_infer_features(const RtInfer *in, int argc, char **argv) {
    Features f = {.in = in, .set = RT_IMAGE_SETTINGS, .images = {.in = in}};
    RtCliList outputs = {0}, given = {0};
    bool help = false;
    const RtCliOption options[] = {
        {"-o|--output", RT_CLI_LIST, &outputs, 0, 0, "[NAME=]FILE",
         "an output, to an .npy file, or all of them by their names to an .npz file"},
        RT_IMAGE_OPTIONS(&f.set),
        {"--help|-h", RT_CLI_FLAG, &help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    RtErr err;
    int code;
    if (!rt_cli_parse(options, N_OPTIONS, argc, argv, &given, &err)) {
        code = rt_infer_usage(in, "features", err.text);
    } else if (help) {
        print_help(in, options, N_OPTIONS);
        code = RT_EXIT_FINE;
    } else if (!given.n || !outputs.n) {
        code = rt_infer_usage(in, "features", given.n ? "no output: give -o" : "no images given");
    } else if (rt_images_conflict(&f.set)) {
        code = rt_infer_usage(in, "features", rt_images_conflict(&f.set));
    } else {
        code = features(&f, &outputs, &given);
    }
    release(&f);
    free(outputs.item);
    free(given.item);
    return code;
}
