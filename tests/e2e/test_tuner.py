"""hone finetune --emit python: a package whose fit() trains on a folder, tells a callback of each epoch and ends when that says so; predict(),
evaluate() and export() beside the program's own; what is refused; threads."""
import json
import os
import subprocess
import sys
import textwrap
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, main, ok, run, temp

WHEEL = "tune-1-py3-none-linux_x86_64.whl"


def setup():
    """The package's folder and one of images: two kinds of stripes."""
    if not os.path.exists(temp("site")):
        ok(HONE, "finetune", SAMPLE, "-o", temp(WHEEL), "--emit", "python", "--name", "tune", "--classes", "2", "--stages", "head,none:3:0.01")
        ok(HONE, "finetune", SAMPLE, "-o", temp("tune"), "--name", "tune", "--classes", "2", "--stages", "head,none:3:0.01")
        with zipfile.ZipFile(temp(WHEEL)) as z:
            modes = {i.filename: i.external_attr >> 16 for i in z.infolist()}
            z.extractall(temp("site"))
        assert modes["tune/program"] == 0o100755 and modes["tune/__init__.py"] == 0o100644, modes
        os.chmod(temp("site/tune/program"), 0o755)  # as installers do
        python("""
            import os, numpy
            from PIL import Image
            r = numpy.random.default_rng(0)
            for label in ("down", "across"):
                os.makedirs(f"photos/{label}")
                for i in range(24):
                    a = numpy.zeros((28, 28), numpy.uint8)
                    a[::r.integers(2, 5)] = r.integers(90, 255)
                    Image.fromarray(a if label == "across" else a.T).save(f"photos/{label}/{i}.png")
            """)


def python(text, *argv, code=0):
    r = subprocess.run([sys.executable, "-c", textwrap.dedent(text), *argv], capture_output=True, text=True, timeout=300, cwd=temp(""),
                       env={**os.environ, "PYTHONPATH": temp("site"), "OMP_NUM_THREADS": "2"})
    assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
    return r.stdout


def test_fit_tells_its_callback_and_what_it_wrote_works():
    setup()
    out = python("""
        import json, numpy, tune
        from PIL import Image
        seen = []
        run = tune.fit("photos", callback=seen.append, model="tuned.onnx", seed=3, batch=8)
        assert run.history == seen and not run.stopped and len(run.epochs()) == 4, (run, [e["event"] for e in seen])
        assert [e["stage"] for e in run.epochs()] == [0, 1, 1, 1] or [e["stage"] for e in run.epochs()] == [1, 2, 2, 2], run.epochs()
        name, lying = "photos/down/0.png", Image.fromarray(numpy.tile(numpy.arange(28, dtype="u1") * 9, (20, 1)))
        lying.getexif()[0x0112] = 6
        lying.save("lying.jpg", exif=lying.getexif(), quality=100)
        pixels = numpy.asarray(Image.open(name))
        several = [name, open(name, "rb").read(), open(name, "rb"), pixels, pixels[..., None], numpy.stack([pixels] * 3, 2), Image.open(name)]
        assert tune.predict(several) == tune.predict([name]) * 7 and tune.predict(pixels) == tune.predict(name)
        noise = numpy.random.default_rng(0).integers(0, 256, pixels.shape, "u1")
        both, here, there = (dict(tune.predict(a, **more)) for a, more in ((noise, {"tta": "flip"}), (noise, {}), (noise[:, ::-1].copy(), {})))
        assert all(abs(p - (here[k] + there[k]) / 2) < 1e-5 for k, p in both.items()) and both != here, (both, here, there)
        soft = dict(tune.predict(noise, temperature=3))
        assert 0 < max(soft.values()) < max(here.values()), (soft, here)
        ones, others = tune.predict(["lying.jpg", Image.open("lying.jpg")])
        assert ones[0][0] == others[0][0] and abs(ones[0][1] - others[0][1]) < 1e-3, (ones, others)
        print(json.dumps([run.epochs()[-1]["val_top1"], tune.evaluate("photos")["top1"],
                          tune.predict(["photos/down/0.png", "photos/across/1.png"], top=1), tune.predict("photos/down/0.png")]))
        """)
    val, top1, guesses, one = json.loads(out)
    assert val > 0.9 and top1 > 0.9, out
    assert [g[0][0] for g in guesses] == ["down", "across"] and one[0][0] == "down" and len(one) == 2, out
    ok(HONE, "compile", temp("tuned.onnx"), "-o", temp("tuned"))
    theirs = json.loads(ok(temp("tuned"), "--json", "--top", "1", "photos/down/0.png").splitlines()[0])["top"][0]
    assert theirs["label"] == "down" and abs(theirs["probability"] - guesses[0][0][1]) < 1e-3, (theirs, guesses)


def test_the_callback_may_end_it_and_it_goes_on():
    setup()
    out = python("""
        import os, tune
        run = tune.fit("photos", callback=lambda e: e["event"] != "epoch", model="early.onnx", checkpoints="early.ckpt", seed=3, batch=8)
        assert run.stopped and len(run.epochs()) in (1, 2) and os.path.getsize("early.onnx") > 1000, run
        again = tune.fit("photos", model="late.onnx", checkpoints="early.ckpt", seed=3, batch=8, resume=True)
        assert not again.stopped and again.epochs()[-1]["epoch"] == 3, again.history
        print(tune.export("late2.onnx", "early.ckpt"))
        assert open("late.onnx", "rb").read() == open("late2.onnx", "rb").read()
        """)
    assert out == "late2.onnx\n", out


def test_a_run_that_is_ended_writes_no_other_run_s_model():
    """Where nothing was saved there is nothing to export: neither an older run's folder nor its model counts."""
    setup()
    out = python("""
        import os, numpy, signal, subprocess, tune
        old = dict(model="old.onnx", checkpoints="old.ckpt", batch=8)
        tune.fit("photos", max_steps=2, **old)
        os.rename("old.onnx", "kept.onnx")
        children = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
        def kill(event):
            for child in open(children).read().split():
                os.kill(int(child), signal.SIGKILL)
            return False
        for options in (dict(no_checkpoint=True), {"no-checkpoint": True}, dict(log="l"), dict(out="o"), dict(help=True), dict(callback=kill, overwrite=True)):
            try:
                print("made", tune.fit("photos", **{**old, **options}))
            except Exception as e:
                print(type(e).__name__, str(e).splitlines()[-1])
        run = tune.fit("photos", **{"lr-find": "rate.svg"}, head_solver="sgd", callback=lambda e: False, **old)
        assert run.model is None and not os.path.exists("old.onnx") and not os.path.exists("-"), run
        run = tune.fit("photos", callback=lambda e: numpy.bool_(False), overwrite=True, **old)
        assert run.stopped and os.path.exists("old.onnx")
        """)
    lines = out.splitlines()
    want = ["TypeError no_checkpoint= is no argument: "] * 2 + ["TypeError log= is no argument: callback= ", "TypeError out= is no argument: model= ",
            "TypeError help= is no argument: ", "RuntimeError "]
    assert len(lines) == len(want) and all(a.startswith(b) for a, b in zip(lines, want)), out


def test_an_exception_while_the_pipe_is_full():
    """The program gets on with its checkpoint though nobody reads what it logs any more."""
    setup()
    out = python("""
        import array, fcntl, os, termios, time, tune
        def cry(event):
            pipe, seen, same = [int(f) for f in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{f}")], -1, 0
            pipe = [f for f in pipe if os.readlink(f"/proc/self/fd/{f}").startswith("pipe:") and f > 2]
            size = array.array("i", [0])
            while same < 8:  # until it waits in front of the full pipe
                time.sleep(0.05)
                fcntl.ioctl(pipe[0], termios.FIONREAD, size)
                same, seen = same + 1 if size[0] == seen and seen > 50000 else 0, size[0]
            raise KeyError("mine")
        since = time.time()
        options = dict(epochs=100000, head_solver="sgd", batch=1, model="full.onnx", checkpoints="full.ckpt")
        try:
            tune.fit("photos", callback=cry, **options)
        except KeyError:
            print(time.time() - since < 50)
        run = tune.fit("photos", callback=lambda e: e["event"] != "step", resume=True, **options)
        print(run.stopped, next(e["step"] for e in run.history if e["event"] == "step") > 100)
        """)
    assert out == "True\nTrue True\n", out


def test_what_goes_wrong_is_told():
    setup()
    out = python("""
        import numpy, tune
        class Mine(Exception): pass
        def cry(event): raise Mine("stop")
        calls = [lambda: tune.fit("nowhere"), lambda: tune.fit("photos", no_such_option=1), lambda: tune.fit("photos", checkpoints="c2", epochs=-1),
                 lambda: tune.fit("photos", callback=cry, checkpoints="c3", model="c3.onnx", batch=8), lambda: tune.predict("none.png"),
                 lambda: tune.predict(["photos/down/0.png"], checkpoints="none.ckpt"), lambda: tune.evaluate("nowhere"),
                 lambda: tune.predict("photos/down"), lambda: tune.predict(["photos/*/0.png"]), lambda: tune.predict("-"), lambda: tune.predict(7),
                 lambda: tune.predict(numpy.zeros((3, 4), "f")), lambda: tune.predict(b"no image"), lambda: tune.fit("photos", max_steps=1),
                 lambda: tune.fit("photos", lr_find="r.svg", overwrite=True), lambda: tune.fit("photos", epoch=3),
                 lambda: tune.evaluate("photos", help=True), lambda: tune.evaluate("-y"), lambda: tune.fit("-x", checkpoints="c4")]
        for call in calls:
            try:
                print("made", call())
            except Exception as e:
                print(type(e).__name__, str(e).splitlines()[0])
        assert tune.predict([]) == []
        """)
    lines = out.splitlines()
    want = ["RuntimeError nowhere: No such file", "TypeError", "TypeError", "Mine stop", "ValueError none.png: No such file", "RuntimeError none.ckpt",
            "RuntimeError nowhere: No such file", "ValueError photos/down: is a folder", "ValueError photos/*/0.png: No such file",
            "ValueError -: No such file", "TypeError pixels are uint8 [height, width, 3], not int []",
            "TypeError pixels are uint8 [height, width, 3], not float32 [3, 4]", "ValueError image 0: not a JPEG, PNG or WebP file",
            "RuntimeError tune.ckpt: holds the finished run", "TypeError ", "TypeError ", "TypeError help= is no argument: ",
            "RuntimeError -y: No such file", "RuntimeError -x: No such file"]
    assert len(lines) == len(want) and all(a.startswith(b) for a, b in zip(lines, want)), out
    for line, end in zip(lines[-6:], ("; overwrite= begins anew over it, checkpoints= FOLDER elsewhere", " overwrite= and lr_find= exclude each other",
                                      " unknown option 'epoch='")):
        assert line.endswith(end) and "--" not in line, line
    assert not os.path.exists(temp("c3.onnx"))
    code, _, err = run(HONE, "finetune", SAMPLE, "-o", temp("x"), "--classes", "2", "--emit", "shared")
    assert code == 2 and "--emit takes exe or python, not 'shared'" in err


def test_threads_and_the_program_itself():
    setup()
    out = python("""
        import concurrent.futures, subprocess, tune
        files = [f"photos/{c}/{i}.png" for i in range(3) for c in ("down", "across")]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda f: tune.predict(f, top=1)[0][0], files))
        print(found, subprocess.run([tune.program, "info"], capture_output=True).returncode)
        """)
    assert out == f"{['down', 'across'] * 3} 0\n", out


if __name__ == "__main__":
    main(sys.modules[__name__])
