"""Results: against scikit-learn on its digits, against the program, and against plain NumPy."""

import json
import os
import subprocess

import numpy as np
import pytest
import sklearn.cluster
import sklearn.neighbors

import scalelab

PROGRAM = os.environ.get("SCALELAB_PROGRAM")
needs_program = pytest.mark.skipif(not PROGRAM, reason="SCALELAB_PROGRAM names no program")


def run(*words):
    subprocess.run([PROGRAM, *map(str, words), "--quiet"], check=True, capture_output=True)


def test_neighbours_are_those_of_scikit_learn(digits):
    X, _ = digits
    distances, indices = scalelab.knn(X[:1500], X[1500:], n_neighbors=7)
    wanted = sklearn.neighbors.NearestNeighbors(n_neighbors=7, algorithm="brute").fit(X[:1500].astype(float))
    want_distances, want_indices = wanted.kneighbors(X[1500:].astype(float))
    np.testing.assert_allclose(distances, want_distances, rtol=1e-6)  # pixels are whole: squares are exact
    assert indices.dtype == np.int32 and distances.dtype == np.float32
    # Of equal distances the lower index comes first here, and any in scikit-learn.
    untied = np.all(np.diff(want_distances, axis=1) > 0, axis=1)
    assert untied.mean() > 0.8
    same = indices[untied][:, :-1] == want_indices[untied][:, :-1]
    assert same.all()


def test_squares_are_squares(digits):
    X = digits[0][:100]
    squared = scalelab.knn(X, squared=True).distances
    np.testing.assert_array_equal(np.sqrt(squared), scalelab.knn(X).distances)


def test_without_queries_a_row_is_not_its_own_neighbour(digits):
    X = np.concatenate([digits[0][:300], digits[0][:40]])  # the last 40 have twins
    distances, indices = scalelab.knn(X, n_neighbors=3)
    wanted = sklearn.neighbors.NearestNeighbors(n_neighbors=3, algorithm="brute").fit(X.astype(float))
    np.testing.assert_allclose(distances, wanted.kneighbors()[0], rtol=1e-6, atol=1e-6)
    assert not (indices == np.arange(len(X))[:, None]).any()
    np.testing.assert_array_equal(indices[300:, 0], np.arange(40))
    assert (distances[300:, 0] == 0).all()
    np.testing.assert_array_equal(indices, np.array([r[r != i][:3] for i, r in enumerate(scalelab.knn(X, X, n_neighbors=4).indices)]))


def test_distances_by_cosine_are_those_of_scikit_learn(digits):
    X, _ = digits
    distances, indices = scalelab.knn(X[:1500], X[1500:], n_neighbors=5, metric="cosine")
    wanted = sklearn.neighbors.NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(X[:1500].astype(float))
    want_distances, want_indices = wanted.kneighbors(X[1500:].astype(float))
    np.testing.assert_allclose(distances, want_distances, atol=1e-6)
    assert (indices == want_indices).mean() > 0.98  # ties may go to another row there
    np.testing.assert_array_equal(scalelab.knn(3 * X[:1500], X[1500:], metric="cosine").indices, indices)


def test_kmeans_by_cosine_sees_directions_alone(digits):
    X, _ = digits
    found = scalelab.kmeans(X, 10, metric="cosine", random_state=2)
    np.testing.assert_allclose(np.linalg.norm(found.centers, axis=1), 1, rtol=1e-6)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = unit @ found.centers.T
    assert (np.argmax(cosines, axis=1) == found.labels).mean() > 0.999
    assert found.inertia == pytest.approx((1 - cosines.max(axis=1)).sum(), rel=1e-4)
    np.testing.assert_array_equal(scalelab.kmeans(2 * X, 10, metric="cosine", random_state=2).labels, found.labels)
    start = scalelab.kmeans(X, 10, metric="cosine", init=5 * found.centers, max_iter=0)
    np.testing.assert_array_equal(start.labels, found.labels)


def test_votes_are_those_of_scikit_learn(digits):
    X, y = digits
    for k in (1, 5):
        mine = scalelab.KNeighborsClassifier(k).fit(X[:1500], y[:1500]).predict(X[1500:])
        theirs = sklearn.neighbors.KNeighborsClassifier(k).fit(X[:1500], y[:1500]).predict(X[1500:])
        assert (mine != theirs).sum() <= 1  # which of equally far rows has a vote may differ


def test_kmeans_is_lloyds_from_the_same_start(digits):
    X, _ = digits
    start = X[:10].copy()
    mine = scalelab.kmeans(X, 10, init=start, tol=0)
    theirs = sklearn.cluster.KMeans(10, init=start, n_init=1, tol=0, algorithm="lloyd").fit(X.astype(float))
    np.testing.assert_array_equal(mine.labels, theirs.labels_)
    np.testing.assert_allclose(mine.centers, theirs.cluster_centers_, atol=1e-5)
    assert mine.inertia == pytest.approx(theirs.inertia_, rel=1e-6)
    assert mine.converged


def test_of_several_starts_the_best_is_kept(digits):
    X, _ = digits
    single = [scalelab.kmeans(X, 10, random_state=seed).inertia for seed in range(4)]
    assert len(set(single)) > 1
    assert scalelab.kmeans(X, 10, n_init=4).inertia == min(single)


def test_near_duplicates_are_found(digits):
    X = digits[0][:300]
    copies = X[:20] * 3  # the same direction
    found = scalelab.near_duplicates(np.concatenate([X, copies]), eps=1e-5)
    np.testing.assert_array_equal(found.rows[-20:], np.arange(300, 320))
    np.testing.assert_array_equal(found.matched[-20:], np.arange(20))
    np.testing.assert_allclose(found.cosines, 1, atol=1e-5)
    apart = np.r_[np.zeros(300), np.ones(20)]
    assert len(scalelab.near_duplicates(np.concatenate([X, copies]), eps=1e-5, groups=apart).rows) < 20


def test_pruning_keeps_the_hardest(digits):
    X, y = digits
    kept = scalelab.prune(X, fraction=0.3, n_clusters=10, random_state=3)
    assert len(kept.rows) == round(0.3 * len(X))
    out = np.setdiff1d(np.arange(len(X)), kept.rows)
    assert kept.scores[kept.rows].min() >= kept.scores[out].max()
    easy = scalelab.prune(X, fraction=0.3, score=kept.scores, keep="easy")
    assert len(np.intersect1d(easy.rows, kept.rows)) == 0
    # Each class keeps half of an equal part.
    few = scalelab.prune(X, y, fraction=0.1, score=np.where(y == 3, 1.0, 0.0))
    counts = np.bincount(y[few.rows], minlength=10)
    assert counts.min() >= int(0.5 * len(few.rows) / 10)
    assert counts[3] > counts.min()


@needs_program
@pytest.mark.parametrize(
    "score, more",
    [
        ("kmeans", {"n_clusters": 12}),
        ("kmeans-cosine", {"n_clusters": 12, "near_duplicates": 0.02}),
        ("class-mean", {}),
        ("random", {"near_duplicates": 0.02}),
    ],
)
def test_pruning_is_that_of_the_program(digits, tmp_path, score, more):
    X, y = digits
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", y.astype(np.int64))
    words = [f"--{name.replace('n_clusters', 'clusters').replace('_', '-')}={value}" for name, value in more.items()]
    run("prune", "--data", tmp_path / "x.npy", "--labels", tmp_path / "y.npy", "--score", score, "--fraction", 0.37, "--seed", 5,
        "--out", tmp_path / "kept", *words)  # fmt: skip
    kept = scalelab.prune(X, y, score=score, fraction=0.37, random_state=5, **more)
    np.testing.assert_array_equal(kept.rows, np.load(tmp_path / "kept/kept_ids.npy"))
    np.testing.assert_array_equal(kept.scores, np.load(tmp_path / "kept/scores.npy"))


@needs_program
def test_neighbours_and_clusters_are_those_of_the_program(digits, tmp_path):
    X, _ = digits
    np.save(tmp_path / "x.npy", X)
    for words, arguments in [
        (["--queries", tmp_path / "x.npy"], {"queries": X, "squared": True}),
        ([], {"squared": True}),
        (["--metric", "cosine"], {"metric": "cosine"}),
    ]:
        run("knn", "--data", tmp_path / "x.npy", "--k", 6, "--out", tmp_path / "knn", *words)
        found = scalelab.knn(X, n_neighbors=6, **arguments)
        np.testing.assert_array_equal(found.indices, np.load(tmp_path / "knn/indices.npy"))
        np.testing.assert_array_equal(found.distances, np.load(tmp_path / "knn/distances.npy"))
    for metric, name in [("l2", "euclidean"), ("cosine", "cosine")]:
        run("kmeans", "--data", tmp_path / "x.npy", "--clusters", 10, "--seed", 4, "--restarts", 3, "--metric", metric,
            "--out", tmp_path / "kmeans")  # fmt: skip
        clusters = scalelab.kmeans(X, 10, random_state=4, n_init=3, metric=name)
        np.testing.assert_array_equal(clusters.centers, np.load(tmp_path / "kmeans/centroids.npy"))
        np.testing.assert_array_equal(clusters.labels, np.load(tmp_path / "kmeans/labels.npy"))


@needs_program
def test_a_map_is_that_of_the_program(tmp_path):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 2)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", y)
    run("boundary", "--data", tmp_path / "x.npy", "--labels", tmp_path / "y.npy", "--k", 3, "--grid", 64, "--extent=-2,2,-2,2",
        "--out", tmp_path / "map")  # fmt: skip
    mine = scalelab.decision_map(X, y, n_neighbors=3, size=64, extent=(-2, 2, -2, 2))
    np.testing.assert_array_equal(mine.labels, np.load(tmp_path / "map/labels.npy"))


def test_a_map_is_what_the_model_says_at_the_centres():
    rng = np.random.default_rng(2)
    X = rng.uniform(-1, 1, size=(400, 2)).astype(np.float32)
    names = np.array(["low", "mid", "top"])
    y = names[np.digitize(X[:, 1] + 0.3 * np.sin(5 * X[:, 0]), [-0.3, 0.3])]
    extent = (-1.0, 1.0, -2.0, 2.0)
    x, v = (np.arange(32) + 0.5) / 32 * 2 - 1, (np.arange(32) + 0.5) / 32 * 4 - 2
    centres = np.stack(np.meshgrid(x, v), axis=-1).reshape(-1, 2).astype(np.float32)
    models = [
        scalelab.KNeighborsClassifier(3).fit(X, y),
        scalelab.MLPClassifier((16, 16), max_iter=20, random_state=0).fit(X, y),
    ]
    network = scalelab.mlp_train(X, y, hidden_layer_sizes=(16, 16), max_iter=20)
    said = [model.predict(centres) for model in models] + [scalelab.mlp_predict(network, centres)]
    for model, want in zip([*models, network], said):
        found = scalelab.decision_map(model, size=32, extent=extent)
        got = found.classes[found.labels] if not hasattr(model, "classes_") else model.classes_[found.labels]
        assert (got.reshape(-1) != want).mean() <= 0.002  # a centre may lie within rounding of the boundary
    assert len(np.unique(said[-1])) == 3


def test_networks_learn_and_are_reproducible(digits):
    X, y = digits
    scaled = X / 8 - 1
    network = scalelab.mlp_train(scaled[:1400], y[:1400], max_iter=20, random_state=1)
    assert (scalelab.mlp_predict(network, scaled[1400:]) == y[1400:]).mean() > 0.95
    assert network.losses[-1] < network.losses[0] / 5
    several = scalelab.mlp_train(scaled[:1400], y[:1400], max_iter=20, random_state=[0, 1, 2])
    assert several.parameters.shape == (3, network.parameters.size)
    np.testing.assert_array_equal(several.parameters[1], network.parameters)  # alone or among others
    np.testing.assert_array_equal(scalelab.mlp_predict(several, scaled)[1], scalelab.mlp_predict(network, scaled))


def test_scores_are_those_of_the_layers(digits):
    X, y = digits
    network = scalelab.mlp_train(X / 16, y % 3, hidden_layer_sizes=(8,), max_iter=2, activation="tanh")
    p = network.parameters.astype(float)
    w, b = p[: 8 * 64].reshape(8, 64), p[8 * 64 : 8 * 65]
    v, c = p[8 * 65 : 8 * 65 + 24].reshape(3, 8), p[8 * 65 + 24 :]
    want = np.tanh((X / 16) @ w.T + b) @ v.T + c
    np.testing.assert_allclose(scalelab.mlp_scores(network, X / 16), want, atol=1e-5)


def test_laws_are_recognized():
    n = np.repeat([100, 200, 400, 800, 1600, 3200], 5)
    noise = np.exp(0.01 * np.random.default_rng(0).normal(size=len(n)))
    seed = np.tile(np.arange(5), 6)
    power = scalelab.law(n, 3 * n**-0.5 * noise, seed)
    assert power.verdict == "power"
    assert power.fits[0]["b"] == pytest.approx(0.5, abs=0.02)
    assert power.predict(6400) == pytest.approx(3 * 6400**-0.5, rel=0.05)
    assert "n^-0." in power.text
    floor = scalelab.law(n, (30 / n + 0.05) * noise, seed)
    assert floor.verdict == "power with floor"
    assert scalelab.law(n, 0.1 * noise).verdict == "flat"
    assert scalelab.law(n[:5], 0.1 * noise[:5]).verdict == "undecided"


def test_the_devices_are_named():
    found = scalelab.devices()
    assert "thread" in found["cpu"] and set(found) == {"cpu", "cuda"}
