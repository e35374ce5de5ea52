"""The same input gives the same bytes, whatever the folder, the locale, the time, the address layout, the environment, the
number of jobs and of CPUs, and the folder for temporary files are. What a program is tuned for, --threads and --mcpu, is
part of the input.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, SAMPLE, TEMP, main, ok, temp

KINDS = {"exe": "", "shared": ".so", "static": ".a", "llvm-ir": ".ll", "ir": ".ir"}


def locales():
    """What is installed of locales that write numbers or letters otherwise, or C's with other bytes."""
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
    return [n for n in ("de_DE.utf8", "tr_TR.utf8", "C.utf8") if n in known]


def digests(folder):
    """{file below the folder: digest}"""
    found = {}
    for where, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(where, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, folder)] = hashlib.sha256(f.read()).hexdigest()
    return found


def build(name, flags=(), prefix=(), env=None, model=SAMPLE, folder=None):
    """All kinds of output, made in a new folder; {file: digest}"""
    folder = folder or temp(name)
    os.makedirs(folder)
    for kind in KINDS:
        ok(*prefix, HONE, "compile", model, "-o", "sample" + KINDS[kind], "--emit", kind, "--threads", 2, *flags, cwd=folder,
           env=env)
    ok(*prefix, HONE, "finetune", model, "-o", "teach", "--classes", "3", "--threads", 2, *flags, cwd=folder,
       env=env)
    return digests(folder)


def differences(want, got):
    return sorted(n for n in want.keys() | got.keys() if want.get(n) != got.get(n))


def test_reproducible():
    start = time.time()
    want = build("plain")
    deep = os.path.join(TEMP, "an other", "folder " + "x" * 100)
    shutil.copytree(os.path.dirname(SAMPLE), os.path.join(deep, "models"))
    os.makedirs(temp("tmp"))
    ways = {
        "another folder, later": dict(folder=os.path.join(deep, "out"), model="../models/" + os.path.basename(SAMPLE)),
        "one job, one CPU, no random addresses": dict(flags=["-j", "1"], prefix=["setarch", "-R", "taskset", "1"]),
        "three jobs, a large environment, another temporary folder": dict(
            flags=["-j", "3"], env={"TMPDIR": temp("tmp"), **{f"VARIABLE_{i}": "x" * 1000 for i in range(100)}}),
        **{f"locale {name}, another time zone": dict(env={"LC_ALL": name, "TZ": "Asia/Kathmandu"}) for name in locales()},
    }
    wrong = []
    time.sleep(max(0, 2.1 - (time.time() - start)))  # formats count time in steps of up to two seconds
    for i, (name, how) in enumerate(ways.items()):
        wrong += [f"{name}: {n} differs" for n in differences(want, build(f"way{i}", **how))]
    assert not wrong, "\n".join(wrong)
    print(f"  {len(want)} files, {len(ways)} other ways: the same bytes")


if __name__ == "__main__":
    main(sys.modules[__name__])
