"""Listing 2: an addition runs at once, and is recorded where a gradient may be asked for."""

import staticgrad.eager as torch

x = torch.zeros((4, 4), requires_grad=True)
y = x + 2
print(y)
print(y.grad_fn)
