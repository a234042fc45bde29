"""Arrays: what is taken without a copy, what is converted, and what is refused in one clear line."""

import ctypes
import gc
import signal
import sys
import threading

import numpy as np
import pytest

import scalelab

NO_GPU = scalelab.devices()["cuda"].startswith("none:")


class OnlyDLPack:
    """An array of another library in host memory, as a CPU tensor is."""

    def __init__(self, values):
        self.values = values
        self.asked = 0

    def __dlpack__(self, **how):
        self.asked += 1
        return self.values.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class OnGpu:
    """What says that it lies on a GPU."""

    dtype = "float32"
    shape = (4, 2)

    def __init__(self, kind=2):
        self.kind = kind

    def __dlpack__(self, **how):
        raise AssertionError("nothing may be asked of an array that cannot be used")

    def __dlpack_device__(self):
        return (self.kind, 0)


class OnlyCudaArrayInterface:
    __cuda_array_interface__ = {"shape": (4, 2), "typestr": "<f4", "data": (16, True), "version": 3, "strides": None}


def points(n=200, d=3, seed=1):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def reset_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def resident_peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def test_a_host_array_is_not_copied():
    X = points(2_000_000, 16)  # 128 MB
    queries = X[:4]
    centers = X[:2].copy()
    scalelab.knn(X[:1000], X[:4])  # what is allocated once
    for call in (
        lambda rows: scalelab.knn(rows, queries, n_neighbors=1),
        lambda rows: scalelab.kmeans(rows, 2, init=centers, max_iter=0),
    ):
        gc.collect()
        reset_peak()
        before = resident_peak()
        call(X)
        grown = resident_peak() - before
        assert grown < X.nbytes // 3, f"{grown} bytes more for {X.nbytes} bytes of rows"
        reset_peak()
        before = resident_peak()
        call(np.asfortranarray(X))  # what is copied is seen to be
        assert resident_peak() - before > X.nbytes


def test_another_librarys_array_is_taken_by_dlpack():
    X = points()
    other = OnlyDLPack(X)
    mine = scalelab.knn(other, n_neighbors=3)
    assert other.asked > 0
    np.testing.assert_array_equal(mine.indices, scalelab.knn(X, n_neighbors=3).indices)


@pytest.mark.parametrize("convert", [np.float64, np.float16, np.asfortranarray, lambda x: x.tolist(), lambda x: x[::-1][::-1]])
def test_other_types_and_orders_are_converted(convert):
    X = np.round(points() * 8).astype(np.float32)  # exact in each type
    got = scalelab.knn(convert(X), n_neighbors=4)
    want = scalelab.knn(X, n_neighbors=4)
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_array_equal(got.distances, want.distances)


def test_read_only_arrays_are_taken():
    X = points()
    X.setflags(write=False)
    assert scalelab.knn(X).indices.shape == (200, 5)


def test_results_outlive_what_made_them():
    indices = scalelab.knn(points(), points(), n_neighbors=2).indices
    gc.collect()
    np.testing.assert_array_equal(indices[:, 0], np.arange(200))
    indices[0, 0] = 7  # they are the caller's own


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: scalelab.knn(np.zeros(3)), ValueError, "X: has 1 dimensions, and must have 2"),
        (lambda: scalelab.knn(np.zeros((0, 2))), ValueError, r"X: has shape \(0, 2\)"),
        (lambda: scalelab.knn([["a", "b"]]), TypeError, "must hold numbers"),
        (lambda: scalelab.knn([[0, 1], [np.nan, 0]]), ValueError, "X: row 1, column 0 is NaN"),
        (lambda: scalelab.knn([[0, 1], [1e39, 0]]), ValueError, "X: row 1, column 0 is infinite as a 32-bit number"),
        (lambda: scalelab.knn([[3e19, 0], [-3e19, 0]]), ValueError, "squared distances overflow"),
        (lambda: scalelab.knn(points(), points(d=4)), ValueError, "3 features.*4"),
        (lambda: scalelab.knn(points(4), points(4), n_neighbors=5), ValueError, "5.*4"),
        (lambda: scalelab.knn(points(4), n_neighbors=4), ValueError, "a row among 4 has 3 others"),
        (lambda: scalelab.knn(points(), metric="ip"), ValueError, "metric 'ip': must be euclidean, l2 or cosine"),
        (lambda: scalelab.knn([[1, 0], [0, 0]], [[1, 1]], metric="cosine"), ValueError, "X: row 1 is all zeros"),
        (lambda: scalelab.knn([[1, 0]], [[0, 0]], metric="cosine"), ValueError, "queries: row 0 is all zeros"),
        (lambda: scalelab.knn(points(), n_neighbors=0), ValueError, "n_neighbors is 0"),
        (lambda: scalelab.knn(points(), n_neighbors=129), ValueError, "129: a row among 200 has 199 others, of which 127"),
        (lambda: scalelab.knn(points(), points(), n_neighbors=129), ValueError, "128"),
        (lambda: scalelab.knn(points(), n_jobs=0), ValueError, "n_jobs is 0"),
        (lambda: scalelab.knn(points(), device="gpu"), ValueError, "device 'gpu'"),
        (lambda: scalelab.knn(points(), device="cuda:x"), ValueError, "cuda:NUMBER"),
        (lambda: scalelab.kmeans(points(4), 5), ValueError, "n_clusters is 5: there are 4 rows"),
        (lambda: scalelab.kmeans(points(), 2, init=points(3)), ValueError, r"init: has shape \(3, 3\) where \(2, 3\)"),
        (lambda: scalelab.kmeans(points(), 2, init="best"), ValueError, "init 'best'"),
        (lambda: scalelab.kmeans(points(), 2, max_iter=-1), ValueError, "max_iterations"),
        (lambda: scalelab.kmeans(points(), 2, random_state=-1), ValueError, "random_state is -1"),
        (lambda: scalelab.prune(points()), ValueError, "every row would stay"),
        (lambda: scalelab.prune(points(), fraction=0.5), ValueError, "needs n_clusters"),
        (lambda: scalelab.prune(points(), fraction=0.5, score="el3n"), ValueError, "must be one of kmeans"),
        (lambda: scalelab.prune(points(), fraction=0.5, score="class-mean"), ValueError, "needs y"),
        (lambda: scalelab.prune(points(), fraction=0.5, score=[1.0]), ValueError, "one for each of the 200 rows"),
        (lambda: scalelab.prune(points(), fraction=2, score="random"), ValueError, "fraction is 2"),
        (lambda: scalelab.near_duplicates([[0, 0], [1, 1]], eps=0.1), ValueError, "row 0 is all zeros"),
        (lambda: scalelab.mlp_train(points(), np.zeros(200)), ValueError, "holds 1 class, and"),
        (lambda: scalelab.mlp_train(points(), np.arange(200) % 2, hidden_layer_sizes=(8, 9)), ValueError, "one width"),
        (lambda: scalelab.mlp_train(points(), np.arange(200) % 2, activation="elu"), ValueError, "relu, tanh, gelu"),
        (lambda: scalelab.mlp_train(points(), np.arange(200) % 2, hidden_layer_sizes=(512,)), ValueError, "256"),
        (lambda: scalelab.mlp_train(points(), np.arange(200) % 2, learning_rate_init=1e30), FloatingPointError, "diverged"),
        (lambda: scalelab.decision_map(points(), np.arange(200) % 2), ValueError, "3 features"),
        (lambda: scalelab.decision_map(points(d=2), np.arange(200) % 2, extent=(1, 0, 0, 1)), ValueError, "x_min, x_max"),
        (lambda: scalelab.law([1, 2], [0.1]), ValueError, "equally many"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)  # no option of the program is named


@pytest.mark.skipif(not NO_GPU, reason="a GPU answers")
@pytest.mark.parametrize(
    "call",
    [
        lambda: scalelab.knn(OnGpu(), n_neighbors=1),
        lambda: scalelab.knn(OnGpu(kind=13), n_neighbors=1),
        lambda: scalelab.knn(OnlyCudaArrayInterface(), n_neighbors=1),
        lambda: scalelab.kmeans(points(), 2, device="cuda"),
    ],
)
def test_without_a_gpu_it_says_why(call):
    with pytest.raises(RuntimeError, match="no GPU can be used: ."):
        call()


@pytest.mark.parametrize(
    "array, words",
    [(OnGpu(kind=10), "DLPack's kind 10"), (type("Half", (OnGpu,), {"dtype": "torch.float16"})(), "float16 on a GPU")],
)
def test_arrays_that_no_backend_reads_are_refused(array, words):
    with pytest.raises((TypeError, RuntimeError), match=f"{words}|no GPU can be used"):
        scalelab.knn(array, n_neighbors=1)


def test_an_array_on_a_gpu_is_not_taken_to_the_cpu_in_silence():
    with pytest.raises(ValueError, match="copy it to host memory first"):
        scalelab.knn(OnGpu(), device="cpu")


def test_python_goes_on_while_it_computes_and_an_interrupt_ends_it():
    """Python hands its lock to another thread only when an op gives it up; that thread then ends an op of many minutes."""
    begun = threading.Event()

    def send():
        begun.wait()
        ctypes.pythonapi.PyErr_SetInterrupt()

    handler, interval = signal.signal(signal.SIGINT, signal.default_int_handler), sys.getswitchinterval()
    sys.setswitchinterval(1000)
    other = threading.Thread(target=send)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            begun.set()
            scalelab.mlp_train(points(), np.arange(200) % 2, max_iter=10_000_000)
    finally:
        sys.setswitchinterval(interval)
        other.join()
        signal.signal(signal.SIGINT, handler)


def test_calls_from_several_threads():
    X = points(2000, 8)
    want = scalelab.knn(X).indices
    got = [None] * 4

    def call(i):
        got[i] = scalelab.knn(X, n_jobs=2).indices

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(got))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for indices in got:
        np.testing.assert_array_equal(indices, want)
