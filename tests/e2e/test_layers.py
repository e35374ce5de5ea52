"""The house keeps its order: rooms include downwards only, files know each other in no circles, foreign types
stay where they belong, files and functions stay short, every room says what it is.

Calls are read from the object files of the build: what one defines and another leaves undefined."""
import functools
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, main

# Folders whose files a folder may include, besides its own.
MAY_INCLUDE = {
    # What compiled training and its runtime agree on, once; what a name may do, once.
    "ir": ("runtime/train/bind.def", "runtime/core/text.h"),
    "frontend": ("ir", "runtime/core/text.h"),
    "passes": ("ir", "runtime/train/bind.def", "runtime/core/text.h"),
    "codegen": ("ir", "runtime/core/abi.h", "runtime/core/abi.def", "runtime/train/abi.def", "runtime/core/cpu.h", "runtime/core/cpu_features.h", "runtime/core/cpu_features.def", "runtime/core/cpus.def",
                "runtime/train/abi.h"),
    "runtime": (),
    "tools": ("ir", "frontend", "passes", "codegen", "runtime"),
}
# Within a folder, from the bottom up: a room includes its own files and those of rooms above it in this list.
ROOMS = (
    "ir",
    "runtime/core", "runtime/file", "runtime/image", "runtime/data", "runtime/solve", "runtime/ranks", "runtime/train", "runtime/serve", "runtime/infer",
    "runtime/finetune",
    "frontend/frontend.h", "frontend/onnx", "frontend", "frontend/import", "frontend/batch", "frontend/export", "frontend/quantize", "frontend/graph",
    "passes", "passes/simplify", "passes/quant", "passes/fuse", "passes/schedule", "passes/train",
    "codegen/codegen.h", "codegen/target", "codegen/build", "codegen/program", "codegen/map", "codegen/move",
    "codegen/index", "codegen/nn", "codegen/conv",
    "tools",
)
TOP = {"frontend", "ir", "passes", "codegen", "runtime", "tools", "tests", "CMakeLists.txt", "README.md", "LICENSE"}
MOST_LINES, MOST_FUNCTION_LINES = 500, 60
LONG_FILES = {}
MUTABLE = {
    "static List list = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};": "prepared constants stand once in a process, whoever creates instances",
    "static Process process = {.once = PTHREAD_ONCE_INIT};": "which process this is, asked in each call, known to no instance",
    "static _Thread_local Pool pool;": "OpenMP keeps its threads for the thread that calls, beyond any instance: so is what is known of them",
}
LONG_FUNCTIONS = {}


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def files(folder, endings):
    for path, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
        for name in sorted(names):
            if name.endswith(endings):
                yield os.path.relpath(os.path.join(path, name), ROOT)


def sources():
    for folder in MAY_INCLUDE:
        for path in files(folder, (".c", ".h", ".def")):
            if path.startswith("tools/examples/"):  # programs of others, by the public interface
                continue
            yield folder, path, read(path)


def includes(text):
    return [i for i in re.findall(r'^#include "([^"]+)"', text, re.M) if not i.endswith(".pb-c.h")]


def room_of(path):
    """The index in ROOMS: of the file itself, or of its folder."""
    return ROOMS.index(path if path in ROOMS else os.path.dirname(path))


def circles(arrows):
    """Lists of files that reach each other (Tarjan's strongly connected components of more than one)."""
    index, low, stack, found = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in arrows.get(v, ()):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            at = stack.index(v)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for v in list(arrows):
        if v not in index:
            visit(v)
    return found


# ---------------------------------------------------------------- who knows whom

def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"d", "e"}, "d": {"b"}, "e": {"f"}}) == [["b", "c", "d"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []


def test_includes_point_downwards():
    for folder, path, text in sources():
        for other in includes(text):
            if other.split("/")[0] == folder:
                assert room_of(other) <= room_of(path), f"{path} includes {other}, which is above it"
            else:
                assert other in MAY_INCLUDE[folder] or other.split("/")[0] in MAY_INCLUDE[folder], \
                    f"{path} includes {other}"
    generated = {p for _, p, text in sources() if ".pb-c.h" in text}
    assert all(p.startswith("frontend/") for p in generated), generated


def test_rooms_of_passes_do_not_know_each_other():
    for path in files("passes", (".c", ".h", ".def")):
        room = os.path.dirname(path)
        for other in includes(read(path)):
            if room != "passes" and other.startswith("passes/"):
                assert os.path.dirname(other) in ("passes", room), f"{path} includes {other}"


def test_no_circles_of_includes():
    assert circles({path: includes(text) for _, path, text in sources()}) == []


@functools.cache
def objects():
    """path -> (defined, undefined) of every source that was built: the names that other files can see."""
    build, sources_of = os.path.join(os.path.dirname(HONE), "CMakeFiles"), {}
    for target in sorted(os.listdir(build)):
        if re.fullmatch(r"hone(_\w+)?\.dir", target):
            for path in files(os.path.join(build, target), (".c.o",)):
                source = os.path.relpath(os.path.join(ROOT, path), os.path.join(build, target))[:-2]
                if os.path.exists(os.path.join(ROOT, source)):
                    sources_of[os.path.join(ROOT, path)] = source
    found = {source: (set(), set()) for source in sources_of.values()}
    # One process for all of them: "FILE: NAME TYPE ..." a line.
    out = subprocess.run(["nm", "-g", "-A", "-P", *sources_of], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        path, rest = line.split(": ", 1)
        name, kind = rest.split()[:2]
        found[sources_of[path]][kind in "Uwv"].add(name)
    return found


def call_arrows():
    """path -> {path: names}: what the first uses of the second's definitions."""
    built, home = objects(), {}
    for path, (defined, _) in built.items():
        for n in defined:
            home.setdefault(n, []).append(path)
    arrows = {path: {} for path in built}
    for path, (_, uses) in built.items():
        for n in uses:
            if len(home.get(n, ())) == 1 and home[n][0] != path:
                arrows[path].setdefault(home[n][0], set()).add(n)
    return arrows


def test_no_circles_of_calls():
    arrows = call_arrows()
    missing = [p for _, p, _ in sources() if p.endswith(".c") and p not in arrows]
    assert not missing, f"not built: {missing}"
    assert len(arrows["codegen/program/lower.c"]) > 10, "the table of lowerings calls nothing"
    found = circles(arrows)
    lines = [f"  {a} -> {b}: {', '.join(sorted(arrows[a][b])[:8])}" for c in found for a in c for b in c if b in arrows[a]]
    assert not found, "files that call each other in circles:\n" + "\n".join(lines)


def test_exports_begin_with_their_folder():
    prefix = {"ir": "ir_", "frontend": "fe_", "passes": "pass", "codegen": "cg_", "runtime": ("rt_", "hone_")}
    for path, (defined, _) in objects().items():
        wrong = [n for n in defined if n != "main" and not n.startswith(prefix.get(path.split("/")[0], ""))]
        assert not wrong, f"{path} exports {sorted(wrong)}"


def test_foreign_types_stay_in_their_folder():
    for folder, path, text in sources():
        code = re.sub(r"//.*", "", text)
        assert folder == "codegen" or not re.search(r"\bLLVM[A-Z]\w+", code), f"LLVM in {path}"
        assert folder == "frontend" or "Onnx__" not in code, f"Onnx__ in {path}"


def test_no_mutable_globals():
    for _, path, text in sources():
        for line in re.findall(r"^static (?!const |inline |_Noreturn |void |bool |int )[^()\n]*;", text, re.M):
            assert " const " in line or "*const" in line or line in MUTABLE, f"{path}: {line}"


# ---------------------------------------------------------------- what lies where, and how long it is

def test_top_level():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    extra = {f.split("/")[0] for f in listed} - TOP
    assert not {e for e in extra if not e.startswith(".")}, extra


def test_tests_mirror_the_rooms():
    for top in MAY_INCLUDE:
        for path, folders, _ in os.walk(os.path.join(ROOT, "tests", top)):
            for folder in folders:
                room = os.path.relpath(os.path.join(path, folder), os.path.join(ROOT, "tests"))
                assert room in ROOMS or folder in ("rig", "golden", "__pycache__"), f"tests/{room} mirrors no room"


def test_files_stay_short():
    for path, text in [(p, t) for _, p, t in sources()] + [(p, read(p)) for p in files("tests", (".c", ".h"))]:
        lines, most = text.count("\n"), LONG_FILES.get(path, MOST_LINES)
        assert lines <= most, f"{path} has {lines} lines, more than {most}"


def functions(text):
    """(name, lines) of each function: from the line with its name to the brace in the first column."""
    head = None
    for i, line in enumerate(text.split("\n")):
        name = re.match(r"[a-zA-Z_].*?(\w+)\(", line)
        if name and not line.startswith(("typedef", "enum", "struct", "#")):
            head = (name[1], i) if not line.rstrip().endswith(";") else None
        elif line.startswith("}"):
            if head:
                yield head[0], i - head[1] + 1
            head = None
        elif line and line[0] not in " \t)" and not name:
            head = None


def test_functions_are_measured():
    text = "static int f(int a,\n             int b) {\n" + "    a++;\n" * 70 + "}\n\nint g(void) {\n}\nint h(int);\n"
    assert list(functions(text)) == [("f", 73), ("g", 2)]


def test_functions_stay_short():
    long = {n: (path, k) for _, path, text in sources() if path.endswith(".c")
            for n, k in functions(text) if k > MOST_FUNCTION_LINES}
    assert set(long) == set(LONG_FUNCTIONS), f"{long}; named: {sorted(LONG_FUNCTIONS)}"


if __name__ == "__main__":
    main(sys.modules[__name__])
