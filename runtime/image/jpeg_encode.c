// Pixels to a JPEG in memory, for pictures in reports.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include "runtime/image/image.h"

enum { QUALITY = 80 };

typedef struct Encoder {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr error;
    jmp_buf leave;
    unsigned char *data; // the caller's
    unsigned long bytes;
} Encoder;

static void on_error(j_common_ptr jpeg) {
    longjmp(((Encoder *)jpeg->client_data)->leave, 1);
}

static void on_output(j_common_ptr jpeg) {
    (void)jpeg;
}

static void encode(Encoder *e, const RtImage *image) {
    struct jpeg_compress_struct *jpeg = &e->jpeg;
    jpeg_create_compress(jpeg);
    jpeg_mem_dest(jpeg, &e->data, &e->bytes);
    jpeg->image_width = (JDIMENSION)image->width;
    jpeg->image_height = (JDIMENSION)image->height;
    jpeg->input_components = image->channels;
    jpeg->in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, QUALITY, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row = image->pixel +
                       (size_t)jpeg->next_scanline * (size_t)image->width * (size_t)image->channels;
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
}

static bool try_encode(Encoder *e, const RtImage *image) {
    e->jpeg.err = jpeg_std_error(&e->error);
    e->jpeg.client_data = e;
    e->error.error_exit = on_error;
    e->error.output_message = on_output;
    if (setjmp(e->leave))
        return false;
    encode(e, image);
    return true;
}

uint8_t *rt_jpeg_encode(const RtImage *image, size_t *bytes, RtErr *err) {
    // At most 64 coefficients of 26 bits a block of 64 pixels: libjpeg never needs a larger buffer
    // of its own, which would be lost after an error.
    size_t room = (size_t)image->width * (size_t)image->height * 12 + 8192;
    Encoder *e = calloc(1, sizeof *e); // on the heap: longjmp leaves its fields defined
    uint8_t *data = malloc(room);
    if (e) {
        e->data = data;
        e->bytes = room;
    }
    if (!e || !data || !try_encode(e, image)) {
        free(data);
        data = NULL;
        rt_fail(err, "a JPEG of %d x %d pixels cannot be made", image->width, image->height);
    }
    if (e) {
        *bytes = e->bytes;
        jpeg_destroy_compress(&e->jpeg);
    }
    free(e);
    return data;
}
