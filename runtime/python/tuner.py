"""A network that trains on your images. The fine-tune program is in this package; it does the work in a process of its own.

    import NAME
    run = NAME.fit("photos/", epochs=3, callback=print)    # photos/CLASS/*.jpg, train/ and val/, a list, arrays
    run.model, run.history                                 # an ONNX file; what the callback was told
    NAME.predict(["rose.jpg"])                             # [[(label, probability), ...]]; bytes, pixels, PIL images, too
    NAME.evaluate("photos/")["top1"]

Options are those of the program (the file NAME.program, with `train --help`), with _ for -: fit("photos/", report="report.html", early_stop=3).
Threads: calls are processes, so any thread may make them; two runs of fit() at once want folders of checkpoints of their own.
Fork and pickling: there is nothing here that lives longer than a call.
An exception in the callback, or Ctrl-C, ends the program as SIGINT does: it saves a checkpoint, and fit(..., resume=True) goes on from there.
The program is `program` beside this file; this file is the same for all.
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading

__all__ = ["fit", "predict", "evaluate", "export", "Run", "program"]

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_NAME = os.path.basename(_FOLDER)
program = os.path.join(_FOLDER, "program")
with open(os.path.join(_FOLDER, "model.json"), encoding="utf-8") as _f:
    _MODEL = json.load(_f)
_PATIENCE = 60  # seconds for a program to save and end
_STOPPED = 128 + signal.SIGINT  # its exit code when a checkpoint was saved
_INSTEAD = {"log": "callback= is told the same", "out": "model= names the file", "output": "model= names the file",
            "checkpoint": "checkpoints= names the folder", "no-checkpoint": "a run that is ended goes on, and is exported, from a checkpoint",
            "help": "the file NAME.program has it"}  # options of the program's


class Run:
    """What fit() did. model: the ONNX file, None after lr_find; history: a dictionary for each step and epoch; stopped: the callback ended it."""

    def __init__(self, model, history, stopped, said):
        self.model, self.history, self.stopped, self.said = model, history, stopped, said

    def epochs(self):
        return [e for e in self.history if e["event"] == "epoch"]

    def __repr__(self):
        return f"Run(model={self.model!r}, epochs={len(self.epochs())}, stopped={self.stopped})"


def _words(options):
    """As the program takes them."""
    words = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        name = name.replace("_", "-")
        if name in _INSTEAD:
            raise TypeError(f"{name.replace('-', '_')}= is no argument: {_INSTEAD[name]}")
        words.append("--" + name)
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, (list, tuple)) else os.fspath(value) if isinstance(
                value, os.PathLike) else str(value))
    return words


def _in_python(text):
    """What the program says, with its options as arguments: overwrite= for --overwrite."""
    words = {"checkpoint": "checkpoints", "out": "model"}
    option = re.compile(r"(?:(?<=^)|(?<=[\s'(]))--([a-z][a-z-]*[a-z])", re.MULTILINE)
    return option.sub(lambda m: words.get(m[1], m[1]).replace("-", "_") + "=", text).replace("NYI: ", "not supported: ")


def _fail(code, text):
    lines = [line for line in _in_python(text).splitlines() if line.strip() and not line.startswith("Try '")]
    raise (TypeError if code == 2 else RuntimeError)("\n".join(lines[-8:]) or f"the program ended with code {code}")


def _call(*words):
    """Standard output; that of code 1, too, where there is some. Raises what the program said."""
    r = subprocess.run([program, *map(os.fspath, words)], stdin=subprocess.DEVNULL, capture_output=True)
    out = r.stdout.decode(errors="replace")
    if r.returncode and not (r.returncode == 1 and out.strip()):
        _fail(r.returncode, r.stderr.decode(errors="replace"))
    return out


def _drain(fd):
    with open(fd, "rb", buffering=0) as pipe:
        while pipe.read(1 << 16):
            pass


def _end(process, lines):
    """It saves first. What it still logs is read away: it would wait for ever in front of a full pipe."""
    process.send_signal(signal.SIGINT)
    threading.Thread(target=_drain, args=[os.dup(lines.fileno())], daemon=True).start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        try:
            process.wait(_PATIENCE)
        finally:  # a second Ctrl-C, too
            process.kill()
            process.wait()


def _is_false(answer):
    """False, NumPy's too; None and 0 are not."""
    return type(answer).__name__ in ("bool", "bool_") and not answer


def _listen(process, lines, callback):
    """(what was told, whether the callback ended it)"""
    history, stopped = [], False
    for line in lines:
        history.append(json.loads(line))
        if callback and not stopped and _is_false(callback(history[-1])):
            stopped = True
            process.send_signal(signal.SIGINT)
    return history, stopped


def _train(words, callback):
    """(history, stopped, exit code, what it said)"""
    read, write = os.pipe()
    with os.fdopen(read, encoding="utf-8", errors="replace") as lines, tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen([program, "train", "--log", f"/dev/fd/{write}", *words], stdin=subprocess.DEVNULL, stdout=said,
                                       stderr=said, pass_fds=[write])
        finally:
            os.close(write)
        try:
            history, stopped = _listen(process, lines, callback)
            code = process.wait()
        except BaseException:
            _end(process, lines)
            raise
        said.seek(0)
        return history, stopped, code, said.read().decode(errors="replace")


def fit(data, callback=None, model=None, checkpoints=None, **options):
    """Trains on labelled images, and writes the tuned network to `model` (NAME-tuned.onnx). callback: called with a dictionary for each
    step ("event": "step") and epoch ("epoch"); False ends the run, whose best epoch so far is written. checkpoints: a folder (NAME.ckpt)."""
    model, checkpoints = model or _NAME + "-tuned.onnx", checkpoints or _NAME + ".ckpt"
    trained = not any(name.replace("_", "-") == "lr-find" for name in options)
    places = ["-o", os.fspath(model), "--checkpoint", os.fspath(checkpoints)] if trained else []
    words = [*places, *_words(options), "--", os.fspath(data)]
    history, stopped, code, text = _train(words, callback)
    if code and not (stopped and code == _STOPPED):
        _fail(code, text)
    if code and trained:
        export(model, checkpoints)
    return Run(os.fspath(model) if trained else None, history, stopped, text)


def _picture(image):
    """Pixels or a PIL image as one that is written as it is seen."""
    from PIL import Image, ImageOps

    if hasattr(image, "convert"):
        return image if (_MODEL["preprocess"] or {}).get("as_stored") else ImageOps.exif_transpose(image)
    shape = list(getattr(image, "shape", ()))
    if str(getattr(image, "dtype", "")) != "uint8" or len(shape) not in (2, 3) or shape[2:] not in ([], [1], [3]) or 0 in shape:
        raise TypeError(f"pixels are uint8 [height, width, 3], not {getattr(image, 'dtype', type(image).__name__)} {shape}")
    return Image.fromarray(image[..., 0] if shape[2:] == [1] else image)


def _path(image, scratch):
    """The file of an image: one that has none is written to `scratch`."""
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        if os.path.isdir(path):
            raise ValueError(f"{path}: is a folder; predict() takes a list of images")
        if not os.path.exists(path):  # nor a pattern
            raise ValueError(f"{path}: No such file or directory")
        return os.path.join(".", path) if path == "-" else path
    image = image.read() if hasattr(image, "read") else image
    if isinstance(image, (bytes, bytearray, memoryview)):
        with open(scratch, "wb") as f:
            f.write(image)
    else:
        _picture(image).convert("RGB").save(scratch, "PNG")
    return scratch


def predict(images, top=5, checkpoints=None, tta=None, temperature=None):
    """[(label, probability)] of each image, by the best parameters so far; of one that is no list: its own. An image is a path, a file's
    bytes, an open file, pixels (uint8 [height, width, 3], or [height, width]) or a PIL image. tta: "flip", "five-crop" or "ten-crop", the mean over
    such views of each; temperature: as evaluate() finds it."""
    several = isinstance(images, (list, tuple))
    with tempfile.TemporaryDirectory() as folder:
        paths = [_path(image, os.path.join(folder, f"image {i}")) for i, image in enumerate(images if several else [images])]
        words = ["--json", "--top", str(top), "--checkpoint", checkpoints or _NAME + ".ckpt", *_words({"tta": tta, "temperature": temperature})]
        out = _call("predict", *words, "--", *paths) if paths else "[]"
    rows = json.loads(out)
    for row in rows:
        if "error" in row:
            raise ValueError(_in_python(row["error"].replace(folder + os.sep, "")))
    if len(rows) != len(paths):
        raise RuntimeError(f"the program has {len(rows)} answers to {len(paths)} images")
    found = [[(t["label"] or f"class {t['class']}", t["probability"]) for t in row["top"]] for row in rows]
    return found if several else found[0]


def evaluate(data, checkpoints=None, **options):
    """A dictionary: loss, top1, top5, images, of each class precision and recall, by the best parameters so far."""
    return json.loads(_call("eval", "--json", "--checkpoint", checkpoints or _NAME + ".ckpt", *_words(options), "--", data))


def export(model, checkpoints=None):
    """Writes the tuned network, an ONNX file, once more; returns its path."""
    _call("export", "--checkpoint", checkpoints or _NAME + ".ckpt", "--", model)
    return os.fspath(model)

