"""Files that somebody cuts off while they are read: an error or a result, never a signal, and nothing left behind."""
import os
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import hostile_pb as pb
from script import HONE, ROOT, main, ok, temp

SIDE = 3000
TRIES = 10


def cut_off(command, path, content, whole):
    """Runs the command, and empties the file at another moment each time; how often it was too early or in time.

    whole: seconds that an undisturbed run takes.
    """
    failed = 0
    for i in range(TRIES):
        with open(path, "wb") as f:
            f.write(content)
        p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(whole * i / TRIES)
        os.truncate(path, 4096 if i % 2 else 0)
        err = p.communicate()[1]
        assert p.returncode in (0, 1), f"try {i}: exit code {p.returncode}: {err[-300:]}"
        assert p.returncode == 0 or err.strip(), f"try {i}: not a word"
        failed += p.returncode
    print(f"  {os.path.basename(path)}: {failed} of {TRIES} ended with an error, the others were done with it")


def seconds(command):
    start = time.monotonic()
    ok(*command)
    return time.monotonic() - start


def weights():
    return np.random.RandomState(1).standard_normal((SIDE, SIDE)).astype("<f4").tobytes()


def compile_of(name):
    return [HONE, "compile", temp(name), "-o", temp("out"), "--emit", "object"]


def test_external_data():
    where = pb.f(13, pb.f(1, "location") + pb.f(2, "w.bin")) + pb.f(14, 1)
    net = pb.net(pb.node("MatMul", "x w"), x=("N", SIDE), inits=[pb.tensor("w", [SIDE, SIDE], more=where)])
    with open(temp("external.onnx"), "wb") as f:
        f.write(net)
    with open(temp("w.bin"), "wb") as f:
        f.write(weights())
    command = compile_of("external.onnx")
    cut_off(command, temp("w.bin"), weights(), seconds(command))


def test_model():
    net = pb.net(pb.node("MatMul", "x w"), x=("N", SIDE), inits=[pb.tensor("w", [SIDE, SIDE], raw=weights())])
    with open(temp("model.onnx"), "wb") as f:
        f.write(net)
    command = compile_of("model.onnx")
    cut_off(command, temp("model.onnx"), net, seconds(command))


def rewrite(command, path, old, new):
    """The file gets other bytes at another moment each time: an error, or what is made is of the one or of the other."""
    made, failed = [], 0
    for content in (old, new):
        with open(path, "wb") as f:
            f.write(content)
        whole = seconds(command)
        with open(temp("out"), "rb") as f:
            made.append(f.read())
    assert made[0] != made[1]
    for i in range(TRIES):
        with open(path, "wb") as f:
            f.write(old)
        os.unlink(temp("out"))
        p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(whole * (i + 0.5) / TRIES)
        with open(path, "r+b") as f:
            f.write(new)
        err = p.communicate()[1]
        failed += p.returncode
        if p.returncode:
            assert f"{path}: it was changed while it was read" in err and err.count("\n") == 1, err
            assert not os.path.exists(temp("out"))
            with open(temp("out"), "wb"):
                continue
        with open(temp("out"), "rb") as f:
            assert f.read() in made, f"try {i}: of both"
    print(f"  {os.path.basename(path)}: {failed} of {TRIES} were noticed, the others came before or after")
    assert failed


def test_rewritten():
    other = weights()[4:] + weights()[:4]  # of as many bytes
    rewrite(compile_of("external.onnx"), temp("w.bin"), weights(), other)
    old = pb.net(pb.node("MatMul", "x w"), x=("N", SIDE), inits=[pb.tensor("w", [SIDE, SIDE], raw=weights())])
    rewrite(compile_of("model.onnx"), temp("model.onnx"), old, old.replace(weights(), other))


def test_feature_cache():
    random = np.random.RandomState(1)
    np.save(temp("x.npy"), random.randint(0, 256, (600, 28, 28)).astype(np.uint8))
    np.save(temp("y.npy"), np.arange(600) % 3)
    program = temp("teach")
    ok(HONE, "finetune", os.path.join(ROOT, "tools", "sample", "clothes5.onnx"), "-o", program, "--classes", 3)
    command = [program, "train", f"{temp('x.npy')},{temp('y.npy')}", "--no-checkpoint", "--epochs", "20", "--feature-cache",
               temp("cache"), "-o", temp("taught.onnx")]
    whole = seconds(command)
    cache = os.path.join(temp("cache"), os.listdir(temp("cache"))[0])
    with open(cache, "rb") as f:
        content = f.read()
    cut_off(command, cache, content, whole)
    changed = bytearray(content)
    changed[-5000] ^= 1  # a row whose checksum is wrong is made again
    with open(cache, "wb") as f:
        f.write(changed)
    ok(*command)
    with open(cache, "rb") as f:
        assert f.read() == content, "the row that was changed is not as it was"


if __name__ == "__main__":
    main(sys.modules[__name__])
