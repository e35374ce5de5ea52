"""What a run writes beside its model, over the hand-written program (fake_train.c): a disk that is full, a log that nobody takes any
more, end no training; lines and events that come again after a kill are there once."""
import glob
import json
import os
import resource
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, Case, launch
import test_board
import test_folds
import test_train

STEPS = ("--head-solver", "sgd", "--opt", "sgd", "--warmup-epochs", "0")
LOST = "not all that was asked for could be written, as said above\n"


class Beside(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("d"))
        test_train.make_images(self.path("d"), "train", 40, 1)
        test_train.make_images(self.path("d"), "t10k", 20, 2)

    def train(self, *args, code=0, data="d", limit=None):
        """limit: bytes that a file may have, as on a disk that is full then."""
        def full():
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        r = subprocess.run(launch([os.path.join(BUILD, "fake_train"), "train", data, *STEPS, *map(str, args)]), capture_output=True,
                           cwd=self.folder.name, preexec_fn=full, timeout=120)
        err = r.stderr.decode()
        self.assertEqual(r.returncode, code, (args, err))
        return err

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def events(self, name="l.jsonl"):
        return [json.loads(line) for line in self.read(name).decode().splitlines()]

    def final(self, folder):
        t = test_train.tensors(sorted(glob.glob(self.path(folder + "/*.safetensors")))[-1])
        del t["history"]
        return t

    def places(self, name="l.jsonl"):
        return [(e["event"], e.get("step", e.get("epoch", e.get("fold")))) for e in self.events(name)]

    def test_a_full_device_ends_no_training(self):
        self.train("-o", "want.onnx", "--checkpoint", "w")
        os.symlink("/dev/full", self.path("full"))
        for options in (["--log", "full"], ["--csv", "full"], ["--report", "full"], ["--log", "full", "-q"]):
            err = self.train("-o", "t.onnx", "--checkpoint", "c", "--overwrite", *options, code=1)
            self.assertEqual(err.count("full: cannot be written: No space left on device; the run goes on without it\n"), 1, err)
            self.assertTrue(err.endswith(LOST), err)
            self.assertEqual(self.read("t.onnx"), self.read("want.onnx"), options)
            self.assertTrue(json.loads(self.read("c/run.json"))["finished"])

    def test_a_full_disk_leaves_the_model_and_a_checkpoint(self):
        """A limit that the first checkpoints fit in, but not what grows."""
        many = ("-b", 4)  # steps
        self.train(*many, "-o", "want.onnx", "--log", "want.jsonl", "--log-tensorboard", "wb", "--checkpoint", "w")
        self.train(*many, "--max-steps", 1, "-o", "x.onnx", "--checkpoint", "first")
        limit = max(os.path.getsize(f) for f in glob.glob(self.path("first/step-*"))) + 100
        self.assertLess(os.path.getsize(self.path("want.onnx")), limit)
        err = self.train(*many, "-o", "t.onnx", "--log", "l.jsonl", "--log-tensorboard", "b", "--report", "r.html", "--csv", "e.csv",
                         "--checkpoint", "c", limit=limit, code=1)
        self.assertEqual(self.read("t.onnx"), self.read("want.onnx"))
        for name in ("l.jsonl", "b/" + test_board.NAME, "r.html"):
            self.assertEqual(err.count(f"{name}: cannot be written: File too large; the run goes on without it\n"), 1, err)
        self.assertRegex(err, r"(?m)^c/step-\S+: cannot be written: File too large; that of step \d+ stays, and the run goes on$")
        self.assertEqual(err.count("that of step"), 1, err)
        self.assertTrue(err.endswith(LOST), err)
        self.assertEqual(len(self.read("e.csv").splitlines()), 6)
        self.assertFalse(os.path.exists(self.path("r.html")))
        self.assertEqual([n for n in glob.glob(self.path("**"), recursive=True) if ".tmp-" in n], [])
        whole = self.events("want.jsonl")
        times = ("seconds", "images_per_s", "data_wait_s")
        plain = lambda events: [{k: v for k, v in e.items() if k not in times} for e in events]
        self.assertEqual(plain(self.events()), plain(whole[:len(self.events())]), "whole lines, as far as they go")
        self.assertGreater(len(self.events()), 3)
        frames, reference = ([f for f in test_board.frames(self.read(f"{b}/{test_board.NAME}"))] for b in ("b", "wb"))
        self.assertTrue(1 < len(frames) < len(reference), (len(frames), len(reference)))
        said = self.train(*many, "-o", "t.onnx", "--checkpoint", "c", "--resume", "--log", "l.jsonl", "--log-tensorboard", "b")
        self.assertIn("resumed at step", said)
        self.assertEqual(self.final("c"), self.final("w"))
        self.assertEqual(sorted(self.places()), sorted(self.places("want.jsonl")))

    def test_space_that_comes_back(self):
        """A checkpoint's name that is taken by a folder, until the epoch is over."""
        self.train("-o", "want.onnx", "--checkpoint", "w")
        os.makedirs(self.path("c/step-0000000003.safetensors"))
        err = self.train("-o", "t.onnx", "--checkpoint", "c", "--overwrite")
        self.assertRegex(err, r"step-0000000003.safetensors: cannot be written: [^;]*; that of step 0 stays, and the run goes on\n")
        self.assertIn("checkpoints are written again, as of step 6\n", err)
        self.assertEqual((self.read("t.onnx"), self.final("c")), (self.read("want.onnx"), self.final("w")))

    def test_a_model_that_cannot_be_written_can_be_later(self):
        self.train("-o", "want.onnx", "--checkpoint", "w")
        os.symlink("/dev/full", self.path("t.onnx"))
        err = self.train("-o", "t.onnx", "--csv", "e.csv", "--checkpoint", "c", code=1)
        self.assertIn("t.onnx: cannot be written: No space left on device; --resume writes it, from the checkpoints in c\n", err)
        self.assertEqual(len(self.read("e.csv").splitlines()), 6)
        os.remove(self.path("t.onnx"))
        self.train("-o", "t.onnx", "--checkpoint", "c", "--resume")
        self.assertEqual(self.read("t.onnx"), self.read("want.onnx"))

    def test_a_k_fold_goes_on(self):
        test_folds.make_pictures(self, "p")
        self.train("--k-fold", 3, "-o", "want.onnx", "--checkpoint", "w", data="p")
        err = self.train("--k-fold", 3, "-o", "t.onnx", "--checkpoint", "c", "--log", "/dev/full", data="p", code=1)
        self.assertEqual(self.read("t.onnx"), self.read("want.onnx"))
        self.assertEqual(self.read("c/folds.json"), self.read("w/folds.json"))
        self.assertTrue(err.endswith(LOST) and err.count(LOST) == 1, err)
        os.mkdir(self.path("e"))
        self.write("e/fold-2", b"in the way of the second part's folder")
        err = self.train("--k-fold", 3, "-o", "u.onnx", "--log-tensorboard", "e", "--checkpoint", "f", data="p", code=1)
        self.assertIn("e/fold-2/events.out.tfevents.hone: cannot be written: Not a directory; the run goes on without it\n", err)
        self.assertEqual(self.read("u.onnx"), self.read("want.onnx"))

    def test_a_cache_that_cannot_be_written_later(self):
        args = ("--epochs", "4,1", "-o", "t.onnx", "--checkpoint", "c")
        self.train(*args)
        want = self.final("c")
        self.train(*args, "--overwrite", "--max-steps", 4)
        self.write("rows", b"no folder")
        err = self.train(*args, "--resume", "--feature-cache", "rows", code=1)
        self.assertRegex(err, r"rows\S*: cannot be written: [^;]*; the run goes on without it\n")
        self.assertEqual(self.final("c"), want)

    def test_lines_come_once(self):
        """Killed behind its last checkpoint, in the middle of a line: what comes again goes first."""
        want = [("step", n) for n in range(1, 16)]
        self.train("-o", "t.onnx", "--checkpoint", "w", "--log", "l.jsonl")
        whole, log = self.places(), self.read("l.jsonl")
        self.assertEqual([p for p in whole if p[0] == "step"], want)
        for step in (1, 2, 3, 8, 14):
            shutil.rmtree(self.path("c"), ignore_errors=True)
            self.train("-o", "t.onnx", "--checkpoint", "c", "--max-steps", step)
            self.write("l.jsonl", b"# mine\n" + log + b'{"event":"step","st')
            self.train("-o", "t.onnx", "--checkpoint", "c", "--resume", "--log", "l.jsonl")
            self.assertTrue(self.read("l.jsonl").startswith(b"# mine\n"))
            self.write("l.jsonl", self.read("l.jsonl")[7:])
            self.assertEqual(self.places(), whole, step)
        self.train("-o", "t.onnx", "--checkpoint", "c", "--resume", "--epochs", "+1", "--log", "l.jsonl")
        self.assertEqual(self.places(), whole + [("step", 16), ("step", 17), ("step", 18), ("epoch", 5)])

    def test_lines_of_a_k_fold_come_once(self):
        test_folds.make_pictures(self, "p")
        args = [*STEPS[2:], "--k-fold", 3, "--epochs", "2,1", "-o", "t.onnx"]  # solved: ridges are lines, too

        def run(*more):
            return self.run_program("fake_train", "train", "p", *map(str, [*args, *more]))
        self.assertEqual(run("--checkpoint", "w", "--log", "want.jsonl")[0], 0)
        whole, log = self.places("want.jsonl"), self.read("want.jsonl")
        self.assertEqual([p for p in whole if p[0] == "fold"], [("fold", k) for k in (1, 2, 3)])
        self.assertIn("ridge", {e for e, _ in whole})
        run("--checkpoint", "c", "--max-steps", 2, "--log", "l.jsonl")
        self.write("l.jsonl", log)
        code, _, err = run("--checkpoint", "c", "--resume", "--log", "l.jsonl")
        self.assertEqual((code, self.places()), (0, whole), err)
        self.assertEqual(run("--checkpoint", "c", "--resume", "--log", "l.jsonl")[0], 0)
        self.assertEqual(self.places(), whole)


if __name__ == "__main__":
    unittest.main()
