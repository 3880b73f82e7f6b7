"""The workloads of the suite, in the order of its table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..workload import Workload
from . import functions, networks, probability

WORKLOADS: dict[str, Callable[[], Workload]] = {
    "simple_net": networks.simple_net,
    "digits": networks.digits,
    "mlp": networks.mnist_mlp,
    "cnn_8": networks.cnn_8,
    "cnn_28": networks.cnn_28,
    "residual": networks.residual,
    "black_scholes": functions.black_scholes,
    "poisson": probability.poisson,
    "eight_schools": probability.eight_schools,
    "radon": probability.radon,
    "rosenbrock_10": partial(functions.rosenbrock, 10),
    "rosenbrock_1e6": partial(functions.rosenbrock, 1_000_000),
    "mixture_1000": partial(probability.mixture, 1_000),
    "mixture_10000": partial(probability.mixture, 10_000),
    "heat": functions.heat,
    "epoch": networks.digits_epoch,
}
#: hidden sizes of the digits network, from one where calls are all that counts to one where matrix
#: products are
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)


def named(name: str) -> Workload:
    """A workload by its name; ``width_N`` is the digits network with hidden layers of N, ``warm_up``
    something small. Raises KeyError for any other."""
    if name.startswith("width_"):
        return networks.digits_of_width(int(name.removeprefix("width_")))
    return functions.rosenbrock(3) if name == "warm_up" else WORKLOADS[name]()


def all_workloads() -> list[Workload]:
    return [make() for make in WORKLOADS.values()]
