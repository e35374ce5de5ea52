"""hone compile --emit python: the wheel as installers read it; its session beside the program of the same network, in threads, in other
processes, after a fork; what it refuses."""
import base64
import csv
import functools
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile

import numpy
import onnx
from PIL import Image
from onnx import TensorProto, helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, main, ok, run, temp

WHEEL = "sample-1-py3-none-linux_x86_64.whl"


@functools.cache
def install(model, name, *options):
    """Where a wheel's packages are: unpacked, as an installer does."""
    folder = temp(name + "_site")
    wheel = os.path.join(temp(name + "_wheel"), f"{name}-1-py3-none-linux_x86_64.whl")
    os.makedirs(os.path.dirname(wheel), exist_ok=True)
    ok(HONE, "compile", model, "-o", wheel, "--emit", "python", "--name", name, *options)
    with zipfile.ZipFile(wheel) as z:
        assert z.testzip() is None
        z.extractall(folder)
    return folder


def python(folder, text, *argv):
    """What a script prints that finds the packages in the folder."""
    r = subprocess.run([sys.executable, "-c", textwrap.dedent(text), *argv], capture_output=True, text=True, timeout=120,
                       env={**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "2"})
    assert r.returncode == 0 and not r.stderr, (r.returncode, r.stdout, r.stderr)
    return r.stdout


def test_the_wheel_is_one():
    folder = install(SAMPLE, "sample")
    with zipfile.ZipFile(os.path.join(temp("sample_wheel"), WHEEL)) as z:
        names = z.namelist()
        assert names == ["sample/model.so", "sample/__init__.py", "sample/model.json", "sample-1.dist-info/METADATA",
                         "sample-1.dist-info/WHEEL", "sample-1.dist-info/RECORD"]
        rows = list(csv.reader(z.read("sample-1.dist-info/RECORD").decode().splitlines()))
        assert [r[0] for r in rows] == names and rows[-1][1:] == ["", ""]
        for name, digest, size in rows[:-1]:
            data = z.read(name)
            assert int(size) == len(data)
            assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert "Name: sample\n" in z.read("sample-1.dist-info/METADATA").decode()
        assert "Tag: py3-none-linux_x86_64\n" in z.read("sample-1.dist-info/WHEEL").decode()
        assert all(i.external_attr >> 16 == 0o100644 for i in z.infolist())
    assert sorted(os.listdir(os.path.join(folder, "sample"))) == ["__init__.py", "model.json", "model.so"]
    again = temp("again.whl")
    code, _, err = run(HONE, "compile", SAMPLE, "-o", again, "--emit", "python", "--name", "sample")
    assert code == 0 and f"again.whl: pip wants it to be called {WHEEL}\n" in err, err
    with open(again, "rb") as a, open(os.path.join(temp("sample_wheel"), WHEEL), "rb") as b:
        assert a.read() == b.read()


def test_names_that_python_cannot_import():
    """Nor those that would find another module, or take its place."""
    for name, package in (("50-net", "hone_50_net"), ("a.b-c", "a"), ("_x", "hone__x"), ("class", "hone_class"), ("json", "hone_json"),
                          ("numpy", "hone_numpy"), ("jso", "jso")):
        wheel = temp("odd.whl")
        code, _, err = run(HONE, "compile", SAMPLE, "-o", wheel, "--emit", "python", "--name", name)
        assert code == 0 and (f"'{name}' is no name for a package: import {package}\n" in err) == (name != package), err
        with zipfile.ZipFile(wheel) as z:
            assert z.namelist()[1] == package + "/__init__.py", z.namelist()
            z.extractall(temp("odd"))
    assert python(temp("odd"), "import hone_class, sys; print(hone_class.classify(sys.argv[1])[0][0])", SNEAKER) == "sneaker\n"
    for name, told in (("a b", True), ("ab", False)):
        code, _, err = run(HONE, "compile", SAMPLE, "-o", temp("odd.so"), "--emit", "shared", "--name", name)
        assert code == 0 and ("'a b' is no name in C: functions begin with hone_a_b_\n" in err) == told, err


def test_run_is_the_program_s():
    folder, program = install(SAMPLE, "sample"), temp("sample_program")
    ok(HONE, "compile", SAMPLE, "-o", program)
    info = json.loads(ok(program, "info", "--json"))
    shape = [3 if isinstance(d, str) else d for d in info["inputs"][0]["shape"]]
    x = numpy.random.default_rng(1).standard_normal(shape).astype(numpy.float32)
    numpy.save(temp("x.npy"), x)
    ok(program, "run", "-i", temp("x.npy"), "-o", temp("y.npy"))
    out = python(folder, """
        import sys, numpy, sample
        s = sample.Session()
        i, o = s.get_inputs()[0], s.get_outputs()[0]
        print(i.name, i.type, i.shape, o.name, o.type)
        x, want = numpy.load(sys.argv[1]), numpy.load(sys.argv[2])
        y, = s.run(None, {i.name: x})
        assert y.dtype == want.dtype and (y == want).all()
        y, = s.run([o.name], {i.name: numpy.asfortranarray(x)})   # of any layout
        assert (y == want).all()
        y, = s.run(None, {i.name: x[1:2]})
        assert numpy.allclose(y, want[1:2], atol=1e-5)
        """, temp("x.npy"), temp("y.npy"))
    assert out.startswith(f"{info['inputs'][0]['name']} tensor(float) ['N', "), out


def test_classify_is_the_program_s():
    folder, program = install(SAMPLE, "sample"), temp("sample_program")
    ok(HONE, "compile", SAMPLE, "-o", program)
    golden = os.path.join(ROOT, "tests", "runtime", "golden")
    images = [SNEAKER] + [os.path.join(golden, n) for n in sorted(os.listdir(golden)) if n.endswith((".png", "e_420.jpg", "e_444.jpg"))]
    images = [i for i in images if "16" not in i]
    want = [json.loads(line)["top"] for line in ok(program, "--json", "--top", "4", *images).splitlines()]
    got = json.loads(python(folder, """
        import sys, json, sample
        print(json.dumps([sample.classify(i, 4) for i in sys.argv[1:]]))
        """, *images))
    assert got[0][0][0] == "sneaker"
    for name, a, b in zip(images, got, want):
        assert [c[0] for c in a] == [c["label"] for c in b], (name, a, b)
        assert max(abs(c[1] - d["probability"]) for c, d in zip(a, b)) < 1e-5, (name, a, b)


def test_letterbox_is_the_program_s():
    folder, program, wide = install(SAMPLE, "boxed", "--fit", "letterbox"), temp("boxed_program"), temp("wide.png")
    Image.open(SNEAKER).convert("RGB").resize((61, 28)).save(wide)
    ok(HONE, "compile", SAMPLE, "-o", program, "--fit", "letterbox")
    top = json.loads(ok(program, "--json", "--top", "9", wide))["top"]
    want = {c["label"]: c["probability"] for c in top}
    got = dict(json.loads(python(folder, """
        import sys, json, boxed
        print(json.dumps(boxed.classify(sys.argv[1], 9)))
        """, wide)))
    assert set(got) == set(want) and max(abs(got[k] - want[k]) for k in got) < 1e-5, (got, want)
    stretched = json.loads(ok(program, "--json", "--top", "9", "--fit", "stretch", wide))["top"]
    assert abs(stretched[0]["probability"] - top[0]["probability"]) > 1e-4, (stretched, top)


def test_features_and_images_of_every_kind():
    """Files, folders, bytes, open files, Pillow's images and pixels give what the program's features gives; one that lies on its side, too."""
    folder, program = install(SAMPLE, "sample"), temp("sample_program")
    golden = os.path.join(ROOT, "tests", "runtime", "golden")
    ok(HONE, "compile", SAMPLE, "-o", program)
    assert run(program, "features", golden, "-o", temp("want.npy"))[0] == 0
    with open(temp("want.txt")) as f:
        names = f.read().splitlines()
    assert len(names) > 15 and any(n.endswith(".webp") for n in names)
    out = python(folder, """
        import io, sys, pathlib, numpy, sample
        from PIL import Image
        want, names = numpy.load(sys.argv[1]), sys.argv[3:]
        assert sample.files(sys.argv[2]) == names
        assert (sample.features(sys.argv[2]) == want).all() and (sample.features(names[2:9], batch=3) == want[2:9]).all()
        s = sample.Session()
        for name, row in zip(names, want):
            x = s.preprocess(name)
            for same in (pathlib.Path(name), open(name, "rb").read(), open(name, "rb"), Image.open(name)):
                if name.endswith(("cmyk.jpg", "rgba.webp")) and same is not name and hasattr(same, "convert"):
                    continue
                assert (s.preprocess(same) == x).all(), (name, same)
            assert (s.features(name) == row).all() and s.features([]).shape == (0, 10)
        pixels = numpy.arange(40 * 30 * 3, dtype=numpy.uint8).reshape(40, 30, 3)
        assert (s.preprocess(pixels) == s.preprocess(Image.fromarray(pixels))).all()
        assert (s.preprocess(pixels[..., 0]) == s.preprocess(Image.fromarray(pixels[..., 0]))).all()
        assert (s.preprocess(pixels[::2]) == s.preprocess(Image.fromarray(pixels[::2]))).all()
        for wrong in (b"no image", "none.jpg", pixels.astype("f"), pixels[:0], 7, sys.argv[2]):
            try:
                print("made", s.preprocess(wrong))
            except Exception as e:
                print(type(e).__name__, e)
        s.close()
        for f in (lambda: s.preprocess(pixels), lambda: s.features(names[0])):
            try:
                f()
            except RuntimeError as e:
                print(e)
        """, temp("want.npy"), golden, *names)
    lines = out.splitlines()
    want = ["ValueError the image: not a JPEG, PNG or WebP file", "FileNotFoundError none.jpg: No such file or directory",
            "TypeError pixels are uint8 [height, width, 3], not float32 [40, 30, 3]", "ValueError pixels: the image is empty",
            "TypeError pixels are uint8", "ValueError " + golden + ": is a directory", "the session is closed", "the session is closed"]
    assert len(lines) == len(want) and all(a.startswith(b) for a, b in zip(lines, want)), out


def test_folders_with_links():
    """What the program finds below a folder: links into folders above, several at once, add nothing; nor do pipes; one to nothing is an
    image that cannot be read."""
    program, top = temp("sample_program"), temp("linked")
    ok(HONE, "compile", SAMPLE, "-o", program)
    os.makedirs(os.path.join(top, "b", "c"))
    os.makedirs(os.path.join(top, "d.png"))
    with open(SNEAKER, "rb") as f:
        picture = f.read()
    for name in ("b/c/one.png", "d.png/two.PNG", "three.png", ".hidden.png"):
        with open(os.path.join(top, name), "wb") as f:
            f.write(picture)
    for name, to in (("a", "."), ("e", "."), ("b/up", ".."), ("b/c/up", "../.."), ("b/side", "../d.png"), ("gone.png", "nowhere"), ("z.png", "three.png")):
        os.symlink(to, os.path.join(top, name))
    os.mkfifo(os.path.join(top, "pipe.png"))
    code, out, _ = run(program, "--json", top)
    want = [json.loads(line)["file"] for line in out.splitlines()]
    assert code == 1 and len(want) == 6, want
    got = json.loads(python(install(SAMPLE, "sample"), "import sys, json, sample; print(json.dumps(sample.files(sys.argv[1])))", top))
    assert got == want, (got, want)


def test_features_of_a_named_output_and_of_none():
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [2, 3, 4, 3])
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("ReduceMean", ["f"], ["means"], axes=[1, 2], keepdims=0),
             helper.make_node("ReduceSum", ["means"], ["all"], keepdims=0)]
    y = [helper.make_tensor_value_info("means", TensorProto.FLOAT, [2, 3]), helper.make_tensor_value_info("all", TensorProto.FLOAT, [])]
    path = temp("u8.onnx")
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], y), opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    out = python(install(path, "u8", "--output", "means", "--output", "all", "--resize", "0", "--input-shape", "x=2x3x4x3"), """
        import numpy, u8
        a = [numpy.full((3, 4, 3), i, numpy.uint8) for i in range(5)]     # an input of bytes, two images at once
        print(u8.features(a, "means").tolist())
        for batch in (0, -1):
            try:
                u8.features(a, "means", batch)
            except ValueError as e:
                print(e)
        try:
            u8.features(a, "all")
        except ValueError as e:
            print(e)
        """)
    assert out == f"{[[float(i)] * 3 for i in range(5)]}\nbatch is at least 1, not 0\nbatch is at least 1, not -1\noutput 'all' has no row for each image; use run()\n", out


def test_in_a_fresh_environment():
    """As a user installs it, where pip is there: nothing else is in the environment but numpy."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        print("left out: this Python has no pip")
        return
    install(SAMPLE, "sample")
    env, wheel = temp("fresh"), os.path.join(temp("sample_wheel"), WHEEL)
    ok(sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", env)
    ok(sys.executable, "-m", "pip", "--python", os.path.join(env, "bin", "python"), "install", "-q", "--no-index", "--no-deps", wheel)
    out = ok(os.path.join(env, "bin", "python"), "-c", "import sys, sample; print(sample.classify(sys.argv[1])[0][0], sample.__file__)", SNEAKER)
    assert out.startswith("sneaker " + env), out


def test_threads_processes_and_forks():
    folder = install(SAMPLE, "sample")
    out = python(folder, """
        import concurrent.futures, multiprocessing, os, pickle, sys, threading, numpy, sample
        s = sample.Session(threads=2)
        name, shape = s.get_inputs()[0].name, [1, *s.get_inputs()[0].shape[1:]]
        xs = [numpy.random.default_rng(i).standard_normal(shape).astype("f") for i in range(8)]
        want = [s.run(None, {name: x})[0] for x in xs]

        def check(session, k):
            for i in range(20):
                assert (session.run(None, {name: xs[(k + i) % 8]})[0] == want[(k + i) % 8]).all()
            return True

        others = [pickle.loads(pickle.dumps(s)) for _ in range(3)]   # a session each
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda k: check(s, k), range(8)))     # one for all
            assert all(pool.map(lambda k: check(others[k % 3], k), range(8)))
        for o in others[1:]:
            o.close()
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                check(s, 0)
        thread = threading.Thread(target=busy)
        thread.start()
        for _ in range(5):                                            # while another thread is in a run
            pid = os.fork()
            if pid == 0:
                good = check(s, 1) and check(sample.Session(), 2)
                os._exit(0 if good else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        thread.join()
        with others[0] as o:
            check(o, 0)
        try:
            o.run(None, {name: xs[0]})
        except RuntimeError as e:
            print(e)
        """)
    assert out == "the session is closed\n"


def test_what_is_refused():
    folder = install(SAMPLE, "sample")
    lines = python(folder, """
        import sys, numpy, sample
        s = sample.Session()
        name, shape = s.get_inputs()[0].name, [1, *s.get_inputs()[0].shape[1:]]
        x = numpy.zeros(shape, "f")
        for names, feed in ((["?"], {name: x}), (None, {"?": x}), (None, {}), (None, {name: x.astype("d")}), (None, {name: x[0]}),
                            (None, {name: numpy.zeros([1, 2, 3, 4], "f")}), (None, {name: numpy.zeros([0, *shape[1:]], "f")})):
            try:
                print("ran", [y.shape for y in s.run(names, feed)])
            except Exception as e:
                print(type(e).__name__, e)
        for threads in (-1, 5000, 2**32 + 1):
            try:
                sample.Session(threads)
            except RuntimeError as e:
                print(e)
        pixels = numpy.zeros((28, 28, 3), "u1")
        assert s.classify(pixels, 10**12) == s.classify(pixels, 10) and len(s.classify(pixels, 10)) == 10
        for image, top in ((pixels, 0), (pixels, -1), (pixels, 1.5), (sys.argv[1] + "\\0.png", 1)):
            try:
                print("classified", s.classify(image, top))
            except Exception as e:
                print(type(e).__name__, e)
        s.close()
        try:
            s.classify(pixels)
        except RuntimeError as e:
            print(e)
        """, SNEAKER).splitlines()
    patterns = ["ValueError the model has no output '?'", "ValueError the model has no input '?'", "ValueError input '", "TypeError input '",
                "ValueError input '", "ValueError input '", "ran [(0, ", "the options ask for -1 threads", "the options ask for 5000 threads",
                "the options ask for 4294967297 threads", "ValueError top is at least 1, not 0", "ValueError top is at least 1, not -1",
                "TypeError 'float' object", "ValueError embedded null byte", "the session is closed"]
    assert len(lines) == len(patterns) and all(a.startswith(b) for a, b in zip(lines, patterns)), lines


def test_several_tensors_of_several_types():
    f, i = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Cast", ["sum"], ["whole"], to=i)], "g",
        [helper.make_tensor_value_info("a", f, ["N", 3]), helper.make_tensor_value_info("b", f, [3])],
        [helper.make_tensor_value_info("sum", f, ["N", 3]), helper.make_tensor_value_info("whole", i, ["N", 3])])
    path = temp("two.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    out = python(install(path, "two"), """
        import numpy, two
        s = two.Session()
        whole, total = s.run(["whole", "sum"], {"b": numpy.arange(3, dtype="f"), "a": numpy.full((2, 3), 1.5, "f")})
        print(whole.dtype, whole.tolist(), total.tolist())
        try:
            s.classify("x.png")
        except ValueError as e:
            print(e)
        """)
    assert out == "int64 [[1, 2, 3], [1, 2, 3]] [[1.5, 2.5, 3.5], [1.5, 2.5, 3.5]]\nthe model does not classify images; use run()\n", out


def test_a_size_that_is_a_multiple_of_the_batch():
    f = TensorProto.FLOAT
    graph = helper.make_graph([helper.make_node("Concat", ["a", "a"], ["twice"], axis=1)], "g", [helper.make_tensor_value_info("a", f, ["N", 3])],
                              [helper.make_tensor_value_info("twice", f, ["N", 6])])
    graph.node.append(helper.make_node("Transpose", ["twice"], ["y"], perm=[1, 0]))
    graph.node.append(helper.make_node("Reshape", ["y", "shape"], ["flat"]))
    graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [1], [-1]))
    graph.output.append(helper.make_tensor_value_info("flat", f, ["M"]))
    path = temp("flat.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    out = python(install(path, "flat"), """
        import numpy, flat
        s = flat.Session()
        print(s.get_outputs()[1].shape)
        try:
            print(len(s.run(None, {"a": numpy.zeros((2, 3), "f")})))
        except NotImplementedError as e:
            print(e)
        """)
    assert out == "['N']\nnot supported: output 1 has a size that is a multiple of the batch\n", out


if __name__ == "__main__":
    main(sys.modules[__name__])
