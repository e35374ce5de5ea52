// Allocations fail, one at a time, over import, passes, the graphs of training, the evaluator,
// textual IR, code generation (LLVM's own among them, in a child process), loading a compiled
// model, images and checkpoints: no crash, no leak, a clear error.
//
//   test_alloc_failures           more than 10,000 points
//   test_alloc_failures --full    every allocation
#define _GNU_SOURCE
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "passes/train/train.h"
#include "runtime/image/image.h"
#include "runtime/file/npy.h"
#include "runtime/core/rt.h"
#include "runtime/file/safetensors.h"
#include "tests/check.h"
#include "tests/codegen/rig/jit.h"
#include "tests/machine.h"
#include <errno.h>
#include <glob.h>
#include <link.h>
#include <malloc.h>
#include <omp.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODELS "/usr/share/libonnx-testdata/data/*/*/model.onnx"

// ---------------------------------------------------------------- the allocator

// __libc_malloc and so on are glibc's own names for what is replaced here.
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static struct {
    bool armed, failed;
    long at, seen, live;
    uintptr_t omp, omp_end; // libgomp's code: without memory it ends the process, with a line
} alloc;

static int find_omp(struct dl_phdr_info *info, size_t size, void *ctx) {
    (void)size, (void)ctx;
    for (int i = 0; strstr(info->dlpi_name, "libgomp") && i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            alloc.omp = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            alloc.omp_end = alloc.omp + info->dlpi_phdr[i].p_memsz;
        }
    return 0;
}

static bool fails_for(const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    if (!alloc.armed || (at >= alloc.omp && at < alloc.omp_end))
        return false;
    bool now = alloc.seen++ == alloc.at;
    alloc.failed |= now;
    if (now)
        errno = ENOMEM;
    return now;
}

static void *count(void *p) {
    alloc.live += p != NULL;
    return p;
}

void *malloc(size_t n) {
    return fails_for(__builtin_return_address(0)) ? NULL : count(__libc_malloc(n));
}
void *calloc(size_t n, size_t size) {
    return fails_for(__builtin_return_address(0)) ? NULL : count(__libc_calloc(n, size));
}
void *realloc(void *p, size_t n) {
    if (fails_for(__builtin_return_address(0)))
        return NULL;
    void *q = __libc_realloc(p, n);
    alloc.live += !p && q;
    return q;
}
void *aligned_alloc(size_t align, size_t n) {
    return fails_for(__builtin_return_address(0)) ? NULL : count(__libc_memalign(align, n));
}
void *memalign(size_t align, size_t n) {
    return aligned_alloc(align, n);
}
int posix_memalign(void **to, size_t align, size_t n) {
    *to = aligned_alloc(align, n);
    return *to ? 0 : ENOMEM;
}
void free(void *p) {
    alloc.live -= p != NULL;
    __libc_free(p);
}

// ---------------------------------------------------------------- a task that may fail

typedef struct Task {
    const char *name;
    bool (*run)(void *ctx, char *why, size_t size); // false: it failed, and why[] says how
    void *ctx;
} Task;

static struct {
    bool full;
    long points, budget; // of a task in the short run
} run;

static void arm(long k) {
    alloc.at = k;
    alloc.seen = 0;
    alloc.failed = false;
    alloc.armed = true;
}

// False past the last allocation.
static bool try_point(const Task *t, long k) {
    char why[512] = "";
    long live = alloc.live;
    arm(k);
    bool ok = t->run(t->ctx, why, sizeof why);
    alloc.armed = false;
    run.points += alloc.failed;
    if (alloc.live != live) {
        CHECK(!"leak");
        fprintf(stderr, "%s: allocation %ld fails: %ld blocks leak\n", t->name, k,
                alloc.live - live);
    }
    if (!ok && !CHECK(*why))
        fprintf(stderr, "%s: allocation %ld fails without a message\n", t->name, k);
    return alloc.failed;
}

static void try_all(const Task *t, bool quiet) {
    char why[512];
    for (int i = 0; i < 2; i++) // what libraries keep for good is there after the first time
        t->run(t->ctx, why, sizeof why);
    arm(-1);
    t->run(t->ctx, why, sizeof why);
    alloc.armed = false;
    long n = alloc.seen, step = run.full || n <= run.budget ? 1 : n / run.budget,
         before = run.points;
    for (long k = 0; k < n && check_state.failures < 20; k += step)
        try_point(t, k);
    if (!quiet)
        printf("%-28s %6ld allocations, %6ld failed\n", t->name, n, run.points - before);
    fflush(stdout);
}

// ---------------------------------------------------------------- compiler

typedef struct Compile {
    const char *path; // a model, or
    const char *text; // textual IR
    bool passes, evaluate, train;
} Compile;

static IrProgram *load_program(IrArena *a, const Compile *c) {
    return c->path ? fe_import(a, c->path, NULL) : ir_parse(a, "text", c->text, strlen(c->text));
}

static const char *no_input(const void *file, const char *node, const char *op, int input) {
    (void)file, (void)node, (void)op, (void)input;
    return NULL;
}

// The graphs of a fine-tune program, all of it trained.
static bool train_program(IrGraph *g, const PassOptions *po) {
    static const PassTrainStage all = {.spec = "none"};
    const PassTrainOptions o = {
        .classes = 3, .dropout = -1, .n_stages = 1, .stages = &all, .input_name = no_input};
    IrTrainProgram *t = pass_train_plan(g, po, &o);
    return t && pass_train_graphs(g, po, &o, t);
}

static bool use_program(IrArena *a, IrProgram *p, const Compile *c) {
    IrGraph *g = p->graphs[0];
    const char *wrong = NULL;
    if (c->evaluate) {
        IrTensor *in = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *in);
        IrTensor *out = ir_alloc_array(a, (size_t)g->n_outputs + 1, sizeof *out);
        for (int i = 0; i < g->n_inputs; i++)
            in[i] = ir_tensor_new(a, &g->inputs[i]->type, 1);
        wrong = ir_eval(g, 1, in, out, a, NULL, NULL);
    }
    PassOptions po = {.opt_level = 2,
                      .block = 8,
                      .machine = machine_of(a, "x86-64-v3"),
                      .winograd = true,
                      .threads = 1};
    if (c->passes)
        passes_run(p, g, &po, PASS_INFER);
    if (c->train && !train_program(g, &po))
        return false;
    return !wrong && ir_arena_diag(a)->errors == 0;
}

static bool compile_task(void *ctx, char *why, size_t size) {
    const Compile *c = ctx;
    IrDiag diag;
    jmp_buf guard;
    IrArena *volatile a = NULL;
    volatile bool ok = false;
    bool armed = alloc.armed; // the stream is the test's own
    alloc.armed = false;
    ir_diag_init(&diag, "model");
    diag.out = fmemopen(why, size, "w");
    setbuf(diag.out, NULL);
    diag.guard = &guard;
    alloc.armed = armed;
    if (setjmp(guard) == 0) {
        a = ir_arena_new(&diag);
        IrProgram *p = load_program(a, c);
        ok = p && use_program(a, p, c);
    }
    ir_arena_free(a);
    armed = alloc.armed;
    alloc.armed = false;
    fclose(diag.out);
    alloc.armed = armed;
    return ok;
}

// ---------------------------------------------------------------- runtime

static char folder[] = "/tmp/hone-alloc-XXXXXX";
static char path[3][64];

static bool image_task(void *ctx, char *why, size_t size) {
    RtImage image = {0};
    RtErr err = {{0}};
    bool ok = rt_image_load(ctx, 3, false, &image, &err);
    if (ok) {
        HonePreprocess p = {
            .channels = 3, .height = 8, .width = 8, .resize = 9, .scale = 1, .std = {1, 1, 1}};
        float out[3 * 8 * 8];
        ok = rt_preprocess(&p, HONE_F32, &image, out, &err);
        rt_image_free(&image);
    }
    snprintf(why, size, "%s", err.text);
    return ok;
}

static bool npy_task(void *ctx, char *why, size_t size) {
    RtErr err = {{0}};
    RtNpy a = {0};
    bool ok = rt_npy_read(ctx, &a, &err);
    rt_npy_free(&a);
    snprintf(why, size, "%s", err.text);
    return ok;
}

static bool write_npy_task(void *ctx, char *why, size_t size) {
    static const float x[6] = {1, 2, 3};
    RtErr err = {{0}};
    RtOutFile out = {0};
    bool ok = rt_out_open(&out, NULL, ctx, RT_OUT_WHOLE, &err) && rt_out_begin(&out, &err);
    if (ok) {
        rt_npy_write(&out, HONE_F32, 2, (int64_t[]){2, 3}, x);
        ok = rt_out_commit(&out, &err);
    }
    rt_out_abort(&out);
    snprintf(why, size, "%s", err.text);
    return ok;
}

static const float weights[6] = {1, -2, 3.5f, 0, 1e-20f, 6};
static const int64_t numbers[2] = {INT64_MAX, -5};

static bool save_task(void *ctx, char *why, size_t size) {
    const RtNamedTensor t[] = {{"n", HONE_I64, 1, {2}, numbers},
                               {"a \"b\"", HONE_F32, 2, {2, 3}, weights},
                               {"scalar", HONE_F32, 0, {0}, weights + 2}};
    const RtMeta meta[] = {{"step", "12"}, {"labels", "x\ny"}};
    RtErr err = {{0}};
    bool ok = rt_safetensors_write(ctx, meta, 2, t, 3, &err);
    snprintf(why, size, "%s", err.text);
    return ok;
}

static bool load_task(void *ctx, char *why, size_t size) {
    RtErr err = {{0}};
    RtSafetensors *s = rt_safetensors_open(ctx, &err);
    RtNamedTensor like = {"n", HONE_I64, 1, {2}, NULL};
    bool ok = s && rt_safetensors_get(s, &like, &err);
    rt_safetensors_close(s);
    snprintf(why, size, "%s", err.text);
    return ok;
}

static bool model_task(void *ctx, char *why, size_t size) {
    HoneOptions opt = {.threads = 1};
    static float in[3 * 8 * 8], out[1 << 16];
    HoneModel *m = hone_create(ctx, &opt, why, size);
    bool ok = m && hone_run(m, 1, (const void *[]){in}, (void *[]){out}) == 0;
    if (m && !ok)
        snprintf(why, size, "%s", hone_error(m));
    hone_destroy(m);
    return ok;
}

// ---------------------------------------------------------------- code generation, in children

static const char network[] =
    "const %w: f32[8,3,3,3] = rand(1)\nconst %b: f32[8] = rand(2)\n"
    "const %v: f32[8,5] = rand(3)\n"
    "graph infer(%x: f32[N,3,8,8]) -> (%y) {\n"
    "  %c = conv %x, %w, %b {pad=[1,1,1,1]}\n  %r = relu %c\n  %p = max_pool %r {kernel=[2,2], "
    "stride=[2,2]}\n  %m = reduce_mean %p {axes=[2,3], keepdims=0}\n"
    "  %d = matmul %m, %v\n  %y = softmax %d {axis=1}\n}\n";

static bool generate(IrArena *a, CgResult *cg) {
    CgTarget target;
    IrProgram *p = ir_parse(a, "network", network, strlen(network));
    if (!p || !cg_target_init(&target, a, "x86-64-v3", p->diag))
        return false;
    PassOptions po = {.opt_level = 2, .block = target.lanes, .machine = &target.machine};
    CgOptions co = {.target = &target,
                    .opt_level = 2,
                    .jobs = 1,
                    .symbol = "net",
                    .model_hash = "",
                    .producer = "test"};
    passes_run(p, p->graphs[0], &po, PASS_INFER);
    return cg_compile(p->graphs[0], &co, folder, cg);
}

typedef struct Child { // shared with it
    long seen;
    bool failed;
} Child;

// In the child: exit code 0 fine, 1 an error that was reported.
static void generate_failing(long k, Child *shared) {
    IrDiag diag;
    CgResult cg;
    jmp_buf guard;
    ir_diag_init(&diag, "network");
    diag.guard = &guard;
    bool ok = false;
    if (setjmp(guard) == 0) {
        IrArena *a = ir_arena_new(&diag);
        arm(k);
        ok = generate(a, &cg);
    }
    alloc.armed = false;
    shared->seen = alloc.seen;
    shared->failed = alloc.failed;
    _exit(!ok);
}

// What the child wrote to stderr goes to said[].
static int run_child(long k, Child *shared, char *said, size_t size) {
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        dup2(ends[1], 2);
        generate_failing(k, shared);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < size && (got = read(ends[0], said + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    said[n] = 0;
    close(ends[0]);
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

// Ended by the handler of LLVM's errors, or with exit code 1, and a line about memory.
static bool ended_well(int status, const char *said) {
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) <= 1;
    bool handler = WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
    bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return fine || ((clean || handler) && *said);
}

static void code_generation(void) {
    Child *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char said[2048];
    int status = run_child(-1, shared, said, sizeof said);
    if (!CHECK(shared != MAP_FAILED && WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return;
    long n = shared->seen, most = run.full ? 3000 : 150, step = n <= most ? 1 : n / most;
    long failed = 0;
    for (long k = 0; k < n && check_state.failures < 20; k += step) {
        shared->failed = false;
        status = run_child(k, shared, said, sizeof said);
        failed++;
        if (!CHECK(ended_well(status, said)))
            fprintf(stderr, "codegen: allocation %ld fails: status %#x, says '%s'\n", k,
                    (unsigned)status, said);
    }
    run.points += failed;
    printf("%-28s %6ld allocations, %6ld failed\n", "code generation with LLVM", n, failed);
    munmap(shared, sizeof *shared);
}

// ---------------------------------------------------------------- all of it

static void compiler(void) {
    static Compile sources[] = {
        {.path = "tools/sample/sample.onnx", .passes = true},
        {.path = "tools/sample/clothes5.onnx", .passes = true},
        {.path = "tools/sample/clothes5.onnx", .train = true},
        {.text = network, .passes = true, .evaluate = true},
    };
    static const char *const names[] = {"import, passes: sample", "import, passes: clothes5",
                                        "import, training: clothes5",
                                        "textual IR, passes, evaluator"};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        try_all(&(Task){names[i], compile_task, &sources[i]}, false);
}

// Every importer: ONNX's own test models, those that are refused among them.
static void test_models(void) {
    glob_t files;
    long before = run.points, budget = run.budget;
    size_t n = 0, step = run.full ? 1 : 6;
    if (!CHECK(glob(MODELS, 0, NULL, &files) == 0))
        return;
    run.budget = 60;
    for (size_t i = 0; i < files.gl_pathc && check_state.failures < 20; i += step, n++)
        try_all(&(Task){files.gl_pathv[i], compile_task,
                        &(Compile){.path = files.gl_pathv[i], .passes = true}},
                true);
    run.budget = budget;
    printf("%zu of ONNX's test models %17ld failed\n", n, run.points - before);
    globfree(&files);
}

static void write_image(void) {
    RtImage image = {8, 8, 3, 0, (uint8_t[8 * 8 * 3]){10, 200, 30}};
    RtErr err;
    size_t bytes;
    uint8_t *jpeg = rt_jpeg_encode(&image, &bytes, &err);
    FILE *f = fopen(path[1], "wb");
    CHECK(jpeg && f && fwrite(jpeg, 1, bytes, f) == bytes);
    if (f)
        fclose(f);
    free(jpeg);
}

static void runtime(void) {
    write_image();
    try_all(&(Task){"checkpoint file: save", save_task, path[0]}, false);
    try_all(&(Task){"checkpoint file: load", load_task, path[0]}, false);
    try_all(&(Task){"array: write", write_npy_task, path[2]}, false);
    try_all(&(Task){"array: read", npy_task, path[2]}, false);
    try_all(&(Task){"image: png", image_task, (void *)"tools/sample/sneaker.png"}, false);
    try_all(&(Task){"image: jpeg", image_task, path[1]}, false);
}

static void loading(void) {
    IrDiag diag;
    ir_diag_init(&diag, "network");
    IrArena *a = ir_arena_new(&diag);
    CgResult cg;
    char err[256] = "";
    Jit *jit = generate(a, &cg) ? jit_load(&cg, "net", err, sizeof err) : NULL;
    if (CHECK(jit != NULL)) {
        try_all(&(Task){"load and run a model", model_task, (void *)jit_desc(jit)}, false);
        jit_free(jit);
    }
    ir_arena_free(a);
}

int main(int argc, char **argv) {
    run.full = argc > 1 && strcmp(argv[1], "--full") == 0;
    run.budget = 150;
    dl_iterate_phdr(find_omp, NULL);
    omp_set_num_threads(1); // children cannot use a pool of threads made here
    if (!CHECK(mkdtemp(folder)))
        return 1;
    for (int i = 0; i < 3; i++)
        snprintf(path[i], sizeof path[i], "%s/%d", folder, i);
    CHECK_RUN(code_generation);
    CHECK_RUN(compiler);
    CHECK_RUN(test_models);
    CHECK_RUN(runtime);
    CHECK_RUN(loading);
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -rf %s", folder);
    CHECK(system(cmd) == 0);
    printf("%ld allocations failed in turn\n", run.points);
    CHECK(run.points >= 10000);
    return check_done();
}
