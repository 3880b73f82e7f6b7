"""Log-densities by hand. Data is part of the compiled code, in the order in which it is read, and
what does not depend on the parameters is computed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
from numba import njit

from staticgrad.vectormath import exp, log1p, plus

from ..workload import Workload
from .memory import aligned

by_hand = njit(error_model="numpy", fastmath={"contract"})

# ---- Poisson regression -----------------------------------------------------------------------------

#: rows whose columns stay in the first-level cache from one use to the next
ROWS = 256


@by_hand
def poisson_loop(beta, blocks, y, eta, gradient):
    count = beta.size
    total = 0.0
    for j in range(count):
        gradient[j] = 0.0
    for block in range(len(blocks)):
        for i in range(ROWS):
            eta[i] = 0.0
        for j in range(count):
            factor = beta[j]
            for i in range(ROWS):
                eta[i] += factor * blocks[block, j, i]
        for i in range(ROWS):
            mean = exp(eta[i])
            total = plus(total, y[block, i] * eta[i] - mean)
            eta[i] = y[block, i] - mean
        for j in range(count):
            part = 0.0
            for i in range(ROWS):
                part = plus(part, eta[i] * blocks[block, j, i])
            gradient[j] += part
    return total


def poisson(workload: Workload) -> tuple[str, Callable[[], Any]]:
    (beta,) = workload.parameters.values()
    X, y = workload.constants.values()
    added = -len(y) % ROWS
    # rows of zeros fill the last block; each takes exp(0) off the sum
    blocks = np.vstack([X, np.zeros((added, X.shape[1]))]).reshape(-1, ROWS, X.shape[1])
    blocks = aligned(blocks.transpose(0, 2, 1))
    counts = aligned(np.concatenate([y, np.zeros(added)]).reshape(-1, ROWS))
    constant = added - float(scipy.special.gammaln(y + 1).sum())
    eta, gradient = aligned(np.zeros(ROWS)), np.empty_like(beta)

    def density() -> list[Any]:
        return [poisson_loop(beta, blocks, counts, eta, gradient) + constant, gradient]

    return "one pass by hand over blocks of columns, log y! computed before", density


# ---- hierarchical models ----------------------------------------------------------------------------


def eight_schools(workload: Workload) -> tuple[str, Callable[[], Any]]:
    (theta,) = workload.parameters.values()
    y, sigma = workload.constants.values()
    precision = sigma**-2.0
    schools = len(y)

    @by_hand
    def loop(theta, gradient):
        mu = theta[0]
        tau = exp(theta[1])
        squares = 0.0
        residuals = 0.0
        d_mu = 0.0
        d_tau = 0.0
        for i in range(schools):
            eta = theta[2 + i]
            residual = y[i] - mu - tau * eta
            weighted = residual * precision[i]
            squares = plus(squares, eta * eta)
            residuals = plus(residuals, residual * weighted)
            d_mu = plus(d_mu, weighted)
            d_tau = plus(d_tau, weighted * eta)
            gradient[2 + i] = weighted * tau - eta
        ratio = tau * tau * 0.04
        gradient[0] = d_mu - 0.04 * mu
        gradient[1] = d_tau * tau - 2.0 * ratio / (1.0 + ratio) + 1.0
        return -0.5 * (residuals + squares + 0.04 * mu * mu) - log1p(ratio) + theta[1]

    gradient = np.empty_like(theta)
    return "one loop by hand", lambda: [loop(theta, gradient), gradient]


def radon(workload: Workload) -> tuple[str, Callable[[], Any]]:
    (theta,) = workload.parameters.values()
    county, floor, y = workload.constants.values()
    counties, houses = len(theta) - 4, len(y)
    assert (np.diff(county) >= 0).all()
    starts = np.searchsorted(county, np.arange(counties + 1))

    @by_hand
    def loop(theta, gradient):
        mean, slope = theta[0], theta[2]
        deviation, precision = exp(theta[1]), exp(-theta[3])
        squares = 0.0
        sums = 0.0
        on_floor = 0.0
        priors = 0.0
        d_deviation = 0.0
        d_mean = 0.0
        for c in range(counties):
            z = theta[4 + c]
            intercept = mean + deviation * z
            part = 0.0
            for i in range(starts[c], starts[c + 1]):
                residual = y[i] - intercept - slope * floor[i]
                part = plus(part, residual)
                squares = plus(squares, residual * residual)
                on_floor = plus(on_floor, residual * floor[i])
            part *= precision * precision
            d_mean += part
            d_deviation += part * z
            priors += z * z
            gradient[4 + c] = part * deviation - z
        squares *= precision * precision
        sums = 1.0 / precision  # the noise
        gradient[0] = d_mean - 0.01 * mean
        gradient[1] = d_deviation * deviation - deviation * deviation + 1.0
        gradient[2] = on_floor * precision * precision - 0.01 * slope
        gradient[3] = squares - houses - sums * sums + 1.0
        prior = 0.01 * mean * mean + 0.01 * slope * slope + priors
        scales = deviation * deviation + sums * sums
        return -0.5 * (squares + prior + scales) - houses * theta[3] + theta[1] + theta[3]

    gradient = np.empty_like(theta)
    return "one loop by hand over houses in the order of counties", lambda: [
        loop(theta, gradient), gradient
    ]  # fmt: skip
