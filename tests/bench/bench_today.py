#!/usr/bin/python3
"""Networks of today: hone, ONNX Runtime and OpenVINO in f32 on the same file, alternating in one run; times and peak memory.

  tests/bench/bench_today.py MODEL.onnx... [--rounds 3] [--iters 12] [--settings 1x1 1x2] [--markdown] [--check]

Files are exports of one image of 224x224 (Inception v3: 299x299), e.g. by

  torch.onnx.export(timm.create_model(NAME, exportable=True).eval(), torch.zeros(1, 3, 224, 224), NAME + ".onnx", opset_version=16,
                    input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, dynamo=False)

with any weights. A figure is the minimum over all rounds, a ratio below 1 means that hone is faster, `memory` is its resident peak by
ONNX Runtime's; settings are batch x threads.

  --check    exit code 1 where hone is above its limit beside the better of both (ResNet-50: beside ONNX Runtime), or its memory above 0.6

Peers go into a virtual environment below build-peers/ on first use.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import bench_int8
import peers

LIMITS = {"vit_small": 0.85, "deit_small": 0.85, "convnext_tiny": 0.8, "swin_tiny": 0.9, "mobilenetv4": 0.75, "regnety_008": 0.75,
          "efficientnet_b0": 0.75, "resnet50": 0.75}
MEMORY = 0.6


def limit(name, setting, of_ort, of_openvino):
    """The ratio that counts, and what it may be."""
    most = next((v for k, v in LIMITS.items() if name.startswith(k)), 1)
    if name.startswith("resnet50"):
        return of_ort, 0.8 if setting == "8x2" else most
    return max(of_ort, of_openvino), most


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("files", nargs="+")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--iters", type=int, default=12)
    ap.add_argument("--settings", nargs="*", default=("1x1", "1x2"))
    ap.add_argument("--markdown", action="store_true")
    ap.add_argument("--check", action="store_true")
    a = ap.parse_args()
    over = []
    row = "| {} | {} | {} | **{}** | **{}** | {} | {} |" if a.markdown else "{:32} {:>7} {:>8} {:>8} {:>9} {:>8} {:>7}"
    print(row.format("network", "setting", "ms", "of ORT", "of OpenV.", "peak MB", "memory").replace("**", ""), flush=True)
    for path in a.files:
        name = os.path.basename(path)[:-5]
        program = bench_int8.compiled(path, name + "_today")
        for setting in a.settings:
            runs = bench_int8.results(a, {"hone": program}, {"ort": "f32", "openvino": "f32"}, path, peers.image_size(name), setting)
            ms = {who: min(r["min_ms"] for r in all_runs) for who, all_runs in runs.items()}
            mb = {who: max(r["rss_mb"] for r in all_runs) for who, all_runs in runs.items()}
            of_ort, of_openvino, memory = ms["hone"] / ms["ort"], ms["hone"] / ms["openvino"], mb["hone"] / mb["ort"]
            ratio, most = limit(name, setting, of_ort, of_openvino)
            over += [f"{name} {setting}: {ratio:.2f}, asked {most}"] * (ratio > most)
            over += [f"{name} {setting}: {memory:.2f} of the memory"] * (memory > MEMORY)
            print(row.format(name, setting, f"{ms['hone']:.2f}", f"{of_ort:.2f}", f"{of_openvino:.2f}", f"{mb['hone']:.0f}",
                             f"{memory:.2f}"), flush=True)
    print(f"above their limits: {len(over)}" + "".join("\n  " + line for line in over))
    return bool(over) and a.check


if __name__ == "__main__":
    sys.exit(main())
