// WebP by libwebp to 8-bit RGB, lossy or lossless, alpha dropped: the pixels that Pillow's
// convert('RGB') holds where nothing is transparent. Of an animation there is no picture.
#include <webp/decode.h>

#include "runtime/image/image.h"

// Arithmetic and prefix codes of a picture without content take almost no bytes: pictures up to
// FREE pixels are believed, larger ones so many pixels a byte. There it is a limit.
enum { FREE = 1 << 24, MOST_PER_BYTE = 4096 };

static bool fail(const char *path, VP8StatusCode code, RtErr *err) {
    static const char *const reasons[] = {
        [VP8_STATUS_OUT_OF_MEMORY] = "no memory",
        [VP8_STATUS_BITSTREAM_ERROR] = "corrupt WebP",
        [VP8_STATUS_UNSUPPORTED_FEATURE] = "a WebP of a kind that libwebp does not decode",
        [VP8_STATUS_NOT_ENOUGH_DATA] = "truncated WebP",
    };
    bool known = (size_t)code < sizeof reasons / sizeof *reasons && reasons[code];
    return rt_fail(err, "%s: %s", path, known ? reasons[code] : "corrupt WebP");
}

bool rt_webp_decode(const char *path, const uint8_t *data, size_t size, int least, int most,
                    RtImage *image, RtErr *err) {
    (void)least;
    WebPDecoderConfig c;
    if (!WebPInitDecoderConfig(&c))
        return rt_fail(err, "%s: another version of libwebp", path);
    VP8StatusCode code = WebPGetFeatures(data, size, &c.input);
    if (code != VP8_STATUS_OK)
        return fail(path, code, err);
    if (c.input.has_animation)
        return rt_fail(err, "%s: an animated WebP is not read; save a frame of it", path);
    int64_t width = c.input.width, height = c.input.height;
    int64_t held = (int64_t)size * MOST_PER_BYTE;
    if (!rt_image_fits(path, width, height, held > FREE ? held : FREE, err) ||
        !rt_image_alloc_within(path, width, height, 3, most, image, err))
        return false;
    c.output.colorspace = MODE_RGB;
    c.output.is_external_memory = 1;
    c.output.u.RGBA =
        (WebPRGBABuffer){image->pixel, (int)width * 3, (size_t)width * (size_t)height * 3};
    code = WebPDecode(data, size, &c);
    WebPFreeDecBuffer(&c.output);
    return code == VP8_STATUS_OK || fail(path, code, err);
}
