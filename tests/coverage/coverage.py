#!/usr/bin/python3
"""How many of a list's vision networks hone compiles, computes rightly and trains, from both of PyTorch's exporters. By hand.

  tests/coverage/coverage.py LIST|NAME... [--work FOLDER] [--steps compile,run,head,whole] [--again STEP] [--exporters dynamo,legacy]
  tests/coverage/coverage.py --table [--work FOLDER]

LIST is a file of lines such as timm:vit_tiny_patch16_224 or tv:googlenet (networks.py says which), a NAME one such line. One network at a
time, in a folder of its own below FOLDER (build-peers/coverage): exported once and kept (--drop: until all is fine), then, of each export,

  compile  hone compile
  run      at batch 1 and 3 beside ONNX Runtime: within 1e-4 of the largest output, or nearer to PyTorch in double precision than that
  head     a fine-tune program for two classes trains its head a few steps; the tuned file loads in ONNX Runtime and says what the program says
  whole    the same with --freeze none; no parameter of PyTorch's that the file stores stays as it is

What is done is kept in FOLDER/NAME/results.json and not done again; --again STEP forgets a step. The table comes at the end, and FOLDER/table.json.
HONE is the compiler. Peers (torch, torchvision, timm, onnxscript, onnxruntime) go into a virtual environment below build-peers/ on
first use, or are those of HONE_TORCH, an interpreter that has them.
"""
import argparse
import json
import os
import subprocess
import sys
import venv

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers
import processes

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ["torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow"]
STEPS, EXPORTERS = ("compile", "run", "head", "whole"), ("dynamo", "legacy")
TOLERANCE = 1e-4
LIMIT = 900  # seconds of processor time, for any one command
EXPORT_LIMIT = 1800


def python():
    """The interpreter of an environment that has the peers."""
    if os.environ.get("HONE_TORCH"):
        return os.environ["HONE_TORCH"]
    folder = os.path.join(peers.WORK, "torch-venv")
    path, done = os.path.join(folder, "bin", "python"), os.path.join(folder, "complete")
    if not os.path.exists(done):
        venv.create(folder, with_pip=True)
        subprocess.run([path, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        open(done, "w").close()
    return path


def command(words, folder, limit=LIMIT):
    """Exit code (None: out of time), what it said, seconds of processor time."""
    code, out, err, seconds = processes.call(words, folder, limit)
    return code, out + err if code is not None else f"over {limit} s", seconds


def reason(code, said):
    lines = [line for line in said.splitlines() if line.strip() and "warning:" not in line]
    bad = [line for line in lines if ".onnx: " in line] or lines or [f"exit code {code}"]
    return bad[0].partition(".onnx: ")[2][:300] or bad[0][:300]


class Network:
    def __init__(self, name, work):
        self.name, self.folder = name, os.path.join(work, name.replace(":", "_"))
        os.makedirs(self.folder, exist_ok=True)
        self.results = self.read("results.json", {})

    def read(self, file, default):
        path = os.path.join(self.folder, file)
        return json.load(open(path)) if os.path.exists(path) else default

    def keep(self):
        path = os.path.join(self.folder, "results.json")
        with open(path + ".new", "w") as f:
            json.dump(self.results, f, indent=1)
        os.replace(path + ".new", path)

    def exported(self):
        """What networks.py said, after it made the files where they are missing."""
        truth = self.read("truth.json", None)
        files = truth and all("failed" in e or os.path.exists(os.path.join(self.folder, k + ".onnx")) for k, e in truth["exports"].items())
        if not files:
            code, said, _ = command([python(), os.path.join(HERE, "networks.py"), self.name, self.folder], None, EXPORT_LIMIT)
            truth = self.read("truth.json", None)
            if code != 0 or not truth:
                self.results["not made"] = said.strip().splitlines()[-1][:300] if said.strip() else f"exit code {code}"
                return None
        self.results.pop("not made", None)
        self.results.update(count=truth["count"], size=truth["size"])
        return truth

    def do(self, steps, exporters):
        truth = self.exported()
        for exporter in exporters if truth else ():
            r = self.results.setdefault(exporter, {})
            r.update(truth["exports"][exporter])
            if "failed" in r:
                continue
            todo = [s for s in steps if s not in r and (s in ("compile", "run") or truth["parameters"])]
            for step in todo:
                if step in ("run", "head", "whole") and not r.get("compile", {"fine": True})["fine"]:
                    continue
                r[step] = self.compile(exporter) if step == "compile" else self.check(step, exporter)
                self.keep()
                print(f"  {exporter} {step}: {cell(r[step])} {r[step].get('why', '')}", flush=True)
        self.keep()

    def compile(self, exporter):
        code, said, seconds = command([peers.HONE, "compile", f"{exporter}.onnx", "-o", f"{exporter}.bin"], self.folder)
        fine = code == 0
        return {"fine": fine, "seconds": round(seconds, 1), **({} if fine else {"why": reason(code, said)})}

    def check(self, step, exporter):
        """In the peers' environment: what checks.py finds, one JSON object on its last line."""
        code, said, seconds = command([python(), os.path.join(HERE, "checks.py"), step, self.folder, exporter, peers.HONE], self.folder, 3 * LIMIT)
        try:
            found = json.loads(said.strip().splitlines()[-1])
        except (ValueError, IndexError):
            found = {"fine": False, "why": f"checks.py: {said.strip()[-200:] or code}"}
        return {**found, "seconds": round(seconds, 1)}

    def fine(self):
        found = [self.results.get(e, {}) for e in EXPORTERS]
        return all("failed" in r or ("compile" in r and all(r[s]["fine"] for s in STEPS if s in r)) for r in found)

    def drop(self):
        for name in os.listdir(self.folder):
            if name.endswith((".onnx", ".npy", ".npz", ".bin")):
                os.remove(os.path.join(self.folder, name))


# ---------------------------------------------------------------- the table

def cell(found):
    if found is None:
        return "-"
    if not found["fine"]:
        return "NO"
    if "error" in found:
        return f"{found['error']:.0e}" + ("" if found["error"] < TOLERANCE else f" (ORT {found['ort']:.0e})")
    return f"{found['trains']:,}" if "trains" in found else "yes"


def table(work):
    folders = sorted(f for f in os.listdir(work) if "@" not in f and os.path.exists(os.path.join(work, f, "results.json")))
    networks = {f: json.load(open(os.path.join(work, f, "results.json"))) for f in folders}
    print("| network | parameters | " + " | ".join(f"{e} {s}" for e in EXPORTERS for s in STEPS) + " |")
    print("|---|---|" + "---|" * 8)
    count = {(e, s): [0, 0] for e in EXPORTERS for s in STEPS}
    why = []
    for name, r in networks.items():
        if "not made" in r:
            why.append(f"{name}: not made: {r['not made']}")
            continue
        cells = []
        for e in EXPORTERS:
            x = r.get(e, {})
            if "failed" in x:
                why.append(f"{name}, {e}: the exporter: {x['failed']}")
            for s in STEPS:
                found = x.get(s)
                cells.append("not exported" if "failed" in x else cell(found))
                if found:
                    count[e, s][0] += found["fine"]
                    count[e, s][1] += 1
                if found and not found["fine"]:
                    why.append(f"{name}, {e}, {s}: {found.get('why', '')}")
        print(f"| {name} | {r['count']:,} | " + " | ".join(cells) + " |")
    print("\n" + "; ".join(f"{e} {s}: {a} of {n}" for (e, s), (a, n) in count.items()))
    print("\n".join(why))
    with open(os.path.join(work, "table.json"), "w") as f:
        json.dump(networks, f, indent=1)
    return bool([a for a, n in count.values() if a < n])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*")
    ap.add_argument("--work", default=os.path.join(peers.WORK, "coverage"))
    ap.add_argument("--steps", default=",".join(STEPS))
    ap.add_argument("--again", default="")
    ap.add_argument("--exporters", default=",".join(EXPORTERS))
    ap.add_argument("--drop", action="store_true")
    ap.add_argument("--table", action="store_true")
    a = ap.parse_args()
    work = os.path.abspath(a.work)
    names = []
    for given in a.networks:
        names += open(given).read().split() if os.path.exists(given) else [given]
    for i, name in enumerate(names):
        print(f"{name} ({i + 1} of {len(names)})", flush=True)
        network = Network(name, work)
        for exporter in EXPORTERS:
            for step in a.again.split(","):
                network.results.get(exporter, {}).pop(step, None)
        network.do(a.steps.split(","), a.exporters.split(","))
        if a.drop and network.fine():
            network.drop()
    return table(work) if os.path.isdir(work) else sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
