// Single parts of the runtime as a command, for the scripts that test them:
//   decode IMAGE CHANNELS OUT.npy [stored]
//   preprocess IMAGE CHANNELS RESIZE HEIGHT WIDTH bgr|rgb nhwc|nchw OUT.npy    (ImageNet's mean)
//   resize IMAGE WIDTH HEIGHT OUT.npy [FILTER]
//   npy IN.npy OUT.npy        reads and writes again
//   json TEXT                 {"TEXT": "TEXT"}
//   cgroup ROOT               CPUs of the quota that ROOT/proc and ROOT/sys tell; 0: none
//   memory ROOT               bytes that the memory of the group they tell leaves; ROOT empty: of
//   this machine threads                   the default number
#include <stdlib.h>
#include <string.h>

#include "runtime/image/image.h"
#include "runtime/file/json.h"
#include "runtime/file/npy.h"

static int fail(const RtErr *err) {
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

static int write_array(const char *path, int dtype, int rank, const int64_t *dim,
                       const void *data) {
    RtErr err;
    RtOutFile out;
    if (!rt_out_open(&out, NULL, path, RT_OUT_WHOLE, &err) || !rt_out_begin(&out, &err))
        return fail(&err);
    if (!rt_npy_write(&out, dtype, rank, dim, data))
        return 3;
    return rt_out_commit(&out, &err) ? 0 : fail(&err);
}

static int decode(char **a) {
    RtErr err;
    RtImage im;
    if (!rt_image_load(a[0], atoi(a[1]), a[3] != NULL, &im, &err))
        return fail(&err);
    int64_t dim[3] = {im.height, im.width, im.channels};
    int code = write_array(a[2], HONE_U8, 3, dim, im.pixel);
    rt_image_free(&im);
    return code;
}

static int preprocess(char **a) {
    RtErr err;
    RtImage im;
    HonePreprocess p = {.channels = atoi(a[1]),
                        .resize = atoi(a[2]),
                        .height = atoi(a[3]),
                        .width = atoi(a[4]),
                        .bgr = !strcmp(a[5], "bgr"),
                        .nhwc = !strcmp(a[6], "nhwc"),
                        .scale = 1.0f / 255.0f,
                        .mean = {0.485f, 0.456f, 0.406f},
                        .std = {0.229f, 0.224f, 0.225f}};
    if (!rt_image_load(a[0], p.channels, false, &im, &err))
        return fail(&err);
    int64_t c = p.channels, h = p.height, w = p.width;
    int64_t nchw[3] = {c, h, w}, nhwc[3] = {h, w, c};
    float *out = calloc((size_t)(c * h * w), sizeof *out);
    int code = out && rt_preprocess(&p, HONE_F32, &im, out, &err)
                   ? write_array(a[7], HONE_F32, 3, p.nhwc ? nhwc : nchw, out)
                   : fail(&err);
    free(out);
    rt_image_free(&im);
    return code;
}

static int resize(char **a) {
    RtErr err;
    RtImage im;
    int w = atoi(a[1]), h = atoi(a[2]);
    if (!rt_image_load(a[0], 3, false, &im, &err))
        return fail(&err);
    RtWindow win = {w, h, 0, 0, w, h};
    uint8_t *out = malloc((size_t)w * (size_t)h * 3);
    int64_t dim[3] = {h, w, 3};
    int filter = a[4] ? rt_resize_filter(a[4]) : HONE_RESIZE_BILINEAR;
    int code = out && filter >= 0 && rt_resize(&im, filter, &win, out)
                   ? write_array(a[3], HONE_U8, 3, dim, out)
                   : 3;
    free(out);
    rt_image_free(&im);
    return code;
}

static int copy_npy(char **a) {
    RtErr err;
    RtNpy x;
    char text[256];
    if (!rt_npy_read(a[0], &x, &err))
        return fail(&err);
    puts(rt_shape_text(x.dtype, x.rank, x.dim, text, sizeof text));
    int code = write_array(a[1], x.dtype, x.rank, x.dim, x.data);
    rt_npy_free(&x);
    return code;
}

static int print_json(char **a) {
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, a[0], a[0]);
    rt_json_begin(&j, "list", '[');
    rt_json_number(&j, NULL, 0.1, 6);
    rt_json_number(&j, NULL, 1.0 / 0.0, 6);
    rt_json_bool(&j, NULL, true);
    rt_json_text(&j, NULL, NULL);
    rt_json_int(&j, NULL, INT64_MIN);
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    return 0;
}

static int print_cgroup(char **a) {
    printf("%d\n", rt_cgroup_cpus(a[0]));
    return 0;
}

static int print_memory(char **a) {
    printf("%lld\n", (long long)(*a[0] ? rt_cgroup_memory(a[0]) : rt_memory_available()));
    return 0;
}

static int print_threads(char **a) {
    (void)a;
    printf("%d\n", rt_threads(0));
    return 0;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int args;
        int (*run)(char **);
    } commands[] = {{"decode", 3, decode},       {"preprocess", 8, preprocess},
                    {"resize", 4, resize},       {"npy", 2, copy_npy},
                    {"json", 1, print_json},     {"cgroup", 1, print_cgroup},
                    {"memory", 1, print_memory}, {"threads", 0, print_threads}};
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0 && argc - 2 >= commands[i].args)
            return commands[i].run(argv + 2);
    return 2;
}
