"""A graph of 20,000 calls compiles in time proportional to one of 2,000, within 20 %; see bench/compile_linear.py."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import compile_linear as linear
import script
from script import HONE, TEMP


def check(kind):
    small, large = linear.measure(HONE, TEMP, kind, (linear.SMALL, linear.LARGE), 2)
    ratio = large / small * linear.SMALL / linear.LARGE
    assert ratio <= linear.LIMIT, f"{kind}: {small:.2f} s for {linear.SMALL} calls, {large:.2f} s for {linear.LARGE}"


def test_chain():
    check("chain")


def test_wide():
    check("wide")


def test_concat():
    check("concat")


if __name__ == "__main__":
    script.main(sys.modules[__name__])
