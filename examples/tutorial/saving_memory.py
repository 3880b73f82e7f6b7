"""What a training step keeps in memory: the eager tape, and the static step's planned workspace."""

import tracemalloc

import numpy as np

import staticgrad as sg
from staticgrad import eager, nn, optim

BATCH, WIDTH, DEPTH = 256, 128, 12
inputs = np.random.default_rng(0).standard_normal((BATCH, WIDTH)).astype("float32")


def network():
    sg.manual_seed(0)
    layers = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), nn.Tanh()]
    return nn.Sequential(*layers)


def peak(action):
    """The most memory that was allocated at once while ``action`` ran, in bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    action()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most - before


net = network()
optimizer = optim.SGD(net.parameters(), lr=0.01)
x = eager.tensor(inputs)


def eager_step():
    (net(x) ** 2).mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def eager_accumulated():
    for quarter in range(4):
        part = x[quarter * BATCH // 4 : (quarter + 1) * BATCH // 4]
        ((net(part) ** 2).mean() / 4).backward()
    optimizer.step()
    optimizer.zero_grad()


def eager_evaluation():
    with eager.no_grad():
        net(x)


p = sg.placeholder("x", ("batch", WIDTH))
step = sg.train_step([p], sg.mean(net(p) ** 2), optimizer)
step(inputs)
rows = {
    "eager, whole batch": peak(eager_step),
    "eager, four quarters accumulated": peak(eager_accumulated),
    "eager, evaluation under no_grad": peak(eager_evaluation),
    "static, workspace planned beforehand": step.workspace_bytes(batch=BATCH),
    "static, allocated by a call after the first": peak(lambda: step(inputs)),
}
for what, count in rows.items():
    print(f"{what:<45}{count / 1024:10,.0f} KiB")
assert rows["eager, evaluation under no_grad"] < rows["eager, whole batch"]
assert rows["static, workspace planned beforehand"] < rows["eager, whole batch"]
assert rows["static, allocated by a call after the first"] < 10_000
