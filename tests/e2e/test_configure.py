"""CMake's configure step: an llvm-config that is too old, or gone, is an error once, and not remembered."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, main, ok, run, temp


def fake_llvm(name, version):
    path = temp(name)
    with open(path, "w") as f:
        f.write(f"#!/bin/sh\necho {version}\n")
    os.chmod(path, 0o755)
    return path


def refuses(folder, llvm, says):
    code, out, err = run("cmake", "-S", ROOT, "-B", folder, f"-DLLVM_CONFIG={llvm}")
    assert code != 0 and "hone needs LLVM 19 or newer" in err and says in " ".join(err.split()), out + err
    with open(os.path.join(folder, "CMakeCache.txt")) as f:
        assert "LLVM_CONFIG:" not in f.read()


def test_unfit_llvm_is_forgotten():
    folder = temp("build")
    refuses(folder, fake_llvm("llvm-config-old", "14.0.6"), "is '14.0.6'")
    refuses(folder, temp("no-such-llvm-config"), "is ''")
    refuses(folder, fake_llvm("llvm-config-odd", ""), "is ''")
    with open(os.path.join(os.path.dirname(HONE), "CMakeCache.txt")) as f:
        fits = re.search("^LLVM_CONFIG:.*=(.*)$", f.read(), re.M).group(1)
    path = os.path.dirname(fits) + os.pathsep + os.environ["PATH"]
    assert "-- LLVM " in ok("cmake", "-S", ROOT, "-B", folder, env={"PATH": path})


if __name__ == "__main__":
    main(sys.modules[__name__])
