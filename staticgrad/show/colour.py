"""Where colours are wanted."""

from __future__ import annotations

import os
from typing import TextIO


def has_colours(stream: TextIO) -> bool:
    """Whether text on a stream may be coloured: on a terminal that has colours, unless NO_COLOR is
    set (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal; what can only be written to is none."""
    return bool(getattr(stream, "isatty", bool)())
