// Ops of the reference evaluator whose results have a size that data decides: bounds, counts, and
// zeros behind what counts.
#include "ir/eval.h"

#include <string.h>

// NonZero-13
const char *ir_eval_non_zero(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)e, (void)n;
    const IrTensor *x = in[0];
    int64_t elems = ir_tensor_elems(x), count = 0, *at = out[0].data;
    memset(at, 0, ir_tensor_bytes(&out[0]));
    for (int64_t i = 0; i < elems; i++) {
        if (ir_tensor_get(x, i) == 0) {
            continue;
        }
        int64_t rest = i;
        for (int a = x->rank - 1; a >= 0; a--) {
            at[a * elems + count] = rest % x->dim[a];
            rest /= x->dim[a];
        }
        count++;
    }
    *(int64_t *)out[1].data = count;
    return NULL;
}

// ---------------------------------------------------------------- nms

typedef struct Box { // its edges, low and high, by axis
    float lo[2], hi[2];
} Box;

typedef struct Candidate {
    float score;
    int64_t box;
} Candidate;

typedef struct Nms {    // one image's class
    const float *boxes; // [N][4]
    const float *scores;
    bool center;
    float iou;
    int64_t n; // candidates left: a heap, the best one first
    Candidate *heap;
    int64_t *chosen, count;
} Nms;

// Corners in any order, y x y x; or a center and a size, x y w h.
static Box read_box(const Nms *s, int64_t i) {
    const float *b = s->boxes + 4 * i;
    Box box;
    for (int a = 0; a < 2; a++) {
        float half = b[2 + a] / 2;
        bool ordered = !(b[a] >= b[2 + a]);
        box.lo[a] = s->center ? b[a] - half : ordered ? b[a] : b[2 + a];
        box.hi[a] = s->center ? b[a] + half : ordered ? b[2 + a] : b[a];
    }
    return box;
}

static float box_area(const Box *b) {
    float h = b->hi[0] - b->lo[0], w = b->hi[1] - b->lo[1];
    return h * w;
}

// Whether the boxes overlap by more than the threshold. In floats, as ONNX Runtime has it: a
// quotient at the threshold's edge says yes or no, and no rounding is nearer to either.
static bool overlap(const Box *a, const Box *b, float iou) {
    Box both;
    for (int k = 0; k < 2; k++) {
        both.lo[k] = a->lo[k] < b->lo[k] ? b->lo[k] : a->lo[k];
        both.hi[k] = b->hi[k] < a->hi[k] ? b->hi[k] : a->hi[k];
        if (both.hi[k] <= both.lo[k]) {
            return false;
        }
    }
    float shared = box_area(&both), area_a = box_area(a), area_b = box_area(b);
    float sum = area_a + area_b, all = sum - shared;
    return !(shared <= 0 || area_a <= 0 || area_b <= 0 || all <= 0) && shared / all > iou;
}

// Of equals the earlier box is the better one. NaN is neither better nor worse than any score:
// where it lands follows from the heap's steps, which are those of ONNX Runtime's.
static bool is_worse(Candidate a, Candidate b) {
    return a.score < b.score || (a.score == b.score && a.box > b.box);
}

// Puts c where `hole` is: down to a leaf along the better children, then up again as far as it
// goes.
static void sift(Candidate *heap, int64_t n, int64_t hole, Candidate c) {
    int64_t top = hole;
    while (2 * hole + 1 < n) {
        int64_t child = 2 * hole + 2;
        child -= child >= n || is_worse(heap[child], heap[child - 1]);
        heap[hole] = heap[child];
        hole = child;
    }
    for (; hole > top && is_worse(heap[(hole - 1) / 2], c); hole = (hole - 1) / 2) {
        heap[hole] = heap[(hole - 1) / 2];
    }
    heap[hole] = c;
}

static void fill_heap(Nms *s, int64_t n, const float *least) {
    for (int64_t i = s->n = 0; i < n; i++) {
        if (!least || s->scores[i] > *least) {
            s->heap[s->n++] = (Candidate){s->scores[i], i};
        }
    }
    for (int64_t i = s->n / 2; i-- > 0;) {
        sift(s->heap, s->n, i, s->heap[i]);
    }
}

static int64_t take_best(Nms *s) {
    int64_t best = s->heap[0].box;
    Candidate last = s->heap[--s->n];
    if (s->n > 0) {
        sift(s->heap, s->n, 0, last);
    }
    return best;
}

static void choose_boxes(Nms *s, int64_t most) {
    for (s->count = 0; s->n > 0 && s->count < most;) {
        int64_t at = take_best(s);
        Box box = read_box(s, at);
        bool apart = true;
        for (int64_t k = 0; k < s->count && apart; k++) {
            Box other = read_box(s, s->chosen[k]);
            apart = !overlap(&box, &other, s->iou);
        }
        if (apart) {
            s->chosen[s->count++] = at;
        }
    }
}

static int64_t clamp(int64_t x, int64_t most) {
    return x < 0 ? 0 : x > most ? most : x;
}

// NonMaxSuppression-11
const char *ir_eval_nms(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    const IrTensor *length = n->n_in > 5 ? in[5] : NULL, *least = n->n_in > 4 ? in[4] : NULL;
    int64_t boxes = in[0]->dim[1], classes = in[1]->dim[1], size = out[0].dim[2];
    int64_t most = clamp(*(const int64_t *)in[2]->data, size);
    int64_t count = length ? clamp(*(const int64_t *)length->data, boxes) : boxes;
    Nms s = {.center = !strcmp(ir_str(n, IR_ATTR_MODE, "corners"), "center"),
             .iou = *(const float *)in[3]->data,
             .heap = ir_eval_scratch(e, boxes, sizeof *s.heap)};
    memset(out[0].data, 0, ir_tensor_bytes(&out[0]));
    for (int64_t i = 0; i < out[1].dim[0] * classes; i++) {
        s.boxes = (const float *)in[0]->data + i / classes * boxes * 4;
        s.scores = (const float *)in[1]->data + i * boxes;
        s.chosen = (int64_t *)out[0].data + i * size;
        fill_heap(&s, count, least ? least->data : NULL);
        choose_boxes(&s, most);
        ((int64_t *)out[1].data)[i] = s.count;
    }
    return NULL;
}

// ---------------------------------------------------------------- bounded

const char *ir_eval_bounded(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)e;
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    int64_t outer = 1, size = in[0]->dim[axis], count = *(const int64_t *)in[1]->data;
    size_t run = (size_t)ir_dtype_bytes(in[0]->dtype), meant = (size_t)clamp(count, size);
    for (int i = 0; i < in[0]->rank; i++) {
        outer *= i < axis ? in[0]->dim[i] : 1;
        run *= i > axis ? (size_t)in[0]->dim[i] : 1;
    }
    for (int64_t i = 0; i < outer; i++) {
        size_t at = (size_t)(i * size) * run;
        memcpy((char *)out[0].data + at, (const char *)in[0]->data + at, meant * run);
        memset((char *)out[0].data + at + meant * run, 0, ((size_t)size - meant) * run);
    }
    *(int64_t *)out[1].data = count;
    return NULL;
}
