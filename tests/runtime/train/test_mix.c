// Mixup and cutmix: what becomes of a batch, counted anew; their shares' distribution.
#include "runtime/train/mix.h"

#include "tests/check.h"

#include <math.h>
#include <string.h>

enum { N = 5, W = 12, H = 9, CH = 3, FLOATS = W * H * CH, CLASSES = 5, BATCHES = 4000 };

static float images[N * FLOATS], targets[N * CLASSES], share[N];
static int32_t labels[N], other[N];

// Image i has the number i everywhere and the class i.
static RtBatch make_batch(int64_t index) {
    memset(targets, 0, sizeof targets);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < FLOATS; k++)
            images[i * FLOATS + k] = (float)i;
        targets[i * CLASSES + i] = 1;
        labels[i] = i;
    }
    return (RtBatch){
        .epoch = 3, .index = index, .n = N, .images = images, .labels = labels, .targets = targets};
}

static void check_labels(void) {
    for (int i = 0; i < N; i++) {
        CHECK_INT_EQ(other[i], N - 1 - i);
        CHECK(share[i] == share[0] && share[i] >= 0 && share[i] <= 1);
        for (int c = 0; c < CLASSES && i != N / 2; c++) {
            float want = c == i ? share[0] : c == N - 1 - i ? 1 - share[0] : 0;
            CHECK(fabsf(targets[i * CLASSES + c] - want) < 1e-6f);
        }
        CHECK(fabsf(targets[N / 2 * CLASSES + N / 2] - 1) < 1e-6f);
    }
}

static void mixup_blends_opposites(void) {
    static const HonePreprocess prep = {.channels = CH, .height = H, .width = W};
    RtMix m = {.mixup = 0.4f, .probability = 1, .switches = 0.5f};
    double mean = 0, square = 0;
    for (int k = 0; k < BATCHES; k++) {
        RtBatch b = make_batch(k);
        rt_mix_batch(&m, &prep, 7, CLASSES, &b, other, share);
        check_labels();
        for (int i = 0; i < N; i++) {
            float want = share[0] * (float)i + (1 - share[0]) * (float)(N - 1 - i);
            CHECK(fabsf(images[i * FLOATS + k % FLOATS] - want) < 1e-5f);
        }
        mean += (double)share[0] / BATCHES;
        square += (double)share[0] * (double)share[0] / BATCHES;
    }
    // Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1))
    CHECK(fabs(mean - 0.5) < 0.02);
    CHECK(fabs(square - mean * mean - 1 / (4 * 1.8)) < 0.01);
}

static void cutmix_exchanges_a_box(int32_t nhwc) {
    HonePreprocess prep = {.channels = CH, .height = H, .width = W, .nhwc = nhwc};
    RtMix m = {.cutmix = 1, .probability = 1};
    for (int k = 0; k < 200; k++) {
        RtBatch b = make_batch(k);
        rt_mix_batch(&m, &prep, 7, CLASSES, &b, other, share);
        check_labels();
        int left = W, right = -1, top = H, bottom = -1, moved = 0;
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                int at = nhwc ? (y * W + x) * CH : y * W + x;
                if (images[at] == 0)
                    continue;
                moved++;
                left = x < left ? x : left;
                right = x > right ? x : right;
                top = y < top ? y : top;
                bottom = y > bottom ? y : bottom;
                for (int i = 0; i < N; i++)
                    for (int c = 0; c < CH; c++)
                        CHECK(images[i * FLOATS + at + c * (nhwc ? 1 : W * H)] ==
                              (float)(N - 1 - i));
            }
        CHECK(moved == 0 || moved == (right - left + 1) * (bottom - top + 1));
        CHECK(fabs((double)share[0] - (1 - (double)moved / (W * H))) < 1e-6);
    }
}

static void cutmix_of_both_layouts(void) {
    cutmix_exchanges_a_box(0);
    cutmix_exchanges_a_box(1);
}

static void by_chance(void) {
    static const HonePreprocess prep = {.channels = CH, .height = H, .width = W};
    RtMix m = {.mixup = 1, .cutmix = 1, .probability = 0.5f, .switches = 0.25f};
    int kept = 0, cut = 0;
    for (int k = 0; k < BATCHES; k++) {
        RtBatch b = make_batch(k);
        rt_mix_batch(&m, &prep, 7, 0, &b, other, share);
        bool whole = true; // all of image 0 is the same number
        for (int i = 1; i < FLOATS; i++)
            whole &= images[i] == images[0];
        kept += share[0] == 1;
        cut += !whole;
    }
    CHECK(fabs(kept / (double)BATCHES - 0.5) < 0.05);
    CHECK(cut > 0.08 * BATCHES &&
          cut < 0.135 * BATCHES); // an eighth, less those that take all or nothing
}

// Of a map half as wide and as high: a place is of the image that its middle shows.
static void cutmix_cuts_maps(void) {
    enum { MAP_H = 3, MAP_W = 6, PLACES = MAP_H * MAP_W };
    static const HonePreprocess prep = {.channels = CH, .height = H, .width = W};
    static int32_t maps[N * PLACES], others[N * PLACES];
    RtMix m = {.cutmix = 1, .probability = 1, .map_height = MAP_H, .map_width = MAP_W};
    int moved = 0;
    for (int k = 0; k < 200; k++) {
        RtBatch b = make_batch(k);
        for (int i = 0; i < N * PLACES; i++)
            maps[i] = i / PLACES;
        b.labels = maps;
        b.targets = NULL;
        rt_mix_batch(&m, &prep, 7, 0, &b, others, share);
        CHECK(memcmp(others, maps, sizeof maps) == 0); // a place has one class still
        for (int i = 0; i < N; i++)
            for (int p = 0; p < PLACES; p++) {
                CHECK(share[i] == 1);
                int y = p / MAP_W * 3 + 1, x = p % MAP_W * 2 + 1;
                CHECK_INT_EQ(maps[i * PLACES + p], (int)images[i * FLOATS + y * W + x]);
                moved += maps[i * PLACES + p] != i;
            }
    }
    CHECK(moved > 1000);
}

// Of images that are blended both maps count as they are.
static void mixup_keeps_both_maps(void) {
    enum { MAP_H = 3, MAP_W = 6, PLACES = MAP_H * MAP_W };
    static const HonePreprocess prep = {.channels = CH, .height = H, .width = W};
    static int32_t maps[N * PLACES], others[N * PLACES];
    RtMix m = {.mixup = 1, .probability = 0.5f, .map_height = MAP_H, .map_width = MAP_W};
    int mixed = 0;
    for (int k = 0; k < 200; k++) {
        RtBatch b = make_batch(k);
        for (int i = 0; i < N * PLACES; i++)
            maps[i] = i;
        b.labels = maps;
        b.targets = NULL;
        rt_mix_batch(&m, &prep, 7, 0, &b, others, share);
        for (int i = 0; i < N; i++) {
            float want = share[0] * (float)i + (1 - share[0]) * (float)(N - 1 - i);
            CHECK(share[i] == share[0] && fabsf(images[i * FLOATS] - want) < 1e-5f);
            for (int p = 0; p < PLACES; p++) {
                CHECK_INT_EQ(maps[i * PLACES + p], i * PLACES + p);
                CHECK_INT_EQ(others[i * PLACES + p], (N - 1 - i) * PLACES + p);
            }
        }
        mixed += share[0] < 1;
    }
    CHECK(mixed > 70 && mixed < 130);
}

int main(void) {
    CHECK_RUN(mixup_blends_opposites);
    CHECK_RUN(cutmix_of_both_layouts);
    CHECK_RUN(cutmix_cuts_maps);
    CHECK_RUN(mixup_keeps_both_maps);
    CHECK_RUN(by_chance);
    return check_done();
}
