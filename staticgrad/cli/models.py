"""Models on the command line: ``module.py:function``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from staticgrad.graph.origin import is_internal

if TYPE_CHECKING:
    from staticgrad.measure.model import Model

#: what --help says of MODEL
MODEL_HELP = (
    "module.py:function, or package.module:function: a function without required arguments that "
    "declares a model and returns (inputs, loss), (inputs, loss, optimizer), a training step or a "
    "compiled function. In a clone, the name of a model of examples/gallery/models.py will do."
)


class ModelError(Exception):
    """A model that cannot be had; ``code`` is the exit code: 2 where it cannot be found, 1 where it
    fails."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def add_model(parser: argparse.ArgumentParser) -> None:
    """Let a command take a MODEL, and the sizes of its named dimensions."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)


def add_sizes(
    parser: argparse.ArgumentParser, unless: str = "which is what all are unless told"
) -> None:
    parser.add_argument(
        "--size", metavar="NAME=N", action="append", type=_size, default=[],
        help=f"the size of a named dimension, as batch=64, {unless}; repeat it for several",
    )  # fmt: skip


def _size(text: str) -> tuple[str, int]:
    name, sign, number = text.partition("=")
    if not sign or not name.isidentifier() or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"expected NAME=N with N above zero, got {text!r}")
    return name, int(number)


def sizes_for(model: Model, given: list[tuple[str, int]]) -> dict[str, int]:
    """A size for each named dimension of a model: as given, or 64.

    Raises ModelError for a name that the model does not have.
    """
    from staticgrad.measure.samples import DEFAULT_SIZE

    unknown = [name for name, _ in given if name not in model.dimensions]
    if unknown:
        known = f"it has {', '.join(model.dimensions)}" if model.dimensions else "it has none"
        raise ModelError(f"--size: the model has no dimension {', '.join(unknown)}; {known}", 2)
    return {**dict.fromkeys(model.dimensions, DEFAULT_SIZE), **dict(given)}


def load(text: str) -> Model:
    """The model that ``text`` names. Raises ModelError where there is none.

    What the user's code prints goes to standard error: standard output is the command's.
    """
    import staticgrad as sg
    from staticgrad.measure.model import Model

    with contextlib.redirect_stdout(sys.stderr):
        found, name = _attribute(text)
        if _is_made(found):
            value = found
        else:
            _check_arguments(found, text)
            sg.manual_seed(0)
            value = _of_the_user(found, text)
    try:
        return Model.of(value, name)
    except TypeError as error:
        raise ModelError(f"{text} returned no model: {error}", 1) from None


def _is_made(value: Any) -> bool:
    from staticgrad import CompiledFunction, DebugFunction, TrainStep

    return isinstance(value, (CompiledFunction, DebugFunction, TrainStep))


def _attribute(text: str) -> tuple[Any, str]:
    """The function, and what it is called."""
    where, sign, name = text.rpartition(":")
    if not sign:
        gallery = Path(__file__).resolve().parents[2] / "examples" / "gallery" / "models.py"
        if not text.isidentifier() or not gallery.is_file():
            raise ModelError(f"{text!r} names no model: expected module.py:function", 2)
        where, name = str(gallery), text
    if not where or not name.isidentifier():
        raise ModelError(f"{text!r} names no model: expected module.py:function", 2)
    is_file = where.endswith(".py") or os.sep in where or os.path.exists(where)
    module = _from_file(Path(where)) if is_file else _imported(where)
    if not hasattr(module, name):
        known = ", ".join(_candidates(module)) or "none"
        raise ModelError(
            f"{where} has no function {name}; functions without required arguments: {known}", 2
        )
    return getattr(module, name), name


def _candidates(module: ModuleType) -> list[str]:
    """The functions of a module that may declare a model."""
    return [
        name for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
        and not name.startswith("_") and not _required(value)
    ]  # fmt: skip


def _required(function: Any) -> list[str]:
    """The arguments that a function must be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    named = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in named]


def _check_arguments(function: Any, text: str) -> None:
    from staticgrad.measure.model import EXPECTED, described

    if not callable(function):
        raise ModelError(
            f"{text} is no function, but {described(function)}: name a function that returns the "
            f"model; {EXPECTED}", 2,
        )  # fmt: skip
    required = _required(function)
    if required:
        raise ModelError(
            f"{text} requires arguments ({', '.join(required)}): name a function that can be called "
            "without, or give them defaults", 2,
        )  # fmt: skip


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"there is no file {path}", 2)
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else "_model"
    specification = importlib.util.spec_from_file_location(name, path.resolve())
    if specification is None or specification.loader is None:
        raise ModelError(f"{path} is no Python file", 2)
    module = importlib.util.module_from_spec(specification)
    # as for a script: modules beside it can be imported
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    _of_the_user(lambda: specification.loader.exec_module(module), str(path))  # type: ignore
    return module


def _imported(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    except Exception as error:
        raise ModelError(f"{name} raised an error:\n{users_traceback(error)}", 1) from None
    if found is None:
        raise ModelError(f"there is no module {name}, and no file of that name", 2)
    module: ModuleType = _of_the_user(lambda: importlib.import_module(name), name)
    return module


def _of_the_user(call: Any, what: str) -> Any:
    """The result of the user's code. Raises ModelError with the user's part of the traceback."""
    try:
        return call()
    except Exception as error:
        raise ModelError(f"{what} raised an error:\n{users_traceback(error)}", 1) from None


def users_traceback(error: BaseException) -> str:
    """The traceback without the frames of staticgrad and of Python's import machinery."""
    told = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = told
    while link is not None:
        kept = [frame for frame in link.stack if not is_internal(frame.filename)]
        link.stack = traceback.StackSummary.from_list(kept)
        link = link.__cause__ or link.__context__
    return "".join(told.format()).rstrip()
