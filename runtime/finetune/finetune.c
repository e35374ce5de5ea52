// What the subcommands of a fine-tune program share: command lines, complaints, the trained model,
// names of classes.
#include "runtime/finetune/finetune.h"

#include "runtime/train/stored.h"

#include <stdlib.h>
#include <string.h>

int rt_fine_batch(const HoneTrainDesc *d) {
    return d->batch ? d->batch : RT_DEFAULT_BATCH;
}

int rt_fine_complain(const char *text) {
    fprintf(stderr, "%s\n", RT_SHOW(text));
    return RT_EXIT_INPUT;
}

static int complain_usage(const RtFine *f, const char *subcommand, const char *text) {
    fprintf(stderr, "%s %s: %s\nTry '%s %s --help'.\n", f->program, subcommand, RT_SHOW(text),
            f->program, subcommand);
    return RT_EXIT_USAGE;
}

bool rt_fine_parse(const RtFine *f, const char *subcommand, const char *about,
                   const RtCliOption *options, int n, const bool *help, int argc, char **argv,
                   RtCliList *rest, int least, int most, int *code) {
    RtErr err;
    *code = RT_EXIT_USAGE;
    if (!rt_cli_parse(options, n, argc, argv, rest, &err)) {
        complain_usage(f, subcommand, err.text);
        return false;
    }
    if (*help) {
        printf("Usage: %s %s %s\n\n", f->program, subcommand, about);
        rt_cli_help(stdout, options, n);
        *code = RT_EXIT_FINE;
        return false;
    }
    if (rest->n < least || rest->n > most) {
        const char *word = about + strcspn(about, " \n"); // behind [OPTION...]
        if (rest->n < least)
            rt_fail(&err, "give%.*s", (int)strcspn(word, "\n"), word);
        else
            rt_fail(&err, "'%s' is one word too many", rest->item[most]);
        complain_usage(f, subcommand, err.text);
        return false;
    }
    return true;
}

RtEngine *rt_fine_open_trained(const RtFine *f, const char *folder, int threads, char **labels) {
    RtErr err;
    char key[96];
    *labels = NULL;
    RtEngine *t = rt_engine_open(f->d, threads, &err);
    bool ok = t && rt_engine_open_stage(t, f->d->n_stages - 1, &err) &&
              (!folder || rt_checkpoint_load_best(
                              folder, t, rt_train_model_key(f->d, key, sizeof key), labels, &err));
    if (ok) {
        rt_stored_round(f->d, rt_engine_buffer(t, RT_ENGINE_P)); // as the exported model has them
        return t;
    }
    rt_fine_complain(err.text);
    rt_engine_close(t);
    return NULL;
}

const char **rt_fine_names(const RtFine *f, char *lines) {
    int n = f->d->binary ? 2 : f->d->classes;
    const char **names = calloc((size_t)n + 1, sizeof *names);
    for (int i = 0; names && i < n; i++) {
        if (f->d->info->labels) {
            names[i] = i < f->d->info->n_labels ? f->d->info->labels[i] : "";
        } else if (lines) {
            names[i] = lines;
            lines += strcspn(lines, "\n");
            if (*lines)
                *lines++ = 0;
        } else {
            names[i] = "";
        }
    }
    return names;
}

bool rt_fine_take_views(const RtFine *f, RtViews views) {
    if (f->d->map_height && views != RT_VIEWS_ONE && views != RT_VIEWS_FLIP) {
        rt_fine_complain("--tta five-crop and ten-crop are not for networks that label pixels: "
                         "crops show other places of the picture, --tta flip the same");
        return false;
    }
    const HonePreprocess *p = &f->d->info->preprocess;
    if (rt_views_are_alike(views, p))
        fprintf(stderr,
                "--tta: pictures are resized to %d x %d, which is all that is cut out: their "
                "corners are hardly other views; a larger --resize when the program is made "
                "(hone finetune) leaves a margin\n",
                p->width, p->height);
    return true;
}
