"""detect and segment on networks that see red, green and blue squares: boxes in the picture's own pixels, names, JSON, what is drawn,
what info says, and what is refused.
"""
import json
import os
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import script  # noqa: E402
from bounded_models import const, node  # noqa: E402
from script import HONE, TEMP, ok, run, temp  # noqa: E402

SIZE, CELL = 32, 8  # of the networks' input; what they look at is a grid of such cells
GRID = SIZE // CELL
CORNERS = [[x * CELL, y * CELL, (x + 1) * CELL, (y + 1) * CELL] for y in range(GRID) for x in range(GRID)]
WIDE, HIGH = 96, 64  # of the picture
SQUARES = {(0, 0): (250, 0, 0), (2, 1): (0, 200, 0), (3, 3): (0, 0, 250)}  # cell: colour


def picture(name="p.png"):
    a = np.zeros((HIGH, WIDE, 3), np.uint8)
    w, h = WIDE // GRID, HIGH // GRID
    for (x, y), rgb in SQUARES.items():
        a[y * h:(y + 1) * h, x * w:(x + 1) * w] = rgb
    Image.fromarray(a).save(temp(name))
    return a


def save(name, nodes, outs, consts, rank=4, meta=(), size=SIZE, last=False):
    shape = [1, size, size, 3] if last else [1, 3, size, size][4 - rank:]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, name, [info("image", TensorProto.FLOAT, shape)],
                              [info(o, t, None) for o, t in outs], consts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    for k, v in meta:
        model.metadata_props.add(key=k, value=v)
    onnx.save(model, temp(f"{name}.onnx"))


# Of each cell the brightest channel and how bright it is.
LOOK = [node("AveragePool", "image", "cells", kernel_shape=[CELL, CELL], strides=[CELL, CELL]), node("Reshape", "cells three", "c"),
        node("ReduceMax", "c", "best", axes=[0], keepdims=0), node("ArgMax", "c", "which", axis=0, keepdims=0)]
CONSTS = [const("three", [3, -1]), const("least", 0.3), const("first", [0]), const("both", [0, 1]), const("most", [9]), const("iou", [0.5]),
          const("two", 2), const("one", 1)]


def torchvision_like(name, rank=4, scale=1.0, meta=()):
    nodes = [node("Unsqueeze", "image first", "batch")] if rank == 3 else [node("Identity", "image", "batch")]
    look = [helper.make_node("AveragePool", ["batch"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL])] + LOOK[1:]
    nodes += look + [
        node("Greater", "best least", "g"), node("NonZero", "g", "at"), node("Squeeze", "at first", "flat"), node("Gather", "grid flat", "b"),
        node("Gather", "best flat", "s"), node("Unsqueeze", "b first", "b3"), node("Unsqueeze", "s both", "s3"),
        node("NonMaxSuppression", "b3 s3 most iou", "z"), node("Gather", "z two", "kept", axis=1), node("Gather", "b kept", "boxes"),
        node("Gather", "s kept", "scores"), node("Gather", "which flat", "w"), node("Gather", "w kept", "w2"), node("Add", "w2 one", "labels")]
    grid = np.array(CORNERS, np.float32) * scale
    save(name, nodes, [("boxes", TensorProto.FLOAT), ("labels", TensorProto.INT64), ("scores", TensorProto.FLOAT)],
         CONSTS + [const("grid", grid)], rank, meta)


def found(program, *options):
    rows = [json.loads(line) for line in ok(program, "detect", "--json", *options, "p.png").splitlines()]
    return rows[0]["objects"]


def check_objects(objects):
    """The squares, the brightest first."""
    w, h = WIDE / GRID, HIGH / GRID
    want = sorted(((max(rgb) / 255, int(np.argmax(rgb)), (x * w, y * h, (x + 1) * w, (y + 1) * h)) for (x, y), rgb in SQUARES.items()),
                  key=lambda o: -o[0])
    assert len(objects) == 3, objects
    assert {o["class"] for o in objects} == {1, 2, 3}, objects
    for _, channel, box in want:
        o = next(o for o in objects if o["class"] == channel + 1)
        assert np.allclose(o["box"], box, atol=1e-3), (o, box)
        assert abs(o["score"] - max(max(c) for c in SQUARES.values() if np.argmax(c) == channel) / 255) < 0.05, o


def test_boxes_scores_labels():
    picture()
    for name, rank, scale in (("pixels", 4, 1.0), ("single", 3, 1.0), ("shares", 4, 1 / SIZE)):
        torchvision_like(name, rank, scale)
        ok(HONE, "compile", f"{name}.onnx", "-o", name)
        check_objects(found(temp(name)))
        assert len(found(temp(name), "--threshold", "0.9")) == 2
    assert "detects    objects: boxes 'boxes', scores 'scores', classes 'labels'" in ok(temp("pixels"), "info")
    assert json.loads(ok(temp("pixels"), "info", "--json"))["task"] == "detect"
    assert ok(temp("pixels"), "p.png") == ok(temp("pixels"), "detect", "p.png")


def test_nothing_found():
    Image.new("RGB", (10, 20)).save(temp("black.png"))
    assert ok(temp("pixels"), "detect", "black.png") == "black.png\n"
    assert json.loads(ok(temp("pixels"), "detect", "--json", "black.png"))["objects"] == []


def test_names():
    with open(temp("names.txt"), "w") as f:
        f.write("nothing\nred\ngreen\nblue\n")
    text = ok(temp("pixels"), "detect", "p.png", "--labels", "names.txt")
    assert "red" in text and "0,0 to 24,16" in text, text
    ok(HONE, "compile", "pixels.onnx", "-o", "named", "--labels", "names.txt")
    assert {o["label"] for o in found(temp("named"))} == {"red", "green", "blue"}


def test_drawing():
    before = picture()
    ok(temp("named"), "detect", "p.png", "--draw", "out.png")
    after = np.asarray(Image.open(temp("out.png")))
    assert after.shape == before.shape
    w, h = WIDE // GRID, HIGH // GRID
    for (x, y), rgb in SQUARES.items():
        edge = after[(y + 1) * h - 1, x * w:(x + 1) * w]
        assert len({tuple(p) for p in edge[2:-2]}) == 1 and tuple(edge[5]) != rgb, (x, y, edge)
    assert (after[30:34, 2:20] == before[30:34, 2:20]).all()  # nothing is drawn there
    code, _, err = run(temp("named"), "detect", "p.png", "p.png", "--draw", "two.png")
    assert code == 1 and "--draw FILE takes one picture, not 2; " in err and not os.path.exists(temp("two.png"))
    code, _, err = run(temp("named"), "detect", "p.png", "--draw", "p.png")
    assert code == 1 and len(err.splitlines()) == 1 and (np.asarray(Image.open(temp("p.png"))) == before).all(), err
    code, _, err = run(temp("named"), "detect", "names.txt", "--draw", "none.png")
    assert code == 1 and not os.path.exists(temp("none.png")), err


def test_rows_of_six():
    """As YOLO's exports end: x, y, x, y, score, class, always as many."""
    nodes = LOOK + [node("TopK", "best most", "scores at"), node("Gather", "grid at", "b"), node("Gather", "which at", "w"),
                    node("Cast", "w", "wf", to=1), node("Unsqueeze", "scores last", "s2"), node("Unsqueeze", "wf last", "w2"),
                    node("Concat", "b s2 w2", "rows", axis=1), node("Unsqueeze", "rows first", "output0")]
    save("yolo", nodes, [("output0", TensorProto.FLOAT)], CONSTS + [const("grid", np.array(CORNERS, np.float32)), const("last", [1])],
         meta=[("names", "{0: 'red', 1: 'green', 2: 'blue'}")])
    ok(HONE, "compile", "yolo.onnx", "-o", "yolo")
    objects = found(temp("yolo"), "--threshold", "0.3")
    assert [o["label"] for o in objects][-1] == "green" and len(objects) == 3, objects
    check_objects([dict(o, **{"class": o["class"] + 1}) for o in objects])


def chosen_rows(name, boxes, more=(), parts="b s2 w2", nodes=(), outs=(), task="detect", meta=()):
    """Rows of the four brightest cells: boxes, scores, classes and what stands behind them."""
    rows = LOOK + [node("TopK", "best some", "scores at"), node("Gather", "b_all at", "b"), node("Gather", "which at", "w"), node("Cast", "w", "wf", to=1),
                   node("Unsqueeze", "scores last", "s2"), node("Unsqueeze", "wf last", "w2"), *nodes,
                   node("Concat", parts, "rows", axis=1), node("Unsqueeze", "rows first", "output0")]
    consts = CONSTS + [const("b_all", boxes), const("last", [1]), const("some", [4]), *more]
    save(name, rows, [("output0", TensorProto.FLOAT), *outs], consts, meta=[("task", task), *ULTRALYTICS[1:], *meta])
    ok(HONE, "compile", f"{name}.onnx", "-o", name)
    return temp(name)


def test_rows_with_more():
    """As Ultralytics' poses and shapes end: points, or a shape's numbers, behind score and class. Turned boxes are none of pictures'."""
    picture()
    grid = np.array(CORNERS, np.float32)
    points = np.concatenate([(grid[:, :2] + grid[:, 2:]) / 2, np.full((16, 1), 0.9), grid[:, 2:], np.full((16, 1), 0.1)], axis=1)
    program = chosen_rows("posed", grid, [const("points", points)], "b s2 w2 p", [node("Gather", "points at", "p")], task="pose",
                          meta=[("kpt_shape", "[2, 3]")])
    objects = found(program, "--fit", "stretch")
    check_objects([dict(o, **{"class": o["class"] + 1}) for o in objects])
    for o in objects:
        a, b, c, d = o["box"]
        assert np.allclose(o["keypoints"], [[(a + c) / 2, (b + d) / 2, 0.9], [c, d, 0.1]], atol=1e-3), o
    shapes = [node("Gather", "numbers at", "p"), node("AveragePool", "image", "quarter", kernel_shape=[4, 4], strides=[4, 4]), node("Conv", "quarter k", "output1")]
    program = chosen_rows("shaped", grid, [const("numbers", np.full((16, 5), 7.0)), const("k", np.ones((5, 3, 1, 1)))], "b s2 w2 p", shapes,
                          [("output1", TensorProto.FLOAT)], "segment")
    check_objects([dict(o, **{"class": o["class"] + 1}) for o in found(program, "--fit", "stretch")])
    turned = chosen_rows("turned", grid, [const("angle", np.full((16, 1), 0.3))], "b s2 w2 p", [node("Gather", "angle at", "p")], task="obb")
    code, _, err = run(turned, "detect", "p.png")
    assert code == 1 and len(err.splitlines()) == 1, err


def test_rows_of_middles():
    """As RT-DETR ends: middle and size as shares of the picture, which is stretched, score, class."""
    picture()
    shares = BOXES[:16] / SIZE
    logits = np.log(shares / (1 - shares))
    program = chosen_rows("middles", logits, parts="share s2 w2", nodes=[node("Sigmoid", "b", "share")])
    info = ok(program, "info")
    both = [node("Sigmoid", "s2", "sure"), node("Concat", "b sure", "bs", axis=1), node("Slice", "bs first four last", "corners")]
    ended = chosen_rows("ended", np.array(CORNERS, np.float32), [const("four", [4])], "corners s2 w2", both)  # YOLO's, beside what a sigmoid made
    assert "letterbox" in ok(ended, "info")
    check_objects([dict(o, **{"class": o["class"] + 1}) for o in found(ended, "--fit", "stretch")])
    assert "letterbox" not in info and "resize to 32x32" in info and "scale 1/255" in info, info
    check_objects([dict(o, **{"class": o["class"] + 1}) for o in found(program)])


def test_rows_of_seven():
    """As YOLO 7's exports end: image, x, y, x, y, class, score, as many as there are."""
    picture()
    torchvision_like("sevens")
    model = onnx.load(temp("sevens.onnx"))
    consts = [const("zero", [[0.0]]), const("last", [1])]
    nodes = list(model.graph.node) + [
        node("Sub", "labels one", "l0"), node("Cast", "l0", "lf", to=1), node("Unsqueeze", "lf last", "l2"), node("Unsqueeze", "scores last", "s2"),
        node("Mul", "s2 zero", "image0"), node("Concat", "image0 boxes l2 s2", "output", axis=1)]
    save("sevens", nodes, [("output", TensorProto.FLOAT)], list(model.graph.initializer) + consts)
    ok(HONE, "compile", "sevens.onnx", "-o", "sevens")
    check_objects([dict(o, **{"class": o["class"] + 1}) for o in found(temp("sevens"))])
    assert "rows of output 'output'" in ok(temp("sevens"), "info")


# A YOLO without its end: of each cell of 8, 16 and 32 pixels a box and its scores, here the cells' own colours; the five of the coarse grids are copies
# of the first five fine ones, moved a pixel and less sure.
PLACES = 21
BOXES = np.array([((a + c) / 2, (b + d) / 2, c - a, d - b) for a, b, c, d in CORNERS] +
                 [((a + c) / 2 + 0.5, (b + d) / 2, c - a, d - b) for a, b, c, d in CORNERS[:5]], np.float32)
ULTRALYTICS = [("task", "detect"), ("stride", "32"), ("imgsz", "[32, 32]"), ("names", "{0: 'red', 1: 'green', 2: 'blue'}")]


def yolo(name, rows=False, coefficients=0, meta=()):
    consts = CONSTS + [const("boxes", BOXES.T[None]), const("copied", list(range(16)) + list(range(5))), const("less", [1.0] * 16 + [0.95] * 5),
                       const("more", np.full((1, max(coefficients, 1), PLACES), 9.0, np.float32)), const("sure", np.ones((1, 1, PLACES)))]
    nodes = LOOK[:2] + [node("Gather", "c copied", "cc", axis=1), node("Mul", "cc less", "s"), node("Unsqueeze", "s first", "scores")]
    parts = "boxes " + ("sure " if rows else "") + "scores" + (" more" if coefficients else "")
    nodes += [node("Concat", parts, "columns", axis=1)]
    outs = [("output0", TensorProto.FLOAT)]
    if rows:  # three boxes a cell, of which two see nothing
        consts += [const("none", np.zeros((1, 8, 2 * PLACES), np.float32))]
        nodes += [node("Concat", "columns none", "all", axis=2), node("Transpose", "all", "output0", perm=[0, 2, 1])]
    else:
        nodes += [node("Identity", "columns", "output0")]
    if coefficients:
        consts += [const("w", np.ones((coefficients, 3, 1, 1)))]
        nodes += [node("AveragePool", "image", "quarter", kernel_shape=[4, 4], strides=[4, 4]), node("Conv", "quarter w", "output1")]
        outs += [("output1", TensorProto.FLOAT)]
    save(name, nodes, outs, consts, meta=meta)
    ok(HONE, "compile", f"{name}.onnx", "-o", name)
    return temp(name)


def test_yolo_without_its_end():
    picture()
    for name, options in (("columns", {}), ("rows", {"rows": True}), ("masks", {"coefficients": 32})):
        program = yolo("yolo_" + name, **options)
        objects = found(program)
        check_objects([dict(o, **{"class": o["class"] + 1}) for o in objects])
        assert [o["score"] for o in objects] == sorted((o["score"] for o in objects), reverse=True), objects
        assert len(found(program, "--overlap", "1")) == 4  # the copy of the first square
        assert "objects of 3 classes" in ok(program, "info"), ok(program, "info")


def test_yolox():
    """One box a cell, its place in the cell and its size as logarithms, on three grids; and with its end."""
    picture()
    strides = np.array([8] * 16 + [16] * 4 + [32], np.float32)
    cells = np.array([(x, y) for n in (4, 2, 1) for y in range(n) for x in range(n)], np.float32)
    for name, ended in (("yolox_raw", False), ("yolox_ended", True)):
        middle, size = BOXES[:, :2] / strides[:, None] - cells, np.log(BOXES[:, 2:] / strides[:, None])
        consts = CONSTS + [const("middle", middle.T[None]), const("logs", size.T[None]), const("copied", list(range(16)) + list(range(5))),
                           const("less", [1.0] * 16 + [0.95] * 5), const("sure", np.ones((1, 1, PLACES), np.float32)),
                           const("corners", cells.T[None]), const("strides", strides)]
        nodes = LOOK[:2] + [node("Gather", "c copied", "cc", axis=1), node("Mul", "cc less", "s"), node("Unsqueeze", "s first", "scores"),
                            node("ReduceMin", "image", "low", keepdims=0), node("Mul", "low zero", "nothing"), node("Add", "logs nothing", "wh")]
        consts += [const("zero", np.float32(0))]
        if ended:
            nodes += [node("Add", "middle corners", "m"), node("Mul", "m strides", "xy"), node("Exp", "wh", "e"), node("Mul", "e strides", "size"),
                      node("Concat", "xy size sure scores", "columns", axis=1)]
        else:
            nodes += [node("Concat", "middle wh sure scores", "columns", axis=1)]
        save(name, nodes + [node("Transpose", "columns", "output", perm=[0, 2, 1])], [("output", TensorProto.FLOAT)], consts)
        for options in ((), ("--scale", "1")):
            code, said, err = run(HONE, "compile", f"{name}.onnx", "-o", name, *options)
            assert code == 0 and ("YOLOX takes --scale 1 --bgr --fit letterbox" in said + err) == (not options), said + err
        ok(HONE, "compile", f"{name}.onnx", "-o", name)
        check_objects([dict(o, **{"class": o["class"] + 1}) for o in found(temp(name))])
        assert len(found(temp(name), "--overlap", "1")) == 4  # the copy of the first square


def test_queries():
    """DETR's kin: middle and size as shares of the picture, a number of each class; RT-DETR's two, RF-DETR's, and DETR's softmax with nothing."""
    picture()
    shares = BOXES[:16] / SIZE
    logit = [node("Transpose", "c", "ct"), node("Clip", "ct low high", "p"), node("Sub", "one p", "q"), node("Div", "p q", "odds"), node("Log", "odds", "l")]
    consts = CONSTS + [const("shares", shares[None]), const("low", np.float32(1e-4)), const("high", np.float32(1 - 1e-4)),
                       const("rest", np.full((16, 88), -30, np.float32)), const("nothing", np.zeros((16, 1), np.float32)), const("best16", [16])]
    consts = [c for c in consts if c.name != "one"] + [const("one", np.float32(1))]
    tails = {
        "rtdetr": ([node("Unsqueeze", "l first", "logits"), node("Identity", "shares", "pred_boxes")], ("logits", "pred_boxes")),
        "rfdetr": ([node("Identity", "shares", "dets"), node("Unsqueeze", "l first", "labels")], ("dets", "labels")),
        "detr": ([node("Concat", "l rest nothing", "all", axis=1), node("Unsqueeze", "all first", "pred_logits"), node("Identity", "shares", "pred_boxes")],
                 ("pred_logits", "pred_boxes")),
        "one": ([node("Sigmoid", "l", "ps"), node("ReduceMax", "ps", "top", axes=[1], keepdims=0), node("TopK", "top best16", "v at"),
                 node("Gather", "ps at", "chosen"), node("Unsqueeze", "chosen first", "s3"), node("Gather", "shares at", "b3", axis=1),
                 node("Concat", "b3 s3", "output0", axis=2)], ("output0",)),
    }
    for name, (tail, outs) in tails.items():
        save("q_" + name, LOOK[:2] + logit + tail, [(o, TensorProto.FLOAT) for o in outs], consts)
        ok(HONE, "compile", f"q_{name}.onnx", "-o", "q_" + name)
        mean = np.ravel(json.loads(ok(temp("q_" + name), "info", "--json"))["preprocess"]["mean"])
        assert (abs(mean[0] - 0.485) < 1e-6) == (name in ("rfdetr", "detr")), (name, mean)
        ok(HONE, "compile", f"q_{name}.onnx", "-o", "q_" + name, "--mean", "0", "--std", "1")
        objects = found(temp("q_" + name))
        assert [o["score"] for o in objects] == sorted((o["score"] for o in objects), reverse=True), objects
        check_objects([dict(o, **{"class": o["class"] + 1}) for o in objects])
        classes = 91 if name == "detr" else 3
        assert f"objects of {classes} classes, by the queries" in ok(temp("q_" + name), "info"), name


def test_queries_as_many_as_cells():
    """21 queries, or 84 classes, at a size whose grids have as many cells; and boxes apart, whose kind nothing tells."""
    picture()
    logit = [node("Transpose", "c", "ct"), node("Clip", "ct low high", "p"), node("Sub", "one p", "q"), node("Div", "p q", "odds"), node("Log", "odds", "l")]
    names = CONSTS[:-1] + [const("one", np.float32(1)), const("low", np.float32(1e-4)), const("high", np.float32(1 - 1e-4))]
    for queries, classes in ((21, 80), (16, 21)):
        consts = names + [const("shares", BOXES[None, :queries] / SIZE), const("more", np.full((queries, classes - 3), -30, np.float32)),
                          const("many", (list(range(16)) + [1] * 5)[:queries])]  # the second cell is black
        nodes = LOOK[:2] + logit + [node("Gather", "l many", "rows"), node("Concat", "rows more", "all", axis=1)]
        for outs in (("logits", "pred_boxes"), ("a_out", "b_out")):
            ends = [node("Unsqueeze", "all first", outs[0]), node("Identity", "shares", outs[1])]
            save("cells", nodes + ends, [(o, TensorProto.FLOAT) for o in outs], consts)
            ok(HONE, "compile", "cells.onnx", "-o", "cells")
            if outs[0] == "logits":
                check_objects([dict(o, **{"class": o["class"] + 1}) for o in found(temp("cells"))])
                assert f"objects of {classes} classes, by the queries" in ok(temp("cells"), "info")
            else:
                code, _, err = run(temp("cells"), "detect", "p.png")
                assert code == 1 and len(err.splitlines()) == 1, err


def test_letterbox():
    """A wide picture in a square input: squares lie where they are, and grey is nothing."""
    a = np.zeros((64, 128, 3), np.uint8)
    cells = {(0, 0): (250, 0, 0), (3, 1): (0, 0, 240)}
    for (x, y), rgb in cells.items():
        a[y * 32:y * 32 + 32, x * 32:x * 32 + 32] = rgb
    want = {0: (0, 0, 32, 32), 2: (96, 32, 128, 64)}
    told, plain = yolo("told", meta=ULTRALYTICS), temp("yolo_columns")
    for turned in (False, True):
        Image.fromarray(a.transpose(1, 0, 2) if turned else a).save(temp("p.png"))
        for program, options in ((told, ()), (plain, ("--fit", "letterbox"))):
            objects = {o["class"]: o for o in found(program, *options)}
            assert set(objects) == set(want), objects
            for k, box in want.items():
                box = [box[1], box[0], box[3], box[2]] if turned else box
                assert np.allclose(objects[k]["box"], box, atol=1e-3), (objects, box)
    assert {o["label"] for o in found(told)} == {"red", "blue"}
    assert "letterbox 32x32" in ok(told, "info") and json.loads(ok(told, "info", "--json"))["preprocess"]["letterbox"] is True
    assert "letterbox" not in ok(plain, "info")
    ok(HONE, "compile", "told.onnx", "-o", "stretched", "--fit", "stretch")
    assert found(temp("stretched")) == found(told, "--fit", "stretch") != found(told)
    Image.fromarray(a[:, :1]).save(temp("p.png"))  # a line of pixels
    assert all(0 <= o["box"][0] <= o["box"][2] <= 1 for o in found(told))
    for options, said in ((("--fit", "crop"), "letterbox|stretch"), (("--fit", "letterbox", "--resize", "40"), "--fit excludes")):
        code, _, err = run(HONE, "compile", "told.onnx", "-o", "none", *options)
        assert code == 1 and said in err and len(err.splitlines()) == 1 and not os.path.exists(temp("none")), err
    picture()


def test_poses():
    """Points of each box, in the picture's pixels, in the order of the file; without their shape in the file they are no objects."""
    picture()
    program = yolo("pose", meta=[("task", "pose")] + ULTRALYTICS[1:])
    code, _, err = run(program, "detect", "p.png")
    assert code == 1 and len(err.splitlines()) == 1, err
    middle = np.stack([BOXES[:, 0], BOXES[:, 1], np.full(PLACES, 0.9)])
    corner = np.stack([BOXES[:, 0] + 2, BOXES[:, 1] - 3, np.full(PLACES, 0.2)])
    model = onnx.load(temp("pose.onnx"))
    consts = list(model.graph.initializer) + [const("points", np.concatenate([middle, corner]).astype(np.float32)[None])]
    nodes = [n for n in model.graph.node if n.output[0] not in ("columns", "output0")]
    nodes += [node("Concat", "boxes scores points", "output0", axis=1)]
    save("points", nodes, [("output0", TensorProto.FLOAT)], consts, meta=[("task", "pose"), ("kpt_shape", "[2, 3]")] + ULTRALYTICS[1:])
    ok(HONE, "compile", "points.onnx", "-o", "points", "--fit", "stretch")
    objects = found(temp("points"))
    check_objects([dict(o, **{"class": o["class"] + 1}) for o in objects])
    for o in objects:
        x, y = (o["box"][0] + o["box"][2]) / 2, (o["box"][1] + o["box"][3]) / 2
        want = [[x, y, 0.9], [x + 2 * WIDE / SIZE, y - 3 * HIGH / SIZE, 0.2]]
        assert np.allclose(o["keypoints"], want, atol=1e-3), o
    ok(temp("points"), "detect", "p.png", "--draw", "points.png")
    before, after = picture(), np.asarray(Image.open(temp("points.png")))
    for o in objects:
        x, y = int((o["box"][0] + o["box"][2]) / 2), int((o["box"][1] + o["box"][3]) / 2)
        assert tuple(after[y, x]) != tuple(before[y, x]) and (after[y - 2:y + 3, x - 2:x + 3] == after[y, x]).all(), o
        assert not (after[y - 8:y - 3, x + 4:x + 9] == (0, 128, 0)).all(), o  # of the point that is hardly sure


def test_unsound_boxes():
    """Scores beyond 1 or that are no numbers, and corners in the wrong order, are left out and told."""
    picture()
    values = {"boxes": np.float32([[0, 0, 8, 8], [8, 8, 16, 16], [9, 8, 1, 16], [0, 0, np.nan, 8], [0, 0, 8, 8], [0, 0, 8, 8], [9, 9, 1, 1]]),
              "scores": np.float32([40, 0.9, 0.8, 0.7, np.nan, np.inf, 0.1])}
    nodes = [node("ReduceMin", "image", "low", keepdims=0), node("Mul", "low zero", "nothing"), node("Cast", "nothing", "none", to=TensorProto.INT64)]
    nodes += [node("Add", f"{k}_are nothing", k) for k in values] + [node("Add", "labels_are none", "labels")]
    consts = [const("zero", np.float32(0)), const("labels_are", [1] * 7)] + [const(k + "_are", v) for k, v in values.items()]
    save("unsound", nodes, [("boxes", TensorProto.FLOAT), ("labels", TensorProto.INT64), ("scores", TensorProto.FLOAT)], consts)
    ok(HONE, "compile", "unsound.onnx", "-o", "unsound")
    code, said, err = run(temp("unsound"), "detect", "--json", "p.png", "p.png")
    for line in said.splitlines():
        assert [round(o["score"], 4) for o in json.loads(line)["objects"]] == [0.9], said
    assert code == 0 and said.count("\n") == 2 and err.count("boxes left out: 10,") == 1, (said, err)


def test_chosen_outputs():
    """A detector with more outputs than those."""
    ok(HONE, "compile", "pixels.onnx", "-o", "chosen", "--output", "boxes", "--output", "scores", "--output", "labels")
    check_objects(found(temp("chosen")))


def test_segment():
    w = np.zeros((4, 3, 1, 1), np.float32)
    w[1:, :, 0, 0] = np.eye(3)
    nodes = [node("AveragePool", "image", "small", kernel_shape=[2, 2], strides=[2, 2]), node("Conv", "small w b", "out")]
    save("scores", nodes, [("out", TensorProto.FLOAT)], [const("w", w), const("b", [0.2, 0, 0, 0])])
    save("classes", nodes[:1] + [node("Conv", "small w b", "y"), node("ArgMax", "y", "out", axis=1, keepdims=0)], [("out", TensorProto.INT64)],
         [const("w", w), const("b", [0.2, 0, 0, 0])])
    before = picture()
    for name in ("scores", "classes"):
        ok(HONE, "compile", f"{name}.onnx", "-o", name, "--mean", "0", "--std", "1")
        row = json.loads(ok(temp(name), "segment", "--json", "p.png", "--draw", f"{name}.png", "--mask", f"{name}_mask.png"))
        shares = {c["class"]: c["share"] for c in row["classes"]}
        assert shares == {0: 0.8125, 1: 0.0625, 2: 0.0625, 3: 0.0625}, (name, shares)
        mask = Image.open(temp(f"{name}_mask.png"))
        assert mask.mode == "P" and mask.size == Image.open(temp("p.png")).size
        assert [(np.asarray(mask) == k).mean() for k in range(4)] == [shares[k] for k in range(4)]
        assert mask.convert("RGB").getpixel((4, 4)) == (128, 0, 0) and np.asarray(mask)[4, 4] == 1 and np.asarray(mask)[40, 4] == 0
        after = np.asarray(Image.open(temp(f"{name}.png"))).astype(int)
        assert tuple(after[4, 4]) == tuple(np.round(np.array([250, 0, 0]) * 0.4 + np.array([128, 0, 0]) * 0.6).astype(int)), after[4, 4]
        assert (after[40, 4] == before[40, 4]).all()
        assert "segments   the class of each pixel, by output 'out'" in ok(temp(name), "info")
    assert " 81.25%  class 0" in ok(temp("scores"), "segment", "p.png")
    Image.open(temp("p.png")).resize((96, 48)).save(temp("wide.png"))
    ok(HONE, "compile", "scores.onnx", "-o", "cropped", "--mean", "0", "--std", "1", "--resize", SIZE)
    for name, seen in (("scores", 96), ("cropped", 48)):  # all of the picture, or the square in its middle
        ok(temp(name), "segment", "wide.png", "--mask", "wide_mask.png")
        mask = np.asarray(Image.open(temp("wide_mask.png")))
        assert mask.shape == (48, 96) and set(np.unique(mask)) <= {0, 1, 2, 3, 255}, (name, mask)
        assert (mask != 255).sum() == 48 * seen and (mask[:, 48 - seen // 2:48 + seen // 2] != 255).all(), (name, mask)
    code, _, err = run(temp("scores"), "segment", "p.png", "wide.png", "--mask", "two.png")
    assert code == 1 and "--mask FILE takes one picture, not 2; --mask FOLDER/ takes more" in err and not os.path.exists(temp("two.png")), err
    code, _, err = run(temp("scores"), "segment", "p.png", "--mask", "p.png")
    assert code == 1, err


def test_pictures_in_folders():
    """A mask and a drawing of each picture, under its name; never where the pictures are, nor two of one name."""
    os.makedirs(temp("in/deep"))
    for name in ("in/a.png", "in/deep/b.c.jpg"):
        Image.open(temp("p.png")).save(temp(name))
    said = ok(temp("scores"), "segment", "in", "--mask", "masks/", "--draw", "drawn/")
    assert said.count("  class 0") == 2, said
    for folder, mode in (("masks", "P"), ("drawn", "RGB")):
        assert sorted(os.listdir(temp(folder))) == ["a.png", "b.c.png"]
        assert {Image.open(temp(f"{folder}/{n}")).mode for n in os.listdir(temp(folder))} == {mode}
    ok(temp("scores"), "segment", "p.png", "--mask", "p_mask.png")
    with open(temp("masks/a.png"), "rb") as f, open(temp("p_mask.png"), "rb") as g:
        mask = f.read()
        assert mask == g.read()
    done = subprocess.run([temp("scores"), "segment", "p.png", "--mask", "-"], capture_output=True, cwd=TEMP)
    assert done.returncode == 0 and done.stdout == mask and b"class 0" in done.stderr, done.stderr
    code, out, err = run(temp("scores"), "segment", "p.png", "--mask", "-", "--draw", "-")
    assert (code, out) == (1, "") and "/dev/stdout: cannot be written: it is the output /dev/stdout as well" in err, err
    ok(temp("scores"), "segment", "in", "--mask", "masks")  # again, and without the slash
    code, out, err = run("sh", "-c", "ls in/a.png in/deep/b.c.jpg | ./scores segment --csv --mask listed/ -")
    assert code == 0 and sorted(os.listdir(temp("listed"))) == ["a.png", "b.c.png"], (out, err)
    first = {n: open(temp("listed/" + n), "rb").read() for n in os.listdir(temp("listed"))}
    for kind, other in (("--mask", "--draw"), ("--draw", "--mask")):  # again, and one in place of the other
        code, out, err = run("sh", "-c", f"ls in/a.png in/deep/b.c.jpg | ./scores segment --csv {kind} listed/ {other} others/ -")
        assert code == 0 and sorted(os.listdir(temp("listed"))) == ["a.png", "b.c.png"], (out, err)
        assert (first == {n: open(temp("listed/" + n), "rb").read() for n in first}) == (kind == "--mask")
    assert Image.open(temp("listed/a.png")).text == {"Software": "hone"}
    os.makedirs(temp("outside"))
    os.link(temp("others/a.png"), temp("outside/a.png"))
    mask = open(temp("others/a.png"), "rb").read()
    for put in (lambda to: Image.open(temp("others/a.png")).save(to), lambda to: open(to, "wb").write(mask.replace(b"hone", b"sone")),
                lambda to: open(to, "wb").write(mask[:40]), lambda to: open(to, "wb").close(), os.mkdir, os.mkfifo,
                lambda to: os.symlink(temp("outside/a.png"), to), lambda to: os.symlink("nowhere.png", to)):
        os.unlink(temp("listed/a.png"))
        put(temp("listed/a.png"))
        there = os.lstat(temp("listed/a.png"))
        code, out, err = run("sh", "-c", "ls in/a.png in/deep/b.c.jpg | ./scores segment --csv --mask listed/ -")
        why = "a link" if os.path.islink(temp("listed/a.png")) else "no mask or drawing of before, and could be a picture of the list"
        assert code == 1 and f"listed/a.png: is there already, {why}\n" in err and "in/deep/b.c.jpg" in out, err
        now = os.lstat(temp("listed/a.png"))
        assert (there.st_ino, there.st_mtime_ns, there.st_size) == (now.st_ino, now.st_mtime_ns, now.st_size)
        if os.path.isdir(temp("listed/a.png")):
            os.rmdir(temp("listed/a.png"))
            open(temp("listed/a.png"), "w").close()
    assert open(temp("outside/a.png"), "rb").read() == mask and not os.path.exists(temp("listed/nowhere.png"))
    assert "in place of what such a run made before" in ok(temp("scores"), "segment", "--help")
    before = open(temp("in/a.png"), "rb").read()
    os.makedirs(temp("linked"))
    os.symlink(temp("in/a.png"), temp("linked/b.c.png"))
    code, out, err = run(temp("scores"), "segment", "in/deep/b.c.jpg", "in/a.png", "--mask", "linked/")
    assert code == 1 and "linked/b.c.png: is there already, a link" in err and open(temp("in/a.png"), "rb").read() == before, err
    for args, why in ((("in", "--mask", "in/"), "in/a.png: --mask would be written where this picture is"),
                      (("in", "--draw", "in/deep"), "in/deep/b.c.jpg: --draw would be written where this picture is"),
                      (("in", "--mask", "one", "--draw", "one/"), "--draw and --mask would write the same files in one/"),
                      (("in", "--mask", "p.png/"), "p.png/: is no folder\n"), (("in", "--mask", "no/such/"), "no/such/: cannot be made: ")):
        code, out, err = run(temp("scores"), "segment", *args)
        assert (code, out) == (1, "") and err.startswith(why) and err.count("\n") == 1, (args, out, err)
    assert open(temp("in/a.png"), "rb").read() == before
    for args in (("nowhere", "--mask", "empty/"), ("in", "--mask", "empty/", "--draw", "in/")):  # nothing came to lie in it
        assert run(temp("scores"), "segment", *args)[0] == 1 and not os.path.exists(temp("empty"))
    os.makedirs(temp("kept"))
    assert run(temp("scores"), "segment", "nowhere", "--mask", "kept/")[0] == 1 and os.path.isdir(temp("kept"))
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    Image.fromarray(noise).save(temp("noise.png"))
    for kind in ("--draw", "--mask"):
        code, _, err = run(temp("scores"), "segment", "noise.png", kind, "/dev/full")
        assert code == 1 and err.startswith("/dev/full: ") and "No space left on device" in err and err.count("\n") == 1, err
    Image.open(temp("p.png")).save(temp("in/deep/a.jpg"))
    code, out, err = run(temp("scores"), "segment", "in", "--mask", "masks", "--csv")
    assert code == 1 and "masks/a.png: is of another picture already" in err and "1 of 3 images are bad" in err, err


def test_channels_last():
    """Maps whose classes stand last, of pictures whose channels do, and of others; square ones, of as many classes as rows, too."""
    before = picture()
    for name, last, classes, integers in (("last", True, 4, False), ("last_classes", True, 4, True), ("mixed", False, 4, False),
                                          ("square", True, SIZE // 2, False)):
        w = np.full((classes, 3, 1, 1), -1, np.float32)
        w[:4, :, 0, 0] = np.concatenate([np.zeros((1, 3)), np.eye(3)])
        b = np.float32([0.2, 0, 0, 0] + [-1] * (classes - 4))
        nodes = [node("Transpose", "image", "first3", perm=[0, 3, 1, 2])] if last else [node("Identity", "image", "first3")]
        nodes += [node("AveragePool", "first3", "small", kernel_shape=[2, 2], strides=[2, 2]), node("Conv", "small w b", "y")]
        nodes += [node("ArgMax", "y", "z", axis=1)] if integers else [node("Identity", "y", "z")]
        nodes += [node("Transpose", "z", "out", perm=[0, 2, 3, 1])]
        save(name, nodes, [("out", TensorProto.INT64 if integers else TensorProto.FLOAT)], [const("w", w), const("b", b)], last=last)
        ok(HONE, "compile", f"{name}.onnx", "-o", name, "--mean", "0", "--std", "1")
        row = json.loads(ok(temp(name), "segment", "--json", "p.png", "--draw", f"{name}.png"))
        shares = {c["class"]: c["share"] for c in row["classes"]}
        assert shares == {0: 0.8125, 1: 0.0625, 2: 0.0625, 3: 0.0625}, (name, shares)
        after = np.asarray(Image.open(temp(f"{name}.png"))).astype(int)
        assert (after[4, 4] != before[4, 4]).any() and (after[40, 4] == before[40, 4]).all(), name


def test_refusals():
    for command, name in (("segment", "pixels"), ("detect", "scores"), ("classify", "pixels")):
        code, _, err = run(temp(name), command, "p.png")
        assert code == 1 and len(err.splitlines()) == 1 and "run" in err, err
    code, _, err = run(temp("pixels"), "detect")
    assert code == 2, err


if __name__ == "__main__":
    script.main(sys.modules[__name__])
