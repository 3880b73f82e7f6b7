"""Layers, losses, optimizers, schedules and initialisers against PyTorch, in both modes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import staticgrad as sg
import staticgrad.nn.functional as F
from staticgrad import eager, nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

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


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    make, shape = LAYERS[name]
    theirs = make(torch.nn, dtype=torch.float64)
    x = RNG.standard_normal(shape)
    weights = None
    for mode in ("eager", "static"):
        ours = make(nn, dtype="float64")
        # PyTorch's names and shapes: its state loads as it is
        start = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
        ours.load_state_dict(start)
        reference = make(torch.nn, dtype=torch.float64)
        reference.load_state_dict(theirs.state_dict())
        for training in (True, True, False):
            reference.train(training)
            ours.train(training)
            tx = torch.tensor(x, requires_grad=True)
            ty = reference(tx)
            weights = RNG.standard_normal(ty.shape)
            reference.zero_grad()
            (ty * torch.tensor(weights)).sum().backward()
            parameters = list(ours.parameters())
            if mode == "eager":
                ex = eager.tensor(x, requires_grad=True)
                y = ours(ex)
                ours.zero_grad()
                (y * weights).sum().backward()
                got = [y.detach().numpy(), ex.grad.numpy(), *(p.grad.numpy() for p in parameters)]
            else:
                px = sg.placeholder("x", batch_shape(x), dtype="float64")
                pw = sg.placeholder("w", batch_shape(weights), dtype="float64")
                node = ours(px)
                gradients = sg.grad((node * pw).sum(), [px, *parameters])
                got = sg.compile([px, pw], [node, *gradients])(x, weights)
            wanted = [ty, tx.grad, *(p.grad for p in reference.parameters())]
            for a, b in zip(got, wanted, strict=True):
                close(a, b)
            for key, state in reference.state_dict().items():
                close(ours.state_dict()[key], state)


@pytest.mark.parametrize("mode", ["eager", "static"])
def test_bilinear_and_embedding(mode: str) -> None:
    a, b = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 5))
    index = np.array([[0, 2, 1], [3, 3, 0]])
    theirs = torch.nn.Bilinear(3, 5, 2, dtype=torch.float64)
    table = torch.nn.Embedding(4, 3, padding_idx=3, dtype=torch.float64)
    ours, ours_table = nn.Bilinear(3, 5, 2, dtype="float64"), nn.Embedding(4, 3, 3, dtype="float64")
    for mine, other in ((ours, theirs), (ours_table, table)):
        mine.load_state_dict({k: v.detach().numpy() for k, v in other.state_dict().items()})
    total = (theirs(torch.tensor(a), torch.tensor(b)) ** 2).sum() + (
        table(torch.tensor(index)) ** 3
    ).sum()
    total.backward()
    parameters = [*ours.parameters(), *ours_table.parameters()]
    if mode == "eager":
        mine = (ours(eager.tensor(a), eager.tensor(b)) ** 2).sum()
        mine = mine + (ours_table(eager.tensor(index)) ** 3).sum()
        mine.backward()
        got = [mine.item(), *(p.grad.numpy() for p in parameters)]
    else:
        pa, pb = sg.placeholder("a", ("n", 3), "float64"), sg.placeholder("b", ("n", 5), "float64")
        pi = sg.placeholder("i", ("m", 3), "int64")
        node = (ours(pa, pb) ** 2).sum() + (ours_table(pi) ** 3).sum()
        got = sg.compile([pa, pb, pi], [node, *sg.grad(node, parameters)])(a, b, index)
    wanted = [total, *(p.grad for p in (*theirs.parameters(), *table.parameters()))]
    for x, y in zip(got, wanted, strict=True):
        close(x, y)


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


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str, reduction: str) -> None:
    make, x, t = LOSSES[name]
    tx = torch.tensor(x, requires_grad=True)
    theirs = make(torch.nn, reduction=reduction)(tx, torch.tensor(t))
    theirs.sum().backward()
    ex = eager.tensor(x, requires_grad=True)
    ours = make(nn, reduction=reduction)(ex, eager.tensor(t))
    ours.sum().backward()
    close(ours.detach().numpy(), theirs)
    close(ex.grad.numpy(), tx.grad)
    px = sg.placeholder("x", batch_shape(x), "float64")
    pt = sg.placeholder("t", batch_shape(t), t.dtype)
    node = make(nn, reduction=reduction)(px, pt)
    value, gradient = sg.compile([px, pt], [node, sg.grad(node.sum(), px)])(x, t)
    close(value, theirs)
    close(gradient, tx.grad)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gaussian_loss(reduction: str) -> None:
    var = np.array([[1e-9], [0.3], [1.2], [0.7], [2.0], [0.1]])
    tensors = [torch.tensor(a, requires_grad=True) for a in (LOGITS, TARGETS, var)]
    theirs = torch.nn.GaussianNLLLoss(full=True, reduction=reduction)(*tensors)
    theirs.sum().backward()
    mine = [eager.tensor(a, requires_grad=True) for a in (LOGITS, TARGETS, var)]
    ours = nn.GaussianNLLLoss(full=True, reduction=reduction)(*mine)
    ours.sum().backward()
    close(ours.detach().numpy(), theirs)
    for a, b in zip(mine, tensors, strict=True):
        close(a.grad.numpy(), b.grad)


def test_all_targets_ignored_gives_nan() -> None:
    loss = nn.CrossEntropyLoss()(eager.tensor(LOGITS), eager.tensor(np.full(6, -100)))
    assert np.isnan(loss.item())


def test_batchmean() -> None:
    ours = nn.KLDivLoss(reduction="batchmean")(eager.tensor(LOGITS), eager.tensor(PROBABILITIES))
    theirs = torch.nn.KLDivLoss(reduction="batchmean")(
        torch.tensor(LOGITS), torch.tensor(PROBABILITIES)
    )
    close(ours.numpy(), theirs)


# ---- optimizers -----------------------------------------------------------------------------------

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.01, "maximize": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.02, "amsgrad": True}),
    ("Adam", {"lr": 0.001, "maximize": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.01}),
    ("Adagrad", {"lr": 0.05}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.01, "weight_decay": 0.01,
                 "initial_accumulator_value": 0.1}),
]  # fmt: skip
STEPS = 200


def networks(dtype: str) -> tuple[Any, Any, Any]:
    """The same weights in PyTorch and, twice, here."""
    torch.manual_seed(3)
    kind = getattr(torch, dtype)
    theirs = torch.nn.Sequential(
        torch.nn.Linear(6, 8, dtype=kind), torch.nn.Tanh(), torch.nn.Linear(8, 2, dtype=kind)
    )
    start = {name: value.detach().numpy().copy() for name, value in theirs.state_dict().items()}
    ours = []
    for _ in range(2):
        net = nn.Sequential(
            nn.Linear(6, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 2, dtype=dtype)
        )
        net.load_state_dict(start)
        ours.append(net)
    return theirs, ours[0], ours[1]


def data(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    return rng.standard_normal((STEPS, 10, 6)).astype(dtype), rng.standard_normal(
        (STEPS, 10, 2)
    ).astype(dtype)


def train_reference(net: Any, name: str, options: Any, xs: np.ndarray, ys: np.ndarray) -> Any:
    optimizer = getattr(torch.optim, name)(net.parameters(), **options)
    for x, y in zip(xs, ys, strict=True):
        optimizer.zero_grad()
        torch.nn.MSELoss()(net(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "options"), OPTIMIZERS, ids=lambda o: o if isinstance(o, str) else ",".join(o)
)
def test_optimizer_in_three_ways(name: str, options: dict[str, Any], dtype: str) -> None:
    theirs, one, two = networks(dtype)
    xs, ys = data(dtype)
    exact = networks(dtype)[0].double()
    reference = train_reference(theirs, name, options, xs, ys)
    train_reference(exact, name, options, xs.astype("float64"), ys.astype("float64"))
    optimizer = getattr(optim, name)(one.parameters(), **options)
    for x, y in zip(xs, ys, strict=True):
        optimizer.zero_grad()
        nn.MSELoss()(one(eager.tensor(x)), eager.tensor(y)).backward()
        optimizer.step()
    px = sg.placeholder("x", ("batch", 6), dtype)
    py = sg.placeholder("y", ("batch", 2), dtype)
    static = getattr(optim, name)(two.parameters(), **options)
    step = sg.train_step([px, py], nn.MSELoss()(two(px), py), static)
    for x, y in zip(xs, ys, strict=True):
        step(x, y)
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    for key, value in theirs.state_dict().items():
        # in float32, PyTorch itself may be farther than that from what float64 gives
        error = (value - exact.state_dict()[key]).abs().max() / value.abs().max()
        allowed = max(tolerance, 2 * float(error)) if dtype == "float32" else tolerance
        for net in (one, two):
            close(net.state_dict()[key], value, allowed)
    # state under PyTorch's names
    wanted = reference.state_dict()["state"]
    for mine in (optimizer, static):
        state = mine.state_dict()["state"]
        for number, entries in wanted.items():
            for key, value in entries.items():
                if value is not None:
                    close(state[number][key], torch.as_tensor(value), 10 * tolerance)


def three_runs(build: Any, losses: Any, xs: np.ndarray, ys: np.ndarray) -> None:
    """200 steps of SGD with momentum in PyTorch, eagerly and statically, from the same weights."""
    torch.manual_seed(1)
    theirs = build(torch.nn, {"dtype": torch.float64})
    start = {name: value.detach().numpy().copy() for name, value in theirs.state_dict().items()}
    nets = [build(nn, {"dtype": "float64"}) for _ in range(2)]
    for net in nets:
        net.load_state_dict(start)
    options = {"lr": 0.01, "momentum": 0.5}
    reference = torch.optim.SGD(theirs.parameters(), **options)
    optimizer = optim.SGD(nets[0].parameters(), **options)
    px, py = (sg.placeholder(n, batch_shape(a[0]), a.dtype) for n, a in (("x", xs), ("y", ys)))
    step = sg.train_step(
        [px, py], losses(nn)(nets[1](px), py), optim.SGD(nets[1].parameters(), **options)
    )
    for k in range(STEPS):
        x, y = xs[k % len(xs)], ys[k % len(ys)]
        reference.zero_grad()
        losses(torch.nn)(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        reference.step()
        optimizer.zero_grad()
        losses(nn)(nets[0](eager.tensor(x)), eager.tensor(y)).backward()
        optimizer.step()
        step(x, y)
    for net in nets:
        for key, value in theirs.state_dict().items():
            close(net.state_dict()[key], value)


@pytest.mark.parametrize("name", LAYERS)
def test_training_through_a_layer(name: str) -> None:
    make, shape = LAYERS[name]
    xs = np.random.default_rng(3).standard_normal((7, *shape))
    width = make(torch.nn, dtype=torch.float64)(torch.tensor(xs[0])).flatten(1).shape[1]

    def build(module: Any, dtype: dict[str, Any]) -> Any:
        first = module.Linear(shape[-1], shape[-1], **dtype)
        layers = [first, make(module, **dtype), module.Flatten()]
        return module.Sequential(*layers, module.Linear(width, 2, **dtype))

    ys = np.random.default_rng(4).standard_normal((7, shape[0], 2))
    three_runs(build, lambda module: module.MSELoss(), xs, ys)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in (
    "BCELoss bounds", "CrossEntropyLoss images")])  # fmt: skip
def test_training_with_a_loss(name: str) -> None:
    make, _, target = LOSSES[name]
    xs = np.random.default_rng(3).standard_normal((1, 6, 5))
    probabilities = name == "BCELoss" or name == "PoissonNLLLoss plain"

    def build(module: Any, dtype: dict[str, Any]) -> Any:
        layers = [module.Linear(5, 8, **dtype), module.Tanh(), module.Linear(8, 4, **dtype)]
        if probabilities:
            layers.append(module.Sigmoid())
        elif name.startswith(("KLDiv", "NLL")):
            layers.append(module.LogSoftmax(dim=1))
        return module.Sequential(*layers)

    three_runs(build, lambda module: make(module), xs, target[None])


@pytest.mark.parametrize("norm_and_value", [(0.5, None), (None, 0.02), (0.3, 0.05)])
@pytest.mark.parametrize("accumulation_steps", [1, 4])
def test_clipping_and_accumulation(
    norm_and_value: tuple[float | None, float | None], accumulation_steps: int
) -> None:
    norm, value = norm_and_value
    theirs, one, two = networks("float64")
    xs, ys = data("float64")
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    optimizer = optim.Adam(one.parameters(), lr=0.01)
    runs = (
        (theirs, reference, torch.nn, torch.nn.utils, torch.tensor),
        (one, optimizer, nn, nn.utils, eager.tensor),
    )
    for net, chosen, module, utils, tensor in runs:
        for position, (x, y) in enumerate(zip(xs, ys, strict=True)):
            module.MSELoss()(net(tensor(x)), tensor(y)).backward()
            if (position + 1) % accumulation_steps == 0:
                if norm is not None:
                    utils.clip_grad_norm_(net.parameters(), norm)
                if value is not None:
                    utils.clip_grad_value_(net.parameters(), value)
                chosen.step()
                chosen.zero_grad()
    px, py = sg.placeholder("x", ("b", 6), "float64"), sg.placeholder("y", ("b", 2), "float64")
    step = sg.train_step(
        [px, py], nn.MSELoss()(two(px), py), optim.Adam(two.parameters(), lr=0.01),
        clip_grad_norm=norm, clip_grad_value=value, accumulation_steps=accumulation_steps,
    )  # fmt: skip
    for x, y in zip(xs, ys, strict=True):
        step(x, y)
    for net in (one, two):
        for key, wanted in theirs.state_dict().items():
            close(net.state_dict()[key], wanted)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("poison", [None, np.nan, np.inf])
def test_clip_grad_norm(norm_type: float, poison: float | None) -> None:
    arrays = [RNG.standard_normal(shape) for shape in ((3, 4), (5,))]
    if poison is not None:
        arrays[0][1, 2] = poison
    theirs = [torch.zeros(a.shape, dtype=torch.float64, requires_grad=True) for a in arrays]
    ours = [sg.parameter(np.zeros_like(a)) for a in arrays]
    for a, t, p in zip(arrays, theirs, ours, strict=True):
        t.grad, p.grad = torch.tensor(a), eager.tensor(a)
    got = nn.utils.clip_grad_norm_(ours, 1.5, norm_type)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, 1.5, norm_type)
    np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-12)
    for t, p in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), t.grad.numpy(), rtol=1e-12)


# ---- schedules ------------------------------------------------------------------------------------

SCHEDULES: dict[str, Any] = {
    "StepLR": lambda s, o: s.StepLR(o, 3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], gamma=0.5),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 12, eta_min=0.001),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=25),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, 0.5, epochs=5, steps_per_epoch=5, anneal_strategy="linear", three_phase=True),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=2, cooldown=1),
    "ReduceLROnPlateau max": lambda s, o: s.ReduceLROnPlateau(
        o, mode="max", patience=1, threshold_mode="abs", threshold=0.1, factor=0.5),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name: str, kind: str) -> None:
    options = {"lr": 0.2, **({"momentum": 0.9} if kind == "SGD" else {})}
    ours = getattr(optim, kind)([sg.parameter(np.zeros(2))], **options)
    theirs = getattr(torch.optim, kind)([torch.zeros(2, requires_grad=True)], **options)
    mine = SCHEDULES[name](optim.lr_scheduler, ours)
    other = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    metrics = [1.0, 0.9, 0.95, 0.95, 0.96, 0.97, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.7, 0.7, 0.7] * 2
    for metric in metrics[:20]:
        a, b = ours.param_groups[0], theirs.param_groups[0]
        for key in ("lr", "momentum") if kind == "SGD" else ("lr", "betas"):
            assert a[key] == pytest.approx(b[key], rel=1e-12), key
        theirs.step()
        if "Plateau" in name:
            mine.step(metric)
            other.step(metric)
        else:
            mine.step()
            other.step()


# ---- initialisers ---------------------------------------------------------------------------------

RANDOM_INITIALISERS: list[tuple[str, dict[str, Any]]] = [
    ("uniform_", {"a": -0.5, "b": 2.0}), ("normal_", {"mean": 1.0, "std": 0.5}),
    ("trunc_normal_", {"std": 0.8, "a": -1.0, "b": 1.5}),
    ("xavier_uniform_", {"gain": 1.3}), ("xavier_normal_", {}),
    ("kaiming_uniform_", {"a": 0.2, "mode": "fan_out"}),
    ("kaiming_normal_", {"nonlinearity": "relu"}), ("orthogonal_", {"gain": 2.0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), RANDOM_INITIALISERS, ids=str)
def test_random_initialiser(name: str, options: dict[str, Any]) -> None:
    sg.manual_seed(0)
    torch.manual_seed(0)
    shape = (64, 48, 3, 3)
    mine = getattr(nn.init, name)(np.zeros(shape), **options)
    theirs = getattr(torch.nn.init, name)(torch.zeros(shape, dtype=torch.float64), **options).numpy()
    # 27,648 samples: the quantiles of two draws differ by a few percent of the spread
    spread = theirs.std()
    assert mine.mean() == pytest.approx(theirs.mean(), abs=0.04 * spread)
    assert mine.std() == pytest.approx(spread, rel=0.03)
    for q in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert np.quantile(mine, q) == pytest.approx(np.quantile(theirs, q), abs=0.12 * spread)
    if name == "orthogonal_":
        flat = mine.reshape(64, -1)
        np.testing.assert_allclose(flat @ flat.T, 4 * np.eye(64), atol=1e-12)


def test_other_initialisers() -> None:
    for name, options in (("constant_", {"val": 0.3}), ("zeros_", {}), ("ones_", {}), ("eye_", {})):
        mine = getattr(nn.init, name)(np.full((4, 6), 9.0), **options)
        theirs = getattr(torch.nn.init, name)(torch.full((4, 6), 9.0), **options)
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6)
    for shape, groups in itertools.product([(4, 2, 3), (6, 3, 3, 5)], (1, 2)):
        mine = nn.init.dirac_(np.full(shape, 9.0), groups)
        np.testing.assert_array_equal(mine, torch.nn.init.dirac_(torch.zeros(shape), groups).numpy())
    sparse = nn.init.sparse_(np.zeros((50, 20)), 0.3, std=0.5)
    assert ((sparse == 0).sum(axis=0) == 15).all()
    gains = ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
    for kind in gains:
        assert nn.init.calculate_gain(kind) == pytest.approx(torch.nn.init.calculate_gain(kind))
    assert nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def test_default_initialisation_has_torchs_spread() -> None:
    sg.manual_seed(0)
    torch.manual_seed(0)
    for make, _ in (LAYERS["Linear"], LAYERS["Conv2d groups"], LAYERS["Conv1d"]):
        ours = [make(nn, dtype="float64") for _ in range(300)]
        theirs = [make(torch.nn, dtype=torch.float64) for _ in range(300)]
        for name in ("weight", "bias"):
            a = np.concatenate([getattr(m, name).value.ravel() for m in ours])
            b = np.concatenate([getattr(m, name).detach().numpy().ravel() for m in theirs])
            assert a.std() == pytest.approx(b.std(), rel=0.1)
            assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.05)


def test_functional_is_torchs() -> None:
    x = RNG.standard_normal((3, 5))
    for name in ("relu", "relu6", "gelu", "silu", "softplus", "logsigmoid", "tanh"):
        wanted = getattr(torch.nn.functional, name)(torch.tensor(x))
        close(getattr(F, name)(eager.tensor(x)).numpy(), wanted)
