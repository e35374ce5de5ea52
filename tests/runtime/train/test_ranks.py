"""Training on several processes, started by Open MPI's mpirun (skipped where there is none): the same bits on 1, 2, 4 and 8 of them and
after a resume on another number, kills of any of them, what is refused. The program is fake_train.c."""
import array
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import BUILD, Case, plain_png
import test_folds
from test_train import make_images, tensors

STEPS = ("--opt", "sgd", "--lr", "0.1")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
TIME = (8, 9, 10)  # columns of the history that are not the same twice


def children(pid):
    """Those that live."""
    found = []
    for path in glob.glob("/proc/%d/task/*/children" % pid):
        with open(path) as f:
            found += [int(x) for x in f.read().split()]
    return [x for x in found if state(x) not in "ZX"]


def state(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def finish(p):
    """What it said. Open MPI 4.1's mpirun may wait for ever for a rank that was killed while it started: then, none living, it goes too."""
    idle = 0
    for _ in range(200):
        try:
            return p.communicate(timeout=3)[0]
        except subprocess.TimeoutExpired:
            idle = 0 if children(p.pid) else idle + 1
        if idle == 4:
            p.kill()
    raise AssertionError("the ranks did not end")


@unittest.skipUnless(shutil.which("mpirun"), "there is no mpirun")
class Ranks(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("d"))
        make_images(self.path("d"), "train", 62, 1)  # 16 batches of 4, the last of 2
        make_images(self.path("d"), "t10k", 23, 2)

    def start(self, n, *args, data="d", epochs="2,1", solver="sgd", batch=4):
        command = [os.path.join(BUILD, "fake_train"), "train", data, *STEPS, "-b", str(batch), "--epochs", epochs, "--head-solver", solver, *map(str, args)]
        if n > 1:
            command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(n), *command]
        return subprocess.Popen(command, cwd=self.folder.name, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def train(self, n, *args, code=0, **more):
        p = self.start(n, *args, **more)
        out = p.communicate(timeout=120)[0]
        self.assertEqual(p.returncode, code, out)
        return out

    def final(self, folder):
        """All that the newest checkpoint holds, but times."""
        t = tensors(sorted(glob.glob(self.path(folder + "/*.safetensors")))[-1])
        h = t["history"]
        t["history"] = [h[i:i + 8] for i in range(0, len(h), 8) if i // 8 % 11 not in TIME]
        return t

    def test_the_same_bits_on_any_number(self):
        for k in (8, 6):  # 6: two steps of 6, one of 4; shares that are unequal, and empty
            want = None
            for n in (1, 2, 4, 8)[:3 if k == 6 else 4]:
                folder = "%d-%d" % (k, n)
                out = self.train(n, "--accumulate", k, "--checkpoint", folder, "-o", folder + ".onnx")
                self.assertEqual(out.count("none epoch 1/1 "), 1, out)  # one of them talks
                with open(self.path(folder + ".onnx"), "rb") as f:
                    got = self.final(folder), f.read()
                want = want or got
                self.assertEqual(got, want, (k, n))

    def test_augmented_images_and_one_that_cannot_be_read(self):
        for c in range(3):
            os.makedirs(self.path("p/%d" % c))
            for i in range(14):
                self.write("p/%d/%d.png" % (c, i), plain_png(80 * c + 3 * i, 3, 9, 12, 10))
        self.write("p/1/5.png", b"no picture")
        for name in ("a", "b"):
            n = 1 if name == "a" else 2
            out = self.train(n, "--accumulate", 4, "--augment", "light", "--val-fraction", "0.1", "--checkpoint", name, data="p")
            self.assertRegex(out, r"p/1/5.png: not a JPEG.* \(left out\)")
        self.assertEqual(self.final("a"), self.final("b"))

    def test_a_run_goes_on_on_another_number(self):
        args = ("--accumulate", 4, "-q")
        self.train(1, *args, "--checkpoint", "whole")
        self.train(4, *args, "--checkpoint", "part", "--max-steps", 3)
        self.train(1, *args, "--checkpoint", "part", "--max-steps", 7, "--resume")
        self.train(2, *args, "--checkpoint", "part", "--resume")
        self.assertEqual(self.final("part"), self.final("whole"))

    def test_a_run_with_an_average_goes_on_and_is_made_longer(self):
        args = ("--accumulate", 2, "-q", "--model-ema", "--model-ema-decay", "0.9")
        for folder, n in (("a", 1), ("b", 2)):
            self.train(n, *args, "--checkpoint", folder, "--max-steps", 3)
            self.train(n, *args, "--checkpoint", folder, "--resume")
            self.train(n, *args, "--checkpoint", folder, "--resume", epochs="+1")
        self.assertEqual(self.final("b"), self.final("a"))

    def test_a_solved_classifier(self):
        self.train(1, "--accumulate", 2, "-q", "--checkpoint", "a", solver="newton")
        self.train(2, "--accumulate", 2, "-q", "--checkpoint", "b", "--feature-memory", 60000, solver="newton")
        self.assertEqual(self.final("a"), self.final("b"))

    def test_processes_share_the_images_of_a_step(self):
        """Where it has fewer batches than processes: each gets one, of as many images, and the run goes on so on another number."""
        self.train(1, "--accumulate", 4, "-q", "--checkpoint", "whole", batch=1)
        out = self.train(4, "--checkpoint", "a")
        self.assertEqual(out.count("4 processes share the 4 images of a step, as --batch 1 --accumulate 4"), 1, out)
        self.assertEqual(self.final("a"), self.final("whole"))
        self.train(4, "--checkpoint", "b", "-q", "--max-steps", 3)
        self.train(2, "--checkpoint", "b", "-q", "--max-steps", 9, "--resume")
        out = self.train(1, "--checkpoint", "b", "--resume")
        self.assertIn("steps are cut as the run began: --batch 1 --accumulate 4", out)
        self.assertEqual(self.final("b"), self.final("whole"))
        self.train(2, "-q", "--checkpoint", "c", batch=3)  # shares of 2 images
        self.train(1, "--accumulate", 2, "-q", "--checkpoint", "e", batch=2)
        self.assertEqual(self.final("c"), self.final("e"))

    def test_what_is_refused(self):
        self.assertRegex(self.train(4, "--accumulate", 3, code=1, batch=1),
                         "rank 0: 4 processes cannot share the images of a step, 3: give --batch 4, or more")
        self.train(1, "-q", "--checkpoint", "one", "--max-steps", 2)
        self.assertRegex(self.train(2, "--checkpoint", "one", "--resume", code=1),
                         "rank 0: this run's steps are of --accumulate 1: that many processes can share them, not 2")
        for out, says in ((self.train(3, "--accumulate", 3, code=1), "3 processes were started: training is for 1, 2, 4, 8 ... of them"),
                          (self.train(4, code=1, data="nowhere"), "nowhere: No such file"),
                          (self.train(4, "--accumulate", 3, code=1, batch=1), "cannot share the images of a step"),
                          (self.train(2, "--checkpoint", "one", "--accumulate", 2, code=1), "holds the unfinished run")):
            self.assertEqual(out.count(says), 1, out)  # of all that meet it one tells it
            self.assertNotIn("the run is being ended", out)

    def test_batches_of_a_step_need_not_be_alike(self):
        """A step's gradient is the mean over its images, however they are cut: 14 are left for the last, 8 and 6."""
        same = ("-q", "--momentum", "0.5", "--max-steps", 4)
        self.train(1, *same, "--checkpoint", "a", batch=16)
        self.train(1, *same, "--accumulate", 2, "--checkpoint", "b", batch=8)
        self.train(2, *same, "--accumulate", 2, "--checkpoint", "c", batch=8)
        whole, cut = ([x for k, v in sorted(self.final(f).items()) if k.startswith("param/") for x in array.array("f", v)] for f in "ab")
        self.assertGreater(len(whole), 10)
        self.assertLess(max(abs(x - y) for x, y in zip(whole, cut)), 3e-7)
        self.assertEqual(self.final("b"), self.final("c"))

    def test_a_range_test(self):
        """The same picture and rate on any number, told once; each process takes all of every batch."""
        for n in (1, 2, 4):
            out = self.train(n, "--lr-find", "%d.svg" % n, batch=16)
            self.assertEqual(out.count("a tenth of where a range test"), 1, out)
            with open(self.path("%d.svg" % n)) as f, open(self.path("1.svg")) as first:
                self.assertEqual(f.read(), first.read())

    def test_a_k_fold(self):
        """The same model and scores on any number, stopped in a part and gone on with on another; features in a file, too."""
        args = ("--k-fold", 2, "--accumulate", 2, "-q")
        more = {"data": "p", "batch": 8, "epochs": "1,1"}
        test_folds.make_pictures(self, "p")

        def rows(folder):
            with open(self.path(folder + "/folds.json")) as f:
                return json.load(f)["rows"]
        for solver, memory in (("newton", 60000), ("sgd", 8000)):
            one, two = solver + "-one", solver + "-two"
            self.train(1, *args, "--checkpoint", one, solver=solver, **more)
            self.train(2, *args, "--checkpoint", two, "--feature-memory", memory, solver=solver, **more)
            self.assertEqual((self.final(two), rows(two)), (self.final(one), rows(one)))
        self.train(2, *args, "--checkpoint", "part", "--max-steps", 2, **more)
        self.train(1, *args, "--checkpoint", "part", "--resume", **more)
        self.assertEqual((self.final("part"), rows("part")), (self.final("sgd-one"), rows("sgd-one")))
        with open(self.path("part/folds.json")) as f:
            known = json.load(f)
        self.write("part/folds.json", json.dumps({**known, "rows": known["rows"][:1]}).encode())  # the other is found again
        self.train(2, *args, "--checkpoint", "part", "--resume", **more)
        self.assertEqual(rows("part"), known["rows"])
        self.assertRegex(self.train(2, *args, "--checkpoint", "part", code=1, **more), "rank 0: .*holds a run; --resume goes on with it")

    def test_a_signal_saves(self):
        """The last step is in a checkpoint. What a rank says last, mpirun may lose while it ends: one of three runs must be heard."""
        said = ""
        for folder in ("a", "b", "c"):
            p = self.start(2, "--accumulate", 2, "--checkpoint", folder, "-q", epochs="3000,1")
            while p.poll() is None and not glob.glob(self.path(folder + "/*.safetensors")):
                time.sleep(0.1)
            p.send_signal(signal.SIGTERM)
            said += p.communicate(timeout=60)[0]
            self.final(folder)
            if said:
                break
        self.assertRegex(said, "stopped by signal 15 after step [0-9]+; --resume goes on from " + folder)

    def test_kills_of_any_rank_lose_nothing(self):
        """kill -9 of any rank at any moment: the others end and say so, and resuming ends where an uninterrupted run ends."""
        kills, r, done, told = int(os.environ.get("HONE_KILLS", "4")), random.Random(5), 0, 0
        args = ("--accumulate", 4, "--checkpoint-every", 1, "-q")
        self.train(1, *args, "--checkpoint", "whole", epochs="20,15")
        want = self.final("whole")
        while done < kills:
            n = r.choice((2, 2, 4))
            p = self.start(n, *args, "--checkpoint", "part", "--resume", epochs="20,15")
            time.sleep(r.uniform(0.2, 1))
            ranks = children(p.pid)
            victim = r.choice(ranks) if ranks else None
            if victim:
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    victim = None
            out = finish(p)
            if p.returncode == 0:
                self.assertEqual(self.final("part"), want)
                shutil.rmtree(self.path("part"))
            elif victim:
                done += 1
                told += "another rank died" in out or "exited on signal 9" in out
                self.assertNotIn("a bug in hone", out)
                if done % 20 == 0:
                    print(done, "kills,", told, "told", flush=True)
        self.train(2, *args, "--checkpoint", "part", "--resume", epochs="20,15")
        self.assertEqual(self.final("part"), want)
        self.assertGreater(told, 0)


if __name__ == "__main__":
    unittest.main()
