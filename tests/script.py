"""What the test scripts in tests/e2e and tests/error share: a list of checks, a count at the end.

A script is called with the compiler's path and a folder for what it makes.
"""
import os
import shutil
import subprocess
import sys
import traceback

from foreign import MCPU, launch

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HONE = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(ROOT, "build", "hone")
TEMP = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else "/tmp/hone-test"
SAMPLE = os.path.join(ROOT, "tools", "sample", "sample.onnx")
SNEAKER = os.path.join(ROOT, "tools", "sample", "sneaker.png")
PATIENCE = 3600 if MCPU else 600  # seconds that a command may take: an emulator's are long


def run(*argv, cwd=None, env=None, timeout=PATIENCE, stdout=subprocess.PIPE, preexec_fn=None):
    """Runs a command; returns (exit code, stdout, stderr)."""
    done = subprocess.run(launch(argv, cwd or TEMP), stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=cwd or TEMP,
                          timeout=timeout, env=dict(os.environ, **(env or {})), preexec_fn=preexec_fn)
    return done.returncode, done.stdout, done.stderr


def ok(*argv, **more):
    """Runs a command that must succeed; returns its stdout."""
    code, out, err = run(*argv, **more)
    assert code == 0, f"exit code {code} from {' '.join(map(str, argv))}\n{out}{err}"
    return out


def temp(name):
    return os.path.join(TEMP, name)


def here_only(why):
    """Marks a test that is skipped with programs of another machine (foreign.py)."""
    def mark(test):
        test.here_only = why
        return test
    return mark


def main(module):
    """Runs every test_* function of a module in the order written; exit code 1 when one fails."""
    shutil.rmtree(TEMP, ignore_errors=True)
    os.makedirs(TEMP)
    tests = [f for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    skipped = [t for t in tests if MCPU and hasattr(t, "here_only")]
    failed = 0
    for test in tests:
        if test in skipped:
            print(f"skipped {test.__name__}: {test.here_only}", flush=True)
            continue
        try:
            test()
            print(f"ok      {test.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {test.__name__}", flush=True)
            traceback.print_exc()
    print(f"{len(tests) - failed - len(skipped)} passed, {failed} failed" + (f", {len(skipped)} skipped" if skipped else ""))
    shutil.rmtree(TEMP, ignore_errors=True)
    sys.exit(bool(failed))
