// libFuzzer: the readers of JPEG, PNG, WebP and .npy files, told apart by their first bytes as the
// program does it. See run_fuzzers.
#define _GNU_SOURCE
#include "runtime/image/image.h"
#include "runtime/file/npy.h"
#include "tests/fuzz/fuzz_file.h"

#include <string.h>

// A header that claims a large image is refused or decoded; here it only costs time.
static int claims_too_much(const uint8_t *data, size_t size) {
    bool png = size > 24 && memcmp(data, "\x89PNG", 4) == 0;
    bool webp = size > 30 && memcmp(data + 8, "WEBP", 4) == 0; // sides of 14 bits, in three places
    return (png &&
            (data[16] || data[17] || data[18] > 8 || data[20] || data[21] || data[22] > 8)) ||
           (webp &&
            (data[22] > 8 || data[24] > 8 || data[25] || data[27] > 8 || data[28] || data[29] > 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    RtErr err = {{0}};
    RtImage image = {0};
    RtNpy array = {0};
    if (claims_too_much(data, size))
        return 0;
    const char *path = fuzz_file(data, size);
    if (size > 6 && memcmp(data, "\x93NUMPY", 6) == 0) {
        rt_npy_read(path, &array, &err);
        rt_npy_free(&array);
    } else if (rt_image_load(path, 3, false, &image, &err)) {
        rt_image_free(&image);
    }
    return 0;
}
