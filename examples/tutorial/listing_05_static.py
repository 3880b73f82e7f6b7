"""Listing 5 as a static graph: clipping is compiled into the step."""

import numpy as np

import staticgrad as sg
from staticgrad import nn, optim

sg.manual_seed(0)
net = nn.Linear(3, 1)
x = sg.placeholder("x", ("batch", 3))
loss = sg.mean((100 * net(x)) ** 2)
step = sg.train_step([x], loss, optim.SGD(net.parameters(), lr=1.0), clip_grad_norm=2.0)
before = np.concatenate([p.value.ravel() for p in net.parameters()])
step(np.random.default_rng(0).standard_normal((8, 3)).astype("float32"))
moved = np.concatenate([p.value.ravel() for p in net.parameters()]) - before
print(f"a step of SGD with lr 1 moves by the clipped gradient, of norm {np.linalg.norm(moved):.4f}")
assert abs(np.linalg.norm(moved) - 2.0) < 1e-3
print("\n".join(line for line in step.source.splitlines() if "clip_factor = " in line))
