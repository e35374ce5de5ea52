"""The training loop over a hand-written program (fake_train.c): learning, resuming bit for bit, signals,
kills, cached features, export, what goes wrong."""
import glob
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, Case, launch


def idx(path, dims, data):
    with open(path, "wb") as f:
        f.write(bytes([0, 0, 8, len(dims)]) + struct.pack(">%dI" % len(dims), *dims) + bytes(data))


def make_images(folder, part, n, seed):
    """Grey 8x8 images of 3 classes: noise, and two bright rows whose place is the class."""
    r = random.Random(seed)
    labels = [r.randrange(3) for _ in range(n)]
    pixels = []
    for y in labels:
        pixels += [r.randrange(120) + 100 * (row // 2 == y) for row in range(8) for _ in range(8)]
    idx(os.path.join(folder, part + "-images-idx3-ubyte"), (n, 8, 8), pixels)
    idx(os.path.join(folder, part + "-labels-idx1-ubyte"), (n,), labels)


def tensors(path):
    """{name: bytes} of a safetensors file."""
    with open(path, "rb") as f:
        data = f.read()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    return {k: data[8 + size + v["data_offsets"][0]:8 + size + v["data_offsets"][1]]
            for k, v in header.items() if k != "__metadata__"}


def json_meta(path):
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        return json.loads(f.read(size))["__metadata__"]


STEPS = ("--head-solver", "sgd", "--opt", "sgd", "--warmup-epochs", "0")  # the head's stage has epochs, too; test_solved.py is about the other way
PROGRAM = re.compile(rb"^\x72A\x0a\x0chone\.program\x121[0-9a-f]{32}-[0-9a-f]{16}$")  # what a tuned file ends with


class Train(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("d"))
        make_images(self.path("d"), "train", 40, 1)
        make_images(self.path("d"), "t10k", 20, 2)

    def train(self, *args, code=0, name="fake_train"):
        got, out, err = self.run_program(name, "train", "d", *STEPS, *args)
        self.assertEqual(got, code, (args, out, err))
        return err

    def own(self, name="fake_train"):
        """The folder of checkpoints that a program takes where none is given."""
        found, = glob.glob(self.path(name + "-????????.ckpt"))
        return found

    def checkpoints(self, folder=None):
        return sorted(glob.glob(os.path.join(self.path(folder) if folder else self.own(), "*.safetensors")))

    def final(self, folder=None):
        """All tensors of the newest checkpoint but times."""
        t = tensors(self.checkpoints(folder)[-1])
        del t["history"]
        return t

    def events(self, path):
        return [json.loads(line) for line in self.read(path).decode().splitlines()]

    def read(self, path):
        with open(self.path(path), "rb") as f:
            return f.read()

    def test_it_learns_and_says_so(self):
        err = self.train("--log", "log.jsonl", "--report", "report.html")
        self.assertRegex(err, r"stage 1 of 2, head: 51 parameters train, 1 are frozen")
        self.assertRegex(err, r"none epoch 2/2  loss \S+ top-1 \S+%  val loss \S+ top-1 100.00% top-5 100.00%")
        events = self.events("log.jsonl")
        epochs = [e for e in events if e["event"] == "epoch"]
        self.assertEqual(len(epochs), 5)
        self.assertLess(epochs[-1]["train_loss"], epochs[0]["train_loss"] / 10)
        self.assertEqual([e["step"] for e in events if e["event"] == "step"], list(range(1, 16)))
        page = self.read("report.html").decode()
        for part in ("Which class is taken for which", "What trained", "Learning rate", "</html>"):
            self.assertIn(part, page)
        result = json.loads(self.good("fake_train", "eval", "d", "--json"))
        self.assertEqual((result["images"], result["top1"]), (20, 1))
        self.assertAlmostEqual(result["loss"], min(e["val_loss"] for e in epochs), places=7)

    def test_export_changes_the_parameters_and_nothing_else(self):
        self.train("-o", "tuned.onnx")
        best = tensors(self.checkpoints()[-1])
        data = self.read("tuned.onnx")
        want = b"onnx<\0\0\0" + best["best/gain"] + best["best/b"] + best["best/W"] + b">" + b"\0" * 7
        self.assertEqual(data[:len(want)], want)
        self.assertRegex(data[len(want):], PROGRAM)  # classes have numbers, not names: no labels to add
        self.good("fake_train", "export", "again.onnx")
        self.assertEqual(self.read("again.onnx"), data)

    def test_labels_of_the_data_go_into_the_model(self):
        lines = []
        for i, name in enumerate(["ant", "bee", "cat"] * 4):
            self.write(f"{i}.png", png_grey(8, 8, [40 + 60 * (r // 2 == i % 3) for r in range(8) for _ in range(8)]))
            lines.append(f"{i}.png,{name}")
        self.write("list.csv", "\n".join(lines).encode())
        code, _, err = self.run_program("fake_train", "train", "list.csv", *STEPS, "-o", "t.onnx")
        self.assertEqual(code, 0, err)
        data = self.read("t.onnx")
        value = b"ant\nbee\ncat"
        entry = b"\x0a\x0bhone.labels\x12" + bytes([len(value)]) + value
        at = data.index(b"\x72" + bytes([len(entry)]) + entry)
        self.assertRegex(data[at + 2 + len(entry):], PROGRAM)
        out = self.good("fake_train", "predict", "0.png", "--top", "1", "--json")
        self.assertIn(json.loads(out)[0]["top"][0]["label"], ("ant", "bee", "cat"))

    def test_resumes_from_every_step_bit_for_bit(self):
        self.train("-b", "8", "--clip-grad", "1", "--augment", "light")
        want = self.final()
        for k in range(1, 25):
            args = ("-b", "8", "--clip-grad", "1", "--augment", "light", "--checkpoint", f"c{k}")
            self.train(*args, "--max-steps", str(k), "--feature-cache", "off")
            self.train(*args, "--resume")
            self.assertEqual(self.final(f"c{k}"), want, f"step {k}")

    def test_cached_features_change_nothing(self):
        self.train("--feature-cache", "off", "--checkpoint", "a")
        want = self.final("a")
        for where in ("memory", "folder", "folder"):  # the second run finds the first one's rows
            err = self.train("--feature-cache", where, "--checkpoint", "b", "--overwrite")
            self.assertIn("are cached", err)
            self.assertEqual(self.final("b"), want, where)
        path = glob.glob(self.path("folder/*"))[0]
        with open(path, "r+b") as f:  # a damaged row is made again
            f.seek(-4096 - 64, 2)
            f.write(b"\xff" * 16)
        self.train("--feature-cache", "folder", "--checkpoint", "b", "--overwrite")
        self.assertEqual(self.final("b"), want)
        self.train("--augment", "light", "--cache-variants", "2", "--feature-cache", "memory")

    def test_accumulated_batches_are_one_step(self):
        self.train("-b", "20", "--max-steps", "1", "--checkpoint", "a")
        self.train("-b", "10", "--accumulate", "2", "--max-steps", "1", "--checkpoint", "b")
        a, b = self.final("a"), self.final("b")
        for k in ("param/W", "param/b"):
            n = len(a[k]) // 4
            for x, y in zip(struct.unpack(f"{n}f", a[k]), struct.unpack(f"{n}f", b[k])):
                self.assertAlmostEqual(x, y, places=6)

    def test_one_image_and_batches_larger_than_the_data(self):
        make_images(self.path("d"), "train", 3, 5)
        self.train("-b", "1000")
        self.train("-b", "2", "--overwrite")
        os.mkdir(self.path("one"))
        make_images(self.path("one"), "train", 1, 7)
        code, _, err = self.run_program("fake_train", "train", "one", *STEPS, "--val-fraction", "0", "--overwrite")
        self.assertEqual(code, 0, err)
        self.assertIn("class", err)  # two of three classes have no image: said, no error

    def start(self, *args, name="fake_train"):
        return subprocess.Popen(launch([os.path.join(BUILD, name), "train", "d", *STEPS, *args]), cwd=self.folder.name,
                                stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def test_signals_save_and_end(self):
        for sig, code, more in ((signal.SIGTERM, 143, []), (signal.SIGINT, 130, ["--resume"])):
            p = self.start("--epochs", "100000,1", "--lr-schedule", "constant", "--checkpoint", "part", "--log", "log", *more)
            before = len(self.read("log")) if more else 0
            while not os.path.exists(self.path("log")) or len(self.read("log")) < before + 500:
                time.sleep(0.01)
            p.send_signal(sig)
            err = p.communicate()[1].decode()
            self.assertEqual(p.returncode, code, err)
            self.assertRegex(err, r"\nstopped by signal \d+ after step \d+; --resume goes on from part\n$")
            self.assertEqual("resumed at step" in err, bool(more))
        step = re.search(r"after step (\d+)", err)[1]
        self.train("--epochs", "100000,1", "--lr-schedule", "constant", "--checkpoint", "whole", "--max-steps", step)
        self.assertEqual(self.final("part"), self.final("whole"))

    def test_kills_lose_nothing(self):
        """kill -9 at any moment: resuming always works, and ends where an uninterrupted run ends."""
        kills = int(os.environ.get("HONE_KILLS", "12"))
        args = ("--epochs", "8,2", "--checkpoint-every", "1", "-q")
        self.train(*args, "--checkpoint", "whole")
        want = self.final("whole")
        r = random.Random(3)
        done = 0
        while done < kills:
            p = self.start(*args, "--checkpoint", "part", "--resume")
            time.sleep(r.uniform(0, 0.25))
            p.kill()
            err = p.communicate()[1].decode()
            self.assertIn(p.returncode, (-9, 0), err)
            done += 1
            if p.returncode == 0:
                self.assertEqual(self.final("part"), want)
                for f in glob.glob(self.path("part/*")):
                    os.unlink(f)
        self.train(*args, "--checkpoint", "part", "--resume")
        self.assertEqual(self.final("part"), want)

    def test_what_changes_a_run_outlives_kills(self):
        """Each of the options that draw, average or cut, killed twice while it runs: the same bits in the end, and other ones than without it."""
        options = ("--mixup 0.4", "--cutmix 1", "--mixup 0.8 --cutmix 1 --mixup-prob 0.7", "--reprob 0.5", "--reprob 0.5 --remode rand", "--aa ra-m9-n2",
                   "--aa rand-m9-mstd0.5-inc1", "--aa ta_wide", "--augment imagenet --scale 0.3,1 --train-interpolation bicubic", "--model-ema --model-ema-decay 0.9",
                   "--clip-grad 0.1", "--accumulate 3", "--class-weights balanced", "--augment light --cache-variants 3",
                   "--lr-schedule step --decay-epochs 2", "--lr auto")
        r, seen = random.Random(7), {}
        for option in ("", *options):
            args = ("-b", "8", "--epochs", "8,4", "--checkpoint-every", "1", "-q", *option.split())
            self.train(*args, "--checkpoint", "whole", "--overwrite")
            want = self.final("whole")
            shutil.rmtree(self.path("part"), ignore_errors=True)
            for _ in range(2):
                p = self.start(*args, "--checkpoint", "part", "--resume")
                while p.poll() is None and not glob.glob(self.path("part/*.safetensors")):
                    time.sleep(0.01)
                time.sleep(r.uniform(0, 0.1))
                p.kill()
                self.assertIn(p.wait(), (-9, 0), p.communicate()[1])
                p.stderr.close()
            self.train(*args, "--checkpoint", "part", "--resume")
            self.assertEqual(self.final("part"), want, option)
            found = want["param/W"] + want.get("average/W", b"")
            self.assertFalse(found in seen, (option, seen.get(found)))
            seen[found] = option

    def test_the_newest_valid_checkpoint_counts(self):
        self.train()
        files = self.checkpoints()
        self.assertEqual(len(files), 2)
        with open(files[1], "r+b") as f:
            f.seek(300)
            f.write(b"\x55")
        err = self.train("--resume")
        self.assertRegex(err, r"damaged.*passed over")
        self.assertRegex(err, r"resumed at step 12")
        os.rename(files[0], os.path.join(os.path.dirname(files[0]), "step-9999999999.safetensors"))
        self.assertRegex(self.train("--resume"), r"resumed at step 15")  # what is inside counts, not the name

    # ------------------------------------------------------------ a folder belongs to one run

    def contents(self, folder):
        return {n: self.read(os.path.join(folder, n)) for n in os.listdir(self.path(folder)) if n != "lock"}

    def run_of(self, folder):
        return json.loads(self.read(os.path.join(folder, "run.json")))

    def test_a_finished_run_stays(self):
        self.train("--checkpoint", "c", "-o", "t.onnx")
        before, run = self.contents("c"), self.run_of("c")
        self.assertTrue(run["finished"])
        for name, whose in (("fake_train", "this program"), ("fake_train_other", "another program")):
            err = self.train("--checkpoint", "c", "-o", "t2.onnx", "--log", "l", code=1, name=name)
            self.assertRegex(err, rf"c: holds the finished run {run['run']} of {whose}, begun \d{{4}}-.* UTC; "
                                  r"--overwrite begins anew over it, --checkpoint FOLDER elsewhere\n$")
        self.assertEqual(self.contents("c"), before)
        self.assertFalse(os.path.exists(self.path("t2.onnx")) or os.path.exists(self.path("l")))
        self.train("--checkpoint", "c", "--resume")  # has nothing to do but to write the model again
        self.assertEqual(self.contents("c"), before)
        want = self.final("c")
        self.train("--checkpoint", "c", "--overwrite")
        self.assertEqual(self.final("c"), want)
        self.assertNotEqual(self.run_of("c")["run"], run["run"])
        self.assertEqual(len(self.checkpoints("c")), 2)

    def test_an_unfinished_run_stays(self):
        self.train("--checkpoint", "c", "--max-steps", "4")
        before, run = self.contents("c"), self.run_of("c")
        self.assertFalse(run["finished"])
        err = self.train("--checkpoint", "c", code=1)
        self.assertRegex(err, rf"c: holds the unfinished run {run['run']} of this program, begun .*; --resume goes on, "
                              r"--overwrite begins anew over it")
        self.assertEqual(self.contents("c"), before)
        self.train("--checkpoint", "c", "--resume")
        self.assertEqual(self.run_of("c"), {**run, "finished": True})

    def test_another_program_does_not_resume(self):
        self.train("--checkpoint", "c", "--max-steps", "4")
        before = self.contents("c")
        self.assertIn("made with another program", self.train("--checkpoint", "c", "--resume", code=1, name="fake_train_other"))
        self.bad(1, "made with another program", "fake_train_other", "eval", "d", "--checkpoint", "c")
        self.bad(1, "made with another program", "fake_train_other", "export", "--checkpoint", "c", "x.onnx")
        self.assertEqual(self.contents("c"), before)

    def test_programs_of_one_name_have_folders_of_their_own(self):
        for where, name in (("a", "fake_train"), ("b", "fake_train_other")):
            os.mkdir(self.path(where))
            os.symlink(os.path.join(BUILD, name), self.path(where + "/prog"))
            p = subprocess.run(launch([self.path(where + "/prog"), "train", "d", "-q", *STEPS, "-o", where + ".onnx"]), cwd=self.folder.name)
            self.assertEqual(p.returncode, 0)
        self.assertEqual(len(glob.glob(self.path("prog-????????.ckpt"))), 2)

    def test_programs_of_one_name_keep_their_models(self):
        """Where nobody says how the tuned model is called, it replaces only one of the same program."""
        for where, name in (("a", "fake_train"), ("b", "fake_train_other")):
            os.mkdir(self.path(where))
            os.symlink(os.path.join(BUILD, name), self.path(where + "/prog"))

        def train(where, *args, code=0):
            argv = launch([self.path(where + "/prog"), "train", "d", "-q", "--no-checkpoint", *STEPS, *args])
            p = subprocess.run(argv, cwd=self.folder.name, stderr=subprocess.PIPE, text=True)
            self.assertEqual(p.returncode, code, p.stderr)
            return p.stderr
        train("a")
        first = self.read("prog-tuned.onnx")
        train("a", "--seed", "2")
        second = self.read("prog-tuned.onnx")
        self.assertNotEqual(first, second)
        self.assertEqual(train("b", code=1), "prog-tuned.onnx: is there already, and not of this program; "
                                             "-o FILE.onnx says where the tuned model goes\n")
        self.assertEqual(self.read("prog-tuned.onnx"), second)
        train("b", "-o", "prog-tuned.onnx")
        third = self.read("prog-tuned.onnx")
        self.assertNotEqual(third, second)
        for data in (third + b"x", third[:-1], b""):
            with open(self.path("prog-tuned.onnx"), "wb") as f:
                f.write(data)
            self.assertIn("not of this program", train("b", code=1))
            self.assertEqual(self.read("prog-tuned.onnx"), data)

    def test_a_folder_of_others(self):
        """What holds other files is no folder of checkpoints, and nothing of ours is left in one that is refused."""
        os.mkdir(self.path("e"))
        self.assertIn("d: is no folder of checkpoints: it holds ", self.train("--checkpoint", "d", code=1))
        self.assertIn("is no folder of checkpoints", self.train("--checkpoint", "d", "--overwrite", code=1))
        self.assertIn("is no folder of checkpoints", self.train("--checkpoint", "d", "--resume", code=1))
        self.assertFalse(os.path.exists(self.path("d/lock")))
        with open(self.path("e/notes.txt"), "w"):
            pass
        self.assertIn("it holds 'notes.txt'", self.train("--checkpoint", "e", code=1))
        self.assertEqual(os.listdir(self.path("e")), ["notes.txt"])
        os.rename(self.path("e/notes.txt"), self.path("e/.notes"))
        self.train("--checkpoint", "e", "-o", "e/t.onnx", "--log", "e/l", "--report", "e/r")  # outputs of the run's own
        self.train("--checkpoint", "c", "--max-steps", "2")
        before = set(os.listdir(self.path("c")))
        os.unlink(self.path("c/lock"))
        self.assertIn("made with another program", self.train("--checkpoint", "c", "--resume", code=1, name="fake_train_other"))
        self.assertIn("holds the unfinished run", self.train("--checkpoint", "c", code=1))
        self.assertEqual(set(os.listdir(self.path("c"))), before - {"lock"})
        self.train("--checkpoint", "c", "--resume")
        self.assertIn("made with another program", self.train("--checkpoint", "c", "--resume", code=1, name="fake_train_other"))
        self.assertTrue(os.path.exists(self.path("c/lock")))
        os.mkdir(self.path("empty"))
        self.train("--checkpoint", "empty", "--max-steps", "2", "--resume")
        self.assertIn("lock", os.listdir(self.path("empty")))

    def test_one_training_at_a_time(self):
        p = self.start("--epochs", "100000,1", "--lr-schedule", "constant", "--checkpoint", "c", "--log", "log")
        while not os.path.exists(self.path("log")) or len(self.read("log")) < 500:
            time.sleep(0.01)
        for more in ((), ("--resume",), ("--overwrite",)):
            err = self.train("--checkpoint", "c", *more, code=1)
            self.assertRegex(err, rf"c: another training runs in it \(process {p.pid}\); give this one --checkpoint FOLDER\n$")
        p.send_signal(signal.SIGTERM)
        p.communicate()
        self.assertEqual(p.returncode, 143)
        self.assertIn("holds the unfinished run", self.train("--checkpoint", "c", code=1))  # the lock went with it

    def test_checkpoints_of_two_runs_in_a_folder(self):
        for c in ("a", "b"):
            self.train("--checkpoint", c)
        newest = self.checkpoints("b")[-1]
        os.rename(newest, self.path("a/step-0000000099.safetensors"))
        before = self.contents("a")
        self.assertRegex(self.train("--checkpoint", "a", "--resume", code=1), r"step-0000000099.safetensors: is of the run")
        self.bad(1, "is of the run", "fake_train", "eval", "d", "--checkpoint", "a")
        self.assertEqual(self.contents("a"), before)
        os.unlink(self.path("a/step-0000000099.safetensors"))
        run = self.run_of("a")
        os.unlink(self.path("a/run.json"))  # what checkpoints say is enough
        self.train("--checkpoint", "a", "--resume")
        self.assertEqual(self.run_of("a")["run"], run["run"])

    def test_nothing_whole_is_no_beginning(self):
        self.train("--checkpoint", "c")
        for f in self.checkpoints("c"):
            with open(f, "r+b") as f:
                f.truncate(100)
        before = self.contents("c")
        self.assertIn("c: no checkpoint in it is whole", self.train("--checkpoint", "c", "--resume", code=1))
        self.assertIn("c: holds the finished run", self.train("--checkpoint", "c", code=1))
        self.assertEqual(self.contents("c"), before)
        self.train("--checkpoint", "c", "--overwrite")

    def test_kills_of_a_run_over_another(self):
        """The old run is there and whole, or the new one is."""
        args = ("--epochs", "8,2", "--checkpoint-every", "1", "-q")
        self.train(*args, "--checkpoint", "old", "--seed", "1")
        self.train(*args, "--checkpoint", "new", "--seed", "2")
        want = {"1": self.final("old"), "2": self.final("new")}
        r = random.Random(5)
        for _ in range(max(12, int(os.environ.get("HONE_KILLS", "12")) // 10)):
            shutil.rmtree(self.path("c"), ignore_errors=True)
            shutil.copytree(self.path("old"), self.path("c"))
            old = self.run_of("c")["run"]
            p = self.start(*args, "--checkpoint", "c", "--overwrite", "--seed", "2")
            time.sleep(r.uniform(0, 0.1))
            p.kill()
            p.communicate()
            mine = {json_meta(f)["run"] for f in self.checkpoints("c")} != {old} and self.run_of("c")["run"] != old
            seed = "2" if mine else "1"
            self.train(*args, "--checkpoint", "c", "--resume", "--seed", seed)
            self.assertEqual(self.final("c"), want[seed])
            self.assertEqual({json_meta(f)["run"] for f in self.checkpoints("c")}, {self.run_of("c")["run"]})
            self.assertEqual([n for n in os.listdir(self.path("c")) if ".tmp-" in n], [])

    def test_a_feature_cache_in_use(self):
        p = self.start("--epochs", "100000,1", "--lr-schedule", "constant", "--checkpoint", "a", "--log", "log",
                       "--feature-cache", "cache")
        while not os.path.exists(self.path("log")) or len(self.read("log")) < 500:
            time.sleep(0.01)
        err = self.train("--checkpoint", "b", "--feature-cache", "cache", code=1)
        self.assertRegex(err, r"cache/features-\w+.bin: another training uses it; give another --feature-cache FOLDER")
        self.train("--checkpoint", "b", "--feature-cache", "cache2", "--overwrite")
        p.send_signal(signal.SIGHUP)
        p.communicate()
        self.assertEqual(p.returncode, 129)

    def test_a_resumed_run_must_be_the_same_run(self):
        self.train()
        err = self.train("--resume", "--seed", "2", code=1)
        self.assertRegex(err, r"made with other options: --seed 1, now 2; give the same, or begin anew")
        code, _, err = self.run_program("fake_train", "train", "d", *STEPS[:2], "--opt", "adamw", *STEPS[4:], "--resume", "--epochs", "3", "--batch", "7")
        self.assertEqual(code, 1)
        self.assertRegex(err, r"options: --batch \d+, now 7; --epochs of stage 2 2, now 3 \(\+N goes on with a finished run\); .*--opt of stage 2 is another")
        self.assertIn("none holds no checkpoint of a run that could go on, as --epochs +2 asks for",
                      self.train("--checkpoint", "none", "--resume", "--epochs", "+2", code=1))
        self.assertFalse(os.path.exists(self.path("none")))
        make_images(self.path("d"), "train", 41, 1)
        self.assertRegex(self.train("--resume", code=1), "made with other data, --val or --val-fraction")
        os.remove(self.path("d/t10k-images-idx3-ubyte"))
        os.remove(self.path("d/t10k-labels-idx1-ubyte"))
        self.train("--checkpoint", "split")
        self.assertIn("made with other options: --seed 1, now 2;", self.train("--checkpoint", "split", "--resume", "--seed", "2", code=1))

    def test_what_is_not_finite_stops_the_run(self):
        err = self.train(code=1, name="fake_train_nan")
        self.assertRegex(err, r"step \d+: the loss is not finite, first in .*; nothing was moved by it, and the last "
                              r"checkpoint is in fake_train_nan-[0-9a-f]{8}.ckpt")
        self.assertTrue(self.checkpoints(self.own("fake_train_nan")))
        self.assertIn("Try a smaller --lr", err)

    def test_a_weight_that_is_no_number(self):
        """Of the network's file: no rate is to blame."""
        with open(os.path.join(BUILD, "fake_train"), "rb") as f:
            program = bytearray(f.read())
        at = program.index(b"onnx<\0\0\0") + 8
        program[at:at + 4] = struct.pack("<f", float("nan"))
        with open(self.path("spoilt"), "wb") as f:
            f.write(program)
        os.chmod(self.path("spoilt"), 0o755)
        p = subprocess.run(launch([self.path("spoilt"), "train", "d", "-q", "--no-checkpoint"]), cwd=self.folder.name, stderr=subprocess.PIPE, text=True)
        self.assertRegex(p.stderr, r"^step 1: the loss is not finite, first in parameter 'gain' of node '\w+', as the network's file has it: "
                                   r"1 of \d+ numbers are not finite; nothing was moved by it\n$")
        self.assertEqual(p.returncode, 1)

    def test_outputs_that_are_not_finite_are_wrong_and_never_best(self):
        """Images of class 2 have an infinite logit, their own, in the first epoch's validation."""
        labels = self.read("d/t10k-labels-idx1-ubyte")[8:]
        bad = [i for i, label in enumerate(labels) if label == 2]
        err = self.train("--lr", "0.03", "--epochs", "3,2", "--log", "log.jsonl", "--report", "r.html", name="fake_train_inf")
        self.assertIn(f"d/t10k-images-idx3-ubyte[{bad[0]}]: the network's output is not finite; counted as wrong\n"
                      f"so it is for {len(bad) - 1} further images\n", err)
        first, second, *_ = [e for e in self.events("log.jsonl") if e["event"] == "epoch"]
        self.assertEqual((first["not_finite"], second["not_finite"]), (len(bad), 0))
        self.assertLessEqual(first["val_top1"], 1 - len(bad) / len(labels))
        self.assertRegex(err, r"epoch 1/3 .* for data\n")  # no star
        self.assertRegex(err, r"epoch 2/3 .* for data  \*\n")
        self.assertNotRegex(self.read("r.html").decode(), r'"-?(nan|inf)')

    def test_without_an_epoch_of_finite_outputs_nothing_is_written(self):
        args = ("--lr", "0.001", "--epochs", "2,1", "--log", "log.jsonl")
        err = self.train(*args, code=1, name="fake_train_inf")
        self.assertIn("no epoch is the best: after each, validation images had outputs that are not finite; nothing is "
                      f"written, the last checkpoint is in {os.path.basename(self.own('fake_train_inf'))}\n", err)
        self.assertFalse(os.path.exists(self.path("fake_train_inf-tuned.onnx")))
        self.events("log.jsonl")
        self.assertIn("no epoch is the best", self.train(*args, "--resume", code=1, name="fake_train_inf"))

    def test_eval_and_predict_of_what_is_not_finite(self):
        self.train("--lr", "0.001", "--epochs", "1", code=1, name="fake_train_inf")
        labels = self.read("d/t10k-labels-idx1-ubyte")[8:]
        bad = [i for i, label in enumerate(labels) if label == 2]
        code, out, err = self.run_program("fake_train_inf", "eval", "d")
        self.assertEqual((code, err), (1, "".join(f"d/t10k-images-idx3-ubyte[{i}]: the network's output is not finite; "
                                                  "counted as wrong\n" for i in bad)))
        self.assertIn(f"top-5 {100 - 100 * len(bad) / len(labels):.2f}%", out)
        code, out, _ = self.run_program("fake_train_inf", "eval", "--json", "d")
        got = json.loads(out, parse_constant=lambda c: 1 / 0)
        self.assertEqual((code, got["images"], got["not_finite"]), (1, len(labels), len(bad)))
        self.write("flat.png", png_grey(8, 8, [90] * 64))
        self.write("rows.png", png_grey(8, 8, [40 + 60 * (r // 2 == 1) for r in range(8) for _ in range(8)]))
        code, out, err = self.run_program("fake_train_inf", "predict", "--json", "rows.png", "none.png", "flat.png", "rows.png")
        rows = json.loads(out, parse_constant=lambda c: 1 / 0)
        self.assertEqual(["top" in r for r in rows], [True, False, False, True])
        self.assertEqual(rows[2], {"image": "flat.png", "error": "flat.png: the network's output is not finite"})
        self.assertEqual((code, err), (1, "".join(r["error"] + "\n" for r in rows[1:3]) + "2 of 4 images are bad\n"))
        code, out, _ = self.run_program("fake_train_inf", "predict", "flat.png")
        self.assertEqual((code, out), (1, ""))

    def test_wrong_bindings_are_refused(self):
        self.assertIn("train.0: its output 'db' is not what its binding says",
                      self.train(code=1, name="fake_train_swapped"))

    def test_places_that_cannot_be_written(self):
        for args, reason in ((("-o", "no/where.onnx"), "no/where.onnx: cannot be written: No such file"),
                             (("--report", "no/where.html"), "no/where.html: cannot be written"),
                             (("--log", "/dev/full"), "/dev/full: cannot be written: No space left"),
                             (("--checkpoint", "d/train-labels-idx1-ubyte"), "cannot be written: Not a directory")):
            err = self.train(*args, code=1)
            self.assertIn(reason, err)
        self.assertEqual(self.left_over(), [])

    def test_no_output_is_a_file_of_the_run(self):
        """Not there yet: the first checkpoint, the run's record and lock, a cache of features."""
        for folder in ("kept", "rows"):
            os.makedirs(self.path(folder), exist_ok=True)
        for option in ("-o", "--report", "--log"):
            for name in ("kept/run.json", "kept/lock", "kept/step-0000000001.safetensors", "rows/features-0.bin"):
                code, _, err = self.run_program("fake_train", "train", "d", "--checkpoint", "kept", "--feature-cache",
                                                "rows", option, name)
                self.assertEqual(code, 1, (option, name, err))
                self.assertIn(f"{name}: cannot be written: files of that name are kept in {name.split('/')[0]}", err)
        self.assertEqual([os.listdir(self.path(folder)) for folder in ("kept", "rows")], [[], []])

    def test_usage(self):
        for args, said in ((["train"], "train: give DATA"), (["train", "d", "e"], "train: 'e' is one word too many"),
                           (["export"], "export: give OUT.onnx"), (["info", "d"], "info: 'd' is one word too many")):
            code, _, err = self.run_program("fake_train", *args)
            self.assertEqual((code, err.splitlines()[0].split("fake_train ")[1]), (2, said))
        for args, reason in ((("--epochs", "x"), "--epochs wants auto or whole numbers from 0 to 1000000, not 'x'"),
                             (("--epochs", "1.5"), "--epochs wants auto or whole"), (("--epochs", "-1"), "--epochs wants auto or whole"),
                             (("--epochs", "1,"), "--epochs wants auto or whole"), (("--epochs", "0x1"), "--epochs wants auto or whole"),
                             (("--epochs", "++1", "--resume"), "--epochs +N wants a whole number from 1 to 1000000, not '++1'"),
                             (("--epochs", "+-1", "--resume"), "--epochs +N wants"), (("--epochs", "+ 1", "--resume"), "--epochs +N wants"),
                             (("--epochs", "+0x1", "--resume"), "--epochs +N wants"), (("--epochs", "1, 2"), "--epochs wants auto or whole"),
                             (("--epochs", "2,+1"), "--epochs wants auto or whole"), (("--lr", "+0.1"), "1e-30 to 1e+06, not '+0.1'"), (("--epochs", "99999999999999999999"), "--epochs wants"),
                             (("--epochs", ",".join(["1"] * 40)), "--epochs wants"), (("--lr", "1e12"), "1e-30 to 1e+06, not '1e12'"),
                             (("--lr", "nan"), "1e-30 to 1e+06"), (("--lr", "1e-50"), "1e-30 to 1e+06"),
                             (("--lr", "0.1x"), "1e-30 to 1e+06"), (("--lr", ""), "--lr wants a value"),
                             (("--lr", "1", "--lr", "2"), "--lr is given twice"), (("--seed", "-1"), "--seed wants a whole number"),
                             (("--seed", "18446744073709551616"), "--seed wants a whole number"),
                             (("--epochs", "1,2,3"), "--epochs wants 1 or 2 numbers"),
                             (("--lr", "0"), "--lr wants rates from 1e-30 to 1e+06, not '0'"),
                             (("--opt", "adagrad"), "--opt wants sgd, nesterov or adamw"),
                             (("--lr-schedule", "poly"), "--lr-schedule wants cosine, step or constant"),
                             (("--sched", "poly"), "not 'poly'"), # as it was called before
                             (("--resume", "--no-checkpoint"), "exclude each other"),
                             (("--resume", "--overwrite"), "exclude each other"),
                             (("--fast",), "unknown option '--fast'")):
            code, _, err = self.run_program("fake_train", "train", "d", *args)
            self.assertEqual(code, 2, err)
            self.assertIn(reason, err)
        self.bad(1, "no valid checkpoint; train first, without --no-checkpoint", "fake_train", "eval", "d")
        self.assertEqual(self.run_program("fake_train", "nothing")[0], 2)

    def test_options_without_effect_are_told(self):
        for args, names in ((("--decay-rate", "0.5", "--beta2", "0.9", "--remode", "const"), "--decay-rate (it is of --lr-schedule step), "
                             "--beta2 (no stage is trained by AdamW), --remode (it is of --reprob)"),
                            (("--mixup-prob", "0.5", "--model-ema-decay", "0.9"), "--model-ema-decay (it is of --model-ema), --mixup-prob (it is of --mixup and --cutmix)"),
                            (("--mixup", "1", "--mixup-switch-prob", "0.5"), "--mixup-switch-prob (it is of --mixup and --cutmix together)"),
                            (("--no-checkpoint", "--checkpoint", "x", "--checkpoint-every", "1"), "--checkpoint (none are written), --checkpoint-every (none are written)"),
                            (("--val", "d", "--val-fraction", "0.1"), "--val-fraction (--val names the images for validation)"),
                            (("--augment", "light", "--cache-variants", "2", "--feature-cache", "off"), "--cache-variants (no features are cached)"),
                            (("--lr-find", "l.svg", "--accumulate", "2", "--max-steps", "3"),
                             "--warmup-epochs (--lr-find trains nothing), --accumulate (--lr-find takes a step for each batch), --max-steps (--lr-find trains nothing)")):
            err = self.train(*args, *(["--overwrite"] if not {"--no-checkpoint", "--lr-find"} & set(args) else []))
            self.assertEqual([line for line in err.splitlines() if line.startswith("without effect")], ["without effect: " + names], err)
        quiet = self.train("--decay-rate", "0.5", "-q", "--overwrite")
        self.assertEqual(quiet, "")
        self.assertNotIn("without effect", self.train("--lr-schedule", "step", "--decay-rate", "0.5", "--reprob", "0.1", "--remode", "const", "--overwrite"))
        os.mkdir(self.path("alone"))
        make_images(self.path("alone"), "train", 12, 1)
        _, _, err = self.run_program("fake_train", "train", "alone", "--val-fraction", "0", "--early-stop", "2", "--overwrite")
        self.assertIn("no stage ends early, there are no images for validation\n", err)

    def test_the_curve_of_a_range_test_is_logged(self):
        self.train("--lr-find", "l.svg", "--log", "l.jsonl")
        events = self.events("l.jsonl")
        rates = [e["lr"] for e in events if e["event"] == "rate"]
        self.assertEqual(rates, sorted(rates))
        least = min((e for e in events if e["event"] == "rate"), key=lambda e: e["loss"])
        self.assertEqual([e["event"] for e in events], ["rate"] * len(rates) + ["chosen_rate"])
        self.assertAlmostEqual(events[-1]["lr"], least["lr"] / 10, delta=1e-7 * least["lr"])
        self.assertGreater(len(rates), 20)

    def test_help_shows_the_new_spelling(self):
        text = self.run_program("fake_train", "train", "--help")[1]
        self.assertIn("--lr-schedule NAME", text)
        self.assertNotIn("--sched", text)

    def test_early_stop(self):
        err = self.train("--epochs", "50,1", "--early-stop", "2", "--lr-schedule", "constant", "--lr", "1e-12")
        self.assertRegex(err, "no better epoch for 2: stage over")


def png_grey(width, height, pixels):
    import zlib
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixels[y * width:(y + 1) * width]) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


if __name__ == "__main__":
    unittest.main()
