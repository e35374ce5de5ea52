"""bench/head_memory.py on sets too small to be measured: one line, and no traceback."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import script
from script import HONE, ROOT, run


def test_tiny_sets():
    """Where no image is held out there is nothing to tell; passes over 20 images take no time that can be told, but on a slow machine."""
    bench = os.path.join(ROOT, "tests", "bench", "head_memory.py")
    for images, why in ((4, ", no image held out: "), (20, ": ")):
        code, out, err = run(sys.executable, bench, HONE, "--images", str(images), "--features", "8")
        line = err.splitlines()[-1]
        assert "Traceback" not in err, err
        if images > 4 and code == 0:
            assert " a second, held out loss " in out, out
            continue
        assert code == 1 and re.fullmatch(rf"head_memory.py: \d+ passes in \d+\.\d s{why}give more --images or --features", line), err


if __name__ == "__main__":
    script.main(sys.modules[__name__])
