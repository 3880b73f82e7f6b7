"""Checkpoints: everything that a run needs to go on, in one file without pickle."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from staticgrad.nn.module import Module
from staticgrad.optim.optimizer import Optimizer

FORMAT = "staticgrad-checkpoint-1"


def save_checkpoint(
    path: str | Path,
    module: Module | None = None,
    optimizer: Optimizer | None = None,
    scheduler: Any = None,
    step: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write the state of a run: a run that is loaded from it goes on as if it had not stopped.

    Args:
        path: the file, in NumPy's npz format; written whole or not at all.
        module: parameters and all buffers, the state of dropout included.
        optimizer: state and options. scheduler: where it is in its schedule.
        step: a ``TrainStep``, for gradients that are being accumulated.
        extra: numbers, texts, lists and dictionaries of them that JSON holds.

    Raises TypeError for something in ``extra`` that JSON does not hold.
    """
    arrays: dict[str, np.ndarray] = {}
    parts: dict[str, Any] = {"format": FORMAT, "extra": dict(extra or {})}
    if module is not None:
        parts["module"] = _put(_module_state(module), arrays)
    for name, item in (("optimizer", optimizer), ("scheduler", scheduler), ("step", step)):
        if item is not None:
            parts[name] = _put(item.state_dict(), arrays)
    text = np.frombuffer(json.dumps(parts).encode(), np.uint8)
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, checkpoint=text, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def load_checkpoint(
    path: str | Path,
    module: Module | None = None,
    optimizer: Optimizer | None = None,
    scheduler: Any = None,
    step: Any = None,
) -> dict[str, Any]:
    """Take over the state of a run; what is not given is left out. Returns ``extra``.

    Raises:
        ValueError: for a file that is no checkpoint, or holds nothing for what is asked.
        RuntimeError: where the module has other parameters.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    try:
        parts = json.loads(arrays.pop("checkpoint").tobytes().decode())
    except (KeyError, ValueError):
        raise ValueError(f"{path} is not a checkpoint that save_checkpoint wrote") from None
    asked = {"module": module, "optimizer": optimizer, "scheduler": scheduler, "step": step}
    for name, item in asked.items():
        if item is not None and name not in parts:
            raise ValueError(f"{path} holds no state of a {name}")
    if module is not None:
        _load_module(module, _get(parts["module"], arrays))
    for name in ("optimizer", "scheduler", "step"):
        item = asked[name]
        if item is not None:
            item.load_state_dict(_get(parts[name], arrays))
    return parts["extra"]


def _module_state(module: Module) -> dict[str, np.ndarray]:
    """Parameters and all buffers, also those that ``state_dict`` leaves out."""
    return {
        **module.state_dict(),
        **{name: buffer.value for name, buffer in module.named_buffers()},
    }


def _load_module(module: Module, state: Mapping[str, np.ndarray]) -> None:
    transient = dict(module.named_buffers())
    persistent = module.state_dict()
    module.load_state_dict(
        {name: array for name, array in state.items() if name in persistent or name not in transient}
    )
    for name, buffer in transient.items():
        if name not in persistent and name in state:
            buffer.value[...] = state[name]


def _put(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """``value`` for JSON: arrays go into ``arrays``, and leave their name."""
    if isinstance(value, (np.ndarray, np.generic)):
        name = f"array_{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array": name}
    if isinstance(value, Mapping):
        return {"items": [[_put(k, arrays), _put(v, arrays)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_put(item, arrays) for item in value]}
    if isinstance(value, list):
        return [_put(item, arrays) for item in value]
    return value


def _get(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        if "tuple" in value:
            return tuple(_get(item, arrays) for item in value["tuple"])
        return {_get(k, arrays): _get(v, arrays) for k, v in value["items"]}
    if isinstance(value, list):
        return [_get(item, arrays) for item in value]
    return value


__all__ = ["load_checkpoint", "save_checkpoint"]
