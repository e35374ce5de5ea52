"""A small writer of ONNX graphs in any opset's spelling, for the model families of families.py.

Net's methods speak of what an operator means; the opset decides whether axes, bounds and pads are
attributes or inputs. Numbers come from a generator seeded with the family's name, so that a model is
the same wherever it is built and the same in every opset. Only numpy and onnx are needed.
"""
import math
import zlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Net:
    def __init__(self, name, opset, fixed_batch=None):
        self.name, self.opset, self.fixed_batch = name, opset, fixed_batch
        self.random = np.random.RandomState(zlib.crc32(name.encode()))
        self.nodes, self.inits, self.inputs, self.outputs, self.feeds = [], [], [], [], []
        self.init_inputs = []  # ValueInfos of initializers that are inputs too
        self.c = {}            # channels of a value, by its name
        self.prefix = ""

    # ------------------------------------------------------------ values

    def fresh(self, stem):
        return f"{self.prefix}{stem}_{len(self.nodes) + len(self.inits)}"

    def input(self, *shape, name="x", channels=None, declared=(), elem=TensorProto.FLOAT):
        """A graph input of `shape` behind the batch; `declared` is what the file says of it instead."""
        if declared == ():
            declared = [self.fixed_batch or "N", *shape]
        self.inputs.append(helper.make_tensor_value_info(name, elem, declared))
        self.feeds.append((name, shape, elem))
        self.c[name] = channels or shape[0]
        return name

    def output(self, value, name=None, elem=TensorProto.FLOAT):
        """Makes `value` a graph output, under its own name unless another is given."""
        if name:
            value = self.op("Identity", value, out=name)
        self.outputs.append(helper.make_tensor_value_info(value, elem, None))
        return value

    def numbers(self, *shape, mean=0.0, dev=1.0):
        return (mean + dev * self.random.standard_normal(shape)).astype(np.float32)

    def init(self, array, name=None):
        """An initializer, its numbers raw."""
        name = name or self.fresh("w")
        self.inits.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *v):
        return self.init(np.array(v, np.int64), self.fresh("ints"))

    def scalar(self, v, dtype=np.float32):
        return self.init(np.array(v, dtype), self.fresh("scalar"))

    def constant(self, array):
        """A Constant node."""
        return self.op("Constant", value=numpy_helper.from_array(np.asarray(array)))

    # ------------------------------------------------------------ nodes

    def op(self, kind, *inputs, outs=1, out=None, c=None, **attrs):
        """One node; its result's name, or a list of them when outs > 1. None stands for an absent input."""
        base = self.fresh("n" + kind.lower())
        names = [out] if out else [base] if outs == 1 else [f"{base}_{i}" for i in range(outs)]
        self.nodes.append(helper.make_node(kind, [i or "" for i in inputs], names, name=base, **attrs))
        for n in names:
            self.c[n] = c or (self.c.get(inputs[0]) if inputs else None)
        return names[0] if outs == 1 else names

    def by_opset(self, since, kind, x, key, values, **more):
        """The ints `values` as attribute `key`, or as the second input from opset `since` on."""
        if self.opset >= since:
            return self.op(kind, x, self.ints(*values), **more)
        return self.op(kind, x, **{key: list(values)}, **more)

    def squeeze(self, x, *axes):
        return self.by_opset(13, "Squeeze", x, "axes", axes)

    def unsqueeze(self, x, *axes):
        return self.by_opset(13, "Unsqueeze", x, "axes", axes)

    def reduce_mean(self, x, *axes, keepdims=1):
        return self.by_opset(18, "ReduceMean", x, "axes", axes, keepdims=keepdims)

    def reduce_sum(self, x, *axes, keepdims=1):
        return self.by_opset(13, "ReduceSum", x, "axes", axes, keepdims=keepdims)

    def reshape(self, x, *shape, **attrs):
        return self.op("Reshape", x, self.ints(*shape), **attrs)

    def transpose(self, x, *perm, c=None):
        return self.op("Transpose", x, perm=list(perm), c=c)

    def concat(self, *xs, axis=1, c=None):
        """Of channels, unless c says how many the result has."""
        if c is None and all(self.c.get(x) for x in xs):
            c = sum(self.c[x] for x in xs)
        return self.op("Concat", *xs, axis=axis, c=c)

    def slice(self, x, starts, ends, axes=None, steps=None, c=None):
        if self.opset >= 10:
            more = [self.ints(*v) if v else None for v in (axes, steps)]
            while more and more[-1] is None:
                more.pop()
            return self.op("Slice", x, self.ints(*starts), self.ints(*ends), *more, c=c)
        assert not steps
        return self.op("Slice", x, starts=starts, ends=ends, c=c, **({"axes": axes} if axes else {}))

    def split(self, x, *sizes, axis=1):
        if self.opset >= 13:
            parts = self.op("Split", x, self.ints(*sizes), outs=len(sizes), axis=axis)
        else:
            parts = self.op("Split", x, outs=len(sizes), axis=axis, split=list(sizes))
        for p, size in zip(parts, sizes):
            self.c[p] = size
        return parts

    def pad(self, x, begins, ends, mode=None, value=None, channels=1):
        attrs = {"mode": mode} if mode else {}
        c = self.c[x] + begins[channels] + ends[channels] if self.c.get(x) else None
        if self.opset >= 11:
            more = [] if value is None else [self.scalar(value)]
            return self.op("Pad", x, self.ints(*begins, *ends), *more, c=c, **attrs)
        if value is not None:
            attrs["value"] = float(value)
        return self.op("Pad", x, pads=[*begins, *ends], c=c, **attrs)

    def clip(self, x, low=None, high=None):
        if self.opset >= 11:
            bounds = [None if b is None else self.scalar(b) for b in (low, high)]
            while bounds and bounds[-1] is None:
                bounds.pop()
            return self.op("Clip", x, *bounds)
        return self.op("Clip", x, **{k: float(v) for k, v in (("min", low), ("max", high)) if v is not None})

    def dropout(self, x, ratio=0.5, mask=False):
        if self.opset >= 12:
            y = self.op("Dropout", x, self.scalar(ratio), outs=1 + mask)
        else:
            y = self.op("Dropout", x, ratio=ratio, outs=1 + mask)
        return y[0] if mask else y

    # ------------------------------------------------------------ layers

    def weight(self, out, inp, *kernel, group=1):
        """Convolution weights [out, inp/group, *kernel] that keep activations near 1."""
        fan = inp // group * math.prod(kernel)
        return self.numbers(out, inp // group, *kernel, dev=math.sqrt(1.7 / fan))

    def conv(self, x, out, k, stride=1, pad=None, group=1, bias=True, **attrs):
        """k, stride: a number or (h, w); pad: None for k/2, a number, (h, w) or [t, l, b, r]."""
        k = (k, k) if isinstance(k, int) else k
        stride = (stride, stride) if isinstance(stride, int) else stride
        if "auto_pad" not in attrs:
            pad = (k[0] // 2, k[1] // 2) if pad is None else (pad, pad) if isinstance(pad, int) else pad
            attrs["pads"] = list(pad) * (1 if len(pad) == 4 else 2)
        w = self.init(self.weight(out, self.c[x], *k, group=group))
        b = [self.init(self.numbers(out, dev=0.2))] if bias else []
        return self.op("Conv", x, w, *b, c=out, kernel_shape=list(k), strides=list(stride), group=group, **attrs)

    def batch_norm(self, x, outs=1, c=None, **attrs):
        c = c or self.c[x]
        p = [self.numbers(c, mean=1, dev=0.2), self.numbers(c, dev=0.2), self.numbers(c, dev=0.2),
             np.abs(self.numbers(c, mean=1, dev=0.2)) + np.float32(0.1)]
        return self.op("BatchNormalization", x, *[self.init(v) for v in p], outs=outs, **attrs)

    def relu(self, x):
        return self.op("Relu", x)

    def cbr(self, x, out, k, stride=1, pad=None, group=1, act="Relu", **attrs):
        """Convolution without bias, batch normalization, activation (None: none; "Relu6")."""
        y = self.batch_norm(self.conv(x, out, k, stride, pad, group, bias=False, **attrs), epsilon=1e-3)
        return self.clip(y, 0, 6) if act == "Relu6" else self.op(act, y) if act else y

    def pool(self, x, kind, k, stride=None, pad=0, **attrs):
        k = (k, k) if isinstance(k, int) else k
        stride = k if stride is None else (stride, stride) if isinstance(stride, int) else stride
        if "auto_pad" not in attrs:
            pad = (pad, pad) if isinstance(pad, int) else pad
            attrs["pads"] = list(pad) * (1 if len(pad) == 4 else 2)
        return self.op(kind + "Pool", x, kernel_shape=list(k), strides=list(stride), **attrs)

    def gap(self, x):
        return self.op("GlobalAveragePool", x)

    def dense(self, x, inp, out):
        """Gemm as PyTorch writes it."""
        w, b = self.numbers(out, inp, dev=math.sqrt(1 / inp)), self.numbers(out, dev=0.2)
        return self.op("Gemm", x, self.init(w), self.init(b), alpha=1.0, beta=1.0, transB=1)

    def classifier(self, x, classes=10):
        """Global average pool, Flatten, Gemm, and the logits as output "logits"."""
        logits = self.dense(self.op("Flatten", self.gap(x), axis=1), self.c[x], classes)
        return self.output(logits, "logits")

    def softmax(self, x, axis=None, kind="Softmax"):
        return self.op(kind, x, **({} if axis is None else {"axis": axis}))

    # ------------------------------------------------------------ the model

    def model(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs + self.init_inputs, self.outputs, self.inits)
        m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="hone-tests")
        m.ir_version = 3 if self.opset < 9 and len(self.init_inputs) == len(self.inits) else 8
        return m

    def data(self, batch):
        """Input arrays for `batch` images, in the order of the inputs."""
        random = np.random.RandomState(zlib.crc32(self.name.encode()) ^ 1)
        data = {}
        for name, shape, elem in self.feeds:
            if elem == TensorProto.UINT8:
                data[name] = random.randint(0, 256, (batch, *shape)).astype(np.uint8)
            else:
                data[name] = random.standard_normal((batch, *shape)).astype(np.float32)
        return data


class Case:
    """A model, the flags it is compiled with, and how ONNX Runtime gets to run the same computation."""

    def __init__(self, build, opset, flags=(), fixed_batch=None, warning=None, reference=None, feed=None,
                 save=None, whole_batch=False):
        self.name, self.family = f"{build.__name__}_{opset}", build.__name__
        self.build, self.opset, self.flags, self.fixed_batch = build, opset, list(flags), fixed_batch
        self.warning = warning          # a part of the one warning that compiling prints; None: it prints none
        self.reference = reference      # model -> model that ONNX Runtime takes; None: the model itself
        self.feed = feed                # array -> array as the compiled program wants it
        self.save = save                # (model, path): writes the model; None: onnx.save
        self.whole_batch = whole_batch  # images of a batch depend on each other

    def net(self):
        net = Net(self.build.__name__, self.opset, self.fixed_batch)
        self.build(net)
        return net


CASES = []


def family(*opsets, **more):
    """Registers a function that fills a Net as one case per opset."""
    def register(build):
        CASES.extend(Case(build, opset, **more) for opset in opsets)
        return build
    return register
