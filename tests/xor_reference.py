#!/usr/bin/env python3
"""A second opinion on `scalelab xor`: the same experiment written down once more in NumPy, with draws of its own.

Usage: xor_reference.py [SEEDS] [FIRST SEED] [WIDTH,WIDTH,...]     (200, 1 and 8,12,32; NumPy is needed)

Prints, for each width K, the mean accuracy at t = 10 and its standard error in the orders curriculum, random and anti.
Nothing is shared with the program but the definition in include/scalelab/xor_sgd.h, so means agree within their
errors and no better. Of 4000 seeds here, and of `scalelab xor --seeds 0..3999` (1 minus its errors):

  K = 12  .6541 .6395 .6232 (each +-.0009)    .6566 .6414 .6253 (+-.0009; of 32,000 seeds .6554 .6404 .6242, +-.0003)
  K = 32  .7336 .7248 .7089 (+-.0004)         .7324 .7236 .7079 (+-.0004)
"""
import sys

import numpy as np

D, RATE, START, TIME, EASY, HARD, TESTS = 200, 0.5, 0.5, 10, 0.05, 0.25, 2000


def examples(random, variance):
    """One example for each entry of `variance`: x (count, D) and labels +-1."""
    count = len(variance)
    cluster = random.integers(0, 4, count)
    x = random.standard_normal((count, D)).astype(np.float32) * np.sqrt(variance)[:, None].astype(np.float32)
    x[np.arange(count), cluster // 2] += np.where(cluster % 2 == 0, 1, -1)
    return x, np.where(cluster < 2, 1, -1).astype(np.float32)


def accuracies(hidden, order, seeds, first):
    """Accuracy on hard examples after training, one network a seed; the orders of a seed share start and draws."""
    start, stream, test = (np.random.default_rng([first, part]) for part in range(3))
    w = START * start.standard_normal((seeds, hidden, D)).astype(np.float32)
    v = START * start.standard_normal((seeds, hidden)).astype(np.float32)
    steps = TIME * D
    for step in range(steps):
        coin = stream.random(seeds)
        easy = {"curriculum": step < steps / 2, "anti": step >= steps / 2, "random": coin < 0.5}[order]
        x, y = examples(stream, np.broadcast_to(np.where(easy, EASY, HARD), seeds))
        z = np.matmul(w, x[:, :, None])[:, :, 0] / np.float32(np.sqrt(D))
        error = (v * np.maximum(z, 0)).sum(1) - y
        slope = error[:, None] * v * (z > 0)
        v -= RATE / D * error[:, None] * np.maximum(z, 0)
        w -= np.float32(RATE / np.sqrt(D)) * slope[:, :, None] * x[:, None, :]
    right = np.empty(seeds)
    for seed in range(seeds):
        x, y = examples(test, np.full(TESTS, HARD))
        right[seed] = (np.sign(np.maximum(x @ w[seed].T / np.sqrt(D), 0) @ v[seed]) == y).mean()
    return right


def main(arguments):
    seeds, first = (int(text) for text in (arguments + ["200", "1"][len(arguments) :])[:2])
    for hidden in map(int, (arguments[2] if len(arguments) > 2 else "8,12,32").split(",")):
        line = f"K = {hidden}:"
        for order in ("curriculum", "random", "anti"):
            right = accuracies(hidden, order, seeds, first)
            line += f"  {order} {right.mean():.4f} +- {right.std(ddof=1) / seeds**0.5:.4f}"
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
