// Attention of the reference evaluator; its shape rule is in shape_nn.c.
#include "ir/eval.h"
#include <math.h>

enum { BIASES = 2, FIRST_BIAS = 3 };

typedef struct Attention {
    const double *x[3], *bias[BIASES]; // q, k, v
    int64_t columns[3], start[3];
    int64_t n_bias, period[BIASES], bias_heads[BIASES];
    int64_t heads, size, N, M;
    double alpha;
    IrDtype type; // of q, k, v: that of the weights of values
} Attention;

// Row `row` of head h of operand i, for batch element b; an operand has `rows` of them.
static const double *head_row(const Attention *a, int i, int64_t b, int64_t h, int64_t row) {
    int64_t rows = i == 0 ? a->N : a->M;
    return a->x[i] + (b * rows + row) * a->columns[i] + a->start[i] + h * a->size;
}

// exp(score - greatest) for each key, rounded to the operands' type; their sum, of what is not.
static double weigh_keys(const Attention *a, int64_t b, int64_t h, int64_t row, double *weight) {
    const double *q = head_row(a, 0, b, h, row);
    double most = -INFINITY, sum = 0;
    for (int64_t m = 0; m < a->M; m++) {
        const double *k = head_row(a, 1, b, h, m);
        double s = 0;
        for (int64_t c = 0; c < a->size; c++)
            s += q[c] * k[c];
        s *= a->alpha;
        for (int64_t i = 0; i < a->n_bias; i++) {
            int64_t plane = b % a->period[i] * a->bias_heads[i] + h % a->bias_heads[i];
            s += a->bias[i][(plane * a->N + row) * a->M + m];
        }
        weight[m] = s;
        most = isnan(s) || s > most ? s : most;
    }
    for (int64_t m = 0; m < a->M; m++) {
        weight[m] = exp(weight[m] - most);
        sum += weight[m];
        weight[m] = a->type == IR_F32 ? weight[m] : ir_dtype_round(a->type, weight[m]);
    }
    return sum;
}

static void attend(const Attention *a, int64_t b, int64_t h, double *weight, double *y,
                   IrTensor *out) {
    for (int64_t row = 0; row < a->N; row++) {
        double sum = weigh_keys(a, b, h, row, weight);
        for (int64_t c = 0; c < a->size; c++)
            y[c] = 0;
        for (int64_t m = 0; m < a->M; m++) {
            const double *v = head_row(a, 2, b, h, m);
            for (int64_t c = 0; c < a->size; c++)
                y[c] += weight[m] * v[c];
        }
        for (int64_t c = 0; c < a->size; c++)
            y[c] /= sum;
        ir_tensor_store(out, ((b * a->N + row) * a->heads + h) * a->size, a->size, y);
    }
}

const char *ir_eval_attention(IrEval *e, const IrNode *n, const IrTensor *const *in,
                              IrTensor *out) {
    IrInts start = ir_ints(n, IR_ATTR_START);
    Attention a = {.heads = ir_int(n, IR_ATTR_GROUP, 1),
                   .size = ir_int(n, IR_ATTR_SIZE, 1),
                   .N = in[0]->dim[1],
                   .M = in[1]->dim[1],
                   .alpha = ir_float(n, IR_ATTR_ALPHA, 1),
                   .type = in[0]->dtype};
    for (int i = 0; i < 3; i++) {
        a.x[i] = ir_eval_doubles(e, in[i]);
        a.columns[i] = in[i]->dim[2];
        a.start[i] = start.v[i];
    }
    for (int i = FIRST_BIAS; i < n->n_in && in[i]; i++, a.n_bias++) {
        a.bias[a.n_bias] = ir_eval_doubles(e, in[i]);
        a.period[a.n_bias] = in[i]->dim[0];
        a.bias_heads[a.n_bias] = in[i]->dim[1];
    }
    double *weight = ir_eval_scratch(e, a.M, sizeof *weight);
    double *y = ir_eval_scratch(e, a.size, sizeof *y);
    for (int64_t i = 0; i < in[0]->dim[0] * a.heads; i++)
        attend(&a, i / a.heads, i % a.heads, weight, y, out);
    return NULL;
}
