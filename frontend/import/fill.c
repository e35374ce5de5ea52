// Operators that fill a tensor by a formula: windows of signal processing, the identity matrix.
// Those that fill it with random numbers are refused: no two runtimes agree on them.
#include "frontend/import.h"

#include <math.h>

enum { MAX_WINDOW = 1 << 20 }; // elements

// a[0] - a[1] cos(2 pi i / N) + a[2] cos(4 pi i / N), i = 0 .. size - 1, N the size or, for a
// symmetric window, one less.
static void fill_window(FeNode *n, const double *a) {
    int64_t onnx = fe_attr_int(n, "output_datatype", 1);
    bool periodic = fe_attr_int(n, "periodic", 1) != 0;
    IrInts size = fe_ints(n, 0);
    IrType type = {.shape = {.rank = 1}};
    if (!fe_dtype((int32_t)onnx, false, &type.dtype) || onnx != (int32_t)onnx) {
        fe_refuse(n, "output_datatype is %lld, no element type that is supported", (long long)onnx);
    }
    if (!n->refused &&
        (size.n != 1 || size.v[0] < 0 || size.v[0] > MAX_WINDOW || (!periodic && size.v[0] == 1))) {
        fe_refuse(n, "its size is not a number from %d to %d", periodic ? 0 : 2, MAX_WINDOW);
    }
    if (n->refused) {
        return;
    }
    type.shape.dim[0] = ir_dim(size.v[0]);
    if (!fe_charge(n, size.v[0] * ir_dtype_bytes(type.dtype))) {
        return;
    }
    IrTensor *t = ir_alloc(n->fe->arena, sizeof *t);
    *t = ir_tensor_new(n->fe->arena, &type, 1);
    double step = 2 * M_PI / (double)(size.v[0] - !periodic);
    for (int64_t i = 0; i < size.v[0]; i++) {
        double at = step * (double)i;
        ir_tensor_set(t, i, a[0] - a[1] * cos(at) + a[2] * cos(2 * at));
    }
    fe_out_tensor(n, 0, t);
}

// HannWindow-17, HammingWindow-17, BlackmanWindow-17
void fe_import_hann_window(FeNode *n) {
    fill_window(n, (double[]){0.5, 0.5, 0});
}

void fe_import_hamming_window(FeNode *n) {
    fill_window(n, (double[]){25.0 / 46, 21.0 / 46, 0});
}

void fe_import_blackman_window(FeNode *n) {
    fill_window(n, (double[]){0.42, 0.5, 0.08});
}

// EyeLike-22: element (r, c) is 1 where c = r + k.
void fe_import_eye_like(FeNode *n) {
    IrType x;
    int64_t k = fe_attr_int(n, "k", 0);
    if (!fe_type(n, 0, &x)) {
        return;
    }
    if (x.shape.rank != 2) {
        fe_refuse(n, "its input has rank %d, it must be a matrix", x.shape.rank);
    }
    int64_t onnx = fe_attr_int(n, "dtype", 0);
    IrDtype to = x.dtype;
    if (fe_attr(n, "dtype") && (onnx != (int32_t)onnx || !fe_dtype((int32_t)onnx, false, &to))) {
        fe_refuse(n, "dtype is %lld, no element type that is supported", (long long)onnx);
    }
    if (n->refused) {
        return;
    }
    k = k > INT32_MAX ? INT32_MAX : k < INT32_MIN ? INT32_MIN : k;
    IrValue *r = fe_iota(n, k, x.shape.dim[0], 0, 2), *c = fe_iota(n, 0, x.shape.dim[1], 1, 2);
    IrValue *y = fe_bin(n, IR_OP_EQUAL, r, c);
    fe_out(n, 0, n->refused ? NULL : fe_cast(n, y, to));
}

// RandomNormal-1, RandomUniform-1, their Like forms, Bernoulli-15, Multinomial-7
void fe_import_random(FeNode *n) {
    fe_refuse(n, "its result is random and another in each runtime; make it an input of the model");
}
