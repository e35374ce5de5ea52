#!/usr/bin/env python3
"""Counts what the innermost loops of kernels for aarch64 are made of, as LLVM's assembly shows them; nothing is run.

  arm_tiles.py HONE MODEL.onnx... [--mcpu CPU] [--all]

Of each kernel the loop with most products by lane, or else most products: instructions, multiply-adds of vectors (fmla, sdot, sudot, bfdot and so on),
those that take an operand by lane, loads, moves between registers, and accesses to the stack, of which a hot tile has
none. --all: every loop that multiplies. Transforms of Winograd's filters, once in a program's life, are no tiles.
"""
import argparse
import os
import re
import subprocess
import tempfile

PRODUCT = re.compile(r"(fmla|fmls|[su]+dot|bfdot|u?smmla|bfmmla|sadalp)\s.*\.4s")


def functions(path):
    """(name, instructions, {label: index of the instruction behind it}) of each."""
    name, code, labels = None, [], {}
    for line in open(path):
        line = re.sub(r"//.*", "", line).rstrip()
        label = re.match(r"([.\w]+):", line)
        if label and not label[1].startswith(".L"):
            if code:
                yield name, code, labels
            name, code, labels = label[1], [], {}
        elif label:
            labels[label[1]] = len(code)
        elif re.match(r"\t[a-z]", line):
            code.append(line.strip())
    if code:
        yield name, code, labels


def innermost_loops(code, labels):
    jumps = []  # (from, to), backwards
    for i, line in enumerate(code):
        to = re.match(r"(?:b|cb|tb)\S*\s.*?(\.LBB\w+)$", line)
        if to and labels.get(to[1], i + 1) <= i:
            jumps.append((i, labels[to[1]]))
    for i, first in jumps:
        if not any(first <= k < i and first <= to for k, to in jumps):
            yield code[first:i + 1]


def count(loop):
    products = [x for x in loop if PRODUCT.match(x)]
    return {"products": len(products),
            "by lane": sum(bool(re.search(r"\.(s|4b|2h)\[\d\]", x)) for x in products),
            "instructions": len(loop),
            "loads": sum(x.startswith("ld") for x in loop),
            "moves": sum(bool(re.match(r"mov\s+v|dup", x)) for x in loop),
            "stack": sum(bool(re.search(r"\b[qv]\d+.*\[sp", x)) for x in loop)}


def tiles(hone, model, mcpu, more, every):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.s")
        subprocess.run([hone, "compile", model, "--mcpu", mcpu, "--emit", "asm", "--threads", "1", "-o", path, *more],
                       check=True, stderr=subprocess.DEVNULL)
        for name, code, labels in functions(path):
            if re.search(r"_filter|_step$", name):
                continue
            loops = [c for c in map(count, innermost_loops(code, labels)) if c["products"] >= 8]
            loops.sort(key=lambda c: (-c["by lane"], -c["products"]))
            rows += [(re.sub(r".*_k\d+_", "", name), c) for c in (loops if every else loops[:1])]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hone")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--mcpu", default="neoverse-n1")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--no-winograd", action="store_true")
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    more = ["--precision", args.precision] + ["--no-winograd"] * args.no_winograd
    for model in args.models:
        rows = tiles(args.hone, model, args.mcpu, more, args.all)
        print(f"{os.path.basename(model)} for {args.mcpu}, {args.precision}: {len(rows)} loops, "
              f"{sum(c['stack'] > 0 for _, c in rows)} of them touch the stack")
        seen = {}
        for kind, c in rows:
            seen.setdefault((kind, *c.values()), []).append(c)
        for key, alike in sorted(seen.items(), key=lambda i: -i[0][1]):
            c = alike[0]
            print(f"  {key[0]:12s} {len(alike):3d} x " + ", ".join(f"{v} {k}" for k, v in c.items()) +
                  f"; {c['instructions'] / c['products']:.2f} instructions a product")


if __name__ == "__main__":
    main()
