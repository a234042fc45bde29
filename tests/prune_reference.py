#!/usr/bin/env python3
"""A second opinion on `scalelab prune-study`: its verdicts against all rows and its frontier, from the rows alone.

Usage: prune_reference.py FOLDER     (NumPy and SciPy are needed)

FOLDER holds the result of a prune-study without --boundary-rule, in one world. Says for each error how many verdicts of
the findings "equal" (non-inferiority, with equal epochs and equal steps) and "all" (difference and equivalence) are those
of SciPy's t tests after Holm's correction written down once more, and how far the points and the exponents of the frontier
lie from those found here. Nothing is shared with the program but what its pages say of the methods.
"""
import collections
import json
import pathlib
import sys

import numpy as np
from scipy import optimize, stats

MARGIN = 0.005


def choice_of(params):
    """What tells choices apart, but for the fraction."""
    names = ("keep", "score", "features", "clusters", "class_floor", "probe_angle")
    return tuple(params[name] for name in names) if params["keep"] in ("hard", "easy") else (params["keep"],)


def one_sided(differences, bound):
    """p of a mean difference that is the bound or more."""
    if len(differences) < 3:
        return np.nan
    return stats.ttest_1samp(differences, bound, alternative="less").pvalue


def holm(p):
    """Corrected p values, in the order given."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.array(p)[order] * (len(p) - np.arange(len(p))))
    return corrected


def judged(family):
    """The verdicts of a family of differences: lower, higher, same or undecided; and whether each is shown not to be worse."""
    differ = holm([stats.ttest_1samp(d, 0).pvalue if np.ptp(d) > 0 else 1.0 for d in family])
    raw_same = np.array([max(one_sided(d, MARGIN), one_sided(-d, MARGIN)) for d in family])
    factors = np.where(raw_same > 0, holm(raw_same) / np.where(raw_same > 0, raw_same, 1), len(family))
    words, not_worse = [], []
    for d, p, same, factor in zip(family, differ, holm(raw_same), factors):
        words.append(("lower" if d.mean() < 0 else "higher") if p < 0.05 else "same" if same < 0.05 else "undecided")
        not_worse.append(bool(one_sided(d, MARGIN) * factor < 0.05))
    return words, not_worse


def errors_by_choice(rows, measure):
    table = collections.defaultdict(dict)  # by (choice, fraction, n): seed -> (kept, error)
    for row in rows:
        p = row["params"]
        table[choice_of(p), p["fraction"], p["n"]][p["seed"]] = (row["kept"], row[measure])
    return table


def differences(a, b):
    return np.array([a[seed][1] - b[seed][1] for seed in sorted(a) if seed in b])


def check_verdicts(document, measure):
    table = errors_by_choice(document["rows"], measure)
    steps = errors_by_choice(document["equal_steps_rows"], measure)
    names = {}
    for entry in document["choices"]:
        if entry["keep"] != "all":
            key = tuple(entry[k] for k in ("keep", "score", "features", "clusters", "class_floor"))
            key = key + (entry.get("probe_angle", 0),) if entry["keep"] != "random" else ("random",)
            names[entry["choice"]] = key
    short = measure.split("_")[0]
    for finding in document["findings"]:
        kind = finding["id"].removesuffix("-" + short)
        if kind not in ("equal", "all") or not finding["id"].endswith(short):
            continue
        families = collections.defaultdict(list)
        for contrast in finding["contrasts"]:
            place = contrast["place"]
            families[contrast["what"] if kind == "all" else (place["choice"], place["budget"])].append(contrast)
        right = total = 0
        for family in families.values():
            given = []
            for contrast in family:
                place = contrast["place"]
                source = steps if place.get("budget") == "steps" else table
                name = place["choice"] if kind == "equal" else contrast["what"].rsplit(" ", 2)[0]
                given.append(differences(source[names[name], place["fraction"], place["n"]],
                                         table[("all",), 1, place["n"]]))
            words, not_worse = judged(given)
            for contrast, word, better in zip(family, words, not_worse):
                total += 1
                right += contrast["verdict"] == word and contrast["not_worse"] == better
        print(f"{measure}, finding {kind}: {right} of {total} verdicts are SciPy's")


def frontier(candidates):
    """[(kept, {seed: error})] -> [(kept, errors by seed)], each seed's candidate chosen by the other seeds."""
    seeds = sorted(set.intersection(*(set(errors) for _, errors in candidates)))
    points = []
    for most in sorted({kept for kept, _ in candidates}):
        within = sorted((kept, i) for i, (kept, _) in enumerate(candidates) if kept <= most)
        if len(within) < 2:
            continue
        matrix = np.array([[candidates[i][1][seed] for seed in seeds] for _, i in within])
        others = matrix.sum(1, keepdims=True) - matrix
        points.append((most, matrix[others.argmin(0), np.arange(len(seeds))]))
    return points


def exponent(points):
    """b of a kept^-b by Huber's loss of log residuals, quadratic up to a tenth."""
    x, y = np.log([kept for kept, _ in points]), np.log([errors.mean() for _, errors in points])
    start = np.polyfit(x, y, 1)
    fit = optimize.least_squares(lambda c: (c[0] * x + c[1] - y) / 0.1, start, loss="huber", xtol=1e-12, ftol=1e-12)
    return -fit.x[0]


def check_frontier(document, measure):
    table = errors_by_choice(document["rows"], measure)
    scores = collections.defaultdict(list)
    every = [(np.mean([k for k, _ in cell.values()]), {s: e for s, (_, e) in cell.items()})
             for (choice, _, _), cell in table.items() if choice == ("all",)]
    for (choice, _, _), cell in table.items():
        if choice != ("all",):
            scores[choice[1:]].append((np.mean([k for k, _ in cell.values()]), {s: e for s, (_, e) in cell.items()}))
    mine = [frontier(every + candidates) for candidates in scores.values()]
    worst, found, all_of = 0, 0, 0
    for entry in document["frontier"]:
        if entry["measure"] != measure:
            continue
        all_of += 1
        given = np.array([(point["kept"], point["mean"]) for point in entry["points"]])
        for points in mine:
            # Means of the same numbers, summed in another order: equal but for the last bits, which a comparison of
            # rounded numbers can tell apart.
            own = np.array([(kept, errors.mean()) for kept, errors in points])
            if own.shape == given.shape and np.abs(own - given).max() < 1e-12:
                found += 1
                worst = max(worst, abs(exponent(points) - entry["exponent"]))
                break
    print(f"{measure}: {found} of {all_of} frontiers have every point found here; exponents differ by at most {worst:.1e}")


def main(folder):
    document = json.loads((pathlib.Path(folder) / "result.json").read_text())
    for measure in ("grid_error", "density_error", "test_error"):
        if measure in document["rows"][0]:
            check_verdicts(document, measure)
            check_frontier(document, measure)


if __name__ == "__main__":
    main(sys.argv[1])
