#!/usr/bin/env python3
"""A whole training step in f32 and in bf16, by hone and by today's PyTorch, alternating in one run: forward, backward, update, of all
parameters, with PyTorch in channels_last, in bf16 under autocast.

  tests/bench/train_step.py [NETWORK...] [--batch 16] [--threads 2] [--rounds 3] [--iters 3] [--precision f32 bf16] [--check]

NETWORK is one of torchvision's (default resnet50), or timm's, such as vit_small_patch16_224. A figure is the minimum over all rounds, memory the largest that was resident; hone
keeps the statistics of normalizations (its default), and so does PyTorch here (--bn train: both move them). A ratio below 1 means
that hone is faster.

  --check    exit code 1 where f32 is above 0.5 of PyTorch or 1200 MB, or bf16 above 0.8 of PyTorch

PyTorch goes into a virtual environment below build-peers/ on first use, or is that of --torch PYTHON. Needs ../shared for torchvision's networks.
"""
import argparse
import json
import os
import subprocess
import sys
import venv

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

MOST = {"f32": 0.5, "bf16": 0.8}
MOST_MB = 1200

NET = r"""
import json, resource, sys, time
import torch, torchvision
def made(name):
    torch.manual_seed(0)
    if not hasattr(torchvision.models, name):
        import timm
        return timm.create_model(name)
    options = dict(aux_logits=False, init_weights=False) if name in ("inception_v3", "googlenet") else {}
    return getattr(torchvision.models, name)(weights=None, **options)
"""
EXPORT = NET + r"""
torch.onnx.export(made(sys.argv[1]).eval(), torch.zeros(1, 3, 224, 224), sys.argv[2], opset_version=17, input_names=["input"], output_names=["output"],
                  dynamic_axes={"input": {0: "N"}, "output": {0: "N"}}, dynamo=False)
"""
STEP = NET + r"""
name, batch, threads, iters, precision, bn = sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:7]
torch.set_num_threads(threads)
net = made(name).to(memory_format=torch.channels_last).train()
for m in net.modules():
    if bn == "frozen" and isinstance(m, torch.nn.BatchNorm2d):
        m.eval()
size = 299 if name == "inception_v3" else 224
x = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
y = torch.randint(0, 1000, (batch,))
step = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
best = 1e30
for i in range(iters + 2):
    start = time.perf_counter()
    step.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    step.step()
    if i > 1:
        best = min(best, (time.perf_counter() - start) * 1e3)
print(json.dumps(dict(min_ms=best, rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, version=torch.__version__)))
"""


def python(a):
    """A Python that has PyTorch."""
    folder = os.path.join(peers.WORK, "torch-venv")
    if not a.torch and not os.path.exists(os.path.join(folder, "bin", "python")):
        venv.create(folder, with_pip=True)
        subprocess.run([os.path.join(folder, "bin", "pip"), "install", "-q", "torch", "torchvision", "timm", "onnx"], check=True)
    return a.torch or os.path.join(folder, "bin", "python")


def model(a, network):
    """torchvision's as peers makes them; another's file is written by PyTorch, by its older exporter."""
    if network in peers.TORCHVISION:
        return peers.model(network + "_bn")
    path = os.path.join(peers.WORK, "models", network + ".onnx")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run([python(a), "-c", EXPORT, network, path], check=True, capture_output=True)
    return path


def compiled(a, network, precision):
    out = os.path.join(peers.WORK, f"train_{network}_{precision}")
    subprocess.run([peers.HONE, "finetune", model(a, network), "-o", out, "--classes", "1000", "--freeze", "none", "--bn", a.bn,
                    "--precision", precision, "--threads", str(a.threads)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def measure(a, network, precision, program):
    """(hone's, PyTorch's): the least time, the most memory."""
    best = [{"min_ms": 1e30, "rss_mb": 0}, {"min_ms": 1e30, "rss_mb": 0}]
    for _ in range(a.rounds):
        runs = (peers.json_of([program, "bench", "--batch", str(a.batch), "--threads", str(a.threads), "--iters", str(a.iters), "--json"]),
                peers.json_of([python(a), "-c", STEP, network, *map(str, (a.batch, a.threads, a.iters)), precision, a.bn]))
        for b, r in zip(best, runs):
            b["min_ms"], b["rss_mb"] = min(b["min_ms"], r["min_ms"]), max(b["rss_mb"], r["rss_mb"])
    return best


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("networks", nargs="*")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--iters", type=int, default=3)
    p.add_argument("--precision", nargs="*", default=("f32", "bf16"))
    p.add_argument("--bn", choices=("frozen", "train"), default="frozen")
    p.add_argument("--torch", help="a Python that has torch and torchvision")
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    over = []
    os.makedirs(peers.WORK, exist_ok=True)
    print(f"{'network':14} {'':5} {'hone ms':>9} {'PyTorch':>9} {'ratio':>6} {'hone MB':>8} {'PyTorch':>8}")
    for network in a.networks or ("resnet50",):
        for precision in a.precision:
            ours, theirs = measure(a, network, precision, compiled(a, network, precision))
            ratio = ours["min_ms"] / theirs["min_ms"]
            if ratio > MOST[precision] or (precision == "f32" and ours["rss_mb"] > MOST_MB):
                over.append(f"{network} {precision}")
            print(f"{network:14} {precision:5} {ours['min_ms']:9.1f} {theirs['min_ms']:9.1f} {ratio:6.2f} {ours['rss_mb']:8.0f} "
                  f"{theirs['rss_mb']:8.0f}", flush=True)
    print(f"above their limits: {', '.join(over) or 'none'}")
    return bool(over) and a.check


if __name__ == "__main__":
    sys.exit(main())
