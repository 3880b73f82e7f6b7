"""Listing 9 as a static graph: the same class, one compiled call for each step."""

import numpy as np

import staticgrad as sg
import staticgrad.nn.functional as F
from staticgrad import nn, optim


class SimpleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 10)
        self.fc2 = nn.Linear(10, 1)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x


sg.manual_seed(0)
net = SimpleNet()
x, y = sg.placeholder("x", ("batch", 20)), sg.placeholder("y", ("batch", 1))
step = sg.train_step([x, y], nn.MSELoss()(net(x), y), optim.SGD(net.parameters(), lr=0.01))

rng = np.random.default_rng(0)
inputs = rng.standard_normal((10, 20)).astype("float32")
targets = rng.standard_normal((10, 1)).astype("float32")
for _ in range(500):
    loss = step(inputs, targets)
print(step.source)
print(f"loss {loss:.4f}")
assert loss < 0.2
