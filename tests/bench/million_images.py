"""million_images.py HONE [N]: a data set of N (1,300,000) small images in 1,000 classes, made from a few hundred, as a folder of hard links
and as tar shards in WebDataset's layout. The sample network's fine-tune program reads its names, sizes and labels and trains one step; time
and peak memory of both, and of a run that keeps an index, and of one that finds it. Needs python3-pil, 1.3 million names and 5 GB of disk where TMPDIR is."""
import io
import os
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time

from PIL import Image

CLASSES, PICTURES, SHARD = 1000, 300, 10000


def make_pictures(folder):
    rng, paths = random.Random(1), []
    os.makedirs(folder)
    for k in range(PICTURES):
        small = Image.frombytes("RGB", (6, 6), bytes(rng.randrange(256) for _ in range(108)))
        paths.append(os.path.join(folder, f"{k}.jpg"))
        small.resize((64, 48), Image.BICUBIC).save(paths[-1], quality=85)
    return paths


def make_folder(root, pictures, n):
    for i in range(n):
        label, at = i % CLASSES, i // CLASSES
        if at == 0:
            os.makedirs(f"{root}/n{label:08d}")
        os.link(pictures[i * 7 % PICTURES], f"{root}/n{label:08d}/n{label:08d}_{at:06d}.jpg")


def add(t, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    t.addfile(info, io.BytesIO(data))


def make_shards(root, pictures, n):
    os.makedirs(root)
    data = [open(p, "rb").read() for p in pictures]
    for first in range(0, n, SHARD):
        with tarfile.open(f"{root}/train-{first // SHARD:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as t:
            for i in range(first, min(n, first + SHARD)):
                add(t, f"{i:08d}.jpg", data[i * 7 % PICTURES])
                add(t, f"{i:08d}.cls", str(i % CLASSES).encode())


def measure(program, data, *more):
    command = [program, "train", data, "--max-steps", "1", "--feature-cache", "off", "--no-checkpoint", "-o", data + ".onnx", *more]
    if os.path.exists(data + ".onnx"):  # where files are replaced, each input is asked whether it is one
        os.unlink(data + ".onnx")
    since = time.time()
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    text = p.stderr.read()
    _, status, usage = os.wait4(p.pid, 0)
    assert status == 0, text
    read = re.search(r"read in ([\d.]+) s", text)
    return time.time() - since, float(read[1]) if read else 0, usage.ru_maxrss * 1024 / 1e6


def main():
    hone, n = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1300000
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "teach")
        subprocess.run([hone, "finetune", os.path.join(here, "../../tools/sample/clothes5.onnx"), "-o", program, "--classes", str(CLASSES)],
                       check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        pictures = make_pictures(os.path.join(folder, "pictures"))
        for kind, make in (("folder", make_folder), ("shards", make_shards)):
            root, since = os.path.join(folder, kind), time.time()
            make(root, pictures, n)
            print(f"{kind}: {n} images made in {time.time() - since:.0f} s", flush=True)
            index = os.path.join(folder, kind + ".index")
            for how, more in (("", ()), (", an index written", ("--index", index)), (", from the index", ("--index", index))):
                whole, read, peak = measure(program, root, *more)
                said = f"read in {read:.1f} s" if read else "read in less than 1 s"
                print(f"{kind}{how}: {said}, with one step {whole:.1f} s, peak memory {peak:.0f} MB", flush=True)
            print(f"the index has {os.path.getsize(index) / 1e6:.0f} MB", flush=True)


main()
