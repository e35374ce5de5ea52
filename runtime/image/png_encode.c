// Pixels to a PNG file: pictures with something drawn on them, numbers of classes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <png.h>

#include "runtime/image/draw.h"

// A text that says whose a file is, ahead of its pixels.
static const char mark[] = "Software\0hone";
enum { MARK = sizeof mark - 1, MOST_CHUNKS = 8 }; // ahead of the pixels, of a file that has it

static void on_error(png_structp png, png_const_charp message) {
    (void)message;
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void set_palette(png_structp png, png_infop info) {
    png_color palette[256];
    for (int i = 0; i < 256; i++) {
        RtColor c = rt_draw_color(i);
        palette[i] = (png_color){c.rgb[0], c.rgb[1], c.rgb[2]};
    }
    png_set_PLTE(png, info, palette, 256);
}

static bool write_rows(png_structp png, png_infop info, FILE *f, const RtImage *image, int type) {
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, 8, type,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (type == PNG_COLOR_TYPE_PALETTE)
        set_palette(png, info);
    png_set_compression_level(png, 3);
    png_write_info(png, info);
    png_write_chunk(png, (png_const_bytep) "tEXt", (png_const_bytep)mark, MARK);
    size_t stride = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++)
        png_write_row(png, image->pixel + (size_t)y * stride);
    png_write_end(png, NULL);
    return true;
}

static bool encode(FILE *f, const RtImage *image, int type) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool good = info && write_rows(png, info, f, image, type);
    png_destroy_write_struct(&png, &info);
    return good;
}

bool rt_png_encode(FILE *f, const RtImage *image) {
    return encode(f, image, image->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY);
}

bool rt_png_encode_numbers(FILE *f, const RtImage *numbers) {
    return encode(f, numbers, PNG_COLOR_TYPE_PALETTE);
}

// A chunk: four bytes of its length, the highest first, four of its name, its data, a checksum.
static bool find_mark(FILE *f) {
    uint8_t head[8];
    char text[MARK];
    bool more = fread(head, 1, 8, f) == 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0;
    for (int k = 0; more && k < MOST_CHUNKS && fread(head, 1, 8, f) == 8; k++) {
        long length = (long)head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3];
        if (length == MARK && memcmp(head + 4, "tEXt", 4) == 0)
            return fread(text, 1, MARK, f) == MARK && memcmp(text, mark, MARK) == 0;
        more = fseek(f, length + 4, SEEK_CUR) == 0;
    }
    return false;
}

bool rt_png_is_drawn(const char *path) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    FILE *f = fd >= 0 ? fdopen(fd, "rb") : NULL;
    bool found = f && find_mark(f);
    if (f)
        fclose(f);
    else if (fd >= 0)
        close(fd);
    return found;
}
