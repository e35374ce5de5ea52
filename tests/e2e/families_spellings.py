"""Every spelling of the operators: opsets, activations, broadcasts, windows, pads, products, reductions."""
import numpy as np

from families_net import family


@family(*range(7, 23))
def opset(net):
    """What changed its signature between opsets, one output each."""
    x = net.relu(net.conv(net.input(5, 5, 6), 6, 3))
    norm = net.batch_norm(x)
    net.output(net.squeeze(net.reduce_mean(norm, 2), 2), "mean_squeezed")
    net.output(net.reduce_sum(norm, -1, 1, keepdims=0), "sum")
    net.output(net.unsqueeze(net.reduce_mean(x, 2, 3, keepdims=0), 1, -1), "unsqueezed")
    net.output(net.slice(norm, [1, -3], [4, 2**31 - 1], [1, 2]), "sliced")
    net.output(net.slice(norm, [0, 2], [2**31 - 1, -1]), "sliced_without_axes")
    if net.opset >= 10:
        net.output(net.slice(norm, [-1, 4], [-100, 0], [2, 3], [-2, -1]), "sliced_backwards")
    net.output(net.pad(norm, [0, 1, 0, 2], [0, 0, 3, 1], value=0.5), "padded")
    net.output(net.clip(norm, -0.3, 0.7), "clipped")
    net.output(net.clip(norm, low=-0.1), "clipped_below")
    net.output(net.clip(norm, high=0.2), "clipped_above")
    a, b, c = net.split(net.dropout(norm), 1, 3, 2)
    net.output(net.concat(c, a, b), "split")
    halves = net.op("Split", norm, outs=2, axis=1, **({"num_outputs": 2} if net.opset >= 18 else {}))
    net.output(net.op("Sub", *halves), "halves")
    net.output(net.softmax(norm), "softmax")
    net.output(net.softmax(norm, 2), "softmax_axis")
    net.output(net.softmax(net.reshape(norm, 0, -1), kind="LogSoftmax"), "log_softmax")
    net.output(net.softmax(norm, 1, kind="LogSoftmax"), "log_softmax_axis")
    net.output(net.op("Flatten", norm, axis=2), "flat")
    net.output(net.reshape(norm, 0, 0, -1), "reshaped")
    net.output(net.pool(norm, "Average", 3, 2, 1, count_include_pad=1), "average")
    net.output(net.op("Sum", norm, x, net.gap(x) if net.opset >= 8 else x), "sum_of_three")
    flat = net.reshape(net.gap(x), -1, 6)
    no_bias = [] if net.opset >= 11 else [net.init(np.zeros(4, np.float32))]
    net.output(net.op("Gemm", flat, net.init(net.numbers(6, 4)), *no_bias), "gemm")
    net.output(net.op("Pow", net.op("Add", x, net.scalar(0.1)), net.scalar(1.7)), "pow")


@family(9, 13, 22)
def activations(net):
    """Alone on odd shapes, and behind a convolution that can take them in."""
    x = net.input(7, 3, 5)
    kinds = "LeakyRelu Elu Sigmoid HardSigmoid Tanh Erf Relu Exp Softplus Softsign Abs Neg Selu"
    kinds += " HardSwish" * (net.opset >= 14) + " Gelu Mish" * (net.opset >= 20)
    for kind in kinds.split():
        attrs = {"alpha": 0.2} if kind == "LeakyRelu" else {}
        net.output(net.op(kind, x, **attrs), kind)
        net.output(net.op(kind, net.conv(x, 3, 3, 2), **attrs), kind + "_conv")
    slopes = [net.init(net.numbers(*s, dev=0.3)) for s in ((1,), (7, 1, 1), (7, 3, 5), (5,), (1, 7, 1, 1))]
    for i, s in enumerate(slopes):
        net.output(net.op("PRelu", x, s), f"prelu_{i}")
    positive = net.op("Add", net.op("Mul", x, x), net.scalar(0.5))
    net.output(net.op("Sqrt", positive), "sqrt")
    net.output(net.op("Pow", positive, net.init(net.numbers(7, 1, 1))), "pow")
    net.output(net.op("Log", positive), "log")
    net.output(net.op("Div", x, positive), "div")
    net.output(net.op("Max", x, net.scalar(0.1), net.init(net.numbers(7, 1, 1))), "max")
    net.output(net.op("Min", x, net.init(net.numbers(5))), "min")
    above = net.op("Greater", x, net.scalar(0.3))
    net.output(net.op("Where", above, x, net.init(net.numbers(1, 7, 1, 1))), "where")
    net.output(net.op("Mul", net.op("Cast", above, to=1), x), "masked")
    level = net.op("Cast", net.op("Mul", x, net.scalar(2.0)), to=6)
    same = net.op("Equal", level, net.init(np.array(1, np.int32)))
    net.output(net.op("Where", same, x, net.scalar(0.0)), "equal")
    net.output(net.op("Expand", net.gap(x), net.ints(1, 7, 2, 3)), "expanded")
    net.output(net.op("Gather", x, net.ints(2, 0, -1, 2), axis=1), "gathered")
    for axis in (1, 2, -1) if net.opset >= 13 else (1, 2, 3):
        net.output(net.softmax(x, axis), f"softmax_{axis}")
        net.output(net.softmax(x, axis, kind="LogSoftmax"), f"log_softmax_{axis}")


@family(11)
def broadcasts(net):
    """Either operand of any rank: channels, columns, rows, cells, scalars of rank 0 to 4; pooled values."""
    x = net.conv(net.input(4, 6, 5), 18, 3)
    positive = net.op("Add", net.relu(x), net.scalar(0.5))
    shapes = ((18, 1, 1), (1, 18, 1, 1), (5,), (6, 1), (6, 5), (18, 6, 5), (1,), (), (1, 1, 1, 1), (1, 1, 6, 1))
    for i, kind in enumerate(("Add", "Sub", "Mul", "Div")):
        for k, shape in enumerate(shapes[i::2]):
            c = net.init(net.numbers(*shape, mean=2, dev=0.2))
            d = positive if kind == "Div" else x
            y = net.op(kind, x, c) if k % 2 else net.op(kind, c, d, c=18)
            net.output(net.conv(y, 2, 3, 2), f"{kind}_{k}")
    g = net.gap(x)
    per_row, per_column = net.reduce_mean(x, 3), net.reduce_mean(x, 2)
    net.output(net.conv(net.op("Mul", x, g), 2, 1), "gate")
    net.output(net.op("Add", per_row, per_column), "outer")
    net.output(net.op("Sub", g, x), "from_pool")
    flat = net.reshape(g, 0, -1)
    net.output(net.op("Mul", net.unsqueeze(flat, 2), net.init(net.numbers(1, 1, 3))), "rank_3")


@family(11, 22)
def windows(net):
    """auto_pad, ceil_mode, count_include_pad, dilations, pads of unequal sides, odd channels and sizes."""
    x = net.relu(net.conv(net.input(3, 13, 12), 17, 3))

    def check(y, *what):  # the channels summed with weights: small, and every one counts
        name = "_".join(map(str, what)).replace(" ", "")
        net.output(net.conv(y, 1, 1), name)

    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for k, stride in ((3, 2), (2, 1), ((5, 4), (3, 2))):
            check(net.conv(x, 5, k, stride, auto_pad=mode), "conv", mode, k, stride)
            check(net.conv(x, 17, k, stride, group=17, auto_pad=mode), "depthwise", mode, k, stride)
            check(net.pool(x, "Max", k, stride, auto_pad=mode), "max", mode, k, stride)
            for count in (0, 1):
                y = net.pool(x, "Average", k, stride, auto_pad=mode, count_include_pad=count)
                check(y, "average", count, mode, k, stride)
    for ceil in (0, 1):
        for k, stride, pad in ((3, 2, 0), (3, 2, 1), (2, 3, 0), ((3, 2), (2, 2), [1, 0, 0, 0]), (5, 4, 2)):
            check(net.pool(x, "Max", k, stride, pad, ceil_mode=ceil), "max", ceil, k, stride, pad)
            for count in (0, 1):
                y = net.pool(x, "Average", k, stride, pad, ceil_mode=ceil, count_include_pad=count)
                check(y, "average", count, ceil, k, stride, pad)
    small = net.conv(x, 2, 1)
    for kind in ("Max", "Average"):  # rounded up, the last window would start in the padding: it is dropped
        net.output(net.pool(small, kind, 2, 2, [0, 0, 0, 1], ceil_mode=1), kind + "_dropped")
    check(net.pool(x, "Max", 3, 1, 2, dilations=[2, 2]), "max_dilated")
    check(net.pool(x, "Max", (2, 3), 2, [0, 1, 1, 2], dilations=[3, 2], ceil_mode=1), "max_dilated_ceil")
    if net.opset >= 19:
        check(net.pool(x, "Average", 3, 1, 2, dilations=[2, 2]), "average_dilated")
        check(net.pool(x, "Average", 3, 2, 1, dilations=[2, 2], count_include_pad=1), "average_dilated_count")


@family(11)
def convolutions(net):
    """Kernels, strides, dilations, pads of unequal sides, groups, channel counts that fit no vector."""
    x = net.input(3, 19, 22)

    def check(y, name):  # the channels summed with weights
        net.output(net.conv(y, 1, 1), name)

    for out, k, stride, pad, dilation in (
            (5, 1, 1, 0, 1), (17, (1, 7), 1, None, 1), (30, 3, 2, [0, 1, 2, 1], 1), (58, 3, 1, 2, 2),
            (7, (5, 2), (1, 3), [1, 0, 2, 3], (2, 3)), (16, 11, 4, 2, 1), (33, 6, 3, 0, 1)):
        d = [dilation, dilation] if isinstance(dilation, int) else list(dilation)
        y = net.relu(net.conv(x, out, k, stride, pad, dilations=d))
        check(y, f"conv_{out}")
        net.output(net.conv(y, 3, 1, 4, 0), f"point_{out}")
    x = net.relu(net.conv(x, 30, 3, 2))
    for group, out, k, stride, pad in ((2, 58, 3, 1, None), (3, 3, 3, 2, None), (5, 10, 5, 1, None), (6, 30, 1, 1, 0),
                                       (10, 30, 3, 2, [1, 0, 0, 1]), (15, 15, 3, 1, None), (30, 30, 5, 2, None),
                                       (30, 60, 3, 1, None), (30, 30, (1, 3), 1, None), (30, 30, 7, 3, 3)):
        check(net.conv(x, out, k, stride, pad, group=group), f"group_{group}_{out}_{stride}_{k}".replace(" ", ""))
    check(net.conv(x, 30, 3, 1, 3, group=30, dilations=[3, 3]), "dw_dilated")
    check(net.relu(net.op("Add", net.conv(x, 30, 3), x)), "residual")
    one = net.reshape(x, 0, 30, 110)  # 1-D
    w = net.init(net.numbers(3, 30, 5, dev=0.1))
    net.output(net.op("Conv", one, w, kernel_shape=[5], pads=[2, 1], strides=[2]), "conv_1d")
    one = net.slice(one, [0], [4], [1])
    net.output(net.op("MaxPool", one, kernel_shape=[4], strides=[3], pads=[0, 2]), "max_1d")
    net.output(net.op("AveragePool", one, kernel_shape=[4], strides=[3], pads=[1, 1]), "avg_1d")


@family(9, 13, 19)
def pads(net):
    """All modes, alone and before convolutions and pools; negative pads; every axis."""
    x = net.relu(net.conv(net.input(3, 7, 6), 5, 3))
    for mode in ("reflect", "edge", "constant"):
        y = net.pad(x, [0, 0, 2, 3], [0, 0, 1, 2], mode=mode)
        net.output(y, mode)
        net.output(net.conv(y, 4, 3, 1, 0), "conv_" + mode)
        net.output(net.pool(y, "Max", 3, 2), "max_" + mode)
        net.output(net.pool(y, "Average", 3, 2, 1), "avg_" + mode)
    net.output(net.conv(net.pad(x, [0, 0, 1, 2], [0, 0, 0, 1], value=0.0), 4, 3, 2, 1), "conv_zero")
    net.output(net.conv(net.pad(x, [0, 0, 1, 1], [0, 0, 1, 1], value=0.75), 4, 3, 1, 0), "conv_value")
    net.output(net.conv(net.pad(x, [0, 2, 1, 1], [0, 1, 1, 1]), 4, 3, 1, 0), "conv_channels")
    net.output(net.pool(net.pad(x, [0, 0, 1, 1], [0, 0, 1, 1]), "Max", 3, 2), "max_zero")
    net.output(net.pool(net.pad(x, [0, 0, 1, 1], [0, 0, 1, 1]), "Average", 3, 2), "avg_zero")
    net.output(net.pad(x, [0, 0, -1, -2], [0, 0, 0, -1]), "cropped")
    net.output(net.pad(x, [0, -1, 2, -1], [0, 2, -3, 1], value=-1.0), "mixed")
    net.output(net.pad(net.reshape(x, 0, -1), [0, 3], [0, 2], value=2.0), "rank_2")
    if net.opset >= 18:
        net.output(net.op("Pad", x, net.ints(1, 2, 0, 3), None, net.ints(3, -2), mode="edge"), "axes")


@family(9, 11, 13)
def products(net):
    """Gemm with both transpositions, factors and every shape of C; MatMul of any rank; constants on the left."""
    x = net.relu(net.conv(net.input(3, 4, 5), 6, 3))
    flat = net.op("Flatten", x)
    w, wt = net.init(net.numbers(120, 7, dev=0.1)), net.init(net.numbers(7, 120, dev=0.1))
    for i, shape in enumerate(((7,), (1, 7), (1,), (), (1, 1))):
        c = net.init(net.numbers(*shape))
        net.output(net.op("Gemm", flat, w, c, alpha=0.7, beta=1.3 - 0.3 * i), f"gemm_{i}")
    net.output(net.op("Gemm", flat, wt, net.init(net.numbers(7)), transB=1, alpha=-2.0), "gemm_trans_b")
    net.output(net.op("MatMul", flat, net.init(net.numbers(120, dev=0.1))), "matmul_vector")
    net.output(net.op("MatMul", x, net.init(net.numbers(5, 3))), "matmul_rank_4")
    net.output(net.op("MatMul", net.init(net.numbers(9, 4)), x), "matmul_left")
    tokens = net.transpose(net.reshape(x, 0, 6, 20), 0, 2, 1)  # attention
    keys = net.op("MatMul", tokens, net.init(net.numbers(6, 6, dev=0.4)))
    scores = net.op("MatMul", keys, net.transpose(tokens, 0, 2, 1))
    weights = net.softmax(net.op("Div", scores, net.scalar(6 ** 0.5)), 2)
    net.output(net.op("MatMul", weights, tokens), "attention")
    net.output(net.op("MatMul", net.unsqueeze(tokens, 1), net.init(net.numbers(2, 6, 3))), "matmul_broadcast")
    pooled = net.op("Squeeze", net.gap(x))  # all axes of size 1
    net.output(net.op("MatMul", pooled, net.init(net.numbers(6, 4))), "squeezed")
    columns = net.op("Transpose", pooled)
    net.output(net.op("MatMul", net.init(net.numbers(4, 6)), columns), "classes_first")
    net.output(net.op("Gemm", columns, net.init(net.numbers(6, 4)), net.init(net.numbers(4)), transA=1), "gemm_trans_a")


@family(8, 12, 18)
def reductions(net):
    """Over any axes, all of them, kept or not; of blocked tensors and of plain ones."""
    x = net.conv(net.input(3, 6, 5), 18, 3)
    kinds = "ReduceMean ReduceMax ReduceMin ReduceL2 ReduceSumSquare ReduceLogSumExp ReduceL1".split()
    for i, axes in enumerate(((1,), (2,), (3,), (1, 2), (2, 3), (1, 3), (1, 2, 3))):
        for keep in (0, 1):
            y = net.by_opset(18, kinds[(i + keep) % len(kinds)], x, "axes", axes, keepdims=keep)
            net.output(y, f"axes_{''.join(map(str, axes))}_{keep}")
    net.output(net.op("GlobalMaxPool", x), "largest")
    net.output(net.reduce_sum(net.reduce_mean(x, 3, keepdims=0), 2, keepdims=0), "twice")
    small = net.reshape(x, 0, 3, 6, 5, 6)
    net.output(net.reduce_mean(small, 2, 4, keepdims=0), "groups")
    mean = net.reduce_mean(small, 2, 3, 4)  # group normalization, written out
    d = net.op("Sub", small, mean)
    var = net.reduce_mean(net.op("Mul", d, d), 2, 3, 4)
    y = net.op("Div", d, net.op("Sqrt", net.op("Add", var, net.scalar(1e-5))))
    net.output(net.conv(net.op("Reshape", y, net.ints(0, 18, 6, 5), c=18), 3, 1), "group_norm")


@family(7, 11, 13)
def leftovers(net):
    """Absent inputs, unused outputs, defaults, exponents, Flatten at every axis, BN with a parameter per cell."""
    x = net.input(6, 4, 5)
    w = net.init(net.weight(7, 6, 3, 3))
    net.output(net.op("Conv", x, w, None), "no_bias")
    net.output(net.op("MaxPool", x, kernel_shape=[2, 2]), "stride_1")
    pooled = net.op("MaxPool", x, kernel_shape=[2, 3], strides=[2, 2], outs=2 if net.opset >= 8 else 1)
    net.output(pooled[0] if net.opset >= 8 else pooled, "indices_unused")
    for axis in (0, 1, 2, 3, 4) + ((-1, -3) if net.opset >= 11 else ()):
        net.output(net.op("Flatten", x, axis=axis), f"flat_{axis}")
    positive = net.op("Add", net.op("Abs", x), net.scalar(0.1))
    for i, e in enumerate((2.0, 3.0, 0.5, -1.0, 0.0, 1.5, -0.5)):
        net.output(net.op("Pow", positive, net.scalar(e)), f"power_{i}")
    net.output(net.op("Pow", x, net.scalar(2.0)), "square")
    net.output(net.op("Pow", x, net.scalar(3.0)), "cube")
    if net.opset >= 12:
        net.output(net.op("Pow", x, net.scalar(2, np.int64)), "square_by_int")
        net.output(net.op("Clip", x, None, net.scalar(0.5)), "no_lower_bound")
        net.output(net.op("Dropout", x, None, net.init(np.array(False))), "no_ratio")
    if net.opset < 9:
        p = [net.init(net.numbers(6, 4, 5, mean=m, dev=0.1)) for m in (1, 0, 0, 1)]
        net.output(net.op("BatchNormalization", x, *p, spatial=0), "per_cell")
    net.output(net.op("LRN", x, size=3), "lrn")
    net.output(net.op("LRN", net.conv(x, 19, 1), size=5, alpha=0.5, beta=0.6, bias=2.0), "lrn_odd")
    net.output(net.op("Transpose", net.op("Flatten", x)), "reversed")
    net.output(net.op("Elu", x), "elu")
    net.output(net.op("HardSigmoid", x), "hard_sigmoid")
    net.output(net.op("LeakyRelu", x), "leaky_relu")
