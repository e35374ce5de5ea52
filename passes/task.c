// What a network's outputs say of a picture, where they do not say of which class it is: where
// things are, or of which class each pixel is.
//
//   %b: f32[300,4], %s: f32[300], %l: i64[300]
//                           boxes, their scores, their classes: torchvision, SSD
//   %y: f32[1,300,6]        rows of x, y, x, y, score, class: YOLO with its end; of its poses and
//                           shapes the numbers stand behind these
//   %y: f32[1,300,6]        rows of x, y, w, h, score, class: RT-DETR with its end
//   %y: f32[300,7]          rows of image, x, y, x, y, class, score: YOLO 7 with its end
//   %y: f32[1,84,8400]      columns of x, y, w, h, scores of classes: YOLO 8 and later, without it
//   %y: f32[1,25200,85]     rows of x, y, w, h, whether anything is there, scores: YOLO 3 to 7
//   %y: f32[1,8400,85]      the same of one box a cell, YOLOX; without its end where no Exp is left
//   %b: f32[1,300,4], %s: f32[1,300,80]
//                           queries' x, y, w, h and scores of classes: DETR and its kin
//   %y: f32[1,300,84]       both in one, behind a TopK: RT-DETR
//   %y: f32[1,21,520,520]   scores of classes for each pixel: a segmentation; or [1,520,520,21]
//
// Rows of six are boxes only where the network chose or sorted something; those of a YOLO without
// its end are known by their number, which is that of the cells of its grids.
#include "passes/util.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum {
    CORNERS = 4,
    ROW = 6,
    MOST_POINTS = 1000,
    SEVEN = 7,
    MOST_PIXELS = 1 << 20,
    MOST_RATIO = 64
};

static bool has_name(const IrValue *v, const char *part) {
    char low[128] = "";
    for (size_t i = 0; v->name && v->name[i] && i + 1 < sizeof low; i++)
        low[i] = (char)tolower((unsigned char)v->name[i]);
    return strstr(low, part) != NULL;
}

// [K, last] or [1, K, last]; *count: K.
static bool is_list(const IrValue *v, int64_t last, IrDim *count) {
    const IrShape *s = &v->type.shape;
    int extra = last > 0;
    bool fits = s->rank == 1 + extra || (s->rank == 2 + extra && ir_dim_is(s->dim[0], 1));
    if (!fits || (extra && !ir_dim_is(s->dim[s->rank - 1], last)))
        return false;
    *count = s->dim[s->rank - 1 - extra];
    return !count->n;
}

static bool has_op(const IrGraph *g, IrOp op) {
    for (const IrNode *n = g->first; n; n = n->next)
        if (n->op == op)
            return true;
    return false;
}

// What made a value, behind moves; of what is joined the last part, or the first.
static const IrNode *maker_of(const IrValue *v, bool last) {
    const IrNode *n = v->def;
    while (n &&
           (n->op == IR_OP_RESHAPE || n->op == IR_OP_TRANSPOSE || n->op == IR_OP_CONCAT ||
            n->op == IR_OP_CAST || n->op == IR_OP_COPY || n->op == IR_OP_GATHER ||
            n->op == IR_OP_GATHER_ELEMENTS || n->op == IR_OP_GATHER_ND || n->op == IR_OP_SLICE))
        n = ir_in(n, n->op == IR_OP_CONCAT && last ? n->n_in - 1 : 0)->def;
    return n;
}

// ---------------------------------------------------------------- detectors

// What Ultralytics says that a network does, another thing than that.
static bool has_other_task(const IrGraph *g, const char *task) {
    const char *told = ir_meta(g->prog, "task");
    return told && strcmp(told, task) != 0;
}

static bool find_boxes(const IrGraph *g, int own, PassTask *t, IrDim *count) {
    for (int i = 0; i < own && t->boxes < 0; i++)
        if (ir_dtype_is_float(g->outputs[i]->type.dtype) && is_list(g->outputs[i], 4, count))
            t->boxes = i;
    return t->boxes >= 0;
}

// Lists as long as the boxes: classes are integers, or called so.
static bool find_lists(const IrGraph *g, int own, IrDim count, PassTask *t) {
    IrDim n;
    for (int i = 0; i < own; i++) {
        const IrValue *v = g->outputs[i];
        if (!is_list(v, 0, &n) || !ir_dim_eq(n, count))
            continue;
        bool number = ir_dtype_is_float(v->type.dtype);
        bool named = has_name(v, "label") || has_name(v, "class");
        if ((!number || named) && t->labels < 0)
            t->labels = i;
        else if (number && (t->scores < 0 || has_name(v, "score")))
            t->scores = i;
    }
    return t->scores >= 0 && t->labels >= 0;
}

// COCO's, by the scores that the boxes are chosen from: 91 numbers of classes of which some have no
// name, or the 80 that have one. 0: nothing tells.
static int count_classes(const IrGraph *g) {
    int found = 0;
    for (const IrNode *n = g->first; n; n = n->next) {
        const IrShape *s = &n->out[0]->type.shape;
        bool scores = n->op == IR_OP_SOFTMAX || n->op == IR_OP_SIGMOID;
        for (int i = 0; i < s->rank && scores; i++) {
            found = ir_dim_is(s->dim[i], 91) ? 91 : found;
            found = !found && ir_dim_is(s->dim[i], 80) ? 80 : found;
        }
    }
    return found;
}

// Cells of the grids that YOLO looks at: one, or a few boxes, for each.
static int64_t count_cells(int64_t height, int64_t width, int first, int last) {
    int64_t n = 0;
    for (int stride = first; stride <= last; stride *= 2)
        n += (height / stride) * (width / stride);
    return n;
}

static bool is_grid(int64_t boxes, int64_t each, int64_t height, int64_t width) {
    static const int strides[][2] = {{8, 32}, {8, 64}, {4, 32}, {16, 32}};
    bool found = false;
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++)
        found |= boxes == each * count_cells(height, width, strides[i][0], strides[i][1]);
    return found && boxes > 0;
}

// Numbers of a box that say which shapes its mask is made of: as many as there are shapes.
static int64_t count_coefficients(const IrGraph *g, int own, int64_t height) {
    for (int i = 0; i < own; i++) {
        const IrShape *s = &g->outputs[i]->type.shape;
        if (s->rank == 4 && !s->dim[1].n && !s->dim[2].n && s->dim[2].c * 4 == height)
            return s->dim[1].c;
    }
    return 0;
}

// YOLOX: rows of one box a cell; another YOLO has distributions of its distances, or says so.
static bool is_alone(const IrGraph *g, const IrDim *d, int64_t height, int64_t width) {
    return is_grid(d[1].c, 1, height, width) && !has_op(g, IR_OP_SOFTMAX) &&
           !ir_meta(g->prog, "task");
}

// What Ultralytics says of a pose: "[17, 3]", points and the numbers of each. False: it is none.
static bool read_points(const IrGraph *g, PassTask *t) {
    const char *shape = ir_meta(g->prog, "kpt_shape");
    bool told = shape && sscanf(shape, "[%d, %d]", &t->points, &t->point_numbers) == 2;
    return told && t->points > 0 && t->points <= MOST_POINTS &&
           (t->point_numbers == 2 || t->point_numbers == 3);
}

// Boxes that an output has for the rows, or the columns, of this one: a DETR's pair, say. So has
// no YOLO without its end.
static bool has_boxes_apart(const IrGraph *g, int own, const IrValue *y) {
    const IrDim *d = y->type.shape.dim;
    for (int i = 0; i < own; i++) {
        const IrShape *s = &g->outputs[i]->type.shape;
        bool rows = s->rank == 3 && ir_dim_eq(s->dim[1], d[1]) && ir_dim_is(s->dim[2], CORNERS);
        bool columns = s->rank == 3 && ir_dim_eq(s->dim[2], d[2]) && ir_dim_is(s->dim[1], CORNERS);
        if (g->outputs[i] != y && (rows || columns))
            return true;
    }
    return false;
}

// A YOLO without its end. Turned boxes have other numbers in the place of classes, poses their
// points behind them.
static bool find_cells(const IrGraph *g, int own, int64_t height, int64_t width, PassTask *t) {
    bool pose = ir_meta(g->prog, "task") && !has_other_task(g, "pose");
    bool other =
        pose ? !read_points(g, t) : has_other_task(g, "detect") && has_other_task(g, "segment");
    for (int i = 0; i < own && !other; i++) {
        const IrType *y = &g->outputs[i]->type;
        const IrDim *d = y->shape.dim;
        if (!ir_dtype_is_float(y->dtype) || y->shape.rank != 3 || d[0].c + d[0].n != 1 || d[1].n ||
            d[2].n || has_boxes_apart(g, own, g->outputs[i]))
            continue;
        bool columns = is_grid(d[2].c, 1, height, width);
        bool chosen = has_op(g, IR_OP_TOP_K); // a RT-DETR's rows
        bool rows = !columns && !chosen && is_grid(d[1].c, 3, height, width);
        bool grid = !columns && !rows && !chosen && is_alone(g, d, height, width);
        rows = rows || grid;
        int64_t classes = (columns ? d[1].c - 4 : d[2].c - 5) -
                          (int64_t)t->points * t->point_numbers -
                          count_coefficients(g, own, height);
        if ((columns || (rows && !pose)) && classes > 0) {
            t->boxes = i;
            t->form = columns                         ? PASS_BOXES_COLUMNS
                      : grid && !has_op(g, IR_OP_EXP) ? PASS_BOXES_GRID
                                                      : PASS_BOXES_ROWS;
            t->family = grid ? PASS_FAMILY_YOLOX : PASS_FAMILY_OTHER;
            t->classes = (int)classes;
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------- queries

enum { COCO_AND_NOTHING = 92, MOST_QUERIES = 1000 }; // DETR's classes, the last of which is none

// [1, K, last] or [N, K, last]; last 0: any above 1.
static bool is_queries(const IrValue *v, int64_t last) {
    const IrShape *s = &v->type.shape;
    bool list = ir_dtype_is_float(v->type.dtype) && s->rank == 3 && s->dim[0].c + s->dim[0].n == 1;
    return list && !s->dim[1].n && s->dim[1].c > 1 && s->dim[1].c <= MOST_QUERIES && !s->dim[2].n &&
           (last ? s->dim[2].c == last : s->dim[2].c > 1);
}

// What made probabilities of `classes` scores; moves stand in between.
static PassBoxes form_of(const IrValue *v, int64_t classes) {
    const IrNode *n = maker_of(v, true);
    bool sure = n && (n->op == IR_OP_SIGMOID || n->op == IR_OP_SOFTMAX);
    return sure                          ? PASS_BOXES_QUERIES
           : classes == COCO_AND_NOTHING ? PASS_BOXES_QUERY_SOFTMAX
                                         : PASS_BOXES_QUERY_LOGITS;
}

// By the names that DETR's kin give them: boxes of others are corners, and overlap.
static bool are_pair(const IrValue *boxes, const IrValue *scores) {
    bool named = (has_name(boxes, "pred_box") && has_name(scores, "logits")) ||
                 (has_name(boxes, "dets") && has_name(scores, "labels"));
    return named && is_queries(boxes, CORNERS) && is_queries(scores, 0) &&
           ir_dim_eq(boxes->type.shape.dim[1], scores->type.shape.dim[1]);
}

static bool find_pair(const IrGraph *g, int own, PassTask *t) {
    for (int i = 0; i < own; i++)
        for (int k = 0; k < own; k++)
            if (t->boxes < 0 && are_pair(g->outputs[i], g->outputs[k])) {
                t->boxes = i;
                t->scores = k;
            }
    return t->boxes >= 0;
}

static bool find_queries(const IrGraph *g, int own, PassTask *t) {
    const IrValue *v = own == 1 ? g->outputs[0] : NULL;
    bool one = v && has_op(g, IR_OP_TOP_K) && !has_op(g, IR_OP_NMS) && is_queries(v, 0) &&
               v->type.shape.dim[2].c > ROW;
    if (has_other_task(g, "detect") || (!one && !find_pair(g, own, t)))
        return false;
    t->boxes = one ? 0 : t->boxes;
    v = g->outputs[one ? 0 : t->scores];
    int64_t classes = v->type.shape.dim[2].c - (one ? CORNERS : 0);
    t->form = form_of(v, classes);
    t->classes = (int)classes - (t->form == PASS_BOXES_QUERY_SOFTMAX);
    bool detr = t->form == PASS_BOXES_QUERY_SOFTMAX || has_name(g->outputs[t->boxes], "dets");
    t->family = one ? PASS_FAMILY_RT_DETR : detr ? PASS_FAMILY_DETR : PASS_FAMILY_OTHER;
    return true;
}

// Numbers of a row behind box, score and class; -1: those of turned boxes, say.
static int64_t count_behind(const IrGraph *g, int own, int64_t height, PassTask *t) {
    if (!has_other_task(g, "detect"))
        return 0;
    if (!has_other_task(g, "pose"))
        return read_points(g, t) ? (int64_t)t->points * t->point_numbers : -1;
    return has_other_task(g, "segment") ? -1 : count_coefficients(g, own, height);
}

// The boxes in front of such rows are what a sigmoid made: the middle and the size, as parts of
// the picture.
static bool are_middles(const IrValue *rows) {
    const IrNode *join = rows->def;
    while (join && (join->op == IR_OP_RESHAPE || join->op == IR_OP_CAST || join->op == IR_OP_COPY))
        join = ir_in(join, 0)->def;
    const IrNode *n = join && join->op == IR_OP_CONCAT ? maker_of(ir_in(join, 0), false) : NULL;
    return n && n->op == IR_OP_SIGMOID;
}

static bool find_rows(const IrGraph *g, int own, int64_t height, PassTask *t) {
    bool suppressed = has_op(g, IR_OP_NMS), chosen = suppressed || has_op(g, IR_OP_TOP_K);
    int64_t behind = count_behind(g, own, height, t);
    for (int i = 0; i < own && (own == 1 || behind > 0) && behind >= 0; i++) {
        const IrValue *v = g->outputs[i];
        IrDim count;
        if (!ir_dtype_is_float(v->type.dtype))
            continue;
        bool rows = chosen && v->type.shape.rank == 3 && is_list(v, ROW + behind, &count);
        bool sevens = !behind && suppressed && v->type.shape.rank == 2 && is_list(v, SEVEN, &count);
        if (!sevens && (!rows || count.c <= 1))
            continue;
        bool middles = rows && !suppressed && are_middles(v);
        t->boxes = i;
        t->form = sevens ? PASS_BOXES_SEVENS : middles ? PASS_BOXES_MIDDLES : PASS_BOXES_LISTS;
        t->family = middles ? PASS_FAMILY_RT_DETR : PASS_FAMILY_OTHER;
        return true;
    }
    t->points = t->point_numbers = 0;
    return false;
}

static bool find_detector(const IrGraph *g, int own, int64_t height, PassTask *t) {
    IrDim count = {0};
    if (find_boxes(g, own, t, &count) && find_lists(g, own, count, t)) {
        t->yx = has_name(g->outputs[t->boxes], "detection_boxes"); // TensorFlow's
        return true;
    }
    t->boxes = t->scores = t->labels = -1;
    return find_rows(g, own, height, t);
}

// ---------------------------------------------------------------- segmentations

// [N, H, W] or [N, 1, H, W] of integers, [N, C, H, W] of floats, or with its channels last, an
// integer factor below the picture's size, where three channels are a picture; of any size where C
// names are told. One channel is two classes where it ends in a sigmoid, or two names are told.
static bool is_mask(const IrValue *v, const PassPicture *p, bool last, int labels, bool yes) {
    const IrShape *s = &v->type.shape;
    bool number = ir_dtype_is_float(v->type.dtype);
    if (s->rank != 4 && (number || s->rank != 3))
        return false;
    for (int i = 1; i < s->rank; i++)
        if (s->dim[i].n || s->dim[i].c < 1 || s->dim[i].c > MOST_PIXELS)
            return false;
    int first = s->rank == 4 && !last ? 2 : 1;
    int64_t h = s->dim[first].c, w = s->dim[first + 1].c;
    int64_t classes = s->rank == 4 ? s->dim[last ? 3 : 1].c : 1;
    bool scaled = p->height % h == 0 && p->width % w == 0 && p->height / h == p->width / w &&
                  h > 1 && w > 1 && p->height / h <= MOST_RATIO;
    bool pair = number && classes == 1 && (yes || labels == 2);
    bool told = labels > 1 && h * w > 1 && (!number || pair || classes == labels);
    return (told || (scaled && classes != 3)) && (number ? pair || classes > 1 : classes == 1);
}

// What could be read both ways has its channels where the picture has them.
static bool find_segmentation(IrGraph *g, int own, const PassPicture *p, int labels, PassTask *t) {
    for (int i = 0; i < own; i++) {
        bool yes = pass_scores(g, i).kind == PASS_SCORES_SIGMOID;
        bool fits = is_mask(g->outputs[i], p, p->channels_last, labels, yes);
        bool other = !fits && is_mask(g->outputs[i], p, !p->channels_last, labels, yes);
        if ((fits || other) && (t->mask < 0 || has_name(g->outputs[t->mask], "aux"))) {
            t->mask = i;
            t->channels_last = fits == p->channels_last;
        }
    }
    return t->mask >= 0;
}

PassTask pass_task(IrGraph *g, int classifier, const PassPicture *picture, int labels) {
    PassTask t = {.boxes = -1, .scores = -1, .labels = -1, .mask = -1};
    int own = ir_own_outputs(g);
    if (classifier < 0 && find_cells(g, own, picture->height, picture->width, &t)) {
        t.kind = PASS_TASK_DETECT;
    } else if (classifier < 0 && find_detector(g, own, picture->height, &t)) {
        t.kind = PASS_TASK_DETECT;
        t.classes = count_classes(g);
    } else if (classifier < 0 && find_queries(g, own, &t)) {
        t.kind = PASS_TASK_DETECT;
    } else if (classifier < 0 && find_segmentation(g, own, picture, labels, &t)) {
        const IrType *y = &g->outputs[t.mask]->type;
        t.kind = PASS_TASK_SEGMENT;
        t.classes = ir_dtype_is_float(y->dtype) ? (int)y->shape.dim[t.channels_last ? 3 : 1].c : 0;
        t.classes = t.classes == 1 ? 2 : t.classes;
    }
    return t;
}
