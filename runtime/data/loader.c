// The loader's ring of batches and the threads that fill it.
//
// All state but pixels is under one mutex. A slot of the ring is a batch: free; being filled, when
// some of its images are still to be taken or being made; ready; or held by the consumer. Batches
// enter slots in order (batch number s in slot s modulo the ring) and leave in order, so the
// consumer sees one sequence whatever thread made what. A worker takes a few images of the newest
// slot at a time, makes them without the lock, writing where no one else does, and reports back.
// Images that failed are squeezed out by the consumer's thread, in order.
#include "runtime/data/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/dataset_build.h"
#include "runtime/core/rng.h"

enum { DEFAULT_AHEAD = 2, MAX_LOADER_THREADS = 64, ARRAY_GRAIN = 16 };

typedef struct Slot {
    RtBatch batch;
    int64_t total, taken, done; // images
    bool *failed;               // [batch]
    char **error;               // [batch] why; NULL: no memory to say
} Slot;

struct RtLoader {
    const RtDataset *data;
    RtLoaderOptions o;
    int64_t first, n;    // items
    int64_t batches;     // an epoch
    int64_t n_share;     // of them, those that are made
    size_t image_floats; // of one image, all its views
    int64_t places;      // labels of one image
    int64_t grain;       // images a worker takes at a time

    pthread_mutex_t lock;
    pthread_cond_t work, ready; // for workers; for the consumer
    pthread_t thread[MAX_LOADER_THREADS];
    int n_threads, busy; // busy: threads that make images now
    bool stop, paused;   // paused: until the consumer comes, and while it seeks

    Slot *slot;
    int n_slots;
    int64_t started, finished; // batches given to slots; taken back from the consumer
    bool held;                 // the consumer has batch `finished`
    int64_t epoch, index;      // of the next batch to start
    RtOrder order;             // of the epoch that batches start in; items from 0

    // of the consumer
    bool *bad;                                          // [n] items that were named
    int64_t epoch_images, epoch_batches, counted_epoch; // of the epoch that is being consumed
    RtLoaderStats stats;
};

// ---- filling: with the lock held, except fill_images

int64_t rt_loader_share_next(const RtLoaderShare *s, int64_t index, int64_t batches) {
    while (s->of > 0 && index < batches && (index % s->of < s->from || index % s->of >= s->to))
        index++;
    return index;
}

static int64_t count_share(const RtLoaderShare *s, int64_t batches) {
    int64_t n = 0;
    for (int64_t i = -1; (i = rt_loader_share_next(s, i + 1, batches)) < batches;)
        n++;
    return n;
}

static bool at_end(const RtLoader *l) {
    return l->n_share == 0 || (l->o.epochs > 0 && l->epoch >= l->o.epochs);
}

// The next batch to start is that of the share, from the given one on.
static void go_to(RtLoader *l, int64_t epoch, int64_t index) {
    l->epoch = epoch;
    l->index = rt_loader_share_next(&l->o.share, index, l->batches);
    if (l->index == l->batches) {
        l->epoch++;
        l->index = rt_loader_share_next(&l->o.share, 0, l->batches);
    }
}

static void start_batch(RtLoader *l) {
    Slot *s = &l->slot[l->started++ % l->n_slots];
    rt_order_set(&l->order, l->epoch);
    int64_t from = l->index * l->o.batch, left = l->n - from;
    s->total = left < l->o.batch ? left : l->o.batch;
    s->taken = s->done = 0;
    s->batch.epoch = l->epoch;
    s->batch.index = l->index;
    s->batch.n = s->total;
    s->batch.last = l->index + 1 == l->batches;
    for (int64_t i = 0; i < s->total; i++)
        s->batch.items[i] = l->first + rt_order_at(&l->order, from + i);
    go_to(l, l->epoch, l->index + 1);
}

// The slot with images to take, NULL: nothing to do now.
static Slot *find_work(RtLoader *l) {
    if (l->paused)
        return NULL;
    if (l->started > l->finished) {
        Slot *newest = &l->slot[(l->started - 1) % l->n_slots];
        if (newest->taken < newest->total)
            return newest;
    }
    if (l->started - l->finished == l->n_slots || at_end(l))
        return NULL;
    start_batch(l);
    return &l->slot[(l->started - 1) % l->n_slots];
}

static bool make_image(const RtLoader *l, int64_t item, int64_t changes, float *image,
                       int32_t *labels, RtErr *err) {
    const RtLoaderOptions *o = &l->o;
    if (l->data->target == RT_TARGET_MAP)
        return rt_dataset_sample_map(l->data, item, o->prep, o->augment, o->views, o->seed, changes,
                                     image, o->map_height, o->map_width, labels, err);
    *labels = rt_dataset_label(l->data, item);
    return o->views == RT_VIEWS_ONE
               ? rt_dataset_sample(l->data, item, o->prep, o->augment, o->seed, changes, image, err)
               : rt_dataset_views(l->data, item, o->prep, o->views, image, err);
}

static void fill_images(const RtLoader *l, Slot *s, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
        RtErr err = {{0}};
        int64_t item = s->batch.items[i];
        if (s->batch.targets)
            rt_dataset_target(l->data, item, s->batch.targets + i * l->data->target_width);
        float *image = s->batch.images + (size_t)i * l->image_floats;
        int64_t period = l->o.augment_period;
        int64_t changes = period > 0 ? s->batch.epoch % period : s->batch.epoch;
        s->failed[i] = !make_image(l, item, changes, image, s->batch.labels + i * l->places, &err);
        s->error[i] = s->failed[i] ? strdup(err.text) : NULL;
    }
}

static void *run_worker(void *context) {
    RtLoader *l = context;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        Slot *s = find_work(l);
        if (!s) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        int64_t from = s->taken, to = from + l->grain < s->total ? from + l->grain : s->total;
        s->taken = to;
        l->busy++;
        pthread_mutex_unlock(&l->lock);
        fill_images(l, s, from, to);
        pthread_mutex_lock(&l->lock);
        l->busy--;
        s->done += to - from;
        if (s->done == s->total || l->paused)
            pthread_cond_signal(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

// ---- consuming

static void drop_errors(Slot *s) {
    for (int64_t i = 0; i < s->done; i++) {
        free(s->error[i]);
        s->error[i] = NULL;
    }
}

static void name_bad(RtLoader *l, int64_t item, const char *line) {
    bool *named = &l->bad[item - l->first];
    if (*named)
        return;
    *named = true;
    l->stats.bad++;
    if (l->o.bad)
        l->o.bad(l->o.context, item, line ? line : "no memory to read an image");
}

// Squeezes out the images that failed.
static void squeeze_batch(RtLoader *l, Slot *s) {
    RtBatch *b = &s->batch;
    size_t floats = l->image_floats, width = (size_t)l->data->target_width;
    int64_t n = 0;
    for (int64_t i = 0; i < s->total; i++) {
        if (s->failed[i]) {
            name_bad(l, b->items[i], s->error[i]);
            continue;
        }
        if (n < i) {
            memmove(b->images + (size_t)n * floats, b->images + (size_t)i * floats,
                    floats * sizeof *b->images);
            memmove(b->labels + n * l->places, b->labels + i * l->places,
                    (size_t)l->places * sizeof *b->labels);
            b->items[n] = b->items[i];
            if (b->targets)
                memmove(b->targets + (size_t)n * width, b->targets + (size_t)i * width,
                        width * sizeof *b->targets);
        }
        n++;
    }
    b->n = n;
    drop_errors(s);
}

// Counts the batch. False with err set: its epoch is over and had no image.
static bool count_batch(RtLoader *l, const RtBatch *b, RtErr *err) {
    l->stats.images += b->n;
    if (b->epoch != l->counted_epoch)
        l->epoch_images = l->epoch_batches = 0;
    l->counted_epoch = b->epoch;
    l->epoch_images += b->n;
    l->epoch_batches++;
    if (l->epoch_images > 0 || l->epoch_batches < l->n_share)
        return true;
    return rt_fail(err, "none of the %lld %s images could be read", (long long)l->n,
                   l->o.validation ? "validation" : "training");
}

// Gives back the batch that the consumer has, and waits for the next. NULL: the end.
static Slot *wait_batch(RtLoader *l) {
    Slot *s = NULL;
    uint64_t since = 0;
    pthread_mutex_lock(&l->lock);
    if (l->held || l->paused) {
        l->finished += l->held;
        l->held = l->paused = false;
        pthread_cond_broadcast(&l->work);
    }
    for (;;) {
        s = &l->slot[l->finished % l->n_slots];
        if (l->started > l->finished && s->done == s->total)
            break;
        if (l->started == l->finished && at_end(l)) {
            s = NULL;
            break;
        }
        since = since ? since : rt_now();
        pthread_cond_wait(&l->ready, &l->lock);
    }
    l->held = s != NULL;
    pthread_mutex_unlock(&l->lock);
    if (since)
        l->stats.wait_ns += rt_now() - since;
    return s;
}

const RtBatch *rt_loader_next(RtLoader *l, RtErr *err) {
    err->text[0] = 0;
    Slot *s = wait_batch(l);
    if (!s)
        return NULL;
    squeeze_batch(l, s);
    return count_batch(l, &s->batch, err) ? &s->batch : NULL;
}

// Waits for the workers' images in hand, then empties the ring. Paused afterwards.
static void empty_ring(RtLoader *l) {
    pthread_mutex_lock(&l->lock);
    l->paused = true;
    while (l->busy > 0)
        pthread_cond_wait(&l->ready, &l->lock);
    for (int64_t i = l->finished + l->held; i < l->started; i++)
        drop_errors(&l->slot[i % l->n_slots]);
    l->started = l->finished = 0;
    l->held = false;
    pthread_mutex_unlock(&l->lock);
}

void rt_loader_seek(RtLoader *l, int64_t epoch, int64_t batch) {
    empty_ring(l);
    pthread_mutex_lock(&l->lock);
    go_to(l, epoch + batch / l->batches, batch % l->batches);
    l->epoch_images = l->epoch_batches = 0;
    l->paused = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

int64_t rt_loader_batches(const RtLoader *l) {
    return l->batches;
}

RtLoaderStats rt_loader_stats(const RtLoader *l) {
    return l->stats;
}

// ---- making and ending

static bool alloc_slot(RtLoader *l, Slot *s) {
    size_t n = (size_t)l->o.batch, bytes, width = (size_t)l->data->target_width;
    if (__builtin_mul_overflow(n * sizeof(float), l->image_floats, &bytes))
        return false;
    s->batch.images = rt_alloc_aligned(bytes);
    s->batch.labels = rt_alloc_aligned(n * (size_t)l->places * sizeof *s->batch.labels);
    s->batch.items = malloc(n * sizeof *s->batch.items);
    s->batch.targets = width ? rt_alloc_aligned(n * width * sizeof *s->batch.targets) : NULL;
    s->failed = calloc(n, sizeof *s->failed);
    s->error = calloc(n, sizeof *s->error);
    return s->batch.images && s->batch.labels && s->batch.items && (s->batch.targets || !width) &&
           s->failed && s->error;
}

static bool alloc_loader(RtLoader *l) {
    l->slot = calloc((size_t)l->n_slots, sizeof *l->slot);
    l->bad = calloc((size_t)l->n, sizeof *l->bad);
    bool good = l->slot && l->bad && rt_order_open(&l->order, l->n, l->o.shuffle, l->o.seed);
    for (int i = 0; good && i < l->n_slots; i++)
        good = alloc_slot(l, &l->slot[i]);
    return good;
}

// Signals are for the program's other threads.
static bool start_threads(RtLoader *l) {
    sigset_t all, old;
    int want = l->o.threads > 0 ? l->o.threads : rt_threads(0) / 2;
    want = want < 1 ? 1 : want > MAX_LOADER_THREADS ? MAX_LOADER_THREADS : want;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (l->n_threads < want &&
           pthread_create(&l->thread[l->n_threads], NULL, run_worker, l) == 0)
        l->n_threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return l->n_threads > 0;
}

static bool check_options(const RtDataset *d, const RtLoaderOptions *o, RtErr *err) {
    if ((o->validation ? d->n_val : d->n_train) == 0)
        return rt_fail(err, "there are no %s images", o->validation ? "validation" : "training");
    if (o->batch < 1)
        return rt_fail(err, "a batch has at least 1 image");
    if (d->tensors && o->views != RT_VIEWS_ONE)
        return rt_fail(err, "f32 arrays go to the model as they are: only images have views");
    return !d->tensors || rt_augment_is_none(&o->augment) ||
           rt_fail(err, "f32 arrays go to the model as they are: augmentation is for images");
}

RtLoader *rt_loader_open(const RtDataset *d, const RtLoaderOptions *o, RtErr *err) {
    if (!check_options(d, o, err))
        return NULL;
    RtLoader *l = calloc(1, sizeof *l);
    if (!l) {
        rt_fail(err, "no memory to load images");
        return NULL;
    }
    *l = (RtLoader){.data = d, .o = *o, .paused = true};
    l->first = o->validation ? d->n_train : 0;
    l->n = o->validation ? d->n_val : d->n_train;
    l->places = d->target == RT_TARGET_MAP ? (int64_t)o->map_height * o->map_width : 1;
    l->o.batch = o->batch < l->n ? o->batch : l->n;
    l->batches = (l->n - 1) / l->o.batch + 1;
    l->n_share = count_share(&o->share, l->batches);
    go_to(l, 0, 0);
    l->image_floats = (size_t)o->prep->height * (size_t)o->prep->width * (size_t)o->prep->channels *
                      (size_t)rt_views_count(o->views);
    l->grain = d->state->source[0].kind == RT_SOURCE_FILES ? 1 : ARRAY_GRAIN;
    l->n_slots = (o->ahead > 0 ? o->ahead : DEFAULT_AHEAD) + 1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    if (!alloc_loader(l))
        rt_fail(err, "no memory for %d batches of %lld images", l->n_slots, (long long)l->o.batch);
    else if (!start_threads(l))
        rt_fail(err, "no thread to load images could be started");
    else
        return l;
    rt_loader_close(l);
    return NULL;
}

void rt_loader_close(RtLoader *l) {
    if (!l)
        return;
    empty_ring(l);
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_threads; i++)
        pthread_join(l->thread[i], NULL);
    for (int i = 0; l->slot && i < l->n_slots; i++) {
        Slot *s = &l->slot[i];
        free(s->batch.images);
        free(s->batch.labels);
        free(s->batch.targets);
        free(s->batch.items);
        free(s->failed);
        free(s->error);
    }
    free(l->slot);
    rt_order_close(&l->order);
    free(l->bad);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    free(l);
}
