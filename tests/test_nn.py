"""Modules: registration, state, modes; one model in both modes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import staticgrad as sg
import staticgrad.nn.functional as F
from staticgrad import eager, nn, optim


class SimpleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(20, 10)
        self.fc2 = nn.Linear(10, 1)

    def forward(self, x: Any) -> Any:
        return self.fc2(F.relu(self.fc1(x)))


def test_registration() -> None:
    net = SimpleNet()
    assert [name for name, _ in net.named_parameters()] == [
        "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias",
    ]  # fmt: skip
    assert [name for name, _ in net.named_modules()] == ["", "fc1", "fc2"]
    assert list(net.children()) == [net.fc1, net.fc2]
    net.tied = net.fc2
    assert len(list(net.parameters())) == 4 and len(net.state_dict()) == 6
    del net.tied
    assert not hasattr(net, "tied") and net.get_submodule("fc1") is net.fc1
    visited: list[str] = []
    net.apply(lambda module: visited.append(type(module).__name__))
    assert visited == ["Linear", "Linear", "SimpleNet"]
    assert repr(net) == (
        "SimpleNet(\n  (fc1): Linear(in_features=20, out_features=10, bias=True)\n"
        "  (fc2): Linear(in_features=10, out_features=1, bias=True)\n)"
    )
    assert "221 parameters, 221 of them trained" in net.summary()


def test_mistakes_in_a_module() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(2, 2)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Forgetful()
    net = SimpleNet()
    with pytest.raises(TypeError, match="cannot assign ndarray to parameter weight"):
        net.fc1.weight = np.zeros((10, 20))
    with pytest.raises(AttributeError, match="no attribute 'fc3'"):
        net.fc3  # noqa: B018
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(eager.ones(2))
    with pytest.raises(sg.GraphError, match="matmul"):
        net(eager.ones(3, 7))
    with pytest.raises(sg.GraphError, match="8 channels"):
        nn.BatchNorm1d(8)(eager.ones(3, 7))
    for make in (
        lambda: nn.Dropout(1.5), lambda: nn.MSELoss("average"),
        lambda: nn.Embedding(3, 2, padding_idx=5), lambda: nn.Conv2d(3, 4, 2, groups=2),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            make()


def test_loading_state_says_all_that_is_wrong_and_changes_nothing() -> None:
    net = SimpleNet()
    before = {name: array.copy() for name, array in net.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    del state["fc1.bias"]
    state["fc3.weight"] = np.zeros(2)
    state["fc2.weight"] = np.zeros((2, 10), "float32")
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    for part in ("missing: fc1.bias", "unexpected: fc3.weight", "fc2.weight: shape (2, 10) given"):
        assert part in str(error.value)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    state["fc2.weight"] = before["fc2.weight"]
    net.load_state_dict(state, strict=False)
    np.testing.assert_array_equal(net.fc1.weight.value, before["fc1.weight"] + 1)


def test_containers() -> None:
    layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
    layers.append(nn.Linear(3, 2))
    assert len(layers) == 4 and len(layers[1:]) == 3 and layers[-1].out_features == 2
    heads = nn.ModuleDict({"a": nn.Linear(3, 1)})
    heads["b"] = nn.Linear(3, 2)
    assert list(heads) == ["a", "b"] and "a" in heads and len(list(heads["b"].parameters())) == 2
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    assert list(net.state_dict()) == ["0.weight", "0.bias"] and isinstance(net[1], nn.ReLU)
    named = nn.Sequential({"first": nn.Linear(3, 4), "act": nn.Tanh()})
    assert list(named.state_dict()) == ["first.weight", "first.bias"]


def test_names_in_generated_code() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = sg.placeholder("x", ("batch", 3))
    out = net(x)
    source = sg.compile(x, out).source
    for name in ("linear0_weight", "linear2_bias", "linear0 = ", "tanh(linear0)"):
        assert name in source, source


def test_eager_and_static_give_the_same_numbers() -> None:
    net = SimpleNet()
    array = np.random.default_rng(0).standard_normal((5, 20)).astype("float32")
    x = sg.placeholder("x", ("batch", 20))
    static = sg.compile(x, net(x))(array)
    np.testing.assert_allclose(static, net(eager.tensor(array)).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_drops_the_same_in_both_modes(dtype: str) -> None:
    array = np.random.default_rng(0).standard_normal((50, 40)).astype(dtype)
    layers = [nn.Sequential(nn.Dropout(0.3, seed=5), nn.Dropout(0.1, seed=9)) for _ in range(2)]
    x = sg.placeholder("x", ("batch", 40), dtype)
    step = sg.compile(x, layers[0](x))
    for _ in range(3):
        static, dynamic = step(array), layers[1](eager.tensor(array)).numpy()
        np.testing.assert_array_equal(static, dynamic)
    kept = static != 0
    assert kept.mean() == pytest.approx(0.7 * 0.9, abs=0.03)
    np.testing.assert_allclose(static[kept], array[kept] / 0.7 / 0.9, rtol=1e-6)
    assert not np.array_equal(step(array) != 0, kept)
    layers[1].eval()
    np.testing.assert_array_equal(layers[1](eager.tensor(array)).numpy(), array)
    assert list(layers[0].state_dict()) == []


def test_draws_of_one_module_in_one_graph_differ() -> None:
    layer = nn.Dropout(0.5, seed=1)
    twin = nn.Dropout(0.5, seed=1)
    array = np.ones((20, 30), "float32")
    x = sg.placeholder("x", (20, 30))
    outputs = [layer(x), layer(x)]
    first, second = sg.compile(x, outputs)(array)
    assert not np.array_equal(first, second)
    t = eager.tensor(array)
    np.testing.assert_array_equal(first, twin(t).numpy())
    np.testing.assert_array_equal(second, twin(t).numpy())
    for ours, other in zip(sg.evaluate(outputs, {x: array}), [first, second], strict=True):
        assert (ours != 0).mean() == pytest.approx((other != 0).mean(), abs=0.1)
    assert layer.state.value[1] == twin.state.value[1] == 2


def test_uniform_numbers_are_uniform() -> None:
    from scipy import stats

    from staticgrad.ops.random_numbers import uniform_numbers

    for dtype in (np.float32, np.float64):
        numbers = uniform_numbers(12345, 3, (200, 500), dtype)
        assert numbers.dtype == dtype and numbers.min() >= 0 and numbers.max() < 1
        assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-3
        neighbours = np.corrcoef(numbers.ravel()[:-1], numbers.ravel()[1:])[0, 1]
        other = uniform_numbers(12345, 4, (200, 500), dtype)
        draws = np.corrcoef(numbers.ravel(), other.ravel())[0, 1]
        assert abs(neighbours) < 0.015 and abs(draws) < 0.015


def test_train_and_eval_are_two_graphs_over_the_same_arrays() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    x = sg.placeholder("x", ("batch", 4))
    train = sg.compile(x, net(x))
    net.eval()
    evaluate = sg.compile(x, net(x))
    array = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
    before = evaluate(array)
    train(array)
    assert net[1].num_batches_tracked.value == 1
    assert not np.array_equal(before, evaluate(array))
    np.testing.assert_array_equal(evaluate(array), evaluate(array))


def test_vectors() -> None:
    net = SimpleNet()
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (221,)
    nn.utils.vector_to_parameters(vector * 2, net.parameters())
    again = nn.utils.parameters_to_vector(net.parameters())
    np.testing.assert_array_equal(again.detach().numpy(), 2 * vector.detach().numpy())
    with pytest.raises(ValueError, match="221 elements"):
        nn.utils.vector_to_parameters(eager.ones(5), net.parameters())


def test_initialisers_refuse_what_they_cannot_fill() -> None:
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_uniform_(np.zeros(3))
    with pytest.raises(ValueError, match="mode"):
        nn.init.kaiming_normal_(np.zeros((3, 3)), mode="fan")
    with pytest.raises(ValueError, match="nonlinearity"):
        nn.init.calculate_gain("softmax")
    with pytest.raises(TypeError, match="a parameter, an eager tensor or an array"):
        nn.init.zeros_([1, 2])
    weight = nn.Linear(3, 4).weight
    assert nn.init.constant_(weight.data, 2.0).tolist() == weight.value.tolist()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_copies_of_a_net_and_its_optimizer_train_alike_and_apart(copied) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    net[0].bias.requires_grad = False
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    X = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)

    def trained(net: nn.Module, optimizer: optim.Optimizer) -> np.ndarray:
        x = sg.placeholder("x", ("batch", 3))
        return sg.train_step(x, sg.mean(net(x) ** 2), optimizer, name="step").run(3, X)

    trained(net, optimizer)
    state = {path: array.copy() for path, array in net.state_dict().items()}
    net_2, optimizer_2 = copied((net, optimizer))
    assert not net_2[0].bias.requires_grad and net_2[2].weight.name == net[2].weight.name
    assert optimizer_2.param_groups[0]["params"][0] is net_2[0].weight
    later = trained(net_2, optimizer_2)
    for path, array in net.state_dict().items():
        np.testing.assert_array_equal(array, state[path])
    # the original goes on from where it was, with the same bits
    np.testing.assert_array_equal(trained(net, optimizer), later)
    # so do steps that leave a parameter out, whose count then stays behind
    for model, rule in ((net, optimizer), (net_2, optimizer_2)):
        model[2].bias.grad = eager.tensor([1.0])
        rule.step()
        rule.zero_grad()
    counts = [int(rule.state[model[2].weight]["step"].value) for model, rule in
              ((net, optimizer), (net_2, optimizer_2))]  # fmt: skip
    assert counts == [6, 6]
