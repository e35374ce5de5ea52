// Progress bar, lines and the JSONL log of a training run.
#include "runtime/train/log.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/core/text.h"
#include "runtime/file/json.h"

enum { BAR_WIDTH = 24, REDRAW_NS = 100 * 1000 * 1000 };

bool rt_train_log_open(RtTrainLog *l, RtOuts *outs, const char *jsonl_path, bool append, bool quiet,
                       RtErr *err) {
    *l = (RtTrainLog){.terminal = isatty(2), .quiet = quiet};
    RtOutKind kind = append ? RT_OUT_APPEND : RT_OUT_LOG;
    l->wanted = jsonl_path && rt_out_open(&l->jsonl, outs, jsonl_path, kind, err);
    return l->wanted || !jsonl_path;
}

// ---------------------------------------------------------------- where it goes on

// Does a line tell of what is behind the run's place?
static bool is_behind(const json_t *line, const char *event, const RtLogPlace *at) {
    json_int_t n = 0;
    if (json_unpack((json_t *)line, "{s:I}", "step", &n) == 0)
        return n <= at->step;
    if (json_unpack((json_t *)line, "{s:I}", "epoch", &n) == 0)
        return n < at->epoch;
    if (strcmp(event, "folds") == 0) // told as the last run begins
        return at->step > 0 || at->epoch > 0;
    return strcmp(event, "fold") != 0; // told as a part ends, which this one has not
}

// Whole lines, up to the first that the run writes again. Those of other runs of a k-fold end with
// their scores; what is no line of ours stays.
static off_t find_end(FILE *f, const RtLogPlace *at) {
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    off_t end = 0, cut = -1;
    while ((n = getline(&line, &room, f)) > 0 && line[n - 1] == '\n') {
        const char *event = "";
        json_t *j = json_loadb(line, (size_t)n, 0, NULL);
        json_int_t fold = INT64_MAX;
        bool ours = json_unpack(j, "{s:s}", "event", &event) == 0;
        if (ours && cut < 0 && !is_behind(j, event, at))
            cut = end;
        end += n;
        if (ours && strcmp(event, "fold") == 0 && json_unpack(j, "{s:I}", "fold", &fold) == 0 &&
            fold < at->fold)
            cut = -1;
        json_decref(j);
    }
    free(line);
    return cut < 0 ? end : cut;
}

static bool cut_back(const char *path, const RtLogPlace *at, RtErr *err) {
    FILE *f = fopen(path, "rbe");
    if (!f)
        return errno == ENOENT || rt_fail(err, "%s: %s", path, strerror(errno));
    off_t end = find_end(f, at);
    bool good = !ferror(f);
    fclose(f);
    return (good && truncate(path, end) == 0) || rt_fail(err, "%s: %s", path, strerror(errno));
}

bool rt_train_log_begin(RtTrainLog *l, const RtLogPlace *at, RtErr *err) {
    bool goes_on = l->jsonl.kind == RT_OUT_APPEND && l->jsonl.target;
    if (l->wanted)
        l->wanted =
            (!goes_on || cut_back(l->jsonl.target, at, err)) && rt_out_begin(&l->jsonl, err);
    return l->wanted || !l->jsonl.path;
}

bool rt_train_log_commit(RtTrainLog *l, RtErr *err) {
    bool ok = !l->wanted || rt_out_commit(&l->jsonl, err);
    l->wanted = false;
    return ok;
}

void rt_train_log_close(RtTrainLog *l) {
    rt_train_log_clear(l);
    rt_out_abort(&l->jsonl);
}

void rt_train_log_clear(RtTrainLog *l) {
    if (l->bar_shown)
        fputs("\r\033[K", stderr);
    l->bar_shown = false;
}

void rt_train_log_line(RtTrainLog *l, const char *fmt, ...) {
    if (l->quiet)
        return;
    rt_train_log_clear(l);
    char text[RT_SHOWN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fprintf(stderr, "%s\n", RT_SHOW(text));
}

static void format_time(double s, char *text, size_t size) {
    if (s < 0 || s > 1e7)
        snprintf(text, size, "--:--");
    else if (s < 3600)
        snprintf(text, size, "%d:%02d", (int)s / 60, (int)s % 60);
    else
        snprintf(text, size, "%d:%02d:%02d", (int)s / 3600, (int)s / 60 % 60, (int)s % 60);
}

void rt_train_log_progress(RtTrainLog *l, const char *what, int64_t done, int64_t total,
                           double loss, const char *score, double right, double images_per_s,
                           double left_s) {
    uint64_t now = rt_now();
    if (!l->terminal || l->quiet || (now - l->shown_ns < REDRAW_NS && done != total))
        return;
    char bar[BAR_WIDTH + 1], left[32];
    int full = total > 0 ? (int)(done * BAR_WIDTH / total) : 0;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)full);
    bar[BAR_WIDTH] = 0;
    format_time(left_s, left, sizeof left);
    fprintf(stderr, "\r\033[K%s [%s] %lld/%lld", RT_SHOW(what), bar, (long long)done,
            (long long)total);
    if (loss >= 0)
        fprintf(stderr, "  loss %.4f  %s %.1f%%", loss, score, right * 100);
    fprintf(stderr, "  %.0f images/s  %s left", images_per_s, left);
    fflush(stderr);
    l->shown_ns = now;
    l->bar_shown = true;
}

bool rt_train_log_event(RtTrainLog *l, const char *event, const RtLogField *fields, int n,
                        RtErr *err) {
    FILE *f = l->jsonl.f;
    if (!l->wanted || !f)
        return true;
    RtJson j = {.f = f};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "event", event);
    for (int i = 0; i < n; i++) {
        if (fields[i].text)
            rt_json_text(&j, fields[i].key, fields[i].text);
        else
            rt_json_number(&j, fields[i].key, fields[i].number, 9);
    }
    rt_json_end(&j, '}');
    fputc('\n', f);
    return l->wanted = rt_out_flush(&l->jsonl, err);
}
