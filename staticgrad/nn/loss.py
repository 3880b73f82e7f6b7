"""Losses as modules: options at construction, predictions and targets at the call.

``reduction`` is "mean", "sum" or "none".
"""

from __future__ import annotations

from typing import Any

from staticgrad.nn import functional as F
from staticgrad.nn.module import Module


class _Loss(Module):
    """A function of prediction and target, with options that are kept as attributes."""

    function: Any
    options: tuple[str, ...] = ()

    def __init__(self, reduction: str) -> None:
        super().__init__()
        allowed = ("mean", "sum", "none", *(("batchmean",) if isinstance(self, KLDivLoss) else ()))
        if reduction not in allowed:
            raise ValueError(f"reduction must be one of {', '.join(allowed)}, got {reduction!r}")
        self.reduction = reduction

    def forward(self, prediction: Any, target: Any, *others: Any) -> Any:
        """A scalar, or with reduction "none" a loss for each target."""
        options = {name: getattr(self, name) for name in self.options}
        return type(self).function(prediction, target, *others, reduction=self.reduction, **options)

    def extra_repr(self) -> str:
        shown = {name: getattr(self, name) for name in self.options}
        return ", ".join(
            f"{name}={value!r}" for name, value in {**shown, "reduction": self.reduction}.items()
        )


class L1Loss(_Loss):
    """The absolute difference."""

    function = staticmethod(F.l1_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class MSELoss(_Loss):
    """The squared difference."""

    function = staticmethod(F.mse_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)


class SmoothL1Loss(_Loss):
    """d**2 / (2 beta) where abs(d) < beta, else abs(d) - beta / 2."""

    function = staticmethod(F.smooth_l1_loss)
    options = ("beta",)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta


class HuberLoss(_Loss):
    """d**2 / 2 where abs(d) <= delta, else delta (abs(d) - delta / 2)."""

    function = staticmethod(F.huber_loss)
    options = ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta


class CrossEntropyLoss(_Loss):
    """The cross entropy of softmax(logits) against labels, or probabilities."""

    function = staticmethod(F.cross_entropy)
    options = ("weight", "ignore_index", "label_smoothing")

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index, self.label_smoothing = weight, ignore_index, label_smoothing


class NLLLoss(_Loss):
    """-weight[t] x[t] of log-probabilities x at the label t."""

    function = staticmethod(F.nll_loss)
    options = ("weight", "ignore_index")

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = weight, ignore_index


class BCELoss(_Loss):
    """The cross entropy of probabilities against targets between 0 and 1."""

    function = staticmethod(F.binary_cross_entropy)
    options = ("weight",)

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = weight


class BCEWithLogitsLoss(_Loss):
    """The cross entropy of sigmoid(x) against targets between 0 and 1."""

    function = staticmethod(F.binary_cross_entropy_with_logits)
    options = ("weight", "pos_weight")

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight


class KLDivLoss(_Loss):
    """t (log(t) - x) of log-probabilities x; reduction may be "batchmean"."""

    function = staticmethod(F.kl_div)
    options = ("log_target",)

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target


class PoissonNLLLoss(_Loss):
    """exp(x) - t x, or x - t log(x + eps)."""

    function = staticmethod(F.poisson_nll_loss)
    options = ("log_input", "full", "eps")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps


class GaussianNLLLoss(_Loss):
    """(log(var) + (x - t)**2 / var) / 2, called with x, t, var."""

    function = staticmethod(F.gaussian_nll_loss)
    options = ("full", "eps")

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps


__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "GaussianNLLLoss", "HuberLoss",
    "KLDivLoss", "L1Loss", "MSELoss", "NLLLoss", "PoissonNLLLoss", "SmoothL1Loss",
]  # fmt: skip
