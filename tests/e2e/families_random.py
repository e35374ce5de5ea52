#!/usr/bin/python3
"""Random graphs of the operators that networks are made of, compiled code against the reference evaluator.

  families_random.py HONE FIRST END     checks the seeds FIRST <= seed < END, prints those that fail

A graph is a pool of values [N,C,H,W]; each step takes some, mostly recent ones, and adds its result. What
nobody reads becomes an output. Shapes are computed here a second time, so they check the compiler's.
"""
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from families_net import Net

OPSETS = (7, 9, 11, 12, 13, 14, 17, 18, 20, 22)
SIZES = ((8, 8), (7, 9), (5, 6), (12, 10), (13, 13), (1, 7), (16, 16))


class RandomNet:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.net = net = Net(f"random{seed}", self.r.choice(OPSETS))
        (h, w), c = self.r.choice(SIZES), self.r.choice((1, 3, 4, 5, 8, 16, 17))
        if self.r.random() < 0.2:
            x = net.transpose(net.input(h, w, c, channels=c), 0, 3, 1, 2)
        else:
            x = net.input(c, h, w)
        self.shape = {x: (c, h, w)}
        steps = [getattr(self, "add_" + name) for name, weight in STEPS for _ in range(weight)]
        for _ in range(self.r.randint(3, 22)):
            self.r.choice(steps)()
        self.make_outputs()

    def pick(self):
        values = list(self.shape)
        return self.r.choice(values[-6:] if self.r.random() < 0.8 else values)

    def like(self, wanted):
        """A value whose shape (c, h, w) is wanted."""
        return self.r.choice([v for v, s in self.shape.items() if wanted(s)])

    def keep(self, v, *shape):
        self.shape[v] = shape
        self.net.c[v] = shape[0]

    def make_outputs(self):
        net, read = self.net, {i for n in self.net.nodes for i in n.input}
        for v in self.shape:
            made = v != net.inputs[0].name
            if made and (v not in read or self.r.random() < 0.05):
                net.output(v)
        if not net.outputs:
            net.output(net.relu(list(self.shape)[-1]))

    # ------------------------------------------------------------ windows

    def add_conv(self):
        x = self.pick()
        c, h, w = self.shape[x]
        kh, kw = self.r.choice([(1, 1)] * 3 + [(3, 3)] * 3 + [(5, 5), (7, 7), (2, 2), (1, 7), (7, 1), (3, 1), (1, 3)])
        sh, sw = self.r.choice([(1, 1)] * 3 + [(2, 2), (3, 3), (2, 1)])
        out, group = self.r.choice((1, 3, 5, 8, 16, 17, 24, 32, 33, 40)), 1
        if c > 1 and self.r.random() < 0.3:
            group = self.r.choice([d for d in range(2, c + 1) if c % d == 0] + [c, c])
            out = group * self.r.choice((1, 1, 2, 3))
        dilation = self.r.choice((1, 1, 1, 1, 2))
        eh, ew = (kh - 1) * dilation + 1, (kw - 1) * dilation + 1
        pads, attrs = [eh // 2, ew // 2, eh // 2, ew // 2], {"dilations": [dilation] * 2}
        if dilation == 1 and self.r.random() < 0.15:
            pads, attrs = None, {"auto_pad": self.r.choice(("SAME_UPPER", "SAME_LOWER"))}
            oh, ow = -(-h // sh), -(-w // sw)
        else:
            if self.r.random() < 0.2:
                pads = [self.r.randint(0, k - 1) for k in (eh, ew, eh, ew)]
            oh, ow = (h + pads[0] + pads[2] - eh) // sh + 1, (w + pads[1] + pads[3] - ew) // sw + 1
        if oh > 0 and ow > 0 and out <= 96:
            y = self.net.conv(x, out, (kh, kw), (sh, sw), pads, group, bias=self.r.random() < 0.6, **attrs)
            self.keep(y, out, oh, ow)

    def add_pool(self):
        x, r, k, stride = self.pick(), self.r, self.r.choice((1, 2, 3, 3, 5)), self.r.choice((1, 2, 2, 3))
        c, h, w = self.shape[x]
        if min(h, w) < k:
            return self.keep(self.net.op("GlobalMaxPool", x), c, 1, 1)
        pads = [r.randint(0, (k - 1) // 2) for _ in range(4)] if r.random() < 0.5 else [(k - 1) // 2] * 4
        kind, attrs = r.choice((("Max", {}), ("Average", {"count_include_pad": r.randint(0, 1)})))
        attrs = dict(attrs, ceil_mode=1) if self.net.opset >= 10 and r.random() < 0.3 else attrs
        size = []
        for n, begin, end in ((h, pads[0], pads[2]), (w, pads[1], pads[3])):
            span = n + begin + end - k
            windows = (-(-span // stride) if "ceil_mode" in attrs else span // stride) + 1
            size.append(windows - ((windows - 1) * stride >= n + begin))  # none starts in the end's padding
        self.keep(self.net.pool(x, kind, k, stride, pads, **attrs), c, *size)

    def add_mean(self):
        x = self.pick()
        y = self.net.gap(x) if self.r.random() < 0.6 else self.net.reduce_mean(x, 2, 3)
        self.keep(y, self.shape[x][0], 1, 1)

    # ------------------------------------------------------------ elementwise

    def add_norm(self):
        x = self.pick()
        self.keep(self.net.batch_norm(x), *self.shape[x])

    def add_activation(self):
        x, net, r = self.pick(), self.net, self.r
        forms = [lambda: net.relu(x)] * 4 + [
            lambda: net.clip(x, r.choice((None, 0, -0.5)), r.choice((None, 6, 0.7))),
            lambda: net.op("Sigmoid", x), lambda: net.op("LeakyRelu", x, alpha=0.1),
            lambda: net.op("Mul", x, net.op("Sigmoid", x)),
            lambda: net.op("Mul", x, net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
            lambda: net.op("PRelu", x, net.init(net.numbers(r.choice((1, net.c[x])), 1, 1, dev=0.2)))]
        self.keep(r.choice(forms)(), *self.shape[x])

    def add_binary(self):
        x, net = self.pick(), self.net
        s = self.shape[x]
        operands = [x, self.like(lambda t: t == s or t == (s[0], 1, 1) or t == (1, *s[1:]))]
        self.r.shuffle(operands)
        kind = self.r.choice(("Add", "Add", "Add", "Sub", "Mul") + (("Max", "Sum") if net.opset >= 8 else ()))
        self.keep(net.op(kind, *operands, *([x] if kind == "Sum" else [])), *s)

    def add_constant(self):
        x = self.pick()
        c, h, w = self.shape[x]
        shape = self.r.choice(((c, 1, 1), (1, c, 1, 1), (), (1,), (w,), (h, 1), (c, h, w), (1, 1, 1, 1), (1, h, w)))
        array, kind = self.net.numbers(*shape, mean=1, dev=0.3), self.r.choice(("Add", "Mul", "Sub", "Div"))
        operands = [x, self.net.init(np.abs(array) + np.float32(0.5) if kind == "Div" else array)]
        if kind != "Div" and self.r.random() < 0.3:
            operands.reverse()
        self.keep(self.net.op(kind, *operands), c, h, w)

    def add_softmax(self):
        x = self.pick()
        self.keep(self.net.softmax(x, self.r.choice((1, 2, 3))), *self.shape[x])

    def add_gate(self):
        x, net = self.pick(), self.net
        s = net.conv(net.relu(net.conv(net.gap(x), 4, 1)), net.c[x], 1)
        self.keep(net.op("Mul", x, net.op("Sigmoid", s)), *self.shape[x])

    # ------------------------------------------------------------ movement

    def add_concat(self):
        first = self.pick()
        c, h, w = self.shape[first]
        parts = [first] + [self.like(lambda t: t[1:] == (h, w)) for _ in range(self.r.choice((1, 1, 2, 3)))]
        self.r.shuffle(parts)
        total = sum(self.shape[p][0] for p in parts)
        if total <= 200:
            self.keep(self.net.concat(*parts), total, h, w)

    def add_split(self):
        x, net = self.pick(), self.net
        c, h, w = self.shape[x]
        if c > 1:
            k = self.r.randint(1, c - 1)
            a, b = net.split(x, k, c - k) if self.r.random() < 0.7 else \
                (net.slice(x, [0], [k], [1]), net.slice(x, [k], [c], [1]))
            self.keep(a, k, h, w)
            self.keep(b, c - k, h, w)

    def add_slice(self):
        x = self.pick()
        c, h, w = self.shape[x]
        if self.net.opset >= 10 and self.r.random() < 0.5:
            y = self.net.slice(x, [0, 0], [2**31 - 1] * 2, [2, 3], [2, 2])
            return self.keep(y, c, -(-h // 2), -(-w // 2))
        top, left = self.r.randint(0, h - 1), self.r.randint(0, w - 1)
        self.keep(self.net.slice(x, [top, left], [h, w], [2, 3]), c, h - top, w - left)

    def add_pad(self):
        x, r = self.pick(), self.r
        c, h, w = self.shape[x]
        t, l, b, e = (r.randint(0, 2) for _ in range(4))
        front, back = (r.randint(0, 4), r.randint(0, 4)) if r.random() < 0.3 else (0, 0)
        mode, value = r.choice(((None, None), (None, 0), ("constant", 0.5), ("reflect", None), ("edge", None)))
        if mode == "reflect":
            t, l, b, e, front, back = min(t, h - 1), min(l, w - 1), min(b, h - 1), min(e, w - 1), 0, 0
        y = self.net.pad(x, [0, front, t, l], [0, back, b, e], mode, value)
        self.keep(y, c + front + back, h + t + b, w + l + e)

    def add_shuffle(self):
        x, net = self.pick(), self.net
        c, h, w = self.shape[x]
        groups = [d for d in range(2, c) if c % d == 0]
        if groups:
            g, batch = self.r.choice(groups), self.r.choice((0, -1))
            y = net.transpose(net.reshape(x, batch, g, c // g, h, w), 0, 2, 1, 3, 4)
            self.keep(net.reshape(y, batch, c, h, w), c, h, w)

    def add_nhwc(self):
        """A few steps between two transposes."""
        x, net = self.pick(), self.net
        c, h, w = self.shape[x]
        y = net.transpose(x, 0, 2, 3, 1)
        for _ in range(self.r.randint(1, 3)):
            same = [v for v, s in self.shape.items() if s == (c, h, w)]
            step = self.r.choice(("bias", "scale", "relu", "concat") + (("add",) if same else ()))
            if step == "bias":
                y = net.op("Add", y, net.init(net.numbers(c)))
            elif step == "scale":
                y = net.op("Mul", y, net.init(net.numbers(1, 1, 1, c, mean=1, dev=0.2)))
            elif step == "relu":
                y = net.relu(y)
            elif step == "add":
                y = net.op("Add", y, net.transpose(self.r.choice(same), 0, 2, 3, 1))
            elif c < 60:
                y, c = net.concat(y, y, axis=3), 2 * c
        self.keep(net.transpose(y, 0, 3, 1, 2), c, h, w)

    # ------------------------------------------------------------ computed shapes, other types, nothing

    def dims(self, x):
        """The four dimensions of x as int64[1] each, as exporters compute them."""
        shape = self.net.op("Shape", x)
        return [self.net.slice(shape, [i], [i + 1], [0]) for i in range(4)]

    def compute(self, dim, by, times):
        """dim * by or dim / by, of integers or through floats."""
        net = self.net
        if self.r.random() < 0.5:
            return net.op("Mul" if times else "Div", dim, net.ints(by))
        y = net.op("Mul" if times else "Div", net.op("Cast", dim, to=TensorProto.FLOAT), net.scalar(by))
        return net.op("Cast", net.op("Floor", y), to=TensorProto.INT64)

    def add_shaped(self):
        """Pixels or channels folded into the batch or into each other and back, by dimensions read from the tensor."""
        x, net = self.pick(), self.net
        c, h, w = self.shape[x]
        n, cs, hs, ws = self.dims(x)
        f = self.r.choice([d for d in (1, 2, 3, 4) if c % d == 0])
        kind = self.r.choice(("flat", "groups", "batch"))
        if kind == "flat":
            y = net.op("Reshape", x, net.concat(n, cs, net.op("Mul", hs, ws), axis=0))
        elif kind == "groups":
            y = net.op("Reshape", x, net.concat(n, net.ints(f), self.compute(cs, f, False), hs, ws, axis=0))
        else:
            y = net.op("Reshape", x, net.concat(self.compute(n, f, True), self.compute(cs, f, False), hs, ws, axis=0))
            y = net.op("Sigmoid", y)
        self.keep(net.op("Reshape", y, net.concat(n, cs, hs, ws, axis=0)), c, h, w)

    def add_expanded(self):
        x, net = self.pick(), self.net
        c, h, w = self.shape[x]
        n, cs, hs, ws = self.dims(x)
        one = net.init(net.numbers(1, c, 1, 1, dev=0.3))
        if self.r.random() < 0.5 and net.opset >= 8:
            y = net.op("Expand", one, net.concat(n, cs, hs, ws, axis=0))
        else:
            y = net.op("Tile", one, net.concat(n, net.ints(1), hs, ws, axis=0))
        self.keep(net.op(self.r.choice(("Add", "Mul")), x, y), c, h, w)

    def add_resize(self):
        x, net, r = self.pick(), self.net, self.r
        c, h, w = self.shape[x]
        if net.opset < 13 or c * h * w > 4000:
            return
        attrs = r.choice((dict(mode="nearest"), dict(mode="linear"), dict(mode="cubic"), dict(mode="nearest", nearest_mode="floor")))
        attrs["coordinate_transformation_mode"] = r.choice(("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"))
        n, cs, hs, ws = self.dims(x)
        if r.random() < 0.5:
            a, b = r.choice((2, 3)), r.choice((1, 2))
            sizes = net.concat(n, cs, self.compute(hs, a, True), self.compute(ws, b, True), axis=0)
            return self.keep(net.op("Resize", x, None, None, sizes, **attrs), c, h * a, w * b)
        scales = np.float32([1, 1, r.choice((1.5, 0.7, 2.3, 1)), r.choice((0.6, 1.3, 2))])
        oh, ow = int(np.float32(h) * scales[2]), int(np.float32(w) * scales[3])
        if oh > 0 and ow > 0:
            self.keep(net.op("Resize", x, None, net.init(scales), **attrs), c, oh, ow)

    def add_masked(self):
        """Comparisons and casts whose result is continuous."""
        x, net, r = self.pick(), self.net, self.r
        if net.opset < 9:
            return
        mask = net.op(r.choice(("Greater", "Less")), x, net.scalar(0))
        if r.random() < 0.5:
            y = net.op("Where", mask, x, net.op("Mul", x, net.scalar(0.25)))
        else:
            kind = r.choice((TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8))
            y = net.op("Mul", x, net.op("Cast", net.op("Cast", mask, to=kind), to=TensorProto.FLOAT))
        self.keep(y, *self.shape[x])

    def add_quantized(self):
        x, net, r = self.pick(), self.net, self.r
        if net.opset < 13:
            return
        kind, zero = r.choice(((np.uint8, 128), (np.int8, 3)))
        per_channel = r.random() < 0.3
        scale = np.full(self.shape[x][0], 0.0371, np.float32) if per_channel else np.float32(0.0371)
        s, z = net.init(scale), net.init(np.full(scale.shape, zero, kind))
        y = net.op("QuantizeLinear", x, s, z, **({"axis": 1} if per_channel else {}))
        self.keep(net.op("DequantizeLinear", y, s, z, **({"axis": 1} if per_channel else {})), *self.shape[x])

    def add_nothing(self):
        """A part without an element changes nothing."""
        x, net = self.pick(), self.net
        axis = self.r.choice((1, 2, 3))
        empty = net.slice(x, [0], [0], [axis])
        if self.r.random() < 0.5:
            y = net.op("Concat", empty, x, empty, axis=axis)
        else:
            y = net.op("Add", x, net.reduce_sum(empty, axis))
        self.keep(y, *self.shape[x])

    def add_head(self):
        x, net = self.pick(), self.net
        c, h, w = self.shape[x]
        if c * h * w <= 4000:
            flat = net.op("Flatten", x) if self.r.random() < 0.6 else net.reshape(x, 0, -1)
            y = net.dense(flat, c * h * w, self.r.choice((1, 5, 10, 17)))
            net.output(self.r.choice((lambda: y, lambda: net.relu(y), lambda: net.softmax(y, 1)))())


# how often each step is taken
STEPS = (("conv", 9), ("norm", 3), ("activation", 5), ("binary", 4), ("constant", 2), ("pool", 2), ("mean", 1),
         ("concat", 3), ("split", 2), ("slice", 1), ("pad", 1), ("shuffle", 1), ("nhwc", 2), ("gate", 1), ("head", 1),
         ("softmax", 1), ("shaped", 2), ("expanded", 1), ("resize", 2), ("masked", 1), ("quantized", 1), ("nothing", 1))


def check_seed(hone, seed, folder):
    """None, or what the compiler says is wrong."""
    path = os.path.join(folder, f"random{seed}.onnx")
    onnx.save(RandomNet(seed).net.model(), path)
    level, cpu = ("-O2", "-O0", "-O1", "-O3", "-O2")[seed % 5], ("native", "native", "x86-64-v3", "generic")[seed % 4]
    flags = [level, "--mcpu", cpu, "--threads", str(1 + seed % 2)]
    for batch in (3, 1):  # the latter where it says that it stays there
        command = [hone, "verify", path, *flags, "--batch", str(batch)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if "the program stays at batch size 1" not in done.stderr:
            break
    bad = [l for l in (done.stdout + done.stderr).splitlines() if not l.endswith("ok")]
    return f"seed {seed} {' '.join(flags)}: exit code {done.returncode}: {'; '.join(bad)}" if done.returncode else None


def main(hone, first, end):
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(int(first), int(end)):
            wrong = check_seed(hone, seed, folder)
            failed += wrong is not None
            if wrong:
                print(wrong, flush=True)
    print(f"{int(end) - int(first)} graphs, {failed} wrong")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
