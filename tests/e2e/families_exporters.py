"""What other exporters write: TensorFlow (NHWC), Caffe, PyTorch's chains of shapes, Keras, MXNet."""
import math

import numpy as np

from families_net import family

NCHW, NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


# ---------------------------------------------------------------- TensorFlow through tf2onnx

def tf_head(net, x, c, classes=10):
    """Logits and softmax of pooled features [N, c]: MatMul, Add. With TensorFlow's names."""
    y = net.op("MatMul", x, net.init(net.numbers(c, classes, dev=1 / math.sqrt(c))))
    logits = net.output(net.op("Add", y, net.init(net.numbers(classes))), "StatefulPartitionedCall/net/dense/BiasAdd:0")
    net.output(net.softmax(logits, None if net.opset < 13 else -1), "Identity:0")


@family(8, 13)
def tf_resnet(net):
    """Optimized: one Transpose at the begin, SAME as auto_pad, biases as Add, BN kept; Squeeze of the pooled."""
    def conv(x, out, k, stride=1, bias=False):
        y = net.conv(x, out, k, stride, bias=False, auto_pad="SAME_UPPER")
        return net.op("Add", y, net.init(net.numbers(1, out, 1, 1))) if bias else net.batch_norm(y, epsilon=1e-3)

    x = net.transpose(net.input(33, 33, 3, name="input_1:0", channels=3), *NCHW)
    x = net.relu(conv(x, 8, 7, 2))
    x = net.pool(x, "Max", 3, 2, auto_pad="SAME_UPPER")
    for out, stride in ((8, 1), (14, 2)):
        y = conv(net.relu(conv(x, out, 3, stride)), out, 3)
        short = x if stride == 1 else conv(x, out, 1, 2, bias=True)
        x = net.relu(net.op("Add", y, short))
    x = net.pool(x, "Average", 3, 2, auto_pad="SAME_LOWER")
    tf_head(net, net.squeeze(net.reduce_mean(x, 2, 3), 2, 3), 14)


@family(10, 15)
def tf_nhwc(net):
    """Not optimized: transposes around every convolution and pool, everything else in NHWC; weights are HWIO."""
    def conv(x, out, k, stride=1, pad="SAME_UPPER", bias=True):
        y = net.transpose(x, *NCHW, c=net.c[x])
        w = net.init(np.ascontiguousarray(net.weight(out, net.c[x], k, k).transpose(2, 3, 1, 0)))
        y = net.op("Conv", y, net.transpose(w, 3, 2, 0, 1), auto_pad=pad, strides=[stride, stride], c=out)
        y = net.transpose(y, *NHWC)
        return net.op("Add", y, net.init(net.numbers(out, dev=0.2))) if bias else y

    def depthwise(x, stride):  # weights [H,W,C,1], as tf2onnx reshapes them
        c = net.c[x]
        w = net.init(net.numbers(3, 3, c, 1, dev=0.4))
        w = net.reshape(net.transpose(w, 3, 2, 0, 1), c, 1, 3, 3)
        y = net.op("Conv", net.transpose(x, *NCHW, c=c), w, group=c, strides=[stride, stride], auto_pad="SAME_UPPER")
        return net.transpose(y, *NHWC)

    def batch_norm(x):  # as Mul and Add of [C], whose values nodes compute
        gamma, beta, mean, var = (net.init(net.numbers(net.c[x], mean=m, dev=0.1)) for m in (1, 0, 0, 1))
        scale = net.op("Mul", gamma, net.op("Reciprocal", net.op("Sqrt", net.op("Add", var, net.scalar(0.001)))))
        shift = net.op("Sub", beta, net.op("Mul", mean, scale))
        return net.op("Add", net.op("Mul", x, scale), shift)

    def pool(x, kind, k, stride, **attrs):
        return net.transpose(net.pool(net.transpose(x, *NCHW), kind, k, stride, **attrs), *NHWC)

    six = lambda x: net.op("Min", net.relu(x), net.scalar(6.0))
    x = net.input(32, 30, 3, channels=3)
    x = net.op("Sub", net.op("Mul", x, net.scalar(2.0)), net.init(np.array([0.1, 0.2, 0.3], np.float32)))
    x = net.pad(x, [0, 3, 3, 0], [0, 3, 3, 0], channels=3)
    x = six(batch_norm(conv(x, 10, 7, 2, "VALID", bias=False)))
    y = six(batch_norm(depthwise(x, 1)))
    x = net.concat(conv(y, 7, 1), pool(x, "Average", 3, 1, auto_pad="SAME_UPPER"), axis=3)
    x = net.pad(x, [0, 0, 0, 0], [0, 1, 1, 0], channels=3)
    x = pool(x, "Max", 3, 2, auto_pad="VALID")
    y = net.relu(net.op("Add", x, batch_norm(conv(x, 17, 3))))
    parts = net.split(y, 8, 9, axis=3)
    y = net.concat(net.relu(conv(parts[1], 6, 1)), parts[0], axis=-1)
    y = six(batch_norm(depthwise(y, 2)))
    tf_head(net, net.reduce_mean(y, 1, 2, keepdims=0), 14)


@family(9, 13)
def tf_mobilenet(net):
    """Asymmetric zero padding before VALID depthwise convolutions; the flatten through Shape, Cast, Slice, Concat."""
    x = net.transpose(net.input(32, 32, 3, channels=3), *NCHW)
    x = net.pad(x, [0, 0, 0, 0], [0, 0, 1, 1])
    x = net.clip(net.batch_norm(net.conv(x, 8, 3, 2, 0, bias=False)), 0, 6)
    for out, stride in ((12, 1), (16, 2)):
        y = net.pad(x, [0, 0, 0, 0], [0, 0, 1, 1]) if stride == 2 else x
        y = net.conv(y, net.c[x], 3, stride, 0 if stride == 2 else 1, group=net.c[x], bias=False)
        y = net.clip(net.batch_norm(y), 0, 6)
        x = net.clip(net.batch_norm(net.conv(y, out, 1, bias=False)), 0, 6)
    x = net.conv(net.gap(x), 11, 1)
    x = net.transpose(x, *NHWC)
    shape = net.op("Cast", net.op("Shape", x), to=6)
    first = net.squeeze(net.slice(shape, [0], [1], [0]), 0)
    parts = [net.unsqueeze(first, 0), net.init(np.array([11], np.int32))]
    target = net.op("Cast", net.op("Concat", *parts, axis=0), to=7)
    net.output(net.op("Reshape", x, target), "logits")
    net.output(net.softmax(net.squeeze(x, 1, 2), None if net.opset < 13 else -1), "prob")


# ---------------------------------------------------------------- Caffe

OLD_BATCH_NORM = {"is_test": 1, "consumed_inputs": [0, 0, 0, 1, 1]}


def without_old_attributes(model):
    """ONNX Runtime refuses attributes that the opset no longer has."""
    for node in model.graph.node:
        for attr in [a for a in node.attribute if a.name in OLD_BATCH_NORM]:
            node.attribute.remove(attr)
    return model


@family(7, 8, reference=without_old_attributes)
def caffe(net):
    """BatchNorm and Scale as two layers, Eltwise sum and max, pools that round up, masks of Dropout, Reshape."""
    def layer(x, out, k, stride=1):
        y = net.conv(x, out, k, stride, bias=False)
        y = net.batch_norm(y, spatial=1, momentum=0.999, epsilon=1e-5, **OLD_BATCH_NORM)
        y = net.op("Mul", y, net.init(net.numbers(out, 1, 1, mean=1, dev=0.2)))
        return net.op("Add", y, net.init(net.numbers(out, 1, 1, dev=0.2)))

    x = net.relu(layer(net.input(3, 36, 36), 10, 5, 2))
    x = net.pool(x, "Max", 3, 2, [0, 0, 1, 1])
    a, b, c = layer(x, 10, 3), layer(x, 10, 1), layer(x, 10, 3)
    x = net.relu(net.op("Sum", a, b, c, x))
    x = net.op("Max", layer(x, 12, 1), layer(x, 12, 3), layer(x, 12, 1))  # maxout
    x = net.op("LRN", x, size=3, alpha=0.5, beta=0.5)
    x = net.op("Sum", net.pool(x, "Average", 3, 2, [0, 0, 1, 1]), net.pool(x, "Max", 3, 2, [0, 0, 1, 1]))
    x = net.dropout(x, 0.5, mask=True)
    x = net.reshape(x, 0, -1)
    x = net.dropout(net.relu(net.dense(x, 12 * 16, 20)), mask=True)
    w = net.init(net.numbers(20, 10, dev=0.3))
    y = net.op("Gemm", x, w, net.init(net.numbers(1, 10)), alpha=0.5, beta=2.0)
    net.output(net.op("Flatten", y, axis=1), "logits")
    net.output(net.op("Softmax", y, axis=1), "prob")


# ---------------------------------------------------------------- PyTorch

@family(9, 12, 17)
def pytorch_flatten(net):
    """x.view(x.size(0), -1), x.flatten(1), x.mean([2, 3]), F.pad with computed pads, chunk, interleaving by shapes."""
    x = net.relu(net.conv(net.input(3, 17, 17), 6, 3, 2))
    size = lambda i: net.op("Gather", net.op("Shape", x), net.constant(np.array(i, np.int64)), axis=0)
    one = lambda v: net.unsqueeze(v, 0)
    a = net.op("Reshape", x, net.op("Concat", one(size(0)), net.ints(-1), axis=0))
    rest = net.op("Mul", net.op("Mul", size(1), size(2)), size(3))
    b = net.op("Reshape", x, net.op("Concat", one(size(0)), one(rest), axis=0))
    net.output(net.dense(net.op("Add", a, b), 6 * 81, 5), "flat")
    # x.view(n, c, h * w).mean(2), with the sizes by Slice
    shape = net.op("Shape", x)
    head = net.slice(shape, [0], [2], [0])
    y = net.reduce_mean(net.op("Reshape", x, net.op("Concat", head, net.ints(-1), axis=0)), 2, keepdims=0)
    net.output(net.dense(y, 6, 5), "mean")
    if net.opset >= 11:  # F.pad(x, (1, 2, 0, 1)): the pads reversed into ONNX's order by shape arithmetic
        torch_pads = net.ints(1, 2, 0, 1)
        missing = net.op("Sub", net.op("Mul", net.op("Size", net.op("Shape", x)), net.ints(2)),
                         net.op("Size", torch_pads))
        zeros = net.op("ConstantOfShape", missing, value=tensor_of(0))
        every = net.op("Cast", net.op("Concat", torch_pads, zeros, axis=0), to=7)
        flip = net.slice(net.reshape(every, -1, 2), [-1], [-2**63 + 1], [0], [-1])
        pads = net.op("Cast", net.reshape(net.transpose(flip, 1, 0), -1), to=7)
        p = net.op("Pad", x, pads, net.scalar(0.0), mode="constant", c=6)
        net.output(net.conv(p, 4, 3, 2, 0), "padded")
    # expand_as, repeat and zeros_like of computed shapes
    g = net.gap(x)
    e = net.op("Expand", g, net.op("Shape", x))
    z = net.op("ConstantOfShape", net.op("Shape", x))
    net.output(net.op("GlobalMaxPool", net.op("Max", net.op("Sub", x, e), z)), "above_mean")
    # torch.where on shapes, as torch.expand is exported
    want = net.ints(-1, 6, 9, 9)
    ones = net.op("ConstantOfShape", net.ints(4), value=tensor_of(1))
    target = net.op("Where", net.op("Equal", want, net.op("Mul", ones, net.ints(-1))), ones, want)
    net.output(net.reduce_sum(net.op("Mul", net.op("Expand", g, target), x), 2, 3), "expanded")


@family(15, 19)
def pytorch_dynamo(net):
    """Shape with start and end, allowzero, Constant's short forms, sizes through float."""
    x = net.relu(net.conv(net.input(3, 12, 10), 12, 3))
    batch = net.op("Shape", x, start=0, end=1)
    a = net.op("Reshape", x, net.op("Concat", batch, net.op("Constant", value_ints=[-1]), axis=0), allowzero=1)
    net.output(net.dense(a, 1440, 5), "flat")
    tail = net.op("Shape", x, start=-2)
    y = net.op("Reshape", x, net.op("Concat", batch, net.ints(2, 6), tail, axis=0))
    y = net.transpose(y, 0, 2, 1, 3, 4)
    channels = net.op("Gather", net.op("Shape", x), net.op("Constant", value_int=1))
    half = net.op("Floor", net.op("Div", net.op("Cast", channels, to=1), net.op("Constant", value_float=2.0)))
    half = net.unsqueeze(net.op("Cast", half, to=7), 0)
    target = net.op("Concat", batch, net.op("Mul", half, net.ints(2)), tail, axis=0)
    y = net.op("Reshape", y, target, c=12)
    net.output(net.conv(y, 4, 3, 2), "shuffled")
    count = net.op("ReduceProd", net.op("Shape", y, start=1), keepdims=1) if net.opset < 18 else \
        net.op("ReduceProd", net.op("Shape", y, start=1), net.ints(0), keepdims=1)
    net.output(net.dense(net.op("Reshape", y, net.op("Concat", batch, count, axis=0)), 1440, 5), "product")
    g = net.gap(y)
    same = net.op("Max", net.op("Shape", g), net.ints(1))
    net.output(net.op("Mul", net.op("Reshape", g, same, c=12), y), "gate")
    net.output(net.op("Add", x, net.op("Constant", value_floats=[float(i) for i in range(10)])), "ramp")


def tensor_of(v):
    from onnx import numpy_helper
    return numpy_helper.from_array(np.array([v], np.int64))


# ---------------------------------------------------------------- Keras and MXNet

@family(11, 18)
def keras(net):
    """ZeroPadding2D, separable convolutions, LeakyRelu, PRelu with shared axes and without, Flatten of NHWC."""
    x = net.transpose(net.input(28, 28, 1, channels=1), *NCHW)
    x = net.pad(x, [0, 0, 1, 1], [0, 0, 1, 1], mode="constant")
    x = net.op("LeakyRelu", net.conv(x, 7, 3, 2, 0), alpha=0.3)
    x = net.conv(net.conv(x, 7, 3, group=7, bias=False), 13, 1)
    x = net.op("PRelu", x, net.init(net.numbers(13, 1, 1, dev=0.3)))
    x = net.op("Elu", net.batch_norm(net.conv(x, 13, 3, 1, dilations=[2, 2], pad=2)), alpha=0.7)
    x = net.pool(x, "Average", 2, 2)
    x = net.op("PRelu", net.transpose(x, *NHWC), net.init(net.numbers(7, 7, 13, dev=0.3)))  # a slope per cell
    x = net.op("Selu", net.transpose(x, *NCHW, c=13))
    x = net.op("Tanh", net.conv(x, 16, 1))
    y = net.reshape(net.transpose(x, *NHWC), -1, 7 * 7 * 16)  # Flatten of channels_last
    y = net.op("Add", net.op("MatMul", y, net.init(net.numbers(784, 10, dev=0.05))), net.init(net.numbers(10)))
    net.output(y, "logits")
    net.output(net.op("Sigmoid", y), "prob")


@family(8, 13)
def mxnet(net):
    """Mean and deviation inside the graph, PRelu, BN of rank 2, FullyConnected, an embedding of length 1."""
    mean, dev = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in ((0.48, 0.45, 0.4), (0.22, 0.23, 0.24)))
    x = net.op("Div", net.op("Sub", net.input(3, 28, 28), net.init(mean)), net.init(dev))
    x = net.op("PRelu", net.batch_norm(net.conv(x, 10, 3, 1, bias=False)), net.init(net.numbers(10, 1, 1, dev=0.2)))
    y = net.batch_norm(net.conv(x, 10, 3, bias=False))
    y = net.op("PRelu", net.op("Add", y, x), net.init(np.array([0.25], np.float32)))
    y = net.pool(y, "Average", 2, 2, count_include_pad=1)
    y = net.batch_norm(net.conv(y, 12, 3, 2))
    w, b = net.init(net.numbers(9, 12 * 49, dev=0.05)), net.init(net.numbers(9))
    y = net.op("Gemm", net.op("Flatten", y), w, b, transB=1)
    y = net.op("BatchNormalization", y, *[net.init(v) for v in (np.ones(9, np.float32), net.numbers(9),
               net.numbers(9), np.abs(net.numbers(9)) + 1)], epsilon=2e-5)  # of rank 2
    norm = net.op("Sqrt", net.reduce_sum(net.op("Mul", y, y), 1))  # embedding of length 1
    net.output(net.op("Div", y, norm), "embedding")
