"""Four optimizers side by side, eager and static: SGD, Adam, RMSprop, Adagrad.

    python examples/tutorial/optimizers.py [optimizers.svg]
"""

import sys
import time

import matplotlib
import numpy as np

import staticgrad as sg
from staticgrad import eager, nn, optim

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.05),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01),
    "RMSprop": lambda parameters: optim.RMSprop(parameters, lr=0.003),
    "Adagrad": lambda parameters: optim.Adagrad(parameters, lr=0.05),
}
STEPS = 300
rng = np.random.default_rng(0)
inputs = rng.standard_normal((64, 20)).astype("float32")
targets = np.sin(inputs[:, :1]) + inputs[:, 1:2] ** 2


def network():
    sg.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 1))


def train_eager(name):
    net = network()
    optimizer = OPTIMIZERS[name](net.parameters())
    x, y, losses = eager.tensor(inputs), eager.tensor(targets), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.MSELoss()(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_static(name):
    net = network()
    x, y = sg.placeholder("x", ("batch", 20)), sg.placeholder("y", ("batch", 1))
    step = sg.train_step([x, y], nn.MSELoss()(net(x), y), OPTIMIZERS[name](net.parameters()))
    return [float(step(inputs, targets)) for _ in range(STEPS)]


figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
for axis, train in zip(axes, (train_eager, train_static), strict=True):
    for name in OPTIMIZERS:
        start = time.perf_counter()
        losses = train(name)
        seconds = time.perf_counter() - start
        axis.plot(losses, label=name)
        print(
            f"{train.__name__:<13} {name:<8} loss {losses[0]:.4f} -> {losses[-1]:.4f} in "
            f"{seconds:.2f} s, compilation included"
        )
        assert losses[-1] < losses[0]
    axis.set(title=train.__name__.replace("_", ", "), xlabel="step", yscale="log")
axes[0].set_ylabel("mean squared error")
axes[0].legend()
target = sys.argv[1] if len(sys.argv) > 1 else "optimizers.svg"
figure.savefig(target, bbox_inches="tight")
print(f"wrote {target}")
