"""The scripts of tests/e2e and tests/runtime with programs of another machine. Where HONE_TEST_MCPU names a CPU of aarch64
(neoverse-n1), what they compile is for that, C is compiled by its cross compiler, and what is an executable of it runs under qemu. So
    OMP_WAIT_POLICY=passive HONE_TEST_MCPU=neoverse-n1 ctest --test-dir build -R 'e2e_test_sample$'
says whether the sample's checks hold there. Unset, nothing changes. By hand: tests/README.md says which scripts make sense."""
import os
import shutil

GNU = "aarch64-linux-gnu"
CPUS = {"aarch64": "cortex-a53", "cortex-a76": "cortex-a76", "neoverse-n1": "neoverse-n1", "neoverse-v1": "max"}  # qemu's
MCPU = os.environ.get("HONE_TEST_MCPU")
OTHERS = ("aarch64", "cortex-a76") if MCPU else ("x86-64-v3", "generic")  # CPUs whose programs run as well
TOOLS = {"cc": "gcc", "ar": "ar"}
COMPILES = ("compile", "finetune")  # for a machine; other commands run what they compile
EM_AARCH64 = 183


def is_foreign(path):
    path = shutil.which(path) or path
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as f:
        head = f.read(20)
    return head[:4] == b"\x7fELF" and int.from_bytes(head[18:20], "little") == EM_AARCH64


def launch(argv, folder="."):
    """The command that stands for argv, which begins with a program; `folder` is where it runs."""
    argv = [os.fsdecode(a) if isinstance(a, bytes) else str(a) for a in argv]
    if not MCPU:
        return argv
    if argv[0] in TOOLS:
        return [f"{GNU}-{TOOLS[argv[0]]}", *argv[1:]]
    if os.path.basename(argv[0]) == "hone" and len(argv) > 1 and argv[1] in COMPILES and not any(a.startswith("--mcpu") for a in argv):
        return [*argv[:2], "--mcpu", MCPU, *argv[2:]]
    if is_foreign(os.path.join(folder, argv[0])):
        return ["qemu-aarch64", "-L", f"/usr/{GNU}", "-cpu", CPUS[MCPU], *argv]
    return argv
