// Antialiased resize of 8-bit images by Pillow's filters, bit for bit what Pillow computes, because
// the accuracy that a network was trained to depends on it.
//
// Two passes, rows first. Each output pixel is a weighted sum over the input pixels under a
// filter, a triangle for one, that is stretched by max(1, scale). The weights are computed in
// double, normalised to sum 1, rounded to 22 fractional bits; the sums are exact integers, rounded
// and clipped to 8 bits after either pass. A pass that would not change the size is left out.
#include "runtime/image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHT_BITS = 32 - 8 - 2 };

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double cubic(double x) { // Keys's, a = -1/2
    x = fabs(x);
    return x < 1   ? ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1
           : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5
                   : 0;
}

static double sinc(double x) {
    x *= M_PI;
    return x == 0 ? 1 : sin(x) / x;
}

static double windowed_sinc(double x) {
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static double box(double x) {
    return x > -0.5 && x <= 0.5;
}

static double hamming(double x) {
    x = fabs(x);
    return x == 0 ? 1 : x >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * cos(x * M_PI));
}

static const struct Filter {
    const char *name;
    double (*at)(double);
    double support; // beyond it is 0
} filters[HONE_RESIZE_COUNT] = {
    [HONE_RESIZE_BILINEAR] = {"bilinear", triangle, 1},
    [HONE_RESIZE_BICUBIC] = {"bicubic", cubic, 2},
    [HONE_RESIZE_LANCZOS] = {"lanczos", windowed_sinc, 3},
    [HONE_RESIZE_BOX] = {"box", box, 0.5},
    [HONE_RESIZE_HAMMING] = {"hamming", hamming, 1},
};

const char *rt_resize_name(int filter) {
    return filter >= 0 && filter < HONE_RESIZE_COUNT ? filters[filter].name : NULL;
}

int rt_resize_filter(const char *name) {
    for (int i = 0; i < HONE_RESIZE_COUNT; i++)
        if (strcmp(filters[i].name, name) == 0)
            return i;
    return -1;
}

typedef struct Taps { // for outputs first .. first + n - 1 of one axis
    int n, max;
    int *start, *count; // of output k: inputs start[k] .. start[k] + count[k] - 1
    int32_t *weight;    // [n][max]
} Taps;

static void free_taps(Taps *t) {
    free(t->start);
    free(t->count);
    free(t->weight);
}

static bool make_taps(Taps *t, const struct Filter *f, int in, int64_t out, int64_t first, int n) {
    double scale = (double)in / (double)out, stretch = scale < 1 ? 1 : scale;
    double inverse = 1.0 / stretch, support = f->support * stretch;
    *t = (Taps){.n = n, .max = (int)ceil(support) * 2 + 1};
    t->start = malloc((size_t)n * sizeof *t->start);
    t->count = malloc((size_t)n * sizeof *t->count);
    t->weight = calloc((size_t)n * (size_t)t->max, sizeof *t->weight);
    double *w = malloc((size_t)t->max * sizeof *w);
    bool good = t->start && t->count && t->weight && w;
    for (int k = 0; good && k < n; k++) {
        double center = ((double)(first + k) + 0.5) * scale, sum = 0;
        double low = center - support + 0.5, high = center + support + 0.5;
        int from = low < 0 ? 0 : (int)low, to = high > in ? in : (int)high;
        t->start[k] = from;
        t->count[k] = to - from;
        for (int i = 0; i < to - from; i++)
            sum += w[i] = f->at((i + from - center + 0.5) * inverse);
        for (int i = 0; i < to - from; i++) {
            double v = (sum != 0 ? w[i] / sum : w[i]) * (1 << WEIGHT_BITS);
            t->weight[(size_t)k * (size_t)t->max + (size_t)i] =
                (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
    }
    free(w);
    if (!good)
        free_taps(t);
    return good;
}

static uint8_t clip_sum(int32_t sum) {
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

// rows [n_rows][in_width][ch] -> out [n_rows][t->n][ch]
static void resize_rows(const Taps *t, const uint8_t *in, int in_width, int n_rows, int ch,
                        uint8_t *out) {
    for (int y = 0; y < n_rows; y++) {
        const uint8_t *row = in + (size_t)y * (size_t)in_width * (size_t)ch;
        for (int k = 0; k < t->n; k++) {
            const uint8_t *p = row + (size_t)t->start[k] * (size_t)ch;
            const int32_t *w = t->weight + (size_t)k * (size_t)t->max;
            int32_t sum[3] = {1 << (WEIGHT_BITS - 1), 1 << (WEIGHT_BITS - 1),
                              1 << (WEIGHT_BITS - 1)};
            for (int i = 0; i < t->count[k]; i++, p += ch)
                for (int c = 0; c < ch; c++)
                    sum[c] += p[c] * w[i];
            for (int c = 0; c < ch; c++)
                *out++ = clip_sum(sum[c]);
        }
    }
}

// in [...][row] whose first row is input row `first_row` -> out [t->n][row]; sums: [row]
static void resize_columns(const Taps *t, const uint8_t *in, int first_row, size_t row,
                           int32_t *sums, uint8_t *out) {
    for (int k = 0; k < t->n; k++, out += row) {
        const uint8_t *p = in + (size_t)(t->start[k] - first_row) * row;
        const int32_t *w = t->weight + (size_t)k * (size_t)t->max;
        for (size_t x = 0; x < row; x++)
            sums[x] = 1 << (WEIGHT_BITS - 1);
        for (int i = 0; i < t->count[k]; i++, p += row)
            for (size_t x = 0; x < row; x++)
                sums[x] += p[x] * w[i];
        for (size_t x = 0; x < row; x++)
            out[x] = clip_sum(sums[x]);
    }
}

bool rt_resize(const RtImage *image, int filter, const RtWindow *win, uint8_t *out) {
    const struct Filter *f = &filters[filter];
    int ch = image->channels;
    bool columns = win->full_height != image->height; // does the height change?
    Taps across = {0}, down = {0};
    if (!make_taps(&across, f, image->width, win->full_width, win->left, win->width))
        return false;
    if (columns && !make_taps(&down, f, image->height, win->full_height, win->top, win->height)) {
        free_taps(&across);
        return false;
    }
    // Input rows that the second pass reads.
    int first = columns ? down.start[0] : (int)win->top;
    int last = columns ? down.start[down.n - 1] + down.count[down.n - 1] : first + win->height;
    size_t row = (size_t)win->width * (size_t)ch, in_row = (size_t)image->width * (size_t)ch;
    const uint8_t *from = image->pixel + (size_t)first * in_row;
    uint8_t *half = columns ? malloc(row * (size_t)(last - first)) : out;
    int32_t *sums = columns ? malloc(row * sizeof *sums) : NULL;
    bool good = half && (sums || !columns);
    if (good && win->full_width == image->width)
        for (int y = 0; y < last - first; y++)
            memcpy(half + (size_t)y * row,
                   from + (size_t)y * in_row + (size_t)win->left * (size_t)ch, row);
    else if (good)
        resize_rows(&across, from, image->width, last - first, ch, half);
    if (good && columns)
        resize_columns(&down, half, first, row, sums, out);
    if (columns)
        free(half);
    free(sums);
    free_taps(&across);
    free_taps(&down);
    return good;
}
