// Data sets, augmentation and loading as commands, for the scripts that test them:
//   open SPEC OPTION...          what a set holds, one item a line
//   sample SPEC ITEM OUT.npy OPTION...      the model's input
//   thumb SPEC ITEM SIDE OUT.jpg OPTION...
//   seal INDEX                   damaged on purpose, it gets a checksum that is right
//   load SPEC OPTION...          one line a batch: epoch, index, n, items, labels, checksum of the
//   rest plan KIND WIDTH HEIGHT N OPTION...      N random plans, one a line apply IMAGE LEFT TOP
//   WIDTH HEIGHT FLIP [JITTER FACTOR]... OUT.npy OPTION...    imagenet's
// Options, all with values: classes, labels (a,b,c), val, fraction, seed, eval, target
// (class|binary|multi), model (3x8x8), resize, augment, epoch, threads, batch, epochs, shuffle,
// part, index, least, folds, fold, aa, smooth, from-epoch, from-batch, delay (ms that the consumer
// works on a batch)
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/core/cli.h"
#include "runtime/data/loader.h"
#include "runtime/file/npy.h"

typedef struct Probe {
    const char *labels, *val, *target, *model, *augment, *part, *index, *how, *policies;
    float fraction;
    int classes, seed, eval, resize, epoch, threads, batch, epochs, shuffle, from_epoch, from_batch;
    int delay, ahead, least, smooth, folds, fold;
    const char *label[64];
    RtAugment kind;
    HonePreprocess prep;
} Probe;

static int fail(const RtErr *err) {
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

static void say(void *context, bool is_error, const char *line) {
    (void)context;
    fprintf(is_error ? stderr : stdout, is_error ? "%s\n" : "note: %s\n", line);
}

static bool parse_options(Probe *p, int argc, char **argv, RtCliList *rest, RtErr *err) {
    RtCliOption options[] = {
        {"--classes", RT_CLI_INT, &p->classes, 1, 1e6, NULL, NULL},
        {"--labels", RT_CLI_TEXT, &p->labels, 0, 0, NULL, NULL},
        {"--val", RT_CLI_TEXT, &p->val, 0, 0, NULL, NULL},
        {"--fraction", RT_CLI_FLOAT, &p->fraction, 0, 0.99, NULL, NULL},
        {"--seed", RT_CLI_INT, &p->seed, 0, 1e9, NULL, NULL},
        {"--eval", RT_CLI_INT, &p->eval, 0, 1, NULL, NULL},
        {"--index", RT_CLI_TEXT, &p->index, 0, 0, NULL, NULL},
        {"--target", RT_CLI_TEXT, &p->target, 0, 0, NULL, NULL},
        {"--model", RT_CLI_TEXT, &p->model, 0, 0, NULL, NULL},
        {"--resize", RT_CLI_INT, &p->resize, 0, 1e6, NULL, NULL},
        {"--augment", RT_CLI_TEXT, &p->augment, 0, 0, NULL, NULL},
        {"--epoch", RT_CLI_INT, &p->epoch, 0, 1e6, NULL, NULL},
        {"--threads", RT_CLI_INT, &p->threads, 0, 64, NULL, NULL},
        {"--batch", RT_CLI_INT, &p->batch, 0, 1e6, NULL, NULL},
        {"--epochs", RT_CLI_INT, &p->epochs, 0, 1e6, NULL, NULL},
        {"--shuffle", RT_CLI_INT, &p->shuffle, 0, 1, NULL, NULL},
        {"--part", RT_CLI_TEXT, &p->part, 0, 0, NULL, NULL},
        {"--from-epoch", RT_CLI_INT, &p->from_epoch, 0, 1e6, NULL, NULL},
        {"--from-batch", RT_CLI_INT, &p->from_batch, 0, 1e6, NULL, NULL},
        {"--delay", RT_CLI_INT, &p->delay, 0, 1000, NULL, NULL},
        {"--least", RT_CLI_INT, &p->least, 0, 1e6, NULL, NULL},
        {"--erase", RT_CLI_FLOAT, &p->kind.erase, 0, 1, NULL, NULL},
        {"--how", RT_CLI_CHOICE, &p->how, 0, 0, "pixel|rand|const", NULL},
        {"--aa", RT_CLI_TEXT, &p->policies, 0, 0, NULL, NULL},
        {"--folds", RT_CLI_INT, &p->folds, 0, 1e6, NULL, NULL},
        {"--fold", RT_CLI_INT, &p->fold, 0, 1e6, NULL, NULL},
        {"--smooth", RT_CLI_INT, &p->smooth, 0, 1, NULL, NULL},
        {"--ahead", RT_CLI_INT, &p->ahead, 0, 1000, NULL, NULL},
    };
    if (!rt_cli_parse(options, sizeof options / sizeof *options, argc, argv, rest, err))
        return false;
    static char labels[1024];
    snprintf(labels, sizeof labels, "%s", p->labels ? p->labels : "");
    int n = 0;
    for (char *l = strtok(labels, ","); l; l = strtok(NULL, ","))
        p->label[n++] = l;
    p->classes = n ? n : p->classes;
    if (sscanf(p->model, "%dx%dx%d", &p->prep.channels, &p->prep.height, &p->prep.width) != 3 ||
        !rt_augment_parse(p->augment, &p->kind.kind))
        return rt_fail(err, "bad --model or --augment");
    if (!rt_policies_parse(p->policies, &p->kind.policies, err))
        return false;
    p->kind.how = *p->how == 'p' ? RT_ERASE_PIXEL : *p->how == 'r' ? RT_ERASE_RAND : RT_ERASE_CONST;
    p->prep.resize = p->resize;
    p->prep.scale = 1.0f / 255.0f;
    for (int i = 0; i < 3; i++) {
        p->prep.mean[i] = 0.25f;
        p->prep.std[i] = 0.5f;
    }
    return true;
}

static RtDataset *open_set(const Probe *p, const char *spec) {
    RtDataOptions o = {.val = p->val,
                       .val_fraction = (double)p->fraction,
                       .seed = (uint64_t)p->seed,
                       .eval_only = p->eval,
                       .folds = p->folds,
                       .fold = p->fold,
                       .classes = p->classes,
                       .labels = p->labels ? p->label : NULL,
                       .target = !strcmp(p->target, "multi")    ? RT_TARGET_MULTI
                                 : !strcmp(p->target, "binary") ? RT_TARGET_BINARY
                                                                : RT_TARGET_CLASS,
                       .index = p->index,
                       .prep = &p->prep,
                       .say = say};
    RtDataset *d = rt_dataset_open(spec, &o);
    if (d)
        d->least = p->least;
    return d;
}

static int run_open(Probe *p, const char **a) {
    RtDataset *d = open_set(p, a[0]);
    if (!d)
        return 1;
    printf("classes");
    for (int i = 0; i < d->classes; i++)
        printf(" %s:%lld", d->names[i], (long long)d->class_size[i]);
    printf("\nnamed %d tensors %d train %lld val %lld\nfingerprint %s\n", d->named, d->tensors,
           (long long)d->n_train, (long long)d->n_val, d->fingerprint);
    if (d->place)
        printf("whole %s\n", d->whole);
    float *row = calloc((size_t)d->target_width + 1, sizeof *row);
    for (int64_t i = 0; i < d->n_train + d->n_val; i++) {
        char name[4096];
        rt_dataset_target(d, i, row);
        printf("%s %d", i < d->n_train ? "train" : "val", rt_dataset_label(d, i));
        for (int k = 0; k < d->target_width; k++)
            printf("%s%g", k ? "," : " ", (double)row[k]);
        printf(" %s\n", rt_dataset_item_name(d, i, name, sizeof name));
    }
    free(row);
    rt_dataset_close(d);
    return 0;
}

static int write_array(const char *path, int dtype, const int64_t *dim, const void *data) {
    RtErr err;
    RtOutFile out;
    if (!rt_out_open(&out, NULL, path, RT_OUT_WHOLE, &err) || !rt_out_begin(&out, &err) ||
        !rt_npy_write(&out, dtype, 3, dim, data))
        return fail(&err);
    return rt_out_commit(&out, &err) ? 0 : fail(&err);
}

static int run_sample(Probe *p, const char **a) {
    RtErr err;
    RtDataset *d = open_set(p, a[0]);
    int64_t dim[3] = {p->prep.channels, p->prep.height, p->prep.width};
    float *x = calloc((size_t)(dim[0] * dim[1] * dim[2]), sizeof *x);
    int code =
        !d ? 1
        : rt_dataset_sample(d, atoi(a[1]), &p->prep, p->kind, (uint64_t)p->seed, p->epoch, x, &err)
            ? write_array(a[2], HONE_F32, dim, x)
            : fail(&err);
    free(x);
    rt_dataset_close(d);
    return code;
}

static int run_thumb(Probe *p, const char **a) {
    RtErr err;
    RtDataset *d = open_set(p, a[0]);
    size_t bytes;
    uint8_t *jpeg =
        d ? rt_dataset_thumbnail(d, atoi(a[1]), &p->prep, atoi(a[2]), &bytes, &err) : NULL;
    int code = jpeg ? 0 : d ? fail(&err) : 1;
    FILE *f = jpeg ? fopen(a[3], "wb") : NULL;
    if (f) {
        fwrite(jpeg, 1, bytes, f);
        fclose(f);
    }
    free(jpeg);
    rt_dataset_close(d);
    return code;
}

static uint64_t hash_bytes(const void *data, size_t n) {
    uint64_t h = 14695981039346656037u;
    for (const uint8_t *p = data, *end = p + n; p < end; p++)
        h = (h ^ *p) * 1099511628211u;
    return h;
}

static void print_batch(const Probe *p, const RtDataset *d, const RtBatch *b) {
    size_t floats = (size_t)(p->prep.channels * p->prep.height * p->prep.width);
    printf("%lld.%lld%s n=%lld items", (long long)b->epoch, (long long)b->index,
           b->last ? " last" : "", (long long)b->n);
    for (int64_t i = 0; i < b->n; i++)
        printf(" %lld:%d", (long long)b->items[i], b->labels[i]);
    printf(" x %016llx",
           (unsigned long long)hash_bytes(b->images, (size_t)b->n * floats * sizeof(float)));
    if (b->targets)
        printf(" t %016llx",
               (unsigned long long)hash_bytes(b->targets, (size_t)b->n * (size_t)d->target_width *
                                                              sizeof(float)));
    puts("");
}

static void name_bad(void *context, int64_t item, const char *line) {
    (void)context;
    printf("bad %lld %s\n", (long long)item, line);
}

static int run_load(Probe *p, const char **a) {
    RtErr err;
    RtDataset *d = open_set(p, a[0]);
    if (!d)
        return 1;
    RtLoaderOptions o = {.prep = &p->prep,
                         .batch = p->batch,
                         .validation = !strcmp(p->part, "val"),
                         .shuffle = p->shuffle,
                         .augment = p->kind,
                         .seed = (uint64_t)p->seed,
                         .epochs = p->epochs,
                         .threads = p->threads,
                         .ahead = p->ahead,
                         .bad = name_bad};
    RtLoader *l = rt_loader_open(d, &o, &err);
    int code = l ? 0 : fail(&err);
    if (l) {
        if (p->from_epoch || p->from_batch)
            rt_loader_seek(l, p->from_epoch, p->from_batch);
        for (const RtBatch *b; (b = rt_loader_next(l, &err));) {
            print_batch(p, d, b);
            usleep((useconds_t)p->delay * 1000);
        }
        code = err.text[0] ? fail(&err) : 0;
        RtLoaderStats s = rt_loader_stats(l);
        printf("images %lld bad %lld\n", (long long)s.images, (long long)s.bad);
        fprintf(stderr, p->delay ? "wait %.3f ms\n" : "", (double)s.wait_ns * 1e-6);
    }
    rt_loader_close(l);
    rt_dataset_close(d);
    return code;
}

static int run_plan(Probe *p, const char **a) {
    int w = atoi(a[0]), h = atoi(a[1]);
    for (int i = 0; i < atoi(a[2]); i++) {
        RtAugmentPlan q = rt_augment_plan(&p->kind, &p->prep, w, h, (uint64_t)p->seed, p->epoch, i);
        printf("%d %d %d %d %lld %lld %lld %lld %d", q.left, q.top, q.width, q.height,
               (long long)q.window.full_width, (long long)q.window.full_height,
               (long long)q.window.left, (long long)q.window.top, q.flip);
        for (int k = 0; k < q.n_jitters; k++)
            printf(" %d %.9g", q.jitter[k], (double)q.factor[k]);
        puts("");
    }
    return 0;
}

static int run_apply(Probe *p, const char **a) {
    RtErr err;
    RtImage image;
    int w = p->prep.width, h = p->prep.height;
    RtAugmentPlan plan = {.left = atoi(a[1]),
                          .top = atoi(a[2]),
                          .width = atoi(a[3]),
                          .height = atoi(a[4]),
                          .window = {w, h, 0, 0, w, h},
                          .flip = atoi(a[5])};
    const char **next = a + 6;
    for (; next[0] && next[1]; next += 2) {
        plan.jitter[plan.n_jitters] = atoi(next[0]);
        plan.factor[plan.n_jitters++] = strtof(next[1], NULL);
    }
    if (!rt_image_load(a[0], p->prep.channels, false, &image, &err))
        return fail(&err);
    int64_t dim[3] = {h, w, image.channels};
    uint8_t *pixel = malloc((size_t)(dim[0] * dim[1] * dim[2]));
    int code = rt_augment_pixels(&plan, &image, pixel, &err)
                   ? write_array(next[0], HONE_U8, dim, pixel)
                   : fail(&err);
    free(pixel);
    rt_image_free(&image);
    return code;
}

// The checksum of an index, made right again: of all from byte 24 on, at byte 16.
static int run_seal(Probe *p, const char **a) {
    enum { SUM_AT = 16, FROM = 24 };
    (void)p;
    RtErr err;
    size_t size;
    uint8_t *data = rt_file_load(a[0], 1 << 24, &size, &err);
    FILE *f = data ? fopen(a[0], "wb") : NULL;
    if (!f)
        return 1;
    if (size > FROM) {
        uint64_t sum = XXH3_64bits(data + FROM, size - FROM);
        memcpy(data + SUM_AT, &sum, sizeof sum);
    }
    fwrite(data, 1, size, f);
    fclose(f);
    free(data);
    return 0;
}

static int run_policy(Probe *p, const char **a) {
    RtErr err;
    RtImage image;
    RtPolicy policy = {atoi(a[1]), strtod(a[3], NULL), p->smooth, {0}};
    if (p->smooth)
        memcpy(policy.fill, (uint8_t[]){124, 116, 104}, sizeof policy.fill);
    if (!rt_image_load(a[0], p->prep.channels, false, &image, &err))
        return fail(&err);
    int64_t dim[3] = {image.height, image.width, image.channels};
    int code = rt_policy_apply(&policy, &image, &err) ? write_array(a[2], HONE_U8, dim, image.pixel)
                                                      : fail(&err);
    rt_image_free(&image);
    return code;
}

static int run_policies(Probe *p, const char **a) {
    RtPolicy x[RT_MAX_POLICIES];
    char text[RT_POLICIES_TEXT];
    printf("%s\n", rt_policies_text(&p->kind.policies, text));
    for (int i = 0; i < atoi(a[0]); i++) {
        RtRng r = rt_rng((uint64_t)p->seed, p->epoch, i, RT_RNG_POLICY);
        int n = rt_policies_draw(&p->kind.policies, p->prep.width, p->prep.height,
                                 (uint8_t[]){1, 2, 3}, &r, x);
        for (int k = 0; k < n; k++)
            printf("%s%d:%.9g", k ? " " : "", x[k].op, x[k].how_far);
        putchar('\n');
    }
    return 0;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int least, most; // words
        int (*run)(Probe *, const char **);
    } commands[] = {
        {"open", 1, 1, run_open}, {"sample", 3, 3, run_sample}, {"thumb", 4, 4, run_thumb},
        {"load", 1, 1, run_load}, {"plan", 3, 3, run_plan},     {"apply", 7, 13, run_apply},
        {"seal", 1, 1, run_seal}, {"policy", 4, 4, run_policy}, {"policies", 1, 1, run_policies}};
    Probe p = {.classes = 2,
               .target = "class",
               .model = "3x8x8",
               .augment = "none",
               .part = "train",
               .how = "pixel",
               .policies = "none",
               .batch = 4,
               .epochs = 1,
               .threads = 1,
               .fraction = 0.2f};
    RtErr err;
    RtCliList rest = {0};
    if (!parse_options(&p, argc - 1, argv + 1, &rest, &err)) {
        free(rest.item);
        return fail(&err) + 1;
    }
    int code = 2;
    const char *words[16] = {0};
    for (int i = 1; i < rest.n && i < 16; i++)
        words[i - 1] = rest.item[i];
    for (size_t i = 0; rest.n && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(rest.item[0], commands[i].name) == 0 && rest.n - 1 >= commands[i].least &&
            rest.n - 1 <= commands[i].most)
            code = commands[i].run(&p, words);
    free(rest.item);
    return code;
}
