"""Exploding gradients, with clipping and without, in a network that applies one matrix 20 times."""

import numpy as np

import staticgrad as sg
from staticgrad import eager, nn, optim

DEPTH = 20
rng = np.random.default_rng(0)
inputs = rng.standard_normal((32, 8)).astype("float32")
targets = inputs.sum(axis=1, keepdims=True)


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.repeat = nn.Linear(8, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        for _ in range(DEPTH):
            x = self.repeat(x)
        return self.out(x)


def network():
    sg.manual_seed(0)
    net = Deep()
    net.repeat.weight.value *= 3.2
    return net


def eager_losses(limit):
    net = network()
    optimizer = optim.SGD(net.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.MSELoss()(net(eager.tensor(inputs)), eager.tensor(targets))
        loss.backward()
        if limit is not None:
            nn.utils.clip_grad_norm_(net.parameters(), limit)
        optimizer.step()
        losses.append(loss.item())
    return losses


def static_losses(limit):
    net = network()
    x, y = sg.placeholder("x", ("batch", 8)), sg.placeholder("y", ("batch", 1))
    optimizer = optim.SGD(net.parameters(), lr=0.02)
    step = sg.train_step([x, y], nn.MSELoss()(net(x), y), optimizer, clip_grad_norm=limit)
    return [float(step(inputs, targets)) for _ in range(60)]


for losses_of in (eager_losses, static_losses):
    for limit in (None, 2.0):
        losses = losses_of(limit)
        shown = ", ".join(f"{value:.3g}" for value in losses[:4])
        print(f"{losses_of.__name__}, clipped to {limit}: {shown}, ... {min(losses[-10:]):.3g}")
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
assert not np.isfinite(static_losses(None)[-1])
