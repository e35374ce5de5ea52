// See picture_out.h.
#define _GNU_SOURCE
#include "runtime/infer/picture_out.h"

#include "runtime/image/draw.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Visit {
    const RtPictureOut *o;
    RtOuts *outs;
} Visit;

static int compare_names(const void *a, const void *b) {
    return strcmp(a, b);
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// A picture that lies in the folder could be one that is written there.
static bool lies_apart(const RtPictureOut *o, const char *path, RtErr *err) {
    struct stat st;
    int length = (int)(name_of(path) - path);
    char *folder = length ? strndup(path, (size_t)length) : strdup(".");
    bool same = folder && stat(folder, &st) == 0 && st.st_dev == o->dev && st.st_ino == o->ino;
    free(folder);
    return !same || rt_fail(err, "%s: %s would be written where this picture is", path, o->option);
}

static bool allow_file(void *ctx, const char *path, RtErr *err) {
    const Visit *v = ctx;
    return v->o->folder ? lies_apart(v->o, path, err) : rt_outs_allow(v->outs, path, 0, err);
}

static bool is_folder(const char *path, struct stat *st) {
    return stat(path, st) == 0 && S_ISDIR(st->st_mode);
}

// False: it is to be one, and cannot be.
static bool find_folder(RtPictureOut *o, const char *path, RtErr *err) {
    struct stat st;
    size_t length = strlen(path);
    bool asked = length && path[length - 1] == '/';
    o->made = asked && mkdir(path, 0777) == 0;
    if (asked && !o->made && errno != EEXIST)
        return rt_fail(err, "%s: cannot be made: %s", path, strerror(errno));
    if (!is_folder(path, &st))
        return !asked || rt_fail(err, "%s: is no folder", path);
    o->dev = st.st_dev;
    o->ino = st.st_ino;
    return asprintf(&o->folder, "%s%s", path, asked ? "" : "/") >= 0 || rt_fail(err, "no memory");
}

bool rt_picture_out_open(RtPictureOut *o, RtOuts *outs, const char *option, const char *path,
                         const RtInputs *inputs, RtErr *err) {
    *o = (RtPictureOut){.option = option, .wanted = path != NULL};
    Visit v = {o, outs};
    if (!path)
        return true;
    if (!find_folder(o, path, err))
        return false;
    o->listed = rt_inputs_listed(inputs);
    if (o->folder)
        return o->listed || rt_inputs_visit(inputs, allow_file, &v, err);
    if (rt_inputs_listed(inputs))
        return rt_fail(err, "%s FILE takes one picture, not a list; %s FOLDER/ takes more", option,
                       option);
    if (rt_inputs_known(inputs) > 1)
        return rt_fail(err, "%s FILE takes one picture, not %lld; %s FOLDER/ takes more", option,
                       (long long)rt_inputs_known(inputs), option);
    return rt_out_open(&o->file, outs, path, RT_OUT_WHOLE, err) &&
           rt_inputs_visit(inputs, allow_file, &v, err);
}

// What is there could be a picture that comes later: a link's, or a list's, unless an earlier run
// made it.
static bool is_free(const RtPictureOut *o, const char *file, RtErr *err) {
    struct stat st;
    bool there = lstat(file, &st) == 0, link = there && S_ISLNK(st.st_mode);
    if (!there || (!link && (!o->listed || rt_png_is_drawn(file))))
        return true;
    return rt_fail(err, "%s: is there already%s", file,
                   link ? ", a link"
                        : ", no mask or drawing of before, and could be a picture of the list");
}

// Takes `file` over.
static bool remember(RtPictureOut *o, char *file, RtErr *err) {
    char **node = tsearch(file, &o->written, compare_names);
    if (node && *node == file)
        return true;
    rt_fail(err, node ? "%s: is of another picture already" : "%s: no memory", file);
    free(file);
    return false;
}

bool rt_picture_out_begin(RtPictureOut *o, RtOuts *outs, const char *path, RtErr *err) {
    if (!o->folder)
        return rt_out_begin(&o->file, err);
    rt_out_abort(&o->file);
    const char *name = name_of(path), *dot = strrchr(name, '.');
    int length = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    char *file = NULL;
    if (!lies_apart(o, path, err))
        return false;
    if (asprintf(&file, "%s%.*s.png", o->folder, length, name) < 0)
        return rt_fail(err, "%s: no memory", path);
    return remember(o, file, err) && is_free(o, file, err) &&
           rt_out_open(&o->file, outs, file, RT_OUT_WHOLE, err) &&
           rt_outs_allow(outs, path, 0, err) && rt_out_begin(&o->file, err);
}

void rt_picture_out_close(RtPictureOut *o) {
    rt_out_abort(&o->file);
    tdestroy(o->written, free);
    if (o->made && o->folder)
        rmdir(o->folder); // where nothing came to lie in it
    free(o->folder);
}
