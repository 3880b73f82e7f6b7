"""The scikit-learn estimators pass scikit-learn's own checks, and learn."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytestmark = pytest.mark.peers

from sklearn.datasets import load_diabetes, load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from staticgrad.sklearn import StaticMLPClassifier, StaticMLPRegressor  # noqa: E402


@parametrize_with_checks([StaticMLPClassifier(), StaticMLPRegressor()])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_digits() -> None:
    X, y = load_digits(return_X_y=True)
    train, test, a, b = train_test_split(X / 16, y, random_state=0)
    model = StaticMLPClassifier((64,), random_state=0, max_iter=100).fit(train, a)
    assert model.score(test, b) > 0.96
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(test), model.predict_proba(test))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(test)).sum(axis=1), 1, rtol=1e-12)


def test_diabetes() -> None:
    X, y = load_diabetes(return_X_y=True)
    train, test, a, b = train_test_split(X, y, random_state=0)
    network = StaticMLPRegressor((8,), alpha=10.0, max_iter=300, random_state=0)
    model = make_pipeline(StandardScaler(), network).fit(train, (a - 150) / 75)
    assert model.score(test, (b - 150) / 75) > 0.3


def test_options_are_checked() -> None:
    X, y = load_digits(return_X_y=True)
    for options in ({"activation": "softsign"}, {"solver": "lbfgs"}, {"hidden_layer_sizes": (0,)}):
        with pytest.raises(ValueError):
            StaticMLPClassifier(**options).fit(X, y)
