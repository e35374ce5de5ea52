"""Writes ONNX models byte by byte, so that the hostile corpus can hold what no exporter would make.

A message is bytes; f(number, value) is one field of it: an int is a varint, bytes and str are delimited.
"""
import struct

FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE = 1, 2, 3, 6, 7, 8, 9, 10, 11


def varint(x):
    x &= (1 << 64) - 1
    out = bytearray()
    while x > 127:
        out.append(x & 127 | 128)
        x >>= 7
    out.append(x)
    return bytes(out)


def tag(number, wire):
    return varint(number << 3 | wire)


def f(number, value):
    if isinstance(value, int):
        return tag(number, 0) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return tag(number, 2) + varint(len(value)) + value


def f32(number, value):
    return tag(number, 5) + struct.pack("<f", value)


def attr(name, value):
    """An AttributeProto whose type follows from the value; a tuple (bytes, type) is a message made by hand."""
    head = f(1, name)
    if isinstance(value, tuple):
        return head + value[0] + f(20, value[1])
    if isinstance(value, int):
        return head + f(3, value) + f(20, 2)
    if isinstance(value, float):
        return head + f32(2, value) + f(20, 1)
    if isinstance(value, (str, bytes)):
        return head + f(4, value) + f(20, 3)
    return head + b"".join(f(8, v) for v in value) + f(20, 7)


def node(op, ins="x", outs="y", name="n", domain="", **attrs):
    """A NodeProto; inputs and outputs as lists or separated by spaces, '-' is an absent one."""
    texts = lambda number, names: b"".join(
        f(number, "" if t == "-" else t) for t in (names.split() if isinstance(names, str) else names))
    return (texts(1, ins) + texts(2, outs) + (f(3, name) if name else b"") + f(4, op) +
            b"".join(f(5, attr(k, v)) for k, v in attrs.items()) + (f(7, domain) if domain else b""))


def tensor(name, dims, elem=FLOAT, raw=None, more=b""):
    """A TensorProto; zeros of the right size when raw is None and nothing more is given."""
    if raw is None and not more:
        size = {FLOAT: 4, UINT8: 1, INT8: 1, INT32: 4, INT64: 8, BOOL: 1, FLOAT16: 2, DOUBLE: 8}[elem]
        for d in dims:
            size *= d
        raw = bytes(size)
    return (b"".join(f(1, d) for d in dims) + f(2, elem) + f(8, name) + (f(9, raw) if raw is not None else b"") + more)


def ints(name, *values):
    """An initializer of int64, rank 1."""
    return tensor(name, [len(values)], INT64, struct.pack(f"<{len(values)}q", *values))


def floats(name, dims, *values):
    return tensor(name, dims, FLOAT, struct.pack(f"<{len(values)}f", *values))


def scalar(name, value, elem=INT64):
    return tensor(name, [], elem, struct.pack({INT64: "<q", FLOAT: "<f", BOOL: "<?"}[elem], value))


def value(name, dims, elem=FLOAT):
    """A ValueInfoProto; a str among the dims is symbolic, None one without a value; dims None: no shape."""
    dim = lambda d: f(1, b"" if d is None else f(2, d) if isinstance(d, str) else f(1, d))
    shape = b"" if dims is None else f(2, b"".join(dim(d) for d in dims))
    return f(1, name) + f(2, f(1, f(1, elem) + shape))


def graph(nodes=(), inputs=(), outputs=(), inits=(), more=b""):
    return (b"".join(f(1, n) for n in nodes) + f(2, "g") + b"".join(f(5, t) for t in inits) +
            b"".join(f(11, v) for v in inputs) + b"".join(f(12, v) for v in outputs) + more)


def model(g, opset=13, more=b""):
    return f(1, 8) + f(8, f(2, opset)) + more + f(7, g)


def net(*nodes, x=(1, 3, 8, 8), elem=FLOAT, inits=(), opset=13, y="y"):
    """A model with the input x and the output y."""
    return model(graph(nodes, [value("x", x, elem)], [value(y, None)], inits), opset)
