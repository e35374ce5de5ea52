"""TensorBoard's event files, over the hand-written program (fake_train.c): read by a reader of its own, written from the
formats' definitions (TFRecord; CRC-32C of RFC 3720 by its table; event.proto and summary.proto)."""
import json
import os
import shutil
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case
import test_train

NAME = "events.out.tfevents.hone"
TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def masked(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = TABLE[(crc ^ b) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frames(data):
    while data:
        length, head = struct.unpack("<QI", data[:12])
        body, tail = data[12:12 + length], struct.unpack("<I", data[12 + length:16 + length])[0]
        assert head == masked(data[:8]) and tail == masked(body), "a checksum is wrong"
        yield body
        data = data[16 + length:]


def fields(data):
    def varint():
        nonlocal data
        v = shift = 0
        while True:
            b, data = data[0], data[1:]
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v

    while data:
        key = varint()
        wire = key & 7
        if wire == 0:
            yield key >> 3, varint()
            continue
        n = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        value, data = data[:n], data[n:]
        yield key >> 3, value if wire == 2 else struct.unpack({1: "<d", 5: "<f"}[wire], value)[0]


def read(path):
    """[(step, tag, value)], in the file's order."""
    with open(path, "rb") as f:
        first, *rest = map(lambda b: dict(fields(b)), frames(f.read()))
    assert first.keys() == {1, 3} and first[3] == b"brain.Event:2" and first[1] > 1e9, first
    told = []
    for event in rest:
        assert event.keys() == {1, 2, 5} and event[1] >= first[1], event
        for number, value in fields(event[5]):
            value = dict(fields(value))
            assert number == 1 and value.keys() == {1, 2}, value
            told.append((event[2], value[1].decode(), value[2]))
    return told


def without_times(told):
    return [t for t in told if t[1] != "epoch/images_per_s"]


class Board(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("d"))
        test_train.make_images(self.path("d"), "train", 40, 1)
        test_train.make_images(self.path("d"), "t10k", 20, 2)

    def train(self, *args, code=0, epochs="1,2"):
        got, out, err = self.run_program("fake_train", "train", "d", *test_train.STEPS, "--epochs", epochs, "-b", "8", "--checkpoint", "ck",
                                         "--log-tensorboard", "board", *args)
        self.assertEqual(got, code, (args, out, err))
        return err

    def told(self):
        return read(self.path("board/" + NAME))

    def test_a_checksum_as_rfc_3720_has_it(self):
        self.assertEqual(masked(bytes(32)), ((0x8A9136AA >> 15 | 0x8A9136AA << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    def test_it_says_what_the_log_says(self):
        self.train("--log", "l.jsonl")
        with open(self.path("l.jsonl")) as f:
            events = [json.loads(line) for line in f]
        want, step = [], 0
        for e in events:
            step = e.get("step", step)
            names = {"step": {"step/loss": "loss", "step/lr": "lr", "step/grad_norm": "grad_norm"},
                     "epoch": {"loss/train": "train_loss", "loss/val": "val_loss", "top1/train": "train_top1", "top1/val": "val_top1",
                               "top5/val": "val_top5", "epoch/lr": "lr", "epoch/images_per_s": "images_per_s"}}[e["event"]]
            want += [(step, tag, e[key]) for tag, key in names.items()]
        told = self.told()
        self.assertEqual([t[:2] for t in told], [w[:2] for w in want])
        for (_, tag, a), (_, _, b) in zip(told, want):
            self.assertAlmostEqual(a, b, delta=1e-6 * max(1, abs(b)), msg=tag)
        self.assertEqual(told[-1][0], 15)

    def test_a_run_that_goes_on_says_nothing_twice(self):
        """Stopped after each step, and killed a while behind the checkpoint, in the middle of a record or not."""
        self.train()
        whole = without_times(self.told())
        for k in range(0, 15, 2):
            for torn in (0, 7, 60):
                self.train("--overwrite", "--max-steps", max(k, 1))
                shutil.copytree(self.path("ck"), self.path("then"))
                self.train("--resume", "--max-steps", k + 6)
                shutil.rmtree(self.path("ck"))
                os.rename(self.path("then"), self.path("ck"))
                if torn:
                    size = os.path.getsize(self.path("board/" + NAME))
                    os.truncate(self.path("board/" + NAME), size - torn)
                self.train("--resume")
                self.assertEqual(without_times(self.told()), whole, (k, torn))
        self.train("--resume")
        self.assertEqual(without_times(self.told()), whole)
        self.train("--resume", epochs="+1")
        more = without_times(self.told())
        self.assertEqual((more[:len(whole)], more[-1][0]), (whole, 20))
        self.train("--overwrite")
        self.assertEqual(without_times(self.told()), whole)

    def test_what_is_there_and_is_no_event_file(self):
        self.train("--max-steps", 3)
        for junk in (b"", b"junk", bytes(5000), b"\xff" * 4000, struct.pack("<QI", 1 << 60, masked(struct.pack("<Q", 1 << 60))) + bytes(99),
                     struct.pack("<QI", 3, masked(struct.pack("<Q", 3))) + b"\xff\xff\xff" + struct.pack("<I", masked(b"\xff\xff\xff")) + b"rest"):
            self.write("board/" + NAME, junk)
            self.train("--resume", "--max-steps", 3)
            self.assertGreater(self.told()[0][0], 3)

    def test_an_earlier_run_s_events_stay(self):
        """A run that begins refuses them, another run's checkpoints or none; --overwrite is asked for what goes."""
        def run(*args, code=0):
            got, _, err = self.run_program("fake_train", "train", "d", *test_train.STEPS, "--epochs", "1", "--no-checkpoint", "--log-tensorboard", "board", *args)
            self.assertEqual(got, code, (args, err))
            return err

        refused = "board: holds an earlier run's events; --overwrite begins anew over them, --log-tensorboard FOLDER elsewhere\n"
        run()
        with open(self.path("board/" + NAME), "rb") as f:
            first = f.read()
        self.assertTrue(run(code=1).endswith(refused))
        self.assertTrue(self.train("--resume", code=1).endswith(refused), "nothing to go on with")
        self.assertFalse(os.path.exists(self.path("ck")), "checkpoints of no run")
        err = run("--k-fold", 3, code=1)
        self.assertTrue(err.endswith(refused) and err.count("\n") == 1, err)
        with open(self.path("board/" + NAME), "rb") as f:
            self.assertEqual(f.read(), first)
        run("--overwrite")
        with open(self.path("board/" + NAME), "rb") as f:
            self.assertNotEqual(f.read(), first, "its times are others")

    def test_where_it_cannot_be(self):
        for folder, words in (("no/such", "no/such: cannot be made: No such file"), ("d/board", "")):
            code, _, err = self.run_program("fake_train", "train", "d", *test_train.STEPS, "--log-tensorboard", folder)
            self.assertEqual((code, words in err), (0 if folder == "d/board" else 1, True), err)
        self.train()
        shutil.rmtree(self.path("board"))
        self.assertIn("holds the finished run", self.train(code=1))
        self.assertFalse(os.path.exists(self.path("board")), "a folder of no run")
        os.mkdir(self.path("classes"))
        for k in "abc":
            os.mkdir(self.path("classes/" + k))
            for i in range(4):
                self.write(f"classes/{k}/{i}.png", test_train.png_grey(8, 8, [40 * i] * 64))
        code, _, err = self.run_program("fake_train", "train", "classes", *test_train.STEPS, "--checkpoint", "other", "--log-tensorboard", "classes/board")
        self.assertEqual(code, 1)
        self.assertIn("give --log-tensorboard a folder elsewhere", err)
        self.assertFalse(os.path.exists(self.path("classes/board")))


if __name__ == "__main__":
    unittest.main()
