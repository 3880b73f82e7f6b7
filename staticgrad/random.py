"""The generator that initialisers, eager random tensors and new dropout seeds draw from."""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start the generator anew, so that what follows can be repeated.

    Raises TypeError or ValueError for anything but a non-negative integer.
    """
    global _generator
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """The generator that ``manual_seed`` sets; NumPy's PCG64."""
    return _generator


__all__ = ["generator", "manual_seed"]
