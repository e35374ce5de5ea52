#!/usr/bin/python3
"""Inference in bf16: hone --precision bf16, hone in f32 and OpenVINO in bf16 on the same file, alternating in one run.

  tests/bench/bench_bf16.py [NETWORK...] [--rounds 5] [--iters 10] [--settings 1x1 1x2 8x2] [--check]

NETWORK is one of tests/peers.py's (default resnet50 resnet18 inception_v3 mobilenet_v2 efficientnet_b0
mobilenet_v3_large) or the path of a file, such as vit_small.onnx. A
figure is the minimum over all rounds, a ratio below 1 means that hone's bf16 is faster; `of f32` is it beside hone's f32, `program`
the size of its program beside that of f32. OpenVINO computes in bf16 where the CPU has instructions for it.

  --check    exit code 1 where hone's bf16 is above 0.9 of OpenVINO (resnet50 0.95, vit_small 1.0; 0.05 more on more threads
             or images), or above its f32

Peers go into a virtual environment below build-peers/ on first use. Needs ../shared for networks by name.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import bench_int8
import peers

NETWORKS = "resnet50 resnet18 inception_v3 mobilenet_v2 efficientnet_b0 mobilenet_v3_large".split()
# Of OpenVINO's time at batch 1 on one thread; more threads and images may take SPARE more.
MAX_OF_PEER = {"resnet50": 0.95, "vit_small": 1.0}
MAX_OF_OTHERS, SPARE, MAX_OF_F32 = 0.9, 0.05, 1


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--iters", type=int, default=10)
    ap.add_argument("--settings", nargs="*", default=("1x1", "1x2", "8x2"))
    ap.add_argument("--check", action="store_true")
    a = ap.parse_args()
    over = []
    print(f"{'network':24} {'setting':>7} {'bf16 ms':>8} {'f32 ms':>8} {'of f32':>7} {'OpenVINO':>9} {'ratio':>6} {'program':>8}")
    for network in a.networks or NETWORKS:
        path = network if network.endswith(".onnx") else peers.model(network)
        name = os.path.basename(path)[:-5]
        programs = {p: bench_int8.compiled(path, f"{name}_{p}", "--precision", p) for p in ("bf16", "f32")}
        most = MAX_OF_PEER.get(name, MAX_OF_OTHERS)
        size = os.path.getsize(programs["bf16"]) / os.path.getsize(programs["f32"])
        for setting in a.settings:
            ms = bench_int8.measure(a, programs, {"openvino": "bf16"}, path, peers.image_size(name), setting)
            of_f32, of_peer = ms["bf16"] / ms["f32"], ms["bf16"] / ms["openvino"]
            limit = most if setting == "1x1" else most + SPARE
            over += [f"{name} {setting}: {of_peer:.2f} of OpenVINO, {of_f32:.2f} of f32"] * (of_peer > limit or of_f32 > MAX_OF_F32)
            print(f"{name:24} {setting:>7} {ms['bf16']:8.2f} {ms['f32']:8.2f} {of_f32:7.2f} {ms['openvino']:9.2f} {of_peer:6.2f} "
                  f"{size:8.2f}", flush=True)
    print(f"above their limits: {len(over)}" + "".join("\n  " + line for line in over))
    return bool(over) and a.check


if __name__ == "__main__":
    sys.exit(main())
