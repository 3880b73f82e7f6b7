"""Listing 4: the update rule, theta = theta - learning_rate * dL/dtheta."""

import staticgrad.eager as torch

theta = torch.tensor([3.0, -2.0], requires_grad=True)
target = torch.tensor([1.0, 1.0])
learning_rate = 0.1
for _ in range(50):
    L = ((theta - target) ** 2).sum()
    L.backward()
    with torch.no_grad():
        theta -= learning_rate * theta.grad
    theta.grad = None
print(theta)
assert float((theta - target).abs().max()) < 1e-3
