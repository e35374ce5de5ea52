// hone compile: a model becomes a program, a library, an object, or the text on the way there.
#include "tools/autotune.h"
#include "tools/wheel.h"

#include "runtime/core/rt.h"
#include <string.h>
#include <time.h>

typedef struct Compile {
    ToolModel model;
    ToolImage image;
    const char *out, *emit_name, *name, *calibrate;
    ToolEmit emit;
    bool is_static, no_header, config_files, autotune;
    ToolNumber prepared;
    ToolGradient gradient;
    int threads; // 0: as many as CPUs
    const char *autotune_cache;
    const char *parts, *without; // --without, and what the linker is told
    const char *wheel; // what pip wants a Python package's file to be called; NULL: it is none
    RtOutFile *file, *beside, *cache; // beside: the header, the weights of a text, or NULL
    ToolConfigFiles config;
} Compile;
enum { N_FILES = 4 };

typedef enum Beside { BESIDE_NOTHING, BESIDE_HEADER, BESIDE_WEIGHTS } Beside; // what else is made
static const struct {
    const char *name, *suffix;
    Beside beside;
} emits[EMIT_COUNT] = {[EMIT_EXE] = {"exe", "", BESIDE_NOTHING},
                       [EMIT_STATIC_EXE] = {"exe", "", BESIDE_NOTHING},
                       [EMIT_SHARED] = {"shared", ".so", BESIDE_HEADER},
                       [EMIT_STATIC] = {"static", ".a", BESIDE_HEADER},
                       [EMIT_OBJECT] = {"object", ".o", BESIDE_HEADER},
                       [EMIT_PYTHON] = {"python", ".whl", BESIDE_NOTHING},
                       [EMIT_LLVM_IR] = {"llvm-ir", ".ll", BESIDE_WEIGHTS},
                       [EMIT_ASM] = {"asm", ".s", BESIDE_WEIGHTS},
                       [EMIT_IR] = {"ir", ".ir", BESIDE_NOTHING}};

static const ToolUsage usage = {
    "hone compile MODEL.onnx -o OUT [options]",
    "Compiles an ONNX network ahead of time. By default OUT is a program that needs nothing but\n"
    "libc, libm and the system's OpenMP, with weights, labels and preprocessing inside.\n",
    "Examples:\n"
    "  hone compile resnet50.onnx -o resnet50 && ./resnet50 cat.jpg\n"
    "  hone compile vit.onnx -o vit --output /norm/Add_1 && ./vit features photos/ -o photos.npy\n"
    "  hone compile net.onnx -o net.so --emit shared        a library, and net.h\n"
    "  hone compile net.onnx -o net-1-py3-none-linux_x86_64.whl --emit python\n"
    "  hone compile net.onnx -o net --input-shape data=Nx3x224x224 --mcpu x86-64-v3\n"};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool find_emit(const char *name, ToolEmit *out) {
    for (int i = 0; i < EMIT_COUNT; i++) {
        if (strcmp(emits[i].name, name) == 0) {
            *out = (ToolEmit)i;
            return true;
        }
    }
    fprintf(stderr,
            "hone compile: --emit takes exe, shared, static, object, python, llvm-ir, asm or ir, "
            "not '%s'\n",
            RT_SHOW(name));
    return false;
}

static void print_ir(FILE *f, void *program) {
    ir_prune_consts(program);
    ir_print_program(f, program);
}

static bool is_program(const Compile *c) {
    return c->emit == EMIT_EXE || c->emit == EMIT_STATIC_EXE;
}

static bool is_linked(const Compile *c) {
    return c->emit < EMIT_LLVM_IR;
}

// "net.h" for "net.so", "net.x.h" for what has another ending; "net.ll.weights". NULL: nothing.
static const char *path_beside(Tool *t, const Compile *c) {
    const char *suffix = emits[c->emit].suffix;
    size_t n = strlen(c->out), k = strlen(suffix);
    bool ends = n > k && strcmp(c->out + n - k, suffix) == 0;
    if (emits[c->emit].beside == BESIDE_WEIGHTS)
        return ir_sprintf(t->arena, "%s.weights", c->out);
    if (emits[c->emit].beside == BESIDE_NOTHING || c->no_header)
        return NULL;
    return ir_sprintf(t->arena, "%.*s.h", (int)(ends ? n - k : n), c->out);
}

// A device or a pipe has no place beside it.
static bool open_files(Tool *t, Compile *c) {
    const char *beside = path_beside(t, c);
    c->file = tool_out(t, c->out, is_program(c) ? RT_OUT_PROGRAM : RT_OUT_WHOLE);
    return c->file && tool_out_if(t, rt_out_is_through(c->file) ? NULL : beside, &c->beside) &&
           (!c->config_files ||
            tool_config_open(t, tool_symbol(t->arena, c->name), c->out, &c->config)) &&
           (!c->autotune || autotune_cache_open(t, c->autotune_cache, &c->cache)) &&
           tool_reads(t, c->model.path, 0) && tool_reads(t, c->image.labels, 0);
}

// The linker writes a shared library's own name, where it has no other, into its versions: not that
// of a temporary file, which is never the same.
static const char *file_to_link(Tool *t, const Compile *c) {
    return c->emit == EMIT_SHARED || c->emit == EMIT_PYTHON
               ? ir_sprintf(t->arena, "%s/library.so", tool_temp_dir(t))
               : tool_out_file(t, c->file);
}

static bool write_files(Tool *t, Compile *c, const ToolUnits *u, const CgResult *cg,
                        const CgOptions *o) {
    const char *symbol = o->symbol;
    bool text = emits[c->emit].beside == BESIDE_WEIGHTS;
    const char *file = text ? cg->files[0] : file_to_link(t, c);
    if (!file || (!text && !tool_link(t, c->emit, &c->model.target, cg, symbol, c->without, file)))
        return false;
    if (c->emit == EMIT_PYTHON) {
        c->wheel = tool_wheel_name(t, o);
        return tool_write_wheel(t, o, TOOL_WHEEL_SESSION, file, c->file);
    }
    return text ? tool_copy_out(t, c->file, file) &&
                      (!c->beside || tool_copy_out(t, c->beside, cg->weights_file))
                : tool_out_take(t, c->file, file) &&
                      (!c->beside || tool_print_header(t, u, symbol, c->beside)) &&
                      (!c->config.pc || tool_config_print(t, symbol, c->emit, c->out, &c->config));
}

static bool check_one_unit(Tool *t, const Compile *c) {
    bool one = c->model.n_targets * c->model.n_sizes == 1;
    if (!one && c->emit == EMIT_IR)
        ir_error(&t->diag, IR_NOWHERE,
                 "--emit ir is of one unit: give one --mcpu and one shape of each input");
    if (c->autotune && c->model.n_targets > 1)
        ir_error(&t->diag, IR_NOWHERE,
                 "--autotune times kernels on this machine: --mcpu is one CPU then");
    if (c->autotune && !cg_target_is_host(&c->model.target))
        ir_error(&t->diag, IR_NOWHERE, "--autotune times kernels on this machine, no %s",
                 c->model.target.cpu);
    return !t->diag.errors;
}

static bool generate(Tool *t, Compile *c, ToolUnits *u, CgResult *cg) {
    ToolProgress bar;
    CgOptions o = {.target = &c->model.target,
                   .opt_level = c->model.opt_level,
                   .jobs = c->model.jobs,
                   .producer = TOOL_PRODUCER,
                   .symbol = tool_symbol(t->arena, c->name),
                   .emit = c->emit == EMIT_ASM       ? CG_EMIT_ASM
                           : c->emit == EMIT_LLVM_IR ? CG_EMIT_LLVM_IR
                                                     : CG_EMIT_OBJECT,
                   .prepared = c->prepared.v,
                   .progress = tool_progress,
                   .progress_ctx = &bar};
    Autotune autotune = {.tool = t, .model = &c->model, .cache_file = c->cache};
    u->options = &o;
    u->passes = tool_pass_options(&c->model);
    u->passes.threads = c->threads ? c->threads : rt_cpus_available();
    if (c->autotune) {
        u->passes.autotune = autotune_graph;
        u->passes.autotune_ctx = &autotune;
    }
    if (!tool_units(t, &c->model, u))
        return false;
    o.model_hash = tool_model_hash(t, c->model.path);
    if (c->emit == EMIT_IR)
        return tool_print_out(t, c->file, print_ir, u->v[0].graph->prog);
    tool_progress_start(&bar, "compiling");
    bool ok = cg_compile_units(u->n, u->v, &o, tool_temp_dir(t), cg);
    tool_progress_end(&bar);
    t->diag.file = c->out;
    return ok && write_files(t, c, u, cg, &o);
}

static void print_units(const Compile *c, const ToolUnits *u, const CgResult *cg) {
    if (c->prepared.v > 0 && u->n > 1)
        fprintf(stderr, "--prepared has no effect: programs of several --mcpu or sizes prepare "
                        "weights at the start\n");
    for (int i = 0; cg->same_as && i < c->model.n_targets; i++)
        if (cg->same_as[i] != i)
            fprintf(stderr, "%s: nothing that %s has not is of use here: left out\n",
                    u->v[i].target->cpu, u->v[cg->same_as[i]].target->cpu);
    if (c->model.n_sizes > 1)
        fprintf(stderr, "%d sizes, from %s to %s\n", c->model.n_sizes, c->model.sizes[0].text,
                c->model.sizes[c->model.n_sizes - 1].text);
}

// Where functions are not called as the model is.
static void print_prefix(Tool *t, const Compile *c) {
    const char *symbol = tool_symbol(t->arena, c->name);
    if (emits[c->emit].beside == BESIDE_HEADER && strcmp(symbol + strlen("hone_"), c->name) != 0)
        fprintf(stderr, "'%s' is no name in C: functions begin with %s_\n", RT_SHOW(c->name),
                symbol);
}

static void print_summary(Tool *t, const Compile *c, const ToolUnits *u, const CgResult *cg,
                          double mb, double took) {
    fprintf(stderr, mb < 10 ? "%s: %.2f MB, for %s, %.1f s\n" : "%s: %.1f MB, for %s, %.1f s\n",
            RT_SHOW(c->out), mb, tool_units_text(t->arena, u, cg->same_as), took);
    print_units(c, u, cg);
    if (c->image.told && c->emit != EMIT_IR)
        fprintf(stderr, "%s\n", RT_SHOW(c->image.told));
    if (c->image.note && (is_program(c) || c->emit == EMIT_PYTHON))
        fprintf(stderr, "%s\n", RT_SHOW(c->image.note));
    tool_print_wheel_name(c->name, c->wheel, c->out);
    print_prefix(t, c);
    if (!c->beside && path_beside(t, c))
        fprintf(stderr, "%s: no file, so nothing is beside it: no %s\n", RT_SHOW(c->out),
                RT_SHOW(path_beside(t, c)));
    if (!t->verbose || c->emit == EMIT_IR)
        return;
    fprintf(stderr, "%d calls of %d kernels, %d barriers; weights %.1f MB\n", cg->n_calls,
            cg->n_kernels, cg->n_barriers, (double)cg->weights_bytes / 1e6);
    passes_print_memory(stderr, u->v[0].graph, 1);
}

static int run_compile(Tool *t, Compile *c) {
    double start = seconds();
    CgResult cg = {0};
    if (!open_files(t, c) || !tool_target(t, &c->model))
        return EXIT_INPUT;
    t->diag.file = c->model.path;
    ToolUnits u = {.image = &c->image, .gradient = c->gradient, .name = c->name};
    if (!check_one_unit(t, c) || (is_linked(c) && !tool_can_link(t, &c->model.target)) ||
        (c->calibrate && !(u.model = tool_quantized(t, &c->model, &c->image, c->calibrate))) ||
        !generate(t, c, &u, &cg) || !tool_models_stay(t))
        return EXIT_INPUT;
    int64_t bytes = tool_out_commit(
        t, (RtOutFile *[N_FILES]){c->file, c->beside, c->config.pc, c->config.cmake}, N_FILES);
    if (bytes < 0)
        return EXIT_INPUT;
    print_summary(t, c, &u, &cg, (double)bytes / 1e6, seconds() - start);
    return EXIT_FINE;
}

static bool check_precision(Compile *c) {
    if (!tool_precision("compile", &c->model, true))
        return false;
    bool fits = (strcmp(c->model.precision, "int8") == 0) == (c->calibrate != NULL);
    const char *why = !fits ? "--precision int8 and --calibrate FOLDER go together"
                      : c->calibrate && c->model.outputs.n > 1
                          ? "--precision int8 takes one --output"
                          : NULL;
    if (why)
        fprintf(stderr, "hone compile: %s\n", why);
    return !why;
}

// The network in eight bits keeps its outputs: one can be said to classify.
static void leave_outputs(Compile *c) {
    if (c->calibrate && c->model.outputs.n)
        c->image.output = c->model.outputs.v[0];
    if (c->calibrate)
        c->model.outputs.n = 0;
}

// What of the options fits together. False after reporting what does not.
static bool check_options(Compile *c) {
    if (!find_emit(c->emit_name, &c->emit) || !check_precision(c) ||
        !tool_check_gradient("compile", &c->gradient))
        return false;
    if (c->is_static && c->emit != EMIT_EXE) {
        fprintf(stderr, "hone compile: --static is of programs, not of --emit %s\n", c->emit_name);
        return false;
    }
    if (c->parts && c->emit != EMIT_EXE) {
        fprintf(stderr, "hone compile: --without is of programs, not of --emit %s\n", c->emit_name);
        return false;
    }
    if (c->config_files && emits[c->emit].beside != BESIDE_HEADER) {
        fprintf(stderr, "hone compile: --config-files is of libraries, not of --emit %s\n",
                c->emit_name);
        return false;
    }
    if (c->prepared.v > 0 && c->emit == EMIT_IR) {
        fprintf(stderr, "hone compile: --prepared is of what is generated, not of --emit ir\n");
        return false;
    }
    c->emit = c->is_static ? EMIT_STATIC_EXE : c->emit;
    if (c->autotune_cache && !c->autotune)
        fprintf(stderr, "hone compile: --autotune-cache is for --autotune, which is not given\n");
    return c->autotune || !c->autotune_cache;
}

int cmd_compile(Tool *t, int argc, char **argv) {
    Compile c = {.model = TOOL_MODEL_DEFAULT, .emit_name = "exe"};
    const ToolOpt opts[] = {
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "What to make", 0, 0},
        {NULL, "-o", "OUT", TOOL_TEXT, &c.out, "the file to write, - for stdout; required", 0, 0},
        {"--emit", NULL, "KIND", TOOL_TEXT, &c.emit_name,
         "exe (default), shared, static, object (these three with a C header), python (a wheel), "
         "llvm-ir, asm, ir",
         0, 0},
        TOOL_STATIC_OPTION(c.is_static),
        TOOL_WITHOUT_OPTION(c.parts),
        {"--name", NULL, "NAME", TOOL_TEXT, &c.name, "the model's name, default from the file", 0,
         0},
        {"--precision", NULL, "P", TOOL_TEXT, &c.model.precision,
         "f32 (default); bf16: products and what is stored between them, sums stay f32; int8 of a "
         "float model, as hone quantize makes it",
         0, 0},
        {"--calibrate", NULL, "FOLDER", TOOL_TEXT, &c.calibrate, "images for int8", 0, 0},
        TOOL_GRADIENT_OPTIONS(c.gradient),
        {"--no-header", NULL, NULL, TOOL_FLAG, &c.no_header, "no C header next to a library", 0, 0},
        {"--config-files", NULL, NULL, TOOL_FLAG, &c.config_files,
         "NAME.pc and NAMEConfig.cmake next to a library, for pkg-config and CMake", 0, 0},
        {"--prepared", NULL, "R", TOOL_NUMBER, &c.prepared,
         "weights stand in the program as kernels read them, so that processes share them and "
         "starts are fast, as far as they take R times their size in all; 1: the smallest program. "
         "Default 2.5 where they are f32, else 1; several --mcpu or sizes prepare theirs at the "
         "start",
         1, 100},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "The model", 0, 0},
        TOOL_MODEL_OPTIONS(c.model),
        TOOL_THREADS_OPTION(c.threads),
        {"--autotune", NULL, NULL, TOOL_FLAG, &c.autotune,
         "times the kernels of each convolution here and takes the fastest; results are kept in a "
         "cache file, which only --autotune reads: without it the same input gives the same "
         "program",
         0, 0},
        {"--autotune-cache", NULL, "FILE", TOOL_TEXT, &c.autotune_cache,
         "that file, default $XDG_CACHE_HOME/hone/autotune or ~/.cache/hone/autotune", 0, 0},
        {"--tune", NULL, NULL, TOOL_FLAG, &c.autotune, TOOL_OLD, 0, 0},
        {"--tune-cache", NULL, "FILE", TOOL_TEXT, &c.autotune_cache, TOOL_OLD, 0, 0},
        {"--verbose", "-v", NULL, TOOL_FLAG, &t->verbose, "more about what was made", 0, 0},
        {NULL, NULL, NULL, TOOL_HEADING, NULL, "Images (defaults baked into the program)", 0, 0},
        TOOL_OUTPUTS_OPTION(c.model),
        TOOL_IMAGE_OPTIONS(c.image),
        {0}};
    ToolList rest;
    ToolParse got = tool_parse(argc, argv, opts, &usage, &rest);
    if (got != TOOL_OK)
        return got == TOOL_HELP ? EXIT_FINE : EXIT_USAGE;
    if (rest.n != 1 || !c.out) {
        fprintf(stderr, "hone compile: give one model and -o OUT; see hone compile --help\n");
        return EXIT_USAGE;
    }
    if (!check_options(&c) || !(c.without = tool_without(t->arena, c.parts)))
        return EXIT_USAGE;
    leave_outputs(&c);
    c.model.path = rest.v[0];
    c.name = c.name ? c.name : tool_model_name(t, c.model.path);
    return run_compile(t, &c);
}
