// The program that `hone finetune` makes: subcommands over the graphs, parameters and pretrained
// model in its tables.
#define _GNU_SOURCE
#include "runtime/finetune/finetune.h"

#include "runtime/core/licences.h"
#include "runtime/file/std.h"

#include <libgen.h>
#include <string.h>

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

static void print_help(const RtFine *f, FILE *to) {
    const char *p = f->program;
    fprintf(
        to,
        "%s: fine-tunes the network '%s' to %d classes, made by %s\n\n"
        "Usage:\n  %s SUBCOMMAND ...      SUBCOMMAND --help tells its options\n\nSubcommands:\n",
        p, RT_SHOW(f->d->info->name), f->d->classes, f->d->info->producer, p);
    for (int i = 0; i < N_SUBCOMMANDS; i++)
        fprintf(to, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
    fprintf(to,
            "\nExamples:\n"
            "  %s train photos --report report.html       photos/CLASS/*.jpg\n"
            "  %s train photos --resume\n"
            "  %s eval photos\n"
            "  %s predict rose.jpg\n\n"
            "Exit codes: 0 fine, 1 an input or output is wrong, 2 the command line is,\n"
            "129, 130 and 143 after SIGHUP, SIGINT and SIGTERM, which save a checkpoint first.\n"
            "  --version   name, compiler and ABI version\n"
            "  --licences  of the libraries inside\n",
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
        printf("%s (%s, ABI %u)\n", RT_SHOW(f->d->info->name), f->d->info->producer, f->d->abi);
        return RT_EXIT_FINE;
    }
    if (strcmp(argv[1], "--licences") == 0)
        return rt_licences(stdout, false), RT_EXIT_FINE;
    for (int i = 0; i < N_SUBCOMMANDS; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(f, argc - 2, argv + 2);
    fprintf(stderr, "%s: unknown subcommand '%s'; see %s --help\n", f->program, RT_SHOW(argv[1]),
            f->program);
    return RT_EXIT_USAGE;
}

int main(int argc, char **argv) {
    rt_region_patience(argv);
    rt_std_open();
    RtOuts outs;
    RtFine f = {.d = &hone_train_desc, .outs = &outs};
    char copy[512], program[RT_SHOWN], key[96];
    const char *name = argc > 0 && argv[0] ? argv[0] : f.d->info->name;
    f.program = rt_clean(name, program, sizeof program);
    rt_train_model_key(f.d, key, sizeof key);
    snprintf(copy, sizeof copy, "%s", name);
    snprintf(f.folder, sizeof f.folder, "%.480s-%.8s.ckpt", basename(copy), strrchr(key, '-') + 1);
    snprintf(copy, sizeof copy, "%s", name);
    snprintf(f.out, sizeof f.out, "%.480s-tuned.onnx", basename(copy));
    rt_outs_init(&outs);
    return rt_std_close(dispatch(&f, argc, argv));
}
