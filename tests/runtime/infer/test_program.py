"""The inference program end to end on hand-written models: every subcommand, every kind of bad input."""
import html.parser
import json
import os
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, MCPU, Case, launch, npy, plain_png, png, read_npy

COLORS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250), "bright": (250, 250, 250)}


def floats(*values):
    return struct.pack("<%df" % len(values), *values)

FAKE = " ".join(launch([os.path.join(BUILD, "fake")]))  # as a shell starts it


class Classify(Case):
    def setUp(self):
        super().setUp()
        for name, rgb in COLORS.items():
            self.write(name + ".png", plain_png(*rgb))

    def files(self):
        return [n + ".png" for n in COLORS]

    def test_text(self):
        out = self.good("fake", "red.png", "blue.png").splitlines()
        self.assertEqual(len(out), 12)
        self.assertEqual((out[0], out[6]), ("red.png", "blue.png"))
        self.assertRegex(out[1], r"^  100\.00%  red$")
        self.assertRegex(out[7], r"^  100\.00%  blue$")
        self.assertIn('dark "night"', "\n".join(out))

    def test_json_is_a_line_per_image(self):
        for args in ([], ["--batch", "1"], ["-b3"], ["--batch-size=64"], ["--threads", "1"], ["-t", "5"]):
            out = self.good("fake", "--json", "--top", 2, *args, *self.files())
            rows = [json.loads(line) for line in out.splitlines()]
            self.assertEqual([r["file"] for r in rows], self.files())
            self.assertEqual([r["top"][0]["label"] for r in rows], list(COLORS))
            for r in rows:
                self.assertEqual(len(r["top"]), 2)
                self.assertGreater(r["top"][0]["probability"], 0.9)

    def test_probabilities_sum_to_one(self):
        for program in ("fake", "fake_softmax_nhwc"):
            row = json.loads(self.good(program, "--json", "red.png"))
            self.assertAlmostEqual(sum(t["probability"] for t in row["top"]), 1, places=5)
            self.assertEqual(row["top"][0]["label"], "red")

    def test_fixed_batch_takes_any_number_of_images(self):
        names = self.files()
        for n in range(1, 5):
            out = self.good("fake_fixed", "--json", "-k1", *names[:n])
            self.assertEqual([json.loads(s)["top"][0]["label"] for s in out.splitlines()], list(COLORS)[:n])

    def test_bad_images_do_not_stop_the_others(self):
        self.write("text.png", b"hello")
        self.write("empty.jpg", b"")
        data = plain_png(1, 2, 3)
        self.write("cut.png", data[:len(data) // 2])
        args = ["red.png", "text.png", "empty.jpg", "cut.png", "missing.jpg", "blue.png"]
        for batch in (1, 2, 8):
            code, out, err = self.run_program("fake", "--top", 1, "--batch", batch, *args)
            self.assertEqual(code, 1)
            self.assertEqual(out, "red.png\n  100.00%  red\nblue.png\n  100.00%  blue\n")
            self.assertRegex(err, r"\Atext\.png: not a JPEG, PNG or WebP file\n"
                                  r"empty\.jpg: the file is empty\n"
                                  r"cut\.png: (truncated|corrupt) PNG.*\n"
                                  r"missing\.jpg: No such file or directory\n"
                                  r"4 of 6 images are bad\n\Z")
        code, out, _ = self.run_program("fake", "--json", "text.png")
        self.assertEqual((code, json.loads(out)["error"]), (1, "text.png: not a JPEG, PNG or WebP file"))

    def test_odd_names_stay_one_line(self):
        name = 'new\nline "\x1b[31m.png'
        self.bad(1, r"^new\\x0aline \"\\x1b\[31m\.png: No such file", "fake", name)
        self.write(name, plain_png(*COLORS["red"]))
        self.assertEqual(json.loads(self.good("fake", "--json", name))["file"], name)
        self.write("-b.png", plain_png(*COLORS["red"]))
        self.assertIn("red", self.good("fake", "--", "-b.png"))

    def test_labels(self):
        self.write("five.txt", b"a\r\nb\nc\nd\ne\n")
        self.assertIn("%  a\n", self.good("fake", "--labels", "five.txt", "red.png"))
        self.write("four.txt", b"a\nb\nc\nd")
        self.bad(1, r"^four\.txt: 4 labels, but the model has 5 classes$", "fake", "--labels", "four.txt", "red.png")
        self.bad(1, r"^none\.txt: No such file", "fake", "--labels", "none.txt", "red.png")

    def first(self, *args):
        return json.loads(self.good("fake", "--json", *args))["top"][0]["label"]

    def test_preprocessing_flags(self):
        self.assertEqual(self.first("--bgr", "red.png"), "blue")
        self.assertEqual(self.first("--bgr", "green.png"), "green")
        self.assertEqual(self.first("--mean", "0.5,0.5,0.5", "--std=0.5,0.5,0.5", "red.png"), "red")
        self.assertEqual(self.first("--mean", "1", "0", "-1", "red.png"), "blue")
        self.assertEqual(self.first("--scale", "0.0001", "bright.png"), 'dark "night"')
        left_red = bytes(([250, 5, 5] * 8 + [5, 5, 250] * 24) * 16)
        self.write("wide.png", png(32, 16, left_red))
        self.assertEqual(self.first("--resize", "8", "wide.png"), "blue")
        self.assertEqual(self.first("--crop-pct", "0.5", "wide.png"), "blue")
        self.good("fake", "--crop", 8, "--resize", 0, "wide.png")
        self.bad(1, r"input is 8 x 8, not 9 x 9", "fake", "--img-size", 9, "red.png")
        self.bad(1, r"--mean wants 3 numbers", "fake", "--mean", "1,2", "red.png")
        self.bad(2, r"--std must be from 1e-30 to 1000000000, not 0\n", "fake", "--std", "1,0,1", "red.png", lines=2)

    def test_not_finite_output(self):
        self.bad(1, r"^red\.png: the model's output is not finite$", "fake_nan", "red.png")

    def test_model_without_image(self):
        self.bad(1, r"^multi: the model has 2 inputs and 2 outputs; use the subcommand run$", "fake_multi", "red.png")

    def test_full_disk(self):
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w") as full:
                r = subprocess.run(launch([os.path.join(BUILD, "fake"), self.path("red.png")]), stdout=full,
                                   stderr=subprocess.PIPE)
            self.assertEqual(r.returncode, 1)
            self.assertIn(b"No space left", r.stderr)


class Run(Case):
    def test_shapes_and_batches(self):
        for n in range(6):
            data = floats(*[i / 7 for i in range(n * 192)])
            self.write("x.npy", npy("<f4", "(%d, 3, 8, 8)" % n, data))
            self.good("fake", "run", "-i", "x.npy", "-o", "y.npy")
            descr, shape, first = read_npy(self.path("y.npy"))
            self.assertEqual((descr, shape, len(first)), ("<f4", (n, 5), n * 20))
            self.good("fake", "run", "-i", "image=x.npy", "-o", "scores=y.npy", "--threads", 3)
            self.assertEqual(read_npy(self.path("y.npy"))[2], first)

    def multi(self, a="(2, 2)", plus="(2,)", a_type="<f4", data=None):
        n = 4 if data is None else 0
        self.write("a.npy", npy(a_type, a, floats(1, 2, 3, 4) if n else data))
        self.write("p.npy", npy("<i8", plus, struct.pack("<2q", 10, -20) if plus == "(2,)" else bytes(8 * 3)))

    def test_several(self):
        self.multi()
        self.good("fake_multi", "run", "-i", "a=b=a.npy", "-i", "plus=p.npy", "-o", "sum/0=s.npy", "-o", "twice=t.npy")
        self.assertEqual(read_npy(self.path("s.npy")), ("<f4", (2, 2), floats(11, 12, -17, -16)))
        self.assertEqual(read_npy(self.path("t.npy")), ("<i8", (5,), struct.pack("<5q", 10, -20, 10, -20, 7)))
        self.good("fake_multi", "run", "-i", "a=b=a.npy", "-i", "plus=p.npy", "-o", "twice=only.npy")
        self.assertEqual(self.left_over(), [])

    def test_wrong_inputs(self):
        inputs = ["run", "-i", "a=b=a.npy", "-i", "plus=p.npy", "-o", "twice=t.npy"]
        self.multi(plus="(3,)")
        self.bad(1, r"^p\.npy: input 'plus' has batch size 3, but a\.npy has 2$", "fake_multi", *inputs)
        self.multi(a="(4,)")
        self.bad(1, r"^a\.npy: input 'a=b' takes f32\[N,2\], the file has f32\[4\]$", "fake_multi", *inputs)
        self.multi(a="(1, 2)", a_type="<f8", data=bytes(16))
        self.bad(1, r"^a\.npy: input 'a=b' takes f32\[N,2\], the file has f64\[1,2\]$", "fake_multi", *inputs)
        self.multi(a="(1, 3)", data=bytes(12))
        self.bad(1, r"^a\.npy: input 'a=b' takes f32\[N,2\], the file has f32\[1,3\]$", "fake_multi", *inputs)
        self.multi()
        self.bad(1, r"^input 'plus' is missing", "fake_multi", "run", "-i", "a=b=a.npy", "-o", "twice=t.npy")
        self.bad(1, r"no input 'x'", "fake_multi", "run", "-i", "x=a.npy", "-o", "twice=t.npy")
        self.bad(1, r"no output 'x'", "fake_multi", *inputs[:5], "-o", "x=t.npy")
        self.bad(1, r"^a\.npy: which of the model's 2 inputs", "fake_multi", "run", "-i", "a.npy", "-o", "twice=t.npy")
        self.bad(1, r"given twice", "fake_multi", *inputs, "-i", "plus=p.npy")
        self.bad(1, r"^gone\.npy: No such file", "fake_multi", "run", "-i", "a=b=gone.npy", "-o", "twice=t.npy")
        self.assertFalse(os.path.exists(self.path("t.npy")))

    def test_fixed_batch(self):
        self.write("x.npy", npy("<f4", "(3, 3, 8, 8)", bytes(3 * 768)))
        self.bad(1, r"takes f32\[2,3,8,8\], the file has f32\[3,3,8,8\]$", "fake_fixed", "run", "-i", "x.npy", "-o", "y")
        self.write("x.npy", npy("<f4", "(2, 3, 8, 8)", bytes(2 * 768)))
        self.good("fake_fixed", "run", "-i", "x.npy", "-o", "y")

    def test_outputs_that_cannot_be_written(self):
        self.write("x.npy", npy("<f4", "(1, 3, 8, 8)", bytes(768)))
        run = ["fake", "run", "-i", "x.npy", "-o"]
        self.bad(1, r"^no/y\.npy: cannot be written: No such file", *run, "no/y.npy")
        self.bad(1, r"^\.: cannot be written: Is a directory", *run, ".")
        if os.path.exists("/dev/full"):
            self.bad(1, r"^/dev/full: cannot be written: No space left", *run, "/dev/full")
            self.assertTrue(os.path.exists("/dev/full"))
        self.good(*run, "/dev/null")
        self.assertEqual(self.left_over(), [])
        # a failure of one output leaves the other's old file alone
        self.multi()
        self.write("old.npy", b"old")
        self.bad(1, r"^no/t: cannot be written", "fake_multi", "run", "-i", "a=b=a.npy", "-i", "plus=p.npy",
                 "-o", "sum/0=old.npy", "-o", "twice=no/t")
        with open(self.path("old.npy"), "rb") as f:
            self.assertEqual(f.read(), b"old")
        self.assertEqual(self.left_over(), [])

    def test_file_size_limit_leaves_nothing(self):
        self.write("x.npy", npy("<f4", "(200, 3, 8, 8)", bytes(200 * 768)))
        r = subprocess.run(["sh", "-c", "trap '' XFSZ; ulimit -f 2; exec %s run -i x.npy -o y.npy" % FAKE],
                           cwd=self.folder.name, capture_output=True)
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr.decode(), r"y\.npy: cannot be written: File too large")
        self.assertEqual((self.left_over(), os.path.exists(self.path("y.npy"))), ([], False))

    def test_links_are_followed(self):
        self.write("x.npy", npy("<f4", "(1, 3, 8, 8)", bytes(768)))
        self.write("real.npy", b"")
        os.symlink("real.npy", self.path("link.npy"))
        self.good("fake", "run", "-i", "x.npy", "-o", "link.npy")
        self.assertTrue(os.path.islink(self.path("link.npy")))
        self.assertEqual(read_npy(self.path("real.npy"))[1], (1, 5))


class Balance(html.parser.HTMLParser):
    """What is wrong with the nesting of a page's elements."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    @staticmethod
    def of(page):
        b = Balance()
        b.feed(page)
        return b.wrong + b.open


class Bench(Case):
    def test_json(self):
        row = json.loads(self.good("fake", "bench", "--batch", 4, "--threads", 2, "--iters", 7, "--warmup", 1, "--json"))
        self.assertEqual(list(row), ["model", "batch", "threads", "iters", "load_ms", "first_ms", "min_ms", "median_ms", "mean_ms",
                                     "gflops", "rss_mb"])
        self.assertEqual((row["model"], row["batch"], row["threads"], row["iters"]), ("fake", 4, 2, 7))
        self.assertLessEqual(row["min_ms"], row["median_ms"])
        self.assertLessEqual(row["min_ms"], row["mean_ms"])
        self.assertTrue(0 < row["load_ms"] < 5000 and 0 < row["rss_mb"] < 500 and row["gflops"] > 0, row)

    def test_profile(self):
        out = self.good("fake", "bench", "--iters", 3, "--profile")
        figures = r"(?m)^ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ [cm]  "
        self.assertRegex(out, figures + r"reduce_mean +f32 +plain +average$")
        self.assertRegex(out, figures + r" +1  matmul plain$")
        self.assertRegex(out, figures + r" +2  all$")
        self.assertLess(out.index("average"), out.index("score"))
        self.assertRegex(out, r"(?m)^[\d.]+ GFLOP/s \(fp32, .+\) and [\d.]+ GB/s")
        self.assertLessEqual(max(map(len, out.splitlines())), 120)

    def test_profile_json(self):
        row = json.loads(self.good("fake", "bench", "--iters", 3, "--profile", "--json", "--batch", 2))
        self.assertEqual([n["op"] for n in row["nodes"]], ["reduce_mean", "matmul"])
        self.assertEqual([n["flops"] for n in row["nodes"]], [2 * 192, 2 * 40])
        self.assertEqual([n["bytes"] for n in row["nodes"]], [2 * 768, 80 + 2 * 32])
        self.assertEqual([k["kernel"] for k in row["kernels"]], ["reduce_mean plain", "matmul plain"])
        top = row["ceiling"]
        self.assertTrue(1 <= top["threads"] <= 2 and top["gflops"] > (0 if MCPU else 0.1) and top["gb_s"] > 0.05, top)
        for n in row["nodes"]:
            compute, memory = n["flops"] / top["gflops"], n["bytes"] / top["gb_s"]
            self.assertEqual(n["bound"], "memory" if memory > compute else "compute")
            if n["ms"] > 0:
                self.assertAlmostEqual(n["ceiling"] / (max(compute, memory) * 1e-6 / n["ms"]), 1, delta=0.01)

    def test_profile_html(self):
        for args in ([], ["--profile"], ["--json"]):
            out = self.good("fake", "bench", "--iters", 3, "--profile-html", "p.html", *args)
            self.assertEqual("Time by node" in out, args == ["--profile"])
            with open(self.path("p.html"), encoding="utf-8") as f:
                page = f.read()
            for part in ("<svg", "average", "matmul plain", "of ceiling", "Batch 1, 2 threads, 3 runs"):
                self.assertIn(part, page)
            for outside in ("http", "src=", "href=", "url(", "@import", "<script"):
                self.assertNotIn(outside, page)
            self.assertEqual(Balance.of(page), [])
            os.remove(self.path("p.html"))
        self.assertEqual(self.left_over(), [])

    def test_profile_html_escapes_names(self):
        self.good("fake_names", "bench", "--iters", 1, "--profile-html", "p.html")
        with open(self.path("p.html"), encoding="utf-8") as f:
            page = f.read()
        self.assertEqual(Balance.of(page), [])
        self.assertNotIn("<script", page)
        self.assertIn("&#60;script&#62;", page)
        self.assertIn("a &#38; b", page)
        out = self.good("fake_names", "bench", "--iters", 1, "--profile")
        self.assertLessEqual(max(map(len, out.splitlines())), 120)
        self.assertRegex(out, r"(?m)  \.\.\S+/tail \+2$")

    def test_profile_html_is_whole_or_not_there(self):
        self.bad(1, r"^no/p\.html: cannot be written: No such file", "fake", "bench", "--profile-html", "no/p.html")
        self.write("p.html", b"old")
        self.bad(1, "compiled for batch size 2, cannot run with 3", "fake_fixed", "bench", "--batch", 3,
                 "--profile-html", "p.html")
        r = subprocess.run(["sh", "-c", "trap '' XFSZ; ulimit -f 2; exec %s bench --iters 1 --profile-html p.html"
                            % FAKE], cwd=self.folder.name, capture_output=True)
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr.decode(), r"p\.html: cannot be written: File too large")
        with open(self.path("p.html"), "rb") as f:
            self.assertEqual(f.read(), b"old")
        self.assertEqual(self.left_over(), [])

    def test_automatic_iterations(self):
        row = json.loads(self.good("fake_multi", "bench", "--json"))
        self.assertGreaterEqual(row["iters"], 10)

    def test_fixed(self):
        for args in ([], ["--batch", 2]):
            row = json.loads(self.good("fake_fixed", "bench", "--iters", 1, "--json", *args))
            self.assertEqual(row["batch"], 2)
        self.bad(1, "compiled for batch size 2, cannot run with 3", "fake_fixed", "bench", "--batch", 3)


class Command(Case):
    def test_info(self):
        info = json.loads(self.good("fake", "info", "--json"))
        self.assertEqual(info["inputs"], [{"name": "image", "dtype": "f32", "shape": ["N", 3, 8, 8]}])
        self.assertEqual(info["outputs"][0]["shape"], ["N", 5])
        self.assertEqual((info["abi"], info["dynamic_batch"], info["labels"]), (11, True, 5))
        self.assertEqual(info["preprocess"]["resize"], 10)
        multi = json.loads(self.good("fake_multi", "info", "--json"))
        self.assertEqual(multi["outputs"][1], {"name": "twice", "dtype": "i64", "shape": ["2N+1"]})
        self.assertIsNone(multi["preprocess"])
        text = self.good("fake", "info")
        for part in ("f32[N,3,8,8]", "resize 10 bilinear, centre crop 8x8, RGB, NCHW, scale 1/255", "ABI 11", "logits"):
            self.assertIn(part, text)

    def test_help_and_version(self):
        self.assertEqual(self.good("fake", "--version"), "fake (hone 0.1.0, ABI 11)\n")
        self.assertIn("Subcommands:", self.good("fake", "--help"))
        for sub in ("classify", "run", "bench", "info"):
            self.assertIn("Usage:", self.good("fake", sub, "--help"))

    def test_usage_errors(self):
        for args in (["--nope", "x.png"], ["bench", "--nope"], ["run", "-x"], ["info", "--x"], ["bench", "extra"],
                     ["info", "extra"], ["run", "extra"], ["--top"], ["--top", "0", "x"], ["--top", "x", "x"],
                     ["bench", "--batch", "0"], ["bench", "--batch", "1.5"], ["bench", "--threads", "-1"], ["--json"],
                     ["bench", "--json=1"], ["--resize", "9", "--crop-pct", "0.9", "x.png"], ["--top", "1", "--top", "2", "x"],
                     ["--scale", "nan", "x"], ["--scale", "inf", "x"], ["--scale", "0", "x"], ["--scale", " 1", "x"],
                     ["--std", "1,-1,1", "x"], ["--std", "1,,1", "x"], ["--mean", "1e10", "x"], ["--labels", "", "x"],
                     ["--batch", "8x", "x"], ["--batch", "1e99", "x"], ["run", "-o", "y"], ["run", "-i", "x"], ["--bgr", "--rgb", "x.png"],
                     ["--mean", "a,b", "x"], ["bench", "--iters", "99999999999"], ["bench", "--profile-html"]):
            self.bad(2, r"\A\S+: .*\nTry '", "fake", *args, lines=2)
        code, out, err = self.run_program("fake")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("Usage:", err)

    def test_wrong_machine(self):
        self.write("x.png", plain_png(1, 2, 3))
        self.bad(1, "compiled for ABI 77, this runtime has ABI 11", "fake_abi", "x.png")
        self.bad(1, "feature this runtime does not know", "fake_cpu", "bench")

    def test_linked_only_with_the_system(self):
        r = subprocess.run(["ldd", os.path.join(BUILD, "fake")], capture_output=True)
        libraries = {line.split()[0].split(b"/")[-1].split(b".so")[0] for line in r.stdout.splitlines()}
        if any(b"san" in name for name in libraries):
            self.skipTest("sanitizers")
        self.assertLessEqual(libraries, {b"linux-vdso", b"libc", b"libm", b"libgomp", b"libomp", b"ld-linux-x86-64",
                                         b"ld-linux-aarch64"})


if __name__ == "__main__":
    unittest.main()
