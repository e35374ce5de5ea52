// nms (NonMaxSuppression-11), a class of an image after the other, divided among the threads. The
// candidates of a class are a heap in this thread's scratch, of which no more are taken than it
// needs; the edges and areas of the boxes that were chosen lie beside it, an array of each, so that
// a candidate meets a vector of them at a time.
//
// Boxes, areas and quotients are computed in floats in the order of ir/eval_bounded.c, whose heap
// this is, too: what is chosen is the same to the last box.
#include "codegen/index/index.h"

#include <string.h>

typedef struct NmsSpec {
    int64_t images, classes, boxes, size;
    int32_t center, least, length, pad_; // the arguments of those two numbers; 0: there is none
} NmsSpec;

enum {
    EDGES = 4,
    AREA = EDGES,
    CHOSEN_ARRAYS,
    KEY_BYTES = 8
}; // edges: low y, low x, high y, high x

typedef struct Entry { // of the heap
    CgVal score, box;  // f32, i32
} Entry;

typedef struct Nms {
    const NmsSpec *spec;
    CgVal boxes, scores, to; // of this class: f32, f32, the result's i64
    CgVal heap_score, heap_box, chosen[CHOSEN_ARRAYS];
    CgVal iou, left, count; // i64 slots: candidates in the heap, boxes chosen
} Nms;

static int64_t chosen_floats(const NmsSpec *s) {
    return (s->size + 15) / 16 * 16 + 16; // vectors are read to their end
}

// ---------------------------------------------------------------- the heap

static Entry load_entry(CgFn *f, const Nms *s, CgVal i) {
    return (Entry){cg_load(f, f->f32, cg_at(f, f->f32, s->heap_score, i), 4),
                   cg_load(f, f->i32, cg_at(f, f->i32, s->heap_box, i), 4)};
}

static void store_entry(CgFn *f, const Nms *s, CgVal i, Entry e) {
    cg_store(f, e.score, cg_at(f, f->f32, s->heap_score, i), 4);
    cg_store(f, e.box, cg_at(f, f->i32, s->heap_box, i), 4);
}

static Entry pick_entry(CgFn *f, CgVal c, Entry a, Entry b) {
    return (Entry){cg_select(f, c, a.score, b.score), cg_select(f, c, a.box, b.box)};
}

static CgVal is_worse(CgFn *f, Entry a, Entry b) {
    CgVal later = LLVMBuildAnd(f->b, cg_fcmp(f, LLVMRealOEQ, a.score, b.score),
                               cg_icmp(f, LLVMIntSGT, a.box, b.box), "");
    return LLVMBuildOr(f->b, cg_fcmp(f, LLVMRealOLT, a.score, b.score), later, "");
}

// Steps from a heap's root to its leaves, at least.
static CgVal count_levels(CgFn *f, CgVal n) {
    CgVal args[] = {n, LLVMConstInt(f->i1, 0, 0)};
    LLVMTypeRef types[] = {f->i64};
    return cg_isub(f, cg_i64(f, 64), cg_call_intrinsic(f, "llvm.ctlz", 1, types, 2, args));
}

static CgVal sift_down(CgFn *f, const Nms *s, CgVal n, CgVal hole) {
    CgVal at[] = {hole}, last = cg_iaddc(f, n, -1);
    CgLoop loop;
    cg_for_carry(f, &loop, cg_i64(f, 0), count_levels(f, n), 1, 1, at);
    CgVal left = cg_iaddc(f, cg_imulc(f, at[0], 2), 1), right = cg_iaddc(f, left, 1);
    CgVal l = cg_imin(f, left, last), r = cg_imin(f, right, last);
    Entry el = load_entry(f, s, l), er = load_entry(f, s, r);
    CgVal lefter = LLVMBuildOr(f->b, is_worse(f, er, el), cg_icmp(f, LLVMIntSGE, right, n), "");
    CgVal deeper = cg_icmp(f, LLVMIntSLT, left, n);
    Entry child = pick_entry(f, lefter, el, er);
    store_entry(f, s, at[0], pick_entry(f, deeper, child, load_entry(f, s, at[0])));
    at[0] = cg_select(f, deeper, cg_select(f, lefter, l, r), at[0]);
    cg_end_carry(f, &loop, at);
    return at[0];
}

static CgVal sift_up(CgFn *f, const Nms *s, CgVal n, CgVal hole, CgVal top, Entry c) {
    CgVal at[] = {hole}, zero = cg_i64(f, 0);
    CgLoop loop;
    cg_for_carry(f, &loop, zero, count_levels(f, n), 1, 1, at);
    CgVal parent = cg_idivc(f, cg_imax(f, cg_iaddc(f, at[0], -1), zero), 2);
    Entry e = load_entry(f, s, parent);
    CgVal moves = LLVMBuildAnd(f->b, cg_icmp(f, LLVMIntSGT, at[0], top), is_worse(f, e, c), "");
    store_entry(f, s, at[0], pick_entry(f, moves, e, load_entry(f, s, at[0])));
    at[0] = cg_select(f, moves, parent, at[0]);
    cg_end_carry(f, &loop, at);
    return at[0];
}

// Puts c where `hole` is in a heap of n: down along the better children, then up as far as it goes.
static void sift(CgFn *f, const Nms *s, CgVal n, CgVal hole, Entry c) {
    CgVal leaf = sift_down(f, s, n, hole);
    store_entry(f, s, sift_up(f, s, n, leaf, hole, c), c);
}

static void fill_heap(CgFn *f, const Nms *s) {
    CgVal boxes = cg_i64(f, s->spec->boxes), n[] = {cg_i64(f, 0)};
    CgVal end = s->spec->length ? cg_load(f, f->i64, f->arg[s->spec->length], 8) : boxes;
    CgVal least = s->spec->least ? cg_load_f(f, f->arg[s->spec->least]) : NULL;
    CgLoop loop;
    cg_for_carry(f, &loop, n[0], cg_imax(f, n[0], cg_imin(f, end, boxes)), 1, 1, n);
    CgVal score = cg_load_f(f, cg_fat(f, s->scores, loop.iv));
    store_entry(f, s, n[0], (Entry){score, LLVMBuildTrunc(f->b, loop.iv, f->i32, "")});
    CgVal kept = least ? cg_fcmp(f, LLVMRealOGT, score, least) : LLVMConstInt(f->i1, 1, 0);
    n[0] = cg_iadd(f, n[0], LLVMBuildZExt(f->b, kept, f->i64, ""));
    cg_end_carry(f, &loop, n);
    cg_set(f, s->left, n[0]);
    CgVal half = cg_idivc(f, n[0], 2);
    cg_for(f, &loop, cg_i64(f, 0), half, 1);
    CgVal at = cg_isub(f, cg_iaddc(f, half, -1), loop.iv);
    sift(f, s, n[0], at, load_entry(f, s, at));
    cg_end(f, &loop);
}

static CgVal take_best(CgFn *f, const Nms *s) {
    CgVal zero = cg_i64(f, 0), last = cg_iaddc(f, cg_get(f, s->left), -1);
    Entry best = load_entry(f, s, zero);
    CgIf more;
    cg_set(f, s->left, last);
    cg_if(f, &more, cg_icmp(f, LLVMIntSGT, last, zero));
    sift(f, s, last, zero, load_entry(f, s, last));
    cg_endif(f, &more);
    return LLVMBuildZExt(f->b, best.box, f->i64, "");
}

// ---------------------------------------------------------------- boxes

static void read_box(CgFn *f, const Nms *s, CgVal i, CgVal *box) {
    CgVal at = cg_imulc(f, i, EDGES);
    for (int a = 0; a < 2; a++) {
        CgVal p = cg_load_f(f, cg_fat(f, s->boxes, cg_iaddc(f, at, a)));
        CgVal q = cg_load_f(f, cg_fat(f, s->boxes, cg_iaddc(f, at, 2 + a)));
        CgVal half = cg_fmul(f, q, cg_f(f, 0.5)), swapped = cg_fcmp(f, LLVMRealOGE, p, q);
        box[a] = s->spec->center ? cg_fsub(f, p, half) : cg_select(f, swapped, q, p);
        box[2 + a] = s->spec->center ? cg_fadd(f, p, half) : cg_select(f, swapped, p, q);
    }
    box[AREA] = cg_fmul(f, cg_fsub(f, box[2], box[0]), cg_fsub(f, box[3], box[1]));
}

// Lanes where box a and those of b overlap by more than the threshold.
static CgVal overlap(CgFn *f, const CgVal *a, const CgVal *b, CgVal iou) {
    CgVal zero = cg_v(f, 0), edge[EDGES], side[2];
    CgVal apart = cg_fcmp(f, LLVMRealOLE, a[AREA], zero);
    for (int k = 0; k < 2; k++) {
        edge[k] = cg_select(f, cg_fcmp(f, LLVMRealOLT, a[k], b[k]), b[k], a[k]);
        edge[2 + k] = cg_select(f, cg_fcmp(f, LLVMRealOLT, b[2 + k], a[2 + k]), b[2 + k], a[2 + k]);
        CgVal outside = cg_fcmp(f, LLVMRealOLE, edge[2 + k], edge[k]);
        apart = LLVMBuildOr(f->b, apart, outside, "");
        side[k] = cg_fsub(f, edge[2 + k], edge[k]);
    }
    CgVal shared = cg_fmul(f, side[0], side[1]);
    CgVal all = cg_fsub(f, cg_fadd(f, a[AREA], b[AREA]), shared);
    const CgVal positive[] = {shared, b[AREA], all};
    for (int k = 0; k < 3; k++) {
        apart = LLVMBuildOr(f->b, apart, cg_fcmp(f, LLVMRealOLE, positive[k], zero), "");
    }
    CgVal over = cg_fcmp(f, LLVMRealOGT, cg_fdiv(f, shared, all), iou);
    return LLVMBuildAnd(f->b, over, LLVMBuildNot(f->b, apart, ""), "");
}

// i1: whether the box overlaps one of those that are chosen.
static CgVal overlaps_chosen(CgFn *f, const Nms *s, const CgVal *box) {
    CgVal count = cg_get(f, s->count), any[] = {LLVMConstNull(f->ivec)};
    CgVal a[CHOSEN_ARRAYS], b[CHOSEN_ARRAYS], iou = cg_splat(f, s->iou);
    CgLoop loop;
    for (int k = 0; k < CHOSEN_ARRAYS; k++) {
        a[k] = cg_splat(f, box[k]);
    }
    cg_for_carry(f, &loop, cg_i64(f, 0), count, f->lanes, 1, any);
    for (int k = 0; k < CHOSEN_ARRAYS; k++) {
        b[k] = cg_load_v(f, cg_fat(f, s->chosen[k], loop.iv));
    }
    CgVal hit =
        LLVMBuildAnd(f->b, overlap(f, a, b, iou), cg_lane_mask(f, cg_isub(f, count, loop.iv)), "");
    any[0] = LLVMBuildOr(f->b, any[0], LLVMBuildSExt(f->b, hit, f->ivec, ""), "");
    cg_end_carry(f, &loop, any);
    LLVMTypeRef types[] = {f->ivec};
    CgVal word = cg_call_intrinsic(f, "llvm.vector.reduce.or", 1, types, 1, any);
    return cg_icmp(f, LLVMIntNE, word, cg_i32(f, 0));
}

static void choose(CgFn *f, const Nms *s, const CgVal *box, CgVal number) {
    CgVal count = cg_get(f, s->count);
    for (int k = 0; k < CHOSEN_ARRAYS; k++) {
        cg_store(f, box[k], cg_fat(f, s->chosen[k], count), 4);
    }
    cg_store(f, number, cg_at(f, f->i64, s->to, count), 8);
    cg_set(f, s->count, cg_iaddc(f, count, 1));
}

static void choose_boxes(CgFn *f, const Nms *s, CgVal most) {
    CgVal zero = cg_i64(f, 0), box[CHOSEN_ARRAYS];
    CgLoop loop, rest;
    CgIf wanted, alone;
    cg_set(f, s->count, zero);
    cg_for(f, &loop, zero, cg_get(f, s->left), 1);
    cg_if(f, &wanted, cg_icmp(f, LLVMIntSLT, cg_get(f, s->count), most));
    CgVal best = take_best(f, s);
    read_box(f, s, best, box);
    cg_if(f, &alone, LLVMBuildNot(f->b, overlaps_chosen(f, s, box), ""));
    choose(f, s, box, best);
    cg_endif(f, &alone);
    cg_endif(f, &wanted);
    cg_end(f, &loop);
    cg_for(f, &rest, cg_get(f, s->count), cg_i64(f, s->spec->size), 1);
    cg_store(f, zero, cg_at(f, f->i64, s->to, rest.iv), 8);
    cg_end(f, &rest);
}

// ---------------------------------------------------------------- the kernel

enum { CHOSEN, COUNTS, BOXES, SCORES, MOST, IOU, OPTIONAL, ARGS = OPTIONAL + 2 };

static void emit_nms(CgFn *f, const void *spec) {
    const NmsSpec *s = spec;
    CgVal lo, hi, image, which;
    Nms nms = {.spec = s, .iou = cg_load_f(f, f->arg[IOU])};
    nms.left = cg_slot(f, f->i64);
    nms.count = cg_slot(f, f->i64);
    nms.heap_score = f->scratch;
    nms.heap_box = cg_fatc(f, f->scratch, s->boxes);
    for (int k = 0; k < CHOSEN_ARRAYS; k++) {
        nms.chosen[k] = cg_fatc(f, f->scratch, 2 * s->boxes + k * chosen_floats(s));
    }
    CgVal size = cg_i64(f, s->size), zero = cg_i64(f, 0);
    CgVal most = cg_imax(f, zero, cg_imin(f, cg_load(f, f->i64, f->arg[MOST], 8), size));
    CgLoop loop;
    cg_split(f, cg_i64(f, s->images * s->classes), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, cg_i64(f, s->classes), &image, &which);
    nms.boxes = cg_fat(f, f->arg[BOXES], cg_imulc(f, image, s->boxes * EDGES));
    nms.scores = cg_fat(f, f->arg[SCORES], cg_imulc(f, loop.iv, s->boxes));
    nms.to = cg_at(f, f->i64, f->arg[CHOSEN], cg_imulc(f, loop.iv, s->size));
    fill_heap(f, &nms);
    choose_boxes(f, &nms, most);
    cg_store(f, cg_get(f, nms.count), cg_at(f, f->i64, f->arg[COUNTS], loop.iv), 8);
    cg_end(f, &loop);
}

void cg_lower_nms(CgProgram *p, const IrNode *n) {
    const IrShape *scores = &ir_in(n, 1)->type.shape;
    NmsSpec s;
    memset(&s, 0, sizeof s);
    s.images = scores->dim[0].c;
    s.classes = scores->dim[1].c;
    s.boxes = scores->dim[2].c;
    s.size = ir_int(n, IR_ATTR_SIZE, 0);
    s.center = !strcmp(ir_str(n, IR_ATTR_MODE, "corners"), "center");
    if (!cg_need_plain(p, n) || s.images * s.classes == 0) {
        return;
    }
    if (s.boxes > INT32_MAX / (2 * KEY_BYTES)) {
        cg_nyi(p, n, "%lld boxes", (long long)s.boxes);
        return;
    }
    CgArg args[ARGS] = {cg_write(n->out[0]),  cg_write(n->out[1]),  cg_read(ir_in(n, 0)),
                        cg_read(ir_in(n, 1)), cg_read(ir_in(n, 2)), cg_read(ir_in(n, 3))};
    int n_args = OPTIONAL;
    int32_t *const given[] = {&s.least, &s.length};
    for (int i = 0; i < 2; i++) {
        if (ir_in(n, 4 + i)) {
            *given[i] = n_args;
            args[n_args++] = cg_read(ir_in(n, 4 + i));
        }
    }
    cg_scratch(p, s.boxes * KEY_BYTES + CHOSEN_ARRAYS * chosen_floats(&s) * 4);
    int k = cg_kernel(p, "nms", emit_nms, &s, sizeof s, n_args, 900);
    cg_call(p, n, k, n_args, args, "nms", (IrDim){0, 0});
}
