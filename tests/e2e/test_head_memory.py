"""bench/head_memory.py on sets too small to be measured: one line, and no traceback."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import script
from script import HONE, ROOT, run


def test_tiny_sets():
    bench = os.path.join(ROOT, "tests", "bench", "head_memory.py")
    for images, why in ((4, ", no image held out: "), (20, ": ")):
        code, _, err = run(sys.executable, bench, HONE, "--images", str(images), "--features", "8")
        line = err.splitlines()[-1]
        assert code == 1 and "Traceback" not in err and line.startswith("head_memory.py: "), err
        assert f"passes in 0.0 s{why}give more --images or --features" in line, line


if __name__ == "__main__":
    script.main(sys.modules[__name__])
