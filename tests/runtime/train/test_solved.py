"""A classifier alone on frozen features is solved, not trained in steps: over the hand-written program (fake_train.c), whose
first stage is one. What the solver itself does, tests/runtime/solve/test_solve.c checks."""
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, Case, launch
import test_train


class Solved(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("d"))
        test_train.make_images(self.path("d"), "train", 40, 1)
        test_train.make_images(self.path("d"), "t10k", 20, 2)

    def train(self, *args, code=0, folder="ck", env=None, name="fake_train"):
        got, out, err = self.run_program(name, "train", "d", "--checkpoint", folder, "--opt", "sgd", *args, env=env)
        self.assertEqual(got, code, (args, out, err))
        return err

    def final(self, folder="ck"):
        """The newest checkpoint, without times."""
        names = sorted(n for n in os.listdir(self.path(folder)) if n.endswith(".safetensors"))
        t = test_train.tensors(os.path.join(self.path(folder), names[-1]))
        del t["history"]
        return t

    def classifier(self, folder="ck"):
        t = self.final(folder)
        return t["best/W"] + t["best/b"]

    def test_it_says_what_it_did(self):
        err = self.train("--epochs", "7,0", "--log", "l.jsonl", "--report", "r.html")
        self.assertRegex(err, r"ridge \S+ of \d+ tried on each fifth of the images, whose loss is 0\.\d+; \d+ passes")
        self.assertRegex(err, r"head solved  loss 0\.\d+ top-1 \d+\.\d\d%  val loss 0\.0\d+ top-1 100\.00% top-5 100\.00%  ")
        self.assertNotIn("epoch 1/", err)
        with open(self.path("l.jsonl")) as f:
            events = [json.loads(line) for line in f]
        ridges = [e for e in events if e["event"] == "ridge"]
        self.assertGreater(len(ridges), 3)
        self.assertEqual([e["taken"] for e in ridges].count(1), 1)
        self.assertTrue(all(a["ridge"] > 3 * b["ridge"] for a, b in zip(ridges, ridges[1:])))
        taken = next(e for e in ridges if e["taken"])
        self.assertLessEqual(taken["held_loss"], min(e["held_loss"] for e in ridges) * 1.01)
        with open(self.path("r.html")) as f:
            page = f.read()
        self.assertIn("ridges that were tried", page)
        self.assertRegex(page, rf"<tr class=\"taken\"><td>[^<]*</td><td>[^<]*</td><td>{taken['held_loss']:.4f}</td>")

    def test_views_of_pictures(self):
        """--tta flip is the mean of a picture and its mirror image; of a set with one that is none, too."""
        self.train("--epochs", "3,0")
        r = random.Random(5)
        pictures = [[[r.randrange(256) for _ in range(8)] for _ in range(8)] for _ in range(9)]
        for i, rows in enumerate(pictures):
            self.write(f"{i}.png", test_train.png_grey(8, 8, sum(rows, [])))
            self.write(f"m{i}.png", test_train.png_grey(8, 8, sum((row[::-1] for row in rows), [])))
        self.write("bad.png", b"no picture")
        self.write("list.csv", b"bad.png,0\n" + "".join(f"{i}.png,{i % 3}\n" for i in range(9)).encode())

        def predict(names, *flags):
            told = json.loads(self.good("fake_train", "predict", *names, "--checkpoint", "ck", "--json", *flags))
            return [{t["class"]: t["probability"] for t in e["top"]} for e in told]

        here, there = predict([f"{i}.png" for i in range(9)]), predict([f"m{i}.png" for i in range(9)])
        mean = [{k: (a[k] + b[k]) / 2 for k in a} for a, b in zip(here, there)]
        for views in ("flip", "ten-crop"):  # crops of a picture that is no larger are all the same
            code, out, err = self.run_program("fake_train", "predict", *(f"{i}.png" for i in range(9)), "--checkpoint", "ck", "--json", "--tta", views)
            self.assertEqual((code, "hardly other views" in err), (0, views == "ten-crop"), err)
            for e, want in zip(json.loads(out), mean):
                for t in e["top"]:
                    self.assertAlmostEqual(t["probability"], want[t["class"]], places=5)
            code, out, err = self.run_program("fake_train", "eval", "list.csv", "--checkpoint", "ck", "--json", "--tta", views, "--batch", 4)
            said = json.loads(out)
            self.assertEqual((code, said["tta"]["images"], said["tta"]["bad_images"]), (1, 9, 1), err)
            self.assertAlmostEqual(said["tta"]["loss"], -sum(math.log(p[i % 3]) for i, p in enumerate(mean)) / 9, places=4)
            self.assertAlmostEqual(said["loss"], -sum(math.log(p[i % 3]) for i, p in enumerate(here)) / 9, places=4)

    def test_better_than_steps(self):
        self.train("--epochs", "1,0", "--log", "a")
        self.train("--epochs", "3,0", "--head-solver", "sgd", "--log", "b", folder="steps")
        loss = []
        for log in "ab":
            with open(self.path(log)) as f:
                loss.append([e["val_loss"] for e in map(json.loads, f) if e["event"] == "epoch"][-1])
        self.assertLess(loss[0], loss[1] / 5)

    def test_the_same_bits(self):
        """Whatever computes it, in whatever batches, and from features that were kept."""
        self.train("--epochs", "1,0")
        ways = [(["--threads", n], {}) for n in (1, 2, 3)] + [(["--batch", b], {}) for b in (1, 7)]
        ways += [(["--feature-cache", "f"], {}), (["--feature-cache", "f"], {}), (["--feature-cache", "f", "--feature-memory", "50000"], {}), ([], {"HONE_CPU": "x86-64"})]
        for k, (args, env) in enumerate(ways):
            self.train("--epochs", "1,0", *args, env=env, folder=f"w{k}")
            self.assertEqual(self.classifier(f"w{k}"), self.classifier(), (args, env))

    def test_the_same_bits_where_memory_holds_less(self):
        """Features in a file without a name, read anew in each pass, a few images at a time; where more layers move with it, too."""
        self.train("--epochs", "1,2")
        seen = set()
        for size in range(40000, 62000, 5000):
            err = self.train("--epochs", "1,2", "--feature-memory", size, "--overwrite", folder="less")
            block = re.search(r"each pass reads the features anew, (\d+) images at a time: all at once would take 0\.1 MB, of 0\.[01] ", err)
            if "head is trained in steps over the cached features, not solved: 40 images of 3 classes want 0.0 MB, of 0.0" in err:
                seen.add("steps")
                continue
            seen.add(block[1] if block else "all")
            self.assertIn("head solved", err)
            self.assertEqual(self.final("less"), self.final(), size)
        self.assertTrue({"steps", "16", "32", "all"} <= seen, seen)

    def test_features_in_a_file_without_a_name(self):
        """In the folder of checkpoints, and where that is none on a disk in the next one; nothing is left there."""
        args = ("--epochs", "0,1", "--feature-memory", "1K")
        err = self.train(*args)
        self.assertIn("features of the frozen layers are cached in a file in ck while this runs: 0.0 MB for 60 images, more than the 0.0 MB", err)
        self.assertEqual([n for n in os.listdir(self.path("ck")) if "features" in n], [])
        if os.path.isdir("/dev/shm"):
            code, _, err = self.run_program("fake_train", "train", "d", *args, "--opt", "sgd", "--no-checkpoint", "-o", "/dev/shm/hone-test.onnx")
            self.assertEqual(code, 0, err)
            self.assertIn("are cached in a file in . while this runs", err)
            os.unlink("/dev/shm/hone-test.onnx")
        for word in ("0", "x", "5X", "-1", "5MM"):
            code, _, err = self.run_program("fake_train", "train", "d", "--feature-memory", word)
            self.assertEqual(code, 2)
            self.assertIn(f"--feature-memory wants a size such as 500M or 8G, not '{word}'", err)

    def test_the_next_stage_starts_from_it(self):
        self.train("--epochs", "1,2", "--lr", "1e-9")
        self.train("--epochs", "1,0", folder="head")
        a, b = self.final(), self.final("head")
        for name in ("param/W", "param/b"):
            x, y = (memoryview(t[name]).cast("f") for t in (a, b))
            self.assertTrue(all(abs(p - q) < 1e-5 for p, q in zip(x, y)), name)

    def test_resumed_it_is_the_same(self):
        self.train("--epochs", "1,2")
        self.train("--epochs", "1,2", "--max-steps", "1", folder="part")  # the solution is one step
        err = self.train("--epochs", "1,2", "--resume", folder="part")
        self.assertIn("resumed at step 1, stage 1, epoch 2", err)
        self.assertEqual(self.final("part"), self.final())
        self.train("--epochs", "1,2", "--resume", "--head-solver", "sgd", folder="part", code=1)  # another run

    def test_kills_lose_nothing(self):
        self.train("--epochs", "1,2")
        r = random.Random(3)
        command = launch([os.path.join(BUILD, "fake_train"), "train", "d", "--epochs", "1,2", "--checkpoint", "killed", "--opt", "sgd", "-q"])
        more = []
        for _ in range(12):
            p = subprocess.Popen(command + more, cwd=self.folder.name, env={**os.environ, "OMP_NUM_THREADS": "1"})
            time.sleep(r.uniform(0, 0.15))
            p.send_signal(r.choice((signal.SIGKILL, signal.SIGTERM)))
            p.wait()
            begun = os.path.isdir(self.path("killed")) and any(n.endswith(".safetensors") for n in os.listdir(self.path("killed")))
            more = ["--resume"] if begun else ["--overwrite"]
        self.train("--epochs", "1,2", *more, folder="killed")
        self.assertEqual(self.final("killed"), self.final())

    def test_what_cannot_be_solved_is_said(self):
        for args, why in ((["--augment", "light"], "with --augment features are new in every epoch"),
                          (["--feature-cache", "off"], "features are not cached")):
            err = self.train("--epochs", "1,0", *args, "--overwrite")
            self.assertIn(f"head is trained in steps, not solved: {why}\n", err)
            self.assertIn("head epoch 1/1", err)
            err = self.train("--epochs", "1,0", *args, "--overwrite", "--head-solver", "newton", code=1)
            self.assertIn(f"--head-solver newton: stage 'head' cannot be solved: {why}\n", err)
        err = self.train("--head-solver", "magic", code=2)
        self.assertIn("--head-solver wants newton, sgd, nesterov or adamw, not 'magic'", err)

    def test_rare_classes_weigh_more(self):
        test_train.make_images(self.path("d"), "train", 41, 1)
        self.train("--epochs", "1,0")
        self.train("--epochs", "1,0", "--balanced", folder="balanced")
        self.assertNotEqual(self.classifier(), self.classifier("balanced"))

    def test_a_loss_that_rises_to_chance_ends_the_run(self):
        """Twice in a row: once may be a step too far. What the solved classifier had reached stays the best, in the checkpoint."""
        self.train("--epochs", "1,0", folder="head")
        err = self.train("--epochs", "1,5", "--lr", "3", "--weight-decay", "10", code=1)
        self.assertRegex(err.splitlines()[-1], r"^stage 'none', epoch 2: the loss rose from 0\.\d+ to \d+\.\d+, what guessing costs is 1\.0986: "
                                               r"the rate 0\.3 is too high; the best model, of epoch 1, stays in ck\. Try --lr with a tenth of it$")
        err = self.train("--epochs", "1,1", "--lr", "3", "--weight-decay", "10", folder="one")  # too late to end the run, not to say it
        self.assertIn(", 1.0986: what epoch 1 knew is lost, the rate was too high; try --lr with a tenth of it\n", err)
        self.assertFalse(os.path.exists(self.path("fake_train-tuned.onnx.tmp")))
        self.assertEqual(self.classifier(), self.classifier("head"))
        result = json.loads(self.good("fake_train", "eval", "d", "--checkpoint", "ck", "--json"))
        self.assertEqual(result["top1"], 1)

    def test_epochs_by_the_number_of_images(self):
        """Forty images in batches of 16 make 3 steps an epoch; what no longer improves ends earlier."""
        self.train("--epochs", "auto", "--lr", "0.0001", "--warmup-epochs", "0", "--log", "l.jsonl")
        with open(self.path("l.jsonl")) as f:
            stage = [e["stage"] for e in map(json.loads, f) if e["event"] == "epoch"]
        self.assertEqual(stage.count(0), 1)
        self.assertTrue(5 <= stage.count(1) <= 60, stage)

    def test_without_epochs_nothing_is_trained(self):
        self.assertIn("no stage has an epoch: nothing was trained, a new classifier is random\n", self.train("--epochs", "0,0"))
        self.assertNotIn("no stage has an epoch", self.train("--epochs", "1,0", folder="some"))

    def test_classes_that_cannot_be_read_are_said(self):
        for i in range(30):
            os.makedirs(self.path(f"pictures/{i % 3}"), exist_ok=True)
            self.write(f"pictures/{i % 3}/{i}.png", b"" if i % 3 == 1 or i == 2 else test_train.png_grey(8, 8, [i * 8] * 64))
        code, _, err = self.run_program("fake_train", "train", "pictures", "--epochs", "1,0", "--no-checkpoint")
        self.assertEqual(code, 0, err)
        self.assertIn("11 images could not be read and were left out\n"
                      "no image of '1' for training could be read: the model does not know this class\n", err)
        self.assertEqual(err.count("does not know"), 1)

    def test_one_image_of_each_class(self):
        """None can be held out, so that no ridge is better than another."""
        for i in range(3):
            os.makedirs(self.path(f"single/{i}"))
            self.write(f"single/{i}/1.png", test_train.png_grey(8, 8, [i * 80] * 64))
        args = "train", "single", "--epochs", "1,0", "--no-checkpoint"
        self.assertEqual(self.run_program("fake_train", *args)[2],
                         "single: no class has more than one image, none can be held out for validation; "
                         "give --val DATA, or --val-fraction 0 for no validation\n")
        code, _, err = self.run_program("fake_train", *args, "--val-fraction", "0", "--report", "r.html")
        self.assertEqual(code, 0, err)
        self.assertRegex(err, r"ridge 1, which nothing chose: no image can be held out; \d+ passes")
        with open(self.path("r.html")) as f:
            self.assertNotIn("ridges that were tried", f.read())

    def test_unequal_classes_are_said(self):
        labels = bytes([0] * 30 + [1] * 6 + [2] * 4)
        test_train.idx(self.path("d/train-labels-idx1-ubyte"), (40,), labels)
        err = self.train("--epochs", "1,0")
        self.assertIn("classes are unequal: 30 images of '0', 4 of '2'; --class-weights balanced weighs the rare ones more\n", err)
        err = self.train("--epochs", "1,0", "--class-weights", "balanced", folder="balanced")
        self.assertNotIn("unequal", err)

    def test_what_eval_tells_of_classes(self):
        """Against counts of what predict says of each image."""
        self.train("--epochs", "1,0", "--head-solver", "sgd", "--lr", "0.003")
        names = []
        r = random.Random(9)
        for i in range(30):
            rows = [r.randrange(160) + 60 * (row // 2 == i % 3) for row in range(8) for _ in range(8)]
            names.append(self.write(f"{i}.png", test_train.png_grey(8, 8, rows)))
        self.write("list.csv", "\n".join(f"{i}.png,{i % 3}" for i in range(30)).encode())
        said = json.loads(self.good("fake_train", "eval", "list.csv", "--checkpoint", "ck", "--json"))
        top = [max(x["top"], key=lambda t: t["probability"])
               for x in json.loads(self.good("fake_train", "predict", *names, "--checkpoint", "ck", "--json", "--top", "3"))]
        guess = [t["class"] for t in top]
        self.assertTrue(0.4 < said["top1"] < 1, said)
        f1 = []
        for k, c in enumerate(said["classes"]):
            right = sum(g == k == i % 3 for i, g in enumerate(guess))
            self.assertAlmostEqual(c["recall"], right / 10, places=6)
            self.assertAlmostEqual(c["precision"], right / max(guess.count(k), 1), places=6)
            p, q = c["precision"], c["recall"]
            f1.append(2 * p * q / (p + q) if p + q else 0)
            self.assertAlmostEqual(c["f1"], f1[-1], places=6)
        self.assertAlmostEqual(said["macro_f1"], sum(f1) / 3, places=6)
        bins = {}
        for i, t in enumerate(top):
            right, sure = bins.get(int(-(-t["probability"] * 15 // 1)), (0, 0))
            bins[int(-(-t["probability"] * 15 // 1))] = right + (t["class"] == i % 3), sure + t["probability"]
        self.assertAlmostEqual(said["calibration_error"], sum(abs(a - b) for a, b in bins.values()) / 30, places=5)
        text = self.good("fake_train", "eval", "list.csv", "--checkpoint", "ck", "--per-class")
        self.assertRegex(text, r"top-5 100\.00%, calibration error \d+\.\d\d%, macro F1 \d+\.\d\d%\nclass +images +precision")

    def test_classes_without_images(self):
        """Nothing is said of how they are found: "-" in text and report, null in JSON; one that others are taken for has a precision."""
        test_train.idx(self.path("d/t10k-labels-idx1-ubyte"), (20,), bytes(i % 2 for i in range(20)))
        self.train("--epochs", "1,0", "--report", "r.html")
        with open(self.path("r.html")) as f:
            self.assertRegex(f.read(), r"<td>2</td><td>0</td><td>(0\.0%|-)</td><td>-</td><td>-</td></tr>")
        for labels in ((0, 1), (1,)):
            rows = [[230 if row // 2 == i % 2 else 20 for row in range(8) for _ in range(8)] for i in range(4)]
            for i in range(4):
                self.write(f"{i}.png", test_train.png_grey(8, 8, rows[i]))
            self.write("list.csv", "\n".join(f"{i}.png,{labels[i % len(labels)]}" for i in range(4)).encode())
            said = json.loads(self.good("fake_train", "eval", "list.csv", "--checkpoint", "ck", "--json"))["classes"]
            text = self.good("fake_train", "eval", "list.csv", "--checkpoint", "ck", "--per-class")
            self.assertEqual([said[2][k] for k in ("images", "precision", "recall", "f1", "iou")], [0] + [None] * 4)
            self.assertRegex(text, r"\n2 +0 +- +- +- +-\n")
            self.assertEqual(said[1]["images"], 4 // len(labels))
        self.assertEqual([said[0][k] for k in ("images", "precision", "recall", "f1", "iou")], [0, 0, None, None, 0])
        self.assertRegex(text, r"\n0 +0 +0\.00% +- +- +0\.00%\n1 +4 +100\.00% +50\.00% +66\.67% +50\.00%\n")

    def test_an_image(self):
        """Fewer than parts can be made of."""
        os.mkdir(self.path("one"))
        test_train.make_images(self.path("one"), "train", 1, 7)
        code, _, err = self.run_program("fake_train", "train", "one", "--val-fraction", "0", "--opt", "sgd")
        self.assertEqual(code, 0, err)
        self.assertIn("head solved", err)


if __name__ == "__main__":
    unittest.main()
