#!/usr/bin/env python3
"""Instructions that the CUDA kernels issue at fixed shapes, by pipe, held against a committed baseline: a guard of speed
without a GPU.

Usage: counts.py PTX_SCALELAB [--update]
Runs `PTX_SCALELAB bench run --profile` (the program on the PTX machine, target ptx_scalelab) for each case, imitating an
H200, and sums what warps issue in all its kernels: by pipe, with the 32-byte sectors of global and the passes of shared
memory. A count may exceed the baseline in counts.json by SLACK; below it by more than SLACK it asks for a new baseline
(--update). Counts depend on nvcc: a baseline is held per release, and one that is not there is printed and not judged. PTX
is not machine code: the counts compare a kernel with what it was, and are no times. Awkward points are also held against
even ones of the same shape (AWKWARD), with or without a baseline.
Exit status: 0 all within; 5 a count is beyond; 2 misuse.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SLACK = 0.02
LEAST = 1000  # counts below it are not judged
CASES = {  # name: (op, axes)
    "grid ids": ("grid", ["data=mixture", "n=2000", "k=5", "what=ids", "grid=256"]),
    "grid labels": ("grid", ["data=mixture", "n=2000", "k=5", "what=labels", "grid=512"]),
    "knn 2-D": ("knn", ["data=uniform", "n=5000", "q=5000", "d=2", "k=5"]),
    "knn 64-D": ("knn", ["data=uniform", "n=1000", "q=200", "d=64", "k=10"]),
    "kmeans 2-D": ("kmeans", ["data=uniform", "n=20000", "d=2", "k=200", "iterations=2"]),
    "kmeans 64-D": ("kmeans", ["data=uniform", "n=1000", "d=64", "k=100", "iterations=1"]),
    "train fp32": ("mlp", ["what=train", "m=2", "n=200", "epochs=1", "width=64", "batch=64"]),
    "train bf16x3": ("mlp", ["what=train", "m=2", "n=200", "epochs=1", "width=64", "batch=64", "precision=bf16x3"]),
    "map": ("mlp", ["what=map", "n=16384", "width=64", "epochs=2"]),
    "knn spot": ("knn", ["data=spot", "n=5000", "q=5000", "d=2", "k=5"]),
    "knn outside": ("knn", ["data=outside", "n=5000", "q=5000", "d=2", "k=5"]),
    "knn scales": ("knn", ["data=scales", "n=5000", "q=5000", "d=2", "k=5"]),
    "grid outlier": ("grid", ["data=outlier", "n=2000", "k=5", "what=ids", "grid=256"]),
    "grid farther": ("grid", ["data=farther", "n=2000", "k=5", "what=ids", "grid=256"]),
    "grid spot": ("grid", ["data=spot", "n=2000", "k=5", "what=ids", "grid=256"]),
    "kmeans outlier": ("kmeans", ["data=outlier", "n=20000", "d=2", "k=200", "iterations=2"]),
    "kmeans spot": ("kmeans", ["data=spot", "n=20000", "d=2", "k=200", "iterations=2"]),
}
# Points that would defeat a grid of cells: beside which case, and how many times its instructions at most. Cells far from
# all points share no list of candidates: each costs a search of its own.
AWKWARD = {"knn spot": ("knn 2-D", 1.5), "knn outside": ("knn 2-D", 1.5), "knn scales": ("knn 2-D", 2),
           "grid outlier": ("grid ids", 7), "grid farther": ("grid ids", 1.5), "grid spot": ("grid ids", 1.5), "kmeans outlier": ("kmeans 2-D", 1.5), "kmeans spot": ("kmeans 2-D", 2)}
PIPES = [  # the first that fits an opcode
    ("tensor", r"mma"),
    ("sync", r"bar|barrier|membar|fence|shfl|vote|match|redux|activemask|elect"),
    ("global", r"(ld|st|atom|red|ldu)\.((volatile|relaxed|acquire|release|gpu|cta|sys)\.)*global"),
    ("shared", r"ldmatrix|(ld|st|atom|red)\.((volatile|relaxed|acquire|release|gpu|cta|sys)\.)*shared"),
    ("local", r"(ld|st)\.local"),
    ("other memory", r"(ld|st|atom|red|prefetch)\b"),
    ("fp64", r".*\.f64"),
    ("special", r"(rcp|sqrt|rsqrt|ex2|lg2|sin|cos|tanh|div|rem|cvt)\."),
    ("fp32", r"(add|sub|mul|fma|mad)\..*f32"),
    ("multiply", r"(mul|mad)\."),
    ("control", r"(bra|brx|ret|exit|trap|nanosleep)\b"),
    ("move", r"(mov|cvta)\."),
    ("integer", r""),
]


def pipe_of(opcode):
    return next(name for name, pattern in PIPES if re.match(pattern, opcode))


def execute(program, op, axes, **settings):
    """({kernel: what it issued, as tests/ptx counts it}, what was written to stderr) of one run of a case."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "bench", "run", "--profile", "--backend", "cuda", "--op", op, "--quiet"]
        for axis in axes:
            command += ["--axis", axis]
        settings |= {"PTX_COUNT": f"{folder}/counts", "PTX_ARCH": "90"}
        result = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings, timeout=1800)
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {result.returncode}:\n{result.stderr[-2000:]}")
        return json.loads(pathlib.Path(f"{folder}/counts").read_text()), result.stderr


def count(program, op, axes):
    sums = {}
    for kernel in execute(program, op, axes)[0].values():
        for opcode, (issued, _, extra) in kernel["opcodes"].items():
            pipe = pipe_of(opcode)
            sums[pipe] = sums.get(pipe, 0) + issued
            if pipe in ("global", "shared"):
                unit = "sectors" if pipe == "global" else "passes"
                sums[f"{pipe} {unit}"] = sums.get(f"{pipe} {unit}", 0) + extra
    return sums


def text_of(baselines):
    """As JSON, a line for each case."""
    releases = []
    for release, cases in sorted(baselines.items()):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(counts, sort_keys=True)}" for name, counts in sorted(cases.items()))
        releases.append(f" {json.dumps(release)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(releases) + "\n}\n"


def main(arguments):
    if not arguments or arguments[0].startswith("-") or arguments[1:] not in ([], ["--update"]):
        print(__doc__, file=sys.stderr)
        return 2
    program, update = arguments[0], len(arguments) == 2
    nvcc = os.environ.get("CUDACXX") or "nvcc"
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = "nvcc " + re.search(r"release ([\d.]+)", said).group(1)
    file = pathlib.Path(__file__).with_name("counts.json")
    baselines = json.loads(file.read_text()) if file.exists() else {}
    baseline = baselines.get(release, {})
    beyond, totals = 0, {}
    print(f"{release}: what warps issue; only counts off their baseline by more than {SLACK:.0%} are named")
    for name, (op, axes) in CASES.items():
        now, before = count(program, op, axes), baseline.get(name, {})
        totals[name] = sum(v for k, v in now.items() if " " not in k)
        print(f"  {name:<14} {totals[name]:>12,} instructions", flush=True)
        if name in AWKWARD:
            even, most = AWKWARD[name]
            ratio = totals[name] / totals[even]
            beyond += ratio > most
            print(f"    {ratio:.2f} times {even}, at most {most}{': BEYOND' if ratio > most else ''}")
        for pipe in sorted(now.keys() | before.keys()):
            a, b = now.get(pipe, 0), before.get(pipe, 0)
            if not before or max(a, b) < LEAST or abs(a - b) <= SLACK * b:
                continue
            beyond += a > b
            print(f"    {pipe:<16} {a:>12,} against {b:>12,}: {'BEYOND' if a > b else 'better, --update keeps it'}")
        if update:
            baselines.setdefault(release, {})[name] = now
    if update:
        file.write_text(text_of(baselines))
        return 0  # whatever is beyond: the new baseline is there to be looked at
    if not baseline:
        print(f"no baseline for {release}: nothing was judged (--update makes one)")
    return 5 if beyond else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
