"""GoogLeNet, Inception v2 to v4, Inception-ResNet, VGG, AlexNet, SqueezeNet."""
import numpy as np

from families_net import family


def lrn(net, x, size=5, alpha=1e-1, **more):
    return net.op("LRN", x, size=size, alpha=alpha, beta=0.75, **more)


def inception(net, x, c1, c3, c5, pool, conv):
    a = conv(x, c1, 1)
    b = conv(conv(x, c3 // 2, 1), c3, 3)
    c = conv(conv(x, c5 // 2, 1), c5, 5)
    d = conv(net.pool(x, "Max", 3, 1, 1), pool, 1)
    return net.concat(a, b, c, d)


@family(7, 12)
def googlenet(net):
    """BVLC GoogLeNet: LRN, pools that end outside the image, Dropout with its mask, Reshape."""
    plain = lambda x, out, k, stride=1: net.relu(net.conv(x, out, k, stride))
    x = plain(net.input(3, 48, 48), 8, 7, 2)
    x = lrn(net, net.pool(x, "Max", 3, 2, [0, 0, 1, 1]), bias=1.0)
    x = lrn(net, plain(plain(x, 8, 1), 12, 3), size=3)
    x = net.pool(x, "Max", 3, 2, [0, 0, 1, 1])
    x = inception(net, x, 6, 8, 4, 3, plain)
    x = inception(net, x, 5, 10, 6, 4, plain)
    x = net.pool(x, "Average", 6, 1)
    x = net.reshape(net.dropout(x, 0.4, mask=True), 0, -1) if net.opset < 10 else \
        net.op("Flatten", net.dropout(x, 0.4, mask=True))
    logits = net.output(net.dense(x, 25, 10), "logits")
    net.output(net.op("Softmax", logits), "prob")


@family(11)
def googlenet_torchvision(net):
    """transform_input: each channel gathered, scaled, shifted and put back; ceil_mode pools."""
    x = net.input(3, 40, 40)
    planes = []
    for i, (scale, shift) in enumerate(((0.458, -0.03), (0.448, -0.088), (0.45, -0.188))):
        p = net.op("Gather", x, net.init(np.array(i, np.int64)), axis=1, c=1)
        p = net.op("Unsqueeze", p, axes=[1]) if net.opset < 13 else net.unsqueeze(p, 1)
        planes.append(net.op("Add", net.op("Mul", p, net.constant(np.float32(scale))), net.scalar(shift)))
    conv = lambda x, out, k, stride=1: net.cbr(x, out, k, stride)
    x = net.pool(conv(net.concat(*planes), 8, 7, 2), "Max", 3, 2, ceil_mode=1)
    x = net.pool(inception(net, x, 4, 6, 4, 4, conv), "Max", 2, 2, ceil_mode=1)
    x = inception(net, x, 4, 6, 4, 4, conv)
    net.classifier(net.pool(x, "Max", 3, 1, 1, ceil_mode=1))


@family(9)
def inception_v2(net):
    """BN-Inception: Caffe's bias before BN, 5x5 as two 3x3, the cell with stride 2 that passes its input through."""
    def conv(x, out, k, stride=1):
        y = net.batch_norm(net.conv(x, out, k, stride), epsilon=1e-5)
        y = net.op("Add", net.op("Mul", y, net.init(net.numbers(out, 1, 1, mean=1, dev=0.1))),
                   net.init(net.numbers(out, 1, 1)))
        return net.relu(y)

    def double(x, mid, out, stride=1):
        return conv(conv(conv(x, mid, 1), out, 3), out, 3, stride)

    x = net.pool(conv(net.input(3, 40, 40), 8, 7, 2), "Max", 3, 2, [0, 0, 1, 1])
    x = net.concat(conv(x, 6, 1), conv(conv(x, 4, 1), 6, 3), double(x, 5, 7),
                   conv(net.pool(x, "Average", 3, 1, 1, count_include_pad=1), 5, 1))
    x = net.concat(conv(conv(x, 6, 1), 8, 3, 2), double(x, 5, 6, 2), net.pool(x, "Max", 3, 2, [0, 0, 1, 1]))
    x = net.concat(conv(x, 6, 1), conv(conv(x, 4, 1), 6, 3), double(x, 5, 7),
                   conv(net.pool(x, "Max", 3, 1, 1), 5, 1))
    net.classifier(x)


def average(net, x, **attrs):
    return net.pool(x, "Average", 3, 1, 1, **attrs)


@family(10, 16)
def inception_v3(net):
    c = net.cbr
    x = c(c(c(net.input(3, 47, 47), 8, 3, 2, 0), 8, 3, 1, 0), 10, 3)
    x = net.pool(x, "Max", 3, 2)
    x = c(c(x, 10, 1, 1, 0), 12, 3, 1, 0)
    # A
    x = net.concat(c(x, 8, 1), c(c(x, 6, 1), 8, 5), c(c(c(x, 8, 1), 9, 3), 9, 3),
                   c(average(net, x, count_include_pad=1), 4, 1))
    # B: reduction
    x = net.concat(c(x, 12, 3, 2, 0), c(c(c(x, 8, 1), 9, 3), 9, 3, 2, 0), net.pool(x, "Max", 3, 2))
    # C: 1x7 and 7x1
    seven = lambda y, mid, out: c(c(c(y, mid, 1), mid, (1, 7)), out, (7, 1))
    x = net.concat(c(x, 12, 1), seven(x, 8, 12), c(c(seven(x, 8, 8), 8, (1, 7)), 12, (7, 1)),
                   c(average(net, x, count_include_pad=0), 12, 1))
    # E: 1x3 and 3x1 side by side
    y = c(x, 10, 1)
    z = c(c(x, 10, 1), 10, 3)
    x = net.concat(c(x, 10, 1), net.concat(c(y, 10, (1, 3)), c(y, 10, (3, 1))),
                   net.concat(c(z, 10, (1, 3)), c(z, 10, (3, 1))), c(average(net, x), 6, 1))
    x = net.dropout(net.pool(x, "Average", 3, 3))
    net.output(net.dense(net.op("Flatten", x), net.c[x], 10), "logits")


@family(13)
def inception_v4(net):
    c = net.cbr
    x = c(c(net.input(3, 43, 43), 6, 3, 2, 0), 8, 3)
    x = net.concat(net.pool(x, "Max", 3, 2), c(x, 8, 3, 2, 0))
    x = net.concat(c(c(x, 6, 1), 8, 3, 1, 0), c(c(c(c(x, 6, 1), 6, (7, 1)), 6, (1, 7)), 8, 3, 1, 0))
    x = net.concat(c(average(net, x), 6, 1), c(x, 6, 1), c(c(x, 4, 1), 6, 3), c(c(c(x, 4, 1), 6, 3), 6, 3))
    y = c(c(c(x, 8, 1), 9, (1, 3)), 10, (3, 1))
    x = net.concat(c(average(net, x), 6, 1), c(x, 6, 1), c(y, 5, (1, 3)), c(y, 5, (3, 1)))
    net.classifier(x)


@family(11, 20)
def inception_resnet(net):
    """Residuals scaled by a constant: an initializer, a Constant node, a constant of one element in any rank."""
    c = net.cbr
    x = c(net.input(3, 31, 31), 16, 3, 2, 0)

    def block(x, branches, scale, activate=True):
        up = net.conv(net.concat(*branches), net.c[x], 1)
        x = net.op("Add", x, net.op("Mul", up, scale))
        return net.relu(x) if activate else x

    x = block(x, [c(x, 4, 1), c(c(x, 4, 1), 4, 3), c(c(c(x, 4, 1), 6, 3), 8, 3)], net.scalar(0.17))
    x = net.concat(c(x, 12, 3, 2, 0), net.pool(x, "Max", 3, 2))
    x = block(x, [c(x, 8, 1), c(c(c(x, 5, 1), 6, (1, 7)), 8, (7, 1))], net.constant(np.float32(0.1)))
    x = block(x, [c(x, 8, 1), c(c(c(x, 5, 1), 6, (1, 3)), 8, (3, 1))], net.init(np.full((1, 1, 1, 1), 0.2, np.float32)))
    x = block(x, [c(x, 8, 1), c(x, 8, 3)], net.scalar(1.0), activate=False)
    net.classifier(c(x, 30, 1))


@family(7, 13)
def vgg(net):
    x = net.input(3, 32, 32)
    for out, n in ((8, 1), (12, 2), (17, 2)):
        for _ in range(n):
            x = net.cbr(x, out, 3) if out == 12 else net.relu(net.conv(x, out, 3))
        x = net.pool(x, "Max", 2)
    x = net.op("Flatten", x, axis=1) if net.opset > 7 else net.reshape(x, -1, 17 * 16)
    x = net.dropout(net.relu(net.dense(x, 17 * 16, 20)))
    x = net.dropout(net.relu(net.dense(x, 20, 20)), mask=True)
    net.output(net.dense(x, 20, 10), "logits")


@family(7, 11)
def alexnet(net):
    """Groups of two, LRN, 11x11 with stride 4, pools of 3x3 with stride 2."""
    x = net.relu(net.conv(net.input(3, 67, 67), 16, 11, 4, 0))
    x = net.pool(lrn(net, x, bias=2.0), "Max", 3, 2)
    x = net.relu(net.conv(x, 16, 5, 1, 2, group=2))
    x = net.pool(lrn(net, x, size=7), "Max", 3, 2)
    x = net.relu(net.conv(x, 24, 3))
    x = net.relu(net.conv(x, 18, 3, group=2))
    x = net.pool(net.relu(net.conv(x, 16, 3, group=2)), "Max", 3, 2, 1)
    x = net.op("Flatten", x)
    x = net.dropout(net.relu(net.dense(x, 16 * 2 * 2, 24)))
    net.output(net.op("LogSoftmax", net.dense(x, 24, 10)), "logits")


@family(8, 10)
def squeezenet(net):
    def fire(x, s, e):
        s = net.relu(net.conv(x, s, 1))
        return net.concat(net.relu(net.conv(s, e, 1)), net.relu(net.conv(s, e, 3)))

    attrs = {"ceil_mode": 1} if net.opset >= 10 else {}
    x = net.pool(net.relu(net.conv(net.input(3, 45, 45), 8, 3, 2, 0)), "Max", 3, 2, **attrs)
    x = net.pool(fire(fire(x, 3, 8), 3, 8), "Max", 3, 2, **attrs)
    x = net.op("Add", x, fire(x, 4, 8))  # with simple bypass
    x = net.gap(net.relu(net.conv(net.dropout(fire(x, 6, 12)), 10, 1)))
    net.output(net.softmax(x), "prob")  # [N,10,1,1], axis 1
    net.output(net.reshape(x, 0, -1), "logits")
