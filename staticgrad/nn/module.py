"""Modules: parameters and submodules by attribute, one forward for both modes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node, described
from staticgrad.graph.origin import assigned, current_scope, name_scope
from staticgrad.ops.advice import did_you_mean

#: inside a module's call, the nodes that have been called after modules below it
_inside: ContextVar[set[Node] | None] = ContextVar("staticgrad_inside_module", default=None)


class Buffer(Parameter):
    """State that training does not differentiate: running statistics, counters."""

    __slots__ = ()

    def __init__(self, value: Any, name: str | None = None, *, dtype: Any = None) -> None:
        super().__init__(value, name, dtype=dtype, requires_grad=False)


class Module:
    """The base of all layers and models.

    A subclass calls ``super().__init__()``, assigns parameters and modules to attributes, and defines
    ``forward``. Called with nodes it declares a part of a static graph; called with eager tensors it
    computes at once. Parameters are the same arrays in both.
    """

    training: bool

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_transient", set())
        object.__setattr__(self, "training", True)

    # ---- registration ----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if "." in name and isinstance(value, (Parameter, Module)):
            raise ValueError(f"a name must have no dot, dots join the names of modules: {name!r}")
        if isinstance(value, (Parameter, Module)) and "_parameters" not in self.__dict__:
            raise AttributeError(
                f"call super().__init__() before assigning {name} in {type(self).__name__}.__init__"
            )
        if isinstance(value, Buffer):
            self._forget(name)
            self._buffers[name] = value
        elif isinstance(value, Parameter):
            self._forget(name)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name)
            self._modules[name] = value
        elif name in self.__dict__.get("_parameters", {}) and value is not None:
            raise TypeError(
                f"cannot assign {type(value).__name__} to parameter {name}: assign an nn.Parameter, or "
                f"to {name}.value"
            )
        else:
            if "_parameters" in self.__dict__:
                self._forget(name)
            object.__setattr__(self, name, value)

    def _forget(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(name, None)
        self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        raise AttributeError(self._no_attribute(name))

    def _no_attribute(self, name: str) -> str:
        """What to say of an attribute that there is not."""
        problem = f"{type(self).__name__} has no attribute {name!r}"
        if name.startswith("_"):
            return problem
        if name in ("to", "cuda", "cpu"):
            return f"{problem}: staticgrad computes on the CPU"
        return problem + did_you_mean(name, (known for known in dir(self) if known[0] != "_"))

    def __delattr__(self, name: str) -> None:
        if not any(name in t for t in (self._parameters, self._buffers, self._modules)):
            object.__delattr__(self, name)
        self._forget(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Assign a parameter by name; None says that there is none."""
        setattr(self, name, parameter)

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Keep state that is not trained: an array, or None. ``persistent`` ones are in
        ``state_dict``."""
        setattr(self, name, value if value is None or isinstance(value, Buffer) else Buffer(value))
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Assign a submodule by name."""
        setattr(self, name, module)

    # ---- calling ---------------------------------------------------------------------------------

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """What the module computes; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__ did not call super().__init__()")
        called_after_modules = _inside.get()
        if called_after_modules is not None:
            with name_scope(self.__dict__.get("_attribute", type(self).__name__)):
                result = self.forward(*arguments, **options)
                if _is_new(result, arguments) and result.name is None:
                    result.name = current_scope()
                    called_after_modules.add(result)
                return result
        if not arguments or not isinstance(arguments[0], Node):
            _check_arguments(type(self).__name__, [*arguments, *options.values()])
        self._name_parameters()
        called_after_modules = set()
        token = _inside.set(called_after_modules)
        try:
            result = self.forward(*arguments, **options)
        finally:
            _inside.reset(token)
        if _is_static(result):
            names = {given.name for given in arguments if isinstance(given, Node)}
            for name, node in assigned(Module.__call__, result):
                replaceable = _is_new(node, arguments) and (
                    node.name is None or node in called_after_modules
                )
                if replaceable and name not in names:
                    node.name = name
        return result

    def _name_parameters(self) -> None:
        """Parameters without a name are called after the path of attributes that leads to them;
        numbers in it, as in a Sequential, become ``linear0``."""
        spoken = {"": ""}
        for path, module in self.named_modules():
            above, _, attribute = path.rpartition(".")
            if attribute.isdigit():
                attribute = f"{type(module).__name__.lower()}{attribute}"
            spoken[path] = f"{spoken[above]}.{attribute}".strip(".")
            object.__setattr__(module, "_attribute", attribute)
            for name, state in (*module._parameters.items(), *module._buffers.items()):
                if state.name is None:
                    state.name = f"{spoken[path]}.{name}".strip(".")

    # ---- going through ---------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with the path of attributes."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(f"{path}.{n}" if path else n, m) for n, m in module._modules.items()]
            stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules assigned to this one's attributes."""
        return iter(list(self._modules.items()))

    def children(self) -> Iterator[Module]:
        """The modules assigned to this one's attributes."""
        return iter(list(self._modules.values()))

    def _named(self, table: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in getattr(module, table).items():
                if id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths, shared ones once."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and of those below it, shared ones once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Buffer]]:
        """Buffers with their paths."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        """The buffers of this module and of those below it."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, path: str) -> Module:
        """The module at a path of attributes, as ``"encoder.0"``. Raises AttributeError."""
        found: Any = self
        for name in filter(None, path.split(".")):
            found = getattr(found, name)
        return found

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call ``function`` with every module, the innermost first; returns this module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # ---- modes -----------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Switch to training (dropout drops, batch statistics count), or with False to evaluation.

        A static graph keeps the mode in which it was declared.
        """
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> Module:
        """Switch to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Say of all parameters whether training changes them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients that eager backward passes have added up, or set them to zero."""
        zero_grad(self.parameters(), set_to_none)

    # ---- state -----------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> OrderedDict[str, np.ndarray]:
        """The arrays of parameters and persistent buffers by their paths, under PyTorch's names.

        The arrays are the model's own: copy them if they are to stay as they are.
        """
        result: OrderedDict[str, np.ndarray] = OrderedDict()
        for path, state in self._states():
            result[prefix + path] = state.value
        return result

    def _states(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters and persistent buffers, in PyTorch's order; shared ones under each name."""
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            path, module = stack.pop()
            tables = {**module._parameters, **module._buffers}
            for name, state in tables.items():
                if name not in module._transient:
                    yield (f"{path}.{name}" if path else name), state
            below = [(f"{path}.{n}" if path else n, m) for n, m in module._modules.items()]
            stack.extend(reversed(below))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copy arrays into parameters and buffers.

        Args:
            state_dict: arrays, or what ``numpy.asarray`` takes, by path.
            strict: whether missing and unexpected paths are errors.

        Raises:
            RuntimeError: one that lists all missing, unexpected and mismatched paths; nothing has been
                changed then. TypeError: for what is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict takes a mapping from paths to arrays, got {described(state_dict)}"
            )
        own = dict(self._states())
        problems = []
        if strict:
            missing = [path for path in own if path not in state_dict]
            unexpected = [path for path in state_dict if path not in own]
            if missing:
                problems.append(f"missing: {', '.join(missing)}")
            if unexpected:
                problems.append(f"unexpected: {', '.join(unexpected)}")
        arrays = {}
        for path, state in own.items():
            if path not in state_dict:
                continue
            array = np.asarray(state_dict[path])
            if array.shape != state.value.shape:
                problems.append(f"{path}: shape {array.shape} given, {state.value.shape} expected")
            elif not np.can_cast(array.dtype, state.dtype, "same_kind"):
                problems.append(f"{path}: {array.dtype} given, {state.dtype} expected")
            else:
                arrays[path] = array
        if problems:
            raise RuntimeError(
                f"cannot load the state into {type(self).__name__}:\n  " + "\n  ".join(problems)
            )
        for path, array in arrays.items():
            own[path].value[...] = array

    # ---- reading ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of ``repr``; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        if not self._modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        lines += [f"({name}): {module!r}" for name, module in self._modules.items()]
        inner = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {inner}\n)"

    def summary(self) -> str:
        """A table of the modules with their parameters, and the totals; print it."""
        rows = [("module", "type", "parameters")]
        for path, module in self.named_modules():
            count = sum(p.value.size for p in module._parameters.values())
            shapes = ", ".join(f"{n} {tuple(p.shape)}" for n, p in module._parameters.items())
            text = f"{count:,}  {shapes}" if count else ""
            rows.append((path or "(model)", type(module).__name__, text))
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows]
        trained = sum(p.value.size for p in self.parameters() if p.requires_grad)
        total = sum(p.value.size for p in self.parameters())
        memory = sum(p.value.nbytes for p in (*self.parameters(), *self.buffers()))
        lines.insert(1, "-" * max(map(len, lines)))
        lines.append(lines[1])
        lines.append(f"{total:,} parameters, {trained:,} of them trained; {memory:,} bytes")
        return "\n".join(lines)


def _check_arguments(name: str, arguments: list[Any]) -> None:
    """Raise TypeError for arrays alone: they would become constants of a graph that nobody declares."""
    if any(isinstance(leaf, Node) for leaf in _leaves(arguments)):
        return
    for argument in arguments:
        array = np.asarray(argument) if isinstance(argument, (np.ndarray, list)) else None
        if array is not None and array.dtype.kind in "fiub":
            shape = ("batch", *array.shape[1:]) if array.ndim > 1 else array.shape
            raise TypeError(
                f"{name} was called with {described(argument)}, and with no node: declare "
                f"x = sg.placeholder('x', {shape}, '{array.dtype}') and compile what {name} makes "
                "of it, or compute at once with sg.eager.tensor(array); sg.constant(array) makes it a "
                "part of a graph"
            )


def _leaves(value: Any) -> Iterator[Any]:
    """What lists, tuples and dictionaries hold, however deep."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _is_static(result: Any) -> bool:
    """Whether a module has made nodes of a static graph."""
    first = result[0] if isinstance(result, (tuple, list)) and result else result
    return isinstance(first, Node) and not first.is_eager


def _is_new(result: Any, arguments: Any) -> bool:
    """Whether a module's result is a node of a static graph that it has computed."""
    return (
        isinstance(result, Node)
        and not result.is_eager
        and bool(result.inputs)
        and not any(result is argument for argument in arguments)
    )


def zero_grad(parameters: Any, set_to_none: bool = True) -> None:
    """Forget the gradients of parameters, or set them to zero."""
    for parameter in parameters:
        if set_to_none or parameter.grad is None:
            parameter.grad = None
        else:
            parameter.grad = parameter.grad.detach()
            parameter.grad.zero_()


def store(buffer: Buffer, value: Any, result: Node) -> None:
    """Set ``buffer`` to ``value``: at once in eager mode; in a static graph, whenever a compiled call
    computes ``result``."""
    if isinstance(value, Node) and not value.is_eager:
        result.effects = (*result.effects, (buffer, value))
    else:
        buffer.value[...] = np.asarray(value.detach() if isinstance(value, Node) else value)  # type: ignore


__all__ = ["Buffer", "Module", "Parameter"]
