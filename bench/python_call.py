"""What a call from Python costs beside the C++ op: the same case, on one thread, by `bench turn` of the program and by the
installed module in turn, so that a machine whose speed drifts slows both alike. Prints, for each case, both medians of CPU
time, the median ratio of turns with its range, and how far the call raised the process's peak memory beyond its results.

Usage: python_call.py PROGRAM [TURNS]
"""
import json
import statistics
import subprocess
import sys
import time

import numpy as np

import scalelab

program, turns = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 15
SECONDS = 0.3  # of each turn
numbers = np.random.default_rng(0)


def uniform(n, d):
    return numbers.uniform(-1, 1, size=(n, d)).astype(np.float32)


def neighbours(n, q, d, k):
    X, queries = uniform(n, d), uniform(q, d)
    case = {"op": "knn", "parameters": {"data": "uniform", "n": n, "q": q, "d": d, "k": k}}
    return case, lambda: scalelab.knn(X, queries, n_neighbors=k, n_jobs=1), 8 * q * k


def clusters(n, d, k, iterations):
    X = numbers.uniform(size=(n, d)).astype(np.float32)
    start = X[:: n // k][:k].copy()
    case = {"op": "kmeans", "parameters": {"data": "uniform", "n": n, "d": d, "k": k, "iterations": iterations}}
    return case, lambda: scalelab.kmeans(X, k, init=start, max_iter=iterations, tol=0, n_jobs=1), 4 * n + 4 * k * d


def op_seconds(case):
    words = ["bench", "turn", "--case", json.dumps(case), "--budget", str(SECONDS), "--threads", "1", "--backend", "cpu", "--quiet"]
    return statistics.median(json.loads(subprocess.run([program, *words], check=True, capture_output=True).stdout)["cpu"])


def call_seconds(call):
    taken, begin = [], time.perf_counter()
    while not taken or time.perf_counter() - begin < SECONDS:
        before = time.process_time()
        call()
        taken.append(time.process_time() - before)
    return statistics.median(taken)


def peak_bytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def raised_peak(call):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = peak_bytes()
    kept = call()
    return peak_bytes() - before, kept


for case, call, results in (neighbours(100_000, 100_000, 2, 5), neighbours(100_000, 1000, 64, 10), clusters(100_000, 64, 50, 5),
                            clusters(100_000, 2, 100, 20)):  # fmt: skip
    call()
    raised, kept = raised_peak(call)
    ours, theirs = [], []
    for turn in range(turns):
        order = ((ours, lambda: call_seconds(call)), (theirs, lambda: op_seconds(case)))
        for list_of, measure in order if turn % 2 else order[::-1]:
            list_of.append(measure())
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    middle = statistics.median(ratios)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    name = " ".join(f"{k}={v}" for k, v in case["parameters"].items())
    print(f"{case['op']} {name}: call {1e3 * statistics.median(ours):.2f} ms, op {1e3 * statistics.median(theirs):.2f} ms, "
          f"ratio {middle:.3f} (middle half {low:.3f} to {high:.3f}); peak {raised / 1e6:.1f} MB more, results {results / 1e6:.1f} MB",
          flush=True)  # fmt: skip
