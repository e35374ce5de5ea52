// JPEG by libjpeg-turbo with its defaults (slow integer DCT, fancy upsampling), as Pillow uses it:
// the same pixels.
//
// libjpeg reports through callbacks: errors leave by longjmp; of the warnings, those that say
// that coded data is damaged become errors too; the harmless ones (stray bytes) do not.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

#include "runtime/image/image.h"

// Pixels that a byte can hold: a block takes a bit at least (the DC scan of a progressive file),
// and the fewest blocks are 8 of an MCU of 32 x 32 pixels (one component is sampled 4 x 1, another
// 1 x 4). An arithmetic coder could do with less for a picture without content; there it is a
// limit.
enum { MOST_PER_BYTE = 8 * 32 * 32 / 8 };

typedef struct Decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    jmp_buf leave;
    const char *path;
    RtErr *err;
    RtImage *image;
    int least;    // the shorter side, where the image may be made smaller
    int most;     // pixels
    uint8_t *row; // one row of CMYK
} Decoder;

static _Noreturn void leave_decoder(j_common_ptr jpeg, const char *reason) {
    Decoder *d = jpeg->client_data;
    rt_fail(d->err, "%s: %s", d->path, reason);
    longjmp(d->leave, 1);
}

static void on_error(j_common_ptr jpeg) {
    char text[JMSG_LENGTH_MAX + 32], message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    snprintf(text, sizeof text, "corrupt JPEG: %s", message);
    leave_decoder(jpeg, text);
}

static void on_message(j_common_ptr jpeg, int level) {
    static const int damage[] = {JWRN_HIT_MARKER,  JWRN_HUFF_BAD_CODE,  JWRN_JPEG_EOF,
                                 JWRN_MUST_RESYNC, JWRN_ARITH_BAD_CODE, JWRN_BOGUS_PROGRESSION};
    for (size_t i = 0; level < 0 && i < sizeof damage / sizeof *damage; i++)
        if (jpeg->err->msg_code == damage[i])
            on_error(jpeg);
}

static void on_output(j_common_ptr jpeg) {
    (void)jpeg;
}

// Every scan of a progressive file costs a pass over the whole image: a small file could ask for
// hours of work.
static void on_progress(j_common_ptr jpeg) {
    if (((j_decompress_ptr)jpeg)->input_scan_number > RT_MAX_SCANS)
        leave_decoder(jpeg, "too many scans in a progressive JPEG");
}

static void init_source(j_decompress_ptr jpeg) {
    (void)jpeg;
}

static boolean end_of_source(j_decompress_ptr jpeg) {
    leave_decoder((j_common_ptr)jpeg, "truncated JPEG");
}

static void skip_source(j_decompress_ptr jpeg, long bytes) {
    if (bytes <= 0)
        return;
    if ((unsigned long)bytes > jpeg->src->bytes_in_buffer)
        leave_decoder((j_common_ptr)jpeg, "truncated JPEG");
    jpeg->src->next_input_byte += bytes;
    jpeg->src->bytes_in_buffer -= (size_t)bytes;
}

static uint8_t multiply_255(unsigned a, unsigned b) {
    unsigned t = a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

// Pillow takes CMYK in JPEG files as inverted (Adobe's habit) and converts without colour profile.
static void convert_cmyk(const uint8_t *cmyk, uint8_t *rgb, unsigned width) {
    for (unsigned x = 0; x < width; x++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)(cmyk[3] - multiply_255(255u - cmyk[c], cmyk[3]));
}

static void read_rows(Decoder *d) {
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    if (cmyk && !(d->row = malloc((size_t)jpeg->output_width * 4)))
        leave_decoder((j_common_ptr)jpeg, "no memory");
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = d->image->pixel + (size_t)jpeg->output_scanline * jpeg->output_width * 3;
        JSAMPROW row = cmyk ? d->row : to;
        if (jpeg_read_scanlines(jpeg, &row, 1) == 1 && cmyk)
            convert_cmyk(d->row, to, jpeg->output_width);
    }
}

// The library decodes to an n-th of the size, from an n-th of each block's coefficients.
static unsigned choose_scale(int64_t side, int least) {
    enum { MOST = 8 };
    unsigned n = 1;
    while (least > 0 && n < MOST && side / (2 * n) >= least)
        n *= 2;
    return n;
}

static void decode(Decoder *d, const uint8_t *data, size_t size) {
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    jpeg_create_decompress(jpeg);
    d->source = (struct jpeg_source_mgr){.next_input_byte = data,
                                         .bytes_in_buffer = size,
                                         .init_source = init_source,
                                         .fill_input_buffer = end_of_source,
                                         .skip_input_data = skip_source,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = init_source};
    jpeg->src = &d->source;
    d->progress.progress_monitor = on_progress;
    jpeg->progress = &d->progress;
    jpeg_read_header(jpeg, TRUE);
    bool four = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = four ? JCS_CMYK : JCS_RGB;
    int64_t width = jpeg->image_width, height = jpeg->image_height;
    jpeg->scale_num = 1;
    jpeg->scale_denom = choose_scale(width < height ? width : height, d->least);
    jpeg_calc_output_dimensions(jpeg);
    if (!rt_image_fits(d->path, width, height, (int64_t)size * MOST_PER_BYTE, d->err) ||
        !rt_image_alloc_within(d->path, jpeg->output_width, jpeg->output_height, 3, d->most,
                               d->image, d->err))
        longjmp(d->leave, 1);
    jpeg_start_decompress(jpeg);
    read_rows(d);
    jpeg_finish_decompress(jpeg);
}

bool rt_jpeg_decode(const char *path, const uint8_t *data, size_t size, int least, int most,
                    RtImage *image, RtErr *err) {
    Decoder *d = calloc(1, sizeof *d); // on the heap: longjmp leaves its fields defined
    if (!d)
        return rt_fail(err, "%s: no memory", path);
    d->path = path;
    d->err = err;
    d->image = image;
    d->least = least;
    d->most = most;
    d->jpeg.err = jpeg_std_error(&d->error);
    d->jpeg.client_data = d;
    d->error.error_exit = on_error;
    d->error.emit_message = on_message;
    d->error.output_message = on_output;
    volatile bool good = false;
    if (setjmp(d->leave) == 0) {
        decode(d, data, size);
        good = true;
    }
    jpeg_destroy_decompress(&d->jpeg);
    free(d->row);
    free(d);
    return good;
}
