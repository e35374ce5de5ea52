"""A network, compiled: Session(...).run(None, {"x": a}) as ONNX Runtime has it, and classify() and
features() for images.

    import NAME
    y, = NAME.Session().run(None, {"x": x})
    NAME.classify("cat.jpg")[0]                 (label, probability)
    NAME.features("photos/")                    an array, a row for each image

Threads: a session does one run at a time; calls from several threads wait for each other. Sessions of their own run at the same
time, and share the weights. Python's lock is not held during a run.
Pickling: a session becomes its options, and is made anew where it is unpickled (another process, too).
Fork: a child may go on with what it inherited, on one thread where its parent had used several; a session made in the child, or a child by
"spawn", has all.
The network is model.so beside this file; what it says about images and classes is model.json. This file is the same for all.
"""
import ctypes
import json
import operator
import os
import threading
import weakref

import numpy

__all__ = ["Session", "NodeArg", "classify", "features", "files", "labels", "preprocess"]

_FOLDER = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(_FOLDER, "model.json"), encoding="utf-8") as _f:
    _MODEL = json.load(_f)
_DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "uint16", "i8": "int8", "i16": "int16", "i32": "int32",
           "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "bool": "bool"}
_TYPES = {"f32": "float", "f64": "double", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "i16": "int16", "i32": "int32",
          "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "bool": "bool"}


class _TensorInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_char_p), ("rank", ctypes.c_int), ("dim", ctypes.c_int64 * 8)]


class _Class(ctypes.Structure):
    _fields_ = [("index", ctypes.c_int64), ("score", ctypes.c_double), ("label", ctypes.c_char_p)]


class _Options(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int), ("n_inputs", ctypes.c_int), ("inputs", ctypes.c_void_p)]


def _load():
    lib = ctypes.CDLL(os.path.join(_FOLDER, "model.so"))
    model, i32, i64, pointer = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    signatures = {"create": (model, ctypes.POINTER(_Options), ctypes.c_char_p, ctypes.c_size_t), "destroy": (None, model),
                  "n_inputs": (i32, model), "n_outputs": (i32, model), "input_info": (_TensorInfo, model, i32),
                  "output_info": (_TensorInfo, model, i32), "input_bytes": (i64, model, i32, i64),
                  "output_bytes": (i64, model, i32, i64), "output_dim": (i64, model, i32, i32),
                  "run": (i32, model, i64, pointer, pointer), "error": (ctypes.c_char_p, model),
                  "image_bytes": (i64, model), "preprocess": (i32, model, ctypes.c_char_p, pointer),
                  "preprocess_bytes": (i32, model, ctypes.c_char_p, ctypes.c_size_t, pointer),
                  "preprocess_pixels": (i32, model, pointer, i32, i32, pointer), "classifier": (i32, model),
                  "rank": (i32, model, pointer, i32, pointer)}
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
        self._threads, self._lock = operator.index(threads), threading.Lock()
        if ctypes.c_int(self._threads).value != self._threads:
            raise RuntimeError(f"the options ask for {threads} threads")
        error = ctypes.create_string_buffer(512)
        self._model = _C["create"](ctypes.byref(_Options(threads=self._threads)), error, len(error))
        if not self._model:
            raise RuntimeError(_text(error.value))
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

    def _opened(self):
        """The model; with the lock held, or another thread may close it."""
        if not self._model:
            raise RuntimeError("the session is closed")
        return self._model

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
            self._opened()
            for kind, tensors in (("input", arrays), ("output", outputs)):  # sizes like 2N are told as -1, too
                for i, a in enumerate(tensors):
                    if _C[kind + "_bytes"](self._model, i, batch) != a.nbytes:
                        raise NotImplementedError(f"not supported: {kind} {i} has a size that is a multiple of the batch")
            code = _C["run"](self._model, batch, _pointers(arrays), _pointers(outputs))
            if code != 0:
                raise RuntimeError(_text(_C["error"](self._model)))
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

    def preprocess(self, image):
        """An image as the model's input takes it, without the batch: of a path, a file's bytes, an open file, pixels (uint8
        [height, width, 3], or [height, width]) or a PIL image; turned upright, resized, cropped and normalised as the network
        wants it. JPEG, PNG and WebP are decoded by the library itself; whatever else there is by Pillow."""
        with self._lock:
            if not _C["image_bytes"](self._opened()):
                raise ValueError("the model takes no images; use run()")
            x = numpy.empty(self._inputs[0].shape[1:], self._inputs[0].dtype)
            code = self._fill(image, x.ctypes.data)
            if code != 0:
                raise _image_error(image, _text(_C["error"](self._model)))
        return x

    def _fill(self, image, to):
        if hasattr(image, "read"):
            image = image.read()
        if isinstance(image, (str, os.PathLike)):
            path = os.fsencode(image)
            if b"\0" in path:  # C would end there
                raise ValueError("embedded null byte")
            return _C["preprocess"](self._model, path, to)
        if isinstance(image, (bytes, bytearray, memoryview)):
            data = bytes(image)
            return _C["preprocess_bytes"](self._model, data, len(data), to)
        rgb = _pixels(image)
        return _C["preprocess_pixels"](self._model, rgb.ctypes.data, rgb.shape[1], rgb.shape[0], to)

    def _batches(self, images, batch):
        """Arrays of the input, of `batch` images or what is left; all of a fixed number, with how many count."""
        size = self._inputs[0].shape[0]
        n = batch if size == "N" else size
        for i in range(0, len(images), n):
            rows = [self.preprocess(image) for image in images[i:i + n]]
            yield numpy.stack(rows + rows[-1:] * (0 if size == "N" else n - len(rows))), len(rows)

    def features(self, images, output=None, batch=8):
        """What an output (the first one, or that of this name) holds for images: an array with a row for each. images: a list
        of what preprocess() takes, or one; a folder means all JPEG, PNG and WebP files below it, in the order of files(folder)."""
        batch = _at_least_1("batch", batch)
        images = files(images) if isinstance(images, (str, os.PathLike)) else images
        images = images if isinstance(images, (list, tuple)) else [images]
        k, = self._find_outputs([output]) if output else [0]
        shape = self._outputs[k].shape
        if not shape or shape[0] != self._inputs[0].shape[0] or "N" in shape[1:]:
            raise ValueError(f"output '{self._outputs[k].name}' has no row for each image; use run()")
        rows = [numpy.empty([0, *shape[1:]], self._outputs[k].dtype)]
        for x, n in self._batches(images, batch):
            rows.append(self.run([self._outputs[k].name], {self._inputs[0].name: x})[0][:n])
        return numpy.concatenate(rows)

    def classify(self, image, top=5):
        """[(label, probability)] of an image, as preprocess() takes it, the most likely first."""
        top = _at_least_1("top", top)
        with self._lock:
            k = _C["classifier"](self._opened())
            takes_images = _C["image_bytes"](self._model) > 0
        if k < 0 or not takes_images:
            raise ValueError("the model does not classify images; use run()")
        (x, _), = self._batches([image], 1)
        y, = self.run([self._outputs[k].name], {self._inputs[0].name: x})
        row = numpy.ascontiguousarray(y[:1])
        found = (_Class * min(top, row.size + 1))()  # one score is of two classes
        with self._lock:
            n = _C["rank"](self._opened(), row.ctypes.data, len(found), found)
        if n < 0:
            raise ArithmeticError("the model's output is not finite")
        return [(c.label.decode(errors="replace") if c.label else f"class {c.index}", c.score) for c in found[:n]]


def _text(said):
    """Of the library's."""
    return said.decode(errors="replace").replace("NYI: ", "not supported: ")


def _at_least_1(name, n):
    n = operator.index(n)
    if n < 1:
        raise ValueError(f"{name} is at least 1, not {n}")
    return n


_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def files(path):
    """[path], or of a folder all files below it that are images by their names, in the order of names; hidden ones are left out.
    Links are followed, but into no folder that they lie in; one that leads nowhere is an image that cannot be read."""
    return list(_below(path, [])) if os.path.isdir(path) else [path]


def _below(folder, above):
    """above: (device, inode) of the folders that it lies in"""
    st = os.stat(folder)
    here = st.st_dev, st.st_ino
    for name in () if here in above else sorted(os.listdir(folder), key=os.fsencode):
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from _below(path, [*above, here])
        elif not os.path.exists(path) or (os.path.isfile(path) and name.lower().endswith(_ENDINGS)):
            yield path


def _pixels(image):
    """uint8 [height, width, 3], dense."""
    if hasattr(image, "convert"):  # Pillow's
        if not (_MODEL["preprocess"] or {}).get("as_stored"):
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
        image = image.convert("RGB")
    a = numpy.asarray(image)
    a = numpy.repeat(a[..., None] if a.ndim == 2 else a, 3 if a.ndim == 2 or a.shape[-1:] == (1,) else 1, axis=-1)
    if a.dtype != numpy.uint8 or a.ndim != 3 or a.shape[2] != 3:
        raise TypeError(f"pixels are uint8 [height, width, 3], not {a.dtype} {list(a.shape)}")
    return numpy.ascontiguousarray(a)


def _image_error(image, text):
    missing = isinstance(image, (str, os.PathLike)) and not os.path.exists(image)
    return FileNotFoundError(text) if missing else ValueError(text)


def _pointers(arrays):
    return (ctypes.c_void_p * max(len(arrays), 1))(*[a.ctypes.data for a in arrays])


labels = _MODEL["labels"]
_shared = []


def _session():
    if not _shared:
        _shared.append(Session())
    return _shared[0]


def classify(image, top=5):
    """Session().classify() on a session of the module's."""
    return _session().classify(image, top)


def features(images, output=None, batch=8):
    """Session().features() on a session of the module's."""
    return _session().features(images, output, batch)


def preprocess(image):
    """Session().preprocess() on a session of the module's."""
    return _session().preprocess(image)
