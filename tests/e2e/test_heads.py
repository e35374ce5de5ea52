"""hone finetune of networks whose scores come from several classifiers, or that do more behind one than an activation: every
classifier is made anew for the new classes, all train (the numbers are counted by hand), the tuned file says what the program says.
What cannot be replaced is refused with its reason.
"""
import os
import re
import sys

import onnx
from onnx import TensorProto

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import numpy as np
from PIL import Image

import tuned
from script import HONE, TEMP, main, ok, run, temp
from tuned_models import FEATURES, OLD, SIZE, Net

NEW = 3
BODY = FEATURES * 3 * 9 + FEATURES  # numbers in front of the classifiers
FC = NEW * FEATURES + NEW


def classifier(n, f, name, **more):
    return n.gemm(f, f"{name}.weight", f"{name}.bias", name=name, **more)


def features(n):
    """Two vectors for an image: [N,8] by the mean and by the largest."""
    f = n.features()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    return f, n.node("Flatten", [n.node("GlobalMaxPool", [maps])])


def two(n):
    f, g = features(n)
    return [classifier(n, f, "head"), classifier(n, g, "head_dist")]


# ---- name -> function of a Net: its output, and how many numbers train behind BODY

def averaged(n):
    n.node("Div", [n.node("Add", two(n)), n.init("two", 2.0)], "y")
    return 2 * FC


def averaged_by_mul(n):
    n.node("Mul", [n.init("half", 0.5), n.node("Add", two(n))], "y")
    return 2 * FC


def mean(n):
    n.node("Mean", two(n), "y")
    return 2 * FC


def summed(n):
    f, g = features(n)
    n.node("Sum", [classifier(n, f, "a"), classifier(n, g, "b"), classifier(n, g, "c")], "y")
    return 3 * FC


def largest(n):
    n.node("Max", two(n), "y")
    return 2 * FC


def difference(n):
    n.node("Sub", two(n), "y")
    return 2 * FC


def averaged_then_softmax(n):
    n.node("Softmax", [n.node("Mean", two(n))], "y", axis=1)
    return 2 * FC


def stack(n, axis, back=None):
    rows = [n.node("Unsqueeze", [h, n.ints(f"axis{i}", axis)]) for i, h in enumerate(two(n))]
    return n.node("ReduceMean", [n.node("Concat", rows, axis=axis)], "y", axes=[axis], keepdims=0)


def stacked_in_front(n):
    stack(n, 0)
    return 2 * FC


def stacked_behind(n):
    stack(n, 1)
    return 2 * FC


def stacked_last(n):
    stack(n, -1)
    return 2 * FC


def side_by_side_then_mean(n):
    rows = n.node("Reshape", [n.node("Concat", two(n), axis=1), n.ints("rows", 0, 2, OLD)])
    n.node("ReduceMean", [rows], "y", axes=[1], keepdims=0)
    return 2 * FC


def products_and_sums(n):
    f, g = features(n)
    a = n.node("Add", [n.node("MatMul", [f, n.weight("wa", FEATURES, OLD)]), n.weight("ba", OLD)])
    b = n.node("Add", [n.node("MatMul", [g, n.weight("wb", FEATURES, OLD)]), n.weight("bb", OLD)])
    n.node("Div", [n.node("Add", [a, b]), n.init("two", 2.0)], "y")
    return 2 * FC


def one_bias_for_both(n):
    f, g = features(n)
    a, b = (n.node("MatMul", [x, n.weight(w, FEATURES, OLD)]) for x, w in ((f, "wa"), (g, "wb")))
    n.node("Add", [n.node("Add", [a, b]), n.weight("bias", OLD)], "y")
    return 2 * NEW * FEATURES + NEW


def merged_biases(n):  # equal ones, which exporters store once
    f, g = features(n)
    n.init("bias", np.zeros(OLD))
    a, b = (n.node("Gemm", [x, n.weight(w, OLD, FEATURES), "bias"], name=w, transB=1) for x, w in ((f, "wa"), (g, "wb")))
    n.node("Add", [a, b], "y")
    return 2 * FC


def one_layer_twice(n):
    f, g = features(n)
    n.weight("w", OLD, FEATURES), n.weight("b", OLD)
    n.node("Mean", [n.node("Gemm", [x, "w", "b"], transB=1, name=f"at{i}") for i, x in enumerate((f, g))], "y")
    return FC


def vector_and_map(n):  # a Gemm and a convolution
    f, _ = features(n)
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    c = n.node("Conv", [maps, n.weight("c.weight", OLD, FEATURES, 1, 1), n.weight("c.bias", OLD)])
    c = n.node("Flatten", [n.node("GlobalAveragePool", [c])])
    n.node("Add", [classifier(n, f, "head"), c], "y")
    return 2 * FC


def norm(n, x, output=None):
    names = [n.weight("bn.weight", OLD), n.weight("bn.bias", OLD), n.init("bn.mean", np.full(OLD, 0.1)), n.init("bn.var", np.full(OLD, 2))]
    return n.node("BatchNormalization", [x, *names], output)


def normalized(n):
    norm(n, classifier(n, n.features(), "fc"), "y")
    return FC + 2 * NEW


def normalized_maps(n):
    n.pool()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    c = norm(n, n.node("Conv", [maps, n.weight("c.weight", OLD, FEATURES, 1, 1)]))
    n.node("Flatten", [n.node("GlobalAveragePool", [n.node("Relu", [c])])], "y")
    return NEW * FEATURES + 2 * NEW


def gain(n):
    n.node("Mul", [classifier(n, n.features(), "fc"), n.weight("gain", OLD)], "y")
    return FC + NEW


def resized(n):
    n.pool()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    c = n.node("Conv", [maps, n.weight("c.weight", OLD, FEATURES, 1, 1), n.weight("c.bias", OLD)])
    r = n.node("Resize", [c, "", n.init("scales", [1, 1, 2, 2])], mode="linear")
    n.node("Flatten", [n.node("GlobalAveragePool", [r])], "y")
    return FC


def resized_to_sizes(n):
    n.pool()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    c = n.node("Conv", [maps, n.weight("c.weight", OLD, FEATURES, 1, 1), n.weight("c.bias", OLD)])
    size = n.node("Concat", [n.node("Slice", [n.node("Shape", [c]), n.ints("from", 0), n.ints("to", 2)]), n.ints("hw", SIZE, SIZE)], axis=0)
    r = n.node("Resize", [c, "", "", size], mode="linear")
    n.node("Flatten", [n.node("GlobalAveragePool", [r])], "y")
    return FC


def resized_to_constant(n):
    n.batch = 1
    n.pool()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    c = n.node("Conv", [maps, n.weight("c.weight", OLD, FEATURES, 1, 1), n.weight("c.bias", OLD)])
    r = n.node("Resize", [c, "", "", n.ints("size", 1, OLD, SIZE, SIZE)], mode="linear")
    n.node("Flatten", [n.node("GlobalAveragePool", [r])], "y")
    return FC


def softmaxes(n):
    return [n.node("Softmax", [h], axis=axis) for h, axis in zip(two(n), (1, -1))]


def mean_of_softmaxes(n):
    n.node("Mean", softmaxes(n), "y")
    return 2 * FC


def weighted(n, p=0.3, q=0.7):
    a, b = softmaxes(n)
    n.node("Add", [n.node("Mul", [a, n.init("p", p)]), n.node("Mul", [n.init("q", q), b])], "y")
    return 2 * FC


def sum_of_softmaxes(n):  # numbers up to 2, which the file's softmax reads as logits
    n.node("Add", softmaxes(n), "y")
    return 2 * FC


def stacked_softmaxes(n):
    rows = n.node("Reshape", [n.node("Concat", softmaxes(n), axis=1), n.ints("rows", 0, 2, OLD)])
    n.node("ReduceMean", [rows], "y", axes=[1], keepdims=0)
    return 2 * FC


def spelled_softmaxes(n):
    e = [n.node("Exp", [h]) for h in two(n)]
    n.ints("classes", 1)
    n.node("Mean", [n.node("Div", [x, n.node("ReduceSum", [x, "classes"], keepdims=1)]) for x in e], "y")
    return 2 * FC


def largest_made_shares(n):
    m = n.node("Max", softmaxes(n))
    n.node("Div", [m, n.node("ReduceSum", [m, n.ints("classes", 1)], keepdims=1)], "y")
    return 2 * FC


def softmax_then_mean(n):
    n.pool()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    c = n.node("Conv", [maps, n.weight("c.weight", OLD, FEATURES, 1, 1), n.weight("c.bias", OLD)])
    n.node("ReduceMean", [n.node("Softmax", [c], axis=1)], "y", axes=[2, 3], keepdims=0)
    return FC


def mean_of_log_softmaxes(n):
    n.node("Mean", [n.node("LogSoftmax", [h], axis=1) for h in two(n)], "y")
    return 2 * FC


def weight_on_the_left(n):
    f = n.node("Transpose", [n.features()], perm=[1, 0])
    y = n.node("Add", [n.node("MatMul", [n.weight("w", OLD, FEATURES), f], name="fc"), n.weight("b", OLD, 1)])
    n.node("Transpose", [y], "y", perm=[1, 0])
    return FC


def tokens(n):
    """Scores of every pixel of the last map: [N,64,OLD]."""
    n.pool()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    rows = n.node("Transpose", [n.node("Reshape", [maps, n.ints("rows_of", 0, FEATURES, -1)])], perm=[0, 2, 1])
    return n.node("Add", [n.node("MatMul", [rows, n.weight("w", FEATURES, OLD)], name="fc"), n.weight("b", OLD)])


def first_token(n):
    n.node("Gather", [tokens(n), n.init("at", 0, TensorProto.INT64)], "y", axis=1)
    return FC


def last_token(n):
    row = n.node("Slice", [tokens(n), n.ints("from", -1), n.ints("to", 2**31), n.ints("axis", 1)])
    n.node("Squeeze", [row, "axis"], "y")
    return FC


def softmax_of_a_token(n):
    n.node("Gather", [n.node("Softmax", [tokens(n)], axis=-1), n.init("at", 3, TensorProto.INT64)], "y", axis=1)
    return FC


def mean_of_some_tokens(n):
    some = n.node("Gather", [tokens(n), n.ints("some", 1, 5, 60)], axis=1)
    n.node("ReduceMean", [some], "y", axes=[1], keepdims=0)
    return FC


def token_of_two(n):  # one of each classifier's
    a = n.node("Gather", [tokens(n), n.init("at", 0, TensorProto.INT64)], axis=1)
    n.node("Mean", [a, classifier(n, n.node("Flatten", [n.node("GlobalMaxPool", [n.nodes[1].output[0]])]), "head")], "y")
    return 2 * FC


TRAIN = [averaged, averaged_by_mul, mean, summed, largest, difference, averaged_then_softmax, stacked_in_front, stacked_behind,
         stacked_last, side_by_side_then_mean, products_and_sums, one_bias_for_both, merged_biases, one_layer_twice,
         vector_and_map, normalized, normalized_maps, gain, resized, resized_to_sizes,
         resized_to_constant, mean_of_softmaxes, weighted, sum_of_softmaxes, stacked_softmaxes, spelled_softmaxes,
         largest_made_shares, softmax_then_mean, mean_of_log_softmaxes, weight_on_the_left, first_token, last_token,
         softmax_of_a_token, mean_of_some_tokens, token_of_two]


# ---- what is refused

def unequal(n):
    f, g = features(n)
    n.node("Add", [classifier(n, f, "a"), classifier(n, g, "b", classes=1)], "y")
    return "the output is made of 5 numbers of 'a' and 1 of this node"


def side_by_side(n):
    n.node("Concat", two(n), "y", axis=1)
    return "the scores of 'head' and of 'head_dist' stand side by side in the output 'y'"


def residual(n):  # no classifier at all
    a = n.gemm(n.features(), "a.weight", "a.bias", classes=FEATURES)
    b = n.gemm(n.node("Relu", [a]), "b.weight", "b.bias", classes=FEATURES)
    n.node("Add", [a, b], "y")
    return "it joins values that are all computed"


def gated(n):  # by what the scores themselves say
    a = n.gemm(n.features(), "a.weight", "a.bias")
    n.node("Mul", [a, n.node("Sigmoid", [n.gemm(a, "g.weight", "g.bias", width=OLD)])], "y")
    return "it joins values that are all computed"


def not_shares(op):
    return f"({op}): the output 'y' has numbers between 0 and 1 that, from this node on, need not add up to 1 over the classes"


def product_of_softmaxes(n):
    n.node("Mul", softmaxes(n), "y")
    return not_shares("Mul")


def largest_softmax(n):
    n.node("Max", softmaxes(n), "y")
    return not_shares("Max")


def least_softmax(n):
    n.node("Min", softmaxes(n), "y")
    return not_shares("Min")


def geometric_mean(n):
    n.node("Sqrt", [n.node("Mul", softmaxes(n))], "y")
    return not_shares("Mul")


def largest_of_stacked(n):
    rows = n.node("Reshape", [n.node("Concat", softmaxes(n), axis=1), n.ints("rows", 0, 2, OLD)])
    n.node("ReduceMax", [rows], "y", axes=[1], keepdims=0)
    return not_shares("ReduceMax")


def largest_over_pixels(n):
    n.pool()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Relu")
    c = n.node("Conv", [maps, n.weight("c.weight", OLD, FEATURES, 1, 1), n.weight("c.bias", OLD)])
    n.node("ReduceMax", [n.node("Softmax", [c], axis=1)], "y", axes=[2, 3], keepdims=0)
    return not_shares("ReduceMax")


def weights_below_one(n):
    weighted(n, 0.3, 0.3)
    return not_shares("Add")


def half_a_softmax(n):
    n.node("Mul", [n.node("Softmax", [classifier(n, n.features(), "fc")], axis=1), n.init("half", 0.5)], "y")
    return not_shares("Mul")


def one_minus_softmax(n):
    n.node("Sub", [n.init("one", 1.0), n.node("Softmax", [classifier(n, n.features(), "fc")], axis=1)], "y")
    return not_shares("Sub")


def some_classes(n):
    n.node("Slice", [classifier(n, n.features(), "fc"), n.ints("from", 1), n.ints("to", 4), n.ints("axis", 1)], "y")
    return "NYI: this operator between a classifier and the output"


def classes_in_another_order(n):
    n.node("Gather", [classifier(n, n.features(), "fc"), n.ints("order", *reversed(range(OLD)))], "y", axis=1)
    return "NYI: this operator between a classifier and the output"


def clipped_logits(n):
    n.node("Clip", [classifier(n, n.features(), "fc"), n.init("lo", 0.0), n.init("hi", 1.0)], "y")
    return not_shares("Clip")


EACH = "classes that exclude each other are trained, this node makes a number of each class by itself"


def mean_of_sigmoids(n):
    n.node("Mean", [n.node("Sigmoid", [h]) for h in two(n)], "y")
    return EACH


def product_of_sigmoids(n):
    n.node("Mul", [n.node("Sigmoid", [h]) for h in two(n)], "y")
    return EACH


def half_a_sigmoid(n):
    n.node("Mul", [n.node("Sigmoid", [classifier(n, n.features(), "fc")]), n.init("half", 0.5)], "y")
    return EACH


def hard_sigmoid(n):
    n.node("HardSigmoid", [classifier(n, n.features(), "fc")], "y")
    return EACH


REFUSED = [unequal, side_by_side, some_classes, classes_in_another_order, residual, gated, product_of_softmaxes, largest_softmax, least_softmax, geometric_mean,
           largest_of_stacked, largest_over_pixels, weights_below_one, half_a_softmax, one_minus_softmax, clipped_logits,
           mean_of_sigmoids, product_of_sigmoids, half_a_sigmoid, hard_sigmoid]


def save(make):
    n = Net()
    expect = make(n)
    n.out("y", ("N", None))
    path = temp(make.__name__ + ".onnx")
    onnx.save(n.model(), path)
    return path, expect


def pictures():
    folder, rng = temp("data"), np.random.default_rng(0)
    for i in range(12):
        os.makedirs(os.path.join(folder, "abc"[i % 3]), exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8)).save(os.path.join(folder, "abc"[i % 3], f"{i}.png"))
    return folder


def check(make):
    path, count = save(make)
    program, out = temp(make.__name__), temp(make.__name__ + "-tuned.onnx")
    for freeze, want in (("none", BODY + count), ("head", count)):
        code, said, err = run(HONE, "finetune", path, "-o", program, "--classes", NEW, "--freeze", freeze, "--resize", SIZE)
        assert code == 0, err
        trains = int(re.search(r"^\w+: ([\d,]+) parameters? train", said, re.M)[1].replace(",", ""))
        assert trains == want, f"--freeze {freeze}: {trains} train, not {want}\n{said}"
    ok(program, "train", temp("data"), "--epochs", 2, "--batch", 4, "--lr", 0.05, "-q", "-o", out, cwd=TEMP)
    tuned.check_agrees(program, out, [os.path.join(temp("data"), p) for p in ("a/0.png", "b/1.png", "c/2.png")], cwd=TEMP)
    again = temp("again")
    ok(HONE, "finetune", out, "-o", again, "--classes", 4)  # what was trained can be trained


def test_they_train():
    pictures()
    for make in TRAIN:
        try:
            check(make)
        except AssertionError as e:
            raise AssertionError(f"{make.__name__}: {e}") from e


def test_refused():
    for make in REFUSED:
        path, why = save(make)
        code, out, err = run(HONE, "finetune", path, "-o", temp("no"), "--classes", NEW)
        assert code == 1 and why in err and err.count("\n") == 1, f"{make.__name__}: {code} {err}"
        assert not os.path.exists(temp("no"))
        code, out, err = run(HONE, "inspect", path, "--finetune", "--classes", NEW)
        assert code == 1 and why in out, f"inspect of {make.__name__}: {code} {out} {err}"


def test_labels_of_joined_probabilities():
    path, _ = save(mean_of_softmaxes)
    code, _, err = run(HONE, "finetune", path, "-o", temp("no"), "--classes", NEW, "--multi-label")
    assert code == 1 and "joins probabilities" in err, err
    path, _ = save(mean_of_sigmoids)
    code, _, err = run(HONE, "finetune", path, "-o", temp("no"), "--classes", NEW, "--multi-label")
    assert code == 1 and not_shares("Mean") in err, err


def test_either_is_the_head():
    path, _ = save(averaged)
    for head in ("head", "head_dist"):
        ok(HONE, "finetune", path, "-o", temp("named"), "--classes", NEW, "--head", head)
    code, _, err = run(HONE, "finetune", path, "-o", temp("no"), "--classes", NEW, "--head", "Conv_1")
    assert code == 1 and "'head'" in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
