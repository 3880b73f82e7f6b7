"""Random state: the generator that initialisers and eager random tensors draw from, and the seeds of
random numbers inside graphs."""

from __future__ import annotations

import numpy as np

from staticgrad.graph.leaves import Parameter

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start all random numbers anew, so that what follows can be repeated.

    Initialisers, ``eager.rand`` and its kin, and ``F.dropout`` begin again; modules that have a seed
    of their own, as ``nn.Dropout`` does once it exists, go on.

    Raises TypeError or ValueError for anything but a non-negative integer.
    """
    global _generator
    _generator = np.random.default_rng(seed)
    shared_state.value[...] = new_state()


def generator() -> np.random.Generator:
    """The generator that ``manual_seed`` sets: NumPy's PCG64."""
    return _generator


def new_state(seed: int | None = None) -> np.ndarray:
    """The state of random numbers in a graph: a seed, drawn unless given, and a count of draws."""
    drawn = int(_generator.integers(2**63 - 1)) if seed is None else int(seed)
    return np.array([drawn, 0], np.int64)


#: what random functions draw from that belong to no module
shared_state = Parameter(new_state(), name="random_state", requires_grad=False)

__all__ = ["generator", "manual_seed", "new_state", "shared_state"]
