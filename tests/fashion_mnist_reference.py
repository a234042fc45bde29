#!/usr/bin/env python3
"""A second opinion on kNN of Fashion-MNIST: neighbours, votes and errors written down once more in NumPy, and those of
scikit-learn.

Usage: fashion_mnist_reference.py PROGRAM [QUERIES]     (all 10,000; NumPy, scikit-learn and dataset-fashion-mnist)

Squared distances of pixels are whole numbers, which float64 adds without a rounding: neighbours are ordered by (distance,
index), and of labels with equally many votes the smallest wins, as include/scalelab/knn.h and the program say. The
program's neighbours must be these, all of them; its float32 distances are exact below 2^24, and the script says how many
neighbours lie farther. scikit-learn breaks ties of distance in its own way. Errors on the official test set:

  k = 1  15.03 %      k = 5  14.46 %
"""
import gzip
import subprocess
import sys
import tempfile

import numpy as np

FOLDER = "/usr/share/datasets/fashion-mnist/"


def read(name):
    """An IDX file of unsigned bytes."""
    with gzip.open(FOLDER + name + ".gz") as file:
        content = file.read()
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, 4)
    return np.frombuffer(content, np.uint8, -1, 4 + 4 * axes).reshape(shape)


def neighbours(references, queries, k):
    """Of each query the k nearest by (squared distance, index), and those distances."""
    references = references.astype(np.float64)
    squares = (references**2).sum(1)
    indices, distances = [], []
    for begin in range(0, len(queries), 500):
        some = queries[begin : begin + 500].astype(np.float64)
        squared = squares - 2 * (some @ references.T) + (some**2).sum(1)[:, None]
        order = nearest(squared, k)
        indices.append(order)
        distances.append(np.take_along_axis(squared, order, 1))
    return np.concatenate(indices), np.concatenate(distances)


def nearest(squared, k):
    """As a whole sort would give them: the candidates are all rows up to the k-th distance, ties with it included."""
    limit = np.partition(squared, k - 1, axis=1)[:, k - 1 : k]
    order = np.empty((len(squared), k), np.int64)
    for row, bound in enumerate(limit[:, 0]):
        candidates = np.flatnonzero(squared[row] <= bound)
        order[row] = candidates[np.argsort(squared[row, candidates], kind="stable")[:k]]
    return order


def votes(labels):
    """The most frequent label of each row, of equally frequent ones the smallest."""
    return np.array([np.bincount(row, minlength=10).argmax() for row in labels])


def main():
    program, most = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    train, labels = read("train-images-idx3-ubyte").reshape(60000, 784), read("train-labels-idx1-ubyte")
    test, truth = read("t10k-images-idx3-ubyte").reshape(10000, 784)[:most], read("t10k-labels-idx1-ubyte")[:most]
    with tempfile.TemporaryDirectory() as out:
        command = [program, "knn", "--data", "fashion-mnist", "--queries", "fashion-mnist", "--k", "5", "--out", out]
        subprocess.run(command + ["--quiet"], check=True)
        ours = np.load(out + "/indices.npy")[:most]
        our_distances = np.load(out + "/distances.npy")[:most]
    indices, distances = neighbours(train, test, 5)
    same = ours == indices
    print(f"neighbours: {same.sum()} of {same.size} are the same; {(distances >= 2**24).sum()} lie at 2^24 or farther")
    print(f"distances: {(our_distances == distances).sum()} of {distances.size} are the same")
    agree = True
    for k in (1, 5):
        here = (votes(labels[indices[:, :k]]) != truth).mean()
        there = (votes(labels[ours[:, :k]]) != truth).mean()
        agree = agree and here == there
        print(f"k = {k}: error {100 * here:.2f} %, the program's neighbours {100 * there:.2f} %")
    from sklearn.neighbors import KNeighborsClassifier

    for k in (1, 5):
        classifier = KNeighborsClassifier(k, algorithm="brute").fit(train.astype(np.float32), labels)
        print(f"k = {k}: scikit-learn {100 * (classifier.predict(test.astype(np.float32)) != truth).mean():.2f} %")
    sys.exit(0 if agree and same.all() else 1)


if __name__ == "__main__":
    main()
