// An ONNX file as a tree of protobuf fields, for mutations that keep the wire format whole:
// numbers, names, dimensions and attributes change, fields go, are doubled, or move to another
// place.
#ifndef TESTS_FUZZ_ONNX_TREE_H
#define TESTS_FUZZ_ONNX_TREE_H

#include <stddef.h>
#include <stdint.h>

typedef struct TreeField TreeField;
typedef struct Tree Tree;

// NULL when the bytes are no message.
Tree *tree_read(const uint8_t *bytes, size_t size);
void tree_free(Tree *t);
// One change drawn from *state, which advances; `donor` (may be t): where pieces come from.
void tree_mutate(Tree *t, const Tree *donor, uint64_t *state);
// malloc; *size bytes.
uint8_t *tree_write(const Tree *t, size_t *size);

uint64_t tree_draw(uint64_t *state); // splitmix64

#endif
