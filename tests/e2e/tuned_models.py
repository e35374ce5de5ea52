"""Small networks with a classifier of five classes, as exporters spell it, and what surrounds it: what a trained model
has to be made of. Each is a function that returns (model, what to expect); `MODELS` has them by name.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OLD, FEATURES, SIZE = 5, 8, 16
RNG = np.random.default_rng(7)
NP = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}


class Net:
    """Nodes and initializers in the order of their making; `x` [N,3,16,16] to `f` [N,8], unless it ends before."""

    def __init__(self, opset=17, dtype=TensorProto.FLOAT, ir=8, batch="N", listed=False):
        self.opset, self.dtype, self.ir, self.batch, self.listed = opset, dtype, ir, batch, listed
        self.nodes, self.inits, self.outputs, self.info, self.functions, self.imports = [], [], [], [], [], []
        self.input_type, self.count = TensorProto.FLOAT, 0

    def init(self, name, value, dtype=None):
        dtype = dtype or self.dtype
        if dtype == TensorProto.BFLOAT16:
            bits = np.asarray(value, np.float32).view(np.uint32) >> 16
            t = helper.make_tensor(name, dtype, np.shape(value), bits.astype(np.uint16).tobytes(), raw=True)
        else:
            t = numpy_helper.from_array(np.asarray(value, NP.get(dtype, np.int64)), name)
        self.inits.append(t)
        return name

    def weight(self, name, *shape):
        return self.init(name, RNG.normal(0, 1 / np.sqrt(np.prod(shape[1:]) or 1), shape))

    def ints(self, name, *values):
        self.inits.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def node(self, op, inputs, output=None, name=None, **attrs):
        self.count += 1
        output = output or f"t{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [output], name or f"{op}_{self.count}", **attrs))
        return output

    def pool(self):
        """The network in front of the classifier: f [N,8,1,1]."""
        x = "x"
        if self.input_type != self.dtype:
            x = self.node("Cast", [x], to=self.dtype)
        x = self.node("Conv", [x, self.weight("conv.weight", FEATURES, 3, 3, 3), self.weight("conv.bias", FEATURES)],
                      strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        return self.node("GlobalAveragePool", [self.node("Relu", [x])])

    def features(self):
        return self.node("Flatten", [self.pool()])

    def gemm(self, f, w="fc.weight", b="fc.bias", output=None, classes=OLD, width=FEATURES, name=None):
        return self.node("Gemm", [f, self.weight(w, classes, width), self.weight(b, classes)], output, name, transB=1)

    def out(self, name, shape=("N", OLD), dtype=TensorProto.FLOAT):
        if self.dtype != TensorProto.FLOAT and dtype == TensorProto.FLOAT and self.input_type == TensorProto.FLOAT:
            name = self.node("Cast", [name], name + ".f32", to=TensorProto.FLOAT)
        self.outputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))

    def model(self):
        inputs = [helper.make_tensor_value_info("x", self.input_type, [self.batch, 3, SIZE, SIZE])]
        if self.listed:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.inits]
        g = helper.make_graph(self.nodes, "net", inputs, self.outputs, self.inits, value_info=self.info)
        imports = [helper.make_opsetid("", self.opset)] + self.imports
        return helper.make_model(g, opset_imports=imports, ir_version=self.ir, functions=self.functions)


MODELS = {}


def case(f):
    MODELS[f.__name__] = f
    return f


# ---- spellings of the classifier

@case
def gemm():
    n = Net()
    n.out(n.gemm(n.features(), output="y"))
    return n.model(), {}


@case
def gemm_not_transposed():
    n = Net()
    n.out(n.node("Gemm", [n.features(), n.weight("w", FEATURES, OLD), n.weight("b", OLD)], "y"))
    return n.model(), {}


@case
def gemm_scaled():
    n = Net()
    n.out(n.node("Gemm", [n.features(), n.weight("w", OLD, FEATURES), n.weight("b", 1, OLD)], "y", alpha=0.5, beta=2.0,
                 transB=1))
    return n.model(), {}


@case
def matmul_add():
    n = Net()
    y = n.node("MatMul", [n.features(), n.weight("w", FEATURES, OLD)])
    n.out(n.node("Add", [n.weight("b", OLD), y], "y"))
    return n.model(), {}


def fused(op, operands, **attrs):
    """A classifier with its sigmoid in one node."""
    n = Net()
    n.imports.append(helper.make_opsetid("com.microsoft", 1))
    n.out(n.node("Identity", [n.node(op, operands(n), domain="com.microsoft", activation="Sigmoid", **attrs)], "y"))
    return n.model(), {}


@case
def fused_gemm():
    return fused("FusedGemm", lambda n: [n.features(), n.weight("w", OLD, FEATURES), n.weight("b", OLD)], transB=1)


@case
def fused_matmul():
    return fused("FusedMatMulActivation", lambda n: [n.features(), n.weight("w", OLD, FEATURES)], transB=1)


@case
def fused_conv():
    n, _ = fused("FusedConv", lambda n: [n.pool(), n.weight("w", OLD, FEATURES, 1, 1), n.weight("b", OLD)])
    n.graph.node[-1].op_type = "Flatten"
    return n, {}


@case
def transposed_weight():
    n = Net()
    w = n.node("Transpose", [n.weight("w", OLD, FEATURES)], perm=[1, 0])
    y = n.node("MatMul", [n.features(), w])
    n.out(n.node("Add", [y, n.weight("b", OLD)], "y"))
    return n.model(), {}


@case
def reshaped_weight():
    n = Net()
    w = n.node("Reshape", [n.weight("w", 1, OLD, FEATURES), n.ints("shape", OLD, FEATURES)])
    n.out(n.node("Gemm", [n.features(), w, n.weight("b", OLD)], "y", transB=1))
    return n.model(), {}


@case
def constant_nodes():
    n = Net()
    f = n.features()
    for name, value in (("w", RNG.normal(0, 0.3, (FEATURES, OLD))), ("b", RNG.normal(0, 0.3, OLD))):
        n.nodes.append(helper.make_node("Constant", [], [name], name + "_node",
                                        value=numpy_helper.from_array(value.astype(np.float32))))
    n.out(n.node("Add", [n.node("MatMul", [f, "w"]), "b"], "y"))
    return n.model(), {}


@case
def conv_then_pool():  # SqueezeNet
    n = Net()
    x = n.node("Conv", ["x", n.weight("c.weight", FEATURES, 3, 3, 3)], strides=[2, 2], kernel_shape=[3, 3])
    x = n.node("Relu", [n.node("Conv", [n.node("Relu", [x]), n.weight("w", OLD, FEATURES, 1, 1), n.weight("b", OLD)],
                               kernel_shape=[1, 1])])
    n.out(n.node("Softmax", [n.node("Flatten", [n.node("GlobalAveragePool", [x])])], "y"))
    return n.model(), {}


@case
def conv_then_squeeze():
    n = Net()
    y = n.node("Conv", [n.pool(), n.weight("w", OLD, FEATURES, 1, 1)], kernel_shape=[1, 1])
    n.out(n.node("Squeeze", [y, n.ints("axes", 2, 3)], "y"))
    return n.model(), {}


@case
def conv_1d():
    n = Net()
    f = n.node("Reshape", [n.pool(), n.ints("to", 0, FEATURES, 1)])
    y = n.node("Conv", [f, n.weight("w", OLD, FEATURES, 1), n.weight("b", OLD)], kernel_shape=[1])
    n.out(n.node("Flatten", [y], "y"))
    return n.model(), {}


# ---- what stands below it

def below(make, **more):
    n = Net(**more)
    make(n, n.gemm(n.features(), output="logits"))
    return n.model(), {}


@case
def reshape_to_classes():
    return below(lambda n, y: n.out(n.node("Reshape", [y, n.ints("shape", -1, OLD)], "y")))


@case
def reshape_open():
    return below(lambda n, y: n.out(n.node("Reshape", [y, n.ints("shape", 0, -1)], "y")))


@case
def reshape_by_constant_node():
    def make(n, y):
        n.nodes.append(helper.make_node("Constant", [], ["shape"], value_ints=[-1, OLD]))
        n.out(n.node("Reshape", [y, "shape"], "y"))
    return below(make)


@case
def softmax_reshaped():
    return below(lambda n, y: n.out(n.node("Reshape", [n.node("Softmax", [y]), n.ints("s", -1, OLD, 1, 1)], "y"),
                                    ("N", OLD, 1, 1)))


@case
def log_softmax():
    return below(lambda n, y: n.out(n.node("LogSoftmax", [y], "y", axis=1)))


@case
def softmax_old_opset():
    return below(lambda n, y: n.out(n.node("Softmax", [n.node("Unsqueeze", [y], axes=[2])], "y", axis=1), ("N", OLD, 1)),
                 opset=11)


@case
def softmax_spelled_out():
    def make(n, y):
        e = n.node("Exp", [n.node("Sub", [y, n.node("ReduceMax", [y], axes=[1])])])
        n.out(n.node("Div", [e, n.node("ReduceSum", [e, n.ints("axes", 1)])], "y"))
    return below(make)


@case
def sigmoid():
    return below(lambda n, y: n.out(n.node("Sigmoid", [y], "y")))


@case
def sigmoid_4d():
    n = Net()
    y = n.node("Conv", [n.pool(), n.weight("w", OLD, FEATURES, 1, 1)], kernel_shape=[1, 1])
    n.out(n.node("Flatten", [n.node("Sigmoid", [y])], "y"))
    return n.model(), {}


@case
def clip_behind_softmax():
    def make(n, y):
        n.out(n.node("Clip", [n.node("Softmax", [y]), n.init("low", 0), n.init("high", 1)], "y"))
    return below(make)


@case
def arg_max():
    return below(lambda n, y: n.out(n.node("ArgMax", [n.node("Softmax", [y])], "y", axis=1, keepdims=0), ("N",),
                                    TensorProto.INT64))[0], {"names_class": True}


@case
def quantized_around():
    n = Net()
    n.init("s", 0.05), n.init("sw", 0.02), n.init("sy", 0.01)
    zero = lambda name: n.inits.append(numpy_helper.from_array(np.int8(0), name)) or name
    q = lambda x, s: n.node("DequantizeLinear", [n.node("QuantizeLinear", [x, s, zero(f"z{n.count}")]), s, n.inits[-1].name])
    f = q(n.features(), "s")
    n.inits.append(numpy_helper.from_array(RNG.integers(-20, 20, (OLD, FEATURES)).astype(np.int8), "w8"))
    w = n.node("DequantizeLinear", ["w8", "sw", zero("zw")])
    y = q(n.node("Gemm", [f, w, n.weight("b", OLD)], transB=1), "sy")
    n.init("sp", 1 / 256)
    n.out(n.node("Identity", [q(n.node("Softmax", [y]), "sp")], "y"))
    return n.model(), {}


# ---- other outputs

@case
def other_outputs():
    """Kept: logits, the class, a head of its own, features. Gone: what is made for five classes."""
    n = Net()
    f = n.features()
    y = n.gemm(f, output="logits")
    n.out(n.node("Softmax", [y], "y"))
    n.out("logits")
    n.out(n.node("ArgMax", [y], "class", axis=1, keepdims=0), ("N",), TensorProto.INT64)
    n.out(n.gemm(f, "aux.weight", "aux.bias", "aux"))
    n.out(f, ("N", FEATURES))
    n.out(n.gemm(y, "next.weight", "next.bias", "next", 3, OLD), ("N", 3))
    n.out(n.node("Add", [y, n.weight("shift", OLD)], "shifted"))
    n.out(n.node("Gather", [y, n.ints("four", 4)], "fourth", axis=1), ("N", 1))
    n.out(n.node("Relu", [n.node("Mul", ["shifted", n.init("half", 0.5)])], "after"))
    return n.model(), {"outputs": ["y", "logits", "class", "aux", f], "old": ["aux"],
                       "gone": ["next", "shifted", "fourth", "after"]}


@case
def shared_with_other_output():
    """The weight is another output's, too: that one keeps the old."""
    n = Net()
    f = n.features()
    n.out(n.gemm(f, output="y"))
    n.out(n.node("Gemm", [n.node("Relu", [n.node("Neg", [f])]), "fc.weight", "fc.bias"], "other", transB=1))
    return n.model(), {"outputs": ["y", "other"], "old": ["other"]}


@case
def shared_on_the_way():
    """The classifier's weight also works in front of it."""
    n = Net()
    f = n.features()
    n.weight("w", OLD, FEATURES)
    z = n.node("MatMul", [n.node("Gemm", [f, "w"], transB=1), "w"])
    n.out(n.node("Gemm", [n.node("Relu", [n.node("Add", [z, f])]), "w", n.weight("b", OLD)], "y", transB=1))
    return n.model(), {}


@case
def head_name_is_taken():
    n = Net()
    f = n.features()
    n.weight("w", OLD, FEATURES)
    z = n.node("MatMul", [n.node("Gemm", [f, "w"], transB=1), "w"])
    n.out(n.node("Gemm", [n.node("Add", [z, f]), "w"], "y", transB=1))
    n.out(n.node("Mul", [f, n.weight("hone.head.weight", 1, FEATURES)], "other"), ("N", FEATURES))
    return n.model(), {"outputs": ["y", "other"], "old": ["other"]}


# ---- element types

def typed(dtype, edges=TensorProto.FLOAT):
    n = Net(dtype=dtype)
    n.input_type = edges
    y = n.node("Softmax", [n.gemm(n.features())])
    n.out(y, dtype=edges)
    expect = {"head": dtype, "limit": 1e-5 if dtype == TensorProto.DOUBLE else 2e-3}
    return n.model(), expect if edges == TensorProto.FLOAT else dict(expect, edges=NP[edges])


@case
def float16():
    return typed(TensorProto.FLOAT16)


@case
def bfloat16():
    """The classifier alone: convolutions have no bfloat16."""
    n = Net()
    f = n.node("Cast", [n.features()], to=TensorProto.BFLOAT16)
    n.dtype = TensorProto.BFLOAT16
    y = n.node("Softmax", [n.node("Cast", [n.gemm(f)], to=TensorProto.FLOAT)], "y")
    n.dtype = TensorProto.FLOAT
    n.out(y)
    return n.model(), {"head": TensorProto.BFLOAT16, "limit": 1e-2}


@case
def double():
    return typed(TensorProto.DOUBLE)


@case
def float16_edges():
    return typed(TensorProto.FLOAT16, TensorProto.FLOAT16)


@case
def double_edges():
    return typed(TensorProto.DOUBLE, TensorProto.DOUBLE)


# ---- functions and branches

@case
def functions():
    n = Net()
    n.imports.append(helper.make_opsetid("pkg", 1))
    ops = [helper.make_opsetid("", 17)]
    conv = [helper.make_node("Conv", ["a", "w"], ["t"], "conv", strides=[2, 2]), helper.make_node("Relu", ["t"], ["r"], "relu")]
    linear = [helper.make_node("Gemm", ["a", "w", "b"], ["r"], "linear", transB=1)]
    leaf = [helper.make_node("Clip", ["a", "low"], ["r"], "clip"),
            helper.make_node("Constant", [], ["low"], value=numpy_helper.from_array(np.float32(-3)))][::-1]
    head = [helper.make_node("Leaf", ["a"], ["t"], "leaf", domain="pkg"),
            helper.make_node("Linear", ["t", "w", "b"], ["s"], "fc", domain="pkg"),
            helper.make_node("Softmax", ["s"], ["r"], "soft", axis=1)]
    make = lambda name, inputs, nodes, more=(): helper.make_function("pkg", name, inputs, ["r"], nodes, ops + list(more))
    n.functions += [make("Block", ["a", "w"], conv), make("Linear", ["a", "w", "b"], linear), make("Leaf", ["a"], leaf),
                    make("Head", ["a", "w", "b"], head, n.imports)]
    block = lambda x, w, *shape: n.nodes.append(
        helper.make_node("Block", [x, n.weight(w, *shape)], [w + ".out"], w + ".block", domain="pkg")) or w + ".out"
    x = block(block("x", "c1", FEATURES, 3, 3, 3), "c2", FEATURES, FEATURES, 2, 2)
    f = n.node("Flatten", [n.node("GlobalAveragePool", [x])])
    n.nodes.append(helper.make_node("Head", [f, n.weight("w", OLD, FEATURES), n.weight("b", OLD)], ["y"], "head", domain="pkg"))
    n.out("y")
    return n.model(), {}


@case
def branches():
    """What PyTorch writes for squeeze(): a branch for each shape, with constants and weights of its own."""
    n = Net()
    f = n.pool()
    shape = n.node("Gather", [n.node("Shape", [f]), n.ints("two", 2)])
    same = n.node("Equal", [shape, n.ints("one", 1)])
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    squeeze = helper.make_graph([helper.make_node("Squeeze", [f, "axes"], ["s"], "squeeze")], "a", [], [value("s")],
                                [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")])
    keep = helper.make_graph([helper.make_node("Identity", [f], ["s"], "keep")], "b", [], [value("s")])
    n.node("If", [same], "f", then_branch=squeeze, else_branch=keep)
    fc = helper.make_graph([helper.make_node("Gemm", ["f", "w", "b"], ["s"], "fc", transB=1)], "a", [], [value("s")],
                           [numpy_helper.from_array(RNG.normal(0, 0.3, (OLD, FEATURES)).astype(np.float32), "w"),
                            numpy_helper.from_array(np.zeros(OLD, np.float32), "b")])
    n.node("If", [same], "y", then_branch=fc, else_branch=keep)
    n.out("y")
    return n.model(), {}


@case
def loops():
    """A Loop that multiplies by a weight from around it, three times, and a Scan that adds the rows of another."""
    n = Net()
    n.inits += [numpy_helper.from_array(np.array(3), "three"), numpy_helper.from_array(np.array(True), "yes")]
    gain, rows = n.weight("gain", FEATURES), n.weight("rows", 2, FEATURES)
    value = lambda name, kind=TensorProto.FLOAT, shape=None: helper.make_tensor_value_info(name, kind, shape)
    times = helper.make_graph(
        [helper.make_node("Mul", ["v", gain], ["g"]), helper.make_node("Add", ["v", "g"], ["v2"]), helper.make_node("Identity", ["c"], ["c2"])], "times",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v")], [value("c2", TensorProto.BOOL, []), value("v2")])
    plus = helper.make_graph([helper.make_node("Add", ["s", "row"], ["s2"])], "plus", [value("s"), value("row")], [value("s2")])
    f = n.node("Loop", ["three", "yes", n.features()], "looped", body=times)
    f = n.node("Scan", [f, rows], "scanned", body=plus, num_scan_inputs=1)
    n.out(n.gemm(f, output="y"))
    return n.model(), {}


# ---- the file

@case
def opset_6_listed():
    n = Net(opset=6, ir=3, listed=True)
    x = n.node("Conv", ["x", n.weight("c.weight", FEATURES, 3, 3, 3)], strides=[2, 2], kernel_shape=[3, 3])
    bn = [n.init(name, value) for name, value in (("g", np.ones(FEATURES)), ("h", np.zeros(FEATURES)),
                                                  ("m", np.zeros(FEATURES)), ("v", np.ones(FEATURES)))]
    x = n.node("Relu", [n.node("BatchNormalization", [x, *bn], is_test=1)])
    f = n.node("Dropout", [n.node("Flatten", [n.node("GlobalAveragePool", [x])])], ratio=0.5, is_test=1)
    y = n.node("Gemm", [f, n.weight("w", OLD, FEATURES), n.weight("b", OLD)], transB=1, broadcast=1)
    n.out(n.node("Softmax", [n.node("Reshape", [y, n.ints("shape", -1, OLD)])], "y"))
    return n.model(), {}


@case
def opset_1():
    n = Net(opset=1, ir=3, listed=True)
    x = n.node("Conv", ["x", n.weight("c.weight", FEATURES, 3, 3, 3)], strides=[2, 2], kernel_shape=[3, 3])
    f = n.node("Flatten", [n.node("GlobalAveragePool", [n.node("Relu", [x])])])
    y = n.node("Gemm", [f, n.weight("w", OLD, FEATURES), n.weight("b", OLD)], transB=1, broadcast=1)
    n.out(n.node("Softmax", [n.node("Reshape", [y], shape=[-1, OLD])], "y"))
    return n.model(), {}


@case
def listed_as_inputs():
    n = Net(ir=8, listed=True)
    n.out(n.gemm(n.features(), output="y"))
    return n.model(), {}


@case
def declared_shapes():
    n = Net()
    f = n.features()
    y = n.gemm(f, output="logits")
    n.info += [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", OLD]),
               helper.make_tensor_value_info(f, TensorProto.FLOAT, ["N", FEATURES])]
    n.out(n.node("Softmax", [y], "y"))
    return n.model(), {"info": [f]}


@case
def batch_is_classes():
    n = Net(batch=OLD)
    n.out(n.node("Reshape", [n.gemm(n.features()), n.ints("shape", OLD, OLD)], "y"), (OLD, OLD))
    return n.model(), {"batch": OLD}


@case
def nodes_in_any_order():
    n = Net()
    n.out(n.node("Softmax", [n.gemm(n.features())], "y"))
    n.nodes.reverse()
    return n.model(), {}


@case
def names_twice():
    n = Net()
    f = n.features()
    f = n.node("Relu", [n.gemm(f, "a.weight", "a.bias", classes=FEATURES, name="linear")])
    y = n.gemm(f, name="linear")
    n.out(n.gemm(n.node("Neg", [f]), "b.weight", "b.bias", "aux", name="linear"))
    n.outputs.insert(0, helper.make_tensor_value_info(y, TensorProto.FLOAT, ["N", OLD]))
    return n.model(), {"maybe": True}


@case
def no_node_names():
    n = Net()
    n.out(n.gemm(n.features(), output="y"))
    for k in n.nodes:
        k.name = ""
    return n.model(), {}


@case
def batch_zero():
    """0 and -1 stand for any batch."""
    n = Net(batch=0)
    n.out(n.gemm(n.features(), output="y"), (-1, OLD))
    return n.model(), {"dims": [["N", 3, SIZE, SIZE], ["N", 3]]}


@case
def old_labels():
    """What others wrote of the old classes goes."""
    n = Net()
    n.out(n.gemm(n.features(), output="y", classes=3), ("N", 3))
    model = n.model()
    helper.set_model_props(model, {"names": "{0: 'x', 1: 'y', 2: 'z'}", "author": "somebody"})
    return model, {"meta": ["author"]}


@case
def three_dimensions():
    """Three dimensions, and a squeeze behind the softmax."""
    n = Net()
    f = n.node("Reshape", [n.features(), n.ints("sh", 0, 1, FEATURES)])
    y = n.node("Add", [n.node("MatMul", [f, n.weight("w", FEATURES, OLD)]), n.weight("b", OLD)])
    n.out(n.node("Squeeze", [n.node("Softmax", [y], axis=-1), n.ints("ax", 1)], "y"))
    return n.model(), {}


@case
def einsum():
    n = Net()
    y = n.node("Einsum", [n.features(), n.weight("w", OLD, FEATURES)], equation="nc,kc->nk")
    n.out(n.node("Add", [y, n.weight("b", OLD)], "y"))
    return n.model(), {}


@case
def dequantized_head():
    """Integers for weight and bias, dequantized where they are read."""
    n = Net()
    f = n.features()
    n.init("sw", 0.02), n.init("sb", 0.03)
    n.inits.append(numpy_helper.from_array(RNG.integers(-20, 20, (FEATURES, OLD)).astype(np.int8), "w8"))
    n.inits.append(numpy_helper.from_array(RNG.integers(-20, 20, OLD).astype(np.int32), "b32"))
    y = n.node("MatMul", [f, n.node("DequantizeLinear", ["w8", "sw"])])
    n.out(n.node("Add", [y, n.node("DequantizeLinear", ["b32", "sb"])], "y"))
    return n.model(), {}
