// In place of a decoder that a program was compiled without.
#include "runtime/image/image.h"

bool rt_image_is_no_decoder(RtImageDecoder *decode) {
    return decode == rt_image_no_decoder;
}

// Callers ask before, and say which it is.
bool rt_image_no_decoder(const char *path, const uint8_t *data, size_t size, int least, int most,
                         RtImage *image, RtErr *err) {
    (void)data, (void)size, (void)least, (void)most, (void)image;
    return rt_fail(err, "%s: its format was left out", path);
}
