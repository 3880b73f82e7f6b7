"""Log-densities and their gradients, in float64, as samplers and optimisers call them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import limits
from ..workload import Bars, Workload

# ---- Poisson regression -----------------------------------------------------------------------------


def randhie() -> tuple[np.ndarray, np.ndarray, str]:
    """Doctor visits in the RAND health insurance experiment: 20,190 rows of 10 columns, with the
    intercept; numbers drawn at random in the same shape where statsmodels is not installed."""
    try:
        from statsmodels.datasets import randhie as data
    except ModuleNotFoundError:
        rng = np.random.default_rng(0)
        X = np.hstack([rng.standard_normal((20_190, 9)) * 0.3, np.ones((20_190, 1))])
        return X, rng.poisson(np.exp(X @ rng.normal(0, 0.3, 10))).astype("float64"), "random data"
    table = data.load_pandas().data.to_numpy(dtype="float64")
    columns = table[:, 1:]
    scaled = (columns - columns.mean(0)) / columns.std(0)
    return np.hstack([scaled, np.ones((len(table), 1))]), table[:, 0].copy(), "randhie"


def poisson() -> Workload:
    def staticgrad(beta: Any, X: Any, y: Any) -> Any:
        import staticgrad as sg

        eta = X @ beta
        return sg.sum(y * eta - sg.exp(eta) - sg.lgamma(y + 1))

    def torch(beta: Any, X: Any, y: Any) -> Any:
        import torch as th

        eta = X @ beta
        return (y * eta - th.exp(eta) - th.lgamma(y + 1)).sum()

    def jax(beta: Any, X: Any, y: Any) -> Any:
        import jax.numpy as jnp
        from jax.scipy.special import gammaln

        eta = X @ beta
        return jnp.sum(y * eta - jnp.exp(eta) - gammaln(y + 1))

    def pytensor(beta: Any, X: Any, y: Any) -> Any:
        import pytensor.tensor as pt

        eta = X @ beta
        return pt.sum(y * eta - pt.exp(eta) - pt.gammaln(y + 1))

    X, y, source = randhie()
    beta = np.random.default_rng(0).normal(0, 0.1, X.shape[1])
    return Workload(
        "poisson", f"Poisson regression ({source}), {X.shape[0]:,} x {X.shape[1]}, float64",
        {"beta": beta},
        {"staticgrad": staticgrad, "torch": torch, "jax": jax, "pytensor": pytensor},
        Bars(8, 2, 1.3), constants={"X": X, "y": y},
        limit=limits.poisson, tolerance=1e-8,
    )  # fmt: skip


# ---- hierarchical models ----------------------------------------------------------------------------


def eight_schools() -> Workload:
    """Rubin (1981), not centred: theta = (mu, log tau, eta_1 ... eta_8)."""

    def written_with(lib: Any) -> Any:
        def log_density(theta: Any, y: Any, sigma: Any) -> Any:
            mu, log_tau, eta = theta[0], theta[1], theta[2:]
            school = mu + lib.exp(log_tau) * eta
            likelihood = (-0.5 * ((y - school) / sigma) ** 2).sum()
            prior = -0.5 * (mu / 5.0) ** 2 - 0.5 * (eta**2).sum()
            return likelihood + prior - lib.log1p((lib.exp(log_tau) / 5.0) ** 2) + log_tau

        return log_density

    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    sigma = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    theta = np.random.default_rng(0).standard_normal(10)
    return Workload(
        "eight_schools", "8 schools log-density, float64", {"theta": theta}, lazily(written_with),
        Bars(50, 2.5, 1.5), constants={"y": y, "sigma": sigma},
        limit=limits.eight_schools, tolerance=1e-9,
    )  # fmt: skip


COUNTIES, HOUSES = 85, 919


def radon() -> Workload:
    """Varying intercepts as in Gelman and Hill's radon model, not centred; numbers at random:
    theta = (mean, log deviation, slope, log noise, z_1 ... z_85)."""

    def written_with(lib: Any) -> Any:
        def log_density(theta: Any, county: Any, floor: Any, y: Any) -> Any:
            mean, log_deviation, slope, log_noise = (theta[k] for k in range(4))
            z = theta[4:]
            intercept = mean + lib.exp(log_deviation) * z
            residual = (y - intercept[county] - slope * floor) * lib.exp(-log_noise)
            likelihood = -0.5 * (residual**2).sum() - HOUSES * log_noise
            prior = -0.5 * ((mean / 10.0) ** 2 + (slope / 10.0) ** 2 + (z**2).sum())
            scales = -0.5 * (lib.exp(2.0 * log_deviation) + lib.exp(2.0 * log_noise))
            return likelihood + prior + scales + log_deviation + log_noise

        return log_density

    rng = np.random.default_rng(0)
    county = np.sort(rng.integers(0, COUNTIES, HOUSES))
    floor = rng.integers(0, 2, HOUSES).astype("float64")
    y = 1.5 + 0.3 * rng.standard_normal(COUNTIES)[county] - 0.7 * floor
    y += 0.8 * rng.standard_normal(HOUSES)
    theta = 0.3 * rng.standard_normal(COUNTIES + 4)
    return Workload(
        "radon", "radon-size hierarchical model, 919 x 85, float64", {"theta": theta},
        lazily(written_with), Bars(50, 2.5, 1.5),
        constants={"county": county, "floor": floor, "y": y},
        limit=limits.radon, tolerance=1e-9,
    )  # fmt: skip


def lazily(written_with: Any) -> dict[str, Any]:
    """One formula for all libraries, each imported when it is first called."""
    modules = {"staticgrad": "staticgrad", "torch": "torch", "jax": "jax.numpy",
               "pytensor": "pytensor.tensor"}  # fmt: skip

    def loading(module: str) -> Any:
        def loss(*arguments: Any) -> Any:
            import importlib

            return written_with(importlib.import_module(module))(*arguments)

        return loss

    return {language: loading(module) for language, module in modules.items()}


# ---- Gaussian mixture -------------------------------------------------------------------------------

DIMENSIONS, COMPONENTS = 10, 25


def mixture(samples: int) -> Workload:
    """As in ADBench: weights alpha, means mu, and factors Q of the precisions, lower triangular with
    exp(q) on the diagonal."""
    d, count = DIMENSIONS, COMPONENTS

    def staticgrad(alpha: Any, mu: Any, q: Any, lower: Any, x: Any, mask: Any, eye: Any) -> Any:
        import staticgrad as sg

        Q = lower * mask + sg.expand_dims(sg.exp(q), 2) * eye
        shift = sg.einsum("kij,kj->ki", Q, mu)
        z = sg.reshape(x @ sg.reshape(Q, (count * d, d)).T, (samples, count, d)) - shift
        inner = alpha + sg.sum(q, axis=1) - 0.5 * sg.sum(z**2, axis=2)
        return sg.sum(sg.logsumexp(inner, axis=1)) - samples * sg.logsumexp(alpha)

    def torch(alpha: Any, mu: Any, q: Any, lower: Any, x: Any, mask: Any, eye: Any) -> Any:
        import torch as th

        Q = lower * mask + th.exp(q)[:, :, None] * eye
        shift = th.einsum("kij,kj->ki", Q, mu)
        z = (x @ Q.reshape(count * d, d).T).reshape(samples, count, d) - shift
        inner = alpha + q.sum(1) - 0.5 * (z**2).sum(2)
        return th.logsumexp(inner, 1).sum() - samples * th.logsumexp(alpha, 0)

    def jax(alpha: Any, mu: Any, q: Any, lower: Any, x: Any, mask: Any, eye: Any) -> Any:
        import jax.numpy as jnp
        from jax.scipy.special import logsumexp

        Q = lower * mask + jnp.exp(q)[:, :, None] * eye
        shift = jnp.einsum("kij,kj->ki", Q, mu)
        z = (x @ Q.reshape(count * d, d).T).reshape(samples, count, d) - shift
        inner = alpha + q.sum(1) - 0.5 * (z**2).sum(2)
        return logsumexp(inner, 1).sum() - samples * logsumexp(alpha)

    def pytensor(alpha: Any, mu: Any, q: Any, lower: Any, x: Any, mask: Any, eye: Any) -> Any:
        import pytensor.tensor as pt

        Q = lower * mask + pt.exp(q)[:, :, None] * eye
        shift = (Q * mu[:, None, :]).sum(2)
        z = (x @ Q.reshape((count * d, d)).T).reshape((samples, count, d)) - shift
        inner = alpha + q.sum(1) - 0.5 * (z**2).sum(2)
        return pt.logsumexp(inner, axis=1).sum() - samples * pt.logsumexp(alpha)

    rng = np.random.default_rng(0)
    parameters = {
        "alpha": rng.standard_normal(count),
        "mu": rng.standard_normal((count, d)),
        "q": 0.3 * rng.standard_normal((count, d)),
        "lower": 0.3 * rng.standard_normal((count, d, d)),
    }
    x = rng.standard_normal((samples, d))
    return Workload(
        f"mixture_{samples}", f"Gaussian mixture, d 10, K 25, n {samples:,}, float64", parameters,
        {"staticgrad": staticgrad, "torch": torch, "jax": jax, "pytensor": pytensor},
        Bars(5, 1.5, 1.5),
        constants={"x": x, "mask": np.tril(np.ones((d, d)), -1), "eye": np.eye(d)},
        limit=limits.mixture, tolerance=1e-8,
    )  # fmt: skip
