"""A fixed batch that is opened to N, and arithmetic on a symbolic one (batch_models.py).

The reference is the same model at a fixed batch, compiled without opening anything: image by image (or B by B) for a
model that was made for B, as a whole at batch 3 for one that declares N. CASE names after the two usual arguments select."""
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import batch_models as bm
from script import HONE, main, ok, run, temp

LIMIT = 2e-5  # of the largest value


def chosen(cases):
    return {k: v for k, v in cases.items() if not sys.argv[3:] or k in sys.argv[3:]}


def write(model, folder):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    return path


def compile_model(path, out, *flags):
    """Returns the warnings."""
    code, text, err = run(HONE, "compile", path, "-o", out, *flags)
    assert code == 0, f"exit code {code}: {text}{err}"
    return [line for line in err.splitlines() if "warning" in line]


def infer(program, x, n_outputs, folder):
    """The outputs, float64, for one array of images; None where the program does not take as many."""
    np.save(f"{folder}/in.npy", x)
    code, text, err = run(program, "run", "-i", f"x={folder}/in.npy",
                          *(a for i in range(n_outputs) for a in ("-o", f"y{i}={folder}/out_{i}.npy")))
    assert code == 0, text + err
    return [np.load(f"{folder}/out_{i}.npy").astype(np.float64) for i in range(n_outputs)]


def images(shape, n):
    return np.random.default_rng(11).standard_normal((n, *shape)).astype(np.float32)


def check_same(got, want, what):
    """Elements in their order: where the batch has no axis in the reference it gets one in front."""
    assert got.size == want.size, f"{what}: shape {got.shape}, {want.shape} is right"
    worst = np.abs(got.ravel() - want.ravel()).max() / max(np.abs(want).max(), 1e-30) if want.size else 0
    assert worst <= LIMIT, f"{what}: difference {worst:.2e}"


def batch_axis(got, ref, images_of_got, images_of_ref):
    """The axis of got that holds the images; None: one was put before all others."""
    if got.ndim != ref.ndim:
        return None
    return next(i for i in range(got.ndim) if got.shape[i] * images_of_ref == ref.shape[i] * images_of_got)


def check_fixed(name, size):
    f, shape, _, opset, stays = bm.FIXED[name]
    folder = temp(f"{name}_{size}")
    model = bm.make(f, shape, opset, size, size)
    path, n_out = write(model, folder), len(model.graph.output)
    assert not compile_model(path, f"{folder}/closed")
    flag = "x=N" + "".join(f"x{d}" for d in shape)
    warnings = compile_model(path, f"{folder}/open", "--input-shape", flag)
    x = images(shape, 3 * size)
    groups = [infer(f"{folder}/closed", x[i * size:(i + 1) * size], n_out, folder) for i in range(3)]
    if stays:
        assert len(warnings) == 1 and f"stays at batch size {size}" in warnings[0] and stays in warnings[0], warnings
        for got, want in zip(infer(f"{folder}/open", x[:size], n_out, folder), groups[0]):
            check_same(got, want, f"{name} stays at {size}")
        return
    assert not warnings, warnings
    for n in (1, 3) if size == 1 else (size, 3 * size):
        for i, got in enumerate(infer(f"{folder}/open", x[:n], n_out, folder)):
            ref = groups[0][i]
            axis = batch_axis(got, ref, n, size)
            parts = [groups[k][i] for k in range(n // size)]
            want = np.stack(parts) if axis is None else np.concatenate(parts, axis)
            check_same(got, want, f"{name} y{i}, made for {size}, at batch {n}")


def check_open(name):
    f, shape, opset, only_one, stays = bm.OPEN[name]
    folder = temp(name)
    model = bm.make(f, shape, opset, 1, "N")
    path, n_out, x = write(model, folder), len(model.graph.output), images(shape, 3)
    warnings = compile_model(path, f"{folder}/open")
    if stays:
        assert len(warnings) == 1 and "stays at batch size 1" in warnings[0] and stays in warnings[0], warnings
    elif only_one:
        assert len(warnings) == 1 and "was exported for 1" in warnings[0], warnings
    else:
        assert not warnings, warnings
    closed = {n: os.path.join(folder, f"closed_{n}") for n in ((1,) if only_one or stays else (1, 3))}
    for n, program in closed.items():
        assert not compile_model(write(bm.make(f, shape, opset, 1, n), f"{folder}/{n}"), program)
        got = infer(f"{folder}/open", x[:n], n_out, folder)
        for i, (g, w) in enumerate(zip(got, infer(program, x[:n], n_out, folder))):
            assert g.shape == w.shape, f"{name} y{i}: {g.shape}, {w.shape} is right"
            check_same(g, w, f"{name} y{i} at batch {n}")
    if only_one:
        for i, got in enumerate(infer(f"{folder}/open", x, n_out, folder)):
            want = np.concatenate([infer(closed[1], x[k:k + 1], n_out, folder)[i] for k in range(3)])
            check_same(got, want, f"{name} y{i}, each alone")


def run_all(check, jobs):
    wrong = []

    def one(job):
        try:
            check(*job)
        except Exception as e:
            wrong.append(f"{job}: {e}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, jobs))
    assert not wrong, "\n    ".join([f"{len(wrong)} of {len(jobs)}", *wrong])


def test_a_fixed_batch_is_opened():
    run_all(check_fixed, [(name, size) for name, case in chosen(bm.FIXED).items() for size in case[2]])


def test_a_symbolic_batch_is_followed():
    run_all(check_open, [(name,) for name in chosen(bm.OPEN)])


def test_a_number_for_a_fixed_batch():
    """--input-shape x=5x...: as N, at 5."""
    f, shape, _, opset, _ = bm.FIXED["swin_last"]
    folder = temp("number")
    path = write(bm.make(f, shape, opset, 1, 1), folder)
    assert not compile_model(path, f"{folder}/five", "--input-shape", "x=5x6x8x8")
    compile_model(path, f"{folder}/one")
    x = images(shape, 5)
    want = np.concatenate([infer(f"{folder}/one", x[i:i + 1], 1, folder)[0] for i in range(5)])
    check_same(infer(f"{folder}/five", x, 1, folder)[0], want, "five images")
    code, _, err = run(f"{folder}/five", "bench", "--batch", 2)
    assert code == 1 and "compiled for batch size 5" in err, err
    code, _, err = run(HONE, "compile", path, "-o", f"{folder}/many", "--input-shape", "x=2147483647x6x8x8")
    assert code == 1 and "at the batch size of --input-shape" in err and len(err.splitlines()) == 1, err
    assert not os.path.exists(f"{folder}/many")


def test_verify_compares_images():
    f, shape, _, opset, _ = bm.FIXED["swin_last"]
    path = write(bm.make(f, shape, opset, 1, 1), temp("verified"))
    out = ok(HONE, "verify", path, "--input-shape", "x=Nx6x8x8")
    line = [text for text in out.splitlines() if text.startswith("batch 3 against each image alone")]
    assert len(line) == 1 and line[0].endswith(": ok"), out

    def mixes(net, x):
        return net.op("Sub", x, net.op("ReduceMean", x, axes=[0], keepdims=1))

    path = write(bm.make(mixes, (4,), 17, 1, "N"), temp("mixed"))
    out = ok(HONE, "verify", path)
    assert "they differ: the model mixes the images of a batch" in out and "FAILED" not in out, out


def photos(folder, n):
    rng = np.random.default_rng(5)
    for c in ("ant", "bee", "cat"):
        os.makedirs(f"{folder}/{c}")
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8), "RGB").save(f"{folder}/{c}/{i}.png")


def vit(net, x):
    """A small ViT, exported for one image."""
    y = net.transpose(net.reshape(net.op("Conv", x, net.weight(6, 3, 4, 4), strides=[4, 4]), 1, 6, 4), 0, 2, 1)
    y = net.op("Add", net.op("Concat", net.weight(1, 1, 6), y, axis=1), net.weight(1, 5, 6))
    y = net.op("Add", y, sequence_first(net, y))
    return net.linear(net.op("Gather", y, net.int(0), axis=1), 6, 4)


def sequence_first(net, x):
    return bm.sequence_first_attention(net, x)


def windowed(net, x):
    """The same with windows, -1 in the last place of every target."""
    y = net.transpose(net.op("Conv", x, net.weight(6, 3, 1, 1)), 0, 2, 3, 1)
    y = bm.windows(net, bm.windows(net, y, "last"), "last", shift=2)
    return net.linear(net.op("ReduceMean", net.reshape(y, -1, 64, 6), axes=[1], keepdims=0), 6, 4)


def test_batch_of_none():
    """What does not depend on the batch is computed all the same; sums of nothing are 0."""
    x, z, k = images((3, 6, 6), 0), images((5,), 2), images((3, 3, 3), 4)
    nodes = [onnx.helper.make_node("Conv", ["x", "k"], ["c"]), onnx.helper.make_node("Softmax", ["z"], ["y0"]),
             onnx.helper.make_node("ReduceSum", ["x"], ["y1"], keepdims=0), onnx.helper.make_node("Relu", ["c"], ["y2"])]
    info = onnx.helper.make_tensor_value_info
    g = onnx.helper.make_graph(nodes, "g", [info("x", 1, ["N", 3, 6, 6]), info("z", 1, [2, 5])],
                               [info(f"y{i}", 1, None) for i in range(3)], [onnx.numpy_helper.from_array(k, "k")])
    folder = temp("none")
    path = write(onnx.helper.make_model(g, opset_imports=[onnx.helper.make_opsetid("", 13)]), folder)
    compile_model(path, f"{folder}/p")
    np.save(f"{folder}/z.npy", z)
    np.save(f"{folder}/x.npy", x)
    ok(f"{folder}/p", "run", "-i", f"x={folder}/x.npy", "-i", f"z={folder}/z.npy",
       *(a for i in range(3) for a in ("-o", f"y{i}={folder}/y{i}.npy")))
    y = [np.load(f"{folder}/y{i}.npy") for i in range(3)]
    e = np.exp(z)
    assert np.allclose(y[0], e / e.sum(1, keepdims=True), 1e-6) and y[1] == 0 and y[2].shape == (0, 4, 4, 4), y


def losses(program, data, batch, *flags):
    code, out, err = run(program, "train", data, "--epochs", 1, "--lr", 1e-7, "--momentum", 0, "--batch", batch,
                         "--no-checkpoint", "-o", f"{program}-tuned.onnx", *flags)
    assert code == 0, out + err
    return re.search(r"val loss (\S+)", out + err)[1]


def test_finetuning_opens_the_batch():
    """One and the same network has one validation loss, however many images go at once."""
    data = temp("photos")
    photos(data, 6)
    for build in (vit, windowed):
        folder = temp("tune_" + build.__name__)
        path = write(bm.make(build, (3, 8, 8), 14 if build is vit else 17, 1, 1), folder)
        ok(HONE, "finetune", path, "-o", f"{folder}/ft", "--classes", 3, "--freeze", "none")
        got = {losses(f"{folder}/ft", data, batch) for batch in (1, 2, 5)}
        assert len(got) == 1, (build.__name__, got)


if __name__ == "__main__":
    main(sys.modules[__name__])
