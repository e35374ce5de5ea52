// What an inference program can go without: --without.
#include "tools/tool.h"

#include "runtime/core/text.h"
#include <string.h>

// The function that a part begins with, and what stands in its place: so the linker leaves out what
// nothing else calls.
static const struct {
    const char *name, *function, *instead;
} parts[] = {{"serve", "rt_infer_serve", "rt_infer_no_serve"},
             {"jpeg", "rt_jpeg_decode", "rt_image_no_decoder"},
             {"png", "rt_png_decode", "rt_image_no_decoder"},
             {"webp", "rt_webp_decode", "rt_image_no_decoder"}};
enum { N_PARTS = sizeof parts / sizeof *parts };

static int find_part(const char *name, size_t length) {
    int i = 0;
    while (i < N_PARTS &&
           (strlen(parts[i].name) != length || strncmp(parts[i].name, name, length) != 0))
        i++;
    return i;
}

const char *tool_without(IrArena *a, const char *list) {
    const char *more = "", *at = list;
    for (bool last = !list; !last; at++) {
        size_t length = strcspn(at, ",");
        int i = find_part(at, length);
        if (i == N_PARTS) {
            fprintf(stderr,
                    "hone compile: --without takes " TOOL_PARTS " with commas between, not '%s'\n",
                    RT_SHOW(list));
            return NULL;
        }
        more = ir_sprintf(a, "%s,--defsym=%s=%s", more, parts[i].function, parts[i].instead);
        at += length;
        last = !*at;
    }
    return more;
}
