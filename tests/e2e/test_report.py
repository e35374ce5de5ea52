"""The training report of a real program: what it says, that it is one file, and, where there is a Chromium, that it fits 1280 and 400
pixels: no picture over another, no text out of its picture, nothing beside the page."""
import json
import os
import re
import sys

import numpy as np
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from browser import CHROMIUM, Browser
from script import HONE, ROOT, main, ok, run, temp

CLOTHES = os.path.join(ROOT, "tools", "sample", "clothes5.onnx")
LONG = "a very long name of a class that goes on & on <b>"
NAMES = [LONG, "tülip", *(f"kind {i}" for i in range(6))]


def make_photos():
    """Wide, tall and other pictures, of two kinds of noise that nobody can tell apart; one class has many, two files are none."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(NAMES):
        os.makedirs(os.path.join(temp("photos"), name))
        for i in range(40 if k == 1 else 8):
            h, w = ((40, 200), (200, 40), (90, 120))[i % 3]
            a = rng.integers(0, 255, (h, w)) * 0.6 + 15 * (k // 2)
            Image.fromarray(a.astype(np.uint8)).save(os.path.join(temp("photos"), name, f"picture {i}.png"))
    for i in range(2):
        open(os.path.join(temp("photos"), "tülip", f"broken {i}.jpg"), "w").write("no picture")


def train(stages, report, *options, data="photos"):
    ok(HONE, "finetune", CLOTHES, "-o", temp("teach"), "--classes", temp(data), "--stages", stages, "--bn", "train")
    ok(temp("teach"), "train", temp(data), "--no-checkpoint", "-o", temp("out.onnx"), "--report", temp(report), *options)
    return open(temp(report), encoding="utf-8").read()


def escaped(text):
    return text.replace("&", "&#38;").replace("<", "&#60;").replace(">", "&#62;")


def test_what_it_says():
    make_photos()
    page = train("head,until:layer3:2:0.01,conv1*:1:0.01", "report.html", "--val-fraction", "0.5")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    for part in ("Curves", "Which class is taken for which", "The most frequent", "By class", "The worst mistakes", "The data",
                 "ridges that were tried", "What trained", "Settings"):
        assert part in text, part
    sizes = re.search(r"photos: 8 classes, (\d+) images for training, (\d+) for validation\.", text)
    assert sizes and sum(map(int, sizes.groups())) == 40 + 7 * 8 + 2, text[:2000]
    assert "The largest class, tülip, has 21 images for training, the smallest, " in text and "They are uneven" in text
    bad = re.search(r"2 files could not be read and were left out: (.*?broken [01]\.jpg: .*?broken [01]\.jpg: )", text)
    assert bad and "picture" not in bad[1], text
    assert "head : the new classifier alone; all that is pretrained is frozen" in text
    assert "until:layer3 : layer3 and what follows; what lies before it is frozen; statistics of normalizations" in text
    assert "conv1* : everything but what conv1* names, which is frozen" in text
    assert re.search(r"1032 parameters train, 252936 are frozen; solved", text)
    assert "running statistics of a normalization" in text
    assert escaped(LONG) in page and LONG not in page
    rows = re.findall(r"<tr><td>([^<]*)</td><td>(\d+)</td><td>([\d.]+)%</td><td>([\d.]+)%</td><td>([\d.]+)%</td></tr>", page)
    cells = [int(n) for n in re.findall(r'class="num mid"[^>]*>(\d+)<', page)]
    assert len(rows) == 8 and sum(int(r[1]) for r in rows) == sum(cells), (rows, cells)
    assert 0 <= int(sizes[2]) - sum(cells) <= 2, "all but those of the broken ones that were for validation"
    for _, _, p, r, f in rows:
        p, r, f = map(float, (p, r, f))
        assert abs(f - (2 * p * r / (p + r) if p + r else 0)) < 0.11, rows


def test_one_file():
    page = open(temp("report.html"), encoding="utf-8").read()
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 12 and all(s.startswith("data:image/jpeg;base64,") for s in sources), sources
    assert "<script" not in page and "url(" not in page and "@import" not in page


def test_many_classes():
    """Of many classes the matrix is of those in the most mistakes, the worst are named; a rate that a test found, options, three digits."""
    for k in range(45):
        os.makedirs(os.path.join(temp("many"), f"kind {k}"))
        for i in range(4):
            Image.fromarray(np.random.default_rng(4 * k + i).integers(0, 255, (28, 28)).astype(np.uint8)).save(os.path.join(temp("many"), f"kind {k}", f"{i}.png"))
    page = train("head", "many.html", "--val-fraction", "0.5", "--mixup", "0.2", "--epochs", "104", data="many")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    matrix = re.search(r'aria-label="confusion matrix">(.*?)</svg>', page, re.S)[1]
    assert "The 24 classes of 45 with the most mistakes" in text and len(set(re.findall(r"<title>(kind \d+)</title>", matrix))) == 24, text[:3000]
    worst, every = (re.findall(r"<td>([\d.]+)%</td></tr>", part) for part in re.search(r"found worst</h3>(.*?)<details>.*?all 45 classes(.*?)</details>", page, re.S).groups())
    assert len(worst) == 12 + 1 and sorted(map(float, every[:-1]))[:12] == list(map(float, worst[:-1])), (worst, every)
    assert re.search(r"SGD, epochs 104, rate by a range test, [\d.]+ at most after an epoch", text) and ", rate 0<" not in page, text
    assert ">92</text>" in page and "e+0" not in page
    rows = dict(re.findall(r"<tr><td>(--[\w-]+)</td><td>([^<]*)</td></tr>", page))
    assert rows == {"--batch": "16", "--lr-schedule": "cosine", "--momentum": "0.9", "--weight-decay": "0.0001", "--augment": "none", "--mixup": "0.2", "--seed": "1"}, rows


LOOK = """(() => {
    const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
    const name = e => e.tagName + ' ' + e.textContent.trim().slice(0, 30), wrong = [];
    const over = (a, b) => a[0] < b[2] - .5 && b[0] < a[2] - .5 && a[1] < b[3] - .5 && b[1] < a[3] - .5;
    const within = (a, b) => a[0] >= b[0] - 1 && a[1] >= b[1] - 1 && a[2] <= b[2] + 1 && a[3] <= b[3] + 1;
    const parts = [...document.querySelectorAll('figure img, figcaption, dt, dd, h1, h2, h3')];
    parts.forEach((a, i) => parts.slice(i + 1).forEach(b => { if (over(box(a), box(b))) wrong.push(name(a) + ' over ' + name(b)); }));
    document.querySelectorAll('svg').forEach(s => s.querySelectorAll('text').forEach(
        t => { if (!within(box(t), box(s))) wrong.push(name(t) + ' out of its picture'); }));
    document.querySelectorAll('svg.chart').forEach(s => [...s.querySelectorAll('text')].forEach((a, i, all) => all.slice(i + 1).forEach(
        b => { if (over(box(a), box(b))) wrong.push(name(a) + ' over ' + name(b) + ' in a chart'); })));
    document.querySelectorAll('svg.chart text').forEach(
        t => { if (t.getBoundingClientRect().height < 8) wrong.push(name(t) + ' is too small'); });
    document.querySelectorAll('figure').forEach(f => { if (!within(box(f.querySelector('img')), box(f))) wrong.push(name(f) + ' is left'); });
    if (document.documentElement.scrollWidth > innerWidth) wrong.push('the page is wider than the window');
    document.querySelectorAll('table').forEach(t => { if (t.scrollWidth > t.closest('section').clientWidth) wrong.push('a table is too wide'); });
    document.querySelectorAll('table.sum td:not(:first-child)').forEach(t => {
        const r = document.createRange(); r.selectNodeContents(t); if (r.getClientRects().length > 1) wrong.push(name(t) + ' is broken'); });
    document.querySelectorAll('img').forEach(i => { if (!i.naturalWidth) wrong.push('a picture is none'); });
    const curves = [...document.querySelectorAll('section')].find(s => s.querySelector('h2').textContent === 'Curves');
    const rows = new Set(curves ? [...curves.querySelectorAll('svg.chart')].map(s => box(s)[1]) : []);
    document.querySelectorAll('table.settings td:first-child').forEach(t => {
        const r = document.createRange(); r.selectNodeContents(t); if (r.getClientRects().length > 1) wrong.push(name(t) + ' is broken'); });
    return JSON.stringify({wrong: wrong, rows: rows.size, looked: [parts.length, document.querySelectorAll('svg text').length]});
})()"""


def test_folds():
    """Of a k-fold: what each part says, and of all images what was found when they were held out."""
    page = train("head", "folds.html", "--k-fold", "5")
    rows = re.findall(r"<tr><td>(\d)</td><td>(\d+)</td><td>([\d.]+)</td><td>([\d.]+)%</td>", page)
    cells = [int(n) for n in re.findall(r'class="num mid"[^>]*>(\d+)<', page)]
    assert len(rows) == 5 and sum(int(r[1]) for r in rows) == sum(cells) == 40 + 7 * 8, (rows, cells)
    assert "<h2>5 folds</h2>" in page and "Top-1, mean of folds" in page and "The worst mistakes" in page and "2 files could not be read" in page


def test_it_fits():
    if not CHROMIUM:
        print("skipped: no chromium")
        return
    browser = Browser(temp("profile"))
    try:
        for page in ("report.html", "folds.html", "many.html"):
            browser.open("file://" + temp(page))
            for width in (1280, 400):
                browser.size(width, 900)
                seen = json.loads(browser.value(LOOK))
                assert not seen["wrong"], (page, width, seen["wrong"][:8])
                assert min(seen["looked"]) > 30, seen
                assert seen["rows"] == (0 if page == "folds.html" else 1 if width == 1280 else 3), (page, width, seen)
    finally:
        browser.end()


def test_a_solved_classifier_alone():
    page = train("head", "alone.html")
    assert "<h2>Curves</h2>" not in page and "ridges that were tried" in page and "Top-1, best epoch" in page
    assert "--momentum" not in page and "<td>--augment</td><td>none</td>" in page


def test_a_run_that_diverges():
    """The variance of a normalization overflows before anything else: it is called what it is."""
    ok(HONE, "finetune", CLOTHES, "-o", temp("far"), "--classes", temp("photos"), "--freeze", "none", "--bn", "train")
    code, _, err = run(temp("far"), "train", temp("photos"), "--no-checkpoint", "-o", temp("far.onnx"), "--lr", "1e6", "--opt", "sgd")
    line = err.splitlines()[-1]
    assert code == 1 and re.search(r"is not finite, first in the running statistic '\S+\.running_(mean|var)' of node '\S+'; nothing was moved", line), err
    assert "Try a smaller --lr" in line, line


if __name__ == "__main__":
    main(sys.modules[__name__])
