"""Layers, losses, schedules and initialisers against PyTorch, in both modes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from torch_cases import LAYERS, LOGITS, LOSSES, PROBABILITIES, RNG, TARGETS, batch_shape, close

import staticgrad as sg
import staticgrad.nn.functional as F
from staticgrad import eager, nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers


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
