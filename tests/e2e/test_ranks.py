"""A compiled program trains on several processes (skipped without mpirun): whole, with BatchNormalization's own statistics and groups of
parameters that are ready at different steps; the same bits as on one process, on one and two threads each."""
import json
import os
import shutil
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import fashion
from script import HONE, ROOT, main, ok, temp

CLOTHES = os.path.join(ROOT, "tools", "sample", "clothes5.onnx")
CLASSES = [1, 2, 6, 7, 8]  # that it does not know
ENV = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def data():
    clothes, labels = fashion.load("train")
    known = np.isin(labels, CLASSES)
    np.save(temp("x.npy"), fashion.tensors(clothes[known][:290]))
    np.save(temp("y.npy"), np.array([CLASSES.index(k) for k in labels[known][:290]], np.int64))


def train(program, ranks, threads):
    """What each step said, the epochs' scores, the tuned model's bytes; and of each step's gradient the share that went to other
    processes while the backward pass ran."""
    for path in (temp("log"), temp("tuned.onnx")):
        if os.path.exists(path):
            os.unlink(path)
    start = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", ranks] if ranks > 1 else []
    ok(*start, program, "train", "x.npy,y.npy", "-b", 7, "--accumulate", 6, "--epochs", 2, "--lr", 0.01, "--head-solver", "sgd", "--log",
       temp("log"), "-o", temp("tuned.onnx"), "--no-checkpoint", "-q", "--threads", threads, env=ENV)
    with open(temp("log")) as f:
        events = [json.loads(line) for line in f]
    steps = [(e["loss"], e["grad_norm"]) for e in events if e["event"] == "step"]
    epochs = [(e["train_loss"], e["val_loss"], e["val_top1"]) for e in events if e["event"] == "epoch"]
    overlapped = [e.get("overlapped") for e in events if e["event"] == "step"]
    with open(temp("tuned.onnx"), "rb") as f:
        return (steps, epochs, f.read()), overlapped


def test_the_same_bits():
    data()
    for name, options in (("frozen", ()), ("train", ("--layer-decay", "0.75"))):
        program = temp(name)
        ok(HONE, "finetune", CLOTHES, "-o", program, "--classes", "5", "--freeze", "none", "--bn", name, *options)
        want, alone = train(program, 1, 2)
        assert set(alone) == {None}, alone
        assert len(want[0]) == 12 and want[1][1][0] < want[1][0][0], want[:2]
        for ranks, threads in ((1, 1), (2, 2), (4, 1)):
            got, overlapped = train(program, ranks, threads)
            assert got == want, (name, ranks, threads)
            # pieces are of one group: with rates that differ from block to block, all but the first block's are done before the end
            assert ranks == 1 or name == "frozen" or min(overlapped) > 0.5, (name, ranks, overlapped)


if shutil.which("mpirun"):
    main(sys.modules[__name__])
print("skipped: there is no mpirun")
