"""Forms of weights, batch sizes and sizes of inputs, element types, training-mode exports, edges of the graph."""
import os

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from families_net import family

# ---------------------------------------------------------------- forms of weights

def store_externally(model, path):
    """The larger initializers in weights.bin beside the model, with offsets that are no multiples of a page."""
    name, at = os.path.basename(path) + ".weights", 0
    with open(os.path.join(os.path.dirname(path), name), "wb") as f:
        for t in model.graph.initializer:
            if t.HasField("raw_data") and len(t.raw_data) > 64:
                f.write(b"\0" * 4 + t.raw_data)
                external_data_helper.set_external_data(t, name, at + 4, len(t.raw_data))
                at += 4 + len(t.raw_data)
                t.ClearField("raw_data")
                t.data_location = TensorProto.EXTERNAL
    onnx.save(model, path)


def small_net(net, x):
    x = net.relu(net.conv(x, 8, 3, 2))
    x = net.op("Add", x, net.cbr(x, 8, 3))
    return net.classifier(x)


@family(11, save=store_externally)
def weights_external(net):
    small_net(net, net.input(3, 17, 17))


def cast_narrow_by_hand(model):
    """bfloat16 weights as float32 of the same numbers: not every ONNX Runtime casts bfloat16."""
    narrow = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.BFLOAT16}
    for t in narrow.values():
        if t.raw_data:
            bits = np.frombuffer(t.raw_data, np.uint16)
        else:
            bits = np.array(t.int32_data).astype(np.uint16)
        wide = (bits.astype(np.uint32) << 16).view(np.float32).reshape(t.dims)
        t.CopyFrom(numpy_helper.from_array(wide, t.name))
    return model


@family(13, reference=cast_narrow_by_hand)
def weights_typed(net):
    """Typed fields, Constant nodes, float16, bfloat16 and double behind Cast, generated fills, inputs with defaults."""
    x = net.input(3, 13, 13)

    def conv(x, w, out):
        return net.relu(net.op("Conv", x, w, c=out))

    def shaped(out, c):
        return net.weight(out, c, 3, 3)

    # float_data
    w = shaped(5, 3)
    net.inits.append(helper.make_tensor("typed", TensorProto.FLOAT, w.shape, w.ravel().tolist()))
    x = conv(x, "typed", 5)
    # a Constant node, and behind an Identity
    x = conv(x, net.op("Identity", net.constant(shaped(6, 5))), 6)
    # float16, raw and as bit patterns in int32_data
    w = shaped(4, 6).astype(np.float16)
    a = conv(x, net.op("Cast", net.init(w), to=1), 4)
    half_bits = w.view(np.uint16).ravel().tolist()
    net.inits.append(TensorProto(data_type=TensorProto.FLOAT16, dims=w.shape, name="half", int32_data=half_bits))
    b = conv(x, net.op("Cast", "half", to=1), 4)
    # bfloat16, raw and typed
    bits = shaped(4, 6).view(np.uint32) >> 16
    for form in ({"name": "bf_raw", "raw_data": bits.astype("<u2").tobytes()},
                 {"name": "bf_typed", "int32_data": bits.ravel().tolist()}):
        net.inits.append(TensorProto(data_type=TensorProto.BFLOAT16, dims=[4, 6, 3, 3], **form))
    c = conv(x, net.op("Cast", "bf_raw", to=1), 4)
    d = conv(x, net.op("Cast", "bf_typed", to=1), 4)
    # double: raw, typed
    w = shaped(4, 6).astype(np.float64)
    e = conv(x, net.op("Cast", net.init(w), to=1), 4)
    net.inits.append(helper.make_tensor("wide", TensorProto.DOUBLE, w.shape, w.ravel().tolist()))
    f = conv(x, net.op("Cast", "wide", to=1), 4)
    x = net.concat(a, b, c, d, e, f)
    # a fill and its arithmetic: folded
    fill = net.op("ConstantOfShape", net.ints(6, 24, 1, 1), value=numpy_helper.from_array(np.array([0.05], np.float32)))
    w = net.op("Mul", net.op("Add", fill, net.init(net.numbers(6, 1, 1, 1))), net.constant(np.float32(0.5)))
    x = conv(x, w, 6)
    # int32 and uint8 made numbers
    scale = net.op("Cast", net.init(np.array([1, 2, 3, 2, 1, 3], np.uint8).reshape(6, 1, 1)), to=1)
    shift = net.op("Cast", net.init(np.array([-1, 2, 0, 1, -2, 4], np.int32).reshape(6, 1, 1)), to=1)
    x = net.op("Add", net.op("Mul", x, scale), shift)
    net.output(net.gap(x), "y")


@family(7, 12)
def weights_as_inputs(net):
    """Every initializer is listed as an input too, as files before IR version 4 had to."""
    small_net(net, net.input(3, 17, 17))
    kinds = {TensorProto.FLOAT: TensorProto.FLOAT, TensorProto.INT64: TensorProto.INT64}
    for t in net.inits:
        net.init_inputs.append(helper.make_tensor_value_info(t.name, kinds[t.data_type], list(t.dims)))


def in_float32(model):
    """A float16 or double model in float32, its weights the same numbers."""
    g = model.graph
    for t in g.initializer:
        if t.data_type in (TensorProto.FLOAT16, TensorProto.DOUBLE):
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float32), t.name))
    for v in list(g.input) + list(g.output):
        v.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def retype(net, numpy_type, elem):
    """Turns a finished float32 net into one of another type."""
    for t in net.inits:
        if t.data_type == TensorProto.FLOAT:
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(numpy_type), t.name))
    for v in net.inputs + net.outputs:
        v.type.tensor_type.elem_type = elem


@family(12, reference=in_float32, feed=lambda x: x.astype(np.float16))
def all_float16(net):
    small_net(net, net.input(3, 17, 17))
    retype(net, np.float16, TensorProto.FLOAT16)


def in_float32_but_for_casts(model):
    """What a Cast to float16 rounds is float32 again at once."""
    for at, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16:
            half, node.output[0] = node.output[0], node.output[0] + "_half"
            model.graph.node.insert(at + 1, helper.make_node("Cast", [node.output[0]], [half], to=TensorProto.FLOAT))
    return in_float32(model)


@family(14, reference=in_float32_but_for_casts)
def inside_float16(net):
    """float16 between Casts, edges of float32, as converters with keep_io_types write it."""
    x = net.op("Cast", net.input(3, 17, 17), to=10)
    x = net.clip(net.conv(x, 8, 3, 2), 0, 6)
    x = net.op("Add", net.op("Mul", x, net.scalar(0.5)), net.conv(x, 8, 1))
    inputs, net.inputs = net.inputs, []
    retype(net, np.float16, TensorProto.FLOAT16)
    net.inputs = inputs
    net.output(net.gap(net.op("Cast", x, to=1)), "y")


@family(12, reference=in_float32, feed=lambda x: x.astype(np.float64))
def all_double(net):
    small_net(net, net.input(3, 17, 17))
    retype(net, np.float64, TensorProto.DOUBLE)


def with_weights_dequantized(model):
    """The products themselves in place of DequantizeLinear: ONNX Runtime may quantize the other operand too."""
    g, known = model.graph, {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in [n for n in g.node if n.op_type == "DequantizeLinear"]:
        q, scale, *zero = [known[name] for name in node.input]
        if scale.ndim:
            wide = [1] * q.ndim
            wide[node.attribute[0].i] = -1
            scale, zero = scale.reshape(wide), [z.reshape(wide) for z in zero]
        y = (q.astype(np.float32) - (zero[0].astype(np.float32) if zero else 0)) * scale
        g.initializer.append(numpy_helper.from_array(y.astype(np.float32), node.output[0]))
        g.node.remove(node)
    return model


@family(10, 13, 21, reference=with_weights_dequantized)
def dequantized(net):
    """Weights of int8 and uint8, per tensor and per channel, and int32 biases, through DequantizeLinear."""
    def quantized(array, per_axis, dtype, axis=0):
        rest = tuple(i for i in range(array.ndim) if i != axis)
        top = np.abs(array).max(axis=rest if per_axis else None)
        scale = (top / 127).astype(np.float32)
        zero = np.full(scale.shape, 128 if dtype == np.uint8 else 0, dtype)
        wide = scale.reshape([-1 if i == axis else 1 for i in range(array.ndim)]) if per_axis else scale
        q = np.round(array / wide) + (128 if dtype == np.uint8 else 0)
        q = np.clip(q, np.iinfo(dtype).min, np.iinfo(dtype).max)
        attrs = {"axis": axis} if net.opset >= 13 else {}
        inputs = [net.init(q.astype(dtype)), net.init(scale)]
        if dtype == np.uint8 or not per_axis:
            inputs.append(net.init(zero))
        return net.op("DequantizeLinear", *inputs, **attrs)

    per_axis = net.opset >= 13
    x = net.input(3, 15, 15)
    b = net.op("DequantizeLinear", net.init(np.arange(-400, 400, 100, dtype=np.int32)), net.scalar(0.001))
    x = net.relu(net.op("Conv", x, quantized(net.weight(8, 3, 3, 3), per_axis, np.int8), b, c=8, pads=[1, 1, 1, 1]))
    x = net.relu(net.op("Conv", x, quantized(net.weight(8, 8, 3, 3, group=8), per_axis, np.uint8), group=8, c=8))
    x = net.op("Flatten", net.gap(x))
    w = quantized(net.numbers(8, 10, dev=0.3), per_axis, np.int8, axis=1)
    net.output(net.op("Add", net.op("MatMul", x, w), quantized(net.numbers(10), False, np.uint8)), "logits")


# ---------------------------------------------------------------- batch and training mode

@family(9, 13, fixed_batch=1, flags=("--input-shape=x=Nx3x20x20",))
def batch_pinned(net):
    """Exported for one image, with that 1 in Reshape's targets; compiled for any number of them."""
    x = net.relu(net.conv(net.input(3, 20, 20), 6, 3, 2))
    x = net.reshape(net.transpose(net.reshape(x, 1, 2, 3, 10, 10), 0, 2, 1, 3, 4), 1, 6, 10, 10)
    net.c[x] = 6
    x = net.pool(net.conv(x, 8, 3), "Max", 2)
    y = net.reshape(x, 1, 200)
    net.output(net.dense(y, 200, 10), "logits")
    net.output(net.dense(net.reshape(x, 1, -1), 200, 4), "more")
    net.output(net.squeeze(net.gap(x), 2, 3), "pooled")


def in_inference(model):
    """The model that a training-mode export means for inference."""
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            del node.output[1:]
            for a in [a for a in node.attribute if a.name == "training_mode"]:
                node.attribute.remove(a)
        elif node.op_type == "Dropout" and len(node.input) > 2:
            del node.input[2:]
    return model


def in_training(model):
    """BatchNormalization written out with the batch's own moments (ONNX Runtime's inference build lacks it)."""
    g, nodes = model.graph, []
    for node in model.graph.node:
        if node.op_type == "Dropout":
            nodes.append(helper.make_node("Identity", node.input[:1], node.output[:1]))
        elif node.op_type != "BatchNormalization":
            nodes.append(node)
        else:
            x, scale, bias, mean, var = node.input
            attr = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            made = lambda name: f"{node.output[0]}/{name}"

            def const(name, array):
                g.initializer.append(numpy_helper.from_array(np.asarray(array), made(name)))
                return made(name)

            def add(kind, out, *inputs, **attrs):
                out = out if "/" not in out else made(out[1:])
                nodes.append(helper.make_node(kind, list(inputs), [out], **attrs))
                return out

            eps, m = const("eps", np.float32(attr.get("epsilon", 1e-5))), attr.get("momentum", 0.9)
            shape = const("shape", np.array([-1, 1, 1], np.int64))
            mu = add("ReduceMean", "/mu", x, axes=[0, 2, 3], keepdims=1)
            d = add("Sub", "/d", x, mu)
            v = add("ReduceMean", "/v", add("Mul", "/dd", d, d), axes=[0, 2, 3], keepdims=1)
            y = add("Div", "/n", d, add("Sqrt", "/dev", add("Add", "/ve", v, eps)))
            y = add("Mul", "/s", y, add("Reshape", "/scale", scale, shape))
            add("Add", node.output[0], y, add("Reshape", "/bias", bias, shape))
            flat = const("flat", np.array([-1], np.int64))
            for out, old, now in zip(node.output[1:3], (mean, var), (mu, v)):
                now = add("Reshape", f"/{old}flat", now, flat)
                now = add("Mul", f"/{old}now", now, const(old + "1-m", np.float32(1 - m)))
                add("Add", out, add("Mul", f"/{old}old", old, const(old + "m", np.float32(m))), now)
    del g.node[:]
    g.node.extend(nodes)
    return model


def training_form(net, keep=False):
    """As torch.onnx exports with TrainingMode.TRAINING."""
    x = net.conv(net.input(3, 17, 17), 8, 3, 2, bias=False)
    attrs = {"training_mode": 1} if net.opset >= 14 else {}
    y, mean, var = net.batch_norm(x, outs=3, momentum=0.8, **attrs)
    y = net.relu(y)
    z = net.batch_norm(net.conv(y, 8, 3), outs=3 if net.opset >= 14 else 5, **attrs)
    x = net.relu(net.op("Add", y, z[0]))
    if net.opset >= 12:
        ratio = net.scalar(0.0 if keep else 0.5)
        x = net.op("Dropout", x, ratio, net.init(np.array(True)), outs=2)[0]
    net.classifier(x)
    if keep:
        net.output(mean, "new_mean")
        net.output(z[2], "new_var")


@family(9, 12, 15, warning="training", reference=in_inference)
def training_default(net):
    training_form(net)


@family(9, 13, 15, flags=("--keep-training-mode",), reference=in_training, whole_batch=True)
def training_kept(net):
    training_form(net, keep=True)


# ---------------------------------------------------------------- edges of the graph

def with_open_batch(model):
    """ONNX Runtime takes a batch of -1 or 0 for a size."""
    for v in model.graph.input:
        v.type.tensor_type.shape.dim[0].dim_param = "N"
    return model


@family(8, reference=with_open_batch)
def batch_minus_one(net):
    """keras2onnx."""
    small_net(net, net.input(3, 15, 15, declared=[-1, 3, 15, 15]))


@family(9, reference=with_open_batch)
def batch_zero(net):
    """MXNet."""
    small_net(net, net.input(3, 15, 15, declared=[0, 3, 15, 15]))


@family(11, flags=("--input-shape", "x=Nx3x15x14"))
def size_pinned(net):
    """Height and width are names in the file; the pooled map is flattened, so their size matters."""
    x = net.input(3, 15, 14, declared=[None, 3, "height", "width"])
    x = net.pool(net.relu(net.conv(x, 8, 3, 2)), "Max", 2)
    net.output(net.dense(net.op("Flatten", x), 8 * 12, 10), "logits")


@family(12, flags=("--input-shape=Nx16x15x3",))
def rank_pinned(net):
    """The input has no shape at all."""
    x = net.transpose(net.input(16, 15, 3, channels=3, declared=None), 0, 3, 1, 2)
    small_net(net, x)


@family(10, 16)
def bytes_in(net):
    """Pixels as bytes, NHWC, scaled inside the graph."""
    x = net.op("Cast", net.input(16, 15, 3, channels=3, elem=TensorProto.UINT8), to=1)
    x = net.op("Div", net.op("Sub", x, net.init(np.array([123.7, 116.8, 103.9], np.float32))),
               net.init(np.array([58.4, 57.1, 57.4], np.float32)))
    small_net(net, net.transpose(x, 0, 3, 1, 2))


@family(13)
def edges(net):
    """Two inputs, an output that others read, one value as two outputs, a constant output, an input passed on."""
    x, y = net.input(3, 12, 12), net.input(4, 6, 6, name="y")
    a = net.output(net.relu(net.conv(x, 4, 3, 2)), "inner")
    b = net.op("Add", a, y)
    net.output(b, "sum")
    net.output(b, "same")
    net.output("y", "passed")
    net.output(net.init(net.numbers(2, 3)), "fixed")
    net.output(net.gap(net.concat(a, b, y, a)), "pooled")
