#!/usr/bin/env python3
"""The floor that counts of instructions give every GPU case of the bench. No figure that this makes was measured on a GPU.

Usage: counted.py PTX_SCALELAB
Runs `PTX_SCALELAB bench run --profile` (the program on the PTX machine, target ptx_scalelab, imitating an H200) once for each
case, at a shape small enough to be executed on a CPU, charges what its kernels issue to the pipes of a multiprocessor
(charge.py), and multiplies by how much more work the case is. Writes bench/results/gpu-counted.json, from which `bench run`
on such a GPU names the floor of a row beside its time, and the table of bench/results/gpu.md between its two marks.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

import counts
from charge import PIPES, charged

RESULTS = pathlib.Path(__file__).resolve().parent / "results"
MULTIPROCESSORS, CLOCK = 132, 1.83e9  # of an H200 under load, between its base and its boost clock
# What an H200 does by its data sheet at that clock, in the bench's names: assumed here, measured by every run of the bench.
CEILINGS = {
    "fma_flop": MULTIPROCESSORS * 128 * 2 * CLOCK,
    "minimum_ops": MULTIPROCESSORS * 64 * CLOCK,
    "shared_bytes": MULTIPROCESSORS * 128 * CLOCK,
    "tensor_flop": 0.6 * 989e12 * CLOCK / 1.83e9,  # mma.sync does some 0.6 of what wgmma does
    "copy_bytes": 0.9 * 4.8e12,
}
LAUNCH = 2e-6  # seconds from one queued launch to the next
RATES = {  # instructions of warps a second, or lines: as bench/counted.cpp has them
    "issue": CEILINGS["minimum_ops"] / 16,
    "fp32": CEILINGS["fma_flop"] / 64,
    "integer": CEILINGS["minimum_ops"] / 32,
    "fp64": CEILINGS["minimum_ops"] / 32,
    "special": CEILINGS["minimum_ops"] / 128,
    "tensor": CEILINGS["tensor_flop"] / 4096,
    "shared": CEILINGS["shared_bytes"] / 128,
}


# --- a case at a shape that can be executed ---------------------------------------------------------------------------
# The shape, how much more work the case is, how many more blocks it has; and where work grows with a parameter but not in
# proportion to it, that parameter and the two small values of it from which a line is drawn to the case's own.
def of_grid(p):
    """As many references a cell, on fewer cells: what a tile meets is the same, but for the edges."""
    side = 1024 if p["grid"] > 8192 else 512
    shrink = max(1, p["grid"] // side)
    along = shrink if p["data"] == "collinear" else shrink**2
    return {**p, "grid": p["grid"] // shrink, "n": max(p["n"] // along, 4 * p["k"])}, shrink**2, shrink**2


def of_knn(p):
    """A tree: fewer points and queries alike, without the few levels that it is deeper. Every pair: fewer of both."""
    if p["d"] <= 3:
        shrink = max(1, max(p["n"], p["q"]) / (20000 if p["k"] <= 16 else 4000))
        n = max(round(p["n"] / shrink), 20 * p["k"])
        return {**p, "n": n, "q": round(p["q"] / shrink)}, shrink, shrink
    # Two multiprocessors for many queries: as in the case itself each block then meets many references.
    small = {**p, "q": min(p["q"], 128), "PTX_MULTIPROCESSORS": 2 if p["q"] > 128 else MULTIPROCESSORS}
    first = 8192 if p["d"] < 256 else 2048
    return small, p["q"] / small["q"], p["q"] / small["q"], ("n", first, 2 * first)


def of_kmeans(p):
    """Sorted tiles: as many points a cluster, but at least 128 clusters, below which there are no tiles. Every pair: fewer points.
    Two numbers of iterations, for what is done once is not repeated, or two of clusters, for they do not change all."""
    small = dict(p)
    if p["d"] > 3:
        small.update(n=min(p["n"], 1024))
        more = p["n"] / small["n"]
        if p["k"] > 256:
            return small, more, more, ("k", 128, 256)
    elif p["k"] < 128:
        small.update(n=20000)
        more = p["n"] / small["n"]
    else:
        small.update(k=128, n=round(min(p["n"] * 128 / p["k"], 128000)))
        more = p["n"] / small["n"]
    return small, more, more, ("iterations", 1, 2)


def of_mlp(p):
    """Fewer networks, epochs and points of each; of a map fewer cells, more of which lie on the network's border."""
    if p["what"] == "train":
        small = {**p, "m": min(p["m"], 2), "epochs": 1, "n": 128 if p["batch"] else p["n"]}
        more = p["m"] / small["m"]
        return small, more * p["epochs"] * p["n"] / small["n"], more
    small = {**p, "n": 16384 if p["what"] == "score" else 65536, "epochs": min(p["epochs"], 20)}
    more = p["n"] / small["n"]
    return small, more, more


SHAPES = {"grid": of_grid, "knn": of_knn, "kmeans": of_kmeans, "mlp": of_mlp}


def execute(program, op, shape):
    """{kernel: (launches, blocks of one, {pipe: amount})} of one run of a case."""
    axes = [f"{name}={value}" for name, value in shape.items() if not name.startswith("PTX")]
    settings = {name: str(value) for name, value in shape.items() if name.startswith("PTX")}
    kernels, said = counts.execute(program, op, axes, PTX_VERBOSE="1", **settings)
    launched = re.findall(r"^PTX machine: (.*) <<<(\d+),", said, re.M)
    found = {}
    for name, kernel in kernels.items():
        if op == "mlp" and shape["what"] != "train" and "mlp_train" in name:
            continue  # makes the network that is mapped
        blocks = [int(count) for start, count in launched if name.startswith(start)]
        found[name] = (kernel["launches"], sum(blocks) / len(blocks), charged(kernel["opcodes"]))
    return found


def short(kernel):
    """A kernel's name without the names round it, and with its template arguments where they are simple."""
    name = re.sub(r"scalelab::cuda::|\(anonymous namespace\)::|\(int\)|\(bool\)|^void ", "", kernel)
    while "> >" in name:
        name = name.replace("> >", ">>")
    head = re.match(r"[\w:]+", name)[0]
    simple = re.match(r"<[\w<>, ]*>(?=\()", name[len(head):])
    return head.split("::")[-1] + (simple[0] if simple else "")


def continued(first, second, at):
    """Of two executions, kernel by kernel, the amounts on the line through both, `at` steps from the first to the second."""
    line = lambda a, b: max(0, a + (b - a) * at)
    nothing = (0, 0, dict.fromkeys(PIPES, 0.0))
    for name in first.keys() | second.keys():
        a, b = first.get(name, nothing), second.get(name, nothing)
        yield name, (line(a[0], b[0]), line(a[1], b[1]), {pipe: line(a[2][pipe], b[2][pipe]) for pipe in PIPES})


def shapes_of(shape, more, more_blocks, along=None):
    """The shapes to execute: one, or two along a parameter."""
    return [shape] if along is None else [{**shape, along[0]: value} for value in along[1:]]


def counted(parameters, executed, shape, more, more_blocks, along=None):
    """The case's entry: kernels of the same name are one."""
    small = " ".join(f"{k}={v}" for k, v in shape.items() if parameters.get(k, v) != v)
    whole = executed[0]
    if along is not None:
        name, first, second = along
        whole = dict(continued(*executed, (parameters[name] - first) / (second - first)))
        small += f"{' ' if small else ''}{name}={first} and {second}"
    kernels = {}
    for name, (launches, blocks, amounts) in whole.items():
        entry = kernels.setdefault(short(name), {"launches": 0.0, "share": 0.0, **dict.fromkeys(PIPES, 0.0)})
        entry["launches"] += launches
        entry["share"] = max(entry["share"], min(1, blocks * more_blocks / MULTIPROCESSORS))
        for pipe in PIPES:
            entry[pipe] += amounts[pipe] * more
    rows = [{"name": name, **{k: float(f"{v:.5g}") for k, v in entry.items() if v}} for name, entry in kernels.items()]
    rows = [{"launches": 0, **row} for row in rows if row.get("issue")]
    return {"executed": small, "times": float(f"{more:.5g}"), "kernels": sorted(rows, key=lambda row: -row["issue"])}


def floor_of(entry):
    """(bound, seconds): as bench/counted.cpp computes them."""
    seconds = {"launches": 0.0}
    for kernel in entry["kernels"]:
        slowest = max((kernel.get(pipe, 0) / rate / kernel["share"], pipe) for pipe, rate in RATES.items())
        seconds[slowest[1]] = seconds.get(slowest[1], 0) + slowest[0]
        seconds["launches"] += LAUNCH * kernel["launches"]
    memory = entry["bytes"] / CEILINGS["copy_bytes"]
    whole = sum(seconds.values())
    return ("memory", memory) if memory > whole else (max(seconds, key=seconds.get), whole)


def bytes_of(op, p):
    """What must at least pass through main memory: Workload::bytes of the bench."""
    n, k, d = p.get("n", 0), p.get("k", 0), p.get("d", 0)
    if op == "grid":
        return p["grid"] ** 2 * (1 if p["what"] == "labels" else 4 * k) + 9 * n
    if op == "knn":
        return 4 * (n * d + p["q"] * d + 2 * p["q"] * k)
    if op == "kmeans":
        return (p["iterations"] + 1) * 4 * (n * d + k * d) + 4 * n
    if p["what"] != "train":
        return n * (12 if p["what"] == "score" else 1)
    w = p["width"]
    return 9 * n + p["m"] * (8 * (2 * w * w + 6 * w + 1) + 4 * p["epochs"])


def time_text(seconds):
    scale, unit = next((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds >= s or u == "us")
    return f"{seconds / scale:.3g} {unit}"


def table(cases):
    lines = ["| case | counted bound | floor | executed, times | most of it |", "|---|---|---|---|---|"]
    for name, entry in cases.items():
        seconds = lambda kernel: max(kernel.get(pipe, 0) / rate for pipe, rate in RATES.items()) / kernel["share"]
        most = max(entry["kernels"], key=seconds)
        share = seconds(most) / sum(map(seconds, entry["kernels"]))
        shape = f"{entry['executed'] or 'as it is'}, {entry['times']:.4g}"
        lines.append(f"| {name} | {entry['bound']} | {time_text(entry['floor_seconds'])} | {shape} | `{most['name']}` {share:.0%} |")
    return "\n".join(lines)


def main(arguments):
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    program = arguments[0]
    listed = json.loads(subprocess.run([program, "bench", "list", "--json"], capture_output=True, text=True, check=True).stdout)
    cases, jobs = {}, {}
    for op in listed["ops"]:
        for name in op["cases"] + [large["name"] for large in op["large"]]:
            pairs = [word.split("=") for word in name.split()[1:]]
            parameters = {k: int(v) if v.isdigit() else v for k, v in pairs}
            cases[name] = (op["name"], parameters, SHAPES[op["name"]](parameters))
            for shape in shapes_of(*cases[name][2]):
                jobs[json.dumps([op["name"], shape])] = None

    def run(key):
        op, shape = json.loads(key)
        jobs[key] = execute(program, op, shape)
        print(f"{op} {shape}", file=sys.stderr, flush=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, jobs))
    entries = {}
    for name, (op, parameters, small) in cases.items():
        entry = counted(parameters, [jobs[json.dumps([op, shape])] for shape in shapes_of(*small)], *small)
        entry["bytes"] = bytes_of(op, parameters)
        entry["bound"], seconds = floor_of(entry)
        entry["floor_seconds"] = float(f"{seconds:.5g}")
        entries[name] = entry
    document = {"about": "Counts of executed PTX of sm_90a, charged and scaled: not measured on any GPU. Made by bench/counted.py.",
                "ceilings": {k: float(f"{v:.5g}") for k, v in CEILINGS.items()}, "cases": entries}
    cases_text = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items())
    head = json.dumps({k: v for k, v in document.items() if k != "cases"})[:-1]
    (RESULTS / "gpu-counted.json").write_text(f'{head}, "cases": {{\n{cases_text}\n}}}}\n')
    page = (RESULTS / "gpu.md").read_text()
    begin, end = "<!-- counted.py -->", "<!-- end of counted.py -->"
    page = page[:page.index(begin) + len(begin)] + "\n" + table(entries) + "\n" + page[page.index(end):]
    (RESULTS / "gpu.md").write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
