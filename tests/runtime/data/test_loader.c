// The loader under load: the same batches for any number of threads, from any position, with images
// that cannot be read; ended at any moment. ThreadSanitizer runs it too (runtime_loader_tsan).
#include "tests/check.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>

#include "runtime/data/loader.h"

enum { EPOCHS = 3, BATCH = 5, MOST = 64, SIDE = 16 };

static const HonePreprocess prep = {.channels = 3,
                                    .height = SIDE,
                                    .width = SIDE,
                                    .resize = SIDE + 2,
                                    .scale = 1.0f / 255.0f,
                                    .std = {1, 1, 1}};

typedef struct Seen { // of one batch
    int64_t epoch, index, n, items[BATCH];
    uint64_t hash;
} Seen;

typedef struct Bad {
    int n;
    char line[8][256];
} Bad;

static char root[256];

static void put_file(const char *folder, const char *name, const void *data, size_t bytes) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    FILE *f = fopen(path, "wb");
    if (CHECK(f != NULL)) {
        fwrite(data, 1, bytes, f);
        fclose(f);
    }
}

// Two classes with the golden images in each, and files that are broken.
static void make_folder(void) {
    const char *temp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/hone-loader-XXXXXX", temp ? temp : P_tmpdir);
    CHECK(mkdtemp(root) != NULL);
    DIR *dir = opendir("tests/runtime/golden");
    struct dirent *e;
    while (CHECK(dir != NULL) && (e = readdir(dir))) {
        RtErr err;
        size_t size;
        char path[512];
        if (!strstr(e->d_name, ".jpg") && !strstr(e->d_name, ".png"))
            continue;
        snprintf(path, sizeof path, "tests/runtime/golden/%s", e->d_name);
        uint8_t *data = rt_file_load(path, 1 << 20, &size, &err);
        put_file("a", e->d_name, data, size);
        put_file("b", e->d_name, data, size);
        free(data);
    }
    closedir(dir);
    put_file("a", "broken.jpg", "\xff\xd8\xff\xe0", 4);
    put_file("b", "empty.png", "", 0);
    put_file("b", "text.jpg", "hello", 5);
}

static void remove_folder(void) {
    char path[512];
    for (const char *c = "ab"; *c; c++) {
        snprintf(path, sizeof path, "%s/%c", root, *c);
        DIR *dir = opendir(path);
        struct dirent *e;
        while (dir && (e = readdir(dir))) {
            char name[1024];
            snprintf(name, sizeof name, "%s/%s", path, e->d_name);
            unlink(name);
        }
        closedir(dir);
        rmdir(path);
    }
    rmdir(root);
}

static void name_bad(void *context, int64_t item, const char *line) {
    Bad *b = context;
    (void)item;
    snprintf(b->line[b->n++ % 8], sizeof b->line[0], "%s", line + strlen(root));
}

static RtDataset *open_set(void) {
    RtDataOptions o = {.classes = 2, .prep = &prep, .seed = 1, .val_fraction = 0.2};
    RtDataset *d = rt_dataset_open(root, &o);
    CHECK(d != NULL);
    return d;
}

static RtLoader *open_loader(const RtDataset *d, int threads, RtAugmentKind augment, Bad *bad) {
    RtErr err;
    RtLoaderOptions o = {.prep = &prep,
                         .batch = BATCH,
                         .shuffle = true,
                         .augment = {.kind = augment},
                         .seed = 9,
                         .epochs = EPOCHS,
                         .threads = threads,
                         .ahead = threads > 2 ? 4 : 1,
                         .bad = name_bad,
                         .context = bad};
    RtLoader *l = rt_loader_open(d, &o, &err);
    if (!CHECK(l != NULL))
        fprintf(stderr, "%s\n", err.text);
    return l;
}

static Seen see_batch(const RtBatch *b) {
    Seen s = {.epoch = b->epoch, .index = b->index, .n = b->n, .hash = 1469598103934665603u};
    const uint8_t *p = (const uint8_t *)b->images;
    for (size_t i = 0; i < (size_t)b->n * 3 * SIDE * SIDE * sizeof(float); i++)
        s.hash = (s.hash ^ p[i]) * 1099511628211u;
    for (int64_t i = 0; i < b->n; i++) {
        s.items[i] = b->items[i];
        s.hash = (s.hash ^ (uint64_t)b->labels[i]) * 1099511628211u;
    }
    return s;
}

// All batches from here on. Returns how many.
static int see_all(RtLoader *l, Seen *seen) {
    RtErr err;
    int n = 0;
    for (const RtBatch *b; n < MOST && (b = rt_loader_next(l, &err)); n++)
        seen[n] = see_batch(b);
    CHECK_STR_EQ(err.text, "");
    CHECK(rt_loader_next(l, &err) == NULL);
    return n;
}

static void batches_do_not_depend_on_threads(void) {
    RtDataset *d = open_set();
    for (RtAugmentKind augment = RT_AUGMENT_NONE; augment <= RT_AUGMENT_IMAGENET; augment++) {
        Seen want[MOST] = {0};
        int n = 0;
        for (int threads = 1; threads <= 8; threads *= 2) {
            Seen got[MOST] = {0};
            Bad bad = {0};
            RtLoader *l = open_loader(d, threads, augment, &bad);
            int k = see_all(l, got);
            CHECK_INT_EQ(k, EPOCHS * rt_loader_batches(l));
            CHECK_INT_EQ(rt_loader_stats(l).bad, bad.n);
            CHECK(bad.n >= 1 && bad.n <= 3);
            if (threads == 1) {
                n = k;
                memcpy(want, got, sizeof want);
            }
            CHECK_INT_EQ(k, n);
            CHECK(memcmp(want, got, sizeof want) == 0);
            rt_loader_close(l);
        }
        // Each epoch has all readable items once, in another order.
        CHECK(memcmp(want[0].items, want[n / EPOCHS].items, sizeof want[0].items) != 0);
        CHECK(augment == RT_AUGMENT_NONE || want[0].hash != want[n / EPOCHS].hash);
    }
    rt_dataset_close(d);
}

static void resuming_gives_the_rest(void) {
    RtDataset *d = open_set();
    Seen want[MOST] = {0};
    Bad bad = {0};
    RtErr err;
    RtLoader *l = open_loader(d, 2, RT_AUGMENT_IMAGENET, &bad);
    int n = see_all(l, want);
    int64_t batches = rt_loader_batches(l);
    for (int from = 0; from <= n; from++) {
        Seen got[MOST] = {0};
        rt_loader_seek(l, from / batches, from % batches);
        CHECK_INT_EQ(see_all(l, got), n - from);
        CHECK(memcmp(want + from, got, sizeof *got * (size_t)(n - from)) == 0);
    }
    rt_loader_seek(l, 0, batches); // the next epoch's first
    const RtBatch *b = rt_loader_next(l, &err);
    CHECK(b && b->epoch == 1 && b->index == 0);
    rt_loader_close(l);
    rt_dataset_close(d);
}

static void ending_at_any_moment_is_clean(void) {
    RtDataset *d = open_set();
    RtErr err;
    for (int threads = 1; threads <= 4; threads += 3)
        for (int taken = 0; taken < 10; taken++) {
            Bad bad = {0};
            RtLoader *l = open_loader(d, threads, RT_AUGMENT_LIGHT, &bad);
            for (int i = 0; i < taken; i++) {
                CHECK(rt_loader_next(l, &err) != NULL);
                if (i % 3 == 2)
                    rt_loader_seek(l, 0, i);
            }
            rt_loader_close(l);
        }
    rt_dataset_close(d);
    rt_loader_close(NULL);
    rt_dataset_close(NULL);
}

static void batches_are_aligned_and_bad_images_named_once(void) {
    RtDataset *d = open_set();
    Bad bad = {0};
    RtErr err;
    RtLoader *l = open_loader(d, 3, RT_AUGMENT_NONE, &bad);
    int64_t images = 0, last = 0;
    for (const RtBatch *b; (b = rt_loader_next(l, &err));) {
        CHECK((uintptr_t)b->images % RT_ALIGN == 0);
        images += b->n;
        last += b->last;
        for (int64_t i = 0; i < b->n; i++)
            CHECK_INT_EQ(b->labels[i], rt_dataset_label(d, b->items[i]));
    }
    CHECK_INT_EQ(last, EPOCHS);
    CHECK_INT_EQ(images, EPOCHS * (d->n_train - bad.n));
    CHECK_INT_EQ(images, rt_loader_stats(l).images);
    for (int i = 0; i < bad.n; i++)
        for (int k = 0; k < i; k++)
            CHECK(strcmp(bad.line[i], bad.line[k]) != 0);
    rt_loader_close(l);
    rt_dataset_close(d);
}

static void a_vanished_file_is_left_out(void) {
    RtDataset *d = open_set();
    char name[1024];
    rt_dataset_item_name(d, 3, name, sizeof name);
    unlink(name);
    Bad bad = {0};
    RtErr err;
    RtLoader *l = open_loader(d, 2, RT_AUGMENT_NONE, &bad);
    int64_t seen = 0;
    for (const RtBatch *b; (b = rt_loader_next(l, &err));)
        for (int64_t i = 0; i < b->n; i++)
            seen += b->items[i] == 3;
    CHECK_INT_EQ(seen, 0);
    bool named = false;
    for (int i = 0; i < bad.n; i++)
        named |= strncmp(bad.line[i], name + strlen(root), strlen(name) - strlen(root)) == 0 &&
                 strstr(bad.line[i], "No such file");
    CHECK(named);
    rt_loader_close(l);
    rt_dataset_close(d);
}

static void wrong_options_are_errors(void) {
    RtDataset *d = open_set();
    RtErr err;
    RtLoaderOptions o = {.prep = &prep, .batch = 0};
    CHECK(rt_loader_open(d, &o, &err) == NULL);
    CHECK_STR_EQ(err.text, "a batch has at least 1 image");
    rt_dataset_close(d);
    RtDataOptions all = {.classes = 2, .prep = &prep, .val_fraction = 0};
    d = rt_dataset_open(root, &all);
    o.batch = 1;
    o.validation = true;
    CHECK(rt_loader_open(d, &o, &err) == NULL);
    CHECK_STR_EQ(err.text, "there are no validation images");
    rt_dataset_close(d);
}

int main(void) {
    make_folder();
    CHECK_RUN(batches_do_not_depend_on_threads);
    CHECK_RUN(resuming_gives_the_rest);
    CHECK_RUN(ending_at_any_moment_is_clean);
    CHECK_RUN(batches_are_aligned_and_bad_images_named_once);
    CHECK_RUN(a_vanished_file_is_left_out);
    CHECK_RUN(wrong_options_are_errors);
    remove_folder();
    return check_done();
}
