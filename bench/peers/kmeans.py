"""Lloyd's iterations of scikit-learn, FAISS and flash-kmeans (on a GPU) from the points and start centroids of
kmeans_bench, for its table.

Usage: kmeans.py FOLDER N D K ITERATIONS SECONDS
FOLDER holds points.f32 (N, D) and start.f32 (K, D), raw little-endian. Prints one JSON object a line (bench.h); leaves
WHO.centroids.f32 and WHO.labels.i32 after one iteration, for the answers to be compared.
"""

import os
import sys
import warnings

import numpy as np

from peer import attempt, setting, tell, timed, version_of

warnings.filterwarnings("ignore")
folder, n, d, k, iterations = sys.argv[1], *map(int, sys.argv[2:6])
seconds = float(sys.argv[6])
points = np.fromfile(f"{folder}/points.f32", np.float32).reshape(n, d)
start = np.fromfile(f"{folder}/start.f32", np.float32).reshape(k, d)


def report(who, run):
    """Times run(iterations) after a warm-up of one iteration, which is also the answer to compare."""
    centroids, labels = run(1)
    wall, cpu, _ = timed(lambda: run(iterations), 2, seconds)
    np.ascontiguousarray(centroids, np.float32).tofile(f"{folder}/{who}.centroids.f32")
    np.ascontiguousarray(labels, np.int32).tofile(f"{folder}/{who}.labels.i32")
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
    tell(who, n * k * iterations, "pair", wall, cpu,
         f"{setting(version_of(who), threads)}; {1e3 * np.median(wall) / iterations:.1f} ms/iteration")


def scikit_learn(count):
    from sklearn.cluster import KMeans

    model = KMeans(k, init=start, n_init=1, max_iter=count, tol=0, algorithm="lloyd").fit(points)
    assert model.n_iter_ == count, "stopped early: the times would not compare"
    return model.cluster_centers_, model.labels_


def faiss_cpu(count):
    import faiss

    model = faiss.Kmeans(d, k, niter=count, nredo=1, max_points_per_centroid=n, min_points_per_centroid=1)
    model.train(points, init_centroids=start)
    return model.centroids, model.index.search(points, 1)[1][:, 0] if count == 1 else None


def flash_kmeans(count):
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    if not torch.cuda.is_available():
        raise ImportError("PyTorch finds no CUDA device")
    if not on_gpu:  # points are there before the clock starts, as ours are
        on_gpu.extend((torch.from_numpy(points).cuda()[None], torch.from_numpy(start).cuda()[None]))

    def fit(centroids, iterations):  # a copy of the start, which it writes to
        return batch_kmeans_Euclid(on_gpu[0], k, max_iters=iterations, tol=0.0, init_centroids=centroids.clone())

    labels, centroids, _ = fit(on_gpu[1], count)
    if count == 1:  # its labels are those of the centroids before
        labels = fit(centroids, 1)[0]
    torch.cuda.synchronize()
    return centroids[0].cpu().numpy(), labels[0].cpu().numpy()


on_gpu = []
for who, run in (("scikit-learn", scikit_learn), ("faiss-cpu", faiss_cpu), ("flash-kmeans", flash_kmeans)):
    attempt(who, lambda: report(who, run))
