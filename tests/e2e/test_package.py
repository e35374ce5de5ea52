"""What is handed on: manual pages, completion, the Debian package, licences, programs without libraries."""
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, main, ok, run, temp

BUILD = os.path.dirname(HONE)


def commands():
    return [line.split("\t")[0] for line in ok(HONE, "--help=words").splitlines() if not line.startswith("-")]


def options_of(command):
    """As --help shows them: at the start of a line, before two spaces or the end of it."""
    text = ok(HONE, command, "--help")
    rows = re.findall(r"^  (-.*?)(?:  .*|)$", text, re.M)
    return [name for row in rows for name in re.findall(r"(?:^|, )(-{1,2}[A-Za-z][^ ,]*)", row)]


def test_every_option_is_in_the_manual_and_completes():
    assert {"compile", "finetune", "quantize", "inspect", "verify", "opt"} <= set(commands())
    for command in commands():
        page = ok(HONE, command, "--help=man").replace("\\", "")
        words = [line.split("\t")[0] for line in ok(HONE, command, "--help=words").splitlines()]
        assert f".TH \"HONE-{command.upper()}\" 1" in page and f"hone-{command} - " in page
        assert len(options_of(command)) > 5
        for name in options_of(command):
            assert f"fB{name}fR" in page, (command, name)
            if name.startswith("--"):
                assert name in words, (command, name)


def test_manual_pages_are_set_without_a_warning():
    for command in [[]] + [[c] for c in commands()]:
        page = ok(HONE, *command, "--help=man")
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        see = page.replace("\\", "").split(".SH SEE ALSO")[1]
        assert [c for c in commands() if f"hone-{c} (1)" in see] == ([] if command else commands()) and (command == []) != ("hone (1)" in see)
        assert "EXIT STATUS" in re.sub(".\b|\x1b\\[[0-9;]*m", "", done.stdout)


def complete(*words):
    script = f"""source {ROOT}/tools/completion/hone.bash
        COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _hone {HONE}; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return ok("bash", "-c", script).split()


def test_bash_completes():
    assert complete(HONE, "fine") == ["finetune"]
    assert complete(HONE, "compile", "--max-m") == ["--max-memory"]
    assert complete(HONE, "compile", "model") == []  # files: the shell's own


def licences(*program):
    return ok(*program, "--licences")


def test_every_archive_that_is_linked_has_its_licence():
    names = {"libjpeg.a": "libjpeg-turbo", "libpng16.a": "libpng", "libpng.a": "libpng", "libz.a": "zlib",
             "libjansson.a": "Jansson", "libevent_core.a": "libevent", "libwebp.a": "libwebp", "libwebpdecoder.a": "libwebp"}
    program = temp("sample")
    ok(HONE, "compile", SAMPLE, "-o", program)
    text = licences(program)
    whole, said = licences(HONE).split("\n\n"), text.split("\n\n")
    assert [part.strip() for part in whole if "xxHash" not in part] == [part.strip() for part in said], text
    for path in glob.glob(os.path.join(BUILD, "hone-link*.txt")):
        with open(path) as f:
            for archive in re.findall(r"^/.*/(\S+\.a)$", f.read(), re.M):
                assert names[archive] in text, archive


def in_nothing(program, *args):
    """Runs the program where there is no other file, as root; else beside others."""
    with open(program, "rb") as f:
        assert b"/ld-linux" not in f.read(4096)
    if os.geteuid() != 0:
        return ok(program, *args)
    root = temp("nothing")
    os.makedirs(root, exist_ok=True)
    for path in (program,) + args:
        shutil.copy(path, root)
    return ok("chroot", root, *["/" + os.path.basename(path) for path in (program,) + args])


def test_static_programs_need_no_file():
    program, tune = temp("static"), temp("static-tune")
    ok(HONE, "compile", SAMPLE, "-o", program, "--static")
    assert "sneaker" in in_nothing(program, SNEAKER).splitlines()[1]
    ok(HONE, "finetune", SAMPLE, "-o", tune, "--classes", "3", "--static")
    assert "fine-tunes" in ok(tune, "info")
    code, _, err = run(HONE, "compile", SAMPLE, "-o", program, "--static", "--emit", "shared")
    assert code == 2 and "--static is of programs" in err


def test_the_container_is_one_file():
    """The Dockerfile's steps but that which installs packages, in a folder and in a root of its own."""
    with open(os.path.join(ROOT, "tools/package/Dockerfile")) as f:
        lines = [line for line in f.read().splitlines() if line and not line.startswith("#")]
    runs = [line[4:] for line in lines if line.startswith("RUN ")]
    last = lines[lines.index("FROM scratch"):]
    assert len(runs) == 2 and "install_packages $BUILD_PACKAGES" in runs[0]
    assert last[1:] == ["COPY --from=program /program /program", 'ENTRYPOINT ["/program"]']
    work = temp("docker")
    os.makedirs(work, exist_ok=True)
    os.symlink(BUILD, os.path.join(work, "build"))
    step = runs[1].replace("-o /program", "-o program")
    assert step != runs[1]
    env = dict(os.environ, MODEL=SAMPLE, MCPU="x86-64-v2")
    subprocess.run(["sh", "-ec", step], cwd=work, env=env, check=True, capture_output=True)
    assert "sneaker" in in_nothing(os.path.join(work, "program"), SNEAKER).splitlines()[1]


def test_the_service_starts_what_there_is():
    with open(os.path.join(ROOT, "tools/package/hone-model@.service")) as f:
        unit = f.read()
    assert "Type=notify" in unit
    program, *args = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()
    assert program == "/opt/models/%i" and args[0] == "serve"
    drain, stop = int(args[args.index("--drain") + 1]), int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M).group(1))
    assert drain < stop
    ok(HONE, "compile", SAMPLE, "-o", temp("served"))
    assert "Answers requests" in ok(temp("served"), *args, "--help")


def test_debian_package():
    out, root = temp("deb"), temp("root")
    ok("cmake", "--build", BUILD, "--target", "man", "package_changelog")
    ok("cpack", "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", out)
    (deb,) = glob.glob(os.path.join(out, "hone_*.deb"))
    fields = ok("dpkg-deb", "-f", deb)
    for needed in ("libjpeg62-turbo-dev", "libpng-dev", "zlib1g-dev", "libjansson-dev", "libevent-dev", "libwebp-dev", "libllvm", "binutils"):
        assert needed in fields, fields
    ok("dpkg-deb", "-x", deb, root)
    with gzip.open(os.path.join(root, "usr/share/man/man1/hone-compile.1.gz"), "rt") as f:
        assert "ahead of time" in f.read()
    with gzip.open(os.path.join(root, "usr/share/doc/hone/changelog.gz"), "rt") as f:
        assert re.match(r"hone \(" + re.escape(ok(HONE, "--version").split()[1]) + r"\)", f.read())
    program = temp("from-package")
    ok(os.path.join(root, "usr/bin/hone"), "compile", SAMPLE, "-o", program)
    assert "sneaker" in ok(program, SNEAKER)
    if shutil.which("lintian"):
        code, said, _ = run("lintian", "--allow-root", "--suppress-tags",
                            "bogus-mail-host,bogus-mail-host-in-debian-changelog", deb)
        assert code == 0 and not said, said


if __name__ == "__main__":
    main(sys.modules[__name__])
