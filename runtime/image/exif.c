// Which way up a picture is: the orientation that its EXIF block tells (tag 0x0112 of the first
// directory of a TIFF file), where JPEG, PNG and WebP files keep that block, and the turn that
// makes the picture upright. What is damaged here tells nothing: the picture is as it is stored.
#include "runtime/image/image.h"

#include <stdlib.h>
#include <string.h>

enum { ORIENTATION = 0x0112, BYTE = 1, SHORT = 3, LONG = 4, ENTRY = 12 };

typedef struct Bytes {
    const uint8_t *p;
    size_t n;
    bool big; // endian
} Bytes;

// `bytes` (2 or 4) of them as a number; 0 where they are not there.
static uint32_t number_at(Bytes b, size_t at, size_t bytes) {
    uint32_t v = 0;
    if (at > b.n || bytes > b.n - at)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint32_t)b.p[at + i] << 8 * (b.big ? bytes - 1 - i : i);
    return v;
}

static int read_tiff(Bytes b) {
    if (b.n >= 6 && memcmp(b.p, "Exif\0\0", 6) == 0)
        b = (Bytes){b.p + 6, b.n - 6, false};
    if (b.n < 8 || (memcmp(b.p, "II*\0", 4) != 0 && memcmp(b.p, "MM\0*", 4) != 0))
        return 0;
    b.big = *b.p == 'M';
    size_t at = number_at(b, 4, 4), entries = number_at(b, at, 2);
    for (size_t i = 0; i < entries && at + 2 + ENTRY * (i + 1) <= b.n; i++) {
        size_t entry = at + 2 + ENTRY * i;
        uint32_t type = number_at(b, entry + 2, 2);
        if (number_at(b, entry, 2) != ORIENTATION)
            continue;
        uint32_t v = type == SHORT  ? number_at(b, entry + 8, 2)
                     : type == LONG ? number_at(b, entry + 8, 4)
                     : type == BYTE ? b.p[entry + 8]
                                    : 0;
        return v <= 8 ? (int)v : 0;
    }
    return 0;
}

// ---------------------------------------------------------------- where files keep it

// Segments of ff, marker, length, up to the first scan.
static int find_in_jpeg(const uint8_t *data, size_t size) {
    enum { APP1 = 0xe1, SOS = 0xda, FILL = 0xff };
    Bytes b = {data, size, true};
    for (size_t at = 2; at + 4 <= size && data[at] == 0xff;) {
        int marker = data[at + 1];
        if (marker == FILL) {
            at++;
            continue;
        }
        size_t length = number_at(b, at + 2, 2);
        if (marker == SOS || length < 2 || length > size - at - 2)
            return 0;
        if (marker == APP1 && length > 8 && memcmp(data + at + 4, "Exif\0\0", 6) == 0)
            return read_tiff((Bytes){data + at + 4, length - 2, false});
        at += 2 + length;
    }
    return 0;
}

// Chunks of length, name, bytes and checksum.
static int find_in_png(const uint8_t *data, size_t size) {
    Bytes b = {data, size, true};
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = number_at(b, at, 4);
        if (length > size - at - 12)
            return 0;
        if (memcmp(data + at + 4, "eXIf", 4) == 0)
            return read_tiff((Bytes){data + at + 8, length, false});
        at += 12 + length;
    }
    return 0;
}

// Chunks of name, length and bytes, each at an even place.
static int find_in_webp(const uint8_t *data, size_t size) {
    Bytes b = {data, size, false};
    for (size_t at = 12; at + 8 <= size;) {
        size_t length = number_at(b, at + 4, 4);
        if (length > size - at - 8)
            return 0;
        if (memcmp(data + at, "EXIF", 4) == 0)
            return read_tiff((Bytes){data + at + 8, length, false});
        at += 8 + length + length % 2;
    }
    return 0;
}

int rt_exif_orientation(const uint8_t *data, size_t size) {
    if (size > 2 && data[0] == 0xff)
        return find_in_jpeg(data, size);
    return size > 8 && data[0] == 0x89 ? find_in_png(data, size) : find_in_webp(data, size);
}

// ---------------------------------------------------------------- the turn

// Pixel (x, y) of the upright picture is that at (x, y) of the stored one, sides swapped first,
// then mirrored in it.
typedef struct Turn {
    bool swap, flip_x, flip_y;
} Turn;

static const Turn turns[] = {
    [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
    [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
    [8] = {true, true, false},
};

bool rt_exif_turn(const char *path, int orientation, RtImage *image, RtErr *err) {
    if (orientation < 2 || orientation > 8)
        return true;
    Turn t = turns[orientation];
    int w = image->width, h = image->height;
    size_t ch = (size_t)image->channels;
    RtImage to;
    if (!rt_image_alloc(path, t.swap ? h : w, t.swap ? w : h, image->channels, &to, err))
        return false;
    uint8_t *out = to.pixel;
    for (int y = 0; y < to.height; y++)
        for (int x = 0; x < to.width; x++, out += ch) {
            int sx = t.swap ? y : x, sy = t.swap ? x : y;
            sx = t.flip_x ? w - 1 - sx : sx;
            sy = t.flip_y ? h - 1 - sy : sy;
            memcpy(out, image->pixel + ((size_t)sy * (size_t)w + (size_t)sx) * ch, ch);
        }
    rt_image_free(image);
    *image = to;
    image->turned = orientation;
    return true;
}
