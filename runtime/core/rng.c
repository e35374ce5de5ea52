// Philox4x32-10 and what is drawn from it. The key is the seed; of the 128-bit counter, word 0
// numbers the blocks of a stream, word 1 and the upper half of word 3 hold the index, word 2 the
// epoch, the lowest byte of word 3 the purpose: distinct streams never meet.
#include "runtime/core/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void rt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4], k0 = key[0], k1 = key[1];
    memcpy(c, counter, sizeof c);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        uint64_t a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
        memcpy(c, next, sizeof c);
    }
    memcpy(out, c, sizeof c);
}

RtRng rt_rng(uint64_t seed, int64_t epoch, int64_t index, uint32_t purpose) {
    uint64_t i = (uint64_t)index;
    return (RtRng){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, (uint32_t)i, (uint32_t)epoch, (uint32_t)(i >> 32) << 8 | (purpose & 255)}};
}

uint32_t rt_rng_u32(RtRng *r) {
    if (r->left == 0) {
        rt_philox(r->counter, r->key, r->word);
        r->counter[0]++;
        r->left = 4;
    }
    return r->word[4 - r->left--];
}

uint64_t rt_rng_u64(RtRng *r) {
    uint64_t high = rt_rng_u32(r);
    return high << 32 | rt_rng_u32(r);
}

double rt_rng_uniform(RtRng *r) {
    return (double)(rt_rng_u64(r) >> 11) * 0x1p-53;
}

double rt_rng_between(RtRng *r, double low, double high) {
    return low + (high - low) * rt_rng_uniform(r);
}

double rt_rng_normal(RtRng *r) { // Box and Muller
    double u = 1 - rt_rng_uniform(r), v = rt_rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

int64_t rt_rng_below(RtRng *r, int64_t n) {
    uint64_t range = (uint64_t)n, uneven = (0 - range) % range; // 2^64 mod n values come too often
    uint64_t x;
    do
        x = rt_rng_u64(r);
    while (x < uneven);
    return (int64_t)(x % range);
}

void rt_rng_permutation(uint64_t seed, int64_t epoch, int64_t *order, int64_t n) {
    RtRng r = rt_rng(seed, epoch, 0, RT_RNG_SHUFFLE);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = rt_rng_below(&r, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

// ---------------------------------------------------------------- orders

bool rt_order_open(RtOrder *o, int64_t n, bool shuffled, uint64_t seed) {
    *o = (RtOrder){.n = n, .epoch = -1, .seed = seed, .shuffled = shuffled, .rows = 1};
    while (o->rows * o->rows < n)
        o->rows *= 2;
    bool tabled = shuffled && n <= RT_ORDER_TABLE;
    if (tabled)
        o->table = malloc(((size_t)n + 1) * sizeof *o->table);
    return o->table || !tabled;
}

void rt_order_set(RtOrder *o, int64_t epoch) {
    if (o->table && epoch != o->epoch)
        rt_rng_permutation(o->seed, epoch, o->table, o->n);
    o->epoch = epoch;
}

// A number x below rows * columns is a pair; each half in turn is moved by a function of the other,
// which permutes the pairs (a Feistel network, Luby and Rackoff, 1988). There are fewer than `rows`
// more of them than items; a number that leads out of 0 to n - 1 is led on until it is back, which
// permutes those (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
static int64_t permute_pairs(const RtOrder *o, int64_t x) {
    enum { ROUNDS = 6 };
    int64_t columns = (o->n - 1) / o->rows + 1, row = x % o->rows, column = x / o->rows;
    for (int64_t round = 0; round < ROUNDS; round += 2) {
        RtRng r = rt_rng(o->seed, o->epoch, column * ROUNDS + round, RT_RNG_ORDER);
        row = (row + (int64_t)rt_rng_u32(&r)) % o->rows;
        r = rt_rng(o->seed, o->epoch, row * ROUNDS + round + 1, RT_RNG_ORDER);
        column = (column + (int64_t)rt_rng_u32(&r)) % columns;
    }
    return column * o->rows + row;
}

int64_t rt_order_at(const RtOrder *o, int64_t place) {
    if (!o->shuffled)
        return place;
    if (o->table)
        return o->table[place];
    do
        place = permute_pairs(o, place);
    while (place >= o->n);
    return place;
}

void rt_order_close(RtOrder *o) {
    free(o->table);
    o->table = NULL;
}
