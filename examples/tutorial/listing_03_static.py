"""Listing 3 as a static graph: the gradient is an expression that can be read."""

import numpy as np

import staticgrad as sg

x = sg.placeholder("x")
y = x * 2
z = y * y + 1
dx = sg.grad(z, x)
print(f"z  = {z}\ndx = {dx}\n")
sg.show(z)

f = sg.compile(x, [z, dx])
value, slope = f(np.float32(1.0))
print(f"\nz = {value}, dz/dx = {slope}")
assert slope == 8.0
