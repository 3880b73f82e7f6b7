"""staticgrad: declare a graph once, derive its gradient symbolically, call one compiled step.

- Declare: ``placeholder``, ``parameter``, the functions of the array API, ``nn``, ``optim``.
- Derive: ``grad``, ``value_and_grad``; a gradient is a node like any other.
- Compile: ``compile``, ``train_step``.
- Read: ``print`` of a node or of ``step.source``, ``show``, ``step.passes``, ``step.explain``.
- Compare: ``compare``, with ``eager`` and with PyTorch; ``step.profile``.
- Debug: ``compile(..., debug=True)``, ``check_grad``, ``evaluate``.
- Export: ``step.export``.

The ``staticgrad`` command does the same for a function that declares a model.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from staticgrad import eager, nn, optim
from staticgrad import explain as _explain  # noqa: F401  what step.explain calls
from staticgrad.derive.gradient import grad, value_and_grad
from staticgrad.graph.leaves import Parameter, constant, parameter, placeholder
from staticgrad.graph.node import GraphError, GraphTypeError, Node
from staticgrad.graph.origin import name_scope
from staticgrad.ops import advice as _advice
from staticgrad.ops import public as _public
from staticgrad.ops.public import *  # noqa: F403  the op functions, listed in ops/public.py
from staticgrad.random import manual_seed
from staticgrad.runtime.function import CompiledFunction, compile
from staticgrad.runtime.interpreter import evaluate
from staticgrad.runtime.threads import get_num_threads, set_num_threads
from staticgrad.show import rich as _rich  # noqa: F401  what notebooks show
from staticgrad.show.text import show
from staticgrad.training import TrainStep, load_checkpoint, save_checkpoint, train_step
from staticgrad.version import __version__

if _TYPE_CHECKING:
    from staticgrad.checking import GradientError, GradientReport, check_grad
    from staticgrad.measure.compare import Comparison, compare
    from staticgrad.runtime.debug import DebugFunction, NonFiniteError

#: what is loaded when it is asked for, since most programs never do
_LATER = {
    "Comparison": "measure.compare",
    "DebugFunction": "runtime.debug",
    "GradientError": "checking",
    "GradientReport": "checking",
    "NonFiniteError": "runtime.debug",
    "check_grad": "checking",
    "compare": "measure.compare",
}

__all__ = [
    "Comparison",
    "CompiledFunction",
    "DebugFunction",
    "GradientError",
    "GradientReport",
    "GraphError",
    "GraphTypeError",
    "Node",
    "NonFiniteError",
    "Parameter",
    "TrainStep",
    "__version__",
    "check_grad",
    "compare",
    "compile",
    "constant",
    "eager",
    "evaluate",
    "get_num_threads",
    "grad",
    "load_checkpoint",
    "manual_seed",
    "name_scope",
    "nn",
    "optim",
    "parameter",
    "placeholder",
    "save_checkpoint",
    "set_num_threads",
    "show",
    "train_step",
    "value_and_grad",
]
__all__ += _public.__all__


_missing = _advice.missing_names(__name__)


def __getattr__(name: str) -> object:
    if name not in _LATER:
        return _missing(name)
    from importlib import import_module

    globals()[name] = getattr(import_module(f"staticgrad.{_LATER[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
