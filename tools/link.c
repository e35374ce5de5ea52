// From the code generator's files to what the user asked for. Libraries and objects are one
// relocatable object with everything inside and only hone_NAME_* visible, so that several models
// live in one process. For machines of this one's instruction set that takes its own compiler and
// binutils, for others GNU's cross tools, and a runtime that was built by them.
#include "tools/tool.h"

#include "runtime/core/hone.h"
#include <ar.h>
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ARGS = 96 };

typedef struct Args {
    int n;
    const char *v[MAX_ARGS];
} Args;

static void push(Args *a, const char *s) {
    if (a->n + 1 >= MAX_ARGS)
        ir_bug("link", NULL, "the linker's command line is too long");
    a->v[a->n++] = s;
}

// Where the compiler's own files are: next to it in a build tree, else in the installed
// LIBDIR/hone.
static const char *lib_dir(Tool *t) {
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        ir_fatal(&t->diag, IR_NOWHERE, "cannot find the compiler's own path: %s", strerror(errno));
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    const char *const dirs[] = {exe, ir_sprintf(t->arena, "%s/%s", exe, HONE_LIBDIR_FROM_BIN)};
    for (int i = 0; i < 2; i++)
        if (access(ir_sprintf(t->arena, "%s/hone-link.txt", dirs[i]), R_OK) == 0)
            return ir_strdup(t->arena, dirs[i]);
    ir_fatal(&t->diag, IR_NOWHERE, "the runtime is not installed: no hone-link.txt in %s or %s",
             dirs[0], dirs[1]);
}

char *tool_lib_text(Tool *t, const char *name) {
    const char *path = ir_sprintf(t->arena, "%s/%s", lib_dir(t), name);
    FILE *f = fopen(path, "r");
    if (!f)
        ir_fatal(&t->diag, IR_NOWHERE, "cannot read %s: %s", path, strerror(errno));
    size_t cap = 1 << 18;
    char *text = ir_alloc(t->arena, cap);
    text[fread(text, 1, cap - 1, f)] = 0;
    fclose(f);
    return text;
}

// ---------------------------------------------------------------- tools for a machine

// GNU's name for what programs of an instruction set run on: its tools are called GNU-gcc and so
// on, its runtime lies in LIBDIR/GNU.
static const char *const gnu_names[] = {
    [IR_ISA_X86_64] = "x86_64-linux-gnu", [IR_ISA_AARCH64] = "aarch64-linux-gnu"};

typedef struct Chain {
    Tool *t;
    const char *cc, *objcopy, *ar;
    const char *prefix;  // of the runtime's files in lib_dir(): "" or "GNU/"
    const char *without; // see tool_without()
} Chain;

static const char *own_cc(void) {
    const char *env = getenv("CC");
    return env && *env ? env : "cc";
}

static bool find_program(IrArena *a, const char *name) {
    const char *path = getenv("PATH");
    for (const char *s = path ? path : ""; *s;) {
        size_t n = strcspn(s, ":");
        if (access(ir_sprintf(a, "%.*s/%s", (int)n, s, name), X_OK) == 0)
            return true;
        s += n + (s[n] == ':');
    }
    return false;
}

// False after saying what is missing.
static bool find_chain(Tool *t, const CgTarget *target, Chain *c) {
    *c = (Chain){t, own_cc(), "objcopy", "ar", "", ""};
    if (cg_target_is_host(target))
        return true;
    const char *gnu = gnu_names[target->machine.isa];
    *c = (Chain){t,
                 ir_sprintf(t->arena, "%s-gcc", gnu),
                 ir_sprintf(t->arena, "%s-objcopy", gnu),
                 ir_sprintf(t->arena, "%s-ar", gnu),
                 ir_sprintf(t->arena, "%s/", gnu),
                 ""};
    const char *list = ir_sprintf(t->arena, "%s/%shone-link.txt", lib_dir(t), c->prefix);
    if (!find_program(t->arena, c->cc))
        ir_error(&t->diag, IR_NOWHERE, "no %s here, which links programs for %s: install gcc-%s",
                 c->cc, target->cpu, gnu);
    else if (access(list, R_OK) != 0)
        ir_error(&t->diag, IR_NOWHERE,
                 "hone was built without a runtime for %s: run tools/aarch64 in its sources, which "
                 "installs what that takes, and build it again",
                 target->cpu);
    return !t->diag.errors;
}

// The list, hone-link.txt for one: one linker argument a line, {LIBDIR} stands for the directory it
// lies in.
static void push_runtime(const Chain *c, Args *a, const char *list) {
    Tool *t = c->t;
    const char *dir = ir_sprintf(t->arena, "%s/%s", lib_dir(t), c->prefix);
    char *text = tool_lib_text(t, ir_sprintf(t->arena, "%s%s", c->prefix, list));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (*line == '#')
            continue;
        char *mark = strstr(line, "{LIBDIR}");
        push(a, mark ? ir_sprintf(t->arena, "%.*s%s%s", (int)(mark - line), line, dir, mark + 9)
                     : line);
    }
}

// ---------------------------------------------------------------- programs

static void push_files(Args *a, const CgResult *cg) {
    for (int i = 0; i < cg->n_files; i++)
        push(a, cg->files[i]);
}

// form: -pie or -static-pie; `define`: what the linker is told besides, or NULL.
static bool link_program(const Chain *c, const CgResult *cg, const char *form, const char *define,
                         const char *list, const char *out) {
    Args a = {0};
    push(&a, c->cc);
    push(&a, form);
    push(&a, "-Wl,-z,relro,-z,now,-z,noexecstack,--gc-sections");
    push(&a, "-s");
    if (define)
        push(&a, define);
    push(&a, "-o");
    push(&a, out);
    push_files(&a, cg);
    push_runtime(c, &a, list);
    push(&a, NULL);
    return tool_spawn(c->t, a.v);
}

// The subcommands that runtime/infer/main.c has for programs of one task alone: others go without.
static const char *const task_main[HONE_TASK_COUNT] = {
    [HONE_TASK_DETECT] = "rt_infer_detect", [HONE_TASK_SEGMENT] = "rt_infer_segment"};

// Where nothing is drawn, libpng's reader goes without its writer: two functions that only it
// calls, and one that stands in the same file.
static const char no_png_writer[] = ",--defsym=png_destroy_write_struct=0"
                                    ",--defsym=png_free_buffer_list=0"
                                    ",--defsym=png_save_uint_32=rt_image_save_32";

// more: further arguments of the linker, each behind a comma.
static bool link_infer(const Chain *c, const CgResult *cg, const char *form, const char *more,
                       const char *symbol, const char *out) {
    IrArena *a = c->t->arena;
    const char *define =
        ir_sprintf(a, "-Wl,--defsym=hone_main_desc=%s_desc%s%s", symbol, c->without, more);
    for (int i = 0; i < HONE_TASK_COUNT; i++)
        if (task_main[i] && i != cg->task)
            define = ir_sprintf(a, "%s,--defsym=%s=0", define, task_main[i]);
    if (!task_main[cg->task])
        define = ir_sprintf(a, "%s%s", define, no_png_writer);
    return link_program(c, cg, form, define, "hone-link.txt", out);
}

// Nothing unwinds a program's stack, but for threads that end in a static OpenMP: without the
// tables for it, where the linker can leave them out.
static bool link_exe(const Chain *c, const CgResult *cg, const char *symbol, const char *out) {
    const char *script = ir_sprintf(c->t->arena, "%s/hone-link.ld", lib_dir(c->t));
    bool there = access(script, R_OK) == 0;
    return link_infer(c, cg, "-pie",
                      there ? ir_sprintf(c->t->arena, ",--no-eh-frame-hdr,-T,%s", script) : "",
                      symbol, out);
}

static bool link_static_exe(const Chain *c, const CgResult *cg, const char *symbol,
                            const char *out) {
    return link_infer(c, cg, "-static-pie", "", symbol, out);
}

typedef struct Wrapper {
    const char *api, *symbol; // api: hone.h's text
} Wrapper;

static void print_wrapper(FILE *f, void *ctx) {
    const Wrapper *w = ctx;
    tool_api_define(f, w->api, w->symbol);
}

// The model's own functions around the runtime's: hone_NAME_create and so on.
static const char *compile_wrapper(const Chain *c, const char *s) {
    Tool *t = c->t;
    const char *dir = tool_temp_dir(t), *src = ir_sprintf(t->arena, "%s/api.c", dir);
    const char *obj = ir_sprintf(t->arena, "%s/api.o", dir);
    Wrapper w = {tool_lib_text(t, "hone.h"), s};
    const char *argv[] = {c->cc, "-c", "-O2", "-fPIC", "-fvisibility=hidden", "-o", obj, src, NULL};
    return tool_write_temp(t, src, print_wrapper, &w) && tool_spawn(t, argv) ? obj : NULL;
}

// Program, weights, wrapper, and the members of the runtime and of the image libraries that they
// need, as one object; all symbols but the wrapper's become local.
static bool link_object(const Chain *c, const CgResult *cg, const char *symbol, const char *out) {
    Tool *t = c->t;
    const char *api = compile_wrapper(c, symbol);
    if (!api)
        return false;
    Args a = {0};
    push(&a, c->cc);
    push(&a, "-r");
    push(&a, "-nostdlib");
    push(&a, "-o");
    push(&a, out);
    push(&a, api);
    push_files(&a, cg);
    push_runtime(c, &a, "hone-link-library.txt");
    push(&a, NULL);
    const char *shown = ir_sprintf(t->arena, "--keep-global-symbol=%s_*", symbol);
    const char *localize[] = {c->objcopy, "--localize-hidden", "--wildcard", shown, out, NULL};
    return tool_spawn(t, a.v) && tool_spawn(t, localize);
}

// The model's functions alone, under a version, so that a host binds to what it was linked with;
// inside, each library to itself.
static void print_exports(FILE *f, void *symbol) {
    fprintf(f, "HONE_%d { global: %s_*; local: *; };\n", HONE_API, (const char *)symbol);
}

static bool link_shared(const Chain *c, const CgResult *cg, const char *symbol, const char *out) {
    Tool *t = c->t;
    const char *obj = ir_sprintf(t->arena, "%s/all.o", tool_temp_dir(t));
    const char *list = ir_sprintf(t->arena, "%s/exports", tool_temp_dir(t));
    const char *exports = ir_sprintf(t->arena, "-Wl,--version-script=%s", list);
    const char *argv[] = {c->cc,
                          "-shared",
                          "-Wl,-z,relro,-z,now,-z,noexecstack,--gc-sections",
                          exports,
                          "-Wl,-Bsymbolic",
                          "-s",
                          "-o",
                          out,
                          obj,
                          "-lgomp",
                          "-lm",
                          NULL};
    return tool_write_temp(t, list, print_exports, (void *)symbol) &&
           link_object(c, cg, symbol, obj) && tool_spawn(t, argv);
}

bool tool_link_kernels(Tool *t, const CgResult *cg, const char *out) {
    Args a = {0};
    push(&a, own_cc());
    push(&a, "-shared");
    push(&a, "-Wl,-z,relro,-z,now,-z,noexecstack");
    push(&a, "-o");
    push(&a, out);
    push_files(&a, cg);
    push(&a, "-lm");
    push(&a, NULL);
    return tool_spawn(t, a.v);
}

static bool link_static(const Chain *c, const CgResult *cg, const char *symbol, const char *out) {
    Tool *t = c->t;
    const char *obj = ir_sprintf(t->arena, "%s/%.100s.o", tool_temp_dir(t), symbol);
    const char *argv[] = {c->ar, "rcsD", out, obj, NULL};
    unlink(out); // ar would take the empty temporary file for a broken archive
    return link_object(c, cg, symbol, obj) && tool_spawn(t, argv);
}

// ---------------------------------------------------------------- whole files

// The section headers are the last of an ELF file, and the last that a linker writes.
static bool is_whole_elf(FILE *f, int64_t bytes) {
    Elf64_Ehdr h;
    return fread(&h, sizeof h, 1, f) == 1 && memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 &&
           h.e_shoff + (uint64_t)h.e_shnum * h.e_shentsize <= (uint64_t)bytes;
}

// Members follow one another to the end, each at an even place.
static bool is_whole_archive(FILE *f, int64_t bytes) {
    struct ar_hdr h;
    int64_t at = SARMAG;
    while (at < bytes && fseek(f, (long)at, SEEK_SET) == 0 && fread(&h, sizeof h, 1, f) == 1 &&
           memcmp(h.ar_fmag, ARFMAG, sizeof h.ar_fmag) == 0)
        at += (int64_t)sizeof h + (strtoll(h.ar_size, NULL, 10) + 1) / 2 * 2;
    return at == bytes;
}

// The binutils flush what they wrote last when they close the file, and do not look whether that
// succeeded: on a full disk they lose the end of it and say nothing.
static bool check_whole(Tool *t, ToolEmit emit, const char *path) {
    FILE *f = fopen(path, "re");
    bool ok = f && fseek(f, 0, SEEK_END) == 0;
    int64_t bytes = ok ? ftell(f) : 0;
    if (ok)
        rewind(f);
    ok = ok && (emit == EMIT_STATIC ? is_whole_archive(f, bytes) : is_whole_elf(f, bytes));
    if (f)
        fclose(f);
    if (!ok)
        ir_error(&t->diag, IR_NOWHERE,
                 "cannot be written: the linker lost the end of it, as on a "
                 "full disk: No space left on device");
    return ok;
}

typedef bool (*Linker)(const Chain *, const CgResult *, const char *, const char *);
static const Linker linkers[EMIT_COUNT] = {
    [EMIT_EXE] = link_exe,       [EMIT_STATIC_EXE] = link_static_exe, [EMIT_SHARED] = link_shared,
    [EMIT_STATIC] = link_static, [EMIT_OBJECT] = link_object,         [EMIT_PYTHON] = link_shared};

bool tool_can_link(Tool *t, const CgTarget *target) {
    Chain c;
    return find_chain(t, target, &c);
}

bool tool_link(Tool *t, ToolEmit emit, const CgTarget *target, const CgResult *cg,
               const char *symbol, const char *without, const char *out) {
    Chain c;
    if (!find_chain(t, target, &c))
        return false;
    c.without = without;
    return linkers[emit](&c, cg, symbol, out) && check_whole(t, emit, out);
}

bool tool_link_finetune(Tool *t, ToolEmit emit, const CgTarget *target, const CgResult *cg,
                        const char *out) {
    const char *form = emit == EMIT_STATIC_EXE ? "-static-pie" : "-pie";
    Chain c;
    return find_chain(t, target, &c) &&
           link_program(&c, cg, form, NULL, "hone-link-finetune.txt", out) &&
           check_whole(t, emit, out);
}

const char *tool_symbol(IrArena *a, const char *name) {
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    char *s = ir_sprintf(a, "hone_%s", base);
    char *dot = strrchr(s, '.');
    if (dot && dot > s + 5)
        *dot = 0;
    for (char *c = s; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_')
            *c = '_';
    return s;
}
