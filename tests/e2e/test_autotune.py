"""hone compile --autotune: the same answers, a cache that survives damage and company, nothing done twice."""
import os
import shutil
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, TEMP, main, ok, run, temp

GOLDEN = os.path.join(ROOT, "tests", "e2e", "golden")
X, WANT = (np.load(os.path.join(GOLDEN, f)) for f in ("sample_x.npy", "sample_logits.npy"))
CACHE = temp("cache")


def autotune(out, *flags, cache=CACHE, env=None):
    """Returns what was printed."""
    code, _, err = run(HONE, "compile", SAMPLE, "-o", temp(out), "--autotune", "--autotune-cache", cache, *flags, env=env)
    assert code == 0, err
    return err


def read(path):
    with open(path, "rb") as f:
        return f.read()


def entries(path):
    """The lines behind the first, which says what form the file has."""
    form, *lines = read(path).splitlines()
    assert form == b"hone autotune cache 2", form
    return lines


def test_same_answers():
    err = autotune("net")
    assert "autotuned " in err and os.path.exists(CACHE), err
    np.save(temp("x.npy"), X)
    ok(temp("net"), "run", "-i", "image=" + temp("x.npy"), "-o", "logits=" + temp("y.npy"))
    assert np.abs(np.load(temp("y.npy")) - WANT).max() / np.abs(WANT).max() < 5e-5


def test_full_cache_measures_nothing():
    before = read(CACHE)
    assert "autotuned " not in autotune("again")
    assert read(CACHE) == before and read(temp("again")) == read(temp("net"))


def test_old_spelling():
    before = read(CACHE)
    ok(HONE, "compile", SAMPLE, "-o", temp("old"), "--tune", "--tune-cache", CACHE)
    assert read(temp("old")) == read(temp("net")) and read(CACHE) == before
    text = ok(HONE, "compile", "--help")
    assert "--autotune-cache FILE" in text and "--tune" not in text, text


def test_keyed_by_threads_and_cpu():
    lines = len(entries(CACHE))
    assert "autotuned " in autotune("net1", "--threads", "3")
    more = len(entries(CACHE))
    assert more > lines
    assert "autotuned " in autotune("net2", "--mcpu", "generic")
    assert len(entries(CACHE)) > more


def test_damage():
    lines = entries(CACHE)
    bad = [b"", b"\0\0", b"a\tb", b"key\tdirect\t1,2,3\t5.0", b"key\tdirect\trows=1,cols=x\t5.0", b"key\t../x\trows=1\t5",
           b"key\tdirect\trows=99999999999999999999\t1", b"k" * 9000]
    # This convolution's own entry, with a tile that no kernel can run
    wrong = lines[0].rsplit(b"\t", 2)[0] + b"\trows=9999,cols=1,vecs=1\t1.0"
    with open(CACHE, "wb") as f:
        f.write(b"\n".join([b"hone autotune cache 2"] + bad + [wrong] + lines[1:]) + b"\nno newline\t")
    flags = ["--threads", "3"] if b" 3 threads" in wrong else ["--mcpu", "generic"] if b"for generic " in wrong else []
    err = autotune("net", *flags)
    assert err.count("damaged entry ignored") >= 8, err
    assert "autotuned 1 conv" in err, err
    now = entries(CACHE)
    assert len(now) == len(lines) and wrong not in now and set(lines[1:]) <= set(now)
    assert "damaged" not in autotune("net", *flags)


def test_of_another_version():
    cache = temp("older")
    with open(cache, "wb") as f: # as the first version wrote it: no line for the form, tiles of three numbers
        f.write(b"".join(b"hone 0.1, conv %d\tdirect\t1,14,2\t5.00\n" % k for k in range(9)))
    err = autotune("net", cache=cache)
    assert err.count("another version") == 1 and "damaged" not in err and "autotuned " in err, err
    assert len(entries(cache)) > 0 and b"1,14,2" not in read(cache)
    err = autotune("net", cache=cache)
    assert "another version" not in err and "autotuned " not in err, err


def test_two_at_once():
    cache = temp("shared")
    jobs = [subprocess.Popen([HONE, "compile", SAMPLE, "-o", temp(f"net{k}"), "--autotune", "--autotune-cache", cache, "--threads",
                              str(k + 1)], cwd=TEMP, stderr=subprocess.PIPE) for k in range(2)]
    for job in jobs:
        err = job.communicate()[1]
        assert job.returncode == 0, err
    lines = entries(cache)
    assert any(b" 1 threads" in x for x in lines) and any(b" 2 threads" in x for x in lines)
    assert sorted(lines) == lines and all(x.count(b"\t") == 3 for x in lines)


def test_default_place():
    env = {"XDG_CACHE_HOME": temp("xdg"), "HOME": temp("home")}
    os.makedirs(temp("xdg/hone"))
    shutil.copy(CACHE, temp("xdg/hone/autotune"))
    code, _, err = run(HONE, "compile", SAMPLE, "-o", temp("net"), "--autotune", env=env)
    assert code == 0 and "autotuned " not in err, err


def test_cache_that_cannot_be_written():
    code, _, err = run(HONE, "compile", SAMPLE, "-o", temp("none"), "--autotune", "--autotune-cache", "/proc/none/cache")
    assert code == 1 and err.startswith("/proc/none/cache: cannot be written: ") and not os.path.exists(temp("none")), err
    env = {"XDG_CACHE_HOME": "/proc/none"}  # nobody asked for the user's own
    code, _, err = run(HONE, "compile", SAMPLE, "-o", temp("net"), "--autotune", env=env)
    assert code == 0 and "warning: measured schedules are not kept: /proc/none/hone/autotune: " in err, err


def test_plain_compile_ignores_the_cache():
    env = {"XDG_CACHE_HOME": temp("xdg")}
    os.makedirs(temp("xdg/hone"), exist_ok=True)
    with open(temp("xdg/hone/autotune"), "w") as f:
        f.write("damaged\n")
    code, _, err = run(HONE, "compile", SAMPLE, "-o", temp("net"), env=env)
    assert code == 0 and "damaged" not in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
