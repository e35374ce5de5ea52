"""What tells a parameter from others by its numbers: networks.py writes it down, checks.py looks for it. Apart, since checks.py does without PyTorch,
whose import takes longer than most checks."""
import hashlib

import numpy as np


def signature(array):
    """Of the numbers, in whatever order: exporters transpose and rename."""
    return hashlib.sha1(np.sort(np.ascontiguousarray(array, np.float32).ravel()).tobytes()).hexdigest()
