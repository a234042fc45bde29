#!/usr/bin/env python3
"""A second opinion on the errors of kNN on the spiral, on (x, y) and on encodings: neighbours, label map and the
mixture's weights written down once more.

Usage: density_reference.py PROGRAM FOLDER [DRAWS]     (NumPy and SciPy are needed)

FOLDER holds the result of a study on the spiral. For each kNN row of it whose density error was counted by weights
(density_points = 0, no noise, all rows kept) prints the program's grid and density errors, this script's, and that of
DRAWS fresh draws (400,000; 0: none) with its standard error. The weights are those of world 0, whose mixture is a file;
of other worlds there are the grid and the draws alone. Features are in float64 here and in float32 in the program, so
that a cell whose neighbours are all but equally far may differ. Points come from `PROGRAM dataset`, the labels' definition from include/scalelab/spiral.h.
"""
import io
import json
import pathlib
import subprocess
import sys

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import norm

MIXTURE = pathlib.Path(__file__).parent.parent / "host" / "data" / "mixture-default.csv"


def points(program, n, seed, world):
    command = [program, "dataset", "--n", n, "--seed", seed, "--out", "-"] + (["--mixture-seed", world] if world else [])
    text = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
    table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)
    return table[:, :2], table[:, 2].astype(int)


def inside(xy):
    """The spiral's labels, in double precision."""
    tip, length, turn = 0.92, 8 * np.pi, 2 * np.pi
    c = tip / length
    rho = np.hypot(xy[:, 0], xy[:, 1])
    phi = np.mod(np.arctan2(xy[:, 1], xy[:, 0]) - 0.75 * np.pi, turn)
    t = phi + turn * np.maximum(0, np.rint((rho / c - phi) / turn))
    width = turn * c / 4 * np.minimum(1, np.minimum(t / turn, (length - t) / (np.pi / 2)))
    return (np.abs(rho - c * t) < width).astype(int)


def cell_weights(side):
    """The share of world 0's points on each cell: (side, side), rows along y."""
    mixture = np.loadtxt(MIXTURE, delimiter=",", skiprows=1)
    edges = np.linspace(-1, 1, side + 1)
    weights = np.zeros((side, side))
    for x, y, sigma, weight in mixture:
        weights += weight * np.outer(*(np.diff(norm.cdf(edges, mean, sigma)) for mean in (y, x)))
    return weights / weights.sum()


def features(model, xy):
    """What knn-K@E:W measures distances between; of knn-K the points."""
    encoding, _, weight = model.partition("@")[2].partition(":")
    if not encoding:
        return xy
    w, r, theta = float(weight or 1), np.hypot(xy[:, 0], xy[:, 1]), np.arctan2(xy[:, 1], xy[:, 0])
    return np.stack(
        {
            "polar": (2 * r - 1, w * theta / np.pi),
            "polar-raw": (r, w * theta),
            "polar-trig": (2 * r - 1, w * np.cos(theta), w * np.sin(theta)),
        }[encoding],
        -1,
    )


def vote(tree, labels, k, queries):
    _, nearest = tree.query(queries, k=k, workers=-1)
    return (labels[nearest.reshape(len(queries), k)].sum(1) * 2 > k).astype(int)


def main(program, folder, draws=400_000):
    document = json.loads((pathlib.Path(folder) / "result.json").read_text())
    for row in document["rows"]:
        p = row["params"]
        plain = p["noise"] == 0 and p["keep"] == "all" and p["density_points"] == 0
        if not p["model"].startswith("knn-") or not plain or p["data"] != "spiral":
            continue
        model, world, side = p["model"], p.get("world", 0), p["grid"]
        k = int(model[4:].partition("@")[0])
        xy, labels = points(program, p["n"], p["seed"], world)
        tree = cKDTree(features(model, xy))
        centres = -1 + (np.arange(side) + 0.5) * 2 / side
        cells = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
        wrong = vote(tree, labels, k, features(model, cells)) != inside(cells)
        line = f"world {world} n {p['n']} {model} seed {p['seed']}: grid: program {100 * row['grid_error']:.5f} %, here {100 * wrong.mean():.5f} %"
        line += f"; density: program {100 * row['density_error']:.5f} %"
        if world == 0:
            line += f", weights {100 * (cell_weights(side).ravel() * wrong).sum():.5f} %"
        if draws > 0:
            fresh, truth = points(program, draws, 2**63 + 99, world)
            drawn = (vote(tree, labels, k, features(model, fresh)) != truth).mean()
            line += f", draws {100 * drawn:.3f} +- {100 * np.sqrt(drawn * (1 - drawn) / draws):.3f} %"
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
