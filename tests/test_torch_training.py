"""Training against PyTorch: 200 steps from the same weights on the same data, in both modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_cases import LAYERS, LOSSES, RNG, batch_shape, close

import staticgrad as sg
from staticgrad import eager, nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers


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


def test_training_through_a_table() -> None:
    def build(module: Any, dtype: dict[str, Any]) -> Any:
        table = module.Embedding(6, 3, padding_idx=2, **dtype)
        return module.Sequential(table, module.Flatten(), module.Linear(12, 2, **dtype))

    xs = np.random.default_rng(3).integers(0, 6, (7, 5, 4))
    three_runs(build, lambda module: module.MSELoss(), xs, np.ones((7, 5, 2)))


def test_training_through_bilinear() -> None:
    def build(module: Any, dtype: dict[str, Any]) -> Any:
        class Twice(module.Module):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.first = module.Linear(4, 4, **dtype)
                self.pair = module.Bilinear(4, 4, 2, **dtype)

            def forward(self, x: Any) -> Any:
                return self.pair(self.first(x), x)

        return Twice()

    xs = np.random.default_rng(3).standard_normal((7, 5, 4))
    three_runs(build, lambda module: module.MSELoss(), xs, np.ones((7, 5, 2)))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_training_with_a_variance(reduction: str) -> None:
    def build(module: Any, dtype: dict[str, Any]) -> Any:
        return module.Sequential(module.Linear(4, 4, **dtype), module.Tanh())

    def loss(module: Any) -> Any:
        gaussian = module.GaussianNLLLoss(reduction=reduction)
        return lambda out, y: 0.1 * gaussian(out[:, :2], y, 1.5 + out[:, 2:])

    xs = np.random.default_rng(3).standard_normal((7, 5, 4))
    three_runs(build, loss, xs, np.random.default_rng(4).standard_normal((7, 5, 2)))
