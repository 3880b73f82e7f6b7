"""Four initialisations side by side, eager and static: zeros, small random numbers, Xavier, He.

With zeros, all rows of a gradient are the same, and so they stay: the hidden units never tell apart.

    python examples/tutorial/initialisations.py [initialisations.svg]
"""

import sys

import matplotlib
import numpy as np

import staticgrad as sg
from staticgrad import eager, nn, optim

matplotlib.use("Agg")
from matplotlib import pyplot as plt

INITIALISERS = {
    "zeros": nn.init.zeros_,
    "random": lambda weight: nn.init.normal_(weight, std=0.01),
    "Xavier": nn.init.xavier_normal_,
    "He": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}
STEPS = 200
rng = np.random.default_rng(0)
inputs = rng.standard_normal((64, 20)).astype("float32")
targets = np.sin(inputs[:, :1]) + inputs[:, 1:2] ** 2


def network(name):
    sg.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
    for layer in (net[0], net[2]):
        INITIALISERS[name](layer.weight)
        nn.init.zeros_(layer.bias)
    return net


def train_eager(net):
    optimizer = optim.SGD(net.parameters(), lr=0.05)
    x, y, losses = eager.tensor(inputs), eager.tensor(targets), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.MSELoss()(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_static(net):
    x, y = sg.placeholder("x", ("batch", 20)), sg.placeholder("y", ("batch", 1))
    step = sg.train_step([x, y], nn.MSELoss()(net(x), y), optim.SGD(net.parameters(), lr=0.05))
    return [float(step(inputs, targets)) for _ in range(STEPS)]


# what the symmetry looks like: constant weights, and the gradient of the first layer
net = network("zeros")
for parameter in net.parameters():
    nn.init.constant_(parameter, 0.1 if parameter.ndim == 2 else 0.0)
nn.MSELoss()(net(eager.tensor(inputs)), eager.tensor(targets)).backward()
rows = net[0].weight.grad.numpy()
print(f"equal weights: the {len(rows)} rows of the gradient differ by {np.ptp(rows, axis=0).max():.1e}")
assert np.ptp(rows, axis=0).max() < 1e-6
nn.init.zeros_(net[0].weight), nn.init.zeros_(net[2].weight), net.zero_grad()
nn.MSELoss()(net(eager.tensor(inputs)), eager.tensor(targets)).backward()
print(f"zeros: the largest gradient of a weight is {np.abs(net[0].weight.grad.numpy()).max():.1e}")

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
for axis, train in zip(axes, (train_eager, train_static), strict=True):
    for name in INITIALISERS:
        losses = train(network(name))
        axis.plot(losses, label=name)
        print(f"{train.__name__:<13} {name:<7} loss {losses[0]:7.4f} -> {losses[-1]:.4f}")
    axis.set(title=train.__name__.replace("_", ", "), xlabel="step", yscale="log")
axes[0].set_ylabel("mean squared error")
axes[0].legend()
target = sys.argv[1] if len(sys.argv) > 1 else "initialisations.svg"
figure.savefig(target, bbox_inches="tight")
print(f"wrote {target}")
