// Sums over a step's batches and ranks; see gradient.h.
//
// A stack holds sums of finished subtrees, the first of them in the engine's own buffer: a leaf is
// pushed, and the two on top become one when both lie below a node that the next leaf is not below.
// Other ranks get pieces of the parameter buffer, one after the other in the order in which a
// training graph ends with them, from a thread that does nothing else: it adds the piece up along
// this rank's stack, then along the tree of ranks. All ranks run the same graph, so that order is
// the same.
#include "runtime/train/gradient.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LEVELS = 64, PIECE = 1 << 18 }; // floats that are exchanged at a time

typedef struct Piece { // of the parameter buffer
    int64_t from, to;
    int32_t step; // of the training graph, the last that writes into it
} Piece;

struct RtGradient {
    RtEngine *t;
    RtRanks *ranks;
    RtShares shares;
    Piece *piece; // what trains, statistics last
    int n_pieces;
    int64_t stat_from, stat_to; // of the buffer
    float *stat;                // as the step began
    float *level[MOST_LEVELS];  // [param_floats] each; made when they are needed
    int64_t place[MOST_LEVELS]; // the last leaf in it
    int depth;

    float *room; // [PIECE]
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; // over what follows
    pthread_cond_t changed;
    int ready, sent; // pieces
    int early;       // of them, those that were ready before the last graph's end
    bool stop, failed;
    RtErr err; // of the thread
};

// ---------------------------------------------------------------- pieces

static void add_pieces(RtGradient *g, int64_t from, int64_t to, const int32_t *written) {
    const HoneTrainDesc *d = rt_engine_desc(g->t);
    for (int64_t at = from; at < to; at += PIECE) {
        Piece *p = &g->piece[g->n_pieces++];
        *p = (Piece){at, at + PIECE < to ? at + PIECE : to, -1};
        for (int i = 0; i < d->n_params; i++) {
            const HoneParam *q = &d->params[i];
            if (q->offset < p->to && q->offset + q->count > p->from && written[i] > p->step)
                p->step = written[i];
        }
    }
}

// Insertion: a piece's place among equals is kept.
static void sort_pieces(RtGradient *g) {
    for (int i = 1; i < g->n_pieces; i++) {
        Piece p = g->piece[i];
        int k = i;
        for (; k > 0 && g->piece[k - 1].step > p.step; k--)
            g->piece[k] = g->piece[k - 1];
        g->piece[k] = p;
    }
}

static void find_statistics(RtGradient *g) {
    const HoneTrainDesc *d = rt_engine_desc(g->t);
    for (int i = 0; i < d->n_params; i++) {
        const HoneParam *p = &d->params[i];
        if (p->group >= 0 || !(p->trains >> rt_engine_stage(g->t) & 1))
            continue;
        if (g->stat_to == 0 || p->offset < g->stat_from)
            g->stat_from = p->offset;
        if (p->offset + p->count > g->stat_to)
            g->stat_to = p->offset + p->count;
    }
}

static bool list_pieces(RtGradient *g) {
    const HoneTrainDesc *d = rt_engine_desc(g->t);
    int64_t most = d->param_floats / PIECE + d->n_groups + 2;
    int32_t *written = malloc(((size_t)d->n_params + 1) * sizeof *written);
    g->piece = malloc((size_t)most * sizeof *g->piece);
    if (!written || !g->piece) {
        free(written);
        return false;
    }
    rt_engine_written(g->t, written);
    for (int i = 0; i < d->n_groups; i++)
        if (d->groups[i].trains >> rt_engine_stage(g->t) & 1)
            add_pieces(g, d->groups[i].offset, d->groups[i].offset + d->groups[i].count, written);
    for (int i = 0; i < d->n_params; i++)
        written[i] = INT32_MAX; // statistics are handed over when the graph has ended
    add_pieces(g, g->stat_from, g->stat_to, written);
    free(written);
    sort_pieces(g);
    return true;
}

// ---------------------------------------------------------------- sums of one rank

static void add_range(float *restrict x, const float *restrict y, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++)
        x[i] += y[i];
}

// The range of the whole stack, in its lowest level.
static void fold(RtGradient *g, int64_t from, int64_t to) {
    for (int i = g->depth - 1; i > 0; i--)
        add_range(g->level[i - 1], g->level[i], from, to);
}

static void merge_top(RtGradient *g) {
    float *restrict x = g->level[g->depth - 2];
    const float *restrict y = g->level[g->depth - 1];
    for (int k = 0; k < g->n_pieces; k++) {
        int64_t from = g->piece[k].from, to = g->piece[k].to;
#pragma omp parallel for simd schedule(static) num_threads(rt_engine_threads(g->t))
        for (int64_t i = from; i < to; i++)
            x[i] += y[i];
    }
    g->place[g->depth - 2] = g->place[g->depth - 1];
    g->depth--;
}

// How far above two leaves they have a node in common.
static int common_level(int64_t a, int64_t b) {
    return a == b ? 0 : 64 - __builtin_clzll((unsigned long long)(a ^ b));
}

static bool push(RtGradient *g, int64_t place, RtErr *err) {
    while (g->depth > 1 && common_level(g->place[g->depth - 2], g->place[g->depth - 1]) <
                               common_level(g->place[g->depth - 1], place))
        merge_top(g);
    if (!g->level[g->depth]) {
        size_t bytes = (size_t)rt_engine_desc(g->t)->param_floats * sizeof(float);
        if (!(g->level[g->depth] = rt_alloc_aligned(bytes + sizeof(float))))
            return rt_fail(err, "no memory for accumulated gradients");
        memset(g->level[g->depth], 0, bytes); // what lies between parameters stays 0
    }
    g->place[g->depth++] = place;
    return true;
}

// ---------------------------------------------------------------- the other ranks

static bool exchange(RtGradient *g, const Piece *p, RtErr *err) {
    fold(g, p->from, p->to);
    return rt_ranks_sum(g->ranks, &g->shares, g->level[0] + p->from, p->to - p->from, g->room, err);
}

static void *run_exchange(void *context) {
    RtGradient *g = context;
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        if (g->failed || g->sent >= g->ready) {
            pthread_cond_wait(&g->changed, &g->lock);
            continue;
        }
        const Piece *p = &g->piece[g->sent];
        pthread_mutex_unlock(&g->lock);
        bool good = exchange(g, p, &g->err);
        pthread_mutex_lock(&g->lock);
        g->failed = !good;
        g->sent++;
        pthread_cond_broadcast(&g->changed);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static void hand_over(RtGradient *g, int ready) {
    pthread_mutex_lock(&g->lock);
    g->ready = ready;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

// Behind a barrier everything that earlier steps wrote is there. `ready` is changed by this thread
// alone while the graph runs.
static void watch_step(void *ctx, const HoneCall *call, int32_t step) {
    RtGradient *g = ctx;
    int ready = g->ready;
    (void)call;
    if (!rt_engine_meets(g->t, step))
        return;
    while (ready < g->n_pieces && g->piece[ready].step < step)
        ready++;
    if (ready > g->ready)
        hand_over(g, ready);
}

static bool wait_exchange(RtGradient *g, RtErr *err) {
    pthread_mutex_lock(&g->lock);
    while (!g->failed && g->sent < g->n_pieces)
        pthread_cond_wait(&g->changed, &g->lock);
    bool good = !g->failed;
    pthread_mutex_unlock(&g->lock);
    if (!good)
        *err = g->err;
    return good;
}

// ---------------------------------------------------------------- a step

int64_t rt_gradient_width(const RtGradient *g) {
    return g->shares.width;
}

void rt_gradient_share(const RtGradient *g, int64_t leaves, int64_t *from, int64_t *to) {
    int64_t first = rt_ranks_me(g->ranks) * g->shares.width, end = first + g->shares.width;
    *from = first < leaves ? first : leaves;
    *to = end < leaves ? end : leaves;
}

void rt_gradient_begin(RtGradient *g, int64_t leaves) {
    const float *p = rt_engine_buffer(g->t, RT_ENGINE_P);
    g->shares.leaves = leaves;
    g->depth = 0;
    if (g->stat)
        memcpy(g->stat, p + g->stat_from, (size_t)(g->stat_to - g->stat_from) * sizeof *p);
    pthread_mutex_lock(&g->lock);
    g->ready = g->sent = 0;
    pthread_mutex_unlock(&g->lock);
}

// Statistics that a batch moved go into its leaf, and are as the step began.
static void take_moved(RtGradient *g, float *leaf) {
    float *p = rt_engine_buffer(g->t, RT_ENGINE_P) + g->stat_from;
    size_t bytes = (size_t)(g->stat_to - g->stat_from) * sizeof *p;
    if (!g->stat)
        return;
    memcpy(leaf + g->stat_from, p, bytes);
    memcpy(p, g->stat, bytes);
}

static void make_zero(RtGradient *g, float *leaf) {
    for (int k = 0; k < g->n_pieces; k++) {
        const Piece *p = &g->piece[k];
        memset(leaf + p->from, 0, (size_t)(p->to - p->from) * sizeof *leaf);
    }
}

bool rt_gradient_add(RtGradient *g, const RtEngineBatch *b, int64_t place, RtErr *err) {
    int64_t from, to;
    rt_gradient_share(g, g->shares.leaves, &from, &to);
    bool last = g->ranks && place + 1 == to;
    if (!push(g, place, err))
        return false;
    float *leaf = g->level[g->depth - 1];
    if (b->n == 0) {
        make_zero(g, leaf);
        return true;
    }
    if (!rt_engine_train(g->t, b, leaf, last ? watch_step : NULL, g, err))
        return false;
    take_moved(g, leaf);
    return true;
}

bool rt_gradient_sum(RtGradient *g, RtErr *err) {
    while (!g->ranks && g->depth > 1)
        merge_top(g);
    if (!g->ranks)
        return true;
    g->early = g->ready;
    hand_over(g, g->n_pieces);
    return wait_exchange(g, err);
}

double rt_gradient_early(const RtGradient *g) {
    int64_t early = 0, all = 0;
    for (int k = 0; k < g->n_pieces; k++) {
        int64_t n = g->piece[k].to - g->piece[k].from;
        all += n;
        early += k < g->early ? n : 0;
    }
    return all ? (double)early / (double)all : 0;
}

void rt_gradient_take_statistics(RtGradient *g, int64_t batches) {
    float *p = rt_engine_buffer(g->t, RT_ENGINE_P);
    for (int64_t i = g->stat_from; i < g->stat_to; i++)
        p[i] = g->level[0][i] / (float)batches;
}

// ---------------------------------------------------------------- open and close

static bool alloc_gradient(RtGradient *g, RtErr *err) {
    find_statistics(g);
    size_t moved = (size_t)(g->stat_to - g->stat_from);
    bool good = list_pieces(g) && (!moved || (g->stat = malloc(moved * sizeof *g->stat)));
    if (good && g->ranks)
        good = (g->room = rt_alloc_aligned(PIECE * sizeof *g->room)) != NULL;
    return good || rt_fail(err, "no memory for accumulated gradients");
}

// It is deaf to signals as all threads of a training.
static bool start_thread(RtGradient *g, RtErr *err) {
    if (g->ranks)
        g->has_thread = pthread_create(&g->thread, NULL, run_exchange, g) == 0;
    return !g->ranks || g->has_thread || rt_fail(err, "no thread can be started");
}

RtGradient *rt_gradient_open(RtEngine *t, RtRanks *ranks, int64_t places, RtErr *err) {
    RtGradient *g = calloc(1, sizeof *g);
    if (!g) {
        rt_fail(err, "no memory for accumulated gradients");
        return NULL;
    }
    g->t = t;
    g->ranks = ranks;
    g->level[0] = rt_engine_buffer(t, RT_ENGINE_G);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
    for (g->shares.width = 1; g->shares.width * rt_ranks_n(ranks) < places;)
        g->shares.width *= 2;
    if (alloc_gradient(g, err) && start_thread(g, err))
        return g;
    rt_gradient_close(g);
    return NULL;
}

void rt_gradient_close(RtGradient *g) {
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    g->stop = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
    if (g->has_thread)
        pthread_join(g->thread, NULL);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->changed);
    for (int i = 1; i < MOST_LEVELS; i++)
        free(g->level[i]);
    free(g->piece);
    free(g->stat);
    free(g->room);
    free(g);
}
