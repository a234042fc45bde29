"""Arrays that lie on a GPU are used where they lie, and results stay there. Without a GPU tests/cuda runs this on the PTX
machine; where neither is, it is skipped."""

import ctypes
import gc

import numpy as np
import pytest

import scalelab
from scalelab import _core

if scalelab.devices()["cuda"].startswith("none:"):
    pytest.skip("no GPU answers", allow_module_level=True)


def cuda_runtime():
    """The CUDA runtime that the module holds where that is the PTX machine; else the machine's own."""
    for name in (_core.__file__, "libcudart.so", "libcudart.so.13", "libcudart.so.12"):
        try:
            library = ctypes.CDLL(name)
            library.cudaMalloc  # noqa: B018
            return library
        except (OSError, AttributeError):
            continue
    pytest.skip("no CUDA runtime is there that could make an array", allow_module_level=True)


cuda = cuda_runtime()
TO_DEVICE, TO_HOST = 1, 2


def do(status):
    assert status == 0, f"CUDA's error {status}"


class Memory:
    """Memory of a GPU that holds these values."""

    def __init__(self, values):
        values = np.ascontiguousarray(values)
        self.at = ctypes.c_void_p()
        do(cuda.cudaMalloc(ctypes.byref(self.at), ctypes.c_size_t(values.nbytes)))
        do(cuda.cudaMemcpy(self.at, ctypes.c_void_p(values.ctypes.data), ctypes.c_size_t(values.nbytes), TO_DEVICE))
        self.about = {"shape": values.shape, "typestr": values.dtype.str, "data": (self.at.value, False), "version": 3}

    def __del__(self):
        cuda.cudaFree(self.at)


class Plain(Memory):
    """An array that has no more than __cuda_array_interface__, as Numba's."""

    def __init__(self, values, **more):
        super().__init__(values)
        self.__cuda_array_interface__ = {**self.about, "strides": None, **more}


def fetched(array):
    """A copy in host memory."""
    assert array.__dlpack_device__() == (2, 0)
    about = (array.held if isinstance(array, Other) else array).__cuda_array_interface__
    values = np.empty(about["shape"], about["typestr"])
    do(cuda.cudaMemcpy(ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(about["data"][0]), ctypes.c_size_t(values.nbytes), TO_HOST))
    return values


class Other:
    """An array of a library that follows the array API, as CuPy's and JAX's do."""

    def __init__(self, array, dtype=None, root=False):
        self.held = array if isinstance(array, scalelab.GpuArray) else scalelab.GpuArray(array)
        self.dtype, self.shape, self.root = dtype or self.held.dtype, self.held.shape, root

    def __dlpack__(self, **how):
        return self.held.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.held.__dlpack_device__()

    def __array_namespace__(self):
        return type("namespace", (), {"from_dlpack": staticmethod(Other)})

    def __pow__(self, exponent):
        assert exponent == 0.5
        return Other(self.held, root=True)


def on_gpu(values, device=0):
    """An array that has DLPack and no more."""
    memory = Memory(np.asarray(values, np.float32))
    place = _core.Place("cuda", device, 0, True)
    return scalelab.GpuArray(_core.cuda_array(place, memory.at.value, list(memory.about["shape"]), 0, memory))


def points(n=150, d=3, seed=1):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def found_of(X):
    return scalelab.knn(on_gpu(X), n_neighbors=2, squared=True)


ways = pytest.mark.parametrize("given", [Plain, on_gpu, lambda values: Other(on_gpu(values))], ids=["interface", "dlpack", "array-api"])


@ways
def test_neighbours_stay_on_the_gpu(given):
    X, queries = points(), points(20, seed=2)
    found = scalelab.knn(given(X), given(queries), n_neighbors=4, squared=True)
    want = scalelab.knn(X, queries, n_neighbors=4, squared=True)
    np.testing.assert_array_equal(fetched(found.indices), want.indices)
    np.testing.assert_array_equal(fetched(found.distances), want.distances)


@ways
def test_clusters_stay_on_the_gpu_and_are_used_again(given):
    X = points(300, 2)
    found = scalelab.kmeans(given(X), 5, init=given(X[:5]))
    want = scalelab.kmeans(X, 5, init=X[:5])
    np.testing.assert_array_equal(fetched(found.centers), want.centers)
    np.testing.assert_array_equal(fetched(found.labels), want.labels)
    assert found[2:] == want[2:]
    again = scalelab.knn(found.centers, given(X), n_neighbors=1, squared=True)  # a result as an argument
    np.testing.assert_array_equal(fetched(again.indices)[:, 0], want.labels)


def test_roots_are_taken_by_the_arrays_own_library():
    found = scalelab.knn(Other(on_gpu(points())), n_neighbors=2)
    assert type(found.indices) is Other and found.distances.root and not found.indices.root
    with pytest.raises(TypeError, match="give squared=True"):
        scalelab.knn(Plain(points()), n_neighbors=2)


@ways
def test_rows_are_not_copied(given):
    rows = given(points(100, 2))
    lies = (rows.held if isinstance(rows, Other) else rows).__cuda_array_interface__["data"][0]
    taken = scalelab._rows(rows)
    assert (taken.held if isinstance(taken, Other) else taken).__cuda_array_interface__["data"][0] == lies


def test_host_arrays_come_back_to_the_host():
    X = points()
    found = scalelab.knn(X, n_neighbors=3, device="cuda")
    np.testing.assert_array_equal(found.indices, scalelab.knn(X, n_neighbors=3).indices)
    np.testing.assert_array_equal(found.distances, scalelab.knn(X, n_neighbors=3).distances)


def test_which_rows_to_keep():
    X, y = points(200), np.arange(200) % 3
    for score, more in (("kmeans", {"n_clusters": 6}), ("class-mean", {})):
        kept = scalelab.prune(Plain(X), y, score=score, fraction=0.3, **more)
        np.testing.assert_array_equal(kept.rows, scalelab.prune(X, y, score=score, fraction=0.3, **more).rows)
    twice = np.concatenate([X, 2 * X[:9]])
    found = scalelab.near_duplicates(on_gpu(twice), eps=1e-6)
    np.testing.assert_array_equal(found.rows, scalelab.near_duplicates(twice, eps=1e-6).rows)
    assert len(found.rows) == 9


def test_maps():
    X = points(120, 2)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    about = {"n_neighbors": 3, "size": 16, "extent": (-2.0, 2.0, -2.0, 2.0)}
    found = scalelab.decision_map(Plain(X), y, **about)
    np.testing.assert_array_equal(fetched(found.labels), scalelab.decision_map(X, y, **about).labels)


def test_networks_of_host_arrays_are_trained_on_the_gpu():
    X = points(64, 2)
    network = scalelab.mlp_train(X, X[:, 0] > 0, hidden_layer_sizes=(8,), max_iter=60, batch_size=8, random_state=[0, 1], device="cuda")
    said = scalelab.mlp_predict(network, X, device="cuda")
    assert said.shape == (2, 64) and (said == (X[:, 0] > 0)).mean() > 0.9


def test_memory_is_given_back():
    def free():
        gc.collect()
        left, total = ctypes.c_size_t(), ctypes.c_size_t()
        do(cuda.cudaMemGetInfo(ctypes.byref(left), ctypes.byref(total)))
        return left.value

    scalelab.knn(Plain(points()), squared=True)
    before = free()
    found = scalelab.kmeans(Plain(points(4000, 8)), 3, max_iter=1)
    held = found.labels
    del found
    assert free() < before
    assert fetched(held).shape == (4000,)
    del held
    assert free() == before


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: scalelab.knn(Plain(points().astype(float))), TypeError, "X: is <f8 on a GPU and must be float32"),
        (lambda: scalelab.knn(Plain(points(), strides=(4, 600))), TypeError, "X: is not in C order on a GPU"),
        (lambda: scalelab.knn(Plain(points()[:, 0])), ValueError, "X: has 1 dimensions, and must have 2"),
        (lambda: scalelab.knn(Other(on_gpu(points()), "float64")), TypeError, "X: is float64 on a GPU"),
        (lambda: scalelab.knn(Plain(points()), device="cpu"), ValueError, "copy it to host memory first"),
        (lambda: scalelab.knn(Plain(points()), device="cuda:1"), ValueError, "lies on GPU 0 and device is 'cuda:1'"),
        (lambda: scalelab.knn(found_of(points()).indices), TypeError, "X: is int32 on a GPU"),
        (lambda: scalelab.mlp_train(Plain(points()), np.arange(150) % 2), TypeError, "give one of torch, CuPy or JAX"),
        (lambda: scalelab.kmeans(Plain(points(4)), 5), ValueError, "n_clusters is 5: there are 4 rows"),
        (lambda: scalelab.knn(Plain(points()), n_neighbors=129, squared=True), ValueError, "127 at most"),
        (lambda: scalelab.knn(points(), device="cuda:9"), ValueError, "device 9 does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_arrays_of_two_gpus_are_refused():
    try:
        there = on_gpu(points(5, seed=3), device=1)
    except ValueError:
        pytest.skip("there is one GPU")
    with pytest.raises(ValueError, match="arrays lie on GPU 1 and on GPU 0"):
        scalelab.knn(on_gpu(points()), there, squared=True)
