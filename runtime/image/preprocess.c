// From decoded pixels to one image of a model's input tensor, with torchvision's meaning of
// Resize(shorter side), CenterCrop, ToTensor and Normalize, to the last bit of float32.
#include "runtime/image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LETTERBOX_GREY = 114 };

bool rt_takes_pictures(const HonePreprocess *p) {
    return p->height > 0 && p->width > 0 && (p->channels == 1 || p->channels == 3) && p->scale > 0;
}

bool rt_preprocess_check(const HonePreprocess *p, const HoneTensorDesc *input, RtErr *err) {
    char text[256];
    rt_tensor_text(input, text, sizeof text);
    if (!rt_takes_pictures(p) || !rt_resize_name(p->interpolation))
        return rt_fail(err, "input '%s' is %s, not an image; use the subcommand run", input->name,
                       text);
    if (input->dtype != HONE_U8 && !rt_dtype(input->dtype)->store)
        return rt_fail(err,
                       "input '%s' is %s; images can feed u8 and floats only; use the subcommand "
                       "run",
                       input->name, text);
    int64_t count, want = (int64_t)p->height * p->width * p->channels, per = 1;
    if (input->rank < 1 || !rt_tensor_count(input, 1, &count))
        return rt_fail(err, "input '%s' is %s, not an image", input->name, text);
    for (int i = 1; i < input->rank; i++)
        per *= input->dim[i].c;
    if (per != want)
        return rt_fail(err, "input '%s' is %s, but the preprocessing makes %d x %d x %d",
                       input->name, text, p->channels, p->height, p->width);
    return true;
}

// Python's int(round(x / 2)): halves go to the even neighbour.
static int64_t round_half(int64_t x) {
    int64_t half = x / 2;
    return x % 2 && half % 2 ? half + 1 : half;
}

// As large as it fits, in the middle, an odd pixel of the border on the far side: what Ultralytics'
// LetterBox does, whose halves go to the even neighbour, too.
static RtWindow fit_letterbox(const HonePreprocess *p, int width, int height) {
    double x = (double)p->width / width, y = (double)p->height / height, by = x < y ? x : y;
    int64_t w = llrint(width * by), h = llrint(height * by);
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    return (RtWindow){w, h, -((p->width - w) / 2), -((p->height - h) / 2), p->width, p->height};
}

bool rt_preprocess_fit(HonePreprocess *p, const char *name) {
    p->letterbox = strcmp(name, "letterbox") == 0;
    p->resize = 0;
    return p->letterbox || strcmp(name, "stretch") == 0;
}

uint8_t rt_preprocess_fill(const HonePreprocess *p) {
    return p->letterbox ? LETTERBOX_GREY : 0;
}

RtWindow rt_preprocess_window(const HonePreprocess *p, int width, int height) {
    int64_t w = width, h = height;
    if (p->letterbox)
        return fit_letterbox(p, width, height);
    if (p->resize > 0 && w <= h) {
        h = h * p->resize / w;
        w = p->resize;
    } else if (p->resize > 0) {
        w = w * p->resize / h;
        h = p->resize;
    } else {
        w = p->width;
        h = p->height;
    }
    // A side smaller than the crop is padded first, the odd pixel on the far side.
    int64_t left = w < p->width ? -((p->width - w) / 2) : round_half(w - p->width);
    int64_t top = h < p->height ? -((p->height - h) / 2) : round_half(h - p->height);
    return (RtWindow){w, h, left, top, p->width, p->height};
}

// The part of [start, start + size) that lies in [0, full).
static void clip_range(int64_t full, int64_t *start, int *size) {
    int64_t from = *start < 0 ? 0 : *start, to = *start + *size < full ? *start + *size : full;
    *start = from;
    *size = to > from ? (int)(to - from) : 0;
}

bool rt_resize_padded(const RtImage *image, int filter, const RtWindow *w, uint8_t fill,
                      uint8_t *out) {
    RtWindow inner = *w;
    clip_range(w->full_width, &inner.left, &inner.width);
    clip_range(w->full_height, &inner.top, &inner.height);
    if (inner.width == w->width && inner.height == w->height)
        return rt_resize(image, filter, w, out);
    size_t ch = (size_t)image->channels, row = (size_t)inner.width * ch;
    memset(out, fill, (size_t)w->width * (size_t)w->height * ch);
    if (inner.width == 0 || inner.height == 0)
        return true;
    int64_t x = inner.left - w->left, y = inner.top - w->top;
    uint8_t *part = malloc(row * (size_t)inner.height);
    bool good = part && rt_resize(image, filter, &inner, part);
    for (int i = 0; good && i < inner.height; i++)
        memcpy(out + ((size_t)(y + i) * (size_t)w->width + (size_t)x) * ch, part + (size_t)i * row,
               row);
    free(part);
    return good;
}

// What each pixel value becomes, by channel of the image. 1/255 divides, as ToTensor does.
static void fill_table(const HonePreprocess *p, int dtype, char table[3][256][8]) {
    bool divide = p->scale == 1.0f / 255.0f;
    const RtDtype *type = rt_dtype(dtype);
    for (int c = 0; c < p->channels; c++) {
        int m = p->bgr ? p->channels - 1 - c : c; // mean and std are in the model's order
        for (int v = 0; v < 256; v++) {
            float x = divide ? (float)v / 255.0f : (float)v * p->scale;
            if (dtype == HONE_U8)
                table[c][v][0] = (char)v;
            else
                type->store(table[c][v], (x - p->mean[m]) / p->std[m]);
        }
    }
}

// Elements of so many bytes, a constant where it is called.
static inline void spread(const HonePreprocess *p, size_t bytes, char table[3][256][8],
                          const uint8_t *pixel, char *out) {
    size_t ch = (size_t)p->channels, plane = (size_t)p->height * (size_t)p->width;
    size_t pixel_step = p->nhwc ? ch : 1, channel_step = p->nhwc ? 1 : plane;
    for (size_t c = 0; c < ch; c++) {
        size_t at = (p->bgr ? ch - 1 - c : c) * channel_step;
        for (size_t i = 0; i < plane; i++, at += pixel_step)
            memcpy(out + at * bytes, table[c][pixel[i * ch + c]], bytes);
    }
}

void rt_preprocess_pixels(const HonePreprocess *p, int dtype, const uint8_t *pixel, void *out) {
    char table[3][256][8];
    fill_table(p, dtype, table);
    switch (rt_dtype(dtype)->bytes) {
    case 1:
        spread(p, 1, table, pixel, out);
        break;
    case 2:
        spread(p, 2, table, pixel, out);
        break;
    case 4:
        spread(p, 4, table, pixel, out);
        break;
    default:
        spread(p, 8, table, pixel, out);
    }
}

bool rt_preprocess(const HonePreprocess *p, int dtype, const RtImage *image, void *out,
                   RtErr *err) {
    RtWindow w = rt_preprocess_window(p, image->width, image->height);
    uint8_t *crop = malloc((size_t)p->height * (size_t)p->width * (size_t)p->channels);
    bool good = crop && rt_resize_padded(image, p->interpolation, &w, rt_preprocess_fill(p), crop);
    if (good)
        rt_preprocess_pixels(p, dtype, crop, out);
    free(crop);
    return good || rt_fail(err, "no memory to resize an image");
}

const char *rt_preprocess_text(const HonePreprocess *p, char *text, size_t size) {
    if (p->height <= 0) {
        snprintf(text, size, "none (no image input)");
        return text;
    }
    const char *how = rt_resize_name(p->interpolation);
    char fit[96], mean[96] = "", std[96] = "", scale[32];
    if (p->letterbox)
        snprintf(fit, sizeof fit, "letterbox %dx%d %s", p->width, p->height, how);
    else if (p->resize > 0)
        snprintf(fit, sizeof fit, "resize %d %s, centre crop %dx%d", p->resize, how, p->width,
                 p->height);
    else
        snprintf(fit, sizeof fit, "resize to %dx%d %s", p->width, p->height, how);
    int m = 0, s = 0;
    for (int c = 0; c < p->channels && c < 4; c++) {
        m += snprintf(mean + m, sizeof mean - (size_t)m, "%s%g", c ? "," : "", (double)p->mean[c]);
        s += snprintf(std + s, sizeof std - (size_t)s, "%s%g", c ? "," : "", (double)p->std[c]);
    }
    snprintf(scale, sizeof scale, p->scale == 1.0f / 255.0f ? "1/255" : "%g", (double)p->scale);
    snprintf(text, size, "%s%s, %s, %s, scale %s, mean %s, std %s",
             p->as_stored ? "as stored, " : "", fit,
             p->channels == 1 ? "grey"
             : p->bgr         ? "BGR"
                              : "RGB",
             p->nhwc ? "NHWC" : "NCHW", scale, mean, std);
    return text;
}
