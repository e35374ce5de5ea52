"""Every file that hone and its programs write: whole or not there, never in the place of a device, a link or an
input; full disks, failing calls, signals, closed descriptors."""
import contextlib
import functools
import json
import os
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, TEMP, main, ok, run, temp

KINDS = ("exe", "shared", "static", "object", "python", "llvm-ir", "asm", "ir")
TEXTS = (("--dot", "g.dot"), ("--picture", "g.svg"))
HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(name, data):
    with open(temp(name), "wb") as f:
        f.write(data)
    return temp(name)


def idx(path, dims, data):
    with open(path, "wb") as f:
        f.write(bytes([0, 0, 8, len(dims)]) + struct.pack(">%dI" % len(dims), *dims) + bytes(data))


@functools.cache
def net():
    ok(HONE, "compile", SAMPLE, "-o", temp("net"))
    return temp("net")


@functools.cache
def teach():
    """A fine-tune program, and a few images for it."""
    ok(HONE, "finetune", SAMPLE, "-o", temp("teach"), "--classes", "3", "--freeze", "head")
    os.mkdir(temp("data"))
    for part, n in (("train", 12), ("t10k", 6)):
        idx(temp(f"data/{part}-images-idx3-ubyte"), (n, 28, 28), [(i * 37 + i // 784 * 80) % 251 for i in range(n * 784)])
        idx(temp(f"data/{part}-labels-idx1-ubyte"), (n,), [i % 3 for i in range(n)])
    return temp("teach")


@functools.cache
def array():
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 28, 28), }"
    text += b" " * (-(11 + len(text)) % 64) + b"\n"
    return write("x.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + bytes(4 * 784))


@functools.cache
def faults():
    ok("cc", "-shared", "-fPIC", "-O1", "-o", temp("faults.so"), os.path.join(ROOT, "tests/error/faults.c"))
    return temp("faults.so")


@functools.cache
def photos():
    os.mkdir(temp("photos"))
    for i in range(8):
        shutil.copy(SNEAKER, temp(f"photos/{i}.png"))
    return temp("photos")


def train(*more):
    return (teach(), "train", temp("data"), "--epochs", "1", "--batch", "6", *more)


def whole_commands(folder, slow=False):
    """(name, command, outputs): one that writes them all, to paths in the folder."""
    at = functools.partial(os.path.join, folder)
    for kind in KINDS:
        beside = [at("out.h")] if kind in ("shared", "static", "object") else \
                 [at("out.weights")] if kind in ("llvm-ir", "asm") else []
        yield kind, (HONE, "compile", SAMPLE, "-o", at("out"), "--emit", kind), [at("out")] + beside
    yield "inspect", (HONE, "inspect", SAMPLE, "--dot", at("g.dot"), "--picture", at("g.svg")), [at("g.dot"), at("g.svg")]
    if slow:
        yield "autotune", (HONE, "compile", SAMPLE, "-o", at("out"), "--autotune", "--autotune-cache", at("cache")), \
            [at("out"), at("cache")]
    yield "finetune", (HONE, "finetune", SAMPLE, "-o", at("out"), "--classes", "3"), [at("out")]
    yield "quantize", (HONE, "quantize", SAMPLE, "-o", at("q.onnx"), "--calibrate", photos()), [at("q.onnx")]
    yield "run", (net(), "run", "-i", array(), "-o", at("y.npy")), [at("y.npy")]
    yield "features", (net(), "features", SNEAKER, "-o", at("f.npy")), [at("f.npy"), at("f.txt")]
    yield "bench", (net(), "bench", "-n", "1", "--profile-html", at("p.html")), [at("p.html")]
    yield "train", train("-o", at("t.onnx"), "--report", at("r.html"), "--log", at("l.jsonl"), "--no-checkpoint"), \
        [at("t.onnx"), at("r.html"), at("l.jsonl")]
    yield "export", (teach(), "export", "--checkpoint", checkpoint(), at("e.onnx")), [at("e.onnx")]


@functools.cache
def checkpoint():
    ok(*train("--checkpoint", temp("ckpt"), "-o", temp("t.onnx")))
    return temp("ckpt")


@contextlib.contextmanager
def folder(name):
    os.mkdir(temp(name))
    try:
        yield temp(name)
    finally:
        shutil.rmtree(temp(name))


def refuses(reason, *argv, **more):
    """Exit code 1 and one line with the reason."""
    code, _, err = run(*argv, **more)
    said = "stage ", "features ", "ridge ", "head epoch", "head solved", "best:", "autotun", "without effect: ", "not all that was asked for"
    lines = [line for line in err.splitlines() if not line.startswith(said) and not line.endswith(" written")
             and ": no validation images of " not in line]
    assert code == 1 and len(lines) == 1 and reason in lines[0], (argv, code, err)
    return lines[0]


def no_temporaries(path):
    left = [n for n in os.listdir(path) if ".tmp-" in n]
    assert not left, left


# ---------------------------------------------------------------- devices, pipes, links

def test_what_is_no_file_is_written_through():
    want = read(net())
    got = []

    def drain(path):
        with open(path, "rb") as f:
            got.append(f.read())

    os.mkfifo(temp("fifo"))
    reader = threading.Thread(target=drain, args=(temp("fifo"),))
    reader.start()
    ok(HONE, "compile", SAMPLE, "-o", temp("fifo"))
    reader.join()
    assert got == [want] and stat.S_ISFIFO(os.lstat(temp("fifo")).st_mode)

    server = socket.socket(socket.AF_UNIX)
    os.chdir(TEMP)  # a socket's path is short
    server.bind("sock")
    server.listen()

    def serve():
        client, _ = server.accept()
        with client.makefile("rb") as f:
            got.append(f.read())

    reader = threading.Thread(target=serve)
    reader.start()
    ok(HONE, "compile", SAMPLE, "-o", "sock")
    reader.join()
    server.close()
    assert got[1] == want and stat.S_ISSOCK(os.lstat(temp("sock")).st_mode)

    for path in ("-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"):
        done = subprocess.run([HONE, "compile", SAMPLE, "-o", path], capture_output=True, cwd=TEMP)
        assert done.returncode == 0 and done.stdout == want, done.stderr
    for path, *command in (("q.onnx", HONE, "quantize", SAMPLE, "--calibrate", photos()), ("y.npy", net(), "run", "-i", array())):
        ok(*command, "-o", temp(path))
        done = subprocess.run([*command, "-o", "-"], capture_output=True, cwd=TEMP)
        assert done.returncode == 0 and done.stdout == read(temp(path)), done.stderr
    assert not os.path.exists(temp("-"))
    with open(temp("log"), "wb") as f:  # appended where the descriptor stands, nothing replaced
        f.write(b"before\n")
        f.flush()
        assert subprocess.run([HONE, "compile", SAMPLE, "-o", "/dev/stdout"], stdout=f, stderr=subprocess.DEVNULL).returncode == 0
        f.write(b"after\n")
    assert read(temp("log")) == b"before\n" + want + b"after\n"
    if os.getuid() == 0:
        os.mknod(temp("null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for path in [temp("null")] * (os.getuid() == 0) + ["/dev/null"]:
        for kind in KINDS:
            before = sorted(os.listdir("/dev"))
            ok(HONE, "compile", SAMPLE, "-o", path, "--emit", kind)
            assert stat.S_ISCHR(os.stat(path).st_mode) and sorted(os.listdir("/dev")) == before
        ok(net(), "run", "-i", array(), "-o", path)
        ok(*train("-o", path, "--report", path, "--log", path, "--no-checkpoint"))
        assert stat.S_ISCHR(os.stat(path).st_mode)


def test_links_stay_and_their_ends_are_written():
    with folder("links") as at:
        os.mkdir(at + "/far")
        for link, end in (("new", "far/real"), ("chain", "new2"), ("new2", "far/real2")):
            os.symlink(end, f"{at}/{link}")
        ok(HONE, "compile", SAMPLE, "-o", at + "/new")
        ok(HONE, "inspect", SAMPLE, "--dot", at + "/chain")
        assert read(at + "/far/real") == read(net()) and read(at + "/far/real2").startswith(b"digraph")
        os.chmod(at + "/far/real", 0o700)
        before = os.stat(at + "/far/real").st_ino
        ok(HONE, "compile", SAMPLE, "-o", at + "/new")
        after = os.stat(at + "/far/real")
        assert after.st_ino != before and stat.S_IMODE(after.st_mode) == 0o700  # replaced whole, mode kept
        assert all(os.path.islink(f"{at}/{n}") for n in ("new", "chain", "new2"))
        os.symlink("far", at + "/folder")
        os.symlink("round", at + "/round")
        os.symlink("none/x", at + "/nowhere")
        for name, why in (("folder", "Is a directory"), ("round", "Too many levels of symbolic links"),
                          ("nowhere", "No such file or directory"), ("far/", "Is a directory"), (".", "Is a directory")):
            refuses(f"{at}/{name}: cannot be written: {why}", HONE, "compile", SAMPLE, "-o", f"{at}/{name}")
            refuses(f"{at}/{name}: cannot be written: {why}", net(), "run", "-i", array(), "-o", f"{at}/{name}")
        assert sorted(os.listdir(at)) == ["chain", "far", "folder", "new", "new2", "nowhere", "round"]
        assert sorted(os.listdir(at + "/far")) == ["real", "real2"]


def test_modes():
    with folder("modes") as at:
        old = os.umask(0o027)
        try:
            ok(HONE, "compile", SAMPLE, "-o", at + "/p")
            ok(HONE, "inspect", SAMPLE, "--dot", at + "/d")
        finally:
            os.umask(old)
        assert stat.S_IMODE(os.stat(at + "/p").st_mode) == 0o750
        assert stat.S_IMODE(os.stat(at + "/d").st_mode) == 0o640
        os.chmod(at + "/d", 0o600)
        ok(HONE, "inspect", SAMPLE, "--dot", at + "/d")
        assert stat.S_IMODE(os.stat(at + "/d").st_mode) == 0o600
        open(at + "/plain", "w").close()
        os.chmod(at + "/plain", 0o644)
        ok(HONE, "compile", SAMPLE, "-o", at + "/plain")  # a program can be started
        assert stat.S_IMODE(os.stat(at + "/plain").st_mode) == 0o755


# ---------------------------------------------------------------- inputs, and outputs named twice

def test_inputs_are_no_outputs():
    with folder("inputs") as at:
        def fresh(name, source):
            shutil.copy(source, f"{at}/{name}")
            return f"{at}/{name}"

        model, labels = fresh("m.onnx", SAMPLE), write("inputs/l.txt", b"".join(b"c%d\n" % i for i in range(10)))
        os.symlink("m.onnx", at + "/soft")
        os.link(model, at + "/hard")
        os.mkdir(at + "/photos")
        for c in ("cat", "dog"):
            os.makedirs(f"{at}/photos/{c}")
            shutil.copy(SNEAKER, f"{at}/photos/{c}/1.png")
        x = fresh("x.npy", array())
        before = {n: read(f"{at}/{n}") for n in ("m.onnx", "l.txt", "x.npy")}
        for name in ("m.onnx", "soft", "hard", "./m.onnx", "../inputs/m.onnx", "photos/../hard"):
            refuses(f"it is an input, {model}", HONE, "compile", model, "-o", f"{at}/{name}")
            refuses(f"it is an input, {model}", HONE, "finetune", model, "-o", f"{at}/{name}", "--classes", "3")
            refuses(f"it is an input, {model}", HONE, "quantize", model, "-o", f"{at}/{name}", "--calibrate", photos())
            refuses(f"it is an input, {model}", HONE, "inspect", model, "--dot", f"{at}/{name}")
        refuses(f"it is an input, {at}/soft", HONE, "compile", at + "/soft", "-o", model)
        refuses("it is an input, ", HONE, "compile", model, "-o", labels, "--labels", labels)
        refuses("it is an input, ", HONE, "finetune", model, "-o", labels, "--classes", labels)
        refuses("it is an input, ", HONE, "finetune", model, "-o", at + "/photos/cat/1.png", "--classes", at + "/photos")
        refuses("it is an input, ", HONE, "quantize", model, "-o", at + "/photos/cat/1.png", "--calibrate", at + "/photos")
        os.makedirs(at + "/labelled/bag")
        shutil.copy(SNEAKER, at + "/labelled/bag/1.png")
        refuses("it is an input, ", HONE, "quantize", model, "-o", at + "/labelled/bag/1.png", "--calibrate", photos(), "--eval",
                at + "/labelled")
        os.symlink("m.onnx", at + "/net.h")  # what is made beside an output
        refuses("it is an input, ", HONE, "compile", model, "-o", at + "/net.so", "--emit", "shared")
        refuses("it is an input, ", HONE, "compile", model, "-o", at + "/p", "--autotune", "--autotune-cache", at + "/hard")
        refuses("it is an input, ", net(), "run", "-i", x, "-o", x)
        program = fresh("prog", net())
        refuses("it is this program", program, "run", "-i", x, "-o", program)
        refuses("it is this program", program, "bench", "--profile-html", program)
        with open(model, "ab") as f:  # `hone inspect m.onnx >>m.onnx`
            refuses("standard output goes there", HONE, "inspect", model, stdout=f)
            assert read(model) == before["m.onnx"]
        for n, data in before.items():
            assert read(f"{at}/{n}") == data, n
        no_temporaries(at)


def test_data_is_no_output():
    teach()
    before = {n: read(temp("data/" + n)) for n in os.listdir(temp("data"))}
    for name in before:
        for flag in ("-o", "--report", "--log"):
            more = [] if flag == "-o" else ["-o", temp("t.onnx")]
            refuses("it is an input", *train(flag, temp("data/" + name), "--no-checkpoint", *more))
    with folder("list") as at:
        shutil.copy(SNEAKER, at + "/a.png")
        os.symlink("a.png", at + "/b.png")
        with open(at + "/l.csv", "w") as f:
            f.writelines(f"{p},{i % 3}\n" for i, p in enumerate(["a.png", "b.png"] * 6))
        for name in ("a.png", "b.png", "l.csv"):
            refuses("it is an input", teach(), "train", at + "/l.csv", "--no-checkpoint", "-o", f"{at}/{name}")
        assert read(at + "/a.png") == read(SNEAKER)
    for n in os.listdir(checkpoint()):
        if n.startswith("step-"):
            refuses("it is an input", teach(), "export", "--checkpoint", checkpoint(), checkpoint() + "/" + n)
    assert before == {n: read(temp("data/" + n)) for n in os.listdir(temp("data"))}


def test_external_data_is_no_output():
    import onnx
    m = onnx.load(SAMPLE)
    with folder("external") as at:
        onnx.save_model(m, at + "/m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        before = read(at + "/w.bin")
        for command in ("compile", "finetune"):
            refuses("it is an input, ", HONE, command, at + "/m.onnx", "-o", at + "/w.bin",
                    *(["--classes", "3"] if command == "finetune" else []))
        assert read(at + "/w.bin") == before
        no_temporaries(at)


def test_outputs_given_twice():
    with folder("twice") as at:
        os.symlink("a.svg", at + "/b.svg")
        for one, two in (("a.svg", "a.svg"), ("a.svg", "./a.svg"), ("a.svg", "b.svg")):
            refuses("as well", HONE, "inspect", SAMPLE, "--dot", f"{at}/{one}", "--picture", f"{at}/{two}")
        os.symlink("out.so", at + "/out.h")
        refuses("as well", HONE, "compile", SAMPLE, "-o", at + "/out.so", "--emit", "shared")
        refuses("as well", HONE, "compile", SAMPLE, "-o", at + "/c", "--autotune", "--autotune-cache", at + "/c")
        refuses("as well", *train("-o", at + "/x", "--report", at + "/x", "--no-checkpoint"))
        refuses("as well", *train("-o", at + "/x", "--log", at + "/x", "--no-checkpoint"))
        with open(at + "/s", "w") as f:  # `>s`
            refuses("it is standard output", HONE, "inspect", SAMPLE, "--dot", at + "/s", stdout=f)
        assert sorted(os.listdir(at)) == ["b.svg", "out.h", "s"]


# ---------------------------------------------------------------- full disks

def test_full_device():
    with folder("full") as at:
        for name, command, outputs in whole_commands(at, slow=True):
            for i, out in enumerate(outputs):
                if out.endswith((".h", ".weights", ".txt")):
                    continue
                argv = ["/dev/full" if a == out else a for a in command]
                if out.endswith(".svg"):
                    os.symlink("/dev/full", at + "/g.svg")
                    argv = command
                reason = refuses("annot be written: No space left on device", *argv)
                assert reason.startswith(("/dev/full: ", at + "/g.svg: ")), reason
                for n in os.listdir(at):
                    assert n in ("g.svg", "cache", "cache.lock") or name == "train" and n in ("t.onnx", "r.html", "l.jsonl"), (name, n)
                    os.unlink(f"{at}/{n}")


def test_printing_to_a_full_device():
    for argv in ((HONE, "inspect", SAMPLE), (HONE, "inspect", SAMPLE, "--json"), (HONE, "--help"), (HONE, "--version"),
                 (HONE, "compile", "--help"), (HONE, "opt", "--list-passes"), (HONE, "compile", SAMPLE, "-o", "/dev/null",
                 "--print-after", "all"), (net(), SNEAKER), (net(), SNEAKER, "--json"), (net(), "info"), (net(), "bench", "-n", "1"),
                 (net(), "--help"), (teach(), "info"), (teach(), "eval", temp("data"), "--checkpoint", checkpoint()),
                 (teach(), "predict", SNEAKER, "--json", "--checkpoint", checkpoint()), (teach(), "bench", "-n", "1")):
        with open("/dev/full", "w") as f:
            code, _, err = run(*argv, stdout=f)
        assert code == 1 and "standard output: cannot be written: No space left on device\n" in err, (argv, code, err)


def old_or_whole(out, size):
    data = read(out)
    return data == b"what was there" or (data.endswith(b"</html>\n") if out.endswith(".html") else len(data) == size)


def test_files_may_not_grow():
    """A limit on the size of files, as a disk that is full after so many bytes."""
    with folder("limit") as at:
        for name, command, outputs in whole_commands(at):
            ok(*command)
            sizes = {out: os.path.getsize(out) for out in outputs}
            largest = max(sizes.values())
            for limit in sorted({0, 100, largest // 2, largest - (2000 if name == "bench" else 1)}):  # a page of times varies
                def limits():
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                for out in outputs:
                    with open(out, "wb") as f:
                        f.write(b"what was there")
                with folder("tmp") as tmp:
                    code, out, err = run(*command, preexec_fn=limits, env={"TMPDIR": tmp})
                    told = err.strip() or "cannot write" in out  # inspect lists what fails with what is refused
                    assert code == 1 and told and not os.listdir(tmp), (name, limit, code, out, err)
                no_temporaries(at)
                for out in outputs:
                    if not out.endswith("l.jsonl"):  # a log is written as it goes
                        assert old_or_whole(out, sizes[out]), (name, limit, out)
            for out in outputs:
                os.unlink(out)


def fill(path, left):
    """All of a disk but so many bytes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, bytes(4096))
    os.ftruncate(fd, os.fstat(fd).st_size - left)
    os.close(fd)


def test_small_disk():
    with folder("disk") as at:
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", at], capture_output=True).returncode:
            print("SKIPPED: no tmpfs can be mounted here; test_files_may_not_grow stands for it")
            return
        try:
            filler = at + "/filler"
            for left in (0, 4, 100):  # KiB
                for name, command, outputs in whole_commands(at):
                    fill(filler, left * 1024)
                    code, _, err = run(*command)
                    assert code in (0, 1), (name, code, err)
                    assert code == 0 or "No space left on device" in err or f"{at}/g.svg: dot failed" in err, (name, left, err)
                    assert code == 1 or left, (name, err)
                    if code:
                        kept = set(os.listdir(at)) - {"filler", "l.jsonl"}
                        assert kept <= ({"t.onnx", "r.html"} if name == "train" else set()), (name, left, kept)
                    for n in os.listdir(at):
                        os.unlink(f"{at}/{n}")
        finally:
            subprocess.run(["umount", at], check=True)


def test_full_disk_while_training():
    """Of checkpoints and cached features: the last whole checkpoint stays, and the run goes on from there."""
    with folder("ckptdisk") as at:
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", at], capture_output=True).returncode:
            print("SKIPPED: no tmpfs can be mounted here")
            return
        try:
            command = train("--checkpoint", at + "/c", "-o", temp("t.onnx"))
            ok(*command, "--max-steps", "1")
            kept = [n for n in os.listdir(at + "/c") if n.startswith("step-")]
            fill(at + "/filler", 0)
            code, _, err = run(*command, "--resume")
            assert code == 1 and "cannot be written: No space left on device" in err, err
            assert [n for n in os.listdir(at + "/c") if n.startswith("step-")] == kept and len(kept) == 2
            no_temporaries(at + "/c")
            code, _, err = run(*train("--no-checkpoint", "-o", temp("t.onnx"), "--feature-cache", at + "/f"))
            assert code == 1 and "cannot be written: No space left on device" in err and not os.listdir(at + "/f"), err
            os.unlink(at + "/filler")
            ok(*command, "--resume")
            for name in ["c/" + n for n in os.listdir(at + "/c")]:
                refuses("it is an input", *train("--checkpoint", at + "/c", "--resume", "-o", f"{at}/{name}"))
        finally:
            subprocess.run(["umount", at], check=True)


def test_a_mounted_file():
    """As into a container: it cannot be replaced, the bytes go into it."""
    with folder("mounted") as at:
        for n in ("source", "file"):
            open(f"{at}/{n}", "w").close()
        if os.getuid() != 0 or subprocess.run(["mount", "--bind", at + "/source", at + "/file"], capture_output=True).returncode:
            print("SKIPPED: nothing can be mounted here")
            return
        try:
            ok(HONE, "compile", SAMPLE, "-o", at + "/file")
            assert read(at + "/source") == read(net())
            no_temporaries(at)
        finally:
            subprocess.run(["umount", at + "/file"], check=True)


def test_failing_calls():
    """Each call that matters fails in turn: an error, and every output as it was or whole."""
    hits, total = temp("hits"), 0
    with folder("faults") as at:
        for name, command, outputs in whole_commands(at):
            if name in ("static", "object", "asm"):
                continue  # no call that others do not make
            env = {"LD_PRELOAD": faults(), "FAULT_PROGRAM": os.path.basename(command[0])[:15], "FAULT_HITS": hits}
            ok(*command)
            sizes = {out: os.path.getsize(out) for out in outputs}
            for call in ("fsync", "fclose", "fflush", "rename", "fchmod", "write"):
                for n in range(1, 8):
                    for out in outputs:
                        with open(out, "wb") as f:
                            f.write(b"what was there")
                        os.chmod(out, 0o641)
                    with open(hits, "w"):
                        pass
                    code, _, err = run(*command, env={**env, "FAULT_CALL": call, "FAULT_AT": str(n)})
                    hit = os.path.getsize(hits) > 0
                    total += hit
                    assert code == hit, (name, call, n, code, err)
                    assert not hit or "No space left on device" in err, (name, call, n, err)
                    no_temporaries(at)
                    for out in outputs:
                        if not out.endswith("l.jsonl"):
                            assert old_or_whole(out, sizes[out]), (name, call, n, out)
                    if not hit:
                        break
            for out in outputs:
                os.unlink(out)
    print(f"{total} failing calls")
    assert total > 60, total


def test_failing_opens():
    """A file that cannot be opened, a folder that cannot be made: an error, or it is done without, and all is there."""
    hits, failed = temp("hits"), {"open": 0, "mkdir": 0}
    with folder("opens") as at:
        commands = [c for c in whole_commands(at) if c[0] in ("exe", "llvm-ir", "inspect", "finetune", "run", "train", "export")]
        commands.append(("kept", train("-o", at + "/t.onnx", "--checkpoint", at + "/c", "--overwrite", "--feature-cache", at + "/f"),
                         [at + "/t.onnx"]))
        for name, command, outputs in commands:
            env = {"LD_PRELOAD": faults(), "FAULT_PROGRAM": os.path.basename(command[0])[:15], "FAULT_HITS": hits}
            ok(*command)
            sizes = {out: os.path.getsize(out) for out in outputs}
            for call in failed:
                for n in range(1, 40):
                    for out in outputs:
                        with open(out, "wb") as f:
                            f.write(b"what was there")
                    with open(hits, "w"):
                        pass
                    shutil.rmtree(at + "/f", ignore_errors=True)
                    if n % 2:
                        shutil.rmtree(at + "/c", ignore_errors=True)
                    code, out, err = run(*command, env={**env, "FAULT_CALL": call, "FAULT_AT": str(n)})
                    if not os.path.getsize(hits):
                        assert code == 0, (name, call, n, err)
                        break
                    failed[call] += code
                    told = "No space left on device" in out + err  # inspect lists what fails with what is refused
                    assert code == 0 or code == 1 and told, (name, call, n, code, out[-300:], err)
                    no_temporaries(at)
                    for out in outputs:
                        if not out.endswith("l.jsonl"):
                            assert old_or_whole(out, sizes[out]) and (code or read(out) != b"what was there"), (name, call, n, out)
            for out in outputs:
                os.unlink(out)
    print(failed)
    assert failed["open"] > 40 and failed["mkdir"] > 4, failed


# ---------------------------------------------------------------- signals

def test_signals_leave_nothing():
    """While the linker runs, and while an output has its temporary name."""
    for sig in HELD:  # which a shell's background ignores
        signal.signal(sig, signal.SIG_DFL)
    slow = write("slowcc", b"#!/bin/sh\ntouch linking\nsleep 30\n")
    os.chmod(slow, 0o755)
    with folder("signals") as at, folder("tmp") as tmp:
        for sig in HELD:
            p = subprocess.Popen([HONE, "compile", SAMPLE, "-o", "out"], cwd=at, env={**os.environ, "CC": slow, "TMPDIR": tmp},
                                 stderr=subprocess.PIPE)
            while not os.path.exists(at + "/linking"):
                time.sleep(0.01)
            assert [n for n in os.listdir(at) if ".tmp-" in n]
            p.send_signal(sig)
            p.communicate()
            assert p.returncode == -sig
            assert os.listdir(at) == ["linking"] and not os.listdir(tmp), (os.listdir(at), os.listdir(tmp))
            os.unlink(at + "/linking")
        for command in ([net(), "run", "-i", array(), "-o", "y"], [net(), "bench", "-n", "1", "--profile-html", "y"],
                        [teach(), "export", "--checkpoint", checkpoint(), "y"], [HONE, "inspect", SAMPLE, "--dot", "y"]):
            for sig in HELD:
                hits = temp("waits")
                env = {**os.environ, "LD_PRELOAD": faults(), "FAULT_PROGRAM": os.path.basename(command[0]), "FAULT_HITS": hits,
                       "FAULT_CALL": "fsync", "FAULT_AT": "1", "FAULT_SLEEP": "30", "TMPDIR": tmp}
                p = subprocess.Popen(command, cwd=at, env=env, stdout=subprocess.DEVNULL)
                while not os.path.exists(hits):
                    time.sleep(0.01)
                assert [n for n in os.listdir(at) if ".tmp-" in n]
                p.send_signal(sig)
                assert p.wait() == -sig
                assert not os.listdir(at) and not os.listdir(tmp), (command, os.listdir(at))
                os.unlink(hits)


def test_ignored_signals_stay_ignored():
    """As nohup asks."""
    hits = temp("waits")
    for command in ([HONE, "compile", SAMPLE, "-o", temp("hup")], [net(), "run", "-i", array(), "-o", temp("hup.npy")]):
        env = {**os.environ, "LD_PRELOAD": faults(), "FAULT_PROGRAM": os.path.basename(command[0]), "FAULT_HITS": hits,
               "FAULT_CALL": "fsync", "FAULT_AT": "1", "FAULT_SLEEP": "1"}
        p = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL,
                             preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        while not os.path.exists(hits):
            time.sleep(0.01)
        p.send_signal(signal.SIGHUP)
        assert p.wait() == 0 and os.path.exists(command[-1])
        os.unlink(hits)


def test_a_reader_that_goes_away():
    """SIGPIPE, as of any tool; what is written is whole all the same."""
    with folder("pipe") as at:
        for argv, made in (([HONE, "inspect", SAMPLE], []), ([net(), SNEAKER], []), ([net(), "info"], []),
                           ([HONE, "finetune", SAMPLE, "-o", "ft", "--classes", "3"], ["ft"]),
                           ([HONE, "inspect", SAMPLE, "--dot", "d"], ["d"]),
                           ([net(), "bench", "-n", "1", "--profile-html", "p"], ["p"])):
            r, w = os.pipe()
            os.close(r)
            p = subprocess.run(argv, cwd=at, stdout=w, stderr=subprocess.PIPE)
            os.close(w)
            assert p.returncode == -signal.SIGPIPE, (argv, p)
            assert sorted(os.listdir(at)) == made, (argv, os.listdir(at))
            for n in made:
                os.unlink(f"{at}/{n}")
        r, w = os.pipe()
        os.close(r)
        p = subprocess.run(train("-o", at + "/t.onnx", "--no-checkpoint"), stderr=w)  # nobody reads its lines
        os.close(w)
        assert p.returncode == 0 and os.path.exists(at + "/t.onnx")


# ---------------------------------------------------------------- closed descriptors

def test_closed_descriptors():
    """Nothing opened later gets the number of a closed one: outputs are the same bytes."""
    with folder("closed") as at:
        for name, command, outputs in whole_commands(at):
            if name == "bench":
                continue  # holds what was measured
            ok(*command)
            want = {out: read(out) for out in outputs}
            for fds in ((0,), (1,), (2,), (0, 1, 2)):
                for out in outputs:
                    os.unlink(out)

                def close():
                    for fd in fds:
                        os.close(fd)
                p = subprocess.run(list(command), cwd=TEMP, preexec_fn=close, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
                assert p.returncode == (1 in fds and name in ("inspect", "finetune", "quantize")), (name, fds)  # these print, too
                for out in outputs:
                    if not out.endswith(("r.html", "l.jsonl")):  # these hold times
                        assert read(out) == want[out], (name, fds, out)
                    elif out.endswith("l.jsonl"):
                        assert all(json.loads(line) for line in read(out).splitlines())
            for out in outputs:
                os.unlink(out)
        for argv in ((HONE, "compile", SAMPLE, "-o", "/dev/stdout"), (net(), "run", "-i", array(), "-o", "/dev/stdout")):
            p = subprocess.run(argv, cwd=TEMP, preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE, text=True)
            assert p.returncode == 1 and p.stderr == "/dev/stdout: cannot be written: Bad file descriptor\n", p


def test_lost_results():
    """What is printed where nobody can have it: exit code 1, and a line where that can be read."""
    commands = [(HONE, "--help"), (HONE, "--version"), (HONE, "compile", "--help"), (HONE, "inspect", SAMPLE), (HONE, "inspect", SAMPLE, "--json"),
                (HONE, "verify", SAMPLE), (HONE, "opt", "--list-passes"), (HONE, "finetune", SAMPLE, "-o", temp("lost"), "--classes", "3"),
                (net(), SNEAKER), (net(), "classify", "--json", SNEAKER), (net(), "info"), (net(), "bench", "-n", "1"), (net(), "run", "--help"),
                (net(), "--version"), (teach(), "info"), (teach(), "info", "--json"), (teach(), "bench", "-n", "1"), (teach(), "train", "--help"),
                (teach(), "eval", temp("data"), "--checkpoint", checkpoint()), (teach(), "predict", SNEAKER, "--checkpoint", checkpoint())]
    for argv in commands:
        for mask in range(8):
            closed = [fd for fd in range(3) if mask >> fd & 1]
            p = subprocess.run(argv, cwd=TEMP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: [os.close(fd) for fd in closed])
            assert p.returncode == (1 in closed), (argv, closed, p)
            assert (1 in closed) or p.stdout, (argv, closed)
            lost = "standard output: cannot be written: Bad file descriptor\n"
            assert p.stderr.endswith(lost) == (1 in closed and 2 not in closed), (argv, closed, p.stderr)
            if "verify" in argv or "finetune" in argv or "bench" in argv:
                if mask == 2:
                    break  # these take their time


if __name__ == "__main__":
    main(sys.modules[__name__])
