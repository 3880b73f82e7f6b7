"""Numerical derivatives of functions of one number, with an estimate of their error.

Central differences at three step widths, each half of the one before, are extrapolated to width zero
(Richardson), which leaves an error of the sixth order. Where that is not accurate enough, since a kink
or the end of the domain is near, the steps become smaller. See Ridders, "Accurate computation of F'(x)
and F'(x) F''(x)", Advances in Engineering Software 4 (1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from sys import float_info
from typing import Literal

#: the widest step, relative to the scale of what is varied; how much smaller each further attempt is;
#: and the smallest, relative to the number itself where that is smaller than the scale
WIDEST, SHRINKING, SMALLEST = 2e-3, 16.0, 1e-4
#: how many attempts there are at least, and at most
ATTEMPTS = (6, 16)
#: two distances at which the sides of a kink are looked at
NEAR, FAR = 1e-6, 1e-4
#: a quantity that halves with the distance or sinks faster is smooth; one that stays is not
STAYS = 0.6

Kind = Literal["smooth", "kink", "jump"]


@dataclass(frozen=True)
class Derivative:
    """A derivative at a point.

    Attributes:
        value: the number; at a kink the mean of both sides. error: an estimate of its error.
        kind: "kink" where the derivatives ``left`` and ``right`` of the point differ, "jump" where
            the function's own values do.
    """

    value: float
    error: float
    kind: Kind = "smooth"
    left: float = 0.0
    right: float = 0.0


def derivative(
    function: Callable[[float], float], here: float, scale: float, accuracy: float,
    size: float = 0.0,
) -> Derivative:  # fmt: skip
    """The derivative at 0 of a function, whose value there is ``here``.

    Args:
        function: of a displacement.
        here: its value at 0.
        scale: of what is displaced, positive: the size of numbers like it.
        size: its own absolute value, 0 where there is none.
        accuracy: the relative error below which no smaller steps are tried.
    """
    best = Derivative(0.0, inf)
    width = WIDEST * scale
    suspicious = False
    least, most = ATTEMPTS
    for attempt in range(most):
        if attempt >= least and not width > SMALLEST * size > 0:
            break
        steps = (width, width / 2, width / 4)
        right = [function(step) for step in steps]
        left = [function(-step) for step in steps]
        if all(map(isfinite, (*left, *right))):
            value, error = _extrapolated(steps, left, right)
            bend = _bend(steps, left, right, here)
            suspicious = suspicious or (attempt == 0 and bend > 0)
            error += bend
            if error < best.error:
                best = Derivative(value, error)
            if best.error <= accuracy * abs(best.value):
                break
        width /= SHRINKING
    if suspicious or best.error > accuracy * abs(best.value):
        return _with_sides(function, here, scale, best)
    return best


def _extrapolated(
    steps: tuple[float, ...], left: list[float], right: list[float]
) -> tuple[float, float]:
    """The derivative of the sixth order, and its error by truncation and by rounding."""
    first, second, third = (
        (r - l) / (2 * step) for step, l, r in zip(steps, left, right, strict=True)
    )
    coarse, fine = (4 * second - first) / 3, (4 * third - second) / 3
    value = (16 * fine - coarse) / 15
    rounding = float_info.epsilon * max(map(abs, (*left, *right))) / steps[-1]
    # the error of a lower order: that of the value itself is far too small if there is a kink near
    return value, abs(fine - coarse) + 2 * rounding


def _bend(
    steps: tuple[float, ...], left: list[float], right: list[float], here: float
) -> float:
    """How far the slopes of both sides are apart, where they do not come together as fast as those of
    a smooth function; else 0. A kink much closer than the steps leaves no other trace."""
    wide, _, narrow = (
        abs(r - 2 * here + l) / step for step, l, r in zip(steps, left, right, strict=True)
    )
    noise = 8 * float_info.epsilon * max(map(abs, (*left, *right, here))) / steps[-1]
    return narrow if narrow > STAYS * wide and narrow > noise else 0.0


def _with_sides(
    function: Callable[[float], float], here: float, scale: float, found: Derivative
) -> Derivative:
    """What is found, told as a kink or a jump if it is one at this very point."""
    near, far = NEAR * scale, FAR * scale
    values = [function(t) for t in (-far, -near, near, far)]
    if not all(map(isfinite, (*values, here))):
        return found
    far_left, left, right, far_right = values
    noise = 64 * float_info.epsilon * max(map(abs, (*values, here)))
    steps = max(abs(right - here), abs(here - left))
    if steps > noise and steps > STAYS * max(abs(far_right - here), abs(here - far_left)):
        return Derivative(found.value, inf, "jump", inf, inf)
    slopes = (here - left) / near, (right - here) / near
    far_slopes = (here - far_left) / far, (far_right - here) / far
    bend, far_bend = abs(slopes[1] - slopes[0]), abs(far_slopes[1] - far_slopes[0])
    if bend > STAYS * far_bend and bend > noise / near and bend > 1e-4 * max(map(abs, slopes)):
        return Derivative(sum(slopes) / 2, noise / near, "kink", *slopes)
    return found


__all__ = ["Derivative", "derivative"]
