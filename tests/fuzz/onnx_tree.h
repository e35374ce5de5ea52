// An ONNX file as a tree of protobuf fields, for mutations that keep the wire format whole:
// numbers, names, dimensions and attributes change, fields go, are doubled, or move to another
// place. Edits (onnx_edit.c) go further and keep, mostly, a model.
#ifndef TESTS_FUZZ_ONNX_TREE_H
#define TESTS_FUZZ_ONNX_TREE_H

#include <stddef.h>
#include <stdint.h>

typedef enum TreeMessage {
    TREE_NONE, // bytes, a string, or packed numbers
    TREE_MODEL,
    TREE_GRAPH,
    TREE_NODE,
    TREE_ATTRIBUTE,
    TREE_TENSOR,
    TREE_INFO,
    TREE_TYPE,
    TREE_TENSOR_TYPE,
    TREE_SHAPE,
    TREE_DIM,
    TREE_OPSET,
    TREE_ENTRY,
    TREE_FUNCTION
} TreeMessage;

typedef struct TreeField {
    int number, wire; // protobuf wire type: 0, 1, 2, 5
    TreeMessage message;
    uint64_t value; // wire 0, 1, 5
    uint8_t *bytes; // wire 2, no message
    size_t size;
    int n; // fields of the message
    struct TreeField **field;
} TreeField;

typedef struct Tree {
    TreeField root;
} Tree;

// NULL when the bytes are no message.
Tree *tree_read(const uint8_t *bytes, size_t size);
void tree_free(Tree *t);
// One change drawn from *state, which advances; `donor` (may be t): where pieces come from.
void tree_mutate(Tree *t, const Tree *donor, uint64_t *state);
// One change of a graph as a graph: nodes, edges, shapes, types, functions, branches (onnx_edit.c).
void tree_edit(Tree *t, const Tree *donor, uint64_t *state);
// malloc; *size bytes.
uint8_t *tree_write(const Tree *t, size_t *size);

uint64_t tree_draw(uint64_t *state); // splitmix64

// ---- what edits are made of. Fields belong to the message that holds them.
TreeField *tree_copy(const TreeField *f);
void tree_insert(TreeField *in, int at, TreeField *f);
void tree_remove(TreeField *from, int at);
void tree_set_bytes(TreeField *f, const void *p, size_t n);

#endif
