#!/usr/bin/env python3
"""Errors of `scalelab compare` under one choice against another, paired over seeds.

Use: bench/paired.py REFERENCE OTHER...     each a results.json, or the folder that --out named

A Markdown table: for each model, size and measure the mean and its standard error in % of every result, then the mean
of each OTHER minus REFERENCE over the seeds that both trained, with its standard error. Exit status 2 when the results
share fewer than two seeds of a model.
"""
import collections
import json
import math
import pathlib
import sys


def errors(path):
    path = pathlib.Path(path)
    rows = json.loads((path / "results.json" if path.is_dir() else path).read_text())["rows"]
    found = collections.defaultdict(dict)  # (model, n, measure) -> seed -> %
    for row in rows:
        for measure in ("grid", "density"):
            if row["status"] == "ok":
                found[row["model"], row["n"], measure][row["seed"]] = 100 * row[f"{measure}_error"]
    return found


def worded(values, sign=""):
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return f"{mean:{sign}.2f} +- {deviation / math.sqrt(len(values)):.2f}"


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    names = [pathlib.Path(path).name for path in sys.argv[1:]]
    results = [errors(path) for path in sys.argv[1:]]
    columns = ["model", "N", "error", *names, *(f"{name} - {names[0]}" for name in names[1:])]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for key in results[0]:
        cells = [key[0], str(key[1]), key[2]]
        differences = []
        for other in results[1:]:
            seeds = results[0][key].keys() & other[key].keys()
            if len(seeds) < 2:
                print(f"{key[0]} at N = {key[1]}: fewer than two seeds in common", file=sys.stderr)
                return 2
            differences.append(worded([other[key][seed] - results[0][key][seed] for seed in sorted(seeds)], "+"))
        cells += [worded(list(result[key].values())) for result in results] + differences
        print("| " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
