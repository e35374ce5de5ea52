// Damaged models: bytes of models that use most importers, functions and old spellings are changed,
// removed, doubled and swapped at random; every import must end with a program or a diagnostic.
// What crashes here, or what a sanitizer build complains about, is a bug. Deterministic.
//
//   test_mutations [COUNT [FIRST_SEED]]     default 1500
#define _GNU_SOURCE
#include "tests/frontend/import/import_case.h"

#include <time.h>

static uint64_t next_random(uint64_t *s) { // splitmix64
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void put_ints_node(Pb *g, const char *op, const char *in, const char *out, const char *attr,
                          int n, const int64_t *v) {
    Pb node = make_node(op, out, in, out);
    attr_ints(&node, attr, n, v);
    pb_msg(g, 1, &node);
}

static Pb make_seed_model(void) {
    static const float f[54] = {1, 2, 3};
    Pb g = {0}, node;
    put_ints_node(&g, "Conv", "x w", "c", "pads", 4, (int64_t[]){1, 1, 1, 1});
    put_node(&g, "BatchNormalization", "bn", "c s s s s", "n");
    put_node(&g, "Clip", "clip", "n lo hi", "r");
    put_ints_node(&g, "MaxPool", "r", "p", "kernel_shape", 2, (int64_t[]){2, 2});
    put_node(&g, "Pad", "pad", "p pads", "q");
    put_node(&g, "Slice", "slice", "q starts ends", "sl");
    node = make_node("Concat", "cat", "sl sl", "cc");
    attr_int(&node, "axis", 1);
    pb_msg(&g, 1, &node);
    node = make_node("Split", "split", "cc", "a b");
    attr_int(&node, "axis", 1);
    pb_msg(&g, 1, &node);
    put_node(&g, "Add", "add", "a b", "e");
    put_ints_node(&g, "Transpose", "e", "t", "perm", 4, (int64_t[]){0, 2, 3, 1});
    put_node(&g, "Softmax", "sm", "t", "u");
    put_node(&g, "ReduceSum", "rs", "u axes", "v");
    put_node(&g, "Shape", "sh", "v", "dims");
    put_node(&g, "Gather", "ga", "dims zero", "rows");
    put_node(&g, "Reshape", "r1", "rows minus", "rows1");
    node = make_node("Concat", "cat2", "rows1 minus", "target");
    attr_int(&node, "axis", 0);
    pb_msg(&g, 1, &node);
    put_node(&g, "Reshape", "r2", "v target", "flat");
    node = make_node("Concat", "cat3", "sl sl", "c4");
    attr_int(&node, "axis", 1);
    pb_msg(&g, 1, &node);
    put_node(&g, "Tile", "tile", "flat reps", "y");
    node = make_node("DepthToSpace", "d2s", "c4", "z");
    attr_int(&node, "blocksize", 2);
    pb_msg(&g, 1, &node);
    put_raw(&g, "w", ONNX_FLOAT, 4, (int64_t[]){2, 3, 3, 3}, f, sizeof f);
    put_raw(&g, "s", ONNX_FLOAT, 1, (int64_t[]){2}, f, 8);
    put_raw(&g, "lo", ONNX_FLOAT, 0, NULL, f, 4);
    put_raw(&g, "hi", ONNX_FLOAT, 0, NULL, f + 1, 4);
    put_ints(&g, "pads", 8, (int64_t[]){0, 0, 1, 1, 0, 0, 1, 1});
    put_ints(&g, "starts", 4, (int64_t[]){0, 0, 1, 0});
    put_ints(&g, "ends", 4, (int64_t[]){INT64_MAX, 2, -1, 3});
    put_ints(&g, "axes", 1, (int64_t[]){-1});
    put_ints(&g, "minus", 1, (int64_t[]){-1});
    put_ints(&g, "reps", 2, (int64_t[]){1, 2});
    put_raw(&g, "zero", ONNX_INT64, 0, NULL, &(int64_t){0}, 8);
    put_input(&g, "x", 4, (int64_t[]){-1, 3, 4, 4});
    put_output(&g, "y");
    return make_model(&g, 13);
}

// A function that calls another one twice, with attributes that are handed on, and an If.
static Pb make_function_model(void) {
    Pb g = {0}, yes = {0}, no = {0}, set = {0}, f[2] = {{0}, {0}}, alpha = {0};
    pb_str(&set, 1, "");
    pb_int(&set, 2, 13);
    pb_str(&alpha, 1, "alpha");
    pb_str(&alpha, 21, "slope");
    pb_int(&alpha, 20, 1);
    for (int k = 0; k < 2; k++) {
        pb_str(&f[k], 1, k ? "inner" : "outer");
        pb_str(&f[k], 4, "a");
        pb_str(&f[k], 5, "c");
        pb_str(&f[k], 6, "slope");
        pb_msg(&f[k], 9, &set);
        pb_str(&f[k], 10, "own");
        Pb node = make_node(k ? "LeakyRelu" : "inner", "first", "a", "b");
        pb_str(&node, 7, k ? "" : "own");
        pb_msg(&node, 5, &alpha);
        pb_msg(&f[k], 7, &node);
        node = make_node(k ? "Elu" : "inner", "second", "b", "c");
        pb_str(&node, 7, k ? "" : "own");
        pb_msg(&node, 5, &alpha);
        pb_msg(&f[k], 7, &node);
    }
    put_node(&yes, "Relu", "relu", "x", "z");
    put_output(&yes, "z");
    put_node(&no, "Tanh", "tanh", "x", "z");
    put_output(&no, "z");
    Pb branch = make_node("If", "if", "cond", "m"), call = make_node("outer", "call", "m", "y");
    for (int k = 0; k < 2; k++) {
        Pb a = {0};
        pb_str(&a, 1, k ? "else_branch" : "then_branch");
        pb_msg(&a, 6, k ? &no : &yes);
        pb_int(&a, 20, 5);
        pb_msg(&branch, 5, &a);
    }
    pb_msg(&g, 1, &branch);
    pb_str(&call, 7, "own");
    pb_msg(&g, 1, &call);
    put_raw(&g, "cond", 9, 0, NULL, &(uint8_t){1}, 1);
    put_input(&g, "x", 2, (int64_t[]){-1, 3});
    put_output(&g, "y");
    Pb m = make_model(&g, 13);
    pb_msg(&m, 25, &f[0]);
    pb_msg(&m, 25, &f[1]);
    return m;
}

// Spellings that opset 7 and later no longer have.
static Pb make_old_model(void) {
    static const float f[3] = {1, 2, 3};
    Pb g = {0};
    put_ints_node(&g, "Reshape", "x", "a", "shape", 3, (int64_t[]){0, 3, 4});
    Pb node = make_node("Add", "add", "a w", "b");
    attr_int(&node, "broadcast", 1);
    attr_int(&node, "axis", 1);
    pb_msg(&g, 1, &node);
    put_node(&g, "PRelu", "prelu", "b w", "c");
    node = make_node("Split", "split", "c parts", "d e");
    attr_int(&node, "axis", 1);
    pb_msg(&g, 1, &node);
    put_node(&g, "Tile", "tile", "d copies axis", "h");
    put_node(&g, "Concat", "cat", "h e", "i");
    put_ints_node(&g, "Pad", "i", "y", "paddings", 6, (int64_t[]){0, 1, 0, 0, 0, 2});
    put_raw(&g, "w", ONNX_FLOAT, 1, (int64_t[]){3}, f, sizeof f);
    put_raw(&g, "parts", ONNX_FLOAT, 1, (int64_t[]){2}, f, 8);
    put_raw(&g, "copies", ONNX_FLOAT, 0, NULL, f + 1, 4);
    put_raw(&g, "axis", ONNX_FLOAT, 0, NULL, f, 4);
    put_input(&g, "x", 2, (int64_t[]){-1, 12});
    put_output(&g, "y");
    return make_model(&g, 1);
}

// One to four small changes; returns the new length.
static size_t mutate(uint8_t *p, size_t n, uint64_t *s) {
    for (int k = (int)(next_random(s) % 4); k >= 0 && n > 8; k--) {
        size_t at = next_random(s) % n, len = 1 + next_random(s) % 8;
        len = len < n - at ? len : n - at;
        switch (next_random(s) % 6) {
        case 0:
            p[at] = (uint8_t)next_random(s);
            break;
        case 1:
            p[at] ^= (uint8_t)(1u << next_random(s) % 8);
            break;
        case 2:
            memmove(p + at, p + at + len, n - at - len);
            n -= len;
            break;
        case 3:
            memmove(p + at + len, p + at, n - at);
            n += len;
            break;
        case 4:
            p[at] = next_random(s) % 2 ? 0xff : 0;
            break;
        default:
            memmove(p + at, p + next_random(s) % (n - len), len);
        }
    }
    return n;
}

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : 1500, first = argc > 2 ? atol(argv[2]) : 1,
         imported = 0;
    case_start();
    const Pb seeds[] = {make_seed_model(), make_function_model(), make_old_model()};
    enum { SEEDS = sizeof seeds / sizeof seeds[0] };
    Import im;
    size_t longest = 0;
    for (int k = 0; k < SEEDS; k++) {
        write_file(case_path("m.onnx"), seeds[k].v, seeds[k].n);
        import_file(&im, "m.onnx", NULL);
        if (!CHECK(im.prog != NULL)) {
            fprintf(stderr, "%s", im.text);
        }
        import_end(&im);
        longest = seeds[k].n > longest ? seeds[k].n : longest;
    }
    uint8_t *p = malloc(longest + 64);
    double slowest = 0;
    for (long i = first; i < first + count; i++) {
        uint64_t s = (uint64_t)i;
        const Pb *seed = &seeds[i % SEEDS];
        memcpy(p, seed->v, seed->n);
        write_file(case_path("m.onnx"), p, mutate(p, seed->n, &s));
        struct timespec t0, t1;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        import_file(&im, "m.onnx", NULL);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        double seconds = (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
        slowest = seconds > slowest ? seconds : slowest;
        imported += im.prog != NULL;
        if (!CHECK(im.prog || im.diag.errors > 0)) {
            fprintf(stderr, "seed %ld\n", i);
        }
        import_end(&im);
    }
    free(p);
    case_end();
    CHECK(slowest < 10);
    printf("%ld of %ld damaged models still import; slowest %.3f s\n", imported, count, slowest);
    return check_done();
}
