// See tally.h.
#include "runtime/core/tally.h"

#include <unistd.h>

#include "runtime/core/text.h"

enum { OFTEN = 200 * 1000 * 1000 }; // ns between two looks at it

void rt_tally_begin(RtTally *t, int64_t all, bool talks) {
    bool shows = isatty(STDERR_FILENO) && !(talks && isatty(STDOUT_FILENO)) && all != 1;
    *t = (RtTally){.all = all, .shows = shows, .start = rt_now()};
}

void rt_tally_clear(RtTally *t) {
    if (t->shown)
        fputs("\r\033[K", stderr);
    t->shown = 0;
}

static void show(RtTally *t, uint64_t now) {
    double seconds = (double)(now - t->start) * 1e-9;
    fprintf(stderr, "\r  %lld", (long long)t->done);
    if (t->all > 0)
        fprintf(stderr, " of %lld", (long long)t->all);
    fprintf(stderr, " images, %.0f a second\033[K", (double)t->done / (seconds > 0 ? seconds : 1));
    fflush(stderr);
    t->shown = now;
}

void rt_tally_step(RtTally *t) {
    t->done++;
    uint64_t now = t->shows ? rt_now() : 0;
    if (t->shows && now - (t->shown ? t->shown : t->start) > OFTEN)
        show(t, now);
}

void rt_tally_bad(RtTally *t, const char *text) {
    rt_tally_clear(t);
    fprintf(stderr, "%s\n", RT_SHOW(text));
    t->bad++;
}

bool rt_tally_end(RtTally *t) {
    rt_tally_clear(t);
    if (t->bad && t->done > 1)
        fprintf(stderr, "%lld of %lld images are bad\n", (long long)t->bad, (long long)t->done);
    if (t->turned)
        fprintf(stderr,
                "note: %lld of %lld images turned upright as their EXIF orientation says; "
                "--as-stored leaves them\n",
                (long long)t->turned, (long long)t->done);
    return !t->bad;
}
