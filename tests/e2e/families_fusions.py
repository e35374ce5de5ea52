"""What invites a fusion or a rewrite, right beside what must not be taken for it."""
import numpy as np

from families_net import family


@family(13)
def epilogues(net):
    """What follows a convolution: order, several readers, operands that broadcast the wrong way."""
    x = net.input(6, 5, 4)
    point = lambda out=7: net.conv(x, out, 1)
    conv = lambda: net.conv(x, 7, 3)
    skip = conv()
    add = lambda a, b: net.op("Add", a, b)

    net.output(net.relu(add(conv(), skip)), "add_relu")
    net.output(add(net.relu(conv()), skip), "relu_add")
    net.output(net.relu(add(net.relu(conv()), net.relu(skip))), "relu_add_relu")
    y = conv()
    net.output(add(y, net.relu(y)), "read_twice")
    net.output(add(y, y), "plus_itself")
    net.output(net.op("Mul", y, net.op("Sigmoid", y)), "swish")
    z = net.output(conv(), "an_output")
    net.output(net.relu(z), "relu_of_output")
    net.output(net.op("Sub", skip, conv()), "subtracted_from")
    net.output(net.op("Div", skip, net.op("Exp", conv())), "divided_by")
    net.output(net.relu(add(conv(), add(conv(), conv()))), "three_convolutions")
    # the convolution is the smaller operand
    small = lambda: net.conv(net.gap(x), 7, 1)
    net.output(net.relu(add(small(), skip)), "smaller")
    net.output(add(skip, small()), "smaller_behind")
    net.output(net.op("Mul", net.op("Sigmoid", small()), skip), "gate")
    one = net.conv(x, 1, 3)
    net.output(net.relu(add(one, skip)), "one_channel")
    net.output(net.op("Mul", conv(), net.op("Sigmoid", net.conv(x, 1, 1))), "spatial_gate")
    # constants: per channel, per column, per cell, scalars of rank 0 to 4
    for i, shape in enumerate(((7, 1, 1), (1, 7, 1, 1), (4,), (5, 1), (7, 5, 4), (), (1,), (1, 1, 1, 1), (1, 1, 5, 4))):
        c = net.init(net.numbers(*shape))
        y = add(conv(), c) if i % 2 else net.op("Mul", conv(), c)
        net.output(net.relu(y), f"constant_{i}")
    # chains of activations
    net.output(net.clip(net.relu(conv()), -1, 0.5), "relu_clip")
    net.output(net.relu(net.clip(conv(), -1, 0.5)), "clip_relu")
    net.output(net.clip(net.clip(conv(), -0.5, 2), -2, 0.7), "clip_clip")
    net.output(net.clip(net.clip(conv(), 0.2, 2), -2, -0.7), "clip_apart")
    net.output(net.op("LeakyRelu", net.relu(point()), alpha=0.3), "relu_leaky")
    net.output(net.relu(net.op("Sigmoid", point())), "sigmoid_relu")
    net.output(net.op("Neg", net.relu(net.op("Neg", point()))), "negated")
    net.output(net.op("Sqrt", net.op("Abs", add(net.op("Tanh", conv()), skip))), "long_chain")
    net.output(net.op("PRelu", point(), net.init(net.numbers(7, 1, 1))), "prelu")
    # matrix products and reductions
    flat = net.op("Flatten", x)
    product = net.op("MatMul", flat, net.init(net.numbers(120, 9, dev=0.1)))
    b = net.init(net.numbers(9))
    net.output(net.relu(add(b, product)), "matmul")
    net.output(net.op("Mul", net.op("Tanh", add(product, b)), product), "matmul_twice")
    net.output(net.relu(add(net.dense(flat, 120, 9), net.dense(flat, 120, 1))), "gemm_broadcast")
    net.output(net.relu(add(net.reduce_mean(x, 2, 3), net.init(net.numbers(6, 1, 1)))), "mean")
    net.output(net.op("Sub", x, net.reduce_mean(x, 1)), "centred")
    m = net.op("ReduceMax", x, axes=[1], keepdims=1)
    e = net.op("Exp", net.op("Sub", x, m))
    net.output(net.op("Div", e, net.reduce_sum(e, 1)), "softmax_spelled")


@family(9, 15)
def batch_norms(net):
    """Behind convolutions that others read too, behind everything else, twice, in front of padded convolutions."""
    x = net.input(6, 5, 4)
    bn = net.batch_norm
    y = net.conv(x, 7, 3)
    net.output(bn(y), "read_by_others")
    net.output(net.op("Add", bn(net.relu(y)), y), "behind_relu")
    net.output(bn(bn(net.conv(x, 7, 3, bias=False))), "twice")
    net.output(net.conv(bn(x), 7, 3), "before_padding")
    net.output(net.conv(bn(x), 7, 1, bias=False), "before_1x1")
    net.output(net.conv(net.relu(bn(x)), 7, 3, 2), "pre_activation")
    net.output(bn(net.conv(x, 6, 3, group=6)), "depthwise")
    net.output(bn(net.conv(x, 12, 3, group=3, bias=False)), "grouped")
    net.output(bn(net.concat(y, x)), "concat")
    net.output(bn(net.pool(x, "Max", 2)), "pool")
    net.output(bn(net.op("Add", net.conv(x, 7, 1), y)), "sum")
    net.output(bn(net.gap(x)), "mean")
    net.output(bn(net.dense(net.op("Flatten", x), 120, 9), c=9), "gemm")
    net.output(bn(net.op("MatMul", net.op("Flatten", x), net.init(net.numbers(120, 8, dev=0.1))), c=8), "matmul")
    flat = net.reshape(x, 0, 6, 20)
    net.output(bn(flat, c=6), "rank_3")
    net.output(bn(net.op("Mul", net.conv(x, 7, 1), net.init(net.numbers(7, 1, 1)))), "scaled")
    p = [net.init(np.full(6, v, np.float32)) for v in (-1.5, 0.1, 0.2, 0.0)]
    net.output(net.relu(net.op("BatchNormalization", x, *p, epsilon=0.01)), "variance_0")


@family(12)
def siblings(net):
    """1x1 convolutions on one input: alike, with other strides, biases, groups, activations and readers."""
    x = net.relu(net.conv(net.input(4, 6, 5), 20, 3))
    a, b, c = net.conv(x, 5, 1), net.conv(x, 16, 1, bias=False), net.conv(x, 3, 1)
    net.output(net.concat(net.relu(a), net.clip(b, 0, 1), c), "plain")
    s, t = net.conv(x, 7, 1, 2), net.conv(x, 9, 1, 2)
    net.output(net.op("Mul", net.relu(s), net.conv(t, 7, 1)), "strided")
    net.output(net.conv(x, 6, 1, group=2), "grouped")
    net.output(net.conv(x, 2, 1, pad=1), "padded")
    net.output(net.concat(net.cbr(x, 6, 1), net.cbr(net.cbr(x, 4, 1), 6, 3), net.cbr(net.cbr(x, 4, 1), 6, 5),
                          net.conv(net.pool(x, "Max", 3, 1, 1), 6, 1)), "cell")
    y = net.conv(x, 20, 1)
    net.output(net.relu(net.op("Add", y, x)), "residual")
    net.output(net.op("Sub", y, net.op("Sigmoid", net.conv(x, 20, 1))), "pair")
    p = net.gap(x)
    net.output(net.op("Add", net.conv(p, 8, 1), net.relu(net.conv(p, 8, 1))), "pooled")


@family(11)
def concats(net):
    """Parts that are read elsewhere, come twice, are outputs or inputs, are concatenations; every axis."""
    x = net.input(5, 6, 4)
    a, b = net.relu(net.conv(x, 16, 3)), net.conv(x, 7, 1)
    net.output(net.concat(a, a), "twice")
    net.output(net.relu(net.concat(b, x, a)), "with_input")
    c = net.concat(a, b)
    net.output(net.conv(net.concat(c, b, c), 3, 1), "nested")
    d = net.concat(x, c, net.pool(x, "Average", 3, 1, 1))
    net.output(d, "an_output")
    net.output(net.op("Add", net.conv(d, 7, 3), b), "read_by_others")
    net.output(net.concat(a, net.conv(x, 16, 1), axis=2), "rows")
    net.output(net.conv(net.concat(b, b, axis=3, c=7), 4, 3), "columns")
    net.output(net.concat(net.gap(a), net.op("GlobalMaxPool", a)), "pools")
    net.output(net.dense(net.concat(net.op("Flatten", a), net.op("Flatten", b)), 23 * 24, 5), "flat")
    k = net.init(net.numbers(1, 2, 6, 4))
    net.output(net.concat(net.slice(a, [3], [9], [1], c=6), net.slice(b, [1], [100], [1], c=6)), "slices")
    one = net.op("Expand", k, net.op("Concat", net.slice(net.op("Shape", x), [0], [1]), net.ints(2, 6, 4), axis=0), c=2)
    net.output(net.conv(net.concat(x, one), 4, 3), "constant")
    net.output(net.op("Concat", net.reshape(b, 0, 7, 24), net.reshape(x, 0, 5, 24), axis=1), "rank_3")


@family(10, 13)
def transposes(net):
    """NHWC in the middle: broadcast constants, splits, pads, reductions, products, outputs, a mix with NCHW."""
    x = net.relu(net.conv(net.input(3, 6, 5), 8, 3))
    to, back = lambda v: net.transpose(v, 0, 2, 3, 1), lambda v: net.transpose(v, 0, 3, 1, 2, c=8)
    h = to(x)
    net.output(back(net.op("Add", h, net.init(net.numbers(8)))), "channel")
    net.output(back(net.op("Mul", h, net.init(net.numbers(5, 1)))), "column")
    net.output(net.conv(back(net.op("Sub", h, net.init(net.numbers(6, 1, 1)))), 4, 3), "row")
    net.output(net.relu(h), "an_output")
    net.output(net.op("Add", back(net.relu(h)), x), "met")
    net.output(net.reduce_mean(h, 1, 2), "mean")
    net.output(net.reduce_mean(h, -1, keepdims=0), "mean_of_channels")
    net.output(net.reduce_sum(net.op("Mul", h, h), 1, 2, keepdims=0), "sum")
    net.output(net.softmax(h, 3), "softmax")
    a, b = net.split(h, 3, 5, axis=3)
    net.output(back(net.concat(b, net.relu(a), axis=3)), "split")
    net.output(net.conv(back(net.pad(h, [0, 1, 2, 0], [0, 0, 1, 0], channels=3)), 4, 3, 1, 0), "pad")
    net.output(net.conv(back(net.slice(h, [1, 0], [5, 4], [1, 2])), 4, 3), "slice")
    net.output(net.reshape(h, 0, -1, 8), "tokens")
    net.output(net.op("MatMul", h, net.init(net.numbers(8, 6, dev=0.4))), "dense")
    net.output(net.op("Flatten", h), "flat")
    net.output(net.transpose(x, 0, 1, 3, 2), "swapped")
    net.output(net.transpose(net.transpose(x, 0, 3, 2, 1), 0, 3, 1, 2), "crooked")
    net.output(net.conv(net.transpose(net.transpose(x, 0, 2, 1, 3), 0, 2, 1, 3, c=8), 3, 1), "undone")
    pooled = net.reduce_mean(h, 1, 2, keepdims=0)
    gate = net.op("Sigmoid", net.op("MatMul", pooled, net.init(net.numbers(8, 8, dev=0.4))))
    net.output(back(net.op("Mul", h, net.reshape(gate, -1, 1, 1, 8))), "gate")


@family(8, 12)
def pointless(net):
    """Nodes that do nothing, alone as outputs and between others."""
    x = net.conv(net.input(3, 3, 4), 6, 3)
    forms = {
        "identity": lambda v: net.op("Identity", v), "sum": lambda v: net.op("Sum", v),
        "max": lambda v: net.op("Max", v),
        "concat": lambda v: net.concat(v), "split": lambda v: net.split(v, 6), "clip": lambda v: net.clip(v),
        "dropout": lambda v: net.dropout(v), "pad": lambda v: net.pad(v, [0] * 4, [0] * 4),
        "reshape": lambda v: net.reshape(v, 0, 6, 3, 4), "transpose": lambda v: net.transpose(v, 0, 1, 2, 3),
        "pool": lambda v: net.pool(v, "Max", 1), "slice": lambda v: net.slice(v, [0], [6], [1]),
        "times_1": lambda v: net.op("Mul", v, net.scalar(1)), "plus_0": lambda v: net.op("Add", net.scalar(0), v, c=6),
        "minus_0": lambda v: net.op("Sub", v, net.init(np.zeros((1, 6, 1, 1), np.float32))),
        "by_1": lambda v: net.op("Div", v, net.init(np.ones((6, 1, 1), np.float32))),
        "power_1": lambda v: net.op("Pow", v, net.scalar(1)), "cast": lambda v: net.op("Cast", v, to=1),
        "relu_twice": lambda v: net.relu(net.relu(v)), "expand": lambda v: net.op("Expand", v, net.ints(1, 6, 1, 1)),
        "axes": lambda v: net.squeeze(net.unsqueeze(v, 1), 1), "average": lambda v: net.pool(v, "Average", 1, 1),
    }
    y = x
    for name, form in forms.items():
        v = form(x)
        net.output(v[0] if isinstance(v, list) else v, name)
        y = form(y)
        y = y[0] if isinstance(y, list) else y
        net.c[y] = 6
    net.output(net.conv(y, 4, 3), "all")
    net.output(net.op("Mul", x, net.scalar(0)), "times_0")
    net.output(net.op("Add", x, net.init(net.numbers(2, 1, 1, 1, 1))), "rank_5")


@family(13)
def slices(net):
    """Parts of blocked tensors that start inside a block, steps, splits of any axis, gathers."""
    x = net.relu(net.conv(net.input(3, 7, 6), 37, 3))
    net.output(net.conv(net.slice(x, [5], [29], [1], c=24), 3, 3), "channels")
    net.output(net.slice(x, [16], [32], [1], c=16), "block")
    net.output(net.conv(net.slice(x, [1], [37], [1], [3], c=12), 3, 1), "channel_steps")
    net.output(net.slice(x, [-1], [-(2**31)], [1], [-4]), "backwards")
    net.output(net.conv(net.slice(x, [1, 1], [6, 2**31 - 1], [2, 3], [2, 2]), 4, 1), "cells")
    a, b, c = net.split(x, 16, 16, 5)
    net.output(net.op("Add", net.relu(net.op("Mul", a, b)), net.conv(c, 16, 1)), "split")
    a, b, c = net.split(x, 3, 17, 17)
    net.output(net.concat(net.op("Sub", b, c), a), "uneven")
    top, bottom = net.op("Split", x, net.ints(3, 4), outs=2, axis=2)
    net.output(net.conv(net.concat(bottom, top, axis=2, c=37), 4, 3), "rows")
    net.output(net.conv(net.op("Gather", x, net.ints(36, 0, 17, 17), axis=1, c=4), 2, 1), "gathered")
    net.output(net.op("Gather", x, net.init(np.array(-1, np.int64)), axis=3), "last_column")
    net.output(net.op("Gather", x, net.init(np.array([[0, 1], [2, 5]], np.int64)), axis=3), "gathered_2d")


@family(11)
def skips(net):
    """Values that live long, in many sizes: what the memory plan has to get right."""
    x = net.input(3, 16, 16)
    kept, y = [], net.conv(x, 9, 3)
    for i, out in enumerate((9, 20, 5, 33)):
        kept.append(y)
        y = net.relu(net.conv(y, out, 3, 2 if i % 2 else 1))
        y = net.op("Add", y, net.op("Sigmoid", net.conv(y, out, 1)))
    heads = [net.dense(net.op("Flatten", net.gap(k)), net.c[k], 4) for k in kept]
    net.output(net.op("Sum", *heads, net.dense(net.op("Flatten", net.gap(y)), 33, 4)), "heads")
    up = net.pool(kept[0], "Average", 4, 4)
    net.output(net.concat(up, y, net.pool(kept[2], "Max", 2, 2)), "merged")
    net.output(net.op("Sub", net.conv(x, 3, 3), x), "first_input")
