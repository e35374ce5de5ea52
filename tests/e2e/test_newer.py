"""Operators of opsets 18 to 28 against their definitions in double: Attention and what surrounds it, transforms, folds, grids.
ONNX's own cases, where installed, are older than most of them.
"""
import itertools
import math
import os
import sys

import numpy as np
from onnx import helper

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import script  # noqa: E402
from op_model import BATCH, Model, Near, rng  # noqa: E402

f32 = np.float32


def wide(a):
    return np.asarray(a, np.float64)


def floats(*shape):
    return rng.standard_normal(shape).astype(f32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(-1, keepdims=True))
    return np.nan_to_num(e / e.sum(-1, keepdims=True))  # a row of -inf: nothing is seen


# ---------------------------------------------------------------- attention

S, T, H, D = 4, 6, 4, 5


def heads(x, h=H):
    return wide(x).reshape(len(x), -1, h, x.shape[-1] // h).swapaxes(1, 2)


def joined(x):
    return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)


def stages(q, k, v, bias=0.0, scale=None, cap=0.0):
    """Scores, scores behind the softcap and the bias, weights, result."""
    each = q.shape[1] // k.shape[1]
    k, v = k.repeat(each, 1), v.repeat(each, 1)
    raw = (q @ k.swapaxes(2, 3)) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    capped = cap * np.tanh(raw / cap) if cap else raw
    weights = softmax(capped + bias)
    return raw, capped, capped + bias, weights, weights @ v


def hide(seen):
    return np.where(seen, 0.0, -np.inf)


def test_attention():
    m = Model(25)
    q, k, v = floats(BATCH, S, H * D), floats(BATCH, T, H * D), floats(BATCH, T, H * 3)
    three = [m.feed(q), m.feed(k), m.feed(v)]
    parts, both = (heads(q), heads(k), heads(v)), dict(q_num_heads=H, kv_num_heads=H)
    m.node("Attention", three, [Near(joined(stages(*parts)[4]))], **both)
    m.node("Attention", three, [Near(joined(stages(*parts, 0, 0.3, 0.5)[4]))], scale=0.3, softcap=0.5, **both)
    by_heads = [m.feed(np.ascontiguousarray(p, f32)) for p in parts]
    mask, seen = floats(S, T), rng.random((BATCH, 1, S, T)) < 0.6
    seen[0, 0, 1] = False  # nothing is left to see
    for mode in range(4):
        want = stages(*parts, wide(mask), None, 2.0)
        m.node("Attention", by_heads + [m.const(mask)], [Near(want[4]), None, None, Near(want[mode])], softcap=2.0,
               qk_matmul_output_mode=mode)
    m.node("Attention", by_heads + [m.feed(seen)], [Near(stages(*parts, hide(seen))[4])])
    m.node("Attention", by_heads + [m.const(seen[1])], [Near(stages(*parts, hide(seen[1]))[4])])
    m.node("Attention", by_heads + [m.feed(seen)], [Near(stages(*parts, hide(seen & (np.tri(S, T) > 0)))[4])], is_causal=1)
    short = np.ascontiguousarray(seen[..., :4])
    full = np.concatenate([short, np.zeros((BATCH, 1, S, 2), bool)], -1)
    m.node("Attention", by_heads + [m.feed(short)], [Near(stages(*parts, hide(full))[4])])
    ahead = np.arange(T) - np.arange(S)[:, None]
    m.node("Attention", by_heads, [Near(stages(*parts, hide((ahead >= -1) & (ahead <= 2)))[4])], left_window_size=1,
           right_window_size=2)
    few = [three[0]] + [m.feed(t) for t in (k[..., :2 * D].copy(), v[..., :6].copy())]
    want = stages(parts[0], heads(k[..., :2 * D], 2), heads(v[..., :6], 2), hide(ahead <= 0))
    m.node("Attention", few, [Near(joined(want[4]))], q_num_heads=H, kv_num_heads=2, is_causal=1)
    past = [floats(BATCH, H, 2, D), floats(BATCH, H, 2, 3)]
    long = [np.concatenate([wide(p), t], 2) for p, t in zip(past, parts[1:])]
    want = stages(parts[0], *long, hide(np.arange(T + 2) <= np.arange(S)[:, None] + 2))
    m.node("Attention", by_heads + [""] + [m.feed(p) for p in past], [Near(want[4]), Near(long[0]), Near(long[1])], is_causal=1)
    lengths = np.array([6, 4, 2])
    key = np.arange(T)
    limit = lengths[:, None, None, None]
    at = np.arange(S)[:, None] + limit - S
    for causal in (0, 1):
        visible = (key < limit) & ((key <= at) if causal else True)
        m.node("Attention", by_heads + ["", "", "", m.feed(lengths)], [Near(stages(*parts, hide(visible))[4])], is_causal=causal)
    m.check()


def test_rotary():
    m = Model(23)
    x, at, cos, sin = floats(BATCH, S, H * 6), rng.integers(0, 9, (BATCH, S)), floats(9, 3), floats(9, 3)
    for inter, R in itertools.product((0, 1), (6, 4)):
        c, s = (wide(t)[at][:, None, :, :R // 2] for t in (cos, sin))
        y = heads(x)
        a, b = (y[..., 0:R:2], y[..., 1:R:2]) if inter else (y[..., :R // 2], y[..., R // 2:R])
        both = (c * a - s * b, s * a + c * b)
        turned = np.stack(both, -1).reshape(*y.shape[:3], R) if inter else np.concatenate(both, -1)
        y = np.concatenate([turned, y[..., R:]], -1)
        tables = m.consts(cos[:, :R // 2].copy(), sin[:, :R // 2].copy()) + [m.feed(at)]
        more = dict(interleaved=inter, rotary_embedding_dim=0 if R == 6 else R)
        m.node("RotaryEmbedding", [m.feed(x)] + tables, [Near(joined(y))], num_heads=H, **more)
        m.node("RotaryEmbedding", [m.feed(np.ascontiguousarray(heads(x), f32))] + tables, [Near(y)], **more)
    m.check()


def test_activations_and_norms():
    m = Model(28)
    x, y, scale = floats(BATCH, 4, 6), floats(BATCH, 4, 6), floats(4, 6)
    fed = m.feed(x)
    m.node("Swish", [fed], [Near(x * sigmoid(wide(x)))])
    m.node("Swish", [fed], [Near(x * sigmoid(0.5 * wide(x)))], alpha=0.5)
    m.node("SwiGLU", [fed, m.feed(y)], [Near(x * sigmoid(2 * wide(x)) * y)], alpha=2.0)
    for axis, axes in ((-1, 2), (1, (1, 2))):
        part = scale if axis == 1 else scale[0]
        rms = np.sqrt((wide(x) ** 2).mean(axes, keepdims=True) + 1e-3)
        m.node("RMSNormalization", [fed, m.const(part)], [Near(x / rms * part)], axis=axis, epsilon=1e-3)
    zero = x.copy()
    zero[1, 2] = 0
    for p, axis in itertools.product((1, 2), (1, -1)):
        norm = (np.abs(wide(zero)) ** p).sum(axis, keepdims=True) ** (1 / p)
        m.node("LpNormalization", [m.feed(zero)], [Near(zero / np.where(norm == 0, 1, norm))], p=p, axis=axis)
    m.check()


# ---------------------------------------------------------------- data that moves

def fold(x, image, block, strides, pads, dilations):
    """Col2Im by its definition."""
    n = len(image)
    full = [i + a + b for i, a, b in zip(image, pads[:n], pads[n:])]
    counts = [(f - (k - 1) * d - 1) // s + 1 for f, k, s, d in zip(full, block, strides, dilations)]
    x = wide(x).reshape(x.shape[0], -1, *block, *counts)
    y = np.zeros((*x.shape[:2], *full))
    for k in itertools.product(*map(range, block)):
        for b in itertools.product(*map(range, counts)):
            at = tuple(i * s + j * d for i, s, j, d in zip(b, strides, k, dilations))
            y[(slice(None), slice(None), *at)] += x[(slice(None), slice(None), *k, *b)]
    return y[(slice(None), slice(None), *(slice(p, p + i) for p, i in zip(pads, image)))]


def test_col2im():
    m = Model(18)
    for image, block, strides, pads, dilations in (
            ((5, 6), (3, 2), (1, 2), (1, 0, 1, 0), (1, 1)), ((6, 8), (3, 4), (3, 4), (0, 0, 0, 0), (1, 1)),
            ((7, 9), (2, 3), (2, 1), (0, 2, 1, 1), (2, 3)), ((5, 5), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
            ((3, 4, 5), (2, 2, 3), (1, 2, 1), (0,) * 6, (1, 1, 1))):
        n = len(image)
        counts = [(i + a + b - (k - 1) * d - 1) // s + 1
                  for i, a, b, k, s, d in zip(image, pads[:n], pads[n:], block, strides, dilations)]
        x = floats(BATCH, 2 * int(np.prod(block)), int(np.prod(counts)))
        m.node("Col2Im", [m.feed(x)] + m.consts(np.array(image), np.array(block)),
               [Near(fold(x, image, block, strides, pads, dilations))], strides=strides, pads=pads, dilations=dilations)
    m.check()


def deform(x, w, offset, mask, strides, pads, dilations, groups):
    """DeformConv by its definition, without groups of the weights."""
    N, C, rows, columns = x.shape
    KH, KW = w.shape[2:]
    OH, OW = offset.shape[2:]
    offset = wide(offset).reshape(N, groups, KH, KW, 2, OH, OW)
    mask = wide(mask).reshape(N, groups, KH, KW, OH, OW)
    y = np.zeros((N, len(w), OH, OW))

    def pixel(n, c, i, j):
        return wide(x[n, c, i, j]) if 0 <= i < rows and 0 <= j < columns else 0.0

    for n, i, j, kh, kw, c in itertools.product(range(N), range(OH), range(OW), range(KH), range(KW), range(C)):
        g = c // (C // groups)
        py = i * strides[0] - pads[0] + kh * dilations[0] + offset[n, g, kh, kw, 0, i, j]
        px = j * strides[1] - pads[1] + kw * dilations[1] + offset[n, g, kh, kw, 1, i, j]
        a, b = math.floor(py), math.floor(px)
        v = sum((1 - abs(py - p)) * (1 - abs(px - q)) * pixel(n, c, p, q) for p in (a, a + 1) for q in (b, b + 1))
        y[n, :, i, j] += wide(w[:, c, kh, kw]) * v * mask[n, g, kh, kw, i, j]
    return y


def test_deform_conv():
    m = Model(22)
    for strides, pads, dilations, groups in (((1, 1), (0, 0, 0, 0), (1, 1), 1), ((2, 1), (1, 2, 1, 0), (1, 2), 2)):
        x, w, b = floats(BATCH, 4, 6, 5), floats(3, 4, 2, 2), floats(3)
        OH = (6 + pads[0] + pads[2] - dilations[0] - 1) // strides[0] + 1
        OW = (5 + pads[1] + pads[3] - dilations[1] - 1) // strides[1] + 1
        offset = (floats(BATCH, groups * 8, OH, OW) * 1.5).astype(f32)
        mask = floats(BATCH, groups * 4, OH, OW)
        attrs = dict(strides=strides, pads=pads, dilations=dilations, offset_group=groups)
        plain = deform(x, w, offset, np.ones_like(mask), strides, pads, dilations, groups)
        m.node("DeformConv", [m.feed(x), m.const(w), m.feed(offset)], [Near(plain)], **attrs)
        masked = deform(x, w, offset, mask, strides, pads, dilations, groups) + b[:, None, None]
        m.node("DeformConv", [m.feed(x), m.const(w), m.feed(offset), m.const(b), m.feed(mask)], [Near(masked)], **attrs)
    m.check()


def test_moves():
    m = Model(28)
    x = floats(BATCH, 5, 8, 7)
    fed = m.feed(x)
    m.node("CenterCropPad", [fed, m.const(np.array([3, 10]))], [np.pad(x[:, :, 2:5], ((0, 0),) * 3 + ((1, 2),))], axes=[2, -1])
    m.node("CenterCropPad", [fed, m.const(np.array([4]))], [x[..., 1:5]], axes=[3])
    m.node("CenterCropPad", [m.feed(x, True), m.const(np.array([BATCH, 6, 8, 7]))], [np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))])
    blocks = x[..., :6].reshape(BATCH, 5, 4, 2, 3, 2)
    part = m.feed(x[..., :6].copy())
    m.node("SpaceToDepth", [part], [blocks.transpose(0, 1, 3, 5, 2, 4).reshape(BATCH, 20, 4, 3)], blocksize=2, mode="CRD")
    m.node("SpaceToDepth", [part], [blocks.transpose(0, 3, 5, 1, 2, 4).reshape(BATCH, 20, 4, 3)], blocksize=2)
    cache, update, first = floats(BATCH, 2, 6, 3), floats(BATCH, 2, 4, 3), np.array([0, 2, 1])
    for mode, first in (("linear", first), ("circular", first + 3), ("linear", None)):
        y = cache.copy()
        for b, i in itertools.product(range(BATCH), range(4)):
            y[b, :, ((first[b] if first is not None else 0) + i) % 6] = update[b, :, i]
        m.node("TensorScatter", [m.feed(cache), m.feed(update)] + ([] if first is None else [m.feed(first)]), [y], mode=mode)
    truth = rng.random((BATCH, 4, 5)) < 0.3
    m.node("ReduceMax", [m.feed(truth), m.const(np.array([1]))], [truth.max(1)], keepdims=0)
    m.node("ReduceMin", [m.feed(truth), m.const(np.array([-1]))], [truth.min(2)], keepdims=0)
    m.check()


def test_arithmetic():
    m = Model(28)
    x = floats(BATCH, 7, 2)
    whole = rng.integers(-3, 4, (BATCH, 7)).astype(np.int32)
    for a in (x, whole):
        for exclusive, reverse in itertools.product((0, 1), (0, 1)):
            y = wide(a)[:, ::-1] if reverse else wide(a)
            y = np.cumprod(y, 1)
            y = np.concatenate([np.ones_like(y[:, :1]), y[:, :-1]], 1) if exclusive else y
            y = y[:, ::-1] if reverse else y
            m.node("CumProd", [m.feed(a), m.const(np.array(1))], [y.astype(np.int32) if a is whole else Near(y)],
                   exclusive=exclusive, reverse=reverse)
    a, b = (floats(BATCH, 40) * 5).astype(f32), (floats(BATCH, 40) * 2).astype(f32)
    a[0, :5], b[0, :5] = [3, -3, 0, np.inf, 1], [np.inf, np.inf, -2, 2, 0]
    with np.errstate(invalid="ignore"):
        y = wide(np.fmod(a, b))
        y = np.where((y != 0) & ((y < 0) != (b < 0)), y + wide(b), y)
    m.node("Mod", [m.feed(a[:, 2:].copy()), m.feed(b[:, 2:].copy())], [Near(y[:, 2:])])
    m.node("Mod", [m.feed(a), m.feed(b)], [Infinite(y)])
    m.check()


class Infinite:
    """Floats, some of which are infinite."""

    def __init__(self, a):
        self.a, self.dtype = a, np.dtype(f32)

    def check(self, got):
        assert np.allclose(got, self.a, 1e-6, 1e-6, equal_nan=True), (got, self.a)


# ---------------------------------------------------------------- bits

F8 = {17: (3, 7, 448, 127), 18: (3, 8, 240, 128), 19: (2, 15, 57344, 127), 20: (2, 16, 57344, 128), 23: (1, 1, 6, None)}


def numbers_of(mantissa, bias, most):
    """All finite numbers >= 0 of the format, in order of their codes."""
    codes = np.arange(128)
    e, part = codes >> mantissa, (codes & (1 << mantissa) - 1) / (1 << mantissa)
    x = np.where(e > 0, (1 + part) * 2.0 ** (e - bias), part * 2.0 ** (1 - bias))
    return x[x <= most]


def nearest(x, values, most, beyond):
    """Halves to even codes; `beyond` where even the step behind the greatest is nearer."""
    step = np.append(values, 2 * values[-1] - values[-2])
    up = np.clip(np.searchsorted(step, np.abs(x)), 1, len(step) - 1)
    low, high = step[up - 1], step[up]
    far = np.abs(x) - low - (high - np.abs(x))
    take = (far > 0) | ((far == 0) & (up % 2 == 0))
    y = np.where(take, high, low)
    y = np.where((y > most) | (np.abs(x) > high), beyond, y)
    return np.where(np.isnan(x), np.nan, np.sign(x) * y)


def test_small_floats():
    m = Model(24)
    r = np.random.default_rng(3)
    x = (r.standard_normal(600) * 2.0 ** r.integers(-20, 20, 600)).astype(f32)
    for elem, (mantissa, bias, most, nan) in F8.items():
        values = numbers_of(mantissa, bias, most)
        halves = (values[1:] + values[:-1]) / 2
        a = np.concatenate([x, values, -halves, halves * (1 + 1e-6), halves * (1 - 1e-6), [most * 1.02, -most * 1.1, 1e30]])
        a = np.resize(a, (BATCH, 400)).astype(f32)
        m.node("Cast", [m.inner("Cast", [m.feed(a)], to=elem)], [Near(nearest(wide(a), values, most, most), 0)], to=1)
        if nan:
            lost = np.inf if elem == 19 else np.nan
            open_ended = m.inner("Cast", [m.feed(a)], to=elem, saturate=0)
            m.node("Cast", [open_ended], [Infinite(nearest(wide(a), values, most, lost))], to=1)
            special = np.array([[np.inf, -np.inf, np.nan]], f32).repeat(BATCH, 0)
            m.node("Cast", [m.inner("Cast", [m.feed(special)], to=elem)], [Infinite(special.clip(-most, most))], to=1)
            q = nearest(wide(a) / wide(f32(0.3)), values, most, most)
            few = m.inner("QuantizeLinear", [m.feed(a), m.const(f32(0.3))], output_dtype=elem)
            m.node("Cast", [few], [Near(q, 1e-6)], to=1)
    m.check()


def test_powers():
    """float8e8m0, powers of two alone."""
    m = Model(28)
    r = np.random.default_rng(4)
    x = (r.uniform(1, 2, 60) * 2.0 ** r.integers(-125, 127, 60)).astype(f32)
    x = np.resize(np.concatenate([x, [1, 2, 3, 1.5, 0.75, 2.0 ** -126]]), (BATCH, 24)).astype(f32)
    down = 2.0 ** np.floor(np.log2(wide(x)))
    for mode, y in (("up", np.where(x == down, down, 2 * down)), ("down", down), ("nearest", np.where(x >= 1.5 * down, 2 * down, down))):
        m.node("Cast", [m.inner("Cast", [m.feed(x)], to=24, round_mode=mode)], [Infinite(np.minimum(y, 2.0 ** 127))], to=1)
    special = np.array([[np.nan, np.inf, 3e38]], f32).repeat(BATCH, 0)
    want = np.array([[np.nan, 2.0 ** 127, 2.0 ** 127]]).repeat(BATCH, 0)
    m.node("Cast", [m.inner("Cast", [m.feed(special)], to=24)], [Infinite(want)], to=1)
    m.check()


def test_bits():
    m = Model(26)
    x, i, u = floats(BATCH, 5), rng.integers(-2 ** 31, 2 ** 31, (BATCH, 5)).astype(np.int32), rng.integers(0, 256, (BATCH, 6)).astype(np.uint8)
    i[0] = 1 << 30
    m.node("BitCast", [m.feed(x)], [x.view(np.int32)], to=6)
    m.node("BitCast", [m.feed(x)], [x.view(np.uint32)], to=12)
    m.node("BitCast", [m.feed(np.abs(i) >> 2)], [(np.abs(i) >> 2).view(f32)], to=1)
    m.node("BitCast", [m.feed(u)], [u.view(np.int8)], to=3)
    half = m.inner("Cast", [m.feed(x)], to=10)
    m.node("BitCast", [half], [x.astype(np.float16).view(np.int16)], to=5)
    m.check()


# ---------------------------------------------------------------- states

def test_states():
    m = Model(27)
    x, w, b, past = floats(BATCH, 4, 7), floats(4, 1, 3), floats(4), floats(BATCH, 4, 2)
    for before, operand in ((np.zeros_like(past), ""), (past, m.feed(past))):
        full = np.concatenate([before, x], 2).astype(np.float64)
        y = sum(full[:, :, i:i + 7] * w[:, 0, i:i + 1] for i in range(3)) + b[:, None]
        m.node("CausalConvWithState", [m.feed(x)] + m.consts(w, b) + [operand], [Near(y), Near(full[:, :, -2:])])
        m.node("CausalConvWithState", [m.feed(x)] + m.consts(w, b) + [operand], [Near(y * sigmoid(y))], activation="silu")
    K, G, V = 2, 2, 3
    q, k, v = floats(BATCH, S, K * G * D), floats(BATCH, S, K * D), floats(BATCH, S, K * V)
    decay, beta, state = -np.abs(floats(BATCH, S, K * D)), floats(BATCH, S, K), floats(BATCH, K, D, V)
    for rule, first in itertools.product(("linear", "gated", "delta", "gated_delta"), (None, state)):
        s = np.zeros((BATCH, K, D, V)) if first is None else wide(first)
        rows = []
        for t in range(S):
            key, value = wide(k[:, t]).reshape(BATCH, K, D), wide(v[:, t]).reshape(BATCH, K, V)
            if "gated" in rule:
                s = s * np.exp(wide(decay[:, t]).reshape(BATCH, K, D, 1))
            if "delta" in rule:
                value = (value - np.einsum("bkdv,bkd->bkv", s, key)) * wide(beta[:, t, :, None])
            s = s + key[..., None] * value[:, :, None]
            rows.append(np.einsum("bkgd,bkdv->bkgv", wide(q[:, t]).reshape(BATCH, K, G, D), s).reshape(BATCH, -1) / math.sqrt(D))
        m.node("LinearAttention", [m.feed(q), m.feed(k), m.feed(v), "" if first is None else m.feed(first),
                                   m.feed(decay) if "gated" in rule else "", m.feed(beta) if "delta" in rule else ""],
               [Near(np.stack(rows, 1)), Near(s)], update_rule=rule, q_num_heads=K * G, kv_num_heads=K)
    m.check()


def recur(op, x, w, r, b, h, c=None, peep=None, late=False, coupled=False, clip=None):
    """One direction of RNN, GRU or LSTM over x [T,N,I]: every h, then the last h and c."""
    size, rows = r.shape[1], []
    wb, rb = np.split(wide(b), 2)

    def gate(i, before=None, bias=True):
        part = slice(i * size, (i + 1) * size)
        y = wide(step) @ w[part].T + wb[part]
        y = y + (h if before is None else before) @ r[part].T + rb[part] if bias else y
        return y

    def f(function, y):
        return function(y if clip is None else np.clip(y, -clip, clip))

    for step in x:
        if op == "RNN":
            h = f(np.tanh, gate(0))
        elif op == "GRU":
            z, reset = f(sigmoid, gate(0)), f(sigmoid, gate(1))
            own = slice(2 * size, 3 * size)
            fresh = gate(2, bias=False) + reset * (h @ r[own].T + rb[own]) if late else gate(2, reset * h)
            h = (1 - z) * f(np.tanh, fresh) + z * h
        else:
            p = np.split(wide(peep), 3) if peep is not None else (0, 0, 0)
            i = f(sigmoid, gate(0) + p[0] * c)
            forget = 1 - i if coupled else f(sigmoid, gate(2) + p[2] * c)
            c = forget * c + i * f(np.tanh, gate(3))
            h = f(sigmoid, gate(1) + p[1] * c) * np.tanh(c)
        rows.append(h)
    return np.stack(rows), h, c


def test_recurrent():
    m = Model(22)
    I, size, gates = 3, 4, {"RNN": 1, "GRU": 3, "LSTM": 4}
    for op, direction, more in (("RNN", "forward", {}), ("RNN", "reverse", {}), ("GRU", "bidirectional", {}),
                                ("GRU", "forward", {"late": True}), ("GRU", "reverse", {"clip": 0.3}),
                                ("LSTM", "bidirectional", {}), ("LSTM", "forward", {"coupled": True, "clip": 0.5}),
                                ("LSTM", "reverse", {"peep": True})):
        dirs, G = 1 + (direction == "bidirectional"), gates[op] * size
        x, w, r, b = floats(BATCH, 6, I), floats(dirs, G, I), floats(dirs, G, size), floats(dirs, 2 * G)
        h, c, peep = floats(dirs, BATCH, size), floats(dirs, BATCH, size), floats(dirs, 3 * size)
        lstm = op == "LSTM"
        names = {"late": "linear_before_reset", "coupled": "input_forget", "clip": "clip"}
        attrs = {names[k]: v if k == "clip" else int(v) for k, v in more.items() if k in names}
        for first in (False, True):
            rows, last, cells = [], [], []
            for d in range(dirs):
                back = direction == "reverse" or d == 1
                given = {**more, "peep": peep[d]} if "peep" in more else more
                steps = wide(x).swapaxes(0, 1)[::-1 if back else 1]
                zero = np.zeros((BATCH, size))
                y = recur(op, steps, wide(w[d]), wide(r[d]), b[d], wide(h[d]) if first else zero, wide(c[d]) if first else zero, **given)
                rows.append(y[0][::-1 if back else 1])
                last.append(y[1])
                cells.append(y[2])
            out = [np.stack(rows, 1), np.stack(last)] + ([np.stack(cells)] if lstm else [])
            operands = m.consts(w, r, b) + [""]
            states = [h] + ([c] if lstm else [])
            peeps = ([] if lstm and first else ["", ""]) + [m.const(peep)] if "peep" in more else []
            layout = int(first)  # images first, then everywhere
            fed = [m.feed(s.swapaxes(0, 1).copy()) for s in states] if first else []
            out = [np.moveaxis(out[0], 2, 0)] + [s.swapaxes(0, 1) for s in out[1:]] if layout else out
            fed_x = m.feed(x) if layout else m.inner("Transpose", [m.feed(x)], perm=[1, 0, 2])
            m.node(op, [fed_x] + operands + fed + peeps, [Near(y) for y in out], hidden_size=size, direction=direction, layout=layout,
                   **attrs)
    m.check()


# ---------------------------------------------------------------- transforms

def pairs(x):
    return np.stack([x.real, x.imag], -1)


def test_fourier():
    m = Model(20)
    x, z = floats(BATCH, 5, 9, 1), floats(BATCH, 5, 9, 2)
    real, c = wide(x[..., 0]), z[..., 0] + 1j * wide(z[..., 1])
    for axis in (1, 2):
        at = m.const(np.array(axis))
        m.node("DFT", [m.feed(x), "", at], [Near(pairs(np.fft.fft(real, axis=axis)))])
        m.node("DFT", [m.feed(z), "", at], [Near(pairs(np.fft.fft(c, axis=axis)))])
        m.node("DFT", [m.feed(x), "", at], [Near(pairs(np.fft.rfft(real, axis=axis)))], onesided=1)
        m.node("DFT", [m.feed(z), "", at], [Near(pairs(np.fft.ifft(c, axis=axis)))], inverse=1)
        for n in (4, 12):
            m.node("DFT", [m.feed(z), m.const(np.array(n)), at], [Near(pairs(np.fft.fft(c, n, axis)))])
        for n in (None, 7):
            half = ["" if n is None else m.const(np.array(n)), at]
            m.node("DFT", [m.feed(z)] + half, [Near(np.fft.irfft(c, n, axis)[..., None])], inverse=1, onesided=1)
    m.check()
    m = Model(17)
    x, window = floats(BATCH, 20, 1), floats(6)
    frames = np.stack([wide(x[:, i:i + 6, 0]) for i in range(0, 15, 4)], 1)
    m.node("DFT", [m.feed(z)], [Near(pairs(np.fft.fft(c, axis=1)))])
    m.node("STFT", [m.feed(x)] + m.consts(np.array(4), window, np.array(6)), [Near(pairs(np.fft.rfft(frames * window)))])
    m.node("STFT", [m.feed(x)] + m.consts(np.array(4), "", np.array(6)), [Near(pairs(np.fft.fft(frames)))], onesided=0)
    m.check()


def test_max_unpool():
    """Values return to where a MaxPool took them from, whose windows may have left a rest: the output must be as large."""
    m = Model(17)
    for size in ((7,), (6,), (5, 7), (5, 4, 7)):
        x, axes = floats(BATCH, 3, *size), range(2, 2 + len(size))
        y = np.zeros_like(x)
        for at in np.ndindex(*(s // 2 for s in size)):
            window = (slice(None),) * 2 + tuple(slice(2 * i, 2 * i + 2) for i in at)
            y[window] = np.where(x[window] == x[window].max(tuple(axes), keepdims=True), x[window], 0)
        names = [f"{k}{len(m.nodes)}" for k in "pi"]
        window = dict(kernel_shape=[2] * len(size), strides=[2] * len(size))
        m.nodes.append(helper.make_node("MaxPool", [m.feed(x, True)], names, **window))
        m.node("MaxUnpool", names + [m.const(np.array(x.shape))], [y], **window)
    m.check()
    for shape in ([], [m.const(np.array((BATCH, 3, 8)))]):
        n = Model(17)
        n.constants = m.constants
        n.nodes.append(helper.make_node("MaxPool", [n.feed(floats(BATCH, 3, 7), True)], ["p", "i"], kernel_shape=[2], strides=[2]))
        n.node("MaxUnpool", ["p", "i"] + shape, [np.zeros(1, np.float32)], kernel_shape=[2], strides=[2])
        n.save(script.temp("m.onnx"))
        code, _, err = script.run(script.HONE, "compile", script.temp("m.onnx"), "-o", script.temp("m"))
        assert code == 1 and f"its indices count through the MaxPool's input f32[{BATCH},3,7]" in err, err


def test_affine_grid():
    m = Model(20)
    for size, align in itertools.product(((4, 5), (3, 4, 2), (1, 5), (3, 1, 2)), (0, 1)):
        d = len(size)
        theta = floats(BATCH, d, d + 1)
        lines = [np.linspace(-1, 1, s) if align and s > 1 else (2 * np.arange(s) + 1) / s - 1 for s in size]  # one pixel: 0
        at = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(size)], -1)
        m.node("AffineGrid", [m.feed(theta, True), m.const(np.array([BATCH, 3, *size]))],
               [Near(np.einsum("...k,nik->n...i", at, wide(theta)))], align_corners=align)
    m.check()


if __name__ == "__main__":
    script.main(sys.modules[__name__])
