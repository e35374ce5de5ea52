"""One model of many nodes that do not meet: compiled and run once, each result held against its own right values. Used by
test_quant.py, test_fused.py and test_newer.py.
"""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from script import HONE, ok, temp

TYPE = {np.dtype(a): b for a, b in ((np.float32, TensorProto.FLOAT), (np.int8, TensorProto.INT8), (np.uint8, TensorProto.UINT8),
                                    (np.int16, TensorProto.INT16), (np.uint16, TensorProto.UINT16),
                                    (np.int32, TensorProto.INT32), (np.int64, TensorProto.INT64),
                                    (np.bool_, TensorProto.BOOL), (np.uint32, TensorProto.UINT32))}
BATCH = 3
rng = np.random.default_rng(5)
MS = "com.microsoft"


class Near:
    """Floats, right to a share of the largest."""

    def __init__(self, a, share=1e-5):
        self.a, self.share, self.dtype = np.asarray(a, np.float64), share, np.dtype(np.float32)

    def check(self, got):
        assert got.shape == self.a.shape, (got.shape, self.a.shape)
        assert np.array_equal(np.isnan(got), np.isnan(self.a)), "NaN"
        off = np.abs(np.nan_to_num(got.astype(np.float64)) - np.nan_to_num(self.a)).max(initial=0)
        assert off <= self.share * max(np.abs(np.nan_to_num(self.a)).max(initial=0), 1e-30), off


class Rounded:
    """Integers that are numbers rounded and saturated: either neighbour of a half may be taken, as float32 has it. The numbers
    must not all be saturated, or equal."""

    def __init__(self, a, dtype, low=None, high=None):
        info = np.iinfo(dtype)
        low, high = info.min if low is None else low, info.max if high is None else high
        self.a, self.dtype = np.clip(np.asarray(a, np.float64), low, high), np.dtype(dtype)
        assert len(np.unique(np.rint(self.a))) > 3

    def check(self, got):
        assert got.shape == self.a.shape, (got.shape, self.a.shape)
        off = np.abs(got.astype(np.float64) - self.a).max()
        assert off <= 0.5 + 1e-3, off


class Exact:
    def __init__(self, a):
        self.a, self.dtype = a, a.dtype

    def check(self, got):
        assert got.shape == self.a.shape and np.array_equal(got, self.a), (got.shape, got[got != self.a][:5], self.a[got != self.a][:5])


class Model:
    """Operands that run at BATCH (or `fixed`), constants, expected results: arrays are exact."""

    def __init__(self, opset):
        self.opset, self.nodes, self.inputs, self.constants, self.outputs = opset, [], {}, {}, {}
        self.fixed = set()

    def feed(self, a, fixed=False):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = a
        if fixed:
            self.fixed.add(name)
        return name

    def const(self, a):
        """An array, or a TensorProto of a type that numpy lacks."""
        name = f"c{len(self.constants)}"
        t = a if isinstance(a, TensorProto) else numpy_helper.from_array(np.asarray(a), name)
        t.name = name
        self.constants[name] = t
        return name

    def consts(self, *values):
        return [v if isinstance(v, str) else self.const(v) for v in values]

    def inner(self, op, operands, **attrs):
        """A node whose result is an operand of others, of a type that numpy lacks, say."""
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, operands, [out], name=out, **attrs))
        return out

    def node(self, op, operands, expected, domain="", **attrs):
        outs = []
        for e in expected:
            outs.append(f"y{len(self.outputs)}" if e is not None else "")
            if e is not None:
                self.outputs[outs[-1]] = Exact(e) if isinstance(e, np.ndarray) else e
        self.nodes.append(helper.make_node(op, operands, outs, name=f"{op}{len(self.nodes)}", domain=domain, **attrs))
        return outs

    def save(self, path):
        infos = [helper.make_tensor_value_info(n, TYPE[a.dtype], list(a.shape) if n in self.fixed else ["N"] + list(a.shape[1:]))
                 for n, a in self.inputs.items()]
        outs = [helper.make_tensor_value_info(n, TYPE[a.dtype], None) for n, a in self.outputs.items()]
        graph = helper.make_graph(self.nodes, "ops", infos, outs, list(self.constants.values()))
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid(MS, 1)]
        model = helper.make_model(graph, opset_imports=imports)
        with open(path, "wb") as f:
            f.write(model.SerializeToString())

    def check(self, *flags):
        self.save(temp("m.onnx"))
        ok(HONE, "compile", temp("m.onnx"), "-o", temp("m"), *flags)
        argv = [temp("m"), "run"]
        for n, a in self.inputs.items():
            np.save(temp(n + ".npy"), a)
            argv += ["-i", f"{n}={temp(n + '.npy')}"]
        for n in self.outputs:
            argv += ["-o", f"{n}={temp(n + '.npy')}"]
        ok(*argv)
        for node in self.nodes:
            for n in filter(self.outputs.get, node.output):
                got, want = np.load(temp(n + ".npy")), self.outputs[n]
                assert got.dtype == want.dtype, (node.name, n, got.dtype, want.dtype)
                try:
                    want.check(got)
                except AssertionError as e:
                    raise AssertionError(node.name, n, *e.args) from None
