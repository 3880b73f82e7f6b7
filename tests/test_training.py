"""Static training steps: whole epochs, failures, checkpoints."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticgrad as sg
from staticgrad import eager, nn, optim

X = np.random.default_rng(1).standard_normal((70, 6)).astype("float32")
LABELS = np.random.default_rng(2).integers(0, 3, 70)


def model(seed: int = 0, **options: Any) -> tuple[nn.Module, Any, sg.TrainStep]:
    sg.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )
    x, y = sg.placeholder("x", ("batch", 6)), sg.placeholder("y", ("batch",), "int64")
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    loss = nn.CrossEntropyLoss()(net(x), y)
    return net, optimizer, sg.train_step([x, y], loss, optimizer, **options)


def everything(net: nn.Module, optimizer: Any) -> list[np.ndarray]:
    state = optimizer.state_dict()["state"]
    arrays = [*net.state_dict().values(), *(b.value for b in net.buffers())]
    return [np.array(a) for a in (*arrays, *(v for s in state.values() for v in s.values()))]


def same(one: list[np.ndarray], two: list[np.ndarray]) -> None:
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{}, {"clip_grad_norm": 0.5, "accumulation_steps": 3}])
@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_gives_the_bits_of_single_steps(shuffle: bool, options: dict[str, Any]) -> None:
    net, optimizer, step = model(**options)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    history = step.fit(X, LABELS, epochs=3, batch_size=16, shuffle=shuffle, seed=4, scheduler=schedule)
    other, other_optimizer, single = model(**options)
    other_schedule = optim.lr_scheduler.ExponentialLR(other_optimizer, 0.5)
    rng = np.random.default_rng(4)
    losses = []
    for _ in range(3):
        order = rng.permutation(70) if shuffle else np.arange(70)
        for first in range(0, 70, 16):
            chosen = order[first : first + 16]
            losses.append(float(single(X[chosen], LABELS[chosen])))
        other_schedule.step()
    same(everything(net, optimizer), everything(other, other_optimizer))
    assert history.batch_loss == losses and history.lr == [0.01, 0.005, 0.0025]
    assert history.loss[0] == pytest.approx(np.average(losses[:5], weights=[16, 16, 16, 16, 6]))
    assert step.accumulated == single.accumulated


@pytest.mark.parametrize("options", [{}, {"clip_grad_norm": 0.5, "accumulation_steps": 3},
                                     {"error_if_nonfinite": True}])  # fmt: skip
def test_run_gives_the_bits_of_single_steps(options: dict[str, Any]) -> None:
    net, optimizer, step = model(**options)
    other, other_optimizer, single = model(**options)
    for n, rows in ((0, 9), (7, 9), (2, 30), (1, 3)):
        losses = step.run(n, X[:rows], LABELS[:rows])
        assert losses.dtype == np.float32 and losses.shape == (n,)
        assert losses.tolist() == [single(X[:rows], LABELS[:rows]) for _ in range(n)]
        same(everything(net, optimizer), everything(other, other_optimizer))
        assert step.accumulated == single.accumulated
    optimizer.param_groups[0]["lr"] = other_optimizer.param_groups[0]["lr"] = 0.5
    assert step.run(3, X[::2], LABELS[::2]).tolist() == [single(X[::2], LABELS[::2]) for _ in range(3)]


def test_run_with_numbers_and_further_outputs() -> None:
    def made() -> sg.TrainStep:
        W = sg.parameter(np.ones(2), name="W")
        x, scale = sg.placeholder("x", ("n", 2), "float64"), sg.placeholder("scale", (), "float64")
        products = x @ W * scale
        loss = (products**2).sum()
        return sg.train_step([x, scale], loss, optim.SGD([W], lr=0.01), outputs=[products])

    x = X[:5, :2].astype("float64")
    single = made()
    np.testing.assert_array_equal(made().run(4, x, 0.5), [single(x, 0.5)[0] for _ in range(4)])


def test_run_refuses_what_a_step_refuses() -> None:
    net, optimizer, step = model(error_if_nonfinite=True)
    before = everything(net, optimizer)
    for n in (-1, 1.5, True, "3"):
        with pytest.raises(ValueError, match="run: n, how many"):
            step.run(n, X, LABELS)
    poisoned = X.copy()
    poisoned[2, 2] = np.nan
    calls: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        ((X, LABELS + 1), IndexError, "out of range"),
        ((X[:, :5], LABELS), ValueError, "axis 1"),
        ((X, LABELS[:5]), ValueError, "batch = 70"),
        ((X, LABELS.astype("int32")), TypeError, "int64"),
        ((X,), TypeError, "2 arguments"),
        ((X.tolist(), LABELS), TypeError, "asarray"),
        ((poisoned, LABELS), RuntimeError, "not finite"),
    ]
    for arguments, kind, words in calls:
        with pytest.raises(kind, match=words):
            step.run(5, *arguments)
        same(before, everything(net, optimizer))
    assert len(step.run(5, X, LABELS)) == 5


def test_runs_and_epochs_allocate_nothing_per_step() -> None:
    _, _, step = model()
    peaks = []
    for n in (10, 1000):
        for _ in range(2):
            step.run(n, X, LABELS)
        tracemalloc.start()
        step.run(n, X, LABELS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # the losses, 4 bytes each
    assert peaks[1] - peaks[0] < 4 * 990 + 2000


def test_fit_learns_and_validates() -> None:
    labels = (X[:, 0] > 0).astype("int64")
    sg.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))
    x, y = sg.placeholder("x", ("batch", 6)), sg.placeholder("y", ("batch",), "int64")
    loss = nn.CrossEntropyLoss()(net(x), y)
    net.eval()
    validation = nn.CrossEntropyLoss()(net(x), y)
    step = sg.train_step(
        [x, y], loss, optim.Adam(net.parameters(), lr=0.02), validation_loss=validation
    )
    history = step.fit(X, labels, epochs=60, batch_size=8, seed=0, validation=(X, labels))
    assert len(history.loss) == len(history.validation_loss) == 60
    assert history.validation_loss[-1] < 0.1 < history.validation_loss[0]


def test_fit_with_further_named_sizes() -> None:
    x = sg.placeholder("x", ("batch", "time", 3), dtype="float64")
    y = sg.placeholder("y", ("batch", "time"), dtype="float64")
    w = sg.parameter(np.ones(3), name="w")
    loss = sg.mean(sg.square(sg.tanh(x @ w) - y))
    step = sg.train_step([x, y], loss, sg.optim.SGD([w], lr=0.1))
    rng = np.random.default_rng(0)
    for time in (4, 1, 7):
        arrays = rng.standard_normal((10, time, 3)), rng.standard_normal((10, time))
        start = w.value.copy()
        history = step.fit(*arrays, batch_size=4, shuffle=False, progress=False)
        end, w.value[...] = w.value.copy(), start
        losses = [float(step(*(a[k : k + 4] for a in arrays))) for k in (0, 4, 8)]
        assert losses == history.batch_loss
        np.testing.assert_array_equal(w.value, end)
    with pytest.raises(ValueError, match="time"):
        step.fit(arrays[0], arrays[1][:, :3], progress=False)
    square = sg.placeholder("square", ("n", "n"), dtype="float64")
    step = sg.train_step([square], sg.sum(square * w[0]), sg.optim.SGD([w], lr=0.1))
    with pytest.raises(ValueError, match="to come first alone"):
        step.fit(np.ones((3, 3)), progress=False)


def test_fit_refuses() -> None:
    _, _, step = model()
    with pytest.raises(TypeError, match="takes 2 arrays"):
        step.fit(X)
    with pytest.raises(ValueError, match="equally many samples"):
        step.fit(X, LABELS[:5])
    with pytest.raises(ValueError, match="batch_size"):
        step.fit(X, LABELS, batch_size=0)
    with pytest.raises(ValueError, match="axis 1 must have size 6"):
        step.fit(X[:, :5], LABELS)
    with pytest.raises(ValueError, match="validation_loss="):
        step.fit(X, LABELS, validation=(X, LABELS))


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_failed_step_changes_nothing(accumulation_steps: int) -> None:
    net, optimizer, step = model(accumulation_steps=accumulation_steps, error_if_nonfinite=True)
    step(X[:8], LABELS[:8])
    before = everything(net, optimizer)
    bad = LABELS[:8].copy()
    bad[3] = 3
    with pytest.raises(IndexError, match="out of range"):
        step(X[:8], bad)
    with pytest.raises(ValueError, match="axis 1"):
        step(X[:8, :5], LABELS[:8])
    with pytest.raises(TypeError, match="int64"):
        step(X[:8], LABELS[:8].astype("int32"))
    poisoned = X[:8].copy()
    poisoned[2, 2] = np.nan
    with pytest.raises(RuntimeError, match="not finite"):
        step(poisoned, LABELS[:8])
    same(before, everything(net, optimizer))
    assert step.accumulated == 1 % accumulation_steps
    wrong = LABELS.copy()
    wrong[40] = 17
    with pytest.raises(IndexError, match="out of range"):
        step.fit(X, wrong, batch_size=16, shuffle=False)
    poisoned = X.copy()
    poisoned[50] = np.inf
    with pytest.raises(RuntimeError, match="not finite"):
        step.fit(poisoned, LABELS, batch_size=16, shuffle=False)
    assert all(np.isfinite(array).all() for array in everything(net, optimizer))


def test_failed_eager_step_changes_nothing() -> None:
    net = nn.Sequential(nn.Linear(6, 3))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def loss_of(x: np.ndarray, y: np.ndarray) -> eager.Tensor:
        return nn.CrossEntropyLoss()(net(eager.tensor(x)), eager.tensor(y))

    loss_of(X[:8], LABELS[:8]).backward()
    optimizer.step()
    before = everything(net, optimizer)
    with pytest.raises(IndexError):
        loss_of(X[:8], LABELS[:8] + 3)
    optimizer.zero_grad()
    loss_of(X[:8] * np.float32(np.nan), LABELS[:8]).backward()
    with pytest.raises(RuntimeError, match="not finite"):
        nn.utils.clip_grad_norm_(net.parameters(), 1.0, error_if_nonfinite=True)
    same(before, everything(net, optimizer))


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 3}])
def test_resumed_run_gives_the_same_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    net, optimizer, step = model(**options)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2)
    for k in range(4):
        step(X[k : k + 9], LABELS[k : k + 9])
        schedule.step()
    path = sg.save_checkpoint(
        tmp_path / "run.npz", net, optimizer, schedule, step, extra={"epoch": 4, "note": "half way"}
    )
    other, other_optimizer, other_step = model(seed=99, **options)
    other_schedule = optim.lr_scheduler.StepLR(other_optimizer, 2)
    extra = sg.load_checkpoint(path, other, other_optimizer, other_schedule, other_step)
    assert extra == {"epoch": 4, "note": "half way"}
    for k in range(4, 11):
        a = step(X[k : k + 9], LABELS[k : k + 9])
        b = other_step(X[k : k + 9], LABELS[k : k + 9])
        assert a == b
        schedule.step()
        other_schedule.step()
    same(everything(net, optimizer), everything(other, other_optimizer))
    with pytest.raises(ValueError, match="no state of a step"):
        sg.load_checkpoint(sg.save_checkpoint(tmp_path / "net.npz", net), net, step=step)
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(ValueError, match="not a checkpoint"):
        sg.load_checkpoint(tmp_path / "other.npz", net)


def test_switching_modes_in_the_middle() -> None:
    def run(modes: str) -> list[np.ndarray]:
        sg.manual_seed(0)
        layers = [nn.Linear(6, 4, dtype="float64"), nn.Tanh(), nn.Linear(4, 1, dtype="float64")]
        net = nn.Sequential(*layers)
        x = sg.placeholder("x", ("batch", 6), "float64")
        y = sg.placeholder("y", ("batch", 1), "float64")
        optimizer = optim.Adam(net.parameters(), lr=0.01)
        step = sg.train_step([x, y], nn.MSELoss()(net(x), y), optimizer)
        for k, mode in enumerate(modes):
            a, b = X[k : k + 5].astype(float), X[k : k + 5, :1].astype(float)
            if mode == "s":
                step(a, b)
            else:
                optimizer.zero_grad()
                nn.MSELoss()(net(eager.tensor(a)), eager.tensor(b)).backward()
                optimizer.step()
        return [p.value.copy() for p in net.parameters()]

    for a, b in zip(run("s" * 12), run("eessseeseses"), strict=True):
        # the modes multiply matrices by different kernels, which round in different orders: what that
        # does to a weight is relative to the sums it comes from, not to the weight
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


def test_learning_rate_is_read_at_each_call() -> None:
    _, optimizer, step = model()
    path = step.path
    optimizer.param_groups[0]["lr"] = 0.0
    before = [p.value.copy() for p in optimizer.param_groups[0]["params"]]
    step(X[:8], LABELS[:8])
    same(before, [p.value for p in optimizer.param_groups[0]["params"]])
    assert step.path == path
    optimizer.param_groups[0]["weight_decay"] = 0.5
    with pytest.raises(RuntimeError, match="lr, betas may change"):
        step(X[:8], LABELS[:8])


def test_groups_frozen_parameters_and_regularisation() -> None:
    sg.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))
    net[0].bias.requires_grad_(False)
    optimizer = optim.SGD(
        [{"params": net[0].parameters(), "lr": 0.5}, {"params": net[2].parameters()}], lr=0.1
    )
    x = sg.placeholder("x", ("batch", 6))
    lasso, ridge = sg.abs(net[0].weight).sum(), (net[2].weight ** 2).sum()
    loss = sg.mean(net(x) ** 2) + 1e-2 * (lasso + ridge)
    step = sg.train_step([x], loss, optimizer)
    frozen = net[0].bias.value.copy()
    first = step(X[:8])
    for _ in range(20):
        last = step(X[:8])
    assert last < first
    np.testing.assert_array_equal(net[0].bias.value, frozen)
    assert "lr_0" in step.source and "lr_1" in step.source


def test_bad_arguments() -> None:
    net = nn.Linear(6, 3)
    x = sg.placeholder("x", ("batch", 6))
    optimizer = optim.SGD(net.parameters())
    with pytest.raises(sg.GraphError, match="depends on no parameter"):
        sg.train_step([x], sg.mean(x), optimizer)
    with pytest.raises(sg.GraphError, match="no scalar"):
        sg.train_step([x], net(x), optimizer)
    with pytest.raises(sg.GraphTypeError, match="eager tensor"):
        sg.train_step([x], net(eager.ones(2, 6)).sum(), optimizer)
    with pytest.raises(sg.GraphTypeError, match="optimizer"):
        sg.train_step([x], sg.mean(net(x)), 0.1)  # type: ignore[arg-type]
    for options in ({"accumulation_steps": 0}, {"clip_grad_norm": -1.0}):
        with pytest.raises(ValueError):
            sg.train_step([x], sg.mean(net(x)), optimizer, **options)
    for make in (
        lambda: optim.SGD(net.parameters(), lr=-1), lambda: optim.SGD([]),
        lambda: optim.SGD(net.parameters(), nesterov=True),
        lambda: optim.Adam(net.parameters(), betas=(1.0, 0.9)),
        lambda: optim.SGD([{"params": net.parameters()}, {"params": [net.weight]}]),
        lambda: optim.SGD([{"params": net.parameters(), "betas": 1}]),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            make()
    with pytest.raises(TypeError, match="parameters"):
        optim.SGD([np.zeros(3)])
    with pytest.raises(TypeError, match="iterable"):
        optim.SGD(net.weight)


def test_a_history_prints_as_a_table() -> None:
    history = sg.training.History(
        loss=[2.5], lr=[0.1], seconds=[0.25], batch_loss=[3.0, 2.0], validation_loss=[1e-7]
    )
    assert str(history).splitlines() == [
        "1 epoch, 2 steps, 0.25 s",
        "epoch    loss  validation loss   lr",
        "    1  2.5000       1.0000e-07  0.1",
    ]
    long = sg.training.History([1.0 / k for k in range(1, 31)], [], [0.1] * 30, [1.0] * 30, [1.0] * 60)
    first, header, *rows = repr(long).splitlines()
    assert first == "30 epochs, 60 steps, 30 s" and header.split() == ["epoch", "loss", "lr"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4", "...", "27", "28", "29", "30"]
    assert rows[-1].split() == ["30", "0.033333", "0.1"]
    assert str(sg.training.History()) == "0 epochs, 0 steps, 0 s"
    # an epoch that has begun and not ended
    begun = sg.training.History([2.5], [], [0.1, 0.05], [0.25], [3.0, 2.0])
    assert len(str(begun).splitlines()) == 3
