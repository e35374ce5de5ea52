// From the code generator's files to what the user asked for. Libraries and objects are one
// relocatable object with everything inside and only hone_NAME_* visible, so that several models
// live in one process.
#include "tools/tool.h"

#include "runtime/core/hone.h"
#include <ctype.h>
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

// Where the runtime's libraries are: next to the compiler in a build tree, else in the installed
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

// The list, hone-link.txt for one: one linker argument a line, {LIBDIR} stands for the directory it
// lies in.
static void push_runtime(Tool *t, Args *a, const char *list) {
    const char *dir = lib_dir(t);
    char *text = tool_lib_text(t, list);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (*line == '#')
            continue;
        char *mark = strstr(line, "{LIBDIR}");
        push(a, mark ? ir_sprintf(t->arena, "%.*s%s%s", (int)(mark - line), line, dir, mark + 8)
                     : line);
    }
}

static const char *cc(void) {
    const char *env = getenv("CC");
    return env && *env ? env : "cc";
}

static void push_files(Args *a, const CgResult *cg) {
    for (int i = 0; i < cg->n_files; i++)
        push(a, cg->files[i]);
}

// `define`: what the linker is told besides, or NULL.
static bool link_program(Tool *t, const CgResult *cg, const char *define, const char *list,
                         const char *out) {
    Args a = {0};
    push(&a, cc());
    push(&a, "-pie");
    push(&a, "-Wl,-z,relro,-z,now,-z,noexecstack,--gc-sections");
    push(&a, "-s");
    if (define)
        push(&a, define);
    push(&a, "-o");
    push(&a, out);
    push_files(&a, cg);
    push_runtime(t, &a, list);
    push(&a, NULL);
    return tool_spawn(t, a.v);
}

static bool link_exe(Tool *t, const CgResult *cg, const char *symbol, const char *out) {
    const char *desc = ir_sprintf(t->arena, "-Wl,--defsym=hone_main_desc=%s_desc", symbol);
    return link_program(t, cg, desc, "hone-link.txt", out);
}

bool tool_link_finetune(Tool *t, const CgResult *cg, const char *out) {
    return link_program(t, cg, NULL, "hone-link-finetune.txt", out);
}

// The model's own functions around the runtime's: hone_NAME_create and so on.
static const char *compile_wrapper(Tool *t, const char *s) {
    const char *dir = tool_temp_dir(t), *src = ir_sprintf(t->arena, "%s/api.c", dir);
    const char *obj = ir_sprintf(t->arena, "%s/api.o", dir);
    FILE *f = fopen(src, "w");
    if (!f)
        ir_fatal(&t->diag, IR_NOWHERE, "cannot write %s: %s", src, strerror(errno));
    tool_api_define(f, tool_lib_text(t, "hone.h"), s);
    fclose(f);
    const char *argv[] = {cc(), "-c", "-O2", "-fPIC", "-fvisibility=hidden", "-o", obj, src, NULL};
    return tool_spawn(t, argv) ? obj : NULL;
}

// Program, weights, wrapper and the runtime's members that they need, as one object; hidden symbols
// become local.
static bool link_object(Tool *t, const CgResult *cg, const char *symbol, const char *out) {
    const char *api = compile_wrapper(t, symbol);
    if (!api)
        return false;
    Args a = {0};
    push(&a, cc());
    push(&a, "-r");
    push(&a, "-nostdlib");
    push(&a, "-o");
    push(&a, out);
    push(&a, api);
    push_files(&a, cg);
    push(&a, ir_sprintf(t->arena, "%s/libhone_rt.a", lib_dir(t)));
    push(&a, NULL);
    const char *localize[] = {"objcopy", "--localize-hidden", out, NULL};
    return tool_spawn(t, a.v) && tool_spawn(t, localize);
}

// The model's functions alone, under a version, so that a host binds to what it was linked with;
// inside, each library to itself.
static const char *write_exports(Tool *t, const char *symbol) {
    const char *path = ir_sprintf(t->arena, "%s/exports", tool_temp_dir(t));
    FILE *f = fopen(path, "w");
    if (!f)
        ir_fatal(&t->diag, IR_NOWHERE, "cannot write %s: %s", path, strerror(errno));
    fprintf(f, "HONE_%d { global: %s_*; local: *; };\n", HONE_API, symbol);
    fclose(f);
    return path;
}

static bool link_shared(Tool *t, const CgResult *cg, const char *symbol, const char *out) {
    const char *obj = ir_sprintf(t->arena, "%s/all.o", tool_temp_dir(t));
    const char *exports = ir_sprintf(t->arena, "-Wl,--version-script=%s", write_exports(t, symbol));
    const char *argv[] = {cc(),
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
    return link_object(t, cg, symbol, obj) && tool_spawn(t, argv);
}

bool tool_link_kernels(Tool *t, const CgResult *cg, const char *out) {
    Args a = {0};
    push(&a, cc());
    push(&a, "-shared");
    push(&a, "-Wl,-z,relro,-z,now,-z,noexecstack");
    push(&a, "-o");
    push(&a, out);
    push_files(&a, cg);
    push(&a, "-lm");
    push(&a, NULL);
    return tool_spawn(t, a.v);
}

static bool link_static(Tool *t, const CgResult *cg, const char *symbol, const char *out) {
    const char *obj = ir_sprintf(t->arena, "%s/%.100s.o", tool_temp_dir(t), symbol);
    const char *argv[] = {"ar", "rcsD", out, obj, NULL};
    unlink(out); // ar would take the empty temporary file for a broken archive
    return link_object(t, cg, symbol, obj) && tool_spawn(t, argv);
}

typedef bool (*Linker)(Tool *, const CgResult *, const char *, const char *);
static const Linker linkers[EMIT_COUNT] = {[EMIT_EXE] = link_exe,
                                           [EMIT_SHARED] = link_shared,
                                           [EMIT_STATIC] = link_static,
                                           [EMIT_OBJECT] = link_object};

bool tool_link(Tool *t, ToolEmit emit, const CgResult *cg, const char *symbol, const char *out) {
    return linkers[emit](t, cg, symbol, out);
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
