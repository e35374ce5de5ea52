"""The folders keep to their layers: who includes whom, whose types appear where, what lies at the top."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import ROOT, main

MAY_INCLUDE = {
    "ir": {"ir"},
    "frontend": {"frontend", "ir"},
    "passes": {"passes", "ir"},
    "codegen": {"codegen", "ir", "runtime/core/abi.h", "runtime/core/cpu_features.h", "runtime/core/cpu_features.def",
                "runtime/train/abi.h"},
    "runtime": {"runtime"},
}
TOP = {"frontend", "ir", "passes", "codegen", "runtime", "tools", "tests", "CMakeLists.txt", "README.md", "LICENSE"}


def sources():
    for folder in list(MAY_INCLUDE) + ["tools"]:
        for path, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".def")):
                    file = os.path.relpath(os.path.join(path, name), os.path.join(ROOT, folder))
                    yield folder, file, open(os.path.join(path, name)).read()


def test_includes():
    for folder, name, text in sources():
        for path in re.findall(r'^#include "([^"]+)"', text, re.M):
            allowed = MAY_INCLUDE.get(folder)
            if allowed is None or path.endswith(".pb-c.h"):
                assert allowed is None or folder in ("frontend", "runtime"), (folder, name, path)
                continue
            assert path.split("/")[0] in allowed or path in allowed, f"{folder}/{name} includes {path}"


def test_foreign_types_stay_in_their_folder():
    for folder, name, text in sources():
        code = re.sub(r"//.*", "", text)
        assert folder == "codegen" or not re.search(r"\bLLVM[A-Z]\w+", code), f"LLVM in {folder}/{name}"
        assert folder == "frontend" or "Onnx__" not in code, f"Onnx__ in {folder}/{name}"


def test_top_level():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    extra = {f.split("/")[0] for f in listed} - TOP
    assert not {e for e in extra if not e.startswith(".")}, extra


def test_files_stay_short():
    for folder, name, text in sources():
        assert text.count("\n") <= 800, f"{folder}/{name} has more than 800 lines"


def test_no_mutable_globals():
    for folder, name, text in sources():
        for line in re.findall(r"^static (?!const |inline |_Noreturn |void |bool |int )[^()\n]*;", text, re.M):
            assert " const " in line or "*const" in line, f"{folder}/{name}: {line}"


if __name__ == "__main__":
    main(sys.modules[__name__])
