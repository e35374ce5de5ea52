"""A k-fold over the hand-written program (fake_train.c): the parts, each against an ordinary run on the same images, the last run against
one without validation; stopped and killed in any part, it goes on to the same end."""
import glob
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, Case, launch
import test_train

K, N = 4, 43
STEPS = ("--opt", "sgd", "--warmup-epochs", "0", "--epochs", "3,2", "-b", "8")


def make_pictures(case, folder="d", n=N, broken=()):
    """d/CLASS/*.png, three classes that are hard to tell, of unequal sizes."""
    r = random.Random(3)
    for i in range(n):
        y = (0, 0, 1, 1, 2)[i % 5]
        os.makedirs(case.path(f"{folder}/{'abc'[y]}"), exist_ok=True)
        pixels = [min(255, r.randrange(200) + 40 * (row // 2 == y)) for row in range(8) for _ in range(8)]
        case.write(f"{folder}/{'abc'[y]}/{i:02d}.png", b"no picture" if i in broken else test_train.png_grey(8, 8, pixels))


class Folds(Case):
    def setUp(self):
        super().setUp()
        make_pictures(self)

    def train(self, *args, code=0, folder="ck", data="d", env=None):
        got, out, err = self.run_program("fake_train", "train", data, *STEPS, "--checkpoint", folder, "-o", "t.onnx", *args, env=env)
        self.assertEqual(got, code, (args, out, err))
        return err

    def rows(self, folder="ck"):
        with open(self.path(folder + "/folds.json")) as f:
            return json.load(f)["rows"]

    def state(self, folder="ck"):
        t = test_train.tensors(sorted(glob.glob(self.path(folder + "/*.safetensors")))[-1])
        del t["history"]
        return t

    def events(self, name="l.jsonl"):
        with open(self.path(name)) as f:
            return [json.loads(line) for line in f]

    def parts(self, seed=1):
        """[(training, validation)] of each part: lists of (label, name); and what is said of them."""
        found, said = [], []
        for k in range(K):
            text = self.good("data_probe", "open", "d", "--classes", 3, "--seed", seed, "--folds", K, "--fold", k)
            lines = [line.split() for line in text.splitlines()]
            found.append([[(int(w[1]), w[-1]) for w in lines if w[0] == part] for part in ("train", "val")])
            said.append({w[0]: w[1] for w in lines if w[0] in ("whole", "fingerprint")})
        return found, said

    def test_the_parts_are_alike(self):
        found, said = self.parts()
        held = [name for _, val in found for _, name in val]
        self.assertEqual((len(held), len(set(held))), (N, N))
        sizes = [len(val) for _, val in found]
        self.assertLessEqual(max(sizes) - min(sizes), 1)
        for y in range(3):
            counts = [sum(label == y for label, _ in val) for _, val in found]
            self.assertLessEqual(max(counts) - min(counts), 1, y)
        for train, val in found:
            self.assertEqual({n for _, n in train} | {n for _, n in val}, set(held))
        self.assertEqual(len({s["fingerprint"] for s in said}), K)
        alone = self.good("data_probe", "open", "d", "--classes", 3, "--seed", 1, "--fraction", 0)
        self.assertEqual({s["whole"] for s in said}, {alone.split("fingerprint ")[1].split()[0]})
        self.assertNotEqual(self.parts(2)[0], found)

    def test_each_part_is_an_ordinary_run(self):
        err = self.train("--k-fold", K, "--log", "l.jsonl")
        rows = self.rows()
        for k, (train, val) in enumerate(self.parts()[0]):
            for name, items in (("train.csv", train), ("val.csv", val)):
                self.write(name, "".join(f"{n},{'abc'[y]}\n" for y, n in items).encode())
            self.train("--val", "val.csv", "--log", "one.jsonl", "--overwrite", folder="one", data="train.csv")
            last = [e for e in self.events("one.jsonl") if e["event"] == "epoch"][-1]
            self.assertEqual((rows[k]["fold"], rows[k]["images"]), (k + 1, len(val)))
            for key in ("loss", "top1", "top5"):
                self.assertAlmostEqual(rows[k][key], last["val_" + key], delta=1e-8)
            self.assertIn(f"fold {k + 1} of {K}: top-1 {100 * rows[k]['top1']:.2f}%", err)
        self.assertGreater(len({r["loss"] for r in rows}), K - 1)
        self.train("--val-fraction", 0, folder="all")
        mine, other = self.state(), self.state("all")
        self.assertEqual(mine, other)
        self.assertEqual(sorted(os.listdir(self.path("ck"))), sorted([*os.listdir(self.path("all")), "folds.json"]))
        found = [e for e in self.events() if e["event"] == "folds"]
        self.assertEqual(len(found), 1)
        for key in ("top1", "loss"):
            values = [r[key] for r in rows]
            self.assertAlmostEqual(found[0][key], statistics.mean(values), delta=1e-7)
            self.assertAlmostEqual(found[0][key + "_deviation"], statistics.stdev(values), delta=1e-7)
        epochs = [e["fold"] for e in self.events() if e["event"] == "epoch"]
        self.assertEqual(epochs, [k for k in (1, 2, 3, 4, None) for _ in range(3)])
        self.assertEqual(err.count("features of the frozen layers are cached"), 1)
        json.loads(self.good("fake_train", "eval", "d", "--checkpoint", "ck", "--json"))

    def test_what_the_report_says(self):
        """The matrix of all images, each by the run that held it out, found here from ordinary runs' predict."""
        self.train("--k-fold", K, "--report", "r.html", "--head-solver", "sgd")
        matrix, worst = {}, set()
        for k, (train, val) in enumerate(self.parts()[0]):
            self.write("train.csv", "".join(f"{n},{'abc'[y]}\n" for y, n in train).encode())
            self.train("--val-fraction", 0, "--head-solver", "sgd", "--overwrite", folder="one", data="train.csv")
            said = json.loads(self.good("fake_train", "predict", *(n for _, n in val), "--checkpoint", "one", "--json", "--top", 1))
            for (y, name), e in zip(val, said):
                guess = e["top"][0]["class"]
                matrix[y, guess] = matrix.get((y, guess), 0) + 1
                if guess != y:
                    worst.add(name)
        with open(self.path("r.html")) as f:
            page = f.read()
        self.assertIn("All images, each as the network took it that had not learned from it; a row is a class", page)
        cells = [int(n) for n in re.findall(r'class="num mid"[^>]*>(\d+)<', page)]
        self.assertEqual(cells, [matrix[at] for at in sorted(matrix)])
        shown = re.findall(r"<small>([^<]*\.png)</small></figcaption>", page)
        self.assertEqual(len(shown), min(12, len(worst)))
        self.assertLessEqual(set(shown), worst)
        self.assertEqual(len(re.findall("<img ", page)), len(shown))
        self.assertNotIn(sum(n for (y, g), n in matrix.items() if y == g), (0, N))

    def test_stopped_in_a_part_it_goes_on(self):
        self.train("--k-fold", K, "--augment", "light")
        want, rows = self.state(), self.rows()
        for step in (1, 4, 9):
            err = self.train("--k-fold", K, "--augment", "light", "--max-steps", step, folder="cut")
            self.assertIn("fold 1 of 4 ended with --max-steps; without it --resume goes on", err)
            self.assertEqual(sorted(os.listdir(self.path("cut"))), ["fold-1", "lock"])
            self.assertIn("cut: holds a run; --resume goes on with it", self.train("--k-fold", K, "--augment", "light", folder="cut", code=1))
            self.train("--k-fold", K, "--augment", "light", "--resume", folder="cut")
            self.assertEqual((self.state("cut"), self.rows("cut")), (want, rows))
            shutil.rmtree(self.path("cut"))

    def test_scores_that_are_missing_are_found_again(self):
        self.train("--k-fold", K)
        want, rows = self.state(), self.rows()
        with open(self.path("ck/folds.json")) as f:
            all_of_it = json.load(f)
        del all_of_it["rows"][1]
        self.write("ck/folds.json", json.dumps(all_of_it).encode())
        os.mkdir(self.path("ck/fold-3"))  # killed before it went
        self.train("--k-fold", K, "--resume", "--report", "r.html")
        self.assertEqual((self.state(), self.rows()), (want, sorted(rows, key=lambda r: r["fold"])))
        with open(self.path("r.html")) as f:
            page = f.read()
        self.assertIn(f"<h2>{K} folds</h2>", page)
        for r in rows:
            self.assertIn(f"<tr><td>{r['fold']}</td><td>{r['images']}</td><td>{r['loss']:.4f}</td><td>{100 * r['top1']:.2f}%</td>", page)
        self.assertRegex(page, rf"<tr><td>mean</td><td></td><td>[\d.]+</td><td>{100 * statistics.mean(r['top1'] for r in rows):.2f}%")

    def test_killed_in_a_part_it_goes_on(self):
        more = ("--k-fold", K, "--head-solver", "sgd", "--epochs", "6,6")
        args = [a for a in STEPS if a not in ("--epochs", "3,2")]
        command = launch([os.path.join(BUILD, "fake_train"), "train", "d", *args, "-o", "t.onnx", *more])
        subprocess.run([*command, "--checkpoint", "whole"], cwd=self.folder.name, check=True, capture_output=True)
        for part in ("fold-1", "fold-3", "run.json"):
            shutil.rmtree(self.path("cut"), ignore_errors=True)
            p = subprocess.Popen([*command, "--checkpoint", "cut"], cwd=self.folder.name, stderr=subprocess.DEVNULL)
            while not os.path.exists(self.path("cut/" + part)) and p.poll() is None:
                time.sleep(0.001)
            p.send_signal(signal.SIGKILL)
            p.wait()
            subprocess.run([*command, "--checkpoint", "cut", "--resume"], cwd=self.folder.name, check=True, capture_output=True)
            self.assertEqual((self.state("cut"), self.rows("cut")), (self.state("whole"), self.rows("whole")), part)

    def test_bad_images_are_named_once(self):
        make_pictures(self, "e", broken=(7, 20))
        err = self.train("--k-fold", K, "--report", "r.html", data="e")
        self.assertEqual((err.count("e/b/07.png"), err.count("e/a/20.png")), (1, 1), err)
        with open(self.path("r.html")) as f:
            self.assertIn("2 files could not be read", f.read())

    def test_features_are_one_file(self):
        self.train("--k-fold", K, "--feature-cache", "features")
        self.assertEqual(len(glob.glob(self.path("features/*"))), 1, os.listdir(self.path("features")))
        same = self.state()
        self.train("--k-fold", K, "--feature-cache", "off", "--head-solver", "sgd", "--overwrite", folder="off")
        self.train("--k-fold", K, "--head-solver", "sgd", folder="memory")
        self.assertEqual((self.state("off"), self.rows("off")), (self.state("memory"), self.rows("memory")))
        self.assertNotEqual(same, self.state("off"))

    def test_boards(self):
        self.train("--k-fold", K, "--log-tensorboard", "board")
        parts = [f"fold-{k + 1}" for k in range(K)]
        self.assertEqual(sorted(os.listdir(self.path("board"))), ["events.out.tfevents.hone", *parts])
        os.remove(self.path("board/events.out.tfevents.hone"))
        self.assertIn("board: holds an earlier run's events", self.train("--log-tensorboard", "board", folder="other", code=1))
        self.assertEqual((sorted(os.listdir(self.path("board"))), os.path.exists(self.path("other"))), (parts, False))
        self.write("board/fold-2/mine", b"")
        self.train("--log-tensorboard", "board", "--overwrite", folder="other")
        self.assertEqual(sorted(os.listdir(self.path("board"))), ["events.out.tfevents.hone", "fold-2"], "but what is no event file")
        self.assertEqual(os.listdir(self.path("board/fold-2")), ["mine"])

    def test_what_excludes_it(self):
        for flags, words in ((["--val", "d"], "--k-fold and --val exclude each other"), (["--epochs", "auto"], "give the number of epochs"),
                             (["--early-stop", "2"], "--k-fold and --early-stop exclude"), (["--val-fraction", 0.3], "--k-fold and --val-fraction exclude"), (["--index", "i"], "--k-fold and --index exclude"),
                             (["--epochs", "+2", "--resume"], "--k-fold and --epochs +N exclude")):
            code, _, err = self.run_program("fake_train", "train", "d", "--opt", "sgd", "--k-fold", K, *flags)
            self.assertEqual((code, words in err), (2, True), err)
        os.makedirs(self.path("own"))
        os.rename(self.path("d"), self.path("own/train"))
        shutil.copytree(self.path("own/train"), self.path("own/val"))
        self.assertIn("own: has images for validation, a k-fold makes its own: name what it has for training, as own/train",
                      self.train("--k-fold", K, data="own", code=1))
        self.assertIn("own/train: 43 images are too few for 44 folds", self.train("--k-fold", 44, data="own/train", code=1))
        self.assertIn("own/train: 8 images of class c: not every one of 9 folds has one", self.train("--k-fold", 9, data="own/train"))
        for flags, words in ((["--k-fold", 3, "--resume"], "--k-fold 9, now 3"), (["--resume"], "--k-fold 9, now none"),
                             (["--k-fold", 9, "--seed", 2, "--resume"], "--seed 1, now 2")):
            self.assertIn(words, self.train(*flags, data="own/train", code=1))
        for junk in (b"", b"{", b"[]", b'{"folds": 9}', b'{"folds": 9, "model": "m", "data": "d", "options": "o", "rows": [{"fold": 10}]}'):
            self.write("ck/folds.json", junk)
            self.assertIn("folds.json: damaged; --overwrite begins anew", self.train("--k-fold", 9, "--resume", data="own/train", code=1))
        self.train("--k-fold", 9, "--overwrite", data="own/train")
        code, _, err = self.run_program("fake_train", "train", "own/train", *STEPS, "--checkpoint", "no", "--k-fold", K, "--report", "nodir/r.html")
        self.assertEqual((code, err.count("\n"), "nodir/r.html: cannot be written" in err, os.path.exists(self.path("no"))), (1, 1, True, False), err)


if __name__ == "__main__":
    unittest.main()
