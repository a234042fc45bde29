"""Neighbours and labels from scikit-learn, with and without its Intel extension, SciPy, FAISS and PyTorch on the points of knn_bench and grid_bench.

Usage: knn.py FOLDER N D Q TOTAL K SECONDS ids|labels PEER[,PEER...]
FOLDER holds references.f32 (N, D), queries.f32 (Q, D) and, for labels, labels.u8 (N), raw little-endian. The Q queries
stand for TOTAL: times are scaled by TOTAL / Q, and the note says so; building an index is not scaled. Prints one JSON
object a line (bench.h); leaves WHO.ids.i32 (Q, K) or WHO.labels.u8 (Q), for the answers to be compared.
"""

import os
import sys
import warnings

import numpy as np

from peer import attempt, on_threads, tell, timed

warnings.filterwarnings("ignore")
folder, n, d, q, total, k = sys.argv[1], *map(int, sys.argv[2:7])
seconds, mode, peers = float(sys.argv[7]), sys.argv[8], sys.argv[9].split(",")
references = np.fromfile(f"{folder}/references.f32", np.float32).reshape(n, d)
queries = np.fromfile(f"{folder}/queries.f32", np.float32).reshape(q, d)
threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))


def report(who, build, ask):
    """Times build() once and ask(index) at least three times; the answers go to a file."""
    (build_wall,), (build_cpu,), index = timed(build, 1)
    ask(index)
    wall, cpu, answer = timed(lambda: ask(index), 3, seconds)
    if mode == "ids":
        np.ascontiguousarray(answer, np.int32).tofile(f"{folder}/{who}.ids.i32")
    else:
        np.ascontiguousarray(answer, np.uint8).tofile(f"{folder}/{who}.labels.u8")
    note = on_threads(threads) + (f"; timed on {q} of the queries, scaled" if q < total else "")
    tell(who, total, "query", [build_wall + w * total / q for w in wall], [build_cpu + c * total / q for c in cpu],
         note)


def of_sklearn(who, neighbors):
    if mode == "labels":
        labels = np.fromfile(f"{folder}/labels.u8", np.uint8)
        report(who, lambda: neighbors.KNeighborsClassifier(k, n_jobs=threads).fit(references, labels),
               lambda index: index.predict(queries))
    else:
        report(who, lambda: neighbors.NearestNeighbors(n_neighbors=k, n_jobs=threads).fit(references),
               lambda index: index.kneighbors(queries, return_distance=False))


def sklearn():
    from sklearn import neighbors

    of_sklearn("scikit-learn", neighbors)


def intelex():
    from sklearnex import neighbors

    of_sklearn("scikit-learn-intelex", neighbors)


def scipy():
    from scipy.spatial import cKDTree

    report("SciPy", lambda: cKDTree(references),
           lambda index: index.query(queries, k, workers=threads)[1].reshape(q, k))


def faiss():
    import faiss as library

    library.omp_set_num_threads(threads)

    def build():
        index = library.IndexFlatL2(d)
        index.add(references)
        return index

    report("FAISS", build, lambda index: index.search(queries, k)[1])


def torch():
    import torch as library

    library.set_num_threads(threads)
    points, asked = library.from_numpy(references), library.from_numpy(queries)
    step = max(1, 2**26 // n)  # rows of distances held at once

    def ask(_):
        return library.cat([library.cdist(part, points).topk(k, largest=False).indices for part in asked.split(step)])

    report("PyTorch", lambda: None, ask)


for peer in peers:
    attempt(peer, {"scikit-learn": sklearn, "scikit-learn-intelex": intelex, "SciPy": scipy, "FAISS": faiss, "PyTorch": torch}[peer])
