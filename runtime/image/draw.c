// Boxes and names on a picture, in sizes that go with it: a line is a 250th of its shorter side.
#include "runtime/image/draw.h"

#include <math.h>
#include <string.h>

enum { GLYPH_COLUMNS = 5, GLYPH_ROWS = 8, FIRST_GLYPH = ' ', LAST_GLYPH = '~' };

static const uint8_t glyphs[][GLYPH_COLUMNS] = {
#define RT_GLYPH(a, b, c, d, e) {a, b, c, d, e},
#include "runtime/image/draw_font.def"
#undef RT_GLYPH
};

RtColor rt_draw_color(int64_t index) {
    RtColor c = {{0}};
    for (int bit = 7; bit >= 0; bit--, index >>= 3)
        for (int k = 0; k < 3; k++)
            c.rgb[k] |= (uint8_t)((index >> k & 1) << bit);
    return c;
}

void rt_draw_blend(RtImage *image, int x, int y, RtColor color, double share) {
    if (x < 0 || y < 0 || x >= image->width || y >= image->height)
        return;
    uint8_t *p = image->pixel + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
    for (int k = 0; k < 3; k++)
        p[k] = (uint8_t)lrint(p[k] * (1 - share) + color.rgb[k] * share);
}

static int clamp(double x, int most) {
    return !(x > 0) ? 0 : x >= most ? most : (int)x;
}

static void fill(RtImage *image, double left, double top, double right, double bottom,
                 RtColor color) {
    int x1 = clamp(right, image->width), y1 = clamp(bottom, image->height);
    for (int y = clamp(top, image->height); y < y1; y++)
        for (int x = clamp(left, image->width); x < x1; x++)
            rt_draw_blend(image, x, y, color, 1);
}

// Black or white, whichever is seen on the colour.
static RtColor ink_on(RtColor color) {
    uint8_t x = rt_grey(color.rgb) > 128 ? 0 : 255;
    return (RtColor){{x, x, x}};
}

static void draw_text(RtImage *image, const char *text, int left, int top, int size, RtColor ink) {
    for (const char *s = text; *s; s++, left += (GLYPH_COLUMNS + 1) * size) {
        bool known = *s >= FIRST_GLYPH && *s <= LAST_GLYPH;
        const uint8_t *glyph = glyphs[(known ? *s : '?') - FIRST_GLYPH];
        for (int i = 0; i < GLYPH_COLUMNS * GLYPH_ROWS; i++) {
            int x = left + i % GLYPH_COLUMNS * size, y = top + i / GLYPH_COLUMNS * size;
            if (glyph[i % GLYPH_COLUMNS] >> i / GLYPH_COLUMNS & 1)
                fill(image, x, y, x + size, y + size, ink);
        }
    }
}

void rt_draw_box(RtImage *image, const double *box, RtColor color, const char *text) {
    int shorter = image->width < image->height ? image->width : image->height;
    int line = 1 + shorter / 250, size = 1 + shorter / 300, most = 4096;
    int left = clamp(box[0], image->width), top = clamp(box[1], image->height);
    int right = clamp(ceil(box[2]), image->width), bottom = clamp(ceil(box[3]), image->height);
    fill(image, left, top, right, top + line, color);
    fill(image, left, bottom - line, right, bottom, color);
    fill(image, left, top, left + line, bottom, color);
    fill(image, right - line, top, right, bottom, color);
    int length = (int)strnlen(text, (size_t)most), pad = size;
    int width = length * (GLYPH_COLUMNS + 1) * size + pad, height = GLYPH_ROWS * size + 2 * pad;
    int y = top >= height ? top - height : top;
    int x = left + width > image->width ? image->width - width : left;
    x = x < 0 ? 0 : x;
    fill(image, x, y, x + width, y + height, color);
    draw_text(image, text, x + pad, y + pad, size, ink_on(color));
}
