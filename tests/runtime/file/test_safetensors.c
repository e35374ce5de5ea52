// Checkpoint files: what is written is read back; ten thousand flipped bits and every truncation of
// a file are noticed; hostile headers are refused.
#define _GNU_SOURCE
#include "runtime/file/safetensors.h"
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char folder[] = "/tmp/hone-safetensors-XXXXXX";
static char path[64];

static const float weights[6] = {1, -2, 3.5f, 0, 1e-20f, 6};
static const int64_t numbers[2] = {INT64_MAX, -5};

static void write_sample(void) {
    const RtNamedTensor t[] = {{"n", HONE_I64, 1, {2}, numbers},
                               {"a \"b\"", HONE_F32, 2, {2, 3}, weights},
                               {"empty", HONE_F32, 2, {0, 7}, weights},
                               {"scalar", HONE_F32, 0, {0}, weights + 2}};
    const RtMeta meta[] = {{"step", "12"}, {"labels", "x\ny"}};
    RtErr err;
    CHECK(rt_safetensors_write(path, meta, 2, t, 4, &err));
}

static uint8_t *load(size_t *size) {
    RtErr err;
    uint8_t *data = rt_file_load(path, 1 << 20, size, &err);
    CHECK(data != NULL);
    return data;
}

// A file in memory: thousands are written.
static int damaged = -1;
static char damaged_path[64];

static void store(const uint8_t *data, size_t size) {
    CHECK(ftruncate(damaged, 0) == 0 && pwrite(damaged, data, size, 0) == (ssize_t)size);
}

static bool opens(void) {
    RtErr err = {{0}};
    RtSafetensors *s = rt_safetensors_open(damaged_path, &err);
    CHECK((s != NULL) == (err.text[0] == 0));
    rt_safetensors_close(s);
    return s != NULL;
}

static void reads_what_it_wrote(void) {
    RtErr err;
    write_sample();
    RtSafetensors *s = rt_safetensors_open(path, &err);
    CHECK(s != NULL);
    CHECK_STR_EQ(rt_safetensors_meta(s, "labels"), "x\ny");
    CHECK(rt_safetensors_meta(s, "nothing") == NULL);
    RtNamedTensor like = {"a \"b\"", HONE_F32, 2, {-1, 3}, NULL};
    const float *w = rt_safetensors_get(s, &like, &err);
    CHECK(w && memcmp(w, weights, sizeof weights) == 0 && like.dim[0] == 2);
    RtNamedTensor n = {"n", HONE_I64, 1, {2}, NULL};
    const int64_t *i = rt_safetensors_get(s, &n, &err);
    CHECK(i && (uintptr_t)i % 8 == 0 && memcmp(i, numbers, sizeof numbers) == 0);
    RtNamedTensor scalar = {"scalar", HONE_F32, 0, {0}, NULL};
    const float *x = rt_safetensors_get(s, &scalar, &err);
    CHECK(x && *x == 3.5f);
    RtNamedTensor other = {"n", HONE_I64, 1, {3}, NULL}, none = {"m", HONE_I64, 1, {2}, NULL};
    CHECK(!rt_safetensors_get(s, &other, &err) && strstr(err.text, "another type or shape"));
    CHECK(!rt_safetensors_get(s, &none, &err) && strstr(err.text, "no tensor 'm'"));
    rt_safetensors_close(s);
}

static void notices_flipped_bits(void) {
    size_t size;
    write_sample();
    uint8_t *data = load(&size);
    uint32_t state = 1;
    int unnoticed = 0;
    for (int i = 0; i < 10000; i++) {
        state = state * 1664525u + 1013904223u;
        size_t bit = i < (int)size * 8 ? (size_t)i : state % (size * 8);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        store(data, size);
        unnoticed += opens();
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(unnoticed == 0);
    store(data, size);
    CHECK(opens());
    free(data);
}

static void notices_truncations(void) {
    size_t size;
    write_sample();
    uint8_t *data = load(&size);
    int unnoticed = 0;
    for (size_t n = 0; n < size; n++) {
        store(data, n);
        unnoticed += opens();
    }
    CHECK(unnoticed == 0);
    uint8_t more = 0;
    data = realloc(data, size + 1);
    data[size] = more;
    store(data, size + 1);
    CHECK(!opens());
    free(data);
}

int main(void) {
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    damaged = memfd_create("damaged", 0);
    CHECK(damaged >= 0);
    snprintf(damaged_path, sizeof damaged_path, "/proc/self/fd/%d", damaged);
    CHECK_RUN(reads_what_it_wrote);
    CHECK_RUN(notices_flipped_bits);
    CHECK_RUN(notices_truncations);
    unlink(path);
    rmdir(folder);
    return check_done();
}
