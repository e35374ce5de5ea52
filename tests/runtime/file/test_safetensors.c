// Checkpoint files: what is written is read back; ten thousand flipped bits and every truncation of
// a file are noticed; of a file that is whole, no tensor passes for another.
#define _GNU_SOURCE
#include "runtime/file/safetensors.h"
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static char folder[] = "/tmp/hone-safetensors-XXXXXX";
static char path[64];

static const float weights[6] = {1, -2, 3.5f, 0, 1e-20f, 6};
static const float others[6] = {6, 5, 4, 3, 2, 1};
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

// The checksum over the whole file as it should be.
static void mend(uint8_t *data, size_t size) {
    static const char key[] = "\"hone.xxh3\": \"";
    char digits[17], *at = (char *)memmem(data, size, key, strlen(key)) + strlen(key);
    memset(at, '0', 16);
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)XXH3_64bits(data, size));
    memcpy(at, digits, 16);
}

// Writes a and b, of one shape, forges the file, and asks for a.
static bool takes_forged(void (*forge)(uint8_t *, size_t)) {
    const RtNamedTensor t[] = {{"a", HONE_F32, 2, {2, 3}, weights},
                               {"b", HONE_F32, 2, {2, 3}, others}};
    RtNamedTensor want = {"a", HONE_F32, 2, {2, 3}, NULL};
    RtErr err;
    size_t size;
    CHECK(rt_safetensors_write(path, NULL, 0, t, 2, &err));
    uint8_t *data = load(&size);
    forge(data, size);
    mend(data, size);
    store(data, size);
    RtSafetensors *s = rt_safetensors_open(damaged_path, &err);
    CHECK(s != NULL);
    bool took = rt_safetensors_get(s, &want, &err) != NULL;
    CHECK(took || strstr(err.text, "tensor 'a' has another hash"));
    rt_safetensors_close(s);
    free(data);
    return took;
}

static void replace_all(uint8_t *data, size_t size, const char *from, const char *to) {
    for (uint8_t *p; (p = memmem(data, size, from, strlen(from)));)
        memcpy(p, to, strlen(to));
}

static void leave(uint8_t *data, size_t size) {
    (void)data, (void)size;
}

static void change_last(uint8_t *data, size_t size) {
    data[size - sizeof weights - 1] ^= 1; // of a: b is behind it
}

static void swap_names(uint8_t *data, size_t size) {
    replace_all(data, size, "\"a\"", "\"?\"");
    replace_all(data, size, "\"b\"", "\"a\"");
    replace_all(data, size, "\"?\"", "\"b\"");
}

static void turn_shape(uint8_t *data, size_t size) {
    replace_all(data, size, "[2, 3]", "[3, 2]");
}

static void drop_hash(uint8_t *data, size_t size) {
    replace_all(data, size, "hone.xxh3/a", "hone.xxh3.a");
}

static void notices_forged_tensors(void) {
    CHECK(takes_forged(leave));
    CHECK(!takes_forged(change_last));
    CHECK(!takes_forged(drop_hash));
    CHECK(!takes_forged(swap_names));
    RtNamedTensor want = {"a", HONE_F32, 2, {3, 2}, NULL};
    RtErr err;
    size_t size;
    uint8_t *data = load(&size);
    turn_shape(data, size);
    mend(data, size);
    store(data, size);
    RtSafetensors *s = rt_safetensors_open(damaged_path, &err);
    CHECK(s && !rt_safetensors_get(s, &want, &err) && strstr(err.text, "another hash"));
    rt_safetensors_close(s);
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
    CHECK_RUN(notices_forged_tensors);
    unlink(path);
    rmdir(folder);
    return check_done();
}
