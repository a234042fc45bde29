"""Estimators of scikit-learn that compute with scalelab. They need scikit-learn 1.6 or newer.

Each takes the arguments of scikit-learn's class of the same name that it has, and is checked by ``check_estimator``.
``device`` and ``n_jobs`` are those of ``scalelab``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

import scalelab

from . import _core

__all__ = ["KMeans", "KNeighborsClassifier", "MLPClassifier"]


def _drawn(random_state: Any) -> int:
    """The seed that scikit-learn's random_state stands for."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


class _Classifier(ClassifierMixin, BaseEstimator):
    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows, and the number of each row's class; sets what scikit-learn asks of a fitted classifier."""
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if not 2 <= len(self.classes_) <= 256:
            raise ValueError(scalelab._wrong_classes(len(self.classes_)))
        return X, numbers.astype(np.uint8)

    def _rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float32, order="C", reset=False)


class KNeighborsClassifier(_Classifier):
    """The vote of the exact ``n_neighbors`` nearest training rows; of labels with equally many the smallest."""

    def __init__(self, n_neighbors: int = 5, *, n_jobs: int | None = None, device: str | None = None):
        self.n_neighbors = n_neighbors
        self.n_jobs = n_jobs
        self.device = device

    def fit(self, X: Any, y: Any) -> KNeighborsClassifier:
        self._fit_X, self._y = self._checked(X, y)
        self.n_samples_fit_ = len(self._fit_X)
        return self

    def kneighbors(self, X: Any, n_neighbors: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Distances and indices of the neighbours of each row."""
        rows = self._rows(X)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        return tuple(scalelab.knn(self._fit_X, rows, n_neighbors=k, n_jobs=self.n_jobs, device=self.device))

    def predict_proba(self, X: Any) -> np.ndarray:
        """The share of the neighbours that each class has, (rows, classes)."""
        indices = self.kneighbors(X)[1]
        labels = self._y[indices]
        shares = np.zeros((len(labels), len(self.classes_)))
        rows = np.arange(len(labels))
        for j in range(labels.shape[1]):
            shares[rows, labels[:, j]] += 1
        return shares / labels.shape[1]

    def predict(self, X: Any) -> np.ndarray:
        numbers = self.predict_proba(X).argmax(axis=1)
        return self.classes_[numbers]


class KMeans(ClusterMixin, BaseEstimator):
    """Lloyd's k-means from k-means++ starts or given centres."""

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
        n_jobs: int | None = None,
        device: str | None = None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.device = device

    def fit(self, X: Any, y: Any = None) -> KMeans:
        X = validate_data(self, X, dtype=np.float32, order="C")
        found = scalelab.kmeans(
            X, self.n_clusters, init=self.init, n_init=self.n_init, max_iter=self.max_iter, tol=self.tol,
            random_state=_drawn(self.random_state), n_jobs=self.n_jobs, device=self.device,
        )  # fmt: skip
        self.cluster_centers_, self.labels_, self.inertia_, self.n_iter_, _ = found
        return self

    def _nearest(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, order="C", reset=False)
        _core.check_rows(X, "X")
        return _core.nearest(scalelab._place(X, self.device, self.n_jobs), X, self.cluster_centers_)

    def predict(self, X: Any) -> np.ndarray:
        """The nearest centre of each row."""
        return self._nearest(X)[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the sum of squared distances to the nearest centre."""
        return -float(self._nearest(X)[1].sum(dtype=np.float64))


class MLPClassifier(_Classifier):
    """A network of one to four hidden layers of one width. Inputs are standardized with the training rows' mean and scale."""

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (64, 64, 64),
        activation: str = "relu",
        *,
        solver: str = "adam",
        weight_decay: float = 0.0,
        batch_size: int = 64,
        learning_rate_init: float = 3e-3,
        max_iter: int = 100,
        random_state: Any = None,
        n_jobs: int | None = None,
        device: str | None = None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.device = device

    def fit(self, X: Any, y: Any) -> MLPClassifier:
        X, numbers = self._checked(X, y)
        self._mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = X.std(axis=0, dtype=np.float64)
        self._scale = np.where(spread > 0, spread, 1).astype(np.float32)
        # The classes keep their names in classes_: the network's own are their numbers.
        self._network = scalelab.mlp_train(
            (X - self._mean) / self._scale, numbers, hidden_layer_sizes=self.hidden_layer_sizes, activation=self.activation,
            solver=self.solver, weight_decay=self.weight_decay, batch_size=self.batch_size,
            learning_rate_init=self.learning_rate_init, max_iter=self.max_iter, random_state=_drawn(self.random_state),
            n_jobs=self.n_jobs, device=self.device,
        )  # fmt: skip
        self.loss_curve_ = self._network.losses
        self.n_iter_ = self.max_iter
        return self

    def _scores(self, X: Any) -> np.ndarray:
        rows = (self._rows(X) - self._mean) / self._scale
        return scalelab.mlp_scores(self._network, rows, n_jobs=self.n_jobs, device=self.device)

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (rows, classes), or of two classes (rows) for the second."""
        scores = self._scores(X)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (rows, classes)."""
        scores = self._scores(X).astype(np.float64)
        if len(self.classes_) == 2:
            scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        scores = self._scores(X)
        numbers = (scores[:, 0] > 0).astype(np.intp) if len(self.classes_) == 2 else scores.argmax(axis=1)
        return self.classes_[numbers]
