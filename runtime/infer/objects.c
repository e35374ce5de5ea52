// Ends of detectors whose files have none. Of a YOLO: of the boxes that it makes at every place,
// those that are objects, as Ultralytics' predictions choose them: a box is of its best class, and
// hides what it overlaps most of, if that is of its class, too. Of a DETR: each query's best class.
#include "runtime/infer/objects.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/core/rt.h"

enum { MOST_OBJECTS = 300 };

typedef struct Cells { // numbers of an output: a place's, one after the other or one below it
    const RtDtype *type;
    const char *y;
    int64_t places, place_step, number_step;
} Cells;

static double number(const Cells *c, int64_t place, int64_t k) {
    return c->type->load(c->y +
                         (size_t)(place * c->place_step + k * c->number_step) * c->type->bytes);
}

// Its best class, which begin at number `first`.
static RtObject read_place(const Cells *c, int64_t place, int64_t first, int64_t classes) {
    double x = number(c, place, 0), y = number(c, place, 1);
    double w = number(c, place, 2) / 2, h = number(c, place, 3) / 2;
    RtObject o = {{x - w, y - h, x + w, y + h}, -INFINITY, 0, place};
    for (int64_t k = 0; k < classes; k++) {
        double score = number(c, place, first + k);
        o.label = score > o.score ? k : o.label;
        o.score = score > o.score ? score : o.score;
    }
    return o;
}

static int compare_objects(const void *a, const void *b) {
    const RtObject *x = a, *y = b;
    int order = (x->score < y->score) - (x->score > y->score);
    for (int k = 0; order == 0 && k < RT_BOX; k++)
        order = (x->box[k] > y->box[k]) - (x->box[k] < y->box[k]);
    return order;
}

static double area(const double *box) {
    double w = box[2] - box[0], h = box[3] - box[1];
    return w > 0 && h > 0 ? w * h : 0;
}

// What two boxes share, of what they cover together.
static double overlap(const RtObject *a, const RtObject *b) {
    double both[RT_BOX];
    for (int k = 0; k < 2; k++) {
        both[k] = fmax(a->box[k], b->box[k]);
        both[k + 2] = fmin(a->box[k + 2], b->box[k + 2]);
    }
    double shared = area(both), all = area(a->box) + area(b->box) - shared;
    return all > 0 ? shared / all : 0;
}

static bool is_hidden(const RtObject *o, const RtObject *better, int64_t n, double most) {
    for (int64_t i = 0; i < n; i++)
        if (better[i].label == o->label && overlap(&better[i], o) > most)
            return true;
    return false;
}

static Cells cells_of(const HoneModelDesc *d, const void *y) {
    const HoneTensorDesc *output = &d->outputs[d->task.boxes];
    bool columns = d->task.form == HONE_BOXES_COLUMNS;
    int64_t rows = output->dim[1].c, width = output->dim[2].c;
    return (Cells){rt_dtype(output->dtype), y, columns ? width : rows, columns ? 1 : width,
                   columns ? width : 1};
}

RtPoint rt_object_point(const HoneModelDesc *d, const void *y, const RtObject *o, int k) {
    const HoneTask *t = &d->task;
    Cells c = cells_of(d, y);
    int64_t before = t->form == HONE_BOXES_COLUMNS ? t->classes : 2; // or score and class
    int64_t first = RT_BOX + before + (int64_t)k * t->point_numbers;
    return (RtPoint){number(&c, o->place, first), number(&c, o->place, first + 1),
                     t->point_numbers > 2 ? number(&c, o->place, first + 2) : 1};
}

// Where place i of YOLOX's grids is, by strides of 8 to 32, or to 64: its box is told from there.
static void place_cell(const HonePreprocess *p, int64_t places, int64_t i, double *box) {
    int64_t last = 32, cells = 0, width = 0;
    for (int64_t s = 8; s <= last; s *= 2)
        cells += (p->height / s) * (p->width / s);
    last = cells == places ? last : 2 * last;
    int64_t stride = 8;
    for (; stride < last && i >= (p->height / stride) * (p->width / stride); stride *= 2)
        i -= (p->height / stride) * (p->width / stride);
    width = p->width / stride > 0 ? p->width / stride : 1;
    double middle[2] = {(box[0] + box[2]) / 2 + (double)(i % width),
                        (box[1] + box[3]) / 2 + (double)(i / width)};
    double half[2] = {exp(box[2] - box[0]) / 2, exp(box[3] - box[1]) / 2};
    for (int k = 0; k < 2; k++) {
        box[k] = (middle[k] - half[k]) * (double)stride;
        box[k + 2] = (middle[k] + half[k]) * (double)stride;
    }
}

int64_t rt_objects_of_cells(const HoneModelDesc *d, const void *y, double threshold, double most,
                            RtObject *out) {
    const HoneTask *task = &d->task;
    bool columns = task->form == HONE_BOXES_COLUMNS;
    int64_t found = 0, n = 0;
    Cells c = cells_of(d, y);
    for (int64_t i = 0; i < c.places; i++) {
        double sure = columns ? 1 : number(&c, i, RT_BOX);
        if (!(sure >= threshold))
            continue;
        out[found] = read_place(&c, i, columns ? RT_BOX : RT_BOX + 1, task->classes);
        out[found].score *= sure;
        if (task->form == HONE_BOXES_GRID)
            place_cell(&d->preprocess, c.places, i, out[found].box);
        found += out[found].score >= threshold;
    }
    qsort(out, (size_t)found, sizeof *out, compare_objects);
    for (int64_t i = 0; i < found && n < MOST_OBJECTS; i++)
        if (!is_hidden(&out[i], out, n, most))
            out[n++] = out[i];
    return n;
}

// The best class of a query, by numbers that begin at `first`; of a softmax over classes and
// nothing.
static void take_class(const Cells *c, int form, int64_t i, int64_t first, int64_t classes,
                       RtObject *o) {
    double sum = 0;
    for (int64_t k = 0; k < classes; k++) {
        double x = number(c, i, first + k);
        o->label = x > o->score ? k : o->label;
        o->score = x > o->score ? x : o->score;
    }
    for (int64_t k = 0; form == HONE_BOXES_QUERY_SOFTMAX && k <= classes; k++)
        sum += exp(number(c, i, first + k) - o->score);
    if (form != HONE_BOXES_QUERIES)
        o->score = form == HONE_BOXES_QUERY_LOGITS ? 1 / (1 + exp(-o->score)) : 1 / sum;
}

int64_t rt_objects_of_queries(const HoneModelDesc *d, const void *boxes, const void *scores,
                              double threshold, RtObject *out) {
    const HoneTask *task = &d->task;
    const HoneTensorDesc *b = &d->outputs[task->boxes], *s = scores ? &d->outputs[task->scores] : b;
    Cells where = {rt_dtype(b->dtype), boxes, b->dim[1].c, b->dim[2].c, 1};
    Cells what = {rt_dtype(s->dtype), scores ? scores : boxes, s->dim[1].c, s->dim[2].c, 1};
    int64_t first = scores ? 0 : RT_BOX, found = 0;
    for (int64_t i = 0; i < where.places; i++) {
        RtObject o = read_place(&where, i, 0, 0);
        take_class(&what, task->form, i, first, task->classes, &o);
        if (o.score >= threshold)
            out[found++] = o;
    }
    qsort(out, (size_t)found, sizeof *out, compare_objects);
    return found;
}
