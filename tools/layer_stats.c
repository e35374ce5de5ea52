// Parameters, multiply-accumulates and a short text for a node.
#include "tools/layer_stats.h"
#include "ir/conv.h"

#include <string.h>

static int64_t elems(const IrShape *s, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++)
        n *= ir_dim_at(s->dim[i], 1);
    return n;
}

// Each element of the image-sided operand meets the filters of its group once.
static double count_scattered(const IrNode *n, int image, const IrShape *filter) {
    const IrShape *x = &ir_in(n, image)->type.shape;
    return (double)elems(x, 0, x->rank) * (double)elems(filter, 1, filter->rank);
}

// Images that run at once where the file fixes their number.
static double count_images(const IrGraph *g) {
    const IrShape *x = g->n_inputs ? &g->inputs[0]->type.shape : NULL;
    return x && x->rank == 4 && !x->dim[0].n && x->dim[0].c > 0 ? (double)x->dim[0].c : 1;
}

// Floats, and the integers of quantized weights.
static bool is_parameter(const IrNode *n, int i) {
    bool product = n->op == IR_OP_CONV || n->op == IR_OP_MATMUL;
    bool weights = n->op == IR_OP_DEQUANTIZE ? i == 0 : product && (i == 1 || i == 2);
    return weights || ir_dtype_is_float(ir_in(n, i)->type.dtype);
}

LayerStats layer_stats(const IrNode *n) {
    LayerStats s = {0, 0};
    for (int i = 0; i < n->n_in; i++) {
        const IrValue *v = ir_in(n, i);
        if (v && v->konst && is_parameter(n, i))
            s.params += elems(&v->type.shape, 0, v->type.shape.rank);
    }
    const IrShape *out = &n->out[0]->type.shape;
    if (n->op == IR_OP_CONV_DGRAD) {
        s.macs = count_scattered(n, 0, &ir_in(n, 1)->type.shape);
    } else if (n->op == IR_OP_CONV_WGRAD) {
        s.macs = count_scattered(n, 1, out);
    } else if (n->op == IR_OP_CONV) {
        IrConv c = ir_conv(n);
        s.macs = (double)ir_conv_products(&c) * (double)ir_dim_at(c.N, 1);
    } else if (n->op == IR_OP_MATMUL) {
        // The first operand may be a map whose mean is taken: the second one always has the sum's
        // length.
        const IrShape *b = &ir_in(n, 1)->type.shape;
        int k = ir_int(n, IR_ATTR_TRANS_B, 0) ? b->rank - 1 : b->rank - 2;
        s.macs = (double)elems(out, 0, out->rank) * (double)elems(b, k, k + 1);
    }
    s.macs /= count_images(n->graph);
    return s;
}

const char *layer_name(const IrNode *n, char *buf, size_t size) {
    char more[16] = "";
    int parts = 0;
    for (const char *c = n->name; *c; c++)
        parts += *c == '+';
    if (parts)
        snprintf(more, sizeof more, " +%d", parts);
    size_t len = strcspn(n->name, "+"), room = size - 1 - strlen(more);
    const char *tail = n->name, *end = n->name + len;
    if (len > room)
        tail = end - (room - 2);
    while (len > room && tail < end && (*tail & 0xc0) == 0x80) // not into the middle of a character
        tail++;
    snprintf(buf, size, "%s%.*s%s", len > room ? ".." : "", (int)(end - tail), tail, more);
    return buf;
}

static void append(char *buf, size_t size, const char *text) {
    size_t n = strlen(buf);
    snprintf(buf + n, size - n, "%s", text);
}

static void append_window(const IrNode *n, char *buf, size_t size) {
    char text[96];
    IrWindow w = ir_window(n);
    snprintf(text, sizeof text, " %lldx%lld", (long long)w.kh, (long long)w.kw);
    append(buf, size, text);
    if (w.sh != 1 || w.sw != 1) {
        snprintf(text, sizeof text, w.sh == w.sw ? " /%lld" : " /%lldx%lld", (long long)w.sh,
                 (long long)w.sw);
        append(buf, size, text);
    }
    if (n->op == IR_OP_CONV && w.group > 1) {
        snprintf(text, sizeof text, " g%lld", (long long)w.group);
        append(buf, size, text);
    }
}

static void append_body(IrBody body, char *buf, size_t size) {
    for (int i = 0; i < body.n; i++) {
        append(buf, size, " + ");
        append(buf, size, ir_op_info(body.step[i].op)->text);
    }
}

const char *layer_text(const IrNode *n, char *buf, size_t size) {
    snprintf(buf, size, "%s", ir_op_info(n->op)->text);
    if (ir_op_info(n->op)->flags & IR_FLAG_W)
        append_window(n, buf, size);
    if ((n->op == IR_OP_CONV || n->op == IR_OP_MATMUL) && ir_in(n, 2))
        append(buf, size, " + bias");
    append_body(ir_body(n, IR_ATTR_PRE), buf, size);
    append_body(ir_body(n, IR_ATTR_THEN), buf, size);
    append_body(ir_body(n, IR_ATTR_BODY), buf, size);
    return buf;
}
