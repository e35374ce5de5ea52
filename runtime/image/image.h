// Images: decoding, resizing as Pillow does, and the way from pixels to a model's input. Private
// header.
#ifndef RUNTIME_IMAGE_IMAGE_H
#define RUNTIME_IMAGE_IMAGE_H

#include "runtime/core/rt.h"

enum { RT_MAX_PIXELS = 200 * 1000 * 1000, RT_MAX_SCANS = 200 };

// The pixels that Pillow's Image.open(path).convert('RGB') holds, or .convert('L') for one channel;
// upright, as ImageOps.exif_transpose() turns them, unless asked for as they are stored.
typedef struct RtImage {
    int width, height, channels; // 3 (RGB) or 1
    int turned;     // the EXIF orientation that was undone, 2 to 8; 0: it stood upright
    uint8_t *pixel; // [height][width][channels]
} RtImage;

// Decodes a JPEG, PNG or WebP file. False with err set: "cat.jpg: reason"; corrupt and truncated
// files are errors. as_stored: no EXIF orientation is applied. rt_image_free() releases.
bool rt_image_load(const char *path, int channels, bool as_stored, RtImage *image, RtErr *err);
// The same of a file's bytes in memory; `name` is for messages. An image of more than `most`
// pixels, whole millions up to RT_MAX_PIXELS, is an error before there is room for it.
bool rt_image_decode(const char *name, const uint8_t *data, size_t size, int channels,
                     bool as_stored, int most, RtImage *image, RtErr *err);
// A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, the smallest whose shorter side is not below
// `least`: not the pixels that decoding and resizing give, but near them, and much faster. least 0:
// as it is.
bool rt_image_load_small(const char *path, int channels, bool as_stored, int least, RtImage *image,
                         RtErr *err);
bool rt_image_decode_small(const char *name, const uint8_t *data, size_t size, int channels,
                           bool as_stored, int least, RtImage *image, RtErr *err);
// Do the bytes begin as a JPEG, PNG or WebP file does?
bool rt_image_is_file(const uint8_t *data, size_t size);
void rt_image_mirror(RtImage *image); // left to right
void rt_image_free(RtImage *image);
void rt_image_save_32(uint8_t *to, uint32_t x); // big end first
// Does a file's name end as theirs do: .jpg, .jpeg, .png or .webp, in whatever case?
bool rt_image_is_name(const char *name);
// ITU-R 601-2 luma with Pillow's 16-bit weights.
static inline uint8_t rt_grey(const uint8_t *rgb) {
    return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

// The decoders behind it: to 3 channels; `path` is for messages. JPEG alone heeds `least`.
typedef bool RtImageDecoder(const char *path, const uint8_t *data, size_t size, int least, int most,
                            RtImage *image, RtErr *err);
RtImageDecoder rt_jpeg_decode, rt_png_decode, rt_webp_decode;
// What the linker puts in place of those that a program goes without (hone compile --without), and
// whether it did. A file of its own: compilers take different functions for different.
RtImageDecoder rt_image_no_decoder;
bool rt_image_is_no_decoder(RtImageDecoder *decode);
// The names of those parts. Their count.
enum { RT_MAX_DECODERS = 3 };
int rt_image_left_out(const char *part[RT_MAX_DECODERS]);
// The numbers that a PNG stores, one channel: of a palette or of grey, at most 8 bits.
bool rt_png_decode_numbers(const char *path, const uint8_t *data, size_t size, RtImage *image,
                           RtErr *err);
// The EXIF orientation that a JPEG, PNG or WebP file tells, 1 to 8; 0: none.
int rt_exif_orientation(const uint8_t *data, size_t size);
// Undoes an orientation. False with err set: no memory.
bool rt_exif_turn(const char *path, int orientation, RtImage *image, RtErr *err);
// A JPEG in memory of an image with 1 or 3 channels, sides at most 65,500. free() releases. NULL
// with err set.
uint8_t *rt_jpeg_encode(const RtImage *image, size_t *bytes, RtErr *err);
// Checks the size that a header claims against the pixels that the file's bytes can hold.
bool rt_image_fits(const char *path, int64_t width, int64_t height, int64_t most, RtErr *err);
// Checks the size against RT_MAX_PIXELS and allocates the pixels.
bool rt_image_alloc(const char *path, int64_t width, int64_t height, int channels, RtImage *image,
                    RtErr *err);
// The same against `most`.
bool rt_image_alloc_within(const char *path, int64_t width, int64_t height, int channels, int most,
                           RtImage *image, RtErr *err);

// A window of the resized image: [height][width] pixels at (left, top) of full_width x full_height.
typedef struct RtWindow {
    int64_t full_width, full_height, left, top;
    int width, height;
} RtWindow;

// Antialiased resize by a filter (HONE_RESIZE_*) of which only the window is computed, bit for bit
// what Pillow's Image.resize((full_width, full_height), BILINEAR).crop(window) gives. out:
// [height][width][channels]. False: no memory.
bool rt_resize(const RtImage *image, int filter, const RtWindow *w, uint8_t *out);
// The same for a window that may reach past the resized image: there it is `fill`.
bool rt_resize_padded(const RtImage *image, int filter, const RtWindow *w, uint8_t fill,
                      uint8_t *out);
// "bilinear"; NULL: no such filter.
const char *rt_resize_name(int filter);
// How all of a picture goes into an input of another shape. False: no such way.
#define RT_FIT_NAMES "letterbox|stretch"
bool rt_preprocess_fit(HonePreprocess *p, const char *name);
// The filter of that name; -1: there is none.
int rt_resize_filter(const char *name);
// Their names, as a command line's choice.
#define RT_RESIZE_NAMES "bilinear|bicubic|lanczos|box|hamming"

// "resize 256 bilinear, centre crop 224x224, RGB, ...". Returns text.
const char *rt_preprocess_text(const HonePreprocess *p, char *text, size_t size);
// Are pictures turned into this input? False: it takes arrays as they are, or nothing is known of
// it.
bool rt_takes_pictures(const HonePreprocess *p);
// Is there a preprocessing that turns images into this input? False with err set: the reason.
bool rt_preprocess_check(const HonePreprocess *p, const HoneTensorDesc *input, RtErr *err);
// Resizes the shorter side, crops the centre (torchvision's Resize and CenterCrop; what lies
// outside is black; or the letterbox, as Ultralytics does it), scales, normalises and lays out.
// out: one image of the model's input, height * width * channels elements of dtype: floats, rounded
// to it, or HONE_U8, pixels as they are.
bool rt_preprocess(const HonePreprocess *p, int dtype, const RtImage *image, void *out, RtErr *err);
// Its two halves: where the model's input lies in the resized image of width x height pixels, and
// scaling, normalising and layout of that window's pixels [height][width][channels].
RtWindow rt_preprocess_window(const HonePreprocess *p, int width, int height);
uint8_t rt_preprocess_fill(const HonePreprocess *p); // what lies around the resized image
void rt_preprocess_pixels(const HonePreprocess *p, int dtype, const uint8_t *pixel, void *out);

#endif
