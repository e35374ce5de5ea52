"""Networks whose sizes data decides (tests/e2e/bounded_models.py), compiled, against ONNX Runtime's results: the same shapes, and what it
refuses fails here, too.
"""
import os
import sys
import zipfile

import numpy as np
import onnx

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bounded_models  # noqa: E402
import script  # noqa: E402
from script import HONE, ROOT, here_only, ok, run, temp  # noqa: E402

GOLDEN = np.load(os.path.join(ROOT, "tests", "e2e", "golden", "bounded.npz"))


def compiled(name, *options):
    onnx.save(bounded_models.NETWORKS[name][0], temp(f"{name}.onnx"))
    ok(HONE, "compile", f"{name}.onnx", "-o", name, *options)
    return temp(name)


def results(program, feed, names):
    args = []
    for k, x in feed.items():
        np.save(temp(f"{k}.npy"), x)
        args += ["-i", f"{k}={temp(k)}.npy"]
    for k in names:
        args += ["-o", f"{k}={temp('out_' + k)}.npy"]
    code, _, err = run(program, "run", *args)
    return (code, err) if code else {k: np.load(temp(f"out_{k}.npy")) for k in names}


def check(name):
    program = compiled(name)
    names = [o.name for o in bounded_models.NETWORKS[name][0].graph.output]
    compared = 0
    for i, feed in enumerate(bounded_models.feeds(name)):
        got = results(program, feed, names)
        if f"{name}/{i}/{names[0]}" not in GOLDEN:
            assert isinstance(got, tuple) and got[0] == 1 and len(got[1].splitlines()) == 1, (name, i, got)
            continue
        assert isinstance(got, dict), (name, i, got)
        for k in names:
            want = GOLDEN[f"{name}/{i}/{k}"]
            assert got[k].shape == want.shape and got[k].dtype == want.dtype, (name, i, k, got[k].shape, want.shape)
            assert np.allclose(got[k], want, rtol=1e-5, atol=1e-5), (name, i, k, got[k], want)
            compared += 1
    assert compared, name


def test_all():
    for name in bounded_models.NETWORKS:
        check(name)


def test_more_than_there_is_room_for():
    program = compiled("suppress", "--max-detections", "4")
    names = ["y", "z"]
    feed = list(bounded_models.feeds("suppress"))
    few = results(program, feed[0], names)
    assert isinstance(few, tuple) or max(len(few[k]) for k in names) <= 4, few
    code, err = results(program, feed[2], names)
    assert code == 1 and "NonMaxSuppression" in err and len(err.splitlines()) == 1, err


def test_the_interface():
    """What the program, and a library's header, say of such an output."""
    program = compiled("suppress_centers")
    assert "at most" in ok(program, "info"), ok(program, "info")
    ok(HONE, "compile", "suppress_centers.onnx", "-o", "lib.so", "--emit", "shared")
    assert "hone_suppress_centers_output_dim(" in open(temp("lib.h")).read()


@here_only("Python loads the library")
def test_python():
    """The session's arrays are as large as the run made them."""
    os.makedirs(temp("wheel"))
    wheel = temp("wheel/tail-1-py3-none-linux_x86_64.whl")
    ok(HONE, "compile", "suppress.onnx", "-o", wheel, "--emit", "python", "--name", "tail")
    with zipfile.ZipFile(wheel) as z:
        z.extractall(temp("site"))
    feed = list(bounded_models.feeds("suppress"))[1]
    np.savez(temp("feed.npz"), **feed)
    out = ok(sys.executable, "-c", "import numpy, tail; print([y.shape for y in tail.Session().run(None, dict(numpy.load('feed.npz')))])",
             env={"PYTHONPATH": temp("site")})
    names = [o.name for o in bounded_models.NETWORKS["suppress"][0].graph.output]
    assert out.strip() == str([GOLDEN[f"suppress/1/{k}"].shape for k in names]), out


if __name__ == "__main__":
    script.main(sys.modules[__name__])
