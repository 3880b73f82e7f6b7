"""Calls from several Python threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any


def at_once(work: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Call ``work`` with each of the arguments, all at once; all must end within a minute."""
    callers = [threading.Thread(target=work, args=each) for each in arguments]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not any(caller.is_alive() for caller in callers)
