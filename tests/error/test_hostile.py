"""Hostile models: each is refused with exit code 1 and its one line, in under a second and 256 MiB, and leaves nothing.

hostile_*.py make them; hostile_lines.txt holds the lines. After a change of wording, `test_hostile.py HONE TEMP --write`
writes that file anew, to be read before it is kept.
"""
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import hostile_claims
import hostile_graph
import hostile_pb as pb
import hostile_operators
import hostile_tensors
import hostile_wire
from script import HONE, SAMPLE, main, run, temp

MODULES = {"wire": hostile_wire, "graph": hostile_graph, "tensors": hostile_tensors, "operators": hostile_operators,
           "claims": hostile_claims}
LINES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hostile_lines.txt")
SECONDS, MIB = 1.0, 256
LEAST = 150
# Beyond what is asserted, so that a failure does no harm: as address space the mapped libraries count too.
LIMITS = ["prlimit", f"--as={4 << 30}", "--cpu=20", "--core=0", f"--fsize={1 << 20}", "--"]


def make_file(path, content):
    """content: bytes, or what else can stand there."""
    if isinstance(content, bytes):
        with open(path, "wb") as f:
            f.write(content)
    elif content[0] == "sparse":
        with open(path, "wb") as f:
            f.truncate(content[1])
    else:
        {"symlink": os.symlink, "hardlink": lambda to, at: os.link(os.path.join(os.path.dirname(at), to), at),
         "fifo": lambda _, at: os.mkfifo(at), "folder": lambda _, at: os.mkdir(at)}[content[0]](content[1], path)


class Case:
    def __init__(self, theme, name, model, files=(), flags=()):
        self.name, self.flags = f"{theme}/{name}", list(flags)
        self.folder = temp(self.name.replace("/", "_"))
        os.mkdir(self.folder)
        for path, content in dict(files).items():
            os.makedirs(os.path.dirname(os.path.join(self.folder, path)), exist_ok=True)
            make_file(os.path.join(self.folder, path), content)
        make_file(os.path.join(self.folder, "m.onnx"), model)

    def run(self):
        before = self.listing()
        out = self.folder + ".stderr"
        start = time.monotonic()
        with open(out, "wb") as err:
            process = subprocess.Popen([*LIMITS, HONE, "compile", "m.onnx", "-o", "out", *self.flags], cwd=self.folder,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds, self.mib = time.monotonic() - start, used.ru_maxrss / 1024
        self.code = process.returncode
        with open(out, errors="backslashreplace") as f:
            self.text = f.read()
        os.unlink(out)
        self.left = sorted(set(self.listing()) ^ set(before))
        return self

    def listing(self):
        return sorted(os.path.join(d, n) for d, folders, files in os.walk(self.folder) for n in folders + files)

    def line(self):
        """What the compiler's own structures take beside a model changes with them."""
        text = re.sub(r"beside the \d+ MB in use", "beside the N MB in use", self.text)
        return text.rstrip("\n").replace("\n", "\\n")

    def wrong(self, line):
        """What is not as it must be, "" when all is."""
        problems = []
        if self.code != 1:
            problems.append(f"exit code {self.code}")
        if self.text.count("\n") != 1 or self.line() != line:
            problems.append(f"\n    got    {self.line()}\n    wanted {line}")
        if self.seconds >= SECONDS:
            problems.append(f"{self.seconds:.2f} s")
        if self.mib >= MIB:
            problems.append(f"{self.mib:.0f} MiB")
        if self.left:
            problems.append(f"left {self.left}")
        return ", ".join(problems)


def read_lines():
    with open(LINES, encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(" | ", 1) for line in f if line.strip())


def write_lines(cases):
    with open(LINES, "w", encoding="utf-8") as f:
        for c in cases:
            f.write(f"{c.name} | {c.line()}\n")


def make_cases():
    return [Case(theme, *case) for theme, module in MODULES.items() for case in module.cases()]


def test_hostile_models():
    with ProcessPoolExecutor(1) as maker:  # this process stays small: its peak counts as that of what it starts
        cases = maker.submit(make_cases).result()
    assert len({c.name for c in cases}) == len(cases)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Case.run, cases))
    for c in cases:  # a busy machine is no fault of the compiler's
        for _ in range(3):
            if c.seconds >= SECONDS:
                c.run()
    if "--write" in sys.argv:
        write_lines(cases)
    lines = read_lines()
    wrong = {c.name: c.wrong(lines.get(c.name, "(no line in hostile_lines.txt)")) for c in cases}
    slowest, largest = max(cases, key=lambda c: c.seconds), max(cases, key=lambda c: c.mib)
    for theme in MODULES:
        mine = [c for c in cases if c.name.startswith(theme + "/")]
        print(f"  {theme:10} {len(mine):4} files, {sum(not wrong[c.name] for c in mine):4} refused as expected")
    print(f"  all        {len(cases):4} files, {sum(not w for w in wrong.values()):4} refused as expected; slowest "
          f"{slowest.seconds:.2f} s ({slowest.name}), largest {largest.mib:.0f} MiB ({largest.name})")
    assert not set(lines) - set(wrong), f"lines of no case: {set(lines) - set(wrong)}"
    assert not any(wrong.values()), "".join(f"\n  {name}: {w}" for name, w in wrong.items() if w)
    assert len(cases) >= LEAST


def limited(name, model, *flags, command=("inspect",)):
    """(exit code, last line of stderr) for a model"""
    make_file(temp(name), model)
    code, _, err = run(HONE, *command, name, *flags)
    return code, err.strip().split("\n")[-1]


def test_honest_giants():
    """What a limit refuses is let through with the flag that the refusal names; large data alone needs none."""
    wide = pb.net(pb.node("Relu"), x=("N", 50000, 50000))
    assert limited("wide.onnx", wide)[0] == 1
    assert limited("wide.onnx", wide, "--limit", "tensor=16G") == (0, "")
    long = hostile_graph.nodes(*hostile_graph.chain(50001))
    assert limited("long.onnx", long, "--limit", "nodes=60000") == (0, "")
    filled = pb.net(pb.node("ConstantOfShape", "s", "c"), pb.node("Add", "x c"), inits=[pb.ints("s", 1 << 28)], x=("N", 1))
    assert limited("filled.onnx", filled)[0] == 1
    assert limited("filled.onnx", filled, "--limit", "constants=2g") == (0, "")
    empties = pb.model(pb.f(1, b"") * 400000)
    assert "--limit memory=" in limited("empties.onnx", empties)[1]
    assert limited("empties.onnx", empties, "--limit", "memory=200M")[1].endswith("the graph has no output")
    code, line = limited("sample.onnx", open(SAMPLE, "rb").read(), "-o", "out", "--limit", "arena=1K", command=["compile"])
    assert code == 1 and line.endswith("of working memory for one image, more than 1 KB (--limit arena=SIZE raises it)"), line
    make_file(temp("giant.bin"), ("sparse", 320000000))
    giant = pb.tensor("w", [10000, 8000], more=pb.f(13, pb.f(1, "location") + pb.f(2, "giant.bin")) + pb.f(14, 1))
    assert limited("giant.onnx", pb.net(pb.node("MatMul", "x w"), x=("N", 10000), inits=[giant])) == (0, "")
    for text, why in {"tensor": "'tensor' is not of the form NAME=SIZE, such as tensor=16G",
                      "tensor=0": "'tensor=0' is not of the form NAME=SIZE, such as tensor=16G",
                      "tensor=9999999T": "'tensor=9999999T' is not of the form NAME=SIZE, such as tensor=16G",
                      "tensor=1GB": "'tensor=1GB' is not of the form NAME=SIZE, such as tensor=16G",
                      "depth=1": "'depth=1' names no limit; there are memory, nodes, tensor, constants, arena"}.items():
        assert limited("sample.onnx", open(SAMPLE, "rb").read(), "--limit", text) == (1, f"sample.onnx: --limit: {why}"), text


if __name__ == "__main__":
    main(sys.modules[__name__])
