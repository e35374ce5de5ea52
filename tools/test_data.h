// Inputs and outputs stored beside a model, as ONNX's own test cases and the model zoo do:
// DIR/input_0.pb ..., DIR/output_0.pb ... Private to tools/.
#ifndef TOOLS_TEST_DATA_H
#define TOOLS_TEST_DATA_H

#include "tools/tool.h"

typedef struct TestTensor {
    const char *path;
    IrTensor tensor;
} TestTensor;

// In the order of the model's inputs and outputs.
typedef struct TestData {
    const char *dir;
    int n_in, n_out;
    TestTensor *in, *out;
} TestData;

typedef struct TestFolder {
    int n;
    TestData *v;
} TestFolder;

// What lies in dir itself or in its folders test_data_set_*. False after errors were reported.
bool test_data_load(Tool *t, const char *dir, TestFolder *out);

// The inputs whose content shapes may follow from (shapes, axes, scales): *n_bound of them, to be
// made constants. `all`: a graph that has every input of the model.
FeBound *test_data_bound(Tool *t, const TestData *d, const IrGraph *all, int *n_bound);

// The tensors that are g's inputs and outputs, in its order; g lacks those inputs of `all` that are
// bound. *N: the batch size at which they fit, -1 where it does not matter. False after errors were
// reported.
bool test_data_match(Tool *t, const TestData *d, const IrGraph *all, const IrGraph *g, IrTensor *in,
                     IrTensor *out, int64_t *N);

// Numbers for g's input i: of integers of 8 and 16 bits, as pictures have, any that the type holds,
// unless they become indices or sizes; else roughly normal ones, as normalised photographs have:
// sums of four uniform ones, cut to whole numbers where they are to be such.
IrTensor test_data_random(IrArena *a, const IrGraph *g, int i, int64_t N, uint64_t seed);

#endif
