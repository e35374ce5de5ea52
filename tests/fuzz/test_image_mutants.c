// Damaged images: the small ones of tests/runtime/golden, with bytes changed, pieces cut out,
// doubled or taken from another file. Each decodes or is refused by one line; the file's bytes end
// at a page that cannot be read, so that a decoder built without sanitizers is caught, too.
//
//   test_image_mutants [COUNT [FIRST_SEED]]      default 100000 1 under ASan, 20000 1 elsewhere
#define _GNU_SOURCE
#include "runtime/core/rng.h"
#include "runtime/image/image.h"
#include "tests/check.h"

#include <glob.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 15, MOST_CHANGES = 6, SIDE_BITS = 12 };
#ifdef __SANITIZE_ADDRESS__
enum { COUNT = 100000 };
#else
enum { COUNT = 20000 };
#endif

typedef struct Seeds {
    size_t n, *bytes;
    uint8_t **data;
} Seeds;

static Seeds load_seeds(void) {
    Seeds s = {0};
    glob_t g;
    if (glob("tests/runtime/golden/*.[jp][pn]g", 0, NULL, &g) != 0 ||
        glob("tests/runtime/golden/*.webp", GLOB_APPEND, NULL, &g) != 0)
        return s;
    s.data = calloc(g.gl_pathc, sizeof *s.data);
    s.bytes = calloc(g.gl_pathc, sizeof *s.bytes);
    RtErr err;
    for (size_t i = 0; i < g.gl_pathc; i++, s.n++)
        s.data[i] = rt_file_load(g.gl_pathv[i], MOST_BYTES, &s.bytes[i], &err);
    globfree(&g);
    return s;
}

static size_t draw(RtRng *r, size_t n) { // from 0 to n - 1
    return n ? (size_t)(rt_rng_uniform(r) * (double)n) % n : 0;
}

// Room is for twice MOST_BYTES.
static size_t change(RtRng *r, const Seeds *s, uint8_t *x, size_t n) {
    size_t at = draw(r, n), most = n - at, length = draw(r, most < 64 ? most : 64) + 1, from;
    switch (draw(r, 5)) {
    case 0:
        x[at] = (uint8_t)draw(r, 256);
        return n;
    case 1:
        x[at] ^= (uint8_t)(1 << draw(r, 8));
        return n;
    case 2: // cut out
        length = length > most ? most : length;
        memmove(x + at, x + at + length, most - length);
        return n - length > 0 ? n - length : 1;
    case 3: // another file's bytes
        from = draw(r, s->n);
        length = length > most ? most : length;
        length = length > s->bytes[from] ? s->bytes[from] : length;
        memcpy(x + at, s->data[from] + draw(r, s->bytes[from] - length + 1), length);
        return n;
    default: // doubled
        if (n + length > 2 * MOST_BYTES || length > most)
            return n;
        memmove(x + at + length, x + at, most);
        return n + length;
    }
}

// A size that is refused or believed elsewhere costs only time here: sides of PNG and WebP.
static bool claims_much(const uint8_t *x, size_t n) {
    bool png = n > 24 && memcmp(x, "\x89PNG", 4) == 0;
    bool webp = n > 30 && memcmp(x + 8, "WEBP", 4) == 0;
    return (png && (x[16] || x[17] || x[18] >> (SIDE_BITS - 8) || x[20] || x[21] ||
                    x[22] >> (SIDE_BITS - 8))) ||
           (webp && (x[22] > 15 || x[24] > 15 || x[25] || x[27] > 15 || x[28] || x[29] > 15));
}

static void decode(uint8_t *end, const uint8_t *x, size_t n, int channels, long *good) {
    RtErr err = {{0}};
    RtImage image;
    memcpy(end - n, x, n);
    bool ok = rt_image_decode("x", end - n, n, channels, false, RT_MAX_PIXELS, &image, &err);
    if (ok) {
        long sum = 0;
        for (int64_t i = 0; i < (int64_t)image.width * image.height * channels; i++)
            sum += image.pixel[i];
        *good += sum >= 0;
    }
    CHECK(ok == !err.text[0] && !strchr(err.text, '\n'));
    rt_image_free(&image);
}

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : COUNT, first = argc > 2 ? atol(argv[2]) : 1, good = 0;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (2 * MOST_BYTES + page) / page * page;
    uint8_t *map =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *x = malloc(2 * MOST_BYTES);
    Seeds s = load_seeds();
    CHECK(map != MAP_FAILED && mprotect(map + room, page, PROT_NONE) == 0 && x && s.n >= 18);
    for (long seed = first; seed < first + count && !check_state.failures; seed++) {
        RtRng r = rt_rng((uint64_t)seed, 0, 0, RT_RNG_AUGMENT);
        size_t from = draw(&r, s.n), n = s.bytes[from];
        memcpy(x, s.data[from], n);
        for (size_t k = draw(&r, MOST_CHANGES) + 1; k > 0; k--)
            n = change(&r, &s, x, n);
        if (!claims_much(x, n))
            decode(map + room, x, n, draw(&r, 2) ? 3 : 1, &good);
    }
    CHECK(good > count / 50 && good < count);
    printf("%ld mutants, %ld of them pictures\n", count, good);
    for (size_t i = 0; i < s.n; i++)
        free(s.data[i]);
    free(s.data);
    free(s.bytes);
    free(x);
    munmap(map, room + page);
    return check_done();
}
