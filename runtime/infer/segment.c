// segment IMAGE...: the class of each pixel, as shares of the picture, as JSON, as colours over it,
// and as a picture of numbers, in the form that training reads masks in.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/image/mask.h"
#include "runtime/infer/picture.h"

typedef struct Share {
    int64_t label, pixels;
} Share;

typedef struct Segmentation {
    RtPicture picture;
    const RtPictureArgs *args;
    int64_t classes, height, width; // of the output
    int64_t pixel_step, class_step; // from a pixel's score to the next one's, from class to class
    bool pair;                      // one score for two classes, of the second where above `least`
    double least;
    int32_t *mask;   // [height][width]
    Share *share;    // [classes], of the last picture; then by size
    RtImage numbers; // of the last picture, where --mask asks for them
} Segmentation;

static bool shape_output(Segmentation *s, RtErr *err) {
    const HoneTask *task = &s->picture.d->task;
    const HoneTensorDesc *t = &s->picture.d->outputs[task->mask];
    int first = t->rank == 3 || task->channels_last ? 1 : 2;
    s->height = t->dim[first].c;
    s->width = t->dim[first + 1].c;
    s->classes = task->classes > 0 ? task->classes : INT16_MAX;
    s->pair = task->classes == 2 && t->rank == 4 && t->dim[task->channels_last ? 3 : 1].c == 1;
    s->least = s->picture.d->scores == HONE_SCORES_SIGMOID ||
                       s->picture.d->scores == HONE_SCORES_PROBABILITIES
                   ? 0.5
                   : 0;
    s->pixel_step = task->channels_last && !s->pair ? s->classes : 1;
    s->class_step = task->channels_last ? 1 : s->height * s->width;
    s->mask = calloc((size_t)(s->height * s->width) + 1, sizeof *s->mask);
    s->share = calloc((size_t)s->classes + 1, sizeof *s->share);
    return (s->mask && s->share) || rt_fail(err, "no memory");
}

// Of the scores the greatest, of equals the first; or the class as it is.
static int32_t class_of(const Segmentation *s, int64_t at) {
    int output = s->picture.d->task.mask;
    const RtDtype *type = rt_dtype(s->picture.d->outputs[output].dtype);
    const char *y = s->picture.y[output];
    int64_t best = 0;
    if (!s->picture.d->task.classes) {
        int64_t x = 0; // integers of the machine's byte order: the low bytes come first
        memcpy(&x, y + (size_t)at * type->bytes, type->bytes);
        return x >= 0 && x < s->classes ? (int32_t)x : 0;
    }
    if (s->pair)
        return type->load(y + (size_t)at * type->bytes) > s->least;
    double most = -INFINITY;
    for (int64_t c = 0; c < s->classes; c++) {
        double x = type->load(y + (size_t)(c * s->class_step + at * s->pixel_step) * type->bytes);
        best = x > most ? c : best;
        most = x > most ? x : most;
    }
    return (int32_t)best;
}

// Where a pixel of the picture, or its nearest neighbour, is in the mask; -1: the network never saw
// it.
static int64_t find_pixel(const Segmentation *s, int x, int y) {
    const RtPicture *p = &s->picture;
    double u = (x + 0.5) * (double)p->window.full_width / p->image.width - (double)p->window.left;
    double v = (y + 0.5) * (double)p->window.full_height / p->image.height - (double)p->window.top;
    int64_t i = (int64_t)floor(v * (double)s->height / p->window.height);
    int64_t j = (int64_t)floor(u * (double)s->width / p->window.width);
    return i < 0 || j < 0 || i >= s->height || j >= s->width ? -1 : i * s->width + j;
}

static int compare_shares(const void *a, const void *b) {
    const Share *x = a, *y = b;
    return x->pixels != y->pixels ? (x->pixels < y->pixels) - (x->pixels > y->pixels)
                                  : (x->label > y->label) - (x->label < y->label);
}

// Counts, and colours what is not class 0, the background; in numbers what the network never saw
// does not count.
static void paint(Segmentation *s) {
    RtImage *image = &s->picture.image;
    uint8_t *number = s->numbers.pixel;
    for (int64_t i = 0; i < s->height * s->width; i++)
        s->mask[i] = class_of(s, i);
    for (int64_t c = 0; c < s->classes; c++)
        s->share[c] = (Share){c, 0};
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++) {
            int64_t at = find_pixel(s, x, y), label = at < 0 ? 0 : s->mask[at];
            s->share[label].pixels++;
            if (number)
                *number++ = at < 0 ? RT_MASK_NONE : (uint8_t)label;
            if (label > 0)
                rt_draw_blend(image, x, y, rt_draw_color(label), 0.6);
        }
    qsort(s->share, (size_t)s->classes, sizeof *s->share, compare_shares);
}

static void print_shares(const Segmentation *s, const char *path, double all) {
    char text[64];
    printf("%s\n", RT_SHOW(path));
    for (int64_t i = 0; i < s->classes && s->share[i].pixels > 0; i++)
        printf("  %6.2f%%  %s\n", (double)s->share[i].pixels / all * 100,
               RT_SHOW(rt_picture_label(&s->picture, s->share[i].label, text, sizeof text)));
}

static void write_shares(const Segmentation *s, const char *path, double all) {
    char text[64];
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "file", path);
    rt_json_begin(&j, "classes", '[');
    for (int64_t i = 0; i < s->classes && s->share[i].pixels > 0; i++) {
        rt_json_begin(&j, NULL, '{');
        rt_json_int(&j, "class", s->share[i].label);
        rt_json_text(&j, "label",
                     rt_picture_label(&s->picture, s->share[i].label, text, sizeof text));
        rt_json_number(&j, "share", (double)s->share[i].pixels / all, 6);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    putchar('\n');
}

static void list_shares(const Segmentation *s, const char *path, double all) {
    char text[64];
    for (int64_t i = 0; i < s->classes && s->share[i].pixels > 0; i++) {
        rt_csv_text(stdout, path, true);
        printf(",%lld", (long long)s->share[i].label);
        rt_csv_text(stdout, rt_picture_label(&s->picture, s->share[i].label, text, sizeof text),
                    false);
        printf(",%.6g\n", (double)s->share[i].pixels / all);
    }
}

static bool begin_numbers(Segmentation *s, const char *path, RtErr *err) {
    const RtImage *image = &s->picture.image;
    rt_image_free(&s->numbers);
    return !s->picture.mask.wanted ||
           rt_image_alloc(path, image->width, image->height, 1, &s->numbers, err);
}

// Of a network that gives classes, not their scores, only what it gave tells how many there are.
static bool write_numbers(Segmentation *s, const char *path, RtErr *err) {
    RtOutFile *out = &s->picture.mask.file;
    if (!s->picture.mask.wanted)
        return true;
    for (int64_t c = 0; c < s->classes && s->share[c].pixels > 0; c++)
        if (s->share[c].label >= RT_MASK_NONE)
            return rt_fail(err, "%s: class %lld is none of the %d that a PNG of numbers has", path,
                           (long long)s->share[c].label, RT_MASK_NONE);
    return rt_picture_out_begin(&s->picture.mask, s->picture.in->outs, path, err) &&
           (rt_png_encode_numbers(out->f, &s->numbers) ||
            rt_fail(err, "%s: the mask cannot be written: %s", out->path, strerror(errno))) &&
           rt_out_commit(out, err);
}

static bool segment_file(void *ctx, const char *path, RtErr *err) {
    Segmentation *s = ctx;
    if (!begin_numbers(s, path, err))
        return false;
    paint(s);
    if (!rt_picture_write(&s->picture, path, err) || !write_numbers(s, path, err))
        return false;
    double all = (double)s->picture.image.width * s->picture.image.height;
    (s->args->json ? write_shares : s->args->csv ? list_shares : print_shares)(s, path, all);
    return true;
}

static int segment(Segmentation *s, const RtInfer *in) {
    RtErr err;
    if (!rt_picture_open(&s->picture, in, s->args, &err))
        return err.text[0] ? rt_infer_complain(err.text) : RT_EXIT_INPUT;
    if (!shape_output(s, &err))
        return rt_infer_complain(err.text);
    if (s->args->csv)
        puts("file,class,label,share");
    return rt_picture_each(&s->picture, s, segment_file);
}

int rt_infer_segment(const RtInfer *in, int argc, char **argv) {
    RtPictureArgs args = {0};
    bool help = false;
    Segmentation s = {.args = &args};
    const RtCliOption options[] = {
        RT_PICTURE_OPTIONS(&args, "the picture with the classes' colours over it",
                           "file,class,label,share: a line for each class"),
        {"--mask", RT_CLI_TEXT, &args.mask, 0, 0, "OUT.png|FOLDER/",
         "the class of each pixel as a number, of the picture's size, with a palette of the "
         "colours; 255 where the network saw nothing"},
        {"--help|-h", RT_CLI_FLAG, &help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    int code;
    if (rt_picture_parse(in, "segment",
                         "Says what share of JPEG, PNG and WebP images each class has.", options,
                         N_OPTIONS, &help, argc, argv, &args, &code)) {
        code = segment(&s, in);
        rt_picture_close(&s.picture);
    }
    rt_image_free(&s.numbers);
    free(s.mask);
    free(s.share);
    free(args.files.item);
    return code;
}
