#!/usr/bin/env python3
"""How often the intervals that the program shows hold the truth, on simulated errors: the methods written down once more.

Usage: interval_coverage.py     (NumPy and SciPy are needed)

Prints, for 5 seeds and for 20, the share of intervals at 95 % that hold the truth: of a mean, a paired difference, the
exponent of a law and what it predicts, the rows that an error is worth (a crossover), and a point of a frontier whose
lowest choice is clear or nearly tied. And how often a difference that lies exactly on the margin is called the same,
which should be 5 times in 100 or less. Nothing is shared with the program but what its pages say of the methods; of means,
differences and exponents tests/seed_errors_test.cpp asks the program itself.
"""
import numpy as np
from scipy import stats

TIMES, MARGIN = 4000, 0.005
random = np.random.default_rng(1)


def t_interval(values):
    """Student's, along the last axis: centre and half its width."""
    n = values.shape[-1]
    return values.mean(-1), stats.t.ppf(0.975, n - 1) * values.std(-1, ddof=1) / np.sqrt(n)


def share(centre, half, truth):
    return float(np.mean(np.abs(centre - truth) <= half))


def of_a_mean(seeds):
    return share(*t_interval(0.05 + 0.01 * random.normal(size=(TIMES, seeds))), 0.05)


def of_a_difference(seeds):
    luck = 0.01 * random.normal(size=(TIMES, seeds))  # shared by both of a pair
    errors = [mean + luck + 0.004 * random.normal(size=(TIMES, seeds)) for mean in (0.05, 0.06)]
    return share(*t_interval(errors[0] - errors[1]), -0.01)


def called_the_same(seeds):
    on_the_margin = MARGIN + 0.003 * random.normal(size=(TIMES, seeds))
    below = stats.ttest_1samp(on_the_margin, MARGIN, axis=1, alternative="less").pvalue
    above = stats.ttest_1samp(on_the_margin, -MARGIN, axis=1, alternative="greater").pvalue
    return float(np.mean(np.maximum(below, above) < 0.05))


def stretched(values, estimate, n):
    """The middle 95 % of resampled estimates, its distances stretched as Student's interval of a mean would be."""
    low, high = np.percentile(values, [2.5, 97.5])
    by = stats.t.ppf(0.975, n - 1) / 1.96 * np.sqrt(n / (n - 1))
    return estimate - by * (estimate - low), estimate + by * (high - estimate)


def of_a_law(seeds, times=1000, replicates=500):
    """Of the exponent, and of the error predicted at the largest size, which the fit has not seen."""
    sizes, truth = np.log([250, 1000, 4000, 16000]), 0.6
    held = np.zeros(2)
    for _ in range(times):
        errors = np.exp(np.log(3) - truth * sizes + 0.1 * random.normal(size=(seeds, 4)))
        picked = random.integers(seeds, size=(replicates, seeds))
        means = np.log(np.concatenate([errors.mean(0)[None], errors[picked].mean(1)]))
        slopes = -((means * (sizes - sizes.mean())).sum(1) / ((sizes - sizes.mean()) ** 2).sum())
        x = sizes[:3] - sizes[:3].mean()
        blind = means[:, :3].mean(1) + (means[:, :3] * x).sum(1) / (x**2).sum() * (sizes[3] - sizes[:3].mean())
        # The mean of log-normal errors lies exp(0.005) above their median.
        for i, (values, true) in enumerate(((slopes, truth), (blind, np.log(3) - truth * sizes[3] + 0.005))):
            low, high = stretched(values[1:], values[0], seeds)
            held[i] += low <= true <= high
    return held / times


def falling(y):
    """The closest curve that never rises."""
    values, weights = [], []
    for one in y:
        values.append(one)
        weights.append(1)
        while len(values) > 1 and values[-2] < values[-1]:
            total = weights[-2] + weights[-1]
            values[-2:] = [(values[-2] * weights[-2] + values[-1] * weights[-1]) / total]
            weights[-2:] = [total]
    return np.repeat(values, weights)


def of_rows_worth(seeds, times=1000):
    sizes, rows = np.log(125 * 2.0 ** np.arange(8)), np.log(1500)
    worth = np.empty((times, seeds))
    for place in np.ndindex(times, seeds):
        curve = falling(-0.6 * sizes + 0.1 * random.normal(size=8))
        worth[place] = np.interp(0.6 * rows - 0.1 * random.normal(), -curve, sizes)
    return share(*t_interval(worth), rows)


def of_a_frontier(seeds, errors):
    """Each seed has the choice with the lowest mean over the other seeds; the truth is what that has on average."""
    luck = 0.005 * random.normal(size=(TIMES, 1, seeds))
    given = np.array(errors)[None, :, None] + luck + 0.005 * random.normal(size=(TIMES, len(errors), seeds))
    chosen = (given.sum(2, keepdims=True) - given).argmin(1)
    own = np.take_along_axis(given, chosen[:, None, :], 1)[:, 0]
    centre, half = t_interval(own)
    return share(centre, half, centre.mean())


def main():
    print("seeds                                   5       20")
    rows = {
        "mean": of_a_mean,
        "paired difference": of_a_difference,
        "exponent of a law": lambda seeds: of_a_law(seeds)[0],
        "prediction of a law": lambda seeds: of_a_law(seeds)[1],
        "rows that an error is worth": of_rows_worth,
        "frontier, one choice clearly lowest": lambda seeds: of_a_frontier(seeds, (0.05, 0.065, 0.08)),
        "frontier, two choices nearly tied": lambda seeds: of_a_frontier(seeds, (0.05, 0.051, 0.065, 0.08)),
        "on the margin, called the same": called_the_same,
    }
    for name, measure in rows.items():
        print(f"{name:36s} {100 * measure(5):5.1f} % {100 * measure(20):5.1f} %", flush=True)


if __name__ == "__main__":
    main()
