// Drawing on pictures of three channels: boxes with names, colours over a part. Private header.
#ifndef RUNTIME_IMAGE_DRAW_H
#define RUNTIME_IMAGE_DRAW_H

#include "runtime/image/image.h"

#include <stdio.h>

typedef struct RtColor {
    uint8_t rgb[3];
} RtColor;

// Of class number `index`: Pascal VOC's, neighbours far apart; 0 is black.
RtColor rt_draw_color(int64_t index);
// The frame of a box, edges in pixels, and the text above it, inside where there is no room above.
// What lies outside of the picture is left out. The text is ASCII; what is not shows as '?'.
void rt_draw_box(RtImage *image, const double *box, RtColor color, const char *text);
// Pixel (x, y) becomes `share` of the colour and the rest of what it was.
void rt_draw_blend(RtImage *image, int x, int y, RtColor color, double share);
// The picture as a PNG file, which says that a program of hone's made it. False: it cannot be
// written.
bool rt_png_encode(FILE *f, const RtImage *image);
// An image of one channel, whose pixels are numbers, as a PNG file with a palette of their colours.
// False: it cannot be written.
bool rt_png_encode_numbers(FILE *f, const RtImage *numbers);
// The file, no link, was made by one of these two.
bool rt_png_is_drawn(const char *path);

#endif
