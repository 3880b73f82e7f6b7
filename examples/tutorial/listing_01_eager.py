"""Listing 1: a 4 x 4 matrix of zeros."""

import staticgrad.eager as torch

x = torch.zeros((4, 4))
print(x)
