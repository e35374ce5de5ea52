// PNG by libpng to 8-bit RGB with the meaning of Pillow's convert('RGB'): palettes looked up, grey
// repeated, of 16 bits the upper 8, alpha and transparency dropped, gamma and profiles ignored. Or
// to the numbers that are stored, a palette's places or greys of up to 8 bits, where they are
// classes.
//
// A chunk's length is a claim, which libpng would allocate for: all chunks are measured against the
// file first, and those that mean nothing here are skipped unread.
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "runtime/image/image.h"

enum { DEFLATE_MOST = 1032 }; // bytes that one can stand for

typedef struct Reader {
    const char *path;
    const uint8_t *data;
    size_t left, idat; // idat: bytes of all IDAT chunks
    int most;          // pixels
    bool numbers;      // as they are stored, one channel
    RtErr *err;
    png_structp png;
    png_infop info;
    RtImage *image;
    png_bytep *row;
} Reader;

static void on_error(png_structp png, png_const_charp message) {
    Reader *r = png_get_error_ptr(png);
    rt_fail(r->err, "%s: corrupt PNG: %s", r->path, message);
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void on_read(png_structp png, png_bytep to, size_t bytes) {
    Reader *r = png_get_io_ptr(png);
    if (bytes > r->left) {
        rt_fail(r->err, "%s: truncated PNG", r->path);
        longjmp(png_jmpbuf(png), 1);
    }
    memcpy(to, r->data, bytes);
    r->data += bytes;
    r->left -= bytes;
}

// False: the chunks do not fit into the file.
static bool measure_chunks(Reader *r) {
    const uint8_t *p = r->data + 8, *end = r->data + r->left; // behind the signature
    for (bool last = false; !last; p += 12) {
        if (end - p < 12)
            return false;
        size_t bytes = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (bytes > (size_t)(end - p) - 12)
            return false;
        r->idat += memcmp(p + 4, "IDAT", 4) == 0 ? bytes : 0;
        last = memcmp(p + 4, "IEND", 4) == 0;
        p += bytes;
    }
    return true;
}

// Pixels that its deflated rows can hold.
static int64_t count_most(const Reader *r) {
    int64_t bits = png_get_bit_depth(r->png, r->info) * png_get_channels(r->png, r->info);
    return (int64_t)r->idat * DEFLATE_MOST * 8 / bits;
}

static void set_transforms(png_structp png, png_infop info) {
    int type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    else if (depth < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16)
        png_set_strip_16(png);
    png_set_strip_alpha(png); // palettes may have got it from a tRNS chunk
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

// False: a number of a pixel would not be one of 0 to 255.
static bool set_numbers(Reader *r) {
    int type = png_get_color_type(r->png, r->info), depth = png_get_bit_depth(r->png, r->info);
    if ((type != PNG_COLOR_TYPE_PALETTE && type != PNG_COLOR_TYPE_GRAY) || depth > 8)
        return rt_fail(r->err,
                       "%s: a mask holds the number of each pixel's class, as a PNG with a palette "
                       "or of grey in 8 bits; this one is %s",
                       r->path, depth > 8 ? "of 16 bits" : "in colours or with transparency");
    png_set_packing(r->png);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    return true;
}

static bool decode(Reader *r) {
    int channels = r->numbers ? 1 : 3;
    if (!measure_chunks(r))
        return rt_fail(r->err, "%s: truncated PNG", r->path);
    if (setjmp(png_jmpbuf(r->png)))
        return false;
    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, RT_MAX_PIXELS, RT_MAX_PIXELS);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); // the ancillary ones
    png_read_info(r->png, r->info);
    int64_t width = png_get_image_width(r->png, r->info);
    int64_t height = png_get_image_height(r->png, r->info);
    if (!rt_image_fits(r->path, width, height, count_most(r), r->err) ||
        !rt_image_alloc_within(r->path, width, height, channels, r->most, r->image, r->err))
        return false;
    if (r->numbers && !set_numbers(r))
        return false;
    if (!r->numbers)
        set_transforms(r->png, r->info);
    size_t stride = (size_t)r->image->width * (size_t)channels;
    if (png_get_rowbytes(r->png, r->info) != stride)
        png_error(r->png, "unexpected row size");
    r->row = malloc((size_t)r->image->height * sizeof *r->row);
    if (!r->row)
        return rt_fail(r->err, "%s: no memory", r->path);
    for (int y = 0; y < r->image->height; y++)
        r->row[y] = r->image->pixel + (size_t)y * stride;
    png_read_image(r->png, r->row);
    png_read_end(r->png, NULL);
    return true;
}

static bool read_png(const char *path, const uint8_t *data, size_t size, int most, bool numbers,
                     RtImage *image, RtErr *err) {
    Reader *r = calloc(1, sizeof *r); // on the heap: longjmp leaves its fields defined
    if (!r)
        return rt_fail(err, "%s: no memory", path);
    *r = (Reader){.path = path,
                  .data = data,
                  .left = size,
                  .most = most,
                  .numbers = numbers,
                  .err = err,
                  .image = image};
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
    r->info = r->png ? png_create_info_struct(r->png) : NULL;
    bool good = r->info ? decode(r) : rt_fail(err, "%s: no memory", path);
    png_destroy_read_struct(&r->png, &r->info, NULL);
    free(r->row);
    free(r);
    return good;
}

bool rt_png_decode(const char *path, const uint8_t *data, size_t size, int least, int most,
                   RtImage *image, RtErr *err) {
    (void)least;
    return read_png(path, data, size, most, false, image, err);
}

bool rt_png_decode_numbers(const char *path, const uint8_t *data, size_t size, RtImage *image,
                           RtErr *err) {
    return read_png(path, data, size, RT_MAX_PIXELS, true, image, err);
}
