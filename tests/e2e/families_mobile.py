"""MobileNet v1 to v3, MnasNet, EfficientNet, ShuffleNet: depthwise and grouped convolutions, gates, shuffles."""
import numpy as np

from families_net import family
from families_resnet import squeeze_excite


def depthwise(net, x, k=3, stride=1, act="Relu6"):
    return net.cbr(x, net.c[x], k, stride, group=net.c[x], act=act)


@family(7, 11)
def mobilenet_v1(net):
    x = net.cbr(net.input(3, 32, 32), 9, 3, 2, act="Relu6")
    for out, stride in ((17, 1), (20, 2), (33, 1)):
        x = net.cbr(depthwise(net, x, stride=stride), out, 1, act="Relu6")
    net.classifier(x)


@family(9, 12)
def mobilenet_v2(net):
    """Inverted residuals with linear ends; relu6 as Clip with attributes, inputs, Constant nodes, Min of Relu."""
    relu6 = [lambda y: net.clip(y, 0, 6), lambda y: net.op("Min", net.relu(y), net.scalar(6.0))]
    if net.opset >= 11:
        relu6.append(lambda y: net.op("Clip", y, net.constant(np.float32(0)), net.constant(np.float32(6))))
    else:
        relu6.append(lambda y: net.op("Min", net.op("Max", y, net.scalar(0.0)), net.scalar(6.0)))
    x = relu6[0](net.conv(net.input(3, 32, 32), 8, 3, 2))
    for i, (out, stride) in enumerate(((6, 1), (10, 2), (10, 1), (16, 2))):
        act = relu6[i % len(relu6)]
        y = act(net.cbr(x, net.c[x] * 3, 1, act=None))
        y = act(net.cbr(y, net.c[y], 3, stride, group=net.c[y], act=None))
        y = net.cbr(y, out, 1, act=None)
        x = net.op("Add", x, y) if (stride, net.c[x]) == (1, out) else y
    net.classifier(net.cbr(x, 40, 1, act="Relu6"))


def hard_swishes(net):
    six, three = net.scalar(6.0), net.scalar(3.0)
    gate = lambda x: net.clip(net.op("Add", x, three), 0, 6)
    forms = [lambda x: net.op("Div", net.op("Mul", x, gate(x)), six),
             lambda x: net.op("Mul", x, net.op("Div", gate(x), six)),
             lambda x: net.op("Mul", net.op("Mul", gate(x), net.scalar(1 / 6)), x),
             lambda x: net.op("Mul", x, net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))]
    return forms + ([lambda x: net.op("HardSwish", x)] if net.opset >= 14 else [])


@family(10, 14, 22)
def mobilenet_v3(net):
    """Hard swish in all its spellings; SE with HardSigmoid, or relu6(x + 3) / 6."""
    forms = hard_swishes(net)
    hard = squeeze_excite(4, gate="HardSigmoid", alpha=1 / 6, beta=0.5)

    def spelled(net, x):
        s = net.conv(net.relu(net.conv(net.reduce_mean(x, 2, 3), 5, 1)), net.c[x], 1)
        s = net.op("Div", net.clip(net.op("Add", s, net.scalar(3.0)), 0, 6), net.scalar(6.0))
        return net.op("Mul", s, x)

    x = forms[0](net.cbr(net.input(3, 32, 32), 8, 3, 2, act=None))
    blocks = ((3, 8, 1, hard), (5, 12, 2, spelled), (5, 12, 1, None), (3, 12, 1, hard))
    for i, (k, out, stride, attend) in enumerate(blocks):
        act = forms[(i + 1) % len(forms)]
        y = act(net.cbr(x, 20, 1, act=None))
        y = net.cbr(y, 20, k, stride, group=20, act=None)
        y = act(attend(net, y) if attend else y)
        y = net.cbr(y, out, 1, act=None)
        x = net.op("Add", y, x) if (stride, net.c[x]) == (1, out) else y
    y = forms[-1](net.conv(net.gap(forms[1](net.cbr(x, 30, 1, act=None))), 18, 1))
    net.output(net.dense(net.op("Flatten", y), 18, 10), "logits")


def swish(net, x):
    return net.op("Mul", x, net.op("Sigmoid", x))


@family(11, 17)
def efficientnet(net):
    def attend(x, mid):
        s = swish(net, net.conv(net.gap(x) if mid < 4 else net.reduce_mean(x, 2, 3), mid, 1))
        return net.op("Mul", net.op("Sigmoid", net.conv(s, net.c[x], 1)), x)

    x = swish(net, net.cbr(net.input(3, 33, 33), 8, 3, 2, act=None))
    for k, expand, out, stride in ((3, 1, 6, 1), (5, 3, 10, 2), (5, 3, 10, 1), (3, 2, 14, 2)):
        y = swish(net, net.cbr(x, net.c[x] * expand, 1, act=None)) if expand > 1 else x
        y = swish(net, net.cbr(y, net.c[y], k, stride, group=net.c[y], act=None))
        y = net.cbr(attend(y, 3 if expand == 1 else 5), out, 1, act=None)
        x = net.op("Add", y, x) if (stride, net.c[x]) == (1, out) else y
    x = swish(net, net.cbr(x, 32, 1, act=None))
    net.classifier(net.dropout(x, 0.2))


@family(16)
def mnasnet(net):
    """Depthwise 5x5, multiplier 2 on a grouped convolution (depth multiplier of Keras)."""
    x = net.cbr(net.input(3, 30, 30), 6, 3, 2)
    x = net.cbr(x, 12, 3, group=6)
    x = net.cbr(x, 8, 1, act=None)
    y = net.cbr(net.cbr(net.cbr(x, 24, 1), 24, 5, group=24), 8, 1, act=None)
    net.classifier(net.op("Add", y, x))


def shuffle(net, x, groups, h, w, batch=0):
    c = net.c[x]
    y = net.reshape(x, batch, groups, c // groups, h, w)
    y = net.reshape(net.transpose(y, 0, 2, 1, 3, 4), batch, c, h, w)
    net.c[y] = c
    return y


@family(7, 13)
def shufflenet_v1(net):
    """Grouped 1x1, channel shuffle, and the stride 2 unit that concatenates an average pool."""
    x = net.pool(net.cbr(net.input(3, 40, 40), 12, 3, 2), "Max", 3, 2, 1)
    for out, stride, size in ((24, 2, 10), (24, 1, 5)):
        mid = out - net.c[x] if stride == 2 else out
        y = shuffle(net, net.cbr(x, 12, 1, group=3), 3, size, size, 0 if net.opset < 13 else -1)
        y = net.cbr(depthwise(net, y, stride=stride, act=None), mid, 1, group=3, act=None)
        x = net.relu(net.concat(net.pool(x, "Average", 3, 2, 1), y) if stride == 2 else net.op("Add", x, y))
    net.classifier(x)


@family(10, 13, 18)
def shufflenet_v2(net):
    """Branches by Split (attribute, input) and by Slice; torchvision's shuffle through Shape."""
    x = net.pool(net.cbr(net.input(3, 32, 32), 8, 3, 2), "Max", 3, 2, 1)
    x = net.concat(net.cbr(depthwise(net, x, stride=2, act=None), 15, 1),
                   net.cbr(depthwise(net, net.cbr(x, 15, 1), stride=2, act=None), 15, 1))

    def through_shape(x):
        shape = net.op("Shape", x)
        part = lambda i: net.op("Gather", shape, net.constant(np.array([i], np.int64)), axis=0)
        half = net.op("Div", part(1), net.ints(2))
        five = net.op("Concat", part(0), net.ints(2), half, part(2), part(3), axis=0)
        y = net.transpose(net.op("Reshape", x, five), 0, 2, 1, 3, 4)
        return net.op("Reshape", y, net.op("Concat", part(0), net.ints(-1), part(2), part(3), axis=0), c=net.c[x])

    def slices(x):
        return net.slice(x, [0], [15], [1], c=15), net.slice(x, [15], [30], [1], [1], c=15)

    x = through_shape(x)
    for cut, mix in ((lambda x: net.split(x, 15, 15), lambda x: shuffle(net, x, 2, 4, 4)),
                     (slices, through_shape),
                     (lambda x: net.split(x, 11, 19), lambda x: shuffle(net, x, 3, 4, 4, -1))):
        a, b = cut(x)
        b = net.cbr(depthwise(net, net.cbr(b, 14, 1), act=None), net.c[b], 1)
        x = mix(net.concat(a, b))
    x = net.cbr(x, 24, 1)
    net.output(net.dense(net.reduce_mean(x, 2, 3, keepdims=0), 24, 10), "logits")
