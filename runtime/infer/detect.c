// detect IMAGE...: what a detector finds in pictures, as a list, as JSON, and drawn on one. Boxes
// are in the picture's own pixels, whatever size the network looks at.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/infer/objects.h"
#include "runtime/infer/picture.h"

enum { SHARES = 2, DOT = 5 }; // SHARES: boxes within it are parts of the picture, not pixels
#define SURE_POINT 0.5
#define MOST_SCORE 1.01 // what rounding may make of 1

typedef struct Detector {
    RtPicture picture;
    double threshold, overlap;
    const RtPictureArgs *args;
    RtObject *object;
    int64_t n, capacity;
    int64_t unsound; // boxes of all pictures that were left out
} Detector;

// Column k of entry i of an output with `columns` of them.
static double number(const Detector *c, int output, int64_t i, int64_t columns, int64_t k) {
    const RtDtype *type = rt_dtype(c->picture.d->outputs[output].dtype);
    const char *y = c->picture.y[output] + (size_t)(i * columns + k) * type->bytes;
    int64_t whole;
    if (c->picture.d->outputs[output].dtype == HONE_I64) {
        memcpy(&whole, y, sizeof whole);
        return (double)whole;
    }
    return type->load(y);
}

static int64_t count_found(const Detector *c) {
    const HoneTensorDesc *t = &c->picture.d->outputs[c->picture.d->task.boxes];
    return hone_output_dim(c->picture.model, c->picture.d->task.boxes, t->rank - 2);
}

typedef struct Row { // which of its numbers are what
    int64_t box, score, label;
} Row;
static const Row six = {0, RT_BOX, RT_BOX + 1}, seven = {1, 6, 5};

// Corners of a box that is a middle and a size.
static void spread_box(double *box) {
    for (int k = 0; k < 2; k++) {
        double half = box[k + 2] / 2;
        box[k + 2] = box[k] + half;
        box[k] -= half;
    }
}

// All that the outputs list, in the network's order.
static int64_t read_lists(Detector *c) {
    const HoneTask *t = &c->picture.d->task;
    const HoneTensorDesc *boxes = &c->picture.d->outputs[t->boxes];
    int64_t found = count_found(c), width = boxes->dim[boxes->rank - 1].c;
    bool apart = t->scores >= 0; // scores and classes are outputs of their own
    const Row *row = t->form == HONE_BOXES_SEVENS ? &seven : &six;
    for (int64_t i = 0; i < found && i < c->capacity; i++) {
        RtObject *o = &c->object[i];
        o->place = i;
        o->score =
            apart ? number(c, t->scores, i, 1, 0) : number(c, t->boxes, i, width, row->score);
        double label =
            apart ? number(c, t->labels, i, 1, 0) : number(c, t->boxes, i, width, row->label);
        o->label = label > -1e15 && label < 1e15 ? (int64_t)label : -1;
        for (int k = 0; k < RT_BOX; k++)
            o->box[k] = number(c, t->boxes, i, width, (apart ? 0 : row->box) + k);
        if (t->form == HONE_BOXES_MIDDLES)
            spread_box(o->box);
    }
    return found < c->capacity ? found : c->capacity;
}

// Whether all boxes are shares of the picture: no network finds all that it finds in two pixels.
static bool are_shares(const Detector *c, int64_t found) {
    for (int64_t i = 0; i < found; i++)
        for (int k = 0; k < RT_BOX; k++)
            if (fabs(c->object[i].box[k]) > SHARES)
                return false;
    return true;
}

static double within(double x, double most) {
    return !(x > 0) ? 0 : x > most ? most : x;
}

// From the model's input to the picture.
static void place_box(const Detector *c, bool shares, double *box) {
    const RtPicture *p = &c->picture;
    double w = shares ? p->prep.width : 1, h = shares ? p->prep.height : 1, from[RT_BOX];
    int yx = p->d->task.yx != 0;
    memcpy(from, box, sizeof from);
    for (int k = 0; k < RT_BOX; k += 2) {
        box[k] = within(rt_picture_x(p, from[k + yx] * w), p->image.width);
        box[k + 1] = within(rt_picture_y(p, from[k + !yx] * h), p->image.height);
    }
}

// Scores are probabilities, and the corners of a box stand in their order.
static bool is_sound(const RtObject *o) {
    return o->score >= 0 && o->score <= MOST_SCORE && o->box[0] <= o->box[2] &&
           o->box[1] <= o->box[3];
}

// What is at least as certain as asked for.
static void collect(Detector *c) {
    const HoneModelDesc *d = c->picture.d;
    const HoneTask *t = &d->task;
    char **y = c->picture.y;
    int64_t found = t->form < HONE_BOXES_COLUMNS ? read_lists(c)
                    : t->form < HONE_BOXES_QUERIES
                        ? rt_objects_of_cells(d, y[t->boxes], c->threshold, c->overlap, c->object)
                        : rt_objects_of_queries(d, y[t->boxes], t->scores < 0 ? NULL : y[t->scores],
                                                c->threshold, c->object);
    bool shares = are_shares(c, found);
    c->n = 0;
    for (int64_t i = 0; i < found; i++) {
        bool sound = is_sound(&c->object[i]), counts = !(c->object[i].score < c->threshold);
        place_box(c, shares, c->object[i].box);
        c->unsound += counts && !sound;
        if (counts && sound)
            c->object[c->n++] = c->object[i];
    }
}

// Point k of an object's pose, in the picture.
static RtPoint point_of(const Detector *c, const RtObject *o, int k) {
    const RtPicture *p = &c->picture;
    RtPoint x = rt_object_point(p->d, p->y[p->d->task.boxes], o, k);
    return (RtPoint){rt_picture_x(p, x.x), rt_picture_y(p, x.y), x.sure};
}

static void write_points(const Detector *c, const RtObject *o, RtJson *j) {
    rt_json_begin(j, "keypoints", '[');
    for (int k = 0; k < c->picture.d->task.points; k++) {
        RtPoint x = point_of(c, o, k);
        rt_json_begin(j, NULL, '[');
        rt_json_number(j, NULL, x.x, 6);
        rt_json_number(j, NULL, x.y, 6);
        rt_json_number(j, NULL, x.sure, 6);
        rt_json_end(j, ']');
    }
    rt_json_end(j, ']');
}

static void print_objects(const Detector *c, const char *path) {
    char text[64];
    printf("%s\n", RT_SHOW(path));
    for (int64_t i = 0; i < c->n; i++) {
        const RtObject *o = &c->object[i];
        printf("  %6.2f%%  %-16s  %.0f,%.0f to %.0f,%.0f\n", o->score * 100,
               RT_SHOW(rt_picture_label(&c->picture, o->label, text, sizeof text)), o->box[0],
               o->box[1], o->box[2], o->box[3]);
    }
}

static void write_objects(const Detector *c, const char *path) {
    char text[64];
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "file", path);
    rt_json_begin(&j, "objects", '[');
    for (int64_t i = 0; i < c->n; i++) {
        const RtObject *o = &c->object[i];
        rt_json_begin(&j, NULL, '{');
        rt_json_int(&j, "class", o->label);
        rt_json_text(&j, "label", rt_picture_label(&c->picture, o->label, text, sizeof text));
        rt_json_number(&j, "score", o->score, 6);
        rt_json_begin(&j, "box", '[');
        for (int k = 0; k < RT_BOX; k++)
            rt_json_number(&j, NULL, o->box[k], 6);
        rt_json_end(&j, ']');
        if (c->picture.d->task.points)
            write_points(c, o, &j);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    putchar('\n');
}

// Points that are sure enough, as small squares.
static void draw_points(Detector *c, const RtObject *o) {
    for (int k = 0; k < c->picture.d->task.points; k++) {
        RtPoint x = point_of(c, o, k);
        bool inside =
            x.x >= 0 && x.y >= 0 && x.x < c->picture.image.width && x.y < c->picture.image.height;
        for (int at = 0; inside && x.sure >= SURE_POINT && at < DOT * DOT; at++)
            rt_draw_blend(&c->picture.image, (int)x.x + at % DOT - DOT / 2,
                          (int)x.y + at / DOT - DOT / 2, rt_draw_color(1 + k % 255), 1);
    }
}

// The surest is drawn last, over the others.
static void draw_objects(Detector *c) {
    for (int64_t i = c->n; i-- > 0;) {
        const RtObject *o = &c->object[i];
        char text[64], name[128];
        snprintf(name, sizeof name, "%s %.0f%%",
                 RT_SHOW(rt_picture_label(&c->picture, o->label, text, sizeof text)),
                 o->score * 100);
        rt_draw_box(&c->picture.image, o->box,
                    rt_draw_color(1 + (o->label < 0 ? 0 : o->label % 255)), name);
        draw_points(c, o);
    }
}

static void list_objects(const Detector *c, const char *path) {
    char text[64];
    for (int64_t i = 0; i < c->n; i++) {
        const RtObject *o = &c->object[i];
        rt_csv_text(stdout, path, true);
        printf(",%lld", (long long)o->label);
        rt_csv_text(stdout, rt_picture_label(&c->picture, o->label, text, sizeof text), false);
        printf(",%.6g,%.6g,%.6g,%.6g,%.6g\n", o->score, o->box[0], o->box[1], o->box[2], o->box[3]);
    }
}

static bool detect_file(void *ctx, const char *path, RtErr *err) {
    Detector *c = ctx;
    collect(c);
    if (c->picture.drawn.wanted)
        draw_objects(c);
    if (!rt_picture_write(&c->picture, path, err))
        return false;
    (c->args->json ? write_objects : c->args->csv ? list_objects : print_objects)(c, path);
    return true;
}

static int detect(Detector *c, const RtInfer *in) {
    RtErr err;
    if (!rt_picture_open(&c->picture, in, c->args, &err))
        return err.text[0] ? rt_infer_complain(err.text) : RT_EXIT_INPUT;
    const HoneTensorDesc *boxes = &in->desc->outputs[in->desc->task.boxes];
    bool columns = in->desc->task.form == HONE_BOXES_COLUMNS;
    c->capacity = boxes->dim[boxes->rank - (columns ? 1 : 2)].c;
    c->object = calloc((size_t)c->capacity + 1, sizeof *c->object);
    if (!c->object)
        return rt_infer_complain("no memory");
    if (c->args->csv)
        puts("file,class,label,score,left,top,right,bottom");
    int code = rt_picture_each(&c->picture, c, detect_file);
    if (c->unsound)
        fprintf(stderr,
                "boxes left out: %lld, whose scores are not from 0 to 1 or whose corners stand in "
                "the wrong order\n",
                (long long)c->unsound);
    return code;
}

int rt_infer_detect(const RtInfer *in, int argc, char **argv) {
    RtPictureArgs args = {0};
    float threshold = 0.5f, overlap = 0.7f;
    bool help = false;
    Detector c = {.args = &args};
    const RtCliOption options[] = {
        RT_PICTURE_OPTIONS(&args, "the picture with boxes and names on it",
                           "file,class,label,score,left,top,right,bottom: a line for each object"),
        {"--threshold", RT_CLI_FLOAT, &threshold, 0, 1, "F",
         "least score that counts (default 0.5)"},
        {"--overlap", RT_CLI_FLOAT, &overlap, 0, 1, "F",
         "boxes of one class that share more are one object (default 0.7), where the network does "
         "not choose"},
        {"--help|-h", RT_CLI_FLAG, &help, 0, 0, NULL, "this text"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    int code;
    if (rt_picture_parse(
            in, "detect",
            "Says what is in JPEG, PNG and WebP images, and where: score, name, and the box's\n"
            "corners in pixels.",
            options, N_OPTIONS, &help, argc, argv, &args, &code)) {
        c.threshold = (double)threshold;
        c.overlap = (double)overlap;
        code = detect(&c, in);
        rt_picture_close(&c.picture);
    }
    free(c.object);
    free(args.files.item);
    return code;
}
