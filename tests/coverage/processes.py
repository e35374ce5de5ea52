"""Commands of coverage.py and checks.py, limited by the processor's time and not the clock's: a busy machine refuses nothing."""
import os
import resource
import signal
import subprocess


def call(words, folder, limit):
    """Exit code (None: over the limit), what it wrote to its output and to its errors, seconds of processor time with its children's."""
    before = os.times()
    try:
        p = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=20 * limit,
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)))
    except subprocess.TimeoutExpired:  # it hangs
        return None, "", "", limit
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    return None if p.returncode == -signal.SIGXCPU else p.returncode, p.stdout, p.stderr, seconds
