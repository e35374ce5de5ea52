"""A network, compiled: Session(...).run(None, {"x": a}) as ONNX Runtime has it, and classify() for images.

    import NAME
    y, = NAME.Session().run(None, {"x": x})
    NAME.classify("cat.jpg")[0]                 (label, probability); wants Pillow

Threads: a session does one run at a time; calls from several threads wait for each other. Sessions of their own run at the same
time, and share the weights. Python's lock is not held during a run.
Pickling: a session becomes its options, and is made anew where it is unpickled (another process, too).
Fork: a child may go on with what it inherited, on one thread where its parent had used several; a session made in the child, or a child by
"spawn", has all.
The network is model.so beside this file; what it says about images and classes is model.json. This file is the same for all.
"""
import ctypes
import json
import math
import os
import threading
import weakref

import numpy

__all__ = ["Session", "NodeArg", "classify", "labels"]

_FOLDER = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(_FOLDER, "model.json"), encoding="utf-8") as _f:
    _MODEL = json.load(_f)
_DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "uint16", "i8": "int8", "i16": "int16", "i32": "int32",
           "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "bool": "bool"}
_TYPES = {"f32": "float", "f64": "double", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "i16": "int16", "i32": "int32",
          "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "bool": "bool"}


class _TensorInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_char_p), ("rank", ctypes.c_int), ("dim", ctypes.c_int64 * 8)]


class _Options(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int), ("n_inputs", ctypes.c_int), ("inputs", ctypes.c_void_p)]


def _load():
    lib = ctypes.CDLL(os.path.join(_FOLDER, "model.so"))
    model, i32, i64, pointer = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    signatures = {"create": (model, ctypes.POINTER(_Options), ctypes.c_char_p, ctypes.c_size_t), "destroy": (None, model),
                  "n_inputs": (i32, model), "n_outputs": (i32, model), "input_info": (_TensorInfo, model, i32),
                  "output_info": (_TensorInfo, model, i32), "input_bytes": (i64, model, i32, i64),
                  "output_bytes": (i64, model, i32, i64), "output_dim": (i64, model, i32, i32),
                  "run": (i32, model, i64, pointer, pointer), "error": (ctypes.c_char_p, model)}
    functions = {}
    for name, (result, *arguments) in signatures.items():
        function = getattr(lib, _MODEL["symbol"] + "_" + name)
        function.restype, function.argtypes = result, arguments
        functions[name] = function
    return functions


_C = _load()


class NodeArg:
    """An input or output: name, type ("tensor(float)"), shape; a size that is the batch is "N"."""

    def __init__(self, info):
        self.name, self._dtype = info.name.decode(), info.dtype.decode()
        self.type = f"tensor({_TYPES[self._dtype]})"
        self.shape = ["N" if d < 0 else d for d in info.dim[:info.rank]]
        self.dtype = numpy.dtype(_DTYPES[self._dtype])

    def __repr__(self):
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape})"

    def _batch(self, shape):
        """N of an array of this shape; 0 where none is asked for; None: it does not fit."""
        sizes = {s for d, s in zip(self.shape, shape) if d == "N"}
        fits = len(shape) == len(self.shape) and len(sizes) < 2 and all(d in ("N", s) for d, s in zip(self.shape, shape))
        return (sizes.pop() if sizes else -1) if fits else None


_sessions = weakref.WeakSet()


def _after_fork():  # a thread of the parent's may have been in a run
    for session in _sessions:
        session._lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class Session:
    """threads: 0 is what OMP_NUM_THREADS, affinity and the cgroup's quota allow."""

    def __init__(self, threads=0):
        self._threads, self._lock = threads, threading.Lock()
        error = ctypes.create_string_buffer(512)
        self._model = _C["create"](ctypes.byref(_Options(threads=threads)), error, len(error))
        if not self._model:
            raise RuntimeError(error.value.decode(errors="replace"))
        self._close = weakref.finalize(self, _C["destroy"], self._model)
        self._inputs = [NodeArg(_C["input_info"](self._model, i)) for i in range(_C["n_inputs"](self._model))]
        self._outputs = [NodeArg(_C["output_info"](self._model, i)) for i in range(_C["n_outputs"](self._model))]
        _sessions.add(self)

    def __reduce__(self):
        return Session, (self._threads,)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Gives the memory back now; a session that nobody holds does so by itself."""
        with self._lock:
            self._close()
            self._model = None

    def get_inputs(self):
        return list(self._inputs)

    def get_outputs(self):
        return list(self._outputs)

    def run(self, output_names, input_feed):
        """A list of arrays, one for each name (None: all outputs). input_feed: {name: array}."""
        wanted = self._find_outputs(output_names)
        arrays, batch = self._check(input_feed)
        outputs = [numpy.empty([batch if d == "N" else d for d in o.shape], o.dtype) for o in self._outputs]
        with self._lock:
            if not self._model:
                raise RuntimeError("the session is closed")
            for kind, tensors in (("input", arrays), ("output", outputs)):  # sizes like 2N are told as -1, too
                for i, a in enumerate(tensors):
                    if _C[kind + "_bytes"](self._model, i, batch) != a.nbytes:
                        raise NotImplementedError(f"NYI: {kind} {i} has a size that is a multiple of the batch")
            code = _C["run"](self._model, batch, _pointers(arrays), _pointers(outputs))
            if code != 0:
                raise RuntimeError(_C["error"](self._model).decode(errors="replace"))
            return [self._as_large_as_made(i, outputs[i]) for i in wanted]

    def _as_large_as_made(self, i, array):
        """Where data decides a size, what the shape says is the most."""
        made = [_C["output_dim"](self._model, i, k) for k in range(array.ndim)]
        return array[tuple(slice(None if d < 0 else d) for d in made) or ...]

    def _find_outputs(self, names):
        known = {o.name: i for i, o in enumerate(self._outputs)}
        for name in names or ():
            if name not in known:
                raise ValueError(f"the model has no output '{name}'; it has {', '.join(known)}")
        return [known[name] for name in names] if names else range(len(known))

    def _check(self, feed):
        for name in feed:
            if name not in {i.name for i in self._inputs}:
                raise ValueError(f"the model has no input '{name}'; it has {', '.join(i.name for i in self._inputs)}")
        arrays, batch = [], -1
        for want in self._inputs:
            if want.name not in feed:
                raise ValueError(f"input '{want.name}' is missing")
            a = numpy.asarray(feed[want.name])
            if a.dtype != want.dtype:
                raise TypeError(f"input '{want.name}' is {want.dtype}, not {a.dtype}")
            n = want._batch(a.shape)
            if n is None or (n >= 0 and batch >= 0 and n != batch):
                raise ValueError(f"input '{want.name}' has shape {list(a.shape)}, the model takes {want.shape}")
            batch = max(batch, n)
            arrays.append(numpy.ascontiguousarray(a))
        return arrays, 1 if batch < 0 else batch

    def classify(self, image, top=5):
        """[(label, probability)] of an image, the most likely first: a path, an open file, or a PIL image."""
        if _MODEL["classifier"] < 0 or not _MODEL["preprocess"] or len(self._inputs) != 1:
            raise ValueError("the model does not classify images; use run()")
        size = self._inputs[0].shape
        if size[0] not in ("N", 1):
            raise ValueError(f"the model takes {size[0]} images at once; use run()")
        dtype = self._inputs[0].dtype
        x = preprocess(image, dtype == numpy.uint8).astype(dtype).reshape([1, *size[1:]])
        y, = self.run([self._outputs[_MODEL["classifier"]].name], {self._inputs[0].name: x})
        return [(_label(i), p) for i, p in _rank(y.astype(float).ravel())[:top]]


def _pointers(arrays):
    return (ctypes.c_void_p * max(len(arrays), 1))(*[a.ctypes.data for a in arrays])


def preprocess(image, raw=False):
    """The model's input of one image: float32 [height, width, channels] or [channels, height, width], as the model has it.
    raw: pixels as they are, for a model of bytes."""
    from PIL import Image, ImageOps

    p = _MODEL["preprocess"]
    if not isinstance(image, Image.Image):
        with Image.open(image) as opened:
            upright = opened if p["as_stored"] else ImageOps.exif_transpose(opened)
            return preprocess(upright.convert("RGB" if p["channels"] == 3 else "L"), raw)
    image = image.convert("RGB" if p["channels"] == 3 else "L")
    w, h = image.size
    width, height, short = p["width"], p["height"], p["resize"]
    if p["letterbox"]:
        by = min(width / w, height / h)
        w, h = max(round(w * by), 1), max(round(h * by), 1)
    elif short:
        w, h = (short, h * short // w) if w <= h else (w * short // h, short)
    else:
        w, h = width, height
    left = -((width - w) // 2) if w < width else round((w - width) / 2)
    upper = -((height - h) // 2) if h < height else round((h - height) / 2)
    resized = image.resize((w, h), getattr(Image, p["interpolation"].upper()))
    if p["letterbox"]:  # grey around it
        left, upper = -((width - w) // 2), -((height - h) // 2)
        image = Image.new(image.mode, (width, height), (114,) * p["channels"] if p["channels"] > 1 else 114)
        image.paste(resized, (-left, -upper))
    else:
        image = resized.crop((left, upper, left + width, upper + height))
    x = numpy.asarray(image, numpy.uint8).reshape(height, width, p["channels"])
    if p["bgr"]:
        x = x[:, :, ::-1]
    if not raw:
        scale = numpy.float32(p["scale"])
        x = x.astype(numpy.float32)
        x = x / numpy.float32(255) if scale == numpy.float32(1 / 255) else x * scale
        x = (x - numpy.array(p["mean"], numpy.float32)) / numpy.array(p["std"], numpy.float32)
    return x if p["nhwc"] else x.transpose(2, 0, 1)


def _label(i):
    names = _MODEL["labels"]
    return names[i] if names and i < len(names) and names[i] else f"class {i}"


def _rank(y):
    """[(class, probability)], the largest first; what the network says where that is no probability."""
    scores = _MODEL["scores"]
    logs = scores in ("logits", "log-probabilities")
    if not all(math.isfinite(v) or (logs and v == -math.inf) for v in y):
        raise ArithmeticError("the model's output is not finite")
    if len(y) == 1:
        yes = 1 / (1 + math.exp(-y[0])) if scores == "logits" else math.exp(y[0]) if logs else float(y[0])
        return sorted([(0, 1 - yes), (1, yes)], key=lambda c: -c[1])
    if logs:
        y = numpy.exp(y - y.max())
        y = y / y.sum()
    return [(int(i), float(y[i])) for i in numpy.argsort(-y, kind="stable")]


labels = _MODEL["labels"]
_shared = []


def classify(image, top=5):
    """Session().classify() on a session of the module's."""
    if not _shared:
        _shared.append(Session())
    return _shared[0].classify(image, top)
