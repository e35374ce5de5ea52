#!/usr/bin/env python3
"""The tests of inference, fine-tune and library programs with programs for aarch64 (foreign.py), one at a time, quickest first:

    tests/foreign_suite.py BUILD [REGEX...]

runs those whose names match one, or all, for the CPU of HONE_TEST_MCPU (neoverse-n1); what they print goes to BUILD/foreign/CPU/NAME.log. Scripts
compile for it; the runtime's tests in C were compiled for it with the fakes. It says of each `passed`, `failed`,
`skipped` (and why) or `cut off` (after --limit seconds) and how long it took; exit code 1 when one failed or was cut off.
--rest leaves out those whose last run passed. BUILD holds hone and `fakes_aarch64`; needs qemu-user."""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

os.environ.setdefault("HONE_TEST_MCPU", "neoverse-n1")
from foreign import MCPU, launch

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Quickest first on this project's machine.
TESTS = """
    runtime_test_ceiling runtime_test_rng runtime_test_text runtime_test_bind runtime_test_options_diff runtime_test_stored runtime_test_mix
    runtime_test_safetensors runtime_test_progress runtime_test_solve runtime_test_loader runtime_test_model runtime_test_pool runtime_test_host
    runtime_test_solved runtime_test_limits runtime_test_dataset runtime_test_npz runtime_test_npy runtime_test_serve
    runtime_test_loading runtime_test_program runtime_test_inputs runtime_test_shards runtime_test_index runtime_test_augment
    runtime_test_policy runtime_test_board runtime_test_folds runtime_test_images runtime_test_train runtime_test_serve_http
    e2e_test_rows e2e_test_features e2e_test_detect e2e_test_quant e2e_test_quant_nets e2e_test_bounded
    e2e_test_newer e2e_test_fused e2e_test_input_grad e2e_test_fgsm e2e_test_head_at e2e_test_inspect e2e_test_layer_decay
    e2e_test_prepared e2e_test_vjp e2e_test_views e2e_test_masks e2e_test_report e2e_test_recipe e2e_test_params e2e_test_roles
    e2e_test_library e2e_test_constants e2e_test_classifier e2e_test_bf16 e2e_test_bf16_train e2e_test_casts e2e_test_names
    e2e_test_train_parity e2e_test_sample e2e_test_batch e2e_test_image_metadata e2e_test_scores e2e_test_quantize
    e2e_test_heads e2e_test_transfer e2e_test_finetune e2e_test_tuned e2e_test_light_zoo e2e_test_families""".split()
SKIPPED = {
    "e2e_test_autotune": "measures kernels on the machine that compiles",
    "e2e_test_python": "Python loads libraries of its own machine",
    "e2e_test_tuner": "Python starts the program, with nothing between",
    "e2e_test_languages": "builds with compilers of this machine; C is in e2e_test_library",
    "e2e_test_resident": "looks at a process's memory, which is an emulator's",
    "e2e_test_units": "units are x86-64's levels",
    "e2e_test_serve_units": "units are x86-64's levels",
    "e2e_test_ranks": "mpirun starts the processes",
    "runtime_test_ranks": "mpirun starts the processes",
}


def commands(build, folder):
    """Every test's command, by name: a script's as ctest has it, with a place of its own below `folder`; in C what was compiled for the other machine."""
    said = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], capture_output=True, text=True, check=True).stdout
    known = {t["name"]: t["command"] for t in json.loads(said)["tests"] if "command" in t}
    known = {name: [os.path.join(folder, name) if a == os.path.join(build, "tests", name) else a for a in command] for name, command in known.items()}
    programs = os.path.join(build, "tests", "runtime", "aarch64")
    return known | {name: launch([os.path.join(programs, name)]) for name in os.listdir(programs) if name in TESTS}


def finish(command, log, limit):
    """The word for how the command went, which takes its children along when it is cut off; tests send SIGHUP, which nohup ignores."""
    env = {"OMP_WAIT_POLICY": "passive", **os.environ}
    with open(log, "w") as f:
        process = subprocess.Popen(["env", "--default-signal=HUP", *command], stdout=f, stderr=subprocess.STDOUT, env=env, cwd=ROOT, start_new_session=True)
        try:
            return "failed" if process.wait(limit) else "passed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "cut off"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("regex", nargs="*")
    parser.add_argument("--limit", type=int, default=3600, help="seconds that a test may take (3600)")
    parser.add_argument("--rest", action="store_true", help="leave out those whose last run passed")
    a = parser.parse_args()
    a.build = os.path.abspath(a.build)
    folder = os.path.join(a.build, "foreign", MCPU)
    os.makedirs(folder, exist_ok=True)
    known = commands(a.build, folder)
    count = dict.fromkeys(("passed", "failed", "cut off", "skipped"), 0)
    for name in [*TESTS, *SKIPPED]:
        passed = os.path.join(folder, name + ".passed")
        if a.regex and not any(re.search(r, name) for r in a.regex) or a.rest and os.path.exists(passed):
            continue
        start = time.monotonic()
        if name in SKIPPED:
            word, why = "skipped", ": " + SKIPPED[name]
        else:
            if os.path.exists(passed):
                os.remove(passed)
            word, why = finish(known[name], os.path.join(folder, name + ".log"), a.limit), ""
            if word == "passed":
                open(passed, "w").close()
        count[word] += 1
        print(f"{word:8} {time.monotonic() - start:6.1f} s  {name}{why}", flush=True)
    print(", ".join(f"{n} {word}" for word, n in count.items() if n))
    return bool(count["failed"] or count["cut off"])


if __name__ == "__main__":
    sys.exit(main())
