"""A first session with scalelab, from scikit-learn's digits to a picture: python session.py [PICTURE.png]"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import scalelab

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
train, test = np.arange(1400), np.arange(1400, len(y))
print(f"scalelab {scalelab.__version__}, {scalelab.devices()['cpu']}")

# Neighbours: what do the five nearest say?
classifier = scalelab.KNeighborsClassifier(n_neighbors=5).fit(X[train], y[train])
print(f"5 neighbours: {100 * (1 - classifier.score(X[test], y[test])):.1f} % errors")

# Clusters: how pure are ten?
clusters = scalelab.kmeans(X, n_clusters=10, n_init=5)
pure = sum(np.bincount(y[clusters.labels == c]).max() for c in range(10)) / len(y)
print(f"10 clusters in {clusters.n_iter} iterations: {100 * pure:.0f} % of the rows are of their cluster's digit")

# Which rows are worth keeping? Hard ones against as many at random.
for score in ("class-mean", "random"):
    kept = scalelab.prune(X[train], y[train], score=score, fraction=0.4)
    few = scalelab.KNeighborsClassifier(1).fit(X[train][kept.rows], y[train][kept.rows])
    print(f"40 % of the rows, {score}: {100 * (1 - few.score(X[test], y[test])):.1f} % errors")

# A decision map in the plane of the two main directions.
flat = X - X.mean(axis=0)
plane = np.ascontiguousarray(flat @ np.linalg.svd(flat, full_matrices=False)[2][:2].T)
digits_map = scalelab.decision_map(plane, y, n_neighbors=15, size=512)
plt.figure(figsize=(6, 5))
plt.imshow(digits_map.labels, origin="lower", extent=digits_map.extent, cmap="tab10", alpha=0.5, aspect="auto")
plt.scatter(*plane.T, c=y, cmap="tab10", s=4)
plt.title("Which digit do 15 neighbours see here?")
plt.colorbar(ticks=range(10))
plt.savefig(sys.argv[1] if len(sys.argv) > 1 else "digits.png", dpi=120)
