// The options of hone finetune as values: labels from a number, a file or a folder; stages with
// their epochs and rates.
#define _GNU_SOURCE
#include "tools/finetune.h"

#include "runtime/core/cli.h"
#include "runtime/data/dataset.h"
#include "runtime/image/inputs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool wrong(Finetune *f, const char *fmt, const char *what) {
    ir_error(&f->tool->diag, IR_NOWHERE, fmt, what);
    return false;
}

// ---------------------------------------------------------------- labels

static int only_folders(const struct dirent *e) {
    return e->d_name[0] != '.' &&
           (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN || e->d_type == DT_LNK);
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

bool tool_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

// Of a folder below `path`.
static bool add_label(Finetune *f, const char *name, const char *path, int *cap) {
    const char **v = (const char **)f->labels, *why = rt_name_fault(name);
    if (why) {
        ir_error(&f->tool->diag, IR_NOWHERE, "--classes: %s: the class name '%s' %s", path, name,
                 why);
        return false;
    }
    IR_PUSH(f->tool->arena, v, f->n_labels, *cap, ir_strdup(f->tool->arena, name));
    f->labels = v;
    return true;
}

static bool stop(void *ctx, const char *path, RtErr *err) {
    (void)path, (void)err;
    *(bool *)ctx = true;
    return false;
}

static void note_empty(Finetune *f, const char *path) {
    RtErr err;
    for (int i = 0; i < f->n_labels; i++) {
        const char *folder = ir_sprintf(f->tool->arena, "%s/%s", path, f->labels[i]);
        bool found = false;
        if (!rt_inputs_walk(folder, stop, &found, &err) && !found)
            fprintf(stderr, "note: --classes: %s\n", RT_SHOW(err.text));
    }
}

// CLASS/ below the folder, or below its train/, sorted by name: the order of the data loader.
static bool labels_of_folder(Finetune *f, const char *path) {
    Tool *t = f->tool;
    const char *train = ir_sprintf(t->arena, "%s/train", path);
    path = tool_is_folder(train) ? train : path;
    struct dirent **list;
    int cap = 0, n = scandir(path, &list, only_folders, by_bytes);
    bool good = true;
    for (int i = 0; i < n; i++) {
        if (tool_is_folder(ir_sprintf(t->arena, "%s/%s", path, list[i]->d_name)))
            good &= add_label(f, list[i]->d_name, path, &cap);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    if (!good)
        return false;
    note_empty(f, path);
    f->image.side = tool_pictures_side(t->arena, path, f->labels, f->n_labels);
    return f->n_labels || wrong(f, "--classes: '%s' has no folders, one per class", path);
}

// Data says which class an image has by its name, so names differ.
static bool labels_of_file(Finetune *f, const char *path) {
    RtNames names;
    if (access(path, F_OK) != 0)
        return wrong(f, "--classes takes a number, a file of labels or a folder, not '%s'", path);
    if (!tool_load_names(f->tool, path, &names))
        return false;
    int64_t earlier, line = rt_names_twice(&names, &earlier);
    if (line)
        ir_error(&f->tool->diag, IR_NOWHERE,
                 "--classes: %s: '%s' stands there twice, in lines %lld and %lld", path,
                 names.name[line - 1], (long long)earlier, (long long)line);
    f->labels = tool_keep_names(f->tool, &names);
    f->n_labels = (int)names.n;
    rt_names_free(&names);
    return !line;
}

// Beside pictures and masks, whose pixels say which number of a class they are.
static bool labels_of_masks(Finetune *f, const char *path) {
    static const char *const files[] = {"classes.txt", "labels.txt"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *file = ir_sprintf(f->tool->arena, "%s/%s", path, files[i]);
        if (access(file, F_OK) == 0)
            return labels_of_file(f, file);
    }
    return wrong(
        f,
        "--classes: '%s' holds pictures and masks, and no classes.txt with a name for each "
        "number; give how many classes there are, or a file of their names",
        path);
}

static bool read_classes(Finetune *f) {
    const char *s = f->classes_text ? f->classes_text : f->image.labels;
    if (f->classes_text && f->image.labels)
        return wrong(f, "--classes and --labels exclude each other%s", "");
    f->image.labels = NULL;
    if (!s) {
        f->train.classes = f->train.binary ? 2 : 0;
        return f->train.keep_head || f->train.binary ||
               wrong(f, "give --classes: how many, a file of labels, or a folder%s", "");
    }
    size_t sign = *s == '-', digits = strspn(s + sign, "0123456789");
    if (digits && !s[sign + digits]) {
        long n = strtol(s, NULL, 10);
        f->train.classes = n < 0 ? 0 : n > MAX_CLASSES ? MAX_CLASSES + 1 : (int)n;
    } else {
        bool folder = tool_is_folder(s), masks = folder && rt_dataset_has_masks(s);
        if (!(masks    ? labels_of_masks(f, s)
              : folder ? labels_of_folder(f, s)
                       : labels_of_file(f, s)))
            return false;
        f->train.classes = f->n_labels;
    }
    int least = f->train.multi_label ? 1 : MIN_CLASSES;
    if (f->train.classes < least || f->train.classes > MAX_CLASSES) {
        if (f->n_labels)
            ir_error(&f->tool->diag, IR_NOWHERE,
                     "--classes: '%s' has %d class%s (%s%s), not %d to %d", s, f->n_labels,
                     f->n_labels == 1 ? "" : "es", f->labels[0], f->n_labels == 1 ? "" : ", ...",
                     least, MAX_CLASSES);
        else
            ir_error(&f->tool->diag, IR_NOWHERE, "--classes: '%s' is not from %d to %d classes", s,
                     least, MAX_CLASSES);
        return false;
    }
    if (f->train.binary && f->train.classes != 2)
        return wrong(f, "--binary is for two classes, '%s' are more", s);
    return true;
}

// ---------------------------------------------------------------- stages

static bool parse_number(const char *s, size_t n, double *out) {
    char text[32];
    if (n == 0 || n >= sizeof text || s[0] == '-')
        return false;
    memcpy(text, s, n);
    text[n] = 0;
    return rt_cli_number(text, out);
}

// The last field of SPEC:EPOCHS:RATE when it is a number, cut off. Fields before `least` stay.
static bool take_number(const char *least, char *spec, bool *is_lr, double *out) {
    char *colon = strrchr(spec, ':');
    if (!colon || colon < least)
        return false;
    const char *s = colon + 1;
    *is_lr = strncmp(s, "lr=", 3) == 0;
    s += *is_lr ? 3 : 0;
    if (!parse_number(s, strlen(s), out))
        return false;
    *colon = 0;
    return true;
}

// SPEC[:EPOCHS[:RATE]], the rate also as lr=RATE.
static bool parse_stage(Finetune *f, const char *text, size_t n) {
    if (f->train.n_stages == IR_MAX_STAGES)
        return wrong(f, "--stages: more than 16 stages, at '%s'", text);
    PassTrainStage *s = &f->stage[f->train.n_stages++];
    const char *whole = ir_strndup(f->tool->arena, text, n);
    char *spec = ir_strdup(f->tool->arena, whole);
    const char *least = strncmp(spec, "until:", 6) == 0 ? spec + 6 : spec;
    double number[2];
    bool lr[2], rate_given = false;
    int found = 0;
    while (found < 2 && take_number(least, spec, &lr[found], &number[found]))
        found++;
    *s = (PassTrainStage){.spec = spec};
    for (int i = 0; i < found; i++) { // from the right
        if (lr[i] || (found == 2 && i == 0 && !lr[1])) {
            s->lr = number[i];
            rate_given = true;
        } else {
            s->epochs = number[i] >= 1 && number[i] < 1e6 ? (int)number[i] : 0;
            if (s->epochs != number[i] || !s->epochs)
                return wrong(f, "--stages: '%s': epochs are a number from 1 on", whole);
        }
    }
    if (rate_given && !(s->lr >= 1e-30 && s->lr <= 1e6)) // as the program's own --lr
        return wrong(f, "--stages: '%s': the rate is above 0 and at most 1e6", whole);
    if (strncmp(spec, "head:", 5) == 0 || strncmp(spec, "none:", 5) == 0)
        return wrong(f, "--stages: '%s': epochs and rate are numbers, as in none:5:0.001", whole);
    return *least ? true : wrong(f, "--stages: '%s' names nothing", whole);
}

static bool parse_stages(Finetune *f) {
    if (!f->stages_text) {
        f->train.n_stages = 1;
        f->stage[0] = (PassTrainStage){.spec = f->freeze ? f->freeze : "head"};
        return true;
    }
    if (f->freeze)
        return wrong(f, "--freeze and --stages exclude each other%s", "");
    for (const char *s = f->stages_text;; s++) {
        size_t n = strcspn(s, ",");
        if (!parse_stage(f, s, n))
            return false;
        s += n;
        if (!*s)
            return true;
    }
}

// ---------------------------------------------------------------- the rest

static bool parse_lr_mults(Finetune *f) { // GLOB=FACTOR
    for (int k = 0; k < f->lr_mults.n; k++) {
        const char *text = f->lr_mults.v[k], *eq = strrchr(text, '=');
        double x;
        if (!eq || eq == text || !rt_cli_number(eq + 1, &x) || !(x >= 0 && x < 1e6))
            return wrong(f, "--lr-mult takes GLOB=FACTOR, not '%s'", text);
        f->lr_mult[k] = (PassLrMult){ir_strndup(f->tool->arena, text, (size_t)(eq - text)), x};
    }
    f->train.n_lr_mult = f->lr_mults.n;
    f->train.lr_mult = f->lr_mult;
    return true;
}

// --params +GLOB,-GLOB,... as a list.
static bool parse_params(Finetune *f) {
    const char **list = NULL;
    int cap = 0;
    for (int k = 0; k < f->params.n; k++) {
        for (const char *s = f->params.v[k]; *s;) {
            size_t n = strcspn(s, ",");
            const char *one = ir_strndup(f->tool->arena, s, n);
            if (n < 2 || (*one != '+' && *one != '-'))
                return wrong(f, "--params takes +GLOB and -GLOB, joined by commas, not '%s'", one);
            IR_PUSH(f->tool->arena, list, f->train.n_params, cap, one);
            s += n + (s[n] == ',');
        }
    }
    f->train.params = list;
    return true;
}

bool tool_read_train_options(Finetune *f) {
    double x;
    if (f->train.binary && f->train.multi_label)
        return wrong(f, "--binary and --multi-label exclude each other%s", "");
    if (f->bn && strcmp(f->bn, "frozen") != 0 && strcmp(f->bn, "train") != 0)
        return wrong(f, "--bn takes frozen or train, not '%s'", f->bn);
    f->train.bn_train = f->bn && strcmp(f->bn, "train") == 0;
    f->train.dropout = -1;
    if (f->dropout_text) {
        if (!parse_number(f->dropout_text, strlen(f->dropout_text), &x) || x >= 1)
            return wrong(f, "--head-dropout takes a share from 0 to below 1, not '%s'",
                         f->dropout_text);
        f->train.dropout = x;
    }
    if (f->seed_text) {
        char *end;
        errno = 0;
        f->train.seed = strtoull(f->seed_text, &end, 10);
        if (errno || *end || !isdigit((unsigned char)f->seed_text[0]))
            return wrong(f, "--seed takes a number from 0 on, not '%s'", f->seed_text);
    }
    f->train.layer_decay = f->layer_decay.given ? f->layer_decay.v : 0;
    f->train.batch = f->train.batch ? f->train.batch : DEFAULT_BATCH;
    f->train.stages = f->stage;
    f->train.n_unfreeze = f->unfreeze.n;
    f->train.unfreeze = f->unfreeze.v;
    return read_classes(f) && parse_stages(f) && parse_params(f) && parse_lr_mults(f);
}
