"""ResNet and what grew from it: every kind of shortcut, grouped and squeezed blocks, pre-activation, dense blocks."""
from families_net import family


def stem(net, out=8, size=32):
    x = net.cbr(net.input(3, size, size), out, 7, 2)
    return net.pool(x, "Max", 3, 2, 1)


def basic(net, x, out, stride=1):
    """ResNet v1 basic block with identity or projection shortcut."""
    y = net.cbr(net.cbr(x, out, 3, stride), out, 3, act=None)
    short = x if stride == 1 and net.c[x] == out else net.cbr(x, out, 1, stride, act=None)
    return net.relu(net.op("Add", y, short))


def bottleneck(net, x, mid, out, stride=1, group=1, attend=None, stride_first=False):
    y = net.cbr(x, mid, 1, stride if stride_first else 1)
    y = net.cbr(y, mid, 3, 1 if stride_first else stride, group=group)
    y = attend(net, y) if attend else y
    y = net.cbr(y, out, 1, act=None)
    short = x if stride == 1 and net.c[x] == out else net.cbr(x, out, 1, stride, act=None)
    return net.relu(net.op("Add", short, y))


@family(9, 17)
def resnet_v1(net):
    x = stem(net)
    x = basic(net, basic(net, x, 8), 12, 2)
    x = bottleneck(net, bottleneck(net, x, 6, 24), 6, 24)
    net.classifier(bottleneck(net, x, 10, 40, 2, stride_first=True))


@family(11)
def resnet_d(net):
    """Deep stem, shortcut by average pool and 1x1 projection."""
    x = net.cbr(net.cbr(net.cbr(net.input(3, 34, 30), 6, 3, 2), 6, 3), 12, 3)
    x = net.pool(x, "Max", 3, 2, 1)
    for count_pad in (0, 1):
        y = net.cbr(net.cbr(x, 16, 3, 2), 16, 3, act=None)
        short = net.pool(x, "Average", 2, 2, ceil_mode=1, count_include_pad=count_pad)
        x = net.relu(net.op("Add", y, net.cbr(short, 16, 1, act=None)))
    net.classifier(x)


@family(10, 13)
def resnet_zero_padded(net):
    """CIFAR ResNet, shortcut option A: every second pixel and zero channels, in the spellings in use."""
    x = net.cbr(net.input(3, 32, 32), 8, 3)

    def strided_slice(x):  # x[:, :, ::2, ::2], F.pad of the channels
        y = net.slice(x, [0, 0], [2**31 - 1, 2**31 - 1], [2, 3], [2, 2])
        return net.pad(y, [0, 4, 0, 0], [0, 4, 0, 0])

    def two_slices(x):  # one Slice per axis, pad behind
        y = net.slice(net.slice(x, [0], [2**63 - 1], [2], [2]), [0], [2**63 - 1], [3], [2])
        return net.pad(y, [0, 0, 0, 0], [0, 8, 0, 0], mode="constant", value=0)

    def pool_and_zeros(x):  # 1x1 average pool, Concat with itself times zero
        y = net.pool(x, "Average", 1, 2)
        return net.concat(y, net.op("Mul", y, net.scalar(0)))

    for short in (strided_slice, two_slices, pool_and_zeros):
        y = net.cbr(net.cbr(x, net.c[x] + 8, 3, 2), net.c[x] + 8, 3, act=None)
        s = short(x)
        if net.c[s] != net.c[y]:
            y = net.conv(y, net.c[s], 1)
        x = basic(net, net.relu(net.op("Add", s, y)), net.c[s])
    net.classifier(x)


@family(8, 18)
def resnet_v2(net):
    """Pre-activation; MXNet's normalization of the input (scale fixed at 1), final BN and Relu."""
    x = net.batch_norm(net.input(3, 32, 32), epsilon=2e-5, momentum=0.9)
    x = net.pool(net.cbr(x, 8, 7, 2), "Max", 3, 2, 1)
    for out, stride in ((8, 1), (16, 2), (16, 1)):
        pre = net.relu(net.batch_norm(x, epsilon=2e-5))
        y = net.conv(net.cbr(pre, out, 3, stride), out, 3, bias=False)
        short = x if (net.c[x], stride) == (out, 1) else net.conv(pre, out, 1, stride, bias=False)
        x = net.op("Add", y, short)
    pre = net.relu(net.batch_norm(x))
    y = net.conv(net.cbr(net.cbr(pre, 6, 1), 6, 3, 2), 20, 1, bias=False)
    x = net.op("Add", y, net.pool(net.conv(pre, 20, 1), "Max", 1, 2))  # Keras: shortcut by 1x1 max pool
    x = net.relu(net.batch_norm(x))
    net.output(net.op("Softmax", net.classifier(x)), "prob")


@family(12)
def resnext(net):
    x = stem(net, 16)
    x = bottleneck(net, x, 16, 32, group=4)
    x = bottleneck(net, x, 64, 32, 2, group=4)
    net.classifier(bottleneck(net, x, 24, 40, group=24))


def squeeze_excite(mid, gate="Sigmoid", axes=None, **gate_attrs):
    """Pooled by GlobalAveragePool, or by ReduceMean over the axes."""
    def attend(net, x):
        s = net.reduce_mean(x, *axes) if axes else net.gap(x)
        s = net.relu(net.conv(s, mid, 1))
        return net.op("Mul", x, net.op(gate, net.conv(s, net.c[x], 1), **gate_attrs))
    return attend


def squeeze_excite_dense(net, x, mid=4):
    """SENet in Caffe and Keras: fully connected layers and a reshape back."""
    c = net.c[x]
    s = net.op("Flatten", net.gap(x))
    s = net.op("Sigmoid", net.dense(net.relu(net.dense(s, c, mid)), mid, c))
    return net.op("Mul", x, net.unsqueeze(s, 2, 3), c=c)


@family(13)
def regnet(net):
    """RegNetX and RegNetY blocks with groups of 8 channels, SE on the wide part."""
    x = net.cbr(net.input(3, 32, 32), 8, 3, 2)
    x = bottleneck(net, x, 16, 16, 2, group=2)
    x = bottleneck(net, x, 24, 24, 2, group=3, attend=squeeze_excite(4, axes=(2, 3)))
    net.classifier(bottleneck(net, x, 24, 24, group=3, attend=squeeze_excite(6, axes=(-1, -2))))


@family(9)
def senet(net):
    x = stem(net, 8)
    x = bottleneck(net, x, 8, 20, attend=squeeze_excite_dense)
    net.classifier(bottleneck(net, x, 12, 20, 2, attend=lambda n, y: squeeze_excite_dense(n, y, 3)))


@family(7, 14)
def densenet(net):
    """Growth 5: every channel count is odd."""
    x = net.pool(net.cbr(net.input(3, 40, 40), 10, 7, 2), "Max", 3, 2, 1)
    for last in (False, True):
        for _ in range(3):
            y = net.conv(net.relu(net.batch_norm(x)), 12, 1, bias=False)
            y = net.conv(net.relu(net.batch_norm(y)), 5, 3, bias=False)
            x = net.concat(x, y)
        x = net.relu(net.batch_norm(x))
        if not last:
            x = net.pool(net.conv(x, net.c[x] // 2, 1, bias=False), "Average", 2)
    net.classifier(x)


@family(15)
def densenet_bottleneck_concat(net):
    """DenseNet as memory-saving exporters write it: one Concat of all features before each layer."""
    features = [net.relu(net.conv(net.input(3, 8, 7), 7, 3))]
    for _ in range(4):
        x = net.concat(*features) if len(features) > 1 else features[0]
        features.append(net.conv(net.relu(net.batch_norm(x)), 3, 3))
    net.output(net.concat(*features), "features")
