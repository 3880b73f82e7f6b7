"""The static training step: what ``loss.backward(); clip; optimizer.step()`` do, compiled as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staticgrad.derive.gradient import grad
from staticgrad.graph.leaves import Parameter, constant
from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import GraphError, GraphTypeError, Node, described
from staticgrad.graph.origin import unnamed_results, user_origin
from staticgrad.graph.traverse import topological
from staticgrad.nn.module import Buffer
from staticgrad.nn.utils.clip_grad import clipped, nonfinite_message, total_norm
from staticgrad.ops import public as sg
from staticgrad.ops.convert import broadcast
from staticgrad.optim.optimizer import Optimizer, called
from staticgrad.rewrite.graph import effects_of
from staticgrad.runtime.calling import Single, method_of
from staticgrad.runtime.declared import Level, debug_level
from staticgrad.runtime.function import CompiledFunction, compile
from staticgrad.training import fit as fitting
from staticgrad.training.loops import Loop, SingleSteps
from staticgrad.training.options import RuntimeOptions
from staticgrad.training.reading import ReadsFunction

if TYPE_CHECKING:
    from staticgrad.runtime.debug import DebugFunction
    from staticgrad.runtime.profile import Profile


class TrainStep(Single, ReadsFunction):
    """A compiled training step. Calling it with an array for each input, in order or by name, trains
    once, and returns the loss (with ``outputs``, a list of the loss and them).

    Attributes:
        optimizer: whose learning rate is read at each call.
        function: the compiled function that updates parameters; ``source``, ``path``, ``export``,
            ``workspace_bytes``, ``compile_seconds`` and ``from_cache`` are its own.
        accumulated: how many calls' gradients have been added up since the last update.
        clipping: ``clip_grad_norm`` and ``clip_grad_value``.
    """

    # what is called is found here at once, without a method in between
    __slots__ = ("__call__",)

    def __init__(
        self,
        inputs: Sequence[Node],
        options: RuntimeOptions,
        parameters: Sequence[Parameter],
        accumulate: CompiledFunction | DebugFunction | None,
        function: CompiledFunction | DebugFunction,
        accumulators: Sequence[Buffer],
        steps: int,
        checked: bool,
        evaluate: Any,
        debug: Level | None,
        clipping: tuple[float | None, float | None],
    ) -> None:
        self.inputs = list(inputs)
        self.clipping = clipping
        self.optimizer = options.optimizer
        self.function = function
        self.name = function.name
        self.accumulation_steps = steps
        self.accumulated = 0
        self._options = options
        self._parameters = list(parameters)
        self._accumulate = accumulate
        self._accumulators = list(accumulators)
        self._checked = checked
        self._evaluate = evaluate
        self._debug = debug or False
        self._loops: dict[bool, Loop | SingleSteps] = {}
        self.__signature__ = function.arguments.signature()
        self.__call__ = self._caller()

    def _caller(self) -> Callable[..., Any]:
        """The function that a call of the step is."""
        arguments = self.function.arguments
        values = {"step": method_of(self, "_step", self.name)}
        body = [f"return @step({arguments.given})"]
        if self._accumulate is None and not self._checked:
            values = {
                "refresh": self._options.refresh, "function": self.function.__call__,
                "parameters": Parameter, "changed": method_of(self, "changed", self.name),
            }  # fmt: skip
            given = "".join(f"{name}, " for name in arguments.names)
            body = [
                "@refresh()",
                f"@results = @function({given}*@more) if @more else @function({given})",
                "if @parameters.any_viewed:",
                "    @changed()",
                "return @results",
            ]
        return arguments.written(body, values, out=False)

    def _step(self, arguments: tuple[Any, ...]) -> Any:
        """A call of a step that accumulates gradients, or looks at their norm."""
        self._options.refresh()
        function: Any = self.function
        if self._accumulate is not None and self.accumulated + 1 < self.accumulation_steps:
            function = self._accumulate
        results = function(*arguments)
        if self._checked:
            *results, norm = results
            if not isfinite(norm):
                raise RuntimeError(nonfinite_message(2.0, float(norm)))
            if len(results) == 1:
                results = results[0]
        if self._accumulate is not None:
            self.accumulated = (self.accumulated + 1) % self.accumulation_steps
        if Parameter.any_viewed:
            self.changed()
        return results

    def changed(self) -> None:
        """Let eager mode know that the parameters are not what they were."""
        for parameter in self._parameters:
            if parameter.eager_view is not None:
                parameter.eager_view._version[0] += 1

    def loop(self, gathers: bool) -> Loop | SingleSteps:
        """The loop over steps, compiled and loaded when first asked for; in Python to debug."""
        if gathers not in self._loops:
            compiled = isinstance(self.function, CompiledFunction)
            self._loops[gathers] = Loop(self, gathers) if compiled else SingleSteps(self)
        return self._loops[gathers]

    def run(self, n: int, *arrays: Any) -> np.ndarray:
        """Call the step ``n`` times on the same arrays, inside compiled code; the same bits come out.

        Returns the n losses. Raises what a call raises, ValueError for an ``n`` that is no count;
        steps before the failing one have been taken.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise ValueError(
                f"run: n, how many steps to take, must be an integer of at least 0, got {described(n)}"
            )
        arguments = self.function.prepare(self.function.with_scalars(arrays))
        results = self.function.results(arguments)
        losses = np.empty(int(n), results[0].dtype)
        for _ in self.loop(gathers=False).pieces(arguments, results, losses):
            pass
        return losses

    def fit(
        self,
        *arrays: Any,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        validation: Sequence[Any] | None = None,
        scheduler: Any = None,
        callback: Callable[[fitting.History], Any] | None = None,
        progress: bool = True,
    ) -> fitting.History:
        """Train for whole epochs inside compiled code, the last partial batch included.

        The same bits come out as from calling the step batch by batch, in the order of
        ``numpy.random.default_rng(seed).permutation(n)``, drawn anew for each epoch.

        Args:
            arrays: an array for each input, n samples along the first axis.
            epochs: how often to go through them. batch_size: samples per step.
            shuffle: whether each epoch has an order of its own. seed: of these orders.
            validation: arrays for the inputs, on which the loss is computed after each epoch.
            scheduler: its ``step()`` is called after each epoch; with the validation loss if it is a
                ReduceLROnPlateau.
            callback: called with the history after each epoch; a true result ends the training.
            progress: show a bar on standard error, where that is a terminal.

        Returns:
            The history: ``loss`` and ``validation_loss`` by epoch, ``batch_loss`` by step.

        Raises:
            ValueError: where arrays differ in length, or an input does not begin with a named
                dimension. IndexError, RuntimeError: as the step itself; batches before the failing one
                have been trained on.
        """
        return fitting.fit(
            self, arrays, epochs=epochs, batch_size=batch_size, shuffle=shuffle, seed=seed,
            validation=validation, scheduler=scheduler, callback=callback, progress=progress,
        )  # fmt: skip

    def validation_loss(self, *arguments: Any) -> Any:
        """The loss on an array for each input, without training: of ``validation_loss`` as it was
        given to ``train_step``, else of the loss itself.

        Raises ValueError if the loss depends on random numbers or the batch's statistics.
        """
        if self._evaluate is None:
            raise ValueError(
                "the training loss has dropout or batch statistics in it; declare the loss again "
                "after net.eval() and pass it to train_step(..., validation_loss=)"
            )
        if isinstance(self._evaluate, Node):
            self._evaluate = compile(
                self.inputs, self._evaluate, name="validation_loss", debug=self._debug
            )
        return self._evaluate(*arguments)

    # ---- saving ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a step keeps besides parameters and optimizer: gradients that have been added up."""
        return {
            "accumulated": self.accumulated,
            "gradients": [np.array(buffer.value) for buffer in self._accumulators],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave. Raises ValueError where it does not fit."""
        arrays = [np.asarray(array) for array in state_dict["gradients"]]
        if [a.shape for a in arrays] != [b.value.shape for b in self._accumulators]:
            raise ValueError("the saved gradients are not of this step's shapes")
        for buffer, array in zip(self._accumulators, arrays, strict=True):
            buffer.value[...] = array
        self.accumulated = int(state_dict["accumulated"])

    # ---- reading ---------------------------------------------------------------------------------

    @property
    def loss(self) -> Node:
        """The loss, as it was declared."""
        return self.function.graph.outputs[0]

    @property
    def declared_outputs(self) -> list[Node]:
        """The loss, and the further nodes that the step returns."""
        outputs = list(self.function.graph.outputs)
        return outputs[:-1] if self._checked else outputs

    def explain(self, path: str | Path, *inputs: Any, measure: bool = True) -> Path:
        """Write an HTML page that shows how the step comes about; see ``CompiledFunction.explain``."""
        self._options.refresh()
        return FUNCTIONS["explain"](self, path, inputs, measure)

    def profile(self, *arrays: Any, repeat: int = 30) -> Profile:
        """Time each kernel of the step, see ``CompiledFunction.profile``; nothing is trained."""
        self._options.refresh()
        return self.function.profile(*arrays, repeat=repeat)

    def __repr__(self) -> str:
        return f"<train step of {type(self.optimizer).__name__}, {self.function!r}>"


def train_step(
    inputs: Node | Sequence[Node],
    loss: Node,
    optimizer: Optimizer,
    *,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
    accumulation_steps: int = 1,
    error_if_nonfinite: bool = False,
    outputs: Sequence[Node] = (),
    validation_loss: Node | None = None,
    name: str | None = None,
    debug: bool | Level | None = None,
) -> TrainStep:
    """Compile loss, gradients, clipping and the optimizer's update into one function.

    Args:
        inputs: the placeholders, in the order in which the step takes their arrays.
        loss: a floating-point scalar.
        optimizer: its parameters that ``loss`` depends on are trained; ``lr``, momentum and betas may
            change from call to call without another compilation.
        clip_grad_norm: the largest norm of all gradients together, as ``clip_grad_norm_``.
        clip_grad_value: the largest absolute value of a gradient's element.
        accumulation_steps: parameters change at every so many calls, by the sum of the gradients, as
            repeated ``backward()`` gives; divide the loss for their mean.
        error_if_nonfinite: raise RuntimeError at a call whose gradients are not finite; parameters and
            state stay as they were.
        outputs: further nodes to compute; the step returns a list then.
        validation_loss: the loss in evaluation mode, for ``fit(validation=...)``.
        name: of the generated function.
        debug: True for a step that runs op by op and says where NaN, inf and indices out of range
            come from, see ``compile``.

    Raises:
        GraphError: if the loss is no scalar, or depends on no parameter of the optimizer.
        GraphTypeError: for anything that is no optimizer. ValueError: for senseless options.
    """
    placeholders = [inputs] if isinstance(inputs, Node) else list(inputs)
    if not isinstance(optimizer, Optimizer):
        raise GraphTypeError(f"train_step: expected an optimizer of sg.optim, got {optimizer!r}")
    if isinstance(accumulation_steps, bool) or not isinstance(accumulation_steps, int) or (
        accumulation_steps < 1
    ):  # fmt: skip
        raise ValueError(f"accumulation_steps must be a positive integer, got {accumulation_steps!r}")
    for what, limit in (("clip_grad_norm", clip_grad_norm), ("clip_grad_value", clip_grad_value)):
        if limit is not None and not limit > 0:
            raise ValueError(f"{what} must be a positive number, got {limit!r}")
    if not isinstance(loss, Node):
        raise GraphTypeError(
            f"train_step: the loss must be a node, made of placeholders, got {described(loss)}; "
            "the order is train_step(inputs, loss, optimizer)"
        )
    if loss.is_eager:
        raise GraphTypeError("train_step: the loss is an eager tensor; declare it with placeholders")
    trained = _trained(loss, optimizer)
    chosen = name or _assigned_name() or "train_step"
    if loss.name is None and (loss.origin is None or loss.origin.target in (None, chosen)):
        loss.named("loss")
    with unnamed_results():
        return _step(
            placeholders, loss, optimizer, trained, chosen, clip_grad_norm, clip_grad_value,
            accumulation_steps, error_if_nonfinite, outputs, validation_loss, debug_level(debug),
        )  # fmt: skip


def _assigned_name() -> str | None:
    origin = user_origin()
    return origin.target if origin else None


def _step(
    placeholders: list[Node],
    loss: Node,
    optimizer: Optimizer,
    trained: list[tuple[Parameter, int]],
    name: str,
    clip_grad_norm: float | None,
    clip_grad_value: float | None,
    accumulation_steps: int,
    error_if_nonfinite: bool,
    outputs: Sequence[Node],
    validation_loss: Node | None,
    debug: Level | None,
) -> TrainStep:
    """The step of arguments that ``train_step`` has checked."""
    parameters = [parameter for parameter, _ in trained]
    gradients: list[Node] = list(grad(loss, parameters))
    effects = effects_of([loss, *outputs])
    accumulators: list[Buffer] = []
    results = [loss, *outputs]
    accumulate = None
    if accumulation_steps > 1:
        accumulators = [Buffer(np.zeros_like(p.value), f"{p.name or 'parameter'}.sum_of_gradients")
                        for p in parameters]  # fmt: skip
        gradients = [
            called(a + g, f"sum_d_{p.name or 'parameter'}")
            for p, a, g in zip(parameters, accumulators, gradients, strict=True)
        ]
        sums: dict[Parameter, Node] = {**effects, **dict(zip(accumulators, gradients, strict=True))}
        accumulate = _compiled(
            placeholders, results, sums, gradients, error_if_nonfinite, f"{name}_accumulate", debug
        )
    options = RuntimeOptions(optimizer)
    used, norm = _clip(gradients, clip_grad_norm, clip_grad_value, error_if_nonfinite)
    if used is not gradients:
        for parameter, gradient in zip(parameters, used, strict=True):
            called(gradient, f"clipped_d_{parameter.name or 'parameter'}")
    updates: dict[Parameter, Node] = {**effects, **_rules(trained, used, optimizer, options)}
    for accumulator in accumulators:
        updates[accumulator] = broadcast(constant(0.0, accumulator.dtype), accumulator.shape)
    function = _compiled(
        placeholders, results, updates, gradients, error_if_nonfinite, name, debug, norm
    )
    if validation_loss is None and not effects:
        validation_loss = loss
    return TrainStep(
        placeholders, options, parameters, accumulate, function, accumulators, accumulation_steps,
        error_if_nonfinite, validation_loss, debug, (clip_grad_norm, clip_grad_value),
    )  # fmt: skip


def _trained(loss: Node, optimizer: Optimizer) -> list[tuple[Parameter, int]]:
    """The parameters that are trained, each with the number of its group."""
    below = set(topological([loss]))
    found = [
        (parameter, number)
        for number, group in enumerate(optimizer.param_groups)
        for parameter in group["params"]
        if parameter.requires_grad and parameter in below
    ]
    if not found:
        raise GraphError(
            f"train_step: {loss!r} depends on no parameter of the optimizer that requires a gradient"
        )
    return found


def _clip(
    gradients: list[Node], norm_limit: float | None, value_limit: float | None, checked: bool
) -> tuple[list[Node], Node | None]:
    """The gradients as the rule gets them, and their norm where it is needed."""
    norm = None
    if norm_limit is not None or checked:
        norm = total_norm(gradients).named("gradient_norm")
    if norm_limit is not None:
        assert norm is not None
        gradients = clipped(gradients, norm, float(norm_limit))
    if value_limit is not None:
        gradients = [sg.clip(g, -float(value_limit), float(value_limit)) for g in gradients]
    return gradients, norm


def _rules(
    trained: Sequence[tuple[Parameter, int]],
    gradients: Sequence[Node],
    optimizer: Optimizer,
    options: RuntimeOptions,
) -> dict[Parameter, Node]:
    """The optimizer's rule for each parameter: new values of the parameter and of its state."""
    updates: dict[Parameter, Node] = {}
    for (parameter, number), gradient in zip(trained, gradients, strict=True):
        group = optimizer.param_groups[number]
        state = optimizer.state_of(parameter, group)
        scalars = options.scalars[number]
        new, new_state = optimizer.rule(parameter, gradient, state, group, scalars.__getitem__)
        updates[parameter] = new
        updates |= {state[key]: value for key, value in new_state.items()}
    return updates


def _compiled(
    inputs: Sequence[Node],
    results: list[Node],
    updates: dict[Parameter, Node],
    gradients: list[Node],
    checked: bool,
    name: str,
    debug: Level | None,
    norm: Node | None = None,
) -> CompiledFunction | DebugFunction:
    """The function that computes results and stores updates; with ``checked``, nothing is stored
    where the gradients are not finite, and their norm is the last result."""
    if checked:
        norm = total_norm(gradients).named("gradient_norm") if norm is None else norm
        finite = sg.abs(norm) < np.inf
        updates = {
            parameter: sg.where(finite, value, parameter) for parameter, value in updates.items()
        }
        results = [*results, norm]
    outputs = results[0] if len(results) == 1 else results
    return compile(inputs, outputs, updates=updates, name=name, debug=debug or False)


__all__ = ["TrainStep", "train_step"]
