"""Exact nearest neighbours, k-means and small networks, and which rows of data are worth keeping.

Arrays are (rows, features) of float32. NumPy arrays of that type in C order are used as they are; other types and orders,
lists and data frames are copied once. An array on a GPU (torch, CuPy, JAX: anything with DLPack or
``__cuda_array_interface__``) is used there, and results come back as arrays of the same kind on the same GPU; of one that
has no DLPack, as a ``GpuArray``.

Arguments that functions share:

``device``
    Where to compute: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. Without it, where the arrays lie. Host arrays are copied to a
    GPU that is asked for, and the results back.
``n_jobs``
    CPU threads; ``None`` or -1: as many as there are processors.
``random_state``
    A whole number of which every random draw is made. The same number gives the same bits on every machine.

Values must be finite, which is checked for host arrays and left to you on a GPU. What is wrong with an argument is a
``ValueError`` or ``TypeError`` of one line; no memory is a ``MemoryError``; a GPU that is absent or fails, a
``RuntimeError``. Python's lock is free while something is computed, and Ctrl-C ends it.

With scikit-learn installed there are also its estimators ``KNeighborsClassifier``, ``KMeans`` and ``MLPClassifier``
(``scalelab.estimators``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from . import _core

__all__ = [
    "Clusters", "DecisionMap", "Duplicates", "GpuArray", "KMeans", "KNeighborsClassifier", "Kept", "Law", "MLPClassifier", "Neighbors",
    "Network", "decision_map", "devices", "kmeans", "knn", "law", "mlp_predict", "mlp_scores", "mlp_train",
    "near_duplicates", "prune",
]  # fmt: skip

try:
    __version__ = metadata.version("scalelab")
except metadata.PackageNotFoundError:  # used from a build folder
    __version__ = "unknown"

_ESTIMATORS = ("KMeans", "KNeighborsClassifier", "MLPClassifier")


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:  # these alone need scikit-learn
        from . import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'scalelab' has no attribute {name!r}")


# --- arrays and devices -----------------------------------------------------------------------------------------------

_CPU, _CUDA, _CUDA_HOST, _CUDA_MANAGED = 1, 2, 3, 13  # DLPack's kinds of memory


class GpuArray:
    """An array on a GPU that is of no library: what comes of one that has no more than ``__cuda_array_interface__``.

    ``torch.from_dlpack``, ``cupy.from_dlpack``, ``numba.cuda.as_cuda_array`` and their like read it without a copy.
    """

    def __init__(self, held: Any) -> None:
        self._held = held
        address, self.shape, kind = _core.about(held)
        self.dtype = np.dtype(kind)
        self.__cuda_array_interface__ = {"shape": self.shape, "typestr": kind, "data": (address, False), "strides": None, "version": 3}

    def __dlpack__(self, **how: Any) -> Any:
        return self._held.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._held.__dlpack_device__()


def _where(array: Any) -> tuple[str, int]:
    """The device on which an array lies."""
    if isinstance(array, np.ndarray):
        return "cpu", 0
    if hasattr(array, "__dlpack_device__"):
        kind, number = (int(part) for part in array.__dlpack_device__())
        if kind in (_CUDA, _CUDA_MANAGED):
            return "cuda", number
        if kind not in (_CPU, _CUDA_HOST):
            raise TypeError(
                f"a {type(array).__name__} on a device of DLPack's kind {kind} cannot be used: copy it to host memory first"
            )
    elif hasattr(array, "__cuda_array_interface__"):
        return "cuda", 0
    return "cpu", 0


def _place(array: Any, device: str | None, n_jobs: int | None) -> Any:
    """Where a call on `array` runs."""
    at, number = _where(array)
    if n_jobs is not None and (n_jobs == 0 or n_jobs < -1):
        raise ValueError(f"n_jobs is {n_jobs}: must be -1, None or 1 and more")
    threads = 0 if n_jobs is None or n_jobs == -1 else int(n_jobs)
    if device is None:
        return _core.Place(at, number, threads, at == "cuda")
    kind, _, digits = device.partition(":")
    if digits and not digits.isdigit():
        raise ValueError(f"device {device!r}: must be cpu, cuda or cuda:NUMBER")
    if at == "cuda" and kind == "cpu":
        raise ValueError("the array lies on a GPU: copy it to host memory first, or leave out device='cpu'")
    chosen = int(digits) if digits else number
    if at == "cuda" and chosen != number:
        raise ValueError(f"the array lies on GPU {number} and device is {device!r}: leave out the device")
    return _core.Place(kind, chosen, threads, at == "cuda")


def _host(array: Any) -> np.ndarray:
    """As a NumPy array, without a copy where its owner allows that."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "toarray") and hasattr(array, "nnz"):
        raise TypeError("sparse matrices are not known here: use .toarray()")
    if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
        return np.from_dlpack(array)
    return np.asarray(array)


def _on_gpu(array: Any, name: str) -> Any:
    """An array of a GPU as _core takes it: float32 in C order."""
    if hasattr(array, "__dlpack__"):
        dtype = str(getattr(array, "dtype", "float32")).rpartition(".")[2]
        if dtype != "float32":
            raise TypeError(f"{name}: is {dtype} on a GPU and must be float32: convert it there first")
        return array.detach() if getattr(array, "requires_grad", False) else array
    about = array.__cuda_array_interface__
    if about["typestr"] not in ("<f4", "=f4"):
        raise TypeError(f"{name}: is {about['typestr']} on a GPU and must be float32: convert it there first")
    if about.get("strides") is not None:
        raise TypeError(f"{name}: is not in C order on a GPU: copy it there first")
    place = _core.Place("cuda", _where(array)[1], 0, True)
    return GpuArray(_core.cuda_array(place, about["data"][0], list(about["shape"]), about.get("stream") or 0, array))


def _rows(array: Any, name: str = "X", checked: bool = True) -> Any:
    """(rows, features) of float32 in C order, where they lie."""
    if _where(array)[0] == "cuda":
        rows = _on_gpu(array, name)
        if len(rows.shape) != 2:
            raise ValueError(f"{name}: has {len(rows.shape)} dimensions, and must have 2: (rows, features)")
        return rows
    values = _host(array)
    if values.ndim != 2:
        raise ValueError(f"{name}: has {values.ndim} dimensions, and must have 2: (rows, features)")
    if values.dtype.kind not in "fiub":
        if values.dtype.kind != "O":
            raise TypeError(f"{name}: is {values.dtype}, and must hold numbers")
        values = values.astype(np.float64)
    if 0 in values.shape:
        raise ValueError(f"{name}: has shape {values.shape}, and must have a row and a feature")
    if values.dtype != np.float32:
        with np.errstate(over="ignore"):  # what is too large is infinite then, and said to be
            values = values.astype(np.float32)
    values = np.ascontiguousarray(values)
    if checked:
        _core.check_rows(values, name)
    return values


def _host_rows(array: Any, place: Any, name: str = "X") -> np.ndarray:
    """The same in host memory."""
    rows = _rows(array, name)
    return rows if isinstance(rows, np.ndarray) else _core.to_host(place, rows)


def _from_dlpack(given: Any) -> Any:
    """What makes an array of the kind that was given; None where that has no DLPack."""
    if hasattr(given, "__array_namespace__") and hasattr(given, "__dlpack__"):
        return given.__array_namespace__().from_dlpack
    if type(given).__module__.partition(".")[0] == "torch":
        import torch

        return torch.from_dlpack
    return None


def _like(result: Any, given: Any) -> Any:
    """A result as an array of the kind that was given; of a list or data frame a NumPy array."""
    if isinstance(given, np.ndarray):
        return result
    make = _from_dlpack(given)
    if make is not None:
        return make(result)
    return result if isinstance(result, np.ndarray) else GpuArray(result)


def _require_library(array: Any, name: str = "X") -> None:
    """Networks are computed with in Python too, for which an array needs more than a place on a GPU."""
    if _where(array)[0] == "cuda" and _from_dlpack(array) is None:
        raise TypeError(f"{name}: is an array on a GPU of no library: for networks give one of torch, CuPy or JAX")


def _is_cosine(metric: str) -> bool:
    if metric not in ("euclidean", "l2", "cosine"):
        raise ValueError(f"metric {metric!r}: must be euclidean, l2 or cosine")
    return metric == "cosine"


def _directions(rows: np.ndarray, name: str = "X") -> np.ndarray:
    """Rows of host memory at length 1."""
    zero = np.flatnonzero(~rows.any(axis=1))
    if len(zero) > 0:
        raise ValueError(f"{name}: row {zero[0]} is all zeros and has no direction: drop such rows first")
    return _core.unit_rows(rows)


def _root(squared: Any) -> Any:
    if not hasattr(squared, "__pow__"):
        raise TypeError("roots of such an array cannot be taken: give squared=True")
    return squared**0.5


def _seed(random_state: int) -> int:
    seed = int(random_state)
    if not 0 <= seed < 2**64:
        raise ValueError(f"random_state is {random_state}: must lie in 0 .. 2**64 - 1")
    return seed


def _class_numbers(y: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """What classes there are, in ascending order, and the number of each row's class."""
    if _where(y)[0] == "cuda":
        y = y.cpu() if hasattr(y, "cpu") else y.get() if hasattr(y, "get") else np.array(y)  # torch; CuPy; JAX
    labels = _host(y)
    if labels.ndim != 1 or len(labels) != n:
        raise ValueError(f"y: has shape {labels.shape}, and must have one label for each of the {n} rows")
    classes, numbers = np.unique(labels, return_inverse=True)
    return classes, numbers.reshape(-1)


def _wrong_classes(count: int) -> str:
    return f"y: holds {count} class{'' if count == 1 else 'es'}, and must hold 2 to 256"


def _few_classes(y: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    classes, numbers = _class_numbers(y, n)
    if not 2 <= len(classes) <= 256:
        raise ValueError(_wrong_classes(len(classes)))
    return classes, numbers.astype(np.uint8)


def devices() -> dict[str, str]:
    """What can compute here: a line each for ``"cpu"`` and ``"cuda"``, the latter beginning with ``none:`` without a GPU."""
    return dict(_core.devices())


# --- neighbours and clusters ------------------------------------------------------------------------------------------


class Neighbors(NamedTuple):
    """Neighbours of each query, nearest first; of equal distances the lower index comes first."""

    distances: Any  #: (queries, n_neighbors) float32
    indices: Any  #: (queries, n_neighbors) int32, rows of X


def knn(
    X: Any,
    queries: Any = None,
    *,
    n_neighbors: int = 5,
    metric: str = "euclidean",
    squared: bool = False,
    n_jobs: int | None = None,
    device: str | None = None,
) -> Neighbors:
    """The exact ``n_neighbors`` nearest rows of ``X`` for each row of ``queries``.

    Without ``queries`` each row of ``X`` is asked for its neighbours among the others: it is none of them, and rows that are
    equal to it are, at distance 0. At most 128 neighbours, and 127 of these.

    Distances by ``metric`` ``"euclidean"`` (or ``"l2"``) are computed in 32 bits, and given squared where ``squared`` is set.
    By ``"cosine"`` they are 1 - cosine, half the squared distance of rows scaled to length 1 in host memory.

    >>> import numpy as np, scalelab
    >>> X = np.array([[0, 0], [1, 0], [0, 2]], dtype=np.float32)
    >>> scalelab.knn(X, [[0.9, 0.1]], n_neighbors=2).indices
    array([[1, 0]], dtype=int32)
    """
    place = _place(X, device, n_jobs)
    cosine = _is_cosine(metric)
    rows = _directions(_host_rows(X, place)) if cosine else _rows(X)
    if queries is None:
        asked = rows
    else:
        asked = _directions(_host_rows(queries, place, "queries"), "queries") if cosine else _rows(queries, "queries")
    by_root = _where(X)[0] == "cuda" and not squared and not cosine
    distances, indices = _core.knn(place, rows, asked, n_neighbors, squared or by_root, queries is None, cosine)
    distances = _like(distances, X)
    return Neighbors(_root(distances) if by_root else distances, _like(indices, X))


class Clusters(NamedTuple):
    """What k-means found."""

    centers: Any  #: (n_clusters, features) float32
    labels: Any  #: (rows) int32, the nearest centre; of equally near ones the lower
    inertia: float  #: sum over rows of the squared distance to their centre, by cosine of 1 - cosine
    n_iter: int
    converged: bool  #: False: stopped by max_iter


def kmeans(
    X: Any,
    n_clusters: int,
    *,
    init: Any = "k-means++",
    n_init: int = 1,
    metric: str = "euclidean",
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int = 0,
    n_jobs: int | None = None,
    device: str | None = None,
) -> Clusters:
    """Lloyd's k-means from k-means++ starts, or from the centres given as ``init``.

    Of ``n_init`` starts, of the seeds random_state, random_state + 1, ..., the one of least inertia is returned. It stops
    when the centres' summed squared movement is at most ``tol`` times the rows' mean variance (scikit-learn's rule).

    By ``metric`` ``"cosine"`` k-means is spherical: rows are scaled to length 1, and so are the centres after every
    iteration; the inertia is the sum of 1 - cosine, and ``tol`` is a share of one over the number of features.
    """
    place = _place(X, device, n_jobs)
    cosine = _is_cosine(metric)
    rows = _directions(_host_rows(X, place)) if cosine else _rows(X)
    if isinstance(init, str):
        if init != "k-means++":
            raise ValueError(f"init {init!r}: must be 'k-means++' or an array (n_clusters, features)")
        start = None
    else:
        start, n_init = _directions(_host_rows(init, place, "init"), "init") if cosine else _rows(init, "init"), 1
    if n_init < 1:
        raise ValueError(f"n_init is {n_init}, and must be 1 or more")
    seed = _seed(random_state)
    best = min(
        (_core.kmeans(place, rows, n_clusters, start, seed + i, max_iter, tol, cosine) for i in range(n_init)),
        key=lambda found: found[2],
    )
    return Clusters(_like(best[0], X), _like(best[1], X), *best[2:])


# --- which rows to keep -----------------------------------------------------------------------------------------------


class Duplicates(NamedTuple):
    """Rows that are close in direction to a row that stays, ascending."""

    rows: np.ndarray  #: int32
    matched: np.ndarray  #: int32, the row that stays in place of each
    cosines: np.ndarray  #: float32, of the two


def _scores_of(scores: Any, n: int) -> np.ndarray:
    values = np.ascontiguousarray(_host(scores), dtype=np.float32)
    if values.shape != (n,):
        raise ValueError(f"scores: have shape {values.shape}, and must be one for each of the {n} rows")
    if np.isnan(values).any():
        raise ValueError(f"scores: row {np.flatnonzero(np.isnan(values))[0]} is NaN")
    return values


def near_duplicates(
    X: Any,
    *,
    eps: float,
    scores: Any = None,
    keep: str = "hard",
    groups: Any = None,
    n_jobs: int | None = None,
    device: str | None = None,
) -> Duplicates:
    """Rows whose cosine with a row that stays is at least ``1 - eps``.

    Rows are visited by ``scores``, the largest first (``keep="hard"``) or the smallest first (``keep="easy"``), without
    scores in their own order; what was visited first stays. With ``groups``, a number from 0 up for each row, only rows of
    one group are compared: the labels of ``kmeans`` make this quick for many rows.
    """
    if keep not in ("hard", "easy"):
        raise ValueError(f"keep {keep!r}: must be hard or easy")
    if not 0 <= eps <= 2:
        raise ValueError(f"eps is {eps}, and must lie in 0 .. 2")
    place = _place(X, device, n_jobs)
    rows = _host_rows(X, place)
    n = len(rows)
    order = np.zeros(n, np.float32) if scores is None else _scores_of(scores, n)
    group = np.zeros(n, np.int32) if groups is None else _class_numbers(groups, n)[1].astype(np.int32)
    return Duplicates(*_core.near_duplicates(place, _directions(rows), group, order, keep == "hard", eps))


class Kept(NamedTuple):
    """Which rows a choice keeps: ``X[kept.rows]``, ``frame.iloc[kept.rows]``."""

    rows: np.ndarray  #: int64, ascending
    scores: np.ndarray  #: (all rows) float32, larger for harder rows
    duplicates: Duplicates | None  #: the near-duplicates that were taken out first


def prune(
    X: Any,
    y: Any = None,
    *,
    fraction: float | None = None,
    score: Any = "kmeans",
    keep: str = "hard",
    n_clusters: int | None = None,
    near_duplicates: float | None = None,
    class_floor: float = _core.class_floor,
    random_state: int = 0,
    n_jobs: int | None = None,
    device: str | None = None,
) -> Kept:
    """The hardest or easiest rows of each data set, as the command ``scalelab prune`` chooses them.

    ``fraction`` is the share of all rows to keep. ``score`` says how hard a row is: ``"kmeans"`` (distance to the nearest
    of ``n_clusters`` centres), ``"kmeans-cosine"`` (the same of directions), ``"class-mean"`` (distance to the mean of the
    row's class ``y``), ``"random"``, or an array with a number for each row. With ``near_duplicates=eps``, rows whose cosine
    with a row that stays is at least ``1 - eps`` go first. With ``y`` each class keeps at least ``class_floor`` of an equal
    part.

    Whether hard rows pay depends on the data; with few rows a random choice is often better. The command
    ``scalelab prune-study`` measures it.
    """
    place = _place(X, device, n_jobs)
    rows = _host_rows(X, place)
    n, seed = len(rows), _seed(random_state)
    if fraction is None and near_duplicates is None:
        raise ValueError("every row would stay: give fraction, near_duplicates or both")
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}, and must lie above 0 and up to 1")
    names = ("kmeans", "kmeans-cosine", "class-mean", "random")
    if isinstance(score, str) and score not in names:
        raise ValueError(f"score {score!r}: must be one of {', '.join(names)}, or an array")
    clustered = isinstance(score, str) and score.startswith("kmeans")
    if clustered and n_clusters is None:
        raise ValueError(f"score {score!r} needs n_clusters")
    if n_clusters is not None and not 1 <= n_clusters <= n:
        raise ValueError(f"n_clusters is {n_clusters}: there are {n} rows")
    if y is not None:
        classes, labels = _class_numbers(y, n)
        labels = labels.astype(np.int32)
    else:
        if isinstance(score, str) and score == "class-mean":
            raise ValueError("score 'class-mean' needs y")
        classes, labels = np.zeros(1), np.zeros(n, np.int32)

    unit = _directions(rows) if near_duplicates is not None or (clustered and score == "kmeans-cosine") else None
    groups = None
    if n_clusters is not None:
        by_cosine = not (isinstance(score, str) and score == "kmeans")
        if by_cosine and unit is None:
            raise ValueError("n_clusters is of no use to this score without near_duplicates")
        groups, distances = _core.prototypes(place, unit if by_cosine else rows, n_clusters, seed, by_cosine)
    if clustered:
        scores = distances
    elif isinstance(score, str):
        scores = _core.class_means(rows, labels, len(classes)) if score == "class-mean" else _core.random_scores(n, seed)
    else:
        scores = _scores_of(score, n)

    left, removed = np.arange(n), None
    if near_duplicates is not None:
        if not 0 <= near_duplicates <= 2:
            raise ValueError(f"near_duplicates is {near_duplicates}, and must lie in 0 .. 2")
        groups = np.zeros(n, np.int32) if groups is None else groups
        removed = Duplicates(*_core.near_duplicates(place, unit, groups, scores, keep == "hard", near_duplicates))
        left = np.setdiff1d(left, removed.rows)
    share = 1.0 if fraction is None else fraction
    wanted = min(max(math.floor(share * n + 0.5), 1), n)
    part = min(wanted, len(left)) / len(left)
    chosen = _core.keep_rows(
        np.ascontiguousarray(scores[left]), np.ascontiguousarray(labels[left]), len(classes), keep, part, seed, class_floor
    )
    return Kept(left[chosen], scores, removed)


# --- networks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """One trained network, or several of one shape that differ in their seed."""

    parameters: Any  #: (p) float32, or (networks, p), in the layout of include/scalelab/mlp.h
    losses: np.ndarray  #: (epochs) mean training loss of each epoch, or (networks, epochs)
    classes: np.ndarray  #: what the labels were called, ascending
    extent: np.ndarray  #: (features, 2) the smallest and largest value of each feature in training
    inputs: int
    width: int
    hidden_layers: int
    activation: str
    encoding: str
    layer_norm: bool
    several: bool

    @property
    def outputs(self) -> int:
        return 1 if len(self.classes) == 2 else len(self.classes)

    def _shape(self) -> Any:
        return _core.mlp_shape(
            self.inputs, self.encoding, self.width, self.hidden_layers, self.outputs, self.activation, self.layer_norm
        )

    def _table(self) -> Any:
        """Parameters as (networks, p)."""
        return self.parameters if self.several else self.parameters.reshape(1, -1)


def mlp_train(
    X: Any,
    y: Any,
    *,
    hidden_layer_sizes: Sequence[int] = (64, 64, 64),
    activation: str = "relu",
    encoding: str = "none",
    layer_norm: bool = False,
    focal_gamma: float = 0.0,
    max_iter: int = 100,
    batch_size: int = 64,
    learning_rate_init: float = 3e-3,
    schedule: str = "cosine",
    solver: str = "adam",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    precision: str = "fp32",
    random_state: int | Sequence[int] = 0,
    n_jobs: int | None = None,
    device: str | None = None,
) -> Network:
    """Trains a classifier with one to four hidden layers of one width, for ``max_iter`` epochs.

    ``random_state`` may be several numbers: a network is trained for each, all at once. Inputs are used as they are: scale
    them to about -1 .. 1 first. ``activation`` is relu, tanh or gelu; ``encoding`` of two inputs none, polar, polar-raw or
    polar-trig; ``solver`` adam or sgd; ``schedule`` constant or cosine; ``batch_size`` 0 means all rows. A network whose loss
    or weights stopped being finite is a ``FloatingPointError``.
    """
    _require_library(X)
    place = _place(X, device, n_jobs)
    rows = _rows(X)
    n, d = rows.shape
    classes, numbers = _few_classes(y, n)
    sizes = tuple(int(size) for size in hidden_layer_sizes)
    if len(set(sizes)) != 1:
        raise ValueError(f"hidden_layer_sizes is {sizes}: all layers must have one width, and there must be one layer")
    several = not isinstance(random_state, (int, np.integer))
    seeds = [_seed(seed) for seed in random_state] if several else [_seed(random_state)]  # type: ignore[arg-type, union-attr]
    if not seeds:
        raise ValueError("random_state is empty: give a number for each network")
    outputs = 1 if len(classes) == 2 else len(classes)
    shape = _core.mlp_shape(d, encoding, sizes[0], len(sizes), outputs, activation, layer_norm)
    options = {
        "epochs": int(max_iter), "batch_size": int(batch_size), "learning_rate": float(learning_rate_init),
        "weight_decay": float(weight_decay), "momentum": float(momentum), "focal_gamma": float(focal_gamma),
        "schedule": schedule, "solver": solver, "precision": precision,
    }  # fmt: skip
    parameters, losses, diverged = (_like(part, X) for part in _core.mlp_train(place, shape, rows, numbers, seeds, options))
    failed = [seed for seed, epoch in zip(seeds, diverged.tolist()) if epoch >= 0]
    if failed:
        raise FloatingPointError(f"training diverged with random_state {failed[0]}: lower learning_rate_init ({learning_rate_init})")
    if not several:
        parameters, losses = parameters.reshape(-1), losses.reshape(-1)
    host = rows if isinstance(rows, np.ndarray) else _core.to_host(place, rows)
    extent = np.stack([host.min(axis=0), host.max(axis=0)], axis=1)
    return Network(
        parameters, losses, classes, extent, d, sizes[0], len(sizes), activation, encoding, layer_norm, several
    )


def mlp_scores(network: Network, X: Any, *, n_jobs: int | None = None, device: str | None = None) -> Any:
    """Scores (rows, outputs) float32, of several networks (networks, rows, outputs).

    Two classes have one output, the logit of the second class; more have one each, which softmax makes probabilities.
    """
    _require_library(X)
    place = _place(X, device, n_jobs)
    rows = _rows(X)
    if rows.shape[1] != network.inputs:
        raise ValueError(f"X: has {rows.shape[1]} features, and the network was trained on {network.inputs}")
    scores = _like(_core.mlp_scores(place, network._shape(), network._table(), rows), X)
    return scores if network.several else scores.reshape(scores.shape[1:])


def mlp_predict(network: Network, X: Any, *, n_jobs: int | None = None, device: str | None = None) -> np.ndarray:
    """The class of each row, as it was called in training: (rows), of several networks (networks, rows)."""
    scores = mlp_scores(network, X, n_jobs=n_jobs, device=device)
    number = scores[..., 0] > 0 if network.outputs == 1 else scores.argmax(-1)
    number = number.cpu() if hasattr(number, "cpu") else number.get() if hasattr(number, "get") else number  # torch; CuPy
    return network.classes[np.asarray(number).astype(np.intp)]


# --- maps -------------------------------------------------------------------------------------------------------------


class DecisionMap(NamedTuple):
    """What a model says at the centre of every cell of a square grid.

    ``plt.imshow(m.labels, origin="lower", extent=m.extent)`` draws it.
    """

    labels: Any  #: (size, size) uint8, numbers of `classes`; row 0 lies at the smallest y
    classes: np.ndarray
    extent: tuple[float, float, float, float]  #: x_min, x_max, y_min, y_max


def _extent(given: Sequence[float] | None, ranges: np.ndarray) -> list[float]:
    """The extent given, or that of the points and 5 % on every side."""
    if given is None:
        margin = 0.05 * (ranges[:, 1] - ranges[:, 0])
        margin[margin == 0] = 0.5
        return [float(ranges[0, 0] - margin[0]), float(ranges[0, 1] + margin[0]), float(ranges[1, 0] - margin[1]), float(ranges[1, 1] + margin[1])]
    extent = [float(value) for value in given]
    if len(extent) != 4 or not np.isfinite(extent).all() or extent[0] >= extent[1] or extent[2] >= extent[3]:
        raise ValueError(f"extent is {tuple(given)}: must be (x_min, x_max, y_min, y_max)")
    return extent


def decision_map(
    model: Any,
    y: Any = None,
    *,
    n_neighbors: int = 5,
    size: int = 1024,
    extent: Sequence[float] | None = None,
    n_jobs: int | None = None,
    device: str | None = None,
) -> DecisionMap:
    """The decision map in the plane of a ``Network``, or of the ``n_neighbors`` nearest points.

    ``model`` is a network of two inputs, a fitted ``KNeighborsClassifier`` or ``MLPClassifier`` of this package, or points
    (rows, 2) with their labels ``y``. Of labels with equally many neighbours the smallest wins. ``extent`` is
    (x_min, x_max, y_min, y_max); without it that of the points and 5 % on every side.
    """
    mean, scale = np.zeros(2), np.ones(2)
    if hasattr(model, "_network"):
        model, mean, scale = model._network, model._mean, model._scale
    elif hasattr(model, "_fit_X"):
        n_neighbors, y, model = model.n_neighbors, model.classes_[model._y], model._fit_X
    if isinstance(model, Network):
        if y is not None or model.inputs != 2 or model.several:
            raise ValueError("a map is made of one network with two inputs, and without y")
        place = _place(model.parameters, device, n_jobs)
        corners = _extent(extent, model.extent * scale[:, None] + mean[:, None])
        seen = [(corner - mean[i // 2]) / scale[i // 2] for i, corner in enumerate(corners)]  # by the network
        maps = _core.mlp_map(place, model._shape(), model._table(), size, [float(corner) for corner in seen])
        labels = _like(maps, model.parameters)
        return DecisionMap(labels.reshape(labels.shape[1:]), model.classes, tuple(corners))  # type: ignore[arg-type]
    if y is None:
        raise ValueError("points need their labels y")
    place = _place(model, device, n_jobs)
    rows = _rows(model)
    if rows.shape[1] != 2:
        raise ValueError(f"points have {rows.shape[1]} features, and a map in the plane needs 2")
    classes, numbers = _few_classes(y, rows.shape[0])
    host = rows if isinstance(rows, np.ndarray) else _core.to_host(place, rows)
    corners = _extent(extent, np.stack([host.min(axis=0), host.max(axis=0)], axis=1))
    labels = _core.knn_map(place, rows, numbers, n_neighbors, size, corners)
    return DecisionMap(_like(labels, model), classes, tuple(corners))  # type: ignore[arg-type]


# --- laws -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """How an error falls with the number of rows."""

    verdict: str  #: "power", "power with floor", "exponential", "flat", "no form" or "undecided"
    why: str
    text: str  #: a sentence: the verdict, the exponent with its interval, and the prediction beside what was measured
    fits: list[dict[str, Any]]  #: of each form its parameters, intervals and test on the largest size
    sizes: np.ndarray
    mean_errors: np.ndarray
    seeds: int

    def predict(self, n: Any, form: str | None = None) -> np.ndarray:
        """The error at ``n`` rows, by the form of the verdict, or by the one named."""
        form = form or ("power" if self.verdict == "flat" else self.verdict)
        for fit in self.fits:
            if fit["form"] == form:
                a, b, c, at = fit["a"], fit["b"], fit.get("c", 0.0), np.asarray(n, float)
                return a * np.exp(-b * at) if form == "exponential" else a * at**-b + c
        raise ValueError(f"there is no fit '{form}': name a form out of {', '.join(fit['form'] for fit in self.fits)}")


def law(n: Any, error: Any, seed: Any = None, *, random_state: int = 0) -> Law:
    """Which law the errors follow: ``a n^-b``, ``a n^-b + c`` or ``a e^(-b n)``, or none of them.

    ``n``, ``error`` and ``seed`` have one entry for each run; runs that share a seed belong together, and without seeds each
    repetition of a size is one of its own. The largest size is held out and predicted. Four sizes and three seeds at
    least are needed for a verdict.
    """
    sizes = np.ascontiguousarray(_host(n), dtype=np.float64).reshape(-1)
    errors = np.ascontiguousarray(_host(error), dtype=np.float64).reshape(-1)
    if seed is None:
        seen: dict[float, int] = {}
        seeds = np.zeros(len(sizes), dtype=np.int64)
        for i, size in enumerate(sizes.tolist()):
            seeds[i] = seen.get(size, 0)
            seen[size] = seen.get(size, 0) + 1
    else:
        seeds = np.ascontiguousarray(_host(seed), dtype=np.int64).reshape(-1)
    if not len(sizes) == len(errors) == len(seeds):
        raise ValueError(f"n, error and seed have {len(sizes)}, {len(errors)} and {len(seeds)} entries, and must have equally many")
    if len(sizes) == 0 or not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError("n: must be numbers above 0, and at least one")
    if not (np.isfinite(errors).all() and (errors >= 0).all()):
        raise ValueError("error: must be fractions of 0 or more")
    document, text = _core.law(sizes, seeds, errors, _seed(random_state))
    found = json.loads(document)
    return Law(
        found["verdict"], found["why"], text, found["fits"], np.array(found["sizes"]), np.array(found["mean_error"]), found["seeds"]
    )
