// Memory plan: where every value lies. Liveness to offsets in one arena that grows linearly with N.
//
//   before  %y: f32[N,64,56,56]{nChw16c} = conv %x, %w
//   after   %y: f32[N,64,56,56]{nChw16c} = conv %x, %w      // arena at 802816*N
//
// A storage is a root of views, or several roots of equal size that take each other over: the
// result of an elementwise node, or of a conv with a residual operand, goes over an operand of the
// same type that dies there. Each element is read and written by the same thread, so that is safe.
// No other node may write over what it reads.
//
// A storage lives from the first definition of a root or of a view of it to the last use of any of
// them, in list order. Two that live at the same node never overlap. Sizes and offsets are
// multiples of 64 bytes (per image, where they scale with N: then they are multiples of 64 for
// every N).
//
// The arena is two regions: first what scales with the batch, at offset * N, then what does not,
// behind it. Each is packed greedily: the largest first into the smallest gap that holds it; then
// other orders are tried, and whatever makes the peak is moved to the front, while that helps. With
// keep_values nothing is reused. A guard of 64 bytes ends the arena.

#include "passes/schedule/lifetimes.h"

#include "ir/memory.h"
#include "runtime/core/text.h"
#include <stdlib.h>
#include <string.h>

enum { MEM_GUARD = 64, MEM_ROUNDS = 48, MEM_EXACT = 4096 };

// ---------------------------------------------------------------- packing

typedef struct Packing {
    PassStorage **order;  // what to place, in this order
    PassStorage **placed; // by offset
    int n;
    int64_t top;
} Packing;

static bool lives_with(const PassStorage *a, const PassStorage *b) {
    return a->first <= b->last && b->first <= a->last;
}

// Into the smallest gap between those alive at the same time that holds s, else above them all.
static void place_storage(const PassLives *p, Packing *k, int n_placed, PassStorage *s) {
    int64_t end = 0, best = -1, best_gap = INT64_MAX;
    int at = 0;
    for (int i = 0; i < n_placed; i++) {
        const PassStorage *q = k->placed[i];
        if (!lives_with(q, s)) {
            continue;
        }
        int64_t gap = q->offset - end;
        if (gap >= s->size && gap < best_gap) {
            best = end;
            best_gap = gap;
        }
        int64_t q_end = q->offset + q->size;
        end = q_end > end ? q_end : end;
    }
    s->offset = best >= 0 ? best : end;
    while (at < n_placed && k->placed[at]->offset <= s->offset) {
        at++;
    }
    memmove(&k->placed[at + 1], &k->placed[at], (size_t)(n_placed - at) * sizeof *k->placed);
    k->placed[at] = s;
    s->offset = s->size ? s->offset : 0;
    int64_t top = pass_lives_add(p, s->offset, s->size);
    k->top = top > k->top ? top : k->top;
}

static void drop_dead(Packing *k, int *n_placed, int now) {
    int kept = 0;
    for (int i = 0; i < *n_placed; i++) {
        if (k->placed[i]->last >= now) {
            k->placed[kept++] = k->placed[i];
        }
    }
    *n_placed = kept;
}

// by_time: the order is that of birth, and the dead need no more looking at.
static int64_t pack(const PassLives *p, Packing *k, bool by_time) {
    k->top = 0;
    for (int i = 0, n_placed = 0; i < k->n; i++) {
        if (by_time) {
            drop_dead(k, &n_placed, k->order[i]->first);
        }
        place_storage(p, k, n_placed++, k->order[i]);
    }
    return k->top;
}

static int compare_births(const void *a, const void *b) {
    const PassStorage *x = *(PassStorage *const *)a, *y = *(PassStorage *const *)b;
    return x->first != y->first ? (x->first < y->first ? -1 : 1)
                                : (x->root->id > y->root->id) - (x->root->id < y->root->id);
}

static int compare_sizes(const void *a, const void *b) {
    const PassStorage *x = *(PassStorage *const *)a, *y = *(PassStorage *const *)b;
    return x->size != y->size ? (x->size > y->size ? -1 : 1) : compare_births(a, b);
}

static int compare_areas(const void *a, const void *b) {
    const PassStorage *x = *(PassStorage *const *)a, *y = *(PassStorage *const *)b;
    double ax = (double)x->size * (x->last - x->first + 1);
    double ay = (double)y->size * (y->last - y->first + 1);
    return ax != ay ? (ax > ay ? -1 : 1) : compare_births(a, b);
}

// The most bytes alive at one node: no packing is below that.
static int64_t find_peak(const PassLives *p, const Packing *k) {
    int64_t *change = ir_alloc_array(p->ctx->scratch, (size_t)p->n_nodes + 2, sizeof *change);
    for (int i = 0; i < k->n; i++) {
        change[k->order[i]->first] += k->order[i]->size;
        change[k->order[i]->last + 1] -= k->order[i]->size;
    }
    int64_t now = 0, peak = 0;
    for (int i = 0; i <= p->n_nodes; i++) {
        now += change[i];
        peak = now > peak ? now : peak;
    }
    return peak;
}

static void keep_if_better(Packing *k, int64_t *best) {
    if (k->top < *best) {
        *best = k->top;
        for (int i = 0; i < k->n; i++) {
            k->order[i]->best = k->order[i]->offset;
        }
    }
}

// Moves whatever ends at the top to the front of the order and packs again.
static void improve(const PassLives *p, Packing *k, int64_t peak, int64_t *best) {
    for (int round = 0; round<MEM_ROUNDS && * best> peak; round++) {
        int i = 0;
        while (i < k->n && k->order[i]->offset + k->order[i]->size != k->top) {
            i++;
        }
        if (i == 0 || i == k->n) {
            return;
        }
        PassStorage *s = k->order[i];
        memmove(&k->order[1], &k->order[0], (size_t)i * sizeof *k->order);
        k->order[0] = s;
        pack(p, k, false);
        keep_if_better(k, best);
    }
}

// Offsets of one region into `best`; returns its size.
static int64_t pack_region(const PassLives *p, Packing *k) {
    static int (*const orders[])(const void *, const void *) = {compare_sizes, compare_areas};
    int64_t peak = find_peak(p, k), best = INT64_MAX;
    if (!k->n) {
        return 0;
    }
    qsort(k->order, (size_t)k->n, sizeof *k->order, compare_births);
    pack(p, k, true);
    keep_if_better(k, &best);
    for (size_t i = 0; i < sizeof orders / sizeof *orders && k->n <= MEM_EXACT; i++) {
        qsort(k->order, (size_t)k->n, sizeof *k->order, orders[i]);
        pack(p, k, false);
        keep_if_better(k, &best);
        improve(p, k, peak, &best);
    }
    return best;
}

static int64_t stack_region(const PassLives *p, Packing *k) {
    int64_t top = 0;
    for (int i = 0; i < k->n; i++) {
        k->order[i]->best = top;
        top = pass_lives_add(p, top, k->order[i]->size);
    }
    return top;
}

static Packing select_region(const PassLives *p, bool batched, bool with_merged) {
    Packing k = {.order = ir_alloc_array(p->ctx->scratch, (size_t)p->n + 1, sizeof *k.order),
                 .placed = ir_alloc_array(p->ctx->scratch, (size_t)p->n + 1, sizeof *k.placed)};
    for (int i = 0; i < p->n; i++) {
        if (p->v[i].batched == batched && (with_merged || p->v[i].merged < 0)) {
            k.order[k.n++] = &p->v[i];
        }
    }
    return k;
}

static IrDim sum_storages(const PassLives *p) {
    Packing batched = select_region(p, true, true), fixed = select_region(p, false, true);
    return (IrDim){pass_lives_add(p, stack_region(p, &fixed), MEM_GUARD),
                   stack_region(p, &batched)};
}

// ---------------------------------------------------------------- the answer

// Bytes from the start of v's storage to v within an image.
static int64_t view_offset(const IrValue *v, const IrValue *root, int64_t channel) {
    IrDim row = {ir_dtype_bytes(v->type.dtype), 0};
    for (int i = 2; i < v->type.shape.rank && channel; i++) {
        if (!ir_dim_mul(row, v->type.shape.dim[i], &row) || row.n) {
            ir_bug("memory_plan", pass_lives_name(v), "a view whose offset is no constant");
        }
    }
    int64_t offset = channel * row.c;
    IrDim bytes = pass_lives_bytes(v), all = pass_lives_bytes(root);
    if (offset + bytes.c + bytes.n > all.c + all.n) {
        ir_bug("memory_plan", pass_lives_name(v), "the view ends behind its storage");
    }
    return offset;
}

static void place_value(const PassLives *p, IrValue *v, int64_t total_n) {
    int64_t channel = 0;
    const IrValue *root = ir_view_root(v, &channel);
    const PassStorage *s = pass_lives_of(p, root);
    IrPlace place = {IR_PLACE_CONST, {view_offset(v, root, channel), 0}, 0};
    if (s) {
        place.kind = IR_PLACE_ARENA;
        place.offset.c += s->batched ? 0 : s->best;
        place.offset.n = s->batched ? s->best : total_n;
    } else if (root->def) {
        place.kind = IR_PLACE_OUTPUT;
        place.index = p->output[root->id] - 1;
    } else if (!root->konst) {
        place.kind = IR_PLACE_INPUT;
        place.index = root->input;
    }
    v->place = place;
}

static void place_values(const PassLives *p, int64_t total_n) {
    for (int i = 0; i < p->graph->n_inputs; i++) {
        place_value(p, p->graph->inputs[i], total_n);
    }
    for (const IrNode *n = p->graph->first; n; n = n->next) {
        for (int i = 0; i < n->n_in; i++) {
            if (ir_in(n, i) && !ir_in(n, i)->def) {
                place_value(p, ir_in(n, i), total_n);
            }
        }
        for (int i = 0; i < n->n_out; i++) {
            place_value(p, n->out[i], total_n);
        }
    }
}

static double megabytes(int64_t bytes) {
    return (double)bytes / 1e6;
}

static void check_limit(const PassLives *p) {
    int64_t most = p->ctx->opt->arena_limit, bytes = ir_dim_at(p->graph->arena_bytes, 1);
    if (most && bytes > most) {
        ir_fatal(p->graph->prog->diag, IR_NOWHERE,
                 "it needs %s of working memory for one image, more than %s (--limit arena=SIZE "
                 "raises it)",
                 IR_SIZE(bytes), IR_SIZE(most));
    }
}

// Offsets into `best`; what the arena takes.
static IrDim pack_all(PassLives *p) {
    pass_lives_merge(p);
    Packing batched = select_region(p, true, false), fixed = select_region(p, false, false);
    int64_t n = pack_region(p, &batched);
    return (IrDim){pass_lives_add(p, pack_region(p, &fixed), MEM_GUARD), n};
}

IrDim pass_memory_needs(PassContext *ctx, IrGraph *g) {
    PassLives p = pass_lives(ctx, g);
    return pack_all(&p);
}

PassResult pass_memory_plan(PassContext *ctx, IrGraph *g) {
    PassLives p = pass_lives(ctx, g);
    g->arena_bytes_no_reuse = sum_storages(&p);
    g->arena_bytes = ctx->opt->keep_values ? g->arena_bytes_no_reuse : pack_all(&p);
    place_values(&p, g->arena_bytes.n);
    check_limit(&p);
    return (PassResult){p.n};
}

// ---------------------------------------------------------------- the report

static int64_t bytes_at(const PassStorage *s, int64_t N) {
    return s->batched ? s->size * N : s->size;
}

static void print_largest(FILE *f, const PassLives *p, int64_t N, int count) {
    bool *shown = ir_alloc_array(p->ctx->scratch, (size_t)p->n + 1, sizeof *shown);
    for (int k = 0; k < count; k++) {
        int most = -1;
        for (int i = 0; i < p->n; i++) {
            if (p->v[i].merged < 0 && !shown[i] &&
                (most < 0 || bytes_at(&p->v[i], N) > bytes_at(&p->v[most], N))) {
                most = i;
            }
        }
        if (most < 0) {
            return;
        }
        const PassStorage *s = &p->v[most];
        char type[160], name[61];
        shown[most] = true;
        fprintf(f, "  %9.2f MB  nodes %4d to %4d  %s  %s\n", megabytes(bytes_at(s, N)), s->first,
                s->last, ir_type_print(&s->root->type, type, sizeof type),
                rt_clean(pass_lives_name(s->root), name, sizeof name));
    }
}

void passes_print_memory(FILE *f, IrGraph *g, int64_t N) {
    IrArena *scratch = ir_arena_new(g->prog->diag);
    PassContext ctx = {.scratch = scratch, .prog = g->prog};
    PassLives p = pass_lives(&ctx, g);
    pass_lives_merge(&p);
    Packing batched = select_region(&p, true, false), fixed = select_region(&p, false, false);
    int64_t peak = find_peak(&p, &batched) * N + find_peak(&p, &fixed);
    fprintf(f,
            "memory at batch %lld: arena %.2f MB, without reuse %.2f MB, "
            "most alive at once %.2f MB; %d results in %d storages\n",
            (long long)N, megabytes(ir_dim_at(g->arena_bytes, N)),
            megabytes(ir_dim_at(g->arena_bytes_no_reuse, N)), megabytes(peak), p.n,
            batched.n + fixed.n);
    print_largest(f, &p, N, 8);
    ir_arena_free(scratch);
}
