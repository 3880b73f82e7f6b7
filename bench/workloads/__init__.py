"""The workloads of the suite, in the order of its table."""

from __future__ import annotations

from ..workload import Workload
from . import functions, networks, probability


def all_workloads() -> list[Workload]:
    return [
        networks.simple_net(),
        networks.digits(),
        networks.mnist_mlp(),
        networks.cnn_8(),
        networks.cnn_28(),
        networks.residual(),
        functions.black_scholes(),
        probability.poisson(),
        probability.eight_schools(),
        probability.radon(),
        functions.rosenbrock(10),
        functions.rosenbrock(1_000_000),
        probability.mixture(1_000),
        probability.mixture(10_000),
        functions.heat(),
        networks.digits_epoch(),
    ]
