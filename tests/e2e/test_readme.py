"""What the READMEs say is so: their commands run and print what is shown, their options exist, their links and
files lead somewhere, and every room has one."""
import glob
import os
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, TEMP, main, ok, run, temp

README, GUIDE = os.path.join(ROOT, "README.md"), os.path.join(ROOT, "tools", "guide.md")
BUILD = os.path.dirname(HONE)
LEAST, MOST = 20, 40  # lines of a room's README


def read(path):
    with open(path) as f:
        return f.read()


def readmes():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*README.md"], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.split()
    return [os.path.join(ROOT, p) for p in listed]


def rooms():
    """Folders with C sources of their own."""
    for top in ("codegen", "frontend", "ir", "passes", "runtime", "tools"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            if folder.split(os.sep)[-1] != "sample":
                yield folder, any(n.endswith((".c", ".h")) for n in names)


def blocks():
    """[(command, lines shown below it)] of each of the README's code blocks that has commands."""
    found, inside = [], False
    for line in read(README).splitlines():
        if line.startswith("    $ "):
            found += [] if inside else [[]]
            inside = True
            found[-1].append((line[6:], []))
        elif inside and line.startswith("    "):
            found[-1][-1][1].append(line[4:])
        elif line.strip():
            inside = False
    return found


def shape(line):
    """A line without its figures, names of CPUs and spaces."""
    line = re.sub(r"\bfor [\w-]+,", "for CPU,", line.replace(TEMP, "build"))
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(e[-+]\d+)?", "#", line).split())


def check(command, lines, printed):
    printed, at = [shape(line) for line in printed.splitlines()], 0
    for line in lines:
        if line.strip() == "...":
            continue
        want, part = shape(line), line.endswith("...")
        found = [i for i in range(at, len(printed))
                 if printed[i] == want or (part and printed[i].startswith(want[:-3].rstrip()))]
        assert found, f"'{command}' does not print '{want}' after line {at}:\n" + "\n".join(printed)
        at = found[0] + 1


def here(command):
    """The command on what this build made, in the test's folder."""
    command = re.sub(r"(?<![\w/.])build/hone(?![\w.-])", HONE, command)
    return re.sub(r"(?<![\w/.])(\./)?build/", TEMP + "/", command)


def test_commands_run_and_print_what_is_shown():
    commands = blocks()[0]
    assert len(commands) >= 5, commands
    for command, lines in commands:
        code, out, err = run(*here(command).split(), cwd=ROOT)
        assert code == 0, f"exit code {code} from {command}\n{out}{err}"
        check(command, lines, out + err)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def substitutes(port):
    """What stands for commands that would change this machine, or want what may not be here."""
    deb = f"dpkg-deb -x {TEMP}/hone_*.deb {TEMP}/root"
    cpack = f"cpack -G DEB --config {BUILD}/CPackConfig.cmake -B {TEMP}"
    wheel = "net-1-py3-none-linux_x86_64.whl"
    pip = f"python3 -m pip install --no-deps --target build/site build/{wheel}"
    found = {"(cd build && cpack)": cpack, "sudo apt-get install ./build/hone_0.1.0_amd64.deb": deb}
    if subprocess.run(["python3", "-m", "pip", "--version"], capture_output=True).returncode:
        print("no pip here: the wheel is unpacked")
        found[pip] = f"python3 -m zipfile -e {TEMP}/{wheel} {TEMP}/site"
    return found, {"8080": port, " hone compile": f" {TEMP}/root/usr/bin/hone compile"}


def test_four_ways_to_begin():
    """A block is a script; each way takes at most four commands."""
    ways, port = blocks()[1:], free_port()
    whole, words = substitutes(port)
    assert len(ways) == 4 and all(len(w) <= 4 for w in ways), ways
    shown = [command for way in ways for command, _ in way]
    assert all(c in shown for c in whole), sorted(set(whole) - set(shown))
    ok("cmake", "--build", BUILD, "--target", "man", "package_changelog")
    for way in ways:
        if any("curl" in c for c, _ in way) and not shutil.which("curl"):
            print("left out: no curl here")
            continue
        script = "\n".join(["set -e", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"] + [whole.get(c) or here(c) for c, _ in way])
        for word, other in words.items():
            script = re.sub(r"(?m)(?<![\w/.-])" + re.escape(word.strip()) + r"(?!\w)", other.strip(), script) if word != " hone compile" else \
                re.sub(r"(?m)^hone compile", other.strip(), script)
        done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300,
                              env={**os.environ, "PATH": os.path.dirname(sys.executable) + ":" + os.environ["PATH"]})
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        check(script, [line for _, lines in way for line in lines], done.stdout)
        assert "curl" not in script or "sneaker" in done.stdout, done.stdout


def test_options_exist():
    net, teach = temp("net"), temp("tuner")
    ok(HONE, "compile", SAMPLE, "-o", net)
    ok(HONE, "finetune", SAMPLE, "-o", teach, "--classes", "3")
    helps = [(HONE, c, "--help") for c in ("compile", "finetune", "quantize", "inspect", "verify", "opt")]
    helps += [(net, "--help")] + [(net, c, "--help") for c in ("classify", "detect", "segment", "features", "run", "bench", "serve", "info")]
    helps += [(teach, "--help")] + [(teach, c, "--help") for c in ("train", "eval", "predict", "export", "info", "bench")]
    known = set(re.findall(r"--[a-z][a-z-]*", "".join(run(*h)[1] for h in helps))) | {"--help"}
    for name in ("detect.c", "picture.h", "segment.c"):  # of programs that this network's is not
        known |= set(re.findall(r'\{"(--[a-z][a-z-]*)"', read(os.path.join(ROOT, "runtime", "infer", name))))
    text = re.sub(r"\b(cmake|curl|pip|cc|mpirun) .*", "", read(README) + read(GUIDE))
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - {"--build", "--install", "--prefix"}
    assert len(used) > 30 and used <= known, sorted(used - known)


def test_links_and_files_exist():
    for readme in readmes() + [GUIDE]:
        text, folder, name = read(readme), os.path.dirname(readme), os.path.relpath(readme, ROOT)
        for link in re.findall(r"\]\(([^)#]+)", text):
            there = os.path.normpath(os.path.join(folder, link))
            assert "://" in link or os.path.exists(there), f"{name} links to {link}"
        for path in re.findall(r"`([\w.*/-]+\.(?:c|h|def|py|ir|txt|npz|onnx))`", text):
            if re.search(r"[A-Z]{3}", path) or path.startswith("build/"):
                continue  # a placeholder
            places = (folder, ROOT)
            assert any(glob.glob(os.path.join(p, path)) for p in places), f"{name} names {path}"


def test_every_room_has_one():
    for folder, has_sources in rooms():
        path = os.path.join(folder, "README.md")
        lines = read(path).count("\n") if os.path.exists(path) else 0
        assert LEAST <= lines <= MOST or not has_sources, f"{os.path.relpath(path, ROOT)} has {lines} lines"


if __name__ == "__main__":
    main(sys.modules[__name__])
