"""What a workload's time is held against: a kernel written by hand, or the matrix products alone with
the optimizer's pass over memory. Each takes a workload and gives what it does, in words, and a
function without arguments; kernels that compute results return them as a library does.

Nothing is imported before it is asked for: a process that measures a peer's memory has no Numba.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..workload import Workload

Limit = tuple[str, Callable[[], Any]]


def from_module(module: str, name: str) -> Callable[[Workload], Limit]:
    def limit(workload: Workload) -> Limit:
        made: Limit = getattr(importlib.import_module(f".{module}", __name__), name)(workload)
        return made

    return limit


black_scholes = from_module("functions", "black_scholes")
rosenbrock = from_module("functions", "rosenbrock")
poisson = from_module("densities", "poisson")
eight_schools = from_module("densities", "eight_schools")
radon = from_module("densities", "radon")
mixture = from_module("gaussian_mixture", "mixture")
simple_net = from_module("networks", "simple_net")
mlp = from_module("networks", "mlp")
residual = from_module("networks", "residual")
cnn = from_module("networks", "cnn")
heat = from_module("heat_equation", "heat")
