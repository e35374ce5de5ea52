// What finds an emitted library for who builds with it: NAME.pc for pkg-config and NAMEConfig.cmake
// for CMake. Both lie beside the library and find it there, wherever the folder is. A program finds
// a shared one where pkg-config was told that NAME.pc is, by an absolute path; the slash in front
// makes of a relative one a place that is not there, rather than one below whatever folder somebody
// stands in who starts the program.
#include "tools/tool.h"

#include <string.h>

typedef struct Config {
    const char *name, *file; // of the model; of the library, without its folder
    ToolEmit emit;
} Config;

static void print_pc(FILE *f, void *ctx) {
    const Config *c = ctx;
    fprintf(f, "Name: %s\nDescription: a network, compiled by %s\nVersion: %s\n", c->name,
            TOOL_PRODUCER, HONE_VERSION);
    fprintf(f, "Cflags: -I${pcfiledir}\n");
    if (c->emit == EMIT_SHARED)
        fprintf(f, "Libs: -L${pcfiledir} -l:%s -Wl,-rpath,/${pcfiledir}\n", c->file);
    else
        fprintf(f, "Libs: ${pcfiledir}/%s -lgomp -lm\n", c->file);
}

static void print_cmake(FILE *f, void *ctx) {
    const Config *c = ctx;
    const char *n = c->name;
    static const char *const kinds[EMIT_COUNT] = {
        [EMIT_SHARED] = "SHARED", [EMIT_STATIC] = "STATIC", [EMIT_OBJECT] = "OBJECT"};
    static const char *const places[EMIT_COUNT] = {[EMIT_SHARED] = "IMPORTED_LOCATION",
                                                   [EMIT_STATIC] = "IMPORTED_LOCATION",
                                                   [EMIT_OBJECT] = "IMPORTED_OBJECTS"};
    fprintf(f, "# a network, compiled by %s: target_link_libraries(program hone::%s)\n",
            TOOL_PRODUCER, n);
    fprintf(f, "if(NOT TARGET hone::%s)\n    add_library(hone::%s %s IMPORTED)\n", n, n,
            kinds[c->emit]);
    fprintf(f,
            "    set_target_properties(hone::%s PROPERTIES %s \"${CMAKE_CURRENT_LIST_DIR}/%s\"\n"
            "        INTERFACE_INCLUDE_DIRECTORIES \"${CMAKE_CURRENT_LIST_DIR}\"%s)\n",
            n, places[c->emit], c->file,
            c->emit == EMIT_SHARED ? " IMPORTED_NO_SONAME TRUE"
                                   : " INTERFACE_LINK_LIBRARIES \"gomp;m\"");
    fprintf(f, "endif()\n");
}

static Config config_of(const char *symbol, ToolEmit emit, const char *out) {
    const char *slash = strrchr(out, '/');
    return (Config){symbol + strlen("hone_"), slash ? slash + 1 : out, emit};
}

bool tool_config_open(Tool *t, const char *symbol, const char *out, ToolConfigFiles *files) {
    const char *slash = strrchr(out, '/');
    int folder = slash ? (int)(slash - out) + 1 : 0;
    const char *name = symbol + strlen("hone_");
    files->pc = tool_out(t, ir_sprintf(t->arena, "%.*s%s.pc", folder, out, name), RT_OUT_WHOLE);
    files->cmake = files->pc
                       ? tool_out(t, ir_sprintf(t->arena, "%.*s%sConfig.cmake", folder, out, name),
                                  RT_OUT_WHOLE)
                       : NULL;
    return files->cmake;
}

bool tool_config_print(Tool *t, const char *symbol, ToolEmit emit, const char *out,
                       const ToolConfigFiles *files) {
    Config c = config_of(symbol, emit, out);
    return tool_print_out(t, files->pc, print_pc, &c) &&
           tool_print_out(t, files->cmake, print_cmake, &c);
}
