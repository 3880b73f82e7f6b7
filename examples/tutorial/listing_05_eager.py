"""Listing 5: gradients clipped to a norm of 2."""

import staticgrad.eager as torch
import staticgrad.nn as nn
from staticgrad.nn.utils import clip_grad_norm_

torch.manual_seed(0)
net = nn.Linear(3, 1)
params = list(net.parameters())
loss = (100 * net(torch.randn(8, 3))).pow(2).mean()
loss.backward()
before = clip_grad_norm_(params, max_norm=2.0)
after = sum(p.grad.pow(2).sum() for p in params) ** 0.5
print(f"norm {before.item():.1f}, clipped to {after.item():.4f}")
assert abs(after.item() - 2.0) < 1e-3
