#!/usr/bin/python3
"""Errors of Winograd convolution in float against double, by transform and channels.

  tests/bench/winograd_error.py [--search]

Prints the RMS and the largest error of one output, both of the RMS of the output, for inputs and
weights uniform in [-1, 1); direct: the sum in order, in float. Filters are transformed in double,
as the compiler does. dW: gradients of weights, where what is called a filter is a tile of dy, transformed
in float, and channels are tiles summed up. --search tries other points: how those of conv_winograd_matrix.c were found.
"""
import itertools
import sys

import numpy as np

POINTS = {1: [], 3: [1, -1], 4: [0, 1, -1], 5: [.375, -.375, 1.25, -1.25], 6: [0, .75, -.75, 1.5, -1.5],
          8: [0, .5, -.5, 1, -1, 2, -2], 10: [0, .375, -.375, .75, -.75, 1.25, -1.25, 2, -2]}
STRIDED = [(f"F({m}x{m},3x3) /2", (m, 3, 2), (m, 3, 2)) for m in (2, 3, 4)]
TRANSFORMS = [("F(2x2,3x3)", (2, 3), (2, 3)), ("F(4x2,3x3)", (4, 3), (2, 3)),
              ("F(4x4,3x3)", (4, 3), (4, 3)), ("F(2x2,5x5)", (2, 5), (2, 5)),
              ("F(4,3)", (1, 1), (4, 3)), ("F(2,7)", (1, 1), (2, 7)), ("F(4,7)", (1, 1), (4, 7))]
GRADIENTS = [("dW F(3x3,2x2)", (3, 2), (3, 2)), ("dW F(3x3,4x4)", (3, 4), (3, 4))]
TILES, OUTPUTS = 24, 16


def matrices(m, r, stride=1, points=POINTS):
    """At, G, Bt of F(m, r), at stride 2 of the odd taps and of the even ones beside each other."""
    if stride == 1:
        return one_stride(m, r, points[m + r - 1]) if r > 1 else (np.eye(m), np.ones((m, 1)), np.eye(m))
    n, row = 2 * m + r - 2, 0
    at, g, bt = np.zeros((m, n)), np.zeros((n, r)), np.zeros((n, n))
    for odd in (1, 0):
        a, h, b = matrices(m, (r + 1 - odd) // 2, 1, points)
        end = row + len(b)
        at[:, row:end], g[row:end, odd::2], bt[row:end, odd::2] = a, h, b
        row = end
    return at, g, bt


def one_stride(m, r, p):
    """At, G, Bt of F(m, r) for finite points p and infinity."""
    n = m + r - 1
    p = np.array(p, float)
    at, g, bt = np.zeros((m, n)), np.zeros((n, r)), np.zeros((n, n))
    for i in range(n - 1):
        others = np.delete(p, i)
        at[:, i] = p[i] ** np.arange(m)
        g[i] = p[i] ** np.arange(r) / np.prod(p[i] - others)
        bt[i, :n - 1] = np.poly(others)[::-1] if n > 2 else 1
    at[m - 1, n - 1] = g[n - 1, r - 1] = 1
    bt[n - 1] = np.poly(p)[::-1] if n > 1 else 1
    return at, g, bt


def errors(h, w, channels, rng, points=POINTS, filters=float):
    """RMS and maximum of Winograd's error and the direct sum's, relative to the output's RMS."""
    ah, gh, bh = matrices(*h, points=points)
    aw, gw, bw = matrices(*w, points=points)
    step = h[2] if len(h) > 2 else 1
    f = np.float32
    d = rng.uniform(-1, 1, (TILES, channels, len(bh), len(bw))).astype(f)
    g = rng.uniform(-1, 1, (channels, OUTPUTS, h[1], w[1])).astype(f)
    u = np.einsum("ik,cokl->coil", gh.astype(filters), g.astype(filters))
    u = np.einsum("jl,coil->cijo", gw.astype(filters), u).astype(f)
    v = np.einsum("ik,tckj->tcij", bh.astype(f), d)
    v = np.einsum("jl,tcil->ctij", bw.astype(f), v)
    prod = np.zeros((TILES, len(bh), len(bw), OUTPUTS), f)
    for c in range(channels):
        prod += v[c][..., None] * u[c][None]
    y = np.einsum("ki,tijo->tkjo", ah.astype(f), prod)
    y = np.einsum("lj,tkjo->tklo", aw.astype(f), y)
    want = np.zeros(y.shape)
    direct = np.zeros(y.shape, f)
    for c in range(channels):
        for i, j in itertools.product(range(h[1]), range(w[1])):
            x = d[:, c, i:i + step * (h[0] - 1) + 1:step, j:j + step * (w[0] - 1) + 1:step, None]
            direct += x * g[c, :, i, j]
            want += x.astype(float) * g[c, :, i, j].astype(float)
    scale = np.sqrt(np.mean(want ** 2))
    out = []
    for got in (y, direct):
        e = np.abs(got - want) / scale
        out += [np.sqrt(np.mean(e ** 2)), e.max()]
    return out


def search(m, r):
    n = m + r - 1
    grid = [.25, 1 / 3, .375, .5, .625, .75, .875, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4]
    found = []
    for half in itertools.combinations(grid, (n - 1) // 2):
        points = {**POINTS, n: [0] * (n % 2 == 0) + [s * x for x in half for s in (1, -1)]}
        rng = np.random.default_rng(1)
        found.append((errors((1, 1), (m, r), 64, rng, points)[0], half))
    print(f"F({m},{r}):", "  ".join(f"{e:.2e} {p}" for e, p in sorted(found)[:5]))


if "--search" in sys.argv[1:]:
    for m, r in ((2, 2), (3, 2), (4, 2), (2, 3), (4, 3), (2, 5), (2, 7), (4, 7)):
        search(m, r)
else:
    print(f"{'transform':13} {'C':>5} {'RMS':>9} {'largest':>9}   {'direct':>9} {'largest':>9}")
    rng = np.random.default_rng(0)
    rows = [*itertools.product(TRANSFORMS + STRIDED, (16, 64, 256, 512), (float,)),
            *itertools.product(GRADIENTS, (64, 784, 3136), (np.float32,))]
    for (name, h, w), c, filters in rows:
        e = errors(h, w, c, rng, filters=filters)
        print(f"{name:13} {c:5} {e[0]:9.1e} {e[1]:9.1e}   {e[2]:9.1e} {e[3]:9.1e}", flush=True)
