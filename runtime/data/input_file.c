// See input_file.h.
#include "runtime/data/input_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The sizes of an image, as the network takes it.
static void input_sizes(const HonePreprocess *p, int64_t dim[3]) {
    dim[p->nhwc ? 2 : 0] = p->channels;
    dim[p->nhwc ? 0 : 1] = p->height;
    dim[p->nhwc ? 1 : 2] = p->width;
}

bool rt_input_is_like(const RtNpy *a, int skip, const HonePreprocess *p) {
    int64_t want[3];
    input_sizes(p, want);
    int i = skip, k = 0;
    while (i < a->rank || k < 3) {
        if (i < a->rank && a->dim[i] == 1)
            i++;
        else if (k < 3 && want[k] == 1)
            k++;
        else if (i >= a->rank || k == 3 || a->dim[i++] != want[k++])
            return false;
    }
    return true;
}

const char *rt_input_text(const HonePreprocess *p, int64_t n, char *text, size_t size) {
    int64_t want[3], dim[4] = {n};
    int rank = 1;
    input_sizes(p, want);
    for (int k = 0; k < 3; k++)
        if (want[k] != 1 || rt_takes_pictures(p))
            dim[rank++] = want[k];
    return rt_shape_text(HONE_F32, rank, dim, text, size);
}

// By its first bytes; what cannot be read is told by who reads it whole.
static bool is_array(const char *path) {
    RtErr ignored;
    char magic[6];
    int64_t size;
    int fd = rt_file_open(path, &size, &ignored);
    bool array = fd >= 0 && size > (int64_t)sizeof magic &&
                 read(fd, magic, sizeof magic) == (ssize_t)sizeof magic &&
                 memcmp(magic, "\x93NUMPY", sizeof magic) == 0;
    if (fd >= 0)
        close(fd);
    return array;
}

static bool take_pixels(const char *path, int channels, RtInputFile *f, RtErr *err) {
    const RtNpy *a = &f->array;
    int64_t have = a->rank == 3 ? a->dim[2] : 1;
    if (!channels || a->dtype != HONE_U8 || a->rank < 2 || a->rank > 3 || (have != 1 && have != 3))
        return true; // no picture
    if (!rt_image_alloc(path, a->dim[1], a->dim[0], channels, &f->image, err))
        return false;
    const uint8_t *from = a->data;
    uint8_t *to = f->image.pixel;
    for (int64_t i = 0; i < a->dim[0] * a->dim[1]; i++, from += have) {
        if (channels == 1)
            *to++ = have == 3 ? rt_grey(from) : *from;
        for (int c = 0; channels == 3 && c < 3; c++)
            *to++ = from[have == 3 ? c : 0];
    }
    return true;
}

bool rt_input_file_open(const char *path, int channels, bool as_stored, RtInputFile *f,
                        RtErr *err) {
    *f = (RtInputFile){.image = {0}};
    if (!is_array(path) && channels)
        return rt_image_load(path, channels, as_stored, &f->image, err);
    if (!is_array(path))
        return rt_fail(err, "%s: no .npy file; the network takes arrays, not pictures", path);
    if (rt_npy_read(path, &f->array, err) && take_pixels(path, channels, f, err))
        return true;
    rt_input_file_close(f);
    return false;
}

void rt_input_file_close(RtInputFile *f) {
    rt_image_free(&f->image);
    rt_npy_free(&f->array);
}

bool rt_input_file_fits(const RtInputFile *f, const HoneTensorDesc *input) {
    const RtNpy *a = &f->array;
    int skip = input->rank - a->rank; // 1: the array is without the batch
    if (!a->data || a->dtype != input->dtype || skip < 0 || skip > 1 ||
        (skip == 0 && (a->rank < 1 || a->dim[0] != 1)))
        return false;
    for (int k = 1; k < input->rank; k++)
        if (a->dim[k - skip] != input->dim[k].c)
            return false;
    return true;
}

bool rt_input_file_fill(const RtInputFile *f, const char *path, const HonePreprocess *p,
                        const HoneTensorDesc *input, void *out, RtErr *err) {
    char want[256], has[256];
    if (rt_input_file_fits(f, input)) {
        memcpy(out, f->array.data,
               (size_t)f->array.count * (size_t)rt_dtype(f->array.dtype)->bytes);
        return true;
    }
    if (f->image.pixel)
        return rt_preprocess(p, input->dtype, &f->image, out, err);
    return rt_fail(err,
                   "%s: %s is neither an image of the input, %s, nor pixels u8[H,W,3]; for several "
                   "at once use the subcommand run",
                   path,
                   rt_shape_text(f->array.dtype, f->array.rank, f->array.dim, has, sizeof has),
                   rt_tensor_text(input, want, sizeof want));
}
