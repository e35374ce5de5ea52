// The program that `hone compile` makes: subcommands over one compiled model, whose descriptor
// the linker names hone_main_desc.
#define _GNU_SOURCE
#include "runtime/infer/infer.h"

#include "runtime/core/licences.h"
#include "runtime/core/unit.h"
#include "runtime/file/std.h"

#include <string.h>
#include <time.h>

__attribute__((visibility("hidden"))) extern const HoneModelDesc hone_main_desc;

typedef struct Subcommand {
    const char *name;
    int (*run)(const RtInfer *, int, char **);
    const char *help;
    int task; // HONE_TASK_CLASS: of any; else of programs of this one alone, which alone have it
} Subcommand;

static const Subcommand subcommands[] = {
    {"classify", rt_infer_classify, "classify images; also what happens without a subcommand", 0},
    {"features", rt_infer_features, "what the outputs hold for images, into an .npy file", 0},
    {"detect", rt_infer_detect, "find objects in images; boxes can be drawn", HONE_TASK_DETECT},
    {"segment", rt_infer_segment, "tell the class of each pixel; colours can be drawn",
     HONE_TASK_SEGMENT},
    {"run", rt_infer_run, "run on raw tensors in .npy files", 0},
    {"bench", rt_infer_bench, "measure speed and memory; --profile shows each node", 0},
    {"serve", rt_infer_serve, "answer requests over HTTP (KServe v2)", 0},
    {"info", rt_infer_info, "show inputs, outputs, preprocessing and what it was compiled for", 0},
};
enum { N_SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

static bool has(const RtInfer *in, const Subcommand *s) {
    return s->task == HONE_TASK_CLASS || s->task == in->desc->task.kind;
}

static int complain_task(const RtInfer *in, const Subcommand *s) {
    static const char *const what[HONE_TASK_COUNT] = {
        [HONE_TASK_DETECT] = "boxes, scores and classes of objects",
        [HONE_TASK_SEGMENT] = "a class for each pixel"};
    RtErr err;
    rt_fail(&err, "%s: no output of the model gives %s; use the subcommand run", in->desc->name,
            what[s->task]);
    return rt_infer_complain(err.text);
}

static void print_subcommands(const RtInfer *in, FILE *f) {
    fprintf(f, "Subcommands:\n");
    for (const Subcommand *s = subcommands; s < subcommands + N_SUBCOMMANDS; s++)
        if (has(in, s) && !rt_infer_is_no_serve(s->run))
            fprintf(f, "  %-10s %s\n", s->name, s->help);
    rt_infer_left_out(in, f, "\nLeft out when it was compiled: ");
}

static void print_help(const RtInfer *in, FILE *f) {
    const char *p = in->program;
    fprintf(f,
            "%s: the network '%s', compiled by %s\n\n"
            "Usage:\n"
            "  %s IMAGE...            classify JPEG, PNG and WebP images, or what else the network "
            "does\n"
            "  %s SUBCOMMAND ...      see below; SUBCOMMAND --help tells its options\n\n",
            p, RT_SHOW(in->desc->name), in->desc->producer, p, p);
    print_subcommands(in, f);
    fprintf(f,
            "\nExamples:\n"
            "  %s cat.jpg dog.png\n"
            "  %s --top 1 --json photos/*.jpg\n"
            "  %s run -i x.npy -o y.npy\n"
            "  %s bench --batch 8 --threads 2 --profile\n"
            "  %s %s\n"
            "  %s info --json\n\n"
            "Exit codes: 0 fine, 1 an input or output is wrong, 2 the command line is.\n"
            "  --version   name, compiler and ABI version\n"
            "  --licences  of the libraries inside\n"
            "Environment: OMP_NUM_THREADS; HONE_CPU, such as x86-64-v3, hides what this CPU has\n"
            "beyond that one\n",
            p, p, p, p, p,
            rt_infer_is_no_serve(rt_infer_serve) ? "features photos/ -o photos.npy"
                                                 : "serve --port 8080",
            p);
}

static int dispatch(const RtInfer *in, int argc, char **argv) {
    if (argc < 2) {
        print_help(in, stderr);
        return RT_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(in, stdout);
        return RT_EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s (%s, ABI %u)\n", RT_SHOW(in->desc->name), in->desc->producer, in->desc->abi);
        return RT_EXIT_FINE;
    }
    if (strcmp(argv[1], "--licences") == 0)
        return rt_licences(stdout, false), RT_EXIT_FINE;
    const Subcommand *usual = subcommands;
    for (const Subcommand *s = subcommands; s < subcommands + N_SUBCOMMANDS; s++) {
        if (strcmp(argv[1], s->name) == 0)
            return has(in, s) ? s->run(in, argc - 2, argv + 2) : complain_task(in, s);
        usual = s->task == in->desc->task.kind && s->task != HONE_TASK_CLASS ? s : usual;
    }
    return usual->run(in, argc - 1, argv + 1);
}

// Where none runs here, all that there are: help tells of them.
static void find_sizes(RtInfer *in) {
    uint64_t allowed;
    RtErr err;
    if (in->first->abi != HONE_ABI)
        return;
    if (rt_cpu_allowed(&allowed, &err))
        in->n_sizes = rt_unit_sizes(in->first, &allowed, in->size);
    if (!in->n_sizes)
        in->n_sizes = rt_unit_sizes(in->first, NULL, in->size);
}

static void find_left_out(RtInfer *in) {
    in->n_left_out = rt_image_left_out(in->left_out);
    if (rt_infer_is_no_serve(rt_infer_serve))
        in->left_out[in->n_left_out++] = "serve";
}

int main(int argc, char **argv) {
    rt_region_patience(argv);
    rt_std_open();
    struct timespec cpu;
    RtOuts outs;
    RtErr err; // told where a model is created; others, like info, run anywhere
    const HoneModelDesc *unit = rt_model_unit(&hone_main_desc, NULL, &err);
    RtInfer in = {.first = &hone_main_desc,
                  .desc = unit ? unit : &hone_main_desc,
                  .start_ns = rt_now(),
                  .outs = &outs};
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        in.startup_ms = (double)cpu.tv_sec * 1e3 + (double)cpu.tv_nsec * 1e-6;
    char program[RT_SHOWN];
    in.program = rt_clean(argc > 0 && argv[0] ? argv[0] : in.desc->name, program, sizeof program);
    find_sizes(&in);
    find_left_out(&in);
    rt_outs_init(&outs);
    return rt_std_close(dispatch(&in, argc, argv));
}
