"""Lloyd's iterations of scikit-learn, with and without its Intel extension, FAISS and SuperKMeans, or on a GPU of flash-kmeans, cuVS and FAISS, from the points and start
centroids of kmeans_bench, for its table.

Usage: kmeans.py FOLDER N D K ITERATIONS SECONDS cpu|cuda
FOLDER holds points.f32 (N, D) and start.f32 (K, D), raw little-endian. Prints one JSON object a line (bench.h); leaves
WHO.centroids.f32 and WHO.labels.i32 after one iteration, for the answers to be compared. On a GPU points are there before
the clock starts, and what comes of them stays there, as ours does; FAISS takes them from the host, as its note says.
SuperKMeans draws a start of its own and its bounds are statistical: its inertia is told, and held against ours.
"""

import os
import sys
import warnings

import numpy as np

from peer import attempt, on_threads, tell, timed

warnings.filterwarnings("ignore")
folder, n, d, k, iterations = sys.argv[1], *map(int, sys.argv[2:6])
seconds, device = float(sys.argv[6]), sys.argv[7]
points = np.fromfile(f"{folder}/points.f32", np.float32).reshape(n, d)
start = np.fromfile(f"{folder}/start.f32", np.float32).reshape(k, d)


def report(who, run, note=""):
    """Times run(iterations) after a warm-up of one iteration, which is also the answer to compare: centroids and labels,
    as arrays or as functions that fetch them from a device."""
    answer = run(1)
    for name, kind, value in zip(("centroids.f32", "labels.i32"), (np.float32, np.int32), answer):
        np.ascontiguousarray(value() if callable(value) else value, kind).tofile(f"{folder}/{who}.{name}")
    if iterations > 1:
        run(iterations)
    wall, cpu, _ = timed(lambda: run(iterations), 2, seconds)
    where = "GPU" if device == "cuda" else on_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    tell(who, n * k * iterations, "pair", wall, cpu, f"{where}; {1e3 * np.median(wall) / iterations:.1f} ms/iteration{note}")


def scikit_learn(count):
    from sklearn.cluster import KMeans

    model = KMeans(k, init=start, n_init=1, max_iter=count, tol=0, algorithm="lloyd").fit(points)
    assert model.n_iter_ == count, "stopped early: the times would not compare"
    return model.cluster_centers_, model.labels_


def scikit_learn_intelex(count):
    from sklearnex.cluster import KMeans

    model = KMeans(k, init=start, n_init=1, max_iter=count, tol=0, algorithm="lloyd").fit(points)
    assert model.n_iter_ == count, "stopped early: the times would not compare"
    return model.cluster_centers_, model.labels_


def superkmeans():
    from superkmeans import SuperKMeans

    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))

    def run():  # a model trains once, and training leaves no labels
        model = SuperKMeans(k, d, iters=iterations, sampling_fraction=1.0, early_termination=False, n_threads=threads)
        centroids = model.train(points)
        return centroids, model.assign(points, centroids)

    run()
    wall, cpu, (centroids, labels) = timed(run, 2, seconds)
    parts = np.array_split(np.arange(n), max(1, n // 4096))
    inertia = sum(float(np.square(points[p] - centroids[np.asarray(labels)[p]], dtype=np.float64).sum()) for p in parts)
    tell("SuperKMeans", n * k * iterations, "pair", wall, cpu,
         f"{on_threads(threads)}; {1e3 * np.median(wall) / iterations:.1f} ms/iteration", inertia=inertia)


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
    return lambda: centroids[0].cpu().numpy(), lambda: labels[0].cpu().numpy()


def cuvs(count):
    import cupy
    from cuvs.cluster import kmeans

    if not on_gpu:
        on_gpu.extend((cupy.asarray(points), cupy.asarray(start)))
    settings = kmeans.KMeansParams(n_clusters=k, init_method="Array", max_iter=count, tol=0.0)
    centroids, _, _ = kmeans.fit(settings, on_gpu[0], centroids=on_gpu[1].copy())
    labels, _ = kmeans.predict(settings, on_gpu[0], centroids)
    cupy.cuda.get_current_stream().synchronize()
    return lambda: cupy.asnumpy(cupy.asarray(centroids)), lambda: cupy.asnumpy(cupy.asarray(labels))


def faiss_gpu(count):
    import faiss

    if not hasattr(faiss, "get_num_gpus") or faiss.get_num_gpus() == 0:
        raise ImportError("FAISS finds no GPU, or is the package without")
    model = faiss.Kmeans(d, k, niter=count, nredo=1, max_points_per_centroid=n, min_points_per_centroid=1, gpu=1)
    model.train(points, init_centroids=start)
    return model.centroids, lambda: model.index.search(points, 1)[1][:, 0]


on_gpu = []
if device == "cuda":
    for who, run, note in (("flash-kmeans", flash_kmeans, ""), ("cuVS", cuvs, ", labels of the last centroids included"),
                           ("FAISS", faiss_gpu, ", points copied from the host")):
        on_gpu.clear()
        attempt(who, lambda: report(who, run, note))
else:
    for who, run in (("scikit-learn", scikit_learn), ("scikit-learn-intelex", scikit_learn_intelex), ("FAISS", faiss_cpu)):
        attempt(who, lambda: report(who, run))
    attempt("SuperKMeans", superkmeans)
