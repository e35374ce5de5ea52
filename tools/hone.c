// The command `hone`: picks the subcommand. Each lives in its cmd_*.c.
#include "tools/tool.h"

#include "runtime/core/licences.h"
#include "runtime/file/std.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Command {
    const char *name;
    ToolCommand run;
    const char *help;
} Command;

static const Command commands[] = {
    {"compile", cmd_compile, "MODEL.onnx -o OUT: a native program, library or object that infers"},
    {"inspect", cmd_inspect,
     "MODEL.onnx: layers, shapes, parameters, MACs; a picture of the graph"},
    {"verify", cmd_verify, "MODEL.onnx [TEST_DIR]: compiled code against the reference evaluator"},
    {"opt", cmd_opt, "FILE.ir [--passes a,b | --pipeline NAME]: textual IR in, textual IR out"},
    {"finetune", cmd_finetune,
     "MODEL.onnx -o OUT --classes N|FILE|FOLDER: a program that fine-tunes"},
    {"quantize", cmd_quantize, "MODEL.onnx -o Q.onnx --calibrate FOLDER: the model in eight bits"},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static const ToolUsage usage = {
    "hone COMMAND ...", "Compiles pretrained ONNX image networks to native code, ahead of time.\n",
    "First steps:\n"
    "  hone compile resnet50.onnx -o resnet50      the network becomes a program\n"
    "  ./resnet50 cat.jpg                          which classifies images\n"
    "  ./resnet50 bench                            and measures itself\n"};

static void print_help(FILE *f) {
    fprintf(f, "usage: %s\n\n%s\n", usage.synopsis, usage.about);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(f, "  hone %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(f,
            "  hone COMMAND --help\n  hone --version\n  hone --licences\n\n%s\n"
            "Exit codes: 0 fine, 1 the input is wrong, 2 usage, 3 a bug in hone.\n",
            usage.examples);
}

// The commands as rows of options, for the manual and for shells.
static void print_table(bool manual) {
    ToolOpt rows[N_COMMANDS + 3] = {{0}};
    for (int i = 0; i < N_COMMANDS; i++)
        rows[i] = (ToolOpt){.name = commands[i].name, .help = commands[i].help};
    rows[N_COMMANDS] = (ToolOpt){.name = "--version", .help = "the version"};
    rows[N_COMMANDS + 1] =
        (ToolOpt){.name = "--licences", .help = "the licences of what programs are linked with"};
    if (manual)
        tool_manual(TOOL_PRODUCER, rows, &usage);
    else
        tool_option_words(rows);
}

// The Tool outlives the run: the thread that waits for signals knows it until the process ends.
int tool_run(ToolCommand command, int argc, char **argv) {
    Tool *t = calloc(1, sizeof *t);
    if (!t) {
        fprintf(stderr, "hone: no memory\n");
        return EXIT_INPUT;
    }
    jmp_buf guard;
    ir_diag_init(&t->diag, "hone");
    t->diag.guard = &guard;
    t->diag.memory = &t->memory;
    volatile int code = EXIT_INPUT;
    IrArena *volatile arena = NULL;
    if (setjmp(guard) == 0) {
        arena = t->arena = ir_arena_new(&t->diag);
        tool_catch_signals(t);
        code = command(t, argc, argv);
    }
    t->diag.guard = NULL;
    ir_diag_finish(&t->diag);
    tool_end_temporaries(t);
    ir_arena_free(arena);
    return code;
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help(stdout), EXIT_FINE;
    if (strcmp(argv[1], "--help=man") == 0 || strcmp(argv[1], "--help=words") == 0)
        return print_table(argv[1][7] == 'm'), EXIT_FINE;
    if (strcmp(argv[1], "--version") == 0)
        return printf("%s\n", TOOL_PRODUCER), EXIT_FINE;
    if (strcmp(argv[1], "--licences") == 0)
        return rt_licences(stdout, true), EXIT_FINE;
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return tool_run(commands[i].run, argc - 1, argv + 1);
    fprintf(stderr, "hone: unknown command '%s'; see hone --help\n", RT_SHOW(argv[1]));
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    rt_std_open();
    return rt_std_close(run(argc, argv));
}
