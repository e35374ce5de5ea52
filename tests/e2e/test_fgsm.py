"""FGSM on real images: a step of 0.04 (of white) along the sign of the gradient by the image (hone compile
--emit-input-grad; Goodfellow et al. 2015, arXiv:1412.6572) takes most of the sample network's accuracy on
Fashion-MNIST, a step of that size in random directions little. Needs Debian's dataset-fashion-mnist."""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import fashion
from script import HONE, SAMPLE, main, ok, temp

STEP, N = 0.04, 1000


def test_fgsm():
    images, labels = (a[:N] for a in fashion.load("t10k"))
    np.save(temp("label.npy"), labels.astype(np.int32))
    ok(HONE, "compile", SAMPLE, "-o", temp("net"), "--emit-input-grad")

    def run(pixels):
        """Accuracy on images of values 0 to 255, and the gradient."""
        np.save(temp("x.npy"), fashion.tensors(pixels))
        ok(temp("net"), "run", "-i", "image=" + temp("x.npy"), "-i", "label=" + temp("label.npy"), "-o",
           "logits=" + temp("y.npy"), "-o", "input_grad=" + temp("g.npy"))
        return (np.load(temp("y.npy")).argmax(1) == labels).mean(), np.load(temp("g.npy"))[:, 0]

    def moved(direction):
        return run((images + 255 * STEP * direction).clip(0, 255))[0]

    before, gradient = run(images)
    fooled = moved(np.sign(gradient))
    noisy = moved(np.sign(np.random.default_rng(1).standard_normal(images.shape)))
    print(f"        {before:.1%}; with noise {noisy:.1%}, with FGSM {fooled:.1%}")
    assert before > 0.9 and noisy > before - 0.1 and fooled < 0.4, (before, noisy, fooled)


if __name__ == "__main__":
    main(sys.modules[__name__])
