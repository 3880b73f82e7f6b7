"""Layers and losses that are compared with PyTorch, and how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(7)


def close(ours: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    array = theirs.detach().numpy()
    scale = np.abs(array[np.isfinite(array)]).max(initial=1e-3)
    np.testing.assert_allclose(ours, array, rtol=tolerance, atol=tolerance * scale)


def batch_shape(array: np.ndarray) -> tuple[Any, ...]:
    return ("batch", *array.shape[1:])


# ---- layers ---------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Linear": (lambda m, **d: m.Linear(5, 3, **d), (4, 5)),
    "Linear without bias, 3 axes": (lambda m, **d: m.Linear(5, 3, bias=False, **d), (4, 2, 5)),
    "Conv1d": (lambda m, **d: m.Conv1d(3, 4, 3, stride=2, padding=1, **d), (4, 3, 9)),
    "Conv1d same": (lambda m, **d: m.Conv1d(2, 4, 4, padding="same", dilation=2, **d), (4, 2, 9)),
    "Conv2d": (lambda m, **d: m.Conv2d(3, 4, 3, padding=1, **d), (4, 3, 6, 5)),
    "Conv2d groups": (
        lambda m, **d: m.Conv2d(4, 6, (2, 3), stride=(2, 1), dilation=(1, 2), groups=2, **d),
        (4, 4, 6, 7),
    ),
    "MaxPool1d": (lambda m, **d: m.MaxPool1d(2), (4, 3, 7)),
    "MaxPool2d": (lambda m, **d: m.MaxPool2d(3, stride=2, padding=1), (4, 2, 6, 7)),
    "AvgPool1d": (lambda m, **d: m.AvgPool1d(3, stride=1), (4, 3, 7)),
    "AvgPool2d": (lambda m, **d: m.AvgPool2d(2, padding=1, count_include_pad=False), (4, 2, 5, 6)),
    "AvgPool2d divisor": (lambda m, **d: m.AvgPool2d(2, divisor_override=3), (4, 2, 5, 6)),
    "Flatten": (lambda m, **d: m.Flatten(), (4, 2, 3)),
    "BatchNorm1d": (lambda m, **d: m.BatchNorm1d(3, **d), (4, 3)),
    "BatchNorm1d cumulative": (lambda m, **d: m.BatchNorm1d(3, momentum=None, **d), (4, 3, 5)),
    "BatchNorm2d": (lambda m, **d: m.BatchNorm2d(3, eps=1e-3, momentum=0.3, **d), (4, 3, 2, 5)),
    "LayerNorm": (lambda m, **d: m.LayerNorm((3, 5), **d), (4, 3, 5)),
    "RMSNorm": (lambda m, **d: m.RMSNorm(5, **d), (4, 3, 5)),
    "ReLU": (lambda m, **d: m.ReLU(), (4, 5)),
    "ReLU6": (lambda m, **d: m.ReLU6(), (4, 5)),
    "LeakyReLU": (lambda m, **d: m.LeakyReLU(0.2), (4, 5)),
    "ELU": (lambda m, **d: m.ELU(0.7), (4, 5)),
    "SELU": (lambda m, **d: m.SELU(), (4, 5)),
    "GELU": (lambda m, **d: m.GELU(), (4, 5)),
    "GELU tanh": (lambda m, **d: m.GELU("tanh"), (4, 5)),
    "SiLU": (lambda m, **d: m.SiLU(), (4, 5)),
    "Sigmoid": (lambda m, **d: m.Sigmoid(), (4, 5)),
    "LogSigmoid": (lambda m, **d: m.LogSigmoid(), (4, 5)),
    "Tanh": (lambda m, **d: m.Tanh(), (4, 5)),
    "Hardtanh": (lambda m, **d: m.Hardtanh(-0.5, 0.8), (4, 5)),
    "Softplus": (lambda m, **d: m.Softplus(2.0, 1.5), (4, 5)),
    "Softmax": (lambda m, **d: m.Softmax(dim=1), (4, 5, 2)),
    "LogSoftmax": (lambda m, **d: m.LogSoftmax(dim=-1), (4, 5)),
}


# ---- losses ---------------------------------------------------------------------------------------

PROBABILITIES = RNG.uniform(0.05, 0.95, (6, 4))
LOGITS, TARGETS = RNG.standard_normal((6, 4)), RNG.standard_normal((6, 4))
LABELS = np.array([0, 3, 1, -100, 2, 2])
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 1.5])


def with_weights(module: Any, name: str, **options: Any) -> Any:
    weight = torch.tensor(CLASS_WEIGHTS) if module is torch.nn else CLASS_WEIGHTS
    return getattr(module, name)(weight=weight, **options)


def with_positive_weights(module: Any, **options: Any) -> Any:
    weight = torch.tensor(CLASS_WEIGHTS) if module is torch.nn else CLASS_WEIGHTS
    return module.BCEWithLogitsLoss(pos_weight=weight, **options)


LOSSES: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {
    "MSELoss": (lambda m, **o: m.MSELoss(**o), LOGITS, TARGETS),
    "L1Loss": (lambda m, **o: m.L1Loss(**o), LOGITS, TARGETS),
    "SmoothL1Loss": (lambda m, **o: m.SmoothL1Loss(beta=0.5, **o), LOGITS, TARGETS),
    "HuberLoss": (lambda m, **o: m.HuberLoss(delta=0.8, **o), LOGITS, TARGETS),
    "CrossEntropyLoss": (lambda m, **o: m.CrossEntropyLoss(**o), LOGITS, LABELS),
    "CrossEntropyLoss smooth": (
        lambda m, **o: m.CrossEntropyLoss(label_smoothing=0.1, **o), LOGITS, LABELS),
    "CrossEntropyLoss weights": (
        lambda m, **o: with_weights(m, "CrossEntropyLoss", **o), LOGITS, LABELS),
    "CrossEntropyLoss both": (
        lambda m, **o: with_weights(m, "CrossEntropyLoss", label_smoothing=0.2, **o), LOGITS, LABELS),
    "CrossEntropyLoss images": (
        lambda m, **o: m.CrossEntropyLoss(ignore_index=1, **o),
        RNG.standard_normal((3, 4, 2, 5)), RNG.integers(0, 4, (3, 2, 5))),
    "CrossEntropyLoss soft": (
        lambda m, **o: m.CrossEntropyLoss(label_smoothing=0.1, **o), LOGITS, PROBABILITIES),
    "NLLLoss": (lambda m, **o: m.NLLLoss(**o), LOGITS, LABELS),
    "NLLLoss weights": (lambda m, **o: with_weights(m, "NLLLoss", **o), LOGITS, LABELS),
    "BCELoss": (lambda m, **o: m.BCELoss(**o), PROBABILITIES, PROBABILITIES[::-1].copy()),
    "BCELoss bounds": (lambda m, **o: m.BCELoss(**o), np.array([[0.0, 1.0, 0.5]]),
                       np.array([[0.0, 1.0, 1.0]])),
    "BCEWithLogitsLoss": (lambda m, **o: m.BCEWithLogitsLoss(**o), LOGITS, PROBABILITIES),
    "BCEWithLogitsLoss positive": (with_positive_weights, LOGITS, PROBABILITIES),
    "KLDivLoss": (lambda m, **o: m.KLDivLoss(**o), LOGITS, PROBABILITIES * (PROBABILITIES > 0.2)),
    "KLDivLoss logs": (lambda m, **o: m.KLDivLoss(log_target=True, **o), LOGITS, TARGETS),
    "PoissonNLLLoss": (lambda m, **o: m.PoissonNLLLoss(full=True, **o), LOGITS,
                       RNG.integers(0, 5, (6, 4)).astype(float)),
    "PoissonNLLLoss plain": (lambda m, **o: m.PoissonNLLLoss(log_input=False, **o), PROBABILITIES,
                             RNG.integers(0, 5, (6, 4)).astype(float)),
}  # fmt: skip
