#!/usr/bin/env python3
"""Instructions that the CPU's hot loops execute, held against a committed baseline: a guard of speed without a clock.

Usage: instructions.py PROGRAM [--update]
Runs `PROGRAM bench run --profile` for each case under valgrind's callgrind, on one thread, and counts the instructions
inside the op alone. A count may exceed the baseline in instructions.json by SLACK; below it by more than SLACK it asks for
a new baseline (--update), so that what was won is kept. Counts depend on the compiler: a baseline is held per compiler
(`g++ 12`), and one that is not there is printed and not judged. Valgrind knows AVX2 and not AVX-512: the counts are of
the AVX2 loops (NEON on aarch64).
Exit status: 0 all within; 5 a count is beyond; 69 valgrind is missing; 2 misuse.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SLACK = 0.05
CASES = {  # name: (function counted, op, axes)
    "knn 2-D": ("scalelab::cpu::knn(*", "knn", ["n=20000", "q=20000", "d=2", "k=5"]),
    "knn 3-D, k = 16": ("scalelab::cpu::knn(*", "knn", ["n=20000", "q=20000", "d=3", "k=16"]),
    "knn 64-D": ("scalelab::cpu::knn(*", "knn", ["n=4000", "q=200", "d=64", "k=10"]),
    "grid ids": ("scalelab::cpu::grid_knn(*", "grid", ["n=5000", "grid=512", "k=5"]),
    "grid ids, k = 15": ("scalelab::cpu::grid_knn(*", "grid", ["n=5000", "grid=512", "k=15"]),
    "grid labels": ("scalelab::cpu::grid_knn_labels(*", "grid", ["what=labels", "data=mixture", "n=5000", "grid=512"]),
    "grid labels, noise": ("scalelab::cpu::grid_knn_labels(*", "grid",
                           ["what=labels", "data=mixture", "n=5000", "grid=512", "noise-percent=10"]),
    "kmeans 2-D": ("scalelab::cpu::kmeans_fit(*", "kmeans", ["n=50000", "d=2", "k=200", "iterations=5"]),
    "kmeans 64-D": ("scalelab::cpu::kmeans_fit(*", "kmeans", ["n=5000", "d=64", "k=100", "iterations=3"]),
    "train, width 64": ("scalelab::cpu::mlp_train(*", "mlp", ["what=train", "n=500", "epochs=2", "width=64", "batch=64"]),
    "score, width 64": ("scalelab::cpu::mlp_forward(*", "mlp", ["what=score", "n=16384", "width=64", "epochs=0"]),
    "map, width 64": ("scalelab::cpu::grid_mlp_labels(*", "mlp", ["what=map", "n=16384", "width=64", "epochs=20"]),
}


def count(program, function, op, axes):
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--collect-atstart=no",
                   f"--toggle-collect={function}", program, "bench", "run", "--profile", "--op", op, "--threads", "1",
                   "--backend", "cpu", "--quiet"]
        for axis in axes:
            command += ["--axis", axis]
        result = subprocess.run(command, capture_output=True, text=True)
        collected = re.search(r"Collected : (\d+)", result.stderr)
        if result.returncode != 0 or not collected:
            sys.exit(f"instructions.py: {' '.join(command)} ended with {result.returncode}:\n{result.stderr[-2000:]}")
        return int(collected.group(1))


def main(arguments):
    if not arguments or arguments[0].startswith("-") or arguments[1:] not in ([], ["--update"]):
        print(__doc__, file=sys.stderr)
        return 2
    program, update = arguments[0], len(arguments) == 2
    if shutil.which("valgrind") is None:
        print("instructions.py: valgrind is missing: apt-get install valgrind", file=sys.stderr)
        return 69
    environment = json.loads(subprocess.run([program, "info", "--json", "--backend", "cpu"], capture_output=True, text=True,
                                            check=True).stdout)
    words = json.dumps(environment)
    found = re.search(r"(g\+\+|clang) (\d+)", words)
    compiler = f"{found.group(1)} {found.group(2)}" if found else "unknown"
    file = pathlib.Path(__file__).with_name("instructions.json")
    baselines = json.loads(file.read_text()) if file.exists() else {}
    baseline = baselines.get(compiler, {})
    beyond = below = 0
    print(f"{compiler}: instructions inside the op, baseline, ratio")
    for name, (function, op, axes) in CASES.items():
        now = count(program, function, op, axes)
        before = baseline.get(name)
        verdict = ""
        if now == 0:
            verdict, beyond = "NOTHING WAS COUNTED: has the op another name?", beyond + 1
        elif before:
            if now > before * (1 + SLACK):
                verdict, beyond = "BEYOND", beyond + 1
            elif now < before * (1 - SLACK):
                verdict, below = "better: --update keeps it", below + 1
        print(f"  {name:<22} {now:>14,} {before or 0:>14,} {now / before if before else float('nan'):>7.3f} {verdict}",
              flush=True)
        if update:
            baselines.setdefault(compiler, {})[name] = now
    if update:
        file.write_text(json.dumps(baselines, indent=1, sort_keys=True) + "\n")
        return 0
    if not baseline:
        print(f"no baseline for {compiler}: nothing was judged (--update makes one)")
    return 5 if beyond else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
