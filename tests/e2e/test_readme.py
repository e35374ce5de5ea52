"""What the READMEs say is so: their commands run and print what is shown, their options exist, their links and
files lead somewhere, and every room has one."""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, TEMP, main, ok, run, temp

README = os.path.join(ROOT, "README.md")
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


def transcript():
    """(command, lines shown below it) of the README's code blocks."""
    shown = []
    for line in read(README).splitlines():
        if line.startswith("    $ "):
            shown.append((line[6:], []))
        elif shown and line.startswith("    "):
            shown[-1][1].append(line[4:])
        elif shown and line.strip() and not line.startswith("    "):
            break
    return shown


def shape(line):
    """A line without its figures, names of CPUs and spaces."""
    line = re.sub(r"\bfor [\w-]+,", "for CPU,", line.replace(TEMP, "build"))
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(e[-+]\d+)?", "#", line).split())


def test_commands_run_and_print_what_is_shown():
    commands = transcript()
    assert len(commands) >= 5, commands
    for command, lines in commands:
        words = [HONE if w == "build/hone" else temp(w[6:]) if w.startswith("build/") else w for w in command.split()]
        code, out, err = run(*words, cwd=ROOT)
        assert code == 0, f"exit code {code} from {command}\n{out}{err}"
        printed = [shape(line) for line in (out + err).splitlines()]
        at = 0
        for line in lines:
            if line.strip() == "...":
                continue
            want, part = shape(line), line.endswith("...")
            found = [i for i in range(at, len(printed))
                     if printed[i] == want or (part and printed[i].startswith(want[:-3].rstrip()))]
            assert found, f"'{command}' does not print '{want}' after line {at}:\n" + "\n".join(printed)
            at = found[0] + 1


def test_options_exist():
    net, teach = temp("net"), temp("tuner")
    ok(HONE, "compile", SAMPLE, "-o", net)
    ok(HONE, "finetune", SAMPLE, "-o", teach, "--classes", "3")
    helps = [(HONE, c, "--help") for c in ("compile", "finetune", "quantize", "inspect", "verify", "opt")]
    helps += [(net, "--help")] + [(net, c, "--help") for c in ("classify", "detect", "segment", "features", "run", "bench", "serve", "info")]
    helps += [(teach, "--help")] + [(teach, c, "--help") for c in ("train", "eval", "predict", "export", "info", "bench")]
    known = set(re.findall(r"--[a-z][a-z-]*", "".join(run(*h)[1] for h in helps))) | {"--help"}
    text = re.sub(r"(cmake|curl) .*", "", read(README))
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - {"--build", "--install", "--prefix"}
    assert len(used) > 30 and used <= known, sorted(used - known)


def test_links_and_files_exist():
    for readme in readmes():
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
