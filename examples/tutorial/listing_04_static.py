"""Listing 4 as a static graph: the update is a part of the compiled step."""

import numpy as np

import staticgrad as sg

theta = sg.parameter([3.0, -2.0], name="theta")
target = sg.placeholder("target", (2,))
L = ((theta - target) ** 2).sum()
dL_dtheta = sg.grad(L, theta)
learning_rate = 0.1
step = sg.compile(target, L, updates={theta: theta - learning_rate * dL_dtheta})
print(f"dL/dtheta = {dL_dtheta}")
for _ in range(50):
    step(np.ones(2, "float32"))
print(theta.value)
assert np.abs(theta.value - 1).max() < 1e-3
