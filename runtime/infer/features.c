// features IMAGE|FOLDER... -o OUT.npy: what the model's outputs hold for each image, a row each,
// and beside the array the images' names, a line each. A bad image is a line on stderr (and an exit
// code of 1 in the end) and no row; files appear when all is done, unless no image was good.
#define _GNU_SOURCE
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/image/image.h"
#include "runtime/file/npy.h"
#include "runtime/infer/images.h"

typedef struct Wanted { // an output that goes to a file
    const HoneTensorDesc *t;
    const char *path; // NULL: not wanted
    RtOutFile file;
    size_t row; // bytes for an image
    char *data; // [rows][row]
} Wanted;

typedef struct Features {
    const RtInfer *in;
    RtImageSettings set;
    RtImages images;
    RtCliList files;       // owned
    const char **row_name; // [rows], of files
    int64_t rows;
    Wanted *out; // [n_outputs]
    RtOutFile names;
    bool named;
    int failed;
} Features;

static void print_help(const RtInfer *in, const RtCliOption *options, int n) {
    const HoneModelDesc *d = in->desc;
    char text[512];
    printf(
        "Usage: %s features [OPTION...] -o [NAME=]OUT.npy... IMAGE|FOLDER...\n\n"
        "Writes what the model gives for each image as an array, a row for each, and the images'\n"
        "names to OUT.txt, a line for each row. Of a folder, all .jpg, .jpeg, .png and .webp files "
        "below\n"
        "it in the order of their names. NAME may be left out where the model has only one "
        "output.\n"
        "hone compile --output NODE makes a program whose outputs are embeddings.\n\n",
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

// ---------------------------------------------------------------- which images

// A name stands in a line of its own.
static bool add_file(Features *f, const char *path, RtErr *err) {
    if (strpbrk(path, "\n\r"))
        return rt_fail(err, "%s: its name has a line break, and cannot be listed", path);
    if (!rt_outs_allow(f->in->outs, path, 0, err))
        return false;
    const char **grown = realloc(f->files.item, (size_t)(f->files.n + 1) * sizeof *grown);
    char *copy = strdup(path);
    if (grown)
        f->files.item = grown;
    if (!grown || !copy) {
        free(copy);
        return rt_fail(err, "no memory");
    }
    f->files.item[f->files.n++] = copy;
    return true;
}

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

// Hidden files and folders are left out; links are followed.
static bool add_folder(Features *f, const char *path, RtErr *err) {
    FTS *walk = fts_open((char *[]){(char *)path, NULL}, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    int before = f->files.n;
    bool good = walk || rt_fail(err, "%s: %s", path, strerror(errno));
    for (FTSENT *e; good && (e = fts_read(walk));) {
        if (e->fts_level > 0 && e->fts_name[0] == '.')
            fts_set(walk, e, FTS_SKIP);
        else if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
            good = rt_fail(err, "%s: %s", e->fts_path, strerror(e->fts_errno));
        else if (e->fts_info == FTS_F && rt_image_is_name(e->fts_name))
            good = add_file(f, e->fts_path, err);
    }
    if (walk)
        fts_close(walk);
    if (good && f->files.n == before)
        good = rt_fail(err, "%s: there are no .jpg, .jpeg, .png or .webp files", path);
    return good;
}

static bool find_files(Features *f, const RtCliList *given, RtErr *err) {
    struct stat st;
    for (int i = 0; i < given->n; i++) {
        bool folder = stat(given->item[i], &st) == 0 && S_ISDIR(st.st_mode);
        if (!(folder ? add_folder : add_file)(f, given->item[i], err))
            return false;
    }
    return true;
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

static bool allocate(Features *f, RtErr *err) {
    size_t n = (size_t)f->files.n;
    bool good = rt_images_allocate(&f->images, &f->set, f->files.n, err);
    f->row_name = calloc(n + 1, sizeof *f->row_name);
    for (int i = 0; good && i < f->in->desc->n_outputs; i++) {
        Wanted *w = &f->out[i];
        w->t = &f->images.unit->outputs[i];
        if (!w->path)
            continue;
        good = check_rows(w, &f->images, err);
        size_t bytes;
        if (good && (__builtin_mul_overflow(n, w->row, &bytes) || !(w->data = malloc(bytes + 1))))
            good = rt_fail(err, "no memory for output '%s' of %zu images", w->t->name, n);
    }
    return good && (f->row_name || rt_fail(err, "no memory"));
}

// "f.txt" beside "f.npy"; a device or a pipe has no place beside it.
static bool open_names(Features *f, const Wanted *w, RtErr *err) {
    size_t n = strlen(w->path);
    bool ends = n > 4 && strcmp(w->path + n - 4, ".npy") == 0;
    char *path;
    if (f->named || rt_out_is_through(&w->file))
        return true;
    if (asprintf(&path, "%.*s.txt", (int)(ends ? n - 4 : n), w->path) < 0)
        return rt_fail(err, "no memory");
    f->named = rt_out_open(&f->names, f->in->outs, path, RT_OUT_WHOLE, err);
    free(path);
    return f->named;
}

static bool open_outputs(Features *f, const RtCliList *outputs, RtErr *err) {
    const HoneModelDesc *d = f->in->desc;
    const char **path = calloc((size_t)d->n_outputs, sizeof *path);
    f->out = calloc((size_t)d->n_outputs, sizeof *f->out);
    bool good = (path && f->out) || rt_fail(err, "no memory");
    good = good && rt_infer_assign(d->outputs, d->n_outputs, "output", outputs, path, err);
    for (int i = 0; good && i < d->n_outputs; i++) {
        Wanted *w = &f->out[i];
        *w = (Wanted){.t = &d->outputs[i], .path = path[i]};
        good = !w->path || (rt_out_open(&w->file, f->in->outs, w->path, RT_OUT_WHOLE, err) &&
                            open_names(f, w, err));
    }
    free(path);
    return good;
}

static bool write_array(Features *f, Wanted *w, RtErr *err) {
    int64_t dim[HONE_MAX_RANK] = {f->rows};
    for (int k = 1; k < w->t->rank; k++)
        dim[k] = w->t->dim[k].c;
    if (!rt_out_begin(&w->file, err))
        return false;
    if (!rt_npy_write(&w->file, w->t->dtype, w->t->rank, dim, w->data))
        return rt_fail(err, "%s: output '%s' cannot be written as .npy", w->path, w->t->name);
    return rt_out_finish(&w->file, err);
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
    if (!write_names(f, err) || (f->named && !rt_out_commit(&f->names, err)))
        return false;
    for (int i = 0; i < n; i++)
        if (f->out[i].path && !rt_out_commit(&f->out[i].file, err))
            return false;
    return true;
}

// ---------------------------------------------------------------- the run

// Keeps the rows of the images of files[0..n) that are good.
static bool take_batch(Features *f, const char *const *files, int n, RtErr *err) {
    if (!rt_images_run(&f->images, files, n, err))
        return false;
    int64_t first = f->rows;
    for (int i = 0; i < n; i++) {
        if (f->images.errors[i].text[0]) {
            f->failed++;
            rt_infer_complain(f->images.errors[i].text);
        } else {
            f->row_name[f->rows++] = files[i];
        }
    }
    for (int k = 0; k < f->in->desc->n_outputs; k++) {
        Wanted *w = &f->out[k];
        if (w->path)
            memcpy(w->data + (size_t)first * w->row, f->images.y[k],
                   (size_t)(f->rows - first) * w->row);
    }
    return true;
}

static bool run_files(Features *f, RtErr *err) {
    for (int i = 0; i < f->files.n; i += (int)f->images.slots) {
        int left = f->files.n - i, n = left < f->images.slots ? left : (int)f->images.slots;
        if (!take_batch(f, f->files.item + i, n, err))
            return false;
    }
    return true;
}

static void release(Features *f) {
    for (int i = 0; f->out && i < f->in->desc->n_outputs; i++) {
        rt_out_abort(&f->out[i].file);
        free(f->out[i].data);
    }
    free(f->out);
    rt_out_abort(&f->names);
    rt_images_free(&f->images);
    for (int i = 0; i < f->files.n; i++)
        free((char *)f->files.item[i]);
    free(f->files.item);
    free(f->row_name);
}

static int features(Features *f, const RtCliList *outputs, const RtCliList *given) {
    RtErr err;
    rt_outs_watch(f->in->outs, NULL, NULL);
    if (!rt_images_begin(&f->images, f->in, &err) || !open_outputs(f, outputs, &err) ||
        !rt_images_settle(&f->images, &f->set, &err) || !find_files(f, given, &err) ||
        !allocate(f, &err))
        return rt_infer_complain(err.text);
    f->images.model = rt_images_create(&f->images, &f->set);
    if (!f->images.model)
        return RT_EXIT_INPUT;
    if (!run_files(f, &err) || (f->rows && !write_files(f, &err)))
        return rt_infer_complain(err.text);
    return f->failed ? RT_EXIT_INPUT : RT_EXIT_FINE;
}

int rt_infer_features(const RtInfer *in, int argc, char **argv) {
    Features f = {.in = in, .set = RT_IMAGE_SETTINGS, .images = {.in = in}};
    RtCliList outputs = {0}, given = {0};
    bool help = false;
    const RtCliOption options[] = {
        {"-o|--output", RT_CLI_LIST, &outputs, 0, 0, "[NAME=]FILE", "an output, to an .npy file"},
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
