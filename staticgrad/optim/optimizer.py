"""What optimizers have in common: groups of parameters, state, and the eager step.

A rule is written once, in ops: from a parameter, its gradient and its state to their new values. The
eager step runs it at once; a static step compiles it (``staticgrad.training``). In both, state lies
in the same arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from staticgrad.eager.modes import no_grad
from staticgrad.eager.tensor import view_of
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node, described
from staticgrad.nn.module import Buffer, Module, zero_grad
from staticgrad.ops.convert import cast

#: what schedules keep in a group
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")
#: the new value of the parameter, and of each entry of its state
Update = tuple[Node, dict[str, Node]]
#: a number that may change from step to step, by its name in the group
Value = Callable[[str], Any]


class Optimizer:
    """The base of optimizers.

    Attributes: ``param_groups``, a list of dictionaries with the parameters and their options, which
    may be changed between steps where ``runtime`` names them; ``state``, for each parameter a
    dictionary of arrays under PyTorch's names; ``defaults``.
    """

    #: the options that are read anew at each step, also by a compiled one
    runtime: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Parameter, dict[str, Buffer]] = {}
        self._counts: dict[int, Buffer] = {}
        self.layout = 0
        if isinstance(params, Node):
            raise TypeError("params must be an iterable of parameters or dictionaries, not one")
        if isinstance(params, Module):
            raise TypeError(
                f"optimizers take parameters, got the module {type(params).__name__}: pass "
                "model.parameters()"
            )
        given = list(params)
        if not given:
            raise ValueError("the optimizer got an empty list of parameters")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        # groups are told apart by their identities, which copies have not got
        return {**self.__dict__, "_counts": [self._counts.get(id(g)) for g in self.param_groups]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        counts = state.pop("_counts")
        self.__dict__.update(state)
        groups = zip(self.param_groups, counts, strict=True)
        self._counts = {id(group): count for group, count in groups if count is not None}

    # ---- what a subclass says --------------------------------------------------------------------

    def check(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError for options that make no sense."""

    def initial_state(self, parameter: Parameter, group: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The arrays that the rule keeps for a parameter, as they are before the first step."""
        raise NotImplementedError

    def rule(
        self, p: Node, g: Node, state: Mapping[str, Node], group: Mapping[str, Any], value: Value
    ) -> Update:
        """The new parameter and the new state, in ops.

        ``group`` holds the options that decide what is computed; ``value(name)`` gives a number that
        may change from step to step.
        """
        raise NotImplementedError

    # ---- groups and state ------------------------------------------------------------------------

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own; what is not given is as in ``defaults``.

        Raises:
            TypeError: for anything but parameters. ValueError: for unknown or senseless options, or a
                parameter that is in a group already.
        """
        new = {**self.defaults, **group}
        params = new["params"]
        new["params"] = [params] if isinstance(params, Node) else list(params)
        unknown = set(new) - set(self.defaults) - {"params", "name", *SCHEDULED}
        if unknown:
            raise ValueError(f"{type(self).__name__} has no option {', '.join(sorted(unknown))}")
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for parameter in new["params"]:
            if not isinstance(parameter, Parameter):
                hint = ""
                if isinstance(parameter, tuple):
                    hint = ": pass model.parameters(), without their names"
                elif isinstance(parameter, np.ndarray):
                    hint = ": pass the parameter itself, not its array"
                raise TypeError(f"optimizers take parameters, got {described(parameter)}{hint}")
            if id(parameter) in known:
                raise ValueError(f"{parameter!r} appears in more than one parameter group")
            known.add(id(parameter))
        check_positive(new, "lr")
        self.check(new)
        self.param_groups.append(new)

    def state_of(self, parameter: Parameter, group: Mapping[str, Any]) -> dict[str, Buffer]:
        """The state of a parameter, made when first asked for."""
        if parameter not in self.state:
            self.state[parameter] = {
                name: self._buffer(parameter, name, array, group)
                for name, array in self.initial_state(parameter, group).items()
            }
        return self.state[parameter]

    def _buffer(
        self, parameter: Parameter, name: str, array: np.ndarray, group: Mapping[str, Any]
    ) -> Buffer:
        """Memory for a part of the state. The parameters of a group share their count of steps for as
        long as they take all steps together, so that what depends on it is computed once."""
        if name == "step":
            shared = self._counts.get(id(group))
            if shared is not None and np.array_equal(shared.value, array):
                return shared
        buffer = Buffer(array)
        buffer.name = f"{parameter.name or 'parameter'}.{name}"
        if name == "step" and id(group) not in self._counts:
            number = next(k for k, known in enumerate(self.param_groups) if known is group)
            buffer.name = "steps" if len(self.param_groups) == 1 else f"steps_{number}"
            self._counts[id(group)] = buffer
        return buffer

    def _count_apart(self, group: Mapping[str, Any]) -> None:
        """Give each parameter of a group a count of steps of its own."""
        shared = self._counts.get(id(group))
        for parameter in group["params"]:
            state = self.state.get(parameter, {})
            if shared is not None and state.get("step") is shared:
                state["step"] = Buffer(shared.value)
                state["step"].name = f"{parameter.name or 'parameter'}.step"
        #: compiled steps hold on to the memory of counts, and look at this number
        self.layout += 1

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        zero_grad([p for g in self.param_groups for p in g["params"]], set_to_none)

    # ---- the eager step --------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients again; its result is returned.

        All new values are computed before the first is stored, so that an error leaves parameters and
        state as they were.
        """
        result = None if closure is None else closure()
        pending: list[tuple[Parameter, Node]] = []
        with no_grad():
            for group in self.param_groups:
                stepping = [p for p in group["params"] if p.grad is not None and p.requires_grad]
                left_out = set(group["params"]) - set(stepping)
                if stepping and any("step" in self.state.get(p, {}) for p in left_out):
                    self._count_apart(group)
                for parameter in stepping:
                    state = self.state_of(parameter, group)
                    views = {name: view_of(buffer) for name, buffer in state.items()}
                    gradient = parameter.grad.detach()
                    new, new_state = self.rule(
                        view_of(parameter).detach(), gradient, views, group, group.__getitem__
                    )
                    pending.append((parameter, new))
                    pending += [(state[name], item) for name, item in new_state.items()]
            # copies first: a new value may be a view of an old one
            arrays = [(target, np.array(item.detach())) for target, item in pending]  # type: ignore
        for target, array in arrays:
            target.value[...] = array
            if target.eager_view is not None:
                target.eager_view._version[0] += 1
        return result

    # ---- saving ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State and options, parameters by number, as PyTorch's: ``{"state", "param_groups"}``.

        Arrays are copies.
        """
        numbers = {p: k for k, p in enumerate(p for g in self.param_groups for p in g["params"])}
        return {
            "state": {
                numbers[p]: {name: np.array(b.value) for name, b in state.items()}
                for p, state in self.state.items()
            },
            "param_groups": [
                {**{k: v for k, v in group.items() if k != "params"},
                 "params": [numbers[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }  # fmt: skip

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave, PyTorch's included.

        Raises ValueError where groups or shapes differ; nothing has been changed then.
        """
        groups = state_dict["param_groups"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(
                "the loaded state has groups of "
                f"{[len(g['params']) for g in groups]} parameters, this optimizer of "
                f"{[len(g['params']) for g in self.param_groups]}"
            )
        for group, saved in zip(self.param_groups, groups, strict=True):
            entries = [state_dict["state"].get(n, {}) for n in saved["params"]]
            if len({float(np.asarray(e["step"])) for e in entries if "step" in e}) > 1:
                for parameter in group["params"]:
                    self.state_of(parameter, group)
                self._count_apart(group)
        by_number = {
            number: (parameter, group)
            for group, saved in zip(self.param_groups, groups, strict=True)
            for parameter, number in zip(group["params"], saved["params"], strict=True)
        }
        loaded: list[tuple[Buffer, np.ndarray]] = []
        for number, entries in state_dict["state"].items():
            parameter, group = by_number[int(number)]
            template = self.initial_state(parameter, {**group, **groups[0]})
            for name, expected in template.items():
                array = np.asarray(entries.get(name, expected + 1 if name == "step" else expected))
                if array.shape != expected.shape:
                    raise ValueError(
                        f"{name} of {parameter!r} has shape {expected.shape}, got {array.shape}"
                    )
                loaded.append((self.state_of(parameter, group)[name], array))
        for group, saved in zip(self.param_groups, groups, strict=True):
            known = (set(group) | set(SCHEDULED)) - {"params"}
            group.update({name: value for name, value in saved.items() if name in known})
        for buffer, array in loaded:
            buffer.value[...] = array

    def __repr__(self) -> str:
        groups = []
        for position, group in enumerate(self.param_groups):
            options = "".join(f"    {k}: {v}\n" for k, v in sorted(group.items()) if k != "params")
            groups.append(f"  group {position}: {len(group['params'])} parameters\n{options}")
        return f"{type(self).__name__} (\n{''.join(groups)})"


def check_positive(group: Mapping[str, Any], *names: str) -> None:
    """Raise ValueError where an option is negative or no number."""
    for name in names:
        value = group[name]
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value >= 0:
            raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def scaled(factor: Any, like: Node) -> Any:
    """A run-time number beside ``like``: Python's adapt by themselves, nodes are cast."""
    return cast(factor, like.dtype) if isinstance(factor, Node) else factor


def called(value: Any, name: str) -> Any:
    """``value``, under ``name`` in generated code."""
    return value.named(name) if isinstance(value, Node) and not value.is_eager else value


def prepared(p: Node, g: Node, group: Mapping[str, Any], decay: bool = True) -> Node:
    """The gradient that a rule works with: turned round for ``maximize``, with L2 decay added."""
    if group["maximize"]:
        g = -g
    return g + group["weight_decay"] * p if decay and group["weight_decay"] != 0 else g


def zeros_like(parameter: Parameter) -> np.ndarray:
    """Zeros for a part of the state."""
    return np.zeros_like(parameter.value)


__all__ = ["Optimizer"]
