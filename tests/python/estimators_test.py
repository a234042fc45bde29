"""scikit-learn's own checks of what calls itself an estimator."""

import pickle

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import scalelab

ESTIMATORS = [scalelab.KNeighborsClassifier(), scalelab.KMeans(), scalelab.MLPClassifier(max_iter=60)]


@parametrize_with_checks(ESTIMATORS)
def test_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_in_a_pipeline_and_after_a_pickle(digits, estimator):
    X, y = digits
    model = make_pipeline(StandardScaler(), estimator).fit(X[:500], y[:500])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict(X[500:700]), again.predict(X[500:700]))
