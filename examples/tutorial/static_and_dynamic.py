"""Static against dynamic on one model: the same numbers, the time of a step, and the break-even."""

import time

import numpy as np

import staticgrad as sg
from staticgrad import eager, nn, optim

rng = np.random.default_rng(0)
inputs = rng.standard_normal((10, 20)).astype("float32")
targets = rng.standard_normal((10, 1)).astype("float32")


def network():
    sg.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))


net = network()
optimizer = optim.SGD(net.parameters(), lr=0.01)
a, b = eager.tensor(inputs), eager.tensor(targets)


def eager_step():
    optimizer.zero_grad()
    loss = nn.MSELoss()(net(a), b)
    loss.backward()
    optimizer.step()
    return loss.item()


start = time.perf_counter()
twin = network()
x, y = sg.placeholder("x", ("batch", 20)), sg.placeholder("y", ("batch", 1))
step = sg.train_step([x, y], nn.MSELoss()(twin(x), y), optim.SGD(twin.parameters(), lr=0.01))
ready = time.perf_counter() - start

losses = [(eager_step(), float(step(inputs, targets))) for _ in range(100)]
assert np.allclose(*zip(*losses, strict=True), rtol=1e-4)


def seconds(action, count):
    """The median time of an action, of three rounds of ``count``."""
    rounds = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(count):
            action()
        rounds.append((time.perf_counter() - start) / count)
    return sorted(rounds)[1]


dynamic, static = seconds(eager_step, 100), seconds(lambda: step(inputs, targets), 2000)
print(f"eager  {1e6 * dynamic:8.1f} us per step")
print(f"static {1e6 * static:8.1f} us per step, after {ready:.2f} s of declaring and compiling "
      f"({'from the cache' if step.from_cache else 'anew'})")  # fmt: skip
print(f"static has paid for its compilation after {ready / (dynamic - static):,.0f} steps")
