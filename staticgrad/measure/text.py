"""Numbers as people read them."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Three digits, without an exponent."""
    if not math.isfinite(value):
        return "never"
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def duration(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{number(seconds * factor)} {unit}"
    return f"{number(seconds * 1e9)} ns"


def size(count: float) -> str:
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{number(count / factor)} {unit}"
    return f"{count:.0f} B"
