// A crit-bit tree (D. J. Bernstein): a node names the bit that tells its two halves apart, a leaf
// holds a key. Names come from files nobody vouches for, and no choice of them makes a tree slow
// where a hash table has its collisions: a lookup looks at most at every bit of the key.
//
// Invariant: going down, (byte, then bit from the highest) only grows; bytes behind a key's end
// count as 0, which no key holds.
#include "ir/map.h"
#include <string.h>

typedef struct IrMapNode {
    size_t byte;
    unsigned bit; // 0x80 .. 1; 0: a leaf
    struct IrMapNode *child[2];
    const char *key; // of a leaf
    void *value;
} Node;

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

uint64_t ir_hash(const void *data, size_t bytes) {
    const unsigned char *p = data;
    uint64_t h = mix(bytes + UINT64_C(0x9e3779b97f4a7c15));
    for (; bytes >= 8; p += 8, bytes -= 8) {
        uint64_t w = 0;
        for (int i = 0; i < 8; i++) {
            w |= (uint64_t)p[i] << (8 * i);
        }
        h = mix(h ^ w) + UINT64_C(0x9e3779b97f4a7c15);
    }
    for (; bytes; p++, bytes--) {
        h = mix(h ^ *p) + UINT64_C(0x9e3779b97f4a7c15);
    }
    return h;
}

static int side_of(const Node *n, const char *key, size_t length) {
    return n->byte < length && ((unsigned char)key[n->byte] & n->bit) != 0;
}

// The only leaf that can hold the key; NULL in an empty tree.
static Node *find_leaf(const IrMap *m, const char *key) {
    size_t length = strlen(key);
    Node *n = m->root;
    while (n && n->bit) {
        n = n->child[side_of(n, key, length)];
    }
    return n;
}

void *ir_map_get(const IrMap *m, const char *key) {
    const Node *leaf = find_leaf(m, key);
    return leaf && strcmp(leaf->key, key) == 0 ? leaf->value : NULL;
}

void **ir_map_put(IrMap *m, const char *key) {
    Node *near = find_leaf(m, key);
    size_t byte = 0;
    while (near && key[byte] && key[byte] == near->key[byte]) {
        byte++;
    }
    unsigned differ = near ? (unsigned char)key[byte] ^ (unsigned char)near->key[byte] : 0;
    if (near && !differ) {
        return &near->value;
    }
    Node *leaf = ir_alloc(m->arena, sizeof *leaf);
    leaf->key = key;
    m->n++;
    if (!near) {
        m->root = leaf;
        return &leaf->value;
    }
    Node *fork = ir_alloc(m->arena, sizeof *fork), **at = &m->root;
    fork->byte = byte;
    fork->bit = 1u << (31 - __builtin_clz(differ));
    size_t length = strlen(key);
    while ((*at)->bit && ((*at)->byte < byte || ((*at)->byte == byte && (*at)->bit > fork->bit))) {
        at = &(*at)->child[side_of(*at, key, length)];
    }
    int side = side_of(fork, key, length);
    fork->child[side] = leaf;
    fork->child[!side] = *at;
    *at = fork;
    return &leaf->value;
}
