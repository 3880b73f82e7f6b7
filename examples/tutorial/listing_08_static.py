"""Listing 8 as a static graph: forward, backward and Adam's update are one call."""

import numpy as np

import staticgrad as sg
from staticgrad import nn, optim

sg.manual_seed(0)
net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
x, y = sg.placeholder("x", ("batch", 20)), sg.placeholder("y", ("batch", 1))
step = sg.train_step([x, y], nn.MSELoss()(net(x), y), optim.Adam(net.parameters(), lr=0.01))

inputs = np.random.default_rng(0).standard_normal((64, 20)).astype("float32")
targets = inputs[:, :1] * 2 - 1
for epoch in range(300):
    loss = step(inputs, targets)
    if epoch % 100 == 99:
        print(f"epoch {epoch + 1}: {loss:.5f}")
assert loss < 0.05
