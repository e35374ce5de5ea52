#!/usr/bin/python3
"""Prints train_cases.def: what the training ops must give, computed by PyTorch.

    python3 tests/ir/make_train_cases.py > tests/ir/train_cases.def

Needs torch; the tests do not. Made with torch 1.13. A row is a TrainCase of test_train_ops.c.
"""
import textwrap

import numpy as np
import torch
import torch.nn.functional as F


def pattern(seed, *dims, positive=False):
    i = np.arange(int(np.prod(dims)), dtype=np.int64)
    x = ((i * 37 + seed * 11) % 17 - 8) / 4
    return torch.tensor((np.abs(x) + 0.5 if positive else x).reshape(dims), dtype=torch.float64)


def row(name, inputs, body, outputs):
    values = ", ".join("{%s}" % ", ".join("%.12g" % v for v in o.detach().reshape(-1).tolist())
                       for o in outputs)
    counts = ", ".join(str(o.numel()) for o in outputs)
    print('{"%s",\n "%s",\n "%s",' % (name, inputs, body))
    print(textwrap.fill("%d, {%s}, {%s}}," % (len(outputs), counts, values), 98, initial_indent=" ",
                        subsequent_indent="  "))


def shape(t):
    return ",".join(map(str, t.shape))


def grads(y, dy, *wrt):
    return torch.autograd.grad(y, wrt, dy)


def conv(name, x, w, **kw):
    stride, pad = kw.get("stride", (1, 1)), kw.get("pad", (0, 0))
    dilation, group = kw.get("dilation", (1, 1)), kw.get("group", 1)
    x, w = pattern(1, *x).requires_grad_(), pattern(2, *w).requires_grad_()
    y = F.conv2d(x, w, None, stride, pad, dilation, group)
    attrs = "stride=[%d,%d], pad=[%d,%d,%d,%d], dilation=[%d,%d], group=%d" % (
        *stride, *pad, *pad, *dilation, group)
    dx, = grads(y, pattern(1, *y.shape), x)
    row(name + " by x", "%%dy: f64[%s], %%w: f64[%s]" % (shape(y), shape(w)),
        "%%y = conv_dgrad %%dy, %%w {%s, shape=[%s]}" % (attrs, shape(x)), [dx])
    y = F.conv2d(x, w, None, stride, pad, dilation, group)
    dw, = grads(y, pattern(2, *y.shape), w)
    row(name + " by w", "%%x: f64[%s], %%dy: f64[%s]" % (shape(x), shape(y)),
        "%%y = conv_wgrad %%x, %%dy {%s, shape=[%s]}" % (attrs, shape(w)), [dw])


def pools():
    for name, x, k, s, p, ceil in (("plain", (1, 2, 4, 4), 2, 2, 0, 0), ("overlap", (1, 1, 5, 5), 3, 1, 1, 0),
                                   ("ceil", (2, 1, 6, 5), 3, 2, 0, 1), ("ceil pad", (1, 1, 7, 6), 3, 2, 1, 1)):
        attrs = "kernel=[%d,%d], stride=[%d,%d], pad=[%d,%d,%d,%d], ceil=%d" % (k, k, s, s, p, p, p, p, ceil)
        t = pattern(1, *x).requires_grad_()
        y = F.max_pool2d(t, k, s, p, 1, bool(ceil))
        row("max_pool_grad " + name, "%%x: f64[%s], %%dy: f64[%s]" % (shape(t), shape(y)),
            "%%y = max_pool_grad %%x, %%dy {%s}" % attrs, grads(y, pattern(2, *y.shape), t))
        for count in 0, 1:
            y = F.avg_pool2d(t, k, s, p, bool(ceil), bool(count))
            row("avg_pool_grad %s %d" % (name, count), "%%dy: f64[%s]" % shape(y),
                "%%y = avg_pool_grad %%dy {%s, count_pad=%d, shape=[%s]}" % (attrs, count, shape(t)),
                grads(y, pattern(1, *y.shape), t))


def norms():
    for x, eps in (((3, 2, 2, 2), 1e-5), ((4, 3), 0.1), ((1, 2, 3, 3), 1e-3)):
        c = x[1]
        t, g, b = pattern(1, *x).requires_grad_(), pattern(2, c).requires_grad_(), pattern(3, c).requires_grad_()
        y = F.batch_norm(t, None, None, g, b, True, 0.1, eps)
        axes = [0] + list(range(2, len(x)))
        row("batch_norm_train", "%%x: f64[%s], %%g: f64[%d], %%b: f64[%d]" % (shape(t), c, c),
            "%%y, %%m, %%v = batch_norm_train %%x, %%g, %%b {eps=%g}" % eps,
            [y, t.mean(axes), t.var(axes, unbiased=False)])
    for size, alpha, beta, k in ((3, 1e-4, 0.75, 1.0), (5, 0.5, 0.75, 2.0), (1, 0.3, 1.5, 1.0)):
        t = pattern(1, 2, 6, 1, 2).requires_grad_()
        y = F.local_response_norm(t, size, alpha, beta, k)
        row("lrn_grad", "%%x: f64[%s], %%dy: f64[%s]" % (shape(t), shape(t)),
            "%%y = lrn_grad %%x, %%dy {size=%d, alpha=%g, beta=%g, bias=%g}" % (size, alpha, beta, k),
            grads(y, pattern(2, *y.shape), t))


def losses():
    for n, c, smoothing in ((3, 4, 0.0), (2, 3, 0.1), (4, 10, 0.5), (2, 1, 0.3), (1, 5, 1.0)):
        x = (20 if n == 3 else 1) * pattern(1, n, c)
        x = x.requires_grad_()
        label, w = torch.arange(n) % 3, pattern(3, c, positive=True)
        label = torch.where(label < c, label, torch.tensor(-100))
        y = F.cross_entropy(x, label, w, reduction="none", label_smoothing=smoothing)
        d, = grads(y, torch.ones(n, dtype=torch.float64), x)
        scale = "%x2 = mul %x, %k20\\n" if n == 3 else ""
        body = scale + "%%y, %%d = softmax_ce %s, %%label, %%posw, %%s%d" % ("%x2" if scale else "%x",
                                                                            round(smoothing * 10))
        row("softmax_ce", "%%x: f64[%d,%d], %%label: i32[%d], %%posw: f64[%d]" % (n, c, n, c), body, [y, d])
    mixed(3, 5, 0.0)
    mixed(4, 2, 0.1)


def mixed(n, c, smoothing):
    """Of two labels, one of which is no class at times, by the shares of posv."""
    x, w, share = pattern(1, n, c).requires_grad_(), pattern(3, c, positive=True), pattern(5, n, positive=True)
    labels = torch.arange(n) % 3, (torch.arange(n) + 1) % 3
    y = 0
    for label, part in zip(labels, (share, 1 - share)):
        label = torch.where(label < c, label, torch.tensor(-100))
        y = y + part * F.cross_entropy(x, label, w, reduction="none", label_smoothing=smoothing)
    d, = grads(y, torch.ones(n, dtype=torch.float64), x)
    row("softmax_ce", "%%x: f64[%d,%d], %%label: i32[%d], %%posw: f64[%d], %%label2: i32[%d], %%posv: f64[%d]" % (n, c, n, c, n, n),
        "%%y, %%d = softmax_ce %%x, %%label, %%posw, %%s%d, %%label2, %%posv" % round(smoothing * 10), [y, d])


print("// Made by make_train_cases.py with PyTorch; do not edit. A row is a TrainCase of test_train_ops.c.")
print("// clang-format off")
conv("3x3", (2, 2, 4, 4), (2, 2, 3, 3), pad=(1, 1))
conv("stride", (1, 2, 5, 6), (3, 2, 3, 2), stride=(2, 3), pad=(1, 0))
conv("dilation, groups", (1, 4, 6, 6), (4, 2, 2, 2), dilation=(2, 3), group=2)
conv("depthwise", (1, 3, 4, 4), (3, 1, 3, 3), pad=(1, 1), stride=(2, 2), group=3)
pools()
norms()
losses()
