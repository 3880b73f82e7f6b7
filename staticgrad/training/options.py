"""The options of an optimizer in a compiled step: some are read at each call, the others are fixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticgrad.nn.module import Buffer
from staticgrad.optim.optimizer import SCHEDULED, Optimizer


class RuntimeOptions:
    """The options of an optimizer that a compiled step reads anew at each call: float64 scalars."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.scalars: list[dict[str, Any]] = []
        self._slots: list[tuple[dict[str, Any], str, int | None, np.ndarray]] = []
        several = len(optimizer.param_groups) > 1
        for number, group in enumerate(optimizer.param_groups):
            nodes: dict[str, Any] = {}
            for name in optimizer.runtime:
                suffix = f"_{number}" if several else ""
                if isinstance(group[name], tuple):
                    singular = name.removesuffix("s")
                    parts = [
                        self._slot(group, name, position, f"{singular}{position + 1}{suffix}")
                        for position in range(len(group[name]))
                    ]
                    nodes[name] = tuple(parts)
                else:
                    nodes[name] = self._slot(group, name, None, f"{name}{suffix}")
            self.scalars.append(nodes)
        self._fixed = self._others()
        self._layout = optimizer.layout
        #: the groups as they were read last; None where a later change could not be told
        self._read: list[dict[str, Any]] | None = None

    def _slot(self, group: dict[str, Any], name: str, position: int | None, label: str) -> Buffer:
        buffer = Buffer(np.zeros((), np.float64), label)
        self._slots.append((group, name, position, buffer.value))
        return buffer

    def _others(self) -> list[tuple[Any, ...]]:
        skipped = ("params", "name", *SCHEDULED, *self.optimizer.runtime)
        return [
            tuple(value for name, value in group.items() if name not in skipped)
            for group in self.optimizer.param_groups
        ]

    def refresh(self) -> None:
        """Read the options. Raises RuntimeError where one was changed that is compiled in."""
        optimizer = self.optimizer
        try:
            if optimizer.param_groups == self._read and optimizer.layout == self._layout:
                return
        except (TypeError, ValueError):
            pass  # other parameters, or arrays among the options
        self._read = None
        for group, name, position, array in self._slots:
            array[()] = group[name] if position is None else group[name][position]
        if self.optimizer.layout != self._layout:
            raise RuntimeError(
                "parameters of the optimizer no longer count their steps together, since an eager step "
                "or a loaded state has told them apart: call train_step() again"
            )
        if self._others() != self._fixed:
            names = ", ".join(self.optimizer.runtime)
            raise RuntimeError(
                f"an option of the optimizer was changed after train_step() compiled it: {names} may "
                "change from step to step; for others call train_step() again"
            )
        groups = optimizer.param_groups
        if all(_never_changes(v) for group in groups for k, v in group.items() if k != "params"):
            self._read = [dict(group) for group in groups]


def _never_changes(value: Any) -> bool:
    """Whether the same object is always the same value."""
    if isinstance(value, tuple):
        return all(map(_never_changes, value))
    return value is None or type(value) in (bool, int, float, str)
