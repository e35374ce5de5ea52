"""All model families and spellings: CASES, each with its Net, and their golden outputs.

golden_families.npz holds what ONNX Runtime computes for a batch of BATCH images, as FAMILY_OPSET/OUTPUT of
the first opset with these numbers; families_golden.py writes it. To keep it small, the mantissas have 17 bits.
"""
import os

import numpy as np

import families_exporters  # noqa: F401  (each registers its cases)
import families_forms  # noqa: F401
import families_fusions  # noqa: F401
import families_inception  # noqa: F401
import families_mobile  # noqa: F401
import families_resnet  # noqa: F401
import families_spellings  # noqa: F401
from families_net import CASES  # noqa: F401

BATCH = 3
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden_families.npz")


def golden():
    """A function (case, output's name) -> array."""
    stored = dict(np.load(GOLDEN))
    return lambda case, name: find(stored, case, name)


def find(stored, case, name):
    for opset in range(case.opset, 0, -1):
        y = stored.get(f"{case.family}_{opset}/{name}")
        if y is not None:
            return y
