"""Multilayer perceptrons as scikit-learn estimators, trained by compiled steps.

Needs the extra ``sklearn``: ``pip install 'staticgrad[sklearn]'``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from staticgrad import nn, optim
from staticgrad.graph.leaves import placeholder
from staticgrad.ops import public as sg
from staticgrad.runtime.function import compile
from staticgrad.training.fit import History
from staticgrad.training.step import train_step

ACTIVATIONS = {"identity": nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid,
               "gelu": nn.GELU}  # fmt: skip
SOLVERS = {"adam": optim.Adam, "sgd": optim.SGD}


class _StaticMLP(BaseEstimator):
    """What classifier and regressor share; see them."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 1e-4,
        batch_size: Any = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        momentum: float = 0.9,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.momentum = momentum
        self.verbose = verbose

    def __getstate__(self) -> dict[str, Any]:
        # compiled code is made again from the weights
        return {name: v for name, v in super().__getstate__().items() if name != "_compiled"}

    def _layers(self, outputs: int) -> list[int]:
        sizes = self.hidden_layer_sizes
        hidden = [sizes] if isinstance(sizes, (int, np.integer)) else list(sizes)
        if any(size < 1 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be positive, got {sizes}")
        for what, value, known in (("activation", self.activation, ACTIVATIONS),
                                   ("solver", self.solver, SOLVERS)):  # fmt: skip
            if value not in known:
                raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")
        return [self.n_features_in_, *(int(size) for size in hidden), outputs]

    def _network(self, sizes: list[int], dtype: Any) -> nn.Sequential:
        layers: list[nn.Module] = []
        for rows, columns in pairwise(sizes):
            layers += [nn.Linear(rows, columns, dtype=dtype), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers[:-1])

    def _train(self, X: np.ndarray, target: np.ndarray, sizes: list[int], loss: Any) -> None:
        """Fit the network's weights, and keep them as arrays."""
        rng = check_random_state(self.random_state)
        network = self._network(sizes, X.dtype)
        for layer in network:
            if isinstance(layer, nn.Linear):
                # as in scikit-learn: Glorot and Bengio's bound, for weights and biases
                factor = 2.0 if self.activation == "logistic" else 6.0
                bound = np.sqrt(factor / (layer.in_features + layer.out_features))
                for parameter in layer.parameters():
                    parameter.value = rng.uniform(-bound, bound, parameter.shape).astype(X.dtype)
        x = placeholder("x", ("batch", X.shape[1]), X.dtype)
        y = placeholder("y", ("batch", *target.shape[1:]), target.dtype)
        weights = [layer.weight for layer in network if isinstance(layer, nn.Linear)]
        penalty = sum((sg.sum(sg.square(w)) for w in weights[1:]), sg.sum(sg.square(weights[0])))
        objective = loss(network(x), y)
        size = min(200, len(X)) if self.batch_size == "auto" else min(int(self.batch_size), len(X))
        total = objective + (self.alpha / (2 * size)) * penalty
        options = {"lr": self.learning_rate_init}
        if self.solver == "sgd":
            options["momentum"] = self.momentum
        optimizer = SOLVERS[self.solver](network.parameters(), **options)
        step = train_step([x, y], total, optimizer, name="mlp_step")
        history = step.fit(
            X, target, epochs=self.max_iter, batch_size=size, shuffle=self.shuffle,
            seed=int(rng.randint(2**31 - 1)), callback=self._converged, progress=bool(self.verbose),
        )  # fmt: skip
        self.loss_curve_ = history.loss
        self.loss_ = history.loss[-1]
        self.n_iter_ = len(history.loss)
        self.n_layers_ = len(sizes)
        self.n_outputs_ = sizes[-1]
        self.coefs_ = [np.array(w.value.T) for w in weights]
        self.intercepts_ = [np.array(bias.value) for bias in _biases(network)]
        self._compiled: list[Any] = []

    def _converged(self, history: History) -> bool:
        """Whether the last epochs have not made the loss smaller by more than ``tol``."""
        count = self.n_iter_no_change
        if len(history.loss) <= count:
            return False
        return min(history.loss[-count:]) > min(history.loss[:-count]) - self.tol

    def _outputs(self, X: Any, last: Any) -> np.ndarray:
        """What the network gives, by a compiled function that is made when first needed."""
        check_is_fitted(self)
        dtype = self.coefs_[0].dtype
        array = np.asarray(validate_data(self, X, reset=False, dtype=dtype), dtype)
        compiled = self.__dict__.setdefault("_compiled", [])
        if not compiled:
            sizes = [self.coefs_[0].shape[0], *(c.shape[1] for c in self.coefs_)]
            network = self._network(sizes, dtype)
            weights = [layer.weight for layer in network if isinstance(layer, nn.Linear)]
            owners = zip(weights, _biases(network), strict=True)
            arrays = zip(self.coefs_, self.intercepts_, strict=True)
            for (w, b), (weight, bias) in zip(owners, arrays, strict=True):
                w.value, b.value = weight.T, bias
            x = placeholder("x", ("batch", sizes[0]), dtype)
            compiled.append(compile(x, last(network(x)), name="mlp_outputs"))
        return compiled[0](np.ascontiguousarray(array))


def _biases(network: nn.Sequential) -> list[nn.Parameter]:
    return [m.bias for m in network if isinstance(m, nn.Linear) and m.bias is not None]


class StaticMLPClassifier(ClassifierMixin, _StaticMLP):
    """A multilayer perceptron that minimises the cross entropy, trained by a compiled step.

    Parameters are those of scikit-learn's MLPClassifier, as far as they are here; ``activation`` is
    "identity", "relu", "tanh", "logistic" or "gelu", ``solver`` "adam" or "sgd". Training ends after
    ``max_iter`` epochs, or when the loss has not improved by ``tol`` for ``n_iter_no_change`` epochs.

    Attributes: ``classes_``, ``coefs_``, ``intercepts_``, ``loss_``, ``loss_curve_``, ``n_iter_``.
    """

    def fit(self, X: Any, y: Any) -> StaticMLPClassifier:
        """Train on X (n, features) and labels y (n,); returns the estimator."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(f"the labels hold one class only, {self.classes_[0]}: nothing to learn")
        labels = encoder.transform(y).astype(np.int64)
        self._train(np.ascontiguousarray(X), labels, self._layers(len(self.classes_)), sg.cross_entropy)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (n, classes)."""
        return self._outputs(X, sg.softmax)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of ``predict_proba``."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample, (n,)."""
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]


class StaticMLPRegressor(RegressorMixin, _StaticMLP):
    """A multilayer perceptron that minimises the squared error, trained by a compiled step.

    Parameters and attributes as those of ``StaticMLPClassifier``; y may have several columns.
    """

    def fit(self, X: Any, y: Any) -> StaticMLPRegressor:
        """Train on X (n, features) and targets y (n,) or (n, outputs); returns the estimator."""
        X, y = validate_data(
            self, X, y, dtype=(np.float64, np.float32), multi_output=True, y_numeric=True
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        target = np.ascontiguousarray(y.reshape(len(y), -1), dtype=X.dtype)
        self._single = y.ndim == 1

        def half_mse(prediction: Any, wanted: Any) -> Any:
            return 0.5 * sg.mse_loss(prediction, wanted)

        self._train(np.ascontiguousarray(X), target, self._layers(target.shape[1]), half_mse)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The network's outputs, in the shape of the targets it was trained on."""
        result = self._outputs(X, lambda node: node)
        return result[:, 0] if self._single else result


__all__ = ["StaticMLPClassifier", "StaticMLPRegressor"]
