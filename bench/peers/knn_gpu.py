"""Neighbours from PyTorch, cuVS, FAISS, CuPy and KeOps on a GPU, on the points of knn_bench and grid_bench.

Usage: knn_gpu.py FOLDER N D Q TOTAL K SECONDS DEVICE PEER[,PEER...]
FOLDER holds references.f32 (N, D) and queries.f32 (Q, D), raw little-endian. The Q queries stand for TOTAL: times are
scaled by TOTAL / Q, and the note says so. DEVICE is cuda, or cpu to try the script (PyTorch and KeOps only). Points are
on the device before the clock starts, as ours are, and neighbours stay there. Prints one JSON object a line (bench.h),
`absent` with the reason for a peer that cannot run; leaves WHO.ids.i32 (Q, K), for the answers to be compared.
"""

import sys

import numpy as np

from peer import attempt, tell, timed

folder, n, d, q, total, k = sys.argv[1], *map(int, sys.argv[2:7])
seconds, device, peers = float(sys.argv[7]), sys.argv[8], sys.argv[9].split(",")
references = np.fromfile(f"{folder}/references.f32", np.float32).reshape(n, d)
queries = np.fromfile(f"{folder}/queries.f32", np.float32).reshape(q, d)
STEP = max(1, 2**28 // n)  # queries whose distances are held at once: 1 GiB of them


def report(who, ask, wait, note):
    """Times ask(), which queues work, until wait() returns; ids, as a NumPy array, go to a file."""

    def work():
        answer = ask()
        wait()
        return answer

    np.ascontiguousarray(work()(), np.int32).reshape(q, k).tofile(f"{folder}/{who}.ids.i32")
    wall, cpu, _ = timed(work, 3, seconds)
    if q < total:
        note += f"; timed on {q} of the queries, scaled"
    tell(who, total, "query", [w * total / q for w in wall], [c * total / q for c in cpu], note)


def on_torch():
    """PyTorch, both point sets on the device, and what waits for its work."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no CUDA device")
    points, asked = torch.from_numpy(references).to(device), torch.from_numpy(queries).to(device)
    return torch, points, asked, torch.cuda.synchronize if device == "cuda" else lambda: None


def torch():
    library, points, asked, wait = on_torch()

    def ask():
        parts = [library.cdist(part, points).topk(k, largest=False).indices for part in asked.split(STEP)]
        return lambda: library.cat(parts).cpu().numpy()

    report("PyTorch", ask, wait, f"cdist + topk, {STEP} queries at a time")


def cuvs():
    import cupy
    from cuvs.neighbors import brute_force

    points, asked = cupy.asarray(references), cupy.asarray(queries)

    def ask():  # building, which only takes norms, is timed, as ours is
        _, found = brute_force.search(brute_force.build(points, metric="sqeuclidean"), asked, k)
        return lambda: cupy.asnumpy(cupy.asarray(found))

    report("cuVS", ask, cupy.cuda.get_current_stream().synchronize, "brute force")


def faiss():
    import faiss as library
    import torch

    if not hasattr(library, "get_num_gpus") or library.get_num_gpus() == 0:
        raise RuntimeError("FAISS finds no GPU, or is the package without")
    import faiss.contrib.torch_utils  # takes tensors where they are

    points, asked = torch.from_numpy(references).cuda(), torch.from_numpy(queries).cuda()
    resources = library.StandardGpuResources()

    def ask():
        _, found = library.knn_gpu(resources, asked, points, k)
        return lambda: found.cpu().numpy()

    report("FAISS", ask, torch.cuda.synchronize, "every pair")


def cupy():
    import cupy as library

    if device != "cuda":
        raise RuntimeError("CuPy needs a GPU")
    points, asked = library.asarray(references), library.asarray(queries)
    norms = (points * points).sum(axis=1)

    def nearest(part):
        # Squared distances less |q|^2, which orders nothing.
        scores = norms - 2 * part @ points.T
        near = library.argpartition(scores, k - 1, axis=1)[:, :k]
        order = library.take_along_axis(scores, near, axis=1).argsort(axis=1)
        return library.take_along_axis(near, order, axis=1)

    def ask():
        parts = [nearest(asked[i:i + STEP]) for i in range(0, q, STEP)]
        return lambda: library.asnumpy(library.concatenate(parts))

    report("CuPy", ask, library.cuda.get_current_stream().synchronize,
           f"GEMM + argpartition, {STEP} queries at a time")


def keops():
    from pykeops.torch import LazyTensor

    library, points, asked, wait = on_torch()
    all_points = LazyTensor(points[None, :, :].contiguous())

    def ask():
        squared = ((LazyTensor(asked[:, None, :].contiguous()) - all_points) ** 2).sum(-1)
        found = squared.argKmin(k, dim=1)
        return lambda: found.cpu().numpy()

    report("KeOps", ask, wait, "argKmin")


for peer in peers:
    attempt(peer, {"PyTorch": torch, "cuVS": cuvs, "FAISS": faiss, "CuPy": cupy, "KeOps": keops}[peer])
