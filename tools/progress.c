// The progress bar of long work: drawn on a terminal only, so that logs stay clean.
#include "tools/tool.h"

#include <unistd.h>

void tool_progress_start(ToolProgress *p, const char *what) {
    p->what = what;
    p->on = isatty(2);
    p->shown = -1;
}

void tool_progress(void *progress, int done, int total) {
    ToolProgress *p = progress;
    enum { WIDTH = 30 };
    int fill = total ? WIDTH * done / total : WIDTH;
    if (!p->on || fill == p->shown)
        return;
    p->shown = fill;
    fprintf(stderr, "\r%-12s [%.*s%*s] %d/%d", p->what, fill,
            "==============================", WIDTH - fill, "", done, total);
    fflush(stderr);
}

void tool_progress_end(ToolProgress *p) {
    if (p->on && p->shown >= 0)
        fprintf(stderr, "\r\033[K");
}
