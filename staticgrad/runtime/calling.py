"""A call of a compiled function: a Python function written for it, with the names of its inputs.

It hands the arguments to the machine code as they are, beside a table of addresses. Whatever does not
go through at once takes the long way, which says what is wrong (``CompiledFunction``).
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Self

import numpy as np

from staticgrad.graph.node import Node
from staticgrad.runtime.addresses import FIRST, SIZES, TABLE, Addresses, Output
from staticgrad.show.names import identifier

#: what arguments are refused with that take the long way
WRONG = (TypeError, ValueError, AttributeError, IndexError, OverflowError)


class Missing:
    """Stands for an argument that was not given."""


MISSING = Missing()


class Arguments:
    """The arguments of a function of arrays, by position or by name.

    Attributes:
        names: what each is called in a call: as it was declared, with ``_`` behind a word of Python's;
            ``input_k`` for one declared as ``out``, which is where results go.
        described: the function with all of them, for messages.
    """

    def __init__(self, function: str, inputs: Sequence[Node]) -> None:
        self.function = function
        self.names: list[str] = []
        for position, node in enumerate(inputs):
            name = identifier(str(node.name))
            name = f"input_{position}" if name == "out" else name
            unique, number = name, 2
            while unique in self.names:
                unique, number = f"{name}_{number}", number + 1
            self.names.append(unique)
        self._types = [str(node.type) for node in inputs]
        self.listed = ", ".join(f"{n}: {t}" for n, t in zip(self.names, self._types, strict=True))
        self.described = f"{function}({self.listed})"
        #: what names in written functions begin with, which no argument's does
        self.prefix = "_"
        while any(name.startswith(self.prefix) for name in self.names):
            self.prefix += "_"

    def signature(self, *more: inspect.Parameter) -> inspect.Signature:
        """What ``inspect.signature`` says."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        own = [
            inspect.Parameter(name, kind, annotation=text)
            for name, text in zip(self.names, self._types, strict=True)
        ]
        return inspect.Signature([*own, *more])

    def check(self, given: Sequence[Any]) -> None:
        """Raise TypeError where arguments are missing or too many."""
        missing = [
            name for k, name in enumerate(self.names) if k >= len(given) or given[k] is MISSING
        ]
        if missing or len(given) > len(self.names):
            count = sum(value is not MISSING for value in given)
            told = f": {', '.join(missing)} missing" if count and missing else ""
            raise TypeError(
                f"{self.function} takes {len(self.names)} arguments ({self.listed}), got {count}{told}"
            )

    def written(
        self, body: Sequence[str], values: Mapping[str, Any], out: bool = True
    ) -> Callable[..., Any]:
        """A function of these arguments, and ``out``, with the lines of ``body``. Each may be missing,
        and there may be more, so that it can say itself what is wrong. ``values`` are what the body
        takes from outside, by name; it writes ``@`` before these names and those of its own."""
        given = "".join(f"{name}=@missing, " for name in self.names)
        lines = [
            f"def @make(@missing, {', '.join(f'@{name}' for name in values)}):",
            f"    def @call({given}*@more{', out=None' if out else ''}):",
            *(f"        {line}" for line in body),
            "    return @call",
        ]
        text = "\n".join(lines).replace("@", self.prefix)
        function = _maker(text, f"{self.prefix}make")(MISSING, *values.values())
        function.__name__ = self.function
        # Python begins its own errors with it, of a name that no argument has
        function.__qualname__ = self.described
        return function

    @property
    def given(self) -> str:
        """In a written function, the tuple of what it was given."""
        return f"({''.join(f'{name}, ' for name in self.names)}*@more,)"

    def in_order(self) -> Callable[..., tuple[tuple[Any, ...], Any]]:
        """A function that gives the arguments that it is called with in order, and ``out``."""
        return self.written([f"return {self.given}, out"], {})


@cache
def _maker(text: str, name: str) -> Callable[..., Callable[..., Any]]:
    space: dict[str, Any] = {}
    exec(compile(text, "<a call of a compiled function>", "exec"), space)
    return space[name]


def caller(
    arguments: Arguments,
    inputs: Sequence[Node],
    outputs: Sequence[Output],
    single: bool | None,
    entry: Callable[..., int],
    addresses: Addresses,
    long_way: Callable[[tuple[Any, ...], Any], Any],
) -> Callable[..., Any]:
    """The function that a call of a compiled function is.

    Args:
        single: whether the result is the output itself, a list of outputs, or None.
        entry: Numba's dispatcher. long_way: what is called where it does not take the arguments, with
            all of them and ``out``; nothing has been changed then.
    """
    names, stored, results = arguments.names, [], []
    values: dict[str, Any] = {
        "entry": entry, "pop": addresses.next, "append": addresses.kept.append,
        "new": addresses.new, "renewed": addresses.renewed, "long_way": long_way,
        "count": addresses.count, "free": addresses.free,
        "empty": IndexError, "wrong": WRONG, "type": type,
    }  # fmt: skip
    place = FIRST
    for position, node in enumerate(inputs):
        if not node.shape:
            values[f"plain_{position}"] = {"f": float, "i": int}.get(node.dtype.kind)
            values[f"scalar_{position}"] = scalar(node)
            name = names[position]
            stored += [
                f"@record[{place}][()] = (",
                f"    {name} if @type({name}) is @plain_{position} else @scalar_{position}({name})",
                ")",
            ]
            place += 1
    sizes = "".join(f"{names[k]}.shape[{axis}], " for k, axis in addresses.places)
    held = [f"@record[{SIZES}] != @sizes"] if sizes else []
    for number, output in enumerate(outputs):
        owner = place + 2 * number
        held += [f"@count(@record[{owner}]) != @free"] if output.shape else []
        results.append(f"@record[{owner + 1}][{'...' if output.shape else '()'}]")
    listed = ", ".join(results)
    handed = [name for name, node in zip(names, inputs, strict=True) if node.shape]
    body = [
        "if out is None and not @more:",
        "    @record = None",
        "    try:",
        *([f"        @sizes = ({sizes})"] if sizes else []),
        "        try:",
        "            @record = @pop()",
        "        except @empty:",
        f"            @record = @new({'@sizes' if sizes else ''})",
        *([f"        if {' or '.join(held)}:"] if held else []),
        *([f"            @record = @renewed(@record{', @sizes' if sizes else ''})"] if held else []),
        *(f"        {line}" for line in stored),
        f"        if not @entry({', '.join([*handed, f'@record[{TABLE}]'])}):",
        f"            @results = {listed if single else f'[{listed}]' if single is False else 'None'}",
        "            @append(@record)",
        "            return @results",
        "    except @wrong:",
        "        if @record is not None:",
        "            @append(@record)",
        f"return @long_way({arguments.given}, out)",
    ]
    return arguments.written(body, values)


def method_of(owner: Any, method: str, name: str) -> Callable[..., Any]:
    """A method of ``owner``, which it does not keep alive: what an object is called by must not hold
    the object, which would then not go with its last reference."""
    reference = weakref.ref(owner)

    def call(*arguments: Any) -> Any:
        found = reference()
        if found is None:
            raise ReferenceError(f"{name} is gone: hold on to it, not to its __call__")
        return getattr(found, method)(*arguments)

    return call


class Single:
    """Mixin for what stands for one piece of machine code and the parameters that it updates: as of a
    Python function, a copy is the object itself."""

    name: str

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self.name}: compiled functions cannot be pickled; compile again where needed, which "
            "is quick since machine code is kept on disk, and save parameters by state_dict()"
        )


def scalar(node: Node) -> Callable[[Any], Any]:
    """Makes a number of the declared dtype of what is given for an input without axes. Raises TypeError
    where that takes a second look."""
    dtype, convert = node.dtype, as_scalar(node)

    def number(value: Any) -> Any:
        if type(value) is dtype.type:
            return value
        array = convert(value)
        if type(array) is np.ndarray and array.dtype == dtype and not array.ndim:
            return array
        raise TypeError

    return number


def as_scalar(node: Node) -> Callable[[Any], Any]:
    """Makes arrays of numbers for a placeholder without axes; leaves anything else as it is."""
    dtype = node.dtype

    def convert(value: Any) -> Any:
        if not isinstance(value, (bool, int, float, np.generic)):
            return value
        array = np.asarray(value)
        if not np.can_cast(array.dtype, dtype, casting="same_kind"):
            raise TypeError(f"{node.name} was declared as {node.type}; got {value!r}")
        number = array.astype(dtype)
        if dtype.kind == "i" and number != array:
            raise ValueError(f"{node.name} was declared as {node.type}; {value!r} is out of its range")
        return number

    return convert


__all__ = ["MISSING", "Arguments", "Single", "as_scalar", "caller", "method_of"]
