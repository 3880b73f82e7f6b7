"""Listing 10 as a static graph: whole epochs in compiled code."""

import numpy as np

import staticgrad as sg
from staticgrad import nn, optim

sg.manual_seed(0)
inputs = np.linspace(-2, 2, 10, dtype="float32").reshape(-1, 1)
noise = np.random.default_rng(0).standard_normal((10, 1)).astype("float32")
targets = inputs**2 + np.float32(0.1) * noise

net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
x, y = sg.placeholder("x", ("batch", 1)), sg.placeholder("y", ("batch", 1))
loss = nn.MSELoss()(net(x), y)
print("gradient of the first bias:", sg.grad(loss, net[0].bias))
step = sg.train_step([x, y], loss, optim.Adam(net.parameters(), lr=0.02))
history = step.fit(inputs, targets, epochs=1500, batch_size=10, seed=0)
print(f"loss {history.loss[-1]:.5f} after {sum(history.seconds):.3f} s")
assert history.loss[-1] < 0.02
