"""Whether operations on tensors are recorded for a backward pass."""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import Any

_recording: ContextVar[bool] = ContextVar("staticgrad_recording", default=True)


class _GradMode(ContextDecorator):
    """A context, or a decorator, in which operations are recorded or are not."""

    recording: bool

    def __init__(self) -> None:
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> None:
        self._tokens.append(_recording.set(self.recording))

    def __exit__(self, *exception: Any) -> None:
        _recording.reset(self._tokens.pop())

    def _recreate_cm(self) -> _GradMode:
        return type(self)()


class no_grad(_GradMode):
    """Nothing inside is recorded: results do not require gradients."""

    recording = False


class enable_grad(_GradMode):
    """Operations inside are recorded, also within ``no_grad``."""

    recording = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded for a backward pass."""
    return _recording.get()
