"""What to write instead, where a guess goes wrong: NumPy's functions called with nodes, attributes that
nodes have not got, names that modules have not got."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.methods import FUNCTIONS, NO_VALUE_YET
from staticgrad.graph.node import Node
from staticgrad.ops import public

#: the ufuncs that Python's operators call where an array stands on the left, under their names here
OPERATORS = {
    **{name: name for name in ("add", "subtract", "multiply", "divide", "floor_divide", "remainder",
                               "matmul", "less", "less_equal", "greater", "greater_equal", "equal",
                               "not_equal")},
    "power": "pow", "bitwise_and": "logical_and", "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
}  # fmt: skip
#: functions of NumPy and PyTorch that have other names here
OTHER_NAMES = {
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "tan2")},
    **OPERATORS, "invert": "logical_not", "absolute": "abs", "fabs": "abs", "amax": "max",
    "amin": "min", "concatenate": "concat", "hstack": "concat", "vstack": "concat", "cat": "concat",
    "transpose": "permute_dims", "permute": "permute_dims", "swapaxes": "permute_dims",
    "moveaxis": "permute_dims", "ravel": "reshape", "view": "reshape", "flatten": "reshape",
    "dot": "matmul", "mm": "matmul", "bmm": "matmul", "inner": "vecdot", "unsqueeze": "expand_dims",
    "clamp": "clip", "expand": "broadcast_to", "detach": "stop_gradient", "neg": "negative",
    "mul": "multiply", "sub": "subtract", "div": "divide", "eq": "equal", "gt": "greater",
    "lt": "less", "add.reduce": "sum", "multiply.reduce": "prod", "maximum.reduce": "max",
    "minimum.reduce": "min", "add.accumulate": "cumsum", "multiply.outer": "outer",
    "gammaln": "lgamma", "psi": "digamma", "expit": "sigmoid", "special.expit": "sigmoid",
    "log_expit": "log_sigmoid", "gather": "take_along_axis", "linalg.norm": "norm",
    "linalg.vector_norm": "norm", "nanmean": "mean", "select": "where", "fmax": "maximum",
    "fmin": "minimum", "true_divide": "divide", "mod": "remainder", "fmod": "remainder",
}  # fmt: skip
#: attributes of arrays and tensors that a node, which has no value, cannot have
WITHOUT_VALUE = frozenset({"item", "numpy", "tolist", "value", "eval", "data", "tobytes"})
ON_DEVICES = ("cuda", "cpu")
GRADIENTS = "sg.grad(loss, x) gives the gradient as a node, sg.train_step a training step"
#: what else users look for
NODE_ADVICE = {
    "backward": GRADIENTS, "grad": GRADIENTS,
    "requires_grad": "sg.grad takes any node; sg.stop_gradient(x) holds x constant",
    "clone": "nodes do not change, so that none needs a copy",
    "copy": "nodes do not change, so that none needs a copy",
    "dim": "that is x.ndim", "numel": "that is x.size", "t": "that is x.T",
    **dict.fromkeys(("to", "float", "double", "long", "int", "bool", "type"), "use x.astype(dtype)"),
}  # fmt: skip
#: what there is instead of names that other libraries have
MODULE_ADVICE = {
    "staticgrad": {
        **dict.fromkeys(
            ("tensor", "array", "asarray", "variable", "Variable", "Tensor"),
            "declare sg.placeholder, sg.parameter or sg.constant; eager.tensor makes tensors of "
            "eager mode",
        ),
        **dict.fromkeys(("function", "jit", "lambdify"), "sg.compile makes functions"),
        **dict.fromkeys(("gradient", "vjp", "backward"), "use sg.grad(loss, variables)"),
        **dict.fromkeys(("input", "Input", "symbol", "symbols"), "use sg.placeholder(name, shape)"),
    },
}  # fmt: skip
#: where a name may be instead, as programs write it
PLACES = {
    "staticgrad": "sg", "staticgrad.nn": "nn", "staticgrad.nn.functional": "nn.functional",
    "staticgrad.nn.init": "nn.init", "staticgrad.optim": "optim",
    "staticgrad.optim.lr_scheduler": "optim.lr_scheduler", "staticgrad.eager": "eager",
}  # fmt: skip


def on_ufunc(
    ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: dict[str, Any]
) -> Any:
    """What a ufunc of NumPy gives for nodes: ``array * node`` is a node.

    Raises TypeError for ufuncs that no operator calls.
    """
    out = options.get("out")
    in_place = out is not None and out[0] is inputs[0] and len(options) == 1
    if method == "__call__" and ufunc.__name__ in OPERATORS and (not options or in_place):
        return getattr(public, OPERATORS[ufunc.__name__])(*inputs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    raise _no_array(name, [*inputs, *(out or ())])


def on_function(function: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """What a function of NumPy gives for nodes: parameters and tensors are arrays for it.

    Raises TypeError for nodes without a value.
    """
    nodes = list(_nodes([arguments, list(options.values())]))
    if function in (np.shape, np.ndim, np.size):
        return getattr(nodes[0], function.__name__)
    if all(hasattr(type(node), "numpy") for node in nodes):
        return function(*_arrays(arguments), **{k: _arrays(v) for k, v in options.items()})
    module = function.__module__.removeprefix("numpy").strip(".")
    raise _no_array(f"{module}.{function.__name__}".strip("."), nodes)


def _nodes(value: Any) -> Iterable[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _nodes(item)


def _arrays(value: Any) -> Any:
    if isinstance(value, Node):
        return np.asarray(value)
    return type(value)(map(_arrays, value)) if type(value) in (list, tuple) else value


def _no_array(name: str, arguments: Sequence[Any]) -> TypeError:
    """The error of a function of NumPy that was called with a node."""
    nodes = list(_nodes(arguments))
    node = next((node for node in nodes if not hasattr(type(node), "numpy")), nodes[0])
    ours = _public_name(name)
    use = f"use sg.{ours}" if ours else "staticgrad has no function of that name"
    if node.is_eager:
        what = "an eager tensor"
        use += f", or np.{name} of its array, x.detach().numpy()"
    elif isinstance(node, Parameter):
        what = "a parameter"
        use += f", or np.{name} of its array, {node.name or 'parameter'}.value"
    else:
        what = "a node of a graph, which has no value yet"
    return TypeError(f"np.{name} takes arrays, and {_short(node)} is {what}: {use}")


def _short(node: Node) -> str:
    """A node as a message calls it; of a tensor the type alone, without its numbers."""
    return f"<{node.name or 'tensor'}: {node.type}>" if node.is_eager else repr(node)


def _public_name(name: str) -> str | None:
    ours = OTHER_NAMES.get(name, name)
    return ours if ours in public.__all__ else None


class Missing:
    """An attribute that nodes have not got: asking for it raises an error that says what to use.

    A ``__getattr__`` would do as well, and make each other attribute of each node slower.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, node: Node | None, kind: type) -> Any:
        if node is None:
            raise AttributeError(f"type object {kind.__name__!r} has no attribute {self.name!r}")
        raise AttributeError(missing_attribute(node, self.name))


def missing_attribute(node: Node, name: str) -> str:
    """What to say of an attribute that a node has not got."""
    problem = f"{_short(node)} has no attribute {name!r}"
    if name in ON_DEVICES:
        return f"{problem}: staticgrad computes on the CPU"
    if not node.is_eager:
        if name in WITHOUT_VALUE and isinstance(node, Parameter):
            return f"{problem}: {node.name or 'parameter'}.value is its array"
        if name in WITHOUT_VALUE:
            return f"{problem}: {NO_VALUE_YET}"
        if name in NODE_ADVICE:
            return f"{problem}: {NODE_ADVICE[name]}"
    ours = _public_name(name)
    return problem if ours is None else f"{problem}: use sg.{ours}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` is most alike, as the end of a message; nothing where none is."""
    names = list(known)
    by_lower_case = {item.lower(): item for item in names}
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7) or [
        by_lower_case[item]
        for item in difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.7)
    ]
    return f"; did you mean {close[0]}?" if close else ""


def missing_names(module: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module: its errors tell the name that was meant."""

    def __getattr__(name: str) -> Any:
        problem = f"module {module!r} has no attribute {name!r}"
        if name.startswith("_"):
            raise AttributeError(problem)
        advice = MODULE_ADVICE.get(module, {}).get(name)
        if advice:
            raise AttributeError(f"{problem}: {advice}")
        for place, short in PLACES.items():
            if place != module and name in _names_of(place):
                raise AttributeError(f"{problem}: it is {short}.{name}")
        if module in ("staticgrad", "staticgrad.nn.functional", "staticgrad.eager"):
            ours = _public_name(name)
            if ours:
                raise AttributeError(f"{problem}: it is called {ours}")
        raise AttributeError(problem + did_you_mean(name, _names_of(module)))

    return __getattr__


def _names_of(module: str) -> Sequence[str]:
    return getattr(sys.modules.get(module), "__all__", ())


FUNCTIONS["on_ufunc"] = on_ufunc
FUNCTIONS["on_function"] = on_function
for _name in {*WITHOUT_VALUE, *NODE_ADVICE, *ON_DEVICES, *OTHER_NAMES, *public.__all__}:
    if _name.isidentifier() and _name[0].islower() and not hasattr(Node, _name):
        setattr(Node, _name, Missing(_name))

__all__ = ["did_you_mean", "missing_names"]
