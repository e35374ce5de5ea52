// The program that `hone finetune` makes: subcommands over the graphs, parameters and pretrained
// model in its tables.
#define _GNU_SOURCE
#include "runtime/finetune/finetune.h"

#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/train/export.h"
#include "runtime/file/json.h"

typedef struct Subcommand {
    const char *name;
    int (*run)(const RtFine *, int, char **);
    const char *help;
} Subcommand;

static const Subcommand subcommands[] = {
    {"train", rt_fine_train, "DATA: fine-tune on your images, write the tuned ONNX model"},
    {"eval", rt_fine_eval, "DATA: loss and accuracy of the tuned model"},
    {"predict", rt_fine_predict, "IMAGE...: the most likely classes of each"},
    {"export", rt_fine_export, "tuned.onnx: write the tuned model again"},
    {"info", rt_fine_info, "what trains in which stage, preprocessing, classes"},
    {"bench", rt_fine_bench, "speed and memory of a training step on synthetic data"},
};
enum { N_SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

int rt_fine_complain(const char *text) {
    fprintf(stderr, "%s\n", text);
    return RT_EXIT_INPUT;
}

static int complain_usage(const RtFine *f, const char *subcommand, const char *text) {
    fprintf(stderr, "%s %s: %s\nTry '%s %s --help'.\n", f->program, subcommand, text, f->program,
            subcommand);
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
        complain_usage(f, subcommand, rest->n < least ? "something is missing" : "too many words");
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
    if (ok)
        return t;
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

// ---------------------------------------------------------------- export and info

int rt_fine_export(const RtFine *f, int argc, char **argv) {
    const char *folder = f->folder;
    bool help = false;
    const RtCliOption options[] = {RT_FINE_CHECKPOINT(&folder), RT_FINE_HELP(&help)};
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(f, "export",
                      "[OPTION...] OUT.onnx\n\nWrites the best parameters of the newest checkpoint "
                      "as an ONNX model,\nready for `hone compile` or any other runtime.",
                      options, 2, &help, argc, argv, &rest, 1, 1, &code)) {
        char *labels;
        RtErr err;
        RtEngine *t = rt_fine_open_trained(f, folder, 1, &labels);
        RtExportMeta meta = {"hone.labels", labels};
        bool named = labels && *labels && !f->d->info->labels;
        code = RT_EXIT_INPUT;
        if (t && rt_export_onnx(f->d, rt_engine_buffer(t, RT_ENGINE_P), &meta, named ? 1 : 0,
                                rest.item[0], &err))
            code = RT_EXIT_FINE;
        else if (t)
            rt_fine_complain(err.text);
        free(labels);
        rt_engine_close(t);
    }
    free(rest.item);
    return code;
}

void rt_fine_print_plan(const HoneTrainDesc *d, FILE *f) {
    int wide = 4, op = 2;
    for (int i = 0; i < d->n_plan; i++) {
        int n = (int)strlen(d->plan[i].node), m = (int)strlen(d->plan[i].op);
        wide = n > wide && n <= 40 ? n : wide;
        op = m > op ? m : op;
    }
    fprintf(f, "%-*s  %-*s %12s  %s\n", wide, "node", op, "op", "parameters", "trains in stage");
    for (int i = 0; i < d->n_plan; i++) {
        const HonePlanRow *r = &d->plan[i];
        const char *between = "";
        fprintf(f, "%-*s  %-*s %12lld  ", wide, r->node, op, r->op, (long long)r->count);
        for (int s = 0; s < d->n_stages; s++)
            if (r->trains >> s & 1) {
                fprintf(f, "%s%d", between, s + 1);
                between = ", ";
            }
        fputs(r->trains ? "\n" : "none, frozen\n", f);
    }
    for (int s = 0; s < d->n_stages; s++)
        fprintf(f, "stage %d, %s: %lld parameters train, %lld are frozen\n", s + 1,
                d->stages[s].spec, (long long)d->stages[s].n_trained,
                (long long)d->stages[s].n_frozen);
}

static void print_info_json(const RtFine *f) {
    const HoneTrainDesc *d = f->d;
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", d->info->name);
    rt_json_text(&j, "producer", d->info->producer);
    rt_json_text(&j, "hash", d->info->hash);
    rt_json_text(&j, "cpu", d->info->cpu);
    rt_json_int(&j, "classes", d->classes);
    rt_json_text(&j, "loss", d->loss == HONE_LOSS_CE ? "cross-entropy" : "binary cross-entropy");
    rt_json_begin(&j, "stages", '[');
    for (int s = 0; s < d->n_stages; s++) {
        rt_json_begin(&j, NULL, '{');
        rt_json_text(&j, "spec", d->stages[s].spec);
        rt_json_int(&j, "trained", d->stages[s].n_trained);
        rt_json_int(&j, "frozen", d->stages[s].n_frozen);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_begin(&j, "parameters", '[');
    for (int i = 0; i < d->n_params; i++) {
        rt_json_begin(&j, NULL, '{');
        rt_json_text(&j, "name", d->params[i].name);
        rt_json_int(&j, "count", d->params[i].count);
        rt_json_int(&j, "trains", d->params[i].trains);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    putchar('\n');
}

int rt_fine_info(const RtFine *f, int argc, char **argv) {
    bool help = false, json = false;
    const RtCliOption options[] = {{"--json", RT_CLI_FLAG, &json, 0, 0, NULL, "one JSON object"},
                                   RT_FINE_HELP(&help)};
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(f, "info", "[OPTION...]\n\nWhat trains, and what it was made from.", options,
                      2, &help, argc, argv, &rest, 0, 0, &code)) {
        const HonePreprocess *p = &f->d->info->preprocess;
        code = RT_EXIT_FINE;
        if (json) {
            print_info_json(f);
        } else {
            printf("%s: fine-tunes '%s', %d classes; by %s for %s\n"
                   "images: %d x %d, shorter side resized to %d\n\n",
                   f->program, f->d->info->name, f->d->classes, f->d->info->producer,
                   f->d->info->cpu, p->width, p->height, p->resize);
            rt_fine_print_plan(f->d, stdout);
        }
    }
    free(rest.item);
    return code;
}

// ---------------------------------------------------------------- main

static void print_help(const RtFine *f, FILE *to) {
    const char *p = f->program;
    fprintf(
        to,
        "%s: fine-tunes the network '%s' to %d classes, made by %s\n\n"
        "Usage:\n  %s SUBCOMMAND ...      SUBCOMMAND --help tells its options\n\nSubcommands:\n",
        p, f->d->info->name, f->d->classes, f->d->info->producer, p);
    for (int i = 0; i < N_SUBCOMMANDS; i++)
        fprintf(to, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
    fprintf(to,
            "\nExamples:\n"
            "  %s train photos --report report.html       photos/CLASS/*.jpg\n"
            "  %s train photos --resume\n"
            "  %s eval photos\n"
            "  %s predict rose.jpg\n\n"
            "Exit codes: 0 fine, 1 an input or output is wrong, 2 the command line is,\n"
            "130 and 143 after SIGINT and SIGTERM, which save a checkpoint first.\n"
            "  --version  name, compiler and ABI version\n",
            p, p, p, p);
}

static int dispatch(const RtFine *f, int argc, char **argv) {
    if (argc < 2) {
        print_help(f, stderr);
        return RT_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(f, stdout);
        return RT_EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s (%s, ABI %u)\n", f->d->info->name, f->d->info->producer, f->d->abi);
        return RT_EXIT_FINE;
    }
    for (int i = 0; i < N_SUBCOMMANDS; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(f, argc - 2, argv + 2);
    fprintf(stderr, "%s: unknown subcommand '%s'; see %s --help\n", f->program, argv[1],
            f->program);
    return RT_EXIT_USAGE;
}

int main(int argc, char **argv) {
    RtFine f = {.d = &hone_train_desc};
    char copy[512];
    f.program = argc > 0 && argv[0] ? argv[0] : f.d->info->name;
    snprintf(copy, sizeof copy, "%s", f.program);
    snprintf(f.folder, sizeof f.folder, "%.480s.ckpt", basename(copy));
    snprintf(copy, sizeof copy, "%s", f.program);
    snprintf(f.out, sizeof f.out, "%.480s-tuned.onnx", basename(copy));
    int code = dispatch(&f, argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == RT_EXIT_FINE) {
        perror("standard output");
        code = RT_EXIT_INPUT;
    }
    return code;
}
