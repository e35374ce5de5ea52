// The end of a YOLO whose file has none: of the boxes that it makes at every place, those that are
// objects, as Ultralytics' predictions choose them: a box is of its best class, and hides what it
// overlaps most of, if that is of its class, too.
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
    RtObject o = {{x - w, y - h, x + w, y + h}, -INFINITY, 0};
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

int64_t rt_objects_of_cells(const HoneTask *task, const HoneTensorDesc *output, const void *y,
                            double threshold, double most, RtObject *out) {
    bool columns = task->form == HONE_BOXES_COLUMNS;
    int64_t rows = output->dim[1].c, width = output->dim[2].c, found = 0, n = 0;
    Cells c = {rt_dtype(output->dtype), y, columns ? width : rows, columns ? 1 : width,
               columns ? width : 1};
    for (int64_t i = 0; i < c.places; i++) {
        double sure = columns ? 1 : number(&c, i, RT_BOX);
        if (!(sure >= threshold))
            continue;
        out[found] = read_place(&c, i, columns ? RT_BOX : RT_BOX + 1, task->classes);
        out[found].score *= sure;
        found += out[found].score >= threshold;
    }
    qsort(out, (size_t)found, sizeof *out, compare_objects);
    for (int64_t i = 0; i < found && n < MOST_OBJECTS; i++)
        if (!is_hidden(&out[i], out, n, most))
            out[n++] = out[i];
    return n;
}
