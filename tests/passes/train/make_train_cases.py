#!/usr/bin/python3
"""Prints train_cases.def: losses and optimiser steps of test_train.c, computed by PyTorch.

    python3 tests/passes/train/make_train_cases.py > tests/passes/train/train_cases.def

Needs torch; the tests do not. Made with torch 1.13, in double.
"""
import textwrap

import torch
import torch.nn.functional as F

STEPS, SIZE = 4, 8


def pattern(seed, *dims):
    n = 1
    for d in dims:
        n *= d
    i = torch.arange(n, dtype=torch.int64)
    return (((i * 37 + seed * 11) % 17 - 8).double() / 4).reshape(dims)


def numbers(t):
    return "{%s}" % ", ".join("%.10g" % v for v in t.detach().reshape(-1).tolist())


def emit(text):
    print("\n".join(textwrap.wrap(text, 98, break_long_words=False, subsequent_indent="    ")))


def optimiser(kind, lr, momentum, decay, clip, beta2=0.0, eps=0.0):
    p = torch.nn.Parameter(pattern(1, SIZE))
    if kind == "ADAMW":
        o = torch.optim.AdamW([p], lr=lr, betas=(momentum, beta2), eps=eps, weight_decay=decay)
    else:
        o = torch.optim.SGD([p], lr=lr, momentum=momentum, weight_decay=decay, nesterov=kind == "NESTEROV")
    for step in range(STEPS):
        p.grad = clip * pattern(2 + step, SIZE)
        o.step()
    state = o.state[p]
    m = state.get("exp_avg", state.get("momentum_buffer"))
    m = pattern(0, SIZE) * 0 if m is None else m
    v = state.get("exp_avg_sq", m * 0)
    emit("OPTIMISER(%s, %g, %g, %g, %g, %g, %g, (%s), (%s), (%s))" % (
        kind, lr, momentum, beta2, eps, decay, clip, *(numbers(t)[1:-1] for t in (p, m, v))))


def ce(n, c, smoothing):
    x, w = pattern(1, n, c).requires_grad_(), pattern(2, c).abs() + 0.5
    y = F.cross_entropy(x, torch.arange(n) % c, w, reduction="none", label_smoothing=smoothing)
    d, = torch.autograd.grad(y.sum() * 0.25, x)
    emit("LOSS(CE, %d, %d, %g, (%s), (%s))" % (n, c, smoothing, numbers(y)[1:-1], numbers(d)[1:-1]))


def bce(n, c, smoothing):
    x, w = (8 * pattern(1, n, c)).requires_grad_(), pattern(2, c).abs() + 0.5
    z = (pattern(3, n, c) + 2) / 4
    z = z * (1 - smoothing) + smoothing / 2
    y = F.binary_cross_entropy_with_logits(x, z, w.expand(n, c), reduction="none").mean(1)
    d, = torch.autograd.grad(y.sum() * 0.25, x)
    emit("LOSS(BCE, %d, %d, %g, (%s), (%s))" % (n, c, smoothing, numbers(y)[1:-1], numbers(d)[1:-1]))


print("// Made by make_train_cases.py with PyTorch; do not edit. Rows are macros of test_train.c.")
optimiser("SGD", 0.1, 0.9, 0, 1)
optimiser("SGD", 0.05, 0.9, 0.01, 0.5)
optimiser("SGD", 0.1, 0.5, 0.1, 1)
optimiser("NESTEROV", 0.1, 0.9, 0, 1)
optimiser("NESTEROV", 0.02, 0.8, 0.05, 0.25)
optimiser("ADAMW", 1e-3, 0.9, 0, 1, 0.999, 1e-8)
optimiser("ADAMW", 0.1, 0.9, 0.01, 1, 0.999, 1e-8)
optimiser("ADAMW", 0.05, 0.8, 0.1, 0.5, 0.95, 1e-3)
ce(3, 4, 0.0)
ce(2, 5, 0.1)
ce(4, 2, 0.3)
bce(3, 1, 0.0)
bce(2, 4, 0.0)
bce(3, 3, 0.2)
