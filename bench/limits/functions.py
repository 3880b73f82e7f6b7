"""Kernels by hand for functions of large arrays: one pass, and no array between input and output."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from staticgrad.vectormath import erf, exp, log, plus, sqrt

from ..workload import Workload
from .memory import aligned

ROOT_HALF = math.sqrt(0.5)
DENSITY = 1 / math.sqrt(2 * math.pi)

#: products and sums may be contracted; what needs its roundings says so itself
by_hand = njit(error_model="numpy", fastmath={"contract"})


@by_hand
def black_scholes_loop(s, k, t, r, v, price, delta, dual, theta, rho, vega):
    total = 0.0
    for i in range(s.size):
        root = sqrt(t[i])
        deviation = v[i] * root
        d1 = (log(s[i] / k[i]) + (r[i] + 0.5 * v[i] * v[i]) * t[i]) / deviation
        d2 = d1 - deviation
        first = 0.5 + 0.5 * erf(d1 * ROOT_HALF)
        second = 0.5 + 0.5 * erf(d2 * ROOT_HALF)
        discount = exp(-r[i] * t[i])
        strike = k[i] * discount * second
        spread = s[i] * DENSITY * exp(-0.5 * d1 * d1)
        value = s[i] * first - strike
        price[i] = value
        total = plus(total, value)
        delta[i] = first
        dual[i] = -discount * second
        vega[i] = spread * root
        theta[i] = 0.5 * spread * v[i] / root + r[i] * strike
        rho[i] = t[i] * strike
    return total


def black_scholes(workload: Workload) -> tuple[str, Callable[[], Any]]:
    given = list(workload.parameters.values())
    price, *greeks = (aligned(np.zeros_like(given[0])) for _ in range(6))

    def price_and_greeks() -> list[Any]:
        return [black_scholes_loop(*given, price, *greeks), price, *greeks]

    return "one loop by hand, the greeks by their formulas", price_and_greeks


@njit(error_model="numpy", fastmath=True)
def rosenbrock_loop(x, gradient):
    last = x.size - 1
    before = 0.0  # x[i] - x[i - 1]**2
    total = 0.0
    # ends apart, so that the loop has no branch
    after = x[1] - x[0] * x[0]
    gradient[0] = -400.0 * x[0] * after - 2.0 * (1.0 - x[0])
    total += 100.0 * after * after + (1.0 - x[0]) * (1.0 - x[0])
    for i in range(1, last):
        before = x[i] - x[i - 1] * x[i - 1]
        after = x[i + 1] - x[i] * x[i]
        rest = 1.0 - x[i]
        total += 100.0 * after * after + rest * rest
        gradient[i] = 200.0 * before - 400.0 * x[i] * after - 2.0 * rest
    gradient[last] = 200.0 * (x[last] - x[last - 1] * x[last - 1])
    return total


def rosenbrock(workload: Workload) -> tuple[str, Callable[[], Any]]:
    (x,) = workload.parameters.values()
    gradient = aligned(np.zeros_like(x))
    return "one loop by hand", lambda: [rosenbrock_loop(x, gradient), gradient]
